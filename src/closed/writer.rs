//! Sorted ballots to pages, in one go: ballots, the hashes above them, counts.
//!
//! The store keeps up to 17 neighbours in a leaf; one more divides it, and all values of both halves are written anew. Pages that
//! are put one behind the other are so written three times, and once again when the store tidies up behind them. So a page
//! gets its place first, as an empty one, while those before it are written: what divides a leaf are empty pages then, and a full
//! one is written once. What is behind the ballots in the order of keys waits for the same reason: it would be written
//! again with each leaf that is divided in front of it. Never: a page in a leaf that may still be divided, as long as what is
//! expected is right.

use std::collections::BTreeMap;

use crate::codec::{self, Kind};
use crate::domain::{ClipNo, SlotNo};
use crate::error::Fault;
use crate::fold::keys;
use crate::fold::sorted::{
    self, BALLOTS, BALLOTS_A_PAGE, COUNTS, COUNTS_A_PAGE, Counts, HASHES_A_PAGE, Hashes, Sorted,
};
use crate::merkle::{Hash, Tree, empty, root_of};
use crate::store::Store;

/// How many pages have their places ahead of the one that is written: a leaf's, and as many again.
const AHEAD: u32 = 34;
/// Pages of hashes that wait at most: 32 KiB each. So many fill a leaf that is theirs alone.
const WAIT: usize = 17;

/// Pages of a slot's generation under construction. Holds one page a level, and [`WAIT`] that are whole.
#[derive(Debug)]
pub(super) struct Writer {
    slot: SlotNo,
    generation: u32,
    page: Vec<Sorted>,
    /// Over the page's ballots.
    tree: Tree,
    pages: u32,
    /// Pages of ballots that are expected, and how many have their places.
    expected: u32,
    places: u32,
    /// Part 1 and up.
    levels: Vec<Level>,
    /// Whole pages of hashes, by their keys.
    waiting: Vec<([u8; 14], Vec<u8>)>,
    counts: BTreeMap<ClipNo, (u64, u64)>,
    leaves: u64,
}

/// Hashes of one part.
#[derive(Debug, Default)]
struct Level {
    hashes: Vec<Hash>,
    pages: u32,
}

impl Writer {
    /// For about so many ballots: fewer or more cost writes, and change nothing.
    pub(super) fn new(slot: SlotNo, generation: u32, ballots: u64) -> Self {
        let page = Vec::with_capacity(BALLOTS_A_PAGE);
        let (tree, levels, waiting, counts) = (Tree::default(), Vec::new(), Vec::new(), BTreeMap::new());
        let expected = u32::try_from(ballots.div_ceil(BALLOTS_A_PAGE as u64)).unwrap_or(u32::MAX);
        Self { slot, generation, page, tree, pages: 0, expected, places: 0, levels, waiting, counts, leaves: 0 }
    }

    /// Adds the next ballot, whose leaf has that hash.
    pub(super) fn add(&mut self, store: &dyn Store, ballot: Sorted, leaf: Hash) -> Result<(), Fault> {
        let sum = self.counts.entry(ballot.clip).or_default();
        *sum = (sum.0 + 1, sum.1 + u64::from(ballot.weight));
        self.page.push(ballot);
        self.tree.push(leaf);
        self.leaves += 1;
        if self.page.len() == BALLOTS_A_PAGE { self.end_page(store) } else { Ok(()) }
    }

    /// Stores what is begun; gives the number of leaves and the root.
    pub(super) fn finish(mut self, store: &dyn Store) -> Result<(u64, Hash), Fault> {
        let counts: Vec<_> = self.counts.iter().map(|(clip, (votes, weight))| (*clip, *votes, *weight)).collect();
        for (page, number) in counts.chunks(COUNTS_A_PAGE).zip(0..) {
            let key = keys::sorted(self.slot, self.generation, COUNTS, number);
            store.insert(&key, &codec::record(Kind::Sorted, &key, &Counts(page.to_vec())))?;
        }
        if !self.page.is_empty() {
            self.end_page(store)?;
        }
        // Of votes that were expected and have been taken back.
        for number in self.pages..self.places {
            store.remove(&keys::sorted(self.slot, self.generation, BALLOTS, number))?;
        }
        let root = self.end_levels(store)?;
        self.put_waiting(store)?;
        Ok((self.leaves, root))
    }

    /// Ends what is begun of all levels; gives the root.
    fn end_levels(&mut self, store: &dyn Store) -> Result<Hash, Fault> {
        if self.leaves == 0 {
            return Ok(empty());
        }
        for at in 0.. {
            let level = &self.levels[at];
            match (level.pages, level.hashes.as_slice()) {
                (0, [root]) => return Ok(*root),
                // All its pages were full.
                (_, []) => {}
                _ => self.end_hashes(store, at)?,
            }
        }
        unreachable!("the highest level has one hash")
    }

    fn end_page(&mut self, store: &dyn Store) -> Result<(), Fault> {
        while self.places < self.expected.min(self.pages.saturating_add(AHEAD)) {
            let key = keys::sorted(self.slot, self.generation, BALLOTS, self.places);
            store.insert(&key, &sorted::page(&key, &[]))?;
            self.places += 1;
        }
        let key = keys::sorted(self.slot, self.generation, BALLOTS, self.pages);
        store.insert(&key, &sorted::page(&key, &self.page))?;
        self.pages += 1;
        self.page.clear();
        let root = std::mem::take(&mut self.tree).root();
        self.add_hash(store, 0, root)
    }

    fn add_hash(&mut self, store: &dyn Store, at: usize, hash: Hash) -> Result<(), Fault> {
        if self.levels.len() == at {
            self.levels.push(Level::default());
        }
        self.levels[at].hashes.push(hash);
        if self.levels[at].hashes.len() == HASHES_A_PAGE { self.end_hashes(store, at) } else { Ok(()) }
    }

    fn end_hashes(&mut self, store: &dyn Store, at: usize) -> Result<(), Fault> {
        let level = &mut self.levels[at];
        let part = u8::try_from(at + 1).expect("a few levels hold all ballots that there can be");
        let key = keys::sorted(self.slot, self.generation, part, level.pages);
        let hashes = std::mem::take(&mut level.hashes);
        level.pages += 1;
        let root = root_of(&hashes);
        self.waiting.push((key, codec::record(Kind::Sorted, &key, &Hashes(hashes))));
        if self.waiting.len() == WAIT {
            self.put_waiting(store)?;
        }
        self.add_hash(store, at + 1, root)
    }

    fn put_waiting(&mut self, store: &dyn Store) -> Result<(), Fault> {
        self.waiting.drain(..).try_for_each(|(key, record)| store.insert(&key, &record))
    }
}
