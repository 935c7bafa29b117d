//! A locked slot's certificate and its voters' proofs, from what is stored; and `verify`'s part about them.

use std::collections::BTreeMap;

use super::verify::Verified;
use super::{Core, Engine};
use crate::closed::{Place, SlotNames, SlotPages};
use crate::domain::{Clip, ClipId, ClipNo, SlotStatus, VoterId};
use crate::error::{Fault, Reject};
use crate::fold::Tables;
use crate::fold::lookup;
use crate::fold::records::SlotRecord;
use crate::fold::sorted::{Closing, Sorted, SortedPages};
use crate::merkle::{Audit, Certificate, ChainAt, ClipResult, FORMAT, HexHash, Proof, Tree, WinnerBy};
use crate::store::Store;

impl Engine {
    /// A locked slot's certificate; `WrongState` before its lock, `NotReady` until its ballots are sorted.
    pub fn certificate(&self, season: &str, position: u32) -> Result<Certificate, Reject> {
        let core = &*self.core;
        let (record, closing, pages) = core.sealed(season, position)?;
        let scene = core.stage.look();
        let ids =
            scene.slots[record.slot.no.index()].clips.iter().map(|no| (*no, scene.clips[no.index()].clip.id.clone()));
        core.read(certificate(core.tables.as_ref(), core.store_id(), &record, closing, pages, ids.collect()))
    }

    /// That the voter's ballot for a clip is among a locked slot's; `NotVoted` if it is not.
    pub fn proof(&self, season: &str, position: u32, voter: VoterId, clip: &str) -> Result<Proof, Reject> {
        let core = &*self.core;
        let (record, _, pages) = core.sealed(season, position)?;
        let clip = {
            let scene = core.stage.look();
            let state = scene.clip(clip)?;
            // Of another slot: nobody has voted for it here.
            (state.clip.slot == record.slot.no).then_some(state.clip.no).ok_or(Reject::NotVoted)?
        };
        let store = core.tables.as_ref();
        let found = SlotNames::of(store, &record.slot).and_then(|mut names| {
            let place = SlotPages::new(store, record.slot.no, pages).find(&mut names, voter, clip)?;
            Ok(place.map(|place| proof(&record, &names, pages, place)))
        });
        core.read(found)?.ok_or(Reject::NotVoted)
    }
}

fn proof(record: &SlotRecord, names: &SlotNames, pages: SortedPages, place: Place) -> Proof {
    let Place { index, leaf, path } = place;
    Proof {
        season: names.season.clone(),
        slot: record.slot.position,
        index,
        size: pages.leaves,
        leaf_hash: HexHash(leaf.hash()),
        leaf,
        path: path.into_iter().map(HexHash).collect(),
        root: HexHash(pages.root),
    }
}

impl Core {
    /// A locked slot and its pages.
    fn sealed(&self, season: &str, position: u32) -> Result<(SlotRecord, Closing, SortedPages), Reject> {
        let slot = {
            let scene = self.stage.look();
            let slot = scene.slot(scene.season(season)?, position)?;
            if slot.status != SlotStatus::Locked {
                return Err(super::operate::wrong_state(slot, "has no certificate before it is locked"));
            }
            slot.slot.no
        };
        let store = self.tables.as_ref();
        let record = self.read(lookup::slot(store, slot))?;
        let closing = self.read(lookup::closing(store, slot))?;
        let whole = record.zip(closing).and_then(|(record, closing)| {
            let pages = closing.pages_of(&record)?;
            Some((record, closing, pages))
        });
        // Its state forbids nothing: what was logged is not in the tables yet.
        whole.ok_or(Reject::NotReady { why: "the slot's ballots are still being sorted: ask again in a moment" })
    }

    fn store_id(&self) -> [u8; 16] {
        self.home.as_ref().map_or([0; 16], crate::store::Home::store_id)
    }
}

