//! What is read of a whole store, running or stopped, and a store made anew from what was read.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use super::Engine;
use super::verify::{Verified, verify_stores};
use crate::codec;
use crate::domain::{Seq, VoterKey};
use crate::error::{Fault, Reject};
use crate::fold::Tables;
use crate::jobs::export::{LogPart, SECRETS, Source, VisitRecord, state_of};
use crate::log::{Appender, Recovered, block, recover};
use crate::store::{Home, sync_dir};

impl Engine {
    /// The tables as they are once everything that was acknowledged is in them, to be exported or backed up while votes go on. One at
    /// a time; it ends with the value, and with the engine. `secrets`: the file of them, for what takes it along.
    pub async fn source(&self, secrets: Vec<u8>) -> Result<Source, Reject> {
        self.drain().await?;
        let core = &self.core;
        // What only waits for somebody to go on with it stands back.
        core.kept.let_go();
        let busy = || Reject::WrongState { state: "exporting", why: "another export or backup is under way".into() };
        let held = core.holds.ask().ok_or_else(busy)?;
        core.progress.nudge();
        let held = held.await.map_err(|_| Reject::StorageFailed)?;
        let log = LogPart::Block(held.mark.block, held.block);
        let writes = held.tables.writes();
        let tables = Tables::open(held.tables).map_err(|why| {
            tracing::error!(%why, "reading the tables failed");
            core.metrics.read_failures.inc();
            Reject::StorageFailed
        })?;
        let store_id = core.home.as_ref().map_or([0; 16], Home::store_id);
        let scratch = core.home.as_ref().map_or_else(std::env::temp_dir, |_| core.settings.data_dir.clone());
        // Each start is an event of its own, so no other run counts writes at this end of the log.
        let (end, key) = (held.mark, core.settings.voter_key.clone());
        let (seq, nth) = (end.seq.to_be_bytes(), writes.to_be_bytes());
        let state = state_of(&[b"running", &store_id, &seq, &end.chain, &nth, &secrets]);
        Ok(Source { tables, end, log, key, store_id, secrets, scratch, state })
    }
}

/// All of a stopped store, its log's tail included. The store stays locked as long as the source lives.
pub fn stopped_source(dir: &Path, key: &VoterKey) -> Result<Source, Fault> {
    let path = dir.join(SECRETS);
    let secrets = fs::read(&path).map_err(|why| Fault::io(format!("reading {}", path.display()), &why))?;
    let home = Home::open_existing(dir)?;
    let Recovered { tables, end, .. } = recover(home.log().as_ref(), home.tables(), block::genesis(home.store_id()))?;
    home.check_not_older(end.seq)?;
    let stored = tables.mark().map_or(0, |mark| mark.block);
    let log = LogPart::From(stored, home.log());
    let (key, store_id) = (key.clone(), home.store_id());
    let state =
        stopped_state(&tables, &[&store_id, &end.seq.to_be_bytes(), &end.chain, &stored.to_be_bytes(), &secrets])?;
    Ok(Source { tables, end, log, key, store_id, secrets, scratch: dir.into(), state })
}

/// The state of a stopped store. No event is written where `verify --repair` puts counts right, so these are part of it.
fn stopped_state(tables: &Tables, parts: &[&[u8]]) -> Result<String, Fault> {
    let mut counts = blake3::Hasher::new();
    tables.each_total(|clip, votes, weight| {
        counts.update(&clip.0.to_be_bytes()).update(&votes.to_be_bytes()).update(&weight.to_be_bytes());
    })?;
    tables.each_comment_count(|clip, count| {
        counts.update(&clip.0.to_be_bytes()).update(&count.to_be_bytes());
    })?;
    Ok(state_of(&[&[b"stopped", counts.finalize().as_bytes().as_slice()], parts].concat()))
}

/// Visits the records of an export's file of them.
pub fn read_records(path: &Path, visit: VisitRecord<'_>) -> Result<(), Fault> {
    #[derive(serde::Deserialize)]
    struct Row<'a> {
        tree: &'a str,
        key: &'a str,
        record: &'a str,
    }
    let doing = |why: std::io::Error| Fault::io(format!("reading {}", path.display()), &why);
    let mut lines = BufReader::with_capacity(256 * 1024, File::open(path).map_err(doing)?);
    let (mut line, mut number) = (String::new(), 0_u64);
    loop {
        line.clear();
        number += 1;
        // A record is at most 64 KiB, in base64.
        if (&mut lines).take(LINE_MAX).read_line(&mut line).map_err(doing)? == 0 {
            return Ok(());
        }
        let wrong = || Fault::Setting(format!("{}, line {number}: no record", path.display()));
        let row: Row<'_> = serde_json::from_str(&line).map_err(|_| wrong())?;
        let tree = ["log", "tables"].into_iter().find(|tree| *tree == row.tree).ok_or_else(wrong)?;
        let digits = row.key.as_bytes().chunks(2).map(|two| u8::from_str_radix(str::from_utf8(two).ok()?, 16).ok());
        let key: Vec<u8> = digits.collect::<Option<_>>().ok_or_else(wrong)?;
        visit(tree, &key, &BASE64_STANDARD.decode(row.record).map_err(|_| wrong())?)?;
    }
}

