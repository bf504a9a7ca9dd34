//! Leases by scripts: tokens, attempts, time, and workers that are gone.

use super::*;
use crate::ids::SessionId;

#[test]
fn whoever_shows_an_old_token_changes_nothing() {
    check_default(
        "
        1 hit n=1 id=a
        3 work methods=hit
            3: work status=0
            3: task task=12626.2 method=hit user=ann attempt=1 limit_ms=30000 n=1
        3 release task=12626.2 token=@3
            3: release status=0
            3: task task=12626.2 method=hit user=ann attempt=1 limit_ms=30000 n=1
        3 begin task=12626.2 token=@3.1
            3: begin status=409 error=lease-lost
        3 done task=12626.2 token=@3.1 x=1
            3: done status=409 error=lease-lost
        3 fail task=12626.2 token=@3.1
            3: fail status=409 error=lease-lost
        3 extend task=12626.2 token=@3.1
            3: extend status=409 error=lease-lost
        3 effect task=12626.2 token=@3.1 do=delete object=12626.1
            3: effect status=409 error=lease-lost
        3 release task=12626.2
            3: release status=400 error=field-missing
        3 done task=12626.2 token=@3.2 x=2
            1: hit id=a status=0 x=2
            3: done status=0
        3 release task=12626.2 token=@3.2
            3: release status=409 error=lease-lost
        3 done task=12626.1 token=1
            3: done status=409 error=lease-lost
        ",
    );
}

#[test]
fn an_attempt_that_was_begun_counts_and_the_last_one_is_the_end() {
    check_tasks(
        Limits::PRODUCTION,
        TaskMethod { attempts_max: 2, ..TaskMethod::DEFAULT },
        "
        1 hit n=1 id=a
        3 work methods=hit
            3: work status=0
            3: task task=12626.2 method=hit user=ann attempt=1 limit_ms=30000 n=1
        3 fail task=12626.2 token=@3 error_text=ouch
            3: fail status=0
        +999
        +1
            3: task task=12626.2 method=hit user=ann attempt=2 limit_ms=30000 n=1
        3 begin task=12626.2 token=@3
            3: begin status=0
        3 begin task=12626.2 token=@3
            3: begin status=0
        3 fail task=12626.2 token=@3 error_text=again
            1: hit id=a status=500 error=task-failed
            3: fail status=0
        +100000
        1 get object=12626.2 id=b
            1: get id=b status=0 kind=task version=6 owner=ann method=hit state=dead priority=4 limit_ms=30000 attempts_max=2 request=03686974016e010100000031026964010100000061 until_ms=1700000030000 attempt=2 error_text=again
        1 hit n=2
            3: task task=12626.3 method=hit user=ann attempt=1 limit_ms=30000 n=2
        3 fail task=12626.3 token=@3 retry=false
            1: hit status=500 error=task-failed
            3: fail status=0
        ",
    );
}

#[test]
fn what_a_lost_worker_had_goes_to_another_at_once() {
    // Also of one that may resume its session.
    for limits in [NO_GRACE, Limits::PRODUCTION] {
        let method = TaskMethod { attempts_max: 1, ..TaskMethod::DEFAULT };
        check_tasks(
            limits,
            method,
            "
        1 hit n=1 id=a ; 1 hit n=2 id=b
        3 work methods=hit credits=2
            3: work status=0
            3: task task=12626.2 method=hit user=ann attempt=1 limit_ms=30000 n=1
            3: task task=12626.3 method=hit user=ann attempt=1 limit_ms=30000 n=2
        3 begin task=12626.2 token=@3.1
            3: begin status=0
        4 work methods=hit credits=2
            4: work status=0
        3 close
            1: hit id=a status=500 error=task-failed
            4: task task=12626.3 method=hit user=ann attempt=1 limit_ms=30000 n=2
        4 done task=12626.3 token=@4
            1: hit id=b status=0
            4: done status=0
        ",
        );
    }
}

#[test]
fn a_lease_ends_with_its_time_unless_it_is_extended() {
    check_tasks(
        Limits::PRODUCTION,
        TaskMethod { limit_ms: 100, ..TaskMethod::DEFAULT },
        "
        1 hit n=1 id=a
        3 work methods=hit
            3: work status=0
            3: task task=12626.2 method=hit user=ann attempt=1 limit_ms=100 n=1
        +60
        3 extend task=12626.2 token=@3
            3: extend status=0
        +60
        +39
        3 effect task=12626.2 token=@3
            3: effect status=400 error=field-missing
        +1
        3 done task=12626.2 token=@3.1
            3: done status=409 error=lease-lost
            3: task task=12626.2 method=hit user=ann attempt=1 limit_ms=100 n=1
        3 done task=12626.2 token=@3.2
            1: hit id=a status=0
            3: done status=0
        ",
    );
}

