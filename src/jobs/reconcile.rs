//! The recount: tallies against stored ballots and comments, while votes and comments go on.
//!
//! A probe goes through the queue; settlement notes every tally at the probe's place S in the log. Once the tables contain
//! S, the stored ballots up to S of every slot that isn't locked, nor gets locked before the end, are counted, some blocks a
//! step, and compared; then the comments of every clip. A difference is a bug; only `verify --repair` changes a count.

mod comments;

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use tokio::sync::oneshot;

use crate::domain::{ClipNo, Seq, SlotNo, SlotStatus};
use crate::error::Fault;
use crate::fold::ballot_block::{self, Act};
use crate::fold::{Tables, find};
use crate::log::{Body, Entry, Progress, Queue, Reading};
use crate::stage::Stage;
use crate::store::Store;
use comments::Comments;

/// Blocks counted in a step: some 20,000 ballots, one or two milliseconds.
const BLOCKS_A_STEP: usize = 16;

/// The job.
#[derive(Debug)]
pub struct Reconcile {
    stage: Arc<Stage>,
    queue: Queue,
    progress: Arc<Progress>,
    tables: Arc<dyn Store>,
    state: State,
}

#[derive(Debug)]
enum State {
    Idle,
    Asked(oneshot::Receiver<Reading>),
    Waiting(Reading),
    Counting(Recount),
}

#[derive(Debug)]
struct Recount {
    reading: Reading,
    /// Slots left to count; the last is under way, from the block that begins at `next`.
    slots: Vec<SlotNo>,
    next: Seq,
    counted: HashMap<ClipNo, (i64, i64)>,
    clips: Vec<ClipNo>,
    /// Begun once no slot is left.
    comments: Comments,
}

/// By how much tallies and recount differ, summed over clips.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Drift {
    /// Votes and their weight.
    pub votes: u64,
    /// Comments that everyone can see.
    pub comments: u64,
}

impl Reconcile {
    /// Compares the stage's tallies with what the tables hold.
    pub fn new(stage: Arc<Stage>, queue: Queue, progress: Arc<Progress>, tables: Arc<dyn Store>) -> Self {
        Self { stage, queue, progress, tables, state: State::Idle }
    }

    /// Does a little; at the end of a recount says what differs.
    pub fn step(&mut self) -> Result<Option<Drift>, Fault> {
        self.state = match std::mem::replace(&mut self.state, State::Idle) {
            State::Idle => {
                let (to, reading) = oneshot::channel();
                // A queue that is full now will not be at a later step.
                let asked = self.queue.urge(Entry::new(0, Body::Probe(to), None)).is_ok();
                if asked { State::Asked(reading) } else { State::Idle }
            }
            State::Asked(mut reading) => match reading.try_recv() {
                Ok(reading) => State::Waiting(reading),
                Err(oneshot::error::TryRecvError::Empty) => State::Asked(reading),
                Err(oneshot::error::TryRecvError::Closed) => State::Idle,
            },
            State::Waiting(reading) if self.progress.applied() < reading.seq => State::Waiting(reading),
            State::Waiting(reading) => State::Counting(self.begin(reading)),
            State::Counting(mut recount) => {
                let ended = recount.step(&Tables::open(Arc::clone(&self.tables))?);
                // A slot that was locked meanwhile loses its blocks once the tables have the lock, which the stage has before:
                // what was counted of it, or failed to be, may be a part.
                let scene = self.stage.look();
                recount.leave_out(
                    |slot| scene.slots[slot.index()].status == SlotStatus::Locked,
                    |clip| scene.clips[clip.index()].clip.slot,
                );
                if ended? && recount.comments.step(self.tables.as_ref(), &self.stage)? {
                    return Ok(Some(Drift { votes: recount.drift(), comments: recount.comments.drift() }));
                }
                State::Counting(recount)
            }
        };
        Ok(None)
    }

    fn begin(&self, mut reading: Reading) -> Recount {
        let scene = self.stage.look();
        let open = scene.slots.iter().filter(|slot| slot.status != SlotStatus::Locked);
        let clips = open.clone().flat_map(|slot| slot.clips.iter().copied());
        let clips = clips.filter(|clip| clip.index() < reading.counts.len()).collect();
        let slots = open.map(|slot| slot.slot.no).collect();
        let comments = Comments::new(&mut reading);
        Recount { reading, slots, next: 0, counted: HashMap::new(), clips, comments }
    }
}

impl Recount {
    /// Whether every ballot is counted.
    fn step(&mut self, tables: &Tables) -> Result<bool, Fault> {
        let Some(slot) = self.slots.last().copied() else { return Ok(true) };
        let (until, from) = (self.reading.seq, self.next);
        let (counted, next) = (&mut self.counted, &mut self.next);
        let masks = self.reading.masks.get(slot.index()).map_or(&[][..], |masks| masks);
        let mut left = BLOCKS_A_STEP;
        let mut ended = true;
        tables.each_ballot_block(slot, from, &mut |key, record| {
            if left == 0 {
                ended = false;
                return Ok(ControlFlow::Break(()));
            }
            left -= 1;
            let head = ballot_block::read(key, record, |stored| {
                let vote = match stored.ballot.act {
                    Act::Cast(_) => stored.seq,
                    Act::Retract(vote) => vote,
                };
                // Nothing that happened to a vote under a void counts.
                if stored.seq <= until && find(masks, vote).is_none() {
                    let sum = counted.entry(stored.ballot.clip).or_default();
                    let sign = if matches!(stored.ballot.act, Act::Cast(_)) { 1 } else { -1 };
                    *sum = (sum.0 + sign, sum.1 + sign * i64::from(stored.ballot.weight));
                }
                Ok(())
            })?;
            // The last block may grow before the next step: it is not the next one's, whose first lies past its last.
            *next = head.last + 1;
            Ok(if head.last < until { ControlFlow::Continue(()) } else { ControlFlow::Break(()) })
        })?;
        if ended {
            self.slots.pop();
            self.next = 0;
        }
        Ok(self.slots.is_empty())
    }

    /// Compares nothing of these slots.
    fn leave_out(&mut self, gone: impl Fn(SlotNo) -> bool, slot_of: impl Fn(ClipNo) -> SlotNo) {
        self.clips.retain(|clip| !gone(slot_of(*clip)));
    }

    fn drift(&self) -> u64 {
        let differ = |clip: &ClipNo| {
            let (votes, weight) = self.counted.get(clip).copied().unwrap_or_default();
            let (noted_votes, noted_weight) = self.reading.counts[clip.index()];
            votes.abs_diff(noted_votes.cast_signed()) + weight.abs_diff(noted_weight.cast_signed())
        };
        self.clips.iter().map(differ).sum()
    }
}
