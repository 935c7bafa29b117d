//! Steps at random, and what each does to the world.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::world::{CLIPS, Lag, NOON, SLOTS, World, bounds, voter};
use super::*;
use crate::domain::NamedVote;
use crate::fold::Tables;

#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) enum Step {
    Vote {
        who: u8,
        clip: u32,
        weight: u16,
    },
    /// So many voters of their own for a clip.
    Crowd {
        clip: u32,
        voters: u16,
    },
    Retract {
        nth: usize,
    },
    /// The clip's newest vote goes back.
    RetractNewest {
        clip: u32,
    },
    /// The votes of a clip that stand, every `nth` of them, are voided; those of before are lifted if it says so.
    Void {
        clip: u32,
        nth: usize,
    },
    Lift {
        nth: usize,
    },
    Day,
    Clock(i64),
    Hide {
        slot: u32,
    },
    /// A slot is frozen and locked, and its blocks go.
    Lock {
        slot: u32,
        boards: Lag,
    },
    Apply,
    Restart,
    Look,
}

pub(super) fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        12 => (0_u8..12, 0..CLIPS, 1_u16..4).prop_map(|(who, clip, weight)| Step::Vote { who, clip, weight }),
        2 => (0..CLIPS, 1_u16..400).prop_map(|(clip, voters)| Step::Crowd { clip, voters }),
        5 => any::<usize>().prop_map(|nth| Step::Retract { nth }),
        3 => (0..CLIPS).prop_map(|clip| Step::RetractNewest { clip }),
        3 => (0..CLIPS, 1_usize..4).prop_map(|(clip, nth)| Step::Void { clip, nth }),
        2 => any::<usize>().prop_map(|nth| Step::Lift { nth }),
        1 => Just(Step::Day),
        2 => (-200_000_i64..400_000).prop_map(Step::Clock),
        1 => (0..SLOTS).prop_map(|slot| Step::Hide { slot }),
        1 => (0..SLOTS, prop::sample::select(vec![Lag::None, Lag::Half, Lag::All, Lag::Between]))
            .prop_map(|(slot, boards)| Step::Lock { slot, boards }),
        4 => Just(Step::Apply),
        1 => Just(Step::Restart),
        3 => Just(Step::Look),
    ]
}

impl World {
    pub(super) fn take(&mut self, step: Step) {
        match step {
            Step::Vote { who, clip, weight } => self.vote(voter(who.into()), clip, weight),
            Step::Crowd { clip, voters } => {
                for _ in 0..voters {
                    self.crowd += 1;
                    self.vote(voter(self.crowd), clip, 1);
                }
            }
            Step::Retract { nth } => {
                let back = |key: &&(VoterId, ClipNo)| !self.locked[(key.1.0 % SLOTS) as usize];
                let some: Vec<_> = self.standing.keys().filter(back).copied().collect();
                if let Some(key) = some.get(nth % some.len().max(1)) {
                    self.retract(*key);
                }
            }
            Step::RetractNewest { clip } => {
                let of = self.standing.iter().filter(|((_, of), _)| of.0 == clip);
                let of = of.filter(|_| !self.locked[(clip % SLOTS) as usize]);
                if let Some(key) = of.max_by_key(|(_, back)| back.vote).map(|(key, _)| *key) {
                    self.retract(key);
                }
            }
            Step::Void { clip, nth } => {
                let slot = SlotNo(clip % SLOTS);
                let times: BTreeMap<Seq, u64> = self.ballots.iter().map(|(seq, at, ..)| (*seq, *at)).collect();
                let of = self.standing.values().filter(|vote| vote.clip.0 == clip).step_by(nth);
                let votes = of.map(|vote| NamedVote {
                    seq: vote.vote,
                    at: times[&vote.vote],
                    voter: vote.voter,
                    clip: vote.clip,
                    weight: vote.weight,
                    day: vote.day,
                });
                let votes: Vec<_> = votes.collect();
                self.void(slot, &votes);
            }
            Step::Lift { nth } => {
                let in_force: Vec<Seq> = self.in_force.keys().copied().collect();
                if let Some(void) = in_force.get(nth % in_force.len().max(1)) {
                    self.lift(*void);
                }
            }
            Step::Day => {
                (self.day, self.now) = (self.day + 1, self.now + 86_400_000);
            }
            Step::Clock(by) => self.now = self.now.saturating_add_signed(by),
            Step::Hide { slot } => {
                self.hidden[slot as usize] = !self.hidden[slot as usize];
                self.look();
            }
            Step::Lock { slot, boards } => self.lock(slot, boards),
            Step::Apply | Step::Look => self.apply(),
            Step::Restart => {
                self.apply();
                self.tables = Tables::open(self.disk.open("tables")).unwrap();
                // What is loaded is what went on: by the log's fold, and by its order.
                assert_eq!(self.tables.transitions().unwrap().voids(), &self.voids);
                self.boards = Boards::new(self.disk.open("tables"), bounds(), NOON);
            }
        }
    }
}
