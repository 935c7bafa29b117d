//! A vote and its retraction, as the log keeps them.

use bincode::{Decode, Encode};

use super::ids::{ClipNo, Day, Seq, SlotNo, VoterId};
use crate::error::Reject;

/// What a voter can give a clip.
#[derive(
    Clone,
    Copy,
    PartialEq,
    Eq,
    Debug,
    Default,
    Encode,
    Decode,
    serde::Serialize,
    serde::Deserialize,
    schemars::JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum VoteKind {
    /// An ordinary vote.
    #[default]
    Standard,
    /// Worth more.
    Super,
    /// Worth most.
    Mega,
}

impl VoteKind {
    /// Reads the contract's `voteType`.
    pub fn parse(text: &str) -> Result<Self, Reject> {
        match text {
            "standard" => Ok(Self::Standard),
            "super" => Ok(Self::Super),
            "mega" => Ok(Self::Mega),
            _ => Err(Reject::InvalidVoteType),
        }
    }
}

/// What each kind adds to `weightedScore` and charges to the day.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Weights {
    /// Of [`VoteKind::Standard`].
    pub standard: u16,
    /// Of [`VoteKind::Super`].
    pub super_: u16,
    /// Of [`VoteKind::Mega`].
    pub mega: u16,
}

impl Weights {
    /// The weight of one vote.
    pub fn of(self, kind: VoteKind) -> u16 {
        match kind {
            VoteKind::Standard => self.standard,
            VoteKind::Super => self.super_,
            VoteKind::Mega => self.mega,
        }
    }
}

impl Default for Weights {
    fn default() -> Self {
        Self { standard: 1, super_: 3, mega: 10 }
    }
}

/// One vote. Weight and day are what settings and clock decided when it was claimed; the fold never asks again.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
pub struct Vote {
    /// Who.
    pub voter: VoterId,
    /// For which clip.
    pub clip: ClipNo,
    /// The clip's slot; a clip never moves.
    pub slot: SlotNo,
    /// Of which kind.
    pub kind: VoteKind,
    /// What it adds and charges.
    pub weight: u16,
    /// The UTC day that it is charged to.
    pub day: Day,
}

/// A vote taken back by its voter. It names the vote's own sequence, weight and day.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
pub struct Retraction {
    /// Who.
    pub voter: VoterId,
    /// For which clip.
    pub clip: ClipNo,
    /// The clip's slot.
    pub slot: SlotNo,
    /// The sequence of the vote that it takes back.
    pub vote: Seq,
    /// What that vote added.
    pub weight: u16,
    /// The day that vote was charged to.
    pub day: Day,
}
