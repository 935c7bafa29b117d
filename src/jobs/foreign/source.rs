//! What an import is made of, by name, whether it is still that, and the file of rows that it did not take. Never: what is in a
//! row.

use std::collections::BTreeMap;
use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::REJECTS;
use crate::domain::SeasonId;
use crate::error::Fault;

/// Files as they were when they were first seen. An import reads each more than once, and must find the same.
#[derive(Clone, Debug, Default)]
pub struct Stamps(BTreeMap<PathBuf, (u64, Option<SystemTime>)>);

impl Stamps {
    /// Sees a file; fails where it is not what it was before.
    pub fn see(&mut self, path: &Path) -> Result<(), Fault> {
        let stamp = |of: &Metadata| (of.len(), of.modified().ok());
        let found = std::fs::metadata(path).map_err(|why| Fault::io(format!("looking at {}", path.display()), &why))?;
        let found = stamp(&found);
        if *self.0.entry(path.into()).or_insert(found) == found {
            return Ok(());
        }
        let why = "was written to while it was read: run this again once nothing does";
        Err(Fault::Setting(format!("{} {why}", path.display())))
    }
}

/// Changes whenever the same files would make other events.
const RULES: &str = concat!("plaudit csv 2 ", env!("CARGO_PKG_VERSION"));

/// What is in a file that is to take rejects.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RowsIn {
    /// No row: nothing is lost with it.
    None,
    /// Rows that some import did not take.
    Rejects,
    /// Something else.
    Others,
}

/// Looks into such a file.
pub fn rows_in(file: &mut dyn Read) -> Result<RowsIn, Fault> {
    let (mut text, head) = (Vec::new(), REJECTS.join(",") + "\n");
    let read = file.take(head.len() as u64 + 1).read_to_end(&mut text);
    read.map_err(|why| Fault::io("reading the rejects", &why))?;
    Ok(match text.strip_prefix(head.as_bytes()) {
        None if head.as_bytes().starts_with(&text) => RowsIn::None,
        None => RowsIn::Others,
        Some([]) => RowsIn::None,
        Some(_) => RowsIn::Rejects,
    })
}

/// Names what an import is made of: the bytes of its files, and all else that decides what comes of them but the key; with the files
/// as they were. `tick` hears of bytes.
pub fn name(
    season: &SeasonId,
    columns: &BTreeMap<String, String>,
    files: &[Option<&Path>],
    tick: &mut dyn FnMut(u64),
) -> Result<(String, Stamps), Fault> {
    let mut stamps = Stamps::default();
    let mut hasher = blake3::Hasher::new_derive_key(RULES);
    // Each with its length in front, so that no two lists of parts are the same bytes.
    let mut part = |text: &[u8]| {
        hasher.update(&(text.len() as u64).to_be_bytes()).update(text);
    };
    part(season.as_str().as_bytes());
    for (ours, theirs) in columns {
        part(ours.as_bytes());
        part(theirs.as_bytes());
    }
    part(b"");
    for file in files {
        let Some(path) = file else {
            part(b"");
            continue;
        };
        let doing = |why: io::Error| Fault::io(format!("reading {}", path.display()), &why);
        stamps.see(path)?;
        let (mut opened, mut bytes) = (File::open(path).map_err(doing)?, vec![0; 256 * 1024]);
        let mut of = blake3::Hasher::new();
        loop {
            let got = opened.read(&mut bytes).map_err(doing)?;
            if got == 0 {
                break;
            }
            of.update(&bytes[..got]);
            tick(got as u64);
        }
        part(of.finalize().as_bytes());
    }
    Ok((hasher.finalize().to_hex().to_string(), stamps))
}
