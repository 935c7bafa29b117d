//! Seasons, slots, clips and bans as readers see them: a snapshot that settlement swaps, in log order.
//!
//! Readers load it without a lock. Counts are not in it but beside it: each clip has its tally, which outlives
//! snapshots. Never: decides whether a vote stands (the judge does, by the log's order); a snapshot only spares the
//! queue what is refused anyway.
//!
//! Here is the swap, and what each event changes; what is in a snapshot, and what readers ask of it, is in `scene`.

mod erasures;
mod scene;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use arc_swap::{ArcSwap, Guard};
pub use erasures::{Erasing, Erasures};
pub use scene::{Ban, ClipState, Scene, SeasonState, SlotState, SlotVoids};

use crate::domain::{
    Clip, ClipNo, Decided, ErasurePart, Event, FrozenBy, Outcome, Seq, SlotNo, SlotStatus, Span, VoidState, VoidStep,
    VoterKey,
};
use crate::fold::Effect;
use crate::tally::Tally;

/// The current snapshot.
#[derive(Debug)]
pub struct Stage {
    now: ArcSwap<Scene>,
    erasures: Erasures,
    voter_key: VoterKey,
    stripes: usize,
}

impl Stage {
    /// An empty one. `stripes`: how wide a contended counter becomes.
    pub fn new(voter_key: VoterKey, stripes: usize) -> Self {
        Self { now: ArcSwap::default(), erasures: Erasures::default(), voter_key, stripes }
    }

    /// The current snapshot, for the length of a short look.
    pub fn look(&self) -> Guard<Arc<Scene>> {
        self.now.load()
    }

    /// The current snapshot, for as long as it is needed.
    pub fn look_whole(&self) -> Arc<Scene> {
        self.now.load_full()
    }

    /// Erasures that have not ended. Whoever needs both looks at these before the snapshot.
    pub fn erasures(&self) -> &Erasures {
        &self.erasures
    }

    /// Changes the snapshot. Settlement calls this alone, in log order; before it recovery does.
    pub fn change(&self, change: impl FnOnce(&mut Scene)) {
        let mut scene = Scene::clone(&self.now.load());
        change(&mut scene);
        self.now.store(Arc::new(scene));
    }

    /// Takes in a settled event. Votes and comments are no change of the stage.
    pub fn settle(&self, seq: Seq, at: u64, event: &Event, effect: &Effect) {
        match event {
            Event::Started => self.end_void(seq),
            Event::VoidBegun(plan) => {
                self.end_void(seq);
                self.change_voids(plan.slot, |voids| voids.list.push(VoidState::begin(seq, at, plan.as_ref().clone())));
            }
            Event::VoidTaken { void, slot } | Event::VoidLifted { void, slot, .. } => {
                self.void(seq, at, *slot, *void, event, effect);
            }
            Event::ErasureBegun { voter, day, clips } => {
                self.erasures.begin(seq, Erasing { voter: *voter, day: *day, clips: *clips, searched: false });
            }
            Event::ErasureWent { erasure, part: ErasurePart::Searched } => self.erasures.searched(*erasure),
            Event::ErasureWent { part: ErasurePart::Clips { clips, owners }, .. } => self.unname_clips(clips, *owners),
            Event::ErasureEnded(erasure) => self.end_erasure(*erasure),
            Event::Voted(_)
            | Event::VotedFrom(..)
            | Event::Retracted(_)
            | Event::VotesNamed(_)
            | Event::CommentPosted(_)
            | Event::CommentChanged(..) => {}
            Event::SeasonCreated(season) => self.change(|scene| scene.add_season(season.clone())),
            Event::SlotCreated(slot) => self.change(|scene| scene.add_slot(seq, *slot)),
            Event::ClipAdded(clip) => {
                let state = self.clip(clip.as_ref().clone());
                self.change(|scene| scene.add_clip(state));
                self.look().slots[clip.slot.index()].touch();
            }
            Event::SlotWaits(slot) => self.move_slot(seq, *slot, SlotStatus::WaitingForClips, |_| {}),
            Event::SlotOpened { slot, ends_at, hidden } => self.move_slot(seq, *slot, SlotStatus::Voting, |state| {
                state.span = Span { started_at: Some(at), ends_at: *ends_at };
                state.hide = *hidden;
            }),
            Event::SlotExtended { slot, ends_at } | Event::SlotReopened { slot, ends_at } => {
                self.move_slot(seq, *slot, SlotStatus::Voting, |state| {
                    (state.span.ends_at, state.frozen_by) = (*ends_at, None);
                });
            }
            Event::SlotFrozen(slot) => self.freeze(seq, *slot, FrozenBy::Operator),
            Event::SlotStopped { slot, by, .. } => self.freeze(seq, *slot, *by),
            Event::SlotLocked { slot, winner } => self.move_slot(seq, *slot, SlotStatus::Locked, |state| {
                let frozen_at = state.last_step;
                let outcome = Outcome { frozen_at, winner: *winner, decided: Decided::Tally, root: None };
                state.outcome = Some(Arc::new(outcome));
            }),
            Event::SlotDecided { slot, outcome } => self.move_slot(seq, *slot, SlotStatus::Locked, |state| {
                state.outcome = Some(Arc::new(Outcome::clone(outcome)));
            }),
            Event::Banned { voter, until, reason } => self.change(|scene| {
                Arc::make_mut(&mut scene.bans).insert(*voter, Ban { until: *until, reason: reason.clone() });
            }),
            Event::Unbanned(voter) => self.change(|scene| {
                Arc::make_mut(&mut scene.bans).remove(voter);
            }),
        }
    }

