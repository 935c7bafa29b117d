//! A server over HTTP: one that is named, or one of its own in a child process on a fresh directory.

use std::path::Path;
use std::time::Duration;

use serde::Deserialize;

use super::load::{Requests, Target, drive};
use super::meter::{Meter, Refusal};
use super::process::Watched;
use super::report::{Cost, Report};
use super::server::Server;
use super::{Minter, Scratch, end, process, secrets, tag};
use crate::cli::args::Bench;
use crate::cli::token::now_s;
use crate::error::Fault;

/// Longer than any run: a token that ends during one would measure refusals.
const TOKENS_FOR_S: u64 = 7 * 86_400;

/// Runs against `--target`, or against a server of its own.
pub(super) async fn run(args: &Bench) -> Result<Report, Fault> {
    if let Some(url) = &args.target {
        let watched = match args.server_pid {
            None => None,
            Some(pid) => {
                let none = || Fault::Setting(format!("--server-pid {pid}: there is no such process in /proc"));
                Some(Watched::new(pid).ok_or_else(none)?)
            }
        };
        return measure(args, &Target::parse(url)?, watched, args.data_dir.as_deref(), false).await;
    }
    let scratch = Scratch::new(args.keep.as_deref())?;
    let program = std::env::current_exe().map_err(|why| Fault::io("finding this program", &why))?;
    let (dir, ack) = (scratch.dir.clone(), args.ack.as_str());
    let starting = tokio::task::spawn_blocking(move || Server::plaudit(&program, &dir, ack, &[])).await;
    let server = starting.map_err(|why| Fault::Setting(format!("starting the server failed: {why}")))??;
    let report = measure(args, server.target(), server.watched(), Some(&scratch.dir), true).await;
    // The server before its directory.
    drop(server);
    report
}

async fn measure(
    args: &Bench,
    target: &Target,
    watched: Option<Watched>,
    dir: Option<&Path>,
    own: bool,
) -> Result<Report, Fault> {
    let clips = open_clips(target).await?;
    let asked = (args.clips as usize).min(clips.len());
    if asked < args.clips as usize {
        tracing::warn!("the open slot has {asked} clips: the votes go to these");
    }
    let clips = clips[..asked].to_vec();
    let ack = ack(target).await?;
    let requests = if args.gets { target.gets("/api/vote") } else { votes(args, target, dir, &clips)? };
    let before_votes = if own && !args.gets { counted(target, &clips).await? } else { 0 };

    let before = watched.and_then(Watched::cpu);
    let (limit, time) = end(args);
    let meter = Meter::start(limit, time, args.rate);
    drive(target, args.connections as usize, &meter, &requests).await?;
    let cpu = watched.and_then(Watched::cpu).zip(before).map(|(after, before)| after.saturating_sub(before));
    let totals = meter.totals();

    let mut findings = Vec::new();
    // A lost connection leaves open whether its vote was taken, so only a run without any can be held to its count.
    if own && !args.gets && !totals.refused.contains_key(&Refusal::Broken) {
        findings.extend(recount(target, &clips, before_votes + totals.succeeded).await?);
    }
    let cost = Cost { cpu, resident: watched.and_then(Watched::resident), disk: dir.map(process::store_bytes) };
    let mode = if args.gets { "http-gets" } else { "http" };
    Ok(Report::new(mode, ack, totals, &cost, findings))
}

fn votes(args: &Bench, target: &Target, dir: Option<&Path>, clips: &[String]) -> Result<Requests, Fault> {
    let secret = match (&args.tokens.jwt_secret, dir) {
        (Some(secret), _) => secret.bytes().to_owned(),
        (None, Some(dir)) => secrets::load(dir)?.jwt,
        (None, None) => {
            return Err(Fault::Setting(
                "votes need tokens: give --jwt-secret, or --data-dir of the server's store".into(),
            ));
        }
    };
    Ok(target.votes(Minter::new(&secret, &args.tokens), clips, tag()?, now_s() + TOKENS_FOR_S))
}

/// The clips of the open slot.
async fn open_clips(target: &Target) -> Result<Vec<String>, Fault> {
    #[derive(Deserialize)]
    struct Clip {
        id: String,
    }
    let clips: Vec<Clip> = json(target, "/api/vote").await?;
    if clips.is_empty() {
        return Err(Fault::Setting("the server has no open slot with clips to vote for".into()));
    }
    Ok(clips.into_iter().map(|clip| clip.id).collect())
}

/// Votes of these clips, as the server counts them now.
async fn counted(target: &Target, clips: &[String]) -> Result<u64, Fault> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Counts {
        vote_count: u64,
    }
    #[derive(Deserialize)]
    struct Answer {
        counts: std::collections::BTreeMap<String, Counts>,
    }
    let mut sum = 0;
    for few in clips.chunks(50) {
        let answer: Answer = json(target, &format!("/api/vote/counts?clipIds={}", few.join(","))).await?;
        sum += answer.counts.values().map(|counts| counts.vote_count).sum::<u64>();
    }
    Ok(sum)
}

/// Waits until the counts are what they must be; with `--ack memory` they follow the answers. Says what is wrong.
async fn recount(target: &Target, clips: &[String], expected: u64) -> Result<Option<String>, Fault> {
    let mut found = 0;
    for _ in 0..50 {
        found = counted(target, clips).await?;
        if found == expected {
            return Ok(None);
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Ok(Some(format!("{expected} votes must be counted and {found} are")))
}

/// The durability mode that the server names in its metrics.
async fn ack(target: &Target) -> Result<Option<String>, Fault> {
    let (status, text) = target.get("/metrics").await?;
    if status != 200 {
        return Ok(None);
    }
    let text = String::from_utf8_lossy(&text);
    let info = text.lines().find(|line| line.starts_with("plaudit_build_info{"));
    Ok(info.and_then(|info| info.split("ack=\"").nth(1)?.split('"').next().map(str::to_owned)))
}

async fn json<T: serde::de::DeserializeOwned>(target: &Target, path: &str) -> Result<T, Fault> {
    let (status, body) = target.get(path).await?;

    if status != 200 {
        let body = String::from_utf8_lossy(&body);
        return Err(Fault::Setting(format!("GET {path} answered {status}: {body}")));
    }
    serde_json::from_slice(&body).map_err(|why| Fault::Setting(format!("GET {path} answered something else: {why}")))
}
