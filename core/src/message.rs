//! The message: a method and named fields, in one packed form that every part of Warren reads in
//! place. The binary protocol sends it as it is; the other gateways translate.
//!
//! ```text
//! message = method field*
//! method  = u8 length, name
//! field   = u8 length, name, u8 type, value
//! value   = 0 null
//!         | 1 text     u32 length, UTF-8
//!         | 2 integer  i64
//!         | 3 float    f64, finite
//!         | 4 boolean  u8, 0 or 1
//!         | 5 bytes    u32 length, bytes
//!         | 6 object   u64
//!         | 7 list     u16 count, then count times (u32 length, UTF-8)
//! ```
//!
//! All numbers are little-endian. [`Message::parse`] is where untrusted bytes become a `Message`;
//! [`MessageBuilder`] makes only what `parse` accepts.

use alloc::vec::Vec;
use core::fmt;

use crate::ids::ObjectId;
use crate::name::{check_name, check_name_bytes};
use crate::reason::Reason;

mod builder;
mod reader;

pub use builder::MessageBuilder;
use reader::Reader;

/// Most fields of a message. Finding duplicates is quadratic in it. A reply may hold an object's
/// fields, the fields of the request that it repeats, and its own.
pub const MESSAGE_FIELDS_MAX: usize = 128;
/// Most fields of a request.
pub const REQUEST_FIELDS_MAX: usize = 48;
/// Most fields of an object.
pub const OBJECT_FIELDS_MAX: usize = 48;
const _: () = assert!(REQUEST_FIELDS_MAX + OBJECT_FIELDS_MAX + 16 <= MESSAGE_FIELDS_MAX);
/// Longest message in packed form, in bytes. A configured frame limit may only be smaller.
pub const MESSAGE_BYTES_MAX: usize = 1 << 20;

pub(crate) const TYPE_NULL: u8 = 0;
pub(crate) const TYPE_TEXT: u8 = 1;
pub(crate) const TYPE_INTEGER: u8 = 2;
pub(crate) const TYPE_FLOAT: u8 = 3;
pub(crate) const TYPE_BOOLEAN: u8 = 4;
pub(crate) const TYPE_BYTES: u8 = 5;
pub(crate) const TYPE_OBJECT: u8 = 6;
pub(crate) const TYPE_LIST: u8 = 7;

/// A field's value, borrowed from the message.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value<'a> {
    /// No value: in `set`, removes the field.
    Null,
    /// UTF-8 without U+0000 to U+001F except tab, LF and CR.
    Text(&'a str),
    /// 64-bit signed.
    Integer(i64),
    /// Finite.
    Float(f64),
    /// True or false.
    Boolean(bool),
    /// Any bytes.
    Bytes(&'a [u8]),
    /// An object's id.
    Object(ObjectId),
    /// A list of texts.
    List(TextList<'a>),
}

impl<'a> Value<'a> {
    /// The text, if it is text.
    #[must_use]
    pub fn as_text(self) -> Option<&'a str> {
        if let Self::Text(text) = self { Some(text) } else { None }
    }

    /// The integer, also when it was sent as text, as text protocols do.
    #[must_use]
    pub fn as_integer(self) -> Option<i64> {
        match self {
            Self::Integer(integer) => Some(integer),
            Self::Text(text) => text.parse().ok(),
            _ => None,
        }
    }

    /// The number, also when it is an integer or was sent as text. Finite.
    #[must_use]
    pub fn as_float(self) -> Option<f64> {
        let float = match self {
            Self::Float(float) => float,
            Self::Integer(integer) => integer as f64,
            Self::Text(text) => text.parse().ok()?,
            _ => return None,
        };
        float.is_finite().then_some(float)
    }

    /// The boolean, also when it was sent as `true`, `false`, `1` or `0`.
    #[must_use]
    pub fn as_boolean(self) -> Option<bool> {
        match self {
            Self::Boolean(boolean) => Some(boolean),
            Self::Text("true" | "1") | Self::Integer(1) => Some(true),
            Self::Text("false" | "0") | Self::Integer(0) => Some(false),
            _ => None,
        }
    }

    /// The object id, also when it was sent as `partition.address`.
    #[must_use]
    pub fn as_object(self) -> Option<ObjectId> {
        match self {
            Self::Object(object) => Some(object),
            Self::Text(text) => text.parse().ok(),
            _ => None,
        }
    }

    /// Bytes of what it holds.
    pub(crate) fn size_bytes(self) -> usize {
        match self {
            Self::Null => 0,
            Self::Boolean(_) => 1,
            Self::Integer(_) | Self::Float(_) | Self::Object(_) => 8,
            Self::Text(text) => text.len(),
            Self::Bytes(bytes) => bytes.len(),
            Self::List(list) => list.bytes.len(),
        }
    }

    /// Whether the field is to be removed: null, or empty text.
    #[must_use]
    pub fn removes(self) -> bool {
        matches!(self, Self::Null | Self::Text(""))
    }
}

/// The canonical text: what text protocols send, and what `find` compares. Bytes are lower-case
/// hexadecimal; a list is joined by `|`.
impl fmt::Display for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Null => Ok(()),
            Self::Text(text) => f.write_str(text),
            Self::Integer(integer) => write!(f, "{integer}"),
            Self::Float(float) => write!(f, "{float}"),
            Self::Boolean(boolean) => write!(f, "{boolean}"),
            Self::Bytes(bytes) => bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}")),
            Self::Object(object) => write!(f, "{object}"),
            Self::List(list) => list.iter().enumerate().try_for_each(|(index, text)| {
                if index > 0 {
                    f.write_str("|")?;
                }
                f.write_str(text)
            }),
        }
    }
}

