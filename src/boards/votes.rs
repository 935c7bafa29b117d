//! Every vote that is in the tables, in memory, packed: 32 bytes a vote, 20 a voter and some 8 of index. A vote is in its
//! voter's list and in its clip's, which is in log order as a rule, so that the one before the last is at hand when the last
//! is taken back; where votes came in another order, that list is looked through.
//!
//! A vote can stand and not count: what takes votes out of the counts later needs no more than [`Votes::set_counts`].

use hashbrown::HashTable;

use super::ranking::Score;
use crate::domain::{ClipNo, Day, Seq, VoterId};
use crate::fold::ballot_block::Ballot;

/// Neither a voter nor a vote.
const NONE: u32 = u32::MAX;
/// In a voter's place that is free.
const FREE: u32 = 1 << 31;
/// Voters and votes at most, so that a place is never taken for [`FREE`].
pub(super) const MOST: u64 = FREE as u64 - 1;
/// Parts of the index, each of which grows by itself: growing moves a part, and readers wait for it.
const PARTS: usize = 256;

#[derive(Debug)]
struct Voter {
    id: VoterId,
    /// The newest vote; of a free place, [`FREE`] and the next free one.
    votes: u32,
}

/// A vote.
#[derive(Debug)]
pub(super) struct Vote {
    voter: u32,
    /// The voter's next older vote; of a free place, the next free one.
    next: u32,
    /// The clip's vote before it in the log.
    older: u32,
    /// The clip's vote behind it.
    newer: u32,
    /// For which clip.
    pub(super) clip: ClipNo,
    // A sequence in 48 bits: at a million votes a second, nine years.
    seq_low: u32,
    seq_high: u16,
    weight: u16,
    /// The day that it is charged to.
    pub(super) day: Day,
    /// Whether it counts.
    pub(super) counts: bool,
}

const _: () = assert!(size_of::<Voter>() == 20 && size_of::<Vote>() == 32);

impl Vote {
    fn seq(&self) -> Seq {
        u64::from(self.seq_high) << 32 | u64::from(self.seq_low)
    }
}

/// A clip's votes.
#[derive(Clone, Copy, Debug)]
struct Sums {
    newest: u32,
    /// Some vote came behind one that is later in the log.
    mixed: bool,
    all: Score,
    day: Score,
}

/// All of them.
#[derive(Debug)]
pub(super) struct Votes {
    index: Vec<HashTable<u32>>,
    voters: Slab<Voter>,
    cast: Slab<Vote>,
    clips: Vec<Sums>,
    today: Day,
    count: u64,
    known: u64,
}

impl Votes {
    /// None yet; votes charged to `today` are the day's.
    pub(super) fn new(today: Day) -> Self {
        let index = (0..PARTS).map(|_| HashTable::new()).collect();
        let (voters, cast) = (Slab::default(), Slab::default());
        Self { index, voters, cast, clips: Vec::new(), today, count: 0, known: 0 }
    }

    /// The day whose votes are the day's.
    pub(super) fn today(&self) -> Day {
        self.today
    }

    /// Another day begins.
    pub(super) fn begin_day(&mut self, day: Day) {
        self.today = day;
        self.clips.iter_mut().for_each(|sums| sums.day = Score::default());
    }

    /// How many voters there are.
    pub(super) fn known(&self) -> u64 {
        self.known
    }

    /// How many votes there are.
    pub(super) fn count(&self) -> u64 {
        self.count
    }

    /// One past the largest place of a voter.
    pub(super) fn voters_end(&self) -> u32 {
        self.voters.end()
    }

    /// A voter's place.
    pub(super) fn find(&self, voter: VoterId) -> Option<u32> {
        let is = |at: &u32| self.voters.get(*at).id == voter;
        self.index[part(voter)].find(voter.hash64(), is).copied()
    }

    /// The voter at a place.
    pub(super) fn voter(&self, at: u32) -> VoterId {
        self.voters.get(at).id
    }

