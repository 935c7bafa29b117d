//! `--memory`: a server without a directory, for a site's own tests. It is made by the same steps as any other, over stores in
//! memory, and made again by the same steps at each reset.

use std::sync::Arc;

use super::{Plan, engine_settings};
use crate::clock::{Clock, MovedClock};
use crate::engine::Engine;
use crate::error::Fault;
use crate::http::Testing;
use crate::store::MemoryStore;

/// Bytes that the log may hold: it holds what is not in the tables yet.
const LOG_BYTES: usize = 256 << 20;
/// Bytes that the tables may hold: some ten million votes.
const TABLES_BYTES: usize = 1 << 30;

/// What makes the server, and makes it anew.
pub(super) fn testing(plan: &Arc<Plan>) -> Arc<Testing> {
    let (plan, clock) = (Arc::clone(plan), Arc::<MovedClock>::default());
    Testing::new(Arc::clone(&clock), move |testing| {
        let (plan, clock) = (Arc::clone(&plan), Arc::clone(&clock));
        Box::pin(async move {
            let opening = {
                let settings = engine_settings(&plan.config, plan.secrets.voter_key.clone());
                tokio::task::spawn_blocking(move || {
                    let log = MemoryStore::new("log", LOG_BYTES);
                    let tables = MemoryStore::new("tables", TABLES_BYTES);
                    Engine::over(settings, clock as Arc<dyn Clock>, log, tables)
                })
            };
            let engine = opening.await.map_err(|why| Fault::Setting(format!("opening the store failed: {why}")))??;
            plan.app(engine, Some(testing)).await
        })
    })
}
