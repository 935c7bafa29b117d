//! Rounds under everything at once: random voters, retractions, operators, clocks that jump, crashes at every event, against a
//! naive reading of the log that was written.
//!
//! Every block that is put into the log is kept aside; after a crash those that it took back go from there too. So at the end
//! the whole history is at hand, though the engine drops what it has applied, and it is read event by event by rules that are
//! written down here once more, the plain way. The answers that voters and operators got must agree with it.
//!
//! A seed that fails is printed; `PLAUDIT_ROUNDS_SEED=<seed> cargo test --test rounds` runs it alone.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a test fails by panicking and prints what it saw"
)]
#[path = "../support/cases.rs"]
mod cases;
#[path = "../support/kept.rs"]
mod kept;
mod naive;
mod season;
#[path = "../support/simulation.rs"]
mod simulation;
mod stories;
#[path = "../support/mod.rs"]
mod support;
#[path = "../support/through.rs"]
mod through;
mod world;

use std::sync::Arc;

use naive::{check, check_certificates, locked};
use plaudit::clock::Clock;
use plaudit::domain::{Decided, Event, FrozenBy, Logged};
use plaudit::engine::{recheck_stores, verify_stores};
use plaudit::log::block::genesis;
use simulation::{Dice, Seen, Simulation};
use world::World;

const STEPS: usize = 80;
const SLOTS: u32 = 4;
const VOTERS: u64 = 6;
const SLOT_MS: u64 = 60_000;
const MIN_CLIPS: usize = 2;

async fn simulate(seed: u64, seen: &Seen) {
    let mut dice = Dice(seed);
    // In every other run the engine's own keeper steps too, as it does in a server.
    let mut world = World::new(seed, seed % 2 == 1);
    world.open().unwrap();
    world.stage().await.unwrap();
    let _ = world.engine().open_slot("s", 1, None, dice.roll(2) == 0).await;
    for _ in 0..STEPS {
        world.step(&mut dice).await;
    }
    world.disk.repair();
    world.crash(dice.roll(u64::MAX), None);
    world.settle().await;
    check(&world).is_at_rest(world.clock.now_ms());
    // Elsewhere a life ends, and the next begins, with erasures that wait.
    if dice.roll(2) == 0 {
        world.end_erasures().await;
    }
    let locked_then = locked(&world);
    world.engine().drain().await.unwrap();
    check_certificates(&mut world, &locked_then);
    world.engine().close().unwrap();
    world.engine = None;
    let (log, tables) = (world.disk.open("log"), world.disk.open("tables"));
    let found = verify_stores(log.as_ref(), Arc::clone(&tables), genesis([0; 16]), false).unwrap();
    assert_eq!(found.problems, Vec::<String>::new());
    // All that were ever handed out, each by the store alone.
    for certificate in world.certificates.values() {
        let found = recheck_stores(log.as_ref(), Arc::clone(&tables), genesis([0; 16]), [0; 16], certificate).unwrap();
        assert_eq!(found.problems, Vec::<String>::new(), "certificate {} of {}", certificate.number, certificate.slot);
    }
    drop((log, tables));
    world.open().unwrap();
    world.settle().await;
    check(&world);
    note(&world.history(), seen);
    let locked_now = locked(&world);
    assert!(locked_then.is_subset(&locked_now));
    check_certificates(&mut world, &locked_now);
    seen.add("certificates", world.certificates.len() as u64);
    seen.add("certificates behind a void", world.certificates.keys().filter(|(_, number)| *number > 1).count() as u64);
    seen.add("lives", u64::from(world.lives));
    seen.add("votes told that voting has closed", world.answers.closed);
    seen.add("answers that a crash took", world.answers.unknown.len() as u64);
}

/// What a run's log has of each.
fn note(history: &[Logged], seen: &Seen) {
    for logged in history {
        match &logged.event {
            Event::Voted(_) | Event::VotedFrom(..) => seen.add("votes", 1),
            Event::Retracted(_) => seen.add("retractions", 1),
            Event::SlotWaits(_) => seen.add("waits", 1),
            Event::SlotOpened { .. } => seen.add("openings", 1),
            Event::SlotExtended { .. } => seen.add("extensions", 1),
            Event::SlotReopened { .. } => seen.add("reopenings", 1),
            Event::SlotStopped { by: FrozenBy::Operator, .. } => seen.add("freezes by operators", 1),
            Event::SlotStopped { by: FrozenBy::Timer, .. } => seen.add("freezes by the timer", 1),
            Event::SlotStopped { by: FrozenBy::Lock, .. } => seen.add("freezes for a lock", 1),
            Event::SlotDecided { outcome, .. } if outcome.decided == Decided::Tally => seen.add("locks", 1),
            Event::SlotDecided { outcome, .. } if matches!(outcome.decided, Decided::TallyAfter(_)) => {
                seen.add("locks behind a void", 1);
            }
            Event::SlotDecided { .. } => seen.add("winners by hand", 1),
            Event::VoidTaken { .. } => seen.add("voids", 1),
            Event::VotesNamed(part) => seen.add("voided votes", part.votes.len() as u64),
            Event::VoidLifted { .. } => seen.add("liftings", 1),
            Event::ErasureBegun { .. } => seen.add("erasures", 1),
            Event::ErasureEnded(_) => seen.add("erasures that came to their end", 1),
            _ => {}
        }
    }
}

#[test]
fn rounds_end_as_a_naive_reading_of_the_log_says() {
    let simulation = Simulation { variable: "PLAUDIT_ROUNDS_SEED", seeds: 300, kinds: 22, least: 15 };
    simulation.run(simulate);
}
