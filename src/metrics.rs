//! Counters and gauges that every part writes and `/metrics` reads: relaxed atomics of `prometheus-client`, so a metric
//! never orders anything. A histogram takes a short lock: observed once a batch or a step, or for one voter in
//! [`TIMED`], never once a vote. Never holds a voter's or a clip's name.

use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use crate::error::Reject;

/// The votes of one voter in so many are timed: looking at the clock and taking a histogram's lock would cost each vote more
/// than its claim.
pub const TIMED: u8 = 16;

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

/// How an attempt to vote ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum VoteResult {
    /// It stands.
    Counted,
    /// The voter has voted for the clip.
    Duplicate,
    /// The day's weight is used up.
    OverLimit,
    /// The voter's or the address's rate.
    RateLimited,
    /// The slot takes no votes.
    Closed,
    /// The voter is banned.
    Banned,
    /// A queue or a map was full.
    Overloaded,
    /// The store has failed.
    StorageFailed,
    /// No such clip, the voter's own, or anything else that is the caller's to put right.
    Invalid,
}

impl VoteResult {
    const ALL: [(Self, &str); 9] = [
        (Self::Counted, "counted"),
        (Self::Duplicate, "duplicate"),
        (Self::OverLimit, "over_limit"),
        (Self::RateLimited, "rate_limited"),
        (Self::Closed, "closed"),
        (Self::Banned, "banned"),
        (Self::Overloaded, "overloaded"),
        (Self::StorageFailed, "storage_failed"),
        (Self::Invalid, "invalid"),
    ];

    /// Of an attempt that was refused.
    pub fn of(reject: &Reject) -> Self {
        match reject {
            Reject::AlreadyVoted(_) => Self::Duplicate,
            Reject::DailyLimit { .. } => Self::OverLimit,
            Reject::RateLimited { .. } => Self::RateLimited,
            Reject::VotingClosed | Reject::WrongSlot | Reject::NoActiveSlot => Self::Closed,
            Reject::Banned { .. } => Self::Banned,
            Reject::Overloaded | Reject::NotReady { .. } => Self::Overloaded,
            Reject::StorageFailed => Self::StorageFailed,
            _ => Self::Invalid,
        }
    }
}

#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
struct ResultLabel {
    result: &'static str,
}

/// Attempts to vote by how they ended. Every result is there from the start, and is counted without a look into the family's map.
#[derive(Debug)]
pub struct VoteResults {
    family: Family<ResultLabel, Counter>,
    each: [Counter; VoteResult::ALL.len()],
}

impl Default for VoteResults {
    fn default() -> Self {
        let family = Family::<ResultLabel, Counter>::default();
        let each = VoteResult::ALL.map(|(_, result)| family.get_or_create_owned(&ResultLabel { result }));
        Self { family, each }
    }
}

impl VoteResults {
    /// Counts one attempt.
    pub fn count(&self, result: VoteResult) {
        self.each[result as usize].inc();
    }

    /// Attempts so far that ended so.
    pub fn get(&self, result: VoteResult) -> u64 {
        self.each[result as usize].get()
    }
}

