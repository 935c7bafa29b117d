//! `plaudit serve`: wires settings, secrets, engine and HTTP together, says what runs, and stops it in order.
//!
//! Never: decides what a request means, or goes on after a second signal.

mod banner;
mod offline;
mod ready;
mod reload;
mod stop;

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use socket2::{Domain, Socket, Type};

use super::args::Serve;
use super::secrets::{self, Secrets};
use super::{Done, demo, print, process};
use crate::admission::{Admission, AdmissionOptions, Challenge, ChallengeOptions, TrustedProxies};
use crate::clock::{Clock, SystemClock};
use crate::config::{AckMode, Config, Moderation, PushApp, RoundsMode};
use crate::domain::VoterKey;
use crate::engine::{Ack, CommentSettings, Engine, RoundSettings, Settings};
use crate::error::Fault;
use crate::http::{self, App, AppOptions, Origins, ServeOptions, StreamOptions, Testing, Tls};
use crate::hub;
use crate::identity::{Identity, IdentityOptions};
use crate::push::apps::Apps;
use crate::push::sign::Signer;
use crate::push::{self, Push, PushOptions};
use crate::traces::Traces;
use stop::Stop;

/// Connections that the system holds for us until they are accepted.
const BACKLOG: i32 = 4096;

/// The whole stop, from the first signal; a supervisor that waits 10 s never has to kill.
const STOP_WITHIN: Duration = Duration::from_millis(9_500);

/// Serves until told to stop.
pub(super) fn run(args: Serve) -> Result<Done, Fault> {
    let began = Instant::now();
    let config = args.config;
    let mut warnings = config.check()?;
    check_engine(&config)?;
    let (connections, fewer) = config.connections(process::raise_open_files())?;
    warnings.extend(fewer);
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    // The port before the store: a taken one is found before anything is made or changed on the disk.
    let tls = config.tls.pair()?.map(|(cert, key)| Tls::load(cert, key)).transpose()?;
    let socket = bind(&config)?;
    let secrets = if config.offline.memory {
        secrets::new()?
    } else {
        let dir = config.store.data_dir.clone();
        let (secrets, made) = secrets::load_or_make(&dir)?;
        tell_of_secrets(&config, &dir, made);
        secrets
    };

    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(|why| Fault::io("starting the runtime", &why))?;
    let traces = {
        let _inside = runtime.enter();
        let url = config.traces.otlp.as_ref();
        url.map(|url| Traces::new(url, config.traces.otlp_every)).transpose()?.map(Arc::new)
    };
    let plan = Plan::new(config, connections, secrets, tls, traces);
    let served = runtime.block_on(serve(Arc::new(plan), socket, began));
    // An opening or closing that outlived its time is left to the next start's recovery.
    runtime.shutdown_background();
    served.map(|()| Done::Well)
}

/// What the engine would refuse, before anything is made: the key is of no account to the check.
pub(super) fn check_engine(config: &Config) -> Result<(), Fault> {
    engine_settings(config, VoterKey::new([0; 32])).check()
}

/// How an engine is run by these settings.
fn engine_settings(config: &Config, voter_key: VoterKey) -> Settings {
    Settings {
        ack: engine_ack(config.ack),
        daily_limit: config.limits.daily_limit,
        weights: config.limits.weights.0,
        stripes: config.shards,
        max_voters: config.limits.max_voters,
        reconcile_every_s: config.reconcile_every.as_secs(),
        comments: CommentSettings {
            held_first: config.comments.moderation == Moderation::Before,
            slow_ms: u64::try_from(config.comments.slow_mode.as_millis()).unwrap_or(u64::MAX),
            hides_at: config.comments.report_threshold,
        },
        rounds: round_settings(config),
        hub: hub_settings(config),
        ..Settings::new(&config.store.data_dir, voter_key)
    }
}

/// How rounds go on by these settings.
fn round_settings(config: &Config) -> RoundSettings {
    let rounds = &config.rounds;
    let lasts = u64::try_from(rounds.slot_duration.as_millis()).unwrap_or(u64::MAX);
    RoundSettings {
        automatic: rounds.rounds == RoundsMode::Auto,
        slot_ms: Some(lasts).filter(|ms| *ms > 0),
        min_clips: usize::try_from(rounds.min_clips).expect("at most 65536"),
    }
}

