//! The real binary as a child process: started on a free port, killed, frozen or stopped. No child outlives its value.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};

/// Longer than anything here takes that does happen, on a machine that is busy with other things.
pub(crate) const PATIENCE: Duration = Duration::from_mins(5);
/// What the servers are told, so that tests can make tokens.
pub(crate) const JWT_SECRET: &str = "the secret of the destructive tests, long enough";
/// Weight that a voter may give a day: more than all clips of the demo season can take from one.
pub(crate) const DAILY_LIMIT: u32 = 1_000;

/// The binary, with no settings but the test's.
pub(crate) fn plaudit() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_plaudit"));
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("PLAUDIT_")) {
        command.env_remove(name);
    }
    command
}

/// A process that ends with this value.
#[derive(Debug)]
struct Ending(Child);

impl Ending {
    fn pid(&self) -> Pid {
        Pid::from_child(&self.0)
    }
}

impl Drop for Ending {
    fn drop(&mut self) {
        // SIGKILL ends a frozen process too. Waiting for it frees its files before a file system is unmounted. That it has
        // ended already is no error.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A server with the demo season, without rate limits.
#[derive(Debug)]
pub(crate) struct Server {
    child: Ending,
    /// Where it listens.
    pub(crate) address: SocketAddr,
    /// What it said on its standard error, once it has ended.
    complaints: Option<thread::JoinHandle<String>>,
}

impl Server {
    /// Serves the store in `dir`, making it if there is none, and waits until it listens.
    pub(crate) fn start(dir: &Path, more: &[&str]) -> Self {
        Self::try_start(dir, more).unwrap_or_else(|why| panic!("the server did not start: {why}"))
    }

    /// The same; when it ends instead, what it said.
    pub(crate) fn try_start(dir: &Path, more: &[&str]) -> Result<Self, String> {
        let (mut child, complaints) = launch(dir, more);
        let out = child.0.stdout.take().unwrap();
        let (told, listening) = mpsc::channel();
        thread::spawn(move || announce(out, &told));
        match listening.recv_timeout(PATIENCE) {
            Ok(address) => Ok(Self { child, address, complaints: Some(complaints) }),
            Err(why) => {
                drop(child);
                Err(format!("{why}: {}", complaints.join().unwrap()))
            }
        }
    }

    /// Starts one and kills it `after` so long, wherever in its recovery it is by then.
    pub(crate) fn kill_a_start(dir: &Path, after: Duration) {
        let (child, complaints) = launch(dir, &[]);
        thread::sleep(after);
        drop(child);
        complaints.join().unwrap();
    }

    /// `kill -9`
    pub(crate) fn kill(mut self) {
        self.child.0.kill().unwrap();
        self.child.0.wait().unwrap();
    }

    /// Stops every thread of it where it is, and returns once they stand still.
    pub(crate) fn freeze(&self) {
        let pid = self.child.pid();
        kill_process(pid, Signal::STOP).unwrap();
        let (_, status) = waitpid(Some(pid), WaitOptions::UNTRACED).unwrap().expect("waited for it");
        assert!(status.stopped(), "{status:?}");
    }

    /// Asks it to stop, as a supervisor does; how it ended and what it said.
    pub(crate) fn terminate(mut self) -> (ExitStatus, String) {
        kill_process(self.child.pid(), Signal::TERM).unwrap();
        let began = Instant::now();
        let status = loop {
            if let Some(status) = self.child.0.try_wait().unwrap() {
                break status;
            }
            assert!(began.elapsed() < PATIENCE, "it does not stop");
            thread::sleep(Duration::from_millis(5));
        };
        (status, self.complaints.take().unwrap().join().unwrap())
    }
}

/// Votes and weight of each clip.
pub(crate) type Table = BTreeMap<String, (u64, u64)>;

/// What `plaudit verify` recounts in a stopped store. It must find nothing wrong.
pub(crate) fn verify(dir: &Path) -> Table {
    let output = plaudit().args(["verify", "--data-dir"]).arg(dir).output().unwrap();
    let rows = String::from_utf8(output.stdout).unwrap();
    let complaints = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{rows}{complaints}");
    let row = |line: &str| {
        let mut cells = line.split(' ');
        let mut cell = || cells.next().unwrap_or_else(|| panic!("three cells: {line}"));
        (cell().to_owned(), (cell().parse().unwrap(), cell().parse().unwrap()))
    };
    rows.lines().map(row).collect()
}

fn launch(dir: &Path, more: &[&str]) -> (Ending, thread::JoinHandle<String>) {
    let mut command = plaudit();
    command.args(["serve", "--listen", "127.0.0.1:0", "--rate-limit", "off", "--log", "warn"]);
    command.args(["--jwt-secret", JWT_SECRET, "--daily-limit", &DAILY_LIMIT.to_string(), "--data-dir"]);
    command.arg(PathBuf::from(dir)).args(more).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = Ending(command.spawn().unwrap());
    let mut err = child.0.stderr.take().unwrap();
    // Read all along, or a full pipe would hold the server up.
    let complaints = thread::spawn(move || {
        let mut text = String::new();
        let _ = err.read_to_string(&mut text);
        text
    });
    (child, complaints)
}

/// Tells the address from the banner, and reads on so that the server never writes into a closed pipe.
fn announce(out: ChildStdout, told: &mpsc::Sender<SocketAddr>) {
    for line in BufReader::new(out).lines().map_while(Result::ok) {
        if let Some(at) = line.trim_start().strip_prefix("listening") {
            let at = at.trim().strip_prefix("http://").and_then(|at| at.parse().ok());
            // Whoever asked may have given up.
            let _ = told.send(at.unwrap_or_else(|| panic!("no address in the banner: {line}")));
        }
    }
}
