//! Everything that a store can hold, carried by increments of a backup and by an export: seasons, a locked slot and its certificates, a
//! void, a ban, comments that were hidden, liked and answered, and a voter who was erased between two increments.

use std::fs;
use std::path::Path;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

use crate::running::{Running, done, serve, verified, wait_until};

const ADMIN: &str = "the admin token of these tests, long enough for anyone";
const WORDS: &str = "what only the erased one said";

fn start(dir: &Path) -> Running {
    let flags =
        ["--admin-token", ADMIN, "--rate-limit", "off", "--slow-mode", "off", "--rounds", "manual", "--no-demo"];
    serve(dir, &flags)
}

/// Asks as a bearer; the answer must be that status.
fn ask(server: &Running, bearer: &str, status: u16, method: &str, path: &str, body: &Value) -> Value {
    let bearer = format!("Bearer {bearer}");
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let (found, text) = server.ask(method, path, &[("authorization", &bearer), ("user-agent", "tests")], &body);
    assert_eq!(found, status, "{method} {path} {body}: {text}");
    serde_json::from_str(&text).unwrap_or_default()
}

fn token(dir: &Path, sub: &str) -> String {
    let args = ["token", "--sub", sub, "--name", sub, "--data-dir", dir.to_str().unwrap()];
    done(&args).trim_end().to_owned()
}

const LOCKED: &str = "/api/seasons/spring/slots/1/certificate";

fn fill(server: &Running, dir: &Path) {
    let admin = |path: &str, body: Value| ask(server, ADMIN, 201, "POST", &format!("/api/admin/seasons{path}"), &body);
    for (season, hidden) in [("spring", false), ("autumn", true)] {
        admin("", json!({"id": season, "name": season}));
        for slot in [1, 2] {
            admin(&format!("/{season}/slots"), json!({}));
            for clip in ["a", "b"] {
                let clip = json!({"id": format!("{season}-{slot}{clip}"), "title": clip, "ownerId": "ida"});
                admin(&format!("/{season}/slots/{slot}/clips"), clip);
            }
        }
        let path = format!("/api/admin/seasons/{season}/slots/1/open");
        ask(server, ADMIN, 200, "POST", &path, &json!({"resultsHidden": hidden}));
    }
    for who in 0..8 {
        let token = token(dir, &format!("v{who}"));
        let comment = |text: &str, parent: &Value| {
            let body = json!({"clipId": "spring-1a", "content": text, "parentId": parent});
            ask(server, &token, 201, "POST", "/api/comments", &body)["comment"]["id"].clone()
        };
        for season in ["spring", "autumn"] {
            let clip = format!("{season}-1{}", if who % 3 == 0 { 'a' } else { 'b' });
            ask(server, &token, 200, "POST", "/api/vote", &json!({"clipId": clip}));
        }
        let words = if who == 3 { WORDS.to_owned() } else { format!("words of {who}") };
        let id = comment(&words, &Value::Null);
        comment("an answer", &id);
        let id = id.as_str().unwrap();
        ask(server, &token, 200, "PUT", &format!("/api/comments/{id}/like"), &Value::Null);
        match who {
            4 => drop(ask(server, ADMIN, 200, "POST", &format!("/api/admin/comments/{id}/hide"), &Value::Null)),
            5 => drop(ask(server, &token, 200, "DELETE", &format!("/api/comments/{id}"), &Value::Null)),
            6 => drop(ask(server, &token, 200, "DELETE", "/api/vote", &json!({"clipId": "autumn-1a"}))),
            _ => {}
        }
    }
}

