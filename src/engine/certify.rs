//! A locked slot's certificate and its voters' proofs, from what is stored; and `verify`'s part about them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use super::editions::Locked;
use super::verify::Verified;
use super::{Core, Engine};
use crate::closed::{Place, SlotNames, SlotPages};
use crate::domain::{Clip, ClipNo, Seq, SlotNo, SlotStatus, VoterId};
use crate::error::{Fault, Reject};
use crate::fold::lookup;
use crate::fold::records::SlotRecord;
use crate::fold::sorted::{Closing, Sorted, SortedPages};
use crate::fold::{NAMED_MAX, Tables};
use crate::merkle::{Audit, Certificate, HexHash, Proof, Tree};

impl Engine {
    /// A locked slot's newest certificate, or the one of a number; `WrongState` before its lock, `NotReady` until its
    /// ballots are sorted.
    /// Behind a void of the slot it reads all ballots: for a thread that may block.
    pub fn certificate(&self, season: &str, position: u32, number: Option<u64>) -> Result<Certificate, Reject> {
        let core = &*self.core;
        let (record, closing, pages) = core.sealed(season, position)?;
        let (slot, number) = (record.slot.no, number.unwrap_or(u64::MAX));
        let mut last_void = core.last_void(slot);
        if last_void == 0 {
            return of_number(core.made(&record, closing, pages, number)?, number);
        }
        if let Some(certificate) = core.certificates.get(slot, number, last_void) {
            return of_number(certificate, number);
        }
        // Ballots are read by one at a time: others meanwhile wait for what it makes.
        let _one = core.certificates.making.try_lock_for(MAKING).ok_or_else(|| core.overloaded())?;
        loop {
            if let Some(certificate) = core.certificates.get(slot, number, last_void) {
                return of_number(certificate, number);
            }
            // What viewers see of a void has its certificate.
            core.until_applied_here(last_void)?;
            let certificate = core.made(&record, closing, pages, number)?;
            // The stage has a void before the tables do: all records were read as of the same last one.
            let now = core.last_void(slot);
            if now == last_void {
                core.certificates.keep(slot, number, last_void, &certificate);
                return of_number(certificate, number);
            }
            last_void = now;
        }
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

/// The newest by the greatest number that there is.
fn of_number(certificate: Certificate, number: u64) -> Result<Certificate, Reject> {
    if number == u64::MAX || certificate.number == number { Ok(certificate) } else { Err(Reject::NotFound) }
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

/// How long someone waits for certificates that others ask for.
const MAKING: Duration = Duration::from_secs(2);
/// Certificates that are kept, and leaves under voids that they may list in all.
const KEPT: usize = 64;
const LEAVES_KEPT: usize = 2 * NAMED_MAX;

/// Certificates of slots with voids, each kept as of the slot's last void.
#[derive(Debug, Default)]
pub(super) struct Certificates {
    /// By slot and number; the newest by the greatest that there is.
    kept: Mutex<BTreeMap<(SlotNo, u64), (Seq, Certificate)>>,
    /// Held while ballots are read for one.
    making: Mutex<()>,
}

impl Certificates {
    /// That of a number, or the newest when that is an earlier one.
    fn get(&self, slot: SlotNo, number: u64, last_void: Seq) -> Option<Certificate> {
        let kept = self.kept.lock();
        let newest = kept.get(&(slot, u64::MAX)).filter(|(_, newest)| newest.number <= number);
        let found = kept.get(&(slot, number)).or(newest);
        found.filter(|(as_of, _)| *as_of == last_void).map(|(_, certificate)| certificate.clone())
    }

    fn keep(&self, slot: SlotNo, number: u64, last_void: Seq, certificate: &Certificate) {
        let mut kept = self.kept.lock();
        let of = (slot, if certificate.number < number { u64::MAX } else { number });
        kept.remove(&of);
        let leaves: usize = kept.values().map(|(_, certificate)| certificate.voids.len()).sum();
        if kept.len() >= KEPT || leaves + certificate.voids.len() > LEAVES_KEPT {
            kept.clear();
        }
        kept.insert(of, (last_void, certificate.clone()));
    }
}

impl Core {
    /// A certificate from what is stored: that of a number, or the newest when that is an earlier one.
    fn made(
        &self,
        record: &SlotRecord,
        closing: Closing,
        pages: SortedPages,
        number: u64,
    ) -> Result<Certificate, Reject> {
        let ids: Vec<_> = {
            let scene = self.stage.look();
            let clips = &scene.slots[record.slot.no.index()].clips;
            clips.iter().map(|no| (*no, scene.clips[no.index()].clip.id.clone())).collect()
        };
        let found = Tables::open(Arc::clone(&self.tables)).and_then(|tables| {
            let store_id = self.store_id();
            Locked { tables: &tables, store_id, record, closing, pages, clips: &ids }.nth(number)
        });
        self.read(found)?.ok_or(Reject::NotFound)
    }

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

/// Reads a locked slot's sorted pages, all of them, and holds them against what is kept above them. Adds to `counted`, and shows
/// every vote to `look`. `masked`: the leaves that count for nothing. The flag: every page could be read.
#[expect(clippy::too_many_arguments, reason = "what is read, what it is held against, and where the findings go")]
pub(super) fn recount_sealed(
    tables: &Tables,
    record: &SlotRecord,
    pages: SortedPages,
    clips: &[Clip],
    masked: &[u64],
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
            let counts = masked.binary_search(&audit.leaves()).is_err();
            tree.push(audit.take(&names.leaf(store, &ballot)?, counts));
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
