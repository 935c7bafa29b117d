//! The world of a run: an engine over a disk that dies, a clock that jumps, voters and an operator, and what they were told.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use plaudit::clock::{Clock, ManualClock};
use plaudit::domain::{
    ClipDraft, ClipId, Logged, NetworkHash, Origin, SeasonId, Seq, SlotNo, SlotStatus, VoidBy, VoteKind, VoterId,
};
use plaudit::engine::{Engine, Receipt, RoundSettings, Settings, SlotView, VoidAsked};
use plaudit::error::{Fault, Reject};
use plaudit::log::block;
use plaudit::merkle::Certificate;
use plaudit::store::FaultyDisk;

use crate::kept::{Blocks, Kept, history};
use crate::naive::{check_certificates, locked};
use crate::simulation::Dice;
use crate::support::{NOON, key, voter};
use crate::through::Through;
use crate::{MIN_CLIPS, SLOT_MS, SLOTS, VOTERS};

/// More than the clock may have jumped ahead in a run.
const DAYS: u64 = 100;

fn some_slot(dice: &mut Dice) -> u32 {
    u32::try_from(dice.roll(u64::from(SLOTS))).unwrap() + 1
}

fn network(who: u64) -> NetworkHash {
    NetworkHash::of([u8::try_from(who % 2).unwrap() + 1; 8])
}

/// What was answered, by sequence where there is one.
#[derive(Default)]
pub(crate) struct Answers {
    pub(crate) cast: BTreeMap<Seq, (VoterId, String)>,
    pub(crate) retracted: BTreeMap<Seq, (VoterId, String)>,
    /// Votes that were told that voting had closed, or that the voter had none: nothing of them is in the log. How often each.
    pub(crate) refused: BTreeMap<(VoterId, String), u64>,
    /// Votes that may stand or not.
    pub(crate) unknown: BTreeSet<(VoterId, String)>,
    pub(crate) asked: BTreeMap<(VoterId, String), u64>,
    pub(crate) closed: u64,
}

pub(crate) struct World {
    pub(crate) disk: FaultyDisk,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) blocks: Blocks,
    pub(crate) rounds: RoundSettings,
    pub(crate) engine: Option<Engine>,
    pub(crate) answers: Answers,
    pub(crate) clips: u32,
    pub(crate) lives: u32,
    /// By position and number.
    pub(crate) certificates: BTreeMap<(u32, u64), Certificate>,
}

impl World {
    pub(crate) fn new(seed: u64, automatic: bool) -> Self {
        let rounds = RoundSettings { automatic, slot_ms: Some(SLOT_MS), min_clips: MIN_CLIPS };
        Self {
            disk: FaultyDisk::new(seed),
            clock: Arc::new(ManualClock::at(NOON)),
            blocks: Blocks::default(),
            rounds,
            engine: None,
            answers: Answers::default(),
            clips: 0,
            lives: 0,
            certificates: BTreeMap::new(),
        }
    }

    pub(crate) fn engine(&self) -> &Engine {
        self.engine.as_ref().expect("open")
    }

    pub(crate) fn open(&mut self) -> Result<(), Fault> {
        let settings = Settings {
            reconcile_every_s: 0,
            rounds: self.rounds,
            daily_limit: 10_000,
            ..Settings::new("unused", key())
        };
        let clock: Arc<dyn Clock> = Arc::<ManualClock>::clone(&self.clock);
        let log = Through::over(self.disk.open("log"), Kept(Arc::clone(&self.blocks)));
        self.engine = Some(Engine::over(settings, clock, log, self.disk.open("tables"))?);
        self.lives += 1;
        if self.rounds.automatic {
            let now = self.clock.now_ms();
            let over =
                |slot: &SlotView| slot.status == SlotStatus::Voting && slot.ends_at.is_some_and(|end| end <= now);
            let slots = self.engine().seasons().into_iter().flat_map(|season| season.slots);
            assert_eq!(slots.filter(over).count(), 0, "what is over is frozen before anyone has the engine");
        }
        Ok(())
    }

    /// The machine dies, and what it lost is forgotten here too. The next life begins, or is over at once where `fails_at` says.
    pub(crate) fn crash(&mut self, seed: u64, fails_at: Option<u64>) {
        self.disk.crash(seed);
        self.engine = None;
        let last = self.disk.open("log").last_in(&block::key(0), &[0xff; 9]).unwrap().map(|(key, _)| key);
        self.blocks.lock().unwrap().retain(|key, _| last.as_ref().is_some_and(|last| key <= last));
        if let Some(k) = fails_at {
            self.disk.fail_at(k);
            if self.open().is_ok() {
                return;
            }
            self.crash(seed + 1, None);
            return;
        }
        self.open().expect("a restart recovers");
    }

