//! What an erasure takes from the tables and no event changes, a little a step: networks' hashes and, in locked slots, voters' ids;
//! what pages of comments have left over; what voids keep of voters.
//!
//! One erasure at a time, in four parts. First every slot: a locked one's ballots get `c` in the voter's place, which leaves leaf,
//! order and root as they are; others lose the network alone and are noted, for their ballots still say who has voted. Each of
//! those is gone through again once it is locked. Once the search for comments is over, what it left over goes; and at last, with no
//! slot left to wait for, what voids say.
//!
//! Order: the rewritten records, a flush, the erasure's record that says so, a flush. A page or block is one value, so a crash leaves
//! it as it was or as it is to be, and a part that was cut short is done again from its beginning. Works only while no slot
//! is being sorted: what a sort has gathered would come back. Never: ends an erasure, touches what came behind its begin.
//!
//! Here is which part comes next, and what is said once it is done; [`ballots`] and [`records`] rewrite.

mod ballots;
mod records;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::domain::{ErasurePass, ErasureState, Seq, SlotNo, SlotStatus, VoterId};
use crate::error::Fault;
use crate::fold::comments::CommentId;
use crate::fold::keys::{self, Table};
use crate::fold::ranges::Item;
use crate::fold::records::SlotRecord;
use crate::fold::sorted::SortedPages;
use crate::fold::{Tables, erasures, lookup};
use crate::store::Store;
use ballots::empty_sorted;
use records::{swept, tidied};

/// Erasures that wait for one slot.
const AT_ONCE: usize = 16;

/// The job. Written by the applier's thread alone.
#[derive(Debug)]
pub struct Erase {
    store: Arc<dyn Store>,
    /// Erasures with something left to do here.
    begun: BTreeMap<Seq, Begun>,
    /// Slots that took a step since they were last looked at.
    moved: BTreeSet<SlotNo>,
    work: Option<Work>,
    /// There may be something to do.
    look: bool,
    /// A part waits for the void that is under way.
    waits_for_void: bool,
}

#[derive(Clone, Debug)]
struct Begun {
    voter: VoterId,
    searched: bool,
    pass: ErasurePass,
}

impl Begun {
    fn waits_for(&self, slot: SlotNo) -> bool {
        self.pass.waits.as_ref().is_some_and(|waits| waits.binary_search(&slot).is_ok())
    }
}

/// Whose, and before what.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Theirs {
    voter: VoterId,
    before: Seq,
}

impl Theirs {
    fn is(self, voter: VoterId, seq: Seq) -> bool {
        voter == self.voter && seq < self.before
    }
}

#[derive(Debug)]
struct Work {
    of: Theirs,
    part: Part,
}

#[derive(Debug)]
enum Part {
    /// Slots below this number are to be looked through, the last first; those that wait; the one at hand.
    Slots(u32, Vec<SlotNo>, Option<Blocks>),
    /// A slot that was waited for, by this erasure and maybe by more, is locked.
    Locked(SlotNo),
    /// Pages of comments, from a key on.
    Tidy(Vec<u8>),
    /// Votes that voids name, then voids, from a key on.
    Sweep(Vec<u8>),
}

/// A slot that isn't locked, while its blocks are looked through.
#[derive(Clone, Copy, Debug)]
struct Blocks {
    slot: SlotNo,
    life: Life,
    /// The block to go on with begins here or later.
    next: Seq,
    found: bool,
}

/// What tells whether a slot's ballots have changed their form.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Life {
    locked: bool,
    freeze: Option<Seq>,
    pages: Option<SortedPages>,
}

impl Erase {
    /// Over the tables' store; reads what erasures a crash or an end has left.
    pub fn new(store: Arc<dyn Store>) -> Result<Self, Fault> {
        let mut begun = BTreeMap::new();
        erasures::each(store.as_ref(), |state| note(&mut begun, state))?;
        // Any of their slots may have been locked behind the last note.
        let moved = begun.values().flat_map(|of| of.pass.waits.iter().flatten().copied()).collect();
        Ok(Self { store, begun, moved, work: None, look: true, waits_for_void: false })
    }

