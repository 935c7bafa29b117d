//! An export as one text: a line that says what it is of, each table behind a line that names it, and at last the manifest. A
//! text without that is not whole.
//!
//! ```text
//! {"export":{…}}
//! {"table":"seasons","file":"seasons.jsonl"}
//! …rows…
//! {"manifest":{…}}
//! ```
//!
//! What is no text stands as lines of base64, each decoded by itself; the manifest's hashes and lengths are of what they
//! decode to.

use std::io::{self, Write};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::{Deserialize, Serialize};

use super::folder::Hashed;
use super::{Manifest, Source, Table, Tick, Written, writing};
use crate::error::Fault;

/// A line longer than this is none of ours: a record of 64 KiB in base64 is shorter.
const LINE_MAX: usize = 256 * 1024;

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Head {
    Export(Manifest),
    Manifest(Manifest),
    #[serde(untagged)]
    Table {
        table: Table,
        file: String,
    },
}

/// Writes all of it.
pub fn stream(source: &Source, of: Manifest, out: &mut dyn Write, tick: Tick<'_>) -> Result<Manifest, Fault> {
    let mut manifest = of;
    head(out, &Head::Export(manifest.clone()))?;
    for table in Table::ALL {
        if manifest.pseudonymous && table.tells_secrets() {
            continue;
        }
        let file = table.file(manifest.format);
        head(out, &Head::Table { table, file: file.clone() })?;
        let (rows, bytes, blake3) = if table.is_text(manifest.format) {
            let mut hashed = Hashed::new(&mut *out);
            let rows = source.write(table, &manifest, &mut hashed, tick)?;
            let (_, bytes, blake3) = hashed.end();
            (rows, bytes, blake3)
        } else {
            let mut hashed = Hashed::new(Lines { out: &mut *out, left: Vec::new() });
            let rows = source.write(table, &manifest, &mut hashed, tick)?;
            let (mut lines, bytes, blake3) = hashed.end();
            lines.end().map_err(|why| writing(&why))?;
            (rows, bytes, blake3)
        };
        manifest.tables.push(Written { table, file, rows, bytes, blake3 });
    }
    head(out, &Head::Manifest(manifest.clone()))?;
    Ok(manifest)
}

fn head(out: &mut dyn Write, head: &Head) -> Result<(), Fault> {
    let mut line = serde_json::to_vec(head).expect("our own types always serialise");
    line.push(b'\n');
    out.write_all(&line).map_err(|why| writing(&why))
}

/// Bytes that stand in a line of base64.
const LINE: usize = 48 * 1024;

/// Bytes as lines of base64.
struct Lines<'a> {
    out: &'a mut dyn Write,
    left: Vec<u8>,
}

impl Lines<'_> {
    fn line(&mut self, bytes: usize) -> io::Result<()> {
        let mut line = BASE64_STANDARD.encode(&self.left[..bytes]);
        line.push('\n');
        self.left.drain(..bytes);
        self.out.write_all(line.as_bytes())
    }

    fn end(&mut self) -> io::Result<()> {
        if self.left.is_empty() { Ok(()) } else { self.line(self.left.len()) }
    }
}

impl Write for Lines<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // A line's worth at a time: a group of rows is written in one piece.
        let taken = bytes.len().min(LINE);
        self.left.extend_from_slice(&bytes[..taken]);
        if self.left.len() >= LINE {
            self.line(LINE)?;
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What lines of a table that is no text decode to.
pub fn decode_lines(lines: &[u8]) -> Result<Vec<u8>, Fault> {
    let mut bytes = Vec::with_capacity(lines.len() / 4 * 3);
    for line in lines.split_inclusive(|byte| *byte == b'\n') {
        let decoded = BASE64_STANDARD.decode_vec(line.strip_suffix(b"\n").unwrap_or(line), &mut bytes);
        decoded.map_err(|_| Fault::Setting("what came is no export of this version of plaudit".into()))?;
    }
    Ok(bytes)
}

/// What a text of ours holds, piece by piece.
#[derive(Debug)]
pub enum Line<'a> {
    /// What it is of.
    Export(Manifest),
    /// The next table begins.
    Table(Table),
    /// Whole lines of it.
    Rows(&'a [u8]),
    /// All of it came.
    Manifest(Manifest),
}

/// Takes a text apart as it comes.
#[derive(Debug, Default)]
pub struct Splitter {
    /// The beginning of a line.
    left: Vec<u8>,
}

impl Splitter {
    /// Takes the next bytes, wherever they are cut.
    pub fn take(&mut self, bytes: &[u8], visit: &mut dyn FnMut(Line<'_>) -> Result<(), Fault>) -> Result<(), Fault> {
        self.left.extend_from_slice(bytes);
        let text = std::mem::take(&mut self.left);
        let (mut from, mut at) = (0, 0);
        while let Some(end) = text[at..].iter().position(|byte| *byte == b'\n').map(|end| at + end + 1) {
            let line = &text[at..end];
            if is_head(line) {
                if from < at {
                    visit(Line::Rows(&text[from..at]))?;
                }
                visit(read(line)?)?;
                from = end;
            }
            at = end;
        }
        if from < at {
            visit(Line::Rows(&text[from..at]))?;
        }
        if text.len() - at > LINE_MAX {
            return Err(Fault::Setting("what came is no export of plaudit".into()));
        }
        self.left.extend_from_slice(&text[at..]);
        Ok(())
    }
}

/// No row begins so, and no line of the secrets.
fn is_head(line: &[u8]) -> bool {
    [&b"{\"table\":"[..], b"{\"export\":", b"{\"manifest\":"].iter().any(|head| line.starts_with(head))
}

fn read(line: &[u8]) -> Result<Line<'static>, Fault> {
    let head: Head = serde_json::from_slice(line)
        .map_err(|why| Fault::Setting(format!("what came is no export of this version of plaudit: {why}")))?;
    Ok(match head {
        Head::Export(manifest) => Line::Export(manifest),
        Head::Manifest(manifest) => Line::Manifest(manifest),
        Head::Table { table, .. } => Line::Table(table),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_no_text_comes_back(parts in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..100_000), 0..6)) {
            let mut text = Vec::new();
            let mut lines = Lines { out: &mut text, left: Vec::new() };
            for part in &parts {
                lines.write_all(part).unwrap();
            }
            lines.end().unwrap();
            prop_assert!(text.split(|byte| *byte == b'\n').all(|line| line.len() < LINE_MAX && !is_head(line)));
            prop_assert_eq!(decode_lines(&text).unwrap(), parts.concat());
        }
    }
}
