//! What voters who ask to be forgotten live to see, one story each.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use plaudit::boards::{Subject, Window};
use plaudit::clock::ManualClock;
use plaudit::comments::Order;
use plaudit::domain::{CommentStatus, CommentText, Origin, Profile, SlotNo, VoidBy, VoteKind, VoterId};
use plaudit::engine::{CommentDraft, CommentQuery, Engine, VoidAsked};
use plaudit::error::Reject;
use plaudit::fold::erasures;
use plaudit::store::FaultyDisk;

use crate::SLOTS;
use crate::kept::Blocks;
use crate::rig::{DAY_MS, PATIENCE, open, open_over, until, verified};
use crate::support::{NOON, key, stage, voter};
use crate::through::{Slow, Through};
use crate::traces::{bytes, comment, network, nothing_is_left, request};
use crate::world::World;

/// One voter's story, step by step.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_asks_is_forgotten_at_once_where_that_can_be_and_wholly_once_slots_are_locked() {
    let (disk, clock, blocks) = (FaultyDisk::new(0), Arc::new(ManualClock::at(NOON)), Blocks::default());
    let slow = Through::over(disk.open("tables"), Slow::default());
    let engine = open_over(Arc::<Through<Slow>>::clone(&slow), &disk, &clock, &blocks).unwrap();
    let mut world = World::over(disk.clone(), Arc::clone(&clock), Arc::clone(&blocks), engine.clone());
    world.stage().await;
    let from = |who| Origin { risk: 0, network: network(who) };
    for who in [1, 2, 5] {
        engine.vote_from(from(who), voter(who), "c0", VoteKind::Super).await.unwrap();
    }
    let post = |who: u64| CommentDraft { request: Some(request(who, 0)), ..comment(who, "c0") };
    let theirs = engine.post_comment(post(1)).await.unwrap().comment.place.id;
    let other = engine.post_comment(post(2)).await.unwrap().comment.place.id;
    engine.like_comment(voter(1), other, true).await.unwrap();
    engine.like_comment(voter(5), other, true).await.unwrap();
    engine.report_comment(voter(1), other).await.unwrap();
    engine.like_comment(voter(5), theirs, true).await.unwrap();

    // What is searched through can't be read meanwhile.
    let held = slow.hold();
    let id = engine.erase(voter(1)).await.unwrap();
    assert_eq!(engine.erase(voter(1)).await.unwrap(), id, "one that is searched for is the same");
    held.thread().unpark();
    held.join().unwrap();
    until("the stub", || engine.comment(theirs, None).unwrap().comment.status == CommentStatus::Deleted).await;
    let set = |voter| engine.comment(other, Some(voter)).unwrap().set;
    until("the nameless like", || set(voter(1)) == 0).await;
    let stub = engine.comment(theirs, None).unwrap().comment;
    assert_eq!((stub.text.as_str(), &stub.profile, stub.author), ("", &Profile::default(), VoterId::NOBODY));
    let liked = engine.comment(other, None).unwrap().comment;
    assert_eq!((liked.likes, liked.reports), (2, 1), "they count on");
    let list = CommentQuery { clip: "c0", parent: None, order: Order::Top, after: None, limit: 10, viewer: None };
    assert_eq!(engine.comments(list).unwrap().threads.len(), 1);
    let clips = || engine.slot_clips(SlotNo(0)).clips;
    until("clips without their maker's name", || clips()[1].username.is_none()).await;
    assert!(clips()[2].username.is_some());
    assert!(matches!(engine.vote(voter(1), "c1", VoteKind::Standard).await, Err(Reject::SelfVote)));

    // Open: their vote still keeps them from another one, and the day's weight is used; where it came from is gone.
    assert!(matches!(engine.vote(voter(1), "c0", VoteKind::Standard).await, Err(Reject::AlreadyVoted(_))));
    assert_eq!(engine.allowance(voter(1)).used, 3);
    engine.drain().await.unwrap();
    let holds = |part: &[u8]| {
        let tables = bytes(disk.open("tables").as_ref());
        tables.iter().any(|(_, value)| value.windows(part.len()).any(|window| window == part))
    };
    until("votes from nowhere", || !holds(&network(1).bytes())).await;
    assert!(holds(&network(2).bytes()) && holds(&voter(1).0));

    engine.lock_slot("s", 1).await.unwrap();
    until("a certificate", || engine.certificate("s", 1, None).is_ok()).await;
    let certificate = engine.certificate("s", 1, None).unwrap();
    world.engine = None;
    engine.close().unwrap();
    drop(engine);
    verified(&disk);
    let engine = open(&disk, &clock, &blocks).unwrap();
    assert_eq!(engine.allowance(voter(1)).used, 3, "no budget comes back with it");
    assert!(engine.proof("s", 1, voter(1), "c0").unwrap().holds());
    // Their clips in the other slots can still be voted for.
    for position in 2..=SLOTS {
        let _ = engine.open_slot("s", position, None, false).await;
        engine.lock_slot("s", position).await.unwrap();
    }
    assert_eq!(engine.erasures_begun(), 1, "the day has not passed");
    clock.advance(2 * DAY_MS);
    until("the end", || engine.erasures_begun() == 0).await;
    for n in 0..2 {
        engine.create_season(None, format!("Another {n}")).await.unwrap();
        engine.drain().await.unwrap();
    }
    assert_eq!(engine.certificate("s", 1, None).unwrap(), certificate);
    engine.close().unwrap();
    drop(engine);
    verified(&disk);
    nothing_is_left(&disk, &BTreeSet::from([1]));
}

