//! What the record of a task says. A task is an object of its own kind, so it is logged, stored and
//! brought back like any other; these are its fields.

use crate::ids::ObjectId;
use crate::message::{Message, Value};
use crate::object::{FIELD_OWNER, Object, record_owner};

/// Kind of a task.
pub(crate) const KIND_TASK: &str = "task";

pub(crate) const FIELD_METHOD: &str = "method";
pub(crate) const FIELD_STATE: &str = "state";
pub(crate) const FIELD_PRIORITY: &str = "priority";
/// The request, packed.
pub(crate) const FIELD_REQUEST: &str = "request";
/// The object that the task is about; no other task is leased with it.
pub(crate) const FIELD_TARGET: &str = "target";
/// What the user calls the task, so that asking twice does it once.
pub(crate) const FIELD_KEY: &str = "key";
/// The user's tasks of the method go one after the other.
pub(crate) const FIELD_ORDERED: &str = "ordered";
/// The answer waits until it is durable.
pub(crate) const FIELD_DURABLE: &str = "durable";
/// Attempts that were begun.
pub(crate) const FIELD_ATTEMPT: &str = "attempt";
/// The attempt of this lease was begun.
pub(crate) const FIELD_BEGUN: &str = "begun";
/// The number of the lease: the task's version by which it was given.
pub(crate) const FIELD_LEASE: &str = "lease";
/// Attempts that may be begun.
pub(crate) const FIELD_ATTEMPTS_MAX: &str = "attempts_max";
/// How often the lease was extended.
pub(crate) const FIELD_EXTENDED: &str = "extended";
/// Of a task that is ready: not before; of a leased one: the end of the lease; of a done one: for how long
/// it is remembered. Milliseconds since 1970.
pub(crate) const FIELD_UNTIL: &str = "until_ms";
/// Of a scheduled event: a task has made it, so its user does not call it off.
pub(crate) const FIELD_OF_TASK: &str = "of_task";
/// Of a scheduled event: when it is to begin, in milliseconds since 1970.
pub(crate) const FIELD_AT: &str = "at_ms";
/// Until when it has to be leased, in milliseconds since 1970.
pub(crate) const FIELD_DEADLINE: &str = "deadline_ms";
/// How long a lease lasts, in milliseconds.
pub(crate) const FIELD_LIMIT: &str = "limit_ms";
/// The answer of a task that is done, packed.
pub(crate) const FIELD_REPLY: &str = "reply";
/// Why the last attempt failed.
pub(crate) const FIELD_ERROR: &str = "error_text";

// The same names as they are packed.
const STATE: &[u8] = FIELD_STATE.as_bytes();
const OWNER: &[u8] = FIELD_OWNER.as_bytes();
const METHOD: &[u8] = FIELD_METHOD.as_bytes();
const KEY: &[u8] = FIELD_KEY.as_bytes();
const TARGET: &[u8] = FIELD_TARGET.as_bytes();
const ORDERED: &[u8] = FIELD_ORDERED.as_bytes();
const PRIORITY: &[u8] = FIELD_PRIORITY.as_bytes();
const LEASE: &[u8] = FIELD_LEASE.as_bytes();
const EXTENDED: &[u8] = FIELD_EXTENDED.as_bytes();
const LIMIT: &[u8] = FIELD_LIMIT.as_bytes();
const UNTIL: &[u8] = FIELD_UNTIL.as_bytes();
const DEADLINE: &[u8] = FIELD_DEADLINE.as_bytes();
const AT: &[u8] = FIELD_AT.as_bytes();

/// How far a task is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TaskState {
    /// It may be leased, perhaps from a time on.
    Ready,
    /// A worker has it.
    Leased,
    /// It is kept with its answer, because it has a key.
    Done,
    /// Nobody could do it: the operator decides.
    Dead,
}

impl TaskState {
    const WORDS: [(Self, &str); 4] = [
        (Self::Ready, "ready"),
        (Self::Leased, "leased"),
        (Self::Done, "done"),
        (Self::Dead, "dead"),
    ];

    pub(crate) fn word(self) -> &'static str {
        Self::WORDS[self as usize].1
    }

    fn of_word(word: &str) -> Option<Self> {
        Self::WORDS.iter().find(|(_, known)| *known == word).map(|(state, _)| *state)
    }
}

/// What says where a task stands. A number that is not there is 0.
pub(crate) struct TaskFields<'a> {
    pub(crate) state: TaskState,
    pub(crate) owner: &'a str,
    pub(crate) method: &'a str,
    pub(crate) key: Option<&'a str>,
    pub(crate) target: Option<ObjectId>,
    pub(crate) is_ordered: bool,
    pub(crate) priority: u64,
    pub(crate) lease: u64,
    pub(crate) extended: u64,
    pub(crate) limit_ms: u64,
    pub(crate) until_ms: u64,
    pub(crate) deadline_ms: u64,
    /// Of a scheduled event.
    pub(crate) at_ms: Option<u64>,
}

impl TaskFields<'_> {
    /// Whether it is an event with which nobody has begun yet.
    pub(crate) fn waits_for_event(&self) -> bool {
        self.state == TaskState::Ready && self.at_ms == Some(self.until_ms)
    }
}

/// A task as its record has it.
#[derive(Clone, Copy)]
pub(crate) struct TaskRecord<'a>(Message<'a>);

impl<'a> TaskRecord<'a> {
    /// The task that the object is, if it is one.
    pub(crate) fn of(object: &'a Object) -> Option<Self> {
        (object.kind() == KIND_TASK).then(|| Self(object.record()))
    }

