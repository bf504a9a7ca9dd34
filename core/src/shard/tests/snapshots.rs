use alloc::collections::BTreeMap;
use alloc::string::ToString;

use super::*;
use crate::ids::{Address, GroupId, Sequence};
use crate::message::packed;
use crate::snapshot::{RestoreError, SNAPSHOT_BATCH_OBJECTS_MAX, SnapshotBatch, StoredState};

/// What a store would hold.
#[derive(Clone, Debug, Default)]
pub(super) struct Store {
    pub(super) objects: BTreeMap<ObjectId, ((u64, Sequence), Vec<u8>)>,
    pub(super) tombstones: BTreeMap<ObjectId, Sequence>,
    pub(super) next_addresses: BTreeMap<PartitionId, Address>,
    pub(super) positions: BTreeMap<GroupId, Sequence>,
}

impl Store {
    pub(super) fn write(&mut self, batch: &SnapshotBatch) {
        for (id, state) in &batch.objects {
            match *state {
                StoredState::Present { version, record } => {
                    let record = batch.record(record).as_bytes().to_vec();
                    self.objects.insert(*id, ((version, batch.sequence()), record));
                }
                StoredState::Deleted => {
                    self.objects.remove(id);
                    if let Some(sequence) = batch.tombstone() {
                        self.tombstones.insert(*id, sequence);
                    }
                }
            }
        }
        for id in &batch.forgotten {
            self.tombstones.remove(id);
        }
        self.next_addresses.extend(batch.next_addresses.iter().copied());
        let known = self.positions.insert(batch.group, batch.position);
        assert!(known.is_none_or(|known| known <= batch.position), "positions do not go back");
    }

    /// Loads what is stored into a shard that is new.
    pub(super) fn load(&self, shard: &mut Shard, now: Now) -> Result<(), RestoreError> {
        for (group, position) in &self.positions {
            shard.restore_group(*group, *position);
        }
        for (id, (known, record)) in &self.objects {
            shard.restore_object(now, *id, *known, record)?;
        }
        for (id, sequence) in &self.tombstones {
            shard.restore_tombstone(*id, *sequence)?;
        }
        for (partition, next) in &self.next_addresses {
            shard.restore_addresses(*partition, *next)?;
        }
        Ok(())
    }

    /// A shard that starts with what is stored.
    #[track_caller]
    pub(super) fn restored(&self, limits: Limits, now: Now) -> Shard {
        self.restored_from(limits, now, FIRST_ADDRESS)
    }

    #[track_caller]
    fn restored_from(&self, limits: Limits, now: Now, first: Address) -> Shard {
        let mut shard = Shard::new(settings(limits));
        self.load(&mut shard, now).unwrap();
        shard.restored(first).unwrap();
        shard
    }
}

fn world_of(script: &[&str]) -> World {
    let mut world = World::new(Limits::PRODUCTION);
    for line in script {
        world.run(line);
    }
    world
}

#[test]
fn a_restart_keeps_objects_rooms_and_owners() {
    let mut world = world_of(&[
        "1 open ; 1 login user=ann",
        "1 create kind=sword partition=171 colour=red",
        "1 create kind=room room=hall secret=true members_max=7",
        "1 join room=camp ; 1 set object=171.1 colour=blue edge=9",
    ]);
    while world.store_next_batch() {}
    world.shard = world.store.restored(Limits::PRODUCTION, world.now);
    assert_eq!(
        world.run("2 open ; 2 login user=bob ; 2 get object=171.1 ; 2 set object=171.1 edge=1"),
        "2: login status=0 session=0000000000000000 object=19122.1\n\
         2: get status=0 kind=sword version=2 owner=ann colour=blue edge=9\n\
         2: set status=403 error=not-owner\n"
    );
    // Secret as before, and found by its owner under its name.
    assert_eq!(world.run("2 rooms"), "2: rooms status=0 rooms=camp\n");
    assert_eq!(
        world.run("1 open ; 1 login user=ann ; 1 join room=hall"),
        "1: login status=0 session=0000000000000001 object=12626.1\n\
         1: join status=0 room=hall members=1\n"
    );
    // What was made by joining has its grace time anew.
    world.run("+9999 ; 1 ping");
    assert_eq!(world.run("2 rooms"), "2: rooms status=0 rooms=camp\n");
    world.run("+1 ; 1 ping");
    assert_eq!(world.run("2 rooms"), "2: rooms status=0 rooms=\n");
}

#[test]
fn an_address_is_not_used_again_after_a_restart() {
    let mut world = world_of(&[
        "1 open ; 1 login user=ann",
        "1 create kind=k partition=7 ; 1 create kind=k partition=7",
        "1 delete object=7.2",
    ]);
    while world.store_next_batch() {}
    let first = Address::new(1001).unwrap();
    world.shard = world.store.restored_from(Limits::PRODUCTION, world.now, first);
    world.run("1 open ; 1 login user=bob");
    assert_eq!(
        world.run("1 create kind=k partition=7 ; 1 create kind=k partition=8"),
        "1: create status=0 object=7.3 version=1\n1: create status=0 object=8.1001 version=1\n"
    );
}

