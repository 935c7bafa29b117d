//! Every interleaving of a few adds, checked by loom:
//! `RUSTFLAGS="--cfg plaudit_loom" cargo test --manifest-path tests/loom/Cargo.toml --lib`, which `tests/run` does.
//! Thresholds are 1 here, so that a single collision widens: the orders around that moment are what can go wrong.

use loom::sync::Arc;
use loom::thread;

use super::*;

/// Runs the interleavings of one thread for each list of adds, all or those with at most `switches` forced switches, and
/// checks the sums once they rest.
fn check(lists: &'static [&'static [(i64, i64)]], stripes: usize, switches: Option<usize>) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = switches;
    model.check(move || {
        let tally = Arc::new(Tally::new(stripes));
        let writers: Vec<_> = (0u64..)
            .zip(lists)
            .map(|(hint, list)| {
                let tally = Arc::clone(&tally);
                thread::spawn(move || {
                    for &(votes, weight) in *list {
                        tally.add(votes, weight, hint);
                    }
                })
            })
            .collect();
        for writer in writers {
            writer.join().expect("a writer does not panic");
        }
        let sum = lists.iter().copied().flatten().fold((0, 0), |sum, add| (sum.0 + add.0, sum.1 + add.1));
        let (votes, weight) = tally.read();
        assert_eq!((i64::try_from(votes), i64::try_from(weight)), (Ok(sum.0), Ok(sum.1)));
    });
}

#[test]
fn two_writers_lose_nothing_while_it_widens() {
    check(&[&[(1, 3), (1, 10)], &[(1, 1), (1, 1)]], 2, None);
}

#[test]
fn three_writers_lose_nothing_while_two_race_to_widen() {
    check(&[&[(1, 3)], &[(1, 10)], &[(1, 1)]], 2, Some(3));
}

#[test]
fn some_interleaving_widens_it_and_some_does_not() {
    use std::sync::atomic::{AtomicUsize, Ordering as Std};
    static SEEN: [AtomicUsize; 2] = [AtomicUsize::new(0), AtomicUsize::new(0)];
    loom::model(|| {
        let tally = Arc::new(Tally::new(2));
        let other = Arc::clone(&tally);
        let writer = thread::spawn(move || other.add(1, 1, 0));
        tally.add(1, 1, 1);
        writer.join().expect("a writer does not panic");
        SEEN[usize::from(tally.is_wide())].fetch_add(1, Std::Relaxed);
    });
    assert!(SEEN.iter().all(|times| times.load(Std::Relaxed) > 0), "{SEEN:?}");
}

#[test]
fn a_reader_never_sees_more_than_was_added() {
    loom::model(|| {
        let tally = Arc::new(Tally::new(2));
        let writers: Vec<_> = (0..2u64)
            .map(|hint| {
                let tally = Arc::clone(&tally);
                thread::spawn(move || tally.add(1, 2, hint))
            })
            .collect();
        let (votes, weight) = tally.read();
        assert!(votes <= 2 && weight <= 4, "{votes} {weight}");
        for writer in writers {
            writer.join().expect("a writer does not panic");
        }
        assert_eq!(tally.read(), (2, 4));
    });
}
