//! Voids on the boards' way, and their lifting.

use super::steps::Step;
use super::world::{NOON, World, voter};
use super::*;
use crate::boards::timeline::{Of, series};
use crate::fold::Mask;

/// Everything that anyone sees, before and behind a void and its lifting.
#[test]
fn a_void_that_is_lifted_leaves_no_trace() {
    let mut world = World::new();
    for n in 0..3_000 {
        world.now += 40;
        world.vote(voter(n), n % 8, 1 + u16::try_from(n % 3).unwrap());
    }
    world.apply();
    let boards = |world: &World| {
        let mut seen = Vec::new();
        for of in [Subject::Clips, Subject::Voters, Subject::Creators] {
            let board = Board { of, scope: Scope::All, window: Window::All };
            world.boards.build(board).unwrap();
            seen.push(world.boards.page(board, None, 5_000).unwrap().unwrap().2);
        }
        seen
    };
    let minutes = |world: &World| {
        let store = world.disk.open("tables");
        let (voids, masks) = (world.voids_of(SlotNo(0)), world.voids.masks(SlotNo(0)));
        let of = Of { clip: ClipNo(0), slot: SlotNo(0), applied: world.applied, voids: &voids, masks: &masks };
        series(store.as_ref(), of, 60_000, 0, 0, 1_000).unwrap().points
    };
    let before = (boards(&world), minutes(&world));
    world.take(Step::Void { clip: 0, nth: 2 });
    world.apply();
    world.check();
    let masked: &[Mask] = &world.voids.masks(SlotNo(0));
    assert_eq!(masked.len(), 188);
    assert_ne!((boards(&world), minutes(&world)), before);
    world.take(Step::Lift { nth: 0 });
    world.apply();
    assert_eq!((boards(&world), minutes(&world)), before);
    world.check();
}

/// So many voters' votes for clip 0, in the tables and on the board of voters.
fn voted(voters: u32) -> (World, Board) {
    let mut world = World::new();
    for who in 0..voters {
        world.vote(voter(who), 0, 1);
    }
    world.apply();
    let board = Board { of: Subject::Voters, scope: Scope::All, window: Window::All };
    world.check_board(board);
    (world, board)
}

/// A void takes its votes out at its own place in the log, however far the tables have come since.
#[test]
fn boards_stop_at_a_void_on_their_way() {
    let (mut world, board) = voted(20);
    world.take(Step::Void { clip: 0, nth: 2 });
    let void = world.voids.last(SlotNo(0));
    let wanted = world.ranked(board);
    world.vote(voter(30), 0, 1);
    world.commit();
    assert!(!world.boards.step(world.applied, NOON, &world.layout).unwrap());
    let (as_of, total, _) = world.boards.page(board, None, 1).unwrap().unwrap();
    assert_eq!((as_of, total), (void, wanted.len()));
    world.apply();
    world.check();
}

/// What the stage has no more is known at no place in the log: what counted between the two.
#[test]
fn between_two_voids_that_come_together_there_is_no_board() {
    let (mut world, board) = voted(20);
    world.take(Step::Void { clip: 0, nth: 2 });
    world.commit();
    let between = world.applied;
    // Taken back and cast anew in between: the new vote is not the one that was masked.
    let key = *world.standing.iter().filter(|(_, back)| !world.counts(back.vote)).nth(1).unwrap().0;
    world.retract(key);
    world.vote(key.0, 0, 1);
    world.vote(voter(30), 0, 1);
    world.take(Step::Void { clip: 0, nth: 3 });
    world.boards.step(between, NOON, &world.layout).unwrap();
    assert_eq!(world.boards.build(board), Err(NoBoards::Starting(between)));
    world.apply();
    world.check();
    // One by one they are shown at each.
    world.take(Step::Lift { nth: 0 });
    world.commit();
    let lifted = world.applied;
    world.boards.step(lifted, NOON, &world.layout).unwrap();
    world.check_board(board);
}

/// More votes than readers may wait for.
#[test]
fn a_large_void_is_shown_all_at_once() {
    let (mut world, board) = voted(12_000);
    world.take(Step::Void { clip: 0, nth: 1 });
    world.apply();
    world.check_board(board);
    world.take(Step::Lift { nth: 0 });
    world.apply();
    world.check_board(board);
}
