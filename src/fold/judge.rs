//! What the log's order makes invalid: a vote behind its slot's freeze, a vote or comment of a banned voter, a like of a
//! deleted comment.
//!
//! The commit thread judges an event when it fixes its sequence; what is refused never enters the log. Whoever reads
//! the log again (applier, recovery, `verify`) judges again and must agree. Verdicts compare sequences, not flags: a
//! later transition, already known when the log is read again, never changes the verdict on an earlier event.

use std::collections::HashMap;

use bincode::{Decode, Encode};

use crate::domain::{CommentChange, Event, Seq, SlotNo, SlotStatus, VoterId};

/// Why the log's order refuses an event.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refusal {
    /// The slot doesn't take votes at that sequence.
    Closed,
    /// The voter is banned at that sequence.
    Banned {
        /// Until when.
        until: Option<u64>,
    },
    /// The slot's state at that sequence forbids the transition.
    WrongState(SlotStatus),
    /// The comment that it is about, or answers, is deleted at that sequence.
    Gone,
}

/// A slot's step into a state, at a sequence.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
pub struct Move {
    /// From this sequence on, itself included.
    pub seq: Seq,
    /// When, Unix milliseconds.
    pub at: u64,
    /// Into which state.
    pub to: SlotStatus,
}

/// A ban, or with `lifted` its end, from a sequence on.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct BanMove {
    /// From this sequence on.
    pub seq: Seq,
    /// The ban is lifted here.
    pub lifted: bool,
    /// Until when, Unix milliseconds; `None`: until lifted.
    pub until: Option<u64>,
    /// Why, for operators.
    pub reason: String,
}

/// Slot lives and bans, each step with its sequence. In memory.
#[derive(Clone, Debug, Default)]
pub struct Transitions {
    slots: Vec<Vec<Move>>,
    bans: HashMap<VoterId, Vec<BanMove>>,
    /// Comments and when they were deleted. Only deletions that aren't in the tables, and those that something in the queue
    /// may have missed: whoever asks for a change looks at the tables, and at what is settled, when it is queued.
    deleted: HashMap<Seq, Seq>,
}

impl Transitions {
    /// Takes in a slot's life as its record has it.
    pub fn load_slot(&mut self, slot: SlotNo, moves: Vec<Move>) {
        if self.slots.len() <= slot.index() {
            self.slots.resize_with(slot.index() + 1, Vec::new);
        }
        self.slots[slot.index()] = moves;
    }

    /// Takes in a voter's bans as their record has them.
    pub fn load_bans(&mut self, voter: VoterId, moves: Vec<BanMove>) {
        self.bans.insert(voter, moves);
    }

    /// Takes in one judged event; one that is known already changes nothing.
    pub fn note(&mut self, seq: Seq, at: u64, event: &Event) {
        if let Some((slot, to)) = slot_move(event) {
            if self.slots.len() <= slot.index() {
                self.slots.resize_with(slot.index() + 1, Vec::new);
            }
            let moves = &mut self.slots[slot.index()];
            // A slot that waits can be asked to open again and again.
            if moves.last().is_none_or(|last| last.seq < seq && last.to != to) {
                moves.push(Move { seq, at, to });
            }
        }
        if let Some((voter, step)) = ban_move(seq, event) {
            let moves = self.bans.entry(voter).or_default();
            if moves.last().is_none_or(|last| last.seq < seq) {
                moves.push(step);
            }
        }
        if let Event::CommentChanged(of, CommentChange::Deleted { .. }) = event {
            self.deleted.entry(of.id).or_insert(seq);
        }
    }

    /// Forgets what no event behind `floor` can need: bans lifted at or before it, and all but the newest step there.
    pub fn forget_before(&mut self, floor: Seq) {
        self.deleted.retain(|_, seq| *seq > floor);
        self.bans.retain(|_, moves| {
            prune_bans(moves, floor);
            moves.last().is_some_and(|last| !(last.lifted && last.seq <= floor))
        });
    }

    fn status(&self, slot: SlotNo, seq: Seq) -> Option<SlotStatus> {
        let moves = self.slots.get(slot.index())?;
        moves.iter().rev().find(|step| step.seq < seq).map(|step| step.to)
    }

    fn is_gone(&self, comment: Seq, seq: Seq) -> bool {
        self.deleted.get(&comment).is_some_and(|at| *at < seq)
    }

    fn ban(&self, voter: VoterId, seq: Seq, at: u64) -> Option<&BanMove> {
        let step = self.bans.get(&voter)?.iter().rev().find(|step| step.seq < seq)?;
        (!step.lifted && step.until.is_none_or(|until| at < until)).then_some(step)
    }
}

/// Drops the steps that lie before the newest one at or before `floor`.
pub(super) fn prune_bans(moves: &mut Vec<BanMove>, floor: Seq) {
    if let Some(newest) = moves.iter().rposition(|step| step.seq <= floor) {
        moves.drain(..newest);
    }
}

