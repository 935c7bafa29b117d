//! The stored votes of a slot: blocks of votes and retractions in log order. They are the dedup index on disk.
//!
//! ```text
//! head     first u64, last u64, day u16, max_day u16, entries u32, at u64          (varints)
//! entry    tag (0..=2: a vote of that kind, 3: a retraction, 4..=6: a vote of kind 0..=2 whose origin is known),
//!          sequence less the one before, time less the one before (zigzag), voter 16 bytes, clip, weight,
//!          day less the head's (zigzag), for a retraction the vote's distance in sequences,
//!          for a vote whose origin is known its risk, one byte, and its network's hash, 8 bytes
//! ```
//!
//! About 24 bytes a vote, 33 with its origin. Never: whether a vote is a duplicate.

use bincode::{Decode, Encode};

use super::keys;
use crate::codec::{self, Kind, varint};
use crate::domain::{ClipNo, Day, NetworkHash, Origin, Retraction, Seq, SlotNo, Vote, VoteKind, VoterId};
use crate::error::Fault;

/// A block that holds this much is not rewritten by a later step.
pub const FULL: usize = 8 * 1024;
/// No block grows past this within a step.
pub const LIMIT: usize = 60 * 1024;
/// No entry is longer.
pub const ENTRY_MAX: usize = 80;
/// What a vote's tag is raised by when its origin follows.
const WITH_ORIGIN: u8 = 4;

/// A vote or a retraction, in the terms of its slot.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ballot {
    /// Who.
    pub voter: VoterId,
    /// For which clip.
    pub clip: ClipNo,
    /// What it weighs, or weighed.
    pub weight: u16,
    /// The day it is charged to, or was.
    pub day: Day,
    /// Which of the two.
    pub act: Act,
    /// Where a vote came from; the default for a retraction.
    pub origin: Origin,
}

/// What a ballot does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Act {
    /// Votes.
    Cast(VoteKind),
    /// Takes the vote of that sequence back.
    Retract(Seq),
}

impl Ballot {
    /// As stored for a vote.
    pub fn cast(vote: &Vote, origin: Origin) -> Self {
        let Vote { voter, clip, weight, day, kind, .. } = *vote;
        Self { voter, clip, weight, day, act: Act::Cast(kind), origin }
    }

    /// As stored for a retraction.
    pub fn taken_back(back: &Retraction) -> Self {
        let Retraction { voter, clip, weight, day, vote, .. } = *back;
        Self { voter, clip, weight, day, act: Act::Retract(vote), origin: Origin::default() }
    }
}

/// A ballot at its place in the log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stored {
    /// Its sequence.
    pub seq: Seq,
    /// When, Unix milliseconds.
    pub at: u64,
    /// The ballot.
    pub ballot: Ballot,
}

/// What a block says about itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
pub struct Head {
    /// Sequence of its first entry.
    pub first: Seq,
    /// Sequence of its last entry.
    pub last: Seq,
    /// Day of its first entry.
    pub day: Day,
    /// The latest day that an entry of this or of an earlier block of the slot is charged to: a start looks at the last
    /// block alone, and that may hold nothing but retractions of earlier days' votes.
    pub max_day: Day,
    /// How many entries.
    pub entries: u32,
    /// Time of its first entry.
    pub at: u64,
}

impl Head {
    fn trail(&self) -> Trail {
        Trail { seq: self.first, at: self.at, day: self.day }
    }
}

/// A block under construction, or read back to be continued.
#[derive(Clone, Debug)]
pub struct BallotBlock {
    head: Head,
    trail: Trail,
    entries: Vec<u8>,
    stored: usize,
}

impl BallotBlock {
    /// A block that begins with this entry.
    pub fn begin(stored: Stored) -> Self {
        let Stored { seq, at, ballot } = stored;
        let head = Head { first: seq, last: seq, day: ballot.day, max_day: ballot.day, entries: 0, at };
        let mut block = Self { head, trail: head.trail(), entries: Vec::with_capacity(FULL), stored: 0 };
        block.append(stored);
        block
    }

