//! A data directory: `log/`, `tables/`, the marker, the ballast.
//!
//! ```text
//! MARKER     store id, voter key's fingerprint, last clean end: written before the stores, so that stores without one are damage
//! BALLAST    room for a clean stop on a full disk
//! log/       the write-ahead log
//! tables/    what the log was folded into
//! RESTORING  of what a store is being made, and how far it is; goes once the marker is there
//! *.new/     another generation of either before it takes its place, *.old/ one that was replaced: see `generation.rs`
//! ```
//!
//! Never: reads a record.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::files::{make_dir, sync_dir};
use super::generation::{self, Lock};
use super::{Ballast, Marker, SledStore, Store};
use crate::error::Fault;

/// A log whose file has grown past this is renewed at a start that finds nothing in it but its last block.
const RENEW_ABOVE: u64 = 64 << 20;

/// An open data directory. Its stores are locked against other processes while any handle of them lives.
#[derive(Debug)]
pub struct Home {
    dir: PathBuf,
    marker: Marker,
    log: Arc<SledStore>,
    tables: Arc<SledStore>,
}

impl Home {
    /// Opens a data directory, creating it and its parents if there is none. Refuses one whose voters were made with
    /// another key.
    pub fn open_or_create(dir: &Path, voter_key: [u8; 16]) -> Result<Self, Fault> {
        make_dir(dir)?;
        let marker = match Marker::read(dir)? {
            Some(marker) => marker,
            None if check_made(dir).is_err() => return Err(unmarked(dir)),
            None if dir.join("log").exists() || dir.join("tables").exists() => return Err(unmarked(dir)),
            None => {
                let marker = Marker::new(voter_key)?;
                marker.write(dir)?;
                marker
            }
        };
        if marker.voter_key != voter_key {
            let why = "its voters were made with another voter key: put the secrets file that belongs to it back";
            return Err(Fault::Inconsistent { why: why.into() });
        }
        let home = Self::open_stores(dir, marker)?;
        // Behind both locks, so nobody is at it: a making that was killed between its marker and this file's removal. It may hold
        // secrets, and were the marker lost one day, the store would be taken for one in the making, and begun anew.
        match std::fs::remove_file(dir.join(IN_THE_MAKING)) {
            Ok(()) => sync_dir(dir)?,
            Err(why) if why.kind() == ErrorKind::NotFound => {}
            Err(why) => return Err(Fault::io(format!("removing {IN_THE_MAKING}"), &why)),
        }
        Ballast::ensure(dir)?;
        Ok(home)
    }

    /// A data directory that is no store yet: [`Home::note_clean`] writes its marker, once everything is in it.
    pub fn prepare(dir: &Path, store_id: [u8; 16], voter_key: [u8; 16]) -> Result<Self, Fault> {
        let home = Self::open_stores(dir, Marker { store_id, voter_key, clean: None })?;
        Ballast::ensure(dir)?;
        Ok(home)
    }

    /// Opens a data directory for reading; [`Fault::NoStore`] if there is none.
    pub fn open_existing(dir: &Path) -> Result<Self, Fault> {
        let Some(marker) = Marker::read(dir)? else {
            return Err(if dir.join("log").exists() { unmarked(dir) } else { Fault::NoStore(dir.into()) });
        };
        Self::open_stores(dir, marker).or_else(|failure| match failure {
            // On a full disk even opening writes.
            Fault::Storage { .. } if Ballast::is_there(dir) => {
                Ballast::release(dir)?;
                Self::open_stores(dir, marker)
            }
            other => Err(other),
        })
    }

