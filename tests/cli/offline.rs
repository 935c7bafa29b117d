//! `plaudit serve --memory`: a server that begins and ends with a site's own tests.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::time::Instant;

use serde_json::{Value, json};

use crate::running::{GIVE_UP, Running, plaudit, serve};

/// A server in memory, started in an empty directory that it must leave empty.
struct Offline {
    server: Running,
    ready: Value,
    dir: tempfile::TempDir,
}

impl Offline {
    fn start(more: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut command = plaudit();
        command.args(["serve", "--memory", "--port", "0", "--print-json"]).args(more).current_dir(dir.path());
        let server = Running::start(command);
        let ready = serde_json::from_str(&server.banner).unwrap();
        Self { server, ready, dir }
    }

    fn ask(&self, method: &str, path: &str, body: &Value) -> (u16, Value) {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let (status, body) = self.server.ask(method, path, &[], &body);
        (status, if body.is_empty() { Value::Null } else { serde_json::from_str(&body).unwrap() })
    }

    fn admin(&self, method: &str, path: &str, body: &Value) -> (u16, Value) {
        let bearer = format!("Bearer {}", self.ready["adminToken"].as_str().unwrap());
        let (status, body) = self.server.ask(method, path, &[("authorization", &bearer)], &body.to_string());
        (status, serde_json::from_str(&body).unwrap())
    }

    fn votes(&self) -> Value {
        self.ask("GET", "/api/vote/counts?clipIds=clip-1", &Value::Null).1["counts"]["clip-1"]["voteCount"].clone()
    }

    fn now(&self) -> u64 {
        self.ask("GET", "/api/test/clock", &Value::Null).1["nowMs"].as_u64().unwrap()
    }
}

#[test]
fn it_says_in_one_line_of_json_what_runs_and_leaves_nothing_on_the_disk() {
    let began = Instant::now();
    let offline = Offline::start(&[]);
    println!("ready after {:?}, by itself {} ms", began.elapsed(), offline.ready["startMs"]);
    let ready = &offline.ready;
    assert_eq!(offline.server.banner.lines().count(), 1);
    assert_eq!((&ready["event"], &ready["memory"]), (&json!("ready"), &json!(true)));
    assert_eq!(ready["url"], format!("http://{}", offline.server.address));
    for secret in ["jwtSecret", "cronSecret", "adminToken"] {
        assert!(ready[secret].as_str().is_some_and(|secret| secret.len() >= 32), "{secret}");
    }
    let app = &ready["pushApps"][0];
    assert!(["id", "key", "secret"].iter().all(|name| app[*name].is_string()), "{app}");
    assert_eq!(offline.ask("POST", "/api/vote", &json!({"clipId": "clip-1"})).0, 200);
    assert_eq!(offline.votes(), 1);
    let pid = ready["pid"].as_u64().unwrap();
    // What the tests were started with is handed on to every child.
    let handed_on = on_disk(u64::from(std::process::id()));
    let own: Vec<_> = on_disk(pid).into_iter().filter(|file| !handed_on.contains(file)).collect();
    assert_eq!(own, Vec::<String>::new());
    assert_eq!(fs::read_dir(offline.dir.path()).unwrap().count(), 0);
    let Offline { server, dir, .. } = offline;
    server.stop();
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
}

/// Files on a disk that a process has open.
fn on_disk(pid: u64) -> Vec<String> {
    let files = fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
    let targets = files.filter_map(|file| fs::read_link(file.unwrap().path()).ok());
    let found = targets.filter(|at| at.is_absolute() && !at.starts_with("/dev") && at.is_file());
    found.map(|at| at.display().to_string()).collect()
}

#[test]
fn a_reset_brings_the_season_back_and_keeps_connections() {
    let offline = Offline::start(&[]);
    let at_the_start = offline.ask("GET", "/api/seasons", &Value::Null).1;
    for clip in ["clip-1", "clip-2"] {
        assert_eq!(offline.ask("POST", "/api/vote", &json!({"clipId": clip})).0, 200);
    }
    assert_eq!(offline.admin("POST", "/api/admin/seasons", &json!({"id": "mine", "name": "Mine"})).0, 201);
    let (status, answer) = offline.admin("POST", "/api/admin/seasons/demo/slots/1/freeze", &json!({}));
    assert_eq!((status, &answer["status"]), (200, &json!("frozen")));
    offline.ask("POST", "/api/test/clock", &json!({"advanceMs": 86_400_000}));

    // A connection that asks before and after, and a stream.
    let mut kept = BufReader::new(TcpStream::connect(&offline.server.address).unwrap());
    assert_eq!(exchange(&mut kept, "GET /livez"), 200);
    let mut stream = TcpStream::connect(&offline.server.address).unwrap();
    stream.write_all(b"GET /api/stream?channels=clip-clip-1 HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
    let mut events = BufReader::new(stream);
    read_until(&mut events, "id: ");

    assert_eq!(offline.ask("POST", "/api/test/reset", &Value::Null), (204, Value::Null));
    assert_eq!(exchange(&mut kept, "GET /livez"), 200);
    events.get_ref().set_read_timeout(Some(GIVE_UP)).unwrap();
    // The stream has ended as streams do, with an empty chunk.
    read_until(&mut events, "\r\n0\r\n");

    assert_eq!(offline.votes(), 0);
    let mut after = offline.ask("GET", "/api/seasons", &Value::Null).1;
    let started = &mut after["seasons"][0]["slots"][0]["votingStartedAt"];
    assert!(started.as_u64() >= at_the_start["seasons"][0]["slots"][0]["votingStartedAt"].as_u64());
    *started = at_the_start["seasons"][0]["slots"][0]["votingStartedAt"].clone();
    assert_eq!(after, at_the_start);
    assert!(offline.now() < started_ms() + 60_000, "the clock is the machine's again");
    // The same voter has the whole day before it.
    assert_eq!(offline.ask("POST", "/api/vote", &json!({"clipId": "clip-1"})).0, 200);
    assert_eq!(offline.votes(), 1);
    offline.server.stop();
}

fn started_ms() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    u64::try_from(since.as_millis()).unwrap()
}

