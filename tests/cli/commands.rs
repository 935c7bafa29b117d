//! Help, usage errors, and the commands that read a store.

use std::fs;

use serde_json::Value;

use crate::running::{err, out, run, serve};

#[test]
fn help_shows_every_command_and_every_setting() {
    let top = run(["--help"]);
    assert_eq!(top.status.code(), Some(0));
    for command in ["serve", "verify", "token", "bench", "log", "export", "import", "backup", "restore"] {
        assert!(out(&top).contains(&format!("\n  {command} ")), "{command}");
    }
    let serve = out(&run(["serve", "--help"]));
    for flag in [
        "listen",
        "data-dir",
        "jwt-secret",
        "jwt-issuer",
        "jwt-audience",
        "cron-secret",
        "admin-token",
        "ack",
        "daily-limit",
        "shards",
        "rate-limit",
        "trusted-proxies",
        "max-connections",
        "max-connections-per-address",
        "max-voters",
        "weights",
        "devices-per-network",
        "reconcile-every",
        "no-demo",
        "config",
        "log",
    ] {
        assert!(serve.contains(&format!("--{flag} ")), "--{flag} in\n{serve}");
    }
}

#[test]
fn a_command_line_that_cannot_be_read_exits_with_2() {
    for args in [
        &["serve", "--frobnicate"][..],
        &["--frobnicate"],
        &["vrfy"],
        &["token"],
        &["serve", "--listen", "nowhere"],
        &["serve", "--rate-limit", "voter=0"],
        &["serve", "--jwt-secret", ""],
        &["bench", "--engine", "--target", "http://127.0.0.1:1"],
    ] {
        let ended = run(args);
        assert_eq!(ended.status.code(), Some(2), "{args:?}");
        assert!(err(&ended).starts_with("error: "), "{args:?}: {}", err(&ended));
        assert_eq!(out(&ended), "", "{args:?}");
    }
}

#[test]
fn commands_on_a_store_make_none() {
    let dir = tempfile::tempdir().unwrap();
    let absent = dir.path().join("absent");
    let absent = absent.to_str().unwrap();
    for args in [
        &["verify"][..],
        &["verify", "--repair"],
        &["log"],
        &["token", "--sub", "alice"],
        &["export", "--slot", "s/1", "--to", "-"],
        &["export", "--to", "out"],
        &["backup", "--to", "out"],
    ] {
        let ended = run([args, &["--data-dir", absent]].concat());
        assert_eq!(ended.status.code(), Some(1), "{args:?}");
        assert_eq!(err(&ended).lines().count(), 1, "{}", err(&ended));
        assert!(err(&ended).contains("there is no store in") && err(&ended).contains(absent), "{}", err(&ended));
    }
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn a_token_of_the_store_votes_and_another_does_not() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path().to_str().unwrap();
    let server = serve(dir.path(), &[]);
    let alice = out(&run(["token", "--sub", "alice", "--name", "Alice", "--data-dir", at]));
    let (status, answer) = server.vote(alice.trim_end(), "clip-2");
    assert_eq!(status, 200, "{answer}");
    assert_eq!(server.vote(alice.trim_end(), "clip-2").0, 409, "the same voter again");
    let forged = out(&run(["token", "--sub", "bob", "--jwt-secret", "a secret that this server does not have"]));
    assert_eq!(server.vote(forged.trim_end(), "clip-2").0, 401);
    server.stop();
}

#[test]
fn a_secret_that_is_given_goes_before_the_kept_one() {
    let dir = tempfile::tempdir().unwrap();
    let secret = "c2VjcmV0 is used as it is, and not decoded";
    let server = serve(dir.path(), &["--jwt-secret", secret, "--jwt-issuer", "site"]);
    let of_store = out(&run(["token", "--sub", "alice", "--data-dir", dir.path().to_str().unwrap()]));
    assert_eq!(server.vote(of_store.trim_end(), "clip-1").0, 401);
    let nameless = out(&run(["token", "--sub", "alice", "--jwt-secret", secret]));
    assert_eq!(server.vote(nameless.trim_end(), "clip-1").0, 401, "the issuer is asked for");
    let given = out(&run(["token", "--sub", "alice", "--jwt-secret", secret, "--jwt-issuer", "site"]));
    assert_eq!(server.vote(given.trim_end(), "clip-1").0, 200);
    server.stop();
}

