//! Leaderboards and timelines for readers, and the thread that has the boards follow the mark.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::read::counts;
use super::{Core, Engine};
use crate::boards::timeline::{self, Of, Series, Then};
use crate::boards::{
    Board, Boards, ClipFacts, Layout, Masked, NoBoards, Row, Scope, Score, SlotFacts, Subject, Window,
};
use crate::clock::Clock;
use crate::domain::{ClipId, SeasonId, Seq, SlotNo, SlotStatus, VoterId};
use crate::error::{Fault, Reject};
use crate::log::Progress;
use crate::metrics::Metrics;
use crate::stage::{ClipState, Scene, SlotState, SlotVoids, Stage};

/// The boards wait so long for the mark to move before they look at the clock again.
const IDLE: Duration = Duration::from_millis(100);
/// Whoever asks first waits so long for them at most, before being told to ask again.
const FIRST_ASK: Duration = Duration::from_secs(1);
/// After a failed read they wait so long.
const AFTER_FAILURE: Duration = Duration::from_secs(5);

/// Whether an answer is as of a sequence or a time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Moment {
    /// Behind the event of this sequence.
    Sequence(Seq),
    /// At this time, Unix milliseconds.
    Time(u64),
}

/// A page of a leaderboard.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Leaderboard {
    /// Exact as of this sequence.
    pub as_of: Seq,
    /// How many are on it.
    pub total: usize,
    /// The page.
    pub rows: Vec<Ranked>,
    /// Behind which score the next page begins.
    pub next: Option<Score>,
    /// Votes that are hidden now are not on it.
    pub hides: bool,
}

/// Someone, or a clip, at a place of a leaderboard.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Ranked {
    /// From 1.
    pub rank: usize,
    /// What the rank is by.
    pub score: Score,
    /// The clip, on a board of clips.
    pub clip: Option<RankedClip>,
    /// The voter's or maker's public name.
    pub user_id: Option<String>,
    /// Their name for people, where it is known: makers say theirs with their clips.
    pub username: Option<String>,
    /// Their picture, likewise.
    pub avatar_url: Option<String>,
}

/// A clip on a leaderboard.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RankedClip {
    /// Its id.
    pub id: ClipId,
    /// For people.
    pub title: String,
    /// Its picture.
    pub thumbnail_url: Option<String>,
    /// Its season.
    pub season: SeasonId,
    /// Its slot's position.
    pub position: u32,
}

/// Where someone is on a leaderboard.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Standing {
    /// Exact as of this sequence.
    pub as_of: Seq,
    /// How many are on it.
    pub total: usize,
    /// Their public name.
    pub user_id: String,
    /// Their rank from 1 and score; `None` when nothing of theirs counts.
    pub at: Option<(usize, Score)>,
}

impl Engine {
    /// The board of a season and slot, by id and position: of everything without a season, of the newest active one's slot with a
    /// position alone.
    pub fn board(&self, of: Subject, season: Option<&str>, slot: Option<u32>, window: Window) -> Result<Board, Reject> {
        let scene = self.core.stage.look();
        let season = match (season, slot) {
            (Some(id), _) => Some(scene.season(id)?),
            (None, Some(_)) => Some(scene.newest_active().ok_or(Reject::SlotNotFound)?),
            (None, None) => None,
        };
        let scope = match (season, slot) {
            (Some(season), Some(position)) => Scope::Slot(scene.slot(season, position)?.slot.no),
            (Some(season), None) => Scope::Season(season.season.no),
            (None, _) => Scope::All,
        };
        Ok(Board { of, scope, window })
    }

    /// A page of a board, behind a score or from the front; `None`: nobody asked for it lately, or for any yet, and
    /// [`Engine::build_board`] comes first.
    pub fn leaderboard(
        &self,
        board: Board,
        behind: Option<Score>,
        limit: usize,
    ) -> Result<Option<Leaderboard>, Reject> {
        let Some((as_of, total, rows)) = unless_starting(self.core.boards.page(board, behind, limit))? else {
            return Ok(None);
        };
        let scene = self.core.stage.look();
        let last = rows.last().filter(|row| row.rank < total);
        let next = last.map(|row| row.score);
        let rows = rows.iter().filter_map(|row| self.ranked(&scene, board.of, row)).collect();
        let hides = scene.slots.iter().any(|slot| slot.hides_counts() && is_in(board.scope, slot));
        Ok(Some(Leaderboard { as_of, total, rows, next, hides }))
    }

    /// Ranks a board. Takes time with the number of voters, and at the first ask of all with that of votes, up to a second before
    /// it is `NotReady`: for a thread that may block.
    pub fn build_board(&self, board: Board) -> Result<(), Reject> {
        self.core.boards.wait(FIRST_ASK);
        self.core.boards.build(board).map_err(no_boards)
    }

