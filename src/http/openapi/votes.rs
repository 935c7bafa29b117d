//! What is said of votes, rounds and boards.

use serde_json::json;

use super::about::{
    About, Access, about, clip_id, clip_ids, cursor, digits, one_of, position, season_id, text_of, up_to,
};
use super::errors::codes;
use crate::http::view::{ClipBody, SeasonBody, SlotBody};
use crate::http::{counts, history, leaderboard, seasons, timeline, vote, voted};
use crate::merkle::{Certificate, Proof};

const VOTES: &str = "Votes";
const ROUNDS: &str = "Rounds";
const BOARDS: &str = "Boards";

pub(in crate::http) fn cast() -> About {
    about(VOTES, "castVote", Access::Voter, "Vote for a clip")
        .says("A 200 says that the vote is on the disk. A retry without a key is a 409 `ALREADY_VOTED`, which says the same.")
        .idempotent()
        .header("X-Challenge-Token", text_of(), "What the client solved, where the site asks devices for it.")
        .takes::<vote::Sent<'_>>()
        .gives::<voted::Voted<'_>>(200, "The vote stands.")
        .with(&["Set-Cookie", "Idempotency-Replayed"])
        .refuses(&[codes::MISSING_CLIP_ID, codes::INVALID_VOTE_TYPE, codes::RATE_LIMITED])
        .refuses(&[codes::CHALLENGE_REQUIRED, codes::CHALLENGE_FAILED, codes::BANNED, codes::SELF_VOTE])
        .refuses(&[codes::CLIP_NOT_FOUND, codes::VOTING_CLOSED, codes::WRONG_SLOT, codes::NO_ACTIVE_SLOT])
        .refuses(&[codes::ALREADY_VOTED, codes::DAILY_LIMIT, codes::STORAGE_FAILED])
}

pub(in crate::http) fn retract() -> About {
    about(VOTES, "retractVote", Access::Voter, "Take a vote back")
        .says("The day's budget comes back if the vote was cast today.")
        .idempotent()
        .takes::<vote::Sent<'_>>()
        .gives::<voted::Voted<'_>>(200, "The vote is gone.")
        .with(&["Set-Cookie", "Idempotency-Replayed"])
        .refuses(&[codes::MISSING_CLIP_ID, codes::INVALID_VOTE_TYPE, codes::RATE_LIMITED, codes::CLIP_NOT_FOUND])
        .refuses(&[codes::VOTING_CLOSED, codes::WRONG_SLOT, codes::NO_ACTIVE_SLOT, codes::BANNED])
        .refuses(&[codes::NOT_VOTED, codes::STORAGE_FAILED])
}

pub(in crate::http) fn slot_clips() -> About {
    about(VOTES, "slotClips", Access::Anyone, "A slot's clips and their counts")
        .query("season", season_id(), "The season's id; the newest active one where it is left out.")
        .query("slot", position(), "The slot's position; the open one where it is left out.")
        .gives::<Vec<ClipBody<'_>>>(200, "In the order in which they were added.")
        .cached()
        .refuses(&[codes::NOT_FOUND, codes::SLOT_NOT_FOUND])
}

pub(in crate::http) fn counts() -> About {
    about(VOTES, "voteCounts", Access::Anyone, "Counts of many clips")
        .needs(
            "clipIds",
            clip_ids(),
            "Clip ids, separated by commas; at most 100. Unknown ones are left out of the answer.",
        )
        .gives::<counts::CountsOf<'_>>(200, "By the clips' ids.")
        .with(&["Cache-Control"])
}

pub(in crate::http) fn mine() -> About {
    about(VOTES, "myVotes", Access::Voter, "Which of these clips the voter voted for")
        .needs("clipIds", clip_ids(), "Clip ids, separated by commas; at most 100.")
        .gives::<counts::Mine>(200, "The clips, and what is left today.")
        .with(&["Cache-Control"])
}

pub(in crate::http) fn limit() -> About {
    about(VOTES, "myLimit", Access::Voter, "What the voter may still do today")
        .gives::<counts::Limit>(200, "The day's budget.")
        .with(&["Cache-Control"])
}

pub(in crate::http) fn seasons() -> About {
    about(ROUNDS, "seasons", Access::Anyone, "All seasons and their slots")
        .gives::<seasons::Seasons<'_>>(200, "The oldest first.")
        .cached()
}

pub(in crate::http) fn season() -> About {
    about(ROUNDS, "season", Access::Anyone, "A season and its slots")
        .path("season", season_id(), "The season's id.")
        .gives::<SeasonBody<'_>>(200, "The season.")
        .cached()
        .refuses(&[codes::NOT_FOUND])
}

pub(in crate::http) fn slot() -> About {
    about(ROUNDS, "slot", Access::Anyone, "A slot: its state and its time")
        .slot()
        .gives::<SlotBody<'_>>(200, "The slot.")
        .cached()
}

