//! From a file to code that was checked. A library is loaded from a copy that has no name in any folder: so
//! several versions of one file are there side by side, and what somebody writes over the file later changes
//! nothing. It is never closed: its code may have given anything of its own to anybody.

use core::ffi::c_void;
use core::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use core::{fmt, ptr, str};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;

use libloading::os::unix::{Library as Opened, RTLD_LOCAL, RTLD_NOW};
use rustix::fs::{MemfdFlags, Mode, OFlags, SealFlags, fcntl_add_seals, memfd_create};
use sha2::{Digest, Sha256};
use warren_core::inline::{INLINE_METHODS_MAX, InlineCall, InlineFault, InlineMethods};
use warren_core::name::check_name;
use warren_core::world::behaviours::{BEHAVIOURS_MAX, Batch, Behaviours, Surroundings};

use crate::abi::{
    ABI_MAJOR, ABI_MINOR, RawBatch, RawBehaviour, RawEntry, RawMethod, RawMethodCall, RawPlugin,
    RawText, RawThink, raw_slice,
};
use crate::host::{CallFrame, HOST, NearFrame};

/// Longest file.
const FILE_BYTES_MAX: u64 = 256 << 20;
/// Libraries that one process loads: each keeps its memory and a descriptor.
const LOADS_MAX: usize = 1024;
/// Longest version.
const VERSION_BYTES_MAX: usize = 32;
/// Longest text of a self-check that is told.
const WHY_BYTES_MAX: usize = 256;

/// How many libraries this process has loaded.
static LOADS: AtomicUsize = AtomicUsize::new(0);

/// Why a file is no plugin that can be used.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The file cannot be read.
    #[error("the file cannot be read: {0}")]
    FileUnreadable(io::Error),
    /// It is longer than any plugin.
    #[error("the file has more than {FILE_BYTES_MAX} bytes")]
    FileTooLarge,
    /// The system has no place for the copy.
    #[error("the file cannot be copied: {0}")]
    NotCopied(io::Error),
    /// The process has loaded as many as it may.
    #[error(
        "{LOADS_MAX} libraries were loaded since the start, and none is ever unloaded: restart"
    )]
    TooManyLoads,
    /// It is no shared library that works here.
    #[error("it cannot be loaded: {0}")]
    NotLoadable(String),
    /// It does not export the entry.
    #[error("it has no function `warren_plugin_entry`")]
    EntryMissing,
    /// The entry gave nothing.
    #[error("its entry returns NULL: it does not work with this server")]
    Declined,
    /// It was built for another interface.
    #[error("it is made for ABI {major}.{minor}; this server has {ABI_MAJOR}.{ABI_MINOR}")]
    AbiMismatch {
        /// As it says.
        major: u16,
        /// As it says.
        minor: u16,
    },
    /// A struct's size is not that of its ABI.
    #[error("a {what} says that it has {size} bytes; it has {expected}")]
    SizeInvalid {
        /// Which struct.
        what: &'static str,
        /// As it says.
        size: u32,
        /// What it has to be.
        expected: usize,
    },
    /// Its name is none.
    #[error("its name is no name: letters, digits, `_`, `.` and `-`, a letter or `_` first")]
    NameInvalid,
    /// Its version is none.
    #[error("its version is none: 1 to {VERSION_BYTES_MAX} letters, digits, `_`, `.`, `+` and `-`")]
    VersionInvalid,
    /// It does nothing.
    #[error("it has no methods and no behaviours")]
    NoMethods,
    /// It has more methods than a server.
    #[error("there are more than {INLINE_METHODS_MAX} methods")]
    TooManyMethods,
    /// A method's name is none.
    #[error("its method {number} has no name that is one")]
    MethodNameInvalid {
        /// Which, from 0.
        number: usize,
    },
    /// The server does the method itself.
    #[error("`{method}` is a method of the server")]
    MethodBuiltIn {
        /// Which.
        method: String,
    },
    /// It has the method twice.
    #[error("it has the method `{method}` twice")]
    MethodTwice {
        /// Which.
        method: String,
    },
    /// A method has no function.
    #[error("its method `{method}` has no function")]
    MethodWithoutFunction {
        /// Which.
        method: String,
    },
    /// Another plugin does the method.
    #[error("the method `{method}` is done by another plugin")]
    MethodTaken {
        /// Which.
        method: String,
    },
    /// There are as many plugins as there may be.
    #[error("there are as many plugins as there may be")]
    TooManyPlugins,
    /// It has methods or behaviours, and NULL for where they are.
    #[error("it says that it has {count} {what}, and does not say where")]
    ArrayMissing {
        /// `methods` or `behaviours`.
        what: &'static str,
        /// As many as it says.
        count: usize,
    },
    /// It has more behaviours than a server.
    #[error("there are more than {BEHAVIOURS_MAX} behaviours")]
    TooManyBehaviours,
    /// A behaviour's name is none.
    #[error("its behaviour {number} has no name that is one")]
    BehaviourNameInvalid {
        /// Which, from 0.
        number: usize,
    },
    /// The server has the behaviour itself.
    #[error("`{behaviour}` is a behaviour of the server")]
    BehaviourBuiltIn {
        /// Which.
        behaviour: String,
    },
    /// It has the behaviour twice.
    #[error("it has the behaviour `{behaviour}` twice")]
    BehaviourTwice {
        /// Which.
        behaviour: String,
    },
    /// A behaviour has no function.
    #[error("its behaviour `{behaviour}` has no function")]
    BehaviourWithoutFunction {
        /// Which.
        behaviour: String,
    },
    /// Another plugin has the behaviour.
    #[error("the behaviour `{behaviour}` is another plugin's")]
    BehaviourTaken {
        /// Which.
        behaviour: String,
    },
    /// It says itself that it cannot work.
    #[error("its self-check says: {0}")]
    SelfCheckFailed(String),
}

