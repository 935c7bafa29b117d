//! A store through which calls go to another, and that does something of the test's before each.

#![allow(dead_code, reason = "each test file uses a part of it")]

use std::fmt::Debug;
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use plaudit::error::Fault;
use plaudit::store::{Store, Value, Visit};

/// What is done before a call goes on.
pub(crate) trait Hook: Debug + Send + Sync {
    /// A `get`, a `scan` or a `last_in`.
    fn read(&self) {}
    /// An `insert`.
    fn insert(&self, _key: &[u8], _value: &[u8]) {}
}

/// The store.
#[derive(Debug)]
pub(crate) struct Through<H> {
    within: Arc<dyn Store>,
    pub(crate) hook: H,
}

impl<H: Hook> Through<H> {
    pub(crate) fn over(within: Arc<dyn Store>, hook: H) -> Arc<Self> {
        Arc::new(Self { within, hook })
    }
}

impl<H: Hook> Store for Through<H> {
    fn name(&self) -> &'static str {
        self.within.name()
    }

    fn get(&self, key: &[u8]) -> Result<Option<Value>, Fault> {
        self.hook.read();
        self.within.get(key)
    }

    fn insert(&self, key: &[u8], value: &[u8]) -> Result<(), Fault> {
        self.hook.insert(key, value);
        self.within.insert(key, value)
    }

    fn remove(&self, key: &[u8]) -> Result<(), Fault> {
        self.within.remove(key)
    }

    fn scan(&self, from: &[u8], to: &[u8], visit: Visit<'_>) -> Result<(), Fault> {
        self.hook.read();
        self.within.scan(from, to, visit)
    }

    fn last_in(&self, from: &[u8], to: &[u8]) -> Result<Option<(Vec<u8>, Value)>, Fault> {
        self.hook.read();
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

/// Reads wait while it is told so, as those of a disk that is slow.
#[derive(Debug, Default)]
pub(crate) struct Slow {
    /// Whether reads wait, and how many do.
    held: Mutex<(bool, usize)>,
    released: Condvar,
}

impl Slow {
    pub(crate) fn hold(&self, hold: bool) {
        self.held.lock().unwrap().0 = hold;
        self.released.notify_all();
    }

    pub(crate) fn holds(&self) -> (bool, usize) {
        *self.held.lock().unwrap()
    }
}

impl Hook for Slow {
    fn read(&self) {
        let mut held = self.held.lock().unwrap();
        held.1 += 1;
        while held.0 {
            held = self.released.wait(held).unwrap();
        }
        held.1 -= 1;
    }
}

impl Through<Slow> {
    /// Has reads wait until the thread that this gives is unparked, or far longer than that takes: should whoever is to do that wait
    /// for a read too, nobody else could let it go.
    pub(crate) fn hold(self: &Arc<Self>) -> JoinHandle<()> {
        self.hook.hold(true);
        let slow = Arc::clone(self);
        std::thread::spawn(move || {
            std::thread::park_timeout(Duration::from_mins(2));
            slow.hook.hold(false);
        })
    }
}