    /// A block that begins with this entry, behind another of its slot.
    pub fn begin_behind(before: &Self, stored: Stored) -> Self {
        let mut block = Self::begin(stored);
        block.head.max_day = block.head.max_day.max(before.head.max_day);
        block
    }

    /// One of other entries in the place of a stored one, as many and with its sequences.
    pub fn in_place_of(head: Head, entries: &[Stored]) -> Self {
        let mut block = Self::begin(entries[0]);
        entries[1..].iter().for_each(|entry| block.append(*entry));
        block.head.max_day = head.max_day;
        assert_eq!(block.head, head, "what a block says about itself stays");
        block
    }

    /// What it says about itself.
    pub fn head(&self) -> Head {
        self.head
    }

    /// Whether the next entry begins another block: this one was stored full, or would pass the limit.
    pub fn is_full(&self) -> bool {
        self.stored >= FULL || self.entries.len() + ENTRY_MAX > LIMIT
    }

    /// Adds an entry behind all that are in.
    pub fn append(&mut self, stored: Stored) {
        self.trail.put(&stored, &mut self.entries);
        self.head.last = stored.seq;
        self.head.max_day = self.head.max_day.max(stored.ballot.day);
        self.head.entries += 1;
    }

    /// The record to store, under [`keys::ballots`].
    pub fn record(&mut self, slot: SlotNo) -> Vec<u8> {
        let mut record = Vec::with_capacity(codec::HEADER + 32 + self.entries.len());
        codec::begin(&mut record);
        codec::put(&self.head, &mut record);
        record.extend_from_slice(&self.entries);
        codec::seal(Kind::BallotBlock, &keys::ballots(slot, self.head.first), &mut record);
        self.stored = self.entries.len();
        record
    }

    /// Reads a stored block back so that it can be continued.
    pub fn resume(key: &[u8], record: &[u8]) -> Result<Self, Fault> {
        let (head, trail) = read_all(key, record, |_| Ok(()))?;
        let (mut body, _) = codec::open("tables", Kind::BallotBlock, key, record)?;
        let _: Option<Head> = codec::take(&mut body);
        Ok(Self { head, trail, entries: body.to_vec(), stored: body.len() })
    }
}

/// The place behind an entry among others: what the next one's sequence, time and day are written less of.
#[derive(Clone, Copy, Debug)]
pub struct Trail {
    seq: Seq,
    at: u64,
    /// The first entry's, for all of them.
    day: Day,
}

impl Trail {
    /// In front of the first entry.
    pub fn before(first: &Stored) -> Self {
        Self { seq: first.seq, at: first.at, day: first.ballot.day }
    }

    /// Writes the next entry; sequences never fall.
    #[inline]
    pub fn put(&mut self, stored: &Stored, entries: &mut Vec<u8>) {
        let Stored { seq, at, ballot } = *stored;
        let known = ballot.origin != Origin::default();
        let (tag, vote) = match ballot.act {
            Act::Cast(VoteKind::Standard) => (0_u8, None),
            Act::Cast(VoteKind::Super) => (1, None),
            Act::Cast(VoteKind::Mega) => (2, None),
            Act::Retract(vote) => (3, Some(seq - vote)),
        };
        debug_assert!(vote.is_none() || !known, "a retraction has no origin");
        entries.push(if known { tag + WITH_ORIGIN } else { tag });
        varint::put(seq - self.seq, entries);
        varint::put_signed(at.cast_signed().wrapping_sub(self.at.cast_signed()), entries);
        entries.extend_from_slice(&ballot.voter.0);
        varint::put(u64::from(ballot.clip.0), entries);
        varint::put(u64::from(ballot.weight), entries);
        varint::put_signed(i64::from(ballot.day) - i64::from(self.day), entries);
        if let Some(distance) = vote {
            varint::put(distance, entries);
        } else if known {
            entries.push(ballot.origin.risk);
            entries.extend_from_slice(&ballot.origin.network.bytes());
        }
        (self.seq, self.at) = (seq, at);
    }

