//! What happens at each bound.

use std::sync::Arc;
use std::task::Poll;

use plaudit::hub::{Close, Frame, Position, Publication, Refusal, Settings, Subscribe};

use crate::rig::{Rig, START, drain, join, numbers, seen, take};

/// Publishes one event with so much data.
fn publish(rig: &mut Rig, channel: &str, bytes: usize) {
    let data = serde_json::to_string(&"x".repeat(bytes)).unwrap();
    let publication = Publication { channels: vec![channel.into()], event: "big".into(), data, except: None };
    rig.hub.publish(vec![publication]).map(drop).unwrap();
    rig.step();
}

#[test]
fn who_does_not_read_is_closed_and_the_others_lose_nothing() {
    let mut rig = Rig::with(Settings { viewer_bytes: 32 << 10, ..Settings::default() });
    let (mut reads, mut sleeps) = (rig.hub.viewer(), rig.hub.viewer());
    join(&mut reads, "room", None);
    join(&mut sleeps, "room", None);
    for n in 1..=50 {
        publish(&mut rig, "room", 1_000);
        assert_eq!(seen(&reads).len(), 1, "event {n}");
        assert!(rig.metrics.viewer_bytes.get() <= 64 << 10);
    }
    assert_eq!(drain(&sleeps), (Vec::new(), Some(Close::Slow)));
    assert_eq!(rig.metrics.slow_closes.get(), 1);
    assert_eq!(rig.metrics.deliveries.get(), 50 + 30, "nothing more was queued for it");
}

#[test]
fn stale_counts_never_close_anyone() {
    let mut rig = Rig::with(Settings { viewer_bytes: 1_000, ..Settings::default() });
    let mut viewer = rig.hub.viewer();
    join(&mut viewer, "clip-c0", None);
    for votes in 1..=10_000 {
        rig.settle_votes(0, votes);
        rig.clock.advance(100);
        rig.step();
    }
    let got = seen(&viewer);
    assert_eq!((got.len(), &got[0].data["voteCount"]), (1, &10_000.into()));
}

#[test]
fn a_history_that_would_fill_the_queue_is_not_replayed() {
    let mut rig = Rig::with(Settings { viewer_bytes: 32 << 10, ..Settings::default() });
    for _ in 0..20 {
        publish(&mut rig, "room", 1_000);
    }
    let mut viewer = rig.hub.viewer();
    assert!(join(&mut viewer, "room", Some(Position::of(START))).resynced, "it would be closed each time it comes");
    assert_eq!(seen(&viewer).len(), 1);
    let mut late = rig.hub.viewer();
    assert!(!join(&mut late, "room", Some(Position { seq: START, n: 10 })).resynced);
    assert_eq!(seen(&late).len(), 10);
}

#[test]
fn channels_have_their_bounds_and_give_their_places_back() {
    let mut rig = Rig::with(Settings { channels: 3, channels_per_viewer: 2, ..Settings::default() });
    let (mut a, mut b) = (rig.hub.viewer(), rig.hub.viewer());
    join(&mut a, "1", None);
    join(&mut a, "2", None);
    assert_eq!(a.subscribe(&Subscribe::to("3"), |_| None), Err(Refusal::TooManyChannels));
    join(&mut b, "3", None);
    assert_eq!(b.subscribe(&Subscribe::to("4"), |_| None), Err(Refusal::Full));
    // An event of a channel that finds no place can't be had again, and whoever asks is told.
    let before = rig.hub.position();
    rig.trigger("5", 1);
    a.unsubscribe("1");
    assert!(join(&mut b, "5", Some(before)).resynced);
}

#[test]
fn channels_that_nobody_is_on_make_room_for_who_comes() {
    let mut rig = Rig::with(Settings { channels: 20, ..Settings::default() });
    let mut viewer = rig.hub.viewer();
    join(&mut viewer, "room", None);
    let before = rig.hub.position();
    // An app's server speaks to its users one by one, whether they are there or not.
    for user in 0..50 {
        rig.trigger(&format!("private-user-{user}"), user);
    }
    for hall in 0..19 {
        join(&mut viewer, &format!("hall-{hall}"), None);
    }
    assert_eq!(rig.metrics.channels.get(), 20);
    assert_eq!(viewer.subscribe(&Subscribe::to("one-more"), |_| None), Err(Refusal::Full), "all are in use");
    // What had to go is told to be gone.
    viewer.unsubscribe("hall-0");
    assert!(join(&mut viewer, "private-user-0", Some(before)).resynced);
}

#[test]
fn all_histories_together_have_a_bound() {
    let mut rig = Rig::with(Settings { history_bytes: 100_000, ..Settings::default() });
    for n in 0..400 {
        publish(&mut rig, &format!("room-{}", n % 20), 2_000);
    }
    let mut kept = 0;
    for room in 0..20 {
        let mut viewer = rig.hub.viewer();
        let name = format!("room-{room}");
        let last = rig.hub.position();
        if !join(&mut viewer, &name, Some(Position { n: last.n - 20, ..last })).resynced {
            kept += seen(&viewer).len();
        }
    }
    assert!(kept <= 100_000 / 2_000, "{kept} events of 2,000 bytes are kept");
    assert!(kept >= 1, "and not none");
}

