//! What is said of comments and of the stream.

use super::about::{About, Access, about, clip_id, clip_ids, cursor, digits, one_of, text_of, up_to};
use super::errors::codes;
use crate::http::{comments, moderation};

const COMMENTS: &str = "Comments";
const MODERATION: &str = "Moderation";
const LIVE: &str = "Live";

pub(in crate::http) fn list() -> About {
    about(COMMENTS, "comments", Access::Voter, "A clip's comments, or a comment's replies")
        .says("Who brings a token or a device's cookie also sees their own that wait for a moderator, and what they liked.")
        .needs("clipId", clip_id(), "The clip.")
        .query("parentId", digits(), "A comment, whose replies are asked for.")
        .query("sort", one_of(&["newest", "oldest", "top"]), "Newest first; replies oldest first.")
        .query("limit", up_to(100, 20), "Comments of a page.")
        .query("cursor", cursor(), "The `nextCursor` of the page before.")
        .gives::<comments::Threads>(200, "A page, each comment with the first of its replies.")
        .with(&["Cache-Control", "Vary", "Link"])
        .refuses(&[codes::MISSING_CLIP_ID, codes::CLIP_NOT_FOUND, codes::NOT_FOUND, codes::STORAGE_FAILED])
}

pub(in crate::http) fn post() -> About {
    write(about(COMMENTS, "postComment", Access::Known, "Comment on a clip, or answer a comment"))
        .says("Devices may comment only where the site lets them.")
        .idempotent()
        .takes::<comments::Sent<'_>>()
        .gives::<comments::Posted>(201, "It is on the disk.")
        .with(&["Cache-Control", "Set-Cookie", "Idempotency-Replayed"])
        .refuses(&[codes::MISSING_CLIP_ID, codes::CLIP_NOT_FOUND, codes::BANNED, codes::REQUEST_IN_FLIGHT])
        .refuses(&[codes::NOT_FOUND])
}

pub(in crate::http) fn count() -> About {
    about(COMMENTS, "commentCounts", Access::Anyone, "Numbers of comments of many clips")
        .needs(
            "clipIds",
            clip_ids(),
            "Clip ids, separated by commas; at most 100. Unknown ones are left out of the answer.",
        )
        .gives::<comments::CommentCounts<'_>>(200, "By the clips' ids.")
        .with(&["Cache-Control"])
}

pub(in crate::http) fn delete() -> About {
    one(write(about(
        COMMENTS,
        "deleteComment",
        Access::VoterOrAdmin,
        "Delete one's own comment, or as an operator any",
    )))
    .gives::<comments::Done>(200, "It is gone; its replies stay.")
    .with(&["Cache-Control", "Set-Cookie"])
    .refuses(&[codes::FORBIDDEN])
}

pub(in crate::http) fn like() -> About {
    one(write(about(COMMENTS, "likeComment", Access::Voter, "Like a comment")))
        .gives::<comments::LikedBody>(200, "The like stands; liking twice is liking once.")
        .with(&["Cache-Control", "Set-Cookie"])
        .refuses(&[codes::BANNED])
}

pub(in crate::http) fn unlike() -> About {
    one(write(about(COMMENTS, "unlikeComment", Access::Voter, "Take a like back")))
        .gives::<comments::LikedBody>(200, "There is no like.")
        .with(&["Cache-Control", "Set-Cookie"])
        .refuses(&[codes::BANNED])
}

pub(in crate::http) fn report() -> About {
    one(write(about(COMMENTS, "reportComment", Access::Voter, "Report a comment to the moderators")))
        .gives::<comments::Done>(200, "It is counted once a voter.")
        .with(&["Cache-Control", "Set-Cookie"])
        .refuses(&[codes::BANNED])
}

pub(in crate::http) fn queue() -> About {
    about(MODERATION, "moderationQueue", Access::Admin, "Comments that wait for a moderator")
        .needs("status", one_of(&["pending", "reported", "hidden"]), "Which of them.")
        .query("limit", up_to(100, 20), "Comments of a page.")
        .query("cursor", cursor(), "The `nextCursor` of the page before.")
        .gives::<moderation::Waiting>(200, "The oldest first.")
        .with(&["Cache-Control"])
        .refuses(&[codes::STORAGE_FAILED])
}

pub(in crate::http) fn approve() -> About {
    judged(about(MODERATION, "approveComment", Access::Admin, "Let everyone see a comment"))
}

pub(in crate::http) fn hide() -> About {
    judged(about(MODERATION, "hideComment", Access::Admin, "Let nobody see a comment"))
}

pub(in crate::http) fn stream() -> About {
    about(LIVE, "stream", Access::Anyone, "What happens in channels, as server-sent events")
        .says(
            "Channels are `clip-<id>` (`vote-update`, `new-comment`, `comment-updated`, `delete-comment`), \
             `slot-<season>-<position>` (`counts-update`) and `season-<id>` (`slot-opened`, `slot-extended`, `slot-frozen`, \
             `slot-closed`, `slot-corrected`), and whatever public channels the site's server triggers. An event has the fields `event`, `channel` \
             and `data`, and ordered ones an `id`, their position. A client that comes back says in `Last-Event-ID` where it was and is sent what it missed, or `plaudit:resync` where that is gone.",
        )
        .needs("channels", text_of(), "Names of public channels, separated by commas; at most 100.")
        .query("since", position_of(), "Where to go on from, for clients that can't send the header.")
        .header("Last-Event-ID", text_of(), "The `id` of the last event that the client has.")
        .gives_other(200, "text/event-stream", "Events, until the client goes.")
        .with(&["Cache-Control", "X-Accel-Buffering"])
}

fn position_of() -> serde_json::Value {
    serde_json::json!({ "type": "string", "pattern": "^[0-9]{1,19}\\.[0-9]{1,9}$" })
}

fn write(about: About) -> About {
    about.refuses(&[codes::RATE_LIMITED, codes::STORAGE_FAILED])
}

fn one(about: About) -> About {
    about.path("id", digits(), "The comment's id.").refuses(&[codes::NOT_FOUND])
}

fn judged(about: About) -> About {
    one(about).gives::<moderation::Moderated>(200, "The comment as it is now.").refuses(&[codes::STORAGE_FAILED])
}
