//! What a vote's request shows: its risk, who sees it, and what of the request is kept.

use std::collections::BTreeSet;

use plaudit::domain::{NetworkHash, Origin, VoteKind, VoterKey};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::server::{ADMIN, Answer, CRON, Call, NOON, TestServer};

const BROWSER: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0";

fn from_browser(server: &TestServer, clip: &str) -> Call {
    let call = server.call("POST", "/api/vote").header("user-agent", BROWSER).header("accept-language", "en");
    call.json(json!({"clipId": clip}))
}

async fn apply(server: &TestServer) {
    server.call("POST", "/api/cron/process-vote-queue").header("authorization", CRON).send().await.is(200);
}

async fn votes(server: &TestServer, query: &str) -> Answer {
    server.call("GET", &format!("/api/admin/votes{query}")).header("authorization", ADMIN).send().await
}

fn list(answer: &Answer) -> Vec<Value> {
    answer.json()["votes"].as_array().unwrap().clone()
}

#[tokio::test]
async fn a_script_is_flagged_counts_as_others_do_and_operators_see_it() {
    let server = TestServer::staged(2).await;
    from_browser(&server, "c0").send().await.is(200);
    let script = server.call("POST", "/api/vote").header("user-agent", "curl/8.5.0");
    let script = script.json(json!({"clipId": "c0", "voteType": "super"})).send().await;
    script.is(200);
    let told = script.json();
    assert_eq!((&told["voteCount"], &told["weightedScore"]), (&json!(2), &json!(4)), "it counts");
    assert!(told.get("risk").is_none() && told.get("flagged").is_none(), "who cheats is not told: {told}");
    server.vote("ada", "c1").await.is(200);
    apply(&server).await;

    let all = votes(&server, "?season=s&slot=1").await;
    all.is(200);
    assert_eq!(all.header("cache-control"), Some("no-store"));
    let all = list(&all);
    let risks: Vec<(&Value, &Value)> = all.iter().map(|vote| (&vote["risk"], &vote["flagged"])).collect();
    let (yes, no) = (&json!(true), &json!(false));
    assert_eq!(risks, [(&json!(0), no), (&json!(65), yes), (&json!(0), no)], "the last came by a site's server");
    let flagged = list(&votes(&server, "?season=s&slot=1&flagged=1").await);
    assert_eq!(flagged, all[1..2]);
    let vote = &flagged[0];
    assert_eq!((&vote["clipId"], &vote["voteType"], &vote["weight"]), (&json!("c0"), &json!("super"), &json!(3)));
    assert_eq!((&vote["eventId"], &vote["at"]), (&told["eventId"], &json!(NOON)));
    let network = vote["network"].as_str().unwrap();
    assert!(network.len() == 16 && all.iter().all(|other| other["network"] == network), "one network: {all:?}");
    assert!(!network.contains("7f0000"), "and not the address itself");
    let names: BTreeSet<&str> = all.iter().map(|vote| vote["userId"].as_str().unwrap()).collect();
    let key = VoterKey::new([7; 32]);
    assert!(names.len() == 3 && names.contains(key.public(key.user("ada")).as_str()));

    let metrics = server.get("/metrics").await;
    let metrics = String::from_utf8(metrics.body.to_vec()).unwrap();
    assert!(metrics.lines().any(|line| line == "plaudit_votes_flagged_total 1"), "{metrics}");
}

#[tokio::test]
async fn a_device_that_was_flagged_is_banned_by_the_name_in_the_list() {
    let server = TestServer::staged(2).await;
    let script = |clip| server.call("POST", "/api/vote").header("user-agent", "curl/8").json(json!({"clipId": clip}));
    script("c0").send().await.is(200);
    from_browser(&server, "c0").send().await.is(200);
    apply(&server).await;
    let flagged = list(&votes(&server, "?flagged=1").await);
    let name = flagged[0]["userId"].as_str().unwrap();
    server.admin("PUT", &format!("/api/admin/bans/{name}"), json!({"reason": "a script"})).await.is(204);
    script("c1").send().await.refuses(403, "BANNED");
    from_browser(&server, "c1").send().await.is(200);
}

