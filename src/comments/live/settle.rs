//! How a claim ends: what the log decided, taken in in its order, or let go of where the log refused it.
//!
//! Each change is kept until the tables contain it. Never: a decision, which the judge took.

use std::sync::Arc;

use super::{Held, Live, Stored};
use crate::domain::{Comment, CommentChange, CommentPost, CommentRef, Seq};
use crate::fold::comments::{EMPTIED, LIKED, REPORTED};

/// A settled change of a comment, with all that anyone needs to hear of it.
#[derive(Clone, Debug)]
pub struct Settled {
    /// Its sequence.
    pub seq: Seq,
    /// The comment before it; `None` when it is new.
    pub before: Option<Arc<Comment>>,
    /// The comment with it.
    pub comment: Arc<Comment>,
    /// What it was; `None`: it was posted.
    pub change: Option<CommentChange>,
}

impl Settled {
    /// How many more of its clip's comments everyone can see: 1, 0 or -1.
    pub fn visible_by(&self) -> i64 {
        i64::from(self.comment.is_visible()) - i64::from(self.before.as_ref().is_some_and(|before| before.is_visible()))
    }
}

impl Live {
    pub(in crate::comments) fn release_post(&mut self, at: u64, post: &CommentPost) {
        self.in_flight -= 1;
        self.slow.release((post.author, post.clip), at);
        if let Some(request) = post.request {
            self.requests.release(request);
        }
    }

    pub(in crate::comments) fn settle_post(&mut self, seq: Seq, at: u64, post: &CommentPost) -> Settled {
        self.in_flight -= 1;
        if let Some(request) = post.request {
            self.requests.finish(request, at, seq);
        }
        let comment = Arc::new(Comment::posted(seq, at, post));
        let settled = Settled { seq, before: None, comment: Arc::clone(&comment), change: None };
        let place = comment.place;
        self.comments.insert(place, Held { comment, last: seq, pins: 0 });
        self.places.insert(seq, place);
        self.changes.push_back((seq, Stored::Comment(seq)));
        if place.parent == 0
            && let Some(looked) = self.looked.get_mut(&place.clip)
        {
            looked.ids.push_back(seq);
        }
        self.count_reply(&settled);
        settled
    }

    pub(in crate::comments) fn settle_change(
        &mut self,
        seq: Seq,
        of: CommentRef,
        change: &CommentChange,
    ) -> Option<Settled> {
        self.end_mark(of.id, change, Some(seq));
        let held = self.comments.get_mut(&of).expect("a comment in flight is pinned");
        let before = Arc::clone(&held.comment);
        let mut after = Comment::clone(&before);
        after.take(change);
        let changed = after != *before;
        if changed {
            held.comment = Arc::new(after);
            held.last = seq;
            self.changes.push_back((seq, Stored::Comment(of.id)));
        }
        let comment = Arc::clone(&held.comment);
        self.unpin(of);
        if !changed {
            return None;
        }
        let settled = Settled { seq, before: Some(before), comment, change: Some(*change) };
        self.count_reply(&settled);
        Some(settled)
    }

    pub(in crate::comments) fn release(&mut self, of: CommentRef, change: &CommentChange) {
        self.end_mark(of.id, change, None);
        self.unpin(of);
    }

    fn unpin(&mut self, of: CommentRef) {
        self.in_flight -= 1;
        if let Some(held) = self.comments.get_mut(&of) {
            held.pins -= 1;
        }
        self.drop_stored(of.id);
    }

    /// A like's or report's flight ends, settled at a sequence or refused.
    fn end_mark(&mut self, id: Seq, change: &CommentChange, settled: Option<Seq>) {
        let (voter, which, on) = match change {
            CommentChange::Unnamed { voter, .. } => (*voter, LIKED | REPORTED, false),
            CommentChange::Liked(voter) => (*voter, LIKED, true),
            CommentChange::Unliked(voter) => (*voter, LIKED, false),
            CommentChange::Reported { voter, .. } => (*voter, REPORTED, true),
            CommentChange::Deleted { .. } | CommentChange::Moderated(_) | CommentChange::Emptied => return,
        };
        let Some(mark) = self.marks.get_mut(&(id, voter)) else { return };
        mark.moving &= !which;
        if let Some(seq) = settled {
            mark.set = match change {
                CommentChange::Unnamed { set, .. } => mark.set & !which | set << EMPTIED,
                _ if on => mark.set | which,
                _ => mark.set & !which,
            };
            mark.last = seq;
            self.changes.push_back((seq, Stored::Mark(id, voter)));
        } else if mark.moving == 0 && mark.last <= self.applied {
            self.marks.remove(&(id, voter));
        }
    }

    fn count_reply(&mut self, settled: &Settled) {
        let by = settled.visible_by();
        let parent = settled.comment.place.parent;
        if by != 0 && parent != 0 {
            let by = i8::try_from(by).expect("one more or one less");
            self.replies.entry(parent).or_default().push((settled.seq, by));
            self.changes.push_back((settled.seq, Stored::Replies(parent)));
        }
    }
}
