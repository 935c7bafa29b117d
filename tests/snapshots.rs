//! Reading a whole store while it is voted and commented in, slots close and their ballots are rewritten: what is read is one
//! moment, and a store made of it is sound.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use plaudit::clock::ManualClock;
use plaudit::domain::{CommentText, Profile, VoteKind};
use plaudit::engine::{Begun, Building, CommentDraft, Engine, KEPT_MS, Settings};
use plaudit::error::Reject;
use plaudit::jobs::export::{Format, Line, Source, Splitter, stream};
use support::{NOON, key, settings, voter};

/// Votes as fast as they are answered, until told to stop; says how many stand.
fn voters(engine: &Engine, stop: &Arc<AtomicBool>, next: &Arc<AtomicU64>) -> Vec<tokio::task::JoinHandle<()>> {
    let tasks = (0..32).map(|_| {
        let (engine, stop, next) = (engine.clone(), Arc::clone(stop), Arc::clone(next));
        tokio::spawn(async move {
            while !stop.load(Ordering::SeqCst) {
                let who = next.fetch_add(1, Ordering::SeqCst);
                let clip = format!("c{}", who % 3);
                match engine.vote(voter(who), &clip, VoteKind::Standard).await {
                    Ok(_) => {}
                    // Answered at once: without a pause nobody else would have a turn.
                    Err(Reject::VotingClosed) => tokio::time::sleep(std::time::Duration::from_millis(1)).await,
                    Err(other) => panic!("{other}"),
                }
                if who % 5 == 0 {
                    let _ = engine.retract(voter(who), &clip).await;
                }
            }
        })
    });
    tasks.collect()
}

