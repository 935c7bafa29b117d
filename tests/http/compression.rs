//! Compressed answers: what comes out is what went in, caches can tell the codings apart, and small answers and streams stay plain.

use std::io::Read;

use bytes::Bytes;

use crate::server::{Answer, TestServer};

fn plain(answer: &Answer) -> Vec<u8> {
    let mut text = Vec::new();
    match answer.header("content-encoding") {
        Some("gzip") => flate2::read::GzDecoder::new(&answer.body[..]).read_to_end(&mut text).unwrap(),
        Some("br") => brotli::Decompressor::new(&answer.body[..], 4096).read_to_end(&mut text).unwrap(),
        Some(other) => panic!("{other}"),
        None => {
            text.clone_from(&answer.body.to_vec());
            text.len()
        }
    };
    text
}

async fn asks(server: &TestServer, path: &str, coding: &str) -> Answer {
    server.call("GET", path).header("accept-encoding", coding).send().await
}

#[tokio::test]
async fn a_large_read_is_compressed_as_its_client_wants_it() {
    let server = TestServer::staged(40).await;
    for path in ["/api/vote", "/api/vote?season=s&slot=1", "/metrics"] {
        let whole = server.get(path).await;
        assert_eq!((whole.header("content-encoding"), whole.header("vary")), (None, Some("accept-encoding")), "{path}");
        for (asked, got) in [("gzip", "gzip"), ("br", "br"), ("gzip, deflate, br", "br")] {
            let answer = asks(&server, path, asked).await;
            assert_eq!((answer.status.as_u16(), answer.header("content-encoding")), (200, Some(got)), "{path}");
            assert_eq!(answer.header("vary"), Some("accept-encoding"));
            assert_eq!(answer.header("content-length").unwrap().parse::<usize>().unwrap(), answer.body.len());
            assert!(answer.body.len() * 2 < whole.body.len(), "{path}: {} of {}", answer.body.len(), whole.body.len());
            if path != "/metrics" {
                assert_eq!(Bytes::from(plain(&answer)), whole.body, "{path}");
            }
        }
        let refused = asks(&server, path, "gzip;q=0, identity").await;
        assert_eq!(refused.header("content-encoding"), None);
    }
}

#[tokio::test]
async fn a_tag_of_a_compressed_page_is_weak_and_is_known_again() {
    let server = TestServer::staged(40).await;
    let tag = server.get("/api/vote").await.header("etag").unwrap().to_owned();
    let weak = asks(&server, "/api/vote", "br").await.header("etag").unwrap().to_owned();
    assert_eq!(weak, format!("W/{tag}"));
    for known in [&tag, &weak] {
        let again = server.call("GET", "/api/vote").header("accept-encoding", "br").header("if-none-match", known);
        let again = again.send().await;
        assert_eq!((again.status.as_u16(), again.body.len()), (304, 0));
        assert_eq!((again.header("content-encoding"), again.header("vary")), (None, Some("accept-encoding")));
    }
}

#[tokio::test]
async fn small_answers_and_those_to_votes_are_left_alone() {
    let server = TestServer::staged(1).await;
    let vote = server.call("POST", "/api/vote").user("ada").header("accept-encoding", "gzip, br");
    let vote = vote.json(serde_json::json!({"clipId": "c0"})).send().await;
    assert_eq!((vote.status.as_u16(), vote.header("content-encoding"), vote.header("vary")), (200, None, None));
    for path in ["/livez", "/api/vote", "/nowhere"] {
        let answer = asks(&server, path, "gzip, br").await;
        assert_eq!((answer.header("content-encoding"), answer.header("vary")), (None, None), "{path}");
    }
}

/// All but what differs from one answer to the next.
fn lasting(answer: &Answer) -> Vec<(String, String)> {
    let headers = answer.headers.iter().map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()));
    let mut headers: Vec<_> = headers.filter(|(name, _)| !matches!(&name[..], "date" | "x-request-id")).collect();
    headers.sort();
    headers
}

#[tokio::test]
async fn head_says_what_get_says_and_nothing_more() {
    let server = TestServer::staged(40).await;
    let mut coded = 0;
    for path in ["/api/vote", "/api/vote?season=s&slot=1", "/openapi.json", "/", "/livez", "/nowhere"] {
        for coding in ["identity", "gzip", "br"] {
            let [get, head] = ["GET", "HEAD"].map(|method| server.call(method, path).header("accept-encoding", coding));
            let (get, head) = (get.send().await, head.send().await);
            assert_eq!((get.status, lasting(&get)), (head.status, lasting(&head)), "{path}, {coding}");
            assert_eq!(head.body.len(), 0, "{path}, {coding}");
            coded += usize::from(head.header("content-encoding").is_some());
            if let Some(tag) = get.header("etag") {
                let [get, head] = ["GET", "HEAD"].map(|method| {
                    server.call(method, path).header("accept-encoding", coding).header("if-none-match", tag)
                });
                let (get, head) = (get.send().await, head.send().await);
                assert_eq!((get.status.as_u16(), lasting(&get)), (304, lasting(&head)), "{path}, {coding}");
            }
        }
    }
    assert!(coded > 4, "{coded} were compressed");
    // Whose length nobody knows.
    let head = server.call("HEAD", "/api/stream?channels=clip-c0").send().await;
    let said = ["content-type", "content-length"].map(|name| head.header(name));
    assert_eq!((head.status.as_u16(), said), (200, [Some("text/event-stream"), None]));
    let [get, head] = ["GET", "HEAD"].map(|method| server.call(method, "/metrics").header("accept-encoding", "gzip"));
    let (get, head) = (get.send().await, head.send().await);
    let said = |answer: &Answer| ["content-encoding", "vary"].map(|name| answer.header(name).map(str::to_owned));
    assert_eq!((head.status.as_u16(), said(&head), head.body.len()), (200, said(&get), 0));
    assert!(head.header("content-length").unwrap().parse::<usize>().unwrap() > 100);
}
