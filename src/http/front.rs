//! What stands before every request: its id, the guard that lets a panic end one request and nothing else, the counting
//! of answers, and the short way to the two hot calls. A bare hyper service: no layer, no box and no task a request
//! on that way, and for a slot's clips not even a future: they are at hand. Never: a word on what was
//! asked, which is its handler's.

mod ids;
#[cfg(test)]
mod tests;

use std::convert::Infallible;
use std::net::IpAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use axum::Router;
use axum::body::Body as AxumBody;
use axum::extract::MatchedPath;
use bytes::Bytes;
use http::header::CONTENT_LENGTH;
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{Either, Full};
use hyper::body::{Body as _, Incoming};
use pin_project_lite::pin_project;
use tower::ServiceExt;

use super::compress::{self, Coding};
use super::openapi::Promises;
use super::origins::Asked;
use super::reply::Whole;
use super::{App, push, reply, routes, slot, vote};
use crate::domain::Origin;
use crate::error::Reject;
use crate::traces::{Stages, Trace, Traces};
use ids::RequestIds;

/// Bytes at hand, or what an axum handler made.
pub(super) type Body = Either<Full<Bytes>, AxumBody>;

/// Every answer has one.
pub(super) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// What a filter of the log calls a request's line.
const REQUESTS: &str = "plaudit::requests";
const VOTE_METHODS: &str = "GET, HEAD, POST, DELETE, OPTIONS";

/// What a connection holds for as long as it lives, as whatever becomes of it.
pub(super) type Held = std::sync::Arc<dyn Send + Sync>;

/// The client's address, for handlers behind the router.
#[derive(Clone, Copy, Debug)]
pub(super) struct Client(pub(super) IpAddr);

/// Shared by all connections of a server.
pub(super) struct Front {
    app: App,
    router: Router,
    promises: Promises,
    ids: RequestIds,
}

impl Front {
    pub(super) fn new(app: App) -> Self {
        let router = routes::router(app.clone());
        let promises = Promises::of(&routes::table(app.0.options.testing.is_some()));
        Self { app, router, promises, ids: RequestIds::new() }
    }

    /// What it answers for.
    pub(super) fn app(&self) -> &App {
        &self.app
    }

