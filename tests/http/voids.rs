//! Votes taken out by an operator, and put back: what is answered, what everyone sees of it, and that no voter is named.

use std::sync::Arc;

use plaudit::clock::ManualClock;
use plaudit::domain::{VoterId, VoterKey};
use plaudit::engine::Engine;
use serde_json::{Value, json};

use crate::server::{ADMIN, Answer, CRON, NOON, Setup, TestServer, settings};
use crate::stream::Source;

const VOIDS: &str = "/api/admin/voids";
const SLOT: &str = "/api/admin/seasons/s/slots/1";
const HISTORY: &str = "/api/seasons/s/slots/1/history";

async fn void(server: &TestServer, body: Value) -> Answer {
    server.admin("POST", VOIDS, body).await
}

async fn lift(server: &TestServer, id: &Value, body: Value) -> Answer {
    server.admin("DELETE", &format!("{VOIDS}/{}", id.as_str().unwrap()), body).await
}

async fn list(server: &TestServer, query: &str) -> Answer {
    server.call("GET", &format!("{VOIDS}{query}")).header("authorization", ADMIN).send().await
}

fn ids(list: &Value) -> Vec<Value> {
    list["voids"].as_array().unwrap().iter().map(|void| void["id"].clone()).collect()
}

/// A script's vote, which is flagged.
async fn script(server: &TestServer, n: u32, clip: &str) -> Answer {
    let call = server.call("POST", "/api/vote").header("user-agent", &format!("curl/8.{n}"));
    call.json(json!({"clipId": clip})).send().await
}

/// Votes and weight of each clip, in the order of their addition.
async fn counts(server: &TestServer) -> Vec<(u64, u64)> {
    let clips = server.get("/api/vote?season=s&slot=1").await.is(200);
    let count = |clip: &Value, name: &str| clip[name].as_u64().unwrap();
    let clips = clips.as_array().unwrap().iter();
    clips.map(|clip| (count(clip, "vote_count"), count(clip, "weighted_score"))).collect()
}

/// Slot 1 of season `s`: three flagged votes for `c0`, of two voters for `c1`.
async fn cheated() -> TestServer {
    let server = TestServer::staged(2).await;
    for n in 0..3 {
        script(&server, n, "c0").await.is(200);
    }
    server.vote("ada", "c1").await.is(200);
    let heavy = json!({"clipId": "c1", "voteType": "super"});
    server.call("POST", "/api/vote").user("ben").json(heavy).send().await.is(200);
    server
}

#[tokio::test]
async fn flagged_votes_go_out_and_come_back_and_every_reader_follows() {
    let server = cheated().await;
    let before = server.get("/api/vote?season=s&slot=1").await;
    let tag = before.header("etag").unwrap().to_owned();
    let asked = json!({"by": "flagged", "slot": 1, "reason": "scripts"});
    let mut dry = asked.clone();
    dry["dryRun"] = json!(true);

    let would = void(&server, dry.clone()).await.is(200);
    let order = json!([
        {"clipId": "c1", "voteCount": 2, "weightedScore": 4, "voteCountThen": 2, "weightedScoreThen": 4, "place": 1, "placeThen": 1},
        {"clipId": "c0", "voteCount": 3, "weightedScore": 3, "voteCountThen": 0, "weightedScoreThen": 0, "place": 2, "placeThen": 2},
    ]);
    assert_eq!((&would["dryRun"], &would["votes"], &would["already"]), (&json!(true), &json!(3), &json!(0)));
    assert_eq!(would["order"], order);
    assert!(would["asOf"].as_str().unwrap().parse::<u64>().unwrap() > 0);
    assert_eq!(server.get("/api/vote?season=s&slot=1").await.header("etag"), Some(tag.as_str()), "nothing has changed");
    assert_eq!(ids(&list(&server, "").await.is(200)), Vec::<Value>::new());

    let told = void(&server, asked.clone()).await.is(201);
    assert_eq!((&told["season"], &told["slot"], &told["by"]), (&json!("s"), &json!(1), &json!("flagged")));
    assert_eq!((&told["status"], &told["reason"]), (&json!("inForce"), &json!("scripts")));
    assert_eq!((&told["begunAt"], &told["takenAt"], &told["votes"]), (&json!(NOON), &json!(NOON), &json!(3)));
    assert_eq!(told["changes"], json!([{"clipId": "c0", "votes": -3, "weight": -3}]));
    assert_eq!((&told["liftedAt"], &told["liftReason"]), (&Value::Null, &Value::Null));
    let after = server.get("/api/vote?season=s&slot=1").await;
    assert_ne!(after.header("etag"), Some(tag.as_str()));
    assert_eq!(counts(&server).await, [(0, 0), (2, 4)]);
    let by_id = server.get("/api/vote/counts?clipIds=c0").await.is(200);
    assert_eq!(by_id["counts"]["c0"], json!({"voteCount": 0, "weightedScore": 0}));
    script(&server, 0, "c0").await.refuses(409, "ALREADY_VOTED");
    let again = void(&server, dry).await.is(200);
    assert_eq!((&again["votes"], &again["already"]), (&json!(3), &json!(3)));

    // One that is lifted while another holds the same votes brings none of them back.
    let second = void(&server, asked).await.is(201);
    assert_eq!((&second["votes"], &second["changes"]), (&json!(3), &json!([])));
    let lifted = lift(&server, &told["id"], json!({"reason": "they were people"})).await.is(200);
    assert_eq!((&lifted["status"], &lifted["liftReason"]), (&json!("lifted"), &json!("they were people")));
    assert_eq!((&lifted["liftedAt"], &lifted["changes"]), (&json!(NOON), &told["changes"]));
    assert_eq!(counts(&server).await, [(0, 0), (2, 4)]);
    lift(&server, &second["id"], json!({"reason": "all of them"})).await.is(200);
    assert_eq!(server.get("/api/vote?season=s&slot=1").await.header("etag"), Some(tag.as_str()), "all is as it was");
}

