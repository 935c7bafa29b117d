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

/// The state of a stopped store. No event is written where `verify --repair` puts counts right, so these are part of it.
fn stopped_state(tables: &Tables, parts: &[&[u8]]) -> Result<String, Fault> {
    let mut counts = blake3::Hasher::new();
    tables.each_total(|clip, votes, weight| {
        counts.update(&clip.0.to_be_bytes()).update(&votes.to_be_bytes()).update(&weight.to_be_bytes());
    })?;
    tables.each_comment_count(|clip, count| {
        counts.update(&clip.0.to_be_bytes()).update(&count.to_be_bytes());
    })?;
    Ok(state_of(&[&[b"stopped", counts.finalize().as_bytes().as_slice()], parts].concat()))
}
