//! Comments through the engine: what was posted is there, at once and after everything that can happen to a process;
//! lists stay right while comments come and go; what races is decided once.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test fails by panicking and prints what it saw")]

mod support;

use std::collections::BTreeSet;
use std::sync::Arc;

use plaudit::clock::{Clock, ManualClock};
use plaudit::comments::{Cursor, Order, WordList};
use plaudit::domain::{Comment, CommentStatus, CommentText, ModerationQueue, Profile, RequestKey, Verdict, VoterId};
use plaudit::engine::{Ack, CommentDraft, CommentQuery, CommentSettings, Engine, Posted, Settings, verify_stores};
use plaudit::error::Reject;
use plaudit::log::block::genesis;
use plaudit::store::FaultyDisk;
use support::{NOON, key, stage, voter};

fn open(disk: &FaultyDisk, comments: CommentSettings) -> (Engine, Arc<ManualClock>) {
    let settings = Settings { reconcile_every_s: 0, comments, ..Settings::new("unused", key()) };
    let clock = Arc::new(ManualClock::at(NOON));
    let shared: Arc<dyn Clock> = Arc::<ManualClock>::clone(&clock);
    (Engine::over(settings, shared, disk.open("log"), disk.open("tables")).unwrap(), clock)
}

async fn engine() -> (Engine, FaultyDisk, Arc<ManualClock>) {
    let disk = FaultyDisk::new(1);
    let (engine, clock) = open(&disk, CommentSettings::default());
    stage(&engine, 2).await;
    (engine, disk, clock)
}

fn draft(author: VoterId, parent: Option<u64>, text: &str) -> CommentDraft<'_> {
    let profile = Profile::cut(Some("Ada"), None);
    CommentDraft { clip: "c0", parent, author, profile, text: CommentText::new(text).unwrap(), request: None }
}

async fn post(engine: &Engine, who: u64, text: &str) -> u64 {
    engine.post_comment(draft(voter(who), None, text)).await.unwrap().comment.place.id
}

async fn reply(engine: &Engine, who: u64, to: u64) -> Result<u64, Reject> {
    engine.post_comment(draft(voter(who), Some(to), "a reply")).await.map(|posted| posted.comment.place.id)
}

fn query(order: Order) -> CommentQuery<'static> {
    CommentQuery { clip: "c0", parent: None, order, after: None, limit: 20, viewer: None }
}

/// A list's ids, page by page, to its end; no page may be empty but the last.
fn walk(engine: &Engine, query: CommentQuery<'_>) -> Vec<u64> {
    let (mut ids, mut after) = (Vec::new(), None);
    loop {
        let page = engine.comments(CommentQuery { after, ..query }).unwrap();
        ids.extend(page.threads.iter().map(|thread| thread.of.comment.place.id));
        match page.next {
            Some(next) => after = Some(next),
            None => return ids,
        }
    }
}

