//! Watched objects, objects in rooms, owners, `find` by kind, and the bounds of state.

use super::*;
use crate::object::{
    KIND_OVERHEAD_BYTES, OBJECT_OVERHEAD_BYTES, PARTITION_OVERHEAD_BYTES, USER_OVERHEAD_BYTES,
    WATCH_OVERHEAD_BYTES, WATCHED_OVERHEAD_BYTES,
};

#[test]
fn watchers_hear_every_version_until_they_no_longer_watch() {
    check(
        "
        1 open ; 2 open
        1 login user=ann ; 2 login user=bob
            1: login status=0 session=0000000000000000 object=12626.1
            2: login status=0 session=0000000000000001 object=19122.1
        1 create kind=sword partition=9 length=7
            1: create status=0 object=9.1 version=1
        2 watch object=9.1 id=w ; 1 set object=9.1 length=8 ; 1 watch object=9.1
            2: watch id=w status=0 kind=sword version=1 owner=ann length=7
            1: set status=0 version=2
            2: changed object=9.1 version=2 length=8
            1: watch status=0 kind=sword version=2 owner=ann length=8
        2 watch object=9.1
            2: watch status=409 error=already-watching
        1 set object=9.1 length= edge=keen
            1: set status=0 version=3
            2: changed object=9.1 version=3 length= edge=keen
            1: changed object=9.1 version=3 length= edge=keen
        1 set object=9.1 length=1 version=1
            1: set status=409 error=version-conflict
        2 unwatch object=9.1 ; 1 set object=9.1 edge=blunt
            2: unwatch status=0
            1: set status=0 version=4
            1: changed object=9.1 version=4 edge=blunt
        2 unwatch object=9.1
            2: unwatch status=409 error=not-watching
        2 watch object=9.2
            2: watch status=404 error=unknown-object
        2 watch object=9.1
            2: watch status=0 kind=sword version=4 owner=ann edge=blunt
        1 delete object=9.1 version=3 ; 1 delete object=9.1 version=x ; 1 get object=9.1
            1: delete status=409 error=version-conflict
            1: delete status=400 error=field-invalid
            1: get status=0 kind=sword version=4 owner=ann edge=blunt
        1 delete object=9.1 version=4
            1: delete status=0
            1: deleted object=9.1
            2: deleted object=9.1
        2 unwatch object=9.1
            2: unwatch status=404 error=unknown-object
        ",
    );
}

#[test]
fn the_end_of_a_connection_ends_its_watches() {
    let mut world = World::new(NO_GRACE);
    world.run("1 open ; 1 login user=ann ; 2 open ; 2 login user=bob");
    world.run("1 create kind=k partition=9 ; 1 create kind=k partition=10");
    world.run("2 watch object=9.1 ; 2 watch object=10.1 ; 1 watch object=9.1");
    assert_eq!(world.shard.counters().watches, 3);
    world.run("2 close");
    assert_eq!(world.shard.counters().watches, 1);
    assert_eq!(world.shard.watch_relay_count(), 1);
    // One that goes while its watch is under way, and one whose object goes first.
    world.run("3 open ; 3 login user=carl");
    world.run("3 watch object=9.1 ; 3 close");
    assert_eq!((world.shard.counters().watches, world.shard.watch_relay_count()), (1, 1));
    world.run("4 open ; 4 login user=dora");
    world.run("4 watch object=9.1 ; 1 delete object=9.1 ; 4 close");
    assert_eq!((world.shard.counters().watches, world.shard.watch_relay_count()), (0, 0));
    replays_to_the_same_state(&world, NO_GRACE);
}

#[test]
fn a_session_watches_a_bounded_number_of_objects() {
    let limits = Limits { watches_per_session_max: 1, partition_events_max: 1, ..NO_GRACE };
    check_with(
        limits,
        "
        1 open ; 1 login user=ann
            1: login status=0 session=0000000000000000 object=12626.1
        1 create kind=k partition=9
            1: create status=0 object=9.1 version=1
        1 create kind=k partition=9
            1: create status=0 object=9.2 version=1
        1 watch object=9.1 ; 1 watch object=9.2
            1: watch status=429 error=too-many-watches limit=limits.watches_per_session_max
            1: watch status=0 kind=k version=1 owner=ann
        1 unwatch object=9.1
            1: unwatch status=0
        1 watch object=9.3
            1: watch status=404 error=unknown-object
        1 get object=9.2 ; 1 watch object=9.2
            1: watch status=503 error=busy
            1: get status=0 kind=k version=1 owner=ann
        1 watch object=9.2
            1: watch status=0 kind=k version=1 owner=ann
        1 delete object=9.2
            1: delete status=0
            1: deleted object=9.2
        1 watch object=9.1
            1: watch status=0 kind=k version=1 owner=ann
        ",
    );
}

