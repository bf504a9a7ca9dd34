//! WebSocket (RFC 6455): messages of JSON or of the binary protocol in frames, after an upgrade
//! from HTTP.
//!
//! ```text
//! GET … Upgrade: websocket  ->  101                handshake.rs
//! frames, masked            ->  unmasked in place  frame.rs
//! fragments                 ->  put together       here
//! payload                   ->  json or binary     as without WebSocket
//! ```
//!
//! A frame is decoded when it is whole, where it was received; only fragments are copied. What a
//! server sends is not masked, so that one encoding serves all who hear a message.
//!
//! The bytes of all fragments of a message, their headers included, are bounded as those of any
//! frame are: so fragments without payload are bounded too.

pub mod client;
mod frame;
mod handshake;

use std::num::NonZeroU16;

use warren_core::message::Message;
use warren_core::reason::Reason;

pub use frame::Opcode;
pub use handshake::{HEADERS_MAX, Upgrade, UpgradeSettings, WEBSOCKET_VERSION, upgrade};

use super::{Frame, GatewaySettings, Protocol, binary, json, settle_frame};
use frame::{CONTROL_BYTES_MAX, Header, Sender, write_frame, write_header};

/// What is added to the status of a reason to make it a close code: 4401, say. Of codes from 4000
/// to 4999 each application says itself what they mean.
const CLOSE_CODE_BASE: u16 = 4000;
/// The close code where nothing went wrong.
const CLOSE_CODE_NORMAL: u16 = 1000;

/// A message of which some fragments are here.
#[derive(Debug, Default)]
pub(crate) struct Assembly {
    /// A first fragment came, and no last one.
    pub(crate) is_under_way: bool,
    /// Bytes of the frames so far, headers included.
    pub(super) frame_bytes: usize,
    /// Their payloads.
    pub(crate) bytes: Vec<u8>,
}

/// Decodes a client's frame.
pub(super) fn decode(
    protocol: Protocol,
    settings: &GatewaySettings,
    bytes: &mut [u8],
    assembly: &mut Option<Box<Assembly>>,
    out: &mut Vec<u8>,
) -> Frame {
    let header = match Header::read(bytes, Sender::Client) {
        Ok(Some(header)) => header,
        Ok(None) => return Frame::Incomplete,
        Err(reason) => return Frame::Fatal { reason },
    };
    let under_way = assembly.as_deref_mut().filter(|assembly| assembly.is_under_way);
    if !is_expected(protocol, &header, under_way.is_some()) {
        return Frame::Fatal { reason: Reason::WebsocketInvalid };
    }
    let consumed = header.frame_bytes();
    let earlier_bytes = match &under_way {
        Some(assembly) if !header.opcode.is_control() => assembly.frame_bytes,
        _ => 0,
    };
    if consumed.saturating_add(earlier_bytes) > settings.frame_bytes_max {
        return Frame::Fatal { reason: Reason::FrameTooLarge };
    }
    let Some(payload) = bytes.get_mut(header.header_bytes..consumed) else {
        return Frame::Incomplete;
    };
    frame::mask(payload, header.mask);
    match header.opcode {
        Opcode::Ping => Frame::Ping { consumed, payload_bytes: payload.len() },
        Opcode::Pong => Frame::Empty { consumed },
        Opcode::Close => read_close(payload),
        Opcode::Text | Opcode::Binary if header.is_last => {
            read_message(protocol, payload, consumed, out)
        }
        Opcode::Text | Opcode::Binary | Opcode::Continuation => {
            let assembly = assembly.get_or_insert_default();
            assembly.add(payload, consumed);
            if !header.is_last {
                return Frame::Empty { consumed };
            }
            let frame = read_message(protocol, &assembly.bytes, consumed, out);
            assembly.clear();
            frame
        }
    }
}

impl Assembly {
    fn add(&mut self, payload: &[u8], frame_bytes: usize) {
        self.is_under_way = true;
        self.frame_bytes += frame_bytes;
        self.bytes.extend_from_slice(payload);
    }

    fn clear(&mut self) {
        self.is_under_way = false;
        self.frame_bytes = 0;
        self.bytes.clear();
    }
}

/// Whether the frame may come at this place of a stream of the subprotocol.
fn is_expected(protocol: Protocol, header: &Header, is_under_way: bool) -> bool {
    match header.opcode {
        Opcode::Close | Opcode::Ping | Opcode::Pong => true,
        Opcode::Continuation => is_under_way,
        Opcode::Text | Opcode::Binary => !is_under_way && header.opcode == opcode_of(protocol),
    }
}

