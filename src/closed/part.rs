//! Ballots of one range of `c`, gathered from a slot's blocks and put in order: what bounds the memory of a sort.
//!
//! `c` is a hash, so ranges of equal width hold about equally many voters. Within a range, ballots lie in buckets, coded as in a
//! block, so that a pass over the blocks is enough for some millions, and each bucket can be sorted in little time.

use std::ops::Range;

use crate::domain::Seq;
use crate::error::Fault;
use crate::fold::Stored;
use crate::fold::ballot_block::{Act, ENTRY_MAX, Trail};
use crate::merkle::{Hash, Scope};

/// Bytes of a part at most: every part is a pass over all of the slot's blocks, so a few large ones. About 5 million votes with
/// their origins, or 6 million without.
const PART_MAX: usize = 408 << 20;
/// What a part is planned to hold: the widths are even, the voters' ballots are not quite.
const PLANNED: u64 = (PART_MAX as u64) / 8 * 7;
/// What an entry takes more than in its block: `c`, and steps that are longer, since its neighbours lie further apart.
const MORE: u64 = 32 + 8;
/// Bytes of `c`.
const C: usize = 32;
/// So many that a bucket is a step's work, so few that the ends of all of them stay in the processor's caches, and their pages in
/// its translation buffers: four times as many cost a sort a tenth more (`--bench sort`).
const BUCKETS: usize = 512;

/// A ballot with its voter's `c`: to compute it again costs more than to keep it.
#[derive(Clone, Copy, Debug)]
struct Entry {
    c: Hash,
    stored: Stored,
}

/// The ballots of a range of prefixes.
#[derive(Debug)]
pub(super) struct Part {
    from: u64,
    /// In front of the first entry, for every bucket; `None` while there is none.
    start: Option<Trail>,
    /// How many prefixes a bucket is for.
    width: u64,
    /// Those that are kept: the range is cut short when there is too much in them.
    buckets: Vec<Bucket>,
    /// What a bucket makes room for at first.
    room: usize,
    bytes: usize,
    most: usize,
    /// A single bucket is thinned out once it holds so much.
    thin_at: usize,
    /// The bucket being sorted: its entries in log order, and their order by prefix.
    entries: Vec<Entry>,
    order: Vec<(u64, usize)>,
}

/// Ballots in log order: of each `c`, then the entry.
#[derive(Clone, Debug, Default)]
struct Bucket {
    /// Behind the last; `None` while there is none.
    trail: Option<Trail>,
    bytes: Vec<u8>,
}

impl Part {
    /// Which begins at a prefix, for a slot with so many entries in all, in blocks of so many bytes.
    pub(super) fn planned(from: u64, entries: u64, bytes: u64) -> Self {
        let expected = bytes + entries * MORE;
        let parts = expected.div_ceil(PLANNED).max(1);
        let room = usize::try_from(expected / parts / BUCKETS as u64).expect("a part fits into memory");
        Self::with(from, (1_u128 << 64).div_ceil(u128::from(parts)), room + room / 16, PART_MAX)
    }

    /// For a span of up to 2^64 prefixes.
    fn with(from: u64, span: u128, room: usize, most: usize) -> Self {
        let width = u64::try_from(span.div_ceil(BUCKETS as u128)).expect("a bucket is one of many");
        let buckets = vec![Bucket::default(); BUCKETS];
        let (entries, order) = (Vec::new(), Vec::new());
        Self { from, start: None, width, buckets, room, bytes: 0, most, thin_at: most, entries, order }
    }

    /// Takes an entry of its range, in log order; others are not for it.
    pub(super) fn take(&mut self, scope: &Scope, stored: Stored) -> Result<(), Fault> {
        let c = scope.voter(stored.ballot.voter);
        let prefix = prefix_of(&c);
        let bucket = prefix.checked_sub(self.from).map(|offset| offset / self.width);
        let bucket = bucket.and_then(|bucket| self.buckets.get_mut(usize::try_from(bucket).ok()?));
        let Some(bucket) = bucket else { return Ok(()) };
        let start = self.start.get_or_insert_with(|| Trail::before(&stored));
        self.bytes += bucket.push(Entry { c, stored }, start, self.room);
        if self.bytes > self.most { self.relieve() } else { Ok(()) }
    }

    /// Gives up the last buckets, which the next part begins with; the only one is rid of what was taken back.
    fn relieve(&mut self) -> Result<(), Fault> {
        while self.bytes > self.most && self.buckets.len() > 1 {
            let given_up = self.buckets.pop().expect("there are two");
            self.bytes -= given_up.bytes.len();
        }
        if let ([bucket], Some(start)) = (self.buckets.as_mut_slice(), &self.start)
            && self.bytes > self.thin_at
        {
            std::mem::take(bucket).entries(start, &mut self.entries);
            cancel(&mut self.entries)?;
            self.bytes = 0;
            for entry in self.entries.drain(..) {
                self.bytes += bucket.push(entry, start, self.room);
            }
            self.thin_at = self.most.max(self.bytes * 2);
        }
        Ok(())
    }

