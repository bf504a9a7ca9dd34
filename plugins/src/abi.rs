//! The structs of `include/warren_plugin.h`, field for field.

use core::ffi::c_void;
use core::{ptr, slice};

use warren_core::world::behaviours::Batch;

use crate::host::{CallFrame, NearFrame};

/// `WARREN_ABI_MAJOR`: another one is another interface.
pub(crate) const ABI_MAJOR: u16 = 1;
/// `WARREN_ABI_MINOR`: a higher one has more at its ends.
pub(crate) const ABI_MINOR: u16 = 1;

pub(crate) const VALUE_NULL: u32 = 0;
pub(crate) const VALUE_STRING: u32 = 1;
pub(crate) const VALUE_INTEGER: u32 = 2;
pub(crate) const VALUE_FLOAT: u32 = 3;
pub(crate) const VALUE_BOOLEAN: u32 = 4;
pub(crate) const VALUE_BYTES: u32 = 5;
pub(crate) const VALUE_OBJECT: u32 = 6;
pub(crate) const VALUE_LIST: u32 = 7;

/// `warren_text`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub(crate) struct RawText {
    pub(crate) bytes: *const u8,
    pub(crate) length: usize,
}

impl RawText {
    pub(crate) const EMPTY: Self = Self { bytes: ptr::null(), length: 0 };

    pub(crate) fn of(text: &[u8]) -> Self {
        Self { bytes: text.as_ptr(), length: text.len() }
    }

    /// The bytes.
    ///
    /// # Safety
    /// They are what the header promises, for as long as they are used.
    pub(crate) unsafe fn bytes<'a>(self) -> &'a [u8] {
        // SAFETY: as the caller says.
        unsafe { raw_slice(self.bytes, self.length) }
    }
}

/// What a pointer and a length say; nothing, where the pointer is NULL.
///
/// # Safety
/// They are what the header promises, for as long as the slice is used.
pub(crate) unsafe fn raw_slice<'a, T>(first: *const T, count: usize) -> &'a [T] {
    if first.is_null() || count == 0 {
        return &[];
    }
    // SAFETY: as the caller says.
    unsafe { slice::from_raw_parts(first, count) }
}

/// The union of `warren_value`.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) union RawData {
    pub(crate) text: RawText,
    pub(crate) integer: i64,
    pub(crate) number: f64,
    pub(crate) object: u64,
}

/// `warren_value`.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct RawValue {
    pub(crate) kind: u32,
    pub(crate) count: u32,
    pub(crate) data: RawData,
}

/// `warren_field`.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct RawField {
    pub(crate) name: RawText,
    pub(crate) value: RawValue,
}

/// `warren_object`.
#[repr(C)]
pub(crate) struct RawObject {
    pub(crate) size: u32,
    pub(crate) reserved: u32,
    pub(crate) version: u64,
    pub(crate) kind: RawText,
    pub(crate) owner: RawText,
}

/// `warren_batch`.
#[repr(C)]
pub(crate) struct RawBatch {
    pub(crate) size: u32,
    pub(crate) count: u32,
    pub(crate) tick: u64,
    pub(crate) speed: f32,
    pub(crate) radius: f32,
    pub(crate) home: [f32; 3],
    pub(crate) dims: u32,
    pub(crate) numbers: *const u16,
    pub(crate) seconds: *const f32,
    pub(crate) positions: *mut [f32; 3],
    pub(crate) velocities: *mut [f32; 3],
    pub(crate) headings: *mut f32,
    pub(crate) states: *mut u64,
}

impl RawBatch {
    /// The batch for a library. It has the arrays as long as it is used.
    pub(crate) fn of(batch: &mut Batch<'_>) -> Self {
        let manner = batch.manner;
        Self {
            size: size_of::<Self>() as u32,
            count: batch.len() as u32,
            tick: batch.tick,
            speed: manner.speed,
            radius: manner.radius,
            home: manner.home,
            dims: manner.dims.into(),
            numbers: batch.numbers.as_ptr(),
            seconds: batch.seconds.as_ptr(),
            positions: batch.positions.as_mut_ptr(),
            velocities: batch.velocities.as_mut_ptr(),
            headings: batch.headings.as_mut_ptr(),
            states: batch.states.as_mut_ptr(),
        }
    }
}

