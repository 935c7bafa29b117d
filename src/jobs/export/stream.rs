//! An export as one text: a line that says what it is of, each table between a line that names it and one that says what was sent of
//! it, and at last the manifest. A text without that is not whole.
//!
//! ```text
//! {"export":{…},"state":"…","about":300000,"from":{"table":"votes","rows":200000}}
//! {"table":"votes","file":"votes.jsonl"}
//! …rows…
//! {"rows":204096,"blake3":"…"}
//! …rows…
//! {"end":{"table":"votes","file":"votes.jsonl","rows":…,"bytes":…,"blake3":"…"}}
//! {"manifest":{…}}
//! ```
//!
//! One that goes on where another broke off says so in `from`: the tables in front of that are not in it, nor the first rows of that
//! one. Lines between a table's rows say how many of its rows are there with what is in front of them. Rows are counted from the
//! table's first; lengths and hashes are of what this text holds of the table, and the manifest names the tables that it holds.
//!
//! What is no text stands as lines of base64, each decoded by itself, with no counts between them; its hash and length are of
//! what they decode to.

use std::io::{self, Write};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::sink::{GATHERED, Hashed, RowSink};
use super::{Manifest, Place, Source, Table, Tick, Written, writing};
use crate::error::Fault;

/// A line longer than this is none of ours: a record of 64 KiB in base64 is shorter.
const LINE_MAX: usize = 256 * 1024;
/// Bytes of a table between two lines that say where its rows are: no more than that is sent twice.
const MARKED: u64 = 1 << 20;

#[derive(Serialize, Deserialize)]
struct Opening {
    export: Manifest,
    state: String,
    #[serde(default)]
    about: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    from: Option<Place>,
}

#[derive(Serialize, Deserialize)]
struct Named {
    table: Table,
    file: String,
}

#[derive(Serialize, Deserialize)]
struct Mark {
    rows: u64,
    blake3: String,
}

#[derive(Serialize, Deserialize)]
struct Ended {
    end: Written,
}

#[derive(Serialize, Deserialize)]
struct Closing {
    manifest: Manifest,
}

/// Writes all of it.
pub fn stream(source: &Source, of: Manifest, out: &mut dyn Write, tick: Tick<'_>) -> Result<Manifest, Fault> {
    stream_from(source, of, None, out, tick)
}

/// Writes what is behind a place. `from` counts rows only where the table [goes on](Table::goes_on).
pub fn stream_from(
    source: &Source,
    of: Manifest,
    from: Option<Place>,
    out: &mut dyn Write,
    tick: Tick<'_>,
) -> Result<Manifest, Fault> {
    stream_marked(source, of, from, MARKED, out, tick)
}

fn stream_marked(
    source: &Source,
    of: Manifest,
    from: Option<Place>,
    every: u64,
    out: &mut dyn Write,
    tick: Tick<'_>,
) -> Result<Manifest, Fault> {
    let mut manifest = of;
    let (state, about) = (source.state.clone(), source.estimate()?);
    line(out, &Opening { export: manifest.clone(), state, about, from }).map_err(|why| writing(&why))?;
    for table in Table::all(manifest.pseudonymous).filter(|table| from.is_none_or(|from| from.table <= *table)) {
        let file = table.file(manifest.format);
        line(out, &Named { table, file: file.clone() }).map_err(|why| writing(&why))?;
        let (rows, bytes, blake3) = if table.is_text(manifest.format) {
            let has = from.filter(|from| from.table == table).map_or(0, |from| from.rows);
            let mut marked = Marked { to: Hashed::new(&mut *out), has, every, said: 0 };
            let rows = source.write(table, &manifest, &mut marked, tick)?;
            (rows, marked.to.bytes(), marked.to.blake3())
        } else {
            let mut hashed = Hashed::new(Lines { out: &mut *out, left: Vec::new() });
            let rows = source.write(table, &manifest, &mut hashed, tick)?;
            hashed.to.end().map_err(|why| writing(&why))?;
            (rows, hashed.bytes(), hashed.blake3())
        };
        let written = Written { table, file, rows, bytes, blake3 };
        line(out, &Ended { end: written.clone() }).map_err(|why| writing(&why))?;
        manifest.tables.push(written);
    }
    line(out, &Closing { manifest: manifest.clone() }).map_err(|why| writing(&why))?;
    Ok(manifest)
}

fn line(out: &mut dyn Write, line: &impl Serialize) -> io::Result<()> {
    let mut line = serde_json::to_vec(line).expect("our own types always serialise");
    line.push(b'\n');
    out.write_all(&line)
}

/// A table of text, with lines between its rows that say how many there are.
struct Marked<'a> {
    to: Hashed<&'a mut dyn Write>,
    has: u64,
    every: u64,
    /// Bytes in front of the last of those lines.
    said: u64,
}

impl Write for Marked<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.to.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

impl RowSink for Marked<'_> {
    fn has(&self) -> u64 {
        self.has
    }

    fn gathers(&self) -> usize {
        GATHERED.min(usize::try_from(self.every).unwrap_or(GATHERED))
    }

    fn write_rows(&mut self, lines: &[u8], rows: u64) -> io::Result<()> {
        self.to.write_all(lines)?;
        if self.to.bytes() - self.said >= self.every {
            self.said = self.to.bytes();
            let mark = Mark { rows, blake3: self.to.blake3() };
            line(self.to.to, &mark)?;
        }
        Ok(())
    }
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
    Export {
        /// The store, its sequence, and the form of rows.
        manifest: Manifest,
        /// [`Source::state`].
        state: String,
        /// About how many rows of votes and comments there are: for progress.
        about: u64,
        /// What is in front of this is not in it.
        from: Option<Place>,
    },
    /// The next table begins.
    Table(Table),
    /// Whole lines of it.
    Rows(&'a [u8]),
    /// All in front of this are so many whole rows of it.
    Mark {
        /// From the table's first.
        rows: u64,
        /// Of what this text held of the table so far.
        blake3: String,
    },
    /// All of it came: how many rows it has, and what this text held of it.
    End(Written),
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

/// What lines begin with that are no rows. No row does, and no line of the secrets: JSON's rows begin with their first column, of
/// which none is called so, and within a field of CSV, where a line may begin with anything, each quote is doubled.
const HEADS: [&[u8]; 5] = [b"{\"export\":", b"{\"table\":", b"{\"rows\":", b"{\"end\":", b"{\"manifest\":"];

fn is_head(line: &[u8]) -> bool {
    line.starts_with(b"{\"") && HEADS.iter().any(|head| line.starts_with(head))
}

fn read(line: &[u8]) -> Result<Line<'static>, Fault> {
    fn of<T: DeserializeOwned>(line: &[u8]) -> Result<T, Fault> {
        let wrong = |why| Fault::Setting(format!("what came is no export of this version of plaudit: {why}"));
        serde_json::from_slice(line).map_err(wrong)
    }
    Ok(match HEADS.iter().position(|head| line.starts_with(head)) {
        Some(0) => {
            let Opening { export, state, about, from } = of(line)?;
            Line::Export { manifest: export, state, about, from }
        }
        Some(1) => Line::Table(of::<Named>(line)?.table),
        Some(2) => {
            let Mark { rows, blake3 } = of(line)?;
            Line::Mark { rows, blake3 }
        }
        Some(3) => Line::End(of::<Ended>(line)?.end),
        _ => Line::Manifest(of::<Closing>(line)?.manifest),
    })
}

#[cfg(test)]
mod tests;
