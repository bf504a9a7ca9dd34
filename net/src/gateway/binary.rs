//! The binary protocol, both sides of it: the server's for the gateway, the client's for the load
//! harness and the tests. A general message travels in its packed form as it is; what a room says
//! has fixed layouts. `docs/protocol.md` has the tables.

use warren_core::message::{MESSAGE_BYTES_MAX, Message, MessageBuilder, Value, check_text};
use warren_core::reason::Reason;

use super::{Frame, GatewaySettings, settle_frame};
use warren_core::world::frame::Frame as WorldFrame;
use warren_core::world::motion::{Motion, read_move, write_move};

/// What a client sends before its first frame.
pub const PREAMBLE: &[u8; 4] = b"WRN1";

/// Bytes of the length before each frame. WebSocket messages are frames without it.
pub const LENGTH_BYTES: usize = 4;
const KIND_MESSAGE: u8 = 1;
const KIND_SAY: u8 = 2;
const KIND_HEARD: u8 = 3;
const KIND_MOVE: u8 = 4;
const KIND_FRAME: u8 = 5;

/// Longest frame of a server, its length included: no kind takes more than the packed form.
const SERVER_FRAME_BYTES_MAX: usize = LENGTH_BYTES + 1 + MESSAGE_BYTES_MAX;

