//! Worlds, from joining to frames. A frame is written `frame WORLD TICK whole? centre`, and for each
//! of its sections the cell, `*` before it if it is a key, then entities with their positions and
//! `-` those that left.

use alloc::string::ToString;

use super::*;
use crate::world::frame::Frame;

pub(super) fn frame_text((world, frame): (&str, &[u8])) -> String {
    let frame = Frame::parse(frame).expect("frames are whole");
    let header = frame.header;
    let cell = |cell: [i16; 3]| format!("{},{}", cell[0], cell[1]);
    let mut text = format!("frame {world} {}", header.tick);
    if header.is_whole {
        text += " whole";
    }
    text += &format!(" {}", cell(header.centre));
    for section in frame.sections() {
        let star = if section.is_key { "*" } else { "" };
        text += &format!(" | {star}{}", cell(section.cell));
        for update in section.updates() {
            let [x, y, _] = update.position;
            text += &format!(" {}@{x},{y}", update.entity);
        }
        for leave in section.leaves() {
            text += &format!(" -{}", leave.entity);
            if let Some((to, _)) = leave.now {
                text += &format!(">{}", cell(to));
            }
        }
    }
    text
}

/// What the reply to the creation of `plaza` says.
fn plaza(world: &mut World) -> String {
    world.run("1 open ; 1 login user=ann");
    let reply = world.run("1 create kind=world room=plaza tick_hz=10");
    let object = reply.split("object=").nth(1).expect("it was made");
    object.split(' ').next().unwrap().to_string()
}

#[test]
fn members_of_a_world_are_told_what_is_around_them() {
    let mut world = World::new(Limits::PRODUCTION);
    let object = plaza(&mut world);
    world.run("2 open ; 2 login user=bob");
    check_in(
        &mut world,
        &format!(
            "
    1 join room=plaza x=3 y=4.5
        1: join status=0 room=plaza members=1 world={object} entity=0 cell=64 dims=2 tick_hz=10 x=3 y=4.5
        1: frame plaza 0 whole 0,0 | *0,0 0@3,4.5
    2 join room=plaza x=-1
        2: join status=0 room=plaza members=2 world={object} entity=1 cell=64 dims=2 tick_hz=10 x=-1 y=0
        1: joined room=plaza user=bob entity=1 seq=1
    +100
        2: frame plaza 1 whole -1,0 | *-1,0 1@-1,0 | *0,0 0@3,4.5
        1: frame plaza 1 0,0 | -1,0 1@-1,0
    +100
    2 move room=plaza x=1 y=1 heading=90 id=7 ; 1 fixed {object} 10 20 ; 1 fixed {object} 11 20
    +100
        2: frame plaza 3 -1,0 | -1,0 -1>0,0 | 0,0 0@11,20 1@1,1
        1: frame plaza 3 0,0 | -1,0 -1>0,0 | 0,0 0@11,20 1@1,1
    1 who room=plaza
        1: who status=0 users=ann|bob entities=0|1
    1 who room=plaza entity=1
        1: who status=0 users=bob entities=1
    1 who room=plaza entity=2
        1: who status=404 error=unknown-object
    1 chat to=plaza text=hi
        1: chat status=0 seq=2
        1: chat room=plaza from=ann text=hi seq=2
        2: chat room=plaza from=ann text=hi seq=2
    2 leave room=plaza
        2: leave status=0
        1: left room=plaza user=bob seq=3
    +100
        1: frame plaza 4 0,0 | 0,0 -1
    1 quit
        1: quit status=0
        1: CLOSE quit
    +100
"
        ),
    );
    assert_eq!((world.shard.world_count(), world.shard.counters().world_entities), (0, 0));
    assert_eq!(world.shard.counters().world_moves, 3);
}

