//! The keeper's loop: what can wait, a step of each job at a time, with a pause behind each round. Never: what a vote waits for.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::super::Core;
use super::super::kept::Kept;
use super::Stop;
use crate::clock::Clock;
use crate::comments::Comments;
use crate::domain::SlotNo;
use crate::jobs::{EraseJob, Forget, Pace, Reconcile, Rounds, VoidJob};
use crate::log::Progress;
use crate::metrics::Metrics;
use crate::store::Store;

/// The first recount begins so long after the start at the latest.
const FIRST_RECOUNT: Duration = Duration::from_secs(5);
/// The pause of the keeper between two steps of its jobs.
const KEEPER_PAUSE: Duration = Duration::from_millis(20);

/// What can wait, a step at a time.
pub(super) struct Keeper {
    forget: Forget,
    reconcile: Option<Reconcile>,
    rounds: Option<Arc<Mutex<Rounds>>>,
    voids: Arc<Mutex<VoidJob>>,
    kept: Arc<Kept>,
    erase: EraseJob,
    comments: Arc<Comments>,
    every: Duration,
    stop: Arc<Stop>,
    stores: [Arc<dyn Store>; 2],
    progress: Arc<Progress>,
    clock: Arc<dyn Clock>,
    metrics: Arc<Metrics>,
}

impl Drop for Keeper {
    /// However it ends: whoever waits for a void hears of it, and nothing is kept that nobody would let go of.
    fn drop(&mut self) {
        self.voids.lock().end();
        self.kept.end();
    }
}

impl Keeper {
    pub(super) fn new(core: &Arc<Core>, stop: Arc<Stop>, locked: mpsc::Receiver<SlotNo>) -> Self {
        let every = Duration::from_secs(core.settings.reconcile_every_s);
        let (queue, progress) = (core.queue.clone(), Arc::clone(&core.progress));
        let reconcile = Reconcile::new(Arc::clone(&core.stage), queue, progress, Arc::clone(&core.tables));
        Self {
            forget: Forget::new(Arc::clone(&core.stage), Arc::clone(&core.ballots), locked),
            reconcile: (!every.is_zero()).then_some(reconcile),
            rounds: core.settings.rounds.automatic.then(|| Arc::clone(&core.rounds)),
            voids: Arc::clone(&core.voids),
            kept: Arc::clone(&core.kept),
            erase: core.erase_job(),
            comments: Arc::clone(&core.comments),
            every,
            stop,
            stores: [Arc::clone(&core.log), Arc::clone(&core.tables)],
            progress: Arc::clone(&core.progress),
            clock: Arc::clone(&core.clock),
            metrics: Arc::clone(&core.metrics),
        }
    }

    /// A failure that a store met on a thread of its own is latched here, not only at the next vote.
    fn look_at_stores(&self) {
        let failed = self.stores.iter().find_map(|store| store.check().err());
        if let Some(failure) = failed.filter(|_| self.progress.failure().is_none()) {
            self.metrics.storage_failed.set(1);
            self.progress.fail(failure);
        }
    }

    /// Rests until the next round. What is left of a void's search, or of an erasure's, goes on meanwhile, half of the time: votes
    /// need the rest.
    fn pause(&mut self) {
        let until = Instant::now() + KEEPER_PAUSE;
        loop {
            let began = Instant::now();
            let paces = [self.voids.lock().step(self.clock.now_ms()), self.erase.step(self.clock.now_ms())];
            let rest = until.saturating_duration_since(Instant::now());
            if !paces.contains(&Pace::Busy) || rest.is_zero() {
                std::thread::sleep(rest);
                return;
            }
            std::thread::sleep(began.elapsed().min(rest));
        }
    }

    /// Until it is told to end.
    pub(super) fn run(mut self) {
        // The first one soon: a store that came up wrong should not wait to be noticed.
        let mut next = Instant::now() + self.every.min(FIRST_RECOUNT);
        while !self.stop.now.load(Ordering::SeqCst) {
            if let Some(rounds) = self.rounds.as_ref().filter(|_| self.progress.failure().is_none()) {
                rounds.lock().step(self.clock.now_ms());
            }
            self.forget.step(self.clock.now_ms());
            self.look_at_stores();
            self.kept.step(self.clock.now_ms());
            self.comments.forget(self.progress.applied(), self.clock.now_ms());
            self.metrics.comments_held.set(i64::try_from(self.comments.held().0).unwrap_or(i64::MAX));
            if let Some(reconcile) = self.reconcile.as_mut().filter(|_| Instant::now() >= next) {
                match reconcile.step() {
                    Ok(None) => {}
                    Ok(Some(drift)) => {
                        self.metrics.drift.set(i64::try_from(drift.votes).unwrap_or(i64::MAX));
                        self.metrics.comments_drift.set(i64::try_from(drift.comments).unwrap_or(i64::MAX));
                        self.metrics.reconciles.inc();
                        next = Instant::now() + self.every;
                    }
                    Err(failure) => {
                        tracing::error!("the recount failed: {failure}");
                        self.metrics.reconciles_failed.inc();
                        next = Instant::now() + self.every;
                    }
                }
            }
            self.pause();
        }
    }
}