/// The kind of frames in which messages of the subprotocol travel.
fn opcode_of(protocol: Protocol) -> Opcode {
    if protocol == Protocol::WebSocketBinary { Opcode::Binary } else { Opcode::Text }
}

fn read_message(protocol: Protocol, payload: &[u8], consumed: usize, out: &mut Vec<u8>) -> Frame {
    let start = out.len();
    if protocol == Protocol::WebSocketBinary {
        return binary::take(payload, consumed, out);
    }
    // The standard has the connection fail, unlike JSON by itself.
    let Ok(text) = str::from_utf8(payload) else {
        return Frame::Fatal { reason: Reason::WebsocketInvalid };
    };
    settle_frame(json::read(text, out), consumed, start, out)
}

fn read_close(payload: &[u8]) -> Frame {
    let code = match payload {
        [] => Some(CloseCode::NONE),
        [high, low, text @ ..] if str::from_utf8(text).is_ok() => {
            CloseCode::sent(u16::from_be_bytes([*high, *low]))
        }
        _ => None,
    };
    match code {
        Some(code) => Frame::Close { code },
        None => Frame::Fatal { reason: Reason::WebsocketInvalid },
    }
}

/// The code of a client's close frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CloseCode(NonZeroU16);

impl CloseCode {
    /// The frame had none. The standard gives this a number that is never sent.
    pub const NONE: Self = Self(NonZeroU16::new(1005).expect("it is not zero"));

    /// A code that stood in a frame, if it may.
    fn sent(code: u16) -> Option<Self> {
        // RFC 6455, 7.4, and the registry: the others are reserved, or never sent.
        let is_valid = matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999);
        NonZeroU16::new(code).filter(|_| is_valid).map(Self)
    }

    /// The number.
    #[must_use]
    pub const fn number(self) -> u16 {
        self.0.get()
    }

    /// The payload of a frame with it.
    fn payload(self) -> Option<[u8; 2]> {
        (self != Self::NONE).then(|| self.number().to_be_bytes())
    }
}

/// Appends the close frame as the client has sent it, but for its text.
pub(crate) fn write_clients_close(code: CloseCode, out: &mut Vec<u8>) {
    let payload = code.payload();
    client::encode_frame(Opcode::Close, [0; 4], payload.as_ref().map_or(&[], |code| code), out);
}

/// Appends the frame that carries `message`.
pub(super) fn encode(protocol: Protocol, message: Message<'_>, out: &mut Vec<u8>) {
    let start = out.len();
    write_header(opcode_of(protocol), 0, out);
    let payload_start = out.len();
    if protocol == Protocol::WebSocketBinary {
        binary::write(message, out);
    } else {
        json::write(message, out);
    }
    frame::set_length(start, payload_start, out);
}

/// Appends a frame of a world, for `warren.binary`.
pub(super) fn encode_frame(frame: &[u8], out: &mut Vec<u8>) {
    let start = out.len();
    write_header(Opcode::Binary, 0, out);
    let payload_start = out.len();
    binary::write_world(frame, out);
    frame::set_length(start, payload_start, out);
}

/// Appends the answer to a ping.
///
/// # Panics
/// When the payload is longer than a ping's can be.
pub(crate) fn write_pong(payload: &[u8], out: &mut Vec<u8>) {
    assert!(payload.len() <= CONTROL_BYTES_MAX, "the ping was taken");
    write_frame(Opcode::Pong, payload, out);
}

/// The code by which a close for this reason is told: 4000 and the status, or 1000 where nothing
/// went wrong.
#[must_use]
pub const fn close_code(reason: Reason) -> u16 {
    match reason.status() {
        0 => CLOSE_CODE_NORMAL,
        status => CLOSE_CODE_BASE + status,
    }
}

/// Appends the close frame for this reason, with its word as text.
pub(crate) fn write_close(reason: Reason, out: &mut Vec<u8>) {
    let mut payload = [0; CONTROL_BYTES_MAX];
    let (code, rest) = payload.split_at_mut(2);
    code.copy_from_slice(&close_code(reason).to_be_bytes());
    let word = reason.word().as_bytes();
    rest[..word.len()].copy_from_slice(word);
    write_frame(Opcode::Close, &payload[..2 + word.len()], out);
}

/// Appends the answer to a client's close frame: its code.
pub(crate) fn write_close_answer(code: CloseCode, out: &mut Vec<u8>) {
    write_frame(Opcode::Close, code.payload().as_ref().map_or(&[], |code| code), out);
}
