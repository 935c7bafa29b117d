//! `compact`: the same records in smaller files, and the old or the new ones, whole, wherever it is cut.
//!
//! A cut is a copy of the directory's files as they are between two steps: what a `kill -9` leaves in the page cache.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use std::collections::BTreeMap;
use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use plaudit::domain::{
    Clip, ClipDraft, ClipId, ClipNo, Event, Retraction, Season, SeasonId, SeasonNo, Slot, SlotNo, Vote, VoteKind,
    VoterId,
};
use plaudit::engine::{Compaction, Verified, verify};
use plaudit::log::{Appender, block};
use plaudit::store::{Home, Value};

const STORE: [u8; 16] = [3; 16];
const NOON: u64 = 1_700_000_000_000;
const VOTES: u32 = 6_000;
const CLIPS: u32 = 5;

fn vote(n: u32) -> Vote {
    let mut voter = VoterId([9; 16]);
    voter.0[..4].copy_from_slice(&n.wrapping_mul(0x9e37_79b9).to_be_bytes());
    Vote { voter, clip: ClipNo(n % CLIPS), slot: SlotNo(0), kind: VoteKind::Standard, weight: 1, day: 19_675 }
}

/// A store of votes, every tenth taken back, written a few at a time, so that blocks are written over and over.
fn make(dir: &Path) {
    let home = Home::prepare(dir, STORE, [1; 16]).unwrap();
    let season = Season { no: SeasonNo(0), id: SeasonId::new("s").unwrap(), name: "Season".into() };
    let mut events = vec![
        Event::SeasonCreated(season),
        Event::SlotCreated(Slot { no: SlotNo(0), season: SeasonNo(0), position: 1 }),
    ];
    events.extend((0..CLIPS).map(|no| {
        let draft = ClipDraft { title: "Clip".into(), ..ClipDraft::default() };
        Event::ClipAdded(Box::new(Clip { no: ClipNo(no), slot: SlotNo(0), id: id(no), draft }))
    }));
    events.push(Event::SlotOpened { slot: SlotNo(0), ends_at: None, hidden: false });
    for n in 0..VOTES {
        events.push(Event::Voted(vote(n)));
        if n % 10 == 0 {
            let Vote { voter, clip, slot, weight, day, .. } = vote(n);
            events.push(Event::Retracted(Retraction { voter, clip, slot, vote: events.len() as u64, weight, day }));
        }
    }
    let last = events.len() as u64;
    for (events, at) in events.chunks(60).zip((NOON..).step_by(50)) {
        let mut appender = Appender::open(home.log(), home.tables(), block::genesis(STORE)).unwrap();
        for event in events {
            appender.add(at, event.clone()).unwrap().unwrap();
        }
        appender.finish().unwrap();
    }
    // What came and went.
    for store in [home.log(), home.tables()] {
        for n in 0..500_u32 {
            store.insert(&[b"y", n.to_be_bytes().as_slice()].concat(), &vec![7; 32 * 1024]).unwrap();
        }
        store.flush().unwrap();
        for n in 0..500_u32 {
            store.remove(&[b"y", n.to_be_bytes().as_slice()].concat()).unwrap();
        }
        store.flush().unwrap();
    }
    home.note_clean(last).unwrap();
}

fn id(no: u32) -> ClipId {
    ClipId::new(&format!("clip-{no}")).unwrap()
}

/// The files as they are at one moment: sled's own threads may write while they are copied, and then it is done once more.
fn copy(from: &Path, to: &Path) {
    loop {
        let before = looks(from);
        fs::create_dir(to).unwrap();
        // A directory comes before what is in it.
        let came = before.iter().try_for_each(|(place, is_file)| match is_file {
            None => fs::create_dir(to.join(place)),
            Some(_) => fs::copy(from.join(place), to.join(place)).map(drop),
        });
        if looks(from) == before {
            return came.unwrap();
        }
        fs::remove_dir_all(to).unwrap();
    }
}

/// Everything under a directory, files with their length and when they were written, but for parts that sled writes under another
/// name.
fn looks(dir: &Path) -> BTreeMap<PathBuf, Option<(u64, SystemTime)>> {
    let mut all = BTreeMap::new();
    let mut left = vec![PathBuf::new()];
    while let Some(within) = left.pop() {
        // What is gone since it was listed shows in the next look.
        for entry in fs::read_dir(dir.join(&within)).into_iter().flatten().map(Result::unwrap) {
            let place = within.join(entry.file_name());
            let Ok(meta) = fs::metadata(dir.join(&place)) else { continue };
            if meta.is_dir() {
                all.insert(place.clone(), None);
                left.push(place);
            } else if place.extension().is_none_or(|end| end != "generating") {
                all.insert(place, Some((meta.len(), meta.modified().unwrap())));
            }
        }
    }
    all
}

