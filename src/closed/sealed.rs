//! Reading a closed slot's sorted pages: ballots in order, counts, proofs. A page at a time.

use hashbrown::HashMap;

use crate::codec::{self, Kind};
use crate::domain::{ClipId, ClipNo, SeasonId, Slot, SlotNo, VoterId};
use crate::error::Fault;
use crate::fold::sorted::{
    self, BALLOTS, BALLOTS_A_PAGE, COUNTS, Counts, HASHES_A_PAGE, Hashes, Sorted, SortedPages, Who,
};
use crate::fold::{keys, lookup};
use crate::merkle::{Hash, Leaf, Scope, Tree, leaf_hash, path, path_of};
use crate::store::Store;

const FAN: u32 = 1024;
const _: () = assert!(FAN as usize == HASHES_A_PAGE);

/// What a slot's ballots are made leaves with: names as others see them.
#[derive(Debug)]
pub struct SlotNames {
    /// The season's id.
    pub season: SeasonId,
    /// Makes each voter's `c`.
    pub scope: Scope,
    /// Clips' ids, as far as they were asked for.
    clips: HashMap<ClipNo, ClipId>,
}

impl SlotNames {
    /// A slot's, from the tables.
    pub fn of(store: &dyn Store, slot: &Slot) -> Result<Self, Fault> {
        let season = lookup::season_id(store, slot.season)?;
        let scope = Scope::new(season.as_str(), slot.position);
        Ok(Self { season, scope, clips: HashMap::new() })
    }

    /// A ballot's `c`.
    pub fn c(&self, who: Who) -> Hash {
        match who {
            Who::Voter(voter) => self.scope.voter(voter),
            Who::Erased(c) => c,
        }
    }

    /// A ballot as a leaf.
    pub fn leaf(&mut self, store: &dyn Store, ballot: &Sorted) -> Result<Leaf, Fault> {
        let (c, clip_id) = (self.c(ballot.who), self.clip(store, ballot.clip)?.clone());
        Ok(Leaf { c, clip_id, kind: ballot.kind, weight: ballot.weight, sequence: ballot.seq })
    }

    /// That leaf's hash.
    pub fn leaf_hash(&mut self, store: &dyn Store, ballot: &Sorted) -> Result<Hash, Fault> {
        let c = self.c(ballot.who);
        let clip = self.clip(store, ballot.clip)?;
        Ok(leaf_hash(&c, clip.as_str(), ballot.kind, ballot.weight, ballot.seq))
    }

    /// A clip's id.
    pub fn clip(&mut self, store: &dyn Store, clip: ClipNo) -> Result<&ClipId, Fault> {
        use hashbrown::hash_map::Entry;
        match self.clips.entry(clip) {
            Entry::Occupied(known) => Ok(known.into_mut()),
            Entry::Vacant(free) => Ok(free.insert(lookup::clip_id(store, clip)?)),
        }
    }
}

/// A slot's pages.
#[derive(Clone, Copy, Debug)]
pub struct SlotPages<'a> {
    store: &'a dyn Store,
    slot: SlotNo,
    pages: SortedPages,
}

/// A ballot's place in the tree.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Place {
    /// Its index among the leaves.
    pub index: u64,
    /// What its leaf says.
    pub leaf: Leaf,
    /// The hashes beside its way to the root, lowest first.
    pub path: Vec<Hash>,
}

impl<'a> SlotPages<'a> {
    /// Over pages that are whole.
    pub fn new(store: &'a dyn Store, slot: SlotNo, pages: SortedPages) -> Self {
        Self { store, slot, pages }
    }

    /// How many pages of ballots there are.
    pub fn pages(&self) -> u32 {
        u32::try_from(self.pages.leaves.div_ceil(BALLOTS_A_PAGE as u64)).unwrap_or(u32::MAX)
    }

    /// A page of ballots, in order.
    pub fn page(&self, number: u32) -> Result<Vec<Sorted>, Fault> {
        let (key, record) = self.record(BALLOTS, number)?;
        let ballots = sorted::read(&key, &record)?;
        let rest = self.pages.leaves - u64::from(number) * BALLOTS_A_PAGE as u64;
        if ballots.len() as u64 == rest.min(BALLOTS_A_PAGE as u64) {
            return Ok(ballots);
        }
        Err(Fault::damaged("tables", &key, format!("it holds {} ballots, which is not its share", ballots.len())))
    }

    /// The root that was kept for a page of ballots.
    pub fn page_root(&self, number: u32) -> Result<Hash, Fault> {
        if self.pages() == 1 {
            return Ok(self.pages.root);
        }
        Ok(self.hashes(1, number / FAN)?[number as usize % HASHES_A_PAGE])
    }

    /// Every ballot, in order.
    pub fn each(&self, mut visit: impl FnMut(Sorted) -> Result<(), Fault>) -> Result<(), Fault> {
        (0..self.pages()).try_for_each(|number| self.page(number)?.into_iter().try_for_each(&mut visit))
    }