    /// The whole history, oldest first.
    pub(crate) fn history(&self) -> Vec<Logged> {
        history(&self.blocks)
    }

    pub(crate) async fn stage(&mut self) -> Result<(), Reject> {
        self.stage_slots().await?;
        // The last slot gets its clips on the way, or never.
        for position in (1..SLOTS).flat_map(|position| [position, position]) {
            self.add_clip(position).await?;
        }
        Ok(())
    }

    /// The season and its slots, as far as they are not there.
    pub(crate) async fn stage_slots(&self) -> Result<(), Reject> {
        let engine = self.engine.clone().expect("open");
        if engine.is_empty() {
            engine.create_season(Some(SeasonId::new("s")?), "Season".into()).await?;
        }
        for position in 1..=SLOTS {
            if engine.slot("s", position).is_err() {
                engine.create_slot("s", Some(position)).await?;
            }
        }
        Ok(())
    }

    pub(crate) async fn add_clip(&mut self, position: u32) -> Result<(), Reject> {
        let id = format!("c{}", self.clips);
        let draft = ClipDraft { title: id.clone(), ..ClipDraft::default() };
        self.engine().add_clip("s", position, Some(ClipId::new(&id)?), draft).await?;
        self.clips += 1;
        Ok(())
    }

    /// Mostly a clip of the slot that is open, or was last.
    pub(crate) fn some_clip(&self, dice: &mut Dice) -> String {
        let position = self.some_position(dice);
        let engine = self.engine();
        let of = |n: &u32| {
            engine.slot_clips(SlotNo(position - 1)).clips.iter().any(|clip| clip.id.as_str() == format!("c{n}"))
        };
        let clips: Vec<u32> = (0..self.clips).filter(of).collect();
        let at = dice.roll(clips.len().max(1) as u64);
        format!("c{}", clips.get(usize::try_from(at).unwrap()).unwrap_or(&0))
    }

    pub(crate) fn some_position(&self, dice: &mut Dice) -> u32 {
        let begun = |position: &u32| {
            let status = self.engine().slot("s", *position).unwrap().status;
            matches!(status, SlotStatus::Voting | SlotStatus::Frozen)
        };
        let any = some_slot(dice);
        if dice.roll(8) == 0 { any } else { (1..=SLOTS).find(begun).unwrap_or(any) }
    }

    pub(crate) fn vote(&self, who: u64, clip: &str, weight: u64) -> tokio::task::JoinHandle<Result<Receipt, Reject>> {
        let (engine, clip) = (self.engine().clone(), clip.to_owned());
        let kind = [VoteKind::Standard, VoteKind::Super, VoteKind::Mega][usize::try_from(weight).unwrap()];
        let origin = Origin { risk: if who % 3 == weight { 60 } else { 0 }, network: network(who) };
        tokio::spawn(async move { engine.vote_from(origin, voter(who), &clip, kind).await })
    }

    pub(crate) fn note_vote(&mut self, who: u64, clip: &str, answer: Result<Receipt, Reject>) {
        let at = (voter(who), clip.to_owned());
        *self.answers.asked.entry(at.clone()).or_default() += 1;
        match answer {
            Ok(receipt) => {
                self.answers.cast.insert(receipt.seq, at);
            }
            Err(Reject::StorageFailed) => {
                self.answers.unknown.insert(at);
            }
            // It stands: an earlier one, that has its own line in the history.
            Err(refused) => {
                self.answers.closed += u64::from(refused == Reject::VotingClosed);
                *self.answers.refused.entry(at).or_default() += 1;
            }
        }
    }

    pub(crate) async fn retract(&mut self, who: u64, clip: &str) {
        match self.engine().retract(voter(who), clip).await {
            Ok(receipt) => {
                self.answers.retracted.insert(receipt.seq, (voter(who), clip.to_owned()));
            }
            Err(Reject::StorageFailed) => {
                self.answers.unknown.insert((voter(who), clip.to_owned()));
            }
            Err(_) => {}
        }
    }

