//! What is true of comments and not in the tables yet, what requests have in flight, and the newest comments of clips that
//! someone looks at. One structure under one lock.
//!
//! A comment that is here is as settlement left it, so it goes before whatever a page says. It stays while a change of it
//! is not in the tables, while a request has it in flight, or while its clip is looked at.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use hashbrown::HashMap;

use super::requests::{KEEP_MS, Requests, Slow, Turn};
use super::{Sight, below};
use crate::domain::{ClipNo, Comment, CommentChange, CommentPost, CommentRef, CommentStatus, RequestKey, Seq, VoterId};
use crate::fold::comments::{CommentId, EMPTIED, LIKED, REPORTED};

/// Changes that the tables don't contain and requests in flight, together, at most: with a comment of full length each,
/// about 100 MB. Past it a new one is refused as overloaded.
const HELD_MAX: usize = 32_768;
/// Comments of a clip that are kept while someone looks at it.
pub(super) const NEWEST: usize = 100;
/// How long after the last look, milliseconds.
const LOOKED_AT_MS: u64 = 3_600_000;
/// Comments kept for readers at most, over all clips: those of the clip that nobody has looked at the longest go first.
const KEPT_MAX: usize = 32_768;

/// Changes that are let go of under one hold of the lock.
const FORGET_SLICE: usize = 1_024;

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
    /// Past [`EMPTIED`] what counts on without them.
    set: u8,
    /// In flight.
    moving: u8,
    last: Seq,
}

/// A clip that someone looks at: its own comments from `ids`' first on are all here.
#[derive(Debug)]
struct Looked {
    at: u64,
    ids: VecDeque<Seq>,
    /// There are none before them.
    whole: bool,
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

/// What a reader takes along before it reads pages.
#[derive(Debug, Default)]
pub(super) struct View {
    /// Comments, in the reader's order.
    pub(super) comments: Vec<Arc<Comment>>,
    /// There may be more here, past the last of them in that order.
    pub(super) cut: bool,
    /// From this id on everything is in `comments`, and no page needs to be read.
    pub(super) all_from: Option<Seq>,
    pub(super) epoch: u64,
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

    pub(super) fn earlier(&mut self, request: RequestKey, now_ms: u64) -> Option<Claim> {
        self.requests.forget(now_ms);
        match self.requests.turn(request) {
            Turn::First => None,
            Turn::Again(id) => Some(Claim::Again(id)),
            Turn::InFlight => Some(Claim::RequestInFlight),
            Turn::OtherBody => Some(Claim::OtherBody),
        }
    }

