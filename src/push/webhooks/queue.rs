//! Events that wait to be told, and deliveries that wait to be sent or sent again. Knows time only as it is given.

use std::cmp::{Ordering, Reverse};
use std::collections::{BinaryHeap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use hashbrown::HashMap;
use serde::Serialize;

use crate::push::sign::Signer;

/// How long a vacated channel and a removed member are waited for.
pub const GRACE_MS: u64 = 3_000;
/// How long a delivery is tried.
const TRY_FOR_MS: u64 = 300_000;
/// The first and the longest pause.
const PAUSE_MS: (u64, u64) = (1_000, 60_000);
/// A time that is further off than the longest pause with its spread was set before the clock went back.
const PAUSE_AT_MOST_MS: u64 = PAUSE_MS.1 * 5 / 4;
/// Events of one delivery...
const BATCH: usize = 100;
/// ...which takes no more of them once they have so many bytes: endpoints refuse what is large.
const BATCH_BYTES: usize = 64 << 10;
/// Events that wait for a delivery, and for a return.
const EVENTS_MAX: usize = 10_000;
/// Bytes of those that wait for a delivery: what viewers send is large.
const EVENTS_BYTES_MAX: usize = 16 << 20;
/// Deliveries to one endpoint that wait or are under way...
const DELIVERIES_MAX: usize = 1_000;
/// ...and their bytes.
const DELIVERIES_BYTES_MAX: usize = 32 << 20;
/// Deliveries under way at once to one endpoint.
const SENDING_MAX: usize = 16;

/// Something that an app's server wants to know.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Debug)]
pub struct Event {
    name: &'static str,
    channel: Box<str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_id: Option<Box<str>>,
    #[serde(rename = "event", skip_serializing_if = "Option::is_none")]
    sent: Option<Box<str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<Box<str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    socket_id: Option<Box<str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    subscription_count: Option<usize>,
}

const OCCUPIED: &str = "channel_occupied";
const VACATED: &str = "channel_vacated";
const ADDED: &str = "member_added";
const REMOVED: &str = "member_removed";

impl Event {
    fn new(name: &'static str, channel: &str) -> Self {
        let channel = channel.into();
        Self { name, channel, user_id: None, sent: None, data: None, socket_id: None, subscription_count: None }
    }

    /// A channel has its first subscriber.
    pub fn occupied(channel: &str) -> Self {
        Self::new(OCCUPIED, channel)
    }

    /// A channel has lost its last.
    pub fn vacated(channel: &str) -> Self {
        Self::new(VACATED, channel)
    }

    /// A user has come to a presence channel.
    pub fn member_added(channel: &str, user: &str) -> Self {
        Self { user_id: Some(user.into()), ..Self::new(ADDED, channel) }
    }

    /// A user has left it.
    pub fn member_removed(channel: &str, user: &str) -> Self {
        Self { user_id: Some(user.into()), ..Self::new(REMOVED, channel) }
    }

    /// Someone came to a cache channel that holds nothing.
    pub fn cache_miss(channel: &str) -> Self {
        Self::new("cache_miss", channel)
    }

    /// A channel has this many subscribers.
    pub fn subscription_count(channel: &str, count: usize) -> Self {
        Self { subscription_count: Some(count), ..Self::new("subscription_count", channel) }
    }

    /// A viewer sent an event to the others.
    pub fn client(channel: &str, event: &str, data: &str, socket_id: &str, user: Option<&str>) -> Self {
        Self {
            sent: Some(event.into()),
            data: Some(data.into()),
            socket_id: Some(socket_id.into()),
            user_id: user.map(Into::into),
            ..Self::new("client_event", channel)
        }
    }

    /// Bytes that it takes, about.
    fn cost(&self) -> usize {
        let texts = [&self.user_id, &self.sent, &self.data, &self.socket_id];
        let texts = texts.into_iter().flatten().map(|text| text.len()).sum::<usize>();
        size_of::<Self>() + self.channel.len() + texts
    }

    /// What undoes it: its opposite, if that waits for a return.
    fn undone_by_return(&self) -> Option<&'static str> {
        match self.name {
            OCCUPIED => Some(VACATED),
            ADDED => Some(REMOVED),
            _ => None,
        }
    }
}

