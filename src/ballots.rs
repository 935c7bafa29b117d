//! Who voted for what in the slots that are open, and what they used of today's limit.
//!
//! [`Ballots::claim`] decides duplicate and daily limit in one step, under the one lock of the voter's shard, and has the
//! event enqueued while it holds that lock: so the log's order is the order of claims for every voter. A claim is in
//! flight until its event is settled ([`Ballots::settle`]) or refused ([`Ballots::release`]); a request that meets one in flight
//! has to wait for it, since it may still be refused.
//!
//! Never: evicts a voter with a ballot in an open slot, blocks under a lock, reads a clock.

mod shard;

use std::ops::Range;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use parking_lot::Mutex;

use crate::domain::{ClipNo, Day, Seq, VoterId};
pub use shard::{Place, Standing};
use shard::{Shard, State};

/// Shards; each has one lock. Also the most claims that can be under way at once, which the queue's reserve builds on.
pub const SHARDS: usize = 256;

/// All ballots in memory.
#[derive(Debug)]
pub struct Ballots {
    shards: Box<[Mutex<Shard>]>,
    voters: AtomicU64,
    today: AtomicU32,
    daily_limit: u32,
    max_voters: u64,
}

/// What became of a claim. Nothing was changed unless it was sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Claim {
    /// Enqueued; so much is left of the day's limit with it.
    Sent {
        /// Weight left today.
        remaining: u32,
    },
    /// A vote for the clip stands.
    Duplicate,
    /// A vote for the clip, or its retraction, or a claim that the limit depends on, is in flight: wait and ask again.
    InFlight,
    /// The weight is more than is left.
    OverLimit {
        /// Weight left today.
        remaining: u32,
    },
    /// The queue is full.
    QueueFull,
    /// No room for another voter.
    VotersFull,
}

/// What became of a retraction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TakeBack {
    /// Enqueued.
    Sent,
    /// There is no vote.
    NotVoted,
    /// The vote, or an earlier retraction of it, is in flight.
    InFlight,
    /// The queue is full.
    QueueFull,
}

/// What a voter used on a day.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Used {
    /// The day that a vote is charged to now.
    pub day: Day,
    /// Weight used on it.
    pub weight: u32,
}

impl Ballots {
    /// None yet.
    pub fn new(daily_limit: u32, max_voters: u64) -> Self {
        let shards = (0..SHARDS).map(|_| Mutex::new(Shard::default())).collect();
        Self { shards, voters: AtomicU64::new(0), today: AtomicU32::new(0), daily_limit, max_voters }
    }

    /// The day that votes are charged to, given what the clock says. A day once begun is not left when the clock jumps back.
    pub fn day(&self, clock: Day) -> Day {
        let began = self.today.load(Ordering::Relaxed);
        let day = if began >= u32::from(clock) {
            began
        } else {
            self.today.fetch_max(u32::from(clock), Ordering::Relaxed).max(u32::from(clock))
        };
        Day::try_from(day).expect("only days go in")
    }

    /// Claims a vote. `send` enqueues it, charged to the day it is given, without blocking; `false` if the queue is full. The
    /// place it is given goes back into [`Ballots::settle`].
    pub fn claim(
        &self,
        voter: VoterId,
        clip: ClipNo,
        weight: u16,
        clock: Day,
        send: impl FnOnce(Day, Place) -> bool,
    ) -> Claim {
        let day = self.day(clock);
        let mut shard = self.shard(voter).lock();
        let known = shard.find(voter);
        if let Some(at) = known {
            match shard.state(at, clip) {
                Some(State::Standing) => return Claim::Duplicate,
                Some(State::Claimed | State::Leaving) => return Claim::InFlight,
                None => {}
            }
        } else if self.voters.load(Ordering::Relaxed) >= self.max_voters {
            return Claim::VotersFull;
        }
        let Used { day, weight: used } = known.map_or(Used { day, weight: 0 }, |at| shard.used(at, day));
        let remaining = self.daily_limit.saturating_sub(used);
        let Some(left) = remaining.checked_sub(u32::from(weight)) else {
            // What is in flight may yet be refused and give its weight back: the answer waits for it.
            let moving = known.is_some_and(|at| shard.moving(at));
            return if moving { Claim::InFlight } else { Claim::OverLimit { remaining } };
        };
        if !send(day, shard.next_place()) {
            return Claim::QueueFull;
        }
        let at = known.unwrap_or_else(|| {
            self.voters.fetch_add(1, Ordering::Relaxed);
            shard.add_voter(voter)
        });
        shard.charge(at, day, u32::from(weight));
        shard.add_vote(at, clip, weight, day);
        Claim::Sent { remaining: left }
    }

    /// Claims the retraction of a vote that stands. `send` enqueues it without blocking; `false` if the queue is full.
    pub fn take_back(&self, voter: VoterId, clip: ClipNo, send: impl FnOnce(Standing) -> bool) -> TakeBack {
        let mut shard = self.shard(voter).lock();
        let Some(at) = shard.find(voter) else { return TakeBack::NotVoted };
        match shard.state(at, clip) {
            None => TakeBack::NotVoted,
            Some(State::Claimed | State::Leaving) => TakeBack::InFlight,
            Some(State::Standing) => {
                let standing = shard.standing(at, clip).expect("it stands");
                if !send(standing) {
                    return TakeBack::QueueFull;
                }
                shard.set_state(at, clip, State::Leaving);
                TakeBack::Sent
            }
        }
    }

