//! What operators see of single votes: read from the stored blocks, in bounded time a page. May wait for the disk.

use std::ops::ControlFlow;

use super::Engine;
use super::api::{VotePage, VotePlace, VoteView};
use super::comment::public_name;
use crate::closed::SlotPages;
use crate::domain::{SlotNo, VoterId};
use crate::error::{Fault, Reject};
use crate::fold::ballot_block::{self, Act};
use crate::fold::sorted::{self, BALLOTS_A_PAGE, Sorted, SortedPages, Who};
use crate::fold::{Ballot, Stored, keys, lookup};

/// Blocks that one page looks through: some 100,000 votes, some ten milliseconds. Flagged ones may be rarer than that.
const BLOCKS_A_PAGE: usize = 64;

impl Engine {
    /// A slot's votes, or the flagged ones alone: at most `limit` of those behind a place. In log order, and those that were
    /// taken back among them; of a slot that was locked in the order of its sorted pages, and those alone that stand. A page
    /// may hold fewer, or none, and still name where the next one begins. A place of before the lock is none behind it.
    pub fn stored_votes(
        &self,
        slot: SlotNo,
        flagged: bool,
        from: Option<VotePlace>,
        limit: usize,
    ) -> Result<VotePage, Reject> {
        let core = &self.core;
        let as_of = core.progress.applied();
        let past = match from {
            None => 0,
            Some(VotePlace::Logged(past) | VotePlace::Sorted(past)) => past,
        };
        let mut page = Page { flagged, past, limit, reached: past, more: false, found: Vec::new() };
        let read = core.sorted_pages(slot).and_then(|pages| {
            match (pages, from) {
                (None, Some(VotePlace::Sorted(_))) | (Some(_), Some(VotePlace::Logged(_))) => return Ok(None),
                (Some(pages), _) => core.page_of_sorted(slot, pages, &mut page)?,
                (None, _) => core.page_of_votes(slot, &mut page)?,
            }
            Ok(Some(pages.is_some()))
        });
        let read = read.inspect_err(|why| tracing::error!(%why, "reading stored votes failed"));
        let read = read.map_err(|_| {
            core.metrics.read_failures.inc();
            Reject::StorageFailed
        })?;
        let moved = || Reject::InvalidParameter { name: "cursor", why: "the slot was locked since: begin anew".into() };
        let sorted = read.ok_or_else(moved)?;
        let scene = core.stage.look();
        let votes = page.found.iter().filter_map(|(voter, Stored { seq, at, ballot })| {
            let Act::Cast(kind) = ballot.act else { return None };
            Some(VoteView {
                seq: *seq,
                at: *at,
                user_id: voter.map(|voter| core.settings.voter_key.public(voter)),
                clip: scene.clips.get(ballot.clip.index())?.clip.id.clone(),
                kind,
                weight: ballot.weight,
                origin: ballot.origin,
            })
        });
        let place = |reached| if sorted { VotePlace::Sorted(reached) } else { VotePlace::Logged(reached) };
        Ok(VotePage { votes: votes.collect(), next: page.more.then(|| place(page.reached)), as_of })
    }

    /// The voter behind a `sub`, or behind the name that others see: as [`Engine::voter_named`], and among a slot's voters too,
    /// who are in memory no more once it is locked. Those who were erased are found no more. Reads the slot's votes.
    pub fn voter_named_in(&self, season: &str, position: u32, name: &str) -> Result<VoterId, Reject> {
        let core = &*self.core;
        let slot = core.slot_state(season, position)?.slot.no;
        let known = self.voter_named(name)?;
        let key = &core.settings.voter_key;
        let Some(public) = public_name(name).filter(|public| !key.is_public(known, *public)) else { return Ok(known) };
        let found = core.read(core.voter_in(slot, |voter| key.is_public(voter, public)))?;
        Ok(found.unwrap_or(known))
    }
}

impl super::Core {
    /// The pages that stand for a locked slot's blocks.
    fn sorted_pages(&self, slot: SlotNo) -> Result<Option<SortedPages>, Fault> {
        let store = self.tables.as_ref();
        let (closing, record) = (lookup::closing(store, slot)?, lookup::slot(store, slot)?);
        Ok(closing.zip(record).and_then(|(closing, record)| closing.pages_of(&record)))
    }

