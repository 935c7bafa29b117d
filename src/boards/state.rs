//! All votes and the rankings that someone has asked for, under one lock: a vote moves in each of those that it counts in.
//!
//! A ranking is built at the first ask, a slice of voters or clips at a hold of the lock, and kept for as long as others are not
//! asked for more. One that comes to depend on other votes (a slot shows its counts, a day begins) is dropped and built
//! again when someone asks.

use std::sync::Arc;

use super::layout::{Creators, Layout, Masked};
use super::ranking::{Ranking, Score};
use super::votes::Votes;
use super::{Board, Bounds, Place, Row, Scope, Subject, Window};
use crate::domain::{ClipNo, Day, Seq, SlotNo, VoterId};
use crate::fold::ballot_block::Act;
use crate::fold::{Mask, Stored, find};

/// Voters or clips that are ranked at a hold of the lock while a ranking is built.
const BUILD: u32 = 2_048;

/// What is under the lock.
#[derive(Debug)]
pub(super) struct State {
    votes: Votes,
    layout: Arc<Layout>,
    creators: Creators,
    views: Vec<View>,
    /// What voids take out, by slot number, as far as it is taken out.
    masked: Vec<Masked>,
    /// Voters whose erasure has ended, and whose votes here still name them.
    ended: Vec<(Seq, VoterId)>,
    bounds: Bounds,
    /// Asks so far: tells which view was asked for last.
    asks: u64,
    /// Everything up to it is in.
    pub(super) as_of: Seq,
    /// It has been at the mark once.
    pub(super) caught_up: bool,
    /// Threads that wait for that.
    pub(super) waiting: u32,
    /// More than the bounds allow: there is nothing here any more.
    pub(super) full: bool,
}

/// A vote that counts no more, or again.
#[derive(Clone, Copy, Debug)]
pub(super) struct Turn {
    mask: Mask,
    counts: bool,
}

/// Votes that count no more, or again, where other masks are in force.
pub(super) fn turns(old: &Masked, new: &Masked) -> Vec<Turn> {
    let out = new.masks.iter().filter(|mask| find(&old.masks, mask.vote.seq).is_none());
    let back = old.masks.iter().filter(|mask| find(&new.masks, mask.vote.seq).is_none());
    let out = out.map(|mask| Turn { mask: *mask, counts: false });
    out.chain(back.map(|mask| Turn { mask: *mask, counts: true })).collect()
}

/// A ranking that was asked for.
#[derive(Debug)]
struct View {
    board: Board,
    ranking: Ranking,
    /// Ids below it are ranked.
    built: u32,
    complete: bool,
    asked: u64,
}

impl State {
    /// Without a vote.
    pub(super) fn new(bounds: Bounds, today: Day) -> Self {
        Self {
            votes: Votes::new(today),
            layout: Arc::default(),
            creators: Creators::default(),
            views: Vec::new(),
            masked: Vec::new(),
            ended: Vec::new(),
            bounds,
            asks: 0,
            as_of: 0,
            caught_up: false,
            waiting: 0,
            full: false,
        }
    }

    /// The stage has changed: what is shown and hidden by it too.
    pub(super) fn follow(&mut self, layout: &Arc<Layout>) {
        if Arc::ptr_eq(&self.layout, layout) {
            return;
        }
        let old = std::mem::replace(&mut self.layout, Arc::clone(layout));
        if old.clips.iter().zip(&layout.clips).any(|(old, new)| old.owner != new.owner) {
            // A maker was erased: clips of nobody's are nobody's rank.
            self.creators = Creators::default();
            self.views.retain(|view| view.board.of != Subject::Creators);
        }
        self.creators.follow(layout);
        // In the order of their begins.
        self.ended.extend(old.erasures.iter().filter(|of| layout.erasures.binary_search(of).is_err()));
        for (known, new) in self.masked.iter_mut().zip(&layout.voids).filter(|(known, new)| known.since == new.since) {
            // Without those who were erased.
            known.masks = Arc::clone(&new.masks);
        }
        let both = old.slots.iter().zip(&layout.slots);
        let turned = both.clone().any(|(old, new)| old.hidden != new.hidden && new.has_voted);
        if turned {
            self.views.clear();
        }
    }

    /// Votes charged to this day are the day's from here on, unless a later one has begun.
    pub(super) fn begin_day(&mut self, day: Day) {
        if day > self.votes.today() {
            self.votes.begin_day(day);
            self.views.retain(|view| view.board.window == Window::All);
        }
    }

