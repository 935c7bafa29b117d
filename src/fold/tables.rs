//! The tables as the fold sees them: stored pages, and over them those that were changed and not yet stored.
//!
//! The applier folds and commits. Recovery and `verify` fold over the log's tail and read the result, and never
//! commit. What spans pages is made safe by order, not by a transaction: pages, then the mark, then a flush; a crash
//! between them leaves pages that are ahead of the mark, and each page knows by how much.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::ControlFlow;
use std::sync::Arc;

use bincode::{Decode, Encode};

use super::ballot_block::{self, BallotBlock, Stored};
use super::comments::{
    CommentCounts, CommentId, CommentPages, CommentTables, Mark as VoterMark, Queued, Rank, Replies,
};
use super::erasures::{self, ErasureTables};
use super::judge::{BanMove, Transitions};
use super::keys::{self, Table};
use super::lookup;
use super::records::{BansPage, ClipsPage, SeasonsPage, SlotRecord};
use super::sorted::{Closing, FreezeBlock, SortedPages};
use super::timeline::{self, CLIPS_A_TIMELINE, TimelinePage};
use super::totals::{Change, TotalsPage};
use super::void_pages::{self, VoidTables};
use super::voids::Effect;
use super::{Pages, SlotChange};
use crate::codec::{self, Chain, Kind};
use crate::domain::{Clip, ClipNo, Comment, ErasureState, Event, NamedVote, Season, Seq, SlotNo, VoidState, VoterId};
use crate::error::Fault;
use crate::store::Store;

const NAME: &str = "tables";
/// Pages of comments that a step may hold before it has to end: each is at most a few kilobytes, decoded.
const COMMENT_PAGES_MAX: usize = 8_192;
/// Slots whose last block is kept in memory between steps; more are read again.
const TAILS_KEPT: usize = 64;
/// Groups of clips whose last page of minutes is kept in memory between steps, 10 KiB each; more are read again.
const MINUTES_KEPT: usize = 1_024;

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
    totals: BTreeMap<u32, Paged<TotalsPage>>,
    seasons: BTreeMap<u32, Paged<SeasonsPage>>,
    clips: BTreeMap<u32, Paged<ClipsPage>>,
    slots: BTreeMap<u32, Paged<SlotRecord>>,
    bans: BTreeMap<u32, Paged<BansPage>>,
    tails: HashMap<SlotNo, Tail>,
    full: Vec<(SlotNo, BallotBlock)>,
    minutes: HashMap<u32, Paged<TimelinePage>>,
    full_minutes: Vec<(u32, TimelinePage)>,
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

#[derive(Debug)]
struct Paged<T> {
    page: T,
    dirty: bool,
}

/// The end of a slot's blocks.
#[derive(Debug)]
struct Tail {
    block: Option<BallotBlock>,
    dirty: bool,
}

