//! Changed objects, until they are handed over to be stored. The way back is `shard/restore.rs`.

use alloc::collections::{BTreeSet, VecDeque};
use alloc::vec::Vec;

use super::Shard;
use crate::delta::{Delta, DeltaBatch};
use crate::ids::{Address, GROUP_COUNT, GroupId, ObjectId, PartitionId, Sequence};
use crate::partition::Partition;
use crate::snapshot::{
    POSITION_INTERVAL_NS, SNAPSHOT_BATCH_BYTES_MAX, SNAPSHOT_BATCH_OBJECTS_MAX,
    SNAPSHOT_BATCHES_WAITING_MAX, SnapshotBatch, StoredState,
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

/// What of a group was not handed over yet.
#[derive(Debug, Default)]
struct ChangedGroup {
    /// In the order in which they first changed.
    queue: VecDeque<ChangedObject>,
    /// When the next batch is to be made, as it stands among those that are due.
    due_ns: Option<u64>,
    /// Of the last batch that was made, or that is stored.
    position: u64,
    /// Deletions that are stored with these sequences, the oldest first: a replay from the position
    /// would meet them. There are no more than changes waited at once.
    tombstones: VecDeque<(u64, ObjectId)>,
    /// A batch of it waits for the log.
    is_waiting: bool,
}

/// Objects that changed and were not handed over yet. A deletion is a change like any other.
#[derive(Debug)]
pub(super) struct ChangedObjects {
    groups: Vec<ChangedGroup>,
    /// Groups of which there is something to hand over, each with the time for it: however busy a
    /// group is, the others get their turn by age.
    due: BTreeSet<(u64, GroupId)>,
    /// Batches that hold more than the log has, one of a group at most.
    waiting: VecDeque<SnapshotBatch>,
    count: usize,
}

impl ChangedObjects {
    pub(super) fn new() -> Self {
        let groups = (0..GROUP_COUNT).map(|_| ChangedGroup::default()).collect();
        Self { groups, due: BTreeSet::new(), waiting: VecDeque::new(), count: 0 }
    }

    fn push(&mut self, changed: ChangedObject) {
        let group = changed.object.partition().group();
        self.groups[usize::from(group.0)].queue.push_back(changed);
        self.count += 1;
        self.set_due(group, changed.due_ns);
    }

    /// The group's next batch is to be made then, if not before. What comes behind a batch that
    /// waits is looked at when that one has gone.
    pub(super) fn set_due(&mut self, group: GroupId, due_ns: u64) {
        let entry = &mut self.groups[usize::from(group.0)];
        if entry.is_waiting || entry.due_ns.is_some_and(|known_ns| known_ns <= due_ns) {
            return;
        }
        if let Some(later_ns) = entry.due_ns.replace(due_ns) {
            self.due.remove(&(later_ns, group));
        }
        self.due.insert((due_ns, group));
    }

    /// Looks after a batch of the group whether there is more, and when it is due. `last` is the
    /// group's last sequence where there is a log.
    pub(super) fn look_for_more(&mut self, group: GroupId, now_ns: u64, last: Option<u64>) {
        let entry = &self.groups[usize::from(group.0)];
        let is_forgettable = |(sequence, _): &(u64, ObjectId)| *sequence <= entry.position;
        if let Some(oldest) = entry.queue.front() {
            self.set_due(group, oldest.due_ns);
        } else if entry.tombstones.front().is_some_and(is_forgettable) {
            self.set_due(group, now_ns);
        } else if last.is_some_and(|last| entry.position < last) {
            self.set_due(group, now_ns.saturating_add(POSITION_INTERVAL_NS));
        }
    }

    /// What a start has found: the position, and deletions in any order.
    pub(super) fn restore(&mut self, group: GroupId, position: u64) {
        self.groups[usize::from(group.0)].position = position;
    }

    /// A deletion that is stored.
    pub(super) fn restore_tombstone(&mut self, object: ObjectId, sequence: u64) {
        let group = &mut self.groups[usize::from(object.partition().group().0)];
        group.tombstones.push_back((sequence, object));
    }

    /// All deletions have been found.
    pub(super) fn sort_tombstones(&mut self) {
        for group in &mut self.groups {
            group.tombstones.make_contiguous().sort_unstable();
        }
    }
}

impl Shard {
    /// Objects that changed and were not handed over yet.
    #[must_use]
    pub fn changed_object_count(&self) -> usize {
        self.changed.as_ref().map_or(0, |changed| changed.count)
    }

    /// Batches of the snapshot that wait until the log has what is in them.
    #[must_use]
    pub fn waiting_snapshot_count(&self) -> usize {
        self.changed.as_ref().map_or(0, |changed| changed.waiting.len())
    }

    /// Whether so many changes wait to be stored that no more are taken.
    pub(super) fn is_storage_behind(&self) -> bool {
        self.changed_object_count() >= self.settings.limits.changed_objects_max
    }

    /// When [`take_snapshot`](Self::take_snapshot) is to be called next, in nanoseconds; none: when
    /// something has changed, or the log has more.
    #[must_use]
    pub fn snapshot_due_ns(&self) -> Option<u64> {
        let changed = self.changed.as_ref()?;
        if changed.waiting.iter().any(|batch| self.is_covered(batch)) {
            return Some(0);
        }
        if changed.waiting.len() >= SNAPSHOT_BATCHES_WAITING_MAX {
            return None;
        }
        changed.due.first().map(|(due_ns, _)| *due_ns)
    }

    /// The next batch of the snapshot, whether it is due or not: one that has waited for the log, or a
    /// new one, if the log has all that is in it. So none may come although there is more, which waits
    /// then. What was taken counts as stored from now on: whoever takes a batch must not lose it.
    pub fn take_snapshot(&mut self, now: Now) -> Option<SnapshotBatch> {
        self.take_snapshot_of(now, SNAPSHOT_BATCH_OBJECTS_MAX)
    }

    pub(super) fn take_snapshot_of(
        &mut self,
        now: Now,
        objects_max: usize,
    ) -> Option<SnapshotBatch> {
        let batch = match self.take_covered() {
            Some(batch) => batch,
            None => {
                let batch = self.make_snapshot(now, objects_max)?;
                if !self.is_covered(&batch) {
                    let changed = self.changed.as_mut().expect("it has made a batch");
                    changed.groups[usize::from(batch.group.0)].is_waiting = true;
                    changed.waiting.push_back(batch);
                    return None;
                }
                batch
            }
        };
        let last = self.group_sequences[usize::from(batch.group.0)];
        let last = self.settings.has_log.then_some(last);
        let changed = self.changed.as_mut().expect("it has made a batch");
        changed.groups[usize::from(batch.group.0)].is_waiting = false;
        changed.look_for_more(batch.group, now.monotonic_ns, last);
        Some(batch)
    }

    /// Whether the log has all that is in the batch. What is stored must never be newer than the log:
    /// after a crash a replay could not take the others there.
    fn is_covered(&self, batch: &SnapshotBatch) -> bool {
        batch.covers.is_none_or(|covers| covers <= self.durable_sequence(batch.group))
    }

    /// The oldest batch that has waited for long enough.
    fn take_covered(&mut self) -> Option<SnapshotBatch> {
        let waiting = &self.changed.as_ref()?.waiting;
        let at = waiting.iter().position(|batch| self.is_covered(batch))?;
        self.changed.as_mut()?.waiting.remove(at)
    }

    /// Makes a batch of the group whose turn it is, unless as many wait as may.
    fn make_snapshot(&mut self, now: Now, objects_max: usize) -> Option<SnapshotBatch> {
        let changed = self.changed.as_mut()?;
        if changed.waiting.len() >= SNAPSHOT_BATCHES_WAITING_MAX {
            return None;
        }
        let (_, id) = changed.due.pop_first()?;
        let group = &mut changed.groups[usize::from(id.0)];
        group.due_ns = None;
        let last = self.group_sequences[usize::from(id.0)];
        let mut batch = SnapshotBatch {
            group: id,
            epoch: self.settings.routing.epoch_of(id),
            covers: self.settings.has_log.then_some(Sequence(last)),
            position: Sequence(0),
            taken_ms: now.wall_ms,
            objects: Vec::with_capacity(group.queue.len().min(objects_max)),
            forgotten: Vec::new(),
            next_addresses: Vec::new(),
            bytes: Vec::new(),
        };
        while batch.objects.len() < objects_max
            && batch.bytes.len() < SNAPSHOT_BATCH_BYTES_MAX
            && let Some(next) = group.queue.pop_front()
        {
            changed.count -= 1;
            let partition = &mut self.partitions[usize::from(next.object.partition().0)];
            let partition = partition.as_mut().expect("a partition that changed is there");
            add_object(&mut batch, next.object, partition);
        }
        // What changed before the first of the others is in this batch or in an earlier one.
        let position = group.queue.front().map_or(last, |next| next.sequence - 1);
        assert!(position >= group.position, "positions do not go back");
        (group.position, batch.position) = (position, Sequence(position));
        if group.queue.is_empty() {
            // A burst's memory is given back.
            group.queue = VecDeque::new();
        }
        group.bury(&mut batch, objects_max);
        Some(batch)
    }

    /// Notes what a batch changed, to be handed over.
    pub(super) fn note_changes(&mut self, batch: &DeltaBatch) {
        let due_ns = self.snapshot_interval_end_ns();
        for delta in &batch.deltas {
            if let Some(object) = changed_object(delta) {
                self.note_change(object, batch.sequence, due_ns);
            }
        }
        self.note_position_due(batch.group_id());
    }

    /// Notes that an object has changed, to be handed over then.
    pub(super) fn note_change(&mut self, object: ObjectId, sequence: u64, due_ns: u64) {
        let Some(changed) = self.changed.as_mut() else { return };
        let partition = &mut self.partitions[usize::from(object.partition().0)];
        let partition = partition.as_mut().expect("a partition that changed is there");
        // An object that waits already is handed over as it will be then. One that is gone
        // is not asked: handing over a deletion twice does no harm.
        if partition.mark_changed(object.address(), true) != Some(true) {
            changed.push(ChangedObject { object, sequence, due_ns });
        }
    }

    /// The group's position is to follow its last sequence, whatever that has changed: segments of the
    /// log wait for it.
    pub(super) fn note_position_due(&mut self, group: GroupId) {
        let due_ns = self.now.monotonic_ns.saturating_add(POSITION_INTERVAL_NS);
        if let Some(changed) = self.changed.as_mut().filter(|_| self.settings.has_log) {
            changed.set_due(group, due_ns);
        }
    }

    /// When what changes now is to be handed over.
    pub(super) fn snapshot_interval_end_ns(&self) -> u64 {
        self.now.monotonic_ns.saturating_add(self.settings.snapshot_interval_ns.unwrap_or(0))
    }
}

impl ChangedGroup {
    /// Notes the batch's deletions, and lets it take along those that no replay meets any more: so
    /// many more than come at once that they get fewer, and no batch is large.
    fn bury(&mut self, batch: &mut SnapshotBatch, objects_max: usize) {
        let Some(Sequence(covers)) = batch.covers else { return };
        if covers > self.position {
            let deleted = batch.objects.iter().filter(|(_, state)| *state == StoredState::Deleted);
            self.tombstones.extend(deleted.map(|(object, _)| (covers, *object)));
        }
        while batch.forgotten.len() < 2 * objects_max
            && let Some((sequence, object)) = self.tombstones.front().copied()
            && sequence <= self.position
        {
            self.tombstones.pop_front();
            batch.forgotten.push(object);
        }
    }
}

/// The object that the delta creates, changes or deletes.
pub(super) fn changed_object(delta: &Delta) -> Option<ObjectId> {
    match delta {
        Delta::ObjectCreated { object, .. }
        | Delta::ObjectChanged { object, .. }
        | Delta::ObjectDeleted { object } => Some(ObjectId(*object)),
        _ => None,
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
