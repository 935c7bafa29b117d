//! What an event does to the pages of comments: what is derived from a comment follows from the difference that a change makes.
//!
//! Each page skips what it contains already, and a comment's own page is changed last. Never: a write to the store, or a decision
//! about an event.

use super::{CommentCounts, CommentId, CommentTables, LIKED, Mark, Queued, REPORTED, Rank, Replies};
use crate::codec::{self, Kind};
use crate::domain::{ClipNo, Comment, CommentChange, CommentPost, CommentRef, Seq, VoterId};
use crate::error::Fault;
use crate::fold::keys::{self, Table};
use crate::fold::ranges::Item;
use crate::store::Store;

/// Comments' pages with the store beneath them: what the fold of a comment changes.
#[derive(Debug)]
pub struct CommentPages<'a> {
    pub(in crate::fold) store: &'a dyn Store,
    pub(in crate::fold) tables: &'a mut CommentTables,
}

impl CommentPages<'_> {
    /// A new comment.
    pub(in crate::fold) fn post(&mut self, seq: Seq, at: u64, post: &CommentPost) -> Result<(), Fault> {
        let comment = Comment::posted(seq, at, post);
        let ids = self.tables.ids.page(self.store, seq)?;
        if !ids.contains(seq) {
            let CommentPost { author, request, .. } = *post;
            ids.put(seq, CommentId { place: comment.place, author, at, request });
        }
        if self.tables.comments.page(self.store, comment.place)?.contains(seq) {
            return Ok(());
        }
        self.put(seq, None, comment)
    }

    /// A change to a comment.
    pub(in crate::fold) fn change(&mut self, seq: Seq, of: CommentRef, change: &CommentChange) -> Result<(), Fault> {
        match change {
            CommentChange::Liked(voter) => self.mark(seq, of.id, *voter, |set| set | LIKED)?,
            CommentChange::Unliked(voter) => self.mark(seq, of.id, *voter, |set| set & !LIKED)?,
            CommentChange::Reported { voter, .. } => self.mark(seq, of.id, *voter, |set| set | REPORTED)?,
            CommentChange::Emptied => self.forget_author(seq, of)?,
            // Which of the two pages is stored first matters not: the event says what stands.
            CommentChange::Unnamed { voter, set } => {
                self.mark(seq, of.id, voter.emptied(of.id), |before| before | *set)?;
                self.mark(seq, of.id, *voter, |_| 0)?;
            }
            CommentChange::Deleted { .. } | CommentChange::Moderated(_) => {}
        }
        let page = self.tables.comments.page(self.store, of)?;
        if page.contains(seq) {
            return Ok(());
        }
        let Some(before) = page.get(of).cloned() else {
            return Err(Fault::Inconsistent {
                why: format!("event {seq} changes comment {}, which is not there", of.id),
            });
        };
        let mut after = before.clone();
        after.take(change);
        if after == before { Ok(()) } else { self.put(seq, Some(&before), after) }
    }

    fn put(&mut self, seq: Seq, before: Option<&Comment>, after: Comment) -> Result<(), Fault> {
        let place = after.place;
        let rank = |comment: &Comment| Rank { place, likes: comment.likes };
        if before.map(rank) != Some(rank(&after)) {
            if let Some(left) = before.map(rank) {
                let page = self.tables.ranks.page(self.store, left.key())?;
                if !page.contains(seq) {
                    page.remove(seq, left.key());
                }
            }
            let page = self.tables.ranks.page(self.store, rank(&after).key())?;
            if !page.contains(seq) {
                page.put(seq, rank(&after));
            }
        }
        let (left, joined) = (before.and_then(Comment::queue), after.queue());
        if left != joined {
            if let Some(queue) = left {
                let page = self.tables.queue.page(self.store, (queue, place.id))?;
                if !page.contains(seq) {
                    page.remove(seq, (queue, place.id));
                }
            }
            if let Some(queue) = joined {
                let page = self.tables.queue.page(self.store, (queue, place.id))?;
                if !page.contains(seq) {
                    page.put(seq, Queued { queue, place });
                }
            }
        }
        let by = i8::from(after.is_visible()) - i8::from(before.is_some_and(Comment::is_visible));
        if by != 0 {
            self.count(seq, place, by)?;
        }
        self.tables.comments.page(self.store, place)?.put(seq, after);
        Ok(())
    }

    /// A comment's author is nobody, and no request leads to it.
    fn forget_author(&mut self, seq: Seq, of: CommentRef) -> Result<(), Fault> {
        let page = self.tables.ids.page(self.store, of.id)?;
        if !page.contains(seq)
            && let Some(known) = page.get(of.id).cloned()
        {
            page.put(seq, CommentId { author: VoterId::NOBODY, request: None, ..known });
        }
        Ok(())
    }

    /// One more of a clip's comments is visible, or one less.
    fn count(&mut self, seq: Seq, place: CommentRef, by: i8) -> Result<(), Fault> {
        let page = self.counts(place.clip.0 / keys::CLIPS_A_TOTALS_PAGE)?;
        if page.last < seq {
            let count = page.slot(place.clip);
            *count = count.checked_add_signed(by.into()).ok_or_else(|| Fault::Inconsistent {
                why: format!("event {seq} takes more comments from clip {} than it has", place.clip.0),
            })?;
            page.last = seq;
        }
        if place.parent == 0 {
            return Ok(());
        }
        let at = (place.clip, place.parent);
        let page = self.tables.replies.page(self.store, at)?;
        if !page.contains(seq) {
            let mut replies = page.get(at).copied().unwrap_or(Replies::none(place.clip, place.parent));
            replies.add(by);
            page.put(seq, replies);
        }
        Ok(())
    }

    fn counts(&mut self, number: u32) -> Result<&mut CommentCounts, Fault> {
        use std::collections::btree_map::Entry;
        match self.tables.counts.entry(number) {
            Entry::Occupied(entry) => Ok(entry.into_mut()),
            Entry::Vacant(entry) => {
                let key = keys::page(Table::CommentCounts, number);
                let stored = self.store.get(&key)?;
                let page =
                    stored.map(|record| codec::read("tables", Kind::CommentCounts, &key, &record)).transpose()?;
                Ok(entry.insert(page.unwrap_or_default()))
            }
        }
    }

    /// Puts a clip's count right; what its page contains stays.
    pub(in crate::fold) fn repair_count(&mut self, clip: ClipNo, count: u64) -> Result<(), Fault> {
        *self.counts(clip.0 / keys::CLIPS_A_TOTALS_PAGE)?.slot(clip) = count;
        Ok(())
    }

    fn mark(&mut self, seq: Seq, comment: Seq, voter: VoterId, change: impl Fn(u8) -> u8) -> Result<(), Fault> {
        let page = self.tables.marks.page(self.store, (comment, voter))?;
        if page.contains(seq) {
            return Ok(());
        }
        let set = change(page.get((comment, voter)).map_or(0, |mark| mark.set));
        if set == 0 {
            page.remove(seq, (comment, voter));
        } else {
            page.put(seq, Mark { comment, voter, set });
        }
        Ok(())
    }
}
