//! Deltas: the only way in which a partition's state changes, live, in recovery and on a replica.
//! A batch is what one event changed; its rkyv form is what is logged, replicated and exported.
//!
//! The numbering of a room's messages is no state of record: it starts anew with the room's epoch.

use alloc::string::String;
use alloc::vec::Vec;

use rkyv::rancor::Failure;
use rkyv::util::AlignedVec;
use rkyv::{Archive, Deserialize, Serialize};

use crate::ids::{Epoch, GroupId, Sequence};
use crate::message::Value;

/// A value on the heap.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq)]
pub enum FieldValue {
    /// See [`Value::Text`].
    Text(String),
    /// See [`Value::Integer`].
    Integer(i64),
    /// See [`Value::Float`].
    Float(f64),
    /// See [`Value::Boolean`].
    Boolean(bool),
    /// See [`Value::Bytes`].
    Bytes(Vec<u8>),
    /// See [`Value::Object`].
    Object(u64),
    /// See [`Value::List`].
    List(Vec<String>),
}

impl FieldValue {
    /// Copies a value; `None` for null.
    #[must_use]
    pub fn from_value(value: Value<'_>) -> Option<Self> {
        Some(match value {
            Value::Null => return None,
            Value::Text(text) => Self::Text(text.into()),
            Value::Integer(integer) => Self::Integer(integer),
            Value::Float(float) => Self::Float(float),
            Value::Boolean(boolean) => Self::Boolean(boolean),
            Value::Bytes(bytes) => Self::Bytes(bytes.into()),
            Value::Object(object) => Self::Object(object.0),
            Value::List(list) => Self::List(list.iter().map(String::from).collect()),
        })
    }

    /// Bytes that the value holds, for the limit on an object's size.
    #[must_use]
    pub fn size_bytes(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Bytes(bytes) => bytes.len(),
            Self::List(texts) => texts.iter().map(|text| text.len() + 4).sum(),
            Self::Integer(_) | Self::Float(_) | Self::Object(_) => 8,
            Self::Boolean(_) => 1,
        }
    }
}

/// A named field.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq)]
pub struct Field {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: FieldValue,
}

/// One change of a partition's state. Object ids and session ids are in their packed form.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq)]
pub enum Delta {
    /// A new object, at version 1.
    ObjectCreated {
        /// Its id.
        object: u64,
        /// Its kind.
        kind: String,
        /// Name of the user who owns it; empty: the server.
        owner: String,
        /// Its fields, no two of one name.
        fields: Vec<Field>,
    },
    /// Fields of an object were set or removed.
    ObjectChanged {
        /// Which.
        object: u64,
        /// Its version after the change.
        version: u64,
        /// Fields set.
        set: Vec<Field>,
        /// Names of fields removed.
        removed: Vec<String>,
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
