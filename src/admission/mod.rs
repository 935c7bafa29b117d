//! Rate limits: how often an address and a voter may ask for a change, and which address a request comes from. The
//! broadcaster holds its apps by the same `Limit`.
//!
//! GCRA by `governor`, driven by the injected clock, over a keyed table of its own that has a bound. Never knows what
//! was asked, never touches the engine, and is never asked about reads.

pub mod challenge;
mod proxies;
pub mod risk;

use std::fmt;
use std::hash::{BuildHasher, Hash};
use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use governor::clock::Clock as GovernorClock;
use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::state::StateStore;
use governor::state::keyed::ShrinkableKeyedStateStore;
use governor::{NotUntil, Quota, RateLimiter};
use hashbrown::{DefaultHashBuilder, HashMap};
use parking_lot::Mutex;

pub use challenge::{Challenge, ChallengeOptions};
pub use proxies::TrustedProxies;
pub use risk::Risk;

use crate::clock::Clock;
use crate::domain::VoterId;
use crate::error::Reject;

/// How often someone may ask. A rate of `None` is off.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AdmissionOptions {
    /// Votes and retractions a minute that one voter may ask for; as many may come at once.
    pub per_voter: Option<NonZeroU32>,
    /// Votes and retractions a minute that one address (IPv6: one /64) may ask for; as many may come at once.
    pub per_address: Option<NonZeroU32>,
    /// Voters, and addresses, that are remembered at once. When so many have asked so lately that none can be
    /// forgotten, a new one is refused as overloaded.
    pub max_keys: usize,
}

impl Default for AdmissionOptions {
    fn default() -> Self {
        Self { per_voter: NonZeroU32::new(60), per_address: NonZeroU32::new(600), max_keys: 1_000_000 }
    }
}

impl AdmissionOptions {
    /// No rate at all (`--rate-limit off`).
    pub fn off() -> Self {
        Self { per_voter: None, per_address: None, ..Self::default() }
    }
}

/// The rate limits of a server.
#[derive(Debug)]
pub struct Admission {
    addresses: Option<Limit<IpAddr>>,
    voters: Option<Limit<VoterId>>,
}

impl Admission {
    /// Limits that count by this clock.
    pub fn new(options: AdmissionOptions, clock: &Arc<dyn Clock>) -> Self {
        Self {
            addresses: options.per_address.map(|rate| Limit::new(rate, options.max_keys, clock)),
            voters: options.per_voter.map(|rate| Limit::new(rate, options.max_keys, clock)),
        }
    }

    /// Counts one request of an address. `RateLimited`, or `Overloaded` when too many addresses ask at once.
    pub fn address(&self, from: IpAddr) -> Result<(), Reject> {
        self.addresses.as_ref().map_or(Ok(()), |limit| limit.count(&network(from)))
    }

    /// Counts one request of a voter. `RateLimited`, or `Overloaded` when too many voters ask at once.
    pub fn voter(&self, voter: VoterId) -> Result<(), Reject> {
        self.voters.as_ref().map_or(Ok(()), |limit| limit.count(&voter))
    }
}

/// What one subscriber can't easily change: the address, or an IPv6's /64, of which everyone has all.
pub(crate) fn network(from: IpAddr) -> IpAddr {
    match from.to_canonical() {
        v4 @ IpAddr::V4(_) => v4,
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & (u128::MAX << 64))),
    }
}

const SHARDS: usize = 64;
/// Below this no time is spent on forgetting.
const SWEEP_FROM: usize = 65_536;
const SWEEP_PAUSE_MS: u64 = 1_000;

/// How often each of many may do something.
pub(crate) struct Limit<K: Hash + Eq + Clone> {
    limiter: RateLimiter<K, Keys<K>, Ticks, NoOpMiddleware<Nanos>>,
    burst: NonZeroU32,
    keys: Keys<K>,
    max_keys: usize,
    /// Number of keys at which the next sweep runs: twice what the last one left, so that its cost is spread.
    sweep_at: AtomicUsize,
    /// When the last sweep ran, by the limiter's clock: a table full of live keys is not swept for each request.
    swept_ms: AtomicU64,
}

