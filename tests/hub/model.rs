//! Random use against a naive model: the whole log of each channel, and what each client knows. Whatever happens, a client
//! sees the next event of the log and no other, or is told to load afresh; and the newest counts in the end.

use std::collections::BTreeMap;

use plaudit::clock::Clock;
use plaudit::hub::{Close, Position, Settings, Viewer};
use proptest::prelude::*;

use crate::rig::{Rig, START, Seen, drain, join};

const CHANNELS: [&str; 4] = ["clip-c0", "clip-c1", "slot-s-1", "room"];
const CLIENTS: usize = 3;

#[derive(Clone, Debug)]
enum Op {
    /// Settle a batch: events of channels of ours, and changes of clips' votes.
    Settle {
        events: Vec<usize>,
        votes: Vec<(u32, u64)>,
    },
    /// Publish to some channel from outside the log.
    Trigger {
        channel: usize,
        times: usize,
    },
    Step,
    Advance(u64),
    Subscribe {
        client: usize,
        channel: usize,
    },
    Unsubscribe {
        client: usize,
        channel: usize,
    },
    /// Lose the connection, come back later by subscribing.
    Cut(usize),
    Drain(usize),
    Hide(bool),
}

fn op() -> impl Strategy<Value = Op> {
    let (client, channel) = (0..CLIENTS, 0..CHANNELS.len());
    let events = prop::collection::vec(0..3usize, 0..3);
    let votes = prop::collection::vec((0..3u32, 0..5u64), 0..3);
    prop_oneof![
        6 => (events, votes).prop_map(|(events, votes)| Op::Settle { events, votes }),
        4 => (channel.clone(), 1..4usize).prop_map(|(channel, times)| Op::Trigger { channel, times }),
        6 => Just(Op::Step),
        3 => prop_oneof![0..60u64, 100..300u64, 2_000..8_000u64].prop_map(Op::Advance),
        8 => (client.clone(), channel.clone()).prop_map(|(client, channel)| Op::Subscribe { client, channel }),
        2 => (client.clone(), channel).prop_map(|(client, channel)| Op::Unsubscribe { client, channel }),
        2 => client.clone().prop_map(Op::Cut),
        6 => client.prop_map(Op::Drain),
        1 => any::<bool>().prop_map(Op::Hide),
    ]
}

/// One person: what they know survives their connections.
#[derive(Default)]
struct Client {
    viewer: Option<Viewer>,
    /// By channel: the last position that they know.
    known: BTreeMap<usize, Position>,
    /// By channel that they are on: the last counts that they saw of each clip, and their sequence.
    counts: BTreeMap<(usize, String), (u64, u64)>,
}

/// The hub and the model beside it.
struct World {
    rig: Rig,
    /// Every event of a channel: position and number.
    log: [Vec<(Position, u64)>; CHANNELS.len()],
    last: Position,
    number: u64,
    clients: [Client; CLIENTS],
    /// Whether a batch or a publication waits for the worker: only one kind at a time, for a step may take either first.
    waiting: Option<bool>,
    /// Something may have been forgotten somewhere.
    forgot: bool,
    settings: Settings,
}

impl World {
    fn new(settings: Settings) -> Self {
        Self {
            rig: Rig::with(settings),
            log: Default::default(),
            last: Position::of(START),
            number: 0,
            clients: Default::default(),
            waiting: None,
            forgot: false,
            settings,
        }
    }

