//! The bytes on the disk: one record of every kind as version 1 wrote it, kept under `tests/fixtures/v1`, still read, and
//! still what this program writes.
//!
//! `PLAUDIT_WRITE_FIXTURES=1 cargo test --test format` writes the files anew (run it once more without, since the
//! last two tests read what the others write). That is right for a kind of record that no
//! released program has written yet. For any other a change of its bytes is a new version: raise `codec::VERSION`, put
//! its records under `tests/fixtures/v2`, and keep `v1` and the tests that read it as they are.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use plaudit::codec::{self, Chain, Kind};
use plaudit::domain::{
    Clip, ClipDraft, ClipId, ClipNo, Comment, CommentChange, CommentPost, CommentRef, CommentStatus, Decided,
    ErasurePart, ErasurePass, ErasureState, Event, FrozenBy, Logged, ModerationQueue, NamedVote, NamedVotes,
    NetworkHash, Origin, Outcome, Profile, RequestKey, Retraction, Root, Season, SeasonId, SeasonNo, Slot, SlotNo,
    SlotStatus, Span, Verdict, VoidBy, VoidPlan, VoidState, VoidStep, Vote, VoteKind, VoterId,
};
use plaudit::fold::ballot_block::{self, Act, Head};
use plaudit::fold::comments::{CommentCounts, CommentId, LIKED, Queued, REPORTED, Rank, Replies};
use plaudit::fold::keys::{self, Table};
use plaudit::fold::ranges::{Item, RangePage};
use plaudit::fold::records::{BansPage, ClipsPage, FirstSlotRecord, SeasonsPage, SlotRecord};
use plaudit::fold::sorted::{self, Closing, Counts, FreezeBlock, Hashes, Sorted, SortedPages, Who};
use plaudit::fold::timeline::{self, TimelinePage};
use plaudit::fold::totals::{Change, TotalsPage};
use plaudit::fold::void_pages::{Named, TakenBack};
use plaudit::fold::{self, Ballot, BallotBlock, BanMove, Mark, Move, Stored};
use plaudit::log::block::{self, Builder};

const NOON: u64 = 1_700_000_000_000;
const DAY: u16 = 19_675;
const VOTER: VoterId = VoterId([0xa1; 16]);
const OTHER: VoterId = VoterId([0xa1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 255]);
const SLOT: SlotNo = SlotNo(3);
/// The first sequence of the fixtures' blocks: one that needs more than one byte.
const FIRST: u64 = 70_000;
const GENESIS: Chain = [0x5a; 32];

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/v1").join(name)
}

/// The kept bytes of a record, once they are compared with what is written today.
fn kept(name: &str, written: &[u8]) -> Vec<u8> {
    if std::env::var_os("PLAUDIT_WRITE_FIXTURES").is_some() {
        fs::write(file(name), written).unwrap();
    }
    let kept = fs::read(file(name)).unwrap();
    assert!(
        kept == written,
        "{name}: the format has changed, first at byte {} (kept {}, written {} bytes). Stores in the field hold the kept \
         form: raise codec::VERSION, keep reading version 1, and put the new form under tests/fixtures/v2",
        kept.iter().zip(written).position(|(a, b)| a != b).unwrap_or(kept.len().min(written.len())),
        kept.len(),
        written.len()
    );
    kept
}

/// Writes a record of one value, compares the bytes, and reads the kept ones back.
fn one<T>(name: &str, kind: Kind, key: &[u8], value: &T)
where
    T: bincode::Encode + bincode::Decode<()> + PartialEq + std::fmt::Debug,
{
    let kept = kept(name, &codec::record(kind, key, value));
    assert_eq!(&codec::read::<T>("tables", kind, key, &kept).unwrap(), value, "{name}");
}

fn clip() -> Clip {
    let draft = ClipDraft {
        title: "Neon Rain".into(),
        owner: Some("ada".into()),
        username: Some("Ada L.".into()),
        avatar_url: Some("https://example.org/a.png".into()),
        video_url: Some("/v/1.mp4".into()),
        thumbnail_url: Some("/t/1.jpg".into()),
    };
    Clip { no: ClipNo(300), slot: SLOT, id: ClipId::new("clip-1").unwrap(), draft }
}

fn plain_clip() -> Clip {
    let draft = ClipDraft { title: "Ünï".into(), ..ClipDraft::default() };
    Clip { no: ClipNo(301), slot: SlotNo(0), id: ClipId::new("Z.z_=@-9").unwrap(), draft }
}

