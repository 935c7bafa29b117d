//! One shard's voters and votes, packed: 28 bytes a voter, 20 a vote, and an index of 4-byte places, so that a voter with
//! one vote stays below 64 bytes whatever the index's load.
//!
//! Votes of a voter are a list through the slab: a voter has few, and the daily limit keeps them so.

use std::ops::Range;

use hashbrown::HashTable;

use super::Used;
use crate::domain::{ClipNo, Day, Seq, VoterId};

/// Neither a voter nor a vote.
const NONE: u32 = u32::MAX;

/// Where a vote is between its claim and its end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum State {
    /// Enqueued, not settled.
    Claimed,
    /// Settled: it is on the disk.
    Standing,
    /// Its retraction is enqueued.
    Leaving,
}

/// A settled vote, as its retraction names it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Standing {
    /// Its sequence.
    pub seq: Seq,
    /// What it weighs.
    pub weight: u16,
    /// The day it is charged to.
    pub day: Day,
}

#[derive(Debug)]
struct Voter {
    id: VoterId,
    /// The newest vote; of a free place, the next free one.
    votes: u32,
    used: u32,
    day: Day,
    /// Not so in a free place.
    there: bool,
}

#[derive(Debug)]
struct Vote {
    /// The voter's next older vote; of a free place, the next free one.
    next: u32,
    clip: ClipNo,
    // A sequence in 48 bits: at a million votes a second, nine years.
    seq_low: u32,
    seq_high: u16,
    day: Day,
    weight: u16,
    state: State,
}

const _: () = assert!(size_of::<Voter>() == 28 && size_of::<Vote>() == 20);

/// Where a claimed vote is in its shard, until it is settled: settlement need not look for it again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Place(u32);

impl Place {
    /// Of what is no vote.
    pub const NONE: Self = Self(NONE);
}

/// One shard.
#[derive(Debug, Default)]
pub(super) struct Shard {
    index: HashTable<u32>,
    voters: Slab<Voter>,
    votes: Slab<Vote>,
}

impl Shard {
    /// A voter's place.
    pub(super) fn find(&self, voter: VoterId) -> Option<usize> {
        self.index.find(voter.hash64(), |at| self.voters.get(*at as usize).id == voter).map(|at| *at as usize)
    }

    /// All its voters.
    pub(super) fn ids(&self) -> Vec<VoterId> {
        self.index.iter().map(|at| self.voters.get(*at as usize).id).collect()
    }

    /// Adds a voter who isn't there.
    pub(super) fn add_voter(&mut self, id: VoterId) -> usize {
        let at = self.voters.put(Voter { id, votes: NONE, used: 0, day: 0, there: true });
        let Self { index, voters, .. } = self;
        index.insert_unique(id.hash64(), at, |at| voters.get(*at as usize).id.hash64());
        at as usize
    }

    /// What the voter used of a day, or of the later one that they began already.
    pub(super) fn used(&self, at: usize, day: Day) -> Used {
        let voter = self.voters.get(at);
        if voter.day >= day { Used { day: voter.day, weight: voter.used } } else { Used { day, weight: 0 } }
    }

    /// Charges a weight to a day; one that has passed is charged no more.
    pub(super) fn charge(&mut self, at: usize, day: Day, weight: u32) {
        let voter = self.voters.get_mut(at);
        if day > voter.day {
            (voter.day, voter.used) = (day, 0);
        }
        if day == voter.day {
            voter.used += weight;
        }
    }

    /// Gives a weight back, if that day is still the voter's current one.
    pub(super) fn uncharge(&mut self, at: usize, day: Day, weight: u32) {
        let voter = self.voters.get_mut(at);
        if day == voter.day {
            voter.used = voter.used.checked_sub(weight).expect("what comes back was charged");
        }
    }

    /// Adds a claimed vote.
    pub(super) fn add_vote(&mut self, at: usize, clip: ClipNo, weight: u16, day: Day) {
        let next = self.voters.get(at).votes;
        let vote = Vote { next, clip, seq_low: 0, seq_high: 0, day, weight, state: State::Claimed };
        self.voters.get_mut(at).votes = self.votes.put(vote);
    }

    /// Where the next vote to be added will be.
    pub(super) fn next_place(&self) -> Place {
        Place(self.votes.next())
    }

    /// A claimed vote is settled.
    pub(super) fn stand(&mut self, place: Place, seq: Seq) {
        let vote = self.votes.get_mut(place.0 as usize);
        assert_eq!(vote.state, State::Claimed, "a claimed vote stays in its place until it is settled");
        vote.seq_low = u32::try_from(seq & u64::from(u32::MAX)).expect("masked");
        vote.seq_high = u16::try_from(seq >> 32).expect("a sequence has 48 bits");
        vote.state = State::Standing;
    }

    /// Takes a vote out, and its weight back.
    pub(super) fn remove_vote(&mut self, at: usize, clip: ClipNo) {
        let mut before = NONE;
        let mut vote = self.voters.get(at).votes;
        while self.votes.get(vote as usize).clip != clip {
            (before, vote) = (vote, self.votes.get(vote as usize).next);
        }
        let Vote { next, weight, day, .. } = *self.votes.get(vote as usize);
        if before == NONE {
            self.voters.get_mut(at).votes = next;
        } else {
            self.votes.get_mut(before as usize).next = next;
        }
        self.free_vote(vote);
        self.uncharge(at, day, u32::from(weight));
    }

    /// Where the voter's vote for a clip is, if there is one.
    pub(super) fn state(&self, at: usize, clip: ClipNo) -> Option<State> {
        self.vote(at, clip).map(|vote| self.votes.get(vote as usize).state)
    }

