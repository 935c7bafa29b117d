//! Ballots of locked slots leave memory, a few shards a step, so that votes elsewhere go on in between.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::mpsc::Receiver;

use crate::ballots::{Ballots, SHARDS};
use crate::domain::{ClipNo, SlotNo, day_of};
use crate::stage::Stage;

/// Shards a step: with millions of voters each takes about a millisecond.
const SHARDS_A_STEP: usize = 4;

/// The job.
#[derive(Debug)]
pub struct Forget {
    stage: Arc<Stage>,
    ballots: Arc<Ballots>,
    locked: Receiver<SlotNo>,
    now: Option<(HashSet<ClipNo>, usize)>,
}

impl Forget {
    /// Takes locked slots from `locked`.
    pub fn new(stage: Arc<Stage>, ballots: Arc<Ballots>, locked: Receiver<SlotNo>) -> Self {
        Self { stage, ballots, locked, now: None }
    }

    /// A few shards of the slot at hand, or of the next one.
    pub fn step(&mut self, now_ms: u64) {
        if self.now.is_none() {
            self.now = self.locked.try_recv().ok().map(|slot| {
                let scene = self.stage.look();
                (scene.slots[slot.index()].clips.iter().copied().collect(), 0)
            });
        }
        let Some((clips, next)) = &mut self.now else { return };
        let end = (*next + SHARDS_A_STEP).min(SHARDS);
        for shard in *next..end {
            self.ballots.forget(shard, day_of(now_ms), |clip| clips.contains(&clip));
        }
        *next = end;
        if end == SHARDS {
            self.now = None;
        }
    }
}
