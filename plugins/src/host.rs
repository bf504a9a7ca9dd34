//! What a library may ask of the server: the functions of the host table.
//!
//! Each gets the pointers that the header describes; what they point to is the library's to get right. What
//! they say is checked here and in core as if a client had sent it.

use core::{ptr, str};

use warren_core::ids::ObjectId;
use warren_core::inline::{EffectFields, InlineCall};
use warren_core::message::{Message, TextList, Value};
use warren_core::reason::Reason;
use warren_core::world::behaviours::Surroundings;

use crate::abi::{
    ABI_MAJOR, ABI_MINOR, RawCall, RawData, RawField, RawHost, RawNear, RawNeighbour, RawObject,
    RawText, RawValue, VALUE_BOOLEAN, VALUE_BYTES, VALUE_FLOAT, VALUE_INTEGER, VALUE_LIST,
    VALUE_NULL, VALUE_OBJECT, VALUE_STRING, raw_slice,
};

/// Longest text of a failure that is kept.
const FAILURE_BYTES_MAX: usize = 256;

/// The table that libraries get.
pub(crate) static HOST: RawHost = RawHost {
    size: size_of::<RawHost>() as u32,
    abi_major: ABI_MAJOR,
    abi_minor: ABI_MINOR,
    user,
    time_ms,
    target,
    field,
    fields,
    object,
    object_field,
    to_integer,
    to_number,
    to_boolean,
    to_object,
    set,
    create,
    remove,
    emit,
    reply,
    fail,
    neighbours,
    schedule,
};

/// A call under way: what `warren_call` points to.
#[derive(Debug)]
pub(crate) struct CallFrame<'c, 'a> {
    pub(crate) call: &'c mut InlineCall<'a>,
    /// Why the method fails, as far as it said so.
    pub(crate) failure: String,
}

/// What is around the NPCs of a batch: what `warren_near` points to.
#[derive(Debug)]
pub(crate) struct NearFrame<'a> {
    pub(crate) near: &'a Surroundings<'a>,
}

fn frame<'a>(call: *const RawCall) -> &'a RawCall {
    // SAFETY: the header says that it is the pointer of the call under way, on its thread.
    unsafe { &*call }
}

fn frame_mut<'a>(call: *mut RawCall) -> &'a mut RawCall {
    // SAFETY: the same; and a library calls one function of the host at a time.
    unsafe { &mut *call }
}

/// Bytes that a library gives.
fn bytes_of<'a>(text: RawText) -> &'a [u8] {
    // SAFETY: the header says that they are there while the function runs that gets them.
    unsafe { text.bytes() }
}

fn text_of<'a>(text: RawText) -> Result<&'a str, Reason> {
    str::from_utf8(bytes_of(text)).map_err(|_| Reason::NotUtf8)
}

fn null() -> RawValue {
    RawValue { kind: VALUE_NULL, count: 0, data: RawData { integer: 0 } }
}

/// A value for a library.
fn raw_value(value: Value<'_>) -> RawValue {
    let (kind, count, data) = match value {
        Value::Null => return null(),
        Value::Text(text) => (VALUE_STRING, 0, RawData { text: RawText::of(text.as_bytes()) }),
        Value::Integer(integer) => (VALUE_INTEGER, 0, RawData { integer }),
        Value::Float(number) => (VALUE_FLOAT, 0, RawData { number }),
        Value::Boolean(boolean) => (VALUE_BOOLEAN, 0, RawData { integer: i64::from(boolean) }),
        Value::Bytes(bytes) => (VALUE_BYTES, 0, RawData { text: RawText::of(bytes) }),
        Value::Object(object) => (VALUE_OBJECT, 0, RawData { object: object.0 }),
        Value::List(list) => {
            let count = u32::try_from(list.len()).expect("lists have 16 bits");
            (VALUE_LIST, count, RawData { text: RawText::of(list.as_bytes()) })
        }
    };
    RawValue { kind, count, data }
}

