//! What pages of comments have left over of a voter, and what voids keep, some of it at a time. Never: what an event takes, which is
//! the fold's.

use std::ops::ControlFlow;

use super::Theirs;
use crate::closed::sealed::SlotNames;
use crate::codec::{self, Kind};
use crate::domain::{Comment, SlotNo, VoidState, VoterId};
use crate::error::Fault;
use crate::fold::comments::{CommentId, Mark};
use crate::fold::ranges::{Item, tidy};
use crate::fold::sorted::Who;
use crate::fold::void_pages::Named;
use crate::fold::{keys, lookup};
use crate::store::Store;

/// What a step does at most: each in a few milliseconds.
const PAGES: usize = 32;
const RECORDS: usize = 128;

/// Looks through some pages of comments' places, of comments, then of likes and reports: in the order of their letters.
pub(super) fn tidied(
    store: &dyn Store,
    from: &[u8],
    Theirs { voter, before }: Theirs,
) -> Result<Option<Vec<u8>>, Fault> {
    let letter = from.first().copied().unwrap_or(CommentId::LETTER);
    let no_key_names = false;
    Ok(if letter == CommentId::LETTER {
        let theirs = |id: &CommentId| id.author == voter && id.place.id < before;
        tidy(store, from, PAGES, theirs, |_| no_key_names)?.or(Some(vec![Comment::LETTER]))
    } else if letter == Comment::LETTER {
        let theirs = |comment: &Comment| comment.author == voter && comment.place.id < before;
        tidy(store, from, PAGES, theirs, |_| no_key_names)?.or(Some(vec![Mark::LETTER]))
    } else {
        tidy(store, from, PAGES, |mark: &Mark| mark.voter == voter, |(_, named)| named == voter)?
    })
}

/// Takes the voter from some records of voids, then of the votes that they name. Gives where to go on.
pub(super) fn swept(store: &dyn Store, from: &[u8], of: Theirs) -> Result<Option<Vec<u8>>, Fault> {
    let (voids, named) = (keys::voids(), keys::all_named());
    let of_voids = from.first() == voids.0.first();
    let end = if of_voids { voids.1 } else { named.1 };
    let (mut left, mut next, mut rewritten) = (RECORDS, None, Vec::new());
    let mut names: Option<(SlotNo, VoterId)> = None;
    store.scan(from, &end, &mut |key, record| {
        if left == 0 {
            next = Some(key.to_vec());
            return Ok(ControlFlow::Break(()));
        }
        left -= 1;
        if of_voids {
            let mut state: VoidState = codec::read("tables", Kind::Void, key, record)?;
            if state.unname(of.voter, of.before) {
                rewritten.push((key.to_vec(), codec::record(Kind::Void, key, &state)));
            }
            return Ok(ControlFlow::Continue(()));
        }
        let Named(mut votes) = codec::read("tables", Kind::NamedVotes, key, record)?;
        let mut changed = false;
        for vote in votes.iter_mut().filter(|vote| of.is(vote.voter, vote.seq)) {
            let slot = keys::named_slot(key).ok_or_else(|| Fault::damaged("tables", key, "its key does not decode"))?;
            let known = names.filter(|(known, _)| *known == slot);
            let (_, id) = *names.insert(match known {
                Some(known) => known,
                None => (slot, id_in(store, slot, of.voter)?),
            });
            vote.voter = id;
            changed = true;
        }
        if changed {
            rewritten.push((key.to_vec(), codec::record(Kind::NamedVotes, key, &Named(votes))));
        }
        Ok(ControlFlow::Continue(()))
    })?;
    for (key, record) in &rewritten {
        store.insert(key, record)?;
    }
    Ok(next.or_else(|| of_voids.then(|| named.0.to_vec())))
}

/// What a slot's sorted ballots know a voter by who was erased.
fn id_in(store: &dyn Store, slot: SlotNo, voter: VoterId) -> Result<VoterId, Fault> {
    let record = lookup::slot(store, slot)?;
    let record = record
        .ok_or_else(|| Fault::Inconsistent { why: format!("a void is of slot {}, which has no record", slot.0) })?;
    Ok(Who::Erased(SlotNames::of(store, &record.slot)?.scope.voter(voter)).id())
}
