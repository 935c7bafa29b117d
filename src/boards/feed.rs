//! Ballots from the tables' blocks, over all slots in the order of the log: what the boards follow the mark with. The disk is
//! their queue, so the vote's path and the applier never wait for them.

use std::ops::ControlFlow;
use std::sync::Arc;

use super::layout::Layout;
use crate::domain::{Seq, SlotNo};
use crate::error::Fault;
use crate::fold::{Stored, ballot_block, keys};
use crate::store::Store;

/// Where each slot's blocks have been read to.
#[derive(Debug)]
pub(super) struct Feed {
    store: Arc<dyn Store>,
    slots: Vec<Cursor>,
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
        Self { store, slots: Vec::new() }
    }

    /// Gives every ballot that has not been given up to a sequence, which the tables must contain, in log order.
    pub(super) fn gather(&mut self, until: Seq, layout: &Layout, out: &mut Vec<Stored>) -> Result<(), Fault> {
        self.slots.resize(layout.slots.len().max(self.slots.len()), Cursor::default());
        for ((cursor, slot), facts) in self.slots.iter_mut().zip((0..).map(SlotNo)).zip(&layout.slots) {
            if cursor.ended || !facts.has_voted || cursor.next.is_some_and(|next| next > until) {
                continue;
            }
            cursor.next = None;
            read(self.store.as_ref(), slot, cursor, until, out)?;
            // A slot that was locked when all of the log up to here was known gets no more.
            cursor.ended = facts.is_locked && layout.settled <= until && cursor.next.is_none();
        }
        // Runs of each slot are in order already.
        out.sort_by_key(|stored| stored.seq);
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
