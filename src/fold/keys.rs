//! Keys of the tables: a letter, then numbers in big-endian so that byte order is number order.

use crate::domain::{Seq, SlotNo, VoterId};

/// Clips whose counts share a page: 256 of at most 16 bytes stay at 4 KiB.
pub const CLIPS_A_TOTALS_PAGE: u32 = 256;
/// Clips whose records share a page: 16 of at most 2.4 KiB stay below [`crate::store::VALUE_MAX`].
pub const CLIPS_A_PAGE: u32 = 16;
/// Seasons that share a page.
pub const SEASONS_A_PAGE: u32 = 64;

/// What keys of pages of minutes begin with.
const TIMELINES: u8 = b'h';
/// What keys of voids begin with, of votes that they name, and of those that were taken back under one.
const VOIDS: u8 = b'd';
const NAMED: u8 = b'p';
const TAKEN_BACK: u8 = b'w';
/// What keys of erasures begin with.
const ERASURES: u8 = b'e';

/// How far the tables contain the log.
pub const MARK: &[u8] = b"m";

/// One block of a slot's ballots, by the first sequence in it.
pub fn ballots(slot: SlotNo, first: Seq) -> [u8; 13] {
    let mut key = [0; 13];
    key[0] = b'v';
    key[1..5].copy_from_slice(&slot.0.to_be_bytes());
    key[5..].copy_from_slice(&first.to_be_bytes());
    key
}

/// From the first to behind the last of a slot's blocks.
pub fn ballots_of(slot: SlotNo) -> ([u8; 13], [u8; 13]) {
    (ballots(slot, 0), ballots(SlotNo(slot.0 + 1), 0))
}

/// One page of a group's minutes, by the first sequence in it.
pub fn timeline(group: u32, first: Seq) -> [u8; 13] {
    let mut key = [0; 13];
    key[0] = TIMELINES;
    key[1..5].copy_from_slice(&group.to_be_bytes());
    key[5..].copy_from_slice(&first.to_be_bytes());
    key
}

/// From the first to behind the last of a group's pages of minutes.
pub fn timeline_of(group: u32) -> ([u8; 13], [u8; 13]) {
    (timeline(group, 0), timeline(group + 1, 0))
}

/// From the first to behind the last page of minutes of any group.
pub fn timelines() -> ([u8; 1], [u8; 1]) {
    ([TIMELINES], [TIMELINES + 1])
}

/// The group in a key that [`timeline`] made.
pub fn timeline_group(key: &[u8]) -> Option<u32> {
    let key: &[u8; 13] = key.try_into().ok()?;
    (key[0] == TIMELINES).then(|| u32::from_be_bytes(key[1..5].try_into().expect("4 of 13 bytes")))
}

/// A page of a closed slot's sorted ballots: see [`super::sorted`] for the parts.
pub fn sorted(slot: SlotNo, generation: u32, part: u8, number: u32) -> [u8; 14] {
    let mut key = [b'x'; 14];
    key[1..5].copy_from_slice(&slot.0.to_be_bytes());
    key[5..9].copy_from_slice(&generation.to_be_bytes());
    key[9] = part;
    key[10..].copy_from_slice(&number.to_be_bytes());
    key
}

/// From the first to behind the last page of a slot's generation and all behind it.
pub fn sorted_from(slot: SlotNo, generation: u32) -> ([u8; 14], [u8; 14]) {
    (sorted(slot, generation, 0, 0), sorted(SlotNo(slot.0 + 1), 0, 0, 0))
}

/// What is known of a void.
pub fn void(void: Seq) -> [u8; 9] {
    let mut key = [VOIDS; 9];
    key[1..].copy_from_slice(&void.to_be_bytes());
    key
}

/// From the first to behind the last void.
pub fn voids() -> ([u8; 1], [u8; 1]) {
    ([VOIDS], [VOIDS + 1])
}

