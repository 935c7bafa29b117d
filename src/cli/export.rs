//! The command `export`: a store's tables into a directory, of a stopped store or of a running server. However it is cut short, the
//! same command goes on with it; while it runs it does so by itself where a connection breaks.
//!
//! Never: takes what came for what was sent. Each table is held against its sender's hash as it comes and when it ends.

use std::time::Duration;

use indicatif::ProgressBar;

use super::args::Export;
use super::bars::{Rows, bar};
use super::data::{fetch, report, stopped};
use super::incoming::{Ended, Incoming};
use super::{Done, results};
use crate::error::Fault;
use crate::jobs::export::{Begun, Manifest, Place, Splitter};

/// So often it asks a server again without having got any further...
const TRIES: u32 = 8;
/// ...after so long at first, and twice as long each time: a minute in all, and a server keeps what it was read of for two.
const FIRST_PAUSE: Duration = Duration::from_millis(250);

/// Writes a store's tables, or a locked slot's certificate and ballots.
pub(super) fn export(args: &Export) -> Result<Done, Fault> {
    if args.slot.is_some() {
        return results::export(args);
    }
    let bar = bar("rows");
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
    let mut rows = Rows::begin(bar, source.estimate()?, &folder.manifest().tables);
    while let Some(table) = folder.next() {
        let of = folder.manifest().clone();
        rows.table(table);
        let mut there = 0;
        folder.put_table(table, |out| {
            source.write(table, &of, out, &mut |more| {
                there += more;
                rows.at(there);
                Ok(())
            })
        })?;
        rows.ended(folder.manifest().tables.last().map_or(0, |written| written.rows));
    }
    folder.finish()
}

/// Says so where what was begun is not gone on with.
pub(super) fn say_if_anew(begun: &Begun, manifest: &Manifest, state: &str) {
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
        let mut incoming = Incoming::new(begun, place, (args.format, args.pseudonymous), bar);
        let mut splitter = Splitter::default();
        let fetched =
            fetch(target, &args.remote, &path, &mut |bytes| splitter.take(bytes, &mut |line| incoming.take(line)));
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
