//! Votes taken out by an operator, and put back: what a void names, and by what it found it.

use bincode::{Decode, Encode};

use super::ids::{ClipNo, Day, Seq, SlotNo, VoterId};
use super::origin::NetworkHash;

/// By what a void finds its votes. The order of the variants is on the disk.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
pub enum VoidBy {
    /// One voter's.
    Voter(VoterId),
    /// Those of one network.
    Network(NetworkHash),
    /// Those cast within a time.
    Window {
        /// From, Unix milliseconds, itself included.
        from_ms: u64,
        /// Until, itself excluded.
        to_ms: u64,
    },
    /// Those that looked like cheating when they came.
    Flagged,
}

impl VoidBy {
    /// As answers spell it; names nobody.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Voter(_) => "voter",
            Self::Network(_) => "network",
            Self::Window { .. } => "window",
            Self::Flagged => "flagged",
        }
    }
}

/// What an operator asked for. Its place in the log is the void's id, and the last one whose votes it can name.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct VoidPlan {
    /// Votes of this slot.
    pub slot: SlotNo,
    /// Which.
    pub by: VoidBy,
    /// Why, for everyone; 1 to [`VOID_REASON_MAX`] bytes.
    pub reason: String,
}

/// Bytes of the reason for a void, or for lifting one, at most.
pub const VOID_REASON_MAX: usize = 500;

/// A vote that a void names, with all that whoever counts needs to know of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
pub struct NamedVote {
    /// Its sequence.
    pub seq: Seq,
    /// When it was cast, Unix milliseconds.
    pub at: u64,
    /// Whose.
    pub voter: VoterId,
    /// For which clip.
    pub clip: ClipNo,
    /// What it weighs.
    pub weight: u16,
    /// The day it is charged to.
    pub day: Day,
}

/// Votes that an event names at most: the event stays below 4 KiB.
pub const NAMED_AT_ONCE: usize = 64;

/// A void's step that changed counts.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct VoidStep {
    /// Its sequence.
    pub seq: Seq,
    /// When, Unix milliseconds.
    pub at: u64,
    /// What each clip gained or lost: votes and weight.
    pub changes: Vec<(ClipNo, i64, i64)>,
}

/// What is known of a void.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct VoidState {
    /// The last sequence that it contains.
    pub last: Seq,
    /// The sequence of its begin.
    pub id: Seq,
    /// What was asked for.
    pub plan: VoidPlan,
    /// When, Unix milliseconds.
    pub begun_at: u64,
    /// How many votes it took out, those that another void had taken out before included.
    pub votes: u64,
    /// It took effect.
    pub taken: Option<VoidStep>,
    /// It was lifted: its votes came back.
    pub lifted: Option<(VoidStep, String)>,
    /// It ended without effect, at that sequence: the server stopped, or it named too many.
    pub dropped: Option<Seq>,
}

impl VoidState {
    /// One that begins.
    pub fn begin(seq: Seq, at: u64, plan: VoidPlan) -> Self {
        Self { last: seq, id: seq, plan, begun_at: at, votes: 0, taken: None, lifted: None, dropped: None }
    }

    /// Whether an erasure takes the voter from it: it was asked for by their id before the erasure began. One that was asked for
    /// afterwards keeps the id, as a ban does: the pass over what is stored may be past it already.
    pub fn is_of(&self, voter: VoterId, erasure: Seq) -> bool {
        self.id < erasure && self.plan.by == VoidBy::Voter(voter)
    }

    /// A voter was erased: that they were asked for is forgotten. Whether it was.
    pub fn unname(&mut self, voter: VoterId, erasure: Seq) -> bool {
        let theirs = self.is_of(voter, erasure);
        if theirs {
            self.plan.by = VoidBy::Voter(VoterId::NOBODY);
        }
        theirs
    }

    /// Whether its votes are still searched for.
    pub fn is_under_way(&self) -> bool {
        self.taken.is_none() && self.dropped.is_none()
    }

    /// Whether its votes count for nothing now.
    pub fn is_in_force(&self) -> bool {
        self.taken.is_some() && self.lifted.is_none()
    }

    /// Whether its votes counted for nothing behind an event.
    pub fn was_in_force(&self, seq: Seq) -> bool {
        let at_or_before = |step: &VoidStep| step.seq <= seq;
        self.taken.as_ref().is_some_and(at_or_before)
            && !self.lifted.as_ref().is_some_and(|(step, _)| at_or_before(step))
    }

    /// Ends without effect, if it is under way; skipped when the sequence is in already.
    pub fn end(&mut self, seq: Seq) {
        if self.is_under_way() && seq > self.last {
            (self.dropped, self.last) = (Some(seq), seq);
        }
    }

    /// Takes effect on so many votes; skipped when the sequence is in already.
    pub fn take(&mut self, step: VoidStep, votes: u64) {
        if self.is_under_way() && step.seq > self.last {
            self.last = step.seq;
            (self.taken, self.votes) = (Some(step), votes);
        }
    }

    /// Is lifted, or while it is under way ends; skipped when the sequence is in already.
    pub fn lift(&mut self, step: VoidStep, reason: &str) {
        if self.is_under_way() {
            self.end(step.seq);
        } else if step.seq > self.last {
            self.last = step.seq;
            self.lifted = Some((step, reason.to_owned()));
        }
    }
}

/// Some of the votes of a void that is under way.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct NamedVotes {
    /// The void.
    pub void: Seq,
    /// Its slot.
    pub slot: SlotNo,
    /// At most [`NAMED_AT_ONCE`] of them, ascending.
    pub votes: Vec<NamedVote>,
}
