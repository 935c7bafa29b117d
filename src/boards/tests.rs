//! The boards and timelines against a naive model: random votes, retractions, voids, days, slots that hide their counts and show them
//! again, locks that take a slot's blocks away, restarts, and clocks that jump.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use proptest::prelude::*;

use super::timeline::{Of, at_sequence, at_time, series};
use super::*;
use crate::codec::{self, Kind};
use crate::domain::{
    Event, Logged, NAMED_AT_ONCE, NamedVote, NamedVotes, Origin, Retraction, Slot, VoidBy, VoidPlan, VoidState, Vote,
    VoteKind,
};
use crate::fold::keys::{self, Table};
use crate::fold::sorted::{self, BALLOTS, BALLOTS_A_PAGE, Closing, Sorted, SortedPages, Who};
use crate::fold::{Mark, Mask, Tables, Voids, fold};
use crate::store::FaultyDisk;

const DAY: u16 = 19_675;
const NOON: u64 = 19_675 * 86_400_000 + 43_200_000;

#[derive(Clone, Copy, PartialEq, Debug)]
enum Step {
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

/// How far the boards are when a slot's blocks go.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Lag {
    /// They have read all of them.
    None,
    /// They have read what came before the last apply, and half of the rest.
    Half,
    /// They have read what came before the last apply.
    All,
    /// The same, and read while half of the blocks are gone.
    Between,
}

const CLIPS: u32 = 40;
const SLOTS: u32 = 4;