    /// An operator's word; a state that forbids it is fine.
    pub(crate) async fn operate(&mut self, verb: u64, position: u32, dice: &mut Dice) {
        let engine = self.engine.clone().expect("open");
        let now = self.clock.now_ms();
        let end = [None, Some(now + 1), Some(now + 30_000)][usize::try_from(dice.roll(3)).unwrap()];
        let told = match verb {
            0 => engine.open_slot("s", position, end, dice.roll(2) == 0).await.map(drop),
            1 => engine.extend_slot("s", position, end).await.map(drop),
            2 => engine.freeze_slot("s", position).await.map(drop),
            3 => engine
                .reopen_slot("s", position, [None, Some(end)][usize::try_from(dice.roll(2)).unwrap()])
                .await
                .map(drop),
            4 => engine.lock_slot("s", position).await.map(drop),
            5 => {
                let clip = self.some_clip(dice);
                engine.pick_winner("s", position, &clip, "an operator says so".into()).await.map(drop)
            }
            _ => self.add_clip(position).await,
        };
        let fine =
            matches!(told, Ok(()) | Err(Reject::WrongState { .. } | Reject::StorageFailed | Reject::ClipNotFound));
        assert!(fine, "{told:?}");
    }

    /// Voids some votes; says before what that would change, and holds the answer to it.
    pub(crate) async fn void(&mut self, position: u32, dice: &mut Dice) {
        let now = self.clock.now_ms();
        let by = match dice.roll(4) {
            0 => VoidBy::Voter(voter(dice.roll(VOTERS))),
            1 => VoidBy::Network(network(dice.roll(2))),
            2 => VoidBy::Window { from_ms: NOON - dice.roll(60_000), to_ms: now.max(NOON) + 1 },
            _ => VoidBy::Flagged,
        };
        let asked = VoidAsked { season: "s".into(), position, by, reason: "a farm".into() };
        let engine = self.engine.clone().expect("open");
        // Half of the time votes are under way beside it, and are answered as ever.
        let clip = self.some_clip(dice);
        let busy = dice.roll(2) == 0;
        let votes: Vec<_> = (0..if busy { VOTERS } else { 0 }).map(|who| (who, self.vote(who, &clip, 0))).collect();
        // What an erasure takes away meanwhile is in the one and not in the other.
        let busy = busy || engine.erasures_begun() > 0;
        let preview = if busy || engine.drain().await.is_err() { None } else { engine.preview_void(&asked).ok() };
        let told = engine.void(asked).await;
        for (who, vote) in votes {
            let answer = vote.await.unwrap();
            self.note_vote(who, &clip, answer);
        }
        match told {
            Ok(void) => {
                let Some(preview) = preview else { return };
                assert!(void.votes.is_none_or(|votes| votes == preview.votes), "{void:?}, {preview:?}");
                for row in preview.order.into_iter().flatten() {
                    let counts = engine.counts(row.clip.as_str()).unwrap().unwrap();
                    assert_eq!((counts.votes, counts.weight), row.then, "{void:?}");
                }
            }
            Err(Reject::WrongState { .. } | Reject::StorageFailed) => {}
            Err(other) => panic!("{other:?}"),
        }
    }

    /// Erases a voter, who goes on voting as ever.
    pub(crate) async fn erase(&mut self, dice: &mut Dice) {
        let told = self.engine().erase(voter(dice.roll(VOTERS))).await;
        assert!(matches!(told, Ok(_) | Err(Reject::StorageFailed)), "{told:?}");
    }

    pub(crate) async fn lift(&mut self, dice: &mut Dice) {
        let voids = self.engine().voids(None).unwrap();
        let at = usize::try_from(dice.roll(voids.len().max(1) as u64)).unwrap();
        let Some(void) = voids.get(at) else { return };
        let told = self.engine().lift_void(void.id, "not a farm".into()).await;
        let fine = matches!(told, Ok(_) | Err(Reject::WrongState { .. } | Reject::StorageFailed));
        assert!(fine, "{told:?}");
    }

