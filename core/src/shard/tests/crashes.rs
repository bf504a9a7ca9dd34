//! Crashes at any moment of a shard with a log: what is stored and what the log has make exactly the
//! state that the log has, however late its word, the batches and the writer were.

use alloc::collections::VecDeque;
use alloc::string::ToString;

use super::logged_snapshots::logged_settings;
use super::snapshots::Store;
use super::*;
use crate::ids::{Address, GroupId, Sequence};
use crate::object::Object;
use crate::snapshot::SnapshotBatch;

const SEEDS: u64 = 2000;
/// Seeds within which a rule that is left out is found.
const FAULT_SEEDS_MAX: u64 = 1000;
const LIVES: u64 = 3;
/// Batches in which everything that changed in a life can be stored.
const REST_BATCHES_MAX: usize = 100;
/// Addresses that a start after a crash passes over.
const CRASH_ADDRESSES: u64 = 1000;
const ROOMS: [&str; 3] = ["hall", "camp", "ship"];

/// What is left out, to see that it is needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// Batches are handed over before the log has what is in them.
    HandedOverEarly,
    /// Deletions leave nothing behind.
    NoTombstones,
    /// Rows do not say as of when they are.
    NoSequences,
}

/// SplitMix64 (Steele, Lea and Flood, 2014).
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ z >> 31) % end as u64) as usize
    }

    pub(super) fn of<T: Copy>(&mut self, all: &[T]) -> Option<T> {
        (!all.is_empty()).then(|| all[self.below(all.len())])
    }
}

/// The objects that batches make, without what is under test.
fn objects_of<'a>(batches: impl IntoIterator<Item = &'a DeltaBatch>) -> BTreeMap<u64, Object> {
    let mut objects = BTreeMap::new();
    for delta in batches.into_iter().flat_map(|batch| &batch.deltas) {
        match delta {
            Delta::ObjectCreated { object, version, record } => {
                let created = Object::new(*version, Message::from_checked(record));
                assert!(objects.insert(*object, created).is_none());
            }
            Delta::ObjectChanged { object, version, changes } => {
                let object: &mut Object = objects.get_mut(object).unwrap();
                object.change(*version, Message::from_checked(changes));
            }
            Delta::ObjectDeleted { object } => {
                objects.remove(object).unwrap();
            }
            _ => {}
        }
    }
    objects
}

/// A node that crashes again and again.
struct Node {
    random: Random,
    fault: Option<Fault>,
    /// Its `deltas` are the log.
    world: World,
    /// So many of them are on the disk for sure.
    durable_count: usize,
    store: Store,
    /// Handed over and not written yet.
    handed: VecDeque<SnapshotBatch>,
    crashes: u64,
    /// Every object that was ever made, also those that a crash has undone.
    made: Vec<u64>,
    /// Batches of the log that were looked at for that.
    looked_at: usize,
}

impl Node {
    fn new(seed: u64, fault: Option<Fault>) -> Self {
        let mut world = World::with_settings(logged_settings());
        world.takes_snapshots = false;
        Self {
            random: Random(seed),
            fault,
            world,
            durable_count: 0,
            store: Store::default(),
            handed: VecDeque::new(),
            crashes: 0,
            made: Vec::new(),
            looked_at: 0,
        }
    }

    fn live(&mut self) {
        self.world.run("1 open ; 1 login user=ann");
        for _ in 0..20 + self.random.below(80) {
            match self.random.below(10) {
                0..=4 => self.change(),
                5 | 6 => self.log(),
                7 | 8 => self.snapshot(),
                _ => self.write(),
            }
        }
    }

    fn change(&mut self) {
        // Some of them are gone already.
        let newest = self.made.len().saturating_sub(8);
        let object = self.random.of(&self.made[newest..]).map(|id| ObjectId(id).to_string());
        let room = ROOMS[self.random.below(ROOMS.len())];
        let line = match (self.random.below(10), object) {
            (0 | 1, _) | (_, None) => {
                let at = [9, 10, 64, PartitionId::of_name(room).0][self.random.below(4)];
                format!("1 create kind=k partition={at}")
            }
            (2 | 3, _) => format!("1 create kind=room room={room}"),
            (4, _) => format!("1 join room={room}"),
            (5, _) => format!("1 leave room={room}"),
            (6, Some(object)) => format!("1 set object={object} a={}", self.random.below(9)),
            (7, Some(object)) => format!("1 set object={object} room={room}"),
            (_, Some(object)) => format!("1 delete object={object}"),
        };
        self.world.run(&line);
        for batch in &self.world.deltas[self.looked_at..] {
            for delta in &batch.deltas {
                if let Delta::ObjectCreated { object, .. } = delta {
                    self.made.push(*object);
                }
            }
        }
        self.looked_at = self.world.deltas.len();
    }

    /// The log has some more, and says so.
    fn log(&mut self) {
        let more = self.random.below(self.world.deltas.len() - self.durable_count + 1);
        self.durable_count += more;
        self.tell_durable(self.durable_count);
    }

    fn tell_durable(&mut self, count: usize) {
        let more = count.saturating_sub(self.world.durable_count);
        self.world.run(&format!("log {more}"));
    }

