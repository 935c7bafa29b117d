//! The world of a run: an engine over a disk that dies, voters who vote, comment and like until they ask to be forgotten, and an
//! operator. It drives, and holds the engine to the naive reading; what is left of whom is not its question.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use plaudit::clock::{Clock, ManualClock};
use plaudit::domain::{
    ClipDraft, ClipId, CommentStatus, Logged, Origin, SeasonId, Seq, SlotStatus, Verdict, VoidBy, VoteKind, day_of,
};
use plaudit::engine::{CommentDraft, Engine, VoidAsked};
use plaudit::error::Reject;
use plaudit::log::block;
use plaudit::store::FaultyDisk;

use crate::kept::{Blocks, history};
use crate::naive::Naive;
use crate::rig::{DAY_MS, PATIENCE, open, until, verified};
use crate::simulation::Dice;
use crate::support::{NOON, voter};
use crate::traces::{avatar, comment, name, network, request};
use crate::{CLIPS, SLOTS, STAYS, VOTERS};

pub(crate) struct World {
    pub(crate) disk: FaultyDisk,
    pub(crate) clock: Arc<ManualClock>,
    blocks: Blocks,
    pub(crate) engine: Option<Engine>,
    /// Asked to be forgotten: they do nothing any more.
    pub(crate) leaving: BTreeSet<u64>,
    /// Were told that it has begun.
    gone: BTreeMap<u64, Seq>,
    requests: u64,
    pub(crate) lives: u64,
}

impl World {
    /// Its first life, with nothing in it.
    pub(crate) fn over(disk: FaultyDisk, clock: Arc<ManualClock>, blocks: Blocks, engine: Engine) -> Self {
        let (leaving, gone) = (BTreeSet::new(), BTreeMap::new());
        Self { disk, clock, blocks, engine: Some(engine), leaving, gone, requests: 0, lives: 1 }
    }

    pub(crate) fn engine(&self) -> &Engine {
        self.engine.as_ref().expect("open")
    }

    /// The machine dies; the next life may too, at its start.
    pub(crate) fn crash(&mut self, seed: u64, fails_at: Option<u64>) {
        self.disk.crash(seed);
        self.engine = None;
        let last = self.disk.open("log").last_in(&block::key(0), &[0xff; 9]).unwrap().map(|(key, _)| key);
        self.blocks.lock().unwrap().retain(|key, _| last.as_ref().is_some_and(|last| key <= last));
        verified(&self.disk);
        if let Some(k) = fails_at {
            self.disk.fail_at(k);
            if let Ok(engine) = open(&self.disk, &self.clock, &self.blocks) {
                self.engine = Some(engine);
                return;
            }
            return self.crash(seed + 1, None);
        }
        self.engine = Some(open(&self.disk, &self.clock, &self.blocks).expect("a restart recovers"));
        self.lives += 1;
        self.check();
    }

    pub(crate) fn history(&self) -> Vec<Logged> {
        history(&self.blocks)
    }

