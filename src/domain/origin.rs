//! Where a vote came from, as far as it is kept: a keyed hash of a network, and how much the request looked like cheating.
//! Never an address.

use std::fmt;
use std::net::IpAddr;

use bincode::{Decode, Encode};

use super::ids::VoterKey;

/// What one site or subscriber can have all addresses of: IPv4: a /24, IPv6: a /48. It is not kept; its
/// [`NetworkHash`] is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Network(u64);

impl Network {
    /// The network of an address; an IPv4 address that is written as IPv6 is in its IPv4 network.
    pub fn of(address: IpAddr) -> Self {
        // The two kinds are told apart by the bits above IPv6's 48.
        match address.to_canonical() {
            IpAddr::V4(v4) => Self((1 << 63) | u64::from(v4.to_bits() >> 8)),
            IpAddr::V6(v6) => Self(u64::try_from(v6.to_bits() >> 80).expect("48 bits")),
        }
    }

    /// Its bits, for tables in memory.
    pub fn bits(self) -> u64 {
        self.0
    }
}

/// A network's hash, keyed with the store's secret: the same for all votes from it, and no way back to it without the secret.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Encode, Decode)]
pub struct NetworkHash([u8; 8]);

impl NetworkHash {
    /// That of a vote whose network nobody knows.
    pub const UNKNOWN: Self = Self([0; 8]);

    /// One that was computed before.
    pub const fn of(hash: [u8; 8]) -> Self {
        Self(hash)
    }

    /// As it was computed.
    pub const fn bytes(self) -> [u8; 8] {
        self.0
    }

    /// Computes it.
    pub fn new(key: &VoterKey, network: Network) -> Self {
        Self(key.network(network.0.to_be_bytes()))
    }

    /// Its bytes; `None` when it is unknown.
    pub fn known(self) -> Option<[u8; 8]> {
        (self != Self::UNKNOWN).then_some(self.0)
    }

    /// In hex; `None` when it is unknown.
    pub fn hex(self) -> Option<String> {
        (self != Self::UNKNOWN).then(|| format!("{:016x}", u64::from_be_bytes(self.0)))
    }
}

impl Default for NetworkHash {
    fn default() -> Self {
        Self::UNKNOWN
    }
}

impl fmt::Debug for NetworkHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.hex().as_deref().unwrap_or("unknown"))
    }
}

/// What is kept of a vote's request. The default is that of a vote without one, as an embedder casts it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Encode, Decode)]
pub struct Origin {
    /// How much the request looked like cheating, 0 to 100; judged when it came, and never again.
    pub risk: u8,
    /// The network that it came from.
    pub network: NetworkHash,
}

impl Origin {
    /// A vote of this risk is flagged: it counts as others do, and operators see it.
    pub const FLAGGED_FROM: u8 = 40;

    /// Whether the vote is flagged.
    pub fn is_flagged(self) -> bool {
        self.risk >= Self::FLAGGED_FROM
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(address: &str) -> Network {
        Network::of(address.parse().unwrap())
    }

    #[test]
    fn a_network_is_a_24_or_a_48() {
        assert_eq!(network("192.0.2.1"), network("192.0.2.254"));
        assert_eq!(network("192.0.2.1"), network("::ffff:192.0.2.7"));
        assert_ne!(network("192.0.2.1"), network("192.0.3.1"));
        assert_eq!(network("2001:db8:0:1::1"), network("2001:db8:0:ffff::2"));
        assert_ne!(network("2001:db8:0::1"), network("2001:db8:1::1"));
        assert_ne!(network("0.0.2.1"), network("0:0:2::1"), "an IPv6 network of the same bits");
    }

    #[test]
    fn a_hash_is_keyed_and_of_its_own_domain() {
        let (key, other) = (VoterKey::new([7; 32]), VoterKey::new([8; 32]));
        let at = network("192.0.2.1");
        let hash = NetworkHash::new(&key, at);
        assert_eq!(hash, NetworkHash::new(&key, network("192.0.2.99")));
        assert_ne!(hash, NetworkHash::new(&key, network("192.0.3.1")));
        assert_ne!(hash, NetworkHash::new(&other, at));
        assert_ne!(hash.0, key.device(&at.0.to_be_bytes()).0[..8]);
        assert_eq!(hash.hex().unwrap().len(), 16);
        assert_eq!(NetworkHash::UNKNOWN.hex(), None);
        assert!(!hash.hex().unwrap().contains(&format!("{:x}", at.0)), "the network itself is not in it");
    }
}
