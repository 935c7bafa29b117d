//! Locked slots' winners against the recount. Never: a word on a winner that somebody chose by hand.

use std::collections::BTreeMap;

use super::Verified;
use crate::domain::{Clip, ClipNo, Decided, SlotNo};
use crate::error::Fault;
use crate::fold::Tables;
use crate::fold::records::SlotRecord;

/// A winner by the votes is the recount's, with the voids that were in force at the lock: highest weight, then most votes, then the
/// clip that was added first.
pub(super) fn check_winners(
    tables: &Tables,
    slots: &[SlotRecord],
    clips: &[Clip],
    counted: &BTreeMap<ClipNo, (i64, i64)>,
    found: &mut Verified,
) -> Result<(), Fault> {
    let by_votes = |record: &SlotRecord| {
        record.outcome.clone().filter(|outcome| !matches!(outcome.decided, Decided::ByHand { .. }))
    };
    // From what counts now to what counted at the lock.
    let mut later: BTreeMap<ClipNo, (i64, i64)> = BTreeMap::new();
    tables.each_void(|void| {
        let locked = slots.get(void.plan.slot.index()).filter(|record| by_votes(record).is_some());
        let Some(locked) = locked.map(|record| record.last) else { return };
        let lifted = void.lifted.as_ref().map(|(step, _)| step);
        let steps = void.taken.iter().chain(lifted).filter(|step| step.seq > locked);
        for (clip, votes, weight) in steps.flat_map(|step| &step.changes) {
            let sum = later.entry(*clip).or_default();
            *sum = (sum.0 + votes, sum.1 + weight);
        }
    })?;
    let mut best: BTreeMap<SlotNo, (i64, i64, ClipNo)> = BTreeMap::new();
    for clip in clips {
        let (votes, weight) = counted.get(&clip.no).copied().unwrap_or_default();
        let (since, weighed) = later.get(&clip.no).copied().unwrap_or_default();
        let (votes, weight) = (votes - since, weight - weighed);
        let sums = best.entry(clip.slot).or_insert((weight, votes, clip.no));
        if (weight, votes) > (sums.0, sums.1) {
            *sums = (weight, votes, clip.no);
        }
    }
    for record in slots {
        let Some(outcome) = by_votes(record) else { continue };
        let recounted = best.get(&record.slot.no).map(|(.., clip)| *clip);
        if outcome.winner != recounted {
            let name = |clip: Option<ClipNo>| {
                let clip = clip.and_then(|no| clips.get(no.index()));
                clip.map_or_else(|| "no clip".to_owned(), |clip| format!("clip {}", clip.id))
            };
            let (won, counted) = (name(outcome.winner), name(recounted));
            let (no, position) = (record.slot.no.0, record.slot.position);
            found.note(format!("slot number {no}, position {position}: {won} won, by the recount {counted} does"));
        }
    }
    Ok(())
}
