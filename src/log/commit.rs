//! The commit thread: takes what has gathered in the queue, fixes each event's sequence and judges it, writes one block,
//! flushes, and hands the batch to settlement.
//!
//! Group commit: while one flush is under way the next batch gathers, so the disk's latency sets the batch, not a timer.
//! After the first failed write or flush the outcome is unknown: the failure is latched and nothing is written again.
//! Never: touches ballots or tallies.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError};

use super::answers::Answers;
use super::arrivals::Arrivals;
use super::block::Builder;
use super::progress::Progress;
use super::queue::{Body, Entry, Outcome, Waiter};
use crate::ballots::Place;
use crate::codec::Chain;
use crate::domain::{Event, Seq};
use crate::error::Fault;
use crate::fold::{Effect, Refusal, Transitions, judge};
use crate::metrics::Metrics;
use crate::store::Store;

/// With answers before the flush: the flush follows within this much...
const FLUSH_WITHIN: Duration = Duration::from_millis(50);
/// ...or after so many blocks.
const FLUSH_BLOCKS: usize = 64;
/// Judged events are forgotten by the transitions every so many blocks.
const FORGET_BLOCKS: u64 = 1024;

/// An entry with its verdict, for settlement.
#[derive(Debug)]
pub struct Decided {
    /// Its sequence; of a barrier or a refused event, the last one before it.
    pub seq: Seq,
    /// When it was enqueued.
    pub at: u64,
    /// What it is.
    pub body: Body,
    /// Where a vote's claim is.
    pub claimed: Place,
    /// Why the log's order refuses it; it was not logged then.
    pub refused: Option<Refusal>,
    /// What it does to counts.
    pub effect: Effect,
    /// Who waits for it still.
    pub waiter: Option<Waiter>,
}

/// What was decided and flushed together, in log order.
#[derive(Debug, Default)]
pub struct Batch {
    /// The entries.
    pub decided: Vec<Decided>,
    /// The last sequence in or before it.
    pub last: Seq,
}

/// Where the log ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct End {
    /// The last sequence.
    pub seq: Seq,
    /// The hash of the last block.
    pub chain: Chain,
}

/// What a commit thread owns.
#[derive(Debug)]
pub struct Committer {
    /// Takes entries from here.
    pub inbox: Receiver<Entry>,
    /// Hands flushed batches on here.
    pub outlet: Box<dyn Outlet>,
    /// The log's store, which only this thread writes into.
    pub store: Arc<dyn Store>,
    /// Slot lives and bans as of [`Committer::end`].
    pub transitions: Transitions,
    /// Where the log ends.
    pub end: End,
    /// Answer before the flush.
    pub early: bool,
    /// Gives those.
    pub answers: Answers,
    /// Shared positions and the latch.
    pub progress: Arc<Progress>,
    /// Counters.
    pub metrics: Arc<Metrics>,
    /// Put and not flushed.
    pub pending: Pending,
    /// The last entry was taken: nothing that was enqueued behind it is looked at.
    pub closing: bool,
    /// How entries come, and how long a batch waits for more.
    pub arrivals: Arrivals,
    /// Up to which sequence the transitions can be forgotten, once so many entries that were queued by then are judged.
    pub passing: Option<(Seq, usize)>,
}

/// Where flushed batches go, in log order.
pub trait Outlet: Send + fmt::Debug {
    /// Has a batch settled. May wait: a slow settlement slows the commits.
    fn deliver(&mut self, batch: Batch);
    /// An empty batch, with the memory of a settled one if there is one.
    fn spare(&mut self) -> Batch;
}

/// Batches that are put and not flushed: at most one when answers wait for the flush.
#[derive(Debug, Default)]
pub struct Pending {
    builder: Builder,
    batches: Vec<Batch>,
    since: Option<Instant>,
    /// A block was put since the last flush; a batch of barriers alone needs none.
    dirty: bool,
}

/// What a step came to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Turn {
    /// Nothing came within the patience.
    Idle,
    /// A batch was taken.
    Took,
    /// Every sender is gone and everything is written.
    Ended,
}

