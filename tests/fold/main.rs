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
mod verbs;
mod voids;
mod votes;

use std::collections::BTreeMap;

use check::check;
use model::{Model, model};
use plaudit::domain::{Event, Logged, Seq, VoterId};
use plaudit::error::Fault;
use plaudit::fold::{Mark, Tables, Transitions, fold, judge};
use plaudit::store::FaultyDisk;
use proptest::prelude::*;
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
    /// The machine dies before the commit.
    Die { seed: u64 },
}

fn cuts() -> impl Strategy<Value = Vec<(prop::sample::Index, Cut)>> {
    let cut = prop_oneof![
        3 => Just(Cut::Commit),
        1 => Just(Cut::Forget),
        4 => (1_u64..12, any::<u64>()).prop_map(|(k, seed)| Cut::DieWithin { k, seed }),
        // Among the pages of comments, which come last.
        4 => (12_u64..60, any::<u64>()).prop_map(|(k, seed)| Cut::DieWithin { k, seed }),
        1 => any::<u64>().prop_map(|seed| Cut::Die { seed }),
    ];
    prop::collection::vec((any::<prop::sample::Index>(), cut), 0..16)
}

/// The tables, and what the judge knows.
struct Folder {
    tables: Tables,
    known: Transitions,
}

impl Folder {
    /// Opens the tables and folds the log from their mark to `end`.
    fn catch_up(disk: &FaultyDisk, log: &[Logged], end: usize) -> Result<Self, Fault> {
        let tables = Tables::open(disk.open("tables"))?;
        let mark = tables.mark().map_or(0, |mark| mark.seq);
        let known = tables.transitions()?;
        let mut folder = Self { tables, known };
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
                Cut::Die { seed } => {
                    disk.crash(seed);
                    folder = Folder::catch_up(&disk, &model.log, end)?;
                }
            }
        }
        for logged in &model.log[folded..] {
            folder.fold(logged)?;
        }
        let Folder { mut tables, mut known } = folder;
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