#[test]
fn who_may_no_longer_read_a_room_no_longer_watches_it() {
    check(
        "
        1 open ; 1 login user=ann ; 2 open ; 2 login user=bob ; 3 open ; 3 login user=carl
            1: login status=0 session=0000000000000000 object=12626.1
            2: login status=0 session=0000000000000001 object=19122.1
            3: login status=0 session=0000000000000002 object=6262.1
        1 create kind=room room=r
            1: create status=0 object=40200.1 version=1
        2 join room=r
            2: join status=0 room=r members=1
        1 watch object=40200.1 ; 2 watch object=40200.1 ; 3 watch object=40200.1
            1: watch status=0 kind=room version=1 owner=ann name=r
            2: watch status=0 kind=room version=1 owner=ann name=r
            3: watch status=0 kind=room version=1 owner=ann name=r
        1 set object=40200.1 secret=true
            1: set status=0 version=2
            3: deleted object=40200.1
            1: changed object=40200.1 version=2 secret=true
            2: changed object=40200.1 version=2 secret=true
        3 watch object=40200.1 ; 3 unwatch object=40200.1
            3: watch status=404 error=unknown-object
            3: unwatch status=404 error=unknown-object
        2 leave room=r
            2: leave status=0
            2: deleted object=40200.1
        1 set object=40200.1 topic=x
            1: set status=0 version=3
            1: changed object=40200.1 version=3 topic=x
        1 set object=40200.1 owner=bob
            1: set status=0 version=4
            1: deleted object=40200.1
        2 watch object=40200.1
            2: watch status=0 kind=room version=4 owner=bob name=r secret=true topic=x
        2 set object=40200.1 secret=false
            2: set status=0 version=5
            2: changed object=40200.1 version=5 secret=false
        3 watch object=40200.1
            3: watch status=0 kind=room version=5 owner=bob name=r secret=false topic=x
        2 set object=40200.1 owner=carl secret=
            2: set status=0 version=6
            2: changed object=40200.1 version=6 owner=carl secret=
            3: changed object=40200.1 version=6 owner=carl secret=
        ",
    );
}

#[test]
fn the_session_that_a_newer_one_replaces_in_a_secret_room_no_longer_watches_it() {
    let mut world = World::new(NO_GRACE);
    world.run("1 open ; 1 login user=ann ; 2 open ; 2 login user=bob");
    world.run("1 create kind=room room=r secret=true ; 1 join room=r ; 2 join room=r");
    world.run("1 watch object=40200.1 ; 2 watch object=40200.1");
    assert_eq!(world.shard.counters().watches, 2);
    world.run("3 open ; 3 login user=bob ; 3 join room=r");
    assert_eq!(world.shard.counters().watches, 1);
    replays_to_the_same_state(&world, NO_GRACE);
}

#[test]
fn whoever_watches_a_room_hears_that_its_time_is_over() {
    check(
        "
        1 open ; 1 login user=ann ; 2 open ; 2 login user=bob
            1: login status=0 session=0000000000000000 object=12626.1
            2: login status=0 session=0000000000000001 object=19122.1
        1 join room=r
            1: join status=0 room=r members=1
        2 watch object=40200.1
            2: watch status=0 kind=room version=1 owner=ann name=r transient=true
        1 leave room=r
            1: leave status=0
        +10000
            2: deleted object=40200.1
        2 watch object=40200.1
            2: watch status=404 error=unknown-object
        ",
    );
}

