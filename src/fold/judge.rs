//! What the log's order makes invalid: a vote behind its slot's freeze, a vote or comment of a banned voter, a like of a
//! deleted comment.
//!
//! The commit thread judges an event when it fixes its sequence; what is refused never enters the log. Whoever reads
//! the log again (applier, recovery, `verify`) judges again and must agree. Verdicts compare sequences, not flags: a
//! later transition, already known when the log is read again, never changes the verdict on an earlier event.
//!
//! Here is what a verdict rests on, and what of that may be forgotten; the verdicts are in [`verdicts`]. Never: a clock, a setting.

#[cfg(test)]
mod tests;
mod verdicts;

use std::collections::{BTreeMap, HashMap};

use bincode::{Decode, Encode};

pub use self::verdicts::judge;
use super::voids::{Effect, Voids};
use crate::domain::{CommentChange, Event, SeasonNo, Seq, Slot, SlotNo, SlotStatus, VoterId};

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
    /// The slot took another step since what the transition rests on.
    Overtaken(SlotStatus),
    /// Another slot of the season takes votes at that sequence.
    AnotherVotes,
    /// The comment that it is about, or answers, is deleted at that sequence.
    Gone,
    /// The void that it is about is not under way, or not in force.
    NoVoid,
    /// Voids would name more votes than may be named.
    NamedFull,
    /// The erasure that it is about has ended, or never began.
    NoErasure,
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
    slots: Vec<Life>,
    bans: HashMap<VoterId, Vec<BanMove>>,
    /// Comments and when they were deleted. Only deletions that aren't in the tables, and those that something in the queue
    /// may have missed: whoever asks for a change looks at the tables, and at what is settled, when it is queued.
    deleted: HashMap<Seq, Seq>,
    voids: Voids,
    /// Erasures that have not ended, each with its voter.
    erasures: BTreeMap<Seq, Option<VoterId>>,
}

/// A slot's steps.
#[derive(Clone, Debug, Default)]
struct Life {
    season: Option<SeasonNo>,
    moves: Vec<Move>,
}

impl Life {
    /// The last step before a sequence.
    fn before(&self, seq: Seq) -> Option<&Move> {
        self.moves.iter().rev().find(|step| step.seq < seq)
    }
}

impl Transitions {
    /// Takes in a slot's life as its record has it.
    pub fn load_slot(&mut self, slot: Slot, moves: Vec<Move>) {
        *self.life(slot.no) = Life { season: Some(slot.season), moves };
    }

    /// Takes in a voter's bans as their record has them.
    pub fn load_bans(&mut self, voter: VoterId, moves: Vec<BanMove>) {
        self.bans.insert(voter, moves);
    }

    /// Takes in which votes are under voids, as of the place in the log that they are loaded at.
    pub fn load_voids(&mut self, voids: Voids) {
        self.voids = voids;
    }

    /// Takes in an erasure that has not ended as of there. Its voter is unknown where its record is past there.
    pub fn load_erasure(&mut self, erasure: Seq, voter: Option<VoterId>) {
        self.erasures.insert(erasure, voter);
    }

    /// Which votes are under voids.
    pub fn voids(&self) -> &Voids {
        &self.voids
    }

    /// Takes in one judged event, each once; a step of a slot's life or of a ban that is known already changes nothing. Says what
    /// the event does to counts.
    pub fn note(&mut self, seq: Seq, at: u64, event: &Event) -> Effect {
        if let Some((slot, to)) = slot_move(event) {
            let life = self.life(slot);
            if life.moves.last().is_none_or(|last| last.seq < seq && is_step(last.to, to)) {
                life.moves.push(Move { seq, at, to });
            }
            if let Event::SlotCreated(slot) = event {
                life.season = Some(slot.season);
            }
        }
        if let Some((voter, step)) = ban_move(seq, event) {
            let moves = self.bans.entry(voter).or_default();
            if moves.last().is_none_or(|last| last.seq < seq) {
                moves.push(step);
            }
        }
        if let Event::CommentChanged(of, CommentChange::Deleted { .. } | CommentChange::Emptied) = event {
            self.deleted.entry(of.id).or_insert(seq);
        }
        match event {
            Event::ErasureBegun { voter, .. } => drop(self.erasures.insert(seq, Some(*voter))),
            Event::ErasureEnded(erasure) => {
                if let Some(voter) = self.erasures.remove(erasure).flatten() {
                    self.voids.unname(voter, *erasure);
                }
            }
            _ => {}
        }
        self.voids.note(seq, event)
    }

