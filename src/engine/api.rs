//! What goes into the engine and what comes out of it. Data alone.

use std::path::PathBuf;

use crate::domain::{ClipId, Decided, FrozenBy, Origin, SeasonId, Seq, SlotStatus, VoteKind, VoterKey, Weights};
use crate::error::Fault;
use crate::hub;
use crate::jobs::RoundSettings;

/// When a vote is answered.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Ack {
    /// Once it is flushed to the disk for real.
    #[default]
    Durable,
    /// Once its place in the log is fixed; the flush follows within 100 ms.
    Memory,
}

impl Ack {
    /// As the banner, the metrics and every benchmark line name it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Durable => "durable",
            Self::Memory => "memory",
        }
    }
}

/// How an engine is run. Every field has a default that holds for a small deployment.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The directory that holds `log/`, `tables/` and the marker.
    pub data_dir: PathBuf,
    /// Turns names into voters; a store remembers its fingerprint and refuses another.
    pub voter_key: VoterKey,
    /// When a vote is answered.
    pub ack: Ack,
    /// Weight that a voter may give a UTC day.
    pub daily_limit: u32,
    /// What each kind of vote weighs.
    pub weights: Weights,
    /// Stripes of a counter that meets contention.
    pub stripes: usize,
    /// Voters kept in memory; past it a new one is refused as overloaded.
    pub max_voters: u64,
    /// Places in the commit queue, without those kept for operators.
    pub queue: usize,
    /// Seconds between two reconciles; 0 for none.
    pub reconcile_every_s: u64,
    /// How comments are held.
    pub comments: CommentSettings,
    /// How rounds go on.
    pub rounds: RoundSettings,
    /// The bounds of what is pushed.
    pub hub: hub::Settings,
}

/// How comments are held.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CommentSettings {
    /// Every comment waits for a moderator before others see it.
    pub held_first: bool,
    /// The least time between two comments of a voter on a clip, milliseconds; 0 for none.
    pub slow_ms: u64,
    /// So many reports hide a comment until a moderator has looked at it.
    pub hides_at: u32,
}

impl Default for CommentSettings {
    fn default() -> Self {
        Self { held_first: false, slow_ms: 0, hides_at: 3 }
    }
}

impl Settings {
    /// The defaults, over a directory.
    pub fn new(data_dir: impl Into<PathBuf>, voter_key: VoterKey) -> Self {
        Self {
            data_dir: data_dir.into(),
            voter_key,
            ack: Ack::Durable,
            daily_limit: 200,
            weights: Weights::default(),
            stripes: 100,
            max_voters: 50_000_000,
            queue: 16_384,
            reconcile_every_s: 600,
            comments: CommentSettings::default(),
            rounds: RoundSettings::default(),
            hub: hub::Settings::default(),
        }
    }

    /// Holds the settings against each other.
    pub fn check(&self) -> Result<(), Fault> {
        let heaviest = self.weights.standard.max(self.weights.super_).max(self.weights.mega);
        let wrong = [
            (self.daily_limit == 0, "--daily-limit must be at least 1"),
            (!(1..=1024).contains(&self.stripes), "--shards must be 1 to 1024"),
            (self.max_voters == 0, "--max-voters must be at least 1"),
            (!(1_024..=1 << 20).contains(&self.queue), "the commit queue must have 1024 to 1048576 places"),
            (
                self.weights.standard == 0 || self.weights.super_ == 0 || heaviest > 10_000,
                "a weight must be 1 to 10000",
            ),
            (self.rounds.slot_ms == Some(0), "--slot-duration must be longer than 0, or off"),
            (self.rounds.min_clips == 0, "--min-clips must be at least 1"),
            (self.comments.hides_at == 0, "--report-threshold must be at least 1"),
            (u32::from(heaviest) > self.daily_limit, "the heaviest vote must fit into --daily-limit"),
        ];
        match wrong.iter().find(|(is_wrong, _)| *is_wrong) {
            Some((_, why)) => Err(Fault::Setting((*why).into())),
            None => self.hub.check(),
        }
    }
}

/// The answer to a vote or a retraction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Receipt {
    /// Its place in the log.
    pub seq: Seq,
    /// The clip's counts with it; `None` while they are hidden.
    pub counts: Option<Counts>,
    /// Weight that the voter has left today.
    pub remaining: u32,
    /// Events queued when it was claimed, its own included.
    pub queue_position: u64,
}

