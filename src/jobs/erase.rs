//! Erasures: their voters' comments, likes and reports of before each begin, found in what is stored and emptied by changes of their
//! own, in one search for all that wait when it begins; clips that are theirs lose their name. Whatever has been searched ends once
//! the applier's pass is through, the voter's day and the next have passed, and no clip of theirs can be voted for.
//!
//! What is under way is known from the log alone, so a start goes on with it: a search that was cut short begins anew, and finds
//! what is left. A like of the voter that comes while the search goes on may be emptied too. Never: writes but through the queue,
//! looks at ballots, names a voter in a message.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use tokio::sync::oneshot;

use super::voids::Pace;
use crate::ballots::Ballots;
use crate::comments::{Claim, Comments, Wish};
use crate::domain::{CLIPS_AT_ONCE, ClipNo, CommentChange, Day, ErasurePart, Event, Seq, SlotStatus, VoterId, day_of};
use crate::error::Fault;
use crate::fold::comments::{CommentId, Mark};
use crate::fold::erasures;
use crate::fold::ranges::{Backwards, Forwards};
use crate::log::{Body, Entry, Outcome, Progress, Queue};
use crate::metrics::Metrics;
use crate::stage::{Erasing, Scene, Stage};
use crate::store::Store;

/// Comments' places, or likes and reports, that are looked through in a step.
const LOOKED_A_STEP: usize = 2_048;
/// Changes that are found and not asked for yet, before the search pauses.
const FOUND_MAX: usize = 64;
/// Changes that are in flight at once: comments of others go in between.
const IN_FLIGHT: usize = 32;
/// Erasures whose end is looked at in a step.
const ENDS_A_STEP: usize = 64;
/// How long it rests, in milliseconds, behind a record that can't be read: it will hardly be mended within a step, and each try is
/// logged and counted.
pub const RETRY_MS: u64 = 10_000;

/// The job.
#[derive(Debug)]
pub struct EraseJob {
    stage: Arc<Stage>,
    ballots: Arc<Ballots>,
    comments: Arc<Comments>,
    queue: Queue,
    progress: Arc<Progress>,
    tables: Arc<dyn Store>,
    metrics: Arc<Metrics>,
    search: Option<Search>,
    /// An end, or clips' names, on their way.
    asked: Option<Answer>,
    /// The erasure whose end was looked at last.
    looked: Seq,
    /// When a read failed last, in Unix milliseconds.
    failed: Option<u64>,
}

type Answer = oneshot::Receiver<Outcome>;

/// What is being emptied.
#[derive(Debug)]
struct Search {
    /// Erasures that waited when it began, by their begins: as many as may wait at all.
    all: Vec<(Seq, Erasing)>,
    /// Their voters, each with the latest begin.
    voters: HashMap<VoterId, Seq>,
    place: Place,
    /// What was found and is to be changed, and whose it is.
    found: VecDeque<(Seq, VoterId, What)>,
    answers: VecDeque<Answer>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum What {
    Comment,
    Mark,
}

#[derive(Clone, Copy, Debug)]
enum Place {
    /// Comments below this id.
    Comments(Seq),
    /// Likes and reports past this one.
    Marks(Seq, VoterId),
    /// Each loses its clips' names, and then its last word is asked for, or is on its way.
    Words,
}

impl EraseJob {
    /// Over the tables and what lies over them.
    pub fn new(
        stage: Arc<Stage>,
        ballots: Arc<Ballots>,
        comments: Arc<Comments>,
        queue: Queue,
        progress: Arc<Progress>,
        tables: Arc<dyn Store>,
        metrics: Arc<Metrics>,
    ) -> Self {
        let (search, asked, looked, failed) = (None, None, 0, None);
        Self { stage, ballots, comments, queue, progress, tables, metrics, search, asked, looked, failed }
    }

    /// Does a little. What can't be read is tried again after [`RETRY_MS`].
    pub fn step(&mut self, now_ms: u64) -> Pace {
        if self.progress.failure().is_some() || self.stage.erasures().is_empty() {
            self.search = None;
            return Pace::Rests;
        }
        // A clock that was set back doesn't make it rest for longer.
        if self.failed.is_some_and(|at| now_ms.abs_diff(at) < RETRY_MS) {
            return Pace::Rests;
        }
        match self.turn(now_ms) {
            Ok(pace) => pace,
            Err(failure) => {
                self.metrics.read_failures.inc();
                tracing::error!("what an erasure is to empty can't be read: {failure}");
                (self.search, self.failed) = (None, Some(now_ms));
                Pace::Rests
            }
        }
    }