    /// Reads the next entry; `None` if the bytes aren't one.
    #[inline]
    pub fn take(&mut self, entries: &mut &[u8]) -> Option<Stored> {
        let [tag] = varint::take_bytes(entries)?;
        self.seq = self.seq.checked_add(varint::take_u64(entries)?)?;
        self.at = self.at.checked_add_signed(varint::take_i64(entries)?)?;
        let voter = VoterId(varint::take_bytes(entries)?);
        let clip = ClipNo(varint::take_u32(entries)?);
        let weight = varint::take_u16(entries)?;
        let day = Day::try_from(i32::from(self.day).checked_add(varint::take_i32(entries)?)?).ok()?;
        let act = match tag {
            0 | WITH_ORIGIN => Act::Cast(VoteKind::Standard),
            1 | 5 => Act::Cast(VoteKind::Super),
            2 | 6 => Act::Cast(VoteKind::Mega),
            3 => Act::Retract(self.seq.checked_sub(varint::take_u64(entries)?)?),
            _ => return None,
        };
        let origin = if tag >= WITH_ORIGIN {
            let [risk] = varint::take_bytes(entries)?;
            Origin { risk, network: NetworkHash::of(varint::take_bytes(entries)?) }
        } else {
            Origin::default()
        };
        Some(Stored { seq: self.seq, at: self.at, ballot: Ballot { voter, clip, weight, day, act, origin } })
    }
}

/// The head of a stored block alone.
pub fn head(key: &[u8], record: &[u8]) -> Result<Head, Fault> {
    let (mut body, _) = codec::open("tables", Kind::BallotBlock, key, record)?;
    codec::take(&mut body).ok_or_else(|| Fault::damaged("tables", key, "its head does not decode"))
}

/// Visits every entry of a stored block, in log order.
pub fn read(key: &[u8], record: &[u8], visit: impl FnMut(Stored) -> Result<(), Fault>) -> Result<Head, Fault> {
    Ok(read_all(key, record, visit)?.0)
}

