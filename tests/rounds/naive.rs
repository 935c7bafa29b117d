//! A naive reading of a history: the rules of a round once more, the plain way.

use std::collections::{BTreeMap, BTreeSet};

use plaudit::domain::{
    ClipNo, Decided, Event, FrozenBy, Logged, Origin, Outcome, Seq, SlotNo, SlotStatus, VoidBy, VoidPlan, VoterId,
};

use crate::MIN_CLIPS;
use crate::world::World;

/// The naive reading.
#[derive(Default)]
pub(crate) struct Naive {
    pub(crate) slots: BTreeMap<SlotNo, NaiveSlot>,
    pub(crate) clips: BTreeMap<ClipNo, (String, SlotNo)>,
    /// Votes that stand, with their sequence and weight.
    pub(crate) standing: BTreeMap<(ClipNo, VoterId), (Seq, u64)>,
    /// Every vote's time and origin, by sequence.
    cast: BTreeMap<Seq, (ClipNo, VoterId, u64, Origin)>,
    /// The void that is under way: its slot, and what was named so far.
    under_way: Option<(Seq, VoidPlan, BTreeSet<Seq>)>,
    /// By void: its slot and votes.
    in_force: BTreeMap<Seq, (SlotNo, BTreeSet<Seq>)>,
    /// Voters who were erased, at which event. Of their votes before it nobody knows the network any more, once that is done.
    erased: BTreeMap<VoterId, Seq>,
    /// Winners that a void behind the lock has changed.
    corrected: BTreeMap<SlotNo, Option<ClipNo>>,
}

pub(crate) struct NaiveSlot {
    pub(crate) position: u32,
    pub(crate) status: SlotStatus,
    pub(crate) ends_at: Option<u64>,
    pub(crate) hidden: bool,
    pub(crate) frozen: Option<(Seq, FrozenBy)>,
    pub(crate) outcome: Option<Outcome>,
}

impl Naive {
    pub(crate) fn read(history: &[Logged]) -> Self {
        let mut naive = Self::default();
        for logged in history {
            naive.take(logged);
            let voting = naive.slots.values().filter(|slot| slot.status == SlotStatus::Voting).count();
            assert!(voting <= 1, "two slots of the season are open at {}", logged.seq);
        }
        naive
    }

