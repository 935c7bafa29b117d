//! Resume, and the server's end.

use std::sync::atomic::{AtomicU64, Ordering};

use plaudit::hub;
use plaudit::push::PushOptions;
use serde_json::json;

use super::server::TestServer;
use super::viewer::{Got, Viewer};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn viewers_that_are_cut_anywhere_miss_nothing_and_see_nothing_twice() {
    let server = TestServer::with(hub::Settings::default(), PushOptions::default());
    let known = AtomicU64::new(0);
    let publishing = async {
        for n in 0..400_u64 {
            // Never further ahead than the history reaches, however slow the machine is.
            while n >= known.load(Ordering::SeqCst) + 60 {
                tokio::time::sleep(std::time::Duration::from_millis(1)).await;
            }
            server.publish("c", n.to_string()).await;
            if n % 7 == 0 {
                tokio::time::sleep(std::time::Duration::from_millis(1)).await;
            }
        }
    };
    // Known before anything is published: who comes behind all of it would wait for ever.
    let mut first = Viewer::connect(server.address, None).await;
    first.subscribe("c", "").await;
    let joined = first.named("pusher_internal:subscription_succeeded").await;
    drop(first);
    let viewing = async {
        let mut seen: Vec<u64> = Vec::new();
        let mut since = joined["position"].as_str().unwrap().to_owned();
        for cut in (1..).map(|turn: usize| turn * 13 % 31 + 1) {
            let mut viewer = Viewer::connect(server.address, None).await;
            let wish = json!({ "channel": "c", "auth": "", "since": since });
            viewer.send(&json!({ "event": "pusher:subscribe", "data": wish })).await;
            viewer.named("pusher_internal:subscription_succeeded").await;
            for _ in 0..cut {
                let message = loop {
                    match viewer.next().await {
                        Got::Message(message) if message["event"] == "e" => break message,
                        Got::Message(message) => assert_ne!(message["event"], "plaudit:resync", "all is still there"),
                        other => panic!("{other:?}"),
                    }
                };
                message["position"].as_str().unwrap().clone_into(&mut since);
                seen.push(message["data"].as_u64().unwrap());
                known.store(seen.len() as u64, Ordering::SeqCst);
                if seen.last() == Some(&399) {
                    return seen;
                }
            }
        }
        unreachable!("the cuts never end")
    };
    let ((), seen) = tokio::join!(publishing, viewing);
    assert_eq!(seen, (0..400).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stopping_server_closes_its_viewers_and_waits_for_them() {
    let mut server = TestServer::with(hub::Settings::default(), PushOptions::default());
    let mut viewers = Vec::new();
    for _ in 0..20 {
        viewers.push(server.viewer("c", None).await);
    }
    let seen = tokio::spawn(async move {
        let mut codes = Vec::new();
        for viewer in &mut viewers {
            codes.push(loop {
                match viewer.next().await {
                    Got::Close(code) => break code,
                    Got::End => panic!("an end without a close"),
                    Got::Message(_) => {}
                }
            });
        }
        codes
    });
    server.stopped().await;
    assert_eq!(seen.await.unwrap(), vec![4200; 20]);
    assert_eq!(server.engine.hub().viewers(), 0);
}
