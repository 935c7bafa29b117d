//! What is read of a whole store, running or stopped.

use std::fs;
use std::path::Path;

use super::Engine;
use crate::domain::VoterKey;
use crate::error::{Fault, Reject};
use crate::fold::Tables;
use crate::jobs::export::{LogPart, SECRETS, Source};
use crate::log::{Recovered, block, recover};
use crate::store::Home;

impl Engine {
    /// The tables as they are once everything that was acknowledged is in them, to be exported or backed up while votes go on. One at
    /// a time; it ends with the value, and with the engine. `secrets`: the file of them, for what takes it along.
    pub async fn source(&self, secrets: Vec<u8>) -> Result<Source, Reject> {
        self.drain().await?;
        let core = &self.core;
        let busy = || Reject::WrongState { state: "exporting", why: "another export or backup is under way".into() };
        let held = core.holds.ask().ok_or_else(busy)?;
        core.progress.nudge();
        let held = held.await.map_err(|_| Reject::StorageFailed)?;
        let log = LogPart::Block(held.mark.block, held.block);
        let tables = Tables::open(held.tables).map_err(|why| {
            tracing::error!(%why, "reading the tables failed");
            core.metrics.read_failures.inc();
            Reject::StorageFailed
        })?;
        let store_id = core.home.as_ref().map_or([0; 16], Home::store_id);
        let scratch = core.home.as_ref().map_or_else(std::env::temp_dir, |_| core.settings.data_dir.clone());
        Ok(Source { tables, end: held.mark, log, key: core.settings.voter_key.clone(), store_id, secrets, scratch })
    }
}

/// All of a stopped store, its log's tail included. The store stays locked as long as the source lives.
pub fn stopped_source(dir: &Path, key: &VoterKey) -> Result<Source, Fault> {
    let path = dir.join(SECRETS);
    let secrets = fs::read(&path).map_err(|why| Fault::io(format!("reading {}", path.display()), &why))?;
    let home = Home::open_existing(dir)?;
    let Recovered { tables, end, .. } = recover(home.log().as_ref(), home.tables(), block::genesis(home.store_id()))?;
    home.check_not_older(end.seq)?;
    let log = LogPart::From(tables.mark().map_or(0, |mark| mark.block), home.log());
    Ok(Source { tables, end, log, key: key.clone(), store_id: home.store_id(), secrets, scratch: dir.into() })
}
