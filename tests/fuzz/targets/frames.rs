//! What clients send, in each protocol.
//!
//! Never a panic; no more consumed than given, and never nothing; the same messages in whatever
//! pieces the bytes come, no byte searched twice for a frame's end; each message is one by every
//! rule of messages, leaves in every protocol within the bound for send queues, and what leaves in
//! its own protocol comes back the same; memory within a factor of the bytes.

use warren_core::message::{Message, REQUEST_FIELDS_MAX};
use warren_core::reason::Reason;
use warren_core::world::motion::{MOVE_BYTES_2D, read_move, write_move};
use warren_net::gateway::{
    DecodeState, Frame, GatewaySettings, Protocol, QUEUE_FRAMES_MIN, decode, encode,
};

use super::{Behaviour, Target, pieces, websocket};
use crate::corpus::{Seed, vectors_of};
use crate::heap::heap_of;
use crate::prng::Prng;

/// Heap of a decoder for each byte it is given: a field of JSON is half as long as its packed form,
/// and memory grows by doubling; a text with escapes is there twice.
const HEAP_FACTOR: u64 = 6;
/// Heap that does not depend on the bytes.
const HEAP_BYTES: u64 = 1_024;
/// What a server may add to a message, in bytes of any protocol.
const ADDED_BYTES: usize = 4_096;

const fn target(
    name: &'static str,
    words: &'static [&'static [u8]],
    seeds: fn() -> Vec<Seed>,
    check: fn(&[u8], &mut Prng) -> Behaviour,
) -> Target {
    Target { name, words, seeds, check, inputs: 250_000 }
}

const CONNSERVER_WORDS: &[&[u8]] = &[
    b"msg",
    b"=",
    b":",
    b"&",
    b",",
    b"~",
    b"\0",
    b"\n",
    b"\r",
    b"\r\n",
    b"chat",
    b"id",
    b"a",
    b"to",
    b"%",
    b"%4",
    b"%41",
    b"%00",
    b"%25",
    b"%7e",
    b"%fF",
    b"%zz",
    b"msg=m~",
    b"msg:m~",
    b"msg:m\n\0",
    b"k=v&",
    b"k:v,",
    b"k:v\n",
    b"==",
    b"::",
    b"\xc3\xa9",
    b"\xff",
    b"9",
    b"_",
    b"-",
    b"nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn",
];

const JSON_WORDS: &[&[u8]] = &[
    b"{",
    b"}",
    b"[",
    b"]",
    b"\"",
    b",",
    b":",
    b"\n",
    b"\0",
    b" ",
    b"\"msg\":\"m\"",
    b"{\"msg\":\"m\"",
    b"\"a\":",
    b",\"a\":1",
    b"\"$bytes\":",
    b"{\"$bytes\":\"AAAA\"}",
    b"null",
    b"true",
    b"false",
    b"0",
    b"-0",
    b"1e9",
    b".5",
    b"-",
    b"9223372036854775807",
    b"9223372036854775808",
    b"-9223372036854775809",
    b"1e400",
    b"0.1e-400",
    b"\\u0000",
    b"\\ud83d",
    b"\\ud83d\\ude00",
    b"\\n",
    b"\\",
    b"\\\"",
    b"\\/",
    b"\"\\u0061\":",
    b"[[",
    b"{\"a\":{",
    b"\xc3\xa9",
    b"\xff",
    b"\xef\xbb\xbf",
    b"=",
    b"[\"a\",\"b\"]",
    b"\"1.2\"",
];

const XML_WORDS: &[&[u8]] = &[
    b"<",
    b">",
    b"/>",
    b"</",
    b"<msg",
    b"<msg method=\"m\"",
    b"<msg method='m'>",
    b"<msg msg:method=\"m\"",
    b"</msg>",
    b"<a>",
    b"</a>",
    b"<a/>",
    b"<item>",
    b"</item>",
    b"<method>",
    b"</method>",
    b"method",
    b" a='",
    b" b=\"",
    b"'",
    b"\"",
    b"=",
    b"&",
    b";",
    b"&amp;",
    b"&lt;",
    b"&quot;",
    b"&#10;",
    b"&#x41;",
    b"&#x110000;",
    b"&#xD800;",
    b"&#0;",
    b"&lol9;",
    b"<!--",
    b"-->",
    b"--",
    b"<![CDATA[",
    b"]]>",
    b"<?xml version='1.0'?>",
    b"<?xml version='1.0' encoding='utf-16'?>",
    b"<?",
    b"?>",
    b"<!DOCTYPE a [<!ENTITY b \"c\">]>",
    b"<!",
    b" xmlns='a'",
    b" xmlns:x='a'",
    b"x:",
    b"\0",
    b" ",
    b"\t",
    b"\r\n",
    b"\xef\xbb\xbf",
    b"\xff\xfe",
    b"\xc3\xa9",
    b"\xff",
    b"<policy-file-request/>",
];

