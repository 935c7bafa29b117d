//! Comments, read the plain way: what a log's events of them come to one by one, and whether tables say the same. Knows nothing of
//! pages, and of an event nothing but what stood before it. Never: a verdict; what it is given is taken in.

use std::collections::{BTreeMap, BTreeSet};

use plaudit::domain::{
    ClipNo, Comment, CommentChange, CommentPost, CommentRef, CommentStatus, Event, ModerationQueue, Profile,
    RequestKey, Seq, Verdict, VoterId,
};
use plaudit::fold::Tables;
use plaudit::fold::comments::{LIKED, REPORTED};
use proptest::prelude::*;

/// What a comment must come to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Plain {
    pub(crate) clip: ClipNo,
    pub(crate) parent: Seq,
    pub(crate) depth: u8,
    pub(crate) author: VoterId,
    pub(crate) profile: Profile,
    pub(crate) text: String,
    pub(crate) request: Option<RequestKey>,
    pub(crate) status: CommentStatus,
    pub(crate) likes: BTreeSet<VoterId>,
    pub(crate) reporters: BTreeSet<VoterId>,
    /// What stands of voters who were erased, by what is in their place.
    pub(crate) nameless: BTreeMap<VoterId, u8>,
    /// Since the last approval.
    pub(crate) reports: u32,
    /// How often a reply to it became visible.
    pub(crate) ever: u32,
}

impl Plain {
    /// What a voter did with it, in their own name.
    pub(crate) fn mark(&self, voter: VoterId) -> u8 {
        let set = |of: &BTreeSet<VoterId>, flag| if of.contains(&voter) { flag } else { 0 };
        set(&self.likes, LIKED) | set(&self.reporters, REPORTED)
    }

    /// Whether a voter's like or report stands, with their name or without.
    pub(crate) fn has(&self, id: Seq, voter: VoterId, flag: u8) -> bool {
        let nameless = self.nameless.get(&voter.emptied(id)).copied().unwrap_or(0);
        (self.mark(voter) | nameless) & flag != 0
    }

    /// Likes that stand.
    pub(crate) fn liked(&self) -> u32 {
        let nameless = self.nameless.values().filter(|set| **set & LIKED != 0);
        u32::try_from(self.likes.len() + nameless.count()).expect("few")
    }

    /// Where it is.
    pub(crate) fn place(&self, id: Seq) -> CommentRef {
        CommentRef { clip: self.clip, parent: self.parent, id }
    }

    /// What is stored of it says the same.
    pub(crate) fn check(&self, id: Seq, stored: &Comment) {
        let of = (stored.place, stored.depth, stored.author, stored.status);
        assert_eq!(of, (self.place(id), self.depth, self.author, self.status), "comment {id}");
        assert_eq!((&stored.profile, &stored.text), (&self.profile, &self.text), "comment {id}");
        assert_eq!((stored.likes, stored.reports), (self.liked(), self.reports), "likes, reports of {id}");
    }

    /// Where moderators find it.
    pub(crate) fn queue(&self) -> Option<ModerationQueue> {
        match self.status {
            CommentStatus::Pending => Some(ModerationQueue::Pending),
            CommentStatus::Reported => Some(ModerationQueue::Reported),
            CommentStatus::Visible if self.reports > 0 => Some(ModerationQueue::Reported),
            CommentStatus::Hidden => Some(ModerationQueue::Hidden),
            CommentStatus::Visible | CommentStatus::Deleted => None,
        }
    }
}

/// All of them, by their ids.
#[derive(Clone, Debug, Default)]
pub(crate) struct Comments(pub(crate) BTreeMap<Seq, Plain>);

impl Comments {
    /// Where one is.
    pub(crate) fn place(&self, id: Seq) -> CommentRef {
        self.0[&id].place(id)
    }

    /// Takes in an event of the log, if it is about comments.
    pub(crate) fn take(&mut self, seq: Seq, event: &Event) {
        match event {
            Event::CommentPosted(post) => self.post(seq, post),
            Event::CommentChanged(of, change) => self.change(of.id, change),
            _ => {}
        }
    }

    fn post(&mut self, id: Seq, post: &CommentPost) {
        let CommentPost { clip, parent, depth, author, request, .. } = *post;
        let (profile, text) = (post.profile.clone(), post.text.clone());
        let (likes, reporters, nameless) = (BTreeSet::new(), BTreeSet::new(), BTreeMap::new());
        // Nobody has seen it yet.
        let status = CommentStatus::Pending;
        let (reports, ever) = (0, 0);
        let plain = Plain {
            clip,
            parent,
            depth,
            author,
            profile,
            text,
            request,
            status,
            likes,
            reporters,
            nameless,
            reports,
            ever,
        };
        self.0.insert(id, plain);
        if !post.held {
            self.turn(id, CommentStatus::Visible);
        }
    }

