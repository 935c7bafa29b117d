//! A store made of another's records, or of events of its own, in an empty directory. It is gone on with where it was cut short, and
//! never half done: everything is recounted before its marker is written, so that nothing takes a part of it for a store.

mod begun;
mod pace;
mod records;
mod sources;
#[cfg(test)]
mod tests;

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::ops::ControlFlow;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use begun::Begun;

use super::verify::{Verified, verify_stores};
use crate::codec;
use crate::domain::Seq;
use crate::error::Fault;
use crate::jobs::backup::Place;
use crate::jobs::export::SECRETS;
use crate::log::{Appender, block};
use crate::store::{Home, Marker, Store, sync_dir};
use begun::{Found, Held, not_empty};
use pace::Pace;

/// So many bytes of records are taken between two flushes, or more where flushes are slow: a run that is cut short does these again.
const EVERY: usize = 8 << 20;
/// What a record is charged beside its bytes.
const RECORD_COST: usize = 64;

/// How a making began.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Start {
    /// In an empty directory.
    Fresh,
    /// Where the same one was cut short.
    GoesOn,
    /// From the front, in the place of what was begun there and could not be gone on with.
    Anew,
}

/// A store being made.
#[derive(Debug)]
pub struct Building {
    dir: PathBuf,
    home: Home,
    held: Held,
    begun: Begun,
    start: Start,
    filling: Filling,
}

impl Building {
    /// Begins in an empty directory, which is made if it is not there. `plan` is what [`Begun::read`] found there, to go on with it from
    /// where it is by now; or another, to begin anew where something was begun.
    pub fn begin(dir: &Path, mut plan: Begun) -> Result<Self, Fault> {
        let (mut held, found) = Held::take(dir)?;
        if dir.join(Marker::FILE).exists() {
            // It was killed at the very end.
            held.end()?;
            return Err(not_empty(dir));
        }
        let start = match found {
            Found::Nothing => Start::Fresh,
            Found::Begun(begun) if begun.is_as(&plan) => {
                plan = *begun;
                Start::GoesOn
            }
            Found::Begun(_) | Found::Unreadable => Start::Anew,
        };
        if start != Start::GoesOn {
            // IMPORTANT: in this order. A crash between any two of these leaves nothing that is gone on with, and so neither
            // records of another source in front of a place, nor a place without the records in front of it.
            held.write(None)?;
            for part in ["log", "tables"].map(|part| dir.join(part)).iter().filter(|part| part.exists()) {
                fs::remove_dir_all(part).map_err(|why| Fault::io(format!("removing {}", part.display()), &why))?;
            }
            sync_dir(dir)?;
            plan.place = Place::default();
            held.write(Some(&plan))?;
        }
        let home = Home::prepare(dir, plan.store, plan.voter_key).map_err(|why| match why {
            Fault::Storage { tree, doing, why } if start == Start::GoesOn => {
                let dir = dir.display();
                let why =
                    format!("{why}; once its disk is well and has room this goes on, or begins anew in an empty {dir}");
                Fault::Storage { tree, doing, why }
            }
            other => other,
        })?;
        let filling = Filling { log: home.log(), tables: home.tables(), since: 0, every: EVERY, pace: Pace::new() };
        Ok(Self { dir: dir.into(), home, held, begun: plan, start, filling })
    }

    /// How it began.
    pub fn start(&self) -> Start {
        self.start
    }

    /// Where the source is to be gone on with.
    pub fn place(&self) -> Place {
        self.begun.place
    }

    /// Puts a record in, if it is whole.
    pub fn put(&mut self, tree: &'static str, key: &[u8], record: &[u8]) -> Result<(), Fault> {
        self.filling.put(tree, key, record)
    }

    /// Takes a record out again.
    pub fn remove(&mut self, tree: &'static str, key: &[u8]) -> Result<(), Fault> {
        self.filling.remove(tree, key)
    }

    /// Everything in front of a place of the source was put in, and nothing behind it: now and then that is made sure of, and noted.
    pub fn reached(&mut self, place: Place) -> Result<(), Fault> {
        let (begun, held) = (&mut self.begun, &mut self.held);
        self.filling.reached(place, &mut |place| {
            begun.place = place;
            held.write(Some(begun))
        })
    }

    /// All up to an event of the appender's is on the disk: now and then that is noted.
    pub fn kept(&mut self, last: Seq) -> Result<(), Fault> {
        if !self.filling.pace.is_due() {
            return Ok(());
        }
        self.begun.place.taken = last;
        let (begun, held) = (&self.begun, &mut self.held);
        self.filling.pace.spend(|| held.write(Some(begun)))
    }

    /// Notes a change of what is kept beside the place.
    pub fn note(&mut self, change: impl FnOnce(&mut Begun)) -> Result<(), Fault> {
        let mut begun = self.begun.clone();
        change(&mut begun);
        if begun != self.begun {
            self.held.write(Some(&begun))?;
            self.begun = begun;
        }
        Ok(())
    }

