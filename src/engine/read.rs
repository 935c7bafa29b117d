//! What can be asked: counts, slots, seasons, and what a voter did. From memory alone.

use std::sync::atomic::Ordering;

use super::api::{Allowance, BanView, ClipView, Counts, QueueView, SeasonView, SlotClips, SlotView};
use super::{Core, Engine};
use crate::clock::DAY_MS;
use crate::domain::{ClipId, SeasonId, SlotNo, SlotStatus, VoterId, day_of};
use crate::error::Reject;
use crate::stage::{ClipState, Scene, SeasonState, SlotState};

/// A clip's counts, `None` while its slot hides them. Every reader's counts come from here.
pub(super) fn counts(scene: &Scene, state: &ClipState) -> Option<Counts> {
    if scene.slot_of(&state.clip).hides_counts() {
        return None;
    }
    let (votes, weight) = state.tally.read();
    Some(Counts { votes, weight })
}

impl Engine {
    /// Finds a slot and its version, which changes with everything that [`Engine::slot_clips`] would show differently.
    /// Without a position the open slot, without a season the newest active one; `SlotNotFound` if there is none.
    pub fn slot_version(&self, season: Option<&str>, position: Option<u32>) -> Result<(SlotNo, u64), Reject> {
        let scene = self.core.stage.look();
        let season = match season {
            Some(id) => scene.season(id)?,
            None => scene.newest_active().ok_or(Reject::SlotNotFound)?,
        };
        let slot = match position {
            Some(position) => scene.slot(season, position)?,
            None => scene.open_slot(season).ok_or(Reject::SlotNotFound)?,
        };
        Ok((slot.slot.no, slot.version.load(Ordering::Acquire)))
    }

    /// A slot's clips, by what [`Engine::slot_version`] found.
    pub fn slot_clips(&self, slot: SlotNo) -> SlotClips {
        // Before the snapshot and the counts: they may be newer than their version says, and are then rendered once more,
        // never less.
        let version = self.core.stage.look().slots[slot.index()].version.load(Ordering::Acquire);
        let scene = self.core.stage.look();
        let slot = &scene.slots[slot.index()];
        let clips = slot.clips.iter().map(|no| clip_view(&scene, &scene.clips[no.index()])).collect();
        SlotClips { version, slot: slot_view(&scene, slot), clips }
    }

    /// One clip's counts; `None` while they are hidden.
    pub fn counts(&self, clip: &str) -> Result<Option<Counts>, Reject> {
        let scene = self.core.stage.look();
        scene.clip(clip).map(|state| counts(&scene, state))
    }

    /// Those of the clips that a vote of the voter stands for. Ballots of locked slots leave memory: for their clips it soon says
    /// nothing.
    pub fn voted(&self, voter: VoterId, clips: &[&str]) -> Vec<ClipId> {
        let scene = self.core.stage.look();
        let known = clips.iter().filter_map(|id| scene.clip(id).ok());
        known
            .filter(|state| self.core.ballots.stands(voter, state.clip.no))
            .map(|state| state.clip.id.clone())
            .collect()
    }

    /// Whether the voter voted today, or in a slot that isn't locked.
    pub fn has_voted(&self, voter: VoterId) -> bool {
        self.core.ballots.knows(voter)
    }

    /// What the voter may still do today.
    pub fn allowance(&self, voter: VoterId) -> Allowance {
        self.core.allowance(voter, self.core.clock.now_ms())
    }

    /// The pipeline.
    pub fn queue(&self) -> QueueView {
        QueueView {
            pending: self.core.queue.len() as u64,
            processing: self.core.progress.unapplied(),
            dead_letter: self.core.metrics.dead_letter.get(),
            last_processed_at: self.core.progress.applied_at(),
        }
    }

    /// Every season, oldest first.
    pub fn seasons(&self) -> Vec<SeasonView> {
        let scene = self.core.stage.look();
        scene.seasons.iter().map(|season| season_view(&scene, season)).collect()
    }

