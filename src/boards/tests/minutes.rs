//! Timelines where they are not as usual: a clock that went back, a busy minute, pages ahead of the mark, a store without minutes.

use super::steps::Step;
use super::world::{NOON, World, voter};
use super::*;
use crate::boards::timeline::{Of, at_sequence, at_time, series};
use crate::fold::{Mark, Tables, keys};

#[test]
fn a_retraction_by_a_clock_that_went_back_is_made_up_for() {
    let mut world = World::new();
    world.vote(voter(1), 0, 1);
    world.vote(voter(2), 0, 1);
    world.now -= 1;
    world.retract((voter(1), ClipNo(0)));
    world.apply();
    world.check_timeline(ClipNo(0));
}

#[test]
fn a_busy_minute_is_cut_where_it_is_asked_for() {
    let mut world = World::new();
    for n in 0..40_000_u32 {
        world.now = NOON + u64::from(n / 100);
        world.vote(voter(1_000 + n), n % 2, 1);
    }
    world.apply();
    world.check_timeline(ClipNo(0));
    let board = Board { of: Subject::Voters, scope: Scope::All, window: Window::Day };
    world.check_board(board);
    assert_eq!(world.boards.held(), (40_000, 40_000, 40_000));
}

/// The retraction of a vote that a void took out is in no minute, so it is none of what a cut segment counts either.
#[test]
fn a_segment_that_is_cut_leaves_out_the_retraction_of_what_a_void_had_taken_out() {
    let mut world = World::new();
    for who in 0..8 {
        world.now += 1;
        world.vote(voter(who), 0, 1);
    }
    world.take(Step::Void { clip: 0, nth: 4 });
    for who in 0..8 {
        world.now += 1;
        world.retract((voter(who), ClipNo(0)));
        world.vote(voter(20 + who), 0, 1);
        world.vote(voter(40 + who), 0, 1);
    }
    world.apply();
    world.check_timeline(ClipNo(0));
    world.take(Step::Lift { nth: 0 });
    world.vote(voter(90), 0, 1);
    world.apply();
    world.check_timeline(ClipNo(0));
}

#[test]
fn a_page_of_minutes_that_is_ahead_of_the_mark_says_so() {
    let mut world = World::new();
    world.vote(voter(1), 0, 1);
    world.apply();
    let before = world.applied;
    world.vote(voter(2), 0, 1);
    // The pages are stored and the mark is not known yet.
    world.tables.commit(Mark { seq: world.seq, block: 1, chain: [0; 32] }).unwrap();
    let of = Of { clip: ClipNo(0), slot: SlotNo(0), applied: before, voids: &[], masks: &[] };
    let store = world.disk.open("tables");
    let found = series(store.as_ref(), of, 60_000, 0, 0, 10).unwrap();
    assert_eq!((found.as_of, found.points[0].votes), (world.seq, 2));
    let then = at_sequence(store.as_ref(), of, u64::MAX).unwrap().unwrap();
    assert_eq!((then.as_of, then.votes), (world.seq, 2));
    let then = at_sequence(store.as_ref(), of, before).unwrap().unwrap();
    assert_eq!((then.as_of, then.votes), (before, 1));
}

/// The first page of minutes begins with the void then, behind what there was.
#[test]
fn a_store_from_before_minutes_leaves_out_what_a_void_takes() {
    let mut world = World::new();
    world.vote(voter(1), 0, 1);
    world.vote(voter(2), 0, 2);
    world.apply();
    let store = world.disk.open("tables");
    let (from, to) = keys::timeline_of(0);
    let (key, _) = store.last_in(&from, &to).unwrap().unwrap();
    store.remove(&key).unwrap();
    world.tables = Tables::open(world.disk.open("tables")).unwrap();
    let seen = |world: &World, seq: Seq| {
        let (voids, masks) = (world.voids_of(SlotNo(0)), world.voids.masks(SlotNo(0)));
        let of = Of { clip: ClipNo(0), slot: SlotNo(0), applied: world.applied, voids: &voids, masks: &masks };
        let last = series(store.as_ref(), of, 60_000, 0, 0, 10).unwrap().points.last().copied();
        let then = at_time(store.as_ref(), of, u64::MAX).unwrap().unwrap();
        let at = at_sequence(store.as_ref(), of, seq).unwrap().map(|then| (then.votes, then.weight));
        (last.map(|point| (point.total_votes, point.total_weight)), (then.votes, then.weight), at)
    };
    world.take(Step::Void { clip: 0, nth: 1 });
    let void = world.voids.last(SlotNo(0));
    world.apply();
    assert_eq!(seen(&world, void), (None, (0, 0), Some((0, 0))));
    world.vote(voter(3), 0, 1);
    world.apply();
    assert_eq!(seen(&world, void), (Some((1, 1)), (1, 1), Some((0, 0))));
    assert_eq!(seen(&world, world.seq).2, Some((1, 1)));
    world.take(Step::Lift { nth: 0 });
    world.apply();
    assert_eq!(seen(&world, world.seq), (Some((3, 4)), (3, 4), Some((3, 4))));
    assert_eq!(seen(&world, void).2, Some((0, 0)), "as it was then");
}

#[test]
fn a_store_from_before_minutes_counts_what_it_had() {
    let mut world = World::new();
    world.vote(voter(1), 0, 1);
    world.vote(voter(2), 0, 2);
    world.apply();
    let (from, to) = crate::fold::keys::timelines();
    let store = world.disk.open("tables");
    let mut keys = Vec::new();
    store
        .scan(&from, &to, &mut |key, _| {
            keys.push(key.to_vec());
            Ok(std::ops::ControlFlow::Continue(()))
        })
        .unwrap();
    for key in &keys {
        store.remove(key).unwrap();
    }
    let old = world.seq;
    world.tables = Tables::open(world.disk.open("tables")).unwrap();
    world.vote(voter(3), 0, 1);
    world.apply();
    let of = Of { clip: ClipNo(0), slot: SlotNo(0), applied: world.applied, voids: &[], masks: &[] };
    let found = series(store.as_ref(), of, 60_000, 0, 0, 10).unwrap();
    assert_eq!((found.points[0].votes, found.points[0].total_votes, found.points[0].total_weight), (1, 3, 4));
    let then = at_sequence(store.as_ref(), of, world.seq).unwrap().unwrap();
    assert_eq!((then.votes, then.weight), (3, 4));
    assert_eq!(at_sequence(store.as_ref(), of, old).unwrap(), None, "no minute says");
}
