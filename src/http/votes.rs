//! What operators see of single votes: who cast them, by the name that others see, and how much they look like cheating.

use axum::extract::State;
use http::header::CACHE_CONTROL;
use http::{HeaderMap, HeaderValue, StatusCode, Uri};
use schemars::JsonSchema;
use serde::Serialize;

use super::App;
use super::admin::check;
use super::comments::limit;
use super::query::{Query, invalid};
use super::reply;
use super::routes::Outcome;
use crate::domain::VoteKind;
use crate::engine::{VotePlace, VoteView};
use crate::error::Reject;

/// `GET /api/admin/votes?season=…&slot=…&flagged=1&limit=…&cursor=…`
pub(super) async fn list(State(app): State<App>, uri: Uri, headers: HeaderMap) -> Outcome {
    check(&app, &headers)?;
    let query = Query::of(&uri);
    let flagged = flag("flagged", query.get("flagged")?.as_deref())?;
    let limit = limit(query)?;
    let from = query.get("cursor")?.map(|text| cursor(&text)).transpose()?;
    let season = query.get("season")?;
    let (slot, _) = app.engine().slot_version(season.as_deref(), query.position("slot")?)?;
    let page = app.read(move |engine| engine.stored_votes(slot, flagged, from, limit)).await?;
    let votes: Vec<_> = page.votes.iter().map(VoteBody::from).collect();
    let next = page.next.map(|place| match place {
        VotePlace::Logged(seq) => seq.to_string(),
        VotePlace::Sorted(place) => format!("s{place}"),
    });
    let body = VotesBody { votes, next_cursor: next, as_of: page.as_of.to_string() };
    let mut answer = reply::json(StatusCode::OK, &body);
    answer.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(answer)
}

fn flag(name: &'static str, text: Option<&str>) -> Result<bool, Reject> {
    match text {
        None | Some("0" | "false") => Ok(false),
        Some("1" | "true") => Ok(true),
        Some(_) => Err(invalid(name, "1 or 0")),
    }
}

/// The `eventId` of the last vote that was seen; of a locked slot how many were, behind an `s`.
fn cursor(text: &str) -> Result<VotePlace, Reject> {
    let (sorted, text) = text.strip_prefix('s').map_or((false, text), |text| (true, text));
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let number = if digits { text.parse().ok() } else { None };
    let number = number.ok_or_else(|| invalid("cursor", "a nextCursor, or a vote's eventId"))?;
    Ok(if sorted { VotePlace::Sorted(number) } else { VotePlace::Logged(number) })
}

/// A page of votes.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Votes")]
pub(super) struct VotesBody<'a> {
    votes: Vec<VoteBody<'a>>,
    next_cursor: Option<String>,
    /// The sequence that the list contains.
    as_of: String,
}

/// A vote as operators see it.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "StoredVote")]
struct VoteBody<'a> {
    event_id: String,
    /// Unix milliseconds.
    at: u64,
    /// The name that others see; null: erased.
    user_id: Option<&'a str>,
    clip_id: &'a str,
    vote_type: VoteKind,
    weight: u16,
    /// 0 to 100: how much it looks like cheating.
    risk: u8,
    flagged: bool,
    network: Option<String>,
}

impl<'a> From<&'a VoteView> for VoteBody<'a> {
    fn from(vote: &'a VoteView) -> Self {
        Self {
            event_id: vote.seq.to_string(),
            at: vote.at,
            user_id: vote.user_id.as_deref(),
            clip_id: vote.clip.as_str(),
            vote_type: vote.kind,
            weight: vote.weight,
            risk: vote.origin.risk,
            flagged: vote.origin.is_flagged(),
            network: vote.origin.network.hex(),
        }
    }
}