fn step() -> impl Strategy<Value = Step> {
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

/// Clips 0, 4, 8, … in slot 0 and so on; slots 0 and 1 are season 0's. Makers are few, and of some clips unknown.
fn layout(
    hidden: [bool; SLOTS as usize],
    locked: [bool; SLOTS as usize],
    voids: &Voids,
    steps: [usize; SLOTS as usize],
    settled: Seq,
) -> Arc<Layout> {
    let masked =
        |slot: SlotNo| Masked { since: voids.last(slot), steps: steps[slot.index()], masks: voids.masks(slot) };
    let slots = hidden.iter().zip(locked).zip(0..).map(|((hidden, is_locked), slot)| SlotFacts {
        season: SeasonNo(slot / 2),
        hidden: *hidden,
        has_voted: true,
        is_locked,
    });
    let clips = (0..CLIPS).map(|clip| ClipFacts {
        slot: SlotNo(clip % SLOTS),
        owner: (clip % 5 > 0).then(|| voter(u32::from(clip % 7 > 3) + clip % 3)),
    });
    let voids = (0..SLOTS).map(|slot| masked(SlotNo(slot))).collect();
    Arc::new(Layout { slots: slots.collect(), clips: clips.collect(), voids, erasures: Vec::new(), settled })
}

fn voter(n: u32) -> VoterId {
    let mut id = [u8::try_from(n % 251).expect("below 251"); 16];
    id[..4].copy_from_slice(&n.wrapping_mul(0x9e37_79b9).to_be_bytes());
    VoterId(id)
}

struct World {
    disk: FaultyDisk,
    tables: Tables,
    boards: Boards,
    layout: Arc<Layout>,
    hidden: [bool; SLOTS as usize],
    locked: [bool; SLOTS as usize],
    now: u64,
    day: u16,
    seq: Seq,
    applied: Seq,
    crowd: u32,
    /// The latest day that a ballot was charged to.
    newest: u16,
    /// By voter and clip.
    standing: BTreeMap<(VoterId, ClipNo), Retraction>,
    /// Every ballot: sequence, time, clip, votes, weight, and the vote that it is, or takes back.
    ballots: Vec<(Seq, u64, ClipNo, i64, i64, Seq)>,
    voids: Voids,
    /// Voids and liftings of each slot.
    steps: [usize; SLOTS as usize],
    /// The votes of each void in force, and its slot.
    in_force: BTreeMap<Seq, (SlotNo, BTreeSet<Seq>)>,
    /// Votes that were taken back while a void named them: neither counts any more.
    back: BTreeSet<Seq>,
    /// How each clip's count has changed: at a sequence, by votes and weight.
    changes: Vec<(Seq, ClipNo, i64, i64)>,
}

impl World {
    fn new() -> Self {
        let disk = FaultyDisk::new(1);
        let tables = Tables::open(disk.open("tables")).unwrap();
        let boards = Boards::new(disk.open("tables"), bounds(), NOON);
        Self {
            disk,
            tables,
            boards,
            layout: layout([false; SLOTS as usize], [false; SLOTS as usize], &Voids::default(), [0; SLOTS as usize], 0),
            hidden: [false; SLOTS as usize],
            locked: [false; SLOTS as usize],
            now: NOON,
            day: DAY,
            seq: 0,
            applied: 0,
            crowd: 1_000,
            newest: DAY,
            standing: BTreeMap::new(),
            ballots: Vec::new(),
            voids: Voids::default(),
            steps: [0; SLOTS as usize],
            in_force: BTreeMap::new(),
            back: BTreeSet::new(),
            changes: Vec::new(),
        }
    }

    fn look(&mut self) {
        self.layout = layout(self.hidden, self.locked, &self.voids, self.steps, self.seq);
    }

    /// Whether a vote counts while it stands.
    fn counts(&self, vote: Seq) -> bool {
        self.in_force.values().all(|(_, votes)| !votes.contains(&vote))
    }

    /// What each clip of a slot has, by the definition.
    fn counted(&self, slot: SlotNo) -> BTreeMap<ClipNo, (i64, i64)> {
        let mut sums: BTreeMap<ClipNo, (i64, i64)> = BTreeMap::new();
        for vote in self.standing.values().filter(|vote| vote.slot == slot && self.counts(vote.vote)) {
            let sum = sums.entry(vote.clip).or_default();
            *sum = (sum.0 + 1, sum.1 + i64::from(vote.weight));
        }
        sums
    }

    /// Voids votes, and notes what that did.
    fn void(&mut self, slot: SlotNo, votes: &[NamedVote]) {
        let plan = VoidPlan { slot, by: VoidBy::Flagged, reason: "why".into() };
        let void = self.log(Event::VoidBegun(Box::new(plan)));
        for part in votes.chunks(NAMED_AT_ONCE) {
            self.log(Event::VotesNamed(Box::new(NamedVotes { void, slot, votes: part.to_vec() })));
        }
        let before = self.counted(slot);
        self.in_force.insert(void, (slot, votes.iter().map(|vote| vote.seq).collect()));
        let seq = self.log(Event::VoidTaken { void, slot });
        self.note_changes(seq, slot, &before);
    }

    fn lift(&mut self, void: Seq) {
        let slot = self.in_force[&void].0;
        let before = self.counted(slot);
        self.in_force.remove(&void);
        let seq = self.log(Event::VoidLifted { void, slot, reason: "why not".into() });
        self.note_changes(seq, slot, &before);
    }

    fn note_changes(&mut self, seq: Seq, slot: SlotNo, before: &BTreeMap<ClipNo, (i64, i64)>) {
        let now = self.counted(slot);
        self.steps[slot.index()] += 1;
        for clip in before.keys().chain(now.keys()).copied().collect::<BTreeSet<_>>() {
            let (was, is) =
                (before.get(&clip).copied().unwrap_or_default(), now.get(&clip).copied().unwrap_or_default());
            self.changes.push((seq, clip, is.0 - was.0, is.1 - was.1));
        }
        self.look();
    }

    fn log(&mut self, event: Event) -> Seq {
        self.seq += 1;
        // Ballots share the log with all else.
        self.seq += u64::from(self.seq.is_multiple_of(3));
        let effect = self.voids.note(self.seq, &event);
        fold(&mut self.tables, &Logged { seq: self.seq, at: self.now, event }, &effect).unwrap();
        self.seq
    }

    fn vote(&mut self, voter: VoterId, clip: u32, weight: u16) {
        let (clip, slot, day) = (ClipNo(clip), SlotNo(clip % SLOTS), self.day);
        if self.standing.contains_key(&(voter, clip)) || self.locked[slot.index()] {
            return;
        }
        self.newest = self.newest.max(day);
        let seq = self.log(Event::Voted(Vote { voter, clip, slot, kind: VoteKind::Standard, weight, day }));
        self.standing.insert((voter, clip), Retraction { voter, clip, slot, vote: seq, weight, day });
        self.ballots.push((seq, self.now, clip, 1, weight.into(), seq));
        self.changes.push((seq, clip, 1, weight.into()));
    }

    fn retract(&mut self, key: (VoterId, ClipNo)) {
        let back = self.standing.remove(&key).unwrap();
        let seq = self.log(Event::Retracted(back));
        self.ballots.push((seq, self.now, back.clip, -1, -i64::from(back.weight), back.vote));
        if self.counts(back.vote) {
            self.changes.push((seq, back.clip, -1, -i64::from(back.weight)));
        } else {
            self.back.insert(back.vote);
        }
    }

    fn take(&mut self, step: Step) {
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

    /// Freezes a slot, sorts its votes, locks it and removes its blocks, while the boards are somewhere.
    fn lock(&mut self, slot: u32, boards: Lag) {
        if std::mem::replace(&mut self.locked[slot as usize], true) {
            return;
        }
        let no = SlotNo(slot);
        self.log(Event::SlotCreated(Slot { no, season: SeasonNo(slot / 2), position: slot % 2 + 1 }));
        let freeze = self.log(Event::SlotFrozen(no));
        self.commit();
        match boards {
            Lag::None => self.follow(),
            Lag::Half => {
                let half = self.boards.as_of().midpoint(freeze);
                while !self.boards.step(half, NOON, &self.layout).unwrap() {}
            }
            Lag::All | Lag::Between => {}
        }
        self.sort(no, freeze);
        self.log(Event::SlotLocked { slot: no, winner: None });
        self.look();
        self.commit();
        let blocks = self.keys(&keys::ballots_of(no));
        for (at, key) in blocks.iter().enumerate() {
            if boards == Lag::Between && at == blocks.len() / 2 {
                self.follow();
            }
            self.disk.open("tables").remove(key).unwrap();
        }
    }

    /// The votes of a slot that stand, as pages: by voter, which is as good an order as any other here.
    fn sort(&self, slot: SlotNo, freeze: Seq) {
        let store = self.disk.open("tables");
        let mut votes: Vec<&Retraction> = self.standing.values().filter(|vote| vote.slot == slot).collect();
        votes.sort_by_key(|vote| (vote.voter, vote.vote));
        let times: BTreeMap<Seq, u64> = self.ballots.iter().map(|(seq, at, ..)| (*seq, *at)).collect();
        let sorted = votes.iter().map(|vote| Sorted {
            who: Who::Voter(vote.voter),
            seq: vote.vote,
            at: times[&vote.vote],
            clip: vote.clip,
            kind: VoteKind::Standard,
            weight: vote.weight,
            day: vote.day,
            origin: Origin::default(),
        });
        let sorted: Vec<Sorted> = sorted.collect();
        for (page, number) in sorted.chunks(BALLOTS_A_PAGE).zip(0..) {
            let key = keys::sorted(slot, 3, BALLOTS, number);
            store.insert(&key, &sorted::page(&key, page)).unwrap();
        }
        let max_day = self.tables.last_ballots(slot).unwrap().map_or(0, |head| head.max_day);
        let pages = SortedPages { generation: 3, leaves: sorted.len() as u64, root: [0; 32], max_day };
        let key = keys::page(Table::Closings, slot.0);
        let closing = Closing { freeze, block: None, sorted: Some(pages) };
        store.insert(&key, &codec::record(Kind::Closing, &key, &closing)).unwrap();
    }

    fn keys(&self, (from, to): &([u8; 13], [u8; 13])) -> Vec<Vec<u8>> {
        let mut keys = Vec::new();
        let store = self.disk.open("tables");
        store
            .scan(from, to, &mut |key, _| {
                keys.push(key.to_vec());
                Ok(std::ops::ControlFlow::Continue(()))
            })
            .unwrap();
        keys
    }

    /// The applier's step, and the boards'.
    fn apply(&mut self) {
        self.commit();
        self.follow();
    }

    fn commit(&mut self) {
        self.tables.commit(Mark { seq: self.seq, block: 1, chain: [0; 32] }).unwrap();
        self.applied = self.seq;
    }

    fn follow(&mut self) {
        while !self.boards.step(self.applied, NOON, &self.layout).unwrap() {}
        assert_eq!(self.boards.as_of(), self.applied);
    }

    /// The naive order of a board: everyone's counting votes summed up and sorted.
    fn ranked(&self, board: Board) -> Vec<(Result<ClipNo, VoterId>, Score)> {
        let mut sums: BTreeMap<Result<ClipNo, VoterId>, Score> = BTreeMap::new();
        for back in self.standing.values() {
            let inside = match board.scope {
                Scope::All => true,
                Scope::Season(season) => self.layout.slots[back.slot.index()].season == season,
                Scope::Slot(slot) => back.slot == slot,
            };
            let in_time = board.window == Window::All || back.day == self.newest;
            let whose = match board.of {
                Subject::Clips => Some(Ok(back.clip)),
                Subject::Voters => Some(Err(back.voter)),
                Subject::Creators => self.layout.clips[back.clip.index()].owner.map(Err),
            };
            let shows = !self.hidden[back.slot.index()] && self.counts(back.vote);
            if let Some(whose) = whose.filter(|_| inside && in_time && shows) {
                let sum = sums.entry(whose).or_default();
                sum.weight += u64::from(back.weight);
                sum.votes += 1;
                sum.last = sum.last.max(back.vote);
            }
        }
        let mut ranked: Vec<_> = sums.into_iter().collect();
        ranked.sort_by(|(_, a), (_, b)| (b.weight, b.votes).cmp(&(a.weight, a.votes)).then(a.last.cmp(&b.last)));
        ranked
    }

    fn who(row: &Row, of: Subject) -> Result<ClipNo, VoterId> {
        if of == Subject::Clips { Ok(row.clip.unwrap()) } else { Err(row.voter.unwrap()) }
    }

    fn check(&self) {
        for of in [Subject::Clips, Subject::Voters, Subject::Creators] {
            let seasons = (0..2).map(|no| Scope::Season(SeasonNo(no)));
            let slots = (0..SLOTS).map(|no| Scope::Slot(SlotNo(no)));
            for scope in seasons.chain(slots).chain([Scope::All]) {
                for window in [Window::All, Window::Day] {
                    self.check_board(Board { of, scope, window });
                }
            }
        }
        for clip in [0, 1, CLIPS - 1] {
            self.check_timeline(ClipNo(clip));
        }
    }

    fn check_board(&self, board: Board) {
        let wanted = self.ranked(board);
        self.boards.build(board).unwrap();
        let (mut rows, mut behind) = (Vec::new(), None);
        loop {
            let (as_of, total, page) = self.boards.page(board, behind, 7).unwrap().unwrap();
            assert_eq!((as_of, total), (self.applied, wanted.len()), "{board:?}");
            let Some(last) = page.last() else { break };
            behind = Some(last.score);
            rows.extend(page);
        }
        let found: Vec<_> = rows.iter().map(|row| (Self::who(row, board.of), row.score)).collect();
        assert_eq!(found, wanted, "{board:?}");
        assert!(rows.iter().zip(1..).all(|(row, rank)| row.rank == rank));
        for (rank, (who, score)) in (1..).zip(&wanted).step_by(3) {
            let Err(voter) = who else { break };
            let (_, place) = self.boards.place(board, *voter).unwrap().unwrap();
            assert_eq!(place, Place { total: wanted.len(), at: Some((rank, *score)) }, "{board:?}");
        }
        let (_, nobody) = self.boards.place(board, VoterId([255; 16])).unwrap().unwrap();
        assert_eq!(nobody, Place { total: wanted.len(), at: None });
    }

    fn voids_of(&self, slot: SlotNo) -> Vec<VoidState> {
        let mut voids = Vec::new();
        self.tables
            .each_void(|void| {
                if void.plan.slot == slot {
                    voids.push(void.clone());
                }
            })
            .unwrap();
        voids
    }

    fn check_timeline(&self, clip: ClipNo) {
        let store = self.disk.open("tables");
        let slot = SlotNo(clip.0 % SLOTS);
        let (voids, masks) = (self.voids_of(slot), self.voids.masks(slot));
        let of = Of { clip, slot, applied: self.applied, voids: &voids, masks: &masks };
        let mine: Vec<_> = self.ballots.iter().filter(|(_, _, of, ..)| *of == clip).collect();
        let locked = self.locked[(clip.0 % SLOTS) as usize];
        let last = mine.iter().map(|(seq, ..)| *seq).max().unwrap_or(0);
        let latest = mine.iter().map(|(_, at, ..)| *at).max().unwrap_or(0);
        // As if what voids take out now had never been.
        let shown = |vote: Seq| self.counts(vote) && !self.back.contains(&vote);
        let until = |time: u64| {
            let sums = mine.iter().filter(|(_, at, .., vote)| *at <= time && shown(*vote));
            let (votes, weight) = sums.fold((0, 0), |sum, (.., votes, weight, _)| (sum.0 + votes, sum.1 + weight));
            (u64::try_from(votes.max(0)).unwrap(), u64::try_from(weight.max(0)).unwrap())
        };
        for seq in (0..=self.seq + 3).step_by(1 + usize::try_from(self.seq).unwrap() / 13) {
            let then = at_sequence(store.as_ref(), of, seq).unwrap().unwrap();
            let sums = self.changes.iter().filter(|(at, of, ..)| *of == clip && *at <= then.as_of);
            let sums = sums.fold((0, 0), |sum, (.., votes, weight)| (sum.0 + votes, sum.1 + weight));
            assert_eq!((then.votes.cast_signed(), then.weight.cast_signed()), sums, "clip {} at {seq}", clip.0);
            // Within a locked slot's segment it is what was in front of it.
            let cut = locked && mine.iter().any(|(at, ..)| (then.as_of + 1..=seq).contains(at));
            assert!(
                then.as_of == seq.min(self.applied) || (cut && then.as_of < seq && last > seq),
                "{then:?} at {seq}"
            );
        }
        let times = mine.iter().map(|(_, at, ..)| *at).step_by(1 + mine.len() / 9);
        for at in times.flat_map(|at| [at - 1, at, at + 1]).chain([0, u64::MAX]) {
            let then = at_time(store.as_ref(), of, at).unwrap().unwrap();
            let exact = then.at_ms.unwrap();
            assert_eq!((then.votes, then.weight), until(exact), "clip {} at time {at}", clip.0);
            assert_eq!(then.as_of, self.applied);
            assert!(exact == at || (locked && exact < at && latest > at), "{then:?} at time {at}");
        }
        for step in [60_000, 300_000, 3_600_000, 86_400_000] {
            // What came before the opening is in its step.
            let opened = NOON + 1_000;
            let mut wanted: BTreeMap<u64, (i64, i64)> = BTreeMap::new();
            for (_, at, _, votes, weight, _) in mine.iter().filter(|(.., vote)| shown(*vote)) {
                let minute = (at - at % 60_000).max(opened);
                let sum = wanted.entry(minute - minute % step).or_default();
                *sum = (sum.0 + votes, sum.1 + weight);
            }
            wanted.retain(|_, change| *change != (0, 0));
            let (mut found, mut from) = (Vec::new(), Some(0));
            while let Some(next) = from {
                let series = series(store.as_ref(), of, step, opened, next, 3).unwrap();
                assert_eq!(series.as_of, self.applied);
                found.extend(series.points);
                from = series.next;
            }
            let plain: Vec<_> = found.iter().map(|one| (one.at, (one.votes, one.weight))).collect();
            assert_eq!(plain, wanted.into_iter().collect::<Vec<_>>());
            if let Some(last) = found.last() {
                assert_eq!((last.total_votes, last.total_weight), until(u64::MAX));
            }
        }
    }
}

fn bounds() -> Bounds {
    // Fewer than there are boards: some are built again and again.
    Bounds { views: 30, ..Bounds::for_voters(1_000_000) }
}

#[test]
fn a_retraction_by_a_clock_that_went_back_is_made_up_for() {
    let mut world = World::new();
    world.vote(voter(1), 0, 1);
    world.vote(voter(2), 0, 1);
    world.now -= 1;
    world.retract((voter(1), ClipNo(0)));
    world.apply();
    world.check_timeline(ClipNo(0));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, max_shrink_iters: 300, ..ProptestConfig::default() })]
    #[test]
    fn boards_and_timelines_are_what_a_naive_model_says(steps in prop::collection::vec(step(), 1..120)) {
        let mut world = World::new();
        world.apply();
        for step in steps {
            world.take(step);
            if step == Step::Look {
                world.check();
            }
        }
        world.apply();
        world.check();
    }
}