impl<K: Hash + Eq + Clone> Limit<K> {
    /// So many a minute for each; as many may come at once. At most `max_keys` are remembered.
    pub(crate) fn new(per_minute: NonZeroU32, max_keys: usize, clock: &Arc<dyn Clock>) -> Self {
        let keys = Keys::new();
        let limiter = RateLimiter::new(Quota::per_minute(per_minute), keys.clone(), Ticks::new(clock));
        let sweep_at = AtomicUsize::new(SWEEP_FROM.min(max_keys));
        Self { limiter, burst: per_minute, keys, max_keys, sweep_at, swept_ms: AtomicU64::new(0) }
    }

    /// Counts one. `RateLimited`, or `Overloaded` when too many are to be remembered.
    fn count(&self, key: &K) -> Result<(), Reject> {
        self.make_room(key)?;
        self.limiter.check_key(key).map_err(|until| self.refusal(&until))
    }

    /// Counts several, all of them or none. More than may ever come at once count as so many: a rate spaces them, and
    /// never forbids them for good.
    pub(crate) fn count_all(&self, key: &K, number: NonZeroU32) -> Result<(), Reject> {
        self.make_room(key)?;
        let counted = self.limiter.check_key_n(key, number.min(self.burst));
        counted.expect("no more than may come at once").map_err(|until| self.refusal(&until))
    }

    fn make_room(&self, key: &K) -> Result<(), Reject> {
        if self.keys.len() >= self.sweep_at.load(Ordering::Relaxed) {
            self.sweep();
            // Requests that come at the same instant may each pass here: the bound holds but for as many as there
            // are threads.
            if self.keys.len() >= self.max_keys && !self.keys.knows(key) {
                return Err(Reject::Overloaded);
            }
        }
        Ok(())
    }

    fn refusal(&self, until: &NotUntil<Nanos>) -> Reject {
        let wait = until.wait_time_from(self.limiter.clock().now());
        Reject::RateLimited { retry_after_s: (wait.as_secs() + u64::from(wait.subsec_nanos() > 0)).max(1) }
    }

    fn sweep(&self) {
        let now_ms = self.limiter.clock().now().as_u64() / NANOS_A_MS;
        let last = self.swept_ms.load(Ordering::Relaxed);
        let due = last == 0 || now_ms >= last + SWEEP_PAUSE_MS;
        // One thread sweeps; the others go on meanwhile.
        if due && self.swept_ms.compare_exchange(last, now_ms, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
            self.limiter.retain_recent();
            let next = (self.keys.len() * 2).max(SWEEP_FROM).min(self.max_keys);
            self.sweep_at.store(next, Ordering::Relaxed);
        }
    }
}

impl<K: Hash + Eq + Clone> fmt::Debug for Limit<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Limit")
            .field("keys", &self.keys.len())
            .field("max_keys", &self.max_keys)
            .finish_non_exhaustive()
    }
}

/// When each key's allowance is whole again, as the limiter computes it. Sharded, so that voters don't wait for each
/// other, and counted, so that asking for the number costs no lock.
#[derive(Clone)]
struct Keys<K>(Arc<KeysInner<K>>);

struct KeysInner<K> {
    shards: Box<[Mutex<HashMap<K, Nanos>>]>,
    hasher: DefaultHashBuilder,
    len: AtomicUsize,
}

impl<K: Hash + Eq + Clone> Keys<K> {
    fn new() -> Self {
        let shards = (0..SHARDS).map(|_| Mutex::new(HashMap::new())).collect();
        Self(Arc::new(KeysInner { shards, hasher: DefaultHashBuilder::default(), len: AtomicUsize::new(0) }))
    }

    fn shard(&self, key: &K) -> &Mutex<HashMap<K, Nanos>> {
        let hash = usize::try_from(self.0.hasher.hash_one(key) & 0xffff).expect("16 bits");
        &self.0.shards[hash % SHARDS]
    }

    fn knows(&self, key: &K) -> bool {
        self.shard(key).lock().contains_key(key)
    }
}

