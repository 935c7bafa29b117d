//! Erasures that are cut short at every write they make: the whole of one, and the tidying of a range of pages.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use plaudit::clock::ManualClock;
use plaudit::codec;
use plaudit::comments::Order;
use plaudit::domain::{ClipDraft, ClipId, Origin, SeasonId, Seq, SlotStatus, VoidBy, VoteKind, VoterId};
use plaudit::engine::{CommentDraft, CommentQuery, VoidAsked};
use plaudit::error::{Fault, Reject};
use plaudit::fold::comments::{LIKED, Mark};
use plaudit::fold::ranges::{Forwards, Item, RangePage, tidy};
use plaudit::store::{FaultyDisk, Store};

use crate::cases::each;
use crate::kept::Blocks;
use crate::rig::{DAY_MS, open, until, verified};
use crate::support::{NOON, voter};
use crate::traces::{bytes, comment, name, network, nothing_is_left, request};

/// As far as an earlier life has not come: votes of three, comments, likes, a void; the second is erased, slots lock, a day passes.
async fn life(disk: &FaultyDisk, clock: &Arc<ManualClock>) -> Result<(), Reject> {
    let engine = open(disk, clock, &Blocks::default()).map_err(|_| Reject::StorageFailed)?;
    if engine.is_empty() {
        engine.create_season(Some(SeasonId::new("s")?), "Season".into()).await?;
    }
    if engine.slot("s", 1).is_err() {
        engine.create_slot("s", None).await?;
    }
    for who in 0..2 {
        let id = format!("c{who}");
        if engine.counts(&id).is_err() {
            let (owner, username) = (Some(who.to_string()), Some(name(who)));
            let draft = ClipDraft { title: id.clone(), owner, username, ..ClipDraft::default() };
            engine.add_clip("s", 1, Some(ClipId::new(&id)?), draft).await?;
        }
    }
    if engine.slot("s", 1)?.status == SlotStatus::Upcoming {
        engine.open_slot("s", 1, None, false).await?;
    }
    let none = |told: Result<(), Reject>| if told == Err(Reject::StorageFailed) { told } else { Ok(()) };
    let begun = engine.erasures_begun() > 0 || engine.slot("s", 1)?.status == SlotStatus::Locked;
    if !begun {
        for who in 0..3 {
            let origin = Origin { risk: 0, network: network(who) };
            let vote = engine.vote_from(origin, voter(who), if who == 1 { "c0" } else { "c1" }, VoteKind::Super).await;
            none(vote.map(drop))?;
        }
        let mut last = None;
        for who in 0..2 {
            let draft = CommentDraft { request: Some(request(who, 0)), ..comment(who, "c0") };
            let posted = engine.post_comment(draft).await?.comment.place.id;
            for of in [last, Some(posted)].into_iter().flatten() {
                engine.like_comment(voter(1), of, true).await?;
            }
            last = Some(posted);
        }
        if engine.voids(None)?.iter().all(|void| void.taken.is_none()) {
            let by = VoidBy::Voter(voter(1));
            let asked = VoidAsked { season: "s".into(), position: 1, by, reason: "a farm".into() };
            none(engine.void(asked).await.map(drop))?;
        }
        engine.erase(voter(1)).await?;
    }
    none(engine.lock_slot("s", 1).await.map(drop))?;
    let failed = || engine.failure().is_some();
    until("the lock's pages", || failed() || engine.certificate("s", 1, None).is_ok()).await;
    clock.set(NOON + 2 * DAY_MS);
    until("the end", || failed() || engine.erasures_begun() == 0).await;
    for n in 0..2 {
        engine.create_season(None, format!("Another {n}")).await?;
        engine.drain().await?;
    }
    engine.close().map_err(|_| Reject::StorageFailed)
}

