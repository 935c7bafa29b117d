//! A row's columns, held against what a store takes. Never: adds anything.

use csv::StringRecord;

use super::Foreign;
use super::columns::Places;
use super::rows::Read;
use super::time::unix_ms;
use crate::domain::{ClipId, ClipNo, CommentPost, CommentText, DEPTH_MAX, Origin, Profile, Seq, VoteKind, VoterId};

const NO_TIME: &str = "created_at: no time from 1970 to 2149";

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

/// Stands for a comment's id, which may be of any length: there are as many in memory as there are comments.
pub(super) type CommentKey = [u8; 16];

/// Comments that were taken.
pub(super) type Known = std::collections::HashMap<CommentKey, Posted>;

/// What a comment's answers need to know of it.
pub(super) struct Posted {
    pub(super) seq: Seq,
    pub(super) clip: ClipNo,
    pub(super) depth: u8,
}

fn key_of(id: &str) -> CommentKey {
    *blake3::hash(id.as_bytes()).as_bytes().first_chunk().expect("16 of 32 bytes")
}

impl Foreign<'_> {
    /// A column's text; empty where there is none.
    fn get<'r>(&self, row: &'r StringRecord, places: &Places, name: &str) -> &'r str {
        let column = self.columns.get(name).map_or(name, String::as_str);
        places.get(column).and_then(|at| row.get(*at)).map_or("", str::trim)
    }

    pub(super) fn row(&self, row: Read<'_>, places: &Places) -> Result<Row, String> {
        let row = row?;
        let get = |name| self.get(row, places, name);
        let clip = get("clip_id");
        ClipId::new(clip).map_err(|why| why.to_string())?;
        let kind = match get("vote_type") {
            "" => VoteKind::Standard,
            text => VoteKind::parse(text).map_err(|why| why.to_string())?,
        };
        let weight = get("vote_weight").parse().ok().filter(|weight: &u16| (1..=10_000).contains(weight));
        Ok(Row {
            clip: clip.to_owned(),
            voter: self.voter(get("user_id"), get("voter_key"))?,
            kind,
            weight: weight.ok_or("vote_weight: a whole number from 1 to 10000")?,
            position: self.position(row, places).ok_or("slot_position: a whole number from 1 to 1000000")?,
            risk: if is_true(get("flagged")).ok_or("flagged: true or false")? { Origin::FLAGGED_FROM } else { 0 },
            at: unix_ms(get("created_at")).ok_or(NO_TIME)?,
        })
    }

    pub(super) fn position(&self, row: &StringRecord, places: &Places) -> Option<u32> {
        self.get(row, places, "slot_position").parse().ok().filter(|position| (1..=1_000_000).contains(position))
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
        row: Read<'_>,
        places: &Places,
        known: &Known,
    ) -> Result<(CommentKey, u64, CommentPost), String> {
        let row = row?;
        let get = |name| self.get(row, places, name);
        let id = Some(get("id")).filter(|id| !id.is_empty()).map(key_of).ok_or("id: empty")?;
        let (clip, _) = self.clips.get(get("clip_id")).copied().ok_or("no vote names its clip")?;
        let answers = match get("parent_comment_id") {
            "" => None,
            parent => Some(known.get(&key_of(parent)).ok_or("its parent is not in front of it")?),
        };
        let (parent, depth) = answers.map_or((0, 0), |to| (to.seq, to.depth + 1));
        if depth > DEPTH_MAX || answers.is_some_and(|to| to.clip != clip) {
            return Err("it answers too deep, or another clip's comment".into());
        }
        if known.contains_key(&id) {
            return Err("a duplicate: its id came before".into());
        }
        // One that is not understood must not come to light again.
        if is_true(get("is_deleted")).ok_or("is_deleted: true or false")? {
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
        Ok((id, unix_ms(get("created_at")).ok_or(NO_TIME)?, post))
    }
}

/// A truth as Postgres and others write it; nothing is none.
fn is_true(text: &str) -> Option<bool> {
    let is = |words: &[&str]| words.iter().any(|word| text.eq_ignore_ascii_case(word));
    match text {
        "" => Some(false),
        _ if is(&["t", "true", "1", "yes", "y", "on"]) => Some(true),
        _ if is(&["f", "false", "0", "no", "n", "off"]) => Some(false),
        _ => None,
    }
}