fn season(no: u32, id: &str, name: &str) -> Season {
    Season { no: SeasonNo(no), id: SeasonId::new(id).unwrap(), name: name.into() }
}

fn vote(kind: VoteKind, weight: u16) -> Event {
    Event::Voted(Vote { voter: VOTER, clip: ClipNo(300), slot: SLOT, kind, weight, day: DAY })
}

fn retraction() -> Retraction {
    Retraction { voter: VOTER, clip: ClipNo(300), slot: SLOT, vote: 68_999, weight: 10, day: DAY - 1 }
}

/// An event of every variant but those of comments and of a round's end, those with options in both forms; the time steps forwards and back.
fn events() -> Vec<(u64, Event)> {
    let slot = Slot { no: SLOT, season: SeasonNo(1), position: 2 };
    let all = vec![
        Event::Started,
        vote(VoteKind::Standard, 1),
        vote(VoteKind::Super, 3),
        vote(VoteKind::Mega, 1_000),
        Event::Retracted(retraction()),
        Event::SeasonCreated(season(1, "s-2", "Season two")),
        Event::SlotCreated(slot),
        Event::ClipAdded(Box::new(clip())),
        Event::ClipAdded(Box::new(plain_clip())),
        Event::SlotWaits(SLOT),
        Event::SlotOpened { slot: SLOT, ends_at: Some(NOON + 3_600_000), hidden: true },
        Event::SlotOpened { slot: SLOT, ends_at: None, hidden: false },
        Event::SlotFrozen(SLOT),
        Event::SlotLocked { slot: SLOT, winner: Some(ClipNo(300)) },
        Event::SlotLocked { slot: SLOT, winner: None },
        Event::Banned { voter: VOTER, until: Some(NOON), reason: "spam".into() },
        Event::Banned { voter: OTHER, until: None, reason: String::new() },
        Event::Unbanned(VOTER),
    ];
    timed(all)
}

/// Those of comments: a block of their own, so that the older one stays as it was kept.
fn comment_events() -> Vec<(u64, Event)> {
    timed(vec![
        Event::CommentPosted(Box::new(post(true))),
        Event::CommentPosted(Box::new(post(false))),
        Event::CommentChanged(PLACE, CommentChange::Deleted { by: Some(VOTER) }),
        Event::CommentChanged(PLACE, CommentChange::Deleted { by: None }),
        Event::CommentChanged(PLACE, CommentChange::Liked(VOTER)),
        Event::CommentChanged(PLACE, CommentChange::Unliked(OTHER)),
        Event::CommentChanged(PLACE, CommentChange::Reported { voter: VOTER, hides_at: 3 }),
        Event::CommentChanged(PLACE, CommentChange::Moderated(Verdict::Approve)),
        Event::CommentChanged(PLACE, CommentChange::Moderated(Verdict::Hide)),
    ])
}

/// Those of a round's end, likewise.
fn round_events() -> Vec<(u64, Event)> {
    timed(vec![
        Event::SlotStopped { slot: SLOT, by: FrozenBy::Operator, after: None },
        Event::SlotStopped { slot: SLOT, by: FrozenBy::Timer, after: Some(FIRST) },
        Event::SlotStopped { slot: SLOT, by: FrozenBy::Lock, after: None },
        Event::SlotExtended { slot: SLOT, ends_at: Some(NOON + 7_200_000) },
        Event::SlotExtended { slot: SLOT, ends_at: None },
        Event::SlotReopened { slot: SLOT, ends_at: Some(NOON + 7_200_000) },
        Event::SlotReopened { slot: SLOT, ends_at: None },
        Event::SlotDecided { slot: SLOT, outcome: Box::new(outcome(true)) },
        Event::SlotDecided { slot: SLOT, outcome: Box::new(outcome(false)) },
    ])
}

/// Votes that came by a request, likewise.
fn request_events() -> Vec<(u64, Event)> {
    let vote = |kind, weight| Vote { voter: VOTER, clip: ClipNo(300), slot: SLOT, kind, weight, day: DAY };
    timed(vec![
        Event::VotedFrom(vote(VoteKind::Standard, 1), ORIGIN),
        Event::VotedFrom(vote(VoteKind::Mega, 1_000), Origin { risk: 0, ..ORIGIN }),
        Event::VotedFrom(vote(VoteKind::Super, 3), Origin { network: NetworkHash::UNKNOWN, ..ORIGIN }),
    ])
}

