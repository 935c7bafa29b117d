//! The boards and timelines against a naive model: random votes, retractions, voids, days, slots that hide their counts and show them
//! again, locks that take a slot's blocks away, restarts, and clocks that jump.

mod checks;
mod follow;
mod minutes;
mod steps;
mod voids;
mod world;

use proptest::prelude::*;

use super::*;
use steps::{Step, step};
use world::World;

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, max_shrink_iters: 300, ..ProptestConfig::default() })]
    #[test]
    fn boards_and_timelines_are_what_a_naive_model_says(steps in prop::collection::vec(step(), 1..120)) {
        let mut world = World::new();
        world.apply();
        for step in steps {
            world.take(step);
            if step == Step::Look {
                world.check();
            }
        }
        world.apply();
        world.check();
    }
}