    fn snapshot(&mut self) {
        if self.random.below(8) == 0 {
            self.world.run("+60000");
        }
        let objects_max = 1 + self.random.below(3);
        if self.fault == Some(Fault::HandedOverEarly) {
            // The shard is told what the log does not have.
            self.tell_durable(self.world.deltas.len());
        }
        let batch = self.world.shard.take_snapshot_of(self.world.now, objects_max);
        self.handed.extend(batch);
    }

    fn write(&mut self) {
        let Some(batch) = self.handed.pop_front() else { return };
        self.store.write(&batch);
        match self.fault {
            Some(Fault::NoSequences) => {
                for ((_, sequence), _) in self.store.objects.values_mut() {
                    *sequence = Sequence(0);
                }
            }
            Some(Fault::NoTombstones) => self.store.tombstones.clear(),
            Some(Fault::HandedOverEarly) | None => {}
        }
    }

    /// The end comes: some more has reached the disk than anybody knows. Then the next start.
    fn crash(&mut self) -> Result<(), String> {
        for _ in 0..self.random.below(self.handed.len() + 1) {
            self.write();
        }
        self.handed.clear();
        let (all, made) = (self.world.deltas.len(), self.world.shard.objects_digest());
        let kept = self.durable_count + self.random.below(all - self.durable_count + 1);
        let log: Vec<DeltaBatch> = self.world.deltas.drain(..).take(kept).collect();
        self.crashes += 1;
        for next in self.store.next_addresses.values_mut() {
            *next = Address::new(next.get() + CRASH_ADDRESSES).unwrap();
        }
        let first = Address::new(1 + self.crashes * CRASH_ADDRESSES).unwrap();
        let mut shard = Shard::new(logged_settings());
        let now = self.world.now;
        let told = |error| format!("{error:?}");
        self.store.load(&mut shard, now).map_err(told)?;
        for batch in &log {
            // Some of what the positions have passed is no longer there.
            let position = self.store.positions.get(&batch.group_id());
            let is_needed = position.is_none_or(|position| batch.sequence > position.0);
            if is_needed || self.random.below(2) == 0 {
                shard.replay_stored(now, batch).map_err(told)?;
            }
        }
        shard.restored(first).map_err(told)?;
        check_same(&shard, &objects_of(&log))?;
        if kept == all && shard.objects_digest() != made {
            return Err("the digest is another one".into());
        }
        for group in (0..GROUP_COUNT as u16).map(GroupId) {
            let of_group = log.iter().filter(|batch| batch.group_id() == group);
            let last = of_group.map(|batch| batch.sequence).max().unwrap_or(0);
            assert_eq!(shard.durable_sequence(group), Sequence(last), "{group:?}");
        }
        self.looked_at = log.len();
        self.world.shard = shard;
        (self.durable_count, self.world.durable_count, self.world.deltas) = (kept, kept, log);
        Ok(())
    }
}

fn check_same(shard: &Shard, expected: &BTreeMap<u64, Object>) -> Result<(), String> {
    let mut found = 0;
    for partition in (0..=u16::MAX).map(PartitionId) {
        let Some(partition) = shard.partition(partition) else { continue };
        for (id, object) in partition.objects_after(Address::new(0).unwrap()) {
            found += 1;
            let expected = expected.get(&id.0).ok_or_else(|| format!("{id} is there"))?;
            if (object.version(), object.record()) != (expected.version(), expected.record()) {
                return Err(format!("{id} is {object:?}, was {expected:?}"));
            }
        }
    }
    if found != expected.len() {
        return Err(format!("{found} of {} objects", expected.len()));
    }
    Ok(())
}

fn run_seed(seed: u64, fault: Option<Fault>) -> Result<(), String> {
    let mut node = Node::new(seed, fault);
    for _ in 0..LIVES {
        node.live();
        node.crash()?;
    }
    // At rest, everything is stored, no deletion is remembered, and no log is needed.
    node.world.run("+60000");
    node.tell_durable(node.world.deltas.len());
    for _ in 0..REST_BATCHES_MAX {
        let batch = node.world.shard.take_snapshot(node.world.now);
        node.handed.extend(batch);
        node.write();
    }
    let shard = &node.world.shard;
    let is_left = shard.snapshot_due_ns().is_some() || shard.waiting_snapshot_count() > 0;
    if is_left || !node.store.tombstones.is_empty() {
        return Err("something is left".into());
    }
    let made = node.made.len();
    node.made.sort_unstable();
    node.made.dedup();
    assert_eq!(node.made.len(), made, "an address was given away again");
    let restored = node.store.restored(Limits::PRODUCTION, node.world.now);
    check_same(&restored, &objects_of(&node.world.deltas))
}

#[test]
fn what_is_stored_and_the_log_make_what_the_log_has() {
    for seed in 0..SEEDS {
        run_seed(seed, None).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
    }
}

#[test]
fn none_of_the_rules_can_be_left_out() {
    for fault in [Fault::HandedOverEarly, Fault::NoTombstones, Fault::NoSequences] {
        let mut seeds = 0..FAULT_SEEDS_MAX;
        let found = seeds.find_map(|seed| Some((seed, run_seed(seed, Some(fault)).err()?)));
        let (seed, error) = found.unwrap_or_else(|| panic!("{fault:?} is not found"));
        std::println!("{fault:?}: seed {seed}: {error}");
    }
}
