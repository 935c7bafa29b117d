//! Folding again is harmless however the batches fall: any valid log, cut into commits anywhere, with crashes between and
//! within them, ends in the same tables, and those say what a naive reading of the whole log says. Votes, voids, comments, erasures
//! and the steps of slots come in any order that the judge allows.
//!
//! The naive reading is in `model.rs` and beside it, and that of comments in `support/plain.rs`; here the log is cut and folded.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod check;
mod comments;
mod erasures;
mod model;
#[path = "../support/plain.rs"]
mod plain;
#[path = "../support/through.rs"]
mod through;
mod verbs;
mod voids;
mod votes;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use check::check;
use model::{Model, model};
use plaudit::domain::{Event, Logged, Seq, VoterId};
use plaudit::error::Fault;
use plaudit::fold::{Mark, Tables, Transitions, fold, judge};
use plaudit::store::{FaultyDisk, Store};
use proptest::prelude::*;
use through::{Hook, Through};
use verbs::verb;

const NOON: u64 = 1_700_000_000_000;

/// What happens behind a stretch of the log.
#[derive(Clone, Copy, Debug)]
enum Cut {
    /// The stretch is committed.
    Commit,
    /// The stretch is committed, and no page is kept for the next.
    Forget,
    /// The commit fails at its k-th write, and the machine dies.
    DieWithin { k: u64, seed: u64 },
    /// The commit fails when it writes a page of this letter once so many have passed, and the machine dies; of what was written
    /// before the disk has all, or as much as the seed says.
    DieAt { fuse: Fuse, kept: Option<u64> },
    /// The machine dies before the commit.
    Die { seed: u64 },
}

fn cuts() -> impl Strategy<Value = Vec<(prop::sample::Index, Cut)>> {
    let cut = prop_oneof![
        3 => Just(Cut::Commit),
        1 => Just(Cut::Forget),
        4 => (1_u64..12, any::<u64>()).prop_map(|(k, seed)| Cut::DieWithin { k, seed }),
        // Pages of comments come late in a commit, the comments themselves last but for the mark.
        6 => (prop::sample::select(b"irkoqyukm".as_slice()), 0_u32..4, prop::option::of(any::<u64>()))
            .prop_map(|(letter, passes, kept)| Cut::DieAt { fuse: Fuse { letter, passes }, kept }),
        1 => any::<u64>().prop_map(|seed| Cut::Die { seed }),
    ];
    prop::collection::vec((any::<prop::sample::Index>(), cut), 0..16)
}

/// The write that the disk is to fail at: of a key that begins with this letter, once so many have passed.
#[derive(Clone, Copy, Debug)]
struct Fuse {
    letter: u8,
    passes: u32,
}

/// Has the disk fail there.
#[derive(Debug)]
struct Fused {
    disk: FaultyDisk,
    fuse: Mutex<Option<Fuse>>,
}

impl Hook for Fused {
    fn insert(&self, key: &[u8], _: &[u8]) {
        let mut fuse = self.fuse.lock().unwrap();
        match &mut *fuse {
            Some(Fuse { letter, passes: 0 }) if key[0] == *letter => {
                *fuse = None;
                self.disk.fail_at(1);
            }
            Some(Fuse { letter, passes }) if key[0] == *letter => *passes -= 1,
            _ => {}
        }
    }
}

/// The tables, and what the judge knows.
struct Folder {
    store: Arc<Through<Fused>>,
    tables: Tables,
    known: Transitions,
}

impl Folder {
    /// Opens the tables and folds the log from their mark to `end`.
    fn catch_up(disk: &FaultyDisk, log: &[Logged], end: usize) -> Result<Self, Fault> {
        let store = Through::over(disk.open("tables"), Fused { disk: disk.clone(), fuse: Mutex::default() });
        let within: Arc<dyn Store> = Arc::<Through<Fused>>::clone(&store);
        let tables = Tables::open(within)?;
        let mark = tables.mark().map_or(0, |mark| mark.seq);
        let known = tables.transitions()?;
        let mut folder = Self { store, tables, known };
        log.iter().take(end).skip(usize::try_from(mark).expect("small")).try_for_each(|logged| folder.fold(logged))?;
        Ok(folder)
    }

