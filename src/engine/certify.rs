//! A locked slot's certificate and its voters' proofs, from what is stored; and `verify`'s part about them.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use super::verify::Verified;
use super::{Core, Engine};
use crate::closed::{Place, SlotNames, SlotPages};
use crate::domain::{Clip, ClipId, ClipNo, Decided, Seq, SlotNo, SlotStatus, VoidState, VoterId};
use crate::error::{Fault, Reject};
use crate::fold::lookup;
use crate::fold::records::SlotRecord;
use crate::fold::sorted::{Closing, Sorted, SortedPages};
use crate::fold::{NAMED_MAX, Tables};
use crate::merkle::{
    Audit, Certificate, ChainAt, ClipResult, FORMAT, FORMAT_AFTER_VOID, HexHash, Proof, Tree, VoidNamed, WinnerBy,
};

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
        let found = Tables::open(Arc::clone(&self.tables))
            .and_then(|tables| nth(&tables, self.store_id(), record, closing, pages, &ids, number));
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

/// A locked slot's newest certificate. `clips`: all of the slot's, in order.
pub(super) fn newest(
    tables: &Tables,
    store_id: [u8; 16],
    record: &SlotRecord,
    closing: Closing,
    pages: SortedPages,
    clips: &[(ClipNo, ClipId)],
) -> Result<Certificate, Fault> {
    let certificate = nth(tables, store_id, record, closing, pages, clips, u64::MAX)?;
    Ok(certificate.expect("the first one is always there"))
}

/// A locked slot's certificate of that number, or the last before it, as its pages and records have it: the first is of the votes
/// under no void that took effect before the lock, and each void and lifting behind the lock makes another. `None`: of number 0.
pub(super) fn nth(
    tables: &Tables,
    store_id: [u8; 16],
    record: &SlotRecord,
    closing: Closing,
    pages: SortedPages,
    clips: &[(ClipNo, ClipId)],
    number: u64,
) -> Result<Option<Certificate>, Fault> {
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