    /// The first void, or lifting of one, that is not taken in.
    pub(super) fn next_void(&self) -> Option<Seq> {
        self.new_voids().map(|(_, masked)| masked.since).min()
    }

    fn new_voids(&self) -> impl Iterator<Item = (usize, &Masked)> {
        let known = |slot: usize| self.masked.get(slot).map_or(0, |masked| masked.since);
        self.layout.voids.iter().enumerate().filter(move |(slot, masked)| masked.since != known(*slot))
    }

    /// Whether a slot's next void, or lifting of one, is not the one that follows what is taken in: until that, what counts is known
    /// at no place in the log.
    pub(super) fn skips_a_void(&self) -> bool {
        let known = |slot: usize| self.masked.get(slot).map_or(0, |masked| masked.steps);
        self.new_voids().any(|(slot, new)| new.steps > known(slot) + 1)
    }

    /// Takes in what voids up to a sequence do to a slot: what they took out before, and now. Votes that come later are counted by
    /// it; of those that are here some turn.
    pub(super) fn adopt_voids(&mut self, until: Seq) -> Option<(Masked, Masked)> {
        let (slot, new) = self.new_voids().find(|(_, masked)| masked.since <= until)?;
        let new = new.clone();
        if self.masked.len() <= slot {
            self.masked.resize(slot + 1, Masked::default());
        }
        let old = std::mem::replace(&mut self.masked[slot], new.clone());
        Some((old, new))
    }

    /// Has a vote that a void names count or not; one that is not here was taken back, or comes later. `false`: it is not found by
    /// its voter, who may have been erased.
    pub(super) fn turn(&mut self, turn: &Turn) -> bool {
        let named = turn.mask.vote;
        let voter = self.votes.find(named.voter);
        let Some((voter, vote)) = voter.and_then(|voter| Some((voter, self.votes.find_vote(voter, named.clip)?)))
        else {
            // A search through all that a clip has is for those alone: votes that were taken back are under voids too.
            return named.voter != VoterId::NOBODY && self.layout.erasures.is_empty();
        };
        if self.votes.seq_of(vote) == named.seq {
            self.change(voter, named.clip, named.day, |votes| votes.set_counts(vote, turn.counts));
        }
        true
    }

    /// The same for votes that their voters did not lead to: looks through all that their clips have.
    pub(super) fn turn_lost(&mut self, mut lost: Vec<Turn>) {
        lost.sort_unstable_by_key(|turn| (turn.mask.vote.clip, turn.mask.vote.seq));
        for of_clip in lost.chunk_by(|one, next| one.mask.vote.clip == next.mask.vote.clip) {
            let clip = of_clip[0].mask.vote.clip;
            let seqs: Vec<Seq> = of_clip.iter().map(|turn| turn.mask.vote.seq).collect();
            for (at, seq) in self.votes.find_all(clip, &seqs) {
                let turn = of_clip[seqs.binary_search(&seq).expect("it was looked for")];
                let (voter, clip, day) = self.votes.facts(at);
                self.change(voter, clip, day, |votes| votes.set_counts(at, turn.counts));
            }
        }
    }

    /// The first whose erasure has ended and who is named here, and the slots of their votes.
    pub(super) fn next_ended(&mut self) -> Option<(Seq, VoterId, Vec<SlotNo>)> {
        let (before, voter) = *self.ended.last()?;
        let place = self.votes.find(voter);
        let votes = place.map(|place| self.votes.of(place)).unwrap_or_default();
        let of_them = votes.into_iter().filter(|(_, seq)| *seq < before);
        let mut slots: Vec<SlotNo> =
            of_them.filter_map(|(at, _)| Some(self.layout.slot_of(self.votes.facts(at).1)?.0)).collect();
        slots.sort_unstable();
        slots.dedup();
        Some((before, voter, slots))
    }

    /// Their votes of before it are someone else's in each slot from here on, as in its sorted pages.
    pub(super) fn end_erasure(&mut self, before: Seq, voter: VoterId, ids: &[(SlotNo, VoterId)]) {
        self.ended.retain(|of| *of != (before, voter));
        let Some(place) = self.votes.find(voter) else { return };
        for (at, _) in self.votes.of(place).into_iter().filter(|(_, seq)| *seq < before) {
            let (_, clip, day) = self.votes.facts(at);
            let slot = self.layout.slot_of(clip).map(|(slot, _)| slot);
            let Some((_, id)) = ids.iter().find(|(of, _)| Some(*of) == slot) else { continue };
            self.change(place, clip, day, |votes| votes.part(at));
            let new = self.votes.find_or_add(*id);
            self.change(new, clip, day, |votes| votes.give(at, new));
        }
    }