impl LoadError {
    /// The word in answers and in the log.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Self::FileUnreadable(_) => "file-unreadable",
            Self::FileTooLarge => "file-too-large",
            Self::NotCopied(_) => "not-copied",
            Self::TooManyLoads => "too-many-loads",
            Self::NotLoadable(_) => "not-loadable",
            Self::EntryMissing => "entry-missing",
            Self::Declined => "declined",
            Self::AbiMismatch { .. } => "abi-mismatch",
            Self::SizeInvalid { .. } => "size-invalid",
            Self::NameInvalid => "name-invalid",
            Self::VersionInvalid => "version-invalid",
            Self::NoMethods => "no-methods",
            Self::TooManyMethods => "too-many-methods",
            Self::MethodNameInvalid { .. } => "method-name-invalid",
            Self::MethodBuiltIn { .. } => "method-built-in",
            Self::MethodTwice { .. } => "method-twice",
            Self::MethodWithoutFunction { .. } => "method-without-function",
            Self::MethodTaken { .. } => "method-taken",
            Self::TooManyPlugins => "too-many-plugins",
            Self::ArrayMissing { .. } => "array-missing",
            Self::TooManyBehaviours => "too-many-behaviours",
            Self::BehaviourNameInvalid { .. } => "behaviour-name-invalid",
            Self::BehaviourBuiltIn { .. } => "behaviour-built-in",
            Self::BehaviourTwice { .. } => "behaviour-twice",
            Self::BehaviourWithoutFunction { .. } => "behaviour-without-function",
            Self::BehaviourTaken { .. } => "behaviour-taken",
            Self::SelfCheckFailed(_) => "self-check-failed",
        }
    }
}

/// How tasks of a method are treated, where a worker does it; none: as the server does by itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct TaskOptions {
    /// 0 is first.
    pub priority: Option<u32>,
    /// How often it is tried.
    pub attempts_max: Option<u32>,
    /// How long an attempt may take.
    pub limit_ms: Option<u64>,
    /// How long it waits for a worker.
    pub deadline_ms: Option<u64>,
}

impl TaskOptions {
    fn of(raw: &RawMethod) -> Self {
        Self {
            priority: raw.priority.checked_sub(1),
            attempts_max: (raw.attempts_max > 0).then_some(raw.attempts_max),
            limit_ms: (raw.limit_ms > 0).then_some(raw.limit_ms),
            deadline_ms: (raw.deadline_ms > 0).then_some(raw.deadline_ms),
        }
    }
}

