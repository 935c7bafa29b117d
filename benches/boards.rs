//! Leaderboards at size: a page and a voter's own rank at 10,000 clips and 1,000,000 voters, what a vote costs the boards
//! beside it, how long they take to read a store, and what they hold.
//!
//!     cargo bench --bench boards                       10,000 clips, 1,000,000 voters of two votes each
//!     BOARDS_VOTERS=200000 cargo bench --bench boards

#![allow(missing_docs, reason = "criterion's macros make undocumented items")]
#![allow(clippy::print_stdout, reason = "a benchmark prints its result")]

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use criterion::{Criterion, criterion_group, criterion_main};
use plaudit::boards::timeline::{Of, at_sequence, series};
use plaudit::boards::{Board, Boards, Bounds, ClipFacts, Layout, Scope, SlotFacts, Subject, Window};
use plaudit::cli::process::Watched;
use plaudit::domain::{ClipNo, Event, Logged, Retraction, SeasonNo, SlotNo, Vote, VoteKind, VoterId};
use plaudit::fold::{Effect, Mark, Tables, fold};
use plaudit::store::{Home, Store};

/// As the program has.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

const CLIPS: u32 = 10_000;
const NOON: u64 = 19_675 * 86_400_000 + 43_200_000;
const DAY: u16 = 19_675;
/// Events that are folded before they are stored.
const STEP: u64 = 50_000;

struct World {
    tables: Tables,
    store: Arc<dyn Store>,
    boards: Boards,
    layout: Arc<Layout>,
    seq: u64,
}

impl World {
    fn log(&mut self, event: Event) {
        self.seq += 1;
        // A thousand events a second, over hours.
        fold(&mut self.tables, &Logged { seq: self.seq, at: NOON + self.seq, event }, &Effect::Plain)
            .expect("it folds");
        if self.seq.is_multiple_of(STEP) {
            self.apply();
        }
    }

    fn apply(&mut self) {
        self.tables.commit(Mark { seq: self.seq, block: 1, chain: [0; 32] }).expect("it is stored");
    }

    fn follow(&self) {
        while !self.boards.step(self.seq, NOON, &self.layout).expect("it reads") {}
    }

    fn vote(&mut self, n: u64, clip: u32) {
        let (clip, slot) = (ClipNo(clip), SlotNo(0));
        self.log(Event::Voted(Vote { voter: voter(n), clip, slot, kind: VoteKind::Standard, weight: 1, day: DAY }));
    }
}

