//! `ack`: when a request is answered. A level that a server cannot give is refused, never lowered.

use core::fmt;

use crate::handlers::Method;
use crate::message::{Message, Value};
use crate::reason::Reason;

/// When a request that changes something is answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AckLevel {
    /// As soon as the state has changed.
    #[default]
    Applied,
    /// When the change is durable.
    Durable,
}

impl AckLevel {
    /// The words of `ack`, the lowest level first.
    pub const WORDS: &[&str] = &["applied", "durable"];

    /// The level at this place of [`WORDS`](Self::WORDS).
    #[must_use]
    pub const fn from_index(index: usize) -> Option<Self> {
        match index {
            0 => Some(Self::Applied),
            1 => Some(Self::Durable),
            _ => None,
        }
    }
}

/// Why a method has no level of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AckFault {
    /// There is no such method.
    MethodUnknown,
    /// It changes nothing that outlives the server.
    NothingStored,
}

impl fmt::Display for AckFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::MethodUnknown => "there is no such method",
            Self::NothingStored => {
                "allowed: for `create`, `set`, `delete`, `new-event` and `cancel-event`"
            }
        })
    }
}

/// The levels of requests without `ack`, by method.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AckDefaults {
    levels: [AckLevel; Method::COUNT],
}

impl AckDefaults {
    /// From here on the method is answered at this level unless a request says otherwise.
    ///
    /// # Errors
    /// When there is no such method, or none that changes what is stored.
    pub fn set(&mut self, method: &str, level: AckLevel) -> Result<(), AckFault> {
        let method = Method::from_name(method).ok_or(AckFault::MethodUnknown)?;
        if !changes_stored(method) {
            return Err(AckFault::NothingStored);
        }
        self.levels[method as usize] = level;
        Ok(())
    }

    /// Whether a method is answered at this level by default.
    #[must_use]
    pub fn has(&self, level: AckLevel) -> bool {
        self.levels.contains(&level)
    }

    /// The level at which a task is to be answered when it is done.
    pub(crate) fn level_of_task(message: Message<'_>) -> Result<AckLevel, Reason> {
        match message.get("ack") {
            None | Some(Value::Text("applied")) => Ok(AckLevel::Applied),
            Some(Value::Text("durable")) => Ok(AckLevel::Durable),
            Some(Value::Text("replicated")) => Err(Reason::LevelUnavailable),
            Some(_) => Err(Reason::FieldInvalid),
        }
    }

    /// The level at which a request is to be answered.
    pub(crate) fn level_of(
        &self,
        method: Method,
        message: Message<'_>,
    ) -> Result<AckLevel, Reason> {
        match message.get("ack") {
            None => Ok(self.levels[method as usize]),
            Some(Value::Text("applied")) => Ok(AckLevel::Applied),
            Some(Value::Text("durable")) if changes_stored(method) => Ok(AckLevel::Durable),
            Some(Value::Text("durable")) if !changes_volatile(method) => Ok(AckLevel::Applied),
            Some(Value::Text("durable" | "replicated")) => Err(Reason::LevelUnavailable),
            Some(_) => Err(Reason::FieldInvalid),
        }
    }
}

/// Whether the method changes objects, which outlive the server.
fn changes_stored(method: Method) -> bool {
    matches!(
        method,
        Method::Create | Method::Set | Method::Delete | Method::NewEvent | Method::CancelEvent
    )
}

/// Whether it changes what no restart brings back: who is here, and who hears what. That is never
/// durable. It could not wait either: what a room says in the meantime has its order to joins and
/// leaves, and their replies come before it or behind it.
fn changes_volatile(method: Method) -> bool {
    matches!(
        method,
        Method::Login
            | Method::Join
            | Method::RegisterWatcher
            | Method::Leave
            | Method::Watch
            | Method::Unwatch
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::packed;

    fn level(
        defaults: AckDefaults,
        method: Method,
        ack: Option<Value<'_>>,
    ) -> Result<AckLevel, Reason> {
        let fields: &[_] = match ack {
            Some(ack) => &[("ack", ack)],
            None => &[],
        };
        let bytes = packed(method.name(), fields);
        defaults.level_of(method, Message::from_checked(&bytes))
    }

    #[test]
    fn a_request_says_its_level_or_has_that_of_its_method() {
        let mut defaults = AckDefaults::default();
        defaults.set("set", AckLevel::Durable).unwrap();
        let (applied, durable) = (Some(Value::Text("applied")), Some(Value::Text("durable")));
        assert_eq!(level(defaults, Method::Set, None), Ok(AckLevel::Durable));
        assert_eq!(level(defaults, Method::Set, applied), Ok(AckLevel::Applied));
        assert_eq!(level(defaults, Method::Create, None), Ok(AckLevel::Applied));
        assert_eq!(level(defaults, Method::Create, durable), Ok(AckLevel::Durable));
        // What changes nothing is as durable as what it tells.
        assert_eq!(level(defaults, Method::Get, durable), Ok(AckLevel::Applied));
        for word in ["durable", "replicated"].map(Value::Text) {
            assert_eq!(level(defaults, Method::Join, Some(word)), Err(Reason::LevelUnavailable));
        }
        let replicated = Some(Value::Text("replicated"));
        assert_eq!(level(defaults, Method::Set, replicated), Err(Reason::LevelUnavailable));
        for other in [Value::Text("soon"), Value::Integer(1)] {
            assert_eq!(level(defaults, Method::Set, Some(other)), Err(Reason::FieldInvalid));
        }
    }

    #[test]
    fn only_what_changes_objects_has_a_level() {
        let mut defaults = AckDefaults::default();
        assert_eq!(defaults.set("join", AckLevel::Durable), Err(AckFault::NothingStored));
        assert_eq!(defaults.set("dance", AckLevel::Durable), Err(AckFault::MethodUnknown));
        assert!(!defaults.has(AckLevel::Durable));
        for (index, word) in AckLevel::WORDS.iter().enumerate() {
            let asked = level(defaults, Method::Delete, Some(Value::Text(word)));
            assert_eq!(asked.ok(), AckLevel::from_index(index));
        }
    }
}