/// A locked slot's certificate, as its pages and records have it. `clips`: all of the slot's, in order.
pub(super) fn certificate(
    store: &dyn Store,
    store_id: [u8; 16],
    record: &SlotRecord,
    closing: Closing,
    pages: SortedPages,
    clips: Vec<(ClipNo, ClipId)>,
) -> Result<Certificate, Fault> {
    let counts: BTreeMap<ClipNo, (u64, u64)> = SlotPages::new(store, record.slot.no, pages)
        .counts()?
        .into_iter()
        .map(|(clip, votes, weight)| (clip, (votes, weight)))
        .collect();
    let winner = record.winner();
    let winner_clip_id = clips.iter().find(|(no, _)| Some(*no) == winner).map(|(_, id)| id.clone());
    let result = |(no, clip_id): (ClipNo, ClipId)| {
        let (vote_count, weighted_score) = counts.get(&no).copied().unwrap_or_default();
        ClipResult { clip_id, vote_count, weighted_score }
    };
    let certificate = Certificate {
        format: FORMAT,
        store: store_id,
        number: 1,
        previous: None,
        season: lookup::season_id(store, record.slot.season)?,
        slot: record.slot.position,
        sequence: closing.freeze,
        chain: closing.block.map(|block| ChainAt { first: block.first, last: block.last, hash: block.chain }),
        winner_clip_id,
        winner_by: WinnerBy::Count,
        clips: clips.into_iter().map(result).collect(),
        leaves: pages.leaves,
        root: pages.root,
        voids: Vec::new(),
        hash: [0; 32],
    };
    Ok(certificate.sealed())
}

/// Reads a locked slot's sorted pages, all of them, and holds them against what is kept above them. Adds to `counted`, and shows
/// every vote to `look`. The flag: every page could be read.
pub(super) fn recount_sealed(
    tables: &Tables,
    record: &SlotRecord,
    pages: SortedPages,
    clips: &[Clip],
    found: &mut Verified,
    counted: &mut BTreeMap<ClipNo, (i64, i64)>,
    look: &mut dyn FnMut(&Sorted, &mut Verified),
) -> Result<(Audit, bool), Fault> {
    let store = tables.store().as_ref();
    let mut names = SlotNames::of(store, &record.slot)?;
    let of = slot_name(&names, record);
    let sealed = SlotPages::new(store, record.slot.no, pages);
    let (mut audit, mut whole) = (Audit::default(), true);
    for number in 0..sealed.pages() {
        // One that can't be read is named, and the rest is looked at all the same.
        let page = match sealed.page(number) {
            Ok(page) => page,
            Err(damage @ Fault::Damaged { .. }) => {
                found.note(format!("{of}, sorted page {number}: {damage}"));
                whole = false;
                continue;
            }
            Err(other) => return Err(other),
        };
        let mut tree = Tree::default();
        for ballot in page {
            if clips.get(ballot.clip.index()).is_none_or(|clip| clip.slot != record.slot.no) {
                found.note(format!("{of}, event {}: its clip is not of its slot", ballot.seq));
                continue;
            }
            tree.push(audit.take(&names.leaf(store, &ballot)?, true));
            look(&ballot, found);
            let sum = counted.entry(ballot.clip).or_default();
            *sum = (sum.0 + 1, sum.1 + i64::from(ballot.weight));
        }
        match sealed.page_root(number) {
            Ok(root) if root == tree.root() => {}
            Ok(_) => found.note(format!("{of}, sorted page {number}: its ballots do not give the hash kept for it")),
            Err(damage @ Fault::Damaged { .. }) => found.note(format!("{of}, above sorted page {number}: {damage}")),
            Err(other) => return Err(other),
        }
    }
    if record.outcome.as_ref().and_then(|outcome| outcome.root).is_some_and(|root| root.hash != audit.root()) {
        found.note(format!("{of}: its ballots do not give the root that the log's lock names"));
    }
    Ok((audit, whole))
}

/// A slot's name in messages.
pub(super) fn slot_name(names: &SlotNames, record: &SlotRecord) -> String {
    format!("slot {}/{}", names.season, record.slot.position)
}
