//! What a store holds, as tables for others: rows of JSON, CSV or Parquet, and beside them the very records, from which an import makes
//! the same store again.
//!
//! Everything is of one sequence N: over a running engine's held tables, or over a stopped store's with its log's tail. A
//! table at a time and a row at a time, so memory is bounded whatever the store holds. Never: writes into a store.

mod begun;
mod folder;
mod parquet;
mod part;
mod rows;
mod sink;
mod stream;
mod tables;
mod voters;

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

pub use begun::{Begun, MANIFEST, SECRETS, read_manifest};
pub use folder::Folder;
pub use sink::RowSink;
pub use stream::{Line, Splitter, decode_lines, stream, stream_from};

use crate::domain::{Seq, VoterKey};
use crate::error::Fault;
use crate::fold::{Mark, Tables};
use crate::log::block;
use crate::store::{Store, Value};

/// What records take for a vote and for a comment, about.
const VOTE_BYTES: u64 = 40;
const COMMENT_BYTES: u64 = 400;

/// The version of exports that this program writes and reads.
pub const VERSION: u32 = 1;

/// How rows are written.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// An object a line.
    Jsonl,
    /// A header, then a line a row; nothing stands for null.
    Csv,
    /// Apache Parquet: columns, in groups of rows.
    Parquet,
}

impl Format {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Jsonl, Self::Csv, Self::Parquet];

    /// The one whose files' names end so.
    pub fn of(extension: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|format| format.extension() == extension)
    }

    /// What its files' names end with.
    pub fn extension(self) -> &'static str {
        match self {
            Self::Jsonl => "jsonl",
            Self::Csv => "csv",
            Self::Parquet => "parquet",
        }
    }
}

/// What an export consists of, in the order that it is written in.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Table {
    /// The file of the store's secrets, as it is. Left out of a pseudonymous export.
    Secrets,
    /// Seasons, by number.
    Seasons,
    /// Slots of all seasons, by number.
    Slots,
    /// Clips with their counts, by number.
    Clips,
    /// Whoever voted, commented or was banned.
    Voters,
    /// Ballots by slot: in log order, retractions among them; of a locked slot those that stand, in the certificate's order.
    Votes,
    /// Voids of votes.
    Voids,
    /// Comments by clip.
    Comments,
    /// The records of both stores, in JSON lines whatever the format is. Left out of a pseudonymous export.
    Records,
}

impl Table {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Secrets,
        Self::Seasons,
        Self::Slots,
        Self::Clips,
        Self::Voters,
        Self::Votes,
        Self::Voids,
        Self::Comments,
        Self::Records,
    ];

    /// Those of an export, in order.
    pub fn all(pseudonymous: bool) -> impl Iterator<Item = Self> {
        Self::ALL.into_iter().filter(move |table| !(pseudonymous && table.tells_secrets()))
    }

    /// The one of that name.
    pub fn of(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|table| table.name() == name)
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Secrets => "secrets",
            Self::Seasons => "seasons",
            Self::Slots => "slots",
            Self::Clips => "clips",
            Self::Voters => "voters",
            Self::Votes => "votes",
            Self::Voids => "voids",
            Self::Comments => "comments",
            Self::Records => "records",
        }
    }

    /// The file that holds it.
    pub fn file(self, format: Format) -> String {
        match self {
            Self::Secrets => SECRETS.to_owned(),
            Self::Records => "records.jsonl".to_owned(),
            _ => format!("{}.{}", self.name(), format.extension()),
        }
    }

    /// Whether its file is lines of text. The secrets are too, but people write in them: their last line may have no end.
    pub fn is_text(self, format: Format) -> bool {
        self == Self::Records || (format != Format::Parquet && self != Self::Secrets)
    }

    /// Whether it can be gone on with behind some row: not what is of one piece, nor Parquet, whose end names all that is before it.
    pub fn goes_on(self, format: Format) -> bool {
        self.is_text(format)
    }

    /// Whether a pseudonymous export leaves it out.
    pub fn tells_secrets(self) -> bool {
        matches!(self, Self::Secrets | Self::Records)
    }
}

/// What an export is of.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    /// [`VERSION`].
    pub plaudit_export: u32,
    /// Everything up to this sequence is in it, and nothing behind.
    pub sequence: Seq,
    /// The log's hash there, in hex.
    pub chain: String,
    /// The store's id, in hex.
    pub store: String,
    /// The fingerprint of the secret that its voters were made with, in hex.
    pub voter_key: String,
    /// How rows are written.
    pub format: Format,
    /// Whether it leaves out the secrets, names and records.
    pub pseudonymous: bool,
    /// Its tables, once they are whole.
    pub tables: Vec<Written>,
}

/// A table that is written.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Written {
    /// Which.
    pub table: Table,
    /// The file's name.
    pub file: String,
    /// Rows in it.
    pub rows: u64,
    /// Bytes of it.
    pub bytes: u64,
    /// Their BLAKE3, in hex.
    pub blake3: String,
}