    /// Answers one request of a peer, whose connection holds `held`. Never fails: whatever goes wrong is an answer. `task` wakes the
    /// connection where it is polled by a waker in front of that: what a request waits for wakes the task itself.
    pub(super) fn answer<'a>(
        &'a self,
        peer: IpAddr,
        request: Request<Incoming>,
        held: &'a Held,
        task: Option<&'a Waker>,
    ) -> Answer<'a, impl Future<Output = Whole> + use<'a>> {
        let trace = self.app.0.options.traces.as_ref().and_then(|traces| self.traced(traces, peer, &request));
        if trace.is_some() || tracing::enabled!(target: REQUESTS, tracing::Level::DEBUG) {
            return Answer::Apart { apart: Box::pin(self.watched(trace, peer, request, held)) };
        }
        Answer::Here { here: self.answered(peer, request, held, task) }
    }

    /// The trace of a request, if it has one. Only listed proxies choose what is traced: others could have all of it sent.
    fn traced(&self, traces: &Traces, peer: IpAddr, request: &Request<Incoming>) -> Option<Trace> {
        let parent = request.headers().get("traceparent");
        let parent = parent.filter(|_| self.app.0.options.trusted_proxies.trusts(peer));
        traces.begin(parent.map(HeaderValue::as_bytes))
    }

    /// Answers a request, and tells of it: a line in the log at debug, a span if it is traced. Neither has its path, which may name
    /// someone, nor a header.
    async fn watched(
        &self,
        trace: Option<Trace>,
        peer: IpAddr,
        request: Request<Incoming>,
        held: &Held,
    ) -> Response<Body> {
        let began = Instant::now();
        let method = request.method().clone();
        let path = request.uri().path();
        let own = match path {
            _ if path == routes::VOTE => Some(routes::VOTE),
            _ if path.starts_with("/app/") => Some("/app/{key}"),
            _ if path.starts_with("/apps/") => Some("/apps/{id}/…"),
            _ => None,
        };
        let answer = self.answered(peer, request, held, None);
        let (answer, stages) = match &self.app.0.options.traces {
            Some(traces) if trace.is_some() => traces.record(answer).await,
            _ => (answer.await, Stages::default()),
        };
        let matched = answer.extensions().get::<MatchedPath>().map(MatchedPath::as_str);
        let (route, status) = (own.or(matched).unwrap_or("none"), answer.status().as_u16());
        let took_ms = began.elapsed().as_secs_f64() * 1e3;
        let id = answer.headers().get(REQUEST_ID).and_then(|id| id.to_str().ok()).unwrap_or_default();
        tracing::debug!(target: REQUESTS, %method, route, status, took_ms, request_id = id, "answered");
        if let (Some(traces), Some(trace)) = (&self.app.0.options.traces, trace) {
            traces.end(trace, stages, &method, route, status);
        }
        answer
    }

    fn answered<'a>(
        &'a self,
        peer: IpAddr,
        request: Request<Incoming>,
        held: &'a Held,
        task: Option<&'a Waker>,
    ) -> Answering<'a, impl Future<Output = Whole> + use<'a>> {
        let id = self.ids.of(request.headers());
        let problem = reply::wants_problem(request.headers());
        let asked = self.app.0.options.origins.asked(&request);
        let head = request.method() == Method::HEAD;
        let course = self.dispatch(peer, request, problem, held);
        Answering { front: self, id: Some(id), problem, head, asked, task, course }
    }

    /// Sends a request on its way. Nothing in here may panic unguarded: a [`Course`] is guarded from its first poll on.
    fn dispatch<'a>(
        &'a self,
        peer: IpAddr,
        request: Request<Incoming>,
        problem: bool,
        held: &'a Held,
    ) -> Course<'a, impl Future<Output = Whole> + use<'a>> {
        if request.uri().path() != routes::VOTE {
            // Boxed: the router's future is large, and every connection would carry its size.
            return Course::Long { long: Box::pin(self.elsewhere(peer, request, held)) };
        }
        let act = match *request.method() {
            Method::POST => vote::Act::Cast(Origin::default()),
            Method::DELETE => vote::Act::Retract,
            _ => {
                let read = || self.read(&request, problem);
                let answer = catch_unwind(AssertUnwindSafe(read)).ok();
                return match answer {
                    Some((coding @ Some(_), answer)) => {
                        Course::Long { long: Box::pin(self.app.0.packed.answer(coding, answer.map(Either::Left))) }
                    }
                    answer => Course::Done { answer: answer.map(|(_, answer)| answer.map(Either::Left)) },
                };
            }
        };
        let (parts, body) = request.into_parts();
        Course::Vote { vote: vote::answer(&self.app, act, peer, parts.headers, body, problem), act }
    }

    /// Answers what asks of a slot; with the coding that is wanted, for a read that went well.
    fn read(&self, request: &Request<Incoming>, problem: bool) -> (Option<Coding>, Whole) {
        let method = request.method();
        let answer = match *method {
            Method::GET | Method::HEAD => slot::answer(&self.app, request.uri(), request.headers()),
            Method::OPTIONS => Ok(reply::options(VOTE_METHODS)),
            _ => Err(Reject::MethodNotAllowed { allow: VOTE_METHODS }),
        };
        let coded = matches!(*method, Method::GET | Method::HEAD) && answer.is_ok();
        let answer = answer.unwrap_or_else(|reject| reply::refusal(&reject, problem));
        if cfg!(debug_assertions) {
            self.promises.hold(method, routes::VOTE, &answer);
        }
        (if coded { Coding::wanted(request.headers()) } else { None }, answer)
    }

    /// Answers what is not the path of the two hot calls.
    async fn elsewhere(&self, peer: IpAddr, request: Request<Incoming>, held: &Held) -> Response<Body> {
        let client = self.app.0.options.trusted_proxies.client(peer, request.headers());
        let Some(push) = push::takes(&self.app, request.uri().path()) else {
            return self.route(client, request).await;
        };
        let asked = cfg!(debug_assertions).then(|| (request.method().clone(), request.uri().path().to_owned()));
        let answer = Box::pin(push::answer(&self.app, push, client, request, held)).await;
        if let Some((method, path)) = asked {
            self.promises.hold(&method, &path, &answer);
        }
        answer.map(Either::Left)
    }

    /// An answer to a read, compressed if that is wanted.
    async fn coded(&self, coding: Option<Coding>, mut answer: Response<Body>) -> Response<Body> {
        if coding.is_some() {
            return self.app.0.packed.answer(coding, answer).await;
        }
        compress::vary(&mut answer);
        answer
    }

    async fn route(&self, client: IpAddr, mut request: Request<Incoming>) -> Response<Body> {
        let problem = reply::wants_problem(request.headers());
        if request.method() == Method::HEAD {
            // As GET up to the end, so that nothing but the body is missing of what that says.
            *request.method_mut() = Method::GET;
        }
        let read = request.method() == Method::GET;
        let coding = if read { Coding::wanted(request.headers()) } else { None };
        request.extensions_mut().insert(Client(client));
        let mut answer = match self.router.clone().oneshot(request).await {
            Ok(answer) => answer,
            Err(never) => match never {},
        };
        match answer.extensions_mut().remove::<Reject>() {
            Some(reject) => reply::refusal(&reject, problem).map(Either::Left),
            None if read => self.coded(coding, answer.map(Either::Right)).await,
            None => answer.map(Either::Right),
        }
    }
}

