//! A table on its way into its file, by a thread of its own: the rows are made while earlier ones are hashed and written.
//!
//! Now and then another makes sure of what there is: what whole rows have reached is synced, and only then noted; so whatever cuts it
//! short, the notes tell of bytes that are on the disk. Rows go on being written meanwhile, as fast as the disk takes them. Never: renames
//! the file, or knows which tables there are.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::panic::resume_unwind;
use std::path::Path;
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::thread;

use super::begun::PART;
use super::sink::{GATHERED, Hashed, RowSink};
use super::{Written, hex};
use crate::error::Fault;

/// Pieces of a table between the thread that makes rows and the one that writes them: of 128 KiB, or a group of rows.
const PIECES: usize = 4;

/// A part that is gone on with: cut to where it was sure, and what follows is hashed behind what it is.
#[derive(Debug)]
pub(super) struct Going {
    file: File,
    /// On the heap: it is far larger than all else.
    hasher: Box<blake3::Hasher>,
    sure: Written,
}

impl Going {
    /// The part in `dir`, if its first bytes are what was noted.
    pub(super) fn find(dir: &Path, sure: &Written) -> Result<Option<Self>, Fault> {
        let path = dir.join(format!("{}{PART}", sure.file));
        let doing = |why: io::Error| Fault::io(format!("reading {}", path.display()), &why);
        let file = match OpenOptions::new().read(true).write(true).open(&path) {
            Err(why) if why.kind() == io::ErrorKind::NotFound => return Ok(None),
            opened => opened.map_err(doing)?,
        };
        let mut hasher = Box::new(blake3::Hasher::new());
        hasher.update_reader((&file).take(sure.bytes)).map_err(doing)?;
        let same = hasher.count() == sure.bytes && hex(hasher.finalize().as_bytes()) == sure.blake3;
        Ok(same.then(|| Self { file, hasher, sure: sure.clone() }))
    }

    pub(super) fn of(&self) -> &Written {
        &self.sure
    }
}

/// A part that is being written.
pub(super) struct Part<N> {
    way: Way,
    /// Notes what is on the disk.
    note: N,
}

/// How far it is.
struct Way {
    to: Hashed<File>,
    /// What whole rows have reached; no rows: nothing yet.
    stood: Written,
    /// How much of it was noted, or is about to be.
    noted: u64,
    /// Bytes between two notes.
    every: u64,
}

impl<N: FnMut(&Written) -> Result<(), Fault> + Send> Part<N> {
    /// Begins in an empty file. `table`: what it becomes, of no rows yet.
    pub(super) fn begin(dir: &Path, table: Written, every: u64, note: N) -> io::Result<Self> {
        let mode = if table.table.tells_secrets() { 0o600 } else { 0o644 };
        let path = dir.join(format!("{}{PART}", table.file));
        let file = OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(path)?;
        Ok(Self::over(file, table, every, note))
    }

    fn over(file: File, table: Written, every: u64, note: N) -> Self {
        Self { way: Way { to: Hashed::new(file), stood: table, noted: 0, every }, note }
    }

    /// Goes on behind what was sure.
    pub(super) fn go_on(going: Going, every: u64, note: N) -> io::Result<Self> {
        let Going { mut file, hasher, sure } = going;
        file.set_len(sure.bytes)?;
        file.seek(SeekFrom::Start(sure.bytes))?;
        let to = Hashed::behind(file, *hasher, sure.bytes);
        Ok(Self { way: Way { to, noted: sure.bytes, stood: sure, every }, note })
    }

