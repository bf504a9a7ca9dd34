use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use super::frame::Frame;
use super::*;
use crate::ids::ShardId;

mod oracle;

const NO_BUDGET: usize = usize::MAX >> 16;

pub(super) fn session(shard: u16, index: u32) -> SessionId {
    SessionId { shard: ShardId(shard), generation: 3, index }
}

pub(super) fn at(x: f32, y: f32) -> Motion {
    Motion { position: [x, y, 0.0], ..Motion::default() }
}

pub(super) fn world(settings: WorldSettings) -> World {
    let clock = TickClock::new(0, settings.tick_hz, 0);
    World::new(ObjectId(7), settings, clock, NO_BUDGET, HashSeed(1, 2))
}

/// Frames of a tick, each with who gets it.
fn frames(world: &World) -> Vec<(SessionId, Vec<u8>)> {
    let mut frames = Vec::new();
    let header = TickHeader {
        world: world.id.0,
        tick: world.run,
        cell: world.settings.cell,
        dims: world.settings.dims,
    };
    for part in world.tick_parts() {
        for group in groups(part.plan) {
            let mut bytes = Vec::new();
            group.write_frame(header, world.tick_sections(), &mut bytes);
            Frame::parse(&bytes).expect("a world's frames are whole");
            for member in group.members() {
                assert_eq!(member.shard, part.shard);
                frames.push((member, bytes.clone()));
            }
        }
    }
    frames
}

/// A section: whether it is a key, and the entities of its updates and leaves.
type Told = (bool, Vec<u16>, Vec<u16>);

/// What a tick tells a member: whether it is all there is, and the sections.
pub(super) fn told(world: &World, session: SessionId) -> Option<(bool, Vec<Told>)> {
    let frames = frames(world);
    let mut own = frames.iter().filter(|(member, _)| *member == session);
    let (_, bytes) = own.next()?;
    assert!(own.next().is_none(), "one frame a tick");
    let frame = Frame::parse(bytes).unwrap();
    let sections = frame.sections().map(|section| {
        let updates = section.updates().map(|update| update.entity).collect();
        let leaves = section.leaves().map(|leave| leave.entity).collect();
        (section.is_key, updates, leaves)
    });
    Some((frame.header.is_whole, sections.collect()))
}

#[test]
fn who_joins_is_told_everything_and_then_what_changes() {
    let mut world = world(WorldSettings::default());
    let (ann, bob) = (session(0, 1), session(0, 2));
    assert_eq!(world.join(ann, at(1.0, 1.0)), 0);
    world.tick();
    assert_eq!(told(&world, ann), Some((true, alloc::vec![(true, alloc::vec![0], alloc::vec![])])));
    world.tick();
    assert_eq!(told(&world, ann), None);
    assert_eq!(world.join(bob, at(2.0, 2.0)), 1);
    world.tick();
    let both = alloc::vec![(true, alloc::vec![0, 1], alloc::vec![])];
    assert_eq!(told(&world, bob), Some((true, both)));
    let news = alloc::vec![(false, alloc::vec![1], alloc::vec![])];
    assert_eq!(told(&world, ann), Some((false, news)));
    assert!(world.leave(bob));
    assert!(!world.leave(bob));
    world.tick();
    let gone = alloc::vec![(false, alloc::vec![], alloc::vec![1])];
    assert_eq!(told(&world, ann), Some((false, gone)));
    assert_eq!(told(&world, bob), None);
}

#[test]
fn the_last_move_before_a_tick_counts() {
    let mut world = world(WorldSettings::default());
    let ann = session(0, 1);
    world.join(ann, at(0.0, 0.0));
    world.tick();
    for x in 1..5 {
        world.set_motion(0, ann, at(x as f32, 0.5), 0).unwrap();
    }
    world.tick();
    let frames = frames(&world);
    let frame = Frame::parse(&frames[0].1).unwrap();
    let updates: Vec<_> = frame.sections().flat_map(|section| section.updates()).collect();
    assert_eq!(updates.len(), 1);
    assert_eq!(updates[0].position, [4.0, 0.5, 0.0]);
}

