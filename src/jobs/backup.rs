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
//! ```
//!
//! `check` is the beginning of BLAKE3 over the check before it, length, kind and body. A running server sends one whole backup
//! in the same frames. Never: decides whether a store may be overwritten.

mod finished;

use std::collections::{HashMap, HashSet};
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::export::{Source, hex};
use crate::codec;
use crate::domain::Seq;
use crate::error::Fault;
use crate::store::{VALUE_MAX, sync_dir};

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

type Check = [u8; 16];

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
}

/// Writes a whole backup of a source.
pub fn write_backup(source: &Source, out: &mut dyn Write) -> Result<BackupEnd, Fault> {
    let mut frames = FrameWriter { out, check: [0; 16], gathered: Vec::new() };
    frames.json(HEAD, &head_of(source))?;
    frames.add(SECRETS, &[&source.secrets])?;
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
        _ => return None,
    })
}

/// A file of backups that another is added to. What an unfinished one left is gone on with: its frames are whole, and count
/// once the next end stands behind them.
#[derive(Debug)]
pub struct BackupFile {
    /// The directory that it is in.
    dir: PathBuf,
    frames: FrameWriter<File>,
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
                Piece::End(_) => {}
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
            // One that is whole has none of these.
            Piece::Gone(..) => {}
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    type Model = std::collections::BTreeMap<Vec<u8>, Vec<u8>>;

    fn record(value: u8) -> Vec<u8> {
        codec::record(codec::Kind::Mark, b"k", &value)
    }

    fn back_up(path: &Path, model: &Model, sequence: u64, cut: Option<usize>) -> Option<BackupEnd> {
        let mut file = BackupFile::open(path).unwrap();
        let head = BackupHead { plaudit_backup: 1, store: "s".into(), voter_key: "v".into() };
        file.take(Piece::Head(head)).unwrap();
        file.take(Piece::Secrets(b"secret")).unwrap();
        for (at, (key, value)) in model.iter().enumerate() {
            if cut == Some(at) {
                file.frames.flush().unwrap();
                return None;
            }
            file.take(Piece::Put("tables", key, value)).unwrap();
        }
        let end = BackupEnd { sequence, records: model.len() as u64, ..BackupEnd::default() };
        file.take(Piece::End(end)).unwrap()
    }

    fn restored(path: &Path) -> (Model, u64) {
        let mut model = Model::new();
        let backup = FinishedBackup::look(path, &mut |_| {}).unwrap();
        let apply = &mut |piece: Piece<'_>, _| {
            match piece {
                Piece::Put("tables", key, value) => drop(model.insert(key.into(), value.into())),
                Piece::Gone("tables", key) => drop(model.remove(key)),
                _ => {}
            }
            Ok(())
        };
        backup.each(Place::default(), &mut |_| {}, apply).unwrap();
        (model, backup.end.sequence)
    }

    fn is_refused(path: &Path) -> bool {
        FinishedBackup::look(path, &mut |_| {}).is_err()
    }

    /// How many bytes of the file the last finished backup ends at.
    fn finished(path: &Path) -> u64 {
        let (mut frames, mut at) = (Frames::default(), 0);
        for byte in std::fs::read(path).unwrap() {
            let before = frames.ends;
            frames.take(&[byte], &mut |_| Ok(())).unwrap();
            at = if frames.ends > before { frames.place.bytes } else { at };
        }
        at
    }

    proptest! {
        /// However often a file is added to, and whichever of these were cut short: it holds what the last finished one held.
        #[test]
        fn a_file_holds_its_last_finished_backup(
            stages in prop::collection::vec((prop::collection::btree_map(0_u8..30, 0_u8..3, 0..30), any::<Option<u8>>(), 0_u8..60), 1..6),
        ) {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("b");
            let mut last: Option<(Model, u64)> = None;
            for (sequence, (model, cut, torn)) in (1..).zip(stages) {
                let model: Model = model.into_iter().map(|(key, value)| (vec![b'v', key], record(value))).collect();
                let cut = cut.map(usize::from).filter(|cut| *cut < model.len());
                if let Some(end) = back_up(&path, &model, sequence, cut) {
                    prop_assert!(end.written <= model.len() as u64);
                    last = Some((model, sequence));
                } else {
                    // And within a frame of what was not finished.
                    let long = std::fs::metadata(&path).unwrap().len();
                    let unfinished = long - finished(&path);
                    let file = OpenOptions::new().write(true).open(&path).unwrap();
                    file.set_len(long - unfinished.min(torn.into())).unwrap();
                }
                match &last {
                    Some(last) => prop_assert_eq!(&restored(&path), last),
                    None => prop_assert!(is_refused(&path)),
                }
            }
        }

        #[test]
        fn a_changed_byte_is_noticed(at: prop::sample::Index, bit in 0_u8..8) {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("b");
            let model: Model = (0..9).map(|key| (vec![b'v', key], record(key))).collect();
            back_up(&path, &model, 7, None);
            let mut bytes = std::fs::read(&path).unwrap();
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
            std::fs::write(&path, bytes).unwrap();
            prop_assert!(is_refused(&path));
        }
    }

    #[test]
    fn what_has_not_changed_is_not_written_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("b");
        let mut model: Model = (0..200).map(|key| (vec![b'v', key], record(key))).collect();
        assert_eq!(back_up(&path, &model, 7, None).unwrap().written, 200);
        model.insert(vec![b'v', 3], record(99));
        model.remove(&vec![b'v', 4]);
        let end = back_up(&path, &model, 9, None).unwrap();
        assert_eq!((end.records, end.written, end.gone), (199, 1, 1));
        assert_eq!(restored(&path), (model, 9));
    }

    #[test]
    fn what_is_no_backup_is_left_as_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("b");
        let long = "A letter of more than a frame's header.\n".repeat(9);
        for text in ["x", "milk\nbread\n", "\0\0\0\u{1}notes", &long] {
            std::fs::write(&path, text).unwrap();
            assert!(matches!(BackupFile::open(&path), Err(Fault::Setting(_))), "{text:?}");
            assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
        }
        // But one that was cut short within its first frame is begun again.
        let model = Model::from([(b"k".to_vec(), record(1))]);
        std::fs::remove_file(&path).unwrap();
        back_up(&path, &model, 1, None).unwrap();
        let whole = std::fs::read(&path).unwrap();
        for cut in [3, 5, 20, 30] {
            std::fs::write(&path, &whole[..cut]).unwrap();
            back_up(&path, &model, 1, None).unwrap();
            assert_eq!(std::fs::read(&path).unwrap(), whole);
        }
    }

    #[test]
    fn two_at_once_do_not_write_into_each_other() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("b");
        let first = BackupFile::open(&path).unwrap();
        let why = BackupFile::open(&path).unwrap_err().to_string();
        assert!(why.contains("another backup"), "{why}");
        drop(first);
        BackupFile::open(&path).unwrap();
    }
}
