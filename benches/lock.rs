//! Locking a slot of many votes in the background, while another season is voted in as fast as it goes: how long the lock takes,
//! and what it leaves of the others' rate, and so does the clean-up behind it: blocks go from the store, ballots from memory. Exits with
//! 1 when the bars are missed.
//!
//!     cargo bench --bench lock                         5 million votes
//!     cargo bench --bench lock -- --votes 1000000
//!     cargo bench --bench lock -- --rate 50000         the others at a fixed rate, and not as fast as it goes

#![allow(clippy::print_stdout, reason = "a benchmark prints its result")]

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use plaudit::clock::SystemClock;
use plaudit::domain::{ClipDraft, ClipId, SeasonId, VoteKind, VoterId, VoterKey};
use plaudit::engine::{Engine, Settings};

/// As the program has.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// The bar for 5 million votes; as much less for fewer, but not less than what doesn't grow with them may take.
const BAR_5M: Duration = Duration::from_secs(10);
const BAR_LEAST: Duration = Duration::from_secs(1);
const RATE_KEPT: f64 = 0.8;
const IN_FLIGHT: usize = 1_024;
/// How long the others' rate is taken before the lock, and again when nothing is left to be cleaned up behind it.
const BASE: Duration = Duration::from_secs(5);
/// How long the clean-up is given.
const CLEAN_UP: Duration = Duration::from_secs(10);
const CLIPS: u64 = 16;

