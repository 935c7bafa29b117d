//! The two kinds of failure: [`Reject`], the caller's, and [`Fault`], ours.
//!
//! A `Reject` carries the code that HTTP shows and changes nothing. A `Fault` is latched, logged and counted by
//! whoever meets it first; on a request's path it reaches the caller as [`Reject::StorageFailed`].

use std::fmt;
use std::path::PathBuf;

/// Why a request was not carried out. Nothing has changed when one of these is returned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reject {
    /// The body names no clip.
    MissingClipId,
    /// The body is not the JSON that the route takes; says what is wrong with it.
    InvalidJson(String),
    /// `voteType` is none of the configured kinds.
    InvalidVoteType,
    /// A value of the query, the path or the body doesn't parse.
    InvalidParameter {
        /// The parameter, as the caller wrote it.
        name: &'static str,
        /// What would be right.
        why: String,
    },
    /// The clip's slot is frozen or locked.
    VotingClosed,
    /// The clip's slot isn't open; another slot of its season is.
    WrongSlot,
    /// No slot of the clip's season is open.
    NoActiveSlot,
    /// The bearer token isn't valid; says why, without the token.
    InvalidToken(&'static str),
    /// An app's call isn't signed as it must be; says what, and not what would be right.
    InvalidSignature(&'static str),
    /// The route's own secret is missing or wrong.
    Unauthorized,
    /// The voter is banned, until a time in Unix milliseconds if there is one.
    Banned {
        /// The end of the ban in Unix milliseconds; `None`: until it is lifted.
        until: Option<u64>,
    },
    /// The device's first vote needs what it solved of the site's challenge.
    ChallengeRequired,
    /// The device did not pass the site's challenge.
    ChallengeFailed {
        /// Nobody could say: seconds until it is worth trying again.
        retry_after_s: Option<u64>,
    },
    /// The route is for signed-in voters.
    NotSignedIn,
    /// The comment is another's.
    NotYours,
    /// The app is switched off.
    AppDisabled,
    /// The clip is the voter's own.
    SelfVote,
    /// There is no such clip.
    ClipNotFound,
    /// There is no such slot.
    SlotNotFound,
    /// The voter has no vote for that clip.
    NotVoted,
    /// There is no such route or thing.
    NotFound,
    /// The route exists and doesn't take this method; these it takes.
    MethodNotAllowed {
        /// The methods for the `Allow` header, comma-separated.
        allow: &'static str,
    },
    /// The voter's vote for the clip of that id stands, on disk.
    AlreadyVoted(String),
    /// The state of the season, slot or clip forbids it.
    WrongState {
        /// The state that it is in.
        state: &'static str,
        /// What forbids it, for a person.
        why: String,
    },
    /// A request with this idempotency key is under way.
    RequestInFlight,
    /// The idempotency key was used with another body.
    IdempotencyKeyReused,
    /// The request took too long to arrive.
    RequestTimeout,
    /// The body is larger than the limit, in bytes.
    BodyTooLarge {
        /// The limit in bytes.
        limit: usize,
    },
    /// The body isn't `application/json`.
    UnsupportedMediaType,
    /// Too many requests.
    RateLimited {
        /// Seconds until the next one can pass, at least 1.
        retry_after_s: u64,
    },
    /// The vote's weight is more than what is left of today's limit.
    DailyLimit {
        /// Weight that is left today.
        remaining: u32,
        /// The next UTC midnight in Unix milliseconds.
        reset_at: u64,
    },
    /// What is asked for isn't there yet, or not any more until a restart.
    NotReady {
        /// What it waits for.
        why: &'static str,
    },
    /// A bounded queue or map is full; nothing was kept.
    Overloaded,
    /// The store has failed: no write is taken until a restart.
    StorageFailed,
}

impl Reject {
    /// The code of the contract, as it stands in answers' `error` field.
    pub fn code(&self) -> &'static str {
        match self {
            Self::MissingClipId => "MISSING_CLIP_ID",
            Self::InvalidJson(_) => "INVALID_JSON",
            Self::InvalidVoteType => "INVALID_VOTE_TYPE",
            Self::InvalidParameter { .. } => "INVALID_PARAMETER",
            Self::VotingClosed => "VOTING_CLOSED",
            Self::WrongSlot => "WRONG_SLOT",
            Self::NoActiveSlot => "NO_ACTIVE_SLOT",
            Self::InvalidToken(_) => "INVALID_TOKEN",
            Self::InvalidSignature(_) => "INVALID_SIGNATURE",
            Self::Unauthorized | Self::NotSignedIn => "UNAUTHORIZED",
            Self::Banned { .. } => "BANNED",
            Self::ChallengeRequired => "CHALLENGE_REQUIRED",
            Self::ChallengeFailed { .. } => "CHALLENGE_FAILED",
            Self::NotYours | Self::AppDisabled => "FORBIDDEN",
            Self::SelfVote => "SELF_VOTE",
            Self::ClipNotFound => "CLIP_NOT_FOUND",
            Self::SlotNotFound => "SLOT_NOT_FOUND",
            Self::NotVoted => "NOT_VOTED",
            Self::NotFound => "NOT_FOUND",
            Self::MethodNotAllowed { .. } => "METHOD_NOT_ALLOWED",
            Self::AlreadyVoted(_) => "ALREADY_VOTED",
            Self::WrongState { .. } => "WRONG_STATE",
            Self::RequestInFlight => "REQUEST_IN_FLIGHT",
            Self::IdempotencyKeyReused => "IDEMPOTENCY_KEY_REUSED",
            Self::RequestTimeout => "REQUEST_TIMEOUT",
            Self::BodyTooLarge { .. } => "BODY_TOO_LARGE",
            Self::UnsupportedMediaType => "UNSUPPORTED_MEDIA_TYPE",
            Self::RateLimited { .. } => "RATE_LIMITED",
            Self::DailyLimit { .. } => "DAILY_LIMIT",
            Self::NotReady { .. } => "NOT_READY",
            Self::Overloaded => "OVERLOADED",
            Self::StorageFailed => "STORAGE_FAILED",
        }
    }
}

