//! The one that publishes what has a place in the order: gives positions, sends events and counts, forgets what is too old.
//!
//! A step never waits for a viewer. Wakes come last, so that what a step publishes together leaves together.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crossbeam_channel::{Receiver, TryRecvError, select};

use super::channel::{Channel, State};
use super::directory::SHARDS;
use super::intake::{Batch, LogEvent, Lost};
use super::publish::{Order, Publication};
use super::queue::Wakes;
use super::values::Values;
use super::viewer::resync;
use super::{Core, Frame, Position, ViewerId, names};
use crate::domain::Seq;

/// A step ends after so many messages...
const MESSAGES: usize = 256;
/// ...or so many frames queued: whoever got the first of them waits for its wake.
const DELIVERIES: u64 = 16_384;
/// One shard of the directory is swept so often, in milliseconds.
const SWEEP_EVERY_MS: u64 = 1_000;

/// What a step came to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    /// Go on.
    On,
    /// Settlement has ended, and everything it has sent is published.
    Ended,
}

/// The hub's worker. One thread repeats [`Worker::step`].
pub struct Worker {
    core: Arc<Core>,
    settled: Receiver<Batch>,
    orders: Receiver<Order>,
    /// The last position that was given.
    last: Position,
    values: Values,
    wakes: Wakes,
    sent: u64,
    swept_at: u64,
    next_shard: usize,
}

impl std::fmt::Debug for Worker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Worker").field("last", &self.last).finish_non_exhaustive()
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.core.gate.lock().closed = true;
        // A channel keeps what nobody receives: whoever waits for these is told here.
        self.orders.try_iter().for_each(drop);
    }
}

enum Message {
    Batch(Batch),
    Order(Order),
}

impl Worker {
    pub(super) fn new(core: Arc<Core>, settled: Receiver<Batch>, orders: Receiver<Order>, start: Position) -> Self {
        Self {
            values: Values::new(Arc::clone(&core)),
            core,
            settled,
            orders,
            last: start,
            wakes: Wakes::default(),
            sent: 0,
            swept_at: 0,
            next_shard: 0,
        }
    }

    /// Publishes what has come, waiting at most `patience` for the first, and what is due.
    pub fn step(&mut self, patience: Duration) -> Step {
        let mut done = Vec::new();
        let mut next = self.wait(self.patience(patience));
        let ended = matches!(next, Err(TryRecvError::Disconnected));
        for left in (0..MESSAGES).rev() {
            match next {
                Ok(Message::Batch(batch)) => self.batch(batch),
                Ok(Message::Order(order)) => done.push(self.order(order)),
                Err(_) => break,
            }
            // Before the next one is taken out: it would be lost.
            if left == 0 || self.sent >= DELIVERIES {
                break;
            }
            next = self.look();
        }
        self.recover_lost(None);
        self.sent += self.values.send(ended, self.last, &mut self.wakes) as u64;
        self.make_room();
        self.sweep();
        self.wakes.wake();
        for (waiter, position) in done {
            // Whoever asked may be gone.
            let _ = waiter.send(position);
        }
        let core = &self.core;
        core.metrics.deliveries.inc_by(std::mem::take(&mut self.sent));
        core.metrics.viewer_bytes.set(i64::try_from(core.budget.waiting()).unwrap_or(i64::MAX));
        if ended { Step::Ended } else { Step::On }
    }

    fn patience(&self, patience: Duration) -> Duration {
        let next = self.values.next_in(self.core.clock.now_ms());
        // Not less than one: a clock that stands still must not make this spin.
        next.map_or(patience, |ms| patience.min(Duration::from_millis(ms.max(1))))
    }

    fn wait(&self, patience: Duration) -> Result<Message, TryRecvError> {
        select! {
            recv(self.settled) -> batch => batch.map(Message::Batch).map_err(|_| TryRecvError::Disconnected),
            // Its sender lives in the hub, which this worker holds.
            recv(self.orders) -> order => order.map(Message::Order).map_err(|_| TryRecvError::Disconnected),
            default(patience) => Err(TryRecvError::Empty),
        }
    }

    /// Batches first: an inbox that is full of triggers must not cost a comment.
    fn look(&self) -> Result<Message, TryRecvError> {
        match self.settled.try_recv() {
            Ok(batch) => Ok(Message::Batch(batch)),
            Err(_) => self.orders.try_recv().map(Message::Order),
        }
    }

    fn batch(&mut self, batch: Batch) {
        self.recover_lost(Some(batch.last));
        for clip in batch.clips {
            self.values.counted(clip);
        }
        for slot in batch.slots {
            self.values.revealed(slot);
        }
        for likes in batch.likes {
            self.values.liked(likes);
        }
        for event in batch.events {
            self.log_event(event);
        }
        if batch.last > self.last.seq {
            self.last = Position::of(batch.last);
        }
        self.note_done();
    }

    fn log_event(&mut self, event: LogEvent) {
        let position = self.give(self.last.next_of(event.seq));
        let mut data = event.data;
        // It is an object: its position goes in as the last member.
        data.pop();
        data.push_str(if data.len() > 1 { ",\"position\":\"" } else { "\"position\":\"" });
        data.push_str(&position.to_string());
        data.push_str("\"}");
        self.publish(&event.channel, &event.event.into(), &data.into(), None, position);
    }

