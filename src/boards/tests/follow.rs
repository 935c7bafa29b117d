//! How the boards follow the tables: from the log's beginning, past a lock, up to their bound.

use super::world::{Lag, NOON, World, bounds, voter};
use super::*;
use crate::fold::keys;

#[test]
fn there_is_no_board_before_what_was_stored_is_read() {
    let mut world = World::new();
    for n in 0..STEP * 2 {
        world.vote(voter(u32::try_from(n).unwrap()), 0, 1);
    }
    world.apply();
    world.boards = Boards::new(world.disk.open("tables"), bounds(), NOON);
    let board = Board { of: Subject::Clips, scope: Scope::All, window: Window::All };
    assert_eq!(world.boards.build(board), Err(NoBoards::Starting(0)));
    assert!(!world.boards.step(world.applied, NOON, &world.layout).unwrap());
    assert_eq!(world.boards.build(board), Err(NoBoards::Starting(STEP)));
    while !world.boards.step(world.applied, NOON, &world.layout).unwrap() {}
    world.check_board(board);
}

#[test]
fn boards_that_a_lock_overtakes_read_the_slot_anew_and_say_nothing_meanwhile() {
    let mut world = World::new();
    for n in 0..STEP * 2 {
        let n = u32::try_from(n).unwrap();
        world.vote(voter(n), n % 8, 1 + u16::try_from(n % 3).unwrap());
    }
    world.apply();
    let board = Board { of: Subject::Voters, scope: Scope::All, window: Window::Day };
    world.check_board(board);
    for n in 0..300 {
        world.retract((voter(n * 4), ClipNo(n * 4 % 8)));
        world.vote(voter(70_000 + n), n % 8, 1);
    }
    world.lock(0, Lag::All);
    assert_eq!(world.keys(&keys::ballots_of(SlotNo(0))), Vec::<Vec<u8>>::new());
    // Until now they were exact, if late.
    assert!(world.boards.page(board, None, 1).unwrap().is_some());
    assert!(!world.boards.step(world.applied, NOON, &world.layout).unwrap());
    assert_eq!(world.boards.build(board), Err(NoBoards::Starting(world.applied)));
    world.apply();
    world.check();
    // One that they are ahead of costs them nothing.
    world.lock(1, Lag::None);
    assert!(world.boards.step(world.applied, NOON, &world.layout).unwrap());
    world.check();
    world.take(Step::Restart);
    world.apply();
    world.check();
}

#[test]
fn past_the_bound_there_are_no_boards() {
    let mut world = World::new();
    world.boards = Boards::new(world.disk.open("tables"), Bounds { voters: 3, ..bounds() }, NOON);
    for n in 0..3 {
        world.vote(voter(n), 0, 1);
    }
    world.apply();
    let board = Board { of: Subject::Voters, scope: Scope::All, window: Window::All };
    world.check_board(board);
    // One goes, another comes.
    world.retract((voter(0), ClipNo(0)));
    world.vote(voter(9), 1, 1);
    world.apply();
    world.check_board(board);
    world.vote(voter(0), 0, 1);
    world.apply();
    assert_eq!(world.boards.build(board), Err(NoBoards::Full));
    assert_eq!(world.boards.held(), (0, 0, 0), "nothing is held for nobody");
}
