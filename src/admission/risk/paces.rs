//! Who votes faster than a person: each voter's last vote, in a table of fixed size without a lock. Another voter's may take
//! a place; that only forgets.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::domain::VoterId;

/// Nobody finds the next clip and votes for it in less.
pub(super) const QUICK_MS: u32 = 400;
/// Places: a power of two, 8 bytes each. Only votes of the last 400 ms matter: few beside 65,536.
const PLACES: usize = 1 << 16;
const STREAK_MAX: u64 = 255;

/// A place: 24 bits of a voter, 8 of how many quick votes came in a row, 32 of milliseconds.
#[derive(Debug)]
pub(super) struct Paces(Box<[AtomicU64]>);

impl Paces {
    pub(super) fn new() -> Self {
        Self((0..PLACES).map(|_| AtomicU64::new(0)).collect())
    }

    /// Notes a vote; how many in a row, up to it, came faster than a person votes.
    pub(super) fn note(&self, voter: VoterId, now_ms: u64) -> u32 {
        let hash = voter.hash64();
        let (mark, now) = (hash >> 40, now_ms & u64::from(u32::MAX));
        let place = &self.0[usize::try_from(hash & (PLACES as u64 - 1)).expect("16 bits")];
        // Two votes of one voter at the same instant may both read the older one: a guess that is off by one.
        let last = place.load(Ordering::Relaxed);
        // A clock that went back is as good as a long pause.
        let pause = now.wrapping_sub(last) & u64::from(u32::MAX);
        let quick = last >> 40 == mark && pause < u64::from(QUICK_MS) && last != 0;
        let streak = if quick { ((last >> 32 & 0xff) + 1).min(STREAK_MAX) } else { 0 };
        place.store(mark << 40 | streak << 32 | now, Ordering::Relaxed);
        u32::try_from(streak).expect("8 bits")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::VoterKey;

    const NOON: u64 = 1_700_000_000_000;

    fn voter(n: u32) -> VoterId {
        VoterKey::new([7; 32]).user(&n.to_string())
    }

    #[test]
    fn quick_votes_in_a_row_are_counted_until_a_pause() {
        let paces = Paces::new();
        let at = [0, 399, 798, 1_198, 1_300, 900, 1_000].map(|ms| paces.note(voter(1), NOON + ms));
        assert_eq!(at, [0, 1, 2, 0, 1, 0, 1], "400 ms are a pause, and so is a step back");
        assert_eq!(paces.note(voter(2), NOON + 1_001), 0);
    }

    #[test]
    fn a_row_has_an_end_that_is_counted() {
        let paces = Paces::new();
        let last = (0..1_000).map(|n| paces.note(voter(1), NOON + n)).fold(0, |_, streak| streak);
        assert_eq!(last, 255);
    }

    #[test]
    fn many_voters_are_hardly_ever_taken_for_each_other() {
        let paces = Paces::new();
        let quick = (0..200_000).filter(|n| paces.note(voter(*n), NOON) > 0).count();
        assert_eq!(quick, 0);
    }
}
