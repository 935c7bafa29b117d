//! How a slot ends: who froze it, who decided its result, and what the result is.

use bincode::{Decode, Encode};

use super::ids::{ClipNo, Seq};

/// Who had a slot frozen, and so what follows by itself. The order of the variants is on the disk.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
pub enum FrozenBy {
    /// An operator, and so it stays until one locks or reopens it.
    Operator,
    /// Its time was over: the lock follows by itself, after a restart too.
    Timer,
    /// An operator's lock of a slot that was voted in: as for the timer.
    Lock,
}

impl FrozenBy {
    /// Whether the lock follows by itself.
    pub fn goes_on(self) -> bool {
        self != Self::Operator
    }

    /// As answers spell it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Operator => "operator",
            Self::Timer => "timer",
            Self::Lock => "lock",
        }
    }
}

/// Who decided a slot's winner. The order of the variants is on the disk.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub enum Decided {
    /// The votes: highest weight, then most votes, then the clip that was added first.
    Tally,
    /// An operator, who said why.
    ByHand {
        /// Why; 1 to [`DECISION_REASON_MAX`] bytes.
        reason: String,
    },
    /// The votes, as they count since the void, or the lifting of one, of that sequence, which came behind the freeze.
    TallyAfter(Seq),
}

/// Bytes of the reason for a winner by hand at most.
pub const DECISION_REASON_MAX: usize = 500;

/// A tree over a locked slot's ballots, by its root.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
pub struct Root {
    /// The Merkle root.
    pub hash: [u8; 32],
    /// How many ballots are under it.
    pub leaves: u64,
}

/// A slot's result.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct Outcome {
    /// The sequence of the freeze that it is the result of: ballots up to it count, and no other.
    pub frozen_at: Seq,
    /// The best clip; `None` when the slot has no clips.
    pub winner: Option<ClipNo>,
    /// Who decided.
    pub decided: Decided,
    /// The tree over its ballots, if one was built.
    pub root: Option<Root>,
}
