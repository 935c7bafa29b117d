//! The public operations: what HTTP, benches, tests and embedders use. Transport-free.
//!
//! An engine is seven threads around a log: callers claim and enqueue (`vote`), the commit thread writes, settlement
//! answers, the hub pushes, the applier folds, the boards follow, and a keeper runs what can wait. Opening recovers; closing applies everything first.

mod api;
mod building;
mod certify;
mod comment;
mod compact;
mod data;
mod editions;
mod erase;
mod history;
mod kept;
mod leaderboard;
mod live;
mod load;
mod log_lines;
mod minutes;
mod operate;
mod own;
mod read;
mod recheck;
mod recount;
mod rounds;
mod settle;
mod threads;
mod upgrade;
mod verify;
mod voids;
mod vote;
mod votes;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::ArcSwap;

pub use crate::jobs::RoundSettings;
pub use api::{
    Ack, Allowance, BanView, ClipView, CommentSettings, Counts, QueueView, Receipt, SeasonView, Settings, SlotClips,
    SlotView, VotePage, VotePlace, VoteView,
};
pub use building::{Begun, Building, Start};
pub use comment::{CommentDraft, CommentQuery, Liked, Posted};
pub use compact::{Compacted, Compaction};
pub use data::stopped_source;
pub use history::{SlotHistory, SlotStep, StepKind};
pub use kept::{KEPT_MS, Reading};
pub use leaderboard::{Leaderboard, Moment, Ranked, RankedClip, Standing};
pub use log_lines::print_log;
pub use operate::REASON_MAX;
pub use own::{OwnComment, OwnData, OwnMark, OwnVoid, OwnVote, See};
pub use recheck::{Rechecked, export_slot, recheck, recheck_stores};
pub use upgrade::{Gained, Records, Upgrade, Versions as FormatVersions, upgrade_check};
pub use verify::{Row, Verified, verify, verify_stores};
pub use voids::{VoidAsked, VoidBoard, VoidChange, VoidPreview, VoidStatus, VoidView};

use crate::ballots::Ballots;
use crate::boards::{Boards, Bounds};
use crate::clock::Clock;
use crate::comments::{Comments, WordList};
use crate::domain::{ClipNo, Event};
use crate::error::{Fault, Reject};
use crate::hub::Hub;
use crate::jobs::{Rounds, Seal, SortedBallots, VoidJob};
use crate::log::{Applier, Holds, Progress, Queue, Recovered, block, recover};
use crate::metrics::{Looked, Metrics, resident_bytes};
use crate::stage::Stage;
use crate::store::{Home, Store, Versions};
use threads::Threads;

/// A running engine over one data directory. Clones share it; [`Engine::close`] ends it for all, and so does dropping
/// the last, which leaves to the next start what the tables do not contain yet.
#[derive(Clone, Debug)]
pub struct Engine {
    core: Arc<Core>,
    threads: Arc<Threads>,
}

/// What every operation shares.
#[derive(Debug)]
struct Core {
    settings: Settings,
    clock: Arc<dyn Clock>,
    stage: Arc<Stage>,
    ballots: Arc<Ballots>,
    comments: Arc<Comments>,
    /// Ranks, behind the mark by what a thread of their own has not read yet.
    boards: Arc<Boards>,
    /// Comments with one of them wait for a moderator.
    words: ArcSwap<WordList>,
    queue: Queue,
    progress: Arc<Progress>,
    metrics: Arc<Metrics>,
    hub: Hub,
    /// Slots that move by themselves. The keeper steps it; locked for a step.
    rounds: Arc<parking_lot::Mutex<Rounds>>,
    /// The void that is under way. The keeper steps it; locked for a step.
    voids: Arc<parking_lot::Mutex<VoidJob>>,
    /// Those of slots with voids, once made.
    certificates: certify::Certificates,
    /// Who wants to read the tables as they are at one moment.
    holds: Arc<Holds>,
    /// An export whose reader broke off. The keeper steps it.
    kept: Arc<kept::Kept>,
    /// What a lock waits for.
    seal: Arc<dyn Seal>,
    /// One operator's change at a time.
    operator: tokio::sync::Mutex<()>,
    /// Places for those who ask for an erasure, and wait among the operators.
    erasers: tokio::sync::Semaphore,
    closing: AtomicBool,
    log: Arc<dyn Store>,
    tables: Arc<dyn Store>,
    /// The directory, with its marker; `None` over stores that someone else keeps.
    home: Option<Home>,
    /// Events that the tables did not contain at the start.
    recovered: u64,
}

