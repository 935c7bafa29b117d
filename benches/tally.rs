//! What one add costs with 1 to 16 writers on one clip: a tally, a pair of atomics, a mutex.
//!
//! A figure is the time an add takes when all writers' adds are counted together; less is better.

use std::hint::black_box;
use std::sync::Barrier;
use std::sync::atomic::{AtomicI64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use parking_lot::Mutex;
use plaudit::tally::Tally;

/// As the program has.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

trait Counter: Sync {
    fn add(&self, votes: i64, weight: i64, hint: u64);
    fn votes(&self) -> u64;
}

impl Counter for Tally {
    fn add(&self, votes: i64, weight: i64, hint: u64) {
        Tally::add(self, votes, weight, hint);
    }

    fn votes(&self) -> u64 {
        self.read().0
    }
}

#[derive(Default)]
struct Atomics(AtomicI64, AtomicI64);

impl Counter for Atomics {
    fn add(&self, votes: i64, weight: i64, _: u64) {
        self.0.fetch_add(votes, Ordering::Relaxed);
        self.1.fetch_add(weight, Ordering::Relaxed);
    }

    fn votes(&self) -> u64 {
        self.0.load(Ordering::Relaxed).unsigned_abs()
    }
}

#[derive(Default)]
struct Locked(Mutex<(i64, i64)>);

impl Counter for Locked {
    fn add(&self, votes: i64, weight: i64, _: u64) {
        let mut pair = self.0.lock();
        pair.0 += votes;
        pair.1 += weight;
    }

    fn votes(&self) -> u64 {
        self.0.lock().0.unsigned_abs()
    }
}

/// Adds at least `adds` votes from `writers` threads at once; the time from the first writer's start to the last one's
/// end. A voter's hash is as good as random, so the hints are too.
fn run(counter: &impl Counter, writers: u64, adds: u64) -> Duration {
    let share = adds.div_ceil(writers);
    let ready = Barrier::new(usize::try_from(writers).expect("a few"));
    let write = &|mut hint: u64| {
        ready.wait();
        let began = Instant::now();
        for _ in 0..share {
            hint = hint.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            counter.add(black_box(1), black_box(3), hint >> 33);
        }
        (began, Instant::now())
    };
    let spans: Vec<_> = thread::scope(|scope| {
        let threads: Vec<_> = (0..writers).map(|writer| scope.spawn(move || write(writer))).collect();
        threads.into_iter().map(|thread| thread.join().expect("a writer does not panic")).collect()
    });
    assert_eq!(counter.votes(), share * writers, "a lost add makes the figure worthless");
    let began = spans.iter().map(|span| span.0).min().expect("a writer at least");
    let ended = spans.iter().map(|span| span.1).max().expect("a writer at least");
    // The shares were rounded up: charge what was asked for.
    let nanos = (ended - began).as_nanos() * u128::from(adds) / u128::from(share * writers);
    Duration::from_nanos(u64::try_from(nanos).expect("less than centuries"))
}

fn writers(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("add");
    group.sample_size(10).warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(2));
    group.throughput(Throughput::Elements(1));
    for writers in [1, 2, 4, 8, 16] {
        group.bench_function(BenchmarkId::new("tally", writers), |bench| {
            bench.iter_custom(|adds| run(&Tally::new(100), writers, adds));
        });
        group.bench_function(BenchmarkId::new("atomics", writers), |bench| {
            bench.iter_custom(|adds| run(&Atomics::default(), writers, adds));
        });
        group.bench_function(BenchmarkId::new("mutex", writers), |bench| {
            bench.iter_custom(|adds| run(&Locked::default(), writers, adds));
        });
    }
    group.finish();
}

criterion_group!(benches, writers);
criterion_main!(benches);