impl Tables {
    /// Over a store; reads the mark.
    pub fn open(store: Arc<dyn Store>) -> Result<Self, Fault> {
        let mark =
            store.get(keys::MARK)?.map(|record| codec::read(NAME, Kind::Mark, keys::MARK, &record)).transpose()?;
        Ok(Self {
            store,
            mark,
            totals: BTreeMap::new(),
            seasons: BTreeMap::new(),
            clips: BTreeMap::new(),
            slots: BTreeMap::new(),
            bans: BTreeMap::new(),
            tails: HashMap::new(),
            full: Vec::new(),
            minutes: HashMap::new(),
            full_minutes: Vec::new(),
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
        // Full blocks before the tails that follow them: a slot's stored blocks never have a gap.
        for (slot, mut block) in self.full.drain(..) {
            store.insert(&keys::ballots(slot, block.head().first), &block.record(slot))?;
        }
        for (slot, tail) in &mut self.tails {
            if let Some(block) = tail.block.as_mut().filter(|_| tail.dirty) {
                store.insert(&keys::ballots(*slot, block.head().first), &block.record(*slot))?;
                tail.dirty = false;
            }
        }
        store_dirty(store, Table::Seasons, Kind::Seasons, &mut self.seasons)?;
        store_dirty(store, Table::Clips, Kind::Clips, &mut self.clips)?;
        store_dirty(store, Table::Slots, Kind::Slot, &mut self.slots)?;
        for (slot, closing) in std::mem::take(&mut self.closings) {
            let key = keys::page(Table::Closings, slot.0);
            store.insert(&key, &codec::record(Kind::Closing, &key, &closing))?;
        }
        store_dirty(store, Table::Bans, Kind::Bans, &mut self.bans)?;
        // Behind the ballots, which readers of a segment count, and before the totals, which a group's first page notes.
        for (group, page) in self.full_minutes.drain(..) {
            store.insert(&keys::timeline(group, page.first), &page.record(group))?;
        }
        for (group, Paged { page, dirty }) in &mut self.minutes {
            if std::mem::take(dirty) {
                store.insert(&keys::timeline(*group, page.first), &page.record(*group))?;
            }
        }
        store_dirty(store, Table::Totals, Kind::Totals, &mut self.totals)?;
        self.voids.store(store)?;
        self.erasures.store(store)?;
        self.comments.store(store)?;
        store.insert(keys::MARK, &codec::record(Kind::Mark, keys::MARK, &mark))?;
        store.flush()?;
        self.mark = Some(mark);
        if self.tails.len() > TAILS_KEPT {
            self.tails.clear();
        }
        if self.minutes.len() > MINUTES_KEPT {
            self.minutes.clear();
        }
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
        self.tails.clear();
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

    /// Puts a clip's stored count of comments right.
    pub fn repair_comment_count(&mut self, clip: ClipNo, count: u64) -> Result<(), Fault> {
        self.comments().repair_count(clip, count)
    }

    /// Every page of counts.
    pub fn each_total(&self, mut visit: impl FnMut(ClipNo, u64, u64)) -> Result<(), Fault> {
        self.each(Table::Totals, Kind::Totals, &self.totals, |number, page: &TotalsPage| {
            page.iter(number).for_each(|(clip, votes, weight)| visit(clip, votes, weight));
        })
    }

    /// Every season, in order.
    pub fn each_season(&self, mut visit: impl FnMut(&Season)) -> Result<(), Fault> {
        self.each(Table::Seasons, Kind::Seasons, &self.seasons, |_, page: &SeasonsPage| {
            page.items.iter().for_each(&mut visit);
        })
    }

    /// Every clip, in order.
    pub fn each_clip(&self, mut visit: impl FnMut(&Clip)) -> Result<(), Fault> {
        self.each(Table::Clips, Kind::Clips, &self.clips, |_, page: &ClipsPage| page.items.iter().for_each(&mut visit))
    }

    /// Every slot, in order.
    pub fn each_slot(&self, mut visit: impl FnMut(&SlotRecord)) -> Result<(), Fault> {
        self.each_read(
            Table::Slots,
            &self.slots,
            |key, record| SlotRecord::read(NAME, key, record),
            |_, slot| visit(slot),
        )
    }

    /// Every voter with bans.
    pub fn each_ban(&self, mut visit: impl FnMut(VoterId, &[BanMove])) -> Result<(), Fault> {
        self.each(Table::Bans, Kind::Bans, &self.bans, |_, page: &BansPage| {
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
        // The newest version of a changed block shadows the stored one.
        let mut changed: BTreeMap<[u8; 13], BallotBlock> = BTreeMap::new();
        let tail = self.tails.get(&slot).filter(|tail| tail.dirty).and_then(|tail| tail.block.as_ref());
        let full = self.full.iter().filter(|(of, _)| *of == slot).map(|(_, block)| block);
        for block in full.chain(tail) {
            changed.insert(keys::ballots(slot, block.head().first), block.clone());
        }
        let (_, to) = keys::ballots_of(slot);
        let mut on = true;
        self.store.scan(&keys::ballots(slot, from), &to, &mut |key, record| {
            let flow = match <[u8; 13]>::try_from(key).ok().and_then(|key| changed.remove(&key)) {
                Some(mut block) => visit(key, &block.record(slot))?,
                None => visit(key, record)?,
            };
            on = flow.is_continue();
            Ok(flow)
        })?;
        for (key, mut block) in changed.into_iter().filter(|(_, block)| block.head().first >= from) {
            if !on {
                break;
            }
            on = visit(&key, &block.record(slot))?.is_continue();
        }
        Ok(())
    }

    /// Every page of minutes, by group and in log order.
    pub fn each_timeline(&self, mut visit: impl FnMut(u32, TimelinePage) -> Result<(), Fault>) -> Result<(), Fault> {
        let changed = self.minutes.iter().filter(|(_, paged)| paged.dirty).map(|(group, paged)| (*group, &paged.page));
        let full = self.full_minutes.iter().map(|(group, page)| (*group, page));
        let mut changed: BTreeMap<(u32, Seq), &TimelinePage> =
            full.chain(changed).map(|(group, page)| ((group, page.first), page)).collect();
        let (from, to) = keys::timelines();
        self.store.scan(&from, &to, &mut |key, record| {
            let page = timeline::read(key, record)?;
            let group = keys::timeline_group(key).expect("it was read");
            while let Some(entry) = changed.first_entry().filter(|entry| *entry.key() < (group, page.first)) {
                let ((group, _), page) = entry.remove_entry();
                visit(group, page.clone())?;
            }
            visit(group, changed.remove(&(group, page.first)).cloned().unwrap_or(page))?;
            Ok(ControlFlow::Continue(()))
        })?;
        changed.into_iter().try_for_each(|((group, _), page)| visit(group, page.clone()))
    }

    /// The head of a slot's last block.
    pub fn last_ballots(&self, slot: SlotNo) -> Result<Option<ballot_block::Head>, Fault> {
        if let Some(tail) = self.tails.get(&slot) {
            return Ok(tail.block.as_ref().map(BallotBlock::head));
        }
        let (from, to) = keys::ballots_of(slot);
        self.store.last_in(&from, &to)?.map(|(key, record)| ballot_block::head(&key, &record)).transpose()
    }

    /// Puts a clip's stored counts right. For `verify --repair` alone; takes effect with the next [`Tables::commit`].
    pub fn repair_total(&mut self, clip: ClipNo, counts: (u64, u64)) -> Result<(), Fault> {
        let paged =
            cached(self.store.as_ref(), Table::Totals, Kind::Totals, &mut self.totals, TotalsPage::number(clip))?;
        paged.page.set(clip, counts);
        paged.dirty = true;
        Ok(())
    }

    /// Makes a group's pages of minutes anew from its ballots, in log order. For `verify --repair` alone: pages that are no longer
    /// needed go at once, the rest takes effect with the next [`Tables::commit`].
    pub fn repair_timeline(&mut self, group: u32, ballots: &[Stored]) -> Result<(), Fault> {
        let (from, to) = keys::timeline_of(group);
        let mut old = Vec::new();
        self.store.scan(&from, &to, &mut |key, _| {
            old.push(key.to_vec());
            Ok(ControlFlow::Continue(()))
        })?;
        self.full_minutes.retain(|(of, _)| *of != group);
        let known = self.minutes.remove(&group).map(|paged| paged.page.first);
        let stored = old.first().map(|key| Seq::from_be_bytes(key[5..].try_into().expect("a key of 13 bytes")));
        let first = [known, stored, ballots.first().map(|ballot| ballot.seq)].into_iter().flatten().min();
        let mut page = TimelinePage::begin(first.unwrap_or(0), [(0, 0); CLIPS_A_TIMELINE as usize]);
        let mut kept = HashSet::new();
        for Stored { seq, at, ballot } in ballots {
            let sign = if matches!(ballot.act, ballot_block::Act::Cast(_)) { 1 } else { -1 };
            let change = Change { votes: sign, weight: sign * i64::from(ballot.weight) };
            if !page.add(*seq, *at, ballot.clip, change) {
                let mut next = TimelinePage::begin(*seq, page.behind()?);
                assert!(next.add(*seq, *at, ballot.clip, change), "an empty page has room");
                kept.insert(keys::timeline(group, page.first).to_vec());
                self.full_minutes.push((group, std::mem::replace(&mut page, next)));
            }
        }
        if !page.segments.is_empty() {
            kept.insert(keys::timeline(group, page.first).to_vec());
            self.minutes.insert(group, Paged { page, dirty: true });
        }
        old.iter().filter(|key| !kept.contains(*key)).try_for_each(|key| self.store.remove(key))
    }

    /// A group's last page of minutes; a new one begins at this sequence, with what its clips have.
    fn minutes_of(&mut self, group: u32, seq: Seq) -> Result<&mut Paged<TimelinePage>, Fault> {
        if !self.minutes.contains_key(&group) {
            let (from, to) = keys::timeline_of(group);
            let page = match self.store.last_in(&from, &to)? {
                Some((key, record)) => timeline::read(&key, &record)?,
                None => TimelinePage::begin(seq, self.totals_of(group)?),
            };
            self.minutes.insert(group, Paged { page, dirty: false });
        }
        Ok(self.minutes.get_mut(&group).expect("put in above"))
    }

    /// What a group's clips have: all of it, where the store was begun by a program that kept no minutes.
    fn totals_of(&mut self, group: u32) -> Result<[(u64, u64); CLIPS_A_TIMELINE as usize], Fault> {
        let mut sums = [(0, 0); CLIPS_A_TIMELINE as usize];
        for (clip, sum) in (group * CLIPS_A_TIMELINE..).map(ClipNo).zip(&mut sums) {
            let number = TotalsPage::number(clip);
            let paged = cached(self.store.as_ref(), Table::Totals, Kind::Totals, &mut self.totals, number)?;
            *sum = paged.page.get(clip);
        }
        Ok(sums)
    }

    fn each<T: Decode<()>>(
        &self,
        table: Table,
        kind: Kind,
        changed: &BTreeMap<u32, Paged<T>>,
        visit: impl FnMut(u32, &T),
    ) -> Result<(), Fault> {
        self.each_read(table, changed, |key, record| codec::read(NAME, kind, key, record), visit)
    }

    fn each_read<T>(
        &self,
        table: Table,
        changed: &BTreeMap<u32, Paged<T>>,
        read: impl Fn(&[u8], &[u8]) -> Result<T, Fault>,
        mut visit: impl FnMut(u32, &T),
    ) -> Result<(), Fault> {
        let (from, to) = keys::pages_of(table);
        let mut new = changed.iter().peekable();
        self.store.scan(&from, &to, &mut |key, record| {
            let number = number_of(key)?;
            while let Some((at, paged)) = new.next_if(|(at, _)| **at < number) {
                visit(*at, &paged.page);
            }
            match new.next_if(|(at, _)| **at == number) {
                Some((_, paged)) => visit(number, &paged.page),
                None => visit(number, &read(key, record)?),
            }
            Ok(ControlFlow::Continue(()))
        })?;
        for (number, paged) in new {
            visit(*number, &paged.page);
        }
        Ok(())
    }
}

fn number_of(key: &[u8]) -> Result<u32, Fault> {
    let number = key.get(1..).and_then(|rest| <[u8; 4]>::try_from(rest).ok()).map(u32::from_be_bytes);
    number.ok_or_else(|| Fault::damaged(NAME, key, "its key has the wrong length"))
}

fn stored<T: Decode<()>>(store: &dyn Store, table: Table, kind: Kind, number: u32) -> Result<Option<T>, Fault> {
    let key = keys::page(table, number);
    store.get(&key)?.map(|record| codec::read(NAME, kind, &key, &record)).transpose()
}

/// The page, from memory, else from the store, else new.
fn cached<'a, T: Decode<()> + Default>(
    store: &dyn Store,
    table: Table,
    kind: Kind,
    pages: &'a mut BTreeMap<u32, Paged<T>>,
    number: u32,
) -> Result<&'a mut Paged<T>, Fault> {
    use std::collections::btree_map::Entry;
    match pages.entry(number) {
        Entry::Occupied(entry) => Ok(entry.into_mut()),
        Entry::Vacant(entry) => {
            let page = stored(store, table, kind, number)?.unwrap_or_default();
            Ok(entry.insert(Paged { page, dirty: false }))
        }
    }
}

fn store_dirty<T: Encode>(
    store: &dyn Store,
    table: Table,
    kind: Kind,
    pages: &mut BTreeMap<u32, Paged<T>>,
) -> Result<(), Fault> {
    for (number, paged) in pages.iter().filter(|(_, paged)| paged.dirty) {
        let key = keys::page(table, *number);
        store.insert(&key, &codec::record(kind, &key, &paged.page))?;
    }
    // Counts of clips that are voted for stay; the rest is small and rare enough to be read again.
    pages.retain(|_, paged| std::mem::take(&mut paged.dirty));
    Ok(())
}

impl Pages for Tables {
    fn ballot(&mut self, slot: SlotNo, entry: Stored) -> Result<(), Fault> {
        if !self.tails.contains_key(&slot) {
            let (from, to) = keys::ballots_of(slot);
            let last = self.store.last_in(&from, &to)?;
            let block = last.map(|(key, record)| BallotBlock::resume(&key, &record)).transpose()?;
            self.tails.insert(slot, Tail { block, dirty: false });
        }
        let tail = self.tails.get_mut(&slot).expect("put in above");
        match &mut tail.block {
            Some(block) if entry.seq <= block.head().last => return Ok(()),
            Some(block) if !block.is_full() => block.append(entry),
            Some(block) => {
                let next = BallotBlock::begin_behind(block, entry);
                let full = std::mem::replace(block, next);
                if tail.dirty {
                    self.full.push((slot, full));
                }
            }
            None => tail.block = Some(BallotBlock::begin(entry)),
        }
        tail.dirty = true;
        Ok(())
    }

    fn minute(&mut self, seq: Seq, at: u64, clip: ClipNo, change: Change) -> Result<(), Fault> {
        let group = timeline::group_of(clip);
        let paged = self.minutes_of(group, seq)?;
        if seq <= paged.page.last {
            return Ok(());
        }
        if !paged.page.add(seq, at, clip, change) {
            let mut next = TimelinePage::begin(seq, paged.page.behind()?);
            assert!(next.add(seq, at, clip, change), "an empty page has room");
            let full = std::mem::replace(&mut paged.page, next);
            let was_dirty = std::mem::replace(&mut paged.dirty, true);
            if was_dirty {
                self.full_minutes.push((group, full));
            }
            return Ok(());
        }
        paged.dirty = true;
        Ok(())
    }

    fn total(&mut self, seq: Seq, clip: ClipNo, change: Change) -> Result<(), Fault> {
        let number = TotalsPage::number(clip);
        let paged = cached(self.store.as_ref(), Table::Totals, Kind::Totals, &mut self.totals, number)?;
        paged.dirty = true;
        paged.page.add(seq, &[(clip, change)])
    }

    fn totals(&mut self, seq: Seq, changes: &[(ClipNo, Change)]) -> Result<(), Fault> {
        // Minutes that begin later would take what is left now for all that their votes came to.
        for (clip, _) in changes {
            self.minutes_of(timeline::group_of(*clip), seq)?.dirty = true;
        }
        // A page takes all of an event's changes at once: the next with the same sequence would be in already.
        for of_page in changes.chunk_by(|(one, _), (next, _)| TotalsPage::number(*one) == TotalsPage::number(*next)) {
            let number = TotalsPage::number(of_page[0].0);
            let paged = cached(self.store.as_ref(), Table::Totals, Kind::Totals, &mut self.totals, number)?;
            paged.dirty = true;
            paged.page.add(seq, of_page)?;
        }
        Ok(())
    }

    fn void(&mut self, seq: Seq, at: u64, event: &Event, effect: &Effect) -> Result<(), Fault> {
        self.voids.take(self.store.as_ref(), seq, at, event, effect)
    }

    fn erasure(&mut self, seq: Seq, at: u64, event: &Event) -> Result<(), Fault> {
        self.erasing.push(self.erasures.take(self.store.as_ref(), seq, at, event)?);
        Ok(())
    }

    fn unname_clips(&mut self, seq: Seq, clips: &[ClipNo], owners: bool) -> Result<(), Fault> {
        let page_of = |clip: &ClipNo| clip.0 / keys::CLIPS_A_PAGE;
        // A page takes all of an event's changes at once: the next with the same sequence would be in already.
        for of_page in clips.chunk_by(|one, next| page_of(one) == page_of(next)) {
            let number = page_of(&of_page[0]);
            let paged = cached(self.store.as_ref(), Table::Clips, Kind::Clips, &mut self.clips, number)?;
            paged.dirty = true;
            paged.page.unname(seq, of_page, owners);
        }
        Ok(())
    }

    fn taken_back(&mut self, seq: Seq, slot: SlotNo, vote: Seq) -> Result<(), Fault> {
        self.voids.take_back(self.store.as_ref(), seq, slot, vote)
    }

    fn season(&mut self, seq: Seq, season: &Season) -> Result<(), Fault> {
        let (number, place) = (season.no.0 / keys::SEASONS_A_PAGE, season.no.0 % keys::SEASONS_A_PAGE);
        let paged = cached(self.store.as_ref(), Table::Seasons, Kind::Seasons, &mut self.seasons, number)?;
        paged.dirty = true;
        paged.page.push(seq, place, season)
    }

    fn slot(&mut self, seq: Seq, at: u64, slot: SlotNo, change: SlotChange) -> Result<(), Fault> {
        if matches!(change, SlotChange::Frozen(_)) {
            self.freezes.push((slot, seq));
        }
        let known = if let Some(paged) = self.slots.remove(&slot.0) {
            Some(paged.page)
        } else {
            let key = keys::page(Table::Slots, slot.0);
            self.store.get(&key)?.map(|record| SlotRecord::read(NAME, &key, &record)).transpose()?
        };
        let floor = self.mark.map_or(0, |mark| mark.seq);
        let page = match (known, change) {
            (Some(mut record), change) => {
                record.change(floor, seq, at, change);
                record
            }
            (None, SlotChange::Created(slot)) => SlotRecord::new(seq, at, slot),
            (None, _) => {
                return Err(Fault::Inconsistent {
                    why: format!("event {seq} changes slot {}, which has no record", slot.0),
                });
            }
        };
        self.moved.push(slot);
        self.slots.insert(slot.0, Paged { page, dirty: true });
        Ok(())
    }

    fn clip(&mut self, seq: Seq, clip: &Clip) -> Result<(), Fault> {
        let (number, place) = (clip.no.0 / keys::CLIPS_A_PAGE, clip.no.0 % keys::CLIPS_A_PAGE);
        let paged = cached(self.store.as_ref(), Table::Clips, Kind::Clips, &mut self.clips, number)?;
        paged.dirty = true;
        paged.page.push(seq, place, clip)
    }

    fn ban(&mut self, voter: VoterId, step: BanMove) -> Result<(), Fault> {
        let floor = self.mark.map_or(0, |mark| mark.seq);
        let paged = cached(self.store.as_ref(), Table::Bans, Kind::Bans, &mut self.bans, keys::bans_page(voter))?;
        paged.dirty = true;
        paged.page.step(floor, voter, step);
        Ok(())
    }

    fn comments(&mut self) -> CommentPages<'_> {
        CommentPages { store: self.store.as_ref(), tables: &mut self.comments }
    }
}
