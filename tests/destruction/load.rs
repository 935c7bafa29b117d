//! Votes and retractions under way: each group of voters on a thread and a connection of its own, one request at a time,
//! each noted in the ledger before it is sent and once it is answered.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::client::{Answer, Client};
use super::ledger::{CLIPS, CLIPS_OF_ONE, Group, Known, Ledger, Voter, clip, kind};
use super::process::{PATIENCE, Server};
use super::random::Random;

/// What has happened so far; all only grow.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// Votes and retractions that were answered with 2xx.
    pub(crate) done: AtomicU64,
    /// Refused as the ledger says they must be: duplicates, and retractions of nothing.
    pub(crate) refused: AtomicU64,
    /// Sent, and never answered.
    pub(crate) unanswered: AtomicU64,
    /// Answered with `STORAGE_FAILED`: as good as unanswered.
    pub(crate) failed: AtomicU64,
}

/// Clients at work, until the server is gone, its storage fails, or they are told to end.
#[derive(Debug)]
pub(crate) struct Load {
    clients: Vec<JoinHandle<Group>>,
    /// Without its groups, which the clients have.
    rest: Ledger,
    stop: Arc<AtomicBool>,
    pub(crate) seen: Arc<Seen>,
}

impl Load {
    /// Begins.
    pub(crate) fn begin(server: &Server, mut ledger: Ledger, random: &mut Random) -> Self {
        let (stop, seen) = (Arc::new(AtomicBool::new(false)), Arc::new(Seen::default()));
        let groups = std::mem::take(&mut ledger.groups);
        let start = |group: Group| {
            let (address, random) = (server.address, Random::seeded(random.next()));
            let (stop, seen) = (Arc::clone(&stop), Arc::clone(&seen));
            thread::spawn(move || Turns { group, random, seen }.take(address, &stop))
        };
        let clients = groups.into_iter().map(start).collect();
        Self { clients, rest: ledger, stop, seen }
    }

