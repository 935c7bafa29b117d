//! Keeps most of sled's threads out of a thundering herd while flushes come fast.
//!
//! Each flush is one task for sled's pool, and wakes all of its seven threads: one takes the task, six look and go to sleep
//! again, which costs more than the write and the sync together. So meanwhile five of them are given a task that sleeps.
//!
//! Such a task is the waker of a flush of a database of our own, which the thread that has flushed wakes. Nothing is ever written
//! to that database, so the flush itself waits for nothing: what makes `flush_async` dangerous for a store isn't there.
//!
//! Two threads could be too few: sled has tasks that are long, and some that wait for other tasks; and where threads can't be made
//! it has fewer than seven. So nobody sleeps on through a [`NAP`] in which hardly a flush came to its end: what was stuck goes on with
//! all there are, at most two naps later, and [`Herd`] lets nobody sleep for a while. Never: touches a store, or makes one fail.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Wake, Waker};
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::watch;

/// Of sled's seven. One alone would have to do truncations as well, and a flush would wait for each.
const SLEEPERS: usize = 5;
/// Flushes come fast when so many...
const FAST: u64 = 32;
/// ...take no longer than this.
const FAST_WITHIN: Duration = Duration::from_millis(80);
/// After so long a sleeper looks up...
const NAP: Duration = Duration::from_millis(25);
/// ...and goes back to work if fewer flushes ended meanwhile: half as many as would have it sleep again...
const SLEEP_ON: u64 = 5;
/// ...for at least so long.
const AWAKE: Duration = Duration::from_secs(1);
/// In front of the process's id: a directory for a moment.
const IDLE: &str = "idle-";

/// The process's herd: sled has one pool for all stores.
static HERD: OnceLock<Option<Arc<Herd>>> = OnceLock::new();

/// A flush has come to its end, of whichever store.
pub(super) fn flushed() {
    if let Some(Some(herd)) = HERD.get() {
        herd.flushed(Instant::now);
    }
}

/// Makes the herd, if there is none; before the first store is opened, so that an error of sled's in here reaches none. `dir` is
/// a store's, where a directory of ours lies for a moment. Where that can't be had, all of the pool goes on waking.
pub(super) fn ensure(dir: &Path) {
    HERD.get_or_init(|| {
        let herd = Herd::new(dir, SLEEPERS);
        if herd.is_none() {
            tracing::debug!("sled's threads are all woken by each flush: no idle database in {}", dir.display());
        }
        herd
    });
}

/// Removes what a process that was killed in between has left; only once the store's lock is held.
pub(super) fn sweep(dir: &Path) {
    let left = fs::read_dir(dir).into_iter().flatten().flatten();
    for entry in left.filter(|entry| entry.file_name().to_string_lossy().starts_with(IDLE)) {
        // It is small, and in nobody's way.
        let _ = fs::remove_dir_all(entry.path());
    }
}

#[derive(Debug)]
struct Herd {
    idle: sled::Db,
    sleepers: usize,
    asleep: AtomicUsize,
    /// Flushes that ended.
    flushes: AtomicU64,
    pace: Mutex<Pace>,
}

#[derive(Debug, Default)]
struct Pace {
    /// When the last [`FAST`] flushes began to be counted.
    counted: Option<Instant>,
    /// Until then nobody is sent to sleep.
    awake: Option<Instant>,
}

impl Herd {
    fn new(dir: &Path, sleepers: usize) -> Option<Arc<Self>> {
        let dir = dir.join(format!("{IDLE}{}", std::process::id()));
        // Its first flush, which writes what a new database begins with, is its last one with anything to do. It is never read
        // again: its files are there as long as it has them open, and no longer.
        let open = || {
            let config = sled::Config::new().path(&dir).segment_size(4096).cache_capacity(4096).flush_every_ms(None);
            let idle = config.open().and_then(|idle| idle.flush().map(|_| idle));
            fs::remove_dir_all(&dir).ok().and(idle.ok())
        };
        let (opened, _) = watch::opening(|| catch_unwind(AssertUnwindSafe(open)));
        let (asleep, flushes) = (AtomicUsize::new(0), AtomicU64::new(0));
        Some(Arc::new(Self { idle: opened.ok()??, sleepers, asleep, flushes, pace: Mutex::default() }))
    }

    fn flushed(self: &Arc<Self>, now: impl FnOnce() -> Instant) {
        let flushes = self.flushes.fetch_add(1, Ordering::Relaxed) + 1;
        if flushes.is_multiple_of(FAST) && self.is_fast(now()) {
            self.lull();
        }
    }