/// A request on a connection that stays; its status.
fn exchange(connection: &mut BufReader<TcpStream>, request: &str) -> u16 {
    connection.get_mut().write_all(format!("{request} HTTP/1.1\r\nhost: x\r\n\r\n").as_bytes()).unwrap();
    let head = read_until(connection, "\r\n\r\n");
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
    connection.read_exact(&mut vec![0; length.parse().unwrap()]).unwrap();
    head.split(' ').nth(1).unwrap().parse().unwrap()
}

fn read_until(from: &mut impl BufRead, end: &str) -> String {
    let mut text = String::new();
    while !text.contains(end) {
        assert!(from.read_line(&mut text).unwrap() > 0, "{text}");
    }
    text
}

const DAY_MS: u64 = 86_400_000;

#[test]
fn a_moved_clock_ends_days_and_rounds() {
    let offline = Offline::start(&["--daily-limit", "10"]);
    // Not just before a midnight of the machine's.
    let noon = (offline.now() / DAY_MS + 1) * DAY_MS + DAY_MS / 2;
    assert_eq!(offline.ask("POST", "/api/test/clock", &json!({"nowMs": noon})).0, 200);
    assert_eq!(offline.ask("POST", "/api/vote", &json!({"clipId": "clip-1", "voteType": "mega"})).0, 200);
    let (status, limited) = offline.ask("POST", "/api/vote", &json!({"clipId": "clip-2"}));
    assert_eq!((status, &limited["error"]), (429, &json!("DAILY_LIMIT")));
    let midnight = limited["resetAt"].as_u64().unwrap();
    let (status, moved) = offline.ask("POST", "/api/test/clock", &json!({"nowMs": midnight}));
    assert!(status == 200 && moved["nowMs"].as_u64().unwrap() >= midnight, "{moved}");
    assert_eq!(offline.ask("POST", "/api/vote", &json!({"clipId": "clip-2"})).0, 200);

    let ends_at = offline.now() + 3_600_000;
    let extend = json!({"votingEndsAt": ends_at});
    assert_eq!(offline.admin("POST", "/api/admin/seasons/demo/slots/1/extend", &extend).0, 200);
    assert_eq!(offline.ask("POST", "/api/test/clock", &json!({"advanceMs": 3_600_001})).0, 200);
    let (_, slot) = offline.ask("GET", "/api/seasons/demo/slots/1", &Value::Null);
    assert_eq!((&slot["status"], &slot["winnerClipId"]), (&json!("locked"), &json!("clip-1")), "{slot}");
    for (body, parameter) in [
        (json!({}), "nowMs"),
        (json!({"nowMs": 1, "advanceMs": 1}), "nowMs"),
        (json!({"nowMs": u64::MAX}), "nowMs"),
        (json!({"advanceMs": u64::MAX}), "advanceMs"),
    ] {
        let (status, refused) = offline.ask("POST", "/api/test/clock", &body);
        assert_eq!((status, &refused["parameter"]), (400, &json!(parameter)), "{body}");
    }
    offline.server.stop();
}

#[test]
fn its_routes_are_in_its_document_and_nowhere_else() {
    let offline = Offline::start(&[]);
    let (_, document) = offline.ask("GET", "/openapi.json", &Value::Null);
    assert!(document["paths"]["/api/test/reset"]["post"].is_object());
    assert!(document["paths"]["/api/test/clock"]["get"].is_object());
    offline.server.stop();

    let dir = tempfile::tempdir().unwrap();
    let server = serve(dir.path(), &["--print-json"]);
    let ready: Value = serde_json::from_str(&server.banner).unwrap();
    assert_eq!((&ready["memory"], ready.get("adminToken")), (&json!(false), None), "no secrets of a store");
    assert!(Path::new(ready["dataDir"].as_str().unwrap()).join("secrets.toml").exists());
    for (method, path) in [("POST", "/api/test/reset"), ("GET", "/api/test/clock"), ("POST", "/api/test/clock")] {
        let (status, answer) = server.ask(method, path, &[], "");
        assert_eq!((status, answer.contains("NOT_FOUND")), (404, true), "{answer}");
    }
    let (_, document) = server.ask("GET", "/openapi.json", &[], "");
    assert!(!document.contains("/api/test"));
    server.stop();
}