/// How what is pushed is bounded by these settings.
fn hub_settings(config: &Config) -> hub::Settings {
    hub::Settings {
        viewer_bytes: config.push.viewer_budget,
        all_bytes: config.push.push_budget,
        history_events: usize::try_from(config.history.history_events).expect("at most 10000"),
        history_ms: u64::try_from(config.history.history_time.as_millis()).unwrap_or(u64::MAX),
        ..hub::Settings::default()
    }
}

/// The engine's name for a mode.
pub(super) fn engine_ack(mode: AckMode) -> Ack {
    match mode {
        AckMode::Durable => Ack::Durable,
        AckMode::Memory => Ack::Memory,
    }
}

/// What a server is made of: once, or again at each reset in memory mode.
struct Plan {
    config: Config,
    connections: usize,
    secrets: Secrets,
    apps: Vec<PushApp>,
    tls: Option<Tls>,
    traces: Option<Arc<Traces>>,
    /// The task that reads again what SIGHUP is for. It holds an engine.
    reload: Mutex<Option<tokio::task::JoinHandle<()>>>,
}

impl Plan {
    fn new(
        config: Config,
        connections: usize,
        secrets: Secrets,
        tls: Option<Tls>,
        traces: Option<Arc<Traces>>,
    ) -> Self {
        let made = vec![secrets.push_app.clone()];
        let apps = if config.push.push_app.is_empty() { made } else { config.push.push_app.clone() };
        Self { config, connections, secrets, apps, tls, traces, reload: Mutex::default() }
    }

    /// Everything around an engine, the demo season included where it is empty.
    async fn app(&self, engine: Engine, testing: Option<Arc<Testing>>) -> Result<App, Fault> {
        let config = &self.config;
        if engine.is_empty() && !config.no_demo {
            demo::load(&engine).await.map_err(|why| Fault::Setting(format!("the demo season can't be made: {why}")))?;
        }
        let reload = reload::watch(config.comments.blocked_words.clone(), self.tls.clone(), engine.clone())?;
        if let Some(before) = self.reload.lock().replace(reload) {
            before.abort();
        }
        let push = push(config, self.connections, &self.apps, &engine)?;
        let challenge = challenge(config, &engine)?;
        Ok(app(config, &self.secrets, engine, push, challenge, self.traces.clone(), testing))
    }
}

async fn serve(plan: Arc<Plan>, socket: Socket, began: Instant) -> Result<(), Fault> {
    let mut stop = Stop::install()?;
    let config = &plan.config;
    let testing = config.offline.memory.then(|| offline::testing(&plan));
    let (app, started_empty) = if let Some(testing) = &testing {
        (testing.made().await?, true)
    } else {
        let settings = engine_settings(config, plan.secrets.voter_key.clone());
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let opening = tokio::task::spawn_blocking(move || Engine::open(settings, clock));
        let engine = tokio::select! {
            opened = opening => opened.map_err(|why| Fault::Setting(format!("opening the store failed: {why}")))??,
            // Nothing was acknowledged yet, and recovery can be cut short anywhere.
            () = stop.asked() => return Ok(()),
        };
        let started_empty = engine.is_empty();
        (plan.app(engine, None).await?, started_empty)
    };
    let engine = app.engine().clone();
    // Only now: who connects finds a server that has recovered.
    let (listener, at) = listen(config, socket)?;
    print(&if config.offline.print_json {
        ready::line(&plan, &engine, at, began.elapsed())
    } else {
        banner::text(config, &plan.apps, &engine, at, started_empty)
    })?;
    tracing::info!(listen = %at, ack = engine.settings().ack.as_str(), recovered = engine.recovered(), "serving");

    let options = ServeOptions {
        max_connections: plan.connections,
        max_connections_per_address: config.limits.max_connections_per_address,
        spread: config.push.drain,
        tls: plan.tls.clone(),
        ..ServeOptions::default()
    };
    let (asked, when_asked) = tokio::sync::oneshot::channel();
    let signals = tokio::spawn(async move {
        stop.asked().await;
        tracing::info!("stopping: requests under way are finished first; a second signal stops at once");
        // The server may have ended by itself.
        let _ended = asked.send(tokio::time::Instant::now());
        stop.asked().await;
        std::process::exit(1);
    });
    let (told, when_told) = tokio::sync::watch::channel(None);
    let shutdown = async move {
        let at = when_asked.await.ok();
        told.send_replace(at);
    };
    let served = http::serve(listener, app, options, shutdown).await;
    if let Some(reload) = plan.reload.lock().take() {
        reload.abort();
    }
    // Its thread waits for tasks of this runtime; and a collector that doesn't answer must not keep the store from closing.
    let traces = plan.traces.clone().map(|traces| tokio::task::spawn_blocking(move || traces.close()));
    // After a reset it is another.
    let engine = testing.and_then(|testing| testing.engine()).unwrap_or(engine);
    let deadline = when_told.borrow().unwrap_or_else(tokio::time::Instant::now) + STOP_WITHIN;
    let closed = close(engine, deadline).await;
    if let Some(traces) = traces {
        let _told = tokio::time::timeout_at(deadline, traces).await;
    }
    signals.abort();
    served.and(closed)
}

