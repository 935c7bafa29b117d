//! Who votes: devices and their cookies, proxies, retries with an idempotency key, and many requests at once.

use crate::server::{Answer, Call, MIDNIGHT, NOON, Setup, TestServer};
use plaudit::admission::TrustedProxies;
use plaudit::http::{IdempotencyOptions, Origins};
use serde_json::{Value, json};
use tokio::task::JoinSet;

fn device(server: &TestServer, agent: &str, cookie: Option<&str>) -> Call {
    let call = server.call("POST", "/api/vote").header("user-agent", agent).json(json!({"clipId": "c0"}));
    if let Some(cookie) = cookie { call.header("cookie", cookie) } else { call }
}

fn cookie_of(answer: &Answer) -> String {
    answer.header("set-cookie").unwrap().split(';').next().unwrap().to_owned()
}

#[tokio::test]
async fn dropping_the_cookie_gives_no_second_vote() {
    let server = TestServer::staged(1).await;
    let first = device(&server, "phone", None).send().await;
    first.is(200);
    let set = first.header("set-cookie").unwrap();
    assert!(set.contains("HttpOnly") && set.contains("SameSite=Lax"), "{set}");
    let without = device(&server, "phone", None).send().await;
    without.refuses(409, "ALREADY_VOTED");
    assert_eq!(cookie_of(&without), cookie_of(&first), "refused or not, the device is pinned");
    let with = device(&server, "phone", Some(&cookie_of(&first))).send().await;
    with.refuses(409, "ALREADY_VOTED");
    assert_eq!(with.header("set-cookie"), None, "only when the cookie is absent");
    device(&server, "another phone", Some(&cookie_of(&first))).send().await.refuses(409, "ALREADY_VOTED");
    device(&server, "another phone", Some("plaudit_device=forged")).send().await.is(200);
}

#[tokio::test]
async fn a_cookie_goes_into_other_sites_frames_where_these_are_let_in_and_over_tls_alone() {
    let set = async |more: &dyn Fn(&mut Setup), proto: &str| {
        let mut setup = Setup::default();
        more(&mut setup);
        let server = TestServer::with(setup);
        server.stage("s", 1).await;
        let answer = device(&server, "phone", None).header("x-forwarded-proto", proto).send().await;
        answer.is(200);
        let (_, how) = answer.header("set-cookie").unwrap().split_once("HttpOnly; ").unwrap();
        how.to_owned()
    };
    let framed = |setup: &mut Setup| setup.app.embed_origins = vec!["https://site.example".into()];
    let listed = |setup: &mut Setup| setup.app.origins = Origins::Listed(["https://site.example".into()].into());
    let secret = |setup: &mut Setup| setup.app.over_tls = true;
    assert_eq!(set(&|_| (), "http").await, "SameSite=Lax");
    assert_eq!(set(&framed, "http").await, "SameSite=Lax", "browsers keep no such cookie in clear");
    for way in [set(&|_| (), "https").await, set(&secret, "http").await] {
        assert_eq!(way, "SameSite=Lax; Secure");
    }
    let both = |setup: &mut Setup| {
        framed(setup);
        secret(setup);
    };
    for way in [set(&framed, "https").await, set(&listed, "HTTPS").await, set(&both, "http").await] {
        assert_eq!(way, "SameSite=None; Secure; Partitioned");
    }
}

#[tokio::test]
async fn a_network_brings_so_many_new_devices_a_day() {
    let server = TestServer::with(Setup { devices_per_network: 2, ..Setup::default() });
    server.stage("s", 1).await;
    let known = device(&server, "a", None).send().await;
    known.is(200);
    device(&server, "b", None).send().await.is(200);
    let refused = device(&server, "c", None).send().await;
    assert_eq!(refused.refuses(429, "RATE_LIMITED")["retryAfter"], 43_200);
    assert_eq!(refused.header("set-cookie"), None);
    device(&server, "c", Some(&cookie_of(&known))).send().await.refuses(409, "ALREADY_VOTED");
    server.vote("ada", "c0").await.is(200);
    server.clock.set(MIDNIGHT);
    device(&server, "c", None).send().await.is(200);
}

#[tokio::test]
async fn forwarded_addresses_count_from_listed_proxies_alone() {
    let forwarded = |server: &TestServer, address: &str| {
        let call = server.call("POST", "/api/vote").header("x-forwarded-for", address);
        call.json(json!({"clipId": "c0"})).send()
    };
    let plain = TestServer::staged(1).await;
    forwarded(&plain, "198.51.100.1").await.is(200);
    forwarded(&plain, "198.51.100.2").await.refuses(409, "ALREADY_VOTED");

    let mut setup = Setup::default();
    setup.app.trusted_proxies = TrustedProxies(vec!["127.0.0.0/8".parse().unwrap()]);
    let behind = TestServer::with(setup);
    behind.stage("s", 1).await;
    forwarded(&behind, "198.51.100.1").await.is(200);
    forwarded(&behind, "198.51.100.2").await.is(200);
    forwarded(&behind, "203.0.113.5, 198.51.100.1, 127.0.0.9").await.refuses(409, "ALREADY_VOTED");
}

fn keyed(server: &TestServer, method: &str, sub: &str, key: &str, body: Value) -> Call {
    server.call(method, "/api/vote").user(sub).header("idempotency-key", key).json(body)
}

