//! The commands that carry a whole store about: `import`, `backup` and `restore`, and what `export` shares with them. Of a stopped store in a
//! directory, or of a running server by its admin routes. None writes over anything that is there.

use std::fs::File;
use std::io::{self, IsTerminal, Write as _};
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use super::args::{Backup, Import, Remote, Restore};
use super::{Done, print, secrets};
use crate::domain::SeasonId;
use crate::engine::{self, Building, Verified};
use crate::error::Fault;
use crate::jobs::backup::{BackupEnd, BackupFile, Frames, Piece, head_of, read_backup};
use crate::jobs::export::{Format, Source, Table, read_manifest};
use crate::jobs::foreign::{Foreign, Taken};
use crate::outbound::{Cut, Outbound};

/// A server that sends nothing for so long is given up.
const PATIENCE: Duration = Duration::from_mins(2);

/// Makes a store of an export.
pub(super) fn import(args: &Import) -> Result<Done, Fault> {
    if args.from.is_file() {
        if args.from.extension().is_some_and(|end| end == Format::Parquet.extension()) {
            let why = "a Parquet file can't be imported: name an export's directory, which holds the records beside its tables, or a CSV file";
            return Err(Fault::Setting(why.into()));
        }
        return import_foreign(args);
    }
    let manifest = read_manifest(&args.from)?;
    if manifest.pseudonymous {
        let why = "a pseudonymous export can't be imported: it has neither the secrets nor the records that a store is made of. \
                   Export without --pseudonymous, or restore a backup";
        return Err(Fault::Setting(why.into()));
    }
    let text = std::fs::read(args.from.join(crate::jobs::export::SECRETS));
    let text = text.map_err(|why| Fault::io("reading the export's secrets", &why))?;
    if args.dry_run {
        return report(args.json, &manifest, &format!("the export as of event {} is whole", manifest.sequence));
    }
    let building = Building::begin(&args.store.data_dir, id(&manifest.store)?, id(&manifest.voter_key)?)?;
    let bar = bar("records");
    let records = manifest.tables.iter().find(|written| written.table == Table::Records);
    let records = records.ok_or_else(|| Fault::Setting("the export has no records".into()))?;
    bar.set_length(records.rows);
    engine::read_records(&args.from.join(&records.file), &mut |tree, key, record| {
        bar.inc(1);
        building.put(tree, key, record)
    })?;
    bar.finish_and_clear();
    let found = building.finish(manifest.sequence, &text)?;
    report(args.json, &manifest, &made(&found))
}

/// Makes a store of another site's tables.
fn import_foreign(args: &Import) -> Result<Done, Fault> {
    let season = SeasonId::new(&args.season).map_err(|why| Fault::Setting(format!("--season: {why}")))?;
    let secrets = secrets::new()?;
    let mut store_id = [0; 16];
    getrandom::fill(&mut store_id)
        .map_err(|why| Fault::Io { doing: "asking the system for randomness".into(), why: why.to_string() })?;
    // First: where it can't be made, nothing is.
    let rejects = File::create_new(&args.rejects);
    let rejects = rejects.map_err(|why| Fault::io(format!("making {}", args.rejects.display()), &why))?;
    let building = if args.dry_run {
        None
    } else {
        Some(Building::begin(&args.store.data_dir, store_id, secrets.voter_key.fingerprint())?)
    };
    let to = building.as_ref().map(Building::appender).transpose()?;
    let columns = args.map.iter().cloned().collect();
    let mut foreign = Foreign::new(season, secrets.voter_key.clone(), columns, to, Box::new(rejects))?;
    foreign.votes(&args.from)?;
    args.comments.as_ref().map_or(Ok(()), |file| foreign.comments(file))?;
    let (taken, last) = foreign.finish()?;
    building.map_or(Ok(()), |building| building.finish(last, &secrets.text).map(drop))?;
    let Taken { slots, clips, votes, comments, rejected } = taken;
    let verb = if args.dry_run { "would take" } else { "took" };
    let rejects = args.rejects.display();
    let text = format!(
        "{verb} {votes} votes and {comments} comments in {slots} slots with {clips} clips; {rejected} rows are in {rejects}"
    );
    report(args.json, &taken, &text)
}

/// Adds a backup to a file.
pub(super) fn backup(args: &Backup) -> Result<Done, Fault> {
    // Before the file is made.
    let source = if args.remote.target.is_none() { Some(stopped(&args.store.data_dir)?) } else { None };
    let mut file = BackupFile::open(&args.to)?;
    let bar = bar("bytes");
    let mut end = None;
    let mut take = |piece: Piece<'_>| {
        end = file.take(piece)?.or(end.take());
        Ok(())
    };
    if let Some(source) = source {
        take(Piece::Head(head_of(&source)))?;
        take(Piece::Secrets(&source.secrets))?;
        let mut records = 0;
        source.each_record(&mut |tree, key, record| {
            records += 1;
            bar.inc(record.len() as u64);
            take(Piece::Put(tree, key, record))
        })?;
        take(Piece::End(BackupEnd { sequence: source.end.seq, records, ..BackupEnd::default() }))?;
    } else if let Some(target) = &args.remote.target {
        let mut frames = Frames::default();
        fetch(target, &args.remote, "/api/admin/backup", &mut |bytes| {
            bar.inc(bytes.len() as u64);
            frames.take(bytes, &mut take)
        })
        .map_err(Cut::why)?;
    }
    bar.finish_and_clear();
    let end = end.ok_or_else(|| Fault::Setting("the server broke off: run it again, it goes on from here".into()))?;
    let BackupEnd { sequence, records, written, gone } = &end;
    let text =
        format!("backed up to event {sequence}: {records} records, {written} of them new or changed, {gone} gone");
    report(args.json, &end, &text)
}

