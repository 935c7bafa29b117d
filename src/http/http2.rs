//! HTTP/2 on a connection: hyper's, with what it has no time limits for. A connection on which nothing moves and nothing waits for
//! this server, no request, no answer, is asked to leave and then dropped, and so is a single stream of which the peer takes nothing,
//! see `streams`; pings find a peer that is gone. Never reads a request itself.

use std::net::IpAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::front::{Body, Held};
use super::serve::HEADERS_MAX;
use super::streams::{self, Streams};
use super::testing::Face;

/// Requests under way at once on a connection. A browser's page needs a few dozen.
const STREAMS_MAX: u32 = 100;
/// Bytes that a peer may send of one body, and of all on a connection, before any of it is read: no body is larger than the first.
const STREAM_WINDOW: u32 = 64 * 1024;
const CONNECTION_WINDOW: u32 = 256 * 1024;
/// Bytes that hyper may hold of one answer that isn't taken.
const SEND_MAX: usize = 64 * 1024;
/// Bytes of an answer that hyper is given at once: a frame. What it was given it holds until the client takes it.
const PART: usize = 16 * 1024;
/// A peer that sent nothing for so long is asked for a sign of life; how long that may take.
const PING_EVERY: Duration = Duration::from_secs(20);
const PING_WITHIN: Duration = Duration::from_secs(20);

/// What all connections share. A stream is cut once its client has taken nothing of the answer for `stall`.
pub(super) fn builder(stall: Duration) -> http2::Builder<Streams> {
    let mut http = http2::Builder::new(Streams::new(stall));
    http.timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS_MAX)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_header_list_size(u32::try_from(HEADERS_MAX).expect("a few KiB"))
        .max_send_buf_size(SEND_MAX)
        .keep_alive_interval(PING_EVERY)
        .keep_alive_timeout(PING_WITHIN);
    http
}

/// Serves a connection to its end: until the peer leaves, nothing has moved for `quiet` twice, or the server has stopped and
/// what is under way is done.
pub(super) async fn converse<S>(
    http: &http2::Builder<Streams>,
    stream: S,
    (peer, face, held): (IpAddr, Arc<Face>, Held),
    quiet: Duration,
    mut stopped: watch::Receiver<bool>,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let pulse = Arc::new(Pulse::new());
    let service = {
        let pulse = Arc::clone(&pulse);
        service_fn(move |request| {
            let (face, held, busy) = (Arc::clone(&face), Arc::clone(&held), Busy::new(&pulse));
            async move {
                let answer = face.answer(peer, request, &held, None).await;
                let beating = |body| Beating { body, rest: Bytes::new(), pulse: Arc::clone(&busy.0), waited_for: None };
                answer.map(|answer| answer.map(beating))
            }
        })
    };
    let mut conversation = pin!(http.serve_connection(TokioIo::new(stream), service));
    let (mut stopping, mut asked) = (false, None);
    loop {
        let last = pulse.last();
        tokio::select! {
            biased;
            ended = &mut conversation => {
                if let Err(why) = ended {
                    tracing::debug!(%peer, %why, "a connection broke off");
                }
                return;
            }
            _ = stopped.changed(), if !stopping => {
                stopping = true;
                conversation.as_mut().graceful_shutdown();
            }
            () = sleep_until(asked.unwrap_or(last) + quiet) => {
                if pulse.is_busy() {
                    pulse.beat();
                    asked = None;
                } else if asked.is_some() && pulse.last() == last {
                    return;
                } else if pulse.last() == last {
                    asked = Some(Instant::now());
                    conversation.as_mut().graceful_shutdown();
                } else {
                    asked = None;
                }
            }
        }
    }
}

/// When something last moved on a connection.
#[derive(Debug)]
struct Pulse {
    began: Instant,
    /// Milliseconds since it began.
    last: AtomicU64,
    /// Requests that are being answered, and answers whose next part isn't there yet.
    busy: AtomicUsize,
}

impl Pulse {
    fn new() -> Self {
        Self { began: Instant::now(), last: AtomicU64::new(0), busy: AtomicUsize::new(0) }
    }

    fn beat(&self) {
        let passed = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last.store(passed, Ordering::Relaxed);
    }

    fn last(&self) -> Instant {
        self.began + Duration::from_millis(self.last.load(Ordering::Relaxed))
    }

    fn is_busy(&self) -> bool {
        self.busy.load(Ordering::Relaxed) > 0
    }
}

/// A peer that waits for this server.
struct Busy(Arc<Pulse>);

impl Busy {
    fn new(pulse: &Arc<Pulse>) -> Self {
        pulse.busy.fetch_add(1, Ordering::Relaxed);
        pulse.beat();
        Self(Arc::clone(pulse))
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.busy.fetch_sub(1, Ordering::Relaxed);
        self.0.beat();
    }
}

/// An answer's body, each frame of which that is taken shows that the peer is there. While there is none to take, a stream
/// without news, an export that sorts, it is not the peer that is quiet.
struct Beating {
    body: Body,
    /// Of the last frame, what wasn't given yet.
    rest: Bytes,
    pulse: Arc<Pulse>,
    waited_for: Option<Busy>,
}

impl HttpBody for Beating {
    type Data = Bytes;
    type Error = <Body as HttpBody>::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let frame = if self.rest.is_empty() {
            let frame = Pin::new(&mut self.body).poll_frame(cx);
            frame.map_ok(|frame| self.part_of(frame))
        } else {
            let part = self.rest.len().min(PART);
            Poll::Ready(Some(Ok(Frame::data(self.rest.split_to(part)))))
        };
        if frame.is_pending() {
            streams::is_ours();
            if self.waited_for.is_none() {
                self.waited_for = Some(Busy::new(&self.pulse));
            }
        } else {
            streams::is_clients();
            if self.waited_for.take().is_none() {
                self.pulse.beat();
            }
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (of_body, rest) = (self.body.size_hint(), self.rest.len() as u64);
        let mut hint = SizeHint::new();
        hint.set_lower(of_body.lower() + rest);
        if let Some(upper) = of_body.upper() {
            hint.set_upper(upper + rest);
        }
        hint
    }
}

impl Beating {
    /// As much of a frame as is given at once; the rest stays here.
    fn part_of(&mut self, frame: Frame<Bytes>) -> Frame<Bytes> {
        if frame.data_ref().is_none_or(|data| data.len() <= PART) {
            return frame;
        }
        let Ok(mut data) = frame.into_data() else { unreachable!("it has data") };
        let part = data.split_to(PART);
        self.rest = data;
        Frame::data(part)
    }
}
