//! TLS and HTTP/2: what a client chooses it gets, with the answers of HTTP/1; a new certificate is taken without a restart.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, Version};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http2::SendRequest;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use plaudit::http::Tls;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use crate::server::{PATIENCE, Setup, TestServer, token, until};

/// A certificate for `localhost` in a directory, and what a client has to trust.
struct Pair {
    dir: tempfile::TempDir,
}

impl Pair {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Writes another pair into the same files.
    fn issue(&self) -> CertificateDer<'static> {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        std::fs::write(self.at("cert.pem"), made.cert.pem()).unwrap();
        std::fs::write(self.at("key.pem"), made.signing_key.serialize_pem()).unwrap();
        made.cert.der().clone()
    }

    fn load(&self) -> Tls {
        Tls::load(&self.at("cert.pem"), &self.at("key.pem")).unwrap()
    }
}

fn over(tls: Tls) -> TestServer {
    let mut setup = Setup::default();
    setup.serve.tls = Some(tls);
    TestServer::with(setup)
}

async fn shake(server: &TestServer, trusted: &CertificateDer<'static>, alpn: &[u8]) -> Option<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots.add(trusted.clone()).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()));
    let config = config.with_safe_default_protocol_versions().unwrap().with_root_certificates(roots);
    let mut config = config.with_no_client_auth();
    config.alpn_protocols = vec![alpn.to_vec()];
    let name = ServerName::try_from("localhost").unwrap();
    TlsConnector::from(Arc::new(config)).connect(name, server.connect().await).await.ok()
}

