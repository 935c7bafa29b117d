//! Errors as the document shows them: status, body and headers of each code, read off the answers that are really given.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use http::{HeaderMap, HeaderName, HeaderValue, header};
use serde_json::{Map, Value, json};

use super::super::front::REQUEST_ID;
use super::super::reply::{self, Whole};
use crate::error::Reject;

/// The codes, for the table of routes.
pub(in crate::http) mod codes {
    macro_rules! codes {
        ($($code:ident)*) => { $(pub(in crate::http) const $code: &str = stringify!($code);)* };
    }
    codes! {
        ALREADY_VOTED BANNED BODY_TOO_LARGE CHALLENGE_FAILED CHALLENGE_REQUIRED CLIP_NOT_FOUND DAILY_LIMIT FORBIDDEN
        IDEMPOTENCY_KEY_REUSED INTERNAL_ERROR INVALID_JSON INVALID_PARAMETER INVALID_SIGNATURE INVALID_TOKEN
        INVALID_VOTE_TYPE MISSING_CLIP_ID NOT_FOUND NOT_READY NOT_VOTED NO_ACTIVE_SLOT OVERLOADED
        RATE_LIMITED REQUEST_IN_FLIGHT REQUEST_TIMEOUT SELF_VOTE SLOT_NOT_FOUND STORAGE_FAILED UNAUTHORIZED
        UNSUPPORTED_MEDIA_TYPE VOTING_CLOSED WRONG_SLOT WRONG_STATE
    }
}

/// What any request can meet.
pub(super) const EVERYWHERE: [&str; 3] = [codes::INTERNAL_ERROR, codes::OVERLOADED, codes::REQUEST_TIMEOUT];

/// What an error's answer is.
#[derive(Clone, PartialEq, Debug)]
pub(in crate::http) struct Error {
    /// Its status.
    pub(super) status: u16,
    /// Headers that it has beside those of every answer.
    pub(super) headers: BTreeSet<String>,
    /// Its body as the contract has it, and as RFC 9457 has it.
    pub(super) plain: Value,
    pub(super) problem: Value,
}

/// Whether there is such a code.
pub(super) fn is_code(code: &str) -> bool {
    ERRORS.contains_key(code)
}

/// The error of a code.
pub(super) fn of(code: &str) -> &'static Error {
    ERRORS.get(code).expect("a route names codes that there are")
}

/// All of them.
pub(super) fn all() -> impl Iterator<Item = (&'static str, &'static Error)> {
    ERRORS.iter().map(|(code, error)| (*code, error))
}

static ERRORS: LazyLock<BTreeMap<&'static str, Error>> = LazyLock::new(|| {
    let mut errors: BTreeMap<&'static str, Error> = BTreeMap::new();
    let mut add = |code: &'static str, answer: &dyn Fn(bool) -> Whole| {
        let (status, headers, plain) = read(answer(false));
        let problem = read(answer(true)).2;
        let error = Error { status, headers, plain: schema(&plain), problem: schema(&problem) };
        match errors.get_mut(code) {
            None => drop(errors.insert(code, error)),
            Some(known) => known.join(error),
        }
    };
    let mut next = Some(Reject::MissingClipId);
    while let Some(reject) = next {
        for shape in shapes(&reject) {
            add(reject.code(), &|problem| reply::refusal(&shape, problem));
        }
        next = behind(&reject);
    }
    let id = HeaderValue::from_static("c0ffee");
    add(codes::INTERNAL_ERROR, &|problem| reply::internal_error(&id, problem));
    errors
});

/// A chain through every reject, by which a new one can't be forgotten: it doesn't compile until it is told what follows it.
fn behind(reject: &Reject) -> Option<Reject> {
    let why = "why".to_owned();
    Some(match reject {
        Reject::MissingClipId => Reject::InvalidJson(why),
        Reject::InvalidJson(_) => Reject::InvalidVoteType,
        Reject::InvalidVoteType => Reject::InvalidParameter { name: "slot", why },
        Reject::InvalidParameter { .. } => Reject::VotingClosed,
        Reject::VotingClosed => Reject::WrongSlot,
        Reject::WrongSlot => Reject::NoActiveSlot,
        Reject::NoActiveSlot => Reject::InvalidToken("why"),
        Reject::InvalidToken(_) => Reject::InvalidSignature("why"),
        Reject::InvalidSignature(_) => Reject::Unauthorized,
        Reject::Unauthorized => Reject::Banned { until: Some(1_700_000_000_000) },
        Reject::Banned { .. } => Reject::ChallengeRequired,
        Reject::ChallengeRequired => Reject::ChallengeFailed { retry_after_s: Some(1) },
        Reject::ChallengeFailed { .. } => Reject::NotSignedIn,
        Reject::NotSignedIn => Reject::NotYours,
        Reject::NotYours => Reject::AppDisabled,
        Reject::AppDisabled => Reject::SelfVote,
        Reject::SelfVote => Reject::ClipNotFound,
        Reject::ClipNotFound => Reject::SlotNotFound,
        Reject::SlotNotFound => Reject::NotVoted,
        Reject::NotVoted => Reject::NotFound,
        Reject::NotFound => Reject::MethodNotAllowed { allow: "GET" },
        Reject::MethodNotAllowed { .. } => Reject::AlreadyVoted("clip-1".into()),
        Reject::AlreadyVoted(_) => Reject::WrongState { state: "locked", why },
        Reject::WrongState { .. } => Reject::RequestInFlight,
        Reject::RequestInFlight => Reject::IdempotencyKeyReused,
        Reject::IdempotencyKeyReused => Reject::RequestTimeout,
        Reject::RequestTimeout => Reject::BodyTooLarge { limit: 16_384 },
        Reject::BodyTooLarge { .. } => Reject::UnsupportedMediaType,
        Reject::UnsupportedMediaType => Reject::RateLimited { retry_after_s: 1 },
        Reject::RateLimited { .. } => Reject::DailyLimit { remaining: 2, reset_at: 1_700_006_400_000 },
        Reject::DailyLimit { .. } => Reject::NotReady { why: "why" },
        Reject::NotReady { .. } => Reject::Overloaded,
        Reject::Overloaded => Reject::StorageFailed,
        Reject::StorageFailed => return None,
    })
}

