//! Lists of comments: a clip's own or a comment's replies, newest, oldest or most liked first, a page at a time.
//!
//! A cursor is a place in the order, not a number of comments, so what comes or goes before it moves nothing behind it. What
//! a page costs doesn't depend on how many comments there are: it looks at a bounded number, and where most of those can't
//! be shown it is shorter than was asked for, and says where to go on.

use std::cmp::Reverse;
use std::sync::Arc;

use hashbrown::HashSet;

use super::live::{NEWEST, View};
use super::{Comments, below, may_see};
use crate::domain::{ClipNo, Comment, CommentRef, CommentStatus, ModerationQueue, Seq, VoterId};
use crate::error::Fault;
use crate::fold::comments::{LIKED, Queued, REPORTED, Rank, Replies};
use crate::fold::ranges::{Backwards, Forwards, find, page_of};

/// Comments that are looked at for one page, at most.
const EXAMINED_MAX: usize = 1_000;
/// Comments that are taken along from memory for one page, at most.
const TAKEN_MAX: usize = 256;
/// Pages of the store that are read for one page of a list, at most.
const PAGES_MAX: usize = 64;
/// Replies that a list shows below each comment.
const FIRST_REPLIES: usize = 3;

/// The order of a list.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Order {
    /// By id, falling.
    Newest,
    /// By id, rising.
    Oldest,
    /// By likes, then by id, falling.
    Top,
}

/// A place in an order: a page goes on behind it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Cursor {
    /// Ids below it.
    Below(Seq),
    /// Ids past it.
    Past(Seq),
    /// Fewer likes, or as many and a smaller id.
    Under(u32, Seq),
}

/// A comment with what a viewer needs beside it.
#[derive(Clone, Debug)]
pub struct Found {
    /// The comment.
    pub comment: Arc<Comment>,
    /// Its replies that everyone can see.
    pub replies: u32,
    /// What the viewer did with it.
    pub set: u8,
}

/// A comment and the first of its replies.
#[derive(Clone, Debug)]
pub struct Thread {
    /// The comment.
    pub of: Found,
    /// Its first replies, oldest first.
    pub first: Vec<Found>,
}

/// A page of a list.
#[derive(Clone, Debug, Default)]
pub struct Page {
    /// In the list's order.
    pub threads: Vec<Thread>,
    /// Where the next page begins; `None` behind the last.
    pub next: Option<Cursor>,
}

/// Comments that were found, and where to go on.
type Stretch = (Vec<Arc<Comment>>, Option<Cursor>);

impl Comments {
    /// A page of a clip's comments (`parent` 0) or of a comment's replies, for a viewer if one is known. A cursor of another
    /// order begins at the front.
    #[allow(clippy::too_many_arguments, reason = "what a request asks for, each once")]
    pub fn list(
        &self,
        clip: ClipNo,
        parent: Seq,
        order: Order,
        after: Option<Cursor>,
        limit: usize,
        viewer: Option<VoterId>,
        now_ms: u64,
    ) -> Result<Page, Fault> {
        let of = CommentRef { clip, parent, id: 0 };
        let (comments, next) = match (order, after) {
            (Order::Newest, Some(Cursor::Below(id))) => self.newest(below(of, id), limit, viewer, now_ms)?,
            (Order::Newest, _) => {
                if parent == 0 {
                    self.look_at(of, now_ms)?;
                }
                self.newest(below(of, Seq::MAX), limit, viewer, now_ms)?
            }
            (Order::Oldest, Some(Cursor::Past(id))) => self.oldest(below(of, id), limit, viewer)?,
            (Order::Oldest, _) => self.oldest(of, limit, viewer)?,
            (Order::Top, Some(Cursor::Under(likes, id))) => self.top(of, (likes, id), limit, viewer)?,
            (Order::Top, _) => self.top(of, (u32::MAX, Seq::MAX), limit, viewer)?,
        };
        let threads = comments.into_iter().map(|comment| self.thread(comment, viewer)).collect::<Result<_, _>>()?;
        Ok(Page { threads, next })
    }

