//! Seasons, slots and clips, as the log and the tables keep them.

use bincode::{Decode, Encode};

use super::ids::{ClipId, ClipNo, SeasonId, SeasonNo, SlotNo};
use crate::error::Reject;

/// A tournament.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct Season {
    /// Our number.
    pub no: SeasonNo,
    /// Its public id.
    pub id: SeasonId,
    /// Its name, for people.
    pub name: String,
}

/// A position of a season that clips compete for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
pub struct Slot {
    /// Our number.
    pub no: SlotNo,
    /// The season that it belongs to.
    pub season: SeasonNo,
    /// Its position in the season, from 1.
    pub position: u32,
}

/// The life of a slot, in order.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Encode, Decode, serde::Serialize, schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum SlotStatus {
    /// Not opened yet.
    Upcoming,
    /// Would be open, had it clips.
    WaitingForClips,
    /// Takes votes.
    Voting,
    /// Takes no more votes; its result isn't named yet.
    Frozen,
    /// Closed for good.
    Locked,
}

impl SlotStatus {
    /// As answers spell it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Upcoming => "upcoming",
            Self::WaitingForClips => "waiting_for_clips",
            Self::Voting => "voting",
            Self::Frozen => "frozen",
            Self::Locked => "locked",
        }
    }
}

/// When a slot takes votes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Encode, Decode)]
pub struct Span {
    /// Opened at, Unix milliseconds.
    pub started_at: Option<u64>,
    /// Closes at, Unix milliseconds.
    pub ends_at: Option<u64>,
}

/// A competitor.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct Clip {
    /// Our number.
    pub no: ClipNo,
    /// The slot that it competes in, for good.
    pub slot: SlotNo,
    /// Its public id.
    pub id: ClipId,
    /// The rest of it.
    pub draft: ClipDraft,
}

/// What a clip's creator says about it. [`ClipDraft::checked`] holds it to its bounds, which keep sixteen
/// clips in one page of the tables.
#[derive(Clone, PartialEq, Eq, Debug, Default, Encode, Decode)]
pub struct ClipDraft {
    /// For people; 1 to 200 characters.
    pub title: String,
    /// The `sub` of who made it; their own votes for it are refused.
    pub owner: Option<String>,
    /// The maker's name, for people.
    pub username: Option<String>,
    /// The maker's picture.
    pub avatar_url: Option<String>,
    /// Where the video is.
    pub video_url: Option<String>,
    /// Where its picture is.
    pub thumbnail_url: Option<String>,
}

impl ClipDraft {
    /// Takes the maker's name and picture out, and with `owners` the maker.
    pub fn unname(&mut self, owners: bool) {
        (self.username, self.avatar_url) = (None, None);
        if owners {
            self.owner = None;
        }
    }

    /// Checks every field's bounds.
    pub fn checked(self) -> Result<Self, Reject> {
        bounded_text("title", &self.title, 200)?;
        let check =
            |name, text: &Option<String>, max| text.as_deref().map_or(Ok(()), |text| bounded_text(name, text, max));
        check("ownerId", &self.owner, 256)?;
        check("username", &self.username, 100)?;
        for (name, url) in
            [("avatarUrl", &self.avatar_url), ("videoUrl", &self.video_url), ("thumbnailUrl", &self.thumbnail_url)]
        {
            check(name, url, 500)?;
            let odd = |url: &String| !["https://", "http://", "/"].iter().any(|start| url.starts_with(start));
            if url.as_ref().is_some_and(odd) {
                return Err(Reject::InvalidParameter { name, why: "must begin with https://, http:// or /".into() });
            }
        }
        Ok(self)
    }
}

/// Text for people: 1 to `max` bytes once trimmed, without control characters.
pub fn bounded_text(name: &'static str, text: &str, max: usize) -> Result<(), Reject> {
    if text.trim().is_empty() || text.len() > max || text.chars().any(char::is_control) {
        return Err(Reject::InvalidParameter { name, why: format!("1 to {max} bytes, no control characters") });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draft(title: &str) -> ClipDraft {
        ClipDraft { title: title.into(), ..ClipDraft::default() }
    }

    #[test]
    fn a_clip_is_held_to_its_bounds() {
        assert!(draft("Neon Rain").checked().is_ok());
        for bad in ["", "   ", "a\u{0}b", &"x".repeat(201)] {
            assert!(draft(bad).checked().is_err(), "{bad:?}");
        }
        let odd = ClipDraft { video_url: Some("javascript:alert(1)".into()), ..draft("x") };
        assert!(odd.checked().is_err());
        let fine = ClipDraft { video_url: Some("/v/1.mp4".into()), ..draft("x") };
        assert!(fine.checked().is_ok());
    }
}
