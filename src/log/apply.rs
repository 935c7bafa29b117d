//! The applier: folds settled blocks of the log into the tables, then drops them from the log.
//!
//! Order: pages, the mark, a flush of the tables, and only then the log's blocks up to the mark go, all but the last,
//! which proves at the next start that log and mark belong together. It never passes settlement, and is the only
//! writer of the tables. Between its steps it rewrites closed slots.

use std::ops::ControlFlow;
use std::sync::Arc;

use super::block::{self, Link};
use super::progress::Progress;
use super::recover::Recovered;
use crate::closed::{Erase, Rewrite};
use crate::domain::{Logged, Seq};
use crate::error::Fault;
use crate::fold::sorted::FreezeBlock;
use crate::fold::{Mark, Tables, Transitions, fold, judge};
use crate::store::{Store, Value};

/// Events that a step folds at most: its changed pages stay in memory until they are stored.
pub const STEP_EVENTS: u64 = 64 * 1024;

/// What the applier owns.
#[derive(Debug)]
pub struct Applier {
    log: Arc<dyn Store>,
    tables: Tables,
    transitions: Transitions,
    /// The end of what is folded; ahead of the tables' mark until the next commit.
    folded: Mark,
    /// Keys of the blocks in the log that are in the tables, oldest first.
    drops: Vec<Seq>,
    progress: Arc<Progress>,
    rewrite: Rewrite,
    erase: Erase,
}

impl Applier {
    /// Goes on where recovery ended: what that folded is committed by the first step.
    pub fn new(log: Arc<dyn Store>, recovered: Recovered, progress: Arc<Progress>) -> Result<Self, Fault> {
        let Recovered { tables, transitions, end, blocks, .. } = recovered;
        let mut rewrite = Rewrite::new(Arc::clone(tables.store()));
        // A crash may have left any of them half rewritten.
        transitions.slots().for_each(|slot| rewrite.look_at(slot));
        let erase = Erase::new(Arc::clone(tables.store()))?;
        Ok(Self { log, tables, transitions, folded: end, drops: blocks, progress, rewrite, erase })
    }

    /// Folds and stores what has been settled since the last step; says how many events that were.
    pub fn step(&mut self, now_ms: u64) -> Result<u64, Fault> {
        let from = self.tables.mark().map_or(0, |mark| mark.seq);
        let settled = self.progress.settled().min(self.folded.seq + STEP_EVENTS);
        let (first, last) = (block::key(self.folded.seq + 1), block::key(settled + 1));
        let Self { log, tables, transitions, folded, drops, .. } = self;
        log.scan(&first, &last, &mut |key, record| {
            let link = follow(*folded, key, record, |logged| take(transitions, tables, &logged))?;
            tables.end_block(freeze_block(&link))?;
            *folded = Mark { seq: link.last, block: link.first, chain: link.chain };
            drops.push(link.first);
            Ok(if tables.is_heavy() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
        })?;
        if self.folded.seq == from {
            return Ok(0);
        }
        self.tables.commit(self.folded)?;
        for slot in self.tables.take_moved() {
            self.rewrite.look_at(slot);
            self.erase.look_at_slot(slot);
        }
        for erasure in self.tables.take_erasing() {
            self.erase.look_at(erasure)?;
        }
        self.transitions.forget_before(self.folded.seq);
        let kept = self.drops.len().saturating_sub(1);
        for first in self.drops.drain(..kept) {
            self.log.remove(&block::key(first))?;
        }
        self.progress.note_applied(self.folded.seq, now_ms);
        Ok(self.folded.seq - from)
    }

    /// Where the tables end, with the record of the log's block that ends there; `None` before the first commit.
    pub fn end(&self) -> Result<Option<(Mark, Value)>, Fault> {
        let Some(mark) = self.tables.mark() else { return Ok(None) };
        let key = block::key(mark.block);
        let lost = || Fault::damaged("log", &key, "the block that the tables end with is lost");
        Ok(Some((mark, self.log.get(&key)?.ok_or_else(lost)?)))
    }

    /// Does a little of what closed slots and erasures need: a few milliseconds, so that steps come in between. Whether there is more.
    pub fn rewrite(&mut self) -> Result<bool, Fault> {
        if self.rewrite.step()? {
            return Ok(true);
        }
        // What recovery folded is stored by the first step: until then pages lie over those that are stored.
        if self.tables.mark().map_or(0, |mark| mark.seq) != self.folded.seq {
            return Ok(false);
        }
        self.erase.step(&mut self.tables, self.transitions.voids().is_under_way())
    }
}

/// Judges an event again, which must agree, and folds it.
pub(super) fn take(transitions: &mut Transitions, tables: &mut Tables, logged: &Logged) -> Result<(), Fault> {
    let Logged { seq, at, event } = logged;
    if let Err(refusal) = judge(transitions, *seq, *at, event) {
        return Err(Fault::Inconsistent {
            why: format!("event {seq} is in the log and its order refuses it: {refusal:?}"),
        });
    }
    let effect = transitions.note(*seq, *at, event);
    fold(tables, logged, &effect)
}

/// A block as a freeze in it keeps it.
pub(super) fn freeze_block(link: &Link) -> FreezeBlock {
    FreezeBlock { first: link.first, last: link.last, chain: link.chain }
}

/// Reads the block that must follow `end`.
pub(super) fn follow(
    end: Mark,
    key: &[u8],
    record: &[u8],
    visit: impl FnMut(Logged) -> Result<(), Fault>,
) -> Result<Link, Fault> {
    let link = block::read(key, record, visit)?;
    if link.first != end.seq + 1 || link.previous != end.chain {
        let why = format!("it does not follow event {}: blocks before it are missing or changed", end.seq);
        return Err(Fault::damaged("log", key, why));
    }
    Ok(link)
}
