//! The operator's routes of voids: what one would change, taking votes out, lifting, the list; and a void's JSON, for operators and
//! for everyone. Never says to others by which voter or network a void found its votes.

use axum::extract::{Request, State};
use http::header::CACHE_CONTROL;
use http::{HeaderMap, HeaderValue, StatusCode, Uri};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::admin::{SUB_MAX, allowed, check};
use super::comments::limit;
use super::query::{NamePath, Query, invalid, named};
use super::reply;
use super::routes::Outcome;
use super::{App, body};
use crate::domain::{NetworkHash, SeasonId, Seq, VoidBy, VoterKey};
use crate::engine::{Engine, VoidAsked, VoidBoard, VoidChange, VoidPreview, VoidView};
use crate::error::Reject;

/// Votes to be taken out.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct NewVoid {
    /// What its votes have in common. `voter`, `network` and `window` need the fields of their own, and take no other's.
    #[schemars(required, schema_with = "kinds")]
    by: Option<String>,
    /// The slot's position.
    #[schemars(required, range(min = 1))]
    slot: Option<u32>,
    /// The newest active one where it is left out.
    #[schemars(with = "Option<SeasonId>")]
    season: Option<String>,
    /// Why. Everyone can read it.
    #[schemars(required, length(min = 1, max = 500))]
    reason: Option<String>,
    /// Says what would change, and changes nothing.
    dry_run: Option<bool>,
    /// For `voter`: the `sub` of their tokens, or the name that others see (`userId`).
    voter: Option<String>,
    /// For `network`: as votes in lists have it.
    #[schemars(regex(pattern = "^[0-9a-f]{16}$"))]
    network: Option<String>,
    /// For `window`: Unix milliseconds, itself included.
    from: Option<u64>,
    /// For `window`: Unix milliseconds, itself excluded.
    to: Option<u64>,
}

fn kinds(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({ "type": "string", "enum": ["voter", "network", "window", "flagged"] })
}

/// Why a void is lifted.
#[derive(Deserialize, JsonSchema)]
pub(super) struct Lifting {
    /// Everyone can read it.
    #[schemars(required, length(min = 1, max = 500))]
    reason: Option<String>,
}

/// Voids, the newest first.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Voids")]
pub(super) struct VoidsBody<'a> {
    voids: Vec<VoidBody<'a>>,
    next_cursor: Option<String>,
}

/// A void: votes that are taken out of the counts.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Void")]
pub(super) struct VoidBody<'a> {
    id: String,
    season: &'a str,
    slot: u32,
    /// `voter`, `network`, `window` or `flagged`.
    by: &'static str,
    /// The name that others see. Operators alone see it.
    #[serde(skip_serializing_if = "Option::is_none")]
    user_id: Option<String>,
    /// Operators alone see it.
    #[serde(skip_serializing_if = "Option::is_none")]
    network: Option<String>,
    /// Operators alone see it.
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<u64>,
    /// Operators alone see it.
    #[serde(skip_serializing_if = "Option::is_none")]
    to: Option<u64>,
    reason: &'a str,
    /// `searching`, `inForce`, `lifted` or `dropped`: it ended without effect.
    status: &'static str,
    /// Unix milliseconds.
    begun_at: u64,
    /// When its votes went out of the counts, Unix milliseconds.
    taken_at: Option<u64>,
    /// How many it found, those under another void too. Null until it has taken effect, and while results are hidden.
    votes: Option<u64>,
    /// What each clip lost by it. Null until it has taken effect, and while results are hidden.
    changes: Option<Vec<ChangeBody<'a>>>,
    /// When its votes came back, Unix milliseconds.
    lifted_at: Option<u64>,
    lift_reason: Option<&'a str>,
}

/// What a clip lost by a void.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "VoidChange")]
struct ChangeBody<'a> {
    clip_id: &'a str,
    /// Below zero.
    votes: i64,
    /// Below zero.
    weight: i64,
}

impl<'a> From<&'a VoidChange> for ChangeBody<'a> {
    fn from(change: &'a VoidChange) -> Self {
        Self { clip_id: change.clip.as_str(), votes: change.votes, weight: change.weight }
    }
}

