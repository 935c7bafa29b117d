//! A viewer on a bare socket: it reads when the test says so.

use std::net::SocketAddr;

use serde_json::{Value, json};
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

use super::server::PATIENCE;

const HELLO: &str = "GET /app/key?protocol=7 HTTP/1.1\r\nhost: test\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\
                     sec-websocket-version: 13\r\nsec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n";

/// Bytes of a segment to one with a small buffer.
const MSS: u32 = 512;

/// A connected viewer.
pub(crate) struct Viewer<S = TcpStream> {
    stream: S,
    unread: Vec<u8>,
    /// Pongs that came, each with what was pinged.
    pub(crate) pongs: Vec<Vec<u8>>,
}

/// What came.
#[derive(Debug)]
pub(crate) enum Got {
    /// A message; its data is read as JSON.
    Message(Value),
    /// A close, with its code.
    Close(u16),
    /// The socket's end.
    End,
}

impl Viewer {
    /// Connects and shakes hands. `buffer`: bytes that the socket takes unread.
    pub(crate) async fn connect(to: SocketAddr, buffer: Option<u32>) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        if let Some(bytes) = buffer {
            socket.set_recv_buffer_size(bytes).unwrap();
            // With segments that are larger than what a small buffer announces, the sender waits a timer for each.
            SockRef::from(&socket).set_tcp_mss(MSS).unwrap();
        }
        Self::over(socket.connect(to).await.unwrap()).await
    }

    /// Its socket, for a thread that writes what it likes.
    pub(crate) fn into_socket(self) -> std::net::TcpStream {
        let socket = self.stream.into_std().unwrap();
        socket.set_nonblocking(false).unwrap();
        socket
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Viewer<S> {
    /// Shakes hands.
    pub(crate) async fn over(mut stream: S) -> Self {
        stream.write_all(HELLO.as_bytes()).await.unwrap();
        let mut viewer = Self { stream, unread: Vec::new(), pongs: Vec::new() };
        let end = loop {
            viewer.fill().await;
            if let Some(at) = viewer.unread.windows(4).position(|four| four == b"\r\n\r\n") {
                break at + 4;
            }
        };
        assert!(viewer.unread.starts_with(b"HTTP/1.1 101 "), "{:?}", String::from_utf8_lossy(&viewer.unread));
        viewer.unread.drain(..end);
        viewer
    }

    /// Sends a text.
    pub(crate) async fn send(&mut self, message: &Value) {
        self.send_all(std::slice::from_ref(message)).await;
    }

    /// Sends texts in one write.
    pub(crate) async fn send_all(&mut self, messages: &[Value]) {
        let mut frames = Vec::new();
        for message in messages {
            let text = message.to_string();
            frames.extend_from_slice(&[0x81, 0xfe]);
            frames.extend_from_slice(&u16::try_from(text.len()).unwrap().to_be_bytes());
            // A mask of zeroes is one.
            frames.extend_from_slice(&[0; 4]);
            frames.extend_from_slice(text.as_bytes());
        }
        self.stream.write_all(&frames).await.unwrap();
    }

    /// Asks for a sign of life, of WebSocket's kind.
    pub(crate) async fn ping(&mut self, payload: &[u8]) {
        let mut frame = vec![0x89, 0x80 | u8::try_from(payload.len()).unwrap(), 0, 0, 0, 0];
        frame.extend_from_slice(payload);
        self.stream.write_all(&frame).await.unwrap();
    }

    /// Asks for a channel.
    pub(crate) async fn subscribe(&mut self, channel: &str, auth: &str) {
        let data = json!({ "channel": channel, "auth": auth });
        self.send(&json!({ "event": "pusher:subscribe", "data": data })).await;
    }

    /// The next message of a name; others are dropped.
    pub(crate) async fn named(&mut self, event: &str) -> Value {
        loop {
            match self.next().await {
                Got::Message(message) if message["event"] == event => return message,
                Got::Message(_) => {}
                other => panic!("{other:?} and no {event}"),
            }
        }
    }

    /// What comes next.
    pub(crate) async fn next(&mut self) -> Got {
        loop {
            if let Some((op, payload)) = self.frame() {
                match op {
                    1 => {
                        let mut message: Value = serde_json::from_slice(&payload).unwrap();
                        let data = message["data"].as_str().map(|text| serde_json::from_str(text).unwrap());
                        message["data"] = data.unwrap_or_default();
                        return Got::Message(message);
                    }
                    10 => {
                        self.pongs.push(payload);
                        continue;
                    }
                    8 => return Got::Close(u16::from_be_bytes([payload[0], payload[1]])),
                    _ => continue,
                }
            }
            if !self.fill().await {
                return Got::End;
            }
        }
    }

    /// Takes a whole frame out of what was read.
    fn frame(&mut self) -> Option<(u8, Vec<u8>)> {
        let (head, len) = match *self.unread.get(1)? {
            126 => (4, usize::from(u16::from_be_bytes([*self.unread.get(2)?, *self.unread.get(3)?]))),
            127 => (10, usize::try_from(u64::from_be_bytes(self.unread.get(2..10)?.try_into().unwrap())).unwrap()),
            short => (2, usize::from(short)),
        };
        if self.unread.len() < head + len {
            return None;
        }
        let frame: Vec<u8> = self.unread.drain(..head + len).collect();
        Some((frame[0] & 15, frame[head..].to_vec()))
    }

    /// Reads more; `false` at the end.
    async fn fill(&mut self) -> bool {
        let read = timeout(PATIENCE, self.stream.read_buf(&mut self.unread)).await.expect("something comes");
        // A reset is an end too.
        read.is_ok_and(|read| read > 0)
    }
}
