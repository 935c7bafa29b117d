//! Sorted ballots to pages, in one go: ballots, the hashes above them, counts.

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

/// Pages of a slot's generation under construction. Holds one page a level.
#[derive(Debug)]
pub(super) struct Writer {
    slot: SlotNo,
    generation: u32,
    page: Vec<Sorted>,
    /// Over the page's ballots.
    tree: Tree,
    pages: u32,
    /// Part 1 and up.
    levels: Vec<Level>,
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
    pub(super) fn new(slot: SlotNo, generation: u32) -> Self {
        let page = Vec::with_capacity(BALLOTS_A_PAGE);
        let (tree, levels, counts) = (Tree::default(), Vec::new(), BTreeMap::new());
        Self { slot, generation, page, tree, pages: 0, levels, counts, leaves: 0 }
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
        if self.leaves == 0 {
            return Ok((0, empty()));
        }
        for at in 0.. {
            let level = &self.levels[at];
            match (level.pages, level.hashes.as_slice()) {
                (0, [root]) => return Ok((self.leaves, *root)),
                // All its pages were full and are stored.
                (_, []) => {}
                _ => self.end_hashes(store, at)?,
            }
        }
        unreachable!("the highest level has one hash")
    }

    fn end_page(&mut self, store: &dyn Store) -> Result<(), Fault> {
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
        store.insert(&key, &codec::record(Kind::Sorted, &key, &Hashes(hashes)))?;
        self.add_hash(store, at + 1, root)
    }
}
