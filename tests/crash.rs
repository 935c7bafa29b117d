//! The engine over a disk that fails, tears or dies at its k-th write, for every k of a run.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a test fails by panicking and prints what it saw"
)]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use plaudit::clock::ManualClock;
use plaudit::domain::{ClipDraft, ClipId, SeasonId, SlotStatus, VoteKind};
use plaudit::engine::{Engine, Settings, verify_stores};
use plaudit::error::{Fault, Reject};
use plaudit::fold::keys;
use plaudit::log::block::genesis;
use plaudit::store::FaultyDisk;
use support::{NOON, flipped, key, voter};

const VOTES: u64 = 12;

/// Cases at once: a case mostly waits for the applier's pauses.
const SIDE_BY_SIDE: usize = 16;

/// Runs every case, several at a time, each with a runtime of its own.
fn each<T: Send>(cases: impl IntoIterator<Item = u64>, case: impl AsyncFn(u64) -> T + Sync) -> Vec<T> {
    let cases: Vec<u64> = cases.into_iter().collect();
    let next = AtomicUsize::new(0);
    let work = || {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let turns = std::iter::from_fn(|| cases.get(next.fetch_add(1, Ordering::Relaxed)));
        turns.map(|of| runtime.block_on(case(*of))).collect::<Vec<T>>()
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..SIDE_BY_SIDE).map(|_| scope.spawn(work)).collect();
        workers.into_iter().flat_map(|worker| worker.join().unwrap()).collect()
    })
}

fn open(disk: &FaultyDisk) -> Result<Engine, Fault> {
    let settings = Settings { reconcile_every_s: 0, ..Settings::new("unused", key()) };
    Engine::over(settings, Arc::new(ManualClock::at(NOON)), disk.open("log"), disk.open("tables"))
}

/// Stage and votes, two at a time, each pair drained into the tables; gives the votes that were acknowledged, and whether
/// the run came to its end.
async fn run(disk: &FaultyDisk) -> (Vec<u64>, bool) {
    let mut acknowledged = Vec::new();
    let Ok(engine) = open(disk) else { return (acknowledged, false) };
    if stage(&engine).await.is_err() {
        assert!(engine.failure().is_some());
        return (acknowledged, false);
    }
    for pair in 0..VOTES / 2 {
        let both = [pair * 2, pair * 2 + 1].map(|who| {
            let engine = engine.clone();
            (
                who,
                tokio::spawn(
                    async move { engine.vote(voter(who), &format!("c{}", who % 2), VoteKind::Standard).await },
                ),
            )
        });
        for (who, vote) in both {
            match vote.await.unwrap() {
                Ok(_) => acknowledged.push(who),
                Err(Reject::AlreadyVoted(_)) => {}
                Err(refused) => assert_eq!(refused, Reject::StorageFailed),
            }
        }
        if engine.drain().await.is_err() {
            assert!(engine.failure().is_some());
            return (acknowledged, false);
        }
    }
    (acknowledged, engine.close().is_ok())
}

/// As far as an earlier life has not come.
async fn stage(engine: &Engine) -> Result<(), Reject> {
    if engine.is_empty() {
        engine.create_season(Some(SeasonId::new("s")?), "Season".into()).await?;
    }
    if engine.slot("s", 1).is_err() {
        engine.create_slot("s", None).await?;
    }
    for id in ["c0", "c1"] {
        if engine.counts(id).is_err() {
            let draft = ClipDraft { title: id.into(), ..ClipDraft::default() };
            engine.add_clip("s", 1, Some(ClipId::new(id)?), draft).await?;
        }
    }
    if engine.slot("s", 1)?.status != SlotStatus::Voting {
        engine.open_slot("s", 1, None, false).await?;
    }
    Ok(())
}

fn check(disk: &FaultyDisk, acknowledged: &[u64], case: &str) {
    let found = verify_stores(disk.open("log").as_ref(), disk.open("tables"), genesis([0; 16]), false).unwrap();
    assert_eq!(found.problems, Vec::<String>::new(), "{case}");
    let engine = open(disk).unwrap();
    for who in acknowledged {
        assert_eq!(engine.voted(voter(*who), &["c0", "c1"]).len(), 1, "{case}: vote {who} was acknowledged");
    }
    let counted: u64 = ["c0", "c1"].iter().filter_map(|clip| engine.counts(clip).ok().flatten()).map(|c| c.votes).sum();
    let stand = (0..VOTES).filter(|who| !engine.voted(voter(*who), &["c0", "c1"]).is_empty()).count();
    assert_eq!(counted, stand as u64, "{case}: counts and ballots agree");
}

