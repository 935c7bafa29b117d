//! How often it is made sure of how far a making is: what that costs is a disk's, and differs a hundredfold between disks.

use std::time::{Duration, Instant};

use crate::error::Fault;

/// What it costs is at most one part in so many of the time.
const PARTS: u32 = 25;

/// When the next time is.
#[derive(Debug)]
pub(super) struct Pace {
    parts: u32,
    cost: Duration,
    ended: Instant,
}

impl Pace {
    /// The first time is whenever it is asked for.
    pub(super) fn new() -> Self {
        Self { parts: PARTS, cost: Duration::ZERO, ended: Instant::now() }
    }

    /// Every time that it is asked for, whatever it costs.
    #[cfg(test)]
    pub(super) fn always() -> Self {
        Self { parts: 0, ..Self::new() }
    }

    pub(super) fn is_due(&self) -> bool {
        self.ended.elapsed() >= self.cost * self.parts
    }

    /// Does it, and takes the time.
    pub(super) fn spend(&mut self, make_sure: impl FnOnce() -> Result<(), Fault>) -> Result<(), Fault> {
        let began = Instant::now();
        make_sure()?;
        self.ended = Instant::now();
        self.cost = self.ended - began;
        Ok(())
    }
}
