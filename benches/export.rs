//! Exporting a store of many votes to JSON lines: half of them in an open slot's blocks, half in a locked slot's sorted pages.
//! Exits with 1 when the bars are missed.
//!
//!     cargo bench --bench export                       6 million votes
//!     cargo bench --bench export -- --votes 1000000
//!     cargo bench --bench export -- --format parquet   another format, without the bar
//!
//! The store is made on one thread by the fold that a server uses, so what is exported is what a server would have written.

#![allow(clippy::print_stdout, reason = "a benchmark prints its result")]

use std::fs;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use plaudit::closed::Rewrite;
use plaudit::domain::{
    Clip, ClipDraft, ClipId, ClipNo, Decided, Event, FrozenBy, NetworkHash, Origin, Outcome, Season, SeasonId,
    SeasonNo, Slot, SlotNo, Vote, VoteKind, VoterId, VoterKey,
};
use plaudit::engine::stopped_source;
use plaudit::jobs::export::{Folder, Format, SECRETS, Table, stream};
use plaudit::log::{Appender, block};
use plaudit::store::Home;

/// As the program has.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Votes a second, of the table of votes alone, written into a file.
const BAR: f64 = 1_000_000.0;
/// Resident memory while the whole export is written, whatever the store holds.
const MEMORY_BAR: u64 = 768 << 20;
const CLIPS: u32 = 16;
const STORE: [u8; 16] = [5; 16];
const NOON: u64 = 1_700_000_000_000;