/// A server that goes on for days: boards and voids that were in its memory before.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn boards_lose_the_name_and_keep_the_votes_and_a_void_that_is_lifted_finds_them() {
    let (disk, clock, blocks) = (FaultyDisk::new(0), Arc::new(ManualClock::at(NOON)), Blocks::default());
    let engine = open(&disk, &clock, &blocks).unwrap();
    stage(&engine, 2).await;
    for who in [1, 2, 3] {
        let origin = Origin { risk: 0, network: network(who) };
        engine.vote_from(origin, voter(who), "c0", VoteKind::Super).await.unwrap();
        engine.vote(voter(who), "c1", VoteKind::Standard).await.unwrap();
    }
    let asked = |by| VoidAsked { season: "s".into(), position: 1, by, reason: "a farm".into() };
    let void = engine.void(asked(VoidBy::Voter(voter(1)))).await.unwrap();
    // Voters and their weights, and clips' weights, once the boards have come as far as the tables.
    let boards = async || {
        engine.drain().await.unwrap();
        let settled = engine.preview_void(&asked(VoidBy::Flagged)).unwrap().as_of;
        let mut both = Vec::new();
        for of in [Subject::Voters, Subject::Clips] {
            let board = engine.board(of, Some("s"), None, Window::All).unwrap();
            let page = loop {
                engine.build_board(board).unwrap();
                let page = engine.leaderboard(board, None, 100).unwrap();
                if let Some(page) = page.filter(|page| page.as_of >= settled) {
                    break page;
                }
                tokio::time::sleep(Duration::from_millis(2)).await;
            };
            both.push(page.rows.into_iter().map(|row| (row.user_id, row.score.weight)).collect::<Vec<_>>());
        }
        both
    };
    let public = |who| Some(key().public(voter(who)));
    let before = boards().await;
    assert_eq!(before[0], [(public(2), 4), (public(3), 4)]);
    engine.erase(voter(1)).await.unwrap();
    engine.erase(voter(2)).await.unwrap();
    engine.lock_slot("s", 1).await.unwrap();
    assert_eq!(boards().await[0], before[0], "the day has not passed");
    clock.advance(2 * DAY_MS);
    until("the end", || engine.erasures_begun() == 0).await;
    // The boards hear of it with whatever they follow next.
    engine.create_season(None, "Another".into()).await.unwrap();
    let named = async |who| boards().await[0].iter().any(|(name, _)| *name == public(who));
    let waited = tokio::time::timeout(PATIENCE, async { while named(2).await {} });
    assert!(waited.await.is_ok(), "the name never goes");
    let under = boards().await;
    let weights = |rows: &[(Option<String>, u64)]| rows.iter().map(|(_, weight)| *weight).collect::<Vec<_>>();
    assert_eq!(weights(&under[0]), [4, 4], "someone else, with their votes in the slot");
    assert_eq!(under[1], before[1]);
    assert_eq!(engine.voids(None).unwrap()[0].by, VoidBy::Voter(VoterId::NOBODY));

    engine.lift_void(void.id, "not a farm".into()).await.unwrap();
    let lifted = boards().await;
    assert_eq!((weights(&lifted[0]), weights(&lifted[1])), (vec![4, 4, 4], vec![9, 3]));
    assert!(!named(1).await);
    // Whoever starts anew comes to the same names.
    let certificate = engine.certificate("s", 1, None).unwrap();
    engine.close().unwrap();
    drop(engine);
    let engine = open(&disk, &clock, &blocks).unwrap();
    assert_eq!(engine.certificate("s", 1, None).unwrap(), certificate);
    let board = engine.board(Subject::Voters, Some("s"), None, Window::All).unwrap();
    let page = loop {
        engine.build_board(board).unwrap();
        if let Some(page) = engine.leaderboard(board, None, 100).unwrap() {
            break page;
        }
    };
    let again: Vec<_> = page.rows.into_iter().map(|row| (row.user_id, row.score.weight)).collect();
    assert_eq!(again, lifted[0]);
}

