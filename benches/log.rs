//! The log alone: what an event costs on its way into a block, out of one and into the tables, and how many full blocks a
//! second a real store takes, each flushed.
//!
//!     cargo bench --bench log

#![allow(missing_docs, reason = "criterion's macros make undocumented items")]

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use plaudit::domain::{ClipNo, Event, Logged, SlotNo, Vote, VoteKind, VoterId};
use plaudit::fold::{Effect, Tables, fold};
use plaudit::log::block::{self, Builder, EVENTS_MAX};
use plaudit::store::{FaultyDisk, SledStore, Store};

/// As the program has.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

const NOON: u64 = 1_700_000_000_000;
const CLIPS: u32 = 16;

/// A vote of a voter of its own.
fn vote(seq: u64) -> Event {
    let mut voter = [0; 16];
    voter[..8].copy_from_slice(&seq.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
    voter[8..].copy_from_slice(&seq.to_be_bytes());
    let clip = ClipNo(u32::try_from(seq % u64::from(CLIPS)).expect("few clips"));
    Event::Voted(Vote {
        voter: VoterId(voter),
        clip,
        slot: SlotNo(0),
        kind: VoteKind::Standard,
        weight: 1,
        day: 19_675,
    })
}

/// The votes of a full block that begins with `first`.
fn votes(first: u64) -> Vec<Logged> {
    (first..).take(EVENTS_MAX).map(|seq| Logged { seq, at: NOON + seq / 512, event: vote(seq) }).collect()
}

fn fill(builder: &mut Builder, events: &[Logged]) {
    for Logged { at, event, .. } in events {
        builder.add(*at, event);
    }
    // A partly filled block would be charged as a whole one.
    assert!(builder.is_full());
}

/// A figure is for a whole block; `elem/s` are events.
fn pure(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("block");
    group.throughput(Throughput::Elements(EVENTS_MAX as u64)).sample_size(30);
    group.measurement_time(Duration::from_secs(3));
    let events = votes(1);
    let mut builder = Builder::default();
    group.bench_function("add and seal", |bencher| {
        bencher.iter(|| {
            fill(&mut builder, &events);
            black_box(builder.seal(1, [0; 32]).1)
        });
    });
    fill(&mut builder, &events);
    let record = builder.seal(1, [0; 32]).0.to_vec();
    group.bench_function("read", |bencher| {
        bencher.iter(|| {
            let mut last = 0;
            let visit = |logged: Logged| {
                last = black_box(logged).seq;
                Ok(())
            };
            block::read(&block::key(1), &record, visit).expect("it was just written");
            last
        });
    });
    group.bench_function("fold", |bencher| {
        let fresh = || Tables::open(FaultyDisk::new(1).open("tables")).expect("an empty disk");
        let run = |mut tables: Tables| {
            for logged in &events {
                fold(&mut tables, logged, &Effect::Plain).expect("memory does not fail");
            }
            tables
        };
        bencher.iter_batched(fresh, run, BatchSize::SmallInput);
    });
    group.finish();
}

/// Each block is put and flushed before the next, and the oldest removed as the applier does it.
fn commit(criterion: &mut Criterion) {
    const KEPT: u64 = 64;
    let dir = tempfile::tempdir().expect("a directory");
    let store: Arc<dyn Store> = SledStore::open(&dir.path().join("log"), "log").expect("a store");
    let (mut first, mut previous) = (1, [0; 32]);
    let mut builder = Builder::default();
    let mut group = criterion.benchmark_group("commit");
    group.throughput(Throughput::Elements(EVENTS_MAX as u64)).sample_size(20);
    group.measurement_time(Duration::from_secs(8));
    group.bench_function("a full block, flushed", |bencher| {
        bencher.iter_custom(|blocks| {
            let mut spent = Duration::ZERO;
            for _ in 0..blocks {
                let events = votes(first);
                let began = Instant::now();
                fill(&mut builder, &events);
                let (record, chain) = builder.seal(first, previous);
                store.insert(&block::key(first), record).expect("it is put");
                store.flush().expect("it is flushed");
                spent += began.elapsed();
                let step = EVENTS_MAX as u64;
                if let Some(old) = first.checked_sub(KEPT * step) {
                    store.remove(&block::key(old)).expect("it is removed");
                }
                (first, previous) = (first + step, chain);
            }
            spent
        });
    });
    group.finish();
}

criterion_group!(benches, pure, commit);
criterion_main!(benches);
