//! The way back at a start: what was stored, and then what the log has beyond it.
//!
//! Rows and tombstones are of different moments, each newer than its group's position or as old. A
//! replay takes every object from its own moment to the end of the log. Two objects never have one
//! name meanwhile: the objects of a group are handed over in the order in which they changed, so
//! where the later one is stored the deletion of the earlier one is stored too, and where it is not,
//! the log has them in order.

use alloc::collections::BTreeMap;

use super::Shard;
use super::snapshots::changed_object;
use crate::delta::{Delta, DeltaBatch};
use crate::ids::{Address, GROUP_COUNT, GroupId, ObjectId, PartitionId, Sequence};
use crate::message::Message;
use crate::snapshot::RestoreError;
use crate::turn::Now;

/// What only a start has to know.
#[derive(Debug, Default)]
pub(super) struct Restoring {
    /// Up to where what is stored needs no replay.
    positions: BTreeMap<GroupId, u64>,
    /// Objects and deletions that are stored as of a later sequence than their group's position.
    known: BTreeMap<ObjectId, u64>,
    /// Where partitions go on, for what is created from now on: a replay creates below it.
    next_addresses: BTreeMap<PartitionId, Address>,
}

impl Shard {
    /// At a start, before the group's objects: up to this position everything is stored.
    pub fn restore_group(&mut self, group: GroupId, position: Sequence) {
        self.set_group_end(group, position);
        self.restoring.positions.insert(group, position.0);
        if let Some(changed) = self.changed.as_mut() {
            changed.restore(group, position.0);
        }
    }

    /// At a start: an object as it was stored, as of this sequence of its group (0: as of the group's
    /// position); those of one partition in the order of their addresses. It takes the way of every
    /// other change.
    ///
    /// # Errors
    /// [`RestoreError`] when it cannot belong to this state, which is then as before.
    pub fn restore_object(
        &mut self,
        now: Now,
        object: ObjectId,
        (version, sequence): (u64, Sequence),
        record: &[u8],
    ) -> Result<(), RestoreError> {
        self.now = now;
        self.begin_restoring_tasks();
        self.check_created(object, version, record)?;
        let (id, record) = (object, record.to_vec());
        let delta = Delta::ObjectCreated { object: object.0, version, record };
        self.apply(id.partition(), &delta);
        self.note_known(object, sequence);
        self.note_empty_room(id);
        Ok(())
    }

    /// At a start, behind the objects of its partition: an object that was deleted, which is known up to
    /// this sequence.
    ///
    /// # Errors
    /// [`RestoreError::DeletedAndPresent`] when it is there.
    pub fn restore_tombstone(
        &mut self,
        object: ObjectId,
        sequence: Sequence,
    ) -> Result<(), RestoreError> {
        let partition = self.partition(object.partition());
        if partition.is_some_and(|partition| partition.object(object).is_some()) {
            return Err(RestoreError::DeletedAndPresent);
        }
        self.note_known(object, sequence);
        if let Some(changed) = self.changed.as_mut() {
            changed.restore_tombstone(object, sequence.0);
        }
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
        if next < self.partition_mut(partition).next_address() {
            return Err(RestoreError::AddressUnknown);
        }
        self.restoring.next_addresses.insert(partition, next);
        Ok(())
    }

    /// At a start, behind all that was stored: the next batch of the log. What is stored already is
    /// skipped, object by object. So is what concerns sessions, which do not outlive a restart. What is
    /// left counts as changed, to be stored.
    ///
    /// # Errors
    /// [`RestoreError`]: the log and what is stored are not of one state, and this shard's is none.
    pub fn replay_stored(&mut self, now: Now, batch: &DeltaBatch) -> Result<(), RestoreError> {
        self.now = now;
        self.begin_restoring_tasks();
        let group = batch.group_id();
        if usize::from(group.0) >= GROUP_COUNT {
            return Err(RestoreError::GroupUnknown);
        }
        let position = self.restoring.positions.get(&group).copied().unwrap_or(0);
        if batch.sequence <= position {
            return Ok(());
        }
        let last = self.group_sequences[usize::from(group.0)];
        if batch.sequence != last + 1 {
            return Err(RestoreError::SequenceSkipped);
        }
        let due_ns = self.snapshot_interval_end_ns();
        for delta in &batch.deltas {
            let Some(object) = changed_object(delta) else { continue };
            if object.partition().group() != group {
                return Err(RestoreError::GroupUnknown);
            }
            if self.restoring.known.get(&object).is_some_and(|known| batch.sequence <= *known) {
                continue;
            }
            self.check_delta(object, delta)?;
            self.apply(object.partition(), delta);
            self.note_empty_room(object);
            self.note_change(object, batch.sequence, due_ns);
        }
        self.set_group_end(group, batch.sequence_id());
        self.note_position_due(group);
        Ok(())
    }

