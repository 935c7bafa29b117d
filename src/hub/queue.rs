//! What waits for one viewer.
//!
//! Two lanes: events, in order, and latest values, each in its place, where a newer one takes the older one's. Events leave
//! first, so a value never overtakes what a viewer must know before it. A viewer that does not follow loses its queue and is
//! told to close; whoever publishes never waits for one.

use std::collections::VecDeque;
use std::hint::black_box;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use hashbrown::HashMap;
use parking_lot::Mutex;

use super::Frame;
use super::budget::Budget;

/// A queue that is empty gives its memory back once it had grown to so many places.
const KEPT_PLACES: usize = 32;

/// Why a viewer's connection ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Close {
    /// It did not follow: what waited for it is gone. WebSocket's code is 4100.
    Slow,
    /// Someone asked for it, with a code and a reason. What was queued before has been handed out.
    Code(u16, &'static str),
    /// Its [`super::Viewer`] was dropped.
    Gone,
}

/// The place of a latest value.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) struct Place {
    /// The channel's number.
    pub(super) channel: u64,
    pub(super) kind: Kind,
    pub(super) key: u64,
}

/// Whose values they are: each counts its keys itself.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) enum Kind {
    Counts,
    Likes,
    Relayed,
}

/// Wakers of those who have something to take, kept until everything that goes together is queued.
#[derive(Debug, Default)]
pub(super) struct Wakes(Vec<Waker>);

impl Wakes {
    fn add(&mut self, waker: Option<Waker>) {
        self.0.extend(waker);
    }

    /// Wakes them all.
    pub(super) fn wake(&mut self) {
        self.0.drain(..).for_each(Waker::wake);
    }
}

/// The queue of one viewer, shared by its connection and those who publish.
#[derive(Debug)]
pub(super) struct Queue {
    budget: Arc<Budget>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    events: VecDeque<Arc<Frame>>,
    /// No memory until the first one.
    latest: HashMap<Place, Arc<Frame>>,
    /// Bytes in both lanes.
    waiting: usize,
    /// Bytes that the connection has taken and, as far as is known here, not written yet.
    taken: usize,
    end: Option<Close>,
    /// Set while the connection waits.
    waker: Option<Waker>,
    /// Set while the connection can't write what it took.
    stuck: Option<Waker>,
}

impl Queue {
    pub(super) fn new(budget: Arc<Budget>) -> Self {
        budget.viewer_came();
        Self { budget, state: Mutex::default() }
    }

    /// Has the processor fetch it, without waiting for it.
    pub(super) fn fetch(&self) {
        black_box(self.state.is_locked());
    }

    /// Queues an event; whether it will be sent.
    pub(super) fn push(&self, frame: &Arc<Frame>, wakes: &mut Wakes) -> bool {
        let cost = frame.cost();
        let mut state = self.state.lock();
        if state.end.is_some() {
            return false;
        }
        let fits = self.budget.admits(state.waiting + state.taken + cost, cost);
        if fits {
            self.budget.take(cost);
            state.waiting += cost;
            state.events.push_back(Arc::clone(frame));
        } else {
            self.give_up(&mut state, wakes);
        }
        wakes.add(state.waker.take());
        fits
    }

    /// Queues a value behind all events, or in the place of an older one: then `whole` is taken, which holds all that
    /// changes of the place can have said. Whether it will be sent.
    pub(super) fn push_latest(
        &self,
        place: Place,
        frame: &Arc<Frame>,
        whole: impl FnOnce() -> Arc<Frame>,
        wakes: &mut Wakes,
    ) -> bool {
        let mut state = self.state.lock();
        if state.end.is_some() {
            return false;
        }
        let older = state.latest.remove(&place);
        let frame = if older.is_some() { whole() } else { Arc::clone(frame) };
        let freed = older.map_or(0, |older| older.cost());
        state.waiting -= freed;
        self.budget.give_back(freed);
        if freed > 0 {
            self.budget.metrics.values_replaced.inc();
        }
        let cost = frame.cost();
        let fits = self.budget.admits(state.waiting + state.taken + cost, cost);
        if fits {
            self.budget.take(cost);
            state.waiting += cost;
            state.latest.insert(place, frame);
        } else {
            self.give_up(&mut state, wakes);
        }
        wakes.add(state.waker.take());
        fits
    }

    /// Whether half of what may wait for this one does.
    pub(super) fn is_half_full(&self) -> bool {
        let state = self.state.lock();
        state.waiting + state.taken > self.budget.half_of_one()
    }

    /// Whether so many more bytes fit and leave it half empty.
    pub(super) fn has_room(&self, bytes: usize) -> bool {
        let state = self.state.lock();
        let holds = state.waiting + state.taken + bytes;
        holds <= self.budget.half_of_one() && self.budget.admits(holds, bytes)
    }

