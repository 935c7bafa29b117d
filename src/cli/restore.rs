//! `restore`: a store of a file of backups; and what it shares with `import`, which makes one too.

use std::io::{self, Write};

use super::Done;
use super::args::Restore;
use super::bars::bar;
use super::data::report;
use crate::engine::{Begun, Building, Start, Verified};
use crate::error::Fault;
use crate::jobs::backup::FinishedBackup;

/// Makes a store of a file of backups, or goes on with one.
pub(super) fn run(args: &Restore) -> Result<Done, Fault> {
    let (dir, bar) = (&args.store.data_dir, bar("bytes"));
    // Read twice: first to hold it against its checks.
    bar.set_length(std::fs::metadata(&args.from).map_or(0, |file| file.len()) * 2);
    let tick = &mut |bytes| bar.inc(bytes);
    let backup = FinishedBackup::look(&args.from, tick)?;
    let mut building = Building::begin(dir, Begun::of_backup(dir, &backup)?)?;
    let place = building.place();
    say_start(&building, place.taken, "records")?;
    bar.set_length(bar.position() + backup.bytes().saturating_sub(place.bytes));
    building.take_backup(&backup, tick)?;
    bar.finish_and_clear();
    let end = &backup.end;
    let found = building.finish(end.sequence, Some(end.records), &backup.secrets)?;
    if let Some(left) = &backup.left {
        tracing::warn!("{left}: what is restored is the backup before it, as of event {}", end.sequence);
    }
    report(args.json, end, &made(&found))?;
    Ok(if backup.left.is_some() { Done::WithFindings } else { Done::Well })
}

/// Says on standard error how a making began, unless it is the ordinary way.
pub(super) fn say_start(building: &Building, taken: u64, what: &str) -> Result<(), Fault> {
    let text = match building.start() {
        Start::Fresh => return Ok(()),
        Start::GoesOn => format!("going on behind {taken} {what}"),
        Start::Anew => "what was begun there can't be gone on with, or is of something else: beginning anew".to_owned(),
    };
    writeln!(io::stderr(), "{text}").map_err(|why| Fault::io("printing", &why))
}

/// What was made of it, for people.
pub(super) fn made(found: &Verified) -> String {
    let votes: u64 = found.rows.iter().map(|row| row.votes).sum();
    format!("{} clips, {votes} votes, as of event {}: recounted, all is well", found.rows.len(), found.last)
}
