//! Writing a log that nobody serves: the same sequence, judge, blocks and fold as behind a server, on one thread.

use std::sync::Arc;

use super::apply::{freeze_block, take};
use super::block::{self, Builder, Link};
use super::recover::{Recovered, recover};
use crate::codec::Chain;
use crate::domain::{Event, Logged, Seq};
use crate::error::Fault;
use crate::fold::{Mark, Refusal, Tables, Transitions, judge};
use crate::store::Store;

/// Blocks between two commits of the tables.
const BLOCKS: usize = 64;

/// A log and its tables.
#[derive(Debug)]
pub struct Appender {
    log: Arc<dyn Store>,
    tables: Tables,
    transitions: Transitions,
    builder: Builder,
    /// The last event, in a block or not.
    last: Seq,
    /// The last block.
    end: Mark,
    /// Keys of the blocks in the log.
    blocks: Vec<Seq>,
}

impl Appender {
    /// Goes on where both stores end.
    pub fn open(log: Arc<dyn Store>, tables: Arc<dyn Store>, genesis: Chain) -> Result<Self, Fault> {
        let Recovered { tables, transitions, end, blocks, .. } = recover(log.as_ref(), tables, genesis)?;
        Ok(Self { log, tables, transitions, builder: Builder::default(), last: end.seq, end, blocks })
    }

    /// Adds an event, unless the log's order refuses it; gives its sequence.
    pub fn add(&mut self, at: u64, event: Event) -> Result<Result<Seq, Refusal>, Fault> {
        if self.builder.is_full() {
            self.end_block()?;
        }
        let seq = self.last + 1;
        if let Err(refusal) = judge(&self.transitions, seq, at, &event) {
            return Ok(Err(refusal));
        }
        self.builder.add(at, &event);
        take(&mut self.transitions, &mut self.tables, &Logged { seq, at, event })?;
        self.last = seq;
        Ok(Ok(seq))
    }

    /// Writes what is left; gives the last sequence. Everything is on the disk then.
    pub fn finish(mut self) -> Result<Seq, Fault> {
        self.end_block()?;
        self.commit()?;
        Ok(self.last)
    }

    fn end_block(&mut self) -> Result<(), Fault> {
        if self.builder.is_empty() {
            return Ok(());
        }
        let (first, previous) = (self.end.seq + 1, self.end.chain);
        let (record, chain) = self.builder.seal(first, previous);
        self.log.insert(&block::key(first), record)?;
        self.end = Mark { seq: self.last, block: first, chain };
        self.tables.end_block(freeze_block(&Link { first, last: self.last, previous, chain }))?;
        self.blocks.push(first);
        if self.blocks.len() < BLOCKS && !self.tables.is_heavy() { Ok(()) } else { self.commit() }
    }

    /// The log before the tables, the tables before what they contain goes from the log.
    fn commit(&mut self) -> Result<(), Fault> {
        self.log.flush()?;
        self.tables.commit(self.end)?;
        self.transitions.forget_before(self.end.seq);
        let kept = self.blocks.len().saturating_sub(1);
        self.blocks.drain(..kept).try_for_each(|first| self.log.remove(&block::key(first)))
    }
}
