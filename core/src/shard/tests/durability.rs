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
