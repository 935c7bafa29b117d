//! The erasure of a voter, as far as who asks waits for it: its begin. The rest is `jobs/erase.rs` and the applier's pass.

use std::sync::Arc;

use tokio::sync::oneshot;

use super::{Ack, Core, Engine};
use crate::domain::{ClipNo, Event, Seq, VoterId, day_of};
use crate::error::Reject;
use crate::jobs::EraseJob;
use crate::log::{Body, Entry};

/// Erasures whose search has not ended, at most: one search is for all that wait when it begins.
const WAITING_MAX: usize = 256;
/// Erasures that have not ended, at most: each waits for the last of its voter's slots to be locked, and for the day to pass.
const BEGUN_MAX: usize = 65_536;
/// Erasures of one voter that have not ended, at most: nobody may take up the places of all.
const OF_ONE_MAX: usize = 8;
/// Who asks for one and waits for the operators' turn, at most: the others are told to come again.
pub(super) const ASKERS: usize = 2;

impl Engine {
    /// Empties what ties a voter's past to them: names, pictures, comments' text, networks' hashes, and in locked slots their id; in
    /// open ones their id stays until they lock. Votes, likes and reports count on. Resolves once the begin is on the disk, with
    /// its sequence, which is the erasure's id; the rest goes on by itself, over restarts. What the voter does afterwards is not
    /// touched.
    ///
    /// While the comments of an erasure of theirs are still searched for, asking again gives that one; later it begins another, for
    /// what came since. Who has `OF_ONE_MAX` that have not ended is refused until the first of them ends.
    pub async fn erase(&self, voter: VoterId) -> Result<Seq, Reject> {
        let core = &*self.core;
        core.takes_writes()?;
        // Before anything is waited for: voters ask for this, as many at once as they like, and most are answered here.
        if let Some(id) = core.begun_already(voter)? {
            return Ok(id);
        }
        // Operators' turns come in the order of their asking, so a freeze waits for these at most. What they enqueue takes none of
        // the places that are kept for operators.
        let _asker = core.erasers.try_acquire().map_err(|_| core.overloaded())?;
        let _turn = core.operator.lock().await;
        core.takes_writes()?;
        core.barrier().await?;
        if let Some(id) = core.begun_already(voter)? {
            return Ok(id);
        }
        // No clip comes in between: adding one takes a turn too.
        let clips = core.stage.look().clips.len();
        let clips = ClipNo(u32::try_from(clips).expect("clips are numbered in 32 bits"));
        let (waiter, answer) = oneshot::channel();
        let at = core.clock.now_ms();
        let event = Event::ErasureBegun { voter, day: core.ballots.day(day_of(at)), clips };
        core.queue.claim(Entry::new(at, Body::Event(event), Some(waiter))).ok_or_else(|| core.overloaded())?;
        let id = core.outcome(answer).await?;
        if core.settings.ack == Ack::Memory {
            // Answered before it was flushed; what settles behind it was flushed behind it.
            core.barrier().await?;
        }
        Ok(id)
    }

    /// Erasures that have not ended.
    pub fn erasures_begun(&self) -> usize {
        self.core.stage.erasures().len()
    }
}

impl Core {
    /// What looks for comments, likes and reports, and ends erasures.
    pub(super) fn erase_job(&self) -> EraseJob {
        EraseJob::new(
            Arc::clone(&self.stage),
            Arc::clone(&self.ballots),
            Arc::clone(&self.comments),
            self.queue.clone(),
            Arc::clone(&self.progress),
            Arc::clone(&self.tables),
            Arc::clone(&self.metrics),
        )
    }