    pub(super) fn claim_post(
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

    pub(super) fn release_post(&mut self, at: u64, post: &CommentPost) {
        self.in_flight -= 1;
        self.slow.release((post.author, post.clip), at);
        if let Some(request) = post.request {
            self.requests.release(request);
        }
    }

    pub(super) fn settle_post(&mut self, seq: Seq, at: u64, post: &CommentPost) -> Settled {
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

    /// A voter's like (to stand or not) or report.
    pub(super) fn claim_mark(
        &mut self,
        sight: &Sight,
        voter: VoterId,
        (which, on): (u8, bool),
        send: impl FnOnce() -> bool,
    ) -> Claim {
        let id = sight.comment.place.id;
        let known = self.marks.get(&(id, voter)).copied();
        if self.is_stale(sight) && (known.is_none() || !self.places.contains_key(&id)) {
            return Claim::Stale;
        }
        let mut mark = known.unwrap_or(HeldMark { set: sight.set, moving: 0, last: 0 });
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
    pub(super) fn claim_unname(&mut self, sight: &Sight, voter: VoterId, send: impl FnOnce(u8) -> bool) -> Claim {
        let id = sight.comment.place.id;
        let known = self.marks.get(&(id, voter)).copied();
        if self.is_stale(sight) && (known.is_none() || !self.places.contains_key(&id)) {
            return Claim::Stale;
        }
        let mut mark = known.unwrap_or(HeldMark { set: sight.set, moving: 0, last: 0 });
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
    pub(super) fn claim_change(&mut self, sight: &Sight, change: CommentChange, send: impl FnOnce() -> bool) -> Claim {
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

    pub(super) fn settle_change(&mut self, seq: Seq, of: CommentRef, change: &CommentChange) -> Option<Settled> {
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

    pub(super) fn release(&mut self, of: CommentRef, change: &CommentChange) {
        self.end_mark(of.id, change, None);
        self.unpin(of);
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
        let over: Vec<ClipNo> = self
            .looked
            .iter()
            .filter(|(_, looked)| looked.at.saturating_add(LOOKED_AT_MS) <= now_ms)
            .map(|(clip, _)| *clip)
            .collect();
        for clip in over {
            self.look_away(clip);
        }
        self.trim_looked();
        due(&self.changes)
    }

    /// Newest first, of one parent, from just below an id on. Notes that someone looks.
    pub(super) fn newest(&mut self, of: CommentRef, limit: usize, now_ms: u64) -> View {
        let mut view = View { epoch: self.epoch, ..View::default() };
        if of.parent == 0
            && let Some(looked) = self.looked.get_mut(&of.clip)
        {
            looked.at = looked.at.max(now_ms);
            view.all_from = if looked.whole { Some(0) } else { looked.ids.front().copied() };
        }
        let held = self.comments.range(below(of, 0)..of).rev().map(|(_, held)| Arc::clone(&held.comment));
        view.comments = held.take(limit).collect();
        view.cut = view.comments.len() == limit;
        view
    }

    /// Oldest first, of one parent, from just past an id on.
    pub(super) fn oldest(&self, of: CommentRef, limit: usize) -> View {
        let range = (std::ops::Bound::Excluded(of), std::ops::Bound::Included(below(of, Seq::MAX)));
        let held = self.comments.range(range).map(|(_, held)| Arc::clone(&held.comment));
        let comments: Vec<_> = held.take(limit).collect();
        View { cut: comments.len() == limit, comments, all_from: None, epoch: self.epoch }
    }

    /// All of one parent that are here.
    pub(super) fn all(&self, of: CommentRef) -> Vec<Arc<Comment>> {
        let held = self.comments.range(below(of, 0)..=below(of, Seq::MAX));
        held.map(|(_, held)| Arc::clone(&held.comment)).collect()
    }

    /// Everything here that moderators look through.
    pub(super) fn queued(&self) -> Vec<Arc<Comment>> {
        self.comments.values().map(|held| Arc::clone(&held.comment)).collect()
    }

    /// Keeps a clip's newest comments from here on: `newest` is all of them from some id on, newest first, as of `epoch`.
    pub(super) fn keep(&mut self, clip: ClipNo, newest: &[Arc<Comment>], whole: bool, epoch: u64, now_ms: u64) {
        if self.epoch != epoch || self.looked.contains_key(&clip) {
            return;
        }
        for comment in newest {
            let place = comment.place;
            self.places.insert(place.id, place);
            let held = || Held { comment: Arc::clone(comment), last: 0, pins: 0 };
            self.comments.entry(place).or_insert_with(held);
        }
        let oldest = match (whole, newest.last()) {
            (true, _) => 0,
            (false, Some(oldest)) => oldest.place.id,
            (false, None) => return,
        };
        // Those that came since are here as well: nothing of this epoch has left.
        let of = CommentRef { clip, parent: 0, id: oldest };
        let ids = self.comments.range(of..=below(of, Seq::MAX)).map(|(place, _)| place.id).collect();
        self.looked.insert(clip, Looked { at: now_ms, ids, whole });
        self.trim_looked();
        while self.looked.len() > 1 && self.looked.values().map(|looked| looked.ids.len()).sum::<usize>() > KEPT_MAX {
            let least = self.looked.iter().min_by_key(|(_, looked)| looked.at).map(|(clip, _)| *clip);
            if let Some(clip) = least {
                self.look_away(clip);
            }
        }
    }

    /// Whether a clip's newest comments are kept.
    pub(super) fn is_looked_at(&self, clip: ClipNo) -> bool {
        self.looked.contains_key(&clip)
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

    fn look_away(&mut self, clip: ClipNo) {
        if let Some(looked) = self.looked.remove(&clip) {
            for id in looked.ids {
                self.drop_stored(id);
            }
        }
    }

    /// Holds each clip that is looked at to its newest comments.
    fn trim_looked(&mut self) {
        let mut gone = Vec::new();
        for looked in self.looked.values_mut().filter(|looked| looked.ids.len() > NEWEST) {
            let over = looked.ids.len() - NEWEST;
            gone.extend(looked.ids.drain(..over));
            looked.whole = false;
        }
        for id in gone {
            self.drop_stored(id);
        }
    }
}