/// Everything that waits.
pub(super) struct Queue {
    apps: Vec<Arc<Signer>>,
    endpoints: Vec<Endpoint>,
    /// By app, in order.
    events: VecDeque<(usize, Event)>,
    events_bytes: usize,
    /// Those that are told unless they are undone, with the time at which they are.
    away: HashMap<(usize, Event), u64>,
    /// The same in the order of that time. An entry that `away` doesn't confirm was undone.
    returns: VecDeque<(u64, (usize, Event))>,
    /// Events and deliveries that found no room, since this was last asked for.
    dropped: u64,
}

/// One URL, and what it is to be told. Each has its own bounds: one that doesn't answer takes nothing from the others.
struct Endpoint {
    url: Arc<str>,
    waiting: BinaryHeap<Reverse<Delivery>>,
    sending: usize,
    /// Of what waits and what is under way.
    bytes: usize,
}

/// One POST to one URL.
pub(super) struct Delivery {
    endpoint: usize,
    url: Arc<str>,
    app: Arc<Signer>,
    body: Bytes,
    signature: String,
    since_ms: u64,
    due_ms: u64,
    pause_ms: u64,
}

impl Queue {
    pub(super) fn new(apps: Vec<Arc<Signer>>, urls: Vec<String>) -> Self {
        let endpoint = |url: String| Endpoint { url: url.into(), waiting: BinaryHeap::new(), sending: 0, bytes: 0 };
        Self {
            apps,
            endpoints: urls.into_iter().map(endpoint).collect(),
            events: VecDeque::new(),
            events_bytes: 0,
            away: HashMap::new(),
            returns: VecDeque::new(),
            dropped: 0,
        }
    }

    /// Whether nothing waits and nothing is under way.
    pub(super) fn is_empty(&self) -> bool {
        let idle = |endpoint: &Endpoint| endpoint.waiting.is_empty() && endpoint.sending == 0;
        self.events.is_empty() && self.returns.is_empty() && self.endpoints.iter().all(idle)
    }

    /// How many events and deliveries found no room since this was last asked.
    pub(super) fn take_dropped(&mut self) -> u64 {
        std::mem::take(&mut self.dropped)
    }

    /// Takes in an event, or drops it when there is no room.
    pub(super) fn note(&mut self, app: usize, event: Event, now_ms: u64) {
        if let Some(opposite) = event.undone_by_return() {
            let away = (app, Event { name: opposite, ..event.clone() });
            if self.away.remove(&away).is_some() {
                return;
            }
        }
        if !matches!(event.name, VACATED | REMOVED) {
            return self.push(app, event);
        }
        if self.returns.len() >= EVENTS_MAX {
            self.dropped += 1;
            return;
        }
        let due = now_ms + GRACE_MS;
        self.away.insert((app, event.clone()), due);
        self.returns.push_back((due, (app, event)));
    }

    fn push(&mut self, app: usize, event: Event) {
        let cost = event.cost();
        if self.events.len() >= EVENTS_MAX || self.events_bytes + cost > EVENTS_BYTES_MAX {
            self.dropped += 1;
            return;
        }
        self.events_bytes += cost;
        self.events.push_back((app, event));
    }

