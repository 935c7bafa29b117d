//! The one seam to the disk. A data directory holds two stores, `log/` and `tables/`, so that the log's file never
//! grows with the tables; each is a map from short keys to values of at most [`VALUE_MAX`] bytes, ordered by key.
//!
//! [`SledStore`] is the real one; [`FaultyDisk`] is its twin in memory, which fails, tears and forgets as disks do;
//! [`MemoryStore`] never fails and keeps nothing.
//! Beside the stores lie the [`Marker`], which says what a store must contain, and the [`Ballast`].
//! Nothing outside this folder names sled; nothing in it knows what the bytes mean.

mod ballast;
mod disk;
mod durable;
mod faulty;
mod files;
mod generation;
mod herd;
mod home;
mod marker;
mod memory;
mod versions;
mod watch;

use std::fmt;
use std::ops::{ControlFlow, Deref};

pub use ballast::Ballast;
pub use disk::SledStore;
pub use durable::make_flushes_real;
pub use faulty::FaultyDisk;
pub use files::{make_dir, sync_dir};
pub use home::{Home, IN_THE_MAKING, check_made};
pub use marker::Marker;
pub use memory::MemoryStore;
pub use versions::{END, Snapshot, Versions};
pub use watch::Watch;

use crate::error::Fault;

/// The largest value: above it sled keeps a value as a file that it never syncs.
pub const VALUE_MAX: usize = 64 * 1024;

/// An ordered map on a disk. Writes are seen by reads at once and survive a power loss once [`Store::flush`] has
/// returned; after a crash without it, some prefix of them is there.
pub trait Store: Send + Sync + fmt::Debug {
    /// `log` or `tables`, for messages.
    fn name(&self) -> &'static str;

    /// The value of a key.
    fn get(&self, key: &[u8]) -> Result<Option<Value>, Fault>;

    /// Puts a value of at most [`VALUE_MAX`] bytes.
    fn insert(&self, key: &[u8], value: &[u8]) -> Result<(), Fault>;

    /// Takes a key away; that it was not there is no error.
    fn remove(&self, key: &[u8]) -> Result<(), Fault>;

    /// Visits the entries from `from` (included) to `to` (excluded) in key order until told to break.
    fn scan(&self, from: &[u8], to: &[u8], visit: Visit<'_>) -> Result<(), Fault>;

    /// The entry with the largest key from `from` (included) to `to` (excluded).
    fn last_in(&self, from: &[u8], to: &[u8]) -> Result<Option<(Vec<u8>, Value)>, Fault>;

    /// Returns when every write before it is on the disk for real. Called by one thread at a time.
    fn flush(&self) -> Result<(), Fault>;

    /// The failure that was latched, if one was, by whichever thread met it.
    fn check(&self) -> Result<(), Fault>;

    /// Bytes of its files.
    fn disk_bytes(&self) -> u64;
}

/// What [`Store::scan`] calls with each entry.
pub type Visit<'a> = &'a mut dyn FnMut(&[u8], &Value) -> Result<ControlFlow<()>, Fault>;

/// The bytes of a value. Cloning copies no bytes: clones share them.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Value(sled::IVec);

impl Deref for Value {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl AsRef<[u8]> for Value {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl From<&[u8]> for Value {
    fn from(bytes: &[u8]) -> Self {
        Self(bytes.into())
    }
}

impl From<Vec<u8>> for Value {
    fn from(bytes: Vec<u8>) -> Self {
        Self(bytes.into())
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Value({} bytes)", self.len())
    }
}
