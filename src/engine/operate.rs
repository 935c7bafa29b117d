//! What operators do: seasons, slots, clips, bans; a slot's life is in `rounds`. One at a time, each an event in the same log as the votes.

use tokio::sync::{MutexGuard, oneshot};

use super::api::{ClipView, SeasonView, SlotView};
use super::read::clip_view;
use super::{Core, Engine};
use crate::domain::{
    Clip, ClipDraft, ClipId, ClipNo, Event, Season, SeasonId, SeasonNo, Slot, SlotNo, SlotStatus, VoterId, bounded_text,
};
use crate::error::Reject;
use crate::log::{Body, Entry};
use crate::stage::SlotState;

/// Bans in force at most: they are in memory, and copied when one changes.
const BANS_MAX: usize = 65_536;
/// Bytes of a ban's reason at most: 256 bans share a page.
pub const REASON_MAX: usize = 120;
/// Seasons, slots and clips at most: the stage is copied when one of them changes, in milliseconds at this size.
const SEASONS_MAX: usize = 4_096;
const SLOTS_MAX: usize = 16_384;
const CLIPS_MAX: usize = 65_536;

impl Engine {
    /// Creates a season; without an id it gets `season-<n>`.
    pub async fn create_season(&self, id: Option<SeasonId>, name: String) -> Result<SeasonView, Reject> {
        bounded_text("name", &name, 200)?;
        let core = &*self.core;
        let _turn = core.turn().await?;
        let no = core.stage.look().seasons.len();
        let id = id.map_or_else(|| SeasonId::new(&format!("season-{}", no + 1)), Ok)?;
        if core.stage.look().season(id.as_str()).is_ok() {
            return Err(exists("season", id.as_str()));
        }
        if no >= SEASONS_MAX {
            return Err(core.overloaded());
        }
        let no = SeasonNo(u32::try_from(no).expect("below SEASONS_MAX"));
        core.write(Event::SeasonCreated(Season { no, id: id.clone(), name })).await?;
        self.season(id.as_str())
    }

    /// Creates a slot; without a position, behind the season's last.
    pub async fn create_slot(&self, season: &str, position: Option<u32>) -> Result<SlotView, Reject> {
        let core = &*self.core;
        let _turn = core.turn().await?;
        let (slot, position) = {
            let scene = core.stage.look();
            let state = scene.season(season)?;
            let last = state.slots.last().map_or(0, |no| scene.slots[no.index()].slot.position);
            let position = position.unwrap_or(last + 1);
            if position == 0 || position > 1_000_000 {
                let why = "a position is 1 to 1000000".into();
                return Err(Reject::InvalidParameter { name: "position", why });
            }
            if scene.slot(state, position).is_ok() {
                return Err(exists("slot", &position.to_string()));
            }
            if scene.slots.len() >= SLOTS_MAX {
                return Err(core.overloaded());
            }
            let no = SlotNo(u32::try_from(scene.slots.len()).expect("below SLOTS_MAX"));
            (Slot { no, season: state.season.no, position }, position)
        };
        core.write(Event::SlotCreated(slot)).await?;
        self.slot(season, position)
    }

    /// Adds a clip to a slot that isn't frozen or locked; without an id it gets `clip-<n>`.
    pub async fn add_clip(
        &self,
        season: &str,
        position: u32,
        id: Option<ClipId>,
        draft: ClipDraft,
    ) -> Result<ClipView, Reject> {
        let draft = draft.checked()?;
        let core = &*self.core;
        let _turn = core.turn().await?;
        let slot = core.slot_state(season, position)?;
        if slot.status >= SlotStatus::Frozen {
            return Err(wrong_state(&slot, "takes no more clips"));
        }
        let no = core.stage.look().clips.len();
        if no >= CLIPS_MAX {
            return Err(core.overloaded());
        }
        let id = id.map_or_else(|| ClipId::new(&format!("clip-{}", no + 1)), Ok)?;
        if core.stage.look().clip(id.as_str()).is_ok() {
            return Err(exists("clip", id.as_str()));
        }
        let no = ClipNo(u32::try_from(no).expect("below CLIPS_MAX"));
        let clip = Clip { no, slot: slot.slot.no, id, draft };
        core.write(Event::ClipAdded(Box::new(clip))).await?;
        let scene = core.stage.look();
        Ok(clip_view(&scene, &scene.clips[no.index()]))
    }

