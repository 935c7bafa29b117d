//! A clip's counts in memory: a lock-free pair of sums that starts as two atomics and widens to stripes under contention.
//!
//! Most clips are cold, so a tally is one cache line until writers really collide; from then on each writer adds to its
//! own stripe. Nothing here waits for another thread. Never decides whether a vote counts, and is never what a
//! snapshot is made from.

mod sync;

use crossbeam_utils::CachePadded;
use sync::{AtomicI64, AtomicU32, OnceBox, Ordering};

/// The most stripes that a tally can have.
pub const STRIPES_MAX: usize = 1024;

/// Collisions within one [`Tally::add`] after which it stops comparing and adds unconditionally. It bounds the loop.
const TRIES: u32 = if cfg!(plaudit_loom) { 1 } else { 4 };

/// Adds that met [`TRIES`] collisions before the tally widens. Two threads of one batch that brush past each other once
/// must not cost the clip its stripes for good.
const COLLIDED_MAX: u32 = if cfg!(plaudit_loom) { 1 } else { 64 };

/// The count and the weight of one clip.
///
/// All orderings on the sums are relaxed: a tally orders nothing. Who must see an add (a waiter's answer, a push) is
/// woken through a channel, which orders it.
#[derive(Debug)]
pub struct Tally {
    base: Pair,
    /// Adds that gave up comparing; grows to [`COLLIDED_MAX`] and stays near it.
    collided: AtomicU32,
    stripes: u32,
    /// Filled at most once; `base` keeps what was added before and by adds that were under way.
    wide: OnceBox<Vec<CachePadded<Pair>>>,
}

#[cfg(not(plaudit_loom))]
const _: () = assert!(size_of::<Tally>() <= 64, "a cold tally is one cache line");

#[derive(Debug, Default)]
struct Pair {
    votes: AtomicI64,
    weight: AtomicI64,
}

impl Tally {
    /// An empty tally that widens to `stripes` stripes (1 to [`STRIPES_MAX`]) if it has to; with 1 it never does.
    ///
    /// # Panics
    /// When `stripes` is out of its range: the settings are checked at start.
    pub fn new(stripes: usize) -> Self {
        assert!((1..=STRIPES_MAX).contains(&stripes), "1 to {STRIPES_MAX} stripes, not {stripes}");
        let stripes = u32::try_from(stripes).expect("at most 1024");
        Self { base: Pair::default(), collided: AtomicU32::new(0), stripes, wide: OnceBox::new() }
    }

    /// Adds votes and their weight, negative for what was taken back. `hint` picks the stripe: a voter's hash for a
    /// single vote, the worker's number for the sum of a batch.
    pub fn add(&self, votes: i64, weight: i64, hint: u64) {
        if let Some(wide) = self.wide.get() {
            wide[stripe(hint, wide.len())].add(votes, weight);
        } else if self.base.add_comparing(votes, weight) {
            self.note_collision();
        }
    }

    /// (votes, weight) as of some moment of the call, 0 where a sum is below it: a retraction may be seen before its
    /// vote when they fell into different stripes. Exact once writers rest.
    pub fn read(&self) -> (u64, u64) {
        let (mut votes, mut weight) = self.base.read();
        for pair in self.wide.get().into_iter().flatten() {
            let (more_votes, more_weight) = pair.read();
            votes += more_votes;
            weight += more_weight;
        }
        (u64::try_from(votes).unwrap_or(0), u64::try_from(weight).unwrap_or(0))
    }

    /// Whether contention has widened it.
    pub fn is_wide(&self) -> bool {
        self.wide.get().is_some()
    }

    #[cold]
    fn note_collision(&self) {
        let collided = self.collided.fetch_add(1, Ordering::Relaxed) + 1;
        if collided >= COLLIDED_MAX && self.stripes > 1 {
            // A racing thread may widen too; one wins, the other's stripes are dropped unused.
            self.wide.set((0..self.stripes).map(|_| CachePadded::default()).collect());
        }
    }
}

impl Pair {
    fn add(&self, votes: i64, weight: i64) {
        self.votes.fetch_add(votes, Ordering::Relaxed);
        self.weight.fetch_add(weight, Ordering::Relaxed);
    }

    /// Adds, and says whether other writers kept getting in between: an unconditional add could not tell.
    fn add_comparing(&self, votes: i64, weight: i64) -> bool {
        let mut seen = self.votes.load(Ordering::Relaxed);
        let mut collided = true;
        for _ in 0..TRIES {
            match self.votes.compare_exchange(seen, seen.wrapping_add(votes), Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => {
                    collided = false;
                    break;
                }
                Err(now) => seen = now,
            }
        }
        if collided {
            self.votes.fetch_add(votes, Ordering::Relaxed);
        }
        self.weight.fetch_add(weight, Ordering::Relaxed);
        collided
    }

    fn read(&self) -> (i64, i64) {
        (self.votes.load(Ordering::Relaxed), self.weight.load(Ordering::Relaxed))
    }
}

fn stripe(hint: u64, stripes: usize) -> usize {
    usize::try_from(hint % stripes as u64).expect("less than a usize")
}

#[cfg(all(test, not(plaudit_loom)))]
mod tests;

#[cfg(all(test, plaudit_loom))]
mod model;
