//! A store that can be read as it was at one moment while its one writer goes on.
//!
//! The writer takes the moment itself, between two of its writes ([`Versions::hold`]). From then on, before it changes or
//! removes an entry for the first time, it copies what the entry was to a key of its own in the same store. A reader takes
//! the copy where there is one, else the entry:
//!
//! ```text
//! writer   is there a copy? no: write the copy (empty: there was no entry), then write the entry
//! reader   read the entry, then look for its copy
//! ```
//!
//! So whoever read a new entry finds the copy that was written before it, and whoever finds no copy has read the old one.
//! The copies are what bounds it, and what holding a moment costs: each entry that changes meanwhile is read and written once more, and
//! lies there twice. At most what the store held at that moment, on the disk and not in memory; the log goes on being
//! folded and dropped. They are of no use to anyone once the [`Snapshot`] is dropped, nor to the next start: the writer
//! removes them, some at a time ([`Versions::clear`]), before it holds another.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::Mutex;

use super::{Store, Value, Visit};
use crate::error::Fault;

/// What copies' keys begin with; behind every letter of the tables.
const COPIES: u8 = b'~';
/// Copies that are removed at once.
const CLEARED: usize = 512;
/// Entries that a snapshot's scan holds at a time: a few megabytes.
const CHUNK: usize = 128;

/// A store with at most one snapshot of it.
#[derive(Debug)]
pub struct Versions {
    store: Arc<dyn Store>,
    state: Mutex<State>,
    /// How often it was written to since it was opened. The writer alone counts.
    writes: AtomicU64,
    /// Snapshots are read no more: the store is closing.
    ended: AtomicBool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    /// There may be copies that nobody reads, a crashed process's at the start.
    Leftover,
    Idle,
    Held,
}

impl Versions {
    /// Over a store that nobody else writes into.
    pub fn over(store: Arc<dyn Store>) -> Arc<Self> {
        Arc::new(Self {
            store,
            state: Mutex::new(State::Leftover),
            writes: AtomicU64::new(0),
            ended: AtomicBool::new(false),
        })
    }

    /// The store as it is now. For its writer alone, between two writes; `None` while another is held, or its copies are left.
    pub fn hold(self: &Arc<Self>) -> Option<Snapshot> {
        let mut state = self.state.lock();
        if *state != State::Idle {
            return None;
        }
        *state = State::Held;
        Some(Snapshot { of: Arc::clone(self), writes: self.writes.load(Ordering::Relaxed) })
    }

    /// Whether a snapshot is held.
    pub fn is_held(&self) -> bool {
        *self.state.lock() == State::Held
    }

    /// Removes some of the copies that nobody reads any more. For the writer alone.
    pub fn clear(&self) -> Result<(), Fault> {
        if *self.state.lock() != State::Leftover {
            return Ok(());
        }
        let mut found = Vec::new();
        self.store.scan(&[COPIES], &[COPIES + 1], &mut |key, _| {
            found.push(key.to_vec());
            Ok(if found.len() < CLEARED { ControlFlow::Continue(()) } else { ControlFlow::Break(()) })
        })?;
        found.iter().try_for_each(|key| self.store.remove(key))?;
        if found.len() < CLEARED {
            *self.state.lock() = State::Idle;
        }
        Ok(())
    }

    /// Ends every snapshot: its reads fail from here on.
    pub fn end(&self) {
        self.ended.store(true, Ordering::SeqCst);
    }

    /// Keeps what an entry is, unless that is kept already.
    fn keep(&self, key: &[u8]) -> Result<(), Fault> {
        if !self.is_held() {
            return Ok(());
        }
        let copy = copy_of(key);
        if self.store.get(&copy)?.is_none() {
            let old = self.store.get(key)?;
            // No record is empty.
            self.store.insert(&copy, old.as_deref().unwrap_or_default())?;
        }
        Ok(())
    }
}

fn copy_of(key: &[u8]) -> Vec<u8> {
    let mut copy = Vec::with_capacity(key.len() + 1);
    copy.push(COPIES);
    copy.extend_from_slice(key);
    copy
}

