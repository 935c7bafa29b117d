//! The real store: one sled database in one directory, opened and flushed so that what it promises holds.
//!
//! Never: a batch or a transaction (both hold one global lock), `flush_async` of what has something to flush (it deadlocks; `herd`
//! has a use for it without), a value that sled would keep as a file (it never syncs those), a write after the first one that failed.

use std::any::Any;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use log::Level;

use super::files::{parent, sync, sync_dir};
use super::watch::{self, Complaint, Latch};
use super::{Store, VALUE_MAX, Value, Visit, herd, make_flushes_real};
use crate::error::Fault;

/// Seventeen values of [`VALUE_MAX`], a leaf's most, must stay below a quarter of a segment.
const SEGMENT: usize = 8 << 20;
const _: () = assert!(17 * VALUE_MAX < SEGMENT / 4);

/// Of pages in memory; what is resident grows to about four times as much.
const CACHE: u64 = 64 << 20;

/// sled collects its garbage in this thread alone.
const TIMER_MS: u64 = 500;

/// A store that was just closed keeps its lock for a moment.
const LOCK_PATIENCE: Duration = Duration::from_secs(2);
const LOCK_RETRY: Duration = Duration::from_millis(50);

/// A store in a directory of its own. It is closed when its last `Arc` is dropped; that flushes, and reports nothing:
/// call [`Store::flush`] before.
#[derive(Debug)]
pub struct SledStore {
    name: &'static str,
    dir: PathBuf,
    /// `None` only while it is being dropped.
    db: Option<sled::Db>,
    /// A second descriptor of sled's file. Linux reports a failed write-back once a descriptor, and sled's timer takes
    /// the report of sled's own and only logs it; this one keeps its report for [`Store::flush`].
    second: File,
    /// Set by the first write or flush that fails, by whichever thread, and by the watch.
    latch: Arc<Latch>,
}

impl SledStore {
    /// Opens the store in `dir`, creating both. `name` is `log` or `tables`, for messages.
    ///
    /// What an earlier process wrote is on the disk for real when this returns. Waits up to two seconds for another
    /// process to let go, then [`Fault::InUse`]. [`Fault::Storage`] says what is damaged and what can be done.
    /// Goes on where [`make_flushes_real`] can't be had: refusing that is for whoever promises durability.
    pub fn open(dir: &Path, name: &'static str) -> Result<Arc<Self>, Fault> {
        if let Err(fault) = make_flushes_real() {
            tracing::warn!("{fault}");
        }
        watch::ensure()?;
        let creating = |why| Fault::io(format!("creating {}", dir.display()), &why);
        fs::create_dir_all(dir).map_err(creating)?;
        herd::ensure(dir);

        // Before sled's first write, so that no error of one can be reported before this descriptor exists. And synced
        // before sled reads: after a `kill -9` what it reads may be in the page cache alone, and must not be built on.
        let second = second_descriptor(&dir.join("db"))?;
        second.sync_data().map_err(|why| Fault::io(format!("syncing {}/db", dir.display()), &why))?;

        let latch = Latch::registered();
        let db = open_patiently(dir, name, &latch)?;
        herd::sweep(dir);
        // sled syncs neither its settings nor the names of its files.
        sync(&dir.join("conf"))?;
        sync_dir(dir)?;
        sync_dir(parent(dir))?;
        Ok(Arc::new(Self { name, dir: dir.to_owned(), db: Some(db), second, latch }))
    }

    fn db(&self) -> &sled::Db {
        self.db.as_ref().expect("only drop takes it")
    }

    /// One call of sled's. A panic in it (it asserts what it reads) is a failure like any other.
    fn call<T>(&self, doing: &'static str, call: impl FnOnce() -> sled::Result<T>) -> Result<T, Fault> {
        catch_unwind(AssertUnwindSafe(call))
            .map_err(|panic| panic_text(&*panic))
            .and_then(|done| done.map_err(|why| why.to_string()))
            .map_err(|why| Fault::Storage { tree: self.name, doing, why })
    }

    /// Runs a write or a flush unless an earlier one failed; latches its failure. What a failed one left on the disk is
    /// unknown, so nothing may be written on top of it.
    fn write<T>(&self, write: impl FnOnce() -> Result<T, Fault>) -> Result<T, Fault> {
        self.latch.check()?;
        write().inspect_err(|fault| self.latch.set(&fault.to_string()))
    }
}

impl Store for SledStore {
    fn name(&self) -> &'static str {
        self.name
    }

    fn get(&self, key: &[u8]) -> Result<Option<Value>, Fault> {
        Ok(self.call("reading", || self.db().get(key))?.map(Value))
    }

    fn insert(&self, key: &[u8], value: &[u8]) -> Result<(), Fault> {
        check_size(self.name, value)?;
        self.write(|| self.call("writing", || self.db().insert(key, value)).map(drop))
    }

    fn remove(&self, key: &[u8]) -> Result<(), Fault> {
        self.write(|| self.call("removing", || self.db().remove(key)).map(drop))
    }

    fn scan(&self, from: &[u8], to: &[u8], visit: Visit<'_>) -> Result<(), Fault> {
        let mut entries = self.db().range(from..to);
        while let Some((key, value)) = self.call("scanning", || entries.next().transpose())? {
            if visit(&key, &Value(value))?.is_break() {
                break;
            }
        }
        Ok(())
    }

    fn last_in(&self, from: &[u8], to: &[u8]) -> Result<Option<(Vec<u8>, Value)>, Fault> {
        let last = self.call("reading the last entry", || self.db().range(from..to).next_back().transpose())?;
        Ok(last.map(|(key, value)| (key.to_vec(), Value(value))))
    }

    fn flush(&self) -> Result<(), Fault> {
        self.write(|| {
            self.call("flushing", || self.db().flush())?;
            self.second.sync_data().map_err(|why| Fault::Storage {
                tree: self.name,
                doing: "syncing",
                why: why.to_string(),
            })?;
            // Last: an error that sled's threads met before this point and only logged is a failure of this flush.
            self.latch.check()?;
            herd::flushed();
            Ok(())
        })
    }

    fn check(&self) -> Result<(), Fault> {
        self.latch.check()
    }

    fn disk_bytes(&self) -> u64 {
        let files = fs::read_dir(&self.dir).into_iter().flatten().flatten();
        files.filter_map(|file| file.metadata().ok()).filter(fs::Metadata::is_file).map(|file| file.len()).sum()
    }
}

