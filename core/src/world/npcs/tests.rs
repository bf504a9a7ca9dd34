use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec;

use super::super::behaviours::vector::{length, sub};
use super::super::behaviours::{Behaviour, Behaviours};
use super::super::tests::{at, session, told, world};
use super::*;
use crate::ids::ShardId;
use crate::inline::InlineFault;
use crate::message::packed;

/// Entries of a world with these fields.
pub(in crate::world) fn entries_of(fields: &[(&str, Value<'_>)]) -> Result<Vec<Entry>, Reason> {
    let record = packed("world", fields);
    entries(Message::from_checked(&record))
}

/// A world in which a member stands, with these NPCs.
pub(in crate::world) fn inhabited(npcs: &str, dims: u8, seed: HashSeed) -> World {
    let mut world = world(WorldSettings { dims, ..WorldSettings::default() });
    let dims = ("dims", Value::Integer(i64::from(dims)));
    let entries = entries_of(&[dims, ("npcs", Value::Text(npcs))]).unwrap();
    world.join(session(0, 0), Motion::default());
    world.populate(&entries, usize::MAX, seed);
    world
}

/// Lets a world tick, and moves so many NPCs for the next tick. Returns how many were put off.
pub(in crate::world) fn tick(world: &mut World, updates_max: usize) -> usize {
    let due_ns = world.clock.due_ns();
    world.clock.advance(due_ns).expect("it is due");
    world.tick();
    let put_off = world.expect_npcs();
    think(world, updates_max, &mut built_in());
    put_off
}

/// Moves so many NPCs, of one band after the other.
pub(in crate::world) fn think(
    world: &mut World,
    updates_max: usize,
    behaviours: &mut ShardBehaviours,
) -> Thought {
    let mut all = Thought::default();
    loop {
        let Thought { updates, unmoved, invalid } =
            world.think(updates_max - all.updates, behaviours);
        if updates == 0 {
            return all;
        }
        all.updates += updates;
        all.unmoved += unmoved;
        all.invalid += invalid;
    }
}

/// The server's own behaviours, and no others.
pub(in crate::world) fn built_in() -> ShardBehaviours {
    ShardBehaviours::new(ShardId(0))
}

/// These besides.
fn with(brought: &[Arc<dyn Behaviour>]) -> Arc<Behaviours> {
    let mut behaviours = Behaviours::default();
    for behaviour in brought {
        behaviours.add(Arc::clone(behaviour)).unwrap();
    }
    Arc::new(behaviours)
}

#[test]
fn entries_say_what_they_must() {
    let text = |npcs| entries_of(&[("npcs", Value::Text(npcs))]);
    let entries = text("wander:3:2.5:1:-2:40|seek:1:0:0:0:0").unwrap();
    assert_eq!(count_of(&entries), 4);
    let manner = Manner { speed: 2.5, home: [1.0, -2.0, 0.0], radius: 40.0, dims: 2 };
    assert_eq!((entries[0].manner, entries[0].behaviour.name()), (manner, "wander"));
    for wrong in [
        "",
        "dance dance:3:1:0:0:4",
        ":3:1:0:0:4",
        "wander",
        "wander:0:1:0:0:4",
        "wander:-1:1:0:0:4",
        "wander:65536:1:0:0:4",
        "wander:3:-1:0:0:4",
        "wander:3:1:0:0:-4",
        "wander:3:1:0:0",
        "wander:3:1:0:0:0:4",
        "wander:3:1:0:x:4",
        "wander:3:nan:0:0:4",
        "wander:3:1:inf:0:4",
        "wander:3:1:0:0:1e38",
        "wander:3:1:2097088:0:4",
        "wander:3:640.1:0:0:4",
        "wander:3:1:0:0:4|",
    ] {
        assert_eq!(text(wrong).map(|_| ()), Err(Reason::FieldInvalid), "{wrong}");
    }
    let dims = ("dims", Value::Integer(3));
    let with_z = ("npcs", Value::Text("flee:1:1:2:3:4:5"));
    let entries = entries_of(&[dims, with_z]).unwrap();
    assert_eq!(entries[0].manner.home, [2.0, 3.0, 4.0]);
    assert!(entries_of(&[with_z]).is_err());
    // A cell in a tick, and what members may.
    assert!(text("wander:3:640:0:0:4").is_ok());
    let speed_max = ("speed_max", Value::Float(2.5));
    assert!(entries_of(&[speed_max, ("npcs", Value::Text("wander:3:2.5:0:0:4"))]).is_ok());
    assert!(entries_of(&[speed_max, ("npcs", Value::Text("wander:3:2.6:0:0:4"))]).is_err());
    let tick_hz = ("tick_hz", Value::Integer(1));
    assert!(entries_of(&[tick_hz, ("npcs", Value::Text("wander:3:65:0:0:4"))]).is_err());
    let many = vec!["wander:1:1:0:0:4"; NPC_ENTRIES_MAX + 1].join("|");
    assert!(text(&many).is_err());
    assert_eq!(count_of(&text(&many[17..]).unwrap()), NPC_ENTRIES_MAX);
    assert!(entries_of(&[]).unwrap().is_empty());
}

#[test]
fn npcs_that_do_not_fit_are_put_off_and_none_starves() {
    // Two bands, of which one could fill all that there is time for.
    let mut world = inhabited("patrol:80:4:0:0:1000|wander:20:4:0:0:1000", 2, HashSeed(1, 2));
    assert_eq!(tick(&mut world, 0), 0);
    let before: Vec<Motion> = world.entities.iter().map(|entity| entity.motion).collect();
    let mut put_off = 0;
    for _ in 0..100 {
        put_off += tick(&mut world, 7);
        assert!(world.npcs_due() == 93);
    }
    // 700 updates are seven rounds.
    assert_eq!(put_off, 100 + 99 * 93);
    let rounds = world.npcs.bands.iter().flat_map(|band| &band.moved_for).copied();
    let (first, last) = (rounds.clone().min().unwrap(), rounds.max().unwrap());
    assert_eq!(world.clock.next_tick(), last);
    assert!(last - first <= 100 / 7 + 1, "{first} to {last}");
    // Each goes as far as in one piece, but for the longest time at once.
    for band in &world.npcs.bands {
        for (number, moved_for) in band.numbers.iter().zip(&band.moved_for) {
            let at = usize::from(*number);
            let way = sub(world.entities[at].motion.position, before[at].position);
            assert!(length(way) <= 4.0 * (moved_for / 10 + 1) as f32, "{at}: {way:?}");
            assert!(way != [0.0; 3], "{at} was never moved");
        }
    }
    // With time enough all are in time again.
    tick(&mut world, usize::MAX);
    assert_eq!(tick(&mut world, usize::MAX), 0);
}

#[test]
fn who_is_put_off_goes_as_far_as_the_others() {
    let mut often = inhabited("patrol:10:4:0:0:1000", 2, HashSeed(1, 2));
    let mut seldom = inhabited("patrol:10:4:0:0:1000", 2, HashSeed(1, 2));
    for index in 0..31 {
        tick(&mut often, usize::MAX);
        // Every fifth time all of them.
        tick(&mut seldom, if index % 5 == 0 { usize::MAX } else { 0 });
    }
    for (one, other) in often.entities.iter().zip(&seldom.entities).skip(1) {
        let way = sub(one.motion.position, other.motion.position);
        assert!(length(way) < 0.01, "{way:?}");
    }
}

/// Moves NPCs to where nobody can be.
#[derive(Debug)]
struct Astray;

impl Behaviour for Astray {
    fn name(&self) -> &str {
        "astray"
    }

    fn think(&self, batch: &mut Batch<'_>, _near: &Surroundings<'_>) {
        for at in 0..batch.len() {
            batch.positions[at] = [[f32::NAN, 1.0, 0.0], [1e30, 0.0, 0.0]][at % 2];
            batch.velocities[at] = [f32::INFINITY; 3];
            batch.headings[at] = f32::NAN;
        }
    }
}

#[test]
fn who_is_moved_to_where_nobody_can_be_stays() {
    let mut world = inhabited("astray:2:1:0:0:9", 2, HashSeed(1, 2));
    let mut behaviours = built_in();
    behaviours.replace(with(&[Arc::new(Astray)]));
    let before: Vec<Motion> = world.entities.iter().map(|entity| entity.motion).collect();
    tick(&mut world, 0);
    let thought = world.think(usize::MAX, &mut behaviours);
    assert_eq!(thought, Thought { updates: 2, invalid: 2, unmoved: 0 });
    let after: Vec<Motion> = world.entities.iter().map(|entity| entity.motion).collect();
    assert_eq!(after, before);
    tick(&mut world, 0);
    assert_eq!(told(&world, session(0, 0)), None);
}

#[test]
fn who_goes_and_then_cannot_stands_and_is_told_so() {
    let mut world = inhabited("east:1:1:0:0:9", 2, HashSeed(1, 2));
    let mut behaviours = built_in();
    behaviours.replace(with(&[Arc::new(East("east", 0.5))]));
    tick(&mut world, 0);
    world.think(1, &mut behaviours);
    let (x, speed) = first(&world);
    assert_eq!(speed, 5.0);
    behaviours.replace(with(&[Arc::new(Lost)]));
    tick(&mut world, 0);
    assert_eq!(world.think(1, &mut behaviours).invalid, 1);
    assert_eq!(first(&world), (x, 0.0));
    assert_eq!((&world.dirty[..], world.npcs.bands[0].velocities[0]), (&[1][..], [0.0; 3]));
}

/// What has the name of a behaviour that was good.
#[derive(Debug)]
struct Lost;

impl Behaviour for Lost {
    fn name(&self) -> &str {
        "east"
    }

    fn think(&self, batch: &mut Batch<'_>, near: &Surroundings<'_>) {
        Astray.think(batch, near);
    }
}

/// Stays where it is, but for an axis that the world does not have.
#[derive(Debug)]
struct Up;

impl Behaviour for Up {
    fn name(&self) -> &str {
        "up"
    }

    fn think(&self, batch: &mut Batch<'_>, _near: &Surroundings<'_>) {
        assert!(batch.positions.iter().all(|position| position[2] == 0.0), "{batch:?}");
        batch.positions.iter_mut().zip(0..).for_each(|(position, at)| {
            position[2] = [f32::NAN, 7.0][at % 2];
        });
        batch.velocities.fill([0.0, 0.0, 1.0]);
    }
}

#[test]
fn an_axis_that_a_world_does_not_have_stays_zero_for_behaviours_too() {
    let mut world = inhabited("up:2:1:0:0:9", 2, HashSeed(1, 2));
    let mut behaviours = built_in();
    behaviours.replace(with(&[Arc::new(Up)]));
    tick(&mut world, usize::MAX);
    assert!(world.dirty.is_empty());
    for _ in 0..2 {
        tick(&mut world, 0);
        let thought = world.think(usize::MAX, &mut behaviours);
        assert_eq!(thought, Thought { updates: 2, invalid: 0, unmoved: 0 });
        assert!(world.dirty.is_empty(), "{:?}", world.dirty);
    }
    assert_eq!(world.npcs.bands[0].velocities, [[0.0; 3]; 2]);
}

#[test]
fn one_call_moves_npcs_of_one_entry() {
    let mut world = inhabited("wander:2:1:0:0:9|seek:3:1:0:0:9|flee:70:1:0:0:9", 2, HashSeed(1, 2));
    let mut behaviours = built_in();
    tick(&mut world, 0);
    for updates in [2, 3, 64, 6, 0] {
        assert_eq!(world.think(64, &mut behaviours).updates, updates);
    }
    tick(&mut world, 0);
    assert_eq!(world.think(1, &mut behaviours).updates, 1);
    assert_eq!((world.think(64, &mut behaviours).updates, world.npcs_due()), (1, 73));
}

#[test]
fn one_seed_puts_them_to_the_same_places() {
    let told_by = |seed| {
        let mut world = inhabited("wander:9:5:0:0:50|flock:9:5:0:0:50", 2, seed);
        let mut told = Vec::new();
        for _ in 0..50 {
            tick(&mut world, 11);
            told.extend_from_slice(world.tick_sections());
        }
        told
    };
    assert!(told_by(HashSeed(1, 2)) == told_by(HashSeed(1, 2)));
    assert!(told_by(HashSeed(1, 2)) != told_by(HashSeed(1, 3)));
    let world = inhabited("wander:9:5:7:0:2", 2, HashSeed(1, 2));
    let homes =
        world.entities[1..].iter().map(|npc| length(sub(npc.motion.position, [7.0, 0.0, 0.0])));
    assert!(homes.clone().all(|way| way <= 2.0) && homes.clone().any(|way| way > 1.0));
}

#[test]
fn numbers_name_their_behaviours() {
    let world = inhabited("wander:2:1:0:0:9|seek:1:1:0:0:9", 2, HashSeed(1, 2));
    let named: Vec<_> = (0..5).map(|number| world.npc_behaviour(number)).collect();
    assert_eq!(named, [None, Some("wander"), Some("wander"), Some("seek"), None]);
    assert_eq!((world.npc_count(), world.entity_count(), world.member_count()), (3, 4, 1));
    assert_eq!(world.cost(), 4 * 1024 * 10, "they are moved at each tick");
    let mut short = super::super::tests::world(WorldSettings::default());
    let entries = entries_of(&[("npcs", Value::Text("wander:2:1:0:0:9|seek:5:1:0:0:9"))]).unwrap();
    short.populate(&entries, 3, HashSeed(1, 2));
    assert_eq!((short.npc_count(), short.npc_behaviour(2)), (3, Some("seek")));
    let mut none = super::super::tests::world(WorldSettings::default());
    none.populate(&entries, 0, HashSeed(1, 2));
    assert_eq!(
        (none.npc_count(), none.expect_npcs(), none.think(9, &mut built_in()).updates),
        (0, 0, 0)
    );
}

#[test]
fn who_stands_costs_nothing() {
    let mut world = inhabited("seek:50:1:5000:0:9|flee:50:1:5000:0:9", 2, HashSeed(1, 2));
    world.set_motion(0, session(0, 0), at(5000.0, 300.0), 0).unwrap();
    for _ in 0..12 {
        tick(&mut world, usize::MAX);
    }
    assert!(world.dirty.is_empty());
    assert_eq!(told(&world, session(0, 0)), None);
}

/// Goes east, so many units in a tick, and shows itself.
#[derive(Debug)]
struct East(&'static str, f32);

impl Behaviour for East {
    fn name(&self) -> &str {
        self.0
    }

    fn think(&self, batch: &mut Batch<'_>, _near: &Surroundings<'_>) {
        for at in 0..batch.len() {
            batch.velocities[at] = [10.0 * self.1, 0.0, 0.0];
            batch.positions[at][0] += self.1 * 10.0 * batch.seconds[at];
        }
    }
}

/// Where the first NPC is by its first axis, and how it goes there.
fn first(world: &World) -> (f32, f32) {
    let motion = world.entities[1].motion;
    (motion.position[0], motion.velocity[0])
}

#[test]
fn the_next_table_moves_those_who_are_there_and_what_nobody_has_stands() {
    let mut world = inhabited("east:3:1:100:0:0|wander:1:1:0:0:9", 2, HashSeed(1, 2));
    let mut behaviours = built_in();
    let mut step = |table: Option<Arc<Behaviours>>| {
        if let Some(table) = table {
            behaviours.replace(table);
        }
        let due_ns = world.clock.due_ns();
        world.clock.advance(due_ns).expect("it is due");
        world.tick();
        world.expect_npcs();
        let thought = think(&mut world, usize::MAX, &mut behaviours);
        assert_eq!((thought.updates, thought.invalid), (4, 0));
        let missing = behaviours.take_missing().map(str::to_owned);
        (thought.unmoved, first(&world), missing)
    };
    let start = 100.0;
    let is_missing = Some("east".to_owned());
    assert_eq!(step(None), (3, (start, 0.0), is_missing.clone()));
    assert_eq!(step(None), (3, (start, 0.0), None), "it is told once");
    let slow = with(&[Arc::new(East("east", 0.5))]);
    assert_eq!(step(Some(slow)), (0, (start + 0.5, 5.0), None), "no step for the time before");
    // With others beside it its place is another.
    let quick = with(&[Arc::new(East("east", 1.0)), Arc::new(East("dance", 9.0))]);
    assert_eq!(step(Some(quick)), (0, (start + 1.5, 10.0), None));
    let without = with(&[Arc::new(East("dance", 9.0))]);
    assert_eq!(step(Some(without)), (3, (start + 1.5, 0.0), is_missing), "and looks so");
    assert_eq!(step(None).0, 3);
    assert_eq!(step(Some(with(&[Arc::new(East("east", 0.5))]))), (0, (start + 2.0, 5.0), None));
    assert_eq!(world.npc_behaviour(1), Some("east"));
}

#[test]
fn a_table_takes_a_name_once_and_none_of_the_servers_own() {
    let mut behaviours = Behaviours::default();
    let mut add = |name: &'static str| behaviours.add(Arc::new(East(name, 1.0)));
    assert_eq!(add("wolf"), Ok(()));
    assert_eq!(add("wolf"), Err(InlineFault::Taken));
    assert_eq!(add("flock"), Err(InlineFault::BuiltIn));
    assert_eq!(add("two words"), Err(InlineFault::NameInvalid));
    for number in 1..super::super::behaviours::BEHAVIOURS_MAX {
        assert_eq!(add(String::leak(format!("b{number}"))), Ok(()));
    }
    assert_eq!(add("more"), Err(InlineFault::TooMany));
    let has = ["wolf", "b7", "flock", "b256", "more"].map(|name| behaviours.has(name));
    assert_eq!(has, [true, true, true, false, false]);
}

#[test]
fn who_asks_for_the_neighbours_of_nobody_hears_of_none() {
    let mut world = inhabited("wander:3:1:0:0:1", 2, HashSeed(1, 2));
    tick(&mut world, usize::MAX);
    world.join(session(0, 1), Motion::default());
    tick(&mut world, usize::MAX);
    world.leave(session(0, 1));
    tick(&mut world, usize::MAX);
    let near = Surroundings::new(&world, 7);
    assert_eq!(near.entities(1).len(), 3);
    for number in [4, 5, 1000, u16::MAX] {
        assert_eq!((near.entities(number).len(), near.members(number).len()), (0, 0), "{number}");
    }
}
