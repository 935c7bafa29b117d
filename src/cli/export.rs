//! The command `export`: a store's tables into a directory, of a stopped store or of a running server. However it is cut short, the
//! same command goes on with it; while it runs it does so by itself where a connection breaks.
//!
//! Never: takes what came for what was sent. Each table is held against its sender's hash as it comes and when it ends.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use indicatif::ProgressBar;

use super::args::Export;
use super::data::{bar, fetch, report, stopped};
use super::{Done, results};
use crate::error::Fault;
use crate::jobs::export::{
    Begun, Folder, Format, Line, Manifest, Place, RowSink, Splitter, Table, VERSION, Written, decode_lines,
};
use crate::outbound::Cut;

/// So often it asks a server again without having got any further...
const TRIES: u32 = 8;
/// ...after so long at first, and twice as long each time: a minute in all, and a server keeps what it was read of for two.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
/// Pieces of a table between the connection and what checks them.
const PIECES: usize = 8;
/// A state's name is no longer.
const STATE_MAX: usize = 64;

/// Writes a store's tables, or a locked slot's certificate and ballots.
pub(super) fn export(args: &Export) -> Result<Done, Fault> {
    if args.slot.is_some() {
        return results::export(args);
    }
    let bar = bar(if args.remote.target.is_some() { "bytes" } else { "rows" });
    let manifest = match &args.remote.target {
        Some(target) => of_server(args, target, &bar)?,
        None => of_stopped(args, &bar)?,
    };
    bar.finish_and_clear();
    // A server's word: none of its numbers is trusted to be small.
    let rows = manifest.tables.iter().fold(0_u64, |rows, written| rows.saturating_add(written.rows));
    report(args.json, &manifest, &format!("exported {rows} rows as of event {}", manifest.sequence))
}

fn of_stopped(args: &Export, bar: &ProgressBar) -> Result<Manifest, Fault> {
    let source = stopped(&args.store.data_dir)?;
    let begun = Begun::find(&args.to)?;
    let manifest = source.manifest(args.format, args.pseudonymous);
    say_if_anew(&begun, &manifest, &source.state);
    let mut folder = begun.fill(manifest, &source.state)?;
    bar.set_length(source.estimate()?);
    while let Some(table) = folder.next() {
        let of = folder.manifest().clone();
        folder.put_table(table, |out| {
            source.write(table, &of, out, &mut |rows| {
                bar.inc(rows);
                Ok(())
            })
        })?;
    }
    folder.finish()
}

fn say_if_anew(begun: &Begun, manifest: &Manifest, state: &str) {
    if begun.place().is_some() && !begun.is_of(manifest, state) {
        tracing::warn!("the store is not what it was when this export was begun: it begins anew");
    }
}

fn of_server(args: &Export, target: &str, bar: &ProgressBar) -> Result<Manifest, Fault> {
    // Where it was asked to go on last, and how often it had to begin anew: a server that restarts again and again ends it too.
    let (mut tries, mut anew, mut last): (u32, u32, Option<(String, Place)>) = (0, 0, None);
    // Something came, now or before: then it is worth asking again, also where nobody answers for a while.
    let mut came = false;
    loop {
        let begun = Begun::find(&args.to)?;
        begun.check(args.format, args.pseudonymous)?;
        let place = begun.place().map(|(state, place)| (state.to_owned(), place));
        let place = match place {
            // The last table was whole, and the manifest was not there yet.
            Some((_, None)) => return begun.go_on()?.finish(),
            Some((state, Some(place))) => Some((state, place)),
            None => None,
        };
        let is_further = match (&last, &place) {
            (Some((was, _)), Some((is, _))) if was != is => {
                anew += 1;
                false
            }
            (Some((_, was)), Some((_, is))) => is > was,
            (was, is) => was.is_none() && is.is_some(),
        };
        if is_further {
            tries = anew;
        }
        let format = args.format.extension();
        let mut path = format!("/api/admin/export?format={format}&pseudonymous={}", u8::from(args.pseudonymous));
        if let Some((state, Place { table, rows })) = &place {
            path = format!("{path}&state={state}&table={}&rows={rows}", table.name());
        }
        last.clone_from(&place);
        let mut incoming = Incoming::new(begun, place, (args.format, args.pseudonymous));
        let mut splitter = Splitter::default();
        let fetched = fetch(target, &args.remote, &path, &mut |bytes| {
            bar.inc(bytes.len() as u64);
            splitter.take(bytes, &mut |line| incoming.take(line))
        });
        came |= incoming.came;
        let why = match incoming.end(fetched) {
            Ended::Whole(folder) => return folder.finish(),
            Ended::Broken(why) if came => why,
            Ended::Broken(why) | Ended::Failed(why) => return Err(why),
        };
        if tries >= TRIES {
            return Err(Fault::Setting(format!("{why}. The export is not whole: run it again, it goes on from here")));
        }
        let pause = FIRST_PAUSE * 2_u32.pow(tries);
        tries += 1;
        tracing::warn!("{why}: going on with the export in {} ms", pause.as_millis());
        std::thread::sleep(pause);
    }
}

