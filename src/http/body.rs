//! Reads a request's body: JSON alone, bounded in bytes and in time. Never looks at what it says.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, header};
use hyper::body::{Body, Frame};
use serde::Deserialize;

use super::wakes;
use crate::error::Reject;

/// Bytes of the largest body that is read.
pub const BODY_MAX: usize = 16 * 1024;

/// The bytes of a body that says it is JSON; an absent body is an empty one.
pub(super) async fn read<B>(headers: &HeaderMap, body: B, within: Duration) -> Result<Bytes, Reject>
where
    B: Body<Data = Bytes> + Unpin,
{
    read_up_to(BODY_MAX, headers, body, within).await
}

/// The same with a bound of the caller's, in bytes.
pub(super) async fn read_up_to<B>(limit: usize, headers: &HeaderMap, body: B, within: Duration) -> Result<Bytes, Reject>
where
    B: Body<Data = Bytes> + Unpin,
{
    let said = headers.get(header::CONTENT_TYPE);
    if said.map_or(!body.is_end_stream(), |said| !is_json(said.as_bytes())) {
        return Err(Reject::UnsupportedMediaType);
    }
    if body.size_hint().lower() > limit as u64 {
        return Err(Reject::BodyTooLarge { limit });
    }
    let mut whole = pin!(collect(limit, body));
    // A body that came with its headers, as nearly all do, is ready at the first poll and needs no timer.
    match poll_fn(|cx| Poll::Ready(whole.as_mut().poll(cx))).await {
        Poll::Ready(done) => done,
        Poll::Pending => tokio::time::timeout(within, whole).await.unwrap_or(Err(Reject::RequestTimeout)),
    }
}

/// Reads an object; whatever else JSON can be is refused, an array too, which serde would take for a struct.
pub(super) fn parse<'a, T: Deserialize<'a>>(text: &'a [u8]) -> Result<T, Reject> {
    if text.iter().find(|byte| !byte.is_ascii_whitespace()) != Some(&b'{') {
        return Err(Reject::InvalidJson("an object was expected".into()));
    }
    serde_json::from_slice(text).map_err(|why| Reject::InvalidJson(why.to_string()))
}

async fn collect<B>(limit: usize, mut body: B) -> Result<Bytes, Reject>
where
    B: Body<Data = Bytes> + Unpin,
{
    let mut whole = Bytes::new();
    let mut joined = BytesMut::new();
    while !body.is_end_stream() {
        let Some(frame) = poll_fn(|cx| frame(&mut body, cx)).await else { break };
        let frame = frame.map_err(|_| Reject::InvalidJson("the body broke off".into()))?;
        let Ok(data) = frame.into_data() else { continue };
        if whole.len() + joined.len() + data.len() > limit {
            return Err(Reject::BodyTooLarge { limit });
        }
        // One frame, the usual case, is passed on as it is.
        if whole.is_empty() && joined.is_empty() {
            whole = data;
        } else {
            joined.extend_from_slice(&std::mem::take(&mut whole));
            joined.extend_from_slice(&data);
        }
    }
    Ok(if joined.is_empty() { whole } else { joined.freeze() })
}

/// The next frame of a body. That one was taken is news to whoever sends it only if there is more to send. For the connection's own
/// task: another's would be woken in its place.
fn frame<B>(body: &mut B, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>>
where
    B: Body<Data = Bytes> + Unpin,
{
    let (frame, woken) = wakes::unheard(|| Pin::new(&mut *body).poll_frame(cx));
    if woken && !(frame.is_ready() && body.is_end_stream()) {
        cx.waker().wake_by_ref();
    }
    frame
}

fn is_json(content_type: &[u8]) -> bool {
    let media = content_type.split(|byte| *byte == b';').next().unwrap_or_default();
    media.trim_ascii().eq_ignore_ascii_case(b"application/json")
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::{Empty, Full};
    use std::collections::VecDeque;
    use std::convert::Infallible;

    const LONG: Duration = Duration::from_mins(1);

    /// A body of several frames that announces no length, and perhaps never ends.
    struct Frames {
        left: VecDeque<&'static [u8]>,
        ends: bool,
    }

    impl Frames {
        fn of(frames: &[&'static [u8]], ends: bool) -> Self {
            Self { left: frames.iter().copied().collect(), ends }
        }
    }

    impl Body for Frames {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            match self.left.pop_front() {
                Some(data) => Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(data))))),
                None if self.ends => Poll::Ready(None),
                None => Poll::Pending,
            }
        }
    }

    fn json_headers() -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, "application/json; charset=utf-8".parse().unwrap());
        headers
    }

    async fn full(headers: &HeaderMap, body: &'static [u8]) -> Result<Bytes, Reject> {
        read(headers, Full::new(Bytes::from_static(body)), LONG).await
    }

    #[tokio::test]
    async fn a_body_must_say_that_it_is_json() {
        assert_eq!(full(&json_headers(), b"{}").await.unwrap(), "{}");
        assert_eq!(full(&HeaderMap::new(), b"{}").await, Err(Reject::UnsupportedMediaType));
        for other in ["text/plain", "application/jsonx", "application/x-www-form-urlencoded", ""] {
            let mut headers = HeaderMap::new();
            headers.insert(header::CONTENT_TYPE, other.parse().unwrap());
            assert_eq!(full(&headers, b"{}").await, Err(Reject::UnsupportedMediaType), "{other}");
        }
        assert_eq!(read(&HeaderMap::new(), Empty::<Bytes>::new(), LONG).await.unwrap(), "");
    }

    #[tokio::test]
    async fn a_body_is_bounded_whether_its_length_is_announced_or_not() {
        static LARGEST: [u8; BODY_MAX] = [b' '; BODY_MAX];
        static LARGER: [u8; BODY_MAX + 1] = [b' '; BODY_MAX + 1];
        assert_eq!(full(&json_headers(), &LARGEST).await.unwrap().len(), BODY_MAX);
        assert_eq!(full(&json_headers(), &LARGER).await, Err(Reject::BodyTooLarge { limit: BODY_MAX }));
        let unannounced = read(&json_headers(), Frames::of(&[&LARGEST, b"x"], true), LONG).await;
        assert_eq!(unannounced, Err(Reject::BodyTooLarge { limit: BODY_MAX }));
    }

    #[tokio::test]
    async fn frames_are_joined_in_order() {
        let frames = Frames::of(&[b"{\"a\"", b":", b"1}"], true);
        assert_eq!(read(&json_headers(), frames, LONG).await.unwrap(), "{\"a\":1}");
    }

    #[tokio::test]
    async fn a_body_that_does_not_come_ends_in_a_timeout() {
        let frames = Frames::of(&[b"{"], false);
        let got = read(&json_headers(), frames, Duration::from_millis(10)).await;
        assert_eq!(got, Err(Reject::RequestTimeout));
    }

    #[test]
    fn an_object_is_read_and_nothing_else() {
        #[derive(Deserialize)]
        struct Named {
            name: String,
        }
        assert_eq!(parse::<Named>(b" {\"name\":\"x\"}").unwrap().name, "x");
        for bad in [&b""[..], b"[\"x\"]", b"null", b"{\"name\":1}", b"{\"name\":\"x\"} y", b"{\"name\":\"\xff\"}", b"{"]
        {
            assert!(matches!(parse::<Named>(bad), Err(Reject::InvalidJson(_))), "{bad:?}");
        }
    }
}
