//! A slot's certificate and a ballot's proof, as they are handed out.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::leaf::{Leaf, as_hex, as_text, put};
use super::tree::{Hash, verify};
use crate::domain::{ClipId, SeasonId, Seq};

/// The format of a slot's first certificate.
pub const FORMAT: u64 = 1;
/// The format of those that follow it, each of which names a void.
pub const FORMAT_AFTER_VOID: u64 = 2;

/// What a slot's result is, and what it rests on.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Certificate {
    /// [`FORMAT`], or [`FORMAT_AFTER_VOID`].
    pub format: u64,
    /// The store that it comes from.
    #[serde(with = "as_hex")]
    #[schemars(with = "String")]
    pub store: [u8; 16],
    /// Its number among the slot's, from 1.
    pub number: u64,
    /// The hash of the one that it replaces.
    pub previous: Option<HexHash>,
    /// What replaced it; none for the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub void: Option<VoidNamed>,
    /// The season's id.
    pub season: SeasonId,
    /// The slot's position.
    pub slot: u32,
    /// N: the freeze's sequence. Every ballot's is below.
    #[serde(with = "as_text")]
    #[schemars(with = "String")]
    pub sequence: Seq,
    /// The log's block that holds N.
    pub chain: Option<ChainAt>,
    /// The winner.
    pub winner_clip_id: Option<ClipId>,
    /// What made it the winner.
    pub winner_by: WinnerBy,
    /// Every clip of the slot, in the order of addition.
    pub clips: Vec<ClipResult>,
    /// How many leaves the tree has.
    pub leaves: u64,
    /// The tree's root.
    #[serde(with = "as_hex")]
    #[schemars(with = "String")]
    pub root: Hash,
    /// Indexes of leaves that a void masks, ascending: they count for no clip.
    pub voids: Vec<u64>,
    /// The hash over all of the above.
    #[serde(with = "as_hex")]
    #[schemars(with = "String")]
    pub hash: Hash,
}

/// The void behind which a certificate holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct VoidNamed {
    /// Its id.
    #[serde(with = "as_text")]
    #[schemars(with = "String")]
    pub id: Seq,
    /// It was lifted; else it took effect.
    pub lifted: bool,
}

/// A hash that may be missing.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct HexHash(
    #[serde(with = "as_hex")]
    #[schemars(with = "String")]
    pub Hash,
);

/// A block of the log.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ChainAt {
    /// Its first sequence.
    #[serde(with = "as_text")]
    #[schemars(with = "String")]
    pub first: Seq,
    /// Its last.
    #[serde(with = "as_text")]
    #[schemars(with = "String")]
    pub last: Seq,
    /// Its hash.
    #[serde(with = "as_hex")]
    #[schemars(with = "String")]
    pub hash: Hash,
}

/// What made a clip the winner.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum WinnerBy {
    /// Highest weight, then most votes, then added first.
    Count,
    /// An operator's word.
    Hand,
}

/// A clip's counts.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ClipResult {
    /// Its id.
    pub clip_id: ClipId,
    /// Its votes.
    pub vote_count: u64,
    /// Their weight.
    pub weighted_score: u64,
}

impl Certificate {
    /// The clip that the counts make the winner; `None` when there is no clip.
    pub fn best(&self) -> Option<&ClipId> {
        // The last of equals is the greatest, and the first one added must be.
        let best = self.clips.iter().rev().max_by_key(|clip| (clip.weighted_score, clip.vote_count));
        best.map(|clip| &clip.clip_id)
    }

