//! Comments over HTTP, as clients meet them: every call of the contract, every code, and who sees what.

use crate::server::{ADMIN, Answer, Setup, TestServer, token_of};
use plaudit::admission::AdmissionOptions;
use plaudit::comments::WordList;
use plaudit::engine::CommentSettings;
use serde_json::{Value, json};

async fn list(server: &TestServer, query: &str, sub: Option<&str>) -> Answer {
    let call = server.call("GET", &format!("/api/comments?clipId=c0{query}"));
    let call = if let Some(sub) = sub { call.user(sub) } else { call };
    call.send().await
}

fn contents(list: &Value) -> Vec<&str> {
    list["comments"].as_array().unwrap().iter().map(|one| one["content"].as_str().unwrap_or("-")).collect()
}

async fn posted(server: &TestServer, sub: &str, content: &str) -> String {
    let body = server.comment(sub, content).await.is(201);
    body["comment"]["id"].as_str().unwrap().to_owned()
}

async fn reply(server: &TestServer, sub: &str, to: &str, content: &str) -> Answer {
    let body = json!({"clipId": "c0", "content": content, "parentId": to});
    server.call("POST", "/api/comments").user(sub).json(body).send().await
}

async fn like(server: &TestServer, method: &str, sub: &str, id: &str) -> Answer {
    server.call(method, &format!("/api/comments/{id}/like")).user(sub).send().await
}

async fn report(server: &TestServer, sub: &str, id: &str) -> Answer {
    server.call("POST", &format!("/api/comments/{id}/report")).user(sub).send().await
}

async fn delete(server: &TestServer, sub: &str, id: &str) -> Answer {
    server.call("DELETE", &format!("/api/comments/{id}")).user(sub).send().await
}

async fn judge(server: &TestServer, id: &str, word: &str) -> Answer {
    server.call("POST", &format!("/api/admin/comments/{id}/{word}")).header("authorization", ADMIN).send().await
}

