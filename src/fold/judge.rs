//! What the log's order makes invalid: a vote behind its slot's freeze, a vote or comment of a banned voter, a like of a
//! deleted comment.
//!
//! The commit thread judges an event when it fixes its sequence; what is refused never enters the log. Whoever reads
//! the log again (applier, recovery, `verify`) judges again and must agree. Verdicts compare sequences, not flags: a
//! later transition, already known when the log is read again, never changes the verdict on an earlier event.

use std::collections::{BTreeMap, HashMap};

use bincode::{Decode, Encode};

use super::voids::{Effect, Voids};
use crate::domain::{CommentChange, Decided, Event, SeasonNo, Seq, Slot, SlotNo, SlotStatus, VoterId};

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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::{
        Clip, ClipDraft, ClipId, ClipNo, Decided, FrozenBy, Outcome, VoidBy, VoidPlan, Vote, VoteKind,
    };

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

    /// Each, and each lifting, may make another clip the winner.
    #[test]
    fn a_tally_rests_on_the_last_void_behind_its_freeze() {
        let mut known = opened_at(3);
        let void = |known: &mut Transitions, at: Seq| {
            let plan = VoidPlan { slot: SLOT, by: VoidBy::Flagged, reason: String::new() };
            known.note(at, 0, &Event::VoidBegun(Box::new(plan)));
            known.note(at + 1, 0, &Event::VoidTaken { void: at, slot: SLOT });
        };
        let lock = |frozen_at: Seq, decided: Decided| Event::SlotDecided {
            slot: SLOT,
            outcome: Box::new(Outcome { frozen_at, winner: None, decided, root: None }),
        };
        let by_hand = Decided::ByHand { reason: "the jury".into() };
        let overtaken = Err(Refusal::Overtaken(SlotStatus::Frozen));
        void(&mut known, 4);
        known.note(7, 0, &Event::SlotFrozen(SLOT));
        assert_eq!(judge(&known, 8, 0, &lock(7, Decided::Tally)), Ok(()), "the freeze is behind that void");
        void(&mut known, 9);
        assert_eq!(judge(&known, 11, 0, &lock(7, Decided::Tally)), overtaken);
        assert_eq!(judge(&known, 11, 0, &lock(7, Decided::TallyAfter(5))), overtaken);
        assert_eq!(judge(&known, 11, 0, &lock(7, Decided::TallyAfter(10))), Ok(()));
        assert_eq!(judge(&known, 11, 0, &lock(7, by_hand)), Ok(()));
        known.note(11, 0, &Event::VoidLifted { void: 9, slot: SLOT, reason: String::new() });
        assert_eq!(judge(&known, 12, 0, &lock(7, Decided::TallyAfter(10))), overtaken);
        assert_eq!(judge(&known, 12, 0, &lock(7, Decided::TallyAfter(11))), Ok(()));
        known.note(12, 0, &Event::SlotReopened { slot: SLOT, ends_at: None });
        known.note(13, 0, &Event::SlotFrozen(SLOT));
        assert_eq!(judge(&known, 14, 0, &lock(13, Decided::Tally)), Ok(()));
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

    fn stopped(by: FrozenBy, after: Option<Seq>) -> Event {
        Event::SlotStopped { slot: SLOT, by, after }
    }

    fn decided(frozen_at: Seq) -> Event {
        let outcome = Outcome { frozen_at, winner: None, decided: Decided::Tally, root: None };
        Event::SlotDecided { slot: SLOT, outcome: Box::new(outcome) }
    }

    #[test]
    fn a_timer_never_ends_a_slot_that_was_extended_since_it_looked() {
        let mut known = opened_at(2);
        assert!(judge(&known, 3, 0, &stopped(FrozenBy::Timer, Some(2))).is_ok());
        known.note(3, 0, &Event::SlotExtended { slot: SLOT, ends_at: None });
        let late = judge(&known, 4, 0, &stopped(FrozenBy::Timer, Some(2)));
        assert_eq!(late, Err(Refusal::Overtaken(SlotStatus::Voting)));
        assert!(judge(&known, 4, 0, &stopped(FrozenBy::Operator, None)).is_ok());
        assert!(judge(&known, 4, 0, &vote()).is_ok(), "an extended slot takes votes on");
    }

    #[test]
    fn a_result_of_an_earlier_freeze_is_not_the_slots() {
        let mut known = opened_at(2);
        known.note(3, 0, &stopped(FrozenBy::Timer, Some(2)));
        assert!(judge(&known, 4, 0, &decided(3)).is_ok());
        known.note(4, 0, &Event::SlotReopened { slot: SLOT, ends_at: None });
        assert!(judge(&known, 5, 0, &vote()).is_ok());
        assert_eq!(judge(&known, 5, 0, &decided(3)), Err(Refusal::WrongState(SlotStatus::Voting)));
        known.note(6, 0, &stopped(FrozenBy::Operator, None));
        assert_eq!(judge(&known, 7, 0, &decided(3)), Err(Refusal::Overtaken(SlotStatus::Frozen)));
        assert!(judge(&known, 7, 0, &decided(6)).is_ok());
        known.note(7, 0, &decided(6));
        for again in [decided(6), Event::SlotReopened { slot: SLOT, ends_at: None }] {
            assert_eq!(judge(&known, 8, 0, &again), Err(Refusal::WrongState(SlotStatus::Locked)));
        }
    }

    #[test]
    fn one_slot_of_a_season_takes_votes_at_a_time() {
        let mut known = opened_at(2);
        let open = |slot| Event::SlotOpened { slot: SlotNo(slot), ends_at: None, hidden: false };
        known.note(3, 0, &Event::SlotCreated(Slot { no: SlotNo(1), season: SeasonNo(0), position: 2 }));
        known.note(4, 0, &Event::SlotCreated(Slot { no: SlotNo(2), season: SeasonNo(1), position: 1 }));
        assert_eq!(judge(&known, 5, 0, &open(1)), Err(Refusal::AnotherVotes));
        assert!(judge(&known, 5, 0, &open(2)).is_ok(), "seasons don't wait for each other");
        known.note(5, 0, &stopped(FrozenBy::Operator, None));
        assert!(judge(&known, 6, 0, &open(1)).is_ok());
        known.note(6, 0, &open(1));
        let reopen = Event::SlotReopened { slot: SLOT, ends_at: None };
        assert_eq!(judge(&known, 7, 0, &reopen), Err(Refusal::AnotherVotes));
        assert!(judge(&known, 6, 0, &reopen).is_ok(), "what came later does not reach back");
    }

    #[test]
    fn a_frozen_slot_takes_no_clip() {
        let mut known = opened_at(2);
        let draft = ClipDraft { title: "Late".into(), ..ClipDraft::default() };
        let clip = Clip { no: ClipNo(9), slot: SLOT, id: ClipId::new("late").unwrap(), draft };
        let added = Event::ClipAdded(Box::new(clip));
        assert!(judge(&known, 3, 0, &added).is_ok());
        known.note(3, 0, &stopped(FrozenBy::Operator, None));
        assert_eq!(judge(&known, 4, 0, &added), Err(Refusal::WrongState(SlotStatus::Frozen)));
    }

    proptest! {
        /// Any steps that were accepted one by one: what was forgotten on the way is missed by none behind it, a slot lives in one
        /// direction but for reopening, and one slot of the season votes at a time.
        #[test]
        fn a_life_that_was_cut_short_judges_as_a_whole_one(
            steps in prop::collection::vec((0_u32..3, 0_u8..6, 0_u64..4), 1..200),
        ) {
            let mut whole = Transitions::default();
            for slot in 0..3 {
                let created = Slot { no: SlotNo(slot), season: SeasonNo(0), position: slot + 1 };
                whole.note(u64::from(slot) + 1, 0, &Event::SlotCreated(created));
            }
            let mut cut = whole.clone();
            for ((slot, verb, back), seq) in steps.into_iter().zip(4..) {
                let slot = SlotNo(slot);
                let last = whole.last_step(slot, seq).map_or(0, |step| step.seq);
                let outcome = Outcome { frozen_at: last - back.min(last), winner: None, decided: Decided::Tally, root: None };
                let event = match verb {
                    0 => Event::SlotWaits(slot),
                    1 => Event::SlotOpened { slot, ends_at: None, hidden: false },
                    2 => Event::SlotStopped { slot, by: FrozenBy::Timer, after: Some(last - back.min(last)) },
                    3 => Event::SlotExtended { slot, ends_at: None },
                    4 => Event::SlotReopened { slot, ends_at: None },
                    _ => Event::SlotDecided { slot, outcome: Box::new(outcome) },
                };
                let verdict = judge(&whole, seq, 0, &event);
                prop_assert_eq!(judge(&cut, seq, 0, &event), verdict);
                let before = whole.status(slot, seq);
                if verdict.is_ok() {
                    whole.note(seq, 0, &event);
                    cut.note(seq, 0, &event);
                    let now = whole.status(slot, seq + 1);
                    let reopened = matches!(event, Event::SlotReopened { .. });
                    prop_assert!(now >= before || reopened);
                    prop_assert!(before != Some(SlotStatus::Locked), "what is locked stays");
                }
                cut.forget_before(seq - back.min(seq));
                let votes = |slot: &u32| whole.status(SlotNo(*slot), seq + 1) == Some(SlotStatus::Voting);
                prop_assert!((0..3).filter(votes).count() <= 1);
                prop_assert!(cut.slots.iter().all(|life| life.moves.len() <= MOVES_KEPT + 5));
            }
        }
    }
}
