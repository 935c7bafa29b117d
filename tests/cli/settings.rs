//! Where settings come from, seen from outside: flag, variable, file, default, in that order.

use std::fs;

use crate::running::{Running, err, plaudit, run};

#[test]
fn a_flag_goes_before_a_variable_a_variable_before_the_file_and_the_file_before_the_default() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("plaudit.toml");
    let store = dir.path().join("store");
    fs::write(&file, format!("listen = \"127.0.0.1:0\"\ndaily-limit = 30\ndata-dir = {:?}\n", store.to_str().unwrap()))
        .unwrap();
    let none = dir.path().join("none.toml");
    fs::write(&none, format!("listen = \"127.0.0.1:0\"\ndata-dir = {:?}\n", store.to_str().unwrap())).unwrap();
    for (config, variable, flag, limit) in [
        (&file, Some("40"), Some("50"), 50),
        (&file, Some("40"), None, 40),
        (&file, None, None, 30),
        (&none, None, None, 200),
    ] {
        let mut command = plaudit();
        command.env("PLAUDIT_CONFIG", config);
        if let Some(variable) = variable {
            command.env("PLAUDIT_DAILY_LIMIT", variable);
        }
        if let Some(flag) = flag {
            command.args(["--daily-limit", flag]);
        }
        let server = Running::start(command);
        let (status, answer) = server.ask("GET", "/api/vote/limit", &[], "");
        assert_eq!(status, 200, "{answer}");
        let answer: serde_json::Value = serde_json::from_str(&answer).unwrap();
        assert_eq!(answer["remaining"], limit, "{answer}");
        server.stop();
    }
}

#[test]
fn the_rate_limit_is_the_one_that_was_set() {
    let dir = tempfile::tempdir().unwrap();
    let mut command = plaudit();
    command.args(["--listen", "127.0.0.1:0", "--rate-limit", "voter=1,address=2", "--data-dir"]).arg(dir.path());
    let server = Running::start(command);
    let vote = |clip: &str| server.ask("POST", "/api/vote", &[], &format!(r#"{{"clipId":"{clip}"}}"#));
    assert_eq!(vote("clip-1").0, 200);
    let (status, answer) = vote("clip-2");
    assert_eq!((status, answer.contains("RATE_LIMITED")), (429, true), "{answer}");
    server.stop();
}

#[test]
fn a_mistake_in_the_file_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("plaudit.toml");
    for (text, says) in [
        ("dayly-limit = 3", "there is no setting \"dayly-limit\"; the nearest is \"daily-limit\""),
        ("ack = \"never\"", "invalid value 'never' for '--ack <MODE>'"),
        ("listen = ", "plaudit.toml"),
    ] {
        fs::write(&file, text).unwrap();
        let refused = run(["serve", "--config", file.to_str().unwrap()]);
        assert_eq!(refused.status.code(), Some(2), "{text}");
        assert!(err(&refused).contains(says) && err(&refused).contains("plaudit.toml"), "{}", err(&refused));
    }
}

#[test]
fn settings_that_contradict_each_other_stop_the_start() {
    let dir = tempfile::tempdir().unwrap();
    let store = dir.path().join("store");
    for flags in [
        &["--max-connections", "5", "--max-connections-per-address", "6"][..],
        &["--daily-limit", "9"],
        &["--shards", "0"],
    ] {
        let base = ["serve", "--listen", "127.0.0.1:0", "--data-dir", store.to_str().unwrap()];
        let refused = run([&base, flags].concat());
        assert_eq!(refused.status.code(), Some(1), "{flags:?}");
        assert!(err(&refused).contains(flags[0]), "{}", err(&refused));
        assert!(!store.exists(), "{flags:?}");
    }
}
