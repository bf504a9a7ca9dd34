//! Scheduled events that calls make which are done inline: as those that tasks make.

use super::super::inline::{Does, command, integer, methods};
use super::*;
use crate::inline::InlineCall;
use crate::mesh::EventKind;

const HERE: ObjectId = ObjectId(171 << 48 | 1);
const ELSEWHERE: ObjectId = ObjectId(172 << 48 | 9);

fn schedule(call: &mut InlineCall<'_>, delay_ms: u64, target: ObjectId) -> Result<(), Reason> {
    call.new_event("hit", delay_ms, |event| {
        event.field(b"target", Value::Object(target))?;
        event.field(b"n", Value::Integer(delay_ms as i64))
    })
}

/// A world in which ann has a wolf, a dwarf does `hit`, and `call` does this inline.
fn world_with(settings: ShardSettings, does: Does) -> World {
    let mut world = World::with_settings(settings);
    command(&mut world, methods(&[("call", does)], "a@1"));
    for (connection, user) in [(1, "ann"), (3, "dwarf")] {
        world.run(&format!("{connection} open ; {connection} login user={user}"));
    }
    world.run("1 create kind=wolf partition=171 hp=9");
    world.run("3 work methods=hit credits=2");
    world
}

fn world(does: Does) -> World {
    world_with(task_settings(Limits::PRODUCTION), does)
}

/// How many tasks the partition has.
fn tasks_of(world: &World, partition: u16) -> usize {
    let partition = world.shard.partition(PartitionId(partition));
    partition.map_or(0, |partition| partition.tasks().count())
}

#[test]
fn a_call_makes_events_of_its_user_here_and_elsewhere() {
    let mut world = world(|call| {
        call.set(HERE, None, integer("hp", 8))?;
        schedule(call, 50, HERE)?;
        schedule(call, 70, ELSEWHERE)?;
        // Where the call is, when it is about nothing.
        call.new_event("hit", 9000, |event| event.field(b"key", Value::Text("k")))
    });
    check_in(
        &mut world,
        "
        1 call target=171.1 id=a
            1: call id=a status=0
        +0
        1 pending partition=171 ; 1 pending partition=172
            1: pending status=0 tasks=171.2|171.3 events=hit|hit times_ms=1700000000050|1700000009000
            1: pending status=0 tasks=172.1 events=hit times_ms=1700000000070
        +50
            3: task task=171.2 method=hit user=ann attempt=1 limit_ms=30000 target=171.1 n=50 target_version=2 target_record=04776f6c66056f776e65720103000000616e6e026870020800000000000000
        +20
            3: task task=172.1 method=hit user=ann attempt=1 limit_ms=30000 target=172.9 n=70
        1 cancel-event task=171.3
            1: cancel-event status=403 error=forbidden
        ",
    );
    let is_of_call = |batch: &&DeltaBatch| batch.deltas.len() == 3;
    assert_eq!(
        world.deltas.iter().filter(is_of_call).count(),
        1,
        "set and two events are one batch"
    );
    replays_to_the_same_state(&world, Limits::PRODUCTION);
    // One of a known key is made already; what else the call says happens.
    check_in(
        &mut world,
        "
        1 call target=171.1
            1: call status=0
        1 pending partition=171
            1: pending status=0 tasks=171.3|171.4 events=hit|hit times_ms=1700000009000|1700000000050
        1 get object=171.1
            1: get status=0 kind=wolf version=3 owner=ann hp=8
        ",
    );
    assert_eq!(world.shard.counters().events_refused, 0);
}

/// What the call is answered when its event cannot be, and that nothing of it has happened.
#[track_caller]
fn refused(limits: Limits, does: Does, expected: &str) {
    let mut world = world_with(task_settings(limits), does);
    let heard = world.run("1 call target=171.1");
    assert_eq!(heard, format!("1: call status={expected}\n"));
    let wolf = "1: get status=0 kind=wolf version=1 owner=ann hp=9\n";
    assert_eq!(world.run("1 get object=171.1"), wolf, "{expected}");
    assert_eq!((tasks_of(&world, 171), tasks_of(&world, 172)), (0, 0), "{expected}");
}

