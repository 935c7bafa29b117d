//! From the log to the tables: the one judge and the one fold, and the pages that the fold changes.
//!
//! [`fold`] is used by the applier, by recovery and by `verify` alike. It reads no clock, no setting and no other
//! state; events carry what those decided. It seeks no duplicates: the claim did, and `verify` checks.

pub mod ballot_block;
pub mod comments;
pub mod erasures;
mod judge;
pub mod keys;
pub mod lookup;
pub mod ranges;
pub mod records;
pub mod sorted;
mod tables;
pub mod timeline;
pub mod totals;
pub mod void_pages;
mod voids;

pub use ballot_block::{Ballot, BallotBlock, Stored};
pub use judge::{BanMove, Move, Refusal, Transitions, judge};
pub use tables::{Mark, Tables, VisitBlock};
pub use totals::Change;
pub use voids::{Changed, Effect, Mask, NAMED_MAX, Voids, find, unnamed};

use crate::domain::{
    Clip, ClipNo, ErasurePart, Event, FrozenBy, Logged, Origin, Outcome, Season, Seq, Slot, SlotNo, Span, Vote, VoterId,
};
use crate::error::Fault;

/// What a fold changes. A page or block knows the last sequence that it contains: each of these is skipped, page by
/// page, where its sequence is in already, so that folding a part of the log again is harmless however it was cut.
pub trait Pages {
    /// Appends a vote or a retraction to its slot's blocks.
    fn ballot(&mut self, slot: SlotNo, stored: Stored) -> Result<(), Fault>;
    /// Adds to a clip's minutes, at the event's own time. Before its counts: a group's first page notes what they were.
    fn minute(&mut self, seq: Seq, at: u64, clip: ClipNo, change: Change) -> Result<(), Fault>;
    /// Adds to a clip's counts.
    fn total(&mut self, seq: Seq, clip: ClipNo, change: Change) -> Result<(), Fault>;
    /// Adds to several clips' counts what one event does to them; not to their minutes, which a group has from here on.
    fn totals(&mut self, seq: Seq, changes: &[(ClipNo, Change)]) -> Result<(), Fault>;
    /// Changes what is known of voids, which has this effect.
    fn void(&mut self, seq: Seq, at: u64, event: &Event, effect: &Effect) -> Result<(), Fault>;
    /// Changes what is known of erasures.
    fn erasure(&mut self, seq: Seq, at: u64, event: &Event) -> Result<(), Fault>;
    /// Takes their maker's name from clips, and with `owners` the maker.
    fn unname_clips(&mut self, seq: Seq, clips: &[ClipNo], owners: bool) -> Result<(), Fault>;
    /// Notes that a vote was taken back while it was under a void, or while one of its slot was under way.
    fn taken_back(&mut self, seq: Seq, slot: SlotNo, vote: Seq) -> Result<(), Fault>;
    /// Adds a season.
    fn season(&mut self, seq: Seq, season: &Season) -> Result<(), Fault>;
    /// Changes a slot's record.
    fn slot(&mut self, seq: Seq, at: u64, slot: SlotNo, change: SlotChange) -> Result<(), Fault>;
    /// Adds a clip.
    fn clip(&mut self, seq: Seq, clip: &Clip) -> Result<(), Fault>;
    /// Adds a step to a voter's bans.
    fn ban(&mut self, voter: VoterId, step: BanMove) -> Result<(), Fault>;
    /// The pages of comments.
    fn comments(&mut self) -> comments::CommentPages<'_>;
}

/// A step in a slot's life.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum SlotChange {
    /// It exists.
    Created(Slot),
    /// It waits for clips.
    Waits,
    /// It takes votes.
    Opened {
        /// Since when and until when.
        span: Span,
        /// Whether its counts are hidden until it locks.
        hidden: bool,
    },
    /// It takes no more.
    Frozen(FrozenBy),
    /// It takes votes until another time; frozen before, again.
    Until(Option<u64>),
    /// Its result stands, as earlier versions wrote it.
    Locked {
        /// Its best clip.
        winner: Option<ClipNo>,
    },
    /// Its result stands.
    Decided(Outcome),
}

