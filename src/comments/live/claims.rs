//! Claims: what requests want is decided and enqueued under one hold of the lock, so that the log's order is that of claims.
//!
//! A comment that a change in flight concerns is pinned, so that settlement finds it here. Never: a claim that rests on what may
//! have changed since it was read, or one past the bound.

use std::sync::Arc;

use super::{Held, HeldMark, Live};
use crate::comments::Sight;
use crate::comments::requests::Turn;
use crate::domain::{ClipNo, Comment, CommentChange, CommentStatus, RequestKey, Seq, VoterId};
use crate::fold::comments::{EMPTIED, LIKED, REPORTED};

/// Changes that the tables don't contain and requests in flight, together, at most: with a comment of full length each,
/// about 100 MB. Past it a new one is refused as overloaded.
const HELD_MAX: usize = 32_768;

/// What became of a claim. Nothing was changed unless it was sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Claim {
    /// Enqueued.
    Sent,
    /// It is so already.
    Already,
    /// A change that this depends on is in flight: wait and ask again.
    InFlight,
    /// What it rests on may have changed: read again.
    Stale,
    /// The comment is deleted, or can't be seen.
    Gone,
    /// The queue, or what is held here, is full.
    Full,
    /// This request came to this comment before.
    Again(Seq),
    /// A request with this key is under way.
    RequestInFlight,
    /// The key came with another body.
    OtherBody,
    /// The voter has to wait, milliseconds.
    TooSoon(u64),
}

impl Live {
    pub(in crate::comments) fn earlier(&mut self, request: RequestKey, now_ms: u64) -> Option<Claim> {
        self.requests.forget(now_ms);
        match self.requests.turn(request) {
            Turn::First => None,
            Turn::Again(id) => Some(Claim::Again(id)),
            Turn::InFlight => Some(Claim::RequestInFlight),
            Turn::OtherBody => Some(Claim::OtherBody),
        }
    }

    pub(in crate::comments) fn claim_post(
        &mut self,
        at: u64,
        of: (VoterId, ClipNo),
        parent: Option<&Sight>,
        request: Option<RequestKey>,
        send: impl FnOnce() -> bool,
    ) -> Claim {
        if let Some(claim) = request.and_then(|request| self.earlier(request, at)) {
            return claim;
        }
        // A deletion that is in flight still is the judge's to meet; one that was settled since the sighting is ours.
        if let Some(sight) = parent {
            match self.current(sight) {
                None => return Claim::Stale,
                Some(parent) if !parent.is_visible() => return Claim::Gone,
                Some(_) => {}
            }
        }
        self.slow.forget(at);
        let wait = self.slow.wait(of, at);
        if wait > 0 {
            return Claim::TooSoon(wait);
        }
        if !self.has_room() || !send() {
            return Claim::Full;
        }
        self.in_flight += 1;
        self.slow.note(of, at);
        if let Some(request) = request {
            self.requests.begin(request);
        }
        Claim::Sent
    }

    /// A voter's like (to stand or not) or report.
    pub(in crate::comments) fn claim_mark(
        &mut self,
        sight: &Sight,
        voter: VoterId,
        (which, on): (u8, bool),
        send: impl FnOnce() -> bool,
    ) -> Claim {
        let id = sight.comment.place.id;
        let Some(mut mark) = self.current_mark(sight, voter) else { return Claim::Stale };
        if mark.moving & which != 0 {
            return Claim::InFlight;
        }
        let comment = self.get(id).unwrap_or_else(|| Arc::clone(&sight.comment));
        // What is hidden can still lose a like that stands: nothing is kept of a voter who takes it back. Nobody else hears
        // that it is there.
        let takes_back = which == LIKED && !on && mark.set & LIKED != 0 && comment.status != CommentStatus::Deleted;
        if !(comment.is_visible() || takes_back) {
            return Claim::Gone;
        }
        // What counts of a voter who was erased counts once: erasures must not make one voter many.
        if (mark.set & which != 0) == on || (on && mark.set >> EMPTIED & which != 0) {
            return Claim::Already;
        }
        if !self.has_room() || !send() {
            return Claim::Full;
        }
        mark.moving |= which;
        self.marks.insert((id, voter), mark);
        self.pin(sight);
        Claim::Sent
    }

    /// What an erased voter did with a comment, whatever it is now, loses them.
    pub(in crate::comments) fn claim_unname(
        &mut self,
        sight: &Sight,
        voter: VoterId,
        send: impl FnOnce(u8) -> bool,
    ) -> Claim {
        let id = sight.comment.place.id;
        let Some(mut mark) = self.current_mark(sight, voter) else { return Claim::Stale };
        if mark.moving != 0 {
            return Claim::InFlight;
        }
        let set = mark.set & (LIKED | REPORTED);
        if set == 0 {
            return Claim::Already;
        }
        if !self.has_room() || !send(set) {
            return Claim::Full;
        }
        mark.moving = LIKED | REPORTED;
        self.marks.insert((id, voter), mark);
        self.pin(sight);
        Claim::Sent
    }

    /// A deletion, or a moderator's word; or an author's erasure, which reaches what is deleted too.
    pub(in crate::comments) fn claim_change(
        &mut self,
        sight: &Sight,
        change: CommentChange,
        send: impl FnOnce() -> bool,
    ) -> Claim {
        let id = sight.comment.place.id;
        let Some(comment) = self.current(sight) else { return Claim::Stale };
        if comment.status == CommentStatus::Deleted && change.needs_comment() {
            return Claim::Gone;
        }
        let mut after = Comment::clone(&comment);
        after.take(&change);
        // Another word may be in flight; then this one is sent too, and the later one holds.
        if after == *comment && !self.is_pinned(id) {
            return Claim::Already;
        }
        if !self.has_room() || !send() {
            return Claim::Full;
        }
        self.pin(sight);
        Claim::Sent
    }

    fn has_room(&self) -> bool {
        self.changes.len() + self.in_flight < HELD_MAX
    }

    fn is_stale(&self, sight: &Sight) -> bool {
        sight.epoch != self.epoch
    }

    /// What was sighted, as it is now; `None` if it must be read again.
    fn current(&self, sight: &Sight) -> Option<Arc<Comment>> {
        let held = self.get(sight.comment.place.id);
        held.or_else(|| (!self.is_stale(sight)).then(|| Arc::clone(&sight.comment)))
    }

    /// What a voter did with what was sighted, as it is now; `None` if it must be read again.
    fn current_mark(&self, sight: &Sight, voter: VoterId) -> Option<HeldMark> {
        let id = sight.comment.place.id;
        let known = self.marks.get(&(id, voter)).copied();
        if self.is_stale(sight) && (known.is_none() || !self.places.contains_key(&id)) {
            return None;
        }
        Some(known.unwrap_or(HeldMark { set: sight.set, moving: 0, last: 0 }))
    }

    fn is_pinned(&self, id: Seq) -> bool {
        self.places.get(&id).is_some_and(|place| self.comments[place].pins > 0)
    }

    fn pin(&mut self, sight: &Sight) {
        let place = sight.comment.place;
        self.in_flight += 1;
        self.places.insert(place.id, place);
        let held = || Held { comment: Arc::clone(&sight.comment), last: 0, pins: 0 };
        self.comments.entry(place).or_insert_with(held).pins += 1;
    }
}
