//! Resume, and the server's end.

use plaudit::hub;
use plaudit::push::PushOptions;
use serde_json::json;

use super::server::TestServer;
use super::viewer::{Got, Viewer};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn viewers_that_are_cut_anywhere_miss_nothing_and_see_nothing_twice() {
    let server = TestServer::with(hub::Settings::default(), PushOptions::default());
    let publishing = async {
        for n in 0..400_u64 {
            server.publish("c", n.to_string()).await;
            if n % 7 == 0 {
                tokio::time::sleep(std::time::Duration::from_millis(1)).await;
            }
        }
    };
    let viewing = async {
        let mut seen: Vec<u64> = Vec::new();
        let mut since: Option<String> = None;
        for cut in (1..).map(|turn: usize| turn * 13 % 31 + 1) {
            let mut viewer = Viewer::connect(server.address, None).await;
            let mut wish = json!({ "channel": "c", "auth": "" });
            if let Some(since) = &since {
                wish["since"] = since.as_str().into();
            }
            viewer.send(&json!({ "event": "pusher:subscribe", "data": wish })).await;
            let joined = viewer.named("pusher_internal:subscription_succeeded").await;
            since.get_or_insert_with(|| joined["position"].as_str().unwrap().to_owned());
            for _ in 0..cut {
                let message = loop {
                    match viewer.next().await {
                        Got::Message(message) if message["event"] == "e" => break message,
                        Got::Message(message) => assert_ne!(message["event"], "plaudit:resync", "all is still there"),
                        other => panic!("{other:?}"),
                    }
                };
                since = Some(message["position"].as_str().unwrap().to_owned());
                seen.push(message["data"].as_u64().unwrap());
                if seen.last() == Some(&399) {
                    return seen;
                }
            }
        }
        unreachable!("the cuts never end")
    };
    let ((), seen) = tokio::join!(publishing, viewing);
    let first = seen[0];
    assert_eq!(seen, (first..400).collect::<Vec<_>>());
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
