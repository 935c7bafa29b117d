//! Pages of other origins: who may call, with what, and that nobody may unless it was said.

use crate::server::{Answer, Setup, TestServer};
use plaudit::http::{AppOptions, Origins};
use serde_json::json;

async fn server(origins: Origins) -> TestServer {
    let app = AppOptions { origins, ..Setup::default().app };
    let server = TestServer::with(Setup { app, ..Setup::default() });
    server.stage("s", 1).await;
    server
}

fn said(answer: &Answer) -> Vec<(String, String)> {
    let headers =
        answer.headers.iter().filter(|(name, _)| name.as_str().starts_with("access-control-") || *name == "vary");
    headers.map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned())).collect()
}

async fn vote(server: &TestServer, origin: &str, user: &str) -> Answer {
    server.call("POST", "/api/vote").user(user).header("origin", origin).json(json!({"clipId": "c0"})).send().await
}

async fn before(server: &TestServer, origin: &str, path: &str) -> Answer {
    let call = server.call("OPTIONS", path).header("origin", origin).header("access-control-request-method", "POST");
    call.header("access-control-request-headers", "authorization,content-type,idempotency-key").send().await
}

#[tokio::test]
async fn pages_of_other_origins_are_told_nothing_unless_it_was_said() {
    let server = server(Origins::Own).await;
    let answer = vote(&server, "https://site.example", "ada").await;
    answer.is(200);
    assert_eq!(said(&answer), []);
    assert_eq!(said(&before(&server, "https://site.example", "/api/vote").await), []);
}

#[tokio::test]
async fn pages_of_all_origins_may_call_without_cookies() {
    let server = server(Origins::Any).await;
    for (path, methods) in [
        ("/api/vote", "GET, HEAD, POST, DELETE, OPTIONS"),
        ("/api/comments", "GET, HEAD, POST, OPTIONS"),
        ("/api/comments/1/like", "PUT, DELETE, OPTIONS"),
        ("/api/stream", "GET, HEAD, OPTIONS"),
    ] {
        let asked = before(&server, "https://site.example", path).await;
        asked.is(204);
        assert_eq!(asked.header("access-control-allow-origin"), Some("*"));
        assert_eq!(asked.header("access-control-allow-methods"), Some(methods));
        let sent = asked.header("access-control-allow-headers").unwrap();
        assert!(
            ["authorization", "content-type", "idempotency-key", "last-event-id"].iter().all(|one| sent.contains(one))
        );
    }
    for (user, status) in [("ada", 200), ("ada", 409)] {
        let answer = vote(&server, "https://site.example", user).await;
        answer.is(status);
        assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
        assert_eq!(answer.header("access-control-allow-credentials"), None);
        assert!(answer.header("access-control-expose-headers").unwrap().contains("retry-after"));
    }
    assert_eq!(said(&server.get("/api/vote").await), [], "no page has asked");
}

#[tokio::test]
async fn pages_of_listed_origins_may_call_with_cookies_and_caches_keep_them_apart() {
    let server = server(Origins::Listed(["https://site.example".into(), "https://b.example".into()].into())).await;
    let answer = vote(&server, "https://Site.example", "ada").await;
    assert_eq!(answer.header("access-control-allow-origin"), Some("https://Site.example"));
    assert_eq!(answer.header("access-control-allow-credentials"), Some("true"));
    for (origin, answer) in [
        ("https://other.example", vote(&server, "https://other.example", "bob").await),
        ("https://site.example.evil", before(&server, "https://site.example.evil", "/api/vote").await),
        ("none", server.get("/api/vote").await),
    ] {
        assert_eq!(said(&answer), [("vary".to_owned(), "origin".to_owned())], "{origin}");
    }
    let list = server.call("GET", "/api/comments?clipId=c0").header("origin", "https://b.example").send().await;
    let vary: Vec<_> = list.headers.get_all("vary").iter().collect();
    assert_eq!(vary, ["authorization, cookie", "origin"]);
    let file = server.call("GET", "/sdk/plaudit.js").header("origin", "https://b.example").send().await;
    assert_eq!(file.headers.get_all("access-control-allow-origin").iter().count(), 1);
}
