//! Scheduled events that tasks make: here in one batch with the task's end, and elsewhere when that has
//! reached its level.

use super::*;
use crate::mesh::EventKind;

#[test]
fn a_task_makes_events_of_its_user_here_and_elsewhere() {
    check_default(
        "
        3 work methods=hit credits=3
            3: work status=0
        1 hit target=171.1 id=a
            3: task task=171.3 method=hit user=ann attempt=1 limit_ms=30000 target=171.1 target_version=1 target_record=WOLF
        3 effect task=171.3 token=@3 do=new-event event=hit delay_ms=50 target=171.2 n=1 ; 3 effect task=171.3 token=@3 do=new-event event=hit delay_ms=70 target=172.9 n=2 ; 3 effect task=171.3 token=@3 do=new-event event=hit delay_ms=9000 n=3
            3: effect status=0
            3: effect status=0
            3: effect status=0
        1 pending partition=171 ; 1 pending partition=172
            1: pending status=0 tasks= events= times_ms=
            1: pending status=0 tasks= events= times_ms=
        3 done task=171.3 token=@3 effects=3
            1: hit id=a status=0
            3: done status=0
        +0
        1 pending partition=171 ; 1 pending partition=172
            1: pending status=0 tasks=171.4|171.5 events=hit|hit times_ms=1700000000050|1700000009000
            1: pending status=0 tasks=172.1 events=hit times_ms=1700000000070
        +50
            3: task task=171.4 method=hit user=ann attempt=1 limit_ms=30000 target=171.2 n=1 target_version=1 target_record=WOLF
        +20
            3: task task=172.1 method=hit user=ann attempt=1 limit_ms=30000 target=172.9 n=2
        1 cancel-event task=171.5
            1: cancel-event status=403 error=forbidden
        ",
    );
}

#[test]
fn a_task_whose_end_is_refused_makes_no_event() {
    let limits = Limits { tasks_per_partition_max: 3, ..Limits::PRODUCTION };
    let world = check_tasks(
        limits,
        TaskMethod::DEFAULT,
        "
        3 work methods=hit
            3: work status=0
        1 hit target=171.1 id=a
            3: task task=171.3 method=hit user=ann attempt=1 limit_ms=30000 target=171.1 target_version=1 target_record=WOLF
        3 effect task=171.3 token=@3 do=new-event event=hit delay_ms=hot
            3: effect status=0
        3 done task=171.3 token=@3 effects=1
            3: done status=400 error=field-invalid
        3 release task=171.3 token=@3
            3: release status=0
            3: task task=171.3 method=hit user=ann attempt=1 limit_ms=30000 target=171.1 target_version=1 target_record=WOLF
        3 effect task=171.3 token=@3 do=new-event delay_ms=5 ; 3 effect task=171.3 token=@3 do=new-event event=hit target=x
            3: effect status=400 error=field-missing
            3: effect status=400 error=field-invalid
        3 effect task=171.3 token=@3 do=new-event event=bark delay_ms=5 target=172.1
            3: effect status=0
        3 done task=171.3 token=@3 effects=1
            3: done status=404 error=unknown-method
        3 release task=171.3 token=@3
            3: release status=0
            3: task task=171.3 method=hit user=ann attempt=1 limit_ms=30000 target=171.1 target_version=1 target_record=WOLF
        3 effect task=171.3 token=@3 do=new-event event=hit delay_ms=5 target=172.1 user=ann
            3: effect status=0
        3 done task=171.3 token=@3 effects=1
            3: done status=400 error=reserved-field
        3 release task=171.3 token=@3
            3: release status=0
            3: task task=171.3 method=hit user=ann attempt=1 limit_ms=30000 target=171.1 target_version=1 target_record=WOLF
        3 effect task=171.3 token=@3 do=new-event event=hit delay_ms=5 key=k ; 3 effect task=171.3 token=@3 do=new-event event=hit delay_ms=6 key=k
            3: effect status=0
            3: effect status=400 error=field-invalid
        3 effect task=171.3 token=@3 do=new-event event=hit delay_ms=5 ; 3 effect task=171.3 token=@3 do=new-event event=hit delay_ms=5 ; 3 effect task=171.3 token=@3 do=new-event event=hit delay_ms=5
            3: effect status=0
            3: effect status=0
            3: effect status=0
        3 done task=171.3 token=@3 effects=4
            3: done status=503 error=queue-full limit=limits.tasks_per_partition_max
        1 pending partition=171
            1: pending status=0 tasks= events= times_ms=
        ",
    );
    assert_eq!(world.shard.counters().events_refused, 0);
}

/// Its own place becomes free, also in a queue that is full.
#[test]
fn a_task_may_always_make_the_one_that_comes_after_it() {
    check_tasks(
        Limits { tasks_per_partition_max: 1, ..Limits::PRODUCTION },
        TaskMethod::DEFAULT,
        "
        3 work methods=hit
            3: work status=0
        1 hit target=171.1 id=a
            3: task task=171.3 method=hit user=ann attempt=1 limit_ms=30000 target=171.1 target_version=1 target_record=WOLF
        3 effect task=171.3 token=@3 do=new-event event=hit delay_ms=5
            3: effect status=0
        3 done task=171.3 token=@3 effects=1
            1: hit id=a status=0
            3: done status=0
        1 pending partition=171
            1: pending status=0 tasks=171.4 events=hit times_ms=1700000000005
        ",
    );
}

