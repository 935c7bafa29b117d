//! The one thing that the log holds. Everything else is derived from it.

use bincode::{Decode, Encode};

use super::comment::{CommentChange, CommentPost, CommentRef};
use super::erasure::ErasurePart;
use super::ids::{ClipNo, Day, Seq, SlotNo, VoterId};
use super::origin::Origin;
use super::round::{FrozenBy, Outcome};
use super::stage::{Clip, Season, Slot};
use super::void::{NamedVotes, VoidPlan};
use super::vote::{Retraction, Vote};

/// A change. The order of the variants is the on-disk tag: append, never reorder.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub enum Event {
    /// The server started: positions after it are new even if nothing else was written.
    Started,
    /// A vote of which nothing more is known: an embedder's, or one of before requests were judged.
    Voted(Vote),
    /// A vote taken back.
    Retracted(Retraction),
    /// A new season.
    SeasonCreated(Season),
    /// A new slot, `upcoming`.
    SlotCreated(Slot),
    /// A new clip.
    ClipAdded(Box<Clip>),
    /// A slot was asked to open and has no clips.
    SlotWaits(SlotNo),
    /// A slot takes votes from here on.
    SlotOpened {
        /// Which.
        slot: SlotNo,
        /// When it closes, Unix milliseconds.
        ends_at: Option<u64>,
        /// Whether its counts stay hidden until it locks.
        hidden: bool,
    },
    /// A slot takes no vote behind this event, as earlier versions wrote it: an operator asked.
    SlotFrozen(SlotNo),
    /// A slot's result stands, as earlier versions wrote it.
    SlotLocked {
        /// Which.
        slot: SlotNo,
        /// Its best clip; `None` when it had no clips.
        winner: Option<ClipNo>,
    },
    /// A voter's votes are refused from here on.
    Banned {
        /// Who.
        voter: VoterId,
        /// Until when, Unix milliseconds; `None`: until lifted.
        until: Option<u64>,
        /// Why, for operators.
        reason: String,
    },
    /// A ban lifted.
    Unbanned(VoterId),
    /// A new comment; its id is this event's sequence.
    CommentPosted(Box<CommentPost>),
    /// A change to a comment.
    CommentChanged(CommentRef, CommentChange),
    /// A slot takes no vote behind this event.
    SlotStopped {
        /// Which.
        slot: SlotNo,
        /// Who asked, and so what follows.
        by: FrozenBy,
        /// The slot's step that it follows: it is refused where another came between. A timer's always names one, so that it
        /// never ends a slot that was extended, or reopened, since the timer looked.
        after: Option<Seq>,
    },
    /// A slot that takes votes closes at another time.
    SlotExtended {
        /// Which.
        slot: SlotNo,
        /// When it closes, Unix milliseconds; `None`: when an operator says so.
        ends_at: Option<u64>,
    },
    /// A frozen slot takes votes again.
    SlotReopened {
        /// Which.
        slot: SlotNo,
        /// When it closes, Unix milliseconds; `None`: when an operator says so.
        ends_at: Option<u64>,
    },
    /// A slot's result stands. Refused unless the freeze that the outcome names is the slot's last step.
    SlotDecided {
        /// Which.
        slot: SlotNo,
        /// Its result.
        outcome: Box<Outcome>,
    },
    /// A vote, and what is kept of its request.
    VotedFrom(Vote, Origin),
    /// Votes of a slot are to be taken out: the void's id is this event's sequence. What follows names them; a start in between
    /// ends it without effect.
    VoidBegun(Box<VoidPlan>),
    /// Some of the votes of the void that is under way.
    VotesNamed(Box<NamedVotes>),
    /// The void that is under way takes effect: its votes that stand count no more. One at a time is under way.
    VoidTaken {
        /// Which.
        void: Seq,
        /// Its slot.
        slot: SlotNo,
    },
    /// A void is lifted: its votes that stand, and are under no other, count again. One that is under way ends without effect.
    VoidLifted {
        /// Which.
        void: Seq,
        /// Its slot.
        slot: SlotNo,
        /// Why, for everyone.
        reason: String,
    },
    /// What ties a voter's past to them is to be emptied: the erasure's id is this event's sequence. It goes on in the background,
    /// over restarts.
    ErasureBegun {
        /// Who.
        voter: VoterId,
        /// The day that votes are charged to at this time.
        day: Day,
        /// The first clip that is not there yet: what comes later is not touched.
        clips: ClipNo,
    },
    /// Some of an erasure's work, or the end of it.
    ErasureWent {
        /// Which.
        erasure: Seq,
        /// What was done.
        part: ErasurePart,
    },
    /// An erasure's record lets go of the voter's id.
    ErasureEnded(Seq),
}

impl Event {
    /// A vote in the shorter of its two forms.
    pub fn voted(vote: Vote, origin: Origin) -> Self {
        if origin == Origin::default() { Self::Voted(vote) } else { Self::VotedFrom(vote, origin) }
    }
}

/// An event at its place in the log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Logged {
    /// Its sequence.
    pub seq: Seq,
    /// When it was enqueued, Unix milliseconds; never used for order.
    pub at: u64,
    /// The event.
    pub event: Event,
}
