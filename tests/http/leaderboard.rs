//! Leaderboards and timelines over HTTP: order, pages, caching, one's own rank, and nothing of what is hidden.

use std::time::Duration;

use crate::server::{MIDNIGHT, NOON, TestServer, until};
use serde_json::{Value, json};

/// A user's vote of a kind, once the boards have it.
async fn vote(server: &TestServer, sub: &str, clip: &str, kind: &str) {
    let sent = server.call("POST", "/api/vote").user(sub).json(json!({"clipId": clip, "voteType": kind})).send().await;
    reached(server, &sent.is(200)).await;
}

/// The boards contain a vote's event.
async fn reached(server: &TestServer, receipt: &Value) {
    let seq: u64 = receipt["eventId"].as_str().unwrap().parse().unwrap();
    server.engine.drain().await.unwrap();
    // They follow from the first ask on.
    server.engine.boards().wait(Duration::ZERO);
    until("the boards have the vote", async || server.engine.boards().as_of() >= seq).await;
}

/// What a board lists: names and scores, and that the ranks are in order.
async fn board(server: &TestServer, query: &str) -> Vec<(String, u64, u64)> {
    let body = server.get(&format!("/api/leaderboard?{query}")).await.is(200);
    let name = |entry: &Value| entry.get("clipId").or(entry.get("userId")).unwrap().as_str().unwrap().to_owned();
    let entries = body["entries"].as_array().unwrap();
    assert!(entries.iter().zip(1_u64..).all(|(entry, rank)| entry["rank"] == rank), "{body}");
    assert_eq!(body["total"], entries.len(), "{body}");
    let score = |entry: &Value, name: &str| entry[name].as_u64().unwrap();
    entries.iter().map(|entry| (name(entry), score(entry, "weightedScore"), score(entry, "voteCount"))).collect()
}

fn named(server: &TestServer, sub: &str) -> String {
    let key = &server.engine.settings().voter_key;
    key.public(key.user(sub))
}

#[tokio::test]
async fn nothing_is_read_before_the_first_ask_which_waits_for_it() {
    let server = TestServer::staged(2).await;
    for sub in ["ada", "bob"] {
        server.call("POST", "/api/vote").user(sub).json(json!({"clipId": "c0"})).send().await.is(200);
    }
    server.engine.drain().await.unwrap();
    assert!(!server.engine.boards().are_asked_for());
    assert_eq!((server.engine.boards().as_of(), server.engine.boards().held()), (0, (0, 0, 0)));
    let engine = server.engine.clone();
    // Comes back as soon as they are read; over HTTP an ask waits in the same way, for a second.
    tokio::task::spawn_blocking(move || engine.boards().wait(Duration::from_secs(100))).await.unwrap();
    assert_eq!(board(&server, "type=clips").await, [("c0".to_owned(), 2, 2)]);
    assert_eq!(server.engine.boards().held().1, 2);
}

