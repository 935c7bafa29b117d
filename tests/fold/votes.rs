//! Votes and retractions of the model: which stand, and what they count.

use std::collections::BTreeMap;

use plaudit::domain::{Clip, ClipNo, Event, NetworkHash, Origin, Retraction, Seq, SlotStatus, Vote, VoteKind, VoterId};
use plaudit::fold::{Ballot, Stored};

use crate::model::Model;

impl Model {
    pub(crate) fn vote(&mut self, voter: VoterId, clip: u32, weight: u16) {
        if self.clips.is_empty() {
            return;
        }
        let Clip { no: clip, slot, .. } = self.clips[clip as usize % self.clips.len()];
        let open = self.slots[slot.index()].status == SlotStatus::Voting;
        if !open || self.standing.contains_key(&(voter, clip)) || self.banned(voter) {
            return;
        }
        let day = 19_675 + u16::from(weight.is_multiple_of(5));
        let kind = [VoteKind::Standard, VoteKind::Super, VoteKind::Mega][usize::from(weight % 3)];
        let vote = Vote { voter, clip, slot, kind, weight, day };
        // Half of them as an embedder casts them.
        let network = NetworkHash::of(u64::from(weight / 3).to_be_bytes());
        let origin = if weight.is_multiple_of(2) { Origin { risk: voter.0[0], network } } else { Origin::default() };
        let (seq, at) = self.push(Event::voted(vote, origin));
        self.standing.insert((voter, clip), Retraction { voter, clip, slot, vote: seq, weight, day });
        self.ballots.entry(slot).or_default().push(Stored { seq, at, ballot: Ballot::cast(&vote, origin) });
    }

    pub(crate) fn retract(&mut self, nth: usize) {
        let Some((key, back)) = self.standing.iter().nth(nth % self.standing.len().max(1)) else { return };
        let (key, back) = (*key, *back);
        if self.slots[back.slot.index()].status != SlotStatus::Voting {
            return;
        }
        let (seq, at) = self.push(Event::Retracted(back));
        if !self.stands_for(back.vote) {
            self.uncounted.insert(seq);
        }
        self.standing.remove(&key);
        self.ballots.entry(back.slot).or_default().push(Stored { seq, at, ballot: Ballot::taken_back(&back) });
    }

    /// Whether no void takes a vote out.
    pub(crate) fn stands_for(&self, vote: Seq) -> bool {
        self.in_force.values().all(|(_, votes)| !votes.contains(&vote))
    }

    /// Votes and weight of every clip that has or had a vote.
    pub(crate) fn counts(&self) -> BTreeMap<ClipNo, (u64, u64)> {
        let mut counts = BTreeMap::new();
        for vote in self.standing.values().filter(|vote| self.stands_for(vote.vote)) {
            let (votes, weight) = counts.entry(vote.clip).or_default();
            *votes += 1;
            *weight += u64::from(vote.weight);
        }
        counts
    }
}