#[tokio::test]
async fn each_kind_finds_its_own_votes() {
    let server = cheated().await;
    server.clock.advance(10_000);
    server.vote("ada", "c0").await.is(200);
    server.call("POST", "/api/cron/process-vote-queue").header("authorization", CRON).send().await.is(200);
    let found = async |by: Value| {
        let mut body = json!({"slot": 1, "season": "s", "reason": "a look", "dryRun": true});
        body.as_object_mut().unwrap().extend(by.as_object().unwrap().clone());
        void(&server, body).await.is(200)["votes"].clone()
    };
    assert_eq!(found(json!({"by": "voter", "voter": "ada"})).await, 2);
    let key = VoterKey::new([7; 32]);
    assert_eq!(found(json!({"by": "voter", "voter": key.public(key.user("ada"))})).await, 2);
    assert_eq!(found(json!({"by": "voter", "voter": "nobody"})).await, 0);
    assert_eq!(found(json!({"by": "window", "from": NOON, "to": NOON + 10_000})).await, 5);
    assert_eq!(found(json!({"by": "window", "from": NOON + 10_000, "to": NOON + 10_001})).await, 1);
    let votes = server.call("GET", "/api/admin/votes?season=s&slot=1").header("authorization", ADMIN).send().await;
    let network = votes.is(200)["votes"][0]["network"].clone();
    assert_eq!(found(json!({"by": "network", "network": network})).await, 6, "all came from here");
    assert_eq!(found(json!({"by": "network", "network": "00000000000000ff"})).await, 0);
    assert_eq!(found(json!({"by": "flagged"})).await, 3);
}