    /// Votes and weight of every clip that has votes, by clip.
    pub fn counts(&self) -> Result<Vec<(ClipNo, u64, u64)>, Fault> {
        let (first, last) = (
            keys::sorted(self.slot, self.pages.generation, COUNTS, 0),
            keys::sorted_from(self.slot, self.pages.generation + 1).0,
        );
        let mut counts = Vec::new();
        self.store.scan(&first, &last, &mut |key, record| {
            let Counts(page) = codec::read("tables", Kind::Sorted, key, record)?;
            counts.extend(page);
            Ok(std::ops::ControlFlow::Continue(()))
        })?;
        Ok(counts)
    }

    /// The voter's ballot for a clip, with what proves it; `None` if it is not among the leaves.
    pub fn find(&self, names: &mut SlotNames, voter: VoterId, clip: ClipNo) -> Result<Option<Place>, Fault> {
        let c = names.scope.voter(voter);
        for number in self.first_with(names, c)?..self.pages() {
            let page = self.page(number)?;
            let at = page.iter().position(|ballot| ballot.clip == clip && names.c(ballot.who) == c);
            if let Some(at) = at {
                let hashes: Vec<Hash> =
                    page.iter().map(|ballot| names.leaf_hash(self.store, ballot)).collect::<Result<_, _>>()?;
                let index = u64::from(number) * BALLOTS_A_PAGE as u64 + at as u64;
                let leaf = names.leaf(self.store, &page[at])?;
                let path = [path(&hashes, at), self.path_above(number)?].concat();
                return Ok(Some(Place { index, leaf, path }));
            }
            if page.last().is_none_or(|last| names.c(last.who) > c) {
                break;
            }
        }
        Ok(None)
    }

    /// A voter's ballots, in order: one a clip at most. Those of one who was erased are found too, by what stands in their place.
    pub fn of_voter(&self, names: &SlotNames, voter: VoterId) -> Result<Vec<Sorted>, Fault> {
        let c = names.scope.voter(voter);
        let mut found = Vec::new();
        for number in self.first_with(names, c)?..self.pages() {
            let page = self.page(number)?;
            found.extend(page.iter().filter(|ballot| names.c(ballot.who) == c));
            if page.last().is_none_or(|last| names.c(last.who) > c) {
                break;
            }
        }
        Ok(found)
    }

    /// The last page that begins below `c`: the first ballot with it is in that one, or begins the next.
    pub(super) fn first_with(&self, names: &SlotNames, c: Hash) -> Result<u32, Fault> {
        let begins = |number: u32| Ok::<_, Fault>(self.page(number)?.first().map(|first| names.c(first.who)));
        let (mut low, mut high) = (0, self.pages());
        while low + 1 < high {
            let middle = low + (high - low) / 2;
            if begins(middle)?.is_some_and(|first| first < c) { low = middle } else { high = middle }
        }
        Ok(low)
    }

    /// From a page's root to the tree's.
    fn path_above(&self, page: u32) -> Result<Vec<Hash>, Fault> {
        let (mut count, mut index, mut part) = (self.pages(), page, 1);
        let mut levels = Vec::new();
        while count > 1 {
            let number = index / FAN;
            levels.push((self.hashes(part, number)?, index as usize % HASHES_A_PAGE));
            (count, index, part) = (count.div_ceil(FAN), number, part + 1);
        }
        Ok(path_of(levels.iter().map(|(hashes, index)| (hashes.as_slice(), *index))))
    }

    fn hashes(&self, part: u8, number: u32) -> Result<Vec<Hash>, Fault> {
        let (key, record) = self.record(part, number)?;
        let Hashes(hashes) = codec::read("tables", Kind::Sorted, &key, &record)?;
        // How many a part has follows from the leaves.
        let below = (1..part).fold(u64::from(self.pages()), |count, _| count.div_ceil(HASHES_A_PAGE as u64));
        let rest = below.saturating_sub(u64::from(number) * HASHES_A_PAGE as u64);
        if hashes.len() as u64 == rest.min(HASHES_A_PAGE as u64) {
            return Ok(hashes);
        }
        Err(Fault::damaged("tables", &key, format!("it holds {} hashes, which is not its share", hashes.len())))
    }

    fn record(&self, part: u8, number: u32) -> Result<([u8; 14], crate::store::Value), Fault> {
        let key = keys::sorted(self.slot, self.pages.generation, part, number);
        let record = self.store.get(&key)?;
        record.map(|record| (key, record)).ok_or_else(|| Fault::damaged("tables", &key, "it is missing"))
    }

    /// The root over a page of ballots, computed anew.
    pub fn root_over(&self, names: &mut SlotNames, ballots: &[Sorted]) -> Result<Hash, Fault> {
        let mut tree = Tree::default();
        for ballot in ballots {
            tree.push(names.leaf_hash(self.store, ballot)?);
        }
        Ok(tree.root())
    }
}