fn vote(uri: &str, sub: &str) -> Request<Full<Bytes>> {
    Request::post(uri)
        .header("content-type", "application/json")
        .header("authorization", format!("Bearer {}", token(sub)))
        .body(Full::new(r#"{"clipId":"c0"}"#.into()))
        .unwrap()
}

async fn read(answer: Response<Incoming>) -> (u16, Version, String) {
    let (status, version) = (answer.status().as_u16(), answer.version());
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    (status, version, String::from_utf8(body.to_vec()).unwrap())
}

async fn http2<S>(stream: S) -> SendRequest<Full<Bytes>>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    sender
}

#[tokio::test]
async fn a_client_has_the_protocol_that_it_chose() {
    let pair = Pair::new();
    let trusted = pair.issue();
    let server = over(pair.load());
    let mut two = http2(shake(&server, &trusted, b"h2").await.unwrap()).await;
    let (status, version, _) = read(two.send_request(get("https://localhost/livez")).await.unwrap()).await;
    assert_eq!((status, version), (200, Version::HTTP_2));
    let stream = shake(&server, &trusted, b"http/1.1").await.unwrap();
    let (mut one, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let (status, version, _) = read(one.send_request(get("/livez")).await.unwrap()).await;
    assert_eq!((status, version), (200, Version::HTTP_11));
}

fn get(uri: &str) -> Request<Full<Bytes>> {
    Request::get(uri).header("host", "localhost").body(Full::default()).unwrap()
}

#[tokio::test]
async fn votes_in_clear_over_http2_are_those_of_http1() {
    let server = TestServer::staged(1).await;
    let mut two = http2(server.connect().await).await;
    let uri = format!("http://{}/api/vote", server.address);
    // At once, on one connection.
    let asked: Vec<_> = (0..50).map(|n| two.send_request(vote(&uri, &format!("voter-{n}")))).collect();
    for answer in asked {
        let (status, version, body) = read(answer.await.unwrap()).await;
        assert_eq!((status, version), (200, Version::HTTP_2), "{body}");
    }
    let (status, _, body) = read(two.send_request(vote(&uri, "voter-7")).await.unwrap()).await;
    assert_eq!(status, 409, "{body}");
    until("all of them were on one connection", async || server.engine.metrics().connections.get() == 1).await;
    assert_eq!(server.get("/api/vote").await.is(200)[0]["vote_count"], 50);
}

#[tokio::test]
async fn head_over_http2_has_no_body() {
    let server = TestServer::staged(40).await;
    let mut two = http2(server.connect().await).await;
    for path in ["/api/vote", "/openapi.json", "/nowhere"] {
        let uri = format!("http://{}{path}", server.address);
        let whole = two.send_request(get(&uri)).await.unwrap();
        let head = Request::head(&uri).body(Full::default()).unwrap();
        let head = two.send_request(head).await.unwrap();
        for name in ["content-length", "content-type", "vary", "etag"] {
            assert_eq!(whole.headers().get(name), head.headers().get(name), "{path}: {name}");
        }
        assert_eq!((head.status(), head.headers().contains_key("content-length")), (whole.status(), true));
        assert_eq!(read(head).await.2, "", "{path}");
    }
}

#[tokio::test]
async fn a_client_that_begins_in_pieces_is_understood() {
    let server = TestServer::staged(1).await;
    let mut stream = server.connect().await;
    // HTTP/1, though it begins with the same letter.
    stream.write_all(b"P").await.unwrap();
    tokio::time::sleep(Duration::from_millis(30)).await;
    stream.write_all(b"UT /livez HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 405 "), "{answer}");
    let mut stream = server.connect().await;
    for piece in [&b"P"[..], b"RI * HT", b"TP/2.0\r\n\r\nSM\r\n\r\n", &[0, 0, 0, 4, 0, 0, 0, 0, 0]] {
        stream.write_all(piece).await.unwrap();
        tokio::time::sleep(Duration::from_millis(30)).await;
    }
    let mut settings = [0; 9];
    stream.read_exact(&mut settings).await.unwrap();
    assert_eq!(settings[3], 4, "a SETTINGS frame");
}

#[tokio::test]
async fn a_new_certificate_is_taken_and_open_connections_stay() {
    let pair = Pair::new();
    let first = pair.issue();
    let tls = pair.load();
    let server = over(tls.clone());
    let mut old = http2(shake(&server, &first, b"h2").await.unwrap()).await;
    let second = pair.issue();
    assert!(shake(&server, &second, b"h2").await.is_none(), "it isn't read before it is asked for");
    tls.reload().unwrap();
    let mut new = http2(shake(&server, &second, b"h2").await.unwrap()).await;
    assert!(shake(&server, &first, b"h2").await.is_none());
    for sender in [&mut old, &mut new] {
        assert_eq!(read(sender.send_request(get("https://localhost/livez")).await.unwrap()).await.0, 200);
    }
    std::fs::write(pair.at("cert.pem"), "nothing").unwrap();
    tls.reload().unwrap_err();
    assert!(shake(&server, &second, b"h2").await.is_some(), "a pair that can't be read changes nothing");
    until("failed handshakes are counted", async || server.engine.metrics().tls_failures.get() == 2).await;
}

#[tokio::test]
async fn silence_and_nonsense_end_and_give_their_places_back() {
    let pair = Pair::new();
    pair.issue();
    let mut setup = Setup::default();
    setup.serve.tls = Some(pair.load());
    setup.serve.header_timeout = Duration::from_secs(1);
    let server = TestServer::with(setup);
    let silent = server.connect().await;
    let mut plain = server.connect().await;
    plain.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    until("both are gone", async || server.engine.metrics().tls_failures.get() == 2).await;
    until("the places are free", async || server.engine.metrics().connections.get() == 0).await;
    drop((silent, plain));
}

/// Asks on a connection of its own, which is given back with what `take` makes of the answer. Where connections are soon closed, a
/// busy machine may come too late with its request: then again, on another one.
async fn answered<T>(
    server: &TestServer,
    uri: &str,
    take: impl AsyncFn(Response<Incoming>) -> Option<T>,
) -> (SendRequest<Full<Bytes>>, T) {
    let asked = async {
        loop {
            let Ok((mut two, connection)) =
                http2::handshake(TokioExecutor::new(), TokioIo::new(server.connect().await)).await
            else {
                continue;
            };
            tokio::spawn(connection);
            if let Ok(answer) = two.send_request(get(uri)).await
                && let Some(taken) = take(answer).await
            {
                return (two, taken);
            }
        }
    };
    tokio::time::timeout(PATIENCE, asked).await.expect("an answer")
}

#[tokio::test]
async fn an_http2_connection_on_which_nothing_moves_is_closed() {
    let mut setup = Setup::default();
    setup.serve.header_timeout = Duration::from_millis(100);
    setup.serve.stall = Duration::from_millis(100);
    let server = TestServer::with(setup);
    // One that never says more than that it is there, and one that had an answer.
    let mut mute = server.connect().await;
    mute.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
    let uri = format!("http://{}/livez", server.address);
    let whole = async |answer: Response<Incoming>| {
        assert_eq!(answer.status().as_u16(), 200);
        answer.into_body().collect().await.ok()
    };
    let _answered = answered(&server, &uri, whole).await;
    until("both are gone", async || server.engine.metrics().connections.get() == 0).await;
}

#[tokio::test]
async fn a_stopping_server_lets_http2_finish() {
    let mut server = TestServer::staged(1).await;
    let mut two = http2(server.connect().await).await;
    let uri = format!("http://{}/api/vote", server.address);
    assert_eq!(read(two.send_request(vote(&uri, "ada")).await.unwrap()).await.0, 200);
    server.begin_stop();
    server.stopped().await;
    assert!(two.send_request(vote(&uri, "bob")).await.is_err());
}

#[tokio::test]
async fn an_answer_that_waits_for_the_server_keeps_its_http2_connection() {
    let mut setup = Setup::default();
    setup.serve.header_timeout = Duration::from_millis(100);
    setup.serve.stall = Duration::from_millis(100);
    // Whatever else is asked for goes by a server that bears with a slow client.
    let patient = TestServer::staged(1).await;
    let server = TestServer::over(patient.engine.clone(), Arc::clone(&patient.clock), setup, None);
    let uri = format!("http://{}/api/stream?channels=clip-c0", server.address);
    let begun = async |answer: Response<Incoming>| {
        let mut events = answer.into_body();
        let first = events.frame().await?.ok()?.into_data().unwrap();
        assert!(first.starts_with(b"retry: "));
        Some(events)
    };
    let (_two, mut events) = answered(&server, &uri, begun).await;
    // Quiet for less long than the stream when it is dropped.
    let mut mute = server.connect().await;
    mute.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
    let _ended = mute.read_to_end(&mut Vec::new()).await;
    patient.comment("ada", "still there?").await.is(201);
    let mut heard = String::new();
    while !heard.contains("still there?") {
        let event = events.frame().await.expect("the stream goes on").unwrap().into_data().unwrap();
        heard += str::from_utf8(&event).unwrap();
    }
}

#[tokio::test]
async fn a_stopping_server_does_not_wait_for_a_handshake() {
    let pair = Pair::new();
    pair.issue();
    let mut setup = Setup::default();
    setup.serve.tls = Some(pair.load());
    // Longer than the test waits: what ends the wait is the stop alone.
    (setup.serve.header_timeout, setup.serve.drain) = (Duration::from_hours(1), Duration::from_hours(1));
    let mut server = TestServer::with(setup);
    let silent = server.connect().await;
    until("it is let in", async || server.engine.metrics().connections.get() == 1).await;
    server.begin_stop();
    server.stopped().await;
    drop(silent);
}

#[test]
fn debug_output_names_the_certificate_alone() {
    let pair = Pair::new();
    pair.issue();
    let shown = format!("{:?}", pair.load());
    assert!(shown.contains("cert.pem") && !shown.contains("key"), "{shown}");
}
