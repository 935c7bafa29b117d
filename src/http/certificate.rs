//! A locked slot's certificate, for everyone, and a voter's proof, for that voter alone. Reads alone: neither sets a cookie.

use axum::extract::State;
use http::{HeaderMap, StatusCode, Uri};

use super::App;
use super::counts::private;
use super::query::{Query, invalid};
use super::reply;
use super::routes::Outcome;
use super::seasons::{SlotPath, changing, slot_of};
use super::timeline::blocking;
use crate::error::Reject;

/// `GET /api/seasons/{id}/slots/{n}/certificate?number=…`: the newest, or that of a number.
pub(super) async fn certificate(State(app): State<App>, path: SlotPath, uri: Uri, headers: HeaderMap) -> Outcome {
    let (season, position) = slot_of(path)?;
    let number = Query::of(&uri).position("number")?;
    let engine = app.engine().clone();
    // Behind a void it reads every ballot of the slot.
    let certificate = blocking(move || engine.certificate(&season, position, number.map(u64::from))).await?;
    // Another one may take its place.
    Ok(changing(&headers, &certificate))
}

/// `GET /api/seasons/{id}/slots/{n}/proof?clipId=…`: who is known by neither token nor cookie is refused, since look-alikes behind
/// one address share a device's key until a cookie tells them apart.
pub(super) async fn proof(State(app): State<App>, path: SlotPath, uri: Uri, headers: HeaderMap) -> Outcome {
    let (season, position) = slot_of(path)?;
    let who = app.0.identity.known(&headers, app.now_ms())?.ok_or(Reject::NotSignedIn)?;
    let query = Query::of(&uri);
    let clip = query.get("clipId")?.ok_or_else(|| invalid("clipId", "the id of the clip that you voted for"))?;
    let proof = app.engine().proof(&season, position, who.voter, &clip)?;
    Ok(private(reply::json(StatusCode::OK, &proof)))
}