/// Who asks for more than there can ever be room for would be tried for ever.
#[test]
fn no_task_makes_more_events_than_a_partition_takes() {
    let limits = Limits { tasks_per_partition_max: 2, ..Limits::PRODUCTION };
    let mut world = check_tasks(
        limits,
        TaskMethod::DEFAULT,
        "
        3 work methods=hit
            3: work status=0
        1 hit target=171.1 id=a
            3: task task=171.3 method=hit user=ann attempt=1 limit_ms=30000 target=171.1 target_version=1 target_record=WOLF
        ",
    );
    for (count, refused) in [(3, "503 error=queue-full"), (4, "413 error=effects-too-large")] {
        if count == 3 {
            world.run("2 hit target=171.2");
            for _ in 0..2 {
                world.run("3 effect task=171.3 token=@3 do=new-event event=hit delay_ms=5");
            }
        }
        world.run("3 effect task=171.3 token=@3 do=new-event event=hit delay_ms=5");
        let heard = world.run(&format!("3 done task=171.3 token=@3 effects={count}"));
        assert!(heard.starts_with(&format!("3: done status={refused}")), "{heard}");
    }
}

/// Also under the key of the task that makes it: that one is remembered.
#[test]
fn an_event_of_a_known_key_is_made_already() {
    let world = check_default(
        "
        3 work methods=hit
            3: work status=0
        1 hit target=171.1 id=a key=k
            3: task task=171.3 method=hit user=ann attempt=1 limit_ms=30000 target=171.1 key=k target_version=1 target_record=WOLF
        3 effect task=171.3 token=@3 do=new-event event=hit delay_ms=50 key=k ; 3 effect task=171.3 token=@3 do=new-event event=hit delay_ms=60 key=l ; 3 effect task=171.3 token=@3 do=new-event event=hit delay_ms=70 key=l target=172.9
            3: effect status=0
            3: effect status=0
            3: effect status=0
        3 done task=171.3 token=@3 effects=3 hp=7
            1: hit id=a status=0 hp=7
            3: done status=0
        1 pending partition=171 ; 1 pending partition=172
            1: pending status=0 tasks=171.4 events=hit times_ms=1700000000060
            1: pending status=0 tasks=172.1 events=hit times_ms=1700000000070
        1 hit target=171.1 id=b
            3: task task=171.5 method=hit user=ann attempt=1 limit_ms=30000 target=171.1 target_version=1 target_record=WOLF
        3 effect task=171.5 token=@3 do=new-event event=hit delay_ms=90 key=l target=172.9
            3: effect status=0
        3 done task=171.5 token=@3 effects=1
            1: hit id=b status=0
            3: done status=0
        1 pending partition=172
            1: pending status=0 tasks=172.1 events=hit times_ms=1700000000070
        ",
    );
    assert_eq!(world.shard.counters().events_refused, 0);
}

#[test]
fn a_task_says_who_owns_what_it_makes() {
    check_default(
        "
        3 work methods=hit
            3: work status=0
        1 hit target=171.1 id=a
            3: task task=171.3 method=hit user=ann attempt=1 limit_ms=30000 target=171.1 target_version=1 target_record=WOLF
        3 effect task=171.3 token=@3 do=create kind=fang owner= ; 3 effect task=171.3 token=@3 do=create kind=fur owner=bob ; 3 effect task=171.3 token=@3 do=create kind=claw
            3: effect status=0
            3: effect status=0
            3: effect status=0
        3 done task=171.3 token=@3 effects=3
            1: hit id=a status=0
            3: done status=0
        1 get object=171.4 ; 1 get object=171.5 ; 1 get object=171.6
            1: get status=0 kind=fang version=1
            1: get status=0 kind=fur version=1 owner=bob
            1: get status=0 kind=claw version=1 owner=ann
        1 set object=171.4 sharp=1 ; 1 set object=171.5 sharp=1 ; 1 set object=171.6 sharp=1
            1: set status=403 error=not-owner
            1: set status=403 error=not-owner
            1: set status=0 version=2
        1 create kind=fang owner=bob ; 1 create kind=fang owner=
            1: create status=400 error=reserved-field
            1: create status=400 error=reserved-field
        ",
    );
}

#[test]
fn what_another_partition_refuses_is_counted() {
    let limits = Limits { tasks_per_partition_max: 1, ..Limits::PRODUCTION };
    let world = check_tasks(
        limits,
        TaskMethod::DEFAULT,
        "
        3 work methods=hit
            3: work status=0
        1 hit target=171.1 id=a
            3: task task=171.3 method=hit user=ann attempt=1 limit_ms=30000 target=171.1 target_version=1 target_record=WOLF
        3 effect task=171.3 token=@3 do=new-event event=hit delay_ms=5000 target=172.9 ; 3 effect task=171.3 token=@3 do=new-event event=hit delay_ms=6000 target=172.9
            3: effect status=0
            3: effect status=0
        3 done task=171.3 token=@3 effects=2
            1: hit id=a status=0
            3: done status=0
        +0
        1 pending partition=172
            1: pending status=0 tasks=172.1 events=hit times_ms=1700000005000
        ",
    );
    assert_eq!(world.shard.counters().events_refused, 1);
}

