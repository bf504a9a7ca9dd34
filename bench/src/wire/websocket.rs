//! WebSocket, by the client's side of the gateway: the frames of JSON and of the binary protocol,
//! without what tells there where a frame ends. A login follows the request for the upgrade at once,
//! as the server lets it, so that users enter as fast as over the other protocols.

use warren_net::gateway::Protocol as Spoken;
use warren_net::gateway::binary::read_server_frame;
use warren_net::gateway::websocket::Opcode;
use warren_net::gateway::websocket::client::{
    UpgradeAnswer, decode_server_frame, encode_frame, read_upgrade_answer, upgrade_request,
};

use super::{Decoded, FRAME_BYTES_MAX, Frame, Protocol, binary, json};

/// The key of the examples in RFC 6455: nobody stands between harness and server.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
/// The mask of its examples, so that unmasking has something to do.
const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
/// Bytes of the length before a frame of the binary protocol.
const LENGTH_BYTES: usize = 4;

pub(super) fn greet(protocol: Protocol, out: &mut Vec<u8>) {
    let spoken = match protocol {
        Protocol::WebsocketBinary => Spoken::WebSocketBinary,
        _ => Spoken::WebSocketJson,
    };
    upgrade_request("localhost", spoken, KEY, None, out);
}

/// Appends a frame of the protocol below in a frame of WebSocket.
pub(super) fn wrap(protocol: Protocol, frame: &[u8], out: &mut Vec<u8>) {
    let (opcode, payload) = match protocol {
        Protocol::WebsocketBinary => (Opcode::Binary, &frame[LENGTH_BYTES..]),
        _ => (Opcode::Text, frame.strip_suffix(b"\n").unwrap_or(frame)),
    };
    encode_frame(opcode, MASK, payload, out);
}

pub(super) fn decode(bytes: &[u8]) -> Decoded<'_> {
    // No frame of a server begins so: it would have reserved bits.
    if b"HTTP".starts_with(&bytes[..bytes.len().min(4)]) {
        return match read_upgrade_answer(bytes, KEY) {
            None => Decoded::Incomplete,
            Some(UpgradeAnswer::Accepted { consumed }) => {
                Decoded::Frame { consumed, frame: Frame::Aside }
            }
            Some(UpgradeAnswer::Refused { .. } | UpgradeAnswer::Faulty) => Decoded::Fault,
        };
    }
    let (frame, consumed) = match decode_server_frame(bytes) {
        Ok(Some(found)) => found,
        Ok(None) if bytes.len() <= FRAME_BYTES_MAX => return Decoded::Incomplete,
        Ok(None) | Err(_) => return Decoded::Fault,
    };
    let read = match frame.opcode {
        Opcode::Text if frame.is_last => json::read(frame.payload),
        Opcode::Binary if frame.is_last => binary::read(read_server_frame(frame.payload)),
        Opcode::Close | Opcode::Ping | Opcode::Pong => Some(Frame::Aside),
        Opcode::Text | Opcode::Binary | Opcode::Continuation => None,
    };
    read.map_or(Decoded::Fault, |frame| Decoded::Frame { consumed, frame })
}
