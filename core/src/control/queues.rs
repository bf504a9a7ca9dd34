//! What the operator hears of the tasks of a shard, and what is to become of dead ones.

use alloc::boxed::Box;
use alloc::vec::Vec;

use crate::ids::{ObjectId, PartitionId};
use crate::reason::Reason;

/// How many tasks stand where.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TaskCounts {
    /// They wait for their time.
    pub delayed: u64,
    /// They wait for a worker, or for another task that has what they need.
    pub ready: u64,
    /// Workers have them.
    pub leased: u64,
    /// They are done, and kept with their answers.
    pub done: u64,
    /// Nobody could do them.
    pub dead: u64,
}

impl TaskCounts {
    /// All that a partition's bound counts: dead ones have one of their own.
    #[must_use]
    pub const fn open(self) -> u64 {
        self.delayed + self.ready + self.leased + self.done
    }
}

/// What has come of a method's tasks since the server started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TaskTotals {
    /// Requests that became tasks.
    pub taken: u64,
    /// Leases that workers got.
    pub leased: u64,
    /// Tasks that were done.
    pub done: u64,
    /// Attempts that workers gave up.
    pub failed: u64,
    /// Leases that ended before their tasks were done.
    pub lost: u64,
    /// Tasks that no worker took in time.
    pub expired: u64,
}

/// What is told of the tasks of one method on one shard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueRow {
    /// The method.
    pub method: Box<str>,
    /// How many stand where.
    pub counts: TaskCounts,
    /// How long the one has waited that waits longest for a worker, in milliseconds.
    pub oldest_ms: Option<u64>,
    /// What has come of them.
    pub totals: TaskTotals,
}

/// What is told of the tasks of a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartitionRow {
    /// Which partition.
    pub partition: PartitionId,
    /// How many stand where.
    pub counts: TaskCounts,
}

/// What is told of a dead task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadRow {
    /// The task.
    pub task: ObjectId,
    /// Its method.
    pub method: Box<str>,
    /// Who asked for it.
    pub user: Box<str>,
    /// Attempts that were begun.
    pub attempts: u64,
    /// Why the last one failed.
    pub error_text: Box<str>,
    /// What the user called it.
    pub key: Option<Box<str>>,
    /// The object that it is about.
    pub target: Option<ObjectId>,
    /// The request that made it, packed; left out of lists.
    pub request: Vec<u8>,
}

/// What is to become of dead tasks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeadOrder {
    /// They wait for a worker again, as if nobody had begun with them.
    Retry,
    /// They go.
    Drop,
}

/// Which dead tasks are meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeadTasks {
    /// This one.
    One(ObjectId),
    /// All of this shard, by their ids from `from` on, at most `count`.
    From {
        /// The first id.
        from: ObjectId,
        /// At most [`ROWS_MAX`](super::ROWS_MAX) at a time.
        count: usize,
        /// Those of this method alone.
        method: Option<Box<str>>,
    },
}

/// What became of a dead task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SettledRow {
    /// The task.
    pub task: ObjectId,
    /// Why it is dead as before, if it is.
    pub refused: Option<Reason>,
}
