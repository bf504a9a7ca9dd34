//! Tasks of methods that are done inline: scheduled events, and what was left of workers.

use super::super::inline::{Does, command, integer, methods};
use super::*;
use crate::inline::InlineCall;
use crate::reason::Reason;

const WOLF: ObjectId = ObjectId(171 << 48 | 1);

fn hp(call: &InlineCall<'_>) -> i64 {
    let wolf = call.object(WOLF).and_then(|wolf| wolf.get("hp"));
    wolf.and_then(Value::as_integer).unwrap_or(0)
}

/// The wolf is one weaker.
fn bleed(call: &mut InlineCall<'_>) -> Result<(), Reason> {
    let left = hp(call) - 1;
    call.set(WOLF, None, integer("hp", left))?;
    call.reply(integer("hp", left))
}

/// A world in which ann has a wolf, and `bleed` is done inline.
fn world_with(limits: Limits, does: Does) -> World {
    let mut world = World::with_settings(task_settings(limits));
    command(&mut world, methods(&[("bleed", does)], "a@1"));
    for (connection, user) in [(1, "ann"), (3, "dwarf")] {
        world.run(&format!("{connection} open ; {connection} login user={user}"));
    }
    world.run("1 create kind=wolf partition=171 hp=9");
    world
}

fn world(does: Does) -> World {
    world_with(Limits::PRODUCTION, does)
}

/// The same with a log, and nothing that is done inline yet.
fn logged_world() -> World {
    let settings = ShardSettings { has_log: true, ..task_settings(Limits::PRODUCTION) };
    let mut world = World::with_settings(settings);
    world.run("1 open ; 1 login user=ann");
    world.run("1 create kind=wolf partition=171 hp=9");
    world
}

const AT_ONCE: &str = "1 new-event event=bleed delay_ms=0 target=171.1";

/// The only task of the partition, as its record has it.
fn task_of(world: &World) -> Option<String> {
    let partition = world.shard.partition(PartitionId(171)).expect("it is there");
    let (_, task) = partition.tasks().next()?;
    let fields = ["state", "attempt", "error_text", "until_ms"].map(|name| match task.get(name) {
        Some(value) => format!("{value}"),
        None => "-".into(),
    });
    Some(fields.join(" "))
}

#[test]
fn an_event_of_an_inline_method_happens_at_its_time_with_all_that_the_call_says() {
    let mut world = world(bleed);
    check_in(
        &mut world,
        "
        1 new-event event=bleed delay_ms=50 target=171.1
            1: new-event status=0 task=171.2 at_ms=1700000000050
        1 pending partition=171
            1: pending status=0 tasks=171.2 events=bleed times_ms=1700000000050
        +49
        +0
        1 get object=171.1
            1: get status=0 kind=wolf version=1 owner=ann hp=9
        +1
        +0
        1 get object=171.1
            1: get status=0 kind=wolf version=2 owner=ann hp=8
        1 pending partition=171
            1: pending status=0 tasks= events= times_ms=
        ",
    );
    assert_eq!(task_of(&world), None);
    let last = &world.deltas.last().expect("it was done").deltas;
    assert_eq!(last.len(), 2, "what is done and the end of the task are one batch: {last:?}");
    replays_to_the_same_state(&world, Limits::PRODUCTION);
}

#[test]
fn one_event_makes_the_next() {
    let mut world = world(|call| {
        bleed(call)?;
        call.new_event("bleed", 50, |event| event.field(b"target", Value::Object(WOLF)))
    });
    world.run(AT_ONCE);
    for left in (6..=8).rev() {
        world.run("+0");
        let wolf = world.run("1 get object=171.1");
        assert!(wolf.ends_with(&format!(" hp={left}\n")), "{wolf}");
        world.run("+50");
    }
    assert_eq!(world.shard.counters().tasks_dead_total, 0);
}

