//! Locks that are cut short: whatever write of the sort is the last, and however many pages had their places by then, the next life
//! comes to the same pages.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use plaudit::clock::ManualClock;
use plaudit::codec::{self, Kind};
use plaudit::domain::{SlotNo, SlotStatus};
use plaudit::engine::{self, Engine, Settings};
use plaudit::fold::keys::{self, Table};
use plaudit::fold::sorted::{self, BALLOTS, BALLOTS_A_PAGE, COUNTS, Counts, Hashes};
use plaudit::log::block;
use plaudit::merkle::{Certificate, Leaf};
use plaudit::store::FaultyDisk;

use crate::cases::each;
use crate::support::{NOON, key, stage};
use crate::through::{Hook, Through};
use crate::{certified, check, cleared, is_cleared, keys_of, over, until, verified, vote, vote_these};

/// Waits until the lock fails, or has come to its end.
async fn ended(engine: &Engine, disk: &FaultyDisk) {
    until("the failure, or the end of it all", || (engine.failure().is_some() || is_cleared(disk)).then_some(())).await;
}

#[tokio::test]
async fn a_crash_anywhere_in_the_rewrite_ends_in_the_same_certificate() {
    let disk = FaultyDisk::new(0);
    let engine = over(&disk);
    stage(&engine, 3).await;
    let leaves = vote(&engine, 120).await;
    engine.lock_slot("s", 1).await.unwrap();
    let certificate = certified(&engine).await;
    cleared(&disk).await;
    let whole = disk.ops();
    drop(engine);

    let mut cut = 0;
    for k in (1..whole).step_by(usize::try_from(whole / 48).unwrap().max(1)) {
        let disk = FaultyDisk::new(k);
        let engine = over(&disk);
        stage(&engine, 3).await;
        vote(&engine, 120).await;
        engine.drain().await.unwrap();
        // From here on: the freeze, the lock, the pages, the switch, the removal.
        disk.fail_at(1 + k % 40);
        let _ = engine.lock_slot("s", 1).await;
        ended(&engine, &disk).await;
        cut += u64::from(engine.failure().is_some());
        drop(engine);
        disk.crash(k);
        let engine = over(&disk);
        if engine.slot("s", 1).unwrap().status != plaudit::domain::SlotStatus::Locked {
            engine.lock_slot("s", 1).await.unwrap();
        }
        let again = certified(&engine).await;
        assert_eq!(
            (again.root, again.leaves, &again.clips),
            (certificate.root, certificate.leaves, &certificate.clips)
        );
        check(&again, &leaves);
        cleared(&disk).await;
        let generations = keys_of(disk.open("tables").as_ref(), SlotNo(0)).1;
        let mut generations: Vec<_> = generations.iter().map(|key| sorted::generation_of(key).unwrap()).collect();
        generations.dedup();
        assert_eq!(generations.len(), 1, "what was cut is gone");
        engine.close().unwrap();
        let found =
            engine::verify_stores(disk.open("log").as_ref(), disk.open("tables"), block::genesis([0; 16]), false)
                .unwrap();
        assert_eq!((found.problems, found.wrong), (Vec::new(), 0));
    }
    assert!(cut > 20, "{cut}");
}

/// More pages than have their places ahead when the first is written, which are 34. Votes that were taken back are among those that
/// are expected, so that some places are given up at the end.
const MANY: u64 = 10_400;

/// A store whose slot has many votes and still takes some; and the leaves of those that stand.
async fn crowded() -> (FaultyDisk, Vec<Leaf>) {
    let disk = FaultyDisk::new(0);
    let engine = over(&disk);
    stage(&engine, 3).await;
    let voting: Vec<_> = (0..MANY)
        .step_by(100)
        .map(|first| {
            let engine = engine.clone();
            tokio::spawn(async move { vote_these(&engine, first..first + 100).await })
        })
        .collect();
    let mut leaves = Vec::new();
    for some in voting {
        leaves.extend(some.await.unwrap());
    }
    leaves.sort_by_key(|leaf| (leaf.c, leaf.sequence));
    engine.close().unwrap();
    (disk, leaves)
}

/// A disk with the same on it, all of it flushed.
fn copy(disk: &FaultyDisk, seed: u64) -> FaultyDisk {
    let copy = FaultyDisk::new(seed);
    for name in ["log", "tables"] {
        let (from, to) = (disk.open(name), copy.open(name));
        let put = &mut |key: &[u8], value: &plaudit::store::Value| {
            to.insert(key, value)?;
            Ok(ControlFlow::Continue(()))
        };
        from.scan(&[0], &[0xff; 32], put).unwrap();
        to.flush().unwrap();
    }
    copy
}

/// What a cut sort has put there: pages of ballots that are full, those that are places, and generations of both.
fn cut_off(disk: &FaultyDisk) -> (usize, usize, usize) {
    let tables = disk.open("tables");
    let pages: Vec<_> = keys_of(tables.as_ref(), SlotNo(0)).1.into_iter().filter(|key| key[9] == BALLOTS).collect();
    let generations: BTreeSet<_> = pages.iter().map(|key| sorted::generation_of(key).unwrap()).collect();
    let empty = |key: &Vec<u8>| sorted::read(key, &tables.get(key).unwrap().unwrap()).unwrap().is_empty();
    let (empty, full): (Vec<_>, Vec<_>) = pages.into_iter().partition(empty);
    (full.len(), empty.len(), generations.len())
}