    /// A comment with what stands beside it.
    pub fn found(&self, comment: Arc<Comment>, viewer: Option<VoterId>) -> Result<Found, Fault> {
        let replies = self.replies(&comment)?.visible;
        let id = comment.place.id;
        let set = match viewer {
            None => 0,
            Some(voter) => {
                let held = self.live.lock().mark(id, voter);
                // What counts on without them is theirs no more.
                held.map_or_else(|| self.stored_mark(id, voter), Ok)? & (LIKED | REPORTED)
            }
        };
        Ok(Found { comment, replies, set })
    }

    /// What moderators look through, oldest first.
    pub fn queue(
        &self,
        queue: ModerationQueue,
        past: Seq,
        limit: usize,
    ) -> Result<(Vec<Arc<Comment>>, Option<Seq>), Fault> {
        let held = self.live.lock().queued();
        // What is here is newer than what the pages say of it.
        let known: HashSet<Seq> = held.iter().map(|comment| comment.place.id).collect();
        let here = |comment: &Arc<Comment>| comment.queue() == Some(queue) && comment.place.id > past;
        let mut found: Vec<Arc<Comment>> = held.into_iter().filter(&here).collect();
        let mut stored = Forwards::<Queued>::new(self.store.as_ref(), (queue, past), (queue, Seq::MAX));
        let mut taken = 0;
        while let Some(queued) = stored.next_item()? {
            if known.contains(&queued.place.id) {
                continue;
            }
            // It may have left the queue between the two reads.
            let comment = find::<Comment>(self.store.as_ref(), queued.place)?.map(Arc::new);
            if let Some(comment) = comment.filter(&here) {
                found.push(comment);
                taken += 1;
                if taken > limit {
                    break;
                }
            }
        }
        found.sort_unstable_by_key(|comment| comment.place.id);
        let more = found.len() > limit;
        found.truncate(limit);
        let next = found.last().filter(|_| more).map(|last| last.place.id);
        Ok((found, next))
    }

    fn thread(&self, comment: Arc<Comment>, viewer: Option<VoterId>) -> Result<Thread, Fault> {
        let of = self.found(comment, viewer)?;
        let place = of.comment.place;
        // A viewer may have replies that only they can see; those count for nobody.
        let first = if of.replies > 0 || viewer.is_some() {
            self.oldest(CommentRef { clip: place.clip, parent: place.id, id: 0 }, FIRST_REPLIES, viewer)?.0
        } else {
            Vec::new()
        };
        let first = first.into_iter().map(|reply| self.found(reply, viewer)).collect::<Result<_, _>>()?;
        Ok(Thread { of, first })
    }

    /// Counts of a comment's replies: the page's, and what it does not contain yet.
    fn replies(&self, comment: &Comment) -> Result<Replies, Fault> {
        let CommentRef { clip, id, .. } = comment.place;
        let steps: Vec<(Seq, i8)> = self.live.lock().replies(id).to_vec();
        let page = page_of::<Replies>(self.store.as_ref(), (clip, id))?;
        let (mut replies, last) = page.map_or((Replies::none(clip, id), 0), |stored| {
            let found = stored.page.items.binary_search_by_key(&(clip, id), |item| (item.clip, item.id));
            (found.map_or(Replies::none(clip, id), |at| stored.page.items[at]), stored.page.last)
        });
        steps.into_iter().filter(|(seq, _)| *seq > last).for_each(|(_, by)| replies.add(by));
        Ok(replies)
    }

    /// Whether a list shows a comment: its text, or its place where replies stand below it.
    pub fn shows(&self, comment: &Comment, viewer: Option<VoterId>) -> Result<bool, Fault> {
        if may_see(comment, viewer) {
            return Ok(true);
        }
        Ok(comment.status != CommentStatus::Pending && self.replies(comment)?.ever > 0)
    }

