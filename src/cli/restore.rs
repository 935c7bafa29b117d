//! `restore`: a store of a file of backups; and what it shares with `import`, which makes one too.

use std::io::{self, Write};

use super::Done;
use super::args::Restore;
use super::data::{bar, report};
use crate::engine::{Begun, Building, Start, Verified};
use crate::error::Fault;
use crate::jobs::backup::{FinishedBackup, Piece, Place};

/// Makes a store of a file of backups, or goes on with one.
pub(super) fn run(args: &Restore) -> Result<Done, Fault> {
    let (dir, bar) = (&args.store.data_dir, bar("bytes"));
    // Read twice: first to hold it against its checks.
    bar.set_length(std::fs::metadata(&args.from).map_or(0, |file| file.len()) * 2);
    let tick = &mut |bytes| bar.inc(bytes);
    let backup = FinishedBackup::look(&args.from, tick)?;
    let plan = Begun::new(backup.name(), id(&backup.head.store)?, id(&backup.head.voter_key)?);
    // The file may have grown since: what was read of it is still what it begins with.
    let is_same = |begun: &Begun| (begun.store, begun.voter_key) == (plan.store, plan.voter_key);
    let begun = Begun::read(dir).filter(|begun| is_same(begun) && backup.is_also(&begun.source));
    let mut building = Building::begin(dir, begun.unwrap_or(plan))?;
    say_start(&building, building.place().taken, "records")?;
    building.note(|begun| begun.source = backup.name())?;
    let place = building.place();
    bar.set_length(bar.position() + backup.bytes().saturating_sub(place.bytes));
    let filled = backup.each(place, tick, &mut |piece, place: Place| {
        match piece {
            Piece::Put(tree, key, record) => building.put(tree, key, record)?,
            Piece::Gone(tree, key) => building.remove(tree, key)?,
            Piece::Head(_) | Piece::Secrets(_) | Piece::End(_) => {}
        }
        building.reached(place)
    });
    building.sound(filled)?;
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

/// 16 bytes in hex.
pub(super) fn id(hex: &str) -> Result<[u8; 16], Fault> {
    let number = if hex.len() == 32 { u128::from_str_radix(hex, 16).ok() } else { None };
    number.map(u128::to_be_bytes).ok_or_else(|| Fault::Setting(format!("{hex} is no id of a store")))
}
