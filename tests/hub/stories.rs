//! What viewers get, case by case.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use plaudit::error::Reject;
use plaudit::hub::{Frame, Observer, Position, Publication, Refusal, Subscribe};
use serde_json::json;

use crate::rig::{Rig, START, join, numbers, seen};

#[test]
fn an_event_of_the_log_carries_its_position_everywhere() {
    let mut rig = Rig::new();
    let mut viewer = rig.hub.viewer();
    join(&mut viewer, "clip-c0", None);
    let _counts = seen(&viewer);
    rig.settle_event("clip-c0", 7);
    rig.step();
    let got = seen(&viewer);
    assert_eq!(got.len(), 1);
    assert_eq!(got[0].data, json!({"n": 7, "position": "101.0"}));
    assert_eq!(got[0].position, Some(Position::of(101)));
    rig.trigger("room", 1);
    assert_eq!(rig.hub.position(), Position { seq: 101, n: 1 }, "a trigger takes the last sequence and the next n");
}

#[test]
fn several_events_of_one_sequence_are_told_apart() {
    let mut rig = Rig::new();
    let mut viewer = rig.hub.viewer();
    join(&mut viewer, "clip-x", None);
    rig.feed.event(101, "clip-x", "event", r#"{"n":1}"#.into());
    rig.feed.event(101, "clip-x", "event", "{}".into());
    rig.feed.send(101);
    rig.step();
    let positions: Vec<_> = seen(&viewer).into_iter().map(|seen| seen.data["position"].clone()).collect();
    assert_eq!(positions, ["101.0", "101.1"]);
}

#[test]
fn who_comes_gets_its_welcome_what_it_missed_and_then_the_counts() {
    let mut rig = Rig::new();
    rig.counts.set(0, 5);
    for n in 1..=3 {
        rig.settle_event("clip-c0", n);
        rig.step();
    }
    let mut viewer = rig.hub.viewer();
    let since = Some(Position::of(START + 1));
    let welcome =
        |joined: &plaudit::hub::Joined| Some(Arc::new(Frame::event("clip-c0", "welcome", joined.count.to_string())));
    let joined = viewer.subscribe(&Subscribe { since, ..Subscribe::to("clip-c0") }, welcome).unwrap();
    // A cut may come right behind the welcome: until it has what it missed it knows no more than it did.
    assert_eq!((joined.count, joined.position, joined.resynced), (1, Position::of(START + 1), false));
    let got = seen(&viewer);
    let names: Vec<_> = got.iter().map(|seen| seen.event.as_str()).collect();
    assert_eq!(names, ["welcome", "event", "event", "vote-update"]);
    assert_eq!((got[1].n(), got[2].n()), (2, 3));
    assert_eq!(got[3].data, json!({"clipId": "c0", "voteCount": 5, "weightedScore": 15, "seq": START + 3}));
}

#[test]
fn what_is_older_than_the_history_is_told_to_be_gone() {
    let mut rig = Rig::with(plaudit::hub::Settings { history_events: 2, ..Default::default() });
    for n in 1..=3 {
        rig.trigger("room", n);
    }
    let at = |n| Some(Position { seq: START, n });
    for (since, resynced, expected) in [(at(0), true, 0), (at(1), false, 2), (at(2), false, 1), (at(3), false, 0)] {
        let mut viewer = rig.hub.viewer();
        assert_eq!(join(&mut viewer, "room", since).resynced, resynced, "{since:?}");
        let got = seen(&viewer);
        if resynced {
            assert_eq!(got[0].event, "plaudit:resync");
            assert_eq!(got[0].data, json!({"channel": "room", "position": "100.3"}));
        } else {
            assert_eq!(got.len(), expected, "{since:?}");
        }
    }
}

#[test]
fn a_welcome_shows_no_position_that_a_cut_behind_it_would_turn_into_a_gap() {
    let mut rig = Rig::with(plaudit::hub::Settings { history_events: 2, ..Default::default() });
    for n in 1..=4 {
        rig.trigger("room", n);
    }
    // Told that the rest is gone, then missed the last, then up to date: what the welcome alone says is enough to come back with.
    for (knows, resynced, missed) in [(1, true, 0), (3, false, 1), (4, false, 0)] {
        let since = Some(Position { seq: START, n: knows });
        let cut = join(&mut rig.hub.viewer(), "room", since);
        let mut back = rig.hub.viewer();
        let joined = join(&mut back, "room", Some(cut.position));
        assert_eq!((joined.resynced, numbers(&back).len()), (resynced, missed), "knows {knows}");
    }
    // Where nothing was missed it knows all there is.
    rig.trigger("hall", 5);
    let joined = join(&mut rig.hub.viewer(), "room", Some(Position { seq: START, n: 4 }));
    assert_eq!(joined.position, rig.hub.position());
}

#[test]
fn a_history_ends_with_its_time() {
    let mut rig = Rig::new();
    rig.trigger("room", 1);
    rig.clock.advance(299_999);
    let since = Some(Position::of(START));
    let mut viewer = rig.hub.viewer();
    assert!(!join(&mut viewer, "room", since).resynced);
    assert_eq!(numbers(&viewer), [1]);
    rig.clock.advance(1);
    let mut late = rig.hub.viewer();
    assert!(join(&mut late, "room", since).resynced);
    drop((viewer, late));
    // Nothing is left of the channel but the knowledge that there was something.
    for _ in 0..16 {
        rig.clock.advance(1_000);
        rig.step();
    }
    assert_eq!(rig.metrics.channels.get(), 0);
    assert!(join(&mut rig.hub.viewer(), "room", since).resynced);
    assert!(!join(&mut rig.hub.viewer(), "room", Some(rig.hub.position())).resynced);
}

#[test]
fn a_position_past_the_end_is_no_position() {
    let mut rig = Rig::new();
    rig.trigger("room", 1);
    for future in [Position { seq: START, n: 2 }, Position::of(START + 1), Position::of(u64::MAX)] {
        assert!(join(&mut rig.hub.viewer(), "room", Some(future)).resynced, "{future}");
    }
}

#[test]
fn who_heard_of_an_event_before_the_hub_did_does_not_get_it_again() {
    let mut rig = Rig::new();
    rig.settle_event("clip-c0", 1);
    rig.settle_event("clip-c0", 2);
    // The answer to whoever made event 1 said where it is; the hub has not come so far.
    let mut viewer = rig.hub.viewer();
    let joined = join(&mut viewer, "clip-c0", Some(Position::of(START + 1)));
    assert_eq!((joined.resynced, joined.position), (false, Position::of(START + 1)));
    rig.step();
    assert_eq!(numbers(&viewer), [2]);
}

#[test]
fn several_channels_come_in_one_order() {
    let mut rig = Rig::new();
    for n in 1..=9 {
        rig.trigger(["a", "b", "c"][usize::try_from(n % 3).unwrap()], n);
    }
    let mut viewer = rig.hub.viewer();
    for channel in ["a", "b", "c"] {
        join(&mut viewer, channel, Some(Position { seq: START, n: 2 }));
    }
    viewer.in_one_order();
    assert_eq!(numbers(&viewer), [3, 4, 5, 6, 7, 8, 9]);
}

#[test]
fn what_is_gone_is_told_first_and_no_cut_hides_it() {
    let mut rig = Rig::with(plaudit::hub::Settings { history_events: 2, ..Default::default() });
    // Channels a and c forget what b keeps.
    for (channel, n) in [("a", 1), ("c", 2), ("b", 3), ("a", 4), ("a", 5), ("c", 6), ("c", 7), ("b", 8)] {
        rig.trigger(channel, n);
    }
    let since = Position::of(START);
    let come = |since| {
        let mut viewer = rig.hub.viewer();
        let told: Vec<_> =
            ["b", "a", "c"].into_iter().filter(|channel| join(&mut viewer, channel, Some(since)).resynced).collect();
        viewer.in_one_order();
        let mut frames = Vec::new();
        while let std::task::Poll::Ready(taken) = crate::rig::take(&viewer, &mut frames, 10_000) {
            taken.unwrap();
        }
        (told, frames)
    };
    let (told, frames) = come(since);
    assert_eq!(told, ["a", "c"]);
    let shown: Vec<_> = frames.iter().map(|frame| (frame.channel(), frame.position())).collect();
    let at = |n| Some(Position { seq: START, n });
    assert_eq!(shown, [(Some("a"), None), (Some("c"), None), (Some("b"), at(3)), (Some("b"), at(8)), (None, at(8))]);
    assert!(frames.iter().all(|frame| !frame.stream().is_empty()));
    // Wherever the cut falls: before all is told the client knows no position that would hide the rest.
    for cut in 0..frames.len() {
        let known = frames[..cut].iter().filter_map(|frame| frame.position()).next_back().unwrap_or(since);
        let heard: Vec<_> = frames[..cut].iter().filter(|frame| frame.name() == Some("plaudit:resync")).collect();
        let (again, _) = come(known);
        for channel in ["a", "c"] {
            let heard = heard.iter().any(|frame| frame.channel() == Some(channel));
            assert!(heard || again.contains(&channel), "cut at {cut}: {channel} is never told");
        }
    }
    // With nothing to replay the last one says where it goes on.
    let mut viewer = rig.hub.viewer();
    join(&mut viewer, "a", Some(since));
    join(&mut viewer, "c", Some(since));
    viewer.in_one_order();
    assert_eq!(seen(&viewer).iter().map(|seen| seen.position).collect::<Vec<_>>(), [None, at(8)]);
}

#[test]
fn a_cache_channel_shows_its_last_event_to_who_comes_for_half_an_hour() {
    let mut rig = Rig::new();
    let miss = || Some(Arc::new(Frame::event("cache-x", "miss", "0")));
    let come = |rig: &Rig| {
        let mut viewer = rig.hub.viewer();
        let joined = viewer.subscribe(&Subscribe { miss: miss(), ..Subscribe::to("cache-x") }, |_| None).unwrap();
        let got = seen(&viewer);
        assert_eq!(got.len(), 1);
        assert_eq!((got[0].position, joined.missed), (None, got[0].event == "miss"), "out of its order");
        got[0].data.clone()
    };
    assert_eq!(come(&rig), json!(0));
    rig.trigger("cache-x", 1);
    rig.trigger("cache-x", 2);
    rig.hub.relay("cache-x", &Arc::new(Frame::event("cache-x", "client-x", "9")), None);
    assert_eq!(come(&rig), json!({"n": 2}));
    assert_eq!(rig.hub.last_event("cache-x").unwrap().data(), Some(r#"{"n":2}"#));
    rig.clock.advance(1_800_000);
    assert_eq!(come(&rig), json!(0));
    assert!(rig.hub.last_event("cache-x").is_none());
    rig.trigger("room", 1);
    assert!(rig.hub.last_event("room").is_none(), "others keep none");
}

#[test]
fn a_last_event_comes_once_and_before_what_follows_it() {
    let mut rig = Rig::new();
    rig.trigger("cache-x", 1);
    let from = rig.hub.position();
    let wish = Subscribe { since: Some(from), last: true, ..Subscribe::to("cache-x") };
    // What comes while the viewer is still on its way to other channels follows the last event.
    let mut early = rig.hub.viewer();
    early.subscribe(&wish, |_| None).unwrap();
    rig.trigger("cache-x", 2);
    early.in_one_order();
    assert_eq!(numbers(&early), [1, 2]);
    // What came before it was on the channel is the last event, and comes in its order alone.
    let mut late = rig.hub.viewer();
    late.subscribe(&wish, |_| None).unwrap();
    late.in_one_order();
    assert_eq!(numbers(&late), [2]);
    // Who comes back has it already.
    let mut back = rig.hub.viewer();
    join(&mut back, "cache-x", Some(rig.hub.position()));
    assert_eq!(numbers(&back), [0; 0]);
}

#[test]
fn one_viewer_can_be_left_out() {
    let mut rig = Rig::new();
    let (mut a, mut b) = (rig.hub.viewer(), rig.hub.viewer());
    for viewer in [&mut a, &mut b] {
        join(viewer, "room", None);
        join(viewer, "hall", None);
    }
    let channels = vec!["room".into(), "hall".into(), "nobody".into()];
    let except = Some(a.id());
    rig.hub
        .publish(vec![Publication { channels, event: "event".into(), data: r#"{"n":1}"#.into(), except }])
        .map(drop)
        .unwrap();
    rig.step();
    assert_eq!((numbers(&a), numbers(&b)), (vec![], vec![1, 1]));
    let frame = Arc::new(Frame::event("room", "event", r#"{"n":2}"#));
    assert_eq!(rig.hub.relay("room", &frame, except), 1);
    assert_eq!(rig.hub.relay("nowhere", &frame, None), 0);
    assert_eq!((numbers(&a), numbers(&b)), (vec![], vec![2]));
}

#[test]
fn a_relayed_value_replaces_the_one_that_waits() {
    let rig = Rig::new();
    let mut viewer = rig.hub.viewer();
    join(&mut viewer, "room", None);
    for n in 1..=3 {
        let frame = Arc::new(Frame::event("room", "event", format!(r#"{{"n":{n}}}"#)));
        assert_eq!(rig.hub.relay_latest("room", plaudit::hub::SUBSCRIPTION_COUNT, &frame, None), 1);
    }
    assert_eq!(numbers(&viewer), [3]);
    assert_eq!(rig.metrics.values_replaced.get(), 2);
}

#[test]
fn votes_are_shown_at_once_then_once_an_interval_and_never_lost() {
    let mut rig = Rig::new();
    let mut viewer = rig.hub.viewer();
    join(&mut viewer, "clip-c0", None);
    let _first = seen(&viewer);
    let mut shown = Vec::new();
    for votes in 1..=1_000 {
        rig.settle_votes(0, votes);
        rig.step();
        rig.clock.advance(1);
        shown.extend(seen(&viewer).iter().map(|seen| seen.data["voteCount"].as_u64().unwrap()));
    }
    rig.clock.advance(100);
    rig.step();
    shown.extend(seen(&viewer).iter().map(|seen| seen.data["voteCount"].as_u64().unwrap()));
    assert_eq!((shown.first(), shown.last()), (Some(&1), Some(&1_000)));
    assert_eq!(shown.len(), 11, "1,000 ms, one each 100 ms, and the first at once");
}

#[test]
fn a_slots_update_has_what_changed_and_all_of_it_for_who_did_not_take_the_last() {
    let mut rig = Rig::new();
    let (mut quick, mut late) = (rig.hub.viewer(), rig.hub.viewer());
    join(&mut quick, "slot-s-1", None);
    join(&mut late, "slot-s-1", None);
    let first = json!([["c0", 0, 0], ["c1", 0, 0], ["c2", 0, 0]]);
    assert_eq!((&seen(&quick)[0].data["counts"], &seen(&late)[0].data["counts"]), (&first, &first));
    let mut change = |clip, votes| {
        rig.settle_votes(clip, votes);
        rig.step();
        rig.clock.advance(200);
    };
    change(0, 1);
    assert_eq!(seen(&quick)[0].data["counts"], json!([["c0", 1, 3]]));
    change(2, 4);
    assert_eq!(seen(&quick)[0].data["counts"], json!([["c2", 4, 12]]));
    let got = seen(&late);
    assert_eq!(got.len(), 1);
    assert_eq!(got[0].data["counts"], json!([["c0", 1, 3], ["c1", 0, 0], ["c2", 4, 12]]));
}

#[test]
fn a_slot_is_counted_at_most_once_in_its_interval() {
    let mut rig = Rig::new();
    let mut viewer = rig.hub.viewer();
    join(&mut viewer, "slot-s-1", None);
    let _first = seen(&viewer);
    let mut updates = 0;
    for votes in 1..=600 {
        rig.settle_votes(u32::try_from(votes % 3).unwrap(), votes);
        rig.clock.advance(1);
        rig.step();
        updates += seen(&viewer).len();
    }
    assert_eq!(updates, 3, "600 ms, one each 200 ms");
}

#[test]
fn hidden_counts_are_sent_to_nobody_until_they_come_to_light() {
    let mut rig = Rig::new();
    rig.counts.hide(true);
    let mut viewer = rig.hub.viewer();
    join(&mut viewer, "clip-c0", None);
    join(&mut viewer, "slot-s-1", None);
    for votes in 1..=5 {
        rig.settle_votes(0, votes);
        rig.clock.advance(1_000);
        rig.step();
    }
    assert_eq!(seen(&viewer), []);
    rig.counts.hide(false);
    rig.seq += 1;
    rig.feed.revealed(plaudit::domain::SlotNo(0));
    rig.feed.send(rig.seq);
    rig.clock.advance(1_000);
    rig.step();
    let got: HashMap<_, _> = seen(&viewer).into_iter().map(|seen| (seen.event, seen.data)).collect();
    assert_eq!(got["vote-update"]["voteCount"], 5);
    assert_eq!(got["counts-update"]["counts"], json!([["c0", 5, 15], ["c1", 0, 0], ["c2", 0, 0]]));
}

#[test]
fn likes_are_conflated_and_come_again_to_who_was_away() {
    let mut rig = Rig::new();
    let mut viewer = rig.hub.viewer();
    let joined = join(&mut viewer, "clip-x", None);
    for likes in 1..=10 {
        rig.seq += 1;
        rig.feed.liked(rig.seq, "clip-x", 7, likes);
        rig.feed.liked(rig.seq, "clip-x", 8, likes * 2);
        rig.feed.send(rig.seq);
        rig.clock.advance(50);
        rig.step();
    }
    rig.clock.advance(200);
    rig.step();
    let last = |viewer: &plaudit::hub::Viewer| {
        let of = |seen: crate::rig::Seen| {
            (seen.data["commentId"].as_str().unwrap().to_owned(), seen.data["likesCount"].as_u64().unwrap())
        };
        let got = seen(viewer);
        assert!(got.iter().all(|seen| seen.event == "comment-updated" && seen.position.is_none()));
        let mut got: Vec<_> = got.into_iter().map(of).collect();
        got.sort();
        got
    };
    let expected = [("7".to_owned(), 10), ("8".to_owned(), 20)];
    assert_eq!(last(&viewer), expected, "only the newest waits");
    let mut back = rig.hub.viewer();
    join(&mut back, "clip-x", Some(joined.position));
    assert_eq!(last(&back), expected);
}

/// Settles one like of a comment and lets its interval pass.
fn like(rig: &mut Rig, channel: &str, comment: u64, likes: u64) {
    rig.seq += 1;
    rig.feed.liked(rig.seq, channel, comment, likes);
    rig.feed.send(rig.seq);
    rig.step();
    rig.clock.advance(200);
    rig.step();
}

/// The likes that wait: comment and number.
fn likes(viewer: &plaudit::hub::Viewer) -> Vec<(String, u64)> {
    let got = seen(viewer).into_iter().filter(|seen| seen.event == "comment-updated");
    got.map(|seen| (seen.data["commentId"].as_str().unwrap().to_owned(), seen.data["likesCount"].as_u64().unwrap()))
        .collect()
}

#[test]
fn likes_that_an_event_has_overtaken_come_again_too() {
    let mut rig = Rig::new();
    let mut viewer = rig.hub.viewer();
    join(&mut viewer, "clip-x", None);
    like(&mut rig, "clip-x", 7, 1);
    // The next like waits for its interval, and the event behind it does not.
    rig.seq += 1;
    rig.feed.liked(rig.seq, "clip-x", 7, 2);
    rig.feed.send(rig.seq);
    rig.settle_event("clip-x", 1);
    rig.step();
    let since = rig.hub.position();
    drop(viewer);
    rig.clock.advance(200);
    rig.step();
    let mut back = rig.hub.viewer();
    assert!(!join(&mut back, "clip-x", Some(since)).resynced);
    assert_eq!(likes(&back), [("7".to_owned(), 2)]);
}

#[test]
fn likes_that_nobody_was_there_for_come_to_who_comes_back() {
    let mut rig = Rig::new();
    let mut viewer = rig.hub.viewer();
    let since = join(&mut viewer, "clip-x", None).position;
    drop(viewer);
    like(&mut rig, "clip-x", 7, 1);
    let mut back = rig.hub.viewer();
    assert!(!join(&mut back, "clip-x", Some(since)).resynced);
    assert_eq!(likes(&back), [("7".to_owned(), 1)]);
}

#[test]
fn likes_that_are_not_kept_any_more_are_told_to_be_gone() {
    let mut rig = Rig::new();
    let mut viewer = rig.hub.viewer();
    let since = join(&mut viewer, "clip-x", None).position;
    for comment in 0..=100 {
        like(&mut rig, "clip-x", comment, 1);
    }
    let known = rig.hub.position();
    assert!(join(&mut rig.hub.viewer(), "clip-x", Some(since)).resynced, "there are too many");
    assert!(!join(&mut rig.hub.viewer(), "clip-x", Some(known)).resynced);
    rig.clock.advance(300_000);
    assert!(
        join(&mut rig.hub.viewer(), "clip-x", Some(Position { n: known.n, seq: known.seq - 1 })).resynced,
        "they are too old"
    );
    assert!(!join(&mut rig.hub.viewer(), "clip-x", Some(known)).resynced);
}

#[test]
fn a_viewer_is_on_a_channel_once() {
    let rig = Rig::new();
    let mut viewer = rig.hub.viewer();
    join(&mut viewer, "room", None);
    assert_eq!(viewer.subscribe(&Subscribe::to("room"), |_| None), Err(Refusal::AlreadySubscribed));
    assert_eq!(viewer.channels().collect::<Vec<_>>(), ["room"]);
    assert_eq!((viewer.unsubscribe("room"), viewer.unsubscribe("room")), (Some(0), None));
    assert!(!viewer.is_subscribed("room"));
}

#[test]
fn the_observer_hears_of_everyone_who_comes_and_goes() {
    #[derive(Default)]
    struct Notes(Mutex<Vec<(String, usize, bool)>>);
    impl Observer for Notes {
        fn changed(&self, channel: &Arc<str>, count: usize, joined: bool) {
            self.0.lock().push((channel.to_string(), count, joined));
        }
    }
    let (rig, notes) = (Rig::new(), Arc::new(Notes::default()));
    rig.hub.observe(Arc::<Notes>::clone(&notes));
    let (mut a, mut b) = (rig.hub.viewer(), rig.hub.viewer());
    join(&mut a, "room", None);
    join(&mut b, "room", None);
    assert_eq!(rig.hub.channels("ro"), [("room".into(), 2)]);
    assert_eq!((rig.hub.channels("x").len(), rig.hub.subscribers("room"), rig.hub.viewers()), (0, 2, 2));
    a.unsubscribe("room");
    drop(b);
    let expected = [(1, true), (2, true), (1, false), (0, false)].map(|(count, joined)| ("room".into(), count, joined));
    assert_eq!(*notes.0.lock(), expected);
    assert_eq!((rig.hub.channels("").len(), rig.hub.viewers()), (0, 1));
}

#[tokio::test]
async fn who_publishes_is_told_when_it_is_done() {
    let mut rig = Rig::new();
    let published = rig.order("room", 1);
    rig.step();
    assert_eq!(published.await, Ok(Position { seq: START, n: 1 }));
    let orphan = rig.order("room", 2);
    drop(rig.worker);
    assert_eq!(orphan.await, Err(Reject::Overloaded));
    assert!(rig.hub.publish(Vec::new()).is_err(), "the engine has closed");
}
