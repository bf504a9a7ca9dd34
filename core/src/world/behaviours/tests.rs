//! What the built-in behaviours make NPCs do. A member, entity 0, is in each world; the NPCs come
//! after it.

use alloc::vec::Vec;

use super::super::World;
use super::super::npcs::tests::{inhabited, tick};
use super::super::tests::session;
use super::vector::unit;
use super::*;
use crate::hashing::HashSeed;
use crate::world::motion::Motion;

const TICKS_PER_S: usize = 10;

fn npcs(world: &World) -> impl Iterator<Item = Motion> + Clone {
    world.entities[1..].iter().map(|entity| entity.motion)
}

fn go(world: &mut World, position: Vector) {
    let motion = Motion { position, ..Motion::default() };
    world.set_motion(0, session(0, 0), motion, 0).unwrap();
}

fn distance(one: Vector, other: Vector) -> f32 {
    length(sub(one, other))
}

/// Runs a world for so many seconds, and looks at it after each tick.
fn run(world: &mut World, seconds: usize, mut look: impl FnMut(&World)) {
    for _ in 0..seconds * TICKS_PER_S {
        tick(world, usize::MAX);
        look(world);
    }
}

#[test]
fn names_are_distinct_and_found() {
    for (index, known) in ALL.iter().enumerate() {
        assert!(ALL[..index].iter().all(|other| other.name() != known.name()));
        assert_eq!(behaviour(known.name()).unwrap().name(), known.name());
    }
    assert!(behaviour("dance").is_none());
}

/// Whatever they do, they keep near their home, in the dimensions of their world, and no faster than
/// they may.
#[test]
fn all_stay_near_home_and_keep_to_their_speed() {
    for dims in [2, 3] {
        for name in ALL.iter().map(|behaviour| behaviour.name()) {
            let home = if dims == 2 { "10:-20" } else { "10:-20:30" };
            let middle = if dims == 2 { [10.0, -20.0, 0.0] } else { [10.0, -20.0, 30.0] };
            let text = alloc::format!("{name}:30:5:{home}:40");
            let mut world = inhabited(&text, dims, HashSeed(3, 4));
            let mut before: Vec<Motion> = npcs(&world).collect();
            run(&mut world, 60, |world| {
                for (before, now) in before.iter_mut().zip(npcs(world)) {
                    let way = distance(before.position, now.position);
                    assert!(way < 0.501, "{name}: {way} in a tick");
                    assert!(length(now.velocity) < 5.001, "{name}: {:?}", now.velocity);
                    let from_home = distance(now.position, middle);
                    assert!(from_home < 60.0, "{name}: {from_home} from home");
                    assert!(dims == 3 || now.position[2] == 0.0);
                    *before = now;
                }
            });
        }
    }
}

#[test]
fn wanderers_go_straight_and_turn_now_and_then() {
    let mut world = inhabited("wander:20:5:0:0:200", 2, HashSeed(3, 4));
    let mut velocities: Vec<Vector> = npcs(&world).map(|npc| npc.velocity).collect();
    let mut turns = 0;
    run(&mut world, 40, |world| {
        for (before, now) in velocities.iter_mut().zip(npcs(world)) {
            turns += usize::from(*before != now.velocity);
            assert!((length(now.velocity) - 5.0).abs() < 0.001);
            let (heading, [x, y, _]) = (now.heading.to_radians(), now.velocity);
            assert!((libm::cosf(heading) * 5.0 - x).abs() < 0.01);
            assert!((libm::sinf(heading) * 5.0 - y).abs() < 0.01);
            *before = now.velocity;
        }
    });
    // Once in four seconds: 200, and what turns at the border.
    assert!((150..300).contains(&turns), "{turns}");
}

#[test]
fn patrols_go_from_corner_to_corner() {
    let mut world = inhabited("patrol:5:10:0:0:20", 2, HashSeed(3, 4));
    let mut corners = [const { Vec::new() }; 5];
    // On their way to the first they may cross an axis anywhere.
    run(&mut world, 10, |_| ());
    run(&mut world, 60, |world| {
        for (corners, npc) in corners.iter_mut().zip(npcs(world)) {
            let [x, y, _] = npc.position;
            // On one of the axes, at the end of its lane.
            let corner = match (x.abs() < 0.01, y.abs() < 0.01) {
                (false, true) => usize::from(x < 0.0) * 2,
                (true, false) => usize::from(y < 0.0) * 2 + 1,
                _ => continue,
            };
            if corners.last() != Some(&corner) {
                corners.push(corner);
            }
        }
    });
    for corners in corners {
        assert!(corners.len() > 16, "{corners:?}");
        assert!(corners.windows(2).all(|pair| (pair[0] + 1) % 4 == pair[1]), "{corners:?}");
    }
}