    /// Where the next part begins; `None` behind the last.
    pub(super) fn end(&self) -> Option<u64> {
        let offset = self.buckets.len() as u128 * u128::from(self.width);
        u64::try_from(u128::from(self.from) + offset).ok()
    }

    /// Its buckets' numbers.
    pub(super) fn buckets(&self) -> Range<usize> {
        0..self.buckets.len()
    }

    /// The votes of a bucket that stand, in order, each with its voter's `c`. Empties it.
    pub(super) fn sorted(&mut self, bucket: usize) -> Result<impl Iterator<Item = (Hash, Stored)>, Fault> {
        self.entries.clear();
        if let Some(start) = &self.start {
            std::mem::take(&mut self.buckets[bucket]).entries(start, &mut self.entries);
        }
        cancel(&mut self.entries)?;
        put_in_order(&self.entries, &mut self.order);
        let entries = &self.entries;
        Ok(self.order.iter().map(|(_, at)| (entries[*at].c, entries[*at].stored)))
    }
}

impl Bucket {
    /// Adds an entry behind all that are in; how many bytes that took.
    fn push(&mut self, entry: Entry, start: &Trail, room: usize) -> usize {
        let before = self.bytes.len();
        if self.bytes.capacity() - before < C + ENTRY_MAX {
            // Not twice as much: what is planned for is there already, and all of it counts.
            self.bytes.reserve_exact(if before == 0 { room } else { before / 8 }.max(C + ENTRY_MAX));
        }
        self.bytes.extend_from_slice(&entry.c);
        self.trail.get_or_insert(*start).put(&entry.stored, &mut self.bytes);
        self.bytes.len() - before
    }

    /// Appends all of them, in log order.
    fn entries(self, start: &Trail, entries: &mut Vec<Entry>) {
        let (mut trail, mut rest) = (*start, self.bytes.as_slice());
        while let Some((c, entry)) = rest.split_first_chunk() {
            rest = entry;
            let stored = trail.take(&mut rest).expect("it was put there");
            entries.push(Entry { c: *c, stored });
        }
    }
}

fn prefix_of(c: &[u8; 32]) -> u64 {
    u64::from_be_bytes(c[..8].try_into().expect("8 of 32 bytes"))
}

/// The places of entries that are in log order, by `c`, then sequence.
fn put_in_order(entries: &[Entry], order: &mut Vec<(u64, usize)>) {
    order.clear();
    order.extend(entries.iter().map(|entry| prefix_of(&entry.c)).zip(0..));
    order.sort_unstable();
    for alike in order.chunk_by_mut(|a, b| a.0 == b.0) {
        // Two voters whose `c` begin alike are as good as never met.
        alike.sort_unstable_by_key(|(_, at)| (entries[*at].c, *at));
    }
}

