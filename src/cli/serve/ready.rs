//! `--print-json`: what runs, as one line for the program that started the server. Secrets are in it with `--memory` alone: they
//! are made for this run, or were given by whoever reads the line.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::{Value, json};

use super::Plan;
use super::banner::{reached, scheme};
use crate::config::Secret;
use crate::engine::Engine;

/// The line, with its end.
pub(super) fn line(plan: &Plan, engine: &Engine, at: SocketAddr, took: Duration) -> String {
    let memory = plan.config.offline.memory;
    let apps: Vec<Value> = plan.apps.iter().map(|app| json!({ "id": app.id, "key": app.key })).collect();
    let mut ready = json!({
        "event": "ready",
        "url": format!("{}://{}", scheme(&plan.config), reached(at)),
        "address": at.to_string(),
        "port": at.port(),
        "pid": std::process::id(),
        "version": env!("CARGO_PKG_VERSION"),
        "memory": memory,
        "ack": engine.settings().ack.as_str(),
        "startMs": f64::from(u32::try_from(took.as_micros()).unwrap_or(u32::MAX)) / 1_000.0,
        "pushApps": apps,
    });
    if memory {
        let (config, secrets) = (&plan.config, &plan.secrets);
        let text = |given: Option<&Secret>, made: &[u8]| {
            String::from_utf8_lossy(given.map_or(made, Secret::bytes)).into_owned()
        };
        ready["jwtSecret"] = text(config.tokens.jwt_secret.as_ref(), &secrets.jwt).into();
        ready["cronSecret"] = text(config.cron_secret.as_ref(), &secrets.cron).into();
        ready["adminToken"] = text(config.admin_token.as_ref(), &secrets.admin).into();
        for (told, app) in ready["pushApps"].as_array_mut().into_iter().flatten().zip(&plan.apps) {
            told["secret"] = text(Some(&app.secret), &[]).into();
        }
    } else {
        ready["dataDir"] = plan.config.store.data_dir.display().to_string().into();
    }
    format!("{ready}\n")
}