impl Committer {
    /// Takes one batch, waiting at most `patience` for its first entry.
    pub fn step(&mut self, patience: Duration) -> Turn {
        if self.closing {
            self.flush();
            return Turn::Ended;
        }
        let first = match self.first(patience) {
            Ok(entry) => entry,
            Err(turn) => {
                self.flush();
                return turn;
            }
        };
        let began = Instant::now();
        let mut batch = self.outlet.spare();
        if self.progress.failure().is_some() {
            self.closing |= std::iter::once(first).chain(self.inbox.try_iter()).any(refuse);
            return Turn::Took;
        }
        let before = self.end.seq;
        let mut waited = first.stamp.elapsed();
        self.decide(first, &mut batch);
        while !self.closing && !self.pending.builder.is_full() && batch.decided.len() < super::block::EVENTS_MAX {
            let Ok(entry) = self.inbox.try_recv() else { break };
            // In the order that they came: the first one that is timed waited longest.
            waited = waited.or_else(|| entry.stamp.elapsed());
            self.decide(entry, &mut batch);
        }
        if let Some(waited) = waited {
            self.metrics.queue_wait.observe(waited);
        }
        batch.last = self.end.seq;
        self.arrivals.count(batch.decided.len());
        self.forget(batch.decided.len());
        self.metrics.queued.set(i64::try_from(self.inbox.len()).unwrap_or(i64::MAX));
        let wrote = self.write(before + 1);
        if self.early && wrote.is_ok() {
            self.answers.give(&mut batch.decided, may_be_early);
        }
        self.pending.batches.push(batch);
        if let Err(failure) = wrote {
            self.fail(failure);
            return Turn::Took;
        }
        self.metrics.write.observe(began.elapsed());
        let since = *self.pending.since.get_or_insert(began);
        if !self.early || since.elapsed() >= FLUSH_WITHIN || self.pending.batches.len() >= FLUSH_BLOCKS {
            self.flush();
        }
        Turn::Took
    }

    /// Forgets what the tables contain, once all that was queued by then is judged: whoever was queued before a deletion was
    /// settled did not know of it, and must meet it here.
    fn forget(&mut self, judged: usize) {
        match self.passing.take() {
            Some((floor, queued)) if queued > judged => self.passing = Some((floor, queued - judged)),
            Some((floor, _)) => self.transitions.forget_before(floor),
            None => {}
        }
    }

    /// The first entry of a batch, once more have gathered behind it, or what the step came to without one.
    fn first(&mut self, patience: Duration) -> Result<Entry, Turn> {
        // Answers before the flush need no company in it.
        let waits = !self.early;
        // Before the first one is there: while they come fast, none of them has to wake this thread.
        if waits {
            self.arrivals.come_back(&self.inbox);
        }
        if let Ok(entry) = self.inbox.try_recv() {
            return Ok(entry);
        }
        let first = self.inbox.recv_timeout(self.patience(patience)).map_err(|why| match why {
            RecvTimeoutError::Timeout => Turn::Idle,
            RecvTimeoutError::Disconnected => Turn::Ended,
        })?;
        if waits {
            self.arrivals.follow(&self.inbox);
        }
        Ok(first)
    }

    fn patience(&self, patience: Duration) -> Duration {
        self.pending.since.map_or(patience, |since| patience.min(FLUSH_WITHIN.saturating_sub(since.elapsed())))
    }

    fn decide(&mut self, entry: Entry, batch: &mut Batch) {
        let Entry { at, body, claimed, stamp: _, waiter } = entry;
        let (mut refused, mut effect) = (None, Effect::Plain);
        if let Body::Event(event) = &body {
            let seq = self.end.seq + 1;
            match judge(&self.transitions, seq, at, event) {
                Ok(()) => {
                    effect = self.transitions.note(seq, at, event);
                    self.pending.builder.add(at, event);
                    self.end.seq = seq;
                }
                Err(refusal) => refused = Some(refusal),
            }
        }
        self.closing |= matches!(body, Body::Close);
        batch.decided.push(Decided { seq: self.end.seq, at, body, claimed, refused, effect, waiter });
    }

    fn write(&mut self, first: Seq) -> Result<(), Fault> {
        if self.pending.builder.is_empty() {
            return Ok(());
        }
        self.metrics.batch.observe(usize::try_from(self.end.seq + 1 - first).unwrap_or(usize::MAX));
        let (record, chain) = self.pending.builder.seal(first, self.end.chain);
        self.store.insert(&super::block::key(first), record)?;
        self.end.chain = chain;
        self.pending.dirty = true;
        self.metrics.blocks.inc();
        if self.metrics.blocks.get().is_multiple_of(FORGET_BLOCKS) && self.passing.is_none() {
            self.passing = Some((self.progress.applied(), self.inbox.len()));
        }
        Ok(())
    }

    /// Flushes what is put, and hands it on.
    pub fn flush(&mut self) {
        if self.pending.since.take().is_none() {
            return;
        }
        if std::mem::take(&mut self.pending.dirty) {
            let began = Instant::now();
            if let Err(failure) = self.store.flush() {
                self.fail(failure);
                return;
            }
            self.metrics.flush.observe(began.elapsed());
        }
        for batch in self.pending.batches.drain(..) {
            self.outlet.deliver(batch);
        }
    }

