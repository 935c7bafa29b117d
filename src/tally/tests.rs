//! Sums against a plain addition, from one thread and from many.

use std::sync::Barrier;
use std::thread;

use proptest::prelude::*;

use super::*;

fn adds() -> impl Strategy<Value = Vec<(i64, i64, u64)>> {
    prop::collection::vec((-2..=3i64, -10..=10i64, any::<u64>()), 0..200)
}

fn clamped(sum: i64) -> u64 {
    u64::try_from(sum).unwrap_or(0)
}

/// Adds each list from a thread of its own, all at once.
fn add_from_threads(tally: &Tally, lists: &[Vec<(i64, i64, u64)>]) {
    let start = &Barrier::new(lists.len());
    thread::scope(|scope| {
        for list in lists {
            scope.spawn(move || {
                start.wait();
                for &(votes, weight, hint) in list {
                    tally.add(votes, weight, hint);
                }
            });
        }
    });
}

fn widened(stripes: usize) -> Tally {
    let tally = Tally::new(stripes);
    (0..COLLIDED_MAX).for_each(|_| tally.note_collision());
    tally
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn adds_from_threads_sum_up(lists in prop::collection::vec(adds(), 1..5), stripes in 1..20usize, wide: bool) {
        let tally = if wide { widened(stripes) } else { Tally::new(stripes) };
        add_from_threads(&tally, &lists);
        let (votes, weight) = lists.iter().flatten().fold((0, 0), |sum, add| (sum.0 + add.0, sum.1 + add.1));
        prop_assert_eq!(tally.read(), (clamped(votes), clamped(weight)));
    }
}

#[test]
fn nothing_is_lost_when_it_widens_between_adds() {
    let tally = Tally::new(4);
    tally.add(2, 20, 7);
    assert!(!tally.is_wide());
    (0..COLLIDED_MAX).for_each(|_| tally.note_collision());
    assert!(tally.is_wide());
    tally.add(1, 10, 7);
    tally.add(-2, -3, 9);
    assert_eq!(tally.read(), (1, 27));
}

#[test]
fn a_lone_writer_never_widens_it() {
    let tally = Tally::new(100);
    (0..10_000).for_each(|hint| tally.add(1, 3, hint));
    assert_eq!((tally.read(), tally.is_wide()), ((10_000, 30_000), false));
}

#[test]
fn a_tally_of_one_stripe_never_widens() {
    let tally = Tally::new(1);
    (0..10 * COLLIDED_MAX).for_each(|_| tally.note_collision());
    assert!(!tally.is_wide());
}

#[test]
fn a_sum_below_zero_reads_as_zero() {
    let tally = widened(8);
    tally.add(-1, -10, 3);
    assert_eq!(tally.read(), (0, 0));
    tally.add(1, 10, 4);
    assert_eq!(tally.read(), (0, 0));
    tally.add(1, 3, 5);
    assert_eq!(tally.read(), (1, 3));
}

#[test]
fn stripes_have_their_bounds() {
    for bad in [0, STRIPES_MAX + 1] {
        assert!(std::panic::catch_unwind(|| Tally::new(bad)).is_err(), "{bad}");
    }
    assert_eq!(widened(STRIPES_MAX).read(), (0, 0));
}
