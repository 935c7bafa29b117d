//! The routes: which path takes which methods, what answers, and what the document says of it. Router, `Allow` headers and
//! document are made of this one table, so a route can't be there without being said.
//!
//! Handlers return a [`Refused`] that carries its reason in the response's extensions; `front` phrases it, as for the hot calls.

use std::sync::Arc;

use axum::Router;
use axum::extract::{MatchedPath, Request};
use axum::handler::Handler;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodFilter, MethodRouter, on};
use http::Method;
use tower::util::MapResponseLayer;

use super::openapi::{
    self, About, Promise, comments as said_comments, operators as said, own as said_own, pages as said_pages,
    push as said_push, testing as said_testing, votes as said_votes,
};
use super::reply::{self, Whole};
use super::{
    App, admin, certificate, comments, counts, data, history, leaderboard, me, moderation, ops, pages, sdk, seasons,
    stream, testing, timeline, voids, votes,
};
use crate::error::Reject;

/// The path of the hot calls, which `front` answers itself.
pub(super) const VOTE: &str = "/api/vote";

/// Every route; `for_tests`: those of a server for a site's own tests too.
pub(super) fn table(for_tests: bool) -> Vec<Route> {
    let mut routes = vec![
        at(
            VOTE,
            [
                elsewhere(Verb::Get, said_votes::slot_clips()),
                elsewhere(Verb::Post, said_votes::cast()),
                elsewhere(Verb::Delete, said_votes::retract()),
            ],
        ),
        at("/api/vote/counts", [get(counts::counts, said_votes::counts())]),
        at("/api/vote/mine", [get(counts::mine, said_votes::mine())]),
        at("/api/vote/limit", [get(counts::limit, said_votes::limit())]),
        at("/api/seasons", [get(seasons::list, said_votes::seasons())]),
        at("/api/seasons/{season}", [get(seasons::season, said_votes::season())]),
        at("/api/seasons/{season}/slots/{position}", [get(seasons::slot, said_votes::slot())]),
        at(
            "/api/seasons/{season}/slots/{position}/certificate",
            [get(certificate::certificate, said_votes::certificate())],
        ),
        at("/api/seasons/{season}/slots/{position}/proof", [get(certificate::proof, said_votes::proof())]),
        at("/api/seasons/{season}/slots/{position}/history", [get(history::history, said_votes::history())]),
        at("/api/leaderboard", [get(leaderboard::page, said_votes::leaderboard())]),
        at("/api/leaderboard/me", [get(leaderboard::me, said_votes::own_rank())]),
        at("/api/clips/{id}/timeline", [get(timeline::timeline, said_votes::timeline())]),
        at("/api/clips/{id}/timeline.svg", [get(pages::chart::timeline, said_votes::chart())]),
        at("/api/comments", [get(comments::list, said_comments::list()), post(comments::post, said_comments::post())]),
        at("/api/comments/count", [get(comments::count, said_comments::count())]),
        at("/api/comments/{id}", [delete(comments::delete, said_comments::delete())]),
        at(
            "/api/comments/{id}/like",
            [put(comments::like, said_comments::like()), delete(comments::unlike, said_comments::unlike())],
        ),
        at("/api/comments/{id}/report", [post(comments::report, said_comments::report())]),
        at("/api/me", [delete(me::erase, said_own::erase())]),
        at("/api/me/export", [get(me::export, said_own::export())]),
        at("/api/stream", [get(stream::stream, said_comments::stream())]),
        at("/api/admin/comments", [get(moderation::list, said_comments::queue())]),
        at("/api/admin/comments/{id}/approve", [post(moderation::approve, said_comments::approve())]),
        at("/api/admin/comments/{id}/hide", [post(moderation::hide, said_comments::hide())]),
        at(
            "/api/admin/seasons",
            [get(admin::seasons, said::seasons()), post(admin::create_season, said::create_season())],
        ),
        at("/api/admin/seasons/{season}/slots", [post(admin::create_slot, said::create_slot())]),
        at("/api/admin/seasons/{season}/slots/{position}/clips", [post(admin::add_clip, said::add_clip())]),
        at("/api/admin/seasons/{season}/slots/{position}/open", [post(admin::open, said::open())]),
        at("/api/admin/seasons/{season}/slots/{position}/freeze", [post(admin::freeze, said::freeze())]),
        at("/api/admin/seasons/{season}/slots/{position}/extend", [post(admin::extend, said::extend())]),
        at("/api/admin/seasons/{season}/slots/{position}/reopen", [post(admin::reopen, said::reopen())]),
        at("/api/admin/seasons/{season}/slots/{position}/lock", [post(admin::lock, said::lock())]),
        at("/api/admin/seasons/{season}/slots/{position}/winner", [post(admin::winner, said::winner())]),
        at("/api/admin/votes", [get(votes::list, said::votes())]),
        at("/api/admin/voids", [get(voids::list, said::voids()), post(voids::create, said::void())]),
        at("/api/admin/voids/{id}", [delete(voids::lift, said::lift_void())]),
        at("/api/admin/bans", [get(admin::bans, said::bans())]),
        at("/api/admin/bans/{sub}", [put(admin::ban, said::ban()), delete(admin::unban, said::unban())]),
        at("/api/admin/voters/{sub}", [delete(me::erase_voter, said_own::erase_voter())]),
        at("/api/admin/export", [get(data::export, said::export())]),
        at("/api/admin/backup", [get(data::backup, said::backup())]),
        at("/api/queue", [get(ops::queue, said::queue())]),
        at(
            "/api/cron/process-vote-queue",
            [get(ops::drain, said::drain("drain")), post(ops::drain, said::drain("drainByPost"))],
        ),
        at("/livez", [get(ops::livez, said::livez())]),
        at("/readyz", [get(ops::readyz, said::readyz())]),
        at("/metrics", [get(ops::metrics, said::metrics())]),
        at("/", [get(pages::viewer, said_pages::viewer())]),
        at("/admin", [get(pages::admin, said_pages::admin())]),
        at("/embed/{clip}", [get(pages::embed, said_pages::embed())]),
        at("/embed.js", [get(pages::loader, said_pages::loader())]),
        at("/pages/{file}", [get(pages::file, said_pages::file())]),
        at("/openapi.json", [get(openapi::json, said::document())]),
        at("/docs", [get(openapi::page, said::page())]),
        at("/sdk/plaudit.js", [get(sdk::script, said::script())]),
        at("/sdk/plaudit.d.ts", [get(sdk::types, said::types())]),
        // The broadcaster has them, where there is one.
        at("/app/{key}", [elsewhere(Verb::Get, said_push::connect())]),
        at("/apps/{app}/events", [elsewhere(Verb::Post, said_push::trigger())]),
        at("/apps/{app}/batch_events", [elsewhere(Verb::Post, said_push::trigger_batch())]),
        at("/apps/{app}/channels", [elsewhere(Verb::Get, said_push::channels())]),
        at("/apps/{app}/channels/{channel}", [elsewhere(Verb::Get, said_push::channel())]),
        at("/apps/{app}/channels/{channel}/users", [elsewhere(Verb::Get, said_push::members())]),
        at("/apps/{app}/users/{user}/terminate_connections", [elsewhere(Verb::Post, said_push::terminate())]),
    ];
    if for_tests {
        routes.push(at("/api/test/reset", [post(testing::reset, said_testing::reset())]));
        routes.push(at(
            "/api/test/clock",
            [get(testing::clock, said_testing::clock()), post(testing::set_clock, said_testing::set_clock())],
        ));
    }
    routes
}