/// Who had them has no connection to this start: the token is worth nothing, and another may.
#[test]
fn a_start_ends_all_leases() {
    let limits = Limits::PRODUCTION;
    let mut world = World::with_settings(task_settings(limits.clone()));
    for (connection, user) in [(1, "ann"), (3, "dwarf")] {
        world.run(&format!("{connection} open ; {connection} login user={user}"));
    }
    world.run("3 work methods=hit");
    let told = world.run("1 hit n=1 key=k");
    assert!(told.contains("3: task task=12626.2 "), "{told}");
    while world.store_next_batch() {}
    let mut shard = Shard::new(task_settings(limits));
    world.store.load(&mut shard, world.now).unwrap();
    shard.restored(FIRST_ADDRESS).unwrap();
    world.shard = shard;
    world.outputs = ShardOutputs::new(1);
    check_in(
        &mut world,
        "
        3 open ; 3 login user=dwarf
            3: login status=0 session=0000000000000000 object=7622.1
        3 done task=12626.2 token=@3.1
            3: done status=409 error=lease-lost
        3 work methods=hit
            3: work status=0
            3: task task=12626.2 method=hit user=ann attempt=1 limit_ms=30000 n=1 key=k
        3 done task=12626.2 token=@3
            3: done status=0
        ",
    );
}

#[test]
fn what_a_worker_says_before_its_end_counts() {
    check_default(
        "
        1 hit id=a
        3 work methods=hit
            3: work status=0
            3: task task=12626.2 method=hit user=ann attempt=1 limit_ms=30000
        3 done task=12626.2 token=@3 ; 3 close
            1: hit id=a status=0
        ",
    );
}

#[test]
fn what_is_given_back_or_meets_a_conflict_was_no_attempt() {
    check_tasks(
        Limits::PRODUCTION,
        TaskMethod { attempts_max: 1, ..TaskMethod::DEFAULT },
        "
        1 hit id=a
        3 work methods=hit
            3: work status=0
            3: task task=12626.2 method=hit user=ann attempt=1 limit_ms=30000
        3 begin task=12626.2 token=@3 ; 3 release task=12626.2 token=@3
            3: begin status=0
            3: release status=0
            3: task task=12626.2 method=hit user=ann attempt=1 limit_ms=30000
        3 begin task=12626.2 token=@3 ; 3 effect task=12626.2 token=@3 do=set object=12626.1 version=9 x=1
            3: begin status=0
            3: effect status=0
        3 done task=12626.2 token=@3 effects=1
            3: done status=409 error=version-conflict
        +20
            3: task task=12626.2 method=hit user=ann attempt=1 limit_ms=30000
        ",
    );
}

/// The time in which a worker has to take it is over when one has.
#[test]
fn a_task_that_was_taken_in_time_is_tried_to_the_end() {
    check_tasks(
        Limits::PRODUCTION,
        TaskMethod { attempts_max: 3, deadline_ms: 1500, ..TaskMethod::DEFAULT },
        "
        1 hit id=a key=k
        3 work methods=hit
            3: work status=0
            3: task task=12626.2 method=hit user=ann attempt=1 limit_ms=30000 key=k
        3 fail task=12626.2 token=@3
            3: fail status=0
        +1000
            3: task task=12626.2 method=hit user=ann attempt=2 limit_ms=30000 key=k
        3 fail task=12626.2 token=@3
            3: fail status=0
        +2000
            3: task task=12626.2 method=hit user=ann attempt=3 limit_ms=30000 key=k
        3 fail task=12626.2 token=@3
            1: hit id=a status=500 error=task-failed
            3: fail status=0
        1 hit id=b key=k
            3: task task=12626.3 method=hit user=ann attempt=1 limit_ms=30000 key=k
        ",
    );
}

