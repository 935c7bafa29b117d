//! `kill -9` of the real server under load, over and over on one store: what was answered is there, exactly once.
//!
//! Fault model: the process ends between any two instructions, while serving and while it recovers from the kill before.
//! The page cache survives, so this says nothing about a loss of power: `power_loss.rs` does.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a test fails by panicking and prints what it saw"
)]

mod destruction;

use std::sync::atomic::Ordering;

use destruction::ledger::Ledger;
use destruction::load::Load;
use destruction::process::{Server, verify};
use destruction::random::Random;

const ROUNDS: u32 = 24;
const CLIENTS: usize = 12;

#[test]
fn no_kill_loses_or_doubles_a_vote_or_brings_a_retracted_one_back() {
    let dir = tempfile::tempdir().unwrap();
    let mut random = Random::fresh();
    let mut ledger = Ledger::new(CLIENTS);
    let (mut done, mut refused, mut unanswered, mut found) = (0, 0, 0, 0);
    for round in 1..=ROUNDS {
        let server = Server::start(dir.path(), &[]);
        found += ledger.check(&server);
        let load = Load::begin(&server, ledger, &mut random);
        load.until_done(1);
        // When the kill comes is what is random.
        std::thread::sleep(random.millis(20, 300));
        server.kill();
        let (after, seen) = load.ended();
        ledger = after;
        done += seen.done.load(Ordering::SeqCst);
        refused += seen.refused.load(Ordering::SeqCst);
        unanswered += seen.unanswered.load(Ordering::SeqCst);
        assert_eq!(seen.failed.load(Ordering::SeqCst), 0, "the disk was sound");
        if round % 4 == 0 {
            Server::kill_a_start(dir.path(), random.millis(0, 60));
        }
    }
    let server = Server::start(dir.path(), &[]);
    found += ledger.check(&server);
    server.kill();
    assert_eq!(verify(dir.path()), ledger.table());
    println!(
        "{ROUNDS} kills under load, {} during a start: {done} changes answered, {refused} refused as they must be, \
         {unanswered} unanswered, of which {found} stand; {} votes stand",
        ROUNDS / 4,
        ledger.standing()
    );
    assert!(done >= u64::from(ROUNDS) && unanswered > 0, "every round began, and some kill met a request under way");
}