#[test]
fn moves_that_cannot_be_are_refused() {
    let mut world = World::new(Limits::PRODUCTION);
    world.run("1 open ; 1 login user=ann");
    let reply = world.run("1 create kind=world room=plaza speed_max=100 dims=2");
    let object = reply.split("object=").nth(1).unwrap().split(' ').next().unwrap().to_string();
    world.run("1 join room=plaza ; 2 open ; 2 login user=bob");
    check_in(
        &mut world,
        &format!(
            "
    2 move room=plaza x=1 y=1 id=3
        2: move id=3 status=403 error=not-a-member
    2 fixed {object} 1 1
        2: move status=403 error=not-a-member
    3 open ; 3 fixed {object} 1 1 ; 3 move room=plaza x=1 y=1
        3: move status=401 error=not-logged-in
        3: move status=401 error=not-logged-in
    1 move room=plaza x=1
        1: move status=400 error=field-missing
    1 move room=plaza x=1 y=one
        1: move status=400 error=field-invalid
    1 move x=1 y=1
        1: move status=400 error=field-missing
    1 fixed {object} 3e6 0
        1: move status=400 error=field-invalid room=plaza x=0 y=0
    1 fixed {object} 60 80.5
        1: move status=429 error=too-fast limit=speed_max room=plaza x=0 y=0
    1 fixed {object} 60 80
    1 fixed {object} 60 81
        1: move status=429 error=too-fast limit=speed_max room=plaza x=60 y=80
    1 !move room=plaza x=1 y=1
        1: move status=429 error=message-rate limit=limits.messages_per_s
    1 leave room=plaza
        1: leave status=0
    1 fixed {object} 1 1
        1: move status=403 error=not-a-member
"
        ),
    );
    let refusals = &world.shard.counters().refusals;
    assert_eq!(refusals[Reason::TooFast as usize], 2);
}

#[test]
fn a_world_is_made_as_its_fields_say() {
    let mut world = World::new(Limits::PRODUCTION);
    world.run("1 open ; 1 login user=ann");
    for field in [
        "cell=0",
        "cell=x",
        "dims=4",
        "tick_hz=0",
        "tick_hz=61",
        "speed_max=-1",
        "speed_max=0.0009",
        "dims=1",
    ] {
        let reply = world.run(&format!("1 create kind=world room=w {field}"));
        assert_eq!(reply, "1: create status=400 error=field-invalid\n", "{field}");
    }
    let reply = world.run("1 create kind=world room=w cell=8 dims=3 tick_hz=20 note=x");
    assert!(reply.starts_with("1: create status=0 "), "{reply}");
    assert_eq!(world.run("1 create kind=room room=w"), "1: create status=409 error=name-taken\n");
    let reply = world.run("1 join room=w x=1 z=9");
    assert!(reply.contains("entity=0 cell=8 dims=3 tick_hz=20 x=1 y=0 z=9\n"), "{reply}");
    assert_eq!(world.run("1 join room=w"), "1: join status=409 error=already-member\n");
    assert_eq!(world.run("1 rooms"), "1: rooms status=0 rooms=w\n");
    let far = world.run("1 leave room=w ; 1 join room=w x=1e6");
    assert!(far.contains("1: join status=400 error=field-invalid\n"), "{far}");
}

#[test]
fn a_world_has_a_greatest_number_of_entities() {
    let limits = Limits { world_entities_max: 2, ..Limits::PRODUCTION };
    let mut world = World::new(limits);
    plaza(&mut world);
    for index in 2..5 {
        world.run(&format!("{index} open ; {index} login user=u{index}"));
        let reply = world.run(&format!("{index} join room=plaza"));
        assert_eq!(reply.contains("error=world-full limit=limits.world_entities_max"), index == 4);
    }
}

#[test]
fn a_shard_has_a_greatest_number_of_worlds_with_members() {
    let limits = Limits { worlds_max: 2, ..Limits::PRODUCTION };
    let mut world = World::new(limits);
    world.run("1 open ; 1 login user=ann ; 2 open ; 2 login user=bob");
    for name in ["a", "b", "c"] {
        world.run(&format!("1 create kind=world room={name}"));
    }
    check_in(
        &mut world,
        "
    1 join room=a ; 1 join room=b ; 1 join room=c
        1: join status=0 room=a members=1 world=41545.1 entity=0 cell=64 dims=2 tick_hz=10 x=0 y=0
        1: join status=0 room=b members=1 world=10980.1 entity=0 cell=64 dims=2 tick_hz=10 x=0 y=0
        1: join status=429 error=too-many-worlds limit=limits.worlds_max
        1: frame a 0 whole 0,0 | *0,0 0@0,0
    1 leave room=b
        1: leave status=0
",
    );
    // A place is free, and who joins a world with members needs none.
    let heard = world.run("2 join room=c ; 2 join room=a");
    assert_eq!(heard.matches("2: join status=0").count(), 2, "{heard}");
}