#[tokio::test]
async fn clips_voters_and_creators_are_ranked_by_weight_then_votes_then_who_was_first() {
    let server = TestServer::staged(4).await;
    let own = json!({"id": "made", "title": "Made", "ownerId": "cid", "username": "Cid C.", "avatarUrl": "/c.png"});
    server.admin("POST", "/api/admin/seasons/s/slots/1/clips", own).await.is(201);
    for (sub, clip, kind) in
        [("ada", "c0", "super"), ("bob", "c1", "super"), ("eve", "c2", "standard"), ("cid", "c1", "standard")]
    {
        vote(&server, sub, clip, kind).await;
    }
    for (sub, clip) in [("ada", "c2"), ("bob", "c2"), ("ada", "made")] {
        vote(&server, sub, clip, "standard").await;
    }
    let clip = |id: &str, weight, votes| (id.to_owned(), weight, votes);
    // c0 and c2 weigh the same, c2 has more votes.
    let wanted = [clip("c1", 4, 2), clip("c2", 3, 3), clip("c0", 3, 1), clip("made", 1, 1)];
    for scope in ["", "season=s", "season=s&slot=1", "slot=1", "type=clips&window=day&season=s"] {
        assert_eq!(board(&server, scope).await, wanted, "{scope}");
    }
    let user = |sub: &str, weight, votes| (named(&server, sub), weight, votes);
    let voters = [user("ada", 5, 3), user("bob", 4, 2), user("eve", 1, 1), user("cid", 1, 1)];
    assert_eq!(board(&server, "type=voters").await, voters);
    assert_eq!(board(&server, "type=creators&slot=1").await, [user("cid", 1, 1)]);
    let creators = server.get("/api/leaderboard?type=creators").await.is(200);
    let cid = &creators["entries"][0];
    assert_eq!((&cid["username"], &cid["avatarUrl"]), (&json!("Cid C."), &json!("/c.png")));
    let clips = server.get("/api/leaderboard?limit=1").await.is(200);
    assert_eq!((&clips["entries"][0]["title"], &clips["entries"][0]["slot"]), (&json!("Clip 1"), &json!(1)));

    // The last one counts no more: the one before it decides between c3 and c0 again.
    let back = server.call("DELETE", "/api/vote").user("bob").json(json!({"clipId": "c1"})).send().await.is(200);
    reached(&server, &back).await;
    let voters = [user("ada", 5, 3), user("eve", 1, 1), user("cid", 1, 1), user("bob", 1, 1)];
    assert_eq!(board(&server, "type=voters").await, voters);
    assert_eq!(board(&server, "").await, [clip("c2", 3, 3), clip("c0", 3, 1), clip("c1", 1, 1), clip("made", 1, 1)]);

    // Another day: nothing of today yet, and everything of all days.
    server.clock.set(MIDNIGHT + 1);
    until("the day has begun", async || board(&server, "window=day").await.is_empty()).await;
    assert_eq!(board(&server, "type=voters").await.len(), 4);
    vote(&server, "eve", "c3", "standard").await;
    assert_eq!(board(&server, "window=day").await, [clip("c3", 1, 1)]);
    assert_eq!(board(&server, "window=day&type=voters").await, [user("eve", 1, 1)]);
}

#[tokio::test]
async fn a_board_is_read_page_by_page_and_kept_by_caches() {
    let server = TestServer::staged(25).await;
    for n in 0..25 {
        vote(&server, "ada", &format!("c{n}"), "standard").await;
    }
    let (mut seen, mut next) = (Vec::new(), Some("/api/leaderboard?type=clips&season=s&limit=10".to_owned()));
    while let Some(path) = next {
        let answer = server.get(&path).await;
        let body = answer.is(200);
        seen.extend(body["entries"].as_array().unwrap().iter().map(|one| one["clipId"].as_str().unwrap().to_owned()));
        next = answer.header("link").map(|link| {
            let url = link.strip_prefix('<').unwrap().strip_suffix(">; rel=\"next\"").unwrap();
            assert!(url.ends_with(body["nextCursor"].as_str().unwrap()));
            url.to_owned()
        });
        assert_eq!((body["hasMore"].as_bool(), body["total"].as_u64()), (Some(next.is_some()), Some(25)));
    }
    assert_eq!(seen, (0..25).map(|n| format!("c{n}")).collect::<Vec<_>>());

    let path = "/api/leaderboard?limit=3";
    let first = server.get(path).await;
    first.is(200);
    assert_eq!(first.header("cache-control"), Some("public, max-age=5, stale-while-revalidate=10"));
    assert_eq!(first.header("set-cookie"), None);
    let tag = first.header("etag").unwrap().to_owned();
    // An event elsewhere moves `asOf` and nothing else.
    server.comment("ada", "hello").await.is(201);
    server.engine.drain().await.unwrap();
    let again = server.call("GET", path).header("if-none-match", &tag).send().await;
    assert_eq!((again.status.as_u16(), again.body.len(), again.header("etag")), (304, 0, Some(tag.as_str())));
    vote(&server, "bob", "c7", "mega").await;
    let changed = server.call("GET", path).header("if-none-match", &tag).send().await;
    assert_eq!(changed.is(200)["entries"][0]["clipId"], "c7");
    assert!(changed.json()["asOf"].as_str().unwrap().parse::<u64>().unwrap() > 0);
}

