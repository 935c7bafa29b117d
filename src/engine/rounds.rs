//! A slot's life on an operator's word: opened, extended, frozen, reopened, locked. What the clock asks for is
//! [`crate::jobs::Rounds`]'s; both are events that the judge lets in or refuses in the log's order.

use std::sync::Arc;
use std::time::Duration;

use super::api::SlotView;
use super::operate::wrong_state;
use super::{Core, Engine};
use crate::domain::{
    ClipNo, DECISION_REASON_MAX, Decided, Event, FrozenBy, Outcome, Seq, SlotNo, SlotStatus, bounded_text,
};
use crate::error::Reject;
use crate::jobs::{Sealed, tallied};
use crate::stage::SlotState;

/// How often a lock looks whether what it waits for is built.
const SEAL_LOOK: Duration = Duration::from_millis(5);

impl Engine {
    /// Opens a slot for votes, until `ends_at` (Unix milliseconds) if given, else for as long as the settings say; one without
    /// clips waits for them. A season has at most one open slot.
    pub async fn open_slot(
        &self,
        season: &str,
        position: u32,
        ends_at: Option<u64>,
        hidden: bool,
    ) -> Result<SlotView, Reject> {
        let core = &*self.core;
        let _turn = core.turn().await?;
        let slot = core.slot_state(season, position)?;
        core.check_end(ends_at)?;
        if slot.status >= SlotStatus::Voting {
            return Err(wrong_state(&slot, "can't be opened"));
        }
        core.none_open(season)?;
        if slot.clips.is_empty() && (ends_at.is_some() || hidden) {
            // It would only wait, and what was asked would be forgotten by the time that it opens.
            return Err(wrong_state(&slot, "has no clips: add some, then open it with votingEndsAt and resultsHidden"));
        }
        let no = slot.slot.no;
        let by_default = core.settings.rounds.slot_ms.map(|ms| core.clock.now_ms().saturating_add(ms));
        let ends_at = ends_at.or(by_default);
        let event =
            if slot.clips.is_empty() { Event::SlotWaits(no) } else { Event::SlotOpened { slot: no, ends_at, hidden } };
        core.write(event).await?;
        self.slot(season, position)
    }

    /// Has an open slot close at another time (Unix milliseconds), sooner or later, or with none when an operator says so.
    pub async fn extend_slot(&self, season: &str, position: u32, ends_at: Option<u64>) -> Result<SlotView, Reject> {
        let core = &*self.core;
        let _turn = core.turn().await?;
        let slot = core.slot_state(season, position)?;
        core.check_end(ends_at)?;
        if slot.status != SlotStatus::Voting {
            return Err(wrong_state(&slot, "can't be extended"));
        }
        core.steps_are_applied().await?;
        core.write(Event::SlotExtended { slot: slot.slot.no, ends_at }).await?;
        self.slot(season, position)
    }

    /// Freezes an open slot: no vote behind this event counts. It stays frozen until it is locked or reopened.
    pub async fn freeze_slot(&self, season: &str, position: u32) -> Result<SlotView, Reject> {
        let core = &*self.core;
        let _turn = core.turn().await?;
        let slot = core.slot_state(season, position)?;
        if slot.status != SlotStatus::Voting {
            return Err(wrong_state(&slot, "can't be frozen"));
        }
        core.write(Event::SlotStopped { slot: slot.slot.no, by: FrozenBy::Operator, after: None }).await?;
        self.slot(season, position)
    }

    /// Has a frozen slot take votes again, until another time (Unix milliseconds, `Some(None)`: until an operator says so). When
    /// none is given it keeps its end if that is still to come.
    pub async fn reopen_slot(
        &self,
        season: &str,
        position: u32,
        ends_at: Option<Option<u64>>,
    ) -> Result<SlotView, Reject> {
        let core = &*self.core;
        let _turn = core.turn().await?;
        let slot = core.slot_state(season, position)?;
        core.check_end(ends_at.flatten())?;
        if slot.status != SlotStatus::Frozen {
            return Err(wrong_state(&slot, "can't be reopened"));
        }
        core.none_open(season)?;
        core.steps_are_applied().await?;
        let now = core.clock.now_ms();
        let ends_at = ends_at.unwrap_or_else(|| slot.span.ends_at.filter(|end| *end > now));
        core.write(Event::SlotReopened { slot: slot.slot.no, ends_at }).await?;
        self.slot(season, position)
    }

    /// Locks a slot with its winner, freezing it first if it is open.
    pub async fn lock_slot(&self, season: &str, position: u32) -> Result<SlotView, Reject> {
        let core = &*self.core;
        let (slot, frozen_at) = {
            let _turn = core.turn().await?;
            // Should the server stop in between, the next start goes on to the lock.
            core.frozen(season, position, FrozenBy::Lock, "can't be locked").await?
        };
        core.decide(slot, frozen_at, None).await?;
        self.slot(season, position)
    }

