//! The HTTP contract: routes, answers, codes and limits, as clients meet them.

use crate::server::{ADMIN, CRON, MIDNIGHT, NOON, Setup, TestServer};
use plaudit::admission::AdmissionOptions;
use serde_json::{Value, json};

#[tokio::test]
async fn a_vote_is_answered_with_the_contracts_fields() {
    let server = TestServer::staged(2).await;
    let answer = server.call("POST", "/api/vote").user("ada").json(json!({"clipId": "c0", "voteType": "super"})).send();
    let answer = answer.await;
    let mut body = answer.is(200);
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_eq!(answer.header("set-cookie"), None, "a user needs no cookie");
    let body = body.as_object_mut().unwrap();
    assert!(body.remove("responseTime").unwrap().as_f64().unwrap() >= 0.0);
    assert!(body.remove("queuePosition").unwrap().as_u64().unwrap() >= 1);
    assert!(body.remove("eventId").unwrap().as_str().unwrap().parse::<u64>().unwrap() > 0);
    let expected = json!({
        "success": true, "clipId": "c0", "voteCount": 1, "weightedScore": 3, "remainingVotes": 197, "async": true
    });
    assert_eq!(Value::Object(body.clone()), expected);
}

#[tokio::test]
async fn a_vote_is_retracted_and_cast_again_as_often_as_one_likes() {
    let server = TestServer::staged(1).await;
    for _ in 0..10 {
        let cast = server.vote("ada", "c0").await.is(200);
        assert_eq!((&cast["voteCount"], &cast["remainingVotes"]), (&json!(1), &json!(199)));
        let twice = server.vote("ada", "c0").await.refuses(409, "ALREADY_VOTED");
        assert_eq!(twice["clipId"], "c0");
        let back = server.retract("ada", "c0").await.is(200);
        assert_eq!((&back["voteCount"], &back["remainingVotes"]), (&json!(0), &json!(200)));
        server.retract("ada", "c0").await.refuses(404, "NOT_VOTED");
    }
}

#[tokio::test]
async fn what_is_wrong_with_a_request_has_a_code() {
    let server = TestServer::staged(1).await;
    let post =
        |body: &str| server.call("POST", "/api/vote").user("ada").header("content-type", "application/json").body(body);
    for method in ["POST", "DELETE"] {
        let send = |body: &str| {
            server.call(method, "/api/vote").user("ada").header("content-type", "application/json").body(body).send()
        };
        send("{}").await.refuses(400, "MISSING_CLIP_ID");
        send("{\"clipId\":").await.refuses(400, "INVALID_JSON");
        send("[\"c0\"]").await.refuses(400, "INVALID_JSON");
        send("").await.refuses(400, "INVALID_JSON");
        send(&format!("{{\"clipId\":\"{}\"}}", "x".repeat(16 * 1024))).await.refuses(413, "BODY_TOO_LARGE");
        send("{\"clipId\":\"nowhere\"}").await.refuses(404, "CLIP_NOT_FOUND");
    }
    post("{\"clipId\":\"c0\",\"voteType\":\"huge\"}").send().await.refuses(400, "INVALID_VOTE_TYPE");
    let typed = |content_type: &str| {
        server.call("POST", "/api/vote").user("ada").header("content-type", content_type).body("{\"clipId\":\"c0\"}")
    };
    typed("text/plain").send().await.refuses(415, "UNSUPPORTED_MEDIA_TYPE");
    let untyped = server.call("POST", "/api/vote").user("ada").body("{\"clipId\":\"c0\"}").send().await;
    untyped.refuses(415, "UNSUPPORTED_MEDIA_TYPE");
    typed("application/json; charset=utf-8").send().await.is(200);
}

#[tokio::test]
async fn a_header_without_a_valid_token_is_refused_and_the_body_comes_first() {
    let server = TestServer::staged(1).await;
    let with = |value: &str| server.call("POST", "/api/vote").header("authorization", value);
    for wrong in ["", "Bearer", "Bearer a.b.c", "Basic YTpi"] {
        let answer = with(wrong).json(json!({"clipId": "c0"})).send().await;
        answer.refuses(401, "INVALID_TOKEN");
        assert!(answer.header("www-authenticate").is_some_and(|how| how.starts_with("Bearer")));
        assert_eq!(answer.header("set-cookie"), None);
    }
    with("Bearer a.b.c").json(json!({})).send().await.refuses(400, "MISSING_CLIP_ID");
    server.clock.set(NOON + 3 * 86_400_000);
    server.vote("ada", "c0").await.refuses(401, "INVALID_TOKEN");
}