    /// What is to be sent now. Each must come back through [`Queue::done`] or [`Queue::failed`].
    pub(super) fn due(&mut self, now_ms: u64) -> Vec<Delivery> {
        while self.returns.front().is_some_and(|(due, _)| is_due(*due, now_ms, GRACE_MS)) {
            let (due, away) = self.returns.pop_front().expect("there is one");
            // Away again since: that one's own entry comes later.
            if self.away.get(&away) == Some(&due) {
                self.away.remove(&away);
                let (app, event) = away;
                self.push(app, event);
            }
        }
        while !self.events.is_empty() {
            self.pack(now_ms);
        }
        let mut due = Vec::new();
        for endpoint in &mut self.endpoints {
            let next = |endpoint: &Endpoint| {
                endpoint.waiting.peek().is_some_and(|next| is_due(next.0.due_ms, now_ms, PAUSE_AT_MOST_MS))
            };
            while endpoint.sending < SENDING_MAX && next(endpoint) {
                due.push(endpoint.waiting.pop().expect("there is one").0);
                endpoint.sending += 1;
            }
        }
        due
    }

    /// It is over with a delivery.
    pub(super) fn done(&mut self, delivery: &Delivery) {
        let endpoint = &mut self.endpoints[delivery.endpoint];
        endpoint.sending -= 1;
        endpoint.bytes -= delivery.body.len();
    }

    /// Puts a delivery back for another try. `false`: it was tried for long enough, and is dropped. `jitter` is any
    /// number: it spreads the tries of many.
    pub(super) fn failed(&mut self, mut delivery: Delivery, now_ms: u64, jitter: u32) -> bool {
        let pause = delivery.pause_ms + u64::from(jitter) % (delivery.pause_ms / 4);
        if now_ms.saturating_sub(delivery.since_ms) + pause > TRY_FOR_MS {
            self.done(&delivery);
            return false;
        }
        delivery.due_ms = now_ms + pause;
        delivery.pause_ms = (delivery.pause_ms * 2).min(PAUSE_MS.1);
        let endpoint = &mut self.endpoints[delivery.endpoint];
        endpoint.sending -= 1;
        endpoint.waiting.push(Reverse(delivery));
        true
    }

    /// Makes deliveries of the next events of one app.
    fn pack(&mut self, now_ms: u64) {
        #[derive(Serialize)]
        struct Body<'a> {
            time_ms: u64,
            events: &'a [Event],
        }
        let Some(&(app, _)) = self.events.front() else { return };
        let (mut events, mut bytes) = (Vec::new(), 0);
        while events.len() < BATCH && bytes < BATCH_BYTES && self.events.front().is_some_and(|(of, _)| *of == app) {
            let (_, event) = self.events.pop_front().expect("there is one");
            bytes += event.cost();
            events.push(event);
        }
        self.events_bytes -= bytes;
        let body = serde_json::to_vec(&Body { time_ms: now_ms, events: &events }).expect("texts and numbers");
        let (body, app) = (Bytes::from(body), Arc::clone(&self.apps[app]));
        let signature = app.sign(&body);
        for (at, endpoint) in self.endpoints.iter_mut().enumerate() {
            let deliveries = endpoint.waiting.len() + endpoint.sending;
            if deliveries >= DELIVERIES_MAX || endpoint.bytes + body.len() > DELIVERIES_BYTES_MAX {
                self.dropped += 1;
                continue;
            }
            endpoint.bytes += body.len();
            endpoint.waiting.push(Reverse(Delivery {
                endpoint: at,
                url: Arc::clone(&endpoint.url),
                app: Arc::clone(&app),
                body: body.clone(),
                signature: signature.clone(),
                since_ms: now_ms,
                due_ms: now_ms,
                pause_ms: PAUSE_MS.0,
            }));
        }
    }
}

/// Whether a time has come that was set at most so far ahead. One further off was set before the clock went back.
fn is_due(at_ms: u64, now_ms: u64, at_most_ms: u64) -> bool {
    at_ms <= now_ms || at_ms - now_ms > at_most_ms
}

impl Delivery {
    pub(super) fn url(&self) -> &Arc<str> {
        &self.url
    }

    pub(super) fn key(&self) -> &str {
        self.app.key()
    }

    pub(super) fn body(&self) -> &Bytes {
        &self.body
    }

    pub(super) fn signature(&self) -> &str {
        &self.signature
    }
}

impl PartialEq for Delivery {
    fn eq(&self, other: &Self) -> bool {
        self.due_ms == other.due_ms
    }
}