    fn turn(&mut self, now_ms: u64) -> Result<Pace, Fault> {
        if let Some(answer) = &mut self.asked {
            if matches!(answer.try_recv(), Err(oneshot::error::TryRecvError::Empty)) {
                return Ok(Pace::Rests);
            }
            self.asked = None;
        }
        let Some(mut search) = self.search.take().or_else(|| self.next()) else { return self.end_some(now_ms) };
        if search.all.last().is_some_and(|(last, _)| self.progress.applied() < *last) {
            // What came before their begins is not all in the tables.
            self.progress.nudge();
            self.search = Some(search);
            return Ok(Pace::Rests);
        }
        let pace = self.go_on(&mut search, now_ms)?;
        self.search = Some(search).filter(|search| self.first_open(search).is_some());
        Ok(pace)
    }

    /// For all that are not searched.
    fn next(&self) -> Option<Search> {
        let all = self.stage.erasures().all_unsearched();
        let (last, _) = *all.last()?;
        // A later begin of the same voter takes the place of the one before.
        let voters = all.iter().map(|(id, of)| (of.voter, *id)).collect();
        let (found, answers) = (VecDeque::new(), VecDeque::new());
        Some(Search { all, voters, place: Place::Comments(last), found, answers })
    }

    fn first_open(&self, search: &Search) -> Option<(Seq, Erasing)> {
        let is_open = |id| self.stage.erasures().get(id).is_some_and(|of| !of.searched);
        search.all.iter().find(|(id, _)| is_open(*id)).copied()
    }

    fn go_on(&mut self, search: &mut Search, now_ms: u64) -> Result<Pace, Fault> {
        let flying = search.answers.len();
        search.answers.retain_mut(|answer| matches!(answer.try_recv(), Err(oneshot::error::TryRecvError::Empty)));
        let asked = self.ask(search, now_ms)?;
        if search.found.len() >= FOUND_MAX {
            let moves = asked || search.answers.len() < flying;
            return Ok(if moves { Pace::Busy } else { Pace::Rests });
        }
        match search.place {
            Place::Comments(below) => search.place = self.look_at_comments(search, below)?,
            Place::Marks(comment, voter) => search.place = self.look_at_marks(search, (comment, voter))?,
            // The last word says that all of it is done.
            Place::Words if search.found.is_empty() && search.answers.is_empty() => {
                if let Some((id, of)) = self.first_open(search) {
                    let scene = self.stage.look_whole();
                    let theirs = made_by(&scene, &[(id, of)]).remove(&id).unwrap_or_default();
                    if !self.unname_clips(id, &scene, &theirs, now_ms) {
                        self.asked = self.urge(id, ErasurePart::Searched, now_ms);
                    }
                }
                return Ok(Pace::Rests);
            }
            Place::Words => return Ok(Pace::Rests),
        }
        Ok(Pace::Busy)
    }

    fn look_at_comments(&self, search: &mut Search, below: Seq) -> Result<Place, Fault> {
        let mut ids = Backwards::<CommentId>::new(self.tables.as_ref(), below, 0);
        for _ in 0..LOOKED_A_STEP {
            let Some(id) = ids.next_item()? else { return Ok(Place::Marks(0, VoterId::NOBODY)) };
            if search.voters.get(&id.author).is_some_and(|begin| id.place.id < *begin) {
                search.found.push_back((id.place.id, id.author, What::Comment));
            }
            if search.found.len() >= FOUND_MAX || id.place.id == 0 {
                return Ok(Place::Comments(id.place.id));
            }
            search.place = Place::Comments(id.place.id);
        }
        Ok(search.place)
    }

    fn look_at_marks(&self, search: &mut Search, past: (Seq, VoterId)) -> Result<Place, Fault> {
        let end = (Seq::MAX, VoterId([u8::MAX; 16]));
        let mut marks = Forwards::<Mark>::new(self.tables.as_ref(), past, end);
        let mut last = past;
        for _ in 0..LOOKED_A_STEP {
            let Some(mark) = marks.next_item()? else { return Ok(Place::Words) };
            last = (mark.comment, mark.voter);
            if search.voters.contains_key(&mark.voter) {
                search.found.push_back((mark.comment, mark.voter, What::Mark));
                if search.found.len() >= FOUND_MAX {
                    break;
                }
            }
        }
        Ok(Place::Marks(last.0, last.1))
    }

