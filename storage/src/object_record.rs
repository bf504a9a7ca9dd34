//! An object's value in the store: one byte that says the format, and the object in rkyv's format
//! with the workspace's settings (little-endian, unaligned, 32-bit offsets). A format never
//! changes; a new one gets the next number, and readers go on reading the old ones.

use rkyv::rancor::Failure;
use rkyv::with::InlineAsBox;
use rkyv::{Archive, Serialize};

/// The format that is written.
pub const FORMAT_V1: u8 = 1;

/// An object in format 1.
#[derive(Archive, Serialize, Clone, Copy, Debug, PartialEq, Eq)]
pub struct ObjectRecordV1<'a> {
    /// Its version.
    pub version: u64,
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

impl<'a> ObjectRecordV1<'a> {
    /// Appends format and object.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.push(FORMAT_V1);
        let bytes = rkyv::to_bytes::<Failure>(self).expect("an object can be archived");
        out.extend_from_slice(&bytes);
    }

    /// Checks and reads what [`encode`](Self::encode) made.
    ///
    /// # Errors
    /// [`ObjectDecodeError`] when it is no object.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, ObjectDecodeError> {
        match bytes.split_first() {
            Some((&FORMAT_V1, object)) => {
                let archived = rkyv::access::<ArchivedObjectRecordV1<'a>, Failure>(object);
                let archived = archived.map_err(|_| ObjectDecodeError::Malformed)?;
                Ok(Self { version: archived.version.to_native(), record: &archived.record })
            }
            Some((&unknown, _)) => Err(ObjectDecodeError::FormatUnknown(unknown)),
            None => Err(ObjectDecodeError::Malformed),
        }
    }
}

#[cfg(test)]
mod tests;
