//! The envelope of every stored record, and the one place that names bincode.
//!
//! ```text
//! 0   "Pl"               magic
//! 2   version            of the format and of the fold that wrote it
//! 3   kind
//! 4   length of the body u32, big-endian
//! 8   checksum           first 16 bytes of H
//! 24  body               bincode 2: little-endian varints, no type names
//! ```
//!
//! `H = BLAKE3(bytes 0..8 ‖ length of the key, one byte ‖ key ‖ body)`, so that a record under another's key is as
//! wrong as a changed one. The log chains on the whole of H. The checksum is looked at before anything is decoded:
//! bincode alone reads nearly half of all damaged records without complaint.

pub mod varint;

use bincode::config::{Configuration, Limit, LittleEndian, Varint};
use bincode::{Decode, Encode};

use crate::error::Fault;

/// The format that this program writes, and the newest that it reads.
pub const VERSION: u8 = 1;

/// Bytes in front of the body.
pub const HEADER: usize = 24;

/// The hash of a record; the log's records name their predecessor's.
pub type Chain = [u8; 32];

/// What a record is. The numbers are on the disk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Kind {
    /// A batch of events, in the log.
    LogBlock = 1,
    /// Votes and retractions of one slot, in log order.
    BallotBlock = 2,
    /// Counts of neighbouring clips.
    Totals = 3,
    /// Neighbouring seasons.
    Seasons = 4,
    /// One slot's life, as the first programs wrote it.
    FirstSlot = 5,
    /// Neighbouring clips.
    Clips = 6,
    /// Bans of voters whose ids begin alike.
    Bans = 7,
    /// How far the tables contain the log.
    Mark = 8,
    /// A range of a clip's comments, by their parent.
    Comments = 9,
    /// Where comments are, by their ids.
    CommentIds = 10,
    /// Voters' likes and reports of comments.
    Marks = 11,
    /// Siblings by their likes.
    Ranks = 12,
    /// Comments that moderators look through.
    Queue = 13,
    /// Counts of comments' replies.
    Replies = 14,
    /// Counts of neighbouring clips' comments.
    CommentCounts = 15,
    /// A part of a closed slot's sorted ballots.
    Sorted = 16,
    /// How a slot closed: what its certificate rests on.
    Closing = 17,
    /// Neighbouring clips' votes by the minute.
    Timeline = 18,
    /// One slot's life.
    Slot = 20,
    /// What is known of a void.
    Void = 21,
    /// Some of the votes that a void names.
    NamedVotes = 22,
    /// Votes that were taken back while they were under a void, or while one was under way.
    TakenBack = 23,
    /// What is known of a voter's erasure.
    Erasure = 24,
}

impl Kind {
    /// The kinds that this program knows.
    pub const ALL: [Self; 23] = [
        Self::LogBlock,
        Self::BallotBlock,
        Self::Totals,
        Self::Seasons,
        Self::FirstSlot,
        Self::Clips,
        Self::Bans,
        Self::Mark,
        Self::Comments,
        Self::CommentIds,
        Self::Marks,
        Self::Ranks,
        Self::Queue,
        Self::Replies,
        Self::CommentCounts,
        Self::Sorted,
        Self::Closing,
        Self::Timeline,
        Self::Slot,
        Self::Void,
        Self::NamedVotes,
        Self::TakenBack,
        Self::Erasure,
    ];

    /// The kind with that number; `None` for one that this program does not know.
    pub fn of(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| *kind as u8 == number)
    }

    /// What its records hold, for people.
    pub fn name(self) -> &'static str {
        match self {
            Self::LogBlock => "events",
            Self::BallotBlock => "ballots",
            Self::Totals => "counts of votes",
            Self::Seasons => "seasons",
            Self::FirstSlot => "slots in their first form",
            Self::Clips => "clips",
            Self::Bans => "bans",
            Self::Mark => "the mark",
            Self::Comments => "comments",
            Self::CommentIds => "comments' places",
            Self::Marks => "likes and reports",
            Self::Ranks => "comments by likes",
            Self::Queue => "moderators' queue",
            Self::Replies => "counts of replies",
            Self::CommentCounts => "counts of comments",
            Self::Sorted => "sorted ballots",
            Self::Closing => "how slots closed",
            Self::Timeline => "votes by the minute",
            Self::Slot => "slots",
            Self::Void => "voids",
            Self::NamedVotes => "votes under voids",
            Self::TakenBack => "votes taken back under voids",
            Self::Erasure => "erasures",
        }
    }
}

// Decoding stops at twice the largest record: a length inside a damaged one must not allocate without end.
const CONFIG: Configuration<LittleEndian, Varint, Limit<{ 128 * 1024 }>> =
    bincode::config::standard().with_limit::<{ 128 * 1024 }>();

/// Appends a value to a body under construction.
pub fn put<T: Encode>(value: &T, body: &mut Vec<u8>) {
    bincode::encode_into_std_write(value, body, CONFIG).expect("a value within its bounds encodes into memory");
}

/// Takes a value off the front of a body; `None` if the bytes aren't one.
pub fn take<T: Decode<()>>(body: &mut &[u8]) -> Option<T> {
    let (value, used) = bincode::decode_from_slice(body, CONFIG).ok()?;
    *body = &body[used..];
    Some(value)
}

