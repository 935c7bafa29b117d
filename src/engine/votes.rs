//! What operators see of single votes: read from the stored blocks, in bounded time a page. May wait for the disk.

use std::ops::ControlFlow;

use super::Engine;
use super::api::{VotePage, VoteView};
use crate::domain::{Seq, SlotNo};
use crate::error::{Fault, Reject};
use crate::fold::ballot_block::{self, Act};
use crate::fold::{Stored, keys};

/// Blocks that one page looks through: some 100,000 votes, some ten milliseconds. Flagged ones may be rarer than that.
const BLOCKS_A_PAGE: usize = 64;

impl Engine {
    /// A slot's votes in log order, or the flagged ones alone: at most `limit` of those behind the sequence `past`. Votes that
    /// were taken back are among them. A page may hold fewer, or none, and still name where the next one begins.
    pub fn stored_votes(&self, slot: SlotNo, flagged: bool, past: Seq, limit: usize) -> Result<VotePage, Reject> {
        let core = &self.core;
        let as_of = core.progress.applied();
        let mut page = Page { flagged, past, limit, reached: past, more: false, found: Vec::new() };
        let read = core.page_of_votes(slot, &mut page);
        let read = read.inspect_err(|why| tracing::error!(%why, "reading stored votes failed"));
        read.map_err(|_| {
            core.metrics.read_failures.inc();
            Reject::StorageFailed
        })?;
        let scene = core.stage.look();
        let votes = page.found.iter().filter_map(|Stored { seq, at, ballot }| {
            let Act::Cast(kind) = ballot.act else { return None };
            Some(VoteView {
                seq: *seq,
                at: *at,
                user_id: core.settings.voter_key.public(ballot.voter),
                clip: scene.clips.get(ballot.clip.index())?.clip.id.clone(),
                kind,
                weight: ballot.weight,
                origin: ballot.origin,
            })
        });
        Ok(VotePage { votes: votes.collect(), next: page.more.then_some(page.reached), as_of })
    }
}

impl super::Core {
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
                page.take(stored);
                Ok(())
            })?;
            Ok(if page.more { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
        })
    }
}

/// A page as it fills.
struct Page {
    flagged: bool,
    past: Seq,
    limit: usize,
    /// Everything up to this sequence was looked at.
    reached: Seq,
    /// There is something behind it.
    more: bool,
    found: Vec<Stored>,
}

impl Page {
    fn take(&mut self, stored: Stored) {
        let wanted = matches!(stored.ballot.act, Act::Cast(_)) && (!self.flagged || stored.ballot.origin.is_flagged());
        if stored.seq <= self.past || self.more {
            return;
        }
        if wanted && self.found.len() == self.limit {
            self.more = true;
            return;
        }
        self.reached = stored.seq;
        if wanted {
            self.found.push(stored);
        }
    }
}
