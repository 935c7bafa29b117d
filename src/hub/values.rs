//! The values of which viewers need the newest alone: counts of clips and slots, likes of comments. Held back until their
//! interval has passed, and read or taken only then.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use super::conflate::Cooling;
use super::intake::Likes;
use super::queue::{Kind, Wakes};
use super::{Core, Frame, Position, counts};
use crate::domain::{ClipNo, SlotNo};

/// A comment of a channel.
type Comment = (Arc<str>, u64);

pub(super) struct Values {
    core: Arc<Core>,
    clips: Cooling<ClipNo>,
    slots: Cooling<SlotNo>,
    /// Parts of slots that have changed and were not sent since.
    parts: HashMap<SlotNo, BTreeSet<usize>>,
    likes: Cooling<Comment>,
    /// Likes that were not sent yet.
    liked: HashMap<Comment, Likes>,
}

impl Values {
    pub(super) fn new(core: Arc<Core>) -> Self {
        let (clip_every, slot_every) = (core.settings.clip_every_ms, core.settings.slot_every_ms);
        Self {
            core,
            clips: Cooling::new(clip_every),
            slots: Cooling::new(slot_every),
            parts: HashMap::new(),
            likes: Cooling::new(slot_every),
            liked: HashMap::new(),
        }
    }

    /// A clip's counts have changed.
    pub(super) fn counted(&mut self, clip: ClipNo) {
        self.clips.mark(&clip);
        let Some(now) = self.core.counts.clip_now(clip) else { return };
        self.slots.mark(&now.slot);
        self.parts.entry(now.slot).or_default().insert(now.place / counts::PART);
    }

    /// Every count of a slot is to be sent.
    pub(super) fn revealed(&mut self, slot: SlotNo) {
        let Some(now) = self.core.counts.slot_now(slot) else { return };
        self.slots.mark(&slot);
        self.parts.entry(slot).or_default().extend(0..now.clips.div_ceil(counts::PART));
        for from in (0..now.clips).step_by(counts::PART) {
            for (id, ..) in self.core.counts.counts_of(slot, from, counts::PART).into_iter().flatten() {
                if let Some(clip) = self.core.counts.clip(id.as_str()) {
                    self.clips.mark(&clip);
                }
            }
        }
    }

    /// A comment's likes have changed.
    pub(super) fn liked(&mut self, likes: Likes) {
        let comment = (Arc::clone(&likes.channel), likes.comment);
        self.likes.mark(&comment);
        self.liked.insert(comment, likes);
    }

    /// How long until the next one can be due, in milliseconds; `None`: not before something changes.
    pub(super) fn next_in(&self, now_ms: u64) -> Option<u64> {
        let due = [self.clips.next_in(now_ms), self.slots.next_in(now_ms), self.likes.next_in(now_ms)];
        due.into_iter().flatten().min()
    }

    /// Sends what is due, or, at the end, `all`; how many get it. `last`: the last position that was given.
    pub(super) fn send(&mut self, all: bool, last: Position, wakes: &mut Wakes) -> usize {
        let core = Arc::clone(&self.core);
        let now_ms = core.clock.now_ms();
        let due_at = |every: u64| if all { now_ms.saturating_add(every) } else { now_ms };
        let mut sent = 0;
        for clip in self.clips.due(due_at(core.settings.clip_every_ms)) {
            if let Some(now) = core.counts.clip_now(clip) {
                sent += self.show(&format!("clip-{}", now.id), 0, wakes);
            }
        }
        for slot in self.slots.due(due_at(core.settings.slot_every_ms)) {
            let parts = self.parts.remove(&slot).unwrap_or_default();
            if let Some(now) = core.counts.slot_now(slot) {
                let name = format!("slot-{}-{}", now.season, now.position);
                sent += parts.into_iter().map(|part| self.show(&name, part, wakes)).sum::<usize>();
            }
        }
        for comment in self.likes.due(due_at(core.settings.slot_every_ms)) {
            if let Some(likes) = self.liked.remove(&comment) {
                sent += self.send_likes(&likes, last, now_ms, wakes);
            }
        }
        sent
    }

    fn show(&self, name: &str, part: usize, wakes: &mut Wakes) -> usize {
        let core = &self.core;
        core.directory.change(name, |channel, state| counts::show(core, channel, state, part, wakes)).unwrap_or(0)
    }

    /// Kept for those who come back, so a channel that nobody is on is made for them.
    fn send_likes(&self, likes: &Likes, last: Position, now_ms: u64, wakes: &mut Wakes) -> usize {
        let core = &self.core;
        let sent = core.directory.make(&likes.channel, |channel, state| {
            let Likes { comment, count, seq, .. } = *likes;
            let data = format!(r#"{{"commentId":"{comment}","likesCount":{count},"seq":{seq}}}"#);
            let frame = Arc::new(Frame::event(Arc::clone(&channel.name), "comment-updated", data));
            state.keep_likes(comment, last, now_ms, &frame, &core.kept);
            let place = channel.place(Kind::Likes, comment);
            state.send_latest(place, &frame, || Arc::clone(&frame), None, wakes)
        });
        sent.unwrap_or_else(|_| {
            core.directory.raise_absent(last);
            0
        })
    }
}
