//! What a room sends because of one member, counted in bytes and members.

use super::*;
use crate::rate::{Meter, Rate};
use crate::reason::Reason;

/// What three members hear, in bytes, when one says a letter to the room `r`.
fn bytes_heard() -> u64 {
    let mut bytes = Vec::new();
    let mut message = MessageBuilder::new(&mut bytes, "chat");
    for (name, text) in [("room", "r"), ("from", "u1"), ("text", "x")] {
        message.field(name, Value::Text(text));
    }
    message.field("seq", Value::Integer(1));
    3 * bytes.len() as u64
}

/// As much as two such messages at once, and one a second.
fn two_at_once() -> Limits {
    let fan_out = Rate { per_s: bytes_heard(), burst: 2 * bytes_heard() };
    Limits { fan_out, presence_members_max: 0, count_interval_ns: u64::MAX >> 1, ..NO_GRACE }
}

/// The script is run when clients 1, 2 and 3 are in the room `r` as `u1`, `u2` and `u3`; client 4 is
/// logged in.
#[track_caller]
fn check_three(limits: Limits, script: &str) {
    let mut world = World::new(limits.clone());
    for client in 1..=4 {
        world.run(&format!("{client} open ; {client} login user=u{client}"));
    }
    // Nobody hears of these joins but by a count, which is number 1.
    world.run("1 join room=r ; 2 join room=r ; 3 join room=r");
    check_in(&mut world, script);
    replays_to_the_same_state(&world, limits);
}

#[test]
fn who_makes_a_room_send_too_much_is_refused_before_a_number_is_taken() {
    check_three(
        two_at_once(),
        "
        1 chat to=r text=x ; 1 chat to=r text=y ; 1 chat to=r text=z
            1: chat status=0 seq=2
            1: chat room=r from=u1 text=x seq=2
            2: chat room=r from=u1 text=x seq=2
            3: chat room=r from=u1 text=x seq=2
            1: chat status=0 seq=3
            1: chat room=r from=u1 text=y seq=3
            2: chat room=r from=u1 text=y seq=3
            3: chat room=r from=u1 text=y seq=3
            1: chat status=429 error=fan-out-rate limit=limits.fan_out_bytes_per_s
        2 chat to=r text=x
            2: chat status=0 seq=4
            1: chat room=r from=u2 text=x seq=4
            2: chat room=r from=u2 text=x seq=4
            3: chat room=r from=u2 text=x seq=4
        +999 ; 1 emit to=r event=e
            1: emit status=429 error=fan-out-rate limit=limits.fan_out_bytes_per_s
        1 chat to=u4 text=w
            1: chat status=0
            4: chat to=u4 from=u1 text=w
        +1 ; 1 chat to=r text=z
            1: chat status=0 seq=5
            1: chat room=r from=u1 text=z seq=5
            2: chat room=r from=u1 text=z seq=5
            3: chat room=r from=u1 text=z seq=5
        ",
    );
}

#[test]
fn what_was_sent_counts_once_for_each_member() {
    let limits = Limits { fan_out: Rate { per_s: 1, burst: bytes_heard() - 1 }, ..two_at_once() };
    check_three(
        limits,
        "
        1 chat to=r text=x
            1: chat status=429 error=fan-out-rate limit=limits.fan_out_bytes_per_s
        3 leave room=r
            3: leave status=0
        1 chat to=r text=x
            1: chat status=0 seq=2
            1: chat room=r from=u1 text=x seq=2
            2: chat room=r from=u1 text=x seq=2
        ",
    );
}

#[test]
fn nobody_is_rid_of_it_by_leaving_and_joining() {
    check_three(
        two_at_once(),
        "
        1 chat to=r text=x ; 1 chat to=r text=y ; 1 leave room=r ; 1 join room=r ; 1 chat to=r text=z
            1: chat status=0 seq=2
            1: chat room=r from=u1 text=x seq=2
            2: chat room=r from=u1 text=x seq=2
            3: chat room=r from=u1 text=x seq=2
            1: chat status=0 seq=3
            1: chat room=r from=u1 text=y seq=3
            2: chat room=r from=u1 text=y seq=3
            3: chat room=r from=u1 text=y seq=3
            1: leave status=0
            1: join status=0 room=r members=3
            1: chat status=429 error=fan-out-rate limit=limits.fan_out_bytes_per_s
        5 open ; 5 login user=u1
            5: login status=0 session=0000000000000004 object=41915.1
            1: CLOSE displaced
        5 join room=r ; 5 chat to=r text=z
            5: join status=0 room=r members=3
            5: chat status=429 error=fan-out-rate limit=limits.fan_out_bytes_per_s
        ",
    );
}

#[test]
fn changes_of_objects_count_as_talk_does_and_are_not_heard_beyond() {
    let limits = two_at_once();
    let mut world = World::new(limits.clone());
    for client in 1..=3 {
        world.run(&format!("{client} open ; {client} login user=u{client} ; {client} join room=r"));
    }
    world.run("1 create kind=b partition=9 room=r");
    for number in 0..20 {
        world.run(&format!("1 set object=9.1 n={number}"));
    }
    let counters = world.shard.counters();
    assert!(counters.object_notices >= 1, "{counters:?}");
    assert_eq!(counters.object_notices + counters.object_notices_dropped, 21);
    let dropped = counters.object_notices_dropped;
    world.run("+9000 ; 1 set object=9.1 n=20");
    assert_eq!(world.shard.counters().object_notices_dropped, dropped);
    assert_eq!(world.shard.counters().refusals[Reason::FanOutRate as usize], 0);
    replays_to_the_same_state(&world, limits);
}

#[test]
fn nothing_is_counted_where_there_is_no_bound() {
    let limits = Limits { fan_out: Rate::UNLIMITED, ..two_at_once() };
    let mut world = World::new(limits);
    for client in 1..=3 {
        world.run(&format!("{client} open ; {client} login user=u{client} ; {client} join room=r"));
    }
    for number in 0..100 {
        let heard = world.run(&format!("1 chat to=r text={number}"));
        assert!(heard.contains("status=0"), "{heard}");
    }
}

/// 5,000 in one room who each speak every 100 s pass; one of 10,000 who says 512 bytes twenty times a
/// second does not for long.
#[test]
fn a_crowd_passes_and_one_who_shouts_at_it_does_not() {
    let rate = Limits::PRODUCTION.fan_out;
    let crowd_bytes = 5000 * 200;
    assert!(crowd_bytes * 20 <= rate.burst && crowd_bytes <= rate.per_s * 100 / 20);
    let mut meter = Meter::default();
    let passed = (0..200_u64).filter(|at| meter.take(rate, 10_000 * 600, at * 50_000_000)).count();
    assert!((1..=10).contains(&passed), "{passed} in ten seconds");
}
