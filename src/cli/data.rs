//! The command `backup`, and what the commands that carry a whole store about share: a stopped store in a directory, the way to a
//! running server's admin routes, and reports. None writes over anything that is there.

use std::io::{self, Write as _};
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use serde::Serialize;

use super::args::{Backup, Remote};
use super::bars::bar;
use super::{Done, print, secrets};
use crate::engine;
use crate::error::Fault;
use crate::jobs::backup::{BackupEnd, BackupFile, Frames, Piece, head_of};
use crate::jobs::export::Source;
use crate::outbound::{Cut, Outbound};

/// A server that sends nothing for so long is given up.
const PATIENCE: Duration = Duration::from_mins(2);

/// Adds a backup to a file.
pub(super) fn backup(args: &Backup) -> Result<Done, Fault> {
    // Before the file is made.
    let source = if args.remote.target.is_none() { Some(stopped(&args.store.data_dir)?) } else { None };
    let mut file = BackupFile::open(&args.to)?;
    let bar = bar("bytes");
    let mut end = None;
    let mut take = |piece: Piece<'_>| {
        if let Piece::Coming(bytes) = piece {
            bar.set_length(bytes);
        }
        end = file.take(piece)?.or(end.take());
        Ok(())
    };
    if let Some(source) = source {
        take(Piece::Head(head_of(&source)))?;
        take(Piece::Secrets(&source.secrets))?;
        bar.set_length(source.estimated_bytes()?);
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

pub(super) fn report(json: bool, result: &impl Serialize, text: &str) -> Result<Done, Fault> {
    if json {
        let line = serde_json::to_string(result).expect("our own types always serialise");
        print(&format!("{line}\n"))?;
    } else {
        writeln!(io::stderr(), "{text}").map_err(|why| Fault::io("printing", &why))?;
    }
    Ok(Done::Well)
}
