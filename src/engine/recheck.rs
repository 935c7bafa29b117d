//! A certificate against a stopped store, and a slot's export from one.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use super::certify::recount_sealed;
use super::editions::Locked;
use super::verify::Verified;
use crate::closed::{SlotNames, SlotPages};
use crate::codec::Chain;
use crate::domain::{Clip, ClipId, ClipNo, SeasonNo};
use crate::error::Fault;
use crate::fold::Tables;
use crate::fold::records::SlotRecord;
use crate::fold::sorted::{Closing, SortedPages};
use crate::log::{Recovered, block, recover};
use crate::merkle::{Certificate, ExportHead, hex};
use crate::store::{Home, Store};

/// What holding a certificate against a store found.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Rechecked {
    /// What is wrong, for people; at most a hundred.
    pub problems: Vec<String>,
    /// How many things are wrong.
    pub wrong: u64,
    /// What could be looked at, and what could not.
    pub notes: Vec<String>,
}

/// Computes a slot's result anew from the store in `dir`, all of it, and names what the certificate has otherwise.
pub fn recheck(dir: &Path, of: &Certificate) -> Result<Rechecked, Fault> {
    let home = Home::open_existing(dir)?;
    let genesis = block::genesis(home.store_id());
    recheck_stores(home.log().as_ref(), home.tables(), genesis, home.store_id(), of)
}

/// The same over two stores.
pub fn recheck_stores(
    log: &dyn Store,
    tables: Arc<dyn Store>,
    genesis: Chain,
    store_id: [u8; 16],
    of: &Certificate,
) -> Result<Rechecked, Fault> {
    let Recovered { tables, .. } = recover(log, tables, genesis)?;
    let mut found = Verified::default();
    let mut notes = Vec::new();
    if of.store != store_id {
        found.note(format!("the store: certified {}, this one is {}", hex(&of.store), hex(&store_id)));
    }
    match Slot::find(&tables, of.season.as_str(), of.slot)? {
        Err(why) => found.note(why),
        Ok(slot) => {
            slot.compare(&tables, store_id, of, &mut found)?;
            notes.push(slot.look_at_chain(log, of, &mut found)?);
            let (record, pages) = (&slot.record, slot.pages);
            let mut counted = BTreeMap::new();
            let (audit, _) = recount_sealed(
                &tables,
                record,
                pages,
                &slot.clips,
                &of.voids,
                &mut found,
                &mut counted,
                &mut |_, _| {},
            )?;
            notes.push(format!("{} ballots were read and hashed", audit.leaves()));
            let (problems, wrong) = audit.against(of);
            let unlisted = wrong - problems.len() as u64;
            for problem in problems {
                found.note(problem);
            }
            found.wrong += unlisted;
        }
    }
    Ok(Rechecked { problems: found.problems, wrong: found.wrong, notes })
}

/// Writes a locked slot's export: its certificate, then its leaves; says how many of these. Names no voter.
pub fn export_slot(dir: &Path, season: &str, position: u32, to: &mut dyn Write) -> Result<u64, Fault> {
    let home = Home::open_existing(dir)?;
    let genesis = block::genesis(home.store_id());
    let Recovered { tables, .. } = recover(home.log().as_ref(), home.tables(), genesis)?;
    let slot = Slot::find(&tables, season, position)?.map_err(Fault::Setting)?;
    let store = tables.store().as_ref();
    let certificate = slot.locked(&tables, home.store_id(), &slot.clip_ids()).newest()?;
    let mut line = |json: String| writeln!(to, "{json}").map_err(|why| Fault::io("writing the export", &why));
    let text = "our own types always serialise";
    line(serde_json::to_string(&ExportHead { certificate }).expect(text))?;
    let mut names = SlotNames::of(store, &slot.record.slot)?;
    SlotPages::new(store, slot.record.slot.no, slot.pages)
        .each(|ballot| line(serde_json::to_string(&names.leaf(store, &ballot)?).expect(text)))?;
    Ok(slot.pages.leaves)
}

/// A locked slot with sorted pages.
struct Slot {
    record: SlotRecord,
    closing: Closing,
    pages: SortedPages,
    /// All that there are.
    clips: Vec<Clip>,
}

