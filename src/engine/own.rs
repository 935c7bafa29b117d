//! What is kept of one voter, read for that voter: from the tables, a little at a time, while votes go on.
//!
//! Everything that was acknowledged when it is asked for is applied first, and so in what is read. It is no view of one moment:
//! the tables are held for one reader at a time (`log/hold.rs`), and anyone who reads slowly could keep backups out with that.
//! What is said of each thing is true of it when it is read.
//!
//! All comments are looked through, and all likes; how votes are found is in [`votes`], how long it works before it rests in [`pace`].
//! May wait for the disk. Never: anything of another voter.

mod pace;
#[cfg(test)]
mod tests;
mod votes;

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::api::{Allowance, ClipView};
use super::read::clip_view;
use super::{Core, Engine};
use crate::domain::{ClipId, ClipNo, Comment, Day, Origin, SeasonId, Seq, VoidBy, VoteKind, VoterId};
use crate::error::{Fault, Reject};
use crate::fold::comments::{CommentId, LIKED, Mark, REPORTED};
use crate::fold::lookup;
use crate::fold::ranges::{Forwards, find};
use crate::stage::{Ban, Erasing, Scene, SlotState};
use pace::Pace;
use votes::WINDOW;

/// What is called with each thing that is found, and with none now and then while there is nothing: an error ends the reading.
pub type See<'a, T> = &'a mut dyn FnMut(Option<T>) -> Result<(), Fault>;

/// What is kept of a voter.
#[derive(Debug)]
pub struct OwnData {
    core: Arc<Core>,
    voter: VoterId,
    as_of: Seq,
    scene: Arc<Scene>,
    erasures: Vec<(Seq, Erasing)>,
    /// [`WINDOW`].
    window: usize,
}

/// A vote of the voter's, one that was taken back too while that is kept.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OwnVote {
    /// Its place in the log.
    pub seq: Seq,
    /// When, Unix milliseconds.
    pub at: u64,
    /// The season.
    pub season: SeasonId,
    /// The slot's position.
    pub position: u32,
    /// For which clip.
    pub clip: ClipId,
    /// Of which kind.
    pub kind: VoteKind,
    /// What it weighs.
    pub weight: u16,
    /// The day that it is charged to.
    pub day: Day,
    /// The retraction's place in the log and time.
    pub taken_back: Option<(Seq, u64)>,
    /// Whether a void takes it out of the counts.
    pub voided: bool,
    /// Whether a hash stands in the place of the voter's id.
    pub erased: bool,
    /// What is kept of where it came from.
    pub origin: Origin,
}

/// A comment of the voter's.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OwnComment {
    /// The comment.
    pub comment: Comment,
    /// Its clip.
    pub clip: ClipId,
}

/// What the voter did with a comment.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OwnMark {
    /// The comment.
    pub comment: Seq,
    /// Its clip.
    pub clip: ClipId,
    /// A like stands.
    pub liked: bool,
    /// A report was made.
    pub reported: bool,
}

/// A void that was asked for by the voter's name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OwnVoid {
    /// Its id.
    pub id: Seq,
    /// The season.
    pub season: SeasonId,
    /// The slot's position.
    pub position: u32,
    /// Why.
    pub reason: String,
    /// Asked for at, Unix milliseconds.
    pub begun_at: u64,
    /// In force since, Unix milliseconds; `None`: it came to nothing.
    pub taken_at: Option<u64>,
    /// Lifted at, Unix milliseconds.
    pub lifted_at: Option<u64>,
}

impl Engine {
    /// What is kept of a voter, everything that was acknowledged until now included.
    pub async fn own_data(&self, voter: VoterId) -> Result<OwnData, Reject> {
        self.drain().await?;
        let core = Arc::clone(&self.core);
        // The mark before the stage: that knows of every slot that a stored ballot is in.
        let as_of = core.progress.applied();
        // Before the stage too: what ends meanwhile is told as going on, and not as what nobody asked for.
        let erasures = core.stage.erasures().of(voter);
        let scene = core.stage.look_whole();
        Ok(OwnData { core, voter, as_of, scene, erasures, window: WINDOW })
    }
}

impl OwnData {
    /// Everything up to this sequence is in it.
    pub fn as_of(&self) -> Seq {
        self.as_of
    }

    /// The name that others see.
    pub fn user_id(&self) -> String {
        self.core.settings.voter_key.public(self.voter)
    }

    /// What the voter used of today's limit.
    pub fn allowance(&self) -> Allowance {
        self.core.allowance(self.voter, self.core.clock.now_ms())
    }

    /// The ban that is kept; it may have run out.
    pub fn ban(&self) -> Option<Ban> {
        self.scene.bans.get(&self.voter).cloned()
    }

