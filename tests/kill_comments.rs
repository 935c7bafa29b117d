//! `kill -9` of the real server while comments are posted and liked: each that was answered is there once, likes with it;
//! one that was not answered is there once or not at all, and its retry with the same key finds or makes that one.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a test fails by panicking and prints what it saw"
)]

mod destruction;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{SystemTime, UNIX_EPOCH};

use destruction::process::{JWT_SECRET, PATIENCE, Server, verify};
use destruction::random::Random;
use plaudit::identity::mint;
use serde_json::{Value, json};

const ROUNDS: u64 = 12;
const CLIENTS: u64 = 8;

/// One request on a connection of its own; an error says nothing of what became of it.
fn ask(
    address: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> std::io::Result<(u16, Value)> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut request = format!("{method} {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n");
    for (name, value) in headers {
        write!(request, "{name}: {value}\r\n").expect("writing to a string");
    }
    write!(request, "content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}", body.len())
        .expect("writing to a string");
    stream.write_all(request.as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").ok_or(std::io::ErrorKind::UnexpectedEof)?;
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    let status = status.ok_or(std::io::ErrorKind::InvalidData)?;
    Ok((status, serde_json::from_str(body).map_err(std::io::Error::other)?))
}

fn bearer(sub: &str) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    format!("Bearer {}", mint(JWT_SECRET.as_bytes(), sub, now + 86_400, None, None).unwrap())
}

/// What a client was told.
#[derive(Default)]
struct Told {
    /// Contents of answered comments with their ids, and whether their like was answered.
    posted: BTreeMap<String, (String, bool)>,
    /// Keys and contents that were never answered.
    open: Vec<(String, String)>,
}

fn post(address: SocketAddr, bearer: &str, key: &str, content: &str) -> std::io::Result<String> {
    let body = json!({"clipId": "clip-1", "content": content}).to_string();
    let headers = [("authorization", bearer), ("idempotency-key", key)];
    let (status, body) = ask(address, "POST", "/api/comments", &headers, &body)?;
    assert_eq!(status, 201, "{body}");
    Ok(body["comment"]["id"].as_str().unwrap().to_owned())
}

/// Posts and likes until the server is gone.
fn client(address: SocketAddr, round: u64, client: u64) -> Told {
    let (bearer, mut told) = (bearer(&format!("client-{client}")), Told::default());
    for n in 0.. {
        let (key, content) = (format!("{round}-{client}-{n}"), format!("round {round} client {client} number {n}"));
        let Ok(id) = post(address, &bearer, &key, &content) else {
            told.open.push((key, content));
            return told;
        };
        let path = format!("/api/comments/{id}/like");
        let liked = ask(address, "PUT", &path, &[("authorization", &bearer)], "");
        let answered = liked.as_ref().is_ok_and(|(status, _)| *status == 200);
        told.posted.insert(content, (id, answered));
        if !answered {
            return told;
        }
    }
    unreachable!("the server ends first")
}

/// Every comment of the clip: content to (id, likes).
fn all(address: SocketAddr) -> BTreeMap<String, (String, u64)> {
    let mut found = BTreeMap::new();
    let mut cursor = String::new();
    loop {
        let (status, page) =
            ask(address, "GET", &format!("/api/comments?clipId=clip-1&limit=100{cursor}"), &[], "").unwrap();
        assert_eq!(status, 200, "{page}");
        for one in page["comments"].as_array().unwrap() {
            let (id, likes) = (one["id"].as_str().unwrap().to_owned(), one["likes_count"].as_u64().unwrap());
            let twice = found.insert(one["content"].as_str().unwrap().to_owned(), (id, likes));
            assert!(twice.is_none(), "{one} is there twice");
        }
        let Some(next) = page["nextCursor"].as_str() else {
            assert_eq!(page["total"], found.len() as u64, "the count is that of the comments");
            return found;
        };
        cursor = format!("&cursor={next}");
    }
}

#[test]
fn no_kill_loses_or_doubles_a_comment() {
    let dir = tempfile::tempdir().unwrap();
    let mut random = Random::fresh();
    let mut told: BTreeMap<String, (String, bool)> = BTreeMap::new();
    let (mut unanswered, mut found_open) = (0, 0);
    for round in 0..ROUNDS {
        let server = Server::start(dir.path(), &[]);
        let address = server.address;
        let clients: Vec<_> = (0..CLIENTS).map(|n| std::thread::spawn(move || client(address, round, n))).collect();
        // When the kill comes is what is random.
        std::thread::sleep(random.millis(50, 400));
        server.kill();
        let mut open = Vec::new();
        for (n, client) in clients.into_iter().enumerate() {
            let Told { posted, open: left } = client.join().unwrap();
            told.extend(posted);
            open.extend(left.into_iter().map(|(key, content)| (n, key, content)));
        }
        let server = Server::start(dir.path(), &[]);
        let there = all(server.address);
        for (content, (id, liked)) in &told {
            let found = there.get(content).unwrap_or_else(|| panic!("an answered comment is lost: {content}"));
            assert_eq!(&found.0, id, "{content}");
            assert!(found.1 == 1 || !liked, "an answered like is lost: {content}");
        }
        unanswered += open.len();
        for (client, key, content) in open {
            let id = post(server.address, &bearer(&format!("client-{client}")), &key, &content).unwrap();
            if let Some((known, _)) = there.get(&content) {
                assert_eq!(known, &id, "the retry finds what its first try came to");
                found_open += 1;
            }
            told.insert(content, (id, false));
        }
        assert_eq!(all(server.address).len(), told.len());
        server.kill();
    }
    verify(dir.path());
    println!("{ROUNDS} kills: {} comments answered, {unanswered} unanswered, of which {found_open} stood", told.len());
    assert!(told.len() as u64 > ROUNDS && unanswered > 0, "every round began, and some kill met a request under way");
}
