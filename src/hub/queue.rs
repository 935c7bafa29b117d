//! What waits for one viewer, and the bytes that may wait for all.
//!
//! Two lanes: events, in order, and latest values, each in its place, where a newer one takes the older one's. Events leave
//! first, so a value never overtakes what a viewer must know before it. A viewer that does not follow loses its queue and is
//! told to close; whoever publishes never waits for one.

use std::collections::VecDeque;
use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};

use hashbrown::HashMap;
use parking_lot::Mutex;

use super::Frame;
use crate::metrics::Metrics;

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

/// The bytes that may wait, and those that do.
#[derive(Debug)]
pub(super) struct Budget {
    of_one: usize,
    of_all: usize,
    waiting: AtomicUsize,
    viewers: AtomicUsize,
    metrics: Arc<Metrics>,
}

impl Budget {
    pub(super) fn new(of_one: usize, of_all: usize, metrics: Arc<Metrics>) -> Self {
        Self { of_one, of_all, waiting: AtomicUsize::new(0), viewers: AtomicUsize::new(0), metrics }
    }

    /// Bytes that wait for all viewers.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// Viewers that there are.
    pub(super) fn viewers(&self) -> usize {
        self.viewers.load(Ordering::Relaxed)
    }

    /// Whether a queue may come to hold so many bytes by so many more. Once half of what there is for all is taken, each
    /// gets an equal part of the other half: so the queues that have grown are closed, and not those that hold nothing.
    fn admits(&self, holds: usize, more: usize) -> bool {
        let all = self.waiting() + more;
        let half = self.of_all / 2;
        let part = half / self.viewers().max(1);
        holds <= self.of_one && all <= self.of_all && (all <= half || holds <= part)
    }

    fn take(&self, bytes: usize) {
        self.waiting.fetch_add(bytes, Ordering::Relaxed);
    }

