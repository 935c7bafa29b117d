//! A comment: how it is posted, what changes it, and what it is afterwards.
//!
//! [`Comment::take`] is the one place that says what a change does to a comment: the fold uses it for pages, the overlay of
//! what is not yet in pages uses it too, so that both show the same.

use bincode::{Decode, Encode};
use unicode_normalization::UnicodeNormalization;

use super::ids::{ClipNo, Seq, VoterId};
use super::letters::{controls, shows_something, turns_direction};
use crate::error::Reject;

/// Characters of a comment at most, after trimming and NFC.
pub const TEXT_MAX: usize = 500;
/// The deepest reply; a comment of a clip itself has depth 0.
pub const DEPTH_MAX: u8 = 5;
/// Characters of an author's name at most; the rest is cut off.
const NAME_MAX: usize = 100;
/// Bytes of an author's picture's address at most; a longer one is none.
const AVATAR_MAX: usize = 500;

/// The text of a comment: 1 to [`TEXT_MAX`] characters in NFC, at least one that can be seen, no control characters, nothing
/// that turns the direction of what follows.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CommentText(String);

impl CommentText {
    /// Trims, composes and checks.
    pub fn new(text: &str) -> Result<Self, Reject> {
        let wrong = |why: &str| Reject::InvalidParameter { name: "content", why: why.into() };
        let text = text.trim();
        // A character of NFC is written with at most four, of at most four bytes: what is longer is too long in any case.
        if text.len() > TEXT_MAX * 4 * 4 {
            return Err(wrong("1 to 500 characters"));
        }
        let text: String = text.nfc().collect();
        if !(1..=TEXT_MAX).contains(&text.chars().count()) {
            return Err(wrong("1 to 500 characters"));
        }
        if !shows_something(&text) {
            return Err(wrong("something to read"));
        }
        if text.chars().any(controls) {
            return Err(wrong("no control characters, line breaks included"));
        }
        if text.chars().any(turns_direction) {
            return Err(wrong("no characters that override the direction of text"));
        }
        Ok(Self(text))
    }

    /// The text itself.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Who others see behind a comment. What a token says about its bearer is cut to fit, never refused.
#[derive(Clone, PartialEq, Eq, Debug, Default, Encode, Decode)]
pub struct Profile {
    /// A name for people; empty if none is known.
    pub name: String,
    /// Where a picture is.
    pub avatar: Option<String>,
}

impl Profile {
    /// What of a name and a picture's address can be shown.
    pub fn cut(name: Option<&str>, avatar: Option<&str>) -> Self {
        let plain = |c: &char| !controls(*c) && !turns_direction(*c);
        let name: String = name.unwrap_or_default().trim().nfc().filter(plain).take(NAME_MAX).collect();
        let shown = |url: &&str| {
            let begins = ["https://", "http://", "/"].iter().any(|start| url.starts_with(start));
            begins && url.len() <= AVATAR_MAX && url.chars().all(|c| plain(&c) && !c.is_whitespace())
        };
        // One that nobody could see would pass for the name of whoever stands above.
        let name = if shows_something(&name) { name.trim().to_owned() } else { String::new() };
        Self { name, avatar: avatar.filter(shown).map(str::to_owned) }
    }
}

/// What makes a retried request the same one: hashes of its voter with its `Idempotency-Key`, and of its body.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
pub struct RequestKey {
    /// Of the voter and the key.
    pub key: [u8; 16],
    /// Of the body.
    pub body: [u8; 16],
}

/// A comment as it was posted. Settings and word list have decided whether it is held.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct CommentPost {
    /// On which clip.
    pub clip: ClipNo,
    /// The comment that it answers; 0 for none.
    pub parent: Seq,
    /// Its depth: one more than its parent's, 0 without one.
    pub depth: u8,
    /// Who wrote it.
    pub author: VoterId,
    /// Who others see.
    pub profile: Profile,
    /// What it says.
    pub text: String,
    /// It waits for a moderator before others see it.
    pub held: bool,
    /// The request that it came with, if that had a key.
    pub request: Option<RequestKey>,
}

/// Where a comment is: what finds its record. The order is the pages': a clip's comments by their parent.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Encode, Decode)]
pub struct CommentRef {
    /// Its clip.
    pub clip: ClipNo,
    /// The comment that it answers; 0 for none.
    pub parent: Seq,
    /// Its id: the sequence that it was posted at.
    pub id: Seq,
}

/// What happens to a comment after it was posted. The order of the variants is on the disk: append, never reorder.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
pub enum CommentChange {
    /// Deleted by its author, or by a moderator.
    Deleted {
        /// The author; `None`: a moderator.
        by: Option<VoterId>,
    },
    /// Liked by a voter whose like doesn't stand.
    Liked(VoterId),
    /// A like taken back.
    Unliked(VoterId),
    /// Reported by a voter who hasn't before.
    Reported {
        /// Who.
        voter: VoterId,
        /// So many reports hide it.
        hides_at: u32,
    },
    /// A moderator's word.
    Moderated(Verdict),
    /// Its author was erased: it is deleted, if it wasn't, and nothing of them is left.
    Emptied,
    /// A voter was erased: what they did with it counts on, without them.
    Unnamed {
        /// Who.
        voter: VoterId,
        /// What stands of it, as `fold::comments` spells it.
        set: u8,
    },
}

