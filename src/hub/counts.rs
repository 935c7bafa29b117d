//! The frames of counts: of a clip, and of what has changed in a slot. Read at the moment they are made, under the channel's
//! lock, from whoever holds the counts, who shows none that is hidden.

use std::cell::OnceCell;
use std::fmt::Write;
use std::sync::Arc;

use super::channel::{Channel, State};
use super::names::{Topic, topic};
use super::queue::{Kind, Queue, Wakes};
use super::{Core, Frame};
use crate::domain::{ClipId, ClipNo, SeasonId, Seq, SlotNo};

/// Clips of a slot whose counts share a frame: all of an ordinary slot's, and of a large one's no more than one frame
/// should hold.
pub(super) const PART: usize = 256;
/// Parts that a viewer gets when it comes; of larger slots it reads the rest over HTTP.
const FIRST_PARTS: usize = 4;

/// A clip as it is now.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ClipNow {
    /// Its id.
    pub id: ClipId,
    /// Its slot.
    pub slot: SlotNo,
    /// Its place among the slot's clips, from 0.
    pub place: usize,
    /// Votes and weight; `None` while they are hidden.
    pub counts: Option<(u64, u64)>,
}

/// A slot as it is now.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SlotNow {
    /// Its season's id.
    pub season: SeasonId,
    /// Its position in the season.
    pub position: u32,
    /// How many clips it has.
    pub clips: usize,
}

/// Where counts come from: what is settled, and hidden where it must be. Answers at once, from memory.
pub trait CountSource: Send + Sync + std::fmt::Debug {
    /// A clip's number.
    fn clip(&self, id: &str) -> Option<ClipNo>;
    /// A clip.
    fn clip_now(&self, clip: ClipNo) -> Option<ClipNow>;
    /// A slot's number.
    fn slot(&self, season: &str, position: u32) -> Option<SlotNo>;
    /// A slot.
    fn slot_now(&self, slot: SlotNo) -> Option<SlotNow>;
    /// Id, votes and weight of at most so many of a slot's clips from a place on; `None` while they are hidden.
    fn counts_of(&self, slot: SlotNo, from: usize, at_most: usize) -> Option<Vec<(ClipId, u64, u64)>>;
}

/// Counts of no clip at all: for a hub that carries messages alone.
#[derive(Clone, Copy, Debug)]
pub struct NoCounts;

impl CountSource for NoCounts {
    fn clip(&self, _: &str) -> Option<ClipNo> {
        None
    }

    fn clip_now(&self, _: ClipNo) -> Option<ClipNow> {
        None
    }

    fn slot(&self, _: &str, _: u32) -> Option<SlotNo> {
        None
    }

    fn slot_now(&self, _: SlotNo) -> Option<SlotNow> {
        None
    }

    fn counts_of(&self, _: SlotNo, _: usize, _: usize) -> Option<Vec<(ClipId, u64, u64)>> {
        None
    }
}

/// Counts of one part of a channel, as everyone on it has been shown them.
pub(super) type Shown = Vec<(ClipId, u64, u64)>;

/// Sends a part's counts to everyone on the channel, if they have changed; how many get them.
pub(super) fn show(core: &Core, channel: &Channel, state: &mut State, part: usize, wakes: &mut Wakes) -> usize {
    if state.subscribers() == 0 {
        return 0;
    }
    // Before the counts: they contain everything up to it, and perhaps more.
    let seq = core.gate.lock().settled;
    let now = read(core, &channel.name, part);
    if state.shown.len() <= part {
        state.shown.resize(part + 1, None);
    }
    let shown = std::mem::replace(&mut state.shown[part], now);
    let Some(now) = &state.shown[part] else { return 0 };
    let changed: Vec<_> = match shown {
        None => now.iter().collect(),
        Some(shown) => {
            now.iter().enumerate().filter(|(at, count)| shown.get(*at) != Some(count)).map(|c| c.1).collect()
        }
    };
    if changed.is_empty() {
        return 0;
    }
    let frame = Arc::new(frame_of(&channel.name, &changed, seq));
    let whole = OnceCell::new();
    // A viewer that has not taken the last changes yet must not lose them to these.
    let whole = || {
        let made = whole.get_or_init(|| Arc::new(frame_of(&channel.name, &now.iter().collect::<Vec<_>>(), seq)));
        Arc::clone(made)
    };
    state.send_latest(channel.place(Kind::Counts, part as u64), &frame, whole, None, wakes)
}

