//! Erasures that have not ended, beside the snapshot: voters begin them, and a copy of every clip and slot for each would be theirs to
//! cause. Behind a lock that is held for a look; whoever wants all of them copies two words of each.
//!
//! Settlement alone writes, in log order; before it recovery does. An end changes the snapshot first, where voids name its voter, and
//! then goes from here. So whoever reads this before the snapshot sees an erasure go on that has ended at worst, and never a snapshot
//! that names a voter whose erasure is gone from here. Clips that one counts are in every snapshot that is read behind it. Never:
//! decides whether another may begin.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use parking_lot::RwLock;

use crate::domain::{ClipNo, Day, Seq, VoterId};

/// An erasure that has not ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Erasing {
    /// Whose.
    pub voter: VoterId,
    /// The day that votes were charged to when it was asked for.
    pub day: Day,
    /// The first clip that was not there then.
    pub clips: ClipNo,
    /// Comments, likes and reports are emptied.
    pub searched: bool,
}

/// All of them. The engine bounds how many there are, and how many of one voter.
#[derive(Debug, Default)]
pub struct Erasures(RwLock<Known>);

#[derive(Debug, Default)]
struct Known {
    /// By the sequence of their begin.
    all: BTreeMap<Seq, Erasing>,
    of: HashMap<VoterId, BTreeSet<Seq>>,
    unsearched: BTreeSet<Seq>,
    /// Grows with each begin and end.
    version: u64,
}

impl Erasures {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.read().all.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// One of them.
    pub fn get(&self, id: Seq) -> Option<Erasing> {
        self.0.read().all.get(&id).copied()
    }

    /// A voter's, by their begins.
    pub fn of(&self, voter: VoterId) -> Vec<(Seq, Erasing)> {
        let known = self.0.read();
        let ids = known.of.get(&voter).into_iter().flatten();
        ids.filter_map(|id| Some((*id, *known.all.get(id)?))).collect()
    }

    /// How many are still searched for.
    pub fn unsearched(&self) -> usize {
        self.0.read().unsearched.len()
    }

    /// Those that are still searched for, by their begins.
    pub fn all_unsearched(&self) -> Vec<(Seq, Erasing)> {
        let known = self.0.read();
        known.unsearched.iter().filter_map(|id| Some((*id, *known.all.get(id)?))).collect()
    }

    /// Some behind that one, by their begins.
    pub fn behind(&self, id: Seq, at_most: usize) -> Vec<(Seq, Erasing)> {
        let known = self.0.read();
        known.all.range(id + 1..).take(at_most).map(|(id, of)| (*id, *of)).collect()
    }

    /// Differs once one has begun or ended.
    pub fn version(&self) -> u64 {
        self.0.read().version
    }

    /// Each with its voter, by their begins; and the version that this is.
    pub fn voters(&self) -> (u64, Vec<(Seq, VoterId)>) {
        let known = self.0.read();
        (known.version, known.all.iter().map(|(id, of)| (*id, of.voter)).collect())
    }

    /// One has begun.
    pub fn begin(&self, id: Seq, erasing: Erasing) {
        let mut known = self.0.write();
        known.of.entry(erasing.voter).or_default().insert(id);
        if !erasing.searched {
            known.unsearched.insert(id);
        }
        known.all.insert(id, erasing);
        known.version += 1;
    }

    /// Its search is over.
    pub(super) fn searched(&self, id: Seq) {
        let mut known = self.0.write();
        known.unsearched.remove(&id);
        if let Some(erasing) = known.all.get_mut(&id) {
            erasing.searched = true;
        }
    }

    /// It has ended.
    pub(super) fn end(&self, id: Seq) {
        let mut known = self.0.write();
        let Some(Erasing { voter, .. }) = known.all.remove(&id) else { return };
        known.unsearched.remove(&id);
        if let Some(ids) = known.of.get_mut(&voter) {
            ids.remove(&id);
            if ids.is_empty() {
                known.of.remove(&voter);
            }
        }
        known.version += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_look_knows_what_has_begun_and_not_ended() {
        let (one, other) = (VoterId([1; 16]), VoterId([2; 16]));
        let erasing = |voter, searched| Erasing { voter, day: 7, clips: ClipNo(3), searched };
        let erasures = Erasures::default();
        assert!(erasures.is_empty() && erasures.all_unsearched().is_empty());
        erasures.begin(5, erasing(one, false));
        erasures.begin(8, erasing(other, false));
        erasures.begin(9, erasing(one, true));
        assert_eq!(erasures.voters().1, [(5, one), (8, other), (9, one)]);
        assert_eq!(erasures.of(one), [(5, erasing(one, false)), (9, erasing(one, true))]);
        assert_eq!((erasures.len(), erasures.unsearched()), (3, 2));
        assert_eq!(erasures.all_unsearched(), [(5, erasing(one, false)), (8, erasing(other, false))]);
        assert_eq!(erasures.behind(5, 1), [(8, erasing(other, false))]);
        let (version, _) = erasures.voters();
        erasures.searched(5);
        assert_eq!((erasures.version(), erasures.get(5)), (version, Some(erasing(one, true))));
        assert_eq!(erasures.all_unsearched(), [(8, erasing(other, false))]);
        for id in [5, 9, 9] {
            erasures.end(id);
        }
        assert!(erasures.version() != version && erasures.of(one).is_empty());
        assert_eq!((erasures.voters().1, erasures.unsearched()), (vec![(8, other)], 1));
        erasures.end(8);
        assert!(erasures.is_empty() && erasures.0.read().of.is_empty() && erasures.unsearched() == 0);
    }
}
