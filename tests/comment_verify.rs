//! `verify` over comments: a damaged page is named, what contradicts the comments is found, a wrong count is put right.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::ops::ControlFlow;
use std::sync::Arc;

use plaudit::clock::ManualClock;
use plaudit::codec::{self, Kind};
use plaudit::comments::WordList;
use plaudit::domain::{Comment, CommentText, Profile, Verdict};
use plaudit::engine::{CommentDraft, Engine, Settings, Verified, verify_stores};
use plaudit::error::Fault;
use plaudit::fold::comments::{CommentCounts, CommentId, Mark, Queued, Rank, Replies};
use plaudit::fold::ranges::{Item, RangePage};
use plaudit::log::block::genesis;
use plaudit::store::FaultyDisk;
use support::{NOON, flipped, key, stage, voter};

/// A stopped store with comments of every kind.
async fn disk() -> FaultyDisk {
    let disk = FaultyDisk::new(1);
    let settings = Settings { reconcile_every_s: 0, ..Settings::new("unused", key()) };
    let clock = Arc::new(ManualClock::at(NOON));
    let engine = Engine::over(settings, clock, disk.open("log"), disk.open("tables")).unwrap();
    stage(&engine, 1).await;
    engine.block_words(WordList::parse("spam"));
    let post = async |who: u64, parent: Option<u64>, text: &str| {
        let text = CommentText::new(text).unwrap();
        let (author, profile) = (voter(who), Profile::default());
        let draft = CommentDraft { clip: "c0", parent, author, profile, text, request: None };
        engine.post_comment(draft).await.unwrap().comment.place.id
    };
    let first = post(1, None, "first").await;
    post(2, Some(first), "a reply").await;
    post(3, None, "spam").await;
    let hidden = post(4, None, "hidden").await;
    engine.like_comment(voter(5), first, true).await.unwrap();
    engine.report_comment(voter(6), first).await.unwrap();
    engine.moderate_comment(hidden, Verdict::Hide).await.unwrap();
    engine.close().unwrap();
    disk
}

fn run(disk: &FaultyDisk, repair: bool) -> Result<Verified, Fault> {
    verify_stores(disk.open("log").as_ref(), disk.open("tables"), genesis([0; 16]), repair)
}

/// Keys of the pages that begin with a letter.
fn keys(disk: &FaultyDisk, letter: u8) -> Vec<Vec<u8>> {
    let mut keys = Vec::new();
    let visit = &mut |key: &[u8], _: &plaudit::store::Value| {
        keys.push(key.to_vec());
        Ok(ControlFlow::Continue(()))
    };
    disk.open("tables").scan(&[letter], &[letter + 1], visit).unwrap();
    keys
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_page_of_comments_is_named() {
    let disk = disk().await;
    let found = run(&disk, false).unwrap();
    assert_eq!((found.problems, found.rows[0].comments), (Vec::new(), 2));
    let mut pages = 0;
    for letter in *b"kiroqyu" {
        for key in keys(&disk, letter) {
            pages += 1;
            for at in [0, 5, 30, usize::MAX] {
                let flip = |value: &[u8]| Some(flipped(value, at));
                assert!(disk.alter("tables", &key, flip));
                let named = key.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"));
                let failure = run(&disk, false).unwrap_err();
                let right = matches!(&failure, Fault::Damaged { tree: "tables", key, .. } if *key == named);
                assert!(right, "{failure}, {named} wanted");
                assert!(disk.alter("tables", &key, flip));
            }
        }
    }
    assert!(pages >= 8, "every kind of page, two queues: {pages}");
}

/// Takes the first item out of every page of a kind, and puts it back.
fn without_one<T: Item>(disk: &FaultyDisk) {
    for key in keys(disk, T::LETTER) {
        let store = disk.open("tables");
        let record = store.get(&key).unwrap().unwrap();
        let mut page: RangePage<T> = codec::read("tables", T::KIND, &key, &record).unwrap();
        page.items.remove(0);
        store.insert(&key, &codec::record(T::KIND, &key, &page)).unwrap();
        let found = run(disk, false).unwrap();
        assert!(found.wrong > 0, "{}", String::from_utf8_lossy(&key));
        assert!(found.problems.iter().all(|problem| problem.contains("comment")), "{:?}", found.problems);
        store.insert(&key, &record).unwrap();
        assert_eq!(run(disk, false).unwrap().wrong, 0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_contradicts_the_comments_is_found() {
    let disk = disk().await;
    without_one::<Comment>(&disk);
    without_one::<CommentId>(&disk);
    without_one::<Mark>(&disk);
    without_one::<Rank>(&disk);
    without_one::<Queued>(&disk);
    without_one::<Replies>(&disk);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_count_of_comments_is_put_right() {
    let disk = disk().await;
    let key = keys(&disk, b'u').remove(0);
    let store = disk.open("tables");
    let record = store.get(&key).unwrap().unwrap();
    let mut page: CommentCounts = codec::read("tables", Kind::CommentCounts, &key, &record).unwrap();
    page.counts[0] = 9;
    store.insert(&key, &codec::record(Kind::CommentCounts, &key, &page)).unwrap();
    assert_eq!(run(&disk, false).unwrap().problems, ["clip c0: stored 9 comments, recounted 2"]);
    assert_eq!(run(&disk, true).unwrap().repaired, 1);
    assert_eq!(run(&disk, false).unwrap().wrong, 0);
}
