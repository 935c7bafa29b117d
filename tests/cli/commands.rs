//! Help, usage errors, and the commands that read a store.

use std::fs;

use serde_json::Value;

use crate::running::{err, out, run, serve};

#[test]
fn help_shows_every_command_and_all_of_it_every_setting() {
    let top = run(["--help"]);
    assert_eq!(top.status.code(), Some(0));
    for command in
        ["serve", "verify", "token", "bench", "log", "export", "import", "backup", "restore", "doctor", "completions"]
    {
        assert!(out(&top).contains(&format!("\n  {command} ")), "{command}");
    }
    let serve = out(&run(["serve", "--help-all"]));
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
        assert!(serve.split_whitespace().any(|word| word == format!("--{flag}")), "--{flag} in\n{serve}");
    }
}

/// Each code that the help names comes from a command here, and no other does.
#[test]
fn exit_codes_are_those_of_the_help() {
    let top = out(&run(["--help"]));
    let (_, codes) = top.split_once("Exit codes:\n").unwrap();
    let named: Vec<i32> = codes.lines().map(|line| line.split_whitespace().next().unwrap().parse().unwrap()).collect();
    let dir = tempfile::tempdir().unwrap();
    let store = dir.path().join("store");
    let (store, none) = (store.to_str().unwrap(), dir.path().join("none"));
    let none = none.to_str().unwrap();
    let kept = run(["bench", "--engine", "--votes", "10", "--keep", store]);
    assert_eq!(kept.status.code(), Some(0), "{}", err(&kept));
    let mut seen = Vec::new();
    for (args, code) in [
        (&["--version"][..], 0),
        (&["serve", "-h"], 0),
        (&["verify", "--data-dir", store], 0),
        (&["doctor", "--listen", "127.0.0.1:0", "--data-dir", store], 0),
        (&["verify", "--data-dir", none], 1),
        (&["doctor", "--listen", "127.0.0.1:0", "--data-dir", "/dev/null"], 1),
        (&["serve", "--daily-limit", "1", "--data-dir", none], 1),
        (&["serve", "--daily-limit", "many"], 2),
        (&["verify", "--config", none], 2),
        (&["completions", "cobol"], 2),
    ] {
        let ended = run(args);
        assert_eq!(ended.status.code(), Some(code), "{args:?}: {}{}", out(&ended), err(&ended));
        seen.push(code);
    }
    seen.dedup();
    assert_eq!(seen, named);
}

#[test]
fn the_doctor_says_what_to_do_and_leaves_nothing_behind() {
    let dir = tempfile::tempdir().unwrap();
    let store = dir.path().join("a/b");
    let doctor = |more: &[&str]| {
        let base = ["doctor", "--listen", "127.0.0.1:0", "--data-dir", store.to_str().unwrap(), "--json"];
        let ended = run([&base[..], more].concat());
        let report: Value = serde_json::from_str(&out(&ended)).unwrap();
        (ended.status.code(), report)
    };
    let (code, report) = doctor(&[]);
    assert_eq!((code, &report["ok"]), (Some(0), &true.into()), "{report}");
    let of = |report: &Value, what: &str| {
        report["findings"].as_array().unwrap().iter().find(|finding| finding["what"] == what).unwrap().clone()
    };
    for what in ["settings", "open files", "port", "memory", "clock", "directory", "disk space", "flush", "durability"]
    {
        assert!(of(&report, what)["found"].as_str().is_some_and(|found| !found.is_empty()), "{what}");
    }
    let (code, report) = doctor(&["--tls-cert", "/no/cert", "--tls-key", "/no/key"]);
    assert_eq!((code, &report["ok"]), (Some(1), &false.into()));
    assert!(of(&report, "certificate")["advice"].as_str().unwrap().contains("PEM"), "{report}");
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0, "nothing was made");
}

#[test]
fn shells_get_scripts_that_they_can_read() {
    for (shell, names) in [("bash", "complete "), ("zsh", "#compdef plaudit"), ("fish", "complete -c plaudit")] {
        let script = run(["completions", shell]);
        assert_eq!(script.status.code(), Some(0));
        let text = out(&script);
        for part in [names, "doctor", "daily-limit"] {
            assert!(text.contains(part), "{part} for {shell}");
        }
    }
    let script = out(&run(["completions", "bash"]));
    let completes = format!(
        "{script}\nCOMP_WORDS=(plaudit serve --daily-l); COMP_CWORD=2; _plaudit plaudit --daily-l serve; echo \"${{COMPREPLY[@]}}\""
    );
    let bash = std::process::Command::new("bash").args(["-c", &completes]).output().unwrap();
    assert_eq!(out(&bash).trim(), "--daily-limit", "{}", err(&bash));
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
        assert_eq!(status, 503, "{text}");
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
