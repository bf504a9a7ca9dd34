//! Who hears of an object: those who watch it, and the members of the room that its field `room`
//! names.

use super::objects::{Share, check_memory};
use super::{Access, Action, Request, authorize_room};
use crate::delta::Delta;
use crate::effects::{Effect, Effects, WatchEffect};
use crate::ids::{ObjectId, PartitionId, SessionId};
use crate::limits::ROOM_NOTICE_BYTES_MAX;
use crate::message::{Message, MessageBuilder, Value};
use crate::object::{FIELD_OWNER, FIELD_ROOM, Object, record_owner, record_room};
use crate::reason::Reason;

pub(super) fn watch(request: &Request<'_>, effects: &mut Effects) -> Result<(), Reason> {
    let (id, object) = super::objects::asked_object(request, Action::Read)?;
    let session = request.header.origin.session;
    if request.partition.is_watching(id, session) {
        return Err(Reason::AlreadyWatching);
    }
    check_memory(request, Share::Other, request.partition.memory_bytes_of_watch(id))?;
    let user = request.user.into();
    effects.change(Delta::WatchStarted { object: id.0, session: session.to_bits(), user });
    effects.list.push(Effect::Watch(WatchEffect::Start { object: id, session }));
    super::objects::describe(object, effects);
    Ok(())
}

pub(super) fn unwatch(request: &Request<'_>, effects: &mut Effects) -> Result<(), Reason> {
    let (id, _) = super::objects::asked_object(request, Action::Read)?;
    let session = request.header.origin.session;
    if !request.partition.is_watching(id, session) {
        return Err(Reason::NotWatching);
    }
    effects.change(Delta::WatchEnded { object: id.0, session: session.to_bits() });
    effects.list.push(Effect::Watch(WatchEffect::End { object: id, session }));
    Ok(())
}

/// The last that a watcher hears of an object.
pub(crate) fn build_deleted(object: ObjectId, effects: &mut Effects) -> crate::turn::Span {
    effects.build("deleted", |message| message.field("object", Value::Object(object)))
}

