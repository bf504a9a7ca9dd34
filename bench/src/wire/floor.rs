//! The frames of the floor: as long as those of a real protocol, with nothing in them but what the
//! harness needs to check. Both sides are here.
//!
//! ```text
//! frame    = u32 length of the rest, u8 kind, payload          little-endian
//! announce = u32 room, u16 heard, reply, ping reply, beat bytes to the server, once, first
//! join     =                                                   to the server
//! enter    = u16 ticks a second                                to the server
//! move     = an update, padding                                to the server
//! ping     = padding                                           to the server
//! say      = u16 text length, text, padding                    to the server
//! heard    = u64 sequence, u16 text length, text, padding      to each member
//! reply    = u8 kind of the request, padding                   to who asked
//! entered  = u64 world, u16 entity                             to who asked to enter
//! world    = a frame of a world, as in the binary protocol     to each member, each tick
//! beat     = padding                                           to each, if it is not 0 bytes
//! ```

use serde::{Deserialize, Serialize};

use super::world::{UPDATE_BYTES, WorldFrame, write_frame, write_update};
use super::{Decoded, FRAME_BYTES_MAX, Frame, Request};
use crate::path::CELL_WIDTH;

/// The first frame of a connection: which room it is in, and how long the frames are.
pub const KIND_ANNOUNCE: u8 = 1;
/// The second, so that a ramp takes as many round trips as with the real server.
pub const KIND_JOIN: u8 = 2;
/// A message to the room.
pub const KIND_SAY: u8 = 3;
/// A sign of life.
pub const KIND_PING: u8 = 4;
/// A message of the room.
pub const KIND_HEARD: u8 = 5;
/// An answer.
pub const KIND_REPLY: u8 = 6;
/// A sign of life of the server.
pub const KIND_BEAT: u8 = 7;

/// In place of the second where rooms are worlds.
pub const KIND_ENTER: u8 = 8;
/// The answer to it.
pub const KIND_ENTERED: u8 = 9;
/// A move.
pub const KIND_MOVE: u8 = 10;
/// What has moved in a tick.
pub const KIND_WORLD: u8 = 11;
/// Length of a move's frame: that of the binary protocol.
pub const MOVE_FRAME_BYTES: usize = 33;

/// Lengths of whole frames, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bytes<Length> {
    /// Of a message to the server.
    pub say: Length,
    /// Of a message to a member.
    pub heard: Length,
    /// Of the answer to the speaker.
    pub reply: Length,
    /// Of a sign of life to the server.
    pub ping: Length,
    /// Of the answer to it.
    pub ping_reply: Length,
    /// Of the server's own sign of life; 0 when it gives none.
    pub beat: Length,
}

/// The same as they are on the wire.
pub type Lengths = Bytes<u16>;

impl Lengths {
    /// Lengths of a protocol's frames.
    ///
    /// # Panics
    /// When one does not fit 16 bits: a profile's payload is far smaller.
    #[must_use]
    pub fn new(lengths: Bytes<usize>) -> Self {
        let narrow = |length| u16::try_from(length).expect("frames of a profile are short");
        let Bytes { say, heard, reply, ping, ping_reply, beat } = lengths;
        Self {
            say: narrow(say),
            heard: narrow(heard),
            reply: narrow(reply),
            ping: narrow(ping),
            ping_reply: narrow(ping_reply),
            beat: narrow(beat),
        }
    }
}

/// A frame from a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientFrame<'a> {
    /// Which room the connection is in, and how long its frames are.
    Announce {
        /// The room.
        room: u32,
        /// What the server sends; `say` and `ping` are not told.
        lengths: Lengths,
    },
    /// Asks for an answer only.
    Ask {
        /// The kind to answer.
        kind: u8,
    },
    /// A message to the room.
    Say {
        /// The text.
        text: &'a str,
    },
    /// Enters the room as a world.
    Enter {
        /// Ticks a second.
        tick_hz: u16,
    },
    /// A move.
    Move {
        /// As it is told.
        update: &'a [u8; UPDATE_BYTES],
    },
}

