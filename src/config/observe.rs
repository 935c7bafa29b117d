//! Where traces go.

use clap::Args;

use super::push::url;

/// What others are told of requests.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Traces")]
pub struct TraceSettings {
    /// Collector of traces (OTLP over HTTP), its URL without /v1/traces; default: none
    #[arg(long, value_name = "URL", env = "PLAUDIT_OTLP", value_parser = url)]
    pub otlp: Option<String>,
    /// One request in N is traced, and each that a listed proxy samples
    #[arg(long, value_name = "N", env = "PLAUDIT_OTLP_EVERY", default_value_t = 1000)]
    #[arg(value_parser = clap::value_parser!(u64).range(1..))]
    pub otlp_every: u64,
}
