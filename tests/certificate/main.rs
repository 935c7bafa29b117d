//! Locked slots: their ballots sorted, their certificates, proofs and exports; across restarts and crashes, and when something
//! was done to them.

#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "a test fails by panicking, and says which case it was")]

#[path = "../support/cases.rs"]
mod cases;
mod cuts;
#[path = "../support/mod.rs"]
mod support;
#[path = "../support/through.rs"]
mod through;

use std::collections::BTreeMap;
use std::ops::{ControlFlow, Range};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use plaudit::boards::{Subject, Window};
use plaudit::clock::{DAY_MS, ManualClock};
use plaudit::codec::{self, Kind};
use plaudit::domain::{ClipDraft, ClipId, SlotNo, VoteKind};
use plaudit::engine::{self, Engine, Moment, Settings};
use plaudit::error::Reject;
use plaudit::fold::keys::{self, Table};
use plaudit::fold::lookup;
use plaudit::fold::sorted::{self, BALLOTS, COUNTS, Closing, Counts, Sorted};
use plaudit::fold::timeline::{self, TimelinePage};
use plaudit::log::block;
use plaudit::merkle::{Certificate, Leaf, Scope, Tree, read_export};
use plaudit::store::{FaultyDisk, Store};
use support::{NOON, key, settings, stage, voter};

const KINDS: [VoteKind; 3] = [VoteKind::Standard, VoteKind::Super, VoteKind::Mega];

fn over(disk: &FaultyDisk) -> Engine {
    let settings = Settings { reconcile_every_s: 0, ..Settings::new("unused", key()) };
    Engine::over(settings, Arc::new(ManualClock::at(NOON)), disk.open("log"), disk.open("tables")).unwrap()
}

/// Voters 0 to `n` vote for c0, c1 or c2, some for two of them; every fifth takes one back, every tenth votes for it again.
/// Gives what stands, as leaves in the order of the sorted pages.
async fn vote(engine: &Engine, n: u64) -> Vec<Leaf> {
    vote_these(engine, 0..n).await
}

async fn vote_these(engine: &Engine, voters: Range<u64>) -> Vec<Leaf> {
    let scope = Scope::new("s", 1);
    let mut standing = BTreeMap::new();
    for who in voters {
        for clip in [who % 3, (who + 1) % 3].into_iter().take(1 + usize::from(who % 4 == 0)) {
            let (id, kind) = (format!("c{clip}"), KINDS[(who % 5 % 3) as usize]);
            let cast = |receipt: engine::Receipt| Leaf {
                c: scope.voter(voter(who)),
                clip_id: ClipId::new(&id).unwrap(),
                kind,
                weight: [1, 3, 10][(who % 5 % 3) as usize],
                sequence: receipt.seq,
            };
            let leaf = cast(engine.vote(voter(who), &id, kind).await.unwrap());
            standing.insert((who, clip), leaf);
            if who % 5 == 0 {
                engine.retract(voter(who), &id).await.unwrap();
                standing.remove(&(who, clip));
            }
            if who % 10 == 0 {
                let leaf = cast(engine.vote(voter(who), &id, kind).await.unwrap());
                standing.insert((who, clip), leaf);
            }
        }
    }
    let mut leaves: Vec<Leaf> = standing.into_values().collect();
    leaves.sort_by_key(|leaf| (leaf.c, leaf.sequence));
    leaves
}

/// The certificate, once it is there.
async fn certified(engine: &Engine) -> Certificate {
    until("the ballots are sorted", || match engine.certificate("s", 1, None) {
        Ok(certificate) => Some(certificate),
        Err(Reject::NotReady { .. }) => None,
        Err(other) => panic!("{other}"),
    })
    .await
}