/// A record under construction: the envelope's place, then whatever is [`put`] into it.
pub fn begin(record: &mut Vec<u8>) {
    record.clear();
    record.resize(HEADER, 0);
}

/// Fills in the envelope of a record that [`begin`] began; gives H.
pub fn seal(kind: Kind, key: &[u8], record: &mut [u8]) -> Chain {
    let length = u32::try_from(record.len() - HEADER).expect("a record is at most 64 KiB");
    record[..4].copy_from_slice(&[b'P', b'l', VERSION, kind as u8]);
    record[4..8].copy_from_slice(&length.to_be_bytes());
    let hash = hash(key, record);
    record[8..HEADER].copy_from_slice(&hash[..16]);
    hash
}

/// A whole record of one value.
pub fn record<T: Encode>(kind: Kind, key: &[u8], value: &T) -> Vec<u8> {
    let mut record = Vec::with_capacity(256);
    begin(&mut record);
    put(value, &mut record);
    seal(kind, key, &mut record);
    record
}

/// The version and the kind's number that a record names, neither of them checked; `None` if it does not begin as a record does.
pub fn named(record: &[u8]) -> Option<(u8, u8)> {
    if record.len() < HEADER || record[..2] != *b"Pl" {
        return None;
    }
    Some((record[2], record[3]))
}

/// Checks a record of whatever kind: its length, its checksum, its version.
pub fn check(tree: &'static str, key: &[u8], record: &[u8]) -> Result<(), Fault> {
    envelope(tree, key, record).map(drop)
}

/// Checks a record's envelope; gives its body and H.
pub fn open<'a>(tree: &'static str, kind: Kind, key: &[u8], record: &'a [u8]) -> Result<(&'a [u8], Chain), Fault> {
    let hash = envelope(tree, key, record)?;
    if record[3] != kind as u8 {
        return Err(Fault::damaged(tree, key, "it is of another kind"));
    }
    Ok((&record[HEADER..], hash))
}

fn envelope(tree: &'static str, key: &[u8], record: &[u8]) -> Result<Chain, Fault> {
    let damaged = |why: &str| Fault::damaged(tree, key, why);
    if record.len() < HEADER || record[..2] != *b"Pl" {
        return Err(damaged("it does not begin as a record does"));
    }
    let length = u32::from_be_bytes(record[4..8].try_into().expect("4 bytes"));
    if record.len() - HEADER != length as usize {
        return Err(damaged("it is cut or has grown"));
    }
    let hash = hash(key, record);
    if record[8..HEADER] != hash[..16] {
        return Err(damaged("its checksum does not match"));
    }
    // After the checksum: a version that can be trusted to have been written deserves its own message.
    if record[2] == 0 || record[2] > VERSION {
        return Err(Fault::WrongVersion { found: record[2], readable: VERSION });
    }
    Ok(hash)
}

/// Checks and decodes a record of one value.
pub fn read<T: Decode<()>>(tree: &'static str, kind: Kind, key: &[u8], record: &[u8]) -> Result<T, Fault> {
    let (mut body, _) = open(tree, kind, key, record)?;
    match take(&mut body) {
        Some(value) if body.is_empty() => Ok(value),
        _ => Err(Fault::damaged(tree, key, "its checksum matches and its content does not decode")),
    }
}

fn hash(key: &[u8], record: &[u8]) -> Chain {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&record[..8]);
    hasher.update(&[u8::try_from(key.len()).expect("keys are short")]);
    hasher.update(key);
    hasher.update(&record[HEADER..]);
    hasher.finalize().into()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_was_written_is_read(key in prop::collection::vec(any::<u8>(), 0..20), value: (u64, String, i16)) {
            let bytes = record(Kind::Slot, &key, &value);
            prop_assert_eq!(read::<(u64, String, i16)>("tables", Kind::Slot, &key, &bytes).unwrap(), value);
        }

        #[test]
        fn no_changed_bit_and_no_cut_is_read(value: (u64, String), at: prop::sample::Index, bit in 0_u8..8) {
            let bytes = record(Kind::Slot, b"k", &value);
            let mut changed = bytes.clone();
            changed[at.index(bytes.len())] ^= 1 << bit;
            prop_assert!(read::<(u64, String)>("tables", Kind::Slot, b"k", &changed).is_err());
            prop_assert!(read::<(u64, String)>("tables", Kind::Slot, b"k", &bytes[..at.index(bytes.len())]).is_err());
        }
    }

    #[test]
    fn a_record_under_another_key_or_kind_is_refused() {
        let bytes = record(Kind::Slot, b"a", &1_u8);
        assert!(read::<u8>("tables", Kind::Slot, b"b", &bytes).is_err());
        assert!(read::<u8>("tables", Kind::Bans, b"a", &bytes).is_err());
    }

    #[test]
    fn a_newer_format_is_named() {
        let mut bytes = record(Kind::Slot, b"a", &1_u8);
        bytes[2] = VERSION + 1;
        let hash = hash(b"a", &bytes);
        bytes[8..HEADER].copy_from_slice(&hash[..16]);
        let found = read::<u8>("tables", Kind::Slot, b"a", &bytes);
        assert!(matches!(found, Err(Fault::WrongVersion { found: 2, readable: 1 })), "{found:?}");
    }
}
