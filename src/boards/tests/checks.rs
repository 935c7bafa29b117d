//! What boards and timelines must show, by the definition.

use std::collections::BTreeMap;

use super::world::{CLIPS, NOON, SLOTS, World};
use super::*;
use crate::boards::timeline::{Of, at_sequence, at_time, series};
use crate::domain::VoidState;

impl World {
    /// The naive order of a board: everyone's counting votes summed up and sorted.
    pub(super) fn ranked(&self, board: Board) -> Vec<(Result<ClipNo, VoterId>, Score)> {
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

    pub(super) fn check(&self) {
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

    pub(super) fn check_board(&self, board: Board) {
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

    pub(super) fn voids_of(&self, slot: SlotNo) -> Vec<VoidState> {
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

    pub(super) fn check_timeline(&self, clip: ClipNo) {
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