    pub(crate) fn take(&mut self, Logged { seq, at, event }: &Logged) {
        use SlotStatus::{Frozen, Locked, Upcoming, Voting, WaitingForClips};
        match event {
            Event::SlotCreated(slot) => {
                let (position, status) = (slot.position, Upcoming);
                let new = NaiveSlot { position, status, ends_at: None, hidden: false, frozen: None, outcome: None };
                self.slots.insert(slot.no, new);
            }
            Event::ClipAdded(clip) => {
                assert!(self.slots[&clip.slot].status < Frozen, "a clip joins a frozen slot at {seq}");
                self.clips.insert(clip.no, (clip.id.to_string(), clip.slot));
            }
            Event::Voted(vote) | Event::VotedFrom(vote, _) => {
                assert_eq!(self.slots[&vote.slot].status, Voting, "a vote at {seq}");
                let origin = if let Event::VotedFrom(_, origin) = event { *origin } else { Origin::default() };
                self.cast.insert(*seq, (vote.clip, vote.voter, *at, origin));
                let before = self.standing.insert((vote.clip, vote.voter), (*seq, u64::from(vote.weight)));
                assert_eq!(before, None, "a second vote at {seq}");
            }
            Event::Retracted(back) => {
                assert_eq!(self.slots[&back.slot].status, Voting, "a retraction at {seq}");
                let before = self.standing.remove(&(back.clip, back.voter));
                assert_eq!(before.map(|(vote, _)| vote), Some(back.vote), "a retraction at {seq}");
            }
            Event::SlotWaits(no) => {
                let slot = self.slots.get_mut(no).unwrap();
                assert!(matches!(slot.status, Upcoming | WaitingForClips));
                slot.status = WaitingForClips;
            }
            Event::SlotOpened { slot, ends_at, hidden } => {
                let slot = self.slots.get_mut(slot).unwrap();
                assert!(matches!(slot.status, Upcoming | WaitingForClips), "opened twice, at {seq}");
                (slot.status, slot.ends_at, slot.hidden) = (Voting, *ends_at, *hidden);
            }
            Event::SlotExtended { slot, ends_at } => {
                let slot = self.slots.get_mut(slot).unwrap();
                assert_eq!(slot.status, Voting, "extended at {seq}");
                slot.ends_at = *ends_at;
            }
            Event::SlotReopened { slot, ends_at } => {
                let slot = self.slots.get_mut(slot).unwrap();
                assert_eq!(slot.status, Frozen, "reopened at {seq}");
                (slot.status, slot.ends_at, slot.frozen) = (Voting, *ends_at, None);
            }
            Event::SlotStopped { slot, by, .. } => {
                let slot = self.slots.get_mut(slot).unwrap();
                assert_eq!(slot.status, Voting, "frozen at {seq}");
                if *by == FrozenBy::Timer {
                    assert!(slot.ends_at.is_some_and(|end| end <= *at), "the timer was early at {seq}");
                }
                (slot.status, slot.frozen) = (Frozen, Some((*seq, *by)));
            }
            Event::SlotDecided { slot: no, outcome } => {
                let tallied = self.winner(*no);
                let slot = self.slots.get_mut(no).unwrap();
                assert_eq!(slot.status, Frozen, "locked at {seq}");
                assert_eq!(
                    slot.frozen.map(|(at, _)| at),
                    Some(outcome.frozen_at),
                    "the result of another freeze at {seq}"
                );
                match outcome.decided {
                    Decided::Tally | Decided::TallyAfter(_) => {
                        assert_eq!(outcome.winner, tallied, "the winner at {seq}");
                    }
                    Decided::ByHand { .. } => assert_eq!(self.clips[&outcome.winner.unwrap()].1, *no),
                }
                (slot.status, slot.outcome) = (Locked, Some(Outcome::clone(outcome)));
            }
            Event::SeasonCreated(_) | Event::ErasureWent { .. } | Event::ErasureEnded(_) => {}
            Event::Started => self.under_way = None,
            Event::VoidBegun(plan) => {
                assert!(self.slots[&plan.slot].status >= Voting, "a void at {seq}");
                self.under_way = Some((*seq, plan.as_ref().clone(), BTreeSet::new()));
            }
            Event::VotesNamed(part) => {
                let (void, plan, mut named) = self.under_way.take().unwrap();
                assert_eq!((part.void, part.slot), (void, plan.slot), "named at {seq}");
                for vote in &part.votes {
                    let (clip, voter, at, origin) = self.cast[&vote.seq];
                    assert!(vote.seq < void && fits(plan.by, voter, at, origin), "{vote:?} is named at {seq}");
                    assert_eq!((vote.clip, vote.at), (clip, at), "named at {seq}");
                    assert!(vote.voter == voter || self.is_erased(voter, vote.seq), "named at {seq}");
                    named.insert(vote.seq);
                }
                self.under_way = Some((void, plan, named));
            }
            Event::VoidTaken { void, slot } => {
                let (of, plan, mut named) = self.under_way.take().unwrap();
                assert_eq!((of, plan.slot), (*void, *slot), "taken at {seq}");
                // All that fit, and stand by now, and no other.
                let standing: BTreeSet<Seq> = self.standing.values().map(|(vote, _)| *vote).collect();
                let fit = self.cast.iter().filter(|(vote, (clip, voter, at, origin))| {
                    **vote < of && self.clips[clip].1 == *slot && fits(plan.by, *voter, *at, *origin)
                });
                let fit: BTreeSet<Seq> = fit.map(|(vote, _)| *vote).filter(|vote| standing.contains(vote)).collect();
                named.retain(|vote| standing.contains(vote));
                // By whom and from where is not to be told any more of who was erased; by when and how it looked is.
                let by_trace = matches!(plan.by, VoidBy::Voter(_) | VoidBy::Network(_));
                let known = fit.into_iter().filter(|vote| {
                    let (_, voter, ..) = self.cast[vote];
                    named.contains(vote) || !by_trace || !self.is_erased(voter, *vote)
                });
                assert_eq!(named, known.collect(), "what the void at {of} takes at {seq}");
                self.in_force.insert(of, (*slot, named));
                self.correct(*slot);
            }
            Event::VoidLifted { void, slot, .. } => {
                self.in_force.remove(void).unwrap();
                self.correct(*slot);
            }
            Event::ErasureBegun { voter, .. } => drop(self.erased.insert(*voter, *seq)),
            other => panic!("nothing here writes {other:?}"),
        }
    }

