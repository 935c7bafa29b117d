//! A server in a child process, for a run's length: started on a directory and a free port, stopped with the value.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::load::Target;
use super::process::Watched;
use crate::error::Fault;

/// Longer than a server takes to stop by itself.
const STOP_WITHIN: Duration = Duration::from_secs(12);

/// A child that serves; asked to stop, and at last made to, when this is dropped.
#[derive(Debug)]
pub struct Server {
    child: Child,
    target: Target,
}

impl Server {
    /// Starts `plaudit serve` of this program file, without rate limits and with the demo season. `more` are flags of
    /// the caller's.
    pub fn plaudit(program: &Path, dir: &Path, ack: &str, more: &[&str]) -> Result<Self, Fault> {
        let mut command = Command::new(program);
        command.args([
            "serve",
            "--listen",
            "127.0.0.1:0",
            "--rate-limit",
            "off",
            "--log",
            "warn,plaudit::cli=error",
            "--ack",
            ack,
        ]);
        command.arg("--data-dir").arg(dir).args(more);
        // What the caller's settings say must not change what is measured.
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("PLAUDIT_")) {
            command.env_remove(name);
        }
        Self::start(command)
    }

    /// Starts a command that prints a line `listening http://ADDRESS` once it serves.
    pub fn start(mut command: Command) -> Result<Self, Fault> {
        let failed = |why: &std::io::Error| Fault::io("starting the server", why);
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().map_err(|why| failed(&why))?;
        let out = BufReader::new(child.stdout.take().expect("it is piped"));
        let mut lines = out.lines();
        let address = loop {
            match lines.next() {
                Some(Ok(line)) => {
                    let said =
                        line.trim().strip_prefix("listening").and_then(|rest| rest.trim().strip_prefix("http://"));
                    if let Some(address) = said.and_then(|address| address.parse().ok()) {
                        break address;
                    }
                }
                Some(Err(why)) => return Err(failed(&why)),
                None => {
                    let ended = child.wait().map_err(|why| failed(&why))?;
                    return Err(Fault::Setting(format!("the server ended at its start ({ended})")));
                }
            }
        };
        // What it prints from here on is read and dropped, so that it never waits for a full pipe.
        std::thread::spawn(move || lines.for_each(drop));
        Ok(Self { child, target: Target::at(address) })
    }

    /// Where it is.
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// Its process' id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Its process.
    pub fn watched(&self) -> Option<Watched> {
        Watched::new(self.child.id())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(pid) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            // It may have ended already.
            let _ended = kill_process(pid, Signal::TERM);
        }
        let asked = Instant::now();
        while asked.elapsed() < STOP_WITHIN {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        let _ended = self.child.kill();
        let _status = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_found_by_its_line_and_stopped_with_the_value() {
        let mut command = Command::new("sh");
        command.args(["-c", "echo starting; echo '  listening   http://127.0.0.1:4242'; exec sleep 600"]);
        let server = Server::start(command).unwrap();
        assert_eq!(server.target(), &Target::at("127.0.0.1:4242".parse().unwrap()));
        let pid = server.child.id();
        assert!(server.watched().is_some());
        drop(server);
        assert!(Watched::new(pid).is_none());
    }

    #[test]
    fn one_that_ends_at_once_is_an_error() {
        let mut command = Command::new("sh");
        command.args(["-c", "echo no; exit 3"]);
        let why = Server::start(command).unwrap_err().to_string();
        assert!(why.contains("ended at its start"), "{why}");
    }
}
