//! Retried and hasty posts: which request with a key came to which comment, and when a voter last commented on a clip.
//!
//! Bounded: the oldest finished requests and the oldest times are forgotten first, times as soon as they have passed.

use std::collections::VecDeque;

use hashbrown::HashMap;

use crate::domain::{ClipNo, RequestKey, Seq, VoterId};

/// How long a request with a key is remembered, milliseconds.
pub(super) const KEEP_MS: u64 = 24 * 3_600_000;
/// Requests remembered at most, and times of posts.
pub(super) const KEPT_MAX: usize = 100_000;

/// The requests of the last day.
#[derive(Debug, Default)]
pub(super) struct Requests {
    known: HashMap<[u8; 16], Known>,
    /// Finished ones, oldest first.
    ends: VecDeque<(u64, [u8; 16])>,
}

#[derive(Clone, Copy, Debug)]
struct Known {
    body: [u8; 16],
    /// The comment that it came to; `None` while it is under way.
    comment: Option<Seq>,
}

/// What a request with a key has to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Turn {
    /// Nobody came with it before.
    First,
    /// It came to this comment.
    Again(Seq),
    /// Another request with it is under way.
    InFlight,
    /// It came with another body.
    OtherBody,
}

impl Requests {
    pub(super) fn turn(&self, request: RequestKey) -> Turn {
        match self.known.get(&request.key) {
            None => Turn::First,
            Some(known) if known.body != request.body => Turn::OtherBody,
            Some(Known { comment: Some(id), .. }) => Turn::Again(*id),
            Some(Known { comment: None, .. }) => Turn::InFlight,
        }
    }

    pub(super) fn begin(&mut self, request: RequestKey) {
        self.known.insert(request.key, Known { body: request.body, comment: None });
    }

    pub(super) fn finish(&mut self, request: RequestKey, at: u64, id: Seq) {
        self.known.insert(request.key, Known { body: request.body, comment: Some(id) });
        self.ends.push_back((at, request.key));
        while self.ends.len() > KEPT_MAX {
            self.pop();
        }
    }

    pub(super) fn release(&mut self, request: RequestKey) {
        self.known.remove(&request.key);
    }

    pub(super) fn forget(&mut self, now_ms: u64) {
        while self.ends.front().is_some_and(|(at, _)| at.saturating_add(KEEP_MS) <= now_ms) {
            self.pop();
        }
    }

    fn pop(&mut self) {
        if let Some((_, key)) = self.ends.pop_front() {
            self.known.remove(&key);
        }
    }
}

/// When voters last commented on a clip, as long as that matters.
#[derive(Debug)]
pub(super) struct Slow {
    pause_ms: u64,
    last: HashMap<(VoterId, ClipNo), u64>,
    order: VecDeque<(u64, (VoterId, ClipNo))>,
}

impl Slow {
    pub(super) fn new(pause_ms: u64) -> Self {
        Self { pause_ms, last: HashMap::new(), order: VecDeque::new() }
    }

    /// How long a voter has to wait still, milliseconds; 0 for not at all.
    pub(super) fn wait(&self, of: (VoterId, ClipNo), now_ms: u64) -> u64 {
        let Some(last) = self.last.get(&of) else { return 0 };
        // A clock that jumped back must not make anyone wait longer than the pause.
        last.saturating_add(self.pause_ms).saturating_sub(now_ms).min(self.pause_ms)
    }

    pub(super) fn note(&mut self, of: (VoterId, ClipNo), at: u64) {
        if self.pause_ms > 0 {
            self.last.insert(of, at);
            self.order.push_back((at, of));
            // Whoever waits the longest may come early: better than that nobody may.
            while self.order.len() > KEPT_MAX {
                self.pop();
            }
        }
    }

    pub(super) fn release(&mut self, of: (VoterId, ClipNo), at: u64) {
        if self.last.get(&of) == Some(&at) {
            self.last.remove(&of);
        }
    }

    pub(super) fn forget(&mut self, now_ms: u64) {
        let pause = self.pause_ms;
        let over = |at: u64| at.saturating_add(pause) <= now_ms || at > now_ms.saturating_add(pause);
        while self.order.front().is_some_and(|(at, _)| over(*at)) {
            self.pop();
        }
    }

    fn pop(&mut self) {
        if let Some((at, of)) = self.order.pop_front() {
            self.release(of, at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OF: (VoterId, ClipNo) = (VoterId([1; 16]), ClipNo(0));

    #[test]
    fn a_request_is_known_until_its_day_is_over() {
        let request = |body| RequestKey { key: [1; 16], body: [body; 16] };
        let mut requests = Requests::default();
        assert_eq!(requests.turn(request(1)), Turn::First);
        requests.begin(request(1));
        assert_eq!((requests.turn(request(1)), requests.turn(request(2))), (Turn::InFlight, Turn::OtherBody));
        requests.finish(request(1), 5, 77);
        assert_eq!((requests.turn(request(1)), requests.turn(request(2))), (Turn::Again(77), Turn::OtherBody));
        requests.forget(4 + KEEP_MS);
        assert_eq!(requests.turn(request(1)), Turn::Again(77));
        requests.forget(5 + KEEP_MS);
        assert_eq!(requests.turn(request(1)), Turn::First);
        requests.begin(request(1));
        requests.release(request(1));
        assert_eq!(requests.turn(request(2)), Turn::First);
    }

    #[test]
    fn a_voter_waits_the_pause_and_no_longer_though_the_clock_jumps() {
        let mut slow = Slow::new(10_000);
        slow.note(OF, 50_000);
        assert_eq!((slow.wait(OF, 50_000), slow.wait(OF, 59_999), slow.wait(OF, 60_000)), (10_000, 1, 0));
        assert_eq!(slow.wait(OF, 1_000), 10_000, "the clock went back");
        slow.forget(1_000);
        assert_eq!(slow.wait(OF, 1_000), 0, "and what lies ahead of it is forgotten");
        slow.note(OF, 50_000);
        slow.release(OF, 40_000);
        assert_eq!(slow.wait(OF, 50_000), 10_000, "another post's end");
        slow.release(OF, 50_000);
        assert_eq!(slow.wait(OF, 50_000), 0);
    }
}
