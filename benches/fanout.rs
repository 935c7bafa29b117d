//! What a push costs beside the least that could do: CPU of the server for a million deliveries, against a bare writer that
//! neither checks nor queues: two threads write a frame to one blocking socket after the other.
//!
//!     cargo bench --bench fanout [-- 10000]      (that many viewers alone)
//!
//! Both are children of this process, driven in turns by `plaudit bench --fanout`. On a shared machine the kernel's `send`, which
//! is most of either, costs half as much again on a bad day: the ratio stays, and says what is ours.

#![expect(clippy::print_stdout, reason = "a benchmark prints its result")]

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, ExitCode};
use std::sync::{Arc, mpsc};

use parking_lot::Mutex;
use plaudit::cli::bench::server::Server;
use serde::Deserialize;

const ROUNDS: usize = 3;
/// Viewers, events a second, and below how many ms a delivery's p99 is to be.
const RUNS: [(u32, u32, f64); 3] = [(1_000, 20, 17.0), (5_000, 10, 71.0), (10_000, 5, 125.0)];
/// Seconds of CPU a million deliveries may take, and KiB a viewer.
const CPU_BAR: f64 = 8.0;
const MEMORY_BAR: f64 = 16.0;
/// The bare writer takes any.
const APP: &str = "bench:bench:bench";

type Failure = Box<dyn std::error::Error>;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if args.iter().any(|arg| arg == "--bare") {
        bare();
        return ExitCode::SUCCESS;
    }
    // `cargo test --benches` runs this without the flag; a comparison of unoptimised servers tells nothing.
    if !args.iter().any(|arg| arg == "--bench") {
        println!("fanout: run it by cargo bench");
        return ExitCode::SUCCESS;
    }
    let only: Option<u32> = args.iter().find_map(|arg| arg.parse().ok());
    let compared = RUNS.iter().filter(|(viewers, ..)| only.is_none_or(|only| only == *viewers)).try_for_each(compare);
    match compared {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            println!("fanout: {why}");
            ExitCode::FAILURE
        }
    }
}

/// What a run printed.
#[derive(Deserialize)]
struct Report {
    lost: u64,
    p99_ms: f64,
    cpu_s_per_million: Option<f64>,
    rss_per_connection: Option<f64>,
}

/// Drives both in turns, and prints the medians.
fn compare((viewers, rate, p99_bar): &(u32, u32, f64)) -> Result<(), Failure> {
    let (mut ours, mut least) = (Measured::default(), Measured::default());
    for _ in 0..ROUNDS {
        ours.add(&run(*viewers, *rate, None)?)?;
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("--bare");
        let server = Server::start(command)?;
        least.add(&run(*viewers, *rate, Some(&server))?)?;
    }
    let (ours, least) = (ours.medians(), least.medians());
    let verdict = |is: bool| if is { "within" } else { "OVER" };
    println!("{viewers} viewers, {rate} events a second, medians of {ROUNDS} runs");
    println!(
        "  plaudit      {:5.2} s of CPU a million, {} the bar of {CPU_BAR}",
        ours.cpu,
        verdict(ours.cpu <= CPU_BAR)
    );
    println!("               p99 {:.1} ms, {} the bar of {p99_bar}", ours.p99, verdict(ours.p99 < *p99_bar));
    println!(
        "               {:.1} KiB a viewer, {} the bar of {MEMORY_BAR}",
        ours.memory,
        verdict(ours.memory <= MEMORY_BAR)
    );
    println!(
        "  bare writer  {:5.2} s, p99 {:.1} ms: plaudit takes {:.2} × as much",
        least.cpu,
        least.p99,
        ours.cpu / least.cpu
    );
    Ok(())
}

/// One run, against a server of its own or that one.
fn run(viewers: u32, rate: u32, server: Option<&Server>) -> Result<Report, Failure> {
    let mut command = Command::new(Path::new(env!("CARGO_BIN_EXE_plaudit")));
    command.args(["bench", "--fanout", "--seconds", "10s", "--json"]);
    command.args(["--connections", &viewers.to_string(), "--rate", &rate.to_string()]);
    if let Some(server) = server {
        let pid = server.id().to_string();
        command.args(["--target", &format!("http://{}", server.target().address()), "--server-pid", &pid]);
        command.args(["--push-app", APP]);
    }
    let output = command.output()?;
    let text = String::from_utf8(output.stdout)?;
    let last = text.lines().last().ok_or_else(|| String::from_utf8_lossy(&output.stderr).into_owned())?;
    Ok(serde_json::from_str(last)?)
}

/// Values of the rounds.
#[derive(Default)]
struct Measured {
    cpu: Vec<f64>,
    p99: Vec<f64>,
    memory: Vec<f64>,
}

