//! Voters who ask to be forgotten: whatever happens meanwhile, at the end no byte of either store names them, and everything that
//! was counted is counted still.
//!
//! The simulation runs random votes, retractions, comments, likes, reports, voids, freezes, locks, days, restarts and crashes; some voters
//! are erased on the way and do nothing afterwards. The log that was written is read once more by plain rules, which know nothing
//! of erasures. A seed that fails is printed; `PLAUDIT_ERASURE_SEED=<seed> cargo test --test erasure` runs it alone.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a test fails by panicking and prints what it saw"
)]

#[path = "../support/cases.rs"]
mod cases;
mod cuts;
#[path = "../support/kept.rs"]
mod kept;
mod naive;
mod rig;
#[path = "../support/simulation.rs"]
mod simulation;
mod stories;
#[path = "../support/mod.rs"]
mod support;
#[path = "../support/through.rs"]
mod through;
mod traces;
mod world;

use std::sync::Arc;

use kept::Blocks;
use plaudit::clock::ManualClock;
use plaudit::domain::{CommentChange, ErasurePart, Event, Logged};
use plaudit::engine::recheck_stores;
use plaudit::log::block::genesis;
use plaudit::store::FaultyDisk;
use rig::{open, verified};
use simulation::{Dice, Seen, Simulation};
use support::{NOON, voter};
use traces::nothing_is_left;
use world::World;

const STEPS: usize = 90;
const SLOTS: u32 = 3;
const CLIPS: u32 = 3;
const VOTERS: u64 = 7;
/// Never asks to be forgotten.
const STAYS: u64 = VOTERS - 1;

async fn simulate(seed: u64, seen: &Seen) {
    let mut dice = Dice(seed);
    let (disk, clock, blocks) = (FaultyDisk::new(seed), Arc::new(ManualClock::at(NOON)), Blocks::default());
    let engine = open(&disk, &clock, &blocks).unwrap();
    let mut world = World::over(disk, clock, blocks, engine);
    world.stage().await;
    for _ in 0..STEPS {
        world.step(&mut dice).await;
    }
    world.disk.repair();
    world.crash(dice.roll(u64::MAX / 2), None);
    world.forget().await;
    let naive = world.check();
    let engine = world.engine().clone();
    let mut certificates = Vec::new();
    for position in 1..=SLOTS {
        let certificate = engine.certificate("s", position, None).unwrap();
        // Theirs as well: whoever has the credential still has the id.
        for (who, clip, ..) in naive.votes.values() {
            if clip.0 / CLIPS + 1 == position {
                let proof = engine.proof("s", position, *who, &naive.clips[clip]).unwrap();
                assert!(proof.holds() && proof.root.0 == certificate.root);
            }
        }
        certificates.push(certificate);
    }
    engine.close().unwrap();
    drop(engine);
    world.engine = None;
    verified(&world.disk);
    for certificate in &certificates {
        let (log, tables) = (world.disk.open("log"), world.disk.open("tables"));
        let found = recheck_stores(log.as_ref(), tables, genesis([0; 16]), [0; 16], certificate).unwrap();
        assert_eq!(found.problems, Vec::<String>::new());
    }
    nothing_is_left(&world.disk, &world.leaving);
    // A start that knows none of them any more comes to the same.
    world.crash(0, None);
    let engine = world.engine();
    let again: Vec<_> = (1..=SLOTS).map(|position| engine.certificate("s", position, None).unwrap()).collect();
    assert_eq!(again, certificates);
    note(&world.history(), seen);
    seen.add("lives", world.lives);
    let theirs = naive.votes.values().filter(|(of, ..)| world.leaving.iter().any(|who| voter(*who) == *of));
    seen.add("votes of the erased", theirs.count() as u64);
}

/// What a run's log has of each.
fn note(history: &[Logged], seen: &Seen) {
    for logged in history {
        match &logged.event {
            Event::ErasureBegun { .. } => seen.add("erasures", 1),
            Event::ErasureEnded(_) => seen.add("ends", 1),
            Event::CommentChanged(_, CommentChange::Emptied) => seen.add("emptied comments", 1),
            Event::CommentChanged(_, CommentChange::Unnamed { .. }) => seen.add("nameless likes and reports", 1),
            Event::ErasureWent { part: ErasurePart::Clips { .. }, .. } => seen.add("clips", 1),
            Event::VoidTaken { .. } => seen.add("voids", 1),
            Event::VoidLifted { .. } => seen.add("liftings", 1),
            Event::Retracted(_) => seen.add("retractions", 1),
            Event::SlotReopened { .. } => seen.add("reopenings", 1),
            _ => {}
        }
    }
}

#[test]
fn whatever_happens_nothing_is_left_of_who_was_erased_and_everything_counts_on() {
    let simulation = Simulation { variable: "PLAUDIT_ERASURE_SEED", seeds: 120, kinds: 11, least: 30 };
    simulation.run(simulate);
}
