//! Whether an event may stand at a sequence, kind by kind. Never: a change of what it rests on, which is noted once it stands.

use super::{Refusal, Transitions, slot_move};
use crate::domain::{Decided, Event, Seq, SlotNo, SlotStatus};

/// Whether an event may stand at a sequence. Reads no clock and no setting: `at` is the event's own time.
pub fn judge(transitions: &Transitions, seq: Seq, at: u64, event: &Event) -> Result<(), Refusal> {
    match event {
        Event::Voted(vote) | Event::VotedFrom(vote, _) => {
            if let Some(ban) = transitions.ban(vote.voter, seq, at) {
                return Err(Refusal::Banned { until: ban.until });
            }
            takes_votes(transitions, vote.slot, seq)
        }
        Event::Retracted(retraction) => takes_votes(transitions, retraction.slot, seq),
        Event::CommentPosted(post) => {
            if let Some(ban) = transitions.ban(post.author, seq, at) {
                return Err(Refusal::Banned { until: ban.until });
            }
            if transitions.is_gone(post.parent, seq) { Err(Refusal::Gone) } else { Ok(()) }
        }
        Event::CommentChanged(of, change) => {
            if let Some(ban) = change.bannable().and_then(|voter| transitions.ban(voter, seq, at)) {
                return Err(Refusal::Banned { until: ban.until });
            }
            let gone = change.needs_comment() && transitions.is_gone(of.id, seq);
            if gone { Err(Refusal::Gone) } else { Ok(()) }
        }
        Event::ClipAdded(clip) => match transitions.status(clip.slot, seq) {
            Some(state @ (SlotStatus::Frozen | SlotStatus::Locked)) => Err(Refusal::WrongState(state)),
            _ => Ok(()),
        },
        Event::VoidBegun(plan) => match transitions.status(plan.slot, seq) {
            Some(SlotStatus::Voting | SlotStatus::Frozen | SlotStatus::Locked) => Ok(()),
            other => Err(Refusal::WrongState(other.unwrap_or(SlotStatus::Upcoming))),
        },
        Event::VotesNamed(_) | Event::VoidTaken { .. } | Event::VoidLifted { .. } => transitions.voids.judge(event),
        Event::ErasureWent { erasure, .. } | Event::ErasureEnded(erasure) => {
            if transitions.erasures.contains_key(erasure) { Ok(()) } else { Err(Refusal::NoErasure) }
        }
        _ => slot_move(event).map_or(Ok(()), |(slot, to)| moves_on(transitions, seq, event, slot, to)),
    }
}

fn moves_on(transitions: &Transitions, seq: Seq, event: &Event, slot: SlotNo, to: SlotStatus) -> Result<(), Refusal> {
    let last = transitions.last_step(slot, seq);
    let from = last.map(|step| step.to);
    let state = from.unwrap_or(SlotStatus::Upcoming);
    if !may_move(from, to, event) {
        return Err(Refusal::WrongState(state));
    }
    let rests_on = match event {
        Event::SlotStopped { after, .. } => *after,
        Event::SlotDecided { outcome, .. } => Some(outcome.frozen_at),
        _ => None,
    };
    if rests_on.is_some_and(|on| last.is_none_or(|last| last.seq != on)) {
        return Err(Refusal::Overtaken(state));
    }
    if let Event::SlotDecided { outcome, .. } = event
        && counts_otherwise(transitions, slot, &outcome.decided, outcome.frozen_at)
    {
        return Err(Refusal::Overtaken(state));
    }
    if to == SlotStatus::Voting && from != Some(to) && transitions.another_votes(slot, seq) {
        return Err(Refusal::AnotherVotes);
    }
    Ok(())
}

/// Whether a void of a slot, or the lifting of one, came between a tally and its place in the log: the winner may be another.
fn counts_otherwise(transitions: &Transitions, slot: SlotNo, decided: &Decided, frozen_at: Seq) -> bool {
    let last = transitions.voids.last(slot);
    match decided {
        Decided::Tally => last > frozen_at,
        Decided::TallyAfter(void) => last != *void,
        Decided::ByHand { .. } => false,
    }
}

fn takes_votes(transitions: &Transitions, slot: SlotNo, seq: Seq) -> Result<(), Refusal> {
    match transitions.status(slot, seq) {
        Some(SlotStatus::Voting) => Ok(()),
        _ => Err(Refusal::Closed),
    }
}

fn may_move(from: Option<SlotStatus>, to: SlotStatus, event: &Event) -> bool {
    use SlotStatus::{Frozen, Locked, Upcoming, Voting, WaitingForClips};
    match event {
        Event::SlotExtended { .. } => from == Some(Voting),
        Event::SlotReopened { .. } => from == Some(Frozen),
        _ => matches!(
            (from, to),
            (None, Upcoming)
                | (Some(Upcoming | WaitingForClips), WaitingForClips | Voting)
                | (Some(Voting), Frozen)
                | (Some(Frozen), Locked)
        ),
    }
}
