//! What an event does to the tables, each table by its own rule.
//!
//! Each page or block skips what it contains already, so folding a part of the log again is harmless. Never: a write to the store,
//! which is the commit's, or a decision about an event, which is the judge's.

use super::{NAME, Tables};
use crate::domain::{Clip, ClipNo, Event, Season, Seq, SlotNo, VoterId};
use crate::error::Fault;
use crate::fold::ballot_block::Stored;
use crate::fold::comments::CommentPages;
use crate::fold::judge::BanMove;
use crate::fold::keys::{self, Table};
use crate::fold::records::SlotRecord;
use crate::fold::timeline;
use crate::fold::totals::{Change, TotalsPage};
use crate::fold::voids::Effect;
use crate::fold::{Pages, SlotChange};

impl Pages for Tables {
    fn ballot(&mut self, slot: SlotNo, entry: Stored) -> Result<(), Fault> {
        self.blocks.append(self.store.as_ref(), slot, entry)
    }

    fn minute(&mut self, seq: Seq, at: u64, clip: ClipNo, change: Change) -> Result<(), Fault> {
        self.minutes.add(self.store.as_ref(), &mut self.totals, (seq, at), clip, change)
    }

    fn total(&mut self, seq: Seq, clip: ClipNo, change: Change) -> Result<(), Fault> {
        self.totals.change(self.store.as_ref(), TotalsPage::number(clip))?.add(seq, &[(clip, change)])
    }

    fn totals(&mut self, seq: Seq, changes: &[(ClipNo, Change)]) -> Result<(), Fault> {
        // Minutes that begin later would take what is left now for all that their votes came to.
        for (clip, _) in changes {
            self.minutes.begin(self.store.as_ref(), &mut self.totals, timeline::group_of(*clip), seq)?;
        }
        // A page takes all of an event's changes at once: the next with the same sequence would be in already.
        for of_page in changes.chunk_by(|(one, _), (next, _)| TotalsPage::number(*one) == TotalsPage::number(*next)) {
            let number = TotalsPage::number(of_page[0].0);
            self.totals.change(self.store.as_ref(), number)?.add(seq, of_page)?;
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
            self.clips.change(self.store.as_ref(), number)?.unname(seq, of_page, owners);
        }
        Ok(())
    }

    fn taken_back(&mut self, seq: Seq, slot: SlotNo, vote: Seq) -> Result<(), Fault> {
        self.voids.take_back(self.store.as_ref(), seq, slot, vote)
    }

    fn season(&mut self, seq: Seq, season: &Season) -> Result<(), Fault> {
        let (number, place) = (season.no.0 / keys::SEASONS_A_PAGE, season.no.0 % keys::SEASONS_A_PAGE);
        self.seasons.change(self.store.as_ref(), number)?.push(seq, place, season)
    }

    fn slot(&mut self, seq: Seq, at: u64, slot: SlotNo, change: SlotChange) -> Result<(), Fault> {
        if matches!(change, SlotChange::Frozen(_)) {
            self.freezes.push((slot, seq));
        }
        let known = if let Some(record) = self.slots.take(slot.0) {
            Some(record)
        } else {
            let key = keys::page(Table::Slots, slot.0);
            self.store.get(&key)?.map(|record| SlotRecord::read(NAME, &key, &record)).transpose()?
        };
        let floor = self.mark.map_or(0, |mark| mark.seq);
        let record = match (known, change) {
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
        self.slots.put(slot.0, record);
        Ok(())
    }

    fn clip(&mut self, seq: Seq, clip: &Clip) -> Result<(), Fault> {
        let (number, place) = (clip.no.0 / keys::CLIPS_A_PAGE, clip.no.0 % keys::CLIPS_A_PAGE);
        self.clips.change(self.store.as_ref(), number)?.push(seq, place, clip)
    }

    fn ban(&mut self, voter: VoterId, step: BanMove) -> Result<(), Fault> {
        let floor = self.mark.map_or(0, |mark| mark.seq);
        self.bans.change(self.store.as_ref(), keys::bans_page(voter))?.step(floor, voter, step);
        Ok(())
    }

    fn comments(&mut self) -> CommentPages<'_> {
        CommentPages { store: self.store.as_ref(), tables: &mut self.comments }
    }
}