    fn change(&mut self, id: Seq, change: &CommentChange) {
        let plain = self.0.get_mut(&id).expect("it was posted");
        match change {
            CommentChange::Liked(who) => drop(plain.likes.insert(*who)),
            CommentChange::Unliked(who) => drop(plain.likes.remove(who)),
            CommentChange::Reported { voter, hides_at } => {
                plain.reporters.insert(*voter);
                plain.reports += 1;
                if plain.status == CommentStatus::Visible && plain.reports >= *hides_at {
                    self.turn(id, CommentStatus::Reported);
                }
            }
            CommentChange::Deleted { .. } => self.delete(id),
            CommentChange::Moderated(Verdict::Approve) => {
                plain.reports = 0;
                self.turn(id, CommentStatus::Visible);
            }
            CommentChange::Moderated(Verdict::Hide) => self.turn(id, CommentStatus::Hidden),
            CommentChange::Emptied => {
                (plain.author, plain.request) = (VoterId::NOBODY, None);
                self.delete(id);
            }
            CommentChange::Unnamed { voter, .. } => {
                let liked = if plain.likes.remove(voter) { LIKED } else { 0 };
                let reported = if plain.reporters.remove(voter) { REPORTED } else { 0 };
                *plain.nameless.entry(voter.emptied(id)).or_default() |= liked | reported;
            }
        }
    }

    fn delete(&mut self, id: Seq) {
        let plain = self.0.get_mut(&id).expect("it was posted");
        (plain.profile, plain.text) = (Profile::default(), String::new());
        self.turn(id, CommentStatus::Deleted);
    }

    fn turn(&mut self, id: Seq, status: CommentStatus) {
        let plain = self.0.get_mut(&id).expect("it was posted");
        let was = std::mem::replace(&mut plain.status, status);
        let appears = was != CommentStatus::Visible && status == CommentStatus::Visible;
        if let Some(parent) = Some(plain.parent).filter(|parent| appears && *parent != 0) {
            self.0.get_mut(&parent).expect("it was answered").ever += 1;
        }
    }

    /// The tables of comments say what these are: each comment, where it is and whose, who liked and reported it, ranks, queues and
    /// counts, and nothing else.
    pub(crate) fn check(&self, tables: &Tables) -> Result<(), TestCaseError> {
        let mut seen = BTreeSet::new();
        tables.each_comment(|comment| {
            let id = comment.place.id;
            assert!(seen.insert(id), "comment {id} is there twice");
            self.0.get(&id).unwrap_or_else(|| panic!("comment {id} was never posted")).check(id, &comment);
            Ok(())
        })?;
        prop_assert_eq!(seen.len(), self.0.len());
        self.check_ids_and_marks(tables)?;
        self.check_ranks_and_queues(tables)?;
        self.check_counts(tables)
    }

    fn check_ids_and_marks(&self, tables: &Tables) -> Result<(), TestCaseError> {
        let mut ids = BTreeMap::new();
        tables.each_comment_id(|id| {
            assert!(ids.insert(id.place.id, (id.place, id.author, id.request)).is_none(), "an id is there once");
            Ok(())
        })?;
        let wanted = self.0.iter().map(|(id, plain)| (*id, (self.place(*id), plain.author, plain.request)));
        prop_assert_eq!(ids, wanted.collect::<BTreeMap<_, _>>());

        let mut marks = BTreeMap::new();
        tables.each_mark(|mark| {
            assert!(marks.insert((mark.comment, mark.voter), mark.set).is_none(), "a mark is there once");
            Ok(())
        })?;
        let mut wanted: BTreeMap<(Seq, VoterId), u8> = BTreeMap::new();
        for (id, plain) in &self.0 {
            plain.likes.iter().for_each(|who| *wanted.entry((*id, *who)).or_default() |= LIKED);
            plain.reporters.iter().for_each(|who| *wanted.entry((*id, *who)).or_default() |= REPORTED);
            plain.nameless.iter().for_each(|(who, set)| *wanted.entry((*id, *who)).or_default() |= *set);
        }
        prop_assert_eq!(marks, wanted);
        Ok(())
    }

    fn check_ranks_and_queues(&self, tables: &Tables) -> Result<(), TestCaseError> {
        let (mut ranks, mut queued) = (BTreeSet::new(), BTreeSet::new());
        tables.each_rank(|rank| {
            assert!(ranks.insert((rank.place, rank.likes)), "a rank is there once");
            Ok(())
        })?;
        prop_assert_eq!(ranks, self.0.iter().map(|(id, plain)| (self.place(*id), plain.liked())).collect());
        tables.each_queued(|one| {
            assert!(queued.insert((one.queue, one.place)), "a comment is queued once");
            Ok(())
        })?;
        let waits = |(id, plain): (&Seq, &Plain)| plain.queue().map(|queue| (queue, self.place(*id)));
        prop_assert_eq!(queued, self.0.iter().filter_map(waits).collect());
        Ok(())
    }

    fn check_counts(&self, tables: &Tables) -> Result<(), TestCaseError> {
        let (mut by_clip, mut by_parent) = (BTreeMap::new(), BTreeMap::<Seq, u32>::new());
        for plain in self.0.values().filter(|plain| plain.status == CommentStatus::Visible) {
            *by_clip.entry(plain.clip).or_insert(0) += 1;
            *by_parent.entry(plain.parent).or_default() += 1;
        }
        let (mut counts, mut replies) = (BTreeMap::new(), BTreeMap::new());
        tables.each_comment_count(|clip, count| {
            if count > 0 {
                counts.insert(clip, count);
            }
        })?;
        prop_assert_eq!(counts, by_clip);
        tables.each_replies(|one| {
            assert_eq!(one.clip, self.0[&one.id].clip);
            replies.insert(one.id, (one.visible, one.ever));
            Ok(())
        })?;
        let answered = self.0.iter().filter(|(_, plain)| plain.ever > 0);
        let wanted = answered.map(|(id, plain)| (*id, (by_parent.get(id).copied().unwrap_or(0), plain.ever)));
        prop_assert_eq!(replies, wanted.collect::<BTreeMap<_, _>>());
        Ok(())
    }
}
