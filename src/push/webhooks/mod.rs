//! Webhooks: what happened in an app's channels, told to the URLs that the operator named.
//!
//! `Queue` gathers events into signed deliveries and knows when each is due; [`Webhooks::step`] sends what is due.
//! Vacated channels and removed members wait for a return first. Bounded: past its bounds what is new is dropped, counted
//! and logged. Never keeps anything over a restart.

mod queue;

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hashbrown::HashMap;
use http::Request;
use http::header::CONTENT_TYPE;
use http_body_util::Full;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::task::{Id, JoinSet};

use queue::{Delivery, Queue};
pub use queue::{Event, GRACE_MS};

use super::sign::Signer;
use crate::clock::Clock;
use crate::metrics::Metrics;
use crate::outbound::Outbound;

/// How long an endpoint may take to answer.
const ANSWER_TIME: Duration = Duration::from_secs(10);
/// How often the sender looks for what is due.
const TICK: Duration = Duration::from_millis(100);

/// The webhooks of all apps.
pub struct Webhooks {
    /// Whether there is a URL.
    is_on: bool,
    queue: Mutex<Queue>,
    /// Told when something was queued while nothing was.
    work: Notify,
    clock: Arc<dyn Clock>,
    metrics: Arc<Metrics>,
}

/// What became of a delivery.
pub type Outcome = Result<u16, String>;

/// Deliveries under way, each by its task.
#[derive(Default)]
pub struct Sending {
    tasks: JoinSet<Outcome>,
    deliveries: HashMap<Id, Delivery>,
}

impl Webhooks {
    /// Webhooks to these URLs, signed by these apps. Without a URL nothing is ever queued.
    pub fn new(apps: Vec<Arc<Signer>>, urls: Vec<String>, clock: Arc<dyn Clock>, metrics: Arc<Metrics>) -> Self {
        let is_on = !urls.is_empty();
        Self { is_on, queue: Mutex::new(Queue::new(apps, urls)), work: Notify::new(), clock, metrics }
    }

    /// Whether anyone is told.
    pub fn is_on(&self) -> bool {
        self.is_on
    }

    /// Notes an event of an app.
    pub fn note(&self, app: usize, event: Event) {
        if !self.is_on {
            return;
        }
        let mut queue = self.queue.lock();
        queue.note(app, event, self.clock.now_ms());
        self.metrics.webhooks_dropped.inc_by(queue.take_dropped());
        drop(queue);
        self.work.notify_one();
    }

    /// Begins to send what is due; the number of deliveries that are tried. [`Webhooks::end_one`] takes in what becomes of them.
    pub fn step<S, F>(&self, sending: &mut Sending, send: &S) -> usize
    where
        S: Fn(Request<Full<Bytes>>) -> F,
        F: Future<Output = Outcome> + Send + 'static,
    {
        let due = {
            let mut queue = self.queue.lock();
            let due = queue.due(self.clock.now_ms());
            self.metrics.webhooks_dropped.inc_by(queue.take_dropped());
            due
        };
        let tried = due.len();
        for delivery in due {
            let task = sending.tasks.spawn(send(delivery.request())).id();
            sending.deliveries.insert(task, delivery);
        }
        tried
    }

    /// Waits for the next delivery to end and takes in what became of it; `false` when none is under way. Dropping it loses
    /// nothing.
    pub async fn end_one(&self, sending: &mut Sending) -> bool {
        let Some(ended) = sending.tasks.join_next_with_id().await else { return false };
        let (task, outcome) = ended.unwrap_or_else(|why| (why.id(), Err("the sender panicked".into())));
        let delivery = sending.deliveries.remove(&task).expect("each task has its delivery");
        self.take_in(delivery, &outcome);
        true
    }

    /// Sends for ever.
    pub async fn run(self: Arc<Self>, client: Outbound) {
        let send = |request| {
            let client = client.clone();
            async move { client.status(request, ANSWER_TIME).await }
        };
        let mut sending = Sending::default();
        loop {
            if self.queue.lock().is_empty() {
                self.work.notified().await;
            }
            self.step(&mut sending, &send);
            // Nobody waits for one that doesn't answer.
            let mut tick = pin!(tokio::time::sleep(TICK));
            loop {
                tokio::select! {
                    () = &mut tick => break,
                    true = self.end_one(&mut sending) => {}
                }
            }
        }
    }

