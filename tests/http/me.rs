//! A voter's own data: that all that is kept of whoever asks is in it, nothing of anyone else, and that it holds nobody up.

use std::collections::BTreeSet;
use std::sync::Arc;

use plaudit::admission::AdmissionOptions;
use plaudit::clock::ManualClock;
use plaudit::domain::{VoterId, VoterKey};
use plaudit::engine::{CommentSettings, Engine, Settings};
use plaudit::store::FaultyDisk;
use serde_json::{Value, json};

use crate::server::{ADMIN, Answer, Call, MIDNIGHT, NOON, Setup, TestServer, settings, until};
use crate::stream::{Source, all_is_out};
use crate::through::{Slow, Through};

const EXPORT: &str = "/api/me/export";
const SLOT: &str = "/api/admin/seasons/s/slots/1";
/// Where the day of [`NOON`] begins.
const TODAY: u64 = MIDNIGHT - 86_400_000;

fn key() -> VoterKey {
    VoterKey::new([7; 32])
}

fn asks(server: &TestServer, sub: &str) -> Call {
    server.call("GET", EXPORT).user(sub)
}

async fn own(server: &TestServer, sub: &str) -> Value {
    asks(server, sub).send().await.is(200)
}

fn list<'a>(own: &'a Value, name: &str) -> &'a Vec<Value> {
    own[name].as_array().unwrap_or_else(|| panic!("{name}: {own}"))
}

fn each<'a>(own: &'a Value, list_of: &str, name: &str) -> Vec<&'a Value> {
    list(own, list_of).iter().map(|one| &one[name]).collect()
}

fn cookie_of(answer: &Answer) -> String {
    answer.header("set-cookie").unwrap().split(';').next().unwrap().to_owned()
}

async fn post(server: &TestServer, sub: &str, body: Value) -> Value {
    server.call("POST", "/api/comments").user(sub).json(body).send().await.is(201)["comment"]["id"].clone()
}

#[tokio::test]
async fn of_a_voter_who_did_nothing_nothing_is_kept() {
    let server = TestServer::staged(1).await;
    server.vote("ben", "c0").await.is(200);
    let answer = asks(&server, "ada").send().await;
    let told = answer.is(200);
    let none = json!([]);
    let expected = json!({
        "asOf": told["asOf"], "userId": key().public(key().user("ada")),
        "today": {"used": 0, "remaining": 200, "resetAt": MIDNIGHT}, "ban": null,
        "clips": none, "voids": none, "erasures": none, "votes": none, "comments": none, "reactions": none
    });
    assert_eq!(told, expected);
    assert!(told["asOf"].as_str().unwrap().parse::<u64>().unwrap() > 0);
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert_eq!(answer.header("content-disposition"), Some("attachment; filename=\"plaudit-me.json\""));
    assert_eq!(answer.header("set-cookie"), None);
}

#[tokio::test]
async fn who_is_not_known_is_refused() {
    let server = TestServer::staged(1).await;
    // The same browser behind the same address: without its cookie it may be another's.
    let device = || server.call("GET", EXPORT).header("user-agent", "phone");
    let voted = server.call("POST", "/api/vote").header("user-agent", "phone").json(json!({"clipId": "c0"}));
    let voted = voted.send().await;
    voted.is(200);
    let refused = device().send().await;
    refused.refuses(401, "UNAUTHORIZED");
    assert_eq!(refused.header("set-cookie"), None);
    device().header("cookie", "plaudit_device=forged").send().await.refuses(401, "UNAUTHORIZED");
    server.call("GET", EXPORT).header("authorization", "Bearer x.y.z").send().await.refuses(401, "INVALID_TOKEN");
    server.call("GET", EXPORT).header("authorization", ADMIN).send().await.refuses(401, "INVALID_TOKEN");
    for method in ["POST", "PUT", "PATCH", "DELETE"] {
        let answer = server.call(method, EXPORT).user("ada").send().await;
        answer.refuses(405, "METHOD_NOT_ALLOWED");
        assert_eq!(answer.header("allow"), Some("GET, HEAD, OPTIONS"));
    }
    let known = server.call("GET", EXPORT).header("user-agent", "moved").header("cookie", &cookie_of(&voted));
    let known = known.send().await;
    assert_eq!(each(&known.is(200), "votes", "clipId"), ["c0"], "the cookie's device, wherever it is");
    assert_eq!(known.header("set-cookie"), None);
}

