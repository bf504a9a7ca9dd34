//! Sessions that outlive their connections: what is told again and what is not, who may resume,
//! and when a session ends.

use super::*;
use crate::rate::Rate;

const ANN: &str = "0000000000000000";

/// Ann is client 1 and has heard one message, the reply to her join; bob is client 2. Both are in
/// room `r`.
fn pair(limits: Limits) -> World {
    let mut world = World::new(limits);
    world.run("1 open ; 1 login user=ann ; 1 join room=r");
    world.settle();
    world.run("2 open ; 2 login user=bob ; 2 join room=r");
    world.settle();
    world
}

#[track_caller]
fn check_pair(limits: Limits, script: &str) {
    check_in(&mut pair(limits), script);
}

#[test]
fn a_session_outlives_its_connection_and_hears_what_it_missed() {
    check_pair(
        Limits::PRODUCTION,
        "
        1 close
        2 chat to=r text=one ; 2 chat to=ann text=two
            2: chat status=0 seq=2
            2: chat room=r from=bob text=one seq=2
            2: chat status=0
        2 who room=r
            2: who status=0 users=ann|bob
        3 open ; 3 resume session=0000000000000000 token=@1 received=2 id=x ; 3 ping ; 3 time
            3: resume id=x status=0 replayed=2
            3: chat room=r from=bob text=one seq=2
            3: chat to=ann from=bob text=two
            3: ping status=0 time_ms=1700000000000
            3: time status=0 time_ms=1700000000000
        2 chat to=r text=three
            2: chat status=0 seq=3
            3: chat room=r from=bob text=three seq=3
            2: chat room=r from=bob text=three seq=3
        3 chat to=r text=four
            3: chat status=0 seq=4
            3: chat room=r from=ann text=four seq=4
            2: chat room=r from=ann text=four seq=4
        3 resume session=0000000000000000 token=@3 received=8
            3: resume status=409 error=already-logged-in
        3 quit
            3: quit status=0
            3: CLOSE quit
            2: left room=r user=ann seq=5
        3 close
        4 open ; 4 resume session=0000000000000000 token=@3 received=8
            4: resume status=401 error=session-unknown
        ",
    );
}

#[test]
fn replies_that_come_after_the_cut_are_told_on_the_next_connection() {
    let limits = Limits { turn_events_max: 1, ..Limits::PRODUCTION };
    check_pair(
        limits,
        "
        1 chat to=r text=a id=1 ; 1 join room=s id=2 ; 1 create kind=k partition=9 id=3
            1: chat id=1 status=0 seq=2
            1: chat room=r from=ann text=a seq=2
            2: chat room=r from=ann text=a seq=2
        1 close
        +1
        3 open ; 3 resume session=0000000000000000 token=@1 received=4
            3: resume status=0 replayed=2
            3: join id=2 status=0 room=s members=1
            3: create id=3 status=0 object=9.1 version=1
        ",
    );
}

#[test]
fn what_is_refused_unrun_counts_like_any_reply_and_runs_when_it_is_sent_again() {
    check_pair(
        Limits::PRODUCTION,
        "
        1 !chat to=r text=one id=7 ; 1 !ping id=8 ; 1 !nonsense
            1: chat id=7 status=429 error=message-rate limit=limits.messages_per_s
            1: ping id=8 status=429 error=message-rate limit=limits.messages_per_s
            1: nonsense status=429 error=message-rate limit=limits.messages_per_s
        1 close
        2 chat to=ann text=two
            2: chat status=0
        3 open ; 3 resume session=0000000000000000 token=@1 received=3
            3: resume status=0 replayed=2
            3: nonsense status=429 error=message-rate limit=limits.messages_per_s
            3: chat to=ann from=bob text=two
        3 chat to=r text=one id=7
            3: chat id=7 status=0 seq=2
            3: chat room=r from=ann text=one seq=2
            2: chat room=r from=ann text=one seq=2
        3 close
        4 open ; 4 !chat to=r ; 4 resume session=0000000000000000 token=@3 received=7
            4: chat status=429 error=message-rate limit=limits.messages_per_s
            4: resume status=0 replayed=0
        ",
    );
}

