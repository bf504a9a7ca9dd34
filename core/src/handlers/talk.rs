//! Talk: `chat` and `emit`, to a room's members or to one user. A room comes before a user of the
//! same name, as in the ConnServer.

use super::{Method, Request, authorize_room, check_fan_out};
use crate::authorize::{Target, Verb};
use crate::effects::{Effect, Effects};
use crate::ids::ObjectId;
use crate::message::{MessageBuilder, Value};
use crate::name::is_reserved;
use crate::reason::Reason;
use crate::room::Room;

pub(super) fn chat(request: &Request<'_>, effects: &mut Effects) -> Result<(), Reason> {
    let text = request.message.text("text")?;
    send(request, effects, Method::Chat, |message| message.field("text", Value::Text(text)))
}

pub(super) fn emit(request: &Request<'_>, effects: &mut Effects) -> Result<(), Reason> {
    const PASSED: [&str; 4] = ["id", "ack", "to", "event"];
    let event = request.message.name("event")?;
    let own = || request.message.fields().filter(|(name, _)| !PASSED.contains(name));
    if own().any(|(name, _)| is_reserved(name)) {
        return Err(Reason::ReservedField);
    }
    send(request, effects, Method::Emit, |message| {
        message.field("event", Value::Text(event));
        for (name, value) in own() {
            message.field(name, value);
        }
    })
}

/// Sends to whatever has the name. What members hear begins with `room` and `from`, and ends with
/// `seq`; what a user hears begins with `to` and `from`.
fn send(
    request: &Request<'_>,
    effects: &mut Effects,
    method: Method,
    fill: impl FnOnce(&mut MessageBuilder<'_>),
) -> Result<(), Reason> {
    let to = request.message.name("to")?;
    match request.partition.room_named(to) {
        Some((id, room)) => send_to_room(request, effects, method, (id, room), fill),
        None => send_to_user(request, effects, method, to, fill),
    }
}

fn send_to_room(
    request: &Request<'_>,
    effects: &mut Effects,
    method: Method,
    (id, room): (ObjectId, &Room),
    fill: impl FnOnce(&mut MessageBuilder<'_>),
) -> Result<(), Reason> {
    authorize_room(request, (id, room), Verb::Call(method)).map_err(|reason| match reason {
        Reason::UnknownObject => Reason::UnknownRecipient,
        _ => reason,
    })?;
    request.staging.check_room(room)?;
    let sequence = room.next_sequence();
    let message = effects.build(method.name(), |message| {
        message.field("room", Value::Text(room.name()));
        message.field("from", Value::Text(request.user));
        fill(message);
        message.field("seq", Value::Integer(sequence as i64));
    });
    check_fan_out(request, room, effects.bytes_of(message))?;
    effects.list.push(Effect::Broadcast { room: id, sequence, message, is_charged: true });
    effects.reply(|reply| reply.field("seq", Value::Integer(sequence as i64)));
    Ok(())
}

fn send_to_user(
    request: &Request<'_>,
    effects: &mut Effects,
    method: Method,
    to: &str,
    fill: impl FnOnce(&mut MessageBuilder<'_>),
) -> Result<(), Reason> {
    let session = request.partition.user(to).and_then(|user| user.session);
    let session = session.ok_or(Reason::UnknownRecipient)?;
    request.policy.authorize(request.subject(), Verb::Call(method), Target::User)?;
    request.staging.check_shard(session.shard)?;
    let message = effects.build(method.name(), |message| {
        message.field("to", Value::Text(to));
        message.field("from", Value::Text(request.user));
        fill(message);
    });
    effects.list.push(Effect::Direct { session, message });
    Ok(())
}