    /// A clip with no counts yet.
    pub fn clip(&self, clip: Clip) -> Arc<ClipState> {
        let owner = clip.draft.owner.as_deref().map(|sub| self.voter_key.user(sub));
        Arc::new(ClipState {
            clip,
            owner,
            tally: Tally::new(self.stripes),
            comments: AtomicI64::new(0),
            comment_turns: AtomicU64::new(0),
        })
    }

    /// Their maker's name goes from clips. Settlement alone writes what they have, so that it can move.
    fn unname_clips(&self, clips: &[ClipNo], owners: bool) {
        self.change(|scene| {
            for no in clips {
                let old = &scene.clips[no.index()];
                let mut clip = old.clip.clone();
                clip.draft.unname(owners);
                let new = self.clip(clip);
                let (votes, weight) = old.tally.read();
                new.tally.add(votes.cast_signed(), weight.cast_signed(), 0);
                new.comments.store(old.comments.load(Ordering::Relaxed), Ordering::Relaxed);
                new.comment_turns.store(old.comment_turns.load(Ordering::Relaxed), Ordering::Relaxed);
                scene.clips[no.index()] = new;
            }
        });
        let scene = self.look();
        for no in clips {
            scene.slot_of(&scene.clips[no.index()].clip).touch();
        }
    }

    /// What voids keep of an erasure's voter goes, then it: the other way round, a reader would see votes named by someone whom
    /// nothing here says to be erased. Where no void names them the snapshot stays.
    fn end_erasure(&self, erasure: Seq) {
        let Some(Erasing { voter, .. }) = self.erasures.get(erasure) else { return };
        if self.look().slots.iter().any(|slot| slot.voids.name(voter, erasure)) {
            self.change(|scene| scene.unname_voids(voter, erasure));
        }
        self.erasures.end(erasure);
    }

    /// The void that is under way, if one is, ends.
    fn end_void(&self, seq: Seq) {
        let under_way = |slot: &&Arc<SlotState>| slot.voids.list.last().is_some_and(VoidState::is_under_way);
        let slot = self.look().slots.iter().find(under_way).map(|slot| slot.slot.no);
        if let Some(slot) = slot {
            self.change_voids(slot, |voids| voids.list.last_mut().expect("found above").end(seq));
        }
    }

    fn void(&self, seq: Seq, at: u64, slot: SlotNo, void: Seq, event: &Event, effect: &Effect) {
        let changed = match effect {
            Effect::Changed(changed) => Some(changed),
            Effect::Plain | Effect::Noted | Effect::Uncounted => None,
        };
        let clips = changed.into_iter().flat_map(|changed| &changed.clips);
        let changes = clips.map(|(clip, by)| (*clip, by.votes, by.weight)).collect();
        self.change_voids(slot, |voids| {
            let state = voids.list.iter_mut().find(|state| state.id == void).expect("a void that goes on has begun");
            let step = VoidStep { seq, at, changes };
            match event {
                Event::VoidLifted { reason, .. } => state.lift(step, reason),
                _ => state.take(step, changed.map_or(0, |changed| changed.votes)),
            }
            if let Some(changed) = changed {
                (voids.last, voids.masks) = (seq, Arc::clone(&changed.masks));
            }
        });
        if changed.is_some() {
            self.change(|scene| scene.follow_voids(slot));
            self.look().slots[slot.index()].touch();
        }
    }

    fn change_voids(&self, slot: SlotNo, change: impl FnOnce(&mut SlotVoids)) {
        self.change(|scene| change(Arc::make_mut(&mut Arc::make_mut(&mut scene.slots[slot.index()]).voids)));
    }

    fn freeze(&self, seq: Seq, slot: SlotNo, by: FrozenBy) {
        self.move_slot(seq, slot, SlotStatus::Frozen, |state| state.frozen_by = Some(by));
    }

    fn move_slot(&self, seq: Seq, slot: SlotNo, to: SlotStatus, change: impl FnOnce(&mut SlotState)) {
        self.change(|scene| {
            let state = Arc::make_mut(&mut scene.slots[slot.index()]);
            change(state);
            // As the judge has it: an operator's word for a slot that waits already is no step.
            if (state.status, to) != (SlotStatus::WaitingForClips, SlotStatus::WaitingForClips) {
                (state.status, state.last_step) = (to, seq);
            }
        });
        // Behind the swap: who reads the new version must find the new snapshot.
        self.look().slots[slot.index()].touch();
    }
}
