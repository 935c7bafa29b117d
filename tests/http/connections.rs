//! Connections that are slow, large or many, and a server that stops.

use std::time::Duration;

use crate::server::{PATIENCE, Setup, TestServer, token, until};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Reads until the server closes; the connection's reset counts as its end.
async fn rest_of(stream: &mut TcpStream) -> String {
    let mut text = Vec::new();
    let read = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut text)).await;
    drop(read.expect("the server closes"));
    String::from_utf8(text).unwrap()
}

fn body_of(answer: &str) -> Value {
    serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap()
}

fn head_of_vote(length: usize) -> String {
    format!(
        "POST /api/vote HTTP/1.1\r\nhost: test\r\ncontent-type: application/json\r\nauthorization: Bearer {}\r\n\
         content-length: {length}\r\n\r\n",
        token("ada")
    )
}

/// Long enough for a busy machine to send what the test does send.
const QUICK: Duration = Duration::from_secs(1);

#[tokio::test]
async fn a_body_that_does_not_arrive_is_a_timeout() {
    let mut setup = Setup::default();
    setup.app.body_timeout = QUICK;
    let server = TestServer::with(setup);
    let mut stream = server.connect().await;
    stream.write_all(head_of_vote(100).as_bytes()).await.unwrap();
    stream.write_all(b"{\"clipId\"").await.unwrap();
    let answer = rest_of(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    assert_eq!(body_of(&answer)["error"], "REQUEST_TIMEOUT");
}

#[tokio::test]
async fn headers_that_do_not_arrive_are_a_timeout_and_silence_is_closed() {
    let mut setup = Setup::default();
    setup.serve.header_timeout = QUICK;
    let server = TestServer::with(setup);
    let mut silent = server.connect().await;
    let mut slow = server.connect().await;
    slow.write_all(b"GET /livez HTTP/1.1\r\nhost:").await.unwrap();
    let mut idle = server.connect().await;
    idle.write_all(b"GET /livez HTTP/1.1\r\nhost: test\r\n\r\n").await.unwrap();
    assert_eq!(rest_of(&mut silent).await, "");
    let told = rest_of(&mut slow).await;
    assert!(told.starts_with("HTTP/1.1 408 "), "{told}");
    assert_eq!(body_of(&told)["error"], "REQUEST_TIMEOUT");
    assert!(rest_of(&mut idle).await.starts_with("HTTP/1.1 200 OK"), "it was answered, and then closed");
    server.get("/livez").await.is(200);
}

#[tokio::test]
async fn headers_over_the_limit_are_refused() {
    let server = TestServer::start();
    let mut stream = server.connect().await;
    let head = format!("GET /livez HTTP/1.1\r\nhost: test\r\nx-padding: {}\r\n\r\n", "x".repeat(16 * 1024));
    stream.write_all(head.as_bytes()).await.unwrap();
    let answer = rest_of(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
    server.call("GET", "/livez").header("x-padding", &"x".repeat(15 * 1024)).send().await.is(200);
}

#[tokio::test]
async fn a_chunked_body_is_bounded_too() {
    let server = TestServer::staged(1).await;
    let mut stream = server.connect().await;
    let head = "POST /api/vote HTTP/1.1\r\nhost: test\r\ncontent-type: application/json\r\n\
                transfer-encoding: chunked\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    let chunk = format!("1000\r\n{}\r\n", " ".repeat(4096));
    for _ in 0..5 {
        // The answer may come, and the connection end, before all is sent.
        let _ = stream.write_all(chunk.as_bytes()).await;
    }
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 413");
}

#[tokio::test]
async fn connections_past_the_bound_are_refused_clearly() {
    let mut setup = Setup::default();
    setup.serve.max_connections = 2;
    let server = TestServer::with(setup);
    let mut held = Vec::new();
    for _ in 0..2 {
        let mut stream = server.connect().await;
        stream.write_all(b"GET /livez HTTP/1.1\r\nhost: test\r\n\r\n").await.unwrap();
        let mut answer = [0; 15];
        stream.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"HTTP/1.1 200 OK");
        held.push(stream);
    }
    let mut third = server.connect().await;
    third.write_all(b"GET /livez HTTP/1.1\r\nhost: test\r\n\r\n").await.unwrap();
    let answer = rest_of(&mut third).await;
    assert!(answer.starts_with("HTTP/1.1 503 ") && answer.contains("connection: close"), "{answer}");
    assert!(answer.contains("retry-after: 1"), "{answer}");
    assert_eq!(body_of(&answer)["error"], "OVERLOADED");
    assert_eq!(server.engine.metrics().connections_refused.get(), 1);
    drop(held);
    until("a place is free", async || server.engine.metrics().connections.get() == 0).await;
    server.get("/livez").await.is(200);
}

#[tokio::test]
async fn one_address_holds_so_many_connections() {
    let mut setup = Setup::default();
    setup.serve.max_connections_per_address = Some(1);
    let server = TestServer::with(setup);
    let held = server.connect().await;
    until("it is counted", async || server.engine.metrics().connections.get() == 1).await;
    let answer = rest_of(&mut server.connect().await).await;
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    drop(held);
    until("the place is free", async || server.engine.metrics().connections.get() == 0).await;
    server.get("/livez").await.is(200);
}

#[tokio::test]
async fn a_connection_carries_many_requests() {
    let server = TestServer::staged(1).await;
    let mut stream = server.connect().await;
    let body = "{\"clipId\":\"c0\"}";
    let both =
        format!("{}{body}GET /api/vote HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n", head_of_vote(body.len()));
    stream.write_all(both.as_bytes()).await.unwrap();
    let answers = rest_of(&mut stream).await;
    assert_eq!(answers.matches("HTTP/1.1 200 OK").count(), 2, "{answers}");
    assert!(answers.contains("\"vote_count\":1"), "the second sees the first: {answers}");
}

#[tokio::test]
async fn a_server_that_stops_finishes_what_is_under_way() {
    let mut server = TestServer::staged(1).await;
    let body = "{\"clipId\":\"c0\"}";
    let mut under_way = server.connect().await;
    under_way.write_all(head_of_vote(body.len()).as_bytes()).await.unwrap();
    let mut idle = server.connect().await;
    idle.write_all(b"GET /livez HTTP/1.1\r\nhost: test\r\n\r\n").await.unwrap();
    let mut begun = [0; 15];
    idle.read_exact(&mut begun).await.unwrap();
    assert_eq!(&begun, b"HTTP/1.1 200 OK");

    server.begin_stop();
    let address = server.address;
    until("nothing more is accepted", async || TcpStream::connect(address).await.is_err()).await;
    rest_of(&mut idle).await;
    under_way.write_all(body.as_bytes()).await.unwrap();
    let answer = rest_of(&mut under_way).await;
    assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
    assert_eq!(body_of(&answer)["voteCount"], 1);
    server.stopped().await;
}

#[tokio::test]
async fn a_server_that_stops_waits_only_so_long() {
    let mut setup = Setup::default();
    setup.serve.drain = Duration::from_millis(50);
    let mut server = TestServer::with(setup);
    let mut stuck = server.connect().await;
    stuck.write_all(head_of_vote(100).as_bytes()).await.unwrap();
    until("it is counted", async || server.engine.metrics().connections.get() == 1).await;
    server.begin_stop();
    server.stopped().await;
    assert_eq!(rest_of(&mut stuck).await, "");
}

#[tokio::test]
async fn a_client_that_leaves_changes_nothing_about_its_vote() {
    let server = TestServer::staged(1).await;
    let body = "{\"clipId\":\"c0\"}";
    let mut stream = server.connect().await;
    stream.write_all((head_of_vote(body.len()) + body).as_bytes()).await.unwrap();
    drop(stream);
    until("the vote is counted", async || {
        let counts = server.get("/api/vote/counts?clipIds=c0").await.is(200);
        counts["counts"]["c0"]["voteCount"] == json!(1)
    })
    .await;
    server.vote("ada", "c0").await.refuses(409, "ALREADY_VOTED");
}
