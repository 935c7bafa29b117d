//! The atomics of a tally: the real ones, or loom's under `--cfg plaudit_loom`, whose model checker runs every order.

#[cfg(not(plaudit_loom))]
pub(super) use std::sync::atomic::{AtomicI64, AtomicU32, Ordering};

#[cfg(plaudit_loom)]
pub(super) use loom::sync::atomic::{AtomicI64, AtomicU32, Ordering};

/// A place that is filled at most once, by whichever thread comes first, with no lock on any path.
#[cfg(not(plaudit_loom))]
#[derive(Debug)]
pub(super) struct OnceBox<T>(once_cell::race::OnceBox<T>);

#[cfg(not(plaudit_loom))]
impl<T> OnceBox<T> {
    pub(super) fn new() -> Self {
        Self(once_cell::race::OnceBox::new())
    }

    pub(super) fn get(&self) -> Option<&T> {
        self.0.get()
    }

    /// Fills it, or drops `value` when another thread was first.
    pub(super) fn set(&self, value: T) {
        drop(self.0.set(Box::new(value)));
    }
}

/// The model of it. `once_cell` publishes a pointer by a compare-exchange (release) that readers load (acquire);
/// without `unsafe` the model publishes, with the same orderings, the index of a value that its thread has put
/// into a place of its own before. It covers: who wins a race, what is seen of a half-published value, that a loser's
/// value is never used. It does not cover `once_cell`'s own code.
#[cfg(plaudit_loom)]
#[derive(Debug)]
pub(super) struct OnceBox<T> {
    /// 0: empty; else one more than the index of the winner's place.
    winner: loom::sync::atomic::AtomicUsize,
    /// Stands for the heap, so it is outside the model: loom runs one thread at a time, and nothing is read here
    /// that `winner` has not named.
    places: [std::sync::OnceLock<T>; MODELLED_RACERS],
    taken: std::sync::atomic::AtomicUsize,
}

/// More than the model has threads.
#[cfg(plaudit_loom)]
const MODELLED_RACERS: usize = 8;

#[cfg(plaudit_loom)]
impl<T> OnceBox<T> {
    pub(super) fn new() -> Self {
        Self {
            winner: loom::sync::atomic::AtomicUsize::new(0),
            places: std::array::from_fn(|_| std::sync::OnceLock::new()),
            taken: std::sync::atomic::AtomicUsize::new(0),
        }
    }

    pub(super) fn get(&self) -> Option<&T> {
        match self.winner.load(Ordering::Acquire) {
            0 => None,
            winner => self.places[winner - 1].get(),
        }
    }

    pub(super) fn set(&self, value: T) {
        let place = self.taken.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        assert!(self.places[place].set(value).is_ok(), "every racer has a place of its own");
        // A loser's value stays in its place until the model ends; nothing names it.
        let _ = self.winner.compare_exchange(0, place + 1, Ordering::Release, Ordering::Relaxed);
    }
}
