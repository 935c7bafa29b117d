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
mod cases;
mod kept;
mod naive;
mod season;
mod stories;
#[path = "../support/mod.rs"]
mod support;
#[path = "../support/through.rs"]
mod through;
mod world;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use cases::each;
use naive::{check, check_certificates, locked};
use plaudit::clock::Clock;
use plaudit::domain::{Decided, Event, FrozenBy, Logged};
use plaudit::engine::{recheck_stores, verify_stores};
use plaudit::log::block::genesis;
use world::{Dice, World};

/// Names one seed to run alone.
const SEED: &str = "PLAUDIT_ROUNDS_SEED";
const SEEDS: u64 = 300;
/// As many seeds again, at most so often, while something was seen too seldom to prove anything: a machine that is busy gets less
/// far in a run.
const AGAIN: u64 = 4;
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
    seen.history(&world.history());
    let locked_now = locked(&world);
    assert!(locked_then.is_subset(&locked_now));
    check_certificates(&mut world, &locked_now);
    seen.add("certificates", world.certificates.len() as u64);
    seen.add("certificates behind a void", world.certificates.keys().filter(|(_, number)| *number > 1).count() as u64);
    seen.add("lives", u64::from(world.lives));
    seen.add("votes told that voting has closed", world.answers.closed);
    seen.add("answers that a crash took", world.answers.unknown.len() as u64);
}

/// How often something happened in all runs, so that a test that sees nothing does not look like one that finds nothing.
#[derive(Default)]
struct Seen(Mutex<BTreeMap<&'static str, u64>>);

impl Seen {
    fn add(&self, what: &'static str, times: u64) {
        *self.0.lock().unwrap().entry(what).or_default() += times;
    }

    fn history(&self, history: &[Logged]) {
        for logged in history {
            match &logged.event {
                Event::Voted(_) | Event::VotedFrom(..) => self.add("votes", 1),
                Event::Retracted(_) => self.add("retractions", 1),
                Event::SlotWaits(_) => self.add("waits", 1),
                Event::SlotOpened { .. } => self.add("openings", 1),
                Event::SlotExtended { .. } => self.add("extensions", 1),
                Event::SlotReopened { .. } => self.add("reopenings", 1),
                Event::SlotStopped { by: FrozenBy::Operator, .. } => self.add("freezes by operators", 1),
                Event::SlotStopped { by: FrozenBy::Timer, .. } => self.add("freezes by the timer", 1),
                Event::SlotStopped { by: FrozenBy::Lock, .. } => self.add("freezes for a lock", 1),
                Event::SlotDecided { outcome, .. } if outcome.decided == Decided::Tally => self.add("locks", 1),
                Event::SlotDecided { outcome, .. } if matches!(outcome.decided, Decided::TallyAfter(_)) => {
                    self.add("locks behind a void", 1);
                }
                Event::SlotDecided { .. } => self.add("winners by hand", 1),
                Event::VoidTaken { .. } => self.add("voids", 1),
                Event::VotesNamed(part) => self.add("voided votes", part.votes.len() as u64),
                Event::VoidLifted { .. } => self.add("liftings", 1),
                Event::ErasureBegun { .. } => self.add("erasures", 1),
                Event::ErasureEnded(_) => self.add("erasures that came to their end", 1),
                _ => {}
            }
        }
    }
}

#[test]
fn rounds_end_as_a_naive_reading_of_the_log_says() {
    let seen = Seen::default();
    let case = async |seed| simulate(seed, &seen).await;
    if let Ok(seed) = std::env::var(SEED) {
        each(SEED, [seed.parse().expect("a seed is a number")], case);
        return;
    }
    for turn in 0..=AGAIN {
        each(SEED, turn * SEEDS..(turn + 1) * SEEDS, case);
        let seen = seen.0.lock().unwrap();
        println!("{seen:?}");
        let rare = seen.iter().filter(|(_, times)| **times < SEEDS / 20).collect::<Vec<_>>();
        if seen.len() == 22 && rare.is_empty() {
            break;
        }
        assert!(turn < AGAIN, "too rare to prove anything: {rare:?}");
    }
}
