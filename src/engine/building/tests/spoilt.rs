//! What was changed by others between two runs: it is found, nothing is made of it, and the next run begins anew.

use std::fs;

use super::super::begun::text_of;
use super::super::*;
use super::origin::{KEY, Origin, SECRET, STORE, import, records_in, restore};
use crate::jobs::backup::FinishedBackup;
use crate::jobs::export::Manifest;

/// An import that was cut in the middle, every record noted.
struct Half {
    scratch: tempfile::TempDir,
    origin: Origin,
    manifest: Manifest,
    dir: PathBuf,
}

impl Half {
    fn new() -> Self {
        let scratch = tempfile::tempdir().unwrap();
        let mut origin = Origin::new();
        origin.grow();
        let manifest = origin.export(scratch.path());
        let dir = scratch.path().join("store");
        assert!(!import(scratch.path(), &manifest, &dir, 1, manifest.tables[0].rows / 2));
        Self { scratch, origin, manifest, dir }
    }

    fn begin(&self, start: Start) -> Building {
        let building = Building::begin(&self.dir, Begun::of_export(&self.dir, &self.manifest).unwrap()).unwrap();
        assert_eq!(building.start(), start);
        building
    }

    fn end(&self, mut building: Building) -> Result<Verified, Fault> {
        let records = &self.manifest.tables[0];
        building.take_export(self.scratch.path(), records, &mut |_| {})?;
        building.finish(self.manifest.sequence, Some(records.rows), SECRET)
    }

    /// It goes on, fails, is no store, and begins anew with the next run.
    fn is_found(&self) {
        let failed = self.end(self.begin(Start::GoesOn)).unwrap_err();
        assert!(matches!(failed, Fault::Inconsistent { .. } | Fault::Damaged { .. } | Fault::Setting(_)), "{failed}");
        assert!(Home::open_existing(&self.dir).is_err());
        self.end(self.begin(Start::Anew)).unwrap();
        assert_eq!(records_in(&self.dir), self.origin.records());
    }

    fn change_place(&self, change: impl FnOnce(&mut Place)) {
        let mut begun = Begun::read(&self.dir).unwrap();
        change(&mut begun.place);
        fs::write(self.dir.join("RESTORING"), text_of(&begun)).unwrap();
    }
}

#[test]
fn a_place_with_records_missing_in_front_of_it_is_found() {
    let half = Half::new();
    // One line further than it was.
    let text = fs::read(half.scratch.path().join("records.jsonl")).unwrap();
    half.change_place(|place| {
        let at = usize::try_from(place.bytes).unwrap();
        let long = text[at..].iter().position(|byte| *byte == b'\n').unwrap() + 1;
        *place = Place { taken: place.taken + 1, bytes: place.bytes + long as u64, ..*place };
    });
    half.is_found();
}

#[test]
fn a_place_that_is_none_is_found() {
    for change in [1, 3_u64 << 40] {
        let half = Half::new();
        half.change_place(|place| place.bytes += change);
        half.is_found();
    }
}

#[test]
fn a_record_that_was_lost_or_changed_is_found() {
    for lost in [true, false] {
        let half = Half::new();
        let home = Home::prepare(&half.dir, STORE, KEY).unwrap();
        let mut keys = Vec::new();
        home.tables()
            .scan(&[0], &[0xff], &mut |key, _| {
                keys.push(key.to_vec());
                Ok(ControlFlow::Continue(()))
            })
            .unwrap();
        let key = &keys[0];
        if lost {
            home.tables().remove(key).unwrap();
        } else {
            let mut record = home.tables().get(key).unwrap().unwrap().to_vec();
            *record.last_mut().unwrap() ^= 1;
            home.tables().insert(key, &record).unwrap();
        }
        home.tables().flush().unwrap();
        drop(home);
        half.is_found();
    }
}

#[test]
fn a_record_too_many_is_found() {
    let half = Half::new();
    let home = Home::prepare(&half.dir, STORE, KEY).unwrap();
    // As another export would have left it: whole, and of nothing that a recount asks for.
    let key = [0xf0, 0, 0, 0, 1];
    home.tables().insert(&key, &codec::record(codec::Kind::Closing, &key, &7_u8)).unwrap();
    home.tables().flush().unwrap();
    drop(home);
    half.is_found();
}

#[test]
fn stores_that_are_gone_are_found() {
    let half = Half::new();
    fs::remove_dir_all(half.dir.join("tables")).unwrap();
    half.is_found();
}

/// A place of a file of backups has the check of all in front of it.
#[test]
fn a_place_between_other_frames_is_found() {
    let scratch = tempfile::tempdir().unwrap();
    let (file, dir) = (scratch.path().join("b"), scratch.path().join("store"));
    let origin = Origin::new();
    origin.back_up(&file);
    for change in [0, 1, 2] {
        assert!(!restore(&file, &dir, 1, 5));
        let mut begun = Begun::read(&dir).unwrap();
        match change {
            0 => begun.place.check[0] ^= 1,
            1 => begun.place.bytes += 1,
            _ => begun.place.taken += 1,
        }
        fs::write(dir.join("RESTORING"), text_of(&begun)).unwrap();
        let backup = FinishedBackup::look(&file, &mut |_| {}).unwrap();
        let mut building = Building::begin(&dir, Begun::of_backup(&dir, &backup).unwrap()).unwrap();
        assert_eq!(building.start(), Start::GoesOn);
        assert!(building.take_backup(&backup, &mut |_| {}).is_err(), "{change}");
        drop(building);
        assert_eq!(Begun::read(&dir), None);
    }
    assert!(restore(&file, &dir, 1, u64::MAX));
    assert_eq!(records_in(&dir), origin.records());
}
