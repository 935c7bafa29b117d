//! What the business talks about: ids, seasons, slots, clips, votes, comments and the events that change them.
//!
//! Every type here can only be made whole: constructors check, so that nothing further in has to check again.
//! Never: time, settings, storage.

mod comment;
mod event;
mod ids;
mod letters;
mod round;
mod stage;
mod vote;

pub use comment::{
    Comment, CommentChange, CommentPost, CommentRef, CommentStatus, CommentText, DEPTH_MAX, ModerationQueue, Profile,
    RequestKey, TEXT_MAX, Verdict,
};
pub use event::{Event, Logged};
pub use ids::{ClipId, ClipNo, Day, SeasonId, SeasonNo, Seq, SlotNo, VoterId, VoterKey, day_of};
pub use letters::is_ignorable;
pub use round::{DECISION_REASON_MAX, Decided, FrozenBy, Outcome, Root};
pub use stage::{Clip, ClipDraft, Season, Slot, SlotStatus, Span, bounded_text};
pub use vote::{Retraction, Vote, VoteKind, Weights};