#[test]
fn a_busy_minute_is_cut_where_it_is_asked_for() {
    let mut world = World::new();
    for n in 0..40_000_u32 {
        world.now = NOON + u64::from(n / 100);
        world.vote(voter(1_000 + n), n % 2, 1);
    }
    world.apply();
    world.check_timeline(ClipNo(0));
    let board = Board { of: Subject::Voters, scope: Scope::All, window: Window::Day };
    world.check_board(board);
    assert_eq!(world.boards.held(), (40_000, 40_000, 40_000));
}

#[test]
fn there_is_no_board_before_what_was_stored_is_read() {
    let mut world = World::new();
    for n in 0..STEP * 2 {
        world.vote(voter(u32::try_from(n).unwrap()), 0, 1);
    }
    world.apply();
    world.boards = Boards::new(world.disk.open("tables"), bounds(), NOON);
    let board = Board { of: Subject::Clips, scope: Scope::All, window: Window::All };
    assert_eq!(world.boards.build(board), Err(NoBoards::Starting(0)));
    assert!(!world.boards.step(world.applied, NOON, &world.layout).unwrap());
    assert_eq!(world.boards.build(board), Err(NoBoards::Starting(STEP)));
    while !world.boards.step(world.applied, NOON, &world.layout).unwrap() {}
    world.check_board(board);
}

