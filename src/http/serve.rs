//! Connections: accepts them, bounds them, runs hyper on each, and lets them finish when the server stops.
//!
//! HTTP/1.1 with upgrades: the idle time before a first byte, headers and idle keep-alives all fall under hyper's header timeout;
//! what a client doesn't read falls under the kernel's. HTTP/2, see `http2`, where the client chooses it: within TLS, or in clear
//! by how it begins. Looking how costs a connection one system call and a request nothing. Never reads a request itself.

use std::future::poll_fn;
use std::net::{IpAddr, TcpListener};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use hyper::server::conn::http1;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rustix::process::{Resource, getrlimit};
use serde_json::json;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::alarm::Alarm;
use super::front::Held;
use super::gate::{Gate, Place};
use super::joined::Joined;
use super::streams::Streams;
use super::testing::{self, Face};
use super::{App, Tls, wakes};
use crate::error::{Fault, Reject};

/// Bytes of the largest request line and headers; a larger one is answered with 431.
pub const HEADERS_MAX: usize = 16 * 1024;
/// Bytes that hyper may hold of one connection, each way.
const BUFFER_MAX: usize = 64 * 1024;
/// File descriptors left for the store, the log and what else a process opens.
const FILES_KEPT: u64 = 256;
/// Connections at once that are told that there is no room; past it they are closed without a word.
const REFUSALS_MAX: usize = 64;
const REFUSAL_TIME: Duration = Duration::from_secs(2);
/// After an accept failed, as when the process is out of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// How a client that will speak HTTP/2 in clear begins; no request of HTTP/1 does.
const HTTP_2: [u8; 3] = *b"PRI";
/// Before the second look at a client that has sent only one or two bytes of that.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// How connections are held.
#[derive(Clone, Debug)]
pub struct ServeOptions {
    /// How long headers may take to arrive; also how long a connection may stay idle between two requests. A body has
    /// its own time, [`super::AppOptions::body_timeout`].
    pub header_timeout: Duration,
    /// Connections at once. A further one gets 503 `OVERLOADED` and is closed.
    pub max_connections: usize,
    /// Connections at once of one address (IPv6: one /64); `None`: as many as the server has. Listed proxies are held to the server's
    /// number alone, for they stand for many.
    pub max_connections_per_address: Option<usize>,
    /// How long a client may take nothing of what is sent to it; then its connection is cut (on Linux; elsewhere the
    /// system's own, longer patience holds). Of HTTP/2 the same holds of each answer, which is then cut alone.
    pub stall: Duration,
    /// How long requests under way may take once the server stops.
    pub drain: Duration,
    /// Over how long the closing of viewers is spread then; less than `drain`.
    pub spread: Duration,
    /// With which certificate; `None`: in clear.
    pub tls: Option<Tls>,
}

impl Default for ServeOptions {
    /// As many connections as the open-file limit allows, less some for the store.
    fn default() -> Self {
        let files = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
        let room = files.saturating_sub(FILES_KEPT).clamp(1, 1 << 20);
        Self {
            header_timeout: Duration::from_secs(10),
            max_connections: usize::try_from(room).expect("at most 2^20"),
            max_connections_per_address: None,
            stall: Duration::from_secs(30),
            drain: Duration::from_secs(8),
            spread: Duration::from_secs(5),
            tls: None,
        }
    }
}

