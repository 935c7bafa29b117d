//! What events do to counts against the definition: a vote counts while it is neither taken back nor under a void in force.

use std::collections::{BTreeSet, HashMap};

use proptest::prelude::*;

use super::*;
use crate::domain::{NamedVotes, Retraction, VoidBy, VoidPlan, VoterId};

const SLOT: SlotNo = SlotNo(2);

fn begun() -> Event {
    Event::VoidBegun(Box::new(VoidPlan { slot: SLOT, by: VoidBy::Flagged, reason: "why".into() }))
}

fn named(void: Seq, votes: &[Seq]) -> Event {
    let votes = votes.iter().map(|seq| NamedVote {
        seq: *seq,
        at: 0,
        voter: VoterId([0; 16]),
        clip: clip_of(*seq),
        weight: weight_of(*seq),
        day: 0,
    });
    Event::VotesNamed(Box::new(NamedVotes { void, slot: SLOT, votes: votes.collect() }))
}

fn clip_of(vote: Seq) -> ClipNo {
    ClipNo(u32::try_from(vote % 3).unwrap())
}

fn weight_of(vote: Seq) -> u16 {
    u16::try_from(vote % 5 + 1).unwrap()
}

fn retracted(vote: Seq) -> Event {
    let (clip, weight) = (clip_of(vote), weight_of(vote));
    Event::Retracted(Retraction { voter: VoterId([0; 16]), clip, slot: SLOT, vote, weight, day: 0 })
}

/// Counts by nothing but the definition: a vote counts while it is neither taken back nor under a void in force.
fn naive(stands: &BTreeSet<Seq>, voids: &BTreeMap<Seq, BTreeSet<Seq>>) -> HashMap<ClipNo, (i64, i64)> {
    let mut counts = HashMap::new();
    for vote in stands.iter().filter(|vote| voids.values().all(|named| !named.contains(vote))) {
        let sum: &mut (i64, i64) = counts.entry(clip_of(*vote)).or_default();
        *sum = (sum.0 + 1, sum.1 + i64::from(weight_of(*vote)));
    }
    counts
}

#[derive(Clone, Debug)]
enum Act {
    Vote,
    TakeBack(prop::sample::Index),
    Begin,
    Name(Vec<prop::sample::Index>),
    Take,
    Lift(prop::sample::Index),
    Start,
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let act = prop_oneof![
        4 => Just(Act::Vote),
        2 => any::<prop::sample::Index>().prop_map(Act::TakeBack),
        1 => Just(Act::Begin),
        3 => prop::collection::vec(any::<prop::sample::Index>(), 0..8).prop_map(Act::Name),
        2 => Just(Act::Take),
        1 => any::<prop::sample::Index>().prop_map(Act::Lift),
        1 => Just(Act::Start),
    ];
    prop::collection::vec(act, 0..200)
}