    /// A log over tables, to be filled with events of their own, which are given from the first on: those that are there are not
    /// added again.
    pub fn appender(&mut self) -> Result<Appender, Fault> {
        let (log, tables) = (self.home.log(), self.home.tables());
        let opened = Appender::open(log, tables, block::genesis(self.home.store_id())).and_then(Appender::from_first);
        let opened = opened.and_then(|appender| match self.begun.place.taken {
            taken if appender.last() < taken => Err(Fault::Inconsistent {
                why: format!("its log ends at event {}, and held {taken} on the disk", appender.last()),
            }),
            _ => Ok(appender),
        });
        self.sound(opened)
    }

    /// What a step came to. One that says that source, place and stores don't fit together leaves nothing to go on with: the next
    /// run begins anew, and is not stuck where this one was. One that says that the disk failed leaves everything.
    pub fn sound<T>(&mut self, came: Result<T, Fault>) -> Result<T, Fault> {
        if let Err(Fault::Inconsistent { .. } | Fault::Damaged { .. } | Fault::Setting(_)) = &came {
            self.held.write(None)?;
        }
        came
    }

    /// Everything is in: recounts it all, and makes a store of it, if that ends at `sequence`, has as many records, and nothing is wrong.
    pub fn finish(mut self, sequence: Seq, records: Option<u64>, secrets: &[u8]) -> Result<Verified, Fault> {
        self.filling.flush()?;
        let found = self.recount(sequence, records);
        let found = self.sound(found)?;
        let Self { dir, home, held, .. } = self;
        let path = dir.join(SECRETS);
        let doing = |why: std::io::Error| Fault::io(format!("writing {}", path.display()), &why);
        let options = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&path);
        let mut file = options.map_err(doing)?;
        file.write_all(secrets).and_then(|()| file.sync_all()).map_err(doing)?;
        home.note_clean(sequence)?;
        held.end()?;
        Ok(found)
    }

    fn recount(&self, sequence: Seq, records: Option<u64>) -> Result<Verified, Fault> {
        let genesis = block::genesis(self.home.store_id());
        let found = verify_stores(self.home.log().as_ref(), self.home.tables(), genesis, false)?;
        if found.last != sequence {
            let why = format!("it ends at event {}, and should at {sequence}", found.last);
            return Err(Fault::Inconsistent { why });
        }
        if found.wrong > 0 {
            return Err(Fault::Inconsistent { why: found.problems.join("; ") });
        }
        // A recount does not miss every record: some are looked at once they are there.
        let held = self.filling.records()?;
        match records.filter(|records| *records != held) {
            Some(records) => Err(Fault::Inconsistent { why: format!("it has {held} records, and should {records}") }),
            None => Ok(found),
        }
    }
}

/// Records on their way into both stores.
#[derive(Debug)]
struct Filling {
    log: Arc<dyn Store>,
    tables: Arc<dyn Store>,
    /// Bytes since the last flush.
    since: usize,
    every: usize,
    pace: Pace,
}

impl Filling {
    fn put(&mut self, tree: &'static str, key: &[u8], record: &[u8]) -> Result<(), Fault> {
        codec::check(tree, key, record)?;
        self.since += RECORD_COST + key.len() + record.len();
        self.store(tree).insert(key, record)
    }

    fn remove(&mut self, tree: &'static str, key: &[u8]) -> Result<(), Fault> {
        self.since += RECORD_COST + key.len();
        self.store(tree).remove(key)
    }

    fn store(&self, tree: &str) -> &dyn Store {
        if tree == "log" { self.log.as_ref() } else { self.tables.as_ref() }
    }

    /// Both stores, then the place. A crash may keep more of either than is in front of the place, and never less; whatever it kept
    /// is written again in the same order, so that each key ends as the last piece that names it says.
    fn reached(&mut self, place: Place, note: &mut dyn FnMut(Place) -> Result<(), Fault>) -> Result<(), Fault> {
        if self.since < self.every || !self.pace.is_due() {
            return Ok(());
        }
        let (log, tables) = (&self.log, &self.tables);
        self.pace.spend(|| {
            tables.flush()?;
            log.flush()?;
            note(place)
        })?;
        self.since = 0;
        Ok(())
    }

    fn flush(&self) -> Result<(), Fault> {
        self.tables.flush()?;
        self.log.flush()
    }

    fn records(&self) -> Result<u64, Fault> {
        let mut records = 0;
        for store in [&self.log, &self.tables] {
            store.scan(&[], &[0xff; 9], &mut |_, _| {
                records += 1;
                Ok(ControlFlow::Continue(()))
            })?;
        }
        Ok(records)
    }
}
