//! The bounded queue in front of the commit thread. Never blocks a sender.

use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};
use tokio::sync::oneshot;

use crate::ballots::{Place, SHARDS};
use crate::domain::{Event, Seq};
use crate::fold::{Mask, Refusal};

/// Places that votes leave free, so that a flood can't keep a freeze out: each shard's lock lets one claim at a time
/// past the look at the length, and the rest are for operators and timers.
pub const RESERVE: usize = SHARDS + 256;

/// Something that waits for its turn in the log.
#[derive(Debug)]
pub struct Entry {
    /// When it was enqueued, Unix milliseconds.
    pub at: u64,
    /// What it is.
    pub body: Body,
    /// Where a vote's claim is.
    pub claimed: Place,
    /// When it was enqueued, if it is one of those that are timed; the queue says so.
    pub stamp: Stamp,
    /// Who waits for it; settlement wakes them.
    pub waiter: Option<Waiter>,
}

/// The first entry of a queue that was empty is timed, and so is each one that finds so many times so many before it: every
/// batch's oldest, or one near it, for one look at the clock a batch.
const TIMED_EVERY: usize = 64;

/// When an entry was enqueued, in microseconds of a clock that goes round in 71 minutes; 0 where nobody looked. It fits
/// where an entry has room anyway.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Stamp(u32);

impl Stamp {
    fn now() -> Self {
        Self(Self::micros().max(1))
    }

    #[expect(clippy::cast_possible_truncation, reason = "the clock goes round")]
    fn micros() -> u32 {
        static START: LazyLock<Instant> = LazyLock::new(Instant::now);
        START.elapsed().as_micros() as u32
    }

    /// How long ago that was; `None` where nobody looked.
    pub fn elapsed(self) -> Option<Duration> {
        (self.0 != 0).then(|| Duration::from_micros(Self::micros().wrapping_sub(self.0).into()))
    }
}

impl Entry {
    /// Anything but a vote.
    pub fn new(at: u64, body: Body, waiter: Option<Waiter>) -> Self {
        Self { at, body, claimed: Place::NONE, stamp: Stamp::default(), waiter }
    }
}

/// One small allocation a vote, on which its request sleeps: the only one between claim and answer.
pub type Waiter = oneshot::Sender<Outcome>;

/// What goes through the queue.
#[derive(Debug)]
pub enum Body {
    /// An event, to be logged.
    Event(Event),
    /// Nothing: settles behind everything that was enqueued before it, and takes no sequence.
    Barrier,
    /// Settlement answers with every tally as of this place in the log.
    Probe(oneshot::Sender<Reading>),
    /// The last entry that the commit thread takes.
    Close,
}

/// Every tally at one place in the log, by clip number.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Reading {
    /// The last sequence that it contains.
    pub seq: Seq,
    /// Votes and weight of each clip.
    pub counts: Vec<(u64, u64)>,
    /// Votes under voids, by slot number.
    pub masks: Vec<Arc<[Mask]>>,
    /// Comments of each clip: how many everyone can see, and how often one that was posted earlier came into sight or
    /// went out of it.
    pub comments: Vec<(u64, u64)>,
}

/// How it ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// It stands at that sequence; a barrier says the last one before it.
    Done(Seq),
    /// The log's order refuses it. Nothing was logged.
    Refused(Refusal),
    /// The store failed: whether it stands is known after a restart.
    Failed,
}

/// The queue's two ends.
pub fn queue(capacity: usize) -> (Queue, Receiver<Entry>) {
    let (sender, receiver) = bounded(capacity + RESERVE);
    (Queue { sender, capacity }, receiver)
}

/// The sending end.
#[derive(Clone, Debug)]
pub struct Queue {
    sender: Sender<Entry>,
    capacity: usize,
}

impl Queue {
    /// Enqueues a voter's event, called under that voter's shard lock; gives the length with it, `None` if it is full.
    pub fn claim(&self, mut entry: Entry) -> Option<u64> {
        let waiting = self.sender.len();
        if waiting >= self.capacity {
            return None;
        }
        if waiting.is_multiple_of(TIMED_EVERY) {
            entry.stamp = Stamp::now();
        }
        self.sender.try_send(entry).ok()?;
        Some(waiting as u64 + 1)
    }

    /// Enqueues an operator's or a timer's event, or a barrier; hands it back if even the reserve is full.
    pub fn urge(&self, entry: Entry) -> Result<(), Entry> {
        self.sender.try_send(entry).map_err(|refused| match refused {
            TrySendError::Full(entry) | TrySendError::Disconnected(entry) => entry,
        })
    }

    /// Entries that wait.
    pub fn len(&self) -> usize {
        self.sender.len()
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.sender.is_empty()
    }
}

/// Waits for an answer on this thread, also where an asynchronous runtime would forbid it to block; `None` if it will not
/// come. For the start and for tests: it looks every so often.
pub fn wait_here(mut answer: oneshot::Receiver<Outcome>) -> Option<Outcome> {
    loop {
        match answer.try_recv() {
            Ok(outcome) => return Some(outcome),
            Err(oneshot::error::TryRecvError::Closed) => return None,
            Err(oneshot::error::TryRecvError::Empty) => std::thread::sleep(Duration::from_micros(200)),
        }
    }
}