/// A method says that it cannot do its request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallFailure {
    /// What it returned.
    pub status: i32,
    /// Why, as far as it said so.
    pub why: String,
}

/// A method of a library.
#[derive(Clone)]
pub struct LibraryMethod {
    pub(crate) name: Box<str>,
    call: RawMethodCall,
    data: *mut c_void,
    options: TaskOptions,
}

impl LibraryMethod {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How its tasks are treated.
    #[must_use]
    pub fn options(&self) -> TaskOptions {
        self.options
    }

    /// Does one request. What it says is in the call, also whether that can be.
    ///
    /// # Errors
    /// [`CallFailure`].
    pub fn call(&self, call: &mut InlineCall<'_>) -> Result<(), CallFailure> {
        let mut frame = CallFrame { call, failure: String::new() };
        let frame_pointer = ptr::from_mut(&mut frame).cast();
        // SAFETY: the header says how it is called. The frame outlives the call, and nothing else uses it
        // meanwhile; its lifetimes are forgotten, since a library keeps nothing of it.
        let status = unsafe { (self.call)(&HOST, frame_pointer, self.data) };
        if status == 0 { Ok(()) } else { Err(CallFailure { status, why: frame.failure }) }
    }
}

// SAFETY: the header says that methods run on any thread and on several at once, with their data.
unsafe impl Send for LibraryMethod {}
// SAFETY: the same.
unsafe impl Sync for LibraryMethod {}

impl fmt::Debug for LibraryMethod {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

/// A behaviour of a library.
#[derive(Clone)]
pub struct LibraryBehaviour {
    pub(crate) name: Box<str>,
    think: RawThink,
    data: *mut c_void,
}

impl LibraryBehaviour {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Moves the NPCs of a batch. What it has made of them is looked at by whoever asks.
    pub(crate) fn think(&self, batch: &mut Batch<'_>, near: &Surroundings<'_>) {
        let mut raw = RawBatch::of(batch);
        let frame = NearFrame { near };
        let frame_pointer = ptr::from_ref(&frame).cast();
        // SAFETY: the header says how it is called. Batch and frame outlive the call, and nothing else uses
        // them meanwhile; their lifetimes are forgotten, since a library keeps nothing of them.
        unsafe { (self.think)(&HOST, &mut raw, frame_pointer, self.data) };
    }
}

// SAFETY: the header says that behaviours run on any thread and on several at once, with their data.
unsafe impl Send for LibraryBehaviour {}
// SAFETY: the same.
unsafe impl Sync for LibraryBehaviour {}

impl fmt::Debug for LibraryBehaviour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

/// A library that is loaded, was checked, and has found itself well.
#[derive(Debug)]
pub struct Library {
    pub(crate) name: Box<str>,
    pub(crate) version: Box<str>,
    /// SHA-256 of the file, in hexadecimal digits.
    pub(crate) hash: Box<str>,
    pub(crate) methods: Vec<LibraryMethod>,
    pub(crate) behaviours: Vec<LibraryBehaviour>,
}

impl Library {
    /// Loads the file and checks what it says. Runs code of the file: its constructors, its entry and its
    /// self-check.
    ///
    /// # Errors
    /// [`LoadError`].
    pub fn load(path: &Path) -> Result<Self, LoadError> {
        let (copy, hash) = copy_of(path)?;
        if LOADS.fetch_add(1, Relaxed) >= LOADS_MAX {
            LOADS.fetch_sub(1, Relaxed);
            return Err(LoadError::TooManyLoads);
        }
        let plugin = open(copy)?;
        let (name, version) = name_and_version(&plugin)?;
        let (methods, behaviours) = (methods_of(&plugin)?, behaviours_of(&plugin)?);
        if methods.is_empty() && behaviours.is_empty() {
            return Err(LoadError::NoMethods);
        }
        check_itself(&plugin)?;
        Ok(Self { name, version, hash, methods, behaviours })
    }

    /// The plugin's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// `name@version`.
    #[must_use]
    pub fn label(&self) -> String {
        format!("{}@{}", self.name, self.version)
    }

