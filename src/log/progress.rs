//! How far each stage has come, and the latch that stops them all.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use tokio::sync::watch;

use crate::domain::Seq;
use crate::error::Fault;

/// Positions in the log. Each is written by one thread; all only grow.
#[derive(Debug)]
pub struct Progress {
    settled: AtomicU64,
    applied: watch::Sender<Seq>,
    applied_at: AtomicU64,
    /// Settlement wakes the applier at this sequence, not at every batch; and nobody while the applier is at work, or pauses.
    wake_at: AtomicU64,
    /// The applier is to step at once. Stays until it does.
    nudged: AtomicBool,
    failure: OnceLock<Fault>,
    gate: Mutex<()>,
    moved: Condvar,
}

impl Progress {
    /// Everything up to `settled` is settled, up to `applied` in the tables.
    pub fn new(settled: Seq, applied: Seq) -> Self {
        Self {
            settled: AtomicU64::new(settled),
            applied: watch::Sender::new(applied),
            applied_at: AtomicU64::new(0),
            wake_at: AtomicU64::new(u64::MAX),
            nudged: AtomicBool::new(false),
            failure: OnceLock::new(),
            gate: Mutex::new(()),
            moved: Condvar::new(),
        }
    }

    /// The last sequence that is settled: on the disk, in the tallies, its waiters woken.
    pub fn settled(&self) -> Seq {
        self.settled.load(Ordering::Acquire)
    }

    /// The last sequence that the tables contain, flushed.
    pub fn applied(&self) -> Seq {
        *self.applied.borrow()
    }

    /// When the applier last stored something, Unix milliseconds.
    pub fn applied_at(&self) -> Option<u64> {
        Some(self.applied_at.load(Ordering::Relaxed)).filter(|at| *at > 0)
    }

    /// Events that are settled and not yet in the tables.
    pub fn unapplied(&self) -> u64 {
        self.settled().saturating_sub(self.applied())
    }

    /// Settlement has come this far.
    pub fn note_settled(&self, seq: Seq) {
        self.settled.store(seq, Ordering::Release);
        if seq >= self.wake_at.load(Ordering::Relaxed) {
            self.wake();
        }
    }

    /// The applier has come this far.
    pub fn note_applied(&self, seq: Seq, now_ms: u64) {
        self.applied_at.store(now_ms, Ordering::Relaxed);
        self.applied.send_replace(seq);
        self.wake();
    }

    /// The applier waits until so many events are settled and not applied, until it is nudged, or so long.
    pub fn wait_settled(&self, events: u64, at_most: Duration) {
        self.wake_at.store(self.applied() + events, Ordering::Relaxed);
        self.wait(at_most, |progress| progress.is_nudged() || progress.unapplied() >= events);
        // Whoever waits for it to come on would be woken too, with every batch.
        self.wake_at.store(u64::MAX, Ordering::Relaxed);
    }

    /// The applier waits so long, or until it is nudged.
    pub fn pause(&self, time: Duration) {
        self.wait(time, Self::is_nudged);
    }

    /// Waits once for something to move, at most so long, unless it is enough already.
    pub fn wait(&self, at_most: Duration, enough: impl Fn(&Self) -> bool) {
        let mut gate = self.gate.lock();
        if !enough(self) {
            self.moved.wait_for(&mut gate, at_most);
        }
    }

    /// Has the applier step at once, and wakes every other waiting thread to look at what it waits for again.
    pub fn nudge(&self) {
        self.nudged.store(true, Ordering::SeqCst);
        self.wake();
    }

    /// The applier begins a step, which takes in what was settled before a nudge.
    pub fn begin_step(&self) {
        self.nudged.store(false, Ordering::SeqCst);
    }

    /// Whether someone has asked for a step that has not begun yet.
    pub fn is_nudged(&self) -> bool {
        self.nudged.load(Ordering::SeqCst)
    }

    /// Waits until the tables contain a sequence; the failure if one is latched before.
    pub async fn until_applied(&self, seq: Seq) -> Result<(), Fault> {
        let mut applied = self.applied.subscribe();
        loop {
            // Seen before the latch is looked at: a failure that comes behind this look changes the channel again.
            let reached = *applied.borrow_and_update() >= seq;
            if let Some(failure) = self.failure() {
                return Err(failure.clone());
            }
            if reached {
                return Ok(());
            }
            // The latch wakes this too; the sender lives as long as `self`.
            if applied.changed().await.is_err() {
                return Err(Fault::Latched("the engine is closing".into()));
            }
        }
    }

    /// Latches the first failure: every stage stops writing until a restart.
    pub fn fail(&self, failure: Fault) {
        tracing::error!("writes stop until a restart: {failure}");
        let _ = self.failure.set(failure);
        self.applied.send_modify(|_| {});
        self.wake();
    }

    /// The latched failure.
    pub fn failure(&self) -> Option<&Fault> {
        self.failure.get()
    }

    fn wake(&self) {
        // Under the gate, so that a waiter that has just looked does not miss it.
        let _gate = self.gate.lock();
        self.moved.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn settlement_wakes_who_waits_for_it_and_nobody_else() {
        let progress = Arc::new(Progress::new(5, 5));
        let applier = {
            let progress = Arc::clone(&progress);
            std::thread::spawn(move || progress.wait_settled(10, Duration::from_mins(10)))
        };
        while progress.wake_at.load(Ordering::Relaxed) == u64::MAX {
            std::thread::yield_now();
        }
        progress.note_settled(14);
        progress.note_settled(15);
        applier.join().unwrap();
        assert_eq!(progress.wake_at.load(Ordering::Relaxed), u64::MAX, "it is at work, and hears of nothing");
        progress.pause(Duration::ZERO);
        progress.wait_settled(10, Duration::from_mins(10));
        assert_eq!(progress.wake_at.load(Ordering::Relaxed), u64::MAX, "nor behind a wait that there was no need for");
    }
}
