//! Simulations: runs of seeds, until enough of everything was seen to prove something. A seed that fails prints itself, and runs
//! alone where its variable names it. Never: a choice that does not follow from the seed.

use std::collections::BTreeMap;
use std::sync::Mutex;

use crate::cases::each;

/// As many seeds again, at most so often, while something was seen too seldom to prove anything: a machine that is busy gets less
/// far in a run.
const AGAIN: u64 = 4;

/// A small generator, so that a seed is all of a run's choices.
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn roll(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % below
    }
}

/// How often something happened in all runs, so that a test that sees nothing does not look like one that finds nothing.
#[derive(Default)]
pub(crate) struct Seen(Mutex<BTreeMap<&'static str, u64>>);

impl Seen {
    pub(crate) fn add(&self, what: &'static str, times: u64) {
        *self.0.lock().unwrap().entry(what).or_default() += times;
    }
}

/// How many seeds, and what they must have shown.
pub(crate) struct Simulation {
    /// Names one seed to run alone.
    pub(crate) variable: &'static str,
    /// Of a turn.
    pub(crate) seeds: u64,
    /// How many kinds of things are to be seen, and how often each of them.
    pub(crate) kinds: usize,
    pub(crate) least: u64,
}

impl Simulation {
    /// One turn, and more of them while something is too rare.
    pub(crate) fn run(&self, case: impl AsyncFn(u64, &Seen) + Sync) {
        let seen = Seen::default();
        let case = async |seed| case(seed, &seen).await;
        if let Ok(seed) = std::env::var(self.variable) {
            each(self.variable, [seed.parse().expect("a seed is a number")], case);
            return;
        }
        for turn in 0..=AGAIN {
            each(self.variable, turn * self.seeds..(turn + 1) * self.seeds, case);
            let seen = seen.0.lock().unwrap();
            println!("{seen:?}");
            let rare = seen.iter().filter(|(_, times)| **times < self.least).collect::<Vec<_>>();
            if seen.len() == self.kinds && rare.is_empty() {
                break;
            }
            assert!(turn < AGAIN, "too rare to prove anything: {rare:?}");
        }
    }
}
