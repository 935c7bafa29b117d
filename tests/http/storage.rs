//! What clients see of a disk that is slow or fails.

use std::sync::Arc;

use plaudit::clock::ManualClock;
use plaudit::engine::{Engine, Settings};
use plaudit::store::{FaultyDisk, Store};
use serde_json::json;

use crate::server::{ADMIN, NOON, Setup, TestServer, settings, until};
use crate::through::{Slow, Through};

async fn over(disk: &FaultyDisk) -> TestServer {
    over_stores(disk.open("log"), disk.open("tables")).await
}

async fn over_stores(log: Arc<dyn Store>, tables: Arc<dyn Store>) -> TestServer {
    let clock = Arc::new(ManualClock::at(NOON));
    let shared = Arc::<ManualClock>::clone(&clock);
    let unused = tempfile::tempdir().unwrap();
    // Nobody reads the tables, and nothing is written, but for what the test asks for.
    let settings = Settings { reconcile_every_s: 0, ..settings(unused.path()) };
    let engine = Engine::over(settings, shared, log, tables).unwrap();
    let server = TestServer::over(engine, clock, Setup::default(), None);
    server.stage("s", 3).await;
    server
}

/// From here on flushes are held: the next one is that of what is asked for next.
async fn hold_flushes(server: &TestServer, disk: &FaultyDisk) {
    server.engine.drain().await.unwrap();
    disk.hold_flushes(true);
    assert_eq!(disk.held_flushes(), 0);
}

fn keyed(server: &TestServer, key: &str) -> crate::server::Call {
    server.call("POST", "/api/vote").user("ada").header("idempotency-key", key).json(json!({"clipId": "c0"}))
}

#[tokio::test]
async fn a_failed_disk_refuses_writes_and_serves_reads() {
    let disk = FaultyDisk::new(1);
    let server = over(&disk).await;
    server.vote("ada", "c1").await.is(200);
    server.get("/readyz").await.is(200);
    disk.fail_at(1);
    keyed(&server, "k").send().await.refuses(503, "STORAGE_FAILED");
    let retried = keyed(&server, "k").send().await;
    retried.refuses(503, "STORAGE_FAILED");
    assert_eq!(retried.header("idempotency-replayed"), None, "a failure is no answer to keep");
    server.retract("ada", "c1").await.refuses(503, "STORAGE_FAILED");
    server.admin("POST", "/api/admin/seasons", json!({"name": "x"})).await.refuses(503, "STORAGE_FAILED");
    let counts = server.get("/api/vote/counts?clipIds=c0,c1").await.is(200);
    assert_eq!((&counts["counts"]["c0"]["voteCount"], &counts["counts"]["c1"]["voteCount"]), (&json!(0), &json!(1)));
    server.get("/api/vote").await.is(200);
    let unready = server.get("/readyz").await;
    assert!(unready.is(503)["reason"].as_str().is_some_and(|reason| !reason.is_empty()));
    server.get("/livez").await.is(200);
}

#[tokio::test]
async fn nothing_is_answered_or_shown_before_the_flush() {
    let disk = FaultyDisk::new(1);
    let server = over(&disk).await;
    hold_flushes(&server, &disk).await;
    let vote = tokio::spawn(keyed(&server, "k").send());
    until("the vote's flush is held", async || disk.held_flushes() > 0).await;
    assert_eq!(server.get("/api/vote").await.is(200)[0]["vote_count"], 0);
    assert!(!vote.is_finished());
    let twin = tokio::spawn(keyed(&server, "k").send());
    disk.hold_flushes(false);
    let (first, second) = (vote.await.unwrap(), twin.await.unwrap());
    assert_eq!(first.is(200)["voteCount"], 1);
    assert_eq!((second.status, &second.body), (first.status, &first.body));
    assert_eq!(second.header("idempotency-replayed"), Some("true"));
}

#[tokio::test]
async fn a_retry_after_its_client_left_gets_the_first_answer() {
    let disk = FaultyDisk::new(1);
    let server = over(&disk).await;
    hold_flushes(&server, &disk).await;
    let vote = tokio::spawn(keyed(&server, "k").send());
    until("the vote's flush is held", async || disk.held_flushes() > 0).await;
    vote.abort();
    assert!(vote.await.unwrap_err().is_cancelled());
    let retry = tokio::spawn(keyed(&server, "k").send());
    disk.hold_flushes(false);
    let retried = retry.await.unwrap();
    assert_eq!(retried.is(200)["voteCount"], 1);
    assert_eq!(retried.header("idempotency-replayed"), Some("true"));
    assert_eq!(server.get("/api/vote").await.is(200)[0]["vote_count"], 1);
}

#[tokio::test]
async fn a_comments_retry_is_told_that_the_first_is_under_way() {
    let disk = FaultyDisk::new(1);
    let server = over(&disk).await;
    let post = |sub: &str, content: &str| {
        let call = server.call("POST", "/api/comments").user(sub).header("idempotency-key", "k");
        call.json(json!({"clipId": "c0", "content": content})).send()
    };
    hold_flushes(&server, &disk).await;
    let first = tokio::spawn(post("ada", "hello"));
    until("the comment's flush is held", async || disk.held_flushes() > 0).await;
    for _ in 0..2 {
        let retried = post("ada", "hello").await;
        retried.refuses(409, "REQUEST_IN_FLIGHT");
        assert_eq!(retried.header("idempotency-replayed"), None);
    }
    post("ada", "another").await.refuses(422, "IDEMPOTENCY_KEY_REUSED");
    // The key is the voter's own.
    let other = tokio::spawn(post("bob", "hello"));
    assert!(!first.is_finished());
    disk.hold_flushes(false);
    let (first, other) = (first.await.unwrap(), other.await.unwrap());
    let id = first.is(201)["comment"]["id"].clone();
    assert_ne!(other.is(201)["comment"]["id"], id);
    let again = post("ada", "hello").await;
    assert_eq!((again.is(201)["comment"]["id"].clone(), again.header("idempotency-replayed")), (id, Some("true")));
    assert_eq!(server.get("/api/comments/count?clipIds=c0").await.is(200)["counts"]["c0"], 2);
}

/// The server runs on this test's one thread: a handler that waits for the disk would hold up everyone.
#[tokio::test]
async fn votes_do_not_wait_for_who_reads_comments_from_a_slow_disk() {
    let disk = FaultyDisk::new(1);
    let slow = Through::over(disk.open("tables"), Slow::default());
    let server = over_stores(disk.open("log"), Arc::<Through<Slow>>::clone(&slow)).await;
    server.comment("ada", "on the disk").await.is(201);
    let lists = [
        server.call("GET", "/api/comments?clipId=c0"),
        server.call("GET", "/api/comments?clipId=c0&sort=top").user("ada"),
        server.call("GET", "/api/admin/comments?status=hidden").header("authorization", ADMIN),
    ];
    for list in lists {
        // So that nobody but the list reads.
        server.engine.drain().await.unwrap();
        let guard = slow.hold();
        let list = tokio::spawn(list.send());
        until("a read is held", async || slow.hook.holds().1 > 0 || list.is_finished()).await;
        server.vote("ada", "c0").await.is(200);
        assert!(slow.hook.holds().0, "the vote was answered while the list waited");
        server.retract("ada", "c0").await.is(200);
        guard.thread().unpark();
        list.await.unwrap().is(200);
        guard.join().unwrap();
    }
}