/// Takes out retractions with their votes.
fn cancel(entries: &mut Vec<Entry>) -> Result<(), Fault> {
    let back = |entry: &Entry| match entry.stored.ballot.act {
        Act::Cast(_) => None,
        Act::Retract(vote) => Some(vote),
    };
    let mut gone: Vec<Seq> = entries.iter().filter_map(back).collect();
    if gone.is_empty() {
        return Ok(());
    }
    gone.sort_unstable();
    let before = entries.len();
    entries.retain(|entry| back(entry).is_none() && gone.binary_search(&entry.stored.seq).is_err());
    if before - entries.len() == 2 * gone.len() {
        return Ok(());
    }
    let why = "votes of a closed slot were taken back that it does not hold; `plaudit verify` lists them".into();
    Err(Fault::Inconsistent { why })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::{ClipNo, VoteKind, VoterId};
    use crate::fold::Ballot;

    fn stored(seq: Seq, voter: u16, act: Act) -> Stored {
        let mut id = [0; 16];
        id[..2].copy_from_slice(&voter.to_be_bytes());
        Stored {
            seq,
            at: 0,
            ballot: Ballot {
                voter: VoterId(id),
                clip: ClipNo(0),
                weight: 1,
                day: 0,
                act,
                origin: crate::domain::Origin::default(),
            },
        }
    }

    /// A log in which voters vote, and take some of it back.
    fn log(acts: &[(u16, bool)]) -> Vec<Stored> {
        let mut standing: std::collections::HashMap<u16, Vec<Seq>> = std::collections::HashMap::new();
        let acts = acts.iter().zip(1..).map(|((voter, back), seq)| {
            let votes = standing.entry(*voter).or_default();
            if let Some(vote) = if *back { votes.pop() } else { None } {
                return stored(seq, *voter, Act::Retract(vote));
            }
            votes.push(seq);
            stored(seq, *voter, Act::Cast(VoteKind::Standard))
        });
        acts.collect()
    }

    /// What is left of a log, in order, by nothing but the definition.
    fn naive(scope: &Scope, log: &[Stored]) -> Vec<Seq> {
        let gone: Vec<Seq> = log
            .iter()
            .filter_map(|entry| match entry.ballot.act {
                Act::Retract(vote) => Some(vote),
                Act::Cast(_) => None,
            })
            .collect();
        let stands = |entry: &&Stored| matches!(entry.ballot.act, Act::Cast(_)) && !gone.contains(&entry.seq);
        let mut left: Vec<_> =
            log.iter().filter(stands).map(|entry| (scope.voter(entry.ballot.voter), entry.seq)).collect();
        left.sort_unstable();
        left.into_iter().map(|(_, seq)| seq).collect()
    }

    /// All parts, one after the other.
    fn in_parts(scope: &Scope, log: &[Stored], span: u128, most: usize) -> (Vec<Seq>, usize) {
        let (mut order, mut parts, mut from) = (Vec::new(), 0, Some(0));
        while let Some(begin) = from {
            let mut part = Part::with(begin, span, 0, most);
            for entry in log {
                part.take(scope, *entry).unwrap();
                assert!(part.buckets.len() == 1 || part.bytes <= most);
            }
            assert_eq!(part.bytes, part.buckets.iter().map(|bucket| bucket.bytes.len()).sum::<usize>());
            for bucket in part.buckets() {
                order.extend(part.sorted(bucket).unwrap().map(|(_, entry)| entry.seq));
            }
            from = part.end();
            parts += 1;
        }
        (order, parts)
    }

    proptest! {
        #[test]
        fn parts_in_turn_are_the_whole_in_order(
            acts in prop::collection::vec((0_u16..40, any::<bool>()), 0..400),
            wide in 60_u32..=64,
            most in 200_usize..8_000,
        ) {
            let (scope, log) = (Scope::new("s", 1), log(&acts));
            let (order, parts) = in_parts(&scope, &log, 1 << wide, most);
            prop_assert_eq!(order, naive(&scope, &log));
            prop_assert!(parts >= 1 << (64 - wide));
        }
    }

    #[test]
    fn one_voter_who_votes_and_retracts_for_ever_takes_no_memory() {
        let acts: Vec<_> = (0..5_000).map(|n| (7, n % 2 == 1)).collect();
        let (scope, log) = (Scope::new("s", 1), log(&acts));
        let mut part = Part::with(prefix_of(&scope.voter(log[0].ballot.voter)), 1, 0, 400);
        for entry in &log {
            part.take(&scope, *entry).unwrap();
            assert!(part.bytes <= 900, "{}", part.bytes);
        }
        assert_eq!(in_parts(&scope, &log, 1 << 64, 400).0, Vec::<Seq>::new());
    }

    #[test]
    fn prefixes_that_are_alike_leave_the_order_to_c() {
        let (scope, log) = (Scope::new("s", 1), log(&[(3, false), (1, false), (3, false), (2, false), (1, false)]));
        // Its beginning taken from all.
        let c = |stored: &Stored| [&[7; 8], &scope.voter(stored.ballot.voter)[..24]].concat().try_into().unwrap();
        let entries: Vec<_> = log.iter().map(|stored| Entry { c: c(stored), stored: *stored }).collect();
        let mut order = Vec::new();
        put_in_order(&entries, &mut order);
        let found: Vec<_> = order.into_iter().map(|(_, at)| entries[at].stored.seq).collect();
        assert_eq!(found, naive(&scope, &log));
    }

    #[test]
    fn parts_are_as_many_as_the_bytes_ask_for() {
        let five_million = Part::planned(0, 5_000_000, 5_000_000 * 34);
        assert_eq!(five_million.end(), None, "with their origins in one pass");
        assert!(five_million.room * BUCKETS < PART_MAX, "room for all of them");
        let (mut parts, mut from) = (0, Some(0));
        while let Some(begin) = from {
            from = Part::planned(begin, 50_000_000, 50_000_000 * 34).end();
            parts += 1;
        }
        assert_eq!(parts, 10);
    }

    #[test]
    fn a_retraction_without_its_vote_is_an_error() {
        let mut part = Part::planned(0, 1, 40);
        let scope = Scope::new("s", 1);
        part.take(&scope, stored(9, 1, Act::Retract(4))).unwrap();
        assert!(part.buckets().any(|bucket| part.sorted(bucket).is_err()));
    }
}
