//! `Idempotency-Key`: the same key from the same voter with the same body gets the first answer again.
//!
//! A key is reserved before the vote is claimed, so that of two requests with it one acts and the other waits. Lives in
//! memory and bounded: after a restart, or when too many others came since, a retried vote meets `ALREADY_VOTED`, which says that
//! it stands. Never keeps an
//! answer that a retry may better (429 and 5xx), and never decides anything about the vote itself.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use hashbrown::HashMap;
use hashbrown::hash_map::Entry;
use http::{HeaderMap, HeaderValue, StatusCode};
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::clock::Clock;
use crate::domain::{RequestKey, VoterId};
use crate::error::Reject;

/// The header that carries the key.
const KEY_HEADER: &str = "idempotency-key";
const KEY_MAX: usize = 255;
/// What an entry costs beside its answer: key, hash and the places in map and queue.
const ENTRY_BYTES: usize = 160;
/// More than one request adds.
const FORGOTTEN_AT_ONCE: usize = 16;

/// How much is remembered, and for how long.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct IdempotencyOptions {
    /// How long an answer is kept, milliseconds.
    pub keep_ms: u64,
    /// Keys at once, those under way included. Past it the oldest kept answer goes, and a retry of its request meets what stands; when
    /// all are under way, a new one is refused as overloaded.
    pub max_entries: usize,
    /// Bytes of keys and kept answers at once, with the same consequence.
    pub max_bytes: usize,
}

impl Default for IdempotencyOptions {
    fn default() -> Self {
        Self { keep_ms: 300_000, max_entries: 1_000_000, max_bytes: 256 << 20 }
    }
}

/// An answer that can be given again.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Kept {
    /// Its status.
    pub status: StatusCode,
    /// Its content type.
    pub content_type: HeaderValue,
    /// Its body, byte for byte.
    pub body: Bytes,
}

/// What a request with a key has to do.
#[derive(Debug)]
pub(super) enum Turn<'a> {
    /// Act, and then tell the reservation how it went.
    First(Reservation<'a>),
    /// Give this answer.
    Again(Kept),
}

/// The keys of a server.
#[derive(Debug)]
pub(super) struct Idempotency {
    options: IdempotencyOptions,
    clock: Arc<dyn Clock>,
    keys: Mutex<Keys>,
}

#[derive(Debug, Default)]
struct Keys {
    entries: HashMap<Name, Held>,
    /// Kept answers in the order in which they end.
    ends: VecDeque<(u64, Name)>,
    bytes: usize,
}

/// Hash of voter, route and key: of one size, whatever the client sends.
type Name = [u8; 16];
type BodyHash = [u8; 16];

#[derive(Debug)]
struct Held {
    body: BodyHash,
    state: State,
}

#[derive(Debug)]
enum State {
    /// Its request is under way; whoever else has the key waits on this.
    UnderWay(Arc<Notify>),
    /// Until then, Unix milliseconds.
    Kept(Kept, u64),
}

impl Idempotency {
    /// An empty memory that forgets by this clock.
    pub(super) fn new(options: IdempotencyOptions, clock: Arc<dyn Clock>) -> Self {
        Self { options, clock, keys: Mutex::default() }
    }

    /// The request's key, if it has one: 1 to 255 visible ASCII characters, else `InvalidParameter`.
    pub(super) fn key(headers: &HeaderMap) -> Result<Option<&str>, Reject> {
        let mut given = headers.get_all(KEY_HEADER).iter();
        let Some(first) = given.next() else { return Ok(None) };
        let wrong = || Reject::InvalidParameter {
            name: "Idempotency-Key",
            why: format!("one header of 1 to {KEY_MAX} visible ASCII characters"),
        };
        let visible =
            |key: &&str| (1..=KEY_MAX).contains(&key.len()) && key.bytes().all(|byte| byte.is_ascii_graphic());
        let key = first.to_str().ok().filter(visible).ok_or_else(wrong)?;
        if given.next().is_some() { Err(wrong()) } else { Ok(Some(key)) }
    }

