//! Any sequence of operations on a store, held step by step against an ordered map.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use plaudit::store::Store;
use proptest::prelude::*;

/// One step.
#[derive(Clone, Debug)]
pub(crate) enum Op {
    /// Put a value.
    Insert(Vec<u8>, Vec<u8>),
    /// Take a key away.
    Remove(Vec<u8>),
    /// Read a range.
    Scan(Vec<u8>, Vec<u8>),
    /// Flush.
    Flush,
}

/// Up to a hundred steps over few keys, so that they meet.
pub(crate) fn ops() -> impl Strategy<Value = Vec<Op>> {
    let key = || prop::collection::vec(0..4u8, 0..4);
    let value =
        prop_oneof![4 => prop::collection::vec(any::<u8>(), 0..40), 1 => (0..60_000usize).prop_map(|n| vec![9; n])];
    let op = prop_oneof![
        5 => (key(), value).prop_map(|(key, value)| Op::Insert(key, value)),
        3 => key().prop_map(Op::Remove),
        1 => (key(), key()).prop_map(|(from, to)| Op::Scan(from, to)),
        1 => Just(Op::Flush),
    ];
    prop::collection::vec(op, 0..100)
}

/// Runs the steps on a store that is empty; what must be in it afterwards.
pub(crate) fn check_against_map(store: &dyn Store, ops: &[Op]) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut map = BTreeMap::new();
    for op in ops {
        match op {
            Op::Insert(key, value) => {
                store.insert(key, value).unwrap();
                map.insert(key.clone(), value.clone());
                assert_eq!(store.get(key).unwrap().as_deref(), Some(value.as_slice()));
            }
            Op::Remove(key) => {
                store.remove(key).unwrap();
                map.remove(key);
                assert_eq!(store.get(key).unwrap(), None);
            }
            Op::Scan(from, to) => {
                let within = map.iter().filter(|(key, _)| (from..to).contains(key));
                assert!(entries(store, from, to).iter().map(|(key, value)| (key, value)).eq(within));
            }
            Op::Flush => store.flush().unwrap(),
        }
        let last = store.last_in(&[], &[0xff; 8]).unwrap().map(|(key, value)| (key, value.to_vec()));
        assert_eq!(last, map.last_key_value().map(|(key, value)| (key.clone(), value.clone())));
    }
    map
}

/// A range of a store.
pub(crate) fn entries(store: &dyn Store, from: &[u8], to: &[u8]) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut entries = Vec::new();
    let mut keep = |key: &[u8], value: &plaudit::store::Value| {
        entries.push((key.to_vec(), value.to_vec()));
        Ok(ControlFlow::Continue(()))
    };
    store.scan(from, to, &mut keep).unwrap();
    entries
}
