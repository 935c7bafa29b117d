//! Records of one value: any bytes are read or refused; with a right checksum over any body too; and what is read is
//! written and read again as the same.

#![no_main]

use std::fmt::Debug;

use libfuzzer_sys::fuzz_target;
use plaudit::codec::{self, HEADER, Kind};
use plaudit::domain::Comment;
use plaudit::fold::Mark;
use plaudit::fold::comments::{self, CommentCounts, CommentId, Queued, Rank, Replies};
use plaudit::fold::ranges::RangePage;
use plaudit::fold::records::{BansPage, ClipsPage, FirstSlotRecord, SeasonsPage, SlotRecord};
use plaudit::fold::sorted::{self, Closing, Counts, Hashes};
use plaudit::fold::totals::TotalsPage;

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
