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

/// A client's frame, its first byte as it is.
fn frame_of(first_byte: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    encode_frame(Opcode::Text, [9, 8, 7, 6], payload, &mut frame);
    frame[0] = first_byte;
    frame
}

/// A header of a client with this length in this form, and a mask.
fn header_of(first_byte: u8, short_length: u8, length: &[u8]) -> Vec<u8> {
    [&[first_byte, 0x80 | short_length], length, &[1, 2, 3, 4]].concat()
}

#[track_caller]
fn check(protocol: Protocol, bytes: &[u8], expected: &[Outcome]) {
    let settings = GatewaySettings::default();
    let whole = decode_pieces(protocol, &settings, &[bytes]);
    assert_eq!(whole, expected, "{}", bytes.escape_ascii());
    let single: Vec<&[u8]> = bytes.chunks(1).collect();
    assert_eq!(decode_pieces(protocol, &settings, &single), expected, "byte by byte");
}

#[test]
fn frames_that_no_client_may_send_end_the_connection() {
    let mut faults: Vec<Vec<u8>> = Vec::new();
    // Reserved bits and opcodes.
    faults.extend([0xc1, 0xa1, 0x91].map(|first| frame_of(first, b"{}")));
    faults.extend((3..=7).chain(11..=15).map(|opcode| frame_of(0x80 | opcode, b"")));
    // No mask.
    faults.push(vec![0x81, 2, b'{', b'}']);
    // Control frames that are too long or come in fragments.
    faults.extend([0x88, 0x89, 0x8a].map(|first| frame_of(first, &[b'x'; 126])));
    faults.extend([0x08, 0x09, 0x0a].map(|first| frame_of(first, b"")));
    // Lengths that are not in their shortest form, or of 2^63 and more.
    faults.push(header_of(0x81, 126, &[0, 125]));
    faults.push(header_of(0x81, 127, &[0, 0, 0, 0, 0, 0, 0xff, 0xff]));
    faults.push(header_of(0x81, 127, &[0x80, 0, 0, 0, 0, 0, 0, 0]));
    // A continuation of nothing; a message within another.
    faults.push(frame_of(0x80, b"{}"));
    faults.push([frame_of(0x01, b"{"), frame_of(0x81, b"{}")].concat());
    faults.push([frame_of(0x01, b"{"), frame_of(0x01, b"}")].concat());
    // Text that is not UTF-8: alone, over a cut, and with half a character at the end.
    faults.push(frame_of(0x81, b"{\"msg\":\"\xff\"}"));
    faults.push([frame_of(0x01, b"\"\xce\xba\xe1\xbd"), frame_of(0x80, b"\xed\xa0\x80")].concat());
    faults.push(frame_of(0x81, b"\xce\xba\xe1\xbd"));
    // Close frames with half a code, with one that is not to be sent, with text that is none.
    faults.push(frame_of(0x88, &[3]));
    for code in [0_u16, 999, 1004, 1005, 1006, 1015, 1016, 2000, 2999, 5000, 65_535] {
        faults.push(frame_of(0x88, &code.to_be_bytes()));
    }
    faults.push(frame_of(0x88, b"\x03\xe8\xff"));
    for fault in faults {
        let fatal = Outcome::Fatal(Reason::WebsocketInvalid);
        check(Protocol::WebSocketJson, &fault, std::slice::from_ref(&fatal));
        // What came before counts, what comes behind does not.
        let before = frame_of(0x89, b"p");
        let stream = [before.as_slice(), &fault, &frame_of(0x89, b"q")].concat();
        check(Protocol::WebSocketJson, &stream, &[Outcome::Ping(b"p".to_vec()), fatal]);
    }
    for (protocol, first_byte) in
        [(Protocol::WebSocketJson, 0x82), (Protocol::WebSocketBinary, 0x81)]
    {
        let fatal = Outcome::Fatal(Reason::WebsocketInvalid);
        check(protocol, &frame_of(first_byte, b"{}"), &[fatal]);
    }
}