/// Gives the head, and the place behind the last entry.
fn read_all(
    key: &[u8],
    record: &[u8],
    mut visit: impl FnMut(Stored) -> Result<(), Fault>,
) -> Result<(Head, Trail), Fault> {
    let damaged = |why: &str| Fault::damaged("tables", key, why);
    let (mut body, _) = codec::open("tables", Kind::BallotBlock, key, record)?;
    let head: Head = codec::take(&mut body).ok_or_else(|| damaged("its head does not decode"))?;
    let mut trail = head.trail();
    for _ in 0..head.entries {
        visit(trail.take(&mut body).ok_or_else(|| damaged("an entry does not decode"))?)?;
    }
    if !body.is_empty() || trail.seq != head.last {
        return Err(damaged("its head and its entries differ"));
    }
    Ok((head, trail))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn entries() -> impl Strategy<Value = Vec<Stored>> {
        let entry = (
            1_u64..50,
            0_u64..1 << 42,
            any::<[u8; 16]>(),
            0_u32..70_000,
            any::<u16>(),
            any::<u16>(),
            0_u8..4,
            1_u64..99,
            prop_oneof![Just((0, [0; 8])), (0_u8..101, any::<[u8; 8]>())],
        );
        prop::collection::vec(entry, 1..200).prop_map(|raw| {
            let mut seq = 100;
            raw.into_iter()
                .map(|(step, at, voter, clip, weight, day, act, back, (risk, network))| {
                    seq += step;
                    let act = match act {
                        0 => Act::Cast(VoteKind::Standard),
                        1 => Act::Cast(VoteKind::Super),
                        2 => Act::Cast(VoteKind::Mega),
                        _ => Act::Retract(seq - back),
                    };
                    let origin = match act {
                        Act::Cast(_) => Origin { risk, network: NetworkHash::of(network) },
                        Act::Retract(_) => Origin::default(),
                    };
                    let ballot = Ballot { voter: VoterId(voter), clip: ClipNo(clip), weight, day, act, origin };
                    Stored { seq, at, ballot }
                })
                .collect()
        })
    }

    proptest! {
        #[test]
        fn a_block_reads_back_and_continues_where_it_was_cut(all in entries(), cut in any::<prop::sample::Index>()) {
            let cut = cut.index(all.len());
            let slot = SlotNo(3);
            let key = keys::ballots(slot, all[0].seq);
            let mut block = BallotBlock::begin(all[0]);
            for (at, entry) in all.iter().enumerate().skip(1) {
                if at == cut {
                    block = BallotBlock::resume(&key, &block.record(slot)).unwrap();
                }
                block.append(*entry);
            }
            let record = block.record(slot);
            let mut seen = Vec::new();
            let head = read(&key, &record, |entry| { seen.push(entry); Ok(()) }).unwrap();
            prop_assert_eq!(&seen, &all);
            prop_assert_eq!(head.entries as usize, all.len());
            prop_assert_eq!(head.max_day, all.iter().map(|entry| entry.ballot.day).max().unwrap());
        }
    }

    /// The layout in the file's page, by nothing but the codec.
    fn by_the_codec(all: &[Stored]) -> Vec<u8> {
        let (mut bytes, mut before) = (Vec::new(), all[0]);
        for entry in all {
            let Stored { seq, at, ballot } = *entry;
            let Origin { risk, network } = ballot.origin;
            let kind = match ballot.act {
                Act::Cast(VoteKind::Standard) => 0_u8,
                Act::Cast(VoteKind::Super) => 1,
                Act::Cast(VoteKind::Mega) => 2,
                Act::Retract(_) => 3,
            };
            let known = ballot.origin != Origin::default();
            let steps = (seq - before.seq, at.cast_signed() - before.at.cast_signed());
            let day = i32::from(ballot.day) - i32::from(all[0].ballot.day);
            let tag = if known { kind + 4 } else { kind };
            codec::put(&(tag, steps, ballot.voter, ballot.clip, ballot.weight, day), &mut bytes);
            if let Act::Retract(vote) = ballot.act {
                codec::put(&(seq - vote), &mut bytes);
            }
            if known {
                codec::put(&(risk, network), &mut bytes);
            }
            before = *entry;
        }
        bytes
    }

    proptest! {
        #[test]
        fn entries_are_byte_for_byte_as_the_codec_writes_them(all in entries()) {
            let mut block = BallotBlock::begin(all[0]);
            all.iter().skip(1).for_each(|entry| block.append(*entry));
            prop_assert_eq!(block.entries, by_the_codec(&all));
        }

        #[test]
        fn a_cut_or_changed_entry_never_panics(all in entries(), cut: prop::sample::Index, bit: prop::sample::Index) {
            let mut bytes = by_the_codec(&all);
            let bit = bit.index(bytes.len() * 8);
            bytes[bit / 8] ^= 1 << (bit % 8);
            let (mut trail, mut rest) = (Trail::before(&all[0]), &bytes[..cut.index(bytes.len())]);
            while trail.take(&mut rest).is_some() {}
        }
    }

    #[test]
    fn a_vote_takes_about_24_bytes_and_its_origin_9() {
        let origin = Origin { risk: 45, network: NetworkHash::of([0xff; 8]) };
        for (origin, each) in [(Origin::default(), 24), (origin, 33)] {
            let bytes = bytes_of_a_thousand(origin);
            assert!(bytes <= each * 1000, "{bytes}");
        }
    }

    fn bytes_of_a_thousand(origin: Origin) -> usize {
        let entry = |n: u64| {
            let mut voter = [0; 16];
            voter[..8].copy_from_slice(&n.to_be_bytes());
            let ballot = Ballot {
                voter: VoterId(voter),
                clip: ClipNo(7),
                weight: 1,
                day: 20_000,
                act: Act::Cast(VoteKind::Standard),
                origin,
            };
            Stored { seq: 1_000 + n, at: 1_700_000_000_000 + n, ballot }
        };
        let mut block = BallotBlock::begin(entry(0));
        (1..1000).for_each(|n| block.append(entry(n)));
        block.record(SlotNo(0)).len()
    }
}