#[test]
fn a_call_whose_event_cannot_be_comes_to_nothing() {
    const YEAR_MS: u64 = 366 * 24 * 3_600_000;
    let refused_usually = |does, expected| refused(Limits::PRODUCTION, does, expected);
    let unknown: Does = |call| {
        call.set(HERE, None, integer("hp", 8))?;
        call.new_event("bark", 5, |_| Ok(()))
    };
    refused_usually(unknown, "404 error=unknown-method");
    let unknown_elsewhere: Does = |call| {
        call.set(HERE, None, integer("hp", 8))?;
        call.new_event("bark", 5, |event| event.field(b"target", Value::Object(ELSEWHERE)))
    };
    refused_usually(unknown_elsewhere, "404 error=unknown-method");
    let built_in: Does = |call| call.new_event("say", 5, |_| Ok(()));
    refused_usually(built_in, "400 error=field-invalid");
    let no_name: Does = |call| call.new_event("two words", 5, |_| Ok(()));
    refused_usually(no_name, "400 error=bad-name");
    refused_usually(|call| schedule(call, YEAR_MS + 1, HERE), "400 error=field-invalid");
    refused_usually(|call| schedule(call, YEAR_MS + 1, ELSEWHERE), "400 error=field-invalid");
    refused_usually(|call| schedule(call, u64::MAX, HERE), "400 error=field-invalid");
    let twice: Does = |call| {
        let key =
            |event: &mut crate::inline::EffectFields<'_>| event.field(b"key", Value::Text("k"));
        call.new_event("hit", 5, key)?;
        call.new_event("hit", 6, key)
    };
    refused_usually(twice, "400 error=field-invalid");
    for does in [
        |call: &mut InlineCall<'_>| call.new_event("hit", 5, integer("id", 1)),
        |call: &mut InlineCall<'_>| call.new_event("hit", 5, integer("ack", 1)),
        |call: &mut InlineCall<'_>| call.new_event("hit", 5, integer("time", 1)),
        |call: &mut InlineCall<'_>| call.new_event("hit", 5, integer("at_ms", 1)),
        |call: &mut InlineCall<'_>| call.new_event("hit", 5, integer("token", 1)),
    ] {
        refused_usually(does, "400 error=reserved-field");
    }
    for does in [
        |call: &mut InlineCall<'_>| call.new_event("hit", 5, integer("event", 1)),
        |call: &mut InlineCall<'_>| call.new_event("hit", 5, integer("delay_ms", 1)),
    ] {
        refused_usually(does, "400 error=duplicate-field");
    }
}

#[test]
fn a_call_makes_no_more_events_than_there_is_room_for() {
    let limits = || Limits { tasks_per_partition_max: 2, ..Limits::PRODUCTION };
    let three: Does = |call| (0..3).try_for_each(|_| schedule(call, 5, HERE));
    refused(limits(), three, "413 error=effects-too-large");
    let mut world = world_with(task_settings(limits()), |call| {
        call.set(HERE, None, integer("hp", 8))?;
        (0..2).try_for_each(|_| schedule(call, 5000, HERE))
    });
    let full = "call status=503 error=queue-full limit=limits.tasks_per_partition_max";
    check_in(
        &mut world,
        &format!(
            "
        1 call target=171.1
            1: call status=0
        1 call target=171.1
            1: {full}
        1 get object=171.1
            1: get status=0 kind=wolf version=2 owner=ann hp=8
        "
        ),
    );
    assert_eq!(tasks_of(&world, 171), 2);
}

/// What a call has decided by is in the log before another partition hears of it.
#[test]
fn another_partition_hears_of_an_event_when_the_log_has_what_the_call_saw_and_did() {
    let only: Does = |call| schedule(call, 5000, ELSEWHERE);
    let changes: Does = |call| {
        call.set(HERE, None, integer("hp", 8))?;
        schedule(call, 5000, ELSEWHERE)
    };
    for (does, batches) in [(only, 0), (changes, 1)] {
        let settings = ShardSettings { has_log: true, ..task_settings(Limits::PRODUCTION) };
        let mut world = world_with(settings, does);
        assert_eq!(world.run("1 call target=171.1"), "1: call status=0\n");
        world.run("+0");
        assert_eq!(tasks_of(&world, 172), 0);
        let before = world.deltas.len() - world.durable_count - batches;
        world.run(&format!("log {before}"));
        world.run("+0");
        assert_eq!(tasks_of(&world, 172), 1 - batches);
        world.run(&format!("log {batches}"));
        world.run("+0");
        assert_eq!(tasks_of(&world, 172), 1);
        // With nothing before it that is not durable, it does not wait for what comes later.
        world.run(&format!("log {}", world.deltas.len() - world.durable_count));
        world.run("1 call target=171.1 ; +0");
        world.run("+0");
        assert_eq!(tasks_of(&world, 172), 2 - batches);
    }
}

#[test]
fn a_call_whose_event_has_no_way_comes_to_nothing() {
    let limits = Limits { mesh_staging_bytes_max: 1024, ..Limits::PRODUCTION };
    let routing = RoutingTable::even(2, Epoch(1));
    let mut settings = ShardSettings { routing, ..task_settings(limits) };
    settings.has_log = true;
    let mut world = World::with_settings(settings);
    world.outputs = ShardOutputs::new(2);
    let does: Does = |call| {
        let routing = RoutingTable::even(2, Epoch(1));
        let far = (0..1000).map(PartitionId).find(|id| routing.shard_of(*id) == ShardId(1));
        schedule(call, 5, ObjectId(u64::from(far.unwrap().0) << 48 | 9))?;
        call.create("wound", |_| Ok(()))
    };
    command(&mut world, methods(&[("call", does)], "a@1"));
    world.run("1 open ; 1 login user=bob");
    world.run("1 work methods=hit credits=1");
    world.outputs.mesh[1].clear();
    world.outputs.mesh[1].bytes.resize(1024, 0);
    let made = world.deltas.len();
    assert_eq!(world.run("1 call"), "1: call status=503 error=busy\n");
    assert_eq!(world.deltas.len(), made);
    world.outputs.mesh[1].clear();
    assert_eq!(world.run("1 call"), "1: call status=0\n");
    let waiting = world.deltas.len() - world.durable_count;
    world.run(&format!("log {waiting}"));
    let is_event = |message: &MeshMessage| matches!(message, MeshMessage::Event { header, .. } if header.kind == EventKind::MakeEvent);
    let asked_for = world.outputs.mesh[1].list.iter().filter(|message| is_event(message)).count();
    assert_eq!(asked_for, 1);
}
