//! The thread that writes the delta log: a glommio executor, beside the shards.
//!
//! ```text
//! shard ──LogBatch, a ring──► log: all that has come ──one write, one sync──► the same batches, back
//! ```
//!
//! While one commit is on its way to the disk the next gathers in the rings, so a sync serves everyone
//! however long it takes. A commit that fails is tried again, in a new segment, until it succeeds or all
//! shards have ended; meanwhile nothing is acknowledged and nothing is lost.

mod folder_disk;
mod needs;
mod ports;
#[cfg(test)]
mod tests;

use std::io;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{
    AtomicBool, AtomicU64,
    Ordering::{Acquire, Relaxed, Release},
};
use std::time::Duration;

use futures_util::future::{Either, select};
use glommio::io::PollableFd;
use glommio::{LocalExecutorBuilder, Placement};
use thiserror::Error;

pub use self::needs::{LogHold, LogNeeds};
pub use self::ports::LogPort;

use self::folder_disk::{FolderDisk, io_error};
use self::needs::WithoutExporter;
use self::ports::{Bell, LogBatch, ShardWay, connect};
use crate::delta_log::{DeltaLog, LogDisk, LogEnd, LogError, LogSettings, Retention};

/// Bytes of one commit beyond which nothing more is taken into it.
const COMMIT_BYTES_MAX: usize = 4 << 20;
/// Time between two attempts to write what could not be written.
const RETRY_INTERVAL: Duration = Duration::from_millis(if cfg!(test) { 1 } else { 1000 });
/// How often it is looked whether a segment can go, while nothing is written.
const LOOK_INTERVAL: Duration = Duration::from_millis(if cfg!(test) { 1 } else { 1000 });
/// Attempts of which one is told, as long as they fail.
const ATTEMPTS_PER_WORD: u64 = 60;
/// Memory of the executor for direct I/O.
const IO_MEMORY_BYTES: usize = 1 << 20;

/// What the log has done, for the metrics.
#[derive(Debug, Default)]
pub struct LogProgress {
    /// Commits on the disk.
    pub commits: AtomicU64,
    /// Delta batches in them.
    pub records: AtomicU64,
    /// Bytes of these.
    pub bytes: AtomicU64,
    /// Time that writing and syncing took, in nanoseconds.
    pub commit_ns: AtomicU64,
    /// The longest of these times.
    pub commit_ns_max: AtomicU64,
    /// Attempts that failed.
    pub failures: AtomicU64,
    /// Segments that were removed.
    pub segments_removed: AtomicU64,
    /// Attempts to remove one that failed.
    pub removal_failures: AtomicU64,
    /// The number of the last commit that is on the disk.
    pub durable_commit: AtomicU64,
    /// Snapshots have every commit below this one; zero before the log has begun.
    pub first_unstored: AtomicU64,
    /// Bytes of all segments that are kept.
    pub kept_bytes: AtomicU64,
    /// The last attempt has failed, or the log has ended: nothing becomes durable.
    pub is_failing: AtomicBool,
}

impl LogProgress {
    /// The number of the last commit that is on the disk.
    #[must_use]
    pub fn durable_commit(&self) -> u64 {
        self.durable_commit.load(Acquire)
    }

    /// The number of a commit below which snapshots on the disk have all; zero before the log has begun.
    #[must_use]
    pub fn first_unstored(&self) -> u64 {
        self.first_unstored.load(Acquire)
    }

    fn add(&self, records: u64, bytes: u64, elapsed_ns: u64) {
        self.commits.fetch_add(1, Relaxed);
        self.records.fetch_add(records, Relaxed);
        self.bytes.fetch_add(bytes, Relaxed);
        self.commit_ns.fetch_add(elapsed_ns, Relaxed);
        self.commit_ns_max.fetch_max(elapsed_ns, Relaxed);
        self.is_failing.store(false, Relaxed);
    }
}