#[tokio::test]
async fn a_slot_that_does_not_vote_says_why() {
    let server = TestServer::start();
    server.admin("POST", "/api/admin/seasons", json!({"id": "s", "name": "Season"})).await.is(201);
    for (slot, clip) in [(1, "a"), (2, "b")] {
        server.admin("POST", "/api/admin/seasons/s/slots", json!({})).await.is(201);
        let clip = json!({"id": clip, "title": "A clip"});
        server.admin("POST", &format!("/api/admin/seasons/s/slots/{slot}/clips"), clip).await.is(201);
    }
    server.vote("ada", "a").await.refuses(400, "NO_ACTIVE_SLOT");
    server.admin("POST", "/api/admin/seasons/s/slots/1/open", json!({})).await.is(200);
    server.vote("ada", "a").await.is(200);
    server.vote("ada", "b").await.refuses(400, "WRONG_SLOT");
    let frozen = server.admin("POST", "/api/admin/seasons/s/slots/1/freeze", json!({})).await.is(200);
    assert_eq!(frozen["status"], "frozen");
    server.vote("eve", "a").await.refuses(400, "VOTING_CLOSED");
    server.retract("ada", "a").await.refuses(400, "VOTING_CLOSED");
    let locked = server.admin("POST", "/api/admin/seasons/s/slots/1/lock", json!({})).await.is(200);
    assert_eq!((&locked["status"], &locked["winnerClipId"]), (&json!("locked"), &json!("a")));
    server.vote("eve", "a").await.refuses(400, "VOTING_CLOSED");
    let again = server.admin("POST", "/api/admin/seasons/s/slots/1/open", json!({})).await.refuses(409, "WRONG_STATE");
    assert_eq!(again["state"], "locked");
}

#[tokio::test]
async fn the_banned_and_the_owner_may_not_vote() {
    let server = TestServer::staged(1).await;
    let own = json!({"id": "own", "title": "Mine", "ownerId": "ada"});
    server.admin("POST", "/api/admin/seasons/s/slots/1/clips", own).await.is(201);
    server.vote("ada", "own").await.refuses(403, "SELF_VOTE");
    server.vote("bob", "own").await.is(200);
    let until = NOON + 60_000;
    server.admin("PUT", "/api/admin/bans/ada", json!({"reason": "spam", "until": until})).await.is(204);
    let banned = server.vote("ada", "c0").await.refuses(403, "BANNED");
    assert_eq!(banned["until"], until);
    let list = server.call("GET", "/api/admin/bans").header("authorization", ADMIN).send().await.is(200);
    assert_eq!((&list["bans"][0]["reason"], &list["bans"][0]["until"]), (&json!("spam"), &json!(until)));
    assert!(list["bans"][0]["userId"].as_str().is_some_and(|id| id != "ada"));
    server.call("DELETE", "/api/admin/bans/ada").header("authorization", ADMIN).send().await.is(204);
    server.vote("ada", "c0").await.is(200);
    server.admin("PUT", "/api/admin/bans/bob%40example", json!({})).await.is(204);
    server.vote("bob@example", "c0").await.refuses(403, "BANNED");
    server.admin("PUT", "/api/admin/bans/ada", json!({"until": NOON})).await.refuses(400, "INVALID_PARAMETER");
}