    /// Waits until so many votes and retractions are done.
    pub(crate) fn until_done(&self, changes: u64) {
        let began = Instant::now();
        while self.seen.done.load(Ordering::SeqCst) < changes {
            assert!(began.elapsed() < PATIENCE, "{:?}", self.seen);
            assert!(self.clients.iter().any(|client| !client.is_finished()), "every client has ended: {:?}", self.seen);
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// Tells the clients to end after the answer that they wait for.
    pub(crate) fn stop(&self) {
        self.stop.store(true, Ordering::SeqCst);
    }

    /// Waits until every client has ended.
    pub(crate) fn ended(self) -> (Ledger, Arc<Seen>) {
        let mut ledger = self.rest;
        let groups = self.clients.into_iter().map(|client| client.join().expect("no client found anything wrong"));
        ledger.groups = groups.collect();
        (ledger, self.seen)
    }
}

/// Whether a client goes on.
#[derive(PartialEq, Eq)]
enum Next {
    Turn,
    End,
}

struct Turns {
    group: Group,
    random: Random,
    seen: Arc<Seen>,
}

impl Turns {
    fn take(mut self, address: SocketAddr, stop: &AtomicBool) -> Group {
        // The server may be gone before a client came to it.
        let Ok(mut client) = Client::connect(address) else { return self.group };
        while !stop.load(Ordering::SeqCst) && self.turn(&mut client) == Next::Turn {}
        self.group
    }

    /// Mostly a new vote; now and then a retraction, a vote after one, a duplicate, or a retraction of nothing.
    fn turn(&mut self, client: &mut Client) -> Next {
        let spent = self.group.voters.last().is_none_or(|voter| voter.votes.len() >= CLIPS_OF_ONE);
        if spent {
            let sub = format!("{}-{}", self.group.name, self.group.voters.len());
            self.group.voters.push(Voter::new(&sub));
        }
        let voters = self.group.voters.len();
        if self.random.below(100) < 60 {
            let n = self.random.below(CLIPS);
            return self.vote(client, voters - 1, n);
        }
        let who = self.random.below(voters);
        let of = &self.group.voters[who].votes;
        let n = of.keys().copied().nth(self.random.below(of.len().max(1))).unwrap_or_default();
        match of.get(&n) {
            Some(Known::Stands(_)) if self.random.below(4) > 0 => self.retract(client, who, n),
            Some(Known::TakenBack) if self.random.below(4) == 0 => self.retract(client, who, n),
            _ => self.vote(client, who, n),
        }
    }

    fn vote(&mut self, client: &mut Client, who: usize, n: usize) -> Next {
        let (name, weight) = kind(self.random.next());
        let before = self.known(who, n);
        let body = json!({ "clipId": clip(n), "voteType": name });
        if let Some(Known::Stands(_)) = before {
            // A duplicate puts nothing at stake: the vote must stand whatever becomes of this request.
            return self.refusal(client, "POST", who, &body, (409, "ALREADY_VOTED"));
        }
        self.change(client, "POST", who, n, weight, &body, Known::Stands(weight))
    }

    fn retract(&mut self, client: &mut Client, who: usize, n: usize) -> Next {
        let body = json!({ "clipId": clip(n) });
        match self.known(who, n) {
            Some(Known::Stands(weight)) => self.change(client, "DELETE", who, n, weight, &body, Known::TakenBack),
            _ => self.refusal(client, "DELETE", who, &body, (404, "NOT_VOTED")),
        }
    }

    /// A request that must succeed. From before it is sent until it is answered, the ledger doesn't know the vote's state.
    #[allow(clippy::too_many_arguments, reason = "a request and its line in the ledger")]
    fn change(
        &mut self,
        client: &mut Client,
        method: &str,
        who: usize,
        n: usize,
        weight: u64,
        body: &Value,
        then: Known,
    ) -> Next {
        let before = self.known(who, n);
        self.group.voters[who].votes.insert(n, Known::Unanswered(weight));
        let Some(answer) = self.ask(client, method, who, body) else { return Next::End };
        if answer.status == 200 {
            self.group.voters[who].votes.insert(n, then);
            self.note_event(&answer);
            self.seen.done.fetch_add(1, Ordering::SeqCst);
            return Next::Turn;
        }
        let next = self.unable(&answer);
        if next == Next::Turn {
            let votes = &mut self.group.voters[who].votes;
            match before {
                Some(known) => drop(votes.insert(n, known)),
                None => drop(votes.remove(&n)),
            }
        }
        next
    }

    /// A request that must be refused, and then changes nothing.
    fn refusal(&mut self, client: &mut Client, method: &str, who: usize, body: &Value, with: (u16, &str)) -> Next {
        let Some(answer) = self.ask(client, method, who, body) else { return Next::End };
        if (answer.status, answer.body["error"].as_str()) == (with.0, Some(with.1)) {
            self.seen.refused.fetch_add(1, Ordering::SeqCst);
            return Next::Turn;
        }
        self.unable(&answer)
    }

    /// What a server may say at any time, and nothing else: that it can't take the request now, which changes nothing, or
    /// that its storage failed, which leaves the outcome open.
    fn unable(&self, answer: &Answer) -> Next {
        match (answer.status, answer.body["error"].as_str()) {
            (503, Some("OVERLOADED")) => Next::Turn,
            (503, Some("STORAGE_FAILED")) => {
                self.seen.failed.fetch_add(1, Ordering::SeqCst);
                Next::End
            }
            _ => panic!("this is not what the ledger says: {answer:?}"),
        }
    }

    fn ask(&mut self, client: &mut Client, method: &str, who: usize, body: &Value) -> Option<Answer> {
        let token = &self.group.voters[who].token;
        let answer = client.ask(method, "/api/vote", Some(token), Some(body)).ok();
        if answer.is_none() {
            self.seen.unanswered.fetch_add(1, Ordering::SeqCst);
        }
        answer
    }

    fn note_event(&mut self, answer: &Answer) {
        let event = answer.body["eventId"].as_str().and_then(|id| id.parse().ok());
        let event: u64 = event.unwrap_or_else(|| panic!("an answer names its event: {answer:?}"));
        assert!(event > self.group.last_event, "sequence {event} was given before: {answer:?}");
        self.group.last_event = event;
    }

    fn known(&self, who: usize, n: usize) -> Option<Known> {
        self.group.voters[who].votes.get(&n).copied()
    }
}
