//! The engine against a naive map: random casts, retractions, duplicates and retries, with crashes, failing writes, days that
//! pass and restarts in between. After each step every answer, and after each restart every count, must agree.
//!
//! The map knows what was answered. What was in flight when the disk failed or the machine died may stand or not, once:
//! the map learns which from the first look after the restart.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a test fails by panicking and prints what it saw"
)]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use plaudit::clock::{Clock, DAY_MS, ManualClock};
use plaudit::domain::VoteKind;
use plaudit::engine::{Counts, Engine, Settings, verify_stores};
use plaudit::error::Reject;
use plaudit::log::block::genesis;
use plaudit::store::FaultyDisk;
use proptest::prelude::*;
use support::{NOON, key, stage, voter};

const CLIPS: u64 = 4;
const VOTERS: u64 = 5;
const LIMIT: u32 = 12;

#[derive(Clone, Copy, Debug)]
enum Step {
    Vote {
        who: u64,
        clip: u64,
        kind: VoteKind,
    },
    Retract {
        who: u64,
        clip: u64,
    },
    /// Several votes at once, the machine dies before their flush ends.
    DieDuring {
        who: u64,
        seed: u64,
    },
    /// Several votes at once, the disk fails at its k-th write from here.
    FailDuring {
        who: u64,
        k: u64,
        seed: u64,
    },
    Restart {
        clean: bool,
    },
    Crash {
        seed: u64,
    },
    NextDay,
    JumpBack,
}

fn step() -> impl Strategy<Value = Step> {
    let kind = prop_oneof![Just(VoteKind::Standard), Just(VoteKind::Super), Just(VoteKind::Mega)];
    prop_oneof![
        12 => (0..VOTERS, 0..CLIPS, kind).prop_map(|(who, clip, kind)| Step::Vote { who, clip, kind }),
        6 => (0..VOTERS, 0..CLIPS).prop_map(|(who, clip)| Step::Retract { who, clip }),
        1 => (0..VOTERS, any::<u64>()).prop_map(|(who, seed)| Step::DieDuring { who, seed }),
        1 => (0..VOTERS, 1_u64..6, any::<u64>()).prop_map(|(who, k, seed)| Step::FailDuring { who, k, seed }),
        1 => any::<bool>().prop_map(|clean| Step::Restart { clean }),
        1 => any::<u64>().prop_map(|seed| Step::Crash { seed }),
        1 => Just(Step::NextDay),
        1 => Just(Step::JumpBack),
    ]
}

/// A vote under way: whose and for what, and its answer.
type Flying = ((u64, u64), tokio::task::JoinHandle<Result<plaudit::engine::Receipt, Reject>>);

/// What must be true.
#[derive(Default)]
struct Model {
    votes: BTreeMap<(u64, u64), (u32, u64)>,
    used: BTreeMap<(u64, u64), u32>,
    day: u64,
    /// Votes that may stand or not.
    unknown: BTreeSet<(u64, u64)>,
}

struct World {
    disk: FaultyDisk,
    clock: Arc<ManualClock>,
    engine: Option<Engine>,
    model: Model,
}

impl World {
    fn open(&mut self) {
        let settings = Settings { daily_limit: LIMIT, reconcile_every_s: 0, ..Settings::new("unused", key()) };
        let clock: Arc<dyn Clock> = Arc::<ManualClock>::clone(&self.clock);
        let (log, tables) = (self.disk.open("log"), self.disk.open("tables"));
        self.engine = Some(Engine::over(settings, clock, log, tables).expect("a restart recovers"));
        self.learn();
        self.check_counts();
        self.check_if_day_began();
    }

    fn engine(&self) -> &Engine {
        self.engine.as_ref().expect("open")
    }

    /// Votes that were in flight stand or don't; from here on that is known.
    fn learn(&mut self) {
        for (who, clip) in std::mem::take(&mut self.model.unknown) {
            let id = format!("c{clip}");
            if !self.engine().voted(voter(who), &[&id]).is_empty() {
                self.model.votes.insert((who, clip), (1, self.model.day));
                *self.model.used.entry((who, self.model.day)).or_default() += 1;
            }
        }
    }

    fn check_counts(&self) {
        for clip in 0..CLIPS {
            let of: Vec<u32> =
                self.model.votes.iter().filter(|((_, of), _)| *of == clip).map(|(_, (w, _))| *w).collect();
            let wanted = Counts { votes: of.len() as u64, weight: of.iter().map(|w| u64::from(*w)).sum() };
            assert_eq!(self.engine().counts(&format!("c{clip}")), Ok(Some(wanted)), "clip {clip}");
        }
    }

    fn check(&self) {
        self.check_counts();
        for who in 0..VOTERS {
            let used = self.model.used.get(&(who, self.model.day)).copied().unwrap_or(0);
            assert_eq!(self.engine().allowance(voter(who)).used, used, "voter {who}");
        }
    }

    /// Every stored record and count, by `verify`'s own recount.
    fn verify(&self) {
        let found =
            verify_stores(self.disk.open("log").as_ref(), self.disk.open("tables"), genesis([0; 16]), false).unwrap();
        assert_eq!(found.problems, Vec::<String>::new());
    }

