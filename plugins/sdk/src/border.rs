//! Where Rust ends: what the server calls, and how it is asked. All `unsafe` of a plugin is here.
//!
//! The rules are those of `warren_plugin.h`. What the server gives is valid until the method (or the behaviour)
//! returns: that is the lifetime of a [`Border`], which functions of plugins take for any, and so cannot keep.

use core::ffi::c_void;
use core::fmt;
use core::{ptr, slice, str};
use std::panic::AssertUnwindSafe;

use crate::batch::{Batch, NEIGHBOURS_MAX, Near, Neighbour, Neighbours};
use crate::call::Call;
use crate::failure::{Failure, Why};
use crate::panics;
use crate::raw::{
    RawBatch, RawCall, RawField, RawHost, RawNear, RawNeighbour, RawObject, RawText, RawValue,
    VALUE_BOOLEAN, VALUE_BYTES, VALUE_FLOAT, VALUE_INTEGER, VALUE_LIST, VALUE_OBJECT, VALUE_STRING,
    raw_slice,
};
use crate::table::{Behaviour, BehaviourFunction, Method, MethodFunction, Plugin, SelfCheck};
use crate::value::{Field, List, ObjectId, Value};

/// What a method returns: it is done, the server has refused something, it has failed, it has panicked.
const DONE: i32 = 0;
const REFUSED: i32 = 1;
const FAILED: i32 = 2;
const PANICKED: i32 = 3;

// SAFETY: the tables are never written, and what they point to stays and is never written either.
unsafe impl Sync for Method {}
// SAFETY: the same.
unsafe impl Sync for Behaviour {}
// SAFETY: the same.
unsafe impl Sync for Plugin {}

/// The table's place for a function of Rust.
pub(crate) const fn method_data(function: MethodFunction) -> *mut c_void {
    function as *const c_void as *mut c_void
}

/// The same.
pub(crate) const fn behaviour_data(function: BehaviourFunction) -> *mut c_void {
    function as *const c_void as *mut c_void
}

/// A call under way: by it all is read and said.
#[derive(Clone, Copy)]
pub(crate) struct Border<'c> {
    host: &'c RawHost,
    /// Valid for `'c`, on this thread alone.
    call: *mut RawCall,
}

impl fmt::Debug for Border<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Border")
    }
}

/// What an object is beside its fields.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seen<'c> {
    pub(crate) version: u64,
    pub(crate) kind: &'c str,
    pub(crate) owner: &'c str,
}

/// What the server says is text.
///
/// # Safety
/// It is valid for `'c`.
pub(crate) unsafe fn text_of<'c>(raw: RawText) -> &'c str {
    // SAFETY: as the caller says.
    str::from_utf8(unsafe { raw.bytes() }).unwrap_or_default()
}

/// A value that the server gives.
///
/// # Safety
/// It is valid for `'c`.
pub(crate) unsafe fn value_of<'c>(raw: RawValue) -> Value<'c> {
    // SAFETY: `kind` says which of the union's fields is there; texts are valid as the caller says.
    unsafe {
        match raw.kind {
            VALUE_STRING => Value::Text(text_of(raw.data.text)),
            VALUE_INTEGER => Value::Integer(raw.data.integer),
            VALUE_FLOAT => Value::Float(raw.data.number),
            VALUE_BOOLEAN => Value::Boolean(raw.data.integer != 0),
            VALUE_BYTES => Value::Bytes(raw.data.text.bytes()),
            VALUE_OBJECT => Value::Object(ObjectId(raw.data.object)),
            VALUE_LIST => Value::List(List::of(raw.count, raw.data.text.bytes())),
            _ => Value::Null,
        }
    }
}

/// Name and value of a field that is said.
pub(crate) fn parts_of<'f>(field: &Field<'f>) -> (&'f str, Value<'f>) {
    // SAFETY: they were made of a name and a value that are there for `'f`.
    unsafe { (text_of(field.raw.name), value_of(field.raw.value)) }
}

/// So many fields.
///
/// # Safety
/// They are valid for `'f`.
pub(crate) unsafe fn field_slice<'f>(first: *const RawField, count: u32) -> &'f [Field<'f>] {
    // SAFETY: as the caller says; a `Field` is a `RawField`.
    unsafe { raw_slice(first.cast(), count as usize) }
}

fn outcome(status: i32) -> Result<(), Failure> {
    if status == 0 { Ok(()) } else { Err(Failure::refused()) }
}

