//! Ballots from the tables, which the boards follow the mark with: from the slots' blocks, in the order of the log, and from the
//! sorted pages of a slot that was locked before all of its blocks were read. The disk is their queue, so the vote's path and the
//! applier never wait for them: blocks may go at any time, which is noticed, and the pages read in their stead.

use std::ops::ControlFlow;
use std::sync::Arc;

use super::layout::Layout;
use crate::domain::{Day, Seq, SlotNo, VoterId};
use crate::error::Fault;
use crate::fold::ballot_block::{Act, Ballot};
use crate::fold::sorted::{self, BALLOTS, BALLOTS_A_PAGE, SortedPages, Who};
use crate::fold::{Stored, ballot_block, keys, lookup};
use crate::merkle::Scope;
use crate::store::Store;

/// Pages that are read in a step.
const PAGES: usize = 128;

/// Where each slot's blocks have been read to.
#[derive(Debug)]
pub(super) struct Feed {
    store: Arc<dyn Store>,
    slots: Vec<Cursor>,
    /// Every ballot up to it was given, but for those of slots whose pages are still to be read.
    reached: Seq,
    /// Slots whose pages are to be read; the last is under way.
    sealed: Vec<Sealed>,
    /// The last freeze of a slot whose pages were read: before it, what they hold is the votes of no one moment.
    holds: Seq,
}

/// A slot whose pages are read from the first on, whatever was given of it before.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sealed {
    pub(super) slot: SlotNo,
    /// The latest day that a vote of it was charged to, those taken back included.
    pub(super) max_day: Day,
    pages: SortedPages,
    next: u32,
}

impl Sealed {
    /// Nothing of it was given since it was sealed.
    pub(super) fn is_new(&self) -> bool {
        self.next == 0
    }
}

#[derive(Clone, Copy, Debug, Default)]
struct Cursor {
    /// The first sequence of the block that is read on from.
    block: Seq,
    /// The last sequence that was given.
    read: Seq,
    /// The first that was not, where one is known.
    next: Option<Seq>,
    /// There is nothing more to come.
    ended: bool,
}

impl Feed {
    /// From the beginning of the log.
    pub(super) fn new(store: Arc<dyn Store>) -> Self {
        Self { store, slots: Vec::new(), reached: 0, sealed: Vec::new(), holds: 0 }
    }

    /// Gives every ballot that has not been given up to a sequence, which the tables must contain, in log order; but none of slots
    /// that turn out to be sealed. After an error it is as if it had not been called.
    pub(super) fn gather(&mut self, until: Seq, layout: &Layout, out: &mut Vec<Stored>) -> Result<(), Fault> {
        let mut slots = self.slots.clone();
        slots.resize(layout.slots.len().max(slots.len()), Cursor::default());
        let mut sealed = Vec::new();
        for ((cursor, slot), facts) in slots.iter_mut().zip((0..).map(SlotNo)).zip(&layout.slots) {
            if cursor.ended || !facts.has_voted || cursor.next.is_some_and(|next| next > until) {
                continue;
            }
            cursor.next = None;
            let before = out.len();
            read(self.store.as_ref(), slot, cursor, until, out)?;
            match lookup::sealed(self.store.as_ref(), slot)? {
                // All of it was read before any of it could go.
                Some((freeze, _)) if freeze <= self.reached => cursor.ended = true,
                Some((freeze, pages)) => {
                    out.truncate(before);
                    cursor.ended = true;
                    sealed.push((freeze, Sealed { slot, max_day: pages.max_day, pages, next: 0 }));
                }
                // A slot that was locked when all of the log up to here was known gets no more.
                None => cursor.ended = facts.is_locked && layout.settled <= until && cursor.next.is_none(),
            }
        }
        (self.slots, self.reached) = (slots, until);
        for (freeze, one) in sealed {
            self.holds = self.holds.max(freeze);
            self.sealed.push(one);
        }
        // Runs of each slot are in order already.
        out.sort_by_key(|stored| stored.seq);
        Ok(())
    }

    /// The slot whose pages are to be read.
    pub(super) fn sealed(&self) -> Option<Sealed> {
        self.sealed.last().copied()
    }

    /// Whether what was given is all votes at that sequence and no others.
    pub(super) fn is_exact_at(&self, seq: Seq) -> bool {
        self.sealed.is_empty() && seq >= self.holds
    }

    /// What a slot's sorted pages know a voter by who was erased.
    pub(super) fn erased_in(&self, slot: SlotNo, voter: VoterId) -> Result<VoterId, Fault> {
        let store = self.store.as_ref();
        let lost = || Fault::Inconsistent { why: format!("slot {} is named, and its record is not there", slot.0) };
        let of = lookup::slot(store, slot)?.ok_or_else(lost)?.slot;
        let season = lookup::season_id(store, of.season)?;
        Ok(Who::Erased(Scope::new(season.as_str(), of.position).voter(voter)).id())
    }

    /// Gives the next ballots of the sealed slot: votes that stand, in no order.
    pub(super) fn gather_sorted(&mut self, out: &mut Vec<Stored>) -> Result<(), Fault> {
        let Some(of) = self.sealed.last_mut() else { return Ok(()) };
        let all = u32::try_from(of.pages.leaves.div_ceil(BALLOTS_A_PAGE as u64)).unwrap_or(u32::MAX);
        let end = all.min(of.next.saturating_add(u32::try_from(PAGES).expect("a small number")));
        for number in of.next..end {
            let key = keys::sorted(of.slot, of.pages.generation, BALLOTS, number);
            let record = self.store.get(&key)?.ok_or_else(|| Fault::damaged("tables", &key, "it is missing"))?;
            out.extend(sorted::read(&key, &record)?.into_iter().map(|sorted| {
                // One who was erased is someone else in each slot: their votes go on counting for clips and makers.
                let voter = sorted.who.id();
                let (clip, weight, day) = (sorted.clip, sorted.weight, sorted.day);
                let (act, origin) = (Act::Cast(sorted.kind), sorted.origin);
                let ballot = Ballot { voter, clip, weight, day, act, origin };
                Stored { seq: sorted.seq, at: sorted.at, ballot }
            }));
        }
        of.next = end;
        if end == all {
            self.sealed.pop();
        }
        Ok(())
    }
}

fn read(store: &dyn Store, slot: SlotNo, cursor: &mut Cursor, until: Seq, out: &mut Vec<Stored>) -> Result<(), Fault> {
    let (_, end) = keys::ballots_of(slot);
    store.scan(&keys::ballots(slot, cursor.block), &end, &mut |key, record| {
        let first =
            Seq::from_be_bytes(key[5..].try_into().map_err(|_| Fault::damaged("tables", key, "a key too long"))?);
        cursor.block = first;
        if first > until {
            cursor.next = Some(first);
            return Ok(ControlFlow::Break(()));
        }
        // The block that was read last may have grown.
        if first <= cursor.read && ballot_block::head(key, record)?.last <= cursor.read {
            return Ok(ControlFlow::Continue(()));
        }
        let (given, mut next) = (cursor.read, None);
        ballot_block::read(key, record, |stored| {
            if stored.seq > until {
                next.get_or_insert(stored.seq);
            } else if stored.seq > given {
                out.push(stored);
                cursor.read = stored.seq;
            }
            Ok(())
        })?;
        cursor.next = next;
        Ok(if next.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    })
}
