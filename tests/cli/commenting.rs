//! Comments under the flags of `plaudit serve`, and in what `plaudit log` prints.

use std::fs;

use rustix::process::Signal;
use serde_json::Value;

use crate::running::{Running, err, out, plaudit, run, serve};

fn comment(server: &Running, bearer: &str, content: &str) -> (u16, Value) {
    let body = serde_json::json!({"clipId": "clip-1", "content": content}).to_string();
    let (status, body) = server.ask("POST", "/api/comments", &[("authorization", bearer)], &body);
    (status, serde_json::from_str(&body).unwrap())
}

fn bearer(at: &str, sub: &str) -> String {
    format!("Bearer {}", out(&run(["token", "--sub", sub, "--name", "Alice A.", "--data-dir", at])).trim_end())
}

#[test]
fn the_list_of_blocked_words_is_read_again_on_sighup() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path().join("db");
    let words = dir.path().join("words.txt");
    fs::write(&words, "# none yet\n").unwrap();
    let server = serve(&at, &["--blocked-words", words.to_str().unwrap()]);
    let alice = bearer(at.to_str().unwrap(), "alice");
    let status = |content: &str| comment(&server, &alice, content).1["comment"]["status"].clone();
    assert_eq!(status("spam"), "visible");
    fs::write(&words, "spam\n").unwrap();
    server.signal(Signal::HUP);
    server.wait_for("the blocked words were read again");
    assert_eq!((status("Spam!"), status("spammer")), ("pending".into(), "visible".into()));
    fs::remove_file(&words).unwrap();
    server.signal(Signal::HUP);
    server.wait_for("the blocked words stay as they were");
    assert_eq!(status("spam"), "pending");
    server.stop();

    let absent = plaudit()
        .args(["serve", "--listen", "127.0.0.1:0", "--blocked-words"])
        .arg(&words)
        .arg("--data-dir")
        .arg(&at)
        .output()
        .unwrap();
    assert_eq!(absent.status.code(), Some(1));
    assert!(err(&absent).contains("words.txt"), "{}", err(&absent));
}

#[test]
fn the_flags_of_comments_hold() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path().to_str().unwrap();
    let server = serve(
        dir.path(),
        &["--moderation", "before", "--slow-mode", "1h", "--anonymous-comments", "--report-threshold", "1"],
    );
    let alice = bearer(at, "alice");
    let (status, body) = comment(&server, &alice, "may I?");
    assert_eq!((status, &body["comment"]["status"]), (201, &"pending".into()));
    assert_eq!(comment(&server, &alice, "again").0, 429);
    let device = serde_json::json!({"clipId": "clip-1", "content": "nobody"}).to_string();
    assert_eq!(server.ask("POST", "/api/comments", &[], &device).0, 201);
    server.stop();

    // The last block stays in the log: what was written last is in it.
    let log = out(&run(["log", "--data-dir", at]));
    let last: Value = serde_json::from_str(log.lines().last().unwrap()).unwrap();
    assert_eq!(
        (&last["event"], &last["text"], &last["held"]),
        (&"comment_posted".into(), &"nobody".into(), &true.into())
    );
    assert!(last["voter"].as_str().is_some_and(|voter| voter.len() == 32), "{last}");
}