#[tokio::test]
async fn what_is_wrong_is_said_and_changes_nothing() {
    let server = cheated().await;
    server.admin("POST", "/api/admin/seasons/s/slots", json!({})).await.is(201);
    // The token comes before the body, and before what is asked for.
    for (method, path) in [("POST", VOIDS), ("GET", VOIDS), ("DELETE", "/api/admin/voids/1")] {
        server
            .call(method, path)
            .body("{")
            .header("content-type", "application/json")
            .send()
            .await
            .refuses(401, "UNAUTHORIZED");
        let wrong = server.call(method, path).header("authorization", "Bearer wrong").send().await;
        wrong.refuses(401, "UNAUTHORIZED");
    }
    let whole = json!({"by": "flagged", "slot": 1, "reason": "why"});
    let with = |more: Value| {
        let mut body = whole.clone();
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        body
    };
    let parameters = [
        ("by", json!({"by": null})),
        ("by", json!({"by": "mood"})),
        ("slot", json!({"slot": null})),
        ("slot", json!({"slot": 0})),
        ("reason", json!({"reason": null})),
        ("reason", json!({"reason": " "})),
        ("reason", json!({"reason": "x".repeat(501)})),
        ("voter", json!({"by": "voter"})),
        ("voter", json!({"by": "voter", "voter": ""})),
        ("voter", json!({"by": "voter", "voter": "x".repeat(257)})),
        ("voter", json!({"voter": "ada"})),
        ("network", json!({"by": "network"})),
        ("network", json!({"by": "network", "network": "xyz"})),
        ("network", json!({"by": "network", "network": "0000000000000000"})),
        ("network", json!({"by": "voter", "voter": "ada", "network": "00000000000000ff"})),
        ("from", json!({"by": "window", "to": 5})),
        ("to", json!({"by": "window", "from": 5})),
        ("to", json!({"by": "window", "from": 5, "to": 5})),
        ("from", json!({"from": 5})),
        ("to", json!({"by": "network", "network": "00000000000000ff", "to": 5})),
    ];
    for (name, more) in parameters {
        for dry in [false, true] {
            let mut body = with(more.clone());
            body["dryRun"] = json!(dry);
            let refused = void(&server, body).await.refuses(400, "INVALID_PARAMETER");
            assert_eq!(refused["parameter"], name, "{more}");
        }
    }
    for wrong in [json!({"slot": "1"}), json!({"by": 7}), json!({"dryRun": "yes"}), json!({"by": "window", "from": -1})]
    {
        void(&server, with(wrong)).await.refuses(400, "INVALID_JSON");
    }
    void(&server, with(json!({"slot": 9}))).await.refuses(404, "SLOT_NOT_FOUND");
    void(&server, with(json!({"season": "none"}))).await.refuses(404, "NOT_FOUND");
    let upcoming = void(&server, with(json!({"slot": 2}))).await.refuses(409, "WRONG_STATE");
    assert_eq!(upcoming["state"], "upcoming");

    for unknown in ["1", "999999999999"] {
        lift(&server, &json!(unknown), json!({"reason": "why"})).await.refuses(404, "NOT_FOUND");
    }
    for odd in ["x", "0", "-1"] {
        lift(&server, &json!(odd), json!({"reason": "why"})).await.refuses(400, "INVALID_PARAMETER");
    }
    for query in ["?slot=0", "?limit=0", "?limit=101", "?cursor=x", "?cursor=0"] {
        list(&server, query).await.refuses(400, "INVALID_PARAMETER");
    }
    list(&server, "?season=none").await.refuses(404, "NOT_FOUND");
    list(&server, "?season=s&slot=9").await.refuses(404, "SLOT_NOT_FOUND");
    for query in ["?limit=0", "?cursor=x"] {
        server.get(&format!("{HISTORY}{query}")).await.refuses(400, "INVALID_PARAMETER");
    }
    server.get("/api/seasons/s/slots/9/history").await.refuses(404, "SLOT_NOT_FOUND");
    server.get("/api/seasons/none/slots/1/history").await.refuses(404, "NOT_FOUND");
    assert_eq!(ids(&list(&server, "").await.is(200)), Vec::<Value>::new());
    assert_eq!(counts(&server).await, [(3, 3), (2, 4)]);

    let told = void(&server, whole).await.is(201);
    for wrong in [json!({}), json!({"reason": ""}), json!({"reason": "x".repeat(501)})] {
        let refused = lift(&server, &told["id"], wrong).await.refuses(400, "INVALID_PARAMETER");
        assert_eq!(refused["parameter"], "reason");
    }
    lift(&server, &told["id"], json!({"reason": "why"})).await.is(200);
    let twice = lift(&server, &told["id"], json!({"reason": "why"})).await.refuses(409, "WRONG_STATE");
    assert_eq!(twice["state"], "lifted");
}

