//! The applier's loop: a step, then closed slots for as long as no vote waits to be applied. Never: a step of its own making.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::Stop;
use crate::clock::Clock;
use crate::error::Fault;
use crate::log::{Applier, Holds, Progress, STEP_EVENTS};
use crate::metrics::Metrics;

/// The applier steps once so many events are settled, or so long after the last step...
const APPLY_EVENTS: u64 = 1_000;
const APPLY_EVERY: Duration = Duration::from_millis(100);
/// ...but under load not more often than this. Its flush and the log's share a disk: at full speed, a step every 100 ms instead
/// of every 25 ms gave a fifth more votes.
const APPLY_PAUSE: Duration = Duration::from_millis(100);
/// Past so many unapplied events it no longer pauses: a step takes so much at most, and one each [`APPLY_PAUSE`] would hold votes to 655,000
/// a second, once the backlog is full.
const BEHIND: u64 = 2 * STEP_EVENTS;
const _: () = assert!(BEHIND < super::UNAPPLIED_MAX);
/// How long closed slots are rewritten at a stretch: its steps are shorter.
const REWRITE_SLICE: Duration = Duration::from_millis(5);

/// The applier with what it works by. Not the core itself: that would keep the engine alive that stops this thread when it is dropped.
pub(super) struct Applying {
    pub(super) applier: Applier,
    pub(super) progress: Arc<Progress>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) stop: Arc<Stop>,
    pub(super) holds: Arc<Holds>,
}

impl Drop for Applying {
    /// What is being read of the tables ends with the thread that keeps it readable, however that ends.
    fn drop(&mut self) {
        self.holds.end();
    }
}

impl Applying {
    /// Applies until it is told to end, or can't.
    pub(super) fn run(mut self) {
        if let Err(failure) = self.apply() {
            self.metrics.storage_failed.set(1);
            self.progress.fail(failure);
        }
    }

    fn apply(&mut self) -> Result<(), Fault> {
        loop {
            // Before the step: then one that finds nothing has found that nothing is left.
            let ending = self.stop.settled.load(Ordering::SeqCst);
            if ending && !self.stop.finish.load(Ordering::SeqCst) {
                return Ok(());
            }
            let began = Instant::now();
            self.progress.begin_step();
            let applied = self.applier.step(self.clock.now_ms())?;
            if applied > 0 {
                self.metrics.apply.observe(began.elapsed());
            }
            self.holds.step(&self.applier)?;
            self.metrics.unapplied.set(i64::try_from(self.progress.unapplied()).unwrap_or(i64::MAX));
            if self.progress.failure().is_some() || (ending && applied == 0) {
                return Ok(());
            }
            if !self.stop.now.load(Ordering::SeqCst) {
                let pause = if self.progress.unapplied() > BEHIND { Duration::ZERO } else { APPLY_PAUSE };
                // What is left over waits no longer than votes do; a slice of it comes after every step.
                if self.rewrite(began + pause)? {
                    continue;
                }
                self.progress.pause(pause.saturating_sub(began.elapsed()));
                self.progress.wait_settled(APPLY_EVENTS, APPLY_EVERY);
            } else if !ending {
                self.progress.wait(Duration::from_millis(5), |progress| progress.unapplied() > 0);
            }
        }
    }

    /// Rewrites closed slots until it is time for the next step, or someone asks for it; whether there is more to do. Never rests: standing
    /// back is what leaves votes their part, and so is letting them in between, which a sort does by itself. A rest of a third made a lock beside
    /// them a third longer and left them no more.
    fn rewrite(&mut self, until: Instant) -> Result<bool, Fault> {
        loop {
            let began = Instant::now();
            while began.elapsed() < REWRITE_SLICE {
                if !self.applier.rewrite()? {
                    return Ok(false);
                }
            }
            if Instant::now() >= until || self.progress.is_nudged() || self.progress.failure().is_some() {
                return Ok(true);
            }
        }
    }
}
