//! What being watched costs: a count, an observation, a look at the clock, and asking whether a request is traced. A vote pays
//! a few counts and the question; one voter in 16 pays four looks at the clock and two observations more, a batch's first entry two
//! and one.
//!
//!     cargo bench --bench metrics

#![allow(missing_docs, reason = "criterion's macros make undocumented items")]

use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::{Criterion, criterion_group};
use plaudit::metrics::{Metrics, VoteResult};
use plaudit::traces;

/// As the program has.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn watched(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("metrics");
    group.sample_size(10).measurement_time(Duration::from_secs(2));
    let metrics = Metrics::default();
    group.bench_function("a result counted", |bencher| {
        bencher.iter(|| metrics.results.count(black_box(VoteResult::Counted)));
    });
    group.bench_function("a duration observed", |bencher| {
        bencher.iter(|| metrics.claim.observe(black_box(Duration::from_micros(3))));
    });
    group.bench_function("a look at the clock", |bencher| bencher.iter(Instant::now));
    group.bench_function("whether it is traced, off", |bencher| bencher.iter(traces::is_traced));
    group.finish();
}

criterion_group!(benches, watched);

fn main() {
    // Without the flag it is only looked at by `cargo test --benches`.
    if std::env::args().any(|arg| arg == "--bench") {
        benches();
    }
}
