//! An object's value in the store: one byte that says the format, and the object in rkyv's format
//! with the workspace's settings (little-endian, unaligned, 32-bit offsets). A format never
//! changes; a new one gets the next number, and readers go on reading the old ones.

use rkyv::rancor::Failure;
use rkyv::with::InlineAsBox;
use rkyv::{Archive, Serialize};

/// The format that was written before there were sequences.
const FORMAT_V1: u8 = 1;
/// The format that is written.
const FORMAT_V2: u8 = 2;

/// An object in format 1. It is only read.
#[derive(Archive, Serialize, Clone, Copy, Debug, PartialEq, Eq)]
pub struct ObjectRecordV1<'a> {
    /// Its version.
    pub version: u64,
    /// Its packed record: a message with the kind as method, and owner and fields.
    #[rkyv(with = InlineAsBox)]
    pub record: &'a [u8],
}

/// An object in format 2.
#[derive(Archive, Serialize, Clone, Copy, Debug, PartialEq, Eq)]
pub struct ObjectRecordV2<'a> {
    /// Its version.
    pub version: u64,
    /// It is as it was at this sequence of its group; 0: at the group's position, because it was
    /// written without a log.
    pub sequence: u64,
    /// Its packed record: a message with the kind as method, and owner and fields.
    #[rkyv(with = InlineAsBox)]
    pub record: &'a [u8],
}

/// The bytes are no object of a known format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ObjectDecodeError {
    /// Written by a newer version of Warren, or damaged.
    FormatUnknown(u8),
    /// Not of its format.
    Malformed,
}

impl<'a> ObjectRecordV2<'a> {
    /// Appends format and object.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.push(FORMAT_V2);
        let bytes = rkyv::to_bytes::<Failure>(self).expect("an object can be archived");
        out.extend_from_slice(&bytes);
    }

    /// Checks and reads what [`encode`](Self::encode) made, or an older version of it.
    ///
    /// # Errors
    /// [`ObjectDecodeError`] when it is no object.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, ObjectDecodeError> {
        let malformed = |_: Failure| ObjectDecodeError::Malformed;
        match bytes.split_first() {
            Some((&FORMAT_V2, object)) => {
                let archived = rkyv::access::<ArchivedObjectRecordV2<'a>, Failure>(object);
                let archived = archived.map_err(malformed)?;
                let (version, sequence) =
                    (archived.version.to_native(), archived.sequence.to_native());
                Ok(Self { version, sequence, record: &archived.record })
            }
            Some((&FORMAT_V1, object)) => {
                let archived = rkyv::access::<ArchivedObjectRecordV1<'a>, Failure>(object);
                let archived = archived.map_err(malformed)?;
                let version = archived.version.to_native();
                Ok(Self { version, sequence: 0, record: &archived.record })
            }
            Some((&unknown, _)) => Err(ObjectDecodeError::FormatUnknown(unknown)),
            None => Err(ObjectDecodeError::Malformed),
        }
    }
}

#[cfg(test)]
mod tests;
