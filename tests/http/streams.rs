//! Streams of HTTP/2 whose clients stall, on connections on which others go on.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::BodyExt;
use hyper::body::{Body, Frame};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::server::{PATIENCE, Setup, TestServer, token};

/// Long enough for a busy machine to send what the test does send.
const QUICK: Duration = Duration::from_secs(2);

/// A request's body of which one part comes, and no more.
struct Stuck(Option<Bytes>);

impl Body for Stuck {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.take().map_or(Poll::Pending, |part| Poll::Ready(Some(Ok(Frame::data(part)))))
    }
}

#[tokio::test]
async fn a_request_whose_body_does_not_arrive_is_a_timeout() {
    let mut setup = Setup::default();
    setup.app.body_timeout = QUICK;
    let server = TestServer::with(setup);
    let (mut two, connection) =
        http2::handshake(TokioExecutor::new(), TokioIo::new(server.connect().await)).await.unwrap();
    tokio::spawn(connection);
    for _ in 0..2 {
        let vote = Request::post(format!("http://{}/api/vote", server.address))
            .header("content-type", "application/json")
            .header("authorization", format!("Bearer {}", token("ada")))
            .body(Stuck(Some("{".into())))
            .unwrap();
        let answer = two.send_request(vote).await.unwrap();
        let status = answer.status().as_u16();
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(status, 408, "{body:?}");
    }
}

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RESET: u8 = 3;
const SETTINGS: u8 = 4;
const WINDOW: u8 = 8;
const END: u8 = 1;
const CANCEL: [u8; 4] = [0, 0, 0, 8];

/// A client that sends frames of its own, and takes no more of an answer than it says.
struct Client {
    stream: TcpStream,
    next: u32,
}

struct Got {
    kind: u8,
    flags: u8,
    stream: u32,
    payload: Vec<u8>,
}

impl Client {
    /// Takes so many bytes of each answer, unless it says more.
    async fn taking(window: u8, mut stream: TcpStream) -> Self {
        stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
        let mut client = Self { stream, next: 1 };
        client.send(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, window]).await;
        // Of all answers together: far more than any has.
        client.send(WINDOW, 0, 0, &[1, 0, 0, 0]).await;
        client
    }

    async fn send(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        let len = u8::try_from(payload.len()).unwrap();
        let head = [0, 0, len, kind, flags];
        self.stream.write_all(&[&head, &stream.to_be_bytes()[..], payload].concat()).await.unwrap();
    }

    /// Asks for a path; on which stream.
    async fn get(&mut self, path: &str) -> u32 {
        let len = u8::try_from(path.len()).unwrap();
        // GET, http, the path, the host: the last two as they are.
        let fields = [&[0x82, 0x86, 0x04, len], path.as_bytes(), &[0x01, 4], b"test"].concat();
        let stream = self.next;
        self.next += 2;
        self.send(HEADERS, 4 | END, stream, &fields).await;
        stream
    }

    async fn next(&mut self) -> Got {
        let read = async {
            let mut head = [0; 9];
            self.stream.read_exact(&mut head).await.unwrap();
            let mut payload = vec![0; usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2])];
            self.stream.read_exact(&mut payload).await.unwrap();
            let stream = u32::from_be_bytes(head[5..].try_into().unwrap());
            Got { kind: head[3], flags: head[4], stream, payload }
        };
        timeout(PATIENCE, read).await.expect("something comes")
    }
}

#[tokio::test]
async fn one_whose_client_takes_nothing_is_cut_and_the_others_go_on() {
    timeout(PATIENCE, stalls_beside_others()).await.expect("it is cut");
}

async fn stalls_beside_others() {
    let mut setup = Setup::default();
    setup.serve.stall = QUICK;
    let patient = TestServer::staged(40).await;
    let server = TestServer::over(patient.engine.clone(), Arc::clone(&patient.clock), setup, None);
    let mut client = Client::taking(100, server.connect().await).await;
    // Waits for events, and so keeps the connection for as long as it likes.
    let events = client.get("/api/stream?channels=clip-c0").await;
    client.send(WINDOW, 0, events, &[0, 1, 0, 0]).await;
    let (stalls, taken) = (client.get("/openapi.json").await, client.get("/openapi.json").await);
    let (mut whole, mut ended, mut cut, mut lived) = (Vec::new(), false, false, 0);
    let mut live = client.get("/livez").await;
    // Requests go on all the while, and one answer is taken.
    while !cut || !ended {
        let got = client.next().await;
        match (got.kind, got.stream) {
            (RESET, stream) => {
                assert_eq!((stream, &got.payload[..]), (stalls, &CANCEL[..]));
                cut = true;
            }
            (DATA, stream) if stream == taken => {
                if whole.is_empty() {
                    client.send(WINDOW, 0, taken, &[0, 16, 0, 0]).await;
                }
                whole.extend(got.payload);
                ended |= got.flags & END != 0;
            }
            (DATA, stream) if stream == live && got.flags & END != 0 => {
                lived += 1;
                tokio::time::sleep(Duration::from_millis(20)).await;
                live = client.get("/livez").await;
            }
            (DATA, stream) if stream == stalls => assert_eq!(got.flags & END, 0, "it was not to take all"),
            _ => {}
        }
    }
    assert!(whole.len() > 32 * 1024, "{} bytes are a few parts", whole.len());
    assert!(whole == server.get("/openapi.json").await.body, "it came in parts, and not as it was");
    assert!(lived > 0);
    patient.comment("ada", "still there?").await.is(201);
    let mut heard = String::new();
    while !heard.contains("still there?") {
        let got = client.next().await;
        assert_ne!(got.kind, RESET, "of {}", got.stream);
        if (got.kind, got.stream) == (DATA, events) {
            heard += str::from_utf8(&got.payload).unwrap();
        }
    }
}
