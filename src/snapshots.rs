//! The snapshot writer: the one worker thread that stores what shards hand over. Shards never wait
//! for it: the channel between them is bounded, and while it is full what has changed stays with
//! its shard.
//!
//! One thread for all shards, so that one sync serves everyone.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TrySendError, after, bounded};
use tokio::sync::oneshot;
use warren_core::snapshot::SnapshotBatch;
use warren_storage::delta_log::LogMark;
use warren_storage::log_executor::{LogNeeds, LogProgress};
use warren_storage::{StateStore, StoreError};

use crate::fatal::{Fatal, FatalReason};

/// Batches on their way to the writer; each holds at most 256 KiB and one object.
const CHANNEL_BATCHES: usize = 64;
/// Most batches that one sync serves. The writer keeps them until they are on the disk.
const SYNC_BATCHES_MAX: usize = CHANNEL_BATCHES;
/// The priority of the writer's thread: below that of shards, and a tenth of a core that a shard keeps busy.
const NICENESS: i32 = 10;
/// Time between two attempts to write what could not be written.
const RETRY_INTERVAL: Duration = Duration::from_millis(if cfg!(test) { 1 } else { 1000 });
/// How often it is looked whether less of the log is needed, while nothing is stored.
const LOOK_INTERVAL: Duration = Duration::from_millis(if cfg!(test) { 1 } else { 1000 });
/// A failure that goes on is told again after so many attempts.
const ATTEMPTS_PER_LINE: u32 = 60;
/// Attempts after which a server that drains gives up what cannot be written.
const DRAIN_ATTEMPTS_MAX: u32 = 30;

/// What the writer has done, for the metrics.
#[derive(Debug, Default)]
pub struct SnapshotProgress {
    /// Batches on the disk.
    pub batches: AtomicU64,
    /// Objects and deletions in them.
    pub objects: AtomicU64,
    /// Bytes of records in them.
    pub record_bytes: AtomicU64,
    /// Attempts to write or sync that failed.
    pub failures: AtomicU64,
    /// When the last batch on the disk was taken, in milliseconds since 1970; 0: none was.
    pub synced_ms: AtomicU64,
    /// Where it is told up to where each group is on the disk.
    pub log_needs: Arc<LogNeeds>,
}

/// Where the writer writes.
pub(crate) trait BatchStore: Send + Sync + 'static {
    /// Writes a batch as a whole, or nothing of it.
    fn write(&self, batch: &SnapshotBatch) -> Result<(), StoreError>;

    /// Says which log belongs to what is stored, and from where on it is needed.
    fn write_log_mark(&self, mark: LogMark) -> Result<(), StoreError>;

    /// Makes what was written survive the end of the machine.
    fn sync(&self) -> Result<(), StoreError>;

    /// Opens the store anew after a failure: what was not synced may be lost.
    fn reopen(&self) -> Result<(), StoreError>;
}

impl BatchStore for StateStore {
    fn write(&self, batch: &SnapshotBatch) -> Result<(), StoreError> {
        self.write(batch)
    }

    fn write_log_mark(&self, mark: LogMark) -> Result<(), StoreError> {
        self.write_log_mark(mark)
    }

    fn sync(&self) -> Result<(), StoreError> {
        self.sync()
    }

    fn reopen(&self) -> Result<(), StoreError> {
        self.reopen()
    }
}

/// Of what the marks of the log are made.
#[derive(Clone, Debug)]
pub(crate) struct LogMarks {
    pub(crate) salt: u32,
    pub(crate) progress: Arc<LogProgress>,
}

impl LogMarks {
    /// What can be said now. What snapshots have of the log was synced before it was told.
    fn mark(&self) -> LogMark {
        let first_needed = self.progress.first_unstored();
        LogMark { salt: self.salt, first_needed, reached: self.progress.durable_commit() }
    }
}

/// The writer's thread, and the way to it.
#[derive(Debug)]
pub(crate) struct SnapshotWriter {
    sender: SnapshotSender,
    /// Dropped when the server drains: whatever fails then is not tried for ever.
    serving: Sender<()>,
    ended: oneshot::Receiver<Result<(), StoreError>>,
    thread: JoinHandle<()>,
}

/// A shard's way to the writer.
#[derive(Clone, Debug)]
pub(crate) struct SnapshotSender(Sender<SnapshotBatch>);

impl SnapshotSender {
    /// Hands the batch over, or gives it back: the channel is full, or the writer has given up, as
    /// it says itself.
    pub(crate) fn try_send(&self, batch: SnapshotBatch) -> Option<SnapshotBatch> {
        self.0.try_send(batch).map_err(TrySendError::into_inner).err()
    }

    /// Whether another batch would have to wait.
    pub(crate) fn is_full(&self) -> bool {
        self.0.is_full()
    }

    /// Hands the batch over, however long it takes. For a shard that has ended. False when the
    /// writer has given up.
    pub(crate) fn send(&self, batch: SnapshotBatch) -> bool {
        self.0.send(batch).is_ok()
    }
}