/// A frame from the server, read in place.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum ServerFrame<'a> {
    /// A message of the general layout.
    Message(Message<'a>),
    /// `chat` in a room.
    Heard {
        /// The room's number for it.
        sequence: u64,
        /// The room.
        room: &'a str,
        /// Who said it.
        from: &'a str,
        /// What was said.
        text: &'a str,
    },
    /// What is around a member of a world.
    World(WorldFrame<'a>),
    /// A frame that no server should send; the rest of the stream goes on after it.
    Faulty(Reason),
}

/// Decodes a client's frame.
pub(super) fn decode(settings: &GatewaySettings, bytes: &[u8], out: &mut Vec<u8>) -> Frame {
    let Some(consumed) = frame_bytes(bytes) else { return Frame::Incomplete };
    if consumed > settings.frame_bytes_max {
        return Frame::Fatal { reason: Reason::FrameTooLarge };
    }
    let Some(frame) = bytes.get(LENGTH_BYTES..consumed) else { return Frame::Incomplete };
    take(frame, consumed, out)
}

/// Appends what a client's frame without its length says.
pub(super) fn take(frame: &[u8], consumed: usize, out: &mut Vec<u8>) -> Frame {
    if let [KIND_MOVE, payload @ ..] = frame {
        return match read_move(payload) {
            Ok(_) => {
                out.extend_from_slice(payload);
                Frame::Move { consumed }
            }
            Err(reason) => Frame::Refused { consumed, reason },
        };
    }
    let start = out.len();
    settle_frame(read(frame, out), consumed, start, out)
}

fn read(frame: &[u8], out: &mut Vec<u8>) -> Result<(), Reason> {
    match frame {
        [KIND_MESSAGE, payload @ ..] => {
            Message::parse_request(payload).map(|message| out.extend_from_slice(message.as_bytes()))
        }
        [KIND_SAY, payload @ ..] => read_say(payload, out),
        _ => Err(Reason::Malformed),
    }
}

/// Bytes of the frame, its length included, once its length is there.
fn frame_bytes(bytes: &[u8]) -> Option<usize> {
    let (length, _) = bytes.split_first_chunk::<LENGTH_BYTES>()?;
    Some(LENGTH_BYTES + u32::from_le_bytes(*length) as usize)
}

fn read_say(payload: &[u8], out: &mut Vec<u8>) -> Result<(), Reason> {
    let (id, rest) = payload.split_first_chunk().ok_or(Reason::Malformed)?;
    let id = u32::from_le_bytes(*id);
    let (to, text) = split_short_text(rest)?;
    let text = read_text(text)?;
    let mut builder = MessageBuilder::new(out, "chat");
    builder.field("to", Value::Text(to));
    builder.field("text", Value::Text(text));
    if id != 0 {
        builder.field("id", Value::Integer(i64::from(id)));
    }
    Ok(())
}

/// Takes a text with its length in one byte from the beginning.
fn split_short_text(bytes: &[u8]) -> Result<(&str, &[u8]), Reason> {
    let (length, rest) = bytes.split_first().ok_or(Reason::Malformed)?;
    let (text, rest) = rest.split_at_checked(usize::from(*length)).ok_or(Reason::Malformed)?;
    Ok((read_text(text)?, rest))
}

fn read_text(bytes: &[u8]) -> Result<&str, Reason> {
    let text = str::from_utf8(bytes).map_err(|_| Reason::NotUtf8)?;
    check_text(text)?;
    Ok(text)
}

/// Appends a server's frame.
pub(super) fn encode(message: Message<'_>, out: &mut Vec<u8>) {
    write_frame(out, |out| write(message, out));
}

/// Appends a server's frame without its length.
pub(super) fn write(message: Message<'_>, out: &mut Vec<u8>) {
    match heard(message) {
        Some(ServerFrame::Heard { sequence, room, from, text }) => {
            out.push(KIND_HEARD);
            out.extend_from_slice(&sequence.to_le_bytes());
            write_short_text(room, out);
            write_short_text(from, out);
            out.extend_from_slice(text.as_bytes());
        }
        _ => write_message(message, out),
    }
}

fn write_message(message: Message<'_>, out: &mut Vec<u8>) {
    out.push(KIND_MESSAGE);
    out.extend_from_slice(message.as_bytes());
}

/// Appends a frame of a world.
pub(super) fn encode_frame(frame: &[u8], out: &mut Vec<u8>) {
    write_frame(out, |out| write_world(frame, out));
}

/// Appends a frame of a world without its length.
pub(super) fn write_world(frame: &[u8], out: &mut Vec<u8>) {
    out.push(KIND_FRAME);
    out.extend_from_slice(frame);
}

/// The message as a `heard` frame, if that says all there is in it.
fn heard(message: Message<'_>) -> Option<ServerFrame<'_>> {
    if message.method() != "chat" {
        return None;
    }
    let is_short = |text: &str| text.len() <= usize::from(u8::MAX);
    let (mut room, mut from, mut text, mut sequence) = (None, None, None, None);
    for (name, value) in message.fields() {
        match (name, value) {
            ("room", Value::Text(value)) if is_short(value) => room = Some(value),
            ("from", Value::Text(value)) if is_short(value) => from = Some(value),
            ("text", Value::Text(value)) => text = Some(value),
            ("seq", Value::Integer(value)) => sequence = u64::try_from(value).ok(),
            _ => return None,
        }
    }
    Some(ServerFrame::Heard { sequence: sequence?, room: room?, from: from?, text: text? })
}

/// Writes the length before what `write` appends.
fn write_frame(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(&[0; LENGTH_BYTES]);
    write(out);
    let length = u32::try_from(out.len() - start - LENGTH_BYTES).expect("messages are shorter");
    out[start..start + LENGTH_BYTES].copy_from_slice(&length.to_le_bytes());
}

fn write_short_text(text: &str, out: &mut Vec<u8>) {
    out.push(u8::try_from(text.len()).expect("names are short"));
    out.extend_from_slice(text.as_bytes());
}

/// Client: appends the frame for any request.
pub fn encode_request(message: Message<'_>, out: &mut Vec<u8>) {
    write_frame(out, |out| write_message(message, out));
}

/// Client: appends the short frame for `chat` to a room or user. With `id` 0 there is none.
///
/// # Panics
/// When `to` is longer than 255 bytes.
pub fn encode_say(id: u32, to: &str, text: &str, out: &mut Vec<u8>) {
    write_frame(out, |out| {
        out.push(KIND_SAY);
        out.extend_from_slice(&id.to_le_bytes());
        write_short_text(to, out);
        out.extend_from_slice(text.as_bytes());
    });
}

/// Client: appends a move in a world, in the form for so many dimensions.
pub fn encode_move(world: u64, motion: Motion, dims: u8, out: &mut Vec<u8>) {
    write_frame(out, |out| {
        out.push(KIND_MOVE);
        write_move(world, motion, dims, out);
    });
}

/// Client: the server's frame at the beginning of `bytes` and the bytes it took, or `None` while
/// it is not whole. A frame of impossible length takes all bytes: nothing after it can be found.
#[must_use]
pub fn decode_server_frame(bytes: &[u8]) -> Option<(ServerFrame<'_>, usize)> {
    let consumed = frame_bytes(bytes)?;
    if consumed > SERVER_FRAME_BYTES_MAX {
        return Some((ServerFrame::Faulty(Reason::FrameTooLarge), bytes.len()));
    }
    Some((read_server_frame(bytes.get(LENGTH_BYTES..consumed)?), consumed))
}

/// Client: the server's frame without its length, which is how one stands in a WebSocket message.
#[must_use]
pub fn read_server_frame(frame: &[u8]) -> ServerFrame<'_> {
    let read = match frame {
        [KIND_MESSAGE, payload @ ..] => Message::parse(payload).map(ServerFrame::Message),
        [KIND_HEARD, payload @ ..] => read_heard(payload),
        [KIND_FRAME, payload @ ..] => WorldFrame::parse(payload).map(ServerFrame::World),
        _ => Err(Reason::Malformed),
    };
    read.unwrap_or_else(ServerFrame::Faulty)
}

fn read_heard(payload: &[u8]) -> Result<ServerFrame<'_>, Reason> {
    let (sequence, rest) = payload.split_first_chunk().ok_or(Reason::Malformed)?;
    let (room, rest) = split_short_text(rest)?;
    let (from, text) = split_short_text(rest)?;
    let text = read_text(text)?;
    Ok(ServerFrame::Heard { sequence: u64::from_le_bytes(*sequence), room, from, text })
}
