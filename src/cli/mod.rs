//! The commands. Each turns its settings into calls of the engine and prints what comes back; results go to standard
//! output, everything else to standard error.
//!
//! Never: decides anything about votes. Exit codes: 0 for done, 1 for failed or found wanting, 2 for a command line that can't be
//! read; `help` prints them.

mod args;
mod bars;
pub mod bench;
mod completions;
mod data;
mod demo;
mod doctor;
mod export;
mod help;
mod import;
mod incoming;
pub mod process;
mod rejects;
mod restore;
mod results;
mod secrets;
mod serve;
mod store;
mod token;
mod upkeep;

use std::ffi::OsString;
use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches};
use tracing_subscriber::EnvFilter;

use crate::config::{Common, file};
use crate::error::Fault;
use args::{Cli, Command};

/// Runs the command that the process was started with.
pub fn main() -> ExitCode {
    let cli = match read(std::env::args_os().collect()) {
        Ok(cli) => cli,
        Err(Usage::Clap(why)) => {
            // clap prints help and errors itself; 0 for help, 2 for an error.
            let code = why.exit_code();
            let printed = why.print();
            return if printed.is_ok() && code == 0 { ExitCode::SUCCESS } else { ExitCode::from(2) };
        }
        Err(Usage::Setting(why)) => {
            complain(&why);
            return ExitCode::from(2);
        }
    };
    let done = match cli.command {
        Command::Serve(serve) => log_to(&serve.common).and_then(|()| serve::run(*serve)),
        Command::Verify(verify) => log_to(&verify.common).and_then(|()| store::verify(&verify)),
        Command::Token(token) => log_to(&token.common).and_then(|()| token::run(&token)),
        Command::Bench(bench) => log_to(&bench.common).and_then(|()| bench::run(&bench)),
        Command::Log(log) => log_to(&log.common).and_then(|()| store::log(&log)),
        Command::Doctor(doctor) => log_to(&doctor.common).and_then(|()| doctor::run(&doctor)),
        Command::Completions(completions) => log_to(&completions.common).and_then(|()| completions::run(&completions)),
        Command::Export(export) => log_to(&export.common).and_then(|()| export::export(&export)),
        Command::Import(import) => log_to(&import.common).and_then(|()| import::run(&import)),
        Command::Backup(backup) => log_to(&backup.common).and_then(|()| data::backup(&backup)),
        Command::Restore(restore) => log_to(&restore.common).and_then(|()| restore::run(&restore)),
        Command::Compact(compact) => log_to(&compact.common).and_then(|()| upkeep::compact(&compact)),
        Command::UpgradeCheck(check) => log_to(&check.common).and_then(|()| upkeep::upgrade_check(&check)),
    };
    match done {
        Ok(Done::Well) => ExitCode::SUCCESS,
        Ok(Done::WithFindings) => ExitCode::FAILURE,
        Err(why) => {
            complain(&why);
            ExitCode::FAILURE
        }
    }
}

/// How a command ended that did its work.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Done {
    /// Nothing to complain of.
    Well,
    /// It printed what is wrong.
    WithFindings,
}

enum Usage {
    Clap(clap::Error),
    Setting(Fault),
}

/// Reads the command line. A configuration file is named by a flag or variable, so these are read once without it and,
/// when it is there, once more with its values as defaults.
fn read(mut line: Vec<OsString>) -> Result<Cli, Usage> {
    if line.get(1).is_some_and(|first| first == "help") {
        // As `COMMAND --help` has it: clap's own way prints every flag.
        line.remove(1);
        line.push("--help".into());
    }
    if serves_by_default(&line) {
        line.insert(1, args::SERVE.into());
    }
    let matches = command().try_get_matches_from(&line).map_err(Usage::Clap)?;
    let cli = Cli::from_arg_matches(&matches).map_err(Usage::Clap)?;
    let Some(path) = &cli.command.common().config else { return Ok(cli) };
    let command = file::put_defaults(command(), args::SERVE, path).map_err(Usage::Setting)?;
    let refused = |why: clap::Error| Usage::Setting(file::refused(path, &why));
    let matches = command.try_get_matches_from(&line).map_err(refused)?;
    Cli::from_arg_matches(&matches).map_err(refused)
}

/// The command line as clap reads it. The variables' names would be half of every help text, and follow one rule.
fn command() -> clap::Command {
    help::within_a_screen(Cli::command().mut_subcommands(|sub| sub.mut_args(|arg| arg.hide_env(true))))
}

