//! What settlement tells the hub, one message a batch, without ever waiting for it: what the inbox can't take is noted, and
//! the worker raises the floors of the channels that it concerns.

use std::collections::HashSet;
use std::sync::Arc;

use crossbeam_channel::{Sender, TrySendError};

use super::{Core, Position};
use crate::domain::{ClipNo, Seq, SlotNo};

/// Channels with lost events that are told apart; past it every channel of ours counts as one.
const LOST_MAX: usize = 1_024;

/// What settlement and the worker share. Its lock is held for a few instructions.
#[derive(Debug)]
pub(super) struct Gate {
    /// Viewers that there are. A viewer comes first and reads counts then; settlement adds first and looks here then: so one
    /// of the two sees the other, and no change is shown to nobody.
    pub(super) viewers: usize,
    /// The last sequence that is settled.
    pub(super) settled: Seq,
    /// The last position that was given.
    pub(super) given: Position,
    /// Everything up to here is in histories and queues.
    pub(super) done: Position,
    pub(super) lost: Option<Box<Lost>>,
    /// The worker has ended: nothing is sent to it any more, for nobody would ever drop it.
    pub(super) closed: bool,
}

impl Gate {
    pub(super) fn new(start: Position) -> Self {
        Self { viewers: 0, settled: start.seq, given: start, done: start, lost: None, closed: false }
    }

    /// Whether nobody can have heard of a position yet.
    pub(super) fn is_future(&self, position: Position) -> bool {
        position.seq > self.settled || (position > self.given && position.seq == self.given.seq)
    }
}

/// What the inbox could not take.
#[derive(Debug, Default)]
pub(super) struct Lost {
    /// The last sequence of the first batch that was lost: what came before it is in the inbox.
    pub(super) from: Seq,
    /// The last one of the last.
    pub(super) to: Seq,
    pub(super) clips: HashSet<ClipNo>,
    pub(super) slots: HashSet<SlotNo>,
    pub(super) channels: HashSet<Arc<str>>,
    /// More channels than are told apart.
    pub(super) all: bool,
}

/// One settled batch, as far as it concerns viewers.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pub(super) last: Seq,
    /// Clips whose counts have changed.
    pub(super) clips: Vec<ClipNo>,
    /// Slots whose counts have come to light.
    pub(super) slots: Vec<SlotNo>,
    pub(super) events: Vec<LogEvent>,
    pub(super) likes: Vec<Likes>,
}

/// An event of the log, for a channel of ours.
#[derive(Debug)]
pub(super) struct LogEvent {
    pub(super) seq: Seq,
    pub(super) channel: Arc<str>,
    pub(super) event: &'static str,
    /// A JSON object, which gets its position when that is known.
    pub(super) data: String,
}

/// How often a comment is liked.
#[derive(Debug)]
pub(super) struct Likes {
    pub(super) channel: Arc<str>,
    pub(super) comment: u64,
    pub(super) count: u64,
    pub(super) seq: Seq,
}

/// Settlement's end of the hub: it notes what a batch has changed, in log order, and sends that once the tallies are added to.
#[derive(Debug)]
pub struct Feed {
    core: Arc<Core>,
    to: Sender<Batch>,
    batch: Batch,
}

impl Feed {
    pub(super) fn new(core: Arc<Core>, to: Sender<Batch>) -> Self {
        Self { core, to, batch: Batch::default() }
    }

    /// A clip's counts have changed. Once a batch is enough.
    pub fn counted(&mut self, clip: ClipNo) {
        self.batch.clips.push(clip);
    }

    /// A slot's counts, hidden until now, may be seen.
    pub fn revealed(&mut self, slot: SlotNo) {
        self.batch.slots.push(slot);
    }

    /// An ordered event of one of our channels; `data`: a JSON object, to which its position is added.
    pub fn event(&mut self, seq: Seq, channel: &str, event: &'static str, data: String) {
        debug_assert!(data.starts_with('{') && data.ends_with('}'), "data is an object: {data}");
        self.batch.events.push(LogEvent { seq, channel: channel.into(), event, data });
    }

    /// How often a comment of a clip's channel is liked as of a sequence. Conflated: the newest one is sent as
    /// `comment-updated`.
    pub fn liked(&mut self, seq: Seq, channel: &str, comment: u64, count: u64) {
        self.batch.likes.push(Likes { channel: channel.into(), comment, count, seq });
    }

    /// Hands the batch to the worker, if it concerns anyone. Never waits.
    pub fn send(&mut self, last: Seq) {
        let mut gate = self.core.gate.lock();
        gate.settled = last;
        if gate.viewers == 0 {
            self.batch.clips.clear();
            self.batch.slots.clear();
        }
        let Batch { clips, slots, events, likes, .. } = &self.batch;
        if clips.is_empty() && slots.is_empty() && events.is_empty() && likes.is_empty() {
            return;
        }
        let batch = Batch { last, ..std::mem::take(&mut self.batch) };
        if let Err(TrySendError::Full(batch) | TrySendError::Disconnected(batch)) = self.to.try_send(batch) {
            // Under the same lock as the attempt: the worker looks here only after it has found the inbox empty.
            lose(gate.lost.get_or_insert_default(), batch);
            self.core.metrics.batches_lost.inc();
        }
    }
}

fn lose(lost: &mut Lost, batch: Batch) {
    if lost.from == 0 {
        lost.from = batch.last;
    }
    lost.to = batch.last;
    lost.clips.extend(batch.clips);
    lost.slots.extend(batch.slots);
    let channels = batch.events.into_iter().map(|event| event.channel);
    lost.channels.extend(channels.chain(batch.likes.into_iter().map(|likes| likes.channel)));
    if lost.channels.len() > LOST_MAX {
        lost.channels = HashSet::new();
        lost.all = true;
    }
}
