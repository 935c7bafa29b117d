//! Turns and times of a run: who sends next, when it counts as begun, and how long the answers took.
//!
//! With a rate, a request's time is counted from when it was due, however late it could be sent: a server that stalls
//! is charged for all who would have come meanwhile. Without one, from when it was sent. Never: does I/O.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use parking_lot::Mutex;
use tokio::sync::Semaphore;

/// Senders share these, so that thousands of connections need no histogram each.
const LANES: usize = 16;
/// Longer latencies count as this.
const LONGEST: Duration = Duration::from_mins(2);
/// The pacer wakes at least this often to see whether the run is over, and at most this often to hand out turns.
const PACE: (Duration, Duration) = (Duration::from_micros(50), Duration::from_millis(10));

/// Why a request brought no success.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Refusal {
    /// HTTP's status.
    Status(u16),
    /// The engine's code.
    Code(&'static str),
    /// The connection ended before the answer.
    Broken,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status(status) => write!(f, "status {status}"),
            Self::Code(code) => f.write_str(code),
            Self::Broken => f.write_str("connection lost"),
        }
    }
}

/// A turn to send one request.
#[derive(Clone, Copy, Debug)]
pub struct Turn {
    /// Which request of the run, from 0.
    pub number: u64,
    /// When it counts as begun.
    pub since: Instant,
}

/// Hands out turns until the run's end, and gathers what became of them.
pub struct Meter {
    started: Instant,
    limit: Option<u64>,
    time: Option<Duration>,
    pace: Option<Pace>,
    turns: AtomicU64,
    done: AtomicU64,
    stopped: AtomicBool,
    finished: OnceLock<Duration>,
    lanes: Vec<Mutex<Lane>>,
}

struct Pace {
    rate: f64,
    due: Semaphore,
    given: AtomicU64,
}

struct Lane {
    latencies: Histogram<u64>,
    refused: BTreeMap<Refusal, u64>,
}

/// What became of a run.
#[derive(Clone, Debug)]
pub struct Totals {
    /// Requests that succeeded.
    pub succeeded: u64,
    /// Those that did not, by reason.
    pub refused: BTreeMap<Refusal, u64>,
    /// Requests that were due by the end, and had not been sent.
    pub unsent: u64,
    /// From the first turn to the last answer.
    pub took: Duration,
    /// Nanoseconds of those that succeeded.
    pub latencies: Histogram<u64>,
}

impl Meter {
    /// A run that begins now; it ends after `limit` turns or after `time`, whichever is first. `rate` is turns a second.
    pub fn start(limit: Option<u64>, time: Option<Duration>, rate: Option<f64>) -> Arc<Self> {
        let longest = u64::try_from(LONGEST.as_nanos()).expect("two minutes");
        let lane = || {
            let latencies = Histogram::new_with_bounds(1, longest, 3).expect("the bounds are constants");
            Mutex::new(Lane { latencies, refused: BTreeMap::new() })
        };
        let pace = rate.map(|rate| Pace { rate, due: Semaphore::new(0), given: AtomicU64::new(0) });
        let meter = Arc::new(Self {
            started: Instant::now(),
            limit,
            time,
            pace,
            turns: AtomicU64::new(0),
            done: AtomicU64::new(0),
            stopped: AtomicBool::new(false),
            finished: OnceLock::new(),
            lanes: (0..LANES).map(|_| lane()).collect(),
        });
        if meter.pace.is_some() {
            let paced = Arc::clone(&meter);
            // A thread, since tokio's timers round up to the millisecond, which would be most of the latency.
            thread::spawn(move || paced.hand_out());
        }
        meter
    }

    /// The next turn, once it is due; `None` at the end of the run.
    pub async fn turn(&self) -> Option<Turn> {
        if let Some(pace) = &self.pace {
            pace.due.acquire().await.ok()?.forget();
        }
        let now = Instant::now();
        if self.is_over(now) {
            return None;
        }
        let number = self.turns.fetch_add(1, Ordering::Relaxed);
        if self.limit.is_some_and(|limit| number >= limit) {
            return None;
        }
        let since = match &self.pace {
            Some(pace) => self.started + pace.due_after(number),
            None => now,
        };
        Some(Turn { number, since })
    }

    /// Notes that the turn's request succeeded now. `sender` is any number that tells senders apart.
    pub fn succeeded(&self, sender: usize, turn: Turn) {
        let took = u64::try_from(turn.since.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.lanes[sender % LANES].lock().latencies.saturating_record(took);
        self.done.fetch_add(1, Ordering::Relaxed);
    }

    /// Notes that it did not.
    pub fn refused(&self, sender: usize, why: Refusal) {
        *self.lanes[sender % LANES].lock().refused.entry(why).or_default() += 1;
        self.done.fetch_add(1, Ordering::Relaxed);
    }

    /// Ends the run: no more turns.
    pub fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
    }

