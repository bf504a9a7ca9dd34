//! The frames of the floor: as long as those of a real protocol, with nothing in them but what the
//! harness needs to check. Both sides are here.
//!
//! ```text
//! frame    = u32 length of the rest, u8 kind, payload          little-endian
//! announce = u32 room, u16 heard_bytes, u16 reply_bytes        to the server, once, first
//! join, ping                                                   to the server, empty
//! say      = u16 text length, text, padding                    to the server
//! heard    = u64 sequence, u16 text length, text, padding      to each member
//! reply    = u8 kind of the request, padding                   to who asked
//! ```

use serde::{Deserialize, Serialize};

use super::{Decoded, FRAME_BYTES_MAX, Frame, Request};

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

/// Lengths of whole frames, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lengths {
    /// Of a message to the server.
    pub say: u16,
    /// Of a message to a member.
    pub heard: u16,
    /// Of the answer to the speaker.
    pub reply: u16,
}

impl Lengths {
    /// Lengths of a protocol's frames.
    ///
    /// # Panics
    /// When one does not fit 16 bits: a profile's payload is far smaller.
    #[must_use]
    pub fn new(say: usize, heard: usize, reply: usize) -> Self {
        let narrow = |length| u16::try_from(length).expect("frames of a profile are short");
        Self { say: narrow(say), heard: narrow(heard), reply: narrow(reply) }
    }
}

/// A frame from a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientFrame<'a> {
    /// Which room the connection is in, and how long its frames are.
    Announce {
        /// The room.
        room: u32,
        /// Bytes of each `heard`.
        heard_bytes: u16,
        /// Bytes of each `reply`.
        reply_bytes: u16,
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
}

/// The bytes are no frame of the floor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotAFrame;

pub(super) fn announce(room: u32, lengths: Lengths, out: &mut Vec<u8>) {
    let start = begin(KIND_ANNOUNCE, out);
    out.extend_from_slice(&room.to_le_bytes());
    out.extend_from_slice(&lengths.heard.to_le_bytes());
    out.extend_from_slice(&lengths.reply.to_le_bytes());
    end(start, 0, out);
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
            let &[a, b, c, d, e, f, g, h] = payload else { return Err(NotAFrame) };
            ClientFrame::Announce {
                room: u32::from_le_bytes([a, b, c, d]),
                heard_bytes: u16::from_le_bytes([e, f]),
                reply_bytes: u16::from_le_bytes([g, h]),
            }
        }
        KIND_JOIN | KIND_PING => ClientFrame::Ask { kind },
        KIND_SAY => ClientFrame::Say { text: split_text(payload).ok_or(NotAFrame)? },
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
    if kind == KIND_HEARD {
        let (sequence, rest) = payload.split_first_chunk()?;
        let sequence = u64::from_le_bytes(*sequence);
        return Some(Frame::Heard { sequence, place: None, text: split_text(rest)? });
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
