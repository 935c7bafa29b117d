//! A season that nothing disturbs but crashes: however often and wherever it dies, its slots take the same steps.

use std::sync::Mutex;

use plaudit::domain::{Event, SlotStatus, VoteKind};
use plaudit::error::Reject;

use crate::SLOTS;
use crate::cases::each;
use crate::naive::Naive;
use crate::support::voter;
use crate::world::World;

/// One round after the other with nothing but the clock, a voter and an operator who adds the last slot's second clip, for as long
/// as the disk lets it; whoever comes back goes on from what is there.
async fn season(world: &mut World) -> Result<(), Reject> {
    world.stage_missing().await?;
    let engine = world.engine.clone().expect("open");
    if engine.slot("s", 1)?.status == SlotStatus::Upcoming {
        engine.open_slot("s", 1, None, false).await?;
    }
    for position in 1..=SLOTS {
        for _ in 0..4 {
            if engine.slot("s", position)?.status >= SlotStatus::Voting {
                break;
            }
            engine.step_rounds().await?;
        }
        for who in 0..2 {
            let clip = format!("c{}", (position - 1) * 2 + 1);
            match engine.vote(voter(who), &clip, VoteKind::Standard).await {
                Ok(_) | Err(Reject::AlreadyVoted(_) | Reject::VotingClosed) => {}
                Err(other) => return Err(other),
            }
        }
        let slot = engine.slot("s", position)?;
        if slot.status == SlotStatus::Voting {
            world.clock.set(slot.ends_at.expect("the setting's"));
        }
        for _ in 0..4 {
            engine.step_rounds().await?;
        }
        assert_eq!(engine.slot("s", position)?.status, SlotStatus::Locked);
        if position + 1 == SLOTS {
            let waits = engine.slot("s", SLOTS)?.status == SlotStatus::WaitingForClips;
            assert!(waits || world.clips == 2 * SLOTS, "it opens with its clips alone");
            while world.clips < 2 * SLOTS {
                world.add_clip(SLOTS).await?;
            }
        }
    }
    engine.drain().await?;
    Ok(())
}

impl World {
    /// What an earlier life has not come to.
    async fn stage_missing(&mut self) -> Result<(), Reject> {
        self.stage_slots().await?;
        let engine = self.engine.clone().expect("open");
        self.clips = 0;
        while engine.counts(&format!("c{}", self.clips)).is_ok() {
            self.clips += 1;
        }
        while self.clips < 2 * (SLOTS - 1) {
            self.add_clip(self.clips / 2 + 1).await?;
        }
        Ok(())
    }

    /// The steps of all slots, in order, without their sequences.
    fn moves(&self) -> Vec<String> {
        let moves = self.history().into_iter().filter_map(|logged| match logged.event {
            Event::SlotOpened { slot, .. } => Some(format!("{} opens", slot.0)),
            Event::SlotWaits(slot) => Some(format!("{} waits", slot.0)),
            Event::SlotStopped { slot, by, .. } => Some(format!("{} is frozen by the {}", slot.0, by.as_str())),
            Event::SlotDecided { slot, outcome } => Some(format!("{} is won by {:?}", slot.0, outcome.winner)),
            _ => None,
        });
        moves.collect()
    }
}

#[test]
fn a_crash_between_any_two_events_changes_no_step_of_any_slot() {
    let wanted = Mutex::new((Vec::new(), 0));
    each("seed", [0], async |seed| {
        let mut world = World::new(seed, false);
        world.open().unwrap();
        season(&mut world).await.unwrap();
        *wanted.lock().unwrap() = (world.moves(), world.disk.ops());
    });
    let (wanted, operations) = wanted.into_inner().unwrap();
    assert_eq!(wanted.len(), 4 * 3 + 1, "four slots open, freeze and lock, and one waits first: {wanted:?}");
    each("k", 1..=operations, async |k| {
        let mut world = World::new(k, false);
        world.disk.fail_at(k);
        for life in 0..3 {
            let opened = world.engine.is_some() || world.open().is_ok();
            if opened && season(&mut world).await.is_ok() {
                break;
            }
            assert!(life < 2, "k = {k}: no disk fails twice");
            world.crash(k, None);
        }
        assert_eq!(world.moves(), wanted, "k = {k}");
        Naive::read(&world.history());
    });
}
