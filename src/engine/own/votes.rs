//! A voter's votes, slot by slot: a locked slot's are found in its sorted pages. Those of other slots lie in log order, and all of
//! them are looked through. Never: holds more than a window of votes.

use super::pace::{PAGES_A_SLICE, Pace};
use super::{OwnData, OwnVote, See};
use crate::closed::{SlotNames, SlotPages};
use crate::domain::{Seq, SlotNo, VoterId};
use crate::error::Fault;
use crate::fold::ballot_block::{self, Act};
use crate::fold::sorted::{Sorted, Who};
use crate::fold::{Stored, keys, lookup};
use crate::stage::SlotState;

/// Votes of a slot that is not locked that are held until all of the slot was looked through for their retractions: a megabyte or
/// two. Who cast more is looked for once more for each further window of them.
pub(super) const WINDOW: usize = 16_384;

impl OwnData {
    pub(super) fn votes_of(&self, slot: &SlotState, pace: &mut Pace, see: See<'_, OwnVote>) -> Result<(), Fault> {
        let no = slot.slot.no;
        // Votes up to it were given.
        let mut past = 0;
        loop {
            if let Some(sorted) = self.sorted(no)? {
                let left = sorted.into_iter().filter(|ballot| ballot.seq > past);
                return left.map(|ballot| self.of_sorted(slot, &ballot)).try_for_each(|vote| see(Some(vote?)));
            }
            let mut window = Window { voter: self.voter, past, most: self.window, votes: Vec::new(), more: false };
            self.look_through(no, &mut window, pace, see)?;
            // Behind that reading: blocks that it missed have gone, and pages stand for them.
            if lookup::sealed(self.core.tables.as_ref(), no)?.is_some() {
                continue;
            }
            past = window.votes.last().map_or(past, |(vote, _)| vote.seq);
            for (stored, back) in &window.votes {
                if let Some(vote) = self.of_stored(slot, stored, *back)? {
                    see(Some(vote))?;
                }
            }
            if !window.more {
                return Ok(());
            }
        }
    }

    /// The voter's ballots of a locked slot: one a clip at most. `None` while the slot's blocks stand for them.
    fn sorted(&self, slot: SlotNo) -> Result<Option<Vec<Sorted>>, Fault> {
        let store = self.core.tables.as_ref();
        let Some((_, pages)) = lookup::sealed(store, slot)? else { return Ok(None) };
        let names = SlotNames::of(store, &self.scene.slots[slot.index()].slot)?;
        SlotPages::new(store, slot, pages).of_voter(&names, self.voter).map(Some)
    }

    /// Looks through a slot's blocks, from the one that the next vote lies in to the last.
    fn look_through(
        &self,
        slot: SlotNo,
        window: &mut Window,
        pace: &mut Pace,
        see: See<'_, OwnVote>,
    ) -> Result<(), Fault> {
        let store = self.core.tables.as_ref();
        let (first, end) = keys::ballots_of(slot);
        let no_later = keys::ballots(slot, window.past.saturating_add(2));
        let mut from = store.last_in(&first, &no_later)?.map_or(first.to_vec(), |(key, _)| key);
        loop {
            let (mut left, mut next) = (PAGES_A_SLICE, None);
            store.scan(&from, &end, &mut |key, record| {
                if left == 0 {
                    next = Some(key.to_vec());
                    return Ok(std::ops::ControlFlow::Break(()));
                }
                left -= 1;
                ballot_block::read(key, record, |stored| {
                    window.take(&stored);
                    Ok(())
                })?;
                Ok(std::ops::ControlFlow::Continue(()))
            })?;
            let Some(next) = next else { return Ok(()) };
            from = next;
            pace.rest(|| self.goes_on(see))?;
        }
    }

    fn of_stored(
        &self,
        slot: &SlotState,
        stored: &Stored,
        taken_back: Option<(Seq, u64)>,
    ) -> Result<Option<OwnVote>, Fault> {
        let Stored { seq, at, ballot } = *stored;
        let Act::Cast(kind) = ballot.act else { return Ok(None) };
        Ok(Some(OwnVote {
            seq,
            at,
            season: self.season(slot),
            position: slot.slot.position,
            clip: self.clip(ballot.clip)?,
            kind,
            weight: ballot.weight,
            day: ballot.day,
            taken_back,
            voided: is_voided(slot, seq),
            erased: false,
            origin: ballot.origin,
        }))
    }

    fn of_sorted(&self, slot: &SlotState, ballot: &Sorted) -> Result<OwnVote, Fault> {
        let Sorted { who, seq, at, clip, kind, weight, day, origin } = *ballot;
        Ok(OwnVote {
            seq,
            at,
            season: self.season(slot),
            position: slot.slot.position,
            clip: self.clip(clip)?,
            kind,
            weight,
            day,
            taken_back: None,
            voided: is_voided(slot, seq),
            erased: matches!(who, Who::Erased(_)),
            origin,
        })
    }
}

fn is_voided(slot: &SlotState, vote: Seq) -> bool {
    let masks = &slot.voids.masks;
    masks.binary_search_by_key(&vote, |mask| mask.vote.seq).is_ok_and(|at| masks[at].by > 0)
}

/// Votes of a voter in log order, each with its retraction.
struct Window {
    voter: VoterId,
    /// Behind this sequence.
    past: Seq,
    most: usize,
    votes: Vec<(Stored, Option<(Seq, u64)>)>,
    /// There are more behind the last one.
    more: bool,
}

impl Window {
    fn take(&mut self, stored: &Stored) {
        if stored.ballot.voter != self.voter || stored.seq <= self.past {
            return;
        }
        match stored.ballot.act {
            Act::Cast(_) if self.votes.len() == self.most => self.more = true,
            Act::Cast(_) => self.votes.push((*stored, None)),
            Act::Retract(vote) => {
                if let Ok(at) = self.votes.binary_search_by_key(&vote, |(vote, _)| vote.seq) {
                    self.votes[at].1 = Some((stored.seq, stored.at));
                }
            }
        }
    }
}
