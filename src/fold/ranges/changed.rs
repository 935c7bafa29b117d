//! The pages of one kind that the fold has changed, and how they are stored: parted once they have grown too large.
//!
//! Of each page it knows up to where the stored one is, so that what that contains is not done again. Never: a write that is not
//! a commit's.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use super::{Item, NAME, RangePage, StoredPage, behind, group, group_end, page_of};
use crate::codec;
use crate::domain::Seq;
use crate::error::Fault;
use crate::store::Store;

/// Bytes of a page at most, unless one item alone is longer.
const FULL: usize = 8 * 1024;
/// What the parts of a page that has grown past [`FULL`] are filled to, so that the next change doesn't part them again.
const PART: usize = 6 * 1024;
/// Pages that were changed in the last step are kept for the next one, up to so many.
const KEPT: usize = 1024;

/// The pages of one kind that the fold has changed, over those that are stored.
#[derive(Debug)]
pub(in crate::fold) struct Range<T: Item> {
    /// By their start.
    pages: BTreeMap<T::Key, Loaded<T>>,
}

#[derive(Debug)]
pub(in crate::fold) struct Loaded<T: Item> {
    /// The last sequence that the stored page contains: a change up to it is in already.
    stored: Seq,
    last: Seq,
    items: BTreeMap<T::Key, T>,
    /// Where the next page begins; `None`: at the group's end.
    end: Option<T::Key>,
    dirty: bool,
}

impl<T: Item> Loaded<T> {
    /// Whether what happens at a sequence is in the stored page already.
    pub(in crate::fold) fn contains(&self, seq: Seq) -> bool {
        seq <= self.stored
    }

    pub(in crate::fold) fn get(&self, key: T::Key) -> Option<&T> {
        self.items.get(&key)
    }

    pub(in crate::fold) fn put(&mut self, seq: Seq, item: T) {
        self.items.insert(item.key(), item);
        self.touch(seq);
    }

    pub(in crate::fold) fn remove(&mut self, seq: Seq, key: T::Key) {
        self.items.remove(&key);
        self.touch(seq);
    }

    fn touch(&mut self, seq: Seq) {
        self.last = self.last.max(seq);
        self.dirty = true;
    }
}

impl<T: Item> Default for Range<T> {
    fn default() -> Self {
        Self { pages: BTreeMap::new() }
    }
}

impl<T: Item> Range<T> {
    /// The page that a key is in: from memory, else from the store, else new.
    pub(in crate::fold) fn page(&mut self, store: &dyn Store, key: T::Key) -> Result<&mut Loaded<T>, Fault> {
        let first = T::first(key);
        let known = self.pages.range(first..=key).next_back();
        let known = known.filter(|(_, page)| page.end.is_none_or(|end| key < end)).map(|(start, _)| *start);
        let start = match known {
            Some(start) => start,
            None => self.load(store, key)?,
        };
        Ok(self.pages.get_mut(&start).expect("known or put in"))
    }

    fn load(&mut self, store: &dyn Store, key: T::Key) -> Result<T::Key, Fault> {
        let mut end = None;
        store.scan(&behind(T::bytes(key)), &group_end::<T>(key), &mut |key, _| {
            end = Some(T::parse(key).ok_or_else(|| Fault::damaged(NAME, key, "its key does not decode"))?);
            Ok(ControlFlow::Break(()))
        })?;
        let (start, page) = match page_of::<T>(store, key)? {
            Some(StoredPage { start, page }) => (start, page),
            None => (T::first(key), RangePage { last: 0, items: Vec::new() }),
        };
        let RangePage { last, items } = page;
        let inside = items.into_iter().map(|item| (item.key(), item)).filter(|(at, _)| end.is_none_or(|end| *at < end));
        self.pages.insert(start, Loaded { stored: last, last, items: inside.collect(), end, dirty: false });
        Ok(start)
    }

    /// Pages in memory.
    pub(in crate::fold) fn len(&self) -> usize {
        self.pages.len()
    }

