//! Viewers that don't follow: the others lose nothing, and what waits stays within its budget.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use plaudit::hub;
use plaudit::push::PushOptions;
use serde_json::Value;

use super::server::{PATIENCE, TestServer, until};
use super::viewer::{Got, Viewer};

/// Bytes that may wait for all.
const ALL: usize = 4 << 20;
/// Bytes that a slow viewer's socket takes.
const SMALL: Option<u32> = Some(4 * 1024);

fn bounds() -> hub::Settings {
    hub::Settings { viewer_bytes: 64 << 10, all_bytes: ALL, ..hub::Settings::default() }
}

/// Publishes numbered events of 10 KB until so many viewers were given up; how many. Those who read set the pace: `seen`
/// counts what each of them has.
async fn flood(server: &TestServer, given_up: u64, seen: &[Arc<AtomicU64>]) -> u64 {
    let mut sent = 0;
    while server.engine.metrics().slow_closes.get() < given_up {
        server.publish("c", format!("[{sent},\"{}\"]", "x".repeat(10_000))).await;
        let waiting = usize::try_from(server.engine.metrics().viewer_bytes.get()).unwrap();
        assert!(waiting <= ALL, "{waiting} bytes wait");
        sent += 1;
        until("they have it", || seen.iter().all(|seen| seen.load(Ordering::Relaxed) >= sent)).await;
        assert!(sent < 20_000, "nobody is given up");
    }
    sent
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_viewers_are_closed_with_4100_and_the_others_lose_nothing() {
    // The test reads what the slow ones are told once the others have all.
    let options = PushOptions { close_timeout: PATIENCE, ..PushOptions::default() };
    let server = TestServer::with(bounds(), options);
    let mut slow: Vec<Viewer> = Vec::new();
    let (mut fast, mut counts) = (Vec::new(), Vec::new());
    for _ in 0..10 {
        slow.push(server.viewer("c", SMALL).await);
        let mut viewer = server.viewer("c", None).await;
        let count = Arc::new(AtomicU64::new(0));
        counts.push(Arc::clone(&count));
        fast.push(tokio::spawn(async move {
            let mut seen = Vec::new();
            loop {
                let message = viewer.named("e").await;
                match message["data"][0].as_u64() {
                    Some(number) => seen.push(number),
                    None => return seen,
                }
                count.fetch_add(1, Ordering::Relaxed);
            }
        }));
    }
    let sent = flood(&server, 10, &counts).await;
    server.publish("c", "[\"end\"]".into()).await;
    for viewer in fast {
        assert_eq!(viewer.await.unwrap(), (0..sent).collect::<Vec<_>>());
    }
    for viewer in &mut slow {
        // What it had not read: whole events from the first on, and then the close.
        let mut next = 0;
        let code = loop {
            match viewer.next().await {
                Got::Message(message) if message["event"] == "e" => {
                    assert_eq!(message["data"][0], next);
                    next += 1;
                }
                Got::Message(_) => {}
                Got::Close(code) => break code,
                Got::End => panic!("an end without a close"),
            }
        };
        assert_eq!(code, 4100);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_never_reads_again_is_cut_off() {
    let options = PushOptions { close_timeout: std::time::Duration::from_millis(100), ..PushOptions::default() };
    let server = TestServer::with(bounds(), options);
    let _slow = server.viewer("c", SMALL).await;
    assert_eq!(server.engine.hub().subscribers("c"), 1);
    flood(&server, 1, &[]).await;
    until("its place is free", || server.engine.metrics().connections.get() == 0).await;
    assert_eq!(server.engine.hub().viewers(), 0);
    // The gauge is set when something is published.
    server.publish("c", "[]".into()).await;
    until("nothing waits", || server.engine.metrics().viewer_bytes.get() == 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn frames_that_wait_arrive_whole_and_in_order_through_a_small_socket() {
    let bounds = hub::Settings { viewer_bytes: 8 << 20, all_bytes: 64 << 20, ..hub::Settings::default() };
    let server = TestServer::with(bounds, PushOptions::default());
    let mut viewer = server.viewer("c", SMALL).await;
    let payload = |n: usize| "x".repeat(n * 37 % 9_000);
    for n in 0..500 {
        server.publish("c", format!("[{n},\"{}\"]", payload(n))).await;
    }
    for n in 0..500 {
        let message = viewer.named("e").await;
        assert_eq!((&message["data"][0], &message["data"][1]), (&Value::from(n), &Value::from(payload(n))));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pongs_stand_between_whole_frames_though_the_socket_takes_neither_at_once() {
    let bounds = hub::Settings { viewer_bytes: 8 << 20, all_bytes: 64 << 20, ..hub::Settings::default() };
    let server = TestServer::with(bounds, PushOptions::default());
    let mut viewer = server.viewer("c", SMALL).await;
    let payload = |n: usize| "x".repeat(n * 37 % 9_000);
    let mut next = 0;
    for n in 0..400 {
        server.publish("c", format!("[{n},\"{}\"]", payload(n))).await;
        viewer.ping(&[u8::try_from(n % 256).unwrap(); 120]).await;
        // It reads less than is sent for most of the time, and catches up with all of it now and then.
        let upto = if n % 100 == 99 { n + 1 } else { n / 2 };
        while next < upto {
            let message = viewer.named("e").await;
            assert_eq!((&message["data"][0], &message["data"][1]), (&Value::from(next), &Value::from(payload(next))));
            next += 1;
        }
    }
    assert_eq!(next, 400);
    assert!(!viewer.pongs.is_empty());
    assert!(viewer.pongs.iter().all(|pong| pong.len() == 120 && pong.iter().all(|byte| *byte == pong[0])));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_viewers_get_everything_in_order_while_some_are_slow() {
    let bounds = hub::Settings { viewer_bytes: 8 << 20, all_bytes: 512 << 20, ..hub::Settings::default() };
    let server = TestServer::with(bounds, PushOptions::default());
    let mut viewers = Vec::new();
    for n in 0..150 {
        viewers.push(server.viewer("c", if n % 5 == 0 { SMALL } else { None }).await);
    }
    let reading = viewers.into_iter().map(|mut viewer| {
        tokio::spawn(async move {
            for n in 0..300 {
                assert_eq!(viewer.named("e").await["data"][0], n);
            }
        })
    });
    let reading: Vec<_> = reading.collect();
    for n in 0..300 {
        server.publish("c", format!("[{n},\"{}\"]", "x".repeat(n * 31 % 2_000))).await;
    }
    for viewer in reading {
        viewer.await.unwrap();
    }
}
