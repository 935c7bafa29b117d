//! The whole engine without HTTP: votes of distinct voters for one hot clip, a fixed number in flight, on a real store.

#![allow(missing_docs, reason = "criterion's macros make undocumented items")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use plaudit::clock::SystemClock;
use plaudit::domain::{ClipDraft, ClipId, NetworkHash, Origin, SeasonId, VoteKind, VoterId, VoterKey};
use plaudit::engine::{Engine, Settings};

/// As the program has.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn votes(criterion: &mut Criterion) {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    let dir = tempfile::tempdir().expect("a directory");
    let settings = Settings::new(dir.path(), VoterKey::new([1; 32]));
    // Whose threads answers are given on, as the program's.
    let _inside = runtime.enter();
    let engine = Engine::open(settings, Arc::new(SystemClock)).expect("a store");
    runtime.block_on(async {
        engine.create_season(Some(SeasonId::new("s").expect("an id")), "S".into()).await.expect("a season");
        engine.create_slot("s", None).await.expect("a slot");
        let draft = ClipDraft { title: "Hot".into(), ..ClipDraft::default() };
        engine.add_clip("s", 1, Some(ClipId::new("hot").expect("an id")), draft).await.expect("a clip");
        engine.open_slot("s", 1, None, false).await.expect("it opens");
    });
    let next = Arc::new(AtomicU64::new(0));
    let mut group = criterion.benchmark_group("engine");
    group.throughput(Throughput::Elements(1)).sample_size(10).measurement_time(Duration::from_secs(8));
    for in_flight in [1_u64, 64, 1024] {
        group.bench_function(format!("vote, durable, {in_flight} in flight"), |bencher| {
            bencher.iter_custom(|count| runtime.block_on(burst(&engine, &next, in_flight, count)));
        });
    }
    group.finish();
    engine.close().expect("it closes");
}

async fn burst(engine: &Engine, next: &Arc<AtomicU64>, in_flight: u64, count: u64) -> Duration {
    let left = Arc::new(AtomicU64::new(count));
    let began = Instant::now();
    let tasks: Vec<_> = (0..in_flight.min(count))
        .map(|_| {
            let (engine, next, left) = (engine.clone(), Arc::clone(next), Arc::clone(&left));
            tokio::spawn(async move {
                while left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok() {
                    let n = next.fetch_add(1, Ordering::Relaxed);
                    let origin = Origin { risk: 0, network: NetworkHash::of((n | 1).to_be_bytes()) };
                    engine.vote_from(origin, voter(n), "hot", VoteKind::Standard).await.expect("a vote");
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.expect("it runs");
    }
    began.elapsed()
}

/// Ids that are spread as hashes are, without the price of one.
fn voter(n: u64) -> VoterId {
    let mut id = [0; 16];
    id[..8].copy_from_slice(&n.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
    id[8..].copy_from_slice(&(n ^ 0x5bf0_3635).wrapping_mul(0xd6e8_feb8_6659_fd93).to_be_bytes());
    VoterId(id)
}

criterion_group!(benches, votes);
criterion_main!(benches);
