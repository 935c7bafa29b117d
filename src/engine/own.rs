//! What is kept of one voter, read for that voter: from the tables, a little at a time, while votes go on.
//!
//! Everything that was acknowledged when it is asked for is applied first, and so in what is read. It is no view of one moment:
//! the tables are held for one reader at a time (`log/hold.rs`), and anyone who reads slowly could keep backups out with that.
//! What is said of each thing is true of it when it is read.
//!
//! A locked slot's ballots are found in its sorted pages. Those of other slots lie in log order, and all of them are looked
//! through, as all comments are and all likes: on half a core at most. May wait for the disk. Never: holds more than a window of
//! votes, or anything of another voter.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::api::{Allowance, ClipView};
use super::read::clip_view;
use super::{Core, Engine};
use crate::closed::{SlotNames, SlotPages};
use crate::domain::{ClipId, ClipNo, Comment, Day, Origin, SeasonId, Seq, SlotNo, VoidBy, VoteKind, VoterId};
use crate::error::{Fault, Reject};
use crate::fold::ballot_block::{self, Act};
use crate::fold::comments::{CommentId, LIKED, Mark, REPORTED};
use crate::fold::ranges::{Forwards, find};
use crate::fold::sorted::{Sorted, Who};
use crate::fold::{Stored, keys, lookup};
use crate::stage::{Ban, Erasing, Scene, SlotState};