/// A list of texts, borrowed from the message.
#[derive(Clone, Copy, PartialEq)]
pub struct TextList<'a> {
    count: u16,
    bytes: &'a [u8],
}

impl<'a> TextList<'a> {
    /// The list of so many texts, packed as in a message.
    ///
    /// # Errors
    /// When there are fewer or more, or a text is none.
    pub fn parse(count: usize, bytes: &'a [u8]) -> Result<Self, Reason> {
        let count = u16::try_from(count).map_err(|_| Reason::FieldInvalid)?;
        let mut reader = Reader::new(bytes);
        for _ in 0..count {
            check_text(reader.text()?)?;
        }
        if reader.is_empty() { Ok(Self { count, bytes }) } else { Err(Reason::FieldInvalid) }
    }

    /// The texts as they are packed in a message: each behind its length in four bytes.
    #[must_use]
    pub fn as_bytes(self) -> &'a [u8] {
        self.bytes
    }

    /// The texts in order.
    pub fn iter(self) -> impl Iterator<Item = &'a str> {
        let mut reader = Reader::new(self.bytes);
        (0..self.count).map(move |_| reader.checked_text())
    }

    /// Number of texts.
    #[must_use]
    pub fn len(self) -> usize {
        usize::from(self.count)
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.count == 0
    }
}

impl fmt::Debug for TextList<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

/// A message in packed form that was checked as a whole.
#[derive(Clone, Copy, PartialEq)]
pub struct Message<'a> {
    bytes: &'a [u8],
}

impl<'a> Message<'a> {
    /// Checks bytes that a client sent.
    ///
    /// # Errors
    /// The reason by which the first fault is refused.
    pub fn parse_request(bytes: &'a [u8]) -> Result<Self, Reason> {
        Self::parse_bounded(bytes, REQUEST_FIELDS_MAX)
    }

    /// Checks bytes that may be any message, as a client does with what a server sent.
    ///
    /// # Errors
    /// The reason by which the first fault is refused.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Reason> {
        Self::parse_bounded(bytes, MESSAGE_FIELDS_MAX)
    }

    fn parse_bounded(bytes: &'a [u8], fields_max: usize) -> Result<Self, Reason> {
        if bytes.len() > MESSAGE_BYTES_MAX {
            return Err(Reason::FrameTooLarge);
        }
        let mut reader = Reader::new(bytes);
        check_name_bytes(reader.name()?)?;
        let mut name_starts = [0u32; MESSAGE_FIELDS_MAX];
        let mut count = 0;
        while !reader.is_empty() {
            let start = bytes.len() - reader.remaining();
            let name = reader.name()?;
            check_name_bytes(name)?;
            if count == fields_max {
                return Err(Reason::TooManyFields);
            }
            let earlier = |start: &u32| Reader::new(&bytes[*start as usize..]).name() == Ok(name);
            if name_starts[..count].iter().any(earlier) {
                return Err(Reason::DuplicateField);
            }
            if name == b"msg" {
                return Err(Reason::ReservedField);
            }
            name_starts[count] = start as u32;
            count += 1;
            reader.value()?;
        }
        Ok(Self { bytes })
    }

    /// Bytes that [`MessageBuilder`] made or [`parse`](Self::parse) accepted earlier in this
    /// process. Reading a message that is neither panics.
    #[must_use]
    pub fn from_checked(bytes: &'a [u8]) -> Self {
        debug_assert!(Self::parse(bytes).is_ok());
        Self { bytes }
    }

    /// The packed form.
    #[must_use]
    pub fn as_bytes(self) -> &'a [u8] {
        self.bytes
    }

    /// The method's name.
    #[must_use]
    pub fn method(self) -> &'a str {
        Reader::new(self.bytes).checked_name()
    }

    /// The fields in the order in which they were sent.
    #[must_use]
    pub fn fields(self) -> Fields<'a> {
        let mut reader = Reader::new(self.bytes);
        reader.checked_name_bytes();
        Fields { reader }
    }

    /// The fields as they are packed.
    pub(crate) fn packed_fields(self) -> impl Iterator<Item = PackedField<'a>> {
        let mut reader = self.fields().reader;
        core::iter::from_fn(move || {
            let field = reader.rest();
            if field.is_empty() {
                return None;
            }
            let name = reader.checked_name_bytes();
            reader.skip_checked_value();
            Some(PackedField { name, bytes: &field[..field.len() - reader.remaining()] })
        })
    }

    /// The value of the field, if there is one and it is not null.
    #[must_use]
    pub fn get(self, name: &str) -> Option<Value<'a>> {
        let mut reader = self.fields().reader;
        while !reader.is_empty() {
            // As bytes: a name that is passed over need not be text.
            if reader.checked_name_bytes() == name.as_bytes() {
                return Some(reader.checked_value()).filter(|value| *value != Value::Null);
            }
            reader.skip_checked_value();
        }
        None
    }

    /// The values of several fields, as [`get`](Self::get) has each, in one pass.
    pub(crate) fn get_all<const N: usize>(self, names: [&str; N]) -> [Option<Value<'a>>; N] {
        let mut values = [None; N];
        let mut reader = self.fields().reader;
        while !reader.is_empty() {
            let name = reader.checked_name_bytes();
            match names.iter().position(|wanted| wanted.as_bytes() == name) {
                Some(place) => {
                    values[place] =
                        Some(reader.checked_value()).filter(|value| *value != Value::Null);
                }
                None => _ = reader.skip_checked_value(),
            }
        }
        values
    }

    /// Number of fields.
    #[must_use]
    pub fn field_count(self) -> usize {
        let mut reader = self.fields().reader;
        let mut count = 0;
        while !reader.is_empty() {
            reader.checked_name_bytes();
            reader.skip_checked_value();
            count += 1;
        }
        count
    }

    /// The value of a text field that must be there.
    ///
    /// # Errors
    /// [`Reason::FieldMissing`], [`Reason::FieldInvalid`].
    pub fn text(self, name: &str) -> Result<&'a str, Reason> {
        self.get(name).ok_or(Reason::FieldMissing)?.as_text().ok_or(Reason::FieldInvalid)
    }

    /// The value of a field that must be there and hold a name.
    ///
    /// # Errors
    /// [`Reason::FieldMissing`], [`Reason::FieldInvalid`], [`Reason::BadName`].
    pub fn name(self, name: &str) -> Result<&'a str, Reason> {
        check_name(self.text(name)?.as_bytes())
    }
}

