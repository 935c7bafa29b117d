//! Slots' blocks of ballots: each slot's last one, which grows, and those before it that are full and not stored yet.
//!
//! A slot's ballots are only ever appended, and what its last block contains already is left out. Never: a gap among a slot's
//! stored blocks, which is why full ones are stored before the tail that follows them.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};

use super::VisitBlock;
use crate::domain::{Seq, SlotNo};
use crate::error::Fault;
use crate::fold::ballot_block::{self, BallotBlock, Stored};
use crate::fold::keys;
use crate::store::Store;

/// Slots whose last block is kept in memory between steps; more are read again.
const TAILS_KEPT: usize = 64;

/// See the top of this file.
#[derive(Debug, Default)]
pub(super) struct Blocks {
    tails: HashMap<SlotNo, Tail>,
    full: Vec<(SlotNo, BallotBlock)>,
}

/// The end of a slot's blocks.
#[derive(Debug)]
struct Tail {
    block: Option<BallotBlock>,
    dirty: bool,
}

impl Blocks {
    pub(super) fn append(&mut self, store: &dyn Store, slot: SlotNo, entry: Stored) -> Result<(), Fault> {
        let tail = match self.tails.entry(slot) {
            Entry::Occupied(tail) => tail.into_mut(),
            Entry::Vacant(place) => {
                let (from, to) = keys::ballots_of(slot);
                let last = store.last_in(&from, &to)?;
                let block = last.map(|(key, record)| BallotBlock::resume(&key, &record)).transpose()?;
                place.insert(Tail { block, dirty: false })
            }
        };
        match &mut tail.block {
            Some(block) if entry.seq <= block.head().last => return Ok(()),
            Some(block) if !block.is_full() => block.append(entry),
            Some(block) => {
                let next = BallotBlock::begin_behind(block, entry);
                let full = std::mem::replace(block, next);
                if tail.dirty {
                    self.full.push((slot, full));
                }
            }
            None => tail.block = Some(BallotBlock::begin(entry)),
        }
        tail.dirty = true;
        Ok(())
    }

    /// Stores what was changed.
    pub(super) fn store(&mut self, store: &dyn Store) -> Result<(), Fault> {
        // Full blocks before the tails that follow them: a slot's stored blocks never have a gap.
        for (slot, mut block) in self.full.drain(..) {
            store.insert(&keys::ballots(slot, block.head().first), &block.record(slot))?;
        }
        for (slot, tail) in &mut self.tails {
            if let Some(block) = tail.block.as_mut().filter(|_| tail.dirty) {
                store.insert(&keys::ballots(*slot, block.head().first), &block.record(*slot))?;
                tail.dirty = false;
            }
        }
        Ok(())
    }

    /// Holds what is kept between steps to its bound. Once all of it is stored.
    pub(super) fn trim(&mut self) {
        if self.tails.len() > TAILS_KEPT {
            self.tails.clear();
        }
    }

    /// Forgets what is kept between steps, all of which is stored.
    pub(super) fn forget(&mut self) {
        self.tails.clear();
    }

    /// Every block of a slot from the one that begins at `from` on, until told to break.
    pub(super) fn each(&self, store: &dyn Store, slot: SlotNo, from: Seq, visit: VisitBlock<'_>) -> Result<(), Fault> {
        // The newest version of a changed block shadows the stored one.
        let mut changed: BTreeMap<[u8; 13], BallotBlock> = BTreeMap::new();
        let tail = self.tails.get(&slot).filter(|tail| tail.dirty).and_then(|tail| tail.block.as_ref());
        let full = self.full.iter().filter(|(of, _)| *of == slot).map(|(_, block)| block);
        for block in full.chain(tail) {
            changed.insert(keys::ballots(slot, block.head().first), block.clone());
        }
        let (_, to) = keys::ballots_of(slot);
        let mut on = true;
        store.scan(&keys::ballots(slot, from), &to, &mut |key, record| {
            let flow = match <[u8; 13]>::try_from(key).ok().and_then(|key| changed.remove(&key)) {
                Some(mut block) => visit(key, &block.record(slot))?,
                None => visit(key, record)?,
            };
            on = flow.is_continue();
            Ok(flow)
        })?;
        for (key, mut block) in changed.into_iter().filter(|(_, block)| block.head().first >= from) {
            if !on {
                break;
            }
            on = visit(&key, &block.record(slot))?.is_continue();
        }
        Ok(())
    }

    /// The head of a slot's last block.
    pub(super) fn last(&self, store: &dyn Store, slot: SlotNo) -> Result<Option<ballot_block::Head>, Fault> {
        if let Some(tail) = self.tails.get(&slot) {
            return Ok(tail.block.as_ref().map(BallotBlock::head));
        }
        let (from, to) = keys::ballots_of(slot);
        store.last_in(&from, &to)?.map(|(key, record)| ballot_block::head(&key, &record)).transpose()
    }
}
