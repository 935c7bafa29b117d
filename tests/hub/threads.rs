//! Many threads at once: no wake is lost, no frame, no byte of the budget.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use plaudit::hub::{Close, Frame, Hub, Publication, Step, Viewer};

use crate::rig::{Rig, join};

const READERS: usize = 6;
const EVENTS: usize = 3_000;
const RELAYED: usize = 2_000;
/// Threads that relay.
const RELAYS: usize = 2;

/// Reads until it has the last of everything; the numbers of the ordered events, and how many were relayed.
async fn read(viewer: Viewer) -> (Vec<usize>, usize) {
    let (mut events, mut relayed, mut frames) = (Vec::new(), 0, Vec::new());
    while events.len() < EVENTS || relayed < RELAYS * RELAYED {
        let took = tokio::time::timeout(Duration::from_mins(3), viewer.outbox().take(&mut frames, 4_096)).await;
        assert_eq!(took.expect("a wake was lost"), Ok(()));
        for frame in frames.drain(..) {
            match frame.name() {
                Some("event") => events.push(frame.data().unwrap().parse().unwrap()),
                Some("relayed") => relayed += 1,
                _ => {}
            }
        }
    }
    (events, relayed)
}

/// Comes, looks and goes, again and again.
fn pass_by(hub: &Hub, over: &AtomicBool) {
    while !over.load(Ordering::Relaxed) {
        let mut viewer = hub.viewer();
        join(&mut viewer, "room", None);
        join(&mut viewer, "hall", Some(hub.position()));
        viewer.unsubscribe("room");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn everyone_gets_everything_in_order_whoever_comes_and_goes() {
    let Rig { hub, mut worker, feed, metrics, .. } =
        Rig::with(plaudit::hub::Settings { viewer_bytes: 16 << 20, ..Default::default() });
    let steps = std::thread::spawn(move || while worker.step(Duration::from_millis(50)) == Step::On {});
    let readers: Vec<_> = (0..READERS)
        .map(|_| {
            let mut viewer = hub.viewer();
            join(&mut viewer, "room", None);
            tokio::spawn(read(viewer))
        })
        .collect();
    let over = Arc::new(AtomicBool::new(false));
    let passing = {
        let (hub, over) = (hub.clone(), Arc::clone(&over));
        std::thread::spawn(move || pass_by(&hub, &over))
    };
    let relays: Vec<_> = (0..RELAYS)
        .map(|_| {
            let hub = hub.clone();
            std::thread::spawn(move || {
                for n in 0..RELAYED {
                    let frame = Arc::new(Frame::event("room", "relayed", n.to_string()));
                    assert!(hub.relay("room", &frame, None) >= READERS);
                    hub.relay_latest("room", 1, &Arc::new(Frame::event("room", "latest", n.to_string())), None);
                }
            })
        })
        .collect();
    for n in 0..EVENTS {
        let publication =
            Publication { channels: vec!["room".into()], event: "event".into(), data: n.to_string(), except: None };
        hub.publish(vec![publication]).unwrap().await.unwrap();
    }
    let expected: Vec<usize> = (0..EVENTS).collect();
    for reader in readers {
        assert_eq!(reader.await.unwrap(), (expected.clone(), RELAYS * RELAYED));
    }
    over.store(true, Ordering::Relaxed);
    passing.join().unwrap();
    for relay in relays {
        relay.join().unwrap();
    }
    // Settlement ends, and the worker behind it.
    drop(feed);
    steps.join().unwrap();
    assert_eq!((metrics.viewer_bytes.get(), hub.viewers(), hub.channels("").len()), (0, 0, 0));
}

#[tokio::test]
async fn a_close_wakes_who_waits() {
    let rig = Rig::new();
    let viewer = rig.hub.viewer();
    let outbox = viewer.outbox().clone();
    let waiting = tokio::spawn(async move { viewer.outbox().take(&mut Vec::new(), 1).await });
    tokio::task::yield_now().await;
    outbox.close(4009, "terminated");
    assert_eq!(waiting.await.unwrap(), Err(Close::Code(4009, "terminated")));
}