    pub(crate) async fn step(&mut self, dice: &mut Dice) {
        let position = self.some_position(dice);
        match dice.roll(43) {
            41..43 => self.erase(dice).await,
            34..38 => {
                // Locked ones too.
                let position = if dice.roll(2) == 0 { position } else { some_slot(dice) };
                self.void(position, dice).await;
            }
            38..40 => self.lift(dice).await,
            40 => {
                let locked = locked(self);
                if self.engine().drain().await.is_ok() {
                    check_certificates(self, &locked);
                }
            }
            0..10 => {
                let (who, clip, weight) = (dice.roll(VOTERS), self.some_clip(dice), dice.roll(3));
                let answer = self.vote(who, &clip, weight).await.unwrap();
                self.note_vote(who, &clip, answer);
            }
            10..15 => {
                let (who, clip) = (dice.roll(VOTERS), self.some_clip(dice));
                self.retract(who, &clip).await;
            }
            15..21 => {
                // What ends a slot for good comes more seldom than what goes on with it.
                let verb = [0, 1, 1, 2, 2, 3, 3, 3, 4, 5, 6, 6][usize::try_from(dice.roll(12)).unwrap()];
                self.operate(verb, position, dice).await;
            }
            // Votes and whatever ends the slot, at once.
            21..23 => {
                let clip = self.some_clip(dice);
                let votes: Vec<_> = (0..VOTERS).map(|who| (who, self.vote(who, &clip, 0))).collect();
                if dice.roll(2) == 0 {
                    self.clock.advance(SLOT_MS);
                    let _ = self.engine().step_rounds().await;
                } else {
                    let verb = [2, 2, 4, 5][usize::try_from(dice.roll(4)).unwrap()];
                    self.operate(verb, position, dice).await;
                }
                for (who, vote) in votes {
                    let answer = vote.await.unwrap();
                    self.note_vote(who, &clip, answer);
                }
            }
            23 => self.clock.advance(dice.roll(2 * SLOT_MS)),
            24 => self.clock.advance(dice.roll(1_000)),
            // A clock that jumps: a day ahead, or back to before the season began.
            25 if dice.roll(3) == 0 => self.clock.advance(86_400_000),
            25 => self.clock.set(NOON - dice.roll(1_000_000)),
            26..29 => {
                let _ = self.engine().step_rounds().await;
            }
            29 => self.crash(dice.roll(u64::MAX), None),
            30..32 => self.extend_against_the_timer(position).await,
            // Dies a few writes from here, in the next life perhaps during its start.
            _ => {
                if dice.roll(2) == 0 {
                    let (seed, k) = (dice.roll(u64::MAX / 2), dice.roll(8) + 1);
                    self.crash(seed, Some(k));
                } else {
                    self.disk.fail_at(dice.roll(12) + 1);
                }
            }
        }
        if self.engine().failure().is_some() {
            self.crash(dice.roll(u64::MAX / 2), None);
        }
    }

    /// A slot's time is over and an operator extends it; before that is settled the timer looks, and finds it over still.
    pub(crate) async fn extend_against_the_timer(&mut self, position: u32) {
        let engine = self.engine.clone().expect("open");
        let end = engine.slot("s", position).ok().filter(|slot| slot.status == SlotStatus::Voting);
        let Some(end) = end.and_then(|slot| slot.ends_at) else { return };
        if engine.drain().await.is_err() {
            return;
        }
        self.clock.set(end);
        self.disk.hold_flushes(true);
        let extend = tokio::spawn({
            let engine = engine.clone();
            async move { engine.extend_slot("s", position, Some(end + SLOT_MS)).await.map(drop) }
        });
        while self.disk.held_flushes() == 0 && !extend.is_finished() {
            tokio::task::yield_now().await;
        }
        let stepping = tokio::spawn(async move { engine.step_rounds().await });
        // A flush of the applier's, for an erasure, may have been the one that was held: then both may be in one batch, and none waits.
        let (began, both) = (Instant::now(), Duration::from_millis(50));
        while self.engine().queue().pending == 0
            && !stepping.is_finished()
            && !extend.is_finished()
            && began.elapsed() < both
        {
            tokio::task::yield_now().await;
        }
        self.disk.hold_flushes(false);
        let fine =
            |told: Result<(), Reject>| matches!(told, Ok(()) | Err(Reject::WrongState { .. } | Reject::StorageFailed));
        assert!(fine(extend.await.unwrap()));
        assert!(fine(stepping.await.unwrap().map(drop)));
    }

    /// Every slot that takes votes or may take them again is locked, and days pass: then every erasure comes to its end.
    pub(crate) async fn end_erasures(&mut self) {
        for position in 1..=SLOTS {
            let told = self.engine().lock_slot("s", position).await;
            assert!(matches!(told, Ok(_) | Err(Reject::WrongState { .. })), "{told:?}");
        }
        // Past the latest day that any jump of the clock has shown.
        self.clock.advance(DAYS * 86_400_000);
        let began = Instant::now();
        while self.engine().erasures_begun() > 0 {
            assert!(began.elapsed() < Duration::from_mins(10), "{} erasures never end", self.engine().erasures_begun());
            // The applier's pass, and then the word that it is through.
            let _ = self.engine().drain().await;
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// Until nothing more is due.
    pub(crate) async fn settle(&self) {
        for _ in 0..1_000 {
            let before = self.history().len();
            let asked = self.engine().step_rounds().await.unwrap();
            if asked == 0 && self.history().len() == before {
                return;
            }
        }
        panic!("rounds never come to rest");
    }
}
