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
use crate::codec::{self, Kind};
use crate::domain::{ClipNo, Day, Origin, Retraction, Seq, SlotNo, Vote, VoteKind, VoterId};
use crate::error::Fault;

/// A block that holds this much is not rewritten by a later step.
pub const FULL: usize = 8 * 1024;
/// No block grows past this within a step.
pub const LIMIT: usize = 60 * 1024;
/// No entry is longer.
const ENTRY_MAX: usize = 80;
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

/// A block under construction, or read back to be continued.
#[derive(Clone, Debug)]
pub struct BallotBlock {
    head: Head,
    last_at: u64,
    entries: Vec<u8>,
    stored: usize,
}

impl BallotBlock {
    /// A block that begins with this entry.
    pub fn begin(stored: Stored) -> Self {
        let Stored { seq, at, ballot } = stored;
        let head = Head { first: seq, last: seq, day: ballot.day, max_day: ballot.day, entries: 0, at };
        let mut block = Self { head, last_at: at, entries: Vec::with_capacity(FULL), stored: 0 };
        block.append(stored);
        block
    }

    /// A block that begins with this entry, behind another of its slot.
    pub fn begin_behind(before: &Self, stored: Stored) -> Self {
        let mut block = Self::begin(stored);
        block.head.max_day = block.head.max_day.max(before.head.max_day);
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
        let Stored { seq, at, ballot } = stored;
        let known = ballot.origin != Origin::default();
        let (tag, vote) = match ballot.act {
            Act::Cast(VoteKind::Standard) => (0_u8, None),
            Act::Cast(VoteKind::Super) => (1, None),
            Act::Cast(VoteKind::Mega) => (2, None),
            Act::Retract(vote) => (3, Some(seq - vote)),
        };
        debug_assert!(vote.is_none() || !known, "a retraction has no origin");
        let tag = if known { tag + WITH_ORIGIN } else { tag };
        let time = at.cast_signed().wrapping_sub(self.last_at.cast_signed());
        let day = i32::from(ballot.day) - i32::from(self.head.day);
        codec::put(
            &(tag, seq - self.head.last, time, ballot.voter, ballot.clip, ballot.weight, day),
            &mut self.entries,
        );
        if let Some(distance) = vote {
            codec::put(&distance, &mut self.entries);
        } else if known {
            codec::put(&ballot.origin, &mut self.entries);
        }
        self.head.last = seq;
        self.head.max_day = self.head.max_day.max(ballot.day);
        self.head.entries += 1;
        self.last_at = at;
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
        let mut last_at = 0;
        let head = read(key, record, |entry| {
            last_at = entry.at;
            Ok(())
        })?;
        let (mut body, _) = codec::open("tables", Kind::BallotBlock, key, record)?;
        let _: Option<Head> = codec::take(&mut body);
        Ok(Self { head, last_at, entries: body.to_vec(), stored: body.len() })
    }
}

/// The head of a stored block alone.
pub fn head(key: &[u8], record: &[u8]) -> Result<Head, Fault> {
    let (mut body, _) = codec::open("tables", Kind::BallotBlock, key, record)?;
    codec::take(&mut body).ok_or_else(|| Fault::damaged("tables", key, "its head does not decode"))
}

/// Visits every entry of a stored block, in log order.
pub fn read(key: &[u8], record: &[u8], mut visit: impl FnMut(Stored) -> Result<(), Fault>) -> Result<Head, Fault> {
    let damaged = |why: &str| Fault::damaged("tables", key, why);
    let (mut body, _) = codec::open("tables", Kind::BallotBlock, key, record)?;
    let head: Head = codec::take(&mut body).ok_or_else(|| damaged("its head does not decode"))?;
    let (mut seq, mut at) = (head.first, head.at);
    for _ in 0..head.entries {
        let entry = take(&mut body, &head, &mut seq, &mut at).ok_or_else(|| damaged("an entry does not decode"))?;
        visit(entry)?;
    }
    if !body.is_empty() || seq != head.last {
        return Err(damaged("its head and its entries differ"));
    }
    Ok(head)
}

fn take(body: &mut &[u8], head: &Head, seq: &mut Seq, at: &mut u64) -> Option<Stored> {
    let (tag, step, time, voter, clip, weight, day): (u8, u64, i64, VoterId, ClipNo, u16, i32) = codec::take(body)?;
    *seq = seq.checked_add(step)?;
    *at = at.checked_add_signed(time)?;
    let day = Day::try_from(i32::from(head.day).checked_add(day)?).ok()?;
    let act = match tag {
        0 | WITH_ORIGIN => Act::Cast(VoteKind::Standard),
        1 | 5 => Act::Cast(VoteKind::Super),
        2 | 6 => Act::Cast(VoteKind::Mega),
        3 => Act::Retract(seq.checked_sub(codec::take(body)?)?),
        _ => return None,
    };
    let origin = if tag >= WITH_ORIGIN { codec::take(body)? } else { Origin::default() };
    Some(Stored { seq: *seq, at: *at, ballot: Ballot { voter, clip, weight, day, act, origin } })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::NetworkHash;

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
