//! A voter's erasure: what is asked of it, and what is known of one. Never: which ballots, comments or names are theirs.

use bincode::{Decode, Encode};

use super::ids::{ClipNo, Day, Seq, SlotNo, VoterId};

/// Clips that an event empties at most: the event stays below 4 KiB.
pub const CLIPS_AT_ONCE: usize = 256;

/// A bounded piece of an erasure's work. The order of the variants is on the disk: append, never reorder.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub enum ErasurePart {
    /// Their maker's name and picture go from these clips.
    Clips {
        /// At most [`CLIPS_AT_ONCE`] of them, ascending.
        clips: Vec<ClipNo>,
        /// The maker's `sub` goes too: nobody can vote for them any more.
        owners: bool,
    },
    /// Every comment, like and report that was the voter's when it began is emptied.
    Searched,
}

/// What is known of an erasure: the record that outlives it.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct ErasureState {
    /// The last sequence that it contains.
    pub last: Seq,
    /// The sequence of its begin. What the voter did before it is emptied, and nothing that they do afterwards.
    pub id: Seq,
    /// Who, until it ends: ballots in open slots are still theirs, and so is what they used of the day.
    pub voter: Option<VoterId>,
    /// When, Unix milliseconds.
    pub at: u64,
    /// The day that votes were charged to when it was asked for. A vote of before its begin may be charged to the next, if midnight
    /// came while it was queued, and none to a later one.
    pub day: Day,
    /// The first clip that was not there yet.
    pub clips: ClipNo,
    /// Comments, likes and reports are emptied, as of that sequence.
    pub searched: Option<Seq>,
    /// The id is let go of, at that sequence.
    pub ended: Option<Seq>,
    /// How far the tables are emptied. The applier's pass writes it, between the events.
    pub pass: ErasurePass,
}

/// How far the tables are emptied of what no event changes.
#[derive(Clone, PartialEq, Eq, Debug, Default, Encode, Decode)]
pub struct ErasurePass {
    /// Slots that hold ballots of theirs and are not locked, ascending; `None` until every slot was looked through.
    pub waits: Option<Vec<SlotNo>>,
    /// No page of comments has left over what an event emptied, nor is one named by the voter.
    pub tidied: bool,
    /// Nothing of voids names them: all is done but the end.
    pub swept: bool,
}

impl ErasureState {
    /// One that begins.
    pub fn begin(id: Seq, at: u64, voter: VoterId, day: Day, clips: ClipNo) -> Self {
        let pass = ErasurePass::default();
        Self { last: id, id, voter: Some(voter), at, day, clips, searched: None, ended: None, pass }
    }

    /// Its search is over; skipped when the sequence is in already.
    pub fn search(&mut self, seq: Seq) {
        if seq > self.last {
            (self.last, self.searched) = (seq, Some(seq));
        }
    }

    /// It lets go of the id; skipped when the sequence is in already.
    pub fn end(&mut self, seq: Seq) {
        if seq > self.last {
            (self.last, self.ended, self.voter) = (seq, Some(seq), None);
        }
    }
}