    fn is_erased(&self, voter: VoterId, vote: Seq) -> bool {
        self.erased.get(&voter).is_some_and(|at| vote < *at)
    }

    pub(crate) fn counts(&self, clip: ClipNo) -> (u64, u64) {
        let stands = |vote: Seq| self.in_force.values().all(|(_, votes)| !votes.contains(&vote));
        let of = self.standing.iter().filter(|((of, _), (vote, _))| *of == clip && stands(*vote));
        of.fold((0, 0), |(votes, weight), (_, (_, more))| (votes + 1, weight + more))
    }

    /// A locked slot's winner follows its votes, unless an operator named it.
    fn correct(&mut self, slot: SlotNo) {
        let outcome = self.slots[&slot].outcome.as_ref();
        if outcome.is_some_and(|outcome| !matches!(outcome.decided, Decided::ByHand { .. })) {
            let winner = self.winner(slot);
            self.corrected.insert(slot, winner);
        }
    }

    /// Highest weight, then most votes, then added first.
    pub(crate) fn winner(&self, slot: SlotNo) -> Option<ClipNo> {
        let mut best: Option<(u64, u64, ClipNo)> = None;
        for (clip, (_, of)) in &self.clips {
            let (votes, weight) = self.counts(*clip);
            if *of == slot && best.is_none_or(|best| (weight, votes) > (best.0, best.1)) {
                best = Some((weight, votes, *clip));
            }
        }
        best.map(|(.., clip)| clip)
    }

    /// What comes next must have come: nothing is due any more at this time.
    pub(crate) fn is_at_rest(&self, now: u64) {
        let by_position = || {
            let mut slots: Vec<_> = self.slots.iter().collect();
            slots.sort_by_key(|(_, slot)| slot.position);
            slots
        };
        let clips = |no: &SlotNo| self.clips.values().filter(|(_, of)| of == no).count();
        let mut held = false;
        for (_, slot) in by_position() {
            match slot.status {
                SlotStatus::Voting => {
                    assert!(slot.ends_at.is_none_or(|end| end > now), "position {} is over", slot.position);
                    held = true;
                }
                SlotStatus::Frozen => {
                    let (_, by) = slot.frozen.unwrap();
                    assert_eq!(by, FrozenBy::Operator, "position {} should have been locked", slot.position);
                    held = true;
                }
                _ => {}
            }
        }
        let waiting = by_position().into_iter().find(|(_, slot)| slot.status == SlotStatus::WaitingForClips);
        if let Some((no, slot)) = waiting.filter(|_| !held) {
            assert!(clips(no) < MIN_CLIPS, "position {} has its clips", slot.position);
        }
    }
}

fn fits(by: VoidBy, voter: VoterId, at: u64, origin: Origin) -> bool {
    match by {
        VoidBy::Voter(of) => of == voter,
        VoidBy::Network(of) => of == origin.network,
        VoidBy::Window { from_ms, to_ms } => from_ms <= at && at < to_ms,
        VoidBy::Flagged => origin.risk >= 40,
    }
}

/// Positions of the slots that are locked as the engine has it.
pub(crate) fn locked(world: &World) -> BTreeSet<u32> {
    let slots = world.engine().seasons().into_iter().flat_map(|season| season.slots);
    slots.filter(|slot| slot.status == SlotStatus::Locked).map(|slot| slot.position).collect()
}

