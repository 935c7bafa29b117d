//! The JSON of seasons, slots and clips: one shape each, wherever it appears. Names are the contract's. Never asks the
//! engine and never decides what may be seen: a count that is hidden comes in as none.

use schemars::JsonSchema;
use serde::Serialize;

use crate::domain::{Decided, FrozenBy, SlotStatus};
use crate::engine::{BanView, ClipView, Counts, SeasonView, SlotView};

/// A clip in a slot's list, as the site's player reads it.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Clip")]
pub(super) struct ClipBody<'a> {
    id: &'a str,
    title: &'a str,
    season_id: &'a str,
    slot_position: u32,
    username: Option<&'a str>,
    avatar_url: Option<&'a str>,
    video_url: Option<&'a str>,
    thumbnail_url: Option<&'a str>,
    /// Null while results are hidden.
    vote_count: Option<u64>,
    /// Null while results are hidden.
    weighted_score: Option<u64>,
    comment_count: u64,
}

impl<'a> From<&'a ClipView> for ClipBody<'a> {
    fn from(clip: &'a ClipView) -> Self {
        Self {
            id: clip.id.as_str(),
            title: &clip.title,
            season_id: clip.season.as_str(),
            slot_position: clip.position,
            username: clip.username.as_deref(),
            avatar_url: clip.avatar_url.as_deref(),
            video_url: clip.video_url.as_deref(),
            thumbnail_url: clip.thumbnail_url.as_deref(),
            vote_count: clip.counts.map(|counts| counts.votes),
            weighted_score: clip.counts.map(|counts| counts.weight),
            comment_count: clip.comments,
        }
    }
}

/// A clip's counts alone; null while they are hidden.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Counts")]
pub(super) struct CountsBody {
    vote_count: Option<u64>,
    weighted_score: Option<u64>,
}

impl From<Option<Counts>> for CountsBody {
    fn from(counts: Option<Counts>) -> Self {
        Self { vote_count: counts.map(|counts| counts.votes), weighted_score: counts.map(|counts| counts.weight) }
    }
}

/// A season with its slots.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Season")]
pub(super) struct SeasonBody<'a> {
    id: &'a str,
    name: &'a str,
    /// `active` or `finished`.
    status: &'static str,
    slots: Vec<SlotBody<'a>>,
}

impl<'a> SeasonBody<'a> {
    /// As of a time in Unix milliseconds.
    pub(super) fn at(now_ms: u64, season: &'a SeasonView) -> Self {
        Self {
            id: season.id.as_str(),
            name: &season.name,
            status: if season.finished { "finished" } else { "active" },
            slots: season.slots.iter().map(|slot| SlotBody::at(now_ms, slot)).collect(),
        }
    }

    /// With what operators alone see.
    pub(super) fn for_operators(now_ms: u64, season: &'a SeasonView) -> Self {
        let slots = season.slots.iter().map(|slot| SlotBody::for_operators(now_ms, slot)).collect();
        Self { slots, ..Self::at(now_ms, season) }
    }
}

/// A slot and its time.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Slot")]
pub(super) struct SlotBody<'a> {
    season: &'a str,
    position: u32,
    status: SlotStatus,
    /// Unix milliseconds.
    voting_started_at: Option<u64>,
    /// Unix milliseconds; null: it has no end.
    voting_ends_at: Option<u64>,
    time_remaining_ms: Option<u64>,
    results_hidden: bool,
    /// `operator`, `timer` or `lock`.
    frozen_by: Option<&'static str>,
    /// A sequence, as `eventId` in answers to votes: those up to it count.
    freeze_event_id: Option<String>,
    winner_clip_id: Option<&'a str>,
    /// `votes` or `operator`.
    decided_by: Option<&'static str>,
    /// Operators alone see it.
    #[serde(skip_serializing_if = "Option::is_none")]
    decision_reason: Option<&'a str>,
    clip_count: usize,
}

impl<'a> SlotBody<'a> {
    /// As of a time in Unix milliseconds.
    pub(super) fn at(now_ms: u64, slot: &'a SlotView) -> Self {
        let time_remaining_ms = match slot.status {
            SlotStatus::Voting => slot.ends_at.map(|end| end.saturating_sub(now_ms)),
            SlotStatus::Frozen | SlotStatus::Locked => Some(0),
            SlotStatus::Upcoming | SlotStatus::WaitingForClips => None,
        };
        Self {
            season: slot.season.as_str(),
            position: slot.position,
            status: slot.status,
            voting_started_at: slot.started_at,
            voting_ends_at: slot.ends_at,
            time_remaining_ms,
            results_hidden: slot.hidden,
            frozen_by: slot.frozen_by.map(FrozenBy::as_str),
            freeze_event_id: slot.frozen_at.map(|seq| seq.to_string()),
            decided_by: slot.decided.as_ref().map(decided_by),
            decision_reason: None,
            winner_clip_id: slot.winner.as_ref().map(crate::domain::ClipId::as_str),
            clip_count: slot.clips,
        }
    }