type Boxed<'a> = Pin<Box<dyn Future<Output = Response<Body>> + Send + 'a>>;

// Futures by hand, here and below, in place of functions that are async: each of those would copy the request, and the future
// within it, once more, and add to every poll.
pin_project! {
    /// The answer to a request, in the making.
    #[project = AnswerNow]
    pub(super) enum Answer<'a, V> {
        Here { #[pin] here: Answering<'a, V> },
        /// Boxed: few are, and every connection would carry their size.
        Apart { apart: Boxed<'a> },
    }
}

impl<V: Future<Output = Whole>> Future for Answer<'_, V> {
    type Output = Result<Response<Body>, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project() {
            AnswerNow::Here { here } => here.poll(cx),
            AnswerNow::Apart { apart } => apart.as_mut().poll(cx),
        }
        .map(Ok)
    }
}

pin_project! {
    /// A course, with what holds of the answer wherever it comes from.
    pub(super) struct Answering<'a, V> {
        front: &'a Front,
        id: Option<HeaderValue>,
        problem: bool,
        head: bool,
        asked: Option<Asked>,
        // In the place of whoever polls.
        task: Option<&'a Waker>,
        #[pin]
        course: Course<'a, V>,
    }
}

impl<V: Future<Output = Whole>> Future for Answering<'_, V> {
    type Output = Response<Body>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Response<Body>> {
        let this = self.project();
        let mut cx = Context::from_waker(this.task.unwrap_or(cx.waker()));
        let Poll::Ready(answer) = guarded(this.course, &this.front.promises, &mut cx) else { return Poll::Pending };
        let id = this.id.take().expect("polled no more once it is ready");
        let mut answer = answer.unwrap_or_else(|| {
            tracing::error!(request_id = ?id, "a handler panicked");
            reply::internal_error(&id, *this.problem).map(Either::Left)
        });
        answer.headers_mut().insert(REQUEST_ID, id);
        if let Some(asked) = this.asked.take() {
            asked.answer(answer.headers_mut());
        }
        if *this.head {
            answer = bare(answer);
        }
        let metrics = this.front.app.engine().metrics();
        match answer.status().as_u16() {
            ..400 => metrics.answers_ok.inc(),
            400..500 => metrics.answers_rejected.inc(),
            _ => metrics.answers_failed.inc(),
        };
        Poll::Ready(answer)
    }
}

/// An answer to HEAD: without its body, whose length it says. Not left to hyper, which would send it over HTTP/2.
fn bare(answer: Response<Body>) -> Response<Body> {
    let length = answer.body().size_hint().exact().filter(|length| *length > 0);
    let mut answer = answer.map(|_| Either::Left(Full::default()));
    if let Some(length) = length {
        answer.headers_mut().insert(CONTENT_LENGTH, length.into());
    } else if answer.status() == StatusCode::NOT_MODIFIED {
        // Its length is not the page's.
        answer.headers_mut().remove(CONTENT_LENGTH);
    }
    answer
}

pin_project! {
    /// Where a request is dealt with.
    #[project = CourseNow]
    enum Course<'a, V> {
        /// It is dealt with; `None` once its answer is taken, or because it panicked.
        Done { answer: Option<Response<Body>> },
        Vote { #[pin] vote: V, act: vote::Act },
        Long { long: Boxed<'a> },
    }
}

/// `None` when it panicked.
fn guarded<V: Future<Output = Whole>>(
    course: Pin<&mut Course<'_, V>>,
    promises: &Promises,
    cx: &mut Context<'_>,
) -> Poll<Option<Response<Body>>> {
    // Unwind safe: after a panic it is never polled again, and what is shared is behind locks that hold no half-done change
    // across a call that can panic.
    let polled = catch_unwind(AssertUnwindSafe(|| match course.project() {
        CourseNow::Done { answer } => Poll::Ready(answer.take()),
        CourseNow::Long { long } => long.as_mut().poll(cx).map(Some),
        CourseNow::Vote { vote, act } => vote.poll(cx).map(|answer| {
            if cfg!(debug_assertions) {
                promises.hold(&act.method(), routes::VOTE, &answer);
            }
            Some(answer.map(Either::Left))
        }),
    }));
    polled.unwrap_or(Poll::Ready(None))
}