/// The slot's pages, of one generation, each as it would be in the first.
fn pages(disk: &FaultyDisk) -> Vec<([u8; 14], Vec<u8>)> {
    let tables = disk.open("tables");
    let all = keys_of(tables.as_ref(), SlotNo(0)).1;
    let mut generations: Vec<_> = all.iter().map(|key| sorted::generation_of(key).unwrap()).collect();
    generations.dedup();
    assert_eq!(generations.len(), 1, "what was cut is gone");
    let page = |key: &Vec<u8>| {
        let record = tables.get(key).unwrap().unwrap();
        let (part, number) = (key[9], u32::from_be_bytes(key[10..].try_into().unwrap()));
        let first = keys::sorted(SlotNo(0), 0, part, number);
        let anew = match part {
            BALLOTS => sorted::page(&first, &sorted::read(key, &record).unwrap()),
            COUNTS => {
                let counts: Counts = codec::read("tables", Kind::Sorted, key, &record).unwrap();
                codec::record(Kind::Sorted, &first, &counts)
            }
            _ => {
                let hashes: Hashes = codec::read("tables", Kind::Sorted, key, &record).unwrap();
                codec::record(Kind::Sorted, &first, &hashes)
            }
        };
        (first, anew)
    };
    all.iter().map(page).collect()
}

/// Notes which write the first of the sort is, and which is the one that names its pages.
#[derive(Debug)]
struct Noted {
    disk: FaultyDisk,
    /// The slot's pages, then its closing behind them.
    writes: Mutex<Vec<u64>>,
}

impl Hook for Noted {
    fn insert(&self, key: &[u8], _value: &[u8]) {
        let mut writes = self.writes.lock().unwrap();
        let (first, end) = keys::sorted_from(SlotNo(0), 0);
        let begins = writes.is_empty() && (first.as_slice()..end.as_slice()).contains(&key);
        if begins || (writes.len() == 1 && key == keys::page(Table::Closings, 0)) {
            writes.push(self.disk.ops() + 1);
        }
    }
}

/// What a lock that nothing disturbs comes to, and which of its writes is the first of the sort, the switch, and the last.
async fn uncut(disk: &FaultyDisk) -> (Certificate, [u64; 3]) {
    let settings = Settings { reconcile_every_s: 0, ..Settings::new("unused", key()) };
    let tables = Through::over(disk.open("tables"), Noted { disk: disk.clone(), writes: Mutex::default() });
    let through = Arc::<Through<Noted>>::clone(&tables);
    let engine = Engine::over(settings, Arc::new(ManualClock::at(NOON)), disk.open("log"), through).unwrap();
    engine.drain().await.unwrap();
    let before = disk.ops();
    engine.lock_slot("s", 1).await.unwrap();
    let certificate = certified(&engine).await;
    cleared(disk).await;
    let writes = tables.hook.writes.lock().unwrap().clone();
    let at = [writes[0] - before, writes[1] - before, disk.ops() - before];
    engine.close().unwrap();
    (certificate, at)
}

#[test]
fn a_crash_among_the_places_ahead_leaves_none_of_them() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (prepared, leaves) = runtime.block_on(crowded());
    let disk = copy(&prepared, 0);
    let (certificate, [first, switch, last]) = runtime.block_on(uncut(&disk));
    check(&certificate, &leaves);
    let wanted = pages(&disk);
    let ballots = leaves.len().div_ceil(BALLOTS_A_PAGE);
    assert!(ballots > 40, "{ballots} pages");
    assert_eq!(cut_off(&disk), (ballots, 0, 1));
    assert_eq!(verified(&disk), "");

    // A spread of the sort's writes, all of its last ones, and some of what comes behind it.
    let behind = switch + 3..=last;
    let cuts = (first..switch).step_by(9).chain(switch - 8..switch + 3).chain(behind.step_by(5));
    let [among, left, twice, kept] = [(); 4].map(|()| AtomicU64::new(0));
    let count = |of: &AtomicU64, so: bool| of.fetch_add(u64::from(so), Ordering::Relaxed);
    each("k", cuts, async |k| {
        let disk = copy(&prepared, k);
        // Some die in the next life's sort as well, among the pages of two generations.
        for fails_at in [Some(k), Some(last - k).filter(|_| k % 4 == 0)].into_iter().flatten() {
            let engine = over(&disk);
            engine.drain().await.unwrap();
            disk.fail_at(fails_at);
            let _ = engine.lock_slot("s", 1).await;
            ended(&engine, &disk).await;
            drop(engine);
            let (full, empty, _) = cut_off(&disk);
            count(&among, full > 0 && empty > 0);
            disk.crash(k);
            let (full, empty, generations) = cut_off(&disk);
            count(&left, full > 0 && empty > 0);
            count(&twice, generations > 1);
        }
        let engine = over(&disk);
        // A freeze that the crash took leaves the ballots alone to hold on to.
        let same_freeze = engine.slot("s", 1).unwrap().status >= SlotStatus::Frozen;
        if engine.slot("s", 1).unwrap().status != SlotStatus::Locked {
            engine.lock_slot("s", 1).await.unwrap();
        }
        let again = certified(&engine).await;
        check(&again, &leaves);
        count(&kept, same_freeze);
        if same_freeze {
            assert_eq!(again, certificate, "k = {k}");
        }
        let of = |certificate: &Certificate| (certificate.root, certificate.leaves, certificate.clips.clone());
        assert_eq!(of(&again), of(&certificate), "k = {k}");
        cleared(&disk).await;
        engine.close().unwrap();
        drop(engine);
        assert!(pages(&disk) == wanted, "k = {k}: other pages");
        assert_eq!(verified(&disk), "", "k = {k}");
    });
    let seen = [among, left, twice, kept].map(AtomicU64::into_inner);
    let [among, left, twice, kept] = seen;
    assert!(among >= 10 && left >= 5 && twice >= 1 && kept >= 10, "too rare to prove anything: {seen:?}");
}
