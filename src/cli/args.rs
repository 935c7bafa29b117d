//! The command line: commands and the flags that aren't settings of the server. Never acts.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

use crate::config::{AckMode, Common, Config, DataDir, PushApp, Secret, TokenSettings, parse_duration};
use crate::jobs::export::Format;

/// The command that a line without one means.
pub(super) const SERVE: &str = "serve";

#[derive(Parser, Debug)]
#[command(name = "plaudit", version, about, override_usage = "plaudit [COMMAND] [OPTIONS]")]
#[command(after_help = super::help::TOP)]
pub(super) struct Cli {
    #[command(subcommand)]
    pub(super) command: Command,
}

#[derive(Subcommand, Debug)]
pub(super) enum Command {
    /// Serve votes over HTTP (the default command)
    Serve(Box<Serve>),
    /// Check a stopped store, and print every clip's recounted votes
    Verify(Verify),
    /// Print a voter's token, for trying out
    Token(Token),
    /// Measure a server over HTTP, or the engine alone
    Bench(Box<Bench>),
    /// Print the events that a stopped store's log still holds, as JSON lines
    Log(Log),
    /// Write all tables of a store, or a locked slot's certificate and ballots, for anyone to check
    Export(Export),
    /// Say whether this machine is fit to serve, and what to do where it isn't
    Doctor(Box<Doctor>),
    /// Print a shell's script that completes commands and flags
    Completions(Completions),
    /// Make a store of an export, exactly as it was
    Import(Import),
    /// Add a backup of a running server or a stopped store to a file
    Backup(Backup),
    /// Make a store of a backup
    Restore(Restore),
    /// Say what serving a stopped store with this version would change
    UpgradeCheck(UpgradeCheck),
    /// Make a stopped store's files anew, without what has gathered in them
    Compact(Compact),
}

impl Command {
    pub(super) fn common(&self) -> &Common {
        match self {
            Self::Serve(serve) => &serve.common,
            Self::Verify(verify) => &verify.common,
            Self::Token(token) => &token.common,
            Self::Bench(bench) => &bench.common,
            Self::Log(log) => &log.common,
            Self::Export(export) => &export.common,
            Self::Doctor(doctor) => &doctor.common,
            Self::Completions(completions) => &completions.common,
            Self::Import(import) => &import.common,
            Self::Backup(backup) => &backup.common,
            Self::Restore(restore) => &restore.common,
            Self::UpgradeCheck(check) => &check.common,
            Self::Compact(compact) => &compact.common,
        }
    }
}

#[derive(Args, Debug)]
#[command(
    after_help = "Each flag is a variable too, --daily-limit is PLAUDIT_DAILY_LIMIT, and a key of the file that\n\
    --config names, daily-limit = 200. Flags go first, then variables, then the file.\n\
    Example: plaudit serve --listen 0.0.0.0:443 --tls-cert site.pem --tls-key site.key"
)]
pub(super) struct Serve {
    #[command(flatten)]
    pub(super) config: Config,
    #[command(flatten)]
    pub(super) common: Common,
}

#[derive(Args, Debug)]
#[command(
    after_help = "Reads every record: checksums, the log's chain, a recount of each clip. Prints a row a clip,\n\
    id votes weight, and exits with 1 when something is wrong.\n\
    Example: plaudit verify --data-dir data/db"
)]
pub(super) struct Verify {
    #[command(flatten)]
    pub(super) store: DataDir,
    /// Print JSON
    #[arg(long)]
    pub(super) json: bool,
    /// Put stored counts right that differ from the recount
    #[arg(long, conflicts_with_all = ["certificate", "export"])]
    pub(super) repair: bool,
    /// Compute a slot's result anew, and name what this certificate has otherwise
    #[arg(long, value_name = "FILE", conflicts_with = "export")]
    pub(super) certificate: Option<PathBuf>,
    /// Hold a slot's export against the certificate in it; needs no store
    #[arg(long, value_name = "FILE")]
    pub(super) export: Option<PathBuf>,
    #[command(flatten)]
    pub(super) common: Common,
}

#[derive(Args, Debug)]
#[command(after_help = "Example: plaudit token --sub alice --ttl 10m")]
pub(super) struct Token {
    /// Whom the token is for
    #[arg(long, value_name = "USER", value_parser = subject)]
    pub(super) sub: String,
    /// How long it is valid, such as 90s, 10m, 1h, 2d
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = parse_duration)]
    pub(super) ttl: Duration,
    /// A name to show, for the token's `name`
    #[arg(long, value_name = "NAME")]
    pub(super) name: Option<String>,
    #[command(flatten)]
    pub(super) tokens: TokenSettings,
    #[command(flatten)]
    pub(super) store: DataDir,
    #[command(flatten)]
    pub(super) common: Common,
}

