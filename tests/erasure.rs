//! Voters who ask to be forgotten: whatever happens meanwhile, at the end no byte of either store names them, and everything that
//! was counted is counted still.
//!
//! The simulation runs random votes, retractions, comments, likes, reports, voids, freezes, locks, days, restarts and crashes; some voters
//! are erased on the way and do nothing afterwards. The log that was written is read once more by plain rules, which know nothing
//! of erasures. A seed that fails is printed; `PLAUDIT_ERASURE_SEED=<seed> cargo test --test erasure` runs it alone.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a test fails by panicking and prints what it saw"
)]

#[path = "support/cases.rs"]
mod cases;
#[path = "support/kept.rs"]
mod kept;
mod support;
#[path = "support/through.rs"]
mod through;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use cases::each;
use kept::{Blocks, Kept, history};
use plaudit::boards::{Subject, Window};
use plaudit::clock::{Clock, ManualClock};
use plaudit::codec;
use plaudit::comments::{Order, WordList};
use plaudit::domain::{
    ClipDraft, ClipId, ClipNo, CommentChange, CommentStatus, CommentText, Event, Logged, NetworkHash, Origin, Profile,
    RequestKey, SeasonId, Seq, SlotNo, SlotStatus, Verdict, VoidBy, VoteKind, VoterId, day_of,
};
use plaudit::engine::{CommentDraft, CommentQuery, Engine, Settings, VoidAsked, recheck_stores, verify_stores};
use plaudit::error::{Fault, Reject};
use plaudit::fold::comments::{LIKED, Mark};
use plaudit::fold::erasures;
use plaudit::fold::ranges::{Forwards, Item, RangePage, tidy};
use plaudit::log::block::{self, genesis};
use plaudit::store::{FaultyDisk, Store};
use support::{NOON, key, voter};
use through::{Slow, Through};

const SEED: &str = "PLAUDIT_ERASURE_SEED";
const SEEDS: u64 = 120;
/// As many seeds again, at most so often, while something was seen too seldom to prove anything: a machine that is busy gets less
/// far in a run.
const AGAIN: u64 = 4;
const STEPS: usize = 90;
const SLOTS: u32 = 3;
const CLIPS: u32 = 3;
const VOTERS: u64 = 7;
/// Never asks to be forgotten.
const STAYS: u64 = VOTERS - 1;
const DAY_MS: u64 = 86_400_000;
/// Nobody should have to wait longer for anything here.
const PATIENCE: Duration = Duration::from_mins(5);

struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % below
    }
}

fn network(who: u64) -> NetworkHash {
    NetworkHash::of(key().user(&format!("network {who}")).0[..8].try_into().unwrap())
}

fn name(who: u64) -> String {
    format!("Name-{who}-of-somebody")
}

fn avatar(who: u64) -> String {
    format!("https://example.org/face-{who}.png")
}

fn text(who: u64) -> String {
    format!("words that voter {who} wrote")
}

fn request(who: u64, n: u64) -> RequestKey {
    RequestKey { key: key().user(&format!("request {who} {n}")).0, body: [9; 16] }
}

fn open(disk: &FaultyDisk, clock: &Arc<ManualClock>, blocks: &Blocks) -> Result<Engine, Fault> {
    open_over(disk.open("tables"), disk, clock, blocks)
}

/// With tables that are reached through another store.
fn open_over(
    tables: Arc<dyn Store>,
    disk: &FaultyDisk,
    clock: &Arc<ManualClock>,
    blocks: &Blocks,
) -> Result<Engine, Fault> {
    let settings = Settings { reconcile_every_s: 0, daily_limit: 10_000, ..Settings::new("unused", key()) };
    let clock: Arc<dyn Clock> = Arc::<ManualClock>::clone(clock);
    let log = Through::over(disk.open("log"), Kept(Arc::clone(blocks)));
    let engine = Engine::over(settings, clock, log, tables)?;
    engine.block_words(WordList::parse("nothing\n"));
    Ok(engine)
}

fn verified(disk: &FaultyDisk) {
    let found = verify_stores(disk.open("log").as_ref(), disk.open("tables"), genesis([0; 16]), false).unwrap();
    assert_eq!(found.problems, Vec::<String>::new());
}

