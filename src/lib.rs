//! Plaudit takes votes at burst scale in one process: exact counts, nothing acknowledged is lost.

pub mod admission;
pub mod ballots;
pub mod cli;
pub mod clock;
pub mod codec;
pub mod config;
pub mod domain;
pub mod engine;
pub mod error;
pub mod fold;
pub mod http;
pub mod identity;
pub mod jobs;
pub mod log;
pub mod metrics;
pub mod stage;
pub mod store;
pub mod tally;