    /// The hash that it must carry.
    pub fn hashed(&self) -> Hash {
        let mut bytes = vec![2];
        let number = |number: u64, bytes: &mut Vec<u8>| put(&number.to_be_bytes(), bytes);
        number(self.format, &mut bytes);
        put(&self.store, &mut bytes);
        number(self.number, &mut bytes);
        put(self.previous.as_ref().map_or(&[], |hash| &hash.0[..]), &mut bytes);
        put(self.season.as_str().as_bytes(), &mut bytes);
        number(self.slot.into(), &mut bytes);
        number(self.sequence, &mut bytes);
        match &self.chain {
            Some(chain) => {
                number(chain.first, &mut bytes);
                number(chain.last, &mut bytes);
                put(&chain.hash, &mut bytes);
            }
            None => (0..3).for_each(|_| put(&[], &mut bytes)),
        }
        put(self.winner_clip_id.as_ref().map_or(&[], |id| id.as_str().as_bytes()), &mut bytes);
        let by: &[u8] = match self.winner_by {
            WinnerBy::Count => b"count",
            WinnerBy::Hand => b"hand",
        };
        put(by, &mut bytes);
        number(self.leaves, &mut bytes);
        put(&self.root, &mut bytes);
        number(self.clips.len() as u64, &mut bytes);
        for clip in &self.clips {
            put(clip.clip_id.as_str().as_bytes(), &mut bytes);
            number(clip.vote_count, &mut bytes);
            number(clip.weighted_score, &mut bytes);
        }
        number(self.voids.len() as u64, &mut bytes);
        self.voids.iter().for_each(|index| number(*index, &mut bytes));
        if let Some(void) = self.void {
            number(void.id, &mut bytes);
            number(void.lifted.into(), &mut bytes);
        }
        blake3::hash(&bytes).into()
    }

    /// With its winner's ground and its hash filled in from the rest.
    #[must_use]
    pub fn sealed(mut self) -> Self {
        let counted = self.best() == self.winner_clip_id.as_ref();
        self.winner_by = if counted { WinnerBy::Count } else { WinnerBy::Hand };
        self.hash = self.hashed();
        self
    }

    /// What contradicts itself in it, for people.
    pub fn contradictions(&self) -> Vec<String> {
        let mut found = Vec::new();
        if ![FORMAT, FORMAT_AFTER_VOID].contains(&self.format) {
            let known = format!("{FORMAT} and {FORMAT_AFTER_VOID}");
            found.push(format!("the certificate has format {}, this program reads {known}", self.format));
        }
        let first = (self.number == 1, self.format == FORMAT, self.void.is_none(), self.previous.is_none());
        if !matches!(first, (true, true, true, true) | (false, false, false, false)) {
            found.push(
                "the certificate is neither a slot's first nor one that names a void and the one before".to_owned(),
            );
        }
        if self.hash != self.hashed() {
            found.push("the certificate's hash does not fit what it says".to_owned());
        }
        let winner = self.winner_clip_id.as_ref();
        let name = |id: Option<&ClipId>| id.map_or_else(|| "none".to_owned(), ToString::to_string);
        if self.winner_by == WinnerBy::Count && winner != self.best() {
            let (winner, best) = (name(winner), name(self.best()));
            found.push(format!("the winner: certified {winner} by count, the certified counts make it {best}"));
        }
        if winner.is_some_and(|id| self.clips.iter().all(|clip| clip.clip_id != *id)) {
            found.push(format!("the winner: {} is no clip of the slot", name(winner)));
        }
        if self.voids.windows(2).any(|two| two[0] >= two[1]) || self.voids.last().is_some_and(|at| *at >= self.leaves) {
            found.push("the certificate's voids are not ascending indexes of leaves".to_owned());
        }
        found
    }
}

/// That a ballot is among a slot's leaves, and no more.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Proof {
    /// The season's id.
    pub season: SeasonId,
    /// The slot's position.
    pub slot: u32,
    /// The leaf's place, from 0.
    pub index: u64,
    /// How many leaves the tree has.
    pub size: u64,
    /// What the leaf says.
    pub leaf: Leaf,
    /// Its hash.
    pub leaf_hash: HexHash,
    /// The hashes beside the way to the root, lowest first.
    pub path: Vec<HexHash>,
    /// The tree's root, as in the slot's certificate.
    pub root: HexHash,
}

