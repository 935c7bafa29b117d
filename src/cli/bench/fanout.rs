//! Fan-out: many viewers of one channel, events at a fixed rate through the HTTP API, and how late each viewer gets them.
//!
//! An event's data begins with the time at which it was due, so its latency holds whatever made it late. The viewers share
//! the machine with the server, so they read no more of a frame than that.

use std::fmt::Write as _;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use hdrhistogram::Histogram;
use parking_lot::Mutex;
use serde::Serialize;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use super::Scratch;
use super::load::{Connection, Target};
use super::process::Watched;
use super::server::Server;
use crate::cli::args::Bench;
use crate::cli::print;
use crate::config::PushApp;
use crate::error::Fault;
use crate::push::sign::{Signer, md5};

const CHANNEL: &str = "bench";
/// The app of a server of the run's own.
const APP: &str = "bench:bench:a secret for the length of a run";
/// Bytes of the time that an event's data begins with, and a space.
const STAMP: usize = 21;
/// Viewers that connect at once.
const AT_ONCE: usize = 64;
/// Viewers share these, so that thousands need no histogram each.
const LANES: usize = 16;
/// Latencies are kept up to this.
const LONGEST: Duration = Duration::from_mins(1);
/// How long the last deliveries may take.
const SETTLE: Duration = Duration::from_secs(10);
const RATE: f64 = 20.0;
const TIME: Duration = Duration::from_secs(10);

/// What a run came to.
#[derive(Serialize, Debug)]
struct Report {
    mode: &'static str,
    connections: u64,
    /// Those of them that read nothing.
    slow: u64,
    /// Those that the server gave up.
    slow_closed: Option<u64>,
    events: u64,
    events_per_s: f64,
    deliveries: u64,
    /// Deliveries that did not come.
    lost: u64,
    p50_ms: f64,
    p99_ms: f64,
    p999_ms: f64,
    /// Seconds of the server's CPU for a million deliveries; `None` where its process can't be watched.
    cpu_s_per_million: Option<f64>,
    /// The server's resident memory for each connection while nothing is sent, bytes.
    rss_per_connection: Option<u64>,
    /// The most that it was while events were sent, bytes.
    rss_peak: Option<u64>,
}

/// What the viewers saw.
struct Seen {
    lanes: Vec<Mutex<Histogram<u64>>>,
    deliveries: AtomicU64,
    began: Instant,
}

/// Measures, and prints the report; whether nothing was lost.
pub(super) async fn run(args: &Bench) -> Result<bool, Fault> {
    let own: PushApp = APP.parse().expect("a constant");
    let app = args.push_app.as_ref().unwrap_or(&own);
    // Dropped from the last to the first: the server before its directory.
    let (_scratch, _server, target, watched);
    if let Some(url) = &args.target {
        (target, watched) = (Target::parse(url)?, args.server_pid.and_then(Watched::new));
    } else {
        let scratch = Scratch::new(None)?;
        let program = std::env::current_exe().map_err(|why| Fault::io("finding this program", &why))?;
        let server = start(&program, &scratch.dir, args).await?;
        (target, watched) = (server.target().clone(), server.watched());
        (_scratch, _server) = (scratch, server);
    }
    let report = measure(args, app, &target, watched).await?;
    report.print(args.json)?;
    Ok(report.lost == 0)
}

async fn start(program: &Path, dir: &Path, args: &Bench) -> Result<Server, Fault> {
    let (program, dir, ack) = (program.to_owned(), dir.to_owned(), args.ack.as_str());
    let starting =
        tokio::task::spawn_blocking(move || Server::plaudit(&program, &dir, ack, &["--push-app", APP])).await;
    starting.map_err(|why| Fault::Setting(format!("starting the server failed: {why}")))?
}