/// Those who watch the object hear of a change; those who may not read it after the change no
/// longer watch it.
pub(super) fn tell_changed(
    request: &Request<'_>,
    id: ObjectId,
    object: &Object,
    (version, changes): (u64, Message<'_>),
    effects: &mut Effects,
) -> Result<(), Reason> {
    let Some(watchers) = request.partition.watchers(id) else { return Ok(()) };
    request.staging.check_watchers(Some(watchers))?;
    let mut access = Access::of(request.partition, id, object);
    for (name, value) in changes.fields() {
        match (name, value) {
            (FIELD_OWNER, Value::Text(owner)) => access.owner = owner,
            ("secret", _) if access.room.is_some() => {
                access.is_secret = value == Value::Boolean(true);
            }
            _ => {}
        }
    }
    if access.is_secret {
        for (session, user) in watchers.sessions() {
            if access.authorize(user, session, Action::Read).is_err() {
                revoke(id, session, effects);
            }
        }
    }
    let message = effects.build("changed", |message| {
        message.field("object", Value::Object(id));
        message.field("version", Value::Integer(version as i64));
        copy_fields(changes, "", message);
    });
    effects.list.push(Effect::Watch(WatchEffect::Tell { object: id, message, is_last: false }));
    Ok(())
}

/// Those who watch the object hear that it is gone.
pub(super) fn tell_deleted(
    request: &Request<'_>,
    id: ObjectId,
    effects: &mut Effects,
) -> Result<(), Reason> {
    let Some(watchers) = request.partition.watchers(id) else { return Ok(()) };
    request.staging.check_watchers(Some(watchers))?;
    let message = build_deleted(id, effects);
    effects.list.push(Effect::Watch(WatchEffect::Tell { object: id, message, is_last: true }));
    Ok(())
}

/// A session is about to be no member of the room any more: of a secret room it hears no more,
/// unless its user owns the room.
pub(super) fn member_left(
    request: &Request<'_>,
    id: ObjectId,
    session: SessionId,
    effects: &mut Effects,
) {
    let partition = request.partition;
    let object = partition.object(id).expect("a room is an object");
    let access = Access { room: None, ..Access::of(partition, id, object) };
    let may_read = access.authorize(request.user, session, Action::Read).is_ok();
    if !may_read && partition.is_watching(id, session) {
        revoke(id, session, effects);
    }
}

fn revoke(object: ObjectId, session: SessionId, effects: &mut Effects) {
    effects.change(Delta::WatchEnded { object: object.0, session: session.to_bits() });
    effects.list.push(Effect::Watch(WatchEffect::Revoke { object, session }));
}

/// The room of a new object hears of it.
pub(super) fn notice_created(id: ObjectId, record: Message<'_>, effects: &mut Effects) {
    if let Some(room) = record_room(record) {
        notice_whole(room, id, (1, record), effects);
    }
}

/// The room of a changed object hears of the change; a room that it comes into, of all of it; a
/// room that it leaves, that it left.
pub(super) fn notice_changed(
    id: ObjectId,
    object: &Object,
    (version, changes): (u64, Message<'_>),
    record: Message<'_>,
    effects: &mut Effects,
) {
    let (before, after) = (object.room(), record_room(record));
    if let Some(room) = before.filter(|room| Some(*room) == after) {
        if is_long(changes) {
            notice_brief(room, id, (version, record), effects);
            return;
        }
        notice("changed", room, id, effects, |message| {
            message.field("version", Value::Integer(version as i64));
            copy_fields(changes, FIELD_ROOM, message);
        });
        return;
    }
    if let Some(room) = before {
        notice("changed", room, id, effects, |message| {
            message.field("version", Value::Integer(version as i64));
            message.field("moved", Value::Boolean(true));
        });
    }
    if let Some(room) = after {
        notice_whole(room, id, (version, record), effects);
    }
}

/// The room of a deleted object hears that it is gone.
pub(super) fn notice_deleted(id: ObjectId, object: &Object, effects: &mut Effects) {
    if let Some(room) = object.room() {
        notice("deleted", room, id, effects, |_| {});
    }
}

fn notice_whole(
    room: &str,
    id: ObjectId,
    (version, record): (u64, Message<'_>),
    effects: &mut Effects,
) {
    if is_long(record) {
        notice_brief(room, id, (version, record), effects);
        return;
    }
    notice("changed", room, id, effects, |message| {
        message.field("version", Value::Integer(version as i64));
        message.field("kind", Value::Text(record.method()));
        copy_fields(record, FIELD_ROOM, message);
    });
}

/// A room is not told what is long: every member would get a copy that nobody asked for.
fn is_long(told: Message<'_>) -> bool {
    told.as_bytes().len() > ROOM_NOTICE_BYTES_MAX
}

/// Tells a room of an object, and none of its own fields: whoever wants them asks.
fn notice_brief(
    room: &str,
    id: ObjectId,
    (version, record): (u64, Message<'_>),
    effects: &mut Effects,
) {
    notice("changed", room, id, effects, |message| {
        message.field("version", Value::Integer(version as i64));
        message.field("kind", Value::Text(record.method()));
        message.field(FIELD_OWNER, Value::Text(record_owner(record)));
        message.field("more", Value::Boolean(true));
    });
}

/// Asks for a message that is whole but for the room's number.
fn notice(
    method: &str,
    room: &str,
    id: ObjectId,
    effects: &mut Effects,
    fill: impl FnOnce(&mut MessageBuilder<'_>),
) {
    let message = effects.build(method, |message| {
        message.field(FIELD_ROOM, Value::Text(room));
        message.field("object", Value::Object(id));
        fill(message);
    });
    effects.list.push(Effect::Notice { home: PartitionId::of_name(room), message });
}

/// At the room's home: its members hear the notice, if whoever changed the object is one of them.
pub(crate) fn hear_notice(request: &Request<'_>, effects: &mut Effects) -> Result<(), Reason> {
    let notice = request.message;
    let name = notice.name(FIELD_ROOM).expect("a notice names its room");
    let (id, room) = request.partition.room_named(name).ok_or(Reason::UnknownRoom)?;
    authorize_room(request, id, Action::Speak)?;
    request.staging.check_room(room)?;
    let sequence = room.next_sequence();
    let message = effects.build(notice.method(), |message| {
        copy_fields(notice, "", message);
        message.field("seq", Value::Integer(sequence as i64));
    });
    effects.list.push(Effect::Broadcast { room: id, sequence, message });
    Ok(())
}

/// Copies all fields but one.
fn copy_fields(from: Message<'_>, but: &str, to: &mut MessageBuilder<'_>) {
    for (name, value) in from.fields().filter(|(name, _)| *name != but) {
        to.field(name, value);
    }
}
