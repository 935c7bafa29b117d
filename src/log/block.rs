//! A batch of events as one record of the log, under its first sequence in big-endian.
//!
//! ```text
//! head     first u64, previous block's H 32 bytes, at u64, events u32     (varints but for H)
//! event    time less the one before (zigzag), tag, fields as in `domain::Event`
//! ```
//!
//! The hash H of a block (see `codec`) covers its predecessor's, so that no block can be changed, left out or put
//! elsewhere without every later one showing it. The first block's predecessor is [`genesis`].

use bincode::{Decode, Encode};

use crate::codec::{self, Chain, Kind};
use crate::domain::{Event, Logged, Seq};
use crate::error::Fault;

/// Events in a block at most.
pub const EVENTS_MAX: usize = 1024;
/// A block is cut before an event that would take its body past this: below the store's limit with room for one event.
pub const BODY_MAX: usize = 56 * 1024;
/// No event encodes longer.
pub const EVENT_MAX: usize = 4 * 1024;

const _: () = assert!(codec::HEADER + 64 + BODY_MAX + EVENT_MAX <= crate::store::VALUE_MAX);

#[derive(Clone, Copy, Debug, Encode, Decode)]
struct Head {
    first: Seq,
    previous: Chain,
    at: u64,
    events: u32,
}

/// What stands in front of the first block, from the store's id.
pub fn genesis(store_id: [u8; 16]) -> Chain {
    blake3::derive_key("plaudit 2026 log genesis", &store_id)
}

/// The key of the block that begins with this sequence.
pub fn key(first: Seq) -> [u8; 8] {
    first.to_be_bytes()
}

/// A block under construction; keeps its memory from block to block.
#[derive(Debug, Default)]
pub struct Builder {
    events: Vec<u8>,
    record: Vec<u8>,
    count: u32,
    first_at: u64,
    last_at: u64,
}

impl Builder {
    /// Adds the next event.
    pub fn add(&mut self, at: u64, event: &Event) {
        if self.count == 0 {
            (self.first_at, self.last_at) = (at, at);
        }
        codec::put(&at.cast_signed().wrapping_sub(self.last_at.cast_signed()), &mut self.events);
        codec::put(event, &mut self.events);
        self.last_at = at;
        self.count += 1;
    }

    /// Whether no event is in.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Whether the next event belongs into another block.
    pub fn is_full(&self) -> bool {
        self.count as usize >= EVENTS_MAX || self.events.len() >= BODY_MAX
    }

    /// The record of the block that begins with `first` and follows `previous`, and its hash. Empties the builder.
    pub fn seal(&mut self, first: Seq, previous: Chain) -> (&[u8], Chain) {
        codec::begin(&mut self.record);
        let head = Head { first, previous, at: self.first_at, events: self.count };
        codec::put(&head, &mut self.record);
        self.record.extend_from_slice(&self.events);
        let chain = codec::seal(Kind::LogBlock, &key(first), &mut self.record);
        self.events.clear();
        self.count = 0;
        (&self.record, chain)
    }
}

/// What a block says about itself and about its neighbour.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Link {
    /// Its first sequence.
    pub first: Seq,
    /// Its last sequence.
    pub last: Seq,
    /// The hash of the block before it.
    pub previous: Chain,
    /// Its own hash.
    pub chain: Chain,
}

/// Visits a block's events in order.
pub fn read(key: &[u8], record: &[u8], mut visit: impl FnMut(Logged) -> Result<(), Fault>) -> Result<Link, Fault> {
    let damaged = |why: &str| Fault::damaged("log", key, why);
    let (mut body, chain) = codec::open("log", Kind::LogBlock, key, record)?;
    let head: Head = codec::take(&mut body).ok_or_else(|| damaged("its head does not decode"))?;
    if key != self::key(head.first) || head.events == 0 {
        return Err(damaged("its head does not fit its key"));
    }
    // One must be left for what follows the block: whoever reads a log goes on behind its end.
    let behind = head.first.checked_add(head.events.into()).ok_or_else(|| damaged("its sequences do not fit"))?;
    let mut at = head.at;
    for seq in head.first..behind {
        let (time, event): (i64, Event) = codec::take(&mut body).ok_or_else(|| damaged("an event does not decode"))?;
        at = at.checked_add_signed(time).ok_or_else(|| damaged("an event's time does not fit"))?;
        visit(Logged { seq, at, event })?;
    }
    if !body.is_empty() {
        return Err(damaged("there is more in it than its events"));
    }
    Ok(Link { first: head.first, last: behind - 1, previous: head.previous, chain })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{ClipNo, SlotNo, Vote, VoteKind, VoterId};

    fn vote(n: u8) -> Event {
        let clip = ClipNo(300);
        Event::Voted(Vote {
            voter: VoterId([n; 16]),
            clip,
            slot: SlotNo(2),
            kind: VoteKind::Mega,
            weight: 10,
            day: 20_000,
        })
    }

    #[test]
    fn a_block_reads_back_and_names_its_predecessor() {
        let mut builder = Builder::default();
        let genesis = genesis([9; 16]);
        for n in 0..5 {
            builder.add(1_000 - u64::from(n), &vote(n));
        }
        let (record, chain) = builder.seal(41, genesis);
        let record = record.to_vec();
        let mut seen = Vec::new();
        let link = read(&key(41), &record, |logged| {
            seen.push((logged.seq, logged.at, logged.event));
            Ok(())
        });
        assert_eq!(link.unwrap(), Link { first: 41, last: 45, previous: genesis, chain });
        let sent: Vec<_> = (0..5).map(|n| (41 + u64::from(n), 1_000 - u64::from(n), vote(n))).collect();
        assert_eq!(seen, sent);
        assert!(read(&key(42), &record, |_| Ok(())).is_err(), "under another key");
    }

    #[test]
    fn a_block_at_the_end_of_all_sequences_is_damage_and_no_panic() {
        let mut builder = Builder::default();
        let mut block = |first, events| {
            (0..events).for_each(|n| builder.add(0, &vote(n)));
            let record = builder.seal(first, [0; 32]).0.to_vec();
            read(&key(first), &record, |_| Ok(()))
        };
        for (first, events) in [(u64::MAX - 1, 3), (u64::MAX - 1, 2), (u64::MAX, 1)] {
            let found = block(first, events);
            assert!(matches!(found, Err(Fault::Damaged { tree: "log", .. })), "{first} {events}: {found:?}");
        }
        assert_eq!(block(u64::MAX - 2, 2).unwrap().last, u64::MAX - 1);
    }

    #[test]
    fn a_block_of_votes_stays_below_40_bytes_a_vote() {
        let mut builder = Builder::default();
        for n in 0..=255 {
            builder.add(1_700_000_000_000, &vote(n));
        }
        let bytes = builder.seal(1 << 33, [0; 32]).0.len();
        assert!(bytes < 40 * 256, "{bytes}");
    }
}
