//! What is read of a whole store, running or stopped.

use std::fs;
use std::path::Path;

use super::Engine;
use crate::domain::VoterKey;
use crate::error::{Fault, Reject};
use crate::fold::Tables;
use crate::jobs::export::{LogPart, SECRETS, Source, state_of};
use crate::log::{Recovered, block, recover};
use crate::store::Home;

impl Engine {
    /// The tables as they are once everything that was acknowledged is in them, to be exported or backed up while votes go on. One at
    /// a time; it ends with the value, and with the engine. `secrets`: the file of them, for what takes it along.
    pub async fn source(&self, secrets: Vec<u8>) -> Result<Source, Reject> {
        self.drain().await?;
        let core = &self.core;
        // What only waits for somebody to go on with it stands back.
        core.kept.let_go();
        let busy = || Reject::WrongState { state: "exporting", why: "another export or backup is under way".into() };
        let held = core.holds.ask().ok_or_else(busy)?;
        core.progress.nudge();
        let held = held.await.map_err(|_| Reject::StorageFailed)?;
        let log = LogPart::Block(held.mark.block, held.block);
        let writes = held.tables.writes();
        let tables = Tables::open(held.tables).map_err(|why| {
            tracing::error!(%why, "reading the tables failed");
            core.metrics.read_failures.inc();
            Reject::StorageFailed
        })?;
        let store_id = core.home.as_ref().map_or([0; 16], Home::store_id);
        let scratch = core.home.as_ref().map_or_else(std::env::temp_dir, |_| core.settings.data_dir.clone());
        // Each start is an event of its own, so no other run counts writes at this end of the log.
        let (end, key) = (held.mark, core.settings.voter_key.clone());
        let (seq, nth) = (end.seq.to_be_bytes(), writes.to_be_bytes());
        let state = state_of(&[b"running", &store_id, &seq, &end.chain, &nth, &secrets]);
        Ok(Source { tables, end, log, key, store_id, secrets, scratch, state })
    }
}

/// All of a stopped store, its log's tail included. The store stays locked as long as the source lives.
pub fn stopped_source(dir: &Path, key: &VoterKey) -> Result<Source, Fault> {
    let path = dir.join(SECRETS);
    let secrets = fs::read(&path).map_err(|why| Fault::io(format!("reading {}", path.display()), &why))?;
    let home = Home::open_existing(dir)?;
    let Recovered { tables, end, .. } = recover(home.log().as_ref(), home.tables(), block::genesis(home.store_id()))?;
    home.check_not_older(end.seq)?;
    let stored = tables.mark().map_or(0, |mark| mark.block);
    let log = LogPart::From(stored, home.log());
    let (key, store_id) = (key.clone(), home.store_id());
    let state =
        stopped_state(&tables, &[&store_id, &end.seq.to_be_bytes(), &end.chain, &stored.to_be_bytes(), &secrets])?;
    Ok(Source { tables, end, log, key, store_id, secrets, scratch: dir.into(), state })
}

/// The state of a stopped store. No event is written where `verify --repair` puts counts and timelines right, so these are part of it.
fn stopped_state(tables: &Tables, parts: &[&[u8]]) -> Result<String, Fault> {
    let mut counts = blake3::Hasher::new();
    tables.each_total(|clip, votes, weight| {
        counts.update(&clip.0.to_be_bytes()).update(&votes.to_be_bytes()).update(&weight.to_be_bytes());
    })?;
    tables.each_comment_count(|clip, count| {
        counts.update(&clip.0.to_be_bytes()).update(&count.to_be_bytes());
    })?;
    tables.each_timeline(|group, page| {
        counts.update(&group.to_be_bytes()).update(&page.record(group));
        Ok(())
    })?;
    Ok(state_of(&[&[b"stopped", counts.finalize().as_bytes().as_slice()], parts].concat()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{
        Clip, ClipDraft, ClipId, ClipNo, Event, Season, SeasonId, SeasonNo, Slot, SlotNo, Vote, VoteKind, VoterId,
    };
    use crate::log::Appender;
    use crate::store::FaultyDisk;

    /// What `verify --repair` changes behind an export that was cut short is another state: rows of both would be neither.
    #[test]
    fn a_repair_is_another_state() {
        let disk = FaultyDisk::new(1);
        let (log, stored) = (disk.open("log"), disk.open("tables"));
        let mut appender = Appender::open(log.clone(), stored.clone(), block::genesis([1; 16])).unwrap();
        let (season, slot, clip) = (SeasonNo(0), SlotNo(0), ClipNo(0));
        let (id, draft) = (ClipId::new("c").unwrap(), ClipDraft::default());
        let vote = Vote { voter: VoterId([1; 16]), clip, slot, kind: VoteKind::Standard, weight: 1, day: 19_675 };
        for event in [
            Event::SeasonCreated(Season { no: season, id: SeasonId::new("s").unwrap(), name: "s".into() }),
            Event::SlotCreated(Slot { no: slot, season, position: 1 }),
            Event::ClipAdded(Box::new(Clip { no: clip, slot, id, draft })),
            Event::SlotOpened { slot, ends_at: None, hidden: false },
            Event::Voted(vote),
        ] {
            appender.add(1_700_000_000_000, event).unwrap().unwrap();
        }
        appender.finish().unwrap();
        let recovered = || recover(log.as_ref(), stored.clone(), block::genesis([1; 16])).unwrap();
        let Recovered { mut tables, end, .. } = recovered();
        tables.commit(end).unwrap();
        let state = || stopped_state(&recovered().tables, &[b"part"]).unwrap();
        let before = state();
        assert_eq!(state(), before);
        tables.repair_timeline(0, &[]).unwrap();
        tables.commit(end).unwrap();
        let repaired = state();
        assert_ne!(repaired, before, "a timeline");
        tables.repair_total(clip, (7, 7)).unwrap();
        tables.commit(end).unwrap();
        assert_ne!(state(), repaired, "a count");
    }
}
