//! A comment as everyone may see it, in lists and in pushes.

use schemars::JsonSchema;
use serde::Serialize;

use crate::domain::{ClipId, Comment, VoterKey};

/// What others see of a comment. Of one that nobody may see any more, its place alone.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PublicComment {
    /// Its id, in decimal digits: JavaScript's own numbers lose some past 2^53.
    pub id: String,
    /// Its clip.
    pub clip_id: ClipId,
    /// Its author's public name: a keyed hash.
    pub user_id: Option<String>,
    /// Its author's name for people, made up where none is known.
    pub username: Option<String>,
    /// Its author's picture.
    pub avatar_url: Option<String>,
    /// What it says, as it was sent; never HTML.
    pub content: Option<String>,
    /// The comment that it answers.
    pub parent_id: Option<String>,
    /// Posted at, Unix milliseconds.
    pub created_at: u64,
}

impl PublicComment {
    /// All of a comment.
    pub fn whole(comment: &Comment, clip: ClipId, key: &VoterKey) -> Self {
        let user_id = key.public(comment.author);
        let name = &comment.profile.name;
        let username = if name.is_empty() { format!("user-{}", &user_id[..8]) } else { name.clone() };
        Self {
            user_id: Some(user_id),
            username: Some(username),
            avatar_url: comment.profile.avatar.clone(),
            content: Some(comment.text.clone()),
            ..Self::stub(comment, clip)
        }
    }

    /// The place of a comment alone.
    pub fn stub(comment: &Comment, clip: ClipId) -> Self {
        let parent = comment.place.parent;
        Self {
            id: comment.place.id.to_string(),
            clip_id: clip,
            user_id: None,
            username: None,
            avatar_url: None,
            content: None,
            parent_id: (parent != 0).then(|| parent.to_string()),
            created_at: comment.at,
        }
    }
}