#[tokio::test]
async fn lists_are_of_a_season_or_a_slot_and_come_in_pages() {
    let server = TestServer::start();
    let mut made = Vec::new();
    for season in ["s", "t"] {
        server.admin("POST", "/api/admin/seasons", json!({"id": season, "name": "Season"})).await.is(201);
        server.admin("POST", &format!("/api/admin/seasons/{season}/slots"), json!({})).await.is(201);
        let slot = format!("/api/admin/seasons/{season}/slots/1");
        server.admin("POST", &format!("{slot}/clips"), json!({"id": season, "title": "A clip"})).await.is(201);
        server.admin("POST", &format!("{slot}/open"), json!({})).await.is(200);
        for n in 0..2 {
            let body = json!({"by": "flagged", "slot": 1, "season": season, "reason": format!("{season} {n}")});
            made.push(void(&server, body).await.is(201)["id"].clone());
        }
    }
    let newest: Vec<Value> = made.iter().rev().cloned().collect();
    let all = list(&server, "").await;
    assert_eq!((ids(&all.is(200)), all.header("cache-control")), (newest.clone(), Some("no-store")));
    assert_eq!(ids(&list(&server, "?season=s").await.is(200)), newest[2..]);
    assert_eq!(ids(&list(&server, "?season=s&slot=1").await.is(200)), newest[2..]);
    assert_eq!(ids(&list(&server, "?slot=1").await.is(200)), newest[..2], "the newest active season's");
    let (mut seen, mut cursor) = (Vec::new(), String::new());
    for _ in 0..2 {
        let page = list(&server, &format!("?limit=2{cursor}")).await.is(200);
        assert_eq!(ids(&page).len(), 2);
        seen.extend(ids(&page));
        cursor = page["nextCursor"].as_str().map_or(String::new(), |next| format!("&cursor={next}"));
    }
    assert_eq!((seen, cursor.as_str()), (newest, ""));
    let page = server.get("/api/seasons/t/slots/1/history?limit=1").await.is(200);
    assert_eq!(ids(&page), made[3..]);
    let rest = format!("/api/seasons/t/slots/1/history?limit=1&cursor={}", page["nextCursor"].as_str().unwrap());
    assert_eq!(ids(&server.get(&rest).await.is(200)), made[2..3]);
}

/// Two slots of other votes: of voids neither shows more than the other until the lock.
#[tokio::test]
async fn a_void_of_a_hidden_slot_shows_no_count() {
    let mut seen = Vec::new();
    for votes in [1_u32, 4] {
        let server = TestServer::start();
        server.admin("POST", "/api/admin/seasons", json!({"id": "s", "name": "Season"})).await.is(201);
        server.admin("POST", "/api/admin/seasons/s/slots", json!({})).await.is(201);
        for clip in ["c0", "c1"] {
            server.admin("POST", &format!("{SLOT}/clips"), json!({"id": clip, "title": "A clip"})).await.is(201);
        }
        server.admin("POST", &format!("{SLOT}/open"), json!({"resultsHidden": true})).await.is(200);
        for n in 0..votes {
            script(&server, n, "c1").await.is(200);
        }
        let tag = server.get("/api/vote?season=s&slot=1").await.header("etag").unwrap().to_owned();
        let asked = json!({"by": "flagged", "slot": 1, "reason": "scripts"});
        let would =
            void(&server, json!({"by": "flagged", "slot": 1, "reason": "scripts", "dryRun": true})).await.is(200);
        assert_eq!((&would["votes"], &would["order"]), (&json!(votes), &Value::Null));
        let told = void(&server, asked).await.is(201);
        assert_eq!((&told["votes"], &told["changes"]), (&Value::Null, &Value::Null));
        assert_eq!(server.get("/api/vote?season=s&slot=1").await.header("etag"), Some(tag.as_str()));
        let mut shown = server.get(HISTORY).await.is(200);
        assert_eq!(shown["voids"][0]["id"], told["id"]);
        shown["voids"][0]["id"] = Value::Null;
        seen.push(shown);
        server.admin("POST", &format!("{SLOT}/lock"), json!({})).await.is(200);
        let locked = server.get(HISTORY).await.is(200);
        assert_eq!(locked["voids"][0]["votes"], votes);
        let lost = -i64::from(votes);
        assert_eq!(locked["voids"][0]["changes"], json!([{"clipId": "c1", "votes": lost, "weight": lost}]));
    }
    for shown in &mut seen {
        // They count all events.
        shown["steps"].as_array_mut().unwrap().iter_mut().for_each(|step| step["eventId"] = Value::Null);
    }
    assert_eq!(seen[0], seen[1]);
}