impl<K: Hash + Eq + Clone> StateStore for Keys<K> {
    type Key = K;

    fn measure_and_replace<T, F, E>(&self, key: &K, decide: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        let mut shard = self.shard(key).lock();
        if let Some(whole_at) = shard.get_mut(key) {
            let (outcome, next) = decide(Some(*whole_at))?;
            *whole_at = next;
            return Ok(outcome);
        }
        let (outcome, next) = decide(None)?;
        shard.insert(key.clone(), next);
        self.0.len.fetch_add(1, Ordering::Relaxed);
        Ok(outcome)
    }
}

impl<K: Hash + Eq + Clone> ShrinkableKeyedStateStore<K> for Keys<K> {
    fn retain_recent(&self, drop_below: Nanos) {
        for shard in &self.0.shards {
            let mut shard = shard.lock();
            let before = shard.len();
            shard.retain(|_, whole_at| *whole_at > drop_below);
            self.0.len.fetch_sub(before - shard.len(), Ordering::Relaxed);
        }
    }

    fn len(&self) -> usize {
        self.0.len.load(Ordering::Relaxed)
    }

    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

const NANOS_A_MS: u64 = 1_000_000;
/// A step back that is taken for jitter between threads and not for a jump.
const JITTER_MS: u64 = 1_000;

/// The injected clock without its jumps backwards: after one it goes on from where it was, because a limit that
/// waited for the old time to come again would refuse everyone for as long as the jump was wide.
#[derive(Debug, Clone)]
struct Ticks(Arc<TicksInner>);

#[derive(Debug)]
struct TicksInner {
    clock: Arc<dyn Clock>,
    /// The latest time that was given out.
    latest_ms: AtomicU64,
    /// What jumps backwards have taken away so far.
    lost_ms: AtomicU64,
    jump: Mutex<()>,
}

impl Ticks {
    fn new(clock: &Arc<dyn Clock>) -> Self {
        let latest_ms = AtomicU64::new(clock.now_ms());
        Self(Arc::new(TicksInner {
            clock: Arc::clone(clock),
            latest_ms,
            lost_ms: AtomicU64::new(0),
            jump: Mutex::new(()),
        }))
    }

    fn now_ms(&self) -> u64 {
        let TicksInner { clock, latest_ms, lost_ms, jump } = &*self.0;
        let now = clock.now_ms().saturating_add(lost_ms.load(Ordering::Acquire));
        let latest = latest_ms.fetch_max(now, Ordering::AcqRel);
        if now.saturating_add(JITTER_MS) >= latest {
            return now.max(latest);
        }
        let _one_at_a_time = jump.lock();
        // Read again: another thread may have taken the same jump into account meanwhile.
        let now = clock.now_ms().saturating_add(lost_ms.load(Ordering::Acquire));
        if now.saturating_add(JITTER_MS) < latest {
            lost_ms.fetch_add(latest - now, Ordering::AcqRel);
        }
        latest
    }
}

impl GovernorClock for Ticks {
    type Instant = Nanos;