/// Those of voids, likewise.
fn void_events() -> Vec<(u64, Event)> {
    let by = [
        VoidBy::Voter(VOTER),
        VoidBy::Network(ORIGIN.network),
        VoidBy::Window { from_ms: NOON, to_ms: NOON + 60_000 },
        VoidBy::Flagged,
    ];
    let begun = by.map(|by| Event::VoidBegun(Box::new(VoidPlan { slot: SLOT, by, reason: "a farm".into() })));
    let named = NamedVotes { void: FIRST, slot: SLOT, votes: vec![named_vote(68_999), named_vote(69_003)] };
    let decided = Outcome { decided: Decided::TallyAfter(FIRST + 5), ..outcome(false) };
    timed(
        begun
            .into_iter()
            .chain([
                Event::VotesNamed(Box::new(named)),
                Event::VoidTaken { void: FIRST, slot: SLOT },
                Event::VoidLifted { void: FIRST, slot: SLOT, reason: "not a farm".into() },
                Event::SlotDecided { slot: SLOT, outcome: Box::new(decided) },
            ])
            .collect(),
    )
}

/// Those of erasures, likewise, and what they do to comments.
fn erasure_events() -> Vec<(u64, Event)> {
    timed(vec![
        Event::ErasureBegun { voter: VOTER, day: DAY, clips: ClipNo(301) },
        Event::CommentChanged(PLACE, CommentChange::Emptied),
        Event::CommentChanged(PLACE, CommentChange::Unnamed { voter: VOTER, set: LIKED | REPORTED }),
        Event::ErasureWent {
            erasure: FIRST,
            part: ErasurePart::Clips { clips: vec![ClipNo(3), ClipNo(300)], owners: true },
        },
        Event::ErasureWent { erasure: FIRST, part: ErasurePart::Clips { clips: vec![ClipNo(300)], owners: false } },
        Event::ErasureWent { erasure: FIRST, part: ErasurePart::Searched },
        Event::ErasureEnded(FIRST),
    ])
}

#[test]
fn what_is_known_of_erasures() {
    let begun = ErasureState::begin(FIRST, NOON, VOTER, DAY, ClipNo(301));
    let mut on_its_way = begun.clone();
    on_its_way.search(FIRST + 5);
    on_its_way.pass = ErasurePass { waits: Some(vec![SlotNo(0), SLOT]), tidied: true, swept: false };
    let mut ended = on_its_way.clone();
    ended.pass = ErasurePass { waits: Some(Vec::new()), tidied: true, swept: true };
    ended.end(FIRST + 300);
    assert_eq!(ended.voter, None);
    for (name, state) in [("erasure_begun.bin", begun), ("erasure.bin", on_its_way), ("erasure_ended.bin", ended)] {
        one(name, Kind::Erasure, &keys::erasure(FIRST), &state);
    }
}

fn named_vote(seq: u64) -> NamedVote {
    NamedVote { seq, at: NOON - 5, voter: VOTER, clip: ClipNo(300), weight: 3, day: DAY }
}

#[test]
fn what_is_known_of_voids() {
    let plan = VoidPlan { slot: SLOT, by: VoidBy::Voter(VOTER), reason: "a farm".into() };
    let begun = VoidState::begin(FIRST, NOON, plan);
    let step = |seq, sign: i64| VoidStep { seq, at: NOON + seq, changes: vec![(ClipNo(300), -2 * sign, -6 * sign)] };
    let mut whole = begun.clone();
    whole.take(step(FIRST + 5, 1), 2);
    whole.lift(step(FIRST + 9, -1), "not a farm");
    let mut dropped = begun.clone();
    dropped.end(FIRST + 2);
    for (name, state) in [("void_begun.bin", begun), ("void.bin", whole), ("void_dropped.bin", dropped)] {
        one(name, Kind::Void, &keys::void(FIRST), &state);
    }
    let key = keys::named(SLOT, FIRST, FIRST + 4);
    one("named_votes.bin", Kind::NamedVotes, &key, &Named(vec![named_vote(68_999), named_vote(69_003)]));
    let taken_back = TakenBack([(68_999, FIRST + 6), (69_003, FIRST + 7)].into());
    one("taken_back.bin", Kind::TakenBack, &keys::taken_back(SLOT, 67), &taken_back);
}

