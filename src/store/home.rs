//! A data directory: `log/`, `tables/`, the marker, the ballast.
//!
//! ```text
//! MARKER     store id, voter key's fingerprint, last clean end: written before the stores, so that stores without one are damage
//! BALLAST    room for a clean stop on a full disk
//! log/       the write-ahead log
//! tables/    what the log was folded into
//! log.new/   a renewed log before it takes its place; adopted when there is no `log/`, else left over
//! log.old/   a log that was renewed; left over
//! ```
//!
//! Never: reads a record.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{fs, io};

use super::{Ballast, Marker, SledStore, Store, sync_dir};
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
        fs::create_dir_all(dir).map_err(|why| Fault::io(format!("creating {}", dir.display()), &why))?;
        let marker = match Marker::read(dir)? {
            Some(marker) => marker,
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

    fn open_stores(dir: &Path, marker: Marker) -> Result<Self, Fault> {
        // The tables' lock first: whoever holds it may move the log's directories.
        let tables = SledStore::open(&dir.join("tables"), "tables")?;
        settle_renewal(dir)?;
        let log = SledStore::open(&dir.join("log"), "log")?;
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
        let Self { dir, marker, log, tables } = self;
        let (now, new, old) = (dir.join("log"), dir.join("log.new"), dir.join("log.old"));
        let renewed = SledStore::open(&new, "log")?;
        renewed.insert(key, record)?;
        renewed.flush()?;
        drop((renewed, log));
        rename(&now, &old)?;
        rename(&new, &now)?;
        sync_dir(&dir)?;
        remove(&old)?;
        let log = SledStore::open(&now, "log")?;
        Ok(Self { dir, marker, log, tables })
    }
}

fn unmarked(dir: &Path) -> Fault {
    Fault::Inconsistent { why: format!("{} has stores and no MARKER: restore it from a backup", dir.display()) }
}

/// Ends a renewal that a crash cut short.
fn settle_renewal(dir: &Path) -> Result<(), Fault> {
    let (now, new, old) = (dir.join("log"), dir.join("log.new"), dir.join("log.old"));
    if new.exists() {
        if now.exists() {
            remove(&new)?;
        } else {
            rename(&new, &now)?;
            sync_dir(dir)?;
        }
    }
    if old.exists() { remove(&old) } else { Ok(()) }
}

fn rename(from: &Path, to: &Path) -> Result<(), Fault> {
    fs::rename(from, to).map_err(|why| Fault::io(format!("renaming {}", from.display()), &why))
}

fn remove(dir: &Path) -> Result<(), Fault> {
    match fs::remove_dir_all(dir) {
        Err(why) if why.kind() != io::ErrorKind::NotFound => {
            Err(Fault::io(format!("removing {}", dir.display()), &why))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
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
        rename(&dir.path().join("log"), &dir.path().join("log.new")).unwrap();
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
