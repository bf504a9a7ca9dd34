//! What the server counts, and how other threads see it.
//!
//! A shard counts in plain numbers. Once a turn its thread publishes them to its `ShardMetrics`:
//! relaxed atomics on cache lines of their own, written by that thread alone. The admin thread
//! reads them whenever it is asked; numbers of one answer may come from two successive turns.

mod exposition;
mod summary;

use core::sync::atomic::{AtomicU8, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};

use warren_core::counters::ShardCounters;
use warren_core::reason::Reason;
use warren_net::counters::NetCounters;
use warren_net::gateway::Protocol;
use warren_storage::log_executor::LogProgress;

use crate::export::ExportProgress;
use crate::snapshots::SnapshotProgress;
use crate::workers::Board;

pub use exposition::CONTENT_TYPE;
use exposition::SCALARS;
pub(crate) use exposition::text;
pub(crate) use summary::ShardSummary;

/// Buckets of a `DurationHistogram`: up to 1 us, 2 us, 4 us, … 2^20 us (about 1 s), and beyond.
pub const DURATION_BUCKETS: usize = 22;

/// A shard that has made no turn for so long is taken to be stuck. A shard without work sleeps
/// until its next timer, so it must have one that comes well before.
pub const TURN_AGE_NS_MAX: u64 = 5_000_000_000;

/// In the place of a last turn's time: no turn is to come.
const ENDED: u64 = u64::MAX;

/// How often durations of which length occurred.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DurationHistogram {
    buckets: [u64; DURATION_BUCKETS],
    sum_ns: u64,
}

impl DurationHistogram {
    /// Counts one duration.
    pub fn record(&mut self, duration_ns: u64) {
        // The smallest power of two that is not below the whole microseconds, rounded up.
        let whole_us = duration_ns.saturating_sub(1) / 1000;
        let bucket = (u64::BITS - whole_us.leading_zeros()) as usize;
        self.buckets[bucket.min(DURATION_BUCKETS - 1)] += 1;
        self.sum_ns = self.sum_ns.wrapping_add(duration_ns);
    }
}

/// What the loop of a shard thread counts beside its engine and its reactor.
#[derive(Clone, Debug, Default)]
pub struct TurnCounters {
    /// How long turns took, without the time asleep. One entry a turn.
    pub turn_time: DurationHistogram,
    /// Time from the start of a turn to the start of the next.
    pub turn_interval: DurationHistogram,
    /// Batches put on mesh rings: at most one per peer and turn.
    pub mesh_batches_published: u64,
    /// Wake-ups sent to shards that slept.
    pub wakes_sent: u64,
    /// Heap allocations of the thread since its start.
    pub allocations: u64,
    /// Gauge: heap bytes that the thread has allocated and not freed.
    pub heap_bytes: u64,
    /// Gauge: bytes that wait for shards whose rings are full.
    pub mesh_staged_bytes: u64,
    /// Gauge: received buffers held back because too much waits for other shards.
    pub inputs_held: u64,
}

/// All that a shard publishes after a turn.
#[derive(Clone, Copy, Debug)]
pub struct TurnReport<'a> {
    /// The turn's time, by the clock of `ServerState`.
    pub monotonic_ns: u64,
    /// Of the loop.
    pub turn: &'a TurnCounters,
    /// Of the engine.
    pub shard: &'a ShardCounters,
    /// Of the reactor.
    pub net: &'a NetCounters,
}

/// A histogram that another thread may read.
#[derive(Debug, Default)]
struct SharedHistogram {
    buckets: [AtomicU64; DURATION_BUCKETS],
    sum_ns: AtomicU64,
}

impl SharedHistogram {
    fn publish(&self, histogram: &DurationHistogram) {
        publish_all(&self.buckets, histogram.buckets.iter().copied());
        self.sum_ns.store(histogram.sum_ns, Relaxed);
    }

    fn read(&self) -> DurationHistogram {
        DurationHistogram {
            buckets: core::array::from_fn(|index| self.buckets[index].load(Relaxed)),
            sum_ns: self.sum_ns.load(Relaxed),
        }
    }
}

/// What one shard has published. Aligned to two cache lines, which the processor fetches as a
/// pair, so that shards do not slow each other down.
#[derive(Debug)]
#[repr(align(128))]
pub struct ShardMetrics {
    turned_at_ns: AtomicU64,
    turn_time: SharedHistogram,
    turn_interval: SharedHistogram,
    /// In the order of `SCALARS`.
    scalars: [AtomicU64; SCALARS.len()],
    refusals: [AtomicU64; Reason::ALL.len()],
    closes: [AtomicU64; Reason::ALL.len()],
    /// By protocol; the last are those not told yet.
    connections: [AtomicU64; Protocol::ALL.len() + 1],
}

impl ShardMetrics {
    fn new(now_ns: u64) -> Self {
        Self {
            turned_at_ns: AtomicU64::new(now_ns),
            turn_time: SharedHistogram::default(),
            turn_interval: SharedHistogram::default(),
            scalars: core::array::from_fn(|_| AtomicU64::default()),
            refusals: core::array::from_fn(|_| AtomicU64::default()),
            closes: core::array::from_fn(|_| AtomicU64::default()),
            connections: core::array::from_fn(|_| AtomicU64::default()),
        }
    }

