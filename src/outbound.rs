//! The one HTTP client: what this process asks of others goes through here, over plain HTTP or TLS.
//!
//! hyper's pooled client with rustls, and the system's own list of authorities, read once at the first HTTPS request's
//! client. Never: follows a redirect, retries, or keeps more of an answer than was asked for.

use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};

use crate::error::Fault;

/// Idle connections kept to one host, and for how long.
const IDLE_MAX: usize = 4;
const IDLE_TIME: Duration = Duration::from_secs(30);
const CONNECT_TIME: Duration = Duration::from_secs(5);

/// A client with its connections. Clones share them.
#[derive(Clone, Debug)]
pub struct Outbound(Client<HttpsConnector<HttpConnector>, Full<Bytes>>);

impl Outbound {
    /// A client. Fails when the system's list of authorities can't be read.
    pub fn new() -> Result<Self, Fault> {
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(CONNECT_TIME));
        let authorities = HttpsConnectorBuilder::new().with_native_roots();
        let authorities = authorities.map_err(|why| Fault::io("reading the system's certificate authorities", &why))?;
        let https = authorities.https_or_http().enable_http1().wrap_connector(tcp);
        let mut builder = Client::builder(TokioExecutor::new());
        builder.pool_timer(TokioTimer::new()).pool_max_idle_per_host(IDLE_MAX).pool_idle_timeout(IDLE_TIME);
        Ok(Self(builder.build(https)))
    }

    /// Sends a request, and gives the answer's status; the reason in words when there is no answer in time.
    pub async fn status(&self, request: Request<Full<Bytes>>, within: Duration) -> Result<u16, String> {
        match tokio::time::timeout(within, self.0.request(request)).await {
            Ok(Ok(answer)) => Ok(answer.status().as_u16()),
            Ok(Err(why)) => Err(reasons(&why)),
            Err(_) => Err(format!("no answer within {} s", within.as_secs())),
        }
    }
}

impl Outbound {
    /// Sends a request, and gives the answer's status and body; the reason in words when not all of it is there in time, or its
    /// body has more than `at_most` bytes.
    pub async fn answer(
        &self,
        request: Request<Full<Bytes>>,
        within: Duration,
        at_most: usize,
    ) -> Result<(u16, Bytes), String> {
        let whole = async {
            let answer = self.0.request(request).await.map_err(|why| reasons(&why))?;
            let status = answer.status().as_u16();
            let body = Limited::new(answer.into_body(), at_most).collect().await.map_err(|why| why.to_string())?;
            Ok((status, body.to_bytes()))
        };
        let late = |_| Err(format!("no answer within {} ms", within.as_millis()));
        tokio::time::timeout(within, whole).await.unwrap_or_else(late)
    }
}

/// Why not all of an answer was taken.
#[derive(Debug)]
pub enum Cut {
    /// The server answered with this status, and not with what was asked for.
    Refused(u16, Fault),
    /// Nobody answered, or the connection broke, or nothing came for too long.
    Broken(Fault),
    /// What the taker says.
    Taking(Fault),
}

impl Cut {
    /// In words.
    pub fn why(self) -> Fault {
        match self {
            Self::Refused(_, why) | Self::Broken(why) | Self::Taking(why) => why,
        }
    }
}

impl Outbound {
    /// Sends a request, and has each part of a good answer's body taken as it comes. Fails when nothing comes for `patience`, when
    /// the answer is another, and with what the taker says.
    pub async fn each_part(
        &self,
        request: Request<Full<Bytes>>,
        patience: Duration,
        take: &mut dyn FnMut(&Bytes) -> Result<(), Fault>,
    ) -> Result<(), Cut> {
        let url = request.uri().to_string();
        let failed = |why: String| Fault::Io { doing: format!("GET {url}"), why };
        let broken = |why: &dyn std::error::Error| Cut::Broken(failed(reasons(why)));
        let late = |_| Cut::Broken(failed(format!("nothing came for {} s", patience.as_secs())));
        let answer = tokio::time::timeout(patience, self.0.request(request)).await.map_err(late)?;
        let answer = answer.map_err(|why| broken(&why))?;
        let status = answer.status();
        let mut body = answer.into_body();
        if !status.is_success() {
            // What it says matters less than that it refused, and may never come.
            let said = tokio::time::timeout(patience, Limited::new(body, 4096).collect()).await;
            let said = said.ok().and_then(Result::ok).map(http_body_util::Collected::to_bytes).unwrap_or_default();
            let why = failed(format!("{status} {}", String::from_utf8_lossy(&said)));
            return Err(Cut::Refused(status.as_u16(), why));
        }
        while let Some(frame) = tokio::time::timeout(patience, body.frame()).await.map_err(late)? {
            if let Ok(part) = frame.map_err(|why| broken(&why))?.into_data() {
                take(&part).map_err(Cut::Taking)?;
            }
        }
        Ok(())
    }
}

