//! A program that has a `log` logger of its own, in a process of its own: there is one logger a process.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use log::{Level, LevelFilter, Log, Metadata, Record};
use plaudit::error::Fault;
use plaudit::store::{SledStore, Store, Watch};

static TO_WATCH: AtomicBool = AtomicBool::new(false);
static THEIRS: AtomicUsize = AtomicUsize::new(0);

/// Keeps every record to itself until told to hand them to a watch.
struct Router(Watch);

struct Theirs;

impl Log for Router {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        if TO_WATCH.load(Ordering::SeqCst) {
            self.0.log(record);
        }
    }

    fn flush(&self) {}
}

impl Log for Theirs {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= Level::Info
    }

    fn log(&self, _: &Record<'_>) {
        THEIRS.fetch_add(1, Ordering::SeqCst);
    }

    fn flush(&self) {}
}

#[test]
fn a_store_opens_only_where_its_watch_sees_the_records() {
    log::set_boxed_logger(Box::new(Router(Watch::around(Box::new(Theirs))))).unwrap();
    log::set_max_level(LevelFilter::Off);
    let dir = tempfile::tempdir().unwrap();
    let refused = SledStore::open(dir.path(), "log");
    assert!(matches!(&refused, Err(Fault::Setting(why)) if why.contains("Watch::around")), "{refused:?}");

    TO_WATCH.store(true, Ordering::SeqCst);
    let store = SledStore::open(dir.path(), "log").unwrap();
    assert_eq!(THEIRS.load(Ordering::SeqCst), 0, "the probe is not theirs to see");
    log::set_max_level(LevelFilter::Debug);
    log::info!(target: "theirs", "one");
    log::debug!(target: "theirs", "not enabled");
    log::error!(target: "sled", "two");
    assert_eq!(THEIRS.load(Ordering::SeqCst), 2);
    assert!(matches!(store.flush(), Err(Fault::Latched(_))));
}