    /// An erasure began or went on, which is in the store and flushed.
    pub fn look_at(&mut self, erasure: Seq) -> Result<(), Fault> {
        self.begun.remove(&erasure);
        if let Some(state) = erasures::find(self.store.as_ref(), erasure)? {
            note(&mut self.begun, state);
        }
        self.look = true;
        Ok(())
    }

    /// A slot took a step, likewise.
    pub fn look_at_slot(&mut self, slot: SlotNo) {
        if !self.begun.is_empty() {
            self.moved.insert(slot);
            self.look = true;
        }
    }

    /// Does a little; whether there is more to do. `tables` has nothing that is not stored; `void`: one is under way as of them.
    pub fn step(&mut self, tables: &mut Tables, void: bool) -> Result<bool, Fault> {
        self.look |= self.waits_for_void && !void;
        if self.work.is_none() {
            if !self.look {
                return Ok(false);
            }
            self.waits_for_void = false;
            self.work = self.next(void)?;
        }
        let Some(Work { of, part }) = self.work.take() else {
            self.look = false;
            return Ok(false);
        };
        let store = Arc::clone(&self.store);
        let store = store.as_ref();
        let left = match part {
            Part::Slots(below, waits, at) => self.slots(tables, of, below, waits, at)?,
            Part::Locked(slot) => {
                self.locked(slot)?;
                None
            }
            Part::Tidy(from) => {
                let next = tidied(store, &from, of)?;
                if next.is_none() {
                    self.done(&[of], |pass| pass.tidied = true)?;
                }
                next.map(Part::Tidy)
            }
            Part::Sweep(from) => {
                let next = swept(store, &from, of)?;
                if next.is_none() {
                    self.done(&[of], |pass| pass.swept = true)?;
                    self.begun.remove(&of.before);
                }
                next.map(Part::Sweep)
            }
        };
        if matches!(left, Some(Part::Tidy(_)) | None) {
            tables.forget_kept();
        }
        self.work = left.map(|part| Work { of, part });
        Ok(true)
    }

    /// What comes next: of the oldest erasure that something can be done for.
    fn next(&mut self, void: bool) -> Result<Option<Work>, Fault> {
        while let Some(slot) = self.moved.first().copied() {
            let first = self.begun.iter().find(|(_, of)| of.waits_for(slot));
            let Some((id, of)) = first.map(|(id, of)| (*id, of.voter)) else {
                self.moved.pop_first();
                continue;
            };
            let (_, life) = life(self.store.as_ref(), slot)?;
            if life.locked && life.pages.is_some() {
                return Ok(Some(Work { of: Theirs { voter: of, before: id }, part: Part::Locked(slot) }));
            }
            self.moved.pop_first();
        }
        for (id, of) in &self.begun {
            let work = |part| Some(Work { of: Theirs { voter: of.voter, before: *id }, part });
            let Some(waits) = &of.pass.waits else {
                // Numbers have no gap, and one that is created from here on holds nothing of before the begin.
                let (from, to) = keys::pages_of(Table::Slots);
                let last = self.store.last_in(&from, &to)?.and_then(|(key, _)| keys::page_number(&key));
                return Ok(work(Part::Slots(last.map_or(0, |last| last + 1), Vec::new(), None)));
            };
            if of.searched && !of.pass.tidied {
                return Ok(work(Part::Tidy(vec![CommentId::LETTER])));
            }
            if of.pass.tidied && waits.is_empty() {
                if !void {
                    return Ok(work(Part::Sweep(keys::voids().0.to_vec())));
                }
                // The votes that it names may still be on their way.
                self.waits_for_void = true;
            }
        }
        Ok(None)
    }

