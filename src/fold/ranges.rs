//! Pages that hold ranges: items in the order of their keys, a page keyed by its range's start and ending where the next
//! begins. The first page of a group (a clip's comments, say) begins at the group's smallest key, so every key has a page.
//!
//! A page knows the last sequence that it contains. A step stores the parts of a page that has grown from the last to the
//! first: a crash between them leaves the old page, which contains all of it, and parts behind it that are ahead. What an
//! old page holds beyond the next one's start is left over, and every reader here looks past it.
//!
//! Pages are never removed: an empty one still says up to where its range is known.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use bincode::{Decode, Encode};

use crate::codec::{self, Kind};
use crate::domain::Seq;
use crate::error::Fault;
use crate::store::Store;

const NAME: &str = "tables";
/// Bytes of a page at most, unless one item alone is longer.
const FULL: usize = 8 * 1024;
/// What the parts of a page that has grown past [`FULL`] are filled to, so that the next change doesn't part them again.
const PART: usize = 6 * 1024;
/// Pages that were changed in the last step are kept for the next one, up to so many.
const KEPT: usize = 1024;

/// Something that lies in ranges.
pub trait Item: Encode + Decode<()> + Clone {
    /// Its place in the order.
    type Key: Ord + Copy;
    /// What its pages are.
    const KIND: Kind;
    /// What their keys begin with.
    const LETTER: u8;
    /// How many bytes of its key name a page's group.
    const GROUP: usize;

    /// Its place.
    fn key(&self) -> Self::Key;
    /// A place as the key of a page that begins there; byte order is the order of places.
    fn bytes(key: Self::Key) -> Vec<u8>;
    /// A page's key read back.
    fn parse(bytes: &[u8]) -> Option<Self::Key>;
    /// The smallest place of the group that a place is in.
    fn first(key: Self::Key) -> Self::Key;
}

/// The bytes that the keys of a group begin with.
fn group<T: Item>(key: T::Key) -> Vec<u8> {
    let mut bytes = T::bytes(key);
    bytes.truncate(T::GROUP);
    bytes
}

/// A page of a range, as it is stored.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct RangePage<T> {
    /// The last sequence that it contains.
    pub last: Seq,
    /// The items, in the order of their keys.
    pub items: Vec<T>,
}

/// A stored page.
#[derive(Clone, Debug)]
pub struct StoredPage<T: Item> {
    /// Where its range begins.
    pub start: T::Key,
    /// What it holds.
    pub page: RangePage<T>,
}

impl<T: Item> StoredPage<T> {
    fn read(key: &[u8], record: &[u8]) -> Result<Self, Fault> {
        let damaged = |why: &str| Fault::damaged(NAME, key, why);
        let start = T::parse(key).ok_or_else(|| damaged("its key does not decode"))?;
        let page: RangePage<T> = codec::read(NAME, T::KIND, key, record)?;
        let sorted = page.items.windows(2).all(|two| two[0].key() < two[1].key());
        if !sorted || page.items.first().is_some_and(|first| first.key() < start) {
            return Err(damaged("its items are not of its range, in order"));
        }
        Ok(Self { start, page })
    }
}

/// The page that a key's item is in, or would be.
pub fn page_of<T: Item>(store: &dyn Store, key: T::Key) -> Result<Option<StoredPage<T>>, Fault> {
    let found = store.last_in(&T::bytes(T::first(key)), &behind(T::bytes(key)))?;
    found.map(|(key, record)| StoredPage::read(&key, &record)).transpose()
}

/// One item.
pub fn find<T: Item>(store: &dyn Store, key: T::Key) -> Result<Option<T>, Fault> {
    let page = page_of::<T>(store, key)?;
    Ok(page.and_then(|StoredPage { page, .. }| {
        let at = page.items.binary_search_by_key(&key, Item::key).ok()?;
        Some(page.items[at].clone())
    }))
}

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

