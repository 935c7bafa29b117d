//! What every store must do, held against the disk and against its twin in memory; and that a flush really syncs.

#![allow(clippy::unwrap_used, reason = "a test's helpers are tests too; clippy exempts only the functions marked so")]

mod store_checks;

use std::fs;
use std::ops::ControlFlow;
use std::path::Path;
use std::process::Command;

use plaudit::error::Fault;
use plaudit::store::{FaultyDisk, MemoryStore, SledStore, Store, VALUE_MAX, make_flushes_real};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use store_checks::{Op, check_against_map, entries, ops};

/// The whole contract, told by one store.
fn conforms(store: &dyn Store) {
    assert_eq!(store.name(), "log");
    assert_eq!(store.last_in(&[], &[0xff; 8]).unwrap(), None);
    assert_eq!(store.get(b"b").unwrap(), None);
    store.remove(b"b").unwrap();
    for (key, value) in [("c", "3"), ("a", "1"), ("b", "2"), ("bb", ""), ("b", "two")] {
        store.insert(key.as_bytes(), value.as_bytes()).unwrap();
    }
    assert_eq!(*store.get(b"b").unwrap().unwrap(), *b"two");
    assert_eq!(*store.get(b"bb").unwrap().unwrap(), *b"");
    let keys = |from: &[u8], to: &[u8]| entries(store, from, to).into_iter().map(|entry| entry.0).collect::<Vec<_>>();
    assert_eq!(keys(b"a", b"z"), [&b"a"[..], b"b", b"bb", b"c"]);
    assert_eq!(keys(b"b", b"c"), [&b"b"[..], b"bb"], "from is in it, to is not");
    assert_eq!(keys(b"b", b"b"), [b""; 0]);
    assert_eq!(keys(b"z", b"a"), [b""; 0]);
    assert_eq!(store.last_in(&[], &[0xff; 8]).unwrap().unwrap().0, b"c");

    let mut visits = 0;
    let mut stop = |_: &[u8], _: &_| {
        visits += 1;
        Ok(if visits == 2 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    };
    store.scan(b"a", b"z", &mut stop).unwrap();
    assert_eq!(visits, 2);
    let fail = store.scan(b"a", b"z", &mut |_, _| Err(Fault::Setting("mine".into())));
    assert!(matches!(fail, Err(Fault::Setting(_))), "the visitor's own fault comes through");
    let mut reenter = |key: &[u8], _: &_| store.remove(key).map(|()| ControlFlow::Continue(()));
    store.scan(b"bb", b"z", &mut reenter).unwrap();
    assert_eq!(keys(b"a", b"z"), [b"a", b"b"], "a visitor may write");

    store.insert(b"big", &vec![7; VALUE_MAX]).unwrap();
    let over = store.insert(b"bigger", &vec![7; VALUE_MAX + 1]);
    assert!(matches!(over, Err(Fault::Storage { tree: "log", .. })), "{over:?}");
    assert_eq!(store.get(b"bigger").unwrap(), None);
    store.insert(b"after", b"").expect("a value refused for its size is no failure of the disk");
    store.flush().unwrap();
    store.flush().expect("with nothing to do");
    assert_eq!(store.get(b"big").unwrap().unwrap().len(), VALUE_MAX);
    assert!(store.disk_bytes() >= VALUE_MAX as u64);
}

#[test]
fn the_disk_conforms() {
    let dir = tempfile::tempdir().unwrap();
    conforms(&*SledStore::open(&dir.path().join("log"), "log").unwrap());
}

#[test]
fn the_twin_conforms() {
    conforms(&*FaultyDisk::new(1).open("log"));
}

#[test]
fn the_store_in_memory_conforms() {
    conforms(&*MemoryStore::new("log", 1 << 20));
}

#[test]
fn the_store_in_memory_does_step_by_step_what_the_disk_does() {
    let config = ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() };
    let run = |ops: Vec<Op>| {
        let dir = tempfile::tempdir().unwrap();
        let (disk, memory) = (SledStore::open(dir.path(), "log").unwrap(), MemoryStore::new("log", 1 << 30));
        for op in &ops {
            for store in [&*disk as &dyn Store, &*memory] {
                match op {
                    Op::Insert(key, value) => store.insert(key, value).unwrap(),
                    Op::Remove(key) => store.remove(key).unwrap(),
                    Op::Scan(..) => {}
                    Op::Flush => store.flush().unwrap(),
                }
            }
            if let Op::Scan(from, to) = op {
                prop_assert_eq!(entries(&*disk, from, to), entries(&*memory, from, to));
                prop_assert_eq!(disk.last_in(from, to).unwrap(), memory.last_in(from, to).unwrap());
                prop_assert_eq!(disk.get(from).unwrap(), memory.get(from).unwrap());
            }
        }
        prop_assert_eq!(entries(&*disk, &[], &[255; 9]), entries(&*memory, &[], &[255; 9]));
        Ok(())
    };
    TestRunner::new(config).run(&ops(), run).unwrap();
}

