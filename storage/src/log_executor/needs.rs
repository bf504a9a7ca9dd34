//! What of the log is still needed: by a start, by an exporter, by a backup. All of it is told by other
//! threads; the log looks between two commits, and every second.

use std::sync::Arc;
use std::sync::atomic::{
    AtomicU64, AtomicUsize,
    Ordering::{Relaxed, SeqCst},
};

use warren_core::ids::{GROUP_COUNT, GroupId, Sequence};

use crate::delta_log::Retention;

/// Up to where others have what is in the log. What all of them have can go.
#[derive(Debug)]
pub struct LogNeeds {
    /// By group: up to which sequence the snapshots on the disk hold it.
    stored: Box<[AtomicU64]>,
    /// The first commit without which a start would be refused.
    first_needed: AtomicU64,
    /// The last commit that an exporter has, and `u64::MAX` where there is none.
    exported: AtomicU64,
    /// With more bytes than this the log waits for the exporter no more.
    bytes_max: AtomicU64,
    /// Those who ask that nothing goes.
    holds: AtomicUsize,
}

impl Default for LogNeeds {
    fn default() -> Self {
        Self {
            stored: (0..GROUP_COUNT).map(|_| AtomicU64::new(0)).collect(),
            first_needed: AtomicU64::new(0),
            exported: AtomicU64::new(u64::MAX),
            bytes_max: AtomicU64::new(u64::MAX),
            holds: AtomicUsize::new(0),
        }
    }
}

impl LogNeeds {
    /// A snapshot of the group up to this sequence survives the end of the machine.
    pub fn stored(&self, group: GroupId, position: Sequence) {
        self.stored[usize::from(group.0)].fetch_max(position.0, Relaxed);
    }

    /// The store's mark on the disk says that a start needs no commit below this one. Before it does
    /// nothing goes: a start could not tell it from a loss.
    pub fn marked(&self, first_needed: u64) {
        self.first_needed.fetch_max(first_needed, Relaxed);
    }

    /// What [`marked`](Self::marked) was told at the most; 0: nothing.
    #[must_use]
    pub fn first_needed(&self) -> u64 {
        self.first_needed.load(Relaxed)
    }

    /// There is an exporter that needs what comes after this commit, and the commit itself, to know the
    /// log by it; 0: it needs everything. It is waited for until the log has more than `bytes_max` bytes.
    pub fn exported(&self, commit: u64, bytes_max: u64) {
        self.bytes_max.store(bytes_max, Relaxed);
        self.exported.store(commit, Relaxed);
    }

    /// No segment goes as long as this lives, but for one whose removal may have begun already.
    #[must_use]
    pub fn hold(self: &Arc<Self>) -> LogHold {
        self.holds.fetch_add(1, SeqCst);
        LogHold(Arc::clone(self))
    }

    /// Whether a start and those who hold the log can do without this commit and all before.
    fn lets_go_of(&self, last_commit: u64) -> bool {
        self.holds.load(SeqCst) == 0 && last_commit < self.first_needed.load(Relaxed)
    }
}

impl Retention for LogNeeds {
    fn stored(&self, group: GroupId) -> Sequence {
        Sequence(self.stored[usize::from(group.0)].load(Relaxed))
    }

    fn lets_go(&self, last_commit: u64, kept_bytes: u64) -> bool {
        self.lets_go_of(last_commit)
            && (last_commit < self.exported.load(Relaxed)
                || kept_bytes > self.bytes_max.load(Relaxed))
    }
}

/// The same on a disk that fails, which may need room: the exporter is not waited for.
pub(super) struct WithoutExporter<'a>(pub(super) &'a LogNeeds);

impl Retention for WithoutExporter<'_> {
    fn stored(&self, group: GroupId) -> Sequence {
        Retention::stored(self.0, group)
    }

    fn lets_go(&self, last_commit: u64, _: u64) -> bool {
        self.0.lets_go_of(last_commit)
    }
}

/// As long as it lives, segments stay.
#[derive(Debug)]
pub struct LogHold(Arc<LogNeeds>);

impl Drop for LogHold {
    fn drop(&mut self) {
        self.0.holds.fetch_sub(1, SeqCst);
    }
}
