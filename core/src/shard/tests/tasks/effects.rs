//! What tasks change, by scripts: all of it, once, or nothing.

use super::*;

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
            2: emit room=arena from=ann event=howl loud=very seq=1
        1 get object=171.1 ; 1 get object=171.2 ; 1 find kind=fang partition=171 ; 1 find kind=fur partition=171
            1: get status=0 kind=wolf version=3 owner=ann hp=1
            1: get status=404 error=unknown-object
            1: find status=0 objects=171.4
            1: find status=0 objects=171.5
        ",
    );
}

#[test]
fn what_a_task_deletes_may_have_to_be_as_it_was() {
    check_default(
        "
        1 hit target=171.1 id=a
        3 work methods=hit
            3: work status=0
            3: task task=171.3 method=hit user=ann attempt=1 limit_ms=30000 target=171.1 target_version=1 target_record=WOLF
        3 effect task=171.3 token=@3 do=delete object=171.2 version=1
            3: effect status=0
        1 set object=171.2 hp=8
            1: set status=0 version=2
        3 done task=171.3 token=@3 effects=1
            3: done status=409 error=version-conflict
        +20
            3: task task=171.3 method=hit user=ann attempt=1 limit_ms=30000 target=171.1 target_version=1 target_record=WOLF
        1 get object=171.2
            1: get status=0 kind=wolf version=2 owner=ann hp=8
        3 effect task=171.3 token=@3 do=delete object=171.2 version=2
            3: effect status=0
        3 done task=171.3 token=@3 effects=1
            1: hit id=a status=0
            3: done status=0
        1 get object=171.2
            1: get status=404 error=unknown-object
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
        "1: get status=0 kind=fang version=1 owner=ann\n"
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

/// A task with a key is kept with its answer, so the partition has to have room for that.
#[test]
fn an_answer_that_is_kept_finds_room_or_is_refused() {
    let long = "x".repeat(3000);
    check_tasks(
        Limits { partition_bytes_max: 4000, ..Limits::PRODUCTION },
        TaskMethod::DEFAULT,
        &format!(
            "
        1 hit key=k id=a
        3 work methods=hit
            3: work status=0
            3: task task=12626.2 method=hit user=ann attempt=1 limit_ms=30000 key=k
        3 done task=12626.2 token=@3 text={long}
            3: done status=507 error=partition-memory-full limit=limits.partition_bytes_max
        3 done task=12626.2 token=@3 text=short
            1: hit id=a status=0 text=short
            3: done status=0
        1 hit id=b
            3: task task=12626.3 method=hit user=ann attempt=1 limit_ms=30000
        3 done task=12626.3 token=@3 text={long}
            1: hit id=b status=0 text={long}
            3: done status=0
        "
        ),
    );
}