    /// Publishes a turn. For the shard's own thread, after each turn.
    pub fn publish(&self, report: &TurnReport<'_>) {
        self.turned_at_ns.store(report.monotonic_ns, Relaxed);
        self.turn_time.publish(&report.turn.turn_time);
        self.turn_interval.publish(&report.turn.turn_interval);
        publish_all(&self.scalars, SCALARS.iter().map(|scalar| (scalar.read)(report)));
        let (shard, net) = (report.shard, report.net);
        let refusals = shard.refusals.iter().zip(&net.refusals).map(|(shard, net)| shard + net);
        publish_all(&self.refusals, refusals);
        publish_all(&self.closes, net.closes.iter().copied());
        let undetected = core::iter::once(net.connections_undetected);
        publish_all(&self.connections, net.connections.iter().copied().chain(undetected));
    }
}

impl ShardMetrics {
    /// Says that the shard turns no more, since it has ended: it is not stuck from then on.
    pub fn end(&self) {
        self.turned_at_ns.store(ENDED, Relaxed);
    }
}

fn publish_all(targets: &[AtomicU64], values: impl Iterator<Item = u64>) {
    for (target, value) in targets.iter().zip(values) {
        target.store(value, Relaxed);
    }
}

/// How far the server is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Phase {
    /// Not all shards serve yet.
    Starting,
    /// Clients are welcome.
    Serving,
    /// It ends: no new clients.
    Draining,
}

impl Phase {
    /// The word in the answer of `/readyz`.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Serving => "serving",
            Self::Draining => "draining",
        }
    }
}

/// A shard that has made no turn for too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StalledShard {
    /// Which.
    pub index: usize,
    /// Nanoseconds since its last turn.
    pub turn_age_ns: u64,
}

/// What threads know of each other: the phase, and what each shard published.
pub struct ServerState {
    phase: AtomicU8,
    shards: Box<[ShardMetrics]>,
    snapshots: Arc<SnapshotProgress>,
    log: Arc<LogProgress>,
    export: Arc<ExportProgress>,
    admin_refusals: AtomicU64,
    admin_cuts: AtomicU64,
    workers: OnceLock<Arc<Board>>,
    monotonic_ns: Box<dyn Fn() -> u64 + Send + Sync>,
}

impl ServerState {
    /// A server that is starting. `monotonic_ns` is the clock by which shards date their turns.
    #[must_use]
    pub fn new(shard_count: usize, monotonic_ns: impl Fn() -> u64 + Send + Sync + 'static) -> Self {
        let now_ns = monotonic_ns();
        Self {
            phase: AtomicU8::new(Phase::Starting as u8),
            shards: (0..shard_count).map(|_| ShardMetrics::new(now_ns)).collect(),
            snapshots: Arc::default(),
            log: Arc::default(),
            export: Arc::default(),
            admin_refusals: AtomicU64::default(),
            admin_cuts: AtomicU64::default(),
            workers: OnceLock::new(),
            monotonic_ns: Box::new(monotonic_ns),
        }
    }

    /// What one shard publishes to.
    ///
    /// # Panics
    /// When there is no such shard.
    #[must_use]
    pub fn shard(&self, index: usize) -> &ShardMetrics {
        &self.shards[index]
    }

    /// What the snapshot writer publishes to.
    #[must_use]
    pub fn snapshots(&self) -> Arc<SnapshotProgress> {
        Arc::clone(&self.snapshots)
    }

    /// What the delta log publishes to.
    #[must_use]
    pub fn log(&self) -> Arc<LogProgress> {
        Arc::clone(&self.log)
    }

    /// What the exporter publishes to.
    #[must_use]
    pub fn export(&self) -> Arc<ExportProgress> {
        Arc::clone(&self.export)
    }

    /// What the workers that the server starts publish to, said once.
    pub(crate) fn set_workers(&self, workers: &Arc<Board>) {
        let _ = self.workers.set(Arc::clone(workers));
    }

    /// The time by the clock of the shards' turns, in nanoseconds.
    #[must_use]
    pub fn monotonic_ns(&self) -> u64 {
        (self.monotonic_ns)()
    }

    /// The admin endpoint has refused a request for want of a token, or as a web page's.
    pub fn count_admin_refusal(&self) {
        self.admin_refusals.fetch_add(1, Relaxed);
    }

    /// The admin endpoint has cut a connection: it lived too long, or there were too many.
    pub fn count_admin_cut(&self) {
        self.admin_cuts.fetch_add(1, Relaxed);
    }

    /// How far the server is.
    #[must_use]
    pub fn phase(&self) -> Phase {
        let phase = self.phase.load(Relaxed);
        [Phase::Starting, Phase::Serving]
            .into_iter()
            .find(|candidate| *candidate as u8 == phase)
            .unwrap_or(Phase::Draining)
    }

    /// Enters a phase.
    pub fn set_phase(&self, phase: Phase) {
        self.phase.store(phase as u8, Relaxed);
    }

    /// The shards that have made no turn for longer than `TURN_AGE_NS_MAX`.
    #[must_use]
    pub fn stalled_shards(&self) -> Vec<StalledShard> {
        let now_ns = (self.monotonic_ns)();
        let age = |shard: &ShardMetrics| now_ns.saturating_sub(shard.turned_at_ns.load(Relaxed));
        self.shards
            .iter()
            .enumerate()
            .map(|(index, shard)| StalledShard { index, turn_age_ns: age(shard) })
            .filter(|shard| shard.turn_age_ns > TURN_AGE_NS_MAX)
            .collect()
    }
}

impl core::fmt::Debug for ServerState {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("ServerState")
            .field("phase", &self.phase())
            .field("shards", &self.shards.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
