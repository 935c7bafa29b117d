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
use crate::merkle::{Hash, empty, root_of, root_over};
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
    /// Of the page's ballots.
    leaf_hashes: Vec<Hash>,
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
        let leaf_hashes = Vec::with_capacity(BALLOTS_A_PAGE);
        let (levels, waiting, counts) = (Vec::new(), Vec::new(), BTreeMap::new());
        let expected = u32::try_from(ballots.div_ceil(BALLOTS_A_PAGE as u64)).unwrap_or(u32::MAX);
        Self { slot, generation, page, leaf_hashes, pages: 0, expected, places: 0, levels, waiting, counts, leaves: 0 }
    }

    /// Adds the next ballot, whose leaf has that hash.
    pub(super) fn add(&mut self, store: &dyn Store, ballot: Sorted, leaf: Hash) -> Result<(), Fault> {
        let sum = self.counts.entry(ballot.clip).or_default();
        *sum = (sum.0 + 1, sum.1 + u64::from(ballot.weight));
        self.page.push(ballot);
        self.leaf_hashes.push(leaf);
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
        let root = root_over(&mut self.leaf_hashes);
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

#[cfg(test)]
mod tests {
    use std::ops::ControlFlow;

    use super::*;
    use crate::domain::{NetworkHash, Origin, VoteKind, VoterId};
    use crate::fold::sorted::Who;
    use crate::store::{MemoryStore, SledStore};

    const SLOT: SlotNo = SlotNo(3);

    /// Distinct, and as long as ballots get.
    fn ballot(n: u64) -> (Sorted, Hash) {
        let c: Hash = blake3::hash(&n.to_be_bytes()).into();
        let origin = Origin { risk: 9, network: NetworkHash::of(c[16..24].try_into().unwrap()) };
        let who = Who::Voter(VoterId(c[..16].try_into().unwrap()));
        let (seq, at) = (n.wrapping_mul(0x9e37_79b9) % 5_000_000, 1_700_000_000_000 + n % 1_000_000);
        (Sorted { who, seq, at, clip: ClipNo(7), kind: VoteKind::Standard, weight: 1, day: 20_000, origin }, c)
    }

    fn written(store: &dyn Store, ballots: u64, expected: u64) -> (u64, Hash) {
        let mut writer = Writer::new(SLOT, 1, expected);
        for (ballot, leaf) in (0..ballots).map(ballot) {
            writer.add(store, ballot, leaf).unwrap();
        }
        writer.finish(store).unwrap()
    }

    fn all(store: &dyn Store) -> Vec<(Vec<u8>, Vec<u8>)> {
        let (first, end) = keys::sorted_from(SLOT, 0);
        let mut found = Vec::new();
        store
            .scan(&first, &end, &mut |key, record| {
                found.push((key.to_vec(), record.to_vec()));
                Ok(ControlFlow::Continue(()))
            })
            .unwrap();
        found
    }

    #[test]
    fn whatever_is_expected_the_records_are_the_same() {
        let a_page = BALLOTS_A_PAGE as u64;
        for ballots in [0, 1, a_page, a_page + 1, u64::from(AHEAD) * a_page, 2 * u64::from(AHEAD) * a_page + 3] {
            let of = |expected: u64| {
                let store = MemoryStore::new("tables", 64 << 20);
                (written(store.as_ref(), ballots, expected), all(store.as_ref()))
            };
            let plain = of(0);
            let pages = plain.1.iter().filter(|(key, _)| key[9] == BALLOTS);
            assert_eq!(pages.count() as u64, ballots.div_ceil(a_page));
            for expected in [1, ballots / 2, ballots, ballots + 1, ballots + a_page, u64::MAX] {
                assert_eq!(of(expected), plain, "{ballots} ballots, {expected} expected");
            }
        }
    }

    #[test]
    fn places_are_made_no_further_ahead_than_needed() {
        let store = MemoryStore::new("tables", 64 << 20);
        let mut writer = Writer::new(SLOT, 1, 100 * BALLOTS_A_PAGE as u64);
        for (ballot, leaf) in (0..100 * BALLOTS_A_PAGE as u64).map(ballot) {
            let before = writer.pages;
            writer.add(store.as_ref(), ballot, leaf).unwrap();
            if writer.pages > before {
                let there = all(store.as_ref());
                assert_eq!(there.len(), (before + AHEAD).min(100) as usize);
                let full = there.iter().filter(|(key, record)| !sorted::read(key, record).unwrap().is_empty());
                assert_eq!(full.count(), writer.pages as usize);
            }
        }
    }

    #[test]
    fn pages_of_hashes_wait_and_not_without_end() {
        let store = MemoryStore::new("tables", 64 << 20);
        let mut writer = Writer::new(SLOT, 1, 0);
        let mut most = 0;
        for _ in 0..2 * WAIT * HASHES_A_PAGE {
            writer.add_hash(store.as_ref(), 0, empty()).unwrap();
            most = most.max(writer.waiting.len());
        }
        assert_eq!((most, writer.waiting.len(), all(store.as_ref()).len()), (WAIT - 1, 0, 2 * WAIT));
    }

    /// What the places are for.
    #[test]
    fn a_page_goes_to_the_disk_about_once() {
        let ballots = 1_000 * BALLOTS_A_PAGE as u64;
        let bytes = |expected: u64| {
            let dir = tempfile::tempdir().unwrap();
            let store = SledStore::open(dir.path(), "tables").unwrap();
            written(store.as_ref(), ballots, expected);
            store.flush().unwrap();
            let pages: usize = all(store.as_ref()).iter().map(|(_, record)| record.len()).sum();
            (pages as u64, store.disk_bytes())
        };
        let (pages, places) = bytes(ballots);
        assert!(places <= pages * 5 / 4, "{places} bytes for {pages}");
        let (_, appended) = bytes(0);
        assert!(places * 2 < appended, "{places} bytes, without places {appended}");
    }
}
