//! Voids, from an operator's word to their effect: begun, their votes searched for as of that place in the log, named in events
//! of bounded size, and taken out by the last event.
//!
//! One at a time, and independent of the request that asked. A server that stops in between leaves a void without effect: the
//! start ends it. Never: writes but through the queue, or decides whether a vote counts.

mod search;

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

use tokio::sync::oneshot;

pub use search::{Found, Search};

use crate::domain::{Event, NAMED_AT_ONCE, NamedVote, NamedVotes, Seq, VoidPlan};
use crate::error::{Fault, Reject};
use crate::fold::{NAMED_MAX, Refusal};
use crate::log::{self, Body, Entry, Progress, Queue};
use crate::metrics::Metrics;
use crate::store::Store;

/// Clips that a void may take votes from: what it did to each is in one record.
pub const VOID_CLIPS_MAX: usize = 1_500;
/// Events with named votes that are under way at once: votes go in between.
const NAMING: usize = 32;

/// Who asked for a void waits for its id here.
pub type VoidWaiter = oneshot::Sender<Result<Seq, Reject>>;

/// The job.
#[derive(Debug)]
pub struct VoidJob {
    queue: Queue,
    progress: Arc<Progress>,
    tables: Arc<dyn Store>,
    metrics: Arc<Metrics>,
    state: State,
}

/// How much there is to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Pace {
    /// Nothing, or something is waited for.
    Rests,
    /// More, at once.
    Busy,
}

#[derive(Debug)]
enum State {
    Idle,
    /// The engine ends.
    Ended,
    Asked(Job),
    Beginning(Job, Answer),
    Waiting(Job, Seq),
    Searching(Job, Seq, Search),
    Naming(Job, Seq, VecDeque<NamedVote>, VecDeque<Answer>),
    Taking(Job, Seq, Answer),
    /// It goes without effect.
    Dropping(Job, Seq, Option<Answer>, Reject),
}

type Answer = oneshot::Receiver<log::Outcome>;

#[derive(Debug)]
struct Job {
    plan: VoidPlan,
    waiter: Option<VoidWaiter>,
}

impl Job {
    fn tell(&mut self, how: Result<Seq, Reject>) {
        if let Some(waiter) = self.waiter.take() {
            // That nobody waits any more changes nothing.
            let _ = waiter.send(how);
        }
    }
}

/// What whoever waits hears at the end of a void that has begun: asking for it again would take it twice.
const LEFT_TO_THE_START: &str = "the server stops: its next start ends this void, and then lists it";

impl VoidJob {
    /// Searches the tables.
    pub fn new(queue: Queue, progress: Arc<Progress>, tables: Arc<dyn Store>, metrics: Arc<Metrics>) -> Self {
        Self { queue, progress, tables, metrics, state: State::Idle }
    }

    /// Whether one is under way.
    pub fn is_busy(&self) -> bool {
        !matches!(self.state, State::Idle | State::Ended)
    }

    /// Takes a void up, when none is under way; `waiter` hears of its id once it has taken effect, or why it has not.
    pub fn begin(&mut self, plan: VoidPlan, waiter: VoidWaiter) {
        assert!(!self.is_busy(), "one void at a time");
        let mut job = Job { plan, waiter: Some(waiter) };
        if let State::Ended = self.state {
            return job.tell(Err(Reject::Overloaded));
        }
        self.state = State::Asked(job);
    }

    /// Nobody steps any more: who waits hears that, and so does who asks from here on. What has begun ends with the next start.
    pub fn end(&mut self) {
        let (mut job, why) = match std::mem::replace(&mut self.state, State::Ended) {
            State::Idle | State::Ended => return,
            State::Asked(job) => (job, Reject::Overloaded),
            State::Dropping(job, _, _, why) => (job, why),
            State::Beginning(job, _)
            | State::Waiting(job, _)
            | State::Searching(job, ..)
            | State::Naming(job, ..)
            | State::Taking(job, ..) => (job, Reject::NotReady { why: LEFT_TO_THE_START }),
        };
        job.tell(Err(why));
    }

    /// Does a little. A failure to read ends the void without effect.
    pub fn step(&mut self, now_ms: u64) -> Pace {
        let state = std::mem::replace(&mut self.state, State::Idle);
        let (state, pace) = self.turn(state, now_ms);
        self.state = state;
        pace
    }

