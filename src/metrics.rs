//! Counters and gauges that every part writes and `/metrics` reads: relaxed atomics of `prometheus-client`, so a metric
//! never orders anything. A histogram takes a short lock: observed once a batch or a step, never once a vote.
//! Never holds a voter's or a clip's name.

use std::time::Duration;

use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

const SECONDS: [f64; 14] =
    [0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0];
const EVENTS: [f64; 11] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0];

/// Durations by bucket.
#[derive(Debug)]
pub struct Timer(Histogram);

impl Default for Timer {
    fn default() -> Self {
        Self(Histogram::new(SECONDS))
    }
}

impl Timer {
    /// Counts one duration.
    pub fn observe(&self, took: Duration) {
        self.0.observe(took.as_secs_f64());
    }
}

/// Sizes of batches by bucket.
#[derive(Debug)]
pub struct Sizes(Histogram);

impl Default for Sizes {
    fn default() -> Self {
        Self(Histogram::new(EVENTS))
    }
}

impl Sizes {
    /// Counts one batch.
    pub fn observe(&self, events: usize) {
        self.0.observe(u32::try_from(events).map_or(f64::MAX, f64::from));
    }
}

macro_rules! metrics {
    ($($(#[doc = $help:literal])+ $field:ident: $kind:ident $(as $unit:ident)?, $name:literal;)+) => {
        /// All of them. The engine makes one set and shares it.
        #[derive(Debug, Default)]
        pub struct Metrics {
            $($(#[doc = $help])+ pub $field: $kind,)+
        }

        impl Metrics {
            fn register(&self, to: &mut Registry) {
                $(metrics!(@one to, self.$field, $kind, $name, concat!($($help),+) $(, $unit)?);)+
            }
        }
    };
    (@one $to:ident, $me:ident.$field:ident, Timer, $name:literal, $help:expr) => {
        $to.register_with_unit($name, $help.trim().trim_end_matches('.'), Unit::Seconds, $me.$field.0.clone());
    };
    (@one $to:ident, $me:ident.$field:ident, Sizes, $name:literal, $help:expr) => {
        $to.register($name, $help.trim().trim_end_matches('.'), $me.$field.0.clone());
    };
    (@one $to:ident, $me:ident.$field:ident, $kind:ident, $name:literal, $help:expr) => {
        $to.register($name, $help.trim().trim_end_matches('.'), $me.$field.clone());
    };
}

metrics! {
    /// Votes that were settled.
    votes: Counter, "votes";
    /// Votes that were settled and are flagged: they count, and look like cheating.
    flagged: Counter, "votes_flagged";
    /// Devices that passed the site's challenge.
    challenges_passed: Counter, "challenges_passed";
    /// Devices that the site's verifier refused.
    challenges_refused: Counter, "challenges_refused";
    /// Devices that were refused because the verifier did not answer, or is left alone after failures.
    challenges_unasked: Counter, "challenges_unasked";
    /// Retractions that were settled.
    retractions: Counter, "retractions";
    /// Comments that were settled.
    comments: Counter, "comments";
    /// Changes of comments that were settled: deletions, likes, reports, moderation.
    comment_changes: Counter, "comment_changes";
    /// Changes of comments in memory that the tables do not contain.
    comments_held: Gauge, "comments_held";
    /// Reads of the tables that failed: records are damaged.
    read_failures: Counter, "read_failures";
    /// Claims refused as duplicates.
    duplicates: Counter, "votes_duplicate";
    /// Claims refused by the daily limit.
    over_limit: Counter, "votes_over_limit";
    /// Writes refused because a queue or a map was full.
    overloaded: Counter, "overloaded";
    /// Events refused after they were queued.
    dead_letter: Counter, "dead_letter";
    /// Blocks written to the log.
    blocks: Counter, "log_blocks";
    /// Events in a block of the log.
    batch: Sizes, "log_batch_events";
    /// Time from a batch taken to its block put.
    write: Timer, "log_write";
    /// Time of a flush of the log.
    flush: Timer, "log_flush";
    /// Time of settling a batch.
    settle: Timer, "settle";
    /// Time of a step of the applier that had something to do.
    apply: Timer, "apply_step";
    /// Events that wait for the commit.
    queued: Gauge, "queued_events";
    /// Events logged and not yet applied.
    unapplied: Gauge, "unapplied_events";
    /// Difference of tallies and recount that the last reconcile found, summed over clips; other than 0 is a bug.
    drift: Gauge, "drift";
    /// Difference of comments in sight and their recount, likewise; other than 0 is a bug.
    comments_drift: Gauge, "comments_drift";
    /// Reconciles that ran to their end.
    reconciles: Counter, "reconciles";
    /// Reconciles that could not be run to their end.
    reconciles_failed: Counter, "reconciles_failed";
    /// Voters in memory.
    voters: Gauge, "voters";
    /// 1 once a failure of the store was latched.
    storage_failed: Gauge, "storage_failed";
    /// Receivers of pushed events: connections that view channels.
    viewers: Gauge, "viewers";
    /// Channels that someone is on, or that keep events.
    channels: Gauge, "channels";
    /// Bytes that wait for viewers.
    viewer_bytes: Gauge, "viewer_queue_bytes";
    /// Frames queued for viewers.
    deliveries: Counter, "deliveries";
    /// Values that a newer one replaced while they waited for a viewer.
    values_replaced: Counter, "values_replaced";
    /// Viewers closed because they did not follow.
    slow_closes: Counter, "slow_closes";
    /// Times that a viewer was told to load a channel afresh.
    resyncs: Counter, "resyncs";
    /// Settled batches that the hub could not take at once; their channels' viewers were told to load afresh.
    batches_lost: Counter, "push_batches_lost";
    /// Webhooks that were taken by their endpoint.
    webhooks_delivered: Counter, "webhooks_delivered";
    /// Webhooks that were given up, and their events that found no room.
    webhooks_dropped: Counter, "webhooks_dropped";
    /// Requests refused by a rate limit.
    rate_limited: Counter, "rate_limited";
    /// Open connections.
    connections: Gauge, "connections";
    /// Connections refused at a bound.
    connections_refused: Counter, "connections_refused";
    /// Answers with a status of 2xx or 3xx.
    answers_ok: Counter, "answers_ok";
    /// Answers with a status of 4xx.
    answers_rejected: Counter, "answers_rejected";
    /// Answers with a status of 5xx.
    answers_failed: Counter, "answers_failed";
}

impl Metrics {
    /// The text that Prometheus scrapes (`OpenMetrics`), every name with the prefix `plaudit_`; `ack` names the mode.
    pub fn render(&self, ack: &'static str) -> String {
        let mut registry = Registry::with_prefix("plaudit");
        let info = prometheus_client::metrics::info::Info::new([("version", env!("CARGO_PKG_VERSION")), ("ack", ack)]);
        registry.register("build", "The program and its durability mode", info);
        self.register(&mut registry);
        let mut text = String::new();
        encode(&mut text, &registry).expect("writing to a string");
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_names_every_metric_with_prefix_and_unit() {
        let metrics = Metrics::default();
        metrics.votes.inc_by(3);
        metrics.flush.observe(Duration::from_millis(2));
        let text = metrics.render("durable");
        for line in ["plaudit_votes_total 3", "plaudit_log_flush_seconds_count 1", "plaudit_build_info{"] {
            assert!(text.contains(line), "{line} in\n{text}");
        }
        assert!(text.ends_with("# EOF\n"));
    }
}
