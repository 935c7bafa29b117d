//! What sled only writes into its log: its threads swallow failed writes and syncs after a record of level `error`.
//!
//! [`Watch`] is the process's `log` logger. It forwards records to `tracing` and latches each error of sled's into every
//! store that is open, for the record names none. Never writes to a store.
//!
//! A program that has a `log` logger of its own hands it over: `Watch::around(theirs)` goes to `log::set_boxed_logger`
//! in its place. Opening a store proves with a probe that records arrive here, however they are routed.

use std::cell::RefCell;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, Weak};

use log::{Level, LevelFilter, Log, Metadata, Record};
use parking_lot::Mutex;

use crate::error::Fault;

/// Routed exactly as a record of sled's, and told apart from one here.
const PROBE: &str = "sled::plaudit_probe";

static OPEN: Mutex<Vec<Weak<Latch>>> = Mutex::new(Vec::new());
static PROBES: AtomicU64 = AtomicU64::new(0);

thread_local! {
    /// On a thread that opens a store: what sled complained of meanwhile. The others are not at fault.
    static OPENING: RefCell<Option<Vec<Complaint>>> = const { RefCell::new(None) };
    /// A subscriber that writes to `log` would come back here without end.
    static FORWARDING: RefCell<()> = const { RefCell::new(()) };
}

/// The first failure of an open store; what follows it is refused. Set by whoever meets the failure, and by the watch.
#[derive(Debug, Default)]
pub(super) struct Latch(OnceLock<String>);

impl Latch {
    /// A latch that the watch sets for as long as someone holds it.
    pub(super) fn registered() -> Arc<Self> {
        let latch = Arc::new(Self::default());
        let mut open = OPEN.lock();
        open.retain(|other| other.strong_count() > 0);
        open.push(Arc::downgrade(&latch));
        latch
    }

    /// Keeps `why`, unless an earlier failure is kept already.
    pub(super) fn set(&self, why: &str) {
        self.0.get_or_init(|| why.to_owned());
    }

    /// [`Fault::Latched`] once a failure was set.
    pub(super) fn check(&self) -> Result<(), Fault> {
        self.0.get().map_or(Ok(()), |why| Err(Fault::Latched(why.clone())))
    }
}

/// A record of sled's, a warning or an error.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Complaint {
    pub(super) level: Level,
    pub(super) text: String,
}

/// The logger: sled's errors to the open stores, everything to `tracing` or to a logger within.
#[derive(Default)]
pub struct Watch(Option<Box<dyn Log>>);

impl Watch {
    /// A watch that hands every record on to `inner` instead of `tracing`.
    pub fn around(inner: Box<dyn Log>) -> Self {
        Self(Some(inner))
    }
}

impl Log for Watch {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        is_sled(metadata) && metadata.level() <= Level::Warn
            || self.0.as_ref().map_or_else(|| wanted(metadata), |inner| inner.enabled(metadata))
    }

    fn log(&self, record: &Record<'_>) {
        if record.target() == PROBE {
            PROBES.fetch_add(1, Ordering::SeqCst);
            return;
        }
        if is_sled(record.metadata()) && record.level() <= Level::Warn {
            keep(record);
        }
        match &self.0 {
            Some(inner) if inner.enabled(record.metadata()) => inner.log(record),
            None if wanted(record.metadata()) => forward(record),
            _ => {}
        }
    }

    fn flush(&self) {
        if let Some(inner) = &self.0 {
            inner.flush();
        }
    }
}

/// Sees to it that sled's errors arrive here: installs a [`Watch`] if there is no logger yet, and probes.
pub(super) fn ensure() -> Result<(), Fault> {
    if log::set_boxed_logger(Box::new(Watch::default())).is_ok() {
        // Below this a record of sled's costs one comparison; it writes many a vote.
        log::set_max_level(LevelFilter::Info);
    }
    if log::max_level() == LevelFilter::Off {
        log::set_max_level(LevelFilter::Error);
    }
    let before = PROBES.load(Ordering::SeqCst);
    log::error!(target: PROBE, "a probe: does the store's watch see sled's errors?");
    if PROBES.load(Ordering::SeqCst) > before {
        return Ok(());
    }
    Err(Fault::Setting(
        "another logger takes the records of the crate `log`, and the store must see sled's errors among them: \
         install `plaudit::store::Watch::around(that logger)` in its place, and compile errors of `log` in"
            .into(),
    ))
}

/// Runs `open` and says what sled complained of on this thread meanwhile, instead of latching the open stores. Bounded by
/// what one opening complains of.
pub(super) fn opening<T>(open: impl FnOnce() -> T) -> (T, Vec<Complaint>) {
    OPENING.set(Some(Vec::new()));
    let opened = open();
    (opened, OPENING.take().unwrap_or_default())
}

/// Gives a record of sled's to the store that this thread is opening, or, if it is an error, to all open ones.
fn keep(record: &Record<'_>) {
    let complaint = Complaint { level: record.level(), text: record.args().to_string() };
    let text = OPENING.with_borrow_mut(|complaints| match complaints {
        Some(complaints) => {
            complaints.push(complaint);
            None
        }
        None => Some(complaint.text),
    });
    if let Some(text) = text.filter(|_| record.level() == Level::Error) {
        let open: Vec<_> = OPEN.lock().iter().filter_map(Weak::upgrade).collect();
        for latch in open {
            latch.set(&format!("sled reported in its log: {text}"));
        }
    }
}

fn is_sled(metadata: &Metadata<'_>) -> bool {
    let target = metadata.target();
    target == "sled" || target.starts_with("sled::")
}

fn wanted(metadata: &Metadata<'_>) -> bool {
    metadata.level() <= if is_sled(metadata) { Level::Warn } else { Level::Info }
}

fn forward(record: &Record<'_>) {
    FORWARDING.with(|forwarding| {
        let Ok(_forwarding) = forwarding.try_borrow_mut() else { return };
        let (from, text) = (record.target(), record.args());
        match record.level() {
            Level::Error => tracing::error!(target: "plaudit::log", from, "{text}"),
            Level::Warn => tracing::warn!(target: "plaudit::log", from, "{text}"),
            _ => tracing::info!(target: "plaudit::log", from, "{text}"),
        }
    });
}

// What it latches is tested in a process of its own, `tests/store_watch.rs`: an error there reaches every open store.
#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_registry_forgets_stores_that_were_closed() {
        (0..1_000).for_each(|_| drop(Latch::registered()));
        let _last = Latch::registered();
        assert!(OPEN.lock().len() < 500);
    }
}
