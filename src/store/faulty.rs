//! A disk in memory for tests. It survives crashes of what writes to it, and fails, tears and forgets as disks do.
//!
//! The fault model:
//! - A write is seen at once, and kept through a crash once a flush behind it has returned. Of the unflushed writes
//!   of a store a crash keeps some prefix, chosen by its seed, and each store's is its own: the log may keep more than
//!   the tables or less. [`FaultyDisk::crash_tearing`] also spoils the last write that one store kept: its value is
//!   cut short or some of its bytes are altered. (sled's own checksums catch most of that; ours must catch the rest.)
//! - From the k-th insert, remove or flush on, counted over all stores, each of them fails with [`Fault::Storage`] until
//!   [`FaultyDisk::repair`]. What a failed one left is unknown: a failed insert or remove is not seen, yet may be kept
//!   through a crash; a failed flush has made some prefix durable.
//! - A full disk fails each of them too; it is empty enough again at once when told so.
//! - Reads never fail by themselves. [`FaultyDisk::alter`] changes what is stored behind everyone's back.
//! - A crash makes every handle that was opened before it useless, so that a thread of the "dead" process can't reach the
//!   disk that its successor reads.
//!
//! Unlike [`SledStore`](super::SledStore) a handle latches nothing: after `repair` it works again. So a test sees whether
//! its user stopped at the first failure by itself. All choices follow from the seeds. Never used outside tests.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use parking_lot::{Condvar, Mutex, MutexGuard};

use super::disk::check_size;
use super::{Store, Value, Visit};
use crate::error::Fault;

type Entries = BTreeMap<Vec<u8>, Value>;

/// The disk. Clones are the same disk.
#[derive(Clone, Debug, Default)]
pub struct FaultyDisk {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    /// Told when held flushes may go on.
    released: Condvar,
}

#[derive(Debug, Default)]
struct State {
    platters: BTreeMap<&'static str, Platter>,
    /// Crashes so far; a handle of an earlier count is dead.
    crashes: u64,
    ops: u64,
    flushes: u64,
    /// The count of operations from which on they fail.
    fail_from: Option<u64>,
    full: bool,
    hold_flushes: bool,
    /// Flushes that wait for `hold_flushes` to end.
    held: usize,
    random: Random,
}

/// One store's part of the disk.
#[derive(Debug, Default)]
struct Platter {
    /// What a crash keeps.
    durable: Entries,
    /// Writes since, in order, those that failed and reached the disk all the same included.
    unflushed: Vec<Write>,
    /// What reads see.
    seen: Entries,
}

/// A key and its new value; `None` takes it away.
type Write = (Vec<u8>, Option<Value>);

impl FaultyDisk {
    /// An empty disk whose choices outside crashes follow from `seed`.
    pub fn new(seed: u64) -> Self {
        let disk = Self::default();
        disk.state().random = Random(seed);
        disk
    }

    /// A handle of the store `name`, empty if it is new. Dead after the next crash.
    pub fn open(&self, name: &'static str) -> Arc<dyn Store> {
        let mut state = self.state();
        state.platters.entry(name).or_default();
        Arc::new(Handle { disk: self.clone(), name, crashes: state.crashes })
    }

    /// The process and the machine die: handles are dead, and of each store's unflushed writes a prefix is left.
    /// A pending failure goes away with it; a full disk stays full.
    pub fn crash(&self, seed: u64) {
        self.crash_with(seed, None);
    }

    /// As [`FaultyDisk::crash`], and spoils the last unflushed write that the store `torn` kept, if it kept any.
    /// Meant for stores whose user can tell what was flushed, such as the log.
    pub fn crash_tearing(&self, seed: u64, torn: &str) {
        self.crash_with(seed, Some(torn));
    }

    /// The `k`-th insert, remove or flush from now on fails, and all behind it; 1 is the next.
    pub fn fail_at(&self, k: u64) {
        let mut state = self.state();
        state.fail_from = Some(state.ops + k.max(1));
    }

    /// Ends what [`FaultyDisk::fail_at`] began.
    pub fn repair(&self) {
        self.state().fail_from = None;
    }

