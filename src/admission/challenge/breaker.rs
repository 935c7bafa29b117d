//! Whether a service that others need is asked: after failures in a row it is left alone for a while, then one request
//! tries it. Driven by the time it is given; never waits.

use parking_lot::Mutex;

/// So many failures in a row, and the service is left alone.
pub const FAILURES: u32 = 5;
/// For so long.
pub const OPEN_MS: u64 = 30_000;

#[derive(Debug, Default)]
pub(super) struct Breaker(Mutex<State>);

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    /// Everyone asks; so many failed in a row.
    Closed(u32),
    /// Nobody asks, since then.
    Open { since_ms: u64 },
    /// The next one tries.
    Due,
    /// One is trying, and nobody else asks.
    Trying,
}

impl Default for State {
    fn default() -> Self {
        Self::Closed(0)
    }
}

impl Breaker {
    /// Lets a request ask, or says after how many seconds it is worth coming again.
    pub(super) fn enter(&self, now_ms: u64) -> Result<Asked<'_>, u64> {
        let mut state = self.0.lock();
        if let State::Open { since_ms } = *state {
            // A clock that went back behind the failure must not keep the door shut for as long as the jump was wide.
            let left = now_ms.checked_sub(since_ms).map_or(0, |open| OPEN_MS.saturating_sub(open));
            if left > 0 {
                return Err(left.div_ceil(1000));
            }
            *state = State::Due;
        }
        match *state {
            State::Trying => Err(1),
            State::Due => {
                *state = State::Trying;
                Ok(Asked { breaker: self, tries: true })
            }
            _ => Ok(Asked { breaker: self, tries: false }),
        }
    }
}

/// A request that asks. Dropped without a word, as when its client leaves, it says nothing of the service, and another tries.
#[derive(Debug)]
pub(super) struct Asked<'a> {
    breaker: &'a Breaker,
    tries: bool,
}

impl Asked<'_> {
    /// The service answered.
    pub(super) fn answered(mut self) {
        let mut state = self.breaker.0.lock();
        // What was asked before the door was shut opens it for nobody.
        if std::mem::take(&mut self.tries) || matches!(*state, State::Closed(_)) {
            *state = State::Closed(0);
        }
    }

    /// It did not; whether it is left alone from now on.
    pub(super) fn failed(mut self, now_ms: u64) -> bool {
        let mut state = self.breaker.0.lock();
        let open = match *state {
            _ if std::mem::take(&mut self.tries) => true,
            State::Closed(failures) => {
                *state = State::Closed(failures + 1);
                failures + 1 >= FAILURES
            }
            _ => false,
        };
        if open {
            *state = State::Open { since_ms: now_ms };
        }
        open
    }
}

impl Drop for Asked<'_> {
    fn drop(&mut self) {
        if self.tries {
            *self.breaker.0.lock() = State::Due;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOON: u64 = 1_700_000_000_000;

    fn fail(breaker: &Breaker, times: u32) {
        for _ in 0..times {
            breaker.enter(NOON).unwrap().failed(NOON);
        }
    }

    #[test]
    fn failures_in_a_row_open_it_and_an_answer_between_starts_anew() {
        let breaker = Breaker::default();
        fail(&breaker, FAILURES - 1);
        breaker.enter(NOON).unwrap().answered();
        fail(&breaker, FAILURES - 1);
        assert!(breaker.enter(NOON).unwrap().failed(NOON), "the fifth in a row");
        assert_eq!(breaker.enter(NOON).unwrap_err(), 30);
        assert_eq!(breaker.enter(NOON + OPEN_MS - 1).unwrap_err(), 1);
    }

    #[test]
    fn behind_the_pause_one_tries_for_all() {
        let breaker = Breaker::default();
        fail(&breaker, FAILURES);
        let first = breaker.enter(NOON + OPEN_MS).unwrap();
        assert_eq!(breaker.enter(NOON + OPEN_MS).unwrap_err(), 1, "the others wait for it");
        assert!(first.failed(NOON + OPEN_MS + 5), "one failure is enough now");
        assert_eq!(breaker.enter(NOON + OPEN_MS + 5).unwrap_err(), 30);
        breaker.enter(NOON + 2 * OPEN_MS + 5).unwrap().answered();
        fail(&breaker, FAILURES - 1);
        breaker.enter(NOON).expect("it begins to count anew");
    }

    #[test]
    fn one_that_tries_and_leaves_makes_room_for_the_next() {
        let breaker = Breaker::default();
        fail(&breaker, FAILURES);
        drop(breaker.enter(NOON + OPEN_MS).unwrap());
        breaker.enter(NOON + OPEN_MS).unwrap().answered();
        breaker.enter(NOON + OPEN_MS).unwrap();
        breaker.enter(NOON + OPEN_MS).expect("closed again");
    }

    #[test]
    fn who_asked_before_says_nothing_of_the_time_behind() {
        let breaker = Breaker::default();
        let (slow, slower) = (breaker.enter(NOON).unwrap(), breaker.enter(NOON).unwrap());
        fail(&breaker, FAILURES);
        slow.answered();
        assert!(!slower.failed(NOON + 9_000), "it was open already");
        assert_eq!(breaker.enter(NOON + 10_000).unwrap_err(), 20);
    }

    #[test]
    fn a_clock_that_jumps_back_keeps_it_open_no_longer() {
        let breaker = Breaker::default();
        fail(&breaker, FAILURES);
        breaker.enter(NOON - 3_600_000).expect("one tries");
    }
}
