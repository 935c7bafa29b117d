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
/// Events of one delivery.
const BATCH: usize = 100;
/// Events that wait for a delivery, and for a return.
const EVENTS_MAX: usize = 10_000;
/// Deliveries that wait or are under way.
const DELIVERIES_MAX: usize = 1_000;
/// Deliveries under way at once.
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
    urls: Vec<Arc<str>>,
    /// By app, in order.
    events: VecDeque<(usize, Event)>,
    /// Those that are told unless they are undone, with the time at which they are.
    away: HashMap<(usize, Event), u64>,
    /// The same in the order of that time. An entry that `away` doesn't confirm was undone.
    returns: VecDeque<(u64, (usize, Event))>,
    waiting: BinaryHeap<Reverse<Delivery>>,
    sending: usize,
}

/// One POST to one URL.
pub(super) struct Delivery {
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
        Self {
            apps,
            urls: urls.into_iter().map(Arc::from).collect(),
            events: VecDeque::new(),
            away: HashMap::new(),
            returns: VecDeque::new(),
            waiting: BinaryHeap::new(),
            sending: 0,
        }
    }

    pub(super) fn is_on(&self) -> bool {
        !self.urls.is_empty()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.events.is_empty() && self.returns.is_empty() && self.waiting.is_empty() && self.sending == 0
    }

    /// Takes in an event. `false`: there was no room, and it is dropped.
    pub(super) fn note(&mut self, app: usize, event: Event, now_ms: u64) -> bool {
        if let Some(opposite) = event.undone_by_return() {
            let away = (app, Event { name: opposite, ..event.clone() });
            if self.away.remove(&away).is_some() {
                return true;
            }
        }
        if matches!(event.name, VACATED | REMOVED) {
            if self.returns.len() >= EVENTS_MAX {
                return false;
            }
            let due = now_ms + GRACE_MS;
            self.away.insert((app, event.clone()), due);
            self.returns.push_back((due, (app, event)));
            return true;
        }
        self.push(app, event)
    }

    fn push(&mut self, app: usize, event: Event) -> bool {
        let room = self.events.len() < EVENTS_MAX;
        if room {
            self.events.push_back((app, event));
        }
        room
    }

    /// What is to be sent now. Each must come back through [`Queue::done`] or [`Queue::failed`].
    pub(super) fn due(&mut self, now_ms: u64) -> Vec<Delivery> {
        while self.returns.front().is_some_and(|(due, _)| *due <= now_ms) {
            let (due, away) = self.returns.pop_front().expect("there is one");
            // Away again since: that one's own entry comes later.
            if self.away.get(&away) == Some(&due) {
                self.away.remove(&away);
                let (app, event) = away;
                self.push(app, event);
            }
        }
        while !self.events.is_empty() && self.waiting.len() + self.sending + self.urls.len() <= DELIVERIES_MAX {
            self.pack(now_ms);
        }
        let mut due = Vec::new();
        while self.sending < SENDING_MAX && self.waiting.peek().is_some_and(|next| next.0.due_ms <= now_ms) {
            due.push(self.waiting.pop().expect("there is one").0);
            self.sending += 1;
        }
        due
    }

    pub(super) fn done(&mut self) {
        self.sending -= 1;
    }

    /// Puts a delivery back for another try. `false`: it was tried for long enough, and is dropped. `jitter` is any
    /// number: it spreads the tries of many.
    pub(super) fn failed(&mut self, mut delivery: Delivery, now_ms: u64, jitter: u32) -> bool {
        self.sending -= 1;
        let pause = delivery.pause_ms + u64::from(jitter) % (delivery.pause_ms / 4);
        if now_ms.saturating_sub(delivery.since_ms) + pause > TRY_FOR_MS {
            return false;
        }
        delivery.due_ms = now_ms + pause;
        delivery.pause_ms = (delivery.pause_ms * 2).min(PAUSE_MS.1);
        self.waiting.push(Reverse(delivery));
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
        let mut events = Vec::new();
        while events.len() < BATCH && self.events.front().is_some_and(|(of, _)| *of == app) {
            events.push(self.events.pop_front().expect("there is one").1);
        }
        let body = serde_json::to_vec(&Body { time_ms: now_ms, events: &events }).expect("texts and numbers");
        let (body, app) = (Bytes::from(body), Arc::clone(&self.apps[app]));
        let signature = app.sign(&body);
        for url in &self.urls {
            self.waiting.push(Reverse(Delivery {
                url: Arc::clone(url),
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

    #[test]
    fn apps_are_told_apart_and_batches_are_bounded() {
        let mut queue = queue();
        for _ in 0..=BATCH {
            assert!(queue.note(0, Event::cache_miss("c"), 0));
        }
        assert!(queue.note(1, Event::cache_miss("c"), 0));
        let keys: Vec<_> = queue.due(0).iter().map(|delivery| delivery.key().to_owned()).collect();
        assert_eq!(keys.iter().filter(|key| *key == "a").count(), 2);
        assert_eq!(keys.len(), 3);
    }

    #[test]
    fn every_queue_has_its_bound() {
        let mut queue = queue();
        let noted = (0..2 * EVENTS_MAX).filter(|_| queue.note(0, Event::cache_miss("c"), 0)).count();
        assert_eq!(noted, EVENTS_MAX);
        let gone = |n: usize| Event::vacated(&n.to_string());
        let noted = (0..2 * EVENTS_MAX).filter(|n| queue.note(0, gone(*n), 0)).count();
        assert_eq!(noted, EVENTS_MAX);
        let mut sent = queue.due(0).len();
        assert_eq!(sent, SENDING_MAX);
        assert_eq!(queue.due(0).len(), 0, "no more at once than that");
        while sent > 0 {
            queue.done();
            sent += queue.due(0).len();
            sent -= 1;
        }
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
