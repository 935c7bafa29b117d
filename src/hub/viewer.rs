//! A receiver: the channels that it is on, and the end of its queue that its connection takes from.

use std::fmt;
use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};

use super::channel::{Channel, State};
use super::queue::{Close, Kind, Queue, Wakes};
use super::{Core, Frame, Position, counts, names};

/// A viewer's number. Given once in a process.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct ViewerId(pub u64);

/// What a viewer asks for.
#[derive(Clone, Debug)]
pub struct Subscribe<'a> {
    /// The channel. Its name is taken as it is.
    pub channel: &'a str,
    /// The last position that the viewer knows: it gets what came after it, or is told to load afresh.
    pub since: Option<Position>,
    /// For a cache channel: what it gets if there is no last event.
    pub miss: Option<Arc<Frame>>,
    /// It gets a cache channel's last event although it has a `since`, unless that is among what it missed: for one whose
    /// `since` only says where it began to come.
    pub last: bool,
}

impl<'a> Subscribe<'a> {
    /// A channel from now on.
    pub fn to(channel: &'a str) -> Self {
        Self { channel, since: None, miss: None, last: false }
    }
}

/// How a viewer came to a channel.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Joined {
    /// How many are on it, with this one.
    pub count: usize,
    /// What the viewer knows of the channel as it comes: a `since` for the next time. What is queued behind the welcome, what it
    /// missed or that it must load afresh, is not in it, for a cut may come first.
    pub position: Position,
    /// It was told to load afresh: what it missed is gone.
    pub resynced: bool,
    /// It was a cache channel without a last event.
    pub missed: bool,
}

/// Why a viewer is not on a channel.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refusal {
    /// It is on it already.
    AlreadySubscribed,
    /// It is on as many as it may be.
    TooManyChannels,
    /// There are as many channels as there may be.
    Full,
}

/// A receiver of frames; its connection owns it. Dropping it leaves every channel.
pub struct Viewer {
    outbox: Outbox,
    channels: Vec<Arc<Channel>>,
}

/// The queue of a viewer, for whoever writes to its connection and whoever has something for it alone. Clones share it.
#[derive(Clone)]
pub struct Outbox {
    id: ViewerId,
    core: Arc<Core>,
    queue: Arc<Queue>,
}

impl fmt::Debug for Viewer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Viewer").field("id", &self.outbox.id).finish_non_exhaustive()
    }
}

impl fmt::Debug for Outbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outbox").field("id", &self.id).finish_non_exhaustive()
    }
}

impl Viewer {
    pub(super) fn new(core: Arc<Core>) -> Self {
        // Before it reads any count.
        core.gate.lock().viewers += 1;
        core.metrics.viewers.inc();
        let queue = Arc::new(Queue::new(Arc::clone(&core.budget)));
        let id = ViewerId(core.next_viewer.fetch_add(1, Ordering::Relaxed));
        Self { outbox: Outbox { id, core, queue }, channels: Vec::new() }
    }

    /// Its number.
    pub fn id(&self) -> ViewerId {
        self.outbox.id
    }

    /// Its queue.
    pub fn outbox(&self) -> &Outbox {
        &self.outbox
    }

    /// The channels that it is on.
    pub fn channels(&self) -> impl Iterator<Item = &str> {
        self.channels.iter().map(|channel| &*channel.name)
    }

    /// Whether it is on a channel.
    pub fn is_subscribed(&self, channel: &str) -> bool {
        self.channels().any(|name| name == channel)
    }

    /// Comes to a channel. In one step, as everyone sees it, it gets: what `first` makes, what it missed or
    /// `plaudit:resync`, a cache channel's last event, then the current counts, and everything that follows.
    ///
    /// `first` runs under the channel's lock: it calls nothing of the hub's.
    pub fn subscribe(
        &mut self,
        wish: &Subscribe<'_>,
        first: impl FnOnce(&Joined) -> Option<Arc<Frame>>,
    ) -> Result<Joined, Refusal> {
        if self.is_subscribed(wish.channel) {
            return Err(Refusal::AlreadySubscribed);
        }
        let core = &self.outbox.core;
        if self.channels.len() >= core.settings.channels_per_viewer {
            return Err(Refusal::TooManyChannels);
        }
        let mut wakes = Wakes::default();
        let joined = core.directory.make_viewed(wish.channel, &core.kept, |channel, state| {
            let joined = self.outbox.join(channel, state, wish, first, &mut wakes);
            (Arc::clone(channel), joined)
        });
        let (channel, joined) = joined.map_err(|_| Refusal::Full)?;
        wakes.wake();
        core.metrics.channels.set(i64::try_from(core.directory.len()).unwrap_or(i64::MAX));
        self.channels.push(channel);
        Ok(joined)
    }

    /// Leaves a channel; how many are still on it. `None`: it was not on it.
    pub fn unsubscribe(&mut self, channel: &str) -> Option<usize> {
        let at = self.channels.iter().position(|on| &*on.name == channel)?;
        let channel = self.channels.swap_remove(at);
        let left = self.outbox.leave(&channel);
        self.outbox.queue.forget(channel.id);
        Some(left)
    }

    /// Puts what waits into one order, after it has come to several channels with one `since`: what it missed of one then
    /// does not stand behind what it missed of another, and a cut anywhere loses nothing. Before anything is taken.
    pub fn in_one_order(&self) {
        self.outbox.queue.in_one_order();
    }
}

impl Drop for Viewer {
    fn drop(&mut self) {
        for channel in self.channels.drain(..) {
            self.outbox.leave(&channel);
        }
        self.outbox.queue.abandon();
        let core = &self.outbox.core;
        core.gate.lock().viewers -= 1;
        core.metrics.viewers.dec();
    }
}

