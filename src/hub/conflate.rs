//! When a value may be sent again: at once after a quiet time, else once its interval has passed since the last time.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;

/// Keys whose values have changed, and those that were sent a moment ago.
#[derive(Debug)]
pub(super) struct Cooling<K> {
    every_ms: u64,
    /// Sent less than an interval ago; whether it has changed since.
    sent: HashMap<K, bool>,
    /// When each is over, in order: the interval is one for all.
    order: VecDeque<(u64, K)>,
    /// Changed after a quiet time.
    fresh: Vec<K>,
}

impl<K: Clone + Eq + Hash> Cooling<K> {
    pub(super) fn new(every_ms: u64) -> Self {
        Self { every_ms, sent: HashMap::new(), order: VecDeque::new(), fresh: Vec::new() }
    }

    /// A value has changed.
    pub(super) fn mark(&mut self, key: &K) {
        if let Some(changed) = self.sent.get_mut(key) {
            *changed = true;
        } else {
            self.sent.insert(key.clone(), false);
            self.fresh.push(key.clone());
        }
    }

    /// Those whose values are to be sent now, each once.
    pub(super) fn due(&mut self, now_ms: u64) -> Vec<K> {
        let mut due = std::mem::take(&mut self.fresh);
        while let Some((at, _)) = self.order.front() {
            // Further off than an interval: the clock has gone back.
            if *at > now_ms && *at - now_ms <= self.every_ms {
                break;
            }
            let Some((_, key)) = self.order.pop_front() else { break };
            if self.sent.remove(&key) == Some(true) {
                due.push(key);
            }
        }
        for key in &due {
            self.sent.insert(key.clone(), false);
            self.order.push_back((now_ms + self.every_ms, key.clone()));
        }
        if self.order.is_empty() && self.order.capacity() > 1_024 {
            (self.sent, self.order) = (HashMap::new(), VecDeque::new());
        }
        due
    }

    /// How long until the next one can be due, in milliseconds; `None`: not before something changes.
    pub(super) fn next_in(&self, now_ms: u64) -> Option<u64> {
        if !self.fresh.is_empty() {
            return Some(0);
        }
        self.order.front().map(|(at, _)| at.saturating_sub(now_ms).min(self.every_ms))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_change_goes_at_once_and_the_next_ones_together_after_the_interval() {
        let mut cooling = Cooling::new(100);
        cooling.mark(&1);
        cooling.mark(&1);
        assert_eq!(cooling.due(1_000), [1]);
        cooling.mark(&1);
        cooling.mark(&1);
        assert_eq!(cooling.due(1_099), [0; 0]);
        assert_eq!(cooling.next_in(1_099), Some(1));
        assert_eq!(cooling.due(1_100), [1]);
        assert_eq!(cooling.due(1_200), [0; 0]);
        assert_eq!(cooling.next_in(1_200), None, "nothing has changed");
        cooling.mark(&1);
        assert_eq!(cooling.due(1_201), [1], "after a quiet time");
    }

    #[test]
    fn keys_do_not_wait_for_each_other() {
        let mut cooling = Cooling::new(100);
        cooling.mark(&1);
        assert_eq!(cooling.due(0), [1]);
        cooling.mark(&2);
        cooling.mark(&1);
        assert_eq!(cooling.due(50), [2]);
        cooling.mark(&2);
        assert_eq!(cooling.due(100), [1]);
        assert_eq!(cooling.due(150), [2]);
    }

    #[test]
    fn a_clock_that_goes_back_holds_nothing_up() {
        let mut cooling = Cooling::new(100);
        cooling.mark(&1);
        assert_eq!(cooling.due(1_000_000), [1]);
        cooling.mark(&1);
        assert_eq!(cooling.next_in(5), Some(100));
        assert_eq!(cooling.due(5), [1]);
    }

    #[test]
    fn the_last_change_is_sent_whatever_the_times() {
        for step in [1, 7, 99, 100, 101, 350] {
            let (mut cooling, mut value, mut sent) = (Cooling::new(100), 0, Vec::new());
            for now in (0..2_000).step_by(step) {
                value = now;
                cooling.mark(&());
                sent.extend(cooling.due(now).iter().map(|()| (now, value)));
            }
            sent.extend(cooling.due(5_000).iter().map(|()| (5_000, value)));
            assert_eq!(sent.last().map(|(_, value)| *value), Some(value), "steps of {step}");
            assert!(sent.windows(2).all(|pair| pair[1].0 - pair[0].0 >= 100), "steps of {step}");
        }
    }
}