#[test]
fn the_members_of_an_object_s_room_hear_of_it() {
    check(
        "
        1 open ; 1 login user=ann ; 2 open ; 2 login user=bob ; 3 open ; 3 login user=carl
            1: login status=0 session=0000000000000000 object=12626.1
            2: login status=0 session=0000000000000001 object=19122.1
            3: login status=0 session=0000000000000002 object=6262.1
        1 join room=r ; 2 join room=r
            1: join status=0 room=r members=1
            2: join status=0 room=r members=2
            1: joined room=r user=bob seq=1
        1 join room=s ; 3 join room=s
            1: join status=0 room=s members=1
            3: join status=0 room=s members=2
            1: joined room=s user=carl seq=1
        1 create kind=ball partition=9 room=r colour=red
            1: create status=0 object=9.1 version=1
            1: changed room=r object=9.1 version=1 kind=ball owner=ann colour=red seq=2
            2: changed room=r object=9.1 version=1 kind=ball owner=ann colour=red seq=2
        2 get object=9.1 ; 2 watch object=9.1
            2: get status=0 kind=ball version=1 owner=ann colour=red
            2: watch status=0 kind=ball version=1 owner=ann colour=red
        1 set object=9.1 colour= size=3
            1: set status=0 version=2
            2: changed object=9.1 version=2 colour= size=3
            1: changed room=r object=9.1 version=2 colour= size=3 seq=3
            2: changed room=r object=9.1 version=2 colour= size=3 seq=3
        1 chat to=r text=hi
            1: chat status=0 seq=4
            1: chat room=r from=ann text=hi seq=4
            2: chat room=r from=ann text=hi seq=4
        1 set object=9.1 room=s size=4
            1: set status=0 version=3
            2: changed object=9.1 version=3 size=4 moved=true
            1: changed room=r object=9.1 version=3 moved=true seq=5
            2: changed room=r object=9.1 version=3 moved=true seq=5
            1: changed room=s object=9.1 version=3 kind=ball owner=ann size=4 seq=2
            3: changed room=s object=9.1 version=3 kind=ball owner=ann size=4 seq=2
        1 set object=9.1 room=s
            1: set status=0 version=4
            2: changed object=9.1 version=4
            1: changed room=s object=9.1 version=4 seq=3
            3: changed room=s object=9.1 version=4 seq=3
        1 set object=9.1 room=
            1: set status=0 version=5
            2: changed object=9.1 version=5 moved=true
            1: changed room=s object=9.1 version=5 moved=true seq=4
            3: changed room=s object=9.1 version=5 moved=true seq=4
        1 set object=9.1 room=r owner=bob
            1: set status=0 version=6
            2: changed object=9.1 version=6 owner=bob moved=true
            1: changed room=r object=9.1 version=6 kind=ball owner=bob size=4 seq=6
            2: changed room=r object=9.1 version=6 kind=ball owner=bob size=4 seq=6
        2 delete object=9.1
            2: delete status=0
            2: deleted object=9.1
            1: deleted room=r object=9.1 seq=7
            2: deleted room=r object=9.1 seq=7
        ",
    );
}

#[test]
fn a_room_hears_only_what_its_members_do() {
    let mut world = World::new(NO_GRACE);
    world.run("1 open ; 1 login user=ann ; 2 open ; 2 login user=bob ; 2 join room=r");
    let heard = world.run("1 create kind=ball partition=9 room=r");
    assert_eq!(heard, "1: create status=0 object=9.1 version=1\n");
    let heard = world.run("1 set object=9.1 room=nowhere");
    assert_eq!(heard, "1: set status=0 version=2\n");
    assert_eq!(world.shard.counters().object_notices_unheard, 3);
    world.run("1 join room=r");
    let heard = world.run("1 set object=9.1 room=r");
    assert_eq!(heard.lines().count(), 3);
    let counters = world.shard.counters();
    assert_eq!((counters.object_notices, counters.object_notices_unheard), (1, 4));
    assert_eq!(counters.object_notices_dropped, 0);
}