/// An export that comes from a server, on its way into a directory. Tables come one behind the other, each through a pipe of
/// its own to the thread that checks and writes it.
struct Incoming {
    /// What the directory had, until the server says whether it goes on with that.
    begun: Option<Begun>,
    asked: Option<(String, Place)>,
    /// What was asked for: how rows are written, and whether the secrets, names and records are left out.
    form: (Format, bool),
    /// Between two tables.
    folder: Option<Folder>,
    table: Option<Writing>,
    /// Why the last one was not written.
    unwritten: Option<Unwritten>,
    /// The last line came.
    ends: bool,
    /// Something came.
    came: bool,
}

/// The thread that writes a table, the way to it, and whether the table is text.
type Writing = (JoinHandle<Result<Folder, Unwritten>>, SyncSender<Sent>, bool);

/// A part of a table.
enum Sent {
    Bytes(Vec<u8>),
    /// So many rows are whole; the hash of what was sent of the table so far.
    Mark(u64, String),
    End(Written),
}

/// Why a table was not written.
struct Unwritten {
    /// It did not come, or not as it was sent; what came is kept.
    broken: bool,
    why: Fault,
}

/// How an answer ended.
enum Ended {
    Whole(Box<Folder>),
    /// Asking again may help.
    Broken(Fault),
    Failed(Fault),
}

impl Incoming {
    fn new(begun: Begun, asked: Option<(String, Place)>, form: (Format, bool)) -> Self {
        let (folder, table, unwritten) = (None, None, None);
        Self { begun: Some(begun), asked, form, folder, table, unwritten, ends: false, came: false }
    }

    fn take(&mut self, line: Line<'_>) -> Result<(), Fault> {
        self.came = true;
        match line {
            Line::Export { manifest, state, from } => {
                let begun = self.begun.take().ok_or_else(unexpected)?;
                if !self.is_asked_for(&manifest, &state) {
                    return Err(unexpected());
                }
                self.folder = Some(match from {
                    None => {
                        say_if_anew(&begun, &manifest, &state);
                        begun.anew(manifest, &state)?
                    }
                    // No server of ours goes on elsewhere, or in something else.
                    Some(from) if self.asked.as_ref().is_some_and(|asked| *asked == (state.clone(), from)) => {
                        if !begun.is_of(&manifest, &state) {
                            return Err(unexpected());
                        }
                        begun.go_on()?
                    }
                    Some(_) => return Err(unexpected()),
                });
            }
            Line::Table(table) => {
                let folder = self.folder.take().ok_or_else(unexpected)?;
                if self.table.is_some() || folder.next() != Some(table) {
                    return Err(unexpected());
                }
                let is_text = table.is_text(folder.manifest().format);
                let (sender, sent) = sync_channel(PIECES);
                let writing = std::thread::spawn(move || put(folder, table, &sent));
                self.table = Some((writing, sender, is_text));
            }
            Line::Rows(rows) => {
                let is_text = self.table.as_ref().is_some_and(|(_, _, is_text)| *is_text);
                self.send(Sent::Bytes(if is_text { rows.to_vec() } else { decode_lines(rows)? }))?;
            }
            Line::Mark { rows, blake3 } => self.send(Sent::Mark(rows, blake3))?,
            Line::End(written) => {
                self.send(Sent::End(written))?;
                self.end_table()?;
            }
            Line::Manifest(manifest) => {
                let folder = self.folder.as_ref().filter(|folder| folder.next().is_none()).ok_or_else(unexpected)?;
                self.ends = manifest.sequence == folder.manifest().sequence;
            }
        }
        Ok(())
    }

    /// Before any of it is in the directory: another form may show what was to be left out, tables that the server says are whole
    /// would never come, and the state is part of the next request's path.
    fn is_asked_for(&self, manifest: &Manifest, state: &str) -> bool {
        manifest.plaudit_export == VERSION
            && (manifest.format, manifest.pseudonymous) == self.form
            && manifest.tables.is_empty()
            && (1..=STATE_MAX).contains(&state.len())
            && state.bytes().all(|byte| byte.is_ascii_alphanumeric())
    }

    fn send(&mut self, sent: Sent) -> Result<(), Fault> {
        let (_, sender, _) = self.table.as_ref().ok_or_else(unexpected)?;
        // One that hung up has failed, and its end says why.
        if sender.send(sent).is_err() { self.end_table() } else { Ok(()) }
    }

