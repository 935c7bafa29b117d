//! What is stored of voters' erasures: a record each, which the events change, and between them the applier's pass.
//!
//! ```text
//! e erasure                 who, until it ends; how far its search and the pass over the tables have come
//! ```
//!
//! A record stays when its erasure ends, without the voter. Never: looks for what is to be emptied.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::ops::ControlFlow;

use super::keys;
use crate::codec::{self, Kind};
use crate::domain::{ErasurePart, ErasurePass, ErasureState, Event, Seq};
use crate::error::Fault;
use crate::store::Store;

const NAME: &str = "tables";

/// Changes that are not stored yet.
#[derive(Debug, Default)]
pub(super) struct ErasureTables {
    states: BTreeMap<Seq, ErasureState>,
}

impl ErasureTables {
    /// Takes in an event about an erasure; says of which.
    pub(super) fn take(&mut self, store: &dyn Store, seq: Seq, at: u64, event: &Event) -> Result<Seq, Fault> {
        let erasure = match event {
            Event::ErasureWent { erasure, .. } | Event::ErasureEnded(erasure) => *erasure,
            _ => seq,
        };
        match event {
            // Folded again, its record may be past this.
            Event::ErasureBegun { voter, day, clips } if self.state(store, seq)?.is_none() => {
                self.states.insert(seq, ErasureState::begin(seq, at, *voter, *day, *clips));
            }
            Event::ErasureWent { part: ErasurePart::Searched, .. } => self.known(store, erasure)?.search(seq),
            Event::ErasureEnded(_) => self.known(store, erasure)?.end(seq),
            _ => {}
        }
        Ok(erasure)
    }

    /// Stores all of it.
    pub(super) fn store(&mut self, store: &dyn Store) -> Result<(), Fault> {
        for state in std::mem::take(&mut self.states).values() {
            put(store, state)?;
        }
        Ok(())
    }

    /// Every erasure, in the order of their begins.
    pub(super) fn each(&self, store: &dyn Store, mut visit: impl FnMut(&ErasureState)) -> Result<(), Fault> {
        let mut states = self.states.clone();
        each(store, |state| {
            states.entry(state.id).or_insert(state);
        })?;
        states.values().for_each(&mut visit);
        Ok(())
    }

    fn known(&mut self, store: &dyn Store, erasure: Seq) -> Result<&mut ErasureState, Fault> {
        self.state(store, erasure)?.ok_or_else(|| Fault::Inconsistent {
            why: format!("erasure {erasure} goes on, and its record is not there"),
        })
    }

    fn state(&mut self, store: &dyn Store, erasure: Seq) -> Result<Option<&mut ErasureState>, Fault> {
        match self.states.entry(erasure) {
            Entry::Occupied(known) => Ok(Some(known.into_mut())),
            Entry::Vacant(free) => Ok(find(store, erasure)?.map(|state| free.insert(state))),
        }
    }
}

/// A stored erasure.
pub fn find(store: &dyn Store, erasure: Seq) -> Result<Option<ErasureState>, Fault> {
    let key = keys::erasure(erasure);
    store.get(&key)?.map(|record| read(&key, &record)).transpose()
}

/// Every stored erasure, in the order of their begins.
pub fn each(store: &dyn Store, mut visit: impl FnMut(ErasureState)) -> Result<(), Fault> {
    let (from, to) = keys::erasures();
    store.scan(&from, &to, &mut |key, record| {
        visit(read(key, record)?);
        Ok(ControlFlow::Continue(()))
    })
}

/// Notes how far the pass has come, beside what the events say. For the applier, between its commits.
pub fn note_pass(store: &dyn Store, erasure: Seq, change: impl FnOnce(&mut ErasurePass)) -> Result<(), Fault> {
    let Some(mut state) = find(store, erasure)? else { return Ok(()) };
    change(&mut state.pass);
    put(store, &state)
}

fn put(store: &dyn Store, state: &ErasureState) -> Result<(), Fault> {
    let key = keys::erasure(state.id);
    store.insert(&key, &codec::record(Kind::Erasure, &key, state))
}

fn read(key: &[u8], record: &[u8]) -> Result<ErasureState, Fault> {
    codec::read(NAME, Kind::Erasure, key, record)
}