    fn is_masked(&self, clip: ClipNo, vote: Seq) -> bool {
        let slot = self.layout.slot_of(clip).map(|(slot, _)| slot.index());
        slot.and_then(|slot| self.masked.get(slot)).is_some_and(|masked| find(&masked.masks, vote).is_some())
    }

    /// Takes a ballot in, in log order.
    pub(super) fn take(&mut self, stored: &Stored) {
        let Stored { seq, ballot, .. } = stored;
        if self.full {
            return;
        }
        self.begin_day(ballot.day);
        match ballot.act {
            Act::Cast(_) => {
                let is_new = self.votes.find(ballot.voter).is_none();
                if self.votes.count() >= self.bounds.votes || (is_new && self.votes.known() >= self.bounds.voters) {
                    self.overflow();
                    return;
                }
                let voter = self.votes.find_or_add(ballot.voter);
                let counts = !self.is_masked(ballot.clip, *seq);
                self.change(voter, ballot.clip, ballot.day, |votes| votes.cast(voter, *seq, ballot, counts));
            }
            Act::Retract(_) => {
                let voter = self.votes.find(ballot.voter);
                // A store that contradicts itself in this is refused at its start, and named by `verify`.
                let Some(voter) = voter else { return };
                let Some(vote) = self.votes.find_vote(voter, ballot.clip) else { return };
                self.change(voter, ballot.clip, ballot.day, |votes| votes.remove(vote));
            }
        }
    }

    /// There is nothing to show until the mark is reached anew.
    pub(super) fn start_again(&mut self) {
        self.caught_up = false;
        self.views.clear();
    }

    /// Takes out some votes of a slot, while there is nothing to show; whether that was all.
    pub(super) fn forget(&mut self, slot: SlotNo, mut most: usize) -> bool {
        assert!(!self.caught_up && self.views.is_empty(), "nobody sees a part of a slot");
        let layout = Arc::clone(&self.layout);
        for (clip, _) in (0..).map(ClipNo).zip(&layout.clips).filter(|(_, facts)| facts.slot == slot) {
            while let Some(vote) = self.votes.newest_of(clip) {
                if most == 0 {
                    return false;
                }
                self.votes.remove(vote);
                most -= 1;
            }
        }
        true
    }

    /// Changes a vote, and every ranking that it counts in.
    fn change(&mut self, voter: u32, clip: ClipNo, day: Day, change: impl FnOnce(&mut Votes)) {
        if self.views.is_empty() {
            return change(&mut self.votes);
        }
        let mut views = std::mem::take(&mut self.views);
        let of_today = day == self.votes.today();
        let moved: Vec<(usize, u32, Score)> = views
            .iter()
            .enumerate()
            .filter(|(_, view)| (of_today || view.board.window == Window::All) && self.counts_in(&view.board, clip))
            .filter_map(|(at, view)| {
                let id = match view.board.of {
                    Subject::Clips => clip.0,
                    Subject::Voters => voter,
                    Subject::Creators => self.creators.of_clip(clip)?,
                };
                (view.complete || id < view.built).then(|| (at, id, self.score(&view.board, id)))
            })
            .collect();
        change(&mut self.votes);
        for (at, id, before) in moved {
            let view = &mut views[at];
            // A voter who is gone with their last vote has no place any more.
            let gone = view.board.of == Subject::Voters && !self.votes.is_voter(id);
            let now = if gone { Score::default() } else { self.score(&view.board, id) };
            if now == before {
                continue;
            }
            if !before.is_empty() {
                view.ranking.remove(before, id);
            }
            if !now.is_empty() {
                view.ranking.insert(now, id);
            }
        }
        self.views = views;
    }

    /// Builds a ranking a little further; whether it is complete.
    pub(super) fn build(&mut self, board: Board) -> bool {
        self.asks += 1;
        let known = self.views.iter().position(|view| view.board == board);
        let at = known.unwrap_or_else(|| {
            self.make_room();
            self.views.push(View { board, ranking: Ranking::default(), built: 0, complete: false, asked: 0 });
            self.views.len() - 1
        });
        self.views[at].asked = self.asks;
        if self.views[at].complete {
            return true;
        }
        let mut view = self.views.swap_remove(at);
        let end = match board.of {
            Subject::Clips => u32::try_from(self.layout.clips.len()).expect("clips are numbered in 32 bits"),
            Subject::Voters => self.votes.voters_end(),
            Subject::Creators => self.creators.len(),
        };
        let to = end.min(view.built.saturating_add(BUILD));
        for id in view.built..to {
            if board.of == Subject::Voters && !self.votes.is_voter(id) {
                continue;
            }
            let score = self.score(&board, id);
            if !score.is_empty() {
                view.ranking.insert(score, id);
            }
        }
        (view.built, view.complete) = (to, to == end);
        let complete = view.complete;
        self.views.push(view);
        complete
    }

