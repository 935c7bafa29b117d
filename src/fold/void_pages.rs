//! What is stored of voids, so that a start knows which votes are under one.
//!
//! ```text
//! d void                    what is known of a void: who asked for what, and its steps with what they did to counts
//! p slot void seq           some of the votes that it names, as the event of that sequence named them
//! w slot page               votes with sequences of [`VOTES_A_PAGE`], taken back under a void or while one was under way: vote,
//!                           sequence of its retraction
//! ```
//!
//! Named votes stay once a void is lifted: certificates of before name it. A start reads all of it and takes it in again in the
//! order of the log, up to the mark: what a crash left ahead of the mark is folded anew.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::ops::ControlFlow;

use bincode::{Decode, Encode};

use super::keys;
use super::voids::{Effect, Voids};
use crate::codec::{self, Kind};
use crate::domain::{ClipNo, Event, NamedVote, Seq, SlotNo, VoidState, VoidStep};
use crate::error::Fault;
use crate::store::Store;

const NAME: &str = "tables";
/// Sequences whose taken back votes share a page: at 18 bytes each it stays below [`crate::store::VALUE_MAX`].
pub(super) const VOTES_A_PAGE: u64 = 1024;

/// Votes that a void names, as stored.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct Named(pub Vec<NamedVote>);

/// Votes taken back, each with its retraction's sequence.
#[derive(Clone, PartialEq, Eq, Debug, Default, Encode, Decode)]
pub struct TakenBack(pub BTreeMap<Seq, Seq>);

/// Changes that are not stored yet.
#[derive(Debug, Default)]
pub(super) struct VoidTables {
    states: BTreeMap<Seq, VoidState>,
    named: Vec<(SlotNo, Seq, Seq, Vec<NamedVote>)>,
    taken_back: BTreeMap<(SlotNo, u64), TakenBack>,
}

impl VoidTables {
    /// Takes in an event about voids.
    pub(super) fn take(
        &mut self,
        store: &dyn Store,
        seq: Seq,
        at: u64,
        event: &Event,
        effect: &Effect,
    ) -> Result<(), Fault> {
        let (changes, votes) = match effect {
            Effect::Changed(changed) => (changed.clips.as_slice(), changed.votes),
            Effect::Plain | Effect::Noted | Effect::Uncounted => (&[][..], 0),
        };
        let changes: Vec<(ClipNo, i64, i64)> = changes.iter().map(|(clip, by)| (*clip, by.votes, by.weight)).collect();
        let step = VoidStep { seq, at, changes };
        match event {
            Event::VoidBegun(plan) => {
                self.end(store, seq)?;
                if self.state(store, seq)?.is_none() {
                    self.states.insert(seq, VoidState::begin(seq, at, plan.as_ref().clone()));
                }
            }
            Event::VotesNamed(part) => self.named.push((part.slot, part.void, seq, part.votes.clone())),
            Event::VoidTaken { void, .. } => self.known(store, *void)?.take(step, votes),
            Event::VoidLifted { void, reason, .. } => self.known(store, *void)?.lift(step, reason),
            _ => self.end(store, seq)?,
        }
        Ok(())
    }