#[tokio::test]
async fn a_slots_clips_are_listed_and_cached_by_their_tag() {
    let server = TestServer::staged(2).await;
    let first = server.get("/api/vote").await;
    let list = first.is(200);
    let expected = json!({
        "id": "c0", "title": "Clip 0", "season_id": "s", "slot_position": 1, "username": null, "avatar_url": null,
        "video_url": null, "thumbnail_url": null, "vote_count": 0, "weighted_score": 0, "comment_count": 0
    });
    assert_eq!((list.as_array().unwrap().len(), &list[0]), (2, &expected));
    assert_eq!(first.header("cache-control"), Some("public, max-age=5, stale-while-revalidate=10"));
    assert_eq!(first.header("set-cookie"), None, "a shared answer never sets a cookie");
    let tag = first.header("etag").unwrap().to_owned();
    assert!(tag.starts_with('"') && tag.ends_with('"'), "{tag}");

    for known in [tag.clone(), format!("W/{tag}"), format!("\"other\", {tag}"), "*".into()] {
        let unchanged = server.call("GET", "/api/vote").header("if-none-match", &known).send().await;
        assert_eq!((unchanged.status.as_u16(), unchanged.body.len()), (304, 0), "{known}");
        assert_eq!(unchanged.header("etag"), Some(tag.as_str()));
        assert!(unchanged.header("cache-control").is_some());
    }
    let head = server.call("HEAD", "/api/vote?season=s&slot=1").send().await;
    assert_eq!((head.status.as_u16(), head.body.len()), (200, 0));
    assert_eq!(
        (head.header("etag"), head.header("content-length")),
        (Some(tag.as_str()), first.header("content-length"))
    );

    server.vote("ada", "c1").await.is(200);
    let changed = server.call("GET", "/api/vote?slot=1").header("if-none-match", &tag).send().await;
    assert_eq!(changed.is(200)[1]["vote_count"], 1);
    assert_ne!(changed.header("etag"), Some(tag.as_str()));
    server.retract("ada", "c1").await.is(200);
    assert_eq!(server.get("/api/vote").await.header("etag"), Some(tag.as_str()), "equal bytes, equal tag");
}

#[tokio::test]
async fn a_list_needs_a_slot_and_parameters_that_parse() {
    let server = TestServer::start();
    server.get("/api/vote").await.refuses(404, "SLOT_NOT_FOUND");
    server.stage("s", 1).await;
    server.get("/api/vote?slot=2").await.refuses(404, "SLOT_NOT_FOUND");
    for bad in ["slot=0", "slot=x", "slot=-1", "season=a%20b", "season=%ff", "season="] {
        let body = server.get(&format!("/api/vote?{bad}")).await.refuses(400, "INVALID_PARAMETER");
        assert!(bad.starts_with(body["parameter"].as_str().unwrap()), "{bad}: {body}");
    }
    let unknown = server.get("/api/vote?season=other").await;
    assert_eq!(unknown.status.as_u16(), 404, "{unknown:?}");
    server.get("/api/vote?slot=1&season=s&unknown=1").await.is(200);
}

#[tokio::test]
async fn hidden_counts_are_null_everywhere_until_the_slot_locks() {
    let server = TestServer::start();
    server.admin("POST", "/api/admin/seasons", json!({"id": "s", "name": "Season"})).await.is(201);
    server.admin("POST", "/api/admin/seasons/s/slots", json!({})).await.is(201);
    server.admin("POST", "/api/admin/seasons/s/slots/1/clips", json!({"id": "c0", "title": "A"})).await.is(201);
    let open = json!({"resultsHidden": true, "votingEndsAt": NOON + 5_000});
    let slot = server.admin("POST", "/api/admin/seasons/s/slots/1/open", open).await.is(200);
    assert_eq!((&slot["resultsHidden"], &slot["timeRemainingMs"]), (&json!(true), &json!(5_000)));
    let before = server.get("/api/vote").await;
    let cast = server.vote("ada", "c0").await.is(200);
    assert_eq!((&cast["voteCount"], &cast["weightedScore"]), (&Value::Null, &Value::Null));
    let after = server.get("/api/vote").await;
    assert_eq!((&after.is(200)[0]["vote_count"], &after.json()[0]["weighted_score"]), (&Value::Null, &Value::Null));
    assert_eq!(before.header("etag"), after.header("etag"), "no tag depends on a hidden count");
    let counts = server.get("/api/vote/counts?clipIds=c0").await.is(200);
    assert_eq!(counts, json!({"counts": {"c0": {"voteCount": null, "weightedScore": null}}}));
    server.admin("POST", "/api/admin/seasons/s/slots/1/lock", json!({})).await.is(200);
    let shown = server.get("/api/vote?slot=1&season=s").await.is(200);
    assert_eq!(shown[0]["vote_count"], 1);
}

