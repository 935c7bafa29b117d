//! `/api/test`: what a site's own tests do with a server in memory, and nobody with any other: begin it anew, and move its clock.
//!
//! A reset makes a whole server of new parts, which answers every request from then on, on the connections that there are. What
//! viewed the old one is closed as at a stop, so that its clients come back. The routes are there only where
//! [`super::AppOptions::testing`] is.

use std::fmt;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::{Arc, OnceLock, Weak};
use std::task::Waker;
use std::time::Duration;

use arc_swap::ArcSwap;
use axum::extract::{Request as AxumRequest, State};
use http::{Request, StatusCode};
use hyper::body::Incoming;
use parking_lot::Mutex;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::task::JoinHandle;

use super::front::{Answer, Front, Held};
use super::query::invalid;
use super::reply::{self, Whole};
use super::routes::Outcome;
use super::{App, body};
use crate::clock::{Clock, MovedClock};
use crate::engine::Engine;
use crate::error::{Fault, Reject};
use crate::metrics::Metrics;

/// The year 9999: later times have no date that clients can read.
const LAST_MS: u64 = 253_402_300_799_999;
/// Steps of rounds that a moved clock may cause at once: many seasons, each a freeze, a lock and an opening.
const STEPS_MAX: usize = 10_000;
/// How long the viewers of the old server may take to go.
const CLOSING: Duration = Duration::from_secs(5);

/// A new server in the making.
pub type Making = Pin<Box<dyn Future<Output = Result<App, Fault>> + Send>>;
type Make = Box<dyn Fn(Arc<Testing>) -> Making + Send + Sync>;

/// What makes a server anew, and its clock.
pub struct Testing {
    clock: Arc<MovedClock>,
    make: Make,
    /// Who answers now; set when the server starts, and held by it: an app knows its `Testing`, and would hold itself.
    front: OnceLock<Weak<ArcSwap<Front>>>,
    /// The engine behind what was made last.
    engine: Mutex<Option<Engine>>,
    /// One reset at a time.
    turn: tokio::sync::Mutex<()>,
    /// The broadcaster's work of the server that answers now, unless it is the first one's.
    pushing: Mutex<Option<JoinHandle<()>>>,
}

impl fmt::Debug for Testing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Testing").field("clock", &self.clock).finish_non_exhaustive()
    }
}

impl Testing {
    /// By a clock that all servers made share. `make` gives each the `Testing` that it is handed.
    pub fn new(clock: Arc<MovedClock>, make: impl Fn(Arc<Self>) -> Making + Send + Sync + 'static) -> Arc<Self> {
        let (front, turn) = (OnceLock::new(), tokio::sync::Mutex::default());
        let (engine, pushing) = (Mutex::default(), Mutex::default());
        Arc::new(Self { clock, make: Box::new(make), front, engine, turn, pushing })
    }

    /// A server by its rule, the first one too.
    pub async fn made(self: &Arc<Self>) -> Result<App, Fault> {
        let app = (self.make)(Arc::clone(self)).await?;
        *self.engine.lock() = Some(app.engine().clone());
        Ok(app)
    }

    /// The engine that answers now; `None` before the first one is made. The server's end leaves it to the caller to close.
    pub fn engine(&self) -> Option<Engine> {
        self.engine.lock().clone()
    }

    /// Puts a new server in the place of the one that answers now.
    async fn reset(self: &Arc<Self>) -> Result<(), Fault> {
        let _turn = self.turn.lock().await;
        self.clock.reset();
        let Some(front) = self.front.get().and_then(Weak::upgrade) else { return Ok(()) };
        let app = self.made().await?;
        let push = app.0.options.push.clone();
        let old = front.load().app().clone();
        // Connections stay, and are counted where one looks.
        app.engine().metrics().connections.set(old.engine().metrics().connections.get());
        front.store(Arc::new(Front::new(app)));
        let pushing = push.map(|push| tokio::spawn(async move { push.run().await }));
        if let Some(before) = std::mem::replace(&mut *self.pushing.lock(), pushing) {
            before.abort();
        }
        old.begin_draining();
        if let Some(push) = &old.0.options.push
            && tokio::time::timeout(CLOSING, push.drain(Duration::ZERO)).await.is_err()
        {
            tracing::warn!("viewers of the server before the reset have not gone yet");
        }
        let closed = tokio::task::spawn_blocking(move || old.engine().close()).await;
        closed.map_err(|why| Fault::Setting(format!("closing the server before the reset failed: {why}")))?
    }
}

impl Drop for Testing {
    fn drop(&mut self) {
        if let Some(pushing) = self.pushing.get_mut().take() {
            pushing.abort();
        }
    }
}

