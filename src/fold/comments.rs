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

use std::collections::BTreeMap;

use bincode::{Decode, Encode};

use super::keys::{self, Table};
use super::ranges::{Item, Range};
use crate::codec::{self, Kind};
use crate::domain::{
    ClipNo, Comment, CommentChange, CommentPost, CommentRef, ModerationQueue, RequestKey, Seq, VoterId,
};
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

/// A key's parts behind its letter, big-endian.
fn key(letter: u8, parts: &[&[u8]]) -> Vec<u8> {
    let mut key = Vec::with_capacity(26);
    key.push(letter);
    for part in parts {
        key.extend_from_slice(part);
    }
    key
}

/// Takes a key's parts off again; `None` where it is too short, too long or begins with another letter.
struct Parts<'a>(Option<&'a [u8]>);

impl<'a> Parts<'a> {
    fn of(letter: u8, bytes: &'a [u8]) -> Self {
        Self(bytes.strip_prefix(&[letter]))
    }

    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (part, rest) = self.0?.split_first_chunk::<N>()?;
        self.0 = Some(rest);
        Some(*part)
    }

    fn u64(&mut self) -> Option<u64> {
        self.take().map(u64::from_be_bytes)
    }

    fn u32(&mut self) -> Option<u32> {
        self.take().map(u32::from_be_bytes)
    }

    fn end(self) -> Option<()> {
        self.0?.is_empty().then_some(())
    }
}

impl Item for Comment {
    type Key = CommentRef;
    const KIND: Kind = Kind::Comments;
    const LETTER: u8 = b'k';
    const GROUP: usize = 5;

    fn key(&self) -> CommentRef {
        self.place
    }

    fn bytes(at: CommentRef) -> Vec<u8> {
        key(Self::LETTER, &[&at.clip.0.to_be_bytes(), &at.parent.to_be_bytes(), &at.id.to_be_bytes()])
    }

    fn parse(bytes: &[u8]) -> Option<CommentRef> {
        let mut parts = Parts::of(Self::LETTER, bytes);
        let at = CommentRef { clip: ClipNo(parts.u32()?), parent: parts.u64()?, id: parts.u64()? };
        parts.end().map(|()| at)
    }

    fn first(at: CommentRef) -> CommentRef {
        CommentRef { parent: 0, id: 0, ..at }
    }
}

impl Item for CommentId {
    type Key = Seq;
    const KIND: Kind = Kind::CommentIds;
    const LETTER: u8 = b'i';
    const GROUP: usize = 1;

    fn key(&self) -> Seq {
        self.place.id
    }

    fn bytes(id: Seq) -> Vec<u8> {
        key(Self::LETTER, &[&id.to_be_bytes()])
    }

    fn parse(bytes: &[u8]) -> Option<Seq> {
        let mut parts = Parts::of(Self::LETTER, bytes);
        let id = parts.u64()?;
        parts.end().map(|()| id)
    }

    fn first(_: Seq) -> Seq {
        0
    }
}

impl Item for Mark {
    type Key = (Seq, VoterId);
    const KIND: Kind = Kind::Marks;
    const LETTER: u8 = b'r';
    const GROUP: usize = 1;

    fn key(&self) -> (Seq, VoterId) {
        (self.comment, self.voter)
    }

    fn bytes((comment, voter): (Seq, VoterId)) -> Vec<u8> {
        key(Self::LETTER, &[&comment.to_be_bytes(), &voter.0])
    }

    fn parse(bytes: &[u8]) -> Option<(Seq, VoterId)> {
        let mut parts = Parts::of(Self::LETTER, bytes);
        let at = (parts.u64()?, VoterId(parts.take()?));
        parts.end().map(|()| at)
    }

    fn first(_: (Seq, VoterId)) -> (Seq, VoterId) {
        (0, VoterId([0; 16]))
    }
}

impl Item for Rank {
    type Key = RankKey;
    const KIND: Kind = Kind::Ranks;
    const LETTER: u8 = b'o';
    const GROUP: usize = 13;

    fn key(&self) -> RankKey {
        (self.place.clip, self.place.parent, self.likes, self.place.id)
    }

    fn bytes((clip, parent, likes, id): RankKey) -> Vec<u8> {
        let parts: [&[u8]; 4] = [&clip.0.to_be_bytes(), &parent.to_be_bytes(), &likes.to_be_bytes(), &id.to_be_bytes()];
        key(Self::LETTER, &parts)
    }

    fn parse(bytes: &[u8]) -> Option<RankKey> {
        let mut parts = Parts::of(Self::LETTER, bytes);
        let at = (ClipNo(parts.u32()?), parts.u64()?, parts.u32()?, parts.u64()?);
        parts.end().map(|()| at)
    }

    fn first((clip, parent, _, _): RankKey) -> RankKey {
        (clip, parent, 0, 0)
    }
}

impl Item for Queued {
    type Key = (ModerationQueue, Seq);
    const KIND: Kind = Kind::Queue;
    const LETTER: u8 = b'q';
    const GROUP: usize = 2;

    fn key(&self) -> (ModerationQueue, Seq) {
        (self.queue, self.place.id)
    }

    fn bytes((queue, id): (ModerationQueue, Seq)) -> Vec<u8> {
        key(Self::LETTER, &[&[queue as u8], &id.to_be_bytes()])
    }

    fn parse(bytes: &[u8]) -> Option<(ModerationQueue, Seq)> {
        let mut parts = Parts::of(Self::LETTER, bytes);
        let queue = match parts.take()? {
            [0] => ModerationQueue::Pending,
            [1] => ModerationQueue::Reported,
            [2] => ModerationQueue::Hidden,
            [_] => return None,
        };
        let id = parts.u64()?;
        parts.end().map(|()| (queue, id))
    }

    fn first((queue, _): (ModerationQueue, Seq)) -> (ModerationQueue, Seq) {
        (queue, 0)
    }
}

impl Item for Replies {
    type Key = (ClipNo, Seq);
    const KIND: Kind = Kind::Replies;
    const LETTER: u8 = b'y';
    const GROUP: usize = 5;

    fn key(&self) -> (ClipNo, Seq) {
        (self.clip, self.id)
    }

    fn bytes((clip, id): (ClipNo, Seq)) -> Vec<u8> {
        key(Self::LETTER, &[&clip.0.to_be_bytes(), &id.to_be_bytes()])
    }

    fn parse(bytes: &[u8]) -> Option<(ClipNo, Seq)> {
        let mut parts = Parts::of(Self::LETTER, bytes);
        let at = (ClipNo(parts.u32()?), parts.u64()?);
        parts.end().map(|()| at)
    }

    fn first((clip, _): (ClipNo, Seq)) -> (ClipNo, Seq) {
        (clip, 0)
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

/// Comments' pages with the store beneath them: what the fold of a comment changes.
#[derive(Debug)]
pub struct CommentPages<'a> {
    pub(super) store: &'a dyn Store,
    pub(super) tables: &'a mut CommentTables,
}

impl CommentPages<'_> {
    /// A new comment.
    pub(super) fn post(&mut self, seq: Seq, at: u64, post: &CommentPost) -> Result<(), Fault> {
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
    pub(super) fn change(&mut self, seq: Seq, of: CommentRef, change: &CommentChange) -> Result<(), Fault> {
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
    pub(super) fn repair_count(&mut self, clip: ClipNo, count: u64) -> Result<(), Fault> {
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