impl Drop for SledStore {
    fn drop(&mut self) {
        let db = self.db.take();
        // sled asserts that its last sync works; a second panic while unwinding would abort the process.
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| drop(db))) {
            tracing::error!("closing the store's {}: {}", self.name, panic_text(&*panic));
        }
    }
}

/// The bound of [`Store::insert`], for every store. Nothing was written, so nothing is latched.
pub(super) fn check_size(tree: &'static str, value: &[u8]) -> Result<(), Fault> {
    if value.len() <= VALUE_MAX {
        return Ok(());
    }
    Err(Fault::Storage { tree, doing: "writing", why: format!("{} bytes are over {VALUE_MAX}", value.len()) })
}

fn second_descriptor(db: &Path) -> Result<File, Fault> {
    let opened = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(db);
    opened.map_err(|why| Fault::io(format!("opening {}", db.display()), &why))
}

fn open_patiently(dir: &Path, name: &'static str, latch: &Latch) -> Result<sled::Db, Fault> {
    let since = Instant::now();
    loop {
        match open_guarded(dir, latch) {
            Ok(db) => return Ok(db),
            Err(Refusal::Locked) if since.elapsed() < LOCK_PATIENCE => thread::sleep(LOCK_RETRY),
            Err(Refusal::Locked) => return Err(Fault::InUse(dir.to_owned())),
            Err(Refusal::Other(_)) if remove_unfinished_snapshots(dir)? => {}
            Err(Refusal::Other(why)) => return Err(Fault::Storage { tree: name, doing: "opening", why }),
        }
    }
}

/// Says whether there was one. sled writes a snapshot as `snap.*.generating`, syncs it and renames it; killed in between it
/// leaves a part, and at the next open takes that for its newest snapshot. It was never in force, and the one that is
/// lies beside it. Only after an open that failed behind the lock: whoever holds that may be writing one.
fn remove_unfinished_snapshots(dir: &Path) -> Result<bool, Fault> {
    let looking = |why: io::Error| Fault::io(format!("looking through {}", dir.display()), &why);
    let mut removed = false;
    for entry in fs::read_dir(dir).map_err(looking)? {
        let path = entry.map_err(looking)?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.starts_with("snap.") && name.ends_with(".generating") {
            tracing::warn!("{} was never finished and is removed", path.display());
            fs::remove_file(&path).map_err(|why| Fault::io(format!("removing {}", path.display()), &why))?;
            removed = true;
        }
    }
    Ok(removed)
}

enum Refusal {
    Locked,
    Other(String),
}

/// Opens in a thread of its own, so that neither a panic of sled's nor what it leaves on its stack reaches the caller.
fn open_guarded(dir: &Path, latch: &Latch) -> Result<sled::Db, Refusal> {
    let config =
        sled::Config::new().path(dir).segment_size(SEGMENT).cache_capacity(CACHE).flush_every_ms(Some(TIMER_MS));
    let open = move || watch::opening(|| catch_unwind(AssertUnwindSafe(|| config.open())));
    let opened = thread::Builder::new()
        .name("store-open".into())
        .spawn(open)
        .map_err(|why| Refusal::Other(format!("no thread to open it in: {why}")))?
        .join();
    let at = dir.display();
    let (opened, complaints) = opened.map_err(|panic| Refusal::Other(panic_text(&*panic)))?;
    match opened {
        Ok(Ok(db)) => {
            complaints.iter().filter(|of| of.level == Level::Error).for_each(|of| latch.set(&of.text));
            Ok(db)
        }
        Ok(Err(sled::Error::Io(why))) if why.to_string().starts_with("could not acquire lock") => Err(Refusal::Locked),
        // Only if it is the snapshot for sure: without it a damaged main file would open, shorter than it was.
        Ok(Err(sled::Error::Corruption { .. }))
            if complaints.iter().any(|of| of.text.contains("snapshot file found")) =>
        {
            Err(Refusal::Other(format!(
                "the file {at}/snap.* is damaged, and can be rebuilt from the others: copy the whole data directory, \
                 move `snap.*` aside in the copy and open that{}",
                so_says(&complaints)
            )))
        }
        Ok(Err(sled::Error::Corruption { .. })) => Err(Refusal::Other(format!(
            "the file {at}/db is damaged, cut short perhaps: restore a backup{}",
            so_says(&complaints)
        ))),
        Ok(Err(why)) => Err(Refusal::Other(format!("{why}{}", so_says(&complaints)))),
        Err(panic) => Err(Refusal::Other(format!(
            "the file {at}/db is damaged, cut short perhaps: restore a backup (sled: {}){}",
            panic_text(&*panic),
            so_says(&complaints)
        ))),
    }
}

fn so_says(complaints: &[Complaint]) -> String {
    complaints.first().map_or_else(String::new, |first| format!(" (sled reported: {})", first.text))
}

fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    text.unwrap_or("a panic without a message").to_owned()
}
