//! The sort of a closed slot alone: no votes beside it, CPU of its thread a ballot. The bar is held by `--bench lock`.
//!
//!     cargo bench --bench sort                       2 million ballots, five times
//!     cargo bench --bench sort -- --votes 5000000
//!
//! The store is made on one thread by the fold that a server uses, so the blocks are what a server would have written.

#![allow(clippy::print_stdout, reason = "a benchmark prints its result")]

use std::fs;
use std::path::Path;

use plaudit::closed::Rewrite;
use plaudit::domain::{
    Clip, ClipDraft, ClipId, ClipNo, Event, FrozenBy, NetworkHash, Origin, Season, SeasonId, SeasonNo, Slot, SlotNo,
    Vote, VoteKind, VoterId, VoterKey,
};
use plaudit::fold::{keys, lookup};
use plaudit::log::{Appender, block};
use plaudit::store::Home;

/// As the program has.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

const SLOT: SlotNo = SlotNo(0);
const CLIPS: u32 = 16;
const STORE: [u8; 16] = [5; 16];
const NOON: u64 = 1_700_000_000_000;

fn main() {
    // `cargo test --benches` runs this without the flag; an unoptimised program tells nothing.
    if !std::env::args().any(|arg| arg == "--bench") {
        println!("sort: run it by cargo bench");
        return;
    }
    let number = |name: &str, usual| flag(name).map_or(usual, |given| given.parse().expect("a number"));
    let (votes, rounds) = (number("--votes", 2_000_000), number("--rounds", 5));
    let dir = tempfile::tempdir().expect("a directory");
    let home = make(&dir.path().join("db"), votes);
    println!("{votes} votes stored");
    for _ in 0..rounds {
        // As if it had not been sorted: it is sorted anew, and what the last round wrote goes.
        home.tables().remove(&keys::page(keys::Table::Closings, SLOT.0)).expect("a store");
        let mut rewrite = Rewrite::new(home.tables());
        rewrite.look_at(SLOT);
        let before = cpu_nanoseconds();
        let (mut steps, mut longest, mut at, mut leaves) = (0, 0, before, None);
        while leaves.is_none() {
            rewrite.step().expect("it is sorted");
            let now = cpu_nanoseconds();
            (steps, longest, at) = (steps + 1, longest.max(now - at), now);
            let closing = lookup::closing(home.tables().as_ref(), SLOT).expect("a store");
            leaves = closing.and_then(|closing| closing.sorted).map(|pages| pages.leaves);
        }
        assert_eq!(leaves, Some(votes), "every vote is a leaf");
        // The pages of the round before, and of this one's places ahead.
        while rewrite.step().expect("it is tidy") {}
        println!("{} ns of CPU a ballot, {steps} steps, the longest {} µs", (at - before) / votes, longest / 1_000);
    }
}

/// A store with a frozen slot of so many votes.
fn make(dir: &Path, votes: u64) -> Home {
    let home = Home::prepare(dir, STORE, VoterKey::new([1; 32]).fingerprint()).expect("a store");
    let mut appender = Appender::open(home.log(), home.tables(), block::genesis(STORE)).expect("a log");
    let mut last = 0;
    let mut add = |event| {
        last = appender.add(NOON + last / 4, event).expect("it is written").expect("it is in order");
    };
    let season = Season { no: SeasonNo(0), id: SeasonId::new("season-1").expect("an id"), name: "Season".into() };
    add(Event::SeasonCreated(season));
    add(Event::SlotCreated(Slot { no: SLOT, season: SeasonNo(0), position: 1 }));
    for clip in 0..CLIPS {
        let draft = ClipDraft { title: "Clip".into(), ..ClipDraft::default() };
        let id = ClipId::new(&format!("clip-{clip}")).expect("an id");
        add(Event::ClipAdded(Box::new(Clip { no: ClipNo(clip), slot: SLOT, id, draft })));
    }
    add(Event::SlotOpened { slot: SLOT, ends_at: None, hidden: false });
    for n in 0..votes {
        let clip = ClipNo(u32::try_from(n % u64::from(CLIPS)).expect("small"));
        let vote = Vote { voter: voter(n), clip, slot: SLOT, kind: VoteKind::Standard, weight: 1, day: 19_675 };
        let network = NetworkHash::of((n % 50_000 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
        add(Event::VotedFrom(vote, Origin { risk: 10, network }));
    }
    add(Event::SlotStopped { slot: SLOT, by: FrozenBy::Operator, after: None });
    appender.finish().expect("it is written");
    home
}

/// Ids that are spread as hashes are, without the price of one.
fn voter(n: u64) -> VoterId {
    let mut id = [0; 16];
    id[..8].copy_from_slice(&n.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
    id[8..].copy_from_slice(&(n ^ 0x5bf0_3635).wrapping_mul(0xd6e8_feb8_6659_fd93).to_be_bytes());
    VoterId(id)
}

/// Of this thread, by `/proc`; 0 but on Linux.
fn cpu_nanoseconds() -> u64 {
    let stat = fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    stat.split(' ').next().and_then(|first| first.parse().ok()).unwrap_or(0)
}

fn flag(name: &str) -> Option<String> {
    std::env::args().skip_while(|arg| arg != name).nth(1)
}