    /// A voter's place, a new one for a new voter.
    pub(super) fn find_or_add(&mut self, voter: VoterId) -> u32 {
        if let Some(at) = self.find(voter) {
            return at;
        }
        let at = self
            .voters
            .put(Voter { id: voter, votes: NONE }, |free| if free.votes == NONE { NONE } else { free.votes & !FREE });
        let Self { index, voters, .. } = self;
        index[part(voter)].insert_unique(voter.hash64(), at, |at| voters.get(*at).id.hash64());
        self.known += 1;
        at
    }

    /// Adds a vote of the voter at a place; whether it counts.
    pub(super) fn cast(&mut self, voter: u32, seq: Seq, ballot: &Ballot, counts: bool) {
        let clip = ballot.clip;
        if self.clips.len() <= clip.index() {
            let none = Sums { newest: NONE, mixed: false, all: Score::default(), day: Score::default() };
            self.clips.resize(clip.index() + 1, none);
        }
        let (next, older) = (self.voters.get(voter).votes, self.clips[clip.index()].newest);
        let vote = Vote {
            voter,
            next,
            older,
            newer: NONE,
            clip,
            seq_low: u32::try_from(seq & u64::from(u32::MAX)).expect("masked"),
            seq_high: u16::try_from(seq >> 32).expect("a sequence has 48 bits"),
            weight: ballot.weight,
            day: ballot.day,
            counts: false,
        };
        let at = self.cast.put(vote, |free| free.next);
        if older != NONE {
            self.clips[clip.index()].mixed |= self.cast.get(older).seq() > seq;
            self.cast.get_mut(older).newer = at;
        }
        self.clips[clip.index()].newest = at;
        self.voters.get_mut(voter).votes = at;
        self.count += 1;
        self.set_counts(at, counts);
    }

    /// A vote's sequence.
    pub(super) fn seq_of(&self, at: u32) -> Seq {
        self.cast.get(at).seq()
    }

    /// A voter's vote for a clip.
    pub(super) fn find_vote(&self, voter: u32, clip: ClipNo) -> Option<u32> {
        self.list(voter).find(|(_, vote)| vote.clip == clip).map(|(at, _)| at)
    }

    /// A clip's vote that came last.
    pub(super) fn newest_of(&self, clip: ClipNo) -> Option<u32> {
        self.clips.get(clip.index()).map(|sums| sums.newest).filter(|at| *at != NONE)
    }

    /// A voter's votes: places and sequences, the newest first.
    pub(super) fn of(&self, voter: u32) -> Vec<(u32, Seq)> {
        self.list(voter).map(|(at, vote)| (at, vote.seq())).collect()
    }

    /// A vote's voter, clip and day.
    pub(super) fn facts(&self, at: u32) -> (u32, ClipNo, Day) {
        let Vote { voter, clip, day, .. } = *self.cast.get(at);
        (voter, clip, day)
    }

    /// Where a clip's votes of these sequences, ascending, are. Looks through all that it has.
    pub(super) fn find_all(&self, clip: ClipNo, seqs: &[Seq]) -> Vec<(u32, Seq)> {
        let (mut found, mut at) = (Vec::new(), self.newest_of(clip).unwrap_or(NONE));
        while at != NONE && found.len() < seqs.len() {
            let vote = self.cast.get(at);
            if seqs.binary_search(&vote.seq()).is_ok() {
                found.push((at, vote.seq()));
            }
            at = vote.older;
        }
        found
    }

    /// Takes a vote from its voter, who goes with their last one. [`Votes::give`] follows.
    pub(super) fn part(&mut self, at: u32) {
        let Vote { voter, next, .. } = *self.cast.get(at);
        let before = self.list(voter).find(|(_, vote)| vote.next == at).map(|(before, _)| before);
        match before {
            Some(before) => self.cast.get_mut(before).next = next,
            None => self.voters.get_mut(voter).votes = next,
        }
        if self.voters.get(voter).votes == NONE {
            let id = self.voters.get(voter).id;
            let entry = self.index[part(id)].find_entry(id.hash64(), |at| *at == voter);
            entry.expect("a voter is in the index").remove();
            self.voters.give_back(voter, |voter, free| voter.votes = free | FREE);
            self.known -= 1;
        }
    }