#[tokio::test]
async fn the_list_is_for_operators_and_says_what_is_wrong() {
    let server = TestServer::staged(1).await;
    server.get("/api/admin/votes").await.refuses(401, "UNAUTHORIZED");
    assert_eq!(list(&votes(&server, "").await), Vec::<Value>::new(), "the open slot, and no votes yet");
    for bad in ["?flagged=yes", "?limit=0", "?limit=101", "?cursor=x", "?cursor=", "?slot=0"] {
        votes(&server, bad).await.refuses(400, "INVALID_PARAMETER");
    }
    votes(&server, "?season=s&slot=9").await.refuses(404, "SLOT_NOT_FOUND");
    votes(&server, "?season=none").await.refuses(404, "NOT_FOUND");
}

/// Many blocks, pages of both lists, against what was cast.
#[tokio::test(flavor = "multi_thread")]
async fn pages_hold_every_vote_once_in_log_order() {
    let server = TestServer::staged(1).await;
    let key = VoterKey::new([7; 32]);
    let mut cast: Vec<(u64, bool)> = Vec::new();
    // A block that an application of the log has filled is not gone on with: four rounds, at least four blocks.
    for round in 0..4_u64 {
        let mut tasks = JoinSet::new();
        for n in 0..400_u64 {
            let (engine, voter) = (server.engine.clone(), key.user(&format!("{round}-{n}")));
            let risk = if n % 9 == 0 { Origin::FLAGGED_FROM } else { Origin::FLAGGED_FROM - 1 };
            let origin = Origin { risk, network: NetworkHash::of((round + 1).to_be_bytes()) };
            tasks.spawn(async move {
                let receipt = engine.vote_from(origin, voter, "c0", VoteKind::Standard).await.unwrap();
                (receipt.seq, origin.is_flagged())
            });
        }
        cast.extend(tasks.join_all().await);
        apply(&server).await;
    }
    let voter = key.user("0-0");
    server.engine.retract(voter, "c0").await.unwrap();
    apply(&server).await;
    cast.sort_unstable();
    for (query, limit, flagged) in [("", 100, false), ("&flagged=1", 7, true), ("&flagged=true", 100, true)] {
        let seen = every(&server, &format!("?season=s&slot=1&limit={limit}{query}"), limit).await;
        let wanted: Vec<u64> = cast.iter().filter(|vote| vote.1 || !flagged).map(|vote| vote.0).collect();
        assert_eq!(seen, wanted, "{query}");
    }
    // Once it is locked its ballots lie in another order, and the one that was taken back is gone.
    server.admin("POST", "/api/admin/seasons/s/slots/1/lock", json!({})).await.is(200);
    apply(&server).await;
    let mut seen = every(&server, "?season=s&slot=1&limit=7&flagged=1", 7).await;
    seen.sort_unstable();
    let flagged: Vec<u64> = cast.iter().filter(|vote| vote.1).map(|vote| vote.0).collect();
    assert_eq!(seen.len(), flagged.len() - 1);
    assert!(seen.iter().all(|id| flagged.binary_search(id).is_ok()) && seen.is_sorted_by(|one, next| one < next));
    votes(&server, "?season=s&slot=1&cursor=5").await.refuses(400, "INVALID_PARAMETER");
}

/// The ids of all pages, in the order in which they came.
async fn every(server: &TestServer, query: &str, limit: usize) -> Vec<u64> {
    let (mut seen, mut cursor): (Vec<u64>, _) = (Vec::new(), String::new());
    loop {
        let page = votes(server, &format!("{query}{cursor}")).await;
        page.is(200);
        let page = page.json();
        let ids = page["votes"].as_array().unwrap().iter().map(|vote| vote["eventId"].as_str().unwrap());
        let before = seen.len();
        seen.extend(ids.map(|id| id.parse::<u64>().unwrap()));
        assert!(seen.len() - before <= limit);
        let Some(next) = page["nextCursor"].as_str() else { return seen };
        cursor = format!("&cursor={next}");
    }
}
