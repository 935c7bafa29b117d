//! Everything at one moment of the log: seasons, slots, clips and bans, and what readers ask of them.
//!
//! A change of it makes another one of it. Clips' counts, and slots' versions, are shared by all of them. Never: decides
//! whether a vote stands; what it admits to the queue the judge may still refuse.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use crate::domain::{
    Clip, ClipId, ClipNo, Decided, FrozenBy, Outcome, Season, SeasonId, SeasonNo, Seq, Slot, SlotNo, SlotStatus, Span,
    VoidState, VoterId,
};
use crate::error::Reject;
use crate::fold::{Mask, unnamed};
use crate::tally::Tally;

/// Everything at one moment of the log.
#[derive(Clone, Debug, Default)]
pub struct Scene {
    /// By number.
    pub seasons: Vec<Arc<SeasonState>>,
    /// By number.
    pub slots: Vec<Arc<SlotState>>,
    /// By number.
    pub clips: Vec<Arc<ClipState>>,
    season_ids: HashMap<SeasonId, SeasonNo>,
    clip_ids: HashMap<ClipId, ClipNo>,
    /// Voters who may not vote.
    pub bans: Arc<HashMap<VoterId, Ban>>,
}

/// A season and its slots.
#[derive(Clone, Debug)]
pub struct SeasonState {
    /// The season.
    pub season: Season,
    /// Its slots, by position.
    pub slots: Vec<SlotNo>,
}

/// A slot, where it is in its life, and its clips.
#[derive(Clone, Debug)]
pub struct SlotState {
    /// The slot.
    pub slot: Slot,
    /// Where it is.
    pub status: SlotStatus,
    /// When it takes votes.
    pub span: Span,
    /// Whether its counts are hidden until it locks.
    pub hide: bool,
    /// The sequence of its last step: of its freeze, while it is frozen.
    pub last_step: Seq,
    /// Who froze it last.
    pub frozen_by: Option<FrozenBy>,
    /// Its result, once locked.
    pub outcome: Option<Arc<Outcome>>,
    /// Votes taken out of its counts.
    pub voids: Arc<SlotVoids>,
    /// Its clips, in the order of their addition.
    pub clips: Vec<ClipNo>,
    /// Grows with every change that a reader of the slot can see. Settlement writes it, after the tallies.
    pub version: Arc<AtomicU64>,
}

/// A slot's voids.
#[derive(Clone, Debug, Default)]
pub struct SlotVoids {
    /// The last one, or lifting of one, that took effect; 0 for none.
    pub last: Seq,
    /// All of them, in the order of their begins.
    pub list: Vec<VoidState>,
    /// Votes that are under one, and those that were taken back under one: by their sequences, as of `last`.
    pub masks: Arc<[Mask]>,
}

impl SlotVoids {
    /// Whether they keep anything of a voter that an erasure takes.
    pub(super) fn name(&self, voter: VoterId, erasure: Seq) -> bool {
        self.list.iter().any(|state| state.is_of(voter, erasure))
            || self.masks.iter().any(|mask| mask.vote.voter == voter && mask.vote.seq < erasure)
    }
}

impl SlotState {
    /// Whether nobody may see its counts of votes now.
    pub fn hides_counts(&self) -> bool {
        self.hide && self.status != SlotStatus::Locked
    }

    /// Its best clip, once locked. Where votes decided, a void that takes effect behind the lock may make it another one.
    pub fn winner(&self) -> Option<ClipNo> {
        self.outcome.as_ref().and_then(|outcome| outcome.winner)
    }

    /// The sequence of the freeze that its result is or will be of, once frozen: ballots up to it count.
    pub fn frozen_at(&self) -> Option<Seq> {
        match self.status {
            SlotStatus::Frozen => Some(self.last_step),
            _ => self.outcome.as_ref().map(|outcome| outcome.frozen_at),
        }
    }

    /// Something that a reader can see has changed.
    pub fn touch(&self) {
        self.version.fetch_add(1, Ordering::Release);
    }
}

/// A clip and its counts.
#[derive(Debug)]
pub struct ClipState {
    /// The clip.
    pub clip: Clip,
    /// The voter whose votes for it are refused.
    pub owner: Option<VoterId>,
    /// Its counts. Settlement writes them.
    pub tally: Tally,
    /// Its comments that everyone can see, replies included. Settlement writes it.
    pub comments: AtomicI64,
    /// Times that one of its comments came into sight or went out of it after it was posted. Settlement writes it, and
    /// whoever recounts comments looks at it.
    pub comment_turns: AtomicU64,
}

/// A ban in force.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Ban {
    /// Until when, Unix milliseconds; `None`: until lifted.
    pub until: Option<u64>,
    /// Why.
    pub reason: String,
}

impl ClipState {
    /// How many comments everyone can see.
    pub fn comment_count(&self) -> u64 {
        u64::try_from(self.comments.load(Ordering::Relaxed)).unwrap_or(0)
    }

    /// That, and [`ClipState::comment_turns`].
    pub fn comment_reading(&self) -> (u64, u64) {
        (self.comment_count(), self.comment_turns.load(Ordering::Relaxed))
    }
}

impl Scene {
    /// Adds a season, whose number must be the next.
    pub fn add_season(&mut self, season: Season) {
        assert_eq!(season.no.index(), self.seasons.len(), "seasons come in the order of their numbers");
        self.season_ids.insert(season.id.clone(), season.no);
        self.seasons.push(Arc::new(SeasonState { season, slots: Vec::new() }));
    }

