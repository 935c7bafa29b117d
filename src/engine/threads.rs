//! The engine's threads, their start and their end. Each loop only repeats a `step()` that a test can call.

mod applying;
mod handover;
mod keeper;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::Receiver;
use parking_lot::Mutex;

use super::Core;
use super::leaderboard::Follower;
use super::settle::{Settler, Sums};
use crate::error::Fault;
use crate::fold::Transitions;
use crate::hub::{Feed, Step, Worker};
use crate::log::commit::refuse;
use crate::log::{Answers, Applier, Body, Committer, End, Entry, Turn};
use applying::Applying;
use handover::handover;
use keeper::Keeper;

/// How far the applier and the keeper stand back (`nice`): they have a ninth of the weight of whoever else wants to run, and the whole of a
/// processor that nobody wants. At 5 votes beside a lock lost more of their rate and the lock was no sooner; at 13 and 16 they kept no more
/// of it, at 19 a tenth more, for a lock that took a quarter longer. At 10 the applier keeps up with votes that come as fast as they can.
#[cfg(target_os = "linux")]
const BACK: i32 = 10;
/// Past so many settled and unapplied events commits pause: the log's tail, and with it the next start, stays bounded.
const UNAPPLIED_MAX: u64 = 1 << 20;
/// The hub's worker looks for what is too old at least so often.
const HUB_PATIENCE: Duration = Duration::from_secs(1);

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
        let answers = Answers::from_here();
        let (locked, to_forget) = mpsc::channel();
        let settler = Settler {
            ballots: Arc::clone(&core.ballots),
            stage: Arc::clone(&core.stage),
            comments: Arc::clone(&core.comments),
            progress: Arc::clone(&core.progress),
            metrics: Arc::clone(&core.metrics),
            sums: Sums::default(),
            answers: answers.clone(),
            voter_key: core.settings.voter_key.clone(),
            feed,
            locked,
        };
        let (outlet, settling) = handover(settler);
        let committer = Committer {
            inbox,
            outlet: Box::new(outlet),
            store: Arc::clone(&core.log),
            transitions,
            end,
            early: core.settings.ack == super::Ack::Memory,
            answers,
            progress: Arc::clone(&core.progress),
            metrics: Arc::clone(&core.metrics),
            pending: crate::log::commit::Pending::default(),
            closing: false,
            arrivals: crate::log::arrivals::Arrivals::default(),
            passing: None,
        };
        let stop = Arc::new(Stop::default());
        let keeper = Keeper::new(core, Arc::clone(&stop), to_forget);
        let applying = Applying {
            applier,
            progress: Arc::clone(&core.progress),
            metrics: Arc::clone(&core.metrics),
            clock: Arc::clone(&core.clock),
            stop: Arc::clone(&stop),
            holds: Arc::clone(&core.holds),
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
            spawn(ends("settle"), move || settling.run())?,
            // Ends behind settlement, whose end hangs up.
            spawn(ends("hub"), move || while worker.step(HUB_PATIENCE) == Step::On {})?,
            spawn(ends("keeper"), move || {
                stand_back();
                keeper.run();
            })?,
            spawn(ends("boards"), follow)?,
        ];
        let apply = spawn(ends("apply"), move || {
            stand_back();
            applying.run();
        })?;
        Ok(Self {
            pipeline: Mutex::new(pipeline),
            applier: Mutex::new(Some(apply)),
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