#[test]
fn boards_that_a_lock_overtakes_read_the_slot_anew_and_say_nothing_meanwhile() {
    let mut world = World::new();
    for n in 0..STEP * 2 {
        let n = u32::try_from(n).unwrap();
        world.vote(voter(n), n % 8, 1 + u16::try_from(n % 3).unwrap());
    }
    world.apply();
    let board = Board { of: Subject::Voters, scope: Scope::All, window: Window::Day };
    world.check_board(board);
    for n in 0..300 {
        world.retract((voter(n * 4), ClipNo(n * 4 % 8)));
        world.vote(voter(70_000 + n), n % 8, 1);
    }
    world.lock(0, Lag::All);
    assert_eq!(world.keys(&keys::ballots_of(SlotNo(0))), Vec::<Vec<u8>>::new());
    // Until now they were exact, if late.
    assert!(world.boards.page(board, None, 1).unwrap().is_some());
    assert!(!world.boards.step(world.applied, NOON, &world.layout).unwrap());
    assert_eq!(world.boards.build(board), Err(NoBoards::Starting(world.applied)));
    world.apply();
    world.check();
    // One that they are ahead of costs them nothing.
    world.lock(1, Lag::None);
    assert!(world.boards.step(world.applied, NOON, &world.layout).unwrap());
    world.check();
    world.take(Step::Restart);
    world.apply();
    world.check();
}