    fn act(&mut self, op: Op) {
        match op {
            Op::Settle { events, votes } => {
                self.next_kind(true);
                self.rig.seq += 1;
                let seq = self.rig.seq;
                for (clip, votes) in votes {
                    self.rig.counts.set(clip, votes);
                    self.rig.feed.counted(plaudit::domain::ClipNo(clip));
                }
                for channel in events {
                    let next = if seq > self.last.seq {
                        Position::of(seq)
                    } else {
                        Position { n: self.last.n + 1, ..self.last }
                    };
                    let n = self.note(channel, next);
                    self.rig.feed.event(seq, CHANNELS[channel], "event", format!(r#"{{"n":{n}}}"#));
                }
                self.rig.feed.send(seq);
            }
            Op::Trigger { channel, times } => {
                self.next_kind(false);
                for _ in 0..times {
                    // Batches that concerned nobody were not sent: the last sequence is the hub's, which the step shows.
                    let n = self.note(channel, Position { n: self.last.n + 1, ..self.last });
                    drop(self.rig.order(CHANNELS[channel], n));
                }
            }
            Op::Step => self.step(),
            Op::Advance(ms) => {
                self.rig.clock.advance(ms);
                self.forgot |= self.rig.clock.now_ms() - 1_000_000 >= self.settings.history_ms;
            }
            Op::Subscribe { client, channel } => self.subscribe(client, channel),
            Op::Unsubscribe { client, channel } => {
                // What waits is read first: it may be of this channel.
                self.read(client);
                if let Some(viewer) = &mut self.clients[client].viewer {
                    viewer.unsubscribe(CHANNELS[channel]);
                    self.clients[client].counts.retain(|(of, _), _| *of != channel);
                }
            }
            Op::Cut(client) => self.cut(client),
            Op::Drain(client) => self.read(client),
            Op::Hide(hidden) => {
                // As the engine does it: a slot's end brings its counts to light.
                self.next_kind(true);
                self.rig.counts.hide(hidden);
                if !hidden {
                    self.rig.seq += 1;
                    self.rig.feed.revealed(plaudit::domain::SlotNo(0));
                    self.rig.feed.send(self.rig.seq);
                }
            }
        }
    }

    /// Notes an event of a channel, which is to come at a position.
    fn note(&mut self, channel: usize, position: Position) -> u64 {
        self.number += 1;
        self.last = position;
        self.log[channel].push((position, self.number));
        self.forgot |= self.log[channel].len() > self.settings.history_events;
        self.number
    }

    fn next_kind(&mut self, settled: bool) {
        if self.waiting.is_some_and(|waiting| waiting != settled) {
            self.step();
        }
        self.waiting = Some(settled);
    }

    fn step(&mut self) {
        self.rig.step();
        self.waiting = None;
        // A batch moves the hub's last sequence on even where it had no event.
        self.last = self.last.max(self.rig.hub.position());
    }

    fn subscribe(&mut self, client: usize, channel: usize) {
        let me = &mut self.clients[client];
        let viewer = me.viewer.get_or_insert_with(|| self.rig.hub.viewer());
        if viewer.is_subscribed(CHANNELS[channel]) {
            return;
        }
        let since = me.known.get(&channel).copied();
        let joined = join(viewer, CHANNELS[channel], since);
        match since {
            None => {
                assert!(!joined.resynced, "nothing was asked for");
                me.known.insert(channel, joined.position);
            }
            Some(since) if joined.resynced => {
                // Or what was missed would have filled a small queue.
                assert!(self.forgot || self.settings.viewer_bytes < 10_000, "since {since}: {:?}", self.log[channel]);
            }
            Some(since) => assert!(joined.position >= since),
        }
    }

    fn cut(&mut self, client: usize) {
        let me = &mut self.clients[client];
        me.viewer = None;
        me.counts.clear();
    }

    /// Reads what waits for a client, and holds it against the log.
    fn read(&mut self, client: usize) {
        let me = &mut self.clients[client];
        let Some(viewer) = &me.viewer else { return };
        let (seen, end) = drain(viewer);
        for seen in seen {
            let channel = CHANNELS.iter().position(|name| *name == seen.channel).unwrap();
            match seen.event.as_str() {
                "event" => {
                    let known = me.known.get_mut(&channel).expect("a channel that was subscribed to");
                    let next = self.log[channel].iter().find(|(position, _)| *position > *known);
                    let got = (seen.position.unwrap(), seen.n());
                    assert_eq!(Some(&got), next, "client {client} on {} knows {known}", seen.channel);
                    if channel < 3 && seen.data.get("position").is_some() {
                        assert_eq!(seen.data["position"], got.0.to_string());
                    }
                    *known = got.0;
                }
                "plaudit:resync" => {
                    let position: Position = seen.data["position"].as_str().unwrap().parse().unwrap();
                    let known = me.known.insert(channel, position).unwrap();
                    assert!(position >= known, "{known} → {position}");
                }
                _ => count(me, channel, &seen),
            }
        }
        if let Some(end) = end {
            assert_eq!(end, Close::Slow);
            self.cut(client);
        }
    }

    /// Everyone comes back and reads everything: then everyone knows everything.
    fn settle_down(&mut self) {
        self.rig.counts.hide(false);
        self.act(Op::Hide(false));
        // With little room for all, one may be closed once more while the others have not read.
        for _ in 0..4 {
            for client in 0..CLIENTS {
                self.read(client);
                for channel in 0..CHANNELS.len() {
                    self.subscribe(client, channel);
                    self.read(client);
                }
            }
            self.step();
            self.rig.clock.advance(500);
            self.step();
        }
        for client in 0..CLIENTS {
            self.read(client);
            let me = &self.clients[client];
            assert!(me.viewer.is_some(), "nobody who reads is closed");
            for (channel, log) in self.log.iter().enumerate() {
                if let Some((last, _)) = log.last() {
                    assert!(me.known[&channel] >= *last, "client {client} missed the end of {}", CHANNELS[channel]);
                }
            }
            for clip in 0..3u32 {
                let votes = self.rig.counts.votes(clip);
                let of = |channel: usize| me.counts.get(&(channel, format!("c{clip}"))).map(|(votes, _)| *votes);
                assert_eq!(of(2), Some(votes), "client {client}, clip {clip} in its slot");
                if clip < 2 {
                    assert_eq!(of(clip as usize), Some(votes), "client {client}, clip {clip}");
                }
            }
        }
    }
}

/// Counts never go back in time.
fn count(me: &mut Client, channel: usize, seen: &Seen) {
    let seq = seen.data["seq"].as_u64().unwrap();
    let mut note = |clip: &str, votes: u64| {
        let before = me.counts.insert((channel, clip.into()), (votes, seq));
        assert!(before.is_none_or(|(_, before)| before <= seq), "{seen:?}");
    };
    match seen.event.as_str() {
        "vote-update" => note(seen.data["clipId"].as_str().unwrap(), seen.data["voteCount"].as_u64().unwrap()),
        "counts-update" => {
            for count in seen.data["counts"].as_array().unwrap() {
                note(count[0].as_str().unwrap(), count[1].as_u64().unwrap());
            }
        }
        other => panic!("{other}"),
    }
    assert_eq!(seen.position, None);
}

fn run(ops: Vec<Op>, settings: Settings) {
    let mut world = World::new(settings);
    for op in ops {
        world.act(op);
    }
    world.settle_down();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nothing_is_missed_or_seen_twice_or_it_is_told(ops in prop::collection::vec(op(), 1..120)) {
        run(ops, Settings { history_events: 6, history_ms: 5_000, ..Settings::default() });
    }

    #[test]
    fn slow_viewers_are_closed_and_come_back_without_a_gap(ops in prop::collection::vec(op(), 1..160)) {
        let settings = Settings { viewer_bytes: 1_500, all_bytes: 4_000, history_events: 12, ..Settings::default() };
        run(ops, settings);
    }

    #[test]
    fn with_room_for_everything_nobody_is_told_to_load_afresh(ops in prop::collection::vec(op(), 1..80)) {
        // The clock goes no further than the history reaches.
        let ops = ops.into_iter().filter(|op| !matches!(op, Op::Advance(ms) if *ms >= 2_000)).collect();
        run(ops, Settings { history_events: 1_000, ..Settings::default() });
    }
}
