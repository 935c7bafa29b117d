//! The settings of a server: one flag each, which is an environment variable and a key of `plaudit.toml` too, checked
//! once at the start and held against each other by [`Config::check`].
//!
//! Order of precedence: flag, environment, file, default. clap does the first two and the last; [`mod@file`] puts the
//! file's values in the defaults' place before clap reads anything.
//!
//! Never: opens a store or a socket, makes a secret, or reads a setting again while the server runs.

mod challenge;
pub mod file;
mod history;
mod observe;
mod offline;
mod pages;
mod push;
mod rounds;
mod tls;
mod values;

use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgAction, Args};

pub use challenge::ChallengeSettings;
pub use history::HistorySettings;
pub use observe::TraceSettings;
pub use offline::OfflineSettings;
pub use pages::PageSettings;
pub use push::{PushApp, PushSettings};
pub use rounds::{RoundRules, RoundsMode};
pub use tls::TlsSettings;
pub use values::{
    AckMode, Listen, Moderation, Networks, RateLimit, Secret, VoteWeights, log_filter, parse_bytes, parse_duration,
    parse_duration_or_off,
};

use crate::error::Fault;

/// Below this a secret can be guessed offline from one token; HS256 asks for as much (RFC 7518, 3.2).
pub const SECRET_LEN: usize = 32;

/// Files and sockets that the server needs beside its clients' connections.
pub const RESERVED_FILES: usize = 256;

/// Where open files are unlimited, connections still are not: each costs memory.
const CONNECTIONS_MAX: usize = 1 << 20;

/// Where the settings come from and what is logged: what every command takes.
#[derive(Args, Clone, Debug)]
#[command(disable_help_flag = true)]
pub struct Common {
    /// File with settings: TOML, keys named as the flags
    #[arg(long, value_name = "FILE", env = "PLAUDIT_CONFIG", help_heading = "General")]
    pub config: Option<PathBuf>,
    /// Level of the log, or a filter such as plaudit=debug,warn
    #[arg(long, value_name = "FILTER", env = "PLAUDIT_LOG", default_value = "info", help_heading = "General")]
    #[arg(value_parser = log_filter)]
    pub log: String,
    /// Print what is mostly set
    #[arg(short, long, action = ArgAction::HelpShort, help_heading = "General")]
    help: Option<bool>,
    /// Print all there is
    #[arg(long, action = ArgAction::HelpLong, help_heading = "General")]
    help_all: Option<bool>,
}

/// The directory of a store.
#[derive(Args, Clone, Debug)]
pub struct DataDir {
    /// Directory of the store
    #[arg(long, value_name = "DIR", env = "PLAUDIT_DATA_DIR", default_value = "data/db", help_heading = "Store")]
    pub data_dir: PathBuf,
}

/// The secret of voters' tokens and what a token must say.
#[derive(Args, Clone, Debug)]
pub struct TokenSettings {
    /// Secret of voters' tokens (HS256); default: kept in DIR/secrets.toml
    #[arg(long, value_name = "SECRET", env = "PLAUDIT_JWT_SECRET", hide_env_values = true, help_heading = "Identity")]
    #[arg(value_parser = Secret::value_parser())]
    pub jwt_secret: Option<Secret>,
    /// `iss` that a token must carry; default: not looked at
    #[arg(long, value_name = "ISSUER", env = "PLAUDIT_JWT_ISSUER", help_heading = "Identity")]
    pub jwt_issuer: Option<String>,
    /// `aud` that a token must carry; default: not looked at
    #[arg(long, value_name = "AUDIENCE", env = "PLAUDIT_JWT_AUDIENCE", help_heading = "Identity")]
    pub jwt_audience: Option<String>,
}

/// How many votes and requests there may be; what a vote weighs.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Limits")]
pub struct Limits {
    /// Weight that a voter may give a UTC day
    #[arg(long, value_name = "WEIGHT", env = "PLAUDIT_DAILY_LIMIT", default_value_t = 200)]
    pub daily_limit: u32,
    /// What each kind of vote weighs
    #[arg(long, value_name = "KINDS", env = "PLAUDIT_WEIGHTS", default_value = "standard=1,super=3,mega=10")]
    pub weights: VoteWeights,
    /// Requests a minute of a voter and an address, events a minute of an app's servers; each, or all, can be off
    #[arg(long, value_name = "RATES", env = "PLAUDIT_RATE_LIMIT", default_value = "voter=60,address=600,app=60000")]
    pub rate_limit: RateLimit,
    /// Open connections; default: the open-file limit less 256
    #[arg(long, value_name = "N", env = "PLAUDIT_MAX_CONNECTIONS", value_parser = values::at_least_one)]
    pub max_connections: Option<usize>,
    /// Open connections of one address; default: as many as the server
    #[arg(long, value_name = "N", env = "PLAUDIT_MAX_CONNECTIONS_PER_ADDRESS", value_parser = values::at_least_one)]
    pub max_connections_per_address: Option<usize>,
    /// Voters of open slots kept in memory; past it a new voter is answered OVERLOADED
    #[arg(long, value_name = "N", env = "PLAUDIT_MAX_VOTERS", default_value_t = 50_000_000)]
    pub max_voters: u64,
    /// New devices (voters without a token) of one network a UTC day
    #[arg(long, value_name = "N", env = "PLAUDIT_DEVICES_PER_NETWORK", default_value_t = 1000)]
    pub devices_per_network: u32,
}