impl fmt::Display for Reject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MissingClipId => f.write_str("the body must name the clip in \"clipId\""),
            Self::InvalidJson(why) => write!(f, "the body is not the JSON expected here: {why}"),
            Self::InvalidVoteType => f.write_str("voteType must be standard, super or mega"),
            Self::InvalidParameter { name, why } => write!(f, "{name}: {why}"),
            Self::VotingClosed => f.write_str("voting for this clip's slot has closed"),
            Self::WrongSlot => f.write_str("another slot of this season is open for voting"),
            Self::NoActiveSlot => f.write_str("no slot is open for voting"),
            Self::InvalidToken(why) => write!(f, "the bearer token is not valid: {why}"),
            Self::InvalidSignature(why) => write!(f, "the call is not signed: {why}"),
            Self::Unauthorized => f.write_str("this route needs its own bearer secret"),
            Self::Banned { until: None } => f.write_str("this voter is banned"),
            Self::Banned { until: Some(at) } => write!(f, "this voter is banned until {at} (Unix ms)"),
            Self::ChallengeRequired => {
                f.write_str("solve the site's challenge and send its token in X-Challenge-Token")
            }
            Self::ChallengeFailed { retry_after_s: None } => f.write_str("the site's challenge was not passed"),
            Self::ChallengeFailed { retry_after_s: Some(wait) } => {
                write!(f, "the site's challenge can't be checked now, try again in {wait} s")
            }
            Self::NotSignedIn => f.write_str("sign in first: this needs a voter's token"),
            Self::NotYours => f.write_str("this comment is another's"),
            Self::AppDisabled => f.write_str("this app is switched off"),
            Self::SelfVote => f.write_str("nobody votes for their own clip"),
            Self::ClipNotFound => f.write_str("there is no such clip"),
            Self::SlotNotFound => f.write_str("there is no such slot"),
            Self::NotVoted => f.write_str("there is no vote of yours for this clip"),
            Self::NotFound => f.write_str("there is nothing here"),
            Self::MethodNotAllowed { allow } => write!(f, "this route takes {allow}"),
            Self::AlreadyVoted(clip) => write!(f, "your vote for {clip} stands already"),
            Self::WrongState { why, .. } => f.write_str(why),
            Self::RequestInFlight => f.write_str("a request with this Idempotency-Key is under way"),
            Self::IdempotencyKeyReused => f.write_str("this Idempotency-Key was used with another body"),
            Self::RequestTimeout => f.write_str("the request took too long to arrive"),
            Self::BodyTooLarge { limit } => write!(f, "the body is over {limit} bytes"),
            Self::UnsupportedMediaType => f.write_str("the body must be application/json"),
            Self::RateLimited { retry_after_s } => write!(f, "too many requests, try again in {retry_after_s} s"),
            Self::DailyLimit { remaining, .. } => {
                write!(f, "today's limit leaves a weight of {remaining}, too little for this vote")
            }
            Self::NotReady { why } => f.write_str(why),
            Self::Overloaded => f.write_str("the server is at its bound, try again in a moment"),
            Self::StorageFailed => f.write_str("the store has failed, no write is taken until a restart"),
        }
    }
}