/// Looks through some stored pages, from a page's key on, for what a crash or an item that is gone has left of somebody, and takes it
/// away: items past a page's range that are `theirs`, and keys that are `named` by an item which is not there any more. Gives the
/// key to go on from; `None` behind the last.
///
/// For the one who writes the pages, between two steps, with none of them kept. Each write leaves every reader the same items:
/// an old page loses what is looked past, then its items get a page that begins with the first of them, then the old key
/// goes, and its range falls to the page before it.
pub fn tidy<T: Item>(
    store: &dyn Store,
    from: &[u8],
    pages: usize,
    theirs: impl Fn(&T) -> bool,
    named: impl Fn(T::Key) -> bool,
) -> Result<Option<Vec<u8>>, Fault> {
    let mut read: Vec<StoredPage<T>> = Vec::with_capacity(pages + 1);
    store.scan(from, &[T::LETTER + 1], &mut |key, record| {
        read.push(StoredPage::read(key, record)?);
        Ok(if read.len() <= pages { ControlFlow::Continue(()) } else { ControlFlow::Break(()) })
    })?;
    let next = read.get(pages).map(|page| T::bytes(page.start));
    for at in 0..read.len().min(pages) {
        let end =
            read.get(at + 1).map(|next| next.start).filter(|next| group::<T>(*next) == group::<T>(read[at].start));
        let StoredPage { start, page } = &mut read[at];
        let inside = page.items.partition_point(|item| end.is_none_or(|end| item.key() < end));
        let left_over = page.items[inside..].iter().any(&theirs);
        page.items.truncate(inside);
        let first = page.items.first().map(Item::key);
        if named(*start) && first != Some(*start) && T::first(*start) != *start {
            cut_before::<T>(store, *start)?;
            if let Some(first) = first {
                put::<T>(store, first, page)?;
            }
            store.remove(&T::bytes(*start))?;
        } else if left_over {
            put::<T>(store, *start, page)?;
        }
    }
    Ok(next)
}

/// Takes from the page before a place all that it holds past there: its range is about to grow.
fn cut_before<T: Item>(store: &dyn Store, place: T::Key) -> Result<(), Fault> {
    let before = store.last_in(&T::bytes(T::first(place)), &T::bytes(place))?;
    let Some((key, record)) = before else {
        return Err(Fault::damaged(NAME, &T::bytes(place), "no page of its group lies before it"));
    };
    let StoredPage { start, mut page } = StoredPage::<T>::read(&key, &record)?;
    let inside = page.items.partition_point(|item| item.key() < place);
    if inside == page.items.len() {
        return Ok(());
    }
    page.items.truncate(inside);
    put::<T>(store, start, &page)
}

fn put<T: Item>(store: &dyn Store, start: T::Key, page: &RangePage<T>) -> Result<(), Fault> {
    let key = T::bytes(start);
    store.insert(&key, &codec::record(T::KIND, &key, page))
}

/// The key right behind a key.
fn behind(mut key: Vec<u8>) -> Vec<u8> {
    key.push(0);
    key
}

/// The key behind every page of a group.
fn group_end<T: Item>(key: T::Key) -> Vec<u8> {
    let mut end = group::<T>(key);
    // The first byte is a letter, so this ends before it would have to carry past the front.
    while let Some(byte) = end.pop() {
        if byte < u8::MAX {
            end.push(byte + 1);
            break;
        }
    }
    end
}

/// The pages of one kind that the fold has changed, over those that are stored.
#[derive(Debug)]
pub(super) struct Range<T: Item> {
    /// By their start.
    pages: BTreeMap<T::Key, Loaded<T>>,
}

#[derive(Debug)]
pub(super) struct Loaded<T: Item> {
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
    pub(super) fn contains(&self, seq: Seq) -> bool {
        seq <= self.stored
    }

    pub(super) fn get(&self, key: T::Key) -> Option<&T> {
        self.items.get(&key)
    }

    pub(super) fn put(&mut self, seq: Seq, item: T) {
        self.items.insert(item.key(), item);
        self.touch(seq);
    }

    pub(super) fn remove(&mut self, seq: Seq, key: T::Key) {
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
    pub(super) fn page(&mut self, store: &dyn Store, key: T::Key) -> Result<&mut Loaded<T>, Fault> {
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
    pub(super) fn len(&self) -> usize {
        self.pages.len()
    }

    /// Stores every changed page, parted where it has grown too large.
    pub(super) fn store(&mut self, store: &dyn Store) -> Result<(), Fault> {
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
    pub(super) fn each(&self, store: &dyn Store, mut visit: impl FnMut(T) -> Result<(), Fault>) -> Result<(), Fault> {
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