/// Who may comment, and what becomes of a comment.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Comments")]
pub struct CommentRules {
    /// Devices (voters without a token) may comment too
    #[arg(long, env = "PLAUDIT_ANONYMOUS_COMMENTS", value_parser = clap::builder::BoolishValueParser::new())]
    pub anonymous_comments: bool,
    /// When others see a comment: after a moderator has approved it (before), or at once (after)
    #[arg(long, value_name = "WHEN", env = "PLAUDIT_MODERATION", default_value = "after", hide_possible_values = true)]
    pub moderation: Moderation,
    /// File with a word or phrase a line: comments with one wait for a moderator; read again on SIGHUP
    #[arg(long, value_name = "FILE", env = "PLAUDIT_BLOCKED_WORDS")]
    pub blocked_words: Option<PathBuf>,
    /// Least time between two comments of a voter on a clip, such as 10s, or off
    #[arg(long, value_name = "TIME", env = "PLAUDIT_SLOW_MODE", default_value = "off")]
    #[arg(value_parser = parse_duration_or_off)]
    pub slow_mode: Duration,
    /// Reports that hide a comment until a moderator has looked at it
    #[arg(long, value_name = "N", env = "PLAUDIT_REPORT_THRESHOLD", default_value_t = 3)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..))]
    pub report_threshold: u32,
}

/// Everything that `plaudit serve` can be told.
#[derive(Args, Clone, Debug)]
pub struct Config {
    /// Address to listen on; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS", env = "PLAUDIT_LISTEN", default_value = "127.0.0.1:8080")]
    #[arg(help_heading = "Server")]
    pub listen: Listen,
    /// Port to listen on, in the place of the one in --listen; 0 takes a free one
    #[arg(long, value_name = "PORT", env = "PLAUDIT_PORT", help_heading = "Server")]
    pub port: Option<u16>,
    /// Proxies whose X-Forwarded-For counts: addresses or networks, separated by commas
    #[arg(
        long,
        value_name = "NETWORKS",
        env = "PLAUDIT_TRUSTED_PROXIES",
        default_value = "",
        hide_default_value = true
    )]
    #[arg(help_heading = "Server")]
    pub trusted_proxies: Networks,
    /// Certificate and key.
    #[command(flatten)]
    pub tls: TlsSettings,

    /// Origins whose pages may call the API, scheme and host, with commas between; * for all, without cookies; default: none but the
    /// server's own, with --memory all
    #[arg(long, value_name = "ORIGINS", env = "PLAUDIT_CORS_ORIGINS", value_delimiter = ',', value_parser = push::origins)]
    #[arg(help_heading = "Server")]
    pub cors_origins: Vec<String>,

    /// The store's place.
    #[command(flatten)]
    pub store: DataDir,
    /// When a vote is answered: durable (once it is flushed to the disk) or memory (the flush follows within 100 ms)
    #[arg(long, value_name = "MODE", env = "PLAUDIT_ACK", default_value = "durable", help_heading = "Store")]
    #[arg(hide_possible_values = true)]
    pub ack: AckMode,
    /// Stripes of a clip's counter once many cores add to it
    #[arg(long, value_name = "N", env = "PLAUDIT_SHARDS", default_value_t = 100, help_heading = "Store")]
    pub shards: usize,
    /// Time between two recounts of the stored votes and comments, such as 90s, 10m, 1h, or off
    #[arg(long, value_name = "TIME", env = "PLAUDIT_RECONCILE_EVERY", default_value = "10m", help_heading = "Store")]
    #[arg(value_parser = parse_duration_or_off)]
    pub reconcile_every: Duration,
    /// Start an empty store without the demo season
    #[arg(long, env = "PLAUDIT_NO_DEMO", value_parser = clap::builder::BoolishValueParser::new(), help_heading = "Store")]
    pub no_demo: bool,

    /// What voters' tokens are checked against.
    #[command(flatten)]
    pub tokens: TokenSettings,
    /// Bearer secret of /api/cron; default: made at the first start, kept in DIR/secrets.toml
    #[arg(long, value_name = "SECRET", env = "PLAUDIT_CRON_SECRET", hide_env_values = true, help_heading = "Identity")]
    #[arg(value_parser = Secret::value_parser())]
    pub cron_secret: Option<Secret>,
    /// Bearer secret of /api/admin; default: made at the first start, kept in DIR/secrets.toml
    #[arg(long, value_name = "SECRET", env = "PLAUDIT_ADMIN_TOKEN", hide_env_values = true, help_heading = "Identity")]
    #[arg(value_parser = Secret::value_parser())]
    pub admin_token: Option<Secret>,

    /// What devices have to pass.
    #[command(flatten)]
    pub challenge: ChallengeSettings,

    /// Rounds.
    #[command(flatten)]
    pub rounds: RoundRules,
    /// Comments.
    #[command(flatten)]
    pub comments: CommentRules,
    /// Bounds and rates.
    #[command(flatten)]
    pub limits: Limits,

    /// What is kept for viewers.
    #[command(flatten)]
    pub history: HistorySettings,

    /// The broadcaster.
    #[command(flatten)]
    pub push: PushSettings,

    /// Traces.
    #[command(flatten)]
    pub traces: TraceSettings,
    /// The pages.
    #[command(flatten)]
    pub pages: PageSettings,
    /// For a site's own tests.
    #[command(flatten)]
    pub offline: OfflineSettings,
}

