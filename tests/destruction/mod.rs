//! What the destructive tests share: the real binary as a child process, clients that keep a ledger of what they were
//! told, and file systems that a test may fill or cut off.
//!
//! The rule that all of them hold the server to: an answered change is there, exactly once; an unanswered one is there
//! once or not at all; and every clip's counts are the sum of the votes that stand.

#![allow(dead_code, reason = "each test file uses a part of it")]

pub(crate) mod client;
pub(crate) mod ledger;
pub(crate) mod load;
pub(crate) mod mounts;
pub(crate) mod process;
pub(crate) mod random;
