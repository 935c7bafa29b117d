//! An order that is kept while scores change: who is where, and who comes next, in microseconds at a million.
//!
//! Keys lie sorted in chunks of at most [`CHUNK`]. Finding one searches the chunks' last keys and then a chunk; a rank adds
//! up the lengths of the chunks in front. A key that comes at the end of a chunk begins another rather than halving it,
//! since ties come in the order of their sequences. About 32 bytes a key.

/// Keys of a chunk at most.
const CHUNK: usize = 512;

/// What counts for a rank.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Score {
    /// Weight of the votes that count.
    pub weight: u64,
    /// How many they are.
    pub votes: u32,
    /// The sequence of the last of them.
    pub last: u64,
}

impl Score {
    /// Whether there is nothing to be ranked by.
    pub fn is_empty(self) -> bool {
        self.votes == 0
    }
}

/// A score and whose it is, in the order of ranks: weight, then votes, then the smaller sequence.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Key {
    // Inverted, so that the larger comes first.
    weight: u64,
    votes: u32,
    last: u64,
    id: u32,
}

impl Key {
    fn new(score: Score, id: u32) -> Self {
        Self { weight: !score.weight, votes: !score.votes, last: score.last, id }
    }

    fn score(self) -> Score {
        Score { weight: !self.weight, votes: !self.votes, last: self.last }
    }
}

/// Ids in the order of their scores.
#[derive(Debug, Default)]
pub struct Ranking {
    chunks: Vec<Vec<Key>>,
    /// The last key of each chunk.
    ends: Vec<Key>,
    len: usize,
}

impl Ranking {
    /// How many are ranked.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether nobody is.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Ranks an id that isn't ranked.
    pub fn insert(&mut self, score: Score, id: u32) {
        let key = Key::new(score, id);
        self.len += 1;
        let at = self.ends.partition_point(|end| *end < key);
        if at == self.chunks.len() {
            // Behind all others.
            match self.chunks.last_mut().filter(|chunk| chunk.len() < CHUNK) {
                Some(chunk) => {
                    chunk.push(key);
                    *self.ends.last_mut().expect("one a chunk") = key;
                }
                None => self.begin(at, vec![key]),
            }
            return;
        }
        let place = self.chunks[at].partition_point(|other| *other < key);
        if place == 0 && at > 0 && self.chunks[at - 1].len() < CHUNK {
            // Between two chunks: it goes where the run of those before it ends.
            self.chunks[at - 1].push(key);
            self.ends[at - 1] = key;
            return;
        }
        if self.chunks[at].len() < CHUNK {
            self.chunks[at].insert(place, key);
            return;
        }
        if place == 0 {
            return self.begin(at, vec![key]);
        }
        let mut behind = self.chunks[at].split_off(CHUNK / 2);
        if place <= CHUNK / 2 {
            self.chunks[at].insert(place, key);
        } else {
            behind.insert(place - CHUNK / 2, key);
        }
        // Half of a chunk is spare: it may never be used.
        self.chunks[at].shrink_to(CHUNK / 2 + 1);
        self.ends[at] = *self.chunks[at].last().expect("half a chunk");
        self.begin(at + 1, behind);
    }

    /// Takes an id out; its score is the one that it was ranked by.
    pub fn remove(&mut self, score: Score, id: u32) {
        let key = Key::new(score, id);
        let at = self.ends.partition_point(|end| *end < key);
        let chunk = &mut self.chunks[at];
        let place = chunk.binary_search(&key).expect("what is taken out is ranked");
        chunk.remove(place);
        self.len -= 1;
        let Some(end) = chunk.last().copied() else {
            self.chunks.remove(at);
            self.ends.remove(at);
            return;
        };
        self.ends[at] = end;
        let (here, room) = (self.chunks[at].len(), CHUNK * 3 / 4);
        if here <= CHUNK / 4 && self.chunks.get(at + 1).is_some_and(|next| next.len() + here <= room) {
            let mut next = self.chunks.remove(at + 1);
            self.chunks[at].append(&mut next);
            self.ends.remove(at);
        }
    }

    /// How many are ranked before this score; an id that has it comes next.
    pub fn before(&self, score: Score) -> usize {
        self.rank_of(Key::new(score, 0))
    }