    /// Where a voter, or maker, is on a board; `None`: [`Engine::build_board`] comes first.
    pub fn standing(&self, board: Board, voter: VoterId) -> Result<Option<Standing>, Reject> {
        let found = unless_starting(self.core.boards.place(board, voter))?;
        let user_id = self.core.settings.voter_key.public(voter);
        Ok(found.map(|(as_of, place)| Standing { as_of, total: place.total, user_id, at: place.at }))
    }

    /// What a clip gained and lost in each step from a time on, at most so many, since its slot opened; `None` while its counts
    /// are hidden. `step_ms` is a multiple of a minute. Reads pages: for a thread that may block.
    pub fn timeline(&self, clip: &str, step_ms: u64, from_ms: u64, limit: usize) -> Result<Option<Series>, Reject> {
        self.timed(clip, |of, slot| {
            let opened = slot.span.started_at.unwrap_or(0);
            timeline::series(self.core.tables.as_ref(), of, step_ms, opened, from_ms, limit)
        })
    }

    /// What a clip had at a moment; `None` while its counts are hidden. Reads pages: for a thread that may block.
    pub fn counts_then(&self, clip: &str, moment: Moment) -> Result<Option<Then>, Reject> {
        let store = self.core.tables.as_ref();
        let found = self.timed(clip, |of, _| match moment {
            Moment::Sequence(seq) => timeline::at_sequence(store, of, seq),
            Moment::Time(at_ms) => timeline::at_time(store, of, at_ms),
        })?;
        let why = match moment {
            Moment::Sequence(_) => "it lies before the first event that minutes were kept of",
            Moment::Time(_) => "the clock jumped about in that minute: ask for a sequence",
        };
        found.map(|then| then.ok_or(Reject::InvalidParameter { name: "at", why: why.into() })).transpose()
    }

    /// The boards.
    pub fn boards(&self) -> &Boards {
        &self.core.boards
    }

    fn timed<T>(&self, clip: &str, read: impl Fn(Of<'_>, &SlotState) -> Result<T, Fault>) -> Result<Option<T>, Reject> {
        loop {
            let scene = self.core.stage.look_whole();
            let state: &Arc<ClipState> = scene.clip(clip)?;
            let slot = scene.slot_of(&state.clip);
            if counts(&scene, state).is_none() {
                return Ok(None);
            }
            self.core.until_applied_here(slot.voids.last)?;
            // Before anything is read: the answer is exact there or later.
            let applied = self.core.progress.applied();
            let (voids, masks) = (&slot.voids.list, &slot.voids.masks);
            let of = Of { clip: state.clip.no, slot: slot.slot.no, applied, voids, masks };
            let found = read(of, slot).map_err(|failure| self.core.unreadable(&failure))?;
            // The stage has a void before the tables do: what was read has none that this did not know.
            if self.core.last_void(slot.slot.no) == slot.voids.last {
                return Ok(Some(found));
            }
        }
    }

    fn ranked(&self, scene: &Scene, of: Subject, row: &Row) -> Option<Ranked> {
        let state = row.clip.map(|no| &scene.clips[no.index()]);
        let clip = match of {
            // What has come to be hidden since is left out here too.
            Subject::Clips => Some(ranked_clip(scene, state.filter(|state| counts(scene, state).is_some())?)),
            Subject::Voters | Subject::Creators => None,
        };
        Some(Ranked {
            rank: row.rank,
            score: row.score,
            clip,
            user_id: row.voter.map(|voter| self.core.settings.voter_key.public(voter)),
            username: state.and_then(|state| state.clip.draft.username.clone()),
            avatar_url: state.and_then(|state| state.clip.draft.avatar_url.clone()),
        })
    }
}

impl Core {
    /// A slot's last void, or lifting of one, that took effect; 0 for none.
    pub(super) fn last_void(&self, slot: SlotNo) -> Seq {
        self.stage.look().slots[slot.index()].voids.last
    }

    /// Waits until the tables contain a sequence that was settled, on this thread.
    pub(super) fn until_applied_here(&self, seq: Seq) -> Result<(), Reject> {
        while self.progress.applied() < seq {
            self.takes_writes()?;
            self.progress.nudge();
            self.progress.wait(IDLE, |progress| progress.applied() >= seq);
        }
        Ok(())
    }

