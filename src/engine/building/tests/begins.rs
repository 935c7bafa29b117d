//! Who may begin where.

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};

use super::super::*;
use crate::codec::Kind;

fn plan(source: &str) -> Begun {
    Begun::new(source.into(), [1; 16], [2; 16])
}

fn record(value: u8) -> Vec<u8> {
    codec::record(Kind::Mark, b"k", &value)
}

fn begin_anew(dir: &Path) -> Building {
    let building = Building::begin(dir, plan("a")).unwrap();
    assert_eq!(building.start(), Start::Anew);
    assert!(building.home.tables().get(b"k").unwrap().is_none());
    building
}

#[test]
fn a_store_in_the_making_is_one_programs_and_another_source_is_begun_anew() {
    let scratch = tempfile::tempdir().unwrap();
    let dir = scratch.path().join("store");
    let mut first = Building::begin(&dir, plan("b")).unwrap();
    assert_eq!(first.start(), Start::Fresh);
    first.put("tables", b"k", &record(7)).unwrap();
    for plan in [plan("a"), plan("b")] {
        let why = Building::begin(&dir, plan).unwrap_err().to_string();
        assert!(why.contains("another restore"), "{why}");
    }
    assert!(first.home.tables().get(b"k").unwrap().is_some(), "it is left alone");
    drop(first);
    let again = Building::begin(&dir, plan("b")).unwrap();
    assert_eq!(again.start(), Start::GoesOn);
    assert!(again.home.tables().get(b"k").unwrap().is_some());
    drop(again);
    let again = begin_anew(&dir);
    again.home.note_clean(0).unwrap();
    drop(again);
    // Killed between its marker and the end of what may hold secrets: that goes with the next run, and nothing else does.
    assert!(dir.join("RESTORING").exists());
    for _ in 0..2 {
        let why = Building::begin(&dir, plan("a")).unwrap_err().to_string();
        assert!(why.contains("is a store already"), "a store is never made anew: {why}");
        assert!(!dir.join("RESTORING").exists());
        assert_eq!(Home::open_existing(&dir).unwrap().store_id(), [1; 16]);
    }
}

/// Another run got further between the reading of its note and the lock.
#[test]
fn a_note_that_is_further_than_when_it_was_read_is_gone_on_with() {
    let scratch = tempfile::tempdir().unwrap();
    let dir = scratch.path().join("store");
    let mut first = Building::begin(&dir, plan("a")).unwrap();
    first.put("tables", b"k", &record(7)).unwrap();
    let read = Begun::read(&dir).unwrap();
    first.note(|begun| begun.place.taken = 9).unwrap();
    drop(first);
    let again = Building::begin(&dir, read).unwrap();
    assert_eq!((again.start(), again.place().taken), (Start::GoesOn, 9));
    assert!(again.home.tables().get(b"k").unwrap().is_some());
}

/// A power loss may keep the second name of the very first note and not its first.
#[test]
fn half_of_a_first_note_is_no_content() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("RESTORING.new"), "half").unwrap();
    assert_eq!(Building::begin(dir.path(), plan("a")).unwrap().start(), Start::Fresh);
}

/// No recount could find these wrong: the store would have another's id, or secrets that its voters were not made with.
#[test]
fn a_changed_note_is_none() {
    let scratch = tempfile::tempdir().unwrap();
    let dir = scratch.path().join("store");
    let mut plan = plan("a");
    plan.secrets = Some("hush".into());
    drop(Building::begin(&dir, plan.clone()).unwrap());
    let whole: serde_json::Value = serde_json::from_slice(&fs::read(dir.join("RESTORING")).unwrap()).unwrap();
    for (field, changed) in [
        ("store", vec![9; 16].into()),
        ("voterKey", vec![9; 16].into()),
        ("secrets", "hash".into()),
        ("source", "b".into()),
        ("rejects", "/home/letter".into()),
        ("place", serde_json::json!({"taken": 3, "bytes": 9, "check": vec![0; 16]})),
    ] {
        let mut note = whole.clone();
        note[field] = changed;
        fs::write(dir.join("RESTORING"), note.to_string()).unwrap();
        assert_eq!(Begun::read(&dir), None, "{field}");
    }
    fs::write(dir.join("RESTORING"), whole.to_string()).unwrap();
    assert_eq!(Begun::read(&dir), Some(plan));
}

