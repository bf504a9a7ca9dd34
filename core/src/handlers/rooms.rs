//! Rooms at their home: `join`, `leave`, `who`, and the end of a member's session.

use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::{Method, Request, authorize_room, page_after, page_count, write_page};
use crate::authorize::{Target, Verb};
use crate::delta::Delta;
use crate::effects::{Effect, Effects};
use crate::ids::{ObjectId, SessionId};
use crate::message::Value;
use crate::object::{KIND_ROOM, start_record};
use crate::partition::Partition;
use crate::reason::Reason;
use crate::room::{Room, WATCHTOWER};
use crate::world::motion::position_of;
use crate::world::{World, WorldSettings, npcs};

/// Whether a room may have this name: no room and no user has it, since `chat` finds both by it.
pub(super) fn check_free(partition: &Partition, name: &str) -> Result<(), Reason> {
    if partition.room_named(name).is_some() || partition.user(name).is_some() {
        return Err(Reason::NameTaken);
    }
    Ok(())
}

/// The watchtower is for those who may register as watchers.
pub(super) fn check_watchtower(request: &Request<'_>, name: &str) -> Result<(), Reason> {
    if name != WATCHTOWER {
        return Ok(());
    }
    let watch = Verb::Call(Method::RegisterWatcher);
    request.policy.authorize(request.subject(), watch, Target::Server)
}

pub(super) fn join(request: &Request<'_>, effects: &mut Effects) -> Result<(), Reason> {
    let name = request.message.name("room")?;
    check_watchtower(request, name)?;
    join_named(request, name, request.join_creates_rooms, effects)
}

/// Joins the room whose members hear of scheduled events. Whoever comes first makes it.
pub(super) fn register_watcher(request: &Request<'_>, effects: &mut Effects) -> Result<(), Reason> {
    join_named(request, WATCHTOWER, true, effects)
}

