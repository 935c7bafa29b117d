//! An export in a directory. Each table is written under another name and renamed once it is whole; the manifest comes last, so
//! a directory with one holds all that the manifest says. One that was cut short is gone on with where it stopped, if
//! the store still stands at the same sequence; else it begins anew.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::{Manifest, Table, Written, hex};
use crate::error::Fault;
use crate::store::sync_dir;

/// The manifest's name.
pub const MANIFEST: &str = "manifest.json";
/// The name of the file of secrets.
pub const SECRETS: &str = "secrets.toml";
/// What a directory has until its manifest is there: the manifest so far.
const BEGUN: &str = ".begun.json";
const PART: &str = ".part";
/// Manifests are read up to here.
const MANIFEST_MAX: u64 = 1 << 20;

/// A directory that is being filled.
#[derive(Debug)]
pub struct Folder {
    dir: PathBuf,
    manifest: Manifest,
}

impl Folder {
    /// Begins in `dir`, which is made if it is not there, or goes on in it. Refuses one with anything else in it.
    pub fn open(dir: &Path, manifest: Manifest) -> Result<Self, Fault> {
        fs::create_dir_all(dir).map_err(|why| Fault::io(format!("making {}", dir.display()), &why))?;
        if dir.join(MANIFEST).exists() {
            return Err(Fault::Setting(format!("{} holds an export already", dir.display())));
        }
        let begun = match fs::read(dir.join(BEGUN)) {
            Ok(text) => serde_json::from_slice::<Manifest>(&text).ok(),
            Err(why) if why.kind() == io::ErrorKind::NotFound => {
                let mut entries =
                    fs::read_dir(dir).map_err(|why| Fault::io(format!("reading {}", dir.display()), &why))?;
                if entries.next().is_some() {
                    let why = format!("{} is not empty, and holds no export that was begun", dir.display());
                    return Err(Fault::Setting(why));
                }
                None
            }
            Err(why) => return Err(Fault::io(format!("reading {}", dir.join(BEGUN).display()), &why)),
        };
        let same = |begun: &Manifest| Manifest { tables: Vec::new(), ..begun.clone() } == manifest;
        let mut folder = Self { dir: dir.into(), manifest: manifest.clone() };
        folder.manifest = begun.filter(same).unwrap_or(manifest);
        let whole = |written: &Written| {
            fs::metadata(folder.dir.join(&written.file)).is_ok_and(|found| found.len() == written.bytes)
        };
        let kept: Vec<Written> = folder.manifest.tables.iter().filter(|written| whole(written)).cloned().collect();
        folder.manifest.tables = kept;
        folder.put(BEGUN)?;
        Ok(folder)
    }

    /// What it is an export of.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Whether a table is there already.
    pub fn has(&self, table: Table) -> bool {
        self.manifest.tables.iter().any(|written| written.table == table)
    }

    /// Puts a table in, of which `write` says how many rows it wrote.
    pub fn put_table(
        &mut self,
        table: Table,
        write: impl FnOnce(&mut dyn Write) -> Result<u64, Fault>,
    ) -> Result<(), Fault> {
        let name = table.file(self.manifest.format);
        let (part, path) = (self.dir.join(format!("{name}{PART}")), self.dir.join(&name));
        let doing = |why: io::Error| Fault::io(format!("writing {}", part.display()), &why);
        let mode = if table.tells_secrets() { 0o600 } else { 0o644 };
        let file = OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(&part).map_err(doing)?;
        let mut hashed = Hashed::new(file);
        let rows = write(&mut hashed)?;
        let (file, bytes, blake3) = hashed.end();
        // The bytes before the name.
        file.sync_all().map_err(doing)?;
        fs::rename(&part, &path).map_err(|why| Fault::io(format!("renaming {}", part.display()), &why))?;
        self.manifest.tables.push(Written { table, file: name, rows, bytes, blake3 });
        self.put(BEGUN)
    }

