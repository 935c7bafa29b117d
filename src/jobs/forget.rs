//! Ballots of locked slots leave memory, and so do voters of whom nothing is left to remember when a day has passed; some
//! a step, and of one shard a few at once, so that votes go on in between.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::mpsc::Receiver;

use crate::ballots::{Ballots, SHARDS};
use crate::domain::{ClipNo, Day, SlotNo, day_of};
use crate::stage::Stage;

/// Voters that are gone through under one shard's lock, which votes of that shard wait for: 78 µs in the median with ten million of
/// them, far apart in memory (`cargo bench --bench ballots`). Then it is another shard's turn: whoever waits for the lock gets it.
const AT_ONCE: usize = 256;
/// Shards a step, each with so many.
const SHARDS_A_STEP: usize = 64;

/// The job.
#[derive(Debug)]
pub struct Forget {
    stage: Arc<Stage>,
    ballots: Arc<Ballots>,
    locked: Receiver<SlotNo>,
    now: Option<Pass>,
    /// The day that voters were last gone through for.
    day: Option<Day>,
}

/// Once through all voters.
#[derive(Debug)]
struct Pass {
    /// Whose ballots go.
    clips: HashSet<ClipNo>,
    /// The next shard, and its places from here on.
    shard: usize,
    from: usize,
    /// Whether a shard has places behind those of this round.
    more: bool,
}

impl Pass {
    fn of(clips: HashSet<ClipNo>) -> Self {
        Self { clips, shard: 0, from: 0, more: false }
    }

    /// A few of some shards; whether there are more.
    fn step(&mut self, ballots: &Ballots, clock: Day) -> bool {
        let end = (self.shard + SHARDS_A_STEP).min(SHARDS);
        for shard in self.shard..end {
            let places = self.from..self.from + AT_ONCE;
            self.more |= ballots.forget(shard, places, clock, |clip| self.clips.contains(&clip));
        }
        self.shard = end;
        if end < SHARDS {
            return true;
        }
        (self.shard, self.from) = (0, self.from + AT_ONCE);
        std::mem::take(&mut self.more)
    }
}

impl Forget {
    /// Takes locked slots from `locked`.
    pub fn new(stage: Arc<Stage>, ballots: Arc<Ballots>, locked: Receiver<SlotNo>) -> Self {
        Self { stage, ballots, locked, now: None, day: None }
    }

    /// Some voters for the slot at hand, or for the next one.
    pub fn step(&mut self, now_ms: u64) {
        if self.now.is_none() {
            self.now = self.locked.try_recv().ok().map(|slot| {
                let scene = self.stage.look();
                Pass::of(scene.slots[slot.index()].clips.iter().copied().collect())
            });
        }
        let today = self.ballots.day(day_of(now_ms));
        if self.now.is_none() && self.day.replace(today).is_some_and(|day| day < today) {
            self.now = Some(Pass::of(HashSet::new()));
        }
        if let Some(pass) = &mut self.now
            && !pass.step(&self.ballots, day_of(now_ms))
        {
            self.now = None;
        }
    }
}