#[tokio::test]
async fn votes_of_every_slot_are_in_it_with_all_that_is_kept_of_them() {
    let server = TestServer::staged(3).await;
    let cast = |sub: &str, clip: &str, kind: &str, agent: &str| {
        let call = server.call("POST", "/api/vote").user(sub).header("user-agent", agent);
        call.header("accept-language", "en").json(json!({"clipId": clip, "voteType": kind})).send()
    };
    // Slot 1 of `s` will be locked, slot 1 of `f` frozen, slot 1 of `o` stays open.
    for season in ["f", "o"] {
        server.admin("POST", "/api/admin/seasons", json!({"id": season, "name": "Season"})).await.is(201);
        server.admin("POST", &format!("/api/admin/seasons/{season}/slots"), json!({})).await.is(201);
        for n in 0..2 {
            let clip = json!({"id": format!("{season}{n}"), "title": "Clip"});
            server.admin("POST", &format!("/api/admin/seasons/{season}/slots/1/clips"), clip).await.is(201);
        }
        server.admin("POST", &format!("/api/admin/seasons/{season}/slots/1/open"), json!({})).await.is(200);
    }
    let phone = "Mozilla/5.0 (Android 14; Mobile; rv:128.0) Gecko/128.0 Firefox/128.0";
    let mut events = Vec::new();
    for (clip, kind) in [("c0", "standard"), ("c1", "super"), ("f0", "mega"), ("o0", "standard"), ("o1", "standard")] {
        server.clock.set(server.clock_ms() + 5_000);
        for other in ["ben", "cyd"] {
            cast(other, clip, "standard", phone).await.is(200);
        }
        events.push((cast("ada", clip, kind, phone).await.is(200)["eventId"].clone(), server.clock_ms()));
    }
    server.clock.set(server.clock_ms() + 5_000);
    let back = server.retract("ada", "o1").await.is(200);
    let void = json!({"by": "voter", "voter": "ada", "season": "s", "slot": 1, "reason": "bought"});
    let void = server.admin("POST", "/api/admin/voids", void).await.is(201);
    server.admin("POST", &format!("{SLOT}/lock"), json!({})).await.is(200);
    server.admin("POST", "/api/admin/seasons/f/slots/1/freeze", json!({})).await.is(200);
    let bot = cast("ada", "o1", "standard", "HeadlessChrome").await.is(200);

    let check = async |locked: bool| {
        let told = own(&server, "ada").await;
        let votes = list(&told, "votes");
        let vote = |n: usize, season: &str, clip: &str, kind: &str, weight: u32, voided: bool| {
            json!({
                "eventId": events[n].0, "at": events[n].1, "season": season, "slot": 1, "clipId": clip, "voteType": kind,
                "weight": weight, "day": TODAY, "takenBack": null, "voided": voided, "erased": false, "risk": 0,
                "flagged": false, "network": votes[0]["network"]
            })
        };
        let mut expected = vec![
            vote(0, "s", "c0", "standard", 1, true),
            vote(1, "s", "c1", "super", 3, true),
            vote(2, "f", "f0", "mega", 10, false),
            vote(3, "o", "o0", "standard", 1, false),
            vote(4, "o", "o1", "standard", 1, false),
        ];
        expected[4]["takenBack"] = json!({"eventId": back["eventId"], "at": server.clock_ms()});
        assert_eq!(votes[..5], expected, "locked: {locked}");
        assert_eq!(votes.len(), 6);
        assert_eq!((&votes[5]["eventId"], &votes[5]["flagged"]), (&bot["eventId"], &json!(true)));
        assert!(votes[0]["network"].as_str().is_some_and(|network| network.len() == 16));
        assert_eq!(told["today"], json!({"used": 16, "remaining": 184, "resetAt": MIDNIGHT}));
        let expected = json!([{
            "id": void["id"], "season": "s", "slot": 1, "reason": "bought", "createdAt": server.clock_ms(),
            "takenAt": server.clock_ms(), "liftedAt": null
        }]);
        assert_eq!(told["voids"], expected);
    };
    check(false).await;
    // From the sorted pages, once they stand for the blocks.
    until("the slot's pages stand", async || {
        server.get("/api/seasons/s/slots/1/certificate").await.status.as_u16() == 200
    })
    .await;
    check(true).await;
    for other in ["ben", "cyd"] {
        let told = own(&server, other).await;
        let ids: BTreeSet<String> = each(&told, "votes", "eventId").iter().map(ToString::to_string).collect();
        assert_eq!((ids.len(), told["voids"].as_array().unwrap().len()), (5, 0));
        assert!(events.iter().all(|(event, _)| !ids.contains(&event.to_string())), "another's: {other}");
    }
}

