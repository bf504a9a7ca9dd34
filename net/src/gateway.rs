//! Gateways: one wire protocol each, bytes to messages and back. Pure: no sockets, no clock, no
//! meaning of methods. All protocols share one port and are told apart by their first bytes.

use warren_core::message::{MESSAGE_BYTES_MAX, Message};
use warren_core::reason::Reason;

pub mod binary;
mod connserver;
mod detect;
mod frame;
mod json;
pub mod websocket;
mod xml;

pub use frame::FrameScratch;

pub use detect::{DETECTION_BYTES_MAX, Detected, POLICY_REQUEST, detect};

/// How many of the longest frames the send queue of a connection must hold, so that each of them
/// fits it in every protocol. A character takes up to five times its bytes (`&` in XML); the rest
/// is for what is of bounded length: names and tags, floats of some hundred digits, and what the
/// server adds to a message.
pub const QUEUE_FRAMES_MIN: usize = 6;

/// The protocols spoken here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Protocol {
    /// ConnServer text, dialect A: `k=v&k=v~` NUL.
    ConnServerA,
    /// ConnServer text, dialect B: `k:v,k:v~` NUL.
    ConnServerB,
    /// ConnServer text, dialect C: `k:v` LF … NUL.
    ConnServerC,
    /// One JSON object a frame, ended by NUL or LF.
    Json,
    /// One XML document a frame, ended by NUL.
    Xml,
    /// Length-prefixed frames after `WRN1`.
    Binary,
    /// WebSocket, subprotocol `warren.json`: one JSON object a text message.
    WebSocketJson,
    /// WebSocket, subprotocol `warren.binary`: kind and payload of a binary frame a binary message.
    WebSocketBinary,
}

impl Protocol {
    /// Every protocol.
    pub const ALL: &[Self] = &[
        Self::ConnServerA,
        Self::ConnServerB,
        Self::ConnServerC,
        Self::Json,
        Self::Xml,
        Self::Binary,
        Self::WebSocketJson,
        Self::WebSocketBinary,
    ];

    /// The name in the configuration, the log and the metrics.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::ConnServerA => "connserver-a",
            Self::ConnServerB => "connserver-b",
            Self::ConnServerC => "connserver-c",
            Self::Json => "json",
            Self::Xml => "xml",
            Self::Binary => "binary",
            Self::WebSocketJson => "websocket-json",
            Self::WebSocketBinary => "websocket-binary",
        }
    }

    /// Whether connections of the protocol begin with bytes of which some are no frame: the binary
    /// preamble, the upgrade to WebSocket, or the Flash policy request in place of XML. So they are
    /// looked at on a port of this one protocol too.
    #[must_use]
    pub const fn is_always_detected(self) -> bool {
        matches!(self, Self::Xml | Self::Binary) || self.is_websocket()
    }

    /// Whether messages travel in WebSocket frames.
    #[must_use]
    pub const fn is_websocket(self) -> bool {
        matches!(self, Self::WebSocketJson | Self::WebSocketBinary)
    }

    /// Whether the client keeps the connection alive by its own `ping`, and is gone when it is
    /// silent; clients of the other protocols hear `pong` unasked.
    #[must_use]
    pub const fn is_kept_alive_by_client(self) -> bool {
        matches!(self, Self::Binary | Self::WebSocketBinary)
    }

    /// Whether the protocol is one of the three ConnServer dialects.
    #[must_use]
    pub const fn is_connserver(self) -> bool {
        matches!(self, Self::ConnServerA | Self::ConnServerB | Self::ConnServerC)
    }
}

/// What the configuration says about protocols.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GatewaySettings {
    /// Longest frame a client may send, in bytes, its terminator or length included.
    pub frame_bytes_max: usize,
    /// ConnServer: percent-encode on output, decode on input. Off: raw as in the original, but for
    /// separators in values, which leave as spaces.
    pub percent: bool,
    /// ConnServer: leave out `seq`, which the original did not send.
    pub legacy: bool,
    /// ConnServer: an unknown method closes the connection, as in the original.
    pub strict: bool,
}

impl Default for GatewaySettings {
    fn default() -> Self {
        Self { frame_bytes_max: 64 * 1024, percent: true, legacy: false, strict: false }
    }
}

/// What stood at the beginning of the received bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Frame {
    /// No whole frame yet.
    Incomplete,
    /// A message; it was appended to the output in packed form.
    Message {
        /// Bytes of the frame, its end included.
        consumed: usize,
    },
    /// A move of a world's member; it was appended to the output as world and motion.
    Move {
        /// Bytes of the frame, its end included.
        consumed: usize,
    },
    /// A frame without a message, such as an empty line.
    Empty {
        /// Bytes of the frame, its end included.
        consumed: usize,
    },
    /// A frame that is refused; the connection goes on after it. The output is as before.
    Refused {
        /// Bytes of the frame, its end included.
        consumed: usize,
        /// Why.
        reason: Reason,
    },
    /// WebSocket: what is to be sent back in a pong.
    Ping {
        /// Bytes of the frame.
        consumed: usize,
        /// How many of them, at its end, are the payload; it stands unmasked in the input.
        payload_bytes: usize,
    },
    /// WebSocket: the client says nothing more, and is to be told goodbye.
    Close {
        /// The code that it gave.
        code: websocket::CloseCode,
    },
    /// A fault after which the next frame cannot be found: the connection is to be closed.
    Fatal {
        /// Why.
        reason: Reason,
    },
}

