//! `verify` over stores that are wrong: it names what is wrong, `repair` puts differing counts right and touches nothing
//! else.
//!
//! The stores are made by folding a log, with a tail that the tables don't contain. What is altered gets a right
//! checksum, so that nothing but the recount can notice.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use plaudit::codec::{self, Chain, Kind};
use plaudit::domain::{
    Clip, ClipDraft, ClipId, ClipNo, Event, Logged, Retraction, Season, SeasonId, SeasonNo, Slot, SlotNo, Vote,
    VoteKind, VoterId,
};
use plaudit::engine::{Row, Verified, verify_stores};
use plaudit::fold::keys::{self, Table};
use plaudit::fold::timeline::{self, TimelinePage};
use plaudit::fold::totals::TotalsPage;
use plaudit::fold::{BallotBlock, Effect, Mark, Stored, Tables, ballot_block, fold};
use plaudit::log::block::{self, Builder};
use plaudit::store::{FaultyDisk, Store};

const GENESIS: Chain = [0x11; 32];
const NOON: u64 = 1_700_000_000_000;
const SLOT: SlotNo = SlotNo(0);
/// Enough for a full block of ballots, so that the next step begins another.
const FIRST_STEP: u64 = 450;
const SECOND_STEP: u64 = 50;
const TAIL: u64 = 10;
/// The first vote's sequence.
const VOTES_FROM: u64 = 7;

type Entries = BTreeMap<Vec<u8>, Vec<u8>>;

fn voter(n: u64) -> VoterId {
    let mut id = [0; 16];
    id[8..].copy_from_slice(&n.to_be_bytes());
    VoterId(id)
}

/// A vote of a new voter, for clip 0 if odd, else for clip 1, of weight 2.
fn vote(n: u64) -> Event {
    let clip = ClipNo(u32::from(n.is_multiple_of(2)));
    Event::Voted(Vote { voter: voter(n), clip, slot: SLOT, kind: VoteKind::Standard, weight: 2, day: 19_675 })
}

fn stage() -> Vec<Event> {
    let clip = |no| {
        let draft = ClipDraft { title: "Clip".into(), ..ClipDraft::default() };
        Event::ClipAdded(Box::new(Clip {
            no: ClipNo(no),
            slot: SLOT,
            id: ClipId::new(&format!("c{no}")).unwrap(),
            draft,
        }))
    };
    vec![
        Event::SeasonCreated(Season { no: SeasonNo(0), id: SeasonId::new("s").unwrap(), name: "Season".into() }),
        Event::SlotCreated(Slot { no: SLOT, season: SeasonNo(0), position: 1 }),
        clip(0),
        clip(1),
        clip(2),
        Event::SlotOpened { slot: SLOT, ends_at: None, hidden: false },
    ]
}

/// A log of three blocks, two of which are in the tables, each by a step of its own.
fn disk() -> FaultyDisk {
    let disk = FaultyDisk::new(1);
    let (log, store) = (disk.open("log"), disk.open("tables"));
    let mut tables = Tables::open(store).unwrap();
    let retract = |n: u64| {
        let clip = ClipNo(u32::from(n.is_multiple_of(2)));
        let vote = VOTES_FROM + n - 1;
        Event::Retracted(Retraction { voter: voter(n), clip, slot: SLOT, vote, weight: 2, day: 19_675 })
    };
    let steps: [Vec<Event>; 3] = [
        stage().into_iter().chain((1..=FIRST_STEP).map(vote)).collect(),
        (FIRST_STEP + 1..=FIRST_STEP + SECOND_STEP).map(vote).chain([retract(FIRST_STEP + 1)]).collect(),
        (0..TAIL).map(|n| vote(10_001 + n)).collect(),
    ];
    let (mut first, mut previous) = (1, GENESIS);
    for (step, events) in steps.iter().enumerate() {
        let mut builder = Builder::default();
        for event in events {
            builder.add(NOON, event);
        }
        let (record, chain) = builder.seal(first, previous);
        log.insert(&block::key(first), record).unwrap();
        let last = first + events.len() as u64 - 1;
        if step < 2 {
            for (seq, event) in (first..).zip(events) {
                fold(&mut tables, &Logged { seq, at: NOON, event: event.clone() }, &Effect::Plain).unwrap();
            }
            tables.commit(Mark { seq: last, block: first, chain }).unwrap();
        }
        (first, previous) = (last + 1, chain);
    }
    log.flush().unwrap();
    assert_eq!(blocks(&disk).len(), 2, "a full block and another");
    disk
}

