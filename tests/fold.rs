//! Folding again is harmless however the batches fall: any valid log, cut into commits anywhere, with crashes between and
//! within them, ends in the same tables, and those say what a naive reading of the whole log says.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

use plaudit::domain::{
    CLIPS_AT_ONCE, Clip, ClipDraft, ClipId, ClipNo, Day, Decided, ErasurePart, ErasureState, Event, FrozenBy, Logged,
    NAMED_AT_ONCE, NamedVote, NamedVotes, NetworkHash, Origin, Outcome, Retraction, Root, Season, SeasonId, SeasonNo,
    Seq, Slot, SlotNo, SlotStatus, Span, VoidBy, VoidPlan, Vote, VoteKind, VoterId,
};
use plaudit::error::Fault;
use plaudit::fold::{Ballot, BanMove, Mark, Stored, Tables, Transitions, ballot_block, fold, judge};
use plaudit::store::FaultyDisk;
use proptest::prelude::*;

const NOON: u64 = 1_700_000_000_000;

/// What a step asks for; it becomes no event where the state before it forbids it.
#[derive(Clone, Copy, Debug)]
enum Verb {
    Vote {
        who: u16,
        clip: u32,
        weight: u16,
    },
    /// As many votes of voters who have not voted yet: some fill a block, some several.
    Burst {
        votes: u16,
        clip: u32,
    },
    Retract {
        nth: usize,
    },
    Season,
    Slot {
        season: u32,
    },
    Clips {
        count: u32,
        slot: u32,
    },
    Wait {
        slot: u32,
    },
    Open {
        slot: u32,
        ends: bool,
    },
    /// As earlier versions wrote it, or as it is written today.
    Freeze {
        slot: u32,
        by: Option<FrozenBy>,
    },
    Extend {
        slot: u32,
        ends: bool,
    },
    Reopen {
        slot: u32,
        ends: bool,
    },
    /// Likewise.
    Lock {
        slot: u32,
        as_today: bool,
    },
    Ban {
        who: u16,
        until: bool,
    },
    Unban {
        who: u16,
    },
    /// A void of a slot begins; its votes are named, some at a time, and it takes effect, or the server starts anew.
    VoidBegin {
        slot: u32,
    },
    VoidName {
        every: usize,
    },
    VoidTake,
    VoidLift {
        nth: usize,
    },
    Start,
    /// A voter is erased, one with votes under a void if told so: it begins, goes on with some clips, has searched through comments,
    /// and ends.
    EraseBegin {
        who: u16,
        masked: bool,
    },
    EraseClips {
        nth: usize,
        every: usize,
        owners: bool,
    },
    EraseSearched {
        nth: usize,
    },
    EraseEnd {
        nth: usize,
    },
}

fn verb() -> impl Strategy<Value = Verb> {
    let by = prop::option::of(prop_oneof![Just(FrozenBy::Operator), Just(FrozenBy::Timer), Just(FrozenBy::Lock)]);
    prop_oneof![
        20 => (0_u16..40, any::<u32>(), 1_u16..20).prop_map(|(who, clip, weight)| Verb::Vote { who, clip, weight }),
        2 => (1_u16..400, any::<u32>()).prop_map(|(votes, clip)| Verb::Burst { votes, clip }),
        1 => (2_000_u16..4_000, any::<u32>()).prop_map(|(votes, clip)| Verb::Burst { votes, clip }),
        10 => any::<usize>().prop_map(|nth| Verb::Retract { nth }),
        1 => Just(Verb::Season),
        2 => any::<u32>().prop_map(|season| Verb::Slot { season }),
        2 => (1_u32..300, any::<u32>()).prop_map(|(count, slot)| Verb::Clips { count, slot }),
        1 => any::<u32>().prop_map(|slot| Verb::Wait { slot }),
        3 => (any::<u32>(), any::<bool>()).prop_map(|(slot, ends)| Verb::Open { slot, ends }),
        2 => (any::<u32>(), by).prop_map(|(slot, by)| Verb::Freeze { slot, by }),
        // Dozens of steps in one slot's life are within a step's reach.
        3 => (any::<u32>(), any::<bool>()).prop_map(|(slot, ends)| Verb::Extend { slot, ends }),
        2 => (any::<u32>(), any::<bool>()).prop_map(|(slot, ends)| Verb::Reopen { slot, ends }),
        1 => (any::<u32>(), any::<bool>()).prop_map(|(slot, as_today)| Verb::Lock { slot, as_today }),
        3 => (0_u16..40, any::<bool>()).prop_map(|(who, until)| Verb::Ban { who, until }),
        2 => (0_u16..40).prop_map(|who| Verb::Unban { who }),
        3 => any::<u32>().prop_map(|slot| Verb::VoidBegin { slot }),
        5 => (1_usize..9).prop_map(|every| Verb::VoidName { every }),
        3 => Just(Verb::VoidTake),
        2 => any::<usize>().prop_map(|nth| Verb::VoidLift { nth }),
        1 => Just(Verb::Start),
        6 => (0_u16..40, any::<bool>()).prop_map(|(who, masked)| Verb::EraseBegin { who, masked }),
        3 => (any::<usize>(), 1_usize..9, any::<bool>())
            .prop_map(|(nth, every, owners)| Verb::EraseClips { nth, every, owners }),
        2 => any::<usize>().prop_map(|nth| Verb::EraseSearched { nth }),
        5 => any::<usize>().prop_map(|nth| Verb::EraseEnd { nth }),
    ]
}