    /// Gives a vote that was taken from its voter to another.
    pub(super) fn give(&mut self, at: u32, voter: u32) {
        let next = std::mem::replace(&mut self.voters.get_mut(voter).votes, at);
        let vote = self.cast.get_mut(at);
        (vote.voter, vote.next) = (voter, next);
    }

    /// Takes a vote out, and its voter with their last one.
    pub(super) fn remove(&mut self, at: u32) {
        self.set_counts(at, false);
        let Vote { older, newer, clip, .. } = *self.cast.get(at);
        match older {
            NONE => {}
            older => self.cast.get_mut(older).newer = newer,
        }
        match newer {
            NONE => self.clips[clip.index()].newest = older,
            newer => self.cast.get_mut(newer).older = older,
        }
        self.part(at);
        self.cast.give_back(at, |vote, free| vote.next = free);
        self.count -= 1;
    }

    /// Has a vote count, or not.
    pub(super) fn set_counts(&mut self, at: u32, counts: bool) {
        let vote = self.cast.get_mut(at);
        if vote.counts == counts {
            return;
        }
        vote.counts = counts;
        let (seq, weight, of_today, clip) = (vote.seq(), vote.weight, vote.day == self.today, vote.clip.index());
        let before = |wanted: &dyn Fn(&Vote) -> bool| self.counted_before(at, wanted);
        let Sums { mut all, mut day, .. } = self.clips[clip];
        change(&mut all, seq, weight, counts, || before(&|_| true));
        if of_today {
            change(&mut day, seq, weight, counts, || before(&|vote| vote.day == self.today));
        }
        (self.clips[clip].all, self.clips[clip].day) = (all, day);
    }

    /// A clip's score.
    pub(super) fn of_clip(&self, clip: ClipNo, day: bool) -> Score {
        let sums = self.clips.get(clip.index());
        sums.map_or(Score::default(), |sums| if day { sums.day } else { sums.all })
    }

    /// The score of a voter's votes that are wanted.
    pub(super) fn of_voter(&self, voter: u32, wanted: impl Fn(&Vote) -> bool) -> Score {
        let mut score = Score::default();
        for (_, vote) in self.list(voter).filter(|(_, vote)| vote.counts && wanted(vote)) {
            score.weight += u64::from(vote.weight);
            score.votes += 1;
            score.last = score.last.max(vote.seq());
        }
        score
    }

    /// Whether there is a voter with votes at a place.
    pub(super) fn is_voter(&self, at: u32) -> bool {
        self.voters.get(at).votes & FREE == 0
    }

    /// The last sequence of the clip's counting votes before one.
    fn counted_before(&self, at: u32, wanted: &dyn Fn(&Vote) -> bool) -> Seq {
        let of = self.clips[self.cast.get(at).clip.index()];
        let mut older = if of.mixed { of.newest } else { self.cast.get(at).older };
        let mut last = 0;
        while older != NONE && (of.mixed || last == 0) {
            let vote = self.cast.get(older);
            if vote.counts && wanted(vote) {
                last = last.max(vote.seq());
            }
            older = vote.older;
        }
        last
    }

    fn list(&self, voter: u32) -> impl Iterator<Item = (u32, &Vote)> {
        let mut at = self.voters.get(voter).votes;
        std::iter::from_fn(move || {
            let this = (at != NONE).then(|| (at, self.cast.get(at)))?;
            at = this.1.next;
            Some(this)
        })
    }
}

/// Takes a vote into a score, or out of it. `before`: the last counting one before it, for when it was the last.
fn change(score: &mut Score, seq: Seq, weight: u16, counts: bool, before: impl FnOnce() -> Seq) {
    if counts {
        (score.votes, score.weight) = (score.votes + 1, score.weight + u64::from(weight));
        score.last = score.last.max(seq);
    } else {
        (score.votes, score.weight) = (score.votes - 1, score.weight - u64::from(weight));
        if score.last == seq {
            score.last = before();
        }
    }
}

