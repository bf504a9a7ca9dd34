//! Scheduled events: tasks that nobody takes before their time, and the ConnServer's methods about them.

use alloc::string::ToString;
use alloc::vec::Vec;

use super::tasks::{check_own_fields, new_task};
use super::{Request, authorize, page_count};
use crate::acknowledgement::AckLevel;
use crate::authorize::{Roles, Target, Verb};
use crate::delta::Delta;
use crate::effects::{Effect, Effects};
use crate::handlers::Method;
use crate::ids::{Address, ObjectId, PartitionId};
use crate::limits::FIND_SCAN_MAX;
use crate::message::{Message, MessageBuilder, Value};
use crate::reason::Reason;
use crate::room::WATCHTOWER;
use crate::tasks::methods::TaskMethod;
use crate::tasks::record::{FIELD_AT, FIELD_OF_TASK, KIND_TASK, TaskRecord, TaskState};

/// How far ahead an event may be, in milliseconds: a leap year.
const AHEAD_MS_MAX: u64 = 366 * 24 * 3_600_000;
/// Fields of a `new-event` that are not the event's own.
const PASSED: [&str; 6] = ["id", "ack", "event", "time", "at_ms", "delay_ms"];

/// What a `new-event` asks for: of which method, and when in milliseconds since 1970.
fn event_of(request: &Request<'_>) -> Result<(TaskMethod, u64), Reason> {
    let message = request.message;
    let name = message.name("event")?;
    // Whoever may schedule it may ask for it.
    let asked = Target::Method { name };
    request.policy.authorize(request.subject(), Verb::Ask, asked)?;
    let method = match request.task_methods.of_event(name) {
        Some(method) => method,
        None => {
            request.task_methods.check(name).map_err(|_| Reason::FieldInvalid)?;
            return Err(Reason::UnknownMethod);
        }
    };
    Ok((method, time_of(message, request.wall_ms)?))
}

/// Fields of a `new-event` that are the event's own.
fn own_fields(message: Message<'_>) -> impl Iterator<Item = (&str, Value<'_>)> {
    message.fields().filter(|(name, _)| !PASSED.contains(name))
}

/// Has the event made where it belongs, which is another partition than that of the request.
pub(super) fn send_event(
    request: &Request<'_>,
    home: PartitionId,
    effects: &mut Effects,
) -> Result<(), Reason> {
    let (_, at_ms) = event_of(request)?;
    check_own_fields(request.message)?;
    let name = request.message.name("event")?;
    let user = effects.keep(request.user);
    let message = effects.build(Method::NewEvent.name(), |event| {
        event.field("event", Value::Text(name));
        event.field("at_ms", Value::Integer(at_ms as i64));
        for (name, value) in own_fields(request.message) {
            event.field(name, value);
        }
    });
    effects.list.push(Effect::MakeEvent { home, user, message });
    Ok(())
}

/// Makes the event, and says which task it is.
pub(super) fn new_event(request: &Request<'_>, effects: &mut Effects) -> Result<(), Reason> {
    let message = request.message;
    let (method, at_ms) = event_of(request)?;
    let name = message.name("event")?;
    let mut packed = Vec::with_capacity(message.as_bytes().len() + name.len());
    let mut fields = MessageBuilder::new(&mut packed, name);
    for (name, value) in own_fields(message) {
        fields.field(name, value);
    }
    let event = Request { message: Message::from_checked(&packed), ..*request };
    // Nobody waits for an answer that could be durable.
    let task = new_task(&event, (method, AckLevel::Applied), Some(at_ms), effects)?;
    effects.reply(|reply| {
        reply.field("task", Value::Object(task));
        reply.field("at_ms", Value::Integer(at_ms as i64));
    });
    Ok(())
}

