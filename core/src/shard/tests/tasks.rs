//! Tasks by scripts: who asks, who does them, and what becomes of them.

use alloc::string::ToString;

use super::*;
use crate::tasks::methods::TaskMethod;

mod model;

const WORKER_METHODS: [&str; 7] = ["work", "begin", "effect", "extend", "done", "fail", "release"];

/// The record of a wolf of ann's, with `hp=9`.
const WOLF_HEX: &str = "04776f6c66056f776e65720103000000616e6e026870010100000039";

/// Whoever logs in may work. `hit` is a method of its own.
fn task_settings(limits: Limits) -> ShardSettings {
    let mut policy = Policy::default();
    for name in WORKER_METHODS {
        policy.set_rule(name, ["user"]).unwrap();
    }
    let mut task_methods = TaskMethods::default();
    task_methods.add("hit").unwrap();
    ShardSettings { policy, task_methods, ..settings(limits) }
}

/// What a worker says of a method.
fn told(method: TaskMethod) -> String {
    let TaskMethod { priority, limit_ms, deadline_ms, attempts_max, is_ordered } = method;
    format!(
        "priority={priority} limit_ms={limit_ms} deadline_ms={deadline_ms} \
         attempts_max={attempts_max} ordered={is_ordered}"
    )
}

/// Runs the script with ann and bob who ask and a dwarf who works, and brings its state back in both ways.
#[track_caller]
fn check_tasks(limits: Limits, method: TaskMethod, script: &str) -> World {
    let mut world = World::with_settings(task_settings(limits.clone()));
    let (wolf, hurt) = (WOLF_HEX, WOLF_HEX.replace("39", "35"));
    let script = script.replace("WOLF", wolf).replace("HURT", &hurt);
    for (connection, user) in [(1, "ann"), (2, "bob"), (3, "dwarf"), (4, "gnome"), (5, "elf")] {
        world.run(&format!("{connection} open ; {connection} login user={user}"));
    }
    world.run(&format!("5 work methods=hit credits=0 {}", told(method)));
    world.run("1 create kind=wolf partition=171 hp=9 ; 1 create kind=wolf partition=171 hp=9");
    check_in(&mut world, &script);
    replays_to_the_same_state(&world, limits.clone());
    while world.store_next_batch() {}
    let restored = world.store.restored(limits, world.now);
    assert_eq!(restored.objects_digest(), world.shard.objects_digest(), "restored from the store");
    world
}

#[track_caller]
fn check_default(script: &str) -> World {
    check_tasks(Limits::PRODUCTION, TaskMethod::DEFAULT, script)
}

#[test]
fn a_request_waits_for_a_worker_and_is_answered_when_it_is_done() {
    check_default(
        "
        1 bite target=171.1
            1: bite status=404 error=unknown-method
        1 hit target=171.1 with=axe id=7
        3 work methods=hit credits=4
            3: work status=0
            3: task task=171.3 method=hit user=ann attempt=1 limit_ms=30000 target=171.1 with=axe target_version=1 target_record=WOLF
        3 begin task=171.3 token=@3
            3: begin status=0
        3 effect task=171.3 token=@3 do=set object=171.1 version=1 hp=2
            3: effect status=0
        1 get object=171.1
            1: get status=0 kind=wolf version=1 owner=ann hp=9
        3 done task=171.3 token=@3 effects=1 hp=2 id=x
            1: hit id=7 status=0 hp=2
            3: done id=x status=0
        1 get object=171.1
            1: get status=0 kind=wolf version=2 owner=ann hp=2
        3 done task=171.3 token=@3
            3: done status=409 error=lease-lost
        ",
    );
}

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
        +1
            3: task task=12626.2 method=hit user=ann attempt=1 limit_ms=100 n=1
        3 done task=12626.2 token=@3.1
            3: done status=409 error=lease-lost
        3 done task=12626.2 token=@3.2
            1: hit id=a status=0
            3: done status=0
        ",
    );
}