    /// With what operators alone see: why one of them named the winner.
    pub(super) fn for_operators(now_ms: u64, slot: &'a SlotView) -> Self {
        let decision_reason = match &slot.decided {
            Some(Decided::ByHand { reason }) => Some(reason.as_str()),
            _ => None,
        };
        Self { decision_reason, ..Self::at(now_ms, slot) }
    }
}

/// Who decided a slot's winner, as answers spell it.
pub(super) fn decided_by(decided: &Decided) -> &'static str {
    match decided {
        Decided::Tally | Decided::TallyAfter(_) => "votes",
        Decided::ByHand { .. } => "operator",
    }
}

/// A ban in an operator's list.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Ban")]
pub(super) struct BanBody<'a> {
    user_id: &'a str,
    /// Unix milliseconds; null: until it is lifted.
    until: Option<u64>,
    reason: &'a str,
}

impl<'a> From<&'a BanView> for BanBody<'a> {
    fn from(ban: &'a BanView) -> Self {
        Self { user_id: &ban.user_id, until: ban.until, reason: &ban.reason }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{ClipId, SeasonId};
    use serde_json::json;

    fn slot(status: SlotStatus) -> SlotView {
        SlotView {
            season: SeasonId::new("s1").unwrap(),
            position: 2,
            status,
            started_at: Some(100),
            ends_at: Some(500),
            hidden: true,
            frozen_by: None,
            frozen_at: None,
            winner: None,
            decided: None,
            clips: 3,
        }
    }

    #[test]
    fn a_slot_says_how_much_time_is_left() {
        let body = serde_json::to_value(SlotBody::at(400, &slot(SlotStatus::Voting))).unwrap();
        let expected = json!({
            "season": "s1", "position": 2, "status": "voting", "votingStartedAt": 100, "votingEndsAt": 500,
            "timeRemainingMs": 100, "resultsHidden": true, "frozenBy": null, "freezeEventId": null, "winnerClipId": null,
            "decidedBy": null, "clipCount": 3
        });
        assert_eq!(body, expected);
        let left = |now, slot: &SlotView| SlotBody::at(now, slot).time_remaining_ms;
        assert_eq!(left(600, &slot(SlotStatus::Voting)), Some(0));
        assert_eq!(left(400, &SlotView { ends_at: None, ..slot(SlotStatus::Voting) }), None);
        assert_eq!(left(400, &slot(SlotStatus::Locked)), Some(0));
        assert_eq!(left(400, &slot(SlotStatus::Upcoming)), None);
    }

    #[test]
    fn why_an_operator_named_the_winner_is_for_operators() {
        let decided = Some(Decided::ByHand { reason: "c1 was withdrawn".into() });
        let slot = SlotView { decided, frozen_at: Some(71), ..slot(SlotStatus::Locked) };
        let public = serde_json::to_value(SlotBody::at(400, &slot)).unwrap();
        assert_eq!((&public["decidedBy"], &public["freezeEventId"]), (&json!("operator"), &json!("71")));
        assert!(public.get("decisionReason").is_none());
        let known = serde_json::to_value(SlotBody::for_operators(400, &slot)).unwrap();
        assert_eq!(known["decisionReason"], "c1 was withdrawn");
    }

    #[test]
    fn a_clip_has_the_players_names_and_null_for_what_is_hidden() {
        let clip = ClipView {
            id: ClipId::new("clip-1").unwrap(),
            season: SeasonId::new("s1").unwrap(),
            position: 2,
            title: "Neon \"Rain\"".into(),
            username: Some("ada".into()),
            avatar_url: None,
            video_url: Some("/v/1.mp4".into()),
            thumbnail_url: None,
            counts: None,
            comments: 7,
        };
        let expected = json!({
            "id": "clip-1", "title": "Neon \"Rain\"", "season_id": "s1", "slot_position": 2, "username": "ada",
            "avatar_url": null, "video_url": "/v/1.mp4", "thumbnail_url": null, "vote_count": null,
            "weighted_score": null, "comment_count": 7
        });
        assert_eq!(serde_json::to_value(ClipBody::from(&clip)).unwrap(), expected);
    }
}
