//! A plain reading of the log, against which the engine's answers are held. Never: anything of the program's own rules.

use std::collections::{BTreeMap, BTreeSet};

use plaudit::domain::{ClipNo, CommentChange, CommentStatus, Event, Logged, Seq, Verdict, VoterId};

/// The plain reading of a log: nothing in it knows of erasures but that comments of the erased are deleted.
#[derive(Default)]
pub(crate) struct Naive {
    pub(crate) clips: BTreeMap<ClipNo, String>,
    /// Votes that stand: whose, for what, the weight, the day.
    pub(crate) votes: BTreeMap<Seq, (VoterId, ClipNo, u64, u16)>,
    under_way: BTreeSet<Seq>,
    in_force: BTreeMap<Seq, BTreeSet<Seq>>,
    pub(crate) comments: BTreeMap<Seq, NaiveComment>,
}

pub(crate) struct NaiveComment {
    pub(crate) clip: ClipNo,
    pub(crate) status: CommentStatus,
    pub(crate) likes: u32,
    pub(crate) reports: u32,
}

impl Naive {
    pub(crate) fn read(history: &[Logged]) -> Self {
        let mut naive = Self::default();
        for logged in history {
            naive.take(logged);
        }
        naive
    }

    fn take(&mut self, Logged { seq, event, .. }: &Logged) {
        match event {
            Event::ClipAdded(clip) => drop(self.clips.insert(clip.no, clip.id.to_string())),
            Event::Voted(vote) | Event::VotedFrom(vote, _) => {
                self.votes.insert(*seq, (vote.voter, vote.clip, vote.weight.into(), vote.day));
            }
            Event::Retracted(back) => drop(self.votes.remove(&back.vote).expect("it stood")),
            Event::Started | Event::VoidBegun(_) => self.under_way.clear(),
            Event::VotesNamed(part) => self.under_way.extend(part.votes.iter().map(|vote| vote.seq)),
            Event::VoidTaken { void, .. } => drop(self.in_force.insert(*void, std::mem::take(&mut self.under_way))),
            Event::VoidLifted { void, .. } => drop(self.in_force.remove(void)),
            Event::CommentPosted(post) => {
                let new = NaiveComment { clip: post.clip, status: CommentStatus::Visible, likes: 0, reports: 0 };
                self.comments.insert(*seq, new);
            }
            Event::CommentChanged(of, change) => {
                let one = self.comments.get_mut(&of.id).unwrap();
                if one.status == CommentStatus::Deleted {
                    return;
                }
                match change {
                    CommentChange::Deleted { .. } | CommentChange::Emptied => one.status = CommentStatus::Deleted,
                    CommentChange::Liked(_) => one.likes += 1,
                    CommentChange::Unliked(_) => one.likes -= 1,
                    CommentChange::Reported { hides_at, .. } => {
                        one.reports += 1;
                        if one.status == CommentStatus::Visible && one.reports >= *hides_at {
                            one.status = CommentStatus::Reported;
                        }
                    }
                    CommentChange::Moderated(Verdict::Hide) => one.status = CommentStatus::Hidden,
                    CommentChange::Moderated(Verdict::Approve) => {
                        (one.status, one.reports) = (CommentStatus::Visible, 0);
                    }
                    CommentChange::Unnamed { .. } => {}
                }
            }
            _ => {}
        }
    }

    pub(crate) fn counts(&self, clip: ClipNo) -> (u64, u64) {
        let counts = |vote: &Seq| self.in_force.values().all(|votes| !votes.contains(vote));
        let of = self.votes.iter().filter(|(vote, (_, of, ..))| *of == clip && counts(vote));
        of.fold((0, 0), |(votes, weight), (_, (_, _, more, _))| (votes + 1, weight + more))
    }

    /// What a voter used of a day.
    pub(crate) fn used(&self, voter: VoterId, day: u16) -> u64 {
        self.votes
            .values()
            .filter(|(of, _, _, charged)| (*of, *charged) == (voter, day))
            .map(|(_, _, weight, _)| weight)
            .sum()
    }
}