/// A path and what it takes.
pub(super) struct Route {
    pub(super) path: &'static str,
    pub(super) operations: Vec<Operation>,
}

/// A method of a path.
pub(super) struct Operation {
    pub(super) verb: Verb,
    pub(super) about: About,
    /// `None`: something before the router answers.
    handler: Option<MethodRouter<App>>,
}

/// A method. HEAD goes with GET, and OPTIONS with every path.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Verb {
    Get,
    Post,
    Put,
    Delete,
}

impl Verb {
    /// As the document spells it.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::Post => "post",
            Self::Put => "put",
            Self::Delete => "delete",
        }
    }

    /// The verb that answers a method.
    pub(super) fn of(method: &Method) -> Option<Self> {
        match *method {
            Method::GET | Method::HEAD => Some(Self::Get),
            Method::POST => Some(Self::Post),
            Method::PUT => Some(Self::Put),
            Method::DELETE => Some(Self::Delete),
            _ => None,
        }
    }

    fn filter(self) -> MethodFilter {
        match self {
            Self::Get => MethodFilter::GET,
            Self::Post => MethodFilter::POST,
            Self::Put => MethodFilter::PUT,
            Self::Delete => MethodFilter::DELETE,
        }
    }
}

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

/// Every route that no one before the router answers.
pub(super) fn router(app: App) -> Router {
    let mut router = Router::new();
    for Route { path, operations } in table(app.0.options.testing.is_some()) {
        let allow = allow(&operations);
        let handlers = operations.into_iter().filter_map(Operation::held);
        if let Some(methods) = handlers.reduce(MethodRouter::merge) {
            router = router.route(path, only(allow, methods));
        }
    }
    router.fallback(nothing).with_state(app).layer(axum::middleware::from_fn(noted))
}

