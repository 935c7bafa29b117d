//! Cases of a simulation, side by side.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};

/// Cases at once: a case mostly waits for the engine's threads.
const SIDE_BY_SIDE: usize = 16;

/// Runs every case, several at a time, each with a runtime of its own; names the one that fails.
pub(crate) fn each(name: &str, cases: impl IntoIterator<Item = u64>, case: impl AsyncFn(u64) + Sync) {
    let cases: Vec<u64> = cases.into_iter().collect();
    let next = AtomicUsize::new(0);
    let work = || {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        for of in std::iter::from_fn(|| cases.get(next.fetch_add(1, Ordering::Relaxed))) {
            if let Err(failed) = catch_unwind(AssertUnwindSafe(|| runtime.block_on(case(*of)))) {
                eprintln!("failed: {name}={of}");
                resume_unwind(failed);
            }
        }
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..SIDE_BY_SIDE.min(cases.len())).map(|_| scope.spawn(work)).collect();
        for worker in workers {
            if let Err(failed) = worker.join() {
                resume_unwind(failed);
            }
        }
    });
}
