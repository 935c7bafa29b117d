//! Answers that are made while they are sent: a thread of its own reads the disk and writes into a short queue that the body is
//! taken from. Never holds more than that queue, whatever there is to send.
//!
//! A client that takes nothing for a minute ends it, as does one that leaves. What ends before all of it was written breaks the
//! connection off, so that nobody takes a part for the whole.

use std::io::{self, Write};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http::HeaderValue;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use hyper::body::Frame;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::error::Fault;

/// Pieces between the reading and the connection.
const PIECES: usize = 8;
/// A client that takes nothing for so long is given up.
const PATIENCE: Duration = Duration::from_mins(1);

/// An answer of what `write` writes. `what`: what the log calls it. `within`: so long it may take in all.
pub(super) fn answer(
    what: &'static str,
    content_type: &'static str,
    within: Option<Duration>,
    write: impl FnOnce(&mut dyn Write) -> Result<(), Fault> + Send + 'static,
) -> Response {
    let (sender, pieces) = mpsc::channel(PIECES);
    let until = within.map(|within| Instant::now() + within);
    let mut out = Pieces { sender, handle: Handle::current(), until };
    tokio::task::spawn_blocking(move || match write(&mut out) {
        // Without it the body counts as broken off. Nobody is there to miss it where it can't be sent.
        Ok(()) => drop(out.send(Piece::End)),
        Err(why) => tracing::warn!(%why, "{what} was not finished"),
    });
    let mut response = Response::new(Body::new(Streamed { pieces, ended: false }));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

enum Piece {
    Bytes(Bytes),
    End,
}

/// Hands what is written to the connection.
struct Pieces {
    sender: mpsc::Sender<Piece>,
    handle: Handle,
    until: Option<Instant>,
}

impl Pieces {
    fn send(&self, piece: Piece) -> io::Result<()> {
        let left = self.until.map_or(PATIENCE, |until| until.saturating_duration_since(Instant::now()));
        let sent = self.handle.block_on(self.sender.send_timeout(piece, left.min(PATIENCE)));
        sent.map_err(|_| io::Error::new(io::ErrorKind::BrokenPipe, "the client has left, or takes too long"))
    }
}

impl Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.send(Piece::Bytes(Bytes::copy_from_slice(bytes)))?;
        Ok(bytes.len())
    }

    /// Fails when nobody reads any more: for whoever looks for long before there is something to write.
    fn flush(&mut self) -> io::Result<()> {
        if self.sender.is_closed() {
            return Err(io::Error::new(io::ErrorKind::BrokenPipe, "the client has left"));
        }
        Ok(())
    }
}

struct Streamed {
    pieces: mpsc::Receiver<Piece>,
    ended: bool,
}

impl hyper::body::Body for Streamed {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        self.pieces.poll_recv(cx).map(|piece| match piece {
            Some(Piece::Bytes(bytes)) => Some(Ok(Frame::data(bytes))),
            other => {
                self.ended = true;
                let broken = || io::Error::other("what was being sent broke off");
                if other.is_some() { None } else { Some(Err(broken())) }
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    async fn sent(write: impl FnOnce(&mut dyn Write) -> Result<(), Fault> + Send + 'static) -> Option<Bytes> {
        let answer = answer("a test's answer", "text/plain", None, write);
        answer.into_body().collect().await.ok().map(http_body_util::Collected::to_bytes)
    }

    #[tokio::test]
    async fn what_is_written_comes_whole_or_breaks_off() {
        let many = |out: &mut dyn Write| -> Result<(), Fault> {
            (0..100).for_each(|_| out.write_all(&[b'x'; 1000]).unwrap());
            Ok(())
        };
        assert_eq!(sent(many).await.unwrap().len(), 100_000);
        assert_eq!(sent(|_| Ok(())).await.unwrap(), "");
        let breaks = |out: &mut dyn Write| {
            out.write_all(b"begun").unwrap();
            Err(Fault::Latched("on purpose".into()))
        };
        assert_eq!(sent(breaks).await, None);
    }

    #[tokio::test]
    async fn who_has_left_or_takes_too_long_ends_the_reading() {
        let (told, ended) = tokio::sync::oneshot::channel();
        let write = move |out: &mut dyn Write| -> Result<(), Fault> {
            while out.flush().is_ok() {
                std::thread::yield_now();
            }
            told.send(out.write_all(b"x").is_err()).unwrap();
            Ok(())
        };
        drop(answer("a test's answer", "text/plain", None, write));
        assert!(ended.await.unwrap());

        let (told, ended) = tokio::sync::oneshot::channel();
        let write = move |out: &mut dyn Write| -> Result<(), Fault> {
            let written = (0..=PIECES).take_while(|_| out.write_all(b"x").is_ok()).count();
            told.send(written).unwrap();
            Err(Fault::Latched("on purpose".into()))
        };
        let slow = answer("a test's answer", "text/plain", Some(Duration::from_millis(1)), write);
        assert!(ended.await.unwrap() <= PIECES, "what the queue holds, and no more");
        drop(slow);
    }
}
