//! A viewer over TLS: hears all, in order, also when it reads late.

use std::sync::Arc;

use plaudit::http::Tls;
use plaudit::hub;
use plaudit::push::PushOptions;
use serde_json::json;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use super::server::{TestServer, until};
use super::viewer::{Got, Viewer};

/// Events of 10 KB: far more than the sockets between the two take.
const EVENTS: u64 = 2_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_viewer_over_tls_that_reads_late_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let (cert, key) = (dir.path().join("cert.pem"), dir.path().join("key.pem"));
    std::fs::write(&cert, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let bounds = hub::Settings { viewer_bytes: 64 << 20, all_bytes: 128 << 20, ..hub::Settings::default() };
    let mut server = TestServer::over(bounds, PushOptions::default(), Some(Tls::load(&cert, &key).unwrap()));

    let mut roots = RootCertStore::empty();
    roots.add(made.cert.der().clone()).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()));
    let config = config.with_safe_default_protocol_versions().unwrap().with_root_certificates(roots);
    let connector = TlsConnector::from(Arc::new(config.with_no_client_auth()));
    let tcp = TcpStream::connect(server.address).await.unwrap();
    let stream = connector.connect(ServerName::try_from("localhost").unwrap(), tcp).await.unwrap();
    let mut viewer = Viewer::over(stream).await;
    viewer.subscribe("c", "").await;
    viewer.named("pusher_internal:subscription_succeeded").await;

    for number in 0..EVENTS {
        server.publish("c", format!("[{number},\"{}\"]", "x".repeat(10_000))).await;
    }
    for number in 0..EVENTS {
        assert_eq!(viewer.named("e").await["data"][0], json!(number));
    }
    // Several messages in one record, and an answer to the last.
    let pings: Vec<_> = (0..20).map(|_| json!({"event": "pusher:ping", "data": {}})).collect();
    viewer.send_all(&pings).await;
    for _ in 0..20 {
        viewer.named("pusher:pong").await;
    }
    until("nothing waits", || server.engine.metrics().viewer_bytes.get() == 0).await;
    let told = tokio::spawn(async move { viewer.next().await });
    server.stopped().await;
    assert!(matches!(told.await.unwrap(), Got::Close(4200)));
}
