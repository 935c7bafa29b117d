//! What a directory has of an export: nothing, one that was begun, or one that is whole. Until the manifest is there a file of notes
//! says which tables are whole, and up to where the one after them is sure.
//!
//! What was begun is gone on with where the store is in the same state; else it begins anew. Never as an export of another
//! store, another format, or with names in it where it had none: that is refused. Never by two at once.

use std::fs::{self, File, TryLockError};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::folder::Folder;
use super::part::Going;
use super::{Format, Manifest, Place, Table, Written};
use crate::error::Fault;
use crate::store::sync_dir;

/// The manifest's name.
pub const MANIFEST: &str = "manifest.json";
/// The name of the file of secrets.
pub const SECRETS: &str = "secrets.toml";
/// What a directory has until its manifest is there.
pub(super) const BEGUN: &str = ".begun.json";
/// What a name ends with until the file is whole.
pub(super) const PART: &str = ".part";
/// Manifests are read up to here.
const MANIFEST_MAX: u64 = 1 << 20;
/// Bytes of a file that are read at once.
const READ_AT_ONCE: usize = 256 * 1024;

/// What is known of an export that is not whole.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct Notes {
    /// The manifest so far: tables that are whole, the last of them perhaps under the name of a part.
    #[serde(flatten)]
    pub(super) manifest: Manifest,
    /// [`super::Source::state`]; empty in notes of before there were states, which are of none.
    #[serde(default)]
    pub(super) state: String,
    /// What is sure of the table under way: so many bytes of its part are so many whole rows, and on the disk.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) part: Option<Written>,
}

impl Notes {
    /// The first table that is not whole.
    pub(super) fn next(&self) -> Option<Table> {
        let whole = |table: &Table| self.manifest.tables.iter().any(|written| written.table == *table);
        Table::all(self.manifest.pseudonymous).find(|table| !whole(table))
    }

    /// Puts them into a directory, in one step.
    pub(super) fn put(&self, dir: &Path) -> Result<(), Fault> {
        put(dir, BEGUN, self)
    }
}

/// A directory that an export may be put into, locked for this process as long as it lives.
#[derive(Debug)]
pub struct Begun {
    pub(super) dir: PathBuf,
    /// `None` until there is a directory.
    lock: Option<File>,
    notes: Option<Notes>,
    part: Option<Going>,
}

impl Begun {
    /// Looks at `dir`, which need not be there yet. Reads what is sure of the table under way, and holds it against its hash.
    /// Refuses a directory with a whole export in it, or with anything else.
    pub fn find(dir: &Path) -> Result<Self, Fault> {
        if !dir.exists() {
            return Ok(Self { dir: dir.into(), lock: None, notes: None, part: None });
        }
        let lock = Some(lock(dir)?);
        if dir.join(MANIFEST).exists() {
            return Err(Fault::Setting(format!("{} holds an export already", dir.display())));
        }
        let notes = match fs::read(dir.join(BEGUN)) {
            Ok(text) => serde_json::from_slice::<Notes>(&text).ok(),
            Err(why) if why.kind() == io::ErrorKind::NotFound => {
                let entries = fs::read_dir(dir).map_err(|why| Fault::io(format!("reading {}", dir.display()), &why))?;
                // The first notes may have been cut short themselves.
                let first = format!("{BEGUN}{PART}");
                if entries.flatten().any(|entry| entry.file_name() != first.as_str()) {
                    let why = format!("{} is not empty, and holds no export that was begun", dir.display());
                    return Err(Fault::Setting(why));
                }
                None
            }
            Err(why) => return Err(Fault::io(format!("reading {}", dir.join(BEGUN).display()), &why)),
        };
        let mut begun = Self { dir: dir.into(), lock, notes, part: None };
        begun.look()?;
        Ok(begun)
    }

