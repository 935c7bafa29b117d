//! An export in a directory. Each table is written under another name and renamed once it is whole; the manifest comes last, so
//! a directory with one holds all that the manifest says.
//!
//! A table of text that is cut short is gone on with behind the last row that was sure, and comes out to the byte as one that
//! was not; one of Parquet begins anew.

use std::fs;
use std::io;

use super::begun::{BEGUN, Begun, MANIFEST, Notes, PART, put};
use super::part::Part;
use super::{Manifest, Table, Written, sink::RowSink};
use crate::error::Fault;
use crate::store::sync_dir;

/// Bytes of a table between two times that it is made sure of: less than a second's at full speed, and a sync of what is on its way
/// to the disk anyway.
const EVERY: u64 = 64 << 20;

/// A directory that is being filled.
#[derive(Debug)]
pub struct Folder {
    begun: Begun,
    notes: Notes,
    every: u64,
}

impl Folder {
    /// Goes on in `dir` with an export of that store and state, or begins one.
    pub fn open(dir: &std::path::Path, manifest: Manifest, state: &str) -> Result<Self, Fault> {
        Begun::find(dir)?.fill(manifest, state)
    }

    pub(super) fn over(begun: Begun, notes: Notes) -> Self {
        Self { begun, notes, every: EVERY }
    }

    #[cfg(test)]
    fn noting_every(self, bytes: u64) -> Self {
        Self { every: bytes, ..self }
    }

    /// What it is an export of.
    pub fn manifest(&self) -> &Manifest {
        &self.notes.manifest
    }

    /// Whether a table is there already.
    pub fn has(&self, table: Table) -> bool {
        self.notes.manifest.tables.iter().any(|written| written.table == table)
    }

    /// The first table that is not whole.
    pub fn next(&self) -> Option<Table> {
        self.notes.next()
    }

    /// Puts a table in, of which `write` says how many rows it has. Where that fails, all whole rows that it wrote are made sure of.
    pub fn put_table(
        &mut self,
        table: Table,
        write: impl FnOnce(&mut dyn RowSink) -> Result<u64, Fault>,
    ) -> Result<(), Fault> {
        let dir = self.begun.dir.clone();
        let file = table.file(self.notes.manifest.format);
        let (part, path) = (dir.join(format!("{file}{PART}")), dir.join(&file));
        let doing = |why: io::Error| Fault::io(format!("writing {}", part.display()), &why);
        let mut notes = self.notes.clone();
        let note = |sure: &Written| {
            notes.part = Some(sure.clone());
            notes.put(&dir)
        };
        let going = self.begun.take_part().filter(|going| going.of().table == table);
        let begun = if let Some(going) = going {
            Part::go_on(going, self.every, note)
        } else {
            let none = Written { table, file, rows: 0, bytes: 0, blake3: String::new() };
            Part::begin(&dir, none, self.every, note)
        };
        let written = begun.map_err(doing)?.fill(&doing, write)?;
        // First: cut short in between, the new name is given later, and none of it is lost.
        self.notes.part = None;
        self.notes.manifest.tables.push(written);
        self.notes.put(&dir)?;
        fs::rename(&part, &path).map_err(|why| Fault::io(format!("renaming {}", part.display()), &why))?;
        sync_dir(&dir)
    }

    /// All tables are in: writes the manifest.
    pub fn finish(self) -> Result<Manifest, Fault> {
        if let Some(missing) = self.next() {
            return Err(Fault::Setting(format!("the export is not whole: {} are missing", missing.name())));
        }
        let (dir, mut manifest) = (self.begun.dir, self.notes.manifest);
        manifest.tables.sort_by_key(|written| written.table);
        put(&dir, MANIFEST, &manifest)?;
        fs::remove_file(dir.join(BEGUN)).map_err(|why| Fault::io(format!("removing {BEGUN}"), &why))?;
        sync_dir(&dir)?;
        Ok(manifest)
    }
}

#[cfg(test)]
mod tests;
