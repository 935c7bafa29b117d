//! Ballots of one range of `c`, gathered from a slot's blocks and put in order: what bounds the memory of a sort.
//!
//! `c` is a hash, so ranges of equal width hold about equally many voters. Within a range, ballots lie in buckets, so that each
//! can be sorted in little time.

use std::ops::Range;

use crate::domain::Seq;
use crate::error::Fault;
use crate::fold::Stored;
use crate::fold::ballot_block::Act;
use crate::merkle::Scope;

/// Entries of a part at most, of 64 bytes each: every part is a pass over all of the slot's blocks, so a few large ones.
pub(super) const PART_MAX: usize = 1 << 21;
/// What a part is planned to hold: the widths are even, the voters' ballots are not quite.
const PLANNED: u64 = (PART_MAX as u64) / 8 * 7;
const BUCKETS: usize = 1024;

/// An entry with the beginning of its voter's `c`.
#[derive(Clone, Copy, Debug)]
struct Entry {
    prefix: u64,
    stored: Stored,
}

/// The ballots of a range of prefixes.
#[derive(Debug)]
pub(super) struct Part {
    from: u64,
    /// How many prefixes it was meant for; up to 2^64.
    span: u128,
    /// Those that are kept: the range is cut short when there are too many.
    buckets: Vec<Vec<Entry>>,
    entries: usize,
    most: usize,
    /// A single bucket is thinned out once it holds so many.
    thin_at: usize,
}

impl Part {
    /// Which begins at a prefix, for a slot with so many entries in all.
    pub(super) fn planned(from: u64, entries: u64) -> Self {
        Self::with(from, (1_u128 << 64) / u128::from(entries.div_ceil(PLANNED).max(1)) + 1, PART_MAX)
    }

    fn with(from: u64, span: u128, most: usize) -> Self {
        let buckets = vec![Vec::new(); BUCKETS];
        Self { from, span: span.min((1 << 64) - u128::from(from)), buckets, entries: 0, most, thin_at: most }
    }

    /// Takes an entry of its range, in log order; others are not for it.
    pub(super) fn take(&mut self, scope: &Scope, stored: Stored) -> Result<(), Fault> {
        let prefix = prefix_of(&scope.voter(stored.ballot.voter));
        let Some(offset) = prefix.checked_sub(self.from).filter(|offset| u128::from(*offset) < self.span) else {
            return Ok(());
        };
        let bucket = usize::try_from(u128::from(offset) * BUCKETS as u128 / self.span).expect("below BUCKETS");
        // Behind a bucket that was given up.
        let Some(bucket) = self.buckets.get_mut(bucket) else { return Ok(()) };
        bucket.push(Entry { prefix, stored });
        self.entries += 1;
        if self.entries > self.most { self.relieve(scope) } else { Ok(()) }
    }

    /// Gives up the last buckets, which the next part begins with; the only one is rid of what was taken back.
    fn relieve(&mut self, scope: &Scope) -> Result<(), Fault> {
        while self.entries > self.most && self.buckets.len() > 1 {
            let given_up = self.buckets.pop().expect("there are two");
            self.entries -= given_up.len();
        }
        if self.buckets.len() == 1 && self.entries > self.thin_at {
            sort(scope, &mut self.buckets[0]);
            cancel(&mut self.buckets[0])?;
            self.entries = self.buckets[0].len();
            self.thin_at = self.most.max(self.entries * 2);
        }
        Ok(())
    }

    /// Where the next part begins; `None` behind the last.
    pub(super) fn end(&self) -> Option<u64> {
        let offset = (self.buckets.len() as u128 * self.span).div_ceil(BUCKETS as u128);
        u64::try_from(u128::from(self.from) + offset).ok()
    }

    /// Its buckets' numbers.
    pub(super) fn buckets(&self) -> Range<usize> {
        0..self.buckets.len()
    }

    /// The votes of a bucket that stand, in order. Empties it.
    pub(super) fn sorted(
        &mut self,
        scope: &Scope,
        bucket: usize,
    ) -> Result<impl Iterator<Item = Stored> + use<>, Fault> {
        let mut entries = std::mem::take(&mut self.buckets[bucket]);
        sort(scope, &mut entries);
        cancel(&mut entries)?;
        Ok(entries.into_iter().map(|entry| entry.stored))
    }
}

fn prefix_of(c: &[u8; 32]) -> u64 {
    u64::from_be_bytes(c[..8].try_into().expect("8 of 32 bytes"))
}

/// By `c`, then sequence. Two voters whose `c` begin alike are as good as never met.
fn sort(scope: &Scope, entries: &mut [Entry]) {
    entries.sort_unstable_by(|a, b| {
        let (left, right) = (a.stored.ballot.voter, b.stored.ballot.voter);
        let by_prefix = a.prefix.cmp(&b.prefix);
        let by_c = by_prefix.then_with(|| {
            if left == right { std::cmp::Ordering::Equal } else { scope.voter(left).cmp(&scope.voter(right)) }
        });
        by_c.then(a.stored.seq.cmp(&b.stored.seq))
    });
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
            let mut part = Part::with(begin, span, most);
            for entry in log {
                part.take(scope, *entry).unwrap();
                assert!(part.buckets.len() == 1 || part.entries <= most);
            }
            for bucket in part.buckets() {
                order.extend(part.sorted(scope, bucket).unwrap().map(|entry| entry.seq));
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
            most in 5_usize..200,
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
        let mut part = Part::with(prefix_of(&scope.voter(log[0].ballot.voter)), 1, 10);
        for entry in &log {
            part.take(&scope, *entry).unwrap();
            assert!(part.entries <= 22, "{}", part.entries);
        }
        assert_eq!(in_parts(&scope, &log, 1 << 64, 10).0, Vec::<Seq>::new());
    }

    #[test]
    fn a_retraction_without_its_vote_is_an_error() {
        let mut part = Part::planned(0, 1);
        let scope = Scope::new("s", 1);
        part.take(&scope, stored(9, 1, Act::Retract(4))).unwrap();
        assert!(part.buckets().any(|bucket| part.sorted(&scope, bucket).is_err()));
    }
}
