//! The order of flushes and notes, on a disk that fails and forgets.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::super::*;
use crate::codec::Kind;
use crate::store::FaultyDisk;

/// As many as steps at most, so that some are written once, and some again.
const KEYS: u8 = 40;

/// A tree, a key, and what is put there; `None` takes it out.
type Step = (bool, u8, Option<u8>);

fn tree(is_log: bool) -> &'static str {
    if is_log { "log" } else { "tables" }
}

fn apply(filling: &mut Filling, (is_log, key, value): Step) -> Result<(), Fault> {
    match value {
        Some(value) => filling.put(tree(is_log), &[b'k', key], &codec::record(Kind::Mark, &[b'k', key], &value)),
        None => filling.remove(tree(is_log), &[b'k', key]),
    }
}

/// Steps behind a place, until the `cut`-th or the first that fails. Notes are on the disk at once, as a renamed file's name is.
fn run(disk: &FaultyDisk, steps: &[Step], noted: &mut Place, every: usize, cut: usize) -> Result<(), Fault> {
    let mut filling =
        Filling { log: disk.open("log"), tables: disk.open("tables"), since: 0, every, pace: Pace::always() };
    let from = usize::try_from(noted.taken).unwrap();
    for (at, step) in steps.iter().enumerate().skip(from).take(cut) {
        apply(&mut filling, *step)?;
        filling.reached(Place { taken: at as u64 + 1, ..Place::default() }, &mut |place| {
            *noted = place;
            Ok(())
        })?;
    }
    if cut < steps.len() - from { Ok(()) } else { filling.flush() }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    /// Puts and removals in any order, and any number of crashes: each may keep more of one store than of the other.
    #[test]
    fn whatever_a_crash_keeps_each_key_ends_as_its_last_piece_says(
        steps in prop::collection::vec((any::<bool>(), 0..KEYS, any::<Option<u8>>()), 1..60),
        every in 1_usize..900,
        crashes in prop::collection::vec((0_usize..60, prop::option::of(1_u64..90), any::<u64>()), 0..5),
    ) {
        let (disk, mut noted) = (FaultyDisk::new(1), Place::default());
        for (cut, fails, seed) in crashes {
            if let Some(k) = fails {
                disk.fail_at(k);
            }
            let _cut_or_failed = run(&disk, &steps, &mut noted, every, cut);
            disk.crash(seed);
        }
        run(&disk, &steps, &mut noted, every, usize::MAX).unwrap();
        disk.crash(7);
        let mut wanted: BTreeMap<(&str, u8), u8> = BTreeMap::new();
        for (is_log, key, value) in steps {
            match value {
                Some(value) => drop(wanted.insert((tree(is_log), key), value)),
                None => drop(wanted.remove(&(tree(is_log), key))),
            }
        }
        for is_log in [true, false] {
            let store = disk.open(tree(is_log));
            for key in 0..KEYS {
                let wanted = wanted.get(&(tree(is_log), key));
                let wanted = wanted.map(|value| codec::record(Kind::Mark, &[b'k', key], value));
                prop_assert_eq!(store.get(&[b'k', key]).unwrap().map(|found| found.to_vec()), wanted);
            }
        }
    }
}
