//! Disks that fail under a store, in a process of their own: what sled reports in its log reaches every open store, so
//! these tests run one at a time and away from all others.

#![allow(clippy::unwrap_used, reason = "a test's helpers are tests too; clippy exempts only the functions marked so")]

use std::fs::{self, OpenOptions};
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex, MutexGuard};

use plaudit::error::Fault;
use plaudit::store::{SledStore, Store};

static TURN: Mutex<()> = Mutex::new(());

fn my_turn() -> MutexGuard<'static, ()> {
    TURN.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// A closed store of 400 blocks of 60 KB, which fill several segments.
fn closed_store(dir: &Path) {
    let store = SledStore::open(dir, "log").unwrap();
    (0..400u32).for_each(|key| store.insert(&key.to_be_bytes(), &block(key)).unwrap());
    store.flush().unwrap();
}

fn block(key: u32) -> Vec<u8> {
    // No two alike, so that a block in the wrong place shows.
    (0..15_000).flat_map(|word: u32| (word ^ key).to_be_bytes()).collect()
}

#[test]
fn an_error_in_sleds_log_latches_every_open_store_and_no_later_one() {
    let _turn = my_turn();
    let dir = tempfile::tempdir().unwrap();
    let open = |name| SledStore::open(&dir.path().join(name), name).unwrap();
    let (log, tables) = (open("log"), open("tables"));
    log.insert(b"a", b"1").unwrap();
    log::warn!(target: "sled::pagecache", "only a warning");
    log::error!(target: "sledge", "another crate's");
    log.flush().unwrap();

    log::error!(target: "sled::flusher", "failed to fsync from periodic flush thread");
    for store in [&log, &tables] {
        for outcome in [store.flush(), store.insert(b"b", b""), store.remove(b"a")] {
            assert!(matches!(&outcome, Err(Fault::Latched(why)) if why.contains("failed to fsync")), "{outcome:?}");
        }
    }
    assert_eq!(*log.get(b"a").unwrap().unwrap(), *b"1", "reads go on");
    drop((log, tables));
    let log = open("log");
    log.insert(b"b", b"2").expect("a new start is a new chance");
    log.flush().unwrap();
}

/// Opens copies of a store whose main file is cut to each eighth of its length.
fn cut_stores(whole: &Path, mut check: impl FnMut(Result<Arc<SledStore>, Fault>)) {
    let length = fs::metadata(whole.join("db")).unwrap().len();
    for part in 0..8 {
        let dir = tempfile::tempdir().unwrap();
        for file in fs::read_dir(whole).unwrap().map(Result::unwrap) {
            if file.file_type().unwrap().is_file() {
                fs::copy(file.path(), dir.path().join(file.file_name())).unwrap();
            }
        }
        OpenOptions::new().write(true).open(dir.path().join("db")).unwrap().set_len(length * part / 8).unwrap();
        check(SledStore::open(dir.path(), "log"));
    }
}

#[test]
fn a_main_file_cut_below_its_snapshot_is_a_fault_and_no_panic() {
    let _turn = my_turn();
    let dir = tempfile::tempdir().unwrap();
    closed_store(dir.path());
    // The second start writes a snapshot, which a cut contradicts.
    drop(SledStore::open(dir.path(), "log").unwrap());
    let mut refused = 0;
    cut_stores(dir.path(), |opened| match opened {
        Err(fault) => {
            refused += 1;
            assert!(matches!(fault, Fault::Storage { doing: "opening", .. }), "{fault}");
            assert!(fault.to_string().contains("db is damaged"), "{fault}");
            assert!(fault.to_string().contains("restore a backup"), "{fault}");
        }
        // A short cut shows when it is read.
        Ok(store) => assert!((0..400).any(|key| store.get(&u32::to_be_bytes(key)).is_err())),
    });
    // How many depends on where sled's timer cut its segments. An empty file is refused in any case.
    assert!(refused >= 1, "none of the cuts was noticed at the start");
}

/// sled can't notice: the file may have been that short. So the marker and the log's own mark must.
#[test]
fn a_main_file_cut_before_any_snapshot_opens_as_a_prefix() {
    let _turn = my_turn();
    let dir = tempfile::tempdir().unwrap();
    closed_store(dir.path());
    let mut lengths = Vec::new();
    cut_stores(dir.path(), |opened| lengths.push(prefix(&*opened.unwrap())));
    // How much of it is there depends on where sled's timer cut its segments, which the machine's speed decides.
    assert!(lengths.is_sorted() && lengths[0] == 0 && lengths[7] < 400, "{lengths:?}");
}

/// How many blocks there are, each in its place and none behind a gap.
fn prefix(store: &dyn Store) -> u32 {
    let there = |key: u32| store.get(&key.to_be_bytes()).unwrap();
    let length = (0..400).find(|&key| there(key).is_none()).unwrap_or(400);
    (0..length).for_each(|key| assert_eq!(*there(key).unwrap(), *block(key), "block {key}"));
    assert!((length..400).all(|key| there(key).is_none()));
    length
}

