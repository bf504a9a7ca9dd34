//! Tasks: what a request of a worker's method becomes, and what a worker may have a task do.

use alloc::vec::Vec;

use super::schedule::send_event;
use super::{Method, Request, Route, handle, objects};
use crate::acknowledgement::AckLevel;
use crate::authorize::Roles;
use crate::delta::Delta;
use crate::effects::{Effect, Effects};
use crate::ids::{ObjectId, PartitionId};
use crate::mesh::EventHeader;
use crate::message::{Message, MessageBuilder, Value};
use crate::name::is_reserved;
use crate::object::{is_room_kind, start_record};
use crate::reason::Reason;
use crate::room::LOBBY;
use crate::tasks::methods::TaskMethod;
use crate::tasks::record::{
    FIELD_AT, FIELD_ATTEMPTS_MAX, FIELD_DEADLINE, FIELD_DURABLE, FIELD_KEY, FIELD_LIMIT,
    FIELD_METHOD, FIELD_OF_TASK, FIELD_ORDERED, FIELD_PRIORITY, FIELD_REQUEST, FIELD_STATE,
    FIELD_TARGET, FIELD_UNTIL, KIND_TASK, TaskState,
};

/// What a worker is told of a task beside the request's own fields, and so no request of a worker's method
/// has.
const TOLD: [&str; 8] =
    ["task", "token", "method", "user", "attempt", "limit_ms", "target_version", "target_record"];

/// What most tasks' records have beside their requests.
const RECORD_BYTES: usize = 256;
/// How late a scheduled event may begin at least: nobody may be there for a while who does it.
const EVENT_LATE_MS_MAX: u64 = 3_600_000;

/// The object that a request is about: in its partition it becomes a task.
pub(crate) fn target_of_task(message: Message<'_>) -> Result<Option<ObjectId>, Reason> {
    let named = message.get("target").or_else(|| message.get("object"));
    named.map(|target| target.as_object().ok_or(Reason::FieldInvalid)).transpose()
}

/// Makes the task that the request asks for, and says which it is. With a time it is a scheduled event, which
/// nobody takes before.
pub(crate) fn new_task(
    request: &Request<'_>,
    (method, level): (TaskMethod, AckLevel),
    at_ms: Option<u64>,
    effects: &mut Effects,
) -> Result<ObjectId, Reason> {
    let message = request.message;
    check_own_fields(message)?;
    let mut record = Vec::with_capacity(message.as_bytes().len() + RECORD_BYTES);
    let mut fields = start_record(&mut record, KIND_TASK, request.user);
    fields.field(FIELD_METHOD, Value::Text(message.method()));
    fields.field(FIELD_STATE, Value::Text(TaskState::Ready.word()));
    fields.field(FIELD_PRIORITY, Value::Integer(method.priority.into()));
    fields.field(FIELD_LIMIT, Value::Integer(method.limit_ms as i64));
    fields.field(FIELD_ATTEMPTS_MAX, Value::Integer(method.attempts_max as i64));
    if let Some(at_ms) = at_ms {
        fields.field(FIELD_UNTIL, Value::Integer(at_ms as i64));
        fields.field(FIELD_AT, Value::Integer(at_ms as i64));
    }
    if method.deadline_ms > 0 {
        let deadline_ms = match at_ms {
            None => request.wall_ms.saturating_add(method.deadline_ms),
            Some(at_ms) => at_ms + method.deadline_ms.max(EVENT_LATE_MS_MAX),
        };
        fields.field(FIELD_DEADLINE, Value::Integer(deadline_ms as i64));
    }
    if let Some(target) = target_of_task(message)? {
        fields.field(FIELD_TARGET, Value::Object(target));
    }
    if let Some(key) = message.get("key") {
        fields.field(FIELD_KEY, key);
    }
    if method.is_ordered {
        fields.field(FIELD_ORDERED, Value::Boolean(true));
    }
    if at_ms.is_some() && request.header.roles.meets(Roles::TASK) {
        fields.field(FIELD_OF_TASK, Value::Boolean(true));
    }
    if level == AckLevel::Durable {
        fields.field(FIELD_DURABLE, Value::Boolean(true));
    }
    fields.field(FIELD_REQUEST, Value::Bytes(message.as_bytes()));
    if record.len() > request.limits.object_bytes_max {
        return Err(Reason::ObjectTooLarge);
    }
    let object = objects::new_object(request, &record, effects)?;
    effects.change(Delta::ObjectCreated { object: object.0, version: 1, record });
    Ok(object)
}

/// Whether the fields that are the request's own may be.
pub(super) fn check_own_fields(message: Message<'_>) -> Result<(), Reason> {
    if message.fields().any(|(name, _)| TOLD.contains(&name)) {
        return Err(Reason::ReservedField);
    }
    if message.get("plugin").is_some_and(|asks| asks.as_boolean().is_none()) {
        return Err(Reason::FieldInvalid);
    }
    Ok(())
}

/// The effect that a worker's message says, packed as the request that it stands for.
pub(crate) fn check_effect(
    request: &Request<'_>,
    partition: PartitionId,
    staged: &[u8],
) -> Result<Vec<u8>, Reason> {
    let message = request.message;
    let method = Method::from_name(message.name("do")?).ok_or(Reason::FieldInvalid)?;
    let mut effect = Vec::with_capacity(message.as_bytes().len());
    let mut fields = MessageBuilder::new(&mut effect, method.name());
    for (name, value) in message.fields() {
        if !matches!(name, "id" | "ack" | "task" | "token" | "do") {
            fields.field(name, value);
        }
    }
    check_staged(Message::from_checked(&effect), partition, staged)?;
    Ok(effect)
}

