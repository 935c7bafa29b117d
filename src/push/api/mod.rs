//! `/apps/{id}/…`: what an app's server asks for, signed. Transport-free: a call comes in read, and an answer goes out as
//! JSON. Nothing is looked at before the signature is.

mod auth;
mod channels;
mod events;

use std::borrow::Cow;

use http::Method;
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};

use super::Push;
use super::apps::AppNo;
use super::channel::{Channel, is_user_id};
use crate::error::Reject;
use auth::Query;

pub use channels::Members;
pub use events::{TriggeredBatch, TriggeredEvent};

/// The path in front of an app's id.
const PATH: &str = "/apps/";
/// Bytes of the largest body: ten events of 10 KiB, escaped, and their channels.
pub const BODY_MAX: usize = 256 * 1024;

/// A call of an app's server.
#[derive(Clone, Copy, Debug)]
pub struct Call<'a> {
    /// GET or POST.
    pub method: &'a Method,
    /// The path as it was sent.
    pub path: &'a str,
    /// The query as it was sent.
    pub query: &'a str,
    /// The body; empty when there was none.
    pub body: &'a [u8],
}

impl Push {
    /// Answers a call. An event is in its viewers' queues by then.
    pub async fn call(&self, call: Call<'_>) -> Result<Value, Reject> {
        let (app, parts) = self.app_of(call.path)?;
        let query = Query::parse(call.query)?;
        let signer = &self.0.apps.get(app).signer;
        auth::check(signer, &call, &query, self.0.clock.now_ms())?;
        if self.0.apps.get(app).disabled {
            return Err(Reject::AppDisabled);
        }
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        match parts[..] {
            ["events"] => {
                only(&call, &Method::POST)?;
                self.trigger(app, call.body).await
            }
            ["batch_events"] => {
                only(&call, &Method::POST)?;
                self.trigger_batch(app, call.body).await
            }
            ["channels"] => {
                only(&call, &Method::GET)?;
                self.list(app, &query)
            }
            ["channels", name] => {
                only(&call, &Method::GET)?;
                self.look(app, channel(name)?, &query)
            }
            ["channels", name, "users"] => {
                only(&call, &Method::GET)?;
                self.members(app, channel(name)?)
            }
            ["users", user, "terminate_connections"] => {
                only(&call, &Method::POST)?;
                if !is_user_id(user) {
                    return Err(invalid("user", "1 to 128 bytes"));
                }
                self.0.sockets.terminate(app, user);
                Ok(json!({}))
            }
            _ => Err(Reject::NotFound),
        }
    }

    /// The app that a path names, and what follows it, decoded.
    fn app_of(&self, path: &str) -> Result<(AppNo, Vec<String>), Reject> {
        let decoded = |part: &str| percent_decode_str(part).decode_utf8().map(Cow::into_owned);
        let rest = path.strip_prefix(PATH).ok_or(Reject::NotFound)?;
        let parts: Result<Vec<_>, _> = rest.split('/').map(decoded).collect();
        let mut parts = parts.map_err(|_| invalid("path", "it is not UTF-8"))?;
        let app = self.0.apps.with_id(&parts.remove(0)).ok_or(Reject::NotFound)?;
        Ok((app, parts))
    }
}

fn only(call: &Call<'_>, method: &Method) -> Result<(), Reject> {
    let allow = if method == Method::POST { "POST" } else { "GET" };
    if call.method == method { Ok(()) } else { Err(Reject::MethodNotAllowed { allow }) }
}

fn channel(name: &str) -> Result<Channel<'_>, Reject> {
    let why = "a channel's name is 1 to 164 of A-Z a-z 0-9 _ - = @ , . ;";
    Channel::parse(name).ok_or_else(|| invalid("channel", why))
}

fn invalid(name: &'static str, why: &str) -> Reject {
    Reject::InvalidParameter { name, why: why.into() }
}
