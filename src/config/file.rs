//! `plaudit.toml`: its values take the place of the flags' defaults, so that clap itself lets flags and environment go
//! first and checks all of them alike. Never decides what a value means.

use std::path::Path;

use clap::Command;
use toml::Value;

use crate::error::Fault;

/// The command with the file's values as its subcommands' defaults.
///
/// A key is a long flag of `server`, the subcommand that knows all settings; the other subcommands take of the file
/// what they know, so one file serves all. An unknown key is a [`Fault::Setting`] that names the nearest known one.
pub fn put_defaults(command: Command, server: &str, path: &Path) -> Result<Command, Fault> {
    let text = std::fs::read_to_string(path).map_err(|why| Fault::io(format!("reading {}", path.display()), &why))?;
    let table: toml::Table = text.parse().map_err(|why| wrong(path, &why))?;
    let known = keys(&command, server);
    let mut values = Vec::with_capacity(table.len());
    for (key, value) in &table {
        let Some((_, kind)) = known.iter().find(|(name, _)| name == key) else {
            let nearest = known.iter().map(|(name, _)| name).min_by_key(|name| distance(name, key));
            let nearest = nearest.expect("the server has flags");
            return Err(wrong(path, &format!("there is no setting {key:?}; the nearest is {nearest:?}")));
        };
        let text = flag_text(value, *kind).map_err(|why| wrong(path, &format!("{key}: {why}")))?;
        values.push((key.clone(), text));
    }
    Ok(command.mut_subcommands(|sub| put(sub, &values)))
}

/// What clap said about a file's value, without its usage lines, which speak of flags.
pub fn refused(path: &Path, why: &clap::Error) -> Fault {
    let text = why.to_string();
    let first = text.lines().next().unwrap_or_default().trim_start_matches("error: ");
    wrong(path, &first)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Plain,
    Secret,
}

fn keys(command: &Command, server: &str) -> Vec<(String, Kind)> {
    let server = command.find_subcommand(server).expect("the server is a subcommand");
    let named = server.get_arguments().filter_map(|arg| Some((arg.get_long()?.to_owned(), arg)));
    let settings = named.filter(|(name, _)| !["config", "help", "help-all", "version"].contains(&name.as_str()));
    settings.map(|(name, arg)| (name, if arg.is_hide_env_values_set() { Kind::Secret } else { Kind::Plain })).collect()
}

fn put(sub: Command, values: &[(String, String)]) -> Command {
    values.iter().fold(sub, |sub, (key, text)| {
        let id = sub.get_arguments().find(|arg| arg.get_long() == Some(key)).map(|arg| arg.get_id().clone());
        match id {
            Some(id) => sub.mut_arg(id, |arg| arg.default_value(text.clone())),
            None => sub,
        }
    })
}

fn flag_text(value: &Value, kind: Kind) -> Result<String, &'static str> {
    match value {
        Value::String(text) => Ok(text.clone()),
        // A number could be written in several ways; a secret is the bytes given.
        _ if kind == Kind::Secret => Err("a secret is a text in quotes"),
        Value::Integer(number) => Ok(number.to_string()),
        Value::Boolean(yes) => Ok(yes.to_string()),
        Value::Array(parts) => {
            parts.iter().map(|part| flag_text(part, kind)).collect::<Result<Vec<_>, _>>().map(|p| p.join(","))
        }
        Value::Table(parts) => {
            let pair = |(name, part)| flag_text(part, kind).map(|text| format!("{name}={text}"));
            parts.iter().map(pair).collect::<Result<Vec<_>, _>>().map(|parts| parts.join(","))
        }
        Value::Float(_) | Value::Datetime(_) => Err("must be a text, a whole number, true or false"),
    }
}

fn wrong(path: &Path, why: &dyn std::fmt::Display) -> Fault {
    Fault::Setting(format!("{}: {}", path.display(), why.to_string().trim_end()))
}

