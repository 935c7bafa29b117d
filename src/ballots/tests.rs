use std::cell::RefCell;
use std::collections::HashMap;

use proptest::prelude::*;

use super::*;

fn voter(n: u8) -> VoterId {
    VoterId([n; 16])
}

fn claim(ballots: &Ballots, who: u8, clip: u32, weight: u16, day: Day) -> Claim {
    ballots.claim(voter(who), ClipNo(clip), weight, day, |_, place| {
        PLACES.with_borrow_mut(|places| places.insert((who, clip), place));
        true
    })
}

thread_local! {
    static PLACES: RefCell<HashMap<(u8, u32), Place>> = RefCell::default();
}

fn settle(ballots: &Ballots, who: u8, clip: u32, seq: Seq) {
    ballots.settle(voter(who), PLACES.with_borrow(|places| places[&(who, clip)]), seq);
}

#[test]
fn a_vote_is_claimed_once_and_stands_once_settled() {
    let ballots = Ballots::new(10, 100);
    assert_eq!(claim(&ballots, 1, 5, 3, 1), Claim::Sent { remaining: 7 });
    assert_eq!(claim(&ballots, 1, 5, 1, 1), Claim::InFlight);
    assert!(!ballots.stands(voter(1), ClipNo(5)));
    settle(&ballots, 1, 5, 1 << 40);
    assert_eq!(claim(&ballots, 1, 5, 1, 1), Claim::Duplicate);
    let mut named = None;
    let sent = ballots.take_back(voter(1), ClipNo(5), |standing| {
        named = Some(standing);
        true
    });
    assert_eq!((sent, named), (TakeBack::Sent, Some(Standing { seq: 1 << 40, weight: 3, day: 1 })));
    assert_eq!(claim(&ballots, 1, 5, 1, 1), Claim::InFlight, "until the retraction is settled");
    assert_eq!(ballots.used(voter(1), 1).weight, 3, "the weight comes back when it settles, not when it is asked");
    ballots.settle_back(voter(1), ClipNo(5));
    assert_eq!(claim(&ballots, 1, 5, 1, 1), Claim::Sent { remaining: 9 });
}

#[test]
fn a_full_queue_changes_nothing() {
    let ballots = Ballots::new(10, 100);
    assert_eq!(ballots.claim(voter(1), ClipNo(1), 1, 1, |_, _| false), Claim::QueueFull);
    assert_eq!(ballots.voters(), 0);
    assert_eq!(claim(&ballots, 1, 1, 10, 1), Claim::Sent { remaining: 0 });
    settle(&ballots, 1, 1, 1);
    assert_eq!(ballots.take_back(voter(1), ClipNo(1), |_| false), TakeBack::QueueFull);
    assert!(ballots.stands(voter(1), ClipNo(1)));
}

#[test]
fn a_refusal_by_the_limit_waits_for_what_is_in_flight() {
    let ballots = Ballots::new(2, 100);
    claim(&ballots, 1, 1, 1, 1);
    claim(&ballots, 1, 2, 1, 1);
    assert_eq!(claim(&ballots, 1, 3, 1, 1), Claim::InFlight);
    settle(&ballots, 1, 1, 1);
    ballots.release(voter(1), ClipNo(2));
    assert_eq!(claim(&ballots, 1, 3, 1, 1), Claim::Sent { remaining: 0 });
    settle(&ballots, 1, 3, 2);
    assert_eq!(claim(&ballots, 1, 4, 1, 1), Claim::OverLimit { remaining: 0 });
}

#[test]
fn midnight_gives_a_new_limit_and_a_clock_that_jumps_back_does_not() {
    let ballots = Ballots::new(1, 100);
    claim(&ballots, 1, 1, 1, 5);
    settle(&ballots, 1, 1, 1);
    assert_eq!(claim(&ballots, 1, 2, 1, 5), Claim::OverLimit { remaining: 0 });
    assert_eq!(claim(&ballots, 1, 2, 1, 6), Claim::Sent { remaining: 0 });
    settle(&ballots, 1, 2, 2);
    assert_eq!(claim(&ballots, 1, 3, 1, 5), Claim::OverLimit { remaining: 0 }, "day 6 has begun");
    // A vote of an earlier day gives nothing back.
    ballots.take_back(voter(1), ClipNo(1), |_| true);
    ballots.settle_back(voter(1), ClipNo(1));
    assert_eq!(ballots.used(voter(1), 6).weight, 1);
}

#[test]
fn a_new_voter_past_the_bound_is_refused_and_a_known_one_is_not() {
    let ballots = Ballots::new(9, 1);
    claim(&ballots, 1, 1, 1, 1);
    assert_eq!(claim(&ballots, 2, 1, 1, 1), Claim::VotersFull);
    assert_eq!(claim(&ballots, 1, 2, 1, 1), Claim::Sent { remaining: 7 });
}

