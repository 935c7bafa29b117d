//! Erasures of the model: they take names from clips, masks and comments, and change no count of votes.

use plaudit::domain::{CLIPS_AT_ONCE, ClipNo, ErasurePart, Event, Seq, VoterId};

use crate::model::{Erasure, Model};
use crate::verbs::Verb;

impl Model {
    pub(crate) fn search(&mut self, erasure: Seq) {
        if self.erasures[&erasure].searched.is_none() {
            self.empty(erasure, 1);
            let (seq, _) = self.push(Event::ErasureWent { erasure, part: ErasurePart::Searched });
            self.erasures.get_mut(&erasure).expect("it goes on").searched = Some(seq);
        }
    }

    /// Counts of votes, ballots and bans are what they were, whoever is erased.
    pub(crate) fn erase(&mut self, verb: Verb) {
        let under_way: Vec<Seq> =
            self.erasures.iter().filter(|(_, erasure)| erasure.ended.is_none()).map(|(id, _)| *id).collect();
        let one = |nth: usize| under_way.get(nth % under_way.len().max(1)).copied();
        match verb {
            Verb::EraseBegin { who, masked } => {
                let known = self.masked.values().map(|(_, voter)| *voter).filter(|voter| *voter != VoterId::NOBODY);
                let known: Vec<VoterId> = known.filter(|_| masked).collect();
                let known = known.get(usize::from(who) % known.len().max(1)).copied();
                let (voter, day) = (known.unwrap_or_else(|| Self::voter(who.into())), 19_675);
                let clips = ClipNo(u32::try_from(self.clips.len()).expect("few"));
                let (id, at) = self.push(Event::ErasureBegun { voter, day, clips });
                let new = Erasure { voter: Some(voter), at, day, clips, searched: None, ended: None };
                self.erasures.insert(id, new);
            }
            Verb::EraseClips { nth, every, owners } => {
                let Some(erasure) = one(nth) else { return };
                let before = self.erasures[&erasure].clips;
                let theirs = self.clips.iter_mut().filter(|clip| clip.no < before);
                let mut clips = Vec::new();
                for clip in theirs.skip(nth % every).step_by(every).take(CLIPS_AT_ONCE) {
                    (clip.draft.username, clip.draft.avatar_url) = (None, None);
                    if owners {
                        clip.draft.owner = None;
                    }
                    clips.push(clip.no);
                }
                self.push(Event::ErasureWent { erasure, part: ErasurePart::Clips { clips, owners } });
            }
            Verb::EraseComments { nth, every } => {
                if let Some(id) = one(nth).filter(|id| self.erasures[id].searched.is_none()) {
                    self.empty(id, every);
                }
            }
            Verb::EraseSearched { nth } => {
                if let Some(id) = one(nth) {
                    self.search(id);
                }
            }
            _ => {
                let Verb::EraseEnd { nth } = verb else { unreachable!("{verb:?} is no erasure's") };
                let Some(id) = one(nth) else { return };
                self.search(id);
                let (seq, _) = self.push(Event::ErasureEnded(id));
                let erasure = self.erasures.get_mut(&id).expect("it goes on");
                let voter = erasure.voter.take().expect("it goes on");
                erasure.ended = Some(seq);
                for (_, (_, of)) in self.masked.range_mut(..id).filter(|(_, (_, of))| *of == voter) {
                    *of = VoterId::NOBODY;
                }
            }
        }
    }
}
