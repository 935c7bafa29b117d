//! Items in the order of their places, downwards and upwards, as they are stored.
//!
//! What an old page holds beyond the next one's start is looked past. Never: more than a page in memory, or a changed page that is
//! not stored yet.

use std::ops::ControlFlow;

use super::{Item, StoredPage, behind, group_end};
use crate::error::Fault;
use crate::store::Store;

/// Items from below a key on downwards, within a lower bound of the same group. Reads a page at a time.
#[derive(Debug)]
pub struct Backwards<'a, T: Item> {
    store: &'a dyn Store,
    low: T::Key,
    /// What lies at or past it was given, or is left over in pages before the one that begins there.
    below: T::Key,
    /// Pages before it have not been read; `None` once there are no more.
    before: Option<Vec<u8>>,
    items: Vec<T>,
    pages: usize,
}

impl<'a, T: Item> Backwards<'a, T> {
    /// From just below `below` down to `low`, which is included.
    pub fn new(store: &'a dyn Store, below: T::Key, low: T::Key) -> Self {
        Self { store, low, below, before: Some(T::bytes(below)), items: Vec::new(), pages: 0 }
    }

    /// The next item.
    pub fn next_item(&mut self) -> Result<Option<T>, Fault> {
        loop {
            if let Some(item) = self.items.pop() {
                if item.key() < self.low {
                    (self.before, self.items) = (None, Vec::new());
                    return Ok(None);
                }
                return Ok(Some(item));
            }
            let Some(before) = self.before.take() else { return Ok(None) };
            let Some((key, record)) = self.store.last_in(&T::bytes(T::first(self.low)), &before)? else {
                return Ok(None);
            };
            let StoredPage { start, mut page } = StoredPage::<T>::read(&key, &record)?;
            let inside = page.items.partition_point(|item| item.key() < self.below);
            page.items.truncate(inside);
            self.items = page.items;
            self.below = start;
            self.before = (start > self.low).then_some(key);
            // Those that have emptied are passed by: whoever stops after so many has met something in each.
            self.pages += usize::from(!self.items.is_empty());
        }
    }

    /// Pages read so far that held something.
    pub fn pages(&self) -> usize {
        self.pages
    }
}

/// Items from past a key on upwards, within the key's group. Reads a page at a time.
#[derive(Debug)]
pub struct Forwards<'a, T: Item> {
    store: &'a dyn Store,
    /// Every item at or before it was given.
    past: T::Key,
    /// The first item that is not wanted.
    end: T::Key,
    ended: bool,
    begun: bool,
    items: std::collections::VecDeque<T>,
    /// Where the page that was read last began.
    at: Vec<u8>,
    pages: usize,
}

impl<'a, T: Item> Forwards<'a, T> {
    /// From just past `past` up to `end`, which is not included. Both of one group.
    pub fn new(store: &'a dyn Store, past: T::Key, end: T::Key) -> Self {
        let items = std::collections::VecDeque::new();
        Self { store, past, end, ended: false, begun: false, items, at: Vec::new(), pages: 0 }
    }

    /// The next item.
    pub fn next_item(&mut self) -> Result<Option<T>, Fault> {
        loop {
            if let Some(item) = self.items.pop_front() {
                if item.key() >= self.end {
                    self.ended = true;
                    self.items.clear();
                    return Ok(None);
                }
                self.past = item.key();
                return Ok(Some(item));
            }
            if self.ended || !self.read()? {
                return Ok(None);
            }
        }
    }

    /// Reads the next page without what lies beyond the one behind it, which an old page may still hold.
    fn read(&mut self) -> Result<bool, Fault> {
        let from = if self.begun {
            behind(self.at.clone())
        } else {
            let found = self.store.last_in(&T::bytes(T::first(self.past)), &behind(T::bytes(self.past)))?;
            let Some((key, _)) = found else {
                self.ended = true;
                return Ok(false);
            };
            key
        };
        self.begun = true;
        let mut read: Option<StoredPage<T>> = None;
        let mut next: Option<T::Key> = None;
        self.store.scan(&from, &group_end::<T>(self.past), &mut |key, record| {
            if read.is_some() {
                next = T::parse(key);
                return Ok(ControlFlow::Break(()));
            }
            read = Some(StoredPage::read(key, record)?);
            Ok(ControlFlow::Continue(()))
        })?;
        let Some(StoredPage { start, page }) = read.filter(|read| read.start < self.end) else {
            self.ended = true;
            return Ok(false);
        };
        self.at = T::bytes(start);
        self.pages += 1;
        let past = self.past;
        let inside = |item: &T| item.key() > past && next.is_none_or(|next| item.key() < next);
        self.items = page.items.into_iter().filter(inside).collect();
        self.ended = next.is_none() && self.items.is_empty();
        Ok(true)
    }

    /// Pages read so far.
    pub fn pages(&self) -> usize {
        self.pages
    }
}