    fn unreadable(&self, failure: &Fault) -> Reject {
        self.metrics.read_failures.inc();
        tracing::error!("a timeline can't be read: {failure}");
        Reject::StorageFailed
    }
}

fn ranked_clip(scene: &Scene, state: &ClipState) -> RankedClip {
    let slot = scene.slot_of(&state.clip);
    RankedClip {
        id: state.clip.id.clone(),
        title: state.clip.draft.title.clone(),
        thumbnail_url: state.clip.draft.thumbnail_url.clone(),
        season: scene.seasons[slot.slot.season.index()].season.id.clone(),
        position: slot.slot.position,
    }
}

fn is_in(scope: Scope, slot: &SlotState) -> bool {
    match scope {
        Scope::All => true,
        Scope::Season(season) => slot.slot.season == season,
        Scope::Slot(no) => slot.slot.no == no,
    }
}

/// While the boards start there is nothing yet, and building waits for them.
fn unless_starting<T>(found: Result<Option<T>, NoBoards>) -> Result<Option<T>, Reject> {
    match found {
        Err(NoBoards::Starting(_)) => Ok(None),
        found => found.map_err(no_boards),
    }
}

fn no_boards(why: NoBoards) -> Reject {
    Reject::NotReady {
        why: match why {
            NoBoards::Starting(_) => "the leaderboards still read what was stored before they were first asked for",
            NoBoards::Full => "there are more voters than --max-voters lets the leaderboards hold",
        },
    }
}

/// Has the boards follow the mark, from the first ask on: what nobody looks at costs the votes nothing.
pub(super) struct Follower {
    pub(super) boards: Arc<Boards>,
    pub(super) stage: Arc<Stage>,
    pub(super) progress: Arc<Progress>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) metrics: Arc<Metrics>,
}

impl Follower {
    /// Runs until told to stop. Never takes more than half of a core, so that votes keep the rest.
    pub(super) fn run(self, stop: impl Fn() -> bool) {
        while !stop() && !self.boards.are_asked_for() {
            self.progress.wait(IDLE, |_| stop() || self.boards.are_asked_for());
        }
        let mut known: Option<(Arc<Scene>, u64, Arc<Layout>)> = None;
        while !stop() {
            // The mark before the stage: the stage then knows of every slot that hides votes up to the mark.
            let applied = self.progress.applied();
            let layout = match &known {
                Some((scene, erasures, layout)) if self.is_as_seen(scene, *erasures) => Arc::clone(layout),
                _ => {
                    // Erasures before the stage. Boards take the name from a voter's votes once their erasure is gone from the
                    // list, and find what a void names by that name: an end takes it out of voids first.
                    let (version, erasures) = self.stage.erasures().voters();
                    let scene = self.stage.look_whole();
                    let layout = Arc::new(layout(&scene, erasures, self.progress.settled()));
                    known = Some((scene, version, Arc::clone(&layout)));
                    layout
                }
            };
            let began = Instant::now();
            match self.boards.step(applied, self.clock.now_ms(), &layout) {
                Ok(reached) => {
                    pause(began.elapsed(), &stop);
                    if reached {
                        self.progress.wait(IDLE, |progress| progress.applied() > applied || stop());
                    }
                }
                Err(failure) => {
                    self.metrics.read_failures.inc();
                    tracing::error!("the leaderboards can't be brought up to date: {failure}");
                    pause(AFTER_FAILURE, &stop);
                }
            }
        }
    }

    /// Whether neither the stage nor which erasures go on has changed.
    fn is_as_seen(&self, scene: &Arc<Scene>, erasures: u64) -> bool {
        self.stage.erasures().version() == erasures && Arc::ptr_eq(&self.stage.look(), scene)
    }
}

fn pause(time: Duration, stop: &impl Fn() -> bool) {
    let until = Instant::now() + time;
    while !stop() && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(20).min(until.saturating_duration_since(Instant::now())));
    }
}

/// What the boards need to know of the stage. `settled` is read behind it: a slot's last vote was settled in a batch before the
/// one that locked it.
fn layout(scene: &Scene, erasures: Vec<(Seq, VoterId)>, settled: Seq) -> Layout {
    let slots = scene.slots.iter().map(|state| SlotFacts {
        season: state.slot.season,
        hidden: state.hides_counts(),
        has_voted: state.status >= SlotStatus::Voting,
        is_locked: state.status == SlotStatus::Locked,
    });
    let clips = scene.clips.iter().map(|state| ClipFacts { slot: state.clip.slot, owner: state.owner });
    let voids = scene.slots.iter().map(|state| {
        let SlotVoids { last: since, masks, list } = &*state.voids;
        let steps =
            list.iter().map(|void| usize::from(void.taken.is_some()) + usize::from(void.lifted.is_some())).sum();
        Masked { since: *since, steps, masks: Arc::clone(masks) }
    });
    Layout { slots: slots.collect(), clips: clips.collect(), voids: voids.collect(), erasures, settled }
}
