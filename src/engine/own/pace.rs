//! How long a reading works before it rests: on half a core at most. Never: rests before it has asked whether anyone is read for still.

use std::time::{Duration, Instant};

use crate::error::Fault;

/// Blocks, or pages of comments, between two rests.
pub(super) const PAGES_A_SLICE: usize = 16;
/// So long it works before it rests.
const SLICE: Duration = Duration::from_millis(5);

/// Rests as long as it worked, so that votes keep the rest of the machine.
pub(super) struct Pace {
    began: Instant,
    page: usize,
}

impl Default for Pace {
    fn default() -> Self {
        Self { began: Instant::now(), page: 0 }
    }
}

impl Pace {
    /// So many pages were read.
    pub(super) fn at_page(&mut self, page: usize, goes_on: impl FnOnce() -> Result<(), Fault>) -> Result<(), Fault> {
        if page < self.page + PAGES_A_SLICE {
            return Ok(());
        }
        self.page = page;
        self.rest(goes_on)
    }

    pub(super) fn rest(&mut self, goes_on: impl FnOnce() -> Result<(), Fault>) -> Result<(), Fault> {
        goes_on()?;
        let worked = self.began.elapsed();
        if worked >= SLICE {
            // What took longer waited for its client, and was no work.
            std::thread::sleep(worked.min(4 * SLICE));
            self.began = Instant::now();
        }
        Ok(())
    }
}
