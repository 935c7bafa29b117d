//! The operator's verbs of a slot's life, what the public sees of it, and that hidden counts are seen nowhere.

use std::collections::BTreeSet;

use plaudit::engine::{Engine, RoundSettings};
use serde_json::{Value, json};

use crate::server::{ADMIN, Answer, NOON, Setup, TestServer};

const SLOT: &str = "/api/admin/seasons/s/slots/1";

async fn verb(server: &TestServer, verb: &str, body: Value) -> Answer {
    server.admin("POST", &format!("{SLOT}/{verb}"), body).await
}

/// Looks at a slot until it is in that state.
async fn until(server: &TestServer, path: &str, status: &str) -> Value {
    crate::server::until(&format!("{path} is {status}"), async || server.get(path).await.is(200)["status"] == status)
        .await;
    server.get(path).await.is(200)
}

fn refused(answer: &Answer, state: &str) {
    assert_eq!(answer.refuses(409, "WRONG_STATE")["state"], state);
}

#[tokio::test]
async fn each_verb_says_the_slot_and_a_state_that_forbids_it() {
    let server = TestServer::staged(2).await;
    refused(&verb(&server, "reopen", json!({})).await, "voting");
    let extended = verb(&server, "extend", json!({"votingEndsAt": NOON + 9_000})).await.is(200);
    assert_eq!((&extended["votingEndsAt"], &extended["timeRemainingMs"]), (&json!(NOON + 9_000), &json!(9_000)));
    let open_ended = verb(&server, "extend", json!({"votingEndsAt": null})).await.is(200);
    assert_eq!(open_ended["votingEndsAt"], Value::Null);
    for wrong in [json!({}), json!({"votingEndsAt": NOON})] {
        verb(&server, "extend", wrong).await.refuses(400, "INVALID_PARAMETER");
    }
    verb(&server, "extend", json!({"votingEndsAt": "soon"})).await.refuses(400, "INVALID_JSON");

    let cast = server.vote("ada", "c1").await.is(200);
    let frozen = verb(&server, "freeze", json!({})).await.is(200);
    assert_eq!((&frozen["status"], &frozen["frozenBy"]), (&json!("frozen"), &json!("operator")));
    let at: u64 = frozen["freezeEventId"].as_str().unwrap().parse().unwrap();
    assert!(at > cast["eventId"].as_str().unwrap().parse().unwrap());
    refused(&verb(&server, "freeze", json!({})).await, "frozen");
    refused(&verb(&server, "extend", json!({"votingEndsAt": NOON + 9_000})).await, "frozen");
    server.vote("eve", "c0").await.refuses(400, "VOTING_CLOSED");

    let again = verb(&server, "reopen", json!({"votingEndsAt": NOON + 9_000})).await.is(200);
    assert_eq!((&again["status"], &again["votingEndsAt"]), (&json!("voting"), &json!(NOON + 9_000)));
    server.vote("eve", "c0").await.is(200);
    server.vote("fay", "c0").await.is(200);
    verb(&server, "freeze", json!({})).await.is(200);
    let locked = verb(&server, "lock", json!({})).await.is(200);
    assert_eq!((&locked["winnerClipId"], &locked["decidedBy"]), (&json!("c0"), &json!("votes")));
    assert_eq!((&locked["status"], &locked["frozenBy"]), (&json!("locked"), &json!("operator")));
    for wrong in ["freeze", "reopen", "lock"] {
        refused(&verb(&server, wrong, json!({})).await, "locked");
    }
    refused(&verb(&server, "extend", json!({"votingEndsAt": NOON + 9_000})).await, "locked");
    refused(&verb(&server, "winner", json!({"clipId": "c1", "reason": "late"})).await, "locked");
    assert_eq!(server.get("/api/seasons/s").await.is(200)["status"], "finished");
}

#[tokio::test]
async fn a_lock_in_voting_says_that_it_froze() {
    let server = TestServer::staged(1).await;
    assert_eq!(verb(&server, "lock", json!({})).await.is(200)["frozenBy"], "lock");
    assert_eq!(server.get("/api/seasons/s/slots/1").await.is(200)["frozenBy"], "lock");
}

#[tokio::test]
async fn a_reopened_slot_keeps_its_end_if_that_is_still_to_come() {
    let server = TestServer::staged(2).await;
    verb(&server, "extend", json!({"votingEndsAt": NOON + 9_000})).await.is(200);
    verb(&server, "freeze", json!({})).await.is(200);
    assert_eq!(verb(&server, "reopen", json!({})).await.is(200)["votingEndsAt"], NOON + 9_000);
    verb(&server, "freeze", json!({})).await.is(200);
    server.clock.advance(10_000);
    let open_ended = server.call("POST", &format!("{SLOT}/reopen")).header("authorization", ADMIN).send().await;
    assert_eq!(open_ended.is(200)["votingEndsAt"], Value::Null);
}