    /// From just below `of` on downwards.
    fn newest(&self, of: CommentRef, limit: usize, viewer: Option<VoterId>, now_ms: u64) -> Result<Stretch, Fault> {
        let view = self.live.lock().newest(of, TAKEN_MAX, now_ms);
        let mut merged = Downwards::new(self, of, view);
        let (mut shown, mut last) = (Vec::new(), of.id);
        let mut examined = 0;
        loop {
            if examined == EXAMINED_MAX || merged.stored.pages() > PAGES_MAX {
                return Ok((shown, Some(Cursor::Below(last))));
            }
            let comment = match merged.next()? {
                Next::Comment(comment) => comment,
                Next::Cut => return Ok((shown, Some(Cursor::Below(last)))),
                Next::End => return Ok((shown, None)),
            };
            examined += 1;
            if self.shows(&comment, viewer)? {
                if shown.len() == limit {
                    return Ok((shown, Some(Cursor::Below(last))));
                }
                last = comment.place.id;
                shown.push(comment);
            } else if shown.len() < limit {
                last = comment.place.id;
            }
        }
    }

    /// Reads a clip's newest comments to be kept, unless they are.
    fn look_at(&self, of: CommentRef, now_ms: u64) -> Result<(), Fault> {
        let from = below(of, Seq::MAX);
        let view = {
            let mut live = self.live.lock();
            if live.is_looked_at(of.clip) {
                return Ok(());
            }
            live.newest(from, NEWEST, now_ms)
        };
        let epoch = view.epoch;
        let mut merged = Downwards::new(self, from, view);
        let mut newest = Vec::with_capacity(NEWEST);
        let mut whole = false;
        while newest.len() < NEWEST {
            match merged.next()? {
                Next::Comment(comment) => newest.push(comment),
                Next::Cut => break,
                Next::End => {
                    whole = true;
                    break;
                }
            }
        }
        self.live.lock().keep(of.clip, &newest, whole, epoch, now_ms);
        Ok(())
    }

    /// From just past `of` on upwards.
    fn oldest(&self, of: CommentRef, limit: usize, viewer: Option<VoterId>) -> Result<Stretch, Fault> {
        let view = self.live.lock().oldest(of, TAKEN_MAX);
        let mut held = view.comments.into_iter().peekable();
        let mut stored = Forwards::<Comment>::new(self.store.as_ref(), of, below(of, Seq::MAX));
        let mut ahead = stored.next_item()?;
        let (mut shown, mut last) = (Vec::new(), of.id);
        for _ in 0..EXAMINED_MAX {
            if ahead.as_ref().zip(held.peek()).is_some_and(|(page, held)| page.place == held.place) {
                ahead = stored.next_item()?;
            }
            let from_page = match (held.peek(), &ahead) {
                (None, None) => {
                    return Ok((shown, view.cut.then_some(Cursor::Past(last))));
                }
                // Past what was taken along there may be newer versions of what the pages hold.
                (None, Some(_)) if view.cut => return Ok((shown, Some(Cursor::Past(last)))),
                (None, Some(_)) => true,
                (Some(_), None) => false,
                (Some(held), Some(page)) => page.place < held.place,
            };
            let comment =
                if from_page { std::mem::replace(&mut ahead, stored.next_item()?).map(Arc::new) } else { held.next() };
            let comment = comment.expect("one of them was there");
            if self.shows(&comment, viewer)? {
                if shown.len() == limit {
                    return Ok((shown, Some(Cursor::Past(last))));
                }
                last = comment.place.id;
                shown.push(comment);
            } else if shown.len() < limit {
                last = comment.place.id;
            }
            if stored.pages() > PAGES_MAX {
                break;
            }
        }
        Ok((shown, Some(Cursor::Past(last))))
    }

