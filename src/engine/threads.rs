//! The engine's threads, their loops and their end. Each loop only repeats a `step()` that a test can call.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded};
use parking_lot::Mutex;

use super::Core;
use super::kept::Kept;
use super::leaderboard::Follower;
use super::settle::{Settler, Sums};
use crate::comments::Comments;
use crate::domain::SlotNo;
use crate::error::Fault;
use crate::fold::Transitions;
use crate::hub::{Feed, Step, Worker};
use crate::jobs::{EraseJob, Forget, Pace, Reconcile, Rounds, VoidJob};
use crate::log::commit::refuse;
use crate::log::{Applier, Batch, Body, Committer, End, Entry, Holds, Outlet, Turn};

/// Batches between commit and settlement: enough that neither waits for the other's scheduling.
const BATCHES: usize = 8;
/// Batches of at most so many entries are settled by the commit thread itself: in less time than a flush takes.
const SETTLED_HERE: usize = 128;
/// The applier steps once so many events are settled, or so long after the last step...
const APPLY_EVENTS: u64 = 1_000;
const APPLY_EVERY: Duration = Duration::from_millis(100);
/// ...but under load not more often than this. Its flush and the log's share a disk: at full speed, a step every 100 ms instead
/// of every 25 ms gave a fifth more votes.
const APPLY_PAUSE: Duration = Duration::from_millis(100);
/// How long closed slots are rewritten at a stretch: its steps are shorter.
const REWRITE_SLICE: Duration = Duration::from_millis(5);
/// How far the applier and the keeper stand back (`nice`): they have a third of the weight of whoever else wants to run, and the whole of a
/// processor that nobody wants. Further back the applier could fall behind votes that come as fast as they can.
#[cfg(target_os = "linux")]
const BACK: i32 = 5;
/// Past so many settled and unapplied events commits pause: the log's tail, and with it the next start, stays bounded.
const UNAPPLIED_MAX: u64 = 1 << 20;
/// The first recount begins so long after the start at the latest.
const FIRST_RECOUNT: Duration = Duration::from_secs(5);
/// The hub's worker looks for what is too old at least so often.
const HUB_PATIENCE: Duration = Duration::from_secs(1);
/// The pause of the keeper between two steps of its jobs.
const KEEPER_PAUSE: Duration = Duration::from_millis(20);

/// The running threads.
#[derive(Debug)]
pub(super) struct Threads {
    pipeline: Mutex<Vec<JoinHandle<()>>>,
    applier: Mutex<Option<JoinHandle<()>>>,
    stop: Arc<Stop>,
    close: crate::log::Queue,
    progress: Arc<crate::log::Progress>,
}

/// How the applier and the keeper are told to end.
#[derive(Debug, Default)]
struct Stop {
    /// The keeper ends.
    now: AtomicBool,
    /// Settlement has ended: the applier ends too. Not before, since commits may wait for it.
    settled: AtomicBool,
    /// It applies everything that is settled first.
    finish: AtomicBool,
}

impl Threads {
    /// Starts them.
    pub(super) fn start(
        core: &Arc<Core>,
        inbox: Receiver<Entry>,
        transitions: Transitions,
        end: End,
        applier: Applier,
        (mut worker, feed): (Worker, Feed),
    ) -> Result<Self, Fault> {
        let (outbox, batches) = bounded::<Batch>(BATCHES);
        let (back, spare) = bounded::<Batch>(BATCHES);
        let (locked, to_forget) = mpsc::channel();
        let settler = Settler {
            ballots: Arc::clone(&core.ballots),
            stage: Arc::clone(&core.stage),
            comments: Arc::clone(&core.comments),
            progress: Arc::clone(&core.progress),
            metrics: Arc::clone(&core.metrics),
            sums: Sums::default(),
            voter_key: core.settings.voter_key.clone(),
            feed,
            locked,
        };
        let settlement = Arc::new(Settlement { settler: Mutex::new(settler), behind: AtomicUsize::new(0) });
        let outlet = Handover { settlement: Arc::clone(&settlement), outbox, spare, kept: None };
        let committer = Committer {
            inbox,
            outlet: Box::new(outlet),
            store: Arc::clone(&core.log),
            transitions,
            end,
            early: core.settings.ack == super::Ack::Memory,
            progress: Arc::clone(&core.progress),
            metrics: Arc::clone(&core.metrics),
            pending: crate::log::commit::Pending::default(),
            closing: false,
            arrivals: crate::log::commit::Arrivals::default(),
            passing: None,
        };
        let stop = Arc::new(Stop::default());
        let settle = move || settle(&settlement, &batches, &back);
        let keeper = Keeper::new(core, Arc::clone(&stop), to_forget);
        let apply = {
            // Not the core itself: it would keep the engine alive that stops these threads when it is dropped.
            let (progress, metrics) = (Arc::clone(&core.progress), Arc::clone(&core.metrics));
            let (clock, stop, holds) = (Arc::clone(&core.clock), Arc::clone(&stop), Arc::clone(&core.holds));
            move || {
                stand_back();
                let _ends = EndHolds(Arc::clone(&holds));
                apply(applier, &progress, &metrics, clock.as_ref(), &stop, &holds);
            }
        };
        let follower = Follower {
            boards: Arc::clone(&core.boards),
            stage: Arc::clone(&core.stage),
            progress: Arc::clone(&core.progress),
            clock: Arc::clone(&core.clock),
            metrics: Arc::clone(&core.metrics),
        };
        let follow = {
            let stop = Arc::clone(&stop);
            move || follower.run(|| stop.now.load(Ordering::SeqCst))
        };
        let (progress, metrics) = (&core.progress, &core.metrics);
        let ends = |name| Ends { name, progress: Arc::clone(progress), metrics: Arc::clone(metrics) };
        let pipeline = vec![
            spawn(ends("commit"), move || commit(committer))?,
            spawn(ends("settle"), settle)?,
            // Ends behind settlement, whose end hangs up.
            spawn(ends("hub"), move || while worker.step(HUB_PATIENCE) == Step::On {})?,
            spawn(ends("keeper"), move || {
                stand_back();
                keeper.run();
            })?,
            spawn(ends("boards"), follow)?,
        ];
        let applier = Mutex::new(Some(spawn(ends("apply"), apply)?));
        Ok(Self {
            pipeline: Mutex::new(pipeline),
            applier,
            stop,
            close: core.queue.clone(),
            progress: Arc::clone(&core.progress),
        })
    }

