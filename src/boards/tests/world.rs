//! The naive model, and the tables and boards that it is held against: whatever happens to votes happens to all three.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::*;
use crate::codec::{self, Kind};
use crate::domain::{
    Event, Logged, NAMED_AT_ONCE, NamedVote, NamedVotes, Origin, Retraction, Slot, VoidBy, VoidPlan, Vote, VoteKind,
};
use crate::fold::keys::{self, Table};
use crate::fold::sorted::{self, BALLOTS, BALLOTS_A_PAGE, Closing, Sorted, SortedPages, Who};
use crate::fold::{Mark, Tables, Voids, fold};
use crate::store::FaultyDisk;

pub(super) const DAY: u16 = 19_675;
pub(super) const NOON: u64 = 19_675 * 86_400_000 + 43_200_000;
pub(super) const CLIPS: u32 = 40;
pub(super) const SLOTS: u32 = 4;

/// How far the boards are when a slot's blocks go.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) enum Lag {
    /// They have read all of them.
    None,
    /// They have read what came before the last apply, and half of the rest.
    Half,
    /// They have read what came before the last apply.
    All,
    /// The same, and read while half of the blocks are gone.
    Between,
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

pub(super) fn voter(n: u32) -> VoterId {
    let mut id = [u8::try_from(n % 251).expect("below 251"); 16];
    id[..4].copy_from_slice(&n.wrapping_mul(0x9e37_79b9).to_be_bytes());
    VoterId(id)
}

pub(super) struct World {
    pub(super) disk: FaultyDisk,
    pub(super) tables: Tables,
    pub(super) boards: Boards,
    pub(super) layout: Arc<Layout>,
    pub(super) hidden: [bool; SLOTS as usize],
    pub(super) locked: [bool; SLOTS as usize],
    pub(super) now: u64,
    pub(super) day: u16,
    pub(super) seq: Seq,
    pub(super) applied: Seq,
    pub(super) crowd: u32,
    /// The latest day that a ballot was charged to.
    pub(super) newest: u16,
    /// By voter and clip.
    pub(super) standing: BTreeMap<(VoterId, ClipNo), Retraction>,
    /// Every ballot: sequence, time, clip, votes, weight, and the vote that it is, or takes back.
    pub(super) ballots: Vec<(Seq, u64, ClipNo, i64, i64, Seq)>,
    pub(super) voids: Voids,
    /// Voids and liftings of each slot.
    pub(super) steps: [usize; SLOTS as usize],
    /// The votes of each void in force, and its slot.
    pub(super) in_force: BTreeMap<Seq, (SlotNo, BTreeSet<Seq>)>,
    /// Votes that were taken back while a void named them: neither counts any more.
    pub(super) back: BTreeSet<Seq>,
    /// How each clip's count has changed: at a sequence, by votes and weight.
    pub(super) changes: Vec<(Seq, ClipNo, i64, i64)>,
}

impl World {
    pub(super) fn new() -> Self {
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

    pub(super) fn look(&mut self) {
        self.layout = layout(self.hidden, self.locked, &self.voids, self.steps, self.seq);
    }

    /// Whether a vote counts while it stands.
    pub(super) fn counts(&self, vote: Seq) -> bool {
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
    pub(super) fn void(&mut self, slot: SlotNo, votes: &[NamedVote]) {
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

    pub(super) fn lift(&mut self, void: Seq) {
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

    pub(super) fn vote(&mut self, voter: VoterId, clip: u32, weight: u16) {
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

    pub(super) fn retract(&mut self, key: (VoterId, ClipNo)) {
        let back = self.standing.remove(&key).unwrap();
        let seq = self.log(Event::Retracted(back));
        self.ballots.push((seq, self.now, back.clip, -1, -i64::from(back.weight), back.vote));
        if self.counts(back.vote) {
            self.changes.push((seq, back.clip, -1, -i64::from(back.weight)));
        } else {
            self.back.insert(back.vote);
        }
    }

    /// Freezes a slot, sorts its votes, locks it and removes its blocks, while the boards are somewhere.
    pub(super) fn lock(&mut self, slot: u32, boards: Lag) {
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

    pub(super) fn keys(&self, (from, to): &([u8; 13], [u8; 13])) -> Vec<Vec<u8>> {
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
    pub(super) fn apply(&mut self) {
        self.commit();
        self.follow();
    }

    pub(super) fn commit(&mut self) {
        self.tables.commit(Mark { seq: self.seq, block: 1, chain: [0; 32] }).unwrap();
        self.applied = self.seq;
    }

    pub(super) fn follow(&mut self) {
        while !self.boards.step(self.applied, NOON, &self.layout).unwrap() {}
        assert_eq!(self.boards.as_of(), self.applied);
    }
}

pub(super) fn bounds() -> Bounds {
    // Fewer than there are boards: some are built again and again.
    Bounds { views: 30, ..Bounds::for_voters(1_000_000) }
}