/// Votes of a slot that is not locked that are held until all of the slot was looked through for their retractions: a megabyte or
/// two. Who cast more is looked for once more for each further window of them.
const WINDOW: usize = 16_384;
/// Blocks, or pages of comments, between two rests.
const PAGES_A_SLICE: usize = 16;
/// So long it works before it rests.
const SLICE: Duration = Duration::from_millis(5);

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

    fn votes_of(&self, slot: &SlotState, pace: &mut Pace, see: See<'_, OwnVote>) -> Result<(), Fault> {
        let no = slot.slot.no;
        // Votes up to it were given.
        let mut past = 0;
        loop {
            if let Some(sorted) = self.sorted(no)? {
                let left = sorted.into_iter().filter(|ballot| ballot.seq > past);
                return left.map(|ballot| self.of_sorted(slot, &ballot)).try_for_each(|vote| see(Some(vote?)));
            }
            let mut window = Window { voter: self.voter, past, most: self.window, votes: Vec::new(), more: false };
            self.look_through(no, &mut window, pace, see)?;
            // Behind that reading: blocks that it missed have gone, and pages stand for them.
            if lookup::sealed(self.core.tables.as_ref(), no)?.is_some() {
                continue;
            }
            past = window.votes.last().map_or(past, |(vote, _)| vote.seq);
            for (stored, back) in &window.votes {
                if let Some(vote) = self.of_stored(slot, stored, *back)? {
                    see(Some(vote))?;
                }
            }
            if !window.more {
                return Ok(());
            }
        }
    }

    /// The voter's ballots of a locked slot: one a clip at most. `None` while the slot's blocks stand for them.
    fn sorted(&self, slot: SlotNo) -> Result<Option<Vec<Sorted>>, Fault> {
        let store = self.core.tables.as_ref();
        let Some((_, pages)) = lookup::sealed(store, slot)? else { return Ok(None) };
        let names = SlotNames::of(store, &self.scene.slots[slot.index()].slot)?;
        SlotPages::new(store, slot, pages).of_voter(&names, self.voter).map(Some)
    }

    /// Looks through a slot's blocks, from the one that the next vote lies in to the last.
    fn look_through(
        &self,
        slot: SlotNo,
        window: &mut Window,
        pace: &mut Pace,
        see: See<'_, OwnVote>,
    ) -> Result<(), Fault> {
        let store = self.core.tables.as_ref();
        let (first, end) = keys::ballots_of(slot);
        let no_later = keys::ballots(slot, window.past.saturating_add(2));
        let mut from = store.last_in(&first, &no_later)?.map_or(first.to_vec(), |(key, _)| key);
        loop {
            let (mut left, mut next) = (PAGES_A_SLICE, None);
            store.scan(&from, &end, &mut |key, record| {
                if left == 0 {
                    next = Some(key.to_vec());
                    return Ok(std::ops::ControlFlow::Break(()));
                }
                left -= 1;
                ballot_block::read(key, record, |stored| {
                    window.take(&stored);
                    Ok(())
                })?;
                Ok(std::ops::ControlFlow::Continue(()))
            })?;
            let Some(next) = next else { return Ok(()) };
            from = next;
            pace.rest(|| self.goes_on(see))?;
        }
    }

    fn of_stored(
        &self,
        slot: &SlotState,
        stored: &Stored,
        taken_back: Option<(Seq, u64)>,
    ) -> Result<Option<OwnVote>, Fault> {
        let Stored { seq, at, ballot } = *stored;
        let Act::Cast(kind) = ballot.act else { return Ok(None) };
        Ok(Some(OwnVote {
            seq,
            at,
            season: self.season(slot),
            position: slot.slot.position,
            clip: self.clip(ballot.clip)?,
            kind,
            weight: ballot.weight,
            day: ballot.day,
            taken_back,
            voided: is_voided(slot, seq),
            erased: false,
            origin: ballot.origin,
        }))
    }

    fn of_sorted(&self, slot: &SlotState, ballot: &Sorted) -> Result<OwnVote, Fault> {
        let Sorted { who, seq, at, clip, kind, weight, day, origin } = *ballot;
        Ok(OwnVote {
            seq,
            at,
            season: self.season(slot),
            position: slot.slot.position,
            clip: self.clip(clip)?,
            kind,
            weight,
            day,
            taken_back: None,
            voided: is_voided(slot, seq),
            erased: matches!(who, Who::Erased(_)),
            origin,
        })
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

fn is_voided(slot: &SlotState, vote: Seq) -> bool {
    let masks = &slot.voids.masks;
    masks.binary_search_by_key(&vote, |mask| mask.vote.seq).is_ok_and(|at| masks[at].by > 0)
}

/// Votes of a voter in log order, each with its retraction.
struct Window {
    voter: VoterId,
    /// Behind this sequence.
    past: Seq,
    most: usize,
    votes: Vec<(Stored, Option<(Seq, u64)>)>,
    /// There are more behind the last one.
    more: bool,
}

impl Window {
    fn take(&mut self, stored: &Stored) {
        if stored.ballot.voter != self.voter || stored.seq <= self.past {
            return;
        }
        match stored.ballot.act {
            Act::Cast(_) if self.votes.len() == self.most => self.more = true,
            Act::Cast(_) => self.votes.push((*stored, None)),
            Act::Retract(vote) => {
                if let Ok(at) = self.votes.binary_search_by_key(&vote, |(vote, _)| vote.seq) {
                    self.votes[at].1 = Some((stored.seq, stored.at));
                }
            }
        }
    }
}

/// Rests as long as it worked, so that votes keep the rest of the machine.
struct Pace {
    began: Instant,
    page: usize,
}

impl Default for Pace {
    fn default() -> Self {
        Self { began: Instant::now(), page: 0 }
    }
}

impl Pace {
    /// So many pages were read.
    fn at_page(&mut self, page: usize, goes_on: impl FnOnce() -> Result<(), Fault>) -> Result<(), Fault> {
        if page < self.page + PAGES_A_SLICE {
            return Ok(());
        }
        self.page = page;
        self.rest(goes_on)
    }

    fn rest(&mut self, goes_on: impl FnOnce() -> Result<(), Fault>) -> Result<(), Fault> {
        goes_on()?;
        let worked = self.began.elapsed();
        if worked >= SLICE {
            // What took longer waited for its client, and was no work.
            std::thread::sleep(worked.min(4 * SLICE));
            self.began = Instant::now();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::ManualClock;
    use crate::domain::{ClipDraft, VoterKey};
    use crate::engine::Settings;
    use crate::store::FaultyDisk;

    const CLIPS: [&str; 3] = ["c0", "c1", "c2"];

    /// Slot 1 of season `s` takes votes for `c0`, `c1` and `c2`.
    async fn staged() -> Engine {
        let disk = FaultyDisk::new(1);
        let settings = Settings::new(std::env::temp_dir(), VoterKey::new([7; 32]));
        let clock = Arc::new(ManualClock::at(1_700_000_000_000));
        let engine = Engine::over(settings, clock, disk.open("log"), disk.open("tables")).unwrap();
        engine.create_season(Some(SeasonId::new("s").unwrap()), "Season".into()).await.unwrap();
        engine.create_slot("s", None).await.unwrap();
        for id in CLIPS {
            let draft = ClipDraft { title: id.into(), ..ClipDraft::default() };
            let id = ClipId::new(id).unwrap();
            engine.add_clip("s", 1, Some(id), draft.checked().unwrap()).await.unwrap();
        }
        engine.open_slot("s", 1, None, false).await.unwrap();
        engine
    }

    async fn cast(engine: &Engine, voter: VoterId, clip: &str) -> Seq {
        engine.vote(voter, clip, VoteKind::Standard).await.unwrap().seq
    }

    /// A vote for `c0`, then several for `c1` that are taken back, then one for `c1` and one for `c2`: each with its retraction.
    async fn voted(engine: &Engine, voter: VoterId) -> Vec<(Seq, Option<Seq>)> {
        let mut votes = vec![(cast(engine, voter, "c0").await, None)];
        for _ in 0..7 {
            let vote = cast(engine, voter, "c1").await;
            cast(engine, VoterId([9; 16]), "c1").await;
            votes.push((vote, Some(engine.retract(voter, "c1").await.unwrap().seq)));
            engine.retract(VoterId([9; 16]), "c1").await.unwrap();
        }
        for clip in ["c1", "c2"] {
            votes.push((cast(engine, voter, clip).await, None));
        }
        votes
    }

    fn seen(vote: &OwnVote) -> (Seq, Option<Seq>) {
        (vote.seq, vote.taken_back.map(|(seq, _)| seq))
    }

    #[tokio::test]
    async fn more_votes_than_a_window_holds_come_once_each_with_their_retractions() {
        let engine = staged().await;
        let ada = VoterId([1; 16]);
        let votes = voted(&engine, ada).await;
        for window in 1..=votes.len() + 1 {
            let mut data = engine.own_data(ada).await.unwrap();
            data.window = window;
            let mut found = Vec::new();
            data.votes(&mut |vote| {
                found.extend(vote.as_ref().map(seen));
                Ok(())
            })
            .unwrap();
            assert_eq!(found, votes, "{window} at a time");
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_lock_while_it_is_read_leaves_out_no_vote_that_stands() {
        let engine = staged().await;
        let ada = VoterId([1; 16]);
        let votes = voted(&engine, ada).await;
        let mut data = engine.own_data(ada).await.unwrap();
        data.window = 2;
        let handle = tokio::runtime::Handle::current();
        let reading = tokio::task::spawn_blocking(move || {
            let mut found = Vec::new();
            data.votes(&mut |vote| {
                let Some(vote) = vote else { return Ok(()) };
                found.push(seen(&vote));
                if found.len() == 1 {
                    handle.block_on(engine.lock_slot("s", 1)).unwrap();
                    let (first, end) = keys::ballots_of(SlotNo(0));
                    // The pages stand for the blocks, which go.
                    while engine.core.tables.last_in(&first, &end).unwrap().is_some() {
                        handle.block_on(engine.drain()).unwrap();
                        std::thread::yield_now();
                    }
                }
                Ok(())
            })
            .unwrap();
            found
        });
        let found = reading.await.unwrap();
        let kept = [votes[0], votes[1], votes[8], votes[9]];
        assert_eq!(found, kept, "the window that was read before it, then what stands behind");
    }
}