#[tokio::test]
async fn ones_own_rank_is_a_private_answer() {
    let server = TestServer::staged(2).await;
    vote(&server, "ada", "c0", "super").await;
    vote(&server, "bob", "c0", "standard").await;
    let me = async |sub: &str, query: &str| {
        server.call("GET", &format!("/api/leaderboard/me?{query}")).user(sub).send().await
    };
    let answer = me("bob", "season=s").await;
    let body = answer.is(200);
    assert_eq!(answer.header("cache-control"), Some("private, no-store"));
    let wanted = (&json!(2), &json!(2), &json!(1), &json!(1), &json!("voters"));
    assert_eq!((&body["rank"], &body["total"], &body["voteCount"], &body["weightedScore"], &body["type"]), wanted);
    assert_eq!(body["userId"], named(&server, "bob"));
    let body = me("eve", "type=voters&window=day").await.is(200);
    assert_eq!((&body["rank"], &body["total"], &body["voteCount"]), (&Value::Null, &json!(2), &json!(0)));
    assert_eq!(me("ada", "type=creators").await.is(200)["rank"], Value::Null);
    me("ada", "type=clips").await.refuses(400, "INVALID_PARAMETER");
    // A device is a voter too.
    let device = server.call("POST", "/api/vote").json(json!({"clipId": "c1"})).send().await;
    reached(&server, &device.is(200)).await;
    assert_eq!(server.get("/api/leaderboard/me").await.is(200)["rank"], 3);
    server
        .call("GET", "/api/leaderboard/me")
        .header("authorization", "Bearer x")
        .send()
        .await
        .refuses(401, "INVALID_TOKEN");
}

#[tokio::test]
async fn what_is_hidden_is_on_no_board_and_in_no_timeline_until_the_lock() {
    let server = TestServer::staged(1).await;
    server.admin("POST", "/api/admin/seasons", json!({"id": "h", "name": "Hidden"})).await.is(201);
    server.admin("POST", "/api/admin/seasons/h/slots", json!({})).await.is(201);
    for id in ["h0", "h1"] {
        let clip = json!({"id": id, "title": id, "ownerId": "cid"});
        server.admin("POST", "/api/admin/seasons/h/slots/1/clips", clip).await.is(201);
    }
    server.admin("POST", "/api/admin/seasons/h/slots/1/open", json!({"resultsHidden": true})).await.is(200);
    vote(&server, "ada", "c0", "standard").await;
    let paths = [
        "/api/leaderboard?season=h",
        "/api/leaderboard?season=h&slot=1&type=voters",
        "/api/leaderboard?type=voters",
        "/api/leaderboard?type=creators&window=day",
        "/api/leaderboard",
        "/api/clips/h0/timeline",
        "/api/clips/h0/timeline?at=1000000",
        "/api/clips/h0/timeline?at=1800000000000",
    ];
    let all = async || {
        let mut all = Vec::new();
        for path in paths {
            let answer = server.get(path).await;
            let mut body = answer.is(200);
            // The mark moves with every event, of whatever kind.
            body["asOf"] = Value::Null;
            all.push((answer.header("etag").map(str::to_owned), body));
        }
        for sub in ["ada", "bob"] {
            let mut mine = server.call("GET", "/api/leaderboard/me").user(sub).send().await.is(200);
            mine["asOf"] = Value::Null;
            all.push((None, mine));
        }
        all
    };
    let before = all().await;
    for (sub, clip) in [("ada", "h0"), ("bob", "h0"), ("bob", "h1"), ("eve", "h1"), ("ada", "h1")] {
        vote(&server, sub, clip, "mega").await;
    }
    assert_eq!(all().await, before, "nothing depends on hidden votes");
    let hidden = server.get("/api/clips/h0/timeline?at=1000000").await.is(200);
    assert_eq!((&hidden["voteCount"], &hidden["resultsHidden"]), (&Value::Null, &json!(true)));
    assert_eq!(server.get("/api/leaderboard?season=h").await.is(200)["resultsHidden"], true);
    server.admin("POST", "/api/admin/seasons/h/slots/1/freeze", json!({})).await.is(200);
    assert_eq!(all().await[0].1, before[0].1);

    server.admin("POST", "/api/admin/seasons/h/slots/1/lock", json!({})).await.is(200);
    until("the lock shows", async || board(&server, "season=h").await.len() == 2).await;
    assert_eq!(board(&server, "season=h").await, [("h1".to_owned(), 30, 3), ("h0".to_owned(), 20, 2)]);
    let user = |sub: &str, weight, votes| (named(&server, sub), weight, votes);
    assert_eq!(board(&server, "type=voters").await, [user("ada", 21, 3), user("bob", 20, 2), user("eve", 10, 1)]);
    assert_eq!(board(&server, "type=creators").await, [user("cid", 50, 5)]);
    let shown = server.get("/api/clips/h0/timeline").await.is(200);
    assert_eq!((&shown["points"][0]["votes"], &shown["resultsHidden"]), (&json!(2), &json!(false)));
    server.engine.close().unwrap();
}