/// Everything that anyone sees, before and behind a void and its lifting.
#[test]
fn a_void_that_is_lifted_leaves_no_trace() {
    let mut world = World::new();
    for n in 0..3_000 {
        world.now += 40;
        world.vote(voter(n), n % 8, 1 + u16::try_from(n % 3).unwrap());
    }
    world.apply();
    let boards = |world: &World| {
        let mut seen = Vec::new();
        for of in [Subject::Clips, Subject::Voters, Subject::Creators] {
            let board = Board { of, scope: Scope::All, window: Window::All };
            world.boards.build(board).unwrap();
            seen.push(world.boards.page(board, None, 5_000).unwrap().unwrap().2);
        }
        seen
    };
    let minutes = |world: &World| {
        let store = world.disk.open("tables");
        let (voids, masks) = (world.voids_of(SlotNo(0)), world.voids.masks(SlotNo(0)));
        let of = Of { clip: ClipNo(0), slot: SlotNo(0), applied: world.applied, voids: &voids, masks: &masks };
        series(store.as_ref(), of, 60_000, 0, 0, 1_000).unwrap().points
    };
    let before = (boards(&world), minutes(&world));
    world.take(Step::Void { clip: 0, nth: 2 });
    world.apply();
    world.check();
    let masked: &[Mask] = &world.voids.masks(SlotNo(0));
    assert_eq!(masked.len(), 188);
    assert_ne!((boards(&world), minutes(&world)), before);
    world.take(Step::Lift { nth: 0 });
    world.apply();
    assert_eq!((boards(&world), minutes(&world)), before);
    world.check();
}

