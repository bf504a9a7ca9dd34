//! The way from the shards to the delta log and back: for each shard a pair of single-producer
//! single-consumer rings. One carries what a turn has changed, encoded; the other brings the batch back
//! when all of it is on the disk. So the way back is the acknowledgement, and brings the memory too.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering, fence};

use rtrb::{Consumer, Producer, RingBuffer};
use warren_core::delta::{DeltaBatch, DeltaEncoder};
use warren_core::ids::{GroupId, Sequence};

use super::LogProgress;
use crate::delta_log::RecordHeader;

/// Batches that the log may be behind before a shard stages.
const SLOTS: usize = 16;
/// A batch that grew beyond this is freed instead of kept.
const SPARE_BYTES_MAX: usize = 256 << 10;

/// What one shard changed in a turn, or in several while the log was behind.
#[derive(Debug, Default)]
pub(super) struct LogBatch {
    /// Each with the end of its bytes.
    records: Vec<(RecordHeader, usize)>,
    bytes: Vec<u8>,
}

impl LogBatch {
    fn push(&mut self, batch: &DeltaBatch, encoder: &mut DeltaEncoder) {
        let header = RecordHeader {
            group: batch.group_id(),
            epoch: batch.epoch_id(),
            sequence: batch.sequence_id(),
        };
        encoder.encode_into(batch, &mut self.bytes);
        self.records.push((header, self.bytes.len()));
    }

    fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// Its records, in order.
    pub(super) fn records(&self) -> impl Iterator<Item = (RecordHeader, &[u8])> {
        let starts = std::iter::once(0).chain(self.records.iter().map(|(_, end)| *end));
        self.records.iter().zip(starts).map(|((header, end), start)| {
            let record = &self.bytes[start..*end];
            (*header, record)
        })
    }

    fn clear(&mut self) {
        self.records.clear();
        self.bytes.clear();
    }
}

/// A shard's end.
#[derive(Debug)]
pub struct LogPort {
    to_log: Producer<LogBatch>,
    from_log: Consumer<LogBatch>,
    /// What the ring has no room for yet.
    staged: LogBatch,
    spares: Vec<LogBatch>,
    encoder: DeltaEncoder,
    /// Batches that are not back yet, and their bytes.
    under_way: usize,
    under_way_bytes: usize,
    progress: Arc<LogProgress>,
    // Behind the rings: when it rings for the last time, they are left.
    bell: PortBell,
}

impl LogPort {
    /// Takes what a turn has changed, and hands it over if the log has room.
    pub fn append(&mut self, deltas: &[DeltaBatch]) {
        for batch in deltas {
            self.staged.push(batch, &mut self.encoder);
        }
        if self.staged.is_empty() || self.to_log.is_full() {
            return;
        }
        let spare = self.spares.pop().unwrap_or_default();
        let batch = std::mem::replace(&mut self.staged, spare);
        self.under_way += 1;
        self.under_way_bytes += batch.bytes.len();
        self.to_log.push(batch).expect("the ring has a slot");
        self.bell.0.ring();
    }

    /// Tells the highest sequence of each group in what has come to the disk since the last call, a group
    /// perhaps several times.
    pub fn take_durable(&mut self, mut durable: impl FnMut(GroupId, Sequence)) {
        while let Ok(mut batch) = self.from_log.pop() {
            self.under_way -= 1;
            self.under_way_bytes -= batch.bytes.len();
            let mut records = batch.records.iter().map(|(header, _)| header).peekable();
            while let Some(header) = records.next() {
                if records.peek().is_none_or(|next| next.group != header.group) {
                    durable(header.group, header.sequence);
                }
            }
            if batch.bytes.capacity() <= SPARE_BYTES_MAX && self.spares.len() < SLOTS {
                batch.clear();
                self.spares.push(batch);
            }
        }
    }

    /// Whether something has come to the disk since the last look.
    #[must_use]
    pub fn has_durable(&self) -> bool {
        !self.from_log.is_empty()
    }

    /// Whether something waits here because the ring is full.
    #[must_use]
    pub fn has_staged(&self) -> bool {
        !self.staged.is_empty()
    }