impl SnapshotWriter {
    /// Starts the thread.
    pub(crate) fn start(
        store: Arc<impl BatchStore>,
        progress: Arc<SnapshotProgress>,
        marks: LogMarks,
    ) -> Result<Self, Fatal> {
        let (sender, batches) = bounded(CHANNEL_BATCHES);
        let (serving, drained) = bounded(0);
        let (end, ended) = oneshot::channel();
        let body = move || {
            // It may share a core with a shard, which goes first. Where that is refused it still works.
            let _ = rustix::process::setpriority_process(None, NICENESS);
            let (progress, drained) = (&progress, &drained);
            let writer = Writer { store: &*store, progress, marks: &marks, drained };
            let result = writer.run(&batches);
            // Who hears of the end may open the store.
            drop((batches, store));
            // Nobody listens any more when the process is on its way out.
            let _ = end.send(result);
        };
        let thread = std::thread::Builder::new()
            .name("snapshots".to_owned())
            .spawn(body)
            .map_err(|error| Fatal::new(FatalReason::SystemRefused, error))?;
        Ok(Self { sender: SnapshotSender(sender), serving, ended, thread })
    }

    pub(crate) fn sender(&self) -> SnapshotSender {
        self.sender.clone()
    }

    /// Says that the server drains, and gives the writer's end: it comes when all shards have ended
    /// and everything that they handed over is on the disk.
    pub(crate) fn drain(self) -> impl Future<Output = Result<(), Fatal>> {
        let Self { sender, serving, ended, thread } = self;
        drop((sender, serving));
        async {
            let result = ended.await;
            let lost = || Fatal::new(FatalReason::ThreadFailed, "the snapshot writer ended");
            thread.join().map_err(|_| lost())?;
            let stored = result.map_err(|_| lost())?;
            stored.map_err(|error| Fatal::new(FatalReason::StateNotStored, error))
        }
    }
}

struct Writer<'a, S> {
    store: &'a S,
    progress: &'a SnapshotProgress,
    marks: &'a LogMarks,
    drained: &'a Receiver<()>,
}

impl<S: BatchStore> Writer<'_, S> {
    /// Writes until no shard is left. Each sync serves a mark of the log too.
    fn run(&self, batches: &Receiver<SnapshotBatch>) -> Result<(), StoreError> {
        loop {
            let mut group = Vec::new();
            match batches.recv_timeout(LOOK_INTERVAL) {
                Ok(first) => group.push(first),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Ok(()),
            }
            group.extend(batches.try_iter().take(SYNC_BATCHES_MAX - group.len()));
            let mark = self.marks.mark();
            if group.is_empty() && !self.lets_more_go(mark) {
                continue;
            }
            self.store_all(&group, mark)?;
            self.progress.add(&group);
            self.progress.log_needs.marked(mark.first_needed);
        }
    }

    /// Whether a mark is to be written where nothing else is stored. Not before the start has told its own:
    /// it makes that of the one before, and writes it over ours.
    fn lets_more_go(&self, mark: LogMark) -> bool {
        let told = self.progress.log_needs.first_needed();
        told > 0 && mark.first_needed > told
    }

    /// Tries until all of it is on the disk, or the server has drained for too long. Nothing is
    /// lost meanwhile: these batches stay here, and what comes after them in the channel and with
    /// the shards.
    fn store_all(&self, group: &[SnapshotBatch], mark: LogMark) -> Result<(), StoreError> {
        let mut attempts_while_draining = 0;
        for attempts in 0u32.. {
            let written = group.iter().try_for_each(|batch| self.store.write(batch));
            let written = written.and_then(|()| self.store.write_log_mark(mark));
            let Err(error) = written.and_then(|()| self.store.sync()) else {
                if attempts > 0 {
                    tracing::info!(attempts, "the store works again");
                }
                return Ok(());
            };
            self.progress.failures.fetch_add(1, Relaxed);
            if attempts % ATTEMPTS_PER_LINE == 0 {
                tracing::error!(%error, "the store fails; changes stay in memory");
            }
            if self.is_draining_after_pause() {
                attempts_while_draining += 1;
                if attempts_while_draining == DRAIN_ATTEMPTS_MAX {
                    return Err(error);
                }
            }
            if let Err(error) = self.store.reopen() {
                tracing::debug!(%error, "the store cannot be opened again yet");
            }
        }
        unreachable!("attempts go on until they end")
    }

    /// Waits until the next attempt.
    fn is_draining_after_pause(&self) -> bool {
        let pause = after(RETRY_INTERVAL);
        let is_draining =
            self.drained.recv_timeout(RETRY_INTERVAL) == Err(RecvTimeoutError::Disconnected);
        // Where it drains, the word was there at once.
        let _ = pause.recv();
        is_draining
    }
}

impl SnapshotProgress {
    fn add(&self, group: &[SnapshotBatch]) {
        let sum = |size: fn(&SnapshotBatch) -> usize| group.iter().map(size).sum::<usize>() as u64;
        self.batches.fetch_add(group.len() as u64, Relaxed);
        self.objects.fetch_add(sum(|batch| batch.objects.len()), Relaxed);
        self.record_bytes.fetch_add(sum(|batch| batch.bytes.len()), Relaxed);
        for batch in group {
            self.log_needs.stored(batch.group, batch.position);
        }
        let taken_ms = group.iter().map(|batch| batch.taken_ms).max();
        self.synced_ms.fetch_max(taken_ms.unwrap_or(0), Relaxed);
    }
}

#[cfg(test)]
mod tests;