    /// Asks for changes that were found; whether any was sent or is none any more.
    fn ask(&self, search: &mut Search, now_ms: u64) -> Result<bool, Fault> {
        let mut moved = false;
        for _ in 0..search.found.len() {
            if search.answers.len() >= IN_FLIGHT {
                break;
            }
            let Some((id, voter, what)) = search.found.pop_front() else { break };
            let wish = match what {
                What::Comment => Wish::Change(CommentChange::Emptied),
                What::Mark => Wish::Unname(voter),
            };
            let Some(sight) = self.comments.sight(id, Some(voter))? else { continue };
            let (waiter, answer) = oneshot::channel();
            let send = |event| self.queue.claim(Entry::new(now_ms, Body::Event(event), Some(waiter))).is_some();
            match self.comments.claim(&sight, wish, send) {
                Claim::Sent => {
                    search.answers.push_back(answer);
                    moved = true;
                }
                // Something of it is in flight, there is no room, or what it rests on has changed: at a later step.
                Claim::InFlight | Claim::Full | Claim::Stale => search.found.push_back((id, voter, what)),
                _ => moved = true,
            }
        }
        Ok(moved)
    }

    /// Asks that the maker's name goes from the voter's clips, and the maker where nobody can vote any more; whether there were any.
    fn unname_clips(&mut self, id: Seq, scene: &Scene, theirs: &[ClipNo], now_ms: u64) -> bool {
        let locked = |no: &ClipNo| scene.slot_of(&scene.clips[no.index()].clip).status == SlotStatus::Locked;
        let named = |no: &ClipNo| {
            let draft = &scene.clips[no.index()].clip.draft;
            draft.username.is_some() || draft.avatar_url.is_some()
        };
        let (over, open): (Vec<ClipNo>, Vec<ClipNo>) = theirs.iter().copied().partition(locked);
        let open = open.into_iter().filter(named).collect();
        for (mut clips, owners) in [(over, true), (open, false)] {
            if !clips.is_empty() {
                clips.truncate(CLIPS_AT_ONCE);
                self.asked = self.urge(id, ErasurePart::Clips { clips, owners }, now_ms);
                return true;
            }
        }
        false
    }

    /// Ends what has nothing left to do; looks at some of them.
    fn end_some(&mut self, now_ms: u64) -> Result<Pace, Fault> {
        let some = self.stage.erasures().behind(self.looked, ENDS_A_STEP);
        // Behind them: it has every clip that they count.
        let scene = self.stage.look_whole();
        let today: Day = self.ballots.day(day_of(now_ms));
        if some.is_empty() {
            self.looked = 0;
            return Ok(Pace::Rests);
        }
        // What was used of a day is told by the id alone. The day is that of the asking: at midnight a vote may have come in between,
        // before the begin and charged to the next.
        let is_over = |of: &Erasing| today > of.day.saturating_add(1);
        let over: Vec<(Seq, Erasing)> = some.iter().filter(|(_, of)| is_over(of)).copied().collect();
        // Once for all of them: there are many clips, and the end of a round waits for this thread.
        let mut made = made_by(&scene, &over);
        self.looked = some[some.len() - 1].0;
        for (id, _) in over {
            let theirs = made.remove(&id).unwrap_or_default();
            if self.unname_clips(id, &scene, &theirs, now_ms) {
                if self.asked.is_some() {
                    self.looked = id;
                    return Ok(Pace::Rests);
                }
                continue;
            }
            let swept = erasures::find(self.tables.as_ref(), id)?.is_some_and(|state| state.pass.swept);
            if swept && theirs.is_empty() {
                self.looked = id;
                self.asked = self.send(Event::ErasureEnded(id), now_ms);
                return Ok(Pace::Rests);
            }
        }
        Ok(Pace::Rests)
    }

    fn urge(&self, erasure: Seq, part: ErasurePart, now_ms: u64) -> Option<Answer> {
        self.send(Event::ErasureWent { erasure, part }, now_ms)
    }

    /// `None`: a queue that is full now will not be at a later step.
    fn send(&self, event: Event, now_ms: u64) -> Option<Answer> {
        let (waiter, answer) = oneshot::channel();
        self.queue.claim(Entry::new(now_ms, Body::Event(event), Some(waiter))).map(|_| answer)
    }
}

/// Clips that were there when an erasure of their maker began, by the erasure.
fn made_by(scene: &Scene, erasures: &[(Seq, Erasing)]) -> HashMap<Seq, Vec<ClipNo>> {
    let mut made: HashMap<Seq, Vec<ClipNo>> = HashMap::new();
    let mut of: HashMap<VoterId, Vec<&(Seq, Erasing)>> = HashMap::new();
    for erasure in erasures {
        of.entry(erasure.1.voter).or_default().push(erasure);
    }
    if of.is_empty() {
        return made;
    }
    for state in &scene.clips {
        let theirs = state.owner.and_then(|owner| of.get(&owner)).into_iter().flatten();
        for (id, _) in theirs.filter(|(_, of)| state.clip.no < of.clips) {
            made.entry(*id).or_default().push(state.clip.no);
        }
    }
    made
}
