//! Wall-clock time that a test can set. Owns nothing but the reading; never decides what a time means.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// Milliseconds in a UTC day.
pub const DAY_MS: u64 = 86_400_000;

/// Where the time comes from. It may jump either way; who needs order uses the log's sequence.
pub trait Clock: Send + Sync + std::fmt::Debug {
    /// Unix milliseconds.
    fn now_ms(&self) -> u64;
}

/// The machine's clock.
#[derive(Debug, Default, Clone, Copy)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now_ms(&self) -> u64 {
        // Before 1970 reads as 1970: a clock so wrong must not stop the server.
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(0))
    }
}

/// The machine's clock, moved: it runs on from whatever it is set to.
#[derive(Debug, Default)]
pub struct MovedClock(AtomicI64);

impl MovedClock {
    /// Sets the time, forwards or backwards.
    pub fn set(&self, now_ms: u64) {
        let by = i128::from(now_ms) - i128::from(SystemClock.now_ms());
        let by = by.clamp(i64::MIN.into(), i64::MAX.into());
        self.0.store(i64::try_from(by).expect("clamped"), Ordering::SeqCst);
    }

    /// Moves the time forwards.
    pub fn advance(&self, by_ms: u64) {
        let by = i64::try_from(by_ms).unwrap_or(i64::MAX);
        // A loop, since a sum that wrapped would move it backwards.
        let _ = self.0.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |moved| Some(moved.saturating_add(by)));
    }

    /// Reads the machine's time again.
    pub fn reset(&self) {
        self.0.store(0, Ordering::SeqCst);
    }
}

impl Clock for MovedClock {
    fn now_ms(&self) -> u64 {
        SystemClock.now_ms().saturating_add_signed(self.0.load(Ordering::SeqCst))
    }
}

/// A clock that stands still until it is set.
#[derive(Debug)]
pub struct ManualClock(AtomicU64);

impl ManualClock {
    /// A clock that reads `now_ms` Unix milliseconds.
    pub fn at(now_ms: u64) -> Self {
        Self(AtomicU64::new(now_ms))
    }

    /// Sets the time, forwards or backwards.
    pub fn set(&self, now_ms: u64) {
        self.0.store(now_ms, Ordering::SeqCst);
    }

    /// Moves the time forwards.
    pub fn advance(&self, by_ms: u64) {
        self.0.fetch_add(by_ms, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now_ms(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moved_clock_runs_on_from_what_it_was_set_to() {
        let clock = MovedClock::default();
        let near = |now: u64, expected: u64| (expected..expected + 60_000).contains(&now);
        clock.set(1_000_000);
        assert!(near(clock.now_ms(), 1_000_000));
        clock.advance(DAY_MS);
        assert!(near(clock.now_ms(), 1_000_000 + DAY_MS));
        clock.advance(u64::MAX);
        clock.advance(u64::MAX);
        assert!(clock.now_ms() > u64::from(u32::MAX) * 1_000_000);
        let before = SystemClock.now_ms();
        clock.reset();
        assert!(near(clock.now_ms(), before));
    }
}
