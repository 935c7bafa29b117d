//! The log's store with everything that was ever put into it, so that a whole history is at hand at the end.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use plaudit::error::Fault;
use plaudit::store::{Store, Value, Visit};

/// Blocks of the log by their first sequence.
pub(crate) type Blocks = Arc<Mutex<BTreeMap<Vec<u8>, Vec<u8>>>>;

/// The log's store, with a copy of every block that was put into it, whether that failed or not.
#[derive(Debug)]
pub(crate) struct Kept {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) blocks: Blocks,
}

impl Store for Kept {
    fn name(&self) -> &'static str {
        self.store.name()
    }

    fn get(&self, key: &[u8]) -> Result<Option<Value>, Fault> {
        self.store.get(key)
    }

    fn insert(&self, key: &[u8], value: &[u8]) -> Result<(), Fault> {
        self.blocks.lock().unwrap().insert(key.to_vec(), value.to_vec());
        self.store.insert(key, value)
    }

    fn remove(&self, key: &[u8]) -> Result<(), Fault> {
        self.store.remove(key)
    }

    fn scan(&self, from: &[u8], to: &[u8], visit: Visit<'_>) -> Result<(), Fault> {
        self.store.scan(from, to, visit)
    }

    fn last_in(&self, from: &[u8], to: &[u8]) -> Result<Option<(Vec<u8>, Value)>, Fault> {
        self.store.last_in(from, to)
    }

    fn flush(&self) -> Result<(), Fault> {
        self.store.flush()
    }

    fn check(&self) -> Result<(), Fault> {
        self.store.check()
    }

    fn disk_bytes(&self) -> u64 {
        self.store.disk_bytes()
    }
}
