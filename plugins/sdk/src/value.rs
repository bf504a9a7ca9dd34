//! Values of fields, as they are read and as they are said.

use core::fmt;
use core::marker::PhantomData;

use crate::border::parts_of;
use crate::raw::{
    RawData, RawField, RawText, RawValue, VALUE_BOOLEAN, VALUE_BYTES, VALUE_FLOAT, VALUE_INTEGER,
    VALUE_LIST, VALUE_NULL, VALUE_OBJECT, VALUE_STRING,
};

/// The number of an object. It is written as `partition.address`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ObjectId(pub u64);

/// Bits of the address, below the partition's.
const ADDRESS_BITS: u32 = 48;

impl ObjectId {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (partition, address) = text.split_once('.')?;
        let (partition, address): (u16, u64) = (partition.parse().ok()?, address.parse().ok()?);
        let is_address = address >> ADDRESS_BITS == 0;
        is_address.then_some(Self(u64::from(partition) << ADDRESS_BITS | address))
    }
}

impl fmt::Display for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.0 >> ADDRESS_BITS, self.0 & ((1 << ADDRESS_BITS) - 1))
    }
}

/// A value of a field.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value<'a> {
    /// No value. In `set` it removes the field.
    Null,
    /// UTF-8.
    Text(&'a str),
    /// A whole number.
    Integer(i64),
    /// A finite number.
    Float(f64),
    /// Yes or no.
    Boolean(bool),
    /// Any bytes.
    Bytes(&'a [u8]),
    /// An object's number.
    Object(ObjectId),
    /// Texts.
    List(List<'a>),
}

impl<'a> Value<'a> {
    pub(crate) fn to_raw(self) -> RawValue {
        let text = |bytes: &[u8]| RawData { text: RawText::of(bytes) };
        let (kind, count, data) = match self {
            Self::Null => (VALUE_NULL, 0, RawData { integer: 0 }),
            Self::Text(value) => (VALUE_STRING, 0, text(value.as_bytes())),
            Self::Integer(integer) => (VALUE_INTEGER, 0, RawData { integer }),
            Self::Float(number) => (VALUE_FLOAT, 0, RawData { number }),
            Self::Boolean(value) => (VALUE_BOOLEAN, 0, RawData { integer: value.into() }),
            Self::Bytes(value) => (VALUE_BYTES, 0, text(value)),
            Self::Object(ObjectId(object)) => (VALUE_OBJECT, 0, RawData { object }),
            Self::List(list) => (VALUE_LIST, list.count, text(list.bytes)),
        };
        RawValue { kind, count, data }
    }

    /// The text; none if it is something else.
    #[must_use]
    pub fn as_text(self) -> Option<&'a str> {
        if let Self::Text(text) = self { Some(text) } else { None }
    }
}

/// As text protocols of the server write it: bytes as hexadecimal digits, a list joined by `|`.
impl fmt::Display for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Null => Ok(()),
            Self::Text(text) => f.write_str(text),
            Self::Integer(integer) => write!(f, "{integer}"),
            Self::Float(number) => write!(f, "{number}"),
            Self::Boolean(boolean) => write!(f, "{boolean}"),
            Self::Bytes(bytes) => bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}")),
            Self::Object(object) => write!(f, "{object}"),
            Self::List(list) => f.write_str(&list.iter().collect::<Vec<_>>().join("|")),
        }
    }
}

macro_rules! values_from {
    ($($from:ty, $value:ident => $made:expr;)*) => {$(
        impl<'a> From<$from> for Value<'a> {
            fn from($value: $from) -> Self {
                $made
            }
        }
    )*};
}

values_from! {
    &'a str, value => Self::Text(value);
    &'a String, value => Self::Text(value);
    &'a [u8], value => Self::Bytes(value);
    i64, value => Self::Integer(value);
    i32, value => Self::Integer(value.into());
    u32, value => Self::Integer(value.into());
    f64, value => Self::Float(value);
    f32, value => Self::Float(value.into());
    bool, value => Self::Boolean(value);
    ObjectId, value => Self::Object(value);
    &'a TextList, value => Self::List(value.as_list());
    List<'a>, value => Self::List(value);
    (), _value => Self::Null;
}

/// A field that a method says: a name and a value.
#[repr(transparent)]
#[derive(Clone, Copy)]
pub struct Field<'a> {
    pub(crate) raw: RawField,
    lives: PhantomData<&'a str>,
}

/// The field of this name with this value; `()` is none, and removes the field.
pub fn field<'a>(name: &'a str, value: impl Into<Value<'a>>) -> Field<'a> {
    let raw = RawField { name: RawText::of(name.as_bytes()), value: value.into().to_raw() };
    Field { raw, lives: PhantomData }
}

impl<'a> Field<'a> {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &'a str {
        parts_of(self).0
    }

    /// Its value.
    #[must_use]
    pub fn value(&self) -> Value<'a> {
        parts_of(self).1
    }
}

impl fmt::Debug for Field<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Field").field(&self.name()).field(&self.value()).finish()
    }
}

/// Bytes before each text of a list: its length, the lowest first.
const LENGTH_BYTES: usize = 4;

/// Texts that a field has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct List<'a> {
    count: u32,
    bytes: &'a [u8],
}

impl<'a> List<'a> {
    pub(crate) fn of(count: u32, bytes: &'a [u8]) -> Self {
        Self { count, bytes }
    }

    /// How many there are.
    #[must_use]
    pub fn len(self) -> usize {
        self.count as usize
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.count == 0
    }

    /// The texts, in their order.
    pub fn iter(self) -> impl Iterator<Item = &'a str> {
        let mut rest = self.bytes;
        (0..self.count).map_while(move |_| {
            let (length, behind) = rest.split_first_chunk::<LENGTH_BYTES>()?;
            let (text, behind) = behind.split_at_checked(u32::from_le_bytes(*length) as usize)?;
            rest = behind;
            core::str::from_utf8(text).ok()
        })
    }
}

/// Texts that a field is to have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TextList {
    count: u32,
    bytes: Vec<u8>,
}

impl TextList {
    /// None yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// One more.
    pub fn push(&mut self, text: &str) {
        self.count += 1;
        // A longer one is longer than any answer, which the server refuses.
        let length = u32::try_from(text.len()).unwrap_or(u32::MAX);
        self.bytes.extend_from_slice(&length.to_le_bytes());
        self.bytes.extend_from_slice(text.as_bytes());
    }

    #[cfg(test)]
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The texts.
    #[must_use]
    pub fn as_list(&self) -> List<'_> {
        List { count: self.count, bytes: &self.bytes }
    }
}

impl<'t> FromIterator<&'t str> for TextList {
    fn from_iter<I: IntoIterator<Item = &'t str>>(texts: I) -> Self {
        let mut list = Self::new();
        texts.into_iter().for_each(|text| list.push(text));
        list
    }
}