    /// All tables are in: writes the manifest.
    pub fn finish(mut self) -> Result<Manifest, Fault> {
        let place = |written: &Written| Table::ALL.iter().position(|table| *table == written.table);
        self.manifest.tables.sort_by_key(place);
        self.put(MANIFEST)?;
        fs::remove_file(self.dir.join(BEGUN)).map_err(|why| Fault::io(format!("removing {BEGUN}"), &why))?;
        sync_dir(&self.dir)?;
        Ok(self.manifest)
    }

    /// All tables came from elsewhere: the same, if they are what their sender says.
    pub fn finish_as(mut self, sent: Manifest) -> Result<Manifest, Fault> {
        for written in &sent.tables {
            let came = self.manifest.tables.iter().find(|came| came.table == written.table);
            if came.is_none_or(|came| (came.bytes, &came.blake3) != (written.bytes, &written.blake3)) {
                return Err(Fault::Setting(format!("{} is not what the server sent: run it again", written.file)));
            }
        }
        self.manifest.tables = sent.tables;
        self.finish()
    }

    fn put(&self, name: &str) -> Result<(), Fault> {
        let (part, path) = (self.dir.join(format!("{name}{PART}")), self.dir.join(name));
        let doing = |why: io::Error| Fault::io(format!("writing {}", part.display()), &why);
        let mut text = serde_json::to_vec_pretty(&self.manifest).expect("our own types always serialise");
        text.push(b'\n');
        let mut file = File::create(&part).map_err(doing)?;
        file.write_all(&text).and_then(|()| file.sync_all()).map_err(doing)?;
        fs::rename(&part, &path).map_err(doing)?;
        sync_dir(&self.dir)
    }
}

/// Reads the manifest of the export in `dir`, and holds every file of it against what it says.
pub fn read_manifest(dir: &Path) -> Result<Manifest, Fault> {
    let path = dir.join(MANIFEST);
    let doing = |why: io::Error| Fault::io(format!("reading {}", path.display()), &why);
    let mut text = Vec::new();
    File::open(&path).and_then(|file| file.take(MANIFEST_MAX).read_to_end(&mut text)).map_err(doing)?;
    let wrong = |why: String| Fault::Setting(format!("{}: {why}", path.display()));
    let manifest: Manifest = serde_json::from_slice(&text).map_err(|why| wrong(format!("no manifest: {why}")))?;
    if manifest.plaudit_export != super::VERSION {
        return Err(wrong(format!("version {}, this program reads {}", manifest.plaudit_export, super::VERSION)));
    }
    for written in &manifest.tables {
        // Only names of ours: a manifest leads nowhere else.
        if written.file != written.table.file(manifest.format) {
            return Err(wrong(format!("{} is not where {} lies", written.file, written.table.name())));
        }
        let at = dir.join(&written.file);
        let doing = |why: io::Error| Fault::io(format!("reading {}", at.display()), &why);
        let mut hasher = blake3::Hasher::new();
        hasher.update_reader(File::open(&at).map_err(doing)?).map_err(doing)?;
        if hasher.finalize().to_hex().as_str() != written.blake3 {
            return Err(Fault::Setting(format!("{} is not what its manifest says: it was changed", at.display())));
        }
    }
    Ok(manifest)
}

/// Counts and hashes what is written through it.
pub(super) struct Hashed<W> {
    to: W,
    hasher: blake3::Hasher,
    bytes: u64,
}

impl<W: Write> Hashed<W> {
    pub(super) fn new(to: W) -> Self {
        Self { to, hasher: blake3::Hasher::new(), bytes: 0 }
    }

    pub(super) fn end(self) -> (W, u64, String) {
        (self.to, self.bytes, hex(self.hasher.finalize().as_bytes()))
    }
}

impl<W: Write> Write for Hashed<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.to.write(bytes)?;
        self.hasher.update(&bytes[..written]);
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}
