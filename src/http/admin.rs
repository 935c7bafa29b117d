//! The operator's routes: seasons, slots, clips and bans. Every one asks for the bearer token before it looks at anything
//! else of the request. Never checks a state: the engine says what it forbids.

use axum::body::Body;
use axum::extract::{Request, State};
use http::header::{AUTHORIZATION, CACHE_CONTROL};
use http::{HeaderMap, HeaderValue, StatusCode};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq;

use super::query::{NamePath, invalid, named};
use super::reply::{self, Whole};
use super::routes::Outcome;
use super::seasons::{Seasons, SlotPath, slot_of};
use super::view::{BanBody, ClipBody, SeasonBody, SlotBody};
use super::{App, body};
use crate::domain::{ClipDraft, ClipId, SeasonId, VoterId, bounded_text};
use crate::engine::{REASON_MAX, SlotView};
use crate::error::Reject;

const NAME_MAX: usize = 200;
pub(super) const SUB_MAX: usize = 256;

/// A season to be made.
#[derive(Deserialize, JsonSchema)]
pub(super) struct NewSeason {
    /// Made up where it is left out.
    #[schemars(with = "Option<SeasonId>")]
    id: Option<String>,
    #[schemars(required, length(min = 1, max = 200))]
    name: Option<String>,
}

/// A slot to be made.
#[derive(Deserialize, Default, JsonSchema)]
pub(super) struct NewSlot {
    /// The next one where it is left out.
    #[schemars(range(min = 1))]
    position: Option<u32>,
}

/// A clip to be added.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct NewClip {
    /// Made up where it is left out.
    #[schemars(with = "Option<ClipId>")]
    id: Option<String>,
    #[schemars(required, length(min = 1))]
    title: Option<String>,
    /// The `sub` of whoever made it: that voter can't vote for it.
    owner_id: Option<String>,
    username: Option<String>,
    avatar_url: Option<String>,
    video_url: Option<String>,
    thumbnail_url: Option<String>,
}

/// How a slot is opened.
#[derive(Deserialize, Default, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Opening {
    /// Unix milliseconds, to come; none: it is open until an operator closes it.
    voting_ends_at: Option<u64>,
    /// Nobody sees counts until the slot is locked.
    results_hidden: Option<bool>,
}

/// An operator's own winner.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Winner {
    #[schemars(required)]
    clip_id: Option<String>,
    #[schemars(required, length(min = 1))]
    reason: Option<String>,
}

/// A ban.
#[derive(Deserialize, Default, JsonSchema)]
pub(super) struct NewBan {
    reason: Option<String>,
    /// Unix milliseconds, to come; none: until it is lifted.
    until: Option<u64>,
}

/// Who is banned.
#[derive(Serialize, JsonSchema)]
pub(super) struct Bans<'a> {
    bans: Vec<BanBody<'a>>,
}

/// `GET /api/admin/seasons`
pub(super) async fn seasons(State(app): State<App>, headers: HeaderMap) -> Outcome {
    check(&app, &headers)?;
    let (now_ms, seasons) = (app.now_ms(), app.engine().seasons());
    let list: Vec<_> = seasons.iter().map(|season| SeasonBody::for_operators(now_ms, season)).collect();
    let mut answer = reply::json(StatusCode::OK, &Seasons { seasons: list });
    answer.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("private, no-store"));
    Ok(answer)
}

/// `POST /api/admin/seasons`
pub(super) async fn create_season(State(app): State<App>, request: Request) -> Outcome {
    let text = allowed(&app, request).await?;
    let sent: NewSeason = body::parse(&text)?;
    let id = sent.id.as_deref().map(SeasonId::new).transpose()?;
    let name = sent.name.unwrap_or_default();
    bounded_text("name", &name, NAME_MAX)?;
    let season = app.engine().create_season(id, name).await?;
    Ok(reply::json(StatusCode::CREATED, &SeasonBody::at(app.now_ms(), &season)))
}

/// `POST /api/admin/seasons/{id}/slots`
pub(super) async fn create_slot(State(app): State<App>, path: NamePath, request: Request) -> Outcome {
    let text = allowed(&app, request).await?;
    let season = named(path)?;
    let sent: NewSlot = optional(&text)?;
    if sent.position == Some(0) {
        return Err(invalid("position", "a whole number from 1").into());
    }
    let slot = app.engine().create_slot(&season, sent.position).await?;
    Ok(reply::json(StatusCode::CREATED, &SlotBody::at(app.now_ms(), &slot)))
}

