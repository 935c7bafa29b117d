//! Votes taken out of the counts by an operator, and put back; what it would change, and what was done so far.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::oneshot;

use super::{Core, Engine};
use crate::domain::{
    ClipId, ClipNo, Event, SeasonId, Seq, SlotNo, SlotStatus, VOID_REASON_MAX, VoidBy, VoidPlan, VoidState, VoidStep,
    bounded_text,
};
use crate::error::Reject;
use crate::fold::{NAMED_MAX, find};
use crate::jobs::{Found, Search, too_wide};
use crate::stage::{Scene, SlotState};

/// Voids of a slot at most: each is in memory, and in the slot's history.
const VOIDS_A_SLOT: usize = 256;

/// What an operator asks for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct VoidAsked {
    /// The season's id.
    pub season: String,
    /// The slot's position.
    pub position: u32,
    /// By what its votes are found.
    pub by: VoidBy,
    /// Why, for everyone; 1 to [`VOID_REASON_MAX`] bytes.
    pub reason: String,
}

/// Where a void is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum VoidStatus {
    /// Its votes are searched for, and count.
    Searching,
    /// Its votes count for nothing.
    InForce,
    /// Its votes are back.
    Lifted,
    /// It ended without effect.
    Dropped,
}

impl VoidStatus {
    /// As answers spell it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Searching => "searching",
            Self::InForce => "inForce",
            Self::Lifted => "lifted",
            Self::Dropped => "dropped",
        }
    }
}

/// What a clip gains or loses.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct VoidChange {
    /// The clip.
    pub clip: ClipId,
    /// Votes.
    pub votes: i64,
    /// Their weight.
    pub weight: i64,
}

/// A void, without naming voters.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct VoidView {
    /// Its id, and its place in the log.
    pub id: Seq,
    /// The season's id.
    pub season: SeasonId,
    /// The slot's position.
    pub position: u32,
    /// By what its votes were found.
    pub by: VoidBy,
    /// Why.
    pub reason: String,
    /// Where it is.
    pub status: VoidStatus,
    /// When it was asked for, Unix milliseconds.
    pub begun_at: u64,
    /// How many votes it took out, those under another void included; `None` while the slot's counts are hidden.
    pub votes: Option<u64>,
    /// Its effect: place in the log and time.
    pub taken: Option<(Seq, u64)>,
    /// What each clip lost by it; `None` while the slot's counts are hidden.
    pub changes: Option<Vec<VoidChange>>,
    /// Its end: place in the log, time, why.
    pub lifted: Option<(Seq, u64, String)>,
}

/// A clip before and after a void.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct VoidBoard {
    /// The clip.
    pub clip: ClipId,
    /// Its votes and weight now.
    pub now: (u64, u64),
    /// With the void.
    pub then: (u64, u64),
    /// Its place now, from 1.
    pub place: usize,
}

/// What a void would change.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct VoidPreview {
    /// Exact as of this sequence.
    pub as_of: Seq,
    /// Votes that it would name.
    pub votes: u64,
    /// Of those, votes that another void has taken out already.
    pub already: u64,
    /// The slot's clips in the order that they would have; `None` while its counts are hidden.
    pub order: Option<Vec<VoidBoard>>,
}

impl Engine {
    /// Takes the votes of a slot that were cast up to now, and that this finds, out of its counts; returns once it has taken effect
    /// everywhere. It goes on when nobody waits any more. One at a time: another is `WrongState` until then.
    pub async fn void(&self, asked: VoidAsked) -> Result<VoidView, Reject> {
        let core = &*self.core;
        let plan = core.void_plan(&asked)?;
        let heard = {
            let _turn = core.turn().await?;
            let slot = core.slot_state(&asked.season, asked.position)?;
            if slot.voids.list.len() >= VOIDS_A_SLOT {
                // It never gets less: to come again is no use.
                return Err(super::operate::wrong_state(&slot, "has as many voids as a slot may have"));
            }
            let mut job = core.voids.lock();
            if job.is_busy() {
                let why = "another void is under way: ask again when it has taken effect".into();
                return Err(Reject::WrongState { state: "searching", why });
            }
            let (waiter, heard) = oneshot::channel();
            job.begin(plan, waiter);
            heard
        };
        let id = heard.await.map_err(|_| Reject::StorageFailed)??;
        // With early answers it is answered before it is settled.
        core.barrier_urgently().await?;
        self.voids(None)?.into_iter().find(|void| void.id == id).ok_or(Reject::NotFound)
    }

    /// What a void would change. Reads the slot's votes: for a thread that may block. Votes that are not in the tables yet are not
    /// looked at: [`Engine::drain`] comes first.
    pub fn preview_void(&self, asked: &VoidAsked) -> Result<VoidPreview, Reject> {
        let core = &*self.core;
        let plan = core.void_plan(asked)?;
        let as_of = core.progress.applied();
        let search = Search::new(Arc::clone(&core.tables), plan.slot, plan.by, as_of);
        let mut search = core.read(search)?;
        let votes = loop {
            match core.read(search.step())? {
                Found::More => {}
                Found::All(votes) => break votes,
                Found::TooMany => {
                    let why = format!("voids may name {NAMED_MAX} votes in all");
                    return Err(Reject::InvalidParameter { name: "by", why });
                }
            }
        };
        if let Some(why) = too_wide(&votes) {
            return Err(why);
        }
        let scene = core.stage.look_whole();
        let slot = &scene.slots[plan.slot.index()];
        let mut lost: BTreeMap<ClipNo, (u64, u64)> = BTreeMap::new();
        let mut already = 0;
        for vote in &votes {
            if find(&slot.voids.masks, vote.seq).is_some() {
                already += 1;
                continue;
            }
            let sum = lost.entry(vote.clip).or_default();
            *sum = (sum.0 + 1, sum.1 + u64::from(vote.weight));
        }
        let order = (!slot.hides_counts()).then(|| order_without(&scene, slot, &lost));
        Ok(VoidPreview { as_of, votes: votes.len() as u64, already, order })
    }