/// Votes and weight of clips 0 and 1 in that log: half of the voters each, and one of clip 0 retracted.
const COUNTS: [(u64, u64); 3] = [(254, 508), (255, 510), (0, 0)];

fn run(disk: &FaultyDisk, repair: bool) -> Verified {
    verify_stores(disk.open("log").as_ref(), disk.open("tables"), GENESIS, repair).unwrap()
}

fn entries(store: &Arc<dyn Store>) -> Entries {
    let mut found = Entries::new();
    let keep = &mut |key: &[u8], value: &plaudit::store::Value| {
        found.insert(key.to_vec(), value.to_vec());
        Ok(ControlFlow::Continue(()))
    };
    store.scan(&[0], &[0xff; 16], keep).unwrap();
    found
}

/// The slot's ballot blocks, by key.
fn blocks(disk: &FaultyDisk) -> Entries {
    let (from, to) = keys::ballots_of(SLOT);
    entries(&disk.open("tables")).into_iter().filter(|(key, _)| (&from[..]..&to[..]).contains(&&key[..])).collect()
}

fn rows(counts: [(u64, u64); 3]) -> Vec<Row> {
    (0..)
        .zip(counts)
        .map(|(n, (votes, weight)): (u32, _)| Row { id: format!("c{n}"), votes, weight, comments: 0 })
        .collect()
}

fn alter_totals(disk: &FaultyDisk, change: impl Fn(&mut TotalsPage)) {
    let key = keys::page(Table::Totals, 0);
    let altered = disk.alter("tables", &key, |record| {
        let mut page: TotalsPage = codec::read("tables", Kind::Totals, &key, record).unwrap();
        change(&mut page);
        Some(codec::record(Kind::Totals, &key, &page))
    });
    assert!(altered);
}

/// Where the tables end: what is put in behind their back must not name a later sequence, or it hides the tail's.
fn end(disk: &FaultyDisk) -> u64 {
    Tables::open(disk.open("tables")).unwrap().mark().unwrap().seq
}

/// Rewrites the slot's last block with entries behind its own.
fn append(disk: &FaultyDisk, more: &[Stored]) {
    let (key, _) = blocks(disk).pop_last().unwrap();
    let altered = disk.alter("tables", &key, |record| {
        let mut block = BallotBlock::resume(&key, record).unwrap();
        for entry in more {
            block.append(*entry);
        }
        Some(block.record(SLOT))
    });
    assert!(altered);
}

fn read(key: &[u8], record: &[u8]) -> Vec<Stored> {
    let mut stored = Vec::new();
    let keep = |entry| {
        stored.push(entry);
        Ok(())
    };
    ballot_block::read(key, record, keep).unwrap();
    stored
}

/// `repair` changes the pages of counts and minutes, takes the log's tail in as any step does, and leaves the rest; what the page
/// says is then the recount, and a second look finds nothing.
fn check_repair(disk: &FaultyDisk, counts: [(u64, u64); 3], (wrong, repaired): (u64, u64)) {
    let (log, before) = (entries(&disk.open("log")), entries(&disk.open("tables")));
    let found = run(disk, true);
    assert_eq!((found.wrong, found.repaired), (wrong, repaired), "{:?}", found.problems);
    assert_eq!(entries(&disk.open("log")), log, "the log is not touched");

    let after = entries(&disk.open("tables"));
    let counts_key = keys::page(Table::Totals, 0).to_vec();
    let tail_block = blocks(disk).pop_last().unwrap().0;
    let changed: Vec<_> =
        after.iter().filter(|(key, value)| before.get(*key) != Some(value)).map(|(key, _)| key).collect();
    let minutes = keys::timeline(0, VOTES_FROM).to_vec();
    let wanted = [minutes, keys::MARK.to_vec(), counts_key, tail_block];
    assert_eq!(changed, wanted.iter().collect::<Vec<_>>());
    assert!(before.keys().all(|key| after.contains_key(key)), "nothing is taken away");

    let again = run(disk, false);
    assert_eq!((again.problems, again.repaired, again.tail), (Vec::new(), 0, 0));
    assert_eq!(again.rows, rows(counts));
    let mut stored = Vec::new();
    Tables::open(disk.open("tables")).unwrap().each_total(|_, votes, weight| stored.push((votes, weight))).unwrap();
    stored.resize(3, (0, 0));
    assert_eq!(stored, counts);
}

