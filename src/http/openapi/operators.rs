//! What is said of operators' routes, and of those for machines that watch.

use super::about::{About, Access, about, cursor, digits, one_of, position, season_id, text_of, up_to};
use super::errors::codes;
use crate::http::view::{ClipBody, SeasonBody, SlotBody};
use crate::http::{admin, ops, seasons, voids, votes};
use crate::jobs::export::Table;

const STAGE: &str = "Seasons, slots and clips";
const VOTERS: &str = "Votes and voters";
const WATCH: &str = "Health and queue";
const DATA: &str = "Export and backup";
const DOCUMENT: &str = "Document and client";

pub(in crate::http) fn seasons() -> About {
    about(STAGE, "allSeasons", Access::Admin, "All seasons, with what operators alone see")
        .gives::<seasons::Seasons<'_>>(200, "The oldest first.")
        .with(&["Cache-Control"])
}

pub(in crate::http) fn create_season() -> About {
    changes(about(STAGE, "createSeason", Access::Admin, "Make a season"))
        .takes::<admin::NewSeason>()
        .gives::<SeasonBody<'_>>(201, "The season.")
}

pub(in crate::http) fn create_slot() -> About {
    changes(about(STAGE, "createSlot", Access::Admin, "Add a slot to a season"))
        .path("season", season_id(), "The season's id.")
        .may_take::<admin::NewSlot>()
        .gives::<SlotBody<'_>>(201, "The slot.")
        .refuses(&[codes::NOT_FOUND])
}

pub(in crate::http) fn add_clip() -> About {
    changes(about(STAGE, "addClip", Access::Admin, "Add a clip to a slot"))
        .slot()
        .takes::<admin::NewClip>()
        .gives::<ClipBody<'_>>(201, "The clip.")
}

pub(in crate::http) fn open() -> About {
    verb("openSlot", "Open a slot for voting").may_take::<admin::Opening>()
}

pub(in crate::http) fn freeze() -> About {
    verb("freezeSlot", "End a slot's voting").says("Votes behind it are refused; the result isn't named yet.")
}

pub(in crate::http) fn extend() -> About {
    verb("extendSlot", "Move a slot's end").takes::<admin::Until>()
}

pub(in crate::http) fn reopen() -> About {
    verb("reopenSlot", "Let a frozen slot take votes again").may_take::<admin::Until>()
}

pub(in crate::http) fn lock() -> About {
    verb("lockSlot", "Close a slot for good")
        .says("Names its winner and its certificate; freezes it first where that is due.")
}

pub(in crate::http) fn winner() -> About {
    verb("nameWinner", "Name a winner against the votes")
        .takes::<admin::Winner>()
        .refuses(&[codes::MISSING_CLIP_ID, codes::CLIP_NOT_FOUND])
}

pub(in crate::http) fn votes() -> About {
    about(VOTERS, "storedVotes", Access::Admin, "Single votes of a slot")
        .query("season", season_id(), "The season's id; the newest active one where it is left out.")
        .query("slot", position(), "The slot's position; the open one where it is left out.")
        .query("flagged", one_of(&["0", "1", "false", "true"]), "Those alone that look like cheating.")
        .query("limit", up_to(100, 20), "Votes of a page.")
        .query("cursor", cursor(), "The `nextCursor` of the page before.")
        .gives::<votes::VotesBody<'_>>(200, "A page.")
        .with(&["Cache-Control"])
        .refuses(&[codes::NOT_FOUND, codes::SLOT_NOT_FOUND, codes::STORAGE_FAILED])
}

pub(in crate::http) fn voids() -> About {
    about(VOTERS, "voids", Access::Admin, "Votes that were taken out of the counts")
        .query("season", season_id(), "The season's id; with a slot, the newest active one where it is left out.")
        .query("slot", position(), "The slot's position; all slots where it is left out.")
        .query("limit", up_to(100, 20), "Voids of a page.")
        .query("cursor", digits(), "The `nextCursor` of the page before.")
        .gives::<voids::VoidsBody<'_>>(200, "The newest first.")
        .with(&["Cache-Control"])
        .refuses(&[codes::NOT_FOUND, codes::SLOT_NOT_FOUND])
}

pub(in crate::http) fn void() -> About {
    changes(about(VOTERS, "voidVotes", Access::Admin, "Take votes out of a slot's counts, or see what that would change"))
        .says(
            "Votes up to now, one void at a time. Answered once counts follow, and of a locked slot the winner; boards follow \
             behind. What its voters used of their day stays used, and they can't vote again.",
        )
        .takes::<voids::NewVoid>()
        .gives::<voids::VoidBody<'_>>(201, "The void, in force.")
        .gives::<voids::Forecast<'_>>(200, "With `dryRun`: what would change.")
        .refuses(&[codes::NOT_FOUND, codes::SLOT_NOT_FOUND])
}

pub(in crate::http) fn lift_void() -> About {
    changes(about(VOTERS, "liftVoid", Access::Admin, "Let a void's votes count again"))
        .says("Those alone that were not taken back since, and are under no other void.")
        .path("id", digits(), "The void's id.")
        .takes::<voids::Lifting>()
        .gives::<voids::VoidBody<'_>>(200, "The void, lifted.")
        .refuses(&[codes::NOT_FOUND])
}

pub(in crate::http) fn bans() -> About {
    about(VOTERS, "bans", Access::Admin, "Who is banned").gives::<admin::Bans<'_>>(200, "All bans.")
}

