//! A light HTTP/1.1 client for load: keep-alive connections, each with one request under way, requests written as bytes.
//! It shares its cores with the server that it measures, so it parses no more of an answer than its end needs.
//!
//! Never: follows, retries or pipelines a request, or speaks TLS.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::Minter;
use super::meter::{Meter, Refusal};
use crate::error::Fault;

/// Heads and bodies above this are no answer of ours.
const ANSWER_MAX: usize = 4 << 20;
/// How often a lost connection is made anew before its sender gives up.
const RECONNECTS: u32 = 5;

/// Writes the request with a number to the end of a buffer.
pub type Requests = Arc<dyn Fn(u64, &mut Vec<u8>) + Send + Sync>;

/// A server to drive.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Target {
    address: SocketAddr,
    host: String,
}

impl Target {
    /// Reads `http://HOST:PORT`, with or without a slash behind it, and looks the name up.
    pub fn parse(url: &str) -> Result<Self, Fault> {
        let wrong = |why: &str| Fault::Setting(format!("--target {url}: {why}"));
        let host = url.strip_prefix("http://").ok_or_else(|| wrong("must begin with http://"))?;
        let host = host.strip_suffix('/').unwrap_or(host);
        if host.is_empty() || host.contains(['/', '?', '#', '@']) {
            return Err(wrong("must be http://HOST:PORT and nothing else"));
        }
        let has_port = host.rsplit_once(':').is_some_and(|(_, port)| !port.contains(']'));
        let named = if has_port { host.to_owned() } else { format!("{host}:80") };
        let found = named.to_socket_addrs().map_err(|why| wrong(&why.to_string()))?.next();
        Ok(Self { address: found.ok_or_else(|| wrong("the name has no address"))?, host: host.to_owned() })
    }

    /// The server at an address.
    pub fn at(address: SocketAddr) -> Self {
        Self { address, host: address.to_string() }
    }

    /// Its address.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What a request names it.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// A GET of a path, as bytes.
    pub fn get_request(&self, path: &str) -> Vec<u8> {
        format!("GET {path} HTTP/1.1\r\nhost: {}\r\n\r\n", self.host).into_bytes()
    }

    /// One GET on a connection of its own: status and body.
    pub async fn get(&self, path: &str) -> Result<(u16, Vec<u8>), Fault> {
        let asking = async {
            let mut connection = Connection::open(self.address).await?;
            connection.stream.write_all(&self.get_request(path)).await?;
            let answer = connection.answer().await?;
            Ok((answer.status, connection.buffer[answer.body].to_vec()))
        };
        let timed = tokio::time::timeout(Duration::from_secs(30), asking).await;
        let answered = timed.unwrap_or_else(|_| Err(io::Error::from(io::ErrorKind::TimedOut)));
        answered.map_err(|why| Fault::io(format!("GET http://{}{path}", self.host), &why))
    }