/// What decoding keeps of a connection from one call to the next.
#[derive(Debug, Default)]
pub struct DecodeState {
    /// How many of the bytes at hand earlier calls have searched for the frame's end in vain, so
    /// that a frame which comes a byte at a time is searched once.
    pub scanned: usize,
    /// WebSocket: the message whose fragments are coming. Connections that never fragment have none.
    pub(crate) assembly: Option<Box<websocket::Assembly>>,
}

impl DecodeState {
    /// Bytes of the frames of a message of which some fragments are here.
    #[must_use]
    pub fn assembled_bytes(&self) -> usize {
        self.assembly.as_ref().map_or(0, |assembly| assembly.frame_bytes)
    }
}

/// Decodes the frame at the beginning of `bytes`, and appends its message to `out` in packed form.
/// A WebSocket frame is unmasked where it stands, once it is whole.
pub fn decode(
    protocol: Protocol,
    settings: &GatewaySettings,
    bytes: &mut [u8],
    state: &mut DecodeState,
    out: &mut Vec<u8>,
) -> Frame {
    let scanned = &mut state.scanned;
    match protocol {
        Protocol::ConnServerA | Protocol::ConnServerB | Protocol::ConnServerC => {
            connserver::decode(protocol, settings, bytes, scanned, out)
        }
        Protocol::Json => json::decode(settings, bytes, scanned, out),
        Protocol::Xml => xml::decode(settings, bytes, scanned, out),
        Protocol::Binary => binary::decode(settings, bytes, out),
        Protocol::WebSocketJson | Protocol::WebSocketBinary => {
            websocket::decode(protocol, settings, bytes, &mut state.assembly, out)
        }
    }
}

/// Appends the frame that carries `message` to `out`.
pub fn encode(
    protocol: Protocol,
    settings: &GatewaySettings,
    message: Message<'_>,
    out: &mut Vec<u8>,
) {
    match protocol {
        Protocol::ConnServerA | Protocol::ConnServerB | Protocol::ConnServerC => {
            connserver::encode(protocol, settings, message, out);
        }
        Protocol::Json => json::encode(message, out),
        Protocol::Xml => xml::encode(message, out),
        Protocol::Binary => binary::encode(message, out),
        Protocol::WebSocketJson | Protocol::WebSocketBinary => {
            websocket::encode(protocol, message, out);
        }
    }
}

/// Appends a frame of the world of this name. `frame` is in the layout of the binary protocol, which
/// the others translate, into several messages where it is very long; `scratch` is theirs.
pub fn encode_frame(
    protocol: Protocol,
    settings: &GatewaySettings,
    (world, frame): (&str, &[u8]),
    scratch: &mut FrameScratch,
    out: &mut Vec<u8>,
) {
    match protocol {
        Protocol::Binary => binary::encode_frame(frame, out),
        Protocol::WebSocketBinary => websocket::encode_frame(frame, out),
        _ => scratch.translate(world, frame, |message| encode(protocol, settings, message, out)),
    }
}

/// Where the frame at the beginning of `bytes` ends, for protocols whose frames end at a certain
/// byte; or what is to be answered while that byte has not come. `find` searches bytes that were
/// not searched before.
fn find_frame_end(
    settings: &GatewaySettings,
    bytes: &[u8],
    scanned: &mut usize,
    find: impl Fn(&[u8]) -> Option<usize>,
) -> Result<usize, Frame> {
    let window_end = bytes.len().min(settings.frame_bytes_max);
    let window_start = (*scanned).min(window_end);
    if let Some(offset) = find(&bytes[window_start..window_end]) {
        *scanned = 0;
        return Ok(window_start + offset);
    }
    if bytes.len() >= settings.frame_bytes_max {
        return Err(Frame::Fatal { reason: Reason::FrameTooLarge });
    }
    *scanned = bytes.len();
    Err(Frame::Incomplete)
}

/// What became of a frame whose message was written to `out` from `start` on. What is refused is
/// taken back.
fn settle_frame(
    result: Result<(), Reason>,
    consumed: usize,
    start: usize,
    out: &mut Vec<u8>,
) -> Frame {
    // Many small values take more room in packed form than on the wire.
    let fits = out.len() - start <= MESSAGE_BYTES_MAX;
    match result.and(if fits { Ok(()) } else { Err(Reason::FrameTooLarge) }) {
        Ok(()) => Frame::Message { consumed },
        Err(reason) => {
            out.truncate(start);
            Frame::Refused { consumed, reason }
        }
    }
}

/// The line for a connection whose protocol is not known.
pub(crate) fn closed_line(reason: Reason) -> String {
    let (status, error) = (reason.status(), reason.word());
    let limit = reason.limit().map(|limit| format!(",\"limit\":\"{limit}\"")).unwrap_or_default();
    format!("{{\"msg\":\"closed\",\"status\":{status},\"error\":\"{error}\"{limit}}}\n")
}

#[cfg(test)]
mod tests;
