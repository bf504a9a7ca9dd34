//! Rooms with many members, many being more than two.

use super::*;

const CROWDED: Limits = Limits {
    presence_members_max: 2,
    count_interval_ns: 1_000_000_000,
    gather_members_min: 2,
    gather_ns: 50_000_000,
    ..NO_GRACE
};

/// Rooms that count beyond two members and gather nothing.
const COUNTED: Limits = Limits { gather_ns: 0, ..CROWDED };
/// Rooms that gather beyond two members, and never come to count.
const GATHERED: Limits = Limits { presence_members_max: 100, ..CROWDED };

/// The script is run when these clients are logged in, client 1 as `u1` and so on, and clients up
/// to `members` have been in room `r` for a while. Nobody has spoken there, so that its numbers are
/// those of the joins.
#[track_caller]
fn check_crowd(limits: Limits, clients: u32, members: u32, script: &str) {
    let mut world = World::new(limits.clone());
    for client in 1..=clients {
        world.run(&format!("{client} open ; {client} login user=u{client}"));
        if client <= members {
            world.run(&format!("{client} join room=r"));
        }
    }
    world.run("+5000");
    world.run("+5000");
    check_in(&mut world, script);
    replays_to_the_same_state(&world, limits);
}

#[test]
fn a_large_room_is_told_its_count_once_a_second() {
    check_crowd(
        COUNTED,
        6,
        2,
        "
        3 join room=r
            3: join status=0 room=r members=3
            1: members room=r count=3 seq=2
            2: members room=r count=3 seq=2
            3: members room=r count=3 seq=2
        4 join room=r
            4: join status=0 room=r members=4
        +999 ; 5 join room=r
            5: join status=0 room=r members=5
        4 leave room=r
            4: leave status=0
        +1
            1: members room=r count=4 seq=3
            2: members room=r count=4 seq=3
            3: members room=r count=4 seq=3
            5: members room=r count=4 seq=3
        +1000
        +1000
        6 join room=r
            6: join status=0 room=r members=5
            1: members room=r count=5 seq=4
            2: members room=r count=5 seq=4
            3: members room=r count=5 seq=4
            5: members room=r count=5 seq=4
            6: members room=r count=5 seq=4
        ",
    );
}

#[test]
fn a_room_that_shrinks_hears_its_count_before_it_hears_names_again() {
    check_crowd(
        COUNTED,
        4,
        3,
        "
        3 leave room=r
            3: leave status=0
            1: members room=r count=2 seq=3
            2: members room=r count=2 seq=3
        2 leave room=r
            2: leave status=0
            1: left room=r user=u2 seq=4
        2 join room=r
            2: join status=0 room=r members=2
            1: joined room=r user=u2 seq=5
        3 join room=r
            3: join status=0 room=r members=3
        3 close
        2 close
        4 join room=r
            4: join status=0 room=r members=2
        +1000
            1: members room=r count=2 seq=6
            4: members room=r count=2 seq=6
        4 leave room=r
            4: leave status=0
            1: left room=r user=u4 seq=7
        ",
    );
}

#[test]
fn an_empty_room_owes_nobody_a_count() {
    check_crowd(
        COUNTED,
        3,
        3,
        "
        3 leave room=r
            3: leave status=0
            1: members room=r count=2 seq=3
            2: members room=r count=2 seq=3
        3 join room=r
            3: join status=0 room=r members=3
        1 close ; 2 close ; 3 leave room=r
            3: leave status=0
        3 join room=r
            3: join status=0 room=r members=1
        +1000
        ",
    );
}

#[test]
fn a_crowd_hears_the_first_message_at_once_and_the_next_ones_together() {
    check_crowd(
        GATHERED,
        3,
        3,
        "
        1 chat to=r text=a
            1: chat status=0 seq=3
            1: chat room=r from=u1 text=a seq=3
            2: chat room=r from=u1 text=a seq=3
            3: chat room=r from=u1 text=a seq=3
        2 chat to=r text=b
            2: chat status=0 seq=4
        +49 ; 3 chat to=r text=c
            3: chat status=0 seq=5
        +1
            1: chat room=r from=u2 text=b seq=4
            2: chat room=r from=u2 text=b seq=4
            3: chat room=r from=u2 text=b seq=4
            1: chat room=r from=u3 text=c seq=5
            2: chat room=r from=u3 text=c seq=5
            3: chat room=r from=u3 text=c seq=5
        3 chat to=r text=d
            3: chat status=0 seq=6
        +50
            1: chat room=r from=u3 text=d seq=6
            2: chat room=r from=u3 text=d seq=6
            3: chat room=r from=u3 text=d seq=6
        +50
        3 chat to=r text=e
            3: chat status=0 seq=7
            1: chat room=r from=u3 text=e seq=7
            2: chat room=r from=u3 text=e seq=7
            3: chat room=r from=u3 text=e seq=7
        ",
    );
}

