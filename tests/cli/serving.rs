//! `plaudit serve`: what it says, what it keeps, how it stops, and when it refuses to start.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use crate::running::{Running, err, out, plaudit, run, serve};

#[test]
fn no_command_serves_and_the_banner_casts_a_vote() {
    let dir = tempfile::tempdir().unwrap();
    let mut command = plaudit();
    command.args(["--listen", "127.0.0.1:0", "--data-dir"]).arg(dir.path().join("made/with/parents"));
    let server = Running::start(command);
    assert!(server.banner.contains("durable: a vote is answered once it is flushed"), "{}", server.banner);
    assert!(server.banner.contains("a new store, with the demo season"), "{}", server.banner);
    let line = server.banner.lines().find(|line| line.trim().starts_with("curl")).unwrap().trim();
    if Command::new("curl").arg("--version").output().is_ok() {
        let answer = Command::new("sh").args(["-c", &format!("{line} --silent")]).output().unwrap();
        assert!(out(&answer).contains(r#""success":true"#), "{line}: {}", out(&answer));
    } else {
        // The line's parts by hand: method, address, header, body.
        assert!(line.starts_with(&format!(
            "curl -X POST http://{}/api/vote -H 'content-type: application/json' -d '",
            server.address
        )));
        let body = line.rsplit('\'').nth(1).unwrap();
        assert_eq!(server.ask("POST", "/api/vote", &[], body).0, 200, "{line}");
    }
    let (_, slot) = server.ask("GET", "/api/vote", &[], "");
    assert!(slot.contains(r#""vote_count":1"#), "{slot}");
    server.stop();
}

#[test]
fn a_new_store_can_stay_empty() {
    let dir = tempfile::tempdir().unwrap();
    let server = serve(dir.path(), &["--no-demo", "--ack", "memory"]);
    assert!(server.banner.contains("no slot is open"), "{}", server.banner);
    assert!(server.banner.contains("memory: a vote is answered before the flush"), "{}", server.banner);
    assert_eq!(server.ask("GET", "/api/seasons", &[], "").1, r#"{"seasons":[]}"#);
    server.stop();
    let again = serve(dir.path(), &[]);
    assert!(again.banner.contains("with the demo season"), "a store is empty until it has a season");
    again.stop();
}

#[test]
fn secrets_are_kept_for_the_owner_and_never_shown() {
    let dir = tempfile::tempdir().unwrap();
    let server = serve(dir.path(), &["--log", "debug"]);
    let path = dir.path().join("secrets.toml");
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let kept: toml::Table = fs::read_to_string(&path).unwrap().parse().unwrap();
    let admin = format!("Bearer {}", kept["admin-token"].as_str().unwrap());
    let season = server.ask("POST", "/api/admin/seasons", &[("authorization", &admin)], r#"{"id":"s","name":"S"}"#);
    assert_eq!(season.0, 201, "{}", season.1);
    assert_eq!(server.ask("POST", "/api/admin/seasons", &[], r#"{"id":"t","name":"T"}"#).0, 401);
    server.wait_for("made jwt-secret, cron-secret, admin-token, push-app, cookie-key, voter-key");
    let said = format!("{}{}", server.complaints(), server.banner);
    assert_eq!(kept.len(), 6);
    for (name, secret) in &kept {
        // Of an app, id:key:secret, the last part alone is one.
        let secret = secret.as_str().unwrap().rsplit(':').next().unwrap();
        assert!(!said.contains(secret), "{name} was shown");
    }
    assert!(server.banner.contains("app plaudit, key "), "{}", server.banner);
    server.stop();

    fs::remove_file(&path).unwrap();
    let refused = run(["serve", "--listen", "127.0.0.1:0", "--data-dir", dir.path().to_str().unwrap()]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(err(&refused).contains("its secrets.toml is gone"), "{}", err(&refused));
    assert!(!path.exists());
}

#[test]
fn what_was_acknowledged_is_there_after_a_stop_and_after_a_kill() {
    let dir = tempfile::tempdir().unwrap();
    for (signal, code, votes) in [(Signal::TERM, Some(0), 1), (Signal::INT, Some(0), 2), (Signal::KILL, None, 3)] {
        let mut server = serve(dir.path(), &[]);
        let token = run(["token", "--sub", &format!("voter-{votes}"), "--data-dir", dir.path().to_str().unwrap()]);
        let (status, answer) = server.vote(out(&token).trim_end(), "clip-1");
        assert_eq!(status, 200, "{answer}");
        assert!(answer.contains(&format!(r#""voteCount":{votes}"#)), "{answer}");
        server.signal(signal);
        assert_eq!(server.ended().code(), code, "{}", server.complaints());
    }
    let server = serve(dir.path(), &[]);
    assert!(server.banner.contains("1 season, 3 voters with votes in open slots"), "{}", server.banner);
    server.stop();
    let rows = run(["verify", "--data-dir", dir.path().to_str().unwrap()]);
    assert!(out(&rows).contains("clip-1 3 3\n"), "{}", out(&rows));
}

#[test]
fn a_stop_finishes_what_is_under_way() {
    let dir = tempfile::tempdir().unwrap();
    let mut server = serve(dir.path(), &[]);
    let vote = server.unfinished();
    // An answer to another request: the server has taken the connection before it, too.
    assert_eq!(server.ask("GET", "/livez", &[], "").0, 200);
    server.signal(Signal::TERM);
    server.wait_for("stopping");
    let answer = vote.finish();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert_eq!(server.ended().code(), Some(0), "{}", server.complaints());
}

#[test]
fn a_second_signal_stops_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let mut server = serve(dir.path(), &[]);
    let _kept_waiting = server.unfinished();
    assert_eq!(server.ask("GET", "/livez", &[], "").0, 200);
    server.signal(Signal::INT);
    server.wait_for("stopping");
    server.signal(Signal::INT);
    assert_eq!(server.ended().code(), Some(1));
}

#[test]
fn a_second_server_on_a_store_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let server = serve(dir.path(), &[]);
    for args in [&["serve", "--listen", "127.0.0.1:0"][..], &["verify"]] {
        let refused = run([args, &["--data-dir", dir.path().to_str().unwrap()]].concat());
        assert_eq!(refused.status.code(), Some(1), "{args:?}");
        assert!(
            err(&refused).lines().any(|line| line.starts_with("error: ") && line.contains("in use")),
            "{}",
            err(&refused)
        );
    }
    server.stop();
}

#[test]
fn a_taken_port_is_said_before_anything_is_made() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let dir = tempfile::tempdir().unwrap();
    let at = taken.local_addr().unwrap().to_string();
    let refused = run(["serve", "--listen", &at, "--data-dir", dir.path().join("new").to_str().unwrap()]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(err(&refused).contains(&format!("{at} is in use by another program")), "{}", err(&refused));
    assert!(!dir.path().join("new").exists());
}

#[test]
fn over_tls_the_banners_vote_works_and_a_new_certificate_needs_no_restart() {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let issue = || {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        fs::write(file("cert.pem"), made.cert.pem()).unwrap();
        fs::write(file("key.pem"), made.signing_key.serialize_pem()).unwrap();
    };
    issue();
    let store = dir.path().join("store");
    let server = serve(&store, &["--tls-cert", &file("cert.pem"), "--tls-key", &file("key.pem")]);
    let vote = server.banner.lines().find(|line| line.trim().starts_with("curl ")).unwrap();
    let voted = Command::new("sh").args(["-c", &format!("{vote} -s")]).output().unwrap();
    assert!(out(&voted).contains("\"success\":true"), "{vote}: {}{}", out(&voted), err(&voted));

    let (_, port) = server.address.rsplit_once(':').unwrap();
    let trusts = |cert: &str| {
        let mut curl = Command::new("curl");
        curl.args([
            "-s",
            "--http2",
            "--max-time",
            "300",
            "-o",
            "/dev/null",
            "-w",
            "%{http_code} %{http_version}",
            "--cacert",
            cert,
        ]);
        curl.args(["--resolve", &format!("localhost:{port}:127.0.0.1"), &format!("https://localhost:{port}/livez")]);
        out(&curl.output().unwrap())
    };
    assert_eq!(trusts(&file("cert.pem")), "200 2");
    fs::copy(file("cert.pem"), file("old.pem")).unwrap();
    issue();
    assert_eq!(trusts(&file("old.pem")), "200 2", "not before it is told to");
    server.signal(Signal::HUP);
    server.wait_for("the certificate was read again");
    assert_eq!((trusts(&file("cert.pem")).as_str(), &trusts(&file("old.pem"))[..3]), ("200 2", "000"));
    fs::write(file("key.pem"), "no key").unwrap();
    server.signal(Signal::HUP);
    server.wait_for("the certificate stays as it was");
    assert_eq!(trusts(&file("cert.pem")), "200 2");
    server.stop();

    let refused = run(["serve", "--data-dir", store.to_str().unwrap(), "--tls-cert", &file("cert.pem")]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(err(&refused).contains("--tls-key"), "{}", err(&refused));
}

#[test]
fn a_sighup_with_nothing_to_read_again_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let server = serve(dir.path(), &[]);
    server.signal(Signal::HUP);
    assert_eq!(server.ask("GET", "/livez", &[], "").0, 200);
    server.stop();
}

#[test]
fn a_sighup_while_it_starts_ends_no_server() {
    let dir = tempfile::tempdir().unwrap();
    let words = dir.path().join("words");
    assert!(Command::new("mkfifo").arg(&words).status().unwrap().success());
    let mut command = plaudit();
    command.args(["serve", "--listen", "127.0.0.1:0", "--blocked-words"]).arg(&words);
    command.arg("--data-dir").arg(dir.path().join("db")).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    let pid = Pid::from_child(&child);
    // Opens when the server reads it, which is not ready then.
    let mut to = std::fs::OpenOptions::new().write(true).open(&words).unwrap();
    kill_process(pid, Signal::HUP).unwrap();
    to.write_all(b"word\n").unwrap();
    drop(to);
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    assert!(lines.any(|line| line.contains("listening")));
    kill_process(pid, Signal::TERM).unwrap();
    lines.for_each(drop);
    assert_eq!(child.wait().unwrap().code(), Some(0));
}