#[test]
fn notices_that_find_no_place_are_dropped_and_take_none_of_the_requests() {
    let limits = Limits { partition_events_max: 2, turn_events_max: 3, ..NO_GRACE };
    let mut world = World::new(limits);
    world.run("1 open ; 1 login user=ann");
    world.run("1 join room=r");
    for partition in 1..=3 {
        world.run(&format!("1 create kind=ball partition={partition} room=r"));
    }
    world.run("+1");
    // The three changes are one turn's budget: their notices wait, and the third finds no place.
    world.run("1 set object=1.1 a=1 ; 1 set object=2.1 a=1 ; 1 set object=3.1 a=1");
    assert_eq!(world.shard.counters().object_notices_dropped, 1);
    let mut heard = world.run("1 chat to=r text=1 ; 1 chat to=r text=2 ; 1 chat to=r text=3");
    assert_eq!(heard.lines().filter(|line| line.contains("busy")).count(), 1);
    heard += &world.run("+1");
    heard += &world.run("+1");
    let heard_of = |method: &str| heard.lines().filter(|line| line.contains(method)).count();
    assert_eq!(heard_of("changed room=r"), 2);
    assert_eq!(heard_of("chat room=r"), 2);
    assert!(!world.shard.has_work());
}

#[test]
fn a_room_is_not_told_what_is_long() {
    let mut world = World::new(NO_GRACE);
    world.run("1 open ; 1 login user=ann ; 1 join room=r");
    world.run("1 join room=s");
    let (short, long) = ("x".repeat(4000), "x".repeat(4096));
    world.run(&format!("1 create kind=ball partition=9 room=r text={short}"));
    let heard = world.run("1 set object=9.1 room=s");
    assert!(
        heard.contains(&format!("version=2 kind=ball owner=ann text={short} seq=1")),
        "{heard}"
    );
    let heard = world.run(&format!("1 set object=9.1 text={long}"));
    let brief = "changed room=s object=9.1 version=3 kind=ball owner=ann more=true seq=2\n";
    assert!(heard.ends_with(brief), "{heard}");
    // Of a long object, a short change is told.
    let heard = world.run("1 set object=9.1 size=4");
    assert!(heard.ends_with("changed room=s object=9.1 version=4 size=4 seq=3\n"), "{heard}");
    let heard = world.run("1 set object=9.1 room=r");
    let brief = "object=9.1 version=5 kind=ball owner=ann more=true seq=3\n";
    assert!(heard.ends_with(brief), "{heard}");
    let heard = world.run(&format!("1 create kind=ball partition=9 room=r text={long}"));
    let brief = "object=9.2 version=1 kind=ball owner=ann more=true seq=4\n";
    assert!(heard.ends_with(brief), "{heard}");
    assert!(world.run("1 get object=9.2").contains(&long));
}

#[test]
fn a_secret_room_answers_strangers_as_one_that_is_not_there() {
    check(
        "
        1 open ; 1 login user=ann ; 2 open ; 2 login user=bob
            1: login status=0 session=0000000000000000 object=12626.1
            2: login status=0 session=0000000000000001 object=19122.1
        1 create kind=room room=r secret=true
            1: create status=0 object=40200.1 version=1
        2 chat to=r text=x ; 2 emit to=r event=x ; 2 leave room=r ; 2 who room=r
            2: chat status=404 error=unknown-recipient
            2: emit status=404 error=unknown-recipient
            2: leave status=404 error=unknown-room
            2: who status=404 error=unknown-room
        1 chat to=r text=x ; 1 leave room=r
            1: chat status=403 error=not-a-member
            1: leave status=403 error=not-a-member
        2 chat to=s text=x ; 2 leave room=s
            2: chat status=404 error=unknown-recipient
            2: leave status=404 error=unknown-room
        ",
    );
}

#[test]
fn the_largest_object_can_be_made_moved_and_read() {
    let object_bytes_max = 1 << 20;
    let effects_bytes_max = Limits::effects_bytes_max_for(object_bytes_max);
    let limits = Limits { object_bytes_max, effects_bytes_max, ..NO_GRACE };
    let mut world = World::new(limits);
    world.run("1 open ; 1 login user=ann ; 1 join room=r");
    let half = "x".repeat((1 << 19) - 100);
    let heard = world.run(&format!("1 create kind=k partition=9 a={half}"));
    assert_eq!(heard, "1: create status=0 object=9.1 version=1\n");
    assert!(world.run("1 watch object=9.1").contains("status=0"));
    assert!(world.run(&format!("1 set object=9.1 b={half} room=r")).contains("status=0"));
    assert!(world.run("1 get object=9.1").contains("status=0"));
}

