//! WebSocket frames, against tungstenite on the other side.

use std::io::{self, Read, Write};

use tungstenite::protocol::{Role, WebSocketConfig};
use tungstenite::{Bytes, Message as Spoken, WebSocket};

use super::random::{Random, random_message};
use super::websocket::Opcode;
use super::websocket::client::{ServerFrame, decode_server_frame, encode_fragment, encode_frame};
use super::*;

const PROTOCOLS: [Protocol; 2] = [Protocol::WebSocketJson, Protocol::WebSocketBinary];

/// Two directions in memory: what was written, and what is there to be read.
#[derive(Default)]
struct Wire {
    written: Vec<u8>,
    readable: io::Cursor<Vec<u8>>,
}

impl Read for Wire {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.readable.read(buffer)? {
            0 => Err(io::ErrorKind::WouldBlock.into()),
            count => Ok(count),
        }
    }
}

impl Write for Wire {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.written.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn tungstenite_client() -> WebSocket<Wire> {
    WebSocket::from_raw_socket(Wire::default(), Role::Client, Some(WebSocketConfig::default()))
}

/// What a client says in one WebSocket message.
fn said(protocol: Protocol, message: Message<'_>) -> Spoken {
    let mut payload = Vec::new();
    if protocol == Protocol::WebSocketBinary {
        binary::encode_request(message, &mut payload);
        return Spoken::Binary(Bytes::copy_from_slice(&payload[binary::LENGTH_BYTES..]));
    }
    json::write(message, &mut payload);
    Spoken::text(String::from_utf8(payload).unwrap())
}

/// What comes back of a message that went through the protocol.
fn expected(protocol: Protocol, message: Message<'_>) -> Vec<u8> {
    let mut wire = Vec::new();
    let beside = match protocol {
        Protocol::WebSocketBinary => Protocol::Binary,
        _ => Protocol::Json,
    };
    match beside {
        Protocol::Binary => binary::encode_request(message, &mut wire),
        _ => json::encode(message, &mut wire),
    }
    let outcomes = decode_pieces(beside, &GatewaySettings::default(), &[&wire]);
    let [Outcome::Message(message)] = &outcomes[..] else { panic!("{outcomes:?}") };
    message.clone()
}

/// The bytes in up to 4 pieces.
fn cut<'b>(random: &mut Random, bytes: &'b [u8]) -> Vec<&'b [u8]> {
    let mut cuts: Vec<usize> = (0..3).map(|_| random.below(bytes.len() + 1)).collect();
    cuts.sort_unstable();
    let [a, b, c] = cuts[..] else { unreachable!() };
    vec![&bytes[..a], &bytes[a..b], &bytes[b..c], &bytes[c..]]
}

#[test]
fn what_tungstenite_sends_is_understood() {
    for seed in 0..10_000 {
        let mut random = Random(seed);
        let protocol = *random.pick(&PROTOCOLS);
        let mut client = tungstenite_client();
        let mut outcomes = Vec::new();
        for _ in 0..1 + random.below(4) {
            if random.below(4) == 0 {
                let payload = vec![b'p'; random.below(126)];
                client.send(Spoken::Ping(Bytes::copy_from_slice(&payload))).unwrap();
                outcomes.push(Outcome::Ping(payload));
                client.send(Spoken::Pong(Bytes::from_static(b"unasked"))).unwrap();
            }
            let bytes = random_message(&mut random);
            let message = Message::parse(&bytes).unwrap();
            client.send(said(protocol, message)).unwrap();
            outcomes.push(Outcome::Message(expected(protocol, message)));
        }
        let wire = client.get_ref().written.clone();
        let pieces = cut(&mut random, &wire);
        let heard = decode_pieces(protocol, &GatewaySettings::default(), &pieces);
        assert_eq!(heard, outcomes, "seed {seed}");
    }
}

