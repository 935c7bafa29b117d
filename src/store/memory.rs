//! A store that lives and dies with its process: for a site's own tests, which want a server that leaves nothing behind. The same
//! contract as the disk's, less what a disk adds: nothing survives, and a flush has nothing to do.

use std::collections::BTreeMap;
use std::ops::{Bound, ControlFlow};
use std::sync::Arc;

use parking_lot::RwLock;

use super::disk::check_size;
use super::{Store, Value, Visit};
use crate::error::Fault;

/// Entries that a scan copies at once: few enough that a writer never waits long, many enough that the lock costs little.
const SCANNED_AT_ONCE: usize = 128;
/// What an entry is charged beside its bytes.
const ENTRY_BYTES: usize = 96;

/// An ordered map in memory, bounded in bytes.
#[derive(Debug)]
pub struct MemoryStore {
    name: &'static str,
    max_bytes: usize,
    held: RwLock<Held>,
}

#[derive(Debug, Default)]
struct Held {
    entries: BTreeMap<Vec<u8>, Value>,
    bytes: usize,
}

impl MemoryStore {
    /// An empty store. `name` is `log` or `tables`, for messages. A write past `max_bytes`, keys and what an entry costs counted
    /// in, is [`Fault::Storage`] and changes nothing.
    pub fn new(name: &'static str, max_bytes: usize) -> Arc<Self> {
        Arc::new(Self { name, max_bytes, held: RwLock::default() })
    }

    fn fault(&self, why: String) -> Fault {
        Fault::Storage { tree: self.name, doing: "writing", why }
    }
}

fn cost(key: &[u8], value: &[u8]) -> usize {
    ENTRY_BYTES + key.len() + value.len()
}

impl Store for MemoryStore {
    fn name(&self) -> &'static str {
        self.name
    }

    fn get(&self, key: &[u8]) -> Result<Option<Value>, Fault> {
        Ok(self.held.read().entries.get(key).cloned())
    }

    fn insert(&self, key: &[u8], value: &[u8]) -> Result<(), Fault> {
        check_size(self.name, value)?;
        let mut held = self.held.write();
        let before = held.entries.get(key).map_or(0, |old| cost(key, old));
        let bytes = held.bytes - before + cost(key, value);
        if bytes > self.max_bytes {
            return Err(self.fault(format!("the {} bytes that it may hold in memory are used up", self.max_bytes)));
        }
        held.bytes = bytes;
        held.entries.insert(key.to_vec(), value.into());
        Ok(())
    }

    fn remove(&self, key: &[u8]) -> Result<(), Fault> {
        let mut held = self.held.write();
        if let Some(old) = held.entries.remove(key) {
            held.bytes -= cost(key, &old);
        }
        Ok(())
    }

    /// Sees what is written meanwhile where it has not been yet, give or take `SCANNED_AT_ONCE` entries: the disk's does too.
    fn scan(&self, from: &[u8], to: &[u8], visit: Visit<'_>) -> Result<(), Fault> {
        let mut part: Vec<(Vec<u8>, Value)> = Vec::new();
        let mut behind = Bound::Included(from.to_vec());
        loop {
            part.clear();
            {
                // Not held while the visitor runs, which may write.
                let held = self.held.read();
                let range = (behind.as_ref().map(Vec::as_slice), Bound::Unbounded);
                let entries = held.entries.range::<[u8], _>(range).take_while(|(key, _)| key.as_slice() < to);
                part.extend(entries.take(SCANNED_AT_ONCE).map(|(key, value)| (key.clone(), value.clone())));
            }
            for (key, value) in &part {
                if visit(key, value)? == ControlFlow::Break(()) {
                    return Ok(());
                }
            }
            match part.pop() {
                Some((last, _)) if part.len() + 1 == SCANNED_AT_ONCE => behind = Bound::Excluded(last),
                _ => return Ok(()),
            }
        }
    }

    fn last_in(&self, from: &[u8], to: &[u8]) -> Result<Option<(Vec<u8>, Value)>, Fault> {
        // A range that ends before it begins is empty; the map's own would panic.
        if from >= to {
            return Ok(None);
        }
        let held = self.held.read();
        let last = held.entries.range::<[u8], _>((Bound::Included(from), Bound::Excluded(to))).next_back();
        Ok(last.map(|(key, value)| (key.clone(), value.clone())))
    }

    /// There is nothing under it to reach.
    fn flush(&self) -> Result<(), Fault> {
        Ok(())
    }

    /// What it refuses it refuses to whoever writes: nothing fails behind anyone's back.
    fn check(&self) -> Result<(), Fault> {
        Ok(())
    }

    /// Of memory: it has no files.
    fn disk_bytes(&self) -> u64 {
        self.held.read().bytes as u64
    }
}