proptest! {
    /// However votes, retractions, voids and liftings follow each other: the effects add up to the definition.
    #[test]
    fn effects_add_up_to_the_votes_that_count(acts in acts()) {
        let mut voids = Voids::default();
        let (mut stands, mut in_force, mut under_way) = (BTreeSet::new(), BTreeMap::new(), None::<(Seq, Seq, BTreeSet<Seq>)>);
        let mut counts: HashMap<ClipNo, (i64, i64)> = HashMap::new();
        for (act, seq) in acts.into_iter().zip(10..) {
            let standing: Vec<Seq> = stands.iter().copied().collect();
            let event = match act {
                Act::Vote => {
                    stands.insert(seq);
                    let sum = counts.entry(clip_of(seq)).or_default();
                    *sum = (sum.0 + 1, sum.1 + i64::from(weight_of(seq)));
                    continue;
                }
                Act::TakeBack(_) if standing.is_empty() => continue,
                Act::TakeBack(which) => {
                    let vote = *which.get(&standing);
                    stands.remove(&vote);
                    retracted(vote)
                }
                Act::Begin => {
                    under_way = Some((seq, seq, BTreeSet::new()));
                    begun()
                }
                Act::Name(which) => {
                    let Some((void, until, named_so_far)) = &mut under_way else { continue };
                    let candidates: Vec<Seq> = standing.into_iter().filter(|vote| vote < until).collect();
                    let votes: BTreeSet<Seq> =
                        which.iter().filter(|_| !candidates.is_empty()).map(|at| *at.get(&candidates)).collect();
                    named_so_far.extend(&votes);
                    named(*void, &votes.into_iter().collect::<Vec<_>>())
                }
                Act::Take => {
                    let Some((void, _, votes)) = under_way.take() else { continue };
                    in_force.insert(void, votes);
                    Event::VoidTaken { void, slot: SLOT }
                }
                Act::Lift(_) if in_force.is_empty() => continue,
                Act::Lift(which) => {
                    let void = *which.get(&in_force.keys().copied().collect::<Vec<_>>());
                    in_force.remove(&void);
                    Event::VoidLifted { void, slot: SLOT, reason: String::new() }
                }
                Act::Start => {
                    under_way = None;
                    Event::Started
                }
            };
            prop_assert_eq!(voids.judge(&event), Ok(()));
            let changes: Vec<(ClipNo, Change)> = match (voids.note(seq, &event), &event) {
                (Effect::Plain | Effect::Noted, Event::Retracted(back)) => {
                    vec![(back.clip, Change { votes: -1, weight: -i64::from(back.weight) })]
                }
                (Effect::Changed(changed), _) => changed.clips,
                _ => Vec::new(),
            };
            for (clip, change) in changes {
                let sum = counts.entry(clip).or_default();
                *sum = (sum.0 + change.votes, sum.1 + change.weight);
            }
            counts.retain(|_, sum| *sum != (0, 0));
            prop_assert_eq!(&counts, &naive(&stands, &in_force));
            // What has no mask is what counts, whoever asks by that.
            let unmasked = |vote: &&Seq| find(&voids.masks(SLOT), **vote).is_none();
            let mut whole: HashMap<ClipNo, (i64, i64)> = HashMap::new();
            for vote in stands.iter().filter(unmasked) {
                let sum = whole.entry(clip_of(*vote)).or_default();
                *sum = (sum.0 + 1, sum.1 + i64::from(weight_of(*vote)));
            }
            prop_assert_eq!(&counts, &whole);
        }
    }
}

/// Each void that names a vote costs memory, however many name the same.
#[test]
fn votes_that_many_voids_name_are_many_named_votes() {
    let mut voids = Voids::default();
    let void = |voids: &mut Voids, begun_at: Seq| {
        voids.note(begun_at, &begun());
        voids.note(begun_at + 1, &named(begun_at, &[1, 2, 3]));
        voids.note(begun_at + 2, &Event::VoidTaken { void: begun_at, slot: SLOT });
    };
    void(&mut voids, 10);
    void(&mut voids, 20);
    assert_eq!(voids.named(), 6);
    voids.note(30, &retracted(2));
    let lift = |void: Seq| Event::VoidLifted { void, slot: SLOT, reason: String::new() };
    voids.note(31, &lift(10));
    assert_eq!(voids.named(), 3);
    voids.note(32, &lift(20));
    assert_eq!((voids.named(), voids.masks(SLOT).len()), (1, 1), "the one that was taken back stays out");
    void(&mut voids, 40);
    assert_eq!(voids.named(), 3);
    let most: Vec<Seq> = (100..100 + NAMED_MAX as u64).collect();
    voids.note(50, &begun());
    assert_eq!(voids.judge(&named(50, &most[..NAMED_MAX - 3])), Ok(()));
    assert_eq!(voids.judge(&named(50, &most[..NAMED_MAX - 2])), Err(Refusal::NamedFull));
}

#[test]
fn what_is_not_under_way_is_neither_named_nor_taken_nor_lifted() {
    let mut voids = Voids::default();
    for event in [
        named(5, &[1]),
        Event::VoidTaken { void: 5, slot: SLOT },
        Event::VoidLifted { void: 5, slot: SLOT, reason: String::new() },
    ] {
        assert_eq!(voids.judge(&event), Err(Refusal::NoVoid), "{event:?}");
    }
    voids.note(5, &begun());
    assert!(voids.judge(&named(5, &[1])).is_ok());
    assert!(voids.judge(&named(4, &[1])).is_err());
    assert!(voids.judge(&Event::VoidTaken { void: 5, slot: SlotNo(0) }).is_err());
    voids.note(6, &Event::Started);
    assert!(voids.judge(&Event::VoidTaken { void: 5, slot: SLOT }).is_err(), "a start ends what is under way");
}
