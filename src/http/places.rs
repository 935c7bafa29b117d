//! Places for voters who are told all that is kept of them: a few in all, and one a voter, so that nobody who reads slowly takes
//! up all of them. Never: waits for one.

use std::sync::Arc;

use parking_lot::Mutex;

use crate::domain::VoterId;

/// The places.
#[derive(Clone, Debug)]
pub(super) struct Places {
    taken: Arc<Mutex<Vec<VoterId>>>,
    most: usize,
}

/// One of them, until it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    of: Places,
    voter: VoterId,
}

impl Places {
    /// So many, all of them free.
    pub(super) fn new(most: usize) -> Self {
        Self { taken: Arc::default(), most }
    }

    /// Takes one; `None` while all are taken, or one is by that voter.
    pub(super) fn take(&self, voter: VoterId) -> Option<Place> {
        let mut taken = self.taken.lock();
        if taken.len() >= self.most || taken.contains(&voter) {
            return None;
        }
        taken.push(voter);
        drop(taken);
        Some(Place { of: self.clone(), voter })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.of.taken.lock().retain(|voter| *voter != self.voter);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_voter_has_one_at_most_and_all_have_so_many() {
        let [one, other, third] = [1, 2, 3].map(|n| VoterId([n; 16]));
        let places = Places::new(2);
        let held = places.take(one).unwrap();
        assert!(places.take(one).is_none());
        let _other = places.take(other).unwrap();
        assert!(places.take(third).is_none());
        drop(held);
        let _again = places.take(one).unwrap();
        assert!(places.take(third).is_none() && places.take(other).is_none());
    }
}
