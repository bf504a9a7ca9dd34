//! Objects: `create`, `get`, `set`, `delete`. Who hears of changes: `watches.rs`.

use alloc::vec::Vec;

use super::{Method, Request, authorize, watches};
use crate::authorize::{Roles, Verb};
use crate::delta::Delta;
use crate::effects::Effects;
use crate::ids::ObjectId;
use crate::message::{Message, MessageBuilder, OBJECT_FIELDS_MAX, Value};
use crate::name::is_reserved;
use crate::object::{
    FIELD_OWNER, FIELD_ROOM, FIELD_SECRET, KIND_ROOM, KIND_USER, KIND_WORLD, Object, is_room_kind,
    start_record, write_changed_record,
};
use crate::reason::Reason;
use crate::room::LOBBY;
use crate::tasks::record::KIND_TASK;
use crate::world::WorldSettings;

/// The id of a new object with this record, if the partition has room for it beside those that are among
/// the effects already.
pub(super) fn new_object(
    request: &Request<'_>,
    record: &[u8],
    effects: &Effects,
) -> Result<ObjectId, Reason> {
    let record = Message::from_checked(record);
    let share = Share::of_new(record.method());
    check_memory(request, share, request.partition.memory_bytes_of_new(record))?;
    let count_max = share.of(request.limits.objects_per_partition_max);
    let created = effects.created_count();
    if request.partition.object_count() + created >= count_max {
        return Err(Reason::PartitionFull);
    }
    request.partition.object_after_next(created as u64).ok_or(Reason::PartitionFull)
}

/// How much of a partition and of the shard something may fill. Anyone can put objects into the
/// partition of any name; what they may not fill is kept, so that rooms can still be made there, and
/// what rooms may not fill, so that users can log in.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Share {
    User,
    Room,
    /// Other objects; whatever makes an object larger; watches.
    Other,
}

impl Share {
    fn of_new(kind: &str) -> Self {
        match kind {
            KIND_USER => Self::User,
            KIND_ROOM | KIND_WORLD => Self::Room,
            _ => Self::Other,
        }
    }

    fn of(self, limit: usize) -> usize {
        match self {
            Self::User => limit,
            Self::Room => limit - limit / 16,
            Self::Other => limit - limit / 8,
        }
    }
}

/// Whether the objects of the partition, and those of the shard, may take so many bytes more.
pub(super) fn check_memory(
    request: &Request<'_>,
    share: Share,
    more_bytes: usize,
) -> Result<(), Reason> {
    let limits = request.limits;
    if request.partition.memory_bytes() + more_bytes > share.of(limits.partition_bytes_max) {
        return Err(Reason::PartitionMemoryFull);
    }
    if request.state_bytes + more_bytes as u64 > share.of(limits.state_bytes_max) as u64 {
        return Err(Reason::ServerFull);
    }
    Ok(())
}

pub(super) fn create(request: &Request<'_>, effects: &mut Effects) -> Result<(), Reason> {
    let message = request.message;
    let kind = message.name("kind")?;
    let mut record = Vec::new();
    let mut fields = start_record(&mut record, kind, owner_of_new(request)?);
    match kind {
        // A user's object comes with the first login, a task with a request.
        KIND_USER | KIND_TASK => return Err(Reason::FieldInvalid),
        KIND_ROOM | KIND_WORLD => {
            let name = message.name("room")?;
            super::rooms::check_watchtower(request, name)?;
            super::rooms::check_free(request.partition, name)?;
            fields.field("name", Value::Text(name));
            let passed = ["id", "ack", "kind", "room", FIELD_OWNER];
            copy_own(message, &passed, kind, &mut fields, Removals::Skipped)?;
        }
        _ => {
            let passed = ["id", "ack", "kind", "partition", FIELD_OWNER];
            copy_own(message, &passed, kind, &mut fields, Removals::Skipped)?;
        }
    }
    check_size(request, &record)?;
    if kind == KIND_WORLD {
        let record = Message::from_checked(&record);
        WorldSettings::check_record(record, record, request.limits, request.behaviours)?;
    }
    let object = new_object(request, &record, effects)?;
    watches::notice_created(object, Message::from_checked(&record), effects);
    effects.change(Delta::ObjectCreated { object: object.0, version: 1, record });
    effects.reply(|reply| {
        reply.field("object", Value::Object(object));
        reply.field("version", Value::Integer(1));
    });
    Ok(())
}

pub(super) fn get(request: &Request<'_>, effects: &mut Effects) -> Result<(), Reason> {
    let (id, object) = asked_object(request, Verb::Call(Method::Get))?;
    describe(request, id, object, effects);
    Ok(())
}

/// Puts all of the object into the reply. Its room is not everyone's to know: it may be secret, and
/// lives elsewhere.
pub(super) fn describe(
    request: &Request<'_>,
    id: ObjectId,
    object: &Object,
    effects: &mut Effects,
) {
    let locates = authorize(request, id, object, Verb::Locate).is_ok();
    effects.reply(|reply| {
        reply.field("kind", Value::Text(object.kind()));
        reply.field("version", Value::Integer(object.version() as i64));
        for (name, value) in object.record().fields() {
            if name != FIELD_ROOM || locates {
                reply.field(name, value);
            }
        }
    });
}