fn boards(criterion: &mut Criterion) {
    let voters: u64 = std::env::var("BOARDS_VOTERS").map_or(1_000_000, |text| text.parse().expect("a number"));
    let dir = tempfile::tempdir().expect("a directory");
    let home = Home::open_or_create(dir.path(), [1; 16]).expect("a store");
    let store = home.tables();
    let slots = vec![SlotFacts { season: SeasonNo(0), hidden: false, has_voted: true, is_locked: false }];
    let clips = (0..CLIPS).map(|no| ClipFacts { slot: SlotNo(0), owner: Some(voter(u64::from(no / 3))) }).collect();
    let mut world = World {
        tables: Tables::open(Arc::clone(&store)).expect("tables"),
        boards: Boards::new(Arc::clone(&store), Bounds::for_voters(50_000_000), NOON),
        store,
        layout: Arc::new(Layout { slots, clips, voids: Vec::new(), erasures: Vec::new(), settled: 0 }),
        seq: 0,
    };
    for n in 0..voters * 2 {
        // The larger of two makes some clips hotter than others.
        let hash = n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let clip = ((hash >> 48) % u64::from(CLIPS)).max((hash >> 32) % u64::from(CLIPS));
        world.vote(n % voters, u32::try_from(clip).expect("below CLIPS"));
    }
    world.apply();

    let (before, began) = (resident(), Instant::now());
    world.follow();
    let (took, after) = (began.elapsed(), resident());
    let (known, held, _) = world.boards.held();
    let bytes = after.saturating_sub(before);
    println!(
        "read {held} stored votes of {known} voters in {took:.2?}: {} ns a vote; {} MiB, {} bytes a voter",
        took.as_nanos() / u128::from(held.max(1)),
        bytes >> 20,
        bytes / known.max(1),
    );
    let board = |of, window| Board { of, scope: Scope::All, window };
    let all = [Subject::Clips, Subject::Voters, Subject::Creators]
        .map(|of| [board(of, Window::All), board(of, Window::Day)])
        .concat();
    for board in &all {
        let (before, began) = (resident(), Instant::now());
        world.boards.build(*board).expect("they are ready");
        let ranked = world.boards.page(*board, None, 1).expect("ready").expect("built").1 as u64;
        let grown = resident().saturating_sub(before) / ranked.max(1);
        println!("{board:?}: {ranked} ranked in {:.2?}, {grown} bytes each", began.elapsed());
    }

    let mut group = criterion.benchmark_group("boards");
    group.sample_size(50).measurement_time(Duration::from_secs(2)).warm_up_time(Duration::from_millis(500));
    for of in [Subject::Clips, Subject::Voters, Subject::Creators] {
        let board = board(of, Window::All);
        let total = world.boards.page(board, None, 1).expect("ready").expect("built").1;
        let middle = world.boards.page(board, None, total / 2).expect("ready").expect("built").2;
        let behind = middle.last().map(|row| row.score);
        for (place, behind) in [("first", None), ("middle", behind)] {
            let name = format!("a page of 100, {of:?}, the {place} of {total}");
            group.bench_function(name, |bencher| {
                bencher.iter(|| black_box(world.boards.page(board, behind, 100).expect("ready")));
            });
        }
    }
    let mut n = 0;
    group.bench_function("a voter's own rank", |bencher| {
        bencher.iter(|| {
            n = (n + 7_919) % voters;
            let place = world.boards.place(board(Subject::Voters, Window::All), voter(n)).expect("ready");
            black_box(place.expect("built").1.at.expect("everyone voted"))
        });
    });
    let of = Of { clip: ClipNo(9), slot: SlotNo(0), applied: world.seq, voids: &[], masks: &[] };
    let read = Arc::clone(&world.store);
    group.bench_function("a clip's timeline, 500 points", |bencher| {
        bencher.iter(|| black_box(series(read.as_ref(), of, 60_000, 0, 0, 500).expect("it reads")));
    });
    let mut at = 0;
    group.bench_function("a clip's count at a sequence", |bencher| {
        bencher.iter(|| {
            at = (at + 104_729) % world.seq;
            black_box(at_sequence(read.as_ref(), of, at).expect("it reads"))
        });
    });
    group.finish();

    // What a vote costs the boards beside the six boards that are kept, and a retraction.
    let ballots = voters.min(200_000);
    for (what, back) in [("vote", false), ("retraction", true)] {
        for n in 0..ballots {
            let (who, clip) = (n * 3 % voters, u32::try_from((n * 31 + 5) % u64::from(CLIPS)).expect("below CLIPS"));
            if back {
                let retraction =
                    Retraction { voter: voter(who), clip: ClipNo(clip), slot: SlotNo(0), vote: 1, weight: 1, day: DAY };
                world.log(Event::Retracted(retraction));
            } else {
                world.vote(who, clip);
            }
        }
        world.apply();
        let began = Instant::now();
        world.follow();
        println!("a {what} moves six boards in {} ns", began.elapsed().as_nanos() / u128::from(ballots));
    }
    println!("{} MiB resident in all", resident() >> 20);
}

fn resident() -> u64 {
    Watched::own().and_then(Watched::resident).unwrap_or(0)
}

/// Ids that are spread as hashes are, without the price of one.
fn voter(n: u64) -> VoterId {
    let mut id = [0; 16];
    id[..8].copy_from_slice(&n.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
    id[8..].copy_from_slice(&(n ^ 0x5bf0_3635).wrapping_mul(0xd6e8_feb8_6659_fd93).to_be_bytes());
    VoterId(id)
}

criterion_group!(benches, boards);
criterion_main!(benches);