    fn order(&mut self, order: Order) -> (tokio::sync::oneshot::Sender<Position>, Position) {
        for Publication { channels, event, data, except } in order.publications {
            let (event, data) = (event.into(), data.into());
            for channel in &channels {
                let position = self.give(self.last.next());
                self.publish(channel, &event, &data, except, position);
            }
        }
        (order.done, self.last)
    }

    /// From here on someone may have heard of the position.
    fn give(&mut self, position: Position) -> Position {
        self.last = position;
        self.core.gate.lock().given = position;
        position
    }

    fn note_done(&self) {
        let mut gate = self.core.gate.lock();
        (gate.given, gate.done) = (self.last, self.last);
    }

    fn publish(&mut self, name: &str, event: &Arc<str>, data: &Arc<str>, except: Option<ViewerId>, position: Position) {
        let core = Arc::clone(&self.core);
        let now_ms = core.clock.now_ms();
        let publish = |channel: &Arc<Channel>, state: &mut State| {
            let frame = Frame::event(Arc::clone(&channel.name), Arc::clone(event), Arc::clone(data)).at(position);
            let frame = Arc::new(frame);
            if names::has_history(name) {
                state.expire(now_ms, &core.settings, &core.kept);
                state.keep(now_ms, &frame, &core.settings, &core.kept);
            }
            if names::is_cache(name) {
                state.cache(now_ms, &frame, &core.kept);
            }
            state.send(&frame, except, &mut self.wakes) as u64
        };
        if names::has_history(name) {
            match core.directory.make(name, publish) {
                Ok(sent) => self.sent += sent,
                // Nobody is on it, and nobody can have it again.
                Err(_) => core.directory.raise_absent(position),
            }
            self.make_room();
        } else {
            self.sent += core.directory.change(name, publish).unwrap_or(0);
        }
        self.note_done();
    }

    /// Histories past their bytes, and the one who published last could not make the room: others are emptied, in turn.
    fn make_room(&mut self) {
        let core = Arc::clone(&self.core);
        let too_many = || core.kept.load(Ordering::Relaxed) > core.settings.history_bytes;
        for _ in 0..SHARDS {
            if !too_many() {
                return;
            }
            core.directory.each_of(self.next_shard, |_, state| {
                if too_many() {
                    state.forget_all(&core.kept);
                    if state.is_idle() {
                        core.directory.end(state);
                    }
                }
            });
            self.next_shard = (self.next_shard + 1) % SHARDS;
        }
    }

    /// Raises the floors of the channels whose events were lost, before the first batch behind them, or, if there is none
    /// any more, at once; and sends all counts that may have changed.
    fn recover_lost(&mut self, before: Option<Seq>) {
        let core = Arc::clone(&self.core);
        let lost = {
            let mut gate = core.gate.lock();
            let due = |lost: &Lost| before.map_or_else(|| self.settled.is_empty(), |last| last > lost.from);
            match gate.lost.take_if(|lost| due(lost)) {
                Some(lost) if lost.to > lost.from && before.is_some() => {
                    // Part of it came behind batches that are in the inbox: its channels are raised once more then.
                    let again = Lost {
                        from: lost.to,
                        to: lost.to,
                        channels: lost.channels.clone(),
                        all: lost.all,
                        ..Lost::default()
                    };
                    gate.lost = Some(Box::new(again));
                    lost
                }
                Some(lost) => lost,
                None => return,
            }
        };
        let seq = if before.is_some() { lost.from } else { lost.to };
        let first = self.give(self.last.next_of(seq));
        core.directory.raise_absent(first);
        let mut names: Vec<_> = lost.channels.iter().map(Arc::clone).collect();
        if lost.all {
            core.directory.each(|channel, _| names.push(Arc::clone(&channel.name)));
            names.retain(|name| names::is_own(name));
        }
        for name in names {
            // Each at a position of its own: a viewer of two that is cut between them has not been told of the second.
            let position = self.give(self.last.next());
            let told = core.directory.change(&name, |channel, state| {
                state.pass(position, &core.kept);
                core.metrics.resyncs.inc_by(state.subscribers() as u64);
                state.send(&resync(&channel.name, position), None, &mut self.wakes)
            });
            self.sent += told.unwrap_or(0) as u64;
        }
        self.note_done();
        lost.clips.iter().for_each(|clip| self.values.counted(*clip));
        lost.slots.iter().for_each(|slot| self.values.revealed(*slot));
    }

    /// One shard a second: events past their time, and channels that nothing needs.
    fn sweep(&mut self) {
        let core = Arc::clone(&self.core);
        let now_ms = core.clock.now_ms();
        if now_ms.abs_diff(self.swept_at) < SWEEP_EVERY_MS {
            return;
        }
        self.swept_at = now_ms;
        core.directory.each_of(self.next_shard, |_, state| {
            state.expire(now_ms, &core.settings, &core.kept);
            if state.is_idle() {
                core.directory.end(state);
            }
        });
        self.next_shard = (self.next_shard + 1) % SHARDS;
        core.metrics.channels.set(i64::try_from(core.directory.len()).unwrap_or(i64::MAX));
    }
}