    async fn take(&mut self, step: Step) {
        match step {
            Step::Vote { who, clip, kind } => self.vote(who, clip, kind).await,
            Step::Retract { who, clip } => {
                let told = self.engine().retract(voter(who), &format!("c{clip}")).await;
                match self.model.votes.remove(&(who, clip)) {
                    None => assert_eq!(told, Err(Reject::NotVoted)),
                    Some((weight, day)) => {
                        told.expect("a vote that stands can be taken back");
                        *self.model.used.get_mut(&(who, day)).unwrap() -= weight;
                    }
                }
            }
            Step::DieDuring { who, seed } => {
                self.disk.hold_flushes(true);
                let flying = self.several(who);
                // Until the flush that they wait for is under way: on the disk, perhaps, and not acknowledged.
                while !flying.is_empty() && self.disk.held_flushes() == 0 {
                    tokio::task::yield_now().await;
                }
                self.disk.crash(seed);
                for (at, task) in flying {
                    assert!(task.await.unwrap().is_err(), "nothing is acknowledged before its flush");
                    self.model.unknown.insert(at);
                }
                self.engine = None;
                self.open();
            }
            Step::FailDuring { who, k, seed } => {
                self.disk.fail_at(k);
                for (at, task) in self.several(who) {
                    match task.await.unwrap() {
                        Ok(_) => {
                            self.model.votes.insert(at, (1, self.model.day));
                            *self.model.used.entry((who, self.model.day)).or_default() += 1;
                        }
                        Err(refused) => {
                            assert_eq!(refused, Reject::StorageFailed);
                            self.model.unknown.insert(at);
                        }
                    }
                }
                if self.engine().failure().is_some() {
                    let told = self.engine().vote(voter(VOTERS), "c0", VoteKind::Standard).await;
                    assert_eq!(told, Err(Reject::StorageFailed), "a latched failure refuses every later write");
                    assert!(self.engine().counts("c0").is_ok(), "reads go on");
                }
                self.disk.crash(seed);
                self.engine = None;
                self.open();
            }
            Step::Restart { clean } => {
                if clean {
                    self.engine().close().unwrap();
                    assert_eq!(self.engine().queue().processing, 0);
                }
                self.engine = None;
                self.verify();
                self.open();
            }
            Step::Crash { seed } => {
                self.disk.crash(seed);
                self.engine = None;
                self.verify();
                self.open();
            }
            Step::NextDay => {
                self.model.day += 1;
                self.clock.set(NOON + self.model.day * DAY_MS);
            }
            // The clock may jump back; a day once begun is not left.
            Step::JumpBack => self.clock.set(NOON - DAY_MS),
        }
        if self.model.votes.values().any(|(_, day)| *day == self.model.day) || !matches!(step, Step::NextDay) {
            self.check_if_day_began();
        }
    }

    fn check_if_day_began(&self) {
        // Before the first claim of a day nobody but the clock knows of it; after a jump back and a restart nobody does.
        if self.clock.now_ms() == NOON + self.model.day * DAY_MS {
            self.check();
        }
    }

    async fn vote(&mut self, who: u64, clip: u64, kind: VoteKind) {
        self.clock.set(NOON + self.model.day * DAY_MS);
        let weight = match kind {
            VoteKind::Standard => 1,
            VoteKind::Super => 3,
            VoteKind::Mega => 10,
        };
        let day = self.model.day;
        let used = self.model.used.entry((who, day)).or_default();
        let told = self.engine.as_ref().unwrap().vote(voter(who), &format!("c{clip}"), kind).await;
        let stands = self.model.votes.contains_key(&(who, clip));
        if stands {
            assert!(matches!(told, Err(Reject::AlreadyVoted(_))), "{told:?}");
        } else if *used + weight > LIMIT {
            assert!(
                matches!(told, Err(Reject::DailyLimit { remaining, .. }) if remaining == LIMIT - *used),
                "{told:?}"
            );
        } else {
            *used += weight;
            assert_eq!(told.unwrap().remaining, LIMIT - *used);
            self.model.votes.insert((who, clip), (weight, day));
        }
    }

    /// Votes for every clip that the voter may still vote for, at once.
    fn several(&mut self, who: u64) -> Vec<Flying> {
        self.clock.set(NOON + self.model.day * DAY_MS);
        let used = self.model.used.get(&(who, self.model.day)).copied().unwrap_or(0);
        let free = (0..CLIPS).filter(|clip| !self.model.votes.contains_key(&(who, *clip)));
        free.take((LIMIT - used) as usize)
            .map(|clip| {
                let engine = self.engine().clone();
                let vote = async move { engine.vote(voter(who), &format!("c{clip}"), VoteKind::Standard).await };
                ((who, clip), tokio::spawn(vote))
            })
            .collect()
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, max_shrink_iters: 200, ..ProptestConfig::default() })]

    #[test]
    fn the_engine_agrees_with_a_naive_map(steps in prop::collection::vec(step(), 1..60), seed: u64) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(async {
            let clock = Arc::new(ManualClock::at(NOON));
            let mut world = World { disk: FaultyDisk::new(seed), clock, engine: None, model: Model::default() };
            world.open_first().await;
            for step in steps {
                world.take(step).await;
            }
            world.engine().close().unwrap();
            world.engine = None;
            world.verify();
        });
    }
}

impl World {
    async fn open_first(&mut self) {
        let settings = Settings { daily_limit: LIMIT, reconcile_every_s: 0, ..Settings::new("unused", key()) };
        let clock: Arc<dyn Clock> = Arc::<ManualClock>::clone(&self.clock);
        let (log, tables) = (self.disk.open("log"), self.disk.open("tables"));
        let engine = Engine::over(settings, clock, log, tables).expect("an empty disk opens");
        stage(&engine, usize::try_from(CLIPS).unwrap()).await;
        self.engine = Some(engine);
    }
}