    /// Counts, comments and budgets are those of the log.
    pub(crate) fn check(&self) -> Naive {
        let began = Instant::now();
        loop {
            let naive = Naive::read(&self.history());
            let wrong = self.differences(&naive);
            // An erasure goes on by itself: what has come to the log since, or is not settled yet, is seen soon.
            if wrong.is_empty() || began.elapsed() > PATIENCE {
                assert_eq!(wrong, Vec::<String>::new());
                return naive;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    fn differences(&self, naive: &Naive) -> Vec<String> {
        let (engine, mut wrong) = (self.engine(), Vec::new());
        let mut hold = |what: String, found: String, wanted: String| {
            if found != wanted {
                wrong.push(format!("{what}: {found}, and should be {wanted}"));
            }
        };
        for (no, id) in &naive.clips {
            let counts = engine.counts(id).unwrap().map(|counts| (counts.votes, counts.weight)).unwrap();
            hold(format!("clip {id}"), format!("{counts:?}"), format!("{:?}", naive.counts(*no)));
            let visible = naive.comments.values().filter(|one| one.clip == *no && one.status == CommentStatus::Visible);
            let found = engine.comment_count(id).unwrap();
            hold(format!("comments of {id}"), found.to_string(), visible.count().to_string());
        }
        for (id, one) in &naive.comments {
            let found = engine.comment(*id, None).unwrap().comment;
            let (found, wanted) = ((found.status, found.likes, found.reports), (one.status, one.likes, one.reports));
            hold(format!("comment {id}"), format!("{found:?}"), format!("{wanted:?}"));
        }
        let today = day_of(self.clock.now_ms());
        for who in 0..VOTERS {
            let (used, wanted) = (engine.allowance(voter(who)).used, naive.used(voter(who), today));
            hold(format!("what voter {who} used today"), used.to_string(), wanted.to_string());
        }
        wrong
    }

    pub(crate) async fn stage(&mut self) {
        let engine = self.engine().clone();
        engine.create_season(Some(SeasonId::new("s").unwrap()), "Season".into()).await.unwrap();
        for position in 1..=SLOTS {
            engine.create_slot("s", None).await.unwrap();
            for n in 0..CLIPS {
                let id = (position - 1) * CLIPS + n;
                // Each is of a voter's: the first ones', who may be gone soon.
                let who = u64::from(n);
                let draft = ClipDraft {
                    title: format!("Clip {id}"),
                    owner: Some(who.to_string()),
                    username: Some(name(who)),
                    avatar_url: Some(avatar(who)),
                    ..ClipDraft::default()
                };
                engine.add_clip("s", position, Some(ClipId::new(&format!("c{id}")).unwrap()), draft).await.unwrap();
            }
        }
        engine.open_slot("s", 1, None, false).await.unwrap();
    }

    fn some_voter(&self, dice: &mut Dice) -> u64 {
        let left: Vec<u64> = (0..VOTERS).filter(|who| !self.leaving.contains(who)).collect();
        left[usize::try_from(dice.roll(left.len() as u64)).unwrap()]
    }

    fn some_clip(&self, dice: &mut Dice) -> String {
        let engine = self.engine();
        let open = (1..=SLOTS).find(|at| engine.slot("s", *at).unwrap().status == SlotStatus::Voting);
        let slot = open.map_or_else(|| dice.roll(u64::from(SLOTS)), |at| u64::from(at) - 1);
        format!("c{}", slot * u64::from(CLIPS) + dice.roll(u64::from(CLIPS)))
    }

    fn some_comment(&self, dice: &mut Dice) -> Option<Seq> {
        let naive = Naive::read(&self.history());
        let ids: Vec<Seq> = naive.comments.keys().copied().collect();
        (!ids.is_empty()).then(|| ids[usize::try_from(dice.roll(ids.len() as u64)).unwrap()])
    }

    async fn vote(&self, dice: &mut Dice) {
        let (who, clip) = (self.some_voter(dice), self.some_clip(dice));
        let kind = [VoteKind::Standard, VoteKind::Super, VoteKind::Mega][usize::try_from(dice.roll(3)).unwrap()];
        let origin = Origin { risk: if dice.roll(3) == 0 { 60 } else { 0 }, network: network(who) };
        let _ = self.engine().vote_from(origin, voter(who), &clip, kind).await;
    }

    async fn comment(&mut self, dice: &mut Dice) {
        let (who, clip) = (self.some_voter(dice), self.some_clip(dice));
        self.requests += 1;
        let draft = CommentDraft {
            parent: if dice.roll(3) == 0 { self.some_comment(dice) } else { None },
            request: (dice.roll(2) == 0).then(|| request(who, self.requests)),
            ..comment(who, &clip)
        };
        let _ = self.engine().post_comment(draft).await;
        // Comments come seldom; the pause between two of a voter's is not what this is about.
        self.clock.advance(30_000.min(DAY_MS - 1 - self.clock.now_ms() % DAY_MS));
    }

    async fn mark(&self, dice: &mut Dice) {
        let Some(id) = self.some_comment(dice) else { return };
        let (who, engine) = (self.some_voter(dice), self.engine());
        match dice.roll(8) {
            0..5 => drop(engine.like_comment(voter(who), id, dice.roll(4) > 0).await),
            5 => drop(engine.report_comment(voter(who), id).await),
            6 => drop(engine.delete_comment(id, Some(voter(who))).await),
            _ => {
                let verdict = if dice.roll(3) == 0 { Verdict::Hide } else { Verdict::Approve };
                drop(engine.moderate_comment(id, verdict).await);
            }
        }
    }

    async fn void(&self, dice: &mut Dice) {
        // One by a network keeps its hash; of who has gone no operator asks by their id any more.
        let who = self.some_voter(dice);
        let by = match dice.roll(5) {
            0 | 1 => VoidBy::Voter(voter(who)),
            2 => VoidBy::Network(network(STAYS)),
            3 => VoidBy::Flagged,
            _ => VoidBy::Window { from_ms: NOON, to_ms: self.clock.now_ms() + 1 },
        };
        let position = u32::try_from(dice.roll(u64::from(SLOTS))).unwrap() + 1;
        let asked = VoidAsked { season: "s".into(), position, by, reason: "a farm".into() };
        let told = self.engine().void(asked).await;
        assert!(matches!(told, Ok(_) | Err(Reject::WrongState { .. } | Reject::StorageFailed)), "{told:?}");
    }

    async fn lift(&self, dice: &mut Dice) {
        let voids = self.engine().voids(None).unwrap();
        let Some(void) = voids.get(usize::try_from(dice.roll(voids.len().max(1) as u64)).unwrap()) else { return };
        let _ = self.engine().lift_void(void.id, "not a farm".into()).await;
    }

    async fn erase(&mut self, who: u64) {
        self.leaving.insert(who);
        match self.engine().erase(voter(who)).await {
            Ok(id) => drop(self.gone.insert(who, id)),
            Err(refused) => assert_eq!(refused, Reject::StorageFailed),
        }
    }

    async fn operate(&self, dice: &mut Dice) {
        let engine = self.engine();
        let at = (1..=SLOTS).find(|at| engine.slot("s", *at).unwrap().status < SlotStatus::Locked).unwrap_or(SLOTS);
        let _ = match dice.roll(5) {
            0 => engine.freeze_slot("s", at).await.map(drop),
            1 | 2 => engine.reopen_slot("s", at, None).await.map(drop),
            3 => engine.lock_slot("s", at).await.map(drop),
            _ => engine.open_slot("s", at, None, false).await.map(drop),
        };
    }

    pub(crate) async fn step(&mut self, dice: &mut Dice) {
        match dice.roll(48) {
            0..14 => self.vote(dice).await,
            14..17 => drop(self.engine().retract(voter(self.some_voter(dice)), &self.some_clip(dice)).await),
            17..22 => self.comment(dice).await,
            22..29 => self.mark(dice).await,
            29..32 => self.void(dice).await,
            32 => self.lift(dice).await,
            // The first three have clips of their own.
            33 | 34 if self.leaving.len() < 4 => self.erase(self.some_voter(dice) % STAYS).await,
            33 | 34 => {
                // Once more: whether that is another one or not, nothing of it may show.
                let who = self.leaving.iter().copied().nth(usize::try_from(dice.roll(4)).unwrap()).unwrap();
                self.erase(who).await;
            }
            35..39 => self.operate(dice).await,
            39 => drop(self.engine().drain().await),
            40 if dice.roll(3) == 0 => self.clock.advance(DAY_MS),
            // The background gets a moment.
            40..43 => tokio::time::sleep(Duration::from_millis(dice.roll(60))).await,
            43 => self.crash(dice.roll(u64::MAX / 2), None),
            44 => {
                let (seed, k) = (dice.roll(u64::MAX / 2), dice.roll(16) + 1);
                self.crash(seed, Some(k));
            }
            _ => self.disk.fail_at(dice.roll(30) + 1),
        }
        if self.engine().failure().is_some() {
            self.crash(dice.roll(u64::MAX / 2), None);
        }
    }

    /// Everyone who left has been forgotten: slots are locked, the day has passed.
    pub(crate) async fn forget(&mut self) {
        for who in self.leaving.clone() {
            self.erase(who).await;
        }
        let engine = self.engine().clone();
        for position in 1..=SLOTS {
            let _ = engine.open_slot("s", position, None, false).await;
            let _ = engine.lock_slot("s", position).await;
            assert_eq!(engine.slot("s", position).unwrap().status, SlotStatus::Locked);
        }
        self.check();
        self.clock.advance(2 * DAY_MS);
        until("the end of all erasures", || engine.erasures_begun() == 0).await;
        // What the log ends with is kept until more has come.
        for n in 0..2 {
            engine.create_season(None, format!("Another {n}")).await.unwrap();
            engine.drain().await.unwrap();
        }
    }
}