/// What happens between the two increments.
fn change(server: &Running) {
    ask(server, ADMIN, 204, "PUT", "/api/admin/bans/v1", &json!({"reason": "bought votes"}));
    ask(server, ADMIN, 200, "POST", "/api/admin/seasons/spring/slots/1/lock", &Value::Null);
    wait_until(|| server.ask("GET", LOCKED, &[], "").0 == 200, &|| "the certificate".into());
    let void = json!({"by": "voter", "voter": "v7", "season": "spring", "slot": 1, "reason": "a farm"});
    ask(server, ADMIN, 201, "POST", "/api/admin/voids", &void);
    ask(server, ADMIN, 202, "DELETE", "/api/admin/voters/v3", &Value::Null);
    wait_until(|| !server.ask("GET", "/api/comments?clipId=spring-1a&limit=100", &[], "").1.contains(WORDS), &|| {
        "the erasure".into()
    });
}

/// Every file of an export that is whole.
fn tables(export: &Path) -> Vec<(String, Vec<u8>)> {
    let mut files: Vec<_> = fs::read_dir(export)
        .unwrap()
        .map(|entry| entry.unwrap())
        .map(|entry| (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap()))
        .collect();
    files.sort();
    files
}

fn holds_words(tables: &[(String, Vec<u8>)]) -> bool {
    let holds = |bytes: &[u8]| bytes.windows(WORDS.len()).any(|at| at == WORDS.as_bytes());
    let record = |line: &str| {
        let row: Value = serde_json::from_str(line).unwrap();
        BASE64_STANDARD.decode(row["record"].as_str().unwrap()).unwrap()
    };
    tables.iter().any(|(name, bytes)| match name.as_str() {
        "records.jsonl" => std::str::from_utf8(bytes).unwrap().lines().any(|line| holds(&record(line))),
        _ => holds(bytes),
    })
}

#[test]
fn whatever_a_store_holds_is_carried_and_who_was_erased_stays_so() {
    let scratch = tempfile::tempdir().unwrap();
    let place = |name: &str| scratch.path().join(name);
    let text = |name: &str| place(name).to_str().unwrap().to_owned();
    let (dir, at, file) = (place("db"), text("db"), text("backup"));
    let server = start(&dir);
    fill(&server, &dir);
    let url = format!("http://{}", server.address);
    done(&["backup", "--to", &file, "--target", &url, "--admin-token", ADMIN]);
    done(&["export", "--to", &text("before"), "--target", &url, "--admin-token", ADMIN]);
    assert!(holds_words(&tables(&place("before"))), "there is something to erase");
    change(&server);
    let certificate = server.ask("GET", LOCKED, &[], "").1;
    server.stop();
    done(&["backup", "--to", &file, "--data-dir", &at]);
    done(&["export", "--to", &text("export"), "--data-dir", &at]);
    let wanted = tables(&place("export"));
    assert!(!holds_words(&wanted));

    for (command, from) in [("restore", &file), ("import", &text("export"))] {
        let copy = place(command);
        done(&[command, "--from", from, "--data-dir", copy.to_str().unwrap()]);
        assert_eq!(verified(&copy), verified(&dir), "{command}");
        // To the byte, records and secrets too.
        let again = format!("{command}-export");
        done(&["export", "--to", &text(&again), "--data-dir", copy.to_str().unwrap()]);
        assert!(tables(&place(&again)) == wanted, "{command}");

        let server = start(&copy);
        assert_eq!(server.ask("GET", LOCKED, &[], "").1, certificate, "{command}");
        let comments = server.ask("GET", "/api/comments?clipId=spring-1a&limit=100", &[], "").1;
        assert!(comments.contains("words of 2") && !comments.contains(WORDS), "{comments}");
        assert!(
            !comments.contains("words of 4") && !comments.contains("words of 5"),
            "hidden, and deleted: {comments}"
        );
        for (who, clip, status) in [
            ("v1", "autumn-1a", 403),
            // Erased or not, a second vote is one.
            ("v3", "autumn-1a", 409),
            ("v3", "autumn-1b", 200),
            ("v6", "autumn-1a", 200),
            ("new", "spring-1a", 400),
        ] {
            ask(&server, &token(&copy, who), status, "POST", "/api/vote", &json!({ "clipId": clip }));
        }
        server.stop();
        assert_eq!(verified(&copy)["ok"], true, "{command}");
    }
}
