//! What `--help` shows: what most people set, within a screen. `--help-all` shows every flag, and so does README's table.
//!
//! A new flag of a command with many is shown by `--help-all` alone until it is named here. Never decides what a flag means.

use clap::Command;

/// The flags that `--help` shows of commands that have more than fit.
const SHOWN: [(&str, &[&str]); 3] = [
    ("serve", SERVE),
    (
        "doctor",
        &["json", "listen", "data-dir", "tls-cert", "tls-key", "max-connections", "max-voters", "config", "log"],
    ),
    (
        "bench",
        &[
            "target",
            "engine",
            "gets",
            "fanout",
            "clips",
            "ack",
            "keep",
            "connections",
            "in-flight",
            "rate",
            "seconds",
            "votes",
            "json",
            "data-dir",
            "config",
            "log",
        ],
    ),
];

const SERVE: &[&str] = &[
    "listen",
    "tls-cert",
    "tls-key",
    "data-dir",
    "ack",
    "jwt-secret",
    "slot-duration",
    "daily-limit",
    "rate-limit",
    "allowed-origins",
    "config",
    "log",
];

/// Behind the list of commands.
pub(super) const TOP: &str = "\
Without a command: serve. Every setting is a flag, a variable (PLAUDIT_…) and a key of the file
that --config names; flags go first, then variables, then the file.

Examples:  plaudit                     serves a demo season on http://127.0.0.1:8080
           plaudit doctor              says whether this machine is fit to serve
           plaudit bench               measures votes over HTTP on this machine

Exit codes:
  0  done
  1  failed, or something is wrong with what was checked; standard error says what
  2  the command line or the configuration file can't be read; nothing was done";

/// Hides what is rarely set from `--help`.
pub(super) fn within_a_screen(command: Command) -> Command {
    SHOWN.iter().fold(command, |command, (name, shown)| {
        if command.find_subcommand(name).is_none() {
            return command;
        }
        command.mut_subcommand(name, |sub| {
            sub.mut_args(|arg| {
                let is_shown = arg.get_long().is_none_or(|long| shown.contains(&long) || long.starts_with("help"));
                arg.hide_short_help(!is_shown)
            })
        })
    })
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;
    use std::path::Path;

    use clap::Arg;

    use super::*;

    const WIDTH: usize = 100;
    const HEIGHT: usize = 40;

    fn commands() -> Vec<Command> {
        let mut command = super::super::command().term_width(WIDTH);
        command.build();
        command.get_subcommands().filter(|sub| sub.get_name() != "help").cloned().collect()
    }

    fn holds(name: &str, text: &str) {
        let lines = text.lines().count();
        assert!(
            lines <= HEIGHT,
            "`plaudit {name} --help` has {lines} lines, {HEIGHT} fit: give the command a list of what is shown in \
             src/cli/help.rs, or shorten it\n{text}"
        );
        for line in text.lines() {
            assert!(line.chars().count() <= WIDTH, "`plaudit {name} --help` is wider than {WIDTH}: {line}");
        }
    }

    #[test]
    fn every_help_fits_a_screen_and_shows_an_example() {
        holds("", &super::super::command().term_width(WIDTH).render_help().to_string());
        let commands = commands();
        assert!(commands.len() >= 7);
        for mut command in commands {
            let name = command.get_name().to_owned();
            let text = command.render_help().to_string();
            holds(&name, &text);
            let example =
                text.lines().any(|line| line.starts_with("Example") && line.contains(&format!("plaudit {name}")));
            assert!(
                example,
                "`plaudit {name} --help` shows no example: give it #[command(after_help = \"… Example: plaudit {name} …\")] in \
                 src/cli/args.rs\n{text}"
            );
        }
    }

    #[test]
    fn what_a_screen_does_not_hold_is_in_the_whole_help() {
        for mut command in commands() {
            let (short, long) = (command.render_help().to_string(), command.render_long_help().to_string());
            for arg in command.get_arguments().filter_map(Arg::get_long) {
                let flag = format!("--{arg}");
                let has = |text: &str| text.split([' ', '\n', ',']).any(|word| word == flag);
                assert!(has(&long), "{flag} of {}", command.get_name());
                if let Some((_, shown)) = SHOWN.iter().find(|(name, _)| *name == command.get_name()) {
                    assert_eq!(has(&short), shown.contains(&arg) || arg.starts_with("help"), "{flag}\n{short}");
                }
            }
        }
        for (name, shown) in SHOWN {
            let command = commands().into_iter().find(|command| command.get_name() == name).unwrap();
            for flag in shown {
                let there = command.get_arguments().any(|arg| arg.get_long() == Some(flag));
                assert!(there, "src/cli/help.rs shows --{flag} of {name}, which there is not");
            }
        }
    }

    const BEGIN: &str = "<!-- configuration: begin -->";
    const END: &str = "<!-- configuration: end -->";

    /// README's table of every setting.
    fn table() -> String {
        let serve = commands().into_iter().find(|command| command.get_name() == "serve").unwrap();
        let mut text = "| flag | default | what it sets |\n|---|---|---|\n".to_owned();
        let mut headings: Vec<&str> = Vec::new();
        for arg in serve.get_arguments().filter(|arg| !arg.get_id().as_str().starts_with("help")) {
            let heading = arg.get_help_heading().expect("every flag of serve stands under a heading");
            if !headings.contains(&heading) {
                headings.push(heading);
            }
        }
        for heading in headings {
            writeln!(text, "| **{heading}** | | |").unwrap();
            let under = serve.get_arguments().filter(|arg| arg.get_help_heading() == Some(heading));
            for arg in under.filter(|arg| !arg.get_id().as_str().starts_with("help")) {
                let long = arg.get_long().expect("a setting has a long name");
                let takes = arg.get_action().takes_values();
                let value =
                    arg.get_value_names().filter(|_| takes).map(|names| format!(" {}", names[0])).unwrap_or_default();
                let given: Vec<_> = arg.get_default_values().iter().map(|value| value.to_string_lossy()).collect();
                let default =
                    if takes && !given.concat().is_empty() { format!("`{}`", given.join(",")) } else { String::new() };
                let help = arg.get_help().expect("every flag says what it sets").to_string().replace('|', "\\|");
                writeln!(text, "| `--{long}{value}` | {default} | {help} |").unwrap();
            }
        }
        text
    }

    #[test]
    fn the_table_in_readme_is_that_of_the_flags() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
        let readme = std::fs::read_to_string(&path).unwrap();
        let (before, rest) = readme.split_once(BEGIN).expect("README has the table's begin");
        let (there, after) = rest.split_once(END).expect("README has the table's end");
        let wanted = format!("\n{}", table());
        if std::env::var_os("PLAUDIT_WRITE_README").is_some() {
            return std::fs::write(&path, format!("{before}{BEGIN}{wanted}{END}{after}")).unwrap();
        }
        assert!(
            there == wanted,
            "README's table of settings is not that of the flags. Write it anew:\n\n    \
             PLAUDIT_WRITE_README=1 cargo test --lib the_table_in_readme\n"
        );
    }

    #[test]
    fn every_setting_has_the_variable_that_follows_from_its_name() {
        let serve = commands().into_iter().find(|command| command.get_name() == "serve").unwrap();
        for arg in serve.get_arguments().filter(|arg| !arg.get_id().as_str().starts_with("help")) {
            let long = arg.get_long().unwrap();
            let variable = format!("PLAUDIT_{}", long.to_uppercase().replace('-', "_"));
            assert_eq!(arg.get_env().map(|name| name.to_string_lossy().into_owned()), Some(variable), "--{long}");
        }
    }
}