    /// Some of the slots, or of one slot's blocks.
    fn slots(
        &mut self,
        tables: &mut Tables,
        of: Theirs,
        below: u32,
        mut waits: Vec<SlotNo>,
        at: Option<Blocks>,
    ) -> Result<Option<Part>, Fault> {
        let store = Arc::clone(&self.store);
        let store = store.as_ref();
        let Some(slot) = below.checked_sub(1) else {
            waits.sort_unstable();
            // Its lock may have come since it was looked through.
            self.moved.extend(&waits);
            self.done(&[of], |pass| pass.waits = Some(waits.clone()))?;
            return Ok(None);
        };
        let (rest, slot) = (slot, SlotNo(slot));
        let (record, now) = life(store, slot)?;
        if let (Some(record), Life { locked: true, pages: Some(pages), .. }) = (&record, now) {
            empty_sorted(store, record, pages, of, true)?;
            return Ok(Some(Part::Slots(rest, waits, None)));
        }
        // One that froze, was sorted or opened again meanwhile is begun anew.
        let mut at = at.filter(|at| at.life == now).unwrap_or(Blocks { slot, life: now, next: 0, found: false });
        let (rewritten, ended) = at.step(store, of)?;
        if rewritten {
            tables.forget_kept();
        }
        if !ended {
            return Ok(Some(Part::Slots(below, waits, Some(at))));
        }
        if let (Some(record), Some(pages)) = (&record, now.pages) {
            empty_sorted(store, record, pages, of, false)?;
        }
        waits.extend(at.found.then_some(slot));
        Ok(Some(Part::Slots(rest, waits, None)))
    }

    /// A slot that was waited for: some of those that wait for it, whose notes share two flushes. The others, and one that isn't
    /// locked and sorted after all, are brought here again, by the next look or by the slot's next step.
    fn locked(&mut self, slot: SlotNo) -> Result<(), Fault> {
        let (record, now) = life(self.store.as_ref(), slot)?;
        let (Some(record), Life { locked: true, pages: Some(pages), .. }) = (record, now) else { return Ok(()) };
        let waiting = self.begun.iter().filter(|(_, of)| of.waits_for(slot)).take(AT_ONCE);
        let waiting: Vec<Theirs> = waiting.map(|(id, of)| Theirs { voter: of.voter, before: *id }).collect();
        for of in &waiting {
            empty_sorted(self.store.as_ref(), &record, pages, *of, true)?;
        }
        self.done(&waiting, |pass| pass.waits.iter_mut().for_each(|waits| waits.retain(|at| *at != slot)))
    }

    /// A part of some is done: what it rewrote is on the disk before anything says so.
    fn done(&mut self, of: &[Theirs], change: impl Fn(&mut ErasurePass)) -> Result<(), Fault> {
        self.store.flush()?;
        for Theirs { before, .. } in of {
            let Some(known) = self.begun.get_mut(before) else { continue };
            change(&mut known.pass);
            let pass = known.pass.clone();
            erasures::note_pass(self.store.as_ref(), *before, |stored| *stored = pass)?;
        }
        self.store.flush()
    }
}

fn note(begun: &mut BTreeMap<Seq, Begun>, state: ErasureState) {
    if let Some(voter) = state.voter.filter(|_| !state.pass.swept) {
        begun.insert(state.id, Begun { voter, searched: state.searched.is_some(), pass: state.pass });
    }
}

/// A slot's record, and in what form its ballots are.
fn life(store: &dyn Store, slot: SlotNo) -> Result<(Option<SlotRecord>, Life), Fault> {
    let record = lookup::slot(store, slot)?;
    let freeze = record.as_ref().and_then(SlotRecord::freeze);
    let closing = lookup::closing(store, slot)?.filter(|closing| Some(closing.freeze) == freeze);
    let locked = record.as_ref().is_some_and(|record| record.status() == SlotStatus::Locked);
    Ok((record, Life { locked, freeze, pages: closing.and_then(|closing| closing.sorted) }))
}
