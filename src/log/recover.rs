//! The start: checks that log and tables belong together, then folds the log's tail over the tables.
//!
//! Reads only. What it folded is stored by the applier's first step; `verify` uses the same function and stores nothing.

use std::ops::ControlFlow;
use std::sync::Arc;

use super::apply::{follow, freeze_block, take};
use super::block;
use crate::codec::Chain;
use crate::domain::Seq;
use crate::error::Fault;
use crate::fold::{Mark, Tables, Transitions};
use crate::store::Store;

/// The state at the log's end.
#[derive(Debug)]
pub struct Recovered {
    /// The tables, with the tail over them.
    pub tables: Tables,
    /// What the judge needs.
    pub transitions: Transitions,
    /// The log's end.
    pub end: Mark,
    /// Keys of the log's blocks, oldest first.
    pub blocks: Vec<Seq>,
    /// Events in the tail: those that the tables did not contain.
    pub tail: u64,
}

/// Reads both stores. `genesis` stands in front of the first block.
pub fn recover(log: &dyn Store, tables: Arc<dyn Store>, genesis: Chain) -> Result<Recovered, Fault> {
    let mut tables = Tables::open(tables)?;
    let mark = tables.mark().unwrap_or(Mark { seq: 0, block: 0, chain: genesis });
    let mut transitions = tables.transitions()?;
    let mut end = mark;
    let mut blocks = Vec::new();
    let mut found = mark.seq == 0;
    log.scan(&block::key(0), &[0xff; 9], &mut |key, record| {
        let first = block::read(key, record, |_| Ok(()))?;
        blocks.push(first.first);
        if first.first < mark.block {
            // In the tables already, and left behind by a crash before it was dropped.
            return Ok(ControlFlow::Continue(()));
        }
        if first.first == mark.block {
            found = first.last == mark.seq && first.chain == mark.chain;
            return if found { Ok(ControlFlow::Continue(())) } else { Err(parted(mark)) };
        }
        if !found {
            return Err(parted(mark));
        }
        let link = follow(end, key, record, |logged| take(&mut transitions, &mut tables, &logged))?;
        tables.end_block(freeze_block(&link))?;
        end = Mark { seq: link.last, block: link.first, chain: link.chain };
        Ok(ControlFlow::Continue(()))
    })?;
    if !found {
        return Err(parted(mark));
    }
    Ok(Recovered { tables, transitions, end, blocks, tail: end.seq - mark.seq })
}

fn parted(mark: Mark) -> Fault {
    Fault::Inconsistent {
        why: format!(
            "the tables contain the log up to event {}, and the log does not hold the block that ends there: \
             `log/` was lost, cut or replaced. Restore both from one backup",
            mark.seq
        ),
    }
}