/// `POST /api/admin/seasons/{id}/slots/{n}/clips`
pub(super) async fn add_clip(State(app): State<App>, path: SlotPath, request: Request) -> Outcome {
    let text = allowed(&app, request).await?;
    let (season, position) = slot_of(path)?;
    let sent: NewClip = body::parse(&text)?;
    let id = sent.id.as_deref().map(ClipId::new).transpose()?;
    let draft = ClipDraft {
        title: sent.title.unwrap_or_default(),
        owner: sent.owner_id,
        username: sent.username,
        avatar_url: sent.avatar_url,
        video_url: sent.video_url,
        thumbnail_url: sent.thumbnail_url,
    };
    let clip = app.engine().add_clip(&season, position, id, draft.checked()?).await?;
    Ok(reply::json(StatusCode::CREATED, &ClipBody::from(&clip)))
}

/// `POST /api/admin/seasons/{id}/slots/{n}/open`
pub(super) async fn open(State(app): State<App>, path: SlotPath, request: Request) -> Outcome {
    let text = allowed(&app, request).await?;
    let (season, position) = slot_of(path)?;
    let sent: Opening = optional(&text)?;
    future("votingEndsAt", sent.voting_ends_at, app.now_ms())?;
    let hidden = sent.results_hidden.unwrap_or(false);
    let slot = app.engine().open_slot(&season, position, sent.voting_ends_at, hidden).await?;
    Ok(done(&app, &slot))
}

/// `POST /api/admin/seasons/{id}/slots/{n}/freeze`
pub(super) async fn freeze(State(app): State<App>, headers: HeaderMap, path: SlotPath) -> Outcome {
    check(&app, &headers)?;
    let (season, position) = slot_of(path)?;
    let slot = app.engine().freeze_slot(&season, position).await?;
    Ok(done(&app, &slot))
}

/// `POST /api/admin/seasons/{id}/slots/{n}/extend`
pub(super) async fn extend(State(app): State<App>, path: SlotPath, request: Request) -> Outcome {
    let text = allowed(&app, request).await?;
    let (season, position) = slot_of(path)?;
    let sent: Until = body::parse(&text)?;
    let ends_at = sent.voting_ends_at.ok_or_else(|| invalid("votingEndsAt", "a time to come, or null for no end"))?;
    future("votingEndsAt", ends_at, app.now_ms())?;
    let slot = app.engine().extend_slot(&season, position, ends_at).await?;
    Ok(done(&app, &slot))
}

/// `POST /api/admin/seasons/{id}/slots/{n}/reopen`
pub(super) async fn reopen(State(app): State<App>, path: SlotPath, request: Request) -> Outcome {
    let text = allowed(&app, request).await?;
    let (season, position) = slot_of(path)?;
    let sent: Until = optional(&text)?;
    future("votingEndsAt", sent.voting_ends_at.flatten(), app.now_ms())?;
    let slot = app.engine().reopen_slot(&season, position, sent.voting_ends_at).await?;
    Ok(done(&app, &slot))
}

/// `POST /api/admin/seasons/{id}/slots/{n}/winner`
pub(super) async fn winner(State(app): State<App>, path: SlotPath, request: Request) -> Outcome {
    let text = allowed(&app, request).await?;
    let (season, position) = slot_of(path)?;
    let sent: Winner = body::parse(&text)?;
    let clip = sent.clip_id.ok_or(Reject::MissingClipId)?;
    let reason = sent.reason.unwrap_or_default();
    let slot = app.engine().pick_winner(&season, position, &clip, reason).await?;
    Ok(done(&app, &slot))
}

/// `POST /api/admin/seasons/{id}/slots/{n}/lock`
pub(super) async fn lock(State(app): State<App>, headers: HeaderMap, path: SlotPath) -> Outcome {
    check(&app, &headers)?;
    let (season, position) = slot_of(path)?;
    let slot = app.engine().lock_slot(&season, position).await?;
    Ok(done(&app, &slot))
}

/// `GET /api/admin/bans`
pub(super) async fn bans(State(app): State<App>, headers: HeaderMap) -> Outcome {
    check(&app, &headers)?;
    let bans = app.engine().bans();
    let list: Vec<_> = bans.iter().map(BanBody::from).collect();
    Ok(reply::json(StatusCode::OK, &Bans { bans: list }))
}

/// `PUT /api/admin/bans/{sub}`
pub(super) async fn ban(State(app): State<App>, path: NamePath, request: Request) -> Outcome {
    let text = allowed(&app, request).await?;
    let voter = voter(&app, path).await?;
    let sent: NewBan = optional(&text)?;
    let reason = sent.reason.unwrap_or_default();
    if !reason.is_empty() {
        bounded_text("reason", &reason, REASON_MAX)?;
    }
    future("until", sent.until, app.now_ms())?;
    app.engine().ban(voter, sent.until, reason).await?;
    Ok(reply::empty(StatusCode::NO_CONTENT))
}

