//! Counts of neighbouring clips, in one page.

use bincode::{Decode, Encode};

use super::keys::CLIPS_A_TOTALS_PAGE;
use crate::domain::{ClipNo, Seq};
use crate::error::Fault;

/// What an event adds to a clip's counts.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Change {
    /// Votes.
    pub votes: i64,
    /// Weight.
    pub weight: i64,
}

/// The counts of [`CLIPS_A_TOTALS_PAGE`] clips with neighbouring numbers.
#[derive(Clone, PartialEq, Eq, Debug, Default, Encode, Decode)]
pub struct TotalsPage {
    /// The last sequence that it contains.
    pub last: Seq,
    counts: Vec<(u64, u64)>,
}

impl TotalsPage {
    /// The page that a clip's counts are in.
    pub fn number(clip: ClipNo) -> u32 {
        clip.0 / CLIPS_A_TOTALS_PAGE
    }

    /// A clip's votes and weight.
    pub fn get(&self, clip: ClipNo) -> (u64, u64) {
        self.counts.get(place(clip)).copied().unwrap_or_default()
    }

    /// Every clip with counts, as (clip, votes, weight); `page` is this page's number.
    pub fn iter(&self, page: u32) -> impl Iterator<Item = (ClipNo, u64, u64)> + '_ {
        let first = page * CLIPS_A_TOTALS_PAGE;
        (first..).zip(&self.counts).map(|(number, (votes, weight))| (ClipNo(number), *votes, *weight))
    }

    /// Adds what one event does to clips of this page; skipped when its sequence is in already. A count below zero is a
    /// contradiction.
    pub fn add(&mut self, seq: Seq, changes: &[(ClipNo, Change)]) -> Result<(), Fault> {
        if seq <= self.last {
            return Ok(());
        }
        for (clip, change) in changes {
            let (votes, weight) = self.get(*clip);
            let sum = votes.checked_add_signed(change.votes).zip(weight.checked_add_signed(change.weight));
            let Some(sum) = sum else {
                return Err(Fault::Inconsistent {
                    why: format!("event {seq} takes more from clip {} than it has", clip.0),
                });
            };
            self.set(*clip, sum);
        }
        self.last = seq;
        Ok(())
    }

    /// Puts a clip's counts right; what the page contains stays.
    pub fn set(&mut self, clip: ClipNo, counts: (u64, u64)) {
        if self.counts.len() <= place(clip) {
            self.counts.resize(place(clip) + 1, (0, 0));
        }
        self.counts[place(clip)] = counts;
    }
}

fn place(clip: ClipNo) -> usize {
    (clip.0 % CLIPS_A_TOTALS_PAGE) as usize
}
