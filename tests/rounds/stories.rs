//! What a restart finds and does, one story each.

use std::sync::Arc;
use std::time::Duration;

use plaudit::clock::{Clock, ManualClock};
use plaudit::codec::{self, Kind};
use plaudit::domain::{ClipDraft, ClipId, ClipNo, FrozenBy, SlotStatus, VoteKind};
use plaudit::engine::{Ack, Engine, RoundSettings, Settings, SlotView, verify_stores};
use plaudit::error::Reject;
use plaudit::fold::keys::{self, Table};
use plaudit::fold::records::{FirstSlotRecord, SlotRecord};
use plaudit::log::block::genesis;
use plaudit::store::FaultyDisk;

use crate::support::{NOON, key, stage, voter};

const MANUAL: RoundSettings = RoundSettings { automatic: false, slot_ms: None, min_clips: 2 };
const AUTO: RoundSettings = RoundSettings { automatic: true, ..MANUAL };

struct Story {
    disk: FaultyDisk,
    clock: Arc<ManualClock>,
}

impl Story {
    fn new() -> Self {
        Self { disk: FaultyDisk::new(1), clock: Arc::new(ManualClock::at(NOON)) }
    }

    fn open(&self, rounds: RoundSettings) -> Engine {
        let settings = Settings { reconcile_every_s: 0, rounds, ..Settings::new("unused", key()) };
        let clock: Arc<dyn Clock> = Arc::<ManualClock>::clone(&self.clock);
        Engine::over(settings, clock, self.disk.open("log"), self.disk.open("tables")).unwrap()
    }
}

