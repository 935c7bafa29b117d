//! Reading the tables as they are between two of the applier's steps, at a sequence N, while it goes on.
//!
//! Whoever wants that asks; the applier, which alone knows when no step is under way, answers. The log's block that N ends is
//! handed over with it, for the applier is free to drop it from then on. Never: waits for a reader.

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::apply::Applier;
use crate::error::Fault;
use crate::fold::Mark;
use crate::store::{Snapshot, Value, Versions};

/// The tables at a mark.
#[derive(Debug)]
pub struct Held {
    /// All of them.
    pub tables: Arc<Snapshot>,
    /// Where they end.
    pub mark: Mark,
    /// The log's block that ends there.
    pub block: Value,
}

/// Who waits for the tables.
#[derive(Debug)]
pub struct Holds {
    versions: Arc<Versions>,
    wanted: Mutex<Wanted>,
}

#[derive(Debug)]
enum Wanted {
    Nobody,
    By(oneshot::Sender<Held>),
    /// The applier has ended.
    NeverAgain,
}

impl Holds {
    /// Over the store that the applier writes into.
    pub fn new(versions: Arc<Versions>) -> Self {
        Self { versions, wanted: Mutex::new(Wanted::Nobody) }
    }

    /// That store.
    pub fn versions(&self) -> &Arc<Versions> {
        &self.versions
    }

    /// Asks for the tables as they will be at the end of the applier's next step; `None` while another has them or waits for them.
    /// Hangs up when there will be none.
    pub fn ask(&self) -> Option<oneshot::Receiver<Held>> {
        let mut wanted = self.wanted.lock();
        let (sender, held) = oneshot::channel();
        match &*wanted {
            Wanted::By(other) if !other.is_closed() => return None,
            Wanted::NeverAgain => return Some(held),
            _ if self.versions.is_held() => return None,
            _ => *wanted = Wanted::By(sender),
        }
        Some(held)
    }

    /// For the applier, behind each of its steps.
    pub fn step(&self, applier: &Applier) -> Result<(), Fault> {
        self.versions.clear()?;
        if !self.wanted.lock().is_by_someone() {
            return Ok(());
        }
        // Reads a block, so not under the lock: whoever asks meanwhile is served with it, too, since steps are this thread's.
        let Some((mark, block)) = applier.end()? else { return Ok(()) };
        let mut wanted = self.wanted.lock();
        if !wanted.is_by_someone() {
            return Ok(());
        }
        let Some(tables) = self.versions.hold() else { return Ok(()) };
        if let Wanted::By(who) = std::mem::replace(&mut *wanted, Wanted::Nobody) {
            // Whoever gave up meanwhile drops it, and with it the hold.
            let _ = who.send(Held { tables: Arc::new(tables), mark, block });
        }
        Ok(())
    }

    /// The applier ends: nobody gets them any more, and who has them loses them.
    pub fn end(&self) {
        *self.wanted.lock() = Wanted::NeverAgain;
        self.versions.end();
    }
}

impl Wanted {
    /// Not by one who has given up.
    fn is_by_someone(&self) -> bool {
        matches!(self, Self::By(who) if !who.is_closed())
    }
}