    /// From just under a rank on downwards.
    fn top(&self, of: CommentRef, under: (u32, Seq), limit: usize, viewer: Option<VoterId>) -> Result<Stretch, Fault> {
        let rank = |comment: &Comment| (comment.likes, comment.place.id);
        let mut held = self.live.lock().all(of);
        // What is here has its newest rank; the page's may be an older one.
        let known: HashSet<Seq> = held.iter().map(|comment| comment.place.id).collect();
        held.retain(|comment| rank(comment) < under);
        held.sort_unstable_by_key(|comment| Reverse(rank(comment)));
        let mut held = held.into_iter().peekable();
        let from = (of.clip, of.parent, under.0, under.1);
        let mut stored = Backwards::<Rank>::new(self.store.as_ref(), from, (of.clip, of.parent, 0, 0));
        let mut ahead = stored.next_item()?;
        let (mut shown, mut last) = (Vec::new(), under);
        for _ in 0..EXAMINED_MAX {
            let (at, comment) = match (held.peek().map(|comment| rank(comment)), ahead) {
                (None, None) => return Ok((shown, None)),
                // Of one rank what is here goes first: it is the same comment.
                (Some(here), page) if page.is_none_or(|page| (page.likes, page.place.id) <= here) => {
                    (here, held.next())
                }
                (_, page) => {
                    let page = page.expect("the pages are ahead");
                    ahead = stored.next_item()?;
                    let fresh = !known.contains(&page.place.id);
                    let found = if fresh { find::<Comment>(self.store.as_ref(), page.place)? } else { None };
                    ((page.likes, page.place.id), found.map(Arc::new))
                }
            };
            let shows = comment.as_deref().map_or(Ok(false), |comment| self.shows(comment, viewer))?;
            if shown.len() < limit {
                // Past what is not shown as well: a page always leads on.
                last = at;
                shown.extend(comment.filter(|_| shows));
            } else if shows {
                break;
            }
            if stored.pages() > PAGES_MAX {
                break;
            }
        }
        Ok((shown, Some(Cursor::Under(last.0, last.1))))
    }
}

/// What is here and what the pages hold, newest first, each comment once.
struct Downwards<'a> {
    held: std::iter::Peekable<std::vec::IntoIter<Arc<Comment>>>,
    cut: bool,
    stored: Backwards<'a, Comment>,
    /// Pages say nothing from this id on.
    from: Seq,
    ahead: Option<Comment>,
    read: bool,
}

enum Next {
    Comment(Arc<Comment>),
    /// There may be more that was not taken along.
    Cut,
    End,
}

impl<'a> Downwards<'a> {
    fn new(of: &'a Comments, from: CommentRef, view: View) -> Self {
        let pages_from = view.all_from.map_or(from.id, |all| all.min(from.id));
        let stored = Backwards::new(of.store.as_ref(), below(from, pages_from), below(from, 0));
        Self {
            held: view.comments.into_iter().peekable(),
            cut: view.cut,
            stored,
            from: pages_from,
            ahead: None,
            read: false,
        }
    }

    fn next(&mut self) -> Result<Next, Fault> {
        // What lies where all is here needs no page.
        if !self.read && self.held.peek().is_none_or(|held| held.place.id < self.from) {
            if self.held.peek().is_none() && self.cut {
                return Ok(Next::Cut);
            }
            self.ahead = self.stored.next_item()?;
            self.read = true;
        }
        if self.ahead.as_ref().zip(self.held.peek()).is_some_and(|(page, held)| page.place == held.place) {
            self.ahead = self.stored.next_item()?;
        }
        let from_page = match (self.held.peek(), &self.ahead) {
            (None, _) if self.cut => return Ok(Next::Cut),
            (None, None) => return Ok(Next::End),
            (None, Some(_)) => true,
            (Some(_), None) => false,
            (Some(held), Some(page)) => page.place > held.place,
        };
        let comment = if from_page {
            std::mem::replace(&mut self.ahead, self.stored.next_item()?).map(Arc::new)
        } else {
            self.held.next()
        };
        Ok(comment.map_or(Next::End, Next::Comment))
    }
}