#[test]
fn what_leaves_is_understood_by_tungstenite() {
    for seed in 0..10_000 {
        let mut random = Random(seed);
        let protocol = *random.pick(&PROTOCOLS);
        let bytes = random_message(&mut random);
        let message = Message::parse(&bytes).unwrap();
        let mut client = tungstenite_client();
        let mut wire = Vec::new();
        encode(protocol, &GatewaySettings::default(), message, &mut wire);
        websocket::write_pong(b"beat", &mut wire);
        client.get_mut().readable = io::Cursor::new(wire);
        let heard = client.read().unwrap();
        match protocol {
            Protocol::WebSocketJson => {
                let mut text = Vec::new();
                json::write(message, &mut text);
                assert_eq!(heard, Spoken::text(String::from_utf8(text).unwrap()), "seed {seed}");
            }
            _ => {
                let mut frame = Vec::new();
                binary::encode(message, &mut frame);
                assert_eq!(heard.into_data(), frame[binary::LENGTH_BYTES..], "seed {seed}");
            }
        }
        assert_eq!(client.read().unwrap(), Spoken::Pong(Bytes::from_static(b"beat")));
    }
}

#[test]
fn a_message_means_the_same_however_it_is_fragmented() {
    for seed in 0..10_000 {
        let mut random = Random(seed);
        let protocol = *random.pick(&PROTOCOLS);
        let bytes = random_message(&mut random);
        let message = Message::parse(&bytes).unwrap();
        let payload = said(protocol, message).into_data();
        let (mut wire, mut outcomes) = (Vec::new(), Vec::new());
        let fragments = cut(&mut random, &payload);
        for (index, fragment) in fragments.iter().enumerate() {
            let opcode = match protocol {
                _ if index > 0 => Opcode::Continuation,
                Protocol::WebSocketBinary => Opcode::Binary,
                _ => Opcode::Text,
            };
            let mask = (random.next() as u32).to_ne_bytes();
            encode_fragment(opcode, index == fragments.len() - 1, mask, fragment, &mut wire);
            if index < fragments.len() - 1 && random.below(3) == 0 {
                encode_frame(Opcode::Ping, mask, b"between", &mut wire);
                outcomes.push(Outcome::Ping(b"between".to_vec()));
            }
        }
        outcomes.push(Outcome::Message(expected(protocol, message)));
        // The next message begins anew.
        encode_frame(Opcode::Pong, [1, 2, 3, 4], b"", &mut wire);
        let opcode =
            if protocol == Protocol::WebSocketBinary { Opcode::Binary } else { Opcode::Text };
        encode_frame(opcode, [0; 4], &payload, &mut wire);
        outcomes.push(Outcome::Message(expected(protocol, message)));
        let pieces = cut(&mut random, &wire);
        let heard = decode_pieces(protocol, &GatewaySettings::default(), &pieces);
        assert_eq!(heard, outcomes, "seed {seed}");
    }
}

#[test]
fn the_clients_side_reads_what_the_server_writes() {
    for payload_bytes in [0, 1, 125, 126, 127, 65_535, 65_536, 70_000] {
        let text = "x".repeat(payload_bytes);
        let message = warren_core::message::packed("m", &[("t", Value::Text(&text))]);
        let message = Message::from_checked(&message);
        for protocol in PROTOCOLS {
            let mut wire = Vec::new();
            encode(protocol, &GatewaySettings::default(), message, &mut wire);
            let (frame, consumed) = decode_server_frame(&wire).unwrap().unwrap();
            assert_eq!(consumed, wire.len());
            let ServerFrame { opcode, is_last: true, payload } = frame else { panic!() };
            match opcode {
                Opcode::Binary => {
                    let read = binary::read_server_frame(payload);
                    assert_eq!(read, binary::ServerFrame::Message(message));
                }
                _ => {
                    let mut json = Vec::new();
                    json::write(message, &mut json);
                    assert!(payload == json, "{payload_bytes}");
                }
            }
            for end in [0, 1, 2, 3, wire.len() - 1] {
                assert_eq!(decode_server_frame(&wire[..end]), Ok(None));
            }
        }
    }
}
