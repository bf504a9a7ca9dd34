//! The client's side of WebSocket, for the load harness and the tests.

use warren_core::reason::Reason;

use super::frame::{Header, Sender, write_masked_frame};
use super::handshake::{accept_key, find_header_end};
use super::{HEADERS_MAX, Opcode, Protocol, WEBSOCKET_VERSION};

/// A frame from the server, read in place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServerFrame<'a> {
    /// What it is.
    pub opcode: Opcode,
    /// Whether it is the last fragment of its message, or all of it.
    pub is_last: bool,
    /// What it carries.
    pub payload: &'a [u8],
}

/// What a server answered to an upgrade.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpgradeAnswer {
    /// Frames follow after so many bytes.
    Accepted {
        /// Bytes of the answer.
        consumed: usize,
    },
    /// It refused, with this HTTP status; a body follows after so many bytes.
    Refused {
        /// HTTP's status code.
        status: u16,
        /// Bytes of the answer without its body.
        consumed: usize,
    },
    /// It is no answer to this request, or none of HTTP.
    Faulty,
}

/// Appends the request for an upgrade. `key` is the base64 of 16 bytes.
///
/// # Panics
/// When the protocol is none of WebSocket.
pub fn upgrade_request(
    host: &str,
    protocol: Protocol,
    key: &str,
    origin: Option<&str>,
    out: &mut Vec<u8>,
) {
    let subprotocol = super::handshake::subprotocol_of(protocol).expect("a WebSocket protocol");
    let origin = origin.map_or(String::new(), |origin| format!("Origin: {origin}\r\n"));
    let request = format!(
        "GET / HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: {WEBSOCKET_VERSION}\r\nSec-WebSocket-Key: {key}\r\n\
         Sec-WebSocket-Protocol: {subprotocol}\r\n{origin}\r\n"
    );
    out.extend_from_slice(request.as_bytes());
}

/// The answer at the beginning of `bytes` to the request with that key; none while it is not whole.
#[must_use]
pub fn read_upgrade_answer(bytes: &[u8], key: &str) -> Option<UpgradeAnswer> {
    find_header_end(bytes)?;
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut response = httparse::Response::new(&mut headers);
    let Ok(httparse::Status::Complete(consumed)) = response.parse(bytes) else {
        return Some(UpgradeAnswer::Faulty);
    };
    let accept = accept_key(key.as_bytes());
    let is_ours = response.headers.iter().any(|header| {
        header.name.eq_ignore_ascii_case("sec-websocket-accept")
            && header.value == accept.as_bytes()
    });
    Some(match response.code {
        Some(101) if is_ours => UpgradeAnswer::Accepted { consumed },
        Some(status) if status != 101 => UpgradeAnswer::Refused { status, consumed },
        _ => UpgradeAnswer::Faulty,
    })
}

/// Appends a frame that is a whole message.
pub fn encode_frame(opcode: Opcode, mask: [u8; 4], payload: &[u8], out: &mut Vec<u8>) {
    encode_fragment(opcode, true, mask, payload, out);
}

/// Appends a frame.
pub fn encode_fragment(
    opcode: Opcode,
    is_last: bool,
    mask: [u8; 4],
    payload: &[u8],
    out: &mut Vec<u8>,
) {
    write_masked_frame(opcode, is_last, mask, payload, out);
}

/// The server's frame at the beginning of `bytes` and the bytes it took; none while it is not
/// whole.
///
/// # Errors
/// No server may send this; nothing after it can be found.
pub fn decode_server_frame(bytes: &[u8]) -> Result<Option<(ServerFrame<'_>, usize)>, Reason> {
    let Some(header) = Header::read(bytes, Sender::Server)? else { return Ok(None) };
    let consumed = header.frame_bytes();
    let Some(payload) = bytes.get(header.header_bytes..consumed) else { return Ok(None) };
    let Header { opcode, is_last, .. } = header;
    Ok(Some((ServerFrame { opcode, is_last, payload }, consumed)))
}
