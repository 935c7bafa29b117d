//! The document against the server: what it names is there, what is there it names. That answers are as it says is held by every
//! test of a debug build: see `http::openapi`.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::server::{ADMIN, NOON, Setup, TestServer, settings};
use plaudit::clock::ManualClock;
use plaudit::engine::Engine;
use plaudit::http::AppOptions;
use plaudit::push::apps::{self, Apps};
use plaudit::push::sign::Signer;
use plaudit::push::{Push, PushOptions};
use serde_json::Value;

/// A server with a broadcaster, so that all paths are there.
async fn whole() -> TestServer {
    let dir = tempfile::tempdir().unwrap();
    let clock = Arc::new(ManualClock::at(NOON));
    let engine = Engine::open(settings(dir.path()), Arc::<ManualClock>::clone(&clock)).unwrap();
    let apps =
        Apps::new(vec![apps::App { id: "1".into(), signer: Arc::new(Signer::new("key", b"secret")), disabled: false }]);
    let (hub, metrics) = (engine.hub().clone(), Arc::clone(engine.metrics()));
    let push = Push::new(hub, apps, PushOptions::default(), Arc::clone(engine.clock()), metrics).unwrap();
    let app = AppOptions { push: Some(push), ..Setup::default().app };
    let server = TestServer::over(engine, clock, Setup { app, ..Setup::default() }, Some(dir));
    server.stage("s", 1).await;
    server
}

/// The methods of each path, from the document.
fn documented(document: &Value) -> BTreeMap<String, Vec<String>> {
    let paths = document["paths"].as_object().unwrap();
    let methods = |item: &Value| item.as_object().unwrap().keys().map(|method| method.to_uppercase()).collect();
    paths.iter().map(|(path, item)| (path.clone(), methods(item))).collect()
}

/// A path with something in its places: of what is there where anything is.
fn filled(path: &str) -> String {
    let places = [
        ("season", "s"),
        ("position", "1"),
        ("sub", "ada"),
        ("app", "1"),
        ("key", "key"),
        ("channel", "x"),
        ("user", "u"),
        ("clip", "c0"),
        ("file", "app.js"),
    ];
    let id = if path.contains("/clips/") { "c0" } else { "1" };
    places.iter().fold(path.replace("{id}", id), |path, (name, value)| path.replace(&format!("{{{name}}}"), value))
}

#[tokio::test]
async fn every_path_takes_the_methods_that_the_document_names_and_no_others() {
    let server = whole().await;
    let document = server.get("/openapi.json").await.is(200);
    assert_eq!(document["openapi"], "3.1.0");
    let documented = documented(&document);
    assert!(documented.len() >= 49, "{documented:?}");
    for (path, methods) in documented {
        let at = filled(&path);
        // The broadcaster looks at the signature first, and at the method of a signed call alone.
        let by_broadcaster = path.starts_with("/app");
        if !by_broadcaster {
            let options = server.call("OPTIONS", &at).send().await;
            options.is(204);
            let mut allowed: Vec<_> = options.header("allow").unwrap().split(", ").map(str::to_owned).collect();
            allowed.retain(|method| method != "HEAD" && method != "OPTIONS");
            allowed.sort();
            let mut methods = methods.clone();
            methods.sort();
            assert_eq!(allowed, methods, "{path}");
        }
        for method in ["GET", "POST", "PUT", "PATCH", "DELETE"].into_iter().filter(|_| path != "/api/stream") {
            let answer = server.call(method, &at).send().await;
            let error = if answer.status.is_success() { Value::Null } else { answer.json()["error"].clone() };
            if methods.iter().any(|one| one == method) {
                let nothing = error == "NOT_FOUND" && answer.json()["message"] == "there is nothing here";
                let about_a_thing = path.contains("/comments/{id}");
                assert!(error != "METHOD_NOT_ALLOWED" && (!nothing || about_a_thing), "{method} {path}: {answer:?}");
            } else if !by_broadcaster {
                answer.refuses(405, "METHOD_NOT_ALLOWED");
            }
        }
    }
    let undocumented = server.get("/api/nothing").await.refuses(404, "NOT_FOUND");
    assert_eq!(undocumented["error"], "NOT_FOUND");
}

#[tokio::test]
async fn the_document_and_its_page_are_static_and_need_no_network() {
    let server = TestServer::start();
    let page = server.get("/docs").await;
    assert_eq!((page.status.as_u16(), page.header("content-type")), (200, Some("text/html; charset=utf-8")));
    let policy = page.header("content-security-policy").unwrap();
    assert!(policy.contains("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
    for path in ["/docs", "/openapi.json"] {
        let first = server.get(path).await;
        let tag = first.header("etag").unwrap().to_owned();
        let again = server.call("GET", path).header("if-none-match", &tag).header("authorization", ADMIN).send().await;
        assert_eq!((again.status.as_u16(), again.body.len()), (304, 0), "{path}");
    }
}