    fn fail(&mut self, failure: Fault) {
        self.progress.fail(failure);
        self.metrics.storage_failed.set(1);
        // Their claims stay taken until the restart, which knows whether they stand.
        for mut decided in self.pending.batches.drain(..).flat_map(|batch| batch.decided) {
            if let Some(waiter) = decided.waiter.take() {
                let _ = waiter.send(Outcome::Failed);
            }
        }
        self.pending.since = None;
    }
}

/// Whether an answer tells nothing that only settlement knows. A change of a comment is answered with what the comment is then.
fn may_be_early(body: &Body) -> bool {
    matches!(body, Body::Event(event) if !matches!(event, Event::CommentChanged(..)))
}

/// Tells whoever waits that the store has failed; whether it was the last entry.
pub fn refuse(entry: Entry) -> bool {
    if let Some(waiter) = entry.waiter {
        let _ = waiter.send(Outcome::Failed);
    }
    matches!(entry.body, Body::Close)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{ClipNo, CommentChange, CommentRef, VoterId};
    use crate::store::FaultyDisk;

    /// The verdicts on what was delivered.
    type Told = Arc<parking_lot::Mutex<Vec<Option<Refusal>>>>;

    #[derive(Debug, Default)]
    struct Kept(Told);

    impl Outlet for Kept {
        fn deliver(&mut self, mut batch: Batch) {
            self.0.lock().extend(batch.decided.iter().map(|decided| decided.refused));
            Answers::default().give(&mut batch.decided, |_| true);
        }

        fn spare(&mut self) -> Batch {
            Batch::default()
        }
    }

    fn committer(early: bool, end: Seq) -> (Committer, super::super::Queue, Told) {
        let (queue, inbox) = super::super::queue(4_096);
        let kept = Kept::default();
        let told = Arc::clone(&kept.0);
        let committer = Committer {
            inbox,
            outlet: Box::new(kept),
            store: FaultyDisk::new(1).open("log"),
            transitions: Transitions::default(),
            end: End { seq: end, chain: [0; 32] },
            early,
            answers: Answers::default(),
            progress: Arc::new(Progress::new(end, end)),
            metrics: Arc::default(),
            pending: Pending::default(),
            closing: false,
            arrivals: Arrivals::default(),
            passing: None,
        };
        (committer, queue, told)
    }

    const OF: CommentRef = CommentRef { clip: ClipNo(0), parent: 0, id: 3 };

    fn like() -> Event {
        Event::CommentChanged(OF, CommentChange::Liked(VoterId([1; 16])))
    }

    /// Its answer tells what the comment is with it, which only settlement knows.
    #[test]
    fn a_change_of_a_comment_is_never_answered_early() {
        loop {
            let (mut committer, queue, told) = committer(true, 5);
            let send = |event| {
                let (waiter, answer) = tokio::sync::oneshot::channel();
                assert!(queue.claim(Entry::new(0, Body::Event(event), Some(waiter))).is_some());
                answer
            };
            let (mut started, mut liked) = (send(Event::Started), send(like()));
            committer.step(Duration::ZERO);
            assert_eq!(started.try_recv(), Ok(Outcome::Done(6)));
            // A step that took longer than a flush may wait for has flushed, and nothing is early then: once more.
            if !told.lock().is_empty() {
                continue;
            }
            assert!(matches!(liked.try_recv(), Err(tokio::sync::oneshot::error::TryRecvError::Empty)));
            committer.flush();
            assert_eq!((told.lock().len(), liked.try_recv()), (2, Ok(Outcome::Done(7))));
            return;
        }
    }

    /// A like that was queued before anyone knew of the deletion in front of it must meet that deletion in the judge, though
    /// the tables contain it by then.
    #[test]
    fn what_was_queued_with_a_deletion_meets_it_however_long_it_waits() {
        let (mut committer, queue, told) = committer(false, 5);
        committer.transitions.note(5, 0, &Event::CommentChanged(OF, CommentChange::Deleted { by: None }));
        committer.metrics.blocks.inc_by(FORGET_BLOCKS - 1);
        let send = |event| assert!(queue.claim(Entry::new(0, Body::Event(event), None)).is_some());
        // More than a batch, so that the like is judged in a later one.
        (0..super::super::block::EVENTS_MAX).for_each(|_| send(Event::Started));
        send(like());
        while !queue.is_empty() {
            committer.step(Duration::ZERO);
        }
        assert_eq!(told.lock().last(), Some(&Some(Refusal::Gone)));
        assert!(committer.metrics.blocks.get() >= FORGET_BLOCKS, "there was an occasion to forget");
        // Nothing that is queued from here on can have missed it: it is forgotten.
        send(Event::Started);
        committer.step(Duration::ZERO);
        send(like());
        committer.step(Duration::ZERO);
        assert_eq!(told.lock().last(), Some(&None));
    }
}
