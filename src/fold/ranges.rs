//! Pages that hold ranges: items in the order of their keys, a page keyed by its range's start and ending where the next
//! begins. The first page of a group (a clip's comments, say) begins at the group's smallest key, so every key has a page.
//!
//! A page knows the last sequence that it contains. A step stores the parts of a page that has grown from the last to the
//! first: a crash between them leaves the old page, which contains all of it, and parts behind it that are ahead. What an
//! old page holds beyond the next one's start is left over, and every reader here looks past it.
//!
//! Pages are never removed: an empty one still says up to where its range is known.
//!
//! Here are the stored pages, and which of them a key is in; `read` goes through them, `changed` is what the fold makes of them, and
//! `tidy` takes away what a crash or an erasure has left. Never: what an item means.

mod changed;
mod read;
mod tidy;

use bincode::{Decode, Encode};

pub(super) use self::changed::Range;
pub use self::read::{Backwards, Forwards};
pub use self::tidy::tidy;
use crate::codec::{self, Kind};
use crate::domain::Seq;
use crate::error::Fault;
use crate::store::Store;

const NAME: &str = "tables";

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