#[derive(Args, Debug)]
#[command(
    after_help = "Votes, comments, seasons, slots, clips, voters and voids as of one moment, a file each, and a manifest with\n\
    their hashes; without --pseudonymous the secrets and records too, which `plaudit import` makes the store of again.\n\
    A connection that breaks is tried again. Run it again after an interruption: it goes on, of a running server within two\n\
    minutes though votes went on; else it begins anew. Tables in Parquet begin anew each by itself.\n\n\
    With --slot: lines of JSON: the certificate, then every ballot. It names no voter: see --export of `plaudit verify`.\n\n\
    Example: plaudit export --to out --target http://127.0.0.1:8080 --admin-token TOKEN"
)]
pub(super) struct Export {
    #[command(flatten)]
    pub(super) store: DataDir,
    #[command(flatten)]
    pub(super) remote: Remote,
    /// A locked slot alone, by its season's id and its position
    #[arg(long, value_name = "SEASON/N", value_parser = slot, conflicts_with_all = ["target", "format", "pseudonymous", "json"])]
    pub(super) slot: Option<(String, u32)>,
    /// The directory to fill, empty or begun; with --slot the file, which must not be there yet, or - for standard output
    #[arg(long, value_name = "DIR")]
    pub(super) to: PathBuf,
    /// How rows are written: jsonl, csv or parquet
    #[arg(long, value_name = "FORMAT", default_value = "jsonl", value_parser = format)]
    pub(super) format: Format,
    /// Leave out secrets, names and records
    #[arg(long)]
    pub(super) pseudonymous: bool,
    /// Print the manifest as a line of JSON
    #[arg(long)]
    pub(super) json: bool,
    #[command(flatten)]
    pub(super) common: Common,
}

/// A running server, in the place of a stopped store.
#[derive(Args, Debug)]
pub(super) struct Remote {
    /// A running server, http://HOST:PORT, in the place of --data-dir
    #[arg(long, value_name = "URL", requires = "admin_token", help_heading = "Server")]
    pub(super) target: Option<String>,
    /// Its admin token
    #[arg(long, value_name = "TOKEN", env = "PLAUDIT_ADMIN_TOKEN", hide_env_values = true, help_heading = "Server")]
    #[arg(value_parser = Secret::value_parser())]
    pub(super) admin_token: Option<Secret>,
}

#[derive(Args, Debug)]
#[command(
    after_help = "Holds every file of the export against its manifest, makes the store in an empty --data-dir, and recounts all\n\
    of it before it counts as one. Sequences, certificates and voters are what they were.\n\
    Run it again after an interruption: it goes on. Of other files, or another season or columns, it begins anew.\n\
    A CSV file of votes has clip_id, voter_key, user_id, vote_weight, vote_type, slot_position, flagged, created_at; one of\n\
    comments id, clip_id, user_id, username, avatar_url, comment_text, parent_comment_id, is_deleted, created_at.\n\n\
    Example: plaudit import --from out --data-dir new/db"
)]
pub(super) struct Import {
    #[command(flatten)]
    pub(super) store: DataDir,
    /// The export's directory, or a CSV file of another site's votes
    #[arg(long, value_name = "DIR|FILE")]
    pub(super) from: PathBuf,
    /// A CSV file of that site's comments
    #[arg(long, value_name = "FILE", help_heading = "Another site's tables")]
    pub(super) comments: Option<PathBuf>,
    /// What one of our columns is called there; again for each
    #[arg(long, value_name = "OURS=THEIRS", value_parser = column, help_heading = "Another site's tables")]
    pub(super) map: Vec<(String, String)>,
    /// The season that all of it is put into
    #[arg(long, value_name = "ID", default_value = "imported", help_heading = "Another site's tables")]
    pub(super) season: String,
    /// File for rows that can't be taken, with line and reason; another run's are not written over
    #[arg(long, value_name = "FILE", default_value = "rejects.csv", help_heading = "Another site's tables")]
    pub(super) rejects: PathBuf,
    /// Check the export, and make nothing
    #[arg(long)]
    pub(super) dry_run: bool,
    /// Print the manifest as a line of JSON
    #[arg(long)]
    pub(super) json: bool,
    #[command(flatten)]
    pub(super) common: Common,
}

