//! Clients that want harm, and those that only look like it.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use plaudit::hub;
use plaudit::push::sign::Signer;
use plaudit::push::{Call, PushOptions};
use serde_json::json;

use super::server::{TestServer, until};
use super::viewer::Viewer;

/// Sets a flag when a test ends, however it ends.
struct Ends(Arc<AtomicBool>);

impl Drop for Ends {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_message_that_never_ends_keeps_no_thread_to_itself() {
    let server = TestServer::with(hub::Settings::default(), PushOptions::default());
    let mut socket = Viewer::connect(server.address, None).await.into_socket();
    let over = Arc::new(AtomicBool::new(false));
    let ends = Ends(Arc::clone(&over));
    let flood = std::thread::spawn(move || {
        // A text that is begun, and then continued with nothing, as fast as the socket takes it.
        socket.write_all(&[0x01, 0x80, 0, 0, 0, 0]).unwrap();
        let nothing = [0x00, 0x80, 0, 0, 0, 0].repeat(10_000);
        while !over.load(Ordering::Relaxed) {
            socket.write_all(&nothing).unwrap();
        }
    });
    // The one thread that there is serves others too.
    let mut viewer = server.viewer("c", None).await;
    for n in 0..10 {
        server.publish("c", n.to_string()).await;
        assert_eq!(viewer.named("e").await["data"], n);
    }
    assert!(!flood.is_finished(), "it floods to the end");
    drop(ends);
    flood.join().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whose_connections_are_ended_is_gone_and_silent_though_nothing_is_read() {
    let bounds = hub::Settings { viewer_bytes: 64 << 20, all_bytes: 256 << 20, ..hub::Settings::default() };
    let options = PushOptions { close_timeout: Duration::from_millis(100), ..PushOptions::default() };
    let server = TestServer::with(bounds, options);
    let signer = Signer::new("key", b"secret");
    let mut viewer = Viewer::connect(server.address, Some(4 * 1024)).await;
    let id = viewer.named("pusher:connection_established").await["data"]["socket_id"].as_str().unwrap().to_owned();
    let user = r#"{"id":"ada"}"#;
    let auth = format!("key:{}", signer.sign(format!("{id}::user::{user}").as_bytes()));
    viewer.send(&json!({ "event": "pusher:signin", "data": { "auth": auth, "user_data": user } })).await;
    viewer.named("pusher:signin_success").await;
    viewer.subscribe("c", "").await;
    viewer.named("pusher_internal:subscription_succeeded").await;
    // More than all buffers on the way take; from here on it reads nothing.
    while server.engine.metrics().viewer_bytes.get() < 4 << 20 {
        server.publish("c", format!("\"{}\"", "x".repeat(10_000))).await;
    }

    let now_s = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let path = "/apps/1/users/ada/terminate_connections";
    let query = format!("auth_key=key&auth_timestamp={now_s}&auth_version=1.0");
    let query = format!("{query}&auth_signature={}", signer.sign(format!("POST\n{path}\n{query}").as_bytes()));
    server.push.call(Call { method: &http::Method::POST, path, query: &query, body: b"" }).await.unwrap();
    // It goes on to send, and is off the channel all the same.
    let speaks = tokio::spawn(async move {
        loop {
            viewer.send(&json!({ "event": "pusher:pong", "data": {} })).await;
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    until("its place is free", || server.engine.metrics().connections.get() == 0).await;
    assert_eq!(server.engine.hub().subscribers("c"), 0);
    speaks.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_asks_for_more_at_once_than_may_wait_gets_all_of_it_in_turn() {
    let bounds = hub::Settings { viewer_bytes: 64 << 10, ..hub::Settings::default() };
    let server = TestServer::with(bounds, PushOptions::default());
    let names: Vec<_> = (0..50).map(|n| format!("cache-{n}")).collect();
    for name in &names {
        server.publish(name, format!("[\"{name}\",\"{}\"]", "x".repeat(10_000))).await;
    }
    // As a client that comes back does.
    let mut viewer = Viewer::connect(server.address, None).await;
    let wish = |name: &String| json!({ "event": "pusher:subscribe", "data": { "channel": name, "auth": "" } });
    viewer.send_all(&names.iter().map(wish).collect::<Vec<_>>()).await;
    for name in &names {
        assert_eq!(viewer.named("e").await["data"][0], name.as_str());
    }
    assert_eq!(server.engine.metrics().slow_closes.get(), 0);
}
