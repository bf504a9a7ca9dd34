//! Writes the packed form.

use alloc::vec::Vec;

use super::{
    Fields, MESSAGE_FIELDS_MAX, Message, PackedField, REQUEST_FIELDS_MAX, Reader, TYPE_BOOLEAN,
    TYPE_BYTES, TYPE_FLOAT, TYPE_INTEGER, TYPE_LIST, TYPE_NULL, TYPE_OBJECT, TYPE_TEXT, Value,
    check_text,
};
use crate::name::{check_name_bytes, is_name};
use crate::reason::Reason;

/// Appends one message to a buffer.
///
/// ```
/// use warren_core::message::{Message, MessageBuilder, Value};
///
/// let mut bytes = Vec::new();
/// let mut builder = MessageBuilder::new(&mut bytes, "chat");
/// builder.field("to", Value::Text("room1"));
/// builder.field("text", Value::Text("hi"));
/// let message = Message::parse(&bytes).unwrap();
/// assert_eq!(message.method(), "chat");
/// assert_eq!(message.get("text"), Some(Value::Text("hi")));
/// ```
pub struct MessageBuilder<'b> {
    out: &'b mut Vec<u8>,
    start: usize,
    method_bytes: usize,
    field_count: usize,
    /// Where the names of checked fields begin, counted from the first field: so that finding a
    /// name twice looks at names only.
    checked_starts: [u32; REQUEST_FIELDS_MAX],
    checked_count: usize,
    open: Option<OpenField>,
}

/// A field whose value is still coming.
#[derive(Clone, Copy)]
struct OpenField {
    /// Where its type stands.
    type_at: usize,
    /// Where the length of the text that grows now stands: the field's own, or an item's.
    length_at: usize,
    /// Texts of the list so far, once it is one.
    item_count: Option<u16>,
}

impl<'b> MessageBuilder<'b> {
    /// Starts a message whose method is known.
    ///
    /// # Panics
    /// When the method is no name.
    pub fn new(out: &'b mut Vec<u8>, method: &str) -> Self {
        assert!(is_name(method.as_bytes()), "a method is a name");
        let start = out.len();
        write_name(out, method.as_bytes());
        Self::at(out, start, 1 + method.len(), 0)
    }

    /// Starts a message whose method comes among its fields, as in JSON. Until
    /// [`set_method`](Self::set_method) was called, the buffer holds no message.
    pub fn without_method(out: &'b mut Vec<u8>) -> Self {
        let start = out.len();
        Self::at(out, start, 0, 0)
    }

    /// Goes on with the message that begins at `start` and ends with the buffer.
    pub(crate) fn resume(out: &'b mut Vec<u8>, start: usize) -> Self {
        let message = Message::from_checked(&out[start..]);
        let (method_bytes, field_count) = (1 + message.method().len(), message.field_count());
        Self::at(out, start, method_bytes, field_count)
    }

    /// Goes on with the message that is all of the buffer, whose fields came from outside too.
    pub(crate) fn resume_checked(out: &'b mut Vec<u8>) -> Self {
        let mut builder = Self::resume(out, 0);
        let mut start = 0;
        for field in Message::from_checked(builder.out).packed_fields() {
            builder.checked_starts[builder.checked_count] = start;
            builder.checked_count += 1;
            start += u32::try_from(field.bytes.len()).expect("a message is shorter than 4 GiB");
        }
        builder
    }

    fn at(out: &'b mut Vec<u8>, start: usize, method_bytes: usize, field_count: usize) -> Self {
        let checked_starts = [0; REQUEST_FIELDS_MAX];
        Self { out, start, method_bytes, field_count, checked_starts, checked_count: 0, open: None }
    }

    /// Sets the method, before, between or after the fields.
    ///
    /// # Errors
    /// [`Reason::BadName`], [`Reason::DuplicateField`] when there is a method.
    ///
    /// # Panics
    /// When a field is open.
    pub fn set_method(&mut self, method: &[u8]) -> Result<(), Reason> {
        if self.method_bytes != 0 {
            return Err(Reason::DuplicateField);
        }
        assert!(self.open.is_none(), "the method is no part of a field");
        check_name_bytes(method)?;
        write_name(self.out, method);
        self.method_bytes = 1 + method.len();
        self.out[self.start..].rotate_right(self.method_bytes);
        Ok(())
    }

    /// Adds a field that came from outside: checks its name, its text and its number.
    ///
    /// # Errors
    /// The reason by which it is refused; the message is then as before.
    pub fn try_field(&mut self, name: &[u8], value: Value<'_>) -> Result<(), Reason> {
        check_value(value)?;
        self.claim(name)?;
        self.write_field(name, value);
        Ok(())
    }