fn part(voter: VoterId) -> usize {
    // The table inside the part looks at the id's first half.
    usize::from(voter.0[15]) % PARTS
}

/// Things with room to be used again, in chunks: growing copies nothing.
#[derive(Debug)]
struct Slab<T> {
    chunks: Vec<Vec<T>>,
    free: u32,
}

const CHUNK: usize = 8_192;

impl<T> Default for Slab<T> {
    fn default() -> Self {
        Self { chunks: Vec::new(), free: NONE }
    }
}

impl<T> Slab<T> {
    fn get(&self, at: u32) -> &T {
        &self.chunks[at as usize / CHUNK][at as usize % CHUNK]
    }

    fn get_mut(&mut self, at: u32) -> &mut T {
        &mut self.chunks[at as usize / CHUNK][at as usize % CHUNK]
    }

    /// One past the largest place.
    fn end(&self) -> u32 {
        let full = self.chunks.len().saturating_sub(1) * CHUNK;
        u32::try_from(full + self.chunks.last().map_or(0, Vec::len)).expect("the bounds of the boards fit 32 bits")
    }

    /// `next` says which place is free behind a free one.
    fn put(&mut self, item: T, next: impl Fn(&T) -> u32) -> u32 {
        if self.free != NONE {
            let at = self.free;
            self.free = next(self.get(at));
            *self.get_mut(at) = item;
            return at;
        }
        if self.chunks.last().is_none_or(|chunk| chunk.len() == CHUNK) {
            self.chunks.push(Vec::with_capacity(CHUNK));
        }
        let at = self.end();
        self.chunks.last_mut().expect("there is one with room").push(item);
        at
    }

    /// `note` writes which place is free behind this one.
    fn give_back(&mut self, at: u32, note: impl Fn(&mut T, u32)) {
        let free = self.free;
        note(self.get_mut(at), free);
        self.free = at;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::VoteKind;
    use crate::fold::ballot_block::Act;

    /// A clip's votes at these sequences, in the order that they come.
    fn votes(seqs: &[Seq]) -> Votes {
        let mut votes = Votes::new(1);
        for seq in seqs {
            let id = VoterId([u8::try_from(*seq).unwrap(); 16]);
            let (clip, act) = (ClipNo(2), Act::Cast(VoteKind::Standard));
            let day = u16::from(seq.is_multiple_of(2));
            let voter = votes.find_or_add(id);
            votes.cast(
                voter,
                *seq,
                &Ballot { voter: id, clip, weight: 1, day, act, origin: crate::domain::Origin::default() },
                true,
            );
        }
        votes
    }

    #[test]
    fn the_last_that_counts_is_found_in_any_order_and_comes_back() {
        for order in [[1, 2, 3, 4, 5, 6], [6, 5, 4, 3, 2, 1], [3, 6, 1, 5, 2, 4]] {
            let mut votes = votes(&order);
            let last = |votes: &Votes| (votes.of_clip(ClipNo(2), false), votes.of_clip(ClipNo(2), true));
            let score = |votes: u32, last| Score { weight: votes.into(), votes, last };
            assert_eq!(last(&votes), (score(6, 6), score(3, 6)));
            let at =
                |votes: &Votes, seq: u8| votes.find_vote(votes.find(VoterId([seq; 16])).unwrap(), ClipNo(2)).unwrap();
            for masked in [6, 4] {
                votes.set_counts(at(&votes, masked), false);
            }
            assert_eq!(last(&votes), (score(4, 5), score(1, 2)));
            votes.remove(at(&votes, 5));
            assert_eq!(last(&votes), (score(3, 3), score(1, 2)));
            assert!(votes.find(VoterId([5; 16])).is_none(), "their only vote is gone");
            votes.set_counts(at(&votes, 4), true);
            votes.set_counts(at(&votes, 4), true);
            assert_eq!(last(&votes), (score(4, 4), score(2, 4)));
            // One that doesn't count goes, and nothing changes.
            votes.remove(at(&votes, 6));
            assert_eq!((last(&votes), votes.count()), ((score(4, 4), score(2, 4)), 4));
        }
    }
}