#[test]
fn what_an_earlier_connection_brought_is_never_refused_as_unrun() {
    check_pair(
        Limits::PRODUCTION,
        "
        1 chat to=r text=one id=7
            1: chat id=7 status=0 seq=2
            1: chat room=r from=ann text=one seq=2
            2: chat room=r from=ann text=one seq=2
        1 close
        3 open ; 3 resume session=0000000000000000 token=@1 received=2
            3: resume status=0 replayed=2
            3: chat id=7 status=0 seq=2
            3: chat room=r from=ann text=one seq=2
        3 !chat to=r text=one id=7 ; 3 !time id=7
            3: time id=7 status=429 error=message-rate limit=limits.messages_per_s
        3 !chat to=r text=one id=7
            3: chat id=7 status=429 error=message-rate limit=limits.messages_per_s
        3 ping received=6
            3: ping status=0 time_ms=1700000000000
        ",
    );
}

#[test]
fn what_is_refused_before_the_login_is_answered_does_not_count() {
    check(
        "
        1 open ; 1 login user=ann ; 1 !who room=r ; 1 join room=r
            1: who status=429 error=message-rate limit=limits.messages_per_s
            1: login status=0 session=0000000000000000 object=12626.1
            1: join status=0 room=r members=1
        1 ping received=2
            1: ping status=400 error=field-invalid
        1 ping received=1
            1: ping status=0 time_ms=1700000000000
        ",
    );
}

#[test]
fn a_client_that_counts_more_than_it_was_told_is_refused_and_nothing_changes() {
    check_pair(
        Limits::PRODUCTION,
        "
        1 ping received=3
            1: ping status=400 error=field-invalid
        1 ping received=-1
            1: ping status=400 error=field-invalid
        1 ping received=2
            1: ping status=0 time_ms=1700000000000
        1 close
        3 open
        3 resume session=0000000000000000 token=@1 received=3
            3: resume status=400 error=field-invalid
        3 resume session=0000000000000000 token=@1 received=x
            3: resume status=400 error=field-invalid
        3 resume session=0000000000000000 token=@1
            3: resume status=400 error=field-missing
            3: CLOSE field-missing
        4 open
        4 resume session=0000000000000000 token=@1 received=2
            4: resume status=0 replayed=0
        ",
    );
}

/// What a thief may try while ann is cut off, with what she does before and after.
#[track_caller]
fn check_thief(before: &[&str], theft: &str) {
    let mut world = pair(Limits::PRODUCTION);
    for line in before {
        world.run(line);
    }
    world.run("9 open");
    let heard = world.run(&format!("9 resume {theft}"));
    assert_eq!(heard, "9: resume status=401 error=session-unknown\n", "{theft}");
    let members = world.run("2 who room=r");
    assert_eq!(members, "2: who status=0 users=ann|bob\n", "{theft}");
    // Whatever the thief tried, ann resumes with what she was told last.
    if !before.contains(&"1 close") {
        world.run("1 close");
    }
    world.run("8 open");
    let latest = if world.tokens.contains_key(&7) { 7 } else { 1 };
    let heard = world.run(&format!("8 resume session={ANN} token=@{latest} received=2"));
    assert!(heard.contains("8: resume status=0 replayed="), "{theft}: {heard}");
}

#[test]
fn nobody_resumes_with_a_token_that_is_not_the_sessions() {
    // Made up, and nearly right.
    for token in
        ["", "x", &"0".repeat(32), &"f".repeat(31), "@2", "FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF"]
    {
        check_thief(&[], &format!("session={ANN} token={token} received=0"));
        check_thief(&["1 close"], &format!("session={ANN} token={token} received=0"));
    }
    // Another's session, one that never was, one of no shard, and what is no session.
    for session in
        ["0000000000000001", "0000000000000002", "0000000100000000", "0009000000000000", "0", "+"]
    {
        check_thief(&[], &format!("session={session} token=@1 received=0"));
    }
    check_thief(&[], &format!("session={} token=@1 received=0", "000000000000000A"));
}