/// A clip's counts.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counts {
    /// Votes.
    pub votes: u64,
    /// Their weights.
    pub weight: u64,
}

/// What a voter may still do today.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Allowance {
    /// Weight used today.
    pub used: u32,
    /// Weight left today.
    pub remaining: u32,
    /// The next UTC midnight, Unix milliseconds.
    pub reset_at: u64,
}

/// A season, for answers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SeasonView {
    /// Its id.
    pub id: SeasonId,
    /// Its name.
    pub name: String,
    /// Whether every slot of it is locked.
    pub finished: bool,
    /// Its slots, by position.
    pub slots: Vec<SlotView>,
}

/// A slot, for answers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SlotView {
    /// Its season's id.
    pub season: SeasonId,
    /// Its position, from 1.
    pub position: u32,
    /// Where it is in its life.
    pub status: SlotStatus,
    /// Opened at, Unix milliseconds.
    pub started_at: Option<u64>,
    /// Closes at, Unix milliseconds.
    pub ends_at: Option<u64>,
    /// Whether its counts are hidden now.
    pub hidden: bool,
    /// Who froze it, while it is frozen.
    pub frozen_by: Option<FrozenBy>,
    /// The sequence of the freeze that its result is of, once frozen: votes up to it count.
    pub frozen_at: Option<Seq>,
    /// The winner, once locked.
    pub winner: Option<ClipId>,
    /// Who decided that, once locked.
    pub decided: Option<Decided>,
    /// How many clips compete.
    pub clips: usize,
}

/// A clip with its counts, for answers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ClipView {
    /// Its id.
    pub id: ClipId,
    /// Its season.
    pub season: SeasonId,
    /// Its slot's position.
    pub position: u32,
    /// For people.
    pub title: String,
    /// The maker's name.
    pub username: Option<String>,
    /// The maker's picture.
    pub avatar_url: Option<String>,
    /// Where the video is.
    pub video_url: Option<String>,
    /// Where its picture is.
    pub thumbnail_url: Option<String>,
    /// Its counts; `None` while they are hidden.
    pub counts: Option<Counts>,
    /// Its comments that everyone can see.
    pub comments: u64,
}

/// A ban, for operators.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BanView {
    /// The voter's public name: a keyed hash that isn't the [`crate::domain::VoterId`].
    pub user_id: String,
    /// Until when, Unix milliseconds; `None`: until lifted.
    pub until: Option<u64>,
    /// Why.
    pub reason: String,
}

/// A stored vote, for operators.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct VoteView {
    /// Its place in the log.
    pub seq: Seq,
    /// When, Unix milliseconds.
    pub at: u64,
    /// The voter's public name: a keyed hash that isn't the [`crate::domain::VoterId`]; `None` for one who was erased.
    pub user_id: Option<String>,
    /// For which clip.
    pub clip: ClipId,
    /// Of which kind.
    pub kind: VoteKind,
    /// What it weighs.
    pub weight: u16,
    /// Where it came from.
    pub origin: Origin,
}

/// How far a slot's votes were seen.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum VotePlace {
    /// Up to a sequence, while the slot isn't locked.
    Logged(Seq),
    /// So many of a locked slot's sorted ballots.
    Sorted(u64),
}

/// Some of a slot's stored votes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct VotePage {
    /// In their order.
    pub votes: Vec<VoteView>,
    /// Where the next page begins: behind this. `None`: there is nothing more yet.
    pub next: Option<VotePlace>,
    /// Votes up to this sequence are on the pages.
    pub as_of: Seq,
}

/// The pipeline, for `/api/queue`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct QueueView {
    /// Events that wait for the commit.
    pub pending: u64,
    /// Events logged and not yet applied.
    pub processing: u64,
    /// Events refused after they were queued, since the start.
    pub dead_letter: u64,
    /// When the applier last did something, Unix milliseconds.
    pub last_processed_at: Option<u64>,
}

/// Everything of one slot that a list needs, read at one moment.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SlotClips {
    /// Changes with every change of the clips or their counts; never with a hidden count.
    pub version: u64,
    /// The slot.
    pub slot: SlotView,
    /// Its clips, in the order of their addition.
    pub clips: Vec<ClipView>,
}
