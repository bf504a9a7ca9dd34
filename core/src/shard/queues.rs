//! What the operator asks of tasks: how they stand, and what is to become of dead ones.

use alloc::vec::Vec;

use super::Shard;
use crate::control::{
    DeadOrder, DeadRow, DeadTasks, PLACES_MAX, Page, PartitionRow, QueueRow, ROWS_MAX, SettledRow,
};
use crate::delta::Delta;
use crate::ids::{ObjectId, PARTITION_COUNT, PartitionId};
use crate::message::Value;
use crate::reason::Reason;
use crate::tasks::TaskEvent;
use crate::tasks::record::{
    FIELD_ATTEMPT, FIELD_DEADLINE, FIELD_ERROR, FIELD_KEY, TaskRecord, TaskState,
};
use crate::turn::ShardOutputs;

impl Shard {
    /// Something has happened to a task that is there.
    pub(super) fn count_task(&mut self, id: ObjectId, event: TaskEvent) {
        self.tasks.index.count(id, event);
        *match event {
            TaskEvent::Taken => &mut self.counters.tasks_taken,
            TaskEvent::Leased => &mut self.counters.tasks_leased,
            TaskEvent::Done => &mut self.counters.tasks_done,
            TaskEvent::Failed => &mut self.counters.tasks_failed,
            TaskEvent::Lost => &mut self.counters.tasks_lost,
            TaskEvent::Expired => &mut self.counters.tasks_expired,
        } += 1;
    }

    /// Queues by the numbers that their methods have here.
    pub(super) fn list_queues(&self, from: u32, count: usize) -> Page<QueueRow, u32> {
        let most = count.min(ROWS_MAX);
        let now_ns = self.now.monotonic_ns;
        let rows: Vec<_> = self.tasks.index.queues_from(from, now_ns).take(most).collect();
        let next = from.saturating_add(u32::try_from(rows.len()).expect("a page has few rows"));
        let has_more = self.tasks.index.queues_from(next, now_ns).next().is_some();
        Page { rows, next: has_more.then_some(next) }
    }

    /// Of some thousand partitions those that have most tasks, the deepest first.
    pub(super) fn deepest_partitions(
        &self,
        from: PartitionId,
        count: usize,
    ) -> Page<PartitionRow, PartitionId> {
        let first = usize::from(from.0);
        let end = (first + PLACES_MAX).min(PARTITION_COUNT);
        let partition = |number| PartitionId(u16::try_from(number).expect("16 bits"));
        let mut rows: Vec<_> = (first..end)
            .map(partition)
            .map(|partition| PartitionRow {
                partition,
                counts: self.tasks.index.counts_of(partition),
            })
            .filter(|row| row.counts.open() + row.counts.dead > 0)
            .collect();
        rows.sort_by_key(|row| core::cmp::Reverse(row.counts.open()));
        rows.truncate(count.min(ROWS_MAX));
        Page { rows, next: (end < PARTITION_COUNT).then(|| partition(end)) }
    }

    pub(super) fn list_dead(
        &self,
        from: ObjectId,
        count: usize,
        method: Option<&str>,
    ) -> Page<DeadRow, ObjectId> {
        let Page { rows, next } = self.dead_tasks(from, count, method);
        let rows = rows.into_iter().map(|id| DeadRow { request: Vec::new(), ..self.dead_row(id) });
        Page { rows: rows.collect(), next }
    }

    /// All of a dead task, if it is one.
    pub(super) fn show_dead(&self, id: ObjectId) -> Option<DeadRow> {
        self.tasks.index.is_dead(id).then(|| self.dead_row(id))
    }

    /// Tries dead tasks again, or removes them: each in a delta batch of its own.
    pub(super) fn settle_dead(
        &mut self,
        order: DeadOrder,
        which: &DeadTasks,
        outputs: &mut ShardOutputs,
    ) -> Page<SettledRow, ObjectId> {
        let Page { rows: tasks, next } = match which {
            DeadTasks::One(task) => Page { rows: alloc::vec![*task], next: None },
            DeadTasks::From { from, count, method } => {
                self.dead_tasks(*from, *count, method.as_deref())
            }
        };
        let settle = |task| {
            let refused = self.settle_one(order, task, outputs).err();
            SettledRow { task, refused }
        };
        Page { rows: tasks.into_iter().map(settle).collect(), next }
    }

    fn settle_one(
        &mut self,
        order: DeadOrder,
        id: ObjectId,
        outputs: &mut ShardOutputs,
    ) -> Result<(), Reason> {
        if !self.tasks.index.is_dead(id) {
            return Err(Reason::UnknownObject);
        }
        if self.is_storage_behind() || self.is_log_behind {
            return Err(Reason::Busy);
        }
        let delta = match order {
            DeadOrder::Drop => Delta::ObjectDeleted { object: id.0 },
            DeadOrder::Retry => self.revived_delta(id)?,
        };
        self.change_task(id, delta, outputs);
        Ok(())
    }

    /// The task waits for a worker again, for as long as it takes. Its key may have been used anew: it is
    /// not done twice.
    fn revived_delta(&self, id: ObjectId) -> Result<Delta, Reason> {
        let (partition, record) = (id.partition(), self.task(id).1);
        let open = self.tasks.index.counts_of(partition).open();
        if open >= self.settings.limits.tasks_per_partition_max as u64 {
            return Err(Reason::QueueFull);
        }
        if let Some(key) = record.text(FIELD_KEY)
            && self.tasks.index.by_key(partition, record.owner(), key).is_some()
        {
            return Err(Reason::TaskPending);
        }
        let fields = [
            (FIELD_ATTEMPT, Value::Integer(0)),
            (FIELD_ERROR, Value::Null),
            (FIELD_DEADLINE, Value::Null),
        ];
        Ok(self.returned_delta(id, 0, &fields))
    }

    /// Dead tasks in the order of their ids, until it is enough for one turn.
    fn dead_tasks(
        &self,
        from: ObjectId,
        count: usize,
        method: Option<&str>,
    ) -> Page<ObjectId, ObjectId> {
        let most = count.min(ROWS_MAX);
        let mut rows = Vec::new();
        for (place, (id, of)) in self.tasks.index.dead_from(from).enumerate() {
            if place >= PLACES_MAX || rows.len() >= most {
                return Page { rows, next: Some(id) };
            }
            if method.is_none_or(|method| method == of) {
                rows.push(id);
            }
        }
        Page { rows, next: None }
    }

    fn dead_row(&self, id: ObjectId) -> DeadRow {
        let record: TaskRecord<'_> = self.task(id).1;
        debug_assert!(record.state() == TaskState::Dead, "the index says so");
        DeadRow {
            task: id,
            method: record.method().into(),
            user: record.owner().into(),
            attempts: record.number(FIELD_ATTEMPT),
            error_text: record.text(FIELD_ERROR).unwrap_or("").into(),
            key: record.text(FIELD_KEY).map(Into::into),
            target: record.target(),
            request: record.request().as_bytes().to_vec(),
        }
    }
}
