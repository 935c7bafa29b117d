//! `plaudit doctor`: whether a server with these settings would start here and keep its word, and what to do where it wouldn't.
//!
//! Looks and times; changes nothing, but for a file that it writes, flushes and removes. Never opens a store.

mod disk;
mod machine;

use std::fmt::Write as _;

use serde::Serialize;
use serde_json::json;

use super::args::Doctor;
use super::{Done, print};
use crate::error::Fault;

/// How a check came out.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
enum Health {
    /// As it should be.
    Well,
    /// A server would start, and someone will be sorry.
    Poor,
    /// A server would not start, or not keep its word.
    Ill,
}

/// What one look found.
#[derive(PartialEq, Eq, Debug, Serialize)]
struct Finding {
    what: &'static str,
    health: Health,
    found: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    advice: Option<String>,
}

impl Finding {
    fn well(what: &'static str, found: impl Into<String>) -> Self {
        Self { what, health: Health::Well, found: found.into(), advice: None }
    }

    fn poor(what: &'static str, found: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { what, health: Health::Poor, found: found.into(), advice: Some(advice.into()) }
    }

    fn ill(what: &'static str, found: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { what, health: Health::Ill, found: found.into(), advice: Some(advice.into()) }
    }
}

/// Checks everything, and prints what it found.
pub(super) fn run(args: &Doctor) -> Result<Done, Fault> {
    let config = &args.config;
    let mut findings = machine::settings(config);
    findings.push(machine::open_files(config));
    findings.extend(machine::certificate(config));
    findings.push(machine::port(config));
    findings.push(machine::memory(config));
    findings.push(machine::clock(&config.store.data_dir));
    findings.extend(disk::directory(config));
    findings.push(machine::flushes(config.ack));
    print(&if args.json { as_json(&findings) } else { as_text(&findings) })?;
    Ok(if worst(&findings) == Health::Ill { Done::WithFindings } else { Done::Well })
}

fn worst(findings: &[Finding]) -> Health {
    findings.iter().map(|finding| finding.health).max().unwrap_or(Health::Well)
}

fn as_json(findings: &[Finding]) -> String {
    format!("{}\n", json!({ "ok": worst(findings) != Health::Ill, "findings": findings }))
}

fn as_text(findings: &[Finding]) -> String {
    let mut text = String::new();
    for Finding { what, health, found, advice } in findings {
        let sign = match health {
            Health::Well => "well",
            Health::Poor => "POOR",
            Health::Ill => "ILL ",
        };
        writeln!(text, "{sign}  {what:<11} {found}").expect("writing to a string");
        if let Some(advice) = advice {
            writeln!(text, "{:18}→ {advice}", "").expect("writing to a string");
        }
    }
    let verdict = match worst(findings) {
        Health::Well => "fit to serve",
        Health::Poor => "a server would start; look at what is POOR first",
        Health::Ill => "not fit to serve: see what is ILL",
    };
    writeln!(text, "\n{verdict}").expect("writing to a string");
    text
}

/// Bytes in words.
fn bytes(count: u64) -> String {
    let mib = count >> 20;
    if mib < 10 * 1024 { format!("{mib} MiB") } else { format!("{} GiB", mib >> 10) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_comes_with_what_to_do() {
        let findings = [Finding::well("clock", "set"), Finding::poor("memory", "little", "buy some")];
        let text = as_text(&findings);
        assert!(
            text.starts_with("well  clock       set\nPOOR  memory      little\n                  → buy some\n"),
            "{text}"
        );
        assert!(text.ends_with("look at what is POOR first\n"));
        let json: serde_json::Value = serde_json::from_str(&as_json(&findings)).unwrap();
        assert_eq!((&json["ok"], &json["findings"][1]["health"]), (&true.into(), &"poor".into()));
        assert!(json["findings"][0].get("advice").is_none());
        let ill = [Finding::ill("port", "taken", "choose another")];
        assert!(as_json(&ill).contains("\"ok\":false") && as_text(&ill).ends_with("see what is ILL\n"));
    }
}