#[test]
fn what_nobody_takes_in_time_is_given_up() {
    check_tasks(
        Limits { tasks_per_partition_max: 2, ..Limits::PRODUCTION },
        TaskMethod { deadline_ms: 50, ..TaskMethod::DEFAULT },
        "
        1 hit n=1 id=a ; 1 hit n=2 id=b
        1 hit n=3 id=c
            1: hit id=c status=503 error=queue-full limit=limits.tasks_per_partition_max
        +50
            1: hit id=a status=504 error=task-expired
            1: hit id=b status=504 error=task-expired
        1 hit n=3 id=d
        3 work methods=hit
            3: work status=0
            3: task task=12626.4 method=hit user=ann attempt=1 limit_ms=30000 n=3
        +60
        3 done task=12626.4 token=@3
            1: hit id=d status=0
            3: done status=0
        ",
    );
}

#[test]
fn a_task_with_a_key_is_done_once() {
    check_default(
        "
        1 hit key=k n=1 id=a
        1 hit key=k n=1 id=b
            1: hit id=b status=409 error=task-pending
        1 hit key=k target=171.1 id=c
        3 work methods=hit credits=4
            3: work status=0
            3: task task=12626.2 method=hit user=ann attempt=1 limit_ms=30000 key=k n=1
            3: task task=171.3 method=hit user=ann attempt=1 limit_ms=30000 key=k target=171.1 target_version=1 target_record=WOLF
        3 done task=12626.2 token=@3.1 gold=7
            1: hit id=a status=0 gold=7
            3: done status=0
        1 hit key=k n=1 id=d
            1: hit id=d status=0 gold=7
        +599999
            3: task task=171.3 method=hit user=ann attempt=1 limit_ms=30000 key=k target=171.1 target_version=1 target_record=WOLF
        1 hit key=k n=1 id=e
            1: hit id=e status=0 gold=7
        +1
        1 hit key=k n=1 id=f
            3: task task=12626.3 method=hit user=ann attempt=1 limit_ms=30000 key=k n=1
        ",
    );
}

#[test]
fn effects_are_carried_out_whole_or_not_at_all() {
    check_default(
        "
        2 join room=arena
            2: join status=0 room=arena members=1
        1 hit target=171.1 id=a
        3 work methods=hit
            3: work status=0
            3: task task=171.3 method=hit user=ann attempt=1 limit_ms=30000 target=171.1 target_version=1 target_record=WOLF
        3 effect task=171.3 token=@3 do=set object=171.1 version=1 hp=1
            3: effect status=0
        3 effect task=171.3 token=@3 do=set object=171.1 hp=0
            3: effect status=400 error=field-invalid
        3 effect task=171.3 token=@3 do=set object=12626.1 hp=0
            3: effect status=400 error=other-partition
        3 effect task=171.3 token=@3 do=get object=171.1
            3: effect status=400 error=field-invalid
        3 effect task=171.3 token=@3 do=create kind=fang ; 3 effect task=171.3 token=@3 do=create kind=fur
            3: effect status=0
            3: effect status=0
        3 effect task=171.3 token=@3 do=delete object=171.2
            3: effect status=0
        3 effect task=171.3 token=@3 do=emit to=arena event=howl loud=very
            3: effect status=0
        1 set object=171.1 hp=5
            1: set status=0 version=2
        3 done task=171.3 token=@3
            3: done status=409 error=effects-missing
        3 done task=171.3 token=@3 effects=5
            3: done status=409 error=version-conflict
        +20
            3: task task=171.3 method=hit user=ann attempt=1 limit_ms=30000 target=171.1 target_version=2 target_record=HURT
        1 get object=171.2
            1: get status=0 kind=wolf version=1 owner=ann hp=9
        3 effect task=171.3 token=@3 do=set object=171.1 version=2 hp=1 ; 3 effect task=171.3 token=@3 do=create kind=fang ; 3 effect task=171.3 token=@3 do=create kind=fur ; 3 effect task=171.3 token=@3 do=delete object=171.2 ; 3 effect task=171.3 token=@3 do=emit to=arena event=howl loud=very
            3: effect status=0
            3: effect status=0
            3: effect status=0
            3: effect status=0
            3: effect status=0
        3 done task=171.3 token=@3 effects=5
            1: hit id=a status=0
            3: done status=0
            2: emit room=arena from=dwarf event=howl loud=very seq=1
        1 get object=171.1 ; 1 get object=171.2 ; 1 find kind=fang partition=171 ; 1 find kind=fur partition=171
            1: get status=0 kind=wolf version=3 owner=ann hp=1
            1: get status=404 error=unknown-object
            1: find status=0 objects=171.4
            1: find status=0 objects=171.5
        ",
    );
}