#[test]
fn positions_on_the_grid_come_out_as_they_went_in() {
    for dims in [2, 3] {
        let settings = WorldSettings { dims, ..WorldSettings::default() };
        let mut world = world(settings);
        let ann = session(0, 1);
        world.join(ann, Motion::default());
        for step in [0, 1, 511, 65_535, 65_536, -1, -65_536, 12_345_678] {
            let place = step as f32 / 1024.0;
            let motion = Motion {
                position: [place, -place, place],
                velocity: [0.5, -3.0, 200.0],
                heading: -90.0,
            };
            world.set_motion(0, ann, motion, 0).unwrap();
            world.tick();
            let frames = frames(&world);
            let frame = Frame::parse(&frames[0].1).unwrap();
            let update = frame.sections().flat_map(|section| section.updates()).next().unwrap();
            let place = f64::from(place);
            let third = if dims == 3 { (place, 63.5) } else { (0.0, 0.0) };
            assert_eq!(update.position, [place, -place, third.0], "step {step}");
            assert_eq!(update.velocity, [0.5, -3.0, third.1]);
            assert!((update.heading - 270.0).abs() < 1e-9);
        }
    }
}

#[test]
fn what_cannot_be_is_refused() {
    let mut world = world(WorldSettings::default());
    let (ann, bob) = (session(0, 1), session(0, 2));
    world.join(ann, at(0.0, 0.0));
    let far = 64.0 * 32_767.0;
    assert_eq!(world.set_motion(0, ann, at(far - 1.0, -far), 0), Ok(()));
    world.tick();
    for x in [far, f32::MAX, -f32::MAX, -far - 1.0, f32::NAN, f32::INFINITY] {
        assert_eq!(world.set_motion(0, ann, at(x, 0.0), 0), Err(Reason::FieldInvalid), "{x}");
    }
    let spinning = Motion { heading: f32::NAN, ..Motion::default() };
    assert_eq!(world.set_motion(0, ann, spinning, 0), Err(Reason::FieldInvalid));
    assert_eq!(world.set_motion(0, bob, at(0.0, 0.0), 0), Err(Reason::NotAMember));
    assert_eq!(world.set_motion(1, ann, at(0.0, 0.0), 0), Err(Reason::NotAMember));
    let stale = SessionId { generation: 4, ..ann };
    assert_eq!(world.set_motion(0, stale, at(0.0, 0.0), 0), Err(Reason::NotAMember));
}

#[test]
fn who_goes_too_fast_stays_where_it_is() {
    let mut world = world(WorldSettings { speed_max: 10.0, ..WorldSettings::default() });
    let ann = session(0, 1);
    world.join(ann, at(0.0, 0.0));
    assert_eq!(world.set_motion(0, ann, at(0.0, 10.5), 0), Err(Reason::TooFast));
    // A second's way may be gone at once, and then as the time passes.
    assert_eq!(world.set_motion(0, ann, at(0.0, 10.0), 0), Ok(()));
    assert_eq!(world.set_motion(0, ann, at(0.0, 11.0), 99_000_000), Err(Reason::TooFast));
    assert_eq!(world.position(0), [0.0, 10.0, 0.0]);
    assert_eq!(world.set_motion(0, ann, at(0.0, 11.0), 101_000_000), Ok(()));
}

#[test]
fn ways_too_short_to_be_counted_are_not_free() {
    let speed_max = SPEED_MIN;
    let mut world = world(WorldSettings { speed_max, cell: 1.0, ..WorldSettings::default() });
    let ann = session(0, 1);
    world.join(ann, at(0.0, 0.0));
    let stride = 0.1 / SPEED_STEPS_PER_UNIT as f32;
    let mut gone = 0;
    while gone < 1000 && world.set_motion(0, ann, at((gone + 1) as f32 * stride, 0.0), 0).is_ok() {
        gone += 1;
    }
    assert_eq!(gone, 65);
    // Who only turns goes nowhere.
    let turned = Motion { heading: 5.0, ..at(gone as f32 * stride, 0.0) };
    assert_eq!(world.set_motion(0, ann, turned, 0), Ok(()));
}