    /// Writes what is queued, applies everything, ends the threads.
    pub(super) fn finish(&self, core: &Core) {
        self.stop.finish.store(true, Ordering::SeqCst);
        self.end();
        core.metrics.unapplied.set(i64::try_from(core.progress.unapplied()).unwrap_or(i64::MAX));
    }

    fn end(&self) {
        let mut pipeline = self.pipeline.lock();
        self.stop.now.store(true, Ordering::SeqCst);
        let mut entry = Entry::new(0, Body::Close, None);
        // The commit thread makes room: it takes entries until it meets this one.
        while pipeline.first().is_some_and(|commit| !commit.is_finished()) {
            match self.close.urge(entry) {
                Ok(()) => break,
                Err(refused) => entry = refused,
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        pipeline.drain(..).for_each(join);
        self.stop.settled.store(true, Ordering::SeqCst);
        self.progress.nudge();
        self.applier.lock().take().into_iter().for_each(join);
    }
}

fn join(thread: JoinHandle<()>) {
    if thread.join().is_err() {
        tracing::error!("a thread of the engine panicked");
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        self.end();
    }
}

/// Latches the panic of a thread: without it the others would go on for ever, or wait for ever.
struct Ends {
    name: &'static str,
    progress: Arc<crate::log::Progress>,
    metrics: Arc<crate::metrics::Metrics>,
}

impl Drop for Ends {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.metrics.storage_failed.set(1);
            self.progress.fail(Fault::Latched(format!("the {} thread panicked: see the log", self.name)));
        }
    }
}

/// Ends what is being read of the tables with the thread that keeps it readable, however that ends.
struct EndHolds(Arc<Holds>);

impl Drop for EndHolds {
    fn drop(&mut self) {
        self.0.end();
    }
}

/// Lets votes go before the calling thread, whose work can wait. On Linux alone: elsewhere the whole process would stand back. A thread
/// inherits it, and sled's writing threads must not: they were started when the store was opened, or by the commit thread's first
/// flush, which the applier's follows.
fn stand_back() {
    #[cfg(target_os = "linux")]
    if let Err(why) = rustix::process::nice(BACK) {
        tracing::debug!("background work runs with the weight of everything else: {why}");
    }
}