    /// From just behind a score, or from the front, downwards: (rank from 1, id, score).
    pub fn page(&self, behind: Option<Score>, limit: usize) -> Vec<(usize, u32, Score)> {
        let from = behind.map_or(0, |score| self.rank_of(Key::new(score, u32::MAX)));
        let (mut at, mut within) = (0, from);
        while self.chunks.get(at).is_some_and(|chunk| chunk.len() <= within) {
            within -= self.chunks[at].len();
            at += 1;
        }
        let keys = self.chunks[at..].iter().flatten().skip(within).take(limit);
        (from + 1..).zip(keys).map(|(rank, key)| (rank, key.id, key.score())).collect()
    }

    fn rank_of(&self, key: Key) -> usize {
        let at = self.ends.partition_point(|end| *end < key);
        let within = self.chunks.get(at).map_or(0, |chunk| chunk.partition_point(|other| *other < key));
        self.chunks[..at].iter().map(Vec::len).sum::<usize>() + within
    }

    fn begin(&mut self, at: usize, mut keys: Vec<Key>) {
        // Rarely grows once more: a chunk doubles at most thrice until it is full.
        keys.reserve_exact(CHUNK / 8);
        self.ends.insert(at, *keys.last().expect("a chunk begins with a key"));
        self.chunks.insert(at, keys);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn score(weight: u64, votes: u32, last: u64) -> Score {
        Score { weight, votes, last }
    }

    #[derive(Clone, Debug)]
    enum Step {
        /// So many, with rising sequences.
        Run(u64, u32, u16),
        One(u64, u32, u64),
        Remove(prop::sample::Index, u16),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            2 => (0_u64..4, 1_u32..4, 1_u16..900).prop_map(|(weight, votes, count)| Step::Run(weight, votes, count)),
            4 => (0_u64..4, 1_u32..4, 0_u64..20_000).prop_map(|(weight, votes, last)| Step::One(weight, votes, last)),
            3 => (any::<prop::sample::Index>(), 1_u16..700).prop_map(|(from, count)| Step::Remove(from, count)),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]
        #[test]
        fn it_is_a_sorted_set_with_ranks(steps in prop::collection::vec(step(), 1..30), from in any::<prop::sample::Index>()) {
            let mut ranking = Ranking::default();
            let mut model: BTreeSet<Key> = BTreeSet::new();
            let (mut id, mut seq) = (0, 20_000);
            for step in steps {
                match step {
                    Step::Run(weight, votes, count) => for _ in 0..count {
                        (id, seq) = (id + 1, seq + 1);
                        ranking.insert(score(weight, votes, seq), id);
                        model.insert(Key::new(score(weight, votes, seq), id));
                    },
                    Step::One(weight, votes, last) => {
                        id += 1;
                        ranking.insert(score(weight, votes, last), id);
                        model.insert(Key::new(score(weight, votes, last), id));
                    }
                    Step::Remove(from, count) => {
                        let skipped = from.index(model.len().max(1));
                        let gone: Vec<Key> = model.iter().skip(skipped).take(count.into()).copied().collect();
                        for key in gone {
                            model.remove(&key);
                            ranking.remove(key.score(), key.id);
                        }
                    }
                }
                prop_assert_eq!(ranking.len(), model.len());
                let ends: Vec<Key> = ranking.chunks.iter().map(|chunk| *chunk.last().unwrap()).collect();
                prop_assert_eq!(&ends, &ranking.ends);
                prop_assert!(ranking.chunks.iter().all(|chunk| chunk.len() <= CHUNK));
            }
            let all: Vec<_> = ranking.page(None, usize::MAX);
            let wanted: Vec<_> = (1..).zip(&model).map(|(rank, key)| (rank, key.id, key.score())).collect();
            prop_assert_eq!(&all, &wanted);
            if let Some((rank, _, score)) = all.get(from.index(all.len().max(1))).copied() {
                // Made up scores may be equal here, those of votes never are.
                prop_assert!(ranking.before(score) < rank);
                let next = ranking.page(Some(score), 3);
                prop_assert!(next.iter().all(|(rank, id, score)| all[rank - 1] == (*rank, *id, *score)));
                prop_assert!(next.first().is_none_or(|(first, ..)| *first > rank));
            }
        }
    }
}
