//! Comments of the random logs: posted, liked, reported, judged, deleted, and emptied by erasures, as the engine would let them be.
//! What they come to is for `support/plain.rs` to say. Never: a change that a claim would refuse.

use plaudit::domain::{
    ClipNo, CommentChange, CommentPost, CommentStatus, Event, Profile, RequestKey, Seq, Verdict, VoterId,
};
use plaudit::fold::comments::{LIKED, REPORTED};
use proptest::prelude::*;

use crate::model::Model;
use crate::plain::Plain;

/// So many reports hide a comment.
const HIDES_AT: u32 = 2;

/// What is said. Which comment, by its number among all.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Said {
    /// Of a clip, or in answer to a comment; some of them, by one voter each, fill pages.
    Posts {
        who: u16,
        clip: u32,
        to: Option<usize>,
        count: u16,
        length: u16,
    },
    Like {
        nth: usize,
        who: u16,
    },
    /// By as many voters who do nothing else.
    Fans {
        nth: usize,
        count: u16,
    },
    Unlike {
        nth: usize,
    },
    Report {
        nth: usize,
        who: u16,
    },
    Delete {
        nth: usize,
        by_author: bool,
    },
    Judge {
        nth: usize,
        approve: bool,
    },
}

pub(crate) fn said() -> impl Strategy<Value = Said> {
    let (some, who) = (any::<usize>, 0_u16..40);
    let count = prop_oneof![6 => Just(1_u16), 1 => 1_u16..60];
    prop_oneof![
        14 => (who.clone(), any::<u32>(), prop::option::of(some()), count, 1_u16..500)
            .prop_map(|(who, clip, to, count, length)| Said::Posts { who, clip, to, count, length }),
        14 => (some(), who.clone()).prop_map(|(nth, who)| Said::Like { nth, who }),
        1 => (some(), 1_u16..400).prop_map(|(nth, count)| Said::Fans { nth, count }),
        5 => some().prop_map(|nth| Said::Unlike { nth }),
        8 => (some(), who).prop_map(|(nth, who)| Said::Report { nth, who }),
        4 => (some(), any::<bool>()).prop_map(|(nth, by_author)| Said::Delete { nth, by_author }),
        5 => (some(), any::<bool>()).prop_map(|(nth, approve)| Said::Judge { nth, approve }),
    ]
}

impl Model {
    /// A comment by its number among all; none while there are none.
    fn comment(&self, nth: usize) -> Option<(Seq, &Plain)> {
        let all = &self.comments.0;
        all.iter().nth(nth % all.len().max(1)).map(|(id, plain)| (*id, plain))
    }

    fn change(&mut self, id: Seq, change: CommentChange) {
        let event = Event::CommentChanged(self.comments.place(id), change);
        self.comments.take(self.next().0, &event);
        self.push(event);
    }

    pub(crate) fn say(&mut self, said: Said) {
        use CommentStatus::{Deleted, Visible};
        let stands = |(_, plain): &(Seq, &Plain)| plain.status != Deleted;
        match said {
            Said::Posts { who, clip, to, count, length } => {
                let to = to.and_then(|nth| self.comment(nth));
                let to = to.filter(|(_, plain)| plain.status == Visible && plain.depth < 5);
                let (clip, parent, depth) = match to {
                    Some((id, plain)) => (plain.clip, id, plain.depth + 1),
                    None => (self.clip_to_talk_of(clip), 0, 0),
                };
                for n in 0..count {
                    self.post(clip, (parent, depth), Self::voter(u32::from((who + n) % 40)), length);
                }
            }
            Said::Like { nth, who } => self.like(nth, Self::voter(who.into())),
            Said::Fans { nth, count } => {
                (0..u32::from(count)).for_each(|n| self.like(nth, Self::voter(100_000 + n)));
            }
            Said::Unlike { nth } => {
                let Some((id, plain)) = self.comment(nth).filter(stands) else { return };
                // Any of them.
                let who = plain.likes.iter().nth(nth % 7).or(plain.likes.first()).copied();
                if let Some(who) = who {
                    self.change(id, CommentChange::Unliked(who));
                }
            }
            Said::Report { nth, who } => {
                let voter = Self::voter(who.into());
                let Some((id, plain)) = self.comment(nth) else { return };
                if plain.status == Visible && !plain.has(id, voter, REPORTED) && !self.banned(voter) {
                    self.change(id, CommentChange::Reported { voter, hides_at: HIDES_AT });
                }
            }
            Said::Delete { nth, by_author } => {
                let Some((id, plain)) = self.comment(nth).filter(stands) else { return };
                let by = by_author.then_some(plain.author);
                self.change(id, CommentChange::Deleted { by });
            }
            Said::Judge { nth, approve } => {
                let Some((id, _)) = self.comment(nth).filter(stands) else { return };
                self.change(id, CommentChange::Moderated(if approve { Verdict::Approve } else { Verdict::Hide }));
            }
        }
    }

    /// Mostly one of the first, so that there is enough of each; the others lie in other pages of counts.
    fn clip_to_talk_of(&self, clip: u32) -> ClipNo {
        let among = if clip.is_multiple_of(4) { self.clips.len() } else { 3 };
        self.clips[clip as usize % among].no
    }

    fn post(&mut self, clip: ClipNo, (parent, depth): (Seq, u8), author: VoterId, length: u16) {
        if self.banned(author) {
            return;
        }
        let (seq, _) = self.next();
        let n = u8::try_from(seq % 251).expect("small");
        let post = CommentPost {
            clip,
            parent,
            depth,
            author,
            profile: Profile::cut(Some(&format!("Voter {n}")), None),
            text: "déjà vu ".chars().cycle().take(length.into()).collect(),
            held: n.is_multiple_of(5),
            request: n.is_multiple_of(2).then_some(RequestKey { key: [n; 16], body: [n; 16] }),
        };
        let event = Event::CommentPosted(Box::new(post));
        self.comments.take(seq, &event);
        self.push(event);
    }

    fn like(&mut self, nth: usize, who: VoterId) {
        let Some((id, plain)) = self.comment(nth) else { return };
        if plain.status == CommentStatus::Visible && !plain.has(id, who, LIKED) && !self.banned(who) {
            self.change(id, CommentChange::Liked(who));
        }
    }

    /// One in `every` of the comments that an erasure's voter wrote before it, and of their likes and reports, loses them.
    pub(crate) fn empty(&mut self, erasure: Seq, every: usize) {
        let voter = self.erasures[&erasure].voter.expect("it goes on");
        let before = self.comments.0.range(..erasure);
        let theirs: Vec<Seq> = before.filter(|(_, plain)| plain.author == voter).map(|(id, _)| *id).collect();
        theirs.into_iter().step_by(every).for_each(|id| self.change(id, CommentChange::Emptied));
        let marked = self.comments.0.iter().map(|(id, plain)| (*id, plain.mark(voter))).filter(|(_, set)| *set != 0);
        let marked: Vec<(Seq, u8)> = marked.collect();
        for (id, set) in marked.into_iter().step_by(every) {
            self.change(id, CommentChange::Unnamed { voter, set });
        }
    }
}