    /// Fills the disk, or makes room again.
    pub fn set_full(&self, full: bool) {
        self.state().full = full;
    }

    /// Makes flushes wait, so that a test can look at what is written and not yet durable. A crash lets them go, to fail.
    pub fn hold_flushes(&self, hold: bool) {
        self.state().hold_flushes = hold;
        self.shared.released.notify_all();
    }

    /// Flushes that are being held now.
    pub fn held_flushes(&self) -> usize {
        self.state().held
    }

    /// Inserts, removes and flushes so far, over all stores and crashes, failed ones included.
    pub fn ops(&self) -> u64 {
        self.state().ops
    }

    /// Flushes that have returned without a failure.
    pub fn flushes(&self) -> u64 {
        self.state().flushes
    }

    /// Changes an entry at rest: `alter` gets its value and says the new one, `None` to lose the entry. Says whether the
    /// entry was there. Counts as no operation.
    pub fn alter(&self, name: &str, key: &[u8], alter: impl Fn(&[u8]) -> Option<Vec<u8>>) -> bool {
        let mut state = self.state();
        let Some(platter) = state.platters.get_mut(name) else { return false };
        let Some(value) = platter.seen.get(key).map(|value| alter(value).map(Value::from)) else { return false };
        put(&mut platter.seen, key, value.clone());
        put(&mut platter.durable, key, value.clone());
        // An unflushed write must not bring the old value back.
        platter.unflushed.iter_mut().filter(|write| write.0 == key).for_each(|write| write.1.clone_from(&value));
        true
    }

    fn crash_with(&self, seed: u64, torn: Option<&str>) {
        let mut state = self.state();
        let mut random = Random(seed);
        for (name, platter) in &mut state.platters {
            platter.crash(&mut random, torn == Some(name));
        }
        state.crashes += 1;
        state.fail_from = None;
        state.hold_flushes = false;
        self.shared.released.notify_all();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock()
    }
}

impl State {
    /// Counts one insert, remove or flush, and says whether it fails.
    fn count(&mut self, name: &'static str, doing: &'static str) -> Result<(), Fault> {
        self.ops += 1;
        let why = match self.fail_from {
            Some(from) if self.ops >= from => "the disk was told to fail",
            _ if self.full => "no space left on device",
            _ => return Ok(()),
        };
        Err(Fault::Storage { tree: name, doing, why: why.into() })
    }

    fn platter(&mut self, name: &'static str) -> &mut Platter {
        self.platters.get_mut(name).expect("made when its handle was opened")
    }
}

impl Platter {
    /// Makes the first `count` unflushed writes durable.
    fn flush(&mut self, count: usize) {
        for (key, value) in self.unflushed.drain(..count) {
            put(&mut self.durable, &key, value);
        }
    }

    fn crash(&mut self, random: &mut Random, tear: bool) {
        let kept = random.up_to(self.unflushed.len());
        if tear && let Some((_, Some(value))) = kept.checked_sub(1).map(|last| &mut self.unflushed[last]) {
            *value = torn(value, random);
        }
        self.flush(kept);
        self.unflushed.clear();
        self.seen.clone_from(&self.durable);
    }
}

fn put(entries: &mut Entries, key: &[u8], value: Option<Value>) {
    match value {
        Some(value) => entries.insert(key.to_vec(), value),
        None => entries.remove(key),
    };
}

/// The value cut short, or with one to eight bytes altered; an empty one has nothing to lose.
fn torn(value: &Value, random: &mut Random) -> Value {
    let mut bytes = value.to_vec();
    if bytes.is_empty() || random.up_to(1) == 0 {
        bytes.truncate(random.up_to(bytes.len().saturating_sub(1)));
        return bytes.into();
    }
    let from = random.up_to(bytes.len() - 1);
    for byte in bytes.iter_mut().skip(from).take(1 + random.up_to(7)) {
        // Never by 0: an altered byte differs.
        *byte ^= u8::try_from(1 + random.up_to(254)).expect("at most 255");
    }
    bytes.into()
}

