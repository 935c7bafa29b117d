//! The whole journey of a vote, and of its retraction.

use std::time::Instant;

use tokio::sync::oneshot;

use super::api::Receipt;
use super::{Core, Engine};
use crate::ballots::{Claim, TakeBack};
use crate::domain::{ClipNo, Event, Origin, Retraction, Seq, SlotNo, SlotStatus, Vote, VoteKind, VoterId, day_of};
use crate::error::Reject;
use crate::fold::Refusal;
use crate::log::{Body, Entry, Outcome};
use crate::metrics::{TIMED, VoteResult};
use crate::traces;

/// How often a request waits for what is in flight before it is told to come again.
pub(super) const TRIES: usize = 16;

impl Engine {
    /// Casts a vote of which no request is known; see [`Engine::vote_from`].
    pub async fn vote(&self, voter: VoterId, clip: &str, kind: VoteKind) -> Result<Receipt, Reject> {
        self.vote_from(Origin::default(), voter, clip, kind).await
    }

    /// Casts a vote and waits until it is on the disk (or, with [`super::Ack::Memory`], until its place in the log is
    /// fixed). Dropping the future changes nothing about the vote.
    ///
    /// Checks in the contract's order: clip and slot, ban, own clip, duplicate, daily limit. Where it came from is kept with
    /// it, and changes nothing about it.
    pub async fn vote_from(
        &self,
        origin: Origin,
        voter: VoterId,
        clip: &str,
        kind: VoteKind,
    ) -> Result<Receipt, Reject> {
        let result = self.try_vote(origin, voter, clip, kind).await;
        let counted = result.as_ref().map_or_else(VoteResult::of, |_| VoteResult::Counted);
        self.core.metrics.results.count(counted);
        result
    }

    async fn try_vote(&self, origin: Origin, voter: VoterId, clip: &str, kind: VoteKind) -> Result<Receipt, Reject> {
        let core = &*self.core;
        let weight = core.settings.weights.of(kind);
        // A hash: as good as a die, and no state that all votes would share.
        let timed = voter.0[15].is_multiple_of(TIMED) || traces::is_traced();
        for _ in 0..TRIES {
            core.takes_writes()?;
            let at = core.clock.now_ms();
            let (clip, slot) = core.votable(voter, clip, at)?;

            // Duplicate, limit and enqueueing are one step under the lock of the voter's shard.
            let (waiter, answer) = oneshot::channel();
            let mut position = 0;
            let began = timed.then(Instant::now);
            let claim = core.ballots.claim(voter, clip, weight, day_of(at), |day, claimed| {
                let event = Event::voted(Vote { voter, clip, slot, kind, weight, day }, origin);
                let entry = Entry { claimed, ..Entry::new(at, Body::Event(event), Some(waiter)) };
                let place = core.queue.claim(entry);
                position = place.unwrap_or_default();
                place.is_some()
            });
            if let Some(began) = began {
                core.metrics.claim.observe(began.elapsed());
                traces::stage("claim", began);
            }
            match claim {
                Claim::Sent { remaining } => {
                    let sent = began.map(|_| Instant::now());
                    let seq = core.outcome(answer).await?;
                    if let (Some(began), Some(sent)) = (began, sent) {
                        core.metrics.vote.observe(began.elapsed());
                        traces::stage("commit", sent);
                    }
                    return Ok(core.receipt(seq, clip, remaining, position));
                }
                Claim::Duplicate => return Err(Reject::AlreadyVoted(core.clip_id(clip))),
                Claim::OverLimit { remaining } => {
                    return Err(Reject::DailyLimit { remaining, reset_at: core.reset_at(at) });
                }
                Claim::QueueFull | Claim::VotersFull => return Err(core.overloaded()),
                Claim::InFlight => core.barrier().await?,
            }
        }
        Err(core.overloaded())
    }

