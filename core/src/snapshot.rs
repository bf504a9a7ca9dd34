//! What a shard hands over to be stored, and what can be wrong with what comes back. A snapshot is
//! taken a little at a time: every batch holds changed objects of one group, each as it is when the
//! batch is made, in the order in which they first changed. So whatever prefix of a group's batches
//! was stored, it can be loaded.

use alloc::vec::Vec;
use core::fmt;

use crate::ids::{Address, Epoch, GroupId, ObjectId, PartitionId, Sequence};
use crate::message::Message;
use crate::turn::Span;

/// Most objects of one batch, so that making it takes a small part of a turn.
pub const SNAPSHOT_BATCH_OBJECTS_MAX: usize = 256;
/// A batch that holds so many bytes takes no more objects.
pub const SNAPSHOT_BATCH_BYTES_MAX: usize = 256 << 10;

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
    /// Up to this sequence every change of the group is in this batch or in an earlier one.
    pub position: Sequence,
    /// When the batch was made, in milliseconds since 1970-01-01T00:00:00Z.
    pub taken_ms: u64,
    /// Objects, in the order in which they first changed.
    pub objects: Vec<(ObjectId, StoredState)>,
    /// For each partition of these objects: the address that its next object gets. None below it is
    /// ever given away again.
    pub next_addresses: Vec<(PartitionId, Address)>,
    /// Packed records.
    pub bytes: Vec<u8>,
}

impl SnapshotBatch {
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
}

impl fmt::Display for RestoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::RecordMalformed => "its record is malformed",
            Self::VersionMissing => "it has no version",
            Self::AddressUnknown => "its address was never given away",
            Self::AddressOutOfOrder => "its address does not follow the one before it",
            Self::NameInvalid => "its name is missing or belongs to another partition",
            Self::NameTwice => "its name belongs to another object",
        })
    }
}

impl core::error::Error for RestoreError {}