impl std::error::Error for Reject {}

/// A failure of ours, or of the disk beneath us. Its text says what an operator can do.
#[derive(Debug, Clone)]
pub enum Fault {
    /// The operating system refused something outside the store's trees.
    Io {
        /// What was being done, as "reading /path".
        doing: String,
        /// The system's own words.
        why: String,
    },
    /// The store refused a read, a write or a flush.
    Storage {
        /// `log` or `tables`.
        tree: &'static str,
        /// What was being done.
        doing: &'static str,
        /// The store's own words.
        why: String,
    },
    /// A record on disk isn't what was written.
    Damaged {
        /// `log` or `tables`.
        tree: &'static str,
        /// The record's key, in hex.
        key: String,
        /// What is wrong with it.
        why: String,
    },
    /// The records contradict each other, or the marker file.
    Inconsistent {
        /// What contradicts what, and what can be done.
        why: String,
    },
    /// A record was written by a version that this one can't read.
    WrongVersion {
        /// What the record says.
        found: u8,
        /// The newest that this program reads.
        readable: u8,
    },
    /// Another process holds the data directory.
    InUse(PathBuf),
    /// There is no store in that directory.
    NoStore(PathBuf),
    /// Flushes can't be made durable on this system.
    NotDurable(String),
    /// An earlier failure was latched: no write until a restart.
    Latched(String),
    /// A setting, or two of them together, can't be used.
    Setting(String),
}

impl Fault {
    /// An [`Fault::Io`] from an operating-system error.
    pub fn io(doing: impl Into<String>, why: &std::io::Error) -> Self {
        Self::Io { doing: doing.into(), why: why.to_string() }
    }

    /// A [`Fault::Damaged`] with its key in hex.
    pub fn damaged(tree: &'static str, key: &[u8], why: impl Into<String>) -> Self {
        let key = key.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"));
        Self::Damaged { tree, key, why: why.into() }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io { doing, why } => write!(f, "{doing}: {why}"),
            Self::Storage { tree, doing, why } => write!(f, "the store's {tree}, {doing}: {why}"),
            Self::Damaged { tree, key, why } => write!(
                f,
                "damaged record in {tree}, key {key}: {why}. Nothing was changed. \
                 Restore a backup, or work on a copy of the directory"
            ),
            Self::Inconsistent { why } => write!(f, "the store contradicts itself: {why}. Nothing was changed"),
            Self::WrongVersion { found, readable } => write!(
                f,
                "a record has format version {found}, this program reads up to {readable}: \
                 use the version of plaudit that wrote it, or a newer one"
            ),
            Self::InUse(path) => write!(f, "{} is in use by another process: stop it first", path.display()),
            Self::NoStore(path) => write!(f, "there is no store in {}: `plaudit serve` makes one", path.display()),
            Self::NotDurable(why) => {
                write!(f, "flushes can't be made durable here ({why}); --ack memory runs without that promise")
            }
            Self::Latched(why) => write!(f, "writes stopped after an earlier failure: {why}"),
            Self::Setting(why) => f.write_str(why),
        }
    }
}

impl std::error::Error for Fault {}