#[test]
fn a_disk_that_fails_at_the_kth_write_loses_nothing_acknowledged() {
    let operations = each([0], async |seed| {
        let whole = FaultyDisk::new(seed);
        let (all, ended) = run(&whole).await;
        assert!(ended && all.len() == usize::try_from(VOTES).unwrap());
        whole.ops()
    })[0];
    let ends = each(1..=operations, async |k| {
        let disk = FaultyDisk::new(k);
        disk.fail_at(k);
        let (acknowledged, ended) = run(&disk).await;
        // Batches and the applier's steps fall differently each time, so the last few may lie past a run's end.
        assert_eq!(
            ended,
            disk.ops() < k,
            "k = {k} of {operations}: a run ends well where it meets no failure, and there alone"
        );
        disk.crash(k);
        check(&disk, &acknowledged, &format!("k = {k} of {operations}"));
        ended
    });
    let cut_short = ends.iter().filter(|ended| !**ended).count() as u64;
    println!("{operations} operations, {cut_short} runs cut short");
    // A pair's votes may share a batch and a step, or have one each.
    assert!(cut_short * 3 >= operations, "{cut_short} of {operations} runs met their failure");
}

#[test]
fn a_run_goes_on_after_each_of_its_crashes() {
    each((1..60).step_by(3), async |k| {
        let disk = FaultyDisk::new(k);
        let mut acknowledged: Vec<u64> = Vec::new();
        for life in 0..50 {
            disk.fail_at(k + life);
            let (more, ended) = run(&disk).await;
            acknowledged.extend(more);
            disk.crash(k * 100 + life);
            check(&disk, &acknowledged, &format!("k = {k}, life {life}"));
            if ended {
                break;
            }
            assert!(life < 49, "k = {k}: each life gets further than the one before");
        }
    });
}

#[test]
fn a_torn_record_stops_the_start_by_name_and_changes_nothing_or_was_never_acknowledged() {
    let opened = each(0..360, async |seed| {
        let disk = FaultyDisk::new(seed);
        disk.fail_at(20 + seed % 30);
        let (acknowledged, _) = run(&disk).await;
        disk.crash_tearing(seed, "log");
        let before = disk.ops();
        match open(&disk) {
            Ok(engine) => {
                drop(engine);
                check(&disk, &acknowledged, &format!("seed {seed}"));
                true
            }
            Err(Fault::Damaged { tree, .. }) => {
                assert_eq!((tree, disk.ops()), ("log", before), "seed {seed}: nothing was written");
                false
            }
            Err(other) => panic!("seed {seed}: {other}"),
        }
    });
    let refused = opened.iter().filter(|opened| !**opened).count();
    println!("{refused} starts refused by name, {} opened", opened.len() - refused);
    assert!(refused > 0 && refused < opened.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_altered_record_is_noticed_and_named() {
    let disk = FaultyDisk::new(1);
    let (_, ended) = run(&disk).await;
    assert!(ended);
    let mut records: Vec<(&'static str, Vec<u8>)> = Vec::new();
    for name in ["log", "tables"] {
        let visit = &mut |key: &[u8], _: &plaudit::store::Value| {
            records.push((name, key.to_vec()));
            Ok(std::ops::ControlFlow::Continue(()))
        };
        disk.open(name).scan(&[0], &[0xff; 9], visit).unwrap();
    }
    assert!(records.len() >= 7, "mark, season, slot, clips, totals, ballots and the log's last block: {records:?}");
    for (name, key) in records {
        for at in [0, 5, 30, usize::MAX] {
            let flip = |value: &[u8]| Some(flipped(value, at));
            assert!(disk.alter(name, &key, flip));
            let before = disk.ops();
            if key[0] == keys::timeline(0, 0)[0] && name == "tables" {
                // No start reads the past's minutes: whoever asks for them is told, and so is `verify`.
                let found = verify_stores(&*disk.open("log"), disk.open("tables"), genesis([0; 16]), false);
                assert!(matches!(found, Err(Fault::Damaged { tree: "tables", .. })), "{found:?}");
                assert_eq!(disk.ops(), before, "nothing was written");
                assert!(disk.alter(name, &key, flip));
                continue;
            }
            let failure = open(&disk).expect_err("a damaged record stops the start");
            let named = matches!(&failure, Fault::Damaged { tree, .. } if *tree == name);
            assert!(named, "{failure}");
            assert_eq!(disk.ops(), before, "nothing was written");
            assert!(disk.alter(name, &key, flip));
        }
    }
    open(&disk).expect("every alteration was taken back");
}