#[derive(Args, Debug)]
#[command(
    after_help = "The first backup of a file holds everything, secrets included; each later one adds what has changed: that saves room in\n\
    the file, while all of the store is read, and by a server sent, each time. A later one that is cut short leaves the one\n\
    before it, and the next goes on.\n\n\
    Example: plaudit backup --to plaudit.backup --target http://127.0.0.1:8080 --admin-token TOKEN"
)]
pub(super) struct Backup {
    #[command(flatten)]
    pub(super) store: DataDir,
    #[command(flatten)]
    pub(super) remote: Remote,
    /// The file of backups, made if it is not there
    #[arg(long, value_name = "FILE")]
    pub(super) to: PathBuf,
    /// Print what was written as a line of JSON
    #[arg(long)]
    pub(super) json: bool,
    #[command(flatten)]
    pub(super) common: Common,
}

#[derive(Args, Debug)]
#[command(
    after_help = "Makes the store in an empty --data-dir, and recounts all of it before it counts as one. Run it again after\n\
    an interruption: it goes on, also when the file has grown by another backup since; with another file it begins anew.\n\n\
    Example: plaudit restore --from plaudit.backup --data-dir new/db"
)]
pub(super) struct Restore {
    #[command(flatten)]
    pub(super) store: DataDir,
    /// The file of backups; the last that was finished counts
    #[arg(long, value_name = "FILE")]
    pub(super) from: PathBuf,
    /// Print what was restored as a line of JSON
    #[arg(long)]
    pub(super) json: bool,
    #[command(flatten)]
    pub(super) common: Common,
}

#[derive(Args, Debug)]
#[command(
    after_help = "Reads every record and changes none: in what forms they are, whether this version can serve them, what its start\n\
    does to them, and what an older version could not read afterwards. Exits with 1 when something is wrong.\n\n\
    Example: plaudit upgrade-check --data-dir data/db"
)]
pub(super) struct UpgradeCheck {
    #[command(flatten)]
    pub(super) store: DataDir,
    /// Print JSON
    #[arg(long)]
    pub(super) json: bool,
    #[command(flatten)]
    pub(super) common: Common,
}

#[derive(Args, Debug)]
#[command(
    after_help = "Copies every record into new files beside the old ones, compares, and exchanges them in one step if they are\n\
    smaller: a crash leaves the old ones or the new ones, whole, and the next start removes the others. The server must be\n\
    stopped, and the disk needs room for the copy.\n\n\
    Example: plaudit compact --data-dir data/db"
)]
pub(super) struct Compact {
    #[command(flatten)]
    pub(super) store: DataDir,
    /// Print what came of it as a line of JSON
    #[arg(long)]
    pub(super) json: bool,
    #[command(flatten)]
    pub(super) common: Common,
}

#[derive(Args, Debug)]
#[command(after_help = "Example: plaudit log --data-dir data/db | tail")]
pub(super) struct Log {
    #[command(flatten)]
    pub(super) store: DataDir,
    #[command(flatten)]
    pub(super) common: Common,
}