/// Levenshtein's distance; keys are short.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut corner = row[0];
        row[0] = i + 1;
        for (j, y) in b.bytes().enumerate() {
            let changed = corner + usize::from(x != y);
            corner = row[j + 1];
            row[j + 1] = changed.min(row[j] + 1).min(corner + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use clap::{Parser, Subcommand};

    use super::*;
    use crate::config::{Config, DataDir};

    #[derive(Parser, Debug)]
    struct Cli {
        #[command(subcommand)]
        command: Sub,
    }

    #[derive(Subcommand, Debug)]
    enum Sub {
        Serve(Box<Config>),
        Verify(DataDir),
    }

    fn parse(file: &str, args: &[&str]) -> Result<Sub, String> {
        use clap::{CommandFactory, FromArgMatches};
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("plaudit.toml");
        std::fs::write(&path, file).unwrap();
        let command = put_defaults(Cli::command(), "serve", &path).map_err(|why| why.to_string())?;
        let matches = command
            .try_get_matches_from([&["plaudit"], args].concat())
            .map_err(|why| refused(&path, &why).to_string())?;
        Ok(Cli::from_arg_matches(&matches).unwrap().command)
    }

    fn serve(file: &str, args: &[&str]) -> Config {
        match parse(file, &[&["serve"], args].concat()).unwrap() {
            Sub::Serve(config) => *config,
            other @ Sub::Verify(_) => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_flag_goes_before_the_file_and_the_file_before_the_default() {
        let file = "daily-limit = 50\nshards = 7\n";
        let config = serve(file, &["--daily-limit", "60"]);
        assert_eq!((config.limits.daily_limit, config.shards, config.limits.max_voters), (60, 7, 50_000_000));
    }

    #[test]
    fn every_kind_of_value_can_be_written_plainly() {
        let config = serve(
            "no-demo = true\nack = \"memory\"\njwt-secret = \"s\"\ntrusted-proxies = [\"10.0.0.0/8\", \"::1\"]\n\
             [weights]\nmega = 20\n[rate-limit]\nvoter = 5\naddress = \"off\"\n",
            &[],
        );
        assert!(config.no_demo);
        assert_eq!(config.ack.as_str(), "memory");
        assert_eq!(config.tokens.jwt_secret.unwrap().bytes(), b"s");
        assert_eq!(config.trusted_proxies.0.len(), 2);
        assert_eq!(config.limits.weights.0.mega, 20);
        assert_eq!(config.limits.rate_limit.to_string(), "voter=5,address=off,app=60000");
    }

    #[test]
    fn another_command_takes_of_the_file_what_it_knows() {
        match parse("data-dir = \"/there\"\nshards = 3\n", &["verify"]).unwrap() {
            Sub::Verify(at) => assert_eq!(at.data_dir, Path::new("/there")),
            other @ Sub::Serve(_) => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_is_wrong_in_a_file_is_named() {
        for (file, says) in [
            ("daily_limit = 5", "no setting \"daily_limit\"; the nearest is \"daily-limit\""),
            ("jwt-secrets = \"x\"", "the nearest is \"jwt-secret\""),
            ("config = \"x\"", "no setting \"config\""),
            ("shards = \"many\"", "invalid value 'many' for '--shards <N>'"),
            ("shards = 1.5", "shards: must be a text"),
            ("jwt-secret = 12345", "jwt-secret: a secret is a text"),
            ("shards = ", "plaudit.toml"),
        ] {
            let why = parse(file, &["serve"]).unwrap_err();
            assert!(why.contains(says) && why.contains("plaudit.toml"), "{file}: {why}");
        }
    }

    #[test]
    fn distances_are_those_of_single_edits() {
        assert_eq!(distance("listen", "listen"), 0);
        assert_eq!(distance("listen", "lisden"), 1);
        assert_eq!(distance("ack", "stack"), 2);
        assert_eq!(distance("", "abc"), 3);
    }
}