/// Changes the pages by one judged event, which does to counts what [`Transitions::note`] said.
pub fn fold(pages: &mut impl Pages, logged: &Logged, effect: &Effect) -> Result<(), Fault> {
    let Logged { seq, at, event } = logged;
    let (seq, at) = (*seq, *at);
    match event {
        Event::Started
        | Event::VoidBegun(_)
        | Event::VotesNamed(_)
        | Event::VoidTaken { .. }
        | Event::VoidLifted { .. } => {
            pages.void(seq, at, event, effect)?;
            match effect {
                Effect::Changed(changed) => pages.totals(seq, &changed.clips),
                Effect::Plain | Effect::Uncounted | Effect::Noted => Ok(()),
            }
        }
        Event::Voted(vote) => cast(pages, seq, at, vote, Origin::default()),
        Event::VotedFrom(vote, origin) => cast(pages, seq, at, vote, *origin),
        Event::Retracted(back) => {
            pages.ballot(back.slot, Stored { seq, at, ballot: Ballot::taken_back(back) })?;
            if matches!(effect, Effect::Uncounted | Effect::Noted) {
                pages.taken_back(seq, back.slot, back.vote)?;
            }
            if *effect == Effect::Uncounted {
                return Ok(());
            }
            let change = Change { votes: -1, weight: -i64::from(back.weight) };
            pages.minute(seq, at, back.clip, change)?;
            pages.total(seq, back.clip, change)
        }
        Event::SeasonCreated(season) => pages.season(seq, season),
        Event::SlotCreated(slot) => pages.slot(seq, at, slot.no, SlotChange::Created(*slot)),
        Event::ClipAdded(clip) => pages.clip(seq, clip),
        Event::SlotWaits(slot) => pages.slot(seq, at, *slot, SlotChange::Waits),
        Event::SlotOpened { slot, ends_at, hidden } => {
            let span = Span { started_at: Some(at), ends_at: *ends_at };
            pages.slot(seq, at, *slot, SlotChange::Opened { span, hidden: *hidden })
        }
        Event::SlotFrozen(slot) => pages.slot(seq, at, *slot, SlotChange::Frozen(FrozenBy::Operator)),
        Event::SlotLocked { slot, winner } => pages.slot(seq, at, *slot, SlotChange::Locked { winner: *winner }),
        Event::SlotStopped { slot, by, .. } => pages.slot(seq, at, *slot, SlotChange::Frozen(*by)),
        Event::SlotExtended { slot, ends_at } | Event::SlotReopened { slot, ends_at } => {
            pages.slot(seq, at, *slot, SlotChange::Until(*ends_at))
        }
        Event::SlotDecided { slot, outcome } => {
            pages.slot(seq, at, *slot, SlotChange::Decided(Outcome::clone(outcome)))
        }
        Event::Banned { .. } | Event::Unbanned(_) => {
            let (voter, step) = judge::ban_move(seq, event).expect("both are ban steps");
            pages.ban(voter, step)
        }
        Event::ErasureBegun { .. } | Event::ErasureEnded(_) => pages.erasure(seq, at, event),
        Event::ErasureWent { part, .. } => {
            if let ErasurePart::Clips { clips, owners } = part {
                pages.unname_clips(seq, clips, *owners)?;
            }
            pages.erasure(seq, at, event)
        }
        Event::CommentPosted(post) => pages.comments().post(seq, at, post),
        Event::CommentChanged(of, change) => pages.comments().change(seq, *of, change),
    }
}

fn cast(pages: &mut impl Pages, seq: Seq, at: u64, vote: &Vote, origin: Origin) -> Result<(), Fault> {
    pages.ballot(vote.slot, Stored { seq, at, ballot: Ballot::cast(vote, origin) })?;
    let change = Change { votes: 1, weight: i64::from(vote.weight) };
    pages.minute(seq, at, vote.clip, change)?;
    pages.total(seq, vote.clip, change)
}
