//! Backups: the records of both stores in one file, as frames that each vouch for all before it. The first backup of a file
//! holds everything; each later one appends what has changed since, and what has gone.
//!
//! ```text
//! frame   length of the body u32, kind u8, check 16 bytes, body          (big-endian)
//!   1     head: JSON, once, at the front
//!   2     a record: tree u8 (0 log, 1 tables), length of the key u8, key, record
//!   3     a record that has gone: tree, length of the key, key
//!   4     the file of secrets, as it is
//!   5     end of a backup: JSON; what stands behind the last of them was never finished
//!   6     about how many bytes of records are to come, u64: in what a server sends, and in no file
//! ```
//!
//! `check` is the beginning of BLAKE3 over the check before it, length, kind and body. A running server sends one whole backup
//! in the same frames. Never: decides whether a store may be overwritten.

mod file;
mod finished;
#[cfg(test)]
mod tests;

use std::io::{Read, Write};

use serde::{Deserialize, Serialize};

use super::export::{Source, hex};
use crate::domain::Seq;
use crate::error::Fault;
use crate::store::VALUE_MAX;

/// The version of backups that this program writes and reads.
pub const BACKUP_VERSION: u32 = 1;
const HEADER: usize = 21;
/// A body is at most a record with its key, or a file of secrets.
const BODY_MAX: usize = VALUE_MAX + 1024;
/// Frames are gathered to this much before they are written.
const GATHERED: usize = 256 * 1024;

const HEAD: u8 = 1;
const PUT: u8 = 2;
const GONE: u8 = 3;
const SECRETS: u8 = 4;
const END: u8 = 5;
const COMING: u8 = 6;

type Check = [u8; 16];

pub use file::BackupFile;
pub use finished::FinishedBackup;

/// A place in what a store is made of: a file of backups, or an export's of records.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Place {
    /// Pieces, records or events in front of it.
    pub taken: u64,
    /// Bytes of the file in front of it.
    pub bytes: u64,
    /// The check of the last frame in front of it, which vouches for all of them; zeros where there are no frames.
    pub check: Check,
}

impl Place {
    /// A name that no other content of as many bytes has, where there are frames.
    pub fn name(&self) -> String {
        format!("{}:{}", self.bytes, hex(&self.check))
    }
}

/// Whose backup it is.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BackupHead {
    /// [`BACKUP_VERSION`].
    pub plaudit_backup: u32,
    /// The store's id, in hex.
    pub store: String,
    /// The fingerprint of the secret that its voters were made with, in hex.
    pub voter_key: String,
}

/// What a backup came to.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct BackupEnd {
    /// It holds everything up to this sequence, and nothing behind.
    pub sequence: Seq,
    /// Records that the store has.
    pub records: u64,
    /// Those of them that were written now.
    pub written: u64,
    /// Records that have gone since the backup before.
    pub gone: u64,
}