/// Who asks again and again is one voter still.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn erasures_make_no_voter_many_and_free_nobody_of_a_void() {
    let (disk, clock, blocks) = (FaultyDisk::new(0), Arc::new(ManualClock::at(NOON)), Blocks::default());
    let engine = open(&disk, &clock, &blocks).unwrap();
    let mut world = World::over(disk.clone(), clock, blocks, engine);
    world.stage().await;
    let engine = world.engine().clone();
    for who in [1, 2] {
        engine.vote(voter(who), "c0", VoteKind::Super).await.unwrap();
    }
    let draft = CommentDraft {
        clip: "c0",
        parent: None,
        author: voter(2),
        profile: Profile::default(),
        text: CommentText::new("a comment").unwrap(),
        request: None,
    };
    let comment = engine.post_comment(draft).await.unwrap().comment.place.id;
    let mut erasures = BTreeSet::new();
    for _ in 0..4 {
        engine.like_comment(voter(1), comment, true).await.unwrap();
        engine.report_comment(voter(1), comment).await.unwrap();
        erasures.insert(engine.erase(voter(1)).await.unwrap());
        until("the nameless like", || engine.comment(comment, Some(voter(1))).unwrap().set == 0).await;
    }
    assert_eq!(engine.like_comment(voter(1), comment, false).await.unwrap().likes, 1, "it is not theirs to take back");
    drop(engine);
    world.crash(0, None);
    let engine = world.engine().clone();
    engine.like_comment(voter(1), comment, true).await.unwrap();
    engine.report_comment(voter(1), comment).await.unwrap();
    let found = engine.comment(comment, Some(voter(1))).unwrap();
    assert_eq!((found.comment.likes, found.comment.reports, found.set), (1, 1, 0));
    assert_eq!(found.comment.status, CommentStatus::Visible);

    // They take up a few places and no more.
    let waited = tokio::time::timeout(PATIENCE, async {
        while let Ok(id) = engine.erase(voter(1)).await {
            erasures.insert(id);
        }
    });
    waited.await.expect("it is refused at last");
    assert!(erasures.len() < 10, "{erasures:?}");
    engine.erase(voter(3)).await.expect("there is room for others");

    engine.lock_slot("s", 1).await.unwrap();
    let c = plaudit::merkle::Scope::new("s", 1).voter(voter(1));
    let emptied =
        || bytes(disk.open("tables").as_ref()).iter().any(|(_, value)| value.windows(32).any(|part| part == c));
    until("their hash in the slot's pages", emptied).await;
    let asked = VoidAsked { season: "s".into(), position: 1, by: VoidBy::Voter(voter(1)), reason: "a farm".into() };
    let void = engine.void(asked).await.unwrap();
    let votes = |engine: &Engine| engine.slot_clips(SlotNo(0)).clips[0].counts.unwrap().votes;
    assert_eq!(votes(&engine), 1, "the void found their vote");
    engine.lift_void(void.id, "no farm".into()).await.unwrap();
    assert_eq!(votes(&engine), 2);

    // One that is asked for once nothing is left to be taken from voids, and before the record lets go of the id: it keeps it.
    for position in 2..=SLOTS {
        let _ = engine.open_slot("s", position, None, false).await;
        engine.lock_slot("s", position).await.unwrap();
    }
    let swept = || {
        let tables = disk.open("tables");
        let mut all = true;
        erasures::each(tables.as_ref(), |state| all &= state.pass.swept).unwrap();
        all
    };
    until("the end of the pass", swept).await;
    let asked = VoidAsked { season: "s".into(), position: 1, by: VoidBy::Voter(voter(1)), reason: "again".into() };
    engine.void(asked).await.unwrap();
    world.clock.advance(2 * DAY_MS);
    until("the end of all erasures", || engine.erasures_begun() == 0).await;
    let told = engine.voids(None).unwrap();
    let keeps = told.iter().map(|void| void.by == VoidBy::Voter(voter(1))).collect::<Vec<_>>();
    assert_eq!(keeps, [true, true], "both were asked for behind the begin of them all");
    drop(engine);
    world.crash(0, None);
    let engine = world.engine().clone();
    assert_eq!(engine.voids(None).unwrap(), told, "a restart says the same");
    engine.close().unwrap();
    drop(engine);
    world.engine = None;
    verified(&disk);
}

