//! What a lock waits for: its slot's ballots, sorted under a root. The applier sorts; this looks whether it is done.
//!
//! A root that is seen here and lost by a crash is computed anew, and is the same: it follows from the ballots alone.

use std::sync::Arc;

use super::rounds::{Seal, Sealed};
use crate::domain::Root;
use crate::fold::lookup;
use crate::stage::SlotState;
use crate::store::Store;

/// The seal of slots whose ballots are sorted.
#[derive(Debug)]
pub struct SortedBallots {
    tables: Arc<dyn Store>,
}

impl SortedBallots {
    /// Over the tables.
    pub fn new(tables: Arc<dyn Store>) -> Self {
        Self { tables }
    }
}

impl Seal for SortedBallots {
    fn of(&self, slot: &SlotState) -> Sealed {
        // A store that can't be read fails where that is noticed; until then nothing is decided on it.
        let closing = lookup::closing(self.tables.as_ref(), slot.slot.no).ok().flatten();
        let pages = closing.filter(|closing| closing.freeze == slot.last_step).and_then(|closing| closing.sorted);
        pages.map_or(Sealed::NotYet, |pages| Sealed::With(Some(Root { hash: pages.root, leaves: pages.leaves })))
    }
}
