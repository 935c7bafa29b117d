//! The routes behind the hot ones, on axum: which path takes which methods. Handlers return a [`Refused`] that carries
//! its reason in the response's extensions; `front` phrases it, as for the hot calls.

use axum::Router;
use axum::extract::{MatchedPath, Request};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, delete, get, post, put};
use http::Method;

use super::reply::{self, Whole};
use super::{
    App, admin, certificate, comments, counts, data, leaderboard, moderation, ops, pages, seasons, stream, timeline,
    votes,
};
use crate::error::Reject;

/// What a handler makes of a request.
pub(super) type Outcome = Result<Whole, Refused>;

/// A reject on its way to `front`.
#[derive(Debug)]
pub(super) struct Refused(Reject);

impl From<Reject> for Refused {
    fn from(reject: Reject) -> Self {
        Self(reject)
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let mut response = Response::default();
        response.extensions_mut().insert(self.0);
        response
    }
}

const READ: &str = "GET, HEAD, OPTIONS";
const WRITE: &str = "POST, OPTIONS";
const BOTH: &str = "GET, HEAD, POST, OPTIONS";
const SLOT: &str = "/api/admin/seasons/{season}/slots/{position}";

/// Every route but `/api/vote`.
pub(super) fn router(app: App) -> Router {
    Router::new()
        .route("/api/vote/counts", only(READ, get(counts::counts)))
        .route("/api/vote/mine", only(READ, get(counts::mine)))
        .route("/api/vote/limit", only(READ, get(counts::limit)))
        .route("/api/seasons", only(READ, get(seasons::list)))
        .route("/api/seasons/{season}", only(READ, get(seasons::season)))
        .route("/api/seasons/{season}/slots/{position}", only(READ, get(seasons::slot)))
        .route("/api/leaderboard", only(READ, get(leaderboard::page)))
        .route("/api/leaderboard/me", only(READ, get(leaderboard::me)))
        .route("/api/clips/{id}/timeline", only(READ, get(timeline::timeline)))
        .route("/api/clips/{id}/timeline.svg", only(READ, get(pages::chart::timeline)))
        .route("/api/seasons/{season}/slots/{position}/certificate", only(READ, get(certificate::certificate)))
        .route("/api/seasons/{season}/slots/{position}/proof", only(READ, get(certificate::proof)))
        .route("/api/comments", only(BOTH, get(comments::list).post(comments::post)))
        .route("/api/comments/count", only(READ, get(comments::count)))
        .route("/api/comments/{id}", only("DELETE, OPTIONS", delete(comments::delete)))
        .route("/api/comments/{id}/like", only("PUT, DELETE, OPTIONS", put(comments::like).delete(comments::unlike)))
        .route("/api/comments/{id}/report", only(WRITE, post(comments::report)))
        .route("/api/admin/comments", only(READ, get(moderation::list)))
        .route("/api/admin/comments/{id}/approve", only(WRITE, post(moderation::approve)))
        .route("/api/admin/comments/{id}/hide", only(WRITE, post(moderation::hide)))
        .route("/api/stream", only(READ, get(stream::stream)))
        .route("/api/queue", only(READ, get(ops::queue)))
        .route("/api/cron/process-vote-queue", only(BOTH, get(ops::drain).post(ops::drain)))
        .route("/api/admin/seasons", only(BOTH, get(admin::seasons).post(admin::create_season)))
        .route("/api/admin/seasons/{season}/slots", only(WRITE, post(admin::create_slot)))
        .route(&format!("{SLOT}/clips"), only(WRITE, post(admin::add_clip)))
        .route(&format!("{SLOT}/open"), only(WRITE, post(admin::open)))
        .route(&format!("{SLOT}/freeze"), only(WRITE, post(admin::freeze)))
        .route(&format!("{SLOT}/extend"), only(WRITE, post(admin::extend)))
        .route(&format!("{SLOT}/reopen"), only(WRITE, post(admin::reopen)))
        .route(&format!("{SLOT}/lock"), only(WRITE, post(admin::lock)))
        .route("/api/admin/votes", only(READ, get(votes::list)))
        .route(&format!("{SLOT}/winner"), only(WRITE, post(admin::winner)))
        .route("/api/admin/bans", only(READ, get(admin::bans)))
        .route("/api/admin/bans/{sub}", only("PUT, DELETE, OPTIONS", put(admin::ban).delete(admin::unban)))
        .route("/api/admin/export", only(READ, get(data::export)))
        .route("/api/admin/backup", only(READ, get(data::backup)))
        .route("/livez", only(READ, get(ops::livez)))
        .route("/readyz", only(READ, get(ops::readyz)))
        .route("/metrics", only(READ, get(ops::metrics)))
        .route("/", only(READ, get(pages::viewer)))
        .route("/admin", only(READ, get(pages::admin)))
        .route("/embed/{clip}", only(READ, get(pages::embed)))
        .route("/embed.js", only(READ, get(pages::loader)))
        .route("/pages/{file}", only(READ, get(pages::file)))
        .fallback(nothing)
        .with_state(app)
        .layer(axum::middleware::from_fn(noted))
}

/// A route that takes these methods, and says so to whoever tries another or asks.
fn only(allow: &'static str, methods: MethodRouter<App>) -> MethodRouter<App> {
    methods.fallback(move |method: Method| async move {
        let asked = method == Method::OPTIONS;
        if asked { Ok(reply::options(allow)) } else { Err(Refused(Reject::MethodNotAllowed { allow })) }
    })
}

/// Says in the answer which route it is of: the pattern, for a path may name someone.
async fn noted(request: Request, next: Next) -> Response {
    let route = request.extensions().get::<MatchedPath>().cloned();
    let mut answer = next.run(request).await;
    if let Some(route) = route {
        answer.extensions_mut().insert(route);
    }
    answer
}

async fn nothing() -> Refused {
    Refused(Reject::NotFound)
}