const BINARY_WORDS: &[&[u8]] = &[
    b"WRN1",
    b"\x01",
    b"\x02",
    b"\x03",
    b"\0\0\0\0",
    b"\x01\0\0\0",
    b"\x05\0\0\0",
    b"\xff\xff\xff\xff",
    b"\0",
    b"\x04chat",
    b"\x05login",
    b"\x04text",
    b"\x02to",
    b"\x02id",
    b"\x01\x02\0\0\0hi",
    b"\x07\x02\0\0\0",
    b"\0\0\0\x80",
    b"\xff\xff",
    b"\0\0\0\0\0\0\xf0\x7f",
    b"\xc3\xa9",
    b"\xff",
    b"a",
    b"\x40",
];

/// Masked with zeros, so that what they carry is as it stands.
const WEBSOCKET_WORDS: &[&[u8]] = &[
    b"\x81\x80\0\0\0\0",
    b"\x82\x80\0\0\0\0",
    b"\x81\x8b\0\0\0\0{\"msg\":\"m\"}",
    b"\x01\x86\0\0\0\0{\"msg\"",
    b"\x80\x85\0\0\0\0:\"m\"}",
    b"\x82\x84\0\0\0\0\x01\x02hi",
    b"\x02\x81\0\0\0\0\x01",
    b"\0\x80\0\0\0\0",
    b"\x89\x80\0\0\0\0",
    b"\x89\x82\0\0\0\0hi",
    b"\x8a\x80\0\0\0\0",
    b"\x88\x80\0\0\0\0",
    b"\x88\x82\0\0\0\0\x03\xe8",
    b"\x88\x82\0\0\0\0\x03\xed",
    b"\xfe",
    b"\xff",
    b"\x7e\0\x7e",
    b"\0\0\0\0\0\0\x01\0",
    b"\x7f\xff\xff\xff\xff\xff\xff\xff",
    b"\xc1",
    b"\x83",
    b"\xc3\xa9",
    b"\x12\x34\x56\x78",
];

pub(crate) const CONNSERVER_A: Target = target(
    "connserver-a",
    CONNSERVER_WORDS,
    || seeds(Protocol::ConnServerA),
    |bytes, prng| check(Protocol::ConnServerA, bytes, prng),
);
pub(crate) const CONNSERVER_B: Target = target(
    "connserver-b",
    CONNSERVER_WORDS,
    || seeds(Protocol::ConnServerB),
    |bytes, prng| check(Protocol::ConnServerB, bytes, prng),
);
pub(crate) const CONNSERVER_C: Target = target(
    "connserver-c",
    CONNSERVER_WORDS,
    || seeds(Protocol::ConnServerC),
    |bytes, prng| check(Protocol::ConnServerC, bytes, prng),
);
pub(crate) const JSON: Target = target(
    "json",
    JSON_WORDS,
    || seeds(Protocol::Json),
    |bytes, prng| check(Protocol::Json, bytes, prng),
);
pub(crate) const XML: Target = target(
    "xml",
    XML_WORDS,
    || seeds(Protocol::Xml),
    |bytes, prng| check(Protocol::Xml, bytes, prng),
);
pub(crate) const BINARY: Target = target(
    "binary",
    BINARY_WORDS,
    || seeds(Protocol::Binary),
    |bytes, prng| check(Protocol::Binary, bytes, prng),
);

pub(crate) const WEBSOCKET_JSON: Target = target(
    "websocket-json",
    WEBSOCKET_WORDS,
    || websocket::seeds(Protocol::WebSocketJson, &seeds(Protocol::Json)),
    |bytes, prng| check(Protocol::WebSocketJson, bytes, prng),
);
pub(crate) const WEBSOCKET_BINARY: Target = target(
    "websocket-binary",
    WEBSOCKET_WORDS,
    || websocket::seeds(Protocol::WebSocketBinary, &seeds(Protocol::Binary)),
    |bytes, prng| check(Protocol::WebSocketBinary, bytes, prng),
);

fn seeds(protocol: Protocol) -> Vec<Seed> {
    let mut seeds = Vec::new();
    let files =
        ["connserver.json", "json.json", "xml.json", "binary.json", "world.json", "refusals.json"];
    for file in files {
        seeds.extend(vectors_of(file, Some(protocol.label())));
    }
    if protocol == Protocol::Xml {
        seeds.extend(vectors_of("xml_corpus.json", Some(protocol.label())));
    }
    seeds
}

