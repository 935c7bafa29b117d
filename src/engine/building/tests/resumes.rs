//! Exports and backups: whatever of them was taken when it was cut, what comes of it in the end is the same to the byte.

use super::super::*;
use super::origin::{KEY, Origin, SECRET, STORE, import, records_in, restore};
use crate::jobs::backup::FinishedBackup;

#[test]
fn an_import_cut_anywhere_is_what_an_uncut_one_is() {
    let scratch = tempfile::tempdir().unwrap();
    let mut origin = Origin::new();
    origin.grow();
    let manifest = origin.export(scratch.path());
    let (wanted, rows) = (origin.records(), manifest.tables[0].rows);
    // At every place that is noted, at some of them, and at none.
    for (name, every, step) in [("each", 1, 1), ("some", 900, 2), ("none", EVERY, rows - 1)] {
        let dir = scratch.path().join(name);
        let mut runs = 1;
        while !import(scratch.path(), &manifest, &dir, every, if runs < 40 { step } else { u64::MAX }) {
            runs += 1;
            assert!(Home::open_existing(&dir).is_err(), "no part of it is a store");
        }
        assert!(runs > 1, "{name}: {runs}");
        assert_eq!(records_in(&dir), wanted, "{name}");
        assert_eq!(std::fs::read(dir.join("secrets.toml")).unwrap(), SECRET);
    }
}

#[test]
fn what_was_taken_is_not_read_again() {
    let scratch = tempfile::tempdir().unwrap();
    let mut origin = Origin::new();
    origin.grow();
    let manifest = origin.export(scratch.path());
    let dir = scratch.path().join("store");
    assert!(!import(scratch.path(), &manifest, &dir, 1, 3));
    let mut building = Building::begin(&dir, Begun::of_export(&dir, &manifest).unwrap()).unwrap();
    assert_eq!((building.start(), building.place().taken), (Start::GoesOn, 3));
    let mut read = 0;
    building.take_export(scratch.path(), &manifest.tables[0], &mut |records| read += records).unwrap();
    assert_eq!(read, manifest.tables[0].rows - 3);
}

/// The file grows by two backups while a restore of it is cut again and again; each takes records out that the one before put in.
#[test]
fn a_restore_cut_anywhere_goes_on_in_a_file_that_has_grown() {
    for (every, step) in [(1, 1), (700, 3), (EVERY, 7)] {
        let scratch = tempfile::tempdir().unwrap();
        let (file, dir) = (scratch.path().join("backup"), scratch.path().join("store"));
        let mut origin = Origin::new();
        origin.back_up(&file);
        for _ in 0..2 {
            for _ in 0..3 {
                assert!(!restore(&file, &dir, every, step));
            }
            let before = Begun::read(&dir).unwrap();
            origin.grow();
            assert!(origin.back_up(&file) > 0, "something has gone");
            let backup = FinishedBackup::look(&file, &mut |_| {}).unwrap();
            assert_eq!(Begun::of_backup(&dir, &backup).unwrap(), before, "it is the same file still");
        }
        let mut runs = 0;
        while !restore(&file, &dir, every, if runs < 60 { step } else { u64::MAX }) {
            runs += 1;
        }
        assert_eq!(records_in(&dir), origin.records());
        let uncut = scratch.path().join("uncut");
        assert!(restore(&file, &uncut, EVERY, u64::MAX));
        assert_eq!(records_in(&uncut), origin.records());
    }
}

#[test]
fn another_export_and_another_backup_are_begun_anew() {
    let scratch = tempfile::tempdir().unwrap();
    let place = |name: &str| {
        let dir = scratch.path().join(name);
        std::fs::create_dir_all(&dir).unwrap();
        dir
    };
    let (early, late, dir) = (place("early"), place("late"), scratch.path().join("store"));
    let mut origin = Origin::new();
    origin.grow();
    let first = origin.export(&early);
    origin.back_up(&early.join("backup"));
    origin.grow();
    let second = origin.export(&late);
    // Of the same store, and with the same head; but nothing that the first has grown to.
    origin.back_up(&late.join("backup"));

    assert!(!import(&early, &first, &dir, 1, 5));
    assert_eq!(Begun::of_export(&dir, &second).unwrap().place.taken, 0);
    assert!(!import(&late, &second, &dir, 1, 2));
    assert_eq!(Begun::read(&dir).unwrap().place.taken, 2, "from its front");
    assert!(!restore(&early.join("backup"), &dir, 1, 9));
    assert!(!restore(&late.join("backup"), &dir, 1, 4));
    assert_eq!(Begun::read(&dir).unwrap().place.taken, 4);
    assert!(restore(&late.join("backup"), &dir, 1, u64::MAX));
    assert_eq!(records_in(&dir), origin.records());
    assert_eq!(Home::open_existing(&dir).unwrap().marker().voter_key, KEY);
    assert_eq!(Home::open_existing(&dir).unwrap().store_id(), STORE);
}

/// It was begun from a file that had two backups, and the second is gone: what was taken may be of it.
#[test]
fn a_file_that_is_shorter_than_it_was_is_begun_anew() {
    let scratch = tempfile::tempdir().unwrap();
    let (file, old, dir) = (scratch.path().join("b"), scratch.path().join("old"), scratch.path().join("store"));
    let mut origin = Origin::new();
    origin.back_up(&file);
    std::fs::copy(&file, &old).unwrap();
    let wanted = origin.records();
    origin.grow();
    origin.back_up(&file);
    assert!(!restore(&old, &dir, 1, 3));
    assert!(!restore(&file, &dir, 1, 3), "it has grown: that goes on");
    assert_eq!(Begun::read(&dir).unwrap().place.taken, 6);
    let backup = FinishedBackup::look(&old, &mut |_| {}).unwrap();
    assert_eq!(Begun::of_backup(&dir, &backup).unwrap().place.taken, 0);
    assert!(restore(&old, &dir, 1, u64::MAX));
    assert_eq!(records_in(&dir), wanted);
}
