//! Votes that run into a freeze, on a real disk. How fast it is, a bench holds; here it is printed.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test fails by panicking and prints what it saw")]

mod support;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use plaudit::domain::VoteKind;
use plaudit::error::Reject;
use support::voter;
use tokio::sync::Semaphore;

/// Thousands of votes a second run into a freeze: whoever was told that their vote counts is counted, and nobody else.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn votes_that_run_into_a_freeze_agree_with_the_tally_to_the_vote() {
    /// Votes that are counted before it, and those that come once it is over: at least so many.
    const BEFORE: u64 = 5_000;
    const BEHIND: u64 = 1_000;
    /// So many come in a second at most.
    const A_SECOND: u64 = 10_000;
    /// Of which so many wait: the queue takes them all.
    const FLYING: usize = 4_000;
    let dir = tempfile::tempdir().unwrap();
    let engine = support::open(dir.path());
    support::stage(&engine, 2).await;
    let began = Instant::now();
    let over = Arc::new(AtomicBool::new(false));
    let votes = tokio::spawn({
        let (engine, over) = (engine.clone(), Arc::clone(&over));
        async move {
            let (mut cast, mut left) = (Vec::new(), BEHIND);
            let places = Arc::new(Semaphore::new(FLYING));
            while left > 0 {
                let who = cast.len() as u64;
                while u128::from(who) > began.elapsed().as_micros() * u128::from(A_SECOND) / 1_000_000 {
                    tokio::task::yield_now().await;
                }
                let place = Arc::clone(&places).acquire_owned().await.unwrap();
                left -= u64::from(over.load(Ordering::SeqCst));
                let engine = engine.clone();
                let clip = if who.is_multiple_of(3) { "c0" } else { "c1" };
                cast.push(tokio::spawn(async move {
                    let _place = place;
                    (clip, engine.vote(voter(who), clip, VoteKind::Standard).await)
                }));
            }
            cast
        }
    });
    // In the middle of the stream, wherever that is on this machine.
    while engine.metrics().votes.get() < BEFORE {
        tokio::task::yield_now().await;
    }
    let asked = Instant::now();
    let frozen = engine.freeze_slot("s", 1).await.unwrap();
    over.store(true, Ordering::SeqCst);
    println!("frozen within {:?}, {} votes in", asked.elapsed(), engine.metrics().votes.get());
    let frozen_at = frozen.frozen_at.expect("frozen");
    let mut told: BTreeMap<&str, u64> = BTreeMap::new();
    let mut closed = 0;
    let cast = votes.await.unwrap();
    let all = cast.len() as u64;
    for vote in cast {
        match vote.await.unwrap() {
            (clip, Ok(receipt)) => {
                assert!(receipt.seq < frozen_at, "counted behind the freeze");
                *told.entry(clip).or_default() += 1;
            }
            (_, Err(refused)) => {
                assert_eq!(refused, Reject::VotingClosed);
                closed += 1;
            }
        }
    }
    let counted: u64 = told.values().sum();
    assert!(counted >= BEFORE && closed >= BEHIND && counted + closed == all, "{counted} and {closed} of {all}");
    let locked = engine.lock_slot("s", 1).await.unwrap();
    assert_eq!(locked.winner.unwrap().as_str(), "c1");
    for clip in ["c0", "c1"] {
        assert_eq!(engine.counts(clip).unwrap().unwrap().votes, told[clip], "{clip}");
    }
    engine.close().unwrap();
    drop(engine);
    let found = plaudit::engine::verify(dir.path(), false).unwrap();
    assert_eq!(found.problems, Vec::<String>::new());
    assert_eq!(found.rows.iter().map(|row| row.votes).collect::<Vec<_>>(), [told["c0"], told["c1"]]);
}