#[test]
fn two_tasks_with_one_target_are_never_out_together() {
    check_default(
        "
        1 hit target=171.1 id=a ; 2 hit target=171.1 id=b ; 2 hit target=171.2 id=c
        3 work methods=hit credits=4
            3: work status=0
            3: task task=171.3 method=hit user=ann attempt=1 limit_ms=30000 target=171.1 target_version=1 target_record=WOLF
            3: task task=171.5 method=hit user=bob attempt=1 limit_ms=30000 target=171.2 target_version=1 target_record=WOLF
        3 fail task=171.3 token=@3.1 retry=false
            1: hit id=a status=500 error=task-failed
            3: fail status=0
            3: task task=171.4 method=hit user=bob attempt=1 limit_ms=30000 target=171.1 target_version=1 target_record=WOLF
        ",
    );
}

#[test]
fn users_take_turns_and_whoever_waits_rises() {
    check_default(
        "
        1 hit n=1 ; 1 hit n=2 ; 1 hit n=3 ; 2 hit n=4 ; 2 hit n=5
        3 work methods=hit credits=5
            3: work status=0
            3: task task=12626.2 method=hit user=ann attempt=1 limit_ms=30000 n=1
            3: task task=19122.2 method=hit user=bob attempt=1 limit_ms=30000 n=4
            3: task task=12626.3 method=hit user=ann attempt=1 limit_ms=30000 n=2
            3: task task=19122.3 method=hit user=bob attempt=1 limit_ms=30000 n=5
            3: task task=12626.4 method=hit user=ann attempt=1 limit_ms=30000 n=3
        ",
    );
}

#[test]
fn who_may_not_ask_or_says_it_wrongly_is_told_so() {
    check_default(
        "
        1 hit target=wolf
            1: hit status=400 error=field-invalid
        1 hit attempt=1
            1: hit status=400 error=reserved-field
        1 hit ack=replicated
            1: hit status=501 error=level-unavailable
        1 hit ack=durable
            1: hit status=501 error=level-unavailable
        3 work
            3: work status=400 error=field-missing
        3 work methods=set
            3: work status=400 error=field-invalid
        3 work methods=hit credits=1025
            3: work status=400 error=field-invalid
        3 begin
            3: begin status=400 error=field-missing
        3 done task=171.1 token=1
            3: done status=409 error=lease-lost
        1 create kind=task
            1: create status=400 error=field-invalid
        1 hit n=1
        3 work methods=hit
            3: work status=0
            3: task task=12626.2 method=hit user=ann attempt=1 limit_ms=30000 n=1
        3 done task=12626.2 token=@3 status=7
            3: done status=400 error=reserved-field
        3 release task=12626.2 token=@3 delay_ms=-1
            3: release status=400 error=field-invalid
        3 fail task=12626.2 token=@3 retry=perhaps
            3: fail status=400 error=field-invalid
        ",
    );
}

#[test]
fn a_users_tasks_of_an_ordered_method_go_one_after_the_other() {
    check_tasks(
        Limits::PRODUCTION,
        TaskMethod { is_ordered: true, ..TaskMethod::DEFAULT },
        "
        1 hit n=1 ; 1 hit n=2 ; 2 hit n=3
        3 work methods=hit credits=9
            3: work status=0
            3: task task=12626.2 method=hit user=ann attempt=1 limit_ms=30000 n=1
            3: task task=19122.2 method=hit user=bob attempt=1 limit_ms=30000 n=3
        3 fail task=12626.2 token=@3.1
            3: fail status=0
        +999
        +1
            3: task task=12626.2 method=hit user=ann attempt=2 limit_ms=30000 n=1
        +6000
        3 release task=12626.2 token=@3.3
            3: release status=0
            3: task task=12626.2 method=hit user=ann attempt=2 limit_ms=30000 n=1
        3 release task=12626.2 token=@3.4 delay_ms=50
            3: release status=0
        +50
            3: task task=12626.2 method=hit user=ann attempt=2 limit_ms=30000 n=1
        3 done task=12626.2 token=@3.5
            1: hit status=0
            3: done status=0
            3: task task=12626.3 method=hit user=ann attempt=1 limit_ms=30000 n=2
        ",
    );
}

