//! A host table without a server behind it.

use core::ptr;
use std::cell::RefCell;

use super::{Around, KeptFields, Request, TARGET, line};
use crate::batch::{Near, Neighbour};
use crate::border::{
    field_slice, method_data, near_of, run_method, text_of as text_of_raw, value_of,
};
use crate::raw::{
    ABI_MAJOR, ABI_MINOR, RawCall, RawField, RawHost, RawNear, RawNeighbour, RawObject, RawText,
    RawValue,
};
use crate::table::MethodFunction;
use crate::value::{Field, ObjectId, Value};

static HOST: RawHost = RawHost {
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

/// Of every object here.
const VERSION: u64 = 7;

/// What `warren_call` points to here.
pub(super) struct FakeCall<'r> {
    pub(super) request: &'r Request,
    pub(super) effects: RefCell<Vec<String>>,
    pub(super) answer: RefCell<String>,
    pub(super) failure: RefCell<String>,
}

/// Calls the method as a server does, and gives what it returns to it.
pub(super) fn run(method: MethodFunction, call: &FakeCall<'_>) -> i32 {
    let call = ptr::from_ref(call).cast_mut().cast();
    // SAFETY: the call is there until it returns, and the functions above read what is there.
    unsafe { run_method(&HOST, call, method_data(method)) }
}

pub(super) fn near(around: &Around) -> Near<'_> {
    // SAFETY: those around are there as long as what is made of them.
    unsafe { near_of(&HOST, ptr::from_ref(around).cast()) }
}

/// Has a behaviour's row move a batch, as a server does.
#[cfg(test)]
pub(crate) fn think_raw(
    row: &crate::raw::RawBehaviour,
    batch: &mut crate::raw::RawBatch,
    around: &Around,
) {
    // SAFETY: whoever calls has the arrays, and those around are there until it returns.
    unsafe { (row.think.unwrap())(&HOST, batch, ptr::from_ref(around).cast(), row.data) }
}

fn call_of<'a>(call: *const RawCall) -> &'a FakeCall<'a> {
    // SAFETY: it is the pointer that `run` gave.
    unsafe { &*call.cast() }
}

fn text_of<'a>(text: RawText) -> &'a str {
    // SAFETY: whoever calls has it until the function returns.
    unsafe { text_of_raw(text) }
}

fn fields_of<'a>(fields: *const RawField, count: u32) -> &'a [Field<'a>] {
    // SAFETY: the same.
    unsafe { field_slice(fields, count) }
}

fn put<T>(out: *mut T, value: Option<T>) -> u32 {
    let Some(value) = value else { return 0 };
    // SAFETY: whoever calls has room for one.
    unsafe { out.write(value) };
    1
}

/// The fields of an object, or those of the request.
fn kept_fields<'a>(call: *const RawCall, object: u64) -> Option<&'a KeptFields> {
    let request = call_of(call).request;
    if object == 0 {
        return Some(&request.fields);
    }
    let index = object.checked_sub(TARGET.0)?;
    request.objects.get(usize::try_from(index).ok()?).map(|object| &object.fields)
}

fn value_in(fields: Option<&KeptFields>, name: RawText) -> RawValue {
    let name = text_of(name);
    let found = fields.and_then(|fields| fields.iter().find(|(known, _)| known == name));
    found.map_or(Value::Null, |(_, value)| value.value()).to_raw()
}

unsafe extern "C" fn user(call: *const RawCall) -> RawText {
    RawText::of(call_of(call).request.user.as_bytes())
}

unsafe extern "C" fn time_ms(call: *const RawCall) -> i64 {
    call_of(call).request.time_ms
}

unsafe extern "C" fn target(call: *const RawCall) -> u64 {
    if call_of(call).request.objects.is_empty() { 0 } else { TARGET.0 }
}

unsafe extern "C" fn field(call: *const RawCall, name: RawText) -> RawValue {
    value_in(kept_fields(call, 0), name)
}

unsafe extern "C" fn fields(
    call: *const RawCall,
    object: u64,
    out: *mut RawField,
    count_max: u32,
) -> u32 {
    let Some(fields) = kept_fields(call, object) else { return 0 };
    for (index, (name, value)) in fields.iter().take(count_max as usize).enumerate() {
        let raw = RawField { name: RawText::of(name.as_bytes()), value: value.value().to_raw() };
        // SAFETY: whoever calls has room for so many.
        put(unsafe { out.add(index) }, Some(raw));
    }
    u32::try_from(fields.len()).unwrap_or(u32::MAX)
}