/// Closes the engine. What it can't finish in time is no loss: all that was acknowledged is in the log.
async fn close(engine: Engine, deadline: tokio::time::Instant) -> Result<(), Fault> {
    let closing = tokio::task::spawn_blocking(move || engine.close());
    let Ok(closed) = tokio::time::timeout_at(deadline, closing).await else {
        tracing::warn!("stopped before all was applied: the next start takes the rest from the log");
        return Ok(());
    };
    closed.map_err(|why| Fault::Setting(format!("closing the store failed: {why}")))??;
    tracing::info!("stopped: everything is on the disk");
    Ok(())
}

fn push(config: &Config, connections: usize, apps: &[PushApp], engine: &Engine) -> Result<Push, Fault> {
    let settings = &config.push;
    let options = PushOptions {
        allowed_origins: settings.allowed_origins.clone(),
        webhooks: settings.webhook.clone(),
        // Votes find a connection even when the viewers are too many.
        max_viewers: settings.max_viewers.unwrap_or(connections - connections / 10),
        max_viewers_per_address: settings.max_viewers_per_address.unwrap_or(usize::MAX),
        max_viewers_per_app: settings.max_viewers_per_app.unwrap_or(usize::MAX),
        rates: config.limits.rate_limit.is_on(),
        per_app: config.limits.rate_limit.app,
        activity_timeout: settings.activity_timeout,
        pong_timeout: settings.pong_timeout,
        ..PushOptions::default()
    };
    let app = |app: &PushApp| push::apps::App {
        id: app.id.clone(),
        signer: Arc::new(Signer::new(&app.key, app.secret.bytes())),
        disabled: settings.push_disabled.contains(&app.id),
    };
    let apps = Apps::new(apps.iter().map(app).collect());
    Push::new(engine.hub().clone(), apps, options, Arc::clone(engine.clock()), Arc::clone(engine.metrics()))
}

fn challenge(config: &Config, engine: &Engine) -> Result<Option<Challenge>, Fault> {
    let settings = &config.challenge;
    let Some(url) = &settings.challenge_url else { return Ok(None) };
    let secret = settings.challenge_secret.as_ref().map(|secret| secret.bytes().to_vec());
    let options = ChallengeOptions::new(url, secret);
    Challenge::new(&options, Arc::clone(engine.clock()), Arc::clone(engine.metrics())).map(Some)
}

