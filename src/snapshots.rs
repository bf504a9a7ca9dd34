//! The snapshot writer: the one worker thread that stores what shards hand over. Shards never wait
//! for it: the channel between them is bounded, and while it is full what has changed stays with
//! its shard.
//!
//! One thread for all shards, so that one sync serves everyone.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TryRecvError, TrySendError, bounded};
use tokio::sync::oneshot;
use warren_core::snapshot::SnapshotBatch;
use warren_storage::{StateStore, StoreError};

use crate::fatal::{Fatal, FatalReason};

/// Batches on their way to the writer; each holds at most 256 KiB and one object.
const CHANNEL_BATCHES: usize = 64;
/// Most batches that one sync serves.
const SYNC_BATCHES_MAX: usize = 256;
/// Time between two attempts to write what could not be written.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);
/// A failure that goes on is told again after so many attempts.
const ATTEMPTS_PER_LINE: u32 = 60;

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
}

/// Where the writer writes.
pub(crate) trait BatchStore: Send + Sync + 'static {
    /// Writes a batch as a whole, or nothing of it.
    fn write(&self, batch: &SnapshotBatch) -> Result<(), StoreError>;

    /// Makes what was written survive the end of the machine.
    fn sync(&self) -> Result<(), StoreError>;

    /// Notes that everything there was has been written.
    fn close(&self) -> Result<(), StoreError>;
}

impl BatchStore for StateStore {
    fn write(&self, batch: &SnapshotBatch) -> Result<(), StoreError> {
        self.write(batch)
    }

    fn sync(&self) -> Result<(), StoreError> {
        self.sync()
    }

    fn close(&self) -> Result<(), StoreError> {
        self.close()
    }
}

/// The writer's thread, and the way to it.
#[derive(Debug)]
pub(crate) struct SnapshotWriter {
    sender: SnapshotSender,
    /// Dropped when the server drains: whatever fails then is not tried for ever.
    serving: Sender<()>,
    ended: oneshot::Receiver<Result<(), StoreError>>,
}

/// A shard's way to the writer.
#[derive(Clone, Debug)]
pub(crate) struct SnapshotSender(Sender<SnapshotBatch>);

impl SnapshotSender {
    /// Hands the batch over, or gives it back when the channel is full.
    pub(crate) fn try_send(&self, batch: SnapshotBatch) -> Result<(), SnapshotBatch> {
        match self.0.try_send(batch) {
            Ok(()) => Ok(()),
            Err(TrySendError::Full(batch)) => Err(batch),
            Err(TrySendError::Disconnected(_)) => panic!("the writer lives as long as its senders"),
        }
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
    ) -> Result<Self, Fatal> {
        let (sender, batches) = bounded(CHANNEL_BATCHES);
        let (serving, drained) = bounded(0);
        let (end, ended) = oneshot::channel();
        let body = move || {
            let writer = Writer { store: &*store, progress: &progress, drained: &drained };
            let result = writer.run(&batches);
            drop(batches);
            // Nobody listens any more when the process is on its way out.
            let _ = end.send(result);
        };
        std::thread::Builder::new()
            .name("snapshots".to_owned())
            .spawn(body)
            .map_err(|error| Fatal::new(FatalReason::SystemRefused, error))?;
        Ok(Self { sender: SnapshotSender(sender), serving, ended })
    }

    pub(crate) fn sender(&self) -> SnapshotSender {
        self.sender.clone()
    }

    /// Says that the server drains, and gives the writer's end: it comes when all shards have ended
    /// and everything is on the disk.
    pub(crate) fn drain(self) -> impl Future<Output = Result<(), Fatal>> {
        let Self { sender, serving, ended } = self;
        drop((sender, serving));
        async {
            match ended.await {
                Ok(Ok(())) => Ok(()),
                Ok(Err(error)) => Err(Fatal::new(FatalReason::StateNotStored, error)),
                Err(_) => Err(Fatal::new(FatalReason::ThreadFailed, "the snapshot writer ended")),
            }
        }
    }
}

struct Writer<'a, S> {
    store: &'a S,
    progress: &'a SnapshotProgress,
    drained: &'a Receiver<()>,
}

impl<S: BatchStore> Writer<'_, S> {
    /// Writes until no shard is left, and closes the store.
    fn run(&self, batches: &Receiver<SnapshotBatch>) -> Result<(), StoreError> {
        while let Ok(first) = batches.recv() {
            let mut written = Written::default();
            self.write_batch(&first, &mut written)?;
            for batch in batches.try_iter().take(SYNC_BATCHES_MAX - 1) {
                self.write_batch(&batch, &mut written)?;
            }
            self.until_done("sync", || self.store.sync())?;
            self.progress.add(&written);
        }
        assert!(matches!(batches.try_recv(), Err(TryRecvError::Disconnected)));
        self.store.close()
    }

    fn write_batch(&self, batch: &SnapshotBatch, written: &mut Written) -> Result<(), StoreError> {
        self.until_done("write", || self.store.write(batch))?;
        written.batches += 1;
        written.objects += batch.objects.len() as u64;
        written.record_bytes += batch.bytes.len() as u64;
        written.taken_ms = batch.taken_ms;
        Ok(())
    }

    /// Tries until it is done, or the server drains. What waits meanwhile is not lost: it stays in
    /// the channel and with the shards.
    fn until_done(
        &self,
        action: &str,
        attempt: impl Fn() -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        for attempts in 0u32.. {
            let Err(error) = attempt() else {
                if attempts > 0 {
                    tracing::info!(action, attempts, "the store works again");
                }
                return Ok(());
            };
            self.progress.failures.fetch_add(1, Relaxed);
            if attempts % ATTEMPTS_PER_LINE == 0 {
                tracing::error!(action, %error, "the store fails; changes stay in memory");
            }
            if self.drained.recv_timeout(RETRY_INTERVAL) == Err(RecvTimeoutError::Disconnected) {
                return Err(error);
            }
        }
        unreachable!("attempts go on until they end")
    }
}

/// What was written since the last sync.
#[derive(Debug, Default)]
struct Written {
    batches: u64,
    objects: u64,
    record_bytes: u64,
    taken_ms: u64,
}

impl SnapshotProgress {
    fn add(&self, written: &Written) {
        self.batches.fetch_add(written.batches, Relaxed);
        self.objects.fetch_add(written.objects, Relaxed);
        self.record_bytes.fetch_add(written.record_bytes, Relaxed);
        self.synced_ms.store(written.taken_ms, Relaxed);
    }
}

#[cfg(test)]
mod tests;