/// Reads it all in small pieces, and makes a store of what was read.
fn carried(source: &Source) -> (u64, u64) {
    struct Slow(Vec<u8>);
    impl Write for Slow {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            // The applier comes between any two pieces.
            std::thread::sleep(std::time::Duration::from_millis(2));
            let part = bytes.len().min(64 * 1024);
            self.0.extend_from_slice(&bytes[..part]);
            Ok(part)
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let mut out = Slow(Vec::new());
    let manifest = stream(source, source.manifest(Format::Jsonl, false), &mut out, &mut |_| Ok(())).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let store = u128::from_str_radix(&manifest.store, 16).unwrap().to_be_bytes();
    let plan = Begun::new("what is read".into(), store, key().fingerprint());
    let mut building = Building::begin(dir.path(), plan).unwrap();
    let mut records = 0;
    source
        .each_record(&mut |tree, key, record| {
            records += 1;
            building.put(tree, key, record)
        })
        .unwrap();
    let found = building.finish(manifest.sequence, Some(records), b"").unwrap();
    assert_eq!((found.problems, found.last), (vec![], source.end.seq));

    // The rows and the records are of the same moment: the rows' votes are the recount's.
    let (mut table, mut standing, mut whole) = (None, 0_i64, false);
    let mut splitter = Splitter::default();
    for part in out.0.chunks(10_007) {
        splitter
            .take(part, &mut |line| {
                match line {
                    Line::Table(of) => table = Some(of.name()),
                    Line::Rows(rows) if table == Some("votes") => {
                        for row in rows.split_inclusive(|byte| *byte == b'\n') {
                            let row: serde_json::Value = serde_json::from_slice(row).unwrap();
                            standing += if row["retracts"].is_null() { 1 } else { -1 };
                        }
                    }
                    Line::Manifest(of) => whole = of == manifest,
                    _ => {}
                }
                Ok(())
            })
            .unwrap();
    }
    assert!(whole);
    let votes: u64 = found.rows.iter().map(|row| row.votes).sum();
    assert_eq!(u64::try_from(standing).unwrap(), votes);
    (votes, source.end.seq)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_read_while_votes_go_on_is_one_moment() {
    let dir = tempfile::tempdir().unwrap();
    let settings = Settings { reconcile_every_s: 0, ..settings(dir.path()) };
    let engine = Engine::open(settings, Arc::new(ManualClock::at(NOON))).unwrap();
    support::stage(&engine, 3).await;
    let (stop, next) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let tasks = voters(&engine, &stop, &next);
    let mut last = (0, 0);
    for round in 0..4_u64 {
        for who in 0..20 {
            let clip = format!("c{}", who % 3);
            let (author, text) =
                (voter(1_000_000 + round * 100 + who), CommentText::new(&format!("{round} {who}")).unwrap());
            let profile = Profile::cut(Some("Ada"), None);
            let draft = CommentDraft { clip: &clip, parent: None, author, profile, text, request: None };
            engine.post_comment(draft).await.unwrap();
        }
        let before = next.load(Ordering::SeqCst);
        let source = engine.source(b"".to_vec()).await.unwrap();
        assert!(matches!(engine.source(Vec::new()).await, Err(Reject::WrongState { .. })), "one at a time");
        let locking = (round == 2).then(|| {
            let engine = engine.clone();
            tokio::spawn(async move { engine.lock_slot("s", 1).await.unwrap() })
        });
        let read = tokio::task::spawn_blocking(move || carried(&source)).await.unwrap();
        assert!(read.1 > last.1 && read.0 > 0, "{read:?} behind {last:?}");
        assert!(round > 2 || next.load(Ordering::SeqCst) > before, "votes went on");
        last = read;
        if let Some(locking) = locking {
            locking.await.unwrap();
        }
    }
    stop.store(true, Ordering::SeqCst);
    for task in tasks {
        task.await.unwrap();
    }
    // What nobody reads any more is forgotten, and a source ends with its engine.
    let source = engine.source(Vec::new()).await.unwrap();
    engine.close().unwrap();
    assert!(source.each_record(&mut |_, _, _| Ok(())).is_err());
    drop((source, engine));
    let found = plaudit::engine::verify(dir.path(), false).unwrap();
    assert_eq!((found.problems, found.rows.iter().map(|row| row.votes).sum::<u64>()), (vec![], last.0));
}

/// Waits until nothing holds the tables.
async fn let_go(engine: &Engine) {
    let began = std::time::Instant::now();
    while engine.holds_tables() {
        assert!(began.elapsed() < std::time::Duration::from_mins(5), "they are held");
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_export_was_read_of_is_kept_for_a_while_and_for_nobody_else() {
    let dir = tempfile::tempdir().unwrap();
    let clock = Arc::new(ManualClock::at(NOON));
    let settings = Settings { reconcile_every_s: 0, ..settings(dir.path()) };
    let engine = Engine::open(settings, Arc::<ManualClock>::clone(&clock)).unwrap();
    support::stage(&engine, 3).await;
    let vote = async |who: u64| engine.vote(voter(who), "c1", VoteKind::Standard).await.unwrap();
    let text = |source: &Source| {
        let mut out = Vec::new();
        stream(source, source.manifest(Format::Jsonl, false), &mut out, &mut |_| Ok(())).unwrap();
        out
    };
    vote(1).await;
    let first = engine.export_source(Vec::new(), None).await.unwrap();
    let (state, whole) = (first.source().state.clone(), text(first.source()));
    vote(2).await;
    // While it is read, by one who has lost its connection and whose end nobody noticed, and behind it.
    let second = engine.export_source(Vec::new(), Some(&state)).await.unwrap();
    drop(first);
    assert!(matches!(engine.export_source(Vec::new(), None).await, Err(Reject::WrongState { .. })), "it is read");
    vote(3).await;
    drop(second);
    clock.advance(KEPT_MS - 1);
    let third = engine.export_source(Vec::new(), Some(&state)).await.unwrap();
    assert_eq!((&third.source().state, text(third.source())), (&state, whole.clone()));
    // So many at once, and no more.
    let mut readers = vec![third];
    for _ in 0..3 {
        readers.push(engine.export_source(Vec::new(), Some(&state)).await.unwrap());
    }
    assert!(matches!(engine.export_source(Vec::new(), Some(&state)).await, Err(Reject::WrongState { .. })));
    drop(readers);
    // It is let go of when its time is over, and nobody has to ask for that.
    clock.advance(KEPT_MS - 1);
    assert!(engine.holds_tables());
    clock.advance(1);
    let_go(&engine).await;
    let later = engine.export_source(Vec::new(), Some(&state)).await.unwrap();
    assert!(later.source().state != state && text(later.source()) != whole, "an export of now");

    // A backup needs the tables more than who may never come again.
    let state = later.source().state.clone();
    drop(later);
    assert!(engine.holds_tables());
    drop(engine.source(Vec::new()).await.unwrap());
    // Nothing was written since: of the same state it is the same, whoever held it in between.
    let same = engine.export_source(Vec::new(), Some(&state)).await.unwrap();
    assert_eq!(same.source().state, state);
    drop(same);
    // A clock that is put back must not keep it for longer.
    clock.set(NOON);
    let_go(&engine).await;

    // It ends with the engine, kept or read, and lets go of the store's files.
    let read = engine.export_source(Vec::new(), None).await.unwrap();
    engine.close().unwrap();
    assert!(read.source().each_record(&mut |_, _, _| Ok(())).is_err());
    drop(read);
    drop(engine);
    let found = plaudit::engine::verify(dir.path(), false).unwrap();
    assert_eq!((found.problems, found.rows.iter().map(|row| row.votes).sum::<u64>()), (vec![], 3));
}
