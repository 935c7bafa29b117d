//! Writing a log that nobody serves: the same sequence, judge, blocks and fold as behind a server, on one thread.

use std::collections::VecDeque;
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
    /// The last event that was given: behind the log's end only while those that it has are given once more.
    given: Seq,
    /// Of these the ones that the log still holds, in its last block.
    held: VecDeque<Logged>,
    /// Blocks between two commits, and events in one at most.
    every: (usize, Seq),
}

impl Appender {
    /// Goes on where both stores end.
    pub fn open(log: Arc<dyn Store>, tables: Arc<dyn Store>, genesis: Chain) -> Result<Self, Fault> {
        let Recovered { tables, transitions, end, blocks, .. } = recover(log.as_ref(), tables, genesis)?;
        let (builder, last, held) = (Builder::default(), end.seq, VecDeque::new());
        Ok(Self { log, tables, transitions, builder, last, end, blocks, given: last, held, every: (BLOCKS, Seq::MAX) })
    }

    /// For who gives the very events that the log begins with once more, from the first on: they are not added, and held against
    /// those that it still has. Where it was cut short it goes on with the first that it lacks.
    pub fn from_first(mut self) -> Result<Self, Fault> {
        if self.end.seq > 0 {
            let key = block::key(self.end.block);
            let record = self.log.get(&key)?.ok_or_else(|| Fault::damaged("log", &key, "it was there"))?;
            block::read(&key, &record, |logged| {
                self.held.push_back(logged);
                Ok(())
            })?;
        }
        self.given = 0;
        Ok(self)
    }

    /// With smaller blocks and more commits, so that a test of a few events has many of them.
    #[cfg(test)]
    pub(crate) fn in_steps_of(mut self, blocks: usize, events: Seq) -> Self {
        self.every = (blocks, events);
        self
    }

    /// The last event that it has, on the disk or not.
    pub fn last(&self) -> Seq {
        self.last
    }

    /// The last event that is on the disk for sure, with all before it.
    pub fn committed(&self) -> Seq {
        self.tables.mark().map_or(0, |mark| mark.seq)
    }

    /// Adds an event, unless the log's order refuses it; gives its sequence.
    pub fn add(&mut self, at: u64, event: Event) -> Result<Result<Seq, Refusal>, Fault> {
        let seq = self.given + 1;
        if seq <= self.last {
            self.compare(&Logged { seq, at, event })?;
            self.given = seq;
            return Ok(Ok(seq));
        }
        if self.builder.is_full() || self.last - self.end.seq >= self.every.1 {
            self.end_block()?;
        }
        if let Err(refusal) = judge(&self.transitions, seq, at, &event) {
            return Ok(Err(refusal));
        }
        self.builder.add(at, &event);
        take(&mut self.transitions, &mut self.tables, &Logged { seq, at, event })?;
        (self.last, self.given) = (seq, seq);
        Ok(Ok(seq))
    }

    /// Holds an event that was given once more against the log's.
    fn compare(&mut self, logged: &Logged) -> Result<(), Fault> {
        if self.held.front().is_none_or(|held| held.seq > logged.seq) || self.held.pop_front().as_ref() == Some(logged)
        {
            return Ok(());
        }
        Err(Fault::Inconsistent { why: format!("event {} is not the one that the log has", logged.seq) })
    }

    /// Writes what is left; gives the last sequence. Everything is on the disk then.
    pub fn finish(mut self) -> Result<Seq, Fault> {
        if self.given < self.last {
            let why = format!("the log has {} events, and only {} were given", self.last, self.given);
            return Err(Fault::Inconsistent { why });
        }
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
        if self.blocks.len() < self.every.0 && !self.tables.is_heavy() { Ok(()) } else { self.commit() }
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
