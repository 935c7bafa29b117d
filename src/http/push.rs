//! The broadcaster's paths: `/app/{key}` becomes a connection of its own, `/apps/{id}/…` are an app's calls. Reads and
//! phrases; the broadcaster decides.

use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::{Method, Request, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::upgrade::{Parts, Upgraded};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

use super::front::Held;
use super::joined::Joined;
use super::reply::Whole;
use super::{App, body, reply};
use crate::error::Reject;
use crate::push::{BODY_MAX, Call, Given, Push};

/// The broadcaster, if there is one and the path is its own.
pub(super) fn takes<'a>(app: &'a App, path: &str) -> Option<&'a Push> {
    let own = path == "/app" || path.starts_with("/app/") || path.starts_with("/apps/");
    app.0.options.push.as_ref().filter(|_| own)
}

/// Answers a request for one of them.
pub(super) async fn answer(
    app: &App,
    push: &Push,
    client: IpAddr,
    mut request: Request<Incoming>,
    held: &Held,
) -> Whole {
    let problem = reply::wants_problem(request.headers());
    let answer = if request.uri().path().starts_with("/apps/") {
        called(app, push, request).await
    } else if request.method() != Method::GET {
        Err(Reject::MethodNotAllowed { allow: "GET" })
    } else {
        push.connect(&mut request, client, Arc::clone(held), taken).map(|answer| answer.map(|()| Full::default()))
    };
    answer.unwrap_or_else(|reject| reply::refusal(&reject, problem))
}

/// Takes a socket back from hyper as [`super::serve`] gave it away.
fn taken(upgraded: Upgraded) -> Option<(Given, Bytes)> {
    match upgraded.downcast::<TokioIo<Joined<TcpStream>>>() {
        Ok(Parts { io, read_buf, .. }) => Some((io.into_inner().0.into(), read_buf)),
        Err(upgraded) => {
            let Parts { io, read_buf, .. } = upgraded.downcast::<TokioIo<Joined<TlsStream<TcpStream>>>>().ok()?;
            Some((io.into_inner().0.into(), read_buf))
        }
    }
}

async fn called(app: &App, push: &Push, request: Request<Incoming>) -> Result<Whole, Reject> {
    let (parts, incoming) = request.into_parts();
    let text = body::read_up_to(BODY_MAX, &parts.headers, incoming, app.0.options.body_timeout).await?;
    let (path, query) = (parts.uri.path(), parts.uri.query().unwrap_or_default());
    let answer = push.call(Call { method: &parts.method, path, query, body: &text }).await?;
    Ok(reply::json(StatusCode::OK, &answer))
}