    /// What moves NPCs in it.
    #[must_use]
    pub fn behaviours(&self) -> &[LibraryBehaviour] {
        &self.behaviours
    }

    /// What it does.
    #[must_use]
    pub fn methods(&self) -> &[LibraryMethod] {
        &self.methods
    }

    /// How many libraries this process has loaded, those that were refused among them.
    #[must_use]
    pub fn loads() -> usize {
        LOADS.load(Relaxed)
    }
}

/// The file in memory that has no name and cannot be written any more, and the hash of what is in it.
fn copy_of(path: &Path) -> Result<(OwnedFd, Box<str>), LoadError> {
    // Nobody waits at a pipe for its other end.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = rustix::fs::open(path, flags, Mode::empty());
    let file = File::from(file.map_err(|error| LoadError::FileUnreadable(error.into()))?);
    if !file.metadata().map_err(LoadError::FileUnreadable)?.is_file() {
        let error = io::Error::new(io::ErrorKind::InvalidInput, "it is no file");
        return Err(LoadError::FileUnreadable(error));
    }
    let mut bytes = Vec::new();
    file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(LoadError::FileUnreadable)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(LoadError::FileTooLarge);
    }
    let mut hash = String::new();
    for byte in Sha256::digest(&bytes) {
        use fmt::Write as _;
        let _ = write!(hash, "{byte:02x}");
    }
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let copied = || -> io::Result<OwnedFd> {
        let mut copy = File::from(memfd_create(c"warren-plugin", flags)?);
        copy.write_all(&bytes)?;
        let seals = SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL;
        fcntl_add_seals(&copy, seals)?;
        Ok(copy.into())
    };
    Ok((copied().map_err(LoadError::NotCopied)?, hash.into()))
}

/// Loads the copy, and gives what its entry says.
fn open(copy: OwnedFd) -> Result<RawPlugin, LoadError> {
    let path = format!("/proc/self/fd/{}", copy.as_raw_fd());
    let told = |error: libloading::Error| LoadError::NotLoadable(error.to_string());
    // SAFETY: what a library does when it is loaded is its author's to answer for, as the header says.
    let opened = unsafe { Opened::open(Some(&path), RTLD_NOW | RTLD_LOCAL) }.map_err(told)?;
    // The loader knows libraries by their paths: the number stays taken as long as the library is there.
    core::mem::forget(copy);
    // SAFETY: the header says what the function of that name is.
    let entry = unsafe { opened.get::<RawEntry>(b"warren_plugin_entry") };
    let entry = entry.map(|entry| *entry).map_err(|_| LoadError::EntryMissing);
    // Never closed, whatever comes of it: it may have started something.
    core::mem::forget(opened);
    // SAFETY: the header says how it is called, and the host table is there for ever.
    let plugin = unsafe { entry?(&HOST) };
    if plugin.is_null() {
        return Err(LoadError::Declined);
    }
    // SAFETY: the header says that it points to a struct that begins with these.
    let (size, major, minor) =
        unsafe { ((*plugin).size, (*plugin).abi_major, (*plugin).abi_minor) };
    if major != ABI_MAJOR || minor > ABI_MINOR {
        return Err(LoadError::AbiMismatch { major, minor });
    }
    check_size::<RawPlugin>("warren_plugin", size)?;
    // SAFETY: it is of this size, as it says.
    Ok(unsafe { ptr::read(plugin) })
}

fn check_size<T>(what: &'static str, size: u32) -> Result<(), LoadError> {
    let expected = size_of::<T>();
    let is_expected = size as usize == expected;
    if is_expected { Ok(()) } else { Err(LoadError::SizeInvalid { what, size, expected }) }
}

fn name_of(text: RawText) -> Option<Box<str>> {
    // SAFETY: the header says that what the entry returns stays.
    let bytes = unsafe { text.bytes() };
    check_name(bytes).ok().map(Box::from)
}

fn name_and_version(plugin: &RawPlugin) -> Result<(Box<str>, Box<str>), LoadError> {
    let name = name_of(plugin.name).ok_or(LoadError::NameInvalid)?;
    // SAFETY: as for the name.
    let version = unsafe { plugin.version.bytes() };
    let is_version = (1..=VERSION_BYTES_MAX).contains(&version.len())
        && version.iter().all(|byte| byte.is_ascii_alphanumeric() || b"_.+-".contains(byte));
    let version = str::from_utf8(version).ok().filter(|_| is_version);
    Ok((name, version.ok_or(LoadError::VersionInvalid)?.into()))
}

