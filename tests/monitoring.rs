//! The dashboard and the alert rules under `data/` ask for metrics that there are.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::fs;

use plaudit::metrics::{Looked, Metrics};
use serde_json::Value;

/// Every name that a scrape may show.
fn names() -> BTreeSet<String> {
    let looked = Looked { free_bytes: Some(1), resident_bytes: Some(1), ..Looked::default() };
    let text = Metrics::default().render("durable", &looked);
    let mut names = BTreeSet::new();
    for (name, kind) in text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' ')) {
        let ends: &[&str] = match kind {
            "counter" => &["_total"],
            "histogram" => &["_bucket", "_sum", "_count"],
            "info" => &["_info"],
            "gauge" => &[""],
            other => panic!("{name} is a {other}"),
        };
        names.extend(ends.iter().map(|end| format!("{name}{end}")));
    }
    names
}

/// The metrics that an expression names.
fn named(expr: &str) -> Vec<&str> {
    let word = |c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == ':');
    expr.split(word).filter(|word| word.starts_with("plaudit_")).collect()
}

fn hold(whose: &str, exprs: &[String]) {
    let names = names();
    for expr in exprs {
        assert!(!named(expr).is_empty() || expr.contains("up{"), "{whose}: {expr} names no metric");
        for name in named(expr) {
            assert!(names.contains(name), "{whose}: {expr} asks for {name}, which there is not");
        }
        for (open, close) in [('(', ')'), ('[', ']'), ('{', '}')] {
            assert_eq!(expr.matches(open).count(), expr.matches(close).count(), "{whose}: {expr}");
        }
    }
}

/// Every text under a key of this name, however deep.
fn texts(of: &Value, key: &str, found: &mut Vec<String>) {
    match of {
        Value::Object(fields) => {
            for (name, value) in fields {
                if let (true, Value::String(text)) = (name == key, value) {
                    found.push(text.clone());
                }
                texts(value, key, found);
            }
        }
        Value::Array(parts) => parts.iter().for_each(|part| texts(part, key, found)),
        _ => {}
    }
}

#[test]
fn the_dashboard_shows_metrics_that_there_are() {
    let board: Value = serde_json::from_str(&fs::read_to_string("data/grafana.json").unwrap()).unwrap();
    let mut exprs = Vec::new();
    texts(&board, "expr", &mut exprs);
    assert!(exprs.len() > 30, "{}", exprs.len());
    hold("data/grafana.json", &exprs);
    let panels = board["panels"].as_array().unwrap();
    let ids: BTreeSet<_> = panels.iter().map(|panel| panel["id"].as_u64().unwrap()).collect();
    assert_eq!(ids.len(), panels.len(), "an id is given twice");
    // What a night's watch must see.
    for must in [
        "plaudit_vote_attempts_total",
        "plaudit_claim_seconds",
        "plaudit_queue_wait_seconds",
        "plaudit_log_flush_seconds",
        "plaudit_settle_seconds",
        "plaudit_log_batch_events",
        "plaudit_queued_events",
        "plaudit_unapplied_events",
        "plaudit_drift",
        "plaudit_viewers",
        "plaudit_deliveries_total",
        "plaudit_slow_closes_total",
        "plaudit_rate_limited_total",
        "plaudit_storage_tables_bytes",
    ] {
        assert!(exprs.iter().any(|expr| expr.contains(must)), "no panel shows {must}");
    }
}

#[test]
fn alerts_watch_metrics_that_there_are_and_say_what_to_do() {
    let rules: Value = serde_saphyr::from_str(&fs::read_to_string("data/alerts.yml").unwrap()).unwrap();
    let rules: Vec<&Value> =
        rules["groups"].as_array().unwrap().iter().flat_map(|group| group["rules"].as_array().unwrap()).collect();
    assert!(rules.len() > 8);
    let mut seen = BTreeSet::new();
    for rule in &rules {
        let name = rule["alert"].as_str().unwrap();
        assert!(seen.insert(name), "{name} is there twice");
        for note in ["summary", "what_to_do"] {
            assert!(rule["annotations"][note].as_str().is_some_and(|text| text.len() > 20), "{name} has no {note}");
        }
        assert!(["page", "ticket"].contains(&rule["labels"]["severity"].as_str().unwrap()), "{name}");
    }
    let exprs: Vec<String> = rules.iter().map(|rule| rule["expr"].as_str().unwrap().to_owned()).collect();
    hold("data/alerts.yml", &exprs);
}

#[test]
fn a_name_that_there_is_not_is_found() {
    assert_eq!(
        named("rate(plaudit_vote_total{job=\"x\"}[5m]) / plaudit_drift"),
        ["plaudit_vote_total", "plaudit_drift"]
    );
    assert!(!names().contains("plaudit_vote_total"));
    assert!(names().contains("plaudit_vote_seconds_bucket"));
}
