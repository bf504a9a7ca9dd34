//! Snapshots beside a log, and the replay of what the log has beyond them.

use super::*;
use crate::ids::{Address, GroupId, Sequence};
use crate::message::packed;
use crate::snapshot::{
    POSITION_INTERVAL_NS, RestoreError, SNAPSHOT_BATCHES_WAITING_MAX, StoredState,
};

pub(super) fn logged_settings() -> ShardSettings {
    ShardSettings { has_log: true, ..settings(Limits::PRODUCTION) }
}

/// A shard with a log, and ann on it.
fn logged_world() -> World {
    let mut world = World::with_settings(logged_settings());
    world.takes_snapshots = false;
    world.run("1 open ; 1 login user=ann");
    world.run("log 1");
    let own = world.shard.take_snapshot(world.now).unwrap();
    assert_eq!((own.covers, own.position), (Some(Sequence(1)), Sequence(1)));
    world
}

fn id(partition: u16, address: u64) -> ObjectId {
    ObjectId::new(PartitionId(partition), Address::new(address).unwrap())
}

#[test]
fn a_batch_waits_until_the_log_has_what_is_in_it() {
    let mut world = logged_world();
    world.run("1 create kind=k partition=9 ; 1 set object=9.1 a=1");
    let due_ns = world.shard.snapshot_due_ns();
    assert_eq!(due_ns, Some(SNAPSHOT_INTERVAL_NS));
    assert_eq!(world.shard.take_snapshot(world.now), None);
    assert_eq!((world.shard.waiting_snapshot_count(), world.shard.snapshot_due_ns()), (1, None));
    // The group changes on, and none of it is looked at before the batch has gone.
    world.run("1 set object=9.1 a=2 ; log 1");
    assert_eq!((world.shard.take_snapshot(world.now), world.shard.snapshot_due_ns()), (None, None));
    world.run("log 1");
    assert_eq!((world.shard.waiting_snapshot_count(), world.shard.snapshot_due_ns()), (1, Some(0)));
    let batch = world.shard.take_snapshot(world.now).unwrap();
    assert_eq!((batch.covers, batch.position), (Some(Sequence(2)), Sequence(2)));
    let StoredState::Present { version: 2, record } = batch.objects[0].1 else { panic!() };
    assert_eq!(batch.record(record).get("a"), Some(Value::Text("1")));
    assert_eq!(world.shard.snapshot_due_ns(), due_ns);
    world.run("log 1");
    let batch = world.shard.take_snapshot(world.now).unwrap();
    assert_eq!((batch.covers, batch.position), (Some(Sequence(3)), Sequence(3)));
    assert_eq!((world.shard.take_snapshot(world.now), world.shard.snapshot_due_ns()), (None, None));
}

#[test]
fn only_so_many_batches_wait_and_the_rest_waits_as_it_is() {
    let mut world = logged_world();
    let groups = SNAPSHOT_BATCHES_WAITING_MAX + 3;
    for group in 0..groups {
        world.run(&format!("1 create kind=k partition={}", group * 64));
    }
    for _ in 0..groups {
        assert_eq!(world.shard.take_snapshot(world.now), None);
    }
    assert_eq!(world.shard.waiting_snapshot_count(), SNAPSHOT_BATCHES_WAITING_MAX);
    assert_eq!((world.shard.changed_object_count(), world.shard.snapshot_due_ns()), (3, None));
    world.run(&format!("log {groups}"));
    for group in 0..groups {
        let batch = world.shard.take_snapshot(world.now).unwrap();
        assert_eq!(batch.objects[0].0, id(group as u16 * 64, 1));
    }
    assert_eq!((world.shard.take_snapshot(world.now), world.shard.snapshot_due_ns()), (None, None));
}

#[test]
fn a_position_follows_what_changes_no_object() {
    let mut world = logged_world();
    world.run("1 join room=camp");
    world.run("log 1");
    world.shard.take_snapshot(world.now).unwrap();
    let camp = PartitionId::of_name("camp").group();
    world.run("+7 ; 1 leave room=camp ; 1 join room=camp");
    let due_ns = world.now.monotonic_ns + POSITION_INTERVAL_NS;
    world.run("+9 ; 1 leave room=camp ; log 2");
    assert_eq!(world.shard.snapshot_due_ns(), Some(due_ns));
    // What it says is waited for like all else.
    assert_eq!(world.shard.take_snapshot(world.now), None);
    world.run("log 1");
    let batch = world.shard.take_snapshot(world.now).unwrap();
    assert_eq!((batch.group, batch.objects.len(), batch.next_addresses.len()), (camp, 0, 0));
    assert_eq!((batch.covers, batch.position), (Some(Sequence(4)), Sequence(4)));
    assert_eq!((world.shard.take_snapshot(world.now), world.shard.snapshot_due_ns()), (None, None));
}