#[test]
fn a_token_that_was_used_is_worth_nothing_after_the_next_message() {
    let resumed = format!("7 open ; 7 resume session={ANN} token=@1 received=2");
    check_thief(&["1 close", &resumed, "7 ping"], &format!("session={ANN} token=@1 received=2"));
    // Also when the message came in the same turn.
    let resumed = format!("{resumed} ; 7 ping");
    check_thief(&["1 close", &resumed], &format!("session={ANN} token=@1 received=2"));
}

#[test]
fn a_reply_lost_on_the_way_locks_nobody_out() {
    check_pair(
        Limits::PRODUCTION,
        "
        1 close
        3 open ; 3 resume session=0000000000000000 token=@1 received=2
            3: resume status=0 replayed=0
        3 close
        4 open ; 4 resume session=0000000000000000 token=@1 received=2
            4: resume status=0 replayed=0
        5 open ; 5 resume session=0000000000000000 token=@3 received=2
            5: resume status=401 error=session-unknown
        4 ping ; 4 close
            4: ping status=0 time_ms=1700000000000
        5 resume session=0000000000000000 token=@1 received=2
            5: resume status=401 error=session-unknown
        5 resume session=0000000000000000 token=@4 received=2
            5: resume status=0 replayed=0
        ",
    );
}

#[test]
fn of_two_resumes_with_one_token_the_later_takes_over() {
    check_pair(
        Limits::PRODUCTION,
        "
        3 open ; 4 open
        3 resume session=0000000000000000 token=@1 received=2
            1: CLOSE taken-over
            3: resume status=0 replayed=0
        1 ping
        4 resume session=0000000000000000 token=@1 received=2
            3: CLOSE taken-over
            4: resume status=0 replayed=0
        3 ping ; 1 close ; 3 close
        4 chat to=r text=mine
            4: chat status=0 seq=2
            4: chat room=r from=ann text=mine seq=2
            2: chat room=r from=ann text=mine seq=2
        5 open ; 5 resume session=0000000000000000 token=@1 received=2
            5: resume status=401 error=session-unknown
        5 resume session=0000000000000000 token=@3 received=2
            5: resume status=401 error=session-unknown
        5 resume session=0000000000000000 token=@4 received=4
            4: CLOSE taken-over
            5: resume status=0 replayed=0
        ",
    );
}

#[test]
fn nobody_resumes_after_logout_displacement_or_the_grace_time() {
    check_pair(
        Limits::PRODUCTION,
        "
        1 quit
            1: quit status=0
            1: CLOSE quit
            2: left room=r user=ann seq=2
        3 open ; 3 resume session=0000000000000000 token=@1 received=3
            3: resume status=401 error=session-unknown
        2 close
        +1 ; 3 login user=bob
            3: login status=0 session=0000000100000000 object=19122.1
        4 open ; 4 resume session=0000000000000001 token=@2 received=1
            4: resume status=401 error=session-unknown
        3 close
        +29999 ; 4 resume session=0000000100000000 token=@3 received=0
            4: resume status=0 replayed=0
        4 close
        +30000 ; 5 open ; 5 resume session=0000000100000000 token=@4 received=0
            5: resume status=401 error=session-unknown
        ",
    );
}

#[test]
fn the_end_of_the_grace_time_takes_the_user_out_of_every_room() {
    check_pair(
        Limits::PRODUCTION,
        "
        1 close
        +29999 ; 2 who room=r
            2: who status=0 users=ann|bob
        +1
            2: left room=r user=ann seq=2
        2 chat to=ann text=x
            2: chat status=404 error=unknown-recipient
        ",
    );
    let mut world = pair(Limits::PRODUCTION);
    world.run("1 create kind=k partition=9 ; 1 watch object=9.1 ; 1 close");
    assert_eq!(world.shard.counters().sessions_detached, 1);
    assert_eq!(world.shard.next_deadline_ns(), Some(30_000_000_000));
    world.run("+30000");
    let counters = world.shard.counters();
    assert_eq!((counters.sessions, counters.sessions_detached, counters.watches), (1, 0, 0));
    assert_eq!((world.shard.next_deadline_ns(), world.shard.watch_relay_count()), (None, 0));
}

