//! The rows of a CSV file, each of a bounded size: a quote that is never closed would make the rest of the file one row.

use std::cell::Cell;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use csv::StringRecord;

use crate::error::Fault;

/// A row is at most so long, give or take what is read at once: hundreds of times what can be taken of one.
const ROW_MAX: u64 = 1 << 20;
/// Bytes that are read at once.
const AT_ONCE: usize = 64 * 1024;

/// A file being read.
pub(super) struct Rows {
    path: PathBuf,
    reader: csv::Reader<Bounded>,
    reach: Rc<Reach>,
    /// Bytes that were told of.
    told: u64,
}

/// Where the reader is, and the row that it reads.
#[derive(Default)]
struct Reach {
    read: Cell<u64>,
    row: Cell<u64>,
    is_too_far: Cell<bool>,
}

struct Bounded {
    file: File,
    reach: Rc<Reach>,
}

impl Read for Bounded {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let Reach { read, row, is_too_far } = &*self.reach;
        if read.get() > row.get() + ROW_MAX {
            is_too_far.set(true);
            return Err(io::Error::other("a row is too long"));
        }
        let got = self.file.read(bytes)?;
        read.set(read.get() + got as u64);
        Ok(got)
    }
}

impl Rows {
    pub(super) fn open(path: &Path) -> Result<Self, Fault> {
        let file = File::open(path).map_err(|why| Fault::io(format!("opening {}", path.display()), &why))?;
        let reach = Rc::<Reach>::default();
        let bounded = Bounded { file, reach: Rc::clone(&reach) };
        let reader = csv::ReaderBuilder::new().flexible(true).buffer_capacity(AT_ONCE).from_reader(bounded);
        Ok(Self { path: path.into(), reader, reach, told: 0 })
    }

    /// The first row.
    pub(super) fn names(&mut self) -> Result<StringRecord, Fault> {
        self.reader.headers().cloned().map_err(|why| failed(&self.path, &self.reach, 1, &why))
    }

    /// Reads the next row: its line, and whether it is text; `None` behind the last.
    pub(super) fn next(&mut self, row: &mut StringRecord) -> Result<Option<(u64, bool)>, Fault> {
        let (line, byte) = (self.reader.position().line(), self.reader.position().byte());
        self.reach.row.set(byte);
        match self.reader.read_record(row) {
            Ok(true) => Ok(Some((row.position().map_or(line, csv::Position::line), true))),
            Ok(false) => Ok(None),
            Err(why) if why.is_io_error() => Err(failed(&self.path, &self.reach, line, &why)),
            Err(_) => Ok(Some((line, false))),
        }
    }

    /// Bytes that were read since this told of some, if they are more than so many.
    pub(super) fn take_read(&mut self, more_than: u64) -> Option<u64> {
        let read = self.reach.read.get() - self.told;
        self.told += if read > more_than { read } else { 0 };
        Some(read).filter(|read| *read > more_than)
    }
}

fn failed(path: &Path, reach: &Reach, line: u64, why: &csv::Error) -> Fault {
    let path = path.display();
    if reach.is_too_far.get() {
        let long = ROW_MAX >> 20;
        return Fault::Setting(format!(
            "{path}, line {line}: a row of more than {long} MiB begins there, by a quote that is never closed perhaps"
        ));
    }
    Fault::Setting(format!("{path}: {why}"))
}