#[tokio::test]
async fn comments_likes_reports_clips_and_the_ban_are_in_it() {
    let comments = CommentSettings { hides_at: 1, ..CommentSettings::default() };
    let server = TestServer::with(Setup { comments, ..Setup::default() });
    server.stage("s", 2).await;
    let clip = json!({"id": "own", "title": "Mine", "ownerId": "ada", "username": "Ada L.", "videoUrl": "/v.mp4"});
    server.admin("POST", &format!("{SLOT}/clips"), clip).await.is(201);
    let bens = post(&server, "ben", json!({"clipId": "c1", "content": "ben's"})).await;
    let first = post(&server, "ada", json!({"clipId": "c0", "content": "first"})).await;
    let reply = post(&server, "ada", json!({"clipId": "c1", "content": "reply", "parentId": bens})).await;
    let hidden = post(&server, "ada", json!({"clipId": "c0", "content": "hidden"})).await;
    let deleted = post(&server, "ada", json!({"clipId": "c0", "content": "gone"})).await;
    let to = |method: &str, id: &Value, what: &str, sub: &str| {
        server.call(method, &format!("/api/comments/{}{what}", id.as_str().unwrap())).user(sub).send()
    };
    to("DELETE", &deleted, "", "ada").await.is(200);
    to("PUT", &first, "/like", "ben").await.is(200);
    to("PUT", &bens, "/like", "ada").await.is(200);
    to("PUT", &first, "/like", "ada").await.is(200);
    to("PUT", &reply, "/like", "ada").await.is(200);
    to("DELETE", &reply, "/like", "ada").await.is(200);
    to("POST", &bens, "/report", "ada").await.is(200);
    to("POST", &first, "/report", "ben").await.is(200);
    server.admin("POST", &format!("/api/admin/comments/{}/hide", hidden.as_str().unwrap()), json!({})).await.is(200);
    let until = NOON + 60_000;
    server.admin("PUT", "/api/admin/bans/ada", json!({"reason": "spam", "until": until})).await.is(204);

    let told = own(&server, "ada").await;
    let mut comment = json!({
        "id": first, "clipId": "c0", "parentId": null, "depth": 0, "createdAt": NOON, "status": "reported",
        "username": null, "avatarUrl": null, "content": "first", "likesCount": 2
    });
    let mut expected = vec![comment.clone()];
    comment["likesCount"] = json!(0);
    for (id, clip, parent, depth, status, content) in [
        (&reply, "c1", &bens, 1, "visible", json!("reply")),
        (&hidden, "c0", &Value::Null, 0, "hidden", json!("hidden")),
        (&deleted, "c0", &Value::Null, 0, "deleted", Value::Null),
    ] {
        let more =
            json!({"id": id, "clipId": clip, "parentId": parent, "depth": depth, "status": status, "content": content});
        comment.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        expected.push(comment.clone());
    }
    assert_eq!(told["comments"], json!(expected));
    let reactions = json!([
        {"commentId": bens, "clipId": "c1", "liked": true, "reported": true},
        {"commentId": first, "clipId": "c0", "liked": true, "reported": false},
    ]);
    assert_eq!(told["reactions"], reactions);
    assert_eq!(told["ban"], json!({"until": until, "reason": "spam"}), "who is banned may still ask");
    assert_eq!(each(&told, "clips", "id"), ["own"]);
    assert_eq!(each(&told, "clips", "username"), ["Ada L."]);

    let other = own(&server, "ben").await;
    assert_eq!(each(&other, "comments", "content"), ["ben's"]);
    assert_eq!(each(&other, "reactions", "reported"), [&json!(true)]);
    assert_eq!((&other["ban"], list(&other, "clips").len()), (&Value::Null, 0));
    server.admin("DELETE", "/api/admin/bans/ada", json!({})).await.is(204);
    assert_eq!(own(&server, "ada").await["ban"], Value::Null);
}

