//! Reads beside the slot's list: counts of many clips, and what the asking voter has done and may still do.
//!
//! The private ones identify the voter and make no device known: none of these sets a cookie.

use std::collections::BTreeMap;

use axum::Extension;
use axum::extract::State;
use http::header::CACHE_CONTROL;
use http::{HeaderMap, HeaderValue, StatusCode, Uri};
use schemars::JsonSchema;
use serde::Serialize;

use super::App;
use super::front::Client;
use super::query::{Query, invalid};
use super::reply::{self, Whole};
use super::routes::Outcome;
use super::view::CountsBody;
use crate::domain::ClipId;
use crate::error::Reject;

const IDS_MAX: usize = 100;
pub(super) const PRIVATE: HeaderValue = HeaderValue::from_static("private, no-store");
const REVALIDATE: HeaderValue = HeaderValue::from_static("no-cache");

/// Counts of clips by their ids.
#[derive(Serialize, JsonSchema)]
pub(super) struct CountsOf<'a> {
    counts: BTreeMap<&'a str, CountsBody>,
}

/// What the asking voter has done and may still do.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Mine {
    /// Those of the clips asked for that a vote of the voter stands for.
    voted: Vec<ClipId>,
    /// Weight that is left today.
    remaining: u32,
    /// The next UTC midnight, Unix milliseconds.
    reset_at: u64,
}

/// What the asking voter may still do today.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Limit {
    /// Whether anything is left.
    allowed: bool,
    /// Weight used today.
    current: u32,
    /// Weight that is left today.
    remaining: u32,
    /// The next UTC midnight, Unix milliseconds.
    reset_at: u64,
}

/// `GET /api/vote/counts?clipIds=a,b`
pub(super) async fn counts(State(app): State<App>, uri: Uri) -> Outcome {
    let list = clip_ids(&uri)?;
    let mut counts = BTreeMap::new();
    for id in ids(&list)? {
        match app.engine().counts(id) {
            Ok(found) => drop(counts.insert(id, CountsBody::from(found))),
            Err(Reject::ClipNotFound) => {}
            Err(other) => return Err(other.into()),
        }
    }
    let mut answer = reply::json(StatusCode::OK, &CountsOf { counts });
    answer.headers_mut().insert(CACHE_CONTROL, REVALIDATE);
    Ok(answer)
}

/// `GET /api/vote/mine?clipIds=a,b`
pub(super) async fn mine(
    State(app): State<App>,
    Extension(client): Extension<Client>,
    uri: Uri,
    headers: HeaderMap,
) -> Outcome {
    let list = clip_ids(&uri)?;
    let ids = ids(&list)?;
    let voter = app.0.identity.look(&headers, client.0, app.now_ms())?;
    let voted = app.engine().voted(voter, &ids);
    let left = app.engine().allowance(voter);
    let body = Mine { voted, remaining: left.remaining, reset_at: left.reset_at };
    Ok(private(reply::json(StatusCode::OK, &body)))
}

/// `GET /api/vote/limit`
pub(super) async fn limit(State(app): State<App>, Extension(client): Extension<Client>, headers: HeaderMap) -> Outcome {
    let voter = app.0.identity.look(&headers, client.0, app.now_ms())?;
    let left = app.engine().allowance(voter);
    let body =
        Limit { allowed: left.remaining > 0, current: left.used, remaining: left.remaining, reset_at: left.reset_at };
    Ok(private(reply::json(StatusCode::OK, &body)))
}

pub(super) fn private(mut answer: Whole) -> Whole {
    answer.headers_mut().insert(CACHE_CONTROL, PRIVATE);
    answer
}

pub(super) fn clip_ids(uri: &Uri) -> Result<String, Reject> {
    let list = Query::of(uri).get("clipIds")?;
    list.map(std::borrow::Cow::into_owned).ok_or_else(|| invalid("clipIds", "clip ids, separated by commas"))
}

/// The ids of a list, each once, in the list's order.
pub(super) fn ids(list: &str) -> Result<Vec<&str>, Reject> {
    let mut ids: Vec<&str> = Vec::new();
    for id in list.split(',').map(str::trim).filter(|id| !id.is_empty()) {
        if !ids.contains(&id) {
            ids.push(id);
        }
        // Checked on the way, so that a long list costs no more than a list that is just too long.
        if ids.len() > IDS_MAX {
            return Err(invalid("clipIds", "at most 100 clip ids"));
        }
    }
    Ok(ids)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_has_each_id_once_and_at_most_a_hundred() {
        assert_eq!(ids("a, b,a,,c").unwrap(), ["a", "b", "c"]);
        assert!(ids("").unwrap().is_empty());
        let many: Vec<String> = (0..101).map(|n| format!("c{n}")).collect();
        assert_eq!(ids(&many[..100].join(",")).unwrap().len(), 100);
        assert!(ids(&many.join(",")).is_err());
        assert!(clip_ids(&"/api/vote/counts".parse().unwrap()).is_err());
        assert_eq!(clip_ids(&"/x?clipIds=a%2Cb".parse().unwrap()).unwrap(), "a,b");
    }
}