pub(super) fn set(request: &Request<'_>, effects: &mut Effects) -> Result<(), Reason> {
    let message = request.message;
    let (id, object) = asked_object(request, Verb::Call(Method::Set))?;
    check_version(message, object)?;
    let passed = ["id", "ack", "object", "version"];
    // With room for its kind, since what is passed over may be shorter than that.
    let mut changes = Vec::with_capacity(message.as_bytes().len() + object.kind().len());
    let mut fields = MessageBuilder::new(&mut changes, object.kind());
    copy_own(message, &passed, object.kind(), &mut fields, Removals::Null)?;
    let changed = Message::from_checked(&changes);
    if changed.fields().next().is_none() {
        return Err(Reason::FieldMissing);
    }
    let mut record = effects.take_scratch();
    write_changed_record(object.record(), changed, &mut record);
    check_size(request, &record)?;
    if object.kind() == KIND_WORLD {
        let record = Message::from_checked(&record);
        WorldSettings::check_record(record, changed, request.limits, request.behaviours)?;
    }
    if record.len() > object.record().as_bytes().len() {
        let more_bytes = record.len() - object.record().as_bytes().len();
        check_memory(request, Share::Other, more_bytes)?;
    }
    let version = object.version() + 1;
    watches::tell_changed(request, id, object, (version, changed), effects)?;
    let changed_record = Message::from_checked(&record);
    watches::notice_changed(id, object, (version, changed), changed_record, effects);
    effects.keep_scratch(record);
    effects.change(Delta::ObjectChanged { object: id.0, version, changes });
    effects.reply(|reply| reply.field("version", Value::Integer(version as i64)));
    Ok(())
}

/// Whether the object is at the version that the request names, if it names one.
fn check_version(message: Message<'_>, object: &Object) -> Result<(), Reason> {
    let Some(expected) = message.get("version") else { return Ok(()) };
    let expected = expected.as_integer().ok_or(Reason::FieldInvalid)?;
    if u64::try_from(expected) == Ok(object.version()) {
        Ok(())
    } else {
        Err(Reason::VersionConflict)
    }
}

pub(super) fn delete(request: &Request<'_>, effects: &mut Effects) -> Result<(), Reason> {
    let (id, object) = asked_object(request, Verb::Call(Method::Delete))?;
    check_version(request.message, object)?;
    match object.kind() {
        // It is the user's name and presence: it stays as long as the partition.
        KIND_USER => return Err(Reason::NotOwner),
        _ if request.partition.room(id).is_some_and(|room| room.member_count() > 0) => {
            return Err(Reason::RoomOccupied);
        }
        _ => {}
    }
    watches::tell_deleted(request, id, effects)?;
    watches::notice_deleted(id, object, effects);
    effects.change(Delta::ObjectDeleted { object: id.0 });
    Ok(())
}

/// The object that the request names, if its user may do this with it.
pub(super) fn asked_object<'a>(
    request: &Request<'a>,
    verb: Verb,
) -> Result<(ObjectId, &'a Object), Reason> {
    let id = request.message.get("object").and_then(Value::as_object);
    let id = id.expect("the request was routed by its object");
    let object = request.partition.object(id).ok_or(Reason::UnknownObject)?;
    authorize(request, id, object, verb)?;
    Ok((id, object))
}

/// Fields of the message that are the object's own rather than the method's.
pub(super) fn own_fields<'a>(
    message: Message<'a>,
    passed: &[&str],
) -> impl Iterator<Item = (&'a str, Value<'a>)> {
    message.fields().filter(move |(name, _)| !passed.contains(name))
}

/// What becomes of fields without a value.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Removals {
    /// There is nothing to remove yet.
    Skipped,
    /// They are kept, as null.
    Null,
}

/// Whoever creates an object owns it. A task may name another, or with an empty text the server alone.
fn owner_of_new<'a>(request: &Request<'a>) -> Result<&'a str, Reason> {
    match request.message.get(FIELD_OWNER) {
        None => Ok(request.user),
        Some(_) if !request.header.roles.meets(Roles::TASK) => Err(Reason::ReservedField),
        Some(Value::Text("")) => Ok(""),
        Some(_) => request.message.name(FIELD_OWNER),
    }
}

/// Copies the own fields, and refuses those that belong to the protocol.
fn copy_own(
    message: Message<'_>,
    passed: &[&str],
    kind: &str,
    fields: &mut MessageBuilder<'_>,
    removals: Removals,
) -> Result<(), Reason> {
    for (name, value) in own_fields(message, passed) {
        let own_to_rooms = is_room_kind(kind) && matches!(name, "name" | "transient");
        let is_settable = match name {
            FIELD_ROOM => !is_room_kind(kind) && kind != KIND_USER,
            // Whoever creates an object owns it, and a user's own object stays the user's.
            FIELD_OWNER => removals == Removals::Null && kind != KIND_USER,
            _ => !is_reserved(name) && !own_to_rooms,
        };
        if !is_settable {
            return Err(Reason::ReservedField);
        }
        let value = match name {
            FIELD_OWNER => Value::Text(message.name(FIELD_OWNER)?),
            _ if value.removes() => Value::Null,
            FIELD_ROOM if message.name(FIELD_ROOM)? == LOBBY => return Err(Reason::Lobby),
            "members_max" if is_room_kind(kind) => {
                let count = value.as_integer().filter(|count| *count > 0);
                Value::Integer(count.ok_or(Reason::FieldInvalid)?)
            }
            FIELD_SECRET if is_room_kind(kind) => {
                Value::Boolean(value.as_boolean().ok_or(Reason::FieldInvalid)?)
            }
            _ if kind == KIND_WORLD => WorldSettings::check(name, value)?,
            _ => value,
        };
        if value != Value::Null || removals == Removals::Null {
            fields.field(name, value);
        }
    }
    Ok(())
}

fn check_size(request: &Request<'_>, record: &[u8]) -> Result<(), Reason> {
    // A record's fields are the object's own, and at most one more: the owner.
    if Message::from_checked(record).field_count() > OBJECT_FIELDS_MAX + 1 {
        return Err(Reason::TooManyFields);
    }
    if record.len() > request.limits.object_bytes_max {
        return Err(Reason::ObjectTooLarge);
    }
    Ok(())
}
