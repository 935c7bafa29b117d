//! How often one connection may do something: a bucket of turns that fills up with time.

use std::time::{Duration, Instant};

/// So many at once, and one more each `refill`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Quota {
    /// Turns of a full bucket.
    pub(super) burst: u32,
    /// Time for one turn to come back.
    pub(super) refill: Duration,
}

/// A connection's bucket. Kept as the time at which it is full again: eight bytes, and nothing to run.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Rate {
    full_at: Option<Instant>,
}

impl Rate {
    /// Takes a turn; `false` when there is none.
    pub(super) fn take(&mut self, quota: Quota, now: Instant) -> bool {
        let full_at = self.full_at.map_or(now, |at| at.max(now)) + quota.refill;
        if full_at > now + quota.refill * quota.burst {
            return false;
        }
        self.full_at = Some(full_at);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEN_A_SECOND: Quota = Quota { burst: 10, refill: Duration::from_millis(100) };

    #[test]
    fn a_burst_passes_and_then_one_each_refill() {
        let (mut rate, start) = (Rate::default(), Instant::now());
        let mut taken = |after_ms| rate.take(TEN_A_SECOND, start + Duration::from_millis(after_ms));
        assert_eq!((0..15).filter(|_| taken(0)).count(), 10);
        assert!(!taken(99));
        assert!(taken(100));
        assert!(!taken(100));
        assert_eq!((0..15).filter(|_| taken(5_000)).count(), 10, "what was not used is not saved up");
    }
}