const ORIGIN: Origin = Origin { risk: 255, network: NetworkHash::of([0xff, 0xfe, 2, 3, 4, 5, 6, 0]) };

fn outcome(whole: bool) -> Outcome {
    Outcome {
        frozen_at: FIRST + 3,
        winner: whole.then_some(ClipNo(300)),
        decided: if whole { Decided::ByHand { reason: "the first was withdrawn".into() } } else { Decided::Tally },
        root: whole.then_some(Root { hash: [0x7e; 32], leaves: 70_000 }),
    }
}

fn timed(events: Vec<Event>) -> Vec<(u64, Event)> {
    events.into_iter().zip(0..).map(|(event, n): (_, u64)| (NOON + 40 * n - 300 * (n % 3), event)).collect()
}

/// The on-disk tag of an event. A new variant doesn't compile until it is named here, and fails until it is in [`events`],
/// [`comment_events`], [`round_events`], [`request_events`], [`void_events`] or [`erasure_events`].
fn tag(event: &Event) -> u8 {
    match event {
        Event::Started => 0,
        Event::Voted(_) => 1,
        Event::Retracted(_) => 2,
        Event::SeasonCreated(_) => 3,
        Event::SlotCreated(_) => 4,
        Event::ClipAdded(_) => 5,
        Event::SlotWaits(_) => 6,
        Event::SlotOpened { .. } => 7,
        Event::SlotFrozen(_) => 8,
        Event::SlotLocked { .. } => 9,
        Event::Banned { .. } => 10,
        Event::Unbanned(_) => 11,
        Event::CommentPosted(_) => 12,
        Event::CommentChanged(..) => 13,
        Event::SlotStopped { .. } => 14,
        Event::SlotExtended { .. } => 15,
        Event::SlotReopened { .. } => 16,
        Event::SlotDecided { .. } => 17,
        Event::VotedFrom(..) => 18,
        Event::VoidBegun(_) => 19,
        Event::VotesNamed(_) => 20,
        Event::VoidTaken { .. } => 21,
        Event::VoidLifted { .. } => 22,
        Event::ErasureBegun { .. } => 23,
        Event::ErasureWent { .. } => 24,
        Event::ErasureEnded(_) => 25,
    }
}

/// The on-disk tag of a comment's change, likewise.
fn change_tag(change: &CommentChange) -> u8 {
    match change {
        CommentChange::Deleted { .. } => 0,
        CommentChange::Liked(_) => 1,
        CommentChange::Unliked(_) => 2,
        CommentChange::Reported { .. } => 3,
        CommentChange::Moderated(_) => 4,
        CommentChange::Emptied => 5,
        CommentChange::Unnamed { .. } => 6,
    }
}

const PLACE: CommentRef = CommentRef { clip: ClipNo(300), parent: 68_000, id: 69_000 };

fn post(whole: bool) -> CommentPost {
    CommentPost {
        clip: ClipNo(300),
        parent: if whole { 68_000 } else { 0 },
        depth: u8::from(whole),
        author: VOTER,
        profile: if whole {
            Profile::cut(Some("Ada L."), Some("https://example.org/a.png"))
        } else {
            Profile::default()
        },
        text: if whole { "Schöner Clip".into() } else { "x".into() },
        held: whole,
        request: whole.then_some(RequestKey { key: [0x11; 16], body: [0x22; 16] }),
    }
}

fn comment(parent: u64, id: u64, status: CommentStatus) -> Comment {
    let mut comment = Comment::posted(id, NOON + id, &CommentPost { parent, ..post(true) });
    (comment.status, comment.likes, comment.reports) = (status, 300, 2);
    comment
}

#[test]
fn log_blocks_with_every_event() {
    let mut tags = log_block("log_block.bin", events());
    assert_eq!(tags, (0..12).collect(), "every variant is in the block");
    tags.extend(log_block("log_block_comments.bin", comment_events()));
    tags.extend(log_block("log_block_rounds.bin", round_events()));
    tags.extend(log_block("log_block_requests.bin", request_events()));
    tags.extend(log_block("log_block_voids.bin", void_events()));
    tags.extend(log_block("log_block_erasures.bin", erasure_events()));
    assert_eq!(tags, (0..26).collect(), "every variant is in a block");
    let changes = comment_events().into_iter().chain(erasure_events()).filter_map(|(_, event)| match event {
        Event::CommentChanged(_, change) => Some(change_tag(&change)),
        _ => None,
    });
    assert_eq!(changes.collect::<BTreeSet<u8>>(), (0..7).collect(), "every change is in a block");
}

