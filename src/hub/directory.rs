//! The channels by name, and what is known of those that are not there: up to which position they had events.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use parking_lot::Mutex;

use super::Position;
use super::channel::{Channel, State};

/// Enough that two threads seldom meet.
pub(super) const SHARDS: usize = 16;

/// There are as many channels as there may be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Full;

pub(super) struct Directory {
    shards: [Mutex<HashMap<Arc<str>, Arc<Channel>>>; SHARDS],
    hasher: RandomState,
    max: usize,
    count: AtomicUsize,
    /// Channels that someone is on.
    viewed: AtomicUsize,
    next: AtomicU64,
    /// A channel that is not there had no event behind this position. Only grows; raised before a channel goes.
    absent: Mutex<Position>,
}

impl Directory {
    pub(super) fn new(max: usize, start: Position) -> Self {
        Self {
            shards: std::array::from_fn(|_| Mutex::default()),
            hasher: RandomState::new(),
            max,
            count: AtomicUsize::new(0),
            viewed: AtomicUsize::new(0),
            next: AtomicU64::new(1),
            absent: Mutex::new(start),
        }
    }

    /// Channels that there are.
    pub(super) fn len(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    fn shard(&self, name: &str) -> &Mutex<HashMap<Arc<str>, Arc<Channel>>> {
        &self.shards[usize::try_from(self.hasher.hash_one(name) % SHARDS as u64).expect("less than 16")]
    }

    /// Does something to a channel if it is there.
    pub(super) fn change<R>(&self, name: &str, change: impl FnOnce(&Arc<Channel>, &mut State) -> R) -> Option<R> {
        let channel = self.shard(name).lock().get(name).map(Arc::clone)?;
        let mut state = channel.state.lock();
        // One that has just gone is as good as one that was not there.
        if state.gone { None } else { Some(change(&channel, &mut state)) }
    }

    /// Looks at a channel if it is there.
    pub(super) fn look<R>(&self, name: &str, look: impl FnOnce(&State) -> R) -> Option<R> {
        self.change(name, |_, state| look(state))
    }

    /// Does something to a channel, which is made if it is not there.
    pub(super) fn make<R>(&self, name: &str, change: impl FnOnce(&Arc<Channel>, &mut State) -> R) -> Result<R, Full> {
        self.make_with(name, || false, change)
    }

    /// The same for someone who comes to be on it: channels that nobody is on give way. `total`: the bytes of all histories.
    pub(super) fn make_viewed<R>(
        &self,
        name: &str,
        total: &AtomicUsize,
        change: impl FnOnce(&Arc<Channel>, &mut State) -> R,
    ) -> Result<R, Full> {
        self.make_with(name, || self.clear_unviewed(total), change)
    }

    fn make_with<R>(
        &self,
        name: &str,
        make_room: impl Fn() -> bool,
        change: impl FnOnce(&Arc<Channel>, &mut State) -> R,
    ) -> Result<R, Full> {
        loop {
            let channel = match self.get_or_make(name) {
                Err(Full) if make_room() => continue,
                channel => channel?,
            };
            let mut state = channel.state.lock();
            if !state.gone {
                return Ok(change(&channel, &mut state));
            }
            drop(state);
            // Whoever ended it has not taken it out yet.
            self.remove(&channel);
        }
    }

    fn get_or_make(&self, name: &str) -> Result<Arc<Channel>, Full> {
        let mut shard = self.shard(name).lock();
        if let Some(channel) = shard.get(name) {
            return Ok(Arc::clone(channel));
        }
        if self.count.load(Ordering::Relaxed) >= self.max {
            return Err(Full);
        }
        self.count.fetch_add(1, Ordering::Relaxed);
        let name: Arc<str> = name.into();
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        // Under the shard's lock: behind the end of an earlier channel of the name, which has raised it.
        let channel = Arc::new(Channel::new(id, Arc::clone(&name), self.absent()));
        shard.insert(name, Arc::clone(&channel));
        Ok(channel)
    }

    /// Ends the channels of one shard that nobody is on, whatever they keep; whether there were any. A shard at a time: what
    /// they keep is of use too.
    fn clear_unviewed(&self, total: &AtomicUsize) -> bool {
        // Else every viewer that finds no place would look at all of them.
        if self.viewed.load(Ordering::Relaxed) >= self.max {
            return false;
        }
        (0..SHARDS).any(|shard| {
            let mut ended = false;
            self.each_of(shard, |_, state| {
                if state.subscribers() == 0 {
                    state.forget_all(total);
                    self.end(state);
                    ended = true;
                }
            });
            ended
        })
    }

    /// Someone is on a channel that nobody was on. Told under its lock, as is the opposite.
    pub(super) fn is_viewed(&self) {
        self.viewed.fetch_add(1, Ordering::Relaxed);
    }

    /// Nobody is on a channel any more.
    pub(super) fn is_left(&self) {
        self.viewed.fetch_sub(1, Ordering::Relaxed);
    }

    /// Ends a channel that nothing needs any more; [`Directory::remove`] follows, once its lock is released.
    pub(super) fn end(&self, state: &mut State) {
        self.raise_absent(state.floor);
        state.gone = true;
    }

    /// Takes a channel out that has ended.
    pub(super) fn remove(&self, channel: &Arc<Channel>) {
        let mut shard = self.shard(&channel.name).lock();
        if shard.get(&channel.name).is_some_and(|there| Arc::ptr_eq(there, channel)) {
            shard.remove(&channel.name);
            self.count.fetch_sub(1, Ordering::Relaxed);
            if shard.capacity() > 64 && shard.len() < shard.capacity() / 4 {
                shard.shrink_to_fit();
            }
        }
    }

    /// The last position at which a channel that is not there may have had an event.
    pub(super) fn absent(&self) -> Position {
        *self.absent.lock()
    }

    pub(super) fn raise_absent(&self, to: Position) {
        let mut absent = self.absent.lock();
        *absent = to.max(*absent);
    }

    /// Visits every channel, each under its own lock.
    pub(super) fn each(&self, mut visit: impl FnMut(&Arc<Channel>, &mut State)) {
        for shard in 0..SHARDS {
            self.each_of(shard, &mut visit);
        }
    }

    /// Visits the channels of one shard, and takes out those that have ended meanwhile.
    pub(super) fn each_of(&self, shard: usize, mut visit: impl FnMut(&Arc<Channel>, &mut State)) {
        let channels: Vec<_> = self.shards[shard].lock().values().map(Arc::clone).collect();
        for channel in channels {
            let mut state = channel.state.lock();
            if !state.gone {
                visit(&channel, &mut state);
            }
            if state.gone {
                drop(state);
                self.remove(&channel);
            }
        }
    }
}
