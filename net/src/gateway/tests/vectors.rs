//! What the golden vectors say is what happens, byte for byte.

use super::*;

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