#[test]
fn a_damaged_snapshot_is_named_and_can_be_moved_aside() {
    let _turn = my_turn();
    let dir = tempfile::tempdir().unwrap();
    closed_store(dir.path());
    // The second start writes the snapshot of what the first one left.
    drop(SledStore::open(dir.path(), "log").unwrap());
    let is_snapshot = |path: &Path| path.file_name().unwrap().to_string_lossy().starts_with("snap.");
    let files = fs::read_dir(dir.path()).unwrap().map(|file| file.unwrap().path());
    let snapshot = files.into_iter().find(|path| is_snapshot(path)).expect("sled wrote a snapshot");
    let mut bytes = fs::read(&snapshot).unwrap();
    bytes[0] ^= 0xff;
    fs::write(&snapshot, bytes).unwrap();

    let fault = SledStore::open(dir.path(), "log").unwrap_err().to_string();
    assert!(fault.contains("move `snap.*` aside"), "{fault}");
    fs::remove_file(snapshot).unwrap();
    let store = SledStore::open(dir.path(), "log").expect("what the message advises works");
    (0..400u32).for_each(|key| assert_eq!(*store.get(&key.to_be_bytes()).unwrap().unwrap(), *block(key)));
}

/// Where the limited process says how many blocks it flushed.
#[cfg(unix)]
const FLUSHED: &str = "flushed";

/// A file-size limit stands in for a full disk: writes fail in the same places, and no file system has to be made.
#[test]
#[cfg(unix)]
fn without_room_the_first_failure_latches_and_what_was_flushed_stays() {
    const DIR: &str = "PLAUDIT_TEST_LIMITED_DIR";
    if let Some(dir) = std::env::var_os(DIR) {
        return write_until_it_fails(Path::new(&dir));
    }
    let _turn = my_turn();
    let dir = tempfile::tempdir().unwrap();
    // 20 MiB in units of 512 bytes; the signal that comes with the limit must not end the process.
    let limited = Command::new("sh")
        .args(["-c", "trap '' XFSZ; ulimit -f 40960; exec \"$0\" \"$@\""])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "without_room_the_first_failure_latches_and_what_was_flushed_stays"])
        .env(DIR, dir.path())
        .output()
        .unwrap();
    assert!(limited.status.success(), "{limited:?}");
    let flushed: u32 = fs::read_to_string(dir.path().join(FLUSHED)).unwrap().parse().unwrap();
    assert!(flushed >= 100, "20 MiB hold more than {flushed} blocks of 60 KB");
    let store = SledStore::open(&dir.path().join("log"), "log").expect("with room again it opens");
    (0..flushed).for_each(|key| assert_eq!(*store.get(&key.to_be_bytes()).unwrap().unwrap(), *block(key)));
    store.insert(b"more", b"").unwrap();
    store.flush().unwrap();
}

#[cfg(unix)]
fn write_until_it_fails(dir: &Path) {
    let store = SledStore::open(&dir.join("log"), "log").unwrap();
    let write = |key: u32| store.insert(&key.to_be_bytes(), &block(key)).and_then(|()| store.flush());
    let (flushed, fault) = (0..2_000).find_map(|key| Some((key, write(key).err()?))).expect("2000 blocks don't fit");
    assert!(matches!(fault, Fault::Storage { .. } | Fault::Latched(_)), "{fault}");
    for outcome in [store.flush(), store.insert(b"x", b""), store.remove(b"x")] {
        assert!(matches!(outcome, Err(Fault::Latched(_))), "{outcome:?}");
    }
    assert_eq!(*store.get(&0u32.to_be_bytes()).unwrap().unwrap(), *block(0), "reads go on");
    fs::write(dir.join(FLUSHED), flushed.to_string()).unwrap();
}

#[test]
fn a_snapshot_that_a_kill_cut_short_is_removed_and_the_store_is_whole() {
    let _turn = my_turn();
    let dir = tempfile::tempdir().unwrap();
    closed_store(dir.path());
    for part in [&b""[..], b"part of it", &[0xa5; 400]] {
        // As sled names it before it is whole; it sorts behind every finished one.
        let unfinished = dir.path().join("snap.FFFFFFFFFFFFFFF0.generating");
        fs::write(&unfinished, part).unwrap();
        let store = SledStore::open(dir.path(), "log").expect("what was never in force stops nothing");
        (0..400u32).for_each(|key| assert_eq!(*store.get(&key.to_be_bytes()).unwrap().unwrap(), *block(key)));
        assert!(!unfinished.exists());
        // What its own start complained of latches nothing.
        store.insert(b"later", b"").unwrap();
        store.flush().unwrap();
    }
}