fn spawn(ends: Ends, run: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, Fault> {
    let name = ends.name;
    let thread = std::thread::Builder::new().name(format!("plaudit-{name}")).spawn(move || {
        let _ends = ends;
        run();
    });
    thread.map_err(|why| Fault::io(format!("starting the {name} thread"), &why))
}

fn commit(committer: Committer) {
    let inbox = committer.inbox.clone();
    let (progress, metrics) = (Arc::clone(&committer.progress), Arc::clone(&committer.metrics));
    // Unwind safe: a committer that panicked is gone, and with it the waiters of its batch.
    if catch_unwind(AssertUnwindSafe(|| commit_all(committer))).is_err() {
        metrics.storage_failed.set(1);
        progress.fail(Fault::Latched("the commit thread panicked: see the log".into()));
        // Whoever is in the queue would wait for ever: a channel keeps what is in it for as long as anyone can send.
        inbox.iter().any(refuse);
    }
}

fn commit_all(mut committer: Committer) {
    let progress = Arc::clone(&committer.progress);
    loop {
        while progress.unapplied() > UNAPPLIED_MAX && progress.failure().is_none() {
            // What was answered early must not wait for the tables.
            committer.flush();
            progress.wait(Duration::from_millis(20), |progress| progress.unapplied() <= UNAPPLIED_MAX);
        }
        if committer.step(Duration::from_secs(1)) == Turn::Ended {
            return;
        }
    }
}

/// Settlement, on whichever thread it runs.
#[derive(Debug)]
struct Settlement {
    settler: Mutex<Settler>,
    /// Batches handed to the settle thread and not settled yet. The commit thread adds, the settle thread takes away.
    behind: AtomicUsize,
}

/// Gets flushed batches settled: small ones on the commit thread itself, while a thread of its own would still be waking up; large
/// ones on the settle thread, while the next flush is under way.
#[derive(Debug)]
struct Handover {
    settlement: Arc<Settlement>,
    outbox: Sender<Batch>,
    /// Batches that the settle thread is done with.
    spare: Receiver<Batch>,
    /// The last batch that was settled here.
    kept: Option<Batch>,
}

impl Outlet for Handover {
    fn deliver(&mut self, mut batch: Batch) {
        // In log order: only this thread hands batches over, so none is on its way when none is behind.
        if batch.decided.len() <= SETTLED_HERE && self.settlement.behind.load(Ordering::Acquire) == 0 {
            self.settlement.settler.lock().settle(&mut batch);
            self.kept = Some(batch);
            return;
        }
        self.settlement.behind.fetch_add(1, Ordering::Relaxed);
        // Settlement ends only after this thread has hung up.
        let _ = self.outbox.send(batch);
    }

    fn spare(&mut self) -> Batch {
        self.kept.take().or_else(|| self.spare.try_recv().ok()).unwrap_or_default()
    }
}

fn settle(settlement: &Settlement, batches: &Receiver<Batch>, back: &Sender<Batch>) {
    for mut batch in batches {
        settlement.settler.lock().settle(&mut batch);
        settlement.behind.fetch_sub(1, Ordering::Release);
        // Full, or hung up: then the batch's memory is simply freed.
        let _ = back.try_send(batch);
    }
}

fn apply(
    mut applier: Applier,
    progress: &crate::log::Progress,
    metrics: &crate::metrics::Metrics,
    clock: &dyn crate::clock::Clock,
    stop: &Stop,
    holds: &Holds,
) {
    loop {
        // Before the step: then one that finds nothing has found that nothing is left.
        let ending = stop.settled.load(Ordering::SeqCst);
        if ending && !stop.finish.load(Ordering::SeqCst) {
            return;
        }
        let began = Instant::now();
        progress.begin_step();
        let applied = match applier.step(clock.now_ms()) {
            Ok(applied) => applied,
            Err(failure) => {
                metrics.storage_failed.set(1);
                progress.fail(failure);
                return;
            }
        };
        if applied > 0 {
            metrics.apply.observe(began.elapsed());
        }
        if let Err(failure) = holds.step(&applier) {
            metrics.storage_failed.set(1);
            progress.fail(failure);
            return;
        }
        metrics.unapplied.set(i64::try_from(progress.unapplied()).unwrap_or(i64::MAX));
        if progress.failure().is_some() {
            return;
        }
        if ending && applied == 0 {
            return;
        }
        if !stop.now.load(Ordering::SeqCst) {
            match rewrite(&mut applier, progress, began + APPLY_PAUSE) {
                // What is left over waits no longer than votes do.
                Ok(true) => continue,
                Ok(false) => {}
                Err(failure) => {
                    metrics.storage_failed.set(1);
                    progress.fail(failure);
                    return;
                }
            }
            progress.pause(APPLY_PAUSE.saturating_sub(began.elapsed()));
            progress.wait_settled(APPLY_EVENTS, APPLY_EVERY);
        } else if !ending {
            progress.wait(Duration::from_millis(5), |progress| progress.unapplied() > 0);
        }
    }
}

/// Rewrites closed slots until it is time for the next step, or someone asks for it; whether there is more to do. Never rests: standing
/// back is what leaves votes their part. A rest of a quarter made a lock beside them half as long again, and left them no more.
fn rewrite(applier: &mut Applier, progress: &crate::log::Progress, until: Instant) -> Result<bool, Fault> {
    loop {
        let began = Instant::now();
        while began.elapsed() < REWRITE_SLICE {
            if !applier.rewrite()? {
                return Ok(false);
            }
        }
        if Instant::now() >= until || progress.is_nudged() || progress.failure().is_some() {
            return Ok(true);
        }
    }
}

/// What can wait, a step at a time.
struct Keeper {
    forget: Forget,
    reconcile: Option<Reconcile>,
    rounds: Option<Arc<Mutex<Rounds>>>,
    voids: Arc<Mutex<VoidJob>>,
    kept: Arc<Kept>,
    erase: EraseJob,
    comments: Arc<Comments>,
    every: Duration,
    stop: Arc<Stop>,
    stores: [Arc<dyn crate::store::Store>; 2],
    progress: Arc<crate::log::Progress>,
    clock: Arc<dyn crate::clock::Clock>,
    metrics: Arc<crate::metrics::Metrics>,
}

impl Drop for Keeper {
    /// However it ends: whoever waits for a void hears of it, and nothing is kept that nobody would let go of.
    fn drop(&mut self) {
        self.voids.lock().end();
        self.kept.end();
    }
}

impl Keeper {
    fn new(core: &Arc<Core>, stop: Arc<Stop>, locked: mpsc::Receiver<SlotNo>) -> Self {
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

    fn run(mut self) {
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