/// What happens behind a stretch of the log.
#[derive(Clone, Copy, Debug)]
enum Cut {
    /// The stretch is committed.
    Commit,
    /// The commit fails at its k-th write, and the machine dies.
    DieWithin { k: u64, seed: u64 },
    /// The machine dies before the commit.
    Die { seed: u64 },
}

fn cuts() -> impl Strategy<Value = Vec<(prop::sample::Index, Cut)>> {
    let cut = prop_oneof![
        3 => Just(Cut::Commit),
        4 => (1_u64..12, any::<u64>()).prop_map(|(k, seed)| Cut::DieWithin { k, seed }),
        1 => any::<u64>().prop_map(|seed| Cut::Die { seed }),
    ];
    prop::collection::vec((any::<prop::sample::Index>(), cut), 0..16)
}

/// What the log must come to, found the plain way while it is made.
#[derive(Clone, Debug, Default)]
struct Model {
    log: Vec<Logged>,
    seasons: Vec<Season>,
    slots: Vec<SlotModel>,
    clips: Vec<Clip>,
    standing: BTreeMap<(VoterId, ClipNo), Retraction>,
    ballots: BTreeMap<SlotNo, Vec<Stored>>,
    bans: BTreeMap<VoterId, Option<BanMove>>,
    newcomers: u32,
    under_way: Option<(Seq, SlotNo, BTreeSet<Seq>)>,
    /// The votes that each void in force takes out.
    in_force: BTreeMap<Seq, (SlotNo, BTreeSet<Seq>)>,
    /// Retractions of votes that were under a void: they counted for nothing.
    uncounted: BTreeSet<Seq>,
    /// Every void: how many votes it took, whether it was lifted, whether it ended without effect.
    voids: BTreeMap<Seq, (u64, bool, bool)>,
    /// Whose each vote is that has a mask: one that a void takes out, or that was taken back under one. Nobody's, once its voter's
    /// erasure has ended.
    masked: BTreeMap<Seq, (SlotNo, VoterId)>,
    erasures: BTreeMap<Seq, Erasure>,
}

/// What is known of an erasure: who, while it goes on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Erasure {
    voter: Option<VoterId>,
    at: u64,
    day: Day,
    clips: ClipNo,
    searched: Option<Seq>,
    ended: Option<Seq>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
struct SlotModel {
    slot: Slot,
    status: SlotStatus,
    span: Span,
    hidden: bool,
    frozen_by: Option<FrozenBy>,
    outcome: Option<Outcome>,
    last_step: Seq,
}

impl Model {
    fn voter(n: u32) -> VoterId {
        // Few first bytes, so that bans share pages.
        let mut id = [u8::try_from(n % 3).expect("small"); 16];
        id[12..].copy_from_slice(&n.to_be_bytes());
        VoterId(id)
    }

    /// Sequence and time of the next event; the time runs in circles, as a clock that jumps back.
    fn next(&self) -> (u64, u64) {
        let seq = self.log.len() as u64 + 1;
        (seq, NOON + seq * 70 % 300_000 + seq * 7 % 1_000)
    }

