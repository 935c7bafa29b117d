//! What the tests over HTTP share: a server on a free port over a store in a temporary directory, by a clock that the
//! test turns, and a small client.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use plaudit::admission::{Admission, AdmissionOptions};
use plaudit::clock::{Clock, ManualClock};
use plaudit::domain::VoterKey;
use plaudit::engine::{CommentSettings, Engine, Settings};
use plaudit::error::Fault;
use plaudit::http::{App, AppOptions, ServeOptions, serve};
use plaudit::identity::{Identity, IdentityOptions, mint};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// 2023-11-14T12:00:00Z.
pub(crate) const NOON: u64 = 1_699_963_200_000;
/// The first midnight after [`NOON`].
pub(crate) const MIDNIGHT: u64 = NOON + 43_200_000;
pub(crate) const ADMIN: &str = "Bearer admin-token";
pub(crate) const CRON: &str = "Bearer cron-secret";
const JWT_SECRET: &[u8] = b"jwt secret";
/// Longer than any test waits for anything that does happen.
pub(crate) const PATIENCE: Duration = Duration::from_mins(3);
/// What the server bears with from a test that is held up, unless it is about that; less than the test bears with from the server.
const LONG: Duration = Duration::from_mins(2);

/// How a test's server is set up. Rates are off unless the test asks for them.
pub(crate) struct Setup {
    pub(crate) admission: AdmissionOptions,
    pub(crate) app: AppOptions,
    pub(crate) serve: ServeOptions,
    pub(crate) devices_per_network: u32,
    pub(crate) comments: CommentSettings,
}

impl Default for Setup {
    fn default() -> Self {
        let app = AppOptions {
            admin_token: Some(b"admin-token".to_vec()),
            cron_secret: Some(b"cron-secret".to_vec()),
            body_timeout: LONG,
            ..AppOptions::default()
        };
        let serve = ServeOptions {
            max_connections: 10_000,
            header_timeout: LONG,
            stall: LONG,
            drain: LONG,
            ..ServeOptions::default()
        };
        let comments = CommentSettings::default();
        Self { admission: AdmissionOptions::off(), app, serve, devices_per_network: 1_000, comments }
    }
}

/// A server of one test.
pub(crate) struct TestServer {
    pub(crate) address: SocketAddr,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) engine: Engine,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<Result<(), Fault>>,
    _dir: Option<tempfile::TempDir>,
}

impl TestServer {
    /// A server with the defaults and an empty store.
    pub(crate) fn start() -> Self {
        Self::with(Setup::default())
    }

    /// A server whose season `s` has slot 1 open with `clips` clips `c0`, `c1`, …
    pub(crate) async fn staged(clips: usize) -> Self {
        let server = Self::start();
        server.stage("s", clips).await;
        server
    }