    /// Forgets what no event behind `floor` can need: bans lifted at or before it, and all but the newest step there.
    pub fn forget_before(&mut self, floor: Seq) {
        self.deleted.retain(|_, seq| *seq > floor);
        self.slots.iter_mut().for_each(|life| prune_moves(&mut life.moves, floor));
        self.bans.retain(|_, moves| {
            prune_bans(moves, floor);
            moves.last().is_some_and(|last| !(last.lifted && last.seq <= floor))
        });
    }

    /// Every slot.
    pub fn slots(&self) -> impl Iterator<Item = SlotNo> + use<> {
        (0..u32::try_from(self.slots.len()).expect("slots have 32-bit numbers")).map(SlotNo)
    }

    fn life(&mut self, slot: SlotNo) -> &mut Life {
        if self.slots.len() <= slot.index() {
            self.slots.resize_with(slot.index() + 1, Life::default);
        }
        &mut self.slots[slot.index()]
    }

    fn last_step(&self, slot: SlotNo, seq: Seq) -> Option<&Move> {
        self.slots.get(slot.index())?.before(seq)
    }

    fn status(&self, slot: SlotNo, seq: Seq) -> Option<SlotStatus> {
        self.last_step(slot, seq).map(|step| step.to)
    }

    /// Whether a slot of the same season, and not this one, takes votes.
    fn another_votes(&self, slot: SlotNo, seq: Seq) -> bool {
        let Some(season) = self.slots.get(slot.index()).and_then(|life| life.season) else { return false };
        let votes = |life: &Life| life.before(seq).is_some_and(|step| step.to == SlotStatus::Voting);
        let mut others = self.slots.iter().enumerate().filter(|(no, _)| *no != slot.index());
        others.any(|(_, life)| life.season == Some(season) && votes(life))
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

/// Whether a state that follows another is a step of its own: a slot that waits can be asked to open again and again.
pub(super) fn is_step(from: SlotStatus, to: SlotStatus) -> bool {
    (from, to) != (SlotStatus::WaitingForClips, SlotStatus::WaitingForClips)
}

/// Steps of a slot's life that are kept for those who ask, once no event can need them.
const MOVES_KEPT: usize = 32;

/// Drops the oldest steps of a long life that lie before the newest one at or before `floor`.
pub(super) fn prune_moves(moves: &mut Vec<Move>, floor: Seq) {
    if moves.len() > MOVES_KEPT
        && let Some(newest) = moves.iter().rposition(|step| step.seq <= floor)
    {
        moves.drain(..newest.min(moves.len() - MOVES_KEPT));
    }
}

/// The step of a slot's life that an event is, if it is one.
pub(super) fn slot_move(event: &Event) -> Option<(SlotNo, SlotStatus)> {
    match event {
        Event::SlotCreated(slot) => Some((slot.no, SlotStatus::Upcoming)),
        Event::SlotWaits(slot) => Some((*slot, SlotStatus::WaitingForClips)),
        Event::SlotOpened { slot, .. } | Event::SlotExtended { slot, .. } | Event::SlotReopened { slot, .. } => {
            Some((*slot, SlotStatus::Voting))
        }
        Event::SlotFrozen(slot) | Event::SlotStopped { slot, .. } => Some((*slot, SlotStatus::Frozen)),
        Event::SlotLocked { slot, .. } | Event::SlotDecided { slot, .. } => Some((*slot, SlotStatus::Locked)),
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