#[test]
fn what_may_be_an_object_s_room_and_owner() {
    check(
        "
        1 open ; 1 login user=ann ; 2 open ; 2 login user=bob
            1: login status=0 session=0000000000000000 object=12626.1
            2: login status=0 session=0000000000000001 object=19122.1
        1 create kind=k partition=9 room=9
            1: create status=400 error=bad-name
        1 create kind=k partition=9 room=lobby
            1: create status=403 error=lobby
        1 create kind=k partition=9 owner=bob
            1: create status=400 error=reserved-field
        1 create kind=k partition=9 moved=1
            1: create status=400 error=reserved-field
        1 create kind=k partition=9 room=
            1: create status=0 object=9.1 version=1
        1 set object=9.1 owner=
            1: set status=400 error=bad-name
        1 set object=12626.1 room=r
            1: set status=400 error=reserved-field
        1 set object=12626.1 owner=bob
            1: set status=400 error=reserved-field
        2 set object=9.1 owner=bob
            2: set status=403 error=not-owner
        1 set object=9.1 owner=bob room=r
            1: set status=0 version=2
        1 set object=9.1 owner=ann
            1: set status=403 error=not-owner
        2 get object=9.1
            2: get status=0 kind=k version=2 owner=bob room=r
        1 create kind=room room=r
            1: create status=0 object=40200.1 version=1
        1 set object=40200.1 room=s
            1: set status=400 error=reserved-field
        1 set object=40200.1 owner=bob
            1: set status=0 version=2
        2 delete object=40200.1
            2: delete status=0
        ",
    );
}

#[test]
fn find_looks_at_objects_of_its_kind_only() {
    let mut world = World::new(NO_GRACE);
    world.run("1 open ; 1 login user=ann ; 2 open ; 2 login user=bob");
    for _ in 0..8 {
        world.run("1 create kind=shield partition=9 ; 1 create kind=sword partition=9 room=r");
    }
    world.run("1 set object=9.2 owner=bob ; 1 set object=9.4 room= ; 1 delete object=9.6");
    for (asked, found) in [
        ("kind=sword", "9.2|9.4|9.8|9.10|9.12|9.14|9.16"),
        ("kind=sword owner=bob", "9.2"),
        ("kind=sword owner=ann room=r", "9.8|9.10|9.12|9.14|9.16"),
        ("kind=sword room=", "9.4"),
        ("kind=sword after=9.8 count=2", "9.10|9.12 after=9.12"),
        ("kind=axe", ""),
    ] {
        let heard = world.run(&format!("1 find partition=9 {asked}"));
        assert_eq!(heard, format!("1: find status=0 objects={found}\n"), "{asked}");
        // At most the object and the fields `owner` and `room` of each of the kind.
        assert!(world.shard.effects.scanned <= 7 * 3, "{asked}");
    }
}

#[test]
fn find_counts_what_it_looks_at_and_ends_its_page_by_it() {
    let mut world = World::new(NO_GRACE);
    world.run("1 open ; 1 login user=ann");
    let text = "x".repeat(60_000);
    for _ in 0..20 {
        world.run(&format!("1 create kind=long partition=9 text={text} tail=1"));
        world.run("1 create kind=short partition=10 a=1 b=2 c=3");
    }
    // Neither a value that nobody asked for nor one behind the first difference is read.
    assert_eq!(world.run("1 find kind=long partition=9 tail=2"), "1: find status=0 objects=\n");
    assert_eq!(world.shard.effects.scanned, 20 * (1 + 3));
    let heard = world.run("1 find kind=long partition=9 owner=bob");
    assert_eq!(heard, "1: find status=0 objects=\n");
    assert_eq!(world.shard.effects.scanned, 20 * (1 + 1));
    // 60,000 bytes are 234 steps: a page of 4,096 steps looks at 18 of the 20 objects.
    let found = world.run(&format!("1 find kind=long partition=9 text={text}"));
    assert!(found.ends_with("|9.18 after=9.18\n"), "{found}");
    assert_eq!(world.shard.effects.scanned, 18 * (1 + 2 + 60_000 / 256));
    let found = world.run(&format!("1 find kind=long partition=9 text={text} after=9.18"));
    assert!(found.ends_with("objects=9.19|9.20\n"), "{found}");
    // However many fields are asked for that the objects lack, each record is walked once.
    let lacking: String = (0..43).map(|at| format!(" f{at}=1")).collect();
    world.run(&format!("1 find kind=short partition=10{lacking}"));
    assert_eq!(world.shard.effects.scanned, 20 * (1 + 4));
    let lacking: String = (0..40).map(|at| format!(" f{at}=")).collect();
    let found = world.run(&format!("1 find kind=short partition=10 c=3{lacking} count=2"));
    assert_eq!(found, "1: find status=0 objects=10.1|10.2 after=10.2\n");
}