async fn measure(args: &Bench, app: &PushApp, target: &Target, watched: Option<Watched>) -> Result<Report, Fault> {
    let connections = u64::from(args.connections);
    let empty = watched.and_then(Watched::resident);
    let longest = u64::try_from(LONGEST.as_nanos()).expect("a minute");
    let lane = || Mutex::new(Histogram::new_with_bounds(1, longest, 3).expect("the bounds are constants"));
    let seen = Arc::new(Seen {
        lanes: (0..LANES).map(|_| lane()).collect(),
        deliveries: AtomicU64::new(0),
        began: Instant::now(),
    });
    let (ends, ended) = watch::channel(());
    let crowd = Crowd { count: args.connections as usize, slow: args.slow.min(args.connections) as usize };
    let mut viewers = connect(target.address(), &app.key, crowd, &seen, &ended).await?;
    let full = watched.and_then(Watched::resident);
    let each = full.zip(empty).map(|(full, empty)| full.saturating_sub(empty) / connections);

    let before = watched.and_then(Watched::cpu);
    let rate = args.rate.unwrap_or(RATE);
    let given_up = slow_closes(target).await?;
    let began = Instant::now();
    let sending =
        send(target, app, Pace { rate, time: args.seconds.unwrap_or(TIME), burst: args.burst }, args.bytes, &seen);
    let (sent, peak) = with_peak(watched, sending).await;
    let events = sent?;
    let took = began.elapsed();
    let due = events * (connections - crowd.slow as u64);
    let settled = tokio::time::Instant::now() + SETTLE;
    while seen.deliveries.load(Ordering::Relaxed) < due && tokio::time::Instant::now() < settled {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let cpu = watched.and_then(Watched::cpu).zip(before).map(|(after, before)| after.saturating_sub(before));
    let slow_closed = slow_closes(target).await?.zip(given_up).map(|(after, before)| after - before);
    drop(ends);
    while viewers.join_next().await.is_some() {}

    let deliveries = seen.deliveries.load(Ordering::Relaxed);
    let mut latencies = seen.lanes[0].lock().clone();
    for lane in &seen.lanes[1..] {
        latencies.add(&*lane.lock()).expect("all lanes have the same bounds");
    }
    let ms = |quantile| rounded(float(latencies.value_at_quantile(quantile)) / 1e6);
    Ok(Report {
        mode: "fanout",
        connections,
        slow: crowd.slow as u64,
        slow_closed,
        events,
        events_per_s: rounded(float(events) / took.as_secs_f64()),
        deliveries,
        lost: due.saturating_sub(deliveries),
        p50_ms: ms(0.5),
        p99_ms: ms(0.99),
        p999_ms: ms(0.999),
        cpu_s_per_million: cpu.map(|cpu| rounded(cpu.as_secs_f64() * 1e6 / float(deliveries.max(1)))),
        rss_per_connection: each,
        rss_peak: peak,
    })
}

/// How many viewers connect, and how many of them read nothing.
#[derive(Clone, Copy)]
struct Crowd {
    count: usize,
    slow: usize,
}

/// How fast events are sent, for how long, and how many in one call.
#[derive(Clone, Copy)]
struct Pace {
    rate: f64,
    time: Duration,
    burst: u32,
}

/// Viewers that the server has given up so far, as its metrics say.
async fn slow_closes(target: &Target) -> Result<Option<u64>, Fault> {
    let (status, text) = target.get("/metrics").await?;
    let text = String::from_utf8_lossy(&text);
    let line = text.lines().find_map(|line| line.strip_prefix("plaudit_slow_closes_total "));
    Ok(line.filter(|_| status == 200).and_then(|count| count.parse().ok()))
}

/// Does something, and says how much memory the server had at most meanwhile.
async fn with_peak<F: Future>(watched: Option<Watched>, doing: F) -> (F::Output, Option<u64>) {
    let mut doing = std::pin::pin!(doing);
    let mut tick = tokio::time::interval(Duration::from_millis(100));
    let mut peak = None;
    loop {
        tokio::select! {
            done = doing.as_mut() => return (done, peak),
            _ = tick.tick() => peak = peak.max(watched.and_then(Watched::resident)),
        }
    }
}

/// Sends events until the time is over; how many.
async fn send(target: &Target, app: &PushApp, pace: Pace, bytes: u32, seen: &Seen) -> Result<u64, Fault> {
    let Pace { rate, time, burst } = pace;
    let filling = "x".repeat(bytes as usize - STAMP);
    let failed = |why: &io::Error| Fault::io("sending an event", why);
    let signer = Signer::new(&app.key, app.secret.bytes());
    let mut connection = Connection::open(target.address()).await.map_err(|why| failed(&why))?;
    let began = Instant::now();
    let (mut events, mut calls) = (0, 0_u32);
    loop {
        let due = Duration::from_secs_f64(f64::from(calls) * f64::from(burst) / rate);
        if due >= time {
            return Ok(events);
        }
        tokio::time::sleep_until((began + due).into()).await;
        let since = u64::try_from((began + due - seen.began).as_nanos()).unwrap_or(u64::MAX);
        let data = format!("{since:020} {filling}");
        let batch: Vec<_> = (0..burst).map(|_| json!({ "name": "e", "channel": CHANNEL, "data": data })).collect();
        let request = signed(target, app, &signer, &json!({ "batch": batch }).to_string());
        let answer = connection.ask(request.as_bytes()).await.map_err(|why| failed(&why))?;
        if answer.status() != 200 {
            return Err(Fault::Setting(format!("an event was answered with status {}", answer.status())));
        }
        calls += 1;
        events += u64::from(burst);
    }
}

fn signed(target: &Target, app: &PushApp, signer: &Signer, body: &str) -> String {
    let now_s = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let path = format!("/apps/{}/batch_events", app.id);
    let query =
        format!("auth_key={}&auth_timestamp={now_s}&auth_version=1.0&body_md5={}", app.key, md5(body.as_bytes()));
    let signature = signer.sign(format!("POST\n{path}\n{query}").as_bytes());
    format!(
        "POST {path}?{query}&auth_signature={signature} HTTP/1.1\r\nhost: {}\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n\r\n{body}",
        target.host(),
        body.len()
    )
}

/// Connects the viewers and subscribes them all.
async fn connect(
    address: SocketAddr,
    key: &str,
    crowd: Crowd,
    seen: &Arc<Seen>,
    ended: &watch::Receiver<()>,
) -> Result<JoinSet<()>, Fault> {
    let turns = Arc::new(Semaphore::new(AT_ONCE));
    let mut joining = JoinSet::new();
    for _ in 0..crowd.count {
        let (turns, key) = (Arc::clone(&turns), key.to_owned());
        joining.spawn(async move {
            let _turn = turns.acquire_owned().await;
            join(address, &key).await
        });
    }
    let mut viewers = JoinSet::new();
    while let Some(joined) = joining.join_next().await {
        let joined = joined.map_err(|why| Fault::Setting(format!("a viewer failed: {why}")))?;
        let (stream, unread) = joined.map_err(|why| Fault::io(format!("a viewer of {address}"), &why))?;
        let (seen, ended, lane) = (Arc::clone(seen), ended.clone(), viewers.len());
        if lane < crowd.slow {
            viewers.spawn(stare(stream, ended));
        } else {
            viewers.spawn(view(stream, unread, seen, lane, ended));
        }
    }
    Ok(viewers)
}

/// One viewer, once it is subscribed, and what it has read beyond that.
async fn join(address: SocketAddr, key: &str) -> io::Result<(TcpStream, Vec<u8>)> {
    let mut stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    // A key for the handshake may be any; a mask too.
    let hello = format!(
        "GET /app/{key}?protocol=7 HTTP/1.1\r\nhost: bench\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\
         sec-websocket-version: 13\r\nsec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
    );
    stream.write_all(hello.as_bytes()).await?;
    let subscribe = format!("{{\"event\":\"pusher:subscribe\",\"data\":{{\"channel\":\"{CHANNEL}\",\"auth\":\"\"}}}}");
    let mut frame = vec![0x81, 0x80 | u8::try_from(subscribe.len()).expect("it is short"), 0, 0, 0, 0];
    frame.extend_from_slice(subscribe.as_bytes());
    stream.write_all(&frame).await?;
    let mut unread = Vec::with_capacity(1024);
    let end = loop {
        if stream.read_buf(&mut unread).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let succeeded = b"subscription_succeeded";
        let found = unread.windows(succeeded.len()).position(|part| part == succeeded);
        // Frames are whole from the handshake's end on, whatever is in them.
        if found.is_some()
            && let Some(head) = unread.windows(4).position(|four| four == b"\r\n\r\n")
        {
            break head + 4;
        }
    };
    unread.drain(..end);
    Ok((stream, unread))
}

/// Reads nothing until the run's end.
async fn stare(stream: TcpStream, mut ended: watch::Receiver<()>) {
    let _stream = stream;
    // The one change there is: the run's end.
    let _ = ended.changed().await;
}

/// Reads events until the run's end.
async fn view(
    mut stream: TcpStream,
    mut unread: Vec<u8>,
    seen: Arc<Seen>,
    lane: usize,
    mut ended: watch::Receiver<()>,
) {
    loop {
        let mut at = 0;
        while let Some(len) = whole(&unread[at..]) {
            seen.note(&unread[at..at + len], lane);
            at += len;
        }
        unread.drain(..at);
        tokio::select! {
            biased;
            read = stream.read_buf(&mut unread) => if !read.is_ok_and(|read| read > 0) { return },
            _ = ended.changed() => return,
        }
    }
}

impl Seen {
    fn note(&self, frame: &[u8], lane: usize) {
        let now = u64::try_from(self.began.elapsed().as_nanos()).unwrap_or(u64::MAX);
        let Some(since) = due(frame) else { return };
        self.lanes[lane % LANES].lock().saturating_record(now.saturating_sub(since).max(1));
        self.deliveries.fetch_add(1, Ordering::Relaxed);
    }
}

/// Bytes of the first frame, if it is whole.
fn whole(bytes: &[u8]) -> Option<usize> {
    let len = match *bytes.get(1)? {
        126 => 4 + usize::from(u16::from_be_bytes([*bytes.get(2)?, *bytes.get(3)?])),
        short => 2 + usize::from(short),
    };
    (len <= bytes.len()).then_some(len)
}

/// When the event of a frame was due; `None` of other frames.
fn due(frame: &[u8]) -> Option<u64> {
    let mark = b"\"data\":\"";
    let at = frame.windows(mark.len()).position(|part| part == mark)? + mark.len();
    std::str::from_utf8(frame.get(at..at + 20)?).ok()?.parse().ok()
}

impl Report {
    fn print(&self, json: bool) -> Result<(), Fault> {
        let mut text = String::new();
        let mut line = |name: &str, value: String| writeln!(text, "{name:<11} {value}").expect("writing to a string");
        let unknown = || "unknown".to_owned();
        line("mode", format!("fan-out to {} connections", self.connections));
        if self.slow > 0 {
            let closed = self.slow_closed.map_or_else(unknown, |closed| closed.to_string());
            line("slow", format!("{} read nothing, {closed} were closed", self.slow));
        }
        line("events", format!("{} at {:.1}/s", self.events, self.events_per_s));
        line("deliveries", format!("{}, {} lost", self.deliveries, self.lost));
        line("latency", format!("p50 {:.1} ms, p99 {:.1} ms, p999 {:.1} ms", self.p50_ms, self.p99_ms, self.p999_ms));
        let cpu = self.cpu_s_per_million.map_or_else(unknown, |cpu| format!("{cpu:.2} s of the server a million"));
        line("cpu", cpu);
        let rss =
            self.rss_per_connection.map_or_else(unknown, |rss| format!("{:.1} KiB a connection", float(rss) / 1024.0));
        let peak = self.rss_peak.map_or_else(unknown, |peak| format!("{:.1} MiB", float(peak) / 1024.0 / 1024.0));
        line("memory", format!("{rss}, {peak} at most in all"));
        if json {
            text += &serde_json::to_string(self).expect("numbers and texts");
            text.push('\n');
        }
        print(&text)
    }
}

fn float(count: u64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "for people, and exact up to 2^53")]
    let float = count as f64;
    float
}

fn rounded(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hub::Frame;

    #[test]
    fn frames_are_told_apart_and_their_times_read() {
        let data = format!("{:020} {}", 1234, "x".repeat(200 - STAMP));
        let event = Frame::event(CHANNEL, "e", data).socket().to_vec();
        let other = Frame::text("{\"event\":\"pusher:pong\",\"data\":\"{}\"}").socket().to_vec();
        assert_eq!((whole(&event), due(&event)), (Some(event.len()), Some(1234)));
        assert_eq!((whole(&other), due(&other)), (Some(other.len()), None));
        for cut in 0..event.len() {
            assert_eq!(whole(&event[..cut]), None);
        }
        assert_eq!(whole(&[event.clone(), other].concat()), Some(event.len()));
    }
}