#[test]
fn the_store_in_memory_scans_more_than_it_copies_at_once_and_has_a_bound() {
    let store = MemoryStore::new("log", 1 << 20);
    for number in 0..1_000u32 {
        store.insert(&number.to_be_bytes(), b"x").unwrap();
    }
    let held = store.disk_bytes();
    assert_eq!(entries(&*store, &[], &[255; 9]).len(), 1_000);
    let mut seen = 0;
    let mut remove = |key: &[u8], _: &_| {
        seen += 1;
        store.remove(key).map(|()| ControlFlow::Continue(()))
    };
    store.scan(&[], &[255; 9], &mut remove).unwrap();
    assert_eq!((seen, store.disk_bytes()), (1_000, 0), "a visitor may remove what it visits: {held}");
    let value = vec![1; 60_000];
    let fits = (0..=255u8).take_while(|key| store.insert(&[*key], &value).is_ok()).count();
    assert_eq!(fits, (1 << 20) / (60_000 + 1 + 96));
    store.insert(&[0], b"smaller").unwrap();
    store.insert(&[255], &value[..50_000]).expect("what was given back can be used");
}

#[test]
fn the_disk_is_an_ordered_map_and_still_is_after_a_reopen() {
    let config = ProptestConfig { cases: 12, failure_persistence: None, ..ProptestConfig::default() };
    let run = |ops: Vec<Op>| {
        let dir = tempfile::tempdir().unwrap();
        let store = SledStore::open(dir.path(), "log").unwrap();
        let map = check_against_map(&*store, &ops);
        store.flush().unwrap();
        drop(store);
        let store = SledStore::open(dir.path(), "log").unwrap();
        prop_assert_eq!(entries(&*store, &[], &[255; 9]), map.into_iter().collect::<Vec<_>>());
        Ok(())
    };
    TestRunner::new(config).run(&ops(), run).unwrap();
}

#[test]
fn the_twin_is_an_ordered_map_and_still_is_after_a_crash() {
    let config = ProptestConfig { failure_persistence: None, ..ProptestConfig::default() };
    let run = |(ops, seed): (Vec<Op>, u64)| {
        let disk = FaultyDisk::new(seed);
        let store = disk.open("log");
        let map = check_against_map(&*store, &ops);
        store.flush().unwrap();
        disk.crash(seed);
        prop_assert_eq!(entries(&*disk.open("log"), &[], &[255; 9]), map.into_iter().collect::<Vec<_>>());
        Ok(())
    };
    TestRunner::new(config).run(&(ops(), any::<u64>()), run).unwrap();
}

#[test]
fn a_second_open_is_refused_and_the_first_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let first = SledStore::open(dir.path(), "log").unwrap();
    let second = SledStore::open(dir.path(), "log");
    assert!(matches!(&second, Err(Fault::InUse(path)) if path == dir.path()), "{second:?}");
    first.insert(b"a", b"1").unwrap();
    first.flush().unwrap();
    drop(first);
    let again = SledStore::open(dir.path(), "log").expect("free again");
    assert_eq!(*again.get(b"a").unwrap().unwrap(), *b"1");
}

#[test]
fn a_path_that_is_a_file_is_a_fault() {
    let file = tempfile::NamedTempFile::new().unwrap();
    assert!(matches!(SledStore::open(file.path(), "log"), Err(Fault::Io { .. })));
}

const FLUSHES: usize = 8;

/// Counts the system calls of a process of our own that flushes [`FLUSHES`] times: each of sled's attempts at
/// `sync_file_range` must be refused and followed by an `fsync`, and each flush must end in our `fdatasync`.
#[test]
#[cfg(target_os = "linux")]
fn each_flush_syncs_for_real() {
    const DIR: &str = "PLAUDIT_TEST_TRACED_DIR";
    if let Some(dir) = std::env::var_os(DIR) {
        make_flushes_real().unwrap();
        let store = SledStore::open(Path::new(&dir), "log").unwrap();
        for flush in 0..FLUSHES {
            store.insert(&flush.to_be_bytes(), &vec![1; 60_000]).unwrap();
            store.flush().unwrap();
        }
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let trace = dir.path().join("trace");
    let traced = Command::new("strace")
        .args(["-f", "-e", "trace=fsync,fdatasync,sync_file_range", "-o"])
        .arg(&trace)
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "each_flush_syncs_for_real"])
        .env(DIR, dir.path().join("log"))
        .output()
        .expect("this test needs strace: apt-get install strace");
    assert!(traced.status.success(), "{traced:?}");
    let trace = fs::read_to_string(trace).unwrap();
    let count = |what: &str| trace.lines().filter(|line| line.contains(what)).count();
    let attempts = count("sync_file_range(");
    assert!(attempts >= FLUSHES, "sled is no longer known to flush by sync_file_range: {trace}");
    assert_eq!(count("ENOSYS"), attempts, "{trace}");
    assert!(count("fsync(") >= attempts, "{trace}");
    assert!(count("fdatasync(") > FLUSHES, "one at the start, one a flush: {trace}");
    let failed = trace.lines().filter(|line| line.contains("sync(") && line.contains("= -1"));
    assert_eq!(failed.count(), 0, "{trace}");
}