/// Who answers a server's requests.
pub(super) enum Face {
    /// The same for good.
    Fixed(Box<Front>),
    /// Whoever the last reset made.
    Renewed(Arc<ArcSwap<Front>>),
}

impl Face {
    pub(super) fn of(app: App) -> Self {
        let Some(testing) = app.0.options.testing.clone() else { return Self::Fixed(Box::new(Front::new(app))) };
        let front = Arc::new(ArcSwap::from_pointee(Front::new(app)));
        assert!(testing.front.set(Arc::downgrade(&front)).is_ok(), "one server at a time is served");
        Self::Renewed(front)
    }

    pub(super) fn app(&self) -> App {
        match self {
            Self::Fixed(front) => front.app().clone(),
            Self::Renewed(front) => front.load().app().clone(),
        }
    }

    pub(super) fn answer<'a>(
        &'a self,
        peer: IpAddr,
        request: Request<Incoming>,
        held: &'a Held,
        task: Option<&'a Waker>,
    ) -> Answer<'a, impl Future<Output = Whole> + use<'a>> {
        match self {
            Self::Fixed(front) => front.answer(peer, request, held, task),
            Self::Renewed(front) => {
                let front = front.load_full();
                let answer = async move {
                    match front.answer(peer, request, held, task).await {
                        Ok(answer) => answer,
                        Err(never) => match never {},
                    }
                };
                // Boxed: it holds the server that it is answered by.
                Answer::Apart { apart: Box::pin(answer) }
            }
        }
    }
}

/// The metrics of who answers now.
pub(super) fn metrics(app: &App) -> Arc<Metrics> {
    let renewed = app.0.options.testing.as_ref().and_then(|testing| testing.engine());
    Arc::clone(renewed.as_ref().unwrap_or(app.engine()).metrics())
}

/// What a server in memory says of its clock.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct ClockBody {
    /// Unix milliseconds.
    now_ms: u64,
}

/// How the clock is moved: one of the two.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Move {
    /// The time that it is to be, Unix milliseconds.
    #[schemars(range(max = 253_402_300_799_999_u64))]
    now_ms: Option<u64>,
    /// By how many milliseconds it is to go forwards.
    #[schemars(range(max = 253_402_300_799_999_u64))]
    advance_ms: Option<u64>,
}

/// `POST /api/test/reset`
pub(super) async fn reset(State(app): State<App>) -> Outcome {
    let testing = Arc::clone(testing(&app)?);
    // A task of its own: whoever asked may leave, and half a reset is none.
    let done = tokio::spawn(async move { testing.reset().await });
    if let Err(why) = done.await.unwrap_or_else(|ended| std::panic::resume_unwind(ended.into_panic())) {
        tracing::error!("the reset failed: {why}");
        return Err(Reject::StorageFailed.into());
    }
    Ok(reply::empty(StatusCode::NO_CONTENT))
}

/// `GET /api/test/clock`
pub(super) async fn clock(State(app): State<App>) -> Outcome {
    Ok(reply::json(StatusCode::OK, &ClockBody { now_ms: testing(&app)?.clock.now_ms() }))
}

/// `POST /api/test/clock`
pub(super) async fn set_clock(State(app): State<App>, request: AxumRequest) -> Outcome {
    let clock = &testing(&app)?.clock;
    let (parts, sent) = request.into_parts();
    let text = body::read(&parts.headers, sent, app.0.options.body_timeout).await?;
    let sent: Move = body::parse(&text)?;
    let at =
        |name, ms: u64| if ms <= LAST_MS { Ok(ms) } else { Err(invalid(name, "milliseconds, up to the year 9999")) };
    match (sent.now_ms, sent.advance_ms) {
        (Some(now_ms), None) => clock.set(at("nowMs", now_ms)?),
        (None, Some(by_ms)) => {
            at("advanceMs", by_ms.saturating_add(clock.now_ms()))?;
            clock.advance(by_ms);
        }
        _ => return Err(invalid("nowMs", "this, or advanceMs").into()),
    }
    // What the new time is the end of has ended when this is answered.
    if app.engine().settings().rounds.automatic {
        for _ in 0..STEPS_MAX {
            if app.engine().step_rounds().await? == 0 {
                break;
            }
        }
    }
    Ok(reply::json(StatusCode::OK, &ClockBody { now_ms: clock.now_ms() }))
}

/// The routes are made for servers that have one.
fn testing(app: &App) -> Result<&Arc<Testing>, Reject> {
    app.0.options.testing.as_ref().ok_or(Reject::NotFound)
}