fn join_named(
    request: &Request<'_>,
    name: &str,
    creates_room: bool,
    effects: &mut Effects,
) -> Result<(), Reason> {
    let Request { header, user, partition, limits, .. } = *request;
    let session = header.origin.session;
    let (room, entity) = match partition.room_named(name) {
        Some((id, room)) => {
            let entity = world_entity(request, id, room, effects)?;
            join_present(request, (id, room), entity, effects)?;
            (id, entity)
        }
        None => {
            check_free(partition, name)?;
            if !creates_room {
                return Err(Reason::RoomCreationDisabled);
            }
            let mut record = Vec::new();
            let mut fields = start_record(&mut record, KIND_ROOM, user);
            fields.field("name", Value::Text(name));
            fields.field("transient", Value::Boolean(true));
            let object = super::objects::new_object(request, &record, effects)?;
            effects.change(Delta::ObjectCreated { object: object.0, version: 1, record });
            (object, None)
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
    present.map_or(Ok(()), |present| join_world(request, (room, present), entity, effects))
}

fn join_present(
    request: &Request<'_>,
    (id, room): (ObjectId, &Room),
    entity: Option<u16>,
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
                announce("joined", (id, room), user, entity, effects);
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
    member_left((id, room), user, session, limits.presence_members_max, effects);
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
        member_left((id, room), user, session, presence_members_max, effects);
    }
}

fn member_left(
    (id, room): (ObjectId, &Room),
    user: &str,
    session: SessionId,
    presence_members_max: usize,
    effects: &mut Effects,
) {
    effects.change(Delta::MemberLeft { room: id.0, user: user.into() });
    if room.world.is_some() {
        effects.list.push(Effect::WorldLeave { room: id, session });
    }
    if announces(room, room.member_count(), presence_members_max) {
        announce("left", (id, room), user, None, effects);
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

fn announce(
    method: &str,
    (id, room): (ObjectId, &Room),
    user: &str,
    entity: Option<u16>,
    effects: &mut Effects,
) {
    let sequence = room.next_sequence();
    let message = effects.build(method, |message| {
        message.field("room", Value::Text(room.name()));
        message.field("user", Value::Text(user));
        if let Some(entity) = entity {
            message.field("entity", Value::Integer(i64::from(entity)));
        }
        message.field("seq", Value::Integer(sequence as i64));
    });
    effects.list.push(Effect::Broadcast { room: id, sequence, message, is_charged: false });
}

pub(super) fn who(request: &Request<'_>, effects: &mut Effects) -> Result<(), Reason> {
    let Request { partition, message, .. } = *request;
    let (id, room) = partition.room_named(message.name("room")?).ok_or(Reason::UnknownRoom)?;
    authorize_room(request, (id, room), Verb::Call(Method::Who))
        .map_err(|_| Reason::UnknownRoom)?;
    if let Some(entity) = message.get("entity") {
        return who_is(request, (id, room), entity, effects);
    }
    let (count, after) = (page_count(message)?, page_after(message)?);
    effects.reply(|reply| write_page(reply, "users", room.members_after(after), count));
    if let Some(world) = request.worlds.get(id) {
        let members = room.members_after(after).take(count);
        let entities = members.map(|user| entity_of(world, room, user)).map(|e| e.to_string());
        let entities: Vec<String> = entities.collect();
        let entities = entities.iter().map(String::as_str);
        effects.reply(|reply| reply.list("entities", entities));
    }
    Ok(())
}

fn entity_of(world: &World, room: &Room, user: &str) -> u16 {
    let member = room.member(user).expect("it was listed");
    world.entity_of(member.session).expect("a world's member has an entity")
}

/// `who` with `entity`: the user of that one, or the behaviour of an NPC.
fn who_is(
    request: &Request<'_>,
    (id, room): (ObjectId, &Room),
    entity: Value<'_>,
    effects: &mut Effects,
) -> Result<(), Reason> {
    let entity = entity.as_integer().ok_or(Reason::FieldInvalid)?;
    let entity = u16::try_from(entity).map_err(|_| Reason::UnknownObject)?;
    let world = request.worlds.get(id).ok_or(Reason::UnknownObject)?;
    if let Some(behaviour) = world.npc_behaviour(entity) {
        effects.reply(|reply| {
            reply.list("users", [].into_iter());
            reply.list("entities", [&*entity.to_string()].into_iter());
            reply.field("behaviour", Value::Text(behaviour));
        });
        return Ok(());
    }
    let session = world.session_of(entity).ok_or(Reason::UnknownObject)?;
    effects.scanned += room.member_count();
    let user = room.members().find(|(_, member)| member.session == session);
    let (user, _) = user.expect("an entity's session is a member's");
    effects.reply(|reply| {
        reply.list("users", [user].into_iter());
        reply.list("entities", [&*entity.to_string()].into_iter());
    });
    Ok(())
}

/// The number that who joins gets in a world, if it is one.
fn world_entity(
    request: &Request<'_>,
    id: ObjectId,
    room: &Room,
    effects: &mut Effects,
) -> Result<Option<u16>, Reason> {
    if room.world.is_none() {
        return Ok(None);
    }
    let entities_max = request.limits.world_entities_max;
    let world = request.worlds.get(id);
    if world.is_none() {
        check_waking(request, id, effects)?;
    }
    if world.is_some_and(|world| world.entity_count() >= entities_max) {
        return Err(Reason::WorldFull);
    }
    let entity = world.map_or(Some(0), World::next_entity).ok_or(Reason::WorldFull)?;
    Ok(Some(entity))
}

/// Whether the shard has room for a world that is going to wake, and for its NPCs. Each of them is
/// charged like a step of a `find`.
fn check_waking(request: &Request<'_>, id: ObjectId, effects: &mut Effects) -> Result<(), Reason> {
    if request.worlds.len() >= request.limits.worlds_max {
        return Err(Reason::TooManyWorlds);
    }
    let object = request.partition.object(id).expect("a world has an object");
    let entries = npcs::entries(object.record());
    // A server that lets worlds have fewer than when it was set makes no more than that.
    let count = entries.as_deref().map_or(0, npcs::count_of).min(request.limits.world_npcs_max);
    if count > 0 && request.worlds.npc_count() + count > request.limits.npcs_max {
        return Err(Reason::NpcsFull);
    }
    effects.scanned += count;
    effects.waking = Some(entries);
    Ok(())
}

/// Who joins a world gets an entity in it: where the request says, unless that would be a way around
/// what bounds moves.
fn join_world(
    request: &Request<'_>,
    (id, room): (ObjectId, &Room),
    entity: Option<u16>,
    effects: &mut Effects,
) -> Result<(), Reason> {
    let Request { header, user, message, .. } = *request;
    let (Some(settings), Some(entity)) = (room.world.as_deref(), entity) else {
        return Ok(());
    };
    let world = request.worlds.get(id);
    let settings = world.map_or(settings.within(request.limits), |world| world.settings);
    let WorldSettings { cell, dims, .. } = settings;
    let mut motion = settings.entrance();
    if settings.speed_max == 0.0 && request.policy.may_move(request.subject()) {
        motion.position = position_of(message, motion.position)?;
    }
    let motion = motion.in_dims(dims);
    motion.check(cell)?;
    let session = header.origin.session;
    effects.list.push(Effect::WorldJoin { room: id, session, entity, motion });
    // A displaced session's entity goes when the new one is there, which has another number.
    if let Some(displaced) = room.member(user) {
        effects.list.push(Effect::WorldLeave { room: id, session: displaced.session });
    }
    let tick_hz = world.map_or(f64::from(settings.tick_hz), |world| world.clock.hz());
    effects.reply(|reply| {
        reply.field("world", Value::Object(id));
        reply.field("entity", Value::Integer(i64::from(entity)));
        reply.field("cell", Value::Float(f64::from(cell)));
        reply.field("dims", Value::Integer(i64::from(dims)));
        reply.field("tick_hz", Value::Float(tick_hz));
        for (axis, name) in ["x", "y", "z"].into_iter().enumerate().take(usize::from(dims)) {
            reply.field(name, Value::Float(f64::from(motion.position[axis])));
        }
    });
    Ok(())
}
