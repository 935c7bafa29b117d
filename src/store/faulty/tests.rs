//! The twin keeps to its own fault model.

use super::*;

fn keys(store: &dyn Store) -> Vec<u8> {
    let mut keys = Vec::new();
    store
        .scan(&[0], &[255], &mut |key, _| {
            keys.push(key[0]);
            Ok(ControlFlow::Continue(()))
        })
        .unwrap();
    keys
}

fn write_ten(disk: &FaultyDisk) -> Arc<dyn Store> {
    let store = disk.open("log");
    (0..4).for_each(|key| store.insert(&[key], b"flushed").unwrap());
    store.flush().unwrap();
    (4..10).for_each(|key| store.insert(&[key], b"unflushed").unwrap());
    store
}

#[test]
fn a_crash_keeps_what_was_flushed_and_each_prefix_of_the_rest() {
    let mut lengths = std::collections::BTreeSet::new();
    for seed in 0..200 {
        let disk = FaultyDisk::new(0);
        let dead = write_ten(&disk);
        disk.crash(seed);
        let kept = keys(&*disk.open("log"));
        assert_eq!(kept, (0..u8::try_from(kept.len()).unwrap()).collect::<Vec<_>>());
        lengths.insert(kept.len());
        assert!(dead.insert(b"x", b"").is_err() && dead.get(&[0]).is_err() && dead.flush().is_err());
    }
    assert_eq!(lengths, (4..=10).collect());
}

#[test]
fn the_two_stores_of_a_disk_keep_prefixes_of_their_own() {
    let outcome = |seed| {
        let disk = FaultyDisk::new(0);
        let (log, tables) = (write_ten(&disk), disk.open("tables"));
        (0..6).for_each(|key| tables.insert(&[key], b"").unwrap());
        drop(log);
        disk.crash(seed);
        (keys(&*disk.open("log")).len(), keys(&*disk.open("tables")).len())
    };
    assert!((0..50).map(outcome).any(|(log, tables)| log == 4 && tables > 0));
    assert!((0..50).map(outcome).any(|(log, tables)| log > 4 && tables == 0));
    assert_eq!(outcome(7), outcome(7), "it follows from the seed");
}

#[test]
fn a_torn_write_is_the_last_one_kept_and_never_a_flushed_one() {
    let (mut cut, mut altered) = (false, false);
    for seed in 0..200 {
        let disk = FaultyDisk::new(0);
        drop(write_ten(&disk));
        disk.crash_tearing(seed, "log");
        let store = disk.open("log");
        let kept = keys(&*store);
        for &key in &kept {
            let value = store.get(&[key]).unwrap().unwrap();
            let whole: &[u8] = if key < 4 { b"flushed" } else { b"unflushed" };
            let torn = key >= 4 && key == kept[kept.len() - 1];
            assert_eq!(*value != *whole, torn, "seed {seed}, key {key}");
            cut |= value.len() < whole.len();
            altered |= torn && value.len() == whole.len();
        }
    }
    assert!(cut && altered);
}

#[test]
fn from_the_kth_operation_on_all_fail_until_the_repair() {
    let disk = FaultyDisk::new(0);
    let (log, tables) = (disk.open("log"), disk.open("tables"));
    disk.fail_at(3);
    log.insert(b"a", b"1").unwrap();
    tables.insert(b"a", b"1").unwrap();
    assert!(matches!(log.flush(), Err(Fault::Storage { tree: "log", .. })));
    assert!(tables.remove(b"a").is_err() && tables.insert(b"b", b"").is_err() && tables.flush().is_err());
    assert_eq!(*tables.get(b"a").unwrap().unwrap(), *b"1", "reads go on");
    assert_eq!((disk.ops(), disk.flushes()), (6, 0));
    disk.repair();
    log.flush().unwrap();
    assert_eq!((disk.ops(), disk.flushes()), (7, 1));
}

#[test]
fn what_a_failed_write_or_flush_left_is_unknown() {
    let outcome = |seed| {
        let disk = FaultyDisk::new(seed);
        let store = disk.open("log");
        (0..3).for_each(|key| store.insert(&[key], b"").unwrap());
        disk.fail_at(1);
        assert!(store.flush().is_err() && store.insert(&[3], b"").is_err());
        assert_eq!(keys(&*store), [0, 1, 2]);
        disk.crash(seed);
        keys(&*disk.open("log")).len()
    };
    let outcomes: std::collections::BTreeSet<_> = (0..200).map(outcome).collect();
    assert_eq!(outcomes, (0..=4).collect());
}

#[test]
fn a_full_disk_refuses_writes_and_keeps_what_it_has() {
    let disk = FaultyDisk::new(0);
    let store = write_ten(&disk);
    store.flush().unwrap();
    disk.set_full(true);
    let why = store.insert(&[11], b"").unwrap_err().to_string();
    assert!(why.contains("no space left"), "{why}");
    assert_eq!(keys(&*store).len(), 10);
    disk.set_full(false);
    store.insert(&[11], b"").unwrap();
    assert_eq!(keys(&*store).len(), 11);
}

/// Starts a flush, waits until it is held, and says how it ends after `release`.
fn held_flush(disk: &FaultyDisk, store: &dyn Store, release: impl Fn()) -> Result<(), Fault> {
    disk.hold_flushes(true);
    std::thread::scope(|scope| {
        let flush = scope.spawn(|| store.flush());
        while disk.held_flushes() == 0 {
            std::thread::yield_now();
        }
        assert_eq!(disk.flushes(), 0);
        release();
        flush.join().unwrap()
    })
}

#[test]
fn a_held_flush_goes_on_when_released_and_leaves_out_what_came_later() {
    let disk = FaultyDisk::new(0);
    let store = disk.open("log");
    store.insert(&[1], b"").unwrap();
    let release = || {
        store.insert(&[2], b"").unwrap();
        disk.hold_flushes(false);
    };
    held_flush(&disk, &*store, release).unwrap();
    let state = disk.state();
    let left = (&state.platters["log"].durable, &state.platters["log"].unflushed);
    assert_eq!((left.0.len(), left.1.len()), (1, 1), "{left:?}");
}

#[test]
fn a_held_flush_ends_with_the_crash_and_has_made_nothing_durable() {
    let disk = FaultyDisk::new(0);
    let store = disk.open("log");
    store.insert(b"a", b"").unwrap();
    assert!(matches!(held_flush(&disk, &*store, || disk.crash(0)), Err(Fault::Latched(_))));
    assert_eq!((disk.flushes(), disk.held_flushes()), (0, 0));
    disk.open("log").flush().unwrap();
    assert_eq!(disk.flushes(), 1);
}

#[test]
fn an_altered_entry_stays_altered_through_a_flush_and_a_crash() {
    let disk = FaultyDisk::new(0);
    let store = write_ten(&disk);
    assert!(disk.alter("log", &[9], |_| Some(b"other".to_vec())));
    assert!(disk.alter("log", &[0], |_| None));
    assert!(!disk.alter("log", &[77], |_| None) && !disk.alter("no", &[0], |_| None));
    store.flush().unwrap();
    disk.crash(0);
    let store = disk.open("log");
    assert_eq!(*store.get(&[9]).unwrap().unwrap(), *b"other");
    assert_eq!(store.get(&[0]).unwrap(), None);
}
