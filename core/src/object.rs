//! Objects: a kind, an owner, a version and named fields.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt::{self, Write};

use crate::delta::{Field, FieldValue};
use crate::ids::ObjectId;
use crate::message::{MessageBuilder, Value};

/// Kind of the object that every user has.
pub const KIND_USER: &str = "user";
/// Kind of a room.
pub const KIND_ROOM: &str = "room";
/// Kind of a room with positions.
pub const KIND_WORLD: &str = "world";

/// A record of a partition.
#[derive(Clone, Debug)]
pub struct Object {
    /// What sort of thing it is.
    pub kind: Box<str>,
    /// Name of the user who owns it; empty: the server.
    pub owner: Box<str>,
    /// 1 at creation, one more with every change.
    pub version: u64,
    /// In the order in which they were first set; no two of one name.
    pub fields: Vec<Field>,
}

impl Object {
    /// The field's value.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&FieldValue> {
        self.fields.iter().find(|field| field.name == name).map(|field| &field.value)
    }

    pub(crate) fn change(&mut self, version: u64, set: &[Field], removed: &[impl AsRef<str>]) {
        assert!(version == self.version + 1, "a change follows the version before it");
        self.version = version;
        self.fields.retain(|field| !removed.iter().any(|name| name.as_ref() == field.name));
        for field in set {
            match self.fields.iter_mut().find(|present| present.name == field.name) {
                Some(present) => present.value = field.value.clone(),
                None => self.fields.push(field.clone()),
            }
        }
    }

    /// Bytes of names and values, against `object_bytes_max`.
    #[must_use]
    pub fn size_bytes(&self) -> usize {
        self.fields.iter().map(|field| field.name.len() + field.value.size_bytes()).sum()
    }
}

/// Adds the field to a message.
pub(crate) fn write_field(builder: &mut MessageBuilder<'_>, field: &Field) {
    let name = &field.name;
    match &field.value {
        FieldValue::Text(text) => builder.field(name, Value::Text(text)),
        FieldValue::Integer(integer) => builder.field(name, Value::Integer(*integer)),
        FieldValue::Float(float) => builder.field(name, Value::Float(*float)),
        FieldValue::Boolean(boolean) => builder.field(name, Value::Boolean(*boolean)),
        FieldValue::Bytes(bytes) => builder.field(name, Value::Bytes(bytes)),
        FieldValue::Object(object) => builder.field(name, Value::Object(ObjectId(*object))),
        FieldValue::List(texts) => builder.list(name, texts.iter().map(|text| text.as_str())),
    }
}

/// Whether the field's canonical text is this one. Compares piece by piece, and copies nothing.
pub(crate) fn has_canonical_text(field: &FieldValue, text: &str) -> bool {
    let mut rest = Rest(text);
    let written = match field {
        FieldValue::Text(own) => rest.write_str(own),
        FieldValue::Integer(integer) => write!(rest, "{}", Value::Integer(*integer)),
        FieldValue::Float(float) => write!(rest, "{}", Value::Float(*float)),
        FieldValue::Boolean(boolean) => write!(rest, "{}", Value::Boolean(*boolean)),
        FieldValue::Bytes(bytes) => write!(rest, "{}", Value::Bytes(bytes)),
        FieldValue::Object(object) => write!(rest, "{}", ObjectId(*object)),
        FieldValue::List(texts) => texts.iter().enumerate().try_for_each(|(index, own)| {
            let separator = if index == 0 { "" } else { "|" };
            rest.write_str(separator)?;
            rest.write_str(own)
        }),
    };
    written.is_ok() && rest.0.is_empty()
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