/// A value of a library.
fn value_of<'a>(raw: RawValue) -> Result<Value<'a>, Reason> {
    let data = raw.data;
    // SAFETY: any bytes are an integer, and the header says which of the union's fields is there.
    let (integer, text) = unsafe {
        let has_text = matches!(raw.kind, VALUE_STRING | VALUE_BYTES | VALUE_LIST);
        (data.integer, if has_text { data.text } else { RawText::EMPTY })
    };
    Ok(match raw.kind {
        VALUE_NULL => Value::Null,
        VALUE_STRING => Value::Text(text_of(text)?),
        VALUE_INTEGER => Value::Integer(integer),
        VALUE_FLOAT => Value::Float(f64::from_bits(integer as u64)),
        VALUE_BOOLEAN => match integer {
            0 => Value::Boolean(false),
            1 => Value::Boolean(true),
            _ => return Err(Reason::FieldInvalid),
        },
        VALUE_BYTES => Value::Bytes(bytes_of(text)),
        VALUE_OBJECT => Value::Object(ObjectId(integer as u64)),
        VALUE_LIST => Value::List(TextList::parse(raw.count as usize, bytes_of(text))?),
        _ => return Err(Reason::FieldInvalid),
    })
}

/// Writes where a library wants it.
fn put<T>(out: *mut T, value: T) {
    // SAFETY: the header says that there is room for one.
    unsafe { ptr::write(out, value) }
}

extern "C" fn user(call: *const RawCall) -> RawText {
    RawText::of(frame(call).call.user().as_bytes())
}

extern "C" fn time_ms(call: *const RawCall) -> i64 {
    frame(call).call.wall_ms() as i64
}

extern "C" fn target(call: *const RawCall) -> u64 {
    frame(call).call.target().map_or(0, |target| target.0)
}

fn raw_field_of(message: Message<'_>, name: RawText) -> RawValue {
    // What is no text is no field's name.
    let value = str::from_utf8(bytes_of(name)).ok().and_then(|name| message.get(name));
    value.map_or_else(null, raw_value)
}

extern "C" fn field(call: *const RawCall, name: RawText) -> RawValue {
    raw_field_of(frame(call).call.message(), name)
}

extern "C" fn fields(call: *const RawCall, object: u64, out: *mut RawField, count_max: u32) -> u32 {
    let call = &frame(call).call;
    let message = match object {
        0 => Some(call.message()),
        object => call.object(ObjectId(object)).map(|object| object.record()),
    };
    let Some(message) = message else { return 0 };
    let mut count = 0;
    for (name, value) in message.fields() {
        if count < count_max {
            let raw = RawField { name: RawText::of(name.as_bytes()), value: raw_value(value) };
            // SAFETY: the header says that there is room for so many.
            put(unsafe { out.add(count as usize) }, raw);
        }
        count += 1;
    }
    count
}

extern "C" fn object(call: *const RawCall, object: u64, out: *mut RawObject) -> u32 {
    let Some(object) = frame(call).call.object(ObjectId(object)) else { return 0 };
    // SAFETY: the header says that it is there, and that the library has said its size.
    let size = unsafe { (*out).size };
    if (size as usize) < size_of::<RawObject>() {
        return 0;
    }
    let raw = RawObject {
        size,
        reserved: 0,
        version: object.version(),
        kind: RawText::of(object.kind().as_bytes()),
        owner: RawText::of(object.owner().as_bytes()),
    };
    put(out, raw);
    1
}

extern "C" fn object_field(call: *const RawCall, object: u64, name: RawText) -> RawValue {
    let object = frame(call).call.object(ObjectId(object));
    object.map_or_else(null, |object| raw_field_of(object.record(), name))
}

fn put_if<T>(out: *mut T, value: Option<T>) -> u32 {
    let Some(value) = value else { return 0 };
    put(out, value);
    1
}

extern "C" fn to_integer(value: RawValue, out: *mut i64) -> u32 {
    put_if(out, value_of(value).ok().and_then(Value::as_integer))
}

