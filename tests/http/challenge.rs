//! The challenge before a device's first vote, against a verifier on a port of its own.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use plaudit::admission::{Challenge, ChallengeOptions};
use plaudit::clock::{Clock, ManualClock};
use plaudit::http::AppOptions;
use plaudit::metrics::Metrics;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use crate::server::{Answer, Call, NOON, Setup, TestServer};

/// Longer than any verifier of a test takes that answers at all.
const LONG: Duration = Duration::from_mins(2);

/// A site's verifier that says what it is told to say, and keeps what it was asked.
struct Verifier {
    address: SocketAddr,
    says: Arc<Mutex<Says>>,
    asked: Arc<Mutex<Vec<String>>>,
    was_asked: Arc<Notify>,
    task: JoinHandle<()>,
}

#[derive(Clone, Copy)]
enum Says {
    This(u16, &'static str),
    Nothing,
}

const YES: Says = Says::This(200, r#"{"success":true}"#);
const NO: Says = Says::This(200, r#"{"success":false}"#);

impl Verifier {
    async fn start(says: Says) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let says = Arc::new(Mutex::new(says));
        let (asked, was_asked) = (Arc::<Mutex<Vec<String>>>::default(), Arc::<Notify>::default());
        let (saying, keeping, telling) = (Arc::clone(&says), Arc::clone(&asked), Arc::clone(&was_asked));
        let task = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (saying, keeping, telling) = (Arc::clone(&saying), Arc::clone(&keeping), Arc::clone(&telling));
                tokio::spawn(async move {
                    let (stream, request) = request_of(stream).await;
                    keeping.lock().push(request);
                    telling.notify_one();
                    let now = *saying.lock();
                    answer(stream, now).await;
                });
            }
        });
        Self { address, says, asked, was_asked, task }
    }

    fn says(&self, says: Says) {
        *self.says.lock() = says;
    }

    fn asked(&self) -> usize {
        self.asked.lock().len()
    }

    /// A server that asks it; the clock is its breaker's.
    async fn server(&self, within: Duration, at_once: usize) -> (TestServer, Arc<ManualClock>) {
        let options = ChallengeOptions {
            within,
            at_once,
            ..ChallengeOptions::new(&format!("http://{}/verify", self.address), Some(b"verifier secret".to_vec()))
        };
        let clock = Arc::new(ManualClock::at(NOON));
        let shared: Arc<dyn Clock> = Arc::<ManualClock>::clone(&clock);
        let challenge = Challenge::new(&options, shared, Arc::new(Metrics::default())).unwrap();
        let setup = Setup::default();
        let setup = Setup { app: AppOptions { challenge: Some(challenge), ..setup.app }, ..Setup::default() };
        let server = TestServer::with(setup);
        server.stage("s", 3).await;
        (server, clock)
    }
}

impl Drop for Verifier {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn request_of(mut stream: TcpStream) -> (TcpStream, String) {
    let mut read = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&read).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
            if body.len() >= length.parse().unwrap() {
                return (stream, text);
            }
        }
        assert!(stream.read_buf(&mut read).await.unwrap() > 0);
    }
}

async fn answer(mut stream: TcpStream, says: Says) {
    match says {
        Says::This(status, body) => {
            let length = body.len();
            let text = format!("HTTP/1.1 {status} X\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}");
            stream.write_all(text.as_bytes()).await.unwrap();
        }
        // Until who asked has gone.
        Says::Nothing => while stream.read(&mut [0; 64]).await.is_ok_and(|read| read > 0) {},
    }
}

fn device(server: &TestServer, agent: &str, clip: &str) -> Call {
    server.call("POST", "/api/vote").header("user-agent", agent).json(json!({"clipId": clip}))
}

async fn solved(server: &TestServer, agent: &str) -> Answer {
    device(server, agent, "c0").header("x-challenge-token", "solved").send().await
}

fn cookie_of(answer: &Answer) -> String {
    answer.header("set-cookie").unwrap().split(';').next().unwrap().to_owned()
}

#[tokio::test]
async fn a_device_passes_once_and_its_cookie_says_so_from_then_on() {
    let verifier = Verifier::start(YES).await;
    let (server, _) = verifier.server(LONG, 8).await;
    let without = device(&server, "phone", "c0").send().await;
    without.refuses(403, "CHALLENGE_REQUIRED");
    assert_eq!(verifier.asked(), 0);
    let first = device(&server, "phone", "c0").header("cookie", &cookie_of(&without));
    let first = first.header("x-challenge-token", "solved").send().await;
    first.is(200);
    assert_eq!(verifier.asked(), 1);

    let asked = verifier.asked.lock()[0].clone();
    let (head, body) = asked.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("POST /verify HTTP/1.1\r\n"), "{head}");
    assert!(head.contains("authorization: Bearer verifier secret\r\n"), "{head}");
    let body: Value = serde_json::from_str(body).unwrap();
    assert_eq!(body["token"], "solved");
    assert_eq!(
        (body.as_object().unwrap().len(), body["userId"].as_str().unwrap().len()),
        (2, 32),
        "no address: {body}"
    );

    let passed = cookie_of(&first);
    let again = device(&server, "phone", "c1").header("cookie", &passed).send().await;
    again.is(200);
    assert_eq!(again.header("set-cookie"), None);
    // A server that never saw the device, with the same secrets: after a restart, after its slot was locked.
    let (another, _) = verifier.server(LONG, 8).await;
    device(&another, "another phone", "c0").header("cookie", &passed).send().await.is(200);
    assert_eq!(verifier.asked(), 1);
}

