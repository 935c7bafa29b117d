//! What every erasure test stands on: an engine over a faulty disk, the wait for what comes by itself, and `verify`. Never: a fact of its
//! own about erasures.

use std::sync::Arc;
use std::time::Duration;

use plaudit::clock::{Clock, ManualClock};
use plaudit::comments::WordList;
use plaudit::engine::{Engine, Settings, verify_stores};
use plaudit::error::Fault;
use plaudit::log::block::genesis;
use plaudit::store::{FaultyDisk, Store};

use crate::kept::{Blocks, Kept};
use crate::support::key;
use crate::through::Through;

pub(crate) const DAY_MS: u64 = 86_400_000;
/// Nobody should have to wait longer for anything here.
pub(crate) const PATIENCE: Duration = Duration::from_mins(5);

pub(crate) fn open(disk: &FaultyDisk, clock: &Arc<ManualClock>, blocks: &Blocks) -> Result<Engine, Fault> {
    open_over(disk.open("tables"), disk, clock, blocks)
}

/// With tables that are reached through another store.
pub(crate) fn open_over(
    tables: Arc<dyn Store>,
    disk: &FaultyDisk,
    clock: &Arc<ManualClock>,
    blocks: &Blocks,
) -> Result<Engine, Fault> {
    let settings = Settings { reconcile_every_s: 0, daily_limit: 10_000, ..Settings::new("unused", key()) };
    let clock: Arc<dyn Clock> = Arc::<ManualClock>::clone(clock);
    let log = Through::over(disk.open("log"), Kept(Arc::clone(blocks)));
    let engine = Engine::over(settings, clock, log, tables)?;
    engine.block_words(WordList::parse("nothing\n"));
    Ok(engine)
}

pub(crate) fn verified(disk: &FaultyDisk) {
    let found = verify_stores(disk.open("log").as_ref(), disk.open("tables"), genesis([0; 16]), false).unwrap();
    assert_eq!(found.problems, Vec::<String>::new());
}

/// Waits until so; it is to come without anyone's help.
pub(crate) async fn until(what: &str, so: impl Fn() -> bool) {
    let waited = tokio::time::timeout(PATIENCE, async {
        while !so() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    assert!(waited.await.is_ok(), "{what} never comes");
}