    /// Clips that name the voter as their maker.
    pub fn clips(&self) -> Vec<ClipView> {
        let own = self.scene.clips.iter().filter(|state| state.owner == Some(self.voter));
        own.map(|state| clip_view(&self.scene, state)).collect()
    }

    /// Voids that an operator asked for by the voter's name. One by anything else says of its votes that they are voided.
    pub fn voids(&self) -> Vec<OwnVoid> {
        let all = self.scene.slots.iter().flat_map(|slot| slot.voids.list.iter().map(move |void| (slot, void)));
        let own = all.filter(|(_, void)| void.plan.by == VoidBy::Voter(self.voter));
        let view = |(slot, void): (&Arc<SlotState>, &crate::domain::VoidState)| OwnVoid {
            id: void.id,
            season: self.season(slot),
            position: slot.slot.position,
            reason: void.plan.reason.clone(),
            begun_at: void.begun_at,
            taken_at: void.taken.as_ref().map(|step| step.at),
            lifted_at: void.lifted.as_ref().map(|(step, _)| step.at),
        };
        own.map(view).collect()
    }

    /// Erasures of the voter's that have not ended, by their ids, and whether comments, likes and reports are emptied.
    pub fn erasures(&self) -> Vec<(Seq, bool)> {
        self.erasures.iter().map(|(id, erasing)| (*id, erasing.searched)).collect()
    }

    /// Every vote, slot by slot.
    pub fn votes(&self, see: See<'_, OwnVote>) -> Result<(), Fault> {
        let mut pace = Pace::default();
        self.noted(self.scene.slots.iter().try_for_each(|slot| {
            // A season's worth of locked slots is looked up without a block to rest behind.
            pace.rest(|| self.goes_on(see))?;
            self.votes_of(slot, &mut pace, see)
        }))
    }

    /// Every comment, the oldest first; of a deleted one what is left.
    pub fn comments(&self, see: See<'_, OwnComment>) -> Result<(), Fault> {
        self.noted(self.all_comments(see))
    }

    /// Every comment that the voter likes or has reported, the oldest first.
    pub fn marks(&self, see: See<'_, OwnMark>) -> Result<(), Fault> {
        self.noted(self.all_marks(see))
    }

    fn all_comments(&self, see: See<'_, OwnComment>) -> Result<(), Fault> {
        let store = self.core.tables.as_ref();
        let mut ids = Forwards::<CommentId>::new(store, 0, Seq::MAX);
        let mut pace = Pace::default();
        while let Some(id) = ids.next_item()? {
            pace.at_page(ids.pages(), || self.goes_on(see))?;
            if id.author != self.voter {
                continue;
            }
            // An id is stored before its comment.
            if let Some(comment) = find::<Comment>(store, id.place)? {
                see(Some(OwnComment { clip: self.clip(id.place.clip)?, comment }))?;
            }
        }
        Ok(())
    }

    fn all_marks(&self, see: See<'_, OwnMark>) -> Result<(), Fault> {
        let store = self.core.tables.as_ref();
        let (past, end) = ((0, VoterId([0; 16])), (Seq::MAX, VoterId([u8::MAX; 16])));
        let mut marks = Forwards::<Mark>::new(store, past, end);
        let mut pace = Pace::default();
        while let Some(mark) = marks.next_item()? {
            pace.at_page(marks.pages(), || self.goes_on(see))?;
            if mark.voter != self.voter {
                continue;
            }
            if let Some(id) = find::<CommentId>(store, mark.comment)? {
                let (liked, reported) = (mark.set & LIKED != 0, mark.set & REPORTED != 0);
                see(Some(OwnMark { comment: mark.comment, clip: self.clip(id.place.clip)?, liked, reported }))?;
            }
        }
        Ok(())
    }

    fn season(&self, slot: &SlotState) -> SeasonId {
        self.scene.seasons[slot.slot.season.index()].season.id.clone()
    }

    /// A clip's id. One that came behind the scene is in the tables.
    fn clip(&self, clip: ClipNo) -> Result<ClipId, Fault> {
        match self.scene.clips.get(clip.index()) {
            Some(state) => Ok(state.clip.id.clone()),
            None => lookup::clip_id(self.core.tables.as_ref(), clip),
        }
    }

    /// Counts and logs what is the store's failure, and not that of whoever reads.
    fn noted(&self, read: Result<(), Fault>) -> Result<(), Fault> {
        read.inspect_err(|why| {
            if !matches!(why, Fault::Io { .. } | Fault::Latched(_)) {
                self.core.metrics.read_failures.inc();
                tracing::error!(%why, "reading a voter's own data failed");
            }
        })
    }

    /// Whether there is still someone to read for, and something to read from.
    fn goes_on<T>(&self, see: See<'_, T>) -> Result<(), Fault> {
        if self.core.closing.load(Ordering::Relaxed) {
            return Err(Fault::Latched("the store is closing, and with it what was being read of it".into()));
        }
        see(None)
    }
}
