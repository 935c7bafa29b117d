//! An export as one text: a line that says what it is of, each table behind a line that names it, and at last the manifest. A
//! text without that is not whole.
//!
//! ```text
//! {"export":{…}}
//! {"table":"seasons","file":"seasons.jsonl"}
//! …rows…
//! {"manifest":{…}}
//! ```

use std::io::Write;

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
        let mut hashed = Hashed::new(&mut *out);
        let rows = source.write(table, &manifest, &mut hashed, tick)?;
        let (_, bytes, blake3) = hashed.end();
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