    /// At a start, behind everything else: partitions of which nothing was stored give away
    /// addresses from this one on.
    ///
    /// # Errors
    /// [`RestoreError::LogTooShort`] when something is stored as of a sequence that neither a position
    /// nor a replay has reached: the others would be older.
    pub fn restored(&mut self, first_address: Address) -> Result<(), RestoreError> {
        let restoring = core::mem::take(&mut self.restoring);
        for (object, known) in &restoring.known {
            let group = object.partition().group();
            let end = self.group_sequences[usize::from(group.0)];
            if end < *known {
                let (known, end) = (Sequence(*known), Sequence(end));
                return Err(RestoreError::LogTooShort { group, known, end });
            }
        }
        self.first_address = first_address;
        for partition in self.partitions.iter_mut().flatten() {
            let next = restoring.next_addresses.get(&partition.id()).copied();
            partition.skip_addresses(next.unwrap_or(first_address));
        }
        self.tasks_restored();
        if let Some(changed) = self.changed.as_mut() {
            changed.sort_tombstones();
            let now_ns = self.now.monotonic_ns;
            for group in restoring.positions.keys() {
                let last = self.group_sequences[usize::from(group.0)];
                changed.look_for_more(*group, now_ns, self.settings.has_log.then_some(last));
            }
        }
        Ok(())
    }

    /// A number that is equal for equal objects, of whichever shards and in whatever order.
    /// Sessions, memberships and the numbering of rooms are no part of it: they do not outlive a
    /// restart.
    #[must_use]
    pub fn objects_digest(&self) -> u64 {
        let partitions = self.partitions.iter().flatten();
        partitions.fold(0, |sum, partition| sum.wrapping_add(partition.objects_digest()))
    }

    /// Up to which sequence this shard has the group.
    #[must_use]
    pub fn group_end(&self, group: GroupId) -> Sequence {
        Sequence(self.group_sequences[usize::from(group.0)])
    }

    fn set_group_end(&mut self, group: GroupId, end: Sequence) {
        self.group_sequences[usize::from(group.0)] = end.0;
        self.durable_sequences[usize::from(group.0)] = end.0;
    }

    /// Where a row is no newer than the position, the replay begins behind it anyway.
    fn note_known(&mut self, object: ObjectId, sequence: Sequence) {
        let group = object.partition().group();
        let position = self.restoring.positions.get(&group).copied().unwrap_or(0);
        if sequence.0 > position {
            self.restoring.known.insert(object, sequence.0);
        }
    }

    fn check_created(
        &mut self,
        object: ObjectId,
        version: u64,
        record: &[u8],
    ) -> Result<(), RestoreError> {
        let message = Message::parse(record).map_err(|_| RestoreError::RecordMalformed)?;
        self.partition_mut(object.partition()).check_restored(object, version, message)
    }

    /// Whether the delta follows from what is there.
    fn check_delta(&mut self, object: ObjectId, delta: &Delta) -> Result<(), RestoreError> {
        match delta {
            Delta::ObjectCreated { version, record, .. } => {
                self.check_created(object, *version, record)
            }
            Delta::ObjectChanged { version, changes, .. } => {
                let changes = Message::parse(changes).map_err(|_| RestoreError::RecordMalformed)?;
                self.partition_mut(object.partition()).check_changed(object, *version, changes)
            }
            // What is gone already has a tombstone, or the position has passed it.
            _ => match self.partition_mut(object.partition()).object(object) {
                Some(_) => Ok(()),
                None => Err(RestoreError::ObjectMissing),
            },
        }
    }
}
