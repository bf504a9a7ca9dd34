//! The structs of `warren_plugin.h`, field for field. Its comments are the rules.

#![allow(missing_docs, reason = "the header says what each is")]

use core::ffi::c_void;
use core::{ptr, slice};

/// `WARREN_ABI_MAJOR`: another one is another interface.
pub const ABI_MAJOR: u16 = 1;
/// `WARREN_ABI_MINOR`: a higher one has more at its ends.
pub const ABI_MINOR: u16 = 1;

pub const VALUE_NULL: u32 = 0;
pub const VALUE_STRING: u32 = 1;
pub const VALUE_INTEGER: u32 = 2;
pub const VALUE_FLOAT: u32 = 3;
pub const VALUE_BOOLEAN: u32 = 4;
pub const VALUE_BYTES: u32 = 5;
pub const VALUE_OBJECT: u32 = 6;
pub const VALUE_LIST: u32 = 7;

/// `warren_text`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct RawText {
    pub bytes: *const u8,
    pub length: usize,
}

impl RawText {
    pub const EMPTY: Self = Self { bytes: ptr::null(), length: 0 };

    pub const fn of(text: &[u8]) -> Self {
        Self { bytes: text.as_ptr(), length: text.len() }
    }

    /// The bytes.
    ///
    /// # Safety
    /// They are what the header promises, for as long as they are used.
    pub unsafe fn bytes<'a>(self) -> &'a [u8] {
        // SAFETY: as the caller says.
        unsafe { raw_slice(self.bytes, self.length) }
    }
}

/// What a pointer and a length say; nothing, where the pointer is NULL.
///
/// # Safety
/// They are what the header promises, for as long as the slice is used.
pub unsafe fn raw_slice<'a, T>(first: *const T, count: usize) -> &'a [T] {
    if first.is_null() || count == 0 {
        return &[];
    }
    // SAFETY: as the caller says.
    unsafe { slice::from_raw_parts(first, count) }
}

/// The union of `warren_value`.
#[repr(C)]
#[derive(Clone, Copy)]
pub union RawData {
    pub text: RawText,
    pub integer: i64,
    pub number: f64,
    pub object: u64,
}

/// `warren_value`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct RawValue {
    pub kind: u32,
    pub count: u32,
    pub data: RawData,
}

/// `warren_field`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct RawField {
    pub name: RawText,
    pub value: RawValue,
}

/// `warren_object`.
#[repr(C)]
pub struct RawObject {
    pub size: u32,
    pub reserved: u32,
    pub version: u64,
    pub kind: RawText,
    pub owner: RawText,
}

/// `warren_batch`.
#[repr(C)]
pub struct RawBatch {
    pub size: u32,
    pub count: u32,
    pub tick: u64,
    pub speed: f32,
    pub radius: f32,
    pub home: [f32; 3],
    pub dims: u32,
    pub numbers: *const u16,
    pub seconds: *const f32,
    pub positions: *mut [f32; 3],
    pub velocities: *mut [f32; 3],
    pub headings: *mut f32,
    pub states: *mut u64,
}

/// `warren_neighbour`.
#[repr(C)]
pub struct RawNeighbour {
    pub position: [f32; 3],
    pub velocity: [f32; 3],
    pub number: u32,
    pub is_member: u32,
}

/// `warren_call`, which only the host looks into.
#[repr(C)]
pub struct RawCall {
    _opaque: [u8; 0],
}

/// `warren_near`, the same.
#[repr(C)]
pub struct RawNear {
    _opaque: [u8; 0],
}

/// `warren_host`.
#[repr(C)]
pub struct RawHost {
    pub size: u32,
    pub abi_major: u16,
    pub abi_minor: u16,
    pub user: unsafe extern "C" fn(*const RawCall) -> RawText,
    pub time_ms: unsafe extern "C" fn(*const RawCall) -> i64,
    pub target: unsafe extern "C" fn(*const RawCall) -> u64,
    pub field: unsafe extern "C" fn(*const RawCall, RawText) -> RawValue,
    pub fields: unsafe extern "C" fn(*const RawCall, u64, *mut RawField, u32) -> u32,
    pub object: unsafe extern "C" fn(*const RawCall, u64, *mut RawObject) -> u32,
    pub object_field: unsafe extern "C" fn(*const RawCall, u64, RawText) -> RawValue,
    pub to_integer: unsafe extern "C" fn(RawValue, *mut i64) -> u32,
    pub to_number: unsafe extern "C" fn(RawValue, *mut f64) -> u32,
    pub to_boolean: unsafe extern "C" fn(RawValue, *mut u32) -> u32,
    pub to_object: unsafe extern "C" fn(RawValue, *mut u64) -> u32,
    pub set: unsafe extern "C" fn(*mut RawCall, u64, u64, *const RawField, u32) -> i32,
    pub create: unsafe extern "C" fn(*mut RawCall, RawText, *const RawField, u32) -> i32,
    pub remove: unsafe extern "C" fn(*mut RawCall, u64) -> i32,
    pub emit: unsafe extern "C" fn(*mut RawCall, RawText, RawText, *const RawField, u32) -> i32,
    pub reply: unsafe extern "C" fn(*mut RawCall, *const RawField, u32) -> i32,
    pub fail: unsafe extern "C" fn(*mut RawCall, RawText),
    pub neighbours: unsafe extern "C" fn(*const RawNear, u16, u32, *mut RawNeighbour, u32) -> u32,
    pub schedule: unsafe extern "C" fn(*mut RawCall, RawText, u64, *const RawField, u32) -> i32,
}

/// A method's function.
pub type RawMethodCall = unsafe extern "C" fn(*const RawHost, *mut RawCall, *mut c_void) -> i32;
/// A behaviour's function.
pub type RawThink =
    unsafe extern "C" fn(*const RawHost, *mut RawBatch, *const RawNear, *mut c_void);
/// Whether the plugin can do its work.
pub type RawSelfCheck = unsafe extern "C" fn(*const RawHost, *mut RawText) -> i32;
/// `warren_plugin_entry`.
pub type RawEntry = unsafe extern "C" fn(*const RawHost) -> *const RawPlugin;

/// `warren_method`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct RawMethod {
    pub size: u32,
    pub reserved: u32,
    pub name: RawText,
    pub call: Option<RawMethodCall>,
    pub data: *mut c_void,
    pub priority: u32,
    pub attempts_max: u32,
    pub limit_ms: u64,
    pub deadline_ms: u64,
}

/// `warren_behaviour`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct RawBehaviour {
    pub size: u32,
    pub reserved: u32,
    pub name: RawText,
    pub think: Option<RawThink>,
    pub data: *mut c_void,
}

/// `warren_plugin`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct RawPlugin {
    pub size: u32,
    pub abi_major: u16,
    pub abi_minor: u16,
    pub name: RawText,
    pub version: RawText,
    pub methods: *const RawMethod,
    pub method_count: usize,
    pub behaviours: *const RawBehaviour,
    pub behaviour_count: usize,
    pub self_check: Option<RawSelfCheck>,
}