/// What a client's bytes came to.
#[derive(Clone, Debug, PartialEq)]
enum Outcome {
    Message(Vec<u8>),
    Move(Vec<u8>),
    Empty,
    Refused(Reason),
    Fatal(Reason),
    Incomplete,
    Ping(Vec<u8>),
    Close,
}

fn check(protocol: Protocol, bytes: &[u8], prng: &mut Prng) -> Behaviour {
    let settings = GatewaySettings {
        frame_bytes_max: *prng.pick(&[16, 100, 2_000, 64 * 1024, 1 << 20]),
        percent: prng.chance(50),
        legacy: prng.chance(10),
        ..GatewaySettings::default()
    };
    let whole = decode_pieces(protocol, &settings, &[bytes]);
    let in_pieces = decode_pieces(protocol, &settings, &pieces(bytes, prng));
    assert_eq!(in_pieces, whole, "the same bytes in pieces mean something else: {settings:?}");
    for outcome in &whole {
        if let Outcome::Message(message) = outcome {
            check_message(protocol, &settings, message);
        }
        if let Outcome::Move(bytes) = outcome {
            check_move(bytes);
        }
    }
    Behaviour::of((settings.percent, whole.iter().take(4).map(shape).collect::<Vec<_>>()))
}

/// What is new about an outcome: the reason, or how many fields of which types.
fn shape(outcome: &Outcome) -> (u8, &'static str, usize, u32) {
    match outcome {
        Outcome::Message(message) => {
            let message = Message::from_checked(message);
            let types = message.fields().map(|(_, value)| match value {
                warren_core::message::Value::Null => 1,
                warren_core::message::Value::Text("") => 2,
                warren_core::message::Value::Text(_) => 4,
                warren_core::message::Value::Integer(_) => 8,
                warren_core::message::Value::Float(_) => 16,
                warren_core::message::Value::Boolean(_) => 32,
                warren_core::message::Value::Bytes(_) => 64,
                warren_core::message::Value::Object(_) => 128,
                warren_core::message::Value::List(_) => 256,
            });
            (0, "", message.field_count().min(4), types.fold(0, |all, one| all | one))
        }
        Outcome::Move(bytes) => (7, "", bytes.len(), 0),
        Outcome::Empty => (1, "", 0, 0),
        Outcome::Refused(reason) => (2, reason.word(), 0, 0),
        Outcome::Fatal(reason) => (3, reason.word(), 0, 0),
        Outcome::Incomplete => (4, "", 0, 0),
        Outcome::Ping(payload) => (5, "", payload.len().min(2), 0),
        Outcome::Close => (6, "", 0, 0),
    }
}

/// Decodes what comes in pieces, as a connection does, and checks what holds for every call.
fn decode_pieces(protocol: Protocol, settings: &GatewaySettings, pieces: &[&[u8]]) -> Vec<Outcome> {
    let mut outcomes = Vec::new();
    let mut received = Vec::new();
    let (mut from, mut state) = (0, DecodeState::default());
    for piece in pieces {
        received.extend_from_slice(piece);
        loop {
            let rest = &mut received[from..];
            let (frame, message) = decode_one(protocol, settings, rest, &mut state);
            let (consumed, outcome) = match frame {
                Frame::Incomplete => break,
                Frame::Fatal { reason } => {
                    outcomes.push(Outcome::Fatal(reason));
                    return outcomes;
                }
                Frame::Empty { consumed } => (consumed, Outcome::Empty),
                Frame::Refused { consumed, reason } => (consumed, Outcome::Refused(reason)),
                Frame::Message { consumed } => (consumed, Outcome::Message(message)),
                Frame::Move { consumed } => (consumed, Outcome::Move(message)),
                Frame::Ping { consumed, payload_bytes } => {
                    assert!(is_websocket(protocol), "{frame:?} in {protocol:?}");
                    let payload = &received[from..][consumed - payload_bytes..consumed];
                    (consumed, Outcome::Ping(payload.to_vec()))
                }
                Frame::Close { .. } => {
                    assert!(is_websocket(protocol), "{frame:?} in {protocol:?}");
                    outcomes.push(Outcome::Close);
                    return outcomes;
                }
            };
            outcomes.push(outcome);
            let most = (received.len() - from).min(settings.frame_bytes_max);
            assert!((1..=most).contains(&consumed), "consumed {consumed} of {most}");
            assert_eq!(state.scanned, 0, "a new frame was not searched yet");
            from += consumed;
        }
        // So the next call searches what is new, and no byte is searched twice.
        if protocol != Protocol::Binary && !is_websocket(protocol) {
            assert_eq!(state.scanned, received.len() - from, "bytes are searched again");
        }
    }
    if from < received.len() {
        assert!(received.len() - from <= settings.frame_bytes_max, "more than a frame is kept");
        let kept = state.assembled_bytes();
        assert!(kept <= settings.frame_bytes_max, "{kept} bytes of fragments are kept");
        outcomes.push(Outcome::Incomplete);
    }
    outcomes
}