#[test]
fn objects_do_not_lock_a_user_out_of_the_partition_of_the_name() {
    let partition = PartitionId::of_name("alice").0;
    for (limits, reason) in [
        (Limits { objects_per_partition_max: 16, ..NO_GRACE }, "partition-full"),
        (Limits { partition_bytes_max: 32 << 10, ..NO_GRACE }, "partition-memory-full"),
        (Limits { state_bytes_max: 32 << 10, ..NO_GRACE }, "server-full"),
    ] {
        let mut world = World::new(limits);
        world.run("1 open ; 1 login user=ann ; 2 open");
        let mut heard = String::new();
        let mut count = 0;
        while count < 1000 && !heard.contains(reason) {
            heard = world.run(&format!("1 create kind=k partition={partition}"));
            count += 1;
        }
        assert!((10..1000).contains(&count), "{count} objects: {heard}");
        // Nor do the objects' watches and changes.
        let text = "x".repeat(4000);
        let heard = world.run(&format!("1 set object={partition}.1 text={text}"));
        assert!(reason == "partition-full" || heard.contains(reason), "{heard}");
        let heard = world.run("2 login user=alice");
        assert!(heard.starts_with("2: login status=0"), "{reason}: {heard}");
        if reason == "partition-full" {
            // Beside the 14 objects and the user there is room for nothing but users.
            let heard = world.run("2 create kind=room room=alice");
            assert!(heard.contains("name-taken"), "{heard}");
        }
    }
}

#[test]
fn watches_count_in_memory_and_are_refused_when_it_is_full() {
    let mut world = World::new(Limits { partition_bytes_max: 8 << 10, ..NO_GRACE });
    world.run("1 open ; 1 login user=ann");
    for _ in 0..12 {
        world.run("1 create kind=k partition=9");
    }
    let state_bytes = |world: &World| world.shard.counters().state_bytes as usize;
    let before = state_bytes(&world);
    assert!(world.run("1 watch object=9.1").contains("status=0"));
    assert_eq!(state_bytes(&world), before + WATCHED_OVERHEAD_BYTES + WATCH_OVERHEAD_BYTES);
    let mut heard = String::new();
    for object in 2..=12 {
        heard += &world.run(&format!("1 watch object=9.{object}"));
    }
    assert!(heard.contains("error=partition-memory-full"), "{heard}");
    // What was refused holds no place among the session's watches.
    world.run("1 unwatch object=9.1");
    world.run("1 close");
    assert_eq!(state_bytes(&world), before);
    assert_eq!(world.shard.counters().watches, 0);
}

