//! What is true of comments and not in the tables yet, what requests have in flight, and the newest comments of clips that
//! someone looks at. One structure under one lock.
//!
//! A comment that is here is as settlement left it, so it goes before whatever a page says. It stays while a change of it
//! is not in the tables, while a request has it in flight, or while its clip is looked at.
//!
//! Here is what is held and when it is let go of; how it comes is in [`claims`] and [`settle`], what readers want of it in
//! [`looked`]. Never: a page read, a wait, a clock.

mod claims;
mod looked;
mod settle;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use hashbrown::HashMap;

use super::requests::{KEEP_MS, Requests, Slow};
use crate::domain::{ClipNo, Comment, CommentRef, Seq, VoterId};
use crate::fold::comments::CommentId;

pub use claims::Claim;
use looked::Looked;
pub(super) use looked::{NEWEST, View};
pub use settle::Settled;

/// Changes that are let go of under one hold of the lock.
const FORGET_SLICE: usize = 1_024;

#[derive(Debug)]
struct Held {
    comment: Arc<Comment>,
    /// The last sequence that changed it; 0: as the tables have it.
    last: Seq,
    /// Requests in flight that will change it: settlement must find it here.
    pins: u32,
}

/// A voter's like and report of a comment.
#[derive(Clone, Copy, Debug)]
struct HeldMark {
    /// Past [`EMPTIED`](crate::fold::comments::EMPTIED) what counts on without them.
    set: u8,
    /// In flight.
    moving: u8,
    last: Seq,
}

/// Something to look at again once the tables contain its sequence.
#[derive(Clone, Copy, Debug)]
enum Stored {
    Comment(Seq),
    Mark(Seq, VoterId),
    Replies(Seq),
}

/// See the top of this file.
#[derive(Debug)]
pub(super) struct Live {
    comments: BTreeMap<CommentRef, Held>,
    places: HashMap<Seq, CommentRef>,
    marks: HashMap<(Seq, VoterId), HeldMark>,
    /// By the comment that is answered: one more is visible, or one less, at which sequence.
    replies: HashMap<Seq, Vec<(Seq, i8)>>,
    changes: VecDeque<(Seq, Stored)>,
    in_flight: usize,
    /// Grows whenever something leaves that is in the tables now.
    epoch: u64,
    applied: Seq,
    looked: HashMap<ClipNo, Looked>,
    requests: Requests,
    slow: Slow,
}

impl Live {
    pub(super) fn new(slow_ms: u64) -> Self {
        Self {
            comments: BTreeMap::new(),
            places: HashMap::new(),
            marks: HashMap::new(),
            replies: HashMap::new(),
            changes: VecDeque::new(),
            in_flight: 0,
            epoch: 0,
            applied: 0,
            looked: HashMap::new(),
            requests: Requests::default(),
            slow: Slow::new(slow_ms),
        }
    }

    /// Takes in what a stored comment says of its request and time, oldest first.
    pub(super) fn load(&mut self, id: &CommentId, now_ms: u64) {
        if let Some(request) = id.request
            && id.at.saturating_add(KEEP_MS) > now_ms
        {
            self.requests.finish(request, id.at, id.place.id);
        }
        let of = (id.author, id.place.clip);
        self.slow.note(of, id.at);
        self.slow.forget(now_ms);
    }

    pub(super) fn epoch(&self) -> u64 {
        self.epoch
    }

    pub(super) fn get(&self, id: Seq) -> Option<Arc<Comment>> {
        self.places.get(&id).map(|place| Arc::clone(&self.comments[place].comment))
    }

    /// What a voter did with a comment, as far as that is known here.
    pub(super) fn mark(&self, id: Seq, voter: VoterId) -> Option<u8> {
        self.marks.get(&(id, voter)).map(|mark| mark.set)
    }

    /// Changes of a comment's replies that a page may not contain: those past its last sequence count.
    pub(super) fn replies(&self, id: Seq) -> &[(Seq, i8)] {
        self.replies.get(&id).map_or(&[], Vec::as_slice)
    }

    pub(super) fn authors(&self) -> Vec<VoterId> {
        self.comments.values().map(|held| held.comment.author).collect()
    }

    pub(super) fn held(&self) -> (usize, usize) {
        (self.changes.len() + self.in_flight, self.looked.values().map(|looked| looked.ids.len()).sum())
    }

    /// Lets go of what the tables contain up to `applied`, and of what nobody has looked at; whether there is more to let go.
    pub(super) fn forget(&mut self, applied: Seq, now_ms: u64) -> bool {
        self.requests.forget(now_ms);
        self.slow.forget(now_ms);
        if applied > self.applied {
            self.applied = applied;
            self.epoch += 1;
        }
        let due = |changes: &VecDeque<(Seq, Stored)>| changes.front().is_some_and(|(seq, _)| *seq <= applied);
        let mut left = FORGET_SLICE;
        while due(&self.changes) && left > 0 {
            left -= 1;
            match self.changes.pop_front().expect("there is a front").1 {
                Stored::Comment(id) => self.drop_stored(id),
                Stored::Mark(id, voter) => {
                    if self.marks.get(&(id, voter)).is_some_and(|mark| mark.moving == 0 && mark.last <= applied) {
                        self.marks.remove(&(id, voter));
                    }
                }
                Stored::Replies(id) => {
                    if let Some(steps) = self.replies.get_mut(&id) {
                        steps.retain(|(seq, _)| *seq > applied);
                        if steps.is_empty() {
                            self.replies.remove(&id);
                        }
                    }
                }
            }
        }
        self.look_away_from_old(now_ms);
        self.trim_looked();
        due(&self.changes)
    }

    /// Lets go of a comment that nothing holds here.
    fn drop_stored(&mut self, id: Seq) {
        let Some(place) = self.places.get(&id) else { return };
        let held = &self.comments[place];
        let looked = || {
            let looked = self.looked.get(&place.clip).filter(|_| place.parent == 0);
            looked.is_some_and(|looked| looked.ids.front().is_some_and(|first| *first <= id))
        };
        if held.pins == 0 && held.last <= self.applied && !looked() {
            self.comments.remove(place);
            self.places.remove(&id);
        }
    }
}
