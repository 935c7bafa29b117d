//! The log's store with everything that was ever put into it, so that a whole history is at hand at the end.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

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