#[test]
fn a_sound_store_is_clean_and_neither_look_writes() {
    let disk = disk();
    let (before, ops) = (entries(&disk.open("tables")), disk.ops());
    for repair in [false, true] {
        let found = run(&disk, repair);
        assert_eq!((found.wrong, found.problems, found.repaired), (0, Vec::new(), 0));
        assert_eq!((found.rows, found.tail), (rows(COUNTS), TAIL));
        assert_eq!(found.last, VOTES_FROM - 1 + FIRST_STEP + SECOND_STEP + 1 + TAIL);
    }
    assert_eq!((entries(&disk.open("tables")), disk.ops()), (before, ops));
}

#[test]
fn an_altered_total_is_named_and_put_right() {
    let disk = disk();
    alter_totals(&disk, |page| page.set(ClipNo(1), (1_000, 510)));
    let ops = disk.ops();
    let found = run(&disk, false);
    // What the tail adds is on top of what is stored.
    assert_eq!(found.problems, ["clip c1: stored 1005 votes of weight 520, recounted 255 of 510"]);
    assert_eq!((found.wrong, found.repaired, disk.ops()), (1, 0, ops), "a look repairs nothing");
    check_repair(&disk, COUNTS, (1, 1));
}

#[test]
fn a_count_of_a_clip_without_votes_is_named_and_put_right() {
    let disk = disk();
    alter_totals(&disk, |page| page.set(ClipNo(2), (7, 9)));
    assert_eq!(run(&disk, false).problems, ["clip c2: stored 7 votes of weight 9, recounted 0 of 0"]);
    check_repair(&disk, COUNTS, (1, 1));
}

#[test]
fn a_lost_page_of_totals_is_named_and_made_anew() {
    let disk = disk();
    assert!(disk.alter("tables", &keys::page(Table::Totals, 0), |_| None));
    let named = [
        "clip c0: stored 5 votes of weight 10, recounted 254 of 508",
        "clip c1: stored 5 votes of weight 10, recounted 255 of 510",
    ];
    assert_eq!(run(&disk, false).problems, named);
    check_repair(&disk, COUNTS, (2, 2));
}

#[test]
fn a_dropped_block_of_ballots_is_named_by_the_counts_that_miss_it() {
    let disk = disk();
    let (key, _) = blocks(&disk).pop_first().unwrap();
    assert!(disk.alter("tables", &key, |_| None));
    let found = run(&disk, false);
    let named = [
        "clip c0: its timeline has 254 votes of weight 508 in minute 28333333 from event 7 on, recounted 29 of 58",
        "clip c1: its timeline has 255 votes of weight 510 in minute 28333333 from event 8 on, recounted 30 of 60",
        "clip c0: stored 254 votes of weight 508, recounted 29 of 58",
        "clip c1: stored 255 votes of weight 510, recounted 30 of 60",
    ];
    assert_eq!(found.problems, named);
    check_repair(&disk, [(29, 58), (30, 60), (0, 0)], (4, 3));
}

#[test]
fn a_block_dropped_from_under_a_retraction_names_the_retraction_too() {
    let disk = disk();
    let (key, record) = blocks(&disk).pop_last().unwrap();
    let retraction = *read(&key, &record).last().unwrap();
    // The last block with its retraction alone.
    assert!(disk.alter("tables", &key, |_| None));
    let mut alone = BallotBlock::begin(retraction);
    disk.open("tables").insert(&keys::ballots(SLOT, retraction.seq), &alone.record(SLOT)).unwrap();
    let found = run(&disk, false);
    assert_eq!(found.wrong, 5, "{:?}", found.problems);
    assert!(found.problems[0].contains(&format!("event {} takes back a vote that does not stand", retraction.seq)));
    assert!(
        found.problems[3].starts_with("clip c0: stored 254") && found.problems[4].starts_with("clip c1: stored 255")
    );
}