/// The retraction of a vote that a void took out is in no minute, so it is none of what a cut segment counts either.
#[test]
fn a_segment_that_is_cut_leaves_out_the_retraction_of_what_a_void_had_taken_out() {
    let mut world = World::new();
    for who in 0..8 {
        world.now += 1;
        world.vote(voter(who), 0, 1);
    }
    world.take(Step::Void { clip: 0, nth: 4 });
    for who in 0..8 {
        world.now += 1;
        world.retract((voter(who), ClipNo(0)));
        world.vote(voter(20 + who), 0, 1);
        world.vote(voter(40 + who), 0, 1);
    }
    world.apply();
    world.check_timeline(ClipNo(0));
    world.take(Step::Lift { nth: 0 });
    world.vote(voter(90), 0, 1);
    world.apply();
    world.check_timeline(ClipNo(0));
}

/// A void takes its votes out at its own place in the log, however far the tables have come since.
#[test]
fn boards_stop_at_a_void_on_their_way() {
    let mut world = World::new();
    for who in 0..20 {
        world.vote(voter(who), 0, 1);
    }
    world.apply();
    let board = Board { of: Subject::Voters, scope: Scope::All, window: Window::All };
    world.check_board(board);
    world.take(Step::Void { clip: 0, nth: 2 });
    let void = world.voids.last(SlotNo(0));
    let wanted = world.ranked(board);
    world.vote(voter(30), 0, 1);
    world.commit();
    assert!(!world.boards.step(world.applied, NOON, &world.layout).unwrap());
    let (as_of, total, _) = world.boards.page(board, None, 1).unwrap().unwrap();
    assert_eq!((as_of, total), (void, wanted.len()));
    world.apply();
    world.check();
}