/// Everything in it, log and tables.
fn records(dir: &Path) -> BTreeMap<(String, Vec<u8>), Vec<u8>> {
    let home = Home::open_existing(dir).unwrap();
    let mut all = BTreeMap::new();
    for store in [home.log(), home.tables()] {
        let each = &mut |key: &[u8], value: &Value| {
            all.insert((store.name().to_owned(), key.to_vec()), value.to_vec());
            Ok(ControlFlow::Continue(()))
        };
        store.scan(&[0], &[0xff; 9], each).unwrap();
    }
    all
}

fn check(dir: &Path, expected: &Verified) {
    let found = verify(dir, false).unwrap();
    assert_eq!(&found, expected);
    let left: Vec<_> = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    let mut left: Vec<_> = left.iter().map(|name| name.to_str().unwrap()).collect();
    left.sort_unstable();
    assert_eq!(left, ["BALLAST", "MARKER", "log", "tables"], "what was left over went with the start");
}

fn compact(dir: &Path) -> plaudit::engine::Compacted {
    let mut compaction = Compaction::begin(dir).unwrap();
    while compaction.step().unwrap() {}
    let (done, all) = compaction.progress();
    assert_eq!(Some(done), all);
    compaction.end()
}

#[test]
fn the_same_records_in_smaller_files() {
    let dir = tempfile::tempdir().unwrap();
    make(dir.path());
    let (expected, before) = (verify(dir.path(), false).unwrap(), records(dir.path()));
    assert_eq!((expected.wrong, expected.rows.len()), (0, CLIPS as usize));
    assert_eq!(expected.rows.iter().map(|row| row.votes).sum::<u64>(), u64::from(VOTES - VOTES / 10));
    let marker = fs::read(dir.path().join("MARKER")).unwrap();
    let came = compact(dir.path());
    assert_eq!(came.events, expected.last);
    assert_eq!(came.records, before.len() as u64);
    assert!(came.bytes_after * 2 < came.bytes_before, "{came:?}");
    check(dir.path(), &expected);
    assert!(records(dir.path()) == before, "chain, mark and all");
    assert_eq!(fs::read(dir.path().join("MARKER")).unwrap(), marker);

    // Again there is nothing to win: what is there stays.
    let again = compact(dir.path());
    assert_eq!(again.bytes_after, again.bytes_before);
    check(dir.path(), &expected);
}

#[test]
fn a_cut_at_any_step_leaves_a_whole_store() {
    let (dir, cuts) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    make(dir.path());
    let (expected, before) = (verify(dir.path(), false).unwrap(), records(dir.path()));
    let mut compaction = Compaction::in_steps(dir.path(), 3).unwrap();
    let (mut cut, mut replaced) = (0, 0);
    loop {
        let more = compaction.step().unwrap();
        let at = cuts.path().join(cut.to_string());
        copy(dir.path(), &at);
        check(&at, &expected);
        assert!(records(&at) == before, "cut {cut}");
        // A start or another compaction, and then it is as if nothing had been cut.
        if cut % 8 == 0 {
            compact(&at);
            check(&at, &expected);
        }
        fs::remove_dir_all(&at).unwrap();
        replaced += u32::from(!dir.path().join("log.new").exists() && dir.path().join("tables.new").exists());
        cut += 1;
        if !more {
            break;
        }
    }
    assert!(cut > 20 && replaced > 5, "{cut} cuts, {replaced} of them with the log's files new and the tables' not");
    drop(compaction);
    check(dir.path(), &expected);
}

#[test]
fn a_damaged_store_and_one_in_use_are_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    make(dir.path());
    let home = Home::open_existing(dir.path()).unwrap();
    assert!(Compaction::begin(dir.path()).is_err(), "in use");
    let (key, value) = home.tables().last_in(b"v", b"w").unwrap().unwrap();
    home.tables().insert(&key, &value[..value.len() - 1]).unwrap();
    home.tables().flush().unwrap();
    drop(home);
    let mut compaction = Compaction::begin(dir.path()).unwrap();
    let failed = loop {
        match compaction.step() {
            Ok(more) => assert!(more, "it can't end well"),
            Err(why) => break why,
        }
    };
    assert!(failed.to_string().contains("damaged record in tables"), "{failed}");
    assert!(!dir.path().join("log.new").exists() && !dir.path().join("tables.new").exists());
}