/// Also when nobody waits for that, or for the answer any more. So does what rooms hear of a durable task.
#[test]
fn another_partition_hears_of_an_event_when_its_task_is_durable() {
    for (ack, is_asker_there) in [("applied", true), ("durable", true), ("durable", false)] {
        let mut settings = task_settings(NO_GRACE);
        settings.has_log = true;
        let mut world = World::with_settings(settings);
        for (connection, user) in [(1, "ann"), (2, "bob"), (3, "dwarf")] {
            world.run(&format!("{connection} open ; {connection} login user={user}"));
        }
        world.run("3 work methods=hit ; 2 join room=arena");
        world.run(&format!("1 hit target=171.9 ack={ack}"));
        if !is_asker_there {
            world.shard.tasks.askers.clear();
        }
        let effect = "3 effect task=171.1 token=@3";
        world.run(&format!("{effect} do=new-event event=hit delay_ms=5000 target=172.9"));
        world.run(&format!("{effect} do=emit to=arena event=howl"));
        let events_of = |world: &World| {
            let partition = world.shard.partition(PartitionId(172));
            partition.map_or(0, |partition| partition.tasks().count())
        };
        let before = world.deltas.len() - world.durable_count;
        world.run(&format!("log {before}"));
        let mut heard = world.run("3 done task=171.1 token=@3 effects=2");
        heard += &world.run("+0");
        let (answer, howl) =
            ("1: hit status=0\n", "2: emit room=arena from=ann event=howl seq=1\n");
        if ack == "applied" {
            assert_eq!(heard, format!("{answer}3: done status=0\n{howl}"));
        } else {
            assert_eq!(heard, "3: done status=0\n");
        }
        assert_eq!(events_of(&world), 0, "the task's end is not durable");
        assert!(world.shard.awaits_log());
        let mut heard = world.run("log 1");
        heard += &world.run("+0");
        let told = if is_asker_there { answer } else { "" };
        let told = if ack == "durable" { format!("{told}{howl}") } else { String::new() };
        assert_eq!(heard, told, "{ack}");
        assert_eq!(events_of(&world), 1);
    }
}

/// Neither is lost: not what is asked for at once, nor what has waited for the log.
#[test]
fn a_way_that_is_full_holds_an_event_up() {
    let limits = Limits { mesh_staging_bytes_max: 1024, ..Limits::PRODUCTION };
    let routing = RoutingTable::even(2, Epoch(1));
    let far = (0..1000).map(PartitionId).find(|id| routing.shard_of(*id) == ShardId(1)).unwrap();
    let mut settings = ShardSettings { routing, ..task_settings(limits) };
    settings.has_log = true;
    let mut world = World::with_settings(settings);
    world.outputs = ShardOutputs::new(2);
    world.run("1 open ; 1 login user=bob");
    world.run("1 work methods=hit credits=2");
    let fill = |world: &mut World| {
        world.outputs.mesh[1].clear();
        world.outputs.mesh[1].bytes.resize(1024, 0);
    };
    let asked_for = |world: &World| {
        let is_event = |message: &MeshMessage| matches!(message, MeshMessage::Event { header, .. } if header.kind == EventKind::MakeEvent);
        world.outputs.mesh[1].list.iter().filter(|message| is_event(message)).count()
    };
    let task_of = |heard: &str| {
        let task = heard.lines().find(|line| line.starts_with("1: task ")).unwrap();
        task.split(' ').find_map(|word| word.strip_prefix("task=")).unwrap().to_string()
    };
    let task = task_of(&world.run("1 hit n=1 ack=durable"));
    let event = format!("do=new-event event=hit delay_ms=5 target={}.9", far.0);
    world.run(&format!("1 effect task={task} token=@1 {event}"));
    fill(&mut world);
    let done = format!("1 done task={task} token=@1 effects=1");
    assert_eq!(world.run(&done), "1: done status=503 error=busy\n");
    world.outputs.mesh[1].clear();
    assert_eq!(world.run(&done), "1: done status=0\n");
    // The way becomes full while the end waits for the log, and holds up nobody else.
    fill(&mut world);
    let waiting = world.deltas.len() - world.durable_count;
    assert_eq!(world.run(&format!("log {waiting}")), "1: hit status=0\n");
    assert_eq!(asked_for(&world), 0);
    assert!(!world.shard.has_work());
    assert_eq!(world.shard.next_deadline_ns(), Some(world.now.monotonic_ns + 1_000_000));
    world.outputs.mesh[1].clear();
    world.run("+1");
    assert_eq!(asked_for(&world), 1);
    assert!(!world.shard.has_work());
}