/// A place in an export: what is in front of it is there.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct Place {
    /// The first table that is not whole.
    pub table: Table,
    /// Its first rows, so many, are there.
    pub rows: u64,
}

/// Where the log's part of a store's records is.
#[derive(Debug)]
pub enum LogPart {
    /// The block alone that the tables end with.
    Block(Seq, Value),
    /// That block and all behind it.
    From(Seq, Arc<dyn Store>),
}

/// What is exported or backed up.
#[derive(Debug)]
pub struct Source {
    /// The tables as they were at `end`.
    pub tables: Tables,
    /// Where they end, and with them what is exported.
    pub end: Mark,
    /// What belongs to them of the log.
    pub log: LogPart,
    /// Makes voters' public names.
    pub key: VoterKey,
    /// The store's own id.
    pub store_id: [u8; 16],
    /// The file of secrets, as it is.
    pub secrets: Vec<u8>,
    /// A directory for what does not fit into memory; nothing stays in it.
    pub scratch: PathBuf,
    /// What it is read of, to the byte: two sources of the same state give the same rows in the same order. The sequence alone does
    /// not say that, for closed slots' ballots are sorted, and erased voters' networks emptied, between two events.
    pub state: String,
}

/// A state's name, of all that makes it.
pub fn state_of(parts: &[&[u8]]) -> String {
    let mut hasher = blake3::Hasher::new();
    for part in parts {
        hasher.update(&(part.len() as u64).to_be_bytes()).update(part);
    }
    hex(&hasher.finalize().as_bytes()[..16])
}

/// What becomes of a row count now and then; an error ends the export.
pub type Tick<'a> = &'a mut dyn FnMut(u64) -> Result<(), Fault>;

/// What is called with each record: its tree, key and bytes.
pub type VisitRecord<'a> = &'a mut dyn FnMut(&'static str, &[u8], &[u8]) -> Result<(), Fault>;

impl Source {
    /// What an export of it says about itself, before any table is written.
    pub fn manifest(&self, format: Format, pseudonymous: bool) -> Manifest {
        Manifest {
            plaudit_export: VERSION,
            sequence: self.end.seq,
            chain: hex(&self.end.chain),
            store: hex(&self.store_id),
            voter_key: hex(&self.key.fingerprint()),
            format,
            pseudonymous,
            tables: Vec::new(),
        }
    }

    /// About how many rows of votes and comments there are: for progress.
    pub fn estimate(&self) -> Result<u64, Fault> {
        let (votes, comments) = self.counts()?;
        Ok(votes + comments)
    }

    /// About how many bytes its records have: for progress.
    pub fn estimated_bytes(&self) -> Result<u64, Fault> {
        let (votes, comments) = self.counts()?;
        Ok(votes * VOTE_BYTES + comments * COMMENT_BYTES)
    }

    fn counts(&self) -> Result<(u64, u64), Fault> {
        let (mut votes, mut comments) = (0, 0);
        self.tables.each_total(|_, count, _| votes += count)?;
        self.tables.each_comment_count(|_, count| comments += count)?;
        Ok((votes, comments))
    }

    /// Writes a table, but for the rows that `out` has; says how many rows it has in all. `tick` hears of rows of voters, votes and comments.
    pub fn write(&self, table: Table, of: &Manifest, out: &mut dyn RowSink, tick: Tick<'_>) -> Result<u64, Fault> {
        let view = tables::View { source: self, format: of.format, named: !of.pseudonymous };
        match table {
            Table::Secrets => {
                out.write_all(&self.secrets).map_err(|why| writing(&why))?;
                Ok(1)
            }
            Table::Seasons => view.seasons(out),
            Table::Slots => view.slots(out),
            Table::Clips => view.clips(out),
            Table::Voters => view.voters(out, tick),
            Table::Votes => view.votes(out, tick),
            Table::Voids => view.voids(out),
            Table::Comments => view.comments(out, tick),
            Table::Records => view.records(out),
        }
    }

    /// Visits every record of both stores: the tree, the key, the record. The tables are as they are stored, the log holds what is
    /// not in them yet.
    pub fn each_record(&self, visit: VisitRecord<'_>) -> Result<(), Fault> {
        self.tables.store().scan(&[0], crate::store::END, &mut |key, record| {
            visit("tables", key, record)?;
            Ok(ControlFlow::Continue(()))
        })?;
        match &self.log {
            LogPart::Block(first, record) => visit("log", &block::key(*first), record),
            LogPart::From(first, log) => log.scan(&block::key(*first), &[0xff; 9], &mut |key, record| {
                visit("log", key, record)?;
                Ok(ControlFlow::Continue(()))
            }),
        }
    }
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |text, byte| text + &format!("{byte:02x}"))
}

pub(super) fn writing(why: &std::io::Error) -> Fault {
    Fault::io("writing the export", why)
}
