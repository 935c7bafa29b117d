//! Everyone who appears in a store, each once and in order, however many there are: sorted runs on the disk, merged.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fs::{File, OpenOptions};
use std::io::{BufReader, Read, Seek, SeekFrom, Take, Write};
use std::path::Path;
use std::sync::Arc;

use super::writing;
use crate::domain::VoterId;
use crate::error::Fault;

/// Entries in memory at most: 24 MiB of them.
const GATHERED: usize = 1 << 20;
const BYTES: usize = 24;

/// What a voter did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Entry {
    pub(super) voter: VoterId,
    /// Votes that stand; a run may hold those alone that were taken back.
    pub(super) votes: i32,
    pub(super) comments: u32,
}

impl Entry {
    fn add(&mut self, other: &Self) {
        self.votes = self.votes.saturating_add(other.votes);
        self.comments = self.comments.saturating_add(other.comments);
    }

    fn bytes(&self) -> [u8; BYTES] {
        let mut bytes = [0; BYTES];
        bytes[..16].copy_from_slice(&self.voter.0);
        bytes[16..20].copy_from_slice(&self.votes.to_be_bytes());
        bytes[20..].copy_from_slice(&self.comments.to_be_bytes());
        bytes
    }

    fn of(bytes: &[u8; BYTES]) -> Self {
        Self {
            voter: VoterId(bytes[..16].try_into().expect("16 of 24 bytes")),
            votes: i32::from_be_bytes(bytes[16..20].try_into().expect("4 of 24 bytes")),
            comments: u32::from_be_bytes(bytes[20..].try_into().expect("4 of 24 bytes")),
        }
    }
}

/// Gathers entries in any order.
#[derive(Debug)]
pub(super) struct Voters {
    gathered: Vec<Entry>,
    most: usize,
    /// Runs, one behind the other; the file has no name any more.
    spilled: File,
    /// How many entries each holds.
    runs: Vec<u64>,
}

impl Voters {
    pub(super) fn new(scratch: &Path) -> Result<Self, Fault> {
        Self::with(scratch, GATHERED)
    }

    fn with(scratch: &Path, most: usize) -> Result<Self, Fault> {
        let path = scratch.join(format!(".voters-{}-{:p}", std::process::id(), &raw const most));
        let opened = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(&path);
        let spilled = opened.map_err(|why| Fault::io(format!("making {}", path.display()), &why))?;
        // Whatever happens, nothing stays behind.
        std::fs::remove_file(&path).map_err(|why| Fault::io(format!("removing {}", path.display()), &why))?;
        Ok(Self { gathered: Vec::new(), most, spilled, runs: Vec::new() })
    }

    pub(super) fn add(&mut self, entry: Entry) -> Result<(), Fault> {
        self.gathered.push(entry);
        if self.gathered.len() < self.most {
            return Ok(());
        }
        self.settle();
        // Those who come again and again must not fill a run each time.
        if self.gathered.len() < self.most / 2 { Ok(()) } else { self.spill() }
    }

    /// Sorts what is gathered, each voter once.
    fn settle(&mut self) {
        self.gathered.sort_unstable_by_key(|entry| entry.voter);
        self.gathered.dedup_by(|again, entry| {
            let same = again.voter == entry.voter;
            if same {
                entry.add(again);
            }
            same
        });
    }

    fn spill(&mut self) -> Result<(), Fault> {
        let bytes: Vec<u8> = self.gathered.iter().flat_map(Entry::bytes).collect();
        self.spilled.write_all(&bytes).map_err(|why| writing(&why))?;
        self.runs.push(self.gathered.len() as u64);
        self.gathered.clear();
        Ok(())
    }

    /// Everyone, in the order of their ids.
    pub(super) fn each(mut self, mut visit: impl FnMut(Entry) -> Result<(), Fault>) -> Result<(), Fault> {
        self.settle();
        if self.runs.is_empty() {
            return self.gathered.into_iter().try_for_each(visit);
        }
        self.spill()?;
        let file = Arc::new(self.spilled);
        let mut begin = 0;
        let mut runs: Vec<Run> = Vec::new();
        for entries in &self.runs {
            runs.push(Run::new(Arc::clone(&file), begin, *entries));
            begin += entries * BYTES as u64;
        }
        let mut heads = BinaryHeap::new();
        for (at, run) in runs.iter_mut().enumerate() {
            heads.extend(run.next()?.map(|entry| Reverse((entry.voter, at, entry.votes, entry.comments))));
        }
        let mut now: Option<Entry> = None;
        while let Some(Reverse((voter, at, votes, comments))) = heads.pop() {
            let entry = Entry { voter, votes, comments };
            match &mut now {
                Some(same) if same.voter == voter => same.add(&entry),
                _ => now.replace(entry).map_or(Ok(()), &mut visit)?,
            }
            heads.extend(runs[at].next()?.map(|entry| Reverse((entry.voter, at, entry.votes, entry.comments))));
        }
        now.map_or(Ok(()), visit)
    }
}

/// A run being read. All read one file, each at its own place.
struct Run(BufReader<Take<Part>>);

struct Part {
    file: Arc<File>,
    at: u64,
}

impl Read for Part {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        let mut file = &*self.file;
        file.seek(SeekFrom::Start(self.at))?;
        let read = file.read(into)?;
        self.at += read as u64;
        Ok(read)
    }
}

impl Run {
    fn new(file: Arc<File>, at: u64, entries: u64) -> Self {
        Self(BufReader::with_capacity(BYTES * 1024, Part { file, at }.take(entries * BYTES as u64)))
    }

    fn next(&mut self) -> Result<Option<Entry>, Fault> {
        let mut bytes = [0; BYTES];
        match self.0.read_exact(&mut bytes) {
            Ok(()) => Ok(Some(Entry::of(&bytes))),
            Err(why) if why.kind() == std::io::ErrorKind::UnexpectedEof => Ok(None),
            Err(why) => Err(writing(&why)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn everyone_comes_once_and_in_order(acts in prop::collection::vec((0_u8..50, -1_i32..=1, 0_u32..2), 0..400), most in 2_usize..60) {
            let dir = tempfile::tempdir().unwrap();
            let mut voters = Voters::with(dir.path(), most).unwrap();
            let mut model: BTreeMap<[u8; 16], (i32, u32)> = BTreeMap::new();
            for (who, votes, comments) in acts {
                voters.add(Entry { voter: VoterId([who; 16]), votes, comments }).unwrap();
                let sum = model.entry([who; 16]).or_default();
                *sum = (sum.0 + votes, sum.1 + comments);
            }
            let mut found = Vec::new();
            voters.each(|entry| { found.push((entry.voter.0, (entry.votes, entry.comments))); Ok(()) }).unwrap();
            prop_assert_eq!(found, model.into_iter().collect::<Vec<_>>());
            prop_assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
        }
    }
}
