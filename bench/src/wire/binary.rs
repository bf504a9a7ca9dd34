//! The binary protocol, by the client's side of the gateway.

use warren_core::message::{Message, Value, packed};
use warren_core::world::motion::Motion;
use warren_net::gateway::binary::{
    LENGTH_BYTES, PREAMBLE, ServerFrame, decode_server_frame, encode_move, encode_request,
    encode_say,
};

use super::world::WorldFrame;
use super::{Decoded, FRAME_BYTES_MAX, Frame, Place, classify};

/// The kind of frames of worlds.
const KIND_FRAME: u8 = 5;

pub(super) fn greet(out: &mut Vec<u8>) {
    out.extend_from_slice(PREAMBLE);
}

pub(super) fn request(method: &str, fields: &[(&str, &str)], out: &mut Vec<u8>) {
    let fields: Vec<(&str, Value<'_>)> =
        fields.iter().map(|(name, text)| (*name, Value::Text(text))).collect();
    message(method, &fields, out);
}

pub(super) fn message(method: &str, fields: &[(&str, Value<'_>)], out: &mut Vec<u8>) {
    encode_request(Message::from_checked(&packed(method, fields)), out);
}

pub(super) fn walk(world: u64, motion: Motion, out: &mut Vec<u8>) {
    encode_move(world, motion, 2, out);
}

pub(super) fn say(room: &str, text: &str, id: u32, out: &mut Vec<u8>) {
    encode_say(id, room, text, out);
}

pub(super) fn decode(bytes: &[u8]) -> Decoded<'_> {
    if let Some(decoded) = world(bytes) {
        return decoded;
    }
    let Some((frame, consumed)) = decode_server_frame(bytes) else {
        return if bytes.len() > FRAME_BYTES_MAX { Decoded::Fault } else { Decoded::Incomplete };
    };
    read(frame).map_or(Decoded::Fault, |frame| Decoded::Frame { consumed, frame })
}

/// A whole frame of a world, if one stands there: what comes most often where there are worlds.
fn world(bytes: &[u8]) -> Option<Decoded<'_>> {
    let (length, rest) = bytes.split_first_chunk::<LENGTH_BYTES>()?;
    let length = u32::from_le_bytes(*length) as usize;
    let [KIND_FRAME, payload @ ..] = rest.get(..length)? else { return None };
    Some(WorldFrame::read(payload).map_or(Decoded::Fault, |frame| Decoded::Frame {
        consumed: LENGTH_BYTES + length,
        frame: Frame::World(frame),
    }))
}

/// Sorts a frame; nothing for one that no server should send.
pub(super) fn read(frame: ServerFrame<'_>) -> Option<Frame<'_>> {
    match frame {
        ServerFrame::Heard { sequence, room, from, text } => {
            Some(Frame::Heard { sequence, place: Some(Place { room, from }), text })
        }
        ServerFrame::Message(message) => Some(classify_message(message)),
        ServerFrame::World(_) => Some(Frame::Aside),
        ServerFrame::Faulty(_) => None,
    }
}

fn classify_message(message: Message<'_>) -> Frame<'_> {
    let text = |name| message.get(name).and_then(Value::as_text);
    let integer = |name| message.get(name).and_then(Value::as_integer);
    let status = integer("status").and_then(|status| u16::try_from(status).ok());
    let sequence = integer("seq").and_then(|sequence| u64::try_from(sequence).ok());
    let heard = match (sequence, text("room"), text("from"), text("text")) {
        (Some(sequence), Some(room), Some(from), Some(text)) => {
            Some((sequence, Place { room, from }, text))
        }
        _ => None,
    };
    let entered = (integer("entity"), message.get("world").and_then(Value::as_object));
    if let ("join", Some(0), (Some(entity), Some(world))) = (message.method(), status, entered)
        && let Ok(entity) = u16::try_from(entity)
    {
        return Frame::Entered { world: world.0, entity };
    }
    match (message.method(), status, message.get("object").and_then(Value::as_object)) {
        ("create", Some(0), Some(object)) => return Frame::Made { object: object.0 },
        ("get", Some(0), _) => return Frame::Found { value: integer("value") },
        _ => {}
    }
    let replayed = integer("replayed").and_then(|replayed| u64::try_from(replayed).ok());
    classify(message.method(), status, text("error").unwrap_or_default(), heard)
        .numbered(status, sequence, text("room"))
        .with_pass(text("session"), text("token"), replayed)
}
