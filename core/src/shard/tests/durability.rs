use super::*;
use crate::ids::{GroupId, Sequence};

fn with_log(limits: Limits) -> World {
    World::with_settings(ShardSettings { has_log: true, ..settings(limits) })
}

#[test]
fn what_is_durable_follows_the_log() {
    let mut world = with_log(Limits::PRODUCTION);
    let group = PartitionId(171).group();
    world.run("1 open ; 1 login user=ann");
    world.run("1 create kind=sword partition=171 ; 1 create kind=sword partition=170");
    world.run("1 set object=171.1 edge=2");
    assert_eq!(world.shard.durable_sequence(group), Sequence(0));
    assert_eq!(world.shard.counters().delta_batches_waiting, 4);
    world.run("log 2");
    assert_eq!(world.shard.durable_sequence(group), Sequence(1));
    assert_eq!(world.shard.counters().delta_batches_waiting, 2);
    world.run("log 2");
    assert_eq!(world.shard.durable_sequence(group), Sequence(3));
    assert_eq!(world.shard.counters().delta_batches_waiting, 0);
    // What was loaded at the start is durable where it came from.
    while world.store_next_batch() {}
    let mut replica = with_log(Limits::PRODUCTION).shard;
    for batch in &world.deltas {
        replica.replay(batch);
    }
    assert_eq!(replica.durable_sequence(group), Sequence(3));
    replica.restore_group(GroupId(7), Sequence(9));
    assert_eq!(replica.durable_sequence(GroupId(7)), Sequence(9));
    assert_eq!(replica.counters().delta_batches_waiting, 0);
}

#[test]
fn without_a_log_all_is_durable_when_it_is_applied() {
    let mut world = World::new(Limits::PRODUCTION);
    world.run("1 open ; 1 login user=ann ; 1 create kind=sword partition=171");
    assert_eq!(world.shard.durable_sequence(PartitionId(171).group()), Sequence(1));
    assert_eq!(world.shard.counters().delta_batches_waiting, 0);
}

fn log_says(sequences: &[u64]) {
    let mut world = with_log(Limits::PRODUCTION);
    world.run("1 open ; 1 login user=ann ; 1 create kind=sword partition=171");
    world.run("1 set object=171.1 edge=2");
    for sequence in sequences {
        world.shard.note_durable(PartitionId(171).group(), Sequence(*sequence));
    }
}

#[test]
#[should_panic(expected = "what was durable is")]
fn a_log_does_not_go_back() {
    log_says(&[1, 2, 2, 1]);
}

#[test]
#[should_panic(expected = "what is durable was made")]
fn a_log_has_nothing_that_was_not_made() {
    log_says(&[2, 3]);
}

/// As `check_in`, of a server with a log. At the end nothing waits.
#[track_caller]
fn check_logged(limits: Limits, script: &str) {
    let mut world = with_log(limits.clone());
    check_in(&mut world, script);
    let counters = world.shard.counters();
    assert_eq!((counters.log_waiting, counters.log_waiting_bytes), (0, 0));
    replays_to_the_same_state(&world, limits);
}

#[test]
fn a_durable_reply_waits_for_the_log_and_the_state_does_not() {
    check_logged(
        Limits::PRODUCTION,
        "
        1 open ; 1 login user=ann ; 2 open echo ; 2 login user=bob
            1: login status=0 session=0000000000000000 object=12626.1
            2: login user=bob status=0 session=0000000000000001 object=19122.1
        1 create kind=sword partition=171 ack=durable id=a
        2 get object=171.1
            2: get object=171.1 status=0 kind=sword version=1 owner=ann
        log 2
        log 1
            1: create id=a status=0 object=171.1 version=1
        1 set object=171.1 edge=2 ack=durable id=b ; 1 set object=171.1 edge=3 id=c ; 1 set object=171.1 edge=4 ack=durable id=d
            1: set id=c status=0 version=3
        log 1
            1: set id=b status=0 version=2
        log 2
            1: set id=d status=0 version=4
        2 create kind=shield partition=171 ack=durable
        2 delete object=171.2 ack=durable
        log 2
            2: create kind=shield partition=171 ack=durable status=0 object=171.2 version=1
            2: delete object=171.2 ack=durable status=0
        ",
    );
}