/// Makes a store of a file of backups.
pub(super) fn restore(args: &Restore) -> Result<Done, Fault> {
    let bar = bar("records");
    let (mut building, mut head, mut text) = (None, None, Vec::new());
    let (end, left) = read_backup(&args.from, &mut |piece| {
        bar.inc(1);
        match piece {
            Piece::Head(found) => head = Some(found),
            Piece::Secrets(found) => text = found.to_vec(),
            Piece::End(_) => {}
            Piece::Put(..) | Piece::Gone(..) => {
                if building.is_none() {
                    let head = head.as_ref().ok_or_else(|| Fault::Setting("the backup names no store".into()))?;
                    building = Some(Building::begin(&args.store.data_dir, id(&head.store)?, id(&head.voter_key)?)?);
                }
                let building = building.as_ref().expect("made above");
                match piece {
                    Piece::Put(tree, key, record) => building.put(tree, key, record)?,
                    Piece::Gone(tree, key) => building.remove(tree, key)?,
                    _ => unreachable!("matched above"),
                }
            }
        }
        Ok(())
    })?;
    bar.finish_and_clear();
    let building = building.ok_or_else(|| Fault::Setting("the backup holds nothing".into()))?;
    let found = building.finish(end.sequence, &text)?;
    if let Some(left) = &left {
        tracing::warn!("{left}: what is restored is the backup before it, as of event {}", end.sequence);
    }
    report(args.json, &end, &made(&found))?;
    Ok(if left.is_some() { Done::WithFindings } else { Done::Well })
}

fn made(found: &Verified) -> String {
    let votes: u64 = found.rows.iter().map(|row| row.votes).sum();
    format!("{} clips, {votes} votes, as of event {}: recounted, all is well", found.rows.len(), found.last)
}

/// A stopped store.
pub(super) fn stopped(dir: &Path) -> Result<Source, Fault> {
    // The secrets first: they say that there is no store without making one.
    let key = secrets::load(dir)?.voter_key;
    if !secrets::holds_store(dir) {
        return Err(Fault::NoStore(dir.into()));
    }
    engine::stopped_source(dir, &key)
}

/// Gets a path of a server, and has each part of its body taken as it comes.
pub(super) fn fetch(
    target: &str,
    remote: &Remote,
    path: &str,
    take: &mut dyn FnMut(&Bytes) -> Result<(), Fault>,
) -> Result<(), Cut> {
    let setting = |why: String| Cut::Taking(Fault::Setting(why));
    let token = remote.admin_token.as_ref().ok_or_else(|| setting("--target needs --admin-token".into()))?;
    let bearer = [b"Bearer ", token.bytes()].concat();
    let url = format!("{}{path}", target.strip_suffix('/').unwrap_or(target));
    let request = Request::get(&url).header("authorization", bearer).body(Full::default());
    let request = request.map_err(|why| setting(format!("--target {target}: {why}")))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|why| Cut::Taking(Fault::io("starting the runtime", &why)))?;
    let client = Outbound::new().map_err(Cut::Taking)?;
    runtime.block_on(client.each_part(request, PATIENCE, take))
}

/// 16 bytes in hex.
fn id(hex: &str) -> Result<[u8; 16], Fault> {
    let number = if hex.len() == 32 { u128::from_str_radix(hex, 16).ok() } else { None };
    number.map(u128::to_be_bytes).ok_or_else(|| Fault::Setting(format!("{hex} is no id of a store")))
}

/// A bar on standard error; indicatif hides it where that is no terminal.
pub(super) fn bar(unit: &str) -> ProgressBar {
    if !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = format!("{{elapsed}} [{{wide_bar}}] {{human_pos}}/{{human_len}} {unit}, {{per_sec}}, {{eta}} left");
    ProgressBar::no_length().with_style(ProgressStyle::with_template(&style).expect("the template is a constant"))
}

pub(super) fn report(json: bool, result: &impl Serialize, text: &str) -> Result<Done, Fault> {
    if json {
        let line = serde_json::to_string(result).expect("our own types always serialise");
        print(&format!("{line}\n"))?;
    } else {
        writeln!(io::stderr(), "{text}").map_err(|why| Fault::io("printing", &why))?;
    }
    Ok(Done::Well)
}