/// Compares a block of these events with the kept one, reads that back, and gives the tags in it.
fn log_block(name: &str, events: Vec<(u64, Event)>) -> BTreeSet<u8> {
    let mut builder = Builder::default();
    for (at, event) in &events {
        builder.add(*at, event);
    }
    let (record, chain) = builder.seal(FIRST, GENESIS);
    let kept = kept(name, record);

    let mut seen = Vec::new();
    let link = block::read(&block::key(FIRST), &kept, |logged| {
        seen.push(logged);
        Ok(())
    });
    let link = link.unwrap();
    let wanted: Vec<_> = events.into_iter().zip(FIRST..).map(|((at, event), seq)| Logged { seq, at, event }).collect();
    assert_eq!(seen, wanted);
    assert_eq!((link.first, link.last), (FIRST, FIRST + wanted.len() as u64 - 1));
    assert_eq!((link.previous, link.chain), (GENESIS, chain));
    for logged in &wanted {
        let mut bytes = Vec::new();
        codec::put(&logged.event, &mut bytes);
        assert_eq!(bytes[0], tag(&logged.event), "a tag is on the disk: append variants, never reorder");
    }
    wanted.iter().map(|logged| tag(&logged.event)).collect()
}

fn ballot(voter: VoterId, weight: u16, day: u16, act: Act) -> Ballot {
    Ballot { voter, clip: ClipNo(300), weight, day, act, origin: Origin::default() }
}

#[test]
fn a_ballot_block_with_every_act() {
    let entries = [
        Stored { seq: FIRST, at: NOON, ballot: ballot(VOTER, 1, DAY, Act::Cast(VoteKind::Standard)) },
        Stored { seq: FIRST + 1, at: NOON - 7, ballot: ballot(OTHER, 3, DAY + 1, Act::Cast(VoteKind::Super)) },
        Stored {
            seq: FIRST + 400,
            at: NOON + 90_000,
            ballot: ballot(VOTER, 1_000, DAY - 1, Act::Cast(VoteKind::Mega)),
        },
        Stored { seq: FIRST + 401, at: NOON + 90_000, ballot: ballot(VOTER, 1, DAY, Act::Retract(FIRST)) },
    ];
    let mut block = BallotBlock::begin(entries[0]);
    entries[1..].iter().for_each(|entry| block.append(*entry));
    let key = keys::ballots(SLOT, FIRST);
    let kept = kept("ballot_block.bin", &block.record(SLOT));

    let mut seen = Vec::new();
    let head = ballot_block::read(&key, &kept, |stored| {
        seen.push(stored);
        Ok(())
    });
    let wanted = Head { first: FIRST, last: FIRST + 401, day: DAY, max_day: DAY + 1, entries: 4, at: NOON };
    assert_eq!(head.unwrap(), wanted);
    assert_eq!(seen, entries);
    assert_eq!(ballot_block::head(&key, &kept).unwrap(), wanted);

    // A later version may have to go on with an old block.
    let mut resumed = BallotBlock::resume(&key, &kept).unwrap();
    let last = Stored { seq: FIRST + 402, at: NOON, ballot: ballot(OTHER, 3, DAY, Act::Retract(FIRST + 1)) };
    resumed.append(last);
    let mut seen = Vec::new();
    let read = ballot_block::read(&key, &resumed.record(SLOT), |stored| {
        seen.push(stored);
        Ok(())
    });
    read.unwrap();
    assert_eq!(seen, [&entries[..], &[last]].concat());
}