impl Store for Versions {
    fn name(&self) -> &'static str {
        self.store.name()
    }

    fn get(&self, key: &[u8]) -> Result<Option<Value>, Fault> {
        self.store.get(key)
    }

    fn insert(&self, key: &[u8], value: &[u8]) -> Result<(), Fault> {
        self.writes.fetch_add(1, Ordering::Relaxed);
        self.keep(key)?;
        self.store.insert(key, value)
    }

    fn remove(&self, key: &[u8]) -> Result<(), Fault> {
        self.writes.fetch_add(1, Ordering::Relaxed);
        self.keep(key)?;
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

/// The first key behind every entry of a store's own, its copies left out.
pub const END: &[u8] = &[COPIES];

/// A store as it was when it was taken. Ends with this value, and when the store closes.
#[derive(Debug)]
pub struct Snapshot {
    of: Arc<Versions>,
    writes: u64,
}

impl Snapshot {
    /// How often the store had been written to since it was opened: two snapshots of one opening with the same number are the same.
    pub fn writes(&self) -> u64 {
        self.writes
    }

    fn store(&self) -> Result<&dyn Store, Fault> {
        if self.of.ended.load(Ordering::SeqCst) {
            return Err(Fault::Latched("the store is closing, and with it what was being read of it".into()));
        }
        Ok(self.of.store.as_ref())
    }

    fn unwritten(&self) -> Fault {
        Fault::Storage { tree: self.name(), doing: "writing", why: "a snapshot is never written".into() }
    }
}

impl Drop for Snapshot {
    fn drop(&mut self) {
        *self.of.state.lock() = State::Leftover;
    }
}

impl Store for Snapshot {
    fn name(&self) -> &'static str {
        self.of.store.name()
    }

    fn get(&self, key: &[u8]) -> Result<Option<Value>, Fault> {
        let store = self.store()?;
        let now = store.get(key)?;
        // Behind the entry: see the top of this file.
        Ok(match store.get(&copy_of(key))? {
            Some(copy) => Some(copy).filter(|copy| !copy.is_empty()),
            None => now,
        })
    }

    fn insert(&self, _: &[u8], _: &[u8]) -> Result<(), Fault> {
        Err(self.unwritten())
    }

    fn remove(&self, _: &[u8]) -> Result<(), Fault> {
        Err(self.unwritten())
    }

    fn scan(&self, from: &[u8], to: &[u8], visit: Visit<'_>) -> Result<(), Fault> {
        let mut from = from.to_vec();
        loop {
            let store = self.store()?;
            let mut now: Vec<(Vec<u8>, Value)> = Vec::with_capacity(CHUNK);
            store.scan(&from, to, &mut |key, value| {
                now.push((key.to_vec(), value.clone()));
                Ok(if now.len() < CHUNK { ControlFlow::Continue(()) } else { ControlFlow::Break(()) })
            })?;
            let all = now.len() < CHUNK;
            // Behind the last of the chunk; then, and no earlier, the copies of that range.
            let behind = match now.last() {
                Some((last, _)) if !all => [last.as_slice(), &[0]].concat(),
                _ => to.to_vec(),
            };
            let mut now = now.into_iter().peekable();
            let mut stopped = false;
            store.scan(&copy_of(&from), &copy_of(&behind), &mut |copy, old| {
                let key = &copy[1..];
                while let Some((at, value)) = now.next_if(|(at, _)| at.as_slice() < key) {
                    if visit(&at, &value)?.is_break() {
                        stopped = true;
                        return Ok(ControlFlow::Break(()));
                    }
                }
                now.next_if(|(at, _)| at.as_slice() == key);
                stopped = !old.is_empty() && visit(key, old)?.is_break();
                Ok(if stopped { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
            })?;
            for (key, value) in now {
                if stopped || visit(&key, &value)?.is_break() {
                    return Ok(());
                }
            }
            if stopped || all {
                return Ok(());
            }
            from = behind;
        }
    }

    fn last_in(&self, from: &[u8], to: &[u8]) -> Result<Option<(Vec<u8>, Value)>, Fault> {
        let mut to = to.to_vec();
        loop {
            let store = self.store()?;
            let now = store.last_in(from, &to)?;
            let copy = store.last_in(&copy_of(from), &copy_of(&to))?;
            let Some((copy, old)) = copy else { return Ok(now) };
            let key = &copy[1..];
            if let Some((at, value)) = now.filter(|(at, _)| at.as_slice() > key) {
                return Ok(Some((at, value)));
            }
            if !old.is_empty() {
                return Ok(Some((key.to_vec(), old)));
            }
            // It was not there yet.
            to = key.to_vec();
        }
    }

    fn flush(&self) -> Result<(), Fault> {
        Ok(())
    }

    fn check(&self) -> Result<(), Fault> {
        self.of.store.check()
    }

    fn disk_bytes(&self) -> u64 {
        self.of.store.disk_bytes()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::store::FaultyDisk;

    type Model = BTreeMap<Vec<u8>, Vec<u8>>;

    fn held() -> (Arc<Versions>, Arc<dyn Store>) {
        let store = FaultyDisk::new(1).open("tables");
        let versions = Versions::over(Arc::clone(&store));
        versions.clear().unwrap();
        (versions, store)
    }

    fn all(store: &dyn Store, from: &[u8], to: &[u8]) -> Vec<(Vec<u8>, Vec<u8>)> {
        let mut found = Vec::new();
        store
            .scan(from, to, &mut |key, value| {
                found.push((key.to_vec(), value.to_vec()));
                Ok(ControlFlow::Continue(()))
            })
            .unwrap();
        found
    }

    fn write(versions: &Versions, model: &mut Model, (key, value): (u16, Option<u8>)) {
        let key = [b"v", key.to_be_bytes().as_slice()].concat();
        if let Some(value) = value {
            versions.insert(&key, &[value]).unwrap();
            model.insert(key, vec![value]);
        } else {
            versions.remove(&key).unwrap();
            model.remove(&key);
        }
    }

    fn writes(most: usize) -> impl Strategy<Value = Vec<(u16, Option<u8>)>> {
        prop::collection::vec((0_u16..400, any::<Option<u8>>()), 0..most)
    }

    proptest! {
        /// Whatever is written between any two reads of a scan, the snapshot is what was there when it was taken.
        #[test]
        fn a_snapshot_stands_still(before in writes(600), meanwhile in writes(600), every in 1_usize..40, from: u8, wide: u8) {
            let (versions, store) = held();
            let (mut model, mut later) = (Model::new(), Model::new());
            for w in before {
                write(&versions, &mut model, w);
            }
            let snapshot = versions.hold().unwrap();
            prop_assert!(versions.hold().is_none(), "one at a time");
            let (from, to) = ([b'v', 0, from], [b'v', 1, wide]);
            let expected: Vec<_> = model.range(from.to_vec()..to.to_vec()).map(|(k, v)| (k.clone(), v.clone())).collect();
            let (mut found, mut left) = (Vec::new(), meanwhile.into_iter());
            snapshot.scan(&from, &to, &mut |key, value| {
                found.push((key.to_vec(), value.to_vec()));
                if found.len() % every == 0 {
                    for w in left.by_ref().take(every) {
                        write(&versions, &mut later, w);
                    }
                }
                Ok(ControlFlow::Continue(()))
            }).unwrap();
            prop_assert_eq!(&found, &expected);
            for w in left {
                write(&versions, &mut later, w);
            }
            prop_assert_eq!(all(&snapshot, &from, &to), expected.clone());
            prop_assert_eq!(snapshot.last_in(&from, &to).unwrap().map(|(k, v)| (k, v.to_vec())), expected.last().cloned());
            for key in (0_u16..400).map(|key| [b"v", key.to_be_bytes().as_slice()].concat()) {
                prop_assert_eq!(snapshot.get(&key).unwrap().map(|v| v.to_vec()), model.get(&key).cloned());
            }
            drop(snapshot);
            prop_assert!(versions.hold().is_none(), "its copies are still there");
            for _ in 0..3 {
                versions.clear().unwrap();
            }
            prop_assert_eq!(all(store.as_ref(), END, &[0xff]), vec![]);
            prop_assert!(versions.hold().is_some());
        }
    }

    #[test]
    fn a_scan_that_is_told_to_stop_stops_and_a_closing_store_ends_it() {
        let (versions, _store) = held();
        let mut model = Model::new();
        for n in 0..300 {
            write(&versions, &mut model, (n, Some(1)));
        }
        let snapshot = versions.hold().unwrap();
        for n in (0..300).step_by(3) {
            write(&versions, &mut model, (n, None));
        }
        for at in [1, 2, 3, 128, 129, 200] {
            let mut seen = 0;
            snapshot
                .scan(b"v", b"w", &mut |_, _| {
                    seen += 1;
                    Ok(if seen < at { ControlFlow::Continue(()) } else { ControlFlow::Break(()) })
                })
                .unwrap();
            assert_eq!(seen, at);
        }
        assert!(snapshot.insert(b"v", b"x").is_err() && snapshot.remove(b"v").is_err());
        versions.end();
        assert!(snapshot.get(b"v").is_err());
    }

    #[test]
    fn what_a_crash_left_over_is_cleared_before_anything_is_held() {
        let (versions, store) = held();
        write(&versions, &mut Model::new(), (1, Some(1)));
        let snapshot = versions.hold().unwrap();
        write(&versions, &mut Model::new(), (1, Some(2)));
        assert_eq!(all(store.as_ref(), END, &[0xff]).len(), 1);
        drop(snapshot);
        let again = Versions::over(Arc::clone(&store));
        assert!(again.hold().is_none());
        again.clear().unwrap();
        assert_eq!(all(store.as_ref(), END, &[0xff]).len(), 0);
        assert_eq!(again.hold().unwrap().get(&[b'v', 0, 1]).unwrap().unwrap().to_vec(), [2]);
    }
}
