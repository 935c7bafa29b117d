//! What channels keep for viewers who come back.

use std::time::Duration;

use clap::Args;

use super::parse_duration;

/// Events that a channel may keep: a viewer's queue takes no more anyway.
const EVENTS_MAX: u32 = 10_000;

/// How much of a channel's past a viewer can have again.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Push")]
pub struct HistorySettings {
    /// Events that each channel keeps for viewers who come back
    #[arg(long, value_name = "N", env = "PLAUDIT_HISTORY_EVENTS", default_value_t = 100)]
    #[arg(value_parser = clap::value_parser!(u32).range(..=i64::from(EVENTS_MAX)))]
    pub history_events: u32,
    /// How long it keeps them
    #[arg(long, value_name = "TIME", env = "PLAUDIT_HISTORY_TIME", default_value = "5m", value_parser = parse_duration)]
    pub history_time: Duration,
}