/// Another block, so that the older one stays as it was kept: one of votes without an origin is written as ever.
#[test]
fn a_ballot_block_with_every_origin() {
    let from = |kind, origin| Ballot { origin, ..ballot(VOTER, 1, DAY, Act::Cast(kind)) };
    let ballots = [
        from(VoteKind::Standard, ORIGIN),
        from(VoteKind::Super, Origin { risk: 0, ..ORIGIN }),
        from(VoteKind::Mega, Origin { network: NetworkHash::UNKNOWN, ..ORIGIN }),
        from(VoteKind::Standard, Origin::default()),
        ballot(VOTER, 1, DAY, Act::Retract(FIRST)),
    ];
    let entries: Vec<_> =
        ballots.into_iter().zip(0..).map(|(ballot, n)| Stored { seq: FIRST + n, at: NOON + n, ballot }).collect();
    let mut block = BallotBlock::begin(entries[0]);
    entries[1..].iter().for_each(|entry| block.append(*entry));
    let key = keys::ballots(SLOT, FIRST);
    let kept = kept("ballot_block_origins.bin", &block.record(SLOT));
    let mut seen = Vec::new();
    let read = ballot_block::read(&key, &kept, |stored| {
        seen.push(stored);
        Ok(())
    });
    read.unwrap();
    assert_eq!(seen, entries);

    // A block of before there were origins goes on with votes that have one.
    let key = keys::ballots(SLOT, FIRST);
    let mut resumed = BallotBlock::resume(&key, &fs::read(file("ballot_block.bin")).unwrap()).unwrap();
    let more = Stored { seq: FIRST + 402, at: NOON, ballot: from(VoteKind::Super, ORIGIN) };
    resumed.append(more);
    let mut last = None;
    let head = ballot_block::read(&key, &resumed.record(SLOT), |stored| {
        last = Some(stored);
        Ok(())
    });
    assert_eq!((head.unwrap().entries, last), (5, Some(more)));
}

#[test]
fn pages_of_a_locked_slots_sorted_ballots() {
    let ballot = |who, seq, kind, weight, day| Sorted {
        who,
        seq,
        at: NOON + seq,
        clip: ClipNo(300),
        kind,
        weight,
        day,
        origin: Origin::default(),
    };
    let ballots = [
        ballot(Who::Voter(VOTER), FIRST + 400, VoteKind::Standard, 1, DAY),
        ballot(Who::Erased([0x3c; 32]), FIRST, VoteKind::Super, 3, DAY + 1),
        ballot(Who::Voter(OTHER), FIRST + 401, VoteKind::Mega, 1_000, DAY - 1),
    ];
    let key = keys::sorted(SLOT, 2, sorted::BALLOTS, 9);
    assert_eq!(sorted::read(&key, &kept("sorted.bin", &sorted::page(&key, &ballots))).unwrap(), ballots);
    let from = ballots.map(|ballot| Sorted { origin: ORIGIN, ..ballot });
    assert_eq!(sorted::read(&key, &kept("sorted_origins.bin", &sorted::page(&key, &from))).unwrap(), from);
    let hashes = Hashes(vec![[0x11; 32], [0x22; 32]]);
    one("sorted_hashes.bin", Kind::Sorted, &keys::sorted(SLOT, 2, 1, 0), &hashes);
    let counts = Counts(vec![(ClipNo(300), 70_000, 210_000), (ClipNo(301), 1, 1)]);
    one("sorted_counts.bin", Kind::Sorted, &keys::sorted(SLOT, 2, sorted::COUNTS, 0), &counts);
}

#[test]
fn how_a_slot_closed() {
    let key = keys::page(Table::Closings, SLOT.0);
    let block = FreezeBlock { first: FIRST, last: FIRST + 900, chain: [0xc3; 32] };
    let pages = SortedPages { generation: 2, leaves: 70_001, root: [0x5d; 32], max_day: DAY };
    let whole = Closing { freeze: FIRST + 12, block: Some(block), sorted: Some(pages) };
    one("closing.bin", Kind::Closing, &key, &whole);
    one("closing_new.bin", Kind::Closing, &key, &Closing { block: None, sorted: None, ..whole });
}

#[test]
fn a_page_of_totals() {
    let mut page = TotalsPage::default();
    page.last = FIRST + 401;
    page.set(ClipNo(256), (1, 3));
    page.set(ClipNo(258), (70_000, u64::from(u32::MAX) + 9));
    one("totals.bin", Kind::Totals, &keys::page(Table::Totals, 1), &page);
    let listed: Vec<_> = page.iter(1).collect();
    let wanted = [(ClipNo(256), 1, 3), (ClipNo(257), 0, 0), (ClipNo(258), 70_000, u64::from(u32::MAX) + 9)];
    assert_eq!(listed, wanted);
}