#[test]
fn numbers_that_are_free_for_longest_are_given_first() {
    let mut world = world(WorldSettings::default());
    for index in 0..3 {
        assert_eq!(world.join(session(0, index), at(0.0, 0.0)), index as u16);
    }
    world.tick();
    world.leave(session(0, 1));
    world.leave(session(0, 0));
    // As long as they rest they are nobody's, and others are given.
    assert_eq!((world.entity_of(session(0, 1)), world.session_of(1)), (None, None));
    assert!(!world.leave(session(0, 1)));
    (0..REST_RUNS).for_each(|_| world.tick());
    assert_eq!(world.next_entity(), Some(3));
    world.tick();
    assert_eq!(world.join(session(0, 7), at(0.0, 0.0)), 1);
    assert_eq!(world.join(session(0, 8), at(0.0, 0.0)), 0);
    assert_eq!((world.member_count(), world.entity_count()), (3, 3));
    assert_eq!(world.by_session.len(), 3, "who has left is forgotten");
    // Of who comes and goes between two ticks nobody was told.
    assert_eq!(world.join(session(0, 9), at(0.0, 0.0)), 3);
    world.leave(session(0, 9));
    assert_eq!(world.next_entity(), Some(3));
}

#[test]
fn numbers_that_rest_are_given_when_there_are_no_others() {
    let mut world = world(WorldSettings::default());
    let [ann, bob] = [session(0, 1), session(0, 2)];
    world.join(ann, at(0.0, 0.0));
    for index in 1..WORLD_ENTITIES_MAX {
        world.spawn(NOBODY, at(index as f32, 0.0));
    }
    assert_eq!(world.next_entity(), None);
    world.tick();
    world.leave(ann);
    assert_eq!(world.join(bob, at(0.0, 0.0)), 0);
    assert_eq!((world.entity_of(ann), world.entity_of(bob)), (None, Some(0)));
    assert_eq!((world.next_entity(), world.by_session.len()), (None, 1));
}

#[test]
fn a_centre_changes_beyond_the_margin_alone() {
    let mut world = world(WorldSettings::default());
    let ann = session(0, 1);
    world.join(ann, at(60.0, 0.0));
    world.tick();
    let mut centres = Vec::new();
    for x in [66.0, 63.0, 71.9, 72.0, 66.0, 57.0, 55.9] {
        world.set_motion(0, ann, at(x, 0.0), 0).unwrap();
        world.tick();
        let frames = frames(&world);
        centres.push(Frame::parse(&frames[0].1).unwrap().header.centre[0]);
    }
    assert_eq!(centres, [0, 0, 0, 1, 1, 1, 0]);
}

#[test]
fn a_budget_slows_the_far_cells_first_and_starves_none() {
    let settings = WorldSettings::default();
    let clock = TickClock::new(0, settings.tick_hz, 0);
    // 20 entities in each of the nine cells are 9 * (12 + 20 * 9) bytes a tick.
    let all = 9 * (12 + 20 * 9) * 10;
    let told_per_cell = |bytes_per_s: usize| {
        let mut world = World::new(ObjectId(7), settings, clock, bytes_per_s, HashSeed(1, 2));
        let place = |index: u32, step: f32| {
            let (cell, nth) = (index % 9, index / 9);
            let corner = |axis: u32| (axis as f32 - 1.0) * 64.0 + 20.0;
            at(corner(cell % 3) + nth as f32, corner(cell / 3) + step)
        };
        for index in 0..180 {
            world.join(session(0, index), place(index, 0.0));
        }
        let mut told = BTreeMap::new();
        for tick in 0..160 {
            for index in 0..180 {
                let step = (tick % 8 + 1) as f32 * 0.5;
                world.set_motion(index as u16, session(0, index), place(index, step), 0).unwrap();
            }
            world.tick();
            if tick < 80 {
                continue;
            }
            // The member in the middle, whose view has all nine cells.
            let frames = frames(&world);
            let Some((_, bytes)) = frames.iter().find(|(who, _)| who.index == 4) else { continue };
            for section in Frame::parse(bytes).unwrap().sections() {
                *told.entry(section.cell).or_insert(0) += section.updates().len() / 20;
            }
        }
        let ring = |ring: i16| {
            let cells = told.iter().filter(|(cell, _)| {
                cell.iter().filter(|axis| **axis != 0).count() == ring as usize
            });
            let mut counts: Vec<usize> = cells.map(|(_, count)| *count).collect();
            counts.dedup();
            assert_eq!(counts.len(), 1, "ring {ring}: {told:?}");
            counts[0]
        };
        [ring(0), ring(1), ring(2)]
    };
    // How often in 80 ticks the centre, the cells beside it and those at its corners are told.
    assert_eq!(told_per_cell(all), [80, 80, 80]);
    assert_eq!(told_per_cell(all - 1), [80, 80, 40]);
    assert_eq!(told_per_cell(all / 2), [80, 40, 20]);
    assert_eq!(told_per_cell(1), [10, 10, 10]);
}