impl Proof {
    /// Whether it leads from its leaf to its root. That the root is the certificate's is for the reader to compare.
    pub fn holds(&self) -> bool {
        let path: Vec<Hash> = self.path.iter().map(|hash| hash.0).collect();
        let leaf = self.leaf.hash();
        leaf == self.leaf_hash.0 && verify(&leaf, self.index, self.size, &path, &self.root.0)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in super::super) fn certificate(counts: &[(u64, u64)]) -> Certificate {
        let clips = counts.iter().zip(0..).map(|((votes, weight), n)| ClipResult {
            clip_id: ClipId::new(&format!("c{n}")).unwrap(),
            vote_count: *votes,
            weighted_score: *weight,
        });
        let certificate = Certificate {
            format: FORMAT,
            store: [0xab; 16],
            number: 1,
            previous: None,
            void: None,
            season: SeasonId::new("s").unwrap(),
            slot: 2,
            sequence: 70_000,
            chain: Some(ChainAt { first: 69_000, last: 70_100, hash: [0xcd; 32] }),
            winner_clip_id: None,
            winner_by: WinnerBy::Count,
            clips: clips.collect(),
            leaves: counts.iter().map(|(votes, _)| votes).sum(),
            root: [0xef; 32],
            voids: Vec::new(),
            hash: [0; 32],
        };
        Certificate { winner_clip_id: certificate.best().cloned(), ..certificate }.sealed()
    }

    #[test]
    fn the_winner_has_weight_then_votes_then_came_first() {
        let best = |counts: &[(u64, u64)]| certificate(counts).winner_clip_id.map(|id| id.to_string());
        assert_eq!(best(&[]), None);
        assert_eq!(best(&[(5, 5), (1, 6)]).unwrap(), "c1");
        assert_eq!(best(&[(5, 6), (6, 6)]).unwrap(), "c1");
        assert_eq!(best(&[(5, 6), (5, 6), (4, 4)]).unwrap(), "c0");
    }

    #[test]
    fn a_certificate_reads_back_and_names_each_altered_field() {
        let sound = certificate(&[(2, 5), (3, 4)]);
        assert_eq!(crate::merkle::hex(&sound.hash), "67e0b262e2ac311f5439eb37bc3d6e3580563d6660400b4538fb582c5a70deab");
        assert_eq!(sound.contradictions(), Vec::<String>::new());
        let json = serde_json::to_value(&sound).unwrap();
        assert_eq!(serde_json::from_value::<Certificate>(json.clone()).unwrap(), sound);
        let altered: [(&str, serde_json::Value); 15] = [
            ("/format", 2.into()),
            ("/store", "00".repeat(16).into()),
            ("/number", 2.into()),
            ("/previous", "00".repeat(32).into()),
            ("/season", "t".into()),
            ("/slot", 3.into()),
            ("/sequence", "70001".into()),
            ("/chain", serde_json::Value::Null),
            ("/chain/first", "1".into()),
            ("/winnerClipId", "c1".into()),
            ("/winnerBy", "hand".into()),
            ("/clips/0/voteCount", 1.into()),
            ("/leaves", 6.into()),
            ("/root", "00".repeat(32).into()),
            ("/voids", vec![1].into()),
        ];
        for (field, value) in altered {
            let mut json = json.clone();
            *json.pointer_mut(field).unwrap() = value;
            let read: Certificate = serde_json::from_value(json).unwrap();
            assert!(read.contradictions().iter().any(|why| why.contains("hash does not fit")), "{field}");
        }
        let by_hand = Certificate { winner_clip_id: ClipId::new("c1").ok(), ..sound.clone() }.sealed();
        assert_eq!((by_hand.winner_by, by_hand.contradictions().len()), (WinnerBy::Hand, 0));
        let mut forged = Certificate { winner_by: WinnerBy::Count, ..by_hand };
        forged.hash = forged.hashed();
        assert_eq!(forged.contradictions(), ["the winner: certified c1 by count, the certified counts make it c0"]);
    }
}
