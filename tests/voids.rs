//! Votes taken out of the counts and put back: on a running engine, across restarts, in a result that was certified before.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::sync::Arc;
use std::time::Duration;

use plaudit::boards::{Subject, Window};
use plaudit::clock::ManualClock;
use plaudit::codec::{self, Kind};
use plaudit::domain::{ClipDraft, ClipId, NamedVote, NetworkHash, Origin, SlotNo, VoidBy, VoteKind};
use plaudit::engine::{Engine, Moment, Settings, VoidAsked, VoidStatus, VoidView, recheck_stores, verify_stores};
use plaudit::error::Reject;
use plaudit::fold::keys;
use plaudit::fold::void_pages::Named;
use plaudit::jobs::export::{Format, Table};
use plaudit::jobs::{Found, Search, VOID_CLIPS_MAX};
use plaudit::log::block::genesis;
use plaudit::merkle::{Certificate, VoidNamed};
use plaudit::store::FaultyDisk;
use support::{NOON, key, stage, voter};

const FARM: NetworkHash = NetworkHash::of([9; 8]);

fn open(disk: &FaultyDisk) -> Engine {
    let settings = Settings { reconcile_every_s: 1, ..Settings::new("unused", key()) };
    Engine::over(settings, Arc::new(ManualClock::at(NOON)), disk.open("log"), disk.open("tables")).unwrap()
}

/// Voters 0 to 29 vote for c0, those of the farm, 30 to 79, for c1 with weight 3; the last ten look like machines.
async fn votes(engine: &Engine) {
    for who in 0..80 {
        let (clip, kind) = if who < 30 { ("c0", VoteKind::Standard) } else { ("c1", VoteKind::Super) };
        let network = if who < 30 { NetworkHash::of([1; 8]) } else { FARM };
        let origin = Origin { risk: if who >= 70 { 55 } else { 0 }, network };
        engine.vote_from(origin, voter(who), clip, kind).await.unwrap();
    }
}

fn asked(by: VoidBy) -> VoidAsked {
    VoidAsked { season: "s".into(), position: 1, by, reason: "a farm of phones".into() }
}

fn counts(engine: &Engine) -> [(u64, u64); 2] {
    ["c0", "c1"].map(|clip| engine.counts(clip).unwrap().map(|counts| (counts.votes, counts.weight)).unwrap())
}

/// Nothing is wrong with what is stored.
fn sound(disk: &FaultyDisk) {
    let found = verify_stores(disk.open("log").as_ref(), disk.open("tables"), genesis([0; 16]), false).unwrap();
    assert_eq!(found.problems, Vec::<String>::new());
}