    /// Has what `write` makes hashed and written by another thread. What it comes to; what was sure is noted where it fails.
    pub(super) fn fill(
        self,
        doing: &dyn Fn(io::Error) -> Fault,
        write: impl FnOnce(&mut dyn RowSink) -> Result<u64, Fault>,
    ) -> Result<Written, Fault> {
        let Self { mut way, mut note } = self;
        let (sender, pieces) = sync_channel::<Piece>(PIECES);
        let gathers = GATHERED.min(usize::try_from(way.every).unwrap_or(GATHERED));
        let mut behind = Behind { sender, has: way.stood.rows, gathers };
        let file = way.to.to.try_clone().map_err(doing)?;
        let (rows, written, noted) = thread::scope(|scope| {
            // Nothing waits in it: what stands when the last sync is over is noted next, and writing waits for none.
            let (sender, standing) = sync_channel::<Written>(0);
            let (way, note) = (&mut way, &mut note);
            let noting = scope.spawn(move || {
                standing.into_iter().try_for_each(|stood| {
                    file.sync_all().map_err(Failed::Writing)?;
                    note(&stood).map_err(Failed::Noting)
                })
            });
            let writing =
                scope.spawn(move || pieces.into_iter().try_for_each(|(bytes, rows)| way.take(&bytes, rows, &sender)));
            let rows = write(&mut behind);
            // The threads end behind the last piece.
            drop(behind);
            let written = writing.join().unwrap_or_else(|panic| resume_unwind(panic));
            (rows, written, noting.join().unwrap_or_else(|panic| resume_unwind(panic)))
        });
        // The one's failure is why the other stopped, and both are why there was nobody to take the rows.
        noted.and(written).map_err(|why| match why {
            Failed::Writing(why) => doing(why),
            Failed::Noting(why) => why,
        })?;
        let rows = match rows {
            Ok(rows) => rows,
            Err(why) => {
                // Why it was cut short matters more than whether all of it could be kept.
                if let Err(kept) = way.keep(&mut note) {
                    tracing::warn!("what came last is not kept: {kept:?}");
                }
                return Err(why);
            }
        };
        // The bytes before the name.
        way.to.to.sync_all().map_err(doing)?;
        Ok(Written { rows, bytes: way.to.bytes(), blake3: way.to.blake3(), ..way.stood })
    }
}

impl Way {
    fn take(&mut self, bytes: &[u8], rows: Option<u64>, standing: &SyncSender<Written>) -> Result<(), Failed> {
        self.to.write_all(bytes).map_err(Failed::Writing)?;
        let Some(rows) = rows else { return Ok(()) };
        (self.stood.rows, self.stood.bytes, self.stood.blake3) = (rows, self.to.bytes(), self.to.blake3());
        if self.stood.bytes - self.noted >= self.every {
            match standing.try_send(self.stood.clone()) {
                Ok(()) => self.noted = self.stood.bytes,
                Err(TrySendError::Full(_)) => {}
                // It could not be noted, which that thread's end tells.
                Err(TrySendError::Disconnected(_)) => {
                    return Err(Failed::Writing(io::ErrorKind::BrokenPipe.into()));
                }
            }
        }
        Ok(())
    }

    /// It is cut short: makes sure of all whole rows.
    fn keep(&mut self, note: &mut impl FnMut(&Written) -> Result<(), Fault>) -> Result<(), Failed> {
        if self.stood.bytes == self.noted {
            return Ok(());
        }
        self.to.to.set_len(self.stood.bytes).and_then(|()| self.to.to.sync_all()).map_err(Failed::Writing)?;
        note(&self.stood).map_err(Failed::Noting)
    }
}

/// What kept a part from being written.
#[derive(Debug)]
enum Failed {
    Writing(io::Error),
    Noting(Fault),
}

/// Bytes, and how many rows are whole with them, if no row is begun.
type Piece = (Vec<u8>, Option<u64>);

/// The way to the thread that writes.
struct Behind {
    sender: SyncSender<Piece>,
    has: u64,
    gathers: usize,
}

impl Behind {
    fn send(&self, piece: Piece) -> io::Result<()> {
        self.sender.send(piece).map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))
    }
}

impl Write for Behind {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.send((bytes.to_vec(), None))?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl RowSink for Behind {
    fn has(&self) -> u64 {
        self.has
    }

    fn gathers(&self) -> usize {
        self.gathers
    }

    fn write_rows(&mut self, lines: &[u8], rows: u64) -> io::Result<()> {
        self.send((lines.to_vec(), Some(rows)))
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::super::Table;
    use super::*;

    /// The writer's own failure is told, and not that nobody took the rows.
    #[test]
    fn a_full_disk_is_named() {
        let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
        let table =
            Written { table: Table::Votes, file: "votes.jsonl".into(), rows: 0, bytes: 0, blake3: String::new() };
        let part = Part::over(full, table, 1 << 20, |_: &Written| Ok(()));
        let failed = part.fill(&|why| Fault::io("writing it", &why), |out| {
            for _ in 0..100 {
                out.write_all(&[7; 1000]).map_err(|why| Fault::io("handing over", &why))?;
            }
            Ok(0)
        });
        assert!(failed.unwrap_err().to_string().starts_with("writing it: "));
    }
}