/// What `Allow` says of a path with these methods.
pub(super) fn allow(operations: &[Operation]) -> &'static str {
    use Verb::{Delete, Get, Post, Put};
    let verbs: Vec<Verb> = operations.iter().map(|operation| operation.verb).collect();
    match verbs[..] {
        [Get] => "GET, HEAD, OPTIONS",
        [Post] => "POST, OPTIONS",
        [Put] => "PUT, OPTIONS",
        [Delete] => "DELETE, OPTIONS",
        [Get, Post] => "GET, HEAD, POST, OPTIONS",
        [Get, Delete] => "GET, HEAD, DELETE, OPTIONS",
        [Put, Delete] => "PUT, DELETE, OPTIONS",
        [Get, Post, Delete] => "GET, HEAD, POST, DELETE, OPTIONS",
        _ => unreachable!("{verbs:?}: a set of methods that Allow has no words for yet, or not in the order of Verb"),
    }
}

fn at<const N: usize>(path: &'static str, operations: [Operation; N]) -> Route {
    Route { path, operations: operations.into() }
}

fn get<H: Handler<T, App>, T: 'static>(handler: H, about: About) -> Operation {
    answered(Verb::Get, handler, about)
}

fn post<H: Handler<T, App>, T: 'static>(handler: H, about: About) -> Operation {
    answered(Verb::Post, handler, about)
}

fn put<H: Handler<T, App>, T: 'static>(handler: H, about: About) -> Operation {
    answered(Verb::Put, handler, about)
}

fn delete<H: Handler<T, App>, T: 'static>(handler: H, about: About) -> Operation {
    answered(Verb::Delete, handler, about)
}

fn answered<H: Handler<T, App>, T: 'static>(verb: Verb, handler: H, about: About) -> Operation {
    Operation { verb, about, handler: Some(on(verb.filter(), handler)) }
}

fn elsewhere(verb: Verb, about: About) -> Operation {
    Operation { verb, about, handler: None }
}

impl Operation {
    /// Its handler; in debug builds, one that can't answer what the document doesn't say.
    fn held(self) -> Option<MethodRouter<App>> {
        let handler = self.handler?;
        if !cfg!(debug_assertions) {
            return Some(handler);
        }
        let promise = Arc::new(Promise::of(&self.about));
        let hold = move |response: Response| {
            let code = response.extensions().get::<Reject>().map(Reject::code);
            promise.hold(response.status(), response.headers(), code);
            response
        };
        Some(handler.layer(MapResponseLayer::new(hold)))
    }
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
