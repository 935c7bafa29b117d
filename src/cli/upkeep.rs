//! The commands that look after a stopped store: `upgrade-check` and `compact`.

use std::fmt::Write as _;

use super::args::{Compact, UpgradeCheck};
use super::bars::bar;
use super::data::report;
use super::{Done, print, secrets};
use crate::engine::{self, Compaction, Upgrade};
use crate::error::Fault;

/// Says what serving a store would change.
pub(super) fn upgrade_check(args: &UpgradeCheck) -> Result<Done, Fault> {
    let dir = &args.store.data_dir;
    // They say that there is no store without making one; and without them nothing can be served.
    secrets::load(dir)?;
    let bar = bar("records");
    let found = engine::upgrade_check(dir, &mut |records| bar.inc(records));
    bar.finish_and_clear();
    let found = found?;
    let json = || serde_json::to_string(&found).expect("our own types always serialise") + "\n";
    print(&if args.json { json() } else { as_text(&found) })?;
    Ok(if found.wrong == 0 { Done::Well } else { Done::WithFindings })
}

/// Makes a store's files anew.
pub(super) fn compact(args: &Compact) -> Result<Done, Fault> {
    let dir = &args.store.data_dir;
    if !secrets::holds_store(dir) {
        return Err(Fault::NoStore(dir.clone()));
    }
    let mut compaction = Compaction::begin(dir)?;
    let bar = bar("records");
    while compaction.step()? {
        let (done, all) = compaction.progress();
        bar.set_position(done);
        if let Some(all) = all {
            bar.set_length(all);
        }
    }
    bar.finish_and_clear();
    let came = compaction.end();
    let text = format!(
        "{} records of {} bytes: the files were {} bytes and are {}",
        came.records, came.record_bytes, came.bytes_before, came.bytes_after
    );
    report(args.json, &came, &text)
}

fn as_text(found: &Upgrade) -> String {
    let mut text = String::new();
    let formats: Vec<_> = found.format.found.iter().map(u8::to_string).collect();
    let (layout, format) = (&found.layout, found.format.reads);
    let readable = if found.readable { "can serve it" } else { "can't serve it" };
    let mut line = |line: String| writeln!(text, "{line}").expect("writing to a string");
    line(format!(
        "plaudit {} {readable}: directory format {} (reads {}), record format {} (reads up to {format})",
        found.plaudit,
        layout.found,
        layout.reads,
        formats.join(", ")
    ));
    if found.readable {
        line(format!(
            "{} events, {} of them in the tables and {} in the log alone; {} clips, {} votes, {} comments",
            found.events, found.applied, found.tail, found.clips, found.votes, found.comments
        ));
    }
    line(format!("\n{:<7} {:>4}  {:<26} {:>10} {:>14}", "store", "kind", "records of", "records", "bytes"));
    for of in &found.records {
        line(format!("{:<7} {:>4}  {:<26} {:>10} {:>14}", of.tree, of.kind, of.name, of.records, of.bytes));
    }
    let unlisted = found.wrong - found.problems.len() as u64;
    let more = if unlisted > 0 { vec![format!("and {unlisted} more")] } else { Vec::new() };
    let problems: Vec<_> = found.problems.iter().chain(&more).cloned().collect();
    for (title, list) in [
        ("What is wrong:", &problems),
        ("Serving it changes:", &found.changes),
        ("Programs that lack one of these can't read it rightly once it is written:", &found.afterwards),
    ] {
        if !list.is_empty() {
            line(format!("\n{title}"));
            for entry in list {
                line(format!("  - {entry}"));
            }
        }
    }
    if found.wrong == 0 && found.changes.is_empty() {
        line("\nServing it changes nothing that is there".into());
    }
    text
}