#[tokio::test]
async fn history_tells_everyone_what_happened_and_names_nobody() {
    let server = cheated().await;
    server.clock.advance(1_000);
    server.admin("POST", &format!("{SLOT}/extend"), json!({"votingEndsAt": NOON + 60_000})).await.is(200);
    server.admin("POST", &format!("{SLOT}/freeze"), json!({})).await.is(200);
    server.admin("POST", &format!("{SLOT}/reopen"), json!({})).await.is(200);
    server.call("POST", "/api/cron/process-vote-queue").header("authorization", CRON).send().await.is(200);
    let votes = server.call("GET", "/api/admin/votes?season=s&slot=1").header("authorization", ADMIN).send().await;
    let network = votes.is(200)["votes"][0]["network"].as_str().unwrap().to_owned();
    let why = "see the report";
    void(&server, json!({"by": "voter", "voter": "ada", "slot": 1, "reason": why})).await.is(201);
    void(&server, json!({"by": "network", "network": network, "slot": 1, "reason": why})).await.is(201);
    void(&server, json!({"by": "window", "from": NOON - 7, "to": NOON + 7, "slot": 1, "reason": why})).await.is(201);
    server.admin("POST", &format!("{SLOT}/lock"), json!({})).await.is(200);

    let key = VoterKey::new([7; 32]);
    let VoterId(ada) = key.user("ada");
    let secret = ada.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"));
    let told = list(&server, "").await.is(200);
    let told = told["voids"].as_array().unwrap();
    assert_eq!((&told[2]["by"], &told[2]["userId"]), (&json!("voter"), &json!(key.public(key.user("ada")))));
    assert_eq!((&told[1]["by"], &told[1]["network"]), (&json!("network"), &json!(network)));
    assert_eq!(
        (&told[0]["by"], &told[0]["from"], &told[0]["to"]),
        (&json!("window"), &json!(NOON - 7), &json!(NOON + 7))
    );
    assert!(!json!(told).to_string().contains(&secret), "not even to operators");

    let answer = server.get(HISTORY).await;
    let history = answer.is(200);
    let text = String::from_utf8(answer.body.to_vec()).unwrap();
    for name in ["ada", &secret, key.public(key.user("ada")).as_str(), &network, "userId", "network\":", "\"from\""] {
        assert!(!text.contains(name), "{name}: {text}");
    }
    let of =
        |list: &Value, name: &str| list.as_array().unwrap().iter().map(|one| one[name].clone()).collect::<Vec<_>>();
    assert_eq!(of(&history["voids"], "by"), ["window", "network", "voter"]);
    assert_eq!(of(&history["voids"], "reason"), [why, why, why]);
    assert_eq!(history["voids"][2]["changes"], json!([{"clipId": "c1", "votes": -1, "weight": -1}]));
    let steps = ["created", "opened", "extended", "frozen", "reopened", "frozen", "locked"];
    assert_eq!(of(&history["steps"], "step"), steps);
    assert_eq!(of(&history["steps"], "at")[1..3], [json!(NOON), json!(NOON + 1_000)]);
    assert_eq!(of(&history["steps"], "frozenBy")[3..6], [Value::Null, Value::Null, json!("lock")]);
    assert_eq!((&history["allSteps"], &history["status"]), (&json!(true), &json!("locked")));
    assert_eq!((answer.header("cache-control"), answer.header("set-cookie")), (Some("no-cache"), None));
    let tag = answer.header("etag").unwrap();
    let known = server.call("GET", HISTORY).header("if-none-match", tag).send().await;
    assert_eq!(known.status.as_u16(), 304);
}