/// Looks until the slot is in that state.
async fn until(engine: &Engine, position: u32, status: SlotStatus) -> SlotView {
    let waited = tokio::time::timeout(Duration::from_mins(3), async {
        loop {
            let slot = engine.slot("s", position).unwrap();
            if slot.status == status {
                return slot;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    waited.await.unwrap_or_else(|_| panic!("slot {position} never was {status:?}"))
}

#[tokio::test]
async fn what_ended_while_no_server_ran_is_frozen_before_anyone_is_answered_and_then_locked() {
    let story = Story::new();
    let engine = story.open(MANUAL);
    stage(&engine, 2).await;
    engine.extend_slot("s", 1, Some(NOON + 1_000)).await.unwrap();
    engine.vote(voter(1), "c1", VoteKind::Standard).await.unwrap();
    drop(engine);
    story.clock.set(NOON + 1_000);
    let engine = story.open(AUTO);
    assert!(engine.slot("s", 1).unwrap().status >= SlotStatus::Frozen);
    assert_eq!(engine.vote(voter(2), "c0", VoteKind::Standard).await, Err(Reject::VotingClosed));
    let locked = until(&engine, 1, SlotStatus::Locked).await;
    assert_eq!(locked.winner.unwrap().as_str(), "c1");
    assert!(engine.season("s").unwrap().finished);
}

#[tokio::test]
async fn an_operators_freeze_outlives_a_restart() {
    let story = Story::new();
    let engine = story.open(AUTO);
    stage(&engine, 2).await;
    engine.extend_slot("s", 1, Some(NOON + 1_000)).await.unwrap();
    engine.freeze_slot("s", 1).await.unwrap();
    drop(engine);
    story.clock.set(NOON + 2_000);
    let engine = story.open(MANUAL);
    for _ in 0..3 {
        assert_eq!(engine.step_rounds().await, Ok(0), "it is the operator's");
    }
    assert_eq!(engine.slot("s", 1).unwrap().frozen_by, Some(FrozenBy::Operator));
    engine.reopen_slot("s", 1, None).await.unwrap();
    assert_eq!(engine.slot("s", 1).unwrap().ends_at, None, "its old end has passed");
}

#[tokio::test]
async fn a_lock_that_died_behind_its_freeze_goes_on_after_the_restart() {
    let mut resumed = 0;
    for seed in 0..16 {
        let story = Story::new();
        let engine = story.open(MANUAL);
        stage(&engine, 2).await;
        engine.vote(voter(1), "c1", VoteKind::Standard).await.unwrap();
        // Nothing is left to be applied: the flush that is held is the freeze's.
        engine.drain().await.unwrap();
        story.disk.hold_flushes(true);
        let locking = tokio::spawn({
            let engine = engine.clone();
            async move { engine.lock_slot("s", 1).await }
        });
        while story.disk.held_flushes() == 0 {
            tokio::task::yield_now().await;
        }
        // What was put and not flushed may be kept or not, as the seed has it.
        story.disk.crash(seed);
        assert_eq!(locking.await.unwrap().map(drop), Err(Reject::StorageFailed));
        drop(engine);
        let engine = story.open(MANUAL);
        if engine.slot("s", 1).unwrap().status == SlotStatus::Frozen {
            assert_eq!(engine.slot("s", 1).unwrap().frozen_by, Some(FrozenBy::Lock));
            drop(engine);
            let locked = until(&story.open(AUTO), 1, SlotStatus::Locked).await;
            assert_eq!(locked.winner.unwrap().as_str(), "c1");
            resumed += 1;
        } else {
            assert_eq!(engine.slot("s", 1).unwrap().status, SlotStatus::Voting);
        }
    }
    assert!((1..16).contains(&resumed), "{resumed} of 16 had their freeze on the disk");
}

#[tokio::test]
async fn by_hand_nothing_moves_by_itself() {
    let story = Story::new();
    let engine = story.open(MANUAL);
    stage(&engine, 2).await;
    engine.create_slot("s", None).await.unwrap();
    engine.extend_slot("s", 1, Some(NOON + 1_000)).await.unwrap();
    story.clock.set(NOON + 5_000);
    drop(engine);
    let engine = story.open(MANUAL);
    engine.vote(voter(1), "c0", VoteKind::Standard).await.expect("its end is for show");
    engine.lock_slot("s", 1).await.unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(engine.slot("s", 2).unwrap().status, SlotStatus::Upcoming);
}

#[tokio::test]
async fn an_operators_wait_goes_before_the_seasons_order_and_opens_with_enough_clips() {
    let story = Story::new();
    let engine = story.open(MANUAL);
    stage(&engine, 2).await;
    for _ in 2..=4 {
        engine.create_slot("s", None).await.unwrap();
    }
    engine.lock_slot("s", 1).await.unwrap();
    engine.open_slot("s", 3, None, false).await.unwrap();
    for n in 0..2 {
        let draft = ClipDraft { title: "Next".into(), ..ClipDraft::default() };
        engine.add_clip("s", 3, Some(ClipId::new(&format!("n{n}")).unwrap()), draft).await.unwrap();
        assert_eq!(engine.step_rounds().await.unwrap(), n, "with its second clip");
    }
    assert_eq!(engine.slot("s", 3).unwrap().status, SlotStatus::Voting);
    engine.lock_slot("s", 3).await.unwrap();
    engine.step_rounds().await.unwrap();
    assert_eq!(engine.slot("s", 4).unwrap().status, SlotStatus::WaitingForClips, "the one behind, not the one before");
    assert_eq!(engine.slot("s", 2).unwrap().status, SlotStatus::Upcoming);
}

#[tokio::test]
async fn verify_names_a_winner_that_the_ballots_do_not_make() {
    let story = Story::new();
    let engine = story.open(MANUAL);
    stage(&engine, 2).await;
    engine.vote(voter(1), "c1", VoteKind::Standard).await.unwrap();
    engine.lock_slot("s", 1).await.unwrap();
    engine.close().unwrap();
    drop(engine);
    let verified =
        || verify_stores(story.disk.open("log").as_ref(), story.disk.open("tables"), genesis([0; 16]), false);
    assert_eq!(verified().unwrap().problems, Vec::<String>::new());
    let at = keys::page(Table::Slots, 0);
    let forged = |record: &[u8]| {
        let mut slot = SlotRecord::read("tables", &at, record).unwrap();
        slot.outcome.as_mut().unwrap().winner = Some(ClipNo(0));
        Some(codec::record(Kind::Slot, &at, &slot))
    };
    assert!(story.disk.alter("tables", &at, forged));
    let problems = verified().unwrap().problems;
    assert_eq!(problems, ["slot number 0, position 1: clip c0 won, by the recount clip c1 does"]);
}

/// Answers that come before settlement: the timer must not ask again for what is on its way.
#[tokio::test]
async fn with_early_answers_each_step_is_asked_for_once() {
    let disk = FaultyDisk::new(1);
    let clock = Arc::new(ManualClock::at(NOON));
    let rounds = RoundSettings { slot_ms: Some(1_000), ..MANUAL };
    let settings = Settings { ack: Ack::Memory, reconcile_every_s: 0, rounds, ..Settings::new("unused", key()) };
    let shared: Arc<dyn Clock> = Arc::<ManualClock>::clone(&clock);
    let engine = Engine::over(settings, shared, disk.open("log"), disk.open("tables")).unwrap();
    stage(&engine, 2).await;
    clock.advance(1_000);
    for _ in 0..8 {
        let (one, two) = tokio::join!(engine.step_rounds(), engine.step_rounds());
        one.unwrap();
        two.unwrap();
    }
    assert_eq!(engine.slot("s", 1).unwrap().status, SlotStatus::Locked);
    assert_eq!(engine.metrics().dead_letter.get(), 0, "nothing was asked for twice");
}

/// A store whose slots are written as the first programs did: read, and written anew with the slot's next step.
#[tokio::test]
async fn a_store_of_the_first_programs_goes_on() {
    let story = Story::new();
    let engine = story.open(MANUAL);
    stage(&engine, 2).await;
    engine.vote(voter(1), "c1", VoteKind::Standard).await.unwrap();
    engine.close().unwrap();
    drop(engine);
    let at = keys::page(Table::Slots, 0);
    let aged = |record: &[u8]| {
        let SlotRecord { last, slot, moves, span, hidden, .. } = SlotRecord::read("tables", &at, record).unwrap();
        let first = FirstSlotRecord { last, slot, moves, span, hidden, winner: None };
        Some(codec::record(Kind::FirstSlot, &at, &first))
    };
    assert!(story.disk.alter("tables", &at, aged));
    let engine = story.open(MANUAL);
    assert_eq!(engine.slot("s", 1).unwrap().status, SlotStatus::Voting);
    engine.lock_slot("s", 1).await.unwrap();
    engine.close().unwrap();
    drop(engine);
    let engine = story.open(MANUAL);
    assert_eq!(engine.slot("s", 1).unwrap().winner.unwrap().as_str(), "c1");
}
