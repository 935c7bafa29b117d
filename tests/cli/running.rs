//! Starting the binary, and talking to the server that it runs. Every child ends with its value.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read, Write as _};
use std::net::{Shutdown, TcpStream};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// Far longer than anything here takes; what hangs must fail and not hang the tests.
pub(crate) const GIVE_UP: Duration = Duration::from_mins(5);

/// The binary, with no settings from the tests' own environment.
pub(crate) fn plaudit() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_plaudit"));
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("PLAUDIT_")) {
        command.env_remove(name);
    }
    command
}

/// Runs a command of the binary to its end.
pub(crate) fn run<A: AsRef<OsStr>>(args: impl IntoIterator<Item = A>) -> Output {
    plaudit().args(args).output().unwrap()
}

pub(crate) fn out(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

pub(crate) fn err(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// A running server.
pub(crate) struct Running {
    child: Child,
    /// What it said at its start.
    pub(crate) banner: String,
    /// `127.0.0.1:PORT`
    pub(crate) address: String,
    complaints: Arc<Mutex<String>>,
}

/// Serves a directory on a free port, with more flags.
pub(crate) fn serve(dir: &Path, more: &[&str]) -> Running {
    let mut command = plaudit();
    command.args(["serve", "--listen", "127.0.0.1:0", "--data-dir"]).arg(dir).args(more);
    Running::start(command)
}

impl Running {
    /// Starts a command that serves on a free port, and waits for its banner.
    pub(crate) fn start(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let complaints = Arc::new(Mutex::new(String::new()));
        let (stderr, heard) = (child.stderr.take().unwrap(), Arc::clone(&complaints));
        thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                let mut heard = heard.lock().unwrap();
                heard.push_str(&line);
                heard.push('\n');
            }
        });
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut banner = String::new();
        // Its last line is the vote to cast, or that there is none.
        while !["curl ", "no slot is open", "\"ready\""].iter().any(|end| banner.contains(end)) {
            let Some(line) = lines.next() else { panic!("no banner: {banner}{}", complaints.lock().unwrap()) };
            banner.push_str(&line.unwrap());
            banner.push('\n');
        }
        thread::spawn(move || lines.for_each(drop));
        let plain = banner.lines().find_map(|line| line.trim().strip_prefix("listening").map(str::trim));
        let json = || banner.split("\"url\":\"").nth(1).and_then(|rest| rest.split('"').next());
        let address = plain.or_else(json).unwrap().split_once("://").unwrap().1.to_owned();
        Self { child, banner, address, complaints }
    }

    /// What it wrote to standard error so far.
    pub(crate) fn complaints(&self) -> String {
        self.complaints.lock().unwrap().clone()
    }

    /// Waits until it wrote this to standard error.
    pub(crate) fn wait_for(&self, text: &str) {
        wait_until(|| self.complaints().contains(text), &|| format!("{text:?} in {}", self.complaints()));
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_raw(i32::try_from(self.child.id()).unwrap()).unwrap(), signal).unwrap();
    }

    /// Waits for its end.
    pub(crate) fn ended(&mut self) -> ExitStatus {
        let mut status = None;
        wait_until(
            || {
                status = self.child.try_wait().unwrap();
                status.is_some()
            },
            &|| "the end of the server".into(),
        );
        status.unwrap()
    }

    /// Asks it to stop, and waits until it has: it must end well.
    pub(crate) fn stop(mut self) {
        self.signal(Signal::TERM);
        assert_eq!(self.ended().code(), Some(0), "{}", self.complaints());
    }

    /// One request on a connection of its own: status and body.
    pub(crate) fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        let mut request = format!("{method} {path} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n", self.address);
        for (name, value) in headers {
            write!(request, "{name}: {value}\r\n").unwrap();
        }
        if !body.is_empty() {
            write!(request, "content-type: application/json\r\ncontent-length: {}\r\n", body.len()).unwrap();
        }
        stream.write_all(format!("{request}\r\n{body}").as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head[9..12].parse().unwrap(), body.to_owned())
    }

    /// A vote with a bearer token.
    pub(crate) fn vote(&self, token: &str, clip: &str) -> (u16, String) {
        let bearer = format!("Bearer {token}");
        self.ask("POST", "/api/vote", &[("authorization", &bearer)], &format!(r#"{{"clipId":"{clip}"}}"#))
    }

    /// A connection with a vote whose body has not come, so that a stop has to wait for it.
    pub(crate) fn unfinished(&self) -> Unfinished {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        let head =
            "POST /api/vote HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 19\r\n\r\n{";
        stream.write_all(head.as_bytes()).unwrap();
        Unfinished(stream)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _status = self.child.wait();
    }
}

/// See [`Running::unfinished`].
pub(crate) struct Unfinished(TcpStream);

impl Unfinished {
    /// Sends the rest for `clip-1`, and gives the answer.
    pub(crate) fn finish(mut self) -> String {
        self.0.write_all(br#""clipId":"clip-1"}"#).unwrap();
        let mut answer = String::new();
        let mut read = [0; 1024];
        // Until the body's end: the server may keep the connection open.
        while !answer.ends_with('}') {
            let got = self.0.read(&mut read).unwrap();
            assert!(got > 0, "{answer}");
            answer += std::str::from_utf8(&read[..got]).unwrap();
        }
        self.0.shutdown(Shutdown::Both).unwrap();
        answer
    }
}

/// Waits for a condition; what hangs must fail.
pub(crate) fn wait_until(mut holds: impl FnMut() -> bool, what: &dyn Fn() -> String) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < GIVE_UP, "waited in vain for {}", what());
        thread::sleep(Duration::from_millis(5));
    }
}

/// What a command prints that ends well.
pub(crate) fn done(args: &[&str]) -> String {
    let ended = run(args);
    assert_eq!(ended.status.code(), Some(0), "{args:?}: {}{}", out(&ended), err(&ended));
    out(&ended)
}

/// What `verify` says of a store.
pub(crate) fn verified(dir: &Path) -> Value {
    serde_json::from_str(&done(&["verify", "--json", "--data-dir", dir.to_str().unwrap()])).unwrap()
}