struct Medians {
    cpu: f64,
    p99: f64,
    memory: f64,
}

impl Measured {
    fn add(&mut self, report: &Report) -> Result<(), Failure> {
        if report.lost > 0 {
            return Err(format!("{} deliveries were lost", report.lost).into());
        }
        self.cpu.push(report.cpu_s_per_million.ok_or("the server's CPU is unknown")?);
        self.memory.push(report.rss_per_connection.ok_or("the server's memory is unknown")? / 1024.0);
        self.p99.push(report.p99_ms);
        Ok(())
    }

    fn medians(self) -> Medians {
        let median = |mut values: Vec<f64>| {
            values.sort_by(f64::total_cmp);
            values[values.len() / 2]
        };
        Medians { cpu: median(self.cpu), p99: median(self.p99), memory: median(self.memory) }
    }
}

/// The viewers of one of the bare writer's threads.
type Viewers = Arc<Mutex<Vec<TcpStream>>>;

/// The bare writer: until its parent ends it.
fn bare() {
    let writers: [(Viewers, mpsc::Sender<Arc<[u8]>>); 2] = std::array::from_fn(|_| {
        let viewers = Viewers::default();
        let (frames, due) = mpsc::channel::<Arc<[u8]>>();
        let to = Arc::clone(&viewers);
        std::thread::spawn(move || {
            for frame in due {
                // A viewer that has left is the client's affair.
                to.lock().iter_mut().for_each(|viewer| drop(viewer.write_all(&frame)));
            }
        });
        (viewers, frames)
    });
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    println!("listening http://{}", listener.local_addr().expect("it is bound"));
    let mut joined = 0;
    for stream in listener.incoming() {
        let mut stream = stream.expect("a connection");
        stream.set_nodelay(true).expect("a socket");
        let mut unread = Vec::new();
        let Some(head) = head(&mut stream, &mut unread) else { continue };
        if head.starts_with("GET /app/") {
            let text = br#"{"event":"pusher_internal:subscription_succeeded","channel":"bench","data":"{}"}"#;
            let hello = b"HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\r\n";
            stream.write_all(&[&hello[..], &frame(text)].concat()).expect("a viewer");
            writers[joined % writers.len()].0.lock().push(stream);
            joined += 1;
        } else if head.starts_with("GET ") {
            let nothing = b"HTTP/1.1 404 Not Found\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
            stream.write_all(nothing).expect("the client");
        } else {
            let frames = writers.each_ref().map(|(_, frames)| frames.clone());
            std::thread::spawn(move || {
                while event(&mut stream, &mut unread, &frames).is_some()
                    && self::head(&mut stream, &mut unread).is_some()
                {}
            });
        }
    }
}

/// The head of a request, whose rest stays in `unread`; `None`: hung up.
fn head(stream: &mut TcpStream, unread: &mut Vec<u8>) -> Option<String> {
    loop {
        if let Some(end) = unread.windows(4).position(|four| four == b"\r\n\r\n") {
            return String::from_utf8(unread.drain(..end + 4).collect()).ok();
        }
        read(stream, unread)?;
    }
}

fn read(stream: &mut TcpStream, unread: &mut Vec<u8>) -> Option<()> {
    let mut bytes = [0; 4096];
    let count = stream.read(&mut bytes).ok().filter(|count| *count > 0)?;
    unread.extend_from_slice(&bytes[..count]);
    Some(())
}

/// Takes a call's body, and answers it once the writers have its events.
fn event(stream: &mut TcpStream, unread: &mut Vec<u8>, frames: &[mpsc::Sender<Arc<[u8]>>]) -> Option<()> {
    #[derive(Deserialize)]
    struct Call {
        batch: Vec<Event>,
    }
    #[derive(Deserialize)]
    struct Event {
        data: String,
    }
    let call: Call = loop {
        match serde_json::from_slice(unread) {
            Ok(call) => break call,
            Err(_) => read(stream, unread)?,
        }
    };
    unread.clear();
    for event in call.batch {
        let text = serde_json::json!({ "event": "e", "channel": "bench", "data": event.data }).to_string();
        let frame: Arc<[u8]> = frame(text.as_bytes()).into();
        frames.iter().try_for_each(|writer| writer.send(Arc::clone(&frame))).ok()?;
    }
    stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}").ok()
}

/// A text frame.
fn frame(text: &[u8]) -> Vec<u8> {
    let mut frame = vec![0x81];
    match u8::try_from(text.len()) {
        Ok(short) if short < 126 => frame.push(short),
        _ => {
            frame.push(126);
            frame.extend_from_slice(&u16::try_from(text.len()).expect("an event is short").to_be_bytes());
        }
    }
    frame.extend_from_slice(text);
    frame
}
