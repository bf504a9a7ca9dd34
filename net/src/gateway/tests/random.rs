//! Properties over seeded random input. Every run is the same; a seed that fails is printed.

use warren_core::ids::ObjectId;

use super::binary::{ServerFrame, decode_server_frame, encode_request};
use super::*;

/// SplitMix64 (Steele, Lea and Flood, 2014).
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(super) fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    pub(super) fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }
}

/// Pieces of which frames of all protocols consist.
const TOKENS: &[&[u8]] = &[
    b"msg",
    b"=",
    b":",
    b"&",
    b",",
    b"~",
    b"\0",
    b"\n",
    b"\r",
    b"{",
    b"}",
    b"[",
    b"]",
    b"\"",
    b"a",
    b"b",
    b"chat",
    b"\"msg\":\"m\"",
    b"\"a\":",
    b"\"$bytes\"",
    b"%",
    b"%4",
    b"%41",
    b"%00",
    b"1",
    b"-",
    b"1e9",
    b".5",
    b"null",
    b"true",
    b"\\u0000",
    b"\\ud83d",
    b"\\n",
    b" ",
    b"\xc3",
    b"\xa9",
    b"\xff",
    b"\x01",
    b"\x02",
    b"\x03",
    b"\x05\0\0\0",
    b"\x01\0\0\0",
    b"\0\0\0\0",
    b"WRN1",
    b"<",
    b">",
    b"/>",
    b"</",
    b"<msg",
    b"<msg method=\"m\"",
    b"<msg method='m'>",
    b"</msg>",
    b"<a>",
    b"</a>",
    b"<item>",
    b"</item>",
    b"method",
    b" a='",
    b" b=\"",
    b"'",
    b"&amp;",
    b"&#10;",
    b"&#x41;",
    b"&",
    b";",
    b"<!--",
    b"-->",
    b"<![CDATA[",
    b"]]>",
    b"<?xml version='1.0'?>",
    b"<!DOCTYPE",
    b"<policy-file-request/>",
    b"\xef\xbb\xbf",
];

/// Bytes of no sense, of pieces that have some, and of frames with up to three faults.
pub(super) fn random_bytes(random: &mut Random, valid: &[u8]) -> Vec<u8> {
    match random.below(4) {
        0 => (0..random.below(60)).map(|_| random.next() as u8).collect(),
        1 => (0..random.below(30)).flat_map(|_| *random.pick(TOKENS)).copied().collect(),
        _ => {
            let mut bytes = valid.to_vec();
            for _ in 0..random.below(4) {
                let at = random.below(bytes.len());
                match random.below(3) {
                    0 => bytes[at] = random.next() as u8,
                    1 => drop(bytes.splice(at..at, random.pick(TOKENS).iter().copied())),
                    _ => bytes.truncate(at.max(1)),
                }
            }
            bytes
        }
    }
}

#[test]
fn random_bytes_never_panic_and_mean_the_same_in_pieces() {
    let vectors = message_vectors();
    let mut messages = 0;
    for seed in 0..100_000 {
        let mut random = Random(seed);
        let vector = random.pick(&vectors);
        let protocol = vector.protocol().unwrap();
        let bytes = random_bytes(&mut random, &vector.bytes);
        let settings = GatewaySettings {
            frame_bytes_max: *random.pick(&[16, 100, 64 * 1024, 64 * 1024]),
            percent: random.below(2) == 0,
            ..GatewaySettings::default()
        };
        let at = random.below(bytes.len() + 1);
        let whole = decode_pieces(protocol, &settings, &[&bytes]);
        let pieces = decode_pieces(protocol, &settings, &[&bytes[..at], &bytes[at..]]);
        assert_eq!(whole, pieces, "seed {seed}");
        messages += whole.iter().filter(|one| matches!(one, Outcome::Message(_))).count();
        let early = detect(&bytes[..at], settings.frame_bytes_max);
        let late = detect(&bytes, settings.frame_bytes_max);
        assert!(early == Detected::NeedMore || early == late, "seed {seed}");
        if let Some((_, consumed)) = decode_server_frame(&bytes) {
            assert!((4..=bytes.len()).contains(&consumed), "seed {seed}");
        }
    }
    assert!(messages > 10_000, "the input is too random to reach much: {messages} messages");
}