    fn give_back(&self, bytes: usize) {
        // All viewers share it: an idle write would still take it from the other cores.
        if bytes > 0 {
            self.waiting.fetch_sub(bytes, Ordering::Relaxed);
        }
    }
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
        budget.viewers.fetch_add(1, Ordering::Relaxed);
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
        state.waiting + state.taken > self.budget.of_one / 2
    }

    /// Whether so many more bytes fit and leave it half empty.
    pub(super) fn has_room(&self, bytes: usize) -> bool {
        let state = self.state.lock();
        let holds = state.waiting + state.taken + bytes;
        holds <= self.budget.of_one / 2 && self.budget.admits(holds, bytes)
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
        self.budget.viewers.fetch_sub(1, Ordering::Relaxed);
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
mod tests {
    use std::task::Wake;

    use super::*;

    fn budget(of_one: usize, of_all: usize) -> Arc<Budget> {
        Arc::new(Budget::new(of_one, of_all, Arc::default()))
    }

    /// A frame that costs exactly so much.
    fn frame(cost: usize) -> Arc<Frame> {
        let empty = Frame::event("", "", "").cost();
        Arc::new(Frame::event("", "", "x".repeat(cost - empty)))
    }

    fn place(key: u64) -> Place {
        Place { channel: 1, kind: Kind::Counts, key }
    }

    fn push(queue: &Queue, frame: &Arc<Frame>) -> bool {
        queue.push(frame, &mut Wakes::default())
    }

    fn set(queue: &Queue, key: u64, frame: &Arc<Frame>) -> bool {
        queue.push_latest(place(key), frame, || Arc::clone(frame), &mut Wakes::default())
    }

    fn take(queue: &Queue, bytes: usize) -> Poll<Result<Vec<usize>, Close>> {
        let mut taken = Vec::new();
        let polled = queue.poll_take(&mut Context::from_waker(Waker::noop()), &mut taken, bytes);
        polled.map_ok(|()| taken.iter().map(|frame| frame.cost()).collect())
    }

    #[test]
    fn events_leave_in_order_as_many_as_asked_for_and_values_behind_them() {
        let queue = Queue::new(budget(10_000, 100_000));
        assert!(set(&queue, 1, &frame(70)));
        for cost in [100, 200, 300] {
            assert!(push(&queue, &frame(cost)));
        }
        assert_eq!(take(&queue, 101), Poll::Ready(Ok(vec![100, 200])));
        assert_eq!(take(&queue, 1), Poll::Ready(Ok(vec![300])));
        assert_eq!(take(&queue, 1), Poll::Ready(Ok(vec![70])));
        assert_eq!(take(&queue, 1), Poll::Pending);
    }

    #[test]
    fn a_newer_value_takes_the_older_ones_place_and_bytes() {
        let budget = budget(10_000, 100_000);
        let queue = Queue::new(Arc::clone(&budget));
        assert!(set(&queue, 1, &frame(100)) && set(&queue, 2, &frame(70)));
        let whole = frame(300);
        assert!(queue.push_latest(place(1), &frame(90), || Arc::clone(&whole), &mut Wakes::default()));
        assert_eq!((budget.waiting(), budget.metrics.values_replaced.get()), (370, 1));
        let Poll::Ready(Ok(mut taken)) = take(&queue, 10_000) else { panic!("nothing waits") };
        taken.sort_unstable();
        assert_eq!(taken, [70, 300]);
    }

    #[test]
    fn bytes_count_until_what_was_taken_is_written() {
        let budget = budget(1_000, 100_000);
        let queue = Queue::new(Arc::clone(&budget));
        assert!(push(&queue, &frame(600)));
        assert_eq!(take(&queue, 10_000), Poll::Ready(Ok(vec![600])));
        assert_eq!(budget.waiting(), 600);
        assert!(push(&queue, &frame(400)));
        assert_eq!(take(&queue, 10_000), Poll::Ready(Ok(vec![400])));
        assert_eq!(take(&queue, 10_000), Poll::Pending);
        assert_eq!(budget.waiting(), 0);
    }

    #[test]
    fn who_does_not_follow_loses_the_queue_and_is_closed_once() {
        let budget = budget(1_000, 100_000);
        let queue = Queue::new(Arc::clone(&budget));
        assert!(push(&queue, &frame(600)) && set(&queue, 1, &frame(100)));
        assert!(!push(&queue, &frame(301)), "one byte too many");
        assert_eq!((budget.waiting(), budget.metrics.slow_closes.get()), (0, 1));
        assert!(!push(&queue, &frame(100)) && !set(&queue, 1, &frame(100)));
        queue.close(Close::Code(4009, "terminated"));
        assert_eq!(take(&queue, 10_000), Poll::Ready(Err(Close::Slow)));
        assert_eq!((budget.waiting(), budget.metrics.slow_closes.get()), (0, 1));
    }

    #[test]
    fn past_half_of_the_whole_budget_each_has_an_equal_part_of_the_rest() {
        let budget = budget(8_000, 10_000);
        let queues: Vec<_> = (0..5).map(|_| Queue::new(Arc::clone(&budget))).collect();
        assert!(push(&queues[0], &frame(5_000)), "half of it may go to one");
        // The other half is 1,000 each.
        for queue in &queues[1..] {
            assert!(push(queue, &frame(1_000)));
        }
        assert!(!push(&queues[0], &frame(100)), "the greedy one goes");
        assert_eq!(budget.waiting(), 4_000);
        assert!(push(&queues[1], &frame(1_000)), "there is room again");
    }

    #[test]
    fn a_stuck_connection_is_woken_when_it_is_to_end_and_for_nothing_else() {
        struct Count(AtomicUsize);
        impl Wake for Count {
            fn wake(self: Arc<Self>) {
                self.0.fetch_add(1, Ordering::Relaxed);
            }
        }
        let woken = Arc::new(Count(AtomicUsize::new(0)));
        let waker = Waker::from(Arc::clone(&woken));
        let queue = Queue::new(budget(1_000, 100_000));
        assert!(push(&queue, &frame(600)));
        assert!(take(&queue, 10_000).is_ready());
        assert!(queue.poll_end(&mut Context::from_waker(&waker)).is_pending());
        let mut wakes = Wakes::default();
        assert!(queue.push(&frame(300), &mut wakes));
        wakes.wake();
        assert_eq!(woken.0.load(Ordering::Relaxed), 0);
        assert!(!queue.push(&frame(300), &mut wakes));
        wakes.wake();
        assert_eq!(woken.0.load(Ordering::Relaxed), 1);
        assert_eq!(queue.poll_end(&mut Context::from_waker(&waker)), Poll::Ready(Close::Slow));
        // Or told to close.
        let other = Queue::new(budget(1_000, 100_000));
        assert!(other.poll_end(&mut Context::from_waker(&waker)).is_pending());
        other.close(Close::Code(4009, "terminated"));
        assert_eq!(woken.0.load(Ordering::Relaxed), 2);
        assert!(other.poll_end(&mut Context::from_waker(&waker)).is_ready());
    }

    #[test]
    fn all_together_never_hold_more_than_the_whole_budget() {
        let budget = budget(4_000, 20_000);
        let queues: Vec<_> = (0..50).map(|_| Queue::new(Arc::clone(&budget))).collect();
        for round in 0..2_000 {
            push(&queues[round * 7 % 50], &frame(100 + round % 900));
            assert!(budget.waiting() <= 20_000);
        }
        queues.iter().for_each(Queue::abandon);
        assert_eq!((budget.waiting(), budget.viewers()), (0, 0));
    }

    #[test]
    fn a_close_that_was_asked_for_lets_what_waits_go_first() {
        let queue = Queue::new(budget(1_000, 10_000));
        assert!(push(&queue, &frame(100)));
        queue.close(Close::Code(4009, "terminated"));
        assert!(!push(&queue, &frame(100)));
        assert_eq!(take(&queue, 1), Poll::Ready(Ok(vec![100])));
        assert_eq!(take(&queue, 1), Poll::Ready(Err(Close::Code(4009, "terminated"))));
    }

    #[test]
    fn who_waits_is_woken_once() {
        struct Count(AtomicUsize);
        impl Wake for Count {
            fn wake(self: Arc<Self>) {
                self.0.fetch_add(1, Ordering::Relaxed);
            }
        }
        let woken = Arc::new(Count(AtomicUsize::new(0)));
        let waker = Waker::from(Arc::clone(&woken));
        let queue = Queue::new(budget(1_000, 10_000));
        assert!(queue.poll_take(&mut Context::from_waker(&waker), &mut Vec::new(), 1).is_pending());
        let mut wakes = Wakes::default();
        queue.push(&frame(100), &mut wakes);
        queue.push(&frame(100), &mut wakes);
        assert_eq!(woken.0.load(Ordering::Relaxed), 0, "not before all is queued");
        wakes.wake();
        assert_eq!(woken.0.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn a_channel_that_was_left_takes_its_values_with_it() {
        let budget = budget(1_000, 10_000);
        let queue = Queue::new(Arc::clone(&budget));
        assert!(set(&queue, 1, &frame(100)));
        let other = Place { channel: 2, ..place(1) };
        queue.push_latest(other, &frame(80), || frame(80), &mut Wakes::default());
        queue.forget(1);
        assert_eq!(budget.waiting(), 80);
        assert_eq!(take(&queue, 1_000), Poll::Ready(Ok(vec![80])));
    }
}