    /// Reserves the key for this request, or waits for the one that has it. `IdempotencyKeyReused` when it came with
    /// another body, `Overloaded` when no more keys can be held.
    pub(super) async fn turn(&self, voter: VoterId, route: &str, key: &str, body: &[u8]) -> Result<Turn<'_>, Reject> {
        let name = name(voter, route, key);
        let body = short_hash(&[body]);
        loop {
            let waiting = {
                let mut keys = self.keys.lock();
                let now = self.clock.now_ms();
                keys.forget(now);
                if let Some(Held { state: State::Kept(_, ends), .. }) = keys.entries.get(&name)
                    && *ends <= now
                {
                    let ends = *ends;
                    keys.remove(name, ends);
                }
                match keys.entries.get(&name) {
                    None => {
                        self.reserve(&mut keys, name, body)?;
                        return Ok(Turn::First(Reservation { of: self, name, kept: None }));
                    }
                    Some(held) if held.body != body => return Err(Reject::IdempotencyKeyReused),
                    Some(Held { state: State::Kept(kept, _), .. }) => return Ok(Turn::Again(kept.clone())),
                    // Made under the lock: from here on no notification is missed.
                    Some(Held { state: State::UnderWay(done), .. }) => Arc::clone(done).notified_owned(),
                }
            };
            waiting.await;
        }
    }

    fn reserve(&self, keys: &mut Keys, name: Name, body: BodyHash) -> Result<(), Reject> {
        // Not a refusal of whoever comes next: one client alone could fill the memory.
        while keys.entries.len() >= self.options.max_entries || keys.bytes + ENTRY_BYTES > self.options.max_bytes {
            let (ends, oldest) = keys.ends.pop_front().ok_or(Reject::Overloaded)?;
            keys.remove(oldest, ends);
        }
        keys.bytes += ENTRY_BYTES;
        keys.entries.insert(name, Held { body, state: State::UnderWay(Arc::default()) });
        Ok(())
    }

    fn settle(&self, name: Name, kept: Option<Kept>) {
        let mut keys = self.keys.lock();
        let ends = self.clock.now_ms().saturating_add(self.options.keep_ms);
        let keys = &mut *keys;
        let Entry::Occupied(mut entry) = keys.entries.entry(name) else {
            unreachable!("a reservation stays until it is settled")
        };
        // An answer that no longer fits is not kept: the retry then acts, and meets what stands.
        let fits = |kept: &Kept| keys.bytes + kept.body.len() <= self.options.max_bytes;
        let before = if let Some(kept) = kept.filter(fits) {
            keys.bytes += kept.body.len();
            keys.ends.push_back((ends, name));
            std::mem::replace(&mut entry.get_mut().state, State::Kept(kept, ends))
        } else {
            keys.bytes -= ENTRY_BYTES;
            entry.remove().state
        };
        if let State::UnderWay(done) = before {
            done.notify_waiters();
        }
    }
}

impl Keys {
    /// A clock that jumped back only lets entries live longer, and they are bounded. A few each time: everyone waits at this lock.
    fn forget(&mut self, now_ms: u64) {
        for _ in 0..FORGOTTEN_AT_ONCE {
            let Some((ends, name)) = self.ends.pop_front_if(|(ends, _)| *ends <= now_ms) else { break };
            self.remove(name, ends);
        }
    }

    /// Removes the answer that was kept until then; one that came under its name since stays.
    fn remove(&mut self, name: Name, until: u64) {
        let Entry::Occupied(entry) = self.entries.entry(name) else { return };
        if let State::Kept(kept, ends) = &entry.get().state
            && *ends == until
        {
            self.bytes -= ENTRY_BYTES + kept.body.len();
            entry.remove();
        }
    }
}

/// The right to act under a key. Dropped without [`Reservation::keep`], as when acting panics, it frees the key and lets the
/// next one act: whatever the vote came to by then stands in the engine, which a retry meets.
#[derive(Debug)]
pub(super) struct Reservation<'a> {
    of: &'a Idempotency,
    name: Name,
    kept: Option<Kept>,
}