#[tokio::test]
async fn a_winner_by_hand_is_a_clip_of_the_slot_with_a_reason_that_operators_see() {
    let server = TestServer::staged(2).await;
    server.admin("POST", "/api/admin/seasons/s/slots", json!({})).await.is(201);
    let elsewhere = json!({"id": "other", "title": "Elsewhere"});
    server.admin("POST", "/api/admin/seasons/s/slots/2/clips", elsewhere).await.is(201);
    server.vote("ada", "c0").await.is(200);
    verb(&server, "winner", json!({"reason": "x"})).await.refuses(400, "MISSING_CLIP_ID");
    verb(&server, "winner", json!({"clipId": "c1"})).await.refuses(400, "INVALID_PARAMETER");
    verb(&server, "winner", json!({"clipId": "c1", "reason": "x".repeat(501)})).await.refuses(400, "INVALID_PARAMETER");
    for unknown in ["other", "nothing"] {
        verb(&server, "winner", json!({"clipId": unknown, "reason": "x"})).await.refuses(404, "CLIP_NOT_FOUND");
    }
    assert_eq!(server.get("/api/seasons/s/slots/1").await.is(200)["status"], "voting", "nothing has changed");
    let told = verb(&server, "winner", json!({"clipId": "c1", "reason": "c0 was withdrawn"})).await.is(200);
    assert_eq!((&told["status"], &told["winnerClipId"]), (&json!("locked"), &json!("c1")));
    assert_eq!((&told["decidedBy"], &told["decisionReason"]), (&json!("operator"), &json!("c0 was withdrawn")));
    let public = server.get("/api/seasons/s/slots/1").await.is(200);
    assert_eq!((&public["decidedBy"], public.get("decisionReason")), (&json!("operator"), None));
}

#[tokio::test]
async fn an_answer_is_told_to_be_known_once_its_time_runs_no_more() {
    let server = TestServer::staged(2).await;
    for path in ["/api/seasons", "/api/seasons/s", "/api/seasons/s/slots/1"] {
        let first = server.get(path).await;
        assert_eq!(first.header("cache-control"), Some("no-cache"));
        let tag = first.header("etag").expect("a tag").to_owned();
        let again = server.call("GET", path).header("if-none-match", &tag).send().await;
        assert_eq!(again.status.as_u16(), 304);
        verb(&server, "extend", json!({"votingEndsAt": NOON + 60_000_000})).await.is(200);
        let tag = server.get(path).await.header("etag").expect("a tag").to_owned();
        server.clock.advance(1);
        let later = server.call("GET", path).header("if-none-match", &tag).send().await;
        assert_eq!(later.status.as_u16(), 200, "a millisecond less is left");
        verb(&server, "extend", json!({"votingEndsAt": null})).await.is(200);
    }
}

/// By the clock alone, over HTTP: the end of one slot, the next with the setting's end, hidden as the first, and a slot that
/// waits for its second clip.
#[tokio::test]
async fn rounds_go_on_by_the_clock() {
    let dir = tempfile::tempdir().unwrap();
    let clock = std::sync::Arc::new(plaudit::clock::ManualClock::at(NOON));
    let rounds = RoundSettings { slot_ms: Some(60_000), ..RoundSettings::default() };
    let settings = plaudit::engine::Settings { rounds, ..crate::server::settings(dir.path()) };
    let engine = Engine::open(settings, std::sync::Arc::<plaudit::clock::ManualClock>::clone(&clock)).unwrap();
    let server = TestServer::over(engine, clock, Setup::default(), Some(dir));
    server.admin("POST", "/api/admin/seasons", json!({"id": "s", "name": "Season"})).await.is(201);
    for (slot, clips) in [(1, 2), (2, 2), (3, 1)] {
        server.admin("POST", "/api/admin/seasons/s/slots", json!({})).await.is(201);
        for n in 0..clips {
            let clip = json!({"id": format!("c{slot}{n}"), "title": "A clip"});
            server.admin("POST", &format!("/api/admin/seasons/s/slots/{slot}/clips"), clip).await.is(201);
        }
    }
    let opened = verb(&server, "open", json!({"resultsHidden": true})).await.is(200);
    assert_eq!(opened["votingEndsAt"], NOON + 60_000, "the setting's end");
    server.vote("ada", "c11").await.is(200);
    server.clock.advance(59_999);
    server.vote("bob", "c11").await.is(200);
    server.clock.advance(1);
    let closed = until(&server, "/api/seasons/s/slots/1", "locked").await;
    assert_eq!((&closed["winnerClipId"], &closed["decidedBy"]), (&json!("c11"), &json!("votes")));
    let next = until(&server, "/api/seasons/s/slots/2", "voting").await;
    assert_eq!((&next["votingEndsAt"], &next["resultsHidden"]), (&json!(NOON + 120_000), &json!(true)));
    server.clock.set(NOON);
    server.vote("ada", "c21").await.is(200);
    server.clock.set(NOON + 120_000);
    until(&server, "/api/seasons/s/slots/3", "waiting_for_clips").await;
    assert_eq!(server.get("/api/seasons/s").await.is(200)["status"], "active");
    let second = json!({"id": "c31", "title": "The second"});
    server.admin("POST", "/api/admin/seasons/s/slots/3/clips", second).await.is(201);
    until(&server, "/api/seasons/s/slots/3", "voting").await;
    server.admin("POST", "/api/admin/seasons/s/slots/3/lock", json!({})).await.is(200);
    assert_eq!(server.get("/api/seasons/s").await.is(200)["status"], "finished");
}

