//! A stopped store's files made anew, without what sled leaves in them: a new generation of each of its two stores, record by
//! record the same, is built beside the one in force and takes its place in one step.
//!
//! ```text
//! measure   every record of both is read: how many, how long, a hash over all
//! then for the log, and for the tables:
//! copy      record by record; the mark last, so that a part is never taken for a whole
//! compare   the copy is read: the same hash
//! switch    if it is smaller; else it is given up
//! ```
//!
//! A crash at any point leaves the old or the new generation in force, and the next start or compaction removes the other. Never:
//! changes a record, works on a store that could not be served.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use serde::Serialize;

use crate::codec;
use crate::error::Fault;
use crate::fold::keys;
use crate::log::{block, recover};
use crate::store::{END, Home, SledStore, Store};

/// Records, and bytes, that a step reads or copies at most.
const STEP_RECORDS: u64 = 4_096;
const STEP_BYTES: u64 = 4 << 20;
/// What a copy may take of the disk beyond its records: segments that are begun, and sled's own.
const SPARE: u64 = 64 << 20;
/// Files that would be smaller by less are left as they are.
const WORTH: u64 = 1 << 20;
/// In the order that they are made anew in.
const TREES: [&str; 2] = ["log", "tables"];

/// What came of a compaction.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Compacted {
    /// The last sequence.
    pub events: u64,
    /// Records of both stores.
    pub records: u64,
    /// Their bytes, keys included.
    pub record_bytes: u64,
    /// Bytes of both stores' files before.
    pub bytes_before: u64,
    /// And now.
    pub bytes_after: u64,
}

/// A compaction under way.
#[derive(Debug)]
pub struct Compaction {
    /// `None` only while a generation is put in its place.
    home: Option<Home>,
    sums: [Sum; TREES.len()],
    stage: Stage,
    compacted: Compacted,
    /// Records a step at most.
    step: u64,
    done: u64,
}

/// What is to be done next, to the store of that index; from that key on.
#[derive(Debug)]
enum Stage {
    Measure(usize, Vec<u8>),
    Copy(usize, Vec<u8>, Arc<SledStore>),
    Compare(usize, Vec<u8>, Arc<SledStore>, Box<Sum>),
    Switch(usize, Arc<SledStore>),
    Done,
}

/// Records as they were read, one behind the other.
#[derive(Clone, Debug, Default)]
struct Sum {
    records: u64,
    bytes: u64,
    hasher: blake3::Hasher,
}

impl Sum {
    fn add(&mut self, key: &[u8], record: &[u8]) {
        self.records += 1;
        self.bytes += (key.len() + record.len()) as u64;
        let lengths = [key.len() as u64, record.len() as u64].map(u64::to_be_bytes);
        self.hasher.update(lengths.as_flattened()).update(key).update(record);
    }

    fn is(&self, other: &Self) -> bool {
        (self.records, self.bytes, self.hasher.finalize()) == (other.records, other.bytes, other.hasher.finalize())
    }
}

impl Compaction {
    /// Begins one of the store in `dir`, if it is one that could be served. What an earlier one left goes.
    pub fn begin(dir: &Path) -> Result<Self, Fault> {
        Self::in_steps(dir, STEP_RECORDS)
    }

    /// The same with so many records a step, for tests.
    pub fn in_steps(dir: &Path, step: u64) -> Result<Self, Fault> {
        let home = Home::open_existing(dir)?;
        let end = recover(home.log().as_ref(), home.tables(), block::genesis(home.store_id()))?.end;
        home.check_not_older(end.seq)?;
        let compacted = Compacted { events: end.seq, bytes_before: size(&home), ..Compacted::default() };
        let stage = Stage::Measure(0, Vec::new());
        Ok(Self { home: Some(home), sums: Default::default(), stage, compacted, step, done: 0 })
    }