    /// What voids keep of a voter, whose erasure ends, goes.
    pub(super) fn unname_voids(&mut self, voter: VoterId, erasure: Seq) {
        for slot in self.slots.iter_mut().filter(|slot| slot.voids.name(voter, erasure)) {
            let voids = Arc::make_mut(&mut Arc::make_mut(slot).voids);
            for state in &mut voids.list {
                state.unname(voter, erasure);
            }
            if let Some(masks) = unnamed(&voids.masks, voter, erasure) {
                voids.masks = masks;
            }
        }
    }

    /// Adds a slot that was created at `seq` and whose number must be the next.
    pub fn add_slot(&mut self, seq: Seq, slot: Slot) {
        assert_eq!(slot.no.index(), self.slots.len(), "slots come in the order of their numbers");
        self.slots.push(Arc::new(SlotState {
            slot,
            status: SlotStatus::Upcoming,
            span: Span::default(),
            hide: false,
            last_step: seq,
            frozen_by: None,
            outcome: None,
            voids: Arc::default(),
            clips: Vec::new(),
            version: Arc::default(),
        }));
        let slots = &self.slots;
        let season = Arc::make_mut(&mut self.seasons[slot.season.index()]);
        let place = season.slots.partition_point(|other| slots[other.index()].slot.position < slot.position);
        season.slots.insert(place, slot.no);
    }

    /// Adds a clip, whose number must be the next.
    pub fn add_clip(&mut self, state: Arc<ClipState>) {
        let Clip { no, slot, ref id, .. } = state.clip;
        assert_eq!(no.index(), self.clips.len(), "clips come in the order of their numbers");
        self.clip_ids.insert(id.clone(), no);
        let of = Arc::make_mut(&mut self.slots[slot.index()]);
        of.clips.push(no);
        self.clips.push(state);
    }

    /// A clip by its id.
    pub fn clip(&self, id: &str) -> Result<&Arc<ClipState>, Reject> {
        self.clip_ids.get(id).map(|no| &self.clips[no.index()]).ok_or(Reject::ClipNotFound)
    }

    /// A season by its id.
    pub fn season(&self, id: &str) -> Result<&Arc<SeasonState>, Reject> {
        self.season_ids.get(id).map(|no| &self.seasons[no.index()]).ok_or(Reject::NotFound)
    }

    /// A slot by its season and position.
    pub fn slot(&self, season: &SeasonState, position: u32) -> Result<&Arc<SlotState>, Reject> {
        let slots = season.slots.iter().map(|no| &self.slots[no.index()]);
        slots.into_iter().find(|state| state.slot.position == position).ok_or(Reject::SlotNotFound)
    }

    /// The open slot of a season.
    pub fn open_slot(&self, season: &SeasonState) -> Option<&Arc<SlotState>> {
        season.slots.iter().map(|no| &self.slots[no.index()]).find(|state| state.status == SlotStatus::Voting)
    }

    /// A slot's best clip by the counts as they are: highest weight, then most votes, then the clip that was added first.
    pub fn best_clip(&self, slot: &SlotState) -> Option<ClipNo> {
        slot.clips.iter().copied().max_by_key(|no| {
            let (votes, weight) = self.clips[no.index()].tally.read();
            (weight, votes, std::cmp::Reverse(*no))
        })
    }

    /// A locked slot whose winner votes decided has the winner that they make it now. The tallies have what the last void did.
    pub fn follow_voids(&mut self, slot: SlotNo) {
        let state = &self.slots[slot.index()];
        let by_votes = |outcome: &&Arc<Outcome>| !matches!(outcome.decided, Decided::ByHand { .. });
        let Some(outcome) = state.outcome.as_ref().filter(by_votes) else { return };
        if state.voids.last > state.last_step {
            let winner = self.best_clip(state);
            let outcome = Outcome { winner, ..Outcome::clone(outcome) };
            Arc::make_mut(&mut self.slots[slot.index()]).outcome = Some(Arc::new(outcome));
        }
    }

    /// Whether every slot of a season is locked, and it has some.
    pub fn is_finished(&self, season: &SeasonState) -> bool {
        let mut slots = season.slots.iter().map(|no| &self.slots[no.index()]);
        !season.slots.is_empty() && slots.all(|state| state.status == SlotStatus::Locked)
    }

    /// The newest season that is voted in, else the newest that isn't finished, else the newest.
    pub fn newest_active(&self) -> Option<&Arc<SeasonState>> {
        let mut newest = self.seasons.iter().rev();
        let voted_in = newest.clone().find(|season| self.open_slot(season).is_some());
        voted_in.or_else(|| newest.find(|season| !self.is_finished(season))).or(self.seasons.last())
    }

    /// A clip's slot.
    pub fn slot_of(&self, clip: &Clip) -> &Arc<SlotState> {
        &self.slots[clip.slot.index()]
    }

    /// Whether a vote for the clip can be let into the queue; the reason if not.
    pub fn admits(&self, clip: &Clip) -> Result<(), Reject> {
        let slot = self.slot_of(clip);
        match slot.status {
            SlotStatus::Voting => Ok(()),
            SlotStatus::Frozen | SlotStatus::Locked => Err(Reject::VotingClosed),
            SlotStatus::Upcoming | SlotStatus::WaitingForClips => {
                let season = &self.seasons[slot.slot.season.index()];
                Err(if self.open_slot(season).is_some() { Reject::WrongSlot } else { Reject::NoActiveSlot })
            }
        }
    }

    /// Whether the voter may vote at this time.
    pub fn allows(&self, voter: VoterId, now_ms: u64) -> Result<(), Reject> {
        match self.bans.get(&voter) {
            Some(ban) if ban.until.is_none_or(|until| now_ms < until) => Err(Reject::Banned { until: ban.until }),
            _ => Ok(()),
        }
    }
}