impl CommentChange {
    /// Whether it is refused once the comment is deleted; an erasure leaves nothing out.
    pub fn needs_comment(&self) -> bool {
        !matches!(self, Self::Emptied | Self::Unnamed { .. })
    }

    /// The voter whose ban forbids it; what takes something back is never forbidden.
    pub fn bannable(&self) -> Option<VoterId> {
        match self {
            Self::Liked(voter) | Self::Reported { voter, .. } => Some(*voter),
            Self::Deleted { .. } | Self::Unliked(_) | Self::Moderated(_) | Self::Emptied | Self::Unnamed { .. } => None,
        }
    }
}

/// A moderator's word.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
pub enum Verdict {
    /// Everyone may see it; reports begin anew.
    Approve,
    /// Nobody may.
    Hide,
}

/// Who may see a comment. The order of the variants is on the disk: append, never reorder.
#[derive(
    Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Encode, Decode, serde::Serialize, schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum CommentStatus {
    /// Everyone.
    Visible,
    /// Its author, until a moderator approves it.
    Pending,
    /// Nobody, until a moderator has looked at it: it was reported often enough.
    Reported,
    /// Nobody: a moderator hid it.
    Hidden,
    /// Nobody, for good.
    Deleted,
}

impl CommentStatus {
    /// As answers spell it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Visible => "visible",
            Self::Pending => "pending",
            Self::Reported => "reported",
            Self::Hidden => "hidden",
            Self::Deleted => "deleted",
        }
    }
}

/// What moderators look through. The order of the variants is on the disk: append, never reorder.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Encode, Decode)]
pub enum ModerationQueue {
    /// Held before anyone saw them.
    Pending,
    /// Reported and not looked at since, hidden by that or not yet.
    Reported,
    /// Hidden by a moderator.
    Hidden,
}

impl ModerationQueue {
    /// Reads the contract's `status`.
    pub fn parse(text: &str) -> Result<Self, Reject> {
        match text {
            "pending" => Ok(Self::Pending),
            "reported" => Ok(Self::Reported),
            "hidden" => Ok(Self::Hidden),
            _ => Err(Reject::InvalidParameter { name: "status", why: "pending, reported or hidden".into() }),
        }
    }
}

/// A comment as it stands: what its page keeps.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct Comment {
    /// Where it is.
    pub place: CommentRef,
    /// Its depth, from 0.
    pub depth: u8,
    /// Posted at, Unix milliseconds.
    pub at: u64,
    /// Who wrote it; nobody, once they were erased.
    pub author: VoterId,
    /// Who others see; empty once deleted.
    pub profile: Profile,
    /// What it says; empty once deleted.
    pub text: String,
    /// Who may see it.
    pub status: CommentStatus,
    /// Likes that stand.
    pub likes: u32,
    /// Reports since a moderator last approved it.
    pub reports: u32,
}

impl Comment {
    /// What a post comes to at its sequence.
    pub fn posted(seq: Seq, at: u64, post: &CommentPost) -> Self {
        Self {
            place: CommentRef { clip: post.clip, parent: post.parent, id: seq },
            depth: post.depth,
            at,
            author: post.author,
            profile: post.profile.clone(),
            text: post.text.clone(),
            status: if post.held { CommentStatus::Pending } else { CommentStatus::Visible },
            likes: 0,
            reports: 0,
        }
    }

    /// Takes in a change. Nothing brings a deleted comment back, and what says nothing new changes nothing.
    pub fn take(&mut self, change: &CommentChange) {
        use CommentStatus::{Deleted, Hidden, Reported, Visible};
        if *change == CommentChange::Emptied {
            self.author = VoterId::NOBODY;
        }
        if self.status == Deleted {
            return;
        }
        match change {
            CommentChange::Deleted { .. } | CommentChange::Emptied => {
                self.status = Deleted;
                self.profile = Profile::default();
                self.text = String::new();
            }
            CommentChange::Liked(_) => self.likes = self.likes.saturating_add(1),
            CommentChange::Unliked(_) => self.likes = self.likes.saturating_sub(1),
            CommentChange::Reported { hides_at, .. } => {
                self.reports = self.reports.saturating_add(1);
                if self.status == Visible && self.reports >= *hides_at {
                    self.status = Reported;
                }
            }
            CommentChange::Moderated(Verdict::Approve) => {
                self.status = Visible;
                self.reports = 0;
            }
            CommentChange::Moderated(Verdict::Hide) => self.status = Hidden,
            CommentChange::Unnamed { .. } => {}
        }
    }

    /// Whether everyone may see it, and it counts.
    pub fn is_visible(&self) -> bool {
        self.status == CommentStatus::Visible
    }