/// The drift, by a recount that began after this was called.
async fn drift(engine: &Engine) -> i64 {
    let before = engine.metrics().reconciles.get();
    while engine.metrics().reconciles.get() < before + 2 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    engine.metrics().drift.get()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn voids_overlap_and_each_is_lifted_by_itself() {
    let disk = FaultyDisk::new(0);
    let engine = open(&disk);
    stage(&engine, 2).await;
    votes(&engine).await;
    assert_eq!(counts(&engine), [(30, 30), (50, 150)]);

    engine.drain().await.unwrap();
    let preview = engine.preview_void(&asked(VoidBy::Network(FARM))).unwrap();
    assert_eq!((preview.votes, preview.already), (50, 0));
    let order: Vec<_> =
        preview.order.unwrap().into_iter().map(|row| (row.clip.to_string(), row.now, row.then, row.place)).collect();
    assert_eq!(order, [("c0".into(), (30, 30), (30, 30), 2), ("c1".into(), (50, 150), (0, 0), 1)]);
    assert_eq!(counts(&engine), [(30, 30), (50, 150)], "a preview changes nothing");
    assert_eq!(engine.voids(None).unwrap(), []);

    let flagged = engine.void(asked(VoidBy::Flagged)).await.unwrap();
    assert_eq!((flagged.status, flagged.votes), (VoidStatus::InForce, Some(10)));
    assert_eq!(counts(&engine), [(30, 30), (40, 120)]);
    let farm = engine.void(asked(VoidBy::Network(FARM))).await.unwrap();
    assert_eq!(farm.votes, Some(50), "those under another void too");
    assert_eq!(farm.changes.unwrap()[0].votes, -40);
    assert_eq!(counts(&engine), [(30, 30), (0, 0)]);
    assert_eq!(drift(&engine).await, 0);

    // A claim stays taken, and a budget used; a vote that is taken back changes no count, and comes back with no lifting.
    assert!(matches!(engine.vote(voter(40), "c1", VoteKind::Standard).await, Err(Reject::AlreadyVoted(_))));
    assert_eq!(engine.allowance(voter(75)).used, 3);
    engine.retract(voter(75), "c1").await.unwrap();
    assert_eq!((engine.allowance(voter(75)).used, counts(&engine)[1]), (0, (0, 0)));
    // Who votes again behind a void is not under it.
    engine.vote(voter(75), "c1", VoteKind::Standard).await.unwrap();
    assert_eq!(counts(&engine)[1], (1, 1));

    let lifted = engine.lift_void(farm.id, "it was a school".into()).await.unwrap();
    assert_eq!((lifted.status, lifted.lifted.unwrap().2.as_str()), (VoidStatus::Lifted, "it was a school"));
    assert_eq!(counts(&engine)[1], (41, 121), "ten are under the other one still");
    let again = engine.lift_void(farm.id, "again".into()).await;
    assert!(matches!(again, Err(Reject::WrongState { state: "lifted", .. })));
    assert_eq!(engine.lift_void(farm.id + 1, "none".into()).await, Err(Reject::NotFound));
    assert_eq!(drift(&engine).await, 0);

    // The same after a restart, and from there on.
    engine.close().unwrap();
    drop(engine);
    sound(&disk);
    let engine = open(&disk);
    assert_eq!(counts(&engine), [(30, 30), (41, 121)]);
    let known: Vec<_> = engine.voids(None).unwrap().iter().map(|void| (void.id, void.status)).collect();
    assert_eq!(known, [(farm.id, VoidStatus::Lifted), (flagged.id, VoidStatus::InForce)]);
    engine.lift_void(flagged.id, "they were people".into()).await.unwrap();
    assert_eq!(counts(&engine)[1], (50, 148), "all but the one that was taken back, which voted anew");
    assert_eq!(drift(&engine).await, 0);
    engine.close().unwrap();
    drop(engine);
    sound(&disk);
}

/// Leaderboards, ranks, timelines and counts of all moments.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_void_and_its_lifting_leave_everything_as_it_was() {
    let disk = FaultyDisk::new(0);
    let engine = open(&disk);
    stage(&engine, 2).await;
    votes(&engine).await;
    engine.drain().await.unwrap();
    let seen = async |engine: &Engine| {
        engine.drain().await.unwrap();
        let mut boards = Vec::new();
        for of in [Subject::Clips, Subject::Voters] {
            let board = engine.board(of, Some("s"), None, Window::All).unwrap();
            // Boards follow the tables in their own time.
            let page = loop {
                let settled = engine.preview_void(&asked(VoidBy::Flagged)).unwrap().as_of;
                engine.build_board(board).unwrap();
                let page = engine.leaderboard(board, None, 100).unwrap();
                if let Some(page) = page.filter(|page| page.as_of >= settled) {
                    break page;
                }
                tokio::time::sleep(Duration::from_millis(2)).await;
            };
            boards.push(page.rows.into_iter().map(|row| (row.user_id, row.score)).collect::<Vec<_>>());
        }
        let minutes = engine.timeline("c1", 60_000, 0, 10).unwrap().unwrap().points;
        let then = engine.counts_then("c1", Moment::Time(NOON)).unwrap().unwrap();
        (boards, minutes, (then.votes, then.weight), counts(engine))
    };
    let before = seen(&engine).await;
    let void = engine.void(asked(VoidBy::Network(FARM))).await.unwrap();
    let under = seen(&engine).await;
    assert_eq!((under.0[1].len(), under.2, under.3[1]), (30, (0, 0), (0, 0)));
    assert_eq!(under.1, [], "as if they had never been");
    let at = |engine: &Engine, seq| engine.counts_then("c1", Moment::Sequence(seq)).unwrap().unwrap().votes;
    let (taken, _) = void.taken.unwrap();
    assert_eq!((at(&engine, taken - 1), at(&engine, taken)), (50, 0), "as it was then");
    let lifted = engine.lift_void(void.id, "it was a school".into()).await.unwrap();
    assert_eq!(seen(&engine).await, before);
    let (back, ..) = lifted.lifted.unwrap();
    assert_eq!((at(&engine, back - 1), at(&engine, back)), (0, 50));
}