/// Each write of an erasure may be the last before the machine dies.
#[test]
fn an_erasure_that_is_cut_short_at_any_write_goes_on_with_the_next_start() {
    let clock = || Arc::new(ManualClock::at(NOON));
    let check = |disk: &FaultyDisk, k: u64| {
        verified(disk);
        nothing_is_left(disk, &BTreeSet::from([1]));
        let engine = open(disk, &Arc::new(ManualClock::at(NOON + 2 * DAY_MS)), &Blocks::default()).unwrap();
        let counts = ["c0", "c1"].map(|clip| engine.counts(clip).unwrap().map(|counts| (counts.votes, counts.weight)));
        // The first one's own clip is c0, so that their vote for c1 stands; c1's maker may vote for c0, and a void took that.
        assert_eq!(counts, [Some((0, 0)), Some((2, 6))], "k = {k}");
        assert_eq!((engine.comment_count("c0").unwrap(), engine.proof("s", 1, voter(1), "c0").is_ok()), (1, true));
        let comments =
            CommentQuery { clip: "c0", parent: None, order: Order::Top, after: None, limit: 9, viewer: None };
        let likes: Vec<u32> =
            engine.comments(comments).unwrap().threads.iter().map(|one| one.of.comment.likes).collect();
        assert_eq!(likes, [1], "a like of nobody's");
    };
    let whole = Mutex::new(0);
    each("no failure", [0], async |_| {
        let disk = FaultyDisk::new(0);
        life(&disk, &clock()).await.unwrap();
        check(&disk, 0);
        *whole.lock().unwrap() = disk.ops();
    });
    let operations = *whole.lock().unwrap();
    let cut_short = AtomicUsize::new(0);
    each("k", 1..=operations, async |k| {
        let (disk, clock) = (FaultyDisk::new(k), clock());
        disk.fail_at(k);
        for turn in 0..3 {
            let ended = life(&disk, &clock).await;
            if turn == 0 {
                assert_eq!(
                    ended.is_ok(),
                    disk.ops() < k,
                    "k = {k}: a life ends well where it meets no failure, and there alone"
                );
            }
            if ended.is_ok() {
                // Its failure, if it still lies ahead, is not the check's to meet.
                disk.repair();
                return check(&disk, k);
            }
            assert_eq!(ended, Err(Reject::StorageFailed), "k = {k}");
            cut_short.fetch_add(usize::from(turn == 0), Ordering::Relaxed);
            disk.repair();
            disk.crash(k * 7 + turn);
            verified(&disk);
        }
        panic!("k = {k}: without a failure a life comes to its end");
    });
    let cut_short = cut_short.into_inner() as u64;
    println!("{operations} operations, {cut_short} lives cut short");
    // The applier may step between any two events, or once for several.
    assert!(cut_short * 3 >= operations, "{cut_short} of {operations} lives met their failure");
}

/// What a crash left over in a page, and a page that begins with the one who is gone; whatever write is the last.
#[test]
fn pages_of_likes_lose_what_is_left_over_and_their_name_and_no_like() {
    let (gone, other) = (voter(1), voter(2));
    let mark = |comment, voter| Mark { comment, voter, set: LIKED };
    let low = VoterId([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9]);
    let pages = [
        // Up to where the next one begins; what lies behind it was left by a crash.
        ((0, VoterId::NOBODY), vec![mark(3, other), mark(5, low), mark(5, gone), mark(6, other), mark(7, gone)]),
        ((5, gone), vec![mark(6, other), mark(7, low)]),
        // Empty: it says no more than up to where the one before it goes.
        ((8, gone), vec![]),
        ((9, gone), vec![mark(9, gone), mark(9, VoterId([0xff; 16]))]),
    ];
    let stands =
        [mark(3, other), mark(5, low), mark(6, other), mark(7, low), mark(9, gone), mark(9, VoterId([0xff; 16]))];
    let read = |store: &dyn Store| {
        let mut marks = Forwards::<Mark>::new(store, (0, VoterId::NOBODY), (Seq::MAX, VoterId([0xff; 16])));
        std::iter::from_fn(|| marks.next_item().unwrap()).collect::<Vec<Mark>>()
    };
    let tidied = |store: &dyn Store, pages: usize| -> Result<(), Fault> {
        let mut from = vec![Mark::LETTER];
        while let Some(next) = tidy(store, &from, pages, |mark: &Mark| mark.voter == gone, |(_, named)| named == gone)?
        {
            from = next;
        }
        store.flush()
    };
    for pages_a_step in 1..6 {
        for k in 1..12 {
            let disk = FaultyDisk::new(k);
            let store = disk.open("tables");
            for (start, items) in &pages {
                let key = Mark::bytes(*start);
                let page = RangePage { last: 10, items: items.clone() };
                store.insert(&key, &codec::record(Mark::KIND, &key, &page)).unwrap();
            }
            store.flush().unwrap();
            assert_eq!(read(store.as_ref()), stands);
            disk.fail_at(k);
            let cut_short = tidied(store.as_ref(), pages_a_step).is_err();
            assert_eq!(read(store.as_ref()), stands, "k = {k}: at every moment the same likes");
            disk.repair();
            disk.crash(k);
            let store = disk.open("tables");
            assert_eq!(read(store.as_ref()), stands, "k = {k}: behind a crash too");
            if cut_short {
                tidied(store.as_ref(), pages_a_step).unwrap();
            }
            assert_eq!(read(store.as_ref()), stands);
            let named = bytes(store.as_ref())
                .into_iter()
                .filter(|(key, value)| [key, value].iter().any(|part| part.windows(16).any(|window| window == gone.0)));
            // They liked anew: that one stands, and the page that it begins.
            assert_eq!(named.map(|(key, _)| key).collect::<Vec<_>>(), [Mark::bytes((9, gone))], "k = {k}");
            assert_eq!(bytes(store.as_ref()).len(), 3, "the page of nothing is gone");
        }
    }
}
