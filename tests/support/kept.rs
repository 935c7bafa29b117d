//! The log's store with everything that was ever put into it, so that a whole history is at hand at the end.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use plaudit::domain::{Logged, Seq};
use plaudit::log::block;

use crate::through::Hook;

/// Blocks of the log by their first sequence.
pub(crate) type Blocks = Arc<Mutex<BTreeMap<Vec<u8>, Vec<u8>>>>;

/// Keeps a copy of every block that is put into the log's store, whether that fails or not.
#[derive(Debug)]
pub(crate) struct Kept(pub(crate) Blocks);

impl Hook for Kept {
    fn insert(&self, key: &[u8], value: &[u8]) {
        self.0.lock().unwrap().insert(key.to_vec(), value.to_vec());
    }
}

/// The whole history, oldest first.
pub(crate) fn history(blocks: &Blocks) -> Vec<Logged> {
    let mut all = Vec::new();
    for (key, record) in blocks.lock().unwrap().iter() {
        let read = block::read(key, record, |logged| {
            all.push(logged);
            Ok(())
        });
        read.unwrap();
    }
    let sequences: Vec<Seq> = all.iter().map(|logged: &Logged| logged.seq).collect();
    assert_eq!(sequences, (1..=all.len() as u64).collect::<Vec<_>>(), "no event is missing or twice");
    all
}