/// What the stage has no more is known at no place in the log: what counted between the two.
#[test]
fn between_two_voids_that_come_together_there_is_no_board() {
    let mut world = World::new();
    for who in 0..20 {
        world.vote(voter(who), 0, 1);
    }
    world.apply();
    let board = Board { of: Subject::Voters, scope: Scope::All, window: Window::All };
    world.check_board(board);
    world.take(Step::Void { clip: 0, nth: 2 });
    world.commit();
    let between = world.applied;
    // Taken back and cast anew in between: the new vote is not the one that was masked.
    let key = *world.standing.iter().filter(|(_, back)| !world.counts(back.vote)).nth(1).unwrap().0;
    world.retract(key);
    world.vote(key.0, 0, 1);
    world.vote(voter(30), 0, 1);
    world.take(Step::Void { clip: 0, nth: 3 });
    world.boards.step(between, NOON, &world.layout).unwrap();
    assert_eq!(world.boards.build(board), Err(NoBoards::Starting(between)));
    world.apply();
    world.check();
    // One by one they are shown at each.
    world.take(Step::Lift { nth: 0 });
    world.commit();
    let lifted = world.applied;
    world.boards.step(lifted, NOON, &world.layout).unwrap();
    world.check_board(board);
}

/// More votes than readers may wait for.
#[test]
fn a_large_void_is_shown_all_at_once() {
    let mut world = World::new();
    for n in 0..12_000 {
        world.vote(voter(n), 0, 1);
    }
    world.apply();
    let board = Board { of: Subject::Voters, scope: Scope::All, window: Window::All };
    world.check_board(board);
    world.take(Step::Void { clip: 0, nth: 1 });
    world.apply();
    world.check_board(board);
    world.take(Step::Lift { nth: 0 });
    world.apply();
    world.check_board(board);
}

#[test]
fn past_the_bound_there_are_no_boards() {
    let mut world = World::new();
    world.boards = Boards::new(world.disk.open("tables"), Bounds { voters: 3, ..bounds() }, NOON);
    for n in 0..3 {
        world.vote(voter(n), 0, 1);
    }
    world.apply();
    let board = Board { of: Subject::Voters, scope: Scope::All, window: Window::All };
    world.check_board(board);
    // One goes, another comes.
    world.retract((voter(0), ClipNo(0)));
    world.vote(voter(9), 1, 1);
    world.apply();
    world.check_board(board);
    world.vote(voter(0), 0, 1);
    world.apply();
    assert_eq!(world.boards.build(board), Err(NoBoards::Full));
    assert_eq!(world.boards.held(), (0, 0, 0), "nothing is held for nobody");
}

