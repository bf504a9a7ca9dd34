//! The queue of each method, as the operator sees it: how many of its tasks stand where, which of them
//! waits longest, and what has come of them.

use alloc::boxed::Box;
use alloc::collections::BTreeSet;

use super::{Standing, Task};
use crate::control::{QueueRow, TaskCounts, TaskTotals};
use crate::ids::ObjectId;

/// What happens to a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TaskEvent {
    /// A request became one.
    Taken,
    /// A worker got it.
    Leased,
    /// It is done.
    Done,
    /// A worker gave an attempt up.
    Failed,
    /// A lease has ended before it was done.
    Lost,
    /// No worker took it in time.
    Expired,
}

impl TaskTotals {
    pub(super) fn count(&mut self, event: TaskEvent) {
        *match event {
            TaskEvent::Taken => &mut self.taken,
            TaskEvent::Leased => &mut self.leased,
            TaskEvent::Done => &mut self.done,
            TaskEvent::Failed => &mut self.failed,
            TaskEvent::Lost => &mut self.lost,
            TaskEvent::Expired => &mut self.expired,
        } += 1;
    }
}

impl TaskCounts {
    pub(super) fn of(&mut self, standing: Standing) -> &mut u64 {
        match standing {
            Standing::Delayed => &mut self.delayed,
            Standing::Ready(_) | Standing::Blocked(_) => &mut self.ready,
            Standing::Leased => &mut self.leased,
            Standing::Done => &mut self.done,
            Standing::Dead => &mut self.dead,
        }
    }
}

/// The tasks of a method.
#[derive(Debug)]
pub(super) struct Queue {
    method: Box<str>,
    counts: TaskCounts,
    pub(super) totals: TaskTotals,
    /// Those that wait for a worker, by since when.
    waiting: BTreeSet<(u64, ObjectId)>,
}

impl Queue {
    pub(super) fn new(method: &str) -> Self {
        Self {
            method: method.into(),
            counts: TaskCounts::default(),
            totals: TaskTotals::default(),
            waiting: BTreeSet::new(),
        }
    }

    pub(super) fn method(&self) -> &str {
        &self.method
    }

    pub(super) fn enter(&mut self, id: ObjectId, task: &Task) {
        *self.counts.of(task.standing) += 1;
        if waits(task.standing) {
            self.waiting.insert((task.since_ns, id));
        }
    }

    pub(super) fn leave(&mut self, id: ObjectId, task: &Task) {
        *self.counts.of(task.standing) -= 1;
        if waits(task.standing) {
            assert!(self.waiting.remove(&(task.since_ns, id)), "it waits");
        }
    }

    pub(super) fn row(&self, now_ns: u64) -> QueueRow {
        let oldest = self.waiting.first();
        QueueRow {
            method: self.method.clone(),
            counts: self.counts,
            oldest_ms: oldest.map(|(since_ns, _)| now_ns.saturating_sub(*since_ns) / 1_000_000),
            totals: self.totals,
        }
    }
}

fn waits(standing: Standing) -> bool {
    matches!(standing, Standing::Ready(_) | Standing::Blocked(_))
}
