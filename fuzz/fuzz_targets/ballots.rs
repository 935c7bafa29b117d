//! Any order of claims, settlements, refusals, retractions and clean-ups, step by step against a naive map; at the end the
//! standing votes are loaded into empty ballots, which must agree too.

#![no_main]

use std::collections::{BTreeMap, BTreeSet};

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use plaudit::ballots::{Ballots, Claim, Place, Standing, TakeBack};
use plaudit::domain::{ClipNo, Day, VoterId};

const LIMIT: u32 = 9;
const VOTERS_MAX: u64 = 6;

#[derive(Arbitrary, Debug)]
enum Step {
    Claim {
        who: u8,
        clip: u8,
        weight: u8,
        day: u8,
        full: bool,
    },
    TakeBack {
        who: u8,
        clip: u8,
        full: bool,
    },
    /// What is in flight ends: the nth of it, well or badly.
    End {
        nth: u8,
        refused: bool,
    },
    Forget {
        shard: u8,
        day: u8,
        clip: u8,
    },
    Day {
        day: u8,
    },
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    Claimed(Place),
    Standing,
    Leaving,
}

#[derive(Clone, Copy, Debug)]
struct Vote {
    state: State,
    seq: u64,
    weight: u16,
    day: Day,
}

#[derive(Default)]
struct Model {
    today: Day,
    seq: u64,
    voters: BTreeSet<u8>,
    votes: BTreeMap<(u8, u32), Vote>,
    used: BTreeMap<(u8, Day), u32>,
}

/// Eight voters in two shards, in each two pairs whose hashes are alike.
fn voter(who: u8) -> VoterId {
    let mut id = [0; 16];
    (id[7], id[8], id[15]) = (who / 4, who, who % 2);
    VoterId(id)
}

impl Model {
    fn day(&mut self, clock: Day) -> Day {
        self.today = self.today.max(clock);
        self.today
    }

    fn spent(&self, who: u8) -> u32 {
        self.used.get(&(who, self.today)).copied().unwrap_or(0)
    }

    fn drop_vote(&mut self, key: (u8, u32)) {
        let gone = self.votes.remove(&key).expect("it is in the model");
        *self.used.get_mut(&(key.0, gone.day)).expect("it was charged") -= u32::from(gone.weight);
    }

    fn claim(&mut self, ballots: &Ballots, (who, clip): (u8, u32), weight: u16, clock: Day, full: bool) {
        let day = self.day(clock);
        let remaining = LIMIT - self.spent(who);
        let mut place = None;
        let told = ballots.claim(voter(who), ClipNo(clip), weight, clock, |charged, at| {
            assert_eq!(charged, day);
            place = Some(at);
            !full
        });
        let vote = self.votes.get(&(who, clip));
        let moving = self.votes.iter().any(|((of, _), vote)| *of == who && vote.state != State::Standing);
        let wanted = match vote.map(|vote| vote.state) {
            Some(State::Standing) => Claim::Duplicate,
            Some(_) => Claim::InFlight,
            None if !self.voters.contains(&who) && self.voters.len() as u64 >= VOTERS_MAX => Claim::VotersFull,
            None if u32::from(weight) > remaining && moving => Claim::InFlight,
            None if u32::from(weight) > remaining => Claim::OverLimit { remaining },
            None if full => Claim::QueueFull,
            None => Claim::Sent { remaining: remaining - u32::from(weight) },
        };
        assert_eq!(told, wanted);
        if let Claim::Sent { .. } = told {
            let state = State::Claimed(place.expect("it was sent"));
            self.voters.insert(who);
            self.votes.insert((who, clip), Vote { state, seq: 0, weight, day });
            *self.used.entry((who, day)).or_default() += u32::from(weight);
        }
    }

    fn take_back(&mut self, ballots: &Ballots, (who, clip): (u8, u32), full: bool) {
        let mut named = None;
        let told = ballots.take_back(voter(who), ClipNo(clip), |standing| {
            named = Some(standing);
            !full
        });
        let wanted = match self.votes.get(&(who, clip)).map(|vote| vote.state) {
            None => TakeBack::NotVoted,
            Some(State::Standing) if full => TakeBack::QueueFull,
            Some(State::Standing) => TakeBack::Sent,
            Some(_) => TakeBack::InFlight,
        };
        assert_eq!(told, wanted);
        if let Some(vote) = self.votes.get_mut(&(who, clip)).filter(|_| told == TakeBack::Sent) {
            assert_eq!(named, Some(Standing { seq: vote.seq, weight: vote.weight, day: vote.day }));
            vote.state = State::Leaving;
        }
    }

