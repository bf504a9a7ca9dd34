//! What objects take in memory, measured: against what is counted for them.

use warren_core::delta::{Delta, DeltaBatch};
use warren_core::hashing::HashSeed;
use warren_core::ids::{Address, Epoch, GROUP_COUNT, ObjectId, PartitionId, SessionId, ShardId};
use warren_core::limits::Limits;
use warren_core::message::{Value, packed};
use warren_core::routing::RoutingTable;
use warren_core::shard::{Shard, ShardSettings};
use warren_core::token::TokenSeed;

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
        authentication: warren_core::authentication::Authentication::Open,
        policy: warren_core::authorize::Policy::default(),
        token_seed: TokenSeed([7; 32]),
        join_creates_rooms: true,
        snapshot_interval_ns: None,
        has_log: false,
        ack_defaults: warren_core::acknowledgement::AckDefaults::default(),
        task_methods: warren_core::tasks::methods::TaskMethods::default(),
        frame_bytes_max: 65_536,
        heartbeat_ms: 10_000,
        messages_per_s: 200,
        bytes_per_s: 262_144,
        login_ms: 10_000,
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

/// The same for one object in each of so many partitions, and none deleted: a partition stays when
/// its last object goes.
fn measure_spread(count: u16, record: impl Fn(u64) -> Vec<u8>) -> (i64, i64) {
    let mut shard = shard();
    let mut sequences = vec![0; GROUP_COUNT];
    let held_before = held_bytes_of_this_thread();
    for partition in 0..count {
        let id = ObjectId::new(PartitionId(partition), Address::new(1).unwrap());
        let (group, record) = (id.partition().group().0, record(partition.into()));
        let sequence = &mut sequences[usize::from(group)];
        *sequence += 1;
        let deltas = vec![Delta::ObjectCreated { object: id.0, version: 1, record }];
        shard.replay(&DeltaBatch { group, epoch: 1, sequence: *sequence, deltas });
    }
    (held_bytes_of_this_thread() - held_before, shard.counters().state_bytes as i64)
}

/// What so many watches take of each of so many objects.
fn measure_watches(objects: u64, watches: u32) -> (i64, i64) {
    let mut shard = shard();
    let mut sequence = 0;
    let mut apply = |shard: &mut Shard, delta| {
        sequence += 1;
        let (group, deltas) = (PARTITION.group().0, vec![delta]);
        shard.replay(&DeltaBatch { group, epoch: 1, sequence, deltas });
    };
    for address in 1..=objects {
        let record = packed("k", &[("owner", Value::Text("ann"))]);
        let delta = Delta::ObjectCreated { object: object(address), version: 1, record };
        apply(&mut shard, delta);
    }
    let held_before = held_bytes_of_this_thread();
    let counted_before = shard.counters().state_bytes as i64;
    for address in 1..=objects {
        for index in 0..watches {
            let session = SessionId { shard: ShardId(0), generation: 0, index }.to_bits();
            let (object, user) = (object(address), format!("user{index}"));
            apply(&mut shard, Delta::WatchStarted { object, session, user, roles: 1 });
        }
    }
    let counted = shard.counters().state_bytes as i64 - counted_before;
    (held_bytes_of_this_thread() - held_before, counted)
}

#[track_caller]
fn check(what: &str, count: u64, record: impl Fn(u64) -> Vec<u8>) {
    check_measured(what, count, measure(count, record));
}

#[track_caller]
fn check_measured(what: &str, count: u64, (held, counted): (i64, i64)) {
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
fn what_is_counted_for_partitions_with_one_object_is_what_they_take() {
    let owner = ("owner", Value::Text("ann"));
    let count = 20_000;
    let small = measure_spread(count, |_| packed("k", &[owner]));
    check_measured("a small object in each partition", count.into(), small);
    let users = measure_spread(count, |partition| {
        packed("user", &[("owner", Value::Text(&format!("user{partition}")))])
    });
    check_measured("a user in each partition", count.into(), users);
    let rooms = measure_spread(count, |partition| {
        packed("room", &[owner, ("name", Value::Text(&format!("room{partition}")))])
    });
    check_measured("a room in each partition", count.into(), rooms);
}

#[test]
fn what_is_counted_for_watches_is_what_they_take() {
    check_measured("one watch of each object", 15_000, measure_watches(15_000, 1));
    check_measured("100 watches of each object", 100_000, measure_watches(1000, 100));
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
