//! Ballots of locked slots leave memory, and so do voters of whom nothing is left to remember when a day has passed; a few
//! shards a step, so that votes elsewhere go on in between.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::mpsc::Receiver;

use crate::ballots::{Ballots, SHARDS};
use crate::domain::{ClipNo, Day, SlotNo, day_of};
use crate::stage::Stage;

/// Shards a step: with millions of voters each takes about a millisecond.
const SHARDS_A_STEP: usize = 4;

/// The job.
#[derive(Debug)]
pub struct Forget {
    stage: Arc<Stage>,
    ballots: Arc<Ballots>,
    locked: Receiver<SlotNo>,
    /// Clips whose ballots go, and the next shard.
    now: Option<(HashSet<ClipNo>, usize)>,
    /// The day that voters were last gone through for.
    day: Option<Day>,
}

impl Forget {
    /// Takes locked slots from `locked`.
    pub fn new(stage: Arc<Stage>, ballots: Arc<Ballots>, locked: Receiver<SlotNo>) -> Self {
        Self { stage, ballots, locked, now: None, day: None }
    }

    /// A few shards of the slot at hand, or of the next one.
    pub fn step(&mut self, now_ms: u64) {
        if self.now.is_none() {
            self.now = self.locked.try_recv().ok().map(|slot| {
                let scene = self.stage.look();
                (scene.slots[slot.index()].clips.iter().copied().collect(), 0)
            });
        }
        let today = self.ballots.day(day_of(now_ms));
        if self.now.is_none() && self.day.replace(today).is_some_and(|day| day < today) {
            self.now = Some((HashSet::new(), 0));
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