impl<'a> VoidBody<'a> {
    /// For everyone.
    pub(super) fn public(void: &'a VoidView) -> Self {
        Self {
            id: void.id.to_string(),
            season: void.season.as_str(),
            slot: void.position,
            by: void.by.as_str(),
            user_id: None,
            network: None,
            from: None,
            to: None,
            reason: &void.reason,
            status: void.status.as_str(),
            begun_at: void.begun_at,
            taken_at: void.taken.map(|(_, at)| at),
            votes: void.votes,
            changes: void.changes.as_ref().map(|changes| changes.iter().map(ChangeBody::from).collect()),
            lifted_at: void.lifted.as_ref().map(|(_, at, _)| *at),
            lift_reason: void.lifted.as_ref().map(|(.., why)| why.as_str()),
        }
    }

    /// With what operators alone see: by which voter, network or time it found its votes.
    fn for_operators(key: &VoterKey, void: &'a VoidView) -> Self {
        let this = Self::public(void);
        match void.by {
            VoidBy::Voter(voter) => Self { user_id: Some(key.public(voter)), ..this },
            VoidBy::Network(network) => Self { network: network.hex(), ..this },
            VoidBy::Window { from_ms, to_ms } => Self { from: Some(from_ms), to: Some(to_ms), ..this },
            VoidBy::Flagged => this,
        }
    }
}

/// What a void would change.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Forecast<'a> {
    /// Always true.
    dry_run: bool,
    /// The sequence that it is exact at.
    as_of: String,
    /// Votes that it would take out.
    votes: u64,
    /// Those among them that another void has taken out already.
    already: u64,
    /// The clips in the order that they would have. Null while results are hidden.
    order: Option<Vec<BoardBody<'a>>>,
}

/// A clip now, and with the void.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "VoidBoard")]
struct BoardBody<'a> {
    clip_id: &'a str,
    vote_count: u64,
    weighted_score: u64,
    vote_count_then: u64,
    weighted_score_then: u64,
    /// From 1.
    place: usize,
    place_then: usize,
}

impl<'a> From<&'a VoidPreview> for Forecast<'a> {
    fn from(preview: &'a VoidPreview) -> Self {
        let row = |(place_then, row): (usize, &'a VoidBoard)| BoardBody {
            clip_id: row.clip.as_str(),
            vote_count: row.now.0,
            weighted_score: row.now.1,
            vote_count_then: row.then.0,
            weighted_score_then: row.then.1,
            place: row.place,
            place_then,
        };
        Self {
            dry_run: true,
            as_of: preview.as_of.to_string(),
            votes: preview.votes,
            already: preview.already,
            order: preview.order.as_ref().map(|rows| (1..).zip(rows).map(row).collect()),
        }
    }
}

/// `POST /api/admin/voids`
pub(super) async fn create(State(app): State<App>, request: Request) -> Outcome {
    let text = allowed(&app, request).await?;
    let sent: NewVoid = body::parse(&text)?;
    let slot = sent.slot.filter(|slot| *slot >= 1).ok_or_else(|| invalid("slot", "a whole number from 1"))?;
    let season = match &sent.season {
        Some(season) => season.clone(),
        None => app.engine().newest_season()?.to_string(),
    };
    app.engine().slot(&season, slot)?;
    let by = found_by(&app, &sent, &season, slot).await?;
    let asked = VoidAsked { season, position: slot, by, reason: sent.reason.unwrap_or_default() };
    if sent.dry_run == Some(true) {
        app.engine().drain().await?;
        let preview = app.read(move |engine| engine.preview_void(&asked)).await?;
        return Ok(reply::json(StatusCode::OK, &Forecast::from(&preview)));
    }
    let void = app.engine().void(asked).await?;
    Ok(reply::json(StatusCode::CREATED, &shown(app.engine(), &void)))
}

/// `GET /api/admin/voids?season=…&slot=…&limit=…&cursor=…`
pub(super) async fn list(State(app): State<App>, uri: Uri, headers: HeaderMap) -> Outcome {
    check(&app, &headers)?;
    let query = Query::of(&uri);
    let (page, engine) = (Page::of(query)?, app.engine());
    let voids = match (query.get("season")?, query.position("slot")?) {
        (None, None) => engine.voids(None)?,
        (Some(season), None) => {
            let id = engine.season(&season)?.id;
            engine.voids(None)?.into_iter().filter(|void| void.season == id).collect()
        }
        (Some(season), Some(slot)) => engine.voids(Some((&season, slot)))?,
        (None, Some(slot)) => engine.voids(Some((engine.newest_season()?.as_str(), slot)))?,
    };
    let (voids, next_cursor) = page.take(&voids);
    let voids = voids.into_iter().map(|void| shown(engine, void)).collect();
    let mut answer = reply::json(StatusCode::OK, &VoidsBody { voids, next_cursor });
    answer.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(answer)
}

