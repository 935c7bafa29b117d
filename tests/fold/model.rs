//! What the log must come to, found the plain way while it is made: seasons, slots, clips and bans here, the rest beside it.
//! Never: a page, or a rule of the fold's.

use std::collections::{BTreeMap, BTreeSet};

use plaudit::domain::{
    Clip, ClipDraft, ClipId, ClipNo, Day, Decided, Event, FrozenBy, Logged, Outcome, Retraction, Root, Season,
    SeasonId, SeasonNo, Seq, Slot, SlotNo, SlotStatus, Span, VoterId,
};
use plaudit::fold::{BanMove, Stored};

use crate::NOON;
use crate::plain::Comments;
use crate::verbs::Verb;

/// What the log must come to, found the plain way while it is made.
#[derive(Clone, Debug, Default)]
pub(crate) struct Model {
    pub(crate) log: Vec<Logged>,
    pub(crate) seasons: Vec<Season>,
    pub(crate) slots: Vec<SlotModel>,
    pub(crate) clips: Vec<Clip>,
    pub(crate) standing: BTreeMap<(VoterId, ClipNo), Retraction>,
    pub(crate) ballots: BTreeMap<SlotNo, Vec<Stored>>,
    pub(crate) bans: BTreeMap<VoterId, Option<BanMove>>,
    pub(crate) newcomers: u32,
    pub(crate) under_way: Option<(Seq, SlotNo, BTreeSet<Seq>)>,
    /// The votes that each void in force takes out.
    pub(crate) in_force: BTreeMap<Seq, (SlotNo, BTreeSet<Seq>)>,
    /// Retractions of votes that were under a void: they counted for nothing.
    pub(crate) uncounted: BTreeSet<Seq>,
    /// Every void: how many votes it took, whether it was lifted, whether it ended without effect.
    pub(crate) voids: BTreeMap<Seq, (u64, bool, bool)>,
    /// Whose each vote is that has a mask: one that a void takes out, or that was taken back under one. Nobody's, once its voter's
    /// erasure has ended.
    pub(crate) masked: BTreeMap<Seq, (SlotNo, VoterId)>,
    pub(crate) erasures: BTreeMap<Seq, Erasure>,
    pub(crate) comments: Comments,
}

/// What is known of an erasure: who, while it goes on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Erasure {
    pub(crate) voter: Option<VoterId>,
    pub(crate) at: u64,
    pub(crate) day: Day,
    pub(crate) clips: ClipNo,
    pub(crate) searched: Option<Seq>,
    pub(crate) ended: Option<Seq>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct SlotModel {
    pub(crate) slot: Slot,
    pub(crate) status: SlotStatus,
    pub(crate) span: Span,
    pub(crate) hidden: bool,
    pub(crate) frozen_by: Option<FrozenBy>,
    pub(crate) outcome: Option<Outcome>,
    pub(crate) last_step: Seq,
}

impl Model {
    pub(crate) fn voter(n: u32) -> VoterId {
        // Few first bytes, so that bans share pages; nobody is none of them.
        let mut id = [u8::try_from(n % 3 + 1).expect("small"); 16];
        id[12..].copy_from_slice(&n.to_be_bytes());
        VoterId(id)
    }

    /// Sequence and time of the next event; the time runs in circles, as a clock that jumps back.
    pub(crate) fn next(&self) -> (u64, u64) {
        let seq = self.log.len() as u64 + 1;
        (seq, NOON + seq * 70 % 300_000 + seq * 7 % 1_000)
    }

    pub(crate) fn push(&mut self, event: Event) -> (u64, u64) {
        let (seq, at) = self.next();
        self.log.push(Logged { seq, at, event });
        (seq, at)
    }

    pub(crate) fn banned(&self, voter: VoterId) -> bool {
        let (_, at) = self.next();
        let ban = self.bans.get(&voter).and_then(Option::as_ref);
        ban.is_some_and(|ban| ban.until.is_none_or(|until| at < until))
    }