    /// Takes back the values of a channel that the viewer has left.
    pub(super) fn forget(&self, channel: u64) {
        let mut state = self.state.lock();
        let mut freed = 0;
        state.latest.retain(|place, frame| {
            let stays = place.channel != channel;
            freed += if stays { 0 } else { frame.cost() };
            stays
        });
        state.waiting -= freed;
        self.budget.give_back(freed);
    }

    /// Puts what waits into one order, for a viewer that has just come to several channels with one `since`: first what
    /// tells it to load a channel afresh, then what has no position, a cache channel's last event, which is older than
    /// whatever has come since, then what it missed, by position.
    ///
    /// A cut may fall between any two frames, and the last position before it is all that the viewer comes back with. So
    /// the former show none: an event's would hide that another channel's past is gone. Once all is told, it is shown.
    pub(super) fn in_one_order(&self) {
        let mut guard = self.state.lock();
        let state = &mut *guard;
        let (mut told, mut rest): (Vec<_>, Vec<_>) =
            state.events.drain(..).partition(|frame| frame.name() == Some(super::viewer::RESYNC));
        if let Some(end) = told.iter().filter_map(|frame| frame.position()).max() {
            let shows = told.len() - 1;
            let last = !rest.iter().any(|frame| frame.position().is_some());
            for (at, frame) in told.iter_mut().enumerate() {
                let plain = frame.out_of_order().expect("it is an event");
                *frame = Arc::new(if last && at == shows { plain.at(end) } else { plain });
            }
            if !last {
                let mark = Frame::mark(end);
                self.budget.take(mark.cost());
                state.waiting += mark.cost();
                rest.push(Arc::new(mark));
            }
        }
        rest.sort_by_key(|frame| frame.position());
        state.events = told.into_iter().chain(rest).collect();
    }

    /// Ends it once what waits has been taken. The first end counts.
    pub(super) fn close(&self, close: Close) {
        let wakers = {
            let mut state = self.state.lock();
            state.end.get_or_insert(close);
            [state.waker.take(), state.stuck.take()]
        };
        wakers.into_iter().flatten().for_each(Waker::wake);
    }

    /// Its viewer is gone: nothing waits for it any more.
    pub(super) fn abandon(&self) {
        let mut state = self.state.lock();
        self.drop_waiting(&mut state);
        self.budget.give_back(std::mem::take(&mut state.taken));
        state.end.get_or_insert(Close::Gone);
        self.budget.viewer_went();
        let waker = state.waker.take();
        drop(state);
        waker.into_iter().for_each(Waker::wake);
    }

    /// Moves what waits to `to`, at least one frame, until they pass `bytes`. What was taken before counts as written.
    pub(super) fn poll_take(
        &self,
        cx: &mut Context<'_>,
        to: &mut Vec<Arc<Frame>>,
        bytes: usize,
    ) -> Poll<Result<(), Close>> {
        let mut guard = self.state.lock();
        let state = &mut *guard;
        self.budget.give_back(std::mem::take(&mut state.taken));
        state.stuck = None;
        while state.taken < bytes {
            let Some(frame) = state.events.pop_front() else { break };
            state.taken += frame.cost();
            to.push(frame);
        }
        if state.events.is_empty() && state.taken < bytes && !state.latest.is_empty() {
            let taken = &mut state.taken;
            // Not in part: they are few, or small, and a map is not a queue.
            to.extend(state.latest.drain().map(|(_, frame)| {
                *taken += frame.cost();
                frame
            }));
        }
        if state.taken > 0 {
            state.waiting -= state.taken;
            if state.events.is_empty() && state.events.capacity() > KEPT_PLACES {
                state.events = VecDeque::new();
            }
            if state.latest.is_empty() && state.latest.capacity() > KEPT_PLACES {
                state.latest = HashMap::new();
            }
            return Poll::Ready(Ok(()));
        }
        if let Some(end) = state.end {
            return Poll::Ready(Err(end));
        }
        if !state.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            state.waker = Some(cx.waker().clone());
        }
        Poll::Pending
    }

    /// Ready once it was given up or told to close. For a connection that can't write what it took, which is woken for
    /// nothing else.
    pub(super) fn poll_end(&self, cx: &mut Context<'_>) -> Poll<Close> {
        let mut state = self.state.lock();
        if let Some(end) = state.end {
            return Poll::Ready(end);
        }
        if !state.stuck.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            state.stuck = Some(cx.waker().clone());
        }
        Poll::Pending
    }

    fn give_up(&self, state: &mut State, wakes: &mut Wakes) {
        wakes.add(state.stuck.take());
        self.drop_waiting(state);
        state.end = Some(Close::Slow);
        self.budget.metrics.slow_closes.inc();
    }

    fn drop_waiting(&self, state: &mut State) {
        self.budget.give_back(std::mem::take(&mut state.waiting));
        state.events = VecDeque::new();
        state.latest = HashMap::new();
    }
}

#[cfg(test)]
mod tests;