#[test]
fn an_answer_that_is_to_be_durable_waits_for_the_log() {
    let settings = task_settings(Limits::PRODUCTION);
    let mut world = World::with_settings(ShardSettings { has_log: true, ..settings });
    for (connection, user) in [(1, "ann"), (3, "dwarf")] {
        world.run(&format!("{connection} open ; {connection} login user={user}"));
    }
    let logged = world.deltas.len();
    world.run(&format!("log {logged}"));
    check_in(
        &mut world,
        "
        1 hit ack=durable id=a
        3 work methods=hit
            3: work status=0
            3: task task=12626.2 method=hit user=ann attempt=1 limit_ms=30000
        3 done task=12626.2 token=@3 gold=7
            3: done status=0
        log 2
        log 1
            1: hit id=a status=0 gold=7
        1 hit ack=durable id=b
            3: task task=12626.3 method=hit user=ann attempt=1 limit_ms=30000
        log fails
        3 done task=12626.3 token=@3
            3: done status=501 error=level-unavailable
        log works
        3 done task=12626.3 token=@3
            3: done status=0
        log 3
            1: hit id=b status=0
        ",
    );
}

/// Seven levels of five seconds each, and then the oldest is first; also of those about one target.
#[test]
fn what_is_least_urgent_waits_no_longer_than_its_bound_in_a_flood() {
    for target in ["", " target=171.1"] {
        waits_no_longer_than_its_bound(target);
    }
}

fn waits_no_longer_than_its_bound(target: &str) {
    let mut world = World::with_settings(task_settings(Limits::PRODUCTION));
    for (connection, user) in [(1, "ann"), (2, "bob"), (3, "dwarf")] {
        world.run(&format!("{connection} open ; {connection} login user={user}"));
    }
    world.run("3 work methods=hit priority=0 deadline_ms=0 credits=0");
    world.run("3 work methods=rub priority=7 deadline_ms=0 credits=0");
    let mut told = world.run(&format!(
        "1 hit{target} ; 1 hit{target} ; 2 rub{target} ; 3 work methods=hit credits=1"
    ));
    let mut waited_s = 0;
    while !told.contains("method=rub") {
        assert!(waited_s < 100, "it never comes");
        let task = told.split("task=").nth(1).unwrap().split(' ').next().unwrap().to_string();
        waited_s += 1;
        told = world
            .run(&format!("+1000 ; 1 hit{target} ; 1 hit{target} ; 3 done task={task} token=@3"));
    }
    assert_eq!(waited_s, 7 * 5);
}