/// Waits until so; it is to come without anyone's help.
async fn until(what: &str, so: impl Fn() -> bool) {
    let waited = tokio::time::timeout(PATIENCE, async {
        while !so() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    assert!(waited.await.is_ok(), "{what} never comes");
}

/// Everything that a store holds, key and value.
fn bytes(store: &dyn Store) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut all = Vec::new();
    let visit = &mut |key: &[u8], value: &plaudit::store::Value| {
        all.push((key.to_vec(), value.to_vec()));
        Ok(ControlFlow::Continue(()))
    };
    store.scan(&[0], &[0xff; 32], visit).unwrap();
    all
}

/// That nothing in either store is of these voters.
fn nothing_is_left(disk: &FaultyDisk, gone: &BTreeSet<u64>) {
    for tree in ["log", "tables"] {
        for (key, value) in bytes(disk.open(tree).as_ref()) {
            let has = |bytes: &[u8], part: &[u8]| bytes.windows(part.len()).any(|window| window == part);
            for who in gone {
                let mut traces: Vec<(String, Vec<u8>)> = vec![
                    ("id".into(), voter(*who).0.to_vec()),
                    ("network".into(), network(*who).bytes().to_vec()),
                    ("name".into(), name(*who).into_bytes()),
                    ("picture".into(), avatar(*who).into_bytes()),
                    ("text".into(), text(*who).into_bytes()),
                ];
                traces.extend((0..STEPS as u64).map(|n| ("request".into(), request(*who, n).key.to_vec())));
                for (what, part) in traces {
                    let found = has(&key, &part) || has(&value, &part);
                    assert!(!found, "the {what} of voter {who} is in {tree}, under {:?} {key:?}", char::from(key[0]));
                }
            }
        }
    }
}

/// The plain reading of a log: nothing in it knows of erasures but that comments of the erased are deleted.
#[derive(Default)]
struct Naive {
    clips: BTreeMap<ClipNo, String>,
    /// Votes that stand: whose, for what, the weight, the day.
    votes: BTreeMap<Seq, (VoterId, ClipNo, u64, u16)>,
    under_way: BTreeSet<Seq>,
    in_force: BTreeMap<Seq, BTreeSet<Seq>>,
    comments: BTreeMap<Seq, NaiveComment>,
}

struct NaiveComment {
    clip: ClipNo,
    status: CommentStatus,
    likes: u32,
    reports: u32,
}

impl Naive {
    fn read(history: &[Logged]) -> Self {
        let mut naive = Self::default();
        for logged in history {
            naive.take(logged);
        }
        naive
    }

    fn take(&mut self, Logged { seq, event, .. }: &Logged) {
        match event {
            Event::ClipAdded(clip) => drop(self.clips.insert(clip.no, clip.id.to_string())),
            Event::Voted(vote) | Event::VotedFrom(vote, _) => {
                self.votes.insert(*seq, (vote.voter, vote.clip, vote.weight.into(), vote.day));
            }
            Event::Retracted(back) => drop(self.votes.remove(&back.vote).expect("it stood")),
            Event::Started | Event::VoidBegun(_) => self.under_way.clear(),
            Event::VotesNamed(part) => self.under_way.extend(part.votes.iter().map(|vote| vote.seq)),
            Event::VoidTaken { void, .. } => drop(self.in_force.insert(*void, std::mem::take(&mut self.under_way))),
            Event::VoidLifted { void, .. } => drop(self.in_force.remove(void)),
            Event::CommentPosted(post) => {
                let new = NaiveComment { clip: post.clip, status: CommentStatus::Visible, likes: 0, reports: 0 };
                self.comments.insert(*seq, new);
            }
            Event::CommentChanged(of, change) => {
                let one = self.comments.get_mut(&of.id).unwrap();
                if one.status == CommentStatus::Deleted {
                    return;
                }
                match change {
                    CommentChange::Deleted { .. } | CommentChange::Emptied => one.status = CommentStatus::Deleted,
                    CommentChange::Liked(_) => one.likes += 1,
                    CommentChange::Unliked(_) => one.likes -= 1,
                    CommentChange::Reported { hides_at, .. } => {
                        one.reports += 1;
                        if one.status == CommentStatus::Visible && one.reports >= *hides_at {
                            one.status = CommentStatus::Reported;
                        }
                    }
                    CommentChange::Moderated(Verdict::Hide) => one.status = CommentStatus::Hidden,
                    CommentChange::Moderated(Verdict::Approve) => {
                        (one.status, one.reports) = (CommentStatus::Visible, 0);
                    }
                    CommentChange::Unnamed { .. } => {}
                }
            }
            _ => {}
        }
    }

    fn counts(&self, clip: ClipNo) -> (u64, u64) {
        let counts = |vote: &Seq| self.in_force.values().all(|votes| !votes.contains(vote));
        let of = self.votes.iter().filter(|(vote, (_, of, ..))| *of == clip && counts(vote));
        of.fold((0, 0), |(votes, weight), (_, (_, _, more, _))| (votes + 1, weight + more))
    }

    /// What a voter used of a day.
    fn used(&self, voter: VoterId, day: u16) -> u64 {
        self.votes
            .values()
            .filter(|(of, _, _, charged)| (*of, *charged) == (voter, day))
            .map(|(_, _, weight, _)| weight)
            .sum()
    }
}

struct World {
    disk: FaultyDisk,
    clock: Arc<ManualClock>,
    blocks: Blocks,
    engine: Option<Engine>,
    /// Asked to be forgotten: they do nothing any more.
    leaving: BTreeSet<u64>,
    /// Were told that it has begun.
    gone: BTreeMap<u64, Seq>,
    requests: u64,
    lives: u64,
}

impl World {
    fn engine(&self) -> &Engine {
        self.engine.as_ref().expect("open")
    }

    /// The machine dies; the next life may too, at its start.
    fn crash(&mut self, seed: u64, fails_at: Option<u64>) {
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

    fn history(&self) -> Vec<Logged> {
        history(&self.blocks)
    }

    /// Counts, comments and budgets are those of the log.
    fn check(&self) -> Naive {
        let began = std::time::Instant::now();
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

    async fn stage(&mut self) {
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
            clip: &clip,
            parent: if dice.roll(3) == 0 { self.some_comment(dice) } else { None },
            author: voter(who),
            profile: Profile::cut(Some(&name(who)), Some(&avatar(who))),
            text: CommentText::new(&text(who)).unwrap(),
            request: (dice.roll(2) == 0).then(|| request(who, self.requests)),
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

    async fn step(&mut self, dice: &mut Dice) {
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
    async fn forget(&mut self) {
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

async fn simulate(seed: u64, seen: &Seen) {
    let mut dice = Dice(seed);
    let (disk, clock, blocks) = (FaultyDisk::new(seed), Arc::new(ManualClock::at(NOON)), Blocks::default());
    let engine = Some(open(&disk, &clock, &blocks).unwrap());
    let (leaving, gone) = (BTreeSet::new(), BTreeMap::new());
    let mut world = World { disk, clock, blocks, engine, leaving, gone, requests: 0, lives: 1 };
    world.stage().await;
    for _ in 0..STEPS {
        world.step(&mut dice).await;
    }
    world.disk.repair();
    world.crash(dice.roll(u64::MAX / 2), None);
    world.forget().await;
    let naive = world.check();
    let engine = world.engine().clone();
    let mut certificates = Vec::new();
    for position in 1..=SLOTS {
        let certificate = engine.certificate("s", position, None).unwrap();
        // Theirs as well: whoever has the credential still has the id.
        for (who, clip, ..) in naive.votes.values() {
            if clip.0 / CLIPS + 1 == position {
                let proof = engine.proof("s", position, *who, &naive.clips[clip]).unwrap();
                assert!(proof.holds() && proof.root.0 == certificate.root);
            }
        }
        certificates.push(certificate);
    }
    engine.close().unwrap();
    drop(engine);
    world.engine = None;
    verified(&world.disk);
    for certificate in &certificates {
        let (log, tables) = (world.disk.open("log"), world.disk.open("tables"));
        let found = recheck_stores(log.as_ref(), tables, genesis([0; 16]), [0; 16], certificate).unwrap();
        assert_eq!(found.problems, Vec::<String>::new());
    }
    nothing_is_left(&world.disk, &world.leaving);
    // A start that knows none of them any more comes to the same.
    world.crash(0, None);
    let engine = world.engine();
    let again: Vec<_> = (1..=SLOTS).map(|position| engine.certificate("s", position, None).unwrap()).collect();
    assert_eq!(again, certificates);
    seen.history(&world.history());
    seen.add("lives", world.lives);
    let theirs = naive.votes.values().filter(|(of, ..)| world.leaving.iter().any(|who| voter(*who) == *of));
    seen.add("votes of the erased", theirs.count() as u64);
}

/// How often something happened in all runs, so that a test that sees nothing does not look like one that finds nothing.
#[derive(Default)]
struct Seen(Mutex<BTreeMap<&'static str, u64>>);

impl Seen {
    fn add(&self, what: &'static str, times: u64) {
        *self.0.lock().unwrap().entry(what).or_default() += times;
    }

    fn history(&self, history: &[Logged]) {
        for logged in history {
            match &logged.event {
                Event::ErasureBegun { .. } => self.add("erasures", 1),
                Event::ErasureEnded(_) => self.add("ends", 1),
                Event::CommentChanged(_, CommentChange::Emptied) => self.add("emptied comments", 1),
                Event::CommentChanged(_, CommentChange::Unnamed { .. }) => self.add("nameless likes and reports", 1),
                Event::ErasureWent { part: plaudit::domain::ErasurePart::Clips { .. }, .. } => self.add("clips", 1),
                Event::VoidTaken { .. } => self.add("voids", 1),
                Event::VoidLifted { .. } => self.add("liftings", 1),
                Event::Retracted(_) => self.add("retractions", 1),
                Event::SlotReopened { .. } => self.add("reopenings", 1),
                _ => {}
            }
        }
    }
}

#[test]
fn whatever_happens_nothing_is_left_of_who_was_erased_and_everything_counts_on() {
    let seen = Seen::default();
    let case = async |seed| simulate(seed, &seen).await;
    if let Ok(seed) = std::env::var(SEED) {
        each(SEED, [seed.parse().expect("a seed is a number")], case);
        return;
    }
    for turn in 0..=AGAIN {
        each(SEED, turn * SEEDS..(turn + 1) * SEEDS, case);
        let seen = seen.0.lock().unwrap();
        println!("{seen:?}");
        let rare = seen.iter().filter(|(_, times)| **times < SEEDS / 4).collect::<Vec<_>>();
        if seen.len() == 11 && rare.is_empty() {
            break;
        }
        assert!(turn < AGAIN, "too rare to prove anything: {rare:?}");
    }
}

/// One voter's story, step by step.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_asks_is_forgotten_at_once_where_that_can_be_and_wholly_once_slots_are_locked() {
    let (disk, clock, blocks) = (FaultyDisk::new(0), Arc::new(ManualClock::at(NOON)), Blocks::default());
    let slow = Through::over(disk.open("tables"), Slow::default());
    let engine = open_over(Arc::<Through<Slow>>::clone(&slow), &disk, &clock, &blocks).unwrap();
    let mut world = World {
        disk: disk.clone(),
        clock: Arc::clone(&clock),
        blocks,
        engine: Some(engine.clone()),
        leaving: BTreeSet::new(),
        gone: BTreeMap::new(),
        requests: 0,
        lives: 1,
    };
    world.stage().await;
    let from = |who| Origin { risk: 0, network: network(who) };
    for who in [1, 2, 5] {
        engine.vote_from(from(who), voter(who), "c0", VoteKind::Super).await.unwrap();
    }
    let post = |who: u64| CommentDraft {
        clip: "c0",
        parent: None,
        author: voter(who),
        profile: Profile::cut(Some(&name(who)), Some(&avatar(who))),
        text: CommentText::new(&text(who)).unwrap(),
        request: Some(request(who, 0)),
    };
    let theirs = engine.post_comment(post(1)).await.unwrap().comment.place.id;
    let other = engine.post_comment(post(2)).await.unwrap().comment.place.id;
    engine.like_comment(voter(1), other, true).await.unwrap();
    engine.like_comment(voter(5), other, true).await.unwrap();
    engine.report_comment(voter(1), other).await.unwrap();
    engine.like_comment(voter(5), theirs, true).await.unwrap();

    // What is searched through can't be read meanwhile.
    let held = slow.hold();
    let id = engine.erase(voter(1)).await.unwrap();
    assert_eq!(engine.erase(voter(1)).await.unwrap(), id, "one that is searched for is the same");
    held.thread().unpark();
    held.join().unwrap();
    until("the stub", || engine.comment(theirs, None).unwrap().comment.status == CommentStatus::Deleted).await;
    let set = |voter| engine.comment(other, Some(voter)).unwrap().set;
    until("the nameless like", || set(voter(1)) == 0).await;
    let stub = engine.comment(theirs, None).unwrap().comment;
    assert_eq!((stub.text.as_str(), &stub.profile, stub.author), ("", &Profile::default(), VoterId::NOBODY));
    let liked = engine.comment(other, None).unwrap().comment;
    assert_eq!((liked.likes, liked.reports), (2, 1), "they count on");
    let list = CommentQuery { clip: "c0", parent: None, order: Order::Top, after: None, limit: 10, viewer: None };
    assert_eq!(engine.comments(list).unwrap().threads.len(), 1);
    let clips = || engine.slot_clips(SlotNo(0)).clips;
    until("clips without their maker's name", || clips()[1].username.is_none()).await;
    assert!(clips()[2].username.is_some());
    assert!(matches!(engine.vote(voter(1), "c1", VoteKind::Standard).await, Err(Reject::SelfVote)));

    // Open: their vote still keeps them from another one, and the day's weight is used; where it came from is gone.
    assert!(matches!(engine.vote(voter(1), "c0", VoteKind::Standard).await, Err(Reject::AlreadyVoted(_))));
    assert_eq!(engine.allowance(voter(1)).used, 3);
    engine.drain().await.unwrap();
    let holds = |part: &[u8]| {
        let tables = bytes(disk.open("tables").as_ref());
        tables.iter().any(|(_, value)| value.windows(part.len()).any(|window| window == part))
    };
    until("votes from nowhere", || !holds(&network(1).bytes())).await;
    assert!(holds(&network(2).bytes()) && holds(&voter(1).0));

    engine.lock_slot("s", 1).await.unwrap();
    until("a certificate", || engine.certificate("s", 1, None).is_ok()).await;
    let certificate = engine.certificate("s", 1, None).unwrap();
    world.engine = None;
    engine.close().unwrap();
    drop(engine);
    verified(&disk);
    let engine = open(&disk, &clock, &world.blocks).unwrap();
    assert_eq!(engine.allowance(voter(1)).used, 3, "no budget comes back with it");
    assert!(engine.proof("s", 1, voter(1), "c0").unwrap().holds());
    // Their clips in the other slots can still be voted for.
    for position in 2..=SLOTS {
        let _ = engine.open_slot("s", position, None, false).await;
        engine.lock_slot("s", position).await.unwrap();
    }
    assert_eq!(engine.erasures_begun(), 1, "the day has not passed");
    clock.advance(2 * DAY_MS);
    until("the end", || engine.erasures_begun() == 0).await;
    for n in 0..2 {
        engine.create_season(None, format!("Another {n}")).await.unwrap();
        engine.drain().await.unwrap();
    }
    assert_eq!(engine.certificate("s", 1, None).unwrap(), certificate);
    engine.close().unwrap();
    drop(engine);
    verified(&disk);
    nothing_is_left(&disk, &BTreeSet::from([1]));
}

/// As far as an earlier life has not come: votes of three, comments, likes, a void; the second is erased, slots lock, a day passes.
async fn life(disk: &FaultyDisk, clock: &Arc<ManualClock>) -> Result<(), Reject> {
    let engine = open(disk, clock, &Blocks::default()).map_err(|_| Reject::StorageFailed)?;
    if engine.is_empty() {
        engine.create_season(Some(SeasonId::new("s")?), "Season".into()).await?;
    }
    if engine.slot("s", 1).is_err() {
        engine.create_slot("s", None).await?;
    }
    for who in 0..2 {
        let id = format!("c{who}");
        if engine.counts(&id).is_err() {
            let (owner, username) = (Some(who.to_string()), Some(name(who)));
            let draft = ClipDraft { title: id.clone(), owner, username, ..ClipDraft::default() };
            engine.add_clip("s", 1, Some(ClipId::new(&id)?), draft).await?;
        }
    }
    if engine.slot("s", 1)?.status == SlotStatus::Upcoming {
        engine.open_slot("s", 1, None, false).await?;
    }
    let none = |told: Result<(), Reject>| if told == Err(Reject::StorageFailed) { told } else { Ok(()) };
    let begun = engine.erasures_begun() > 0 || engine.slot("s", 1)?.status == SlotStatus::Locked;
    if !begun {
        for who in 0..3 {
            let origin = Origin { risk: 0, network: network(who) };
            let vote = engine.vote_from(origin, voter(who), if who == 1 { "c0" } else { "c1" }, VoteKind::Super).await;
            none(vote.map(drop))?;
        }
        let mut last = None;
        for who in 0..2 {
            let draft = CommentDraft {
                clip: "c0",
                parent: None,
                author: voter(who),
                profile: Profile::cut(Some(&name(who)), Some(&avatar(who))),
                text: CommentText::new(&text(who)).unwrap(),
                request: Some(request(who, 0)),
            };
            let posted = engine.post_comment(draft).await?.comment.place.id;
            for of in [last, Some(posted)].into_iter().flatten() {
                engine.like_comment(voter(1), of, true).await?;
            }
            last = Some(posted);
        }
        if engine.voids(None)?.iter().all(|void| void.taken.is_none()) {
            let by = VoidBy::Voter(voter(1));
            let asked = VoidAsked { season: "s".into(), position: 1, by, reason: "a farm".into() };
            none(engine.void(asked).await.map(drop))?;
        }
        engine.erase(voter(1)).await?;
    }
    none(engine.lock_slot("s", 1).await.map(drop))?;
    let failed = || engine.failure().is_some();
    until("the lock's pages", || failed() || engine.certificate("s", 1, None).is_ok()).await;
    clock.set(NOON + 2 * DAY_MS);
    until("the end", || failed() || engine.erasures_begun() == 0).await;
    for n in 0..2 {
        engine.create_season(None, format!("Another {n}")).await?;
        engine.drain().await?;
    }
    engine.close().map_err(|_| Reject::StorageFailed)
}

/// Each write of an erasure may be the last before the machine dies.
#[test]
fn an_erasure_that_is_cut_short_at_any_write_goes_on_with_the_next_start() {
    let clock = || Arc::new(ManualClock::at(NOON));
    let check = |disk: &FaultyDisk, k: u64| {
        verified(disk);
        nothing_is_left(disk, &BTreeSet::from([1]));
        let engine = open(disk, &Arc::new(ManualClock::at(NOON + 2 * DAY_MS)), &Blocks::default()).unwrap();
        let counts = ["c0", "c1"].map(|clip| engine.counts(clip).unwrap().map(|counts| (counts.votes, counts.weight)));
        // The first one's own clip is c0, so that their vote for c1 stands; c1's maker may vote for c0, and a void took that.
        assert_eq!(counts, [Some((0, 0)), Some((2, 6))], "k = {k}");
        assert_eq!((engine.comment_count("c0").unwrap(), engine.proof("s", 1, voter(1), "c0").is_ok()), (1, true));
        let comments =
            CommentQuery { clip: "c0", parent: None, order: Order::Top, after: None, limit: 9, viewer: None };
        let likes: Vec<u32> =
            engine.comments(comments).unwrap().threads.iter().map(|one| one.of.comment.likes).collect();
        assert_eq!(likes, [1], "a like of nobody's");
    };
    let whole = Mutex::new(0);
    each("no failure", [0], async |_| {
        let disk = FaultyDisk::new(0);
        life(&disk, &clock()).await.unwrap();
        check(&disk, 0);
        *whole.lock().unwrap() = disk.ops();
    });
    let operations = *whole.lock().unwrap();
    let cut_short = AtomicUsize::new(0);
    each("k", 1..=operations, async |k| {
        let (disk, clock) = (FaultyDisk::new(k), clock());
        disk.fail_at(k);
        for turn in 0..3 {
            let ended = life(&disk, &clock).await;
            if turn == 0 {
                assert_eq!(
                    ended.is_ok(),
                    disk.ops() < k,
                    "k = {k}: a life ends well where it meets no failure, and there alone"
                );
            }
            if ended.is_ok() {
                // Its failure, if it still lies ahead, is not the check's to meet.
                disk.repair();
                return check(&disk, k);
            }
            assert_eq!(ended, Err(Reject::StorageFailed), "k = {k}");
            cut_short.fetch_add(usize::from(turn == 0), Ordering::Relaxed);
            disk.repair();
            disk.crash(k * 7 + turn);
            verified(&disk);
        }
        panic!("k = {k}: without a failure a life comes to its end");
    });
    let cut_short = cut_short.into_inner() as u64;
    println!("{operations} operations, {cut_short} lives cut short");
    // The applier may step between any two events, or once for several.
    assert!(cut_short * 3 >= operations, "{cut_short} of {operations} lives met their failure");
}

/// What a crash left over in a page, and a page that begins with the one who is gone; whatever write is the last.
#[test]
fn pages_of_likes_lose_what_is_left_over_and_their_name_and_no_like() {
    let (gone, other) = (voter(1), voter(2));
    let mark = |comment, voter| Mark { comment, voter, set: LIKED };
    let low = VoterId([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9]);
    let pages = [
        // Up to where the next one begins; what lies behind it was left by a crash.
        ((0, VoterId::NOBODY), vec![mark(3, other), mark(5, low), mark(5, gone), mark(6, other), mark(7, gone)]),
        ((5, gone), vec![mark(6, other), mark(7, low)]),
        // Empty: it says no more than up to where the one before it goes.
        ((8, gone), vec![]),
        ((9, gone), vec![mark(9, gone), mark(9, VoterId([0xff; 16]))]),
    ];
    let stands =
        [mark(3, other), mark(5, low), mark(6, other), mark(7, low), mark(9, gone), mark(9, VoterId([0xff; 16]))];
    let read = |store: &dyn Store| {
        let mut marks = Forwards::<Mark>::new(store, (0, VoterId::NOBODY), (Seq::MAX, VoterId([0xff; 16])));
        std::iter::from_fn(|| marks.next_item().unwrap()).collect::<Vec<Mark>>()
    };
    let tidied = |store: &dyn Store, pages: usize| -> Result<(), Fault> {
        let mut from = vec![Mark::LETTER];
        while let Some(next) = tidy(store, &from, pages, |mark: &Mark| mark.voter == gone, |(_, named)| named == gone)?
        {
            from = next;
        }
        store.flush()
    };
    for pages_a_step in 1..6 {
        for k in 1..12 {
            let disk = FaultyDisk::new(k);
            let store = disk.open("tables");
            for (start, items) in &pages {
                let key = Mark::bytes(*start);
                let page = RangePage { last: 10, items: items.clone() };
                store.insert(&key, &codec::record(Mark::KIND, &key, &page)).unwrap();
            }
            store.flush().unwrap();
            assert_eq!(read(store.as_ref()), stands);
            disk.fail_at(k);
            let cut_short = tidied(store.as_ref(), pages_a_step).is_err();
            assert_eq!(read(store.as_ref()), stands, "k = {k}: at every moment the same likes");
            disk.repair();
            disk.crash(k);
            let store = disk.open("tables");
            assert_eq!(read(store.as_ref()), stands, "k = {k}: behind a crash too");
            if cut_short {
                tidied(store.as_ref(), pages_a_step).unwrap();
            }
            assert_eq!(read(store.as_ref()), stands);
            let named = bytes(store.as_ref())
                .into_iter()
                .filter(|(key, value)| [key, value].iter().any(|part| part.windows(16).any(|window| window == gone.0)));
            // They liked anew: that one stands, and the page that it begins.
            assert_eq!(named.map(|(key, _)| key).collect::<Vec<_>>(), [Mark::bytes((9, gone))], "k = {k}");
            assert_eq!(bytes(store.as_ref()).len(), 3, "the page of nothing is gone");
        }
    }
}

/// A server that goes on for days: boards and voids that were in its memory before.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn boards_lose_the_name_and_keep_the_votes_and_a_void_that_is_lifted_finds_them() {
    let (disk, clock, blocks) = (FaultyDisk::new(0), Arc::new(ManualClock::at(NOON)), Blocks::default());
    let engine = open(&disk, &clock, &blocks).unwrap();
    support::stage(&engine, 2).await;
    for who in [1, 2, 3] {
        let origin = Origin { risk: 0, network: network(who) };
        engine.vote_from(origin, voter(who), "c0", VoteKind::Super).await.unwrap();
        engine.vote(voter(who), "c1", VoteKind::Standard).await.unwrap();
    }
    let asked = |by| VoidAsked { season: "s".into(), position: 1, by, reason: "a farm".into() };
    let void = engine.void(asked(VoidBy::Voter(voter(1)))).await.unwrap();
    // Voters and their weights, and clips' weights, once the boards have come as far as the tables.
    let boards = async || {
        engine.drain().await.unwrap();
        let settled = engine.preview_void(&asked(VoidBy::Flagged)).unwrap().as_of;
        let mut both = Vec::new();
        for of in [Subject::Voters, Subject::Clips] {
            let board = engine.board(of, Some("s"), None, Window::All).unwrap();
            let page = loop {
                engine.build_board(board).unwrap();
                let page = engine.leaderboard(board, None, 100).unwrap();
                if let Some(page) = page.filter(|page| page.as_of >= settled) {
                    break page;
                }
                tokio::time::sleep(Duration::from_millis(2)).await;
            };
            both.push(page.rows.into_iter().map(|row| (row.user_id, row.score.weight)).collect::<Vec<_>>());
        }
        both
    };
    let public = |who| Some(key().public(voter(who)));
    let before = boards().await;
    assert_eq!(before[0], [(public(2), 4), (public(3), 4)]);
    engine.erase(voter(1)).await.unwrap();
    engine.erase(voter(2)).await.unwrap();
    engine.lock_slot("s", 1).await.unwrap();
    assert_eq!(boards().await[0], before[0], "the day has not passed");
    clock.advance(2 * DAY_MS);
    until("the end", || engine.erasures_begun() == 0).await;
    // The boards hear of it with whatever they follow next.
    engine.create_season(None, "Another".into()).await.unwrap();
    let named = async |who| boards().await[0].iter().any(|(name, _)| *name == public(who));
    let waited = tokio::time::timeout(PATIENCE, async { while named(2).await {} });
    assert!(waited.await.is_ok(), "the name never goes");
    let under = boards().await;
    let weights = |rows: &[(Option<String>, u64)]| rows.iter().map(|(_, weight)| *weight).collect::<Vec<_>>();
    assert_eq!(weights(&under[0]), [4, 4], "someone else, with their votes in the slot");
    assert_eq!(under[1], before[1]);
    assert_eq!(engine.voids(None).unwrap()[0].by, VoidBy::Voter(VoterId::NOBODY));

    engine.lift_void(void.id, "not a farm".into()).await.unwrap();
    let lifted = boards().await;
    assert_eq!((weights(&lifted[0]), weights(&lifted[1])), (vec![4, 4, 4], vec![9, 3]));
    assert!(!named(1).await);
    // Whoever starts anew comes to the same names.
    let certificate = engine.certificate("s", 1, None).unwrap();
    engine.close().unwrap();
    drop(engine);
    let engine = open(&disk, &clock, &blocks).unwrap();
    assert_eq!(engine.certificate("s", 1, None).unwrap(), certificate);
    let board = engine.board(Subject::Voters, Some("s"), None, Window::All).unwrap();
    let page = loop {
        engine.build_board(board).unwrap();
        if let Some(page) = engine.leaderboard(board, None, 100).unwrap() {
            break page;
        }
    };
    let again: Vec<_> = page.rows.into_iter().map(|row| (row.user_id, row.score.weight)).collect();
    assert_eq!(again, lifted[0]);
}

/// Who asks again and again is one voter still.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn erasures_make_no_voter_many_and_free_nobody_of_a_void() {
    let (disk, clock, blocks) = (FaultyDisk::new(0), Arc::new(ManualClock::at(NOON)), Blocks::default());
    let engine = Some(open(&disk, &clock, &blocks).unwrap());
    let (leaving, gone) = (BTreeSet::new(), BTreeMap::new());
    let mut world = World { disk: disk.clone(), clock, blocks, engine, leaving, gone, requests: 0, lives: 1 };
    world.stage().await;
    let engine = world.engine().clone();
    for who in [1, 2] {
        engine.vote(voter(who), "c0", VoteKind::Super).await.unwrap();
    }
    let draft = CommentDraft {
        clip: "c0",
        parent: None,
        author: voter(2),
        profile: Profile::default(),
        text: CommentText::new("a comment").unwrap(),
        request: None,
    };
    let comment = engine.post_comment(draft).await.unwrap().comment.place.id;
    let mut erasures = BTreeSet::new();
    for _ in 0..4 {
        engine.like_comment(voter(1), comment, true).await.unwrap();
        engine.report_comment(voter(1), comment).await.unwrap();
        erasures.insert(engine.erase(voter(1)).await.unwrap());
        until("the nameless like", || engine.comment(comment, Some(voter(1))).unwrap().set == 0).await;
    }
    assert_eq!(engine.like_comment(voter(1), comment, false).await.unwrap().likes, 1, "it is not theirs to take back");
    drop(engine);
    world.crash(0, None);
    let engine = world.engine().clone();
    engine.like_comment(voter(1), comment, true).await.unwrap();
    engine.report_comment(voter(1), comment).await.unwrap();
    let found = engine.comment(comment, Some(voter(1))).unwrap();
    assert_eq!((found.comment.likes, found.comment.reports, found.set), (1, 1, 0));
    assert_eq!(found.comment.status, CommentStatus::Visible);

    // They take up a few places and no more.
    let waited = tokio::time::timeout(PATIENCE, async {
        while let Ok(id) = engine.erase(voter(1)).await {
            erasures.insert(id);
        }
    });
    waited.await.expect("it is refused at last");
    assert!(erasures.len() < 10, "{erasures:?}");
    engine.erase(voter(3)).await.expect("there is room for others");

    engine.lock_slot("s", 1).await.unwrap();
    let c = plaudit::merkle::Scope::new("s", 1).voter(voter(1));
    let emptied =
        || bytes(disk.open("tables").as_ref()).iter().any(|(_, value)| value.windows(32).any(|part| part == c));
    until("their hash in the slot's pages", emptied).await;
    let asked = VoidAsked { season: "s".into(), position: 1, by: VoidBy::Voter(voter(1)), reason: "a farm".into() };
    let void = engine.void(asked).await.unwrap();
    let votes = |engine: &Engine| engine.slot_clips(SlotNo(0)).clips[0].counts.unwrap().votes;
    assert_eq!(votes(&engine), 1, "the void found their vote");
    engine.lift_void(void.id, "no farm".into()).await.unwrap();
    assert_eq!(votes(&engine), 2);

    // One that is asked for once nothing is left to be taken from voids, and before the record lets go of the id: it keeps it.
    for position in 2..=SLOTS {
        let _ = engine.open_slot("s", position, None, false).await;
        engine.lock_slot("s", position).await.unwrap();
    }
    let swept = || {
        let tables = disk.open("tables");
        let mut all = true;
        erasures::each(tables.as_ref(), |state| all &= state.pass.swept).unwrap();
        all
    };
    until("the end of the pass", swept).await;
    let asked = VoidAsked { season: "s".into(), position: 1, by: VoidBy::Voter(voter(1)), reason: "again".into() };
    engine.void(asked).await.unwrap();
    world.clock.advance(2 * DAY_MS);
    until("the end of all erasures", || engine.erasures_begun() == 0).await;
    let told = engine.voids(None).unwrap();
    let keeps = told.iter().map(|void| void.by == VoidBy::Voter(voter(1))).collect::<Vec<_>>();
    assert_eq!(keeps, [true, true], "both were asked for behind the begin of them all");
    drop(engine);
    world.crash(0, None);
    let engine = world.engine().clone();
    assert_eq!(engine.voids(None).unwrap(), told, "a restart says the same");
    engine.close().unwrap();
    drop(engine);
    world.engine = None;
    verified(&disk);
}

/// More than a step does, all of them waiting for one slot.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_who_wait_for_one_slot_all_leave_it() {
    const MANY: u64 = 40;
    let (disk, clock, blocks) = (FaultyDisk::new(0), Arc::new(ManualClock::at(NOON)), Blocks::default());
    let engine = open(&disk, &clock, &blocks).unwrap();
    support::stage(&engine, 2).await;
    for who in 0..=MANY {
        let origin = Origin { risk: 0, network: network(who) };
        engine.vote_from(origin, voter(who), "c0", VoteKind::Standard).await.unwrap();
    }
    for who in 0..MANY {
        engine.erase(voter(who)).await.unwrap();
    }
    let waits = || {
        let mut waits = 0;
        let one = |state: plaudit::domain::ErasureState| {
            waits += u64::from(state.pass.waits.is_some_and(|slots| slots == [SlotNo(0)]));
        };
        erasures::each(disk.open("tables").as_ref(), one).unwrap();
        waits
    };
    until("that all wait for the slot", || waits() == MANY).await;
    engine.lock_slot("s", 1).await.unwrap();
    clock.advance(2 * DAY_MS);
    until("the end of all", || engine.erasures_begun() == 0).await;
    engine.drain().await.unwrap();
    let left = |who: u64| {
        let has = |bytes: &[u8], part: &[u8]| bytes.windows(part.len()).any(|window| window == part);
        let all = bytes(disk.open("tables").as_ref());
        all.iter().any(|(key, value)| has(key, &voter(who).0) || has(value, &voter(who).0))
    };
    assert_eq!((0..=MANY).filter(|who| left(*who)).collect::<Vec<_>>(), [MANY]);
    assert_eq!(engine.counts("c0").unwrap().unwrap().votes, MANY + 1);
    engine.close().unwrap();
    drop(engine);
    verified(&disk);
}
