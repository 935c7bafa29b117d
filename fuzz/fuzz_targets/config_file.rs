//! The settings' file: any text is taken or refused with a message that names the file, and what is taken can be checked.

#![no_main]

use std::path::PathBuf;
use std::sync::LazyLock;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use libfuzzer_sys::fuzz_target;
use plaudit::config::{Config, file};

#[derive(Parser)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Serve(Box<Config>),
}

static FILE: LazyLock<(tempfile::TempDir, PathBuf)> = LazyLock::new(|| {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("plaudit.toml");
    (dir, path)
});

fuzz_target!(|text: &[u8]| {
    let (_, path) = &*FILE;
    std::fs::write(path, text).expect("room for a file");
    let command = match file::put_defaults(Cli::command(), "serve", path) {
        Ok(command) => command,
        Err(why) => {
            assert!(why.to_string().contains("plaudit.toml"), "{why}");
            return;
        }
    };
    match command.try_get_matches_from(["plaudit", "serve"]) {
        Ok(matches) => {
            let Command::Serve(config) = Cli::from_arg_matches(&matches).expect("clap has checked them").command;
            let _ = config.check();
            let _ = config.connections(1 << 16);
        }
        Err(why) => assert!(file::refused(path, &why).to_string().contains("plaudit.toml")),
    }
});