/// Certificates of slots that were locked before all that was settled was applied: they verify, the newest says what is counted, and
/// those that were handed out before stand. The engine's own keeper may lock another one at any time.
pub(crate) fn check_certificates(world: &mut World, locked: &BTreeSet<u32>) {
    let naive = Naive::read(&world.history());
    let engine = world.engine().clone();
    for (no, slot) in naive.slots.iter().filter(|(_, slot)| locked.contains(&slot.position)) {
        assert_eq!(slot.status, SlotStatus::Locked, "position {}", slot.position);
        let newest = engine.certificate("s", slot.position, None).unwrap();
        let counts: BTreeMap<String, (u64, u64)> = naive
            .clips
            .iter()
            .filter(|(_, (_, of))| of == no)
            .map(|(clip, (id, _))| (id.clone(), naive.counts(*clip)))
            .collect();
        let certified =
            newest.clips.iter().map(|clip| (clip.clip_id.to_string(), (clip.vote_count, clip.weighted_score)));
        assert_eq!(certified.collect::<BTreeMap<_, _>>(), counts, "certificate {} of {}", newest.number, slot.position);
        let decided = slot.outcome.as_ref().and_then(|outcome| outcome.winner);
        let winner = naive.corrected.get(no).copied().unwrap_or(decided);
        let winner = winner.map(|clip| naive.clips[&clip].0.clone());
        assert_eq!(newest.winner_clip_id.as_ref().map(ToString::to_string), winner);
        for number in 1..=newest.number {
            let one = engine.certificate("s", slot.position, Some(number)).unwrap();
            let known = world.certificates.entry((slot.position, number)).or_insert_with(|| one.clone());
            assert_eq!(*known, one, "a certificate stays as it was handed out");
            let before = number.checked_sub(1).filter(|before| *before > 0);
            let before = before.map(|before| world.certificates[&(slot.position, before)].hash);
            assert_eq!(one.previous.map(|hash| hash.0), before, "each names the one before");
        }
    }
}

/// Everything that is at hand agrees.
pub(crate) fn check(world: &World) -> Naive {
    let history = world.history();
    let naive = Naive::read(&history);
    let engine = world.engine();
    for (no, slot) in &naive.slots {
        let view = engine.slot("s", slot.position).unwrap();
        assert_eq!((view.status, view.hidden), (slot.status, slot.hidden && slot.status != SlotStatus::Locked));
        assert_eq!(view.ends_at, slot.ends_at);
        let decided = slot.outcome.as_ref().and_then(|outcome| outcome.winner);
        let winner = naive.corrected.get(no).copied().unwrap_or(decided);
        assert_eq!(view.winner.map(|id| id.to_string()), winner.map(|clip| naive.clips[&clip].0.clone()));
        for (clip, (id, _)) in naive.clips.iter().filter(|(_, (_, of))| of == no) {
            let wanted = Some(naive.counts(*clip)).filter(|_| !view.hidden);
            let counts = engine.counts(id).unwrap().map(|counts| (counts.votes, counts.weight));
            assert_eq!(counts, wanted, "clip {id}");
        }
    }
    // Every answer, in the log; every vote in the log, asked for.
    let mut logged: BTreeMap<(VoterId, String), u64> = BTreeMap::new();
    for event in &history {
        match &event.event {
            Event::Voted(vote) | Event::VotedFrom(vote, _) => {
                let at = (vote.voter, naive.clips[&vote.clip].0.clone());
                *logged.entry(at.clone()).or_default() += 1;
                let told = world.answers.cast.get(&event.seq);
                assert!(
                    told == Some(&at) || world.answers.unknown.contains(&at),
                    "event {} was answered {told:?}",
                    event.seq
                );
            }
            Event::Retracted(back) => {
                let at = (back.voter, naive.clips[&back.clip].0.clone());
                let told = world.answers.retracted.get(&event.seq);
                assert!(
                    told == Some(&at) || world.answers.unknown.contains(&at),
                    "event {} was answered {told:?}",
                    event.seq
                );
            }
            _ => {}
        }
    }
    let written = |seq: &Seq| &history[usize::try_from(*seq).unwrap() - 1].event;
    for (seq, at) in &world.answers.cast {
        assert!(
            matches!(written(seq), Event::Voted(vote) | Event::VotedFrom(vote, _) if vote.voter == at.0),
            "vote {seq} was acknowledged and is lost"
        );
    }
    for (seq, at) in &world.answers.retracted {
        assert!(matches!(written(seq), Event::Retracted(back) if back.voter == at.0), "retraction {seq} is lost");
    }
    for (at, count) in logged {
        let refused = world.answers.refused.get(&at).copied().unwrap_or(0);
        assert!(count + refused <= world.answers.asked[&at], "what was refused is not in the log");
    }
    naive
}