/// When the event is to begin, in milliseconds since 1970: one of three fields says so.
fn time_of(message: Message<'_>, wall_ms: u64) -> Result<u64, Reason> {
    let number = |name: &str, unit_ms: u64| {
        let Some(value) = message.get(name) else { return Ok(None) };
        let value = value.as_integer().and_then(|value| u64::try_from(value).ok());
        let ms = value.and_then(|value| value.checked_mul(unit_ms));
        ms.map(Some).ok_or(Reason::FieldInvalid)
    };
    let at_ms = match (number("time", 1000)?, number("at_ms", 1)?, number("delay_ms", 1)?) {
        (Some(at_ms), None, None) | (None, Some(at_ms), None) => at_ms,
        (None, None, Some(delay_ms)) => wall_ms.saturating_add(delay_ms),
        (None, None, None) => return Err(Reason::FieldMissing),
        _ => return Err(Reason::FieldInvalid),
    };
    if at_ms > wall_ms.saturating_add(AHEAD_MS_MAX) {
        return Err(Reason::FieldInvalid);
    }
    Ok(at_ms.max(wall_ms))
}

/// The event never happens: a worker that has begun with it has lost its lease.
pub(super) fn cancel_event(request: &Request<'_>, effects: &mut Effects) -> Result<(), Reason> {
    let id = request.message.get("task").and_then(Value::as_object);
    let id = id.expect("the request was routed by its task");
    let object = request.partition.object(id).ok_or(Reason::UnknownObject)?;
    let is_open =
        |task: &TaskRecord<'_>| matches!(task.state(), TaskState::Ready | TaskState::Leased);
    let event = TaskRecord::of(object).filter(|task| task.is_event() && is_open(task));
    let event = event.ok_or(Reason::UnknownObject)?;
    authorize(request, id, object, Verb::Call(Method::CancelEvent))?;
    // Whoever asked for a task does not undo what it has decided.
    if event.is_set(FIELD_OF_TASK) && !request.header.roles.meets(Roles::ADMIN) {
        return Err(Reason::Forbidden);
    }
    effects.change(Delta::ObjectDeleted { object: id.0 });
    Ok(())
}

/// Events that have not begun: the user's own, or everybody's for an admin. Looks at a bounded number of
/// tasks, like `find`.
pub(super) fn pending(request: &Request<'_>, effects: &mut Effects) -> Result<(), Reason> {
    let count = page_count(request.message)?;
    let after = match request.message.get("after") {
        None => Address::new(0).expect("zero is an address"),
        Some(value) => value.as_object().ok_or(Reason::FieldInvalid)?.address(),
    };
    let (mut found, mut last, mut more) = (Vec::new(), None, false);
    for (id, object) in request.partition.objects_of_kind_after(KIND_TASK, after) {
        more = effects.scanned >= FIND_SCAN_MAX || found.len() == count;
        if more {
            break;
        }
        last = Some(id);
        effects.scanned += 1;
        let task = TaskRecord::of(object).expect("it is of the kind");
        if task.waits_for_event()
            && authorize(request, id, object, Verb::Call(Method::Pending)).is_ok()
        {
            found.push((id.to_string(), task.method(), task.number(FIELD_AT).to_string()));
        }
    }
    effects.reply(|reply| {
        reply.list("tasks", found.iter().map(|(id, _, _)| id.as_str()));
        reply.list("events", found.iter().map(|(_, name, _)| *name));
        reply.list("times_ms", found.iter().map(|(_, _, at_ms)| at_ms.as_str()));
        if let (true, Some(last)) = (more, last) {
            reply.field("after", Value::Object(last));
        }
    });
    Ok(())
}

/// What the members of the watchtower hear of an event ahead of its time, but for the room's number.
pub(crate) fn build_start_event(id: ObjectId, event: TaskRecord<'_>, message: &mut Vec<u8>) {
    let at_ms = event.number(FIELD_AT);
    let mut fields = MessageBuilder::new(message, "start-event");
    fields.field("room", Value::Text(WATCHTOWER));
    fields.field("from", Value::Text(event.owner()));
    fields.field("event", Value::Text(event.method()));
    fields.field("task", Value::Object(id));
    fields.field("time", Value::Integer((at_ms / 1000) as i64));
    fields.field("at_ms", Value::Integer(at_ms as i64));
}
