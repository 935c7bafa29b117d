//! Which votes are under a void, by the log's order: the same account for the commit thread, the applier, recovery and `verify`.
//!
//! A vote counts while it is neither taken back nor under any void. From the event that begins a void on, votes of its slot that
//! are taken back are noted, so that it takes out none of them twice. A vote that is taken back while it is under a void changes
//! no count, and lifting the void brings it back no more; its mask stays, by which everyone knows that its retraction never
//! counted. So at any time what a clip has is its votes less those that were taken back, without any vote that has a mask.
//!
//! In memory: 56 bytes for each vote under a void, and 8 for each time that a void in force names one, at most [`NAMED_MAX`]
//! times in all. Never: searches for votes.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use super::judge::Refusal;
use super::totals::Change;
use crate::domain::{ClipNo, Event, NamedVote, Seq, SlotNo, VoterId};

/// Votes that voids in force name at most, over all slots: one that several name is as many. Masks that stay of votes that were
/// taken back count too.
pub const NAMED_MAX: usize = 1 << 20;

/// What an event does to counts, where the event alone doesn't say it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum Effect {
    /// What the event says.
    #[default]
    Plain,
    /// What the event says, and the void that is under way needs to know of it.
    Noted,
    /// Nothing: the vote that is taken back did not count.
    Uncounted,
    /// Votes went out of the counts, or came back.
    Changed(Box<Changed>),
}

/// What a void, or its lifting, does.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Changed {
    /// To each clip.
    pub clips: Vec<(ClipNo, Change)>,
    /// How many votes the void takes out, those under another one too.
    pub votes: u64,
    /// Every mask of the slot from here on, by the votes' sequences.
    pub masks: Arc<[Mask]>,
}

/// A vote under voids.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Mask {
    /// The vote.
    pub vote: NamedVote,
    /// How many voids in force name it; none, once all were lifted, of a vote that was taken back under one.
    pub by: u16,
}

/// Every void in force, and the one that is under way.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Voids {
    slots: BTreeMap<SlotNo, SlotVoids>,
    under_way: Option<UnderWay>,
}

#[derive(Clone, PartialEq, Eq, Debug, Default)]
struct SlotVoids {
    /// The last void or lifting that took effect.
    last: Seq,
    /// By sequence. Changes with a void alone, so that readers share it.
    masks: Arc<[Mask]>,
    /// Votes that were taken back while they had a mask.
    back: HashSet<Seq>,
    /// The votes of each void in force, ascending.
    named: BTreeMap<Seq, Box<[Seq]>>,
    /// How many these are, one that several name as many times.
    names: usize,
    /// Masks that no void in force names.
    orphans: usize,
}

#[derive(Clone, PartialEq, Eq, Debug)]
struct UnderWay {
    void: Seq,
    slot: SlotNo,
    votes: Vec<NamedVote>,
    /// Votes of the slot that were taken back since it began.
    back: HashSet<Seq>,
}

impl Voids {
    /// Whether the order of the log lets an event about voids stand.
    pub(super) fn judge(&self, event: &Event) -> Result<(), Refusal> {
        let is_under_way = |void: Seq, slot: SlotNo| {
            self.under_way.as_ref().is_some_and(|under_way| (under_way.void, under_way.slot) == (void, slot))
        };
        let fits = match event {
            Event::VotesNamed(part) if is_under_way(part.void, part.slot) => {
                let fits = self.named() + part.votes.len() <= NAMED_MAX;
                return if fits { Ok(()) } else { Err(Refusal::NamedFull) };
            }
            Event::VotesNamed(_) => false,
            Event::VoidTaken { void, slot } => is_under_way(*void, *slot),
            Event::VoidLifted { void, slot, .. } => {
                is_under_way(*void, *slot) || self.slots.get(slot).is_some_and(|voids| voids.named.contains_key(void))
            }
            _ => true,
        };
        if fits { Ok(()) } else { Err(Refusal::NoVoid) }
    }

    /// Takes in one judged event, each once and in the log's order; says what it does to counts.
    pub fn note(&mut self, seq: Seq, event: &Event) -> Effect {
        match event {
            Event::Retracted(back) => self.take_back(back.slot, back.vote),
            Event::Started => {
                self.end();
                Effect::Plain
            }
            Event::VoidBegun(plan) => {
                self.begin(seq, plan.slot);
                Effect::Plain
            }
            Event::VotesNamed(part) => {
                self.name(&part.votes);
                Effect::Plain
            }
            Event::VoidTaken { .. } => self.take(seq),
            Event::VoidLifted { void, slot, .. } => self.lift(seq, *slot, *void),
            _ => Effect::Plain,
        }
    }

    /// The last void of a slot, or lifting of one, that took effect; 0 for none.
    pub fn last(&self, slot: SlotNo) -> Seq {
        self.slots.get(&slot).map_or(0, |voids| voids.last)
    }

    /// A slot's masks, by the votes' sequences.
    pub fn masks(&self, slot: SlotNo) -> Arc<[Mask]> {
        self.slots.get(&slot).map(|voids| Arc::clone(&voids.masks)).unwrap_or_default()
    }

    /// Votes of a slot that were taken back while they had a mask: their retractions counted for nothing.
    pub fn is_back(&self, slot: SlotNo, vote: Seq) -> bool {
        self.slots.get(&slot).is_some_and(|voids| voids.back.contains(&vote))
    }