    fn voter_in(&self, slot: SlotNo, is: impl Fn(VoterId) -> bool) -> Result<Option<VoterId>, Fault> {
        let (first, behind) = keys::ballots_of(slot);
        let mut found = None;
        self.tables.scan(&first, &behind, &mut |key, record| {
            ballot_block::read(key, record, |stored| {
                if is(stored.ballot.voter) {
                    found = Some(stored.ballot.voter);
                }
                Ok(())
            })?;
            Ok(if found.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
        })?;
        // Behind that reading: blocks that it missed have gone, and pages stand for them.
        let (None, Some(pages)) = (found, self.sorted_pages(slot)?) else { return Ok(found) };
        let sorted = SlotPages::new(self.tables.as_ref(), slot, pages);
        for number in 0..sorted.pages() {
            let mut voters = sorted.page(number)?.into_iter().filter_map(|ballot| match ballot.who {
                Who::Voter(voter) => Some(voter),
                Who::Erased(_) => None,
            });
            if let Some(voter) = voters.find(|voter| is(*voter)) {
                return Ok(Some(voter));
            }
        }
        Ok(None)
    }

    fn page_of_sorted(&self, slot: SlotNo, pages: SortedPages, page: &mut Page) -> Result<(), Fault> {
        let first = page.past / BALLOTS_A_PAGE as u64;
        for number in first..first + BLOCKS_A_PAGE as u64 {
            let Some(number) = u32::try_from(number).ok().filter(|_| number * (BALLOTS_A_PAGE as u64) < pages.leaves)
            else {
                return Ok(());
            };
            let key = keys::sorted(slot, pages.generation, sorted::BALLOTS, number);
            let lost = || Fault::damaged("tables", &key, "a page of sorted ballots is lost");
            let record = self.tables.get(&key)?.ok_or_else(lost)?;
            let mut place = u64::from(number) * BALLOTS_A_PAGE as u64;
            for Sorted { who, seq, at, clip, kind, weight, day, origin } in sorted::read(&key, &record)? {
                place += 1;
                let voter = if let Who::Voter(voter) = who { Some(voter) } else { None };
                let act = Act::Cast(kind);
                let ballot = Ballot { voter: voter.unwrap_or(VoterId([0; 16])), clip, weight, day, act, origin };
                page.take(place, voter, Stored { seq, at, ballot });
            }
            if page.more {
                return Ok(());
            }
        }
        page.more = true;
        Ok(())
    }

    fn page_of_votes(&self, slot: SlotNo, page: &mut Page) -> Result<(), Fault> {
        let (first, behind) = keys::ballots_of(slot);
        // The block that the next vote lies in, if it is there, is the last that begins no later.
        let no_later = keys::ballots(slot, page.past.saturating_add(2));
        let from = self.tables.last_in(&first, &no_later)?.map_or(first.to_vec(), |(key, _)| key);
        let mut blocks = 0;
        self.tables.scan(&from, &behind, &mut |key, record| {
            if blocks == BLOCKS_A_PAGE {
                page.more = true;
                return Ok(ControlFlow::Break(()));
            }
            blocks += 1;
            ballot_block::read(key, record, |stored| {
                page.take(stored.seq, Some(stored.ballot.voter), stored);
                Ok(())
            })?;
            Ok(if page.more { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
        })
    }
}

/// A page as it fills.
struct Page {
    flagged: bool,
    past: u64,
    limit: usize,
    /// Everything up to this place was looked at.
    reached: u64,
    /// There is something behind it.
    more: bool,
    /// With the voter, unless they were erased.
    found: Vec<(Option<VoterId>, Stored)>,
}

impl Page {
    fn take(&mut self, place: u64, voter: Option<VoterId>, stored: Stored) {
        let wanted = matches!(stored.ballot.act, Act::Cast(_)) && (!self.flagged || stored.ballot.origin.is_flagged());
        if place <= self.past || self.more {
            return;
        }
        if wanted && self.found.len() == self.limit {
            self.more = true;
            return;
        }
        self.reached = place;
        if wanted {
            self.found.push((voter, stored));
        }
    }
}
