//! A voter's ballots without what an erasure takes: the network in a slot's blocks, in a locked slot's pages the id as well.
//!
//! A block or page is written in the place of the one before it. Never: another voter's ballot, or one from behind the begin.

use std::ops::ControlFlow;

use super::{Blocks, Theirs};
use crate::closed::sealed::{SlotNames, SlotPages};
use crate::domain::{NetworkHash, Origin};
use crate::error::Fault;
use crate::fold::ballot_block::{self, Ballot};
use crate::fold::keys;
use crate::fold::records::SlotRecord;
use crate::fold::sorted::{self, BALLOTS, SortedPages, Who};
use crate::fold::{BallotBlock, Stored};
use crate::store::Store;

/// Blocks that a step goes through at most: in a few milliseconds.
const BLOCKS: usize = 32;

impl Blocks {
    /// Takes networks from some blocks; whether any was rewritten, and whether that was the last.
    pub(super) fn step(&mut self, store: &dyn Store, of: Theirs) -> Result<(bool, bool), Fault> {
        let (_, end) = keys::ballots_of(self.slot);
        let (mut left, mut ended, mut rewritten) = (BLOCKS, true, Vec::new());
        store.scan(&keys::ballots(self.slot, self.next), &end, &mut |key, record| {
            if left == 0 {
                ended = false;
                return Ok(ControlFlow::Break(()));
            }
            left -= 1;
            let (mut found, mut known) = (false, false);
            let head = ballot_block::read(key, record, |Stored { seq, ballot, .. }| {
                let theirs = of.is(ballot.voter, seq);
                found |= theirs;
                known |= theirs && ballot.origin.network != NetworkHash::UNKNOWN;
                Ok(())
            })?;
            self.found |= found;
            // The last block may grow before the next step: it is not the next one's, whose first lies past its last.
            self.next = head.last + 1;
            if known {
                rewritten.push((key.to_vec(), without_network(key, record, of)?.record(self.slot)));
            }
            // Behind its begin nothing is touched.
            Ok(if head.last < of.before { ControlFlow::Continue(()) } else { ControlFlow::Break(()) })
        })?;
        for (key, record) in &rewritten {
            store.insert(key, record)?;
        }
        Ok((!rewritten.is_empty(), ended))
    }
}

/// A block whose votes of that voter came from nowhere.
fn without_network(key: &[u8], record: &[u8], of: Theirs) -> Result<BallotBlock, Fault> {
    let mut entries = Vec::new();
    let head = ballot_block::read(key, record, |stored| {
        let Stored { seq, at, ballot } = stored;
        let theirs = of.is(ballot.voter, seq);
        let origin = if theirs { nowhere(ballot.origin) } else { ballot.origin };
        entries.push(Stored { seq, at, ballot: Ballot { origin, ..ballot } });
        Ok(())
    })?;
    Ok(BallotBlock::in_place_of(head, &entries))
}

/// Its risk stays: a void of flagged votes finds it.
fn nowhere(origin: Origin) -> Origin {
    Origin { network: NetworkHash::UNKNOWN, ..origin }
}

/// Takes the network from a voter's sorted ballots, and with `whole` the voter, whose `c` has their place: leaves, order and hashes
/// stay as they are.
pub(super) fn empty_sorted(
    store: &dyn Store,
    record: &SlotRecord,
    pages: SortedPages,
    of: Theirs,
    whole: bool,
) -> Result<(), Fault> {
    let slot = record.slot.no;
    let (names, sealed) = (SlotNames::of(store, &record.slot)?, SlotPages::new(store, slot, pages));
    let c = names.scope.voter(of.voter);
    for number in sealed.first_with(&names, c)?..sealed.pages() {
        let mut page = sealed.page(number)?;
        let mut changed = false;
        for ballot in
            page.iter_mut().filter(|ballot| matches!(ballot.who, Who::Voter(voter) if of.is(voter, ballot.seq)))
        {
            let before = *ballot;
            ballot.origin = nowhere(ballot.origin);
            if whole {
                ballot.who = Who::Erased(c);
            }
            changed |= *ballot != before;
        }
        if changed {
            let key = keys::sorted(slot, pages.generation, BALLOTS, number);
            store.insert(&key, &sorted::page(&key, &page))?;
        }
        if page.last().is_none_or(|last| names.c(last.who) > c) {
            break;
        }
    }
    Ok(())
}
