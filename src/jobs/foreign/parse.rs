//! A row's columns, held against what a store takes. Never: adds anything.

use std::collections::HashMap;

use csv::StringRecord;

use super::Foreign;
use super::time::unix_ms;
use crate::domain::{ClipId, CommentPost, CommentRef, CommentText, DEPTH_MAX, Origin, Profile, VoteKind, VoterId};

/// A vote.
pub(super) struct Row {
    pub(super) clip: String,
    pub(super) voter: VoterId,
    pub(super) kind: VoteKind,
    pub(super) weight: u16,
    pub(super) position: u32,
    pub(super) risk: u8,
    pub(super) at: u64,
}

impl Foreign<'_> {
    /// A column's text; empty where there is none.
    fn get<'r>(&self, row: &'r StringRecord, places: &HashMap<String, usize>, name: &str) -> &'r str {
        let column = self.columns.get(name).map_or(name, String::as_str);
        places.get(column).and_then(|at| row.get(*at)).map_or("", str::trim)
    }

    pub(super) fn row(&self, row: &StringRecord, places: &HashMap<String, usize>) -> Result<Row, String> {
        let get = |name| self.get(row, places, name);
        let clip = get("clip_id");
        ClipId::new(clip).map_err(|why| why.to_string())?;
        let kind = match get("vote_type") {
            "" => VoteKind::Standard,
            text => VoteKind::parse(text).map_err(|why| why.to_string())?,
        };
        let weight = get("vote_weight").parse().ok().filter(|weight: &u16| (1..=10_000).contains(weight));
        let position = get("slot_position").parse().ok().filter(|position: &u32| (1..=1_000_000).contains(position));
        Ok(Row {
            clip: clip.to_owned(),
            voter: self.voter(get("user_id"), get("voter_key"))?,
            kind,
            weight: weight.ok_or("vote_weight: a whole number from 1 to 10000")?,
            position: position.ok_or("slot_position: a whole number from 1 to 1000000")?,
            risk: match get("flagged") {
                "t" | "true" | "1" => Origin::FLAGGED_FROM,
                "f" | "false" | "0" | "" => 0,
                _ => return Err("flagged: true or false".into()),
            },
            at: unix_ms(get("created_at")).ok_or("created_at: no time")?,
        })
    }

    fn voter(&self, user: &str, device: &str) -> Result<VoterId, String> {
        match (user, device) {
            ("", "") => Err("neither user_id nor voter_key".into()),
            ("", device) => Ok(self.key.device(device.as_bytes())),
            (user, _) => Ok(self.key.user(user)),
        }
    }

    pub(super) fn comment(
        &self,
        row: &StringRecord,
        places: &HashMap<String, usize>,
        known: &HashMap<String, (CommentRef, u8)>,
    ) -> Result<(String, u64, CommentPost), String> {
        let get = |name| self.get(row, places, name);
        let (clip, _) = self.clips.get(get("clip_id")).copied().ok_or("no vote names its clip")?;
        let (parent, depth) = match get("parent_comment_id") {
            "" => (0, 0),
            parent => {
                let (place, depth) = known.get(parent).ok_or("its parent is not in front of it")?;
                (place.id, depth + 1)
            }
        };
        if depth > DEPTH_MAX || known.get(get("parent_comment_id")).is_some_and(|(place, _)| place.clip != clip) {
            return Err("it answers too deep, or another clip's comment".into());
        }
        if known.contains_key(get("id")) {
            return Err("a duplicate: its id came before".into());
        }
        if matches!(get("is_deleted"), "t" | "true" | "1") {
            return Err("it is deleted".into());
        }
        let text = CommentText::new(get("comment_text")).map_err(|why| why.to_string())?;
        let post = CommentPost {
            clip,
            parent,
            depth,
            author: self.voter(get("user_id"), get("voter_key"))?,
            profile: Profile::cut(Some(get("username")), Some(get("avatar_url"))),
            text: text.as_str().to_owned(),
            held: false,
            request: None,
        };
        Ok((get("id").to_owned(), unix_ms(get("created_at")).ok_or("created_at: no time")?, post))
    }
}