    /// Keeps of the notes what the directory has.
    fn look(&mut self) -> Result<(), Fault> {
        let Some(notes) = &mut self.notes else { return Ok(()) };
        let has = |name: &str, written: &Written| {
            fs::metadata(self.dir.join(name)).is_ok_and(|found| found.len() == written.bytes)
        };
        // Cut short between the note and the new name: what was noted was on the disk.
        let renamed = |written: &Written| {
            let part = format!("{}{PART}", written.file);
            has(&part, written) && fs::rename(self.dir.join(part), self.dir.join(&written.file)).is_ok()
        };
        let whole = |written: &&Written| has(&written.file, written) || renamed(written);
        // In order, and without a gap: whoever goes on goes on behind all of them.
        let wanted = Table::all(notes.manifest.pseudonymous);
        let tables = std::mem::take(&mut notes.manifest.tables);
        // Only names of ours, as in a manifest.
        let format = notes.manifest.format;
        let named = |written: &Written| written.file == written.table.file(format);
        let whole = |written: &&Written| named(written) && whole(written);
        let of = |table| tables.iter().find(|written| written.table == table).filter(whole).cloned();
        notes.manifest.tables = wanted.map_while(of).collect();
        let next = notes.next();
        let part = notes.part.take().filter(|part| Some(part.table) == next);
        let part = part.filter(|part| named(part) && part.table.goes_on(format) && part.rows > 0);
        if let Some(part) = part
            && let Some(going) = Going::find(&self.dir, &part)?
        {
            self.part = Some(going);
            notes.part = Some(part);
        }
        Ok(())
    }

    /// What it was begun of, if it was: the state, and where it stopped; behind the last table there is no such place.
    pub fn place(&self) -> Option<(&str, Option<Place>)> {
        let notes = self.notes.as_ref()?;
        let rows = notes.part.as_ref().map_or(0, |part| part.rows);
        Some((&notes.state, notes.next().map(|table| Place { table, rows })))
    }

    /// Whether a source of that store, in that state, goes on with it.
    pub fn is_of(&self, manifest: &Manifest, state: &str) -> bool {
        let same = |notes: &Notes| Manifest { tables: Vec::new(), ..notes.manifest.clone() } == *manifest;
        self.notes.as_ref().is_some_and(|notes| !state.is_empty() && notes.state == state && same(notes))
    }

    /// Refuses to make something else of what was begun.
    pub fn check(&self, format: Format, pseudonymous: bool) -> Result<(), Fault> {
        let Some(Notes { manifest, .. }) = &self.notes else { return Ok(()) };
        if (manifest.format, manifest.pseudonymous) == (format, pseudonymous) {
            return Ok(());
        }
        let (dir, format) = (self.dir.display(), manifest.format.extension());
        let names = if manifest.pseudonymous { "with" } else { "without" };
        Err(Fault::Setting(format!(
            "{dir} holds an export that was begun with --format {format} and {names} --pseudonymous: go on with those, \
             or name another directory"
        )))
    }

    /// Goes on with what was begun if it is of that store and state, else begins anew.
    pub fn fill(self, manifest: Manifest, state: &str) -> Result<Folder, Fault> {
        if self.is_of(&manifest, state) { self.go_on() } else { self.anew(manifest, state) }
    }

    /// Goes on with what was begun.
    pub fn go_on(self) -> Result<Folder, Fault> {
        let none = || Fault::Setting(format!("{} holds no export that was begun", self.dir.display()));
        let notes = self.notes.clone().ok_or_else(none)?;
        notes.put(&self.dir)?;
        Ok(Folder::over(self, notes))
    }

    /// Begins, in a directory that is made if it is not there, and throws away what was begun.
    pub fn anew(mut self, manifest: Manifest, state: &str) -> Result<Folder, Fault> {
        self.check(manifest.format, manifest.pseudonymous)?;
        if self.notes.as_ref().is_some_and(|notes| notes.manifest.store != manifest.store) {
            let why = "holds an export that was begun of another store: name another directory, or remove it";
            return Err(Fault::Setting(format!("{} {why}", self.dir.display())));
        }
        if self.lock.is_none() {
            fs::create_dir_all(&self.dir).map_err(|why| Fault::io(format!("making {}", self.dir.display()), &why))?;
            self.lock = Some(lock(&self.dir)?);
            if self.dir.join(MANIFEST).exists() {
                return Err(Fault::Setting(format!("{} holds an export by now", self.dir.display())));
            }
        }
        // In front of the new notes, so that none ever stand beside a file of before them: it would be taken for one of theirs. And a
        // full disk has room for them then. Of other formats too: notes that nobody can read any more may have left some, and nothing
        // that tells secrets stays.
        for (table, format) in Table::ALL.into_iter().flat_map(|table| Format::ALL.map(|format| (table, format))) {
            let name = table.file(format);
            for name in [format!("{name}{PART}"), name] {
                match fs::remove_file(self.dir.join(&name)) {
                    Err(why) if why.kind() != io::ErrorKind::NotFound => {
                        return Err(Fault::io(format!("removing {name}"), &why));
                    }
                    _ => {}
                }
            }
        }
        let notes = Notes { manifest, state: state.to_owned(), part: None };
        notes.put(&self.dir)?;
        Ok(Folder::over(Self { part: None, ..self }, notes))
    }

