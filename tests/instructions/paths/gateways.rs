//! Gateways: bytes to packed messages and back.

use std::hint::black_box;

use warren_core::message::{Message, Value, packed};
use warren_core::world::motion::{Motion, read_move};
use warren_net::gateway::binary::{encode_move, encode_say};
use warren_net::gateway::websocket::Opcode;
use warren_net::gateway::websocket::client::encode_frame;
use warren_net::gateway::{DecodeState, Frame, GatewaySettings, Protocol, decode as decode_frame};

use super::{Path, TEXT};
use crate::callgrind::measured;

/// Frames that are decoded, and messages that are encoded.
pub(super) const EVENTS: u32 = 1000;
const ROOM: &str = "room-000123";
/// The mask of the examples in RFC 6455.
const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

pub(super) fn decode(path: &Path) {
    let protocol = protocol_of(path);
    let frame = request(protocol);
    let settings = GatewaySettings::default();
    let mut out = Vec::new();
    // The second time memory is there.
    for is_warm in [false, true] {
        let mut bytes = frame.repeat(EVENTS as usize);
        let mut state = DecodeState::default();
        let (mut at, mut messages) = (0, 0);
        out.clear();
        let mut decode_all = || {
            while at < bytes.len() {
                let rest = &mut bytes[at..];
                match decode_frame(protocol, &settings, rest, &mut state, &mut out) {
                    Frame::Message { consumed } => {
                        messages += 1;
                        at += consumed;
                    }
                    // Behind the `~` of the ConnServer stands a NUL.
                    Frame::Empty { consumed } => at += consumed,
                    other => panic!("{}: {other:?}", protocol.label()),
                }
            }
        };
        if is_warm {
            measured(&mut decode_all)
        } else {
            decode_all()
        }
        assert_eq!(messages, EVENTS);
        let first = Message::parse(&out[..out.len() / EVENTS as usize]).expect("a message");
        assert_eq!((first.method(), first.text("text")), ("chat", Ok(TEXT)));
    }
}

pub(super) fn decode_move(_: &Path) {
    let (settings, mut out) = (GatewaySettings::default(), Vec::new());
    let motion = Motion { position: [1.0, 2.0, 0.0], velocity: [3.0, 4.0, 0.0], heading: 5.0 };
    for is_warm in [false, true] {
        let mut bytes = Vec::new();
        (0..EVENTS).for_each(|_| encode_move(7, motion, 2, &mut bytes));
        let mut state = DecodeState::default();
        let (mut at, mut moves) = (0, 0);
        out.clear();
        let mut decode_all = || {
            while at < bytes.len() {
                let rest = &mut bytes[at..];
                match decode_frame(Protocol::Binary, &settings, rest, &mut state, &mut out) {
                    Frame::Move { consumed } => at += consumed,
                    other => panic!("{other:?}"),
                }
                moves += 1;
            }
        };
        if is_warm {
            measured(&mut decode_all)
        } else {
            decode_all()
        }
        assert_eq!((moves, read_move(&out[..28])), (EVENTS, Ok((7, motion))));
    }
}

pub(super) fn encode(path: &Path) {
    let protocol = protocol_of(path);
    let message = super::reactor::heard(ROOM, 1234);
    let message = Message::from_checked(&message);
    let settings = GatewaySettings::default();
    let mut out = Vec::new();
    for is_warm in [false, true] {
        out.clear();
        let mut encode_all = || {
            for _ in 0..EVENTS {
                warren_net::gateway::encode(protocol, &settings, black_box(message), &mut out);
            }
        };
        if is_warm {
            measured(&mut encode_all)
        } else {
            encode_all()
        }
        assert!(out.len() > EVENTS as usize * TEXT.len());
    }
}

fn protocol_of(path: &Path) -> Protocol {
    let (_, label) = path.name.split_once('/').expect("a part and a protocol");
    *Protocol::ALL.iter().find(|protocol| protocol.label() == label).expect("a protocol")
}

/// A client's frame that says something in a room, with an id.
fn request(protocol: Protocol) -> Vec<u8> {
    let mut out = Vec::new();
    if matches!(protocol, Protocol::Binary | Protocol::WebSocketBinary) {
        encode_say(77, ROOM, TEXT, &mut out);
    } else {
        // The text protocols are the same in both directions.
        let text = if protocol.is_websocket() { Protocol::Json } else { protocol };
        let fields =
            [("to", Value::Text(ROOM)), ("text", Value::Text(TEXT)), ("id", Value::Integer(77))];
        let message = packed("chat", &fields);
        let settings = GatewaySettings::default();
        let message = Message::from_checked(&message);
        warren_net::gateway::encode(text, &settings, message, &mut out);
    }
    let mut framed = Vec::new();
    match protocol {
        Protocol::WebSocketJson => encode_frame(Opcode::Text, MASK, &out, &mut framed),
        // In a WebSocket message a frame has no length before it.
        Protocol::WebSocketBinary => encode_frame(Opcode::Binary, MASK, &out[4..], &mut framed),
        _ => return out,
    }
    framed
}
