//! What a locked slot's certificates say, computed from its pages, its records and its voids. Never: keeps one, or waits.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use crate::closed::SlotPages;
use crate::domain::{ClipId, ClipNo, Decided, Seq, VoidState};
use crate::error::Fault;
use crate::fold::records::SlotRecord;
use crate::fold::sorted::{Closing, SortedPages};
use crate::fold::{Tables, lookup};
use crate::merkle::{Certificate, ChainAt, ClipResult, FORMAT, FORMAT_AFTER_VOID, HexHash, VoidNamed, WinnerBy};

/// What certificates of a locked slot rest on.
#[derive(Clone, Copy)]
pub(super) struct Locked<'a> {
    pub(super) tables: &'a Tables,
    pub(super) store_id: [u8; 16],
    pub(super) record: &'a SlotRecord,
    pub(super) closing: Closing,
    pub(super) pages: SortedPages,
    /// All of the slot's, in order.
    pub(super) clips: &'a [(ClipNo, ClipId)],
}

impl Locked<'_> {
    /// The newest certificate.
    pub(super) fn newest(&self) -> Result<Certificate, Fault> {
        Ok(self.nth(u64::MAX)?.expect("the first one is always there"))
    }

    /// The certificate of that number, or the last before it: the first is of the votes under no void that took effect before the
    /// lock, and each void and lifting behind the lock makes another. `None`: of number 0.
    pub(super) fn nth(&self, number: u64) -> Result<Option<Certificate>, Fault> {
        let Self { tables, store_id, record, closing, pages, clips } = *self;
        let store = tables.store().as_ref();
        let sealed = SlotPages::new(store, record.slot.no, pages);
        let whole: BTreeMap<ClipNo, (u64, u64)> =
            sealed.counts()?.into_iter().map(|(clip, votes, weight)| (clip, (votes, weight))).collect();
        let voids = Voided::of(tables, record, sealed)?;
        let by_hand = matches!(record.outcome.as_ref().map(|outcome| &outcome.decided), Some(Decided::ByHand { .. }));
        let season = lookup::season_id(store, record.slot.season)?;
        let editions =
            std::iter::once((record.last, None)).chain(voids.steps.iter().map(|(seq, void)| (*seq, Some(*void))));
        let mut last: Option<Certificate> = None;
        for ((at, void), number) in editions.zip(1..=number) {
            let (masked, counts) = voids.at(at, &whole);
            let result = |(no, clip_id): &(ClipNo, ClipId)| {
                let (vote_count, weighted_score) = counts.get(no).copied().unwrap_or_default();
                ClipResult { clip_id: clip_id.clone(), vote_count, weighted_score }
            };
            let lock = record.winner();
            let mut certificate = Certificate {
                format: if void.is_some() { FORMAT_AFTER_VOID } else { FORMAT },
                store: store_id,
                number,
                previous: last.as_ref().map(|last| HexHash(last.hash)),
                void,
                season: season.clone(),
                slot: record.slot.position,
                sequence: closing.freeze,
                chain: closing.block.map(|block| ChainAt { first: block.first, last: block.last, hash: block.chain }),
                winner_clip_id: clips.iter().find(|(no, _)| Some(*no) == lock).map(|(_, id)| id.clone()),
                winner_by: WinnerBy::Count,
                clips: clips.iter().map(result).collect(),
                leaves: pages.leaves,
                root: pages.root,
                voids: masked,
                hash: [0; 32],
            };
            if void.is_some() && !by_hand {
                certificate.winner_clip_id = certificate.best().cloned();
            }
            last = Some(certificate.sealed());
        }
        Ok(last)
    }
}

/// A locked slot's voids, and where their votes are among the leaves.
struct Voided {
    states: Vec<VoidState>,
    /// By void: its votes that are leaves, by sequence.
    named: HashMap<Seq, Vec<Seq>>,
    /// By sequence: the leaf's index, its clip and weight.
    leaves: HashMap<Seq, (u64, ClipNo, u16)>,
    /// What followed the lock, in order.
    steps: Vec<(Seq, VoidNamed)>,
}

impl Voided {
    fn of(tables: &Tables, record: &SlotRecord, sealed: SlotPages<'_>) -> Result<Self, Fault> {
        let slot = record.slot.no;
        let mut states = Vec::new();
        tables.each_void(|state| {
            if state.plan.slot == slot && state.taken.is_some() {
                states.push(state.clone());
            }
        })?;
        let mut named: HashMap<Seq, Vec<Seq>> = HashMap::new();
        for state in &states {
            let of = named.entry(state.id).or_default();
            tables.each_named(slot, state.id, |votes| of.extend(votes.iter().map(|vote| vote.seq)))?;
        }
        let mut steps = Vec::new();
        for state in &states {
            let id = state.id;
            steps.extend(state.taken.iter().map(|step| (step.seq, VoidNamed { id, lifted: false })));
            steps.extend(state.lifted.iter().map(|(step, _)| (step.seq, VoidNamed { id, lifted: true })));
        }
        steps.retain(|(seq, _)| *seq > record.last);
        steps.sort_unstable_by_key(|(seq, _)| *seq);
        let mut voided = Self { states, named, leaves: HashMap::new(), steps };
        let wanted: HashSet<Seq> = voided.named.values().flatten().copied().collect();
        if !wanted.is_empty() {
            let mut index = 0;
            sealed.each(|ballot| {
                if wanted.contains(&ballot.seq) {
                    voided.leaves.insert(ballot.seq, (index, ballot.clip, ballot.weight));
                }
                index += 1;
                Ok(())
            })?;
        }
        Ok(voided)
    }

    /// Which leaves count for nothing behind an event, and what the clips have without them.
    fn at(&self, seq: Seq, whole: &BTreeMap<ClipNo, (u64, u64)>) -> (Vec<u64>, BTreeMap<ClipNo, (u64, u64)>) {
        let in_force = self.states.iter().filter(|state| state.was_in_force(seq));
        let votes: BTreeSet<Seq> = in_force.flat_map(|state| &self.named[&state.id]).copied().collect();
        // Taken back before the void took effect: no leaves.
        let leaves = votes.iter().filter_map(|vote| self.leaves.get(vote));
        let (mut indexes, mut counts) = (Vec::new(), whole.clone());
        for (index, clip, weight) in leaves {
            indexes.push(*index);
            let sum = counts.entry(*clip).or_default();
            *sum = (sum.0.saturating_sub(1), sum.1.saturating_sub(u64::from(*weight)));
        }
        indexes.sort_unstable();
        (indexes, counts)
    }
}