/// More than a step does, all of them waiting for one slot.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_who_wait_for_one_slot_all_leave_it() {
    const MANY: u64 = 40;
    let (disk, clock, blocks) = (FaultyDisk::new(0), Arc::new(ManualClock::at(NOON)), Blocks::default());
    let engine = open(&disk, &clock, &blocks).unwrap();
    stage(&engine, 2).await;
    for who in 0..=MANY {
        let origin = Origin { risk: 0, network: network(who) };
        engine.vote_from(origin, voter(who), "c0", VoteKind::Standard).await.unwrap();
    }
    for who in 0..MANY {
        engine.erase(voter(who)).await.unwrap();
    }
    let waits = || {
        let mut waits = 0;
        let one = |state: plaudit::domain::ErasureState| {
            waits += u64::from(state.pass.waits.is_some_and(|slots| slots == [SlotNo(0)]));
        };
        erasures::each(disk.open("tables").as_ref(), one).unwrap();
        waits
    };
    until("that all wait for the slot", || waits() == MANY).await;
    engine.lock_slot("s", 1).await.unwrap();
    clock.advance(2 * DAY_MS);
    until("the end of all", || engine.erasures_begun() == 0).await;
    engine.drain().await.unwrap();
    let left = |who: u64| {
        let has = |bytes: &[u8], part: &[u8]| bytes.windows(part.len()).any(|window| window == part);
        let all = bytes(disk.open("tables").as_ref());
        all.iter().any(|(key, value)| has(key, &voter(who).0) || has(value, &voter(who).0))
    };
    assert_eq!((0..=MANY).filter(|who| left(*who)).collect::<Vec<_>>(), [MANY]);
    assert_eq!(engine.counts("c0").unwrap().unwrap().votes, MANY + 1);
    engine.close().unwrap();
    drop(engine);
    verified(&disk);
}
