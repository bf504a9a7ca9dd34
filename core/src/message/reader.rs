//! Reads the packed form in place.

use core::str;

use super::{
    TYPE_BOOLEAN, TYPE_BYTES, TYPE_FLOAT, TYPE_INTEGER, TYPE_LIST, TYPE_NULL, TYPE_OBJECT,
    TYPE_TEXT, TextList, Value, check_text,
};
use crate::ids::ObjectId;
use crate::reason::Reason;

#[derive(Clone)]
pub(super) struct Reader<'a> {
    bytes: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// What was not read yet.
    pub(super) fn rest(&self) -> &'a [u8] {
        self.bytes
    }

    pub(super) fn remaining(&self) -> usize {
        self.bytes.len()
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], Reason> {
        let (taken, rest) = self.bytes.split_at_checked(count).ok_or(Reason::Malformed)?;
        self.bytes = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Reason> {
        Ok(self.take(N)?.try_into().expect("take returns N bytes"))
    }

    pub(super) fn name(&mut self) -> Result<&'a [u8], Reason> {
        let [length] = self.array()?;
        self.take(usize::from(length))
    }

    fn bytes(&mut self) -> Result<&'a [u8], Reason> {
        let length = u32::from_le_bytes(self.array()?);
        self.take(length as usize)
    }

    pub(super) fn text(&mut self) -> Result<&'a str, Reason> {
        str::from_utf8(self.bytes()?).map_err(|_| Reason::NotUtf8)
    }

    /// Reads a value and checks all of it.
    pub(super) fn value(&mut self) -> Result<Value<'a>, Reason> {
        let value = self.unchecked_value()?;
        match value {
            Value::Text(text) => check_text(text)?,
            Value::Float(float) if !float.is_finite() => return Err(Reason::FieldInvalid),
            Value::List(list) => {
                let mut reader = Self::new(list.bytes);
                for _ in 0..list.count {
                    check_text(reader.text()?)?;
                }
            }
            _ => {}
        }
        Ok(value)
    }

    /// Reads a value of a message that was checked.
    pub(super) fn checked_value(&mut self) -> Value<'a> {
        self.unchecked_value().expect("the message was checked")
    }

    /// Reads a value's shape, but not what its text or number may not be.
    fn unchecked_value(&mut self) -> Result<Value<'a>, Reason> {
        let [kind] = self.array()?;
        Ok(match kind {
            TYPE_NULL => Value::Null,
            TYPE_TEXT => Value::Text(self.text()?),
            TYPE_INTEGER => Value::Integer(i64::from_le_bytes(self.array()?)),
            TYPE_FLOAT => Value::Float(f64::from_le_bytes(self.array()?)),
            TYPE_BOOLEAN => match self.array()? {
                [0] => Value::Boolean(false),
                [1] => Value::Boolean(true),
                _ => return Err(Reason::FieldInvalid),
            },
            TYPE_BYTES => Value::Bytes(self.bytes()?),
            TYPE_OBJECT => Value::Object(ObjectId(u64::from_le_bytes(self.array()?))),
            TYPE_LIST => {
                let count = u16::from_le_bytes(self.array()?);
                let all = self.bytes;
                for _ in 0..count {
                    self.bytes()?;
                }
                let bytes = &all[..all.len() - self.bytes.len()];
                Value::List(TextList { count, bytes })
            }
            _ => return Err(Reason::Malformed),
        })
    }

    /// Passes over a value of a message that was checked, and says how many bytes it looked at: a
    /// list's texts are passed one by one.
    pub(super) fn skip_checked_value(&mut self) -> usize {
        let (kind, rest) = self.bytes.split_first().expect("the message was checked");
        let length = match *kind {
            TYPE_TEXT | TYPE_BYTES => {
                let mut value = Self::new(rest);
                value.bytes().expect("the message was checked");
                *self = value;
                return 0;
            }
            TYPE_INTEGER | TYPE_FLOAT | TYPE_OBJECT => 8,
            TYPE_BOOLEAN => 1,
            TYPE_NULL => 0,
            _ => {
                let before = self.remaining();
                self.checked_value();
                return before - self.remaining();
            }
        };
        self.bytes = &rest[length..];
        1 + length
    }

    pub(super) fn checked_name(&mut self) -> &'a str {
        str::from_utf8(self.checked_name_bytes()).expect("names are ASCII")
    }

    /// The same where it is only compared.
    pub(super) fn checked_name_bytes(&mut self) -> &'a [u8] {
        self.name().expect("the message was checked")
    }

    pub(super) fn checked_text(&mut self) -> &'a str {
        let bytes = self.bytes().expect("the message was checked");
        str::from_utf8(bytes).expect("text is UTF-8")
    }
}
