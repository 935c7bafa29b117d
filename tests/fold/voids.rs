//! Voids of the model: which votes each takes out, and what comes back when one is lifted.

use std::collections::{BTreeMap, BTreeSet};

use plaudit::domain::{Event, NAMED_AT_ONCE, NamedVote, NamedVotes, Seq, SlotStatus, VoidBy, VoidPlan};

use crate::model::Model;
use crate::verbs::Verb;

impl Model {
    pub(crate) fn end_void(&mut self) {
        if let Some((void, ..)) = self.under_way.take() {
            self.voids.get_mut(&void).expect("it has begun").2 = true;
        }
    }

    pub(crate) fn void(&mut self, verb: Verb) {
        match verb {
            Verb::VoidBegin { slot } => {
                let known = self.slots.get(slot as usize % self.slots.len().max(1));
                let Some(slot) = known.filter(|known| known.status >= SlotStatus::Voting).map(|known| known.slot.no)
                else {
                    return;
                };
                self.end_void();
                let plan = VoidPlan { slot, by: VoidBy::Flagged, reason: "why".into() };
                let (void, _) = self.push(Event::VoidBegun(Box::new(plan)));
                self.under_way = Some((void, slot, BTreeSet::new()));
                self.voids.insert(void, (0, false, false));
            }
            Verb::VoidName { every } => {
                let Some((void, slot, _)) = &self.under_way else { return };
                let (void, slot) = (*void, *slot);
                let times: BTreeMap<Seq, u64> =
                    self.ballots.get(&slot).into_iter().flatten().map(|stored| (stored.seq, stored.at)).collect();
                let of = self.standing.values().filter(|vote| vote.slot == slot && vote.vote < void);
                let votes: Vec<NamedVote> = of
                    .step_by(every)
                    .take(NAMED_AT_ONCE)
                    .map(|vote| NamedVote {
                        seq: vote.vote,
                        at: times[&vote.vote],
                        voter: vote.voter,
                        clip: vote.clip,
                        weight: vote.weight,
                        day: vote.day,
                    })
                    .collect();
                let named: Vec<Seq> = votes.iter().map(|vote| vote.seq).collect();
                self.push(Event::VotesNamed(Box::new(NamedVotes { void, slot, votes })));
                self.under_way.as_mut().expect("looked at above").2.extend(named);
            }
            Verb::VoidTake => {
                let Some((void, slot, mut votes)) = self.under_way.take() else { return };
                self.push(Event::VoidTaken { void, slot });
                let standing: BTreeSet<Seq> = self.standing.values().map(|vote| vote.vote).collect();
                votes.retain(|vote| standing.contains(vote));
                self.voids.get_mut(&void).expect("it has begun").0 = votes.len() as u64;
                for vote in self.standing.values().filter(|vote| votes.contains(&vote.vote)) {
                    self.masked.entry(vote.vote).or_insert((slot, vote.voter));
                }
                self.in_force.insert(void, (slot, votes));
            }
            Verb::VoidLift { nth } => {
                let in_force: Vec<Seq> = self.in_force.keys().copied().collect();
                let Some(void) = in_force.get(nth % in_force.len().max(1)) else { return };
                let (slot, votes) = self.in_force.remove(void).expect("just listed");
                let standing: BTreeSet<Seq> = self.standing.values().map(|vote| vote.vote).collect();
                let back: Vec<Seq> =
                    votes.into_iter().filter(|vote| self.stands_for(*vote) && standing.contains(vote)).collect();
                self.masked.retain(|vote, _| !back.contains(vote));
                self.push(Event::VoidLifted { void: *void, slot, reason: "why not".into() });
                self.voids.get_mut(void).expect("it has begun").1 = true;
            }
            _ => {
                self.push(Event::Started);
                self.end_void();
            }
        }
    }
}
