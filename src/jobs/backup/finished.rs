//! A file of backups, read for what its last finished one holds; older ones of it are folded in on the way.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use super::{BackupEnd, BackupHead, Frames, Piece, Place, VisitPiece, read};
use crate::error::Fault;

/// The last whole backup of a file.
#[derive(Debug)]
pub struct FinishedBackup {
    path: PathBuf,
    /// Whose it is.
    pub head: BackupHead,
    /// The file of secrets.
    pub secrets: Vec<u8>,
    /// How it ended.
    pub end: BackupEnd,
    /// In words, what stands behind it that can't be used.
    pub left: Option<String>,
    /// Behind each backup that was finished: what a later one adds leaves these where they are.
    ends: Vec<Place>,
}

impl FinishedBackup {
    /// Reads a file to its end, and holds all of it against its checks. `tick` hears of bytes.
    pub fn look(path: &Path, tick: &mut dyn FnMut(u64)) -> Result<Self, Fault> {
        let mut file = open(path)?;
        if !file.metadata().is_ok_and(|found| found.is_file()) {
            return Err(Fault::Setting(format!("{} is no file, and a backup is read twice", path.display())));
        }
        Self::look_in(&mut file, path, tick)
    }

    pub(super) fn look_in(file: &mut dyn Read, path: &Path, tick: &mut dyn FnMut(u64)) -> Result<Self, Fault> {
        let (mut head, mut secrets) = (None, Vec::new());
        let mut whole: Option<(Vec<u8>, BackupEnd)> = None;
        let (mut ends, mut behind, mut frames) = (Vec::new(), 0_u64, Frames::default());
        let looked = read(file, &mut frames, tick, &mut |piece, place| {
            behind += 1;
            match piece {
                Piece::Head(found) => head = Some(found),
                Piece::Secrets(text) => secrets = text.to_vec(),
                Piece::End(end) => {
                    (whole, behind) = (Some((secrets.clone(), end)), 0);
                    ends.push(place);
                }
                Piece::Put(..) | Piece::Gone(..) | Piece::Coming(_) => {}
            }
            Ok(())
        });
        let left = match looked {
            Err(why) if whole.is_none() => return Err(why),
            // What could not be read is not known to be damaged: the backup before it would be an older store for no reason.
            Err(why @ Fault::Io { .. }) => return Err(why),
            Err(why) => Some(why.to_string()),
            Ok(()) if behind > 0 || !frames.left.is_empty() => Some("a later backup was never finished".to_owned()),
            Ok(()) => None,
        };
        let (secrets, end) =
            whole.ok_or_else(|| Fault::Setting(format!("{} holds no backup that was finished", path.display())))?;
        let head = head.expect("frames begin with one");
        Ok(Self { path: path.into(), head, secrets, end, left, ends })
    }

    /// Names the file as far as it can be used. One that grows by another backup still has the name, see [`Self::is_also`].
    pub fn name(&self) -> String {
        self.last().name()
    }

    /// Whether it is what had this name, or what that has grown to.
    pub fn is_also(&self, name: &str) -> bool {
        self.ends.iter().any(|end| end.name() == name)
    }

    /// Bytes that it ends at.
    pub fn bytes(&self) -> u64 {
        self.last().bytes
    }

    /// Visits its pieces behind a place; what is in front of it is not read. `tick` hears of bytes.
    pub fn each(&self, from: Place, tick: &mut dyn FnMut(u64), visit: VisitPiece<'_>) -> Result<(), Fault> {
        let doing = |why: io::Error| Fault::io(format!("reading {}", self.path.display()), &why);
        let mut file = open(&self.path)?;
        file.seek(SeekFrom::Start(from.bytes)).map_err(doing)?;
        let mut frames = Frames { place: from, ..Frames::default() };
        let long = self.bytes().saturating_sub(from.bytes);
        read(&mut file.take(long), &mut frames, tick, visit)?;
        if frames.place == *self.last() {
            return Ok(());
        }
        Err(Fault::Setting(format!("{} was changed while it was read", self.path.display())))
    }

    fn last(&self) -> &Place {
        self.ends.last().expect("one was finished")
    }
}

fn open(path: &Path) -> Result<File, Fault> {
    File::open(path).map_err(|why| Fault::io(format!("reading {}", path.display()), &why))
}
