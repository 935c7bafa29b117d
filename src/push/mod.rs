//! The broadcaster: the Pusher Channels protocol 7, so that `pusher-js` connects by changing its host and Pusher's server
//! libraries trigger. On top of the hub, which knows no protocol.
//!
//! ```text
//! /app/{key}    upgrade.rs → connection.rs (one task: wire.rs, tungstenite) ⇄ session.rs → hub
//! hub           → outlet.rs → pumps.rs, or connection.rs, whoever writes → socket
//! /apps/{id}/…  api/: signature → events, channels, users → hub
//! hub           → counts.rs (occupancy) → subscribers, webhooks/ → outbound
//! ```
//!
//! Never: decides what is worth telling, knows a vote or a comment, or listens on a port.

mod api;
pub mod apps;
pub mod channel;
mod close;
mod connection;
mod counts;
mod frames;
pub mod message;
mod outlet;
mod presence;
mod pumps;
mod rate;
mod session;
pub mod sign;
mod socket;
mod sockets;
mod upgrade;
pub mod webhooks;
mod wire;

use std::num::NonZeroU32;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

pub use api::{BODY_MAX, Call, Members, TriggeredBatch, TriggeredEvent};
pub use connection::MESSAGE_MAX;
pub use socket::Given;
pub use upgrade::Taken;

use crate::admission::Limit;
use crate::clock::Clock;
use crate::error::Fault;
use crate::hub::Hub;
use crate::metrics::Metrics;
use crate::outbound::Outbound;
use apps::{AppNo, Apps};
use counts::Counts;
use presence::Presence;
use pumps::Pumps;
use sockets::{Bounds, Sockets};
use webhooks::Webhooks;

/// How the broadcaster is run.
#[derive(Clone, Debug)]
pub struct PushOptions {
    /// Origins whose pages may connect; none listed: all.
    pub allowed_origins: Vec<String>,
    /// Where webhooks go.
    pub webhooks: Vec<String>,
    /// Connections at once. A further one is closed with 4100.
    pub max_viewers: usize,
    /// Connections at once of one address (IPv6: one /64); likewise.
    pub max_viewers_per_address: usize,
    /// Connections at once of one app. A further one is closed with 4004, and its client gives up.
    pub max_viewers_per_app: usize,
    /// Whether events and subscribes of one connection have a rate.
    pub rates: bool,
    /// Events a minute that the servers of one app may trigger; as many may come at once. `None`: no rate.
    pub per_app: Option<NonZeroU32>,
    /// How long a connection may be silent before it is asked for a sign of life.
    pub activity_timeout: Duration,
    /// How long that sign may take.
    pub pong_timeout: Duration,
    /// How long a connection that was told to close may take to do so.
    pub close_timeout: Duration,
}

impl Default for PushOptions {
    fn default() -> Self {
        Self {
            allowed_origins: Vec::new(),
            webhooks: Vec::new(),
            max_viewers: usize::MAX,
            max_viewers_per_address: usize::MAX,
            max_viewers_per_app: usize::MAX,
            rates: true,
            per_app: NonZeroU32::new(60_000),
            activity_timeout: Duration::from_mins(2),
            pong_timeout: Duration::from_secs(30),
            close_timeout: Duration::from_secs(5),
        }
    }
}

/// The broadcaster. Clones share it.
#[derive(Clone)]
pub struct Push(Arc<Parts>);

struct Parts {
    hub: Hub,
    apps: Arc<Apps>,
    presence: Presence,
    sockets: Arc<Sockets>,
    /// On the runtime of the first connection.
    pumps: OnceLock<Arc<Pumps>>,
    webhooks: Arc<Webhooks>,
    counts: Arc<Counts>,
    /// How often apps may trigger; none: as often as they like.
    triggers: Option<Limit<AppNo>>,
    /// Sends the webhooks; none without a URL.
    outbound: Option<Outbound>,
    clock: Arc<dyn Clock>,
    metrics: Arc<Metrics>,
    options: PushOptions,
}

impl Push {
    /// On top of a hub that nobody observes and nobody views yet. Fails where the system gives no randomness, or no
    /// certificate authorities for webhooks.
    pub fn new(
        hub: Hub,
        apps: Apps,
        options: PushOptions,
        clock: Arc<dyn Clock>,
        metrics: Arc<Metrics>,
    ) -> Result<Self, Fault> {
        let mark =
            getrandom::u32().map_err(|why| Fault::Io { doing: "drawing a number".into(), why: why.to_string() })?;
        let apps = Arc::new(apps);
        let urls = options.webhooks.clone();
        let webhooks = Arc::new(Webhooks::new(apps.signers(), urls, Arc::clone(&clock), Arc::clone(&metrics)));
        let counts = Arc::new(Counts::new(Arc::clone(&apps), Arc::clone(&webhooks), Arc::clone(&clock)));
        hub.observe(Arc::clone(&counts) as Arc<dyn crate::hub::Observer>);
        let bounds = Bounds {
            all: options.max_viewers,
            of_address: options.max_viewers_per_address,
            of_app: options.max_viewers_per_app,
        };
        let sockets = Arc::new(Sockets::new(bounds, mark));
        let presence = Presence::new();
        let outbound = if webhooks.is_on() { Some(Outbound::new()?) } else { None };
        // As many keys as there are apps: the bound is never met.
        let triggers = options.per_app.map(|rate| Limit::new(rate, usize::MAX, &clock));
        let parts = Parts {
            hub,
            apps,
            presence,
            sockets,
            pumps: OnceLock::new(),
            webhooks,
            counts,
            triggers,
            outbound,
            clock,
            metrics,
            options,
        };
        Ok(Self(Arc::new(parts)))
    }

    /// Tells subscribers' numbers and sends webhooks, until the future is dropped.
    pub async fn run(&self) {
        let counts = Arc::clone(&self.0.counts).run(self.0.hub.clone());
        match &self.0.outbound {
            Some(client) => drop(tokio::join!(counts, Arc::clone(&self.0.webhooks).run(client.clone()))),
            None => counts.await,
        }
    }

    /// Closes every connection, spread over a time; returns when the last is gone.
    pub async fn drain(&self, over: Duration) {
        self.0.sockets.drain(over).await;
    }
}