    /// Locks a slot with a winner that an operator names, and why, freezing it first if it is open.
    pub async fn pick_winner(
        &self,
        season: &str,
        position: u32,
        clip: &str,
        reason: String,
    ) -> Result<SlotView, Reject> {
        bounded_text("reason", &reason, DECISION_REASON_MAX)?;
        let core = &*self.core;
        let (slot, frozen_at, winner) = {
            let _turn = core.turn().await?;
            let slot = core.slot_state(season, position)?;
            let winner = core.stage.look().clip(clip)?.clip.no;
            if !slot.clips.contains(&winner) {
                return Err(Reject::ClipNotFound);
            }
            // Not for the lock to follow by itself: that would be the votes' winner.
            let (slot, frozen_at) = core.frozen(season, position, FrozenBy::Operator, "has its winner").await?;
            (slot, frozen_at, winner)
        };
        tracing::info!(season, position, clip, reason, "an operator names the winner");
        core.decide(slot, frozen_at, Some((winner, reason))).await?;
        self.slot(season, position)
    }

    /// Takes the steps of rounds that are due now, as the engine does by itself unless the settings say otherwise: at most one a
    /// season, each settled when this returns. Waits for what a lock that is due waits for. Says how many were asked for.
    pub async fn step_rounds(&self) -> Result<usize, Reject> {
        let core = &*self.core;
        core.takes_writes()?;
        core.seals_are_built().await?;
        let asked = core.rounds.lock().step(core.clock.now_ms());
        core.barrier_urgently().await?;
        Ok(asked)
    }
}

impl Core {
    fn check_end(&self, ends_at: Option<u64>) -> Result<(), Reject> {
        if ends_at.is_some_and(|at| at <= self.clock.now_ms()) {
            let why = "must be in the future, Unix ms".into();
            return Err(Reject::InvalidParameter { name: "votingEndsAt", why });
        }
        Ok(())
    }

    /// The judge says the same; this says which.
    fn none_open(&self, season: &str) -> Result<(), Reject> {
        let scene = self.stage.look();
        let open = scene.open_slot(scene.season(season)?);
        open.map_or(Ok(()), |open| Err(wrong_state(open, "is open: lock it first")))
    }

    /// A slot's record keeps every step that the tables don't contain for good, so many of them at once would outgrow it: those that
    /// can be repeated wait for the ones before.
    async fn steps_are_applied(&self) -> Result<(), Reject> {
        self.progress.nudge();
        self.progress.until_applied(self.progress.settled()).await.map_err(|_| Reject::StorageFailed)
    }

    /// Waits until every slot whose lock follows by itself can be locked.
    async fn seals_are_built(&self) -> Result<(), Reject> {
        let waits = |slot: &Arc<SlotState>| {
            let follows = slot.frozen_by.is_some_and(FrozenBy::goes_on);
            slot.status == SlotStatus::Frozen && follows && self.seal.of(slot) == Sealed::NotYet
        };
        self.progress.nudge();
        loop {
            let scene = Arc::clone(&self.stage.look());
            if !scene.slots.iter().any(waits) {
                return Ok(());
            }
            self.takes_writes()?;
            tokio::time::sleep(SEAL_LOOK).await;
        }
    }

    /// Freezes a slot that is open; gives the sequence of its freeze.
    async fn frozen(&self, season: &str, position: u32, by: FrozenBy, refused: &str) -> Result<(SlotNo, Seq), Reject> {
        let before = self.slot_state(season, position)?;
        if before.status == SlotStatus::Voting {
            match self.write(Event::SlotStopped { slot: before.slot.no, by, after: None }).await {
                // The timer came first, and perhaps its lock.
                Ok(()) | Err(Reject::WrongState { .. }) => {}
                Err(other) => return Err(other),
            }
        }
        let slot = self.slot_state(season, position)?;
        let locked_since = by == FrozenBy::Lock && before.status == SlotStatus::Voting && slot.outcome.is_some();
        match slot.frozen_at() {
            Some(at) if slot.status == SlotStatus::Frozen || locked_since => Ok((slot.slot.no, at)),
            _ => Err(wrong_state(&slot, refused)),
        }
    }

    /// Locks a frozen slot once what the lock waits for is built. No operator's turn: others go on meanwhile, and the judge refuses
    /// a result whose freeze was overtaken.
    async fn decide(&self, no: SlotNo, frozen_at: Seq, by_hand: Option<(ClipNo, String)>) -> Result<(), Reject> {
        // The applier sorts what it knows to be frozen: it need not wait for its time.
        self.progress.nudge();
        loop {
            self.takes_writes()?;
            let scene = Arc::clone(&self.stage.look());
            let slot: &SlotState = &scene.slots[no.index()];
            if by_hand.is_none() && slot.outcome.as_ref().is_some_and(|outcome| outcome.frozen_at == frozen_at) {
                return Ok(());
            }
            if (slot.status, slot.last_step) != (SlotStatus::Frozen, frozen_at) {
                return Err(wrong_state(slot, "can't be locked"));
            }
            let Sealed::With(root) = self.seal.of(slot) else {
                tokio::time::sleep(SEAL_LOOK).await;
                continue;
            };
            let outcome = match &by_hand {
                None => tallied(&scene, slot, root),
                Some((winner, reason)) => {
                    let decided = Decided::ByHand { reason: reason.clone() };
                    Outcome { frozen_at, winner: Some(*winner), decided, root }
                }
            };
            match self.write(Event::SlotDecided { slot: no, outcome: Box::new(outcome) }).await {
                // The stage says by now what came first.
                Err(Reject::WrongState { .. }) => {}
                other => return other,
            }
        }
    }
}
