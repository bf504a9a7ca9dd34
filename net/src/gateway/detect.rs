//! Tells the protocol by a connection's first bytes. It keeps nothing between calls: it looks at
//! no more than [`DETECTION_BYTES_MAX`] bytes, at each of them twice at most, and what it has
//! skipped before an HTTP request does not come again. So a client that sends them one at a time costs at most 17 MB of
//! scanning in its life, less than the receives themselves. What it answers depends on the bytes
//! alone, not on the pieces in which they come.

use memchr::{memchr2, memchr3};
use warren_core::name::NAME_BYTES_MAX;

use super::Protocol;
use super::binary::PREAMBLE;
use super::xml::{BYTE_ORDER_MARK, is_blank};

/// Most bytes by which a protocol is told. Only ConnServer text whose first value is very long is
/// undecided for more than a name's length; what a client sends before its login is short.
pub const DETECTION_BYTES_MAX: usize = 4096;
/// What a Flash player sends to ask for the socket policy, on a connection of its own.
pub const POLICY_REQUEST: &[u8] = b"<policy-file-request/>\0";
/// What an HTTP request for the upgrade to WebSocket begins with.
const UPGRADE: &[u8] = b"GET ";

const _: () = assert!(DETECTION_BYTES_MAX > NAME_BYTES_MAX + 1);

/// What the first bytes say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detected {
    /// This protocol; its frames begin after `skip` bytes.
    Protocol {
        /// Which.
        protocol: Protocol,
        /// Bytes before the first frame.
        skip: usize,
    },
    /// An HTTP request, perhaps for the upgrade to WebSocket.
    Upgrade {
        /// Bytes before the request.
        skip: usize,
    },
    /// [`POLICY_REQUEST`]: no protocol, but something that is answered.
    PolicyRequest,
    /// Not to be told yet.
    NeedMore,
    /// None that is spoken here, or not to be told within the limit.
    Unknown,
}

/// Tells the protocol by all bytes received so far. The limit is `frame_bytes_max` or
/// [`DETECTION_BYTES_MAX`], whichever is smaller; leading blanks count towards it.
#[must_use]
pub fn detect(first_bytes: &[u8], frame_bytes_max: usize) -> Detected {
    let limit = frame_bytes_max.min(DETECTION_BYTES_MAX);
    let window = &first_bytes[..first_bytes.len().min(limit)];
    // Somebody at a terminal pressed return.
    let blank = count_leading(window, |byte| matches!(byte, b'\r' | b'\n'));
    // Spaces and tabs are skipped for XML alone, as they are before its later frames.
    let blank_of_xml = blank + count_leading(&window[blank..], is_blank);
    let (blank, detected) = match detect_xml(&window[blank_of_xml..]) {
        Some(detected) => (blank_of_xml, detected),
        None => (blank, detect_other(&window[blank..])),
    };
    match detected {
        Detected::Protocol { protocol, skip } => {
            Detected::Protocol { protocol, skip: blank + skip }
        }
        Detected::Upgrade { skip } => Detected::Upgrade { skip: blank + skip },
        Detected::NeedMore if window.len() == limit => Detected::Unknown,
        Detected::PolicyRequest | Detected::NeedMore | Detected::Unknown => detected,
    }
}

fn count_leading(bytes: &[u8], is_skipped: impl Fn(u8) -> bool) -> usize {
    bytes.iter().take_while(|byte| is_skipped(**byte)).count()
}

/// What is told by bytes behind blanks, if it is XML or may become it.
fn detect_xml(bytes: &[u8]) -> Option<Detected> {
    if bytes.starts_with(POLICY_REQUEST) {
        return Some(Detected::PolicyRequest);
    }
    // Nothing at all is a part of both.
    if POLICY_REQUEST.starts_with(bytes) || BYTE_ORDER_MARK.starts_with(bytes) {
        return Some(Detected::NeedMore);
    }
    let behind_mark = bytes.strip_prefix(BYTE_ORDER_MARK);
    let behind_mark = behind_mark.map(|bytes| &bytes[count_leading(bytes, is_blank)..]);
    match behind_mark.unwrap_or(bytes) {
        [] => Some(Detected::NeedMore),
        [b'<', ..] => Some(Detected::Protocol { protocol: Protocol::Xml, skip: 0 }),
        _ => None,
    }
}

fn detect_other(bytes: &[u8]) -> Detected {
    match bytes {
        [b'{', ..] => Detected::Protocol { protocol: Protocol::Json, skip: 0 },
        _ if bytes.starts_with(PREAMBLE) => {
            Detected::Protocol { protocol: Protocol::Binary, skip: PREAMBLE.len() }
        }
        _ if bytes.starts_with(UPGRADE) => Detected::Upgrade { skip: 0 },
        // A part of the preamble, or of `GET `, is a part of a key too, and waits for more as such.
        [first, ..] if first.is_ascii_alphabetic() || *first == b'_' => detect_dialect(bytes),
        _ => Detected::Unknown,
    }
}

/// The ConnServer dialect, told by what follows the first key.
fn detect_dialect(bytes: &[u8]) -> Detected {
    let continues = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-');
    let key_length = bytes.iter().take_while(|byte| continues(byte)).count();
    if key_length > NAME_BYTES_MAX {
        return Detected::Unknown;
    }
    let protocol = match bytes.get(key_length) {
        None => return Detected::NeedMore,
        Some(b'=') => Protocol::ConnServerA,
        Some(b':') => match detect_colon_dialect(&bytes[key_length + 1..]) {
            None => return Detected::NeedMore,
            Some(protocol) => protocol,
        },
        Some(_) => return Detected::Unknown,
    };
    Detected::Protocol { protocol, skip: 0 }
}

/// B or C, told by what ends the first value.
fn detect_colon_dialect(bytes: &[u8]) -> Option<Protocol> {
    let of_b = memchr3(b',', b'~', b'\r', bytes);
    let of_c = memchr2(b'\n', 0, &bytes[..of_b.unwrap_or(bytes.len())]);
    match (of_b, of_c) {
        (_, Some(_)) => Some(Protocol::ConnServerC),
        (Some(_), None) => Some(Protocol::ConnServerB),
        (None, None) => None,
    }
}
