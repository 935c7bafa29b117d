//! Comments as they are now: the tables' pages, and over them in memory what is not in them yet.
//!
//! `Live` holds every comment, like and count of replies that settlement changed and the applier has not
//! stored, the newest comments of clips that someone looks at, and what requests have in flight. A reader copies what it
//! needs of that first and reads pages afterwards: what leaves memory in between is in the pages by then.
//!
//! A claim is decided and enqueued under one lock, as a vote's is, so that the log's order is the order of claims. A claim
//! that rests on a page it has read is refused as stale if anything left memory since; the caller reads again.
//!
//! Never: blocks under its lock, reads the store under it, reads a clock.

mod live;
mod public;
mod read;
mod requests;
mod words;

use std::sync::Arc;

use parking_lot::Mutex;

pub use live::{Claim, Settled};
pub use public::PublicComment;
pub use read::{Cursor, Found, Order, Page, Thread};
pub use words::WordList;

use crate::domain::{Comment, CommentChange, CommentRef, CommentStatus, Event, RequestKey, Seq, VoterId, VoterKey};
use crate::error::Fault;
use crate::fold::comments::{CommentId, EMPTIED, LIKED, Mark, REPORTED};
use crate::fold::ranges::{self, Backwards};
use crate::store::Store;
use live::Live;

/// All comments.
#[derive(Debug)]
pub struct Comments {
    store: Arc<dyn Store>,
    live: Mutex<Live>,
}

/// A comment as it was found, and when.
#[derive(Clone, Debug)]
pub struct Sight {
    /// The comment.
    pub comment: Arc<Comment>,
    /// What a voter did with it, if one was asked about: before they were erased too.
    pub set: u8,
    epoch: u64,
}

/// What a request wants of a comment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Wish {
    /// A voter's like, to stand or not.
    Like(VoterId, bool),
    /// A voter's report; so many hide it.
    Report(VoterId, u32),
    /// What an erased voter did with it counts on without them.
    Unname(VoterId),
    /// Another change.
    Change(CommentChange),
}

impl Comments {
    /// Over tables that contain the whole log. Requests with keys of the last day and times of posts within the pause are read
    /// back, so that a retry after a restart finds its comment. `slow_ms`: the least time between two comments of a voter on a clip.
    pub fn open(store: Arc<dyn Store>, now_ms: u64, slow_ms: u64) -> Result<Self, Fault> {
        let mut live = Live::new(slow_ms);
        let mut newest_first: Vec<CommentId> = Vec::new();
        let mut stored = Backwards::<CommentId>::new(store.as_ref(), Seq::MAX, 0);
        // The newest so many, whatever their times are: one from a clock that was wrong must not hide those before it.
        for _ in 0..requests::KEPT_MAX {
            let Some(id) = stored.next_item()? else { break };
            if id.at.saturating_add(requests::KEEP_MS.max(slow_ms)) > now_ms {
                newest_first.push(id);
            }
        }
        newest_first.iter().rev().for_each(|id| live.load(id, now_ms));
        Ok(Self { store, live: Mutex::new(live) })
    }

    /// A comment by its id, and what `voter` did with it.
    pub fn sight(&self, id: Seq, voter: Option<VoterId>) -> Result<Option<Sight>, Fault> {
        let (epoch, held, mark) = {
            let live = self.live.lock();
            (live.epoch(), live.get(id), voter.and_then(|voter| live.mark(id, voter)))
        };
        let comment = match held {
            Some(comment) => comment,
            None => match self.stored(id)? {
                Some(comment) => Arc::new(comment),
                None => return Ok(None),
            },
        };
        let set = match (mark, voter) {
            (Some(set), _) => set,
            (None, Some(voter)) => self.stored_mark(id, voter)?,
            (None, None) => 0,
        };
        Ok(Some(Sight { comment, set, epoch }))
    }

    /// What became of an earlier request with this key, if one is known: `Again`, `RequestInFlight` or `OtherBody`.
    pub fn earlier(&self, request: RequestKey, now_ms: u64) -> Option<Claim> {
        self.live.lock().earlier(request, now_ms)
    }

    /// Claims a post, below a comment that was sighted if it is a reply. `send` enqueues it without blocking; `false` if the
    /// queue is full.
    pub fn claim_post(
        &self,
        at: u64,
        place: (VoterId, crate::domain::ClipNo),
        parent: Option<&Sight>,
        request: Option<RequestKey>,
        send: impl FnOnce() -> bool,
    ) -> Claim {
        self.live.lock().claim_post(at, place, parent, request, send)
    }

