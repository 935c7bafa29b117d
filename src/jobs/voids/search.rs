//! The votes that a void names, found in what is stored: a slot's blocks, or the sorted pages that stand for them.
//!
//! As of a sequence that the tables contain. A step looks through a bounded part, so that whoever steps can do something else in
//! between. Never: whether a vote is under another void already.

use std::collections::HashSet;
use std::ops::ControlFlow;
use std::sync::Arc;

use crate::closed::{SlotNames, SlotPages};
use crate::domain::{NamedVote, Origin, Seq, SlotNo, VoidBy, VoterId};
use crate::error::Fault;
use crate::fold::ballot_block::{self, Act};
use crate::fold::sorted::{SortedPages, Who};
use crate::fold::{NAMED_MAX, keys, lookup};
use crate::merkle::Hash;
use crate::store::Store;

/// Blocks or sorted pages that are looked through in a step: a millisecond or two.
const PAGES_A_STEP: u32 = 16;

/// A search.
#[derive(Debug)]
pub struct Search {
    store: Arc<dyn Store>,
    slot: SlotNo,
    by: VoidBy,
    /// What the slot's sorted pages have in the place of the voter that is looked for, once they were erased.
    emptied: Option<(Hash, VoterId)>,
    until: Seq,
    place: Place,
    found: Vec<NamedVote>,
    /// Those among them that were taken back.
    back: HashSet<Seq>,
}

#[derive(Clone, Copy, Debug)]
enum Place {
    /// From the block that begins there on.
    Blocks(Seq),
    /// From the page of that number on.
    Sorted(SortedPages, u32),
}

/// How far it has come.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Found {
    /// There is more to look through.
    More,
    /// More votes fit than voids may name.
    TooMany,
    /// All, by sequence.
    All(Vec<NamedVote>),
}

impl Search {
    /// For votes of a slot with sequences up to `until`, which the tables contain.
    pub fn new(store: Arc<dyn Store>, slot: SlotNo, by: VoidBy, until: Seq) -> Result<Self, Fault> {
        let sealed = lookup::sealed(store.as_ref(), slot)?;
        let place = sealed.map_or(Place::Blocks(0), |(_, pages)| Place::Sorted(pages, 0));
        let emptied = match (by, lookup::slot(store.as_ref(), slot)?) {
            (VoidBy::Voter(of), Some(record)) => {
                Some((SlotNames::of(store.as_ref(), &record.slot)?.scope.voter(of), of))
            }
            _ => None,
        };
        Ok(Self { store, slot, by, emptied, until, place, found: Vec::new(), back: HashSet::new() })
    }

    /// Looks through a little.
    pub fn step(&mut self) -> Result<Found, Fault> {
        let ended = match self.place {
            Place::Blocks(from) => self.step_blocks(from)?,
            Place::Sorted(pages, from) => self.step_sorted(pages, from)?,
        };
        // Behind the reading: until now every block was there.
        if let Place::Blocks(_) = self.place
            && let Some((_, pages)) = lookup::sealed(self.store.as_ref(), self.slot)?
        {
            self.place = Place::Sorted(pages, 0);
            self.found.clear();
            self.back.clear();
            return Ok(Found::More);
        }
        if self.found.len() - self.back.len() > NAMED_MAX {
            return Ok(Found::TooMany);
        }
        // Those that come and go again take no room, however many.
        if self.back.len() > self.found.len() / 2 {
            let back = std::mem::take(&mut self.back);
            self.found.retain(|vote| !back.contains(&vote.seq));
        }
        if !ended {
            return Ok(Found::More);
        }
        let mut found = std::mem::take(&mut self.found);
        found.retain(|vote| !self.back.contains(&vote.seq));
        found.sort_unstable_by_key(|vote| vote.seq);
        Ok(Found::All(found))
    }

    fn step_blocks(&mut self, from: Seq) -> Result<bool, Fault> {
        let Self { store, slot, by, until, found, back, .. } = self;
        let (_, end) = keys::ballots_of(*slot);
        let (mut left, mut next) = (PAGES_A_STEP, None);
        store.scan(&keys::ballots(*slot, from), &end, &mut |key, record| {
            if left == 0 {
                next = ballot_block::head(key, record).map(|head| Some(head.first))?;
                return Ok(ControlFlow::Break(()));
            }
            left -= 1;
            ballot_block::read(key, record, |stored| {
                let ballot = stored.ballot;
                match ballot.act {
                    Act::Cast(_) if stored.seq <= *until && fits(*by, Some(ballot.voter), stored.at, ballot.origin) => {
                        found.push(NamedVote {
                            seq: stored.seq,
                            at: stored.at,
                            voter: ballot.voter,
                            clip: ballot.clip,
                            weight: ballot.weight,
                            day: ballot.day,
                        });
                    }
                    Act::Cast(_) => {}
                    // In the order of the log, so they are in that of their sequences.
                    Act::Retract(vote) => {
                        if found.binary_search_by_key(&vote, |vote| vote.seq).is_ok() {
                            back.insert(vote);
                        }
                    }
                }
                Ok(())
            })?;
            Ok(ControlFlow::Continue(()))
        })?;
        self.place = Place::Blocks(next.unwrap_or(from));
        Ok(next.is_none())
    }

    fn step_sorted(&mut self, pages: SortedPages, from: u32) -> Result<bool, Fault> {
        let sealed = SlotPages::new(self.store.as_ref(), self.slot, pages);
        let behind = sealed.pages().min(from + PAGES_A_STEP);
        for number in from..behind {
            for one in sealed.page(number)? {
                let voter = match one.who {
                    Who::Voter(voter) => Some(voter),
                    // Nobody gets out of a void by asking to be forgotten.
                    Who::Erased(c) => self.emptied.filter(|(of, _)| *of == c).map(|(_, voter)| voter),
                };
                // The slot may have been locked since: its pages hold what was cast up to its freeze.
                if one.seq <= self.until && fits(self.by, voter, one.at, one.origin) {
                    self.found.push(NamedVote {
                        seq: one.seq,
                        at: one.at,
                        voter: one.who.id(),
                        clip: one.clip,
                        weight: one.weight,
                        day: one.day,
                    });
                }
            }
        }
        self.place = Place::Sorted(pages, behind);
        Ok(behind == sealed.pages())
    }
}

fn fits(by: VoidBy, voter: Option<VoterId>, at: u64, origin: Origin) -> bool {
    match by {
        VoidBy::Voter(of) => voter == Some(of),
        VoidBy::Network(of) => origin.network == of,
        VoidBy::Window { from_ms, to_ms } => (from_ms..to_ms).contains(&at),
        VoidBy::Flagged => origin.is_flagged(),
    }
}