#[test]
fn who_jumps_from_crowd_to_crowd_is_told_no_more_than_the_budget() {
    let settings = WorldSettings::default();
    let clock = TickClock::new(0, settings.tick_hz, 0);
    // A section of 101 has 921 bytes: what a member may have in four ticks.
    let mut world = World::new(ObjectId(7), settings, clock, 2_310, HashSeed(1, 2));
    for index in 0..200 {
        let crowd = (index % 2 * 10_000) as f32;
        world.join(session(0, index), at(crowd + (index / 2) as f32 / 2.0, 3.0));
    }
    let jumper = session(0, 200);
    world.join(jumper, at(1.0, 1.0));
    let mut heard = Vec::new();
    for tick in 0..30 {
        let crowd = (tick % 2 * 10_000) as f32;
        world.set_motion(200, jumper, at(crowd + 1.0, 1.0), 0).unwrap();
        world.tick();
        if let Some((is_whole, ..)) = told(&world, jumper) {
            assert!(is_whole);
            heard.push(tick);
        }
    }
    assert_eq!(heard, (0..30).step_by(4).collect::<Vec<_>>());
}

#[test]
fn who_comes_back_is_told_no_more_than_who_stays() {
    let settings = WorldSettings::default();
    let clock = TickClock::new(0, settings.tick_hz, 0);
    let mut world = World::new(ObjectId(7), settings, clock, 2_310, HashSeed(1, 2));
    for index in 0..100 {
        world.join(session(0, index), at(index as f32 / 2.0, 3.0));
    }
    let [comer, other] = [session(0, 200), session(0, 201)];
    let mut heard = Vec::new();
    for tick in 0..30 {
        world.join(comer, at(1.0, 1.0));
        // Also who leaves before a tick, and whose number somebody else could take meanwhile.
        world.leave(comer);
        world.join(other, at(9999.0, 1.0));
        world.join(comer, at(1.0, 1.0));
        world.tick();
        heard.extend(told(&world, comer).map(|(is_whole, ..)| (tick, is_whole)));
        world.leave(comer);
        world.leave(other);
    }
    let every_fourth = (0..30).step_by(4).map(|tick| (tick, true));
    assert_eq!(heard, every_fourth.collect::<Vec<_>>());
    // Another one does not wait for what somebody before it was told.
    (0..=REST_RUNS).for_each(|_| world.tick());
    assert!(world.join(session(0, 300), at(1.0, 1.0)) < 103);
    world.tick();
    assert!(told(&world, session(0, 300)).is_some_and(|(is_whole, ..)| is_whole));
}

#[test]
fn members_of_a_view_share_one_frame() {
    let mut world = world(WorldSettings::default());
    for index in 0..50 {
        world.join(session((index % 2) as u16, index), at(index as f32, 3.0));
    }
    world.tick();
    for index in 0..50 {
        world
            .set_motion(index as u16, session((index % 2) as u16, index), at(index as f32, 4.0), 0)
            .unwrap();
    }
    world.tick();
    let parts: Vec<_> = world.tick_parts().collect();
    assert_eq!(parts.len(), 2);
    for part in parts {
        let groups: Vec<_> = groups(part.plan).collect();
        assert_eq!(groups.len(), 1);
        assert_eq!(groups[0].members().len(), 25);
    }
    assert_eq!(world.tick_sections().len(), 9 + 50 * 9);
}

