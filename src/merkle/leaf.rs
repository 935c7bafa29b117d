//! A ballot as a leaf. The bytes are in the folder's page.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::tree::{Hash, hex, unhex};
use crate::domain::{ClipId, Seq, VoteKind, VoterId};

/// A season's slot: what a voter's `c` is made for.
#[derive(Clone, Debug)]
pub struct Scope {
    /// Room for the voter, then the season and the slot as fields.
    bytes: Vec<u8>,
}

impl Scope {
    /// Of a season's id and the slot's position.
    pub fn new(season: &str, position: u32) -> Self {
        let mut bytes = vec![16; 17];
        put(season.as_bytes(), &mut bytes);
        put(&position.to_be_bytes(), &mut bytes);
        Self { bytes }
    }

    /// The voter's `c` here.
    pub fn voter(&self, voter: VoterId) -> Hash {
        let mut bytes = [0; 17 + 101 + 5];
        let bytes = &mut bytes[..self.bytes.len()];
        bytes.copy_from_slice(&self.bytes);
        bytes[1..17].copy_from_slice(&voter.0);
        blake3::hash(bytes).into()
    }
}

/// What a leaf says.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Leaf {
    /// Stands for the voter.
    #[serde(with = "as_hex")]
    #[schemars(with = "String")]
    pub c: Hash,
    /// The clip voted for.
    pub clip_id: ClipId,
    /// The vote's type.
    #[serde(rename = "voteType")]
    pub kind: VoteKind,
    /// Its weight.
    pub weight: u16,
    /// Its sequence.
    #[serde(with = "as_text")]
    #[schemars(with = "String")]
    pub sequence: Seq,
}

impl Leaf {
    /// Its hash.
    pub fn hash(&self) -> Hash {
        leaf_hash(&self.c, self.clip_id.as_str(), self.kind, self.weight, self.sequence)
    }
}

/// A leaf's hash from its parts.
pub fn leaf_hash(c: &Hash, clip: &str, kind: VoteKind, weight: u16, sequence: Seq) -> Hash {
    let mut bytes = [0; 1 + 33 + 101 + 2 + 3 + 9];
    let mut at = 1;
    for field in [&c[..], clip.as_bytes(), &[kind_code(kind)], &weight.to_be_bytes(), &sequence.to_be_bytes()] {
        bytes[at] = u8::try_from(field.len()).expect("a field is short");
        bytes[at + 1..=at + field.len()].copy_from_slice(field);
        at += 1 + field.len();
    }
    blake3::hash(&bytes[..at]).into()
}

/// A vote's type as one byte.
pub fn kind_code(kind: VoteKind) -> u8 {
    match kind {
        VoteKind::Standard => 0,
        VoteKind::Super => 1,
        VoteKind::Mega => 2,
    }
}

/// Appends a field.
pub(super) fn put(field: &[u8], bytes: &mut Vec<u8>) {
    bytes.push(u8::try_from(field.len()).expect("a field is short"));
    bytes.extend_from_slice(field);
}

/// A hash in JSON.
pub(super) mod as_hex {
    use super::{hex, unhex};
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(in super::super) fn serialize<S: Serializer, const N: usize>(hash: &[u8; N], to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&hex(hash))
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>, const N: usize>(
        from: D,
    ) -> Result<[u8; N], D::Error> {
        let text = String::deserialize(from)?;
        unhex(&text).ok_or_else(|| D::Error::custom(format!("must be {} digits of lower-case hex", 2 * N)))
    }
}

/// A sequence in JSON: as text, since it may outgrow a double.
pub(super) mod as_text {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
    pub(in super::super) fn serialize<S: Serializer>(number: &u64, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(number)
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<u64, D::Error> {
        let text = String::deserialize(from)?;
        let plain = text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
        text.parse().ok().filter(|_| plain).ok_or_else(|| D::Error::custom("must be a number in a string"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leaves_and_voters_stay_as_they_are() {
        let c = Scope::new("s1", 2).voter(VoterId([7; 16]));
        assert_eq!(hex(&c), "e492ac4fb896976660c2763fd5e226f0d140ff2bc1969aa834bd03828e54c109");
        let leaf =
            Leaf { c, clip_id: ClipId::new("clip-1").unwrap(), kind: VoteKind::Super, weight: 3, sequence: 70_000 };
        assert_eq!(hex(&leaf.hash()), "32f9c3ce2b75805988d96d3196916e65974c91577672c807f2c0e67595ed22ab");
    }

    #[test]
    fn the_longest_ids_fit_and_every_field_counts() {
        let long = "x".repeat(100);
        let c = Scope::new(&long, u32::MAX).voter(VoterId([0xff; 16]));
        assert_ne!(c, Scope::new(&long, u32::MAX - 1).voter(VoterId([0xff; 16])));
        let hash = |clip: &str, kind, weight, sequence| leaf_hash(&c, clip, kind, weight, sequence);
        let one = hash(&long, VoteKind::Standard, u16::MAX, u64::MAX);
        assert_ne!(one, hash(&long[1..], VoteKind::Standard, u16::MAX, u64::MAX));
        assert_ne!(one, hash(&long, VoteKind::Mega, u16::MAX, u64::MAX));
        assert_ne!(one, hash(&long, VoteKind::Standard, 1, u64::MAX));
        assert_ne!(one, hash(&long, VoteKind::Standard, u16::MAX, 1));
    }

    #[test]
    fn a_leaf_reads_back_and_nothing_else_does() {
        let json = format!(
            r#"{{"c":"{}","clipId":"clip-1","voteType":"mega","weight":10,"sequence":"18446744073709551615"}}"#,
            "ab".repeat(32)
        );
        let leaf: Leaf = serde_json::from_str(&json).unwrap();
        assert_eq!((leaf.c, leaf.sequence), ([0xab; 32], u64::MAX));
        assert_eq!(serde_json::to_string(&leaf).unwrap(), json);
        let spoilt = [("clip-1", "clip 1"), ("ab", "AB"), ("\"184", "\"0184"), ("\"184", "\"+184"), ("mega", "giga")];
        for (from, to) in spoilt {
            assert!(serde_json::from_str::<Leaf>(&json.replace(from, to)).is_err(), "{to}");
        }
    }
}
