//! What a run came to, for people and as one line of JSON.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

use serde::Serialize;

use super::meter::{Refusal, Totals};
use crate::cli::print;
use crate::error::Fault;

/// A run's result.
#[derive(Serialize, Debug)]
pub(super) struct Report {
    /// `engine`, `http` or `http-gets`.
    mode: &'static str,
    /// Votes that were acknowledged; reads that were answered in `http-gets`.
    votes: u64,
    votes_per_s: f64,
    p50_ms: f64,
    p99_ms: f64,
    p999_ms: f64,
    /// `None` where the server's process can't be watched.
    cpu_us_per_vote: Option<f64>,
    rss_bytes: Option<u64>,
    disk_bytes: Option<u64>,
    /// The mode that the server itself names.
    ack: Option<String>,
    #[serde(skip)]
    took: Duration,
    #[serde(skip)]
    refused: BTreeMap<Refusal, u64>,
    #[serde(skip)]
    unsent: u64,
    #[serde(skip)]
    findings: Vec<String>,
}

/// What a run cost the process that served it.
#[derive(Default)]
pub(super) struct Cost {
    pub(super) cpu: Option<Duration>,
    pub(super) resident: Option<u64>,
    pub(super) disk: Option<u64>,
}

impl Report {
    /// Sums a run up. `findings` are what must not be.
    pub(super) fn new(
        mode: &'static str,
        ack: Option<String>,
        totals: Totals,
        cost: &Cost,
        findings: Vec<String>,
    ) -> Self {
        #[expect(clippy::cast_precision_loss, reason = "for people, and exact up to 2^53")]
        let float = |count: u64| count as f64;
        let ms = |quantile| float(totals.latencies.value_at_quantile(quantile)) / 1e6;
        let votes = totals.succeeded;
        let seconds = totals.took.as_secs_f64();
        let mut findings = findings;
        if votes == 0 {
            findings.push("nothing succeeded".into());
        }
        Self {
            mode,
            votes,
            votes_per_s: if seconds > 0.0 { rounded(float(votes) / seconds) } else { 0.0 },
            p50_ms: rounded(ms(0.5)),
            p99_ms: rounded(ms(0.99)),
            p999_ms: rounded(ms(0.999)),
            cpu_us_per_vote: cost.cpu.filter(|_| votes > 0).map(|cpu| rounded(cpu.as_secs_f64() * 1e6 / float(votes))),
            rss_bytes: cost.resident,
            disk_bytes: cost.disk,
            ack,
            took: totals.took,
            refused: totals.refused,
            unsent: totals.unsent,
            findings,
        }
    }

    /// Whether there is nothing to complain of.
    pub(super) fn is_good(&self) -> bool {
        self.findings.is_empty()
    }

    /// Prints it; with `json` the last line is JSON.
    pub(super) fn print(&self, json: bool) -> Result<(), Fault> {
        let mut text = self.text();
        if json {
            text += &serde_json::to_string(self).expect("numbers and texts");
            text.push('\n');
        }
        print(&text)
    }

    fn text(&self) -> String {
        let what = if self.mode == "http-gets" { "reads" } else { "votes" };
        let whose = if self.mode == "engine" { "this process, the load included" } else { "the server" };
        let unknown = || "unknown".to_owned();
        let mib = |bytes: Option<u64>| bytes.map_or_else(unknown, |bytes| format!("{:.1} MiB", mebibytes(bytes)));
        let mut text = String::new();
        let mut line = |name: &str, value: String| writeln!(text, "{name:<11} {value}").expect("writing to a string");
        line("mode", format!("{}, ack {}", self.mode, self.ack.as_deref().unwrap_or("unknown")));
        line(what, format!("{} in {:.2} s", self.votes, self.took.as_secs_f64()));
        line("rate", format!("{:.0} {what}/s", self.votes_per_s));
        line("latency", format!("p50 {:.3} ms, p99 {:.3} ms, p999 {:.3} ms", self.p50_ms, self.p99_ms, self.p999_ms));
        line("cpu", self.cpu_us_per_vote.map_or_else(unknown, |cpu| format!("{cpu:.2} µs each, of {whose}")));
        line("memory", mib(self.rss_bytes));
        line("disk", mib(self.disk_bytes));
        for (why, count) in &self.refused {
            line("refused", format!("{count}: {why}{}", hint(*why)));
        }
        if self.unsent > 0 {
            line(
                "behind",
                format!("{} requests were due and never sent: the rate is above what it takes", self.unsent),
            );
        }
        for finding in &self.findings {
            line("WRONG", finding.clone());
        }
        text
    }
}

fn hint(why: Refusal) -> &'static str {
    match why {
        Refusal::Status(429) => " (start the server with --rate-limit off to measure it)",
        Refusal::Status(401) => " (give --jwt-secret, or --data-dir of the server's store)",
        _ => "",
    }
}

fn rounded(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}

fn mebibytes(bytes: u64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "for people")]
    let bytes = bytes as f64;
    bytes / f64::from(1 << 20)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::bench::meter::Meter;

    #[tokio::test]
    async fn the_json_line_has_the_fields_of_the_contract() {
        let meter = Meter::start(Some(2), None, None);
        let turn = meter.turn().await.unwrap();
        meter.succeeded(0, turn);
        meter.refused(0, Refusal::Status(429));
        let cost = Cost { cpu: Some(Duration::from_micros(50)), resident: Some(3 << 20), disk: None };
        let report = Report::new("http", Some("durable".into()), meter.totals(), &cost, Vec::new());
        assert!(report.is_good());
        assert!(report.text().contains("--rate-limit off"), "{}", report.text());
        let json = serde_json::to_value(&report).unwrap();
        let names: Vec<&str> = json.as_object().unwrap().keys().map(String::as_str).collect();
        let mut expected = vec![
            "mode",
            "votes",
            "votes_per_s",
            "p50_ms",
            "p99_ms",
            "p999_ms",
            "cpu_us_per_vote",
            "rss_bytes",
            "disk_bytes",
            "ack",
        ];
        expected.sort_unstable();
        assert_eq!(names, expected);
        assert_eq!((json["votes"].as_u64(), json["cpu_us_per_vote"].as_f64()), (Some(1), Some(50.0)));
    }

    #[test]
    fn a_run_without_success_is_not_good() {
        let report = Report::new("engine", None, Meter::start(None, None, None).totals(), &Cost::default(), Vec::new());
        assert!(!report.is_good());
    }
}