#[test]
fn codes_that_may_be_sent_are_taken() {
    for code in [1000_u16, 1003, 1007, 1014, 3000, 4000, 4999] {
        let payload = [&code.to_be_bytes(), "grüße".as_bytes()].concat();
        let outcomes = decode_pieces(
            Protocol::WebSocketJson,
            &GatewaySettings::default(),
            &[&frame_of(0x88, &payload)],
        );
        let [Outcome::Close(told)] = outcomes[..] else { panic!("{outcomes:?}") };
        assert_eq!(told.number(), code);
    }
}

#[test]
fn text_cut_within_a_character_is_text() {
    let text = "{\"msg\":\"m\",\"t\":\"ä\"}".as_bytes();
    let at = text.iter().position(|byte| *byte == 0xc3).unwrap() + 1;
    let wire = [frame_of(0x01, &text[..at]), frame_of(0x80, &text[at..])].concat();
    let message = warren_core::message::packed("m", &[("t", Value::Text("ä"))]);
    check(Protocol::WebSocketJson, &wire, &[Outcome::Message(message)]);
}

#[test]
fn a_message_has_a_greatest_length_however_it_is_fragmented() {
    let message = warren_core::message::packed("m", &[]);
    let text = b"{\"msg\":\"m\"}";
    for fragments in [1, 2, 5, text.len() + 3] {
        let mut wire = Vec::new();
        for index in 0..fragments {
            let last = index == fragments - 1;
            let opcode = if index == 0 { Opcode::Text } else { Opcode::Continuation };
            let start = index.min(text.len());
            let end = if last { text.len() } else { (index + 1).min(text.len()) };
            encode_fragment(opcode, last, [5, 6, 7, 8], &text[start..end], &mut wire);
        }
        let bytes = wire.len();
        assert_eq!(bytes, 6 * fragments + text.len());
        let mut settings = GatewaySettings { frame_bytes_max: bytes, ..GatewaySettings::default() };
        let taken = decode_pieces(Protocol::WebSocketJson, &settings, &[&wire]);
        assert_eq!(taken, [Outcome::Message(message.clone())], "{fragments}");
        settings.frame_bytes_max -= 1;
        let refused = decode_pieces(Protocol::WebSocketJson, &settings, &[&wire]);
        assert_eq!(refused, [Outcome::Fatal(Reason::FrameTooLarge)], "{fragments}");
    }
}

#[test]
fn a_bomb_of_fragments_ends_at_the_length_of_a_frame() {
    let settings = GatewaySettings { frame_bytes_max: 4096, ..GatewaySettings::default() };
    for payload_bytes in [0, 1, 1000] {
        let payload = vec![b' '; payload_bytes];
        let (mut state, mut taken) = (DecodeState::default(), 0);
        let mut opcode = Opcode::Text;
        loop {
            let mut wire = Vec::new();
            encode_fragment(opcode, false, [1, 2, 3, 4], &payload, &mut wire);
            let protocol = Protocol::WebSocketJson;
            match decode(protocol, &settings, &mut wire, &mut state, &mut Vec::new()) {
                Frame::Empty { consumed } => taken += consumed,
                frame => {
                    assert_eq!(frame, Frame::Fatal { reason: Reason::FrameTooLarge });
                    break;
                }
            }
            assert!(taken <= settings.frame_bytes_max, "{taken} bytes of {payload_bytes} each");
            assert_eq!(state.assembled_bytes(), taken);
            // What comes between does not count, and does not end it.
            let mut ping = frame_of(0x89, b"");
            let frame = decode(protocol, &settings, &mut ping, &mut state, &mut Vec::new());
            assert_eq!(frame, Frame::Ping { consumed: 6, payload_bytes: 0 });
            opcode = Opcode::Continuation;
        }
        assert!(taken > 2048);
    }
}

#[test]
fn a_frame_that_announces_too_much_is_refused_by_its_header() {
    for length in [[0, 0, 0, 0, 0, 1, 0, 0], [0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]] {
        let wire = header_of(0x81, 127, &length);
        check(Protocol::WebSocketJson, &wire, &[Outcome::Fatal(Reason::FrameTooLarge)]);
    }
}

