//! What stands before every request: its id, the guard that lets a panic end one request and nothing else, the counting
//! of answers, and the short way to the two hot calls. A bare hyper service: no layer, no box and no task a request
//! on that way.

use std::convert::Infallible;
use std::future::poll_fn;
use std::net::IpAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use axum::Router;
use axum::body::Body as AxumBody;
use axum::extract::MatchedPath;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response};
use http_body_util::{Either, Full};
use hyper::body::Incoming;
use tower::ServiceExt;

use super::compress::{self, Coding};
use super::openapi::Promises;
use super::{App, push, reply, routes, slot, vote};
use crate::domain::Origin;
use crate::error::Reject;
use crate::traces::{Stages, Trace, Traces};

/// Bytes at hand, or what an axum handler made.
pub(super) type Body = Either<Full<Bytes>, AxumBody>;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const REQUEST_ID_MAX: usize = 128;
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

    /// Answers one request of a peer, whose connection holds `held`. Never fails: whatever goes wrong is an answer.
    pub(super) async fn answer(
        &self,
        peer: IpAddr,
        request: Request<Incoming>,
        held: &Held,
    ) -> Result<Response<Body>, Infallible> {
        let trace = self.app.0.options.traces.as_ref().and_then(|traces| self.traced(traces, peer, &request));
        if trace.is_some() || tracing::enabled!(target: REQUESTS, tracing::Level::DEBUG) {
            // Boxed: few are watched, and every connection would carry its size.
            return Ok(Box::pin(self.watched(trace, peer, request, held)).await);
        }
        Ok(self.answered(peer, request, held).await)
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
        let answer = self.answered(peer, request, held);
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

    async fn answered(&self, peer: IpAddr, request: Request<Incoming>, held: &Held) -> Response<Body> {
        let id = self.ids.of(request.headers());
        let problem = reply::wants_problem(request.headers());
        let asked = self.app.0.options.origins.asked(&request);
        let answer = guarded(self.dispatch(peer, request, held)).await;
        let mut answer = answer.unwrap_or_else(|| {
            tracing::error!(request_id = ?id, "a handler panicked");
            reply::internal_error(&id, problem).map(Either::Left)
        });
        answer.headers_mut().insert(REQUEST_ID, id);
        if let Some(asked) = asked {
            asked.answer(answer.headers_mut());
        }
        let metrics = self.app.engine().metrics();
        match answer.status().as_u16() {
            ..400 => metrics.answers_ok.inc(),
            400..500 => metrics.answers_rejected.inc(),
            _ => metrics.answers_failed.inc(),
        };
        answer
    }

    async fn dispatch(&self, peer: IpAddr, request: Request<Incoming>, held: &Held) -> Response<Body> {
        let client = self.app.0.options.trusted_proxies.client(peer, request.headers());
        if request.uri().path() != routes::VOTE {
            if let Some(push) = push::takes(&self.app, request.uri().path()) {
                let asked = cfg!(debug_assertions).then(|| (request.method().clone(), request.uri().path().to_owned()));
                let answer = Box::pin(push::answer(&self.app, push, client, request, held)).await;
                if let Some((method, path)) = asked {
                    self.promises.hold(&method, &path, &answer);
                }
                return answer.map(Either::Left);
            }
            // Boxed: the router's future is large, and every connection would carry its size.
            return Box::pin(self.route(client, request)).await;
        }
        let coding = if request.method() == Method::GET { Coding::wanted(request.headers()) } else { None };
        let (parts, body) = request.into_parts();
        let answer = match parts.method {
            Method::POST => {
                vote::answer(&self.app, vote::Act::Cast(Origin::default()), client, &parts.headers, body).await
            }
            Method::DELETE => vote::answer(&self.app, vote::Act::Retract, client, &parts.headers, body).await,
            Method::GET | Method::HEAD => {
                let answer = slot::answer(&self.app, &parts.uri, &parts.headers);
                if cfg!(debug_assertions)
                    && let Ok(answer) = &answer
                {
                    self.promises.hold(&parts.method, routes::VOTE, answer);
                }
                match answer {
                    Ok(answer) if coding.is_none() => return answer.map(Either::Left),
                    Ok(answer) => return self.coded(coding, answer.map(Either::Left)).await,
                    Err(reject) => Err(reject),
                }
            }
            Method::OPTIONS => Ok(reply::options(VOTE_METHODS)),
            _ => Err(Reject::MethodNotAllowed { allow: VOTE_METHODS }),
        };
        let answer = answer.unwrap_or_else(|reject| reply::refusal(&reject, reply::wants_problem(&parts.headers)));
        if cfg!(debug_assertions) {
            self.promises.hold(&parts.method, routes::VOTE, &answer);
        }
        answer.map(Either::Left)
    }

    /// An answer to a read, compressed if that is wanted.
    async fn coded(&self, coding: Option<Coding>, mut answer: Response<Body>) -> Response<Body> {
        if coding.is_some() {
            // Boxed: most clients of this path want none, and every connection would carry its size.
            return Box::pin(self.app.0.packed.answer(coding, answer)).await;
        }
        compress::vary(&mut answer);
        answer
    }

    async fn route(&self, client: IpAddr, mut request: Request<Incoming>) -> Response<Body> {
        let problem = reply::wants_problem(request.headers());
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

/// `None` when the future panicked.
async fn guarded<F: Future>(future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    // Unwind safe: after a panic the future is never polled again, and what is shared is behind locks that hold no
    // half-done change across a call that can panic.
    poll_fn(|cx| match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx))) {
        Ok(polled) => polled.map(Some),
        Err(_) => std::task::Poll::Ready(None),
    })
    .await
}