#[tokio::test]
async fn a_timeline_says_what_a_clip_had_when() {
    let server = TestServer::staged(2).await;
    let opened = NOON - NOON % 60_000;
    let mut seqs = Vec::new();
    for n in 0..7_u64 {
        server.clock.set(NOON + n * 61_000);
        let sent = server.vote(&format!("u{n}"), if n == 5 { "c1" } else { "c0" }).await.is(200);
        seqs.push(sent["eventId"].as_str().unwrap().parse::<u64>().unwrap());
    }
    let back = server.retract("u0", "c0").await.is(200);
    let last: u64 = back["eventId"].as_str().unwrap().parse().unwrap();
    // By a clock that went back before the opening: in the opening's minute.
    server.clock.set(NOON - 500_000);
    server.vote("late", "c0").await.is(200);
    server.engine.drain().await.unwrap();
    let points = async |query: &str| {
        let body = server.get(&format!("/api/clips/c0/timeline?{query}")).await.is(200);
        let number = |one: &Value, name: &str| one[name].as_i64().unwrap();
        let list = body["points"].as_array().unwrap().iter();
        let list =
            list.map(|one| (number(one, "at"), number(one, "votes"), number(one, "voteCount"))).collect::<Vec<_>>();
        (list, body["nextFrom"].as_u64())
    };
    let at = |minute: u64| i64::try_from(opened + minute * 60_000).unwrap();
    // In the seventh minute one came and one went.
    let all = [(at(0), 2, 2), (at(1), 1, 3), (at(2), 1, 4), (at(3), 1, 5), (at(4), 1, 6)];
    assert_eq!(points("").await, (all.to_vec(), None));
    let (first, next) = points("limit=2").await;
    assert_eq!((first.as_slice(), next), (&all[..2], Some(opened + 120_000)));
    assert_eq!(points(&format!("limit=5&from={}", next.unwrap())).await, (all[2..].to_vec(), None));
    let hour = (i64::try_from(opened - opened % 3_600_000).unwrap(), 6, 6);
    assert_eq!(points("step=1h").await, (vec![hour], None));
    assert_eq!(points("step=5m").await.0.len(), 1 + usize::from(!opened.is_multiple_of(300_000)));

    let then = async |at: String| {
        let body = server.get(&format!("/api/clips/c0/timeline?at={at}")).await.is(200);
        (body["voteCount"].as_u64().unwrap(), body["asOf"].as_str().unwrap().parse::<u64>().unwrap())
    };
    assert_eq!(then((seqs[0] - 1).to_string()).await, (0, seqs[0] - 1));
    assert_eq!(then(format!("seq:{}", seqs[3])).await, (4, seqs[3]));
    assert_eq!(then((last - 1).to_string()).await, (6, last - 1));
    assert_eq!(then(last.to_string()).await, (5, last));
    assert_eq!(then("99999999999".into()).await.0, 6);
    assert_eq!(then((NOON + 61_000).to_string()).await.0, 3, "the late one's own time is early");
    assert_eq!(then((NOON + 60_999).to_string()).await.0, 2);
}

#[tokio::test]
async fn what_is_wrong_with_a_question_has_a_code() {
    let server = TestServer::staged(1).await;
    vote(&server, "ada", "c0", "standard").await;
    for bad in
        ["type=cats", "window=week", "slot=0", "slot=x", "limit=0", "limit=101", "cursor=x", "type=voters&cursor=Y2"]
    {
        server.get(&format!("/api/leaderboard?{bad}")).await.refuses(400, "INVALID_PARAMETER");
    }
    server.get("/api/leaderboard?season=nowhere").await.refuses(404, "NOT_FOUND");
    server.get("/api/leaderboard?season=s&slot=9").await.refuses(404, "SLOT_NOT_FOUND");
    server.call("POST", "/api/leaderboard").json(json!({})).send().await.refuses(405, "METHOD_NOT_ALLOWED");
    for bad in ["step=1s", "step=0m", "step=31d", "from=x", "limit=1441", "at=", "at=soon", "at=seq:"] {
        server.get(&format!("/api/clips/c0/timeline?{bad}")).await.refuses(400, "INVALID_PARAMETER");
    }
    server.get("/api/clips/nowhere/timeline").await.refuses(404, "CLIP_NOT_FOUND");
    server.get("/api/clips/nowhere/timeline?at=1").await.refuses(404, "CLIP_NOT_FOUND");
}
