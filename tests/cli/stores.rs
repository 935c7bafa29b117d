//! Stores as older programs left them, kept under `tests/fixtures/stores` as the very files, each one packed; and how they
//! were made: the events that such a program wrote, folded, and what it did not know yet taken out again.
//!
//! ```text
//! first      the first programs: votes, a locked slot and an open one, a ban; killed before its log was folded
//! comments   and comments; closed cleanly; its secrets name no push app yet
//! rounds     slots with their ends, sorted ballots of a locked slot, minutes; killed while it sorted another, and while a
//!            reader held the tables, and between a renewed log's two names
//! origins    and where votes came from; closed cleanly
//! voids      and votes that an operator took out; killed while it searched for those of another void
//! ```
//!
//! `PLAUDIT_WRITE_FIXTURES=1 cargo test --test cli kept_stores` makes those anew that are not there: what a released program wrote
//! is never written again. A program that adds to the format adds a store of the one before it.

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use plaudit::closed::Rewrite;
use plaudit::codec::{self, Kind};
use plaudit::domain::{
    Clip, ClipDraft, ClipId, ClipNo, CommentChange, CommentPost, CommentRef, Decided, Event, FrozenBy, NamedVote,
    NamedVotes, NetworkHash, Origin, Outcome, Profile, Retraction, Root, Season, SeasonId, SeasonNo, Seq, Slot, SlotNo,
    VoidBy, VoidPlan, Vote, VoteKind, VoterKey,
};
use plaudit::fold::keys::{self, Table};
use plaudit::fold::records::{FirstSlotRecord, SlotRecord};
use plaudit::fold::sorted::Closing;
use plaudit::fold::{Mark, Tables};
use plaudit::log::Appender;
use plaudit::log::block::{self, Builder};
use plaudit::store::{Home, Marker, Store};

pub(crate) const KEPT: [&str; 5] = ["first", "comments", "rounds", "origins", "voids"];

const NOON: u64 = 1_700_000_000_000;
const DAY: u16 = 19_675;
const STORE: [u8; 16] = *b"a store of tests";
const VOTERS: [u8; 32] = [7; 32];
const SECRETS: &str = "jwt-secret = \"a\"\ncron-secret = \"b\"\nadmin-token = \"c\"\n\
    cookie-key = \"CAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAg\"\nvoter-key = \"BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc\"\n";
const PUSH_APP: &str = "push-app = \"plaudit:0123456789abcdef0123:secret\"\n";

/// The kept store's files, in a directory of their own.
pub(crate) fn unpack(name: &str, to: &Path) {
    let from = kept(name);
    for tree in ["", "log", "tables", "log.new"].into_iter().filter(|tree| from.join(tree).exists()) {
        fs::create_dir_all(to.join(tree)).unwrap();
        for entry in fs::read_dir(from.join(tree)).unwrap().map(|entry| entry.unwrap().path()) {
            let Some(file) = entry.file_name().and_then(|file| file.to_str()?.strip_suffix(".gz")) else { continue };
            let mut bytes = Vec::new();
            GzDecoder::new(File::open(&entry).unwrap()).read_to_end(&mut bytes).unwrap();
            fs::write(to.join(tree).join(file), bytes).unwrap();
        }
    }
}

/// Votes that stand in a kept store, clip by clip: what every reader of it must find.
pub(crate) fn votes(name: &str) -> Vec<(String, u64, u64)> {
    let mut clips = vec![(0, 0); 4];
    let mut add = |clip: ClipNo, weight: u16, sign: i64| {
        let sums: &mut (i64, i64) = &mut clips[clip.index()];
        *sums = (sums.0 + sign, sums.1 + sign * i64::from(weight));
    };
    for (_, event) in story(name).0 {
        match event {
            Event::Voted(vote) | Event::VotedFrom(vote, _) => add(vote.clip, vote.weight, 1),
            Event::Retracted(back) => add(back.clip, back.weight, -1),
            // The only one that names some takes effect.
            Event::VotesNamed(named) => named.votes.iter().for_each(|vote| add(vote.clip, vote.weight, -1)),
            _ => {}
        }
    }
    let rows = clips.into_iter().enumerate();
    rows.map(|(n, (votes, weight))| (format!("clip-{n}"), votes.cast_unsigned(), weight.cast_unsigned())).collect()
}

