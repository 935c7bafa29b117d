//! Leaderboards of clips, voters and creators, exact at a sequence that they name, from memory; and what clips had when.
//!
//! The boards follow the tables' mark by reading the stored ballots from the log's beginning on, a bounded stretch of the
//! log a step: the start doesn't wait for them, nor does a vote or the applier. They hold nothing, and read nothing, until
//! someone asks for one. What they hold of a vote is in `votes`, what is ranked in `ranking`; rank is by weight, then
//! votes, then the smaller sequence of the last counting vote.
//!
//! Never: shows or ranks by a vote whose slot hides its counts, holds its lock for longer than a slice of work.

mod feed;
mod layout;
mod ranking;
mod state;
pub mod timeline;
mod votes;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::{Condvar, Mutex, MutexGuard};

pub use layout::{ClipFacts, Layout, Masked, SlotFacts};
pub use ranking::{Ranking, Score};

use crate::domain::{ClipNo, SeasonNo, Seq, SlotNo, VoterId, day_of};
use crate::error::Fault;
use crate::fold::Stored;
use crate::store::Store;
use feed::{Feed, Sealed};
use state::{State, turns};

/// Sequences that a step takes in, at most.
const STEP: u64 = 32_768;
/// Ballots that are taken in at a hold of the lock: less than half a millisecond.
const SLICE: usize = 256;
/// Votes that a void takes out, or brings back, while readers wait: a few milliseconds. More are not shown until all are through.
const MASKS_AT_ONCE: usize = 4_096;
/// Threads that wait for the boards at most: behind that many, others are told at once to ask again.
const WAITING_MAX: u32 = 32;

/// What is ranked.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Subject {
    /// Clips, by what they got.
    Clips,
    /// Voters, by what they gave.
    Voters,
    /// Makers of clips, by what their clips got; clips whose maker is not known are nobody's.
    Creators,
}

/// Which slots' votes count.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Scope {
    /// All.
    All,
    /// A season's.
    Season(SeasonNo),
    /// One slot's.
    Slot(SlotNo),
}

/// Which days' votes count.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Window {
    /// All.
    All,
    /// Those charged to the current UTC day.
    Day,
}

/// A leaderboard.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Board {
    /// What is ranked.
    pub of: Subject,
    /// By which slots' votes.
    pub scope: Scope,
    /// By which days' votes.
    pub window: Window,
}

/// How much the boards may hold.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Bounds {
    /// Voters with a vote that stands; past it there are no boards until a restart.
    pub voters: u64,
    /// Votes that stand, likewise.
    pub votes: u64,
    /// Rankings at most; those asked for the longest ago go first.
    pub views: usize,
    /// Entries of rankings, over all but the one asked for last.
    pub ranked: u64,
}

impl Bounds {
    /// For so many voters: four votes each on average, and 16 million entries of rankings (half a gigabyte).
    pub fn for_voters(voters: u64) -> Self {
        let most = votes::MOST;
        Self { voters: voters.min(most), votes: voters.saturating_mul(4).min(most), views: 64, ranked: 16 << 20 }
    }
}

/// A place of a leaderboard.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Row {
    /// From 1.
    pub rank: usize,
    /// The clip; of a voter or maker, the newest clip that they made.
    pub clip: Option<ClipNo>,
    /// The voter, or maker.
    pub voter: Option<VoterId>,
    /// What the rank is by.
    pub score: Score,
}

/// Where someone is on a leaderboard.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Place {
    /// How many are on it.
    pub total: usize,
    /// Their rank from 1 and score; `None` when nothing of theirs counts.
    pub at: Option<(usize, Score)>,
}

/// Why there is no answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NoBoards {
    /// They still read what was stored before someone first asked, or were behind a lock and read its slot anew: so far up to this
    /// sequence.
    Starting(Seq),
    /// There are more voters or votes than they may hold.
    Full,
}

/// All leaderboards.
#[derive(Debug)]
pub struct Boards {
    state: Mutex<State>,
    feed: Mutex<Feed>,
    /// Someone has asked.
    asked: AtomicBool,
    /// They are at the mark for the first time, or will never be.
    settled: Condvar,
}

impl Boards {
    /// Over tables, before the first step.
    pub fn new(tables: Arc<dyn Store>, bounds: Bounds, now_ms: u64) -> Self {
        let state = Mutex::new(State::new(bounds, day_of(now_ms)));
        Self { state, feed: Mutex::new(Feed::new(tables)), asked: AtomicBool::new(false), settled: Condvar::new() }
    }

    /// Whether anyone has asked for a board: until then nobody needs to step.
    pub fn are_asked_for(&self) -> bool {
        self.asked.load(Ordering::Relaxed)
    }

