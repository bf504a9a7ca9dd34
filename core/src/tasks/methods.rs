//! Which methods make tasks, and how these are treated.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use super::LEVELS;
use crate::handlers::Method;
use crate::message::Message;
use crate::name::is_name;
use crate::reason::Reason;

/// Methods that make tasks on one server.
pub const METHODS_MAX: usize = 1024;
/// Longest lease and longest wait: a week.
const TIME_MS_MAX: u64 = 7 * 24 * 3_600_000;

/// How the tasks of a method are treated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TaskMethod {
    /// 0, which is first, to 7.
    pub priority: u8,
    /// How long a lease lasts, in milliseconds.
    pub limit_ms: u64,
    /// How long a task waits before it is given up, in milliseconds; 0: for ever.
    pub deadline_ms: u64,
    /// Attempts that may be begun.
    pub attempts_max: u64,
    /// A user's tasks go one after the other, in order.
    pub is_ordered: bool,
}

impl TaskMethod {
    /// What a method has unless its workers say otherwise.
    pub const DEFAULT: Self = Self {
        priority: 4,
        limit_ms: 30_000,
        deadline_ms: 60_000,
        attempts_max: 20,
        is_ordered: false,
    };

    /// What an event of a method has that is done inline. Few attempts, since code may end the process.
    const INLINE: Self = Self { attempts_max: 3, ..Self::DEFAULT };

    /// The same with what `work` says of it.
    pub(crate) fn told(self, work: Message<'_>) -> Result<Self, Reason> {
        let number = |name: &str, known: u64, most: u64| match work.get(name) {
            None => Ok(known),
            Some(value) => {
                let value = value.as_integer().and_then(|value| u64::try_from(value).ok());
                value.filter(|value| *value <= most).ok_or(Reason::FieldInvalid)
            }
        };
        let level_max = LEVELS as u64 - 1;
        let told = Self {
            priority: number("priority", self.priority.into(), level_max)? as u8,
            limit_ms: number("limit_ms", self.limit_ms, TIME_MS_MAX)?,
            deadline_ms: number("deadline_ms", self.deadline_ms, TIME_MS_MAX)?,
            attempts_max: number("attempts_max", self.attempts_max, 1000)?,
            is_ordered: match work.get("ordered") {
                None => self.is_ordered,
                Some(value) => value.as_boolean().ok_or(Reason::FieldInvalid)?,
            },
        };
        let is_possible = told.limit_ms > 0 && told.attempts_max > 0;
        if is_possible { Ok(told) } else { Err(Reason::FieldInvalid) }
    }
}

/// Why a method makes no tasks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TaskMethodFault {
    /// It is no name.
    NameInvalid,
    /// The server answers it itself.
    BuiltIn,
    /// There are as many as there may be.
    TooMany,
}

/// The methods that make tasks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TaskMethods {
    methods: BTreeMap<Box<str>, TaskMethod>,
    /// Those that are done inline, whose scheduled events are tasks. In order.
    inline: Vec<Box<str>>,
}

impl TaskMethods {
    /// A method that is known before a worker does it.
    ///
    /// # Errors
    /// [`TaskMethodFault`].
    pub fn add(&mut self, name: &str) -> Result<(), TaskMethodFault> {
        self.check(name)?;
        self.methods.insert(name.into(), TaskMethod::DEFAULT);
        Ok(())
    }

    /// Whether workers may do the method.
    pub(crate) fn check(&self, name: &str) -> Result<(), TaskMethodFault> {
        if !is_name(name.as_bytes()) {
            return Err(TaskMethodFault::NameInvalid);
        }
        if Method::from_name(name).is_some() {
            return Err(TaskMethodFault::BuiltIn);
        }
        if self.methods.len() >= METHODS_MAX && !self.methods.contains_key(name) {
            return Err(TaskMethodFault::TooMany);
        }
        Ok(())
    }

    /// A worker does the method: it is known until the server ends. What it does not say stays as it was.
    /// False when there are too many.
    pub(crate) fn register(&mut self, name: &str, work: Message<'_>) -> bool {
        if self.check(name).is_err() {
            return false;
        }
        let known = self.methods.entry(name.into()).or_insert(TaskMethod::DEFAULT);
        *known = known.told(work).expect("what a worker says was checked");
        true
    }

    /// From here on these are done inline.
    pub(crate) fn set_inline<'a>(&mut self, names: impl Iterator<Item = &'a str>) {
        self.inline = names.map(Box::from).collect();
    }

    pub(crate) fn get(&self, name: &str) -> Option<TaskMethod> {
        self.methods.get(name).copied()
    }

    /// How scheduled events of the method are treated, if anybody does it.
    pub(crate) fn of_event(&self, name: &str) -> Option<TaskMethod> {
        let is_inline = self.inline.binary_search_by(|inline| (**inline).cmp(name)).is_ok();
        if is_inline { Some(TaskMethod::INLINE) } else { self.get(name) }
    }
}