    /// Requests that vote, each as a user of its own, for the clips in turn. `tag` sets the run's users apart from
    /// those of other runs; the tokens are valid until `exp`, Unix seconds.
    pub fn votes(&self, minter: Minter, clips: &[String], tag: u32, exp: u64) -> Requests {
        assert!(!clips.is_empty(), "votes need a clip");
        let host = self.host.clone();
        let bodies: Vec<String> = clips.iter().map(|clip| format!(r#"{{"clipId":"{clip}"}}"#)).collect();
        Arc::new(move |number, into| {
            let turn = usize::try_from(number % bodies.len() as u64).expect("below a length");
            let token = minter.mint(&format!("bench-{tag:08x}-{number}"), None, exp).expect("HMAC signs anything");
            for part in ["POST /api/vote HTTP/1.1\r\nhost: ", &host, "\r\nauthorization: Bearer ", &token] {
                into.extend_from_slice(part.as_bytes());
            }
            let body = &bodies[turn];
            let rest = format!("\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}", body.len());
            into.extend_from_slice(rest.as_bytes());
        })
    }

    /// Requests that are all the same GET.
    pub fn gets(&self, path: &str) -> Requests {
        let request = self.get_request(path);
        Arc::new(move |_, into| into.extend_from_slice(&request))
    }
}

/// Sends `requests` over `connections` until the meter's run ends. Errs only when nothing was answered at all.
pub async fn drive(target: &Target, connections: usize, meter: &Arc<Meter>, requests: &Requests) -> Result<(), Fault> {
    let mut senders = JoinSet::new();
    for sender in 0..connections {
        let (address, meter, requests) = (target.address, Arc::clone(meter), Arc::clone(requests));
        senders.spawn(async move { send(sender, address, &meter, &requests).await });
    }
    super::watch(senders, meter).await
}

async fn send(sender: usize, address: SocketAddr, meter: &Meter, requests: &Requests) -> Result<(), Fault> {
    let mut connection = None;
    let mut request = Vec::with_capacity(1024);
    while let Some(turn) = meter.turn().await {
        let open = match &mut connection {
            Some(open) => open,
            lost => lost.insert(connect(address).await?),
        };
        request.clear();
        requests(turn.number, &mut request);
        let answer = open.ask(&request).await;
        match &answer {
            Ok(answer) if (200..300).contains(&answer.status) => meter.succeeded(sender, turn),
            Ok(answer) => meter.refused(sender, Refusal::Status(answer.status)),
            Err(_) => meter.refused(sender, Refusal::Broken),
        }
        if answer.map_or(true, |answer| answer.closes) {
            connection = None;
        }
    }
    Ok(())
}

async fn connect(address: SocketAddr) -> Result<Connection, Fault> {
    let mut tries = 0;
    loop {
        match Connection::open(address).await {
            Ok(connection) => return Ok(connection),
            Err(why) if tries == RECONNECTS => return Err(Fault::io(format!("connecting to {address}"), &why)),
            Err(_) => tries += 1,
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

pub(super) struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

pub(super) struct Answer {
    status: u16,
    closes: bool,
    body: std::ops::Range<usize>,
}

impl Answer {
    pub(super) fn status(&self) -> u16 {
        self.status
    }
}

impl Connection {
    pub(super) async fn open(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, buffer: Vec::with_capacity(16 << 10) })
    }

    pub(super) async fn ask(&mut self, request: &[u8]) -> io::Result<Answer> {
        self.stream.write_all(request).await?;
        self.answer().await
    }

    async fn answer(&mut self) -> io::Result<Answer> {
        self.buffer.clear();
        let (head, body_at) = loop {
            let read = self.buffer.len();
            self.fill().await?;
            // The end may straddle two reads.
            let from = read.saturating_sub(3);
            if let Some(at) = self.buffer[from..].windows(4).position(|four| four == b"\r\n\r\n") {
                break (read_head(&self.buffer[..from + at])?, from + at + 4);
            }
        };
        let end = body_at + head.length;
        if end > ANSWER_MAX {
            return Err(odd("an answer that large"));
        }
        while self.buffer.len() < end {
            self.fill().await?;
        }
        if self.buffer.len() > end {
            return Err(odd("more than was asked for"));
        }
        Ok(Answer { status: head.status, closes: head.closes, body: body_at..end })
    }

    async fn fill(&mut self) -> io::Result<()> {
        if self.buffer.len() >= ANSWER_MAX {
            return Err(odd("an answer without an end"));
        }
        if self.stream.read_buf(&mut self.buffer).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(())
    }
}

#[derive(PartialEq, Eq, Debug)]
struct Head {
    status: u16,
    length: usize,
    closes: bool,
}

fn read_head(head: &[u8]) -> io::Result<Head> {
    let mut lines = head.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii_end);
    let first = lines.next().and_then(|line| line.strip_prefix(b"HTTP/1.1 "));
    let status = first.and_then(|line| line.get(..3)).and_then(number).and_then(|status| u16::try_from(status).ok());
    let status = status.ok_or_else(|| odd("no HTTP/1.1 answer"))?;
    let (mut length, mut closes) = (None, false);
    for line in lines {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { continue };
        let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
        if name.eq_ignore_ascii_case(b"content-length") {
            length = number(value);
        } else if name.eq_ignore_ascii_case(b"connection") {
            closes = value.eq_ignore_ascii_case(b"close");
        }
    }
    let bodiless = matches!(status, 204 | 304);
    let length = if bodiless { Some(0) } else { length };
    Ok(Head { status, length: length.ok_or_else(|| odd("an answer without content-length"))?, closes })
}

fn number(text: &[u8]) -> Option<usize> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

fn odd(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_host_and_port_alone() {
        assert_eq!(Target::parse("http://127.0.0.1:8080/").unwrap().address, "127.0.0.1:8080".parse().unwrap());
        assert_eq!(Target::parse("http://127.0.0.1").unwrap().address.port(), 80);
        assert_eq!(Target::parse("http://[::1]:81").unwrap().address, "[::1]:81".parse().unwrap());
        for bad in ["127.0.0.1:8080", "https://127.0.0.1", "http://", "http://127.0.0.1:80/api", "http://a@127.0.0.1"] {
            assert!(Target::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn of_an_answer_only_its_end_is_read() {
        let head = |text: &str| read_head(text.as_bytes());
        let read = head("HTTP/1.1 200 OK\r\nContent-Length: 12\r\nx: y\r\nConnection: Close").unwrap();
        assert_eq!(read, Head { status: 200, length: 12, closes: true });
        assert_eq!(
            head("HTTP/1.1 304 Not Modified\r\netag: x").unwrap(),
            Head { status: 304, length: 0, closes: false }
        );
        for bad in
            ["HTTP/1.1 200 OK", "HTTP/1.1 2", "HTTP/2 200\r\ncontent-length: 0", "HTTP/1.1 200 OK\r\ncontent-length: x"]
        {
            assert!(head(bad).is_err(), "{bad}");
        }
    }

    #[tokio::test]
    async fn a_run_counts_answers_refusals_and_lost_connections() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let target = Target::at(listener.local_addr().unwrap());
        // Answers the first request in two pieces, refuses the second, leaves at the third, and answers after that.
        tokio::spawn(async move {
            let mut served = 0;
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut request = vec![0; 1024];
                while stream.read(&mut request).await.is_ok_and(|read| read > 0) {
                    served += 1;
                    match served {
                        1 => {
                            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-le").await.unwrap();
                            stream.flush().await.unwrap();
                            stream.write_all(b"ngth: 2\r\n\r\nok").await.unwrap();
                        }
                        2 => stream.write_all(b"HTTP/1.1 429 Slow\r\ncontent-length: 0\r\n\r\n").await.unwrap(),
                        3 => break,
                        _ => stream.write_all(b"HTTP/1.1 204 None\r\n\r\n").await.unwrap(),
                    }
                }
            }
        });
        let meter = Meter::start(Some(5), None, None);
        drive(&target, 1, &meter, &target.gets("/")).await.unwrap();
        let totals = meter.totals();
        assert_eq!(totals.succeeded, 3);
        assert_eq!(totals.refused.into_iter().collect::<Vec<_>>(), [(Refusal::Status(429), 1), (Refusal::Broken, 1)]);
    }

    #[tokio::test]
    async fn a_server_that_is_not_there_is_an_error() {
        // Bound, so that nobody else gets it, and never listening.
        let silent = tokio::net::TcpSocket::new_v4().unwrap();
        silent.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let target = Target::at(silent.local_addr().unwrap());
        let meter = Meter::start(Some(5), None, None);
        assert!(matches!(drive(&target, 2, &meter, &target.gets("/")).await, Err(Fault::Io { .. })));
    }

    #[test]
    fn a_vote_is_a_whole_request_of_its_own_user() {
        let settings = crate::config::TokenSettings { jwt_secret: None, jwt_issuer: None, jwt_audience: None };
        let target = Target::at("127.0.0.1:9".parse().unwrap());
        let votes = target.votes(Minter::new(b"s", &settings), &["a".into(), "bb".into()], 7, 99);
        let write = |number| {
            let mut request = Vec::new();
            votes(number, &mut request);
            String::from_utf8(request).unwrap()
        };
        let (first, second) = (write(0), write(1));
        assert!(first.starts_with("POST /api/vote HTTP/1.1\r\nhost: 127.0.0.1:9\r\nauthorization: Bearer "));
        assert!(first.ends_with("content-length: 14\r\n\r\n{\"clipId\":\"a\"}"), "{first}");
        assert!(second.ends_with("content-length: 15\r\n\r\n{\"clipId\":\"bb\"}"), "{second}");
        assert_ne!(first.lines().nth(2), second.lines().nth(2));
    }
}
