//! Risk: how much a vote's request looks like cheating. [`score`] is the whole judgement, a sum of points over what
//! [`Risk::judge`] gathers; a vote of [`Origin::FLAGGED_FROM`] points or more is flagged, counts like any other, and is
//! seen by operators.
//!
//! | sign | points |
//! |---|---|
//! | no user agent | 25 |
//! | the user agent names a library or a command (curl, python-requests, …) | 50 |
//! | it names automation (headless, bot, …) | 50 |
//! | no accept-language | 15 |
//! | 50 voters or more behind one network within ten minutes; 250 or more | 20; 40 |
//! | less than 400 ms since the same voter's last vote; for the third time in a row and on | 20; 40 |
//!
//! So no single sign that a person can bear by chance flags: a browser without a language, a busy office, a double tap.
//!
//! A voter's token from a caller that has no user agent, or a library's, is a site's own server that passes votes on: the
//! site vouches for that voter, its server has no language, and all its voters share its network. There only automation
//! and pace count, and such a call is no member of its network's crowd.
//!
//! Never: decides whether a vote counts, keeps an address, waits, or grows: each of the tables is of a fixed size, and what
//! it has no room for it forgets. All of it is a guess from one process' memory, and begins anew with it.

mod agents;
mod networks;
mod paces;

use std::net::IpAddr;

use http::HeaderMap;
use http::header::{ACCEPT_LANGUAGE, USER_AGENT};

pub use agents::Agent;
use agents::Agents;
use networks::Networks;
use paces::Paces;

use crate::domain::{Network, Origin, VoterId, VoterKey};

/// What a request shows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Signs {
    /// What the user agent says.
    pub agent: Agent,
    /// There is an accept-language.
    pub language: bool,
    /// The voter has a token.
    pub signed_in: bool,
    /// About how many voters the network brought lately, this one included.
    pub crowd: u32,
    /// How often in a row the voter voted faster than a person does, up to this vote.
    pub quick: u32,
}

impl Signs {
    /// Whether a site's server speaks for the voter.
    fn is_relayed(self) -> bool {
        self.signed_in && matches!(self.agent, Agent::Missing | Agent::Tool)
    }
}

/// The points of a request, 0 to 100.
pub fn score(signs: Signs) -> u8 {
    let Signs { agent, language, crowd, quick, .. } = signs;
    let direct = !signs.is_relayed();
    let points: [(bool, u8); 8] = [
        (agent == Agent::Missing && direct, 25),
        (agent == Agent::Tool && direct, 50),
        (agent == Agent::Robot, 50),
        (!language && direct, 15),
        (crowd >= 50 && direct, 20),
        (crowd >= 250 && direct, 20),
        (quick >= 1, 20),
        (quick >= 3, 20),
    ];
    points.iter().filter(|(shown, _)| *shown).map(|(_, points)| points).sum::<u8>().min(100)
}

/// What is remembered of requests to judge the next ones by: about 1.5 MiB.
#[derive(Debug)]
pub struct Risk {
    voter_key: VoterKey,
    agents: Agents,
    networks: Networks,
    paces: Paces,
}

impl Risk {
    /// Nothing yet. The store's key makes networks' hashes.
    pub fn new(voter_key: VoterKey) -> Self {
        Self { voter_key, agents: Agents::new(), networks: Networks::new(), paces: Paces::new() }
    }

