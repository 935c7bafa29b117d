//! Pages of what operators make: seasons, slots, clips and bans.

use bincode::{Decode, Encode};

use super::SlotChange;
use super::judge::{BanMove, Move, is_step, prune_bans, prune_moves};
use crate::codec::{self, Kind};
use crate::domain::{Clip, ClipNo, Decided, FrozenBy, Outcome, Season, Seq, Slot, SlotStatus, Span, VoterId};
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

impl ClipsPage {
    /// Takes their maker's name from those of these clips that are in this page, and with `owners` the maker; skipped when the
    /// sequence is in already.
    pub fn unname(&mut self, seq: Seq, clips: &[ClipNo], owners: bool) {
        if seq <= self.last {
            return;
        }
        self.last = seq;
        for clip in self.items.iter_mut().filter(|clip| clips.contains(&clip.no)) {
            clip.draft.unname(owners);
        }
    }
}

/// Neighbouring seasons.
pub type SeasonsPage = ListPage<Season>;
/// Neighbouring clips.
pub type ClipsPage = ListPage<Clip>;

/// A slot's life, as the first programs wrote it. Read still, written no more.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct FirstSlotRecord {
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

/// A slot's life.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct SlotRecord {
    /// The last sequence that it contains.
    pub last: Seq,
    /// The slot.
    pub slot: Slot,
    /// Its steps, oldest first, of a long life the newest; the last is its state.
    pub moves: Vec<Move>,
    /// When it takes votes.
    pub span: Span,
    /// Whether its counts are hidden until it locks.
    pub hidden: bool,
    /// Who froze it last, once frozen.
    pub frozen_by: Option<FrozenBy>,
    /// Its result, once locked.
    pub outcome: Option<Outcome>,
}

impl From<FirstSlotRecord> for SlotRecord {
    fn from(first: FirstSlotRecord) -> Self {
        let FirstSlotRecord { last, slot, moves, span, hidden, winner } = first;
        let frozen_at = frozen_at(&moves);
        let locked = moves.last().is_some_and(|step| step.to == SlotStatus::Locked);
        let outcome = Outcome { frozen_at: frozen_at.unwrap_or_default(), winner, decided: Decided::Tally, root: None };
        // The first programs froze on an operator's word alone.
        let frozen_by = frozen_at.map(|_| FrozenBy::Operator);
        Self { last, slot, moves, span, hidden, frozen_by, outcome: locked.then_some(outcome) }
    }
}

fn frozen_at(moves: &[Move]) -> Option<Seq> {
    moves.iter().rev().find(|step| step.to == SlotStatus::Frozen).map(|step| step.seq)
}

impl SlotRecord {
    /// A slot that was just created.
    pub fn new(seq: Seq, at: u64, slot: Slot) -> Self {
        let moves = vec![Move { seq, at, to: SlotStatus::Upcoming }];
        Self { last: seq, slot, moves, span: Span::default(), hidden: false, frozen_by: None, outcome: None }
    }

    /// Reads one of either form; the envelope says which.
    pub fn read(tree: &'static str, key: &[u8], record: &[u8]) -> Result<Self, Fault> {
        if record.get(3) == Some(&(Kind::FirstSlot as u8)) {
            return codec::read::<FirstSlotRecord>(tree, Kind::FirstSlot, key, record).map(Self::from);
        }
        codec::read(tree, Kind::Slot, key, record)
    }

    /// Its state.
    pub fn status(&self) -> SlotStatus {
        self.moves.last().map_or(SlotStatus::Upcoming, |step| step.to)
    }

    /// The sequence of its last freeze, once frozen.
    pub fn frozen_at(&self) -> Option<Seq> {
        frozen_at(&self.moves)
    }

    /// The sequence of the freeze that it is closed by; `None` while it is not.
    pub fn freeze(&self) -> Option<Seq> {
        self.frozen_at().filter(|_| self.status() >= SlotStatus::Frozen)
    }

    /// Its best clip, once locked.
    pub fn winner(&self) -> Option<ClipNo> {
        self.outcome.as_ref().and_then(|outcome| outcome.winner)
    }

    /// Takes a step; skipped when its sequence is in already. `floor` is the mark: of a long life go the oldest steps that no
    /// event behind it can need.
    pub fn change(&mut self, floor: Seq, seq: Seq, at: u64, change: SlotChange) {
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
            SlotChange::Frozen(by) => {
                self.frozen_by = Some(by);
                SlotStatus::Frozen
            }
            SlotChange::Until(ends_at) => {
                (self.span.ends_at, self.frozen_by) = (ends_at, None);
                SlotStatus::Voting
            }
            SlotChange::Locked { winner } => {
                let frozen_at = self.frozen_at().unwrap_or_default();
                self.outcome = Some(Outcome { frozen_at, winner, decided: Decided::Tally, root: None });
                SlotStatus::Locked
            }
            SlotChange::Decided(outcome) => {
                self.outcome = Some(outcome);
                SlotStatus::Locked
            }
        };
        // Repeated openings of a slot without clips say nothing new: the record stays small.
        if is_step(self.status(), to) {
            self.moves.push(Move { seq, at, to });
        }
        prune_moves(&mut self.moves, floor);
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
