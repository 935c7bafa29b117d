//! The commands that read a whole store: `export` and `backup`. Of a stopped store in a
//! directory, or of a running server by its admin routes. None writes over anything that is there.

use std::io::{self, IsTerminal, Write as _};
use std::path::Path;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use super::args::{Backup, Export, Remote};
use super::{Done, print, results, secrets};
use crate::engine;
use crate::error::Fault;
use crate::jobs::backup::{BackupEnd, BackupFile, Frames, Piece, head_of};
use crate::jobs::export::{Folder, Line, Manifest, Source, Splitter, Table, decode_lines};
use crate::outbound::Outbound;

/// A server that sends nothing for so long is given up.
const PATIENCE: Duration = Duration::from_mins(2);

/// Writes a store's tables, or a locked slot's certificate and ballots.
pub(super) fn export(args: &Export) -> Result<Done, Fault> {
    if args.slot.is_some() {
        return results::export(args);
    }
    let bar = bar("rows");
    let manifest = if let Some(target) = &args.remote.target {
        let format = args.format.extension();
        let path = format!("/api/admin/export?format={format}&pseudonymous={}", u8::from(args.pseudonymous));
        let mut incoming = Incoming { dir: &args.to, folder: None, table: None, whole: None };
        let mut splitter = Splitter::default();
        fetch(target, &args.remote, &path, &mut |bytes| {
            bar.inc(bytes.len() as u64);
            splitter.take(bytes, &mut |line| incoming.take(line))
        })?;
        incoming.finish()?
    } else {
        let source = stopped(&args.store.data_dir)?;
        let mut folder = Folder::open(&args.to, source.manifest(args.format, args.pseudonymous))?;
        bar.set_length(source.estimate()?);
        for table in Table::ALL.into_iter().filter(|table| !(args.pseudonymous && table.tells_secrets())) {
            if folder.has(table) {
                continue;
            }
            let of = folder.manifest().clone();
            folder.put_table(table, |out| {
                source.write(table, &of, out, &mut |rows| {
                    bar.inc(rows);
                    Ok(())
                })
            })?;
        }
        folder.finish()?
    };
    bar.finish_and_clear();
    let rows: u64 = manifest.tables.iter().map(|written| written.rows).sum();
    report(args.json, &manifest, &format!("exported {rows} rows as of event {}", manifest.sequence))
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
        })?;
    }
    bar.finish_and_clear();
    let end = end.ok_or_else(|| Fault::Setting("the server broke off: run it again, it goes on from here".into()))?;
    let BackupEnd { sequence, records, written, gone } = &end;
    let text =
        format!("backed up to event {sequence}: {records} records, {written} of them new or changed, {gone} gone");
    report(args.json, &end, &text)
}

/// A stopped store.
fn stopped(dir: &Path) -> Result<Source, Fault> {
    // The secrets first: they say that there is no store without making one.
    let key = secrets::load(dir)?.voter_key;
    if !secrets::holds_store(dir) {
        return Err(Fault::NoStore(dir.into()));
    }
    engine::stopped_source(dir, &key)
}

/// Gets a path of a server, and has each part of its body taken as it comes.
fn fetch(
    target: &str,
    remote: &Remote,
    path: &str,
    take: &mut dyn FnMut(&Bytes) -> Result<(), Fault>,
) -> Result<(), Fault> {
    let token = remote.admin_token.as_ref().ok_or_else(|| Fault::Setting("--target needs --admin-token".into()))?;
    let bearer = [b"Bearer ", token.bytes()].concat();
    let url = format!("{}{path}", target.strip_suffix('/').unwrap_or(target));
    let request = Request::get(&url).header("authorization", bearer).body(Full::default());
    let request = request.map_err(|why| Fault::Setting(format!("--target {target}: {why}")))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|why| Fault::io("starting the runtime", &why))?;
    runtime.block_on(async { Outbound::new()?.each_part(request, PATIENCE, take).await })
}

/// An export that comes from a server, on its way into a directory. Tables come one behind the other, each through a pipe of
/// its own to the thread that writes it.
struct Incoming<'a> {
    dir: &'a Path,
    folder: Option<Folder>,
    table: Option<Writing>,
    whole: Option<Manifest>,
}

/// The thread that writes a table, the way to it, and whether the table is text.
type Writing = (JoinHandle<Result<Folder, Fault>>, SyncSender<Vec<u8>>, bool);

impl Incoming<'_> {
    fn take(&mut self, line: Line<'_>) -> Result<(), Fault> {
        match line {
            Line::Export(manifest) => self.folder = Some(Folder::open(self.dir, manifest)?),
            Line::Table(table) => {
                self.end_table()?;
                let mut folder = self.folder.take().ok_or_else(broken)?;
                let is_text = table.is_text(folder.manifest().format);
                let (sender, parts) = sync_channel::<Vec<u8>>(8);
                let writing = std::thread::spawn(move || {
                    // Counted by the server; what it says is held against what came, below.
                    if !folder.has(table) {
                        folder.put_table(table, |out| {
                            for part in parts {
                                out.write_all(&part).map_err(|why| Fault::io("writing the export", &why))?;
                            }
                            Ok(0)
                        })?;
                    }
                    Ok(folder)
                });
                self.table = Some((writing, sender, is_text));
            }
            Line::Rows(rows) => {
                // One that hung up has failed, which its end tells; one that is there already takes nothing.
                let (_, sender, is_text) = self.table.as_ref().ok_or_else(broken)?;
                let _ = sender.send(if *is_text { rows.to_vec() } else { decode_lines(rows)? });
            }
            Line::Manifest(manifest) => {
                self.end_table()?;
                self.whole = Some(manifest);
            }
        }
        Ok(())
    }

    fn end_table(&mut self) -> Result<(), Fault> {
        let Some((writing, sender, _)) = self.table.take() else { return Ok(()) };
        drop(sender);
        self.folder = Some(writing.join().map_err(|_| broken())??);
        Ok(())
    }

    fn finish(self) -> Result<Manifest, Fault> {
        let (Some(folder), Some(whole)) = (self.folder, self.whole) else { return Err(broken()) };
        folder.finish_as(whole)
    }
}

fn broken() -> Fault {
    Fault::Setting("the server broke off, and the export is not whole: run it again".into())
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
