//! JSON: one flat object a frame, ended by LF or NUL. serde_json reads the text; the visitors here
//! write what it finds straight into the packed message, so no tree is ever built, and a nested
//! value is refused where it begins, so no depth is ever reached.
//!
//! Refusals do not travel through serde's errors, which are text: the visitors leave the reason in
//! [`Reading`] and then fail.

use std::fmt;
use std::io::Write;

use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use base64::{Engine, decoded_len_estimate};
use memchr::memchr2;
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use warren_core::message::{Message, MessageBuilder, TextList, Value, check_text};
use warren_core::name::{NAME_BYTES_MAX, check_name};
use warren_core::reason::Reason;

use super::{Frame, GatewaySettings, find_frame_end, settle_frame};

/// The one name of the object by which bytes are written.
const BYTES_NAME: &str = "$bytes";

/// Decodes the frame at the beginning of `bytes`.
pub(super) fn decode(
    settings: &GatewaySettings,
    bytes: &[u8],
    scanned: &mut usize,
    out: &mut Vec<u8>,
) -> Frame {
    let end = match find_frame_end(settings, bytes, scanned, |window| memchr2(b'\n', 0, window)) {
        Ok(end) => end,
        Err(frame) => return frame,
    };
    let consumed = end + 1;
    let frame = &bytes[..end];
    if frame.iter().all(|byte| matches!(byte, b' ' | b'\t' | b'\r')) {
        return Frame::Empty { consumed };
    }
    let start = out.len();
    let result =
        str::from_utf8(frame).map_err(|_| Reason::NotUtf8).and_then(|text| read(text, out));
    settle_frame(result, consumed, start, out)
}

/// Appends the message of the object that is all of `text` but blanks around it.
pub(super) fn read(text: &str, out: &mut Vec<u8>) -> Result<(), Reason> {
    let builder = MessageBuilder::without_method(out);
    let text = text.trim_start_matches([' ', '\t', '\r', '\n']);
    if !text.starts_with('{') {
        return Err(Reason::Malformed);
    }
    let mut reading = Reading { builder, refused: None };
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let result =
        deserializer.deserialize_map(ObjectVisitor(&mut reading)).and_then(|()| deserializer.end());
    match result {
        Ok(()) if reading.builder.has_method() => Ok(()),
        Ok(()) => Err(Reason::MethodMissing),
        Err(error) => Err(match reading.refused {
            Some(reason) => reason,
            // A value of a type that no visitor takes: a number in a list, say.
            None if error.is_data() => Reason::FieldInvalid,
            // JSON has no place at all for these bytes, least of all inside text.
            None if check_text(text).is_err() => Reason::ControlCharacter,
            None => Reason::Malformed,
        }),
    }
}

/// What the visitors share: the message so far, and the reason why it is none.
struct Reading<'b> {
    builder: MessageBuilder<'b>,
    refused: Option<Reason>,
}

impl Reading<'_> {
    fn check<T, E: Error>(&mut self, result: Result<T, Reason>) -> Result<T, E> {
        result.map_err(|reason| {
            self.refused = Some(reason);
            E::custom(reason.word())
        })
    }

    fn put<E: Error>(&mut self, name: &FieldName, value: Value<'_>) -> Result<(), E> {
        let result = match value {
            Value::Text(method) if name.is_method() => self.builder.set_method(method.as_bytes()),
            _ if name.is_method() => Err(Reason::FieldInvalid),
            _ => self.builder.try_field(name.as_bytes(), value),
        };
        self.check(result)
    }

    fn put_list<E: Error>(&mut self, name: &FieldName, texts: &TextArena) -> Result<(), E> {
        let result = self.builder.try_list(name.as_str(), texts.iter());
        self.check(result)
    }
}

/// A checked name, kept while its value is read: serde lends the text of a key only for a moment.
struct FieldName {
    bytes: [u8; NAME_BYTES_MAX],
    length: usize,
}

impl FieldName {
    fn new(name: &str) -> Result<Self, Reason> {
        let name = check_name(name.as_bytes())?;
        let mut bytes = [0; NAME_BYTES_MAX];
        bytes[..name.len()].copy_from_slice(name.as_bytes());
        Ok(Self { bytes, length: name.len() })
    }

    fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }

    fn as_str(&self) -> &str {
        str::from_utf8(self.as_bytes()).expect("names are ASCII")
    }

    fn is_method(&self) -> bool {
        self.as_bytes() == b"msg"
    }
}

/// The texts of a list, one after the other.
#[derive(Default)]
struct TextArena {
    text: String,
    ends: Vec<usize>,
}

impl TextArena {
    fn iter(&self) -> impl ExactSizeIterator<Item = &str> + Clone {
        let mut start = 0;
        self.ends.iter().map(move |end| {
            let text = &self.text[start..*end];
            start = *end;
            text
        })
    }
}

/// Reads the object that is the frame.
struct ObjectVisitor<'s, 'b>(&'s mut Reading<'b>);

impl<'de> Visitor<'de> for ObjectVisitor<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(name) = map.next_key_seed(NameSeed(self.0))? {
            map.next_value_seed(ValueSeed { reading: self.0, name })?;
        }
        Ok(())
    }
}

/// Reads a field's name.
struct NameSeed<'s, 'b>(&'s mut Reading<'b>);

