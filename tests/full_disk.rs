//! The disk runs full under load: writes are refused by name, reads go on, and nothing that was answered is lost, whether
//! the server is stopped or killed then.
//!
//! Fault model: a tmpfs too small for what comes; a file takes the last of its room while votes are under way. Needs root.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a test fails by panicking and prints what it saw"
)]

mod destruction;

use std::path::Path;
use std::sync::atomic::Ordering;

use destruction::client::Client;
use destruction::ledger::{Ledger, Voter, clip, counts};
use destruction::load::Load;
use destruction::mounts::{Mounted, fill, or_not_run};
use destruction::process::{Server, verify};
use destruction::random::Random;
use serde_json::json;

const MEBIBYTES: u32 = 96;
const CLIENTS: usize = 8;

#[test]
fn a_full_disk_refuses_votes_and_a_stopped_server_has_lost_nothing() {
    let Some((_dir, disk)) = small_disk("a server stopped on a full disk") else { return };
    let (server, mut ledger, filler) = run_full(&disk.at);
    let (status, said) = server.terminate();
    assert!(!status.success(), "a stop that could not save everything says so: {said}");
    recovers(&disk.at, &mut ledger, &filler);
}

#[test]
fn a_full_disk_refuses_votes_and_a_killed_server_has_lost_nothing() {
    let Some((_dir, disk)) = small_disk("a server killed on a full disk") else { return };
    let (server, mut ledger, filler) = run_full(&disk.at);
    server.kill();
    recovers(&disk.at, &mut ledger, &filler);
}

/// The directory comes first, so that it is removed after what is mounted there is gone.
fn small_disk(test: &str) -> Option<(tempfile::TempDir, Mounted)> {
    let dir = tempfile::tempdir().unwrap();
    let mounted = or_not_run(test, Mounted::tmpfs(dir.path(), MEBIBYTES))?;
    Some((dir, mounted))
}

/// Votes until the disk is full and every client was refused; then what clients see of it.
fn run_full(disk: &Path) -> (Server, Ledger, std::path::PathBuf) {
    let mut random = Random::fresh();
    let server = Server::start(&disk.join("store"), &[]);
    let load = Load::begin(&server, Ledger::new(CLIENTS), &mut random);
    load.until_done(500);
    let filler = fill(disk);
    let (ledger, seen) = load.ended();
    assert_eq!(seen.unanswered.load(Ordering::SeqCst), 0, "every client is told");
    assert_eq!(seen.failed.load(Ordering::SeqCst), CLIENTS as u64);

    let mut client = Client::connect(server.address).unwrap();
    let somebody = Voter::new("somebody");
    for method in ["POST", "DELETE"] {
        let body = json!({ "clipId": clip(0) });
        let refused = client.ask(method, "/api/vote", Some(&somebody.token), Some(&body)).unwrap();
        assert_eq!((refused.status, &refused.body["error"]), (503, &json!("STORAGE_FAILED")), "{refused:?}");
    }
    let unready = client.get("/readyz");
    assert_eq!(unready.status, 503);
    assert!(unready.body["reason"].as_str().is_some_and(|reason| !reason.is_empty()), "{unready:?}");
    for path in ["/livez", "/api/vote", "/api/vote/counts?clipIds=clip-1", "/api/seasons", "/api/queue"] {
        assert_eq!(client.get(path).status, 200, "{path}");
    }
    // What was answered is shown; beyond it at most the votes whose retraction failed.
    let (shown, certain) = (counts(&server).values().map(|(votes, _)| votes).sum::<u64>(), ledger.standing() as u64);
    assert!((certain..=certain + CLIENTS as u64).contains(&shown), "{shown} are shown, {certain} stand for certain");
    let done = seen.done.load(Ordering::SeqCst);
    println!("{done} changes answered before the disk was full, {} votes stand for certain", ledger.standing());
    (server, ledger, filler)
}

/// Verifies on what the ballast gives; then room is made, and a restart has everything and takes votes.
fn recovers(disk: &Path, ledger: &mut Ledger, filler: &Path) {
    let store = disk.join("store");
    let on_a_full_disk = verify(&store);
    std::fs::remove_file(filler).unwrap();
    let server = Server::start(&store, &[]);
    let found = ledger.check(&server);
    assert_eq!(on_a_full_disk, ledger.table(), "verified on a full disk");
    println!("after the restart {found} of the changes that had failed stand");

    let load = Load::begin(&server, std::mem::replace(ledger, Ledger::new(0)), &mut Random::fresh());
    load.until_done(500);
    load.stop();
    let (after, _) = load.ended();
    *ledger = after;
    assert_eq!(ledger.check(&server), 0);
    let (status, said) = server.terminate();
    assert!(status.success(), "{said}");
    assert_eq!(verify(&store), ledger.table());
}