    /// Does a little; whether there is more to do.
    pub fn step(&mut self) -> Result<bool, Fault> {
        let (home, most) = (self.home.as_ref().expect("a step that failed was the last"), self.step);
        self.stage = match std::mem::replace(&mut self.stage, Stage::Done) {
            Stage::Measure(at, from) => {
                let (tree, sum) = (TREES[at], &mut self.sums[at]);
                let before = sum.records;
                let next = some(store(home, tree).as_ref(), &from, most, &mut |key, record| {
                    codec::check(tree, key, record)?;
                    sum.add(key, record);
                    Ok(())
                })?;
                self.done += sum.records - before;
                match next {
                    Some(next) => Stage::Measure(at, next),
                    None if at + 1 < TREES.len() => Stage::Measure(at + 1, Vec::new()),
                    None => {
                        self.compacted.records = self.sums.iter().map(|sum| sum.records).sum();
                        self.compacted.record_bytes = self.sums.iter().map(|sum| sum.bytes).sum();
                        home.check_room(self.compacted.record_bytes + SPARE)?;
                        Stage::Copy(0, Vec::new(), home.begin(TREES[0])?)
                    }
                }
            }
            Stage::Copy(at, from, new) => {
                let (tree, mut copied) = (TREES[at], 0);
                let old = store(home, tree);
                let next = some(old.as_ref(), &from, most, &mut |key, record| {
                    copied += 1;
                    if is_mark(tree, key) { Ok(()) } else { new.insert(key, record) }
                })?;
                self.done += copied;
                // Else what sled has not written yet would gather in memory.
                new.flush()?;
                if let Some(next) = next {
                    Stage::Copy(at, next, new)
                } else {
                    if let Some(mark) = old.get(keys::MARK)?.filter(|_| is_mark(tree, keys::MARK)) {
                        new.insert(keys::MARK, &mark)?;
                        new.flush()?;
                    }
                    Stage::Compare(at, Vec::new(), new, Box::default())
                }
            }
            Stage::Compare(at, from, new, mut sum) => {
                let before = sum.records;
                let next = some(new.as_ref(), &from, most, &mut |key, record| {
                    sum.add(key, record);
                    Ok(())
                })?;
                self.done += sum.records - before;
                match next {
                    Some(next) => Stage::Compare(at, next, new, sum),
                    None if sum.is(&self.sums[at]) => Stage::Switch(at, new),
                    None => {
                        let why = format!("the copy of its {} is not what was copied: look at the disk", TREES[at]);
                        return Err(Fault::Inconsistent { why });
                    }
                }
            }
            Stage::Switch(at, new) => {
                let tree = TREES[at];
                let home = self.home.take().expect("looked at above");
                let home = if new.disk_bytes() + WORTH < store(&home, tree).disk_bytes() {
                    home.replace(tree, new)?
                } else {
                    home.give_up(tree, new)?;
                    home
                };
                let next = match TREES.get(at + 1) {
                    Some(tree) => Stage::Copy(at + 1, Vec::new(), home.begin(tree)?),
                    None => Stage::Done,
                };
                self.compacted.bytes_after = size(&home);
                self.home = Some(home);
                next
            }
            Stage::Done => Stage::Done,
        };
        Ok(!matches!(self.stage, Stage::Done))
    }

    /// Records that were read so far, and how many are to be read in all, once that is known.
    pub fn progress(&self) -> (u64, Option<u64>) {
        // Measured, copied, compared.
        let all = self.compacted.records * 3;
        (self.done, (!matches!(self.stage, Stage::Measure(..))).then_some(all))
    }

    /// What came of it, once there is nothing more to do.
    pub fn end(self) -> Compacted {
        self.compacted
    }
}

fn store(home: &Home, tree: &str) -> Arc<dyn Store> {
    if tree == "log" { home.log() } else { home.tables() }
}

fn size(home: &Home) -> u64 {
    TREES.iter().map(|tree| store(home, tree).disk_bytes()).sum()
}

fn is_mark(tree: &str, key: &[u8]) -> bool {
    tree == "tables" && key == keys::MARK
}

/// What is called with each key and record.
type Visit<'a> = &'a mut dyn FnMut(&[u8], &[u8]) -> Result<(), Fault>;

/// Visits some records from `from` on, copies for readers left out; says where to go on.
fn some(store: &dyn Store, from: &[u8], most: u64, visit: Visit<'_>) -> Result<Option<Vec<u8>>, Fault> {
    let end = if store.name() == "tables" { END } else { &[0xff; 9] };
    let (mut records, mut bytes, mut last) = (0, 0, None);
    store.scan(from, end, &mut |key, record| {
        visit(key, record)?;
        (records, bytes) = (records + 1, bytes + record.len() as u64);
        if records < most && bytes < STEP_BYTES {
            return Ok(ControlFlow::Continue(()));
        }
        // The first key behind it.
        last = Some([key, &[0]].concat());
        Ok(ControlFlow::Break(()))
    })?;
    Ok(last)
}
