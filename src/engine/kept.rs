//! An export of a running engine that can be gone on with: what it was read of is kept for a while, so that whoever broke off and
//! asks again finds the same moment though votes went on. Behind the end too: what was written last may have been lost on its way.
//!
//! At most one, and for [`KEPT_MS`]: while it is kept the tables hold what the applier changes twice (`store/versions.rs`), and nobody
//! else can hold them. So it stands back for whoever else wants to export or back up, ends with the engine, and its time is ended by
//! the keeper whether or not anyone asks. Never: reads the tables itself.

use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use super::Engine;
use crate::clock::Clock;
use crate::error::Reject;
use crate::jobs::export::Source;

/// What was read is kept for so many milliseconds behind its reader's end.
pub const KEPT_MS: u64 = 120_000;
/// Readers of one source at once: one, and those whose end nobody has noticed yet, each of which holds a thread.
const AT_ONCE: usize = 4;

/// What is kept.
#[derive(Debug, Default)]
pub(super) struct Kept(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// What was read last, for as long as someone reads it or it is kept.
    last: Weak<Source>,
    /// It, once nobody reads it, and since when.
    kept: Option<(Arc<Source>, u64)>,
    /// The engine ends: nothing is kept any more.
    ended: bool,
}

impl Kept {
    /// What is kept of that state, or still being read.
    fn again(&self, state: &str) -> Option<Arc<Source>> {
        let mut kept = self.0.lock();
        let source = kept.last.upgrade().filter(|source| source.state == state)?;
        // Its new reader has it.
        kept.kept = None;
        Some(source)
    }

    fn begin(&self, source: Source) -> Arc<Source> {
        let source = Arc::new(source);
        self.0.lock().last = Arc::downgrade(&source);
        source
    }

    fn keep(&self, source: &Arc<Source>, now_ms: u64) {
        let mut kept = self.0.lock();
        if !kept.ended && std::ptr::eq(kept.last.as_ptr(), Arc::as_ptr(source)) {
            kept.kept = Some((Arc::clone(source), now_ms));
        }
    }

    /// Lets go of what nobody reads: somebody else wants the tables.
    pub(super) fn let_go(&self) {
        let gone = self.0.lock().kept.take();
        // With the lock let go: its end may be that of the store.
        drop(gone);
    }

    /// Lets go of what nobody came for in time. A clock that was put back ends it too.
    pub(super) fn step(&self, now_ms: u64) {
        let is_over = |(_, since): &mut (_, u64)| now_ms < *since || now_ms - *since >= KEPT_MS;
        let gone = self.0.lock().kept.take_if(is_over);
        drop(gone);
    }

    /// The engine ends: lets go, and keeps nothing any more.
    pub(super) fn end(&self) {
        self.0.lock().ended = true;
        self.let_go();
    }
}

/// A source that an export is read of. Kept when it is dropped.
#[derive(Debug)]
pub struct Reading {
    source: Arc<Source>,
    kept: Arc<Kept>,
    clock: Arc<dyn Clock>,
}

impl Reading {
    /// What is read.
    pub fn source(&self) -> &Source {
        &self.source
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        self.kept.keep(&self.source, self.clock.now_ms());
    }
}

impl Engine {
    /// As [`Engine::source`], to be exported: of that state, if that is kept or still the tables' own; else of now.
    pub async fn export_source(&self, secrets: Vec<u8>, state: Option<&str>) -> Result<Reading, Reject> {
        let core = &self.core;
        let source = match state.and_then(|state| core.kept.again(state)) {
            // Each of them breaks off once its client takes nothing for a minute.
            Some(source) if Arc::strong_count(&source) > AT_ONCE => {
                let why = "several are reading this export already, try again in a minute".into();
                return Err(Reject::WrongState { state: "exporting", why });
            }
            Some(source) => source,
            None => core.kept.begin(self.source(secrets).await?),
        };
        Ok(Reading { source, kept: Arc::clone(&core.kept), clock: Arc::clone(&core.clock) })
    }

    /// Whether the tables are held as they were at one moment: something is read of them, or kept to be gone on with.
    pub fn holds_tables(&self) -> bool {
        self.core.holds.versions().is_held()
    }
}