pub(crate) fn make_missing() {
    for name in KEPT.into_iter().filter(|name| !kept(name).exists()) {
        let dir = tempfile::tempdir().unwrap();
        make(name, dir.path());
        pack(dir.path(), &kept(name));
    }
}

fn kept(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/stores").join(name)
}

fn pack(from: &Path, to: &Path) {
    for tree in ["", "log", "tables", "log.new"].into_iter().filter(|tree| from.join(tree).exists()) {
        fs::create_dir_all(to.join(tree)).unwrap();
        for entry in fs::read_dir(from.join(tree)).unwrap().map(|entry| entry.unwrap().path()) {
            let file = entry.file_name().unwrap().to_str().unwrap();
            if entry.is_dir() || file == "BALLAST" {
                continue;
            }
            let packed = File::create(to.join(tree).join(format!("{file}.gz"))).unwrap();
            let mut packed = GzEncoder::new(packed, Compression::best());
            packed.write_all(&fs::read(&entry).unwrap()).unwrap();
            packed.finish().unwrap();
        }
    }
}

fn vote(n: u8, clip: u32) -> Vote {
    let kinds = [(VoteKind::Standard, 1), (VoteKind::Super, 3), (VoteKind::Mega, 10)];
    let (kind, weight) = kinds[usize::from(n) % 3];
    let voter = VoterKey::new(VOTERS).user(&format!("voter-{n}"));
    Vote { voter, clip: ClipNo(clip), slot: SlotNo(clip / 2), kind, weight, day: DAY }
}

fn clip(no: u32) -> Event {
    let draft = ClipDraft { title: format!("Clip {no}"), ..ClipDraft::default() };
    let id = ClipId::new(&format!("clip-{no}")).unwrap();
    Event::ClipAdded(Box::new(Clip { no: ClipNo(no), slot: SlotNo(no / 2), id, draft }))
}

