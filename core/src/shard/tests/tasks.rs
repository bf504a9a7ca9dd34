//! Tasks by scripts: who asks, and what is answered. Below it what is told of leases, of their order, of
//! effects, and random sequences of all.

use alloc::string::ToString;

use super::*;
use crate::control::{Answer, Command, Leases, Page, WorkerRow};
use crate::tasks::methods::TaskMethod;

mod effects;
mod inline_events;
mod inline_tasks;
mod leases;
mod made_events;
mod model;
mod operator;
mod order;
mod schedule;

const WORKER_METHODS: [&str; 7] = ["work", "begin", "effect", "extend", "done", "fail", "release"];

/// The record of a wolf of ann's, with `hp=9`.
const WOLF_HEX: &str = "04776f6c66056f776e65720103000000616e6e026870010100000039";

/// Whoever logs in may work. `hit` is a method of its own.
pub(super) fn task_settings(limits: Limits) -> ShardSettings {
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
fn whoever_asks_hears_what_has_done_the_task() {
    check_default(
        "
        3 work methods=hit plugin=combat
            3: work status=400 error=field-invalid
        3 work methods=hit plugin=combat@1.2
            3: work status=0
        3 work methods=bite plugin=teeth@7
            3: work status=0
        1 hit plugin=7 n=1
            1: hit status=400 error=field-invalid
        1 hit plugin=true n=1
            3: task task=12626.2 method=hit user=ann attempt=1 limit_ms=30000 n=1
        3 done task=12626.2 token=@3 plugin=liar@1
            3: done status=400 error=reserved-field
        3 done task=12626.2 token=@3 hp=2
            1: hit status=0 hp=2 plugin=combat@1.2
            3: done status=0
        1 bite plugin=true
            3: task task=12626.3 method=bite user=ann attempt=1 limit_ms=30000
        3 done task=12626.3 token=@3
            1: bite status=0 plugin=teeth@7
            3: done status=0
        1 hit n=2
            3: task task=12626.4 method=hit user=ann attempt=1 limit_ms=30000 n=2
        3 done task=12626.4 token=@3
            1: hit status=0
            3: done status=0
        ",
    );
}

#[test]
fn who_works_is_told_with_what_they_have() {
    let mut world = check_default(
        "
        3 work methods=hit credits=3 plugin=combat@1.2
            3: work status=0
        1 hit n=1
            3: task task=12626.2 method=hit user=ann attempt=1 limit_ms=30000 n=1
        +70
        ",
    );
    let rows =
        |world: &mut World, from| match world.command(Command::ListWorkers { from, count: 1 }).0 {
            Answer::Workers(Page { rows, next }) => (rows, next),
            other => panic!("{other:?}"),
        };
    let (first, next) = rows(&mut world, 0);
    let [WorkerRow { user, plugins, methods, behaviours, credits, session }] = &first[..] else {
        panic!()
    };
    assert!(behaviours.is_empty());
    assert_eq!((&**user, *credits), ("dwarf", 3));
    assert_eq!((&*plugins[0], &*methods[0], plugins.len()), ("combat@1.2", "hit", 1));
    // The elf works too, but takes nothing.
    let (second, _) = rows(&mut world, next.unwrap());
    assert_eq!((&*second[0].user, second[0].credits), ("elf", 0));
    let sessions = [*session, second[0].session].into();
    let Answer::Leases(leases) = world.command(Command::CountLeases { sessions }).0 else {
        panic!()
    };
    assert_eq!(leases[0].count, 1);
    assert!(leases[0].oldest_ms >= 70, "{leases:?}");
    assert_eq!(leases[1], Leases::default());
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
        3 work methods=hit
            3: work status=0
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
