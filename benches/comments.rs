//! Comments through the engine on a real store: so many a second, durable, on one clip while readers read its pages; then
//! a clip with a million of them, a page of which must cost the same wherever it is, in bounded memory.
//!
//!     cargo bench --bench comments                     5,000 a second for 10 s, then 1,000,000 comments
//!     cargo bench --bench comments -- --rate 8000 --seconds 5 --comments 200000

#![allow(clippy::print_stdout, reason = "a benchmark prints its result")]

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use plaudit::cli::process::{Watched, store_bytes};
use plaudit::clock::SystemClock;
use plaudit::comments::{Cursor, Order};
use plaudit::domain::{ClipDraft, ClipId, CommentText, Profile, SeasonId, VoterId, VoterKey};
use plaudit::engine::{CommentDraft, CommentQuery, Engine, Settings};
use plaudit::error::Reject;

/// As the program has.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

const READERS: usize = 2;
/// Each reader's pause between two pages.
const READER_PAUSE: Duration = Duration::from_millis(5);
/// Comments under way at once while the large clip is filled.
const IN_FLIGHT: u64 = 512;

fn main() {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    let dir = tempfile::tempdir().expect("a directory");
    let (rate, seconds, comments) = (flag("--rate", 5_000), flag("--seconds", 10), flag("--comments", 1_000_000));
    runtime.block_on(async {
        let engine = open(dir.path());
        engine.create_season(Some(SeasonId::new("s").expect("an id")), "S".into()).await.expect("a season");
        engine.create_slot("s", None).await.expect("a slot");
        for id in ["busy", "large"] {
            let draft = ClipDraft { title: id.into(), ..ClipDraft::default() };
            engine.add_clip("s", 1, Some(ClipId::new(id).expect("an id")), draft).await.expect("a clip");
        }
        at_a_rate(&engine, rate, seconds).await;
        large(engine, dir.path(), comments).await;
    });
}

fn open(dir: &Path) -> Engine {
    Engine::open(Settings::new(dir, VoterKey::new([1; 32])), Arc::new(SystemClock)).expect("a store")
}

/// Posts on a schedule, whatever the answers; latency counts from the scheduled time.
async fn at_a_rate(engine: &Engine, rate: u64, seconds: u64) {
    let reading = Arc::new(AtomicBool::new(true));
    let readers: Vec<_> = (0..READERS).map(|_| tokio::spawn(read(engine.clone(), Arc::clone(&reading)))).collect();
    let refused = Arc::new(AtomicU64::new(0));
    let began = Instant::now();
    let mut posts = Vec::new();
    for n in 0..rate * seconds {
        let at = began + Duration::from_nanos(n * 1_000_000_000 / rate);
        if at > Instant::now() {
            tokio::time::sleep_until(at.into()).await;
        }
        let (engine, refused) = (engine.clone(), Arc::clone(&refused));
        posts.push(tokio::spawn(async move {
            if post(&engine, "busy", n).await.is_err() {
                refused.fetch_add(1, Ordering::Relaxed);
                return None;
            }
            Some(at.elapsed())
        }));
    }
    let mut latency = histogram();
    for one in posts {
        if let Some(took) = one.await.expect("a post does not panic") {
            latency.record(micros(took)).expect("within bounds");
        }
    }
    let took = began.elapsed();
    reading.store(false, Ordering::Relaxed);
    let mut pages = histogram();
    for reader in readers {
        pages.add(reader.await.expect("a reader does not panic")).expect("the same bounds");
    }
    println!(
        "{} comments on one clip in {:.1} s, {:.0} a second asked, {:.0} a second durable, {} refused: p50 {:.1} ms, \
         p99 {:.1} ms",
        latency.len(),
        took.as_secs_f64(),
        to_f64(rate),
        to_f64(latency.len()) / took.as_secs_f64(),
        refused.load(Ordering::Relaxed),
        to_f64(latency.value_at_quantile(0.5)) / 1e3,
        to_f64(latency.value_at_quantile(0.99)) / 1e3,
    );
    println!(
        "  beside {READERS} readers of its newest 20: {} pages, p50 {} us, p99 {} us; {} changes held, {} MiB resident",
        pages.len(),
        pages.value_at_quantile(0.5),
        pages.value_at_quantile(0.99),
        engine.comments_held().0,
        resident() >> 20,
    );
}