const TEXTS: &[&str] = &[
    "<", ">", "'", "]]>", "&amp;", "", "a", "hi there", "~", "&", ",", "=", ":", "%", "%41", "\n",
    "\r", "\t", "\"", "\\", "|", "é", "🐇", "\u{7f}", "{}", "null", "\u{2028}",
];

fn random_text(random: &mut Random) -> String {
    (0..random.below(6)).map(|_| *random.pick(TEXTS)).collect()
}

pub(super) fn random_message(random: &mut Random) -> Vec<u8> {
    let mut out = Vec::new();
    let is_heard = random.below(8) == 0;
    let method = if is_heard { "chat" } else { *random.pick(&["chat", "m", "x.Y-z_"]) };
    let mut builder = MessageBuilder::new(&mut out, method);
    if is_heard {
        for name in ["text", "room", "from"] {
            builder.field(name, Value::Text(&random_text(random)));
        }
        builder.field("seq", Value::Integer(random.next() as i64));
    }
    let mut names: Vec<&str> = if is_heard {
        vec![]
    } else {
        vec!["to", "room", "from", "text", "seq", "method", "xmlns"]
    };
    names.extend(["a", "B", "_", "z.9-_"]);
    for _ in 0..random.below(names.len()) {
        let name = names.swap_remove(random.below(names.len()));
        let text = random_text(random);
        match random.below(9) {
            0 => builder.field(name, Value::Null),
            1 => builder.field(name, Value::Integer(random.next() as i64)),
            2 => {
                let float = f64::from_bits(random.next());
                let float = if float.is_finite() { float } else { 0.1 };
                builder.field(name, Value::Float(float));
            }
            3 => builder.field(name, Value::Boolean(random.below(2) == 0)),
            4 => builder.field(name, Value::Bytes(&random.next().to_le_bytes()[random.below(9)..])),
            5 => builder.field(name, Value::Object(ObjectId(random.next()))),
            6 => {
                let texts: Vec<_> = (0..random.below(4)).map(|_| random_text(random)).collect();
                builder.list(name, texts.iter().map(String::as_str));
            }
            _ => builder.field(name, Value::Text(&text)),
        }
    }
    out
}

/// The message with its values as texts and its fields sorted by name.
fn as_sorted_texts(message: Message<'_>) -> Vec<u8> {
    let mut fields: Vec<_> = message.fields().collect();
    fields.sort_by_key(|(name, _)| *name);
    let mut out = Vec::new();
    let mut builder = MessageBuilder::new(&mut out, message.method());
    for (name, value) in fields {
        builder.field(name, Value::Text(&value.to_string()));
    }
    out
}

/// The message with its object ids as texts.
fn without_objects(message: Message<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    let mut builder = MessageBuilder::new(&mut out, message.method());
    for (name, value) in message.fields() {
        match value {
            Value::Object(object) => builder.field(name, Value::Text(&object.to_string())),
            _ => builder.field(name, value),
        }
    }
    out
}

/// The message as XML has it: sorted attributes, then sorted elements; all are texts but lists, and
/// a list of nothing is a text of nothing.
fn as_xml(message: Message<'_>) -> Vec<u8> {
    let is_list = |value| matches!(value, Value::List(_));
    let is_element = |name, value| is_list(value) || matches!(name, "method" | "xmlns");
    let mut fields: Vec<_> = message.fields().collect();
    fields.sort_by_key(|(name, value)| (is_element(*name, *value), *name));
    let mut out = Vec::new();
    let mut builder = MessageBuilder::new(&mut out, message.method());
    for (name, value) in fields {
        match value {
            Value::List(list) if !list.is_empty() => builder.field(name, value),
            _ => builder.field(name, Value::Text(&value.to_string())),
        }
    }
    out
}

