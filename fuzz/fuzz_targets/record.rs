//! Records of one value: any bytes are read or refused; with a right checksum over any body too; and what is read is
//! written and read again as the same. Pages of comments are read through a store as well: what comes back is in order and
//! within its bounds, or the page is refused.

#![no_main]

use std::fmt::Debug;
use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use plaudit::codec::{self, HEADER, Kind};
use plaudit::domain::Comment;
use plaudit::fold::Mark;
use plaudit::fold::comments::{self, CommentCounts, CommentId, Queued, Rank, Replies};
use plaudit::fold::ranges::{Backwards, Forwards, Item, RangePage, find, page_of};
use plaudit::fold::records::{BansPage, ClipsPage, FirstSlotRecord, SeasonsPage, SlotRecord};
use plaudit::fold::sorted::{self, Closing, Counts, Hashes};
use plaudit::fold::totals::TotalsPage;
use plaudit::store::{FaultyDisk, Store};

const KEY: &[u8] = b"key";

fuzz_target!(|data: &[u8]| {
    try_as::<TotalsPage>(Kind::Totals, data);
    try_as::<SeasonsPage>(Kind::Seasons, data);
    try_as::<FirstSlotRecord>(Kind::FirstSlot, data);
    try_as::<SlotRecord>(Kind::Slot, data);
    try_as::<ClipsPage>(Kind::Clips, data);
    try_as::<BansPage>(Kind::Bans, data);
    try_as::<Mark>(Kind::Mark, data);
    try_as::<RangePage<Comment>>(Kind::Comments, data);
    try_as::<RangePage<CommentId>>(Kind::CommentIds, data);
    try_as::<RangePage<comments::Mark>>(Kind::Marks, data);
    try_as::<RangePage<Rank>>(Kind::Ranks, data);
    try_as::<RangePage<Queued>>(Kind::Queue, data);
    try_as::<RangePage<Replies>>(Kind::Replies, data);
    try_as::<CommentCounts>(Kind::CommentCounts, data);

    walk::<Comment>(data);
    walk::<CommentId>(data);
    walk::<comments::Mark>(data);
    walk::<Rank>(data);
    walk::<Queued>(data);
    walk::<Replies>(data);
    try_as::<Hashes>(Kind::Sorted, data);
    try_as::<Counts>(Kind::Sorted, data);
    try_as::<Closing>(Kind::Closing, data);
    let _ = sorted::read(KEY, data);
});

/// A record type that a page of the tables is.
trait Page: Debug + PartialEq + Sized {
    fn read(kind: Kind, record: &[u8]) -> Option<Self>;
    fn record(&self, kind: Kind) -> Vec<u8>;
}

macro_rules! pages {
    ($($page:ty),*) => {$(
        impl Page for $page {
            fn read(kind: Kind, record: &[u8]) -> Option<Self> {
                codec::read("tables", kind, KEY, record).ok()
            }

            fn record(&self, kind: Kind) -> Vec<u8> {
                codec::record(kind, KEY, self)
            }
        }
    )*};
}

pages!(
    TotalsPage,
    SeasonsPage,
    FirstSlotRecord,
    SlotRecord,
    ClipsPage,
    BansPage,
    Mark,
    RangePage<Comment>,
    RangePage<CommentId>,
    RangePage<comments::Mark>,
    RangePage<Rank>,
    RangePage<Queued>,
    RangePage<Replies>,
    CommentCounts,
    Hashes,
    Counts,
    Closing
);

fn try_as<T: Page>(kind: Kind, data: &[u8]) {
    let as_is = T::read(kind, data);
    assert!(as_is.is_none() || data.len() > HEADER);
    if data.len() < HEADER {
        return;
    }
    // Only one in 2^128 inputs has a right checksum by itself.
    let mut sealed = data.to_vec();
    codec::seal(kind, KEY, &mut sealed);
    if let Some(value) = T::read(kind, &sealed) {
        let again = T::read(kind, &value.record(kind));
        assert_eq!(again.as_ref(), Some(&value));
    }
}

/// Stores a page with a right checksum where it could lie, and reads it in every way that readers do.
fn walk<T: Item>(data: &[u8]) {
    for len in 0..data.len().min(32) {
        let key = [&[T::LETTER], &data[..len]].concat();
        assert!(T::parse(&key).is_none_or(|start| T::bytes(start) == key), "a key that is read is written as the same");
    }
    if data.len() < HEADER {
        return;
    }
    let mut record = data.to_vec();
    codec::seal(T::KIND, KEY, &mut record);
    let Ok(page) = codec::read::<RangePage<T>>("tables", T::KIND, KEY, &record) else { return };
    let keys: Vec<T::Key> = page.items.iter().map(Item::key).collect();
    let (Some(&first), Some(&last)) = (keys.first(), keys.last()) else { return };
    let sorted = keys.is_sorted_by(|one, next| one < next);
    for start in [T::first(first), first, last] {
        let key = T::bytes(start);
        assert!(T::parse(&key).is_some_and(|parsed| parsed == start), "a key that is written is read as the same");
        codec::seal(T::KIND, &key, &mut record);
        let store: Arc<dyn Store> = FaultyDisk::new(0).open("tables");
        store.insert(&key, &record).expect("it fits");
        let found = page_of::<T>(store.as_ref(), start);
        assert_eq!(found.is_ok(), sorted && first >= start, "one whose items are not its range's is refused");
        let Ok(Some(_)) = found else { continue };
        assert!(find::<T>(store.as_ref(), start).expect("its page is good").is_none_or(|item| item.key() == start));

        let mut backwards = Backwards::<T>::new(store.as_ref(), last, start);
        let mut below = last;
        while let Some(item) = backwards.next_item().expect("its page is good") {
            assert!(item.key() < below && item.key() >= start);
            below = item.key();
        }
        let mut forwards = Forwards::<T>::new(store.as_ref(), start, last);
        let mut past = start;
        while let Some(item) = forwards.next_item().expect("its page is good") {
            assert!(item.key() > past && item.key() < last);
            past = item.key();
        }
    }
}
