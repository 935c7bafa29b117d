//! What the hub's tests share: a hub whose worker the test steps, by a clock that the test turns, over counts that the test
//! sets, and the eyes of a viewer.

use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use parking_lot::Mutex;
use plaudit::clock::{Clock, ManualClock};
use plaudit::domain::{ClipId, ClipNo, SeasonId, Seq, SlotNo};
use plaudit::hub::{
    ClipNow, Close, CountSource, Feed, Frame, Hub, Position, Publication, Published, Settings, SlotNow, Step,
    Subscribe, Viewer, Worker,
};
use plaudit::metrics::Metrics;
use serde_json::Value;

/// Where positions begin: everything behind it is the test's.
pub(crate) const START: Seq = 100;

/// Counts of the clips `c0`, `c1`, … of slot 1 of season `s`.
#[derive(Debug, Default)]
pub(crate) struct Counts(Mutex<Board>);

#[derive(Debug, Default)]
struct Board {
    counts: Vec<(u64, u64)>,
    hidden: bool,
}

impl Counts {
    pub(crate) fn of(clips: usize) -> Arc<Self> {
        Arc::new(Self(Mutex::new(Board { counts: vec![(0, 0); clips], hidden: false })))
    }

    pub(crate) fn set(&self, clip: u32, votes: u64) {
        self.0.lock().counts[clip as usize] = (votes, votes * 3);
    }

    pub(crate) fn votes(&self, clip: u32) -> u64 {
        self.0.lock().counts[clip as usize].0
    }

    pub(crate) fn hide(&self, hidden: bool) {
        self.0.lock().hidden = hidden;
    }
}

fn id(clip: usize) -> ClipId {
    ClipId::new(&format!("c{clip}")).unwrap()
}

impl CountSource for Counts {
    fn clip(&self, id: &str) -> Option<ClipNo> {
        let number = id.strip_prefix('c')?.parse().ok()?;
        ((number as usize) < self.0.lock().counts.len()).then_some(ClipNo(number))
    }

    fn clip_now(&self, clip: ClipNo) -> Option<ClipNow> {
        let board = self.0.lock();
        let counts = *board.counts.get(clip.index())?;
        let counts = (!board.hidden).then_some(counts);
        Some(ClipNow { id: id(clip.index()), slot: SlotNo(0), place: clip.index(), counts })
    }

    fn slot(&self, season: &str, position: u32) -> Option<SlotNo> {
        (season == "s" && position == 1).then_some(SlotNo(0))
    }

    fn slot_now(&self, _: SlotNo) -> Option<SlotNow> {
        Some(SlotNow { season: SeasonId::new("s").unwrap(), position: 1, clips: self.0.lock().counts.len() })
    }

    fn counts_of(&self, _: SlotNo, from: usize, at_most: usize) -> Option<Vec<(ClipId, u64, u64)>> {
        let board = self.0.lock();
        let part = board.counts.iter().enumerate().skip(from).take(at_most);
        (!board.hidden).then(|| part.map(|(at, (votes, weight))| (id(at), *votes, *weight)).collect())
    }
}

/// A hub and everything around it.
pub(crate) struct Rig {
    pub(crate) hub: Hub,
    pub(crate) worker: Worker,
    pub(crate) feed: Feed,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) counts: Arc<Counts>,
    pub(crate) metrics: Arc<Metrics>,
    /// The last sequence that was settled.
    pub(crate) seq: Seq,
}

impl Rig {
    pub(crate) fn new() -> Self {
        Self::with(Settings::default())
    }

    pub(crate) fn with(settings: Settings) -> Self {
        let (clock, counts, metrics) = (Arc::new(ManualClock::at(1_000_000)), Counts::of(3), Arc::<Metrics>::default());
        let shared: Arc<dyn Clock> = Arc::<ManualClock>::clone(&clock);
        let source: Arc<dyn CountSource> = Arc::<Counts>::clone(&counts);
        let (hub, worker, feed) = Hub::new(settings, shared, source, Arc::clone(&metrics), START);
        Self { hub, worker, feed, clock, counts, metrics, seq: START }
    }

    pub(crate) fn step(&mut self) {
        assert_eq!(self.worker.step(Duration::ZERO), Step::On);
    }

    /// Settles an event of a channel of ours, as the next sequence.
    pub(crate) fn settle_event(&mut self, channel: &str, n: u64) {
        self.seq += 1;
        self.feed.event(self.seq, channel, "event", format!(r#"{{"n":{n}}}"#));
        self.feed.send(self.seq);
    }

    /// Settles a change of a clip's votes.
    pub(crate) fn settle_votes(&mut self, clip: u32, votes: u64) {
        self.seq += 1;
        self.counts.set(clip, votes);
        self.feed.counted(ClipNo(clip));
        self.feed.send(self.seq);
    }

    /// Publishes from outside the log, and steps.
    pub(crate) fn trigger(&mut self, channel: &str, n: u64) {
        let _published = self.order(channel, n);
        self.step();
    }

    pub(crate) fn order(&mut self, channel: &str, n: u64) -> Published {
        let publication = Publication {
            channels: vec![channel.into()],
            event: "event".into(),
            data: format!(r#"{{"n":{n}}}"#),
            except: None,
        };
        self.hub.publish(vec![publication]).unwrap()
    }
}

/// What a viewer sees of a frame.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Seen {
    pub(crate) channel: String,
    pub(crate) event: String,
    pub(crate) data: Value,
    pub(crate) position: Option<Position>,
}

impl Seen {
    fn of(frame: &Frame) -> Self {
        Self {
            channel: frame.channel().unwrap().into(),
            event: frame.name().unwrap().into(),
            data: serde_json::from_str(frame.data().unwrap()).unwrap(),
            position: frame.position(),
        }
    }

    /// The event's number.
    pub(crate) fn n(&self) -> u64 {
        self.data["n"].as_u64().unwrap_or_else(|| panic!("{self:?}"))
    }
}

/// Everything that waits for a viewer; how it ends, if it does.
pub(crate) fn drain(viewer: &Viewer) -> (Vec<Seen>, Option<Close>) {
    let mut frames = Vec::new();
    let end = loop {
        match take(viewer, &mut frames, 1_000) {
            Poll::Ready(Ok(())) => {}
            Poll::Ready(Err(end)) => break Some(end),
            Poll::Pending => break None,
        }
    };
    (frames.iter().map(|frame| Seen::of(frame)).collect(), end)
}

/// One take.
pub(crate) fn take(viewer: &Viewer, to: &mut Vec<Arc<Frame>>, bytes: usize) -> Poll<Result<(), Close>> {
    viewer.outbox().poll_take(&mut Context::from_waker(Waker::noop()), to, bytes)
}

/// Everything that waits for a viewer that goes on.
#[track_caller]
pub(crate) fn seen(viewer: &Viewer) -> Vec<Seen> {
    let (seen, end) = drain(viewer);
    assert_eq!(end, None);
    seen
}

/// The numbers of the events that wait.
#[track_caller]
pub(crate) fn numbers(viewer: &Viewer) -> Vec<u64> {
    seen(viewer).iter().filter(|seen| seen.event == "event").map(Seen::n).collect()
}

/// Comes to a channel from a position on; whether it was told to load afresh.
#[track_caller]
pub(crate) fn join(viewer: &mut Viewer, channel: &str, since: Option<Position>) -> plaudit::hub::Joined {
    viewer.subscribe(&Subscribe { since, ..Subscribe::to(channel) }, |_| None).unwrap()
}
