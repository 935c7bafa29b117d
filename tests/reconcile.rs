//! The recount while votes go on: it finds nothing where nothing is wrong, and what is wrong where something is.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::sync::Arc;
use std::time::Duration;

use plaudit::clock::ManualClock;
use plaudit::codec::{self, Kind};
use plaudit::comments::WordList;
use plaudit::domain::{Comment, CommentText, Profile, Verdict, VoteKind};
use plaudit::engine::{CommentDraft, Engine, Settings};
use plaudit::fold::ranges::RangePage;
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

async fn say(engine: &Engine, who: u64, clip: &str, parent: Option<u64>, text: &str) -> u64 {
    let (author, profile, text) = (voter(who), Profile::default(), CommentText::new(text).unwrap());
    let draft = CommentDraft { clip, parent, author, profile, text, request: None };
    engine.post_comment(draft).await.unwrap().comment.place.id
}

/// Comments of every fate, on three clips, until two more recounts have ended.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn comments_come_and_go_and_nothing_drifts() {
    let disk = FaultyDisk::new(0);
    let engine = open(&disk);
    stage(&engine, 3).await;
    engine.block_words(WordList::parse("spam"));
    let ends = engine.metrics().reconciles.get() + 2;
    let mut who = 0;
    while engine.metrics().reconciles.get() < ends {
        // The last clip is never moderated, so every recount counts it.
        let first = say(&engine, who, "c0", None, "first").await;
        let reply = say(&engine, who, "c0", Some(first), "reply").await;
        say(&engine, who, "c2", None, "stays").await;
        let held = say(&engine, who, "c1", None, "spam").await;
        engine.like_comment(voter(who + 1), first, true).await.unwrap();
        match who % 4 {
            0 => drop(engine.moderate_comment(held, Verdict::Approve).await.unwrap()),
            1 => engine.delete_comment(first, None).await.unwrap(),
            2 => drop(engine.moderate_comment(reply, Verdict::Hide).await.unwrap()),
            _ => {}
        }
        who += 1;
        tokio::time::sleep(Duration::from_millis(1)).await;
        assert_eq!((engine.metrics().comments_drift.get(), engine.metrics().drift.get()), (0, 0));
    }
    assert_eq!(engine.metrics().reconciles_failed.get(), 0);
    assert!(engine.comment_count("c2").unwrap() == who && engine.comment_count("c0").unwrap() > who);
}

#[tokio::test]
async fn lost_comments_are_a_drift() {
    let disk = FaultyDisk::new(0);
    let engine = open(&disk);
    stage(&engine, 2).await;
    // Several steps' worth of pages.
    for who in 0..600 {
        say(&engine, who, "c0", None, &"x".repeat(400)).await;
    }
    engine.close().unwrap();
    drop(engine);
    let mut pages = Vec::new();
    let visit = &mut |key: &[u8], record: &plaudit::store::Value| {
        let page: RangePage<Comment> = codec::read("tables", Kind::Comments, key, record)?;
        pages.push((key.to_vec(), page.items.len()));
        Ok(std::ops::ControlFlow::Continue(()))
    };
    disk.open("tables").scan(b"k", b"l", visit).unwrap();
    assert!(pages.len() > 30, "{} pages", pages.len());
    let (key, lost) = &pages[pages.len() / 2];
    assert!(disk.alter("tables", key, |_| None) && *lost > 1);
    let engine = open(&disk);
    assert_eq!(recounted(&engine, 1_000).await, 0, "of votes");
    assert_eq!(engine.metrics().comments_drift.get(), i64::try_from(*lost).unwrap());
    assert_eq!(engine.comment_count("c0").unwrap(), 600, "the recount changes nothing");
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

/// What the threads of this process weigh (`nice`), by their names.
#[cfg(target_os = "linux")]
fn weights() -> Vec<(String, i32)> {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    // One that ends meanwhile can't be read.
    let stats = tasks.filter_map(|task| std::fs::read_to_string(task.unwrap().path().join("stat")).ok());
    let weight = |stat: String| {
        let (head, fields) = stat.rsplit_once(") ").unwrap();
        (head.split_once('(').unwrap().1.to_owned(), fields.split(' ').nth(16).unwrap().parse().unwrap())
    };
    stats.map(weight).collect()
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn what_can_wait_stands_back_and_nothing_that_a_vote_waits_for_does() {
    let dir = tempfile::tempdir().unwrap();
    let engine = support::open(dir.path());
    stage(&engine, 1).await;
    engine.vote(voter(1), "c0", VoteKind::Standard).await.unwrap();
    engine.drain().await.unwrap();
    let test = std::fs::read_to_string("/proc/thread-self/stat").unwrap();
    let own: i32 = test.rsplit_once(") ").unwrap().1.split(' ').nth(16).unwrap().parse().unwrap();
    // Engines of other tests start at any time, and a thread has its name before its weight.
    let began = std::time::Instant::now();
    loop {
        let weights = weights();
        let of = |start: &str| -> Vec<i32> {
            weights.iter().filter(|(name, _)| name.starts_with(start)).map(|(_, nice)| *nice).collect()
        };
        let all = |start: &str, nice: i32| !of(start).is_empty() && of(start).iter().all(|weight| *weight == nice);
        let back = (own + 10).min(19);
        if ["plaudit-apply", "plaudit-keeper"].iter().all(|name| all(name, back))
            && ["plaudit-commit", "plaudit-settle", "plaudit-hub", "sled-io-", "log flusher"]
                .iter()
                .all(|name| all(name, own))
        {
            break;
        }
        assert!(began.elapsed() < Duration::from_mins(1), "{weights:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    engine.close().unwrap();
}