    /// Judges an event again first.
    fn fold(&mut self, logged: &Logged) -> Result<(), Fault> {
        let Logged { seq, at, event } = logged;
        assert_eq!(judge(&self.known, *seq, *at, event), Ok(()), "event {seq} was judged fine before: {event:?}");
        let effect = self.known.note(*seq, *at, event);
        fold(&mut self.tables, logged, &effect)
    }
}

fn mark(end: usize) -> Mark {
    Mark { seq: end as u64, block: 1, chain: [0; 32] }
}

/// What whoever reads the whole log without a break knows of voids: whose their votes are is what the model says.
fn read_at_once(model: &Model) -> Result<Transitions, TestCaseError> {
    let mut live = Transitions::default();
    for Logged { seq, at, event } in &model.log {
        live.note(*seq, *at, event);
    }
    for slot in &model.slots {
        let masks = live.voids().masks(slot.slot.no);
        let found: BTreeMap<Seq, VoterId> = masks.iter().map(|mask| (mask.vote.seq, mask.vote.voter)).collect();
        let wanted = model.masked.iter().filter(|(_, (of, _))| *of == slot.slot.no);
        prop_assert_eq!(found, wanted.map(|(vote, (_, voter))| (*vote, *voter)).collect());
    }
    Ok(live)
}

/// Who was erased is taken from the masks once more. What is stored of voids names them until the applier's pass has come by, which
/// is none here, so whoever read that knows their names again.
fn unname_again(known: &mut Transitions, model: &Model) {
    for logged in &model.log {
        if let Event::ErasureEnded(id) = logged.event {
            let begun = &model.log[usize::try_from(id).expect("small") - 1].event;
            let Event::ErasureBegun { voter, .. } = begun else { panic!("{begun:?} begins no erasure") };
            known.load_erasure(id, Some(*voter));
            known.note(logged.seq, logged.at, &logged.event);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, max_shrink_iters: 1_000, ..ProptestConfig::default() })]
    #[test]
    fn the_tables_are_the_logs_however_it_was_cut(verbs in prop::collection::vec(verb(), 0..220), cuts in cuts()) {
        let model = model(&verbs);
        let disk = FaultyDisk::new(1);
        let mut folder = Folder::catch_up(&disk, &model.log, 0)?;
        let mut folded = 0;
        let mut cuts: Vec<_> = cuts.into_iter().map(|(at, cut)| (at.index(model.log.len() + 1), cut)).collect();
        cuts.sort_by_key(|(at, _)| *at);
        for (end, cut) in cuts {
            for logged in &model.log[folded..end] {
                folder.fold(logged)?;
            }
            folded = end;
            match cut {
                Cut::Commit => folder.tables.commit(mark(end))?,
                Cut::Forget => {
                    folder.tables.commit(mark(end))?;
                    folder.tables.forget_kept();
                }
                Cut::DieWithin { k, seed } => {
                    disk.fail_at(k);
                    // A commit with fewer writes than k ends before its failure.
                    let _ = folder.tables.commit(mark(end));
                    disk.crash(seed);
                    folder = Folder::catch_up(&disk, &model.log, end)?;
                }
                Cut::DieAt { fuse, kept } => {
                    *folder.store.hook.fuse.lock().unwrap() = Some(fuse);
                    // Likewise.
                    let _ = folder.tables.commit(mark(end));
                    if kept.is_none() {
                        disk.repair();
                        folder.store.flush()?;
                    }
                    disk.crash(kept.unwrap_or(0));
                    folder = Folder::catch_up(&disk, &model.log, end)?;
                }
                Cut::Die { seed } => {
                    disk.crash(seed);
                    folder = Folder::catch_up(&disk, &model.log, end)?;
                }
            }
        }
        for logged in &model.log[folded..] {
            folder.fold(logged)?;
        }
        let Folder { mut tables, mut known, .. } = folder;
        // Over what is stored, as recovery and `verify` read it; then stored; then read anew.
        check(&tables, &model)?;
        tables.commit(mark(model.log.len()))?;
        check(&tables, &model)?;
        let anew = Tables::open(disk.open("tables"))?;
        check(&anew, &model)?;
        // What a start knows of voids is what the log's order came to.
        let (mut loaded, mut live) = (anew.transitions()?, read_at_once(&model)?);
        for known in [&mut loaded, &mut known, &mut live] {
            unname_again(known, &model);
        }
        prop_assert_eq!(loaded.voids(), known.voids());
        prop_assert_eq!(live.voids(), known.voids());
    }
}
