//! The hub alone: what one event costs for each viewer that gets it, in publishing and in taking, and a viewer's memory.
//!
//!     cargo bench --bench hub
//!
//! The worker is stepped here and every viewer is polled here, so the times are CPU and not latency; a connection's own
//! task and its write come on top.

use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use plaudit::clock::{Clock, SystemClock};
use plaudit::hub::{Hub, NoCounts, Publication, Settings, Subscribe, Viewer, Worker};

/// As the program has.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

struct Nobody;

impl Wake for Nobody {
    fn wake(self: Arc<Self>) {}
}

fn publish(hub: &Hub, worker: &mut Worker, events: usize) {
    let data = "x".repeat(200);
    let one = Publication { channels: vec!["room".into()], event: "event".into(), data, except: None };
    hub.publish(vec![one; events]).map(drop).expect("the inbox has room");
    worker.step(Duration::ZERO);
}

/// Takes what waits for everyone, with a last look that finds nothing and waits; how many frames that were.
fn take(viewers: &[Viewer], waker: &Waker) -> usize {
    let (mut frames, mut taken) = (Vec::new(), 0);
    for viewer in viewers {
        while let Poll::Ready(Ok(())) =
            viewer.outbox().poll_take(&mut Context::from_waker(waker), &mut frames, 64 << 10)
        {
            taken += frames.len();
            frames.clear();
        }
    }
    taken
}

#[expect(clippy::print_stdout, reason = "a benchmark prints its result")]
#[expect(clippy::cast_precision_loss, reason = "counts of a bench")]
fn run(viewers: usize, events: usize, rounds: usize) {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let (hub, mut worker, _feed) = Hub::new(Settings::default(), clock, Arc::new(NoCounts), Arc::default(), 1);
    let before = resident();
    let all: Vec<Viewer> = (0..viewers)
        .map(|_| {
            let mut viewer = hub.viewer();
            viewer.subscribe(&Subscribe::to("room"), |_| None).expect("there is room");
            viewer
        })
        .collect();
    let waker = Waker::from(Arc::new(Nobody));
    take(&all, &waker);
    // Once before the clock starts: queues have grown then.
    publish(&hub, &mut worker, events);
    take(&all, &waker);
    let bytes = resident().saturating_sub(before) / viewers as u64;
    let (mut publishing, mut taking, mut taken) = (Duration::ZERO, Duration::ZERO, 0);
    for _ in 0..rounds {
        let began = Instant::now();
        publish(&hub, &mut worker, events);
        publishing += began.elapsed();
        let began = Instant::now();
        taken += take(&all, &waker);
        taking += began.elapsed();
    }
    assert_eq!(taken, viewers * events * rounds, "everyone gets everything");
    let of = |time: Duration| time.as_nanos() as f64 / taken as f64;
    println!(
        "{viewers:>6} viewers, {events:>2} events at once: {:>4.0} ns published, {:>4.0} ns taken, a delivery; \
         {bytes} bytes a viewer",
        of(publishing),
        of(taking)
    );
}

/// Resident memory of this process in bytes; 0 where the system doesn't say.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok()).unwrap_or(0) * 1024
}

fn main() {
    // `cargo test --benches` runs this without the flag: then once is enough to see that it works.
    let rounds = if std::env::args().any(|arg| arg == "--bench") { 100 } else { 1 };
    for viewers in [1_000, 10_000] {
        for events in [1, 10] {
            run(viewers, events, rounds);
        }
    }
}
