//! Freezing a slot that votes run into at a fixed rate, on a real store, again and again: how long the freeze takes, by an
//! operator and by the clock, and whether answers and tally agree. Exits with 1 when one takes longer than the bar.
//!
//!     cargo bench --bench freeze                       20 freezes by an operator and one by the clock, under 10,000 votes a second
//!     cargo bench --bench freeze -- --rate 50000 --freezes 5

#![allow(clippy::print_stdout, reason = "a benchmark prints its result")]

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use plaudit::clock::{Clock, SystemClock};
use plaudit::domain::{ClipDraft, ClipId, SeasonId, SlotStatus, VoteKind, VoterId, VoterKey};
use plaudit::engine::{Engine, Settings};
use plaudit::error::Reject;

/// As the program has.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

const BAR: Duration = Duration::from_millis(100);
/// Votes come for so long before each freeze.
const LEAD: Duration = Duration::from_millis(500);
/// Votes due since the last look go out together; the rate is kept over a look.
const LOOK: Duration = Duration::from_millis(1);

fn main() -> ExitCode {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    let dir = tempfile::tempdir().expect("a directory");
    let (rate, freezes) = (flag("--rate", 10_000), flag("--freezes", 20));
    // Whose threads answers are given on, as the program's.
    let _inside = runtime.enter();
    let engine =
        Engine::open(Settings::new(dir.path(), VoterKey::new([1; 32])), Arc::new(SystemClock)).expect("a store");
    let worst = runtime.block_on(async {
        engine.create_season(Some(SeasonId::new("s").expect("an id")), "S".into()).await.expect("a season");
        engine.create_slot("s", None).await.expect("a slot");
        let draft = ClipDraft { title: "Hot".into(), ..ClipDraft::default() };
        engine.add_clip("s", 1, Some(ClipId::new("hot").expect("an id")), draft).await.expect("a clip");
        engine.open_slot("s", 1, None, false).await.expect("it opens");
        let votes = Votes { engine: engine.clone(), rate, next: Arc::default(), stood: Arc::default() };
        let mut by_operators = Vec::new();
        for _ in 0..freezes {
            by_operators.push(votes.meet(by_operator(&engine)).await);
            engine.reopen_slot("s", 1, None).await.expect("it reopens");
        }
        // The last thing: the clock's freeze goes on to the lock.
        let by_clock = vec![votes.meet(by_clock(&engine)).await];
        report("by an operator", by_operators).max(report("by the clock, from the slot's end on", by_clock))
    });
    engine.close().expect("it closes");
    if worst > BAR { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

async fn by_operator(engine: &Engine) -> Duration {
    tokio::time::sleep(LEAD).await;
    let asked = Instant::now();
    engine.freeze_slot("s", 1).await.expect("it freezes");
    asked.elapsed()
}

async fn by_clock(engine: &Engine) -> Duration {
    let end = SystemClock.now_ms() + u64::try_from(LEAD.as_millis()).expect("short");
    engine.extend_slot("s", 1, Some(end)).await.expect("it is extended");
    while engine.slot("s", 1).expect("it is there").status == SlotStatus::Voting {
        tokio::time::sleep(LOOK).await;
    }
    Duration::from_millis(SystemClock.now_ms().saturating_sub(end))
}

struct Votes {
    engine: Engine,
    rate: u64,
    next: Arc<AtomicU64>,
    /// Votes that were told that they count, in all rounds.
    stood: Arc<AtomicU64>,
}

impl Votes {
    /// Votes at the rate until the freeze is through, and the answers against the tally.
    async fn meet(&self, freeze: impl Future<Output = Duration>) -> Duration {
        let on = Arc::new(AtomicBool::new(true));
        let voting = tokio::spawn(self.stream(Arc::clone(&on)));
        let took = freeze.await;
        on.store(false, Ordering::Relaxed);
        voting.await.expect("it runs");
        let counted = self.engine.counts("hot").expect("a clip").expect("not hidden").votes;
        assert_eq!(counted, self.stood.load(Ordering::Relaxed), "answers and tally agree to the vote");
        took
    }

    fn stream(&self, on: Arc<AtomicBool>) -> impl Future<Output = ()> + use<> {
        let (engine, rate, next, stood) =
            (self.engine.clone(), self.rate, Arc::clone(&self.next), Arc::clone(&self.stood));
        async move {
            let (began, mut sent, mut flying) = (Instant::now(), 0, Vec::new());
            while on.load(Ordering::Relaxed) {
                let due = began.elapsed().as_micros() * u128::from(rate) / 1_000_000;
                while sent < due {
                    let (engine, stood, who) =
                        (engine.clone(), Arc::clone(&stood), next.fetch_add(1, Ordering::Relaxed));
                    flying.push(tokio::spawn(async move {
                        match engine.vote(voter(who), "hot", VoteKind::Standard).await {
                            Ok(_) => _ = stood.fetch_add(1, Ordering::Relaxed),
                            Err(refused) => assert_eq!(refused, Reject::VotingClosed),
                        }
                    }));
                    sent += 1;
                }
                tokio::time::sleep(LOOK).await;
            }
            for vote in flying {
                vote.await.expect("it runs");
            }
        }
    }
}

/// Prints the times; gives the longest.
fn report(what: &str, mut took: Vec<Duration>) -> Duration {
    took.sort();
    let worst = *took.last().expect("at least one");
    println!("frozen {what}: p50 {:.1?}, worst {worst:.1?} of {}", took[took.len() / 2], took.len());
    worst
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
