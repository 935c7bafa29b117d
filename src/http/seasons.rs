//! The public view of seasons and their slots. Reads alone.

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use http::header::CACHE_CONTROL;
use http::{HeaderMap, HeaderValue};
use schemars::JsonSchema;
use serde::Serialize;

use super::query::{NamePath, named, position, unreadable};
use super::reply::Whole;
use super::routes::Outcome;
use super::view::{SeasonBody, SlotBody};
use super::{App, etag};
use crate::error::Reject;

/// All seasons.
#[derive(Serialize, JsonSchema)]
pub(super) struct Seasons<'a> {
    pub(super) seasons: Vec<SeasonBody<'a>>,
}

/// `GET /api/seasons`
pub(super) async fn list(State(app): State<App>, headers: HeaderMap) -> Outcome {
    let (now_ms, seasons) = (app.now_ms(), app.engine().seasons());
    let list: Vec<_> = seasons.iter().map(|season| SeasonBody::at(now_ms, season)).collect();
    Ok(changing(&headers, &Seasons { seasons: list }))
}

/// `GET /api/seasons/{id}`
pub(super) async fn season(State(app): State<App>, headers: HeaderMap, path: NamePath) -> Outcome {
    let season = app.engine().season(&named(path)?)?;
    Ok(changing(&headers, &SeasonBody::at(app.now_ms(), &season)))
}

/// `GET /api/seasons/{id}/slots/{n}`
pub(super) async fn slot(State(app): State<App>, headers: HeaderMap, path: SlotPath) -> Outcome {
    let (season, position) = slot_of(path)?;
    let slot = app.engine().slot(&season, position)?;
    Ok(changing(&headers, &SlotBody::at(app.now_ms(), &slot)))
}

/// A path that names a slot, as axum found it.
pub(super) type SlotPath = Result<Path<(String, String)>, PathRejection>;

/// The season's id and the position of a path.
pub(super) fn slot_of(path: SlotPath) -> Result<(String, u32), Reject> {
    let Path((season, number)) = path.map_err(|_| unreadable())?;
    Ok((season, position("slot", &number)?))
}

/// A cache may keep these and must ask before it uses them. While a slot's time runs no two answers are the same; of all others
/// a client that has them is told so.
pub(super) fn changing(headers: &HeaderMap, body: &impl Serialize) -> Whole {
    let body = serde_json::to_vec(body).expect("our own types always serialise").into();
    let mut answer = etag::answer(headers, &body, &etag::of(&body));
    answer.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    answer
}