#[test]
fn who_joins_hears_nothing_that_was_gathered_before() {
    check_crowd(
        GATHERED,
        4,
        3,
        "
        1 emit to=r event=a
            1: emit status=0 seq=3
            1: emit room=r from=u1 event=a seq=3
            2: emit room=r from=u1 event=a seq=3
            3: emit room=r from=u1 event=a seq=3
        1 emit to=r event=b
            1: emit status=0 seq=4
        4 join room=r ; 4 emit to=r event=c
            4: join status=0 room=r members=4
            4: emit status=0 seq=6
        +50
            1: emit room=r from=u1 event=b seq=4
            2: emit room=r from=u1 event=b seq=4
            3: emit room=r from=u1 event=b seq=4
            1: joined room=r user=u4 seq=5
            2: joined room=r user=u4 seq=5
            3: joined room=r user=u4 seq=5
            1: emit room=r from=u4 event=c seq=6
            2: emit room=r from=u4 event=c seq=6
            3: emit room=r from=u4 event=c seq=6
            4: emit room=r from=u4 event=c seq=6
        ",
    );
}

#[test]
fn who_leaves_hears_what_was_gathered_before_the_reply() {
    check_crowd(
        GATHERED,
        5,
        4,
        "
        1 emit to=r event=a
            1: emit status=0 seq=4
            1: emit room=r from=u1 event=a seq=4
            2: emit room=r from=u1 event=a seq=4
            3: emit room=r from=u1 event=a seq=4
            4: emit room=r from=u1 event=a seq=4
        1 emit to=r event=b
            1: emit status=0 seq=5
        2 leave room=r
            2: emit room=r from=u1 event=b seq=5
            2: leave status=0
        2 join room=r
            2: join status=0 room=r members=4
        1 emit to=r event=c
            1: emit status=0 seq=8
        2 leave room=r
            2: emit room=r from=u1 event=c seq=8
            2: leave status=0
        5 join room=r ; 5 close
        +50
            1: emit room=r from=u1 event=b seq=5
            4: emit room=r from=u1 event=b seq=5
            3: emit room=r from=u1 event=b seq=5
            1: left room=r user=u2 seq=6
            4: left room=r user=u2 seq=6
            3: left room=r user=u2 seq=6
            1: joined room=r user=u2 seq=7
            4: joined room=r user=u2 seq=7
            3: joined room=r user=u2 seq=7
            1: emit room=r from=u1 event=c seq=8
            4: emit room=r from=u1 event=c seq=8
            3: emit room=r from=u1 event=c seq=8
            1: left room=r user=u2 seq=9
            4: left room=r user=u2 seq=9
            3: left room=r user=u2 seq=9
            1: joined room=r user=u5 seq=10
            4: joined room=r user=u5 seq=10
            3: joined room=r user=u5 seq=10
        +50
            1: left room=r user=u5 seq=11
            4: left room=r user=u5 seq=11
            3: left room=r user=u5 seq=11
        ",
    );
}

#[test]
fn when_many_leave_what_was_gathered_goes_to_all_of_them_at_once() {
    let limits = Limits { gather_bytes_max: 1200, ..CROWDED };
    let text = "x".repeat(200);
    let mut world = World::new(limits.clone());
    for client in 1..=8 {
        world.run(&format!("{client} open ; {client} login user=u{client} ; {client} join room=r"));
    }
    world.run("+5000");
    world.run("+5000");
    world.run("1 chat to=r text=a");
    assert_eq!(world.run(&format!("1 chat to=r text={text}")).lines().count(), 1);
    // The copies for the first two come to less than the room gathers; that for the third would not.
    for (client, heard_by) in [(2, 1), (3, 1), (4, 6), (5, 0)] {
        let heard = world.run(&format!("{client} leave room=r"));
        assert_eq!(heard.lines().filter(|line| line.contains(&text)).count(), heard_by, "{heard}");
        assert!(heard.contains(&format!("{client}: leave status=0\n")), "{heard}");
    }
    replays_to_the_same_state(&world, limits);
}

#[test]
fn a_count_that_finds_its_way_full_is_told_later_also_without_an_interval() {
    use crate::ids::SessionId;
    let limits = Limits { count_interval_ns: 0, mesh_staging_bytes_max: 1024, ..COUNTED };
    let mut world = World::new(limits.clone());
    let routing = RoutingTable::even(2, Epoch(1));
    world.shard = Shard::new(ShardSettings { routing, ..settings(limits) });
    world.outputs = ShardOutputs::new(2);
    world.run("1 open ; 1 login user=bob");
    world.run("1 join room=r");
    let room = world.shard.partition(PartitionId(40200)).unwrap().room_named("r").unwrap().0;
    for (index, user) in ["ann", "carl"].into_iter().enumerate() {
        let session = SessionId { shard: ShardId(1), generation: 0, index: index as u32 };
        let (room, session, login) = (room.0, session.to_bits(), 1);
        let delta = Delta::MemberJoined { room, user: user.into(), session, login };
        let (group, sequence) = (ObjectId(room).partition().group().0, 2 + index as u64);
        world.shard.replay(&DeltaBatch { group, epoch: 1, sequence, deltas: vec![delta] });
    }
    world.outputs.mesh[1].bytes.resize(1024, 0);
    world.run("1 close");
    world.run("+10");
    assert!(world.shard.owes_crowds());
    assert!(world.shard.next_deadline_ns() > Some(world.now.monotonic_ns));
    world.outputs.mesh[1].clear();
    world.run("+10");
    assert!(!world.shard.owes_crowds());
}

