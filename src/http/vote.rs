//! `POST` and `DELETE /api/vote`: the path that everything else makes way for.
//!
//! The checks stand in the contract's order: the address's rate → body → identity → the voter's rate → the engine's own.
//! Never waits for anything but the body, a twin with the same idempotency key, and the engine.

use std::borrow::Cow;
use std::net::IpAddr;
use std::panic::resume_unwind;
use std::time::Instant;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, SET_COOKIE};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use schemars::JsonSchema;
use serde::Deserialize;

use super::idempotency::{Idempotency, Kept, Turn};
use super::reply::Whole;
use super::voted::Named;
use super::{App, body, cookie, reply};
use crate::admission::Challenge;
use crate::domain::{Origin, VoteKind, VoterId};
use crate::error::Reject;
use crate::identity::Identified;
use crate::metrics::VoteResult;

const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

/// What is done with a clip.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Act {
    /// Where the vote comes from is [`Act::judged`].
    Cast(Origin),
    Retract,
}

impl Act {
    /// What an idempotency key is scoped to.
    fn route(self) -> &'static str {
        match self {
            Self::Cast(_) => "POST /api/vote",
            Self::Retract => "DELETE /api/vote",
        }
    }

    /// HTTP's method for it.
    pub(super) fn method(self) -> Method {
        match self {
            Self::Cast(_) => Method::POST,
            Self::Retract => Method::DELETE,
        }
    }

    /// Counts a vote that a rate keeps from the engine, which counts the others.
    fn count(self, app: &App, reject: &Reject) {
        if let Self::Cast(_) = self {
            app.engine().metrics().results.count(VoteResult::of(reject));
        }
    }

    /// The same with what the request of a vote shows. Behind the rates: what they refuse is not remembered.
    fn judged(self, app: &App, headers: &HeaderMap, client: IpAddr, who: &Identified, now_ms: u64) -> Self {
        match self {
            Self::Cast(_) => Self::Cast(app.0.risk.judge(headers, client, who.voter, who.sub.is_some(), now_ms)),
            Self::Retract => self,
        }
    }
}

/// Answers a vote or a retraction. `problem`: how the client wants errors.
pub(super) async fn answer(
    app: &App,
    act: Act,
    peer: IpAddr,
    mut headers: HeaderMap,
    body: Incoming,
    problem: bool,
) -> Whole {
    let began = Instant::now();
    let client = app.0.options.trusted_proxies.client(peer, &headers);
    let text = match admitted(app, app.0.admission.address(client)).inspect_err(|reject| act.count(app, reject)) {
        Ok(()) => body::read(&headers, body, app.0.options.body_timeout).await,
        Err(reject) => Err(reject),
    };
    let now_ms = app.now_ms();
    let known = text.and_then(|text| {
        let ballot = Ballot::read(&text)?;
        let who = app.0.identity.resolve(&headers, client, now_ms)?;
        Ok((ballot, who, text))
    });
    let (ballot, mut who, text) = match known {
        Ok(known) => known,
        Err(reject) => return reply::refusal(&reject, problem),
    };
    let mut admitted = admitted(app, app.0.admission.voter(who.voter)).inspect_err(|reject| act.count(app, reject));
    if admitted.is_ok()
        && let (Act::Cast(_), Some(challenge)) = (act, &app.0.options.challenge)
    {
        admitted = challenged(app, challenge, client, &headers, &mut who).await;
    }
    let mut answer = match admitted.and_then(|()| Idempotency::key(&headers)) {
        Err(reject) => reply::refusal(&reject, problem),
        Ok(None) => {
            let act = act.judged(app, &headers, client, &who, now_ms);
            // What was read lies in the connection's buffer, which hyper wants back while it waits: it makes a new one, of 8 KiB, if
            // anything still points into it.
            drop(text);
            if who.set_cookie.is_none() {
                headers = HeaderMap::new();
            }
            engaged(app, act, who.voter, ballot, problem, began).await
        }
        Ok(Some(key)) => {
            let act = act.judged(app, &headers, client, &who, now_ms);
            let (app, key) = (app.clone(), key.to_owned());
            // A task of its own: a client that leaves is the one whose retry asks for this answer.
            let keyed =
                tokio::spawn(async move { keyed(&app, act, who.voter, &key, &text, ballot, problem, began).await });
            keyed.await.unwrap_or_else(|ended| resume_unwind(ended.into_panic()))
        }
    };
    // From the first answer on, whatever it says: the key is fixed now, and the device may move before the next one.
    if let Some(cookie) = who.set_cookie {
        answer.headers_mut().insert(SET_COOKIE, cookie::placed(app, &headers, cookie));
    }
    answer
}

/// Has a device that votes for the first time pass the site's challenge, and pins that it did. Not asked: voters with a token,
/// who passed before, and who has voted, whose cookie may have been lost with the answer.
async fn challenged(
    app: &App,
    challenge: &Challenge,
    client: IpAddr,
    headers: &HeaderMap,
    who: &mut Identified,
) -> Result<(), Reject> {
    let identity = &app.0.identity;
    if who.sub.is_some() || identity.has_passed(headers) || app.engine().has_voted(who.voter) {
        return Ok(());
    }
    let name = app.engine().settings().voter_key.public(who.voter);
    // On the heap: it is far larger than all else that a vote's request holds, and once a device.
    Box::pin(challenge.pass(headers, &name)).await?;
    who.set_cookie = Some(identity.passed(headers, client));
    Ok(())
}