pub(in crate::http) fn certificate() -> About {
    about(ROUNDS, "certificate", Access::Anyone, "A locked slot's certificate")
        .says(
            "What the result is, and the root of the tree over all ballots that it rests on. Anyone can check it. Each void behind \
             the lock, and each that is lifted, makes another, which names the one before.",
        )
        .slot()
        .query("number", position(), "That one, from 1; without it the newest.")
        .gives::<Certificate>(200, "The newest one, or that of the number.")
        .cached()
        .refuses(&[codes::WRONG_STATE, codes::NOT_FOUND, codes::NOT_READY, codes::STORAGE_FAILED])
}

pub(in crate::http) fn proof() -> About {
    about(ROUNDS, "proof", Access::Known, "That one's own ballot is in the result")
        .slot()
        .needs("clipId", clip_id(), "The clip that was voted for.")
        .gives::<Proof>(200, "A path from the ballot to the certificate's root.")
        .with(&["Cache-Control"])
        .refuses(&[
            codes::CLIP_NOT_FOUND,
            codes::NOT_VOTED,
            codes::WRONG_STATE,
            codes::NOT_READY,
            codes::STORAGE_FAILED,
        ])
}

pub(in crate::http) fn history() -> About {
    about(
        ROUNDS,
        "slotHistory",
        Access::Anyone,
        "What a slot went through: its steps, and votes taken out of its counts",
    )
    .says("Names no voter.")
    .slot()
    .query("limit", up_to(100, 20), "Voids of a page.")
    .query("cursor", digits(), "The `nextCursor` of the page before.")
    .gives::<history::SlotHistory<'_>>(200, "All of its steps that are kept, and a page of its voids.")
    .cached()
    .refuses(&[codes::STORAGE_FAILED])
}

fn board(about: About) -> About {
    about
        .query("season", season_id(), "The season's id; everything where it is left out.")
        .query("slot", position(), "A slot of the season.")
        .query("window", one_of(&["all", "day"]), "Everything, or what was voted this UTC day.")
        .refuses(&[codes::NOT_FOUND, codes::SLOT_NOT_FOUND, codes::NOT_READY, codes::STORAGE_FAILED])
}

pub(in crate::http) fn leaderboard() -> About {
    let this = about(BOARDS, "leaderboard", Access::Anyone, "Who and what has most")
        .query("type", one_of(&["clips", "voters", "creators"]), "What is ranked.")
        .query("limit", up_to(100, 20), "Rows of a page.")
        .query("cursor", cursor(), "The `nextCursor` of the page before.")
        .gives::<leaderboard::RanksAsOf<'_>>(200, "A page; ties go to whoever reached them first.")
        .with(&["Link"])
        .cached();
    board(this)
}

pub(in crate::http) fn own_rank() -> About {
    let this = about(BOARDS, "ownRank", Access::Voter, "One's own place")
        .query("type", one_of(&["voters", "creators"]), "What is ranked.")
        .gives::<leaderboard::Own<'_>>(200, "The place, or none.")
        .with(&["Cache-Control"]);
    board(this)
}

pub(in crate::http) fn timeline() -> About {
    about(BOARDS, "timeline", Access::Anyone, "What a clip gained over time, or had at a moment")
        .path("id", clip_id(), "The clip's id.")
        .query(
            "step",
            json!({ "type": "string", "pattern": "^[1-9][0-9]{0,4}[mhd]$" }),
            "Minutes, hours or days, as 1m, 15m, 1h, 1d; up to 30d.",
        )
        .query("from", json!({ "type": "integer", "minimum": 0 }), "The first step's time, Unix milliseconds.")
        .query("limit", up_to(1_440, 500), "Steps of a page.")
        .query(
            "at",
            json!({ "type": "string", "pattern": "^(seq:)?[0-9]{1,18}$" }),
            "A moment instead of steps: Unix milliseconds, or a sequence as seq:57.",
        )
        .gives::<timeline::Timeline>(200, "The steps, or the moment.")
        .with(&["Cache-Control"])
        .refuses(&[codes::CLIP_NOT_FOUND, codes::NOT_READY, codes::STORAGE_FAILED])
}

pub(in crate::http) fn chart() -> About {
    about(BOARDS, "timelineChart", Access::Anyone, "What a clip gained over time, drawn")
        .path("id", clip_id(), "The clip's id.")
        .query("theme", one_of(&["light", "dark"]), "The page that it is for.")
        .query(
            "step",
            json!({ "type": "string", "pattern": "^[1-9][0-9]{0,4}[mhd]$" }),
            "Minutes, hours or days; the finest that shows all where it is left out.",
        )
        .gives_other(200, "image/svg+xml", "The chart.")
        .with(&["Content-Security-Policy", "X-Content-Type-Options"])
        .cached()
        .refuses(&[codes::CLIP_NOT_FOUND, codes::NOT_READY, codes::STORAGE_FAILED, codes::OVERLOADED])
}
