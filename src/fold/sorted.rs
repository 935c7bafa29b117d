//! The ballots of a closed slot, voter by voter: pages that take the place of its blocks, and what its certificate rests on.
//!
//! ```text
//! x ‖ slot u32 ‖ generation u32 ‖ part u8 ‖ number u32      (big-endian)
//!   part 0    256 ballots, the last page fewer, in the order of c (see `merkle`), then sequence:
//!             entries u16, then of each: tag (0..=2: a vote of that kind; 16 more when its voter was erased, 32 more
//!             when its origin is known),
//!             voter 16 bytes, or c 32 bytes in its place; sequence, time, day, each less the one before (zigzag);
//!             clip, weight                                                                   (varints);
//!             the origin if it is known: risk, one byte, and the network's hash, 8 bytes
//!   part 1    the roots of 1,024 pages of part 0, the last page fewer; part 2: of 1,024 pages of part 1; and so on up to the
//!             first part that would hold one hash alone, which is the tree's root
//!   part 255  counts of clips that have votes: clip, votes, weight; by clip
//! z ‖ slot u32      the freeze, and once they are whole the pages' generation, leaves and root
//! ```
//!
//! A vote and its retraction are both left out: they add nothing to any count or budget.

use bincode::{Decode, Encode};

use super::keys;
use super::records::SlotRecord;
use crate::codec::{self, Chain, Kind, varint};
use crate::domain::{ClipNo, Day, NetworkHash, Origin, Seq, VoteKind, VoterId};
use crate::error::Fault;

/// Ballots of a page: a power of two, so that a page's root is a node of the tree.
pub const BALLOTS_A_PAGE: usize = 256;
/// Hashes of a page: a power of two, and 32 KiB.
pub const HASHES_A_PAGE: usize = 1024;
/// Counts of a page.
pub const COUNTS_A_PAGE: usize = 2048;
/// The part that holds ballots; those behind it hold hashes.
pub const BALLOTS: u8 = 0;
/// The part that holds counts.
pub const COUNTS: u8 = u8::MAX;
const ERASED: u8 = 16;
const WITH_ORIGIN: u8 = 32;

/// Whose ballot it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Who {
    /// This voter's.
    Voter(VoterId),
    /// One's who was erased: their `c`, by which the leaf is still computed.
    Erased([u8; 32]),
}

impl Who {
    /// Something that is one and the same for all of a voter's ballots in the slot: of one who was erased, half of `c`.
    pub fn id(self) -> VoterId {
        match self {
            Self::Voter(voter) => voter,
            Self::Erased(c) => VoterId(c[..16].try_into().expect("16 of 32 bytes")),
        }
    }
}

/// A vote that stands, in its place among the sorted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sorted {
    /// Who.
    pub who: Who,
    /// Its sequence.
    pub seq: Seq,
    /// When, Unix milliseconds.
    pub at: u64,
    /// For which clip.
    pub clip: ClipNo,
    /// Of which kind.
    pub kind: VoteKind,
    /// What it weighs.
    pub weight: u16,
    /// The day it is charged to.
    pub day: Day,
    /// Where it came from. In no leaf.
    pub origin: Origin,
}

/// The log's block that holds a freeze.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
pub struct FreezeBlock {
    /// Its first sequence.
    pub first: Seq,
    /// Its last.
    pub last: Seq,
    /// Its hash.
    pub chain: Chain,
}

/// Pages that are whole.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
pub struct SortedPages {
    /// Their generation.
    pub generation: u32,
    /// How many ballots they hold.
    pub leaves: u64,
    /// The root over them.
    pub root: [u8; 32],
    /// The latest day that a vote of the slot was charged to, retracted ones included: a start needs no page to know it.
    pub max_day: Day,
}

/// How a slot closed. About its last freeze: one that opens again and freezes anew gets another.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
pub struct Closing {
    /// The freeze's sequence.
    pub freeze: Seq,
    /// Where the log has it; `None`: it was frozen before this was kept.
    pub block: Option<FreezeBlock>,
    /// The pages; `None` until they are whole.
    pub sorted: Option<SortedPages>,
}

