//! One channel: who is on it, what it keeps for those who come back, what its counts were when they were last shown.
//! Everything here happens under its lock.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;

use super::counts::Shown;
use super::queue::{Kind, Place, Queue, Wakes};
use super::{Frame, Position, Settings, ViewerId};

/// A channel's likes that are kept for those who come back.
const LIKES_KEPT: usize = 100;
/// Queues that are fetched from memory together: one after the other, each would be waited for.
const FETCHED: usize = 32;

pub(super) struct Channel {
    /// Given once.
    pub(super) id: u64,
    pub(super) name: Arc<str>,
    pub(super) state: Mutex<State>,
}

impl Channel {
    pub(super) fn new(id: u64, name: Arc<str>, floor: Position) -> Self {
        Self { id, name, state: Mutex::new(State::new(floor)) }
    }

    pub(super) fn place(&self, kind: Kind, key: u64) -> Place {
        Place { channel: self.id, kind, key }
    }
}

pub(super) struct State {
    /// In the order of their coming, in which their queues, tasks and sockets lie in memory: a hash's order costs a
    /// twentieth more CPU a delivery to 10,000.
    viewers: BTreeMap<ViewerId, Subscription>,
    history: VecDeque<Kept>,
    /// The history holds every event behind this position, and the likes that were sent since are there.
    pub(super) floor: Position,
    /// The last event's position; never below the floor.
    last: Position,
    /// A cache channel's last event, without its position.
    cached: Option<Kept>,
    /// The latest likes of comments, the oldest first, each with the last position that was given when it was sent.
    likes: VecDeque<(u64, Position, Kept)>,
    /// What everyone here has been shown of the counts, a part each; `None`: not the same, or nothing.
    pub(super) shown: Vec<Option<Shown>>,
    /// It is out of the directory, or about to be: nothing may be done to it any more.
    pub(super) gone: bool,
}

struct Subscription {
    queue: Arc<Queue>,
    /// The viewer knows everything up to here: it may have heard of it before the hub did.
    after: Position,
}

struct Kept {
    at_ms: u64,
    frame: Arc<Frame>,
}

impl State {
    fn new(floor: Position) -> Self {
        Self {
            viewers: BTreeMap::new(),
            history: VecDeque::new(),
            floor,
            last: floor,
            cached: None,
            likes: VecDeque::new(),
            shown: Vec::new(),
            gone: false,
        }
    }

    pub(super) fn subscribers(&self) -> usize {
        self.viewers.len()
    }

    /// The last event's position, or that up to which nothing is known.
    pub(super) fn last(&self) -> Position {
        self.last
    }

    pub(super) fn join(&mut self, viewer: ViewerId, queue: Arc<Queue>, after: Position) {
        self.viewers.insert(viewer, Subscription { queue, after });
    }

    /// Whether the viewer was on it.
    pub(super) fn leave(&mut self, viewer: ViewerId) -> bool {
        self.viewers.remove(&viewer).is_some()
    }

    /// Whether nothing is lost with it, but for its floor.
    pub(super) fn is_idle(&self) -> bool {
        self.viewers.is_empty() && self.history.is_empty() && self.cached.is_none() && self.likes.is_empty()
    }

    /// Queues an event for everyone but one; how many get it.
    pub(super) fn send(&self, frame: &Arc<Frame>, except: Option<ViewerId>, wakes: &mut Wakes) -> usize {
        let mut sent = 0;
        for (viewer, subscription) in self.fetched() {
            let known = frame.position().is_some_and(|position| position <= subscription.after);
            if Some(*viewer) != except && !known {
                sent += usize::from(subscription.queue.push(frame, wakes));
            }
        }
        sent
    }

    /// Queues a value for everyone but one; `whole` stands for it where an older one still waits.
    pub(super) fn send_latest(
        &self,
        place: Place,
        frame: &Arc<Frame>,
        mut whole: impl FnMut() -> Arc<Frame>,
        except: Option<ViewerId>,
        wakes: &mut Wakes,
    ) -> usize {
        let others = self.fetched().filter(|(viewer, _)| Some(**viewer) != except);
        others.filter(|(_, to)| to.queue.push_latest(place, frame, &mut whole, wakes)).count()
    }

    /// Everyone, with queues that are fetched from memory some at a time.
    fn fetched(&self) -> impl Iterator<Item = (&ViewerId, &Subscription)> {
        let mut ahead = self.viewers.values();
        self.viewers.iter().enumerate().map(move |(at, viewer)| {
            if at % FETCHED == 0 {
                ahead.by_ref().take(FETCHED).for_each(|next| next.queue.fetch());
            }
            viewer
        })
    }