    /// Moves a vote that is there.
    pub(super) fn set_state(&mut self, at: usize, clip: ClipNo, state: State) {
        let vote = self.vote(at, clip).expect("only a vote that is there moves");
        self.votes.get_mut(vote as usize).state = state;
    }

    /// A settled vote.
    pub(super) fn standing(&self, at: usize, clip: ClipNo) -> Option<Standing> {
        let vote = self.votes.get(self.vote(at, clip)? as usize);
        let seq = u64::from(vote.seq_high) << 32 | u64::from(vote.seq_low);
        (vote.state == State::Standing).then_some(Standing { seq, weight: vote.weight, day: vote.day })
    }

    /// Whether anything of the voter is in flight.
    pub(super) fn moving(&self, at: usize) -> bool {
        self.list(at).any(|vote| self.votes.get(vote as usize).state != State::Standing)
    }

    /// Forgets, of the voters in these places, the settled votes for clips that match, and those voters of whom nothing is left.
    /// Says how many went, and whether there are places behind.
    ///
    /// Voters don't move, and one who comes to a place that was gone through has nothing to be forgotten: places in turn are all.
    pub(super) fn forget(&mut self, places: Range<usize>, today: Day, gone: impl Fn(ClipNo) -> bool) -> (u64, bool) {
        let (all, before) = (self.voters.places(), self.index.len());
        for at in places.start..places.end.min(all) {
            if self.voters.get(at).there && !self.keep(at, today, &gone) {
                self.remove_voter(at);
            }
        }
        let left = (before - self.index.len()) as u64;
        let Self { index, voters, .. } = self;
        if places.end >= all && index.len() < index.capacity() / 4 {
            index.shrink_to_fit(|at| voters.get(*at as usize).id.hash64());
        }
        (left, places.end < all)
    }

    /// Frees a voter's settled votes for clips that match; whether anything is left to remember today.
    fn keep(&mut self, at: usize, today: Day, gone: impl Fn(ClipNo) -> bool) -> bool {
        let (mut kept, mut vote) = (NONE, self.voters.get(at).votes);
        while vote != NONE {
            let this = self.votes.get_mut(vote as usize);
            let next = this.next;
            if this.state == State::Standing && gone(this.clip) {
                self.free_vote(vote);
            } else {
                this.next = kept;
                kept = vote;
            }
            vote = next;
        }
        let voter = self.voters.get_mut(at);
        voter.votes = kept;
        kept != NONE || (voter.used > 0 && voter.day >= today)
    }

    fn remove_voter(&mut self, at: usize) {
        let place = u32::try_from(at).expect("a shard's places fit 32 bits");
        let hash = self.voters.get(at).id.hash64();
        let entry = self.index.find_entry(hash, |known| *known == place);
        entry.unwrap_or_else(|_| panic!("a voter who is there has their place in the index")).remove();
        let free = std::mem::replace(&mut self.voters.free, place);
        let voter = self.voters.get_mut(at);
        (voter.there, voter.votes) = (false, free);
    }

    fn vote(&self, at: usize, clip: ClipNo) -> Option<u32> {
        self.list(at).find(|vote| self.votes.get(*vote as usize).clip == clip)
    }

    fn list(&self, at: usize) -> impl Iterator<Item = u32> {
        let mut vote = self.voters.get(at).votes;
        std::iter::from_fn(move || {
            let this = vote;
            if this == NONE {
                return None;
            }
            vote = self.votes.get(this as usize).next;
            Some(this)
        })
    }

    fn free_vote(&mut self, vote: u32) {
        self.votes.get_mut(vote as usize).next = self.votes.free;
        self.votes.free = vote;
    }
}

/// Things with room to be used again, in chunks: growing copies nothing and wastes at most a chunk.
#[derive(Debug)]
struct Slab<T> {
    chunks: Vec<Vec<T>>,
    free: u32,
}

const CHUNK: usize = 128;

impl<T> Default for Slab<T> {
    fn default() -> Self {
        Self { chunks: Vec::new(), free: NONE }
    }
}

impl<T> Slab<T> {
    fn get(&self, at: usize) -> &T {
        &self.chunks[at / CHUNK][at % CHUNK]
    }

    fn get_mut(&mut self, at: usize) -> &mut T {
        &mut self.chunks[at / CHUNK][at % CHUNK]
    }

    /// Places that there are, the free ones included.
    fn places(&self) -> usize {
        self.chunks.len().saturating_sub(1) * CHUNK + self.chunks.last().map_or(0, Vec::len)
    }
}

trait Linked {
    /// What a free place says of the next.
    fn next_free(&self) -> u32;
}

impl Linked for Voter {
    fn next_free(&self) -> u32 {
        self.votes
    }
}

impl Linked for Vote {
    fn next_free(&self) -> u32 {
        self.next
    }
}

impl<T: Linked> Slab<T> {
    /// Where the next [`Slab::put`] puts.
    fn next(&self) -> u32 {
        if self.free != NONE {
            return self.free;
        }
        u32::try_from(self.places()).expect("a shard's places fit 32 bits")
    }

    fn put(&mut self, item: T) -> u32 {
        if self.free != NONE {
            let at = self.free;
            self.free = self.get(at as usize).next_free();
            *self.get_mut(at as usize) = item;
            return at;
        }
        if self.chunks.last().is_none_or(|chunk| chunk.len() == CHUNK) {
            self.chunks.push(Vec::with_capacity(CHUNK));
        }
        let at = self.next();
        self.chunks.last_mut().expect("there is one with room").push(item);
        at
    }
}
