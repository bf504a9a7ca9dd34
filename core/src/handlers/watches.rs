//! Who hears of an object: those who watch it, and the members of the room that its field `room`
//! names.

use super::objects::{Share, check_memory};
use super::{Method, Request, authorize_room, check_fan_out};
use crate::authorize::{Subject, Target, Verb};
use crate::delta::Delta;
use crate::effects::{Effect, Effects, WatchEffect};
use crate::ids::{ObjectId, PartitionId, SessionId};
use crate::limits::ROOM_NOTICE_BYTES_MAX;
use crate::message::{Message, MessageBuilder, Value};
use crate::object::{FIELD_OWNER, FIELD_ROOM, FIELD_SECRET, Object, record_owner, record_room};
use crate::reason::Reason;

pub(super) fn watch(request: &Request<'_>, effects: &mut Effects) -> Result<(), Reason> {
    let (id, object) = super::objects::asked_object(request, Verb::Call(Method::Watch))?;
    let session = request.header.origin.session;
    if request.partition.is_watching(id, session) {
        return Err(Reason::AlreadyWatching);
    }
    check_memory(request, Share::Other, request.partition.memory_bytes_of_watch(id))?;
    let user = request.user.into();
    let roles = request.header.roles.to_bits();
    effects.change(Delta::WatchStarted { object: id.0, session: session.to_bits(), user, roles });
    effects.list.push(Effect::Watch(WatchEffect::Start { object: id, session }));
    super::objects::describe(request, id, object, effects);
    Ok(())
}

pub(super) fn unwatch(request: &Request<'_>, effects: &mut Effects) -> Result<(), Reason> {
    let (id, _) = super::objects::asked_object(request, Verb::Call(Method::Unwatch))?;
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
    // Nothing else can take from anybody what they may hear.
    if changes.fields().any(|(name, _)| matches!(name, FIELD_OWNER | FIELD_SECRET)) {
        let owner = changed_owner(object, changes);
        let is_secret = changed_secrecy(object, changes);
        let room = request.partition.room(id);
        for (session, watcher) in watchers.sessions() {
            let user = &*watcher.user;
            let subject = Subject { user, session: Some(session), roles: watcher.roles };
            let target = room.map_or(Target::Object { owner }, |room| {
                let is_member = room.has_member(user, session);
                Target::Room { owner, is_secret, is_member }
            });
            if request.policy.authorize(subject, Verb::Hear, target).is_err() {
                revoke(id, session, effects);
            }
        }
    }
    let message = effects.build("changed", |message| {
        message.field("object", Value::Object(id));
        message.field("version", Value::Integer(version as i64));
        // Which room it is in, or was, is not every watcher's to know.
        copy_fields(changes, FIELD_ROOM, message);
        let room = changes.fields().find(|(name, _)| *name == FIELD_ROOM);
        if room.is_some_and(|(_, room)| room.as_text() != object.room()) {
            message.field("moved", Value::Boolean(true));
        }
    });
    effects.list.push(Effect::Watch(WatchEffect::Tell { object: id, message, is_last: false }));
    Ok(())
}

/// Who owns the object after the change.
fn changed_owner<'a>(object: &'a Object, changes: Message<'a>) -> &'a str {
    changes.get(FIELD_OWNER).and_then(Value::as_text).unwrap_or_else(|| object.owner())
}

/// Whether the object is secret after the change, if it is a room.
fn changed_secrecy(object: &Object, changes: Message<'_>) -> bool {
    let change = changes.fields().find(|(name, _)| *name == FIELD_SECRET);
    let secret = change.map(|(_, value)| value).or_else(|| object.get(FIELD_SECRET));
    secret == Some(Value::Boolean(true))
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
    let is_secret = partition.room(id).expect("a member's room is there").is_secret;
    let target = Target::Room { owner: object.owner(), is_secret, is_member: false };
    let may_hear = request.policy.authorize(request.subject(), Verb::Hear, target).is_ok();
    if !may_hear && partition.is_watching(id, session) {
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
    authorize_room(request, (id, room), Verb::Notify)?;
    request.staging.check_room(room)?;
    let sequence = room.next_sequence();
    let message = effects.build(notice.method(), |message| {
        copy_fields(notice, "", message);
        message.field("seq", Value::Integer(sequence as i64));
    });
    check_fan_out(request, room, effects.bytes_of(message))?;
    effects.list.push(Effect::Broadcast { room: id, sequence, message, is_charged: true });
    Ok(())
}

/// Copies all fields but one.
fn copy_fields(from: Message<'_>, but: &str, to: &mut MessageBuilder<'_>) {
    for (name, value) in from.fields().filter(|(name, _)| *name != but) {
        to.field(name, value);
    }
}