    /// A server over a store in a temporary directory.
    pub(crate) fn with(setup: Setup) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let clock = Arc::new(ManualClock::at(NOON));
        let settings = Settings { comments: setup.comments, ..settings(dir.path()) };
        let engine = Engine::open(settings, Arc::<ManualClock>::clone(&clock)).unwrap();
        Self::over(engine, clock, setup, Some(dir))
    }

    /// A server over an engine of the test's own.
    pub(crate) fn over(engine: Engine, clock: Arc<ManualClock>, setup: Setup, dir: Option<tempfile::TempDir>) -> Self {
        let identity = Identity::new(IdentityOptions {
            jwt_secret: JWT_SECRET.to_vec(),
            jwt_issuer: None,
            jwt_audience: None,
            cookie_key: [3; 32],
            voter_key: engine.settings().voter_key.clone(),
            devices_per_network: setup.devices_per_network,
        });
        let shared: Arc<dyn Clock> = Arc::<ManualClock>::clone(&clock);
        let admission = Admission::new(setup.admission, &shared);
        let app = App::new(engine.clone(), identity, admission, setup.app);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(serve(listener, app, setup.serve, async move { drop(stopped.await) }));
        Self { address, clock, engine, stop: Some(stop), task, _dir: dir }
    }

    /// A season with slot 1 open and `clips` clips `c0`, `c1`, … in it.
    pub(crate) async fn stage(&self, season: &str, clips: usize) {
        self.admin("POST", "/api/admin/seasons", json!({"id": season, "name": "Season"})).await.is(201);
        self.admin("POST", &format!("/api/admin/seasons/{season}/slots"), json!({})).await.is(201);
        let slot = format!("/api/admin/seasons/{season}/slots/1");
        for n in 0..clips {
            let clip = json!({"id": format!("c{n}"), "title": format!("Clip {n}")});
            self.admin("POST", &format!("{slot}/clips"), clip).await.is(201);
        }
        self.admin("POST", &format!("{slot}/open"), json!({})).await.is(200);
    }

    /// A request to be filled in.
    pub(crate) fn call(&self, method: &str, path: &str) -> Call {
        let request = Request::builder().method(method).uri(path).header("host", "test");
        Call { address: self.address, request, body: Bytes::new() }
    }

    /// An operator's request.
    pub(crate) async fn admin(&self, method: &str, path: &str, body: Value) -> Answer {
        self.call(method, path).header("authorization", ADMIN).json(body).send().await
    }

    /// A user's vote.
    pub(crate) async fn vote(&self, sub: &str, clip: &str) -> Answer {
        self.call("POST", "/api/vote").user(sub).json(json!({"clipId": clip})).send().await
    }

    /// A user's retraction.
    pub(crate) async fn retract(&self, sub: &str, clip: &str) -> Answer {
        self.call("DELETE", "/api/vote").user(sub).json(json!({"clipId": clip})).send().await
    }

    /// A user's comment.
    pub(crate) async fn comment(&self, sub: &str, content: &str) -> Answer {
        self.call("POST", "/api/comments").user(sub).json(json!({"clipId": "c0", "content": content})).send().await
    }

    /// A plain read.
    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.call("GET", path).send().await
    }

    /// A connection that the test speaks on byte by byte.
    pub(crate) async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// What the test's clock says.
    pub(crate) fn clock_ms(&self) -> u64 {
        self.clock.now_ms()
    }

    /// Tells the server to stop, without waiting.
    pub(crate) fn begin_stop(&mut self) {
        let stop = self.stop.take().expect("stopped once");
        stop.send(()).expect("the server still runs");
    }

    /// Waits until the server has stopped.
    pub(crate) async fn stopped(&mut self) {
        tokio::time::timeout(PATIENCE, &mut self.task).await.expect("the server stops").unwrap().unwrap();
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The settings of a test's engine.
pub(crate) fn settings(dir: &std::path::Path) -> Settings {
    Settings::new(dir, VoterKey::new([7; 32]))
}

/// A token of a user, good for a day from [`NOON`] on.
pub(crate) fn token(sub: &str) -> String {
    mint(JWT_SECRET, sub, NOON / 1000 + 2 * 86_400, None, None).unwrap()
}

/// A token that says more about its user.
pub(crate) fn token_of(claims: &Value) -> String {
    let mut all = json!({"exp": NOON / 1000 + 2 * 86_400});
    all.as_object_mut().unwrap().extend(claims.as_object().unwrap().clone());
    let key = jsonwebtoken::EncodingKey::from_secret(JWT_SECRET);
    jsonwebtoken::encode(&jsonwebtoken::Header::new(jsonwebtoken::Algorithm::HS256), &all, &key).unwrap()
}

/// A request in the making.
pub(crate) struct Call {
    address: SocketAddr,
    request: http::request::Builder,
    body: Bytes,
}

impl Call {
    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.request = self.request.header(name, value);
        self
    }

    pub(crate) fn user(self, sub: &str) -> Self {
        let token = token(sub);
        self.header("authorization", &format!("Bearer {token}"))
    }

    #[allow(clippy::needless_pass_by_value, reason = "every call makes its own")]
    pub(crate) fn json(self, body: Value) -> Self {
        self.body(&body.to_string()).header("content-type", "application/json")
    }

    pub(crate) fn body(mut self, body: &str) -> Self {
        self.body = Bytes::copy_from_slice(body.as_bytes());
        self
    }

    pub(crate) fn bytes(mut self, body: &[u8]) -> Self {
        self.body = Bytes::copy_from_slice(body);
        self
    }

    /// Sends it on a connection of its own.
    pub(crate) async fn send(self) -> Answer {
        let exchange = async {
            let stream = TcpStream::connect(self.address).await.unwrap();
            let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
            let connection = tokio::spawn(connection);
            let request = self.request.body(Full::new(self.body)).unwrap();
            let (parts, body) = sender.send_request(request).await.unwrap().into_parts();
            let body = body.collect().await.unwrap().to_bytes();
            drop(sender);
            // The server may have closed it first.
            let _ = connection.await.unwrap();
            Answer { status: parts.status, headers: parts.headers, body }
        };
        tokio::time::timeout(PATIENCE, exchange).await.expect("an answer")
    }
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    /// Its body as JSON.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|why| panic!("{why}: {self:?}"))
    }

    /// Asserts the status and gives the body, if there is one.
    #[track_caller]
    pub(crate) fn is(&self, status: u16) -> Value {
        assert_eq!(self.status.as_u16(), status, "{self:?}");
        if self.body.is_empty() { Value::Null } else { self.json() }
    }

    /// Asserts a status and an error code.
    #[track_caller]
    pub(crate) fn refuses(&self, status: u16, code: &str) -> Value {
        let body = self.is(status);
        assert_eq!(body["error"], code, "{body}");
        assert!(body["message"].as_str().is_some_and(|message| !message.is_empty()), "{body}");
        body
    }

    /// A header's text.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }
}

/// Waits until something is so.
pub(crate) async fn until(what: &str, so: impl AsyncFn() -> bool) {
    let wait = async {
        while !so().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.unwrap_or_else(|_| panic!("waited in vain: {what}"));
}
