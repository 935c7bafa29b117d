//! Panics, and what is left of the connection that they came over.

use std::future::poll_fn;
use std::path::Path;
use std::pin::pin;
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

#[tokio::test]
async fn a_panic_ends_its_own_course_alone() {
    let promises = Promises::default();
    let vote = async {
        tokio::task::yield_now().await;
        assert!(std::hint::black_box(false), "a panic on purpose");
        reply::empty(http::StatusCode::OK)
    };
    let mut panics = pin!(Course::Vote { vote, act: vote::Act::Retract });
    assert!(poll_fn(|cx| guarded(panics.as_mut(), &promises, cx)).await.is_none());
    let long = Box::pin(async { reply::empty(http::StatusCode::NO_CONTENT).map(Either::Left) });
    let mut calm: Pin<&mut Course<'_, std::future::Pending<Whole>>> = pin!(Course::Long { long });
    let answer = poll_fn(|cx| guarded(calm.as_mut(), &promises, cx)).await;
    assert_eq!(answer.unwrap().status(), http::StatusCode::NO_CONTENT);
}

#[tokio::test]
async fn a_handler_that_panics_is_an_internal_error_and_the_connection_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let front = Front { router: panicking(), ..Front::new(app(dir.path())) };
    let (near, far) = tokio::io::duplex(4096);
    let held: Held = Arc::new(());
    let service = service_fn(|request| front.answer([192, 0, 2, 1].into(), request, &held, None));
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
    assert_eq!((answers[0].0, &error["error"], &error["requestId"]), (500, &"INTERNAL_ERROR".into(), &"r-1".into()));
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