async fn read(engine: Engine, on: Arc<AtomicBool>) -> Histogram<u64> {
    let mut pages = histogram();
    while on.load(Ordering::Relaxed) {
        let began = Instant::now();
        let page = engine.comments(query("busy", Order::Newest, None)).expect("a page");
        pages.record(micros(began.elapsed())).expect("within bounds");
        std::hint::black_box(page);
        tokio::time::sleep(READER_PAUSE).await;
    }
    pages
}

/// Fills a clip, opens the store anew, and reads pages at its front, in it and at its end.
async fn large(engine: Engine, dir: &Path, comments: u64) {
    let next = Arc::new(AtomicU64::new(0));
    let began = Instant::now();
    let writers: Vec<_> = (0..IN_FLIGHT)
        .map(|_| {
            let (engine, next) = (engine.clone(), Arc::clone(&next));
            tokio::spawn(async move {
                loop {
                    let n = next.fetch_add(1, Ordering::Relaxed);
                    if n >= comments {
                        return;
                    }
                    while post(&engine, "large", n).await == Err(Reject::Overloaded) {
                        tokio::time::sleep(Duration::from_millis(5)).await;
                    }
                }
            })
        })
        .collect();
    for writer in writers {
        writer.await.expect("a writer does not panic");
    }
    let took = began.elapsed();
    println!(
        "{comments} comments on a clip: {:.0} a second with {IN_FLIGHT} in flight, {} MiB resident",
        to_f64(comments) / took.as_secs_f64(),
        resident() >> 20
    );
    engine.close().expect("it closes");
    drop(engine);
    let began = Instant::now();
    let engine = open(dir);
    println!(
        "  opened anew in {:.2} s, {} bytes on disk a comment, {} MiB resident",
        began.elapsed().as_secs_f64(),
        store_bytes(dir) / comments,
        resident() >> 20
    );
    for order in [Order::Newest, Order::Oldest, Order::Top] {
        let mut pages = histogram();
        let (mut after, mut seen, mut slices) = (None, 0_u64, Vec::new());
        let mut slice = histogram();
        loop {
            let began = Instant::now();
            let page = engine.comments(query("large", order, after)).expect("a page");
            let took = micros(began.elapsed());
            seen += page.threads.len() as u64;
            pages.record(took).expect("within bounds");
            slice.record(took).expect("within bounds");
            let ended = page.next.is_none();
            if ended || seen / (comments / 4).max(1) > slices.len() as u64 {
                slices.push(slice.value_at_quantile(0.5));
                slice.reset();
            }
            if ended {
                break;
            }
            after = page.next;
        }
        assert_eq!(seen, comments, "every comment once");
        println!(
            "  {order:?}: all of it in {} pages of 20, p50 {} us, p99 {} us a page; p50 of each quarter {slices:?} us; {} MiB \
             resident",
            pages.len(),
            pages.value_at_quantile(0.5),
            pages.value_at_quantile(0.99),
            resident() >> 20
        );
    }
    engine.close().expect("it closes");
}

async fn post(engine: &Engine, clip: &str, n: u64) -> Result<(), Reject> {
    let text =
        CommentText::new(&format!("Comment number {n}, of about the length that people write.")).expect("a text");
    let profile = Profile::cut(Some("Somebody"), Some("https://example.org/avatars/somebody.png"));
    let draft = CommentDraft { clip, parent: None, author: voter(n), profile, text, request: None };
    engine.post_comment(draft).await.map(drop)
}

fn query(clip: &str, order: Order, after: Option<Cursor>) -> CommentQuery<'_> {
    CommentQuery { clip, parent: None, order, after, limit: 20, viewer: None }
}

/// Ids that are spread as hashes are, without the price of one.
fn voter(number: u64) -> VoterId {
    let mut id = [0; 16];
    id[..8].copy_from_slice(&number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
    id[8..].copy_from_slice(&number.to_be_bytes());
    VoterId(id)
}

fn flag(name: &str, default: u64) -> u64 {
    let mut args = std::env::args().skip_while(|arg| arg != name).skip(1);
    args.next().map_or(default, |value| value.parse().expect("a whole number"))
}

fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 60_000_000, 3).expect("bounds that fit")
}

fn micros(took: Duration) -> u64 {
    u64::try_from(took.as_micros()).unwrap_or(u64::MAX).clamp(1, 60_000_000)
}

fn resident() -> u64 {
    Watched::own().and_then(Watched::resident).unwrap_or(0)
}

#[expect(clippy::cast_precision_loss, reason = "counts far below 2^52")]
fn to_f64(count: u64) -> f64 {
    count as f64
}