#[test]
fn a_world_ticks_as_often_as_worlds_may() {
    let limits = Limits { world_tick_hz_max: 20, ..Limits::PRODUCTION };
    let mut world = World::new(limits.clone());
    world.run("1 open ; 1 login user=ann");
    let refusal = "status=400 error=tick-rate-too-high limit=limits.world_tick_hz_max\n";
    let create = |tick_hz: u8| format!("1 create kind=world room=w tick_hz={tick_hz}");
    assert_eq!(world.run(&create(21)), format!("1: create {refusal}"));
    let reply = world.run(&create(20));
    let object = reply.split("object=").nth(1).expect("it was made");
    let object = object.split(' ').next().unwrap();
    assert_eq!(
        world.run(&format!("1 set object={object} tick_hz=21")),
        format!("1: set {refusal}")
    );
    // A server of other settings starts with the same state.
    while world.store_next_batch() {}
    let limits = Limits { world_tick_hz_max: 5, ..limits };
    let mut restored = world.store.restored(limits, world.now);
    std::mem::swap(&mut world.shard, &mut restored);
    world.run("1 open ; 1 login user=ann");
    assert_eq!(world.run(&format!("1 set object={object} note=x")), "1: set status=0 version=2\n");
    assert!(world.run("1 join room=w").contains(" tick_hz=5 "));
    world.run("+200");
    world.run("+200");
    assert_eq!(
        (world.shard.counters().world_ticks, world.shard.counters().world_ticks_skipped),
        (3, 0)
    );
}

#[test]
fn who_may_not_go_where_it_likes_comes_in_at_the_spawn_point() {
    let mut world = World::new(Limits::PRODUCTION);
    world.run("1 open ; 1 login user=ann");
    for bad in
        ["spawn_x=far", "spawn_x=1e30", "spawn_y=-640001 cell=10 dims=2", "spawn_z=3e8 dims=3"]
    {
        let reply = world.run(&format!("1 create kind=world room=w {bad}"));
        assert_eq!(reply, "1: create status=400 error=field-invalid\n", "{bad}");
    }
    let reply =
        world.run("1 create kind=world room=w spawn_x=5 spawn_y=-7.5 spawn_z=9 speed_max=100");
    let object = reply.split("object=").nth(1).unwrap().split(' ').next().unwrap();
    // What is not a number is not looked at either.
    for place in ["", " x=60", " x=3e8 y=here"] {
        let reply = world.run(&format!("1 join room=w{place}"));
        assert!(reply.contains(" x=5 y=-7.5\n"), "{reply}");
        assert!(world.run(&format!("1 fixed {object} 50 50")).is_empty());
        world.run("1 leave room=w");
    }
    // Without a limit it is where who does not choose comes in.
    world.run(&format!("1 set object={object} speed_max=0 dims=3"));
    let reply = world.run("1 join room=w y=60");
    assert!(reply.contains(" x=5 y=60 z=9\n"), "{reply}");
    // A grid in which the point has no cell any more.
    let reply = world.run(&format!("1 set object={object} cell=0.0001"));
    assert_eq!(reply, "1: set status=400 error=field-invalid\n");
    let reply = world.run(&format!("1 set object={object} cell=0.001 spawn_x=40"));
    assert_eq!(reply, "1: set status=400 error=field-invalid\n");
}

