//! An export in a directory. Each table is written under another name and renamed once it is whole; the manifest comes last, so
//! a directory with one holds all that the manifest says. One that was cut short is gone on with where it stopped, if
//! the store still stands at the same sequence; else it begins anew.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread;

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
/// Pieces of a table between the thread that makes rows and the one that writes them: of 128 KiB, or a group of rows.
const PIECES: usize = 4;
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
        let (rows, hashed) = write_behind(Hashed::new(file), &doing, write)?;
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

/// Has `write`'s bytes hashed and written by another thread, while the next rows are made.
fn write_behind(
    mut hashed: Hashed<File>,
    doing: &dyn Fn(io::Error) -> Fault,
    write: impl FnOnce(&mut dyn Write) -> Result<u64, Fault>,
) -> Result<(u64, Hashed<File>), Fault> {
    let (sender, pieces) = sync_channel::<Vec<u8>>(PIECES);
    let (rows, hashed) = thread::scope(|scope| {
        let writing = scope.spawn(move || {
            pieces.into_iter().try_for_each(|piece| hashed.write_all(&piece))?;
            Ok(hashed)
        });
        // The sender goes with what it was lent to, and the thread ends behind the last piece.
        let rows = write(&mut Behind(sender));
        (rows, writing.join().unwrap_or_else(|panic| resume_unwind(panic)))
    });
    // Its failure is why there was nobody to take the rows.
    let hashed = hashed.map_err(doing)?;
    Ok((rows?, hashed))
}

/// The way to the thread that writes.
struct Behind(SyncSender<Vec<u8>>);

impl Write for Behind {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.send(bytes.to_vec()).map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
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

#[cfg(test)]
mod tests {
    use super::super::Format;
    use super::*;

    fn manifest() -> Manifest {
        let (chain, store, voter_key) = (String::new(), String::new(), String::new());
        let (format, tables) = (Format::Jsonl, Vec::new());
        Manifest { plaudit_export: 1, sequence: 1, chain, store, voter_key, format, pseudonymous: false, tables }
    }

    #[test]
    fn what_is_written_in_pieces_is_there_whole_and_vouched_for() {
        let dir = tempfile::tempdir().unwrap();
        let mut folder = Folder::open(dir.path(), manifest()).unwrap();
        let pieces: Vec<Vec<u8>> = (0..50_u8).map(|n| vec![n; usize::from(n) * 997]).collect();
        folder
            .put_table(Table::Votes, |out| {
                pieces.iter().try_for_each(|piece| out.write_all(piece)).unwrap();
                Ok(7)
            })
            .unwrap();
        let written = folder.finish().unwrap();
        let wanted = pieces.concat();
        assert_eq!(fs::read(dir.path().join("votes.jsonl")).unwrap(), wanted);
        let of = &written.tables[0];
        assert_eq!((of.rows, of.bytes, &of.blake3), (7, wanted.len() as u64, &hex(blake3::hash(&wanted).as_bytes())));
        assert_eq!(read_manifest(dir.path()).unwrap(), written);
    }

    #[test]
    fn a_table_that_is_broken_off_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let mut folder = Folder::open(dir.path(), manifest()).unwrap();
        let broken = folder.put_table(Table::Votes, |out| {
            out.write_all(b"half a row").unwrap();
            Err(Fault::Setting("no more came".into()))
        });
        assert!(broken.unwrap_err().to_string().contains("no more came"));
        assert!(!folder.has(Table::Votes) && !dir.path().join("votes.jsonl").exists());
    }

    /// The writer's own failure is told, and not that nobody took the rows.
    #[cfg(target_os = "linux")]
    #[test]
    fn a_full_disk_is_named() {
        let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
        let doing = |why: io::Error| Fault::io("writing it", &why);
        let failed = write_behind(Hashed::new(full), &doing, |out| {
            for _ in 0..100 {
                out.write_all(&[7; 1000]).map_err(|why| Fault::io("handing over", &why))?;
            }
            Ok(0)
        });
        assert!(failed.err().unwrap().to_string().starts_with("writing it: "));
    }
}