/// Why the log's thread ended before its shards.
#[derive(Debug, Error)]
pub enum LogThreadError {
    /// The executor could not be set up.
    #[error("the executor of the log: {0}")]
    Executor(#[source] io::Error),
    /// The folder could not be opened.
    #[error("{path}: {error}", path = path.display())]
    Folder {
        /// Which.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// The first segment could not be made.
    #[error("the log cannot begin: {0}")]
    NotBegun(#[source] LogError),
    /// When all shards had ended, what they had handed over could not be written.
    #[error("the rest of the log is not on the disk: {0}")]
    RestNotWritten(#[source] LogError),
}

/// What the log tells of itself, as it happens.
#[derive(Debug)]
pub enum LogNews<'a> {
    /// The first segment is there, and holds what a start has found at the end of the last.
    Begun,
    /// Writing fails: told at first, and then from time to time.
    Fails(&'a LogError),
    /// Writing works again.
    Works,
    /// A segment that nobody needs cannot be removed: told once.
    RemovalFails(&'a LogError),
    /// It was removed.
    RemovalWorks,
}

/// Where the log is written, and what it goes on behind.
#[derive(Debug)]
pub struct LogPlace {
    /// The folder with the segments.
    pub folder: PathBuf,
    /// Bytes of a segment.
    pub segment_bytes: u64,
    /// Where recovery has found the end.
    pub end: LogEnd,
}

/// The log's side of all rings, before its thread is started.
pub struct LogWriter {
    ways: Vec<ShardWay>,
    bell: Arc<Bell>,
    progress: Arc<LogProgress>,
    needs: Arc<LogNeeds>,
}

/// Ports for so many shards, and what their batches come to.
///
/// # Errors
/// When the kernel has no event counter left.
pub fn prepare(
    shard_count: usize,
    progress: Arc<LogProgress>,
    needs: Arc<LogNeeds>,
) -> io::Result<(Vec<LogPort>, LogWriter)> {
    let bell = Arc::new(Bell::new()?);
    let (ports, ways) = connect(shard_count, &bell, &progress);
    Ok((ports, LogWriter { ways, bell, progress, needs }))
}

impl LogWriter {
    /// Writes on this thread until every port is gone. `wake` is called with the number of a shard for
    /// which something has changed: batches of it are back, or the log fails.
    ///
    /// # Errors
    /// [`LogThreadError`].
    pub fn run(
        self,
        place: LogPlace,
        wake: impl Fn(usize),
        tell: impl Fn(LogNews<'_>),
    ) -> Result<(), LogThreadError> {
        let _ending = Ending(Arc::clone(&self.progress));
        let builder = LocalExecutorBuilder::new(Placement::Unbound).io_memory(IO_MEMORY_BYTES);
        let executor = builder.make().map_err(|error| LogThreadError::Executor(io_error(error)))?;
        executor.run(async {
            let LogPlace { folder, segment_bytes, end } = place;
            let disk = FolderDisk::open(&folder).await;
            let disk = disk.map_err(|error| LogThreadError::Folder { path: folder, error })?;
            let settings = LogSettings { segment_bytes };
            let event = self.bell.event().try_clone_to_owned();
            let event = event.map_err(LogThreadError::Executor)?;
            let event = PollableFd::new(event);
            let event = event.map_err(|error| LogThreadError::Executor(io_error(error)))?;
            let log = DeltaLog::begin(disk, settings, end).await;
            let log = log.map_err(LogThreadError::NotBegun)?;
            let Self { ways, bell, progress, needs } = self;
            let mut serving = Serving {
                ways,
                bell,
                progress,
                needs,
                log,
                held: Vec::new(),
                first: 0,
                removal_due_ns: None,
                wake,
                tell,
            };
            serving.begin();
            serving.run(&event).await
        })
    }
}

/// Says, however the log ends, that nothing becomes durable any more.
struct Ending(Arc<LogProgress>);

impl Drop for Ending {
    fn drop(&mut self) {
        self.0.is_failing.store(true, Relaxed);
    }
}

struct Serving<D: LogDisk, W, T> {
    ways: Vec<ShardWay>,
    bell: Arc<Bell>,
    progress: Arc<LogProgress>,
    needs: Arc<LogNeeds>,
    log: DeltaLog<D>,
    /// Batches of the commit that is under way, each with its shard.
    held: Vec<(usize, LogBatch)>,
    /// The shard that is asked first.
    first: usize,
    /// When a removal that failed is tried again.
    removal_due_ns: Option<u64>,
    wake: W,
    tell: T,
}

impl<D: LogDisk, W: Fn(usize), T: Fn(LogNews<'_>)> Serving<D, W, T> {
    /// All that a start has found is on the disk.
    fn begin(&mut self) {
        self.progress.durable_commit.store(self.log.durable_commit(), Release);
        let needs = Arc::clone(&self.needs);
        self.look(&*needs);
        (self.tell)(LogNews::Begun);
    }

    async fn run(mut self, event: &PollableFd<std::os::fd::OwnedFd>) -> Result<(), LogThreadError> {
        loop {
            // One at a time: whoever waits for the next commit waits for one removal at the most.
            let needs = Arc::clone(&self.needs);
            let has_removed = self.release(&*needs).await;
            self.gather();
            if !self.held.is_empty() {
                self.commit().await?;
            } else if self.ways.iter().all(ShardWay::has_ended) {
                return Ok(());
            } else if !has_removed {
                self.sleep(event).await?;
            }
        }
    }

    /// Tells how far snapshots have come.
    fn look(&mut self, needs: &impl Retention) {
        let first_unstored = self.log.first_unstored(needs);
        self.progress.first_unstored.store(first_unstored, Release);
        self.progress.kept_bytes.store(self.log.kept_bytes(), Relaxed);
    }

    /// Takes what the shards have handed over, in turns, so that none waits for another's flood.
    fn gather(&mut self) {
        let mut held = vec![0; self.ways.len()];
        self.first = (self.first + 1) % self.ways.len();
        loop {
            let mut took = false;
            // Who comes first changes with each commit.
            for offset in 0..self.ways.len() {
                let shard = (self.first + offset) % self.ways.len();
                let way = &mut self.ways[shard];
                if self.log.gathered_bytes() >= COMMIT_BYTES_MAX {
                    return;
                }
                let Some(batch) = way.take(held[shard]) else { continue };
                for (header, record) in batch.records() {
                    self.log.push(header, record);
                }
                held[shard] += 1;
                self.held.push((shard, batch));
                took = true;
            }
            if !took {
                return;
            }
        }
    }

    /// Brings what was gathered to the disk, however many attempts that takes, and acknowledges it.
    async fn commit(&mut self) -> Result<(), LogThreadError> {
        let bytes = self.log.gathered_bytes() as u64;
        let mut failures = 0;
        let elapsed_ns = loop {
            let begun_ns = monotonic_ns();
            match self.log.commit().await {
                Ok(()) => break monotonic_ns() - begun_ns,
                Err(error) => self.failed(error, &mut failures).await?,
            }
        };
        let records = self.held.iter().map(|(_, batch)| batch.records().count() as u64).sum();
        self.progress.add(records, bytes, elapsed_ns);
        self.progress.durable_commit.store(self.log.durable_commit(), Release);
        if failures > 0 {
            (self.tell)(LogNews::Works);
        }
        for (shard, batch) in self.held.drain(..) {
            self.ways[shard].give_back(batch);
            (self.wake)(shard);
        }
        Ok(())
    }

    /// Says so, and waits until the next attempt.
    async fn failed(&mut self, error: LogError, failures: &mut u64) -> Result<(), LogThreadError> {
        self.progress.failures.fetch_add(1, Relaxed);
        self.progress.is_failing.store(true, Relaxed);
        if self.ways.iter().all(ShardWay::is_left) {
            return Err(LogThreadError::RestNotWritten(error));
        }
        if failures.is_multiple_of(ATTEMPTS_PER_WORD) {
            (self.tell)(LogNews::Fails(&error));
            (0..self.ways.len()).for_each(&self.wake);
        }
        *failures += 1;
        // On a full disk that may be the room that it needs, also when the exporter has to copy
        // everything anew for it.
        let needs = Arc::clone(&self.needs);
        self.release(&WithoutExporter(&needs)).await;
        glommio::timer::sleep(RETRY_INTERVAL).await;
        Ok(())
    }

    /// Removes the oldest segment if nobody needs it, and says whether it did. After a removal that failed
    /// it waits for a while.
    async fn release(&mut self, needs: &impl Retention) -> bool {
        self.look(needs);
        if self.removal_due_ns.is_some_and(|due_ns| monotonic_ns() < due_ns) {
            return false;
        }
        match self.log.release(needs).await {
            Ok(false) => false,
            Ok(true) => {
                self.progress.segments_removed.fetch_add(1, Relaxed);
                self.progress.kept_bytes.store(self.log.kept_bytes(), Relaxed);
                if self.removal_due_ns.take().is_some() {
                    (self.tell)(LogNews::RemovalWorks);
                }
                true
            }
            Err(error) => {
                self.progress.removal_failures.fetch_add(1, Relaxed);
                let due_ns = monotonic_ns() + RETRY_INTERVAL.as_nanos() as u64;
                if self.removal_due_ns.replace(due_ns).is_none() {
                    (self.tell)(LogNews::RemovalFails(&error));
                }
                false
            }
        }
    }

    /// Sleeps until a shard hands something over, or has ended; and where there are old segments, not for
    /// long, since nobody says when they can go.
    async fn sleep(&self, event: &PollableFd<std::os::fd::OwnedFd>) -> Result<(), LogThreadError> {
        self.bell.announce_sleep();
        let has_input = self.ways.iter().any(ShardWay::has_input);
        let result = if has_input || self.ways.iter().all(ShardWay::has_ended) {
            Ok(())
        } else if self.log.segment_count() > 1 {
            let look = pin!(glommio::timer::sleep(LOOK_INTERVAL));
            match select(pin!(event.readable()), look).await {
                Either::Left((rung, _)) => rung,
                Either::Right(_) => Ok(()),
            }
        } else {
            event.readable().await
        };
        self.bell.announce_awake();
        result.map_err(|error| LogThreadError::Executor(io_error(error)))
    }
}

fn monotonic_ns() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    let part = |number: i64| u64::try_from(number).expect("the clock began at its boot");
    part(now.tv_sec) * 1_000_000_000 + part(now.tv_nsec)
}
