//! What operators and their machines ask: is it alive, is it ready, what does it count, how long is the queue. Never
//! changes anything but by draining what is queued already.

use std::time::Instant;

use axum::extract::State;
use http::header::CACHE_CONTROL;
use http::{HeaderMap, HeaderValue, StatusCode};
use schemars::JsonSchema;
use serde::Serialize;

use super::App;
use super::admin::bears;
use super::reply::{self, Whole};
use super::routes::Outcome;
use crate::error::Reject;

const OPENMETRICS: HeaderValue = HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");
const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");

/// How the process is.
#[derive(Serialize, JsonSchema)]
pub(super) struct Condition {
    /// `alive`; `ready` or `not ready`.
    status: &'static str,
    /// Why it is not ready.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

/// What is queued.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Queue")]
pub(super) struct QueueBody {
    /// Waits for the commit.
    pending: u64,
    /// Is logged and not yet applied.
    processing: u64,
    /// Events that were refused after they were queued.
    dead_letter: u64,
    /// Unix milliseconds.
    last_processed_at: Option<u64>,
}

/// What a drain came to.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Drained {
    success: bool,
    processed: u64,
    failed: u64,
    remaining_in_queue: u64,
    execution_time_ms: u64,
}

/// `GET /livez`: the process answers.
pub(super) async fn livez() -> Whole {
    fresh(reply::json(StatusCode::OK, &Condition { status: "alive", reason: None }))
}

/// `GET /readyz`: votes can be taken.
pub(super) async fn readyz(State(app): State<App>) -> Whole {
    let reason = match app.engine().failure() {
        Some(failure) => Some(failure.to_string()),
        None => app.is_draining().then(|| "the server is stopping".to_owned()),
    };
    let (code, status) =
        if reason.is_none() { (StatusCode::OK, "ready") } else { (StatusCode::SERVICE_UNAVAILABLE, "not ready") };
    fresh(reply::json(code, &Condition { status, reason }))
}

/// `GET /metrics`
pub(super) async fn metrics(State(app): State<App>) -> Outcome {
    // Sizes are looked up on the disk.
    let looked = app.read(|engine| Ok(engine.looked())).await?;
    let text = app.engine().metrics().render(app.engine().settings().ack.as_str(), &looked);
    Ok(fresh(reply::bytes(StatusCode::OK, OPENMETRICS, text.into())))
}

/// `GET /api/queue`
pub(super) async fn queue(State(app): State<App>) -> Whole {
    let queue = app.engine().queue();
    let body = QueueBody {
        pending: queue.pending,
        processing: queue.processing,
        dead_letter: queue.dead_letter,
        last_processed_at: queue.last_processed_at,
    };
    fresh(reply::json(StatusCode::OK, &body))
}

/// `GET` and `POST /api/cron/process-vote-queue`
pub(super) async fn drain(State(app): State<App>, headers: HeaderMap) -> Outcome {
    if !bears(&headers, app.0.options.cron_secret.as_deref()) {
        return Err(Reject::Unauthorized.into());
    }
    let began = Instant::now();
    let refused_before = app.engine().queue().dead_letter;
    let processed = app.engine().drain().await?;
    let queue = app.engine().queue();
    let body = Drained {
        success: true,
        processed,
        failed: queue.dead_letter.saturating_sub(refused_before),
        remaining_in_queue: queue.pending + queue.processing,
        execution_time_ms: u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX),
    };
    Ok(fresh(reply::json(StatusCode::OK, &body)))
}

fn fresh(mut answer: Whole) -> Whole {
    answer.headers_mut().insert(CACHE_CONTROL, NO_STORE);
    answer
}