    /// Opens a data directory as it lies: what a crash left of a replaced store stays where it is, and is named. For who only
    /// looks; [`Fault::NoStore`] if there is none.
    pub fn look(dir: &Path) -> Result<(Self, Vec<String>), Fault> {
        let Some(marker) = Marker::read(dir)? else {
            return Err(if dir.join("log").exists() { unmarked(dir) } else { Fault::NoStore(dir.into()) });
        };
        let open = |tree: &'static str| {
            let place = generation::in_force(dir, tree);
            // Opening makes what is not there.
            if !place.exists() {
                let why = format!("{} is gone: restore a backup", place.display());
                return Err(Fault::Inconsistent { why });
            }
            SledStore::open(&place, tree)
        };
        let tables = open("tables")?;
        let log = open("log")?;
        Ok((Self { dir: dir.into(), marker, log, tables }, generation::left_over(dir)))
    }

    fn open_stores(dir: &Path, marker: Marker) -> Result<Self, Fault> {
        generation::adopt(dir, "tables")?;
        // The tables' lock first: whoever holds it may move the log's directories.
        let tables = SledStore::open(&dir.join("tables"), "tables")?;
        generation::adopt(dir, "log")?;
        generation::clear(dir, "log")?;
        let log = SledStore::open(&dir.join("log"), "log")?;
        // Behind both locks: who replaces the tables holds the log's alone for a moment.
        generation::clear(dir, "tables")?;
        Ok(Self { dir: dir.into(), marker, log, tables })
    }

    /// The log's store.
    pub fn log(&self) -> Arc<dyn Store> {
        Arc::<SledStore>::clone(&self.log)
    }

    /// The tables' store.
    pub fn tables(&self) -> Arc<dyn Store> {
        Arc::<SledStore>::clone(&self.tables)
    }

    /// The marker as it was read.
    pub fn marker(&self) -> &Marker {
        &self.marker
    }

    /// The store's own id.
    pub fn store_id(&self) -> [u8; 16] {
        self.marker.store_id
    }

    /// Refuses stores that end before the last clean end: an older copy, or one that came up empty.
    pub fn check_not_older(&self, last: u64) -> Result<(), Fault> {
        match self.marker.clean {
            Some(clean) if last < clean => Err(Fault::Inconsistent {
                why: format!(
                    "it ends at event {last}, and was closed at event {clean}: it is older than its marker, or lost its \
                     content. Restore a backup"
                ),
            }),
            _ => Ok(()),
        }
    }

    /// Notes that everything up to a sequence is in the tables and flushed.
    pub fn note_clean(&self, applied: u64) -> Result<(), Fault> {
        Marker { clean: Some(applied), ..self.marker }.write(&self.dir)
    }

    /// Frees the ballast: after a failure, so that the stores can close on a full disk.
    pub fn make_room(&self) {
        if let Err(failure) = Ballast::release(&self.dir) {
            tracing::warn!("{failure}");
        }
    }

    /// Whether the log's file has outgrown what a rolling log needs.
    pub fn log_has_grown(&self) -> bool {
        self.log.disk_bytes() > RENEW_ABOVE
    }

    /// Puts a new log with one entry, its last block, in the place of the old one. The caller holds no other handle of the
    /// log. A crash at any point leaves one of the two logs to be found.
    pub fn renew_log(self, key: &[u8], record: &[u8]) -> Result<Self, Fault> {
        let renewed = self.begin("log")?;
        renewed.insert(key, record)?;
        renewed.flush()?;
        self.replace("log", renewed)
    }

    /// Begins another generation of `log` or `tables` beside the one in force, empty.
    pub fn begin(&self, tree: &'static str) -> Result<Arc<SledStore>, Fault> {
        generation::clear(&self.dir, tree)?;
        SledStore::open(&generation::new_of(&self.dir, tree), tree)
    }

    /// Puts a generation that was begun, is whole and flushed in the place of the one in force. The caller holds no other
    /// handle of either. A crash at any point leaves one of the two to be found, and a failure the old one.
    pub fn replace(self, tree: &'static str, new: Arc<SledStore>) -> Result<Self, Fault> {
        let Self { dir, marker, log, tables } = self;
        // The other store stays locked, and nobody opens one without the other.
        let (closed, kept) = if tree == "log" { (log, tables) } else { (tables, log) };
        // sled writes by its path until its last thread has ended, and a name must not lead it to the other's files.
        drop((closed, new));
        let (now, place) = (dir.join(tree), generation::new_of(&dir, tree));
        let locks = (Lock::of(&now)?, Lock::of(&place)?);
        generation::sync_all(&place)?;
        generation::switch(&dir, tree)?;
        drop(locks);
        let opened = match SledStore::open(&now, tree) {
            // Another process may hold this lock until it finds the other taken.
            Err(Fault::InUse(_)) => SledStore::open(&now, tree),
            opened => opened,
        }?;
        generation::clear(&dir, tree)?;
        let (log, tables) = if tree == "log" { (opened, kept) } else { (kept, opened) };
        Ok(Self { dir, marker, log, tables })
    }

    /// Refuses where the disk has no room for so many bytes.
    pub fn check_room(&self, bytes: u64) -> Result<(), Fault> {
        let disk = rustix::fs::statvfs(&self.dir);
        let disk =
            disk.map_err(|why| Fault::io(format!("asking for the room in {}", self.dir.display()), &why.into()))?;
        let free = disk.f_bavail.saturating_mul(disk.f_frsize);
        if bytes <= free {
            return Ok(());
        }
        let dir = self.dir.display();
        Err(Fault::Setting(format!(
            "the disk of {dir} has {free} bytes free, and a copy beside the store may take {bytes}: make room first"
        )))
    }

    /// Gives up a generation that was begun.
    pub fn give_up(&self, tree: &'static str, new: Arc<SledStore>) -> Result<(), Fault> {
        drop(new);
        drop(Lock::of(&generation::new_of(&self.dir, tree))?);
        generation::clear(&self.dir, tree)
    }
}

