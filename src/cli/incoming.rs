//! An export as it comes from a server: each table is checked as it is sent, and written by a thread of its own.
//!
//! Never: takes what came for what was sent, or anything else than what was asked for.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use indicatif::ProgressBar;

use super::bars::Rows;
use super::export::say_if_anew;
use crate::error::Fault;
use crate::jobs::export::{
    Begun, Folder, Format, Line, Manifest, Place, RowSink, Table, VERSION, Written, decode_lines,
};
use crate::outbound::Cut;

/// Pieces of a table between the connection and what checks them.
const PIECES: usize = 8;
/// A state's name is no longer.
const STATE_MAX: usize = 64;

/// An export that comes from a server, on its way into a directory. Tables come one behind the other, each through a pipe of
/// its own to the thread that checks and writes it.
pub(super) struct Incoming<'a> {
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
    pub(super) came: bool,
    bar: &'a ProgressBar,
    rows: Option<Rows>,
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
pub(super) enum Ended {
    Whole(Box<Folder>),
    /// Asking again may help.
    Broken(Fault),
    Failed(Fault),
}

impl<'a> Incoming<'a> {
    pub(super) fn new(
        begun: Begun,
        asked: Option<(String, Place)>,
        form: (Format, bool),
        bar: &'a ProgressBar,
    ) -> Self {
        let (folder, table, unwritten) = (None, None, None);
        Self { begun: Some(begun), asked, form, folder, table, unwritten, ends: false, came: false, bar, rows: None }
    }

    pub(super) fn take(&mut self, line: Line<'_>) -> Result<(), Fault> {
        self.came = true;
        match line {
            Line::Export { manifest, state, about, from } => {
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
                let whole = self.folder.as_ref().map_or(&[][..], |folder| &folder.manifest().tables);
                self.rows = Some(Rows::begin(self.bar, about, whole));
            }
            Line::Table(table) => {
                let folder = self.folder.take().ok_or_else(unexpected)?;
                if self.table.is_some() || folder.next() != Some(table) {
                    return Err(unexpected());
                }
                if let Some(rows) = &mut self.rows {
                    rows.table(table);
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
            Line::Mark { rows, blake3 } => {
                if let Some(of) = &self.rows {
                    of.at(rows);
                }
                self.send(Sent::Mark(rows, blake3))?;
            }
            Line::End(written) => {
                if let Some(rows) = &mut self.rows {
                    rows.ended(written.rows);
                }
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
    pub(super) fn end(mut self, fetched: Result<(), Cut>) -> Ended {
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
        let bar = ProgressBar::hidden();
        let mut incoming = Incoming::new(begun, None, (Format::Jsonl, true), &bar);
        let taken = incoming.take(Line::Export { manifest, state: state.into(), about: 0, from: None });
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