    /// Notes a vote that was taken back.
    pub(super) fn take_back(&mut self, store: &dyn Store, seq: Seq, slot: SlotNo, vote: Seq) -> Result<(), Fault> {
        let page = vote / VOTES_A_PAGE;
        let known = match self.taken_back.entry((slot, page)) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(free) => {
                let key = keys::taken_back(slot, page);
                let record = store.get(&key)?;
                let stored = record.map(|record| codec::read(NAME, Kind::TakenBack, &key, &record)).transpose()?;
                free.insert(stored.unwrap_or_default())
            }
        };
        known.0.insert(vote, seq);
        Ok(())
    }

    /// Stores all of it.
    pub(super) fn store(&mut self, store: &dyn Store) -> Result<(), Fault> {
        // The votes before the state that says that they are out.
        for (slot, void, seq, votes) in self.named.drain(..) {
            let key = keys::named(slot, void, seq);
            store.insert(&key, &codec::record(Kind::NamedVotes, &key, &Named(votes)))?;
        }
        for ((slot, page), votes) in std::mem::take(&mut self.taken_back) {
            let key = keys::taken_back(slot, page);
            store.insert(&key, &codec::record(Kind::TakenBack, &key, &votes))?;
        }
        for (void, state) in std::mem::take(&mut self.states) {
            let key = keys::void(void);
            store.insert(&key, &codec::record(Kind::Void, &key, &state))?;
        }
        Ok(())
    }

    /// Every void, in the order of their begins.
    pub(super) fn each(&self, store: &dyn Store, mut visit: impl FnMut(&VoidState)) -> Result<(), Fault> {
        let mut states = self.states.clone();
        each_stored(store, |state| {
            states.entry(state.id).or_insert(state);
            Ok(())
        })?;
        states.values().for_each(&mut visit);
        Ok(())
    }

    /// The votes that a void names.
    pub(super) fn each_named(
        &self,
        store: &dyn Store,
        slot: SlotNo,
        void: Seq,
        mut visit: impl FnMut(&[NamedVote]),
    ) -> Result<(), Fault> {
        // Those that are stored and folded again come twice.
        each_named(store, slot, void, Seq::MAX, |votes| visit(&votes))?;
        self.named.iter().filter(|(.., of, _, _)| *of == void).for_each(|(.., votes)| visit(votes));
        Ok(())
    }

    /// The void that is under way, if one is, ends.
    fn end(&mut self, store: &dyn Store, seq: Seq) -> Result<(), Fault> {
        let (from, to) = keys::voids();
        let stored = store.last_in(&from, &to)?.map(|(key, record)| read(&key, &record)).transpose()?;
        let last = stored.map(|state| state.id).into_iter().chain(self.states.keys().copied()).max();
        match last {
            // Folded again, the void that begins is the last one itself.
            Some(last) if last < seq => {
                let state = self.known(store, last)?;
                state.end(seq);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn known(&mut self, store: &dyn Store, void: Seq) -> Result<&mut VoidState, Fault> {
        self.state(store, void)?
            .ok_or_else(|| Fault::Inconsistent { why: format!("void {void} goes on, and its record is not there") })
    }

    fn state(&mut self, store: &dyn Store, void: Seq) -> Result<Option<&mut VoidState>, Fault> {
        match self.states.entry(void) {
            Entry::Occupied(known) => Ok(Some(known.into_mut())),
            Entry::Vacant(free) => {
                let key = keys::void(void);
                let Some(record) = store.get(&key)? else { return Ok(None) };
                Ok(Some(free.insert(read(&key, &record)?)))
            }
        }
    }
}

/// Which votes are under voids, as of a sequence that the store contains.
pub(super) fn load(store: &dyn Store, until: Seq) -> Result<Voids, Fault> {
    let mut states = Vec::new();
    each_stored(store, |state| {
        states.push(state);
        Ok(())
    })?;
    let mut steps: Vec<(Seq, Step<'_>)> = Vec::new();
    for state in &states {
        steps.push((state.id, Step::Begins(state)));
        steps.extend(state.taken.as_ref().map(|step| (step.seq, Step::Taken)));
        steps.extend(state.lifted.as_ref().map(|(step, _)| (step.seq, Step::Lifted(state))));
        steps.extend(state.dropped.map(|seq| (seq, Step::Dropped)));
    }
    if !states.is_empty() {
        let (from, to) = keys::all_taken_back();
        store.scan(&from, &to, &mut |key, record| {
            let slot =
                keys::taken_back_slot(key).ok_or_else(|| Fault::damaged(NAME, key, "its key does not decode"))?;
            let page: TakenBack = codec::read(NAME, Kind::TakenBack, key, record)?;
            steps.extend(page.0.into_iter().map(|(vote, seq)| (seq, Step::TakenBack(slot, vote))));
            Ok(ControlFlow::Continue(()))
        })?;
    }
    steps.retain(|(seq, _)| *seq <= until);
    // A void that another one's begin ends, ends before that begins.
    steps.sort_by_key(|(seq, step)| (*seq, !matches!(step, Step::Dropped)));
    let mut voids = Voids::default();
    for (seq, step) in steps {
        match step {
            Step::Begins(state) => {
                voids.begin(state.id, state.plan.slot);
                each_named(store, state.plan.slot, state.id, until, |votes| voids.name(&votes))?;
            }
            Step::Taken => {
                voids.take(seq);
            }
            Step::Lifted(state) => {
                voids.lift(seq, state.plan.slot, state.id);
            }
            Step::Dropped => voids.end(),
            Step::TakenBack(slot, vote) => {
                voids.take_back(slot, vote);
            }
        }
    }
    Ok(voids)
}

/// What happened to voids.
#[derive(Clone, Copy)]
enum Step<'a> {
    Begins(&'a VoidState),
    Taken,
    Lifted(&'a VoidState),
    Dropped,
    TakenBack(SlotNo, Seq),
}

/// Every stored void.
fn each_stored(store: &dyn Store, mut visit: impl FnMut(VoidState) -> Result<(), Fault>) -> Result<(), Fault> {
    let (from, to) = keys::voids();
    store.scan(&from, &to, &mut |key, record| {
        visit(read(key, record)?)?;
        Ok(ControlFlow::Continue(()))
    })
}

/// The votes that a void names, by the events that named them up to a sequence.
fn each_named(
    store: &dyn Store,
    slot: SlotNo,
    void: Seq,
    until: Seq,
    mut visit: impl FnMut(Vec<NamedVote>),
) -> Result<(), Fault> {
    let (from, to) = keys::named_of(slot, void);
    store.scan(&from, &to, &mut |key, record| {
        let seq = keys::named_by(key).ok_or_else(|| Fault::damaged(NAME, key, "its key does not decode"))?;
        let named: Named = codec::read(NAME, Kind::NamedVotes, key, record)?;
        if seq <= until {
            visit(named.0);
        }
        Ok(ControlFlow::Continue(()))
    })
}

fn read(key: &[u8], record: &[u8]) -> Result<VoidState, Fault> {
    codec::read(NAME, Kind::Void, key, record)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{NAMED_AT_ONCE, NamedVotes, VoidBy, VoidPlan, VoterId};
    use crate::store::FaultyDisk;

    /// They are folded again.
    #[test]
    fn votes_that_were_named_ahead_of_the_mark_are_not_loaded() {
        let slot = SlotNo(3);
        let store = FaultyDisk::new(1).open("tables");
        let mut tables = VoidTables::default();
        let plan = VoidPlan { slot, by: VoidBy::Flagged, reason: "why".into() };
        let mut take = |seq: Seq, event: &Event| tables.take(store.as_ref(), seq, 0, event, &Effect::Plain).unwrap();
        take(100, &Event::VoidBegun(Box::new(plan)));
        for seq in [101, 102] {
            let votes = (0..NAMED_AT_ONCE as u64).map(|vote| NamedVote {
                seq: vote + (seq - 101) * NAMED_AT_ONCE as u64,
                at: 0,
                voter: VoterId([0; 16]),
                clip: ClipNo(0),
                weight: 1,
                day: 0,
            });
            take(seq, &Event::VotesNamed(Box::new(NamedVotes { void: 100, slot, votes: votes.collect() })));
        }
        tables.store(store.as_ref()).unwrap();
        for (until, named) in [(99, 0), (100, 0), (101, NAMED_AT_ONCE), (102, 2 * NAMED_AT_ONCE)] {
            assert_eq!(load(store.as_ref(), until).unwrap().named(), named, "up to {until}");
        }
    }
}
