//! `GET /api/stream?channels=a,b`: what is pushed to public channels, as server-sent events.
//!
//! The connection is a viewer of the hub like any other; the response's body takes from its queue. Ordered events carry
//! their position as `id:`, so an `EventSource` that comes back says in `Last-Event-ID` where it was. Never decides what
//! was missed.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use bytes::{Bytes, BytesMut};
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue, Uri};
use hyper::body::Frame as BodyFrame;
use tokio::time::{Instant, Sleep, sleep};

use super::App;
use super::query::{Query, invalid};
use super::routes::Refused;
use crate::error::Reject;
use crate::hub::{Frame, Position, Refusal, Subscribe, Viewer, names};

/// Channels of one stream.
const CHANNELS_MAX: usize = 100;
/// Bytes taken from the queue at once: what the connection holds beside it.
const TAKE: usize = 16 * 1024;
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
const ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");
/// A client whose stream broke comes back after one to three seconds: not all at once.
const RETRY_MS: u64 = 1_000;
const RETRY_SPREAD_MS: u64 = 2_000;
/// When the server stops, streams end over so much time for each that there is, at most over the whole spread.
const END_EACH: Duration = Duration::from_millis(1);

/// How streams are held.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct StreamOptions {
    /// After so long without an event a comment is sent, so that nobody on the way takes the connection for dead.
    pub heartbeat: Duration,
    /// Over how long streams end at most when the server stops.
    pub spread: Duration,
}

impl Default for StreamOptions {
    fn default() -> Self {
        Self { heartbeat: Duration::from_secs(15), spread: Duration::from_secs(5) }
    }
}

/// `GET /api/stream`
pub(super) async fn stream(State(app): State<App>, uri: Uri, headers: HeaderMap) -> Result<Response, Refused> {
    let query = Query::of(&uri);
    let list = query.get("channels")?.ok_or_else(|| invalid("channels", "names of channels, separated by commas"))?;
    let channels = channels(&list)?;
    let since = since(query, &headers)?;

    let hub = app.engine().hub();
    let mut viewer = hub.viewer();
    // Without a position of its own it begins here: what comes while it is still subscribing is in the histories.
    let from = since.unwrap_or_else(|| hub.position());
    for channel in channels {
        let wish = Subscribe { since: Some(from), last: since.is_none(), ..Subscribe::to(channel) };
        viewer.subscribe(&wish, |_| None).map_err(|refusal| match refusal {
            Refusal::Full => Reject::Overloaded,
            // The list names each once.
            Refusal::TooManyChannels | Refusal::AlreadySubscribed => invalid("channels", "too many channels"),
        })?;
    }
    viewer.in_one_order();

    let options = app.0.options.stream;
    let retry = RETRY_MS + part(&viewer, RETRY_SPREAD_MS);
    // A new client knows at once where it is; one that comes back knows no more than it did until it is told.
    let opening = match since {
        None => format!("retry: {retry}\nid: {from}\n\n"),
        Some(_) => format!("retry: {retry}\n\n"),
    };
    let body = Events {
        opening: Some(opening.into()),
        stop: Box::pin(stop(app.clone(), part(&viewer, 1_000))),
        viewer,
        taken: Vec::new(),
        heartbeat: Box::pin(sleep(options.heartbeat)),
        every: options.heartbeat,
    };
    let mut response = Response::new(Body::new(body));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // Proxies that hold answers back until they are whole would hold this one for ever.
    headers.insert(ACCEL_BUFFERING, HeaderValue::from_static("no"));
    Ok(response)
}

/// The names of a list, each once; all of them names of channels that anyone may view. One that has a comma can't be in it.
fn channels(list: &str) -> Result<Vec<&str>, Reject> {
    let mut channels: Vec<&str> = Vec::new();
    for name in list.split(',').map(str::trim).filter(|name| !name.is_empty()) {
        if !names::is_valid(name) {
            return Err(invalid("channels", "a name is 1 to 164 of A-Z a-z 0-9 _ - = @ . ;"));
        }
        if !names::is_public(name) {
            return Err(invalid("channels", "private and presence channels need /app, where they are authorised"));
        }
        if !channels.contains(&name) {
            channels.push(name);
        }
        if channels.len() > CHANNELS_MAX {
            return Err(invalid("channels", "at most 100 channels"));
        }
    }
    if channels.is_empty() {
        return Err(invalid("channels", "names of channels, separated by commas"));
    }
    Ok(channels)
}

