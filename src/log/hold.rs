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

#[cfg(test)]
mod tests {
    use std::fmt;

    use super::*;
    use crate::domain::Event;
    use crate::log::{Appender, Progress, block, recover};
    use crate::store::{FaultyDisk, Store, Visit};

    type Asked = Option<oneshot::Receiver<Held>>;

    /// A log whose next read of a block has something of the test's done first.
    struct Watched {
        within: Arc<dyn Store>,
        meanwhile: Mutex<Option<Box<dyn FnOnce() + Send>>>,
    }

    impl fmt::Debug for Watched {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            self.within.fmt(f)
        }
    }

    impl Store for Watched {
        fn name(&self) -> &'static str {
            self.within.name()
        }

        fn get(&self, key: &[u8]) -> Result<Option<Value>, Fault> {
            let meanwhile = self.meanwhile.lock().take();
            if let Some(meanwhile) = meanwhile {
                meanwhile();
            }
            self.within.get(key)
        }

        fn insert(&self, key: &[u8], value: &[u8]) -> Result<(), Fault> {
            self.within.insert(key, value)
        }

        fn remove(&self, key: &[u8]) -> Result<(), Fault> {
            self.within.remove(key)
        }

        fn scan(&self, from: &[u8], to: &[u8], visit: Visit<'_>) -> Result<(), Fault> {
            self.within.scan(from, to, visit)
        }

        fn last_in(&self, from: &[u8], to: &[u8]) -> Result<Option<(Vec<u8>, Value)>, Fault> {
            self.within.last_in(from, to)
        }

        fn flush(&self) -> Result<(), Fault> {
            self.within.flush()
        }

        fn check(&self) -> Result<(), Fault> {
            self.within.check()
        }

        fn disk_bytes(&self) -> u64 {
            self.within.disk_bytes()
        }
    }

    struct Rig {
        log: Arc<Watched>,
        holds: Arc<Holds>,
        applier: Applier,
    }

    impl Rig {
        /// Over a store with one event, applied.
        fn new() -> Self {
            let disk = FaultyDisk::new(1);
            let genesis = block::genesis([0; 16]);
            let mut appender = Appender::open(disk.open("log"), disk.open("tables"), genesis).unwrap();
            appender.add(0, Event::Started).unwrap().unwrap();
            appender.finish().unwrap();
            let log = Arc::new(Watched { within: disk.open("log"), meanwhile: Mutex::default() });
            let holds = Arc::new(Holds::new(Versions::over(disk.open("tables"))));
            let tables: Arc<dyn Store> = Arc::<Versions>::clone(holds.versions());
            let recovered = recover(log.as_ref(), tables, genesis).unwrap();
            let store: Arc<dyn Store> = Arc::<Watched>::clone(&log);
            let applier = Applier::new(store, recovered, Arc::new(Progress::new(1, 1))).unwrap();
            Self { log, holds, applier }
        }

        /// A step, and what is done while it reads the block; whether it read one. Whoever asks meanwhile never waits for that read.
        fn step(&self, meanwhile: impl FnOnce(&Holds) + Send + 'static) -> bool {
            let holds = Arc::clone(&self.holds);
            *self.log.meanwhile.lock() = Some(Box::new(move || {
                assert!(holds.wanted.try_lock().is_some(), "the lock is held while the block is read");
                meanwhile(&holds);
            }));
            self.holds.step(&self.applier).unwrap();
            self.log.meanwhile.lock().take().is_none()
        }
    }

    #[test]
    fn whoever_asks_while_the_block_is_read_is_served_with_it() {
        let rig = Rig::new();
        assert!(!rig.step(|_| {}), "nobody has asked");
        let first = rig.holds.ask().unwrap();
        let second: Arc<Mutex<Asked>> = Arc::default();
        let asked = Arc::clone(&second);
        let read = rig.step(move |holds| {
            assert!(holds.ask().is_none(), "the first waits still");
            drop(first);
            *asked.lock() = holds.ask();
        });
        assert!(read && rig.holds.versions().is_held());
        let Held { tables, mark, block } = second.lock().take().unwrap().try_recv().unwrap();
        assert_eq!((mark.seq, block::read(&block::key(mark.block), &block, |_| Ok(())).unwrap().last), (1, 1));
        assert!(rig.holds.ask().is_none(), "one at a time");
        drop(tables);
        assert!(!rig.holds.versions().is_held());
    }

    #[test]
    fn nothing_is_held_for_who_gave_up_while_the_block_was_read() {
        let rig = Rig::new();
        let asked = rig.holds.ask().unwrap();
        assert!(rig.step(move |_| drop(asked)));
        assert!(!rig.holds.versions().is_held());
        // And the next is served as if nobody had asked before.
        let mut next = rig.holds.ask().unwrap();
        assert!(rig.step(|_| {}));
        assert_eq!(next.try_recv().unwrap().mark.seq, 1);
    }

    #[test]
    fn an_end_that_comes_while_the_block_is_read_is_the_last_word() {
        let rig = Rig::new();
        let mut asked = rig.holds.ask().unwrap();
        assert!(rig.step(Holds::end));
        assert!(asked.try_recv().is_err() && !rig.holds.versions().is_held());
        assert!(!rig.step(|_| {}), "nobody waits any more");
        assert!(rig.holds.ask().unwrap().try_recv().is_err());
    }
}