#[test]
fn a_locked_slots_votes_leave_and_todays_charge_stays() {
    let ballots = Ballots::new(9, 100);
    for (who, clip, day) in [(1, 1, 4), (2, 1, 5), (3, 2, 5)] {
        claim(&ballots, who, clip, 1, day);
        settle(&ballots, who, clip, 1);
    }
    (0..SHARDS).for_each(|shard| assert!(!ballots.forget(shard, 0..10, 5, |clip| clip == ClipNo(1))));
    assert_eq!(ballots.voters(), 2, "voter 1 left with the vote: it was charged to an earlier day");
    assert!(!ballots.stands(voter(2), ClipNo(1)) && ballots.stands(voter(3), ClipNo(2)));
    assert_eq!(ballots.used(voter(2), 5).weight, 1);
    assert_eq!(claim(&ballots, 4, 3, 1, 5), Claim::Sent { remaining: 8 }, "freed places are used again");
}

/// Of the first shard.
fn neighbour(n: u16) -> VoterId {
    let mut id = [0; 16];
    id[..2].copy_from_slice(&n.to_be_bytes());
    VoterId(id)
}

#[test]
fn a_shard_is_gone_through_a_few_at_a_time_while_voters_come() {
    let vote = |ballots: &Ballots, n: u16, clip: u32, day: Day| {
        let mut at = Place::NONE;
        let told = ballots.claim(neighbour(n), ClipNo(clip), 1, day, |_, place| {
            at = place;
            true
        });
        assert!(matches!(told, Claim::Sent { .. }), "{told:?}");
        ballots.settle(neighbour(n), at, 1);
    };
    let ballots = Ballots::new(9, 10_000);
    for n in 0..1_000 {
        vote(&ballots, n, 1, 4);
        if n % 3 == 0 {
            vote(&ballots, n, 2, 4);
        }
    }
    let (mut from, mut come) = (0, 1_000);
    // Each comes to a place that was freed, or behind all.
    while ballots.forget(0, from..from + 7, 5, |clip| clip == ClipNo(1)) {
        from += 7;
        vote(&ballots, come, 3, 5);
        come += 1;
    }
    assert!(come > 1_100);
    assert_eq!(ballots.voters(), 334 + u64::from(come - 1_000));
    for n in 0..come {
        let clips = [1, 2, 3].map(|clip| ballots.stands(neighbour(n), ClipNo(clip)));
        assert_eq!(clips, [false, n < 1_000 && n % 3 == 0, n >= 1_000], "voter {n}");
        assert_eq!(ballots.knows(neighbour(n)), clips != [false; 3]);
    }
    vote(&ballots, 1, 1, 5);
    assert!(!ballots.forget(0, 0..10_000, 6, |clip| clip != ClipNo(2)));
    assert_eq!(ballots.voters(), 334);
}

proptest! {
    // Against a map of (voter, clip) and a sum a voter and day; everything settles at once.
    #[test]
    fn it_agrees_with_a_naive_map(steps in prop::collection::vec((0_u8..5, 0_u8..6, 0_u32..6, 1_u16..4, 0_u16..3), 1..300)) {
        let ballots = Ballots::new(7, 1000);
        let mut votes: HashMap<(u8, u32), (u16, Day)> = HashMap::new();
        let mut used: HashMap<(u8, Day), u32> = HashMap::new();
        let mut today = 0;
        for (seq, (verb, who, clip, weight, day)) in steps.into_iter().enumerate() {
            today = today.max(day);
            let spent = used.entry((who, today)).or_default();
            if verb < 3 {
                let told = claim(&ballots, who, clip, weight, day);
                let stands = votes.contains_key(&(who, clip));
                if stands {
                    prop_assert_eq!(told, Claim::Duplicate);
                } else if *spent + u32::from(weight) > 7 {
                    prop_assert_eq!(told, Claim::OverLimit { remaining: 7 - *spent });
                } else {
                    *spent += u32::from(weight);
                    prop_assert_eq!(told, Claim::Sent { remaining: 7 - *spent });
                    votes.insert((who, clip), (weight, today));
                    settle(&ballots, who, clip, seq as u64 + 1);
                }
            } else if verb == 4 {
                for shard in 0..SHARDS {
                    prop_assert!(!ballots.forget(shard, 0..1, day, |gone| gone == ClipNo(clip)));
                }
                votes.retain(|(_, of), _| *of != clip);
                let remembered = |who: &u8| {
                    let stands = votes.keys().any(|(voter, _)| voter == who);
                    stands || used.get(&(*who, today)).is_some_and(|used| *used > 0)
                };
                prop_assert_eq!(ballots.voters(), (0..6).filter(remembered).count() as u64);
            } else {
                let told = ballots.take_back(voter(who), ClipNo(clip), |_| true);
                match votes.remove(&(who, clip)) {
                    None => prop_assert_eq!(told, TakeBack::NotVoted),
                    Some((weight, day)) => {
                        prop_assert_eq!(told, TakeBack::Sent);
                        ballots.settle_back(voter(who), ClipNo(clip));
                        *used.get_mut(&(who, day)).unwrap() -= u32::from(weight);
                    }
                }
            }
            for who in 0..6 {
                let sum = used.get(&(who, today)).copied().unwrap_or(0);
                prop_assert_eq!(ballots.used(voter(who), day).weight, sum);
                for clip in 0..6 {
                    prop_assert_eq!(ballots.stands(voter(who), ClipNo(clip)), votes.contains_key(&(who, clip)));
                }
            }
        }
    }
}