/// Where the client was: what an `EventSource` says when it comes back, else what its page says when it begins.
fn since(query: Query<'_>, headers: &HeaderMap) -> Result<Option<Position>, Reject> {
    if let Some(last) = headers.get(LAST_EVENT_ID).filter(|last| !last.is_empty()) {
        // One that is none of ours is before everything: a refusal would keep the client away for good.
        let known = last.to_str().ok().and_then(|text| text.parse().ok());
        return Ok(Some(known.unwrap_or_default()));
    }
    let since = query.get("since")?;
    since.map(|text| text.parse().map_err(|_| invalid("since", "a position, such as 57.0"))).transpose()
}

/// A part of something that differs from viewer to viewer: 0 to `whole`, less one.
fn part(viewer: &Viewer, whole: u64) -> u64 {
    // Numbers in a row fall far apart.
    (viewer.id().0.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) % whole
}

/// Ready when the server stops and it is this stream's turn. `turn`: 0 to 999.
async fn stop(app: App, turn: u64) {
    app.drained().await;
    let streams = u32::try_from(app.engine().hub().viewers()).unwrap_or(u32::MAX);
    let over = END_EACH.saturating_mul(streams).min(app.0.options.stream.spread);
    sleep(over.mul_f64(f64::from(u32::try_from(turn).unwrap_or(0)) / 1_000.0)).await;
}

/// The body: events as they come, a comment when none does, until the client goes, falls behind, or the server stops.
struct Events {
    opening: Option<Bytes>,
    viewer: Viewer,
    /// Empty between two calls; kept for its memory.
    taken: Vec<Arc<Frame>>,
    heartbeat: Pin<Box<Sleep>>,
    every: Duration,
    stop: Pin<Box<dyn Future<Output = ()> + Send>>,
}

impl hyper::body::Body for Events {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<BodyFrame<Bytes>, Infallible>>> {
        let me = &mut *self;
        if let Some(opening) = me.opening.take() {
            return Poll::Ready(Some(Ok(BodyFrame::data(opening))));
        }
        if me.stop.as_mut().poll(cx).is_ready() {
            // What still waits is in the histories, and the client says where it was.
            return Poll::Ready(None);
        }
        while let Poll::Ready(took) = me.viewer.outbox().poll_take(cx, &mut me.taken, TAKE) {
            if took.is_err() {
                return Poll::Ready(None);
            }
            let text = joined(&me.taken);
            me.taken.clear();
            // What is for WebSocket alone has no text.
            if !text.is_empty() {
                me.heartbeat.as_mut().reset(Instant::now() + me.every);
                return Poll::Ready(Some(Ok(BodyFrame::data(text))));
            }
        }
        if me.heartbeat.as_mut().poll(cx).is_ready() {
            me.heartbeat.as_mut().reset(Instant::now() + me.every);
            return Poll::Ready(Some(Ok(BodyFrame::data(Bytes::from_static(b":\n\n")))));
        }
        Poll::Pending
    }
}

/// One event is passed on as it is shared; several leave in one piece.
fn joined(frames: &[Arc<Frame>]) -> Bytes {
    if let [one] = frames {
        return one.stream().clone();
    }
    let mut text = BytesMut::with_capacity(frames.iter().map(|frame| frame.stream().len()).sum());
    for frame in frames {
        text.extend_from_slice(frame.stream());
    }
    text.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_has_public_names_each_once_and_at_most_a_hundred() {
        assert_eq!(channels("clip-1, room,clip-1,").unwrap(), ["clip-1", "room"]);
        for bad in
            ["", ",", "a b", "clip/1", "private-x", "presence-x", "private-encrypted-x", "#server-to-user-1", "ä"]
        {
            assert!(channels(bad).is_err(), "{bad:?}");
        }
        let many: Vec<String> = (0..101).map(|n| format!("c{n}")).collect();
        assert_eq!(channels(&many[..100].join(",")).unwrap().len(), 100);
        assert!(channels(&many.join(",")).is_err());
    }

    #[test]
    fn a_position_comes_from_the_header_and_else_from_the_query() {
        let since_of = |uri: &str, header: Option<&str>| {
            let uri: Uri = uri.parse().unwrap();
            let mut headers = HeaderMap::new();
            if let Some(header) = header {
                headers.insert(LAST_EVENT_ID, header.parse().unwrap());
            }
            since(Query::of(&uri), &headers)
        };
        let at = |seq, n| Ok(Some(Position { seq, n }));
        assert_eq!(since_of("/x", None), Ok(None));
        assert_eq!(since_of("/x?since=5.1", None), at(5, 1));
        assert_eq!(since_of("/x?since=5.1", Some("")), at(5, 1));
        assert_eq!(since_of("/x?since=5.1", Some("7.0")), at(7, 0));
        assert_eq!(since_of("/x", Some("none of ours")), at(0, 0));
        assert!(since_of("/x?since=5", None).is_err());
    }
}
