//! `plaudit bench`: load, and what it cost. `engine` drives the engine alone, `http` a server over its sockets with
//! the client in `load`, `fanout` viewers and events; `meter` hands out turns and keeps times, `report` prints.
//!
//! The client and the server that it starts are public, so that the comparison in `benches/` drives both of its sides
//! alike. Never: leaves a store behind that nobody asked to keep.

mod engine;
mod fanout;
mod http;
pub mod load;
pub mod meter;
mod report;
pub mod server;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use tokio::task::JoinSet;

pub use super::process;
pub use super::token::Minter;

use super::Done;
use super::args::Bench;
use super::secrets;
use crate::error::Fault;
use meter::Meter;

/// How long a run may go without an answer before it counts as hung.
const STALLED: Duration = Duration::from_secs(30);

/// Measures, and prints the report.
pub(super) fn run(args: &Bench) -> Result<Done, Fault> {
    process::raise_open_files();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(|why| Fault::io("starting the runtime", &why))?;
    if args.fanout {
        let whole = runtime.block_on(fanout::run(args))?;
        return Ok(if whole { Done::Well } else { Done::WithFindings });
    }
    let report = if args.engine { runtime.block_on(engine::run(args)) } else { runtime.block_on(http::run(args)) }?;
    report.print(args.json)?;
    Ok(if report.is_good() { Done::Well } else { Done::WithFindings })
}

/// When a run ends: after `--votes`, after `--seconds`, or after 10 s when neither is said.
fn end(args: &Bench) -> (Option<u64>, Option<Duration>) {
    let time = match (args.votes, args.seconds) {
        (None, None) => Some(Duration::from_secs(10)),
        (_, seconds) => seconds,
    };
    (args.votes, time)
}

/// Waits for the run's tasks, and shows how far it is. Ends early, and well, on Ctrl-C.
async fn watch(mut tasks: JoinSet<Result<(), Fault>>, meter: &Arc<Meter>) -> Result<(), Fault> {
    let bar = bar(meter);
    let mut tick = tokio::time::interval(Duration::from_millis(200));
    let mut interrupt = std::pin::pin!(tokio::signal::ctrl_c());
    let mut interrupted = false;
    let (mut done, mut since) = (meter.done(), tokio::time::Instant::now());
    let mut failed = None;
    loop {
        tokio::select! {
            ended = tasks.join_next() => match ended {
                None => break,
                Some(ended) => {
                    let ended = ended.map_err(|why| Fault::Setting(format!("the load failed: {why}")))?;
                    failed = failed.or(ended.err());
                }
            },
            _ = tick.tick() => {
                bar.set_position(meter.progress(bar.length()));
                if meter.done() != done {
                    (done, since) = (meter.done(), tokio::time::Instant::now());
                } else if since.elapsed() > STALLED {
                    tasks.abort_all();
                    return Err(Fault::Setting(format!("no answer for {} s: the run was given up", STALLED.as_secs())));
                }
            }
            _ = &mut interrupt, if !interrupted => {
                interrupted = true;
                meter.stop();
            }
        }
    }
    meter.finish();
    bar.finish_and_clear();
    match failed {
        // Some connections may be lost and the rest still tell; without any answer the reason is the result.
        Some(why) if meter.done() == 0 => Err(why),
        _ => Ok(()),
    }
}

/// A bar on standard error; indicatif hides it where that is no terminal.
fn bar(meter: &Meter) -> ProgressBar {
    let (total, unit) = match (meter.limit(), meter.time()) {
        (Some(votes), _) => (votes, ""),
        (None, time) => (time.map_or(0, |time| u64::try_from(time.as_millis()).unwrap_or(u64::MAX)), "ms"),
    };
    let style = format!("{{elapsed}} [{{wide_bar}}] {{pos}}/{{len}} {unit}");
    ProgressBar::new(total).with_style(ProgressStyle::with_template(&style).expect("the template is a constant"))
}

/// The directory of a run's store: one to keep, or one that goes away with this value.
struct Scratch {
    dir: PathBuf,
    keep: bool,
}

impl Scratch {
    /// A fresh directory. The temporary one is on `/var/tmp` unless `TMPDIR` says otherwise, because `/tmp` is memory on
    /// many systems, where a flush costs nothing and a measurement of it means nothing.
    fn new(keep: Option<&Path>) -> Result<Self, Fault> {
        let scratch = match keep {
            Some(dir) if secrets::holds_store(dir) || dir.join("secrets.toml").exists() => {
                return Err(Fault::Setting(format!(
                    "{} holds a store already: --keep needs a fresh directory",
                    dir.display()
                )));
            }
            Some(dir) => Self { dir: dir.to_owned(), keep: true },
            None => {
                let parent = std::env::var_os("TMPDIR").map_or_else(|| PathBuf::from("/var/tmp"), PathBuf::from);
                let parent = if parent.is_dir() { parent } else { std::env::temp_dir() };
                let name = format!("plaudit-bench-{}-{:08x}", std::process::id(), tag()?);
                Self { dir: parent.join(name), keep: false }
            }
        };
        let made = std::fs::create_dir_all(&scratch.dir);
        made.map_err(|why| Fault::io(format!("making {}", scratch.dir.display()), &why))?;
        if process::is_in_memory(&scratch.dir) {
            tracing::warn!("{} is in memory: flushes cost nothing there", scratch.dir.display());
        }
        Ok(scratch)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if self.keep {
            return;
        }
        if let Err(why) = std::fs::remove_dir_all(&self.dir) {
            tracing::warn!("{} stays behind: {why}", self.dir.display());
        }
    }
}

/// Sets a run's voters apart from those of every other run on the same store.
fn tag() -> Result<u32, Fault> {
    getrandom::u32().map_err(|why| Fault::Io { doing: "drawing a number".into(), why: why.to_string() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_temporary_directory_goes_and_a_kept_one_stays() {
        let temporary = Scratch::new(None).unwrap();
        let dir = temporary.dir.clone();
        assert!(dir.is_dir());
        drop(temporary);
        assert!(!dir.exists());

        let parent = tempfile::tempdir().unwrap();
        let dir = parent.path().join("deep/kept");
        drop(Scratch::new(Some(&dir)).unwrap());
        assert!(dir.is_dir());
        std::fs::create_dir(dir.join("log")).unwrap();
        assert!(Scratch::new(Some(&dir)).is_err());
    }
}
