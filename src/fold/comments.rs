//! Comments in pages: the comments themselves, and beside them what is derived from them.
//!
//! ```text
//! k clip parent id          a comment                       i id              where it is, its author and request
//! o clip parent likes id    its rank among its siblings     r comment voter   that voter's like and report of it
//! y clip id                 how many replies it has         q queue id        what moderators look through
//! u page                    comments of neighbouring clips
//! ```
//!
//! A change is what [`Comment::take`] makes of the comment before it; ranks, queues and counts follow from the difference.
//! That difference is gone once the comment's page contains the change, so a commit stores everything derived first and
//! the comments last: where a comment's page contains an event, everything that follows from it is stored as well.
//!
//! Here is what is stored, and in which order; `places` says under which keys, `fold` what an event does to it. Never: what a comment
//! becomes by a change, which it knows itself.

mod fold;
mod places;

use std::collections::BTreeMap;

use bincode::{Decode, Encode};

pub use self::fold::CommentPages;
use super::keys::{self, Table};
use super::ranges::Range;
use crate::codec::{self, Kind};
use crate::domain::{ClipNo, Comment, CommentRef, ModerationQueue, RequestKey, Seq, VoterId};
use crate::error::Fault;
use crate::store::Store;

/// Where a comment is, by its id.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct CommentId {
    /// Its place.
    pub place: CommentRef,
    /// Who wrote it; kept when the comment is deleted.
    pub author: VoterId,
    /// Posted at, Unix milliseconds.
    pub at: u64,
    /// The request that it came with, if that had a key.
    pub request: Option<RequestKey>,
}

/// What a voter did with a comment.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
pub struct Mark {
    /// The comment.
    pub comment: Seq,
    /// Who.
    pub voter: VoterId,
    /// What: [`LIKED`], [`REPORTED`].
    pub set: u8,
}

/// A like stands.
pub const LIKED: u8 = 1;
/// A report was made; it can't be taken back.
pub const REPORTED: u8 = 2;
/// Where memory has the same of what the voter did before they were erased; in no record.
pub const EMPTIED: u8 = 2;

/// A comment's rank among its siblings.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
pub struct Rank {
    /// The comment.
    pub place: CommentRef,
    /// Its likes.
    pub likes: u32,
}

/// The key of a rank: clip, parent, likes, id.
pub type RankKey = (ClipNo, Seq, u32, Seq);

/// A comment in a moderators' queue.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
pub struct Queued {
    /// Which queue.
    pub queue: ModerationQueue,
    /// The comment.
    pub place: CommentRef,
}

/// How many replies a comment has.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
pub struct Replies {
    /// The comment's clip.
    pub clip: ClipNo,
    /// The comment.
    pub id: Seq,
    /// Replies that everyone can see.
    pub visible: u32,
    /// Times that a reply became visible; never falls.
    pub ever: u32,
}

impl Replies {
    /// No reply yet.
    pub fn none(clip: ClipNo, id: Seq) -> Self {
        Self { clip, id, visible: 0, ever: 0 }
    }

    /// One more is visible, or one less.
    pub fn add(&mut self, by: i8) {
        self.visible = self.visible.saturating_add_signed(by.into());
        self.ever = self.ever.saturating_add(u32::from(by > 0));
    }
}

/// Counts of the comments of neighbouring clips.
#[derive(Clone, PartialEq, Eq, Debug, Default, Encode, Decode)]
pub struct CommentCounts {
    /// The last sequence that it contains.
    pub last: Seq,
    /// By the clip's place in the page: comments that everyone can see, replies included.
    pub counts: Vec<u64>,
}

impl CommentCounts {
    /// Each clip's count; `page` is this page's number.
    pub fn iter(&self, page: u32) -> impl Iterator<Item = (ClipNo, u64)> + '_ {
        (page * keys::CLIPS_A_TOTALS_PAGE..).map(ClipNo).zip(self.counts.iter().copied())
    }

    fn slot(&mut self, clip: ClipNo) -> &mut u64 {
        let place = (clip.0 % keys::CLIPS_A_TOTALS_PAGE) as usize;
        if self.counts.len() <= place {
            self.counts.resize(place + 1, 0);
        }
        &mut self.counts[place]
    }
}

/// The pages that the fold of comments has changed.
#[derive(Debug, Default)]
pub(super) struct CommentTables {
    pub(super) comments: Range<Comment>,
    pub(super) ids: Range<CommentId>,
    pub(super) marks: Range<Mark>,
    pub(super) ranks: Range<Rank>,
    pub(super) queue: Range<Queued>,
    pub(super) replies: Range<Replies>,
    pub(super) counts: BTreeMap<u32, CommentCounts>,
}

impl CommentTables {
    /// Stores every change, what is derived first: see the top of this file.
    pub(super) fn store(&mut self, store: &dyn Store) -> Result<(), Fault> {
        self.ids.store(store)?;
        self.marks.store(store)?;
        self.ranks.store(store)?;
        self.queue.store(store)?;
        self.replies.store(store)?;
        for (number, page) in std::mem::take(&mut self.counts) {
            let key = keys::page(Table::CommentCounts, number);
            store.insert(&key, &codec::record(Kind::CommentCounts, &key, &page))?;
        }
        self.comments.store(store)
    }

    /// Pages in memory: what a step must not let grow without end.
    pub(super) fn pages(&self) -> usize {
        self.comments.len()
            + self.ids.len()
            + self.marks.len()
            + self.ranks.len()
            + self.queue.len()
            + self.replies.len()
    }
}
