//! A task as the server tells a worker of it.

use warren_core::ids::ObjectId;
use warren_core::message::{Message, MessageBuilder, Value};
use warren_core::object::Object;
use warren_core::reason::Reason;

/// What a task is told with beside the request's own fields.
const TOLD: [&str; 8] =
    ["task", "token", "method", "user", "attempt", "limit_ms", "target_version", "target_record"];

/// The parts of the message.
pub(super) struct Told<'a> {
    pub(super) task: ObjectId,
    pub(super) token: i64,
    pub(super) method: &'a str,
    pub(super) user: &'a str,
    pub(super) limit_ms: u64,
    message: Message<'a>,
}

impl<'a> Told<'a> {
    /// None when something is missing that every task has.
    pub(super) fn of(message: Message<'a>) -> Option<Self> {
        let limit_ms = message.get("limit_ms").and_then(Value::as_integer)?;
        Some(Self {
            task: message.get("task").and_then(Value::as_object)?,
            token: message.get("token").and_then(Value::as_integer)?,
            method: message.name("method").ok()?,
            user: message.get("user").and_then(Value::as_text)?,
            limit_ms: u64::try_from(limit_ms).ok()?,
            message,
        })
    }

    /// The request that the task is made of.
    pub(super) fn write_request(&self, out: &mut Vec<u8>) {
        let mut request = MessageBuilder::new(out, self.method);
        for (name, value) in self.message.fields().filter(|(name, _)| !TOLD.contains(name)) {
            request.field(name, value);
        }
    }

    /// The object that it is about, if that is there.
    pub(super) fn target(&self) -> Result<Option<(ObjectId, Object)>, Reason> {
        let Some(Value::Bytes(record)) = self.message.get("target_record") else { return Ok(None) };
        let get = |name| self.message.get(name);
        let id = get("target").or_else(|| get("object")).and_then(Value::as_object);
        let version = get("target_version").and_then(Value::as_integer);
        let version = version.and_then(|version| u64::try_from(version).ok()).filter(|v| *v > 0);
        let id = id.ok_or(Reason::FieldInvalid)?;
        let version = version.ok_or(Reason::FieldInvalid)?;
        Ok(Some((id, Object::new(version, Message::parse(record)?))))
    }
}

/// A task that the worker has begun, until the server has taken its end.
pub(super) struct Lease {
    pub(super) task: ObjectId,
    pub(super) token: i64,
    /// For the log.
    pub(super) name: String,
    /// Why something of it was refused before its end: status and reason.
    pub(super) refusal: Option<(i64, String)>,
}

impl Lease {
    pub(super) fn of(told: &Told<'_>) -> Self {
        let name = format!("{} {} of {}", told.method, told.task, told.user);
        Self { task: told.task, token: told.token, name, refusal: None }
    }
}