fn app(
    config: &Config,
    secrets: &Secrets,
    engine: Engine,
    push: Push,
    challenge: Option<Challenge>,
    traces: Option<Arc<Traces>>,
    testing: Option<Arc<Testing>>,
) -> App {
    let given = |flag: &Option<crate::config::Secret>, kept: &[u8]| flag.as_ref().map_or(kept, |f| f.bytes()).to_vec();
    let identity = Identity::new(IdentityOptions {
        jwt_secret: given(&config.tokens.jwt_secret, &secrets.jwt),
        jwt_issuer: config.tokens.jwt_issuer.clone(),
        jwt_audience: config.tokens.jwt_audience.clone(),
        cookie_key: secrets.cookie_key,
        voter_key: secrets.voter_key.clone(),
        devices_per_network: config.limits.devices_per_network,
    });
    let rates = AdmissionOptions {
        per_voter: config.limits.rate_limit.voter,
        per_address: config.limits.rate_limit.address,
        ..AdmissionOptions::default()
    };
    let admission = Admission::new(rates, engine.clock());
    let options = AppOptions {
        admin_token: Some(given(&config.admin_token, &secrets.admin)),
        cron_secret: Some(given(&config.cron_secret, &secrets.cron)),
        trusted_proxies: TrustedProxies(config.trusted_proxies.0.clone()),
        anonymous_comments: config.comments.anonymous_comments,
        stream: StreamOptions { spread: config.push.drain, ..StreamOptions::default() },
        secrets: secrets.text.clone(),
        push: Some(push),
        embed_origins: config.pages.embed_origin.clone(),
        challenge,
        traces,
        origins: origins(config),
        over_tls: config.tls.tls_cert.is_some(),
        testing,
        ..AppOptions::default()
    };
    App::new(engine, identity, admission, options)
}

/// A site's own tests come from whatever port their pages are on.
fn origins(config: &Config) -> Origins {
    match &config.cors_origins[..] {
        [] if config.offline.memory => Origins::Any,
        [] => Origins::Own,
        listed if listed.iter().any(|origin| origin == "*") => Origins::Any,
        listed => Origins::Listed(listed.into()),
    }
}

/// Takes the port without listening on it yet.
fn bind(config: &Config) -> Result<Socket, Fault> {
    let failed = |why: &io::Error| refused_port(config, why);
    let mut last = None;
    for address in config.listen_at().addresses().map_err(|why| failed(&why))? {
        let bound = Socket::new(Domain::for_address(address), Type::STREAM, None).and_then(|socket| {
            // A restart must not wait for the last run's connections to time out.
            socket.set_reuse_address(true)?;
            socket.bind(&address.into())?;
            Ok(socket)
        });
        match bound {
            Ok(socket) => return Ok(socket),
            Err(why) => last = Some(why),
        }
    }
    Err(failed(&last.expect("a name has an address, or looking it up fails")))
}

fn refused_port(config: &Config, why: &io::Error) -> Fault {
    let listen = config.listen_at();
    if why.kind() == io::ErrorKind::AddrInUse {
        return Fault::Setting(format!(
            "{listen} is in use by another program: stop it, or choose another with --listen"
        ));
    }
    Fault::io(format!("listening on {listen}"), why)
}

/// Another program may have come to listen on the port since it was bound.
fn listen(config: &Config, socket: Socket) -> Result<(TcpListener, SocketAddr), Fault> {
    let listening = || -> io::Result<_> {
        socket.listen(BACKLOG)?;
        let listener = TcpListener::from(socket);
        let at = listener.local_addr()?;
        Ok((listener, at))
    };
    listening().map_err(|why| refused_port(config, &why))
}

fn tell_of_secrets(config: &Config, dir: &Path, made: bool) {
    let flags = [
        ("jwt-secret", config.tokens.jwt_secret.is_some()),
        ("cron-secret", config.cron_secret.is_some()),
        ("admin-token", config.admin_token.is_some()),
        ("push-app", !config.push.push_app.is_empty()),
    ];
    let kept: Vec<&str> = flags.iter().filter(|(_, given)| !given).map(|(name, _)| *name).collect();
    let names = [&kept[..], &["cookie-key", "voter-key"]].concat().join(", ");
    let file = dir.join("secrets.toml");
    if made {
        tracing::warn!("made {names}: they are kept in {}, back it up", file.display());
    } else {
        tracing::info!("{names} are those in {}", file.display());
    }
}