#[tokio::test]
async fn a_locked_slots_winner_follows_and_viewers_hear_of_it() {
    let server = TestServer::staged(2).await;
    for n in 0..3 {
        script(&server, n, "c0").await.is(200);
    }
    server.vote("ada", "c1").await.is(200);
    server.vote("ben", "c1").await.is(200);
    let mut source = Source::open(&server, "channels=season-s", None).await;
    let while_open =
        void(&server, json!({"by": "voter", "voter": "ben", "slot": 1, "reason": "a mistake"})).await.is(201);
    lift(&server, &while_open["id"], json!({"reason": "a mistake"})).await.is(200);
    server.admin("POST", &format!("{SLOT}/lock"), json!({})).await.is(200);
    assert_eq!(server.get("/api/seasons/s/slots/1").await.is(200)["winnerClipId"], "c0");
    source.expect("slot-frozen").await;
    assert_eq!(source.expect("slot-closed").await.data["winner"]["clipId"], "c0");

    let asked = json!({"by": "flagged", "slot": 1, "season": "s", "reason": "scripts"});
    let mut dry = asked.clone();
    dry["dryRun"] = json!(true);
    let would = void(&server, dry).await.is(200);
    assert_eq!((&would["order"][0]["clipId"], &would["order"][0]["place"]), (&json!("c1"), &json!(2)));
    let told = void(&server, asked).await.is(201);
    let slot = server.get("/api/seasons/s/slots/1").await.is(200);
    assert_eq!((&slot["winnerClipId"], &slot["decidedBy"]), (&json!("c1"), &json!("votes")));
    assert_eq!(counts(&server).await, [(0, 0), (2, 2)]);
    let pushed = source.expect("slot-corrected").await.data;
    assert_eq!(pushed["winner"], json!({"clipId": "c1", "title": "Clip 1", "voteCount": 2, "weightedScore": 2}));
    assert_eq!((&pushed["slot"]["winnerClipId"], &pushed["slot"]["status"]), (&json!("c1"), &json!("locked")));
    assert_eq!(pushed["void"], json!({"id": told["id"], "lifted": false}));
    let history = server.get(HISTORY).await.is(200);
    let last = history["steps"].as_array().unwrap().last().unwrap();
    assert_eq!(
        (&last["step"], &last["winnerClipId"], &last["decidedBy"]),
        (&json!("locked"), &json!("c0"), &json!("votes"))
    );
    assert_eq!(history["winnerClipId"], "c1");

    // By the name in lists, although nobody of a locked slot is in memory any more.
    let key = VoterKey::new([7; 32]);
    let ben = json!({"by": "voter", "voter": key.public(key.user("ben")), "slot": 1, "season": "s", "reason": "a bot"});
    assert_eq!(void(&server, ben).await.is(201)["votes"], 1);
    assert_eq!(source.expect("slot-corrected").await.data["winner"]["voteCount"], 1);
    lift(&server, &told["id"], json!({"reason": "they were people"})).await.is(200);
    let pushed = source.expect("slot-corrected").await.data;
    assert_eq!((&pushed["winner"]["clipId"], &pushed["void"]["lifted"]), (&json!("c0"), &json!(true)));
    assert_eq!(server.get("/api/seasons/s/slots/1").await.is(200)["winnerClipId"], "c0");
}

#[tokio::test]
async fn a_restart_keeps_all_of_it() {
    let (dir, clock) = (tempfile::tempdir().unwrap(), Arc::new(ManualClock::at(NOON)));
    let start = || {
        let engine = Engine::open(settings(dir.path()), Arc::<ManualClock>::clone(&clock)).unwrap();
        TestServer::over(engine, Arc::clone(&clock), Setup::default(), None)
    };
    let server = start();
    server.stage("s", 2).await;
    for n in 0..3 {
        script(&server, n, "c0").await.is(200);
    }
    server.vote("ada", "c1").await.is(200);
    server.admin("POST", &format!("{SLOT}/lock"), json!({})).await.is(200);
    let asked = json!({"by": "flagged", "slot": 1, "season": "s", "reason": "scripts"});
    let told = void(&server, asked).await.is(201);
    let paths = ["/api/vote?season=s&slot=1", "/api/seasons/s/slots/1", HISTORY];
    let mut before = Vec::new();
    for path in paths {
        before.push(server.get(path).await.is(200));
    }
    before.push(list(&server, "").await.is(200));
    let server = restarted(server, start).await;
    for (path, before) in paths.iter().zip(&before) {
        assert_eq!(&server.get(path).await.is(200), before, "{path}");
    }
    assert_eq!(list(&server, "").await.is(200), before[3]);

    lift(&server, &told["id"], json!({"reason": "they were people"})).await.is(200);
    // So much later nobody of the slot is in memory; the name that others see finds them all the same.
    clock.advance(3 * 86_400_000);
    let server = restarted(server, start).await;
    assert_eq!((counts(&server).await.as_slice(), server.engine.voters()), (&[(3, 3), (1, 1)][..], 0));
    assert_eq!(server.get("/api/seasons/s/slots/1").await.is(200)["winnerClipId"], "c0");
    assert_eq!(server.get(HISTORY).await.is(200)["voids"][0]["liftReason"], "they were people");
    let key = VoterKey::new([7; 32]);
    let name = key.public(key.user("ada"));
    let ada = json!({"by": "voter", "voter": name, "slot": 1, "season": "s", "reason": "a bot"});
    let told = void(&server, ada).await.is(201);
    assert_eq!((&told["votes"], &told["userId"]), (&json!(1), &json!(name)));
}

async fn restarted(mut server: TestServer, start: impl Fn() -> TestServer) -> TestServer {
    let engine = server.engine.clone();
    server.begin_stop();
    server.stopped().await;
    drop(server);
    tokio::task::spawn_blocking(move || engine.close()).await.unwrap().unwrap();
    start()
}