    /// Notes that the last answer is in. Later calls change nothing.
    pub fn finish(&self) {
        self.stop();
        self.finished.get_or_init(|| self.started.elapsed());
    }

    /// Requests that were answered or lost.
    pub fn done(&self) -> u64 {
        self.done.load(Ordering::Relaxed)
    }

    /// How many turns there are at most.
    pub fn limit(&self) -> Option<u64> {
        self.limit
    }

    /// How long the run is at most.
    pub fn time(&self) -> Option<Duration> {
        self.time
    }

    /// How far the run is: in turns if it has a number of them, else in milliseconds; never past `end`.
    pub fn progress(&self, end: Option<u64>) -> u64 {
        let at = match self.limit {
            Some(_) => self.done(),
            None => u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX),
        };
        at.min(end.unwrap_or(u64::MAX))
    }

    /// What became of the run.
    pub fn totals(&self) -> Totals {
        self.finish();
        let mut lanes = self.lanes.iter().map(|lane| lane.lock());
        let first = lanes.next().expect("there are lanes");
        let (mut latencies, mut refused) = (first.latencies.clone(), first.refused.clone());
        for lane in lanes {
            latencies.add(&lane.latencies).expect("all lanes have the same bounds");
            for (why, count) in &lane.refused {
                *refused.entry(*why).or_default() += count;
            }
        }
        let sent = self.turns.load(Ordering::Relaxed).min(self.limit.unwrap_or(u64::MAX));
        let due = self.pace.as_ref().map_or(0, |pace| pace.given.load(Ordering::Relaxed));
        let took = *self.finished.get().expect("finished above");
        let unsent = due.min(self.limit.unwrap_or(u64::MAX)).saturating_sub(sent);
        Totals { succeeded: latencies.len(), refused, unsent, took, latencies }
    }

    fn is_over(&self, now: Instant) -> bool {
        self.stopped.load(Ordering::Relaxed) || self.time.is_some_and(|time| now - self.started >= time)
    }

    fn hand_out(&self) {
        let pace = self.pace.as_ref().expect("called with a pace");
        let mut given = 0_u64;
        loop {
            let now = Instant::now();
            if self.is_over(now) || self.limit.is_some_and(|limit| given > limit) {
                break;
            }
            while self.started + pace.due_after(given) <= now {
                given += 1;
                pace.given.store(given, Ordering::Relaxed);
                pace.due.add_permits(1);
            }
            let next = (self.started + pace.due_after(given)).saturating_duration_since(Instant::now());
            thread::sleep(next.clamp(PACE.0, PACE.1));
        }
        // Waiting senders learn that no turn will come.
        pace.due.close();
    }
}

impl Pace {
    fn due_after(&self, number: u64) -> Duration {
        #[expect(clippy::cast_precision_loss, reason = "exact up to 2^53 requests")]
        let number = number as f64;
        Duration::from_secs_f64(number / self.rate)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_run_has_as_many_turns_as_it_was_given() {
        let meter = Meter::start(Some(3), None, None);
        for number in 0..3 {
            let turn = meter.turn().await.unwrap();
            assert_eq!(turn.number, number);
            if number == 1 { meter.refused(5, Refusal::Status(429)) } else { meter.succeeded(5, turn) }
        }
        assert!(meter.turn().await.is_none());
        let totals = meter.totals();
        assert_eq!((totals.succeeded, totals.refused[&Refusal::Status(429)], totals.unsent), (2, 1, 0));
        assert_eq!(totals.took, meter.totals().took);
    }

    #[tokio::test]
    async fn a_paced_request_counts_from_when_it_was_due() {
        let meter = Meter::start(Some(20), None, Some(1000.0));
        let mut turns = Vec::new();
        while let Some(turn) = meter.turn().await {
            turns.push(turn.since);
        }
        let gaps: Vec<Duration> = turns.windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert_eq!(gaps.len(), 19);
        let even = |gap: &Duration| gap.abs_diff(Duration::from_millis(1)) <= Duration::from_micros(1);
        assert!(gaps.iter().all(even), "{gaps:?}");
    }

    #[tokio::test]
    async fn what_was_due_and_never_sent_is_counted() {
        let meter = Meter::start(None, None, Some(10_000.0));
        assert!(meter.turn().await.is_some());
        let pace = meter.pace.as_ref().unwrap();
        while pace.given.load(Ordering::Relaxed) < 10 {
            tokio::task::yield_now().await;
        }
        meter.stop();
        // The pacer's last wake-up closes the hand-out.
        while !pace.due.is_closed() {
            tokio::task::yield_now().await;
        }
        assert!(meter.turn().await.is_none());
        assert!(meter.totals().unsent >= 9);
    }
}
