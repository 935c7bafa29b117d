//! Tells of occupancy: channels' subscribers get their number, and webhooks hear of first and last ones.
//!
//! The hub says what changes, under its locks; it is noted here, and told by [`Counts::step`]. In a channel of more than a
//! hundred the number is told at most every 5 s. Bounded by the hub's channels.

use std::sync::Arc;
use std::time::Duration;

use hashbrown::HashMap;
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::apps::Apps;
use super::channel::{Channel, Kind};
use super::frames;
use super::webhooks::{Event, Webhooks};
use crate::clock::Clock;
use crate::hub::{Hub, Observer, SUBSCRIPTION_COUNT};

/// In a channel of so many every change is told.
const FEW: usize = 100;
/// The least time between two numbers in a larger one.
const EVERY_MS: u64 = 5_000;
/// How often changes are looked at: changes of so short a time are told as one.
const TICK: Duration = Duration::from_millis(20);

/// Channels whose numbers have changed, or were told lately.
pub(super) struct Counts {
    apps: Arc<Apps>,
    webhooks: Arc<Webhooks>,
    clock: Arc<dyn Clock>,
    channels: Mutex<HashMap<Arc<str>, Count>>,
    /// Told when a number has changed.
    work: Notify,
}

#[derive(Debug, Default)]
struct Count {
    subscribers: usize,
    untold: bool,
    told_ms: Option<u64>,
}

impl Count {
    fn is_due(&self, now_ms: u64) -> bool {
        self.subscribers <= FEW || self.told_ms.is_none_or(|told| now_ms >= told + EVERY_MS || now_ms < told)
    }
}

impl Counts {
    /// Nothing to tell yet.
    pub(super) fn new(apps: Arc<Apps>, webhooks: Arc<Webhooks>, clock: Arc<dyn Clock>) -> Self {
        Self { apps, webhooks, clock, channels: Mutex::default(), work: Notify::new() }
    }

    /// Tells the numbers that are due; how many there were.
    pub(super) fn step(&self, hub: &Hub) -> usize {
        let now_ms = self.clock.now_ms();
        let mut due = Vec::new();
        self.channels.lock().retain(|channel, count| {
            if count.untold && count.is_due(now_ms) {
                count.untold = false;
                count.told_ms = Some(now_ms);
                due.push((Arc::clone(channel), count.subscribers));
            }
            // Kept for as long as it holds the next number back.
            count.untold || !count.is_due(now_ms)
        });
        for (hub_name, subscribers) in &due {
            let (app, channel) = self.apps.shown(hub_name);
            hub.relay_latest(hub_name, SUBSCRIPTION_COUNT, &frames::count(channel, *subscribers), None);
            self.webhooks.note(app, Event::subscription_count(channel, *subscribers));
        }
        due.len()
    }

    /// Tells for ever.
    pub(super) async fn run(self: Arc<Self>, hub: Hub) {
        loop {
            if self.channels.lock().is_empty() {
                self.work.notified().await;
            }
            self.step(&hub);
            tokio::time::sleep(TICK).await;
        }
    }
}

impl Observer for Counts {
    fn changed(&self, channel: &Arc<str>, count: usize, joined: bool) {
        let (app, name) = self.apps.shown(channel);
        let Some(known) = Channel::parse(name) else { return };
        if known.kind() != Kind::User {
            match (count, joined) {
                (1, true) => self.webhooks.note(app, Event::occupied(name)),
                (0, false) => self.webhooks.note(app, Event::vacated(name)),
                _ => {}
            }
        }
        if !known.tells_count() {
            return;
        }
        let mut channels = self.channels.lock();
        if count == 0 {
            // Nobody is left to be told.
            channels.remove(channel);
            return;
        }
        let entry = channels.entry(Arc::clone(channel)).or_default();
        (entry.subscribers, entry.untold) = (count, true);
        drop(channels);
        self.work.notify_one();
    }
}
