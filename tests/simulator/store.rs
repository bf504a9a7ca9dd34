//! Where a shard's snapshot goes: batches are written late, and a crash may come between any two.
//! Whatever was written must be loadable, and all of it must be the whole state.

use std::collections::{BTreeMap, VecDeque};

use warren::shard_turn::ShardTurn;
use warren_core::delta::DeltaBatch;
use warren_core::ids::{Address, GroupId, ObjectId, PARTITION_COUNT, PartitionId, Sequence};
use warren_core::partition::FIRST_ADDRESS;
use warren_core::shard::Shard;
use warren_core::snapshot::{SnapshotBatch, StoredState};
use warren_core::turn::Now;

/// What one shard has stored.
#[derive(Debug, Default)]
pub(crate) struct ModelStore {
    /// Handed over and not written yet.
    waiting: VecDeque<SnapshotBatch>,
    objects: BTreeMap<ObjectId, ((u64, Sequence), Vec<u8>)>,
    tombstones: BTreeMap<ObjectId, Sequence>,
    next_addresses: BTreeMap<PartitionId, Address>,
    positions: BTreeMap<GroupId, Sequence>,
}

impl ModelStore {
    pub(crate) fn push(&mut self, batch: SnapshotBatch) {
        self.waiting.push_back(batch);
    }

    /// Writes the oldest batch, and says whether there was one.
    pub(crate) fn write_next(&mut self) -> bool {
        let Some(batch) = self.waiting.pop_front() else { return false };
        for (id, state) in &batch.objects {
            match *state {
                StoredState::Present { version, record } => {
                    let record = batch.record(record).as_bytes().to_vec();
                    let known = (version, batch.sequence());
                    let older = self.objects.insert(*id, (known, record));
                    let older = older.map_or(0, |((version, _), _)| version);
                    assert!(older <= version, "an older version was stored over a newer one");
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
        self.next_addresses.extend(batch.next_addresses);
        let known = self.positions.insert(batch.group, batch.position);
        assert!(known.is_none_or(|known| known <= batch.position), "a position went back");
        true
    }

    /// A start with what is stored now, and what is in a log.
    pub(crate) fn check_restores(&self, mut shard: Shard, log: &[DeltaBatch], now: Now) -> Shard {
        for (group, position) in &self.positions {
            shard.restore_group(*group, *position);
        }
        for (id, (known, record)) in &self.objects {
            let restored = shard.restore_object(now, *id, *known, record);
            restored.expect("what was stored can be loaded");
        }
        for (id, sequence) in &self.tombstones {
            let restored = shard.restore_tombstone(*id, *sequence);
            restored.expect("what was deleted is not there");
        }
        for (partition, next) in &self.next_addresses {
            let restored = shard.restore_addresses(*partition, *next);
            restored.expect("every stored object has an address that was given away");
        }
        for batch in log {
            let replayed = shard.replay_stored(now, batch);
            replayed.expect("the log follows from what was stored");
        }
        shard.restored(FIRST_ADDRESS).expect("nothing is stored that the log does not have");
        shard
    }

    /// When everything is stored, a start makes the state that the shard has.
    pub(crate) fn check_complete(&mut self, live: &mut ShardTurn, fresh: Shard, now: Now) {
        while let Some(batch) = live.take_snapshot(now) {
            self.push(batch);
        }
        while self.write_next() {}
        let restored = self.check_restores(fresh, &[], now);
        assert!(live.shard().waiting_snapshot_count() == 0, "a batch waits for a log that has all");
        assert!(self.tombstones.is_empty(), "a deletion is remembered for no replay");
        let live = live.shard();
        assert!(live.objects_digest() == restored.objects_digest(), "a restart made other objects");
        for number in 0..PARTITION_COUNT {
            let id = PartitionId(u16::try_from(number).expect("partitions have 16 bits"));
            let next = |shard: &Shard| shard.partition(id)?.object_after_next(0);
            let first = |next: &ObjectId| next.address().get() > 1;
            assert!(
                next(live).filter(first) == next(&restored).filter(first),
                "a restart gives addresses of partition {number} away again"
            );
        }
    }
}