#[test]
fn what_is_not_ours_is_left_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("letter"), "dear").unwrap();
    assert!(Building::begin(dir.path(), plan("a")).unwrap_err().to_string().contains("not empty"));
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
}

/// An empty one is an older program's, or was cut in its first write.
#[test]
fn what_cannot_be_read_is_begun_anew() {
    let scratch = tempfile::tempdir().unwrap();
    let dir = scratch.path().join("store");
    let whole = {
        let mut first = Building::begin(&dir, plan("a")).unwrap();
        first.put("tables", b"k", &record(7)).unwrap();
        fs::read_to_string(dir.join("RESTORING")).unwrap()
    };
    let newer = whole.replace(r#""plauditRestoring":1"#, r#""plauditRestoring":2"#);
    assert_ne!(newer, whole);
    for text in ["", "{}", &whole[..whole.len() / 2], &newer] {
        fs::write(dir.join("RESTORING"), text).unwrap();
        assert_eq!(Begun::read(&dir), None, "{text}");
        let mut again = begin_anew(&dir);
        again.put("tables", b"k", &record(7)).unwrap();
    }
    // A crash while it is replaced leaves the one that counts, and half of another.
    fs::write(dir.join("RESTORING.new"), "half").unwrap();
    let mut again = Building::begin(&dir, plan("a")).unwrap();
    assert_eq!(again.start(), Start::GoesOn);
    again.note(|begun| begun.place.taken = 1).unwrap();
    assert!(!dir.join("RESTORING.new").exists());
    // Noted places alone don't make another of it.
    drop(again);
    assert_eq!(Building::begin(&dir, Begun::read(&dir).unwrap()).unwrap().start(), Start::GoesOn);
}

/// The file is replaced over and over, and between any two of its lives nobody else gets its lock.
#[test]
fn nobody_comes_in_while_it_is_noted_how_far_it_is() {
    let scratch = tempfile::tempdir().unwrap();
    let dir = scratch.path().join("store");
    let mut first = Building::begin(&dir, plan("a")).unwrap();
    first.put("tables", b"k", &record(7)).unwrap();
    let ended = AtomicBool::new(false);
    let tried = std::thread::scope(|scope| {
        let others = scope.spawn(|| {
            let mut tried = 0_u32;
            while !ended.load(Ordering::SeqCst) || tried == 0 {
                let why = Building::begin(&dir, plan("b")).unwrap_err().to_string();
                assert!(why.contains("another restore"), "{why}");
                tried += 1;
            }
            tried
        });
        for taken in 1..=100 {
            first.note(|begun| begun.place.taken = taken).unwrap();
        }
        ended.store(true, Ordering::SeqCst);
        others.join().unwrap()
    });
    assert!(tried > 0 && first.home.tables().get(b"k").unwrap().is_some());
    assert_eq!(Begun::read(&dir).unwrap().place.taken, 100);
}

#[cfg(unix)]
#[test]
fn it_may_hold_secrets_and_is_its_owners_alone() {
    use std::os::unix::fs::PermissionsExt;
    let scratch = tempfile::tempdir().unwrap();
    let dir = scratch.path().join("store");
    let mut plan = plan("a");
    plan.secrets = Some("hush".into());
    assert!(!format!("{plan:?}").contains("hush"));
    let mut building = Building::begin(&dir, plan).unwrap();
    let mode = || fs::metadata(dir.join("RESTORING")).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(), 0o600);
    building.note(|begun| begun.place.taken = 1).unwrap();
    assert_eq!(mode(), 0o600);
    assert_eq!(Begun::read(&dir).unwrap().secrets.as_deref(), Some("hush"));
}