/// An error and what it came from: the outermost alone says too little.
fn reasons(why: &dyn std::error::Error) -> String {
    let mut text = why.to_string();
    let mut source = why.source();
    while let Some(inner) = source {
        text = format!("{text}: {inner}");
        source = inner.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    const LONG: Duration = Duration::from_mins(2);

    fn post(url: &str) -> Request<Full<Bytes>> {
        Request::post(url).header("x-test", "1").body(Full::new("hello".into())).unwrap()
    }

    #[tokio::test]
    async fn a_request_goes_out_whole_and_its_status_comes_back() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hook", listener.local_addr().unwrap());
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut sent = Vec::new();
            while !sent.ends_with(b"hello") {
                assert!(stream.read_buf(&mut sent).await.unwrap() > 0);
            }
            stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await.unwrap();
            String::from_utf8(sent).unwrap()
        });
        let client = Outbound::new().unwrap();
        assert_eq!(client.status(post(&url), LONG).await, Ok(204));
        let sent = server.await.unwrap();
        assert!(sent.starts_with("POST /hook HTTP/1.1\r\n") && sent.contains("x-test: 1\r\n"), "{sent}");
    }

    #[tokio::test]
    async fn a_body_is_read_up_to_a_bound() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let server = tokio::spawn(async move {
            for _ in 0..2 {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut sent = Vec::new();
                while !sent.ends_with(b"hello") {
                    assert!(stream.read_buf(&mut sent).await.unwrap() > 0);
                }
                stream
                    .write_all(b"HTTP/1.1 422 No\r\ncontent-length: 3\r\nconnection: close\r\n\r\nyes")
                    .await
                    .unwrap();
            }
        });
        let client = Outbound::new().unwrap();
        assert_eq!(client.answer(post(&url), LONG, 3).await, Ok((422, Bytes::from_static(b"yes"))));
        assert!(client.answer(post(&url), LONG, 2).await.is_err());
        server.await.unwrap();
    }

    #[tokio::test]
    async fn a_refusal_whose_reason_never_comes_is_one() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let server = tokio::spawn(async move {
            let mut open = Vec::new();
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut sent = Vec::new();
                while !sent.ends_with(b"\r\n\r\n") && stream.read_buf(&mut sent).await.is_ok_and(|read| read > 0) {}
                // Whoever was too impatient is gone.
                let _ = stream.write_all(b"HTTP/1.1 503 No\r\ncontent-length: 3\r\n\r\nye").await;
                open.push(stream);
            }
        });
        let client = Outbound::new().unwrap();
        // Short, as it is waited for twice; and longer where this machine is too busy for its status to come within that.
        let mut patience = Duration::from_millis(200);
        let cut = loop {
            let request = Request::get(&url).body(Full::default()).unwrap();
            match client.each_part(request, patience, &mut |_| Ok(())).await.unwrap_err() {
                Cut::Broken(why) => assert!(patience < LONG, "{why}"),
                cut => break cut,
            }
            patience *= 2;
        };
        assert!(matches!(cut, Cut::Refused(503, _)), "{cut:?}");
        server.abort();
    }

    #[tokio::test]
    async fn nobody_there_and_no_answer_are_reasons() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let client = Outbound::new().unwrap();
        let why = client.status(post(&url), Duration::from_millis(50)).await.unwrap_err();
        assert!(why.contains("no answer"), "{why}");
        // Bound, so that nobody else gets it, and never listening.
        let silent = tokio::net::TcpSocket::new_v4().unwrap();
        silent.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let url = format!("http://{}/", silent.local_addr().unwrap());
        let why = client.status(post(&url), LONG).await.unwrap_err();
        assert!(why.contains("refused") || why.contains("connect"), "{why}");
    }
}
