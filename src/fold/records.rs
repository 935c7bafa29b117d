//! Pages of what operators make: seasons, slots, clips and bans.

use bincode::{Decode, Encode};

use super::SlotChange;
use super::judge::{BanMove, Move, prune_bans};
use crate::domain::{Clip, ClipNo, Season, Seq, Slot, SlotStatus, Span, VoterId};
use crate::error::Fault;

/// Things in the order of their numbers, with the last sequence that the page contains.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct ListPage<T> {
    /// The last sequence that it contains.
    pub last: Seq,
    /// The things.
    pub items: Vec<T>,
}

impl<T> Default for ListPage<T> {
    fn default() -> Self {
        Self { last: 0, items: Vec::new() }
    }
}

impl<T: Clone> ListPage<T> {
    /// Adds the newest, whose place in the page must be the next; skipped when its sequence is in already.
    pub fn push(&mut self, seq: Seq, place: u32, item: &T) -> Result<(), Fault> {
        if seq <= self.last {
            return Ok(());
        }
        if self.items.len() != place as usize {
            return Err(Fault::Inconsistent { why: format!("event {seq} adds number {place} of a page out of turn") });
        }
        self.items.push(item.clone());
        self.last = seq;
        Ok(())
    }
}

/// Neighbouring seasons.
pub type SeasonsPage = ListPage<Season>;
/// Neighbouring clips.
pub type ClipsPage = ListPage<Clip>;

/// A slot's life.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct SlotRecord {
    /// The last sequence that it contains.
    pub last: Seq,
    /// The slot.
    pub slot: Slot,
    /// Its steps, oldest first; the last is its state.
    pub moves: Vec<Move>,
    /// When it takes votes.
    pub span: Span,
    /// Whether its counts are hidden until it locks.
    pub hidden: bool,
    /// Its best clip, once locked.
    pub winner: Option<ClipNo>,
}

impl SlotRecord {
    /// A slot that was just created.
    pub fn new(seq: Seq, at: u64, slot: Slot) -> Self {
        let moves = vec![Move { seq, at, to: SlotStatus::Upcoming }];
        Self { last: seq, slot, moves, span: Span::default(), hidden: false, winner: None }
    }

    /// Its state.
    pub fn status(&self) -> SlotStatus {
        self.moves.last().map_or(SlotStatus::Upcoming, |step| step.to)
    }

    /// Takes a step; skipped when its sequence is in already.
    pub fn change(&mut self, seq: Seq, at: u64, change: SlotChange) {
        if seq <= self.last {
            return;
        }
        let to = match change {
            SlotChange::Created(_) => SlotStatus::Upcoming,
            SlotChange::Waits => SlotStatus::WaitingForClips,
            SlotChange::Opened { span, hidden } => {
                (self.span, self.hidden) = (span, hidden);
                SlotStatus::Voting
            }
            SlotChange::Frozen => SlotStatus::Frozen,
            SlotChange::Locked { winner } => {
                self.winner = winner;
                SlotStatus::Locked
            }
        };
        // Repeated openings of a slot without clips say nothing new: the record stays small.
        if self.status() != to {
            self.moves.push(Move { seq, at, to });
        }
        self.last = seq;
    }
}

/// Bans of voters whose ids begin alike.
#[derive(Clone, PartialEq, Eq, Debug, Default, Encode, Decode)]
pub struct BansPage {
    /// The last sequence that it contains.
    pub last: Seq,
    /// Voters with their steps, oldest first; ordered by voter.
    pub voters: Vec<(VoterId, Vec<BanMove>)>,
}

impl BansPage {
    /// Adds a step; skipped when its sequence is in already. `floor` is the mark: what no event behind it can need goes.
    pub fn step(&mut self, floor: Seq, voter: VoterId, step: BanMove) {
        if step.seq <= self.last {
            return;
        }
        self.last = step.seq;
        match self.voters.binary_search_by_key(&voter, |(id, _)| *id) {
            Ok(at) => self.voters[at].1.push(step),
            Err(at) => self.voters.insert(at, (voter, vec![step])),
        }
        for (_, moves) in &mut self.voters {
            prune_bans(moves, floor);
        }
        self.voters.retain(|(_, moves)| moves.last().is_some_and(|last| !(last.lifted && last.seq <= floor)));
    }
}