/// Whoever asks again and again does not come before those who have waited.
#[test]
fn a_user_who_comes_later_takes_turns_from_there_on() {
    check_default(
        "
        3 work methods=hit credits=1
            3: work status=0
        1 hit n=1 ; 1 hit n=2 ; 1 hit n=3
            3: task task=12626.2 method=hit user=ann attempt=1 limit_ms=30000 n=1
        2 hit n=4
        3 done task=12626.2 token=@3.1
            1: hit status=0
            3: done status=0
            3: task task=12626.3 method=hit user=ann attempt=1 limit_ms=30000 n=2
        3 done task=12626.3 token=@3.2
            1: hit status=0
            3: done status=0
            3: task task=19122.2 method=hit user=bob attempt=1 limit_ms=30000 n=4
        2 hit n=5
        3 done task=19122.2 token=@3.3
            2: hit status=0
            3: done status=0
            3: task task=12626.4 method=hit user=ann attempt=1 limit_ms=30000 n=3
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

/// As many as a message has fields, and more: what they would answer is no part of anything.
#[test]
fn a_task_may_have_many_effects() {
    let mut world = check_default("3 work methods=hit\n            3: work status=0");
    let told = world.run("1 hit id=a target=171.1");
    assert!(told.contains("task=171.3"), "{told}");
    for _ in 0..200 {
        let heard = world.run("3 effect task=171.3 token=@3 do=create kind=fang");
        assert_eq!(heard, "3: effect status=0\n");
    }
    let heard = world.run("3 done task=171.3 token=@3 effects=200");
    assert_eq!(heard, "1: hit id=a status=0\n3: done status=0\n");
    assert_eq!(
        world.run("1 get object=171.203"),
        "1: get status=0 kind=fang version=1 owner=dwarf\n"
    );
}

/// An object is the same object however a client writes it.
#[test]
fn two_effects_on_one_object_are_refused_however_it_is_written() {
    let mut world = check_default("3 work methods=hit\n            3: work status=0");
    world.run("1 hit id=a target=171.1");
    let token: i64 = world.tokens[&3].last().unwrap().parse().unwrap();
    let [task, wolf] = ["171.3", "171.1"].map(|id| id.parse::<ObjectId>().unwrap());
    let mut inputs = ShardInputs::default();
    for object in [Value::Text("171.1"), Value::Object(wolf)] {
        let start = inputs.bytes.len();
        let mut effect = MessageBuilder::new(&mut inputs.bytes, "effect");
        effect.field("task", Value::Object(task));
        effect.field("token", Value::Integer(token));
        effect.field("do", Value::Text("set"));
        effect.field("object", object);
        effect.field("hp", Value::Integer(1));
        inputs.push_message(ConnectionId { index: 3, generation: 1 }, start);
    }
    let heard = world.turn(&inputs);
    assert_eq!(heard, "3: effect status=0\n3: effect status=400 error=field-invalid\n");
}

/// Who waits for a target is not held up by one whose method nobody does.
#[test]
fn a_method_without_workers_blocks_no_target() {
    check_default(
        "
        3 work methods=rub credits=9
            3: work status=0
        1 rub target=171.1 n=1
            3: task task=171.3 method=rub user=ann attempt=1 limit_ms=30000 target=171.1 n=1 target_version=1 target_record=WOLF
        4 work methods=hit credits=1
            4: work status=0
        1 hit target=171.1 n=2 ; 1 rub target=171.1 n=3
        4 work methods=hit credits=0
            4: work status=0
        3 done task=171.3 token=@3
            1: rub status=0
            3: done status=0
            3: task task=171.5 method=rub user=ann attempt=1 limit_ms=30000 target=171.1 n=3 target_version=1 target_record=WOLF
        3 done task=171.5 token=@3
            1: rub status=0
            3: done status=0
        4 work methods=hit credits=1
            4: work status=0
            4: task task=171.4 method=hit user=ann attempt=1 limit_ms=30000 target=171.1 n=2 target_version=1 target_record=WOLF
        ",
    );
}

/// It would be the least urgent again.
#[test]
fn who_is_given_back_has_waited_all_the_same() {
    check_default(
        "
        5 work methods=rub priority=7 deadline_ms=0 credits=0
            5: work status=0
        5 work methods=hit priority=0 credits=0
            5: work status=0
        2 rub
        +35000
        3 work methods=rub
            3: work status=0
            3: task task=19122.2 method=rub user=bob attempt=1 limit_ms=30000
        3 work methods=hit
            3: work status=0
        1 hit
        3 release task=19122.2 token=@3
            3: release status=0
            3: task task=19122.2 method=rub user=bob attempt=1 limit_ms=30000
        ",
    );
}

#[test]
fn one_user_does_not_fill_the_queue_for_the_others() {
    let mut world = check_tasks(
        Limits { tasks_per_partition_max: 800, ..Limits::PRODUCTION },
        TaskMethod::DEFAULT,
        "3 work methods=hit credits=0\n            3: work status=0",
    );
    for _ in 0..100 {
        assert_eq!(world.run("1 hit target=171.1"), "");
    }
    assert!(world.run("1 hit target=171.1").contains("error=queue-full"));
    assert_eq!(world.run("2 hit target=171.1"), "");
    assert_eq!(world.run("1 hit target=12626.1"), "");
}

/// A worker is told of no more at a time than its way may hold, but of one task however little that is.
#[test]
fn a_worker_is_told_of_so_many_bytes_at_a_time() {
    for (resume_bytes_max, told_of) in [(0, 1), (400, 3)] {
        let limits = Limits { resume_bytes_max, ..Limits::PRODUCTION };
        let mut world = World::with_settings(task_settings(limits));
        for (connection, user) in [(1, "ann"), (3, "dwarf")] {
            world.run(&format!("{connection} open ; {connection} login user={user}"));
        }
        for _ in 0..9 {
            world.run("1 hit");
        }
        let told = world.run("3 work methods=hit credits=9");
        assert_eq!(told.matches("3: task ").count(), told_of, "{told}");
    }
}