/// Queues the current counts for a viewer that is about to be on the channel.
pub(super) fn show_first(core: &Core, channel: &Channel, state: &mut State, to: &Queue, wakes: &mut Wakes) {
    let parts = match topic(&channel.name) {
        Topic::Clip(_) => 1,
        Topic::Slot(season, position) => {
            let slot = core.counts.slot(season, position).and_then(|slot| core.counts.slot_now(slot));
            slot.map_or(0, |slot| slot.clips.div_ceil(PART)).min(FIRST_PARTS)
        }
        Topic::Other => return,
    };
    if state.subscribers() == 0 {
        // What an earlier audience was shown is of no account to this one.
        state.shown.clear();
    }
    let seq = core.gate.lock().settled;
    for part in 0..parts {
        let now = read(core, &channel.name, part);
        if let Some(now) = now.as_ref().filter(|now| !now.is_empty()) {
            let frame = Arc::new(frame_of(&channel.name, &now.iter().collect::<Vec<_>>(), seq));
            to.push_latest(channel.place(Kind::Counts, part as u64), &frame, || Arc::clone(&frame), wakes);
        }
        if state.subscribers() == 0 {
            state.shown.push(now);
        } else if let Some(shown) = state.shown.get_mut(part)
            && *shown != now
        {
            // The newcomer knows more than the others: whatever comes next goes to all of them whole.
            *shown = None;
        }
    }
}

/// A part's counts now; `None` while they are hidden, or when what the channel names does not exist.
fn read(core: &Core, name: &str, part: usize) -> Option<Shown> {
    match topic(name) {
        Topic::Clip(id) => {
            let clip = core.counts.clip_now(core.counts.clip(id)?)?;
            clip.counts.map(|(votes, weight)| vec![(clip.id, votes, weight)])
        }
        Topic::Slot(season, position) => core.counts.counts_of(core.counts.slot(season, position)?, part * PART, PART),
        Topic::Other => None,
    }
}

/// The event of a clip's channel, or of a slot's. Ids need no escaping: their alphabet has nothing to escape.
fn frame_of(channel: &Arc<str>, counts: &[&(ClipId, u64, u64)], seq: Seq) -> Frame {
    if let (Topic::Clip(_), [(id, votes, weight)]) = (topic(channel), counts) {
        let data = format!(r#"{{"clipId":"{id}","voteCount":{votes},"weightedScore":{weight},"seq":{seq}}}"#);
        return Frame::event(Arc::clone(channel), "vote-update", data);
    }
    let mut data = format!(r#"{{"seq":{seq},"counts":["#);
    for (at, (id, votes, weight)) in counts.iter().enumerate() {
        let comma = if at > 0 { "," } else { "" };
        write!(data, r#"{comma}["{id}",{votes},{weight}]"#).expect("writing to a string");
    }
    data.push_str("]}");
    Frame::event(Arc::clone(channel), "counts-update", data)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_data_is_the_contracts() {
        let count = |id: &str, votes, weight| (ClipId::new(id).unwrap(), votes, weight);
        let (a, b) = (count("a.b@c", 3, 14), count("c1", 0, 0));
        let clip = frame_of(&"clip-a.b@c".into(), &[&a], 57);
        assert_eq!(clip.name(), Some("vote-update"));
        let expected = serde_json::json!({"clipId": "a.b@c", "voteCount": 3, "weightedScore": 14, "seq": 57});
        assert_eq!(serde_json::from_str::<serde_json::Value>(clip.data().unwrap()).unwrap(), expected);
        let slot = frame_of(&"slot-s-1".into(), &[&a, &b], 57);
        assert_eq!(slot.name(), Some("counts-update"));
        let expected = serde_json::json!({"seq": 57, "counts": [["a.b@c", 3, 14], ["c1", 0, 0]]});
        assert_eq!(serde_json::from_str::<serde_json::Value>(slot.data().unwrap()).unwrap(), expected);
        assert_eq!(slot.position(), None, "counts are in no history");
    }
}