#[derive(Debug)]
struct Handle {
    disk: FaultyDisk,
    name: &'static str,
    crashes: u64,
}

impl Handle {
    fn alive(&self) -> Result<MutexGuard<'_, State>, Fault> {
        let state = self.disk.state();
        self.check_alive(&state)?;
        Ok(state)
    }

    fn check_alive(&self, state: &State) -> Result<(), Fault> {
        if state.crashes == self.crashes {
            return Ok(());
        }
        Err(Fault::Latched("the process that opened this store has crashed".into()))
    }

    fn write(&self, doing: &'static str, write: Write) -> Result<(), Fault> {
        let mut state = self.alive()?;
        let counted = state.count(self.name, doing);
        if counted.is_ok() {
            put(&mut state.platter(self.name).seen, &write.0, write.1.clone());
        }
        if counted.is_ok() || state.random.up_to(1) == 1 {
            state.platter(self.name).unflushed.push(write);
        }
        counted
    }

    /// The entries of a range, copied, so that whoever visits them may use the store meanwhile.
    fn entries(&self, from: &[u8], to: &[u8]) -> Result<Vec<(Vec<u8>, Value)>, Fault> {
        let mut state = self.alive()?;
        let seen = &state.platter(self.name).seen;
        let behind = seen.range::<[u8], _>((std::ops::Bound::Included(from), std::ops::Bound::Unbounded));
        Ok(behind.take_while(|(key, _)| key.as_slice() < to).map(|(key, value)| (key.clone(), value.clone())).collect())
    }
}

impl Store for Handle {
    fn name(&self) -> &'static str {
        self.name
    }

    fn get(&self, key: &[u8]) -> Result<Option<Value>, Fault> {
        Ok(self.alive()?.platter(self.name).seen.get(key).cloned())
    }

    fn insert(&self, key: &[u8], value: &[u8]) -> Result<(), Fault> {
        check_size(self.name, value)?;
        self.write("writing", (key.to_vec(), Some(value.into())))
    }

    fn remove(&self, key: &[u8]) -> Result<(), Fault> {
        self.write("removing", (key.to_vec(), None))
    }

    fn scan(&self, from: &[u8], to: &[u8], visit: Visit<'_>) -> Result<(), Fault> {
        for (key, value) in self.entries(from, to)? {
            if visit(&key, &value)? == ControlFlow::Break(()) {
                break;
            }
        }
        Ok(())
    }

    fn last_in(&self, from: &[u8], to: &[u8]) -> Result<Option<(Vec<u8>, Value)>, Fault> {
        let mut state = self.alive()?;
        let range = (std::ops::Bound::Included(from), std::ops::Bound::Excluded(to));
        let last = state.platter(self.name).seen.range::<[u8], _>(range).next_back();
        Ok(last.map(|(key, value)| (key.clone(), value.clone())))
    }

    fn flush(&self) -> Result<(), Fault> {
        let mut state = self.alive()?;
        // What is written while a flush is held is not part of it.
        let written = state.platter(self.name).unflushed.len();
        state.held += 1;
        while state.hold_flushes && state.crashes == self.crashes {
            self.disk.shared.released.wait(&mut state);
        }
        state.held -= 1;
        self.check_alive(&state)?;
        let counted = state.count(self.name, "flushing");
        let count = if counted.is_ok() { written } else { state.random.up_to(written) };
        state.platter(self.name).flush(count);
        state.flushes += u64::from(counted.is_ok());
        counted
    }

    /// Its failures are met by whoever writes, and by nobody else.
    fn check(&self) -> Result<(), Fault> {
        Ok(())
    }

    fn disk_bytes(&self) -> u64 {
        self.disk.state().platter(self.name).seen.iter().map(|(key, value)| (key.len() + value.len()) as u64).sum()
    }
}

/// `SplitMix64`: a test's choices need no more.
#[derive(Debug, Default)]
struct Random(u64);

impl Random {
    /// A number from 0 to `most`, both included.
    fn up_to(&mut self, most: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        usize::try_from(mixed % (most as u64 + 1)).expect("at most a usize")
    }
}

#[cfg(test)]
mod tests;