#[test]
fn a_page_of_minutes() {
    let mut page = TimelinePage::begin(FIRST, [(0, 0); 16]);
    (page.before[0], page.before[12]) = ((3, 70_000), (9, 9));
    let changes =
        [(0, 300, 1, 10), (7, 300, 1, 3), (40_000, 300, -1, -10), (40_001, 290, 1, 1), (300_000, 291, 1, 1_000)];
    for (n, clip, votes, weight) in changes {
        // The time steps back with every second one.
        let at = NOON + 90_000 * (n % 2) + n % 60_000;
        assert!(page.add(FIRST + n, at, ClipNo(clip), Change { votes, weight }));
    }
    assert_eq!(page.segments.len(), 5);
    let key = keys::timeline(18, FIRST);
    let kept = kept("timeline.bin", &page.record(18));
    assert_eq!(timeline::read(&key, &kept).unwrap(), page);
}

#[test]
fn a_page_of_seasons() {
    let page = SeasonsPage { last: FIRST + 5, items: vec![season(0, "s-1", "Öne"), season(1, "s-2", "Season two")] };
    one("seasons.bin", Kind::Seasons, &keys::page(Table::Seasons, 0), &page);
}

/// Nobody writes the first form any more; it is read for ever.
#[test]
fn a_slots_life_as_the_first_programs_wrote_it() {
    let first = FirstSlotRecord {
        last: FIRST + 4,
        slot: SLOT_TWO,
        moves: life(),
        span: SPAN,
        hidden: true,
        winner: Some(ClipNo(300)),
    };
    let key = keys::page(Table::Slots, SLOT.0);
    one("slot.bin", Kind::FirstSlot, &key, &first);
    let read = SlotRecord::read("tables", &key, &fs::read(file("slot.bin")).unwrap()).unwrap();
    let outcome = Outcome { winner: Some(ClipNo(300)), ..outcome(false) };
    assert_eq!(read, SlotRecord { frozen_by: Some(FrozenBy::Operator), outcome: Some(outcome), ..whole_slot() });
    let (slot, moves) = (NEW_SLOT, vec![Move { seq: FIRST, at: NOON, to: SlotStatus::Upcoming }]);
    let new = FirstSlotRecord { last: FIRST, slot, moves, span: Span::default(), hidden: false, winner: None };
    let key = keys::page(Table::Slots, 0);
    one("slot_new.bin", Kind::FirstSlot, &key, &new);
    let read = SlotRecord::read("tables", &key, &fs::read(file("slot_new.bin")).unwrap()).unwrap();
    assert_eq!(read, SlotRecord::new(FIRST, NOON, NEW_SLOT));
}

#[test]
fn a_slot_that_went_through_its_whole_life() {
    let key = keys::page(Table::Slots, SLOT.0);
    one("slot_life.bin", Kind::Slot, &key, &whole_slot());
    assert_eq!(SlotRecord::read("tables", &key, &fs::read(file("slot_life.bin")).unwrap()).unwrap(), whole_slot());
    assert_eq!(whole_slot().status(), SlotStatus::Locked);
    one("slot_life_new.bin", Kind::Slot, &keys::page(Table::Slots, 0), &SlotRecord::new(FIRST, NOON, NEW_SLOT));
}

const SLOT_TWO: Slot = Slot { no: SLOT, season: SeasonNo(1), position: 2 };
const NEW_SLOT: Slot = Slot { no: SlotNo(0), season: SeasonNo(0), position: 1 };
const SPAN: Span = Span { started_at: Some(NOON + 20), ends_at: Some(NOON + 3_600_000) };

fn life() -> Vec<Move> {
    use SlotStatus::{Frozen, Locked, Upcoming, Voting, WaitingForClips};
    let lives = [Upcoming, WaitingForClips, Voting, Frozen, Locked];
    lives.into_iter().zip(0..).map(|(to, n)| Move { seq: FIRST + n, at: NOON + 10 * n, to }).collect()
}

fn whole_slot() -> SlotRecord {
    SlotRecord {
        last: FIRST + 4,
        slot: SLOT_TWO,
        moves: life(),
        span: SPAN,
        hidden: true,
        frozen_by: Some(FrozenBy::Timer),
        outcome: Some(outcome(true)),
    }
}

#[test]
fn a_page_of_clips() {
    let page = ClipsPage { last: FIRST + 8, items: vec![clip(), plain_clip()] };
    one("clips.bin", Kind::Clips, &keys::page(Table::Clips, 18), &page);
}