#[test]
fn verify_and_log_read_what_was_served() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path().to_str().unwrap();
    let server = serve(dir.path(), &[]);
    let token = out(&run(["token", "--sub", "alice", "--data-dir", at]));
    let bearer = format!("Bearer {}", token.trim_end());
    let body = r#"{"clipId":"clip-3","voteType":"mega"}"#;
    assert_eq!(server.ask("POST", "/api/vote", &[("authorization", &bearer)], body).0, 200);
    server.stop();

    let rows = run(["verify", "--data-dir", at]);
    assert_eq!(rows.status.code(), Some(0), "{}", err(&rows));
    assert_eq!(out(&rows).lines().count(), 16);
    assert!(out(&rows).contains("clip-3 1 10\n"), "{}", out(&rows));
    assert!(out(&rows).contains("clip-4 0 0\n"), "{}", out(&rows));
    let report: Value = serde_json::from_str(&out(&run(["verify", "--json", "--data-dir", at]))).unwrap();
    assert_eq!((&report["ok"], report["clips"].as_array().unwrap().len()), (&true.into(), 16));
    assert_eq!(report["clips"][2], serde_json::json!({"id": "clip-3", "votes": 1, "weight": 10, "comments": 0}));

    let log = run(["log", "--data-dir", at]);
    assert_eq!(log.status.code(), Some(0), "{}", err(&log));
    let events: Vec<Value> = out(&log).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(events.last().unwrap()["seq"], report["last"], "the log keeps its last block");
}

#[test]
fn a_result_is_checked_with_the_store_and_without_it() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path().join("store");
    let (files, at) = (dir.path(), at.to_str().unwrap());
    let server = serve(at.as_ref(), &["--admin-token", "root"]);
    for sub in ["alice", "bob"] {
        let token = out(&run(["token", "--sub", sub, "--data-dir", at]));
        assert_eq!(server.vote(token.trim_end(), "clip-2").0, 200);
    }
    let seasons: Value = serde_json::from_str(&server.ask("GET", "/api/seasons", &[], "").1).unwrap();
    let slots = seasons["seasons"][0]["slots"].as_array().unwrap();
    let slot = slots.iter().find(|slot| slot["status"] == "voting").unwrap();
    let (season, position) = (slot["season"].as_str().unwrap(), &slot["position"]);
    let admin = [("authorization", "Bearer root"), ("content-type", "application/json")];
    let lock = format!("/api/admin/seasons/{season}/slots/{position}/lock");
    assert_eq!(server.ask("POST", &lock, &admin, "{}").0, 200);
    let path = format!("/api/seasons/{season}/slots/{position}/certificate");
    let certificate = loop {
        let (status, text) = server.ask("GET", &path, &[], "");
        if status == 200 {
            break text;
        }
        assert_eq!(status, 409, "{text}");
        std::thread::sleep(std::time::Duration::from_millis(5));
    };
    server.stop();

    let put = |name: &str, text: &str| {
        let path = files.join(name);
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let sound = put("certificate.json", &certificate);
    let checked = run(["verify", "--data-dir", at, "--certificate", &sound]);
    assert_eq!(checked.status.code(), Some(0), "{}", err(&checked));
    assert!(out(&checked).contains("clip-2 2 2\n"), "{}", out(&checked));
    assert!(err(&checked).contains("the chain's head there"), "{}", err(&checked));
    let altered = put("altered.json", &certificate.replacen("\"voteCount\":2", "\"voteCount\":3", 1));
    let checked = run(["verify", "--json", "--data-dir", at, "--certificate", &altered]);
    assert_eq!(checked.status.code(), Some(1));
    assert!(
        err(&checked).contains("clip clip-2: certified 3 votes of weight 2, the ballots are 2"),
        "{}",
        err(&checked)
    );
    let report: Value = serde_json::from_str(&out(&checked)).unwrap();
    assert_eq!((&report["ok"], report["problems"].as_array().unwrap().len()), (&false.into(), 2), "{report}");

    let export = files.join("export.jsonl");
    let (name, slot) = (export.to_str().unwrap(), format!("{season}/{position}"));
    let written = run(["export", "--data-dir", at, "--slot", &slot, "--to", name]);
    assert_eq!(written.status.code(), Some(0), "{}", err(&written));
    let again = run(["export", "--data-dir", at, "--slot", &slot, "--to", name]);
    assert_eq!(again.status.code(), Some(1), "a file that is there is kept");
    let text = fs::read_to_string(&export).unwrap();
    assert_eq!(out(&run(["export", "--data-dir", at, "--slot", &slot, "--to", "-"])), text);
    // Without the store.
    let checked = run(["verify", "--export", name]);
    assert_eq!(checked.status.code(), Some(0), "{}", err(&checked));
    let lines: Vec<&str> = text.lines().collect();
    let dropped = put("dropped", &format!("{}\n{}\n", lines[0], lines[1]));
    let checked = run(["verify", "--export", &dropped]);
    assert_eq!(checked.status.code(), Some(1));
    assert!(err(&checked).contains("wrong: the certificate is of 2 ballots, there are 1"), "{}", err(&checked));
    let none = run(["export", "--data-dir", at, "--slot", "nowhere/1", "--to", "-"]);
    assert!(none.status.code() == Some(1) && err(&none).contains("there is no slot nowhere/1"), "{}", err(&none));
}