/// What happened in a store, with times; and how many events of its end are in the log alone.
fn story(name: &str) -> (Vec<(u64, Event)>, usize) {
    let origins = name == "origins" || name == "voids";
    let rounds = name == "rounds" || origins;
    let voted = |vote: Vote| {
        let network = NetworkHash::of([9, 1, 2, 3, 4, 5, 6, 7]);
        if origins { Event::VotedFrom(vote, Origin { risk: 41, network }) } else { Event::Voted(vote) }
    };
    let slot = |no: u32| Event::SlotCreated(Slot { no: SlotNo(no), season: SeasonNo(0), position: no + 1 });
    let open = |no| Event::SlotOpened { slot: SlotNo(no), ends_at: None, hidden: false };
    let freeze = |no| {
        let now = Event::SlotStopped { slot: SlotNo(no), by: FrozenBy::Operator, after: None };
        if rounds { now } else { Event::SlotFrozen(SlotNo(no)) }
    };
    let season = Season { no: SeasonNo(0), id: SeasonId::new("s").unwrap(), name: "Season".into() };
    let mut all = vec![Event::Started, Event::SeasonCreated(season), slot(0), slot(1), slot(2)];
    all.extend((0..4).map(clip));
    all.extend([open(0), Event::SlotWaits(SlotNo(2))]);
    for n in 0..30 {
        all.push(voted(vote(n, u32::from(n % 2))));
        if n % 5 == 0 {
            let Vote { voter, clip, slot, weight, day, .. } = vote(n, u32::from(n % 2));
            all.push(Event::Retracted(Retraction { voter, clip, slot, vote: all.len() as Seq, weight, day }));
        }
    }
    all.push(Event::Banned { voter: vote(99, 0).voter, until: None, reason: "spam".into() });
    let frozen_at = all.len() as Seq + 1;
    all.push(freeze(0));
    // The first clip's are those of super and mega weight.
    let winner = Some(ClipNo(winner(&all)));
    all.push(if rounds {
        let outcome = Outcome { frozen_at, winner, decided: Decided::Tally, root: None };
        Event::SlotDecided { slot: SlotNo(0), outcome: Box::new(outcome) }
    } else {
        Event::SlotLocked { slot: SlotNo(0), winner }
    });
    all.push(open(1));
    all.extend((0..20).map(|n| voted(vote(n, 2 + u32::from(n % 2)))));
    if name != "first" {
        let id = all.len() as Seq + 1;
        let post = |parent, depth, text: &str| CommentPost {
            clip: ClipNo(2),
            parent,
            depth,
            author: vote(1, 2).voter,
            profile: Profile::cut(Some("Ada"), None),
            text: text.into(),
            held: false,
            request: None,
        };
        all.push(Event::CommentPosted(Box::new(post(0, 0, "first"))));
        all.push(Event::CommentPosted(Box::new(post(id, 1, "an answer"))));
        let of = CommentRef { clip: ClipNo(2), parent: 0, id };
        all.push(Event::CommentChanged(of, CommentChange::Liked(vote(2, 2).voter)));
    }
    if name == "rounds" {
        all.push(freeze(1));
    }
    if name == "voids" {
        let plan = |by| Box::new(VoidPlan { slot: SlotNo(1), by, reason: "a farm".into() });
        let named = all.iter().zip(1..).filter_map(|(event, seq)| match event {
            Event::VotedFrom(vote, _) if vote.clip == ClipNo(2) => {
                let Vote { voter, clip, weight, day, .. } = *vote;
                Some(NamedVote { seq, at: NOON + 997 * (seq - 1), voter, clip, weight, day })
            }
            _ => None,
        });
        let (void, slot, votes) = (all.len() as Seq + 1, SlotNo(1), named.skip(3).take(4).collect());
        all.push(Event::VoidBegun(plan(VoidBy::Flagged)));
        all.push(Event::VotesNamed(Box::new(NamedVotes { void, slot, votes })));
        all.push(Event::VoidTaken { void, slot });
        all.push(Event::VoidBegun(plan(VoidBy::Window { from_ms: 0, to_ms: NOON })));
    }
    let tail = if name == "first" { 7 } else { 0 };
    ((NOON..).step_by(997).zip(all).collect(), tail)
}

/// The best clip of the first slot.
fn winner(events: &[Event]) -> u32 {
    let mut weights = [0_i32; 2];
    for event in events {
        match event {
            Event::Voted(vote) | Event::VotedFrom(vote, _) => weights[vote.clip.index()] += i32::from(vote.weight),
            Event::Retracted(back) => weights[back.clip.index()] -= i32::from(back.weight),
            _ => {}
        }
    }
    u32::from(weights[1] > weights[0])
}

fn make(name: &str, dir: &Path) {
    let key = VoterKey::new(VOTERS);
    let home = Home::prepare(dir, STORE, key.fingerprint()).unwrap();
    let (mut events, tail) = story(name);
    let last = events.len() as Seq;
    let tail = events.split_off(events.len() - tail);
    append(&home, &mut events);
    if name == "first" || name == "comments" {
        forget_what_came_later(home.tables().as_ref());
    }
    if name == "rounds" {
        // Of an export that was cut short: what a page was, and that another was not there.
        for copy in [b"~c\0\0\0\0".as_slice(), b"~c\0\0\0\x09"] {
            let kept = home.tables().get(&copy[1..]).unwrap();
            home.tables().insert(copy, kept.as_deref().unwrap_or_default()).unwrap();
        }
    }
    if !tail.is_empty() {
        let Mark { seq, chain, .. } = Tables::open(home.tables()).unwrap().mark().unwrap();
        let mut builder = Builder::default();
        for (at, event) in &tail {
            builder.add(*at, event);
        }
        let (record, _) = builder.seal(seq + 1, chain);
        home.log().insert(&block::key(seq + 1), record).unwrap();
    }
    home.log().flush().unwrap();
    home.tables().flush().unwrap();
    let clean = (name == "comments" || name == "origins").then_some(last);
    Marker { clean, ..*home.marker() }.write(dir).unwrap();
    let app = if name == "origins" || name == "voids" { PUSH_APP } else { "" };
    fs::write(dir.join("secrets.toml"), format!("{SECRETS}{app}")).unwrap();
    drop(home);
    // sled's threads have ended when its lock is free.
    for tree in ["log", "tables"] {
        File::open(dir.join(tree).join("db")).unwrap().lock().unwrap();
    }
    if name == "rounds" {
        fs::rename(dir.join("log"), dir.join("log.new")).unwrap();
    }
}