/// The bytes are no frame of the floor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotAFrame;

pub(super) fn announce(room: u32, lengths: Lengths, out: &mut Vec<u8>) {
    let start = begin(KIND_ANNOUNCE, out);
    out.extend_from_slice(&room.to_le_bytes());
    for length in [lengths.heard, lengths.reply, lengths.ping_reply, lengths.beat] {
        out.extend_from_slice(&length.to_le_bytes());
    }
    end(start, 0, out);
}

pub(super) fn ping(lengths: Lengths, out: &mut Vec<u8>) {
    let start = begin(KIND_PING, out);
    end(start, usize::from(lengths.ping), out);
}

pub(super) fn request(kind: u8, out: &mut Vec<u8>) {
    let start = begin(kind, out);
    end(start, 0, out);
}

pub(super) fn say(text: &str, lengths: Lengths, out: &mut Vec<u8>) {
    let start = begin(KIND_SAY, out);
    push_text(text, out);
    end(start, usize::from(lengths.say), out);
}

pub(super) fn enter(tick_hz: u32, out: &mut Vec<u8>) {
    let start = begin(KIND_ENTER, out);
    out.extend_from_slice(&(tick_hz as u16).to_le_bytes());
    end(start, 0, out);
}

pub(super) fn walk(entity: u16, state: u64, out: &mut Vec<u8>) {
    let start = begin(KIND_MOVE, out);
    write_update(entity, state, out);
    end(start, MOVE_FRAME_BYTES, out);
}

/// Appends the answer to who has entered a world.
pub fn entered(world: u64, entity: u16, out: &mut Vec<u8>) {
    let start = begin(KIND_ENTERED, out);
    out.extend_from_slice(&world.to_le_bytes());
    out.extend_from_slice(&entity.to_le_bytes());
    end(start, 0, out);
}

/// Appends what has moved in a tick.
pub fn world(world: (u64, u32), updates: &[[u8; UPDATE_BYTES]], out: &mut Vec<u8>) {
    let start = begin(KIND_WORLD, out);
    write_frame(world, CELL_WIDTH, updates, out);
    end(start, 0, out);
}

/// Appends a message of the room, at least `length` bytes long.
pub fn heard(sequence: u64, text: &str, length: u16, out: &mut Vec<u8>) {
    let start = begin(KIND_HEARD, out);
    out.extend_from_slice(&sequence.to_le_bytes());
    push_text(text, out);
    end(start, usize::from(length), out);
}

/// Appends an answer, at least `length` bytes long.
pub fn reply(kind: u8, length: u16, out: &mut Vec<u8>) {
    let start = begin(KIND_REPLY, out);
    out.push(kind);
    end(start, usize::from(length), out);
}

/// Appends a sign of life, at least `length` bytes long.
pub fn beat(length: u16, out: &mut Vec<u8>) {
    let start = begin(KIND_BEAT, out);
    end(start, usize::from(length), out);
}

fn begin(kind: u8, out: &mut Vec<u8>) -> usize {
    let start = out.len();
    out.extend_from_slice(&[0, 0, 0, 0, kind]);
    start
}

fn push_text(text: &str, out: &mut Vec<u8>) {
    let length = u16::try_from(text.len()).expect("texts of a profile are short");
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(text.as_bytes());
}

/// Pads the frame to a whole length and writes the length.
fn end(start: usize, frame_bytes: usize, out: &mut Vec<u8>) {
    if out.len() < start + frame_bytes {
        out.resize(start + frame_bytes, 0);
    }
    let length = u32::try_from(out.len() - start - 4).expect("frames are short");
    out[start..start + 4].copy_from_slice(&length.to_le_bytes());
}

/// A frame's kind, payload and whole length: nothing while incomplete, an error when it is none.
type Split<'a> = Result<Option<(u8, &'a [u8], usize)>, NotAFrame>;

