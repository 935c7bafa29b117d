//! The rows of a CSV file, each of a bounded size: a quote that is never closed would make the rest of the file one row.

use std::cell::Cell;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use csv::StringRecord;

use crate::error::Fault;

/// A row is at most so long, give or take what is read at once: hundreds of times what can be taken of one.
const ROW_MAX: u64 = 1 << 20;
/// Bytes that are read at once.
const AT_ONCE: usize = 64 * 1024;

/// A row as it was read, or why it is none.
pub(super) type Read<'r> = Result<&'r StringRecord, &'static str>;

/// A row's line, and why it is none if that is so.
type Next = (u64, Result<(), &'static str>);

/// A file being read.
pub(super) struct Rows {
    path: PathBuf,
    /// Columns, by the first row.
    width: usize,
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
    /// The last byte that was read.
    last: u8,
}

impl io::Read for Bounded {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let Reach { read, row, is_too_far } = &*self.reach;
        if read.get() > row.get() + ROW_MAX {
            is_too_far.set(true);
            return Err(io::Error::other("a row is too long"));
        }
        let got = io::Read::read(&mut self.file, bytes)?;
        if got == 0 && self.last != b'\n' {
            // A last line may lack its end, by which lines are counted.
            let Some(first) = bytes.first_mut() else { return Ok(0) };
            (self.last, *first) = (b'\n', b'\n');
            return Ok(1);
        }
        self.last = bytes[..got].last().copied().unwrap_or(self.last);
        read.set(read.get() + got as u64);
        Ok(got)
    }
}

impl Rows {
    pub(super) fn open(path: &Path) -> Result<Self, Fault> {
        let file = File::open(path).map_err(|why| Fault::io(format!("opening {}", path.display()), &why))?;
        let reach = Rc::<Reach>::default();
        let bounded = Bounded { file, reach: Rc::clone(&reach), last: b'\n' };
        let mut reader = csv::ReaderBuilder::new();
        // With CR and LF as one end the reader would count the LF to the next row, and name its line one too low. As it is, the CR is
        // a blank at the end of the last column.
        reader.flexible(true).buffer_capacity(AT_ONCE).terminator(csv::Terminator::Any(b'\n'));
        let reader = reader.from_reader(bounded);
        Ok(Self { path: path.into(), width: usize::MAX, reader, reach, told: 0 })
    }

    /// The first row.
    pub(super) fn names(&mut self) -> Result<StringRecord, Fault> {
        let names = self.reader.headers().cloned().map_err(|why| failed(&self.path, &self.reach, 1, &why))?;
        if names.iter().any(|name| name.trim_end().contains('\r')) {
            let why = "has lines that end with CR alone: write it with LF, or with both";
            return Err(Fault::Setting(format!("{} {why}", self.path.display())));
        }
        self.width = names.len();
        Ok(names)
    }

    /// Reads the next row: its line, and why it is none if that is so; `None` behind the last. One that is short lacks the last
    /// columns, as some programs leave out what is empty there; what is in one that is long can't be known.
    pub(super) fn next(&mut self, row: &mut StringRecord) -> Result<Option<Next>, Fault> {
        loop {
            let (line, byte) = (self.reader.position().line(), self.reader.position().byte());
            self.reach.row.set(byte);
            return match self.reader.read_record(row) {
                // A line with nothing but its CR.
                Ok(true) if row.len() == 1 && row[0].trim().is_empty() => continue,
                Ok(true) => {
                    let fits = row.iter().skip(self.width).all(|column| column.trim().is_empty());
                    let came = if fits { Ok(()) } else { Err("it has more columns than the first line") };
                    // Empty lines in front of it were skipped, and those within it are behind its beginning.
                    let within = row.as_slice().bytes().filter(|byte| *byte == b'\n').count() as u64;
                    Ok(Some((line.max(self.reader.position().line().saturating_sub(1 + within)), came)))
                }
                Ok(false) => Ok(None),
                Err(why) if why.is_io_error() => Err(failed(&self.path, &self.reach, line, &why)),
                Err(_) => Ok(Some((line, Err("it is not UTF-8")))),
            };
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
    match why.kind() {
        csv::ErrorKind::Io(_) if reach.is_too_far.get() => {
            let long = ROW_MAX >> 20;
            Fault::Setting(format!(
                "{path}, line {line}: a row of more than {long} MiB begins there, by a quote that is never closed perhaps"
            ))
        }
        csv::ErrorKind::Io(why) => Fault::io(format!("reading {path}"), why),
        _ => Fault::Setting(format!("{path}: {why}")),
    }
}