/// Whether no command is named: nothing follows the program's name, or a flag that isn't the program's own.
fn serves_by_default(line: &[OsString]) -> bool {
    let own = ["-h", "--help", "-V", "--version"];
    match line.get(1) {
        None => true,
        Some(first) => first.to_str().is_some_and(|first| first.starts_with('-') && !own.contains(&first)),
    }
}

/// What libraries say below a warning is of bytes and headers, which hold tokens: it is heard by nobody, whatever is asked for.
const UNHEARD: [&str; 6] =
    ["h2=warn", "hyper=warn", "hyper_util=warn", "rustls=warn", "tungstenite=warn", "opentelemetry=warn"];

/// Sends the log to standard error: for people on a terminal, as JSON elsewhere. Takes nothing from the `log` crate: the
/// store listens there for its own errors, and forwards them.
fn log_to(common: &Common) -> Result<(), Fault> {
    let filter = EnvFilter::builder().parse(&common.log).map_err(|why| Fault::Setting(format!("--log: {why}")))?;
    let filter = UNHEARD.iter().fold(filter, |filter, quiet| filter.add_directive(quiet.parse().expect("a directive")));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    let set = if io::stderr().is_terminal() {
        tracing::subscriber::set_global_default(builder.with_target(false).finish())
    } else {
        tracing::subscriber::set_global_default(builder.json().flatten_event(true).finish())
    };
    set.map_err(|why| Fault::Setting(why.to_string()))
}

fn complain(why: &Fault) {
    // Nobody is left to tell when standard error is closed.
    let _closed = writeln!(io::stderr(), "error: {why}");
}

/// Prints to standard output.
fn print(text: &str) -> Result<(), Fault> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(|why| Fault::io("printing", &why))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(args: &[&str]) -> Vec<OsString> {
        [&["plaudit"], args].concat().into_iter().map(OsString::from).collect()
    }

    #[test]
    fn the_command_line_is_sound() {
        command().debug_assert();
    }

    #[test]
    fn no_command_means_serve() {
        for (args, default) in [
            (&[][..], true),
            (&["--no-demo"], true),
            (&["--help"], false),
            (&["-V"], false),
            (&["verify"], false),
            (&["vrfy"], false),
        ] {
            assert_eq!(serves_by_default(&line(args)), default, "{args:?}");
        }
        let Ok(cli) = read(line(&["--listen", "[::1]:9"])) else { panic!("must be read") };
        let Command::Serve(serve) = cli.command else { panic!("must serve") };
        assert_eq!(serve.config.listen.to_string(), "[::1]:9");
    }

    #[test]
    fn help_for_a_command_is_the_commands_own() {
        let said = |args: &[&str]| {
            let Err(Usage::Clap(why)) = read(line(args)) else { panic!("must be said") };
            (why.exit_code(), why.to_string())
        };
        for command in ["serve", "verify", "bench"] {
            assert_eq!(said(&["help", command]), said(&[command, "--help"]));
        }
        assert_eq!(said(&["help"]), said(&["--help"]));
        assert_eq!(said(&["help", "vrfy"]).0, 2);
    }

    #[test]
    fn a_file_is_read_for_any_command_and_flags_go_first() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("plaudit.toml");
        std::fs::write(&path, "data-dir = \"/from/file\"\nshards = 12\nlog = \"warn\"\n").unwrap();
        let path = path.to_str().unwrap();
        let Ok(cli) = read(line(&["--config", path, "--shards", "13"])) else { panic!("must be read") };
        let Command::Serve(serve) = cli.command else { panic!("must serve") };
        assert_eq!((serve.config.shards, serve.common.log.as_str()), (13, "warn"));
        assert_eq!(serve.config.store.data_dir.to_str(), Some("/from/file"));
        let Ok(cli) = read(line(&["verify", "--config", path])) else { panic!("must be read") };
        let Command::Verify(verify) = cli.command else { panic!("must verify") };
        assert_eq!(verify.store.data_dir.to_str(), Some("/from/file"));
    }

    #[test]
    fn a_file_that_is_not_there_is_named() {
        let Err(Usage::Setting(why)) = read(line(&["serve", "--config", "/no/such.toml"])) else { panic!("must fail") };
        assert!(why.to_string().contains("/no/such.toml"), "{why}");
    }
}
