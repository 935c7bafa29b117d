//! Rows to lines, by hand: millions a second.

use std::io;

use super::Format;
use super::parquet::{Buffer, Groups};
use super::sink::RowSink;

/// Rows that are skipped between two looks whether anyone still takes them.
const LOOKED: u64 = 8_192;

/// A value of a row.
#[derive(Clone, Copy, Debug)]
pub(super) enum Cell<'a> {
    Null,
    Text(&'a str),
    /// A number that stands in quotes in JSON: more than JavaScript counts exactly.
    Id(u64),
    Number(u64),
    Bool(bool),
    Hex(&'a [u8]),
}

impl<'a> From<Option<&'a str>> for Cell<'a> {
    fn from(text: Option<&'a str>) -> Self {
        text.map_or(Self::Null, Self::Text)
    }
}

impl From<Option<u64>> for Cell<'_> {
    fn from(number: Option<u64>) -> Self {
        number.map_or(Self::Null, Self::Number)
    }
}

/// What a column's cells are, where they are not null.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Of {
    Text,
    Id,
    Number,
    /// Numbers that are Unix milliseconds.
    Time,
    Bool,
    Hex,
}

/// A column.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Column {
    pub(super) name: &'static str,
    pub(super) of: Of,
}

impl Column {
    pub(super) const fn text(name: &'static str) -> Self {
        Self { name, of: Of::Text }
    }

    pub(super) const fn id(name: &'static str) -> Self {
        Self { name, of: Of::Id }
    }

    pub(super) const fn number(name: &'static str) -> Self {
        Self { name, of: Of::Number }
    }

    pub(super) const fn time(name: &'static str) -> Self {
        Self { name, of: Of::Time }
    }

    pub(super) const fn yes(name: &'static str) -> Self {
        Self { name, of: Of::Bool }
    }

    pub(super) const fn hex(name: &'static str) -> Self {
        Self { name, of: Of::Hex }
    }
}

/// Writes rows of the same columns.
pub(super) struct Rows<'a> {
    out: Out<'a>,
    /// Rows so far.
    count: u64,
    /// So many of the first are there already.
    has: u64,
    /// Lines are gathered to so many bytes.
    most: usize,
}

enum Out<'a> {
    Json {
        to: &'a mut dyn RowSink,
        lines: Vec<u8>,
        /// What stands in front of each cell.
        heads: Vec<Vec<u8>>,
    },
    Csv {
        to: &'a mut dyn RowSink,
        csv: Box<csv::Writer<Buffer>>,
        /// What `csv` has written, and `to` has not got.
        lines: Buffer,
    },
    Parquet(Box<Groups<'a>>),
}

impl<'a> Rows<'a> {
    pub(super) fn new(format: Format, columns: &[Column], to: &'a mut dyn RowSink) -> io::Result<Self> {
        let (has, most) = (to.has(), to.gathers());
        let out = match format {
            Format::Jsonl => {
                let head = |(at, column): (usize, &Column)| {
                    format!("{}\"{}\":", if at == 0 { "{" } else { "," }, column.name).into_bytes()
                };
                let heads = columns.iter().enumerate().map(head).collect();
                Out::Json { to, lines: Vec::with_capacity(most + 4096), heads }
            }
            Format::Csv => {
                let lines = Buffer::default();
                let mut csv = csv::Writer::from_writer(lines.clone());
                if has == 0 {
                    csv.write_record(columns.iter().map(|column| column.name))?;
                }
                Out::Csv { to, csv: Box::new(csv), lines }
            }
            // Its end names all that is before it: it is written whole or not at all.
            Format::Parquet if has > 0 => return Err(io::Error::other("Parquet is never gone on with")),
            Format::Parquet => Out::Parquet(Box::new(Groups::new(columns, to)?)),
        };
        Ok(Self { out, count: 0, has, most })
    }

    /// Whether the next row is there already, and its cells don't matter.
    pub(super) fn skips(&self) -> bool {
        self.count < self.has
    }