/// Makes ids that differ within a process and, as good as surely, between processes.
struct RequestIds {
    next: AtomicU64,
    mask: u64,
}

impl RequestIds {
    fn new() -> Self {
        // Without randomness the ids of two processes may meet, which confuses a log and harms nothing.
        let mask = getrandom::u64().unwrap_or(0);
        Self { next: AtomicU64::new(0), mask }
    }

    /// The client's own id if it is one that can be logged, else one of ours.
    fn of(&self, headers: &HeaderMap) -> HeaderValue {
        let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.:".contains(byte);
        if let Some(own) = headers.get(REQUEST_ID) {
            let text = own.as_bytes();
            if (1..=REQUEST_ID_MAX).contains(&text.len()) && text.iter().all(plain) {
                return own.clone();
            }
        }
        let number = self.next.fetch_add(1, Ordering::Relaxed) ^ self.mask;
        let mut hex = [0; 16];
        for (at, digit) in hex.iter_mut().enumerate() {
            *digit = b"0123456789abcdef"[usize::try_from(number >> (60 - 4 * at) & 0xf).expect("4 bits")];
        }
        HeaderValue::from_bytes(&hex).expect("hex digits")
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;

    use axum::routing::get;
    use http_body_util::BodyExt;
    use hyper::server::conn::http1;
    use hyper::service::service_fn;
    use hyper_util::rt::TokioIo;

    use super::*;
    use crate::admission::{Admission, AdmissionOptions};
    use crate::clock::{Clock, SystemClock};
    use crate::domain::VoterKey;
    use crate::engine::{Engine, Settings};
    use crate::http::AppOptions;
    use crate::identity::{Identity, IdentityOptions};

    fn id(ids: &RequestIds, own: Option<&str>) -> String {
        let mut headers = HeaderMap::new();
        if let Some(own) = own {
            headers.insert(REQUEST_ID, HeaderValue::from_bytes(own.as_bytes()).unwrap());
        }
        ids.of(&headers).to_str().unwrap().to_owned()
    }

    #[test]
    fn a_sane_id_of_the_client_is_kept_and_others_are_replaced() {
        let ids = RequestIds { next: AtomicU64::new(0), mask: 0xabc0_0000_0000_0000 };
        assert_eq!(id(&ids, Some("f47ac10b-58cc:1_2.3")), "f47ac10b-58cc:1_2.3");
        assert_eq!(id(&ids, None), "abc0000000000000");
        assert_eq!(id(&ids, Some("a b")), "abc0000000000001");
        assert_eq!(id(&ids, Some("")), "abc0000000000002");
        assert_eq!(id(&ids, Some(&"x".repeat(129))), "abc0000000000003");
    }

    #[tokio::test]
    async fn a_panic_ends_its_own_future_alone() {
        let calm = guarded(async { 1 }).await;
        let panicked = guarded(async {
            tokio::task::yield_now().await;
            assert!(calm.is_none(), "a panic on purpose");
        })
        .await;
        assert_eq!((calm, panicked), (Some(1), None));
    }

    #[tokio::test]
    async fn a_handler_that_panics_is_an_internal_error_and_the_connection_goes_on() {
        let dir = tempfile::tempdir().unwrap();
        let front = Front { router: panicking(), ..Front::new(app(dir.path())) };
        let (near, far) = tokio::io::duplex(4096);
        let held: Held = Arc::new(());
        let service = service_fn(|request| front.answer([192, 0, 2, 1].into(), request, &held));
        let server = http1::Builder::new().serve_connection(TokioIo::new(far), service);
        let client = async {
            let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(near)).await.unwrap();
            let asks = async {
                let mut answers = Vec::new();
                for path in ["/panic", "/fine"] {
                    let request = Request::get(path).header("x-request-id", "r-1").body(Full::<Bytes>::default());
                    let answer = sender.send_request(request.unwrap()).await.unwrap();
                    let status = answer.status().as_u16();
                    answers.push((status, answer.into_body().collect().await.unwrap().to_bytes()));
                }
                drop(sender);
                answers
            };
            tokio::join!(asks, connection).0
        };
        let (answers, _) = tokio::join!(client, server);
        let error: serde_json::Value = serde_json::from_slice(&answers[0].1).unwrap();
        assert_eq!(
            (answers[0].0, &error["error"], &error["requestId"]),
            (500, &"INTERNAL_ERROR".into(), &"r-1".into())
        );
        assert_eq!(answers[1], (200, Bytes::from_static(b"fine")));
    }

    fn panicking() -> Router {
        let fails = || async { assert!(std::hint::black_box(false), "a panic on purpose") };
        Router::new().route("/panic", get(fails)).route("/fine", get(|| async { "fine" }))
    }

    fn app(dir: &Path) -> App {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let key = VoterKey::new([7; 32]);
        let engine = Engine::open(Settings::new(dir, key.clone()), Arc::clone(&clock)).unwrap();
        let identity = Identity::new(IdentityOptions {
            jwt_secret: Vec::new(),
            jwt_issuer: None,
            jwt_audience: None,
            cookie_key: [0; 32],
            voter_key: key,
            devices_per_network: 1,
        });
        let admission = Admission::new(AdmissionOptions::off(), &clock);
        App::new(engine, identity, admission, AppOptions::default())
    }
}
