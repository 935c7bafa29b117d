//! What is said of votes under voids against the ballots that are read. Never: which votes those are, which the log's order says.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Verified;
use crate::domain::{ClipNo, Seq, SlotNo};
use crate::fold::ballot_block::Act;
use crate::fold::{Mask, Stored, Voids, find};

/// A slot's votes under voids, as its ballots are read.
pub(super) struct Masks {
    all: Arc<[Mask]>,
    /// By the place of the mask: its vote was read.
    seen: Vec<bool>,
    /// By the place of the mask: its vote was taken back under a void, so that only its block had it.
    back: Vec<bool>,
}

impl Masks {
    pub(super) fn of(voids: &Voids, slot: SlotNo) -> Self {
        let all = voids.masks(slot);
        let back = all.iter().map(|mask| voids.is_back(slot, mask.vote.seq)).collect();
        Self { seen: vec![false; all.len()], back, all }
    }

    /// Notes a vote in its slot's blocks.
    pub(super) fn look_at(&mut self, stored: &Stored) {
        if matches!(stored.ballot.act, Act::Cast(_)) {
            self.see(stored.seq, stored.ballot.clip, stored.ballot.weight);
        }
    }

    pub(super) fn see(&mut self, seq: Seq, clip: ClipNo, weight: u16) {
        let named = |at: &usize| (self.all[*at].vote.clip, self.all[*at].vote.weight) == (clip, weight);
        if let Some(at) = find(&self.all, seq).filter(named) {
            self.seen[at] = true;
        }
    }

    /// What a locked slot's clips have in their minutes: the votes that stand, and those that were taken back uncounted.
    pub(super) fn taken_back(&self, counted: &BTreeMap<ClipNo, (i64, i64)>) -> BTreeMap<ClipNo, (i64, i64)> {
        let mut counted = counted.clone();
        for (mask, _) in self.all.iter().zip(&self.back).filter(|(_, back)| **back) {
            let sum = counted.entry(mask.vote.clip).or_default();
            *sum = (sum.0 + 1, sum.1 + i64::from(mask.vote.weight));
        }
        counted
    }

    /// Takes the masked votes that were counted out again; names those that are none. `whole`: every ballot was read.
    pub(super) fn end(&self, counted: &mut BTreeMap<ClipNo, (i64, i64)>, whole: bool, found: &mut Verified) {
        for ((mask, seen), back) in self.all.iter().zip(&self.seen).zip(&self.back) {
            if *seen {
                let sum = counted.entry(mask.vote.clip).or_default();
                *sum = (sum.0 - 1, sum.1 - i64::from(mask.vote.weight));
            } else if whole && !back {
                found.note(format!("a void names event {}, which is no such vote of its slot", mask.vote.seq));
            }
        }
    }
}
