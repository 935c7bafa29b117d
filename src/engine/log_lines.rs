//! The events that a stopped store's log holds still, as lines of JSON for people. Never: a voter's id, or a judgement.

use std::io::Write;
use std::ops::ControlFlow;
use std::path::Path;

use serde_json::{Value as Json, json};

use crate::domain::{CommentChange, Decided, ErasurePart, Event, Logged, Origin, Verdict, Vote, VoterId, VoterKey};
use crate::error::Fault;
use crate::log::block;
use crate::store::Home;

/// Prints the events that the log still holds, a JSON object a line; the applied head of the log is dropped as it goes. Voters
/// appear by their public name.
pub fn print_log(dir: &Path, key: &VoterKey, out: &mut dyn Write) -> Result<u64, Fault> {
    let home = Home::open_existing(dir)?;
    let mut printed = 0;
    home.log().scan(&block::key(0), &[0xff; 9], &mut |at, record| {
        block::read(at, record, |logged| {
            printed += 1;
            writeln!(out, "{}", line(key, &logged)).map_err(|why| Fault::io("printing", &why))
        })?;
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(printed)
}

fn line(key: &VoterKey, logged: &Logged) -> Json {
    let name = |voter: VoterId| key.public(voter);
    let mut line = match &logged.event {
        Event::Started => json!({"event": "started"}),
        Event::Voted(vote) => voted(&name(vote.voter), vote, Origin::default()),
        Event::VotedFrom(vote, origin) => voted(&name(vote.voter), vote, *origin),
        Event::Retracted(back) => json!({
            "event": "retracted", "voter": name(back.voter), "clip": back.clip, "slot": back.slot, "vote": back.vote,
            "weight": back.weight, "day": back.day,
        }),
        Event::SeasonCreated(season) => {
            json!({"event": "season_created", "season": season.no, "id": season.id, "name": season.name})
        }
        Event::SlotCreated(slot) => {
            json!({"event": "slot_created", "slot": slot.no, "season": slot.season, "position": slot.position})
        }
        Event::ClipAdded(clip) => {
            json!({"event": "clip_added", "clip": clip.no, "slot": clip.slot, "id": clip.id, "title": clip.draft.title})
        }
        Event::SlotWaits(slot) => json!({"event": "slot_waits", "slot": slot}),
        Event::SlotOpened { slot, ends_at, hidden } => {
            json!({"event": "slot_opened", "slot": slot, "ends_at": ends_at, "hidden": hidden})
        }
        Event::SlotFrozen(slot) => json!({"event": "slot_frozen", "slot": slot}),
        Event::SlotLocked { slot, winner } => json!({"event": "slot_locked", "slot": slot, "winner": winner}),
        Event::SlotStopped { slot, by, after } => {
            json!({"event": "slot_stopped", "slot": slot, "by": by.as_str(), "after": after})
        }
        Event::SlotExtended { slot, ends_at } => json!({"event": "slot_extended", "slot": slot, "ends_at": ends_at}),
        Event::SlotReopened { slot, ends_at } => json!({"event": "slot_reopened", "slot": slot, "ends_at": ends_at}),
        Event::SlotDecided { slot, outcome } => {
            let (reason, after_void) = match &outcome.decided {
                Decided::Tally => (None, None),
                Decided::ByHand { reason } => (Some(reason), None),
                Decided::TallyAfter(void) => (None, Some(void)),
            };
            let root = outcome.root.map(|root| blake3::Hash::from(root.hash).to_hex().to_string());
            let leaves = outcome.root.map(|root| root.leaves);
            json!({
                "event": "slot_decided", "slot": slot, "frozen_at": outcome.frozen_at, "winner": outcome.winner,
                "by_hand": reason, "after_void": after_void, "root": root, "leaves": leaves,
            })
        }
        Event::VoidBegun(plan) => {
            json!({"event": "void_begun", "slot": plan.slot, "by": plan.by.as_str(), "reason": plan.reason})
        }
        Event::VotesNamed(part) => {
            let votes: Vec<u64> = part.votes.iter().map(|vote| vote.seq).collect();
            json!({"event": "votes_named", "void": part.void, "slot": part.slot, "votes": votes})
        }
        Event::VoidTaken { void, slot } => json!({"event": "void_taken", "void": void, "slot": slot}),
        Event::VoidLifted { void, slot, reason } => {
            json!({"event": "void_lifted", "void": void, "slot": slot, "reason": reason})
        }
        // Of one who asked to be forgotten not even the public name.
        Event::ErasureBegun { day, .. } => json!({"event": "erasure_begun", "day": day}),
        Event::ErasureWent { erasure, part } => match part {
            ErasurePart::Clips { clips, owners } => {
                json!({"event": "clips_emptied", "erasure": erasure, "clips": clips, "owners": owners})
            }
            ErasurePart::Searched => json!({"event": "erasure_searched", "erasure": erasure}),
        },
        Event::ErasureEnded(erasure) => json!({"event": "erasure_ended", "erasure": erasure}),
        Event::Banned { voter, until, reason } => {
            json!({"event": "banned", "voter": name(*voter), "until": until, "reason": reason})
        }
        Event::Unbanned(voter) => json!({"event": "unbanned", "voter": name(*voter)}),
        Event::CommentPosted(post) => json!({
            "event": "comment_posted", "voter": name(post.author), "clip": post.clip, "parent": post.parent,
            "depth": post.depth, "name": post.profile.name, "avatar": post.profile.avatar, "text": post.text,
            "held": post.held,
        }),
        Event::CommentChanged(of, change) => {
            let mut line = match change {
                CommentChange::Deleted { by } => json!({"event": "comment_deleted", "voter": by.map(name)}),
                CommentChange::Liked(voter) => json!({"event": "comment_liked", "voter": name(*voter)}),
                CommentChange::Unliked(voter) => json!({"event": "comment_unliked", "voter": name(*voter)}),
                CommentChange::Reported { voter, hides_at } => {
                    json!({"event": "comment_reported", "voter": name(*voter), "hides_at": hides_at})
                }
                CommentChange::Moderated(Verdict::Approve) => json!({"event": "comment_approved"}),
                CommentChange::Moderated(Verdict::Hide) => json!({"event": "comment_hidden"}),
                CommentChange::Emptied => json!({"event": "comment_emptied"}),
                CommentChange::Unnamed { .. } => json!({"event": "comment_unnamed"}),
            };
            line["clip"] = of.clip.0.into();
            line["comment"] = of.id.into();
            line
        }
    };
    line["seq"] = logged.seq.into();
    line["at"] = logged.at.into();
    line
}

fn voted(voter: &str, vote: &Vote, origin: Origin) -> Json {
    json!({
        "event": "voted", "voter": voter, "clip": vote.clip, "slot": vote.slot, "kind": vote.kind,
        "weight": vote.weight, "day": vote.day, "risk": origin.risk, "network": origin.network.hex(),
    })
}