impl Engine {
    /// Opens or creates the store in `settings.data_dir`, recovers, and starts the threads. Called inside a tokio runtime that has
    /// threads, it answers many at once on those, which is where its futures should be polled; elsewhere it wakes them one by one.
    pub fn open(settings: Settings, clock: Arc<dyn Clock>) -> Result<Self, Fault> {
        settings.check()?;
        if settings.ack == Ack::Durable {
            crate::store::make_flushes_real()?;
        }
        let home = Home::open_or_create(&settings.data_dir, settings.voter_key.fingerprint())?;
        let home = renewed(home)?;
        let (log, tables) = (home.log(), home.tables());
        Self::start(settings, clock, log, tables, Some(home))
    }

    /// Opens over two stores that the caller keeps: for tests and for embedders with a disk of their own.
    pub fn over(
        settings: Settings,
        clock: Arc<dyn Clock>,
        log: Arc<dyn Store>,
        tables: Arc<dyn Store>,
    ) -> Result<Self, Fault> {
        settings.check()?;
        Self::start(settings, clock, log, tables, None)
    }

    fn start(
        settings: Settings,
        clock: Arc<dyn Clock>,
        log: Arc<dyn Store>,
        tables: Arc<dyn Store>,
        home: Option<Home>,
    ) -> Result<Self, Fault> {
        let holds = Arc::new(Holds::new(Versions::over(tables)));
        let tables: Arc<dyn Store> = Arc::<Versions>::clone(holds.versions());
        let genesis = block::genesis(home.as_ref().map_or([0; 16], Home::store_id));
        let recovered = recover(log.as_ref(), Arc::clone(&tables), genesis)?;
        if let Some(home) = &home {
            home.check_not_older(recovered.end.seq)?;
        }
        let stage = Arc::new(Stage::new(settings.voter_key.clone(), settings.stripes));
        let ballots = Arc::new(Ballots::new(settings.daily_limit, settings.max_voters));
        load::load(&recovered.tables, recovered.transitions.voids(), &stage, &ballots, clock.now_ms())?;

        let metrics = Arc::new(Metrics::default());
        let applied = recovered.tables.mark().map_or(0, |mark| mark.seq);
        let progress = Arc::new(Progress::new(recovered.end.seq, applied));
        let counts = Arc::new(live::SettledCounts(Arc::clone(&stage)));
        // Behind the start that is logged below: what was pushed before is known to nobody here.
        let start = recovered.end.seq + 1;
        let (hub, worker, feed) = Hub::new(settings.hub, Arc::clone(&clock), counts, Arc::clone(&metrics), start);
        let (queue, inbox) = crate::log::queue(settings.queue);
        let tail = recovered.tail;
        let end = crate::log::End { seq: recovered.end.seq, chain: recovered.end.chain };
        let transitions = recovered.transitions.clone();
        let mut applier = Applier::new(Arc::clone(&log), recovered, Arc::clone(&progress))?;
        // Comments are read from the stored pages and from what was settled since the start; what recovery folded is in
        // neither until it is stored.
        applier.step(clock.now_ms())?;
        let comments = Comments::open(Arc::clone(&tables), clock.now_ms(), settings.comments.slow_ms)?;
        comments.forget(progress.applied(), clock.now_ms());
        let seal: Arc<dyn Seal> = Arc::new(SortedBallots::new(Arc::clone(&tables)));
        let rounds = Rounds::new(Arc::clone(&stage), queue.clone(), Arc::clone(&seal), settings.rounds);
        let rounds = Arc::new(parking_lot::Mutex::new(rounds));
        let voids = VoidJob::new(queue.clone(), Arc::clone(&progress), Arc::clone(&tables), Arc::clone(&metrics));
        let voids = Arc::new(parking_lot::Mutex::new(voids));
        let bounds = Bounds::for_voters(settings.max_voters);
        let boards = Arc::new(Boards::new(Arc::clone(&tables), bounds, clock.now_ms()));
        let operator = tokio::sync::Mutex::new(());
        let erasers = tokio::sync::Semaphore::new(erase::ASKERS);
        let closing = AtomicBool::new(false);
        let core = Core {
            settings,
            clock,
            stage,
            ballots,
            comments: Arc::new(comments),
            boards,
            words: ArcSwap::default(),
            queue,
            progress,
            metrics,
            hub,
            rounds,
            voids,
            certificates: certify::Certificates::default(),
            holds,
            kept: Arc::default(),
            seal,
            operator,
            erasers,
            closing,
            log,
            tables,
            home,
            recovered: tail,
        };
        let core = Arc::new(core);
        let threads = Arc::new(Threads::start(&core, inbox, transitions, end, applier, (worker, feed))?);
        let engine = Self { core, threads };
        engine.log_start()?;
        if engine.core.settings.rounds.automatic {
            engine.end_what_is_over()?;
        }
        Ok(engine)
    }

