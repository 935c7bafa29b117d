//! Settlement, in log order: claims become votes that stand, tallies and stage follow, the hub is told, and only then are
//! waiters woken, so that an answer's counts contain its own vote.
//!
//! It runs behind the flush and never depends on a request's future: that nobody waits any more changes nothing.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::Sender;
use std::time::Instant;

use super::live::{tell, tell_comment};
use crate::ballots::{Ballots, Place};
use crate::comments::{Comments, Settled};
use crate::domain::{ClipNo, Event, Seq, SlotNo, Vote, VoterKey};
use crate::fold::Effect;
use crate::hub::Feed;
use crate::log::{Answers, Batch, Body, Progress, Reading};
use crate::metrics::Metrics;
use crate::stage::{Scene, Stage};

/// What settlement writes into.
#[derive(Debug)]
pub(crate) struct Settler {
    pub(crate) ballots: Arc<Ballots>,
    pub(crate) stage: Arc<Stage>,
    pub(crate) comments: Arc<Comments>,
    pub(crate) progress: Arc<Progress>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) sums: Sums,
    pub(crate) answers: Answers,
    /// Makes the names that others see of commenters.
    pub(crate) voter_key: VoterKey,
    /// The hub's inbox: one message a batch, never waited for.
    pub(crate) feed: Feed,
    /// Slots whose ballots may leave memory.
    pub(crate) locked: Sender<SlotNo>,
}

/// A batch's changes, summed a clip: a hot clip's tally is added to once a batch.
#[derive(Debug, Default)]
pub(crate) struct Sums {
    /// By clip number: votes and weight.
    changes: Vec<(i64, i64)>,
    touched: Vec<ClipNo>,
}

impl Settler {
    /// Settles a batch; it is empty afterwards.
    pub(crate) fn settle(&mut self, batch: &mut Batch) {
        let began = Instant::now();
        for decided in &mut batch.decided {
            match (&mut decided.body, decided.refused.is_some()) {
                (Body::Event(Event::Voted(vote)), false) => self.voted(vote, decided.claimed, decided.seq),
                (Body::Event(Event::VotedFrom(vote, origin)), false) => {
                    self.voted(vote, decided.claimed, decided.seq);
                    if origin.is_flagged() {
                        self.metrics.flagged.inc();
                    }
                }
                (Body::Event(Event::Retracted(back)), false) => {
                    let counted = decided.effect != Effect::Uncounted;
                    self.ballots.settle_back(back.voter, back.clip);
                    if counted {
                        self.sums.add(back.clip, -1, -i64::from(back.weight));
                    }
                    self.metrics.retractions.inc();
                }
                (Body::Event(event @ (Event::CommentPosted(_) | Event::CommentChanged(..))), refused) => {
                    if refused {
                        self.metrics.dead_letter.inc();
                    }
                    if let Some(settled) = self.comments.settle(decided.seq, decided.at, event, refused) {
                        self.commented(&settled);
                    }
                }
                // Many events that name votes make one void.
                (Body::Event(Event::VotesNamed(_)), false) | (Body::Barrier | Body::Close, _) => {}
                (Body::Event(event), false) => {
                    if let Effect::Changed(changed) = &decided.effect {
                        changed.clips.iter().for_each(|(clip, by)| self.sums.add(*clip, by.votes, by.weight));
                    }
                    self.sums.flow(&self.stage.look(), &mut self.feed);
                    self.stage.settle(decided.seq, decided.at, event, &decided.effect);
                    tell(&mut self.feed, &self.stage.look(), decided.seq, event);
                    if let Event::SlotLocked { slot, .. } | Event::SlotDecided { slot, .. } = event {
                        // At most one message a slot; the keeper ends after settlement.
                        let _ = self.locked.send(*slot);
                    }
                }
                (Body::Event(event), true) => {
                    self.metrics.dead_letter.inc();
                    match event {
                        Event::Voted(vote) | Event::VotedFrom(vote, _) => self.ballots.release(vote.voter, vote.clip),
                        Event::Retracted(back) => self.ballots.restore(back.voter, back.clip),
                        _ => {}
                    }
                }
                (Body::Probe(_), _) => {
                    let scene = self.stage.look();
                    self.sums.flow(&scene, &mut self.feed);
                    let counts = scene.clips.iter().map(|clip| clip.tally.read()).collect();
                    let masks = scene.slots.iter().map(|slot| Arc::clone(&slot.voids.masks)).collect();
                    let comments = scene.clips.iter().map(|clip| clip.comment_reading()).collect();
                    let Body::Probe(to) = std::mem::replace(&mut decided.body, Body::Barrier) else { unreachable!() };
                    // The job that asked may have ended.
                    let _ = to.send(Reading { seq: decided.seq, counts, masks, comments });
                }
            }
        }
        self.sums.flow(&self.stage.look(), &mut self.feed);
        self.feed.send(batch.last);
        self.answers.give(&mut batch.decided, |_| true);
        batch.decided.clear();
        self.metrics.voters.set(i64::try_from(self.ballots.voters()).unwrap_or(i64::MAX));
        self.metrics.settle.observe(began.elapsed());
        self.progress.note_settled(batch.last);
    }
}

impl Settler {
    /// A claimed vote stands.
    fn voted(&mut self, vote: &Vote, claimed: Place, seq: Seq) {
        self.ballots.settle(vote.voter, claimed, seq);
        self.sums.add(vote.clip, 1, i64::from(vote.weight));
        self.metrics.votes.inc();
    }

    /// A comment was posted or has changed: on the disk, in log order, and with all that anyone needs to hear of it. Whatever
    /// tells others of comments begins here.
    fn commented(&mut self, settled: &Settled) {
        match settled.change {
            None => self.metrics.comments.inc(),
            Some(_) => self.metrics.comment_changes.inc(),
        };
        let by = settled.visible_by();
        let scene = self.stage.look();
        tell_comment(&mut self.feed, &scene, &self.voter_key, settled);
        if by != 0 {
            let state = &scene.clips[settled.comment.place.clip.index()];
            state.comments.fetch_add(by, Ordering::Relaxed);
            if settled.change.is_some() {
                state.comment_turns.fetch_add(1, Ordering::Relaxed);
            }
            // Counts of comments are shown whether those of votes are hidden or not.
            scene.slots[state.clip.slot.index()].touch();
        }
    }
}

impl Sums {
    fn add(&mut self, clip: ClipNo, votes: i64, weight: i64) {
        if self.changes.len() <= clip.index() {
            self.changes.resize(clip.index() + 1, (0, 0));
        }
        let sum = &mut self.changes[clip.index()];
        if *sum == (0, 0) {
            self.touched.push(clip);
        }
        *sum = (sum.0 + votes, sum.1 + weight);
    }

    /// Adds the sums to the tallies and tells the slots and the hub that counts have changed.
    fn flow(&mut self, scene: &Scene, feed: &mut Feed) {
        self.touched.retain(|clip| {
            let (votes, weight) = std::mem::take(&mut self.changes[clip.index()]);
            scene.clips[clip.index()].tally.add(votes, weight, 0);
            (votes, weight) != (0, 0)
        });
        // Behind the last add: who reads the new version must find all counts that it stands for.
        let mut slot: Option<SlotNo> = None;
        for clip in self.touched.drain(..) {
            let of = scene.slot_of(&scene.clips[clip.index()].clip);
            // What nobody may see changes no version, and so no ETag, and is pushed to nobody.
            if of.hides_counts() {
                continue;
            }
            feed.counted(clip);
            if slot != Some(of.slot.no) {
                of.touch();
                slot = Some(of.slot.no);
            }
        }
    }
}