    /// Adds a list of texts that came from outside: checks its name, its length and its texts.
    ///
    /// # Errors
    /// The reason by which it is refused; the message is then as before.
    pub fn try_list<'t>(
        &mut self,
        name: &str,
        texts: impl ExactSizeIterator<Item = &'t str> + Clone,
    ) -> Result<(), Reason> {
        if texts.len() > usize::from(u16::MAX) {
            return Err(Reason::FieldInvalid);
        }
        texts.clone().try_for_each(check_text)?;
        self.claim(name.as_bytes())?;
        self.list(name, texts);
        Ok(())
    }

    /// Adds bytes that came from outside: checks the field's name, and has `write` put so many at most into their
    /// place. It says how many those are. After an error there is no message.
    ///
    /// # Errors
    /// The reason by which the name is refused, or that of `write`.
    pub fn try_bytes(
        &mut self,
        name: &[u8],
        bytes_max: usize,
        write: impl FnOnce(&mut [u8]) -> Result<usize, Reason>,
    ) -> Result<(), Reason> {
        assert!(self.open.is_none(), "one field is open at a time");
        self.claim(name)?;
        write_name(self.out, name);
        self.out.push(TYPE_BYTES);
        let length_at = self.begin_length();
        let start = self.out.len();
        self.out.resize(start + bytes_max, 0);
        let written = write(&mut self.out[start..])?;
        self.out.truncate(start + written);
        self.end_length(length_at);
        self.field_count += 1;
        Ok(())
    }

    /// Begins a field that came from outside and whose value comes in pieces: a text, or with
    /// [`begin_item`](Self::begin_item) a list of texts. [`end_field`](Self::end_field) ends it. So
    /// text that has to be decoded needs no place but the message. After an error there is no
    /// message.
    ///
    /// # Errors
    /// The reason by which its name is refused.
    ///
    /// # Panics
    /// When another field is open.
    pub fn begin_field(&mut self, name: &[u8]) -> Result<(), Reason> {
        assert!(self.open.is_none(), "one field is open at a time");
        self.claim(name)?;
        write_name(self.out, name);
        let type_at = self.out.len();
        self.out.push(TYPE_TEXT);
        let length_at = self.begin_length();
        self.open = Some(OpenField { type_at, length_at, item_count: None });
        self.field_count += 1;
        Ok(())
    }

    /// Appends to the text of the open field, or to the last text of its list.
    ///
    /// # Errors
    /// [`Reason::ControlCharacter`].
    pub fn append_text(&mut self, piece: &str) -> Result<(), Reason> {
        debug_assert!(self.open.is_some());
        check_text(piece)?;
        self.out.extend_from_slice(piece.as_bytes());
        Ok(())
    }

    /// Begins the next text of a list. The first makes the open field a list; what was appended
    /// before it is dropped.
    ///
    /// # Errors
    /// [`Reason::FieldInvalid`] when the list has as many texts as a list may have.
    ///
    /// # Panics
    /// When no field is open.
    pub fn begin_item(&mut self) -> Result<(), Reason> {
        let mut open = self.open.expect("an item is in a field");
        if open.item_count.is_some() {
            self.end_length(open.length_at);
        } else {
            self.out.truncate(open.type_at);
            self.out.push(TYPE_LIST);
            self.out.extend_from_slice(&[0, 0]);
        }
        let count = open.item_count.unwrap_or(0).checked_add(1).ok_or(Reason::FieldInvalid)?;
        open.item_count = Some(count);
        open.length_at = self.begin_length();
        self.open = Some(open);
        Ok(())
    }

    /// Ends the open field.
    ///
    /// # Panics
    /// When no field is open.
    pub fn end_field(&mut self) {
        let open = self.open.take().expect("a field that was begun");
        self.end_length(open.length_at);
        if let Some(count) = open.item_count {
            let count_at = open.type_at + 1;
            self.out[count_at..count_at + 2].copy_from_slice(&count.to_le_bytes());
        }
    }

    fn begin_length(&mut self) -> usize {
        let length_at = self.out.len();
        self.out.extend_from_slice(&[0; 4]);
        length_at
    }

    fn end_length(&mut self, length_at: usize) {
        let length = self.out.len() - length_at - 4;
        let length = u32::try_from(length).expect("a value is shorter than 4 GiB");
        self.out[length_at..length_at + 4].copy_from_slice(&length.to_le_bytes());
    }

    /// Whether a field of this name from outside may come next; if so, it has to.
    fn claim(&mut self, name: &[u8]) -> Result<(), Reason> {
        check_name_bytes(name)?;
        if name == b"msg" {
            return Err(Reason::ReservedField);
        }
        if self.checked_count == REQUEST_FIELDS_MAX {
            return Err(Reason::TooManyFields);
        }
        let fields = &self.out[self.start + self.method_bytes..];
        let earlier = |start: &u32| Reader::new(&fields[*start as usize..]).name() == Ok(name);
        if self.checked_starts[..self.checked_count].iter().any(earlier) {
            return Err(Reason::DuplicateField);
        }
        let start = u32::try_from(fields.len()).expect("a message is shorter than 4 GiB");
        self.checked_starts[self.checked_count] = start;
        self.checked_count += 1;
        Ok(())
    }

    /// Adds a field of our own making.
    ///
    /// # Panics
    /// When [`try_field`](Self::try_field) would refuse it, in builds with debug assertions.
    pub fn field(&mut self, name: &str, value: Value<'_>) {
        debug_assert!(is_name(name.as_bytes()) && check_value(value).is_ok());
        debug_assert!(name != "msg" && !self.has_field(name.as_bytes()));
        self.write_field(name.as_bytes(), value);
    }

    /// Adds a field of a message that was checked.
    ///
    /// # Panics
    /// When a field of its name is there, in builds with debug assertions.
    pub(crate) fn packed_field(&mut self, field: PackedField<'_>) {
        debug_assert!(!self.has_field(field.name));
        assert!(self.field_count < MESSAGE_FIELDS_MAX, "a message has room for its fields");
        self.out.extend_from_slice(field.bytes);
        self.field_count += 1;
    }

    /// Adds all fields of a message of our own making.
    pub(crate) fn fields_of(&mut self, message: Message<'_>) {
        self.field_count += message.field_count();
        assert!(self.field_count <= MESSAGE_FIELDS_MAX, "a message has room for its fields");
        self.out.extend_from_slice(message.fields().reader.rest());
    }

    /// Adds a field whose value is a list of texts, without a list at hand.
    pub fn list<'t>(&mut self, name: &str, texts: impl Iterator<Item = &'t str>) {
        write_name(self.out, name.as_bytes());
        self.out.push(TYPE_LIST);
        let count_at = self.out.len();
        self.out.extend_from_slice(&[0, 0]);
        let mut count: u16 = 0;
        for text in texts {
            count = count.checked_add(1).expect("a list has at most 65,535 texts");
            write_bytes(self.out, text.as_bytes());
        }
        self.out[count_at..count_at + 2].copy_from_slice(&count.to_le_bytes());
        self.field_count += 1;
    }

    fn has_field(&self, name: &[u8]) -> bool {
        let fields = &self.out[self.start + self.method_bytes..];
        (Fields { reader: Reader::new(fields) }).any(|(field, _)| field.as_bytes() == name)
    }

    /// Whether the method was set.
    #[must_use]
    pub fn has_method(&self) -> bool {
        self.method_bytes != 0
    }

    fn write_field(&mut self, name: &[u8], value: Value<'_>) {
        assert!(self.field_count < MESSAGE_FIELDS_MAX, "a message has room for its fields");
        write_name(self.out, name);
        write_value(self.out, value);
        self.field_count += 1;
    }
}