#[test]
fn a_batch_is_due_an_interval_after_the_first_change() {
    let mut world = World::new(Limits::PRODUCTION);
    world.takes_snapshots = false;
    assert_eq!(world.shard.snapshot_due_ns(), None);
    world.run("+5 ; 1 open ; 1 login user=ann");
    world.run("+5 ; 1 create kind=k");
    assert_eq!(world.shard.snapshot_due_ns(), Some(5_000_000 + SNAPSHOT_INTERVAL_NS));
    assert_eq!(world.shard.changed_object_count(), 2);
    let batch = world.shard.take_snapshot(world.now).unwrap();
    let ids: Vec<_> = batch.objects.iter().map(|(id, _)| id.to_string()).collect();
    assert_eq!(ids, ["12626.1", "12626.2"]);
    assert_eq!((batch.position, batch.taken_ms), (Sequence(2), world.now.wall_ms));
    assert_eq!((world.shard.snapshot_due_ns(), world.shard.changed_object_count()), (None, 0));
    assert_eq!(world.shard.take_snapshot(world.now), None);
}

#[test]
fn what_changes_again_is_handed_over_once_as_it_is_then() {
    let mut world = World::new(Limits::PRODUCTION);
    world.takes_snapshots = false;
    world.run("1 open ; 1 login user=ann ; 1 create kind=k partition=9 a=1");
    world.run("1 set object=9.1 a=2 ; 1 set object=9.1 a=3 ; 1 create kind=k partition=9");
    world.run("1 delete object=9.2");
    while world.shard.snapshot_due_ns().is_some() {
        let batch = world.shard.take_snapshot(world.now).unwrap();
        if batch.group != GroupId(0) {
            continue;
        }
        let first = (ObjectId(9 << 48 | 1), 3);
        let StoredState::Present { version, record } = batch.objects[0].1 else { panic!() };
        assert_eq!((batch.objects[0].0, version), first);
        assert_eq!(batch.record(record).get("a"), Some(Value::Text("3")));
        let deletion = (ObjectId(9 << 48 | 2), StoredState::Deleted);
        assert!(batch.objects[1..].iter().all(|rest| *rest == deletion), "{batch:?}");
        assert_eq!(batch.next_addresses, [(PartitionId(9), Address::new(3).unwrap())]);
        assert_eq!(batch.position, Sequence(5));
        return;
    }
    panic!("group 0 has changed");
}

#[test]
fn a_large_change_goes_in_batches_with_positions_between() {
    let mut world = World::new(Limits::PRODUCTION);
    world.takes_snapshots = false;
    world.run("1 open ; 1 login user=ann");
    world.shard.take_snapshot(world.now).unwrap();
    for _ in 0..SNAPSHOT_BATCH_OBJECTS_MAX + 1 {
        world.run("1 create kind=k partition=9");
    }
    let first = world.shard.take_snapshot(world.now).unwrap();
    assert_eq!(first.objects.len(), SNAPSHOT_BATCH_OBJECTS_MAX);
    assert_eq!(first.position, Sequence(SNAPSHOT_BATCH_OBJECTS_MAX as u64));
    let second = world.shard.take_snapshot(world.now).unwrap();
    assert_eq!(second.objects.len(), 1);
    assert_eq!(second.position, Sequence(SNAPSHOT_BATCH_OBJECTS_MAX as u64 + 1));
}

#[test]
fn a_name_that_changed_hands_can_be_restored_from_every_prefix() {
    let mut world = World::new(Limits::PRODUCTION);
    world.takes_snapshots = false;
    world.run("1 open ; 1 login user=ann ; 1 create kind=room room=hall");
    let hall = PartitionId::of_name("hall");
    let mut store = Store::default();
    let mut restores = 0;
    for round in 0..3 {
        // The room goes and comes back, between more objects than one batch holds.
        world.run(&format!(
            "1 delete object={}",
            ObjectId::new(hall, Address::new(1 + round * 300).unwrap())
        ));
        for _ in 0..299 {
            world.run(&format!("1 create kind=k partition={}", hall.0));
        }
        world.run("1 create kind=room room=hall");
        while let Some(batch) = world.shard.take_snapshot(world.now) {
            store.write(&batch);
            store.restored(Limits::PRODUCTION, world.now);
            restores += 1;
        }
    }
    assert!(restores > 6, "{restores}");
    let restored = store.restored(Limits::PRODUCTION, world.now);
    assert_eq!(restored.objects_digest(), world.shard.objects_digest());
}

#[test]
fn a_store_that_is_far_behind_stops_changes_and_nothing_else() {
    let limits = Limits { changed_objects_max: 2, ..Limits::PRODUCTION };
    let mut world = World::new(limits);
    world.takes_snapshots = false;
    world.run("1 open ; 2 open ; 1 login user=ann ; 1 create kind=k partition=9");
    assert_eq!(
        world.run("1 set object=9.1 a=1 ; 1 join room=r ; 1 get object=9.1 ; 2 login user=bob"),
        "1: set status=503 error=busy\n1: join status=503 error=busy\n\
         2: login status=503 error=busy\n1: get status=0 kind=k version=1 owner=ann\n"
    );
    // Who is known may come in, since nothing changes but who is here.
    assert_eq!(
        world.run("2 login user=ann"),
        "2: login status=0 session=0000000100000001 object=12626.1\n1: CLOSE displaced\n"
    );
    while world.shard.take_snapshot(world.now).is_some() {}
    assert_eq!(world.run("2 set object=9.1 a=1"), "2: set status=0 version=2\n");
}

