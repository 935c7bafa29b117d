//! What a server tells its operators, and what it never tells: logs and traces.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::sync::mpsc;
use std::thread;

use serde_json::Value;

use crate::running::{GIVE_UP, Running, err, out, run, serve};

/// Names and secrets that go through a server in [`busy`].
fn busy(server: &Running, dir: &std::path::Path) -> Vec<String> {
    let dir = dir.to_str().unwrap();
    let token = out(&run(["token", "--sub", "alice-by-name", "--name", "Alice Shown", "--data-dir", dir]));
    let token = token.trim().to_owned();
    assert_eq!(server.vote(&token, "clip-1").0, 200);
    assert_eq!(server.vote("forged.token.here", "clip-1").0, 401);
    assert_eq!(server.ask("POST", "/api/vote", &[("user-agent", "a-device")], r#"{"clipId":"clip-2"}"#).0, 200);
    let secrets: toml::Table = std::fs::read_to_string(format!("{dir}/secrets.toml")).unwrap().parse().unwrap();
    let admin = format!("Bearer {}", secrets["admin-token"].as_str().unwrap());
    let banned =
        server.ask("PUT", "/api/admin/bans/mallory-by-name", &[("authorization", &admin)], r#"{"reason":"x"}"#);
    assert!(banned.0 < 300, "{banned:?}");
    let again = ("idempotency-key", "a-key-of-hers");
    let bearer = format!("Bearer {token}");
    server.ask("POST", "/api/vote", &[("authorization", &bearer), again], r#"{"clipId":"clip-3"}"#);
    let url = format!("http://{}/api/vote", server.address);
    let two = Command::new("curl")
        .args([
            "-s",
            "--http2-prior-knowledge",
            "-H",
            &format!("authorization: {bearer}"),
            "-H",
            "content-type: application/json",
        ])
        .args(["-d", r#"{"clipId":"clip-4"}"#, &url])
        .output()
        .unwrap();
    assert!(out(&two).contains("success"), "{}", out(&two));
    let kept = secrets.values().map(|secret| secret.as_str().unwrap().rsplit(':').next().unwrap().to_owned());
    let told = ["alice-by-name", "Alice Shown", "mallory-by-name", "a-device", "forged.token.here", "a-key-of-hers"];
    kept.chain(told.map(str::to_owned)).chain([token]).collect()
}

#[test]
fn requests_have_a_line_at_debug_and_no_line_names_anyone() {
    for (level, lines) in [("info", false), ("debug", true), ("trace", true)] {
        let dir = tempfile::tempdir().unwrap();
        let server = serve(dir.path(), &["--log", level]);
        let never = busy(&server, dir.path());
        if lines {
            server.wait_for("\"route\":\"/api/admin/bans/{sub}\"");
        }
        let log = server.complaints();
        // Not a terminal: JSON, each line of it.
        let lines_of: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let answered: Vec<&Value> = lines_of.iter().filter(|line| line["message"] == "answered").collect();
        assert_eq!(!answered.is_empty(), lines, "{level}");
        for line in answered {
            assert!(line["status"].as_u64().is_some() && line["took_ms"].as_f64().is_some(), "{line}");
            assert_eq!(line["level"], "DEBUG");
        }
        for secret in &never {
            assert!(!log.contains(secret), "{secret} at {level} in\n{log}");
        }
        server.stop();
    }
}

#[test]
fn traces_reach_a_collector_and_name_nobody() {
    let collector = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", collector.local_addr().unwrap());
    let (sent, received) = mpsc::channel();
    thread::spawn(move || {
        for stream in collector.incoming().map_while(Result::ok) {
            let sent = sent.clone();
            thread::spawn(move || collect(stream, &sent));
        }
    });
    let dir = tempfile::tempdir().unwrap();
    let server = serve(dir.path(), &["--otlp", &url, "--otlp-every", "1", "--log", "debug"]);
    let never = busy(&server, dir.path());
    // What waits is sent at the stop; the collector may be later than that in telling of it.
    server.stop();
    let (mut heads, mut spans) = (String::new(), Vec::new());
    for part in
        ["plaudit", "POST /api/vote", "PUT /api/admin/bans/{sub}", "claim", "commit", "http.response.status_code"]
    {
        while !has(&spans, part) {
            let (head, body) = received.recv_timeout(GIVE_UP).expect(part);
            heads.push_str(&head);
            spans.extend_from_slice(&body);
        }
    }
    assert!(heads.starts_with("POST /v1/traces HTTP/1.1") && heads.contains("application/x-protobuf"), "{heads}");
    for (_, body) in received.try_iter() {
        spans.extend_from_slice(&body);
    }
    for secret in never {
        assert!(!has(&spans, &secret), "{secret}");
    }
}

fn has(spans: &[u8], text: &str) -> bool {
    spans.windows(text.len()).any(|window| window == text.as_bytes())
}

/// Takes requests of one connection, each answered with nothing.
fn collect(mut stream: TcpStream, sent: &mpsc::Sender<(String, Vec<u8>)>) {
    let (mut unread, mut room) = (Vec::new(), [0; 4096]);
    while let Ok(read @ 1..) = stream.read(&mut room) {
        unread.extend_from_slice(&room[..read]);
        let Some(end) = unread.windows(4).position(|four| four == b"\r\n\r\n") else { continue };
        let head = String::from_utf8(unread[..end].to_vec()).unwrap().to_lowercase();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
        let length: usize = length.trim().parse().unwrap();
        if unread.len() < end + 4 + length {
            continue;
        }
        let head = String::from_utf8(unread[..end].to_vec()).unwrap();
        sent.send((head, unread[end + 4..end + 4 + length].to_vec())).unwrap();
        unread.drain(..end + 4 + length);
        stream
            .write_all(b"HTTP/1.1 200 OK\r\ncontent-type: application/x-protobuf\r\ncontent-length: 0\r\n\r\n")
            .unwrap();
    }
}

/// A command that has something to say, and ends.
#[test]
fn logs_are_for_people_on_a_terminal_and_for_machines_elsewhere() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path().to_str().unwrap();
    serve(dir.path(), &[]).stop();
    std::fs::set_permissions(dir.path().join("secrets.toml"), PermissionsExt::from_mode(0o644)).unwrap();
    let args = ["token", "--sub", "ada", "--data-dir", at];
    let piped = run(args);
    let line: Value = serde_json::from_str(err(&piped).trim()).unwrap();
    assert!(line["level"] == "WARN" && line["message"].as_str().unwrap().contains("chmod 600"), "{line}");
    // Python runs it on a terminal of its own, and copies what it prints.
    let terminal = Command::new("python3")
        .args(["-c", "import pty, sys; pty.spawn(sys.argv[1:])", env!("CARGO_BIN_EXE_plaudit")])
        .args(args)
        .output()
        .unwrap();
    let shown = out(&terminal);
    let line =
        shown.lines().find(|line| line.contains("chmod 600")).unwrap_or_else(|| panic!("{shown}{}", err(&terminal)));
    assert!(line.contains("WARN") && !line.contains('{'), "{line}");
}