impl fmt::Debug for Message<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.method())?;
        f.debug_map().entries(self.fields()).finish()
    }
}

/// A field as it stands in a message.
#[derive(Clone, Copy)]
pub(crate) struct PackedField<'a> {
    pub(crate) name: &'a [u8],
    /// Name, type and value.
    pub(crate) bytes: &'a [u8],
}

impl<'a> PackedField<'a> {
    pub(crate) fn is_null(self) -> bool {
        self.bytes[1 + self.name.len()] == TYPE_NULL
    }

    pub(crate) fn value(self) -> Value<'a> {
        Reader::new(&self.bytes[1 + self.name.len()..]).checked_value()
    }
}

/// Iterator over a message's fields.
#[derive(Clone)]
pub struct Fields<'a> {
    reader: Reader<'a>,
}

impl<'a> Fields<'a> {
    /// Passes the next field, if there is one. Gives its value if the name is wanted, and how many
    /// bytes of the value were looked at: what nobody wants is passed over where that is possible.
    pub(crate) fn next_if(
        &mut self,
        is_wanted: impl FnOnce(&'a str) -> bool,
    ) -> Option<(Option<Value<'a>>, usize)> {
        if self.reader.is_empty() {
            return None;
        }
        let is_wanted = is_wanted(self.reader.checked_name());
        let before = self.reader.remaining();
        if !is_wanted {
            return Some((None, self.reader.skip_checked_value()));
        }
        let value = self.reader.checked_value();
        Some((Some(value), before - self.reader.remaining()))
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = (&'a str, Value<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        if self.reader.is_empty() {
            return None;
        }
        let name = self.reader.checked_name();
        Some((name, self.reader.checked_value()))
    }
}

/// Whether text may be sent: no U+0000 to U+001F except tab, LF and CR.
///
/// # Errors
/// [`Reason::ControlCharacter`].
pub fn check_text(text: &str) -> Result<(), Reason> {
    let refused = |byte: u8| byte < 0x20 && !matches!(byte, b'\t' | b'\n' | b'\r');
    // To the end, whatever is found: so the compiler looks at 16 bytes at a time.
    let is_refused = text.bytes().fold(false, |found, byte| found | refused(byte));
    if is_refused { Err(Reason::ControlCharacter) } else { Ok(()) }
}

/// Packed message on the heap; for tests and for what is off the hot path.
#[must_use]
pub fn packed(method: &str, fields: &[(&str, Value<'_>)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut builder = MessageBuilder::new(&mut bytes, method);
    for (name, value) in fields {
        builder.field(name, *value);
    }
    bytes
}

#[cfg(test)]
mod tests;
