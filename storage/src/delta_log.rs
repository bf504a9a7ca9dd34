//! The delta log: every delta batch of a node, in the order in which it was written, so that what
//! was acknowledged as durable is there after anything.
//!
//! This is all of the log but the disk and the thread: the format, the writer over a [`LogDisk`],
//! and [`recover`], which reads a folder at a start. The log does not look into what it keeps.
//!
//! ```text
//! 00000000000000000007.log       a segment, preallocated; its name is its number
//!   block 0       header:  magic 8 bytes  format u32  salt u32  segment u64  length of the file u64
//!                          number of its first commit u64  CRC-32C u32 of all of these
//!   block 1…      commits, each from a block's beginning on, padded with zeros to the next
//!     header:     magic 4 bytes  CRC-32C u32 of all that follows  number u64
//!                 length of the body u32  number of records u32
//!     records:    group u16  epoch u32  sequence u64  length of the payload u32  payload
//! ```
//!
//! A block is [`BLOCK_BYTES`]; all numbers are little-endian. Commits are numbered from 1, densely
//! over the whole log. Their CRC begins with the log's salt, which no client knows: so nothing that
//! a client wrote can pass for a commit, wherever in a torn one it stands.
//!
//! Invariants, on which recovery relies:
//! - One commit is under way at a time. So behind the last whole commit nothing was acknowledged,
//!   and whatever is whole behind one that is not shows damage.
//! - A segment's length and header are synced before its first commit is written, and a synced
//!   block is never written again.
//! - After a failed write or sync nothing more is written to that segment: what the disk has of it
//!   is unknown, and a second sync would not tell. The same commit goes to a new segment, and of a
//!   commit that is in two segments the later one counts.
//! - A start never writes to an old segment. It begins a new one with the last commit that it
//!   found, of which nobody knows whether it was synced.
//! - Within what is there, the sequences of each group are dense and its epochs never fall.

use std::io;

use thiserror::Error;
use warren_core::ids::{Epoch, GroupId, Sequence};

mod copy;
mod format;
mod mark;
mod recovery;
mod replay;
mod tail;
mod writer;

pub use copy::{CutSegment, LinkedLog};
pub use mark::{LogLost, LogMark};
pub use recovery::{
    LogEnd, LogSummary, RecoverError, SegmentSource, TornTail, recover, recover_from,
};
pub use tail::{LogTail, TailCommit, TailError};
pub use writer::DeltaLog;

/// Bytes that are written at once at least, and the unit of places in a segment: direct I/O.
pub const BLOCK_BYTES: usize = 4096;

/// Longest body of a commit in bytes. It is far beyond what is gathered while a disk syncs, and
/// what a start has to hold in memory at once.
pub const COMMIT_BYTES_MAX: usize = 1 << 30;

/// Longest segment in bytes: one with a single commit of that length.
pub const SEGMENT_BYTES_MAX: u64 = (COMMIT_BYTES_MAX + 2 * BLOCK_BYTES) as u64;

/// Shortest segment in bytes: its header, and a commit of one block.
pub const SEGMENT_BYTES_MIN: u64 = 2 * BLOCK_BYTES as u64;

/// What the log knows of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordHeader {
    /// The group whose state the record changes.
    pub group: GroupId,
    /// The epoch of the group's ownership; it never falls.
    pub epoch: Epoch,
    /// Position in the group, dense, from 1.
    pub sequence: Sequence,
}

/// A record as it is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// What the log knows of it.
    pub header: RecordHeader,
    /// What was pushed: a `DeltaBatch` in its encoded form. Its bytes are those that were written,
    /// by their checksum; they are not looked into.
    pub payload: &'a [u8],
    /// The commit that it is part of.
    pub commit: u64,
    /// The segment in which it stands.
    pub segment: u64,
    /// Where in the segment's file it begins, in bytes.
    pub offset: u64,
}

/// What a log is told at its beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogSettings {
    /// Bytes of a segment: a multiple of [`BLOCK_BYTES`] from [`SEGMENT_BYTES_MIN`] to
    /// [`SEGMENT_BYTES_MAX`]. One whose first commit does not fit is longer.
    pub segment_bytes: u64,
}

/// Where segments are. Its calls are awaited on one thread, one at a time; their futures need not
/// be `Send`.
#[expect(async_fn_in_trait, reason = "one thread awaits them, whose executor asks for no bounds")]
pub trait LogDisk {
    /// An open segment.
    type File;

    /// A new segment of zeros, of this size, whose name and size survive a power cut from now on.
    /// What an earlier call, or a part of one, has left under this number is replaced by a new file.
    async fn create(&self, segment: u64, bytes: u64) -> io::Result<Self::File>;

    /// Writes all of the bytes. Offset and length are multiples of [`BLOCK_BYTES`].
    async fn write(&self, file: &Self::File, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// What was written to the file before survives a power cut from now on.
    async fn sync(&self, file: &Self::File) -> io::Result<()>;

    /// Removes a segment. That it is gone survives a power cut from now on, so that segments go in
    /// order.
    async fn remove(&self, segment: u64) -> io::Result<()>;
}

/// Up to where others have what is in the log.
pub trait Retention {
    /// Up to which sequence the group is stored elsewhere, so that a start does not need it here.
    fn stored(&self, group: GroupId) -> Sequence;

    /// Whether a stored segment that ends with this commit may go, when the log has so many bytes.
    fn lets_go(&self, last_commit: u64, kept_bytes: u64) -> bool;
}

/// What the log asked of its disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DiskCall {
    /// A new segment.
    Create,
    /// A write.
    Write,
    /// A sync.
    Sync,
    /// The removal of a segment.
    Remove,
}

/// The disk has failed.
#[derive(Debug, Error)]
#[error("segment {segment} of the delta log: {call:?} failed: {error}")]
pub struct LogError {
    /// At what.
    pub call: DiskCall,
    /// In which segment.
    pub segment: u64,
    /// What the disk says.
    pub error: io::Error,
}

/// The name of a segment's file.
#[must_use]
pub fn segment_file_name(segment: u64) -> String {
    format!("{segment:020}.log")
}

#[cfg(test)]
mod model_disk;
#[cfg(test)]
mod tests;
