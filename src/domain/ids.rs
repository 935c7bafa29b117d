//! Names and numbers of things. A public id is text that its creator chose; a number is ours, small, and given in
//! the order of creation, so that an event needs three bytes for a clip and a table can be an array.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

use bincode::{Decode, Encode};

use crate::clock::DAY_MS;
use crate::error::Reject;

/// A position in the log; the first event has 1, and 0 means "before every event".
pub type Seq = u64;

/// Days since 1970-01-01, UTC. Holds until the year 2149.
pub type Day = u16;

/// The UTC day that a time in Unix milliseconds falls in.
pub fn day_of(at_ms: u64) -> Day {
    Day::try_from(at_ms / DAY_MS).unwrap_or(Day::MAX)
}

const ID_MAX: usize = 100;

fn check_id(name: &'static str, text: &str) -> Result<(), Reject> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_.=@-".contains(&byte);
    if !text.is_empty() && text.len() <= ID_MAX && text.bytes().all(plain) {
        return Ok(());
    }
    Err(Reject::InvalidParameter { name, why: format!("an id is 1 to {ID_MAX} of A-Z a-z 0-9 _ . = @ -") })
}

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident, $field:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Encode, Decode)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Checks the text: 1 to 100 of `[A-Za-z0-9_.=@-]`.
            pub fn new(text: &str) -> Result<Self, Reject> {
                check_id($field, text)?;
                Ok(Self(text.into()))
            }

            /// The text itself.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, f)
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                to.serialize_str(&self.0)
            }
        }

        impl schemars::JsonSchema for $name {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({ "type": "string", "pattern": "^[A-Za-z0-9_.=@-]{1,100}$" })
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                Self::new(&String::deserialize(from)?).map_err(serde::de::Error::custom)
            }
        }
    };
}

text_id!(
    /// A clip's public id.
    ClipId,
    "clipId"
);
text_id!(
    /// A season's public id.
    SeasonId,
    "season"
);

macro_rules! number {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Encode, Decode, serde::Serialize)]
        pub struct $name(pub u32);

        impl $name {
            /// As an index into a table of all of them.
            pub fn index(self) -> usize {
                self.0 as usize
            }
        }
    };
}

number!(
    /// Our number for a season, from 0 in the order of creation.
    SeasonNo
);
number!(
    /// Our number for a slot of any season, from 0 in the order of creation.
    SlotNo
);
number!(
    /// Our number for a clip of any slot, from 0 in the order of creation.
    ClipNo
);

/// The secret that turns a person's or device's name into a [`VoterId`]. Made at a store's first start.
#[derive(Clone)]
pub struct VoterKey([u8; 32]);

impl VoterKey {
    /// Takes the secret's bytes.
    pub fn new(secret: [u8; 32]) -> Self {
        Self(secret)
    }

    /// The voter behind a signed-in `sub`.
    pub fn user(&self, sub: &str) -> VoterId {
        self.derive(b"user_", sub.as_bytes())
    }

    /// The voter behind a device's key.
    pub fn device(&self, device: &[u8]) -> VoterId {
        self.derive(b"device_", device)
    }

    /// What a store keeps of a network; see [`super::NetworkHash`].
    pub(super) fn network(&self, network: [u8; 8]) -> [u8; 8] {
        self.derive(b"network_", &network).0[..8].try_into().expect("8 of 16 bytes")
    }

    /// What a store keeps to notice that it was opened with another secret; says nothing about the secret.
    pub fn fingerprint(&self) -> [u8; 16] {
        self.derive(b"fingerprint", b"").0
    }

    /// Whether that is what others see of a voter; far cheaper than to write it down.
    pub fn is_public(&self, voter: VoterId, name: [u8; 16]) -> bool {
        self.derive(b"public", &voter.0).0 == name
    }

    /// What others may see of a voter: another keyed hash, in hex.
    pub fn public(&self, voter: VoterId) -> String {
        self.derive(b"public", &voter.0)
            .0
            .iter()
            .fold(String::with_capacity(32), |text, byte| text + &format!("{byte:02x}"))
    }

    fn derive(&self, kind: &[u8], name: &[u8]) -> VoterId {
        let mut hasher = blake3::Hasher::new_keyed(&self.0);
        hasher.update(kind).update(name);
        let mut id = [0; 16];
        hasher.finalize_xof().fill(&mut id);
        VoterId(id)
    }
}

impl fmt::Debug for VoterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("VoterKey(secret)")
    }
}

/// A voter: 16 bytes of BLAKE3 keyed with the store's [`VoterKey`]. Never shown to others, never logged.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Encode, Decode)]
pub struct VoterId(pub [u8; 16]);

impl VoterId {
    /// Nobody: in the place of an author who was erased.
    pub const NOBODY: Self = Self([0; 16]);

    /// What stands in the place of a voter who was erased and whose like or report of a comment still counts: who has the id finds it,
    /// so that a second one is none; who has it not learns nothing, nor which others are the same voter's.
    #[must_use]
    pub fn emptied(self, comment: Seq) -> Self {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&self.0).update(&comment.to_be_bytes());
        Self(hasher.finalize().as_bytes()[..16].try_into().expect("16 of 32 bytes"))
    }

    /// 64 bits that are as good as random: the id is a hash already, so tables need not hash it again.
    pub fn hash64(self) -> u64 {
        u64::from_be_bytes(self.0[..8].try_into().expect("8 of 16 bytes"))
    }
}

impl fmt::Debug for VoterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VoterId({:02x}{:02x}…)", self.0[0], self.0[1])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_take_the_contract_alphabet_and_nothing_else() {
        for good in ["a", "clip-1", "A.b_c=@-9", &"x".repeat(100)] {
            assert_eq!(ClipId::new(good).unwrap().as_str(), good);
        }
        for bad in ["", " ", "a b", "ä", "a/b", &"x".repeat(101)] {
            assert!(ClipId::new(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_user_and_a_device_of_one_name_are_two_voters() {
        let key = VoterKey::new([7; 32]);
        assert_ne!(key.user("x"), key.device(b"x"));
        assert_ne!(key.user("x"), VoterKey::new([8; 32]).user("x"));
        assert_eq!(key.user("x"), key.user("x"));
        let name = u128::from_str_radix(&key.public(key.user("x")), 16).unwrap().to_be_bytes();
        assert!(key.is_public(key.user("x"), name) && !key.is_public(key.user("y"), name));
    }

    #[test]
    fn a_day_turns_at_utc_midnight() {
        assert_eq!(day_of(DAY_MS - 1), 0);
        assert_eq!(day_of(DAY_MS), 1);
    }
}