    /// Takes a vote back and waits as [`Engine::vote`] does. The day's weight comes back if the vote was charged today.
    pub async fn retract(&self, voter: VoterId, clip: &str) -> Result<Receipt, Reject> {
        let core = &*self.core;
        for _ in 0..TRIES {
            core.takes_writes()?;
            let at = core.clock.now_ms();
            let (clip, slot) = {
                let scene = core.stage.look();
                let state = scene.clip(clip)?;
                scene.admits(&state.clip)?;
                (state.clip.no, state.clip.slot)
            };
            let (waiter, answer) = oneshot::channel();
            let mut position = 0;
            let taken = core.ballots.take_back(voter, clip, |standing| {
                let (vote, weight, day) = (standing.seq, standing.weight, standing.day);
                let event = Event::Retracted(Retraction { voter, clip, slot, vote, weight, day });
                let place = core.queue.claim(Entry::new(at, Body::Event(event), Some(waiter)));
                position = place.unwrap_or_default();
                place.is_some()
            });
            match taken {
                TakeBack::Sent => {
                    let seq = core.outcome(answer).await?;
                    let remaining = core.allowance(voter, core.clock.now_ms()).remaining;
                    return Ok(core.receipt(seq, clip, remaining, position));
                }
                TakeBack::NotVoted => return Err(Reject::NotVoted),
                TakeBack::QueueFull => return Err(core.overloaded()),
                TakeBack::InFlight => core.barrier().await?,
            }
        }
        Err(core.overloaded())
    }
}

pub(super) fn another_votes() -> Reject {
    let why = "another slot of the season is open: freeze or lock it first".into();
    Reject::WrongState { state: SlotStatus::Voting.as_str(), why }
}

impl Core {
    fn votable(&self, voter: VoterId, clip: &str, at: u64) -> Result<(ClipNo, SlotNo), Reject> {
        let scene = self.stage.look();
        let state = scene.clip(clip)?;
        scene.admits(&state.clip)?;
        scene.allows(voter, at)?;
        if state.owner == Some(voter) {
            return Err(Reject::SelfVote);
        }
        Ok((state.clip.no, state.clip.slot))
    }

    fn receipt(&self, seq: Seq, clip: ClipNo, remaining: u32, queue_position: u64) -> Receipt {
        let scene = self.stage.look();
        let counts = super::read::counts(&scene, &scene.clips[clip.index()]);
        Receipt { seq, counts, remaining, queue_position }
    }

    /// Waits until everything that was enqueued before is settled.
    pub(super) async fn barrier(&self) -> Result<(), Reject> {
        let (waiter, answer) = oneshot::channel();
        let entry = Entry::new(0, Body::Barrier, Some(waiter));
        self.queue.claim(entry).ok_or_else(|| self.overloaded())?;
        self.outcome(answer).await.map(|_| ())
    }

    pub(super) async fn outcome(&self, answer: oneshot::Receiver<Outcome>) -> Result<Seq, Reject> {
        match answer.await {
            Ok(Outcome::Done(seq)) => Ok(seq),
            Ok(Outcome::Refused(Refusal::Closed)) => Err(Reject::VotingClosed),
            Ok(Outcome::Refused(Refusal::Banned { until })) => Err(Reject::Banned { until }),
            Ok(Outcome::Refused(Refusal::Gone | Refusal::NoVoid | Refusal::NoErasure)) => Err(Reject::NotFound),
            Ok(Outcome::Refused(Refusal::WrongState(status) | Refusal::Overtaken(status))) => {
                Err(Reject::WrongState { state: status.as_str(), why: format!("the slot is {}", status.as_str()) })
            }
            Ok(Outcome::Refused(Refusal::NamedFull)) => Err(Reject::Overloaded),
            Ok(Outcome::Refused(Refusal::AnotherVotes)) => Err(another_votes()),
            // A waiter that was dropped: the engine ended before its turn came.
            Ok(Outcome::Failed) | Err(_) => Err(Reject::StorageFailed),
        }
    }
}