/// Serves until `shutdown` is ready; then accepts nothing more, lets what is under way finish, and returns. The listener
/// is closed by then. Fails only when the listener can't be used at all.
pub async fn serve(
    listener: TcpListener,
    app: App,
    options: ServeOptions,
    shutdown: impl Future<Output = ()>,
) -> Result<(), Fault> {
    let usable = listener.set_nonblocking(true).and_then(|()| tokio::net::TcpListener::from_std(listener));
    let listener = usable.map_err(|why| Fault::io("listening for connections", &why))?;
    let server = Arc::new(Server::new(app, options.clone()));
    let (stop, stopped) = watch::channel(false);
    let mut connections = JoinSet::new();
    let mut shutdown = pin!(shutdown);
    let mut pushing = JoinSet::new();
    if let Some(push) = server.app.0.options.push.clone() {
        pushing.spawn(async move { push.run().await });
    }
    loop {
        tokio::select! {
            biased;
            () = &mut shutdown => break,
            // Finished ones are taken off the set as they come, or it would grow for ever.
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => server.admit(stream, peer.ip().to_canonical(), &stopped, &mut connections),
                Err(why) => {
                    tracing::warn!(%why, "a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
        }
    }
    // Not ready first, and only then no longer there.
    let app = server.face.app();
    app.begin_draining();
    drop(listener);
    // Nobody left to tell is as good as told.
    let _ = stop.send(true);
    let requests = async { while connections.join_next().await.is_some() {} };
    let viewers = async {
        if let Some(push) = &app.0.options.push {
            push.drain(options.spread).await;
        }
    };
    let finished = timeout(options.drain, async { tokio::join!(requests, viewers) }).await;
    if finished.is_err() {
        tracing::warn!(cut = connections.len(), "connections were cut off: they did not finish in time");
        connections.shutdown().await;
    }
    Ok(())
}

struct Server {
    app: App,
    face: Arc<Face>,
    http: http1::Builder,
    http2: http2::Builder<Streams>,
    tls: Option<Tls>,
    header_timeout: Duration,
    stall: Duration,
    gate: Arc<Gate>,
    refusals: Arc<Semaphore>,
    refusal: Bytes,
    too_slow: Bytes,
}

impl Server {
    fn new(app: App, options: ServeOptions) -> Self {
        let mut http = http1::Builder::new();
        http.header_read_timeout(options.header_timeout).max_header_size(HEADERS_MAX).max_buf_size(BUFFER_MAX);
        Self {
            face: Arc::new(Face::of(app.clone())),
            http,
            http2: super::http2::builder(options.stall),
            tls: options.tls,
            header_timeout: options.header_timeout,
            stall: options.stall,
            gate: Gate::new(app.clone(), options.max_connections, options.max_connections_per_address),
            refusals: Arc::new(Semaphore::new(REFUSALS_MAX)),
            refusal: in_full(503, "Service Unavailable", &Reject::Overloaded),
            too_slow: in_full(408, "Request Timeout", &Reject::RequestTimeout),
            app,
        }
    }

    fn admit(
        self: &Arc<Self>,
        stream: TcpStream,
        peer: IpAddr,
        stopped: &watch::Receiver<bool>,
        connections: &mut JoinSet<()>,
    ) {
        if let Some(place) = self.gate.enter(peer) {
            connections.spawn(Arc::clone(self).converse(stream, peer, stopped.clone(), place));
            return;
        }
        testing::metrics(&self.app).connections_refused.inc();
        // A refusal is a courtesy: when too many are due, closing says enough, and so it does where only a handshake would let it be read.
        if self.tls.is_none()
            && let Ok(turn) = Arc::clone(&self.refusals).try_acquire_owned()
        {
            let refusal = self.refusal.clone();
            connections.spawn(async move {
                let _turn = turn;
                let _ = timeout(REFUSAL_TIME, refuse(stream, &refusal)).await;
            });
        }
    }

    async fn converse(self: Arc<Self>, stream: TcpStream, peer: IpAddr, stopped: watch::Receiver<bool>, place: Place) {
        // Shared with a viewer's connection, which goes on without this one.
        let place: Held = Arc::new(place);
        // Answers are small and whole: waiting to fill a packet would only delay them.
        let _ = stream.set_nodelay(true);
        bear_no_stall(&stream, self.stall);
        // On the heap, all but the usual case: their futures are large, and every connection would carry their size.
        if let Some(tls) = &self.tls {
            return Box::pin(self.converse_in_secret(tls, stream, peer, stopped, place)).await;
        }
        match timeout(self.header_timeout, begins_http2(&stream, stopped.clone())).await {
            Ok(false) => self.speak_http1(stream, peer, stopped, &place).await,
            Ok(true) => Box::pin(self.speak_http2(stream, peer, stopped, place)).await,
            // It was silent: closed without a word.
            Err(_) => {}
        }
    }

    async fn converse_in_secret(
        &self,
        tls: &Tls,
        stream: TcpStream,
        peer: IpAddr,
        mut stopped: watch::Receiver<bool>,
        place: Held,
    ) {
        let shaken = tokio::select! {
            biased;
            shaken = tls.accept(stream, self.header_timeout) => shaken,
            // It has asked for nothing yet.
            _ = stopped.changed() => return,
        };
        match shaken {
            Ok((stream, false)) => self.speak_http1(stream, peer, stopped, &place).await,
            Ok((stream, true)) => self.speak_http2(stream, peer, stopped, place).await,
            Err(why) => {
                testing::metrics(&self.app).tls_failures.inc();
                tracing::debug!(%peer, %why, "a handshake failed");
            }
        }
    }

    async fn speak_http2<S>(&self, stream: S, peer: IpAddr, stopped: watch::Receiver<bool>, place: Held)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let whose = (peer, Arc::clone(&self.face), place);
        let quiet = self.header_timeout.max(self.stall);
        super::http2::converse(&self.http2, stream, whose, quiet, stopped).await;
    }

    async fn speak_http1<S>(&self, stream: S, peer: IpAddr, stopped: watch::Receiver<bool>, place: &Held)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        // Borrowed, not counted: a count that all connections share is a cache line that all cores fight for.
        let face = &*self.face;
        // The connection's own for as long as it lives: it is a task, and moves to no other.
        let task = poll_fn(|cx| Poll::Ready(cx.waker().clone())).await;
        let hearing = wakes::hearing(&task);
        let service = service_fn(|request| face.answer(peer, request, place, Some(&task)));
        // Without a timer the timeout would do nothing.
        let mut http = self.http.clone();
        http.timer(Alarm::default());
        let mut conversation = http.serve_connection(TokioIo::new(Joined(stream)), service).with_upgrades();
        let ended = if let Some(ended) = until_stopped(&mut conversation, stopped, &hearing).await {
            ended
        } else {
            Pin::new(&mut conversation).graceful_shutdown();
            (&mut conversation).await
        };
        let Err(why) = ended else { return };
        tracing::debug!(%peer, %why, "a connection broke off");
        // One that was merely idle is closed; one that began a request is told what became of it.
        if let Some(cut) =
            why.is_timeout().then(|| conversation.into_parts()).flatten().filter(|cut| !cut.read_buf.is_empty())
        {
            let _ = timeout(REFUSAL_TIME, refuse(cut.io.into_inner(), &self.too_slow)).await;
        }
    }
}