/// What becomes of an event whose call comes to this.
#[track_caller]
fn comes_to(does: Does, task: &str) -> World {
    let mut world = world(does);
    world.run(AT_ONCE);
    world.run("+0");
    assert_eq!(task_of(&world).as_deref(), Some(task));
    let wolf = "1: get status=0 kind=wolf version=1 owner=ann hp=9\n";
    assert_eq!(world.run("1 get object=171.1"), wolf, "{task}");
    let found = world.run("1 find kind=drop partition=171");
    assert_eq!(found, "1: find status=0 objects=\n", "{task}");
    replays_to_the_same_state(&world, Limits::PRODUCTION);
    world
}

#[test]
fn what_the_code_refuses_is_dead_and_what_may_go_another_time_waits() {
    let fails = |reason: Reason| -> Does {
        // One function for each: a call has no state of its own.
        match reason {
            Reason::PluginFailed => |call| bleed(call).and(Err(Reason::PluginFailed)),
            Reason::QueueFull => |call| bleed(call).and(Err(Reason::QueueFull)),
            Reason::PartitionFull => |call| bleed(call).and(Err(Reason::PartitionFull)),
            Reason::PluginDisabled => |call| bleed(call).and(Err(Reason::PluginDisabled)),
            Reason::Busy => |call| bleed(call).and(Err(Reason::Busy)),
            _ => |call| {
                call.create("drop", |_| Ok(()))?;
                call.set(WOLF, Some(7), integer("hp", 1))
            },
        }
    };
    let world = comes_to(fails(Reason::PluginFailed), "dead 1 plugin-failed 1700000030000");
    assert_eq!(world.shard.counters().tasks_dead_total, 1);
    // Refused by the server: an attempt.
    comes_to(fails(Reason::QueueFull), "ready 1 queue-full 1700000001000");
    comes_to(fails(Reason::PartitionFull), "ready 1 partition-full 1700000001000");
    let unknown: Does = |call| bleed(call).and(call.new_event("bark", 5, |_| Ok(())));
    comes_to(unknown, "ready 1 unknown-method 1700000001000");
    // Not its fault: none.
    comes_to(fails(Reason::PluginDisabled), "ready 0 - 1700000001000");
    comes_to(fails(Reason::Busy), "ready 0 - 1700000001000");
    // It is tried again, and not for ever.
    let mut world =
        comes_to(fails(Reason::VersionConflict), "ready 1 version-conflict 1700000001000");
    for (wait_ms, task) in [(1000, "ready 2 version-conflict 1700000002000"), (2000, "dead 3 ")] {
        world.run(&format!("+{wait_ms}"));
        world.run("+0");
        assert!(task_of(&world).unwrap().starts_with(task), "{:?}", task_of(&world));
    }
    assert_eq!(world.shard.counters().tasks_dead_total, 1);
}

#[test]
fn the_tasks_of_a_disabled_plugin_wait_together() {
    let mut world = world(|_| Err(Reason::PluginDisabled));
    for _ in 0..4 {
        world.run(&vec!["1 new-event event=bleed delay_ms=10"; 100].join(" ; "));
    }
    world.run("+10");
    world.settle();
    // Those that are leased before the first of them hears that it is still so.
    let before = world.deltas.len();
    world.run("+1000");
    world.settle();
    assert_eq!(world.deltas.len() - before, 2 * 256, "each of a turn's leases, and no more");
    command(&mut world, methods(&[("bleed", |_| Ok(()))], "a@2"));
    world.settle();
    world.run("+1000");
    world.settle();
    let counters = world.shard.counters();
    assert_eq!((counters.tasks_waiting, counters.tasks_out), (0, 0));
}

#[test]
fn a_worker_gets_none_and_has_its_turn() {
    let mut world = world(|call| {
        bleed(call)?;
        // For ever, about the same target.
        call.new_event("bleed", 0, |event| event.field(b"target", Value::Object(WOLF)))
    });
    world.run("3 work methods=bleed credits=9 ; 3 work methods=hit credits=9");
    let mut heard = world.run(AT_ONCE);
    for _ in 0..4 {
        heard += &world.run("+0");
    }
    assert!(!heard.contains("3: task"), "{heard}");
    heard = world.run("1 hit target=171.1");
    for _ in 0..4 {
        heard += &world.run("+0");
    }
    assert!(heard.contains("3: task") && heard.contains("method=hit"), "{heard}");
    assert!(!heard.contains("method=bleed"), "{heard}");
    // Then it is the event's turn, and the worker's again.
    let task = heard.split("task=").nth(1).and_then(|rest| rest.split(' ').next()).unwrap();
    world.run("1 hit target=171.1");
    let mut heard = world.run(&format!("3 done task={task} token=@3"));
    assert!(heard.contains("3: done status=0") && !heard.contains("3: task"), "{heard}");
    for _ in 0..2 {
        heard += &world.run("+0");
    }
    assert!(heard.contains("3: task"), "{heard}");
}