#[test]
fn likes_count_among_the_bytes_of_all_histories() {
    let mut rig = Rig::with(Settings { history_bytes: 20_000, ..Settings::default() });
    let mut viewer = rig.hub.viewer();
    for room in 0..10 {
        join(&mut viewer, &format!("clip-x{room}"), None);
    }
    for n in 0..1_000_u64 {
        rig.seq += 1;
        rig.feed.liked(rig.seq, &format!("clip-x{}", n % 10), n / 10, 1);
        rig.feed.send(rig.seq);
        rig.step();
    }
    let likes = seen(&viewer).len();
    assert_eq!(likes, 1_000);
    let mut kept = 0;
    for room in 0..10 {
        let mut back = rig.hub.viewer();
        let since = Some(rig.hub.position());
        join(&mut back, &format!("clip-x{room}"), since);
        kept += seen(&back).len();
    }
    assert!((1..=200).contains(&kept), "{kept} likes of over 100 bytes are kept");
}

#[test]
fn a_users_own_channel_has_no_history() {
    let mut rig = Rig::new();
    rig.trigger("#server-to-user-1", 1);
    assert_eq!(rig.metrics.channels.get(), 0);
    let mut viewer = rig.hub.viewer();
    join(&mut viewer, "#server-to-user-1", None);
    rig.trigger("#server-to-user-1", 2);
    assert_eq!(numbers(&viewer), [2]);
    // So nobody knows what was missed.
    assert!(join(&mut rig.hub.viewer(), "#server-to-user-1", Some(rig.hub.position())).resynced);
}

#[test]
fn what_settlement_could_not_hand_over_is_told_to_the_channels_it_was_for() {
    let mut rig = Rig::new();
    let mut viewer = rig.hub.viewer();
    join(&mut viewer, "clip-c0", None);
    join(&mut viewer, "clip-c1", None);
    let _first = seen(&viewer);
    // The worker rests; nothing here waits for it.
    for n in 1..=1_024 {
        rig.settle_votes(2, n);
    }
    rig.settle_event("clip-c0", 1);
    rig.settle_votes(1, 77);
    let lost_at = rig.seq;
    assert_eq!(rig.metrics.batches_lost.get(), 2);
    for _ in 0..10 {
        rig.step();
        rig.clock.advance(1_000);
    }
    let got = seen(&viewer);
    let names: Vec<_> = got.iter().map(|seen| (seen.channel.as_str(), seen.event.as_str())).collect();
    assert_eq!(names, [("clip-c0", "plaudit:resync"), ("clip-c1", "vote-update")]);
    let position: Position = got[0].data["position"].as_str().unwrap().parse().unwrap();
    assert!(position >= Position::of(lost_at - 1));
    assert_eq!(got[1].data["voteCount"], 77);
    // Who was away then is told too, and who comes with the new position is not.
    assert!(join(&mut rig.hub.viewer(), "clip-c0", Some(Position::of(START))).resynced);
    assert!(!join(&mut rig.hub.viewer(), "clip-c0", Some(position)).resynced);
    rig.settle_event("clip-c0", 2);
    rig.step();
    assert_eq!(numbers(&viewer), [2]);
}

#[test]
fn losses_between_batches_that_went_through_are_told_as_well() {
    let mut rig = Rig::new();
    let mut viewer = rig.hub.viewer();
    join(&mut viewer, "clip-x", None);
    for n in 1..=1_500 {
        rig.settle_event("clip-x", n);
        if n == 1_100 {
            // Room for some more, while losses wait to be told.
            rig.step();
        }
    }
    for _ in 0..10 {
        rig.step();
    }
    let mut known = 0;
    let mut told = false;
    for seen in seen(&viewer) {
        if seen.event == "plaudit:resync" {
            told = true;
            continue;
        }
        assert!(seen.n() == known + 1 || told, "{} behind {known} without a word", seen.n());
        (known, told) = (seen.n(), false);
    }
    assert!(known == 1_500 || told, "the end is known or told");
    assert!(rig.metrics.batches_lost.get() > 0);
}

#[test]
fn a_full_inbox_refuses_publications() {
    let mut rig = Rig::new();
    let orders: Vec<_> = (0..1_024).map(|n| rig.order("room", n)).collect();
    assert!(rig.hub.publish(Vec::new()).is_err());
    rig.step();
    assert!(rig.hub.publish(Vec::new()).is_ok());
    drop(orders);
}

#[test]
fn a_viewer_that_is_gone_gives_everything_back() {
    let mut rig = Rig::new();
    let mut viewer = rig.hub.viewer();
    join(&mut viewer, "room", None);
    publish(&mut rig, "room", 1_000);
    let outbox = viewer.outbox().clone();
    let mut taken = Vec::new();
    assert_eq!(take(&viewer, &mut taken, 1), Poll::Ready(Ok(())));
    assert!(rig.metrics.viewer_bytes.get() > 1_000);
    drop(viewer);
    assert!(!outbox.send(&Arc::new(Frame::text("{}"))));
    rig.step();
    assert_eq!((rig.metrics.viewer_bytes.get(), rig.metrics.viewers.get(), rig.hub.viewers()), (0, 0, 0));
}