    pub(crate) fn slot(
        &mut self,
        slot: u32,
        from: &[SlotStatus],
        event: impl Fn(SlotNo) -> Event,
    ) -> Option<(u64, &mut SlotModel)> {
        let at = slot as usize % self.slots.len().max(1);
        let known = self.slots.get(at).filter(|known| from.contains(&known.status))?;
        let waits = known.status == SlotStatus::WaitingForClips;
        let event = event(known.slot.no);
        let still_waits = waits && matches!(event, Event::SlotWaits(_));
        let (seq, at_ms) = self.push(event);
        if !still_waits {
            self.slots[at].last_step = seq;
        }
        Some((at_ms, &mut self.slots[at]))
    }

    /// Whether another slot of its season takes votes: then it can't.
    pub(crate) fn another_votes(&self, slot: u32) -> bool {
        let Some(known) = self.slots.get(slot as usize % self.slots.len().max(1)) else { return false };
        let others = self.slots.iter().filter(|other| other.slot.no != known.slot.no);
        others.into_iter().any(|other| other.slot.season == known.slot.season && other.status == SlotStatus::Voting)
    }

    pub(crate) fn take(&mut self, verb: Verb) {
        use SlotStatus::{Frozen, Locked, Upcoming, Voting, WaitingForClips};
        match verb {
            Verb::Vote { who, clip, weight } => self.vote(Self::voter(who.into()), clip, weight),
            Verb::Burst { votes, clip } => {
                for _ in 0..votes {
                    self.newcomers += 1;
                    self.vote(Self::voter(1_000 + self.newcomers), clip, 1);
                }
            }
            Verb::Retract { nth } => self.retract(nth),
            Verb::Season => {
                let no = u32::try_from(self.seasons.len()).expect("few");
                let id = SeasonId::new(&format!("s{no}")).expect("an id");
                let season = Season { no: SeasonNo(no), id, name: format!("Season {no}") };
                self.seasons.push(season.clone());
                self.push(Event::SeasonCreated(season));
            }
            Verb::Slot { season } if !self.seasons.is_empty() => {
                let no = u32::try_from(self.slots.len()).expect("few");
                let season = self.seasons[season as usize % self.seasons.len()].no;
                let slot = Slot { no: SlotNo(no), season, position: no + 1 };
                self.slots.push(SlotModel {
                    slot,
                    status: Upcoming,
                    span: Span::default(),
                    hidden: false,
                    frozen_by: None,
                    outcome: None,
                    last_step: 0,
                });
                let (seq, _) = self.push(Event::SlotCreated(slot));
                self.slots.last_mut().expect("just pushed").last_step = seq;
            }
            Verb::Clips { count, slot } if !self.slots.is_empty() => {
                let known = &self.slots[slot as usize % self.slots.len()];
                let (slot, takes) = (known.slot.no, known.status < Frozen);
                for _ in 0..if takes { count } else { 0 } {
                    let no = u32::try_from(self.clips.len()).expect("few");
                    let draft = ClipDraft {
                        title: format!("Clip {no}"),
                        owner: Some(format!("maker {}", no % 7)),
                        username: Some("Name".into()),
                        avatar_url: Some("https://example.org/face.png".into()),
                        ..ClipDraft::default()
                    };
                    let id = ClipId::new(&format!("c{no}")).expect("an id");
                    let clip = Clip { no: ClipNo(no), slot, id, draft };
                    self.clips.push(clip.clone());
                    self.push(Event::ClipAdded(Box::new(clip)));
                }
            }
            Verb::Slot { .. } | Verb::Clips { .. } => {}
            Verb::Wait { slot } => {
                if let Some((_, known)) = self.slot(slot, &[Upcoming, WaitingForClips], Event::SlotWaits) {
                    known.status = WaitingForClips;
                }
            }
            Verb::Open { slot, .. } | Verb::Reopen { slot, .. } if self.another_votes(slot) => {}
            Verb::Open { slot, ends } => {
                let (ends_at, hidden) = (ends.then_some(NOON + 9), ends);
                let open = |slot| Event::SlotOpened { slot, ends_at, hidden };
                if let Some((at, known)) = self.slot(slot, &[Upcoming, WaitingForClips], open) {
                    (known.status, known.hidden) = (Voting, hidden);
                    known.span = Span { started_at: Some(at), ends_at };
                }
            }
            Verb::Freeze { slot, by } => {
                let on = self.slots.get(slot as usize % self.slots.len().max(1)).map(|known| known.last_step);
                let freeze = |slot| match by {
                    None => Event::SlotFrozen(slot),
                    Some(by) => Event::SlotStopped { slot, by, after: on.filter(|_| by == FrozenBy::Timer) },
                };
                if let Some((_, known)) = self.slot(slot, &[Voting], freeze) {
                    (known.status, known.frozen_by) = (Frozen, Some(by.unwrap_or(FrozenBy::Operator)));
                }
            }
            Verb::Extend { slot, ends } => {
                let ends_at = ends.then_some(NOON + 99);
                if let Some((_, known)) = self.slot(slot, &[Voting], |slot| Event::SlotExtended { slot, ends_at }) {
                    known.span.ends_at = ends_at;
                }
            }
            Verb::Reopen { slot, ends } => {
                let ends_at = ends.then_some(NOON + 77);
                if let Some((_, known)) = self.slot(slot, &[Frozen], |slot| Event::SlotReopened { slot, ends_at }) {
                    (known.status, known.frozen_by, known.span.ends_at) = (Voting, None, ends_at);
                }
            }
            Verb::Lock { slot, as_today } => {
                let winner = self.clips.first().map(|clip| clip.no);
                let frozen_at =
                    self.slots.get(slot as usize % self.slots.len().max(1)).map_or(0, |known| known.last_step);
                let decided = if as_today { Decided::ByHand { reason: "so".into() } } else { Decided::Tally };
                let root = as_today.then_some(Root { hash: [3; 32], leaves: 9 });
                let outcome = Outcome { frozen_at, winner, decided, root };
                let lock = |slot| {
                    let outcome = Box::new(outcome.clone());
                    if as_today { Event::SlotDecided { slot, outcome } } else { Event::SlotLocked { slot, winner } }
                };
                if let Some((_, known)) = self.slot(slot, &[Frozen], lock) {
                    (known.status, known.outcome) = (Locked, Some(outcome));
                }
            }
            Verb::Ban { who, until } => {
                let (voter, until) = (Self::voter(who.into()), until.then_some(NOON + 500));
                let reason = format!("reason {who}");
                let (seq, _) = self.push(Event::Banned { voter, until, reason: reason.clone() });
                self.bans.insert(voter, Some(BanMove { seq, lifted: false, until, reason }));
            }
            Verb::VoidBegin { .. } | Verb::VoidName { .. } | Verb::VoidTake | Verb::VoidLift { .. } | Verb::Start => {
                self.void(verb);
            }
            Verb::EraseBegin { .. }
            | Verb::EraseComments { .. }
            | Verb::EraseClips { .. }
            | Verb::EraseSearched { .. }
            | Verb::EraseEnd { .. } => self.erase(verb),
            Verb::Say(said) => self.say(said),
            Verb::Unban { who } => {
                let voter = Self::voter(who.into());
                self.push(Event::Unbanned(voter));
                self.bans.insert(voter, None);
            }
        }
    }
}

/// The log that these verbs make, and what it comes to.
pub(crate) fn model(verbs: &[Verb]) -> Model {
    let mut model = Model::default();
    // Something to vote for from the start; what the verbs add comes behind it.
    let first = [Verb::Season, Verb::Slot { season: 0 }, Verb::Clips { count: 3, slot: 0 }];
    let open = [Verb::Open { slot: 0, ends: false }];
    for verb in first.iter().chain(&open).chain(verbs) {
        model.take(*verb);
    }
    model
}
