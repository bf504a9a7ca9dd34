use serde_json::Value as Json;
use warren_core::message::{MessageBuilder, Value};

use super::*;

mod client;
mod expansion;
mod limits;
mod random;
mod streams;
mod vectors;
mod websocket_frames;
mod websocket_handshake;
#[path = "../../../tests/vectors/wire.rs"]
pub(super) mod wire;
mod xml;

use wire::{from_hexadecimal, wire_of};

/// What a client's bytes came to.
#[derive(Clone, Debug, PartialEq)]
enum Outcome {
    Message(Vec<u8>),
    Move(Vec<u8>),
    Refused(Reason),
    Fatal(Reason),
    Incomplete,
    Ping(Vec<u8>),
    Close(websocket::CloseCode),
}

/// The protocols whose servers send the same frames as their clients.
fn streamed() -> impl Iterator<Item = &'static Protocol> {
    Protocol::ALL.iter().filter(|protocol| !protocol.is_websocket())
}

/// Decodes what comes in pieces, as a connection does, and checks what holds for every call.
fn decode_pieces(protocol: Protocol, settings: &GatewaySettings, pieces: &[&[u8]]) -> Vec<Outcome> {
    const BEFORE: &[u8] = b"before";
    let mut outcomes = Vec::new();
    let mut received = Vec::new();
    let mut state = DecodeState::default();
    for piece in pieces {
        received.extend_from_slice(piece);
        loop {
            let mut out = BEFORE.to_vec();
            let frame = decode(protocol, settings, &mut received, &mut state, &mut out);
            assert!(out.starts_with(BEFORE));
            let message = out.split_off(BEFORE.len());
            let says = matches!(frame, Frame::Message { .. } | Frame::Move { .. });
            assert_eq!(message.is_empty(), !says);
            let consumed = match frame {
                Frame::Incomplete => break,
                Frame::Fatal { reason } => {
                    outcomes.push(Outcome::Fatal(reason));
                    return outcomes;
                }
                Frame::Empty { consumed } => consumed,
                Frame::Ping { consumed, payload_bytes } => {
                    let payload = &received[consumed - payload_bytes..consumed];
                    outcomes.push(Outcome::Ping(payload.to_vec()));
                    consumed
                }
                Frame::Close { code } => {
                    outcomes.push(Outcome::Close(code));
                    return outcomes;
                }
                Frame::Refused { consumed, reason } => {
                    outcomes.push(Outcome::Refused(reason));
                    consumed
                }
                Frame::Move { consumed } => {
                    outcomes.push(Outcome::Move(message));
                    consumed
                }
                Frame::Message { consumed } => {
                    Message::parse(&message).expect("what is decoded is a message");
                    outcomes.push(Outcome::Message(message));
                    consumed
                }
            };
            assert!((1..=received.len().min(settings.frame_bytes_max)).contains(&consumed));
            assert_eq!(state.scanned, 0);
            received.drain(..consumed);
        }
        if protocol != Protocol::Binary && !protocol.is_websocket() {
            assert_eq!(state.scanned, received.len());
        }
    }
    let fragments = state.assembly.is_some_and(|assembly| assembly.is_under_way);
    if !received.is_empty() || fragments {
        outcomes.push(Outcome::Incomplete);
    }
    outcomes
}

/// Decodes the first frame of a connection.
fn decode_once(
    protocol: Protocol,
    settings: &GatewaySettings,
    bytes: &[u8],
    out: &mut Vec<u8>,
) -> Frame {
    decode(protocol, settings, &mut bytes.to_vec(), &mut DecodeState::default(), out)
}

/// One entry of a file of vectors.
struct Vector {
    json: Json,
    bytes: Vec<u8>,
    settings: GatewaySettings,
}

impl Vector {
    fn name(&self) -> String {
        format!("{} ({})", self.json["name"], self.json["protocol"])
    }

    fn protocol(&self) -> Option<Protocol> {
        let label = self.json["protocol"].as_str()?;
        Some(*Protocol::ALL.iter().find(|protocol| protocol.label() == label).expect("a protocol"))
    }

    fn reason(&self, key: &str) -> Option<Reason> {
        let word = self.json[key].as_str()?;
        Some(*Reason::ALL.iter().find(|reason| reason.word() == word).expect("a reason"))
    }

    fn is_in(&self) -> bool {
        self.json["direction"] != "out"
    }

    fn is_out(&self) -> bool {
        self.json["direction"] != "in"
    }

    fn message(&self) -> Vec<u8> {
        let parts = self.json["message"].as_array().expect("a message");
        let mut out = Vec::new();
        let mut builder = MessageBuilder::new(&mut out, text_of(&parts[0]));
        for field in &parts[1..] {
            put_field(&mut builder, text_of(&field[0]), text_of(&field[1]), &field[2]);
        }
        out
    }
}

fn put_field(builder: &mut MessageBuilder<'_>, name: &str, kind: &str, value: &Json) {
    match kind {
        "null" => builder.field(name, Value::Null),
        "text" => builder.field(name, Value::Text(text_of(value))),
        "integer" => builder.field(name, Value::Integer(text_of(value).parse().unwrap())),
        "float" => builder.field(name, Value::Float(text_of(value).parse().unwrap())),
        "boolean" => builder.field(name, Value::Boolean(text_of(value).parse().unwrap())),
        "bytes" => builder.field(name, Value::Bytes(&from_hexadecimal(text_of(value)))),
        "object" => builder.field(name, Value::Object(text_of(value).parse().unwrap())),
        "list" => builder.list(name, value.as_array().unwrap().iter().map(text_of)),
        _ => panic!("no type: {kind}"),
    }
}

fn text_of(json: &Json) -> &str {
    json.as_str().expect("a string")
}

fn vectors_of(file: &str) -> Vec<Vector> {
    let path = format!("{}/../tests/vectors/{file}", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).expect("the vectors are there");
    let list: Vec<Json> = serde_json::from_str(&text).expect("the vectors are JSON");
    assert!(!list.is_empty());
    list.into_iter().map(vector_of).collect()
}

fn vector_of(json: Json) -> Vector {
    let bytes = wire_of(&json);
    let mut settings = GatewaySettings::default();
    for (key, value) in json["settings"].as_object().into_iter().flatten() {
        match key.as_str() {
            "percent" => settings.percent = value.as_bool().unwrap(),
            "legacy" => settings.legacy = value.as_bool().unwrap(),
            "frame_bytes_max" => settings.frame_bytes_max = value.as_u64().unwrap() as usize,
            _ => panic!("no setting: {key}"),
        }
    }
    Vector { json, bytes, settings }
}

fn message_vectors() -> Vec<Vector> {
    let files = ["connserver.json", "json.json", "xml.json", "binary.json"];
    files.into_iter().flat_map(vectors_of).collect()
}