#[test]
fn every_doubled_ballot_is_named() {
    let disk = disk();
    let (key, record) = blocks(&disk).pop_first().unwrap();
    let copied = read(&key, &record);
    let seq = end(&disk);
    let again: Vec<_> = copied.iter().take(5).map(|entry| Stored { seq, ..*entry }).collect();
    append(&disk, &again);
    let found = run(&disk, false);
    let doubled = format!("event {seq} votes for a clip that its voter has a vote for");
    let named = found.problems.iter().filter(|problem| problem.contains(&doubled)).count();
    assert_eq!(named, 5, "{:?}", found.problems);
    assert_eq!(found.wrong, 5, "the counts that stand still agree: {:?}", found.problems);
    // A repair must not make a doubled ballot count.
    assert_eq!(run(&disk, true).repaired, 0);
    assert_eq!(run(&disk, false).rows, run(&self::disk(), false).rows);
}

#[test]
fn a_block_copied_whole_is_named_ballot_by_ballot_and_the_list_is_bounded() {
    let disk = disk();
    let (key, record) = blocks(&disk).pop_first().unwrap();
    let copied = read(&key, &record);
    let seq = end(&disk);
    append(&disk, &copied.iter().map(|entry| Stored { seq, ..*entry }).collect::<Vec<_>>());
    let found = run(&disk, false);
    assert_eq!(found.wrong, FIRST_STEP);
    assert_eq!(found.problems.len(), 100);
}

#[test]
fn a_ballot_for_another_slots_clip_is_named() {
    let disk = disk();
    let (key, record) = blocks(&disk).pop_last().unwrap();
    let mut stray = read(&key, &record)[0];
    (stray.seq, stray.ballot.voter, stray.ballot.clip) = (end(&disk), voter(77_777), ClipNo(3));
    append(&disk, &[stray]);
    let named = ["clip is not of its slot", "clip's timeline does not have it in its minute"];
    assert_eq!(run(&disk, false).problems, named.map(|what| format!("event {}: its {what}", stray.seq)));
}

#[test]
fn an_altered_minute_is_named_and_put_right() {
    type Change = fn(&mut TimelinePage);
    let altered = |change: Change| {
        let disk = disk();
        let key = keys::timeline(0, VOTES_FROM);
        assert!(disk.alter("tables", &key, |record| {
            let mut page = timeline::read(&key, record).unwrap();
            change(&mut page);
            Some(page.record(0))
        }));
        disk
    };
    let changes: [(Change, &str); 6] = [
        (|page| page.segments[0].votes -= 1, "clip c0: its timeline has 253 votes of weight 508 in minute 28333333"),
        (|page| page.segments[1].weight += 2, "clip c1: its timeline has 255 votes of weight 512 in minute 28333333"),
        (|page| page.segments[0].minute += 1, "event 7: its clip's timeline does not have it in its minute"),
        (|page| page.segments[1].low -= 1, "clip c1: its timeline's minute 28333333 from event 8 on ends elsewhere"),
        (|page| page.before[2] = (3, 4), "clip c2: its timeline begins behind 3 votes of weight 4, recounted 0 of 0"),
        (|page| page.segments[1].clip = ClipNo(2), "event 8: its clip's timeline does not have it in its minute"),
    ];
    for (change, named) in changes {
        let disk = altered(change);
        let found = run(&disk, false);
        assert!(found.wrong > 0 && found.problems[0].starts_with(named), "{named}: {:?}", found.problems);
        assert_eq!(run(&disk, true).repaired, 1);
        assert_eq!(run(&disk, false).problems, Vec::<String>::new());
        // What the tail adds is stored by the repair, and by nothing else here.
        let pages = |disk: &FaultyDisk| {
            let mut pages = Vec::new();
            Tables::open(disk.open("tables"))
                .unwrap()
                .each_timeline(|group, page| {
                    pages.push((group, page));
                    Ok(())
                })
                .unwrap();
            pages
        };
        let tail: i32 = pages(&disk).iter().flat_map(|(_, page)| &page.segments).map(|one| one.votes).sum();
        assert_eq!(tail, 509);
    }
}
