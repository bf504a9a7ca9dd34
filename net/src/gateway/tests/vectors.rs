//! What the golden vectors say is what happens, byte for byte.

use warren_core::ids::ObjectId;
use warren_core::world::frame::Frame as WorldFrame;
use warren_core::world::motion::{Motion, read_move};

use super::*;
use crate::gateway::binary::LENGTH_BYTES;

#[test]
fn clients_bytes_mean_the_message_of_the_vector() {
    for vector in message_vectors().iter().filter(|vector| vector.is_in()) {
        let protocol = vector.protocol().unwrap();
        let outcomes = decode_pieces(protocol, &vector.settings, &[&vector.bytes]);
        let Outcome::Message(bytes) = &outcomes[0] else {
            panic!("{}: {outcomes:?}", vector.name());
        };
        let expected = vector.message();
        assert_eq!(
            Message::from_checked(bytes),
            Message::from_checked(&expected),
            "{}",
            vector.name()
        );
        assert_eq!(outcomes.len(), 1, "{}", vector.name());
    }
}

#[test]
fn messages_leave_as_the_bytes_of_the_vector() {
    for vector in message_vectors().iter().filter(|vector| vector.is_out()) {
        let mut out = b"before".to_vec();
        let message = vector.message();
        let message = Message::from_checked(&message);
        encode(vector.protocol().unwrap(), &vector.settings, message, &mut out);
        let expected = [b"before".as_slice(), &vector.bytes].concat();
        assert_eq!(out.escape_ascii().to_string(), expected.escape_ascii().to_string());
    }
}

#[test]
fn frames_that_are_no_message_have_the_outcome_of_the_vector() {
    for vector in vectors_of("refusals.json").into_iter().chain(vectors_of("xml_corpus.json")) {
        let protocol = vector.protocol().unwrap();
        let mut out = Vec::new();
        let consumed = vector.bytes.len();
        let frame = decode_once(protocol, &vector.settings, &vector.bytes, &mut out);
        let expected = if let Some(reason) = vector.reason("refused") {
            Frame::Refused { consumed, reason }
        } else if let Some(reason) = vector.reason("fatal") {
            Frame::Fatal { reason }
        } else if vector.json["empty"] == true {
            Frame::Empty { consumed }
        } else {
            assert_eq!(vector.json["incomplete"], true, "{}", vector.name());
            Frame::Incomplete
        };
        assert_eq!(frame, expected, "{}", vector.name());
        assert!(out.is_empty(), "{}", vector.name());
    }
}

#[test]
fn moves_and_frames_of_worlds_are_as_in_the_vector() {
    let numbers = |json: &Json| -> Vec<f32> {
        json.as_array().unwrap().iter().map(|number| text_of(number).parse().unwrap()).collect()
    };
    for vector in vectors_of("world.json") {
        let protocol = vector.protocol().unwrap();
        if let Some(frame) = vector.json["frame_hex"].as_str() {
            let frame = from_hexadecimal(frame);
            WorldFrame::parse(&frame).expect("a vector's frame is one");
            let (mut out, mut scratch) = (Vec::new(), FrameScratch::default());
            let named = (text_of(&vector.json["room"]), &*frame);
            encode_frame(protocol, &vector.settings, named, &mut scratch, &mut out);
            assert_eq!(
                out.escape_ascii().to_string(),
                vector.bytes.escape_ascii().to_string(),
                "{}",
                vector.name()
            );
            continue;
        }
        let outcomes = decode_pieces(protocol, &vector.settings, &[&vector.bytes]);
        let expected = match vector.reason("refused") {
            Some(reason) => Outcome::Refused(reason),
            None => {
                let said = &vector.json["move"];
                let world: ObjectId = text_of(&said["world"]).parse().unwrap();
                let (position, velocity) = (numbers(&said["position"]), numbers(&said["velocity"]));
                let motion = Motion {
                    position: position.try_into().unwrap(),
                    velocity: velocity.try_into().unwrap(),
                    heading: text_of(&said["heading"]).parse().unwrap(),
                };
                let payload = vector.bytes[LENGTH_BYTES + 1..].to_vec();
                assert_eq!(read_move(&payload), Ok((world.0, motion)), "{}", vector.name());
                Outcome::Move(payload)
            }
        };
        assert_eq!(outcomes, [expected], "{}", vector.name());
    }
}

#[test]
fn the_first_bytes_tell_the_protocol_of_the_vector() {
    for vector in vectors_of("detection.json") {
        let expected = if let Some(protocol) = vector.protocol() {
            let skip = vector.json["skip"].as_u64().unwrap() as usize;
            Detected::Protocol { protocol, skip }
        } else if vector.json["upgrade"] == true {
            Detected::Upgrade { skip: vector.json["skip"].as_u64().unwrap() as usize }
        } else if vector.json["policy_request"] == true {
            Detected::PolicyRequest
        } else if vector.json["undecided"] == true {
            Detected::NeedMore
        } else {
            assert_eq!(vector.json["unknown"], true, "{}", vector.name());
            Detected::Unknown
        };
        let detected = detect(&vector.bytes, vector.settings.frame_bytes_max);
        assert_eq!(detected, expected, "{}", vector.name());
    }
}

#[test]
fn names_of_vectors_are_distinct() {
    let mut names: Vec<String> = message_vectors()
        .iter()
        .chain(&vectors_of("refusals.json"))
        .chain(&vectors_of("detection.json"))
        .chain(&vectors_of("xml_corpus.json"))
        .map(Vector::name)
        .collect();
    names.sort();
    let twice: Vec<_> = names.windows(2).filter(|pair| pair[0] == pair[1]).collect();
    assert!(twice.is_empty(), "{twice:?}");
}