/// What is known of an erasure.
pub fn erasure(erasure: Seq) -> [u8; 9] {
    let mut key = [ERASURES; 9];
    key[1..].copy_from_slice(&erasure.to_be_bytes());
    key
}

/// From the first to behind the last erasure.
pub fn erasures() -> ([u8; 1], [u8; 1]) {
    ([ERASURES], [ERASURES + 1])
}

/// From the first to behind the last record of votes that voids of any slot name.
pub fn all_named() -> ([u8; 1], [u8; 1]) {
    ([NAMED], [NAMED + 1])
}

/// The slot in a key that [`named`] made.
pub fn named_slot(key: &[u8]) -> Option<SlotNo> {
    let key: &[u8; 21] = key.try_into().ok()?;
    Some(SlotNo(u32::from_be_bytes(key[1..5].try_into().expect("4 of 21 bytes"))))
}

/// Some of the votes that a void names, by the sequence of the event that named them.
pub fn named(slot: SlotNo, void: Seq, seq: Seq) -> [u8; 21] {
    let mut key = [NAMED; 21];
    key[1..5].copy_from_slice(&slot.0.to_be_bytes());
    key[5..13].copy_from_slice(&void.to_be_bytes());
    key[13..].copy_from_slice(&seq.to_be_bytes());
    key
}

/// From the first to behind the last record of votes that a void names.
pub fn named_of(slot: SlotNo, void: Seq) -> ([u8; 21], [u8; 21]) {
    (named(slot, void, 0), named(slot, void + 1, 0))
}

/// The sequence in a key that [`named`] made.
pub fn named_by(key: &[u8]) -> Option<Seq> {
    let key: &[u8; 21] = key.try_into().ok()?;
    Some(Seq::from_be_bytes(key[13..].try_into().expect("8 of 21 bytes")))
}

/// Votes that were taken back while a void of their slot was in force or under way; a page is of neighbouring sequences.
pub fn taken_back(slot: SlotNo, page: u64) -> [u8; 13] {
    let mut key = [TAKEN_BACK; 13];
    key[1..5].copy_from_slice(&slot.0.to_be_bytes());
    key[5..].copy_from_slice(&page.to_be_bytes());
    key
}

/// From the first to behind the last page of such votes, of all slots.
pub fn all_taken_back() -> ([u8; 1], [u8; 1]) {
    ([TAKEN_BACK], [TAKEN_BACK + 1])
}

/// The slot in a key that [`taken_back`] made.
pub fn taken_back_slot(key: &[u8]) -> Option<SlotNo> {
    let key: &[u8; 13] = key.try_into().ok()?;
    Some(SlotNo(u32::from_be_bytes(key[1..5].try_into().expect("4 of 13 bytes"))))
}

/// A page of a table whose pages are numbered.
pub fn page(table: Table, number: u32) -> [u8; 5] {
    let mut key = [table as u8; 5];
    key[1..].copy_from_slice(&number.to_be_bytes());
    key
}

/// From the first to behind the last page of a table.
pub fn pages_of(table: Table) -> ([u8; 5], [u8; 1]) {
    (page(table, 0), [table as u8 + 1])
}

/// The number in a key that [`page`] made.
pub fn page_number(key: &[u8]) -> Option<u32> {
    let key: &[u8; 5] = key.try_into().ok()?;
    Some(u32::from_be_bytes(key[1..].try_into().expect("4 of 5 bytes")))
}

/// The bans' page that a voter's are in.
pub fn bans_page(voter: VoterId) -> u32 {
    u32::from(voter.0[0])
}

/// A table of numbered pages; its letter is on the disk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Table {
    /// Bans, by a voter's first byte.
    Bans = b'b',
    /// Clips' records.
    Clips = b'c',
    /// Slots, one a page.
    Slots = b'l',
    /// Seasons.
    Seasons = b'n',
    /// Counts.
    Totals = b't',
    /// Counts of comments.
    CommentCounts = b'u',
    /// How slots closed, one a page.
    Closings = b'z',
}