    /// Stores every changed page, parted where it has grown too large.
    pub(in crate::fold) fn store(&mut self, store: &dyn Store) -> Result<(), Fault> {
        let keep = self.pages.len() <= KEPT;
        let changed: Vec<T::Key> = self.pages.iter().filter(|(_, page)| page.dirty).map(|(start, _)| *start).collect();
        let mut kept = BTreeMap::new();
        for start in changed {
            let Loaded { last, items, end, .. } = self.pages.remove(&start).expect("listed above");
            let mut parts = parted(start, items);
            let mut end = end;
            // From the last to the first: until the first is stored the old page contains all of it.
            while let Some((start, items)) = parts.pop() {
                let key = T::bytes(start);
                let page = RangePage { last, items: items.values().cloned().collect() };
                store.insert(&key, &codec::record(T::KIND, &key, &page))?;
                if keep {
                    kept.insert(start, Loaded { stored: last, last, items, end, dirty: false });
                }
                end = Some(start);
            }
        }
        self.pages = kept;
        Ok(())
    }

    /// Every item, a page at a time; pages that were changed shadow the stored ones.
    pub(in crate::fold) fn each(
        &self,
        store: &dyn Store,
        mut visit: impl FnMut(T) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        let mut changed: BTreeMap<Vec<u8>, &Loaded<T>> =
            self.pages.iter().map(|(start, page)| (T::bytes(*start), page)).collect();
        let letter = T::LETTER;
        let mut before: Option<StoredPage<T>> = None;
        let mut give = |page: StoredPage<T>, end: Option<T::Key>, seen: Option<&Loaded<T>>| {
            if let Some(loaded) = seen {
                return loaded.items.values().cloned().try_for_each(&mut visit);
            }
            page.page.items.into_iter().filter(|item| end.is_none_or(|end| item.key() < end)).try_for_each(&mut visit)
        };
        store.scan(&[letter], &[letter + 1], &mut |key, record| {
            let page = StoredPage::read(key, record)?;
            if let Some(before) = before.replace(page.clone()) {
                let seen = changed.remove(&T::bytes(before.start));
                let same = group::<T>(before.start) == group::<T>(page.start);
                give(before, same.then_some(page.start), seen)?;
            }
            Ok(ControlFlow::Continue(()))
        })?;
        if let Some(before) = before {
            let seen = changed.remove(&T::bytes(before.start));
            give(before, None, seen)?;
        }
        // Pages of groups that have none stored yet.
        for loaded in changed.into_values() {
            loaded.items.values().cloned().try_for_each(&mut visit)?;
        }
        Ok(())
    }
}

/// A page's start and items.
type Part<T> = (<T as Item>::Key, BTreeMap<<T as Item>::Key, T>);

/// Parts a page's items so that each part is within its bytes; the first keeps the start. Even parts: where the next item
/// will fall is not known.
fn parted<T: Item>(start: T::Key, mut items: BTreeMap<T::Key, T>) -> Vec<Part<T>> {
    let mut bytes = Vec::new();
    let sizes: Vec<(T::Key, usize)> = items
        .iter()
        .map(|(key, item)| {
            bytes.clear();
            codec::put(item, &mut bytes);
            (*key, bytes.len())
        })
        .collect();
    let total: usize = sizes.iter().map(|(_, size)| size).sum();
    if total <= FULL {
        return vec![(start, items)];
    }
    let share = total / total.div_ceil(PART).max(2) + 1;
    let mut cuts = Vec::new();
    let mut filled = 0;
    for (key, size) in sizes {
        if filled > 0 && filled + size > share {
            cuts.push(key);
            filled = 0;
        }
        filled += size;
    }
    let mut parts = Vec::with_capacity(cuts.len() + 1);
    for cut in cuts.into_iter().rev() {
        let part = items.split_off(&cut);
        parts.push((cut, part));
    }
    parts.push((start, items));
    parts.reverse();
    parts
}
