//! What a crash or an item that is gone has left of somebody in stored pages, and its end. Never: a change of what a reader finds.

use std::ops::ControlFlow;

use super::{Item, NAME, RangePage, StoredPage, group};
use crate::codec;
use crate::error::Fault;
use crate::store::Store;

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