    /// Claims a change of a comment that was sighted. `send` enqueues the event that it is given without blocking.
    pub fn claim(&self, sight: &Sight, wish: Wish, send: impl FnOnce(Event) -> bool) -> Claim {
        let place = sight.comment.place;
        let event = |change| Event::CommentChanged(place, change);
        let mut live = self.live.lock();
        match wish {
            Wish::Like(voter, on) => {
                let change = if on { CommentChange::Liked(voter) } else { CommentChange::Unliked(voter) };
                live.claim_mark(sight, voter, (LIKED, on), || send(event(change)))
            }
            Wish::Report(voter, hides_at) => {
                let change = CommentChange::Reported { voter, hides_at };
                live.claim_mark(sight, voter, (REPORTED, true), || send(event(change)))
            }
            Wish::Unname(voter) => {
                live.claim_unname(sight, voter, |set| send(event(CommentChange::Unnamed { voter, set })))
            }
            Wish::Change(change) => live.claim_change(sight, change, || send(event(change))),
        }
    }

    /// Takes in a decided event of a comment, in log order; `None` if it changes nothing or the log's order refused it.
    pub fn settle(&self, seq: Seq, at: u64, event: &Event, refused: bool) -> Option<Settled> {
        let mut live = self.live.lock();
        match event {
            Event::CommentPosted(post) if refused => {
                live.release_post(at, post);
                None
            }
            Event::CommentPosted(post) => Some(live.settle_post(seq, at, post)),
            Event::CommentChanged(of, change) if refused => {
                live.release(*of, change);
                None
            }
            Event::CommentChanged(of, change) => live.settle_change(seq, *of, change),
            _ => None,
        }
    }

    /// Lets go of what the tables contain, and of clips that nobody has looked at for an hour.
    pub fn forget(&self, applied: Seq, now_ms: u64) {
        // In slices: settlement and requests wait for the lock.
        while self.live.lock().forget(applied, now_ms) {}
    }

    /// The author that others know by a public name; looks through every comment, the newest first.
    pub fn author_named(&self, public: &str, key: &VoterKey) -> Result<Option<VoterId>, Fault> {
        let held = self.live.lock().authors();
        if let Some(voter) = held.into_iter().find(|voter| key.public(*voter) == public) {
            return Ok(Some(voter));
        }
        let mut stored = Backwards::<CommentId>::new(self.store.as_ref(), Seq::MAX, 0);
        let mut last = None;
        while let Some(id) = stored.next_item()? {
            // Neighbours are often of one author.
            if last != Some(id.author) && key.public(id.author) == public {
                return Ok(Some(id.author));
            }
            last = Some(id.author);
        }
        Ok(None)
    }

    /// Comments and changes in memory: (not stored yet or in flight, kept for readers).
    pub fn held(&self) -> (usize, usize) {
        self.live.lock().held()
    }

    fn stored(&self, id: Seq) -> Result<Option<Comment>, Fault> {
        match ranges::find::<CommentId>(self.store.as_ref(), id)? {
            Some(found) => ranges::find::<Comment>(self.store.as_ref(), found.place),
            None => Ok(None),
        }
    }

    fn stored_mark(&self, id: Seq, voter: VoterId) -> Result<u8, Fault> {
        let set = |voter| {
            let mark = ranges::find::<Mark>(self.store.as_ref(), (id, voter))?;
            Ok::<_, Fault>(mark.map_or(0, |mark| mark.set))
        };
        // The emptied one last: what is looked for moves from the one to the other.
        Ok(set(voter)? | set(voter.emptied(id))? << EMPTIED)
    }
}

/// Whether someone may see a comment's text.
pub fn may_see(comment: &Comment, viewer: Option<VoterId>) -> bool {
    match comment.status {
        CommentStatus::Visible => true,
        CommentStatus::Pending => viewer == Some(comment.author),
        CommentStatus::Reported | CommentStatus::Hidden | CommentStatus::Deleted => false,
    }
}

/// The place of a clip's own comments below every id.
fn below(place: CommentRef, id: Seq) -> CommentRef {
    CommentRef { id, ..place }
}