    /// Writes a row: as many cells as there are columns.
    pub(super) fn row(&mut self, cells: &[Cell<'_>]) -> io::Result<()> {
        self.count += 1;
        if self.count <= self.has {
            return if self.count.is_multiple_of(LOOKED) { self.look() } else { Ok(()) };
        }
        match &mut self.out {
            Out::Json { to, lines, heads } => {
                debug_assert_eq!(cells.len(), heads.len());
                for (cell, head) in cells.iter().zip(heads) {
                    lines.extend_from_slice(head);
                    json(lines, *cell);
                }
                lines.extend_from_slice(b"}\n");
                if lines.len() >= self.most {
                    to.write_rows(lines, self.count)?;
                    lines.clear();
                }
            }
            Out::Csv { to, csv, lines } => {
                let mut number = itoa::Buffer::new();
                for cell in cells {
                    match cell {
                        Cell::Null => csv.write_field(b"")?,
                        Cell::Text(text) => csv.write_field(text)?,
                        Cell::Id(n) | Cell::Number(n) => csv.write_field(number.format(*n))?,
                        Cell::Bool(yes) => csv.write_field(if *yes { "true" } else { "false" })?,
                        Cell::Hex(bytes) => {
                            let mut text = Vec::with_capacity(bytes.len() * 2);
                            put_hex(&mut text, bytes);
                            csv.write_field(&text)?;
                        }
                    }
                }
                csv.write_record(None::<&[u8]>)?;
                // Into memory: so a piece ends where a row does.
                csv.flush()?;
                lines.pass_on(self.most, |lines| to.write_rows(lines, self.count))?;
            }
            Out::Parquet(groups) => groups.row(cells)?,
        }
        Ok(())
    }

    /// Fails when nobody takes them any more: nothing is written for as long as rows are there already.
    fn look(&mut self) -> io::Result<()> {
        match &mut self.out {
            Out::Json { to, .. } | Out::Csv { to, .. } => to.flush(),
            Out::Parquet(_) => Ok(()),
        }
    }

    /// How many rows so far.
    pub(super) fn count(&self) -> u64 {
        self.count
    }

    /// Writes what is gathered; says how many rows there were.
    pub(super) fn end(self) -> io::Result<u64> {
        if self.skips() {
            let why = format!("{} rows were there already, and the table has {}", self.has, self.count);
            return Err(io::Error::new(io::ErrorKind::InvalidData, why));
        }
        match self.out {
            Out::Json { to, lines, .. } => to.write_rows(&lines, self.count)?,
            Out::Csv { to, mut csv, lines } => {
                csv.flush()?;
                lines.pass_on(0, |lines| to.write_rows(lines, self.count))?;
            }
            Out::Parquet(groups) => groups.end()?,
        }
        Ok(self.count)
    }
}

fn json(line: &mut Vec<u8>, cell: Cell<'_>) {
    match cell {
        Cell::Null => line.extend_from_slice(b"null"),
        Cell::Bool(yes) => line.extend_from_slice(if yes { b"true" } else { b"false" }),
        Cell::Number(n) => line.extend_from_slice(itoa::Buffer::new().format(n).as_bytes()),
        Cell::Id(n) => {
            line.push(b'"');
            line.extend_from_slice(itoa::Buffer::new().format(n).as_bytes());
            line.push(b'"');
        }
        Cell::Hex(bytes) => {
            line.push(b'"');
            put_hex(line, bytes);
            line.push(b'"');
        }
        Cell::Text(text) if text.bytes().all(|byte| byte >= 0x20 && byte != b'"' && byte != b'\\') => {
            line.push(b'"');
            line.extend_from_slice(text.as_bytes());
            line.push(b'"');
        }
        Cell::Text(text) => serde_json::to_writer(line, text).expect("text goes into memory"),
    }
}

pub(super) fn put_hex(into: &mut Vec<u8>, bytes: &[u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for byte in bytes {
        into.push(DIGITS[usize::from(byte >> 4)]);
        into.push(DIGITS[usize::from(byte & 15)]);
    }
}

#[cfg(test)]
mod tests;
