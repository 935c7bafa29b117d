//! Rounds by themselves: a slot whose time is over freezes, then locks with its winner, then the season's next slot opens.
//!
//! Nothing is remembered between steps but what is under way: what comes next follows from the stage alone, so a restart goes
//! on where the log ends. Every step is one event through the queue and names the slot's step that it rests on; the judge
//! refuses it where another came first. So a clock that jumps either way, a step that is taken twice or a crash between two
//! events moves no slot twice.
//!
//! Never: writes, waits for an answer, or decides whether a vote counts.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use tokio::sync::oneshot;

use crate::domain::{Decided, Event, FrozenBy, Outcome, Root, Seq, SlotNo, SlotStatus};
use crate::log::{self, Body, Entry, Queue};
use crate::stage::{Scene, SeasonState, SlotState, Stage};

/// How rounds go on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RoundSettings {
    /// Slots freeze, lock and open by themselves; without it on an operator's word alone.
    pub automatic: bool,
    /// How long a slot that is opened without an end takes votes, milliseconds; `None`: until an operator says so.
    pub slot_ms: Option<u64>,
    /// Clips that a slot needs to open by itself.
    pub min_clips: usize,
}

impl Default for RoundSettings {
    fn default() -> Self {
        Self { automatic: true, slot_ms: None, min_clips: 2 }
    }
}

/// What a frozen slot's lock waits for, and the root that it then names. Asked at every step, so it must be quick.
pub trait Seal: Send + Sync + fmt::Debug {
    /// Of a slot as it is frozen now; a later freeze is another question.
    fn of(&self, slot: &SlotState) -> Sealed;
}

/// Whether a frozen slot can be locked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sealed {
    /// Something is still being built.
    NotYet,
    /// It can, naming this.
    With(Option<Root>),
}

/// Nothing is waited for: the stage shows a freeze once it is settled, and settlement is in log order, so that the tallies are
/// those of its ballots and no other.
#[derive(Debug)]
pub struct Unsealed;

impl Seal for Unsealed {
    fn of(&self, _: &SlotState) -> Sealed {
        Sealed::With(None)
    }
}

/// The job.
#[derive(Debug)]
pub struct Rounds {
    stage: Arc<Stage>,
    queue: Queue,
    seal: Arc<dyn Seal>,
    settings: RoundSettings,
    /// Events under way: at most one a slot.
    asked: HashMap<SlotNo, Asked>,
}

#[derive(Debug)]
struct Asked {
    answer: oneshot::Receiver<log::Outcome>,
    /// The slot's last step when it was asked.
    rests_on: Seq,
}

impl Rounds {
    /// Moves the stage's slots.
    pub fn new(stage: Arc<Stage>, queue: Queue, seal: Arc<dyn Seal>, settings: RoundSettings) -> Self {
        Self { stage, queue, seal, settings, asked: HashMap::new() }
    }

    /// Asks for what is due at this time, at most one event a season; says how many events that were.
    pub fn step(&mut self, now_ms: u64) -> usize {
        let scene = Arc::clone(&self.stage.look());
        self.asked.retain(|slot, asked| asked.is_under_way(&scene.slots[slot.index()]));
        let mut asked = 0;
        for season in &scene.seasons {
            let Some((slot, event)) = self.due(&scene, season, now_ms) else { continue };
            if self.asked.contains_key(&slot) {
                continue;
            }
            let (waiter, answer) = oneshot::channel();
            // A queue that is full now will not be at a later step.
            if self.queue.urge(Entry::new(now_ms, Body::Event(event), Some(waiter))).is_ok() {
                let rests_on = scene.slots[slot.index()].last_step;
                self.asked.insert(slot, Asked { answer, rests_on });
                asked += 1;
            }
        }
        asked
    }

    /// What comes next in a season, if it is due. An end comes before a lock, and a lock before an opening.
    fn due(&self, scene: &Scene, season: &SeasonState, now_ms: u64) -> Option<(SlotNo, Event)> {
        let slots = || season.slots.iter().map(|no| &scene.slots[no.index()]);
        if let Some(over) = slots().find(|slot| is_over(slot, now_ms)) {
            let (slot, after) = (over.slot.no, Some(over.last_step));
            return Some((slot, Event::SlotStopped { slot, by: FrozenBy::Timer, after }));
        }
        let mut frozen = slots().filter(|slot| slot.status == SlotStatus::Frozen);
        let goes_on = frozen.clone().filter(|slot| slot.frozen_by.is_some_and(FrozenBy::goes_on));
        if let Some(locked) = goes_on.into_iter().find_map(|slot| self.lock(scene, slot)) {
            return Some(locked);
        }
        let holds = frozen.next().is_some() || scene.open_slot(season).is_some();
        if holds { None } else { self.open_next(scene, season, now_ms) }
    }

    fn lock(&self, scene: &Scene, slot: &SlotState) -> Option<(SlotNo, Event)> {
        let Sealed::With(root) = self.seal.of(slot) else { return None };
        let outcome = Box::new(tallied(scene, slot, root));
        Some((slot.slot.no, Event::SlotDecided { slot: slot.slot.no, outcome }))
    }

    /// A slot that waits goes first; else the one behind the slot that was locked last. It is hidden if that one was.
    fn open_next(&self, scene: &Scene, season: &SeasonState, now_ms: u64) -> Option<(SlotNo, Event)> {
        let slots = || season.slots.iter().map(|no| &scene.slots[no.index()]);
        let locked = slots().filter(|slot| slot.status == SlotStatus::Locked).max_by_key(|slot| slot.last_step);
        let waiting = slots().find(|slot| slot.status == SlotStatus::WaitingForClips);
        let behind = |slot: &&Arc<SlotState>| {
            let follows = locked.is_some_and(|locked| slot.slot.position > locked.slot.position);
            follows && slot.status == SlotStatus::Upcoming
        };
        let next = waiting.or_else(|| slots().find(behind))?;
        let slot = next.slot.no;
        if next.clips.len() >= self.settings.min_clips.max(1) {
            let ends_at = self.settings.slot_ms.map(|ms| now_ms.saturating_add(ms));
            let hidden = locked.is_some_and(|locked| locked.hide);
            return Some((slot, Event::SlotOpened { slot, ends_at, hidden }));
        }
        (next.status == SlotStatus::Upcoming).then_some((slot, Event::SlotWaits(slot)))
    }
}

impl Asked {
    /// Until it is refused, or until the stage shows it: with early answers it may be settled after its answer.
    fn is_under_way(&mut self, slot: &SlotState) -> bool {
        if slot.last_step != self.rests_on {
            return false;
        }
        // What stood was answered and then hung up.
        !matches!(self.answer.try_recv(), Ok(log::Outcome::Refused(_) | log::Outcome::Failed))
    }
}

fn is_over(slot: &SlotState, now_ms: u64) -> bool {
    slot.status == SlotStatus::Voting && slot.span.ends_at.is_some_and(|end| end <= now_ms)
}

/// The result of a frozen slot by its votes.
pub fn tallied(scene: &Scene, slot: &SlotState, root: Option<Root>) -> Outcome {
    debug_assert_eq!(slot.status, SlotStatus::Frozen);
    let (frozen_at, last_void) = (slot.last_step, slot.voids.last);
    let decided = if last_void > frozen_at { Decided::TallyAfter(last_void) } else { Decided::Tally };
    Outcome { frozen_at, winner: scene.best_clip(slot), decided, root }
}