impl Closing {
    /// The pages that stand for the slot's blocks: those of its last freeze, once it is locked. Until then it may open again.
    pub fn pages_of(self, slot: &SlotRecord) -> Option<SortedPages> {
        let locked = slot.status() == crate::domain::SlotStatus::Locked;
        self.sorted.filter(|_| locked && slot.freeze() == Some(self.freeze))
    }
}

/// A page of hashes.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct Hashes(pub Vec<[u8; 32]>);

/// A page of counts: clip, votes, weight.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct Counts(pub Vec<(ClipNo, u64, u64)>);

/// The record of a page of ballots.
pub fn page(key: &[u8], ballots: &[Sorted]) -> Vec<u8> {
    let mut record = Vec::with_capacity(codec::HEADER + 8 + ballots.len() * 40);
    codec::begin(&mut record);
    codec::put(&u16::try_from(ballots.len()).expect("a page is small"), &mut record);
    let mut before = (0_i64, 0_i64, 0_i64);
    for ballot in ballots {
        let tag = match ballot.kind {
            VoteKind::Standard => 0_u8,
            VoteKind::Super => 1,
            VoteKind::Mega => 2,
        };
        let known = ballot.origin != Origin::default();
        let tag = if known { tag + WITH_ORIGIN } else { tag };
        match ballot.who {
            Who::Voter(voter) => {
                record.push(tag);
                record.extend_from_slice(&voter.0);
            }
            Who::Erased(c) => {
                record.push(tag + ERASED);
                record.extend_from_slice(&c);
            }
        }
        let now = (ballot.seq.cast_signed(), ballot.at.cast_signed(), i64::from(ballot.day));
        varint::put_signed(now.0.wrapping_sub(before.0), &mut record);
        varint::put_signed(now.1.wrapping_sub(before.1), &mut record);
        varint::put_signed(now.2 - before.2, &mut record);
        varint::put(u64::from(ballot.clip.0), &mut record);
        varint::put(u64::from(ballot.weight), &mut record);
        if known {
            record.push(ballot.origin.risk);
            record.extend_from_slice(&ballot.origin.network.bytes());
        }
        before = now;
    }
    codec::seal(Kind::Sorted, key, &mut record);
    record
}

/// Reads a page of ballots.
pub fn read(key: &[u8], record: &[u8]) -> Result<Vec<Sorted>, Fault> {
    let (mut body, _) = codec::open("tables", Kind::Sorted, key, record)?;
    let ballots = take_all(&mut body).filter(|_| body.is_empty());
    ballots.ok_or_else(|| Fault::damaged("tables", key, "its ballots do not decode"))
}

fn take_all(body: &mut &[u8]) -> Option<Vec<Sorted>> {
    let entries: u16 = codec::take(body)?;
    let mut ballots = Vec::with_capacity(usize::from(entries).min(BALLOTS_A_PAGE));
    let mut before = (0_i64, 0_i64, 0_i32);
    for _ in 0..entries {
        let [tag] = varint::take_bytes(body)?;
        let who = if tag & ERASED == 0 {
            Who::Voter(VoterId(varint::take_bytes(body)?))
        } else {
            Who::Erased(varint::take_bytes(body)?)
        };
        let kind = match tag & !(ERASED | WITH_ORIGIN) {
            0 => VoteKind::Standard,
            1 => VoteKind::Super,
            2 => VoteKind::Mega,
            _ => return None,
        };
        before.0 = before.0.wrapping_add(varint::take_i64(body)?);
        before.1 = before.1.wrapping_add(varint::take_i64(body)?);
        before.2 = before.2.checked_add(varint::take_i32(body)?)?;
        let (clip, weight) = (ClipNo(varint::take_u32(body)?), varint::take_u16(body)?);
        let (seq, at, day) = (before.0.cast_unsigned(), before.1.cast_unsigned(), Day::try_from(before.2).ok()?);
        let origin = if tag & WITH_ORIGIN == 0 {
            Origin::default()
        } else {
            let [risk] = varint::take_bytes(body)?;
            Origin { risk, network: NetworkHash::of(varint::take_bytes(body)?) }
        };
        ballots.push(Sorted { who, seq, at, clip, kind, weight, day, origin });
    }
    Some(ballots)
}