impl Outbox {
    /// Its viewer's number.
    pub fn id(&self) -> ViewerId {
        self.id
    }

    /// Queues a frame behind what waits; whether it will be sent.
    pub fn send(&self, frame: &Arc<Frame>) -> bool {
        let mut wakes = Wakes::default();
        let sent = self.queue.push(frame, &mut wakes);
        wakes.wake();
        sent
    }

    /// Whether what waits fills half of the queue.
    pub fn is_half_full(&self) -> bool {
        self.queue.is_half_full()
    }

    /// Ends the connection once what waits is written. The first end counts.
    pub fn close(&self, code: u16, reason: &'static str) {
        self.queue.close(Close::Code(code, reason));
    }

    /// Ready once the viewer was given up because it does not follow, or was told to close. For a connection that can't
    /// write what it took: it is woken for this alone.
    pub fn poll_end(&self, cx: &mut Context<'_>) -> Poll<Close> {
        self.queue.poll_end(cx)
    }

    /// Moves what waits to `to`: at least one frame, until they cost `bytes`, the latest values of counts last. Calling it
    /// says that everything taken before is written. The last caller is woken when there is more.
    pub fn poll_take(&self, cx: &mut Context<'_>, to: &mut Vec<Arc<Frame>>, bytes: usize) -> Poll<Result<(), Close>> {
        self.queue.poll_take(cx, to, bytes)
    }

    /// The same, as a future. Dropping it loses nothing.
    pub async fn take(&self, to: &mut Vec<Arc<Frame>>, bytes: usize) -> Result<(), Close> {
        poll_fn(|cx| self.poll_take(cx, to, bytes)).await
    }

    /// Has the processor fetch what the next call needs, without waiting for it: for who is about to take from many.
    pub fn fetch(&self) {
        self.queue.fetch();
    }

    fn join(
        &self,
        channel: &Arc<Channel>,
        state: &mut State,
        wish: &Subscribe<'_>,
        first: impl FnOnce(&Joined) -> Option<Arc<Frame>>,
        wakes: &mut Wakes,
    ) -> Joined {
        let core = &self.core;
        let now_ms = core.clock.now_ms();
        state.expire(now_ms, &core.settings, &core.kept);
        let (known, future) = {
            let gate = core.gate.lock();
            (gate.done.max(state.last()), wish.since.is_some_and(|since| gate.is_future(since)))
        };
        let missed = wish.since.map(|since| state.missed(since)).unwrap_or_default();
        // What is missed and would fill the queue is as good as gone: it would close the viewer, each time it comes.
        let again = missed.iter().chain(state.likes().map(|(_, frame)| frame));
        let too_much = !self.queue.has_room(again.map(|frame| frame.cost()).sum());
        let resynced = wish
            .since
            .is_some_and(|since| since < state.floor || too_much || future || !names::has_history(&channel.name));
        let position = match wish.since {
            Some(since) if resynced || !missed.is_empty() => since,
            since => known.max(since.unwrap_or_default()),
        };
        let since = wish.since.filter(|_| !resynced);
        let cached = wish.miss.as_ref().filter(|_| since.is_none());
        let wants_last = cached.is_some() || (wish.last && (resynced || missed.is_empty()));
        let last = if wants_last { state.last_event(now_ms, core.settings.cache_ms) } else { None };
        let joined =
            Joined { count: state.subscribers() + 1, position, resynced, missed: cached.is_some() && last.is_none() };
        let queue = &self.queue;
        if let Some(first) = first(&joined) {
            queue.push(&first, wakes);
        }
        if resynced {
            core.metrics.resyncs.inc();
            queue.push(&resync(&channel.name, known), wakes);
        } else if since.is_some() {
            for frame in &missed {
                queue.push(frame, wakes);
            }
            for (comment, frame) in state.likes() {
                let place = channel.place(Kind::Likes, comment);
                queue.push_latest(place, frame, || Arc::clone(frame), wakes);
            }
        }
        if let Some(frame) = last.as_ref().or(cached) {
            queue.push(frame, wakes);
        }
        if names::is_own(&channel.name) {
            counts::show_first(core, channel, state, queue, wakes);
        }
        if joined.count == 1 {
            core.directory.is_viewed();
        }
        state.join(self.id, Arc::clone(queue), since.unwrap_or_default());
        if let Some(observer) = core.observer.get() {
            observer.changed(&channel.name, joined.count, true);
        }
        joined
    }

    fn leave(&self, channel: &Arc<Channel>) -> usize {
        let core = &self.core;
        let mut state = channel.state.lock();
        let was = state.leave(self.id);
        let left = state.subscribers();
        if was && left == 0 {
            core.directory.is_left();
        }
        if let Some(observer) = core.observer.get().filter(|_| was) {
            observer.changed(&channel.name, left, false);
        }
        if state.is_idle() {
            core.directory.end(&mut state);
            drop(state);
            core.directory.remove(channel);
            core.metrics.channels.set(i64::try_from(core.directory.len()).unwrap_or(i64::MAX));
        }
        left
    }
}

/// The event's name.
pub(super) const RESYNC: &str = "plaudit:resync";

/// What a viewer is told when what it missed can't be had: load afresh, and go on from here.
pub(super) fn resync(channel: &Arc<str>, position: Position) -> Arc<Frame> {
    // The position has nothing to escape; the name is text that someone chose.
    let name = serde_json::to_string(names::shown(channel)).expect("a string always serialises");
    let data = format!(r#"{{"channel":{name},"position":"{position}"}}"#);
    Arc::new(Frame::event(Arc::clone(channel), RESYNC, data).at(position))
}
