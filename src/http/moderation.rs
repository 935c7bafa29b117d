//! What moderators do: the queues, and their word about a comment. Every route asks for the admin token first.

use axum::extract::State;
use http::header::CACHE_CONTROL;
use http::{HeaderMap, HeaderValue, StatusCode, Uri};
use schemars::JsonSchema;
use serde::Serialize;

use super::App;
use super::admin::check;
use super::comment_view::{ModeratedBody, cursor_text, read_cursor};
use super::comments::{id_of, limit};
use super::query::{NamePath, Query, invalid};
use super::reply;
use super::routes::Outcome;
use crate::comments::{Cursor, Order};
use crate::domain::{ModerationQueue, Verdict};

/// A page of comments that wait for a moderator.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Waiting {
    comments: Vec<ModeratedBody>,
    next_cursor: Option<String>,
}

/// A comment as a moderator's word left it.
#[derive(Serialize, JsonSchema)]
pub(super) struct Moderated {
    success: bool,
    comment: ModeratedBody,
}

/// `GET /api/admin/comments?status=pending|reported|hidden`
pub(super) async fn list(State(app): State<App>, uri: Uri, headers: HeaderMap) -> Outcome {
    check(&app, &headers)?;
    let query = Query::of(&uri);
    let status = query.get("status")?.ok_or_else(|| invalid("status", "pending, reported or hidden"))?;
    let queue = ModerationQueue::parse(&status)?;
    let limit = limit(query)?;
    let past = match query.get("cursor")?.map(|text| read_cursor(Order::Oldest, &text)).transpose()? {
        Some(Cursor::Past(id)) => id,
        _ => 0,
    };
    let (comments, next) = app.read(move |engine| engine.moderation_queue(queue, past, limit)).await?;
    let comments: Vec<_> = comments.iter().map(|comment| ModeratedBody::new(app.engine(), comment)).collect();
    let next = next.map(|id| cursor_text(Cursor::Past(id)));
    let mut answer = reply::json(StatusCode::OK, &Waiting { comments, next_cursor: next });
    answer.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(answer)
}

/// `POST /api/admin/comments/{id}/approve`
pub(super) async fn approve(State(app): State<App>, headers: HeaderMap, path: NamePath) -> Outcome {
    judge(&app, &headers, path, Verdict::Approve).await
}

/// `POST /api/admin/comments/{id}/hide`
pub(super) async fn hide(State(app): State<App>, headers: HeaderMap, path: NamePath) -> Outcome {
    judge(&app, &headers, path, Verdict::Hide).await
}

async fn judge(app: &App, headers: &HeaderMap, path: NamePath, verdict: Verdict) -> Outcome {
    check(app, headers)?;
    let comment = app.engine().moderate_comment(id_of(path)?, verdict).await?;
    let comment = ModeratedBody::new(app.engine(), &comment);
    Ok(reply::json(StatusCode::OK, &Moderated { success: true, comment }))
}