    /// Refuses a voter's votes from here on, until a time in Unix milliseconds if given.
    pub async fn ban(&self, voter: VoterId, until: Option<u64>, reason: String) -> Result<(), Reject> {
        if !reason.is_empty() {
            bounded_text("reason", &reason, REASON_MAX)?;
        }
        let core = &*self.core;
        let _turn = core.turn().await?;
        core.room_for_ban(voter).await?;
        core.ban_pages_are_applied().await?;
        core.write(Event::Banned { voter, until, reason }).await
    }

    /// Lifts a ban; that there is none is no error.
    pub async fn unban(&self, voter: VoterId) -> Result<(), Reject> {
        let core = &*self.core;
        let _turn = core.turn().await?;
        if !core.stage.look().bans.contains_key(&voter) {
            return Ok(());
        }
        core.ban_pages_are_applied().await?;
        core.write(Event::Unbanned(voter)).await
    }

    /// Waits until everything enqueued before is settled and in the tables; says how many events that moved there.
    pub async fn drain(&self) -> Result<u64, Reject> {
        let core = &*self.core;
        let before = core.progress.applied();
        core.barrier().await?;
        let settled = core.progress.settled();
        core.progress.nudge();
        core.progress.until_applied(settled).await.map_err(|_| Reject::StorageFailed)?;
        Ok(settled.saturating_sub(before))
    }
}

impl Core {
    /// One operator at a time, each behind whatever an earlier one, whose request may be gone, has in flight: numbers and
    /// states are then as they will be when this one's event is judged.
    pub(super) async fn turn(&self) -> Result<MutexGuard<'_, ()>, Reject> {
        let turn = self.operator.lock().await;
        self.takes_writes()?;
        self.barrier_urgently().await?;
        Ok(turn)
    }

    /// Lifts a ban that has expired when there is no room for another: expired ones stay in the log's account of who is banned,
    /// since the judge forgets nothing by a clock.
    async fn room_for_ban(&self, voter: VoterId) -> Result<(), Reject> {
        let bans = self.stage.look().bans.clone();
        if bans.len() < BANS_MAX || bans.contains_key(&voter) {
            return Ok(());
        }
        let now = self.clock.now_ms();
        let expired = bans.iter().find(|(_, ban)| ban.until.is_some_and(|until| until <= now));
        let (expired, _) = expired.ok_or_else(|| self.overloaded())?;
        self.ban_pages_are_applied().await?;
        self.write(Event::Unbanned(*expired)).await
    }

    /// A page keeps every step of its voters' bans that the tables don't contain for good, so many of them at once would outgrow
    /// it: at most one is on its way.
    async fn ban_pages_are_applied(&self) -> Result<(), Reject> {
        self.progress.nudge();
        self.progress.until_applied(self.progress.settled()).await.map_err(|_| Reject::StorageFailed)
    }

    /// Logs an operator's event and waits until it is settled.
    pub(super) async fn write(&self, event: Event) -> Result<(), Reject> {
        self.takes_writes()?;
        let (waiter, answer) = oneshot::channel();
        let at = self.clock.now_ms();
        self.urge(Entry::new(at, Body::Event(event), Some(waiter)))?;
        self.outcome(answer).await?;
        if self.settings.ack == super::Ack::Memory {
            // Answered before settlement; what follows reads the stage.
            self.barrier_urgently().await?;
        }
        Ok(())
    }

    pub(super) async fn barrier_urgently(&self) -> Result<(), Reject> {
        let (waiter, answer) = oneshot::channel();
        self.urge(Entry::new(0, Body::Barrier, Some(waiter)))?;
        self.outcome(answer).await.map(|_| ())
    }

    fn urge(&self, entry: Entry) -> Result<(), Reject> {
        self.queue.urge(entry).map_err(|_| self.overloaded())
    }

    pub(super) fn slot_state(&self, season: &str, position: u32) -> Result<std::sync::Arc<SlotState>, Reject> {
        let scene = self.stage.look();
        scene.slot(scene.season(season)?, position).cloned()
    }
}

fn exists(what: &str, id: &str) -> Reject {
    Reject::WrongState { state: "exists", why: format!("{what} {id} exists already") }
}

pub(super) fn wrong_state(slot: &SlotState, why: &str) -> Reject {
    let (position, state) = (slot.slot.position, slot.status.as_str());
    Reject::WrongState { state, why: format!("slot {position} is {state} and {why}") }
}