/// `warren_neighbour`.
#[repr(C)]
pub(crate) struct RawNeighbour {
    pub(crate) position: [f32; 3],
    pub(crate) velocity: [f32; 3],
    pub(crate) number: u32,
    pub(crate) is_member: u32,
}

/// `warren_call`, which only the host looks into.
pub(crate) type RawCall = CallFrame<'static, 'static>;
/// `warren_near`, the same.
pub(crate) type RawNear = NearFrame<'static>;

/// `warren_host`.
#[repr(C)]
pub(crate) struct RawHost {
    pub(crate) size: u32,
    pub(crate) abi_major: u16,
    pub(crate) abi_minor: u16,
    pub(crate) user: extern "C" fn(*const RawCall) -> RawText,
    pub(crate) time_ms: extern "C" fn(*const RawCall) -> i64,
    pub(crate) target: extern "C" fn(*const RawCall) -> u64,
    pub(crate) field: extern "C" fn(*const RawCall, RawText) -> RawValue,
    pub(crate) fields: extern "C" fn(*const RawCall, u64, *mut RawField, u32) -> u32,
    pub(crate) object: extern "C" fn(*const RawCall, u64, *mut RawObject) -> u32,
    pub(crate) object_field: extern "C" fn(*const RawCall, u64, RawText) -> RawValue,
    pub(crate) to_integer: extern "C" fn(RawValue, *mut i64) -> u32,
    pub(crate) to_number: extern "C" fn(RawValue, *mut f64) -> u32,
    pub(crate) to_boolean: extern "C" fn(RawValue, *mut u32) -> u32,
    pub(crate) to_object: extern "C" fn(RawValue, *mut u64) -> u32,
    pub(crate) set: extern "C" fn(*mut RawCall, u64, u64, *const RawField, u32) -> i32,
    pub(crate) create: extern "C" fn(*mut RawCall, RawText, *const RawField, u32) -> i32,
    pub(crate) remove: extern "C" fn(*mut RawCall, u64) -> i32,
    pub(crate) emit: extern "C" fn(*mut RawCall, RawText, RawText, *const RawField, u32) -> i32,
    pub(crate) reply: extern "C" fn(*mut RawCall, *const RawField, u32) -> i32,
    pub(crate) fail: extern "C" fn(*mut RawCall, RawText),
    pub(crate) neighbours: extern "C" fn(*const RawNear, u16, u32, *mut RawNeighbour, u32) -> u32,
    pub(crate) schedule: extern "C" fn(*mut RawCall, RawText, u64, *const RawField, u32) -> i32,
}

/// A method's function.
pub(crate) type RawMethodCall =
    unsafe extern "C" fn(*const RawHost, *mut RawCall, *mut c_void) -> i32;
/// A behaviour's function.
pub(crate) type RawThink =
    unsafe extern "C" fn(*const RawHost, *mut RawBatch, *const RawNear, *mut c_void);
/// `warren_plugin_entry`.
pub(crate) type RawEntry = unsafe extern "C" fn(*const RawHost) -> *const RawPlugin;

/// `warren_method`.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct RawMethod {
    pub(crate) size: u32,
    pub(crate) reserved: u32,
    pub(crate) name: RawText,
    pub(crate) call: Option<RawMethodCall>,
    pub(crate) data: *mut c_void,
    pub(crate) priority: u32,
    pub(crate) attempts_max: u32,
    pub(crate) limit_ms: u64,
    pub(crate) deadline_ms: u64,
}

/// `warren_behaviour`.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct RawBehaviour {
    pub(crate) size: u32,
    pub(crate) reserved: u32,
    pub(crate) name: RawText,
    pub(crate) think: Option<RawThink>,
    pub(crate) data: *mut c_void,
}

/// `warren_plugin`.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct RawPlugin {
    pub(crate) size: u32,
    pub(crate) abi_major: u16,
    pub(crate) abi_minor: u16,
    pub(crate) name: RawText,
    pub(crate) version: RawText,
    pub(crate) methods: *const RawMethod,
    pub(crate) method_count: usize,
    pub(crate) behaviours: *const RawBehaviour,
    pub(crate) behaviour_count: usize,
    pub(crate) self_check: Option<unsafe extern "C" fn(*const RawHost, *mut RawText) -> i32>,
}
