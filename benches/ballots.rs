//! Ballots alone: what a claim and its settlement cost, the memory of ten million voters with one vote each, and for how long
//! a shard is locked when their slot is forgotten.
//!
//!     cargo bench --bench ballots

#![allow(missing_docs, reason = "criterion's macros make undocumented items")]

use std::cell::Cell;
use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput, criterion_group};
use plaudit::ballots::{Ballots, Claim, Place, SHARDS};
use plaudit::domain::{ClipNo, VoterId};

/// As the program has.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Voters of the memory print; the bar is 64 bytes each.
const VOTERS: u64 = 10_000_000;

fn claim_and_settle(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("ballots");
    group.throughput(Throughput::Elements(1)).sample_size(10).measurement_time(Duration::from_secs(3));
    let ballots = Ballots::new(200, u64::MAX);
    let next = Cell::new(0);
    group.bench_function("claim and settle, each of a new voter", |bencher| {
        bencher.iter(|| vote(&ballots, next.replace(next.get() + 1)));
    });
    group.bench_function("claim that meets a vote that stands", |bencher| {
        let known = voter(0);
        bencher.iter(|| black_box(ballots.claim(known, ClipNo(0), 1, 1, |_, _| true)));
    });
    group.finish();
}

fn vote(ballots: &Ballots, number: u64) {
    let mut claimed = Place::NONE;
    let claim = ballots.claim(voter(number), ClipNo(0), 1, 1, |_, place| {
        claimed = place;
        true
    });
    assert_eq!(claim, Claim::Sent { remaining: 199 });
    ballots.settle(voter(number), claimed, number + 1);
}

#[expect(clippy::print_stdout, reason = "a benchmark prints its result")]
fn memory() {
    let before = resident();
    let ballots = Ballots::new(200, u64::MAX);
    (0..VOTERS).for_each(|number| vote(&ballots, number));
    let bytes = resident() - before;
    println!("{VOTERS} voters with one vote each: {bytes} bytes, {} a voter (bar 64)", bytes / VOTERS);
    forget(&ballots);
}

/// As when their slot has been locked and the day is over: all go, some of each shard in turn.
#[expect(clippy::print_stdout, reason = "a benchmark prints its result")]
fn forget(ballots: &Ballots) {
    const AT_ONCE: usize = 256;
    let (mut locked, mut from, mut more) = (Vec::new(), 0, true);
    while std::mem::take(&mut more) {
        for shard in 0..SHARDS {
            let began = Instant::now();
            more |= ballots.forget(shard, from..from + AT_ONCE, 2, |_| true);
            locked.push(began.elapsed());
        }
        from += AT_ONCE;
    }
    assert_eq!(ballots.voters(), 0);
    locked.sort_unstable();
    let (all, at) = (locked.iter().sum::<Duration>(), |part: usize| locked[locked.len() * part / 1000]);
    println!(
        "forgetting them, {AT_ONCE} at once: {} ns each; their shard is locked for {:.0?} (median), {:.0?} (p99), {:.0?} (p999)",
        all.as_nanos() / u128::from(VOTERS),
        at(500),
        at(990),
        at(999)
    );
}

/// Resident memory of this process in bytes; 0 where the system doesn't say.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok()).unwrap_or(0) * 1024
}

/// Ids that are spread as hashes are, without the price of one.
fn voter(number: u64) -> VoterId {
    let mix = |seed: u64| {
        let z = (seed ^ (seed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    };
    let mut id = [0; 16];
    id[..8].copy_from_slice(&mix(number.wrapping_mul(0x9e37_79b9_7f4a_7c15)).to_be_bytes());
    id[8..].copy_from_slice(&mix(!number).to_be_bytes());
    VoterId(id)
}

criterion_group!(benches, claim_and_settle);

fn main() {
    // `cargo test --benches` runs this without the flag: ten million voters are for a bench.
    if std::env::args().any(|arg| arg == "--bench") {
        memory();
    }
    benches();
    Criterion::default().configure_from_args().final_summary();
}