/// Waits until there is something.
async fn until<T>(what: &str, found: impl Fn() -> Option<T>) -> T {
    let waited = tokio::time::timeout(Duration::from_mins(3), async {
        loop {
            if let Some(found) = found() {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    });
    waited.await.unwrap_or_else(|_| panic!("waited in vain: {what}"))
}

fn check(certificate: &Certificate, leaves: &[Leaf]) {
    let (mut tree, mut counts) = (Tree::default(), BTreeMap::new());
    for leaf in leaves {
        tree.push(leaf.hash());
        let sum: &mut (u64, u64) = counts.entry(leaf.clip_id.to_string()).or_default();
        *sum = (sum.0 + 1, sum.1 + u64::from(leaf.weight));
    }
    assert_eq!((certificate.leaves, certificate.root), (leaves.len() as u64, tree.root()));
    let certified = certificate.clips.iter();
    let certified: BTreeMap<_, _> =
        certified.map(|clip| (clip.clip_id.to_string(), (clip.vote_count, clip.weighted_score))).collect();
    assert_eq!(certified, counts);
    assert_eq!(certificate.contradictions(), Vec::<String>::new());
    assert!(leaves.iter().all(|leaf| leaf.sequence < certificate.sequence));
}

/// Keys of the slot's blocks and sorted pages.
fn keys_of(store: &dyn Store, slot: SlotNo) -> (Vec<Vec<u8>>, Vec<Vec<u8>>) {
    let all = |from: &[u8], to: &[u8]| {
        let mut found = Vec::new();
        store
            .scan(from, to, &mut |key, _| {
                found.push(key.to_vec());
                Ok(ControlFlow::Continue(()))
            })
            .unwrap();
        found
    };
    let ((v, to_v), (x, to_x)) = (keys::ballots_of(slot), keys::sorted_from(slot, 0));
    (all(&v, &to_v), all(&x, &to_x))
}

/// Waits until the blocks of slot 0 are gone.
async fn cleared(disk: &FaultyDisk) {
    until("the blocks are gone", || is_cleared(disk).then_some(())).await;
}

fn is_cleared(disk: &FaultyDisk) -> bool {
    keys_of(disk.open("tables").as_ref(), SlotNo(0)).0.is_empty()
}

#[tokio::test]
async fn a_locked_slot_is_certified_and_each_voter_can_prove_their_own_ballot() {
    let dir = tempfile::tempdir().unwrap();
    let engine = support::open(dir.path());
    stage(&engine, 3).await;
    let refused = |engine: &Engine| engine.certificate("s", 1, None).unwrap_err();
    assert!(matches!(refused(&engine), Reject::WrongState { state: "voting", .. }));
    let leaves = vote(&engine, 900).await;
    assert!(leaves.len() > 3 * 256, "several pages: {}", leaves.len());
    engine.freeze_slot("s", 1).await.unwrap();
    assert!(matches!(refused(&engine), Reject::WrongState { state: "frozen", .. }));
    engine.lock_slot("s", 1).await.unwrap();
    let certificate = certified(&engine).await;
    check(&certificate, &leaves);
    assert!(certificate.chain.is_some_and(|chain| (chain.first..=chain.last).contains(&certificate.sequence)));
    assert_eq!(engine.certificate("t", 1, None), Err(Reject::NotFound));
    assert_eq!(engine.certificate("s", 2, None), Err(Reject::SlotNotFound));

    let index: BTreeMap<_, _> =
        leaves.iter().zip(0..).map(|(leaf, at)| ((leaf.c, leaf.clip_id.to_string()), at)).collect();
    let scope = Scope::new("s", 1);
    let (mut held, mut missing) = (0, 0);
    for who in 0..901 {
        for clip in ["c0", "c1", "c2"] {
            let at = index.get(&(scope.voter(voter(who)), clip.to_owned()));
            match engine.proof("s", 1, voter(who), clip) {
                Ok(proof) => {
                    assert!(proof.holds());
                    assert_eq!((&proof.leaf, proof.index), (&leaves[*at.unwrap()], *at.unwrap() as u64));
                    assert_eq!((proof.root.0, proof.size), (certificate.root, certificate.leaves));
                    held += 1;
                }
                Err(reject) => {
                    assert_eq!((reject, at), (Reject::NotVoted, None));
                    missing += 1;
                }
            }
        }
    }
    assert_eq!((held, missing), (leaves.len(), 3 * 901 - leaves.len()));
    assert_eq!(engine.proof("s", 1, voter(1), "zz"), Err(Reject::ClipNotFound));

    engine.close().unwrap();
    drop(engine);
    let found = engine::verify(dir.path(), false).unwrap();
    assert_eq!((found.problems, found.wrong), (Vec::new(), 0));
    let rows: Vec<_> = found.rows.iter().map(|row| (row.votes, row.weight)).collect();
    let counts: Vec<_> = certificate.clips.iter().map(|clip| (clip.vote_count, clip.weighted_score)).collect();
    assert_eq!(rows, counts, "verify counts the sorted pages");
    let rechecked = engine::recheck(dir.path(), &certificate).unwrap();
    assert_eq!((rechecked.problems, rechecked.notes.len()), (Vec::new(), 2));

    // A start changes nothing of it.
    let engine = support::open(dir.path());
    assert_eq!(engine.certificate("s", 1, None).unwrap(), certificate);
    assert!(engine.proof("s", 1, voter(1), "c1").unwrap().holds());
}

#[tokio::test]
async fn todays_votes_of_a_sorted_slot_are_charged_still_and_those_taken_back_are_not() {
    let disk = FaultyDisk::new(0);
    let engine = over(&disk);
    stage(&engine, 3).await;
    engine.vote(voter(1), "c0", VoteKind::Mega).await.unwrap();
    engine.vote(voter(1), "c1", VoteKind::Super).await.unwrap();
    engine.retract(voter(1), "c0").await.unwrap();
    engine.vote(voter(2), "c0", VoteKind::Mega).await.unwrap();
    engine.retract(voter(2), "c0").await.unwrap();
    engine.lock_slot("s", 1).await.unwrap();
    certified(&engine).await;
    cleared(&disk).await;
    drop(engine);
    let engine = over(&disk);
    assert_eq!((engine.allowance(voter(1)).used, engine.allowance(voter(2)).used), (3, 0));
    drop(engine);
    // The day that the slot's last vote was charged to has begun, though the clock was set back.
    let settings = Settings::new("unused", key());
    let early = Arc::new(ManualClock::at(NOON - DAY_MS));
    let engine = Engine::over(settings, early, disk.open("log"), disk.open("tables")).unwrap();
    assert_eq!(engine.allowance(voter(1)).used, 3);
}

#[tokio::test]
async fn a_slot_without_ballots_is_certified_too() {
    let disk = FaultyDisk::new(0);
    let engine = over(&disk);
    stage(&engine, 2).await;
    engine.lock_slot("s", 1).await.unwrap();
    let certificate = certified(&engine).await;
    check(&Certificate { clips: Vec::new(), winner_clip_id: None, ..certificate.clone() }.sealed(), &[]);
    assert_eq!(certificate.winner_clip_id.unwrap().as_str(), "c0");
    assert_eq!(engine.proof("s", 1, voter(1), "c0"), Err(Reject::NotVoted));
}

/// Waits until the frozen slot 0 is sorted; gives how it closed.
async fn sealed(disk: &FaultyDisk) -> Closing {
    let closing = || lookup::closing(disk.open("tables").as_ref(), SlotNo(0)).unwrap();
    until("the ballots are sorted", || closing().filter(|closing| closing.sorted.is_some())).await
}

#[tokio::test]
async fn a_slot_that_opens_again_is_sorted_again_with_all_its_votes() {
    let disk = FaultyDisk::new(0);
    let engine = over(&disk);
    stage(&engine, 3).await;
    let first = vote(&engine, 100).await;
    engine.freeze_slot("s", 1).await.unwrap();
    let closing = sealed(&disk).await;
    assert_eq!(closing.sorted.unwrap().leaves, first.len() as u64);
    assert!(!keys_of(disk.open("tables").as_ref(), SlotNo(0)).0.is_empty(), "the blocks stand until the lock");
    engine.reopen_slot("s", 1, None).await.unwrap();
    engine.drain().await.unwrap();
    let has_pages = || !keys_of(disk.open("tables").as_ref(), SlotNo(0)).1.is_empty();
    until("its pages go", || (!has_pages()).then_some(())).await;
    assert_eq!(verified(&disk), "");
    let late = engine.vote(voter(7_000), "c2", VoteKind::Mega).await.unwrap();
    let c = Scope::new("s", 1).voter(voter(7_000));
    let late = Leaf { c, clip_id: ClipId::new("c2").unwrap(), kind: VoteKind::Mega, weight: 10, sequence: late.seq };
    let mut leaves = [first, vec![late]].concat();
    leaves.sort_by_key(|leaf| (leaf.c, leaf.sequence));
    engine.lock_slot("s", 1).await.unwrap();
    let certificate = certified(&engine).await;
    check(&certificate, &leaves);
    assert!(certificate.sequence > closing.freeze);
    cleared(&disk).await;
    engine.close().unwrap();
    assert_eq!(verified(&disk), "");
}

#[tokio::test]
async fn a_slot_that_was_frozen_before_pages_were_kept_is_sorted_at_the_start() {
    let disk = FaultyDisk::new(0);
    let engine = over(&disk);
    stage(&engine, 3).await;
    let leaves = vote(&engine, 100).await;
    engine.freeze_slot("s", 1).await.unwrap();
    sealed(&disk).await;
    engine.close().unwrap();
    drop(engine);
    // As an earlier program left it.
    let pages = keys_of(disk.open("tables").as_ref(), SlotNo(0)).1;
    let closing = keys::page(Table::Closings, 0).to_vec();
    assert!(pages.iter().chain([&closing]).all(|key| disk.alter("tables", key, |_| None)));
    let engine = over(&disk);
    engine.lock_slot("s", 1).await.unwrap();
    let certificate = certified(&engine).await;
    check(&certificate, &leaves);
    assert_eq!(certificate.chain, None);
    engine.close().unwrap();
    assert_eq!(rechecked(&disk, &certificate), "");
}

#[tokio::test]
async fn a_recount_that_a_lock_runs_into_finds_no_drift() {
    let disk = FaultyDisk::new(0);
    let settings = Settings { reconcile_every_s: 1, ..Settings::new("unused", key()) };
    let clock = Arc::new(ManualClock::at(NOON));
    let engine = Engine::over(settings, clock, disk.open("log"), disk.open("tables")).unwrap();
    stage(&engine, 3).await;
    vote(&engine, 600).await;
    engine.lock_slot("s", 1).await.unwrap();
    let before = engine.metrics().reconciles.get();
    while engine.metrics().reconciles.get() < before + 2 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!((engine.metrics().drift.get(), engine.metrics().reconciles_failed.get()), (0, 0));
}

/// All that leaderboards and timelines say, once the boards are at the mark.
async fn history(engine: &Engine, last: u64) -> Vec<String> {
    let applied = engine.drain().await.unwrap();
    let mut said = Vec::new();
    let boards = engine.clone();
    tokio::task::spawn_blocking(move || boards.boards().wait(Duration::from_secs(100))).await.unwrap();
    while engine.boards().as_of() < applied {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    for of in [Subject::Clips, Subject::Voters, Subject::Creators] {
        for (slot, window) in [(None, Window::All), (Some(1), Window::All), (Some(1), Window::Day)] {
            let board = engine.board(of, Some("s"), slot, window).unwrap();
            engine.build_board(board).unwrap();
            let page = engine.leaderboard(board, None, 1_000).unwrap().unwrap();
            said.push(format!("{of:?} {slot:?} {window:?} {} {:?}", page.total, page.rows));
            let own = (0..600).step_by(37).map(|n| engine.standing(board, voter(n)).unwrap().unwrap());
            said.extend(own.map(|own| format!("{} {:?}", own.total, own.at)));
        }
    }
    for clip in ["c0", "c1", "c2"] {
        said.push(format!("{:?}", engine.timeline(clip, 60_000, 0, 100).unwrap().unwrap().points));
        for moment in [Moment::Sequence(last), Moment::Sequence(1), Moment::Time(NOON), Moment::Time(NOON - 1)] {
            let then = engine.counts_then(clip, moment).unwrap().unwrap();
            said.push(format!("{moment:?} {} {} {:?}", then.votes, then.weight, then.at_ms));
        }
    }
    said
}

#[tokio::test]
async fn a_lock_leaves_leaderboards_and_timelines_as_they_were() {
    for asked_before in [false, true] {
        let disk = FaultyDisk::new(0);
        let engine = over(&disk);
        stage(&engine, 3).await;
        let made = ClipDraft { title: "Made".into(), owner: Some("7".into()), ..ClipDraft::default() };
        engine.add_clip("s", 1, Some(ClipId::new("c3").unwrap()), made).await.unwrap();
        vote(&engine, 600).await;
        let last = engine.vote(voter(8), "c3", VoteKind::Super).await.unwrap().seq;
        engine.drain().await.unwrap();
        let before = if asked_before { history(&engine, last).await } else { Vec::new() };
        engine.lock_slot("s", 1).await.unwrap();
        cleared(&disk).await;
        let behind = history(&engine, last).await;
        assert!(!asked_before || behind == before, "{behind:#?}\nbefore the lock: {before:#?}");
        assert!(behind[0].contains("Clips None All 4"), "{}", behind[0]);
        // Between two votes of its only minute, what was in front of that.
        let then = engine.counts_then("c0", Moment::Sequence(last - 400)).unwrap().unwrap();
        assert_eq!(then.votes, 0);
        let all = engine.counts_then("c0", Moment::Sequence(last)).unwrap().unwrap();
        assert!(then.as_of > 0 && then.as_of < last - 400 && all.votes > 0, "{then:?}, {all:?}");
        engine.close().unwrap();
        drop(engine);
        assert_eq!(verified(&disk), "");

        let engine = over(&disk);
        assert_eq!(history(&engine, last).await, behind);
        engine.close().unwrap();
        drop(engine);
        assert_eq!(verified(&disk), "");
    }
}

/// Changes the first page of minutes, with a right checksum.
fn alter_minutes(disk: &FaultyDisk, change: impl Fn(&mut TimelinePage)) {
    let (from, to) = keys::timelines();
    let mut first = None;
    let visit = disk.open("tables").scan(&from, &to, &mut |key, _| {
        first = Some(key.to_vec());
        Ok(ControlFlow::Break(()))
    });
    visit.unwrap();
    let key = first.unwrap();
    let altered = disk.alter("tables", &key, |record| {
        let mut page = timeline::read(&key, record).unwrap();
        change(&mut page);
        Some(page.record(0))
    });
    assert!(altered);
}

#[tokio::test]
async fn verify_names_what_was_done_to_a_locked_slots_minutes_and_puts_it_right() {
    type Change = fn(&mut TimelinePage);
    let more: Change = |page| page.segments[0].votes += 1;
    let later: Change = |page| page.segments[0].minute += 1;
    for (change, what) in
        [(more, "clip c0: its timeline ends at"), (later, "its clip's timeline does not have it in its minute")]
    {
        let (disk, _) = locked().await;
        alter_minutes(&disk, change);
        says(&verified(&disk), &[what]);
        let genesis = block::genesis([0; 16]);
        let found = engine::verify_stores(disk.open("log").as_ref(), disk.open("tables"), genesis, true).unwrap();
        assert_eq!(found.repaired, 1);
        assert_eq!(verified(&disk), "");
    }
}

/// A store with a locked slot, and its certificate.
async fn locked() -> (FaultyDisk, Certificate) {
    let disk = FaultyDisk::new(0);
    let engine = over(&disk);
    stage(&engine, 3).await;
    vote(&engine, 600).await;
    engine.lock_slot("s", 1).await.unwrap();
    let certificate = certified(&engine).await;
    cleared(&disk).await;
    engine.close().unwrap();
    (disk, certificate)
}

fn verified(disk: &FaultyDisk) -> String {
    let found = engine::verify_stores(disk.open("log").as_ref(), disk.open("tables"), block::genesis([0; 16]), false);
    found.unwrap().problems.join("\n")
}

fn rechecked(disk: &FaultyDisk, certificate: &Certificate) -> String {
    let (log, tables) = (disk.open("log"), disk.open("tables"));
    let found = engine::recheck_stores(log.as_ref(), tables, block::genesis([0; 16]), [0; 16], certificate);
    found.unwrap().problems.join("\n")
}

/// Rewrites the slot's first page of ballots, with a right checksum.
fn alter_page(disk: &FaultyDisk, change: impl Fn(&mut Vec<Sorted>)) {
    let key = keys::sorted(SlotNo(0), generation(disk), BALLOTS, 0);
    let altered = disk.alter("tables", &key, |record| {
        let mut ballots = sorted::read(&key, record).unwrap();
        change(&mut ballots);
        Some(sorted::page(&key, &ballots))
    });
    assert!(altered);
}

fn generation(disk: &FaultyDisk) -> u32 {
    let closing = lookup::closing(disk.open("tables").as_ref(), SlotNo(0)).unwrap().unwrap();
    closing.sorted.unwrap().generation
}

fn says(text: &str, all: &[&str]) {
    for part in all {
        assert!(text.contains(part), "{part:?} is not in\n{text}");
    }
}

#[tokio::test]
async fn verify_names_what_was_done_to_a_locked_slot() {
    let (sound, certificate) = locked().await;
    assert_eq!((verified(&sound), rechecked(&sound, &certificate)), (String::new(), String::new()));

    // A tampered page: damaged, and with a right checksum.
    let (disk, certificate) = locked().await;
    let key = keys::sorted(SlotNo(0), generation(&disk), BALLOTS, 0);
    disk.alter("tables", &key, |record| {
        let mut bytes = record.to_vec();
        bytes[100] ^= 1;
        Some(bytes)
    });
    let (all, one) = (verified(&disk), rechecked(&disk, &certificate));
    says(
        &all,
        &["slot s/1, sorted page 0: damaged record", "its checksum does not match", "slot s/1: the root: certified"],
    );
    says(&one, &["slot s/1, sorted page 0: damaged record", "the root: certified"]);
    let genesis = block::genesis([0; 16]);
    let repaired = engine::verify_stores(disk.open("log").as_ref(), disk.open("tables"), genesis, true).unwrap();
    assert_eq!(repaired.repaired, 0, "what can't be read is not counted as nothing");

    let (disk, certificate) = locked().await;
    alter_page(&disk, |ballots| ballots[5].weight += 1);
    let (all, one) = (verified(&disk), rechecked(&disk, &certificate));
    let page = "slot s/1, sorted page 0: its ballots do not give the hash kept for it";
    says(&all, &[page, "slot s/1: the root: certified", "the ballots are"]);
    says(&one, &[page, "the root: certified"]);

    // A dropped ballot.
    let (disk, certificate) = locked().await;
    alter_page(&disk, |ballots| {
        ballots.remove(7);
    });
    let all = verified(&disk);
    says(&all, &["slot s/1, sorted page 0", "it holds 255 ballots, which is not its share"]);
    says(&rechecked(&disk, &certificate), &["it holds 255 ballots, which is not its share", "the certificate is of"]);

    // One put in another's place: the page is as long as before, and a ballot is there twice.
    let (disk, certificate) = locked().await;
    alter_page(&disk, |ballots| ballots[7] = ballots[6]);
    for text in [verified(&disk), rechecked(&disk, &certificate)] {
        says(
            &text,
            &["leaf 7: a second ballot of one voter", "leaf 7: it does not come behind", "the root: certified"],
        );
    }

    // An altered count: of the pages, and of the clip.
    let (disk, certificate) = locked().await;
    let key = keys::sorted(SlotNo(0), generation(&disk), COUNTS, 0);
    disk.alter("tables", &key, |record| {
        let Counts(mut counts) = codec::read("tables", Kind::Sorted, &key, record).unwrap();
        counts[1].1 += 1;
        Some(codec::record(Kind::Sorted, &key, &Counts(counts)))
    });
    says(&verified(&disk), &["slot s/1: clip c1: certified", "the ballots are"]);
    assert_eq!(rechecked(&disk, &certificate), "", "a certificate is held against the ballots, not against counts");
    let mut altered = certificate.clone();
    altered.clips[2].vote_count -= 1;
    says(&rechecked(&sound, &altered), &["the certificate's hash does not fit", "clip c2: certified"]);
}

#[tokio::test]
async fn a_certificate_of_something_else_is_told_apart() {
    let (disk, certificate) = locked().await;
    let other = |change: &dyn Fn(&mut Certificate)| {
        let mut other = certificate.clone();
        change(&mut other);
        rechecked(&disk, &other.sealed())
    };
    says(&other(&|of| of.sequence += 1), &["N: certified", "the slot froze at"]);
    says(&other(&|of| of.chain.as_mut().unwrap().hash = [0; 32]), &["the chain's head at N: certified 0000"]);
    says(&other(&|of| of.chain = None), &["the chain's head at N: certified none"]);
    says(&other(&|of| of.store = [1; 16]), &["the store: certified 0101"]);
    says(&other(&|of| of.slot = 9), &["there is no slot s/9 in this store"]);
    says(&other(&|of| of.winner_clip_id = None), &["the winner: certified none, the store has"]);
    says(&other(&|of| of.clips.swap(0, 1)), &["the certificate's clips are not the slot's"]);
    says(&other(&|of| of.root = [0; 32]), &["the root: certified 0000"]);
}

#[tokio::test]
async fn a_root_that_the_slot_no_longer_has_is_named() {
    let (disk, _) = locked().await;
    let key = keys::page(Table::Closings, 0);
    disk.alter("tables", &key, |record| {
        let mut closing: Closing = codec::read("tables", Kind::Closing, &key, record).unwrap();
        closing.sorted.as_mut().unwrap().root = [0; 32];
        Some(codec::record(Kind::Closing, &key, &closing))
    });
    says(&verified(&disk), &["slot s/1: the root: certified 0000"]);
}

/// Runs the verifier that shares nothing with the program.
fn independent(args: &[&Path], what: &str) -> (bool, String) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/certificate/verify.py");
    let mut command = std::process::Command::new("python3");
    let output = command.arg(script).arg(what).args(args).output().expect("python3 is installed");
    (output.status.success(), String::from_utf8(output.stdout).unwrap() + &String::from_utf8_lossy(&output.stderr))
}

#[tokio::test]
async fn an_independent_verifier_agrees() {
    assert_eq!(independent(&[], "vectors"), (true, "all is well\n".into()));
    let dir = tempfile::tempdir().unwrap();
    let home = dir.path().join("store");
    let engine = Engine::open(settings(&home), Arc::new(ManualClock::at(NOON))).unwrap();
    stage(&engine, 3).await;
    let leaves = vote(&engine, 300).await;
    engine.lock_slot("s", 1).await.unwrap();
    let certificate = certified(&engine).await;
    let proofs: Vec<_> =
        [1, 17, 299].map(|who: u64| engine.proof("s", 1, voter(who), &format!("c{}", who % 3)).unwrap()).into();
    engine.close().unwrap();
    drop(engine);

    let put = |name: &str, text: &[u8]| {
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let well = (true, "all is well\n".to_owned());
    let file = put("certificate.json", &serde_json::to_vec(&certificate).unwrap());
    assert_eq!(independent(&[&file], "certificate"), well);
    for proof in &proofs {
        let path = put("proof.json", &serde_json::to_vec(proof).unwrap());
        assert_eq!(independent(&[&path, &file], "proof"), well);
        let mut forged = proof.clone();
        forged.leaf.weight += 1;
        let path = put("forged.json", &serde_json::to_vec(&forged).unwrap());
        let (ok, text) = independent(&[&path, &file], "proof");
        assert!(!ok && text.contains("the leaf's hash does not fit"), "{text}");
    }
    let mut export = Vec::new();
    assert_eq!(engine::export_slot(&home, "s", 1, &mut export).unwrap(), leaves.len() as u64);
    let path = put("export", &export);
    assert_eq!(independent(&[&path], "export"), well);
    assert_eq!(read_export(export.as_slice()).unwrap(), (certificate.clone(), Vec::new(), 0));

    // Both name the same things.
    let lines: Vec<&str> = std::str::from_utf8(&export).unwrap().lines().collect();
    let with = |change: &dyn Fn(&mut Vec<String>)| {
        let mut lines: Vec<String> = lines.iter().map(|line| (*line).to_owned()).collect();
        change(&mut lines);
        lines.join("\n") + "\n"
    };
    let count = certificate.clips[0].vote_count;
    let (count, less) = (format!("\"voteCount\":{count}"), format!("\"voteCount\":{}", count - 1));
    let dropped = with(&|lines| drop(lines.remove(9)));
    let doubled = with(&|lines| lines.insert(9, lines[9].clone()));
    let altered = with(&|lines| lines[0] = lines[0].replacen(&count, &less, 1));
    let tampered = with(&|lines| lines[9] = lines[9].replacen("\"weight\":", "\"weight\":1", 1));
    let cases = [
        (dropped, "ballots, there are"),
        (doubled, "a second ballot of one voter"),
        (altered, "clip c0: certified"),
        (tampered, "of weight"),
    ];
    for (text, said) in cases {
        let path = put("altered", text.as_bytes());
        let (ok, found) = independent(&[&path], "export");
        assert!(!ok && found.contains(said), "{found}");
        let (_, problems, wrong) = read_export(text.as_bytes()).unwrap();
        assert!(wrong > 0 && problems.join("\n").contains(said), "{problems:?}");
    }
}

#[tokio::test]
async fn votes_elsewhere_go_on_while_a_slot_is_sorted() {
    let disk = FaultyDisk::new(0);
    let engine = over(&disk);
    stage(&engine, 3).await;
    vote(&engine, 500).await;
    engine.create_season(Some(plaudit::domain::SeasonId::new("t").unwrap()), "Other".into()).await.unwrap();
    engine.create_slot("t", None).await.unwrap();
    let draft = ClipDraft { title: "Other".into(), ..ClipDraft::default() };
    engine.add_clip("t", 1, Some(ClipId::new("other").unwrap()), draft).await.unwrap();
    engine.open_slot("t", 1, None, false).await.unwrap();
    engine.lock_slot("s", 1).await.unwrap();
    let mut others = 0;
    while engine.certificate("s", 1, None).is_err() || others < 200 {
        engine.vote(voter(others), "other", VoteKind::Standard).await.unwrap();
        others += 1;
    }
    assert_eq!(engine.counts("other").unwrap().unwrap().votes, others);
    cleared(&disk).await;
    engine.close().unwrap();
    assert_eq!(verified(&disk), "");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_independent_verifier_follows_a_void() {
    let dir = tempfile::tempdir().unwrap();
    let home = dir.path().join("store");
    let engine = Engine::open(settings(&home), Arc::new(ManualClock::at(NOON))).unwrap();
    stage(&engine, 3).await;
    vote(&engine, 300).await;
    engine.lock_slot("s", 1).await.unwrap();
    let first = certified(&engine).await;
    let (season, reason) = ("s".to_owned(), "a machine".to_owned());
    let by = plaudit::domain::VoidBy::Voter(voter(17));
    engine.void(engine::VoidAsked { season, position: 1, by, reason }).await.unwrap();
    let second = engine.certificate("s", 1, None).unwrap();
    assert_eq!((second.number, second.voids.len(), second.root), (2, 1, first.root));
    engine.close().unwrap();
    drop(engine);
    let well = (true, "all is well\n".to_owned());
    let put = |of: &Certificate| {
        let path = dir.path().join("certificate.json");
        std::fs::write(&path, serde_json::to_vec(of).unwrap()).unwrap();
        path
    };
    assert_eq!(independent(&[&put(&second)], "certificate"), well);
    let unnamed = Certificate { void: None, ..second.clone() };
    let (ok, text) = independent(&[&put(&unnamed)], "certificate");
    assert!(!ok && text.contains("hash does not fit") && text.contains("neither a slot's first"), "{text}");
    let mut export = Vec::new();
    engine::export_slot(&home, "s", 1, &mut export).unwrap();
    assert_eq!(read_export(export.as_slice()).unwrap(), (second, Vec::new(), 0));
    let path = dir.path().join("export");
    std::fs::write(&path, &export).unwrap();
    assert_eq!(independent(&[&path], "export"), well);
}