/// What a directory has while a store is made in it: of what, and how far it is.
pub const IN_THE_MAKING: &str = "RESTORING";

/// Refuses a store in the making; one that has its marker is made.
pub fn check_made(dir: &Path) -> Result<(), Fault> {
    if !dir.join(IN_THE_MAKING).exists() || dir.join(Marker::FILE).exists() {
        return Ok(());
    }
    let why = "is a store in the making: run the import or restore that was begun there again, and it goes on";
    Err(Fault::Inconsistent { why: format!("{} {why}", dir.display()) })
}

fn unmarked(dir: &Path) -> Fault {
    if let Err(unfinished) = check_made(dir) {
        return unfinished;
    }
    Fault::Inconsistent { why: format!("{} has stores and no MARKER: restore it from a backup", dir.display()) }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn last(home: &Home) -> Vec<u8> {
        home.log().last_in(&[0], &[0xff]).unwrap().unwrap().1.to_vec()
    }

    #[test]
    fn another_voter_key_is_refused_and_a_missing_store_is_named() {
        let dir = tempfile::tempdir().unwrap();
        assert!(matches!(Home::open_existing(dir.path()), Err(Fault::NoStore(_))));
        drop(Home::open_or_create(dir.path(), [1; 16]).unwrap());
        assert!(matches!(Home::open_or_create(dir.path(), [2; 16]), Err(Fault::Inconsistent { .. })));
        drop(Home::open_or_create(dir.path(), [1; 16]).unwrap());
    }

    #[test]
    fn stores_without_a_marker_and_stores_older_than_it_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::open_or_create(dir.path(), [1; 16]).unwrap();
        home.note_clean(7).unwrap();
        drop(home);
        let home = Home::open_or_create(dir.path(), [1; 16]).unwrap();
        assert!(home.check_not_older(7).is_ok() && home.check_not_older(6).is_err());
        drop(home);
        fs::remove_file(dir.path().join("MARKER")).unwrap();
        assert!(matches!(Home::open_or_create(dir.path(), [1; 16]), Err(Fault::Inconsistent { .. })));
    }

    #[test]
    fn a_store_in_the_making_gets_no_marker_of_anyone_elses() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(IN_THE_MAKING), "").unwrap();
        let why = Home::open_or_create(dir.path(), [1; 16]).unwrap_err().to_string();
        assert!(why.contains("in the making") && !dir.path().join("MARKER").exists(), "{why}");
        // Killed at its very end it is made: what is left of the making goes.
        fs::remove_file(dir.path().join(IN_THE_MAKING)).unwrap();
        drop(Home::open_or_create(dir.path(), [1; 16]).unwrap());
        fs::write(dir.path().join(IN_THE_MAKING), "").unwrap();
        drop(Home::open_or_create(dir.path(), [1; 16]).unwrap());
        assert!(!dir.path().join(IN_THE_MAKING).exists());
    }

    #[test]
    fn a_renewed_log_holds_its_last_block_wherever_the_renewal_was_cut() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::open_or_create(dir.path(), [1; 16]).unwrap();
        home.log().insert(b"1", b"first").unwrap();
        home.log().insert(b"2", b"last").unwrap();
        let home = home.renew_log(b"2", b"last").unwrap();
        assert_eq!(last(&home), b"last");
        assert!(home.log().get(b"1").unwrap().is_none());
        drop(home);
        // Cut between the two renames: only the new one is there.
        fs::rename(dir.path().join("log"), dir.path().join("log.new")).unwrap();
        fs::create_dir(dir.path().join("log.old")).unwrap();
        let home = Home::open_or_create(dir.path(), [1; 16]).unwrap();
        assert_eq!(last(&home), b"last");
        drop(home);
        // Cut before the first: the old one counts, whatever the new one holds.
        fs::create_dir(dir.path().join("log.new")).unwrap();
        let home = Home::open_or_create(dir.path(), [1; 16]).unwrap();
        assert_eq!(last(&home), b"last");
        assert!(!dir.path().join("log.new").exists() && !dir.path().join("log.old").exists());
    }
}