#[test]
fn who_takes_no_frames_is_told_all_when_it_can_and_closed_when_it_takes_too_long() {
    let limits = Limits { frame_stall_ns: 500_000_000, ..Limits::PRODUCTION };
    let mut world = World::new(limits);
    let object = plaza(&mut world);
    world.run("1 join room=plaza ; 2 open ; 2 login user=bob ; 2 join room=plaza");
    world.run("+100");
    check_in(
        &mut world,
        &format!(
            "
    1 stalled ; 2 fixed {object} 2 2
    +100
        2: frame plaza 2 0,0 | 0,0 1@2,2
    2 fixed {object} 3 3
    +100
        2: frame plaza 3 0,0 | 0,0 1@3,3
    1 flows
    +100
        1: frame plaza 4 whole 0,0 | *0,0 0@0,0 1@3,3
    2 fixed {object} 4 4
    +100
        1: frame plaza 5 0,0 | 0,0 1@4,4
        2: frame plaza 5 0,0 | 0,0 1@4,4
    1 stalled
    +499
    2 fixed {object} 5 5 ; +1
        1: CLOSE slow-consumer
        2: frame plaza 10 0,0 | 0,0 1@5,5
"
        ),
    );
    assert_eq!(world.shard.counters().world_members_stalled, 1);
    assert_eq!(world.shard.counters().world_frames_missed, 3);
}

#[test]
fn who_takes_no_frames_is_counted_and_closed_once() {
    let limits = Limits { frame_stall_ns: 200_000_000, ..Limits::PRODUCTION };
    let mut world = World::new(limits);
    let object = plaza(&mut world);
    world.run("1 join room=plaza ; 2 open ; 2 login user=bob ; 2 join room=plaza");
    world.run("1 stalled");
    // The connection is not gone before the reactor has told it the reason.
    let mut heard = String::new();
    for step in 1..10 {
        heard += &world.run(&format!("+100 ; 2 fixed {object} {step} 2"));
    }
    assert_eq!(heard.matches("1: CLOSE slow-consumer").count(), 1);
    assert_eq!(world.shard.counters().world_members_stalled, 1);
}

#[test]
fn a_tick_larger_than_what_may_be_staged_leaves_when_the_way_is_free() {
    use crate::ids::SessionId;
    let limits = Limits { mesh_staging_bytes_max: 64, ..Limits::PRODUCTION };
    let mut world = World::new(limits.clone());
    let routing = RoutingTable::even(2, Epoch(1));
    world.shard = Shard::new(ShardSettings { routing, ..settings(limits) });
    world.outputs = ShardOutputs::new(2);
    world.run("1 open ; 1 login user=bob");
    // The home of this one is here.
    let reply = world.run("1 create kind=world room=r");
    let object = reply.split("object=").nth(1).unwrap().split(' ').next().unwrap();
    let object: ObjectId = object.parse().unwrap();
    for index in 0..20 {
        let session = SessionId { shard: ShardId(1), generation: 0, index };
        let motion = Motion::default();
        world.shard.world_join(object, (session, index as u16), motion, None, &mut world.outputs);
    }
    let told = |world: &World| {
        let batch = &world.outputs.mesh[1];
        let frames = batch.list.iter().filter_map(|message| match message {
            MeshMessage::WorldFrames { sections, .. } => Some(sections.length),
            _ => None,
        });
        frames.collect::<Vec<_>>()
    };
    world.outputs.mesh[1].clear();
    let session = SessionId { shard: ShardId(1), generation: 0, index: 0 };
    world.outputs.mesh[1].list.push(MeshMessage::WorldUnseat { world: object, session });
    world.outputs.mesh[1].bytes.resize(64, 0);
    world.run("+100");
    assert_eq!((told(&world), world.shard.counters().world_frames_lost), (vec![], 1));
    world.outputs.mesh[1].clear();
    world.run("+100");
    let [length] = told(&world)[..] else { panic!("{:?}", told(&world)) };
    assert!(length > 64);
    // The next waits until this one has left.
    for index in 0..20 {
        let session = SessionId { shard: ShardId(1), generation: 0, index };
        let at = Motion { position: [2.0, 2.0, 0.0], ..Motion::default() };
        let slot = world.shard.worlds.slot_of(object).unwrap();
        world.shard.world_move((object, slot, index as u16), session, at, &mut world.outputs);
    }
    world.run("+100");
    assert_eq!((told(&world).len(), world.shard.counters().world_frames_lost), (1, 2));
}

