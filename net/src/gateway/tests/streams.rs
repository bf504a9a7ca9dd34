//! However the bytes come, they mean the same, and no byte is searched twice.

use super::*;

/// Every vector of a client's bytes, whether they are a message or not.
fn client_vectors() -> Vec<Vector> {
    let mut vectors = message_vectors();
    vectors.retain(Vector::is_in);
    vectors.extend(vectors_of("refusals.json"));
    vectors
}

#[test]
fn bytes_split_anywhere_mean_the_same() {
    for vector in client_vectors() {
        let protocol = vector.protocol().unwrap();
        let whole = decode_pieces(protocol, &vector.settings, &[&vector.bytes]);
        for at in 0..=vector.bytes.len() {
            let (first, second) = vector.bytes.split_at(at);
            let halves = decode_pieces(protocol, &vector.settings, &[first, second]);
            assert_eq!(halves, whole, "{} at {at}", vector.name());
        }
        let single: Vec<&[u8]> = vector.bytes.chunks(1).collect();
        let single = decode_pieces(protocol, &vector.settings, &single);
        assert_eq!(single, whole, "{} byte by byte", vector.name());
    }
}

#[test]
fn frames_that_follow_each_other_are_told_apart() {
    for protocol in streamed() {
        let settings = GatewaySettings::default();
        let (mut stream, mut expected) = (Vec::new(), Vec::new());
        for vector in client_vectors() {
            let own = vector.protocol() == Some(*protocol) && vector.settings == settings;
            let outcomes = decode_pieces(*protocol, &vector.settings, &[&vector.bytes]);
            let whole =
                |outcome: &Outcome| matches!(outcome, Outcome::Message(_) | Outcome::Refused(_));
            if own && outcomes.iter().all(whole) {
                stream.extend_from_slice(&vector.bytes);
                expected.extend(outcomes);
            }
        }
        assert!(expected.len() > 20);
        assert_eq!(decode_pieces(*protocol, &settings, &[&stream]), expected);
    }
}

#[test]
fn a_frame_sent_one_byte_at_a_time_is_searched_once() {
    let settings = GatewaySettings::default();
    for protocol in streamed().filter(|protocol| **protocol != Protocol::Binary) {
        let mut state = DecodeState::default();
        let mut out = Vec::new();
        for length in 1..1000 {
            // All but the newest byte would end the frame, were it looked at again.
            let mut bytes = vec![0; length];
            bytes[length - 1] = b'x';
            let frame = decode(*protocol, &settings, &mut bytes, &mut state, &mut out);
            assert_eq!((frame, state.scanned), (Frame::Incomplete, length), "{protocol:?}");
        }
        let frame = decode(*protocol, &settings, &mut [b'x'; 999], &mut state, &mut out);
        assert_eq!((frame, state.scanned), (Frame::Incomplete, 999), "no new byte, {protocol:?}");
    }
}

#[test]
fn the_end_is_found_wherever_it_stands() {
    let settings = GatewaySettings::default();
    for (protocol, ends) in [
        (Protocol::ConnServerA, b"~\r\n\0".as_slice()),
        (Protocol::ConnServerB, b"~\r\n\0"),
        (Protocol::ConnServerC, b"\0"),
        (Protocol::Json, b"\n\0"),
        (Protocol::Xml, b"\0"),
    ] {
        for end in ends {
            for other in ends {
                for at in 1..600 {
                    let mut bytes = vec![b'x'; 700];
                    bytes[at] = *end;
                    bytes[at + 1 + at % 90] = *other;
                    let frame = decode_once(protocol, &settings, &bytes, &mut Vec::new());
                    let reason = Reason::Malformed;
                    assert_eq!(frame, Frame::Refused { consumed: at + 1, reason }, "{protocol:?}");
                }
            }
        }
    }
}

#[test]
fn the_protocol_does_not_depend_on_how_the_first_bytes_come() {
    let mut vectors = vectors_of("detection.json");
    vectors.extend(client_vectors());
    for vector in vectors {
        let limit = vector.settings.frame_bytes_max;
        let whole = detect(&vector.bytes, limit);
        let told = (0..=vector.bytes.len())
            .map(|end| detect(&vector.bytes[..end], limit))
            .find(|detected| *detected != Detected::NeedMore);
        assert_eq!(told.unwrap_or(Detected::NeedMore), whole, "{}", vector.name());
    }
}