impl Eq for Delivery {}

impl PartialOrd for Delivery {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Delivery {
    fn cmp(&self, other: &Self) -> Ordering {
        self.due_ms.cmp(&other.due_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue() -> Queue {
        Queue::new(vec![Arc::new(Signer::new("a", b"a")), Arc::new(Signer::new("b", b"b"))], vec!["http://x/".into()])
    }

    /// How many of so many events find room.
    fn noted(queue: &mut Queue, events: usize, event: impl Fn(usize) -> Event) -> usize {
        (0..events).for_each(|n| queue.note(0, event(n), 0));
        events - usize::try_from(queue.take_dropped()).unwrap()
    }

    #[test]
    fn apps_are_told_apart_and_batches_are_bounded() {
        let mut queue = queue();
        assert_eq!(noted(&mut queue, BATCH + 1, |_| Event::cache_miss("c")), BATCH + 1);
        queue.note(1, Event::cache_miss("c"), 0);
        let keys: Vec<_> = queue.due(0).iter().map(|delivery| delivery.key().to_owned()).collect();
        assert_eq!(keys.iter().filter(|key| *key == "a").count(), 2);
        assert_eq!(keys.len(), 3);
    }

    #[test]
    fn every_queue_has_its_bound() {
        let mut queue = queue();
        assert_eq!(noted(&mut queue, 2 * EVENTS_MAX, |_| Event::cache_miss("c")), EVENTS_MAX);
        assert_eq!(noted(&mut queue, 2 * EVENTS_MAX, |n| Event::vacated(&n.to_string())), EVENTS_MAX);
        let mut sending = queue.due(0);
        assert_eq!(sending.len(), SENDING_MAX);
        assert_eq!(queue.due(0).len(), 0, "no more at once than that");
        // All that returns doesn't fit on top of new events, and that is counted too.
        assert_eq!(noted(&mut queue, EVENTS_MAX - 7, |_| Event::cache_miss("c")), EVENTS_MAX - 7);
        queue.due(GRACE_MS);
        assert_eq!(queue.take_dropped(), u64::try_from(EVENTS_MAX - 7).unwrap());
        while let Some(delivery) = sending.pop() {
            queue.done(&delivery);
            sending.extend(queue.due(GRACE_MS));
        }
        assert!(queue.is_empty());
    }

    #[test]
    fn events_and_deliveries_have_a_bound_of_bytes_too() {
        let mut queue = queue();
        let data = "x".repeat(10_000);
        let told = |_| Event::client("private-c", "client-x", &data, "1.2", None);
        let waiting = noted(&mut queue, EVENTS_MAX, told);
        assert!((1_000..2_000).contains(&waiting), "{waiting} of 10 KB wait");
        // Nobody takes them.
        let (mut sending, mut dropped) = (Vec::new(), 0);
        for _ in 0..10 {
            sending.extend(queue.due(0));
            dropped += queue.take_dropped();
            noted(&mut queue, 1_000, told);
            assert!(queue.endpoints[0].bytes <= DELIVERIES_BYTES_MAX);
        }
        assert!(sending.iter().all(|delivery| delivery.body().len() < 100_000), "in pieces that an endpoint takes");
        assert!(dropped > 0, "and what finds no room is counted");
        while let Some(delivery) = sending.pop() {
            queue.done(&delivery);
            sending.extend(queue.due(0));
        }
        assert_eq!((queue.is_empty(), queue.events_bytes, queue.endpoints[0].bytes), (true, 0, 0));
    }

    #[test]
    fn who_leaves_twice_is_waited_for_from_the_second_time() {
        let mut queue = queue();
        queue.note(0, Event::vacated("a"), 0);
        queue.note(0, Event::occupied("a"), 10);
        queue.note(0, Event::vacated("a"), 20);
        assert!(queue.due(GRACE_MS + 10).is_empty());
        assert_eq!(queue.due(GRACE_MS + 20).len(), 1);
    }
}
