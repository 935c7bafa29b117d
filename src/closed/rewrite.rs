//! The rewriting of closed slots, a little a step: count, gather a part, write it, and so on; then the switch, then what is left
//! over goes.
//!
//! Order: the pages, a flush, the slot's `Closing` that names them, a flush; blocks are removed only once the lock is in the
//! tables as well. Whatever is cut short is found again by looking at the slot.

use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::thread;

use super::part::Part;
use super::sealed::SlotNames;
use super::writer::Writer;
use crate::codec::{self, Kind};
use crate::domain::{Day, Seq, SlotNo, SlotStatus};
use crate::error::Fault;
use crate::fold::ballot_block::{self, Act, Stored};
use crate::fold::keys::{self, Table};
use crate::fold::sorted::{Closing, Sorted, SortedPages, Who};
use crate::fold::{lookup, records::SlotRecord, sorted};
use crate::merkle::{Hash, leaf_hash};
use crate::store::Store;

/// What a step does at most: each in a few milliseconds.
const COUNTED: usize = 128;
const GATHERED: u32 = 8_192;
const WRITTEN: usize = 2_048;
const REMOVED: usize = 128;
/// After so many written ballots, and after each block that is gathered, whoever waits for the processor is let in: a step is long beside
/// a commit, which would have to wait for the scheduler to take the processor away.
const BREATH: usize = 64;

/// The job. Written by the applier's thread alone.
#[derive(Debug)]
pub struct Rewrite {
    store: Arc<dyn Store>,
    /// Slots to look at; the first is under way.
    slots: VecDeque<SlotNo>,
    sort: Option<Sort>,
}

impl Rewrite {
    /// Over the tables' store, with nothing to look at.
    pub fn new(store: Arc<dyn Store>) -> Self {
        Self { store, slots: VecDeque::new(), sort: None }
    }

    /// A slot took a step, which is in the store and flushed; or may have been left half done by a crash.
    pub fn look_at(&mut self, slot: SlotNo) {
        // The one under way is looked at again: it may be past what this is about.
        if !self.slots.iter().skip(1).any(|known| *known == slot) {
            self.slots.push_back(slot);
        }
    }

    /// Does a little; whether there is more to do.
    pub fn step(&mut self) -> Result<bool, Fault> {
        let Some(slot) = self.slots.front().copied() else { return Ok(false) };
        let store = self.store.as_ref();
        let record = lookup::slot(store, slot)?;
        let freeze = record.as_ref().and_then(SlotRecord::freeze);
        let closing = lookup::closing(store, slot)?.filter(|closing| Some(closing.freeze) == freeze);
        let sorted = closing.and_then(|closing| closing.sorted);
        // One of another freeze is of a slot that has opened again meanwhile.
        self.sort = self.sort.take().filter(|sort| sort.slot == slot && Some(sort.freeze) == freeze);
        match (&mut self.sort, record, freeze) {
            (Some(sort), _, Some(_)) => {
                if let Some(pages) = sort.step(store)? {
                    self.sort = None;
                    switch(store, slot, freeze.expect("matched above"), closing, pages)?;
                }
            }
            (_, Some(record), Some(freeze)) if sorted.is_none() => {
                self.sort = Some(Sort::begin(store, &record, freeze)?);
            }
            (_, record, _) => {
                let locked = record.is_some_and(|record| record.status() == SlotStatus::Locked);
                if !clear(store, slot, sorted.map(|pages| pages.generation), locked)? {
                    self.slots.pop_front();
                }
            }
        }
        Ok(!self.slots.is_empty())
    }
}

/// The pages are whole: from now on they stand for the slot's blocks, if it is locked.
fn switch(
    store: &dyn Store,
    slot: SlotNo,
    freeze: Seq,
    closing: Option<Closing>,
    pages: SortedPages,
) -> Result<(), Fault> {
    // Nothing that is named may be missing, whatever a power loss takes.
    store.flush()?;
    let closing = Closing { sorted: Some(pages), ..closing.unwrap_or(Closing { freeze, block: None, sorted: None }) };
    let key = keys::page(Table::Closings, slot.0);
    store.insert(&key, &codec::record(Kind::Closing, &key, &closing))?;
    store.flush()
}

/// Removes some of what nothing reads any more: generations but the current one, and with a locked slot's pages whole, its
/// blocks. Whether there was anything.
fn clear(store: &dyn Store, slot: SlotNo, current: Option<u32>, locked: bool) -> Result<bool, Fault> {
    let (first, end) = keys::sorted_from(slot, 0);
    if let Some(current) = current {
        let (own, _) = keys::sorted_from(slot, current);
        let (behind, _) = keys::sorted_from(slot, current + 1);
        if remove_some(store, &first, &own)? || remove_some(store, &behind, &end)? {
            return Ok(true);
        }
        let (first, end) = keys::ballots_of(slot);
        return Ok(locked && remove_some(store, &first, &end)?);
    }
    remove_some(store, &first, &end)
}

fn remove_some(store: &dyn Store, from: &[u8], to: &[u8]) -> Result<bool, Fault> {
    let mut found = Vec::new();
    store.scan(from, to, &mut |key, _| {
        found.push(key.to_vec());
        Ok(if found.len() < REMOVED { ControlFlow::Continue(()) } else { ControlFlow::Break(()) })
    })?;
    for key in &found {
        store.remove(key)?;
    }
    Ok(!found.is_empty())
}