fn check_value(value: Value<'_>) -> Result<(), Reason> {
    match value {
        Value::Text(text) => check_text(text),
        Value::Float(float) if !float.is_finite() => Err(Reason::FieldInvalid),
        _ => Ok(()),
    }
}

fn write_name(out: &mut Vec<u8>, name: &[u8]) {
    out.push(u8::try_from(name.len()).expect("names are short"));
    out.extend_from_slice(name);
}

fn write_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    let length = u32::try_from(bytes.len()).expect("a value is shorter than 4 GiB");
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(bytes);
}

fn write_value(out: &mut Vec<u8>, value: Value<'_>) {
    match value {
        Value::Null => out.push(TYPE_NULL),
        Value::Text(text) => {
            out.push(TYPE_TEXT);
            write_bytes(out, text.as_bytes());
        }
        Value::Integer(integer) => {
            out.push(TYPE_INTEGER);
            out.extend_from_slice(&integer.to_le_bytes());
        }
        Value::Float(float) => {
            out.push(TYPE_FLOAT);
            out.extend_from_slice(&float.to_le_bytes());
        }
        Value::Boolean(boolean) => out.extend_from_slice(&[TYPE_BOOLEAN, u8::from(boolean)]),
        Value::Bytes(bytes) => {
            out.push(TYPE_BYTES);
            write_bytes(out, bytes);
        }
        Value::Object(object) => {
            out.push(TYPE_OBJECT);
            out.extend_from_slice(&object.0.to_le_bytes());
        }
        Value::List(list) => {
            out.push(TYPE_LIST);
            out.extend_from_slice(&list.count.to_le_bytes());
            out.extend_from_slice(list.bytes);
        }
    }
}