#[test]
fn no_worker_waits_because_leases_wait_for_the_log() {
    let limits = Limits { log_wait_bytes_max: 1, ..Limits::PRODUCTION };
    let settings = ShardSettings { has_log: true, ..task_settings(limits) };
    let mut world = World::with_settings(settings);
    command(&mut world, methods(&[("bleed", |_| Ok(()))], "a@1"));
    for (connection, user) in [(1, "ann"), (3, "dwarf")] {
        world.run(&format!("{connection} open ; {connection} login user={user}"));
    }
    world.run("3 work methods=hit credits=9");
    let event = "1 new-event event=bleed delay_ms=0";
    let heard = world.run(&format!("{event} ; {event} ; {event} ; 1 hit ; 1 hit ; 1 hit"));
    assert_eq!(heard.matches("3: task").count(), 3, "{heard}");
    // And so the others have their turn.
    for _ in 0..6 {
        let waiting = world.deltas.len() - world.durable_count;
        world.run(&format!("+1 ; log {waiting}"));
        world.run("+1");
    }
    assert_eq!((world.shard.counters().tasks_waiting, world.shard.counters().tasks_out), (0, 3));
}

#[test]
fn a_task_that_cannot_be_durable_for_now_waits() {
    let mut world = logged_world();
    world.run("1 hit target=171.1 id=a ack=durable");
    world.run("log fails");
    command(&mut world, methods(&[("hit", bleed)], "a@1"));
    world.settle();
    assert_eq!(task_of(&world).as_deref(), Some("ready 0 - 1700000001000"));
}

/// What a server that starts again finds, when the code has ended the process.
#[test]
fn the_log_has_that_an_attempt_has_begun_before_the_code_is_called() {
    let mut world = logged_world();
    command(&mut world, methods(&[("bleed", bleed)], "a@1"));
    world.run(AT_ONCE);
    let waiting = world.deltas.len() - world.durable_count;
    world.run(&format!("log {}", waiting - 1));
    world.settle();
    assert_eq!(task_of(&world).as_deref(), Some("leased 1 - 1700000030000"));
    world.run("log 1");
    world.settle();
    assert_eq!(task_of(&world), None);
}

#[test]
fn what_is_called_off_between_its_lease_and_its_turn_is_not_done() {
    let mut world = logged_world();
    command(&mut world, methods(&[("bleed", bleed)], "a@1"));
    world.run(AT_ONCE);
    assert_eq!(world.run("1 cancel-event task=171.2"), "1: cancel-event status=0\n");
    let waiting = world.deltas.len() - world.durable_count;
    world.run(&format!("log {waiting}"));
    world.settle();
    assert!(world.run("1 get object=171.1").ends_with(" hp=9\n"));
    assert_eq!(task_of(&world), None);
}

#[test]
fn whoever_does_the_method_last_does_what_waits() {
    let mut world = world(bleed);
    world.run(AT_ONCE);
    // It is leased inline, and then nobody does it so any more.
    command(&mut world, methods(&[], "a@2"));
    assert_eq!(task_of(&world).as_deref(), Some("ready 0 - 0"));
    assert_eq!(world.run(AT_ONCE), "1: new-event status=404 error=unknown-method\n");
    let heard = world.run("3 work methods=bleed credits=1");
    assert!(heard.contains("3: task task=171.2 method=bleed user=ann attempt=1"), "{heard}");
    world.run("3 release task=171.2 token=@3");
    assert!(task_of(&world).is_some());
    // A request that became a worker's task, and is done inline in the end: its asker is answered.
    let mut world = World::with_settings(task_settings(Limits::PRODUCTION));
    world.run("1 open ; 1 login user=ann");
    world.run("1 create kind=wolf partition=171 hp=9");
    assert_eq!(world.run("1 hit target=171.1 id=a plugin=true"), "");
    let done = command(&mut world, methods(&[("hit", bleed)], "a@1")) + &world.run("+0");
    assert_eq!(done, "1: hit id=a status=0 hp=8 plugin=a@1\n");
}