#[test]
fn state_is_bounded_in_bytes() {
    let owner_bytes = 1 + "owner".len() + 1 + 4 + "ann".len();
    let user_bytes = 1 + "user".len() + owner_bytes + OBJECT_OVERHEAD_BYTES + USER_OVERHEAD_BYTES;
    let thing_bytes = 1 + "k".len() + owner_bytes + OBJECT_OVERHEAD_BYTES;
    let first_bytes = PARTITION_OVERHEAD_BYTES + KIND_OVERHEAD_BYTES;
    // Things may take seven eighths.
    let for_things = |bytes: usize| (bytes * 8).div_ceil(7);
    let limits = Limits {
        partition_bytes_max: for_things(first_bytes + 3 * thing_bytes + 10),
        state_bytes_max: for_things(user_bytes + 3 * first_bytes + 4 * thing_bytes + 19),
        ..NO_GRACE
    };
    check_with(
        limits,
        "
        1 open ; 1 login user=ann ; 2 open
            1: login status=0 session=0000000000000000 object=12626.1
        1 create kind=k partition=9 ; 1 create kind=k partition=9
            1: create status=0 object=9.1 version=1
            1: create status=0 object=9.2 version=1
        1 create kind=other partition=9
            1: create status=507 error=partition-memory-full limit=limits.partition_bytes_max
        1 create kind=k partition=9
            1: create status=0 object=9.3 version=1
        1 set object=9.1 a=12345
            1: set status=507 error=partition-memory-full limit=limits.partition_bytes_max
        1 set object=9.1 a=1
            1: set status=0 version=2
        1 set object=9.1 a=2
            1: set status=0 version=3
        1 create kind=k partition=10
            1: create status=0 object=10.1 version=1
        1 set object=10.1 a=123456
            1: set status=507 error=server-full limit=limits.state_bytes_max
        2 login user=bob
            2: login status=507 error=server-full limit=limits.state_bytes_max
        1 join room=r
            1: join status=507 error=partition-memory-full limit=limits.partition_bytes_max
        1 delete object=9.1 ; 1 delete object=9.2 ; 1 delete object=9.3 ; 1 delete object=10.1
            1: delete status=0
            1: delete status=0
            1: delete status=0
            1: delete status=0
        2 login user=bob
            2: login status=0 session=0000000100000001 object=19122.1
        ",
    );
}

#[test]
fn a_room_outlives_its_time_while_a_way_to_its_watchers_is_full() {
    let limits = Limits { room_grace_ns: 0, mesh_staging_bytes_max: 1024, ..NO_GRACE };
    let mut world = World::new(limits.clone());
    let routing = RoutingTable::even(2, Epoch(1));
    world.shard = Shard::new(ShardSettings { routing, ..settings(limits) });
    world.outputs = ShardOutputs::new(2);
    world.run("1 open ; 1 login user=bob");
    world.run("1 join room=r");
    let room = world.shard.partition(PartitionId(40200)).unwrap().room_named("r").unwrap().0;
    let session = crate::ids::SessionId { shard: ShardId(1), generation: 0, index: 0 }.to_bits();
    let delta = Delta::WatchStarted { object: room.0, session, user: "ann".into(), roles: 1 };
    let group = room.partition().group().0;
    world.shard.replay(&DeltaBatch { group, epoch: 1, sequence: 2, deltas: vec![delta] });
    let room_count = |world: &World| world.shard.counters().rooms;
    world.outputs.mesh[1].bytes.resize(1024, 0);
    world.run("1 leave room=r");
    world.run("+10");
    assert_eq!(room_count(&world), 1);
    assert!(world.shard.next_deadline_ns() > Some(world.now.monotonic_ns));
    world.outputs.mesh[1].clear();
    world.run("+10");
    assert_eq!(room_count(&world), 0);
    assert!(matches!(
        world.outputs.mesh[1].list[..],
        [MeshMessage::ObjectMessage { is_last: true, .. }]
    ));
    assert_eq!(world.shard.next_deadline_ns(), None);
}

#[test]
fn notices_are_dropped_when_the_way_to_their_room_is_full() {
    let limits = Limits { mesh_staging_bytes_max: 1024, ..NO_GRACE };
    let mut world = World::new(limits.clone());
    world.shard =
        Shard::new(ShardSettings { routing: RoutingTable::even(2, Epoch(1)), ..settings(limits) });
    world.outputs = ShardOutputs::new(2);
    world.run("1 open ; 1 login user=bob");
    // The home of this room is the other shard.
    assert_eq!(PartitionId::of_name("ann").group().0 % 2, 1);
    world.run("1 create kind=ball partition=9 room=ann");
    let notice_count = |world: &World| world.outputs.mesh[1].list.len();
    assert_eq!((notice_count(&world), world.shard.counters().object_notices_dropped), (1, 0));
    world.outputs.mesh[1].bytes.resize(1024, 0);
    let heard = world.run("1 set object=9.1 height=1");
    assert_eq!(heard, "1: set status=0 version=2\n");
    assert_eq!((notice_count(&world), world.shard.counters().object_notices_dropped), (1, 1));
}
