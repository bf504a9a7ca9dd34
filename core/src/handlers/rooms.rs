//! Rooms at their home: `join`, `leave`, `who`, and the end of a member's session.

use alloc::vec::Vec;

use super::{Method, Request, authorize_room, page_after, page_count, write_page};
use crate::authorize::Verb;
use crate::delta::Delta;
use crate::effects::{Effect, Effects};
use crate::ids::{ObjectId, SessionId};
use crate::message::Value;
use crate::object::{KIND_ROOM, start_record};
use crate::partition::Partition;
use crate::reason::Reason;
use crate::room::Room;

/// Whether a room may have this name: no room and no user has it, since `chat` finds both by it.
pub(super) fn check_free(partition: &Partition, name: &str) -> Result<(), Reason> {
    if partition.room_named(name).is_some() || partition.user(name).is_some() {
        return Err(Reason::NameTaken);
    }
    Ok(())
}

pub(super) fn join(request: &Request<'_>, effects: &mut Effects) -> Result<(), Reason> {
    let Request { header, user, partition, message, limits, .. } = *request;
    let name = message.name("room")?;
    let session = header.origin.session;
    let room = match partition.room_named(name) {
        Some((id, room)) => {
            join_present(request, id, room, effects)?;
            id
        }
        None => {
            check_free(partition, name)?;
            if !request.join_creates_rooms {
                return Err(Reason::RoomCreationDisabled);
            }
            let mut record = Vec::new();
            let mut fields = start_record(&mut record, KIND_ROOM, user);
            fields.field("name", Value::Text(name));
            fields.field("transient", Value::Boolean(true));
            let object = super::objects::new_object(request, &record)?;
            effects.change(Delta::ObjectCreated { object: object.0, version: 1, record });
            object
        }
    };
    effects.change(Delta::MemberJoined {
        room: room.0,
        user: user.into(),
        session: session.to_bits(),
        login: header.login,
    });
    effects.list.push(Effect::RelayJoin { room, session });
    let present = partition.room(room);
    let others =
        present.map_or(0, |room| room.member_count() - usize::from(room.member(user).is_some()));
    // The first to come hears the count in the reply.
    if let Some(present) = present.filter(|present| others > 0 && present.member(user).is_none())
        && !announces(present, others + 1, limits.presence_members_max)
    {
        effects.list.push(Effect::CountChanged { room });
    }
    effects.reply(|reply| {
        reply.field("room", Value::Text(name));
        reply.field("members", Value::Integer(others as i64 + 1));
    });
    Ok(())
}

fn join_present(
    request: &Request<'_>,
    id: ObjectId,
    room: &Room,
    effects: &mut Effects,
) -> Result<(), Reason> {
    let Request { header, user, limits, .. } = *request;
    let session = header.origin.session;
    authorize_room(request, (id, room), Verb::Call(Method::Join))?;
    request.staging.check_room(room)?;
    match room.member(user) {
        Some(present) if present.session == session => return Err(Reason::AlreadyMember),
        // The user has logged in elsewhere since, and got here sooner.
        Some(newer) if newer.login > header.login => return Err(Reason::Displaced),
        // A displaced session whose end has not come here yet: the user stays, the session changes.
        Some(displaced) => {
            effects.list.push(Effect::RelayLeave { room: id, session: displaced.session });
            super::watches::member_left(request, id, displaced.session, effects);
        }
        None => {
            if room.members_max.is_some_and(|most| room.member_count() >= most) {
                return Err(Reason::RoomFull);
            }
            if announces(room, room.member_count() + 1, limits.presence_members_max) {
                announce("joined", id, room, user, effects);
            }
        }
    }
    Ok(())
}

pub(super) fn leave(request: &Request<'_>, effects: &mut Effects) -> Result<(), Reason> {
    let Request { header, user, partition, message, limits, .. } = *request;
    let (id, room) = partition.room_named(message.name("room")?).ok_or(Reason::UnknownRoom)?;
    let session = header.origin.session;
    authorize_room(request, (id, room), Verb::Call(Method::Leave)).map_err(
        |reason| match reason {
            Reason::UnknownObject => Reason::UnknownRoom,
            _ => reason,
        },
    )?;
    request.staging.check_room(room)?;
    effects.list.push(Effect::RelayLeave { room: id, session });
    super::watches::member_left(request, id, session, effects);
    member_left(id, room, user, limits.presence_members_max, effects);
    Ok(())
}

/// A session ended: its user leaves the room, unless a newer session of the user is in it. The
/// session's shard has taken it off the relay already.
pub(crate) fn session_left(
    (id, room): (ObjectId, &Room),
    user: &str,
    session: SessionId,
    presence_members_max: usize,
    effects: &mut Effects,
) {
    if room.has_member(user, session) {
        member_left(id, room, user, presence_members_max, effects);
    }
}

fn member_left(
    id: ObjectId,
    room: &Room,
    user: &str,
    presence_members_max: usize,
    effects: &mut Effects,
) {
    effects.change(Delta::MemberLeft { room: id.0, user: user.into() });
    if announces(room, room.member_count(), presence_members_max) {
        announce("left", id, room, user, effects);
    } else {
        effects.list.push(Effect::CountChanged { room: id });
    }
}

/// Whether the room's others hear who joins or leaves. `count` is the greater number of members,
/// of those before and after. While they have not been told how many they are, a name would only
/// mislead whoever counts.
fn announces(room: &Room, count: usize, presence_members_max: usize) -> bool {
    count > 1 && count <= presence_members_max && !room.is_count_untold
}

fn announce(method: &str, id: ObjectId, room: &Room, user: &str, effects: &mut Effects) {
    let sequence = room.next_sequence();
    let message = effects.build(method, |message| {
        message.field("room", Value::Text(room.name()));
        message.field("user", Value::Text(user));
        message.field("seq", Value::Integer(sequence as i64));
    });
    effects.list.push(Effect::Broadcast { room: id, sequence, message, is_charged: false });
}

pub(super) fn who(request: &Request<'_>, effects: &mut Effects) -> Result<(), Reason> {
    let Request { partition, message, .. } = *request;
    let (id, room) = partition.room_named(message.name("room")?).ok_or(Reason::UnknownRoom)?;
    authorize_room(request, (id, room), Verb::Call(Method::Who))
        .map_err(|_| Reason::UnknownRoom)?;
    let (count, after) = (page_count(message)?, page_after(message)?);
    effects.reply(|reply| write_page(reply, "users", room.members_after(after), count));
    Ok(())
}
