//! The tables as the fold sees them: stored pages, and over them those that were changed and not yet stored.
//!
//! The applier folds and commits. Recovery and `verify` fold over the log's tail and read the result, and never
//! commit. What spans pages is made safe by order, not by a transaction: pages, then the mark, then a flush; a crash
//! between them leaves pages that are ahead of the mark, and each page knows by how much.
//!
//! Here is the commit, which knows the order of all; a table's own pages are in [`numbered`], [`blocks`] and [`minutes`], what an
//! event does to them in [`fold`], what readers find in [`read`]. Never: a clock, a setting, a write that is not a commit's or a
//! repair's.

mod blocks;
mod fold;
mod minutes;
mod numbered;
mod read;

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use bincode::{Decode, Encode};

use self::blocks::Blocks;
use self::minutes::Minutes;
use self::numbered::Numbered;
use super::Pages;
use super::ballot_block::Stored;
use super::comments::CommentTables;
use super::erasures::ErasureTables;
use super::keys::{self, Table};
use super::records::{BansPage, ClipsPage, SeasonsPage, SlotRecord};
use super::sorted::{Closing, FreezeBlock};
use super::totals::TotalsPage;
use super::void_pages::VoidTables;
use crate::codec::{self, Chain, Kind};
use crate::domain::{ClipNo, Seq, SlotNo};
use crate::error::Fault;
use crate::store::Store;

const NAME: &str = "tables";
/// Pages of comments that a step may hold before it has to end: each is at most a few kilobytes, decoded.
const COMMENT_PAGES_MAX: usize = 8_192;

/// How far the tables contain the log: the end of one of its blocks.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
pub struct Mark {
    /// The last sequence contained.
    pub seq: Seq,
    /// The first sequence of the block that it ends.
    pub block: Seq,
    /// That block's hash.
    pub chain: Chain,
}

/// What [`Tables::each_ballot_block`] calls with each key and record.
pub type VisitBlock<'a> = &'a mut dyn FnMut(&[u8], &[u8]) -> Result<ControlFlow<()>, Fault>;

/// Stored pages with changes over them.
#[derive(Debug)]
pub struct Tables {
    store: Arc<dyn Store>,
    mark: Option<Mark>,
    totals: Numbered<TotalsPage>,
    seasons: Numbered<SeasonsPage>,
    clips: Numbered<ClipsPage>,
    slots: Numbered<SlotRecord>,
    bans: Numbered<BansPage>,
    blocks: Blocks,
    minutes: Minutes,
    voids: VoidTables,
    erasures: ErasureTables,
    /// Erasures that began or went on since they were last asked for.
    erasing: Vec<Seq>,
    comments: CommentTables,
    /// Freezes whose block's end has not come yet.
    freezes: Vec<(SlotNo, Seq)>,
    /// New ones, to be stored by the next commit.
    closings: BTreeMap<SlotNo, Closing>,
    /// Slots that took a step since they were last asked for.
    moved: Vec<SlotNo>,
}

impl Tables {
    /// Over a store; reads the mark.
    pub fn open(store: Arc<dyn Store>) -> Result<Self, Fault> {
        let mark =
            store.get(keys::MARK)?.map(|record| codec::read(NAME, Kind::Mark, keys::MARK, &record)).transpose()?;
        Ok(Self {
            store,
            mark,
            totals: Numbered::new(Table::Totals, Kind::Totals),
            seasons: Numbered::new(Table::Seasons, Kind::Seasons),
            clips: Numbered::new(Table::Clips, Kind::Clips),
            slots: Numbered::new(Table::Slots, Kind::Slot),
            bans: Numbered::new(Table::Bans, Kind::Bans),
            blocks: Blocks::default(),
            minutes: Minutes::default(),
            voids: VoidTables::default(),
            erasures: ErasureTables::default(),
            erasing: Vec::new(),
            comments: CommentTables::default(),
            freezes: Vec::new(),
            closings: BTreeMap::new(),
            moved: Vec::new(),
        })
    }

    /// How far they contain the log; `None` before the first commit.
    pub fn mark(&self) -> Option<Mark> {
        self.mark
    }

    /// Stores every change, then the mark, then flushes.
    pub fn commit(&mut self, mark: Mark) -> Result<(), Fault> {
        let store = self.store.as_ref();
        self.blocks.store(store)?;
        self.seasons.store(store)?;
        self.clips.store(store)?;
        self.slots.store(store)?;
        for (slot, closing) in std::mem::take(&mut self.closings) {
            let key = keys::page(Table::Closings, slot.0);
            store.insert(&key, &codec::record(Kind::Closing, &key, &closing))?;
        }
        self.bans.store(store)?;
        // Behind the ballots, which readers of a segment count, and before the totals, which a group's first page notes.
        self.minutes.store(store)?;
        self.totals.store(store)?;
        self.voids.store(store)?;
        self.erasures.store(store)?;
        self.comments.store(store)?;
        store.insert(keys::MARK, &codec::record(Kind::Mark, keys::MARK, &mark))?;
        store.flush()?;
        self.mark = Some(mark);
        self.blocks.trim();
        self.minutes.trim();
        Ok(())
    }

    /// A block of the log ends: the freezes in it are kept with its hash. Whoever folds calls this behind each block.
    pub fn end_block(&mut self, block: FreezeBlock) -> Result<(), Fault> {
        for (slot, freeze) in std::mem::take(&mut self.freezes) {
            // Folded again: what was made of it since stays.
            if self.closing(slot)?.is_none_or(|known| known.freeze < freeze) {
                self.closings.insert(slot, Closing { freeze, block: Some(block), sorted: None });
            }
        }
        Ok(())
    }

    /// Slots that took a step since the last call.
    pub fn take_moved(&mut self) -> Vec<SlotNo> {
        std::mem::take(&mut self.moved)
    }

    /// Erasures that began or went on since the last call.
    pub fn take_erasing(&mut self) -> Vec<Seq> {
        std::mem::take(&mut self.erasing)
    }

    /// Forgets pages that are kept from step to step. For the applier, once it has rewritten what is stored beneath them; nothing may
    /// wait for a commit.
    pub fn forget_kept(&mut self) {
        self.blocks.forget();
        self.comments = CommentTables::default();
    }

    /// The store beneath, without what is not committed yet.
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    /// Whether a step has gathered as much as it may hold in memory, and should be committed.
    pub fn is_heavy(&self) -> bool {
        self.comments.pages() > COMMENT_PAGES_MAX
    }

    /// Puts a clip's stored counts right. For `verify --repair` alone; takes effect with the next [`Tables::commit`].
    pub fn repair_total(&mut self, clip: ClipNo, counts: (u64, u64)) -> Result<(), Fault> {
        self.totals.change(self.store.as_ref(), TotalsPage::number(clip))?.set(clip, counts);
        Ok(())
    }

    /// Puts a clip's stored count of comments right.
    pub fn repair_comment_count(&mut self, clip: ClipNo, count: u64) -> Result<(), Fault> {
        self.comments().repair_count(clip, count)
    }

    /// Makes a group's pages of minutes anew from its ballots, in log order. For `verify --repair` alone: pages that are no longer
    /// needed go at once, the rest takes effect with the next [`Tables::commit`].
    pub fn repair_timeline(&mut self, group: u32, ballots: &[Stored]) -> Result<(), Fault> {
        self.minutes.repair(self.store.as_ref(), group, ballots)
    }
}