impl Config {
    /// Holds the settings against each other; what is allowed and still unwise comes back as warnings.
    ///
    /// A short secret is a warning and no error: sites bring the secret that signs their tokens already, and refusing
    /// it would not make it longer.
    pub fn check(&self) -> Result<Vec<String>, Fault> {
        let limits = &self.limits;
        if let (Some(all), Some(one)) = (limits.max_connections, limits.max_connections_per_address)
            && one > all
        {
            return Err(Fault::Setting(format!(
                "--max-connections-per-address {one} is more than --max-connections {all}"
            )));
        }
        if let (Some(voter), Some(address)) = (limits.rate_limit.voter, limits.rate_limit.address)
            && address < voter
        {
            return Err(Fault::Setting(format!(
                "--rate-limit voter={voter},address={address}: an address's rate must not be below a voter's, \
                 or no voter ever reaches theirs"
            )));
        }
        let secrets = [
            ("--jwt-secret", &self.tokens.jwt_secret),
            ("--cron-secret", &self.cron_secret),
            ("--admin-token", &self.admin_token),
            ("--challenge-secret", &self.challenge.challenge_secret),
        ];
        if self.challenge.challenge_secret.is_some() && self.challenge.challenge_url.is_none() {
            return Err(Fault::Setting("--challenge-secret is given, and no --challenge-url to show it to".into()));
        }
        self.check_push()?;
        self.tls.pair()?;
        let mut warnings: Vec<String> = secrets
            .iter()
            .filter_map(|(flag, secret)| Some((flag, secret.as_ref()?.bytes().len())))
            .filter(|(_, len)| *len < SECRET_LEN)
            .map(|(flag, len)| format!("{flag} has {len} bytes: fewer than {SECRET_LEN} can be guessed"))
            .collect();
        // Whoever is given one of them could otherwise do what another is for: mint voters, or run the tournament.
        for (at, (flag, secret)) in secrets.iter().enumerate() {
            if let Some((other, _)) = secrets[..at].iter().find(|(_, other)| secret.is_some() && other == secret) {
                return Err(Fault::Setting(format!("{flag} and {other} must differ")));
            }
        }
        if !limits.rate_limit.holds_voters() && !self.listen.is_loopback() {
            warnings.push(format!("--rate-limit is off for voters and {} can be reached from outside", self.listen));
        }
        if self.offline.memory && !self.listen.is_loopback() {
            warnings.push(format!("--memory: whoever reaches {} can begin it anew with /api/test", self.listen));
        }
        Ok(warnings)
    }

    /// Where to listen.
    pub fn listen_at(&self) -> Listen {
        self.port.map_or_else(|| self.listen.clone(), |port| self.listen.at_port(port))
    }

    fn check_push(&self) -> Result<(), Fault> {
        let push = &self.push;
        for (at, app) in push.push_app.iter().enumerate() {
            let twice = |other: &PushApp| other.id == app.id || other.key == app.key;
            if push.push_app[..at].iter().any(twice) {
                return Err(Fault::Setting(format!("--push-app: the id or key of {app:?} is there twice")));
            }
        }
        for id in &push.push_disabled {
            if !push.push_app.iter().any(|app| app.id == *id) {
                return Err(Fault::Setting(format!("--push-disabled: there is no --push-app with the id {id:?}")));
            }
        }
        if push.viewer_budget > push.push_budget {
            return Err(Fault::Setting(format!(
                "--viewer-budget {} is more than --push-budget {}",
                push.viewer_budget, push.push_budget
            )));
        }
        Ok(())
    }