#[test]
fn a_deletion_is_remembered_until_the_position_has_passed_it() {
    let mut world = logged_world();
    world.run("1 create kind=k partition=9 ; 1 create kind=k partition=9");
    world.run("1 delete object=9.1 ; log 2");
    world.run("log 1");
    // 9.1 of two waiting changes: 9.2 changed after its creation and before its deletion.
    let first = world.shard.take_snapshot_of(world.now, 1).unwrap();
    assert_eq!((first.position, first.tombstone()), (Sequence(1), Some(Sequence(3))));
    assert_eq!(
        (&first.objects[..], &first.forgotten[..]),
        (&[(id(9, 1), StoredState::Deleted)][..], &[][..])
    );
    let second = world.shard.take_snapshot_of(world.now, 1).unwrap();
    assert_eq!((second.objects[0].0, second.position), (id(9, 2), Sequence(2)));
    assert!(second.forgotten.is_empty());
    // The deletion itself is the last change, and is no news.
    let third = world.shard.take_snapshot_of(world.now, 1).unwrap();
    assert_eq!((third.objects[0].0, third.position), (id(9, 1), Sequence(3)));
    assert_eq!((third.tombstone(), &third.forgotten[..]), (None, &[id(9, 1)][..]));
    assert_eq!(world.shard.snapshot_due_ns(), None);
}

#[test]
fn a_restart_remembers_deletions_and_forgets_them_in_time() {
    let mut world = logged_world();
    world.run("1 create kind=k partition=9 ; 1 create kind=k partition=9 ; 1 delete object=9.1");
    world.run("log 3");
    let first = world.shard.take_snapshot_of(world.now, 1).unwrap();
    world.store.write(&first);
    let mut shard = Shard::new(logged_settings());
    world.store.load(&mut shard, world.now).unwrap();
    for batch in world.deltas.iter().filter(|batch| batch.group == 0) {
        shard.replay_stored(world.now, batch).unwrap();
    }
    shard.restored(FIRST_ADDRESS).unwrap();
    assert_eq!(shard.durable_sequence(GroupId(0)), Sequence(3));
    assert_eq!(shard.partition(PartitionId(9)).unwrap().object_count(), 1);
    let batch = shard.take_snapshot(world.now).unwrap();
    assert_eq!((batch.position, &batch.forgotten[..]), (Sequence(3), &[id(9, 1)][..]));
    world.store.write(&batch);
    assert!(world.store.tombstones.is_empty());
}

#[test]
fn a_position_that_was_behind_at_the_end_is_due_after_the_start() {
    let mut shard = Shard::new(logged_settings());
    let now = Now { monotonic_ns: 5, wall_ms: 0 };
    shard.restore_group(GroupId(3), Sequence(7));
    let absent = Delta::UserAbsent { user: "ann".into() };
    let batch = DeltaBatch { group: 3, epoch: 1, sequence: 8, deltas: vec![absent] };
    shard.replay_stored(now, &batch).unwrap();
    shard.restored(FIRST_ADDRESS).unwrap();
    assert_eq!(shard.snapshot_due_ns(), Some(5 + POSITION_INTERVAL_NS));
    let batch = shard.take_snapshot(now).unwrap();
    assert_eq!((batch.group, batch.position), (GroupId(3), Sequence(8)));
}

#[test]
fn what_is_replayed_goes_on_behind_what_was_given_away() {
    let mut shard = Shard::new(logged_settings());
    let now = Now { monotonic_ns: 0, wall_ms: 0 };
    let create = |sequence, object: ObjectId| {
        let record = packed("k", &[]);
        let delta = Delta::ObjectCreated { object: object.0, version: 1, record };
        DeltaBatch { group: 0, epoch: 1, sequence, deltas: vec![delta] }
    };
    // After a crash a partition goes on far beyond what is stored, and the log is still below that.
    shard.restore_addresses(PartitionId(9), Address::new(1000).unwrap()).unwrap();
    for (sequence, object) in [(1, id(9, 7)), (2, id(10, 4)), (3, id(11, 70))] {
        shard.replay_stored(now, &create(sequence, object)).unwrap();
    }
    shard.restored(Address::new(50).unwrap()).unwrap();
    let next =
        |partition| shard.partition(PartitionId(partition)).unwrap().object_after_next(0).unwrap();
    assert_eq!([next(9), next(10), next(11)], [id(9, 1000), id(10, 50), id(11, 71)]);
}

