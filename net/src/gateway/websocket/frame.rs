//! One frame (RFC 6455, section 5): its header, its mask. Extensions are never agreed upon, so
//! their bits are faults.

use warren_core::reason::Reason;

/// Longest payload of a control frame.
pub(super) const CONTROL_BYTES_MAX: usize = 125;

const LAST_FRAGMENT: u8 = 0x80;
const RESERVED: u8 = 0x70;
const MASKED: u8 = 0x80;
const LENGTH_OF_2_BYTES: u8 = 126;
const LENGTH_OF_8_BYTES: u8 = 127;
const MASK_BYTES: usize = 4;

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Opcode {
    /// A further fragment of a message.
    Continuation = 0,
    /// A message of text, or its first fragment.
    Text = 1,
    /// A message of bytes, or its first fragment.
    Binary = 2,
    /// The sender says nothing more.
    Close = 8,
    /// To be answered with a pong.
    Ping = 9,
    /// An answer to a ping, or a sign of life.
    Pong = 10,
}

impl Opcode {
    const ALL: [Self; 6] =
        [Self::Continuation, Self::Text, Self::Binary, Self::Close, Self::Ping, Self::Pong];

    fn of(first_byte: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|opcode| *opcode as u8 == first_byte & 0x0f)
    }

    /// Whether it is no part of a message.
    #[must_use]
    pub const fn is_control(self) -> bool {
        self as u8 >= Self::Close as u8
    }
}

/// Who sends a frame: clients mask theirs, servers do not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sender {
    Client,
    Server,
}

/// What stands before the payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) opcode: Opcode,
    /// Whether it is the last fragment of its message, or all of it.
    pub(super) is_last: bool,
    /// Of zeros when the frame is not masked.
    pub(super) mask: [u8; MASK_BYTES],
    pub(super) header_bytes: usize,
    payload_bytes: usize,
}

impl Header {
    /// The header at the beginning of `bytes`; none while it is not whole. A fault is told as soon
    /// as it is there.
    pub(super) fn read(bytes: &[u8], sender: Sender) -> Result<Option<Self>, Reason> {
        let Some((first, rest)) = bytes.split_first() else { return Ok(None) };
        let is_last = first & LAST_FRAGMENT != 0;
        let opcode = Opcode::of(*first).ok_or(Reason::WebsocketInvalid)?;
        if first & RESERVED != 0 || (opcode.is_control() && !is_last) {
            return Err(Reason::WebsocketInvalid);
        }
        let Some((second, rest)) = rest.split_first() else { return Ok(None) };
        let is_masked = second & MASKED != 0;
        let short_length = second & !MASKED;
        if is_masked != (sender == Sender::Client)
            || (opcode.is_control() && usize::from(short_length) > CONTROL_BYTES_MAX)
        {
            return Err(Reason::WebsocketInvalid);
        }
        let Some((payload_bytes, rest)) = read_length(short_length, rest)? else { return Ok(None) };
        let (mask, rest) = match rest.split_first_chunk() {
            _ if !is_masked => ([0; MASK_BYTES], rest),
            Some((mask, rest)) => (*mask, rest),
            None => return Ok(None),
        };
        let header_bytes = bytes.len() - rest.len();
        Ok(Some(Self { opcode, is_last, mask, header_bytes, payload_bytes }))
    }

    /// Bytes of the frame; the greatest number for one that no memory holds.
    pub(super) fn frame_bytes(&self) -> usize {
        self.header_bytes.saturating_add(self.payload_bytes)
    }
}

/// The payload's length, once it is there, and what follows. It has one form: the shortest.
fn read_length(short_length: u8, rest: &[u8]) -> Result<Option<(usize, &[u8])>, Reason> {
    let (length, shortest, rest) = match short_length {
        LENGTH_OF_2_BYTES => {
            let Some((length, rest)) = rest.split_first_chunk() else { return Ok(None) };
            (u64::from(u16::from_be_bytes(*length)), u64::from(LENGTH_OF_2_BYTES), rest)
        }
        LENGTH_OF_8_BYTES => {
            let Some((length, rest)) = rest.split_first_chunk() else { return Ok(None) };
            (u64::from_be_bytes(*length), 1 << 16, rest)
        }
        length => (u64::from(length), 0, rest),
    };
    if length < shortest || length > i64::MAX as u64 {
        return Err(Reason::WebsocketInvalid);
    }
    Ok(Some((usize::try_from(length).unwrap_or(usize::MAX), rest)))
}

/// Masks or unmasks a payload: the same either way. Eight bytes at a time.
pub(super) fn mask(payload: &mut [u8], mask: [u8; MASK_BYTES]) {
    let [a, b, c, d] = mask;
    let word = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let (words, rest) = payload.as_chunks_mut();
    for bytes in words {
        *bytes = (u64::from_ne_bytes(*bytes) ^ word).to_ne_bytes();
    }
    for (byte, key) in rest.iter_mut().zip(mask.into_iter().cycle()) {
        *byte ^= key;
    }
}

/// Appends the header of a server's frame that is a whole message.
pub(super) fn write_header(opcode: Opcode, payload_bytes: usize, out: &mut Vec<u8>) {
    out.push(LAST_FRAGMENT | opcode as u8);
    write_length(0, payload_bytes, out);
}

/// Appends a payload's length in its shortest form.
pub(super) fn write_length(masked: u8, payload_bytes: usize, out: &mut Vec<u8>) {
    if payload_bytes < usize::from(LENGTH_OF_2_BYTES) {
        out.push(masked | payload_bytes as u8);
    } else if let Ok(length) = u16::try_from(payload_bytes) {
        out.push(masked | LENGTH_OF_2_BYTES);
        out.extend_from_slice(&length.to_be_bytes());
    } else {
        out.push(masked | LENGTH_OF_8_BYTES);
        out.extend_from_slice(&(payload_bytes as u64).to_be_bytes());
    }
}

/// Corrects the length in a header that was written at `start` for no payload: all that stands
/// from `payload_start` on is the payload. Only a long one is moved.
pub(super) fn set_length(start: usize, payload_start: usize, out: &mut Vec<u8>) {
    let payload_bytes = out.len() - payload_start;
    let length_start = start + 1;
    if payload_bytes < usize::from(LENGTH_OF_2_BYTES) {
        out[length_start] = payload_bytes as u8;
    } else if let Ok(length) = u16::try_from(payload_bytes) {
        let [high, low] = length.to_be_bytes();
        out.splice(length_start..payload_start, [LENGTH_OF_2_BYTES, high, low]);
    } else {
        let length = (payload_bytes as u64).to_be_bytes();
        out.splice(length_start..payload_start, [LENGTH_OF_8_BYTES].into_iter().chain(length));
    }
}

/// Appends a server's frame that is a whole message.
pub(super) fn write_frame(opcode: Opcode, payload: &[u8], out: &mut Vec<u8>) {
    write_header(opcode, payload.len(), out);
    out.extend_from_slice(payload);
}

/// Appends a client's frame.
pub(super) fn write_masked_frame(
    opcode: Opcode,
    is_last: bool,
    key: [u8; MASK_BYTES],
    payload: &[u8],
    out: &mut Vec<u8>,
) {
    out.push(if is_last { LAST_FRAGMENT } else { 0 } | opcode as u8);
    write_length(MASKED, payload.len(), out);
    out.extend_from_slice(&key);
    let start = out.len();
    out.extend_from_slice(payload);
    mask(&mut out[start..], key);
}