#[test]
fn seekers_come_to_a_member_within_their_circle_and_stop_before_it() {
    let mut world = inhabited("seek:10:4:0:0:40", 2, HashSeed(3, 4));
    go(&mut world, [20.0, 20.0, 0.0]);
    run(&mut world, 30, |_| ());
    for npc in npcs(&world) {
        let distance = distance(npc.position, [20.0, 20.0, 0.0]);
        assert!((1.9..2.1).contains(&distance), "{distance}");
        assert_eq!(npc.velocity, [0.0; 3]);
    }
    // One who is near, but out of their circle, is let be.
    let before: Vec<Motion> = npcs(&world).collect();
    go(&mut world, [45.0, 0.0, 0.0]);
    run(&mut world, 5, |_| ());
    assert_eq!(npcs(&world).collect::<Vec<_>>(), before);
    world.join(session(0, 1), Motion { position: [-10.0, 0.0, 0.0], ..Motion::default() });
    run(&mut world, 30, |_| ());
    assert!(
        npcs(&world).take(10).all(|npc| distance(npc.position, [-10.0, 0.0, 0.0]) < 2.1),
        "they take the one whom they reach"
    );
}

#[test]
fn who_flees_gets_away_and_stays_within_the_circle() {
    let mut world = inhabited("flee:20:4:0:0:40", 2, HashSeed(3, 4));
    go(&mut world, [10.0, 0.0, 0.0]);
    run(&mut world, 30, |world| {
        assert!(npcs(world).all(|npc| length(npc.position) < 40.001));
    });
    for npc in npcs(&world) {
        // At the border, and nowhere near the member.
        assert!((length(npc.position) - 40.0).abs() < 0.001, "{:?}", npc.position);
        assert!(distance(npc.position, [10.0, 0.0, 0.0]) > 29.0);
    }
    go(&mut world, [5000.0, 0.0, 0.0]);
    run(&mut world, 2, |_| ());
    let before: Vec<Motion> = npcs(&world).collect();
    assert!(before.iter().all(|npc| npc.velocity == [0.0; 3]));
    run(&mut world, 2, |_| ());
    assert_eq!(npcs(&world).collect::<Vec<_>>(), before);
}

#[test]
fn a_flock_goes_one_way_and_its_members_keep_apart() {
    let mut world = inhabited("flock:12:4:0:0:30", 2, HashSeed(3, 4));
    // How much their directions agree: 1 when all go the same way.
    let order = |world: &World| {
        let sum = npcs(world).map(|npc| unit(npc.velocity)).fold([0.0; 3], add);
        length(sum) / 12.0
    };
    tick(&mut world, usize::MAX);
    tick(&mut world, usize::MAX);
    let at_first = order(&world);
    let (mut orders, mut nearest) = (Vec::new(), f32::MAX);
    run(&mut world, 60, |world| orders.push(order(world)));
    let late = &orders[20 * TICKS_PER_S..];
    let mean = late.iter().sum::<f32>() / late.len() as f32;
    for (at, one) in npcs(&world).enumerate() {
        for other in npcs(&world).skip(at + 1) {
            nearest = nearest.min(distance(one.position, other.position));
        }
    }
    assert!(at_first < 0.6 && mean > 0.8, "{at_first}, then {mean}");
    assert!(nearest > 0.5, "{nearest}");
}

#[test]
fn who_stands_almost_on_the_place_of_another_gets_away() {
    let mut world = inhabited("flock:2:4:0:0:30", 2, HashSeed(3, 4));
    let place = [0.0, 1e-22, 0.0];
    for (number, position) in [(1, [0.0; 3]), (2, place)] {
        world.entities[number].motion = Motion { position, ..Motion::default() };
    }
    let near = Surroundings::new(&world, 0);
    let mut batch = Batch {
        manner: Manner { speed: 4.0, home: [0.0; 3], radius: 30.0, dims: 2 },
        shard: ShardId(0),
        tick: 0,
        numbers: &[2],
        seconds: &[0.5],
        positions: &mut [place],
        velocities: &mut [[4.0, 0.0, 0.0]],
        headings: &mut [0.0],
        states: &mut [7],
    };
    // It turns as it is wished to, which is finite and nothing that would be left out.
    let wish = super::flock::wish(&batch, 0, &near);
    assert!(wish.iter().all(|axis| axis.is_finite()), "{wish:?}");
    behaviour("flock").unwrap().think(&mut batch, &near);
    assert!(batch.positions[0].iter().all(|axis| axis.is_finite()), "{:?}", batch.positions);
    assert!((length(batch.velocities[0]) - 4.0).abs() < 0.001);
}

#[test]
fn of_a_crowd_a_few_are_looked_at_and_others_at_each_tick() {
    let mut world = inhabited("wander:100:0:9:9:1", 2, HashSeed(3, 4));
    for index in 1..40 {
        world.join(session(0, index), Motion::default());
    }
    let mut seen = alloc::collections::BTreeSet::new();
    for tick in 0..20 {
        let near = Surroundings::new(&world, tick);
        let others = near.entities(50);
        assert_eq!(others.len(), LOOKED_AT_MAX);
        assert!(others.iter().all(|other| other.number != 50));
        seen.extend(others.iter().map(|other| other.number));
        let members = near.members(50);
        assert_eq!(members.len(), LOOKED_AT_MAX);
        assert!(members.iter().all(|member| member.is_member));
    }
    assert!(seen.len() > 100, "{}", seen.len());
}
