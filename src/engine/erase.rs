//! The erasure of a voter, as far as who asks waits for it: its begin. The rest is `jobs/erase.rs` and the applier's pass.

use tokio::sync::oneshot;

use super::{Ack, Engine};
use crate::domain::{ClipNo, Event, Seq, VoterId, day_of};
use crate::error::Reject;
use crate::log::{Body, Entry};

/// Erasures whose search has not ended, at most: one at a time is worked on.
const WAITING_MAX: usize = 256;
/// Erasures that have not ended, at most: each waits for the last of its voter's slots to be locked, and for the day to pass.
const BEGUN_MAX: usize = 65_536;
/// Erasures of one voter that have not ended, at most: nobody may take up the places of all.
const OF_ONE_MAX: usize = 8;

impl Engine {
    /// Empties what ties a voter's past to them: names, pictures, comments' text, networks' hashes, and in locked slots their id; in
    /// open ones their id stays until they lock. Votes, likes and reports count on. Resolves once the begin is on the disk, with
    /// its sequence, which is the erasure's id; the rest goes on by itself, over restarts. What the voter does afterwards is not
    /// touched.
    ///
    /// While the comments of an erasure of theirs are still searched for, asking again gives that one; later it begins another, for
    /// what came since. Who has [`OF_ONE_MAX`] that have not ended waits for the first of them to end.
    pub async fn erase(&self, voter: VoterId) -> Result<Seq, Reject> {
        let core = &*self.core;
        let _turn = core.turn().await?;
        let clips = {
            let scene = core.stage.look();
            let mut waiting = scene.erasures.iter().filter(|(_, erasing)| !erasing.searched);
            if let Some((id, _)) = waiting.clone().find(|(_, erasing)| erasing.voter == voter) {
                return Ok(*id);
            }
            let of_theirs = scene.erasures.values().filter(|erasing| erasing.voter == voter).count();
            let full = waiting.nth(WAITING_MAX - 1).is_some() || scene.erasures.len() >= BEGUN_MAX;
            if full || of_theirs >= OF_ONE_MAX {
                return Err(core.overloaded());
            }
            // No clip comes in between: adding one takes a turn too.
            ClipNo(u32::try_from(scene.clips.len()).expect("clips are numbered in 32 bits"))
        };
        let (waiter, answer) = oneshot::channel();
        let at = core.clock.now_ms();
        let event = Event::ErasureBegun { voter, day: core.ballots.day(day_of(at)), clips };
        core.queue.urge(Entry::new(at, Body::Event(event), Some(waiter))).map_err(|_| core.overloaded())?;
        let id = core.outcome(answer).await?;
        if core.settings.ack == Ack::Memory {
            // Answered before it was flushed; what settles behind it was flushed behind it.
            core.barrier_urgently().await?;
        }
        Ok(id)
    }

    /// Erasures that have not ended.
    pub fn erasures_begun(&self) -> usize {
        self.core.stage.look().erasures.len()
    }
}