/// The slots as an export has them.
async fn exported(engine: &Engine) -> String {
    let source = engine.source(Vec::new()).await.unwrap();
    let manifest = source.manifest(Format::Jsonl, false);
    let mut out = Vec::new();
    source.write(Table::Slots, &manifest, &mut out, &mut |_| Ok(())).unwrap();
    String::from_utf8(out).unwrap()
}

async fn certificate(engine: &Engine, number: Option<u64>) -> Certificate {
    loop {
        match engine.certificate("s", 1, number) {
            Err(Reject::NotReady { .. }) => tokio::time::sleep(Duration::from_millis(2)).await,
            other => return other.unwrap(),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_result_is_corrected_behind_its_lock_and_each_certificate_names_the_one_before() {
    let disk = FaultyDisk::new(0);
    let engine = open(&disk);
    stage(&engine, 2).await;
    votes(&engine).await;
    // Before the lock: the first certificate says it already.
    let early = engine.void(asked(VoidBy::Voter(voter(3)))).await.unwrap();
    engine.lock_slot("s", 1).await.unwrap();
    let first = certificate(&engine, None).await;
    assert_eq!((first.number, first.previous, first.void, first.voids.len()), (1, None, None, 1));
    let said =
        |of: &Certificate| of.clips.iter().map(|clip| (clip.vote_count, clip.weighted_score)).collect::<Vec<_>>();
    let winner = |of: &Certificate| of.winner_clip_id.as_ref().map(ToString::to_string).unwrap();
    assert_eq!((said(&first), winner(&first)), (vec![(29, 29), (50, 150)], "c1".into()));

    let farm = engine.void(asked(VoidBy::Network(FARM))).await.unwrap();
    let second = certificate(&engine, None).await;
    let named = VoidNamed { id: farm.id, lifted: false };
    assert_eq!((second.number, second.previous.unwrap().0, second.void), (2, first.hash, Some(named)));
    assert_eq!((second.root, second.leaves, second.voids.len()), (first.root, first.leaves, 51));
    assert_eq!((said(&second), winner(&second)), (vec![(29, 29), (0, 0)], "c0".into()));
    assert_eq!(engine.slot("s", 1).unwrap().winner.unwrap().as_str(), "c0", "the winner follows");
    assert!(exported(&engine).await.contains(r#""winner_clip_id":"c0""#), "{}", exported(&engine).await);

    engine.lift_void(early.id, "no reason".into()).await.unwrap();
    let third = certificate(&engine, None).await;
    assert_eq!((third.void.unwrap(), said(&third)[0]), (VoidNamed { id: early.id, lifted: true }, (30, 30)));
    for (number, one) in [(1, &first), (2, &second), (3, &third)] {
        assert_eq!(&certificate(&engine, Some(number)).await, one);
        assert_eq!(one.contradictions(), Vec::<String>::new());
    }
    assert_eq!(engine.certificate("s", 1, Some(4)), Err(Reject::NotFound));

    engine.close().unwrap();
    drop(engine);
    sound(&disk);
    let check = |of: &Certificate| {
        let (log, tables) = (disk.open("log"), disk.open("tables"));
        recheck_stores(log.as_ref(), tables, genesis([0; 16]), [0; 16], of).unwrap().problems
    };
    for one in [&first, &second, &third] {
        assert_eq!(check(one), Vec::<String>::new());
    }
    // One that masks another leaf, with counts to match and a hash over it.
    let mut forged = second.clone();
    let free = (0..forged.leaves).find(|index| !forged.voids.contains(index)).unwrap();
    forged.voids.push(free);
    forged.voids.sort_unstable();
    let (votes, weight) = said(&forged)[0];
    (forged.clips[0].vote_count, forged.clips[0].weighted_score) = (votes - 1, weight - 1);
    assert!(check(&forged.sealed()).iter().any(|problem| problem.starts_with("the voids: certified are 52")));

    let engine = open(&disk);
    assert_eq!(engine.slot("s", 1).unwrap().winner.unwrap().as_str(), "c0");
    assert_eq!(certificate(&engine, None).await, third);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operators_winner_stands_whatever_is_voided() {
    let disk = FaultyDisk::new(0);
    let engine = open(&disk);
    stage(&engine, 2).await;
    votes(&engine).await;
    engine.pick_winner("s", 1, "c1", "the jury".into()).await.unwrap();
    engine.void(asked(VoidBy::Network(FARM))).await.unwrap();
    assert_eq!(engine.slot("s", 1).unwrap().winner.unwrap().as_str(), "c1");
    assert!(exported(&engine).await.contains(r#""winner_clip_id":"c1""#));
    let second = certificate(&engine, None).await;
    assert_eq!((second.number, second.winner_clip_id.unwrap().as_str()), (2, "c1"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_hidden_stays_hidden_and_what_is_wrong_is_said() {
    let disk = FaultyDisk::new(0);
    let engine = open(&disk);
    stage(&engine, 2).await;
    engine.lock_slot("s", 1).await.unwrap();
    engine.create_slot("s", None).await.unwrap();
    let draft = ClipDraft { title: "Clip".into(), ..ClipDraft::default() };
    engine.add_clip("s", 2, Some(ClipId::new("h").unwrap()), draft).await.unwrap();
    let hidden = VoidAsked { position: 2, ..asked(VoidBy::Flagged) };
    let upcoming = engine.void(hidden.clone()).await;
    assert!(matches!(upcoming, Err(Reject::WrongState { .. })), "{upcoming:?}");
    engine.open_slot("s", 2, None, true).await.unwrap();
    engine.vote_from(Origin { risk: 80, network: FARM }, voter(1), "h", VoteKind::Standard).await.unwrap();
    engine.drain().await.unwrap();
    assert_eq!(engine.preview_void(&hidden).unwrap().order, None);
    let void = engine.void(hidden.clone()).await.unwrap();
    assert_eq!((void.votes, void.changes), (None, None));
    engine.lock_slot("s", 2).await.unwrap();
    let shown = engine.voids(Some(("s", 2))).unwrap();
    assert_eq!((shown[0].votes, engine.counts("h").unwrap().unwrap().votes), (Some(1), 0));

    let window = VoidAsked { by: VoidBy::Window { from_ms: NOON, to_ms: NOON }, ..hidden.clone() };
    assert!(matches!(engine.void(window).await, Err(Reject::InvalidParameter { name: "to", .. })));
    let unsaid = VoidAsked { reason: String::new(), ..hidden.clone() };
    assert!(matches!(engine.void(unsaid).await, Err(Reject::InvalidParameter { name: "reason", .. })));
    assert_eq!(engine.void(VoidAsked { position: 9, ..hidden }).await, Err(Reject::SlotNotFound));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_void_that_is_too_wide_ends_without_effect_and_the_next_one_goes_on() {
    let disk = FaultyDisk::new(0);
    let engine = open(&disk);
    stage(&engine, VOID_CLIPS_MAX + 1).await;
    for clip in 0..=VOID_CLIPS_MAX {
        let origin = Origin { risk: 80, network: FARM };
        let who = voter(clip as u64);
        engine.vote_from(origin, who, &format!("c{clip}"), VoteKind::Standard).await.unwrap();
    }
    let wide = engine.void(asked(VoidBy::Flagged)).await;
    assert!(matches!(wide, Err(Reject::InvalidParameter { name: "by", .. })), "{wide:?}");
    assert_eq!(engine.voids(None).unwrap()[0].status, VoidStatus::Dropped);
    assert_eq!(engine.counts("c0").unwrap().unwrap().votes, 1);
    let one = engine.void(asked(VoidBy::Voter(voter(0)))).await.unwrap();
    assert_eq!((one.votes, engine.counts("c0").unwrap().unwrap().votes), (Some(1), 0));
}

/// A flood of votes beside a void: none is lost, none is taken out that came behind it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn votes_go_on_beside_a_void_of_thousands() {
    let disk = FaultyDisk::new(0);
    let engine = open(&disk);
    stage(&engine, 2).await;
    let cast = async |from: u64, to: u64| {
        let votes: Vec<_> = (from..to)
            .map(|who| {
                let engine = engine.clone();
                tokio::spawn(async move {
                    let origin = Origin { risk: 90, network: FARM };
                    engine.vote_from(origin, voter(who), "c0", VoteKind::Standard).await.unwrap().seq
                })
            })
            .collect();
        let mut seqs = Vec::new();
        for vote in votes {
            seqs.push(vote.await.unwrap());
        }
        seqs
    };
    let mut seqs = cast(0, 5_000).await;
    let (void, later) = tokio::join!(engine.void(asked(VoidBy::Flagged)), cast(5_000, 9_000));
    let void = void.unwrap();
    seqs.extend(later);
    let behind = seqs.iter().filter(|seq| **seq > void.id).count() as u64;
    assert_eq!(void.votes, Some(9_000 - behind));
    assert_eq!(counts(&engine)[0].0, behind);
    assert_eq!(drift(&engine).await, 0);
    engine.close().unwrap();
    drop(engine);
    sound(&disk);
}

/// What is stored of voids is held to the ballots.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn verify_names_a_void_of_what_is_no_vote() {
    let disk = FaultyDisk::new(0);
    let engine = open(&disk);
    stage(&engine, 2).await;
    votes(&engine).await;
    let void = engine.void(asked(VoidBy::Network(FARM))).await.unwrap();
    engine.close().unwrap();
    drop(engine);
    sound(&disk);
    let tables = disk.open("tables");
    let (from, to) = keys::named_of(SlotNo(0), void.id);
    let (key, record) = tables.last_in(&from, &to).unwrap().unwrap();
    let Named(votes) = codec::read("tables", Kind::NamedVotes, &key, &record).unwrap();
    let altered: Vec<NamedVote> = votes.iter().map(|vote| NamedVote { seq: vote.seq + 100_000, ..*vote }).collect();
    tables.insert(&key, &codec::record(Kind::NamedVotes, &key, &Named(altered))).unwrap();
    let found = verify_stores(disk.open("log").as_ref(), tables, genesis([0; 16]), false).unwrap();
    let named = |what: &str| found.problems.iter().any(|problem| problem.contains(what));
    assert!(named("which is no such vote of its slot") && named("clip c1: stored 0 votes"), "{:?}", found.problems);
}

/// A lock may come while a void's votes are searched for: the slot's pages hold votes of behind its begin.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_search_names_no_vote_of_behind_its_begin_in_a_slot_that_was_locked_since() {
    let disk = FaultyDisk::new(0);
    let engine = open(&disk);
    stage(&engine, 2).await;
    votes(&engine).await;
    let cast = engine.vote_from(Origin { risk: 90, network: FARM }, voter(90), "c0", VoteKind::Standard).await.unwrap();
    engine.vote_from(Origin { risk: 90, network: FARM }, voter(91), "c0", VoteKind::Standard).await.unwrap();
    engine.lock_slot("s", 1).await.unwrap();
    certificate(&engine, None).await;
    engine.close().unwrap();
    let mut search = Search::new(disk.open("tables"), SlotNo(0), VoidBy::Flagged, cast.seq).unwrap();
    let found = loop {
        match search.step().unwrap() {
            Found::More => {}
            Found::All(votes) => break votes,
            Found::TooMany => unreachable!(),
        }
    };
    assert_eq!((found.len(), found.last().unwrap().seq), (11, cast.seq));
}

/// Asks for a void, and gives it once it has begun behind that place in the log.
async fn begun(engine: &Engine, behind: u64) -> (u64, tokio::task::JoinHandle<Result<VoidView, Reject>>) {
    let asking = tokio::spawn({
        let engine = engine.clone();
        async move { engine.void(asked(VoidBy::Flagged)).await }
    });
    loop {
        match engine.voids(None).unwrap().first() {
            Some(void) if void.id > behind => return (void.id, asking),
            _ => tokio::task::yield_now().await,
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_waits_for_a_void_hears_of_the_engines_end() {
    let disk = FaultyDisk::new(0);
    let engine = open(&disk);
    stage(&engine, 2).await;
    votes(&engine).await;
    let (id, asking) = begun(&engine, 0).await;
    engine.close().unwrap();
    let heard = tokio::time::timeout(Duration::from_mins(5), asking).await.expect("somebody answers").unwrap();
    // It had begun: whoever is told that there was no room asks for it again.
    assert!(!matches!(heard, Err(Reject::Overloaded)), "{heard:?}");
    assert_eq!(engine.void(asked(VoidBy::Flagged)).await.err(), Some(Reject::Overloaded));
    drop(engine);
    sound(&disk);
    // It may have come through before the end, or its last event was on its way then. Else the next start ends it.
    let engine = open(&disk);
    let void = engine.voids(None).unwrap().remove(0);
    assert_eq!(void.id, id);
    let dropped = void.status == VoidStatus::Dropped && heard.is_err();
    assert!(dropped || void.status == VoidStatus::InForce, "{heard:?}, and then {void:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_waits_for_a_void_hears_that_it_was_lifted() {
    let disk = FaultyDisk::new(0);
    let engine = open(&disk);
    stage(&engine, 2).await;
    votes(&engine).await;
    let mut behind = 0;
    let heard = loop {
        let (id, asking) = begun(&engine, behind).await;
        let lifted = engine.lift_void(id, "a slip of the hand".into()).await.unwrap();
        let heard = asking.await.unwrap();
        if lifted.status == VoidStatus::Dropped {
            break heard;
        }
        // It took effect before that.
        behind = id;
    };
    assert!(matches!(heard, Err(Reject::WrongState { state: "dropped", .. })), "{heard:?}");
    assert_eq!(counts(&engine)[1].0, 50);
    // The next one goes on.
    assert_eq!(engine.void(asked(VoidBy::Flagged)).await.unwrap().votes, Some(10));
}

/// The newest certificate is made once, however many ask for it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_behind_a_void_reads_the_ballots_once() {
    let disk = FaultyDisk::new(0);
    let engine = open(&disk);
    stage(&engine, 2).await;
    votes(&engine).await;
    engine.lock_slot("s", 1).await.unwrap();
    certificate(&engine, None).await;
    engine.void(asked(VoidBy::Network(FARM))).await.unwrap();
    let second = certificate(&engine, None).await;
    let tables = disk.open("tables");
    let (from, to) = keys::sorted_from(SlotNo(0), 0);
    let mut pages = Vec::new();
    tables
        .scan(&from, &to, &mut |key, record| {
            pages.push((key.to_vec(), record.to_vec()));
            Ok(std::ops::ControlFlow::Continue(()))
        })
        .unwrap();
    for (key, record) in &pages {
        tables.insert(key, &record[..record.len() / 2]).unwrap();
    }
    assert_eq!(certificate(&engine, None).await, second);
    assert_eq!(certificate(&engine, Some(2)).await, second);
    for (key, record) in &pages {
        tables.insert(key, record).unwrap();
    }
    engine.void(asked(VoidBy::Flagged)).await.unwrap();
    assert_eq!(certificate(&engine, None).await.previous.unwrap().0, second.hash);
}