pub(in crate::http) fn ban() -> About {
    banned("ban", "Ban a voter").may_take::<admin::NewBan>().gives_nothing(204, "The voter is banned.")
}

pub(in crate::http) fn unban() -> About {
    banned("unban", "Lift a ban").gives_nothing(204, "The voter is not banned.")
}

pub(in crate::http) fn export() -> About {
    carried(
        "export",
        "All tables as of one moment, as lines of JSON that end with the manifest",
        "application/x-ndjson",
    )
    .says(
        "One at a time. What breaks off before the manifest is not whole, and can be gone on with: the first line names the `state` that \
         is exported, lines between a table's rows say how many of them are there with all that is in front (`{\"rows\":…}`, with the \
         hash of what was sent of the table), and one behind them what was sent (`{\"end\":…}`). Asked again with that state, a table \
         and its rows, the answer goes on behind them, and its first line says so in `from`. Without `from` the state is gone: it is an \
         export of now, from the beginning. What was exported is kept for two minutes behind an answer's end; another export or a \
         backup ends that. As long as something is exported or kept, each entry of the tables that changes is copied first: votes go \
         on, and the disk holds the changed ones twice.",
    )
    .query(
        "format",
        one_of(&["jsonl", "csv", "parquet"]),
        "What the tables' rows are; Parquet comes as lines of base64, as do the secrets in any of them.",
    )
    .query("pseudonymous", one_of(&["0", "1", "false", "true"]), "Without secrets, names and pictures.")
    .query("state", text_of(), "To go on with an export of this state.")
    .query("table", one_of(&Table::ALL.map(Table::name)), "The first table that is not there yet; with `state`.")
    .query("rows", digits(), "How many rows of it are there already: 0 for the secrets, and in Parquet.")
}

pub(in crate::http) fn backup() -> About {
    carried("backup", "All records as of one moment, as `plaudit backup` keeps them", "application/octet-stream")
        .says("One at a time. What breaks off before its end is not whole.")
}

fn carried(id: &'static str, summary: &'static str, content_type: &'static str) -> About {
    about(DATA, id, Access::Admin, summary)
        .gives_other(200, content_type, "It, as it is read.")
        .with(&["Cache-Control"])
        .refuses(&[codes::WRONG_STATE, codes::STORAGE_FAILED])
}

pub(in crate::http) fn queue() -> About {
    about(WATCH, "queue", Access::Anyone, "How long the queue is")
        .gives::<ops::QueueBody>(200, "The queue.")
        .with(&["Cache-Control"])
}

pub(in crate::http) fn drain(id: &'static str) -> About {
    about(WATCH, id, Access::Cron, "Have everything that is queued applied now")
        .gives::<ops::Drained>(200, "What it came to.")
        .with(&["Cache-Control"])
        .refuses(&[codes::STORAGE_FAILED])
}

pub(in crate::http) fn livez() -> About {
    about(WATCH, "livez", Access::Anyone, "Whether the process answers")
        .gives::<ops::Condition>(200, "It does.")
        .with(&["Cache-Control"])
}

pub(in crate::http) fn readyz() -> About {
    about(WATCH, "readyz", Access::Anyone, "Whether votes can be taken")
        .gives::<ops::Condition>(200, "They can.")
        .with(&["Cache-Control"])
        .gives::<ops::Condition>(503, "They can't, and why: the store has failed, or the server is stopping.")
        .with(&["Cache-Control"])
}

pub(in crate::http) fn metrics() -> About {
    about(WATCH, "metrics", Access::Anyone, "Counters and gauges, for Prometheus")
        .gives_other(200, "application/openmetrics-text; version=1.0.0; charset=utf-8", "In OpenMetrics text.")
        .with(&["Cache-Control"])
}

pub(in crate::http) fn document() -> About {
    about(DOCUMENT, "openapi", Access::Anyone, "This document, in OpenAPI 3.1")
        .gives::<serde_json::Map<String, serde_json::Value>>(200, "The document.")
        .cached()
}

pub(in crate::http) fn page() -> About {
    about(DOCUMENT, "docs", Access::Anyone, "This document, for people")
        .gives_other(200, "text/html; charset=utf-8", "The page.")
        .with(&["Content-Security-Policy", "X-Content-Type-Options"])
        .cached()
}

pub(in crate::http) fn script() -> About {
    file("sdk", "The client for browsers and Node, as a JavaScript module", "text/javascript; charset=utf-8")
}

pub(in crate::http) fn types() -> About {
    file("sdkTypes", "The client's types", "text/plain; charset=utf-8")
}

fn file(id: &'static str, summary: &'static str, content_type: &'static str) -> About {
    about(DOCUMENT, id, Access::Anyone, summary)
        .gives_other(200, content_type, "The file.")
        .with(&["Access-Control-Allow-Origin", "X-Content-Type-Options"])
        .cached()
}

fn changes(about: About) -> About {
    about.refuses(&[codes::WRONG_STATE, codes::STORAGE_FAILED, codes::INVALID_PARAMETER])
}

fn verb(id: &'static str, summary: &'static str) -> About {
    changes(about(STAGE, id, Access::Admin, summary)).slot().gives::<SlotBody<'_>>(200, "The slot as it is now.")
}

fn banned(id: &'static str, summary: &'static str) -> About {
    about(VOTERS, id, Access::Admin, summary)
        .path("sub", text_of(), "The `sub` of the voter's tokens, or the name that others see (`userId`).")
        .refuses(&[codes::STORAGE_FAILED])
}
