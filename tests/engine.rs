//! The engine's promises, one by one.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::sync::Arc;

use plaudit::clock::{DAY_MS, ManualClock};
use plaudit::domain::VoteKind::{Mega, Standard};
use plaudit::domain::{ClipDraft, ClipId, SeasonId, SlotStatus, VoteKind};
use plaudit::engine::{Counts, Engine, Settings, verify};
use plaudit::error::Reject;
use plaudit::store::FaultyDisk;
use support::{NOON, key, open, stage, voter};

fn counts(engine: &Engine, clip: &str) -> (u64, u64) {
    let Counts { votes, weight } = engine.counts(clip).unwrap().unwrap();
    (votes, weight)
}

#[tokio::test]
async fn a_vote_counts_once_and_its_answer_contains_it() {
    let dir = tempfile::tempdir().unwrap();
    let engine = open(dir.path());
    stage(&engine, 2).await;
    let receipt = engine.vote(voter(1), "c0", Mega).await.unwrap();
    assert_eq!(receipt.counts, Some(Counts { votes: 1, weight: 10 }));
    assert_eq!(receipt.remaining, 190);
    assert!(matches!(engine.vote(voter(1), "c0", Standard).await, Err(Reject::AlreadyVoted(_))));
    let back = engine.retract(voter(1), "c0").await.unwrap();
    assert_eq!((back.counts, back.remaining), (Some(Counts::default()), 200));
    assert!(back.seq > receipt.seq);
    assert_eq!(engine.retract(voter(1), "c0").await, Err(Reject::NotVoted));
    for _ in 0..20 {
        engine.vote(voter(1), "c0", Standard).await.unwrap();
        engine.retract(voter(1), "c0").await.unwrap();
    }
    assert_eq!(counts(&engine, "c0"), (0, 0));
    engine.close().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_thousand_concurrent_requests_of_one_voter_give_one_vote() {
    let dir = tempfile::tempdir().unwrap();
    let engine = open(dir.path());
    stage(&engine, 1).await;
    let tasks: Vec<_> = (0..1000)
        .map(|_| {
            let engine = engine.clone();
            tokio::spawn(async move { engine.vote(voter(1), "c0", Standard).await })
        })
        .collect();
    let mut won = 0;
    for task in tasks {
        match task.await.unwrap() {
            Ok(_) => won += 1,
            Err(refused) => assert!(matches!(refused, Reject::AlreadyVoted(_)), "{refused:?}"),
        }
    }
    assert_eq!((won, counts(&engine, "c0")), (1, (1, 1)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn five_hundred_concurrent_votes_of_one_voter_give_exactly_the_limit() {
    let dir = tempfile::tempdir().unwrap();
    let engine = open(dir.path());
    stage(&engine, 500).await;
    let tasks: Vec<_> = (0..500)
        .map(|n| {
            let engine = engine.clone();
            tokio::spawn(async move { engine.vote(voter(1), &format!("c{n}"), Standard).await })
        })
        .collect();
    let mut won = 0;
    for task in tasks {
        match task.await.unwrap() {
            Ok(_) => won += 1,
            Err(refused) => assert!(matches!(refused, Reject::DailyLimit { remaining: 0, .. }), "{refused:?}"),
        }
    }
    assert_eq!(won, 200);
}

#[tokio::test]
async fn everything_is_there_after_a_restart_clean_or_not() {
    let dir = tempfile::tempdir().unwrap();
    for round in 0..4_u64 {
        let engine = open(dir.path());
        if round == 0 {
            stage(&engine, 3).await;
        }
        assert_eq!(counts(&engine, "c1").0, round * 50);
        for n in 0..50 {
            engine.vote(voter(round * 50 + n), "c1", VoteKind::Super).await.unwrap();
        }
        assert!(matches!(engine.vote(voter(0), "c1", Standard).await, Err(Reject::AlreadyVoted(_))));
        assert_eq!(engine.allowance(voter(0)).used, 3);
        if round % 2 == 0 {
            engine.close().unwrap();
        }
    }
    let found = verify(dir.path(), false).unwrap();
    assert_eq!(found.problems, Vec::<String>::new());
    assert_eq!((found.rows[1].votes, found.rows[1].weight), (200, 600));
}

#[tokio::test]
async fn a_slot_opens_freezes_and_locks_with_its_winner() {
    let dir = tempfile::tempdir().unwrap();
    let engine = open(dir.path());
    stage(&engine, 3).await;
    engine.create_slot("s", None).await.unwrap();
    assert!(matches!(engine.open_slot("s", 2, None, false).await, Err(Reject::WrongState { state: "voting", .. })));
    engine.vote(voter(1), "c2", Standard).await.unwrap();
    engine.vote(voter(2), "c1", Standard).await.unwrap();
    engine.freeze_slot("s", 1).await.unwrap();
    assert_eq!(engine.vote(voter(3), "c2", Standard).await, Err(Reject::VotingClosed));
    assert_eq!(engine.retract(voter(1), "c2").await, Err(Reject::VotingClosed));
    let locked = engine.lock_slot("s", 1).await.unwrap();
    assert_eq!(locked.status, SlotStatus::Locked);
    assert_eq!(locked.winner.unwrap().as_str(), "c1", "a tie goes to the clip that was added first");
    let waiting = engine.open_slot("s", 2, None, false).await.unwrap();
    assert_eq!(waiting.status, SlotStatus::WaitingForClips);
    drop(engine);
    let engine = open(dir.path());
    assert_eq!(engine.slot("s", 1).unwrap().winner.unwrap().as_str(), "c1");
    assert_eq!(counts(&engine, "c2"), (1, 1));
    assert_eq!(engine.allowance(voter(1)).used, 1, "today's charge outlives the slot");
}

#[tokio::test]
async fn bans_and_own_clips_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let engine = open(dir.path());
    stage(&engine, 1).await;
    let draft = plaudit::domain::ClipDraft {
        title: "Mine".into(),
        owner: Some("7".into()),
        ..plaudit::domain::ClipDraft::default()
    };
    engine.add_clip("s", 1, Some(plaudit::domain::ClipId::new("mine").unwrap()), draft).await.unwrap();
    assert_eq!(engine.vote(voter(7), "mine", Standard).await, Err(Reject::SelfVote));
    engine.ban(voter(8), None, "spam".into()).await.unwrap();
    assert_eq!(engine.vote(voter(8), "c0", Standard).await, Err(Reject::Banned { until: None }));
    assert_eq!(engine.bans().len(), 1);
    drop(engine);
    let engine = open(dir.path());
    assert_eq!(engine.vote(voter(8), "c0", Standard).await, Err(Reject::Banned { until: None }));
    engine.unban(voter(8)).await.unwrap();
    engine.vote(voter(8), "c0", Standard).await.unwrap();
}

#[tokio::test]
async fn hidden_counts_are_nobodys_until_the_lock() {
    let dir = tempfile::tempdir().unwrap();
    let engine = open(dir.path());
    stage(&engine, 1).await;
    engine.lock_slot("s", 1).await.unwrap();
    engine.create_slot("s", None).await.unwrap();
    let draft = plaudit::domain::ClipDraft { title: "x".into(), ..plaudit::domain::ClipDraft::default() };
    engine.add_clip("s", 2, Some(plaudit::domain::ClipId::new("h").unwrap()), draft).await.unwrap();
    engine.open_slot("s", 2, None, true).await.unwrap();
    let (slot, version) = engine.slot_version(None, None).unwrap();
    let receipt = engine.vote(voter(1), "h", Standard).await.unwrap();
    assert_eq!(receipt.counts, None);
    assert_eq!(engine.counts("h"), Ok(None));
    assert_eq!(engine.slot_version(None, None).unwrap(), (slot, version), "no version depends on a hidden count");
    engine.lock_slot("s", 2).await.unwrap();
    assert_eq!(counts(&engine, "h"), (1, 1));
}

#[tokio::test]
async fn a_drain_leaves_nothing_unapplied() {
    let dir = tempfile::tempdir().unwrap();
    let engine = open(dir.path());
    stage(&engine, 1).await;
    for n in 0..100 {
        engine.vote(voter(n), "c0", Standard).await.unwrap();
    }
    engine.drain().await.unwrap();
    assert_eq!(engine.queue().processing, 0);
}

/// A closed slot's last block may hold nothing but what was charged to earlier days.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn todays_budget_survives_a_restart_whatever_the_last_block_holds() {
    let disk = FaultyDisk::new(1);
    let clock = Arc::new(ManualClock::at(NOON));
    let open = || {
        let settings = Settings { daily_limit: 10, reconcile_every_s: 0, ..Settings::new("unused", key()) };
        Engine::over(settings, Arc::<ManualClock>::clone(&clock), disk.open("log"), disk.open("tables")).unwrap()
    };
    let engine = open();
    stage(&engine, 2).await;
    engine.vote(voter(1), "c0", Standard).await.unwrap();
    clock.advance(DAY_MS);
    engine.vote(voter(7), "c1", Mega).await.unwrap();
    let votes: Vec<_> = (100..600)
        .map(|who| {
            let engine = engine.clone();
            tokio::spawn(async move { engine.vote(voter(who), "c1", Standard).await })
        })
        .collect();
    for vote in votes {
        vote.await.unwrap().unwrap();
    }
    engine.drain().await.unwrap();
    engine.retract(voter(1), "c0").await.unwrap();
    engine.lock_slot("s", 1).await.unwrap();
    engine.create_slot("s", None).await.unwrap();
    let draft = ClipDraft { title: "Next".into(), ..ClipDraft::default() };
    engine.add_clip("s", 2, Some(ClipId::new("next").unwrap()), draft).await.unwrap();
    engine.open_slot("s", 2, None, false).await.unwrap();
    engine.close().unwrap();
    drop(engine);
    let engine = open();
    assert_eq!(engine.allowance(voter(7)).used, 10);
    assert!(matches!(engine.vote(voter(7), "next", Standard).await, Err(Reject::DailyLimit { remaining: 0, .. })));
}

#[tokio::test]
async fn bans_one_after_the_other_never_outgrow_their_page() {
    let disk = FaultyDisk::new(1);
    let open = || {
        let settings = Settings { reconcile_every_s: 0, ..Settings::new("unused", key()) };
        Engine::over(settings, Arc::new(ManualClock::at(NOON)), disk.open("log"), disk.open("tables")).unwrap()
    };
    let engine = open();
    for n in 0..600 {
        engine.ban(voter(1), Some(NOON + 1 + n), "r".repeat(120)).await.unwrap();
    }
    drop(engine);
    let engine = open();
    engine.unban(voter(1)).await.unwrap();
    engine.drain().await.unwrap();
    assert!(engine.failure().is_none());
}

#[tokio::test]
async fn a_season_that_nobody_votes_in_yet_does_not_hide_the_one_that_is_voted_in() {
    let dir = tempfile::tempdir().unwrap();
    let engine = open(dir.path());
    stage(&engine, 1).await;
    engine.create_season(None, "Next".into()).await.unwrap();
    assert!(engine.slot_version(None, None).is_ok());
}

#[tokio::test]
async fn a_slot_without_clips_does_not_take_what_it_would_forget() {
    let dir = tempfile::tempdir().unwrap();
    let engine = open(dir.path());
    engine.create_season(Some(SeasonId::new("s").unwrap()), "S".into()).await.unwrap();
    engine.create_slot("s", None).await.unwrap();
    for (ends_at, hidden) in [(Some(NOON + 1), false), (None, true)] {
        let refused = engine.open_slot("s", 1, ends_at, hidden).await;
        assert!(matches!(refused, Err(Reject::WrongState { state: "upcoming", .. })), "{refused:?}");
    }
    assert_eq!(engine.open_slot("s", 1, None, false).await.unwrap().status, SlotStatus::WaitingForClips);
}