    /// The queue that moderators find it in.
    pub fn queue(&self) -> Option<ModerationQueue> {
        match self.status {
            CommentStatus::Pending => Some(ModerationQueue::Pending),
            CommentStatus::Reported => Some(ModerationQueue::Reported),
            CommentStatus::Visible if self.reports > 0 => Some(ModerationQueue::Reported),
            CommentStatus::Hidden => Some(ModerationQueue::Hidden),
            CommentStatus::Visible | CommentStatus::Deleted => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_trimmed_composed_and_bounded_by_characters() {
        assert_eq!(CommentText::new("  e\u{301}t\u{e9} ").unwrap().as_str(), "\u{e9}t\u{e9}");
        assert!(CommentText::new(&"\u{1f600}".repeat(500)).is_ok());
        assert!(CommentText::new(&"e\u{301}".repeat(500)).is_ok(), "500 characters once composed");
        for bad in ["", "   ", &"x".repeat(501), &"x".repeat(100_000)] {
            assert!(CommentText::new(bad).is_err());
        }
    }

    #[test]
    fn a_text_can_neither_control_nor_turn() {
        for bad in ["a\u{0}b", "a\nb", "a\u{7f}", "a\u{85}b", "\u{202e}abc", "a\u{2066}b", "a\u{2069}b", "a\u{202a}b"] {
            assert!(CommentText::new(bad).is_err(), "{bad:?}");
        }
        for line in ["a\u{2028}b", "a\u{2029}b"] {
            assert!(CommentText::new(line).is_err(), "{line:?}");
        }
        for good in ["<b>not HTML</b>", "\u{645}\u{631}\u{62d}\u{628}\u{627}", "a\u{200d}b"] {
            assert_eq!(CommentText::new(good).unwrap().as_str(), good);
        }
    }

    #[test]
    fn a_text_has_something_to_read() {
        for blank in
            ["\u{200b}", "\u{feff} \u{2060}", "\u{ad}\u{200d}", "\u{3164}", "\u{115f}\u{1160}", "\u{e0020}", "\u{fe0f}"]
        {
            assert!(CommentText::new(blank).is_err(), "{blank:?}");
        }
        // What shapes others stays among them.
        let family = "\u{1f468}\u{200d}\u{1f469}\u{fe0f}";
        assert_eq!(CommentText::new(family).unwrap().as_str(), family);
    }

    #[test]
    fn a_profile_is_cut_to_what_can_be_shown() {
        assert_eq!(Profile::cut(Some("\u{200b}\u{2060}"), None).name, "", "a name of nothing is none");
        assert_eq!(Profile::cut(Some("A\u{2028}da"), None).name, "Ada");
        let cut = Profile::cut(Some(" A\u{202e}da\n "), Some("https://example.org/a.png"));
        assert_eq!((cut.name.as_str(), cut.avatar.as_deref()), ("Ada", Some("https://example.org/a.png")));
        assert_eq!(Profile::cut(Some(&"x".repeat(300)), None).name.len(), 100);
        for odd in ["javascript:alert(1)", "https://a b", &format!("https://{}", "x".repeat(500))] {
            assert_eq!(Profile::cut(None, Some(odd)), Profile::default(), "{odd}");
        }
    }

    fn comment() -> Comment {
        let post = CommentPost {
            clip: ClipNo(1),
            parent: 0,
            depth: 0,
            author: VoterId([1; 16]),
            profile: Profile::cut(Some("Ada"), None),
            text: "hello".into(),
            held: false,
            request: None,
        };
        Comment::posted(7, 100, &post)
    }

    #[test]
    fn reports_hide_a_comment_until_a_moderator_has_looked() {
        let mut comment = comment();
        let report = |n: u8| CommentChange::Reported { voter: VoterId([n; 16]), hides_at: 2 };
        comment.take(&report(1));
        assert_eq!((comment.status, comment.queue()), (CommentStatus::Visible, Some(ModerationQueue::Reported)));
        comment.take(&report(2));
        assert_eq!((comment.status, comment.queue()), (CommentStatus::Reported, Some(ModerationQueue::Reported)));
        comment.take(&CommentChange::Moderated(Verdict::Approve));
        assert_eq!((comment.status, comment.queue(), comment.reports), (CommentStatus::Visible, None, 0));
        comment.take(&report(3));
        assert!(comment.is_visible(), "reports begin anew");
        comment.take(&CommentChange::Moderated(Verdict::Hide));
        assert_eq!(comment.queue(), Some(ModerationQueue::Hidden));
    }

    #[test]
    fn nothing_brings_a_deleted_comment_back() {
        let mut comment = comment();
        comment.take(&CommentChange::Liked(VoterId([2; 16])));
        comment.take(&CommentChange::Deleted { by: None });
        let deleted = comment.clone();
        assert_eq!((deleted.text.as_str(), deleted.profile.name.as_str(), deleted.likes), ("", "", 1));
        comment.take(&CommentChange::Moderated(Verdict::Approve));
        comment.take(&CommentChange::Liked(VoterId([3; 16])));
        assert_eq!(comment, deleted);
    }
}
