//! The recount while votes go on: it finds nothing where nothing is wrong, and what is wrong where something is.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::sync::Arc;
use std::time::Duration;

use plaudit::clock::ManualClock;
use plaudit::domain::VoteKind;
use plaudit::engine::{Engine, Settings};
use plaudit::store::FaultyDisk;
use support::{NOON, key, stage, voter};

fn open(disk: &FaultyDisk) -> Engine {
    let settings = Settings { reconcile_every_s: 1, ..Settings::new("unused", key()) };
    Engine::over(settings, Arc::new(ManualClock::at(NOON)), disk.open("log"), disk.open("tables")).unwrap()
}

/// Votes and retracts until a recount has ended.
async fn recounted(engine: &Engine, mut who: u64) -> i64 {
    let before = engine.metrics().reconciles.get();
    while engine.metrics().reconciles.get() == before {
        engine.vote(voter(who), "c1", VoteKind::Super).await.unwrap();
        if who.is_multiple_of(3) {
            engine.retract(voter(who), "c1").await.unwrap();
        }
        who += 1;
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    engine.metrics().drift.get()
}

#[tokio::test]
async fn votes_go_on_and_nothing_drifts() {
    let disk = FaultyDisk::new(0);
    let engine = open(&disk);
    stage(&engine, 2).await;
    assert_eq!(recounted(&engine, 0).await, 0);
    assert_eq!(recounted(&engine, 1_000_000).await, 0);
}

#[tokio::test]
async fn lost_ballots_are_a_drift() {
    let disk = FaultyDisk::new(0);
    let engine = open(&disk);
    stage(&engine, 2).await;
    for who in 0..10 {
        engine.vote(voter(who), "c0", VoteKind::Super).await.unwrap();
    }
    engine.close().unwrap();
    drop(engine);
    let mut ballots = Vec::new();
    let visit = &mut |key: &[u8], _: &plaudit::store::Value| {
        ballots.push(key.to_vec());
        Ok(std::ops::ControlFlow::Continue(()))
    };
    disk.open("tables").scan(b"v", b"w", visit).unwrap();
    assert!(!ballots.is_empty());
    assert!(ballots.iter().all(|key| disk.alter("tables", key, |_| None)));
    let engine = open(&disk);
    assert_eq!(recounted(&engine, 100).await, 10 + 30, "ten votes of weight three are counted and not there");
    assert_eq!(engine.counts("c0").unwrap().unwrap().votes, 10, "the recount changes nothing");
}