fn raw_fields(fields: &[Field<'_>]) -> (*const RawField, u32) {
    // More than are counted are more than there may be in any effect.
    (fields.as_ptr().cast(), u32::try_from(fields.len()).unwrap_or(u32::MAX))
}

fn raw_text(text: &str) -> RawText {
    RawText::of(text.as_bytes())
}

// SAFETY of all calls here: `host` and `call` are those of the call under way, as `Border` says. What is given is
// read before the function returns, and what is got is valid for `'c`.
#[expect(clippy::undocumented_unsafe_blocks, reason = "said above, once for all")]
impl<'c> Border<'c> {
    pub(crate) fn user(self) -> &'c str {
        unsafe { text_of((self.host.user)(self.call)) }
    }

    pub(crate) fn time_ms(self) -> i64 {
        unsafe { (self.host.time_ms)(self.call) }
    }

    pub(crate) fn target(self) -> Option<ObjectId> {
        let target = unsafe { (self.host.target)(self.call) };
        (target != 0).then_some(ObjectId(target))
    }

    /// A field of an object, or of the request.
    pub(crate) fn value(self, object: Option<ObjectId>, name: &str) -> Value<'c> {
        let name = raw_text(name);
        unsafe {
            value_of(match object {
                Some(ObjectId(object)) => (self.host.object_field)(self.call, object, name),
                None => (self.host.field)(self.call, name),
            })
        }
    }

    pub(crate) fn fields(self, object: Option<ObjectId>) -> Vec<(&'c str, Value<'c>)> {
        let object = object.map_or(0, |object| object.0);
        let count = unsafe { (self.host.fields)(self.call, object, ptr::null_mut(), 0) };
        let mut fields: Vec<RawField> = Vec::with_capacity(count as usize);
        unsafe {
            let there = (self.host.fields)(self.call, object, fields.as_mut_ptr(), count);
            fields.set_len(there.min(count) as usize);
            fields.iter().map(|raw| (text_of(raw.name), value_of(raw.value))).collect()
        }
    }

    pub(crate) fn object(self, id: ObjectId) -> Option<Seen<'c>> {
        let size = size_of::<RawObject>() as u32;
        let (kind, owner) = (RawText::EMPTY, RawText::EMPTY);
        let mut raw = RawObject { size, reserved: 0, version: 0, kind, owner };
        unsafe {
            let is_there = id.0 != 0 && (self.host.object)(self.call, id.0, &mut raw) != 0;
            let (version, kind, owner) = (raw.version, text_of(raw.kind), text_of(raw.owner));
            is_there.then_some(Seen { version, kind, owner })
        }
    }

    pub(crate) fn to_integer(self, value: Value<'_>) -> Option<i64> {
        let mut out = 0;
        let is_one = unsafe { (self.host.to_integer)(value.to_raw(), &mut out) };
        (is_one != 0).then_some(out)
    }

    pub(crate) fn to_number(self, value: Value<'_>) -> Option<f64> {
        let mut out = 0.0;
        let is_one = unsafe { (self.host.to_number)(value.to_raw(), &mut out) };
        (is_one != 0).then_some(out)
    }

    pub(crate) fn to_boolean(self, value: Value<'_>) -> Option<bool> {
        let mut out = 0;
        let is_one = unsafe { (self.host.to_boolean)(value.to_raw(), &mut out) };
        (is_one != 0).then_some(out != 0)
    }

    pub(crate) fn to_object(self, value: Value<'_>) -> Option<ObjectId> {
        let mut out = 0;
        let is_one = unsafe { (self.host.to_object)(value.to_raw(), &mut out) };
        (is_one != 0).then_some(ObjectId(out))
    }

    pub(crate) fn set(
        self,
        object: ObjectId,
        version: u64,
        fields: &[Field<'_>],
    ) -> Result<(), Failure> {
        let (first, count) = raw_fields(fields);
        outcome(unsafe { (self.host.set)(self.call, object.0, version, first, count) })
    }

    pub(crate) fn create(self, kind: &str, fields: &[Field<'_>]) -> Result<(), Failure> {
        let (first, count) = raw_fields(fields);
        outcome(unsafe { (self.host.create)(self.call, raw_text(kind), first, count) })
    }

    pub(crate) fn remove(self, object: ObjectId) -> Result<(), Failure> {
        outcome(unsafe { (self.host.remove)(self.call, object.0) })
    }

    pub(crate) fn emit(self, room: &str, event: &str, fields: &[Field<'_>]) -> Result<(), Failure> {
        let ((first, count), room, event) = (raw_fields(fields), raw_text(room), raw_text(event));
        outcome(unsafe { (self.host.emit)(self.call, room, event, first, count) })
    }

    pub(crate) fn schedule(
        self,
        event: &str,
        delay_ms: u64,
        fields: &[Field<'_>],
    ) -> Result<(), Failure> {
        let ((first, count), event) = (raw_fields(fields), raw_text(event));
        outcome(unsafe { (self.host.schedule)(self.call, event, delay_ms, first, count) })
    }

    pub(crate) fn reply(self, fields: &[Field<'_>]) -> Result<(), Failure> {
        let (first, count) = raw_fields(fields);
        outcome(unsafe { (self.host.reply)(self.call, first, count) })
    }

    fn fail(self, why: &str) {
        unsafe { (self.host.fail)(self.call, raw_text(why)) }
    }
}

/// Does one request by the function in `data`.
///
/// # Safety
/// As for `call` of `warren_method`; `data` is what [`method_data`] gave.
pub(crate) unsafe extern "C" fn run_method(
    host: *const RawHost,
    call: *mut RawCall,
    data: *mut c_void,
) -> i32 {
    // SAFETY: as the caller says; both are there for the call.
    let (function, border) = unsafe {
        (core::mem::transmute::<*mut c_void, MethodFunction>(data), Border { host: &*host, call })
    };
    // What a panic leaves half done is the server's to throw away, and nothing of this call is used again.
    match panics::caught(AssertUnwindSafe(|| function(&mut Call::new(border)))) {
        Ok(Ok(())) => DONE,
        Ok(Err(Failure(Why::Refused))) => REFUSED,
        Ok(Err(Failure(Why::Said(why)))) => {
            border.fail(&why);
            FAILED
        }
        Err(why) => {
            border.fail(&why);
            PANICKED
        }
    }
}

/// Those around the NPCs of a batch.
#[derive(Clone, Copy)]
pub(crate) struct Surroundings<'b> {
    host: &'b RawHost,
    /// Valid for `'b`, on this thread alone.
    near: *const RawNear,
}

impl fmt::Debug for Surroundings<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Surroundings")
    }
}

impl Surroundings<'_> {
    pub(crate) fn neighbours(self, number: u16, is_member: bool) -> Neighbours {
        const NOBODY: RawNeighbour =
            RawNeighbour { position: [0.0; 3], velocity: [0.0; 3], number: 0, is_member: 0 };
        let mut raw = [NOBODY; NEIGHBOURS_MAX];
        let (near, of_members) = (self.near, u32::from(is_member));
        // SAFETY: both are those of the batch under way, and there is room for so many.
        let count = unsafe {
            (self.host.neighbours)(near, number, of_members, raw.as_mut_ptr(), raw.len() as u32)
        };
        let count = (count as usize).min(NEIGHBOURS_MAX);
        let mut list = [Neighbour::default(); NEIGHBOURS_MAX];
        for (to, raw) in list.iter_mut().zip(&raw[..count]) {
            *to = Neighbour {
                position: raw.position,
                velocity: raw.velocity,
                number: raw.number,
                is_member: raw.is_member != 0,
            };
        }
        Neighbours { list, count }
    }
}