#[derive(Args, Debug)]
#[command(
    after_help = "Casts votes, each of a voter of its own. Starts a server of its own on a fresh directory unless\n\
    --target or --engine says otherwise. Latency without --rate is that of a closed loop.\n\
    Example: plaudit bench --rate 10000 --seconds 30s"
)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag")]
pub(super) struct Bench {
    /// Server to drive, http://HOST:PORT; default: one of its own
    #[arg(long, value_name = "URL", help_heading = "What", conflicts_with_all = ["engine", "keep"])]
    pub(super) target: Option<String>,
    /// Drive the engine alone, without HTTP
    #[arg(long, help_heading = "What", conflicts_with = "gets")]
    pub(super) engine: bool,
    /// Read GET /api/vote instead of voting
    #[arg(long, help_heading = "What")]
    pub(super) gets: bool,
    /// Push events to many viewers of one channel instead of voting
    #[arg(long, help_heading = "What", conflicts_with_all = ["engine", "gets", "keep", "votes", "clips"])]
    pub(super) fanout: bool,
    /// Events of one call, with --fanout
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=10), requires = "fanout", help_heading = "What")]
    pub(super) burst: u32,
    /// Bytes of an event's data, with --fanout
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u32).range(21..=10_240), requires = "fanout", help_heading = "What")]
    pub(super) bytes: u32,
    /// Connections that stop reading once they are subscribed, with --fanout
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=60_000), requires = "fanout", help_heading = "What")]
    pub(super) slow: u32,
    /// App of the server at --target, ID:KEY:SECRET, with --fanout
    #[arg(long, value_name = "APP", requires = "fanout", requires = "target", help_heading = "What")]
    pub(super) push_app: Option<PushApp>,
    /// Clips that the votes go to, in turn; over HTTP those of the open slot
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=10_000), help_heading = "What")]
    pub(super) clips: u32,
    /// When a vote is answered: durable or memory; not with --target
    #[arg(long, value_name = "MODE", env = "PLAUDIT_ACK", default_value = "durable", help_heading = "What")]
    #[arg(hide_possible_values = true)]
    pub(super) ack: AckMode,
    /// Keep the store in DIR, which must not hold one yet; default: a temporary one, removed at the end
    #[arg(long, value_name = "DIR", help_heading = "What")]
    pub(super) keep: Option<PathBuf>,

    /// Connections over HTTP
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=60_000), help_heading = "How much")]
    pub(super) connections: u32,
    /// Votes under way at once, with --engine
    #[arg(long, value_name = "N", default_value_t = 1024, value_parser = clap::value_parser!(u32).range(1..=16_384), help_heading = "How much")]
    pub(super) in_flight: u32,
    /// Requests a second, latency counted from each one's scheduled time; default: as fast as answers come
    #[arg(long, value_name = "R", value_parser = rate, help_heading = "How much", conflicts_with = "engine")]
    pub(super) rate: Option<f64>,
    /// Stop after this time; default: 10 s, none with --votes
    #[arg(long, value_name = "TIME", value_parser = parse_duration, help_heading = "How much")]
    pub(super) seconds: Option<Duration>,
    /// Stop after N votes (or reads)
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..), help_heading = "How much")]
    pub(super) votes: Option<u64>,

    /// End with a line of JSON
    #[arg(long, help_heading = "Report")]
    pub(super) json: bool,
    /// Process of the server at --target, for its CPU time and memory
    #[arg(long, value_name = "PID", requires = "target", help_heading = "Report")]
    pub(super) server_pid: Option<u32>,
    /// Store of the server at --target, for its secrets and its size
    #[arg(long, value_name = "DIR", env = "PLAUDIT_DATA_DIR", help_heading = "Report")]
    pub(super) data_dir: Option<PathBuf>,
    #[command(flatten)]
    pub(super) tokens: TokenSettings,
    #[command(flatten)]
    pub(super) common: Common,
}

#[derive(Args, Debug)]
#[command(
    after_help = "Takes the flags of serve, and checks what a server with them would need. Changes nothing; times\n\
    flushes of a file that it removes. Exits with 1 when a server would not start or not keep its word.\n\
    Example: plaudit doctor --config /etc/plaudit/plaudit.toml"
)]
pub(super) struct Doctor {
    /// Print JSON
    #[arg(long, help_heading = "Report")]
    pub(super) json: bool,
    #[command(flatten)]
    pub(super) config: Config,
    #[command(flatten)]
    pub(super) common: Common,
}

#[derive(Args, Debug)]
#[command(after_help = "Example: plaudit completions bash > /etc/bash_completion.d/plaudit\n         \
    plaudit completions zsh > /usr/local/share/zsh/site-functions/_plaudit\n         \
    plaudit completions fish > ~/.config/fish/completions/plaudit.fish")]
pub(super) struct Completions {
    /// The shell: bash, zsh, fish, elvish or powershell
    #[arg(value_name = "SHELL", hide_possible_values = true)]
    pub(super) shell: clap_complete::Shell,
    #[command(flatten)]
    pub(super) common: Common,
}

fn subject(text: &str) -> Result<String, &'static str> {
    if (1..=256).contains(&text.len()) { Ok(text.to_owned()) } else { Err("must be 1 to 256 bytes") }
}

fn column(text: &str) -> Result<(String, String), &'static str> {
    const OURS: [&str; 14] = [
        "clip_id",
        "voter_key",
        "user_id",
        "vote_weight",
        "vote_type",
        "slot_position",
        "flagged",
        "created_at",
        "id",
        "username",
        "avatar_url",
        "comment_text",
        "parent_comment_id",
        "is_deleted",
    ];
    let parts = text.split_once('=').filter(|(ours, theirs)| OURS.contains(ours) && !theirs.is_empty());
    parts.map(|(ours, theirs)| (ours.to_owned(), theirs.to_owned())).ok_or("must be one of our columns, = and theirs")
}

fn format(text: &str) -> Result<Format, &'static str> {
    Format::of(text).ok_or("must be jsonl, csv or parquet")
}

fn slot(text: &str) -> Result<(String, u32), &'static str> {
    let parts = text.rsplit_once('/').and_then(|(season, position)| Some((season.to_owned(), position.parse().ok()?)));
    parts.ok_or("must be a season's id and a position, such as s1/2")
}

fn rate(text: &str) -> Result<f64, &'static str> {
    let rate = text.parse().ok().filter(|rate: &f64| (0.1..=10_000_000.0).contains(rate));
    rate.ok_or("must be a number from 0.1 to 10000000")
}