fn main() -> ExitCode {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    let dir = tempfile::tempdir().expect("a directory");
    let votes = flag("--votes", 5_000_000);
    let mut settings = Settings::new(dir.path(), VoterKey::new([1; 32]));
    // A recount in between would be another measurement.
    settings.reconcile_every_s = 0;
    // Whose threads answers are given on, as the program's.
    let _inside = runtime.enter();
    let engine = Engine::open(settings, Arc::new(SystemClock)).expect("a store");
    let held = runtime.block_on(async {
        stage(&engine, "s").await;
        stage(&engine, "t").await;
        let next = Arc::new(AtomicU64::new(0));
        let began = Instant::now();
        vote(&engine, "s", &next, Until::Votes(votes)).await;
        println!("{votes} votes cast in {:.1?}", began.elapsed());
        engine.drain().await.expect("it drains");

        let before = rate(&engine, &next, For::Time(BASE)).await;
        let lock = async {
            let (began, cpu) = (Instant::now(), applier_cpu());
            engine.lock_slot("s", 1).await.expect("it locks");
            println!("the applier's CPU meanwhile, others' votes included: {:.2?}", applier_cpu().saturating_sub(cpu));
            began.elapsed()
        };
        let (took, beside) = lock_beside(&engine, &next, lock).await;
        let behind = rate(&engine, &next, For::Time(CLEAN_UP)).await;
        let after = rate(&engine, &next, For::Time(BASE)).await;
        let base = f64::midpoint(before, after);
        println!(
            "others' votes: {before:.0}/s before, {beside:.0}/s beside the lock, {behind:.0}/s beside the clean-up, {after:.0}/s after"
        );
        let kept = beside.min(behind) / base;
        println!(
            "locked in {took:.2?}, {:.0} % of the rate kept, {:.0} % beside the clean-up",
            beside / base * 100.0,
            behind / base * 100.0
        );
        let certificate = engine.certificate("s", 1, None).expect("it is certified");
        assert_eq!(certificate.leaves, votes, "every vote is a leaf");
        let share = u32::try_from(votes).expect("fits");
        took <= (BAR_5M * share / 5_000_000).max(BAR_LEAST) && kept >= RATE_KEPT
    });
    engine.close().expect("it closes");
    if held { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// What the thread that sorts has worked so far: says more than the clock on a machine that is not quiet. None but on Linux.
fn applier_cpu() -> Duration {
    let tasks = std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten().map(|task| task.path());
    let applier = tasks
        .filter(|task| std::fs::read_to_string(task.join("comm")).is_ok_and(|name| name.trim_end() == "plaudit-apply"));
    let nanos = applier.filter_map(|task| {
        let text = std::fs::read_to_string(task.join("schedstat")).ok()?;
        text.split(' ').next()?.parse::<u64>().ok()
    });
    Duration::from_nanos(nanos.sum())
}

async fn stage(engine: &Engine, season: &str) {
    engine.create_season(Some(SeasonId::new(season).expect("an id")), "Season".into()).await.expect("a season");
    engine.create_slot(season, None).await.expect("a slot");
    for n in 0..CLIPS {
        let draft = ClipDraft { title: "Clip".into(), ..ClipDraft::default() };
        let id = ClipId::new(&format!("{season}-{n}")).expect("an id");
        engine.add_clip(season, 1, Some(id), draft).await.expect("a clip");
    }
    engine.open_slot(season, 1, None, false).await.expect("it opens");
}

#[derive(Clone)]
enum Until {
    /// So many are cast in all.
    Votes(u64),
    /// It is set.
    Told(Arc<AtomicBool>),
}

/// Votes of new voters; says how many were cast.
async fn vote(engine: &Engine, season: &'static str, next: &Arc<AtomicU64>, until: Until) -> u64 {
    let cast = Arc::new(AtomicU64::new(0));
    let tasks: Vec<_> = (0..IN_FLIGHT)
        .map(|_| {
            let (engine, next, cast, until) = (engine.clone(), Arc::clone(next), Arc::clone(&cast), until.clone());
            tokio::spawn(async move {
                let mut pace = pace(&until);
                loop {
                    if let Some(pace) = &mut pace {
                        pace.tick().await;
                    }
                    let who = next.fetch_add(1, Ordering::Relaxed);
                    let over = match &until {
                        Until::Votes(votes) => who >= *votes,
                        Until::Told(told) => told.load(Ordering::Relaxed),
                    };
                    if over {
                        return;
                    }
                    let clip = format!("{season}-{}", who % CLIPS);
                    engine.vote(voter(who), &clip, VoteKind::Standard).await.expect("it counts");
                    cast.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.expect("it runs");
    }
    cast.load(Ordering::Relaxed)
}

/// Each task's share of the others' rate, if one is given.
fn pace(until: &Until) -> Option<tokio::time::Interval> {
    let rate = flag("--rate", 0);
    if rate == 0 || matches!(until, Until::Votes(_)) {
        return None;
    }
    let every = Duration::from_micros(1_000_000 * IN_FLIGHT as u64 / rate);
    Some(tokio::time::interval(every))
}

/// How long a rate is taken.
enum For {
    Time(Duration),
    /// Until it is set.
    Told(Arc<AtomicBool>),
}

/// The others' votes a second. Prints those of each second, in thousands.
async fn rate(engine: &Engine, next: &Arc<AtomicU64>, long: For) -> f64 {
    let (time, told) = match long {
        For::Time(time) => (Some(time), Arc::default()),
        For::Told(told) => (None, told),
    };
    let (began, first) = (Instant::now(), next.load(Ordering::Relaxed));
    let voting = async {
        let cast = vote(engine, "t", next, Until::Told(Arc::clone(&told))).await;
        // Not when the last second is over, which nobody votes in to its end.
        (cast, began.elapsed())
    };
    let watching = async {
        let (mut second, mut last) = (tokio::time::interval(Duration::from_secs(1)), first);
        second.tick().await;
        while !told.load(Ordering::Relaxed) {
            second.tick().await;
            let now = next.load(Ordering::Relaxed);
            print!("{} ", (now - last) / 1000);
            last = now;
            if time.is_some_and(|time| began.elapsed() >= time) {
                told.store(true, Ordering::Relaxed);
            }
        }
        println!();
    };
    let ((cast, took), ()) = tokio::join!(voting, watching);
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
    let cast = cast as f64;
    cast / took.as_secs_f64()
}

async fn lock_beside(engine: &Engine, next: &Arc<AtomicU64>, lock: impl Future<Output = Duration>) -> (Duration, f64) {
    let told = Arc::new(AtomicBool::new(false));
    let locking = async {
        let took = lock.await;
        told.store(true, Ordering::Relaxed);
        took
    };
    tokio::join!(locking, rate(engine, next, For::Told(Arc::clone(&told))))
}

/// Ids that are spread as hashes are, without the price of one.
fn voter(n: u64) -> VoterId {
    let mut id = [0; 16];
    id[..8].copy_from_slice(&n.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
    id[8..].copy_from_slice(&(n ^ 0x5bf0_3635).wrapping_mul(0xd6e8_feb8_6659_fd93).to_be_bytes());
    VoterId(id)
}

fn flag(name: &str, default: u64) -> u64 {
    let mut given = std::env::args().skip_while(|arg| arg != name).skip(1);
    given.next().map_or(default, |value| value.parse().unwrap_or_else(|why| panic!("{name}: {why}")))
}