#[test]
fn a_login_of_the_user_ends_the_detached_session() {
    check_pair(
        Limits::PRODUCTION,
        "
        1 close
        3 open ; 3 login user=ann
            3: login status=0 session=0000000000000002 object=12626.1
            2: left room=r user=ann seq=2
        3 chat to=ann text=me
            3: chat status=0
            3: chat to=ann from=ann text=me
        ",
    );
}

#[test]
fn without_a_grace_time_sessions_end_with_their_connections() {
    check_pair(
        NO_GRACE,
        "
        3 open ; 3 hello
            3: hello status=0 server=warren/0.1.0 protocol=1 frame_bytes_max=65536 heartbeat_ms=10000 resume_grace_ms=0 messages_per_s=200 bytes_per_s=262144 login_ms=10000
        3 resume session=0000000000000000 token=@1 received=0
            3: resume status=401 error=session-unknown
        1 close
            2: left room=r user=ann seq=2
        3 resume session=0000000000000000 token=@1 received=0
            3: resume status=401 error=session-unknown
        ",
    );
}

#[test]
fn who_missed_more_than_is_kept_is_told_so_and_may_log_in_anew() {
    let limits = Limits { replay_messages_max: 2, ..Limits::PRODUCTION };
    check_pair(
        limits,
        "
        1 close ; 2 chat to=ann text=1 ; 2 chat to=ann text=2
            2: chat status=0
            2: chat status=0
        3 open ; 3 resume session=0000000000000000 token=@1 received=1
            3: resume status=410 error=resume-too-old
        3 resume session=0000000000000000 token=@1 received=2
            3: resume status=0 replayed=2
            3: chat to=ann from=bob text=1
            3: chat to=ann from=bob text=2
        3 close ; 2 chat to=ann text=3 ; 2 chat to=ann text=4 ; 2 chat to=ann text=5
            2: chat status=0
            2: chat status=0
            2: chat status=0
        4 open ; 4 resume session=0000000000000000 token=@3 received=4
            4: resume status=410 error=resume-too-old
        4 login user=ann
            4: login status=0 session=0000000000000002 object=12626.1
            2: left room=r user=ann seq=2
        ",
    );
    // The shard's logs, and what one session is told at once.
    for limits in [
        Limits { replay_bytes_max: 400, ..Limits::PRODUCTION },
        Limits { replay_links_max: 4, ..Limits::PRODUCTION },
        Limits { resume_bytes_max: 100, ..Limits::PRODUCTION },
    ] {
        check_pair(
            limits,
            "
            1 close
            2 chat to=ann text=0123456789012345678901234567890123456789012345678901234567890123
                2: chat status=0
            2 chat to=ann text=0123456789012345678901234567890123456789012345678901234567890123
                2: chat status=0
            2 chat to=r text=0123456789012345678901234567890123456789012345678901234567890123
                2: chat status=0 seq=2
                2: chat room=r from=bob text=0123456789012345678901234567890123456789012345678901234567890123 seq=2
            3 open ; 3 resume session=0000000000000000 token=@1 received=2
                3: resume status=410 error=resume-too-old
            ",
        );
    }
}

#[test]
fn one_detached_session_too_many_ends_the_oldest() {
    let limits = Limits { detached_sessions_max: 1, ..Limits::PRODUCTION };
    let mut world = pair(limits);
    check_in(
        &mut world,
        "
        3 open ; 3 login user=carl ; 3 join room=r
            3: login status=0 session=0000000000000002 object=6262.1
            3: join status=0 room=r members=3
            1: joined room=r user=carl seq=2
            2: joined room=r user=carl seq=2
        1 close
        2 close
            3: left room=r user=ann seq=3
        3 who room=r
            3: who status=0 users=bob|carl
        ",
    );
    assert_eq!(world.shard.counters().detached_sessions_evicted, 1);
    assert_eq!(world.shard.counters().sessions_detached, 1);
}