#[tokio::test]
async fn counts_leave_out_clips_that_are_unknown() {
    let server = TestServer::staged(3).await;
    server.vote("ada", "c1").await.is(200);
    let answer = server.get("/api/vote/counts?clipIds=c1,nowhere,c0,c1,%20").await;
    let expected = json!({"counts": {
        "c0": {"voteCount": 0, "weightedScore": 0}, "c1": {"voteCount": 1, "weightedScore": 1}
    }});
    assert_eq!(answer.is(200), expected);
    assert_eq!(answer.header("set-cookie"), None);
    assert_eq!(server.get("/api/vote/counts?clipIds=").await.is(200), json!({"counts": {}}));
    server.get("/api/vote/counts").await.refuses(400, "INVALID_PARAMETER");
    let many: Vec<String> = (0..101).map(|n| format!("x{n}")).collect();
    server.get(&format!("/api/vote/counts?clipIds={}", many.join(","))).await.refuses(400, "INVALID_PARAMETER");
    server.get(&format!("/api/vote/counts?clipIds={}", many[1..].join(","))).await.is(200);
}

#[tokio::test]
async fn a_voter_sees_their_own_votes_and_what_is_left() {
    let server = TestServer::staged(3).await;
    server.vote("ada", "c2").await.is(200);
    let mine = server.call("GET", "/api/vote/mine?clipIds=c0,c2,nowhere").user("ada").send().await;
    assert_eq!(mine.is(200), json!({"voted": ["c2"], "remaining": 199, "resetAt": MIDNIGHT}));
    assert_eq!(mine.header("cache-control"), Some("private, no-store"));
    let other = server.call("GET", "/api/vote/mine?clipIds=c0,c2").user("bob").send().await.is(200);
    assert_eq!(other["voted"], json!([]));
    let limit = server.call("GET", "/api/vote/limit").user("ada").send().await;
    assert_eq!(limit.is(200), json!({"allowed": true, "current": 1, "remaining": 199, "resetAt": MIDNIGHT}));
    assert_eq!(limit.header("cache-control"), Some("private, no-store"));
    for path in ["/api/vote/mine?clipIds=c0", "/api/vote/limit"] {
        server.call("GET", path).header("authorization", "Bearer x").send().await.refuses(401, "INVALID_TOKEN");
        let device = server.get(path).await;
        device.is(200);
        assert_eq!(device.header("set-cookie"), None, "a read makes no device known");
    }
}

#[tokio::test]
async fn the_daily_limit_is_by_weight_and_ends_at_midnight() {
    let server = TestServer::staged(21).await;
    let mega = |clip: usize| {
        let body = json!({"clipId": format!("c{clip}"), "voteType": "mega"});
        server.call("POST", "/api/vote").user("ada").json(body).send()
    };
    for clip in 0..19 {
        mega(clip).await.is(200);
    }
    server.vote("ada", "c19").await.is(200);
    let refused = mega(20).await.refuses(429, "DAILY_LIMIT");
    assert_eq!((&refused["remaining"], &refused["resetAt"]), (&json!(9), &json!(MIDNIGHT)));
    server.clock.set(MIDNIGHT);
    let limit = server.call("GET", "/api/vote/limit").user("ada").send().await.is(200);
    assert_eq!((&limit["current"], &limit["resetAt"]), (&json!(0), &json!(MIDNIGHT + 86_400_000)));
    assert_eq!(mega(20).await.is(200)["remainingVotes"], 190);
    assert_eq!(server.retract("ada", "c0").await.is(200)["remainingVotes"], 190, "yesterday's vote gives nothing back");
}

#[tokio::test]
async fn seasons_and_slots_are_public() {
    let server = TestServer::staged(2).await;
    let slot = json!({
        "season": "s", "position": 1, "status": "voting", "votingStartedAt": NOON, "votingEndsAt": null,
        "timeRemainingMs": null, "resultsHidden": false, "frozenBy": null, "freezeEventId": null, "winnerClipId": null,
        "decidedBy": null, "clipCount": 2
    });
    let season = json!({"id": "s", "name": "Season", "status": "active", "slots": [slot]});
    assert_eq!(server.get("/api/seasons").await.is(200), json!({"seasons": [season]}));
    assert_eq!(server.get("/api/seasons/s").await.is(200), season);
    assert_eq!(server.get("/api/seasons/s/slots/1").await.is(200), slot);
    assert_eq!(server.get("/api/seasons/other").await.status.as_u16(), 404);
    server.get("/api/seasons/s/slots/2").await.refuses(404, "SLOT_NOT_FOUND");
    server.get("/api/seasons/s/slots/x").await.refuses(400, "INVALID_PARAMETER");
}