    fn now(&self) -> Nanos {
        Nanos::new(self.now_ms().saturating_mul(NANOS_A_MS))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::ManualClock;

    const NOON: u64 = 1_700_000_000_000;

    fn admission(options: AdmissionOptions) -> (Admission, Arc<ManualClock>) {
        let manual = Arc::new(ManualClock::at(NOON));
        let clock: Arc<dyn Clock> = Arc::<ManualClock>::clone(&manual);
        (Admission::new(options, &clock), manual)
    }

    fn rates(per_voter: u32, per_address: u32, max_keys: usize) -> AdmissionOptions {
        AdmissionOptions { per_voter: NonZeroU32::new(per_voter), per_address: NonZeroU32::new(per_address), max_keys }
    }

    fn voter(n: u8) -> VoterId {
        VoterId([n; 16])
    }

    #[test]
    fn a_voter_spends_a_minutes_votes_and_earns_one_a_second() {
        let (admission, clock) = admission(AdmissionOptions::default());
        for _ in 0..60 {
            admission.voter(voter(1)).unwrap();
        }
        assert_eq!(admission.voter(voter(1)), Err(Reject::RateLimited { retry_after_s: 1 }));
        admission.voter(voter(2)).expect("another voter has a limit of their own");
        clock.advance(1_000);
        admission.voter(voter(1)).unwrap();
        assert!(admission.voter(voter(1)).is_err());
        clock.advance(60_000);
        for _ in 0..60 {
            admission.voter(voter(1)).unwrap();
        }
        assert!(admission.voter(voter(1)).is_err());
    }

    #[test]
    fn the_answer_says_how_long_to_wait() {
        let (admission, clock) = admission(rates(2, 2, 100));
        admission.voter(voter(1)).unwrap();
        admission.voter(voter(1)).unwrap();
        assert_eq!(admission.voter(voter(1)), Err(Reject::RateLimited { retry_after_s: 30 }));
        clock.advance(29_500);
        assert_eq!(admission.voter(voter(1)), Err(Reject::RateLimited { retry_after_s: 1 }));
    }

    #[test]
    fn an_address_is_limited_whoever_votes_and_ipv6_by_its_64() {
        let (admission, _clock) = admission(rates(60, 1, 100));
        admission.address("192.0.2.1".parse().unwrap()).unwrap();
        assert!(admission.address("192.0.2.1".parse().unwrap()).is_err());
        assert!(admission.address("::ffff:192.0.2.1".parse().unwrap()).is_err(), "the same, written as IPv6");
        admission.address("192.0.2.2".parse().unwrap()).unwrap();
        admission.address("2001:db8::1".parse().unwrap()).unwrap();
        assert!(admission.address("2001:db8::ffff:2".parse().unwrap()).is_err());
        admission.address("2001:db8:0:1::1".parse().unwrap()).unwrap();
    }

    #[test]
    fn several_are_counted_together_or_not_at_all() {
        let manual = Arc::new(ManualClock::at(NOON));
        let clock: Arc<dyn Clock> = Arc::<ManualClock>::clone(&manual);
        let limit = Limit::new(NonZeroU32::new(6).unwrap(), usize::MAX, &clock);
        let count = |key: u8, number| limit.count_all(&key, NonZeroU32::new(number).unwrap());
        count(1, 4).unwrap();
        assert_eq!(count(1, 3), Err(Reject::RateLimited { retry_after_s: 10 }), "one comes back each ten seconds");
        count(1, 2).expect("the three were not counted");
        count(2, 6).expect("another has a rate of its own");
        manual.advance(59_000);
        assert_eq!(count(2, 100), Err(Reject::RateLimited { retry_after_s: 1 }));
        manual.advance(1_000);
        count(2, 100).expect("all that may come at once");
        assert!(count(2, 1).is_err());
    }

    #[test]
    fn off_is_off() {
        let (admission, _clock) = admission(AdmissionOptions::off());
        for _ in 0..10_000 {
            admission.voter(voter(1)).unwrap();
            admission.address("192.0.2.1".parse().unwrap()).unwrap();
        }
    }

    #[test]
    fn past_the_bound_only_who_is_known_gets_in_until_others_are_forgotten() {
        let (admission, clock) = admission(rates(60, 600, 3));
        for n in 1..=3 {
            admission.voter(voter(n)).unwrap();
        }
        assert_eq!(admission.voter(voter(4)), Err(Reject::Overloaded));
        admission.voter(voter(3)).expect("a known voter goes on");
        clock.advance(5_000);
        admission.voter(voter(4)).expect("after five seconds all three are as fresh as new ones");
    }

    #[test]
    fn a_clock_that_jumps_back_neither_refuses_nor_gives_for_ever() {
        let (admission, clock) = admission(rates(2, 2, 100));
        admission.voter(voter(1)).unwrap();
        admission.voter(voter(1)).unwrap();
        clock.set(NOON - 3_600_000);
        assert_eq!(admission.voter(voter(1)), Err(Reject::RateLimited { retry_after_s: 30 }));
        clock.advance(30_000);
        admission.voter(voter(1)).expect("thirty seconds are thirty seconds on either side of the jump");
        assert!(admission.voter(voter(1)).is_err());
    }
}