#[test]
fn a_request_that_comes_again_after_a_cut_runs_once() {
    let limits = Limits { turn_events_max: 1, ..Limits::PRODUCTION };
    check_pair(
        limits,
        "
        1 create kind=k partition=9 id=a ; 1 create kind=k partition=9 id=b
            1: create id=a status=0 object=9.1 version=1
        1 close ; 3 open ; 3 resume session=0000000000000000 token=@1 received=2 ; 3 create kind=k partition=9 id=a ; 3 create kind=k partition=9 id=b ; 3 create kind=k partition=10 id=c
            3: resume status=0 replayed=1
            3: create id=a status=0 object=9.1 version=1
            3: create id=b status=0 object=9.2 version=1
        +1
            3: create id=c status=0 object=10.1 version=1
        3 create kind=k partition=10 id=c
            3: create id=c status=0 object=10.2 version=1
        3 close
        4 open ; 4 resume session=0000000000000000 token=@3 received=5 ; 4 create kind=k partition=10 id=c ; 4 create kind=k partition=10 id=c
            4: resume status=0 replayed=1
            4: create id=c status=0 object=10.2 version=1
            4: create id=c status=0 object=10.3 version=1
        ",
    );
}

#[test]
fn one_id_for_every_request_does_no_harm_after_a_cut() {
    check_pair(
        Limits::PRODUCTION,
        "
        1 create kind=k partition=9 id=1
            1: create id=1 status=0 object=9.1 version=1
        1 create kind=k partition=9 id=1
            1: create id=1 status=0 object=9.2 version=1
        1 close ; 3 open ; 3 resume session=0000000000000000 token=@1 received=4
            3: resume status=0 replayed=0
        3 create kind=k partition=9 id=1
            3: create id=1 status=0 object=9.3 version=1
        3 create kind=k partition=9 id=1
            3: create id=1 status=0 object=9.4 version=1
        ",
    );
}

/// An object of so many bytes that ann owns, read so often.
fn read_much(world: &mut World, bytes: usize, count: usize) {
    world.run(&format!("1 create kind=k partition=9 id=a text={}", "x".repeat(bytes)));
    for _ in 0..count {
        let heard = world.run("1 get object=9.1");
        assert!(heard.starts_with("1: get status=0"), "{heard}");
    }
}

#[test]
fn who_asks_for_much_takes_no_resume_from_the_others() {
    let replay_alone = Rate { per_s: 1000, burst: 10_000 };
    let limits = Limits { replay_bytes_max: 40_000, replay_alone, ..Limits::PRODUCTION };
    let mut world = pair(limits);
    world.run("2 close");
    world.run("1 chat to=r text=missed");
    read_much(&mut world, 4000, 100);
    assert_eq!(world.shard.counters().messages_unkept, 98);
    check_in(
        &mut world,
        "
        3 open ; 3 resume session=0000000000000001 token=@2 received=1
            3: resume status=0 replayed=1
            3: chat room=r from=ann text=missed seq=2
        1 chat to=ann text=short
            1: chat status=0
            1: chat to=ann from=ann text=short
        1 close
        4 open ; 4 resume session=0000000000000000 token=@1 received=104
            4: resume status=410 error=resume-too-old
        4 resume session=0000000000000000 token=@1 received=105
            4: resume status=0 replayed=2
            4: chat status=0
            4: chat to=ann from=ann text=short
        ",
    );
    // In time there is room again.
    world.run("+9000");
    assert!(world.run("4 get object=9.1").starts_with("4: get status=0"));
    world.run("4 close");
    let heard = world.run("5 open ; 5 resume session=0000000000000000 token=@4 received=107");
    assert!(heard.starts_with("5: resume status=0 replayed=1\n5: get status=0"), "{heard}");
}

#[test]
fn sessions_that_were_cut_together_end_over_several_turns() {
    let limits = Limits { turn_events_max: 6, ..Limits::PRODUCTION };
    let mut world = World::new(limits);
    for client in 1..=4 {
        world.run(&format!("{client} open ; {client} login user=u{client}"));
        world.run(&format!("{client} join room=r ; {client} join room=s"));
        world.settle();
    }
    world.run("1 close ; 2 close ; 3 close ; 4 close");
    // Each ends in three places.
    let left = ["+30000", "5 open", "+0"].map(|line| {
        world.run(line);
        (world.shard.counters().sessions_detached, world.shard.has_work())
    });
    assert_eq!(left, [(2, true), (0, false), (0, false)]);
}