#[test]
fn who_resumes_is_told_all_there_is() {
    let mut world = World::new(Limits::PRODUCTION);
    let object = plaza(&mut world);
    world.run("1 join room=plaza ; 2 open ; 2 login user=bob ; 2 join room=plaza");
    world.run("+100");
    world.run("1 close");
    check_in(
        &mut world,
        &format!(
            "
    2 fixed {object} 2 2
    +100
        2: frame plaza 2 0,0 | 0,0 1@2,2
    3 open ; 3 resume session=0000000000000000 token=@1 received=3
        3: resume status=0 replayed=0
    +100
        3: frame plaza 3 whole 0,0 | *0,0 0@0,0 1@2,2
    3 fixed {object} 7 7
    +100
        3: frame plaza 4 0,0 | 0,0 0@7,7
        2: frame plaza 4 0,0 | 0,0 0@7,7
"
        ),
    );
}

#[test]
fn a_displaced_member_has_a_new_entity() {
    let mut world = World::new(Limits::PRODUCTION);
    plaza(&mut world);
    world.run("1 join room=plaza x=5 ; 3 open ; 3 login user=bob ; 3 join room=plaza");
    world.run("2 open ; 2 login user=ann ; 2 join room=plaza x=1");
    let heard = world.run("+100");
    assert!(heard.contains("2: frame plaza 1 whole 0,0 | *0,0"), "{heard}");
    assert_eq!(world.shard.counters().world_entities, 2);
}

#[test]
pub(super) fn who_has_no_role_for_it_does_not_move() {
    let mut settings = settings(Limits::PRODUCTION);
    settings.policy.add_role("mover").unwrap();
    settings.policy.set_rule("move", ["mover"]).unwrap();
    let mut world = World { shard: Shard::new(settings), ..World::new(Limits::PRODUCTION) };
    let object = plaza(&mut world);
    check_in(
        &mut world,
        &format!(
            "
    1 fixed {object} 1 1
        1: move status=403 error=forbidden
    1 move room=plaza x=1 y=1
        1: move status=403 error=forbidden
"
        ),
    );
    let reply = world.run("1 join room=plaza x=5");
    assert!(reply.contains(" x=0 y=0\n"), "{reply}");
    let refused = "1: move status=403 error=forbidden\n";
    assert_eq!(world.run(&format!("1 fixed {object} 1 1")), refused);
    assert_eq!(world.run("1 move room=plaza x=1 y=1"), refused);
}

#[test]
fn a_shard_that_is_late_skips_ticks_and_halves_the_rate_until_it_is_not() {
    let mut world = World::new(Limits::PRODUCTION);
    plaza(&mut world);
    world.run("1 join room=plaza");
    let mut heard = String::new();
    // Each turn comes when two ticks are due and the third nearly is.
    for _ in 0..10 {
        heard += &world.run("+290");
    }
    let slowed = heard.lines().find(|line| line.contains("tick-rate")).expect("it was told");
    assert!(slowed.starts_with("1: tick-rate room=plaza tick_hz=5 seq="), "{slowed}");
    let skipped = world.shard.counters().world_ticks_skipped;
    assert!(skipped >= 5, "{skipped}");
    let late = world.shard.counters().world_ticks_late;
    assert!(late >= 5, "{late}");
    assert_eq!(world.shard.counters().worlds_slowed, 1);
    heard.clear();
    for _ in 0..4000 {
        heard += &world.run("+10");
    }
    assert_eq!(world.shard.counters().world_ticks_skipped, skipped);
    assert_eq!(world.shard.counters().world_ticks_late, late);
    assert!(heard.contains("1: tick-rate room=plaza tick_hz=10 seq="), "{heard}");
    assert_eq!(world.shard.counters().worlds_slowed, 0);
}

#[test]
fn worlds_come_back_from_the_store_without_anybody_in_them() {
    let mut world = World::new(Limits::PRODUCTION);
    plaza(&mut world);
    world.run("1 join room=plaza x=3");
    while world.store_next_batch() {}
    let mut restored = world.store.restored(Limits::PRODUCTION, world.now);
    assert_eq!(restored.objects_digest(), world.shard.objects_digest());
    std::mem::swap(&mut world.shard, &mut restored);
    world.run("1 open ; 1 login user=ann");
    let reply = world.run("1 join room=plaza");
    assert!(reply.contains("entity=0 cell=64 dims=2 tick_hz=10 x=0 y=0\n"), "{reply}");
}