    fn end(&mut self, ballots: &Ballots, nth: usize, refused: bool) {
        let flying: Vec<_> = self.votes.iter().filter(|(_, vote)| vote.state != State::Standing).collect();
        let Some((key, vote)) = flying.get(nth % flying.len().max(1)).map(|(key, vote)| (**key, **vote)) else {
            return;
        };
        let (voter, clip) = (voter(key.0), ClipNo(key.1));
        match (vote.state, refused) {
            (State::Claimed(_), true) => {
                ballots.release(voter, clip);
                self.drop_vote(key);
            }
            (State::Claimed(place), false) => {
                self.seq += 0x1_0000_0001;
                ballots.settle(voter, place, self.seq);
                self.votes.insert(key, Vote { state: State::Standing, seq: self.seq, ..vote });
            }
            (_, true) => {
                ballots.restore(voter, clip);
                self.votes.insert(key, Vote { state: State::Standing, ..vote });
            }
            (_, false) => {
                ballots.settle_back(voter, clip);
                self.drop_vote(key);
            }
        }
    }

    fn forget(&mut self, ballots: &Ballots, shard: u8, clock: Day, clip: u32) {
        self.day(clock);
        ballots.forget(usize::from(shard), clock, |of| of.0 == clip);
        let mine = |who: u8| who % 2 == shard;
        self.votes.retain(|(who, of), vote| !(mine(*who) && *of == clip && vote.state == State::Standing));
        let kept: BTreeSet<u8> = self.votes.keys().map(|(who, _)| *who).collect();
        let (used, today) = (&self.used, self.today);
        let charged = |who: u8| used.get(&(who, today)).is_some_and(|used| *used > 0);
        self.voters.retain(|who| !mine(*who) || kept.contains(who) || charged(*who));
    }

    fn check(&self, ballots: &Ballots) {
        assert_eq!(ballots.voters(), self.voters.len() as u64);
        for who in 0..8 {
            let used = ballots.used(voter(who), 0);
            assert_eq!((used.day, used.weight), (self.today, self.spent(who)), "voter {who}");
            for clip in 0..4 {
                let stands = self.votes.get(&(who, clip)).is_some_and(|vote| !matches!(vote.state, State::Claimed(_)));
                assert_eq!(ballots.stands(voter(who), ClipNo(clip)), stands, "voter {who}, clip {clip}");
            }
        }
    }
}

fuzz_target!(|steps: Vec<Step>| {
    let ballots = Ballots::new(LIMIT, VOTERS_MAX);
    let mut model = Model::default();
    for step in steps.iter().take(500) {
        match *step {
            Step::Claim { who, clip, weight, day, full } => {
                let at = (who % 8, u32::from(clip % 4));
                model.claim(&ballots, at, u16::from(weight % 5), Day::from(day % 4), full);
            }
            Step::TakeBack { who, clip, full } => model.take_back(&ballots, (who % 8, u32::from(clip % 4)), full),
            Step::End { nth, refused } => model.end(&ballots, nth.into(), refused),
            Step::Forget { shard, day, clip } => {
                model.forget(&ballots, shard % 2, Day::from(day % 4), u32::from(clip % 4));
            }
            Step::Day { day } => {
                let day = Day::from(day);
                assert_eq!(ballots.day(day), model.day(day));
            }
        }
        model.check(&ballots);
    }

    // A restart: what stands is loaded in log order, what was in flight is gone with its charge.
    let anew = Ballots::new(LIMIT, VOTERS_MAX);
    anew.day(model.today);
    model.votes.retain(|_, vote| vote.state == State::Standing);
    let mut standing: Vec<_> = model.votes.iter().collect();
    standing.sort_by_key(|(_, vote)| vote.seq);
    model.used.clear();
    model.voters.clear();
    for ((who, clip), Vote { seq, weight, day, .. }) in standing {
        let (voter, clip) = (voter(*who), ClipNo(*clip));
        let standing = Standing { seq: *seq, weight: *weight, day: *day };
        assert!(anew.load(voter, clip, standing) && !anew.load(voter, clip, standing));
        *model.used.entry((*who, *day)).or_default() += u32::from(*weight);
        model.voters.insert(*who);
    }
    model.check(&anew);
    for ((who, clip), Vote { seq, .. }) in std::mem::take(&mut model.votes) {
        assert!(!anew.load_back(voter(who), ClipNo(clip), seq + 1));
        assert!(anew.load_back(voter(who), ClipNo(clip), seq));
    }
    model.used.clear();
    model.check(&anew);
});
