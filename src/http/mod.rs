//! HTTP: the contract's routes over the engine's operations. Sole user of hyper's server.
//!
//! [`serve()`] accepts and bounds connections, `front` stands before every request (id, panic guard, counting) and sends
//! the two hot calls straight to their handlers, `routes` has the rest on axum. Never decides whether a vote counts:
//! it parses, bounds, asks and phrases the answer.

mod admin;
mod alarm;
mod body;
mod certificate;
mod comment_view;
mod comments;
mod compress;
mod cookie;
mod counts;
mod data;
mod etag;
mod front;
mod gate;
mod history;
mod http2;
mod idempotency;
mod joined;
mod leaderboard;
mod me;
mod moderation;
mod openapi;
mod ops;
mod origins;
mod pages;
mod pieces;
mod places;
mod push;
mod query;
mod reply;
mod routes;
mod sdk;
mod seasons;
mod serve;
mod slot;
mod stream;
mod streams;
mod testing;
mod timeline;
mod tls;
mod view;
mod voids;
mod vote;
mod voted;
mod votes;
mod wakes;

use std::sync::{Arc, OnceLock};
use std::time::Duration;

pub use body::BODY_MAX;
pub use idempotency::IdempotencyOptions;
pub use origins::Origins;
pub use serve::{HEADERS_MAX, ServeOptions, serve};
pub use stream::StreamOptions;
pub use testing::{Making, Testing};
pub use tls::Tls;

use tokio::sync::{Semaphore, watch};

use crate::admission::{Admission, Challenge, Risk, TrustedProxies};
use crate::engine::Engine;
use crate::error::Reject;
use crate::identity::Identity;
use crate::push::Push;
use crate::traces::Traces;
use idempotency::Idempotency;

/// Requests that read pages of the store at once: enough to keep a disk busy, and few beside the threads that votes need.
const READERS: usize = 16;
/// Voters who are given their own data at once: each has the tables looked through.
const OWN_AT_ONCE: usize = 2;

/// What the routes are told.
#[derive(Clone)]
pub struct AppOptions {
    /// The bearer secret of the admin routes, as the bytes given; `None` or empty: they refuse everyone.
    pub admin_token: Option<Vec<u8>>,
    /// The bearer secret of the cron route, likewise.
    pub cron_secret: Option<Vec<u8>>,
    /// Whose forwarding headers count.
    pub trusted_proxies: TrustedProxies,
    /// Devices may comment too, and not only voters with a token.
    pub anonymous_comments: bool,
    /// Who is asked before a device's first vote; `None`: nobody.
    pub challenge: Option<Challenge>,
    /// How answers are kept for retries.
    pub idempotency: IdempotencyOptions,
    /// How long a body may take to arrive once its headers are in.
    pub body_timeout: Duration,
    /// How streams of events are held.
    pub stream: StreamOptions,
    /// The file of the store's secrets, as it is: backups and exports take it along.
    pub secrets: Vec<u8>,
    /// The broadcaster; `None`: its paths are not there.
    pub push: Option<Push>,
    /// Where traces go; `None`: no request has one.
    pub traces: Option<Arc<Traces>>,
    /// Sites that may show `/embed/{clipId}` in a frame, scheme and host each; none: this server's own pages alone.
    pub embed_origins: Vec<String>,
    /// Whose pages may call across origins.
    pub origins: Origins,
    /// Whether browsers come over TLS alone: [`ServeOptions::tls`] is set.
    pub over_tls: bool,
    /// What begins the server anew for a site's own tests; `None`, as everywhere but in memory mode: its paths are not there.
    pub testing: Option<Arc<Testing>>,
}

impl Default for AppOptions {
    fn default() -> Self {
        Self {
            admin_token: None,
            cron_secret: None,
            trusted_proxies: TrustedProxies::default(),
            anonymous_comments: false,
            challenge: None,
            idempotency: IdempotencyOptions::default(),
            body_timeout: Duration::from_secs(10),
            stream: StreamOptions::default(),
            secrets: Vec::new(),
            push: None,
            traces: None,
            embed_origins: Vec::new(),
            origins: Origins::default(),
            over_tls: false,
            testing: None,
        }
    }
}

/// Everything that a request needs. Cheap to clone.
#[derive(Clone)]
pub struct App(Arc<Parts>);

struct Parts {
    engine: Engine,
    identity: Identity,
    admission: Admission,
    risk: Risk,
    idempotency: Idempotency,
    slots: slot::Rendered,
    packed: compress::Packed,
    /// Made when it is first asked for.
    documents: OnceLock<openapi::Documents>,
    readers: Arc<Semaphore>,
    own: places::Places,
    pages: pages::Pages,
    options: AppOptions,
    /// Set by [`serve`] when it is told to stop; `/readyz` reads it, streams wait for it.
    draining: watch::Sender<bool>,
}

impl App {
    /// Puts the parts together.
    pub fn new(engine: Engine, identity: Identity, admission: Admission, options: AppOptions) -> Self {
        let idempotency = Idempotency::new(options.idempotency, Arc::clone(engine.clock()));
        let risk = Risk::new(engine.settings().voter_key.clone());
        let slots = slot::Rendered::default();
        let documents = OnceLock::new();
        let packed = compress::Packed::default();
        let draining = watch::Sender::new(false);
        let readers = Arc::new(Semaphore::new(READERS));
        let own = places::Places::new(OWN_AT_ONCE);
        let pages = pages::Pages::new(&options, engine.settings().weights);
        Self(Arc::new(Parts {
            engine,
            identity,
            admission,
            risk,
            idempotency,
            slots,
            packed,
            documents,
            readers,
            own,
            pages,
            options,
            draining,
        }))
    }

    /// The engine that it serves.
    pub fn engine(&self) -> &Engine {
        &self.0.engine
    }

    fn now_ms(&self) -> u64 {
        self.0.engine.clock().now_ms()
    }

    /// Reads what may lie on the disk alone, on a thread that may wait for it: the workers answer votes. At most [`READERS`] at
    /// once, others wait for their turn.
    async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Engine) -> Result<T, Reject> + Send + 'static,
    ) -> Result<T, Reject> {
        let turn = Arc::clone(&self.0.readers).acquire_owned().await.map_err(|_| Reject::Overloaded)?;
        let engine = self.0.engine.clone();
        let reading = tokio::task::spawn_blocking(move || {
            // Held until the reading ends, whether its client is still there or not.
            let _turn = turn;
            read(&engine)
        });
        match reading.await {
            Ok(found) => found,
            // It ends this request, and `front` answers for it.
            Err(failed) if failed.is_panic() => std::panic::resume_unwind(failed.into_panic()),
            Err(_) => Err(Reject::Overloaded),
        }
    }

    fn is_draining(&self) -> bool {
        *self.0.draining.borrow()
    }

    fn begin_draining(&self) {
        self.0.draining.send_replace(true);
    }

    /// Waits until the server is told to stop.
    async fn drained(&self) {
        // Its sender lives as long as `self`.
        let _ = self.0.draining.subscribe().wait_for(|draining| *draining).await;
    }
}