    fn is_fast(&self, now: Instant) -> bool {
        let mut pace = self.pace.lock();
        let before = pace.counted.replace(now);
        pace.awake.is_none_or(|until| until <= now)
            && before.is_some_and(|before| now.saturating_duration_since(before) <= FAST_WITHIN)
    }

    /// Sends threads to sleep until enough are. A flush that was done before it was asked for its waker has sent none: not tried
    /// again before the next time.
    fn lull(self: &Arc<Self>) {
        for _ in self.asleep.load(Ordering::Relaxed)..self.sleepers {
            let waker = Waker::from(Arc::new(Sleeper::new(self)));
            // An error says that the pool is broken, and the next flush of a store will say so too.
            let _ = pin!(self.idle.flush_async()).as_mut().poll(&mut Context::from_waker(&waker));
        }
    }
}

/// Asleep, or about to be.
struct Sleeper(Arc<Herd>);

impl Sleeper {
    fn new(herd: &Arc<Herd>) -> Self {
        herd.asleep.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(herd))
    }
}

impl Wake for Sleeper {
    fn wake(self: Arc<Self>) {
        let flushes = || self.0.flushes.load(Ordering::Relaxed);
        let mut before = flushes();
        loop {
            thread::sleep(NAP);
            let now = flushes();
            if now - before < SLEEP_ON {
                self.0.pace.lock().awake = Some(Instant::now() + AWAKE);
                return;
            }
            before = now;
        }
    }
}

impl Drop for Sleeper {
    fn drop(&mut self) {
        self.0.asleep.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{SledStore, Store};

    const POOL: usize = 7;

    fn herd(sleepers: usize) -> Arc<Herd> {
        let dir = tempfile::tempdir().unwrap();
        let herd = Herd::new(dir.path(), sleepers).expect("an idle database");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0, "nothing of it is left to be seen");
        herd
    }

    fn asleep(herd: &Herd) -> usize {
        herd.asleep.load(Ordering::Relaxed)
    }

    /// So many flushes, so far apart.
    fn flush(herd: &Arc<Herd>, from: Instant, flushes: u64, apart: Duration) -> Instant {
        (0..flushes).fold(from, |at, _| {
            herd.flushed(|| at);
            at + apart
        })
    }

    #[test]
    fn threads_sleep_while_flushes_come_fast_and_no_longer() {
        let herd = herd(2);
        let at = flush(&herd, Instant::now(), 10 * FAST, FAST_WITHIN);
        assert_eq!(asleep(&herd), 0, "flushes that are rare");
        let mut at = flush(&herd, at, FAST, Duration::from_millis(1));
        // A flush that is done at once sends nobody: there will be others.
        while asleep(&herd) < 2 {
            at = flush(&herd, at, FAST, Duration::from_millis(1));
        }
        flush(&herd, at, 10 * FAST, Duration::from_millis(1));
        assert!(asleep(&herd) <= 2, "no more than wanted");
        while asleep(&herd) > 0 {
            thread::sleep(Duration::from_millis(1));
        }
        let at = flush(&herd, Instant::now(), 2 * FAST, Duration::from_millis(1));
        assert_eq!(asleep(&herd), 0, "called back just now");
        let mut at = at + AWAKE;
        while asleep(&herd) < 2 {
            at = flush(&herd, at, FAST, Duration::from_millis(1));
        }
    }

    #[test]
    fn a_flush_comes_through_even_if_all_of_the_pool_sleeps() {
        let dir = tempfile::tempdir().unwrap();
        let store = SledStore::open(dir.path(), "log").unwrap();
        let herd = herd(POOL);
        let mut at = Instant::now();
        while asleep(&herd) < POOL {
            at = flush(&herd, at, FAST, Duration::from_millis(1));
        }
        store.insert(b"key", b"value").unwrap();
        store.flush().unwrap();
    }

    #[test]
    fn where_there_is_no_room_for_it_there_is_none() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(format!("{IDLE}{}", std::process::id())), b"in the way").unwrap();
        assert!(Herd::new(dir.path(), 1).is_none());
    }

    #[test]
    fn what_a_killed_process_left_is_gone_once_the_store_is_open() {
        let dir = tempfile::tempdir().unwrap();
        let left = dir.path().join("idle-1");
        fs::create_dir(&left).unwrap();
        fs::write(left.join("db"), b"of a process that was killed").unwrap();
        let store = SledStore::open(dir.path(), "log").unwrap();
        assert!(!left.exists());
        store.insert(b"key", b"value").unwrap();
    }
}
