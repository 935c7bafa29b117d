//! A slot's past, for everyone: the steps of its life as its record keeps them, and its voids. Names no voter.
//!
//! The record keeps of a step what it was and when. Not kept: which end an extension or a reopening set, who froze it before it was
//! reopened, and of a long life all but its newest steps.

use super::Engine;
use super::api::SlotView;
use super::voids::VoidView;
use crate::domain::{ClipId, ClipNo, Decided, FrozenBy, Seq, SlotStatus};
use crate::error::Reject;
use crate::fold::lookup;
use crate::fold::records::SlotRecord;

/// What a step of a slot's life was.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StepKind {
    /// It was made.
    Created,
    /// It was to open, and waits for clips.
    Waits,
    /// It takes votes.
    Opened,
    /// It closes at another time.
    Extended,
    /// It takes no more votes.
    Frozen,
    /// It takes votes again.
    Reopened,
    /// Its result stands.
    Locked,
}

impl StepKind {
    /// As answers spell it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Waits => "waits",
            Self::Opened => "opened",
            Self::Extended => "extended",
            Self::Frozen => "frozen",
            Self::Reopened => "reopened",
            Self::Locked => "locked",
        }
    }

    /// What it is to go into a state; `None` where that depends on what came before, and nobody knows it any more.
    fn of(before: Option<SlotStatus>, to: SlotStatus) -> Option<Self> {
        match to {
            SlotStatus::Upcoming => Some(Self::Created),
            SlotStatus::WaitingForClips => Some(Self::Waits),
            SlotStatus::Frozen => Some(Self::Frozen),
            SlotStatus::Locked => Some(Self::Locked),
            SlotStatus::Voting => match before? {
                SlotStatus::Voting => Some(Self::Extended),
                SlotStatus::Frozen => Some(Self::Reopened),
                SlotStatus::Upcoming | SlotStatus::WaitingForClips | SlotStatus::Locked => Some(Self::Opened),
            },
        }
    }
}

/// A step of a slot's life.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SlotStep {
    /// What it was.
    pub kind: StepKind,
    /// Its place in the log.
    pub seq: Seq,
    /// When, Unix milliseconds.
    pub at: u64,
    /// Of the last freeze, unless the slot was reopened since: who froze it.
    pub frozen_by: Option<FrozenBy>,
    /// Of the lock: the clip that won then, whatever voids came afterwards.
    pub winner: Option<ClipId>,
    /// Of the lock: who decided that.
    pub decided: Option<Decided>,
}

/// A slot's past.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SlotHistory {
    /// The slot as it is now.
    pub slot: SlotView,
    /// Its steps, the oldest first.
    pub steps: Vec<SlotStep>,
    /// Whether these are all.
    pub whole: bool,
    /// Its voids, the newest first.
    pub voids: Vec<VoidView>,
}

impl Engine {
    /// A slot's past. Waits until the tables contain its last step, and reads its record: for a thread that may block.
    pub fn slot_history(&self, season: &str, position: u32) -> Result<SlotHistory, Reject> {
        let core = &*self.core;
        let state = core.slot_state(season, position)?;
        core.until_applied_here(state.last_step)?;
        let record = core.read(lookup::slot(core.tables.as_ref(), state.slot.no))?;
        let scene = core.stage.look_whole();
        let name = |no: ClipNo| scene.clips[no.index()].clip.id.clone();
        let (steps, whole) = record.map_or_else(|| (Vec::new(), false), |record| steps(&record, name));
        let voids = self.voids(Some((season, position)))?;
        Ok(SlotHistory { slot: self.slot(season, position)?, steps, whole, voids })
    }
}

/// The steps that a record keeps, and whether these are all.
fn steps(record: &SlotRecord, name: impl Fn(ClipNo) -> ClipId) -> (Vec<SlotStep>, bool) {
    let whole = record.moves.first().is_some_and(|first| first.to == SlotStatus::Upcoming);
    let last_freeze = record.freeze();
    let mut before = None;
    let steps = record.moves.iter().filter_map(|step| {
        let kind = StepKind::of(before.replace(step.to), step.to)?;
        let outcome = record.outcome.as_ref().filter(|_| kind == StepKind::Locked);
        Some(SlotStep {
            kind,
            seq: step.seq,
            at: step.at,
            frozen_by: record.frozen_by.filter(|_| Some(step.seq) == last_freeze),
            winner: outcome.and_then(|outcome| outcome.winner).map(&name),
            decided: outcome.map(|outcome| outcome.decided.clone()),
        })
    });
    (steps.collect(), whole)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Outcome, SeasonNo, Slot, SlotNo, Span};
    use crate::fold::Move;

    fn record(states: &[SlotStatus]) -> SlotRecord {
        let moves = (1..).zip(states).map(|(seq, to)| Move { seq, at: 10 * seq, to: *to }).collect();
        let outcome = Outcome { frozen_at: 0, winner: Some(ClipNo(4)), decided: Decided::Tally, root: None };
        SlotRecord {
            last: 0,
            slot: Slot { no: SlotNo(0), season: SeasonNo(0), position: 1 },
            moves,
            span: Span::default(),
            hidden: false,
            frozen_by: Some(FrozenBy::Timer),
            outcome: states.ends_with(&[SlotStatus::Locked]).then_some(outcome),
        }
    }

    fn name(no: ClipNo) -> ClipId {
        ClipId::new(&format!("c{}", no.0)).unwrap()
    }

    fn kinds(steps: &[SlotStep]) -> Vec<&'static str> {
        steps.iter().map(|step| step.kind.as_str()).collect()
    }

    #[test]
    fn each_step_is_named_by_what_it_follows() {
        use SlotStatus::{Frozen, Locked, Upcoming, Voting, WaitingForClips};
        let life = [Upcoming, WaitingForClips, Voting, Voting, Frozen, Voting, Frozen, Locked];
        let (steps, whole) = steps(&record(&life), name);
        let names = ["created", "waits", "opened", "extended", "frozen", "reopened", "frozen", "locked"];
        assert_eq!((kinds(&steps).as_slice(), whole), (&names[..], true));
        assert_eq!((steps[4].frozen_by, steps[6].frozen_by), (None, Some(FrozenBy::Timer)), "of the last one alone");
        assert_eq!((&steps[6].winner, &steps[7].winner), (&None, &Some(name(ClipNo(4)))));
        assert_eq!((steps[7].seq, steps[7].at), (8, 80));
    }

    #[test]
    fn what_follows_something_that_is_not_kept_is_not_guessed() {
        use SlotStatus::{Frozen, Voting};
        let (steps, whole) = steps(&record(&[Voting, Frozen, Voting, Voting]), name);
        assert_eq!((kinds(&steps).as_slice(), whole), (&["frozen", "reopened", "extended"][..], false));
        assert_eq!(steps[0].frozen_by, None, "it was reopened since");
    }
}
