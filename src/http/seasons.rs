//! The public view of seasons and their slots. Reads alone.

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use http::header::CACHE_CONTROL;
use http::{HeaderValue, StatusCode};
use serde::Serialize;
use serde_json::json;

use super::App;
use super::query::{invalid, position};
use super::reply::{self, Whole};
use super::routes::Outcome;
use super::view::{SeasonBody, SlotBody};
use crate::error::Reject;

/// `GET /api/seasons`
pub(super) async fn list(State(app): State<App>) -> Outcome {
    Ok(seasons(&app))
}

/// `GET /api/seasons/{id}`
pub(super) async fn season(State(app): State<App>, path: Result<Path<String>, PathRejection>) -> Outcome {
    let Path(id) = path.map_err(|_| unreadable())?;
    let season = app.engine().season(&id)?;
    Ok(changing(&SeasonBody::at(app.now_ms(), &season)))
}

/// `GET /api/seasons/{id}/slots/{n}`
pub(super) async fn slot(State(app): State<App>, path: SlotPath) -> Outcome {
    let (season, position) = slot_of(path)?;
    let slot = app.engine().slot(&season, position)?;
    Ok(changing(&SlotBody::at(app.now_ms(), &slot)))
}

/// All seasons, for the public list and the operator's.
pub(super) fn seasons(app: &App) -> Whole {
    let (now_ms, seasons) = (app.now_ms(), app.engine().seasons());
    let list: Vec<_> = seasons.iter().map(|season| SeasonBody::at(now_ms, season)).collect();
    changing(&json!({ "seasons": list }))
}

/// A path that names a slot, as axum found it.
pub(super) type SlotPath = Result<Path<(String, String)>, PathRejection>;

/// The season's id and the position of a path.
pub(super) fn slot_of(path: SlotPath) -> Result<(String, u32), Reject> {
    let Path((season, number)) = path.map_err(|_| unreadable())?;
    Ok((season, position("slot", &number)?))
}

pub(super) fn unreadable() -> Reject {
    invalid("path", "it is not UTF-8")
}

/// Time goes on in these: a cache may keep them and must ask before it uses them.
fn changing(body: &impl Serialize) -> Whole {
    let mut answer = reply::json(StatusCode::OK, body);
    answer.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    answer
}
