//! Answers: JSON with a status, and the one match that turns a [`Reject`] into HTTP. Never decides what went wrong.

use bytes::Bytes;
use http::header::{ALLOW, CONNECTION, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use http_body_util::Full;
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::error::Reject;

/// The content type of every answer but metrics and problems.
pub(super) const JSON: HeaderValue = HeaderValue::from_static("application/json");
const PROBLEM: &str = "application/problem+json";
/// Seconds after which a client may come again to a server that was at its bound.
const OVERLOADED_RETRY_S: u64 = 1;

/// An answer whose body is at hand.
pub(super) type Whole = Response<Full<Bytes>>;

/// An answer in JSON.
pub(super) fn json(status: StatusCode, body: &impl Serialize) -> Whole {
    let mut text = Vec::with_capacity(256);
    serde_json::to_writer(&mut text, body).expect("our own types always serialise");
    bytes(status, JSON, text.into())
}

/// An answer of these bytes.
pub(super) fn bytes(status: StatusCode, content_type: HeaderValue, body: Bytes) -> Whole {
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    response
}

/// An answer without a body.
pub(super) fn empty(status: StatusCode) -> Whole {
    let mut response = Response::new(Full::default());
    *response.status_mut() = status;
    response
}

/// What OPTIONS answers on a route that takes these methods.
pub(super) fn options(allow: &'static str) -> Whole {
    let mut response = empty(StatusCode::NO_CONTENT);
    response.headers_mut().insert(ALLOW, HeaderValue::from_static(allow));
    response
}

/// Whether the client asked for errors as RFC 9457 writes them.
pub(super) fn wants_problem(headers: &HeaderMap) -> bool {
    let lines = headers.get_all(header::ACCEPT).iter().filter_map(|line| line.to_str().ok());
    lines.flat_map(|line| line.split(',')).any(|range| {
        let mut parts = range.split(';').map(str::trim);
        let named = parts.next().is_some_and(|media| media.eq_ignore_ascii_case(PROBLEM));
        let weight = parts.find_map(|part| part.strip_prefix("q=")).and_then(|weight| weight.parse::<f32>().ok());
        named && weight.is_none_or(|weight| weight > 0.0)
    })
}

/// The answer to a request that was not carried out.
pub(super) fn refusal(reject: &Reject, problem: bool) -> Whole {
    let (status, more) = match reject {
        Reject::MissingClipId
        | Reject::InvalidJson(_)
        | Reject::InvalidVoteType
        | Reject::VotingClosed
        | Reject::WrongSlot
        | Reject::NoActiveSlot => (StatusCode::BAD_REQUEST, Value::Null),
        Reject::InvalidParameter { name, .. } => (StatusCode::BAD_REQUEST, json!({ "parameter": name })),
        Reject::InvalidToken(_) | Reject::InvalidSignature(_) | Reject::Unauthorized | Reject::NotSignedIn => {
            (StatusCode::UNAUTHORIZED, Value::Null)
        }
        Reject::Banned { until } => (StatusCode::FORBIDDEN, json!({ "until": until })),
        Reject::SelfVote | Reject::NotYours | Reject::AppDisabled | Reject::ChallengeRequired => {
            (StatusCode::FORBIDDEN, Value::Null)
        }
        Reject::ChallengeFailed { retry_after_s } => {
            (StatusCode::FORBIDDEN, retry_after_s.map_or(Value::Null, |wait| json!({ "retryAfter": wait })))
        }
        Reject::ClipNotFound | Reject::SlotNotFound | Reject::NotVoted | Reject::NotFound => {
            (StatusCode::NOT_FOUND, Value::Null)
        }
        Reject::MethodNotAllowed { .. } => (StatusCode::METHOD_NOT_ALLOWED, Value::Null),
        Reject::AlreadyVoted(clip) => (StatusCode::CONFLICT, json!({ "clipId": clip })),
        Reject::WrongState { state, .. } => (StatusCode::CONFLICT, json!({ "state": state })),
        Reject::RequestInFlight => (StatusCode::CONFLICT, Value::Null),
        Reject::IdempotencyKeyReused => (StatusCode::UNPROCESSABLE_ENTITY, Value::Null),
        Reject::RequestTimeout => (StatusCode::REQUEST_TIMEOUT, Value::Null),
        Reject::BodyTooLarge { limit } => (StatusCode::PAYLOAD_TOO_LARGE, json!({ "limit": limit })),
        Reject::UnsupportedMediaType => (StatusCode::UNSUPPORTED_MEDIA_TYPE, Value::Null),
        Reject::RateLimited { retry_after_s } => {
            (StatusCode::TOO_MANY_REQUESTS, json!({ "retryAfter": retry_after_s }))
        }
        Reject::DailyLimit { remaining, reset_at } => {
            (StatusCode::TOO_MANY_REQUESTS, json!({ "remaining": remaining, "resetAt": reset_at }))
        }
        Reject::NotReady { .. } | Reject::Overloaded => {
            (StatusCode::SERVICE_UNAVAILABLE, json!({ "retryAfter": OVERLOADED_RETRY_S }))
        }
        Reject::StorageFailed => (StatusCode::SERVICE_UNAVAILABLE, Value::Null),
    };
    let mut response = error(status, reject.code(), &reject.to_string(), more, problem);
    let headers = response.headers_mut();
    match reject {
        Reject::RateLimited { retry_after_s } | Reject::ChallengeFailed { retry_after_s: Some(retry_after_s) } => {
            headers.insert(RETRY_AFTER, HeaderValue::from(*retry_after_s));
        }
        Reject::NotReady { .. } | Reject::Overloaded => {
            headers.insert(RETRY_AFTER, HeaderValue::from(OVERLOADED_RETRY_S));
        }
        Reject::MethodNotAllowed { allow } => {
            headers.insert(ALLOW, HeaderValue::from_static(allow));
        }
        Reject::InvalidToken(_) => {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer error=\"invalid_token\""));
        }
        Reject::Unauthorized | Reject::NotSignedIn => {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        // The rest of such a request is not worth reading.
        Reject::RequestTimeout | Reject::BodyTooLarge { .. } => {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        _ => {}
    }
    response
}

/// The answer when our own code failed: what happened stands in the log, under the request's id.
pub(super) fn internal_error(request_id: &HeaderValue, problem: bool) -> Whole {
    let id = request_id.to_str().unwrap_or_default();
    let message = "something failed inside the server";
    error(StatusCode::INTERNAL_SERVER_ERROR, "INTERNAL_ERROR", message, json!({ "requestId": id }), problem)
}

fn error(status: StatusCode, code: &str, message: &str, more: Value, problem: bool) -> Whole {
    let mut body = Map::new();
    body.insert("error".into(), code.into());
    if problem {
        body.insert("type".into(), "about:blank".into());
        body.insert("title".into(), status.canonical_reason().unwrap_or(code).into());
        body.insert("status".into(), status.as_u16().into());
        body.insert("detail".into(), message.into());
    } else {
        body.insert("message".into(), message.into());
    }
    if let Value::Object(more) = more {
        body.extend(more);
    }
    let mut response = json(status, &body);
    if problem {
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(PROBLEM));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt;

    async fn parts(response: Whole) -> (u16, HeaderMap, Value) {
        let (parts, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        (parts.status.as_u16(), parts.headers, serde_json::from_slice(&body).unwrap())
    }

    fn every_reject() -> Vec<(Reject, u16, &'static str, Value)> {
        let none = json!({});
        vec![
            (Reject::NotReady { why: "x" }, 503, "NOT_READY", json!({"retryAfter": 1})),
            (Reject::MissingClipId, 400, "MISSING_CLIP_ID", none.clone()),
            (Reject::InvalidJson("x".into()), 400, "INVALID_JSON", none.clone()),
            (Reject::InvalidVoteType, 400, "INVALID_VOTE_TYPE", none.clone()),
            (
                Reject::InvalidParameter { name: "slot", why: "x".into() },
                400,
                "INVALID_PARAMETER",
                json!({"parameter": "slot"}),
            ),
            (Reject::VotingClosed, 400, "VOTING_CLOSED", none.clone()),
            (Reject::WrongSlot, 400, "WRONG_SLOT", none.clone()),
            (Reject::NoActiveSlot, 400, "NO_ACTIVE_SLOT", none.clone()),
            (Reject::InvalidToken("x"), 401, "INVALID_TOKEN", none.clone()),
            (Reject::Unauthorized, 401, "UNAUTHORIZED", none.clone()),
            (Reject::Banned { until: Some(5) }, 403, "BANNED", json!({"until": 5})),
            (Reject::NotSignedIn, 401, "UNAUTHORIZED", none.clone()),
            (Reject::SelfVote, 403, "SELF_VOTE", none.clone()),
            (Reject::NotYours, 403, "FORBIDDEN", none.clone()),
            (Reject::AppDisabled, 403, "FORBIDDEN", none.clone()),
            (Reject::ClipNotFound, 404, "CLIP_NOT_FOUND", none.clone()),
            (Reject::SlotNotFound, 404, "SLOT_NOT_FOUND", none.clone()),
            (Reject::ChallengeRequired, 403, "CHALLENGE_REQUIRED", none.clone()),
            (Reject::ChallengeFailed { retry_after_s: None }, 403, "CHALLENGE_FAILED", none.clone()),
            (Reject::ChallengeFailed { retry_after_s: Some(9) }, 403, "CHALLENGE_FAILED", json!({"retryAfter": 9})),
            (Reject::NotVoted, 404, "NOT_VOTED", none.clone()),
            (Reject::NotFound, 404, "NOT_FOUND", none.clone()),
            (Reject::MethodNotAllowed { allow: "GET, HEAD" }, 405, "METHOD_NOT_ALLOWED", none.clone()),
            (Reject::AlreadyVoted("clip-1".into()), 409, "ALREADY_VOTED", json!({"clipId": "clip-1"})),
            (Reject::WrongState { state: "locked", why: "x".into() }, 409, "WRONG_STATE", json!({"state": "locked"})),
            (Reject::RequestInFlight, 409, "REQUEST_IN_FLIGHT", none.clone()),
            (Reject::IdempotencyKeyReused, 422, "IDEMPOTENCY_KEY_REUSED", none.clone()),
            (Reject::RequestTimeout, 408, "REQUEST_TIMEOUT", none.clone()),
            (Reject::BodyTooLarge { limit: 7 }, 413, "BODY_TOO_LARGE", json!({"limit": 7})),
            (Reject::UnsupportedMediaType, 415, "UNSUPPORTED_MEDIA_TYPE", none.clone()),
            (Reject::RateLimited { retry_after_s: 9 }, 429, "RATE_LIMITED", json!({"retryAfter": 9})),
            (
                Reject::DailyLimit { remaining: 2, reset_at: 8 },
                429,
                "DAILY_LIMIT",
                json!({"remaining": 2, "resetAt": 8}),
            ),
            (Reject::Overloaded, 503, "OVERLOADED", json!({"retryAfter": 1})),
            (Reject::StorageFailed, 503, "STORAGE_FAILED", none),
        ]
    }

    #[tokio::test]
    async fn every_reason_has_its_status_code_and_fields() {
        for (reject, status, code, more) in every_reject() {
            let (got, headers, body) = parts(refusal(&reject, false)).await;
            assert_eq!((got, &body["error"]), (status, &json!(code)));
            assert_eq!(headers[CONTENT_TYPE], "application/json");
            let mut expected = json!({"error": code, "message": reject.to_string()});
            expected.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            assert_eq!(body, expected);
        }
    }

    #[tokio::test]
    async fn every_reason_can_be_a_problem_document() {
        for (reject, status, code, more) in every_reject() {
            let (got, headers, body) = parts(refusal(&reject, true)).await;
            assert_eq!(got, status);
            assert_eq!(headers[CONTENT_TYPE], PROBLEM);
            assert_eq!((&body["error"], &body["status"]), (&json!(code), &json!(status)));
            assert_eq!(body["detail"], json!(reject.to_string()));
            assert_eq!((body["type"].as_str(), body["title"].is_string()), (Some("about:blank"), true));
            for (name, value) in more.as_object().unwrap() {
                assert_eq!(&body[name], value);
            }
        }
    }

    #[tokio::test]
    async fn headers_say_when_to_come_again_and_what_is_allowed() {
        let headers = |reject: Reject| refusal(&reject, false).headers().clone();
        assert_eq!(headers(Reject::RateLimited { retry_after_s: 9 })[RETRY_AFTER], "9");
        assert_eq!(headers(Reject::Overloaded)[RETRY_AFTER], "1");
        assert_eq!(headers(Reject::MethodNotAllowed { allow: "GET, HEAD" })[ALLOW], "GET, HEAD");
        assert_eq!(headers(Reject::Unauthorized)[WWW_AUTHENTICATE], "Bearer");
        assert_eq!(headers(Reject::BodyTooLarge { limit: 1 })[CONNECTION], "close");
        assert!(headers(Reject::StorageFailed).get(RETRY_AFTER).is_none());
    }

    #[tokio::test]
    async fn an_internal_error_says_its_request_and_nothing_else() {
        let (status, _, body) = parts(internal_error(&HeaderValue::from_static("r-1"), false)).await;
        assert_eq!(status, 500);
        let expected = json!({
            "error": "INTERNAL_ERROR", "message": "something failed inside the server", "requestId": "r-1"
        });
        assert_eq!(body, expected);
    }

    #[test]
    fn a_problem_document_is_sent_to_who_asks_for_one() {
        let asks = |accept: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT, accept.parse().unwrap());
            wants_problem(&headers)
        };
        for yes in [PROBLEM, "application/json, application/problem+json;q=0.5", "Application/Problem+JSON"] {
            assert!(asks(yes), "{yes}");
        }
        for no in ["*/*", "application/json", "application/problem+json;q=0", "", "application/problem+jsonx"] {
            assert!(!asks(no), "{no}");
        }
        assert!(!wants_problem(&HeaderMap::new()));
    }
}