/// A piece of a backup.
#[derive(Clone, Debug)]
pub enum Piece<'a> {
    /// Whose it is.
    Head(BackupHead),
    /// A record: its tree, key and bytes.
    Put(&'static str, &'a [u8], &'a [u8]),
    /// One that has gone.
    Gone(&'static str, &'a [u8]),
    /// The file of secrets.
    Secrets(&'a [u8]),
    /// Everything before it is whole.
    End(BackupEnd),
    /// About so many bytes of records are to come: for progress.
    Coming(u64),
}

/// Writes a whole backup of a source.
pub fn write_backup(source: &Source, out: &mut dyn Write) -> Result<BackupEnd, Fault> {
    let mut frames = FrameWriter { out, check: [0; 16], gathered: Vec::new() };
    frames.json(HEAD, &head_of(source))?;
    frames.add(SECRETS, &[&source.secrets])?;
    frames.add(COMING, &[&source.estimated_bytes()?.to_be_bytes()])?;
    let mut end = BackupEnd { sequence: source.end.seq, ..BackupEnd::default() };
    source.each_record(&mut |tree, key, record| {
        end.records += 1;
        end.written += 1;
        frames.add(PUT, &[&[tree_of(tree)], &[length(key)], key, record])
    })?;
    frames.json(END, &end)?;
    frames.flush()?;
    Ok(end)
}

/// What a source's backups begin with.
pub fn head_of(source: &Source) -> BackupHead {
    let (store, voter_key) = (hex(&source.store_id), hex(&source.key.fingerprint()));
    BackupHead { plaudit_backup: BACKUP_VERSION, store, voter_key }
}

struct FrameWriter<W> {
    out: W,
    check: Check,
    gathered: Vec<u8>,
}

impl<W: Write> FrameWriter<W> {
    fn add(&mut self, kind: u8, body: &[&[u8]]) -> Result<(), Fault> {
        let long = u32::try_from(body.iter().map(|part| part.len()).sum::<usize>()).expect("a body is small");
        let start = [long.to_be_bytes().as_slice(), &[kind]].concat();
        self.check = check(&self.check, &start, body);
        self.gathered.extend_from_slice(&start);
        self.gathered.extend_from_slice(&self.check);
        for part in body {
            self.gathered.extend_from_slice(part);
        }
        if self.gathered.len() < GATHERED { Ok(()) } else { self.flush() }
    }

    fn json(&mut self, kind: u8, body: &impl Serialize) -> Result<(), Fault> {
        self.add(kind, &[&serde_json::to_vec(body).expect("our own types always serialise")])
    }

    fn flush(&mut self) -> Result<(), Fault> {
        self.out.write_all(&self.gathered).map_err(|why| Fault::io("writing the backup", &why))?;
        self.gathered.clear();
        Ok(())
    }
}

fn check(before: &Check, start: &[u8], body: &[&[u8]]) -> Check {
    let mut hasher = blake3::Hasher::new();
    hasher.update(before).update(start);
    for part in body {
        hasher.update(part);
    }
    *hasher.finalize().as_bytes().first_chunk().expect("16 of 32 bytes")
}

fn length(key: &[u8]) -> u8 {
    u8::try_from(key.len()).expect("keys are short")
}

fn tree_of(name: &str) -> u8 {
    u8::from(name == "tables")
}

/// What is called with each piece, and the place behind it.
pub type VisitPiece<'a> = &'a mut dyn FnMut(Piece<'_>, Place) -> Result<(), Fault>;

/// Takes frames apart as they come, wherever they are cut.
#[derive(Debug, Default)]
pub struct Frames {
    left: Vec<u8>,
    /// Behind the last whole frame so far.
    place: Place,
    ends: u64,
}

impl Frames {
    /// Takes the next bytes. Fails where a frame is not what was written.
    pub fn take(&mut self, bytes: &[u8], visit: &mut dyn FnMut(Piece<'_>) -> Result<(), Fault>) -> Result<(), Fault> {
        self.take_placed(bytes, &mut |piece, _| visit(piece))
    }

    /// The same, with the place behind each piece.
    fn take_placed(&mut self, bytes: &[u8], visit: VisitPiece<'_>) -> Result<(), Fault> {
        self.left.extend_from_slice(bytes);
        let text = std::mem::take(&mut self.left);
        let mut rest = text.as_slice();
        while let Some((start, behind)) = rest.split_at_checked(HEADER) {
            let long = u32::from_be_bytes(start[..4].try_into().expect("4 bytes")) as usize;
            if long > BODY_MAX {
                return Err(self.damaged());
            }
            let Some((body, behind)) = behind.split_at_checked(long) else { break };
            let found = check(&self.place.check, &start[..5], &[body]);
            let piece = piece(start[4], body).filter(|_| found == start[5..HEADER]);
            let piece = piece.ok_or_else(|| self.damaged())?;
            if self.place.bytes == 0 && !matches!(&piece, Piece::Head(head) if head.plaudit_backup == BACKUP_VERSION) {
                return Err(Fault::Setting("this is no backup that this version of plaudit reads".into()));
            }
            self.ends += u64::from(matches!(piece, Piece::End(_)));
            let Place { taken, bytes, .. } = self.place;
            let place = Place { taken: taken + 1, bytes: bytes + (HEADER + long) as u64, check: found };
            visit(piece, place)?;
            self.place = place;
            rest = behind;
        }
        self.left.extend_from_slice(rest);
        Ok(())
    }

    /// How many whole backups came.
    pub fn ends(&self) -> u64 {
        self.ends
    }

    /// Whether what came so far, no whole frame, can be the beginning of a file's first.
    fn may_be_begun(&self) -> bool {
        // A head is shorter than 256 bytes.
        self.left.iter().take(3).all(|byte| *byte == 0) && self.left.get(4).is_none_or(|kind| *kind == HEAD)
    }

    fn damaged(&self) -> Fault {
        match self.place.bytes {
            0 => Fault::Setting("this is no backup of plaudit".into()),
            whole => Fault::Setting(format!("the backup is damaged behind its first {whole} bytes")),
        }
    }
}

fn piece(kind: u8, body: &[u8]) -> Option<Piece<'_>> {
    let named = || {
        let (tree, rest) = body.split_first()?;
        let (long, rest) = rest.split_first()?;
        let (key, record) = rest.split_at_checked(usize::from(*long))?;
        Some((if *tree == 0 { "log" } else { "tables" }, key, record))
    };
    Some(match kind {
        HEAD => Piece::Head(serde_json::from_slice(body).ok()?),
        PUT => named().map(|(tree, key, record)| Piece::Put(tree, key, record))?,
        GONE => named().map(|(tree, key, _)| Piece::Gone(tree, key))?,
        SECRETS => Piece::Secrets(body),
        END => Piece::End(serde_json::from_slice(body).ok()?),
        COMING => Piece::Coming(u64::from_be_bytes(body.try_into().ok()?)),
        _ => return None,
    })
}

/// Reads a file of frames to its end. `tick` hears of bytes.
fn read(
    file: &mut dyn Read,
    frames: &mut Frames,
    tick: &mut dyn FnMut(u64),
    visit: VisitPiece<'_>,
) -> Result<(), Fault> {
    let mut bytes = vec![0; GATHERED];
    loop {
        let got = file.read(&mut bytes).map_err(|why| Fault::io("reading the backup", &why))?;
        if got == 0 {
            return Ok(());
        }
        tick(got as u64);
        frames.take_placed(&bytes[..got], visit)?;
    }
}