extern "C" fn to_number(value: RawValue, out: *mut f64) -> u32 {
    put_if(out, value_of(value).ok().and_then(Value::as_float))
}

extern "C" fn to_boolean(value: RawValue, out: *mut u32) -> u32 {
    put_if(out, value_of(value).ok().and_then(Value::as_boolean).map(u32::from))
}

extern "C" fn to_object(value: RawValue, out: *mut u64) -> u32 {
    put_if(out, value_of(value).ok().and_then(Value::as_object).map(|object| object.0))
}

/// Takes over so many fields of a library.
fn fill(effect: &mut EffectFields<'_>, fields: *const RawField, count: u32) -> Result<(), Reason> {
    // SAFETY: the header says that there are so many.
    let fields = unsafe { raw_slice(fields, count as usize) };
    fields.iter().try_for_each(|field| effect.field(bytes_of(field.name), value_of(field.value)?))
}

fn status(result: Result<(), Reason>) -> i32 {
    i32::from(result.is_err())
}

extern "C" fn set(
    call: *mut RawCall,
    object: u64,
    version: u64,
    fields: *const RawField,
    count: u32,
) -> i32 {
    let version = (version != 0).then_some(version);
    let call = &mut frame_mut(call).call;
    status(call.set(ObjectId(object), version, |effect| fill(effect, fields, count)))
}

extern "C" fn create(
    call: *mut RawCall,
    kind: RawText,
    fields: *const RawField,
    count: u32,
) -> i32 {
    let call = &mut frame_mut(call).call;
    // What is no text is no name either, and is refused as such.
    let kind = text_of(kind).unwrap_or("");
    status(call.create(kind, |effect| fill(effect, fields, count)))
}

extern "C" fn remove(call: *mut RawCall, object: u64) -> i32 {
    status(frame_mut(call).call.delete(ObjectId(object)))
}

extern "C" fn emit(
    call: *mut RawCall,
    room: RawText,
    event: RawText,
    fields: *const RawField,
    count: u32,
) -> i32 {
    let call = &mut frame_mut(call).call;
    let (room, event) = (text_of(room).unwrap_or(""), text_of(event).unwrap_or(""));
    status(call.emit(room, event, |effect| fill(effect, fields, count)))
}

extern "C" fn reply(call: *mut RawCall, fields: *const RawField, count: u32) -> i32 {
    status(frame_mut(call).call.reply(|answer| fill(answer, fields, count)))
}

extern "C" fn fail(call: *mut RawCall, why: RawText) {
    let why = bytes_of(why);
    let why = &why[..why.len().min(FAILURE_BYTES_MAX)];
    frame_mut(call).failure = String::from_utf8_lossy(why).into_owned();
}

extern "C" fn schedule(
    call: *mut RawCall,
    event: RawText,
    delay_ms: u64,
    fields: *const RawField,
    count: u32,
) -> i32 {
    let call = &mut frame_mut(call).call;
    let event = text_of(event).unwrap_or("");
    status(call.new_event(event, delay_ms, |effect| fill(effect, fields, count)))
}

extern "C" fn neighbours(
    near: *const RawNear,
    number: u16,
    is_member: u32,
    out: *mut RawNeighbour,
    count_max: u32,
) -> u32 {
    // SAFETY: the header says that it is the pointer of the batch under way.
    let near = unsafe { &*near }.near;
    let found = if is_member == 1 { near.members(number) } else { near.entities(number) };
    let found = found.iter().take(count_max as usize);
    let mut count = 0;
    for neighbour in found {
        let raw = RawNeighbour {
            position: neighbour.position,
            velocity: neighbour.velocity,
            number: neighbour.number.into(),
            is_member: u32::from(neighbour.is_member),
        };
        // SAFETY: the header says that there is room for so many.
        put(unsafe { out.add(count as usize) }, raw);
        count += 1;
    }
    count
}