    /// A page of a ranking that is built, behind a score or from the front; `None`: it is not built.
    pub(super) fn page(&self, board: Board, behind: Option<Score>, limit: usize) -> Option<(usize, Vec<Row>)> {
        let view = self.view(board)?;
        let rows = view.ranking.page(behind, limit).into_iter().map(|(rank, id, score)| {
            let (clip, voter) = match board.of {
                Subject::Clips => (Some(ClipNo(id)), None),
                Subject::Voters => {
                    let voter = self.votes.voter(id);
                    (self.newest_of(voter), Some(voter))
                }
                Subject::Creators => {
                    let (owner, clips) = self.creators.get(id);
                    (clips.last().copied(), Some(owner))
                }
            };
            Row { rank, clip, voter, score }
        });
        Some((view.ranking.len(), rows.collect()))
    }

    /// A voter's place in a ranking that is built; `None`: it is not built.
    pub(super) fn place(&self, board: Board, voter: VoterId) -> Option<Place> {
        let view = self.view(board)?;
        let id = match board.of {
            Subject::Clips => None,
            Subject::Voters => self.votes.find(voter),
            Subject::Creators => self.creators.find(voter),
        };
        let score = id.map(|id| self.score(&board, id)).filter(|score| !score.is_empty());
        let at = score.map(|score| (view.ranking.before(score) + 1, score));
        Some(Place { total: view.ranking.len(), at })
    }

    /// Voters and votes in memory, and entries of rankings.
    pub(super) fn held(&self) -> (u64, u64, u64) {
        let ranked = self.views.iter().map(|view| view.ranking.len() as u64).sum();
        (self.votes.known(), self.votes.count(), ranked)
    }

    /// The newest clip of someone who makes clips.
    fn newest_of(&self, voter: VoterId) -> Option<ClipNo> {
        let (_, clips) = self.creators.get(self.creators.find(voter)?);
        clips.last().copied()
    }

    fn view(&self, board: Board) -> Option<&View> {
        self.views.iter().find(|view| view.board == board && view.complete)
    }

    /// Whether a clip's votes count on a board. Nothing depends on those that are hidden.
    fn counts_in(&self, board: &Board, clip: ClipNo) -> bool {
        self.layout.slot_of(clip).is_some_and(|(slot, facts)| {
            let inside = match board.scope {
                Scope::All => true,
                Scope::Season(season) => facts.season == season,
                Scope::Slot(of) => slot == of,
            };
            inside && !facts.hidden
        })
    }

    fn score(&self, board: &Board, id: u32) -> Score {
        let day = board.window == Window::Day;
        let of_clip = |clip: ClipNo| {
            if self.counts_in(board, clip) { self.votes.of_clip(clip, day) } else { Score::default() }
        };
        match board.of {
            Subject::Clips => of_clip(ClipNo(id)),
            Subject::Voters => self
                .votes
                .of_voter(id, |vote| (!day || vote.day == self.votes.today()) && self.counts_in(board, vote.clip)),
            Subject::Creators => {
                self.creators.get(id).1.iter().map(|clip| of_clip(*clip)).fold(Score::default(), |sum, one| Score {
                    weight: sum.weight + one.weight,
                    votes: sum.votes + one.votes,
                    last: sum.last.max(one.last),
                })
            }
        }
    }

    /// Lets go of the rankings that nobody has asked for the longest.
    fn make_room(&mut self) {
        while self.views.len() >= self.bounds.views || (self.views.len() > 1 && self.held().2 > self.bounds.ranked) {
            let oldest = (0..self.views.len()).min_by_key(|at| self.views[*at].asked).expect("there are some");
            self.views.swap_remove(oldest);
        }
    }

    fn overflow(&mut self) {
        tracing::warn!(
            "leaderboards end until a restart: more than {} voters or {} votes; see --max-voters",
            self.bounds.voters,
            self.bounds.votes
        );
        (self.votes, self.views, self.full) = (Votes::new(self.votes.today()), Vec::new(), true);
    }
}