/// A reject in every shape that its body can take.
fn shapes(reject: &Reject) -> Vec<Reject> {
    let other = match reject {
        Reject::Banned { .. } => Some(Reject::Banned { until: None }),
        Reject::ChallengeFailed { .. } => Some(Reject::ChallengeFailed { retry_after_s: None }),
        _ => None,
    };
    [reject.clone()].into_iter().chain(other).collect()
}

impl Error {
    /// Takes in another shape of the same code: what only one of them has may be missing.
    fn join(&mut self, other: Self) {
        assert_eq!(self.status, other.status, "a code has one status");
        self.headers.extend(other.headers);
        join(&mut self.plain, &other.plain);
        join(&mut self.problem, &other.problem);
    }
}

fn read(answer: Whole) -> (u16, BTreeSet<String>, Value) {
    let (parts, body) = answer.into_parts();
    let body = body.into_inner().expect("an error has a body");
    (parts.status.as_u16(), shown(&parts.headers), serde_json::from_slice(&body).expect("our own JSON"))
}

/// The names of headers that belong to the contract: not those of every answer, nor those of the connection.
pub(in crate::http) fn shown(headers: &HeaderMap) -> BTreeSet<String> {
    let plain = [header::CONTENT_TYPE, header::CONTENT_LENGTH, header::CONNECTION, header::UPGRADE];
    let other = |name: &HeaderName| plain.contains(name) || *name == REQUEST_ID;
    headers.keys().filter(|name| !other(name)).map(|name| name.as_str().to_owned()).collect()
}

/// The schema of a body, from the body.
fn schema(body: &Value) -> Value {
    let fields = body.as_object().expect("an error is an object");
    let field = |(name, value): (&String, &Value)| {
        let schema = match (name.as_str(), value) {
            ("error", _) => json!({ "const": value }),
            (_, Value::String(_)) => json!({ "type": ["string"] }),
            (_, Value::Number(_)) => json!({ "type": ["integer"] }),
            (_, Value::Null) => json!({ "type": ["null"] }),
            other => unreachable!("an error has no field such as {other:?}"),
        };
        (name.clone(), schema)
    };
    let properties: Map<String, Value> = fields.iter().map(field).collect();
    json!({ "type": "object", "required": fields.keys().collect::<Vec<_>>(), "properties": properties })
}

fn join(into: &mut Value, other: &Value) {
    let names = |schema: &Value| -> BTreeSet<String> {
        schema["required"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|name| name.as_str().unwrap_or_default().into())
            .collect()
    };
    let both: Vec<String> = names(into).intersection(&names(other)).cloned().collect();
    into["required"] = json!(both);
    for (name, schema) in other["properties"].as_object().into_iter().flatten() {
        let known = &mut into["properties"][name];
        if known.is_null() {
            *known = schema.clone();
            continue;
        }
        let Some(types) = known.get_mut("type").and_then(Value::as_array_mut) else { continue };
        for one in schema["type"].as_array().into_iter().flatten() {
            if !types.contains(one) {
                types.push(one.clone());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_has_the_status_fields_and_headers_of_its_answers() {
        let limited = of(codes::RATE_LIMITED);
        assert_eq!((limited.status, limited.headers.contains("retry-after")), (429, true));
        assert_eq!(limited.plain["required"], json!(["error", "message", "retryAfter"]));
        assert_eq!(limited.plain["properties"]["error"], json!({ "const": "RATE_LIMITED" }));
        assert_eq!(limited.problem["required"], json!(["detail", "error", "retryAfter", "status", "title", "type"]));
    }

    #[test]
    fn what_only_some_shapes_have_may_be_missing_or_null() {
        let banned = of(codes::BANNED);
        assert_eq!(banned.plain["properties"]["until"], json!({ "type": ["integer", "null"] }));
        let failed = of(codes::CHALLENGE_FAILED);
        assert_eq!(failed.plain["required"], json!(["error", "message"]));
        assert_eq!(failed.plain["properties"]["retryAfter"], json!({ "type": ["integer"] }));
        assert_eq!(failed.plain["properties"]["error"], json!({ "const": "CHALLENGE_FAILED" }));
    }

    #[test]
    fn every_code_is_there() {
        let known: Vec<_> = all().map(|(code, _)| code).collect();
        assert_eq!(known.len(), 33, "{known:?}");
    }
}