    /// Puts an event into the history. `total`: the bytes of all histories.
    pub(super) fn keep(&mut self, at_ms: u64, frame: &Arc<Frame>, settings: &Settings, total: &AtomicUsize) {
        let position = frame.position().expect("what is kept has a position");
        debug_assert!(position > self.last, "events come in the order of their positions");
        self.last = position;
        self.history.push_back(Kept { at_ms, frame: Arc::clone(frame) });
        total.fetch_add(frame.cost(), Ordering::Relaxed);
        // Whoever publishes makes the room, if it can.
        while self.history.len() > settings.history_events
            || (self.history.len() > 1 && total.load(Ordering::Relaxed) > settings.history_bytes)
        {
            self.forget_oldest(total);
        }
    }

    /// Notes an event that nobody can have again.
    pub(super) fn pass(&mut self, position: Position, total: &AtomicUsize) {
        while !self.history.is_empty() {
            self.forget_oldest(total);
        }
        self.raise(self.last.max(position));
    }

    /// Forgets what is too old.
    pub(super) fn expire(&mut self, now_ms: u64, settings: &Settings, total: &AtomicUsize) {
        let old = |kept: &Kept, life_ms| now_ms.saturating_sub(kept.at_ms) >= life_ms;
        while self.history.front().is_some_and(|kept| old(kept, settings.history_ms)) {
            self.forget_oldest(total);
        }
        while self.likes.front().is_some_and(|(_, _, kept)| old(kept, settings.history_ms)) {
            self.forget_oldest_likes(total);
        }
        if self.cached.as_ref().is_some_and(|kept| old(kept, settings.cache_ms)) {
            self.forget_cached(total);
        }
    }

    /// Forgets everything that takes memory; the last event of a cache channel too.
    pub(super) fn forget_all(&mut self, total: &AtomicUsize) {
        self.pass(self.last, total);
        while !self.likes.is_empty() {
            self.forget_oldest_likes(total);
        }
        self.forget_cached(total);
    }

    fn forget_oldest(&mut self, total: &AtomicUsize) {
        if let Some(kept) = self.history.pop_front() {
            total.fetch_sub(kept.frame.cost(), Ordering::Relaxed);
            self.raise(kept.frame.position().expect("what is kept has a position"));
        }
        if self.history.is_empty() {
            self.history = VecDeque::new();
        }
    }

    fn forget_oldest_likes(&mut self, total: &AtomicUsize) {
        if let Some((_, sent, kept)) = self.likes.pop_front() {
            total.fetch_sub(kept.frame.cost(), Ordering::Relaxed);
            self.raise(sent);
        }
    }

    /// What came up to here may be gone.
    fn raise(&mut self, floor: Position) {
        self.floor = self.floor.max(floor);
        self.last = self.last.max(self.floor);
    }

    fn forget_cached(&mut self, total: &AtomicUsize) {
        if let Some(kept) = self.cached.take() {
            total.fetch_sub(kept.frame.cost(), Ordering::Relaxed);
        }
    }

    /// The events behind a position.
    pub(super) fn missed(&self, since: Position) -> Vec<Arc<Frame>> {
        let from = self.history.partition_point(|kept| kept.frame.position() <= Some(since));
        self.history.range(from..).map(|kept| Arc::clone(&kept.frame)).collect()
    }

    /// Keeps the latest likes of a comment. `sent`: the last position that was given.
    pub(super) fn keep_likes(
        &mut self,
        comment: u64,
        sent: Position,
        at_ms: u64,
        frame: &Arc<Frame>,
        total: &AtomicUsize,
    ) {
        if let Some(at) = self.likes.iter().position(|(key, _, _)| *key == comment) {
            let older = self.likes.remove(at).expect("it was found there");
            total.fetch_sub(older.2.frame.cost(), Ordering::Relaxed);
        } else if self.likes.len() >= LIKES_KEPT {
            self.forget_oldest_likes(total);
        }
        total.fetch_add(frame.cost(), Ordering::Relaxed);
        self.likes.push_back((comment, sent, Kept { at_ms, frame: Arc::clone(frame) }));
    }

    /// The latest likes, by comment. All of them, whatever a viewer knows: they are held back, and events overtake them, so
    /// no position tells which ones it has seen.
    pub(super) fn likes(&self) -> impl Iterator<Item = (u64, &Arc<Frame>)> {
        self.likes.iter().map(|(comment, _, kept)| (*comment, &kept.frame))
    }

    /// Makes an event the one that those who come later get.
    pub(super) fn cache(&mut self, at_ms: u64, frame: &Frame, total: &AtomicUsize) {
        self.forget_cached(total);
        if let Some(plain) = frame.out_of_order() {
            total.fetch_add(plain.cost(), Ordering::Relaxed);
            self.cached = Some(Kept { at_ms, frame: Arc::new(plain) });
        }
    }

    pub(super) fn last_event(&self, now_ms: u64, life_ms: u64) -> Option<Arc<Frame>> {
        let kept = self.cached.as_ref().filter(|kept| now_ms.saturating_sub(kept.at_ms) < life_ms)?;
        Some(Arc::clone(&kept.frame))
    }
}
