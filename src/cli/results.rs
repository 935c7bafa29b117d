//! The commands about a slot's result: a certificate against a store, an export against its certificate, and the export itself.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Write as _};
use std::path::Path;

use serde_json::json;

use super::args::Export;
use super::{Done, print, secrets};
use crate::engine::{self, Rechecked};
use crate::error::Fault;
use crate::merkle::{Certificate, read_export};

/// Files of certificates are read up to here: one of as many clips as a store may hold, and room.
const CERTIFICATE_MAX: u64 = 32 << 20;

/// Holds a certificate against the store in `dir`.
pub(super) fn verify_certificate(dir: &Path, file: &Path, json: bool) -> Result<Done, Fault> {
    let certificate = read_certificate(file)?;
    if !secrets::holds_store(dir) {
        return Err(Fault::NoStore(dir.into()));
    }
    let Rechecked { problems, wrong, notes } = engine::recheck(dir, &certificate)?;
    report(&certificate, &problems, wrong, &notes, json)
}

/// Holds an export against the certificate in it.
pub(super) fn verify_export(file: &Path, json: bool) -> Result<Done, Fault> {
    let opened = File::open(file).map_err(|why| Fault::io(format!("opening {}", file.display()), &why))?;
    let (certificate, problems, wrong) = read_export(BufReader::new(opened))?;
    let note =
        format!("{} ballots are certified; the log's chain can't be looked at without the store", certificate.leaves);
    report(&certificate, &problems, wrong, &[note], json)
}

/// Writes a locked slot's export.
pub(super) fn export(args: &Export) -> Result<Done, Fault> {
    let dir = &args.store.data_dir;
    if !secrets::holds_store(dir) {
        return Err(Fault::NoStore(dir.clone()));
    }
    let Some((season, position)) = &args.slot else {
        return Err(Fault::Setting("--slot names the slot".into()));
    };
    let leaves = if args.to.as_os_str() == "-" {
        let mut out = BufWriter::new(io::stdout().lock());
        let leaves = engine::export_slot(dir, season, *position, &mut out)?;
        out.flush().map_err(|why| Fault::io("printing", &why))?;
        leaves
    } else {
        let failed = |why: io::Error| Fault::io(format!("writing {}", args.to.display()), &why);
        // Never over a file that is there: it may be the only export of a store that is gone.
        let mut out = BufWriter::new(File::create_new(&args.to).map_err(failed)?);
        let leaves = engine::export_slot(dir, season, *position, &mut out)?;
        out.into_inner().map_err(|why| failed(why.into_error()))?.sync_all().map_err(failed)?;
        leaves
    };
    say(&[format!("the certificate and {leaves} ballots of slot {season}/{position}")])?;
    Ok(Done::Well)
}

fn read_certificate(file: &Path) -> Result<Certificate, Fault> {
    let failed = |why: io::Error| Fault::io(format!("reading {}", file.display()), &why);
    let opened = File::open(file).map_err(failed)?;
    let read = serde_json::from_reader(io::Read::take(BufReader::new(opened), CERTIFICATE_MAX));
    read.map_err(|why| Fault::Setting(format!("{} is no certificate: {why}", file.display())))
}

/// A row a clip as it is certified, what is wrong, what was looked at.
fn report(of: &Certificate, problems: &[String], wrong: u64, notes: &[String], as_json: bool) -> Result<Done, Fault> {
    if as_json {
        let report = json!({
            "ok": wrong == 0, "certificate": of, "problems": problems, "wrong": wrong, "notes": notes,
        });
        print(&format!("{report}\n"))?;
    } else {
        let rows =
            of.clips.iter().map(|clip| format!("{} {} {}\n", clip.clip_id, clip.vote_count, clip.weighted_score));
        print(&rows.collect::<String>())?;
    }
    let named: Vec<String> = problems.iter().map(|problem| format!("wrong: {problem}")).collect();
    say(&named)?;
    say(notes)?;
    let state = if wrong == 0 { "all is well".to_owned() } else { format!("{wrong} things are wrong") };
    say(&[format!("slot {}/{}, {} ballots: {state}", of.season, of.slot, of.leaves)])?;
    Ok(if wrong == 0 { Done::Well } else { Done::WithFindings })
}

fn say(lines: &[String]) -> Result<(), Fault> {
    let mut err = io::stderr().lock();
    lines.iter().try_for_each(|line| writeln!(err, "{line}")).map_err(|why| Fault::io("printing", &why))
}