unsafe extern "C" fn object(call: *const RawCall, object: u64, out: *mut RawObject) -> u32 {
    let objects = &call_of(call).request.objects;
    let index = object.checked_sub(TARGET.0).and_then(|index| usize::try_from(index).ok());
    put(
        out,
        index.and_then(|index| objects.get(index)).map(|object| RawObject {
            size: size_of::<RawObject>() as u32,
            reserved: 0,
            version: VERSION,
            kind: RawText::of(object.kind.as_bytes()),
            owner: RawText::of(object.owner.as_bytes()),
        }),
    )
}

unsafe extern "C" fn object_field(call: *const RawCall, object: u64, name: RawText) -> RawValue {
    value_in(kept_fields(call, object).filter(|_| object != 0), name)
}

fn read<'a>(value: RawValue) -> Value<'a> {
    // SAFETY: whoever calls has it until the function returns.
    unsafe { value_of(value) }
}

unsafe extern "C" fn to_integer(value: RawValue, out: *mut i64) -> u32 {
    let integer = match read(value) {
        Value::Integer(integer) => Some(integer),
        Value::Text(text) => text.parse().ok(),
        _ => None,
    };
    put(out, integer)
}

unsafe extern "C" fn to_number(value: RawValue, out: *mut f64) -> u32 {
    let number: Option<f64> = match read(value) {
        Value::Float(number) => Some(number),
        Value::Integer(integer) => Some(integer as f64),
        Value::Text(text) => text.parse().ok(),
        _ => None,
    };
    put(out, number.filter(|number| number.is_finite()))
}

unsafe extern "C" fn to_boolean(value: RawValue, out: *mut u32) -> u32 {
    let boolean = match read(value) {
        Value::Boolean(boolean) => Some(boolean.into()),
        Value::Text("true" | "1") | Value::Integer(1) => Some(1),
        Value::Text("false" | "0") | Value::Integer(0) => Some(0),
        _ => None,
    };
    put(out, boolean)
}

unsafe extern "C" fn to_object(value: RawValue, out: *mut u64) -> u32 {
    let object = match read(value) {
        Value::Object(ObjectId(object)) => Some(object),
        Value::Text(text) => ObjectId::parse(text).map(|ObjectId(object)| object),
        _ => None,
    };
    put(out, object)
}

fn add_effect(call: *mut RawCall, start: String, fields: *const RawField, count: u32) -> i32 {
    let effect = line(start, fields_of(fields, count));
    call_of(call).effects.borrow_mut().push(effect);
    0
}

unsafe extern "C" fn set(
    call: *mut RawCall,
    object: u64,
    version: u64,
    fields: *const RawField,
    count: u32,
) -> i32 {
    if version != VERSION {
        return 1;
    }
    add_effect(call, format!("set {}", ObjectId(object)), fields, count)
}

unsafe extern "C" fn create(
    call: *mut RawCall,
    kind: RawText,
    fields: *const RawField,
    count: u32,
) -> i32 {
    add_effect(call, format!("create {}", text_of(kind)), fields, count)
}

unsafe extern "C" fn remove(call: *mut RawCall, object: u64) -> i32 {
    add_effect(call, format!("remove {}", ObjectId(object)), ptr::null(), 0)
}

unsafe extern "C" fn emit(
    call: *mut RawCall,
    room: RawText,
    event: RawText,
    fields: *const RawField,
    count: u32,
) -> i32 {
    add_effect(call, format!("emit {} {}", text_of(room), text_of(event)), fields, count)
}

unsafe extern "C" fn schedule(
    call: *mut RawCall,
    event: RawText,
    delay_ms: u64,
    fields: *const RawField,
    count: u32,
) -> i32 {
    let start = format!("schedule {} in {delay_ms} ms", text_of(event));
    add_effect(call, start, fields, count)
}

unsafe extern "C" fn reply(call: *mut RawCall, fields: *const RawField, count: u32) -> i32 {
    let mut answer = call_of(call).answer.borrow_mut();
    *answer = line(std::mem::take(&mut *answer), fields_of(fields, count));
    0
}

unsafe extern "C" fn fail(call: *mut RawCall, why: RawText) {
    *call_of(call).failure.borrow_mut() = text_of(why).to_owned();
}

unsafe extern "C" fn neighbours(
    near: *const RawNear,
    _number: u16,
    is_member: u32,
    out: *mut RawNeighbour,
    count_max: u32,
) -> u32 {
    // SAFETY: it is the pointer that `with_near` gave.
    let around: &Around = unsafe { &*near.cast() };
    let list = if is_member == 1 { &around.members } else { &around.entities };
    let mut count = 0;
    for Neighbour { position, velocity, number, is_member } in list.iter().take(count_max as usize)
    {
        let is_member = u32::from(*is_member);
        let raw =
            RawNeighbour { position: *position, velocity: *velocity, number: *number, is_member };
        // SAFETY: whoever calls has room for so many.
        count += put(unsafe { out.add(count as usize) }, Some(raw));
    }
    count
}