    /// Judges one request for a vote, and remembers it. On the path of a vote: a few tens of nanoseconds.
    pub fn judge(&self, headers: &HeaderMap, address: IpAddr, voter: VoterId, signed_in: bool, now_ms: u64) -> Origin {
        let agent = headers.get(USER_AGENT).map_or(Agent::Missing, |agent| self.agents.tell(agent.as_bytes()));
        let mut signs = Signs { agent, language: true, signed_in, crowd: 0, quick: self.paces.note(voter, now_ms) };
        let relayed = signs.is_relayed();
        if !relayed {
            signs.language = headers.contains_key(ACCEPT_LANGUAGE);
        }
        let member = (!relayed).then_some(voter);
        let (network, crowd) = self.networks.note(&self.voter_key, Network::of(address), member, now_ms);
        signs.crowd = crowd;
        Origin { risk: score(signs), network }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::NetworkHash;

    const NOON: u64 = 1_700_000_000_000;
    const BROWSER: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0";
    const PERSON: Signs = Signs { agent: Agent::Other, language: true, signed_in: false, crowd: 1, quick: 0 };

    fn headers(agent: Option<&str>, language: Option<&str>) -> HeaderMap {
        let mut headers = HeaderMap::new();
        agent.map(|agent| headers.insert(USER_AGENT, agent.parse().unwrap()));
        language.map(|language| headers.insert(ACCEPT_LANGUAGE, language.parse().unwrap()));
        headers
    }

    fn voter(n: u64) -> VoterId {
        VoterKey::new([7; 32]).user(&n.to_string())
    }

    #[test]
    fn the_points_are_those_of_the_table() {
        let signed_in = Signs { signed_in: true, ..PERSON };
        for (signs, points) in [
            (PERSON, 0),
            (Signs { agent: Agent::Missing, ..PERSON }, 25),
            (Signs { agent: Agent::Tool, ..PERSON }, 50),
            (Signs { agent: Agent::Robot, ..PERSON }, 50),
            (Signs { language: false, ..PERSON }, 15),
            (Signs { agent: Agent::Missing, language: false, ..PERSON }, 40),
            (Signs { crowd: 49, ..PERSON }, 0),
            (Signs { crowd: 50, ..PERSON }, 20),
            (Signs { crowd: 250, ..PERSON }, 40),
            (Signs { quick: 1, ..PERSON }, 20),
            (Signs { quick: 2, ..PERSON }, 20),
            (Signs { quick: 3, ..PERSON }, 40),
            (Signs { agent: Agent::Robot, language: false, crowd: 999, quick: 9, ..PERSON }, 100),
            // A site's server.
            (Signs { agent: Agent::Missing, language: false, crowd: 999, ..signed_in }, 0),
            (Signs { agent: Agent::Tool, language: false, crowd: 999, ..signed_in }, 0),
            (Signs { agent: Agent::Tool, quick: 3, ..signed_in }, 40),
            // A token in a browser, and in one that nobody sits at.
            (Signs { language: false, crowd: 50, ..signed_in }, 35),
            (Signs { agent: Agent::Robot, ..signed_in }, 50),
        ] {
            assert_eq!(score(signs), points, "{signs:?}");
        }
    }

    proptest! {
        #[test]
        fn more_of_a_sign_never_lowers_the_score(
            agent in prop_oneof![Just(Agent::Missing), Just(Agent::Tool), Just(Agent::Robot), Just(Agent::Other)],
            flags: [bool; 2], crowd in 0_u32..400, quick in 0_u32..6, more in 0_u32..400,
        ) {
            let signs = Signs { agent, language: flags[0], signed_in: flags[1], crowd, quick };
            let points = score(signs);
            prop_assert!(points <= 100);
            for worse in [
                Signs { crowd: crowd + more, ..signs },
                Signs { quick: quick + more, ..signs },
                Signs { language: false, ..signs },
                Signs { signed_in: false, ..signs },
            ] {
                prop_assert!(score(worse) >= points, "{worse:?}");
            }
        }
    }

    #[test]
    fn a_person_in_a_browser_is_no_risk_and_a_script_is_flagged() {
        let risk = Risk::new(VoterKey::new([7; 32]));
        let at = "192.0.2.7".parse().unwrap();
        let judge = |n, headers: &HeaderMap, signed_in| risk.judge(headers, at, voter(n), signed_in, NOON);
        let person = judge(1, &headers(Some(BROWSER), Some("en")), false);
        assert_eq!(person.risk, 0);
        assert_ne!(person.network, NetworkHash::UNKNOWN);
        assert!(judge(2, &headers(Some("curl/8.5.0"), None), false).is_flagged());
        assert!(judge(3, &headers(None, None), false).is_flagged());
        assert!(!judge(4, &headers(None, Some("en")), false).is_flagged());
        assert_eq!(judge(5, &headers(None, None), true).risk, 0, "a site's server");
        assert_eq!(judge(6, &headers(Some("Go-http-client/1.1"), None), true).risk, 0, "likewise");
        assert!(judge(7, &headers(Some("HeadlessChrome/120.0"), Some("en")), true).is_flagged());
        assert_eq!(judge(8, &headers(Some(BROWSER), Some("en")), true).network, person.network);
    }

    #[test]
    fn a_crowd_is_of_one_network_and_a_sites_server_brings_none() {
        let risk = Risk::new(VoterKey::new([7; 32]));
        let browser = headers(Some(BROWSER), Some("en"));
        let judge = |n, address: &str, headers: &HeaderMap, signed_in, now| {
            risk.judge(headers, address.parse().unwrap(), voter(n), signed_in, now).risk
        };
        for n in 0..400 {
            assert_eq!(judge(n, "192.0.2.1", &headers(None, None), true, NOON), 0);
        }
        assert_eq!(judge(400, "192.0.2.1", &browser, false, NOON), 0, "the server's voters are no crowd");
        let last =
            (0..400).map(|n| judge(1_000 + n, "198.51.100.7", &browser, false, NOON)).fold(0, |_, points| points);
        assert_eq!(last, 40);
        assert_eq!(judge(2_000, "198.51.101.7", &browser, false, NOON), 0, "another network");
        assert_eq!(judge(1_000, "198.51.100.7", &browser, false, NOON + 600_000), 0, "the crowd has left");
    }

    #[test]
    fn votes_in_a_row_faster_than_a_person_are_flagged() {
        let risk = Risk::new(VoterKey::new([7; 32]));
        let browser = headers(Some(BROWSER), Some("en"));
        let at = "192.0.2.7".parse().unwrap();
        let points: Vec<u8> = (0..5).map(|n| risk.judge(&browser, at, voter(1), false, NOON + n * 100).risk).collect();
        assert_eq!(points, [0, 20, 20, 40, 40]);
        assert_eq!(risk.judge(&browser, at, voter(2), false, NOON + 401).risk, 0, "another voter");
        assert_eq!(risk.judge(&browser, at, voter(1), false, NOON + 800).risk, 0, "a breath is enough");
    }
}