fn main() -> ExitCode {
    // `cargo test --benches` runs this without the flag; an unoptimised program tells nothing.
    if !std::env::args().any(|arg| arg == "--bench") {
        println!("export: run it by cargo bench");
        return ExitCode::SUCCESS;
    }
    let votes = flag("--votes").map_or(6_000_000, |given| given.parse().expect("a number of votes"));
    let format = flag("--format").map_or(Format::Jsonl, |given| Format::of(&given).expect("a format"));
    let dir = tempfile::tempdir().expect("a directory");
    let (store, to) = (dir.path().join("db"), dir.path().join("out"));
    let key = VoterKey::new([1; 32]);
    let began = Instant::now();
    make(&store, &key, votes);
    println!("{votes} votes in the store in {:.1?}, {} MiB on the disk", began.elapsed(), size(&store) >> 20);

    let source = stopped_source(&store, &key).expect("a store");
    forget_peak();
    let before = resident("VmRSS:");
    let manifest = source.manifest(format, false);
    let mut folder = Folder::open(&to, manifest.clone(), &source.state).expect("a directory");
    let mut rate = 0.0;
    for table in Table::ALL {
        let (began, mut halves, mut rows) = (Instant::now(), None, 0);
        folder
            .put_table(table, |out| {
                source.write(table, &manifest, out, &mut |more| {
                    rows += more;
                    if halves.is_none() && rows >= votes / 2 {
                        halves = Some(began.elapsed());
                    }
                    Ok(())
                })
            })
            .expect("it is written");
        let (took, file) = (began.elapsed(), to.join(table.file(format)));
        let bytes = fs::metadata(&file).map_or(0, |file| file.len());
        println!("{:<9} {:>10.2?} {:>8} MiB", table.name(), took, bytes >> 20);
        if table == Table::Votes {
            rate = per_second(votes, took);
            let first = halves.expect("half of them came");
            println!(
                "          {rate:.0} votes/s: {:.0}/s of sorted pages, {:.0}/s of blocks; {} bytes a vote",
                per_second(votes / 2, first),
                per_second(votes / 2, took.saturating_sub(first)),
                bytes / votes
            );
        }
    }
    let manifest = folder.finish().expect("it is whole");
    let written = manifest.tables.iter().find(|written| written.table == Table::Votes).expect("it is there");
    assert_eq!(written.rows, votes, "every vote is a row");
    let peak = resident("VmHWM:");
    println!("memory: {} MiB before, {} MiB at most", before >> 20, peak >> 20);

    let began = Instant::now();
    let mut sink = std::io::sink();
    stream(&source, source.manifest(format, true), &mut sink, &mut |_| Ok(())).expect("it is streamed");
    println!("all tables but the records, as a server sends them, into nowhere: {:.2?}", began.elapsed());

    let held = format != Format::Jsonl || (rate >= BAR && peak <= MEMORY_BAR);
    println!("the bars of {BAR:.0} votes/s and {} MiB are {}", MEMORY_BAR >> 20, if held { "held" } else { "MISSED" });
    if held { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// A store with a locked slot and an open one, as a server of many requests leaves it.
fn make(dir: &Path, key: &VoterKey, votes: u64) {
    let home = Home::prepare(dir, STORE, key.fingerprint()).expect("a store");
    let open = || Appender::open(home.log(), home.tables(), block::genesis(STORE)).expect("a log");
    let (mut appender, mut last) = (open(), 0);
    let mut add = |appender: &mut Appender, event: Event| {
        last = appender.add(NOON + last / 4, event).expect("it is written").expect("it is in order");
    };
    let season = Season { no: SeasonNo(0), id: SeasonId::new("season-1").expect("an id"), name: "Season".into() };
    add(&mut appender, Event::SeasonCreated(season));
    for no in 0..2 {
        let slot = SlotNo(no);
        add(&mut appender, Event::SlotCreated(Slot { no: slot, season: SeasonNo(0), position: no + 1 }));
        for clip in no * CLIPS..(no + 1) * CLIPS {
            let draft = ClipDraft { title: "Clip".into(), ..ClipDraft::default() };
            let id = ClipId::new(&format!("clip-{clip}")).expect("an id");
            add(&mut appender, Event::ClipAdded(Box::new(Clip { no: ClipNo(clip), slot, id, draft })));
        }
        add(&mut appender, Event::SlotOpened { slot, ends_at: None, hidden: false });
        for n in 0..votes / 2 {
            let clip = ClipNo(no * CLIPS + u32::try_from(n % u64::from(CLIPS)).expect("small"));
            let vote = Vote { voter: voter(n), clip, slot, kind: VoteKind::Standard, weight: 1, day: 19_675 };
            let network = NetworkHash::of((n % 50_000 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
            add(&mut appender, Event::VotedFrom(vote, Origin { risk: 10, network }));
        }
        if no == 0 {
            add(&mut appender, Event::SlotStopped { slot, by: FrozenBy::Operator, after: None });
            let frozen_at = appender.finish().expect("it is written");
            sort(&home, slot);
            appender = open();
            let outcome = Outcome { frozen_at, winner: Some(ClipNo(0)), decided: Decided::Tally, root: None };
            add(&mut appender, Event::SlotDecided { slot, outcome: Box::new(outcome) });
        }
    }
    let last = appender.finish().expect("it is written");
    sort(&home, SlotNo(0));
    home.tables().flush().expect("it is on the disk");
    home.note_clean(last).expect("a marker");
    fs::write(dir.join(SECRETS), "none\n").expect("a file");
}

fn sort(home: &Home, slot: SlotNo) {
    let mut rewrite = Rewrite::new(home.tables());
    rewrite.look_at(slot);
    while rewrite.step().expect("it is sorted") {}
}

/// Ids that are spread as hashes are, without the price of one.
fn voter(n: u64) -> VoterId {
    let mut id = [0; 16];
    id[..8].copy_from_slice(&n.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
    id[8..].copy_from_slice(&(n ^ 0x5bf0_3635).wrapping_mul(0xd6e8_feb8_6659_fd93).to_be_bytes());
    VoterId(id)
}

#[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
fn per_second(votes: u64, took: Duration) -> f64 {
    votes as f64 / took.as_secs_f64()
}

/// Bytes that the process holds by `/proc`, now or at most; 0 but on Linux.
fn resident(of: &str) -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(of));
    line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok()).map_or(0, |kib| kib * 1024)
}

/// The peak counts from here on.
fn forget_peak() {
    let _only_on_linux = fs::write("/proc/self/clear_refs", "5");
}

fn size(dir: &Path) -> u64 {
    let trees = ["log", "tables"].into_iter().flat_map(|tree| fs::read_dir(dir.join(tree)).into_iter().flatten());
    trees.flatten().filter_map(|file| Some(file.metadata().ok()?.len())).sum()
}

fn flag(name: &str) -> Option<String> {
    std::env::args().skip_while(|arg| arg != name).nth(1)
}