/// A slot being sorted.
#[derive(Debug)]
struct Sort {
    slot: SlotNo,
    freeze: Seq,
    generation: u32,
    names: SlotNames,
    stage: Stage,
    /// The block to go on with begins here.
    next: Seq,
    /// Entries of all blocks, and the blocks' bytes.
    entries: u64,
    bytes: u64,
    max_day: Day,
    writer: Writer,
}

#[derive(Debug)]
enum Stage {
    /// Counts the entries, so that the parts are of the right width.
    Count,
    Gather(Part),
    /// From that bucket on.
    Write(Part, usize),
}

impl Sort {
    fn begin(store: &dyn Store, record: &SlotRecord, freeze: Seq) -> Result<Self, Fault> {
        let slot = record.slot.no;
        let (first, end) = keys::sorted_from(slot, 0);
        let last = store.last_in(&first, &end)?;
        let generation = last.map_or(Ok(0), |(key, _)| sorted::generation_of(&key).map(|last| last + 1))?;
        Ok(Self {
            slot,
            freeze,
            generation,
            names: SlotNames::of(store, &record.slot)?,
            stage: Stage::Count,
            next: 0,
            entries: 0,
            bytes: 0,
            max_day: 0,
            writer: Writer::new(slot, generation, 0),
        })
    }

    /// Does a little; gives the pages once they are written.
    fn step(&mut self, store: &dyn Store) -> Result<Option<SortedPages>, Fault> {
        match std::mem::replace(&mut self.stage, Stage::Count) {
            Stage::Count => {
                let (mut left, entries, bytes, max_day) =
                    (COUNTED, &mut self.entries, &mut self.bytes, &mut self.max_day);
                let ended = blocks(store, self.slot, &mut self.next, |key, record| {
                    let head = ballot_block::head(key, record)?;
                    *entries += u64::from(head.entries);
                    *bytes += record.len() as u64;
                    *max_day = head.max_day.max(*max_day);
                    left -= 1;
                    Ok((head.last, left > 0))
                })?;
                if ended {
                    self.writer = Writer::new(self.slot, self.generation, self.entries);
                    self.gather(0);
                }
            }
            Stage::Gather(mut part) => {
                let (scope, freeze, mut taken) = (&self.names.scope, self.freeze, 0);
                let ended = blocks(store, self.slot, &mut self.next, |key, record| {
                    let head = ballot_block::read(key, record, |stored| {
                        if stored.seq < freeze { part.take(scope, stored) } else { Ok(()) }
                    })?;
                    taken += head.entries;
                    thread::yield_now();
                    Ok((head.last, taken < GATHERED))
                })?;
                self.stage = if ended { Stage::Write(part, 0) } else { Stage::Gather(part) };
            }
            Stage::Write(mut part, mut bucket) => {
                let mut written = 0;
                while written < WRITTEN && bucket < part.buckets().end {
                    for (c, stored) in part.sorted(bucket)? {
                        self.write(store, &c, stored)?;
                        written += 1;
                        if usize::is_multiple_of(written, BREATH) {
                            thread::yield_now();
                        }
                    }
                    bucket += 1;
                }
                if bucket < part.buckets().end {
                    self.stage = Stage::Write(part, bucket);
                } else if let Some(from) = part.end() {
                    self.gather(from);
                } else {
                    let writer = std::mem::replace(&mut self.writer, Writer::new(self.slot, self.generation, 0));
                    let (leaves, root) = writer.finish(store)?;
                    return Ok(Some(SortedPages { generation: self.generation, leaves, root, max_day: self.max_day }));
                }
            }
        }
        Ok(None)
    }

    fn gather(&mut self, from: u64) {
        self.stage = Stage::Gather(Part::planned(from, self.entries, self.bytes));
        self.next = 0;
    }

    fn write(&mut self, store: &dyn Store, c: &Hash, Stored { seq, at, ballot }: Stored) -> Result<(), Fault> {
        let Act::Cast(kind) = ballot.act else { unreachable!("a part's order holds votes alone") };
        let (clip, weight, day, origin) = (ballot.clip, ballot.weight, ballot.day, ballot.origin);
        let leaf = leaf_hash(c, self.names.clip(store, clip)?.as_str(), kind, weight, seq);
        let ballot = Sorted { who: Who::Voter(ballot.voter), seq, at, clip, kind, weight, day, origin };
        self.writer.add(store, ballot, leaf)
    }
}

/// Visits a slot's blocks from `next` on, until `visit`, which gives a block's last sequence, wants no more. Whether that was all.
fn blocks(
    store: &dyn Store,
    slot: SlotNo,
    next: &mut Seq,
    mut visit: impl FnMut(&[u8], &[u8]) -> Result<(Seq, bool), Fault>,
) -> Result<bool, Fault> {
    let (_, end) = keys::ballots_of(slot);
    let mut all = true;
    store.scan(&keys::ballots(slot, *next), &end, &mut |key, record| {
        let (last, more) = visit(key, record)?;
        *next = last + 1;
        all = more;
        Ok(if more { ControlFlow::Continue(()) } else { ControlFlow::Break(()) })
    })?;
    Ok(all)
}