/// A worker of another shard, to which the way is full, keeps no other one from its tasks.
#[test]
fn a_full_way_to_one_worker_holds_up_no_other() {
    let limits = Limits { mesh_staging_bytes_max: 1024, ..Limits::PRODUCTION };
    let routing = RoutingTable::even(2, Epoch(1));
    let mut world =
        World::with_settings(ShardSettings { routing, ..task_settings(limits.clone()) });
    world.outputs = ShardOutputs::new(2);
    world.run("1 open ; 1 login user=bob");
    let far = SessionId { shard: ShardId(1), generation: 0, index: 7 };
    let fields = [("methods", Value::Text("hit")), ("credits", Value::Integer(8))];
    world.shard.set_worker(far, &crate::message::packed("work", &fields));
    world.run("1 work methods=hit credits=2");
    world.outputs.mesh[1].clear();
    world.outputs.mesh[1].bytes.resize(1024, 0);
    let heard = world.run("1 hit n=1 ; 1 hit n=2 ; 1 hit n=3 ; 1 hit n=4");
    let told: Vec<_> = heard.lines().filter(|line| line.starts_with("1: task ")).collect();
    assert_eq!(told.len(), 2, "{heard}");
    assert!(world.outputs.mesh[1].list.is_empty());
    // Who is done with one gets the next at once, however full another's way.
    let task = told[0].split(' ').find_map(|word| word.strip_prefix("task=")).unwrap();
    let heard = world.run(&format!("1 done task={task} token=@1.1"));
    assert_eq!(heard.matches("1: task ").count(), 1, "{heard}");
    // The fourth is tried again until the way is free.
    let retry_ns = world.now.monotonic_ns + 1_000_000;
    assert_eq!(world.shard.next_deadline_ns(), Some(retry_ns));
    world.run("+1");
    assert!(world.outputs.mesh[1].list.is_empty());
    world.outputs.mesh[1].clear();
    world.run("+1");
    assert!(matches!(
        world.outputs.mesh[1].list[..],
        [MeshMessage::Direct { session, .. }] if session == far
    ));
    assert_eq!(world.shard.counters().tasks_leased, 4);
}

/// A worker that is stuck would take one task after the other with it.
#[test]
fn who_lets_a_lease_end_gets_no_task_before_it_says_something() {
    let mut world = check_tasks(
        Limits::PRODUCTION,
        TaskMethod { limit_ms: 100, ..TaskMethod::DEFAULT },
        "
        3 work methods=hit credits=2
            3: work status=0
        1 hit n=1 id=a
            3: task task=12626.2 method=hit user=ann attempt=1 limit_ms=100 n=1
        4 work methods=hit credits=2
            4: work status=0
        +100
            4: task task=12626.2 method=hit user=ann attempt=1 limit_ms=100 n=1
        4 done task=12626.2 token=@4
            1: hit id=a status=0
            4: done status=0
        1 hit n=2 id=b ; 1 hit n=3 id=c ; 1 hit n=4 id=d
            4: task task=12626.3 method=hit user=ann attempt=1 limit_ms=100 n=2
            4: task task=12626.4 method=hit user=ann attempt=1 limit_ms=100 n=3
        +50
        3 work
            3: work status=400 error=field-missing
        3 begin task=12626.2 token=@3
            3: begin status=409 error=lease-lost
            3: task task=12626.5 method=hit user=ann attempt=1 limit_ms=100 n=4
        ",
    );
    world.run("+100");
    world.run("+30");
    let Answer::Workers(page) = world.command(Command::ListWorkers { from: 0, count: 9 }).0 else {
        panic!()
    };
    let dwarf = page.rows.iter().find(|row| &*row.user == "dwarf").unwrap();
    let sessions = [dwarf.session].into();
    let Answer::Leases(leases) = world.command(Command::CountLeases { sessions }).0 else {
        panic!()
    };
    assert_eq!((leases[0].count, leases[0].silent_ms), (0, Some(30)));
}

/// Whose worker never begins is answered in the end. (The clock on the wall stands in scripts, so the time
/// begins anew when the task comes back.)
#[test]
fn a_task_that_nobody_begins_in_time_is_given_up() {
    check_tasks(
        Limits::PRODUCTION,
        TaskMethod { limit_ms: 100, deadline_ms: 150, ..TaskMethod::DEFAULT },
        "
        1 hit id=a
        3 work methods=hit
            3: work status=0
            3: task task=12626.2 method=hit user=ann attempt=1 limit_ms=100
        +100
        +149
        +1
            1: hit id=a status=504 error=task-expired
        ",
    );
}

/// One line of a script is one turn.
#[test]
fn the_turn_that_sees_a_worker_s_end_gives_all_its_tasks_to_the_next() {
    let mut world = World::with_settings(task_settings(Limits::PRODUCTION));
    for (connection, user) in [(1, "ann"), (3, "dwarf"), (4, "gnome")] {
        world.run(&format!("{connection} open ; {connection} login user={user}"));
    }
    world.run("3 work methods=hit credits=60");
    for _ in 0..60 {
        let told = world.run("1 hit");
        assert!(told.contains("3: task task=12626."), "{told}");
    }
    world.run("4 work methods=hit credits=60");
    let told = world.run("3 close");
    assert_eq!(told.matches("4: task task=12626.").count(), 60, "{told}");
    assert!(!world.shard.has_work(), "no turn more was needed");
}