/// Whether the effect, packed as the request that it stands for, can be carried out in the partition
/// together with those that are staged.
pub(crate) fn check_staged(
    effect: Message<'_>,
    partition: PartitionId,
    staged: &[u8],
) -> Result<(), Reason> {
    let method = Method::from_name(effect.method()).ok_or(Reason::FieldInvalid)?;
    match method {
        Method::Emit => {
            if effect.name("to")? == LOBBY {
                return Err(Reason::Lobby);
            }
            effect.name("event")?;
        }
        Method::NewEvent => {
            effect.name("event")?;
            home_of_event(effect, partition)?;
        }
        Method::Create | Method::Set | Method::Delete => {
            if method.route(effect, partition)? != Route::Partition(partition) {
                return Err(Reason::OtherPartition);
            }
        }
        _ => return Err(Reason::FieldInvalid),
    }
    // Each is carried out on what is there before all of them.
    let object_of = |effect: Message<'_>| match effect.method() {
        "set" | "delete" => effect.get("object").and_then(Value::as_object),
        _ => None,
    };
    let object = object_of(effect);
    let event = keyed_event(effect, partition);
    let clashes = |other: Message<'_>| {
        let is_same = object.is_some() && object_of(other) == object;
        let is_same_event = event.is_some() && keyed_event(other, partition) == event;
        is_same || is_same_event || makes_room(other) && makes_room(effect)
    };
    if effects_of(staged).any(clashes) {
        return Err(Reason::FieldInvalid);
    }
    Ok(())
}

/// The key of an event that the effect makes, and where.
fn keyed_event(effect: Message<'_>, own: PartitionId) -> Option<(Value<'_>, PartitionId)> {
    let is_event = effect.method() == Method::NewEvent.name();
    effect.get("key").filter(|_| is_event).zip(home_of_event(effect, own).ok())
}

fn makes_room(effect: Message<'_>) -> bool {
    let kind = effect.get("kind").and_then(Value::as_text);
    effect.method() == Method::Create.name() && kind.is_some_and(is_room_kind)
}

/// The partition in which a task's `new-event` makes the event: the target's, or the task's own.
pub(crate) fn home_of_event(effect: Message<'_>, own: PartitionId) -> Result<PartitionId, Reason> {
    Ok(target_of_task(effect)?.map_or(own, ObjectId::partition))
}

/// Stages a packed effect behind the others.
pub(crate) fn push_effect(effect: &[u8], staged: &mut Vec<u8>) {
    let length = u32::try_from(effect.len()).expect("an effect is a message");
    staged.extend_from_slice(&length.to_le_bytes());
    staged.extend_from_slice(effect);
}

/// How many effects are staged.
pub(crate) fn count_effects(staged: &[u8]) -> usize {
    effects_of(staged).count()
}

/// Staged effects: packed messages, each behind its length.
pub(crate) fn effects_of(staged: &[u8]) -> impl Iterator<Item = Message<'_>> + Clone {
    let mut rest = staged;
    core::iter::from_fn(move || {
        let (length, behind) = rest.split_first_chunk::<4>()?;
        let (effect, behind) = behind.split_at(u32::from_le_bytes(*length) as usize);
        rest = behind;
        Some(Message::from_checked(effect))
    })
}

/// Whether the partition may keep an answer of so many bytes with its task.
pub(crate) fn check_room_for_answer(request: &Request<'_>, bytes: usize) -> Result<(), Reason> {
    objects::check_memory(request, objects::Share::Other, bytes)
}

/// Carries out what was staged for a task, with the rights that the request has for that.
pub(crate) fn run_effects(
    request: &Request<'_>,
    staged: &[u8],
    effects: &mut Effects,
) -> Result<(), Reason> {
    let user_partition = request.header.partition;
    let header = EventHeader { user_partition, ..*request.header };
    for effect in effects_of(staged) {
        let method = Method::from_name(effect.method()).expect("it was checked");
        if method == Method::Emit {
            emit(request.user, effect, effects)?;
            continue;
        }
        let request = Request { header: &header, message: effect, ..*request };
        if method == Method::NewEvent {
            let home = home_of_event(effect, header.partition)?;
            if home != header.partition {
                send_event(&request, home, effects)?;
                continue;
            }
        }
        effects.restart_reply(method.name());
        handle(method, &request, effects)?;
    }
    Ok(())
}

/// A room's members hear an event of the task. The room may be anywhere, so it is told like a notice.
fn emit(user: &str, effect: Message<'_>, effects: &mut Effects) -> Result<(), Reason> {
    let (to, event) = (effect.name("to")?, effect.name("event")?);
    let own = || effect.fields().filter(|(name, _)| !matches!(*name, "to" | "event"));
    if own().any(|(name, _)| is_reserved(name)) {
        return Err(Reason::ReservedField);
    }
    let message = effects.build(Method::Emit.name(), |message| {
        message.field("room", Value::Text(to));
        message.field("from", Value::Text(user));
        message.field("event", Value::Text(event));
        for (name, value) in own() {
            message.field(name, value);
        }
    });
    effects.list.push(Effect::Notice { home: PartitionId::of_name(to), message });
    Ok(())
}