#[test]
fn a_page_of_bans() {
    let ban = |seq, lifted, until, reason: &str| BanMove { seq, lifted, until, reason: reason.into() };
    let page = BansPage {
        last: FIRST + 17,
        voters: vec![
            (OTHER, vec![ban(FIRST + 16, false, None, "")]),
            (VOTER, vec![ban(FIRST + 15, false, Some(NOON), "spam"), ban(FIRST + 17, true, None, "")]),
        ],
    };
    one("bans.bin", Kind::Bans, &keys::page(Table::Bans, keys::bans_page(VOTER)), &page);
}

/// A page of a range, under the key of its first item's place.
fn range<T>(name: &str, start: T::Key, items: Vec<T>)
where
    T: Item + PartialEq + std::fmt::Debug,
{
    let key = T::bytes(start);
    one(name, T::KIND, &key, &RangePage { last: FIRST + 9, items });
    assert_eq!(T::bytes(T::parse(&key).unwrap()), key, "{name}: its key reads back");
}

#[test]
fn pages_of_comments() {
    use CommentStatus::{Deleted, Hidden, Pending, Reported, Visible};
    let statuses = [Visible, Pending, Reported, Hidden, Deleted];
    let items = (0..).zip(statuses).map(|(n, status)| comment(68_000, 69_000 + n, status)).collect();
    range::<Comment>("comments.bin", comment(68_000, 69_000, Visible).place, items);
}

#[test]
fn pages_of_what_is_derived_from_comments() {
    let request = Some(RequestKey { key: [0x11; 16], body: [0x22; 16] });
    let id = |id, request| CommentId { place: CommentRef { id, ..PLACE }, author: VOTER, at: NOON, request };
    range("comment_ids.bin", 69_000, vec![id(69_000, request), id(69_001, None)]);
    let mark = |voter, set| fold::comments::Mark { comment: 69_000, voter, set };
    range("marks.bin", (0, VoterId([0; 16])), vec![mark(OTHER, LIKED), mark(VOTER, LIKED | REPORTED)]);
    let rank = |likes, id| Rank { place: CommentRef { id, ..PLACE }, likes };
    range("ranks.bin", (ClipNo(300), 68_000, 0, 0), vec![rank(0, 69_001), rank(300, 69_000)]);
    let queued = |id| Queued { queue: ModerationQueue::Reported, place: CommentRef { id, ..PLACE } };
    range("queue.bin", (ModerationQueue::Reported, 0), vec![queued(69_000), queued(70_000)]);
    let replies = |id, visible, ever| Replies { clip: ClipNo(300), id, visible, ever };
    range("replies.bin", (ClipNo(300), 0), vec![replies(68_000, 1, 300), replies(69_000, 0, 2)]);
    let counts = CommentCounts { last: FIRST, counts: vec![3, 0, 70_000] };
    one("comment_counts.bin", Kind::CommentCounts, &keys::page(Table::CommentCounts, 1), &counts);
}

#[test]
fn the_mark() {
    one("mark.bin", Kind::Mark, keys::MARK, &Mark { seq: FIRST + 17, block: FIRST, chain: [0xc3; 32] });
}

/// The envelope as `codec` documents it, put together here by hand.
#[test]
fn the_envelope_is_as_documented() {
    let key = keys::MARK;
    let kept = fs::read(file("mark.bin")).unwrap();
    let body = &kept[24..];
    assert_eq!(&kept[..4], [b'P', b'l', 1, 8]);
    assert_eq!(kept[4..8], u32::try_from(body.len()).unwrap().to_be_bytes());
    let key_length = u8::try_from(key.len()).unwrap();
    let hash = blake3::hash(&[&kept[..8], &[key_length], key, body].concat());
    assert_eq!(kept[8..24], hash.as_bytes()[..16]);
}

#[test]
fn every_kept_record_is_of_a_kind_and_every_kind_is_kept() {
    let mut kinds = BTreeSet::new();
    for entry in fs::read_dir(file("")).unwrap() {
        let record = fs::read(entry.unwrap().path()).unwrap();
        assert_eq!(&record[..3], [b'P', b'l', 1]);
        kinds.insert(record[3]);
    }
    assert_eq!(kinds, Kind::ALL.iter().map(|kind| *kind as u8).collect());
    for number in 0..=255 {
        assert_eq!(Kind::of(number).map(|kind| kind as u8), Some(number).filter(|number| kinds.contains(number)));
    }
}