    fn turn(&self, state: State, now_ms: u64) -> (State, Pace) {
        match state {
            State::Idle | State::Ended => (state, Pace::Rests),
            State::Asked(job) => match self.ask(now_ms, Event::VoidBegun(Box::new(job.plan.clone()))) {
                Some(answer) => (State::Beginning(job, answer), Pace::Rests),
                None => (State::Asked(job), Pace::Rests),
            },
            State::Beginning(mut job, mut answer) => match heard(&mut answer) {
                None => (State::Beginning(job, answer), Pace::Rests),
                Some(Ok(void)) => {
                    self.progress.nudge();
                    (State::Waiting(job, void), Pace::Rests)
                }
                Some(Err(why)) => {
                    job.tell(Err(why));
                    (State::Idle, Pace::Rests)
                }
            },
            State::Waiting(job, void) if self.progress.applied() < void => {
                if self.progress.failure().is_some() {
                    return Self::failed(job);
                }
                (State::Waiting(job, void), Pace::Rests)
            }
            State::Waiting(job, void) => {
                match Search::new(Arc::clone(&self.tables), job.plan.slot, job.plan.by, void) {
                    Ok(search) => (State::Searching(job, void, search), Pace::Busy),
                    Err(failure) => self.unreadable(job, void, &failure),
                }
            }
            State::Searching(job, void, mut search) => match search.step() {
                Ok(Found::More) => (State::Searching(job, void, search), Pace::Busy),
                Ok(Found::All(votes)) => match too_wide(&votes) {
                    None => (State::Naming(job, void, votes.into(), VecDeque::new()), Pace::Busy),
                    Some(why) => (State::Dropping(job, void, None, why), Pace::Busy),
                },
                Ok(Found::TooMany) => (State::Dropping(job, void, None, too_many()), Pace::Busy),
                Err(failure) => self.unreadable(job, void, &failure),
            },
            State::Naming(job, void, votes, answers) => self.name(job, void, votes, answers, now_ms),
            State::Taking(mut job, void, mut answer) => match heard(&mut answer) {
                None => (State::Taking(job, void, answer), Pace::Rests),
                Some(how) => {
                    job.tell(how.map(|_| void));
                    (State::Idle, Pace::Rests)
                }
            },
            State::Dropping(job, void, None, why) => {
                let (slot, reason) = (job.plan.slot, String::new());
                let answer = self.ask(now_ms, Event::VoidLifted { void, slot, reason });
                if answer.is_none() && self.progress.failure().is_some() {
                    return Self::failed(job);
                }
                (State::Dropping(job, void, answer, why), Pace::Rests)
            }
            State::Dropping(mut job, void, Some(mut answer), why) => {
                if heard(&mut answer).is_none() {
                    return (State::Dropping(job, void, Some(answer), why), Pace::Rests);
                }
                job.tell(Err(why));
                (State::Idle, Pace::Rests)
            }
        }
    }

    fn name(
        &self,
        job: Job,
        void: Seq,
        mut votes: VecDeque<NamedVote>,
        mut answers: VecDeque<Answer>,
        now_ms: u64,
    ) -> (State, Pace) {
        while let Some(how) = answers.front_mut().and_then(heard) {
            answers.pop_front();
            if let Err(why) = how {
                return (State::Dropping(job, void, None, why), Pace::Busy);
            }
        }
        let slot = job.plan.slot;
        while !votes.is_empty() && answers.len() < NAMING {
            let part: Vec<NamedVote> = votes.iter().take(NAMED_AT_ONCE).copied().collect();
            let count = part.len();
            let (waiter, answer) = oneshot::channel();
            let event = Event::VotesNamed(Box::new(NamedVotes { void, slot, votes: part }));
            // Not among the operators' places, which a large void would fill.
            if self.queue.claim(Entry::new(now_ms, Body::Event(event), Some(waiter))).is_none() {
                break;
            }
            answers.push_back(answer);
            votes.drain(..count);
        }
        if !votes.is_empty() || !answers.is_empty() {
            return (State::Naming(job, void, votes, answers), Pace::Rests);
        }
        match self.ask(now_ms, Event::VoidTaken { void, slot }) {
            Some(answer) => (State::Taking(job, void, answer), Pace::Rests),
            None => (State::Naming(job, void, votes, answers), Pace::Rests),
        }
    }

    /// `None`: a queue that is full now will not be at a later step.
    fn ask(&self, now_ms: u64, event: Event) -> Option<Answer> {
        let (waiter, answer) = oneshot::channel();
        self.queue.urge(Entry::new(now_ms, Body::Event(event), Some(waiter))).ok().map(|()| answer)
    }

    fn failed(mut job: Job) -> (State, Pace) {
        job.tell(Err(Reject::StorageFailed));
        (State::Idle, Pace::Rests)
    }

    fn unreadable(&self, job: Job, void: Seq, failure: &Fault) -> (State, Pace) {
        self.metrics.read_failures.inc();
        tracing::error!("the votes of void {void} can't be read: {failure}");
        (State::Dropping(job, void, None, Reject::StorageFailed), Pace::Busy)
    }
}

/// What became of an event, once it is known.
fn heard(answer: &mut Answer) -> Option<Result<Seq, Reject>> {
    match answer.try_recv() {
        Err(oneshot::error::TryRecvError::Empty) => None,
        Ok(log::Outcome::Done(seq)) => Some(Ok(seq)),
        Ok(log::Outcome::Refused(Refusal::WrongState(state))) => {
            let why = "its votes can't be voided".into();
            Some(Err(Reject::WrongState { state: state.as_str(), why }))
        }
        // The judge counts those of all voids, a search those of one.
        Ok(log::Outcome::Refused(Refusal::NamedFull)) => Some(Err(too_many())),
        Ok(log::Outcome::Refused(_)) => {
            let why = "it was lifted before it took effect".into();
            Some(Err(Reject::WrongState { state: "dropped", why }))
        }
        Ok(log::Outcome::Failed) | Err(oneshot::error::TryRecvError::Closed) => Some(Err(Reject::StorageFailed)),
    }
}

fn too_many() -> Reject {
    let why = format!("voids may name {NAMED_MAX} votes in all: name fewer, by a voter, a network or a shorter window");
    Reject::InvalidParameter { name: "by", why }
}

/// Why these are votes of too many clips, if they are.
pub fn too_wide(votes: &[NamedVote]) -> Option<Reject> {
    let clips: HashSet<_> = votes.iter().map(|vote| vote.clip).collect();
    let why = || format!("a void may take votes of {VOID_CLIPS_MAX} clips, these are of {}", clips.len());
    (clips.len() > VOID_CLIPS_MAX).then(|| Reject::InvalidParameter { name: "by", why: why() })
}
