//! Channels, and the queues of those who view them. No socket, no protocol: who owns a connection takes frames from a
//! [`Viewer`]'s queue and writes them.
//!
//! ```text
//! settlement ─ one message a batch ─▶ ┐
//! triggers ── Hub::publish ─────────▶ ┴ Worker::step: positions → channels (history, subscribers) → viewers' queues → wake
//! client events ── Hub::relay ──────────────────────────────────▶ channels ─▶ viewers' queues → wake
//! ```
//!
//! What has a position is published by the worker alone, so every viewer gets it in the order of positions. Counts are read
//! when they are sent, so the newest always arrives; they are never older than what was shown before.
//!
//! Never: waits for a viewer, holds up a commit, shows a count that is hidden.
//!
//! Locks, each taken before those behind it: a shard of the directory or a channel, the gate or a viewer's queue.

mod budget;
mod channel;
mod conflate;
mod counts;
mod directory;
mod frame;
mod intake;
pub mod names;
mod position;
mod publish;
mod queue;
mod values;
mod viewer;
mod worker;

use std::fmt;
use std::sync::atomic::{AtomicU64, AtomicUsize};
use std::sync::{Arc, OnceLock};

use crossbeam_channel::{Sender, bounded};
use parking_lot::Mutex;

pub use counts::{ClipNow, CountSource, NoCounts, SlotNow};
pub use frame::Frame;
pub use intake::Feed;
pub use position::{NoPosition, Position};
pub use publish::{Publication, Published};
pub use queue::Close;
pub use viewer::{Joined, Outbox, Refusal, Subscribe, Viewer, ViewerId};
pub use worker::{Step, Worker};

use crate::clock::Clock;
use crate::error::Fault;
use crate::metrics::Metrics;
use budget::Budget;
use directory::Directory;
use intake::Gate;
use publish::Order;

/// A `key` of [`Hub::relay_latest`]: the number of a channel's subscribers.
pub const SUBSCRIPTION_COUNT: u64 = 0;
/// Batches and publications that may wait for the worker, each.
const INBOX: usize = 1_024;

/// The hub's bounds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Settings {
    /// Bytes that may wait for one viewer.
    pub viewer_bytes: usize,
    /// Bytes that may wait for all.
    pub all_bytes: usize,
    /// Channels that someone is on, or that have a history or a last event.
    pub channels: usize,
    /// Channels of one viewer.
    pub channels_per_viewer: usize,
    /// Events that a channel keeps for who comes back...
    pub history_events: usize,
    /// ...so long, in milliseconds...
    pub history_ms: u64,
    /// ...in so many bytes of all channels.
    pub history_bytes: usize,
    /// How long a cache channel keeps its last event, in milliseconds.
    pub cache_ms: u64,
    /// The least time between two counts of a clip, in milliseconds.
    pub clip_every_ms: u64,
    /// The least time between two counts of a slot, and between two of a comment's likes, in milliseconds.
    pub slot_every_ms: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            viewer_bytes: 256 << 10,
            all_bytes: 1 << 30,
            channels: 100_000,
            channels_per_viewer: 100,
            history_events: 100,
            history_ms: 300_000,
            history_bytes: 64 << 20,
            cache_ms: 1_800_000,
            clip_every_ms: 100,
            slot_every_ms: 200,
        }
    }
}

impl Settings {
    /// Holds the bounds against each other.
    pub fn check(&self) -> Result<(), Fault> {
        let wrong = [
            (self.viewer_bytes < 32 << 10, "a viewer's queue must have at least 32 KiB: an event may have 10 KiB"),
            (self.all_bytes / 2 < self.viewer_bytes, "the bytes of all queues must be at least twice those of one"),
            (self.channels == 0 || self.channels_per_viewer == 0, "there must be room for a channel"),
            (self.history_bytes < 1 << 20, "histories must have at least 1 MiB together"),
            (self.history_events > 10_000, "a channel keeps at most 10000 events"),
        ];
        match wrong.iter().find(|(is_wrong, _)| *is_wrong) {
            Some((_, why)) => Err(Fault::Setting((*why).into())),
            None => Ok(()),
        }
    }
}

