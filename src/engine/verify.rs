//! `verify`: a stopped store, all of it, recounted and held against what is stored.
//!
//! Here is the whole journey, slot by slot, and what is put right on request; votes under voids are in [`masks`], a locked slot's
//! pages in [`sealed`], winners in [`winners`]. Never: a change but the repair of counts and timelines, and none of those where what
//! they are counted from is lost.

mod masks;
mod sealed;
mod winners;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use super::load::{check_numbers, put};
use super::minutes::{self, Minutes};
use super::recount::recount;
use crate::ballots::Ballots;
use crate::codec::Chain;
use crate::domain::{Clip, ClipNo, ErasureState, SlotNo};
use crate::error::Fault;
use crate::fold::Tables;
use crate::fold::ballot_block::{self, Act};
use crate::fold::records::SlotRecord;
use crate::fold::timeline::group_of;
use crate::log::{Recovered, block, recover};
use crate::store::{Home, Store};
use masks::Masks;
use sealed::Sealed;
use winners::check_winners;

/// Problems listed at most; the rest are counted.
const LISTED: usize = 100;

/// A clip as it was recounted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Row {
    /// The clip's id.
    pub id: String,
    /// Votes that stand.
    pub votes: u64,
    /// Their weight.
    pub weight: u64,
    /// Comments that everyone can see.
    pub comments: u64,
}

/// What a verification found.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Verified {
    /// Every clip, recounted from the stored ballots and the log's tail.
    pub rows: Vec<Row>,
    /// What is wrong, for people; at most a hundred.
    pub problems: Vec<String>,
    /// How many things are wrong.
    pub wrong: u64,
    /// Counts of clips, and timelines of neighbouring clips, that were put right.
    pub repaired: u64,
    /// The last sequence.
    pub last: u64,
    /// Events that are in the log and not yet in the tables.
    pub tail: u64,
}

impl Verified {
    pub(super) fn note(&mut self, problem: String) {
        self.wrong += 1;
        if self.problems.len() < LISTED {
            self.problems.push(problem);
        }
    }

    /// Notes what was found of something else, by its name.
    pub(super) fn note_all(&mut self, of: &str, (problems, wrong): (Vec<String>, u64)) {
        let unlisted = wrong - problems.len() as u64;
        for problem in problems {
            self.note(format!("{of}: {problem}"));
        }
        self.wrong += unlisted;
    }
}

/// Reads every record of the store in `dir`: checksums, the log's chain, the judge again, a recount of every clip and of its
/// minutes. `repair` puts stored counts and timelines right that differ from the recount, and changes nothing else.
pub fn verify(dir: &Path, repair: bool) -> Result<Verified, Fault> {
    let home = Home::open_existing(dir)?;
    let (log, tables) = (home.log(), home.tables());
    let genesis = block::genesis(home.store_id());
    let found = verify_stores(log.as_ref(), Arc::clone(&tables), genesis, false)?;
    // Before anything is put right: an older copy is not to be changed.
    home.check_not_older(found.last)?;
    if !repair || found.wrong == 0 {
        return Ok(found);
    }
    verify_stores(log.as_ref(), tables, genesis, true)
}

