//! What readers find in the tables: stored pages, with those that were changed over them.
//!
//! A table is gone through in the order of its keys. Never: a change, or a page kept for the next reader.

use std::ops::ControlFlow;

use super::numbered::number_of;
use super::{NAME, Tables, VisitBlock};
use crate::codec::{self, Kind};
use crate::domain::{Clip, ClipNo, Comment, ErasureState, NamedVote, Season, Seq, SlotNo, VoidState, VoterId};
use crate::error::Fault;
use crate::fold::ballot_block;
use crate::fold::comments::{CommentCounts, CommentId, Mark as VoterMark, Queued, Rank, Replies};
use crate::fold::judge::{BanMove, Transitions};
use crate::fold::keys::{self, Table};
use crate::fold::records::SlotRecord;
use crate::fold::sorted::{Closing, SortedPages};
use crate::fold::timeline::TimelinePage;
use crate::fold::{erasures, lookup, void_pages};

impl Tables {
    /// How a slot closed.
    pub fn closing(&self, slot: SlotNo) -> Result<Option<Closing>, Fault> {
        match self.closings.get(&slot) {
            Some(closing) => Ok(Some(*closing)),
            None => lookup::closing(self.store.as_ref(), slot),
        }
    }

    /// The sorted pages that stand for a slot's blocks; `None` while the blocks do.
    pub fn sorted_pages(&self, slot: &SlotRecord) -> Result<Option<SortedPages>, Fault> {
        Ok(self.closing(slot.slot.no)?.and_then(|closing| closing.pages_of(slot)))
    }

    /// Every comment.
    pub fn each_comment(&self, visit: impl FnMut(Comment) -> Result<(), Fault>) -> Result<(), Fault> {
        self.comments.comments.each(self.store.as_ref(), visit)
    }

    /// Every comment's place.
    pub fn each_comment_id(&self, visit: impl FnMut(CommentId) -> Result<(), Fault>) -> Result<(), Fault> {
        self.comments.ids.each(self.store.as_ref(), visit)
    }

    /// Every like and report.
    pub fn each_mark(&self, visit: impl FnMut(VoterMark) -> Result<(), Fault>) -> Result<(), Fault> {
        self.comments.marks.each(self.store.as_ref(), visit)
    }

    /// Every comment's rank.
    pub fn each_rank(&self, visit: impl FnMut(Rank) -> Result<(), Fault>) -> Result<(), Fault> {
        self.comments.ranks.each(self.store.as_ref(), visit)
    }

    /// Everything that moderators look through.
    pub fn each_queued(&self, visit: impl FnMut(Queued) -> Result<(), Fault>) -> Result<(), Fault> {
        self.comments.queue.each(self.store.as_ref(), visit)
    }

    /// Every count of replies.
    pub fn each_replies(&self, visit: impl FnMut(Replies) -> Result<(), Fault>) -> Result<(), Fault> {
        self.comments.replies.each(self.store.as_ref(), visit)
    }

    /// Every clip's count of comments.
    pub fn each_comment_count(&self, mut visit: impl FnMut(ClipNo, u64)) -> Result<(), Fault> {
        let (from, to) = keys::pages_of(Table::CommentCounts);
        let mut new = self.comments.counts.clone();
        self.store.scan(&from, &to, &mut |key, record| {
            let number = number_of(key)?;
            let stored: CommentCounts = codec::read(NAME, Kind::CommentCounts, key, record)?;
            let page = new.remove(&number).unwrap_or(stored);
            page.iter(number).for_each(|(clip, count)| visit(clip, count));
            Ok(ControlFlow::Continue(()))
        })?;
        for (number, page) in new {
            page.iter(number).for_each(|(clip, count)| visit(clip, count));
        }
        Ok(())
    }

    /// Every page of counts.
    pub fn each_total(&self, mut visit: impl FnMut(ClipNo, u64, u64)) -> Result<(), Fault> {
        self.totals.each(self.store.as_ref(), |number, page| {
            page.iter(number).for_each(|(clip, votes, weight)| visit(clip, votes, weight));
        })
    }

    /// Every season, in order.
    pub fn each_season(&self, mut visit: impl FnMut(&Season)) -> Result<(), Fault> {
        self.seasons.each(self.store.as_ref(), |_, page| {
            page.items.iter().for_each(&mut visit);
        })
    }

    /// Every clip, in order.
    pub fn each_clip(&self, mut visit: impl FnMut(&Clip)) -> Result<(), Fault> {
        self.clips.each(self.store.as_ref(), |_, page| page.items.iter().for_each(&mut visit))
    }

    /// Every slot, in order.
    pub fn each_slot(&self, mut visit: impl FnMut(&SlotRecord)) -> Result<(), Fault> {
        self.slots.each_read(
            self.store.as_ref(),
            |key, record| SlotRecord::read(NAME, key, record),
            |_, slot| visit(slot),
        )
    }

    /// Every voter with bans.
    pub fn each_ban(&self, mut visit: impl FnMut(VoterId, &[BanMove])) -> Result<(), Fault> {
        self.bans.each(self.store.as_ref(), |_, page| {
            page.voters.iter().for_each(|(voter, moves)| visit(*voter, moves));
        })
    }

    /// Every void, in the order of their begins.
    pub fn each_void(&self, visit: impl FnMut(&VoidState)) -> Result<(), Fault> {
        self.voids.each(self.store.as_ref(), visit)
    }

    /// Every erasure, in the order of their begins.
    pub fn each_erasure(&self, visit: impl FnMut(&ErasureState)) -> Result<(), Fault> {
        self.erasures.each(self.store.as_ref(), visit)
    }

    /// The votes that a void names.
    pub fn each_named(&self, slot: SlotNo, void: Seq, visit: impl FnMut(&[NamedVote])) -> Result<(), Fault> {
        self.voids.each_named(self.store.as_ref(), slot, void, visit)
    }

    /// What the judge needs, as of the mark.
    pub fn transitions(&self) -> Result<Transitions, Fault> {
        let mut known = Transitions::default();
        let until = self.mark.map_or(0, |mark| mark.seq);
        known.load_voids(void_pages::load(self.store.as_ref(), until)?);
        // What a crash left ahead of the mark is judged anew.
        erasures::each(self.store.as_ref(), |state| {
            if state.id <= until && state.ended.is_none_or(|seq| seq > until) {
                known.load_erasure(state.id, state.voter);
            }
        })?;
        self.each_slot(|record| known.load_slot(record.slot, record.moves.clone()))?;
        self.each_ban(|voter, moves| known.load_bans(voter, moves.to_vec()))?;
        Ok(known)
    }

    /// Every block of a slot's ballots from the one that begins at `from` on, in log order, as (key, record), until
    /// told to break.
    pub fn each_ballot_block(&self, slot: SlotNo, from: Seq, visit: VisitBlock<'_>) -> Result<(), Fault> {
        self.blocks.each(self.store.as_ref(), slot, from, visit)
    }

    /// Every page of minutes, by group and in log order.
    pub fn each_timeline(&self, visit: impl FnMut(u32, TimelinePage) -> Result<(), Fault>) -> Result<(), Fault> {
        self.minutes.each(self.store.as_ref(), visit)
    }

    /// The head of a slot's last block.
    pub fn last_ballots(&self, slot: SlotNo) -> Result<Option<ballot_block::Head>, Fault> {
        self.blocks.last(self.store.as_ref(), slot)
    }
}
