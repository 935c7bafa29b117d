//! `plaudit bench`: that it measures what it says, and leaves what it was asked to leave. Never how fast.

use serde_json::Value;

use crate::running::{err, out, run, serve};

fn last_line(text: &str) -> Value {
    serde_json::from_str(text.lines().last().unwrap()).unwrap()
}

#[test]
fn the_engine_alone_keeps_a_store_that_verifies_and_serves() {
    let dir = tempfile::tempdir().unwrap();
    let keep = dir.path().join("kept");
    let keep_at = keep.to_str().unwrap();
    let ended =
        run(["bench", "--engine", "--votes", "3000", "--clips", "7", "--in-flight", "64", "--keep", keep_at, "--json"]);
    assert_eq!(ended.status.code(), Some(0), "{}{}", out(&ended), err(&ended));
    let report = last_line(&out(&ended));
    assert_eq!(
        (&report["mode"], &report["votes"], &report["ack"]),
        (&"engine".into(), &3000.into(), &"durable".into())
    );
    for field in ["votes_per_s", "p50_ms", "p99_ms", "p999_ms", "cpu_us_per_vote", "rss_bytes", "disk_bytes"] {
        assert!(report[field].as_f64().is_some_and(|value| value > 0.0), "{field} in {report}");
    }
    let rows = out(&run(["verify", "--data-dir", keep_at]));
    assert_eq!(rows.lines().count(), 7);
    let votes: u64 = rows.lines().map(|row| row.split(' ').nth(1).unwrap().parse::<u64>().unwrap()).sum();
    assert_eq!(votes, 3000);
    let server = serve(&keep, &[]);
    assert!(server.ask("GET", "/api/vote", &[], "").1.contains(r#""vote_count":429"#));
    server.stop();

    let again = run(["bench", "--engine", "--votes", "1", "--keep", keep_at]);
    assert_eq!(again.status.code(), Some(1));
    assert!(err(&again).contains("holds a store already"), "{}", err(&again));
}

#[test]
fn a_server_of_its_own_goes_with_its_directory() {
    let dir = tempfile::tempdir().unwrap();
    let bench = |more: &[&str]| {
        let mut command = crate::running::plaudit();
        command.env("TMPDIR", dir.path()).args(["bench", "--connections", "8", "--votes", "400", "--json"]).args(more);
        let ended = command.output().unwrap();
        assert_eq!(ended.status.code(), Some(0), "{}{}", out(&ended), err(&ended));
        last_line(&out(&ended))
    };
    let report = bench(&["--clips", "16", "--ack", "memory"]);
    assert_eq!((&report["mode"], &report["votes"], &report["ack"]), (&"http".into(), &400.into(), &"memory".into()));
    let report = bench(&["--gets", "--rate", "2000"]);
    assert_eq!(
        (&report["mode"], &report["votes"], &report["ack"]),
        (&"http-gets".into(), &400.into(), &"durable".into())
    );
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn a_server_that_runs_is_driven_with_its_secrets_and_only_with_them() {
    let dir = tempfile::tempdir().unwrap();
    let server = serve(dir.path(), &["--rate-limit", "off"]);
    let url = format!("http://{}", server.address);
    let bench = |more: &[&str]| {
        run([&["bench", "--target", &url, "--votes", "100", "--connections", "4", "--json"], more].concat())
    };
    let ended = bench(&["--data-dir", dir.path().to_str().unwrap()]);
    assert_eq!(ended.status.code(), Some(0), "{}{}", out(&ended), err(&ended));
    assert_eq!(last_line(&out(&ended))["votes"], 100);
    let (_, slot) = server.ask("GET", "/api/vote", &[], "");
    assert!(slot.contains(r#""vote_count":100"#), "{slot}");

    let forged = bench(&["--jwt-secret", "a secret that this server does not have"]);
    assert_eq!(forged.status.code(), Some(1));
    assert!(out(&forged).contains("100: status 401"), "{}", out(&forged));
    assert_eq!(last_line(&out(&forged))["votes"], 0);
    let none = bench(&[]);
    assert_eq!(none.status.code(), Some(1));
    assert!(err(&none).contains("give --jwt-secret, or --data-dir"), "{}", err(&none));
    server.stop();
}