#[tokio::test]
async fn operators_create_what_is_voted_on() {
    let server = TestServer::start();
    let made = server.admin("POST", "/api/admin/seasons", json!({"name": "Named by us"})).await.is(201);
    let id = made["id"].as_str().unwrap().to_owned();
    assert!(!id.is_empty());
    let slots = format!("/api/admin/seasons/{id}/slots");
    let slot = server.call("POST", &slots).header("authorization", ADMIN).send().await.is(201);
    assert_eq!((&slot["position"], &slot["status"]), (&json!(1), &json!("upcoming")));
    assert_eq!(server.admin("POST", &slots, json!({"position": 2})).await.is(201)["position"], 2);
    let full = json!({
        "title": "Neon Rain", "ownerId": "ada", "username": "Ada", "avatarUrl": "/a.png",
        "videoUrl": "https://example.test/v.mp4", "thumbnailUrl": "/t.jpg"
    });
    let clip = server.admin("POST", &format!("{slots}/1/clips"), full).await.is(201);
    assert!(clip["id"].as_str().is_some_and(|id| !id.is_empty()));
    assert_eq!((&clip["username"], &clip["video_url"]), (&json!("Ada"), &json!("https://example.test/v.mp4")));
    let waits = server.admin("POST", &format!("{slots}/2/open"), json!({})).await.is(200);
    assert_eq!(waits["status"], "waiting_for_clips");
    let listed = server.call("GET", "/api/admin/seasons").header("authorization", ADMIN).send().await.is(200);
    assert_eq!(listed["seasons"][0]["id"], id.as_str());
}

#[tokio::test]
async fn operators_are_told_what_is_wrong() {
    let server = TestServer::staged(1).await;
    let seasons = "/api/admin/seasons";
    for wrong in [json!({}), json!({"name": ""}), json!({"name": "x", "id": "a b"}), json!({"name": "x".repeat(201)})] {
        server.admin("POST", seasons, wrong).await.refuses(400, "INVALID_PARAMETER");
    }
    server.admin("POST", seasons, json!({"name": 5})).await.refuses(400, "INVALID_JSON");
    server.admin("POST", "/api/admin/seasons/s/slots", json!({"position": 0})).await.refuses(400, "INVALID_PARAMETER");
    let clips = "/api/admin/seasons/s/slots/1/clips";
    for wrong in [json!({}), json!({"title": "x", "id": "a/b"}), json!({"title": "x", "videoUrl": "javascript:1"})] {
        server.admin("POST", clips, wrong).await.refuses(400, "INVALID_PARAMETER");
    }
    let past = json!({"votingEndsAt": NOON});
    server.admin("POST", "/api/admin/seasons/s/slots/1/open", past).await.refuses(400, "INVALID_PARAMETER");
    server.admin("POST", "/api/admin/seasons/s/slots/9/lock", json!({})).await.refuses(404, "SLOT_NOT_FOUND");
    server.admin("POST", "/api/admin/seasons/s/slots/0/lock", json!({})).await.refuses(400, "INVALID_PARAMETER");
}

#[tokio::test]
async fn admin_and_cron_ask_for_their_secret_before_the_body() {
    let server = TestServer::staged(1).await;
    let calls = [
        ("GET", "/api/admin/seasons"),
        ("POST", "/api/admin/seasons"),
        ("POST", "/api/admin/seasons/s/slots"),
        ("POST", "/api/admin/seasons/s/slots/x/clips"),
        ("POST", "/api/admin/seasons/s/slots/1/open"),
        ("POST", "/api/admin/seasons/s/slots/1/freeze"),
        ("POST", "/api/admin/seasons/s/slots/1/extend"),
        ("POST", "/api/admin/seasons/s/slots/1/reopen"),
        ("POST", "/api/admin/seasons/s/slots/1/lock"),
        ("POST", "/api/admin/seasons/s/slots/1/winner"),
        ("GET", "/api/admin/bans"),
        ("PUT", "/api/admin/bans/ada"),
        ("DELETE", "/api/admin/bans/ada"),
        ("GET", "/api/cron/process-vote-queue"),
        ("POST", "/api/cron/process-vote-queue"),
    ];
    for (method, path) in calls {
        let wrong = if path.contains("cron") { ADMIN } else { CRON };
        for secret in [None, Some(""), Some("Bearer "), Some(wrong)] {
            let call = server.call(method, path).header("content-type", "text/plain").body("not { json");
            let call = if let Some(secret) = secret { call.header("authorization", secret) } else { call };
            let answer = call.send().await;
            answer.refuses(401, "UNAUTHORIZED");
            assert_eq!(answer.header("www-authenticate"), Some("Bearer"), "{method} {path}");
        }
    }
    assert_eq!(server.get("/api/seasons/s/slots/1").await.is(200)["status"], "voting", "nothing was changed");
}

