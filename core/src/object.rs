//! Objects: a kind, an owner, a version and named fields.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt::{self, Write};

use crate::message::{Message, MessageBuilder, Value};

/// Kind of the object that every user has.
pub const KIND_USER: &str = "user";
/// Kind of a room.
pub const KIND_ROOM: &str = "room";
/// Kind of a room with positions.
pub const KIND_WORLD: &str = "world";

/// Whether objects of the kind are rooms: they have a name, and members.
#[must_use]
pub fn is_room_kind(kind: &str) -> bool {
    matches!(kind, KIND_ROOM | KIND_WORLD)
}

/// The field of an object's record that names its owner.
pub const FIELD_OWNER: &str = "owner";

/// The field that names the room whose members hear of the object. Rooms, worlds and users have
/// none.
pub const FIELD_ROOM: &str = "room";

/// The field of a room's record that hides it from strangers.
pub const FIELD_SECRET: &str = "secret";

/// What an object takes in memory beside its record, in bytes: its place in the partition's map
/// and in the index by kind, and what the allocator adds. Measured, and rounded up.
pub const OBJECT_OVERHEAD_BYTES: usize = 128;
/// What a user's object takes beyond that: its name, and its place among the users.
pub const USER_OVERHEAD_BYTES: usize = 224;
/// What a room takes beyond that: itself, and its name in the lists of names.
pub const ROOM_OVERHEAD_BYTES: usize = 856;
/// What the first object of a kind takes beyond that in its partition: the kind's index.
pub const KIND_OVERHEAD_BYTES: usize = 320;

/// What the first object of a partition takes beyond that: the partition, and its maps while they
/// are small. When its last object is gone the partition stays, which is bounded by their number.
pub const PARTITION_OVERHEAD_BYTES: usize = 1280;
/// What a watch takes: its place among the object's watchers, and its user's name.
pub const WATCH_OVERHEAD_BYTES: usize = 128;
/// What an object's first watch takes beyond that: its list of watchers.
pub const WATCHED_OVERHEAD_BYTES: usize = 384;

/// A record of a partition.
///
/// Its record is a packed message: the method is the object's kind, the first field its owner (none:
/// the server), the others its own, in the order in which they were first set. So it is one piece
/// of memory, and what is stored, sent and logged of an object is a copy of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Object {
    version: u64,
    record: Box<[u8]>,
    /// It waits to be stored.
    pub(crate) is_changed: bool,
}

impl Object {
    /// An object at this version. 1 is a new one's.
    #[must_use]
    pub fn new(version: u64, record: Message<'_>) -> Self {
        assert!(version > 0, "versions count from 1");
        Self { version, record: record.as_bytes().into(), is_changed: false }
    }

    /// 1 at creation, one more with every change.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.version
    }

    /// Kind, owner and fields.
    #[must_use]
    pub fn record(&self) -> Message<'_> {
        Message::from_checked(&self.record)
    }

    /// What sort of thing it is.
    #[must_use]
    pub fn kind(&self) -> &str {
        self.record().method()
    }

    /// Name of the user who owns it; empty: the server.
    #[must_use]
    pub fn owner(&self) -> &str {
        record_owner(self.record())
    }

    /// The field's value.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<Value<'_>> {
        self.record().get(name)
    }

    pub(crate) fn change(&mut self, version: u64, changes: Message<'_>) {
        assert!(version == self.version + 1, "a change follows the version before it");
        self.version = version;
        let mut record = Vec::with_capacity(self.record.len() + changes.as_bytes().len());
        write_changed_record(self.record(), changes, &mut record);
        // Most changes are of numbers, and leave the length as it is.
        if record.len() == self.record.len() {
            self.record.copy_from_slice(&record);
        } else {
            self.record = record.into();
        }
    }

    /// Name of the room whose members hear of it.
    #[must_use]
    pub fn room(&self) -> Option<&str> {
        record_room(self.record())
    }

    /// Bytes that it takes in memory, against `partition_bytes_max`.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        record_memory_bytes(self.record())
    }
}

/// Bytes that an object with this record takes in memory.
pub(crate) fn record_memory_bytes(record: Message<'_>) -> usize {
    let of_kind = match record.method() {
        KIND_USER => USER_OVERHEAD_BYTES,
        KIND_ROOM | KIND_WORLD => ROOM_OVERHEAD_BYTES,
        _ => 0,
    };
    record.as_bytes().len() + OBJECT_OVERHEAD_BYTES + of_kind
}

/// The room that a record names.
pub(crate) fn record_room(record: Message<'_>) -> Option<&str> {
    record.get(FIELD_ROOM).and_then(Value::as_text)
}

/// The owner that a record names; empty: the server.
pub(crate) fn record_owner(record: Message<'_>) -> &str {
    match record.get(FIELD_OWNER) {
        Some(Value::Text(owner)) => owner,
        None => "",
        Some(_) => panic!("an owner is a name"),
    }
}

/// Starts the record of a new object.
pub(crate) fn start_record<'b>(
    out: &'b mut Vec<u8>,
    kind: &str,
    owner: &str,
) -> MessageBuilder<'b> {
    let mut record = MessageBuilder::new(out, kind);
    if !owner.is_empty() {
        record.field(FIELD_OWNER, Value::Text(owner));
    }
    record
}

/// Appends the record with these fields set, or removed where the change is null.
pub(crate) fn write_changed_record(record: Message<'_>, changes: Message<'_>, out: &mut Vec<u8>) {
    let mut builder = MessageBuilder::new(out, record.method());
    // As they are packed: no value has to be looked at.
    for field in record.packed_fields() {
        match changes.packed_fields().find(|changed| changed.name == field.name) {
            None => builder.packed_field(field),
            Some(changed) if changed.is_null() => {}
            Some(changed) => builder.packed_field(changed),
        }
    }
    for change in changes.packed_fields().filter(|change| !change.is_null()) {
        if record.packed_fields().all(|present| present.name != change.name) {
            builder.packed_field(change);
        }
    }
}

/// Whether the value's canonical text is this one. Compares piece by piece, and copies nothing.
/// What may be long is not written first.
pub(crate) fn has_canonical_text(value: Value<'_>, text: &str) -> bool {
    match value {
        Value::Text(own) => own == text,
        Value::Bytes(bytes) => is_hexadecimal_of(text.as_bytes(), bytes),
        _ => {
            let mut rest = Rest(text);
            write!(rest, "{value}").is_ok() && rest.0.is_empty()
        }
    }
}

fn is_hexadecimal_of(text: &[u8], bytes: &[u8]) -> bool {
    let digit = |nibble: u8| b"0123456789abcdef"[usize::from(nibble)];
    let is_byte = |(pair, byte): (&[u8], &u8)| pair == [digit(byte >> 4), digit(byte & 15)];
    text.len() == 2 * bytes.len() && text.chunks_exact(2).zip(bytes).all(is_byte)
}

/// What of a text was not written yet; writing anything else fails.
struct Rest<'a>(&'a str);

impl Write for Rest<'_> {
    fn write_str(&mut self, piece: &str) -> fmt::Result {
        self.0 = self.0.strip_prefix(piece).ok_or(fmt::Error)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