/// `DELETE /api/admin/bans/{sub}`
pub(super) async fn unban(State(app): State<App>, headers: HeaderMap, path: NamePath) -> Outcome {
    check(&app, &headers)?;
    let voter = voter(&app, path).await?;
    app.engine().unban(voter).await?;
    Ok(reply::empty(StatusCode::NO_CONTENT))
}

/// Whether a request carries this bearer secret. Takes as long for a wrong one as for the right one, and nobody has a
/// secret that is not set.
pub(super) fn bears(headers: &HeaderMap, secret: Option<&[u8]>) -> bool {
    let Some(secret) = secret.filter(|secret| !secret.is_empty()) else { return false };
    let Some(value) = headers.get(AUTHORIZATION).map(http::HeaderValue::as_bytes) else { return false };
    let Some((scheme, given)) = value.split_at_checked(b"Bearer ".len()) else { return false };
    scheme.eq_ignore_ascii_case(b"Bearer ") && bool::from(given.ct_eq(secret))
}

pub(super) fn check(app: &App, headers: &HeaderMap) -> Result<(), Reject> {
    if bears(headers, app.0.options.admin_token.as_deref()) { Ok(()) } else { Err(Reject::Unauthorized) }
}

/// The body of a request whose token was right; the token comes first.
pub(super) async fn allowed(app: &App, request: Request<Body>) -> Result<bytes::Bytes, Reject> {
    let (parts, body) = request.into_parts();
    check(app, &parts.headers)?;
    body::read(&parts.headers, body, app.0.options.body_timeout).await
}

/// Reads an object of which every field has a default; so has an absent body.
fn optional<'a, T: Deserialize<'a> + Default>(text: &'a [u8]) -> Result<T, Reject> {
    if text.is_empty() { Ok(T::default()) } else { body::parse(text) }
}

/// Until when a slot takes votes; an end that is null is none, which is another thing than not saying.
#[derive(Deserialize, Default, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[expect(clippy::option_option, reason = "absent, null and a number are three things")]
pub(super) struct Until {
    /// Unix milliseconds, to come; null: no end.
    #[serde(default, deserialize_with = "given")]
    #[schemars(with = "Option<u64>")]
    voting_ends_at: Option<Option<u64>>,
}

#[expect(clippy::option_option, reason = "absent, null and a number are three things")]
fn given<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<Option<u64>>, D::Error> {
    Option::deserialize(from).map(Some)
}

fn done(app: &App, slot: &SlotView) -> Whole {
    reply::json(StatusCode::OK, &SlotBody::for_operators(app.now_ms(), slot))
}

fn future(name: &'static str, at: Option<u64>, now_ms: u64) -> Result<(), Reject> {
    let past = at.is_some_and(|at| at <= now_ms);
    if past { Err(invalid(name, "a time to come, in Unix milliseconds")) } else { Ok(()) }
}

/// The voter that a path names, by `sub` or by the name that others see.
pub(super) async fn voter(app: &App, path: NamePath) -> Result<VoterId, Reject> {
    let sub = named(path)?;
    if sub.len() > SUB_MAX {
        return Err(invalid("sub", "1 to 256 bytes"));
    }
    // What looks like an id that others see is looked for among the authors of all comments: not on a worker's time.
    app.read(move |engine| engine.voter_named(&sub)).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_must_be_borne_exactly() {
        let bears = |value: Option<&str>, secret: Option<&[u8]>| {
            let mut headers = HeaderMap::new();
            if let Some(value) = value {
                headers.insert(AUTHORIZATION, value.parse().unwrap());
            }
            bears(&headers, secret)
        };
        assert!(bears(Some("Bearer s3cret"), Some(b"s3cret")));
        assert!(bears(Some("bearer s3cret"), Some(b"s3cret")));
        for wrong in [None, Some(""), Some("Bearer"), Some("Bearer "), Some("Bearer s3cre"), Some("Bearer s3crets")] {
            assert!(!bears(wrong, Some(b"s3cret")), "{wrong:?}");
        }
        assert!(!bears(Some("Bearer "), Some(b"")), "an empty secret is none");
        assert!(!bears(Some("Bearer x"), None));
    }

    #[test]
    fn an_absent_body_has_every_default() {
        #[derive(Deserialize, Default)]
        struct Sent {
            position: Option<u32>,
        }
        assert_eq!(optional::<Sent>(b"").unwrap().position, None);
        assert_eq!(optional::<Sent>(b"{\"position\":3}").unwrap().position, Some(3));
        assert!(optional::<Sent>(b"3").is_err());
    }

    #[test]
    fn an_end_lies_ahead() {
        assert!(future("until", None, 5).is_ok());
        assert!(future("until", Some(6), 5).is_ok());
        assert!(future("until", Some(5), 5).is_err());
    }
}
