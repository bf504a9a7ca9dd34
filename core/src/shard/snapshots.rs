//! Changed objects, until they are handed over to be stored; and the way back at a start.

use alloc::collections::{BTreeSet, VecDeque};
use alloc::vec;
use alloc::vec::Vec;

use super::Shard;
use crate::delta::{Delta, DeltaBatch};
use crate::ids::{Address, GROUP_COUNT, GroupId, ObjectId, PartitionId, Sequence};
use crate::message::Message;
use crate::partition::Partition;
use crate::snapshot::{
    RestoreError, SNAPSHOT_BATCH_BYTES_MAX, SNAPSHOT_BATCH_OBJECTS_MAX, SnapshotBatch, StoredState,
};
use crate::turn::{Now, Span};

/// An object that changed since it was last handed over.
#[derive(Clone, Copy, Debug)]
struct ChangedObject {
    object: ObjectId,
    /// Of the batch that changed it first.
    sequence: u64,
    /// When it is to be handed over.
    due_ns: u64,
}

/// Objects that changed and were not handed over yet. A deletion is a change like any other.
#[derive(Debug)]
pub(super) struct ChangedObjects {
    /// By group, in the order in which they first changed.
    groups: Vec<VecDeque<ChangedObject>>,
    /// Groups with changed objects, each with the time at which its oldest change is to be handed
    /// over: however busy a group is, the others get their turn by age.
    due: BTreeSet<(u64, GroupId)>,
    count: usize,
}

impl ChangedObjects {
    pub(super) fn new() -> Self {
        Self { groups: vec![VecDeque::new(); GROUP_COUNT], due: BTreeSet::new(), count: 0 }
    }

    fn push(&mut self, changed: ChangedObject) {
        let group = changed.object.partition().group();
        let queue = &mut self.groups[usize::from(group.0)];
        if queue.is_empty() {
            self.due.insert((changed.due_ns, group));
        }
        queue.push_back(changed);
        self.count += 1;
    }
}

impl Shard {
    /// Objects that changed and were not handed over yet.
    #[must_use]
    pub fn changed_object_count(&self) -> usize {
        self.changed.as_ref().map_or(0, |changed| changed.count)
    }

    /// Whether so many changes wait to be stored that no more are taken.
    pub(super) fn is_storage_behind(&self) -> bool {
        self.changed_object_count() >= self.settings.limits.changed_objects_max
    }

    /// When the next batch is to be taken, in nanoseconds.
    #[must_use]
    pub fn snapshot_due_ns(&self) -> Option<u64> {
        self.changed.as_ref()?.due.first().map(|(due_ns, _)| *due_ns)
    }

    /// The next batch of the snapshot, whether it is due or not. Its objects count as stored from
    /// now on: whoever takes a batch must not lose it.
    pub fn take_snapshot(&mut self, now: Now) -> Option<SnapshotBatch> {
        let changed = self.changed.as_mut()?;
        let (_, group) = changed.due.pop_first()?;
        let queue = &mut changed.groups[usize::from(group.0)];
        let mut batch = SnapshotBatch {
            group,
            epoch: self.settings.routing.epoch_of(group),
            position: Sequence(0),
            taken_ms: now.wall_ms,
            objects: Vec::with_capacity(queue.len().min(SNAPSHOT_BATCH_OBJECTS_MAX)),
            next_addresses: Vec::new(),
            bytes: Vec::new(),
        };
        while batch.objects.len() < SNAPSHOT_BATCH_OBJECTS_MAX
            && batch.bytes.len() < SNAPSHOT_BATCH_BYTES_MAX
            && let Some(next) = queue.pop_front()
        {
            changed.count -= 1;
            let partition = &mut self.partitions[usize::from(next.object.partition().0)];
            let partition = partition.as_mut().expect("a partition that changed is there");
            add_object(&mut batch, next.object, partition);
        }
        // What changed before the first of the others is in this batch or in an earlier one.
        let end = self.group_sequences[usize::from(group.0)];
        batch.position = Sequence(queue.front().map_or(end, |next| next.sequence - 1));
        match queue.front() {
            Some(oldest) => {
                changed.due.insert((oldest.due_ns, group));
            }
            // A burst's memory is given back.
            None => *queue = VecDeque::new(),
        }
        Some(batch)
    }