    /// Lifts a void: its votes that were not taken back, and are under no other, count again. One that is under way ends without
    /// effect.
    pub async fn lift_void(&self, id: Seq, reason: String) -> Result<VoidView, Reject> {
        bounded_text("reason", &reason, VOID_REASON_MAX)?;
        let core = &*self.core;
        let _turn = core.turn().await?;
        let slot = {
            let scene = core.stage.look();
            let (slot, state) = void_by_id(&scene, id).ok_or(Reject::NotFound)?;
            if !state.is_in_force() && !state.is_under_way() {
                let why = "it is not in force".into();
                return Err(Reject::WrongState { state: status_of(state).as_str(), why });
            }
            slot
        };
        core.write(Event::VoidLifted { void: id, slot, reason }).await?;
        let scene = core.stage.look();
        let (slot, state) = void_by_id(&scene, id).ok_or(Reject::NotFound)?;
        Ok(view(&scene, &scene.slots[slot.index()], state))
    }

    /// Every void, or one slot's (season's id and position), the newest first.
    pub fn voids(&self, of: Option<(&str, u32)>) -> Result<Vec<VoidView>, Reject> {
        let scene = self.core.stage.look();
        let slots: Vec<&Arc<SlotState>> = match of {
            None => scene.slots.iter().collect(),
            Some((season, position)) => vec![scene.slot(scene.season(season)?, position)?],
        };
        let each = slots.into_iter().flat_map(|slot| slot.voids.list.iter().map(|state| view(&scene, slot, state)));
        let mut voids: Vec<VoidView> = each.collect();
        voids.sort_unstable_by_key(|void| std::cmp::Reverse(void.id));
        Ok(voids)
    }
}

impl Core {
    fn void_plan(&self, asked: &VoidAsked) -> Result<VoidPlan, Reject> {
        bounded_text("reason", &asked.reason, VOID_REASON_MAX)?;
        let slot = self.slot_state(&asked.season, asked.position)?;
        if slot.status < SlotStatus::Voting {
            return Err(super::operate::wrong_state(&slot, "has no votes"));
        }
        if let VoidBy::Window { from_ms, to_ms } = asked.by
            && from_ms >= to_ms
        {
            let why = "must end later than it begins, Unix ms".into();
            return Err(Reject::InvalidParameter { name: "to", why });
        }
        Ok(VoidPlan { slot: slot.slot.no, by: asked.by, reason: asked.reason.clone() })
    }
}

fn void_by_id(scene: &Scene, id: Seq) -> Option<(SlotNo, &VoidState)> {
    scene.slots.iter().find_map(|slot| {
        let state = slot.voids.list.iter().find(|state| state.id == id)?;
        Some((slot.slot.no, state))
    })
}

fn status_of(state: &VoidState) -> VoidStatus {
    match (state.is_under_way(), state.dropped, &state.lifted) {
        (true, ..) => VoidStatus::Searching,
        (false, Some(_), _) => VoidStatus::Dropped,
        (false, None, Some(_)) => VoidStatus::Lifted,
        (false, None, None) => VoidStatus::InForce,
    }
}

fn view(scene: &Scene, slot: &SlotState, state: &VoidState) -> VoidView {
    let shown = !slot.hides_counts();
    let change = |(clip, votes, weight): &(ClipNo, i64, i64)| VoidChange {
        clip: scene.clips[clip.index()].clip.id.clone(),
        votes: *votes,
        weight: *weight,
    };
    let at = |step: &VoidStep| (step.seq, step.at);
    let taken = state.taken.as_ref();
    VoidView {
        id: state.id,
        season: scene.seasons[slot.slot.season.index()].season.id.clone(),
        position: slot.slot.position,
        by: state.plan.by,
        reason: state.plan.reason.clone(),
        status: status_of(state),
        begun_at: state.begun_at,
        votes: taken.filter(|_| shown).map(|_| state.votes),
        taken: taken.map(at),
        changes: taken.filter(|_| shown).map(|step| step.changes.iter().map(change).collect()),
        lifted: state.lifted.as_ref().map(|(step, why)| (step.seq, step.at, why.clone())),
    }
}

/// The slot's clips with and without the votes, best first without them.
fn order_without(scene: &Scene, slot: &SlotState, lost: &BTreeMap<ClipNo, (u64, u64)>) -> Vec<VoidBoard> {
    // Highest weight, then most votes, then added first, as a winner is found.
    let by = |(votes, weight): (u64, u64), no: ClipNo| (std::cmp::Reverse((weight, votes)), no);
    let mut clips: Vec<(ClipNo, (u64, u64))> =
        slot.clips.iter().map(|no| (*no, scene.clips[no.index()].tally.read())).collect();
    clips.sort_unstable_by_key(|(no, now)| by(*now, *no));
    let mut rows: Vec<(ClipNo, VoidBoard)> = (1..)
        .zip(clips)
        .map(|(place, (no, now))| {
            let (votes, weight) = lost.get(&no).copied().unwrap_or_default();
            let then = (now.0.saturating_sub(votes), now.1.saturating_sub(weight));
            (no, VoidBoard { clip: scene.clips[no.index()].clip.id.clone(), now, then, place })
        })
        .collect();
    rows.sort_unstable_by_key(|(no, row)| by(row.then, *no));
    rows.into_iter().map(|(_, row)| row).collect()
}