#[test]
fn a_log_that_does_not_follow_is_refused_by_name() {
    let now = Now { monotonic_ns: 0, wall_ms: 0 };
    let own = |name| ObjectId::new(PartitionId::of_name(name), Address::new(1).unwrap());
    let hall = own("hall");
    let room = packed("room", &[("name", Value::Text("hall"))]);
    let created = |object: ObjectId, version, record: &[u8]| Delta::ObjectCreated {
        object: object.0,
        version,
        record: record.into(),
    };
    let changed = |object: ObjectId, version, changes: Vec<u8>| Delta::ObjectChanged {
        object: object.0,
        version,
        changes,
    };
    let set = |name, value| packed("room", &[(name, value)]);
    let fine = |version| changed(hall, version, set("a", Value::Integer(1)));
    let next = ObjectId(hall.0 + 1);
    let elsewhere = ObjectId(hall.0 ^ 1 << 63);
    let group = hall.partition().group().0;
    for (group, sequence, delta, expected) in [
        (group, 8, fine(2), Ok(())),
        (group, 7, fine(9), Ok(())),
        (group, 9, fine(2), Err(RestoreError::SequenceSkipped)),
        (u16::MAX, 1, fine(2), Err(RestoreError::GroupUnknown)),
        (group ^ 1, 1, fine(2), Err(RestoreError::GroupUnknown)),
        (group, 8, fine(3), Err(RestoreError::VersionSkipped)),
        (group, 8, fine(1), Err(RestoreError::VersionSkipped)),
        (group, 8, changed(next, 2, set("a", Value::Null)), Err(RestoreError::ObjectMissing)),
        (group, 8, changed(hall, 2, vec![1]), Err(RestoreError::RecordMalformed)),
        (group, 8, changed(hall, 2, packed("k", &[])), Err(RestoreError::RecordMalformed)),
        (
            group,
            8,
            changed(hall, 2, set("owner", Value::Integer(1))),
            Err(RestoreError::RecordMalformed),
        ),
        (group, 8, changed(hall, 2, set("name", Value::Text("a"))), Err(RestoreError::NameInvalid)),
        (group, 8, created(next, 1, &room), Err(RestoreError::NameTwice)),
        (group, 8, created(hall, 1, &room), Err(RestoreError::AddressOutOfOrder)),
        (group, 8, created(next, 1, &[1]), Err(RestoreError::RecordMalformed)),
        (group, 8, Delta::ObjectDeleted { object: next.0 }, Err(RestoreError::ObjectMissing)),
        (group, 8, Delta::ObjectDeleted { object: elsewhere.0 }, Err(RestoreError::GroupUnknown)),
    ] {
        let mut shard = Shard::new(logged_settings());
        shard.restore_group(hall.partition().group(), Sequence(7));
        shard.restore_object(now, hall, (1, Sequence(0)), &room).unwrap();
        let told = format!("{sequence} of {group}: {delta:?}");
        let batch = DeltaBatch { group, epoch: 1, sequence, deltas: vec![delta] };
        assert_eq!(shard.replay_stored(now, &batch), expected, "{told}");
    }
}

#[test]
fn what_is_stored_must_not_be_newer_than_the_log() {
    let mut shard = Shard::new(logged_settings());
    let now = Now { monotonic_ns: 0, wall_ms: 0 };
    shard.restore_group(GroupId(0), Sequence(7));
    shard.restore_object(now, id(9, 1), (1, Sequence(9)), &packed("k", &[])).unwrap();
    let batch = DeltaBatch { group: 0, epoch: 1, sequence: 8, deltas: vec![] };
    shard.replay_stored(now, &batch).unwrap();
    let (known, end) = (Sequence(9), Sequence(8));
    let short = RestoreError::LogTooShort { group: GroupId(0), known, end };
    assert_eq!(shard.restored(FIRST_ADDRESS), Err(short));
}
