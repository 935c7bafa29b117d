//! `plaudit completions`: what a shell needs to complete our commands and flags.

use super::args::Completions;
use super::{Done, command, print};
use crate::error::Fault;

/// Prints the shell's script.
pub(super) fn run(args: &Completions) -> Result<Done, Fault> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut command(), "plaudit", &mut script);
    print(&String::from_utf8_lossy(&script)).map(|()| Done::Well)
}