/// The generation that a page's key names.
pub fn generation_of(key: &[u8]) -> Result<u32, Fault> {
    let bytes = key.get(5..9).and_then(|bytes| <[u8; 4]>::try_from(bytes).ok());
    let whole = bytes.filter(|_| key.len() == keys::sorted(crate::domain::SlotNo(0), 0, 0, 0).len());
    whole.map(u32::from_be_bytes).ok_or_else(|| Fault::damaged("tables", key, "its key has the wrong length"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::SlotNo;

    fn ballots() -> impl Strategy<Value = Vec<Sorted>> {
        let ballot = (
            any::<(bool, [u8; 32])>(),
            any::<u64>(),
            any::<u64>(),
            0_u32..70_000,
            0_usize..3,
            any::<u16>(),
            any::<u16>(),
            prop_oneof![Just((0, [0; 8])), any::<(u8, [u8; 8])>()],
        );
        let ballot = ballot.prop_map(|((erased, id), seq, at, clip, kind, weight, day, (risk, network))| Sorted {
            who: if erased {
                Who::Erased(id)
            } else {
                Who::Voter(VoterId(id[..16].try_into().expect("16 of 32 bytes")))
            },
            seq,
            at,
            clip: ClipNo(clip),
            kind: [VoteKind::Standard, VoteKind::Super, VoteKind::Mega][kind],
            weight,
            day,
            origin: Origin { risk, network: NetworkHash::of(network) },
        });
        prop::collection::vec(ballot, 0..BALLOTS_A_PAGE)
    }

    proptest! {
        #[test]
        fn a_page_reads_back(ballots in ballots()) {
            let key = keys::sorted(SlotNo(3), 7, BALLOTS, 9);
            let record = page(&key, &ballots);
            prop_assert!(record.len() <= crate::store::VALUE_MAX);
            prop_assert_eq!(read(&key, &record).unwrap(), ballots);
            prop_assert_eq!(generation_of(&key).unwrap(), 7);
        }
    }

    /// The layout in the file's page, by nothing but the codec.
    fn by_the_codec(key: &[u8], ballots: &[Sorted]) -> Vec<u8> {
        let mut record = Vec::new();
        codec::begin(&mut record);
        codec::put(&u16::try_from(ballots.len()).unwrap(), &mut record);
        let mut before = (0_i64, 0_i64, 0_i32);
        for ballot in ballots {
            let kind = match ballot.kind {
                VoteKind::Standard => 0_u8,
                VoteKind::Super => 1,
                VoteKind::Mega => 2,
            };
            let known = ballot.origin != Origin::default();
            let tag = if known { kind + 32 } else { kind };
            match ballot.who {
                Who::Voter(voter) => codec::put(&(tag, voter), &mut record),
                Who::Erased(c) => codec::put(&(tag + 16, c), &mut record),
            }
            let now = (ballot.seq.cast_signed(), ballot.at.cast_signed(), i32::from(ballot.day));
            let steps = (now.0.wrapping_sub(before.0), now.1.wrapping_sub(before.1), now.2 - before.2);
            codec::put(&(steps, ballot.clip, ballot.weight), &mut record);
            if known {
                codec::put(&ballot.origin, &mut record);
            }
            before = now;
        }
        codec::seal(Kind::Sorted, key, &mut record);
        record
    }

    proptest! {
        #[test]
        fn a_page_is_byte_for_byte_as_the_codec_writes_it(ballots in ballots()) {
            let key = keys::sorted(SlotNo(3), 7, BALLOTS, 9);
            prop_assert_eq!(page(&key, &ballots), by_the_codec(&key, &ballots));
        }
    }

    #[test]
    fn whole_pages_stay_below_the_stores_limit() {
        let key = keys::sorted(SlotNo(3), 7, 1, 9);
        let hashes = codec::record(Kind::Sorted, &key, &Hashes(vec![[0xff; 32]; HASHES_A_PAGE]));
        let most = (ClipNo(u32::MAX), u64::MAX, u64::MAX);
        let counts = codec::record(Kind::Sorted, &key, &Counts(vec![most; COUNTS_A_PAGE]));
        for record in [hashes, counts] {
            assert!(record.len() <= crate::store::VALUE_MAX, "{}", record.len());
        }
    }
}