impl Reservation<'_> {
    /// Keeps the answer for whoever comes with the key again, unless a retry may better it.
    pub(super) fn keep(mut self, answer: Kept) {
        let final_ = !answer.status.is_server_error() && answer.status != StatusCode::TOO_MANY_REQUESTS;
        self.kept = final_.then_some(answer);
    }
}

impl Drop for Reservation<'_> {
    fn drop(&mut self) {
        self.of.settle(self.name, self.kept.take());
    }
}

/// What makes a retry of a comment the same request; its event carries it.
pub(super) fn request_key(voter: VoterId, route: &str, key: &str, body: &[u8]) -> RequestKey {
    RequestKey { key: name(voter, route, key), body: short_hash(&[body]) }
}

fn name(voter: VoterId, route: &str, key: &str) -> Name {
    // No NUL stands in a route, so the parts can't run together.
    short_hash(&[&voter.0, route.as_bytes(), &[0], key.as_bytes()])
}

fn short_hash(parts: &[&[u8]]) -> [u8; 16] {
    let mut hasher = blake3::Hasher::new();
    for part in parts {
        hasher.update(part);
    }
    let mut short = [0; 16];
    hasher.finalize_xof().fill(&mut short);
    short
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::ManualClock;

    const VOTER: VoterId = VoterId([1; 16]);

    fn memory(max_entries: usize, max_bytes: usize) -> (Idempotency, Arc<ManualClock>) {
        let clock = Arc::new(ManualClock::at(1_000_000));
        let options = IdempotencyOptions { keep_ms: 300_000, max_entries, max_bytes };
        (Idempotency::new(options, Arc::<ManualClock>::clone(&clock)), clock)
    }

    fn answer(status: u16, body: &'static str) -> Kept {
        Kept {
            status: StatusCode::from_u16(status).unwrap(),
            content_type: HeaderValue::from_static("application/json"),
            body: Bytes::from_static(body.as_bytes()),
        }
    }

    async fn first<'a>(memory: &'a Idempotency, key: &str) -> Reservation<'a> {
        match memory.turn(VOTER, "POST", key, b"body").await.unwrap() {
            Turn::First(reservation) => reservation,
            Turn::Again(kept) => panic!("answered before: {kept:?}"),
        }
    }

    #[tokio::test]
    async fn the_first_answer_comes_again_for_five_minutes() {
        let (memory, clock) = memory(10, 10_000);
        first(&memory, "k").await.keep(answer(200, "{}"));
        clock.advance(299_999);
        let again = memory.turn(VOTER, "POST", "k", b"body").await.unwrap();
        assert!(matches!(again, Turn::Again(kept) if kept == answer(200, "{}")));
        clock.advance(1);
        drop(first(&memory, "k").await);
        let keys = memory.keys.lock();
        assert_eq!((keys.entries.len(), keys.ends.len(), keys.bytes), (0, 0, 0));
    }

    #[tokio::test]
    async fn another_body_is_refused_while_the_key_is_known() {
        let (memory, _clock) = memory(10, 10_000);
        let reservation = first(&memory, "k").await;
        let other = memory.turn(VOTER, "POST", "k", b"other").await;
        assert!(matches!(other, Err(Reject::IdempotencyKeyReused)));
        reservation.keep(answer(409, "{}"));
        let other = memory.turn(VOTER, "POST", "k", b"other").await;
        assert!(matches!(other, Err(Reject::IdempotencyKeyReused)));
    }

    #[tokio::test]
    async fn voters_and_routes_have_keys_of_their_own() {
        let (memory, _clock) = memory(10, 10_000);
        first(&memory, "k").await.keep(answer(200, "{}"));
        for (voter, route) in [(VoterId([2; 16]), "POST"), (VOTER, "DELETE")] {
            let turn = memory.turn(voter, route, "k", b"other").await.unwrap();
            assert!(matches!(turn, Turn::First(_)), "{route}");
        }
    }

    #[tokio::test]
    async fn a_second_request_waits_for_the_first_and_gets_its_answer() {
        let (memory, _clock) = memory(10, 10_000);
        let reservation = first(&memory, "k").await;
        let second = memory.turn(VOTER, "POST", "k", b"body");
        let act = async {
            tokio::task::yield_now().await;
            reservation.keep(answer(200, "{\"a\":1}"));
        };
        let (second, ()) = tokio::join!(second, act);
        assert!(matches!(second.unwrap(), Turn::Again(kept) if kept == answer(200, "{\"a\":1}")));
    }

    #[tokio::test]
    async fn an_answer_that_a_retry_may_better_is_not_kept_and_a_waiter_acts() {
        let (memory, _clock) = memory(10, 10_000);
        for status in [429, 500, 503] {
            let reservation = first(&memory, "k").await;
            let second = memory.turn(VOTER, "POST", "k", b"body");
            let act = async { reservation.keep(answer(status, "{}")) };
            let (second, ()) = tokio::join!(second, act);
            assert!(matches!(second.unwrap(), Turn::First(_)), "{status}");
        }
    }

    #[tokio::test]
    async fn a_client_that_leaves_frees_its_key() {
        let (memory, _clock) = memory(1, 10_000);
        let reservation = first(&memory, "k").await;
        let second = memory.turn(VOTER, "POST", "k", b"body");
        let (second, ()) = tokio::join!(second, async { drop(reservation) });
        assert!(matches!(second.unwrap(), Turn::First(_)));
        assert_eq!(memory.keys.lock().bytes, 0);
    }

    #[tokio::test]
    async fn past_the_bound_the_oldest_kept_answer_goes() {
        for (memory, _clock) in [memory(2, 10_000), memory(10, 2 * ENTRY_BYTES + 4)] {
            for key in ["a", "b", "c"] {
                first(&memory, key).await.keep(answer(200, "{}"));
            }
            assert!(memory.keys.lock().entries.len() <= 2);
            assert!(matches!(memory.turn(VOTER, "POST", "c", b"body").await.unwrap(), Turn::Again(_)));
            drop(first(&memory, "a").await);
        }
    }

    #[tokio::test]
    async fn keys_under_way_are_never_pushed_out() {
        for (memory, _clock) in [memory(2, 10_000), memory(10, 2 * ENTRY_BYTES)] {
            let under_way = (first(&memory, "a").await, first(&memory, "b").await);
            let third = memory.turn(VOTER, "POST", "c", b"body").await;
            assert!(matches!(third, Err(Reject::Overloaded)));
            drop(under_way);
            drop(first(&memory, "c").await);
            assert_eq!(memory.keys.lock().bytes, 0);
        }
    }

    #[tokio::test]
    async fn many_that_have_ended_are_forgotten_a_few_at_a_time() {
        let (memory, clock) = memory(1_000, 1 << 20);
        for number in 0..100 {
            first(&memory, &format!("k{number}")).await.keep(answer(200, "{}"));
        }
        clock.advance(300_000);
        drop(first(&memory, "next").await);
        assert_eq!(memory.keys.lock().entries.len(), 100 - FORGOTTEN_AT_ONCE);
        // An answer that has ended and still lies there is not given.
        drop(first(&memory, "k99").await);
    }

    #[tokio::test]
    async fn an_answer_too_large_to_keep_is_given_once() {
        let (memory, _clock) = memory(10, ENTRY_BYTES + 1);
        first(&memory, "k").await.keep(answer(200, "{}"));
        drop(first(&memory, "k").await);
    }

    #[test]
    fn a_key_is_visible_ascii_of_bounded_length() {
        let of = |values: &[&str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(KEY_HEADER, HeaderValue::from_bytes(value.as_bytes()).unwrap());
            }
            Idempotency::key(&headers).map(|key| key.map(str::to_owned))
        };
        assert_eq!(of(&[]), Ok(None));
        assert_eq!(of(&["k-1"]), Ok(Some("k-1".into())));
        assert!(of(&[&"x".repeat(255)]).is_ok());
        for bad in [&[""][..], &["a b"], &["ä"], &[&"x".repeat(256)], &["a", "b"]] {
            assert!(of(bad).is_err(), "{bad:?}");
        }
    }
}
