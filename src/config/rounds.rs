//! How a tournament goes on by itself.

use std::time::Duration;

use clap::{Args, ValueEnum};

use super::parse_duration_or_off;

/// Who moves slots.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, ValueEnum)]
pub enum RoundsMode {
    /// The clock: slots close when their time is over, and the next one opens.
    #[default]
    Auto,
    /// Operators alone.
    Manual,
}

/// How slots follow each other.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Rounds")]
pub struct RoundRules {
    /// Who closes slots and opens the next: the clock (auto), or operators alone (manual)
    #[arg(long, value_name = "MODE", env = "PLAUDIT_ROUNDS", default_value = "auto", hide_possible_values = true)]
    pub rounds: RoundsMode,
    /// How long a slot takes votes unless its opening says otherwise, such as 90s, 10m, 24h; off: until it is closed by hand
    #[arg(long, value_name = "TIME", env = "PLAUDIT_SLOT_DURATION", default_value = "off")]
    #[arg(value_parser = parse_duration_or_off)]
    pub slot_duration: Duration,
    /// Clips that the next slot needs to open by itself; with fewer it waits for them
    #[arg(long, value_name = "N", env = "PLAUDIT_MIN_CLIPS", default_value_t = 2)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=65_536))]
    pub min_clips: u32,
}