fn split(bytes: &[u8]) -> Split<'_> {
    let Some((length, rest)) = bytes.split_first_chunk() else { return Ok(None) };
    let length = u32::from_le_bytes(*length) as usize;
    if length == 0 || length > FRAME_BYTES_MAX {
        return Err(NotAFrame);
    }
    Ok(rest.get(..length).map(|content| (content[0], &content[1..], 4 + length)))
}

fn split_text(payload: &[u8]) -> Option<&str> {
    let (length, rest) = payload.split_first_chunk()?;
    std::str::from_utf8(rest.get(..usize::from(u16::from_le_bytes(*length)))?).ok()
}

/// Decodes a client's frame and tells its length: nothing while incomplete.
///
/// # Errors
/// When it is no frame of the floor.
pub fn decode_client(bytes: &[u8]) -> Result<Option<(ClientFrame<'_>, usize)>, NotAFrame> {
    let Some((kind, payload, consumed)) = split(bytes)? else { return Ok(None) };
    let frame = match kind {
        KIND_ANNOUNCE => {
            let (room, rest) = payload.split_first_chunk().ok_or(NotAFrame)?;
            let (lengths, []) = rest.as_chunks::<2>() else { return Err(NotAFrame) };
            let &[heard, reply, ping_reply, beat] = lengths else { return Err(NotAFrame) };
            let [heard, reply, ping_reply, beat] =
                [heard, reply, ping_reply, beat].map(u16::from_le_bytes);
            ClientFrame::Announce {
                room: u32::from_le_bytes(*room),
                lengths: Lengths { heard, reply, ping_reply, beat, ..Lengths::default() },
            }
        }
        KIND_JOIN | KIND_PING => ClientFrame::Ask { kind },
        KIND_SAY => ClientFrame::Say { text: split_text(payload).ok_or(NotAFrame)? },
        KIND_ENTER => {
            let tick_hz = payload.first_chunk().ok_or(NotAFrame)?;
            ClientFrame::Enter { tick_hz: u16::from_le_bytes(*tick_hz) }
        }
        KIND_MOVE => ClientFrame::Move { update: payload.first_chunk().ok_or(NotAFrame)? },
        _ => return Err(NotAFrame),
    };
    Ok(Some((frame, consumed)))
}

pub(super) fn decode(bytes: &[u8]) -> Decoded<'_> {
    let (kind, payload, consumed) = match split(bytes) {
        Ok(Some(parts)) => parts,
        Ok(None) => return Decoded::Incomplete,
        Err(NotAFrame) => return Decoded::Fault,
    };
    match decode_payload(kind, payload) {
        Some(frame) => Decoded::Frame { consumed, frame },
        None => Decoded::Fault,
    }
}

fn decode_payload(kind: u8, payload: &[u8]) -> Option<Frame<'_>> {
    if kind == KIND_BEAT {
        return Some(Frame::Heartbeat);
    }
    if kind == KIND_HEARD {
        let (sequence, rest) = payload.split_first_chunk()?;
        let sequence = u64::from_le_bytes(*sequence);
        return Some(Frame::Heard { sequence, place: None, text: split_text(rest)? });
    }
    if kind == KIND_WORLD {
        return WorldFrame::read(payload).map(Frame::World);
    }
    if kind == KIND_ENTERED {
        let (world, entity) = payload.split_first_chunk()?;
        let entity = u16::from_le_bytes(*entity.first_chunk()?);
        return Some(Frame::Entered { world: u64::from_le_bytes(*world), entity });
    }
    let request = match (kind, payload.first()?) {
        (KIND_REPLY, &KIND_ANNOUNCE) => Request::Login,
        (KIND_REPLY, &KIND_JOIN) => Request::Join,
        (KIND_REPLY, &KIND_SAY) => Request::Say,
        (KIND_REPLY, &KIND_PING) => Request::Ping,
        _ => return None,
    };
    Some(Frame::Reply { request, status: 0, reason: "" })
}
