//! What a site's own tests start a server with.

use clap::Args;

/// How the server is run for a site's own tests, which want it to begin and end with them.
#[derive(Args, Clone, Copy, Debug)]
#[command(next_help_heading = "Tests of a site")]
pub struct OfflineSettings {
    /// Keep everything in memory, nothing on the disk: a new store each start, with secrets of its own, and /api/test to begin it
    /// anew and to set its clock
    #[arg(long, env = "PLAUDIT_MEMORY", value_parser = clap::builder::BoolishValueParser::new())]
    pub memory: bool,
    /// Say what runs as one line of JSON instead of the banner; with --memory the secrets too
    #[arg(long, env = "PLAUDIT_PRINT_JSON", value_parser = clap::builder::BoolishValueParser::new())]
    pub print_json: bool,
}
