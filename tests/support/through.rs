//! A store through which calls go to another, and that does something of the test's before each.

#![allow(dead_code, reason = "each test file uses a part of it")]

use std::fmt::Debug;
use std::sync::Arc;

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
