//! Refusals that no other feature's tests come upon.

use super::*;

#[test]
fn where_joining_makes_no_rooms_they_are_created() {
    let mut world = World::new(NO_GRACE);
    world.shard = Shard::new(ShardSettings { join_creates_rooms: false, ..settings(NO_GRACE) });
    world.run("1 open ; 1 login user=ann");
    check_in(
        &mut world,
        "
        1 join room=r
            1: join status=403 error=room-creation-disabled
        1 create kind=room room=r
            1: create status=0 object=40200.1 version=1
        1 join room=r
            1: join status=0 room=r members=1
        ",
    );
}

#[test]
fn an_event_with_too_large_effects_fails_whole() {
    let limits = Limits { effects_bytes_max: 256, ..NO_GRACE };
    let mut world = World::new(limits);
    world.run("1 open ; 1 login user=ann ; 1 join room=r");
    let long = "x".repeat(256);
    assert_eq!(
        world.run(&format!("1 chat to=r text={long}")),
        "1: chat status=413 error=effects-too-large\n"
    );
    check_in(
        &mut world,
        "
        1 chat to=r text=x
            1: chat status=0 seq=1
            1: chat room=r from=ann text=x seq=1
        ",
    );
}