#[test]
fn what_changes_nothing_or_nothing_stored_does_not_wait() {
    check_logged(
        Limits::PRODUCTION,
        "
        1 open ; 1 login user=ann ; 1 create kind=sword partition=171
            1: login status=0 session=0000000000000000 object=12626.1
            1: create status=0 object=171.1 version=1
        1 get object=171.1 ack=durable
            1: get status=0 kind=sword version=1 owner=ann
        1 set object=171.1 edge=2 version=7 ack=durable
            1: set status=409 error=version-conflict
        1 join room=r ack=durable
            1: join status=501 error=level-unavailable
        1 join room=r ack=applied
            1: join status=0 room=r members=1
        1 emit to=r event=wave ack=durable
            1: emit status=0 seq=1
            1: emit room=r from=ann event=wave seq=1
        1 watch object=171.1 ack=durable
            1: watch status=501 error=level-unavailable
        1 watch object=171.1 ack=later
            1: watch status=400 error=field-invalid
        1 set object=171.1 edge=2 ack=replicated
            1: set status=501 error=level-unavailable
        ",
    );
}

#[test]
fn a_room_numbers_what_is_durable_when_it_is() {
    check_logged(
        Limits::PRODUCTION,
        "
        1 open ; 1 login user=ann ; 1 join room=r
            1: login status=0 session=0000000000000000 object=12626.1
            1: join status=0 room=r members=1
        1 create kind=sword partition=171 room=r ack=durable ; 1 chat to=r text=hi
            1: chat status=0 seq=1
            1: chat room=r from=ann text=hi seq=1
        1 set object=171.1 edge=2
            1: set status=0 version=2
        1 create kind=sword partition=500 room=r
            1: create status=0 object=500.1 version=1
            1: changed room=r object=500.1 version=1 kind=sword owner=ann seq=2
        log 4
            1: create status=0 object=171.1 version=1
            1: changed room=r object=171.1 version=1 kind=sword owner=ann seq=3
            1: changed room=r object=171.1 version=2 edge=2 seq=4
        1 set object=171.1 edge=3
            1: set status=0 version=3
            1: changed room=r object=171.1 version=3 edge=3 seq=5
        ",
    );
}

#[test]
fn watchers_hear_every_version_whatever_waits() {
    check_logged(
        Limits::PRODUCTION,
        "
        1 open ; 1 login user=ann ; 1 create kind=sword partition=171 ack=durable ; 1 watch object=171.1
            1: login status=0 session=0000000000000000 object=12626.1
            1: watch status=0 kind=sword version=1 owner=ann
        1 set object=171.1 edge=2 ack=durable
            1: changed object=171.1 version=2 edge=2
        1 unwatch object=171.1
            1: unwatch status=0
        log 3
            1: create status=0 object=171.1 version=1
        1 set object=171.1 edge=3 ; 1 watch object=171.1
            1: set status=0 version=3
            1: watch status=0 kind=sword version=3 owner=ann edge=3
        1 delete object=171.1 ack=durable
            1: deleted object=171.1
        log 5
            1: set status=0 version=2
            1: delete status=0
        ",
    );
}

#[test]
fn what_waits_is_bounded_and_refused_before_it_changes_anything() {
    let limits = Limits { log_wait_bytes_max: 300, ..Limits::PRODUCTION };
    check_logged(
        limits,
        "
        1 open ; 1 login user=ann ; 1 join room=r ; 1 create kind=sword partition=171 room=r
            1: login status=0 session=0000000000000000 object=12626.1
            1: join status=0 room=r members=1
            1: create status=0 object=171.1 version=1
            1: changed room=r object=171.1 version=1 kind=sword owner=ann seq=1
        1 set object=171.1 edge=2 ack=durable ; 1 set object=171.1 edge=3 ack=durable
            1: set status=503 error=log-behind limit=limits.log_wait_bytes_max
        1 get object=171.1
            1: get status=0 kind=sword version=2 owner=ann room=r edge=2
        1 set object=171.1 edge=3
            1: set status=0 version=3
        log 5
            1: set status=0 version=2
            1: changed room=r object=171.1 version=2 edge=2 seq=2
        1 set object=171.1 edge=4 ack=durable
        log 1
            1: set status=0 version=4
            1: changed room=r object=171.1 version=4 edge=4 seq=3
        ",
    );
}

