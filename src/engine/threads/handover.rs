//! From the commit thread to settlement: which of two threads settles a batch. Never: a batch before one that the log has before it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crossbeam_channel::{Receiver, Sender, bounded};
use parking_lot::Mutex;

use super::super::settle::Settler;
use crate::log::{Batch, Outlet};

/// Batches of at most so many entries are settled by the commit thread itself: in less time than a flush takes.
const SETTLED_HERE: usize = 128;

/// Batches between commit and settlement: enough that neither waits for the other's scheduling.
const BATCHES: usize = 8;

/// Gets flushed batches settled: small ones on the commit thread itself, while a thread of its own would still be waking up; large
/// ones on the settle thread, while the next flush is under way.
#[derive(Debug)]
pub(super) struct Handover {
    settlement: Arc<Settlement>,
    outbox: Sender<Batch>,
    /// Batches that the settle thread is done with.
    spare: Receiver<Batch>,
    /// The last batch that was settled here.
    kept: Option<Batch>,
}

/// The settle thread's side.
#[derive(Debug)]
pub(super) struct Settling {
    settlement: Arc<Settlement>,
    batches: Receiver<Batch>,
    back: Sender<Batch>,
}

/// Settlement, on whichever thread it runs.
#[derive(Debug)]
struct Settlement {
    settler: Mutex<Settler>,
    /// Batches handed to the settle thread and not settled yet. The commit thread adds, the settle thread takes away.
    behind: AtomicUsize,
}

/// Both sides: the commit thread's and the settle thread's.
pub(super) fn handover(settler: Settler) -> (Handover, Settling) {
    let (outbox, batches) = bounded(BATCHES);
    let (back, spare) = bounded(BATCHES);
    let settlement = Arc::new(Settlement { settler: Mutex::new(settler), behind: AtomicUsize::new(0) });
    let settling = Settling { settlement: Arc::clone(&settlement), batches, back };
    (Handover { settlement, outbox, spare, kept: None }, settling)
}

impl Outlet for Handover {
    fn deliver(&mut self, mut batch: Batch) {
        // In log order: only this thread hands batches over, so none is on its way when none is behind.
        if batch.decided.len() <= SETTLED_HERE && self.settlement.behind.load(Ordering::Acquire) == 0 {
            self.settlement.settler.lock().settle(&mut batch);
            self.kept = Some(batch);
            return;
        }
        self.settlement.behind.fetch_add(1, Ordering::Relaxed);
        // The settle thread ends only after this one has hung up.
        let _ = self.outbox.send(batch);
    }

    fn spare(&mut self) -> Batch {
        self.kept.take().or_else(|| self.spare.try_recv().ok()).unwrap_or_default()
    }
}

impl Settling {
    /// Settles what it is handed, until the commit thread hangs up.
    pub(super) fn run(&self) {
        for mut batch in &self.batches {
            self.settlement.settler.lock().settle(&mut batch);
            self.settlement.behind.fetch_sub(1, Ordering::Release);
            // Full, or hung up: then the batch's memory is simply freed.
            let _ = self.back.try_send(batch);
        }
    }
}