    /// Votes that voids in force, and the one under way, name; and those that were taken back and that none names any more.
    pub fn named(&self) -> usize {
        let kept: usize = self.slots.values().map(|voids| voids.names + voids.orphans).sum();
        kept + self.under_way.as_ref().map_or(0, |under_way| under_way.votes.len())
    }

    /// Whether one is under way.
    pub fn is_under_way(&self) -> bool {
        self.under_way.is_some()
    }

    /// A voter was erased: their votes of before a sequence are nobody's.
    pub(super) fn unname(&mut self, voter: VoterId, before: Seq) {
        for voids in self.slots.values_mut() {
            if let Some(masks) = unnamed(&voids.masks, voter, before) {
                voids.masks = masks;
            }
        }
    }

    pub(super) fn begin(&mut self, void: Seq, slot: SlotNo) {
        self.under_way = Some(UnderWay { void, slot, votes: Vec::new(), back: HashSet::new() });
    }

    pub(super) fn end(&mut self) {
        self.under_way = None;
    }

    pub(super) fn name(&mut self, votes: &[NamedVote]) {
        self.under_way.as_mut().expect("judged").votes.extend(votes);
    }

    pub(super) fn take_back(&mut self, slot: SlotNo, vote: Seq) -> Effect {
        let under_way = self.under_way.as_mut().filter(|under_way| under_way.slot == slot);
        let noted = under_way.is_some_and(|under_way| under_way.back.insert(vote));
        let voids = self.slots.get_mut(&slot).filter(|voids| find(&voids.masks, vote).is_some());
        match voids {
            Some(voids) => {
                voids.back.insert(vote);
                Effect::Uncounted
            }
            None if noted => Effect::Noted,
            None => Effect::Plain,
        }
    }

    pub(super) fn take(&mut self, seq: Seq) -> Effect {
        let UnderWay { void, slot, mut votes, back } = self.under_way.take().expect("judged");
        votes.retain(|vote| !back.contains(&vote.seq));
        votes.sort_unstable_by_key(|vote| vote.seq);
        votes.dedup_by_key(|vote| vote.seq);
        let voids = self.slots.entry(slot).or_default();
        let mut masks = voids.masks.to_vec();
        let mut new = Vec::new();
        for vote in &votes {
            match find(&voids.masks, vote.seq) {
                Some(at) => {
                    voids.orphans -= usize::from(masks[at].by == 0);
                    masks[at].by += 1;
                }
                None => new.push(Mask { vote: *vote, by: 1 }),
            }
        }
        let clips = sums(&new, -1);
        masks.append(&mut new);
        masks.sort_unstable_by_key(|mask| mask.vote.seq);
        voids.masks = masks.into();
        voids.named.insert(void, votes.iter().map(|vote| vote.seq).collect());
        voids.names += votes.len();
        voids.last = seq;
        Effect::Changed(Box::new(Changed { clips, votes: votes.len() as u64, masks: Arc::clone(&voids.masks) }))
    }

    pub(super) fn lift(&mut self, seq: Seq, slot: SlotNo, void: Seq) -> Effect {
        if self.under_way.as_ref().is_some_and(|under_way| under_way.void == void) {
            self.end();
            return Effect::Plain;
        }
        let voids = self.slots.get_mut(&slot).expect("judged");
        let named = voids.named.remove(&void).expect("judged");
        let mut masks = voids.masks.to_vec();
        for vote in &named {
            masks[find(&voids.masks, *vote).expect("every named vote has a mask")].by -= 1;
        }
        let back = &voids.back;
        let (kept, freed): (Vec<Mask>, Vec<Mask>) =
            masks.into_iter().partition(|mask| mask.by > 0 || back.contains(&mask.vote.seq));
        voids.names -= named.len();
        voids.orphans = kept.iter().filter(|mask| mask.by == 0).count();
        voids.masks = kept.into();
        voids.last = seq;
        let changed = Changed { clips: sums(&freed, 1), votes: named.len() as u64, masks: Arc::clone(&voids.masks) };
        Effect::Changed(Box::new(changed))
    }
}

/// Masks without the voter of those of their votes that were cast before a sequence; `None` if there are none.
pub fn unnamed(masks: &[Mask], voter: VoterId, before: Seq) -> Option<Arc<[Mask]>> {
    let theirs = |mask: &Mask| mask.vote.voter == voter && mask.vote.seq < before;
    if !masks.iter().any(theirs) {
        return None;
    }
    let nobodys = |mask: &Mask| Mask { vote: NamedVote { voter: VoterId::NOBODY, ..mask.vote }, ..*mask };
    Some(masks.iter().map(|mask| if theirs(mask) { nobodys(mask) } else { *mask }).collect())
}

/// Where a vote's mask is, among masks by sequence.
pub fn find(masks: &[Mask], vote: Seq) -> Option<usize> {
    masks.binary_search_by_key(&vote, |mask| mask.vote.seq).ok()
}

fn sums(masks: &[Mask], sign: i64) -> Vec<(ClipNo, Change)> {
    let mut sums: BTreeMap<ClipNo, Change> = BTreeMap::new();
    for Mask { vote, .. } in masks {
        let sum = sums.entry(vote.clip).or_default();
        (sum.votes, sum.weight) = (sum.votes + sign, sum.weight + sign * i64::from(vote.weight));
    }
    sums.into_iter().collect()
}
