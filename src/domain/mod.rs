//! What the business talks about: ids, seasons, slots, clips, votes, comments and the events that change them.
//!
//! Every type here can only be made whole: constructors check, so that nothing further in has to check again.
//! Never: time, settings, storage.

mod comment;
mod erasure;
mod event;
mod ids;
mod letters;
mod origin;
mod round;
mod stage;
mod void;
mod vote;

pub use comment::{
    Comment, CommentChange, CommentPost, CommentRef, CommentStatus, CommentText, DEPTH_MAX, ModerationQueue, Profile,
    RequestKey, TEXT_MAX, Verdict,
};
pub use erasure::{CLIPS_AT_ONCE, ErasurePart, ErasurePass, ErasureState};
pub use event::{Event, Logged};
pub use ids::{ClipId, ClipNo, Day, SeasonId, SeasonNo, Seq, SlotNo, VoterId, VoterKey, day_of};
pub use letters::is_ignorable;
pub use origin::{Network, NetworkHash, Origin};
pub use round::{DECISION_REASON_MAX, Decided, FrozenBy, Outcome, Root};
pub use stage::{Clip, ClipDraft, Season, Slot, SlotStatus, Span, bounded_text};
pub use void::{NAMED_AT_ONCE, NamedVote, NamedVotes, VOID_REASON_MAX, VoidBy, VoidPlan, VoidState, VoidStep};
pub use vote::{Retraction, Vote, VoteKind, Weights};