    /// Notes what a batch changed, to be handed over.
    pub(super) fn note_changes(&mut self, batch: &DeltaBatch) {
        let Some(changed) = self.changed.as_mut() else { return };
        let due_ns = self.now.monotonic_ns + self.settings.snapshot_interval_ns.unwrap_or(0);
        for delta in &batch.deltas {
            let (Delta::ObjectCreated { object, .. }
            | Delta::ObjectChanged { object, .. }
            | Delta::ObjectDeleted { object }) = delta
            else {
                continue;
            };
            let object = ObjectId(*object);
            let partition = &mut self.partitions[usize::from(object.partition().0)];
            let partition = partition.as_mut().expect("a partition that changed is there");
            // An object that waits already is handed over as it will be then. One that is gone
            // is not asked: handing over a deletion twice does no harm.
            if partition.mark_changed(object.address(), true) != Some(true) {
                changed.push(ChangedObject { object, sequence: batch.sequence, due_ns });
            }
        }
    }

    /// At a start: the group goes on behind this position.
    pub fn restore_group(&mut self, group: GroupId, position: Sequence) {
        self.group_sequences[usize::from(group.0)] = position.0;
        self.durable_sequences[usize::from(group.0)] = position.0;
    }

    /// At a start: an object as it was stored; those of one partition in the order of their
    /// addresses. It takes the way of every other change.
    ///
    /// # Errors
    /// [`RestoreError`] when it cannot belong to this state, which is then as before.
    pub fn restore_object(
        &mut self,
        now: Now,
        object: ObjectId,
        version: u64,
        record: &[u8],
    ) -> Result<(), RestoreError> {
        self.now = now;
        let message = Message::parse(record).map_err(|_| RestoreError::RecordMalformed)?;
        let partition = self.partition_mut(object.partition());
        partition.check_restored(object, version, message)?;
        let (id, record) = (object, record.to_vec());
        let delta = Delta::ObjectCreated { object: object.0, version, record };
        self.apply(id.partition(), &delta);
        self.note_empty_room(id);
        Ok(())
    }

    /// At a start, behind the partition's objects: the addresses below `next` were given away.
    ///
    /// # Errors
    /// [`RestoreError::AddressUnknown`] when an object is there that has none of them.
    pub fn restore_addresses(
        &mut self,
        partition: PartitionId,
        next: Address,
    ) -> Result<(), RestoreError> {
        self.partition_mut(partition).restore_addresses(next)
    }

    /// At a start, behind everything else: partitions of which nothing was stored give away
    /// addresses from this one on.
    pub fn restored(&mut self, first_address: Address) {
        self.first_address = first_address;
    }

    /// A number that is equal for equal objects, of whichever shards and in whatever order.
    /// Sessions, memberships and the numbering of rooms are no part of it: they do not outlive a
    /// restart.
    #[must_use]
    pub fn objects_digest(&self) -> u64 {
        let partitions = self.partitions.iter().flatten();
        partitions.fold(0, |sum, partition| sum.wrapping_add(partition.objects_digest()))
    }
}

fn add_object(batch: &mut SnapshotBatch, id: ObjectId, partition: &mut Partition) {
    let state = match partition.object(id) {
        None => StoredState::Deleted,
        Some(object) => {
            let start = batch.bytes.len();
            batch.bytes.extend_from_slice(object.record().as_bytes());
            let record = Span::since(start, &batch.bytes);
            StoredState::Present { version: object.version(), record }
        }
    };
    partition.mark_changed(id.address(), false);
    batch.objects.push((id, state));
    let known = |(known, _): &(PartitionId, Address)| *known == id.partition();
    if !batch.next_addresses.iter().any(known) {
        batch.next_addresses.push((id.partition(), partition.next_address()));
    }
}