    /// What is sure of the table under way.
    pub(super) fn take_part(&mut self) -> Option<Going> {
        self.part.take()
    }
}

fn lock(dir: &Path) -> Result<File, Fault> {
    let lock = File::open(dir).map_err(|why| Fault::io(format!("opening {}", dir.display()), &why))?;
    // Where there are no locks, as on some network mounts, it is on the operator not to run two.
    if let Err(TryLockError::WouldBlock) = lock.try_lock() {
        return Err(Fault::Setting(format!("another export is filling {}", dir.display())));
    }
    Ok(lock)
}

/// Puts a value of ours into a directory under a name, in one step.
pub(super) fn put(dir: &Path, name: &str, value: &impl Serialize) -> Result<(), Fault> {
    let (part, path) = (dir.join(format!("{name}{PART}")), dir.join(name));
    let doing = |why: io::Error| Fault::io(format!("writing {}", part.display()), &why);
    let mut text = serde_json::to_vec_pretty(value).expect("our own types always serialise");
    text.push(b'\n');
    let mut file = File::create(&part).map_err(doing)?;
    file.write_all(&text).and_then(|()| file.sync_all()).map_err(doing)?;
    fs::rename(&part, &path).map_err(doing)?;
    sync_dir(dir)
}

/// Reads the manifest of the export in `dir`, and holds every file of it against what it says. `tick` hears of bytes that were read,
/// and how many there are in all.
pub fn read_manifest(dir: &Path, tick: &mut dyn FnMut(u64, u64)) -> Result<Manifest, Fault> {
    let path = dir.join(MANIFEST);
    let doing = |why: io::Error| Fault::io(format!("reading {}", path.display()), &why);
    let mut text = Vec::new();
    let file = match File::open(&path) {
        Err(why) if why.kind() == io::ErrorKind::NotFound && dir.join(BEGUN).exists() => {
            let why = "holds an export that is not whole: run the same `plaudit export` again, which goes on with it";
            return Err(Fault::Setting(format!("{} {why}", dir.display())));
        }
        opened => opened.map_err(doing)?,
    };
    file.take(MANIFEST_MAX).read_to_end(&mut text).map_err(doing)?;
    let wrong = |why: String| Fault::Setting(format!("{}: {why}", path.display()));
    let manifest: Manifest = serde_json::from_slice(&text).map_err(|why| wrong(format!("no manifest: {why}")))?;
    if manifest.plaudit_export != super::VERSION {
        return Err(wrong(format!("version {}, this program reads {}", manifest.plaudit_export, super::VERSION)));
    }
    let all = manifest.tables.iter().fold(0, |all: u64, written| all.saturating_add(written.bytes));
    for written in &manifest.tables {
        // Only names of ours: a manifest leads nowhere else.
        if written.file != written.table.file(manifest.format) {
            return Err(wrong(format!("{} is not where {} lies", written.file, written.table.name())));
        }
        let at = dir.join(&written.file);
        let doing = |why: io::Error| Fault::io(format!("reading {}", at.display()), &why);
        let (mut file, mut hasher) = (File::open(&at).map_err(doing)?, blake3::Hasher::new());
        let mut bytes = vec![0; READ_AT_ONCE];
        loop {
            let got = file.read(&mut bytes).map_err(doing)?;
            if got == 0 {
                break;
            }
            hasher.update(&bytes[..got]);
            tick(got as u64, all);
        }
        if hasher.finalize().to_hex().as_str() != written.blake3 {
            return Err(Fault::Setting(format!("{} is not what its manifest says: it was changed", at.display())));
        }
    }
    Ok(manifest)
}
