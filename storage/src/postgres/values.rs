//! An object's record as jsonb, and back. What JSON has stands as it is; of the rest each value is an
//! object with one member, whose name is the type.
//!
//! | value | jsonb |
//! |---|---|
//! | text | `"red"` |
//! | integer | `7` |
//! | float | `{"float": "-0.5"}`: jsonb has no -0, and would write 1e300 with 300 zeros |
//! | boolean | `true` |
//! | bytes | `{"bytes": "01ab"}` |
//! | object | `{"object": "171.31"}` |
//! | list of texts | `["a", "b"]` |
//!
//! No text has U+0000, which jsonb refuses, and no float is infinite or none: what holds that is the
//! packed form, whose check every record has passed.

use serde_json::{Map, Value as Json};
use warren_core::ids::ObjectId;
use warren_core::message::{
    Message, MessageBuilder, OBJECT_FIELDS_MAX, TextList, Value, check_text,
};
use warren_core::name::check_name;
use warren_core::object::FIELD_OWNER;

const TAG_FLOAT: &str = "float";
const TAG_BYTES: &str = "bytes";
const TAG_OBJECT: &str = "object";

/// Appends the value as JSON; null too, which stands for a field that is removed.
pub(super) fn write_value(out: &mut Vec<u8>, value: Value<'_>) {
    match value {
        Value::Null => out.extend_from_slice(b"null"),
        Value::Text(text) => write_text(out, text),
        Value::Integer(integer) => out.extend_from_slice(integer.to_string().as_bytes()),
        // The shortest text from which the same float is read.
        Value::Float(float) => write_tagged(out, TAG_FLOAT, &format!("{float:?}")),
        Value::Boolean(boolean) => out.extend_from_slice(boolean.to_string().as_bytes()),
        Value::Bytes(_) => write_tagged(out, TAG_BYTES, &value.to_string()),
        Value::Object(_) => write_tagged(out, TAG_OBJECT, &value.to_string()),
        Value::List(list) => write_list(out, list),
    }
}

fn write_list(out: &mut Vec<u8>, list: TextList<'_>) {
    out.push(b'[');
    for (index, text) in list.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        write_text(out, text);
    }
    out.push(b']');
}

fn write_tagged(out: &mut Vec<u8>, tag: &str, text: &str) {
    out.extend_from_slice(format!("{{\"{tag}\":\"{text}\"}}").as_bytes());
}

fn write_text(out: &mut Vec<u8>, text: &str) {
    serde_json::to_writer(out, text).expect("a vector takes any text");
}

/// Appends all fields of a record as one JSON object.
pub(super) fn write_fields(out: &mut Vec<u8>, record: Message<'_>) {
    out.push(b'{');
    for (index, (name, value)) in record.fields().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        write_text(out, name);
        out.push(b':');
        write_value(out, value);
    }
    out.push(b'}');
}

/// Why a row's kind and fields are no record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ValueError(String);

impl core::fmt::Display for ValueError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(&self.0)
    }
}

impl core::error::Error for ValueError {}

fn refused(what: impl core::fmt::Display) -> ValueError {
    ValueError(what.to_string())
}

/// The packed record of a row. Its owner comes first, as in every record.
pub(super) fn record_of(kind: &str, fields: &str) -> Result<Vec<u8>, ValueError> {
    check_name(kind.as_bytes()).map_err(|_| refused(format_args!("kind {kind:?} is no name")))?;
    let fields: Map<String, Json> =
        serde_json::from_str(fields).map_err(|_| refused("its fields are no JSON object"))?;
    // Beside the owner.
    if fields.len() > OBJECT_FIELDS_MAX + 1 {
        return Err(refused(format_args!("{} fields are too many", fields.len())));
    }
    let mut record = Vec::new();
    let mut builder = MessageBuilder::new(&mut record, kind);
    let owner = fields.get_key_value(FIELD_OWNER).into_iter();
    for (name, value) in owner.chain(fields.iter().filter(|(name, _)| *name != FIELD_OWNER)) {
        write_field(&mut builder, name, value)
            .map_err(|why| refused(format_args!("field {name:?}: {why}")))?;
    }
    Message::parse(&record).map_err(|reason| refused(reason.word()))?;
    Ok(record)
}

fn write_field(
    builder: &mut MessageBuilder<'_>,
    name: &str,
    value: &Json,
) -> Result<(), ValueError> {
    check_name(name.as_bytes()).map_err(|_| refused("it has no field's name"))?;
    if name == "msg" {
        return Err(refused("no field has that name"));
    }
    let checked = |text: &str| {
        check_text(text).map_err(|_| refused("its text has a character that no text may have"))
    };
    match value {
        Json::Null => return Err(refused("it is null")),
        Json::Bool(boolean) => builder.field(name, Value::Boolean(*boolean)),
        Json::Number(number) => {
            let integer = number.as_i64().ok_or_else(|| {
                refused(format_args!(
                    "{number} is no integer of 64 bits; a float is {{\"float\": …}}"
                ))
            })?;
            builder.field(name, Value::Integer(integer));
        }
        Json::String(text) => {
            checked(text)?;
            builder.field(name, Value::Text(text));
        }
        Json::Array(items) => {
            if items.len() > usize::from(u16::MAX) {
                return Err(refused("its list is too long"));
            }
            let text = |item: &Json| item.as_str().map(str::to_owned);
            let texts: Option<Vec<String>> = items.iter().map(text).collect();
            let texts = texts.ok_or_else(|| refused("its list is not of texts"))?;
            texts.iter().try_for_each(|text| checked(text))?;
            builder.list(name, texts.iter().map(String::as_str));
        }
        Json::Object(tagged) => write_tagged_field(builder, name, tagged)?,
    }
    Ok(())
}

fn write_tagged_field(
    builder: &mut MessageBuilder<'_>,
    name: &str,
    tagged: &Map<String, Json>,
) -> Result<(), ValueError> {
    let mut members = tagged.iter();
    let (Some((tag, Json::String(text))), None) = (members.next(), members.next()) else {
        return Err(refused("its object is not one type with a text"));
    };
    let wrong = || refused(format_args!("{text:?} is no {tag}"));
    match tag.as_str() {
        TAG_FLOAT => {
            let float: f64 = text.parse().map_err(|_| wrong())?;
            if !float.is_finite() {
                return Err(wrong());
            }
            builder.field(name, Value::Float(float));
        }
        TAG_BYTES => {
            let bytes = bytes_of(text).ok_or_else(wrong)?;
            builder.field(name, Value::Bytes(&bytes));
        }
        TAG_OBJECT => {
            let object: ObjectId = text.parse().map_err(|_| wrong())?;
            builder.field(name, Value::Object(object));
        }
        _ => return Err(refused(format_args!("{tag:?} is no type"))),
    }
    Ok(())
}

/// Hexadecimal, two digits a byte.
fn bytes_of(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u8>> =
        text.chars().map(|digit| digit.to_digit(16).map(|value| value as u8)).collect();
    let digits = digits?;
    let (pairs, rest) = digits.as_chunks::<2>();
    rest.is_empty().then(|| pairs.iter().map(|[high, low]| high << 4 | low).collect())
}

#[cfg(test)]
mod tests;