/// What is looked up when it is asked for.
#[derive(Clone, Copy, Debug, Default)]
pub struct Looked {
    /// Bytes of the log on the disk.
    pub log_bytes: u64,
    /// Bytes of the tables on the disk.
    pub tables_bytes: u64,
    /// Bytes that the disk has left for this process; `None` where the store is on none.
    pub free_bytes: Option<u64>,
    /// Bytes of memory that the process holds, where the system says so.
    pub resident_bytes: Option<u64>,
    /// Erasures of voters that have not ended.
    pub erasures: usize,
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
    (@one $to:ident, $me:ident.$field:ident, VoteResults, $name:literal, $help:expr) => {
        $to.register($name, $help.trim().trim_end_matches('.'), $me.$field.family.clone());
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
    /// Attempts to vote, by how they ended.
    results: VoteResults, "vote_attempts";
    /// Time of a claim, votes of one voter in 16.
    claim: Timer, "claim";
    /// Time from a claim to its answer, votes of one voter in 16.
    vote: Timer, "vote";
    /// Time in the queue of a batch's oldest entry.
    queue_wait: Timer, "queue_wait";
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
    /// Handshakes of TLS that failed.
    tls_failures: Counter, "tls_handshakes_failed";
    /// Answers with a status of 2xx or 3xx.
    answers_ok: Counter, "answers_ok";
    /// Answers with a status of 4xx.
    answers_rejected: Counter, "answers_rejected";
    /// Answers with a status of 5xx.
    answers_failed: Counter, "answers_failed";
}

impl Metrics {
    /// The text that Prometheus scrapes (`OpenMetrics`), every name with the prefix `plaudit_`; `ack` names the mode.
    pub fn render(&self, ack: &'static str, looked: &Looked) -> String {
        let mut registry = Registry::with_prefix("plaudit");
        let info = prometheus_client::metrics::info::Info::new([("version", env!("CARGO_PKG_VERSION")), ("ack", ack)]);
        registry.register("build", "The program and its durability mode", info);
        self.register(&mut registry);
        let bytes = [
            ("storage_log", "Size of the log on the disk", Some(looked.log_bytes)),
            ("storage_tables", "Size of the tables on the disk", Some(looked.tables_bytes)),
            ("storage_free", "What the disk has left for this process", looked.free_bytes),
            ("resident_memory", "Memory that the process holds", looked.resident_bytes),
        ];
        for (name, help, value) in bytes {
            if let Some(value) = value {
                let gauge = ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX));
                registry.register_with_unit(name, help, Unit::Bytes, gauge);
            }
        }
        let erasures = ConstGauge::new(i64::try_from(looked.erasures).unwrap_or(i64::MAX));
        registry.register("erasures_unfinished", "Erasures of voters that have not ended", erasures);
        let mut text = String::new();
        encode(&mut text, &registry).expect("writing to a string");
        text
    }
}

/// Bytes of memory that this process holds; `None` where `/proc` doesn't say.
pub fn resident_bytes() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = text.split_whitespace().nth(1)?.parse().ok()?;
    pages.checked_mul(u64::try_from(rustix::param::page_size()).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_names_every_metric_with_prefix_and_unit() {
        let metrics = Metrics::default();
        metrics.votes.inc_by(3);
        metrics.flush.observe(Duration::from_millis(2));
        metrics.results.count(VoteResult::Duplicate);
        let looked = Looked { log_bytes: 7, resident_bytes: resident_bytes(), erasures: 2, ..Looked::default() };
        let text = metrics.render("durable", &looked);
        for line in [
            "plaudit_votes_total 3",
            "plaudit_log_flush_seconds_count 1",
            "plaudit_build_info{",
            "plaudit_vote_attempts_total{result=\"duplicate\"} 1",
            "plaudit_vote_attempts_total{result=\"counted\"} 0",
            "plaudit_storage_log_bytes 7",
            "plaudit_resident_memory_bytes ",
            "plaudit_erasures_unfinished 2",
        ] {
            assert!(text.contains(line), "{line} in\n{text}");
        }
        assert!(text.ends_with("# EOF\n"));
        assert!(!text.contains("plaudit_storage_free_bytes"), "what is not known is not said");
    }

    #[test]
    fn a_result_is_counted_as_itself() {
        for (at, (result, name)) in VoteResult::ALL.into_iter().enumerate() {
            assert_eq!(result as usize, at, "{name}");
        }
        let results = VoteResults::default();
        results.count(VoteResult::of(&Reject::Banned { until: None }));
        results.count(VoteResult::of(&Reject::ClipNotFound));
        let counted = VoteResult::ALL.map(|(result, _)| results.get(result));
        assert_eq!(counted, [0, 0, 0, 0, 0, 1, 0, 0, 1]);
    }

    /// Prometheus' conventions, for what comes later too.
    #[test]
    fn names_follow_the_conventions() {
        let text = Metrics::default().render("durable", &Looked::default());
        let families: Vec<(&str, &str)> =
            text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' ')).collect();
        assert!(families.len() > 40);
        for (name, kind) in families {
            assert!(name.starts_with("plaudit_") && !name.ends_with("_total"), "{name}");
            assert!(name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'), "{name}");
            let measured = ["_seconds", "_bytes", "_events"].iter().any(|unit| name.ends_with(unit));
            assert!(kind != "histogram" || measured, "{name} has no unit");
        }
        let labels = text.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.split_once('{'));
        for (name, labels) in labels {
            let own = ["le=", "result=", "version="].iter().any(|label| labels.starts_with(label));
            assert!(own, "{name}: a label that may have any number of values: {labels}");
        }
    }
}