#[tokio::test]
async fn without_a_configured_secret_nobody_is_an_operator() {
    let mut setup = Setup::default();
    (setup.app.admin_token, setup.app.cron_secret) = (None, Some(Vec::new()));
    let server = TestServer::with(setup);
    for (path, secret) in [("/api/admin/seasons", "Bearer "), ("/api/cron/process-vote-queue", "Bearer ")] {
        server.call("GET", path).header("authorization", secret).send().await.refuses(401, "UNAUTHORIZED");
    }
}

#[tokio::test]
async fn the_queue_is_shown_and_drained() {
    let server = TestServer::staged(1).await;
    for voter in 0..5 {
        server.vote(&format!("v{voter}"), "c0").await.is(200);
    }
    for method in ["GET", "POST"] {
        let call = server.call(method, "/api/cron/process-vote-queue").header("authorization", CRON);
        let drained = call.send().await.is(200);
        assert_eq!(server.engine.queue().processing, 0, "what was settled is in the tables");
        assert_eq!((&drained["success"], &drained["failed"]), (&json!(true), &json!(0)));
        assert_eq!(drained["remainingInQueue"], 0);
        assert!(drained["processed"].is_u64() && drained["executionTimeMs"].is_u64(), "{drained}");
    }
    let queue = server.get("/api/queue").await.is(200);
    assert_eq!((&queue["pending"], &queue["processing"], &queue["deadLetter"]), (&json!(0), &json!(0), &json!(0)));
    assert!(queue["lastProcessedAt"].is_u64(), "{queue}");
}

#[tokio::test]
async fn machines_ask_whether_it_lives_and_what_it_counts() {
    let server = TestServer::staged(1).await;
    server.get("/livez").await.is(200);
    server.get("/readyz").await.is(200);
    server.vote("ada", "c0").await.is(200);
    server.vote("ada", "c0").await.is(409);
    let metrics = server.get("/metrics").await;
    assert_eq!(metrics.status.as_u16(), 200);
    assert!(metrics.header("content-type").unwrap().starts_with("application/openmetrics-text"));
    let text = String::from_utf8(metrics.body.to_vec()).unwrap();
    for line in [
        "plaudit_votes_total 1",
        "plaudit_vote_attempts_total{result=\"counted\"} 1",
        "plaudit_vote_attempts_total{result=\"duplicate\"} 1",
        "plaudit_queue_wait_seconds_count ",
        "plaudit_storage_log_bytes ",
        "plaudit_answers_rejected_total 1",
        "ack=\"durable\"",
    ] {
        assert!(text.contains(line), "{line} in\n{text}");
    }
    assert!(text.ends_with("# EOF\n"));
}

#[tokio::test]
async fn methods_and_paths_that_are_not_there_are_named() {
    let server = TestServer::start();
    for path in [
        "/index.html",
        "/pages/nothing.js",
        "/embed/nothing/at/all",
        "/api",
        "/api/vote/",
        "/api/votes",
        "/api/admin/seasons/s",
        "/openapi",
    ] {
        server.get(path).await.refuses(404, "NOT_FOUND");
    }
    for (method, path, allow) in [
        ("PUT", "/api/vote", "GET, HEAD, POST, DELETE, OPTIONS"),
        ("POST", "/api/vote/mine", "GET, HEAD, OPTIONS"),
        ("DELETE", "/api/admin/seasons", "GET, HEAD, POST, OPTIONS"),
        ("GET", "/api/admin/seasons/s/slots/1/open", "POST, OPTIONS"),
        ("POST", "/api/admin/bans/ada", "PUT, DELETE, OPTIONS"),
        ("PATCH", "/livez", "GET, HEAD, OPTIONS"),
    ] {
        let answer = server.call(method, path).send().await;
        answer.refuses(405, "METHOD_NOT_ALLOWED");
        assert_eq!(answer.header("allow"), Some(allow), "{method} {path}");
        let options = server.call("OPTIONS", path).send().await;
        assert_eq!((options.status.as_u16(), options.header("allow")), (204, Some(allow)), "{path}");
    }
    for path in ["/livez", "/api/queue", "/api/seasons"] {
        let head = server.call("HEAD", path).send().await;
        assert_eq!((head.status.as_u16(), head.body.len()), (200, 0), "{path}");
    }
}