#[tokio::test]
async fn a_names_voter_sees_the_name_that_came_with_the_token() {
    let server = TestServer::staged(1).await;
    let claims = json!({"sub": "ada", "name": "Ada \"L\"", "picture": "https://site.example/a.png"});
    let bearer = format!("Bearer {}", crate::server::token_of(&claims));
    let call = server.call("POST", "/api/comments").header("authorization", &bearer);
    call.json(json!({"clipId": "c0", "content": "quotes \" and \\ and \u{e9}"})).send().await.is(201);
    let told = own(&server, "ada").await;
    assert_eq!(each(&told, "comments", "username"), ["Ada \"L\""]);
    assert_eq!(each(&told, "comments", "avatarUrl"), ["https://site.example/a.png"]);
    assert_eq!(each(&told, "comments", "content"), ["quotes \" and \\ and \u{e9}"]);
}

/// Over a store in memory, with a limit that thousands of votes fit into.
async fn roomy(clips: usize) -> TestServer {
    let unused = tempfile::tempdir().unwrap();
    let disk = FaultyDisk::new(1);
    let clock = Arc::new(ManualClock::at(NOON));
    let settings = Settings { daily_limit: 1_000_000, ..settings(unused.path()) };
    let shared = Arc::<ManualClock>::clone(&clock);
    let engine = Engine::over(settings, shared, disk.open("log"), disk.open("tables")).unwrap();
    let server = TestServer::over(engine, clock, Setup::default(), None);
    server.stage("s", clips).await;
    server
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thousands_of_votes_come_once_each_and_in_order() {
    const CLIPS: usize = 100;
    const ROUNDS: usize = 30;
    let server = roomy(CLIPS).await;
    let ada = key().user("ada");
    let mut events = BTreeSet::new();
    for round in 0..ROUNDS {
        let mut votes = tokio::task::JoinSet::new();
        for clip in 0..CLIPS {
            let engine = server.engine.clone();
            votes.spawn(async move {
                let clip = format!("c{clip}");
                let cast = engine.vote(ada, &clip, plaudit::domain::VoteKind::Standard).await.unwrap();
                // All but the last round's are taken back.
                if round + 1 < ROUNDS {
                    engine.retract(ada, &clip).await.unwrap();
                }
                // Others lie in between.
                let other = VoterId([u8::try_from(round).unwrap(); 16]);
                engine.vote(other, &clip, plaudit::domain::VoteKind::Standard).await.unwrap();
                cast.seq
            });
        }
        events.extend(votes.join_all().await);
    }
    let told = own(&server, "ada").await;
    let seqs: Vec<u64> =
        each(&told, "votes", "eventId").iter().map(|id| id.as_str().unwrap().parse().unwrap()).collect();
    assert_eq!(seqs, events.into_iter().collect::<Vec<_>>());
    assert_eq!(seqs.len(), CLIPS * ROUNDS);
    let standing = list(&told, "votes").iter().filter(|vote| vote["takenBack"].is_null()).count();
    assert_eq!((standing, &told["today"]["used"]), (CLIPS, &json!(CLIPS)));

    server.admin("POST", &format!("{SLOT}/lock"), json!({})).await.is(200);
    until("the slot's pages stand", async || {
        server.get("/api/seasons/s/slots/1/certificate").await.status.as_u16() == 200
    })
    .await;
    let told = own(&server, "ada").await;
    let kept: Vec<u64> =
        each(&told, "votes", "eventId").iter().map(|id| id.as_str().unwrap().parse().unwrap()).collect();
    assert_eq!(kept.len(), CLIPS, "of a locked slot those that stand are kept");
    assert!(kept.is_sorted() && kept.iter().all(|seq| seqs.contains(seq)));
}

/// The server runs on this test's one thread: a handler that waits for the disk would hold up everyone.
#[tokio::test]
async fn two_are_served_at_a_time_and_a_vote_waits_for_neither() {
    let disk = FaultyDisk::new(1);
    let slow = Through::over(disk.open("tables"), Slow::default());
    let unused = tempfile::tempdir().unwrap();
    let clock = Arc::new(ManualClock::at(NOON));
    let shared = Arc::<ManualClock>::clone(&clock);
    // So that nobody but the exports reads.
    let settings = Settings { reconcile_every_s: 0, ..settings(unused.path()) };
    let engine = Engine::over(settings, shared, disk.open("log"), Arc::<Through<Slow>>::clone(&slow));
    let server = TestServer::over(engine.unwrap(), clock, Setup::default(), None);
    server.stage("s", 1).await;
    server.engine.drain().await.unwrap();
    let guard = slow.hold();
    let held: Vec<_> = ["ada", "ben"].map(|sub| tokio::spawn(asks(&server, sub).send())).into();
    until("both read", async || slow.hook.holds().1 >= 2 || held.iter().any(tokio::task::JoinHandle::is_finished))
        .await;
    let third = asks(&server, "cyd").send().await;
    assert_eq!(third.refuses(503, "OVERLOADED")["retryAfter"], 1);
    assert_eq!(third.header("retry-after"), Some("1"));
    server.vote("cyd", "c0").await.is(200);
    assert!(slow.hook.holds().0, "the vote was answered while both waited");
    guard.thread().unpark();
    for answer in held {
        answer.await.unwrap().is(200);
    }
    guard.join().unwrap();
    until("a place is free again", async || asks(&server, "cyd").send().await.status.as_u16() == 200).await;
    assert_eq!(each(&own(&server, "cyd").await, "votes", "clipId"), ["c0"]);
}

#[tokio::test]
async fn it_is_within_the_rates_of_voters() {
    let server = TestServer::with(Setup { admission: AdmissionOptions::default(), ..Setup::default() });
    let mut last = 200;
    for _ in 0..200 {
        let answer = asks(&server, "ada").send().await;
        last = answer.status.as_u16();
        if last != 200 {
            assert!(answer.refuses(429, "RATE_LIMITED")["retryAfter"].as_u64().unwrap() >= 1);
            break;
        }
    }
    assert_eq!(last, 429);
    own(&server, "ben").await;
}

async fn erase(server: &TestServer, sub: &str) -> Value {
    let answer = server.call("DELETE", "/api/me").user(sub).send().await;
    assert_eq!(answer.header("cache-control"), Some("private, no-store"));
    assert_eq!(answer.header("set-cookie"), None, "a user has none");
    let told = answer.is(202);
    assert_eq!(told.as_object().unwrap().len(), 1, "{told}");
    assert!(told["erasure"].as_str().unwrap().parse::<u64>().unwrap() > 0);
    told["erasure"].clone()
}

#[tokio::test]
async fn who_has_eight_erasures_that_have_not_ended_is_told_why_there_is_no_ninth() {
    let server = TestServer::with(Setup::default());
    let mut begun = std::collections::BTreeSet::new();
    for _ in 0..8 {
        begun.insert(erase(&server, "ada").await.to_string());
        until("the search is over", async || {
            let told = own(&server, "ada").await;
            list(&told, "erasures").iter().all(|erasure| erasure["commentsEmptied"] == true)
        })
        .await;
    }
    assert_eq!(begun.len(), 8);
    let told = server.call("DELETE", "/api/me").user("ada").send().await.refuses(409, "WRONG_STATE");
    assert!(told["message"].as_str().unwrap().contains("two midnights"), "{told}");
    erase(&server, "ben").await;
}

#[tokio::test]
async fn who_is_not_known_can_erase_nobody() {
    let server = TestServer::staged(1).await;
    let phone = |method: &str, path: &str| server.call(method, path).header("user-agent", "phone");
    let voted = phone("POST", "/api/vote").json(json!({"clipId": "c0"})).send().await;
    voted.is(200);
    phone("DELETE", "/api/me").send().await.refuses(401, "UNAUTHORIZED");
    server.call("DELETE", "/api/me").header("authorization", "Bearer x.y.z").send().await.refuses(401, "INVALID_TOKEN");
    server.call("DELETE", "/api/me").header("authorization", ADMIN).send().await.refuses(401, "INVALID_TOKEN");
    let wrong = phone("GET", "/api/me").send().await;
    wrong.refuses(405, "METHOD_NOT_ALLOWED");
    assert_eq!(wrong.header("allow"), Some("DELETE, OPTIONS"));
    for bearer in [None, Some("Bearer wrong")] {
        let call = server.call("DELETE", "/api/admin/voters/ada");
        let call = if let Some(bearer) = bearer { call.header("authorization", bearer) } else { call };
        call.send().await.refuses(401, "UNAUTHORIZED");
    }
    server
        .admin("DELETE", &format!("/api/admin/voters/{}", "x".repeat(257)), json!({}))
        .await
        .refuses(400, "INVALID_PARAMETER");
    let known = phone("GET", EXPORT).header("cookie", &cookie_of(&voted)).send().await.is(200);
    assert_eq!((list(&known, "votes").len(), list(&known, "erasures").len()), (1, 0));
}

#[tokio::test]
async fn a_device_that_is_erased_loses_its_cookie_and_has_voted_all_the_same() {
    let mut setup = Setup::default();
    setup.app.embed_origins = vec!["https://site.example".into()];
    let server = TestServer::with(setup);
    server.stage("s", 1).await;
    let phone = |method: &str, path: &str| server.call(method, path).header("user-agent", "phone");
    let voted = phone("POST", "/api/vote").json(json!({"clipId": "c0"})).send().await;
    voted.is(200);
    let gone = phone("DELETE", "/api/me").header("cookie", &cookie_of(&voted)).send().await;
    gone.is(202);
    assert_eq!(gone.header("set-cookie"), Some("plaudit_device=; Path=/; Max-Age=0; HttpOnly; SameSite=Lax"));
    let framed = phone("DELETE", "/api/me").header("cookie", &cookie_of(&voted)).header("x-forwarded-proto", "https");
    let framed = framed.send().await;
    framed.is(202);
    // A browser takes a cookie for another one where these differ.
    let set = "plaudit_device=; Path=/; Max-Age=0; HttpOnly; SameSite=None; Secure; Partitioned";
    assert_eq!(framed.header("set-cookie"), Some(set));
    phone("POST", "/api/vote").json(json!({"clipId": "c0"})).send().await.refuses(409, "ALREADY_VOTED");
    phone("GET", EXPORT).header("cookie", "plaudit_device=").send().await.refuses(401, "UNAUTHORIZED");
}

#[tokio::test]
async fn an_erasure_empties_what_others_see_and_keeps_the_counts() {
    let server = TestServer::staged(2).await;
    let clip = json!({"id": "own", "title": "Mine", "ownerId": "ada", "username": "Ada L.", "avatarUrl": "/a.png"});
    server.admin("POST", &format!("{SLOT}/clips"), clip).await.is(201);
    let bearer =
        format!("Bearer {}", crate::server::token_of(&json!({"sub": "ada", "name": "Ada L.", "picture": "/a.png"})));
    let say = async |content: &str| {
        let call = server.call("POST", "/api/comments").header("authorization", &bearer);
        call.json(json!({"clipId": "c0", "content": content})).send().await.is(201)["comment"]["id"].clone()
    };
    let first = say("a secret").await;
    say("another secret").await;
    let bens = post(&server, "ben", json!({"clipId": "c0", "content": "reply", "parentId": first})).await;
    let like = format!("/api/comments/{}/like", bens.as_str().unwrap());
    server.call("PUT", &like).user("ada").send().await.is(200);
    server
        .call("POST", "/api/vote")
        .user("ada")
        .json(json!({"clipId": "c0", "voteType": "super"}))
        .send()
        .await
        .is(200);
    server.vote("ben", "c0").await.is(200);
    all_is_out(&server).await;
    let mut viewer = Source::open(&server, "channels=clip-c0", None).await;
    while viewer.next().await.unwrap().name != "vote-update" {}

    let erasure = erase(&server, "ada").await;
    let mut gone = Vec::new();
    while gone.len() < 2 {
        let event = viewer.next().await.unwrap();
        // The like of before may be told of late.
        assert!(event.name == "delete-comment" || event.data["likesCount"] == 1, "{event:?}");
        gone.extend(Some(event).filter(|event| event.name == "delete-comment"));
    }
    assert!(gone.iter().any(|event| event.data["commentId"] == first), "{gone:?}");
    assert!(gone.iter().all(|event| event.data.as_object().unwrap().len() == 2), "its id and position: {gone:?}");

    let seen = async || {
        let (mut all, json) = (String::new(), "application/json");
        for path in ["/api/comments?clipId=c0", "/api/vote?season=s&slot=1", "/api/leaderboard?type=creators&season=s"]
        {
            all += std::str::from_utf8(&server.call("GET", path).header("accept", json).send().await.body).unwrap();
        }
        all
    };
    until("no name is seen", async || !seen().await.contains("Ada")).await;
    let all = seen().await;
    assert!(
        !all.contains("secret") && !all.contains("/a.png") && !all.contains(&key().public(key().user("ada"))),
        "{all}"
    );
    let page = server.get("/api/comments?clipId=c0").await.is(200);
    let stub = &page["comments"][0];
    assert_eq!((&page["total"], &stub["id"], &stub["status"]), (&json!(1), &first, &json!("deleted")));
    assert_eq!((&stub["content"], &stub["userId"], &stub["username"]), (&Value::Null, &Value::Null, &Value::Null));
    assert_eq!((&stub["replies"][0]["content"], &stub["replies"][0]["likes_count"]), (&json!("reply"), &json!(1)));

    let counts = server.get("/api/vote/counts?clipIds=c0").await.is(200);
    assert_eq!(counts["counts"]["c0"], json!({"voteCount": 2, "weightedScore": 4}));
    server.vote("ada", "c0").await.refuses(409, "ALREADY_VOTED");

    // What is left: the vote, for no second one to be cast, and what it used of the day.
    until("networks are gone", async || own(&server, "ada").await["votes"][0]["network"].is_null()).await;
    let told = own(&server, "ada").await;
    for name in ["comments", "reactions"] {
        assert_eq!(list(&told, name).len(), 0, "{name}: {told}");
    }
    assert_eq!(
        (each(&told, "votes", "clipId"), each(&told, "votes", "erased")),
        (vec![&json!("c0")], vec![&json!(false)])
    );
    // Nobody votes for their own clip, as long as anyone votes for it.
    assert_eq!(each(&told, "clips", "id"), ["own"]);
    assert_eq!(each(&told, "clips", "username"), [&Value::Null]);
    assert_eq!(told["today"]["used"], 3);
    assert_eq!(told["erasures"], json!([{"id": erasure, "commentsEmptied": true}]));

    // A new life: a comment of now is nobody's who was erased.
    say("new").await;
    assert_eq!(each(&own(&server, "ada").await, "comments", "content"), ["new"]);

    server.admin("POST", &format!("{SLOT}/lock"), json!({})).await.is(200);
    until("the id has left the locked slot", async || {
        let told = own(&server, "ada").await;
        each(&told, "votes", "erased") == [&json!(true)]
    })
    .await;
    server.clock.set(MIDNIGHT + 86_400_000 + 60_000);
    until("the record lets go of the id", async || list(&own(&server, "ada").await, "erasures").is_empty()).await;
    let told = own(&server, "ada").await;
    assert_eq!(list(&told, "clips").len(), 0);
    assert_eq!((told["today"]["used"].clone(), each(&told, "comments", "content").len()), (json!(0), 1));
    assert_eq!(server.get("/api/vote/counts?clipIds=c0").await.is(200)["counts"]["c0"]["voteCount"], 2);
}

#[tokio::test]
async fn operators_erase_by_sub_and_by_the_name_that_others_see() {
    let server = TestServer::staged(1).await;
    for sub in ["ada", "b/e n", "cyd"] {
        post(&server, sub, json!({"clipId": "c0", "content": format!("{sub}'s")})).await;
    }
    let visible = async || {
        let page = server.get("/api/comments?clipId=c0&sort=oldest").await.is(200);
        each(&page, "comments", "content").iter().map(|text| text.as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let public = key().public(key().user("ada"));
    for name in [public.as_str(), "b%2Fe%20n", "nobody"] {
        let told = server.admin("DELETE", &format!("/api/admin/voters/{name}"), json!({})).await;
        assert!(told.is(202)["erasure"].as_str().unwrap().parse::<u64>().unwrap() > 0);
    }
    until("both are gone", async || visible().await.len() == 1).await;
    assert_eq!(visible().await, ["cyd's"]);
}
