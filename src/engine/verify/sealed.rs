//! A locked slot's sorted pages against what is kept above them: certificate, voids, minutes, erasures. Never: the blocks that they
//! stand for, which are gone.

use std::collections::{BTreeMap, HashMap};

use super::super::certify::{recount_sealed, slot_name};
use super::super::editions::Locked;
use super::super::minutes::Minutes;
use super::{Masks, Verified};
use crate::closed::SlotNames;
use crate::domain::{Clip, ClipNo, ErasureState, Seq, SlotNo, VoterId};
use crate::error::Fault;
use crate::fold::Tables;
use crate::fold::records::SlotRecord;
use crate::fold::sorted::{Sorted, SortedPages, Who};

/// A locked slot whose ballots are sorted.
pub(super) struct Sealed<'a> {
    pub(super) record: &'a SlotRecord,
    pub(super) pages: SortedPages,
    /// All that there are.
    pub(super) clips: &'a [Clip],
    pub(super) erasures: &'a [ErasureState],
}

impl Sealed<'_> {
    /// Its sorted pages against everything that is kept above them; whether all could be read.
    pub(super) fn verify(
        &self,
        tables: &Tables,
        masks: &mut Masks,
        found: &mut Verified,
        counted: &mut BTreeMap<ClipNo, (i64, i64)>,
        minutes: &mut Minutes,
    ) -> Result<bool, Fault> {
        let Self { record, pages, clips, erasures } = *self;
        // Erasures come in the order of their begins: the last of a voter's reaches furthest.
        let through = erasures.iter().filter(|erasure| is_through(erasure, record.slot.no));
        let emptied: HashMap<VoterId, Seq> = through.filter_map(|erasure| Some((erasure.voter?, erasure.id))).collect();
        let store = tables.store().as_ref();
        let Some(closing) = tables.closing(record.slot.no)? else { return Ok(true) };
        let of = slot_name(&SlotNames::of(store, &record.slot)?, record);
        let own = clips.iter().filter(|clip| clip.slot == record.slot.no).map(|clip| (clip.no, clip.id.clone()));
        let own: Vec<_> = own.collect();
        let certificate = match (Locked { tables, store_id: [0; 16], record, closing, pages, clips: &own }).newest() {
            Ok(certificate) => Some(certificate),
            Err(damage @ Fault::Damaged { .. }) => {
                found.note(format!("{of}, its counts: {damage}"));
                None
            }
            Err(other) => return Err(other),
        };
        let look = &mut |vote: &Sorted, found: &mut Verified| {
            masks.see(vote.seq, vote.clip, vote.weight);
            if matches!(vote.who, Who::Voter(voter) if emptied.get(&voter).is_some_and(|before| vote.seq < *before)) {
                found.note(format!("event {}: its voter was erased, and is named still", vote.seq));
            }
            minutes.look_for(vote, found);
        };
        let masked = certificate.as_ref().map_or(&[][..], |certificate| &certificate.voids);
        let (audit, whole) = recount_sealed(tables, record, pages, clips, masked, found, counted, look)?;
        if let Some(certificate) = certificate {
            found.note_all(&of, audit.against(&certificate));
        }
        Ok(whole)
    }
}

/// Whether an erasure says that a slot is emptied.
fn is_through(erasure: &ErasureState, slot: SlotNo) -> bool {
    erasure.pass.waits.as_ref().is_some_and(|waits| !waits.contains(&slot))
}
