//! How comments and cursors are written. Never asks the engine for anything but names.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use schemars::JsonSchema;
use serde::Serialize;

use super::query::invalid;
use crate::comments::{Cursor, Found, Order, PublicComment, Thread, may_see};
use crate::domain::{Comment, CommentStatus, VoterId};
use crate::engine::Engine;
use crate::error::Reject;
use crate::fold::comments::LIKED;

/// A comment in a list. What only a known viewer hears is left out for others.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Comment")]
pub(super) struct CommentBody {
    #[serde(flatten)]
    comment: PublicComment,
    status: CommentStatus,
    depth: u8,
    likes_count: u32,
    total_replies: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    is_own: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    is_liked: Option<bool>,
}

impl CommentBody {
    /// For a viewer, if one is known.
    pub(super) fn new(engine: &Engine, found: &Found, viewer: Option<VoterId>) -> Self {
        let Found { comment, replies, set } = found;
        let shown = may_see(comment, viewer);
        Self {
            comment: engine.public_comment(comment, shown),
            status: comment.status,
            depth: comment.depth,
            likes_count: if shown { comment.likes } else { 0 },
            total_replies: *replies,
            is_own: viewer.map(|viewer| shown && viewer == comment.author),
            is_liked: viewer.map(|_| shown && set & LIKED != 0),
        }
    }
}

/// A comment and the first of its replies.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Thread")]
pub(super) struct ThreadBody {
    #[serde(flatten)]
    of: CommentBody,
    replies: Vec<CommentBody>,
}

impl ThreadBody {
    /// For a viewer, if one is known.
    pub(super) fn new(engine: &Engine, thread: &Thread, viewer: Option<VoterId>) -> Self {
        let replies = thread.first.iter().map(|reply| CommentBody::new(engine, reply, viewer)).collect();
        Self { of: CommentBody::new(engine, &thread.of, viewer), replies }
    }
}

/// A comment as moderators see it.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "ModeratedComment")]
pub(super) struct ModeratedBody {
    #[serde(flatten)]
    comment: PublicComment,
    status: CommentStatus,
    depth: u8,
    likes_count: u32,
    reports_count: u32,
}

impl ModeratedBody {
    /// All of it.
    pub(super) fn new(engine: &Engine, comment: &Comment) -> Self {
        Self {
            comment: engine.public_comment(comment, comment.status != CommentStatus::Deleted),
            status: comment.status,
            depth: comment.depth,
            likes_count: comment.likes,
            reports_count: comment.reports,
        }
    }
}

/// A cursor as clients carry it.
pub(super) fn cursor_text(cursor: Cursor) -> String {
    let mut bytes = Vec::with_capacity(13);
    match cursor {
        Cursor::Below(id) => {
            bytes.push(b'b');
            bytes.extend(id.to_be_bytes());
        }
        Cursor::Past(id) => {
            bytes.push(b'p');
            bytes.extend(id.to_be_bytes());
        }
        Cursor::Under(likes, id) => {
            bytes.push(b'u');
            bytes.extend(likes.to_be_bytes());
            bytes.extend(id.to_be_bytes());
        }
    }
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Reads a cursor of that order.
pub(super) fn read_cursor(order: Order, text: &str) -> Result<Cursor, Reject> {
    let wrong = || invalid("cursor", "one that an answer with the same sort gave");
    let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| wrong())?;
    let id = |bytes: &[u8]| Some(u64::from_be_bytes(bytes.try_into().ok()?));
    let cursor = match (order, bytes.split_first()) {
        (Order::Newest, Some((b'b', rest))) => id(rest).map(Cursor::Below),
        (Order::Oldest, Some((b'p', rest))) => id(rest).map(Cursor::Past),
        (Order::Top, Some((b'u', rest))) => rest
            .split_first_chunk::<4>()
            .and_then(|(likes, rest)| Some(Cursor::Under(u32::from_be_bytes(*likes), id(rest)?))),
        _ => None,
    };
    cursor.ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_reads_back_in_its_own_order_alone() {
        for (order, cursor) in [
            (Order::Newest, Cursor::Below(u64::MAX - 3)),
            (Order::Oldest, Cursor::Past(7)),
            (Order::Top, Cursor::Under(70_000, 9)),
        ] {
            let text = cursor_text(cursor);
            assert_eq!(read_cursor(order, &text), Ok(cursor));
            for other in [Order::Newest, Order::Oldest, Order::Top].into_iter().filter(|other| *other != order) {
                assert!(read_cursor(other, &text).is_err());
            }
            for bad in ["", "*", "AAAA", &text[1..], &format!("{text}AAAA")] {
                assert!(read_cursor(order, bad).is_err(), "{bad}");
            }
        }
    }
}
