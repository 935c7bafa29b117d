//! What the hub is told and asks: counts as every reader sees them, the events of a slot's life and those of comments. Never
//! publishes itself, and never tells of a comment that nobody but its author may see.

use std::sync::Arc;

use serde::Serialize;
use serde_json::{Value, json};

use super::read::counts;
use crate::comments::{PublicComment, Settled};
use crate::domain::{ClipId, ClipNo, CommentStatus, Event, Seq, SlotNo, SlotStatus, VoterKey};
use crate::hub::{ClipNow, CountSource, Feed, SlotNow};
use crate::stage::{Scene, SlotState, Stage};

/// The settled counts, for the hub.
#[derive(Debug)]
pub(super) struct SettledCounts(pub(super) Arc<Stage>);

impl CountSource for SettledCounts {
    fn clip(&self, id: &str) -> Option<ClipNo> {
        self.0.look().clip(id).ok().map(|state| state.clip.no)
    }

    fn clip_now(&self, clip: ClipNo) -> Option<ClipNow> {
        let scene = self.0.look();
        let state = scene.clips.get(clip.index())?;
        let slot = scene.slot_of(&state.clip);
        Some(ClipNow {
            id: state.clip.id.clone(),
            slot: slot.slot.no,
            // In the order of their addition, and so of their numbers.
            place: slot.clips.partition_point(|other| *other < clip),
            counts: counts(&scene, state).map(|counts| (counts.votes, counts.weight)),
        })
    }

    fn slot(&self, season: &str, position: u32) -> Option<SlotNo> {
        let scene = self.0.look();
        let slot = scene.slot(scene.season(season).ok()?, position).ok()?;
        Some(slot.slot.no)
    }

    fn slot_now(&self, slot: SlotNo) -> Option<SlotNow> {
        let scene = self.0.look();
        let state = scene.slots.get(slot.index())?;
        let season = scene.seasons[state.slot.season.index()].season.id.clone();
        Some(SlotNow { season, position: state.slot.position, clips: state.clips.len() })
    }

    fn counts_of(&self, slot: SlotNo, from: usize, at_most: usize) -> Option<Vec<(ClipId, u64, u64)>> {
        let scene = self.0.look();
        let clips = &scene.slots.get(slot.index())?.clips;
        let part = clips.iter().skip(from).take(at_most).map(|no| {
            let state = &scene.clips[no.index()];
            counts(&scene, state).map(|counts| (state.clip.id.clone(), counts.votes, counts.weight))
        });
        part.collect()
    }
}

/// A slot in its events.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SlotBody<'a> {
    season: &'a str,
    position: u32,
    status: &'static str,
    voting_started_at: Option<u64>,
    voting_ends_at: Option<u64>,
    results_hidden: bool,
    winner_clip_id: Option<&'a str>,
    clip_count: usize,
}

/// Tells the hub of an event of a slot's life, once the stage has it and the tallies what came before.
pub(super) fn tell(feed: &mut Feed, scene: &Scene, seq: Seq, event: &Event) {
    let (slot, name) = match event {
        Event::SlotOpened { slot, .. } | Event::SlotReopened { slot, .. } => (slot, "slot-opened"),
        Event::SlotExtended { slot, .. } => (slot, "slot-extended"),
        Event::SlotFrozen(slot) | Event::SlotStopped { slot, .. } => (slot, "slot-frozen"),
        Event::SlotLocked { slot, .. } | Event::SlotDecided { slot, .. } => (slot, "slot-closed"),
        Event::VoidTaken { slot, .. } | Event::VoidLifted { slot, .. } => (slot, "slot-corrected"),
        _ => return,
    };
    let state = &scene.slots[slot.index()];
    let corrected = match event {
        Event::VoidTaken { void, .. } => Some((void, false)),
        Event::VoidLifted { void, .. } => Some((void, true)),
        _ => None,
    };
    // A result alone is corrected; and one that ends before it took effect corrects nothing.
    if corrected.is_some() && (state.status != SlotStatus::Locked || state.voids.last != seq) {
        return;
    }
    let season = scene.seasons[state.slot.season.index()].season.id.as_str();
    let mut data = json!({ "slot": slot_body(scene, season, state) });
    if let Some((void, lifted)) = corrected {
        data["void"] = json!({ "id": void.to_string(), "lifted": lifted });
    }
    if corrected.is_some() || name == "slot-closed" {
        data["winner"] = state.winner().map_or(Value::Null, |winner| winner_body(scene, winner));
    }
    if name == "slot-closed" && state.hide {
        feed.revealed(*slot);
    }
    feed.event(seq, &format!("season-{season}"), name, data.to_string());
}

fn slot_body<'a>(scene: &'a Scene, season: &'a str, state: &'a SlotState) -> SlotBody<'a> {
    SlotBody {
        season,
        position: state.slot.position,
        status: state.status.as_str(),
        voting_started_at: state.span.started_at,
        voting_ends_at: state.span.ends_at,
        results_hidden: state.hides_counts(),
        winner_clip_id: state.winner().map(|no| scene.clips[no.index()].clip.id.as_str()),
        clip_count: state.clips.len(),
    }
}

fn winner_body(scene: &Scene, winner: ClipNo) -> Value {
    let state = &scene.clips[winner.index()];
    let counts = counts(scene, state);
    json!({
        "clipId": state.clip.id, "title": state.clip.draft.title,
        "voteCount": counts.map(|counts| counts.votes), "weightedScore": counts.map(|counts| counts.weight)
    })
}

/// Tells the hub of what has become of a comment, as far as others see it.
pub(super) fn tell_comment(feed: &mut Feed, scene: &Scene, key: &VoterKey, settled: &Settled) {
    let Settled { seq, before, comment, .. } = settled;
    let id = comment.place.id;
    let clip = &scene.clips[comment.place.clip.index()].clip.id;
    let channel = format!("clip-{clip}");
    let was = before.as_ref().map_or(CommentStatus::Pending, |before| before.status);
    let (event, data) = match (was, comment.status) {
        // Until now its author alone knew of it.
        (CommentStatus::Pending, CommentStatus::Visible) => {
            ("new-comment", json!({ "comment": PublicComment::whole(comment, clip.clone(), key) }))
        }
        (CommentStatus::Visible, CommentStatus::Visible) => {
            let likes = before.as_ref().map_or(0, |before| before.likes);
            if likes != comment.likes {
                feed.liked(*seq, &channel, id, u64::from(comment.likes));
            }
            return;
        }
        (CommentStatus::Visible, CommentStatus::Deleted) => ("delete-comment", json!({ "commentId": id.to_string() })),
        (CommentStatus::Visible, status) | (_, status @ CommentStatus::Visible) => {
            ("comment-updated", json!({ "commentId": id.to_string(), "status": status }))
        }
        // Out of sight before and after.
        _ => return,
    };
    feed.event(*seq, &channel, event, data.to_string());
}