    /// Goes on towards `applied`, which the tables contain; whether it is reached. `layout` knows everything up to there.
    pub fn step(&self, applied: Seq, now_ms: u64, layout: &Arc<Layout>) -> Result<bool, Fault> {
        let mut feed = self.feed.lock();
        let as_of = {
            let mut state = self.state.lock();
            state.follow(layout);
            state.begin_day(day_of(now_ms));
            if state.skips_a_void() {
                // What counted between two voids that came together is not known any more.
                state.start_again();
            }
            if state.full {
                self.settled.notify_all();
                return Ok(true);
            }
            state.as_of
        };
        self.end_erasures(&feed)?;
        let mut ballots: Vec<Stored> = Vec::new();
        if let Some(sealed) = feed.sealed() {
            self.begin_sealed(sealed);
            feed.gather_sorted(&mut ballots)?;
            self.take(&ballots, |_, _| {});
            return Ok(false);
        }
        // To each void and no further: it takes its votes out at its own place in the log.
        let until = applied.min(as_of + STEP);
        let until = self.state.lock().next_void().map_or(until, |void| until.min(void.max(as_of)));
        feed.gather(until, layout, &mut ballots)?;
        if feed.sealed().is_some() {
            // Votes are missing until its pages are read.
            self.state.lock().start_again();
        }
        self.take(&ballots, |state, stored| state.as_of = stored.seq);
        self.void(until);
        let mut state = self.state.lock();
        state.as_of = until.max(as_of);
        let reached = until >= applied && feed.sealed().is_none();
        state.caught_up |= reached && feed.is_exact_at(until) && !state.skips_a_void();
        if state.caught_up {
            self.settled.notify_all();
        }
        Ok(reached)
    }

    /// Votes of those whose erasure has ended lose them.
    fn end_erasures(&self, feed: &Feed) -> Result<(), Fault> {
        loop {
            let Some((before, voter, slots)) = self.state.lock().next_ended() else { return Ok(()) };
            // Beside the lock: it reads what is stored.
            let ids = slots.into_iter().map(|slot| Ok((slot, feed.erased_in(slot, voter)?)));
            let ids = ids.collect::<Result<Vec<_>, Fault>>()?;
            self.state.lock().end_erasure(before, voter, &ids);
        }
    }

    /// Has the votes of voids up to a sequence count or not.
    fn void(&self, until: Seq) {
        loop {
            let Some((old, new)) = self.state.lock().adopt_voids(until) else { return };
            // Beside the lock, which readers wait for: a slot may have a million masks, and only this thread takes anything in.
            let turned = turns(&old, &new);
            let mut state = self.state.lock();
            if turned.len() <= MASKS_AT_ONCE {
                let lost = turned.iter().filter(|turn| !state.turn(turn)).copied().collect();
                state.turn_lost(lost);
                // In the same hold: every ballot up to there is in already.
                state.as_of = until.max(state.as_of);
                continue;
            }
            state.start_again();
            let mut lost = Vec::new();
            for slice in turned.chunks(SLICE) {
                lost.extend(slice.iter().filter(|turn| !state.turn(turn)).copied());
                MutexGuard::unlock_fair(state);
                state = self.state.lock();
            }
            state.turn_lost(lost);
        }
    }

    /// Forgets what was read of a slot's blocks, before its pages are read.
    fn begin_sealed(&self, of: Sealed) {
        while of.is_new() {
            let mut state = self.state.lock();
            if state.forget(of.slot, SLICE) {
                state.begin_day(of.max_day);
                break;
            }
            MutexGuard::unlock_fair(state);
        }
    }

    /// Takes ballots in, a slice at a hold of the lock.
    fn take(&self, ballots: &[Stored], taken: impl Fn(&mut State, &Stored)) {
        for slice in ballots.chunks(SLICE) {
            let mut state = self.state.lock();
            for stored in slice {
                state.take(stored);
                taken(&mut state, stored);
            }
            // Readers that wait come first.
            MutexGuard::unlock_fair(state);
        }
    }

    /// How far they have come.
    pub fn as_of(&self) -> Seq {
        self.state.lock().as_of
    }

    /// Waits until there are boards, at most so long: the first to ask may wait for a small store to be read. Blocks.
    pub fn wait(&self, at_most: Duration) {
        self.asked.store(true, Ordering::Relaxed);
        let mut state = self.state.lock();
        if state.waiting < WAITING_MAX {
            state.waiting += 1;
            self.settled.wait_while_for(&mut state, |state| !state.caught_up && !state.full, at_most);
            state.waiting -= 1;
        }
    }

    /// Builds a board that nobody has asked for lately. Takes time with the number of voters, without holding the lock for all of
    /// it; a board that is built costs microseconds.
    pub fn build(&self, board: Board) -> Result<(), NoBoards> {
        loop {
            let mut state = self.ready()?;
            if state.build(board) {
                return Ok(());
            }
            MutexGuard::unlock_fair(state);
        }
    }

    /// A page of a board and how many are on it, as of a sequence; `None`: it has to be built.
    #[allow(clippy::type_complexity, reason = "as of, how many, the rows")]
    pub fn page(
        &self,
        board: Board,
        behind: Option<Score>,
        limit: usize,
    ) -> Result<Option<(Seq, usize, Vec<Row>)>, NoBoards> {
        let state = self.ready()?;
        Ok(state.page(board, behind, limit).map(|(total, rows)| (state.as_of, total, rows)))
    }

    /// Where a voter or maker is, as of a sequence; `None`: it has to be built.
    pub fn place(&self, board: Board, voter: VoterId) -> Result<Option<(Seq, Place)>, NoBoards> {
        let state = self.ready()?;
        Ok(state.place(board, voter).map(|place| (state.as_of, place)))
    }

    /// Voters and votes in memory, and entries of rankings.
    pub fn held(&self) -> (u64, u64, u64) {
        self.state.lock().held()
    }

    fn ready(&self) -> Result<MutexGuard<'_, State>, NoBoards> {
        self.asked.store(true, Ordering::Relaxed);
        let state = self.state.lock();
        if state.full {
            return Err(NoBoards::Full);
        }
        if state.caught_up { Ok(state) } else { Err(NoBoards::Starting(state.as_of)) }
    }
}

#[cfg(test)]
mod tests;