/// Runs a conversation to its end, with a waker in front of the task's; `None` when the server stops before. Who waits for the stop
/// stands in a list that all connections share, under a lock: a connection is entered once, and not looked up there again each time
/// that it is polled.
async fn until_stopped<C: Future + Unpin>(
    mut conversation: C,
    mut stopped: watch::Receiver<bool>,
    hearing: &Waker,
) -> Option<C::Output> {
    let seen = stopped.clone();
    // Whatever it says: the one change there is means stop, and so does a server that is gone.
    let mut stops = pin!(stopped.changed());
    let mut entered: Option<Waker> = None;
    poll_fn(|cx| {
        if let Poll::Ready(ended) = Pin::new(&mut conversation).poll(&mut Context::from_waker(hearing)) {
            return Poll::Ready(Some(ended));
        }
        let wakes_us = entered.as_ref().is_some_and(|waker| waker.will_wake(cx.waker()));
        if wakes_us && seen.has_changed().is_ok_and(|changed| !changed) {
            return Poll::Pending;
        }
        entered = Some(cx.waker().clone());
        stops.as_mut().poll(cx).map(|_| None)
    })
    .await
}

/// Whether a client begins as HTTP/2 does in clear. One that has sent nothing when the server stops doesn't.
async fn begins_http2(stream: &TcpStream, mut stopped: watch::Receiver<bool>) -> bool {
    let mut first = [0; HTTP_2.len()];
    let mut pause = LOOK_AGAIN;
    loop {
        let seen = tokio::select! {
            seen = stream.peek(&mut first) => seen.unwrap_or(0),
            _ = stopped.changed() => return false,
        };
        if seen == 0 || first[..seen] != HTTP_2[..seen] {
            return false;
        }
        if seen == HTTP_2.len() {
            return true;
        }
        // What is there already would be looked at again and again; the slower a client is, the more seldom.
        tokio::time::sleep(pause).await;
        pause = longer(pause);
    }
}

fn longer(pause: Duration) -> Duration {
    pause * 2
}

/// A connection whose client has stopped reading holds its place and what waits for it: the system ends it.
#[cfg(target_os = "linux")]
fn bear_no_stall(stream: &TcpStream, at_most: Duration) {
    // A connection that is gone already needs no bound.
    let _ = socket2::SockRef::from(stream).set_tcp_user_timeout(Some(at_most));
}

#[cfg(not(target_os = "linux"))]
fn bear_no_stall(_: &TcpStream, _: Duration) {}

/// An answer as it goes over the wire where hyper writes none: to a connection past the bound, and to headers that don't arrive.
fn in_full(status: u16, reason: &str, reject: &Reject) -> Bytes {
    let mut body = json!({ "error": reject.code(), "message": reject.to_string() });
    let mut more = "";
    if *reject == Reject::Overloaded {
        body["retryAfter"] = 1.into();
        more = "retry-after: 1\r\n";
    }
    let body = body.to_string();
    let head = format!(
        "HTTP/1.1 {status} {reason}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n{more}connection: close\r\n\r\n",
        body.len()
    );
    (head + &body).into()
}

async fn refuse(mut stream: impl AsyncRead + AsyncWrite + Unpin, refusal: &[u8]) -> std::io::Result<()> {
    stream.write_all(refusal).await?;
    stream.shutdown().await?;
    // Closing with bytes unread resets the connection, and the client may then lose the answer: so its request is read,
    // up to a bound, until it closes too.
    let mut unread = HEADERS_MAX;
    let mut scrap = [0; 1024];
    while unread > 0 {
        match stream.read(&mut scrap).await? {
            0 => break,
            read => unread = unread.saturating_sub(read),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_that_stops_within_its_first_word_is_not_looked_at_all_the_time() {
        let patience = ServeOptions::default().header_timeout;
        let (mut waited, mut pause, mut looks) = (Duration::ZERO, LOOK_AGAIN, 1);
        while waited < patience {
            (waited, pause, looks) = (waited + pause, longer(pause), looks + 1);
        }
        assert!((2..20).contains(&looks), "{looks} looks");
    }
}