    /// Whether a record from outside can be a task's.
    pub(crate) fn is_sound(record: Message<'_>) -> bool {
        let Some(state) = record.get(FIELD_STATE).and_then(Value::as_text) else { return false };
        let is_message = |field: &str| match record.get(field) {
            Some(Value::Bytes(message)) => Message::parse(message).is_ok(),
            _ => false,
        };
        let state = TaskState::of_word(state);
        state.is_some()
            && (state != Some(TaskState::Done) || is_message(FIELD_REPLY))
            && is_message(FIELD_REQUEST)
            && record.name(FIELD_METHOD).is_ok()
            && record.get(FIELD_PRIORITY).and_then(Value::as_integer).is_some()
            && record.get(FIELD_KEY).is_none_or(|key| key.as_text().is_some())
    }

    /// Whether a change says where the task stands: all but that an attempt was begun.
    pub(crate) fn moves(changes: Message<'_>) -> bool {
        changes.packed_fields().any(|field| matches!(field.name, STATE | UNTIL))
    }

    /// Whether a change from outside leaves it one.
    pub(crate) fn is_sound_change(changes: Message<'_>) -> bool {
        let state =
            changes.get(FIELD_STATE).map(|state| state.as_text().and_then(TaskState::of_word));
        let reply = changes.get(FIELD_REPLY).map(|reply| match reply {
            Value::Bytes(reply) => Message::parse(reply).is_ok(),
            _ => false,
        });
        let kept = [FIELD_METHOD, FIELD_REQUEST, FIELD_PRIORITY, FIELD_KEY];
        let is_state = match state {
            None => true,
            Some(None) => false,
            Some(Some(TaskState::Done)) => reply == Some(true),
            Some(Some(_)) => true,
        };
        is_state && reply != Some(false) && kept.iter().all(|name| changes.get(name).is_none())
    }

    /// All that the index needs, in one pass.
    pub(crate) fn fields(self) -> TaskFields<'a> {
        let mut fields = TaskFields {
            state: TaskState::Dead,
            owner: "",
            method: "",
            key: None,
            target: None,
            is_ordered: false,
            priority: 0,
            lease: 0,
            extended: 0,
            limit_ms: 0,
            until_ms: 0,
            deadline_ms: 0,
            at_ms: None,
        };
        for field in self.0.packed_fields() {
            let text = || field.value().as_text().expect("it is a text");
            match field.name {
                STATE => fields.state = TaskState::of_word(text()).expect("a task's state is one"),
                OWNER => fields.owner = text(),
                METHOD => fields.method = text(),
                KEY => fields.key = Some(text()),
                TARGET => fields.target = field.value().as_object(),
                ORDERED => fields.is_ordered = field.value() == Value::Boolean(true),
                PRIORITY => fields.priority = number_of(field.value()),
                LEASE => fields.lease = number_of(field.value()),
                EXTENDED => fields.extended = number_of(field.value()),
                LIMIT => fields.limit_ms = number_of(field.value()),
                UNTIL => fields.until_ms = number_of(field.value()),
                DEADLINE => fields.deadline_ms = number_of(field.value()),
                AT => fields.at_ms = Some(number_of(field.value())),
                _ => {}
            }
        }
        fields
    }

    /// The values of several fields in one pass.
    pub(crate) fn get_all<const N: usize>(self, names: [&str; N]) -> [Option<Value<'a>>; N] {
        self.0.get_all(names)
    }

    pub(crate) fn state(self) -> TaskState {
        let word = self.0.get(FIELD_STATE).and_then(Value::as_text);
        word.and_then(TaskState::of_word).expect("a task's state is one")
    }

    pub(crate) fn text(self, field: &str) -> Option<&'a str> {
        self.0.get(field).and_then(Value::as_text)
    }

    /// The user who asked.
    pub(crate) fn owner(self) -> &'a str {
        record_owner(self.0)
    }

    pub(crate) fn method(self) -> &'a str {
        self.text(FIELD_METHOD).expect("a task has a method")
    }

    /// A number that is not there is 0.
    pub(crate) fn number(self, field: &str) -> u64 {
        self.0.get(field).map_or(0, number_of)
    }

    pub(crate) fn is_set(self, field: &str) -> bool {
        self.0.get(field) == Some(Value::Boolean(true))
    }

    /// Whether it is a scheduled event.
    pub(crate) fn is_event(self) -> bool {
        self.0.get(FIELD_AT).is_some()
    }

    /// Whether it is an event with which nobody has begun yet.
    pub(crate) fn waits_for_event(self) -> bool {
        let is_first = || self.number(FIELD_UNTIL) == self.number(FIELD_AT);
        self.is_event() && self.state() == TaskState::Ready && is_first()
    }

    pub(crate) fn target(self) -> Option<ObjectId> {
        self.0.get(FIELD_TARGET).and_then(Value::as_object)
    }

    /// The request that made it.
    pub(crate) fn request(self) -> Message<'a> {
        match self.0.get(FIELD_REQUEST) {
            Some(Value::Bytes(request)) => Message::from_checked(request),
            _ => panic!("a task has its request"),
        }
    }

    /// The answer of one that is done.
    pub(crate) fn reply(self) -> Option<Message<'a>> {
        match self.0.get(FIELD_REPLY) {
            Some(Value::Bytes(reply)) => Message::parse(reply).ok(),
            _ => None,
        }
    }
}

/// What is no number is 0.
pub(crate) fn number_of(value: Value<'_>) -> u64 {
    value.as_integer().and_then(|number| u64::try_from(number).ok()).unwrap_or(0)
}