fn verify(disk: &FaultyDisk) {
    let found = verify_stores(disk.open("log").as_ref(), disk.open("tables"), genesis([0; 16]), false).unwrap();
    assert_eq!(found.problems, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_comment_is_seen_at_once_and_after_it_was_applied_and_after_a_restart() {
    let (engine, disk, _) = engine().await;
    let id = post(&engine, 1, "first").await;
    let under = reply(&engine, 2, id).await.unwrap();
    let look = |engine: &Engine| {
        let page = engine.comments(query(Order::Newest)).unwrap();
        let thread = &page.threads[0];
        assert_eq!((page.threads.len(), thread.of.comment.place.id, thread.of.replies), (1, id, 1));
        assert_eq!(thread.first[0].comment.place.id, under);
        assert_eq!(engine.comment_count("c0"), Ok(2));
        assert_eq!(engine.comment_count("c1"), Ok(0));
    };
    look(&engine);
    engine.drain().await.unwrap();
    look(&engine);
    engine.close().unwrap();
    let (engine, _) = open(&disk, CommentSettings::default());
    look(&engine);
    engine.like_comment(voter(3), id, true).await.unwrap();
    // Killed: the tail is in the log alone.
    disk.crash(1);
    let (engine, _) = open(&disk, CommentSettings::default());
    look(&engine);
    assert_eq!(engine.comment(id, Some(voter(3))).unwrap().comment.likes, 1);
    drop(engine);
    verify(&disk);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn likes_and_reports_count_once_for_each_voter_whoever_races() {
    let (engine, disk, _) = engine().await;
    let id = post(&engine, 1, "like me").await;
    for round in 0..3 {
        let likes: Vec<_> = (0..40)
            .map(|n| {
                let engine = engine.clone();
                tokio::spawn(async move { engine.like_comment(voter(n % 10), id, true).await })
            })
            .collect();
        for like in likes {
            assert!(like.await.unwrap().unwrap().stands);
        }
        assert_eq!(engine.comment(id, None).unwrap().comment.likes, 10, "round {round}");
        if round == 1 {
            engine.drain().await.unwrap();
        }
    }
    for _ in 0..2 {
        let left = engine.like_comment(voter(0), id, false).await.unwrap();
        assert_eq!((left.likes, left.stands), (9, false));
    }
    for _ in 0..5 {
        engine.report_comment(voter(1), id).await.unwrap();
    }
    engine.report_comment(voter(2), id).await.unwrap();
    assert_eq!(engine.comment(id, None).unwrap().comment.status, CommentStatus::Visible);
    engine.report_comment(voter(3), id).await.unwrap();
    assert_eq!(engine.comment(id, None).unwrap().comment.status, CommentStatus::Reported);
    assert_eq!(engine.comment_count("c0"), Ok(0));
    assert_eq!(engine.report_comment(voter(4), id).await, Err(Reject::NotFound), "it can't be seen any more");
    engine.close().unwrap();
    verify(&disk);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_answers_before_the_flush_a_change_is_answered_with_what_it_made() {
    let disk = FaultyDisk::new(1);
    let settings = Settings { ack: Ack::Memory, reconcile_every_s: 0, ..Settings::new("unused", key()) };
    let clock = Arc::new(ManualClock::at(NOON));
    let engine = Engine::over(settings, clock, disk.open("log"), disk.open("tables")).unwrap();
    stage(&engine, 1).await;
    let id = post(&engine, 1, "early").await;
    // Behind its flush it is seen.
    engine.drain().await.unwrap();
    for (on, likes) in [(true, 1), (true, 1), (false, 0)] {
        let liked = engine.like_comment(voter(2), id, on).await.unwrap();
        assert_eq!((liked.likes, liked.stands), (likes, on));
    }
    assert_eq!(engine.moderate_comment(id, Verdict::Hide).await.unwrap().status, CommentStatus::Hidden);
    engine.delete_comment(id, Some(voter(1))).await.unwrap();
    assert_eq!(engine.delete_comment(id, None).await, Err(Reject::NotFound));
    engine.close().unwrap();
    verify(&disk);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_meets_a_deletion_is_decided_by_the_logs_order() {
    let (engine, disk, _) = engine().await;
    for n in 0..40 {
        let id = post(&engine, 1, "short lived").await;
        let spawn = |what: u64| {
            let engine = engine.clone();
            tokio::spawn(async move {
                match what {
                    0 => engine.delete_comment(id, Some(voter(1))).await,
                    1 => engine.like_comment(voter(2), id, true).await.map(drop),
                    2 => reply(&engine, 3, id).await.map(drop),
                    3 => engine.delete_comment(id, None).await,
                    _ => engine.moderate_comment(id, Verdict::Hide).await.map(drop),
                }
            })
        };
        let racing: Vec<_> = (0..5).map(|what| spawn((what + n) % 5)).collect();
        let mut outcomes = Vec::new();
        for one in racing {
            outcomes.push(one.await.unwrap());
        }
        let deleted = (0..5).filter(|at| (at + n) % 5 == 0 || (at + n) % 5 == 3);
        let deletions = deleted.filter(|at| outcomes[usize::try_from(*at).unwrap()].is_ok()).count();
        assert_eq!(deletions, 1, "one deletion deletes: {outcomes:?}");
        for outcome in outcomes {
            assert!(matches!(outcome, Ok(()) | Err(Reject::NotFound)), "{outcome:?}");
        }
        let found = engine.comment(id, None).unwrap();
        assert_eq!((found.comment.status, found.comment.text.as_str()), (CommentStatus::Deleted, ""));
        assert_eq!(reply(&engine, 3, id).await, Err(Reject::NotFound));
        assert_eq!(engine.like_comment(voter(4), id, true).await.map(|_| ()), Err(Reject::NotFound));
    }
    engine.close().unwrap();
    verify(&disk);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_stays_right_while_comments_come_and_go() {
    let (engine, _disk, _) = engine().await;
    let mut first = Vec::new();
    for n in 0..60 {
        first.push(post(&engine, n, "here from the start").await);
        if n % 20 == 0 {
            engine.drain().await.unwrap();
        }
    }
    let gone: Vec<u64> = first.iter().copied().step_by(7).collect();
    let stay: BTreeSet<u64> = first.iter().copied().filter(|id| !gone.contains(id)).collect();
    for order in [Order::Newest, Order::Oldest, Order::Top] {
        let (mut seen, mut after, mut turn) = (Vec::new(), None, 0);
        loop {
            let page = engine.comments(CommentQuery { after, limit: 7, ..query(order) }).unwrap();
            seen.extend(page.threads.iter().map(|thread| thread.of.comment.place.id));
            let Some(next) = page.next else { break };
            after = Some(next);
            // Between two pages: new ones, some deleted, some applied.
            post(&engine, 100 + turn, "came meanwhile").await;
            if let Some(id) = gone.get(usize::try_from(turn).unwrap()) {
                let _ = engine.delete_comment(*id, None).await;
            }
            if turn % 3 == 1 {
                engine.drain().await.unwrap();
            }
            turn += 1;
        }
        let unique: BTreeSet<u64> = seen.iter().copied().collect();
        assert_eq!(unique.len(), seen.len(), "{order:?}: nothing twice");
        assert!(stay.is_subset(&unique), "{order:?}: nothing that stayed was skipped");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_most_liked_come_first_applied_or_not() {
    let (engine, _disk, _) = engine().await;
    let mut ids = Vec::new();
    for n in 0..30 {
        ids.push(post(&engine, n, "rank me").await);
    }
    engine.drain().await.unwrap();
    for (n, id) in ids.iter().enumerate() {
        for who in 0..(n * 7 % 5) {
            engine.like_comment(voter(who as u64), *id, true).await.unwrap();
        }
        if n == 15 {
            engine.drain().await.unwrap();
        }
    }
    let mut wanted: Vec<(usize, u64)> = ids.iter().enumerate().map(|(n, id)| (n * 7 % 5, *id)).collect();
    wanted.sort_unstable();
    let wanted: Vec<u64> = wanted.into_iter().rev().map(|(_, id)| id).collect();
    for _ in 0..2 {
        assert_eq!(walk(&engine, CommentQuery { limit: 4, ..query(Order::Top) }), wanted);
        engine.drain().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deleted_comment_leaves_its_place_to_its_replies_and_nothing_else() {
    let (engine, _disk, _) = engine().await;
    let (lone, busy) = (post(&engine, 1, "no replies").await, post(&engine, 1, "replies").await);
    let under = reply(&engine, 2, busy).await.unwrap();
    engine.delete_comment(lone, Some(voter(1))).await.unwrap();
    assert_eq!(engine.delete_comment(busy, Some(voter(2))).await, Err(Reject::NotYours));
    engine.delete_comment(busy, Some(voter(1))).await.unwrap();
    assert_eq!(engine.delete_comment(busy, Some(voter(1))).await, Err(Reject::NotFound));
    for _ in 0..2 {
        let page = engine.comments(query(Order::Newest)).unwrap();
        let ids: Vec<u64> = page.threads.iter().map(|thread| thread.of.comment.place.id).collect();
        assert_eq!(ids, [busy]);
        assert_eq!((page.threads[0].of.comment.text.as_str(), page.threads[0].of.replies), ("", 1));
        let thread = CommentQuery { parent: Some(busy), order: Order::Oldest, ..query(Order::Newest) };
        assert_eq!(walk(&engine, thread), [under]);
        assert_eq!(engine.comment_count("c0"), Ok(1), "the reply");
        engine.drain().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thread_goes_five_deep_within_its_clip() {
    let (engine, _disk, _) = engine().await;
    let mut last = post(&engine, 1, "top").await;
    for _ in 0..5 {
        last = reply(&engine, 1, last).await.unwrap();
    }
    assert!(matches!(reply(&engine, 1, last).await, Err(Reject::InvalidParameter { name: "parentId", .. })));
    let elsewhere = CommentDraft { clip: "c1", ..draft(voter(1), Some(last), "elsewhere") };
    assert!(matches!(engine.post_comment(elsewhere).await, Err(Reject::InvalidParameter { name: "parentId", .. })));
    assert_eq!(reply(&engine, 1, 9_999).await, Err(Reject::NotFound));
    let nowhere = CommentDraft { clip: "nowhere", ..draft(voter(1), None, "x") };
    assert_eq!(engine.post_comment(nowhere).await, Err(Reject::ClipNotFound));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_held_comment_is_its_authors_until_it_is_approved() {
    let disk = FaultyDisk::new(1);
    let (engine, _) = open(&disk, CommentSettings { held_first: true, ..CommentSettings::default() });
    stage(&engine, 1).await;
    let id = post(&engine, 1, "may I?").await;
    let seen_by = |viewer| walk(&engine, CommentQuery { viewer, ..query(Order::Newest) });
    for _ in 0..2 {
        assert_eq!((seen_by(None), seen_by(Some(voter(2)))), (vec![], vec![]));
        assert_eq!(seen_by(Some(voter(1))), [id]);
        assert_eq!(engine.comment_count("c0"), Ok(0));
        let (waiting, next) = engine.moderation_queue(ModerationQueue::Pending, 0, 10).unwrap();
        assert_eq!((waiting.len(), waiting[0].place.id, next), (1, id, None));
        engine.drain().await.unwrap();
    }
    assert_eq!(reply(&engine, 2, id).await, Err(Reject::NotFound));
    assert_eq!(engine.delete_comment(id, Some(voter(2))).await, Err(Reject::NotFound), "nobody learns of it");
    assert_eq!(engine.moderate_comment(id, Verdict::Approve).await.unwrap().status, CommentStatus::Visible);
    assert_eq!((seen_by(None), engine.comment_count("c0")), (vec![id], Ok(1)));
    assert!(engine.moderation_queue(ModerationQueue::Pending, 0, 10).unwrap().0.is_empty());
    engine.moderate_comment(id, Verdict::Hide).await.unwrap();
    engine.moderate_comment(id, Verdict::Hide).await.unwrap();
    assert_eq!((seen_by(None), seen_by(Some(voter(1)))), (vec![], vec![]));
    assert_eq!(engine.moderation_queue(ModerationQueue::Hidden, 0, 10).unwrap().0[0].place.id, id);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_queue_of_moderators_is_paged_oldest_first() {
    let (engine, _disk, _) = engine().await;
    engine.block_words(WordList::parse("spam"));
    let mut held = Vec::new();
    for n in 0..25 {
        post(&engine, n, "fine").await;
        held.push(post(&engine, n, "buy SPAM!").await);
        if n == 12 {
            engine.drain().await.unwrap();
        }
    }
    let (mut seen, mut past) = (Vec::new(), 0);
    loop {
        let (page, next) = engine.moderation_queue(ModerationQueue::Pending, past, 4).unwrap();
        seen.extend(page.iter().map(|comment| comment.place.id));
        let Some(next) = next else { break };
        past = next;
        // What was looked at leaves the queue; the cursor stays right.
        engine.moderate_comment(page[0].place.id, Verdict::Approve).await.unwrap();
    }
    assert_eq!(seen, held);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_voter_is_told_how_long_and_restarts_do_not_help() {
    let disk = FaultyDisk::new(1);
    let slow = CommentSettings { slow_ms: 10_000, ..CommentSettings::default() };
    let (engine, clock) = open(&disk, slow);
    stage(&engine, 2).await;
    post(&engine, 1, "one").await;
    post(&engine, 2, "another voter").await;
    let again = || engine.post_comment(draft(voter(1), None, "two"));
    clock.advance(2_500);
    assert_eq!(again().await.map(drop), Err(Reject::RateLimited { retry_after_s: 8 }));
    let elsewhere = CommentDraft { clip: "c1", ..draft(voter(1), None, "on another clip") };
    engine.post_comment(elsewhere).await.unwrap();
    engine.close().unwrap();
    let (engine, clock) = open(&disk, slow);
    let again = || engine.post_comment(draft(voter(1), None, "two"));
    assert_eq!(again().await.map(drop), Err(Reject::RateLimited { retry_after_s: 10 }));
    clock.advance(10_000);
    again().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_banned_may_only_take_back() {
    let (engine, _disk, _) = engine().await;
    let (own, others) = (post(&engine, 1, "mine").await, post(&engine, 2, "theirs").await);
    engine.like_comment(voter(1), others, true).await.unwrap();
    let public = key().public(voter(1));
    assert_eq!(engine.voter_named(&public), Ok(voter(1)));
    engine.drain().await.unwrap();
    assert_eq!(engine.voter_named(&public), Ok(voter(1)), "from the pages");
    assert_eq!(engine.voter_named("1"), Ok(voter(1)), "a sub");
    assert_eq!(engine.voter_named(&"0".repeat(32)), Ok(key().user(&"0".repeat(32))), "a sub that looks like an id");
    engine.ban(voter(1), None, String::new()).await.unwrap();
    assert_eq!(engine.voter_named(&public), Ok(voter(1)));
    let banned = Err(Reject::Banned { until: None });
    assert_eq!(engine.post_comment(draft(voter(1), None, "x")).await.map(drop), banned);
    assert_eq!(engine.like_comment(voter(1), own, true).await.map(drop), banned);
    assert_eq!(engine.report_comment(voter(1), others).await, banned);
    assert_eq!(engine.like_comment(voter(1), others, false).await.unwrap().likes, 0);
    engine.delete_comment(own, Some(voter(1))).await.unwrap();
}

fn keyed(key: u8, body: u8) -> CommentDraft<'static> {
    let request = Some(RequestKey { key: [key; 16], body: [body; 16] });
    CommentDraft { request, ..draft(voter(1), None, "once") }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_retry_with_its_key_finds_its_comment_before_and_after_a_restart() {
    let (engine, disk, _) = engine().await;
    let Posted { comment, again } = engine.post_comment(keyed(1, 1)).await.unwrap();
    assert!(!again);
    let retried = engine.post_comment(keyed(1, 1)).await.unwrap();
    assert_eq!(retried, Posted { comment: Arc::clone(&comment), again: true });
    assert_eq!(engine.post_comment(keyed(1, 2)).await, Err(Reject::IdempotencyKeyReused));
    disk.crash(3);
    let (engine, clock) = open(&disk, CommentSettings::default());
    assert_eq!(engine.post_comment(keyed(1, 1)).await.unwrap().comment, comment);
    assert_eq!(engine.post_comment(keyed(1, 2)).await, Err(Reject::IdempotencyKeyReused));
    assert_eq!(engine.comment_count("c0"), Ok(1));
    clock.advance(24 * 3_600_000);
    assert!(!engine.post_comment(keyed(1, 2)).await.unwrap().again, "a day later it is another request");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_request_with_a_key_in_flight_is_told_so() {
    let (engine, disk, _) = engine().await;
    // Nothing is left to be applied: the flush that is held is the first one's.
    engine.drain().await.unwrap();
    disk.hold_flushes(true);
    let first = tokio::spawn({
        let engine = engine.clone();
        async move { engine.post_comment(keyed(1, 1)).await }
    });
    while disk.held_flushes() == 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(engine.post_comment(keyed(1, 1)).await, Err(Reject::RequestInFlight));
    assert_eq!(engine.post_comment(keyed(1, 2)).await, Err(Reject::IdempotencyKeyReused));
    disk.hold_flushes(false);
    let posted = first.await.unwrap().unwrap();
    assert_eq!(engine.post_comment(keyed(1, 1)).await.unwrap().comment, posted.comment);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clip_that_is_looked_at_is_in_memory_for_an_hour() {
    let (engine, _disk, clock) = engine().await;
    for n in 0..150 {
        post(&engine, n, "one of many").await;
    }
    engine.drain().await.unwrap();
    let held = |wanted: (usize, usize)| {
        let engine = engine.clone();
        async move {
            let waited = tokio::time::timeout(std::time::Duration::from_mins(3), async {
                while engine.comments_held() != wanted {
                    tokio::time::sleep(std::time::Duration::from_millis(5)).await;
                }
            });
            assert!(waited.await.is_ok(), "{:?} held, {wanted:?} wanted", engine.comments_held());
        }
    };
    held((0, 0)).await;
    let before = walk(&engine, query(Order::Newest));
    assert_eq!(before.len(), 150);
    held((0, 100)).await;
    let id = post(&engine, 1, "the newest").await;
    let page = engine.comments(query(Order::Newest)).unwrap();
    assert_eq!(page.threads[0].of.comment.place.id, id);
    assert_eq!(page.next, Some(Cursor::Below(before[18])));
    engine.delete_comment(before[0], None).await.unwrap();
    assert_eq!(walk(&engine, query(Order::Newest)), [&[id], &before[1..]].concat());
    engine.drain().await.unwrap();
    held((0, 100)).await;
    clock.advance(3_600_000);
    held((0, 0)).await;
    assert_eq!(walk(&engine, query(Order::Newest)), [&[id], &before[1..]].concat());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_fails_at_the_kth_write_loses_no_comment_that_was_answered() {
    async fn life(disk: &FaultyDisk) -> (Vec<Arc<Comment>>, Vec<(u64, u64)>, bool) {
        let (mut posted, mut liked): (Vec<Arc<Comment>>, Vec<(u64, u64)>) = (Vec::new(), Vec::new());
        let settings = Settings { reconcile_every_s: 0, ..Settings::new("unused", key()) };
        let clock = Arc::new(ManualClock::at(NOON));
        let Ok(engine) = Engine::over(settings, clock, disk.open("log"), disk.open("tables")) else {
            return (posted, liked, false);
        };
        if engine.is_empty() && !staged(&engine).await {
            return (posted, liked, false);
        }
        for n in 0..10 {
            let parent = posted.first().map(|comment| comment.place.id).filter(|_| n % 3 == 1);
            match engine.post_comment(draft(voter(n), parent, "durable")).await {
                Ok(Posted { comment, .. }) => posted.push(comment),
                Err(refused) => assert_eq!(refused, Reject::StorageFailed),
            }
            if let Some(comment) = posted.last()
                && engine.like_comment(voter(n + 1), comment.place.id, true).await.is_ok()
            {
                liked.push((comment.place.id, n + 1));
            }
            if n % 4 == 3 && engine.drain().await.is_err() {
                return (posted, liked, false);
            }
        }
        let ended = engine.close().is_ok();
        (posted, liked, ended)
    }
    async fn staged(engine: &Engine) -> bool {
        let draft = || plaudit::domain::ClipDraft { title: "c0".into(), ..plaudit::domain::ClipDraft::default() };
        engine.create_season(None, "Season".into()).await.is_ok()
            && engine.create_slot("season-1", None).await.is_ok()
            && engine.add_clip("season-1", 1, Some(plaudit::domain::ClipId::new("c0").unwrap()), draft()).await.is_ok()
    }
    /// Whether the life came to its end in front of the failure.
    async fn one_failure(k: u64) -> bool {
        let disk = FaultyDisk::new(k);
        disk.fail_at(k);
        let (posted, liked, ended) = life(&disk).await;
        assert_eq!(ended, disk.ops() < k, "k = {k}: a life ends well where it meets no failure, and there alone");
        disk.crash(k);
        verify(&disk);
        let (engine, _) = open(&disk, CommentSettings::default());
        for comment in &posted {
            let found = engine.comment(comment.place.id, None).unwrap();
            assert_eq!(found.comment.text, comment.text, "k = {k}");
        }
        for (id, who) in &liked {
            assert_eq!(engine.comment(*id, Some(voter(*who))).unwrap().set, 1, "k = {k}: an answered like");
        }
        if !posted.is_empty() {
            let listed = walk(&engine, query(Order::Newest)).len();
            let tops = posted.iter().filter(|comment| comment.place.parent == 0).count();
            assert!(listed >= tops, "k = {k}: {listed} listed, {tops} answered");
            assert!(engine.comment_count("c0").unwrap() >= posted.len() as u64, "k = {k}");
        }
        ended
    }
    let whole = FaultyDisk::new(0);
    let (all, likes, ended) = life(&whole).await;
    assert!(ended && all.len() == 10 && likes.len() == 10);
    let operations = whole.ops();
    // Side by side: a life mostly waits for the applier's pauses.
    let lives = (1..=operations).map(|k| tokio::spawn(one_failure(k)));
    let mut cut_short = 0;
    for one in lives.collect::<Vec<_>>() {
        cut_short += u64::from(!one.await.unwrap());
    }
    println!("{operations} operations, {cut_short} runs cut short");
    // The applier may step between any two events, or once for several.
    assert!(cut_short * 3 >= operations, "{cut_short} of {operations} runs met their failure");
}