#[tokio::test]
async fn a_retry_with_its_key_gets_the_first_answer_again() {
    let server = TestServer::staged(2).await;
    let vote = || keyed(&server, "POST", "ada", "k1", json!({"clipId": "c0"}));
    let first = vote().send().await;
    first.is(200);
    assert_eq!(first.header("idempotency-replayed"), None);
    server.clock.set(NOON + 299_999);
    let again = vote().send().await;
    assert_eq!((again.status, &again.body), (first.status, &first.body), "byte for byte");
    assert_eq!(again.header("idempotency-replayed"), Some("true"));
    assert_eq!(again.header("content-type"), Some("application/json"));
    keyed(&server, "POST", "ada", "k1", json!({"clipId": "c1"})).send().await.refuses(422, "IDEMPOTENCY_KEY_REUSED");
    keyed(&server, "POST", "bob", "k1", json!({"clipId": "c1"})).send().await.is(200);
    let back = keyed(&server, "DELETE", "ada", "k1", json!({"clipId": "c0"})).send().await;
    assert_eq!(back.is(200)["voteCount"], 0);
    assert_eq!(vote().send().await.body, first.body, "the first answer, though the vote is gone");
    server.clock.set(NOON + 300_000);
    assert_eq!(vote().send().await.header("idempotency-replayed"), None, "after five minutes it acts anew");
}

#[tokio::test]
async fn a_refusal_is_kept_and_a_limit_is_not() {
    let server = TestServer::staged(1).await;
    server.vote("ada", "c0").await.is(200);
    let again = || keyed(&server, "POST", "ada", "k", json!({"clipId": "c0"})).send();
    again().await.refuses(409, "ALREADY_VOTED");
    server.retract("ada", "c0").await.is(200);
    let kept = again().await;
    kept.refuses(409, "ALREADY_VOTED");
    assert_eq!(kept.header("idempotency-replayed"), Some("true"));

    let server = TestServer::staged(21).await;
    for clip in 0..20 {
        let body = json!({"clipId": format!("c{clip}"), "voteType": "mega"});
        server.call("POST", "/api/vote").user("ada").json(body).send().await.is(200);
    }
    let limited = || keyed(&server, "POST", "ada", "k", json!({"clipId": "c20"})).send();
    limited().await.refuses(429, "DAILY_LIMIT");
    server.retract("ada", "c0").await.is(200);
    assert_eq!(limited().await.is(200)["success"], true, "the retry may better it");
}

#[tokio::test]
async fn keys_are_visible_and_bounded() {
    let mut setup = Setup::default();
    setup.app.idempotency = IdempotencyOptions { max_entries: 1, ..IdempotencyOptions::default() };
    let server = TestServer::with(setup);
    server.stage("s", 2).await;
    for bad in ["", "a b", &"x".repeat(256)] {
        let answer = keyed(&server, "POST", "ada", bad, json!({"clipId": "c0"})).send().await;
        answer.refuses(400, "INVALID_PARAMETER");
    }
    keyed(&server, "POST", "ada", "a", json!({"clipId": "c0"})).send().await.is(200);
    keyed(&server, "POST", "ada", "b", json!({"clipId": "c1"})).send().await.is(200);
    let forgotten = keyed(&server, "POST", "ada", "a", json!({"clipId": "c0"})).send().await;
    forgotten.refuses(409, "ALREADY_VOTED");
}

/// Sends all at once, each on a connection of its own, and gives the answers.
async fn at_once(calls: impl Iterator<Item = Call>) -> Vec<Answer> {
    let mut tasks = JoinSet::new();
    for call in calls {
        tasks.spawn(call.send());
    }
    tasks.join_all().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_requests_with_one_key_one_acts_and_all_get_its_answer() {
    let server = TestServer::staged(1).await;
    let answers = at_once((0..50).map(|_| keyed(&server, "POST", "ada", "k", json!({"clipId": "c0"})))).await;
    let replayed = answers.iter().filter(|answer| answer.header("idempotency-replayed").is_some()).count();
    assert_eq!(replayed, 49);
    for answer in &answers {
        assert_eq!((answer.status.as_u16(), &answer.body), (200, &answers[0].body));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_concurrent_requests_of_one_voter_give_one_vote() {
    let server = TestServer::staged(1).await;
    raise_open_files();
    let vote = || server.call("POST", "/api/vote").user("ada").json(json!({"clipId": "c0"}));
    let answers = at_once((0..1_000).map(|_| vote())).await;
    let won = answers.iter().filter(|answer| answer.status.as_u16() == 200).count();
    assert_eq!(won, 1);
    for lost in answers.iter().filter(|answer| answer.status.as_u16() != 200) {
        lost.refuses(409, "ALREADY_VOTED");
    }
    let counts = server.get("/api/vote/counts?clipIds=c0").await.is(200);
    assert_eq!(counts["counts"]["c0"]["voteCount"], 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_hundred_concurrent_votes_of_one_voter_give_exactly_the_daily_limit() {
    let server = TestServer::staged(500).await;
    raise_open_files();
    let vote = |clip| server.call("POST", "/api/vote").user("ada").json(json!({"clipId": format!("c{clip}")}));
    let answers = at_once((0..500).map(vote)).await;
    let won = answers.iter().filter(|answer| answer.status.as_u16() == 200).count();
    assert_eq!(won, 200);
    for lost in answers.iter().filter(|answer| answer.status.as_u16() != 200) {
        assert_eq!(lost.refuses(429, "DAILY_LIMIT")["remaining"], 0);
    }
    let limit = server.call("GET", "/api/vote/limit").user("ada").send().await.is(200);
    assert_eq!((&limit["allowed"], &limit["current"], &limit["remaining"]), (&json!(false), &json!(200), &json!(0)));
}

/// Both ends of a thousand connections are ours.
fn raise_open_files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum }).unwrap();
}
