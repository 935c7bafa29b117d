//! An export's file of records, read. Never: puts one anywhere.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::Path;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use crate::error::Fault;
use crate::jobs::backup::Place;

/// Lines of records are at most so long: a record is at most 64 KiB, in base64.
const LINE_MAX: u64 = 256 * 1024;

/// What is called with each record, its tree and key first, and the place behind it.
pub(super) type VisitPlaced<'a> = &'a mut dyn FnMut(&'static str, &[u8], &[u8], Place) -> Result<(), Fault>;

/// Visits the records of an export's file behind a place; what is in front of it is not read.
pub(super) fn read_records(path: &Path, mut place: Place, visit: VisitPlaced<'_>) -> Result<(), Fault> {
    #[derive(serde::Deserialize)]
    struct Row<'a> {
        tree: &'a str,
        key: &'a str,
        record: &'a str,
    }
    let doing = |why: io::Error| Fault::io(format!("reading {}", path.display()), &why);
    let mut file = File::open(path).map_err(doing)?;
    file.seek(SeekFrom::Start(place.bytes)).map_err(doing)?;
    let mut lines = BufReader::with_capacity(256 * 1024, file);
    let mut line = String::new();
    loop {
        line.clear();
        let long = (&mut lines).take(LINE_MAX).read_line(&mut line).map_err(doing)?;
        if long == 0 {
            return Ok(());
        }
        place = Place { taken: place.taken + 1, bytes: place.bytes + long as u64, ..place };
        let wrong = || Fault::Setting(format!("{}, line {}: no record", path.display(), place.taken));
        let row: Row<'_> = serde_json::from_str(&line).map_err(|_| wrong())?;
        let tree = ["log", "tables"].into_iter().find(|tree| *tree == row.tree).ok_or_else(wrong)?;
        let digits = row.key.as_bytes().chunks(2).map(|two| u8::from_str_radix(str::from_utf8(two).ok()?, 16).ok());
        let key: Vec<u8> = digits.collect::<Option<_>>().ok_or_else(wrong)?;
        visit(tree, &key, &BASE64_STANDARD.decode(row.record).map_err(|_| wrong())?, place)?;
    }
}