    fn push(&mut self, event: Event) -> (u64, u64) {
        let (seq, at) = self.next();
        self.log.push(Logged { seq, at, event });
        (seq, at)
    }

    fn banned(&self, voter: VoterId) -> bool {
        let (_, at) = self.next();
        let ban = self.bans.get(&voter).and_then(Option::as_ref);
        ban.is_some_and(|ban| ban.until.is_none_or(|until| at < until))
    }

    fn vote(&mut self, voter: VoterId, clip: u32, weight: u16) {
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

    fn retract(&mut self, nth: usize) {
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
    fn stands_for(&self, vote: Seq) -> bool {
        self.in_force.values().all(|(_, votes)| !votes.contains(&vote))
    }

    fn end_void(&mut self) {
        if let Some((void, ..)) = self.under_way.take() {
            self.voids.get_mut(&void).expect("it has begun").2 = true;
        }
    }

    fn void(&mut self, verb: Verb) {
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

    fn search(&mut self, erasure: Seq) {
        if self.erasures[&erasure].searched.is_none() {
            let (seq, _) = self.push(Event::ErasureWent { erasure, part: ErasurePart::Searched });
            self.erasures.get_mut(&erasure).expect("it goes on").searched = Some(seq);
        }
    }

    /// Counts, ballots and bans are what they were, whoever is erased.
    fn erase(&mut self, verb: Verb) {
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

    fn slot(
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
    fn another_votes(&self, slot: u32) -> bool {
        let Some(known) = self.slots.get(slot as usize % self.slots.len().max(1)) else { return false };
        let others = self.slots.iter().filter(|other| other.slot.no != known.slot.no);
        others.into_iter().any(|other| other.slot.season == known.slot.season && other.status == SlotStatus::Voting)
    }

    fn take(&mut self, verb: Verb) {
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
            Verb::EraseBegin { .. } | Verb::EraseClips { .. } | Verb::EraseSearched { .. } | Verb::EraseEnd { .. } => {
                self.erase(verb);
            }
            Verb::Unban { who } => {
                let voter = Self::voter(who.into());
                self.push(Event::Unbanned(voter));
                self.bans.insert(voter, None);
            }
        }
    }

    /// Votes and weight of every clip that has or had a vote.
    fn counts(&self) -> BTreeMap<ClipNo, (u64, u64)> {
        let mut counts = BTreeMap::new();
        for vote in self.standing.values().filter(|vote| self.stands_for(vote.vote)) {
            let (votes, weight) = counts.entry(vote.clip).or_default();
            *votes += 1;
            *weight += u64::from(vote.weight);
        }
        counts
    }
}

/// The log that these verbs make, and what it comes to.
fn model(verbs: &[Verb]) -> Model {
    let mut model = Model::default();
    // Something to vote for from the start; what the verbs add comes behind it.
    let first = [Verb::Season, Verb::Slot { season: 0 }, Verb::Clips { count: 3, slot: 0 }];
    let open = [Verb::Open { slot: 0, ends: false }];
    for verb in first.iter().chain(&open).chain(verbs) {
        model.take(*verb);
    }
    model
}

/// The tables, and what the judge knows.
struct Folder {
    tables: Tables,
    known: Transitions,
}

impl Folder {
    /// Opens the tables and folds the log from their mark to `end`.
    fn catch_up(disk: &FaultyDisk, log: &[Logged], end: usize) -> Result<Self, Fault> {
        let tables = Tables::open(disk.open("tables"))?;
        let mark = tables.mark().map_or(0, |mark| mark.seq);
        let known = tables.transitions()?;
        let mut folder = Self { tables, known };
        log.iter().take(end).skip(usize::try_from(mark).expect("small")).try_for_each(|logged| folder.fold(logged))?;
        Ok(folder)
    }

    /// Judges an event again first.
    fn fold(&mut self, logged: &Logged) -> Result<(), Fault> {
        let Logged { seq, at, event } = logged;
        assert_eq!(judge(&self.known, *seq, *at, event), Ok(()), "event {seq} was judged fine before: {event:?}");
        let effect = self.known.note(*seq, *at, event);
        fold(&mut self.tables, logged, &effect)
    }
}

fn mark(end: usize) -> Mark {
    Mark { seq: end as u64, block: 1, chain: [0; 32] }
}

/// What the tables say, against what the model says. A lifted ban may be forgotten or not.
fn check(tables: &Tables, model: &Model) -> Result<(), TestCaseError> {
    let mut counts = BTreeMap::new();
    tables.each_total(|clip, votes, weight| {
        if (votes, weight) != (0, 0) {
            counts.insert(clip, (votes, weight));
        }
    })?;
    prop_assert_eq!(counts, model.counts());

    check_minutes(tables, model)?;
    let mut voids = BTreeMap::new();
    tables.each_void(|void| {
        voids.insert(void.id, (void.votes, void.lifted.is_some(), void.dropped.is_some()));
    })?;
    prop_assert_eq!(&voids, &model.voids);
    let mut erasures = BTreeMap::new();
    tables.each_erasure(|one| {
        let ErasureState { voter, at, day, clips, searched, ended, .. } = *one;
        erasures.insert(one.id, Erasure { voter, at, day, clips, searched, ended });
    })?;
    prop_assert_eq!(&erasures, &model.erasures);
    for slot in &model.slots {
        let mut stored = Vec::new();
        tables.each_ballot_block(slot.slot.no, 0, &mut |key, record| {
            check_bounds(
                &ballot_block::read(key, record, |entry| {
                    stored.push(entry);
                    Ok(())
                })?,
                record,
            );
            Ok(ControlFlow::Continue(()))
        })?;
        let wanted = model.ballots.get(&slot.slot.no).cloned().unwrap_or_default();
        prop_assert!(stored == wanted, "slot {}: {} ballots, {} wanted", slot.slot.no.0, stored.len(), wanted.len());
        let last = tables.last_ballots(slot.slot.no)?;
        prop_assert_eq!(last.map(|head| head.last), wanted.last().map(|entry| entry.seq));
    }

    let mut slots = Vec::new();
    tables.each_slot(|record| {
        slots.push(SlotModel {
            slot: record.slot,
            status: record.status(),
            span: record.span,
            hidden: record.hidden,
            frozen_by: record.frozen_by,
            outcome: record.outcome.clone(),
            last_step: record.moves.last().expect("a slot has a step").seq,
        });
    })?;
    prop_assert_eq!(&slots, &model.slots);
    let (mut seasons, mut clips) = (Vec::new(), Vec::new());
    tables.each_season(|season| seasons.push(season.clone()))?;
    tables.each_clip(|clip| clips.push(clip.clone()))?;
    prop_assert_eq!(&seasons, &model.seasons);
    prop_assert!(clips == model.clips, "{} clips, {} wanted", clips.len(), model.clips.len());

    let mut bans: BTreeMap<VoterId, BanMove> = BTreeMap::new();
    let mut seen = BTreeSet::new();
    tables.each_ban(|voter, moves| {
        assert!(seen.insert(voter), "a voter is listed once");
        let last = moves.last().expect("a voter without steps is not listed");
        if !last.lifted {
            bans.insert(voter, last.clone());
        }
    })?;
    let wanted = model.bans.iter().filter_map(|(voter, ban)| Some((*voter, ban.clone()?))).collect();
    prop_assert_eq!(bans, wanted);
    Ok(())
}

/// What whoever reads the whole log without a break knows of voids: whose their votes are is what the model says.
fn read_at_once(model: &Model) -> Result<Transitions, TestCaseError> {
    let mut live = Transitions::default();
    for Logged { seq, at, event } in &model.log {
        live.note(*seq, *at, event);
    }
    for slot in &model.slots {
        let masks = live.voids().masks(slot.slot.no);
        let found: BTreeMap<Seq, VoterId> = masks.iter().map(|mask| (mask.vote.seq, mask.vote.voter)).collect();
        let wanted = model.masked.iter().filter(|(_, (of, _))| *of == slot.slot.no);
        prop_assert_eq!(found, wanted.map(|(vote, (_, voter))| (*vote, *voter)).collect());
    }
    Ok(live)
}

/// Who was erased is taken from the masks once more. What is stored of voids names them until the applier's pass has come by, which
/// is none here, so whoever read that knows their names again.
fn unname_again(known: &mut Transitions, model: &Model) {
    for logged in &model.log {
        if let Event::ErasureEnded(id) = logged.event {
            let begun = &model.log[usize::try_from(id).expect("small") - 1].event;
            let Event::ErasureBegun { voter, .. } = begun else { panic!("{begun:?} begins no erasure") };
            known.load_erasure(id, Some(*voter));
            known.note(logged.seq, logged.at, &logged.event);
        }
    }
}

/// By clip and minute, votes and weight: summed from the pages, and from the model's ballots.
type ByMinute = BTreeMap<(ClipNo, u64), (i64, i64)>;

/// The minutes are the ballots', each in that of its own time, and a page goes on from the one before it.
fn check_minutes(tables: &Tables, model: &Model) -> Result<(), TestCaseError> {
    let (mut kept, mut wanted) = (ByMinute::new(), ByMinute::new());
    let mut behind = None;
    let mut firsts: BTreeMap<ClipNo, u64> = BTreeMap::new();
    tables.each_timeline(|group, page| {
        let before = behind.take().filter(|(of, _)| *of == group).map_or([(0, 0); 16], |(_, sums)| sums);
        assert_eq!(page.before, before, "group {group} at {}", page.first);
        behind = Some((group, page.behind()?));
        assert!(page.record(group).len() <= 8 * 1024);
        for one in page.segments {
            assert!(firsts.insert(one.clip, one.last).is_none_or(|last| last < one.first), "segments don't overlap");
            let sum = kept.entry((one.clip, one.minute.into())).or_default();
            *sum = (sum.0 + i64::from(one.votes), sum.1 + one.weight);
        }
        Ok(())
    })?;
    // A vote that was taken back under a void has no retraction there.
    let counted = |stored: &&Stored| !model.uncounted.contains(&stored.seq);
    for Stored { at, ballot, .. } in model.ballots.values().flatten().filter(counted) {
        let sign = if matches!(ballot.act, ballot_block::Act::Cast(_)) { 1 } else { -1 };
        let sum = wanted.entry((ballot.clip, at / 60_000)).or_default();
        *sum = (sum.0 + sign, sum.1 + sign * i64::from(ballot.weight));
    }
    prop_assert_eq!(kept, wanted);
    Ok(())
}

/// A block stays within its bounds.
fn check_bounds(head: &ballot_block::Head, record: &[u8]) {
    assert!(head.entries > 0 && record.len() <= ballot_block::LIMIT + 256, "{} bytes", record.len());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, max_shrink_iters: 1_000, ..ProptestConfig::default() })]
    #[test]
    fn the_tables_are_the_logs_however_it_was_cut(verbs in prop::collection::vec(verb(), 0..150), cuts in cuts()) {
        let model = model(&verbs);
        let disk = FaultyDisk::new(1);
        let mut folder = Folder::catch_up(&disk, &model.log, 0)?;
        let mut folded = 0;
        let mut cuts: Vec<_> = cuts.into_iter().map(|(at, cut)| (at.index(model.log.len() + 1), cut)).collect();
        cuts.sort_by_key(|(at, _)| *at);
        for (end, cut) in cuts {
            for logged in &model.log[folded..end] {
                folder.fold(logged)?;
            }
            folded = end;
            match cut {
                Cut::Commit => folder.tables.commit(mark(end))?,
                Cut::DieWithin { k, seed } => {
                    disk.fail_at(k);
                    // A commit with fewer writes than k ends before its failure.
                    let _ = folder.tables.commit(mark(end));
                    disk.crash(seed);
                    folder = Folder::catch_up(&disk, &model.log, end)?;
                }
                Cut::Die { seed } => {
                    disk.crash(seed);
                    folder = Folder::catch_up(&disk, &model.log, end)?;
                }
            }
        }
        for logged in &model.log[folded..] {
            folder.fold(logged)?;
        }
        let Folder { mut tables, mut known } = folder;
        // Over what is stored, as recovery and `verify` read it; then stored; then read anew.
        check(&tables, &model)?;
        tables.commit(mark(model.log.len()))?;
        check(&tables, &model)?;
        let anew = Tables::open(disk.open("tables"))?;
        check(&anew, &model)?;
        // What a start knows of voids is what the log's order came to.
        let (mut loaded, mut live) = (anew.transitions()?, read_at_once(&model)?);
        for known in [&mut loaded, &mut known, &mut live] {
            unname_again(known, &model);
        }
        prop_assert_eq!(loaded.voids(), known.voids());
        prop_assert_eq!(live.voids(), known.voids());
    }
}
