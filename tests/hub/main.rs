//! The hub: against a naive model under random use, bound by bound, and under threads.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod bounds;
mod model;
mod rig;
mod stories;
mod threads;