/// `DELETE /api/admin/voids/{id}`
pub(super) async fn lift(State(app): State<App>, path: NamePath, request: Request) -> Outcome {
    let text = allowed(&app, request).await?;
    let id = void_id("id", &named(path)?)?;
    let sent: Lifting = body::parse(&text)?;
    let void = app.engine().lift_void(id, sent.reason.unwrap_or_default()).await?;
    Ok(reply::json(StatusCode::OK, &shown(app.engine(), &void)))
}

/// A part of a list of voids, the newest first.
pub(super) struct Page {
    limit: usize,
    /// The last one that was seen.
    past: Option<Seq>,
}

impl Page {
    pub(super) fn of(query: Query<'_>) -> Result<Self, Reject> {
        let past = query.get("cursor")?.map(|text| void_id("cursor", &text)).transpose()?;
        Ok(Self { limit: limit(query)?, past })
    }

    /// Its voids, and the cursor of the next.
    pub(super) fn take<'a>(&self, voids: &'a [VoidView]) -> (Vec<&'a VoidView>, Option<String>) {
        let mut rest = voids.iter().filter(|void| self.past.is_none_or(|past| void.id < past));
        let page: Vec<&VoidView> = rest.by_ref().take(self.limit).collect();
        let more = rest.next().is_some();
        let next = page.last().filter(|_| more).map(|void| void.id.to_string());
        (page, next)
    }
}

fn shown<'a>(engine: &Engine, void: &'a VoidView) -> VoidBody<'a> {
    VoidBody::for_operators(&engine.settings().voter_key, void)
}

fn void_id(name: &'static str, text: &str) -> Result<Seq, Reject> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let number = if digits { text.parse().ok() } else { None };
    number.filter(|id| *id > 0).ok_or_else(|| invalid(name, "a void's id"))
}

/// By what it finds its votes: exactly what that needs must be there.
async fn found_by(app: &App, sent: &NewVoid, season: &str, slot: u32) -> Result<VoidBy, Reject> {
    let by = sent.by.as_deref().unwrap_or_default();
    let needs: &[&str] = match by {
        "voter" => &["voter"],
        "network" => &["network"],
        "window" => &["from", "to"],
        "flagged" => &[],
        _ => return Err(invalid("by", "voter, network, window or flagged")),
    };
    let there = [
        ("voter", sent.voter.is_some()),
        ("network", sent.network.is_some()),
        ("from", sent.from.is_some()),
        ("to", sent.to.is_some()),
    ];
    for (name, is_there) in there {
        match (is_there, needs.contains(&name)) {
            (true, false) => return Err(invalid(name, "votes are not found by it here: leave it out")),
            (false, true) => return Err(invalid(name, "votes are found by it here, and it is missing")),
            _ => {}
        }
    }
    match (&sent.voter, &sent.network, sent.from, sent.to) {
        (Some(voter), ..) => {
            if voter.is_empty() || voter.len() > SUB_MAX {
                return Err(invalid("voter", "1 to 256 bytes"));
            }
            let (season, voter) = (season.to_owned(), voter.clone());
            app.read(move |engine| engine.voter_named_in(&season, slot, &voter)).await.map(VoidBy::Voter)
        }
        (_, Some(network), ..) => network_of(network).map(VoidBy::Network),
        (.., Some(from_ms), Some(to_ms)) => Ok(VoidBy::Window { from_ms, to_ms }),
        _ => Ok(VoidBy::Flagged),
    }
}

fn network_of(text: &str) -> Result<NetworkHash, Reject> {
    let hex = text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let number = if hex { u64::from_str_radix(text, 16).ok() } else { None };
    let hash = number.map(|number| NetworkHash::of(number.to_be_bytes()));
    hash.filter(|hash| *hash != NetworkHash::UNKNOWN)
        .ok_or_else(|| invalid("network", "16 hex digits, as lists of votes have them"))
}