/// Whether an event may stand at a sequence. Reads no clock and no setting: `at` is the event's own time.
pub fn judge(transitions: &Transitions, seq: Seq, at: u64, event: &Event) -> Result<(), Refusal> {
    match event {
        Event::Voted(vote) => {
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
            if transitions.is_gone(of.id, seq) { Err(Refusal::Gone) } else { Ok(()) }
        }
        _ => {
            let Some((slot, to)) = slot_move(event) else { return Ok(()) };
            let from = transitions.status(slot, seq);
            if may_move(from, to) { Ok(()) } else { Err(Refusal::WrongState(from.unwrap_or(SlotStatus::Upcoming))) }
        }
    }
}

fn takes_votes(transitions: &Transitions, slot: SlotNo, seq: Seq) -> Result<(), Refusal> {
    match transitions.status(slot, seq) {
        Some(SlotStatus::Voting) => Ok(()),
        _ => Err(Refusal::Closed),
    }
}

fn may_move(from: Option<SlotStatus>, to: SlotStatus) -> bool {
    use SlotStatus::{Frozen, Locked, Upcoming, Voting, WaitingForClips};
    matches!(
        (from, to),
        (None, Upcoming)
            | (Some(Upcoming | WaitingForClips), WaitingForClips | Voting)
            | (Some(Voting), Frozen)
            | (Some(Frozen), Locked)
    )
}

fn slot_move(event: &Event) -> Option<(SlotNo, SlotStatus)> {
    match event {
        Event::SlotCreated(slot) => Some((slot.no, SlotStatus::Upcoming)),
        Event::SlotWaits(slot) => Some((*slot, SlotStatus::WaitingForClips)),
        Event::SlotOpened { slot, .. } => Some((*slot, SlotStatus::Voting)),
        Event::SlotFrozen(slot) => Some((*slot, SlotStatus::Frozen)),
        Event::SlotLocked { slot, .. } => Some((*slot, SlotStatus::Locked)),
        _ => None,
    }
}

/// The ban step that an event is, if it is one.
pub(super) fn ban_move(seq: Seq, event: &Event) -> Option<(VoterId, BanMove)> {
    match event {
        Event::Banned { voter, until, reason } => {
            Some((*voter, BanMove { seq, lifted: false, until: *until, reason: reason.clone() }))
        }
        Event::Unbanned(voter) => Some((*voter, BanMove { seq, lifted: true, until: None, reason: String::new() })),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{ClipNo, SeasonNo, Slot, Vote, VoteKind};

    const SLOT: SlotNo = SlotNo(0);
    const VOTER: VoterId = VoterId([1; 16]);

    fn vote() -> Event {
        Event::Voted(Vote { voter: VOTER, clip: ClipNo(0), slot: SLOT, kind: VoteKind::Standard, weight: 1, day: 1 })
    }

    fn opened_at(seq: Seq) -> Transitions {
        let mut known = Transitions::default();
        known.note(1, 0, &Event::SlotCreated(Slot { no: SLOT, season: SeasonNo(0), position: 1 }));
        known.note(seq, 0, &Event::SlotOpened { slot: SLOT, ends_at: None, hidden: false });
        known
    }

    #[test]
    fn a_vote_counts_between_open_and_freeze_alone() {
        let mut known = opened_at(3);
        known.note(7, 0, &Event::SlotFrozen(SLOT));
        for (seq, fine) in [(2, false), (4, true), (6, true), (8, false)] {
            assert_eq!(judge(&known, seq, 0, &vote()).is_ok(), fine, "at {seq}");
        }
    }

    #[test]
    fn a_later_ban_does_not_reach_back_and_its_end_is_by_the_votes_own_time() {
        let mut known = opened_at(2);
        known.note(10, 0, &Event::Banned { voter: VOTER, until: Some(500), reason: String::new() });
        assert!(judge(&known, 9, 0, &vote()).is_ok());
        assert_eq!(judge(&known, 11, 499, &vote()), Err(Refusal::Banned { until: Some(500) }));
        assert!(judge(&known, 12, 500, &vote()).is_ok());
        known.note(20, 0, &Event::Unbanned(VOTER));
        assert!(judge(&known, 21, 0, &vote()).is_ok());
        assert!(judge(&known, 19, 0, &vote()).is_err(), "an unban does not reach back either");
        known.forget_before(25);
        assert!(known.bans.is_empty());
    }

    #[test]
    fn a_slot_lives_in_one_direction() {
        let known = opened_at(2);
        assert!(judge(&known, 3, 0, &Event::SlotFrozen(SLOT)).is_ok());
        let early = Event::SlotLocked { slot: SLOT, winner: None };
        assert_eq!(judge(&known, 3, 0, &early), Err(Refusal::WrongState(SlotStatus::Voting)));
        let again = Event::SlotOpened { slot: SLOT, ends_at: None, hidden: false };
        assert_eq!(judge(&known, 3, 0, &again), Err(Refusal::WrongState(SlotStatus::Voting)));
    }
}
