//! Deltas: the only way in which a partition's state changes, live, in recovery and on a replica.
//! A batch is what one event changed; its rkyv form is what is logged, replicated and exported.
//!
//! The numbering of a room's messages is no state of record: it starts anew with the room's epoch.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use rkyv::api::high::to_bytes_in_with_alloc;
use rkyv::rancor::Failure;
use rkyv::ser::allocator::Arena;
use rkyv::util::AlignedVec;
use rkyv::{Archive, Deserialize, Serialize};

use crate::ids::{Epoch, GroupId, Sequence};

/// One change of a partition's state. Object ids and session ids are in their packed form, records
/// and changes are packed messages.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq)]
pub enum Delta {
    /// A new object, or one that comes back from where it was stored.
    ObjectCreated {
        /// Its id.
        object: u64,
        /// 1 for a new one.
        version: u64,
        /// Its record: kind, owner and fields.
        record: Vec<u8>,
    },
    /// Fields of an object were set or removed.
    ObjectChanged {
        /// Which.
        object: u64,
        /// Its version after the change.
        version: u64,
        /// A message with the object's kind as its method and the fields that are set; those that
        /// are removed are null.
        changes: Vec<u8>,
    },
    /// An object is gone.
    ObjectDeleted {
        /// Which.
        object: u64,
    },
    /// A user is here, with this session and no other.
    UserPresent {
        /// The user's name.
        user: String,
        /// The session.
        session: u64,
        /// Which of the user's logins this is, from 1.
        login: u64,
    },
    /// A user is no longer here.
    UserAbsent {
        /// The user's name.
        user: String,
    },
    /// A room has a new member, or a member another session.
    MemberJoined {
        /// The room.
        room: u64,
        /// The user's name.
        user: String,
        /// The session that hears the room.
        session: u64,
        /// The login by which the session is here.
        login: u64,
    },
    /// A room has one member less.
    MemberLeft {
        /// The room.
        room: u64,
        /// The user's name.
        user: String,
    },
    /// A session watches an object from here on.
    WatchStarted {
        /// The object.
        object: u64,
        /// The session.
        session: u64,
        /// Its user's name.
        user: String,
        /// Its user's roles, by bits.
        roles: u32,
    },
    /// A session no longer watches an object. That an object is deleted ends its watches too.
    WatchEnded {
        /// The object.
        object: u64,
        /// The session.
        session: u64,
    },
}

/// What one event changed.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq)]
pub struct DeltaBatch {
    /// The group.
    pub group: u16,
    /// The epoch of the group's ownership.
    pub epoch: u32,
    /// Position in the group, dense from 1.
    pub sequence: u64,
    /// The changes, in order.
    pub deltas: Vec<Delta>,
}

/// Encodes one batch after the other, and keeps the memory that it needs for that.
#[derive(Default)]
pub struct DeltaEncoder(Arena);

impl DeltaEncoder {
    /// Appends the batch to `out` as [`DeltaBatch::encode`] has it.
    ///
    /// # Panics
    /// When memory for it cannot be had.
    pub fn encode_into(&mut self, batch: &DeltaBatch, out: &mut Vec<u8>) {
        let taken = core::mem::take(out);
        *out = to_bytes_in_with_alloc::<_, _, Failure>(batch, taken, self.0.acquire())
            .expect("a delta batch has no part that cannot be archived");
    }
}

impl fmt::Debug for DeltaEncoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeltaEncoder").field("bytes", &self.0.capacity()).finish()
    }
}

/// The bytes are no delta batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeltaDecodeError;

impl DeltaBatch {
    /// The group as an id.
    #[must_use]
    pub fn group_id(&self) -> GroupId {
        GroupId(self.group)
    }

    /// The epoch as an id.
    #[must_use]
    pub fn epoch_id(&self) -> Epoch {
        Epoch(self.epoch)
    }

    /// The sequence as an id.
    #[must_use]
    pub fn sequence_id(&self) -> Sequence {
        Sequence(self.sequence)
    }

    /// The batch in rkyv's format, with the workspace's settings (little-endian, unaligned,
    /// 32-bit offsets).
    ///
    /// # Panics
    /// When memory for it cannot be had.
    #[must_use]
    pub fn encode(&self) -> AlignedVec {
        rkyv::to_bytes::<Failure>(self).expect("a delta batch has no part that cannot be archived")
    }

    /// Checks and reads what [`encode`](Self::encode) made. The caller has checked length and
    /// checksum before: these bytes come from a disk or a peer, never from a client.
    ///
    /// # Errors
    /// [`DeltaDecodeError`] when they are no batch.
    pub fn decode(bytes: &[u8]) -> Result<Self, DeltaDecodeError> {
        rkyv::from_bytes::<Self, Failure>(bytes).map_err(|_| DeltaDecodeError)
    }
}
