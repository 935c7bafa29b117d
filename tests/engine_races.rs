//! What only shows between two threads, or when one of them ends: pages under their version, the latch, and those who wait.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;
#[path = "support/through.rs"]
mod through;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use plaudit::clock::ManualClock;
use plaudit::domain::{ClipDraft, ClipId, VoteKind};
use plaudit::engine::{Engine, Settings, SlotClips};
use plaudit::error::{Fault, Reject};
use plaudit::log::Progress;
use plaudit::store::{FaultyDisk, Store};
use support::{NOON, key, stage, voter};
use through::{Hook, Through};

fn over(log: Arc<dyn Store>, tables: Arc<dyn Store>) -> Engine {
    let settings = Settings { reconcile_every_s: 0, ..Settings::new("unused", key()) };
    Engine::over(settings, Arc::new(ManualClock::at(NOON)), log, tables).unwrap()
}

/// Asks for the open slot's page again and again, as the HTTP cache does: a page is kept until the version changes. The last
/// look begins after `change` is through.
async fn kept_through<F: Future<Output = ()>>(engine: &Engine, change: F) -> SlotClips {
    let over = Arc::new(AtomicBool::new(false));
    let (reader, seen) = (engine.clone(), Arc::clone(&over));
    let reader = std::thread::spawn(move || {
        let mut kept: Option<SlotClips> = None;
        loop {
            let last = seen.load(Ordering::SeqCst);
            let (slot, version) = reader.slot_version(None, None).unwrap();
            if kept.as_ref().is_none_or(|page| page.version != version) {
                kept = Some(reader.slot_clips(slot));
            }
            if last {
                return kept.expect("a page was just kept");
            }
        }
    });
    change.await;
    over.store(true, Ordering::SeqCst);
    reader.join().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_of_the_last_version_shows_the_last_counts() {
    const CLIPS: usize = 100;
    let disk = FaultyDisk::new(0);
    let engine = over(disk.open("log"), disk.open("tables"));
    stage(&engine, CLIPS).await;
    for round in 0..40 {
        // All votes of a round in one batch: the clips' counts then change one after the other.
        disk.hold_flushes(true);
        let votes: Vec<_> = (0..CLIPS)
            .map(|clip| {
                let engine = engine.clone();
                tokio::spawn(async move { engine.vote(voter(round), &format!("c{clip}"), VoteKind::Standard).await })
            })
            .collect();
        let page = kept_through(&engine, async {
            while engine.queue().pending > 1 {
                tokio::task::yield_now().await;
                disk.hold_flushes(false);
            }
            disk.hold_flushes(false);
            for vote in votes {
                vote.await.unwrap().unwrap();
            }
        })
        .await;
        let counts: Vec<u64> = page.clips.iter().map(|clip| clip.counts.unwrap().votes).collect();
        assert_eq!(counts, vec![round + 1; CLIPS], "round {round}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_of_the_last_version_has_every_clip() {
    let disk = FaultyDisk::new(0);
    let engine = over(disk.open("log"), disk.open("tables"));
    stage(&engine, 1).await;
    for number in 1..100 {
        let id = ClipId::new(&format!("more-{number}")).unwrap();
        let draft = ClipDraft { title: "One more".into(), ..ClipDraft::default() };
        let add = async { drop(engine.add_clip("s", 1, Some(id), draft).await.unwrap()) };
        assert_eq!(kept_through(&engine, add).await.clips.len(), number + 1);
    }
}

/// Writes that panic once told to, as a defect in the store would.
#[derive(Debug, Default)]
struct Panics(AtomicBool);

impl Hook for Panics {
    fn insert(&self, _: &[u8], _: &[u8]) {
        assert!(!self.0.load(Ordering::SeqCst), "a panic on purpose");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thread_that_panics_is_latched_and_nobody_waits_for_it() {
    for which in ["log", "tables"] {
        let disk = FaultyDisk::new(1);
        let (log, tables) =
            (Through::over(disk.open("log"), Panics::default()), Through::over(disk.open("tables"), Panics::default()));
        let engine = over(Arc::<Through<Panics>>::clone(&log), Arc::<Through<Panics>>::clone(&tables));
        stage(&engine, 1).await;
        if which == "log" { &log } else { &tables }.hook.0.store(true, Ordering::SeqCst);
        // The one that meets it may be answered either way.
        let _met = engine.vote(voter(1), "c0", VoteKind::Standard).await;
        let _drained = engine.drain().await;
        while engine.failure().is_none() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let later = engine.vote(voter(2), "c0", VoteKind::Standard).await;
        assert_eq!(later.map(drop), Err(Reject::StorageFailed), "{which}");
        assert_eq!(engine.metrics().storage_failed.get(), 1, "{which}");
        let closing = engine.clone();
        let closed = tokio::task::spawn_blocking(move || closing.close()).await.unwrap();
        assert!(matches!(closed, Err(Fault::Latched(_))), "{which}: {closed:?}");
    }
}

#[test]
fn whoever_waits_for_the_tables_hears_of_the_failure() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    for round in 0..20_000_u32 {
        let progress = Arc::new(Progress::new(10, 0));
        let failing = Arc::clone(&progress);
        let fails = std::thread::spawn(move || {
            (0..round % 200).for_each(|_| std::hint::spin_loop());
            failing.fail(Fault::Latched("on purpose".into()));
        });
        assert!(runtime.block_on(progress.until_applied(5)).is_err());
        fails.join().unwrap();
    }
}

#[test]
fn a_lost_page_of_the_stage_is_refused_and_named() {
    use plaudit::engine::verify_stores;
    use plaudit::fold::keys::{self, Table};
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    for (table, what) in [(Table::Seasons, "season"), (Table::Slots, "slot"), (Table::Clips, "clip")] {
        let disk = FaultyDisk::new(1);
        runtime.block_on(async {
            let engine = over(disk.open("log"), disk.open("tables"));
            stage(&engine, 20).await;
            engine.vote(voter(1), "c19", VoteKind::Standard).await.unwrap();
            engine.close().unwrap();
        });
        assert!(disk.alter("tables", &keys::page(table, 0), |_| None));
        let genesis = plaudit::log::block::genesis([0; 16]);
        let found = verify_stores(disk.open("log").as_ref(), disk.open("tables"), genesis, true).unwrap();
        assert!(found.wrong > 0 && found.repaired == 0, "{what}: {:?}", found.problems);
        let settings = Settings { reconcile_every_s: 0, ..Settings::new("unused", key()) };
        let open =
            || Engine::over(settings, Arc::new(ManualClock::at(NOON)), disk.open("log"), disk.open("tables")).map(drop);
        let opened = catch_unwind(AssertUnwindSafe(open)).expect("a fault and no panic");
        let Err(Fault::Inconsistent { why }) = opened else { panic!("{what}: {opened:?}") };
        assert!(why.contains("a page of the tables is lost"), "{what}: {why}");
    }
}
