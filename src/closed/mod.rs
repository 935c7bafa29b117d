//! Closed slots: their ballots sorted into pages, the tree over them, and what is read from both.
//!
//! [`Rewrite`] does the work, a little a step, driven by the applier, which is the one that writes the tables. A slot is sorted
//! once it is frozen, so that its lock can name the root; its blocks go once the lock is in the tables. A slot that opens
//! again loses its pages. What is to be done is read from the tables alone, so a start goes on wherever a crash
//! cut it. [`Erase`] takes what is left of voters who were erased from the tables, in between. Never: a count of its own, a decision about a slot's life.

mod erase;
mod part;
mod rewrite;
mod sealed;
mod writer;

pub use erase::Erase;
pub use rewrite::Rewrite;
pub use sealed::{Place, SlotNames, SlotPages};