/// Those around a batch.
///
/// # Safety
/// They are valid for `'b`.
pub(crate) unsafe fn near_of<'b>(host: &'b RawHost, near: *const RawNear) -> Near<'b> {
    Near::new(Surroundings { host, near })
}

/// A slice that may be written.
///
/// # Safety
/// It is there for `'b`, and nobody else uses it.
unsafe fn raw_slice_mut<'b, T>(first: *mut T, count: usize) -> &'b mut [T] {
    if first.is_null() || count == 0 {
        return &mut [];
    }
    // SAFETY: as the caller says.
    unsafe { slice::from_raw_parts_mut(first, count) }
}

/// Moves a batch by the function in `data`.
///
/// # Safety
/// As for `think` of `warren_behaviour`; `data` is what [`behaviour_data`] gave.
pub(crate) unsafe extern "C" fn run_behaviour(
    host: *const RawHost,
    batch: *mut RawBatch,
    near: *const RawNear,
    data: *mut c_void,
) {
    // SAFETY: as the caller says; all are there for the call, and the slices are this function's alone.
    let (function, mut batch, near) = unsafe {
        let function = core::mem::transmute::<*mut c_void, BehaviourFunction>(data);
        let raw = &*batch;
        let count = raw.count as usize;
        let batch = Batch {
            tick: raw.tick,
            speed: raw.speed,
            radius: raw.radius,
            home: raw.home,
            dims: raw.dims,
            numbers: raw_slice(raw.numbers, count),
            seconds: raw_slice(raw.seconds, count),
            positions: raw_slice_mut(raw.positions, count),
            velocities: raw_slice_mut(raw.velocities, count),
            headings: raw_slice_mut(raw.headings, count),
            states: raw_slice_mut(raw.states, count),
        };
        (function, batch, near_of(&*host, near))
    };
    // What it has moved until it panicked stays moved, and then they stand.
    if let Err(why) = panics::caught(AssertUnwindSafe(|| function(&mut batch, &near))) {
        panics::tell_once(&why);
        batch.velocities.fill([0.0; 3]);
    }
}

/// Whether the plugin can do its work.
///
/// # Safety
/// As for `self_check` of `warren_plugin`.
#[doc(hidden)]
pub unsafe extern "C" fn check_itself<C: SelfCheck>(_: *const RawHost, why: *mut RawText) -> i32 {
    let tell = |text: &str| {
        // It is told once in the library's life, and has to stay as long.
        let text: &'static str = String::leak(text.to_owned());
        // SAFETY: the header says that there is room for it.
        unsafe { why.write(raw_text(text)) }
    };
    match panics::caught(C::check) {
        Ok(Ok(())) => DONE,
        Ok(Err(failure)) => {
            tell(&failure.to_string());
            FAILED
        }
        Err(why) => {
            tell(&why);
            PANICKED
        }
    }
}