async fn waiting(server: &TestServer, status: &str) -> Vec<String> {
    let path = format!("/api/admin/comments?status={status}");
    let body = server.call("GET", &path).header("authorization", ADMIN).send().await.is(200);
    body["comments"].as_array().unwrap().iter().map(|one| one["id"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn a_comment_is_answered_with_what_others_see_of_it() {
    let server = TestServer::staged(1).await;
    let token = token_of(&json!({"sub": "ada", "name": " Ada\u{202e} L. ", "picture": "https://example.org/a.png"}));
    let call = server.call("POST", "/api/comments").header("authorization", &format!("Bearer {token}"));
    let answer = call.json(json!({"clipId": "c0", "content": "  <b>Cafe\u{301}</b> "})).send().await;
    let body = answer.is(201);
    assert_eq!(body["success"], true);
    let comment = &body["comment"];
    assert!(comment["id"].as_str().unwrap().parse::<u64>().unwrap() > 0);
    let user = comment["userId"].as_str().unwrap();
    assert!(user.len() == 32 && user != "ada");
    let expected = json!({
        "id": comment["id"], "clipId": "c0", "userId": user, "username": "Ada L.",
        "avatarUrl": "https://example.org/a.png", "content": "<b>Caf\u{e9}</b>", "parentId": null,
        "createdAt": crate::server::NOON, "status": "visible", "depth": 0, "likes_count": 0, "total_replies": 0,
        "is_own": true, "is_liked": false
    });
    assert_eq!(comment, &expected);
    assert_eq!(answer.header("cache-control"), Some("private, no-store"));

    let plain = server.comment("bob", "no name").await.is(201);
    assert!(plain["comment"]["username"].as_str().unwrap().starts_with("user-"));
    assert_eq!(plain["comment"]["avatarUrl"], Value::Null);
    let slot = server.get("/api/vote").await.is(200);
    assert_eq!(slot[0]["comment_count"], 2);
}

#[tokio::test]
async fn what_is_wrong_with_a_comment_has_a_code() {
    let server = TestServer::staged(2).await;
    let send = |body: &str| {
        let call = server.call("POST", "/api/comments").user("ada").header("content-type", "application/json");
        call.body(body).send()
    };
    send("{\"content\":\"x\"}").await.refuses(400, "MISSING_CLIP_ID");
    send("{\"clipId\":\"\",\"content\":\"x\"}").await.refuses(400, "MISSING_CLIP_ID");
    for broken in ["", "{", "[]", "\"x\"", "{\"clipId\":7,\"content\":\"x\"}", "{\"clipId\":\"c0\",\"content\":[]}"] {
        send(broken).await.refuses(400, "INVALID_JSON");
    }
    for text in ["", "   ", "a\nb", "a\u{0}b", "\u{202e}abc", &"x".repeat(501)] {
        let body = json!({"clipId": "c0", "content": text}).to_string();
        assert_eq!(send(&body).await.refuses(400, "INVALID_PARAMETER")["parameter"], "content");
    }
    send("{\"clipId\":\"c0\"}").await.refuses(400, "INVALID_PARAMETER");
    send(&json!({"clipId": "c0", "content": "x".repeat(17_000)}).to_string()).await.refuses(413, "BODY_TOO_LARGE");
    send("{\"clipId\":\"nowhere\",\"content\":\"x\"}").await.refuses(404, "CLIP_NOT_FOUND");
    for parent in [json!("x"), json!(-1), json!(1.5), json!([1]), json!(true), json!("")] {
        let body = json!({"clipId": "c0", "content": "x", "parentId": parent}).to_string();
        assert_eq!(send(&body).await.refuses(400, "INVALID_PARAMETER")["parameter"], "parentId");
    }
    reply(&server, "ada", "999", "x").await.refuses(404, "NOT_FOUND");
    let id = posted(&server, "ada", "here").await;
    let elsewhere = json!({"clipId": "c1", "content": "x", "parentId": id}).to_string();
    assert_eq!(send(&elsewhere).await.refuses(400, "INVALID_PARAMETER")["parameter"], "parentId");
    let mut deep = id;
    for _ in 0..5 {
        deep = reply(&server, "ada", &deep, "deeper").await.is(201)["comment"]["id"].as_str().unwrap().to_owned();
    }
    assert_eq!(reply(&server, "ada", &deep, "x").await.refuses(400, "INVALID_PARAMETER")["parameter"], "parentId");
    let untyped = server.call("POST", "/api/comments").user("ada").body("{}").send().await;
    untyped.refuses(415, "UNSUPPORTED_MEDIA_TYPE");
    let latin =
        [b"{\"clipId\":\"c0\",\"content\":\"\xe9\"}".as_slice(), b"{\"clipId\":\"c0\",\"content\":\"\\ud800\"}"];
    for bytes in latin {
        let call = server.call("POST", "/api/comments").user("ada").header("content-type", "application/json");
        call.bytes(bytes).send().await.refuses(400, "INVALID_JSON");
    }
}

#[tokio::test]
async fn who_comments_is_signed_in_unless_devices_may() {
    let server = TestServer::staged(1).await;
    let call = |server: &TestServer| server.call("POST", "/api/comments").json(json!({"clipId": "c0", "content": "x"}));
    call(&server).send().await.refuses(401, "UNAUTHORIZED");
    call(&server).header("authorization", "Bearer x").send().await.refuses(401, "INVALID_TOKEN");
    let mut setup = Setup::default();
    setup.app.anonymous_comments = true;
    let open = TestServer::with(setup);
    open.stage("s", 1).await;
    let answer = call(&open).send().await;
    assert_eq!(answer.is(201)["comment"]["is_own"], true);
    let cookie = answer.header("set-cookie").unwrap().split(';').next().unwrap().to_owned();
    let own = open.call("GET", "/api/comments?clipId=c0").header("cookie", &cookie).send().await;
    assert_eq!(own.is(200)["comments"][0]["is_own"], true);
    assert_eq!(own.header("cache-control"), Some("private, no-store"));
    server.admin("PUT", "/api/admin/bans/mallory", json!({})).await.is(204);
    server.comment("mallory", "x").await.refuses(403, "BANNED");
}

#[tokio::test]
async fn a_ban_takes_the_id_that_others_see() {
    let server = TestServer::staged(1).await;
    let user = server.comment("mallory", "spam").await.is(201)["comment"]["userId"].as_str().unwrap().to_owned();
    server.admin("PUT", &format!("/api/admin/bans/{user}"), json!({"reason": "spam"})).await.is(204);
    server.comment("mallory", "more").await.refuses(403, "BANNED");
    server.vote("mallory", "c0").await.refuses(403, "BANNED");
    let bans = server.call("GET", "/api/admin/bans").header("authorization", ADMIN).send().await.is(200);
    assert_eq!(bans["bans"][0]["userId"], user.as_str());
    let lift = server.call("DELETE", &format!("/api/admin/bans/{user}")).header("authorization", ADMIN).send();
    lift.await.is(204);
    server.comment("mallory", "sorry").await.is(201);
}

#[tokio::test]
async fn a_list_has_pages_that_lead_on() {
    let server = TestServer::staged(1).await;
    for n in 0..7 {
        posted(&server, "ada", &format!("number {n}")).await;
    }
    let first = list(&server, "&limit=3", None).await;
    let body = first.is(200);
    assert_eq!(contents(&body), ["number 6", "number 5", "number 4"]);
    assert_eq!((&body["total"], &body["hasMore"]), (&json!(7), &json!(true)));
    assert!(body["comments"][0].get("is_own").is_none() && body["comments"][0].get("is_liked").is_none());
    assert!(first.header("cache-control").unwrap().starts_with("public"));
    assert_eq!(first.header("vary"), Some("authorization, cookie"));
    assert_eq!(first.header("set-cookie"), None);
    // What comes and goes meanwhile moves nothing.
    let fresh = posted(&server, "ada", "number 7").await;
    delete(&server, "ada", &fresh).await.is(200);
    let mut seen = contents(&body).len();
    let mut answer = first;
    while let Some(link) = answer.header("link").map(str::to_owned) {
        let url = link.strip_prefix('<').and_then(|link| link.strip_suffix(">; rel=\"next\"")).unwrap();
        answer = server.get(url).await;
        seen += contents(&answer.is(200)).len();
    }
    let last = answer.is(200);
    assert_eq!((contents(&last), seen), (vec!["number 0"], 7));
    assert_eq!((&last["nextCursor"], &last["hasMore"]), (&Value::Null, &json!(false)));
    assert_eq!(list(&server, "&limit=100&sort=oldest", None).await.is(200)["comments"][0]["content"], "number 0");
    for bad in ["&limit=0", "&limit=101", "&limit=x", "&sort=best", "&cursor=x", "&parentId=x", "&cursor="] {
        list(&server, bad, None).await.refuses(400, "INVALID_PARAMETER");
    }
    let cursor = body["nextCursor"].as_str().unwrap();
    list(&server, &format!("&sort=top&cursor={cursor}"), None).await.refuses(400, "INVALID_PARAMETER");
    list(&server, "&parentId=999", None).await.refuses(404, "NOT_FOUND");
    server.get("/api/comments").await.refuses(400, "MISSING_CLIP_ID");
    server.get("/api/comments?clipId=nowhere").await.refuses(404, "CLIP_NOT_FOUND");
    let wrong = server.call("GET", "/api/comments?clipId=c0").header("authorization", "Bearer x").send().await;
    wrong.refuses(401, "INVALID_TOKEN");
}

#[tokio::test]
async fn a_thread_shows_its_first_replies_and_is_paged() {
    let server = TestServer::staged(1).await;
    let top = posted(&server, "ada", "top").await;
    for n in 0..5 {
        reply(&server, "bob", &top, &format!("reply {n}")).await.is(201);
    }
    let body = list(&server, "", Some("bob")).await.is(200);
    let thread = &body["comments"][0];
    assert_eq!((&thread["total_replies"], &body["total"]), (&json!(5), &json!(6)));
    let replies: Vec<&str> =
        thread["replies"].as_array().unwrap().iter().map(|one| one["content"].as_str().unwrap()).collect();
    assert_eq!(replies, ["reply 0", "reply 1", "reply 2"]);
    assert_eq!((&thread["is_own"], &thread["replies"][0]["is_own"]), (&json!(false), &json!(true)));
    assert_eq!(thread["replies"][0]["parentId"], top.as_str());
    let page = list(&server, &format!("&parentId={top}&limit=4"), None).await;
    assert_eq!(contents(&page.is(200)), ["reply 0", "reply 1", "reply 2", "reply 3"]);
    let link = page.header("link").unwrap();
    let next = server.get(link.split(['<', '>']).nth(1).unwrap()).await.is(200);
    assert_eq!((contents(&next), &next["hasMore"]), (vec!["reply 4"], &json!(false)));
    delete(&server, "ada", &top).await.is(200);
    let body = list(&server, "", None).await.is(200);
    let stub = &body["comments"][0];
    assert_eq!((&stub["status"], &stub["total_replies"]), (&json!("deleted"), &json!(5)));
    for gone in ["content", "username", "userId", "avatarUrl"] {
        assert_eq!(stub[gone], Value::Null, "{gone}");
    }
    assert_eq!(body["total"], 5);
}

#[tokio::test]
async fn counts_are_exact_and_follow() {
    let server = TestServer::staged(2).await;
    let id = posted(&server, "ada", "one").await;
    reply(&server, "bob", &id, "two").await.is(201);
    let counts = async || server.get("/api/comments/count?clipIds=c0,c1,nowhere").await.is(200)["counts"].clone();
    assert_eq!(counts().await, json!({"c0": 2, "c1": 0}));
    delete(&server, "ada", &id).await.is(200);
    assert_eq!(counts().await, json!({"c0": 1, "c1": 0}));
    server.get("/api/comments/count").await.refuses(400, "INVALID_PARAMETER");
}

#[tokio::test]
async fn an_author_or_a_moderator_deletes() {
    let server = TestServer::staged(1).await;
    let id = posted(&server, "ada", "mine").await;
    delete(&server, "bob", &id).await.refuses(403, "FORBIDDEN");
    let gone = delete(&server, "ada", &id).await.is(200);
    assert_eq!(gone, json!({"success": true, "commentId": id}));
    delete(&server, "ada", &id).await.refuses(404, "NOT_FOUND");
    let id = posted(&server, "ada", "yours").await;
    let path = format!("/api/comments/{id}");
    server.call("DELETE", &path).header("authorization", ADMIN).send().await.is(200);
    assert!(contents(&list(&server, "", Some("ada")).await.is(200)).is_empty());
    delete(&server, "ada", "999").await.refuses(404, "NOT_FOUND");
    delete(&server, "ada", "x").await.refuses(400, "INVALID_PARAMETER");
    server
        .call("DELETE", "/api/comments/1")
        .header("authorization", "Bearer x")
        .send()
        .await
        .refuses(401, "INVALID_TOKEN");
    let allowed = server.call("POST", &path).send().await;
    allowed.refuses(405, "METHOD_NOT_ALLOWED");
    assert_eq!(allowed.header("allow"), Some("DELETE, OPTIONS"));
}

#[tokio::test]
async fn a_like_stands_once_and_is_shown_to_its_voter() {
    let server = TestServer::staged(1).await;
    let (a, b) = (posted(&server, "ada", "a").await, posted(&server, "ada", "b").await);
    for _ in 0..2 {
        let liked = like(&server, "PUT", "bob", &a).await.is(200);
        assert_eq!(liked, json!({"success": true, "commentId": a, "likes_count": 1, "is_liked": true}));
    }
    assert_eq!(contents(&list(&server, "&sort=top", None).await.is(200)), ["a", "b"]);
    let body = list(&server, "", Some("bob")).await.is(200);
    assert_eq!((&body["comments"][1]["is_liked"], &body["comments"][1]["likes_count"]), (&json!(true), &json!(1)));
    assert_eq!(body["comments"][0]["is_liked"], false);
    for _ in 0..2 {
        let left = like(&server, "DELETE", "bob", &a).await.is(200);
        assert_eq!((&left["likes_count"], &left["is_liked"]), (&json!(0), &json!(false)));
    }
    let device = server.call("PUT", &format!("/api/comments/{b}/like")).send().await;
    assert_eq!(device.is(200)["likes_count"], 1);
    assert!(device.header("set-cookie").is_some());
    like(&server, "PUT", "bob", "999").await.refuses(404, "NOT_FOUND");
    like(&server, "PUT", "bob", "1e3").await.refuses(400, "INVALID_PARAMETER");
}

#[tokio::test]
async fn reports_hide_a_comment_until_it_was_looked_at() {
    let server = TestServer::staged(1).await;
    let id = posted(&server, "ada", "rude").await;
    for sub in ["a", "a", "b"] {
        report(&server, sub, &id).await.is(200);
    }
    assert_eq!(
        (list(&server, "", None).await.is(200)["total"].clone(), waiting(&server, "reported").await),
        (json!(1), vec![id.clone()])
    );
    report(&server, "c", &id).await.is(200);
    assert!(contents(&list(&server, "", None).await.is(200)).is_empty());
    assert_eq!(waiting(&server, "reported").await, vec![id.clone()]);
    report(&server, "d", &id).await.refuses(404, "NOT_FOUND");
    let approved = judge(&server, &id, "approve").await.is(200);
    assert_eq!((&approved["comment"]["status"], &approved["comment"]["reports_count"]), (&json!("visible"), &json!(0)));
    assert_eq!(contents(&list(&server, "", None).await.is(200)), ["rude"]);
    assert!(waiting(&server, "reported").await.is_empty());
    let hidden = judge(&server, &id, "hide").await.is(200);
    assert_eq!((&hidden["comment"]["status"], &hidden["comment"]["content"]), (&json!("hidden"), &json!("rude")));
    assert_eq!(waiting(&server, "hidden").await, vec![id.clone()]);
    assert_eq!(server.get("/api/comments/count?clipIds=c0").await.is(200)["counts"]["c0"], 0);
    delete(&server, "ada", &id).await.is(200);
    judge(&server, &id, "approve").await.refuses(404, "NOT_FOUND");
    for path in ["/api/admin/comments", "/api/admin/comments?status=x", "/api/admin/comments?status=hidden&limit=0"] {
        server.call("GET", path).header("authorization", ADMIN).send().await.refuses(400, "INVALID_PARAMETER");
    }
    for (method, path) in [("GET", "/api/admin/comments?status=hidden"), ("POST", "/api/admin/comments/1/hide")] {
        server.call(method, path).user("ada").send().await.refuses(401, "UNAUTHORIZED");
    }
}

#[tokio::test]
async fn what_is_held_first_is_seen_by_its_author_and_moderators() {
    let setup =
        Setup { comments: CommentSettings { held_first: true, ..CommentSettings::default() }, ..Setup::default() };
    let server = TestServer::with(setup);
    server.stage("s", 1).await;
    let body = server.comment("ada", "may I?").await.is(201);
    assert_eq!(body["comment"]["status"], "pending");
    let id = body["comment"]["id"].as_str().unwrap();
    assert!(contents(&list(&server, "", None).await.is(200)).is_empty());
    assert!(contents(&list(&server, "", Some("bob")).await.is(200)).is_empty());
    assert_eq!(contents(&list(&server, "", Some("ada")).await.is(200)), ["may I?"]);
    assert_eq!(waiting(&server, "pending").await, [id]);
    judge(&server, id, "approve").await.is(200);
    assert_eq!(contents(&list(&server, "", None).await.is(200)), ["may I?"]);
}

#[tokio::test]
async fn nobody_learns_of_what_they_cannot_see() {
    let server = TestServer::staged(2).await;
    server.engine.block_words(WordList::parse("spam\n"));
    let liked = posted(&server, "ada", "liked").await;
    like(&server, "PUT", "bob", &liked).await.is(200);
    let held = posted(&server, "ada", "spam").await;
    let hidden = posted(&server, "ada", "rude").await;
    for id in [&hidden, &liked] {
        judge(&server, id, "hide").await.is(200);
    }
    for id in [&held, &hidden, &liked] {
        for method in ["PUT", "DELETE"] {
            like(&server, method, "eve", id).await.refuses(404, "NOT_FOUND");
        }
        report(&server, "eve", id).await.refuses(404, "NOT_FOUND");
        delete(&server, "eve", id).await.refuses(404, "NOT_FOUND");
        reply(&server, "eve", id, "x").await.refuses(404, "NOT_FOUND");
        let elsewhere = json!({"clipId": "c1", "content": "x", "parentId": id});
        server.call("POST", "/api/comments").user("eve").json(elsewhere).send().await.refuses(404, "NOT_FOUND");
        list(&server, &format!("&parentId={id}"), Some("eve")).await.refuses(404, "NOT_FOUND");
    }
    // Whose like stands may take it back, and hears of no others.
    let left = like(&server, "DELETE", "bob", &liked).await.is(200);
    assert_eq!((&left["likes_count"], &left["is_liked"]), (&json!(0), &json!(false)));
    like(&server, "DELETE", "bob", &liked).await.refuses(404, "NOT_FOUND");
    assert!(
        list(&server, &format!("&parentId={held}"), Some("ada")).await.is(200)["comments"].is_array(),
        "its author"
    );
    // Under one that was answered the answers stay.
    let busy = posted(&server, "ada", "busy").await;
    reply(&server, "bob", &busy, "an answer").await.is(201);
    like(&server, "PUT", "bob", &busy).await.is(200);
    like(&server, "PUT", "cy", &busy).await.is(200);
    judge(&server, &busy, "hide").await.is(200);
    assert_eq!(contents(&list(&server, &format!("&parentId={busy}"), None).await.is(200)), ["an answer"]);
    assert_eq!(like(&server, "DELETE", "bob", &busy).await.is(200)["likes_count"], 0, "of what is hidden, as in lists");
}

#[tokio::test]
async fn a_blocked_word_holds_a_comment() {
    let server = TestServer::staged(1).await;
    server.engine.block_words(WordList::parse("spam\n"));
    assert_eq!(server.comment("ada", "Buy SPAM now").await.is(201)["comment"]["status"], "pending");
    assert_eq!(server.comment("ada", "spammer").await.is(201)["comment"]["status"], "visible");
    server.engine.block_words(WordList::default());
    assert_eq!(server.comment("ada", "spam").await.is(201)["comment"]["status"], "visible");
}

#[tokio::test]
async fn hasty_voters_wait() {
    let setup =
        Setup { comments: CommentSettings { slow_ms: 10_000, ..CommentSettings::default() }, ..Setup::default() };
    let server = TestServer::with(setup);
    server.stage("s", 1).await;
    server.comment("ada", "one").await.is(201);
    let hasty = server.comment("ada", "two").await;
    assert_eq!(hasty.refuses(429, "RATE_LIMITED")["retryAfter"], 10);
    assert_eq!(hasty.header("retry-after"), Some("10"));
    server.comment("bob", "one").await.is(201);
    server.clock.advance(10_000);
    server.comment("ada", "two").await.is(201);
    let rates = AdmissionOptions { per_voter: std::num::NonZeroU32::new(1), ..AdmissionOptions::off() };
    let limited = TestServer::with(Setup { admission: rates, ..Setup::default() });
    limited.stage("s", 1).await;
    let id = posted(&limited, "ada", "one").await;
    limited.comment("ada", "two").await.refuses(429, "RATE_LIMITED");
    like(&limited, "PUT", "ada", &id).await.refuses(429, "RATE_LIMITED");
}

#[tokio::test]
async fn a_key_makes_a_retry_the_same_request() {
    let server = TestServer::staged(1).await;
    let send = |sub: &str, key: &str, content: &str| {
        let call = server.call("POST", "/api/comments").user(sub).header("idempotency-key", key);
        call.json(json!({"clipId": "c0", "content": content})).send()
    };
    let first = send("ada", "k1", "once").await;
    let again = send("ada", "k1", "once").await;
    assert_eq!(again.is(201), first.is(201));
    assert_eq!((first.header("idempotency-replayed"), again.header("idempotency-replayed")), (None, Some("true")));
    send("ada", "k1", "twice").await.refuses(422, "IDEMPOTENCY_KEY_REUSED");
    assert_ne!(send("bob", "k1", "once").await.is(201)["comment"]["id"], first.json()["comment"]["id"]);
    send("ada", "k 2", "x").await.refuses(400, "INVALID_PARAMETER");
    assert_eq!(list(&server, "", None).await.is(200)["total"], 2);
}
