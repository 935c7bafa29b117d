//! `GET /api/seasons/{id}/slots/{n}/history`: what a slot went through, for everyone. Names no voter and no network.

use axum::extract::State;
use http::{HeaderMap, Uri};
use schemars::JsonSchema;
use serde::Serialize;

use super::App;
use super::query::Query;
use super::routes::Outcome;
use super::seasons::{SlotPath, changing, slot_of};
use super::view::decided_by;
use super::voids::{Page, VoidBody};
use crate::domain::{ClipId, FrozenBy, SlotStatus};
use crate::engine::SlotStep;

/// What a slot went through.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct SlotHistory<'a> {
    season: &'a str,
    position: u32,
    status: SlotStatus,
    results_hidden: bool,
    /// As it is now: a void behind the lock may have made it another one than the lock's step says.
    winner_clip_id: Option<&'a str>,
    /// The oldest first.
    steps: Vec<StepBody<'a>>,
    /// False: of a long life the oldest steps are not kept.
    all_steps: bool,
    /// The newest first.
    voids: Vec<VoidBody<'a>>,
    /// Where its voids go on.
    next_cursor: Option<String>,
}

/// A step of a slot's life.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "SlotStep")]
struct StepBody<'a> {
    /// `created`, `waits`, `opened`, `extended`, `frozen`, `reopened` or `locked`.
    step: &'static str,
    event_id: String,
    /// Unix milliseconds.
    at: u64,
    /// `operator`, `timer` or `lock`; null of other steps, and of a freeze behind which the slot was reopened.
    frozen_by: Option<&'static str>,
    /// Who won by the lock.
    winner_clip_id: Option<&'a str>,
    /// `votes` or `operator`, of the lock.
    decided_by: Option<&'static str>,
}

impl<'a> From<&'a SlotStep> for StepBody<'a> {
    fn from(step: &'a SlotStep) -> Self {
        Self {
            step: step.kind.as_str(),
            event_id: step.seq.to_string(),
            at: step.at,
            frozen_by: step.frozen_by.map(FrozenBy::as_str),
            winner_clip_id: step.winner.as_ref().map(ClipId::as_str),
            decided_by: step.decided.as_ref().map(decided_by),
        }
    }
}

/// `GET /api/seasons/{id}/slots/{n}/history?limit=…&cursor=…`
pub(super) async fn history(State(app): State<App>, path: SlotPath, uri: Uri, headers: HeaderMap) -> Outcome {
    let (season, position) = slot_of(path)?;
    let page = Page::of(Query::of(&uri))?;
    let history = app.read(move |engine| engine.slot_history(&season, position)).await?;
    let (voids, next_cursor) = page.take(&history.voids);
    let slot = &history.slot;
    let body = SlotHistory {
        season: slot.season.as_str(),
        position: slot.position,
        status: slot.status,
        results_hidden: slot.hidden,
        winner_clip_id: slot.winner.as_ref().map(ClipId::as_str),
        steps: history.steps.iter().map(StepBody::from).collect(),
        all_steps: history.whole,
        voids: voids.into_iter().map(VoidBody::public).collect(),
        next_cursor,
    };
    Ok(changing(&headers, &body))
}