/// The same over two stores.
pub fn verify_stores(log: &dyn Store, tables: Arc<dyn Store>, genesis: Chain, repair: bool) -> Result<Verified, Fault> {
    let Recovered { mut tables, transitions, end, tail, .. } = recover(log, tables, genesis)?;
    let voids = transitions.voids();
    let mut found = Verified { last: end.seq, tail, ..Verified::default() };
    let lost = check_numbers(&tables);
    if let Err(lost) = &lost {
        found.note(lost.to_string());
    }
    // What is lost is not to be counted as nothing.
    let repair = repair && lost.is_ok();
    let mut clips: Vec<Clip> = Vec::new();
    tables.each_clip(|clip| clips.push(clip.clone()))?;
    tables.each_season(|_| {})?;
    let mut slots: Vec<SlotRecord> = Vec::new();
    tables.each_slot(|record| slots.push(record.clone()))?;

    let erasures = check_erasures(&tables, &mut found)?;
    let mut minutes = Minutes::read(&tables, &mut found)?;
    let mut counted: BTreeMap<ClipNo, (i64, i64)> = BTreeMap::new();
    let mut unread: BTreeSet<SlotNo> = BTreeSet::new();
    for record in &slots {
        let (slot, frozen_at) = (record.slot.no, record.outcome.as_ref().map(|outcome| outcome.frozen_at));
        let mut masks = Masks::of(voids, slot);
        if let Some(pages) = tables.sorted_pages(record)? {
            let sealed = Sealed { record, pages, clips: &clips, erasures: &erasures };
            let whole = sealed.verify(&tables, &mut masks, &mut found, &mut counted, &mut minutes)?;
            // Votes that were taken back under a void have left neither.
            let in_minutes = masks.taken_back(&counted);
            let own = clips.iter().filter(|clip| clip.slot == slot).map(|clip| clip.no);
            minutes.seal(own, &in_minutes, whole);
            masks.end(&mut counted, whole, &mut found);
            if !whole {
                unread.insert(slot);
            }
            continue;
        }
        // One slot's voters at a time: duplicates can't span slots, since a clip never moves.
        let ballots = Ballots::new(u32::MAX, u64::MAX);
        tables.each_ballot_block(slot, 0, &mut |key, record| {
            ballot_block::read(key, record, |stored| {
                let stands = put(&ballots, stored);
                if let Err(problem) = &stands {
                    found.note(problem.to_string());
                }
                if frozen_at.is_some_and(|at| stored.seq > at) {
                    found.note(format!("event {} is a ballot behind its slot's freeze", stored.seq));
                }
                if clips.get(stored.ballot.clip.index()).is_none_or(|clip| clip.slot != slot) {
                    found.note(format!("event {}: its clip is not of its slot", stored.seq));
                }
                if stands.is_err() {
                    // A second vote of a voter for a clip counts no more here than it may anywhere.
                    return Ok(());
                }
                masks.look_at(&stored);
                if !minutes::counted_back(voids, slot, &stored) {
                    return Ok(());
                }
                minutes.count(&stored, &mut found);
                let sign = if matches!(stored.ballot.act, Act::Cast(_)) { 1 } else { -1 };
                let sum = counted.entry(stored.ballot.clip).or_default();
                *sum = (sum.0 + sign, sum.1 + sign * i64::from(stored.ballot.weight));
                Ok(())
            })?;
            Ok(ControlFlow::Continue(()))
        })?;
        masks.end(&mut counted, true, &mut found);
    }

    let mut wrong = minutes.compare(&clips, &mut found);
    // Nor is a timeline whose votes can't all be read to end up without them.
    for clip in clips.iter().filter(|clip| unread.contains(&clip.slot)) {
        wrong.remove(&group_of(clip.no));
    }
    if repair && !wrong.is_empty() {
        minutes::repair(&mut tables, voids, &slots, &wrong)?;
        found.repaired += wrong.len() as u64;
    }

    let mut stored: BTreeMap<ClipNo, (u64, u64)> = BTreeMap::new();
    tables.each_total(|clip, votes, weight| {
        stored.insert(clip, (votes, weight));
    })?;
    for (clip, (votes, _)) in stored.iter().filter(|(clip, (votes, _))| clip.index() >= clips.len() && *votes > 0) {
        found.note(format!("{votes} votes are stored for clip number {}, which does not exist", clip.0));
    }
    let comments = recount(&mut tables, &clips, &mut found, repair)?;
    for clip in &clips {
        let (votes, weight) = counted.get(&clip.no).copied().unwrap_or_default();
        let sums = (u64::try_from(votes).unwrap_or(0), u64::try_from(weight).unwrap_or(0));
        let kept = stored.get(&clip.no).copied().unwrap_or_default();
        if sums != kept {
            let (id, (votes, weight), (had, weighed)) = (&clip.id, sums, kept);
            found.note(format!("clip {id}: stored {had} votes of weight {weighed}, recounted {votes} of {weight}"));
            if repair && !unread.contains(&clip.slot) {
                tables.repair_total(clip.no, sums)?;
                found.repaired += 1;
            }
        }
        let comments = comments.get(&clip.no).copied().unwrap_or(0);
        found.rows.push(Row { id: clip.id.to_string(), votes: sums.0, weight: sums.1, comments });
    }
    check_winners(&tables, &slots, &clips, &counted, &mut found)?;
    if found.repaired > 0 {
        tables.commit(end)?;
    }
    Ok(found)
}

/// Erasures that know their voter still; notes what their records have wrong.
fn check_erasures(tables: &Tables, found: &mut Verified) -> Result<Vec<ErasureState>, Fault> {
    let mut known = Vec::new();
    tables.each_erasure(|erasure| {
        let ErasureState { id, voter, searched, ended, pass, .. } = erasure;
        let in_order = (!pass.tidied || searched.is_some()) && (!pass.swept || (pass.tidied && pass.waits.is_some()));
        if !in_order || voter.is_some() == ended.is_some() || ended.is_some_and(|at| Some(at) <= *searched) {
            found.note(format!("erasure {id}: its record contradicts itself"));
        }
        if voter.is_some() {
            known.push(erasure.clone());
        }
    })?;
    Ok(known)
}