/// Whether there is one at least.
fn has_array<T>(what: &'static str, array: *const T, count: usize) -> Result<bool, LoadError> {
    if count > 0 && array.is_null() {
        return Err(LoadError::ArrayMissing { what, count });
    }
    Ok(count > 0)
}

fn methods_of(plugin: &RawPlugin) -> Result<Vec<LibraryMethod>, LoadError> {
    if !has_array("methods", plugin.methods, plugin.method_count)? {
        return Ok(Vec::new());
    }
    if plugin.method_count > INLINE_METHODS_MAX {
        return Err(LoadError::TooManyMethods);
    }
    // SAFETY: there is one at least.
    check_size::<RawMethod>("warren_method", unsafe { (*plugin.methods).size })?;
    // SAFETY: the header says that there are so many of one size, and they stay.
    let raw = unsafe { raw_slice(plugin.methods, plugin.method_count) };
    let mut methods: Vec<LibraryMethod> = Vec::new();
    for (number, raw) in raw.iter().enumerate() {
        check_size::<RawMethod>("warren_method", raw.size)?;
        let name = name_of(raw.name).ok_or(LoadError::MethodNameInvalid { number })?;
        let method = name.to_string();
        if InlineMethods::check(&name) == Err(InlineFault::BuiltIn) {
            return Err(LoadError::MethodBuiltIn { method });
        }
        if methods.iter().any(|other| other.name == name) {
            return Err(LoadError::MethodTwice { method });
        }
        let Some(call) = raw.call else { return Err(LoadError::MethodWithoutFunction { method }) };
        methods.push(LibraryMethod { name, call, data: raw.data, options: TaskOptions::of(raw) });
    }
    Ok(methods)
}

fn behaviours_of(plugin: &RawPlugin) -> Result<Vec<LibraryBehaviour>, LoadError> {
    if !has_array("behaviours", plugin.behaviours, plugin.behaviour_count)? {
        return Ok(Vec::new());
    }
    if plugin.behaviour_count > BEHAVIOURS_MAX {
        return Err(LoadError::TooManyBehaviours);
    }
    // SAFETY: there is one at least.
    check_size::<RawBehaviour>("warren_behaviour", unsafe { (*plugin.behaviours).size })?;
    // SAFETY: the header says that there are so many of one size, and they stay.
    let raw = unsafe { raw_slice(plugin.behaviours, plugin.behaviour_count) };
    let mut behaviours: Vec<LibraryBehaviour> = Vec::new();
    for (number, raw) in raw.iter().enumerate() {
        check_size::<RawBehaviour>("warren_behaviour", raw.size)?;
        let name = name_of(raw.name).ok_or(LoadError::BehaviourNameInvalid { number })?;
        let behaviour = name.to_string();
        if Behaviours::check(&name) == Err(InlineFault::BuiltIn) {
            return Err(LoadError::BehaviourBuiltIn { behaviour });
        }
        if behaviours.iter().any(|other| other.name == name) {
            return Err(LoadError::BehaviourTwice { behaviour });
        }
        let think = raw.think.ok_or(LoadError::BehaviourWithoutFunction { behaviour })?;
        behaviours.push(LibraryBehaviour { name, think, data: raw.data });
    }
    Ok(behaviours)
}

fn check_itself(plugin: &RawPlugin) -> Result<(), LoadError> {
    let Some(self_check) = plugin.self_check else { return Ok(()) };
    let mut why = RawText::EMPTY;
    // SAFETY: the header says how it is called.
    let status = unsafe { self_check(&HOST, &mut why) };
    if status == 0 {
        return Ok(());
    }
    // SAFETY: the header says that it stays.
    let why = unsafe { why.bytes() };
    let why = String::from_utf8_lossy(&why[..why.len().min(WHY_BYTES_MAX)]);
    Err(LoadError::SelfCheckFailed(format!("{status} {why}").trim_end().to_owned()))
}
