//! The settings of the challenge before a device's first vote.

use clap::Args;

use super::push::url;
use super::values::Secret;

/// Who is asked whether a device may vote.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Identity")]
pub struct ChallengeSettings {
    /// URL of your captcha's verifier, asked before a device's first vote; default: nobody is asked
    #[arg(long, value_name = "URL", env = "PLAUDIT_CHALLENGE_URL", value_parser = url)]
    pub challenge_url: Option<String>,
    /// Bearer secret that the verifier is shown; default: none
    #[arg(long, value_name = "SECRET", env = "PLAUDIT_CHALLENGE_SECRET", hide_env_values = true)]
    #[arg(value_parser = Secret::value_parser())]
    pub challenge_secret: Option<Secret>,
}
