//! What readers find here, and the newest comments of clips that someone looks at, which are kept for them.
//!
//! While a clip is looked at, its own comments from some id on are all here, and a reader of those reads no page. Never: more of
//! them than the bounds say, or a page read.

use std::collections::VecDeque;
use std::sync::Arc;

use super::{Held, Live};
use crate::comments::below;
use crate::domain::{ClipNo, Comment, CommentRef, Seq};

/// Comments of a clip that are kept while someone looks at it.
pub(in crate::comments) const NEWEST: usize = 100;
/// How long after the last look, milliseconds.
const LOOKED_AT_MS: u64 = 3_600_000;
/// Comments kept for readers at most, over all clips: those of the clip that nobody has looked at the longest go first.
const KEPT_MAX: usize = 32_768;

/// A clip that someone looks at: its own comments from `ids`' first on are all here.
#[derive(Debug)]
pub(super) struct Looked {
    at: u64,
    pub(super) ids: VecDeque<Seq>,
    /// There are none before them.
    whole: bool,
}

/// What a reader takes along before it reads pages.
#[derive(Debug, Default)]
pub(in crate::comments) struct View {
    /// Comments, in the reader's order.
    pub(in crate::comments) comments: Vec<Arc<Comment>>,
    /// There may be more here, past the last of them in that order.
    pub(in crate::comments) cut: bool,
    /// From this id on everything is in `comments`, and no page needs to be read.
    pub(in crate::comments) all_from: Option<Seq>,
    pub(in crate::comments) epoch: u64,
}

impl Live {
    /// Newest first, of one parent, from just below an id on. Notes that someone looks.
    pub(in crate::comments) fn newest(&mut self, of: CommentRef, limit: usize, now_ms: u64) -> View {
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
    pub(in crate::comments) fn oldest(&self, of: CommentRef, limit: usize) -> View {
        let range = (std::ops::Bound::Excluded(of), std::ops::Bound::Included(below(of, Seq::MAX)));
        let held = self.comments.range(range).map(|(_, held)| Arc::clone(&held.comment));
        let comments: Vec<_> = held.take(limit).collect();
        View { cut: comments.len() == limit, comments, all_from: None, epoch: self.epoch }
    }

    /// All of one parent that are here.
    pub(in crate::comments) fn all(&self, of: CommentRef) -> Vec<Arc<Comment>> {
        let held = self.comments.range(below(of, 0)..=below(of, Seq::MAX));
        held.map(|(_, held)| Arc::clone(&held.comment)).collect()
    }

    /// Everything here that moderators look through.
    pub(in crate::comments) fn queued(&self) -> Vec<Arc<Comment>> {
        self.comments.values().map(|held| Arc::clone(&held.comment)).collect()
    }

    /// Keeps a clip's newest comments from here on: `newest` is all of them from some id on, newest first, as of `epoch`.
    pub(in crate::comments) fn keep(
        &mut self,
        clip: ClipNo,
        newest: &[Arc<Comment>],
        whole: bool,
        epoch: u64,
        now_ms: u64,
    ) {
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
    pub(in crate::comments) fn is_looked_at(&self, clip: ClipNo) -> bool {
        self.looked.contains_key(&clip)
    }

    /// Lets go of clips that nobody has looked at for long.
    pub(super) fn look_away_from_old(&mut self, now_ms: u64) {
        let over: Vec<ClipNo> = self
            .looked
            .iter()
            .filter(|(_, looked)| looked.at.saturating_add(LOOKED_AT_MS) <= now_ms)
            .map(|(clip, _)| *clip)
            .collect();
        for clip in over {
            self.look_away(clip);
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
    pub(super) fn trim_looked(&mut self) {
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