#[test]
fn a_session_whose_time_is_over_is_not_resumed_though_it_is_there() {
    let limits = Limits { turn_events_max: 1, ..Limits::PRODUCTION };
    check_pair(
        limits,
        "
        1 close ; 2 close ; 3 open
        +30000 ; 3 resume session=0000000000000001 token=@2 received=1
            3: resume status=401 error=session-unknown
        ",
    );
}

#[test]
fn a_resume_for_another_shard_goes_there_with_all_that_follows() {
    let mut world = World::new(Limits::PRODUCTION);
    let routing = RoutingTable::even(3, Epoch(1));
    world.shard = Shard::new(ShardSettings { routing, ..settings(Limits::PRODUCTION) });
    world.outputs = ShardOutputs::new(3);
    check_in(
        &mut world,
        "
        1 open ; 1 hello
            1: hello status=0 server=warren/0.1.0 protocol=1 frame_bytes_max=65536 heartbeat_ms=10000 resume_grace_ms=30000 messages_per_s=200 bytes_per_s=262144 login_ms=10000
        1 resume session=0003000000000000 token=00000000000000000000000000000000 received=0
            1: resume status=401 error=session-unknown
        1 resume session=0002000000000000 token=00000000000000000000000000000000 received=0 ; 1 ping
            HAND OVER to 2: 1: resume session=0002000000000000 received=0
            HAND OVER to 2: 1: ping
        1 !login user=ann ; 1 login user=ann
            HAND OVER to 2 message-rate: 1: login user=ann
            HAND OVER to 2: 1: login user=ann
        1 end
        1 close
        ",
    );
}

#[test]
fn a_connection_goes_to_another_shard_once() {
    let mut world = World::new(Limits::PRODUCTION);
    let routing = RoutingTable::even(3, Epoch(1));
    world.shard = Shard::new(ShardSettings { routing, ..settings(Limits::PRODUCTION) });
    world.outputs = ShardOutputs::new(3);
    check_in(
        &mut world,
        "
        1 open moved
        1 resume session=0002000000000000 token=00000000000000000000000000000000 received=0
            1: resume status=401 error=session-unknown
        1 resume session=0001000000000000 token=00000000000000000000000000000000 received=0
            1: resume status=401 error=session-unknown
        1 ping
            1: ping status=0 time_ms=1700000000000
        1 resume session=0002000000000000 token=00000000000000000000000000000000 received=0 ; 1 ping
            1: resume status=401 error=session-unknown
            1: CLOSE session-unknown
        ",
    );
}

#[test]
fn a_shard_that_ends_keeps_no_session() {
    let mut world = pair(Limits::PRODUCTION);
    world.shard.stop_gathering();
    assert_eq!(world.run("1 close"), "2: left room=r user=ann seq=2\n");
}

#[test]
fn a_turn_full_of_what_was_missed_refuses_the_next_resume() {
    let limits = Limits { resume_bytes_max: 10 << 20, ..Limits::PRODUCTION };
    let mut world = pair(limits);
    world.run("1 close");
    for _ in 0..200 {
        world.run(&format!("2 chat to=r text={}", "x".repeat(50_000)));
    }
    world.run("2 close ; 3 open ; 4 open");
    let heard = world.run(
        "3 resume session=0000000000000000 token=@1 received=2 ; \
         4 resume session=0000000000000001 token=@2 received=1",
    );
    assert!(heard.starts_with("3: resume status=0 replayed=200\n"));
    assert!(heard.ends_with("4: resume status=503 error=busy\n"));
    let heard = world.run("4 resume session=0000000000000001 token=@2 received=1");
    assert!(heard.starts_with("4: resume status=0 replayed=400\n"));
    // What was missed is not looked at in such a turn.
    world.run("3 close ; 4 close ; 5 open ; 6 open");
    let heard = world.run(
        "5 resume session=0000000000000000 token=@3 received=2 ; \
         6 resume session=0000000000000001 token=@4 received=9999",
    );
    assert!(heard.ends_with("6: resume status=503 error=busy\n"));
}
