//! Verdicts, one by one and over whole lives, some of them cut short.

use proptest::prelude::*;

use super::*;
use crate::domain::{Clip, ClipDraft, ClipId, ClipNo, Decided, FrozenBy, Outcome, VoidBy, VoidPlan, Vote, VoteKind};

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
