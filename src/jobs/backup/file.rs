//! A file of backups, and what is added to it. Never: changes what a finished one left.

use std::collections::{HashMap, HashSet};
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::{
    BackupEnd, BackupHead, Check, END, FrameWriter, Frames, GONE, HEAD, PUT, Piece, SECRETS, length, read, tree_of,
};
use crate::codec;
use crate::error::Fault;
use crate::store::sync_dir;

/// A file of backups that another is added to. What an unfinished one left is gone on with: its frames are whole, and count
/// once the next end stands behind them.
#[derive(Debug)]
pub struct BackupFile {
    /// The directory that it is in.
    dir: PathBuf,
    pub(super) frames: FrameWriter<File>,
    /// Every record in it, by tree and key, with its own checksum.
    known: HashMap<Vec<u8>, Check>,
    seen: HashSet<Vec<u8>>,
    head: Option<BackupHead>,
    secrets: Option<blake3::Hash>,
    written: u64,
}

impl std::fmt::Debug for FrameWriter<File> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "FrameWriter({} bytes gathered)", self.gathered.len())
    }
}

impl BackupFile {
    /// Opens one, or makes it, for its owner's eyes alone: it holds the secrets. Refuses what is no backup, a damaged one, and one
    /// that is being written to.
    pub fn open(path: &Path) -> Result<Self, Fault> {
        let doing = |why: io::Error| Fault::io(format!("opening {}", path.display()), &why);
        let opened = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path);
        let mut file = opened.map_err(doing)?;
        file.try_lock().map_err(|why| match why {
            TryLockError::WouldBlock => Fault::Setting(format!(
                "another backup is being written to {}: run this again behind it",
                path.display()
            )),
            TryLockError::Error(why) => doing(why),
        })?;
        let (mut known, mut head, mut secrets) = (HashMap::new(), None, None);
        let mut frames = Frames::default();
        read(&mut file, &mut frames, &mut |_| {}, &mut |piece, _| {
            match piece {
                Piece::Head(found) => head = Some(found),
                Piece::Put(tree, key, record) => drop(known.insert(name(tree, key), own_check(record))),
                Piece::Gone(tree, key) => drop(known.remove(&name(tree, key))),
                Piece::Secrets(text) => secrets = Some(blake3::hash(text)),
                Piece::End(_) | Piece::Coming(_) => {}
            }
            Ok(())
        })?;
        if frames.place.bytes == 0 && !frames.may_be_begun() {
            return Err(frames.damaged());
        }
        // What was cut within a frame.
        file.set_len(frames.place.bytes).map_err(doing)?;
        file.seek(SeekFrom::End(0)).map_err(doing)?;
        let frames = FrameWriter { out: file, check: frames.place.check, gathered: Vec::new() };
        let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new(".")).to_owned();
        Ok(Self { dir, frames, known, seen: HashSet::new(), head, secrets, written: 0 })
    }

    /// Takes the next piece of a whole backup of the same store; at its end, says what was added. It is on the disk then.
    pub fn take(&mut self, piece: Piece<'_>) -> Result<Option<BackupEnd>, Fault> {
        match piece {
            Piece::Head(head) => match &self.head {
                Some(known) if *known != head => {
                    return Err(Fault::Setting("the file holds backups of another store: name another".into()));
                }
                Some(_) => {}
                None => {
                    self.frames.json(HEAD, &head)?;
                    self.head = Some(head);
                }
            },
            Piece::Secrets(text) => {
                if self.secrets != Some(blake3::hash(text)) {
                    self.frames.add(SECRETS, &[text])?;
                }
            }
            Piece::Put(tree, key, record) => {
                let (name, own) = (name(tree, key), own_check(record));
                if self.known.get(&name) != Some(&own) {
                    self.frames.add(PUT, &[&[tree_of(tree)], &[length(key)], key, record])?;
                    self.written += 1;
                    self.known.insert(name.clone(), own);
                }
                self.seen.insert(name);
            }
            // One that is whole has none of the first; the other is of what is under way.
            Piece::Gone(..) | Piece::Coming(_) => {}
            Piece::End(end) => {
                let mut gone: Vec<Vec<u8>> =
                    self.known.keys().filter(|name| !self.seen.contains(*name)).cloned().collect();
                gone.sort_unstable();
                for name in &gone {
                    self.frames.add(GONE, &[&name[..1], &[length(&name[1..])], &name[1..]])?;
                    self.known.remove(name);
                }
                let end = BackupEnd { written: self.written, gone: gone.len() as u64, ..end };
                self.frames.json(END, &end)?;
                self.frames.flush()?;
                self.frames.out.sync_all().map_err(|why| Fault::io("syncing the backup", &why))?;
                // The file may be a new one.
                sync_dir(&self.dir)?;
                return Ok(Some(end));
            }
        }
        Ok(None)
    }
}

fn name(tree: &str, key: &[u8]) -> Vec<u8> {
    [&[tree_of(tree)], key].concat()
}

/// Of a record's envelope.
fn own_check(record: &[u8]) -> Check {
    record.get(8..codec::HEADER).and_then(|check| check.try_into().ok()).unwrap_or_default()
}
