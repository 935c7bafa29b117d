//! `/app/{key}`: from a request to a connection. Whoever speaks WebSocket is let in first, and told by a close code why it
//! can't stay: a browser sees no other answer, and a client that sees none comes back for ever.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use hyper::upgrade::{OnUpgrade, Upgraded};
use percent_encoding::percent_decode_str;
use tokio::runtime::Handle;
use tokio_tungstenite::tungstenite::handshake::server::create_response_with_body;

use super::Push;
use super::apps::AppNo;
use super::close;
use super::connection::Connection;
use super::pumps::Pumps;
use super::session::Session;
use super::socket::Given;
use crate::error::Reject;

/// The path in front of a key.
const PATH: &str = "/app/";
/// Versions of the protocol that are spoken: what a server sends is the same in all of them.
const VERSIONS: std::ops::RangeInclusive<u32> = 5..=7;
/// How long hyper may take to hand the socket over.
const HANDOVER: Duration = Duration::from_secs(10);

/// Takes the socket, and what was read from it, out of what the server that was asked has wrapped it in; `None` if it is none of that
/// server's.
pub type Taken = fn(Upgraded) -> Option<(Given, Bytes)>;

impl Push {
    /// The answer to a request for a connection, which then runs by itself. `held` is dropped at its end.
    pub fn connect<B, H: Send + 'static>(
        &self,
        request: &mut Request<B>,
        client: IpAddr,
        held: H,
        taken: Taken,
    ) -> Result<Response<()>, Reject> {
        let answer = create_response_with_body(request, || ());
        let answer = answer.map_err(|why| Reject::InvalidParameter { name: "upgrade", why: why.to_string() })?;
        let admitted = self.admit(request);
        let place = self.0.sockets.enter(client, admitted.ok());
        let push = self.clone();
        let socket = hyper::upgrade::on(request);
        tokio::spawn(async move {
            // Both go at the connection's end, the place last: the server's end waits for it.
            let _held = (held, &place);
            let Some((socket, read)) = handed_over(socket, taken).await else { return };
            let options = &push.0.options;
            let session = match (&admitted, &place) {
                (Err(refused), _) | (Ok(_), Err(refused)) => Err(*refused),
                _ if push.0.sockets.is_closing() => Err((close::STOPPING, close::STOPPING_WHY)),
                (Ok(app), Ok(_)) => Ok(Session::new(push.clone(), *app)),
            };
            let pumps = push.0.pumps.get_or_init(|| Arc::new(Pumps::new(Handle::current())));
            let connection = Connection::new(socket, &read, options, pumps, session);
            // What hyper read it into.
            drop(read);
            connection.run().await;
        });
        Ok(answer)
    }

    /// The app that a connection is for, or why it can't stay.
    fn admit<B>(&self, request: &Request<B>) -> Result<AppNo, (u16, &'static str)> {
        let key = request.uri().path().strip_prefix(PATH).filter(|key| !key.is_empty() && !key.contains('/'));
        let key = key.ok_or((close::NO_SUCH_PATH, "the path must be /app/ and the app's key"))?;
        let key = percent_decode_str(key).decode_utf8_lossy();
        let app = self.0.apps.with_key(&key).ok_or((close::NO_SUCH_KEY, "there is no app with this key"))?;
        if self.0.apps.get(app).disabled {
            return Err((close::DISABLED, "this app is switched off"));
        }
        let query = request.uri().query().unwrap_or_default();
        let version = query.split('&').find_map(|pair| pair.strip_prefix("protocol="));
        let version = version.filter(|version| !version.is_empty());
        let version = version.ok_or((close::NO_VERSION, "the query must have protocol=7"))?;
        let version = version.parse().map_err(|_| (close::BAD_VERSION, "the protocol's version must be a number"))?;
        if !VERSIONS.contains(&version) {
            return Err((close::OTHER_VERSION, "the protocol's version here is 7"));
        }
        let origins = &self.0.options.allowed_origins;
        // Pages can't hide their origin; whatever else connects could say anything.
        if let Some(origin) = request.headers().get(http::header::ORIGIN).filter(|_| !origins.is_empty()) {
            let listed = |listed: &String| origin.as_bytes().eq_ignore_ascii_case(listed.as_bytes());
            if !origins.iter().any(listed) {
                return Err((close::UNAUTHORISED, "this origin is not one of those that may connect"));
            }
        }
        Ok(app)
    }
}

/// The socket itself, and what was read from it.
async fn handed_over(socket: OnUpgrade, taken: Taken) -> Option<(Given, Bytes)> {
    let upgraded = tokio::time::timeout(HANDOVER, socket).await.ok()?.ok()?;
    taken(upgraded)
}
