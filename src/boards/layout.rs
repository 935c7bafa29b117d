//! What the boards are told of seasons, slots and clips: whose clip is whose, and what may be seen.

use std::collections::HashMap;
use std::sync::Arc;

use crate::domain::{ClipNo, SeasonNo, Seq, SlotNo, VoterId};
use crate::fold::Mask;

/// The stage, as far as ranks depend on it.
#[derive(Clone, Debug, Default)]
pub struct Layout {
    /// By number.
    pub slots: Vec<SlotFacts>,
    /// By number.
    pub clips: Vec<ClipFacts>,
    /// By slot number.
    pub voids: Vec<Masked>,
    /// Voters whose erasure has not ended, by its begin.
    pub erasures: Vec<(Seq, VoterId)>,
    /// Everything up to this sequence is in it.
    pub settled: Seq,
}

/// A slot.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SlotFacts {
    /// Its season.
    pub season: SeasonNo,
    /// Nothing may depend on its counts now.
    pub hidden: bool,
    /// It takes votes, or has.
    pub has_voted: bool,
    /// It takes none any more.
    pub is_locked: bool,
}

/// What voids take out of a slot's counts.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Masked {
    /// The void, or lifting of one, behind which it is so; 0 for none.
    pub since: Seq,
    /// How many there were up to it, of the slot.
    pub steps: usize,
    /// The votes, by sequence.
    pub masks: Arc<[Mask]>,
}

/// A clip.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ClipFacts {
    /// Its slot.
    pub slot: SlotNo,
    /// Who made it, where that is known.
    pub owner: Option<VoterId>,
}

impl Layout {
    /// A clip's slot.
    pub(super) fn slot_of(&self, clip: ClipNo) -> Option<(SlotNo, &SlotFacts)> {
        let slot = self.clips.get(clip.index())?.slot;
        self.slots.get(slot.index()).map(|facts| (slot, facts))
    }
}

/// Makers of clips, numbered in the order of their first clip.
#[derive(Debug, Default)]
pub(super) struct Creators {
    of: HashMap<VoterId, u32>,
    of_clip: Vec<Option<u32>>,
    all: Vec<(VoterId, Vec<ClipNo>)>,
}

impl Creators {
    /// Takes in clips that are new in a layout.
    pub(super) fn follow(&mut self, layout: &Layout) {
        for (clip, facts) in (0..).map(ClipNo).zip(&layout.clips).skip(self.of_clip.len()) {
            let no = facts.owner.map(|owner| {
                let new = u32::try_from(self.all.len()).expect("at most one a clip");
                let no = *self.of.entry(owner).or_insert(new);
                if no == new {
                    self.all.push((owner, Vec::new()));
                }
                self.all[no as usize].1.push(clip);
                no
            });
            self.of_clip.push(no);
        }
    }

    /// A clip's maker.
    pub(super) fn of_clip(&self, clip: ClipNo) -> Option<u32> {
        self.of_clip.get(clip.index()).copied().flatten()
    }

    /// The number of a maker.
    pub(super) fn find(&self, owner: VoterId) -> Option<u32> {
        self.of.get(&owner).copied()
    }

    /// A maker and their clips, in the order of addition.
    pub(super) fn get(&self, no: u32) -> (VoterId, &[ClipNo]) {
        let (owner, clips) = &self.all[no as usize];
        (*owner, clips)
    }

    /// How many there are.
    pub(super) fn len(&self) -> u32 {
        u32::try_from(self.all.len()).expect("at most one a clip")
    }
}