    fn take_in(&self, delivery: Delivery, outcome: &Outcome) {
        if matches!(outcome, Ok(200..300)) {
            self.metrics.webhooks_delivered.inc();
            self.queue.lock().done(&delivery);
            return;
        }
        let url = Arc::clone(delivery.url());
        let why = match outcome {
            Ok(status) => format!("status {status}"),
            Err(why) => why.clone(),
        };
        let jitter = getrandom::u32().unwrap_or(0);
        if self.queue.lock().failed(delivery, self.clock.now_ms(), jitter) {
            tracing::debug!(%url, %why, "a webhook is tried again");
        } else {
            self.metrics.webhooks_dropped.inc();
            tracing::warn!(%url, %why, "a webhook was given up");
        }
    }
}

impl Delivery {
    fn request(&self) -> Request<Full<Bytes>> {
        let request = Request::post(self.url().as_ref())
            .header(CONTENT_TYPE, "application/json")
            .header("x-pusher-key", self.key())
            .header("x-pusher-signature", self.signature());
        request.body(Full::new(self.body().clone())).expect("the URL was read at the start; the rest is plain text")
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;
    use serde_json::{Value, json};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;
    use crate::clock::ManualClock;

    struct Hook {
        webhooks: Webhooks,
        clock: Arc<ManualClock>,
        signer: Arc<Signer>,
        sent: Arc<Mutex<Vec<Request<Full<Bytes>>>>>,
    }

    impl Hook {
        fn new() -> Self {
            let clock = Arc::new(ManualClock::at(1_000_000));
            let signer = Arc::new(Signer::new("key", b"secret"));
            let urls = vec!["http://127.0.0.1:1/hook".to_owned()];
            let shared: Arc<dyn Clock> = Arc::<ManualClock>::clone(&clock);
            let webhooks = Webhooks::new(vec![Arc::clone(&signer)], urls, shared, Arc::default());
            Self { webhooks, clock, signer, sent: Arc::default() }
        }

        /// One step with an endpoint that answers so.
        async fn step(&self, outcome: Outcome) -> usize {
            let send = |request| {
                self.sent.lock().push(request);
                std::future::ready(outcome.clone())
            };
            let mut sending = Sending::default();
            let tried = self.webhooks.step(&mut sending, &send);
            while self.webhooks.end_one(&mut sending).await {}
            tried
        }

        /// The events of what was sent last; its signature is checked.
        async fn last(&self) -> Value {
            let request = self.sent.lock().pop().expect("something was sent");
            let header = |name: &str| request.headers()[name].to_str().unwrap().to_owned();
            let (key, signature) = (header("x-pusher-key"), header("x-pusher-signature"));
            let body = request.into_body().collect().await.unwrap().to_bytes();
            assert_eq!(key, "key");
            assert!(self.signer.signed(&body, &signature));
            let body: Value = serde_json::from_slice(&body).unwrap();
            assert!(body["time_ms"].as_u64().unwrap() >= 1_000_000);
            body["events"].clone()
        }
    }

    #[tokio::test]
    async fn events_go_out_together_signed() {
        let hook = Hook::new();
        assert_eq!(hook.step(Ok(200)).await, 0);
        hook.webhooks.note(0, Event::occupied("private-a"));
        hook.webhooks.note(0, Event::member_added("presence-a", "ada"));
        hook.webhooks.note(0, Event::cache_miss("cache-a"));
        hook.webhooks.note(0, Event::subscription_count("private-a", 3));
        hook.webhooks.note(0, Event::client("private-a", "client-x", "{}", "1.2", None));
        assert_eq!(hook.step(Ok(200)).await, 1);
        let expected = json!([
            {"name": "channel_occupied", "channel": "private-a"},
            {"name": "member_added", "channel": "presence-a", "user_id": "ada"},
            {"name": "cache_miss", "channel": "cache-a"},
            {"name": "subscription_count", "channel": "private-a", "subscription_count": 3},
            {"name": "client_event", "channel": "private-a", "event": "client-x", "data": "{}", "socket_id": "1.2"},
        ]);
        assert_eq!(hook.last().await, expected);
        assert_eq!(hook.step(Ok(200)).await, 0);
    }

    #[tokio::test]
    async fn one_who_comes_back_in_time_was_never_away() {
        let hook = Hook::new();
        hook.webhooks.note(0, Event::vacated("a"));
        hook.webhooks.note(0, Event::member_removed("presence-a", "ada"));
        hook.clock.advance(GRACE_MS - 1);
        assert_eq!(hook.step(Ok(200)).await, 0);
        hook.webhooks.note(0, Event::occupied("a"));
        hook.webhooks.note(0, Event::member_added("presence-a", "ada"));
        hook.clock.advance(2 * GRACE_MS);
        assert_eq!(hook.step(Ok(200)).await, 0);
    }

    #[tokio::test]
    async fn one_who_stays_away_is_told_of() {
        let hook = Hook::new();
        hook.webhooks.note(0, Event::vacated("a"));
        hook.webhooks.note(0, Event::member_removed("presence-a", "ada"));
        hook.clock.advance(GRACE_MS);
        assert_eq!(hook.step(Ok(200)).await, 1);
        let expected = json!([
            {"name": "channel_vacated", "channel": "a"},
            {"name": "member_removed", "channel": "presence-a", "user_id": "ada"},
        ]);
        assert_eq!(hook.last().await, expected);
    }

    #[tokio::test]
    async fn a_failed_delivery_is_tried_again_with_growing_pauses_for_five_minutes() {
        let hook = Hook::new();
        hook.webhooks.note(0, Event::occupied("a"));
        let (mut tries, mut last, mut pauses) = (0, 0, Vec::new());
        for second in 0..400 {
            if hook.step(if second % 2 == 0 { Ok(500) } else { Err("nobody there".into()) }).await == 1 {
                if tries > 0 {
                    pauses.push(second - last);
                }
                (tries, last) = (tries + 1, second);
            }
            hook.clock.advance(1_000);
        }
        assert!(tries >= 6 && last <= 300, "{tries} tries, the last after {last} s");
        assert!(pauses[..5].windows(2).all(|pair| pair[0] <= pair[1]), "{pauses:?}");
        assert_eq!(hook.webhooks.metrics.webhooks_dropped.get(), 1);
        assert!(hook.webhooks.queue.lock().is_empty());
    }

    #[tokio::test]
    async fn a_delivery_whose_sender_panics_is_tried_again() {
        let hook = Hook::new();
        hook.webhooks.note(0, Event::occupied("a"));
        let mut sending = Sending::default();
        hook.webhooks.step(&mut sending, &|_| async { panic!("a panic on purpose") });
        assert!(hook.webhooks.end_one(&mut sending).await);
        hook.clock.advance(60_000);
        assert_eq!(hook.step(Ok(200)).await, 1);
        assert!(hook.webhooks.queue.lock().is_empty());
    }

    #[tokio::test]
    async fn a_later_success_ends_it() {
        let hook = Hook::new();
        hook.webhooks.note(0, Event::occupied("a"));
        assert_eq!(hook.step(Ok(503)).await, 1);
        hook.clock.advance(60_000);
        assert_eq!(hook.step(Ok(204)).await, 1);
        hook.clock.advance(60_000);
        assert_eq!(hook.step(Ok(204)).await, 0);
        assert_eq!(hook.webhooks.metrics.webhooks_delivered.get(), 1);
    }

    #[tokio::test]
    async fn a_clock_that_goes_back_holds_nothing_up() {
        let hook = Hook::new();
        hook.webhooks.note(0, Event::vacated("a"));
        hook.webhooks.note(0, Event::occupied("b"));
        assert_eq!(hook.step(Ok(500)).await, 1);
        hook.clock.set(1_000);
        assert_eq!(hook.step(Ok(200)).await, 2, "the one that failed, and the one that waited for a return");
    }

    #[tokio::test]
    async fn an_endpoint_that_does_not_answer_holds_no_other_up() {
        let (deaf, well) = (listener().await, listener().await);
        let urls = [&deaf, &well].map(|to| format!("http://{}/", to.local_addr().unwrap()));
        let signers = vec![Arc::new(Signer::new("key", b"secret"))];
        let webhooks =
            Arc::new(Webhooks::new(signers, urls.into(), Arc::new(crate::clock::SystemClock), Arc::default()));
        let run = tokio::spawn(Arc::clone(&webhooks).run(Outbound::new().unwrap()));
        webhooks.note(0, Event::occupied("a"));
        let (mut silent, _) = deaf.accept().await.unwrap();
        let (mut answering, _) = well.accept().await.unwrap();
        post_of(&mut answering, "\"channel\":\"a\"").await;
        answering.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.unwrap();
        webhooks.note(0, Event::occupied("b"));
        // The first is given up after a while, and its connection closed: not before the other has had the second.
        let given_up =
            async { while silent.read_buf(&mut Vec::with_capacity(1024)).await.is_ok_and(|read| read > 0) {} };
        tokio::select! {
            biased;
            () = post_of(&mut answering, "\"channel\":\"b\"") => {}
            () = given_up => panic!("the second waited for the one that does not answer"),
        }
        run.abort();
    }

    async fn listener() -> tokio::net::TcpListener {
        tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap()
    }

    /// Reads until a request has come that holds a text.
    async fn post_of(from: &mut tokio::net::TcpStream, text: &str) {
        let mut sent = Vec::new();
        while !String::from_utf8_lossy(&sent).contains(text) {
            assert!(from.read_buf(&mut sent).await.unwrap() > 0, "it was closed");
        }
    }
}