    /// Nobody votes in a slot whose time ended while no server ran: its freeze is settled before anyone has this engine.
    fn end_what_is_over(&self) -> Result<(), Fault> {
        let core = &self.core;
        core.rounds.lock().step(core.clock.now_ms());
        self.settle_now(crate::log::Body::Barrier)
    }

    /// Each start is an event, so that no position is ever given twice.
    fn log_start(&self) -> Result<(), Fault> {
        self.settle_now(crate::log::Body::Event(Event::Started))
    }

    fn settle_now(&self, body: crate::log::Body) -> Result<(), Fault> {
        let core = &self.core;
        let (waiter, answer) = tokio::sync::oneshot::channel();
        let entry = crate::log::Entry::new(core.clock.now_ms(), body, Some(waiter));
        assert!(core.queue.urge(entry).is_ok(), "an engine that nobody has yet fills no queue");
        let wait = crate::log::queue::wait_here(answer);
        match wait {
            Some(crate::log::Outcome::Done(_)) => Ok(()),
            _ => Err(self.failure().unwrap_or_else(|| Fault::Latched("the first event was not written".into()))),
        }
    }

    /// Takes no more writes, finishes what is queued, applies all of it, flushes, notes the clean end and stops the
    /// threads. Blocks. A second call only waits.
    pub fn close(&self) -> Result<(), Fault> {
        self.core.closing.store(true, Ordering::SeqCst);
        self.threads.finish(&self.core);
        if let Some(failure) = self.core.progress.failure() {
            self.core.home.iter().for_each(Home::make_room);
            return Err(failure.clone());
        }
        match &self.core.home {
            Some(home) => home.note_clean(self.core.progress.applied()),
            None => Ok(()),
        }
    }

    /// The failure that was latched, if one was: no write is taken until a restart.
    pub fn failure(&self) -> Option<Fault> {
        self.core.progress.failure().cloned()
    }

    /// Its counters.
    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.core.metrics
    }

    /// Where what it settles is pushed to viewers.
    pub fn hub(&self) -> &Hub {
        &self.core.hub
    }

    /// The clock it runs by.
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.core.clock
    }

    /// The settings it runs with.
    pub fn settings(&self) -> &Settings {
        &self.core.settings
    }

    /// Events that recovery took from the log's tail.
    pub fn recovered(&self) -> u64 {
        self.core.recovered
    }

    /// Voters with a ballot in memory.
    pub fn voters(&self) -> u64 {
        self.core.ballots.voters()
    }

    /// Bytes on disk of both stores.
    pub fn disk_bytes(&self) -> u64 {
        self.core.log.disk_bytes() + self.core.tables.disk_bytes()
    }

    /// What metrics say of disk and memory. Reads the disk.
    pub fn looked(&self) -> Looked {
        let disk = rustix::fs::statvfs(&self.core.settings.data_dir).ok();
        Looked {
            log_bytes: self.core.log.disk_bytes(),
            tables_bytes: self.core.tables.disk_bytes(),
            free_bytes: disk.map(|disk| disk.f_bavail.saturating_mul(disk.f_frsize)),
            resident_bytes: resident_bytes(),
            erasures: self.erasures_begun(),
        }
    }
}

/// Renews a log that has grown, if the tables contain all of it: then its last block is all that a start needs.
fn renewed(home: Home) -> Result<Home, Fault> {
    if !home.log_has_grown() {
        return Ok(home);
    }
    let Recovered { end, tail, .. } = recover(home.log().as_ref(), home.tables(), block::genesis(home.store_id()))?;
    let key = block::key(end.block);
    // A statement of its own: the log must be closed when it is renewed.
    let record = home.log().get(&key)?;
    match record {
        Some(record) if tail == 0 => home.renew_log(&key, &record),
        _ => Ok(home),
    }
}

impl Core {
    fn takes_writes(&self) -> Result<(), Reject> {
        if self.progress.failure().is_some() {
            return Err(Reject::StorageFailed);
        }
        if self.closing.load(Ordering::Relaxed) {
            return Err(Reject::Overloaded);
        }
        Ok(())
    }

    fn overloaded(&self) -> Reject {
        self.metrics.overloaded.inc();
        Reject::Overloaded
    }

    fn clip_id(&self, clip: ClipNo) -> String {
        self.stage.look().clips[clip.index()].clip.id.to_string()
    }
}