#[test]
fn a_group_that_is_always_busy_does_not_hold_up_the_others() {
    let mut world = World::new(Limits::PRODUCTION);
    world.takes_snapshots = false;
    world.run("1 open ; 1 login user=ann");
    for _ in 0..2 * SNAPSHOT_BATCH_OBJECTS_MAX {
        world.run("1 create kind=k partition=9");
    }
    world.run("+1 ; 1 create kind=k partition=9000");
    let mut groups = Vec::new();
    for _ in 0..5 {
        groups.push(world.shard.take_snapshot(world.now).unwrap().group);
        for _ in 0..SNAPSHOT_BATCH_OBJECTS_MAX {
            world.run("+1 ; 1 create kind=k partition=9");
        }
    }
    assert!(groups.contains(&PartitionId(9000).group()), "{groups:?}");
}

#[test]
fn what_cannot_belong_to_the_state_is_refused_by_name() {
    let own = |name| ObjectId::new(PartitionId::of_name(name), Address::new(9).unwrap());
    let owner = |name| ("owner", Value::Text(name));
    let name = |name| ("name", Value::Text(name));
    let now = Now { monotonic_ns: 0, wall_ms: 0 };
    let mut shard = Shard::new(settings(Limits::PRODUCTION));
    let user = packed("user", &[owner("ann")]);
    shard.restore_object(now, own("ann"), (1, Sequence(0)), &user).unwrap();
    let next = ObjectId(own("ann").0 + 1);
    for (id, version, record, expected) in [
        (next, 1, vec![1], RestoreError::RecordMalformed),
        (next, 1, packed("k", &[("owner", Value::Integer(1))]), RestoreError::RecordMalformed),
        (next, 0, packed("k", &[]), RestoreError::VersionMissing),
        (own("ann"), 1, packed("k", &[]), RestoreError::AddressOutOfOrder),
        (next, 1, packed("user", &[]), RestoreError::NameInvalid),
        (next, 1, packed("user", &[owner("bob")]), RestoreError::NameInvalid),
        (next, 1, user.clone(), RestoreError::NameTwice),
        (next, 1, packed("room", &[owner("ann")]), RestoreError::NameInvalid),
        (own("bob"), 1, packed("room", &[name("carl")]), RestoreError::NameInvalid),
        (next, 1, packed("room", &[name("ann")]), RestoreError::NameTwice),
    ] {
        let refused = shard.restore_object(now, id, (version, Sequence(0)), &record);
        assert_eq!(refused, Err(expected), "{id} {record:?}");
    }
    let given = shard.restore_addresses(own("ann").partition(), own("ann").address());
    assert_eq!(given, Err(RestoreError::AddressUnknown));
    let buried = shard.restore_tombstone(own("ann"), Sequence(1));
    assert_eq!(buried, Err(RestoreError::DeletedAndPresent));
    assert_eq!(shard.counters().objects, 1);
}

#[test]
fn no_change_waits_longer_than_the_interval_while_the_store_keeps_up() {
    let mut world = World::new(Limits::PRODUCTION);
    world.takes_snapshots = false;
    world.run(
        "1 open ; 1 login user=ann ; 1 create kind=k partition=9 ; 1 create kind=k partition=900",
    );
    let objects = [ObjectId(9 << 48 | 1), ObjectId(900 << 48 | 1)];
    // What each object was, and when: version 1 at the beginning.
    let mut history = vec![(world.now.monotonic_ns, [1, 1])];
    for round in 0..200_u64 {
        let changed = if round % 7 == 0 { 1 } else { 0 };
        world.run(&format!("+{} ; 1 set object={} a={round}", 37 + round % 90, objects[changed]));
        let mut versions = history.last().unwrap().1;
        versions[changed] += 1;
        history.push((world.now.monotonic_ns, versions));
        while world.shard.snapshot_due_ns().is_some_and(|due_ns| due_ns <= world.now.monotonic_ns) {
            assert!(world.store_next_batch());
        }
        // A kill at this moment.
        let Some(before_ns) = world.now.monotonic_ns.checked_sub(SNAPSHOT_INTERVAL_NS) else {
            continue;
        };
        let mut earlier = history.iter().rev().filter(|(at_ns, _)| *at_ns <= before_ns);
        let (_, least) = earlier.next().expect("the first is from the beginning");
        let restored = world.store.restored(Limits::PRODUCTION, world.now);
        for (id, least) in objects.iter().zip(least) {
            let object = restored.partition(id.partition()).and_then(|it| it.object(*id));
            let version = object.map_or(0, |object| object.version());
            assert!(version >= *least, "{id} is at {version}, and was at {least} an interval ago");
        }
    }
}