    /// One season.
    pub fn season(&self, id: &str) -> Result<SeasonView, Reject> {
        let scene = self.core.stage.look();
        scene.season(id).map(|season| season_view(&scene, season))
    }

    /// The newest active season's id; `SlotNotFound` where there is no season.
    pub fn newest_season(&self) -> Result<SeasonId, Reject> {
        let scene = self.core.stage.look();
        scene.newest_active().map(|season| season.season.id.clone()).ok_or(Reject::SlotNotFound)
    }

    /// One slot.
    pub fn slot(&self, season: &str, position: u32) -> Result<SlotView, Reject> {
        let scene = self.core.stage.look();
        let slot = scene.slot(scene.season(season)?, position)?;
        Ok(slot_view(&scene, slot))
    }

    /// Every ban in force, by public name.
    pub fn bans(&self) -> Vec<BanView> {
        let now = self.core.clock.now_ms();
        let scene = self.core.stage.look();
        let in_force = scene.bans.iter().filter(|(_, ban)| ban.until.is_none_or(|until| now < until));
        let mut bans: Vec<BanView> = in_force
            .map(|(voter, ban)| BanView {
                user_id: self.core.settings.voter_key.public(*voter),
                until: ban.until,
                reason: ban.reason.clone(),
            })
            .collect();
        bans.sort_by(|a, b| a.user_id.cmp(&b.user_id));
        bans
    }

    /// Whether no season was ever created.
    pub fn is_empty(&self) -> bool {
        self.core.stage.look().seasons.is_empty()
    }
}

impl Core {
    pub(super) fn allowance(&self, voter: VoterId, now_ms: u64) -> Allowance {
        let used = self.ballots.used(voter, day_of(now_ms)).weight;
        let remaining = self.ballots.daily_limit().saturating_sub(used);
        Allowance { used, remaining, reset_at: self.reset_at(now_ms) }
    }

    /// The midnight that ends the day votes are charged to.
    pub(super) fn reset_at(&self, now_ms: u64) -> u64 {
        (u64::from(self.ballots.day(day_of(now_ms))) + 1) * DAY_MS
    }
}

pub(super) fn season_view(scene: &Scene, season: &SeasonState) -> SeasonView {
    SeasonView {
        id: season.season.id.clone(),
        name: season.season.name.clone(),
        finished: scene.is_finished(season),
        slots: season.slots.iter().map(|no| slot_view(scene, &scene.slots[no.index()])).collect(),
    }
}

pub(super) fn slot_view(scene: &Scene, state: &SlotState) -> SlotView {
    SlotView {
        season: scene.seasons[state.slot.season.index()].season.id.clone(),
        position: state.slot.position,
        status: state.status,
        started_at: state.span.started_at,
        ends_at: state.span.ends_at,
        hidden: state.hides_counts(),
        frozen_by: state.frozen_by.filter(|_| matches!(state.status, SlotStatus::Frozen | SlotStatus::Locked)),
        frozen_at: state.frozen_at(),
        decided: state.outcome.as_ref().map(|outcome| outcome.decided.clone()),
        winner: state.winner().map(|no| scene.clips[no.index()].clip.id.clone()),
        clips: state.clips.len(),
    }
}

pub(super) fn clip_view(scene: &Scene, state: &ClipState) -> ClipView {
    let slot = scene.slot_of(&state.clip);
    let draft = &state.clip.draft;
    ClipView {
        id: state.clip.id.clone(),
        season: scene.seasons[slot.slot.season.index()].season.id.clone(),
        position: slot.slot.position,
        title: draft.title.clone(),
        username: draft.username.clone(),
        avatar_url: draft.avatar_url.clone(),
        video_url: draft.video_url.clone(),
        thumbnail_url: draft.thumbnail_url.clone(),
        counts: counts(scene, state),
        comments: state.comment_count(),
    }
}
