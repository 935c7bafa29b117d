//! `GET /api/admin/export`, `GET /api/admin/backup`: everything as of one moment, as it is read. Votes go on meanwhile.
//!
//! A thread that may wait for the disk writes into a short queue that the body is taken from. A client that takes nothing for a
//! minute ends it, as does one that leaves; a body that breaks off is not whole, and its missing last line or frame says so.

use std::convert::Infallible;
use std::io::{self, Write};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Uri};
use hyper::body::Frame;
use tokio::runtime::Handle;
use tokio::sync::mpsc;

use super::App;
use super::admin::check;
use super::query::{Query, invalid};
use super::routes::Refused;
use crate::error::{Fault, Reject};
use crate::jobs::backup::write_backup;
use crate::jobs::export::{Format, Source, stream};

/// Pieces between the reading and the connection.
const PIECES: usize = 8;
/// A client that takes nothing for so long is given up.
const PATIENCE: Duration = Duration::from_mins(1);

/// `GET /api/admin/export?format=jsonl&pseudonymous=1`
pub(super) async fn export(State(app): State<App>, uri: Uri, headers: HeaderMap) -> Result<Response, Refused> {
    check(&app, &headers)?;
    let query = Query::of(&uri);
    let format = match query.get("format")? {
        None => Format::Jsonl,
        Some(given) => Format::of(&given).ok_or_else(|| invalid("format", "jsonl, csv or parquet"))?,
    };
    let pseudonymous = match query.get("pseudonymous")?.as_deref() {
        None | Some("0" | "false") => false,
        Some("1" | "true") => true,
        Some(_) => return Err(invalid("pseudonymous", "1 or 0").into()),
    };
    let source = source(&app).await?;
    let write = move |source: &Source, out: &mut dyn Write| {
        stream(source, source.manifest(format, pseudonymous), out, &mut |_| Ok(())).map(drop)
    };
    Ok(answer(source, "application/x-ndjson", write))
}

/// `GET /api/admin/backup`
pub(super) async fn backup(State(app): State<App>, headers: HeaderMap) -> Result<Response, Refused> {
    check(&app, &headers)?;
    let source = source(&app).await?;
    Ok(answer(source, "application/octet-stream", |source, out| write_backup(source, out).map(drop)))
}

async fn source(app: &App) -> Result<Source, Reject> {
    app.engine().source(app.0.options.secrets.clone()).await
}

fn answer(
    source: Source,
    content_type: &'static str,
    write: impl FnOnce(&Source, &mut dyn Write) -> Result<(), Fault> + Send + 'static,
) -> Response {
    let (sender, pieces) = mpsc::channel(PIECES);
    let handle = Handle::current();
    tokio::task::spawn_blocking(move || {
        let mut out = Pieces { sender, handle };
        if let Err(why) = write(&source, &mut out) {
            tracing::warn!(%why, "an export or backup was not finished");
        }
    });
    let mut response = Response::new(Body::new(Streamed(pieces)));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// Hands what is written to the connection.
struct Pieces {
    sender: mpsc::Sender<Bytes>,
    handle: Handle,
}

impl Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let send = self.sender.send_timeout(Bytes::copy_from_slice(bytes), PATIENCE);
        match self.handle.block_on(send) {
            Ok(()) => Ok(bytes.len()),
            Err(_) => Err(io::Error::new(io::ErrorKind::BrokenPipe, "the client has left or takes nothing")),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

struct Streamed(mpsc::Receiver<Bytes>);

impl hyper::body::Body for Streamed {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(cx).map(|piece| piece.map(|bytes| Ok(Frame::data(bytes))))
    }
}