/// Two slots with the same votes but for their number: whatever can be read is the same for both, byte for byte, until the lock.
#[tokio::test]
async fn nothing_that_can_be_read_depends_on_a_hidden_count() {
    let mut seen = Vec::new();
    for votes in [0, 7] {
        let server = TestServer::start();
        server.admin("POST", "/api/admin/seasons", json!({"id": "s", "name": "Season"})).await.is(201);
        server.admin("POST", "/api/admin/seasons/s/slots", json!({})).await.is(201);
        for n in 0..3 {
            let clip = json!({"id": format!("c{n}"), "title": format!("Clip {n}")});
            server.admin("POST", &format!("{SLOT}/clips"), clip).await.is(201);
        }
        verb(&server, "open", json!({"resultsHidden": true})).await.is(200);
        let comment = json!({"clipId": "c2", "content": "A word"});
        server.call("POST", "/api/comments").user("zoe").json(comment).send().await.is(201);
        for n in 0..votes {
            let cast = server.vote(&format!("voter-{n}"), "c2").await.is(200);
            assert_eq!((&cast["voteCount"], &cast["weightedScore"]), (&Value::Null, &Value::Null));
        }
        if votes > 0 {
            server.vote("gone", "c2").await.is(200);
            let back = server.retract("gone", "c2").await.is(200);
            assert_eq!((&back["voteCount"], &back["weightedScore"]), (&Value::Null, &Value::Null));
        }
        let mut pages = pages(&server).await;
        verb(&server, "freeze", json!({})).await.is(200);
        pages.extend(self::pages(&server).await);
        seen.push(pages);
        verb(&server, "lock", json!({})).await.is(200);
        let shown = server.get("/api/vote/counts?clipIds=c2").await.is(200);
        assert_eq!(shown["counts"]["c2"]["voteCount"], votes, "the lock shows them");
    }
    for (none, seven) in seen[0].iter().zip(&seen[1]) {
        assert_eq!(none, seven);
    }
}

/// Every route that anyone, and that an operator, reads. `/metrics` and `/api/queue` count what the whole server does, so of
/// those the names are compared: none is a clip's or a slot's.
async fn pages(server: &TestServer) -> Vec<String> {
    let mut pages = Vec::new();
    for path in [
        "/api/vote?season=s&slot=1",
        "/api/vote/counts?clipIds=c0,c1,c2",
        "/api/vote/mine?clipIds=c0,c1,c2",
        "/api/vote/limit",
        "/api/seasons",
        "/api/seasons/s",
        "/api/seasons/s/slots/1",
        "/api/seasons/s/slots/1/history",
        "/api/comments?clipId=c2",
        "/api/comments?clipId=c2&sort=top",
        "/api/comments/count?clipIds=c0,c1,c2",
    ] {
        let answer = server.call("GET", path).user("a reader").send().await;
        let mut body = answer.is(200);
        // Sequences count all events, not votes.
        blank(&mut body, &["freezeEventId", "eventId"]);
        let etag = if path.starts_with("/api/seasons") { None } else { answer.header("etag") };
        pages.push(format!("{path} {body} {etag:?}"));
    }
    for path in ["/api/admin/seasons", "/api/admin/comments?status=reported"] {
        let mut body = server.call("GET", path).header("authorization", ADMIN).send().await.is(200);
        blank(&mut body, &["freezeEventId"]);
        pages.push(format!("{path} {body}"));
    }
    let metrics = server.get("/metrics").await;
    let text = String::from_utf8(metrics.body.to_vec()).unwrap();
    let names: BTreeSet<&str> = text.lines().filter_map(|line| line.split([' ', '=']).next()).collect();
    pages.push(format!("/metrics {names:?}"));
    assert!(!text.contains("c2"), "no metric names a clip");
    pages
}

/// Empties these fields, wherever they are.
fn blank(value: &mut Value, names: &[&str]) {
    match value {
        Value::Object(fields) => {
            for (name, field) in fields {
                if names.contains(&name.as_str()) {
                    *field = Value::Null;
                } else {
                    blank(field, names);
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| blank(item, names)),
        _ => {}
    }
}