/// Acts under an idempotency key, or gives the answer that was given under it before.
#[expect(
    clippy::too_many_arguments,
    reason = "what a request says, and nothing that belongs together more than all of it"
)]
async fn keyed(
    app: &App,
    act: Act,
    voter: VoterId,
    key: &str,
    text: &[u8],
    ballot: Ballot,
    problem: bool,
    began: Instant,
) -> Whole {
    match app.0.idempotency.turn(voter, act.route(), key, text).await {
        Err(reject) => reply::refusal(&reject, problem),
        Ok(Turn::Again(kept)) => replay(kept),
        Ok(Turn::First(reservation)) => {
            let (answer, kept) = keepable(engaged(app, act, voter, ballot, problem, began).await);
            reservation.keep(kept);
            answer
        }
    }
}

/// Asks the engine and phrases its answer.
async fn engaged(app: &App, act: Act, voter: VoterId, ballot: Ballot, problem: bool, began: Instant) -> Whole {
    let outcome = match act {
        Act::Cast(origin) => app.engine().vote_from(origin, voter, ballot.clip.id(), ballot.kind).await,
        Act::Retract => app.engine().retract(voter, ballot.clip.id()).await,
    };
    match outcome {
        Ok(receipt) => reply::bytes(StatusCode::OK, reply::JSON, ballot.clip.voted(&receipt, began.elapsed())),
        Err(reject) => reply::refusal(&reject, problem),
    }
}

/// Counts what a rate limit refused.
pub(super) fn admitted(app: &App, outcome: Result<(), Reject>) -> Result<(), Reject> {
    outcome.inspect_err(|reject| {
        let metrics = app.engine().metrics();
        if *reject == Reject::Overloaded {
            metrics.overloaded.inc()
        } else {
            metrics.rate_limited.inc()
        };
    })
}

/// What a vote names.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Ballot")]
pub(super) struct Sent<'a> {
    #[serde(borrow)]
    #[schemars(required, length(min = 1), example = "clip-1")]
    clip_id: Option<Cow<'a, str>>,
    /// `standard` where it is left out. A retraction reads it and has no use for it.
    #[serde(borrow)]
    #[schemars(with = "Option<VoteKind>")]
    vote_type: Option<Cow<'a, str>>,
}

struct Ballot {
    clip: Named,
    kind: VoteKind,
}

impl Ballot {
    fn read(text: &[u8]) -> Result<Self, Reject> {
        let sent: Sent<'_> = body::parse(text).map_err(|why| odd_type(text).unwrap_or(why))?;
        let clip = sent.clip_id.filter(|clip| !clip.is_empty()).ok_or(Reject::MissingClipId)?;
        let kind = sent.vote_type.map_or(Ok(VoteKind::default()), |kind| VoteKind::parse(&kind))?;
        Ok(Self { clip: Named::new(&clip), kind })
    }
}

/// A `voteType` that isn't even text is named as such, and not as broken JSON.
fn odd_type(text: &[u8]) -> Option<Reject> {
    let sent: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(text).ok()?;
    let clip_is_text = sent.get("clipId").is_some_and(serde_json::Value::is_string);
    let type_is_odd = sent.get("voteType").is_some_and(|kind| !kind.is_string() && !kind.is_null());
    (clip_is_text && type_is_odd).then_some(Reject::InvalidVoteType)
}

fn keepable(answer: Whole) -> (Whole, Kept) {
    let (parts, body) = answer.into_parts();
    // Of its own size: it is kept for minutes, and was written into a buffer with room to spare.
    let body = Bytes::copy_from_slice(&body.into_inner().unwrap_or_default());
    let content_type = parts.headers.get(CONTENT_TYPE).cloned().unwrap_or(reply::JSON);
    let kept = Kept { status: parts.status, content_type, body: body.clone() };
    (http::Response::from_parts(parts, Full::new(body)), kept)
}

fn replay(kept: Kept) -> Whole {
    let Kept { status, content_type, body } = kept;
    let mut answer = reply::bytes(status, content_type, body);
    answer.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<(String, VoteKind), Reject> {
        Ballot::read(text.as_bytes()).map(|ballot| (ballot.clip.id().to_owned(), ballot.kind))
    }

    #[test]
    fn a_ballot_names_a_clip_and_perhaps_a_kind() {
        let standard = ("clip-1".to_owned(), VoteKind::Standard);
        assert_eq!(read(r#"{"clipId":"clip-1"}"#), Ok(standard.clone()));
        assert_eq!(read(r#"{"clipId":"clip\u002d1","voteType":null,"more":[1]}"#), Ok(standard));
        assert_eq!(read(r#"{"voteType":"mega","clipId":"c"}"#), Ok(("c".into(), VoteKind::Mega)));
    }

    #[test]
    fn what_is_wrong_with_a_ballot_has_a_code() {
        for missing in ["{}", r#"{"clipId":null}"#, r#"{"clipId":""}"#, r#"{"clipid":"x"}"#] {
            assert_eq!(read(missing), Err(Reject::MissingClipId), "{missing}");
        }
        for odd in [r#"{"clipId":"x","voteType":"huge"}"#, r#"{"clipId":"x","voteType":3}"#] {
            assert_eq!(read(odd), Err(Reject::InvalidVoteType), "{odd}");
        }
        for broken in ["", "x", "[\"x\"]", r#"{"clipId":7}"#, r#"{"clipId":"x""#, r#"{"clipId":"a","clipId":"b"}"#] {
            assert!(matches!(read(broken), Err(Reject::InvalidJson(_))), "{broken}");
        }
    }
}