impl Slot {
    /// The inner error says for people why there is none.
    fn find(tables: &Tables, season: &str, position: u32) -> Result<Result<Self, String>, Fault> {
        let mut no: Option<SeasonNo> = None;
        tables.each_season(|known| {
            if known.id.as_str() == season {
                no = Some(known.no);
            }
        })?;
        let mut record = None;
        tables.each_slot(|known| {
            if Some(known.slot.season) == no && known.slot.position == position {
                record = Some(known.clone());
            }
        })?;
        let Some(record) = record else {
            return Ok(Err(format!("there is no slot {season}/{position} in this store")));
        };
        let closing = tables.closing(record.slot.no)?;
        let Some((closing, pages)) = closing.and_then(|closing| Some((closing, closing.pages_of(&record)?))) else {
            let state = record.status().as_str();
            let why =
                format!("slot {season}/{position} is {state}, and its ballots aren't sorted: it has no certificate");
            return Ok(Err(why));
        };
        let mut clips = Vec::new();
        tables.each_clip(|clip| clips.push(clip.clone()))?;
        Ok(Ok(Self { record, closing, pages, clips }))
    }

    fn locked<'a>(&'a self, tables: &'a Tables, store_id: [u8; 16], clips: &'a [(ClipNo, ClipId)]) -> Locked<'a> {
        Locked { tables, store_id, record: &self.record, closing: self.closing, pages: self.pages, clips }
    }

    fn clip_ids(&self) -> Vec<(ClipNo, ClipId)> {
        let own = self.clips.iter().filter(|clip| clip.slot == self.record.slot.no);
        own.map(|clip| (clip.no, clip.id.clone())).collect()
    }

    /// What the records say without a ballot being read.
    fn compare(
        &self,
        tables: &Tables,
        store_id: [u8; 16],
        of: &Certificate,
        found: &mut Verified,
    ) -> Result<(), Fault> {
        let freeze = self.closing.freeze;
        if of.sequence != freeze {
            found.note(format!("N: certified {}, the slot froze at {freeze}", of.sequence));
        }
        let ids = self.clip_ids();
        if !of.clips.iter().map(|clip| &clip.clip_id).eq(ids.iter().map(|(_, id)| id)) {
            found.note("the certificate's clips are not the slot's, in their order".to_owned());
        }
        // Of the same number: an older one stays true of its time.
        let stored = self.locked(tables, store_id, &ids).nth(of.number)?;
        let Some(stored) = stored.filter(|stored| stored.number == of.number) else {
            found.note(format!("the number: the store has no certificate {} of this slot", of.number));
            return Ok(());
        };
        if stored.winner_clip_id != of.winner_clip_id {
            let name = |id: &Option<ClipId>| id.as_ref().map_or_else(|| "none".to_owned(), ToString::to_string);
            let (certified, stored) = (name(&of.winner_clip_id), name(&stored.winner_clip_id));
            found.note(format!("the winner: certified {certified}, the store has {stored}"));
        }
        if stored.voids != of.voids {
            let (certified, stored) = (of.voids.len(), stored.voids.len());
            found.note(format!(
                "the voids: certified are {certified} leaves under one, the store has {stored}, or others"
            ));
        }
        if (stored.void, stored.previous) != (of.void, of.previous) {
            found.note("the void that it names, or the certificate before it, is not the store's".to_owned());
        }
        Ok(())
    }

    /// The chain's head at the freeze; says what it could be held against.
    fn look_at_chain(&self, log: &dyn Store, of: &Certificate, found: &mut Verified) -> Result<String, Fault> {
        let kept = self.closing.block;
        let certified = of.chain.map(|chain| (chain.first, chain.last, chain.hash));
        if certified != kept.map(|block| (block.first, block.last, block.chain)) {
            let said = |block: Option<(u64, u64, Chain)>| {
                block.map_or_else(
                    || "none".to_owned(),
                    |(first, last, hash)| format!("{} of events {first}–{last}", hex(&hash)),
                )
            };
            let kept = said(kept.map(|block| (block.first, block.last, block.chain)));
            found.note(format!("the chain's head at N: certified {}, the slot's record has {kept}", said(certified)));
        }
        let Some(kept) = kept else { return Ok("the chain's head at N was not kept when this slot froze".to_owned()) };
        let key = block::key(kept.first);
        let Some(record) = log.get(&key)? else {
            return Ok(
                "the log has dropped the block that holds N: the chain's head there was compared with what the slot's \
                       record keeps, and can't be recomputed"
                    .to_owned(),
            );
        };
        let link = block::read(&key, &record, |_| Ok(()))?;
        if link.chain != kept.chain {
            found.note("the chain's head at N: the log's block has another hash than the slot's record".to_owned());
        }
        Ok("the log still holds the block that holds N: the chain's head there was recomputed".to_owned())
    }
}