/// Many members far from each other, who have been there for a while.
fn at_rest(count: u32) -> World {
    let mut world = world(WorldSettings::default());
    for index in 0..count {
        world.join(session(0, index), at((index * 300) as f32, 0.0));
    }
    (0..20).for_each(|_| world.tick());
    world
}

#[test]
fn a_tick_looks_at_what_has_changed_alone() {
    let mut world = at_rest(1000);
    assert_eq!(world.grid.active_count(), 0);
    world.set_motion(7, session(0, 7), at(7.0 * 300.0, 1.0), 0).unwrap();
    world.tick();
    assert_eq!((world.grid.active_count(), frames(&world).len()), (1, 1));
    (0..20).for_each(|_| world.tick());
    assert_eq!(world.grid.active_count(), 0);
    // What concerns a member alone makes its view looked at, and a new rate makes all.
    world.resync(session(0, 8));
    world.tick();
    let told = told(&world, session(0, 8)).unwrap();
    assert!(told.0 && world.grid.active_count() == 1);
    world.set_halvings(1);
    assert_eq!(world.grid.active_count(), 1000);
    (0..20).for_each(|_| world.tick());
    assert_eq!(world.grid.active_count(), 0);
}

#[test]
fn what_nobody_sees_is_not_looked_at() {
    let mut world = world(WorldSettings::default());
    let ann = session(0, 0);
    world.join(ann, at(1.0, 1.0));
    for index in 0..100 {
        world.spawn(NOBODY, at((1000 + index * 300) as f32, 0.0));
    }
    (0..20).for_each(|_| world.tick());
    for tick in 0..20 {
        for number in 1..=100 {
            let x = world.position(number)[0];
            world.move_npc(number, at(x, [50.0, 90.0][tick % 2]));
        }
        world.tick();
        // Those that were left are freed, and nobody is told.
        assert_eq!((world.grid.active_count(), world.grid.used_count()), (0, 101));
        assert!(frames(&world).is_empty());
    }
    // Who comes there is told how it is now, and then what happens.
    world.set_motion(0, ann, at(1000.0, 60.0), 0).unwrap();
    world.tick();
    let keys = [(true, alloc::vec![0], alloc::vec![]), (true, alloc::vec![1], alloc::vec![])];
    assert_eq!(told(&world, ann), Some((false, keys.to_vec())));
    world.move_npc(1, at(1000.0, 130.0));
    world.tick();
    let gone = alloc::vec![(false, alloc::vec![], alloc::vec![1])];
    assert_eq!(told(&world, ann), Some((false, gone)));
    // When all have been told, nothing is looked at.
    (0..40).for_each(|_| world.tick());
    assert_eq!((world.grid.active_count(), world.grid.used_count()), (0, 101));
}

/// Those hear of it that an NPC moves after all had come to rest. Ticks look at where it is for their
/// sake alone.
#[track_caller]
fn check_hearers(world: &mut World, npc: u16, to: Motion, expected: &[u32]) {
    (0..40).for_each(|_| world.tick());
    assert_eq!(world.grid.active_count(), 0);
    world.move_npc(npc, to);
    world.tick();
    let mut hearers: Vec<u32> = frames(world).iter().map(|(session, _)| session.index).collect();
    hearers.sort_unstable();
    assert_eq!(hearers, expected);
    assert_eq!(world.grid.active_count() > 0, !expected.is_empty());
}

