//! The bytes that may wait for all viewers together, and how much of them one viewer may have.
//!
//! All queues share it, so it is counters alone: two that ask at once may pass the bound by what they ask for. Never: a lock, or
//! whose bytes they are.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::metrics::Metrics;

/// The bytes that may wait, and those that do.
#[derive(Debug)]
pub(super) struct Budget {
    /// For one viewer.
    of_one: usize,
    /// For all of them.
    of_all: usize,
    waiting: AtomicUsize,
    viewers: AtomicUsize,
    pub(super) metrics: Arc<Metrics>,
}

impl Budget {
    pub(super) fn new(of_one: usize, of_all: usize, metrics: Arc<Metrics>) -> Self {
        Self { of_one, of_all, waiting: AtomicUsize::new(0), viewers: AtomicUsize::new(0), metrics }
    }

    /// Bytes that wait for all viewers.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// Viewers that there are.
    pub(super) fn viewers(&self) -> usize {
        self.viewers.load(Ordering::Relaxed)
    }

    /// One more viewer, with a queue that holds nothing.
    pub(super) fn viewer_came(&self) {
        self.viewers.fetch_add(1, Ordering::Relaxed);
    }

    /// One viewer less. What its queue held is given back on its own.
    pub(super) fn viewer_went(&self) {
        self.viewers.fetch_sub(1, Ordering::Relaxed);
    }

    /// Half of what may wait for one viewer.
    pub(super) fn half_of_one(&self) -> usize {
        self.of_one / 2
    }

    /// Whether a queue may come to hold so many bytes by so many more. Once half of what there is for all is taken, each
    /// gets an equal part of the other half: so the queues that have grown are closed, and not those that hold nothing.
    pub(super) fn admits(&self, holds: usize, more: usize) -> bool {
        let all = self.waiting() + more;
        let half = self.of_all / 2;
        let part = half / self.viewers().max(1);
        holds <= self.of_one && all <= self.of_all && (all <= half || holds <= part)
    }

    pub(super) fn take(&self, bytes: usize) {
        self.waiting.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(super) fn give_back(&self, bytes: usize) {
        // All viewers share it: an idle write would still take it from the other cores.
        if bytes > 0 {
            self.waiting.fetch_sub(bytes, Ordering::Relaxed);
        }
    }
}