/// Lines of records are at most so long.
const LINE_MAX: u64 = 256 * 1024;

/// What a directory has while a store is made in it.
const BEGUN: &str = "RESTORING";

/// A store being made from another's records. Its marker is written last, so that nothing takes a part of it for a store.
#[derive(Debug)]
pub struct Building {
    dir: PathBuf,
    home: Home,
    /// Locked until it ends, one way or the other.
    begun: File,
}

impl Building {
    /// Begins in an empty directory, which is made if it is not there, or anew in one where this was cut short.
    pub fn begin(dir: &Path, store_id: [u8; 16], voter_key: [u8; 16]) -> Result<Self, Fault> {
        let doing = |why: std::io::Error| Fault::io(format!("preparing {}", dir.display()), &why);
        let taken = || Fault::Setting(format!("{} is not empty: name a directory that is", dir.display()));
        fs::create_dir_all(dir).map_err(doing)?;
        let path = dir.join(BEGUN);
        if !path.exists() && fs::read_dir(dir).map_err(doing)?.next().is_some() {
            return Err(taken());
        }
        let begun = File::create(&path).map_err(doing)?;
        // Before anything is removed: it may be another's, who is at it.
        begun.try_lock().map_err(|why| match why {
            TryLockError::WouldBlock => {
                Fault::Setting(format!("another restore or import is making a store in {}", dir.display()))
            }
            TryLockError::Error(why) => doing(why),
        })?;
        if dir.join("MARKER").exists() {
            return Err(taken());
        }
        for part in ["log", "tables"].map(|part| dir.join(part)).iter().filter(|part| part.exists()) {
            fs::remove_dir_all(part).map_err(doing)?;
        }
        begun.sync_all().map_err(doing)?;
        sync_dir(dir)?;
        Ok(Self { dir: dir.into(), home: Home::prepare(dir, store_id, voter_key)?, begun })
    }

    /// Puts a record in, if it is whole.
    pub fn put(&self, tree: &'static str, key: &[u8], record: &[u8]) -> Result<(), Fault> {
        codec::check(tree, key, record)?;
        self.store(tree).insert(key, record)
    }

    /// Takes a record out again.
    pub fn remove(&self, tree: &'static str, key: &[u8]) -> Result<(), Fault> {
        self.store(tree).remove(key)
    }

    /// An empty log over empty tables, to be filled with events of their own.
    pub fn appender(&self) -> Result<Appender, Fault> {
        Appender::open(self.home.log(), self.home.tables(), block::genesis(self.home.store_id()))
    }

    fn store(&self, tree: &str) -> std::sync::Arc<dyn crate::store::Store> {
        if tree == "log" { self.home.log() } else { self.home.tables() }
    }

    /// Everything is in: recounts it all, and makes a store of it, if that ends at `sequence` and nothing is wrong.
    pub fn finish(self, sequence: Seq, secrets: &[u8]) -> Result<Verified, Fault> {
        let Self { dir, home, begun: _locked } = self;
        home.tables().flush()?;
        home.log().flush()?;
        let found = verify_stores(home.log().as_ref(), home.tables(), block::genesis(home.store_id()), false)?;
        if found.last != sequence {
            let why = format!("it ends at event {}, and should at {sequence}", found.last);
            return Err(Fault::Inconsistent { why });
        }
        if found.wrong > 0 {
            return Err(Fault::Inconsistent { why: found.problems.join("; ") });
        }
        let path = dir.join(SECRETS);
        let doing = |why: std::io::Error| Fault::io(format!("writing {}", path.display()), &why);
        let options = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&path);
        let mut file = options.map_err(doing)?;
        file.write_all(secrets).and_then(|()| file.sync_all()).map_err(doing)?;
        home.note_clean(sequence)?;
        let begun = dir.join(BEGUN);
        fs::remove_file(&begun).map_err(|why| Fault::io(format!("removing {}", begun.display()), &why))?;
        sync_dir(&dir)?;
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_in_the_making_is_one_programs_and_one_cut_short_is_begun_anew() {
        let scratch = tempfile::tempdir().unwrap();
        let dir = scratch.path().join("store");
        let first = Building::begin(&dir, [1; 16], [2; 16]).unwrap();
        let record = codec::record(codec::Kind::Mark, b"k", &7_u8);
        first.put("tables", b"k", &record).unwrap();
        let why = Building::begin(&dir, [1; 16], [2; 16]).unwrap_err().to_string();
        assert!(why.contains("another"), "{why}");
        assert!(first.home.tables().get(b"k").unwrap().is_some(), "it is left alone");
        drop(first);
        let again = Building::begin(&dir, [1; 16], [2; 16]).unwrap();
        assert!(again.home.tables().get(b"k").unwrap().is_none());
        again.home.note_clean(0).unwrap();
        drop(again);
        let why = Building::begin(&dir, [1; 16], [2; 16]).unwrap_err().to_string();
        assert!(why.contains("not empty"), "a store is never made anew: {why}");
    }
}