#[test]
fn a_cell_is_seen_as_long_as_somebody_is_in_a_view_that_has_it() {
    let mut world = world(WorldSettings::default());
    let [ann, bob, carl] = [0, 1, 2].map(|index| session(0, index));
    for (member, x) in [(ann, 10.0), (bob, 20.0), (carl, 100.0)] {
        world.join(member, at(x, 10.0));
    }
    // One is in both views, one in that of ann and bob, one in none.
    let [near, left, far] = [at(30.0, 100.0), at(-30.0, 30.0), at(9999.0, 0.0)];
    let [near, left, far] = [near, left, far].map(|place| world.spawn(NOBODY, place));
    check_hearers(&mut world, near, at(31.0, 100.0), &[0, 1, 2]);
    check_hearers(&mut world, left, at(-31.0, 30.0), &[0, 1]);
    check_hearers(&mut world, far, at(9998.0, 0.0), &[]);
    world.leave(bob);
    check_hearers(&mut world, near, at(32.0, 100.0), &[0, 2]);
    check_hearers(&mut world, left, at(-32.0, 30.0), &[0]);
    // A cell that is new is seen too, and where it was, nobody sees the next one there.
    check_hearers(&mut world, left, at(-33.0, -30.0), &[0]);
    check_hearers(&mut world, far, at(8888.0, 0.0), &[]);
    check_hearers(&mut world, far, at(8887.0, 0.0), &[]);
    world.leave(ann);
    check_hearers(&mut world, near, at(34.0, 100.0), &[2]);
    check_hearers(&mut world, left, at(-34.0, -30.0), &[]);
    world.set_motion(2, carl, at(5000.0, 10.0), 0).unwrap();
    world.tick();
    check_hearers(&mut world, near, at(35.0, 100.0), &[]);
    world.join(ann, at(10.0, 10.0));
    world.tick();
    let (is_whole, sections) = told(&world, ann).unwrap();
    let known_count: usize = sections.iter().map(|(_, updates, _)| updates.len()).sum();
    assert!(is_whole && known_count == 3);
    check_hearers(&mut world, near, at(36.0, 100.0), &[0]);
    check_hearers(&mut world, left, at(-36.0, -30.0), &[0]);
}

#[test]
fn cells_are_bounded_by_entities() {
    let mut world = at_rest(10);
    for step in 1..200_u32 {
        for index in 0..10 {
            let place = at((step * 200) as f32, (index * 200) as f32);
            world.set_motion(index as u16, session(0, index), place, 0).unwrap();
        }
        world.tick();
    }
    assert_eq!(world.grid.used_count(), 10 * SLOWEST_PERIOD as usize);
    // Who comes and goes between two ticks leaves no trace, wherever it was.
    let used = world.grid.used_count();
    for index in 0..5000_u32 {
        let guest = session(1, index);
        world.join(guest, at((index * 130) as f32, -999.0));
        world.leave(guest);
    }
    assert_eq!(world.grid.used_count(), used);
    world.tick();
    assert!(frames(&world).iter().all(|(_, bytes)| {
        Frame::parse(bytes)
            .unwrap()
            .sections()
            .all(|section| section.leaves().all(|leave| leave.entity < 10))
    }));
    for index in 0..10 {
        world.leave(session(0, index));
    }
    (0..20).for_each(|_| world.tick());
    assert_eq!((world.grid.used_count(), world.grid.active_count()), (0, 0));
}

/// The number of frames that tell so many members, who each stood at one of the places given, that
/// they are all in one cell now.
#[track_caller]
fn check_crossing(count: u32, place_before: impl Fn(u32) -> Motion, frame_count: usize) {
    let mut world = world(WorldSettings::default());
    let session_of = |index| session((index % 2) as u16, index);
    for index in 0..count {
        world.join(session_of(index), place_before(index));
    }
    (0..20).for_each(|_| world.tick());
    for index in 0..count {
        world.set_motion(index as u16, session_of(index), at(0.0, 0.0), 0).unwrap();
    }
    world.tick();
    let told: Vec<usize> = world
        .tick_parts()
        .flat_map(|part| groups(part.plan).map(|group| group.members().len()).collect::<Vec<_>>())
        .collect();
    assert_eq!(told.iter().sum::<usize>(), count as usize);
    assert_eq!(told.len(), 2 * frame_count, "{told:?}");
}

#[test]
fn those_who_cross_a_border_together_share_one_frame() {
    let cell = WorldSettings::default().cell;
    check_crossing(40, |_| at(1.5 * cell, 0.0), 1);
    // From two sides, and a few cells away.
    check_crossing(40, |index| at(if index % 4 < 2 { 1.5 } else { -1.5 } * cell, 0.0), 2);
    // From everywhere.
    check_crossing(40, |index| at((10 + 5 * (index / 2)) as f32 * cell, 0.0), 1);
}