#[test]
fn a_page_of_minutes_that_is_ahead_of_the_mark_says_so() {
    let mut world = World::new();
    world.vote(voter(1), 0, 1);
    world.apply();
    let before = world.applied;
    world.vote(voter(2), 0, 1);
    // The pages are stored and the mark is not known yet.
    world.tables.commit(Mark { seq: world.seq, block: 1, chain: [0; 32] }).unwrap();
    let of = Of { clip: ClipNo(0), slot: SlotNo(0), applied: before, voids: &[], masks: &[] };
    let store = world.disk.open("tables");
    let found = series(store.as_ref(), of, 60_000, 0, 0, 10).unwrap();
    assert_eq!((found.as_of, found.points[0].votes), (world.seq, 2));
    let then = at_sequence(store.as_ref(), of, u64::MAX).unwrap().unwrap();
    assert_eq!((then.as_of, then.votes), (world.seq, 2));
    let then = at_sequence(store.as_ref(), of, before).unwrap().unwrap();
    assert_eq!((then.as_of, then.votes), (before, 1));
}

/// The first page of minutes begins with the void then, behind what there was.
#[test]
fn a_store_from_before_minutes_leaves_out_what_a_void_takes() {
    let mut world = World::new();
    world.vote(voter(1), 0, 1);
    world.vote(voter(2), 0, 2);
    world.apply();
    let store = world.disk.open("tables");
    let (from, to) = keys::timeline_of(0);
    let (key, _) = store.last_in(&from, &to).unwrap().unwrap();
    store.remove(&key).unwrap();
    world.tables = Tables::open(world.disk.open("tables")).unwrap();
    let seen = |world: &World, seq: Seq| {
        let (voids, masks) = (world.voids_of(SlotNo(0)), world.voids.masks(SlotNo(0)));
        let of = Of { clip: ClipNo(0), slot: SlotNo(0), applied: world.applied, voids: &voids, masks: &masks };
        let last = series(store.as_ref(), of, 60_000, 0, 0, 10).unwrap().points.last().copied();
        let then = at_time(store.as_ref(), of, u64::MAX).unwrap().unwrap();
        let at = at_sequence(store.as_ref(), of, seq).unwrap().map(|then| (then.votes, then.weight));
        (last.map(|point| (point.total_votes, point.total_weight)), (then.votes, then.weight), at)
    };
    world.take(Step::Void { clip: 0, nth: 1 });
    let void = world.voids.last(SlotNo(0));
    world.apply();
    assert_eq!(seen(&world, void), (None, (0, 0), Some((0, 0))));
    world.vote(voter(3), 0, 1);
    world.apply();
    assert_eq!(seen(&world, void), (Some((1, 1)), (1, 1), Some((0, 0))));
    assert_eq!(seen(&world, world.seq).2, Some((1, 1)));
    world.take(Step::Lift { nth: 0 });
    world.apply();
    assert_eq!(seen(&world, world.seq), (Some((3, 4)), (3, 4), Some((3, 4))));
    assert_eq!(seen(&world, void).2, Some((0, 0)), "as it was then");
}

#[test]
fn a_store_from_before_minutes_counts_what_it_had() {
    let mut world = World::new();
    world.vote(voter(1), 0, 1);
    world.vote(voter(2), 0, 2);
    world.apply();
    let (from, to) = crate::fold::keys::timelines();
    let store = world.disk.open("tables");
    let mut keys = Vec::new();
    store
        .scan(&from, &to, &mut |key, _| {
            keys.push(key.to_vec());
            Ok(std::ops::ControlFlow::Continue(()))
        })
        .unwrap();
    for key in &keys {
        store.remove(key).unwrap();
    }
    let old = world.seq;
    world.tables = Tables::open(world.disk.open("tables")).unwrap();
    world.vote(voter(3), 0, 1);
    world.apply();
    let of = Of { clip: ClipNo(0), slot: SlotNo(0), applied: world.applied, voids: &[], masks: &[] };
    let found = series(store.as_ref(), of, 60_000, 0, 0, 10).unwrap();
    assert_eq!((found.points[0].votes, found.points[0].total_votes, found.points[0].total_weight), (1, 3, 4));
    let then = at_sequence(store.as_ref(), of, world.seq).unwrap().unwrap();
    assert_eq!((then.votes, then.weight), (3, 4));
    assert_eq!(at_sequence(store.as_ref(), of, old).unwrap(), None, "no minute says");
}
