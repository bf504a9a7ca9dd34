use alloc::collections::BTreeSet;

use super::super::tests::inhabited;
use super::*;
use crate::hashing::HashSeed;
use crate::world::motion::Motion;
use crate::world::tests::session;

/// By their first axis, the members that the first band's worker is told of at a tick.
fn told(world: &mut World, tick: u64) -> Vec<f32> {
    world.note_members();
    let mut positions = Vec::new();
    world.write_members(&world.npcs.bands[0], tick, &mut positions);
    let axes = positions.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes));
    axes.step_by(3).collect()
}

fn join(world: &mut World, index: u32, x: f32) {
    let position = [x, 0.0, 0.0];
    world.join(session(0, index), Motion { position, ..Motion::default() });
}

#[test]
fn who_is_near_is_seen_at_each_tick_however_many_are_elsewhere() {
    let mut world = inhabited("wander:1:1:5000:0:30", 2, HashSeed(1, 2));
    for index in 1..1500 {
        join(&mut world, index, -3000.0);
    }
    for (index, x) in [(1500, 4907.0), (1501, 5000.0), (1502, 5093.0), (1503, 5095.0)] {
        join(&mut world, index, x);
    }
    for tick in 0..50 {
        let mut seen = told(&mut world, tick);
        seen.sort_by(f32::total_cmp);
        assert_eq!(seen, [4907.0, 5000.0, 5093.0], "{tick}");
    }
    // Of more than are told others at each tick.
    let mut all = BTreeSet::new();
    for index in 0..89 {
        join(&mut world, 2000 + index, 4915.0 + 2.0 * index as f32);
    }
    for tick in 0..50 {
        let seen = told(&mut world, tick);
        assert_eq!(seen.len(), 64);
        all.extend(seen.iter().map(|x| *x as u32));
    }
    assert_eq!(all.len(), 92);
    world.leave(session(0, 1501));
    assert!((0..50).all(|tick| !told(&mut world, tick).contains(&5000.0)));
}

#[test]
fn a_circle_of_too_many_cells_is_looked_at_by_members_in_turn() {
    let mut world = inhabited("wander:1:1:0:0:1000", 2, HashSeed(1, 2));
    for index in 1..1500 {
        join(&mut world, index, index as f32 / 2.0);
    }
    let mut all = BTreeSet::new();
    for tick in 0..60 {
        let seen = told(&mut world, tick);
        assert_eq!(seen.len(), 64);
        all.extend(seen.iter().map(|x| (2.0 * x) as u32));
    }
    assert_eq!(all.len(), 1500);
    // Who has left since the tick is not told.
    world.leave(session(0, 700));
    assert!((0..60).all(|tick| !told(&mut world, tick).contains(&350.0)));
}

#[test]
fn cells_around_a_place_are_a_square_or_a_cube() {
    let settings = |dims| WorldSettings { dims, cell: 10.0, ..WorldSettings::default() };
    let count = |reach, dims| {
        let cells = Cells::around([-5.0, 15.0, 0.0], reach, settings(dims))?;
        let all: BTreeSet<_> = cells.from(7).collect();
        assert!(all.contains(&[-1, 1, 0]));
        Some((all.len(), *all.first().unwrap(), *all.last().unwrap()))
    };
    assert_eq!(count(4.0, 2), Some((1, [-1, 1, 0], [-1, 1, 0])));
    assert_eq!(count(14.0, 2), Some((9, [-2, 0, 0], [0, 2, 0])));
    assert_eq!(count(14.0, 3), Some((36, [-2, 0, -2], [0, 2, 1])));
    assert_eq!(count(74.0, 2).map(|found| found.0), Some(225));
    assert_eq!(count(84.0, 2), None);
    assert_eq!(count(1e30, 3), None);
}