#[tokio::test]
async fn who_is_refused_does_not_vote_and_shuts_the_door_for_nobody() {
    let verifier = Verifier::start(NO).await;
    let (server, _) = verifier.server(LONG, 8).await;
    for n in 0..12 {
        verifier.says(if n % 2 == 0 { NO } else { Says::This(403, r#"{"success":false,"why":"old"}"#) });
        let refused = solved(&server, "phone").await.refuses(403, "CHALLENGE_FAILED");
        assert_eq!(refused.get("retryAfter"), None);
    }
    assert_eq!((verifier.asked(), server.engine.voters()), (12, 0));
    verifier.says(YES);
    solved(&server, "phone").await.is(200);
}

#[tokio::test]
async fn nobody_passes_when_the_verifier_does_not_say_so() {
    for says in [
        Says::This(500, r#"{"success":true}"#),
        Says::This(404, "<html>"),
        Says::This(200, "ok"),
        Says::This(200, r#"{"success":"true"}"#),
        Says::This(503, r#"{"success":false}"#),
    ] {
        nobody_passes(says, LONG).await;
    }
    // On a busy machine that time may be over before it was asked.
    let mut within = Duration::from_millis(50);
    while !nobody_passes(Says::Nothing, within).await {
        within *= 2;
    }
}

/// Whether the verifier was asked within that time.
async fn nobody_passes(says: Says, within: Duration) -> bool {
    let verifier = Verifier::start(says).await;
    let (server, _) = verifier.server(within, 8).await;
    let refused = solved(&server, "phone").await;
    assert_eq!(refused.refuses(403, "CHALLENGE_FAILED")["retryAfter"], 1);
    assert_eq!(refused.header("retry-after"), Some("1"));
    assert_eq!(server.engine.voters(), 0);
    let was_asked = verifier.asked() == 1;
    assert!(was_asked || within < LONG);
    was_asked
}

#[tokio::test]
async fn a_verifier_that_fails_is_left_alone_and_tried_again() {
    let verifier = Verifier::start(Says::This(500, "")).await;
    let (server, clock) = verifier.server(LONG, 8).await;
    for _ in 0..5 {
        solved(&server, "phone").await.refuses(403, "CHALLENGE_FAILED");
    }
    verifier.says(YES);
    assert_eq!(solved(&server, "phone").await.refuses(403, "CHALLENGE_FAILED")["retryAfter"], 30);
    clock.advance(29_999);
    assert_eq!(solved(&server, "phone").await.refuses(403, "CHALLENGE_FAILED")["retryAfter"], 1);
    assert_eq!(verifier.asked(), 5, "it was left alone");
    clock.advance(1);
    verifier.says(Says::This(500, ""));
    solved(&server, "phone").await.refuses(403, "CHALLENGE_FAILED");
    assert_eq!(solved(&server, "phone").await.refuses(403, "CHALLENGE_FAILED")["retryAfter"], 30, "one try was enough");
    assert_eq!(verifier.asked(), 6);
    clock.advance(30_000);
    verifier.says(YES);
    solved(&server, "phone").await.is(200);
    solved(&server, "another phone").await.is(200);
    assert_eq!(verifier.asked(), 8);
}

#[tokio::test]
async fn voters_with_a_token_retractions_and_who_has_voted_are_not_asked_about() {
    let verifier = Verifier::start(YES).await;
    let (server, _) = verifier.server(LONG, 8).await;
    server.vote("ada", "c0").await.is(200);
    assert_eq!(verifier.asked(), 0);
    let none = server.call("DELETE", "/api/vote").header("user-agent", "phone").json(json!({"clipId": "c0"}));
    none.send().await.refuses(404, "NOT_VOTED");
    assert_eq!(verifier.asked(), 0);
    solved(&server, "phone").await.is(200);
    // The answer was lost, and the cookie with it; what was solved is good once.
    device(&server, "phone", "c0").send().await.refuses(409, "ALREADY_VOTED");
    assert_eq!(verifier.asked(), 1);
}

#[tokio::test]
async fn one_more_at_once_than_there_may_be_is_told_to_come_again() {
    let verifier = Verifier::start(Says::Nothing).await;
    let (server, _) = verifier.server(LONG, 1).await;
    let first = device(&server, "phone", "c0").header("x-challenge-token", "solved");
    let first = tokio::spawn(first.send());
    verifier.was_asked.notified().await;
    solved(&server, "another phone").await.refuses(503, "OVERLOADED");
    server.vote("ada", "c0").await.is(200);
    first.abort();
    assert_eq!(verifier.asked(), 1);
}