    /// A claimed vote stands, at its sequence. It has not moved since the claim: nothing in flight does.
    pub fn settle(&self, voter: VoterId, place: Place, seq: Seq) {
        self.shard(voter).lock().stand(place, seq);
    }

    /// A claimed vote was refused behind the queue: the claim and its weight come back.
    pub fn release(&self, voter: VoterId, clip: ClipNo) {
        self.drop_vote(voter, clip);
    }

    /// A retraction is settled: the vote is gone, and its weight comes back if it was charged to the voter's current day.
    pub fn settle_back(&self, voter: VoterId, clip: ClipNo) {
        self.drop_vote(voter, clip);
    }

    /// A retraction was refused: the vote stands as before.
    pub fn restore(&self, voter: VoterId, clip: ClipNo) {
        let mut shard = self.shard(voter).lock();
        let at = shard.find(voter).expect("a retracted vote has its voter");
        shard.set_state(at, clip, State::Standing);
    }

    /// Puts a stored vote in, in log order. `false` if one stands already: the store contradicts itself.
    pub fn load(&self, voter: VoterId, clip: ClipNo, standing: Standing) -> bool {
        let mut shard = self.shard(voter).lock();
        let at = self.known_or_new(&mut shard, voter);
        if shard.state(at, clip).is_some() {
            return false;
        }
        shard.charge(at, standing.day, u32::from(standing.weight));
        let place = shard.next_place();
        shard.add_vote(at, clip, standing.weight, standing.day);
        shard.stand(place, standing.seq);
        true
    }

    /// Takes a stored retraction in, in log order. `false` if no such vote stands.
    pub fn load_back(&self, voter: VoterId, clip: ClipNo, vote: Seq) -> bool {
        let mut shard = self.shard(voter).lock();
        let Some(at) = shard.find(voter) else { return false };
        if shard.standing(at, clip).is_none_or(|standing| standing.seq != vote) {
            return false;
        }
        shard.remove_vote(at, clip);
        true
    }

    /// Charges a vote in a slot that has closed since. A retracted one takes `back`.
    pub fn load_charge(&self, voter: VoterId, day: Day, weight: u16, back: bool) {
        let mut shard = self.shard(voter).lock();
        let at = self.known_or_new(&mut shard, voter);
        if back {
            shard.uncharge(at, day, u32::from(weight));
        } else {
            shard.charge(at, day, u32::from(weight));
        }
    }

    /// The shard that a voter's ballots are in: a loader that owns a shard meets no other at its lock.
    pub fn shard_of(voter: VoterId) -> usize {
        // The table inside the shard looks at the id's first half.
        usize::from(voter.0[15]) % SHARDS
    }

    /// Whether anything of the voter is in memory: a vote in a slot that isn't locked, or today's weight.
    pub fn knows(&self, voter: VoterId) -> bool {
        self.shard(voter).lock().find(voter).is_some()
    }

    /// A voter in memory that is so. Looks at all of them, and holds no lock while it does.
    pub fn find(&self, so: impl Fn(VoterId) -> bool) -> Option<VoterId> {
        self.shards.iter().find_map(|shard| {
            let ids = shard.lock().ids();
            ids.into_iter().find(|voter| so(*voter))
        })
    }

    /// Whether the voter's vote for the clip stands.
    pub fn stands(&self, voter: VoterId, clip: ClipNo) -> bool {
        let shard = self.shard(voter).lock();
        shard.find(voter).is_some_and(|at| matches!(shard.state(at, clip), Some(State::Standing | State::Leaving)))
    }

    /// What a voter used of the current day.
    pub fn used(&self, voter: VoterId, clock: Day) -> Used {
        let day = self.day(clock);
        let shard = self.shard(voter).lock();
        shard.find(voter).map_or(Used { day, weight: 0 }, |at| shard.used(at, day))
    }

    /// The daily limit.
    pub fn daily_limit(&self) -> u32 {
        self.daily_limit
    }

    /// Voters in memory.
    pub fn voters(&self) -> u64 {
        self.voters.load(Ordering::Relaxed)
    }

    /// Forgets, in these places of one shard, the settled votes for clips that match, and voters of whom nothing is left to
    /// remember today; whether there are places behind. It holds the shard's lock: a few places a call, so that its votes wait
    /// for no longer than that.
    pub fn forget(&self, shard: usize, places: Range<usize>, clock: Day, gone: impl Fn(ClipNo) -> bool) -> bool {
        let today = self.day(clock);
        let (left, more) = self.shards[shard].lock().forget(places, today, gone);
        self.voters.fetch_sub(left, Ordering::Relaxed);
        more
    }

    fn shard(&self, voter: VoterId) -> &Mutex<Shard> {
        &self.shards[Self::shard_of(voter)]
    }

    fn known_or_new(&self, shard: &mut Shard, voter: VoterId) -> usize {
        shard.find(voter).unwrap_or_else(|| {
            self.voters.fetch_add(1, Ordering::Relaxed);
            shard.add_voter(voter)
        })
    }

    fn drop_vote(&self, voter: VoterId, clip: ClipNo) {
        let mut shard = self.shard(voter).lock();
        let at = shard.find(voter).expect("a vote in flight has its voter");
        shard.remove_vote(at, clip);
    }
}

#[cfg(test)]
mod tests;
