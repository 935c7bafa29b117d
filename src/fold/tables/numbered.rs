//! Pages of one table under neighbouring numbers, and over the stored ones those that were changed.
//!
//! A reader sees the changed page in the place of the stored one, in the order of numbers. Stored are only pages that were changed;
//! one that was only read leaves with the next commit. Never: a page's meaning, or what order tables are stored in.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::ops::ControlFlow;

use bincode::{Decode, Encode};

use super::NAME;
use crate::codec::{self, Kind};
use crate::error::Fault;
use crate::fold::keys::{self, Table};
use crate::store::Store;

/// A page in memory.
#[derive(Debug)]
pub(super) struct Paged<T> {
    pub(super) page: T,
    /// It was changed and is not stored yet.
    pub(super) dirty: bool,
}

/// A table of numbered pages.
#[derive(Debug)]
pub(super) struct Numbered<T> {
    table: Table,
    kind: Kind,
    pages: BTreeMap<u32, Paged<T>>,
}

impl<T> Numbered<T> {
    pub(super) fn new(table: Table, kind: Kind) -> Self {
        Self { table, kind, pages: BTreeMap::new() }
    }

    /// Takes a page out of memory. Whoever takes one puts it back, changed.
    pub(super) fn take(&mut self, number: u32) -> Option<T> {
        self.pages.remove(&number).map(|paged| paged.page)
    }

    /// Keeps a page as changed.
    pub(super) fn put(&mut self, number: u32, page: T) {
        self.pages.insert(number, Paged { page, dirty: true });
    }

    /// Every page by number, stored ones as `read` has them.
    pub(super) fn each_read(
        &self,
        store: &dyn Store,
        read: impl Fn(&[u8], &[u8]) -> Result<T, Fault>,
        mut visit: impl FnMut(u32, &T),
    ) -> Result<(), Fault> {
        let (from, to) = keys::pages_of(self.table);
        let mut new = self.pages.iter().peekable();
        store.scan(&from, &to, &mut |key, record| {
            let number = number_of(key)?;
            while let Some((at, paged)) = new.next_if(|(at, _)| **at < number) {
                visit(*at, &paged.page);
            }
            match new.next_if(|(at, _)| **at == number) {
                Some((_, paged)) => visit(number, &paged.page),
                None => visit(number, &read(key, record)?),
            }
            Ok(ControlFlow::Continue(()))
        })?;
        for (number, paged) in new {
            visit(*number, &paged.page);
        }
        Ok(())
    }
}

impl<T: Decode<()>> Numbered<T> {
    /// Every page by number.
    pub(super) fn each(&self, store: &dyn Store, visit: impl FnMut(u32, &T)) -> Result<(), Fault> {
        self.each_read(store, |key, record| codec::read(NAME, self.kind, key, record), visit)
    }
}

impl<T: Decode<()> + Default> Numbered<T> {
    /// The page, from memory, else from the store, else new.
    pub(super) fn page(&mut self, store: &dyn Store, number: u32) -> Result<&mut Paged<T>, Fault> {
        match self.pages.entry(number) {
            Entry::Occupied(entry) => Ok(entry.into_mut()),
            Entry::Vacant(entry) => {
                let key = keys::page(self.table, number);
                let stored = store.get(&key)?.map(|record| codec::read(NAME, self.kind, &key, &record)).transpose()?;
                Ok(entry.insert(Paged { page: stored.unwrap_or_default(), dirty: false }))
            }
        }
    }

    /// The same, to be changed.
    pub(super) fn change(&mut self, store: &dyn Store, number: u32) -> Result<&mut T, Fault> {
        let paged = self.page(store, number)?;
        paged.dirty = true;
        Ok(&mut paged.page)
    }
}

impl<T: Encode> Numbered<T> {
    /// Stores what was changed.
    pub(super) fn store(&mut self, store: &dyn Store) -> Result<(), Fault> {
        for (number, paged) in self.pages.iter().filter(|(_, paged)| paged.dirty) {
            let key = keys::page(self.table, *number);
            store.insert(&key, &codec::record(self.kind, &key, &paged.page))?;
        }
        // Counts of clips that are voted for stay; the rest is small and rare enough to be read again.
        self.pages.retain(|_, paged| std::mem::take(&mut paged.dirty));
        Ok(())
    }
}

/// The number of a page, by its key.
pub(super) fn number_of(key: &[u8]) -> Result<u32, Fault> {
    let number = key.get(1..).and_then(|rest| <[u8; 4]>::try_from(rest).ok()).map(u32::from_be_bytes);
    number.ok_or_else(|| Fault::damaged(NAME, key, "its key has the wrong length"))
}