#[test]
fn random_frames_never_panic_and_mean_the_same_in_pieces() {
    let valid: Vec<u8> = [
        frame_of(0x01, b"{\"msg\":"),
        frame_of(0x89, b"ping"),
        frame_of(0x80, b"\"m\"}"),
        frame_of(0x81, b"{\"msg\":\"chat\",\"to\":\"r\",\"text\":\"hi\"}"),
        frame_of(0x88, &[3, 0xe8]),
    ]
    .concat();
    let (mut messages, mut closes) = (0, 0);
    for seed in 0..50_000 {
        let mut random = Random(seed);
        let bytes = super::random::random_bytes(&mut random, &valid);
        let frame_bytes_max = *random.pick(&[256, 64 * 1024]);
        let settings = GatewaySettings { frame_bytes_max, ..GatewaySettings::default() };
        let protocol = *random.pick(&PROTOCOLS);
        let whole = decode_pieces(protocol, &settings, &[&bytes]);
        let pieces = cut(&mut random, &bytes);
        assert_eq!(decode_pieces(protocol, &settings, &pieces), whole, "seed {seed}");
        messages += whole.iter().filter(|one| matches!(one, Outcome::Message(_))).count();
        closes += whole.iter().filter(|one| matches!(one, Outcome::Close(_))).count();
    }
    assert!(messages > 5_000 && closes > 1_000, "{messages} messages, {closes} closes");
}

#[test]
fn every_reason_has_a_code_that_clients_may_hear() {
    for reason in Reason::ALL {
        let code = websocket::close_code(*reason);
        assert_eq!(code, if reason.status() == 0 { 1000 } else { 4000 + reason.status() });
        assert!(code == 1000 || (4400..4600).contains(&code), "{reason:?}: {code}");
        let mut client = tungstenite_client();
        let mut wire = Vec::new();
        websocket::write_close(*reason, &mut wire);
        client.get_mut().readable = io::Cursor::new(wire);
        let Spoken::Close(Some(frame)) = client.read().unwrap() else { panic!("no close") };
        assert_eq!((u16::from(frame.code), frame.reason.as_str()), (code, reason.word()));
    }
}

fn outcome_of(vector: &Vector, json: &Json) -> Outcome {
    let reason = |word: &Json| {
        let word = text_of(word);
        *Reason::ALL.iter().find(|reason| reason.word() == word).expect("a reason")
    };
    if *json == "incomplete" {
        return Outcome::Incomplete;
    }
    let (key, value) = json.as_object().unwrap().iter().next().unwrap();
    match key.as_str() {
        "message" => {
            let json = serde_json::json!({"message": value});
            let settings = vector.settings;
            Outcome::Message(Vector { json, bytes: Vec::new(), settings }.message())
        }
        "refused" => Outcome::Refused(reason(value)),
        "fatal" => Outcome::Fatal(reason(value)),
        "ping" => Outcome::Ping(from_hexadecimal(text_of(value))),
        _ => panic!("no outcome: {key}"),
    }
}

#[test]
fn frames_have_the_outcomes_of_their_vectors() {
    let mut count = 0;
    for vector in vectors_of("websocket.json") {
        let Some(protocol) = vector.protocol().filter(|_| vector.json["answer"].is_null()) else {
            continue;
        };
        count += 1;
        if !vector.is_in() || vector.json["direction"] == "out" {
            let mut out = Vec::new();
            let message = vector.message();
            encode(protocol, &vector.settings, Message::from_checked(&message), &mut out);
            assert_eq!(out, vector.bytes, "{}", vector.name());
            continue;
        }
        let outcomes = decode_pieces(protocol, &vector.settings, &[&vector.bytes]);
        let expected = vector.json["outcomes"].as_array().expect("outcomes");
        assert_eq!(outcomes.len(), expected.len(), "{}: {outcomes:?}", vector.name());
        for (outcome, expected) in outcomes.iter().zip(expected) {
            match outcome {
                Outcome::Close(code) => assert_eq!(expected["close"], code.number()),
                _ => assert_eq!(*outcome, outcome_of(&vector, expected), "{}", vector.name()),
            }
        }
    }
    assert!(count > 15);
}