    /// The voter's erasure that is still searched for, if there is one; refuses where there is no room for another.
    fn begun_already(&self, voter: VoterId) -> Result<Option<Seq>, Reject> {
        let erasures = self.stage.erasures();
        let theirs = erasures.of(voter);
        if let Some((id, _)) = theirs.iter().find(|(_, erasing)| !erasing.searched) {
            return Ok(Some(*id));
        }
        let full = erasures.unsearched() >= WAITING_MAX || erasures.len() >= BEGUN_MAX;
        if theirs.len() >= OF_ONE_MAX {
            // For days, perhaps: no moment to come again after.
            let why = "eight erasures of this voter's have not ended yet: each ends once the rounds voted in are locked and \
                       two midnights have passed, and then there is room for another";
            return Err(Reject::WrongState { state: "erasing", why: why.into() });
        }
        if full { Err(self.overloaded()) } else { Ok(None) }
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::{Pin, pin};
    use std::task::{Context, Poll, Waker};
    use std::time::Duration;

    use super::*;
    use crate::clock::{Clock, ManualClock};
    use crate::domain::{ClipDraft, ClipId, CommentText, Profile, SeasonId, SlotStatus, VoteKind, VoterKey};
    use crate::engine::{CommentDraft, Settings};
    use crate::fold::comments::CommentId;
    use crate::fold::erasures;
    use crate::fold::ranges::Item;
    use crate::jobs::ERASURE_RETRY_MS;
    use crate::store::FaultyDisk;

    const NOON: u64 = 1_800_014_400_000;
    const DAY_MS: u64 = 86_400_000;

    fn ask<T>(future: Pin<&mut impl Future<Output = T>>) -> Poll<T> {
        future.poll(&mut Context::from_waker(Waker::noop()))
    }

    /// Slot 1 of season `s` takes votes for `c`.
    async fn staged(engine: &Engine) {
        engine.create_season(Some(SeasonId::new("s").unwrap()), "Season".into()).await.unwrap();
        engine.create_slot("s", None).await.unwrap();
        let draft = ClipDraft { title: "Clip".into(), ..ClipDraft::default() };
        engine.add_clip("s", 1, Some(ClipId::new("c").unwrap()), draft).await.unwrap();
        engine.open_slot("s", 1, None, false).await.unwrap();
    }

    fn open(disk: &FaultyDisk, clock: &Arc<ManualClock>) -> Engine {
        let settings = Settings { reconcile_every_s: 0, ..Settings::new("unused", VoterKey::new([7; 32])) };
        let clock: Arc<dyn Clock> = Arc::<ManualClock>::clone(clock);
        Engine::over(settings, clock, disk.open("log"), disk.open("tables")).unwrap()
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn voters_who_ask_all_at_once_keep_no_freeze_out() {
        let key = VoterKey::new([7; 32]);
        let engine = open(&FaultyDisk::new(1), &Arc::new(ManualClock::at(NOON)));
        staged(&engine).await;

        // Another operator has the turn, so that every place is held for as long as is needed to see it.
        let turn = engine.core.operator.lock().await;
        let mut asked: Vec<_> = (0..200).map(|who| Box::pin(engine.erase(key.user(&format!("v{who}"))))).collect();
        let answers: Vec<_> = asked.iter_mut().map(|one| ask(one.as_mut())).collect();
        assert!(answers[..ASKERS].iter().all(Poll::is_pending), "{answers:?}");
        assert!(answers[ASKERS..].iter().all(|answer| *answer == Poll::Ready(Err(Reject::Overloaded))), "{answers:?}");
        let mut freeze = pin!(engine.freeze_slot("s", 1));
        assert!(ask(freeze.as_mut()).is_pending());

        drop(turn);
        let mut begun = Vec::new();
        for one in asked.drain(..ASKERS) {
            begun.push(one.await.unwrap());
        }
        freeze.await.unwrap();
        assert_eq!(engine.slot("s", 1).unwrap().status, SlotStatus::Frozen);
        // Places are given back.
        let next = engine.erase(key.user("v100")).await.unwrap();
        assert!(begun[0] < begun[1] && begun[1] < next, "{begun:?} {next}");
        engine.close().unwrap();
    }

    /// The day is read, midnight comes, the voter votes, and then the erasure is queued.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_vote_of_the_next_day_that_came_before_the_begin_stays_charged() {
        let (disk, clock) = (FaultyDisk::new(2), Arc::new(ManualClock::at(NOON)));
        let engine = open(&disk, &clock);
        staged(&engine).await;
        let (voter, day) = (VoterKey::new([7; 32]).user("v"), engine.core.ballots.day(day_of(NOON)));
        clock.advance(DAY_MS);
        engine.vote(voter, "c", VoteKind::Super).await.unwrap();
        engine.core.write(Event::ErasureBegun { voter, day, clips: ClipNo(1) }).await.unwrap();
        let id = engine.core.stage.erasures().of(voter)[0].0;
        engine.lock_slot("s", 1).await.unwrap();
        let swept = || erasures::find(engine.core.tables.as_ref(), id).unwrap().is_some_and(|state| state.pass.swept);
        let waited = tokio::time::timeout(Duration::from_mins(5), async {
            while !swept() {
                engine.drain().await.unwrap();
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        });
        waited.await.expect("the pass ends");
        // A job of the test's own, so that it is known to have looked.
        let mut job = engine.core.erase_job();
        for _ in 0..4 {
            job.step(clock.now_ms());
            engine.drain().await.unwrap();
        }
        assert_eq!(engine.erasures_begun(), 1, "it is the day that the vote is charged to");
        engine.close().unwrap();
        drop((job, engine));

        let engine = open(&disk, &clock);
        assert_eq!(engine.allowance(voter).used, 3, "no budget comes back with a restart");
        clock.advance(DAY_MS);
        // The day after.
        wait(|| engine.erasures_begun() == 0).await;
        engine.close().unwrap();
    }

    /// Its own job and the engine's meet the damage once each while the clock stands, and go on once it is mended.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn what_cant_be_read_is_counted_and_tried_again_later() {
        let (disk, clock) = (FaultyDisk::new(3), Arc::new(ManualClock::at(NOON)));
        let engine = open(&disk, &clock);
        staged(&engine).await;
        let author = VoterKey::new([7; 32]).user("v");
        let text = CommentText::new("Mine").unwrap();
        let draft = CommentDraft { clip: "c", parent: None, author, profile: Profile::default(), text, request: None };
        engine.post_comment(draft).await.unwrap();
        engine.drain().await.unwrap();
        let spoil = || {
            let turned = |value: &[u8]| Some(value.iter().rev().copied().collect());
            disk.alter("tables", &CommentId::bytes(0), turned)
        };
        assert!(spoil(), "the first page of comments' ids is there");

        engine.erase(author).await.unwrap();
        let failures = || engine.core.metrics.read_failures.get();
        wait(|| failures() == 1).await;
        let mut job = engine.core.erase_job();
        for _ in 0..10 {
            job.step(clock.now_ms());
        }
        assert_eq!(failures(), 2, "once each");
        assert!(spoil(), "mended");
        assert_eq!(engine.core.stage.erasures().unsearched(), 1);
        clock.advance(ERASURE_RETRY_MS);
        wait(|| engine.core.stage.erasures().unsearched() == 0).await;
        assert_eq!(failures(), 2);
        engine.close().unwrap();
    }

    async fn wait(held: impl Fn() -> bool) {
        let waited = tokio::time::timeout(Duration::from_mins(5), async {
            while !held() {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        });
        waited.await.expect("it comes");
    }
}
