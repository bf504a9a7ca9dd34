//! What a shard hands over to be stored, and what can be wrong with what comes back. A snapshot is
//! taken a little at a time: every batch holds changed objects of one group, each as it is when the
//! batch is made, in the order in which they first changed. So whatever prefix of a group's batches
//! was stored, it can be loaded.
//!
//! Where there is a log, a batch says up to which sequence it covers the group, and waits until the
//! log has that. So the log has all that is stored, and takes every object from where it was stored to
//! where the log ends.

use alloc::vec::Vec;
use core::fmt;

use crate::ids::{Address, Epoch, GroupId, ObjectId, PartitionId, Sequence};
use crate::message::Message;
use crate::turn::Span;

/// Most objects of one batch, so that making it takes a small part of a turn.
pub const SNAPSHOT_BATCH_OBJECTS_MAX: usize = 256;
/// A batch that holds so many bytes takes no more objects.
pub const SNAPSHOT_BATCH_BYTES_MAX: usize = 256 << 10;
/// Most batches of a shard that wait for the log, one of a group at most. Then no more are made, and
/// what has changed waits as it is.
pub const SNAPSHOT_BATCHES_WAITING_MAX: usize = 64;
/// Longest time, in nanoseconds, for which a group's position stays behind its last sequence while
/// none of its objects changes: segments of the log are kept for it.
pub const POSITION_INTERVAL_NS: u64 = 60_000_000_000;

/// What became of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoredState {
    /// It is at this version, with this record in the batch's bytes.
    Present {
        /// Its version.
        version: u64,
        /// Its packed record.
        record: Span,
    },
    /// It is gone.
    Deleted,
}

/// Changed objects of one group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotBatch {
    /// Which group.
    pub group: GroupId,
    /// The epoch of the group's ownership.
    pub epoch: Epoch,
    /// The group's last sequence when the batch was made: its objects are as they were then. None
    /// without a log.
    pub covers: Option<Sequence>,
    /// Up to this sequence every change of the group is in this batch or in an earlier one.
    pub position: Sequence,
    /// When the batch was made, in milliseconds since 1970-01-01T00:00:00Z.
    pub taken_ms: u64,
    /// Objects, in the order in which they first changed.
    pub objects: Vec<(ObjectId, StoredState)>,
    /// Deletions that need not be known any more: the position has passed them.
    pub forgotten: Vec<ObjectId>,
    /// For each partition of these objects: the address that its next object gets. None below it is
    /// ever given away again.
    pub next_addresses: Vec<(PartitionId, Address)>,
    /// Packed records.
    pub bytes: Vec<u8>,
}

impl SnapshotBatch {
    /// The sequence up to which an object of this batch is known, and 0 without a log.
    #[must_use]
    pub fn sequence(&self) -> Sequence {
        self.covers.unwrap_or(Sequence(0))
    }

    /// The sequence with which a deletion of this batch is to be remembered: a replay from the position
    /// would meet what came before it.
    #[must_use]
    pub fn tombstone(&self) -> Option<Sequence> {
        self.covers.filter(|covers| *covers > self.position)
    }

    /// The record of an object that is there.
    #[must_use]
    pub fn record(&self, span: Span) -> Message<'_> {
        Message::from_checked(span.of(&self.bytes))
    }
}

/// What was stored cannot be a shard's state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RestoreError {
    /// The record is no packed message, or its owner is no name.
    RecordMalformed,
    /// The version is 0.
    VersionMissing,
    /// Its address was never given away.
    AddressUnknown,
    /// Its address does not follow that of the object before it.
    AddressOutOfOrder,
    /// A room without a name, or with one that lives in another partition.
    NameInvalid,
    /// Two rooms, two users, or a room and a user have one name.
    NameTwice,
    /// It is stored that it was deleted, and that it is there.
    DeletedAndPresent,
    /// A batch of the log is of no group, or changes another group.
    GroupUnknown,
    /// A batch of the log does not follow the one before it, or the group's position.
    SequenceSkipped,
    /// The log changes an object that is not there.
    ObjectMissing,
    /// The log changes an object to a version that does not follow its own.
    VersionSkipped,
    /// Something is stored as of a sequence that the log does not reach.
    LogTooShort {
        /// Of which group.
        group: GroupId,
        /// As of when.
        known: Sequence,
        /// Where the log ends.
        end: Sequence,
    },
}

impl fmt::Display for RestoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = match self {
            Self::RecordMalformed => "its record is malformed",
            Self::VersionMissing => "it has no version",
            Self::AddressUnknown => "its address was never given away",
            Self::AddressOutOfOrder => "its address does not follow the one before it",
            Self::NameInvalid => "its name is missing or belongs to another partition",
            Self::NameTwice => "its name belongs to another object",
            Self::DeletedAndPresent => "it is there, and deleted",
            Self::GroupUnknown => "it is of no group, or changes another one",
            Self::SequenceSkipped => "it does not follow the batch before it",
            Self::ObjectMissing => "it changes an object that is not there",
            Self::VersionSkipped => "it changes an object to a version that does not follow",
            Self::LogTooShort { group, known, end } => {
                let (group, known, end) = (group.0, known.0, end.0);
                return write!(
                    f,
                    "group {group} is stored as of sequence {known}, and its log ends at {end}"
                );
            }
        };
        f.write_str(words)
    }
}

impl core::error::Error for RestoreError {}