/// Adds the events, and sorts closed slots as a server does in between: a lock comes behind the tree that it names.
fn append(home: &Home, events: &mut [(u64, Event)]) {
    let mut appender = Some(home_appender(home));
    for (at, event) in events.iter_mut() {
        if let Event::SlotDecided { slot, outcome } = event {
            appender.take().unwrap().finish().unwrap();
            sort(home, *slot);
            let sorted = closing(home, *slot).sorted.unwrap();
            outcome.root = Some(Root { hash: sorted.root, leaves: sorted.leaves });
            appender = Some(home_appender(home));
        }
        appender.as_mut().unwrap().add(*at, event.clone()).unwrap().unwrap();
    }
    appender.unwrap().finish().unwrap();
    if events.iter().any(|(_, event)| matches!(event, Event::SlotDecided { .. })) {
        sort(home, SlotNo(0));
    }
    if let Some((_, Event::SlotStopped { slot, .. })) = events.last() {
        sort(home, *slot);
        // Killed before the pages were named.
        let key = keys::page(Table::Closings, slot.0);
        let unnamed = Closing { sorted: None, ..closing(home, *slot) };
        home.tables().insert(&key, &codec::record(Kind::Closing, &key, &unnamed)).unwrap();
    }
}

fn home_appender(home: &Home) -> Appender {
    Appender::open(home.log(), home.tables(), block::genesis(STORE)).unwrap()
}

fn closing(home: &Home, slot: SlotNo) -> Closing {
    Tables::open(home.tables()).unwrap().closing(slot).unwrap().unwrap()
}

/// Sorts a closed slot's ballots.
fn sort(home: &Home, slot: SlotNo) {
    let mut rewrite = Rewrite::new(home.tables());
    rewrite.look_at(slot);
    while rewrite.step().unwrap() {}
}

/// Leaves what the first programs would have written.
fn forget_what_came_later(tables: &dyn Store) {
    let (from, to) = keys::pages_of(Table::Slots);
    let mut written = Vec::new();
    let each = &mut |key: &[u8], record: &plaudit::store::Value| {
        let SlotRecord { last, slot, moves, span, hidden, outcome, .. } = SlotRecord::read("tables", key, record)?;
        let winner = outcome.and_then(|outcome| outcome.winner);
        let first = FirstSlotRecord { last, slot, moves, span, hidden, winner };
        written.push((key.to_vec(), codec::record(Kind::FirstSlot, key, &first)));
        Ok(ControlFlow::Continue(()))
    };
    tables.scan(&from, &to, each).unwrap();
    for (key, record) in &written {
        tables.insert(key, record).unwrap();
    }
    let (minutes, behind) = keys::timelines();
    let (closings, end) = keys::pages_of(Table::Closings);
    let mut gone = Vec::new();
    for (from, to) in [(&minutes[..], &behind[..]), (&closings[..], &end[..])] {
        let each = &mut |key: &[u8], _: &plaudit::store::Value| {
            gone.push(key.to_vec());
            Ok(ControlFlow::Continue(()))
        };
        tables.scan(from, to, each).unwrap();
    }
    assert!(!gone.is_empty());
    for key in &gone {
        tables.remove(key).unwrap();
    }
}
