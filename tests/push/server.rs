//! A server with a broadcaster, on a free port over a store in a temporary directory, and bare viewers.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use super::viewer::Viewer;
use plaudit::admission::{Admission, AdmissionOptions};
use plaudit::clock::{Clock, SystemClock};
use plaudit::domain::VoterKey;
use plaudit::engine::{Engine, Settings};
use plaudit::error::Fault;
use plaudit::http::{App, AppOptions, ServeOptions, Tls, serve};
use plaudit::hub::{self, Publication};
use plaudit::identity::{Identity, IdentityOptions};
use plaudit::push::apps::{self, Apps};
use plaudit::push::sign::Signer;
use plaudit::push::{Push, PushOptions};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// Longer than any test waits for anything that does happen.
pub(crate) const PATIENCE: Duration = Duration::from_mins(3);
/// What the server bears with from a test that is held up; less than the test bears with from the server.
const LONG: Duration = Duration::from_mins(2);

/// A server of one test.
pub(crate) struct TestServer {
    pub(crate) address: SocketAddr,
    pub(crate) engine: Engine,
    pub(crate) push: Push,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<Result<(), Fault>>,
    _dir: tempfile::TempDir,
}

impl TestServer {
    /// A server with these bounds.
    pub(crate) fn with(bounds: hub::Settings, options: PushOptions) -> Self {
        Self::over(bounds, options, None)
    }

    /// The same over TLS.
    pub(crate) fn over(bounds: hub::Settings, options: PushOptions, tls: Option<Tls>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let voter_key = VoterKey::new([7; 32]);
        let settings = Settings { hub: bounds, ..Settings::new(dir.path(), voter_key.clone()) };
        let engine = Engine::open(settings, Arc::clone(&clock)).unwrap();
        let signer = Arc::new(Signer::new("key", b"secret"));
        let apps = Apps::new(vec![apps::App { id: "1".into(), signer, disabled: false }]);
        let metrics = Arc::clone(engine.metrics());
        let push = Push::new(engine.hub().clone(), apps, options, Arc::clone(&clock), metrics).unwrap();
        let identity = Identity::new(IdentityOptions {
            jwt_secret: b"secret".to_vec(),
            jwt_issuer: None,
            jwt_audience: None,
            cookie_key: [3; 32],
            voter_key,
            devices_per_network: 1_000,
        });
        let app_options = AppOptions { push: Some(push.clone()), ..AppOptions::default() };
        let app = App::new(engine.clone(), identity, Admission::new(AdmissionOptions::off(), &clock), app_options);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel();
        let serve_options = ServeOptions {
            max_connections: 1_000,
            spread: Duration::from_millis(200),
            // The system's own end of a stalled connection must not stand in for ours.
            stall: Duration::from_mins(10),
            header_timeout: LONG,
            drain: LONG,
            tls,
            ..ServeOptions::default()
        };
        let task = tokio::spawn(serve(listener, app, serve_options, async move { drop(stopped.await) }));
        Self { address, engine, push, stop: Some(stop), task, _dir: dir }
    }

    /// A viewer that has subscribed to a channel. `buffer`: bytes that its socket takes unread; `None`: the system's.
    pub(crate) async fn viewer(&self, channel: &str, buffer: Option<u32>) -> Viewer {
        let mut viewer = Viewer::connect(self.address, buffer).await;
        viewer.subscribe(channel, "").await;
        viewer.named("pusher_internal:subscription_succeeded").await;
        viewer
    }

    /// Publishes an event, and waits until it is in its viewers' queues.
    pub(crate) async fn publish(&self, channel: &str, data: String) {
        let event = Publication { channels: vec![channel.into()], event: "e".into(), data, except: None };
        self.engine.hub().publish(vec![event]).unwrap().await.unwrap();
    }

    /// Tells the server to stop, and waits until it has.
    pub(crate) async fn stopped(&mut self) {
        self.stop.take().expect("stopped once").send(()).expect("the server still runs");
        tokio::time::timeout(PATIENCE, &mut self.task).await.expect("the server stops").unwrap().unwrap();
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Waits until something is so.
pub(crate) async fn until(what: &str, so: impl Fn() -> bool) {
    let wait = async {
        while !so() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.unwrap_or_else(|_| panic!("waited in vain: {what}"));
}
