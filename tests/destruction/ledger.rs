//! What voters were told about their votes, and the check of a server against it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{SystemTime, UNIX_EPOCH};

use plaudit::identity::mint;
use serde_json::Value;

use super::client::{Answer, Client};
use super::process::{DAILY_LIMIT, JWT_SECRET, Server, Table};

/// The clips of the demo season's open slot.
pub(crate) const CLIPS: usize = 16;
/// Voters keep to a part of them, so that the ledger has many voters with a few votes each.
pub(crate) const CLIPS_OF_ONE: usize = 6;
const KINDS: [(&str, u64); 3] = [("standard", 1), ("super", 3), ("mega", 10)];

/// A clip's id.
pub(crate) fn clip(n: usize) -> String {
    format!("clip-{}", n + 1)
}

/// A kind of vote, by number.
pub(crate) fn kind(n: u64) -> (&'static str, u64) {
    KINDS[usize::try_from(n % 3).unwrap()]
}

/// What is known of one voter's vote for one clip.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Known {
    /// It was answered: a vote of this weight stands.
    Stands(u64),
    /// Its retraction was answered.
    TakenBack,
    /// A vote of this weight, or its retraction, was never answered: it stands or it does not.
    Unanswered(u64),
}

/// A voter.
#[derive(Debug)]
pub(crate) struct Voter {
    pub(crate) token: String,
    /// By the clip's number; a clip that was never tried has no entry.
    pub(crate) votes: BTreeMap<usize, Known>,
}

impl Voter {
    /// A voter with a token that outlives the test.
    pub(crate) fn new(sub: &str) -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let token = mint(JWT_SECRET.as_bytes(), sub, now + 86_400, None, None).unwrap();
        Self { token, votes: BTreeMap::new() }
    }

    /// Asks the server which votes stand, holds that to what is known, and learns from it what became of the unanswered.
    /// Gives back how many of those stand.
    fn check(&mut self, client: &mut Client, day: Day) -> u64 {
        let (standing, answer) = self.ask(client);
        let mut found = 0;
        for n in 0..CLIPS {
            let (id, stands) = (clip(n), standing.contains(&n));
            match self.votes.get(&n).copied() {
                Some(Known::Stands(_)) => assert!(stands, "an answered vote for {id} is lost: {:?}", self.votes),
                Some(Known::TakenBack) => assert!(!stands, "a retracted vote for {id} is back: {:?}", self.votes),
                None => assert!(!stands, "nobody cast this vote for {id}: {:?}", self.votes),
                Some(Known::Unanswered(weight)) => {
                    found += u64::from(stands);
                    self.votes.insert(n, if stands { Known::Stands(weight) } else { Known::TakenBack });
                }
            }
        }
        if answer.body["resetAt"] == day.0 {
            let used: u64 = self.standing().map(|(_, weight)| weight).sum();
            assert_eq!(answer.body["remaining"], u64::from(DAILY_LIMIT) - used, "the budget of {:?}", self.votes);
        }
        found
    }

    /// The clips that a server says this voter has voted for, and its whole answer.
    fn ask(&self, client: &mut Client) -> (BTreeSet<usize>, Answer) {
        let all: Vec<String> = (0..CLIPS).map(clip).collect();
        let path = format!("/api/vote/mine?clipIds={}", all.join(","));
        let answer = client.ask("GET", &path, Some(&self.token), None).unwrap();
        assert_eq!(answer.status, 200, "{answer:?}");
        let voted = answer.body["voted"].as_array().unwrap();
        let standing: BTreeSet<usize> = voted
            .iter()
            .map(|id| all.iter().position(|clip| *id == *clip).expect("a clip that was asked for"))
            .collect();
        assert_eq!(standing.len(), voted.len(), "a clip is listed twice: {answer:?}");
        (standing, answer)
    }

    /// Clips and weights of the votes that stand.
    pub(crate) fn standing(&self) -> impl Iterator<Item = (usize, u64)> {
        self.votes.iter().filter_map(|(n, known)| match known {
            Known::Stands(weight) => Some((*n, *weight)),
            _ => None,
        })
    }
}

/// The end of the UTC day that all votes were cast on, in Unix milliseconds: past it, budgets start anew.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Day(u64);

impl Day {
    pub(crate) fn today() -> Self {
        let now = u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap();
        Self((now / 86_400_000 + 1) * 86_400_000)
    }
}

/// Voters that share a client.
#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) voters: Vec<Voter>,
    /// The last sequence that an answer named: a later answer names a later one, across all restarts.
    pub(crate) last_event: u64,
    pub(crate) name: String,
}

/// All voters of a test, in groups.
#[derive(Debug)]
pub(crate) struct Ledger {
    pub(crate) groups: Vec<Group>,
    day: Day,
}

impl Ledger {
    /// Nobody has voted.
    pub(crate) fn new(groups: usize) -> Self {
        let group = |n| Group { voters: Vec::new(), last_event: 0, name: format!("g{n}") };
        Self { groups: (0..groups).map(group).collect(), day: Day::today() }
    }

    /// Holds a server that nobody else asks to all that was answered, and each clip's counts to the votes that stand.
    /// Gives back how many unanswered changes turned out to be votes that stand.
    pub(crate) fn check(&mut self, server: &Server) -> u64 {
        let day = self.day;
        let checks = |group: &mut Group| {
            let mut client = Client::connect(server.address).unwrap();
            group.voters.iter_mut().map(|voter| voter.check(&mut client, day)).sum::<u64>()
        };
        let found = std::thread::scope(|scope| {
            let checking: Vec<_> = self.groups.iter_mut().map(|group| scope.spawn(move || checks(group))).collect();
            checking.into_iter().map(|group| group.join().unwrap()).sum()
        });
        assert_eq!(counts(server), self.table(), "counts are the sum of the votes that stand");
        found
    }

    /// How many answered votes a server does not have.
    pub(crate) fn missing(&self, server: &Server) -> usize {
        let mut client = Client::connect(server.address).unwrap();
        let mut missing = |voter: &Voter| {
            let (standing, _) = voter.ask(&mut client);
            voter.standing().filter(|(n, _)| !standing.contains(n)).count()
        };
        self.voters().map(&mut missing).sum()
    }

    /// The counts that follow from the votes that stand.
    pub(crate) fn table(&self) -> Table {
        let mut table: Table = (0..CLIPS).map(|n| (clip(n), (0, 0))).collect();
        for (n, weight) in self.voters().flat_map(Voter::standing) {
            let counts = table.get_mut(&clip(n)).unwrap();
            *counts = (counts.0 + 1, counts.1 + weight);
        }
        table
    }

    /// All voters.
    pub(crate) fn voters(&self) -> impl Iterator<Item = &Voter> {
        self.groups.iter().flat_map(|group| &group.voters)
    }

    /// How many votes stand.
    pub(crate) fn standing(&self) -> usize {
        self.voters().flat_map(Voter::standing).count()
    }
}

/// The counts that a server shows.
pub(crate) fn counts(server: &Server) -> Table {
    let ids: Vec<String> = (0..CLIPS).map(clip).collect();
    let answer = Client::connect(server.address).unwrap().get(&format!("/api/vote/counts?clipIds={}", ids.join(",")));
    assert_eq!(answer.status, 200, "{answer:?}");
    let count = |value: &Value| value.as_u64().unwrap_or_else(|| panic!("a count: {value}"));
    let row = |id: &String| {
        let of = &answer.body["counts"][id];
        (id.clone(), (count(&of["voteCount"]), count(&of["weightedScore"])))
    };
    ids.iter().map(row).collect()
}