    fn end_table(&mut self) -> Result<(), Fault> {
        let Some((writing, sender, _)) = self.table.take() else { return Ok(()) };
        drop(sender);
        match writing.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)) {
            Ok(folder) => {
                self.folder = Some(folder);
                Ok(())
            }
            Err(unwritten) => {
                let why = unwritten.why.clone();
                self.unwritten = Some(unwritten);
                Err(why)
            }
        }
    }

    /// The answer ended so.
    fn end(mut self, fetched: Result<(), Cut>) -> Ended {
        let cut = match fetched {
            _ if self.ends => None,
            Ok(()) => Some(Ended::Broken(broken())),
            Err(Cut::Broken(why) | Cut::Refused(408 | 409 | 429 | 500..=599, why)) => Some(Ended::Broken(why)),
            Err(Cut::Refused(_, why)) => Some(Ended::Failed(why)),
            Err(Cut::Taking(why)) => Some(match self.unwritten.take() {
                Some(Unwritten { broken: true, why }) => Ended::Broken(why),
                _ => Ended::Failed(why),
            }),
        };
        // It keeps what came; where it can't, that is what has to be said.
        let _ = self.end_table();
        match (self.unwritten, cut, self.folder) {
            (Some(Unwritten { broken: false, why }), ..) => Ended::Failed(why),
            (_, Some(cut), _) => cut,
            (_, None, Some(folder)) => Ended::Whole(Box::new(folder)),
            (_, None, None) => Ended::Broken(broken()),
        }
    }
}

/// Puts a table into a directory as it comes.
fn put(mut folder: Folder, table: Table, sent: &Receiver<Sent>) -> Result<Folder, Unwritten> {
    let mut broken = false;
    match folder.put_table(table, |out| receive(sent, out, &mut broken)) {
        Ok(()) => Ok(folder),
        Err(why) => Err(Unwritten { broken, why }),
    }
}

/// Takes a table until its end came; says how many rows it has. Rows that were checked alone count as sure.
fn receive(sent: &Receiver<Sent>, out: &mut dyn RowSink, is_broken: &mut bool) -> Result<u64, Fault> {
    let writing = |why: std::io::Error| Fault::io("writing the export", &why);
    let (mut hasher, mut is_whole) = (blake3::Hasher::new(), true);
    for part in sent {
        match part {
            Sent::Bytes(bytes) => {
                hasher.update(&bytes);
                out.write_all(&bytes).map_err(writing)?;
            }
            Sent::Mark(rows, blake3) => {
                is_whole = hasher.finalize().to_hex().as_str() == blake3;
                if is_whole {
                    out.write_rows(&[], rows).map_err(writing)?;
                }
            }
            Sent::End(written) => {
                is_whole = (hasher.count(), hasher.finalize().to_hex().as_str()) == (written.bytes, &written.blake3);
                if is_whole {
                    return Ok(written.rows);
                }
            }
        }
        if !is_whole {
            break;
        }
    }
    *is_broken = true;
    Err(if is_whole { broken() } else { Fault::Setting("what came is not what the server sent".into()) })
}

fn broken() -> Fault {
    Fault::Setting("the server broke off".into())
}

fn unexpected() -> Fault {
    Fault::Setting("what came is no export of this version of plaudit".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest() -> Manifest {
        let (chain, store, voter_key) = (String::new(), "one".into(), String::new());
        let (plaudit_export, format, pseudonymous) = (VERSION, Format::Jsonl, true);
        Manifest { plaudit_export, sequence: 1, chain, store, voter_key, format, pseudonymous, tables: Vec::new() }
    }

    /// An answer to whoever asked for a pseudonymous export in JSON lines begins so; whether it was taken.
    fn takes(manifest: Manifest, state: &str) -> bool {
        let scratch = tempfile::tempdir().unwrap();
        let to = scratch.path().join("out");
        let begun = Begun::find(&to).unwrap();
        let mut incoming = Incoming::new(begun, None, (Format::Jsonl, true));
        let taken = incoming.take(Line::Export { manifest, state: state.into(), from: None });
        assert_eq!(to.exists(), taken.is_ok(), "what is refused leaves nothing");
        taken.is_ok()
    }

    #[test]
    fn an_answer_that_is_not_what_was_asked_for_is_refused_before_anything_is_written() {
        assert!(takes(manifest(), "0123abcd"));
        // It would come with the secrets.
        assert!(!takes(Manifest { pseudonymous: false, ..manifest() }, "0123abcd"));
        assert!(!takes(Manifest { format: Format::Csv, ..manifest() }, "0123abcd"));
        assert!(!takes(Manifest { plaudit_export: VERSION + 1, ..manifest() }, "0123abcd"));
        // A table that never comes would count as whole, under whatever name.
        let (file, blake3) = ("../votes".into(), String::new());
        let tables = vec![Written { table: Table::Seasons, file, rows: 0, bytes: 0, blake3 }];
        assert!(!takes(Manifest { tables, ..manifest() }, "0123abcd"));
        for state in ["", "a&table=votes", "a b", &"a".repeat(STATE_MAX + 1)] {
            assert!(!takes(manifest(), state), "{state:?}");
        }
    }
}