    /// How many connections to allow under an open-file limit, and a warning when that is fewer than was asked for.
    pub fn connections(&self, open_files: usize) -> Result<(usize, Option<String>), Fault> {
        let room = open_files.saturating_sub(RESERVED_FILES).min(CONNECTIONS_MAX);
        if room == 0 {
            return Err(Fault::Setting(format!(
                "the open-file limit of {open_files} leaves no room for connections: raise it above {RESERVED_FILES} \
                 (ulimit -n)"
            )));
        }
        Ok(match self.limits.max_connections {
            Some(asked) if asked > room => (
                room,
                Some(format!(
                    "--max-connections {asked} needs an open-file limit of {}, it is {open_files}: {room} are allowed",
                    asked.saturating_add(RESERVED_FILES)
                )),
            ),
            Some(asked) => (asked, None),
            None => (room, None),
        })
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Only {
        #[command(flatten)]
        config: Config,
    }

    /// The settings of a command line.
    pub(crate) fn config(flags: &[&str]) -> Result<Config, String> {
        Only::try_parse_from([&["plaudit"], flags].concat()).map(|only| only.config).map_err(|why| why.to_string())
    }

    #[test]
    fn the_defaults_are_those_of_the_contract() {
        let config = config(&[]).unwrap();
        assert_eq!(config.listen.to_string(), "127.0.0.1:8080");
        assert_eq!(config.store.data_dir, PathBuf::from("data/db"));
        assert_eq!((config.limits.daily_limit, config.shards), (200, 100));
        assert_eq!(config.limits.rate_limit.to_string(), "voter=60,address=600,app=60000");
        assert_eq!(config.ack, AckMode::Durable);
        let comments = &config.comments;
        assert_eq!((comments.moderation, comments.slow_mode), (Moderation::After, Duration::ZERO));
        assert_eq!((comments.anonymous_comments, comments.report_threshold), (false, 3));
        let rounds = &config.rounds;
        assert_eq!((rounds.rounds, rounds.slot_duration, rounds.min_clips), (RoundsMode::Auto, Duration::ZERO, 2));
        assert_eq!((config.history.history_events, config.history.history_time), (100, Duration::from_mins(5)));
        assert_eq!(config.check().unwrap(), Vec::<String>::new());
    }

    #[test]
    fn settings_that_contradict_each_other_are_refused() {
        for flags in [
            &["--max-connections", "10", "--max-connections-per-address", "11"][..],
            &["--rate-limit", "voter=60,address=59"],
            &["--challenge-secret", "a secret that is shown to nobody"],
            &[
                "--jwt-secret",
                "one secret for everything, and long",
                "--admin-token",
                "one secret for everything, and long",
            ],
            &[
                "--jwt-secret",
                "one secret for two things, and long",
                "--cron-secret",
                "one secret for two things, and long",
            ],
            &[
                "--cron-secret",
                "one secret for two things, and long",
                "--admin-token",
                "one secret for two things, and long",
            ],
        ] {
            assert!(config(flags).unwrap().check().is_err(), "{flags:?}");
        }
        for flags in [
            &["--push-app", "1:a:s,1:b:s"][..],
            &["--viewer-budget", "2MiB", "--push-budget", "1MiB"],
            &["--push-app", "1:a:s", "--push-disabled", "2"],
            &["--push-disabled", "1"],
        ] {
            assert!(config(flags).unwrap().check().is_err(), "{flags:?}");
        }
        assert!(config(&["--push-app", "1:a:s,2:b:s", "--push-disabled", "2,1"]).unwrap().check().is_ok());
        assert!(config(&["--push-app", "1:a:s", "--push-app", "2:b:s"]).unwrap().check().is_ok());
    }

    #[test]
    fn a_short_secret_and_an_open_door_are_warned_of() {
        let short = config(&["--jwt-secret", "short"]).unwrap().check().unwrap();
        assert!(short[0].contains("--jwt-secret has 5 bytes"), "{short:?}");
        let open = config(&["--rate-limit", "off", "--listen", "0.0.0.0:1"]).unwrap().check().unwrap();
        assert!(open[0].contains("--rate-limit is off"), "{open:?}");
    }

    #[test]
    fn connections_follow_the_open_file_limit() {
        let none = config(&[]).unwrap();
        assert_eq!(none.connections(1024).unwrap(), (768, None));
        assert!(none.connections(256).is_err());
        let many = config(&["--max-connections", "5000"]).unwrap();
        let (allowed, warning) = many.connections(1024).unwrap();
        assert_eq!(allowed, 768);
        assert!(warning.unwrap().contains("5256"));
    }

    #[test]
    fn a_secret_never_shows_in_debug_output() {
        let config = config(&["--admin-token", "very-secret-indeed"]).unwrap();
        assert!(!format!("{config:?}").contains("very-secret"));
    }
}
