//! The commands that read a stopped store: `verify` and `log`. Neither makes one.

use std::fmt::Write as _;
use std::io::{self, BufWriter, Write as _};

use serde_json::json;

use super::args::{Log, Verify};
use super::{Done, print, results, secrets};
use crate::engine::{self, Verified};
use crate::error::Fault;

/// Recounts a store and prints a row a clip; what is wrong goes to standard error.
pub(super) fn verify(args: &Verify) -> Result<Done, Fault> {
    let dir = &args.store.data_dir;
    if let Some(file) = &args.export {
        return results::verify_export(file, args.json);
    }
    if let Some(file) = &args.certificate {
        return results::verify_certificate(dir, file, args.json);
    }
    if !secrets::holds_store(dir) {
        return Err(Fault::NoStore(dir.clone()));
    }
    let found = engine::verify(dir, args.repair)?;
    print(&if args.json { as_json(&found) } else { as_rows(&found) })?;
    let mut err = io::stderr().lock();
    let told = found.problems.iter().try_for_each(|problem| writeln!(err, "wrong: {problem}"));
    told.and_then(|()| writeln!(err, "{}", summary(&found))).map_err(|why| Fault::io("printing", &why))?;
    Ok(if found.wrong == found.repaired { Done::Well } else { Done::WithFindings })
}

/// Prints the log's events.
pub(super) fn log(args: &Log) -> Result<Done, Fault> {
    let dir = &args.store.data_dir;
    // The secrets first: they say that there is no store without making one.
    let key = secrets::load(dir)?.voter_key;
    if !secrets::holds_store(dir) {
        return Err(Fault::NoStore(dir.clone()));
    }
    let mut out = BufWriter::new(io::stdout().lock());
    engine::print_log(dir, &key, &mut out)?;
    out.flush().map_err(|why| Fault::io("printing", &why))?;
    Ok(Done::Well)
}

fn as_rows(found: &Verified) -> String {
    found.rows.iter().fold(String::new(), |mut text, row| {
        writeln!(text, "{} {} {}", row.id, row.votes, row.weight).expect("writing to a string");
        text
    })
}

fn as_json(found: &Verified) -> String {
    let rows: Vec<_> = found
        .rows
        .iter()
        .map(|row| json!({"id": row.id, "votes": row.votes, "weight": row.weight, "comments": row.comments}))
        .collect();
    let report = json!({
        "ok": found.wrong == found.repaired, "clips": rows, "problems": found.problems, "wrong": found.wrong,
        "repaired": found.repaired, "last": found.last, "tail": found.tail,
    });
    format!("{report}\n")
}

fn summary(found: &Verified) -> String {
    let votes: u64 = found.rows.iter().map(|row| row.votes).sum();
    let state = match (found.wrong, found.repaired) {
        (0, _) => "all is well".to_owned(),
        (wrong, 0) => format!("{wrong} things are wrong"),
        (wrong, repaired) => format!("{wrong} things were wrong, {repaired} were put right"),
    };
    format!(
        "{} clips, {votes} votes, {} events, {} of them only in the log: {state}",
        found.rows.len(),
        found.last,
        found.tail
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Row;

    #[test]
    fn rows_are_plain_digits_and_json_says_the_same() {
        let rows = vec![
            Row { id: "clip-1".into(), votes: 1_234_567, weight: 9_876_543, comments: 12 },
            Row { id: "clip-2".into(), votes: 0, weight: 0, comments: 0 },
        ];
        let found = Verified { rows, last: 1_234_600, tail: 3, ..Verified::default() };
        assert_eq!(as_rows(&found), "clip-1 1234567 9876543\nclip-2 0 0\n");
        let report: serde_json::Value = serde_json::from_str(&as_json(&found)).unwrap();
        assert_eq!(
            report["clips"][0],
            json!({"id": "clip-1", "votes": 1_234_567, "weight": 9_876_543, "comments": 12})
        );
        assert_eq!(report["ok"], true);
        assert!(summary(&found).ends_with("all is well"));
    }

    #[test]
    fn what_was_repaired_is_said() {
        let found = Verified { wrong: 2, repaired: 1, ..Verified::default() };
        assert!(summary(&found).contains("2 things were wrong, 1 were put right"));
        assert!(as_json(&found).contains("\"ok\":false"));
    }
}