/// Told of every viewer that comes to a channel or leaves it. Called under the channel's lock, so in order: it notes what it
/// is told and returns; it calls nothing of the hub's, and takes no lock that is held around such a call.
pub trait Observer: Send + Sync {
    /// `count` viewers are on the channel now: one more if `joined`, else one less.
    fn changed(&self, channel: &Arc<str>, count: usize, joined: bool);
}

/// The hub, for who views and who publishes. Clones share it.
#[derive(Clone, Debug)]
pub struct Hub(Arc<Core>);

struct Core {
    settings: Settings,
    clock: Arc<dyn Clock>,
    counts: Arc<dyn CountSource>,
    metrics: Arc<Metrics>,
    budget: Arc<Budget>,
    directory: Directory,
    gate: Mutex<Gate>,
    /// Bytes of all histories. Written under channels' locks.
    kept: AtomicUsize,
    orders: Sender<Order>,
    observer: OnceLock<Arc<dyn Observer>>,
    next_viewer: AtomicU64,
}

impl fmt::Debug for Core {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hub").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl Hub {
    /// A hub with nothing in it, its worker, and the end that settlement feeds. Positions begin behind the sequence
    /// `start`: nobody knows any more what was pushed up to there.
    pub fn new(
        settings: Settings,
        clock: Arc<dyn Clock>,
        counts: Arc<dyn CountSource>,
        metrics: Arc<Metrics>,
        start: crate::domain::Seq,
    ) -> (Self, Worker, Feed) {
        let (orders, ordered) = bounded(INBOX);
        let (batches, settled) = bounded(INBOX);
        let start = Position::of(start);
        let core = Arc::new(Core {
            budget: Arc::new(Budget::new(settings.viewer_bytes, settings.all_bytes, Arc::clone(&metrics))),
            directory: Directory::new(settings.channels, start),
            gate: Mutex::new(Gate::new(start)),
            kept: AtomicUsize::new(0),
            observer: OnceLock::new(),
            next_viewer: AtomicU64::new(1),
            settings,
            clock,
            counts,
            metrics,
            orders,
        });
        let worker = Worker::new(Arc::clone(&core), settled, ordered, start);
        let feed = Feed::new(Arc::clone(&core), batches);
        (Self(core), worker, feed)
    }

    /// Who is told of subscriptions, from here on. Set once, before anyone subscribes.
    pub fn observe(&self, observer: Arc<dyn Observer>) {
        assert!(self.0.observer.set(observer).is_ok(), "the hub has one observer");
    }

    /// A receiver without channels yet.
    pub fn viewer(&self) -> Viewer {
        Viewer::new(Arc::clone(&self.0))
    }

    /// How many viewers there are.
    pub fn viewers(&self) -> usize {
        self.0.budget.viewers()
    }

    /// How many are on a channel.
    pub fn subscribers(&self, channel: &str) -> usize {
        self.0.directory.look(channel, channel::State::subscribers).unwrap_or(0)
    }

    /// The channels that someone is on whose names begin so, with how many are, by name.
    pub fn channels(&self, prefix: &str) -> Vec<(Arc<str>, usize)> {
        let mut found = Vec::new();
        self.0.directory.each(|channel, state| {
            if state.subscribers() > 0 && channel.name.starts_with(prefix) {
                found.push((Arc::clone(&channel.name), state.subscribers()));
            }
        });
        found.sort();
        found
    }

    /// A cache channel's last event, while it is kept.
    pub fn last_event(&self, channel: &str) -> Option<Arc<Frame>> {
        let now_ms = self.0.clock.now_ms();
        self.0.directory.look(channel, |state| state.last_event(now_ms, self.0.settings.cache_ms)).flatten()
    }

    /// Everything up to here is in its channel's history and in its viewers' queues.
    pub fn position(&self) -> Position {
        self.0.gate.lock().done
    }
}