impl<'de> DeserializeSeed<'de> for NameSeed<'_, '_> {
    type Value = FieldName;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<FieldName, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for NameSeed<'_, '_> {
    type Value = FieldName;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<FieldName, E> {
        self.0.check(FieldName::new(name))
    }
}

/// Reads a field's value into the message.
struct ValueSeed<'s, 'b> {
    reading: &'s mut Reading<'b>,
    name: FieldName,
}

impl<'de> DeserializeSeed<'de> for ValueSeed<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for ValueSeed<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        self.reading.put(&self.name, Value::Null)
    }

    fn visit_bool<E: Error>(self, boolean: bool) -> Result<(), E> {
        self.reading.put(&self.name, Value::Boolean(boolean))
    }

    fn visit_i64<E: Error>(self, integer: i64) -> Result<(), E> {
        self.reading.put(&self.name, Value::Integer(integer))
    }

    fn visit_u64<E: Error>(self, integer: u64) -> Result<(), E> {
        let integer = i64::try_from(integer).map_err(|_| Reason::FieldInvalid);
        let integer = self.reading.check(integer)?;
        self.reading.put(&self.name, Value::Integer(integer))
    }

    fn visit_f64<E: Error>(self, float: f64) -> Result<(), E> {
        self.reading.put(&self.name, Value::Float(float))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<(), E> {
        self.reading.put(&self.name, Value::Text(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        if self.name.is_method() {
            return self.reading.check(Err(Reason::FieldInvalid));
        }
        let mut texts = TextArena::default();
        while let Some(()) =
            list.next_element_seed(TextSeed { reading: self.reading, text: &mut texts.text })?
        {
            texts.ends.push(texts.text.len());
        }
        self.reading.put_list(&self.name, &texts)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        if self.name.is_method() {
            return self.reading.check(Err(Reason::FieldInvalid));
        }
        if map.next_key_seed(BytesNameSeed)? != Some(true) {
            return self.reading.check(Err(Reason::NestedField));
        }
        map.next_value_seed(BytesSeed { reading: self.reading, name: &self.name })?;
        match map.next_key_seed(BytesNameSeed)? {
            Some(_) => self.reading.check(Err(Reason::NestedField)),
            None => Ok(()),
        }
    }
}

/// Says whether a name is that of bytes.
struct BytesNameSeed;

impl<'de> DeserializeSeed<'de> for BytesNameSeed {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for BytesNameSeed {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<bool, E> {
        Ok(name == BYTES_NAME)
    }
}

/// Reads bytes into the message: what is not written in base64 is refused.
struct BytesSeed<'s, 'b> {
    reading: &'s mut Reading<'b>,
    name: &'s FieldName,
}

impl<'de> DeserializeSeed<'de> for BytesSeed<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for BytesSeed<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("text")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<(), E> {
        let engine = if text.ends_with('=') { STANDARD } else { STANDARD_NO_PAD };
        let bytes_max = decoded_len_estimate(text.len());
        let decode =
            |place: &mut [u8]| engine.decode_slice(text, place).map_err(|_| Reason::FieldInvalid);
        let result = self.reading.builder.try_bytes(self.name.as_bytes(), bytes_max, decode);
        self.reading.check(result)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, _: A) -> Result<(), A::Error> {
        self.reading.check(Err(Reason::NestedField))
    }

    fn visit_map<A: MapAccess<'de>>(self, _: A) -> Result<(), A::Error> {
        self.reading.check(Err(Reason::NestedField))
    }
}

/// Appends a text to `text`. Anything but text and structures is left to serde to refuse.
struct TextSeed<'s, 'b> {
    reading: &'s mut Reading<'b>,
    text: &'s mut String,
}

impl<'de> DeserializeSeed<'de> for TextSeed<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for TextSeed<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("text")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<(), E> {
        self.text.push_str(text);
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, _: A) -> Result<(), A::Error> {
        self.reading.check(Err(Reason::NestedField))
    }

    fn visit_map<A: MapAccess<'de>>(self, _: A) -> Result<(), A::Error> {
        self.reading.check(Err(Reason::NestedField))
    }
}

/// Appends the frame that carries `message`.
pub(super) fn encode(message: Message<'_>, out: &mut Vec<u8>) {
    write(message, out);
    out.push(b'\n');
}

/// Appends the object of `message`: the method first, then the fields in their order.
pub(super) fn write(message: Message<'_>, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"msg\":\"");
    out.extend_from_slice(message.method().as_bytes());
    out.push(b'"');
    for (name, value) in message.fields() {
        // A name holds nothing that JSON would escape.
        out.extend_from_slice(b",\"");
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(b"\":");
        write_value(value, out);
    }
    out.push(b'}');
}

fn write_value(value: Value<'_>, out: &mut Vec<u8>) {
    match value {
        Value::Null => out.extend_from_slice(b"null"),
        Value::Text(text) => write_json(text, out),
        Value::Integer(integer) => write_json(&integer, out),
        Value::Float(float) => write_json(&float, out),
        Value::Boolean(boolean) => write_json(&boolean, out),
        Value::Bytes(bytes) => write_bytes(bytes, out),
        Value::Object(object) => {
            write!(out, "\"{object}\"").expect("writing to memory does not fail");
        }
        Value::List(list) => write_list(list, out),
    }
}

fn write_json<T: serde::Serialize + ?Sized>(value: &T, out: &mut Vec<u8>) {
    serde_json::to_writer(out, value).expect("text and numbers are JSON, and memory takes them");
}

fn write_bytes(bytes: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"$bytes\":\"");
    let start = out.len();
    // Four characters for every three bytes begun.
    out.resize(start + bytes.len().div_ceil(3) * 4, 0);
    let written = STANDARD.encode_slice(bytes, &mut out[start..]);
    debug_assert_eq!(written, Ok(out.len() - start));
    out.extend_from_slice(b"\"}");
}

fn write_list(list: TextList<'_>, out: &mut Vec<u8>) {
    out.push(b'[');
    for (index, text) in list.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        write_json(text, out);
    }
    out.push(b']');
}