#[tokio::test]
async fn errors_are_problem_documents_for_who_asks() {
    let server = TestServer::staged(1).await;
    server.vote("ada", "c0").await.is(200);
    let hot = server.call("POST", "/api/vote").user("ada").header("accept", "application/problem+json");
    let hot = hot.json(json!({"clipId": "c0"})).send().await;
    let cold = server.call("GET", "/nowhere").header("accept", "application/problem+json").send().await;
    for (answer, status, code) in [(hot, 409, "ALREADY_VOTED"), (cold, 404, "NOT_FOUND")] {
        let body = answer.is(status);
        assert_eq!(answer.header("content-type"), Some("application/problem+json"));
        assert_eq!((&body["status"], &body["error"]), (&json!(status), &json!(code)));
        assert!(body["type"].is_string() && body["title"].is_string() && body["detail"].is_string(), "{body}");
    }
}

#[tokio::test]
async fn every_answer_names_its_request() {
    let server = TestServer::start();
    let ours = server.get("/livez").await.header("x-request-id").unwrap().to_owned();
    let others = server.get("/nowhere").await.header("x-request-id").unwrap().to_owned();
    assert_ne!(ours, others);
    for path in ["/api/vote", "/livez", "/nowhere"] {
        let answer = server.call("GET", path).header("x-request-id", "client-1").send().await;
        assert_eq!(answer.header("x-request-id"), Some("client-1"), "{path}");
        let odd = server.call("GET", path).header("x-request-id", "a b").send().await;
        assert_ne!(odd.header("x-request-id"), Some("a b"), "{path}");
    }
}

#[tokio::test]
async fn rates_are_held_by_voter_and_address_and_come_back_with_time() {
    let rates = AdmissionOptions { per_voter: 3.try_into().ok(), per_address: 6.try_into().ok(), max_keys: 100 };
    let server = TestServer::with(Setup { admission: rates, ..Setup::default() });
    server.stage("s", 5).await;
    for clip in ["c0", "c1", "c2"] {
        server.vote("ada", clip).await.is(200);
    }
    let refused = server.vote("ada", "c3").await;
    let body = refused.refuses(429, "RATE_LIMITED");
    assert_eq!((&body["retryAfter"], refused.header("retry-after")), (&json!(20), Some("20")));
    server.retract("bob", "c0").await.refuses(404, "NOT_VOTED");
    server.vote("bob", "c0").await.is(200);
    let address = server.vote("eve", "c0").await.refuses(429, "RATE_LIMITED");
    assert_eq!(address["retryAfter"], 10);
    let before_the_body = server.call("POST", "/api/vote").body("?").send().await;
    before_the_body.refuses(429, "RATE_LIMITED");
    server.get("/api/vote").await.is(200);
    server.clock.advance(20_000);
    server.vote("ada", "c3").await.is(200);
    server.vote("ada", "c4").await.refuses(429, "RATE_LIMITED");
}

#[tokio::test]
async fn too_many_voters_at_once_are_told_that_the_server_is_full() {
    let rates = AdmissionOptions { per_voter: 60.try_into().ok(), per_address: None, max_keys: 2 };
    let server = TestServer::with(Setup { admission: rates, ..Setup::default() });
    server.stage("s", 1).await;
    server.vote("a", "c0").await.is(200);
    server.vote("b", "c0").await.is(200);
    let refused = server.vote("c", "c0").await;
    refused.refuses(503, "OVERLOADED");
    assert_eq!(refused.header("retry-after"), Some("1"));
    server.clock.advance(5_000);
    server.vote("c", "c0").await.is(200);
}