#[test]
fn whoever_asked_for_a_durable_answer_waits_for_the_log() {
    let mut world = logged_world();
    world.run("1 hit target=171.1 id=a ack=durable");
    command(&mut world, methods(&[("hit", bleed)], "a@1"));
    world.run(&format!("log {}", world.deltas.len() - world.durable_count));
    world.settle();
    assert_eq!(task_of(&world), None);
    let waiting = world.deltas.len() - world.durable_count;
    assert_eq!(world.run(&format!("log {}", waiting - 1)), "");
    assert_eq!(world.run("log 1"), "1: hit id=a status=0 hp=8\n");
}

#[test]
fn an_event_waits_for_whoever_has_its_target() {
    let mut world = world(bleed);
    world.run("3 work methods=hit credits=1");
    assert!(world.run("1 hit target=171.1").contains("3: task task=171.2"));
    world.run(AT_ONCE);
    world.run("+0");
    assert!(world.run("1 get object=171.1").ends_with(" hp=9\n"));
    let done = world.run("3 done task=171.2 token=@3");
    assert!(done.contains("3: done status=0"), "{done}");
    world.run("+0");
    let wolf = world.run("1 get object=171.1");
    assert!(wolf.ends_with(" hp=8\n"), "{wolf}");
}

#[test]
fn an_event_with_a_key_is_remembered() {
    let mut world = world(bleed);
    let keyed = format!("{AT_ONCE} key=k");
    assert!(world.run(&keyed).starts_with("1: new-event status=0 task=171.2"));
    world.run("+0");
    assert_eq!(task_of(&world).as_deref(), Some("done 1 - 1700000600000"));
    assert_eq!(world.run(&keyed), "1: new-event status=409 error=task-pending\n");
    assert!(world.run("1 get object=171.1").ends_with(" hp=8\n"));
}

#[test]
fn one_whose_time_is_over_before_its_turn_comes_is_not_done() {
    let limits = Limits { turn_events_max: 1, ..Limits::PRODUCTION };
    let mut world = world_with(limits, bleed);
    for _ in 0..3 {
        world.run("+0");
    }
    world.run("1 new-event event=bleed delay_ms=9 target=171.1");
    // Partitions take turns, one event a turn: others are first.
    world.run(
        "+8 ; 1 find kind=a partition=5 ; 1 find kind=a partition=6 ; 1 find kind=a partition=7",
    );
    world.run("+1");
    assert_eq!(task_of(&world).as_deref(), Some("leased 1 - 1700000030000"));
    world.run("+30000");
    assert_eq!(task_of(&world).as_deref(), Some("ready 1 the worker was lost 1700000001000"));
    for _ in 0..3 {
        world.run("+0");
    }
    let wolf = world.run("1 get object=171.1") + &world.run("+0");
    assert!(wolf.ends_with(" hp=9\n"), "{wolf}");
    world.run("+1000");
    for _ in 0..3 {
        world.run("+0");
    }
    assert_eq!(task_of(&world), None, "it is tried again");
}

#[test]
fn a_shard_leases_itself_few_at_a_time_and_does_them_all() {
    let mut world = world(|call| call.create("drop", |_| Ok(())));
    let objects = world.shard.counters().objects;
    for _ in 0..6 {
        world.run(&vec!["1 new-event event=bleed delay_ms=10"; 50].join(" ; "));
    }
    assert_eq!(world.shard.counters().objects - objects, 300);
    world.run("+10");
    assert_eq!((world.shard.counters().tasks_out, world.shard.counters().tasks_waiting), (256, 44));
    world.settle();
    let counters = world.shard.counters();
    assert_eq!((counters.tasks_out, counters.tasks_waiting, counters.tasks_dead_total), (0, 0, 0));
    assert_eq!(counters.objects - objects, 300, "drops in place of events");
}