/// One call, its memory counted.
fn decode_one(
    protocol: Protocol,
    settings: &GatewaySettings,
    bytes: &mut [u8],
    state: &mut DecodeState,
) -> (Frame, Vec<u8>) {
    let mut out = Vec::new();
    let mut frame = Frame::Incomplete;
    let assembled = state.assembled_bytes();
    let (peak, _) = heap_of(|| frame = decode(protocol, settings, bytes, state, &mut out));
    let of_frame = match frame {
        Frame::Message { consumed } | Frame::Move { consumed } => consumed,
        Frame::Refused { consumed, .. } => consumed,
        _ => bytes.len(),
    };
    // The last fragment of a message brings forth all of it.
    let of_message = of_frame + assembled.max(state.assembled_bytes());
    let allowed = HEAP_FACTOR * of_message as u64 + HEAP_BYTES;
    assert!(peak <= allowed, "{peak} bytes of heap for {of_message} of frames");
    // Fragments count with their headers, so that those of nothing end too.
    let counted = match frame {
        // The connection ends.
        Frame::Fatal { .. } => [state.assembled_bytes(); 2],
        Frame::Empty { consumed } => [assembled, assembled + consumed],
        Frame::Message { .. } | Frame::Move { .. } | Frame::Refused { .. } => [0, 0],
        _ => [assembled, assembled],
    };
    let now = state.assembled_bytes();
    assert!(counted.contains(&now), "{assembled} bytes of fragments became {now} by {frame:?}");
    let says = matches!(frame, Frame::Message { .. } | Frame::Move { .. });
    assert_eq!(out.is_empty(), !says, "{frame:?} and a message");
    (frame, out)
}

/// A move that was decoded is one, and is written as it was read but for what has no dimension.
fn check_move(bytes: &[u8]) {
    let (world, motion) = read_move(bytes).expect("what is decoded is a move");
    let dims = if bytes.len() == MOVE_BYTES_2D { 2 } else { 3 };
    let mut again = Vec::new();
    write_move(world, motion, dims, &mut again);
    assert_eq!(again, bytes);
}

/// A message that was decoded keeps every rule, and leaves in every protocol.
fn check_message(protocol: Protocol, settings: &GatewaySettings, packed: &[u8]) {
    let message = Message::parse_request(packed).expect("what is decoded is a request");
    assert!(message.field_count() <= REQUEST_FIELDS_MAX);
    for to in Protocol::ALL {
        let mut wire = Vec::new();
        encode(*to, settings, message, &mut wire);
        let longest = packed.len().max(settings.frame_bytes_max.min(packed.len() * 2));
        let bound = QUEUE_FRAMES_MIN * longest + ADDED_BYTES;
        assert!(wire.len() <= bound, "{} bytes of {to:?} for {}", wire.len(), packed.len());
        if is_websocket(*to) {
            websocket::check_server_frame(&wire);
        } else if *to == protocol && *to != Protocol::Binary {
            check_return(*to, settings, &wire);
        }
    }
}

fn is_websocket(protocol: Protocol) -> bool {
    matches!(protocol, Protocol::WebSocketJson | Protocol::WebSocketBinary)
}

/// What the server sends is one frame for its own decoder, and leaves again as the same bytes.
fn check_return(protocol: Protocol, settings: &GatewaySettings, wire: &[u8]) {
    let settings = GatewaySettings { frame_bytes_max: 64 << 20, ..*settings };
    let mut back = Vec::new();
    let frame =
        decode(protocol, &settings, &mut wire.to_vec(), &mut DecodeState::default(), &mut back);
    let Frame::Message { consumed } = frame else {
        panic!("{frame:?} for {:?}", String::from_utf8_lossy(wire));
    };
    // In two dialects NUL follows the end of the message, for clients that wait for it.
    let rest = &wire[consumed..];
    assert!(rest.is_empty() || (protocol.is_connserver() && rest == b"\0"), "more than a frame");
    let mut again = Vec::new();
    encode(protocol, &settings, Message::from_checked(&back), &mut again);
    let texts = [wire, &again].map(String::from_utf8_lossy);
    assert!(again == wire, "came back as something else: {texts:?}");
}
