//! Single records, read from a store: for those who look at a slot while the applier folds.

use super::keys::{self, Table};
use super::records::{ClipsPage, SeasonsPage, SlotRecord};
use super::sorted::{Closing, SortedPages};
use crate::codec::{self, Kind};
use crate::domain::{ClipId, ClipNo, SeasonId, SeasonNo, Seq, SlotNo};
use crate::error::Fault;
use crate::store::Store;

const NAME: &str = "tables";

/// A slot's life, as far as it is stored.
pub fn slot(store: &dyn Store, slot: SlotNo) -> Result<Option<SlotRecord>, Fault> {
    let key = keys::page(Table::Slots, slot.0);
    store.get(&key)?.map(|record| SlotRecord::read(NAME, &key, &record)).transpose()
}

/// How a slot closed; `None` for one that never froze, or froze before this was kept.
pub fn closing(store: &dyn Store, slot: SlotNo) -> Result<Option<Closing>, Fault> {
    let key = keys::page(Table::Closings, slot.0);
    store.get(&key)?.map(|record| codec::read(NAME, Kind::Closing, &key, &record)).transpose()
}

/// A locked slot's freeze, and the pages that stand for its blocks from then on. Asked behind a reading of the blocks, `None` says
/// that none had gone: they go once this is stored.
pub fn sealed(store: &dyn Store, of: SlotNo) -> Result<Option<(Seq, SortedPages)>, Fault> {
    let Some(record) = slot(store, of)? else { return Ok(None) };
    let Some(closing) = closing(store, of)? else { return Ok(None) };
    Ok(closing.pages_of(&record).map(|pages| (closing.freeze, pages)))
}

/// A season's id.
pub fn season_id(store: &dyn Store, season: SeasonNo) -> Result<SeasonId, Fault> {
    let key = keys::page(Table::Seasons, season.0 / keys::SEASONS_A_PAGE);
    let record = store.get(&key)?;
    let page: Option<SeasonsPage> = record.map(|record| codec::read(NAME, Kind::Seasons, &key, &record)).transpose()?;
    let found = page.and_then(|page| page.items.get((season.0 % keys::SEASONS_A_PAGE) as usize).cloned());
    found.map(|season| season.id).ok_or_else(|| missing("season", season.0))
}

/// A clip's id.
pub fn clip_id(store: &dyn Store, clip: ClipNo) -> Result<ClipId, Fault> {
    let key = keys::page(Table::Clips, clip.0 / keys::CLIPS_A_PAGE);
    let record = store.get(&key)?;
    let page: Option<ClipsPage> = record.map(|record| codec::read(NAME, Kind::Clips, &key, &record)).transpose()?;
    let found = page.and_then(|page| page.items.get((clip.0 % keys::CLIPS_A_PAGE) as usize).cloned());
    found.map(|clip| clip.id).ok_or_else(|| missing("clip", clip.0))
}

fn missing(what: &str, number: u32) -> Fault {
    Fault::Inconsistent { why: format!("{what} number {number} is named, and its record is not there") }
}
