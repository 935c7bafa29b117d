//! How many voters a network brought lately, and its hash, which costs more than to find it here.
//!
//! A table of fixed size, in sets of few places with a lock each: in a full set a new network takes the place of the one
//! that was silent longest. Voters of a network are counted by linear counting: each sets one of 512 bits, and the share
//! of bits that are set tells how many there were, within some percent up to a thousand.

use std::hash::BuildHasher;

use hashbrown::DefaultHashBuilder;
use parking_lot::Mutex;

use crate::domain::{Network, NetworkHash, VoterId, VoterKey};

/// Counting begins anew so often.
pub(super) const WINDOW_MS: u64 = 600_000;
/// Sets: a power of two. With 4 places of 112 bytes each: 896 KiB.
const SETS: usize = 2048;
const PLACES: usize = 4;
const BITS: u32 = 512;

#[derive(Debug)]
pub(super) struct Networks {
    sets: Box<[Mutex<[Seen; PLACES]>]>,
    /// Seeded anew in each process: nobody can choose networks that fall into one set.
    hasher: DefaultHashBuilder,
}

/// A network and its voters in the current window.
#[derive(Clone, Copy, Default, Debug)]
struct Seen {
    network: Option<Network>,
    hash: NetworkHash,
    last_ms: u64,
    window: u64,
    /// Bits that are set.
    set: u32,
    voters: [u64; BITS as usize / 64],
}

impl Networks {
    pub(super) fn new() -> Self {
        let sets = (0..SETS).map(|_| Mutex::default()).collect();
        Self { sets, hasher: DefaultHashBuilder::default() }
    }

    /// The network's hash, and about how many voters it brought in this window, counting `voter` in.
    pub(super) fn note(
        &self,
        key: &VoterKey,
        network: Network,
        voter: Option<VoterId>,
        now_ms: u64,
    ) -> (NetworkHash, u32) {
        let at = usize::try_from(self.hasher.hash_one(network) & (SETS as u64 - 1)).expect("below 2048");
        let mut set = self.sets[at].lock();
        let place = set.iter().position(|seen| seen.network == Some(network)).unwrap_or_else(|| {
            let silent = (0..PLACES).min_by_key(|place| (set[*place].network.is_some(), set[*place].last_ms));
            let place = silent.expect("a set has places");
            set[place] = Seen { network: Some(network), hash: NetworkHash::new(key, network), ..Seen::default() };
            place
        });
        let seen = &mut set[place];
        seen.last_ms = now_ms;
        // Unequal, not later: a clock that jumps back begins anew as well, rather than count into a window to come.
        if seen.window != now_ms / WINDOW_MS {
            (seen.window, seen.set, seen.voters) = (now_ms / WINDOW_MS, 0, [0; BITS as usize / 64]);
        }
        if let Some(voter) = voter {
            let bit = u32::try_from(voter.hash64() % u64::from(BITS)).expect("below 512");
            let word = &mut seen.voters[bit as usize / 64];
            seen.set += u32::from(*word >> (bit % 64) & 1 == 0);
            *word |= 1 << (bit % 64);
        }
        (seen.hash, estimate(seen.set))
    }
}

/// The number of voters that sets so many bits, most likely. All bits say no more than "thousands".
fn estimate(set: u32) -> u32 {
    // Below, two of so few hardly ever meet at a bit.
    if set < 16 {
        return set;
    }
    let clear = f64::from((BITS - set).max(1)) / f64::from(BITS);
    let voters = -f64::from(BITS) * clear.ln();
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is between 16 and 3,195")]
    let voters = voters.round() as u32;
    voters
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use super::*;

    const NOON: u64 = 1_700_000_400_000;

    fn key() -> VoterKey {
        VoterKey::new([7; 32])
    }

    fn voter(n: u32) -> VoterId {
        key().user(&n.to_string())
    }

    fn network(n: u32) -> Network {
        Network::of(IpAddr::V4(Ipv4Addr::from_bits(n << 8)))
    }

    #[test]
    fn a_crowd_is_counted_within_a_tenth_and_nobody_twice() {
        let networks = Networks::new();
        for n in 1..=1_000 {
            let (_, crowd) = networks.note(&key(), network(1), Some(voter(n)), NOON);
            let (_, again) = networks.note(&key(), network(1), Some(voter(n)), NOON);
            assert_eq!(crowd, again);
            let off = i64::from(crowd) - i64::from(n);
            assert!(off.unsigned_abs() <= u64::from(n / 10) + 5, "{n} voters counted as {crowd}");
        }
        assert_eq!(networks.note(&key(), network(2), Some(voter(1)), NOON).1, 1, "another network");
        assert_eq!(networks.note(&key(), network(2), None, NOON).1, 1, "who is no voter is not counted");
    }

    #[test]
    fn so_many_that_every_bit_is_set_are_still_a_number() {
        let networks = Networks::new();
        let crowds = (0..20_000).map(|n| networks.note(&key(), network(1), Some(voter(n)), NOON).1);
        assert!(crowds.fold(0, |_, crowd| crowd) > 2_000);
    }

    #[test]
    fn a_window_ends_whichever_way_the_clock_goes() {
        let networks = Networks::new();
        let crowd = |n, now| networks.note(&key(), network(1), Some(voter(n)), now).1;
        for n in 0..10 {
            crowd(n, NOON);
        }
        assert_eq!(crowd(10, NOON + 1), 11);
        assert_eq!(crowd(11, NOON + WINDOW_MS), 1);
        assert_eq!(crowd(12, NOON - WINDOW_MS), 1);
    }

    #[test]
    fn a_hash_is_the_networks_whether_it_was_remembered_or_not() {
        let networks = Networks::new();
        let wanted: Vec<NetworkHash> = (0..20_000).map(|n| NetworkHash::new(&key(), network(n))).collect();
        for _ in 0..2 {
            for (n, wanted) in (0..).zip(&wanted) {
                assert_eq!(networks.note(&key(), network(n), None, NOON).0, *wanted);
            }
        }
    }

    #[test]
    fn a_busy_network_is_not_forgotten_for_those_that_come_once() {
        let networks = Networks::new();
        for n in 0..40_000_u32 {
            let now = NOON + u64::from(n);
            networks.note(&key(), network(1), Some(voter(n % 40)), now);
            networks.note(&key(), network(2 + n), Some(voter(n)), now);
        }
        let (_, crowd) = networks.note(&key(), network(1), None, NOON + 40_000);
        assert!((35..45).contains(&crowd), "{crowd} of 40");
        let held = networks.sets.iter().map(|set| set.lock().iter().filter(|seen| seen.network.is_some()).count());
        assert!(held.sum::<usize>() > SETS * PLACES / 2, "many came, and places were left empty");
    }
}