#[test]
fn a_room_that_is_no_crowd_any_more_sends_what_it_gathered() {
    check_crowd(
        GATHERED,
        3,
        3,
        "
        1 emit to=r event=a
            1: emit status=0 seq=3
            1: emit room=r from=u1 event=a seq=3
            2: emit room=r from=u1 event=a seq=3
            3: emit room=r from=u1 event=a seq=3
        1 emit to=r event=b
            1: emit status=0 seq=4
        3 close
            1: emit room=r from=u1 event=b seq=4
            2: emit room=r from=u1 event=b seq=4
            1: left room=r user=u3 seq=5
            2: left room=r user=u3 seq=5
        1 emit to=r event=c
            1: emit status=0 seq=6
            1: emit room=r from=u1 event=c seq=6
            2: emit room=r from=u1 event=c seq=6
        1 close ; 2 close
        +10000
        +10000
        ",
    );
}

#[test]
fn a_full_buffer_leaves_before_its_time() {
    let limits = Limits { gather_bytes_max: 600, ..GATHERED };
    let mut world = World::new(limits.clone());
    for client in 1..=3 {
        world.run(&format!("{client} open ; {client} login user=u{client} ; {client} join room=r"));
    }
    world.run("+50");
    let said =
        |world: &mut World| world.run("1 chat to=r text=12345678901234567890").lines().count();
    assert_eq!(said(&mut world), 4, "the first is heard at once");
    let mut counts: Vec<usize> = (0..8).map(|_| said(&mut world)).collect();
    counts.dedup();
    let [1, sent, ..] = counts[..] else { panic!("{counts:?}") };
    assert!(sent % 3 == 1 && sent > 6, "the reply, and some messages for three: {sent}");
    assert!(world.shard.gathered_bytes() <= limits.gather_bytes_max);
}

#[test]
fn a_shard_that_ends_sends_what_it_gathered_and_gathers_no_more() {
    let mut world = World::new(GATHERED);
    for client in 1..=3 {
        world.run(&format!("{client} open ; {client} login user=u{client} ; {client} join room=r"));
    }
    world.run("+50");
    world.run("1 chat to=r text=a");
    assert_eq!(world.run("1 chat to=r text=b"), "1: chat status=0 seq=4\n");
    world.shard.stop_gathering();
    check_in(
        &mut world,
        "
        1 chat to=r text=c
            1: chat room=r from=u1 text=b seq=4
            2: chat room=r from=u1 text=b seq=4
            3: chat room=r from=u1 text=b seq=4
            1: chat status=0 seq=5
            1: chat room=r from=u1 text=c seq=5
            2: chat room=r from=u1 text=c seq=5
            3: chat room=r from=u1 text=c seq=5
        ",
    );
    assert_eq!(world.shard.next_deadline_ns(), None);
}

#[test]
fn members_of_a_room_stand_in_the_outputs_once_for_messages_in_a_row() {
    let mut world = World::new(GATHERED);
    for client in 1..=3 {
        world.run(&format!("{client} open ; {client} login user=u{client} ; {client} join room=r"));
    }
    world.run("+50");
    world.run("1 chat to=r text=a");
    for text in ["b", "c", "d"] {
        world.run(&format!("1 chat to=r text={text}"));
    }
    assert_eq!(world.run("+50").lines().count(), 9);
    assert_eq!(world.outputs.recipients.len(), 3);
}

#[test]
fn everyone_in_a_room_of_thousands_is_found_page_by_page() {
    const MEMBERS: usize = 5000;
    let mut world = World::new(NO_GRACE);
    for client in 0..MEMBERS {
        world.run(&format!("{client} open ; {client} login user=u{client} ; {client} join room=r"));
    }
    let (mut names, mut after) = (Vec::new(), String::new());
    loop {
        let page = world.run(&format!("0 who room=r count=250{after}"));
        let field =
            |name: &str| page.split(' ').find_map(|word| word.trim_end().strip_prefix(name));
        let users: Vec<String> = field("users=").unwrap().split('|').map(String::from).collect();
        assert!(users.len() <= 250);
        names.extend(users);
        let Some(last) = field("after=") else { break };
        after = format!(" after={last}");
    }
    assert!(names.is_sorted_by(|one, next| one < next));
    assert_eq!(names.len(), MEMBERS);
}
