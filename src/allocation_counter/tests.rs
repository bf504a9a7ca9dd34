//! What objects take in memory, measured: against what is counted for them.

use warren_core::delta::{Delta, DeltaBatch};
use warren_core::hashing::HashSeed;
use warren_core::ids::{Address, Epoch, ObjectId, PartitionId, ShardId};
use warren_core::limits::Limits;
use warren_core::message::{Value, packed};
use warren_core::routing::RoutingTable;
use warren_core::shard::{Shard, ShardSettings};

use super::*;

#[global_allocator]
static COUNTER: AllocationCounter = AllocationCounter;

/// The partition of all objects of a measurement, and its group.
const PARTITION: PartitionId = PartitionId(9);

fn shard() -> Shard {
    Shard::new(ShardSettings {
        shard: ShardId(0),
        routing: RoutingTable::even(1, Epoch(1)),
        limits: Limits::PRODUCTION,
        seed: HashSeed(1, 2),
        join_creates_rooms: true,
        snapshot_interval_ns: None,
        frame_bytes_max: 65_536,
        heartbeat_ms: 10_000,
    })
}

fn object(address: u64) -> u64 {
    ObjectId::new(PARTITION, Address::new(address).unwrap()).0
}

/// Makes objects, and deletes every second of them: what the heap took for all, and what was
/// counted, in bytes.
fn measure(count: u64, record: impl Fn(u64) -> Vec<u8>) -> (i64, i64) {
    let mut shard = shard();
    let held_before = held_bytes_of_this_thread();
    let mut sequence = 0;
    let mut apply = |shard: &mut Shard, delta| {
        sequence += 1;
        let (group, deltas) = (PARTITION.group().0, vec![delta]);
        shard.replay(&DeltaBatch { group, epoch: 1, sequence, deltas });
    };
    for address in 1..=count {
        let (object, record) = (object(address), record(address));
        apply(&mut shard, Delta::ObjectCreated { object, version: 1, record });
    }
    let held = held_bytes_of_this_thread() - held_before;
    let counted = shard.counters().state_bytes as i64;
    for address in (1..=count).step_by(2) {
        apply(&mut shard, Delta::ObjectDeleted { object: object(address) });
    }
    let left = held_bytes_of_this_thread() - held_before;
    let counted_left = shard.counters().state_bytes as i64;
    assert!(left <= counted_left, "{left} bytes held after deletions, {counted_left} counted");
    (held, counted)
}

#[track_caller]
fn check(what: &str, count: u64, record: impl Fn(u64) -> Vec<u8>) {
    let (held, counted) = measure(count, record);
    let (held, counted) = (held / count as i64, counted / count as i64);
    println!("{what}: {held} bytes held, {counted} counted");
    assert!(held <= counted, "{what}: {held} bytes held, {counted} counted");
    assert!(held * 2 >= counted, "{what}: {held} bytes held, {counted} counted");
}

#[test]
fn what_is_counted_for_objects_is_what_they_take() {
    let owner = ("owner", Value::Text("ann"));
    check("small objects", 100_000, |address| {
        packed("k", &[owner, ("n", Value::Integer(address as i64))])
    });
    check("objects of 200 bytes", 100_000, |_| {
        packed("k", &[owner, ("text", Value::Text(&"x".repeat(200)))])
    });
    // A few more than fill a hash map by half, which is when it has just grown.
    check("objects of a kind each", 15_000, |address| packed(&format!("kind{address}"), &[owner]));
    check("users", 15_000, |address| {
        let name = format!("user{address}");
        packed("user", &[("owner", Value::Text(&name))])
    });
    check("rooms", 15_000, |address| {
        let name = format!("room{address}");
        packed("room", &[owner, ("name", Value::Text(&name))])
    });
}

#[test]
fn what_a_thread_holds_is_what_it_has_not_freed() {
    let before = held_bytes_of_this_thread();
    let mut bytes: Vec<u8> = Vec::with_capacity(100);
    assert_eq!(held_bytes_of_this_thread() - before, 112);
    bytes.reserve_exact(1000);
    assert_eq!(held_bytes_of_this_thread() - before, 1008);
    drop(bytes);
    assert_eq!(held_bytes_of_this_thread(), before);
}
