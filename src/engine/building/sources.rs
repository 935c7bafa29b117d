//! What a store is made of as records: an export's directory, a file of backups. Whether what was begun is of the same, and the records,
//! from where it goes on.

use std::path::Path;

use super::records::read_records;
use super::{Begun, Building};
use crate::error::Fault;
use crate::jobs::backup::{FinishedBackup, Piece};
use crate::jobs::export::{Manifest, Written};

impl Begun {
    /// What was begun in a directory, if it is of this export; or that nothing was.
    pub fn of_export(dir: &Path, manifest: &Manifest) -> Result<Self, Fault> {
        // It has every file's hash.
        let name = blake3::hash(&serde_json::to_vec(manifest).expect("our own types always serialise"));
        let plan = Self::new(name.to_hex().to_string(), id(&manifest.store)?, id(&manifest.voter_key)?);
        Ok(Self::read(dir).filter(|begun| begun.source == plan.source).unwrap_or(plan))
    }

    /// What was begun in a directory, if it is of this file; or that nothing was. The file may have grown since: what was read of it
    /// is what it still begins with.
    pub fn of_backup(dir: &Path, backup: &FinishedBackup) -> Result<Self, Fault> {
        let plan = Self::new(backup.name(), id(&backup.head.store)?, id(&backup.head.voter_key)?);
        Ok(Self::read(dir).filter(|begun| backup.is_also(&begun.source)).unwrap_or(plan))
    }
}

impl Building {
    /// Puts in what it lacks of an export's records. `tick` hears of each.
    pub fn take_export(&mut self, dir: &Path, records: &Written, tick: &mut dyn FnMut(u64)) -> Result<(), Fault> {
        let filled = read_records(&dir.join(&records.file), self.place(), &mut |tree, key, record, place| {
            tick(1);
            self.put(tree, key, record)?;
            self.reached(place)
        });
        self.sound(filled)
    }

    /// Puts in, and takes out, what it lacks of a file of backups. `tick` hears of bytes.
    pub fn take_backup(&mut self, backup: &FinishedBackup, tick: &mut dyn FnMut(u64)) -> Result<(), Fault> {
        // Of a file that has grown, so much may be taken from here on.
        self.note(|begun| begun.source = backup.name())?;
        let filled = backup.each(self.place(), tick, &mut |piece, place| {
            self.apply(&piece)?;
            self.reached(place)
        });
        self.sound(filled)
    }

    pub(super) fn apply(&mut self, piece: &Piece<'_>) -> Result<(), Fault> {
        match piece {
            Piece::Put(tree, key, record) => self.put(tree, key, record),
            Piece::Gone(tree, key) => self.remove(tree, key),
            Piece::Head(_) | Piece::Secrets(_) | Piece::End(_) | Piece::Coming(_) => Ok(()),
        }
    }
}

/// 16 bytes in hex.
fn id(hex: &str) -> Result<[u8; 16], Fault> {
    let number = if hex.len() == 32 { u128::from_str_radix(hex, 16).ok() } else { None };
    number.map(u128::to_be_bytes).ok_or_else(|| Fault::Setting(format!("{hex} is no id of a store")))
}
