//! `import`: a store of an export's directory, or of another site's tables. Both go on where they were cut short. Never: a store
//! that is not whole.

use std::path::Path;

use super::args::Import;
use super::bars::bar;
use super::data::report;
use super::rejects::Rejects;
use super::restore::{made, say_start};
use super::{Done, secrets};
use crate::domain::SeasonId;
use crate::engine::{Begun, Building};
use crate::error::Fault;
use crate::jobs::export::{Format, SECRETS, Table, read_manifest};
use crate::jobs::foreign::{self, Foreign, Heard, Taken};

/// Makes a store of an export, or goes on with one.
pub(super) fn run(args: &Import) -> Result<Done, Fault> {
    let found = std::fs::metadata(&args.from);
    let found = found.map_err(|why| Fault::io(format!("looking at {}", args.from.display()), &why))?;
    if !found.is_dir() {
        if args.from.extension().is_some_and(|end| end == Format::Parquet.extension()) {
            let why = "a Parquet file can't be imported: name an export's directory, which holds the records beside its tables, or a CSV file";
            return Err(Fault::Setting(why.into()));
        }
        return import_foreign(args);
    }
    if args.comments.is_some() || !args.map.is_empty() {
        let why = "--comments and --map go with a CSV file of votes in --from: an export's directory holds everything by itself";
        return Err(Fault::Setting(why.into()));
    }
    let looking = bar("bytes");
    let manifest = read_manifest(&args.from, &mut |bytes, all| {
        looking.set_length(all);
        looking.inc(bytes);
    })?;
    looking.finish_and_clear();
    if manifest.pseudonymous {
        let why = "a pseudonymous export can't be imported: it has neither the secrets nor the records that a store is made of. \
                   Export without --pseudonymous, or restore a backup";
        return Err(Fault::Setting(why.into()));
    }
    let text = std::fs::read(args.from.join(SECRETS));
    let text = text.map_err(|why| Fault::io("reading the export's secrets", &why))?;
    if args.dry_run {
        return report(args.json, &manifest, &format!("the export as of event {} is whole", manifest.sequence));
    }
    let records = manifest.tables.iter().find(|written| written.table == Table::Records);
    let records = records.ok_or_else(|| Fault::Setting("the export has no records".into()))?;
    let dir = &args.store.data_dir;
    let mut building = Building::begin(dir, Begun::of_export(dir, &manifest)?)?;
    let place = building.place();
    say_start(&building, place.taken, "records")?;
    let bar = bar("records");
    bar.set_length(records.rows);
    bar.set_position(place.taken);
    bar.reset_eta();
    building.take_export(&args.from, records, &mut |records| bar.inc(records))?;
    bar.finish_and_clear();
    let found = building.finish(manifest.sequence, Some(records.rows), &text)?;
    report(args.json, &manifest, &made(&found))
}

/// Makes a store of another site's tables, or goes on with one.
fn import_foreign(args: &Import) -> Result<Done, Fault> {
    let season = SeasonId::new(&args.season).map_err(|why| Fault::Setting(format!("--season: {why}")))?;
    let columns = args.map.iter().cloned().collect();
    // Before anything is made.
    foreign::check(&args.from, args.comments.as_deref(), &columns)?;
    let (bar, dir) = (bar("bytes"), &args.store.data_dir);
    let long = |file: &Path| foreign::length(file);
    let all = long(&args.from)? + args.comments.as_deref().map_or(Ok(0), long)?;
    // Each is read once for its name, but for a dry run, and once for what is in it; votes more often, as Foreign says.
    bar.set_length(if args.dry_run { all } else { 2 * all });
    let hear = |heard| match heard {
        Heard::Read(bytes) => bar.inc(bytes),
        Heard::ToRead(bytes) => bar.inc_length(bytes),
        Heard::Kept(_) => {}
    };
    let (taken, records) = if args.dry_run {
        let (rejects, _) = Rejects::open(&args.rejects, None)?.take()?;
        let key = secrets::new()?.voter_key;
        let hear = Box::new(|heard| {
            hear(heard);
            Ok(())
        });
        let foreign = Foreign::new(season, key, columns, None, Box::new(rejects), hear)?;
        (take_all(foreign, args)?.0, None)
    } else {
        let files = [Some(args.from.as_path()), args.comments.as_deref()];
        let (name, stamps) = foreign::name(&season, &columns, &files, &mut |bytes| bar.inc(bytes))?;
        let begun = Begun::read(dir).filter(|begun| begun.source == name && begun.secrets.is_some());
        let rejects = Rejects::open(&args.rejects, begun.as_ref().and_then(|begun| begun.rejects.as_deref()))?;
        let (mut building, secrets) = begin(dir, name, begun).inspect_err(|_| rejects.give_up())?;
        let (rejects, own) = rejects.take()?;
        building.note(|begun| begun.rejects = own)?;
        let appender = building.appender()?;
        say_start(&building, appender.last(), "events")?;
        let mut foreign = Foreign::new(
            season,
            secrets.voter_key.clone(),
            columns,
            Some(appender),
            Box::new(&rejects),
            Box::new(|heard| {
                hear(heard);
                match heard {
                    Heard::Kept(last) => building.kept(last),
                    _ => Ok(()),
                }
            }),
        )?;
        foreign.stamps = stamps;
        let came = take_all(foreign, args);
        let (taken, last) = building.sound(came)?;
        // They are told of with the store, and can't be had without the whole import again.
        rejects.sync_all().map_err(|why| Fault::io(format!("syncing {}", args.rejects.display()), &why))?;
        (taken, Some(building.finish(last, None, &secrets.text)?))
    };
    bar.finish_and_clear();
    let Taken { slots, clips, votes, comments, rejected } = taken;
    let verb = if records.is_none() { "would take" } else { "took" };
    let rejects = args.rejects.display();
    let text = format!(
        "{verb} {votes} votes and {comments} comments in {slots} slots with {clips} clips; {rejected} rows are in {rejects}"
    );
    report(args.json, &taken, &text)
}

/// Begins with new secrets, or goes on with those that were made when it began: they decide who a voter is.
fn begin(dir: &Path, name: String, begun: Option<Begun>) -> Result<(Building, secrets::Secrets), Fault> {
    let plan = if let Some(begun) = begun {
        begun
    } else {
        let secrets = secrets::new()?;
        let mut store = [0; 16];
        getrandom::fill(&mut store)
            .map_err(|why| Fault::Io { doing: "asking the system for randomness".into(), why: why.to_string() })?;
        let mut plan = Begun::new(name, store, secrets.voter_key.fingerprint());
        plan.secrets = Some(String::from_utf8(secrets.text).expect("it was made as text"));
        plan
    };
    let secrets = secrets::of(plan.secrets.as_deref().expect("made with them"))?;
    Ok((Building::begin(dir, plan)?, secrets))
}

fn take_all(mut foreign: Foreign<'_>, args: &Import) -> Result<(Taken, u64), Fault> {
    foreign.votes(&args.from)?;
    args.comments.as_ref().map_or(Ok(()), |file| foreign.comments(file))?;
    foreign.finish()
}