    /// Bytes of changes that are not known to be on the disk, wherever they are.
    #[must_use]
    pub fn waiting_bytes(&self) -> usize {
        self.staged.bytes.len() + self.under_way_bytes
    }

    /// Whether something is not known to be on the disk.
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        self.under_way > 0 || !self.staged.is_empty()
    }

    /// Whether the log cannot write at the moment.
    #[must_use]
    pub fn is_failing(&self) -> bool {
        self.progress.is_failing.load(Ordering::Relaxed) || self.has_ended()
    }

    /// Whether the log has ended, and nothing more comes to the disk.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.to_log.is_abandoned()
    }
}

/// A port's bell, which rings when the port is gone: the log ends with its last port.
#[derive(Debug)]
struct PortBell(Arc<Bell>);

impl Drop for PortBell {
    fn drop(&mut self) {
        self.0.write();
    }
}

/// The log's end of a shard's rings.
pub(super) struct ShardWay {
    from_shard: Consumer<LogBatch>,
    to_shard: Producer<LogBatch>,
}

impl ShardWay {
    /// What the shard has handed over: no more than there is room for on the way back.
    pub(super) fn take(&mut self, held: usize) -> Option<LogBatch> {
        // One that has left takes nothing back.
        let has_room = self.is_left() || self.to_shard.slots() > held;
        if has_room { self.from_shard.pop().ok() } else { None }
    }

    pub(super) fn has_input(&self) -> bool {
        !self.from_shard.is_empty()
    }

    /// The shard has ended.
    pub(super) fn is_left(&self) -> bool {
        self.from_shard.is_abandoned()
    }

    /// The shard has ended, and everything that it handed over was taken.
    pub(super) fn has_ended(&self) -> bool {
        self.is_left() && self.from_shard.is_empty()
    }

    pub(super) fn give_back(&mut self, batch: LogBatch) {
        let given = self.to_shard.push(batch);
        assert!(given.is_ok() || self.is_left(), "there was room when it was taken");
    }
}

/// Wakes the log's thread when it sleeps, at the price of a look when it does not.
#[derive(Debug)]
pub(super) struct Bell {
    is_asleep: AtomicBool,
    event: OwnedFd,
}

impl Bell {
    pub(super) fn new() -> std::io::Result<Self> {
        let flags = rustix::event::EventfdFlags::CLOEXEC | rustix::event::EventfdFlags::NONBLOCK;
        Ok(Self { is_asleep: AtomicBool::new(false), event: rustix::event::eventfd(0, flags)? })
    }

    /// Something was put into a ring.
    fn ring(&self) {
        fence(Ordering::SeqCst);
        if self.is_asleep.load(Ordering::Relaxed) && self.is_asleep.swap(false, Ordering::Relaxed) {
            self.write();
        }
    }

    fn write(&self) {
        // A full counter wakes as well.
        let _ = rustix::io::write(&self.event, &1_u64.to_ne_bytes());
    }

    /// The log is about to sleep: whatever is put into a ring from now on wakes it.
    pub(super) fn announce_sleep(&self) {
        self.is_asleep.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
    }

    pub(super) fn announce_awake(&self) {
        self.is_asleep.store(false, Ordering::Relaxed);
        // What was said of it is heard.
        let _ = rustix::io::read(&self.event, &mut [0_u8; 8]);
    }

    pub(super) fn event(&self) -> BorrowedFd<'_> {
        self.event.as_fd()
    }
}

/// The ends of the rings of so many shards.
pub(super) fn connect(
    shard_count: usize,
    bell: &Arc<Bell>,
    progress: &Arc<LogProgress>,
) -> (Vec<LogPort>, Vec<ShardWay>) {
    let one = |_| {
        let (to_log, from_shard) = RingBuffer::new(SLOTS);
        let (to_shard, from_log) = RingBuffer::new(2 * SLOTS);
        let port = LogPort {
            to_log,
            from_log,
            staged: LogBatch::default(),
            spares: Vec::new(),
            encoder: DeltaEncoder::default(),
            under_way: 0,
            under_way_bytes: 0,
            progress: Arc::clone(progress),
            bell: PortBell(Arc::clone(bell)),
        };
        (port, ShardWay { from_shard, to_shard })
    };
    (0..shard_count).map(one).unzip()
}