fn check_round_trips(expected_of: impl Fn(Message<'_>) -> Vec<u8>, protocols: &[Protocol]) {
    let settings = GatewaySettings::default();
    for seed in 0..10_000 {
        let bytes = random_message(&mut Random(seed));
        let message = Message::parse(&bytes).unwrap();
        let expected = expected_of(message);
        for protocol in protocols {
            let mut wire = Vec::new();
            encode(*protocol, &settings, message, &mut wire);
            let outcomes = decode_pieces(*protocol, &settings, &[&wire]);
            let [Outcome::Message(back)] = &outcomes[..] else {
                panic!("seed {seed}, {protocol:?}: {outcomes:?}");
            };
            let back = Message::from_checked(back);
            assert_eq!(back, Message::from_checked(&expected), "seed {seed}, {protocol:?}");
        }
    }
}

#[test]
fn a_message_comes_back_from_text_with_its_texts() {
    check_round_trips(as_sorted_texts, &Protocol::ALL[..3]);
}

#[test]
fn a_message_comes_back_from_json_as_it_went() {
    check_round_trips(without_objects, &[Protocol::Json]);
}

#[test]
fn a_message_comes_back_from_xml_with_its_texts_and_lists() {
    check_round_trips(as_xml, &[Protocol::Xml]);
}

#[test]
fn a_message_comes_back_from_binary_as_it_went() {
    let mut heard = 0;
    for seed in 0..10_000 {
        let bytes = random_message(&mut Random(seed));
        let message = Message::parse(&bytes).unwrap();
        let mut wire = Vec::new();
        encode_request(message, &mut wire);
        let outcomes = decode_pieces(Protocol::Binary, &GatewaySettings::default(), &[&wire]);
        assert_eq!(outcomes, [Outcome::Message(bytes.clone())], "seed {seed}");
        wire.clear();
        binary::encode(message, &mut wire);
        let (frame, consumed) = decode_server_frame(&wire).unwrap();
        assert_eq!(consumed, wire.len(), "seed {seed}");
        match frame {
            ServerFrame::Message(back) => assert_eq!(back, message, "seed {seed}"),
            ServerFrame::World(frame) => panic!("seed {seed}: {frame:?}"),
            ServerFrame::Heard { sequence, room, from, text } => {
                heard += 1;
                assert_eq!(message.fields().count(), 4, "seed {seed}");
                assert_eq!(message.get("seq").unwrap().as_integer(), Some(sequence as i64));
                assert_eq!(message.text("room"), Ok(room));
                assert_eq!(message.text("from"), Ok(from));
                assert_eq!(message.text("text"), Ok(text));
            }
            ServerFrame::Faulty(reason) => panic!("seed {seed}: {reason:?}"),
        }
    }
    assert!(heard > 100, "the short layout was used {heard} times");
}

#[test]
fn nobody_says_a_second_message_in_another_name() {
    for percent in [false, true] {
        let settings = GatewaySettings { percent, ..GatewaySettings::default() };
        for seed in 0..10_000 {
            let bytes = random_message(&mut Random(seed));
            let message = Message::parse(&bytes).unwrap();
            for protocol in &Protocol::ALL[..3] {
                let mut wire = Vec::new();
                encode(*protocol, &settings, message, &mut wire);
                let outcomes = decode_pieces(*protocol, &settings, &[&wire]);
                let [Outcome::Message(heard)] = &outcomes[..] else {
                    panic!("seed {seed}, {protocol:?}: {outcomes:?}");
                };
                let heard = Message::from_checked(heard);
                let mut names: Vec<_> = message.fields().map(|(name, _)| name).collect();
                names.sort_unstable();
                assert_eq!(heard.method(), message.method());
                assert_eq!(heard.fields().map(|(name, _)| name).collect::<Vec<_>>(), names);
            }
        }
    }
}