#[test]
fn a_reply_that_waits_finds_its_session_on_another_connection_and_is_not_run_again() {
    let mut world = with_log(Limits::PRODUCTION);
    world.run(
        "1 open ; 1 login user=ann ; 1 create kind=sword partition=171 ; 2 open ; 2 login user=bob",
    );
    world.run("log 3");
    world.run("1 set object=171.1 edge=2 ack=durable id=a ; 1 close");
    let resumed = world.run("3 open ; 3 resume session=0000000000000000 token=@1 received=1 id=r");
    assert!(resumed.starts_with("3: resume id=r status=0"), "{resumed}");
    assert_eq!(world.run("3 set object=171.1 edge=2 ack=durable id=a"), "");
    assert_eq!(world.run("log 1"), "3: set id=a status=0 version=2\n");
    // Whoever is gone hears nothing, and what was changed is.
    world.run("2 create kind=sword partition=172 ack=durable ; 2 quit");
    assert_eq!(world.run("log 1"), "");
    assert_eq!(world.shard.counters().log_waiting, 0);
    assert_eq!(world.run("3 get object=172.1"), "3: get status=0 kind=sword version=1 owner=bob\n");
}

#[test]
fn a_client_that_has_said_all_hears_the_durable_reply_before_the_end() {
    let mut world = with_log(NO_GRACE);
    world.run("1 open ; 1 login user=ann ; log 0");
    assert_eq!(world.run("1 create kind=sword partition=171 ack=durable ; 1 end"), "");
    assert_eq!(world.run("log 1"), "");
    let told = "1: create status=0 object=171.1 version=1\n1: CLOSE peer-closed\n";
    assert_eq!(world.run("log 1"), told);
}

#[test]
fn when_the_log_fails_nothing_is_promised_until_it_works() {
    check_logged(
        Limits::PRODUCTION,
        "
        1 open echo ; 1 login user=ann ; 1 join room=r ; 1 create kind=sword partition=171 room=r
            1: login user=ann status=0 session=0000000000000000 object=12626.1
            1: join status=0 room=r members=1
            1: create kind=sword partition=171 room=r status=0 object=171.1 version=1
            1: changed room=r object=171.1 version=1 kind=sword owner=ann seq=1
        1 set object=171.1 edge=2 ack=durable ; 1 set object=171.1 edge=3 ack=durable
        log 4 ; log fails
            1: set object=171.1 edge=2 ack=durable status=0 version=2
            1: set object=171.1 edge=3 ack=durable version=3 status=500 error=not-durable
            1: changed room=r object=171.1 version=2 edge=2 seq=2
            1: changed room=r object=171.1 version=3 edge=3 seq=3
        1 set object=171.1 edge=4 ack=durable
            1: set object=171.1 edge=4 ack=durable status=501 error=level-unavailable
        1 set object=171.1 edge=5
            1: set object=171.1 edge=5 status=0 version=4
            1: changed room=r object=171.1 version=4 edge=5 seq=4
        log works ; 1 set object=171.1 edge=6 ack=durable
        log 3
            1: set object=171.1 edge=6 ack=durable status=0 version=5
            1: changed room=r object=171.1 version=5 edge=6 seq=5
        ",
    );
}

#[test]
fn a_failed_log_is_counted() {
    let mut world = with_log(Limits::PRODUCTION);
    world.run("1 open ; 1 login user=ann ; 1 create kind=sword partition=171 ack=durable");
    assert_eq!(world.shard.counters().log_waiting, 1);
    assert!(!world.shard.has_work());
    world.shard.log_failed();
    assert!(world.shard.has_work());
    world.run("+0");
    let counters = world.shard.counters();
    assert_eq!((counters.log_failed, counters.log_waiting), (1, 0));
    assert_eq!(counters.refusals[Reason::NotDurable as usize], 1);
    world.shard.log_works();
    assert_eq!(world.shard.counters().log_failed, 0);
}

#[test]
fn a_method_may_be_durable_unless_a_request_says_otherwise() {
    let mut ack_defaults = AckDefaults::default();
    ack_defaults.set("create", crate::acknowledgement::AckLevel::Durable).unwrap();
    let mut world = World::with_settings(ShardSettings {
        has_log: true,
        ack_defaults,
        ..settings(Limits::PRODUCTION)
    });
    check_in(
        &mut world,
        "
        1 open ; 1 login user=ann
            1: login status=0 session=0000000000000000 object=12626.1
        1 create kind=sword partition=171 id=a ; 1 create kind=sword partition=172 ack=applied id=b
            1: create id=b status=0 object=172.1 version=1
        1 set object=172.1 edge=2
            1: set status=0 version=2
        log 2
            1: create id=a status=0 object=171.1 version=1
        ",
    );
}
