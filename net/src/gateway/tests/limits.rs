//! What is just within a limit is taken, what is just beyond is not.

use warren_core::message::{MESSAGE_FIELDS_MAX, REQUEST_FIELDS_MAX, packed};

use super::*;

#[test]
fn a_frame_of_the_greatest_length_is_taken() {
    for (protocol, frame) in [
        (Protocol::ConnServerA, b"msg=m&a=12~".as_slice()),
        (Protocol::ConnServerB, b"msg:m,a:12\0"),
        (Protocol::ConnServerC, b"msg:m\na:12\0"),
        (Protocol::Json, b"{\"msg\":\"m\"}\n"),
        (Protocol::Xml, b"<msg method='m'/>\0"),
        (Protocol::Binary, &[3, 0, 0, 0, 1, 1, b'm']),
    ] {
        let mut settings =
            GatewaySettings { frame_bytes_max: frame.len(), ..GatewaySettings::default() };
        let taken = decode_pieces(protocol, &settings, &[frame]);
        assert!(matches!(taken[..], [Outcome::Message(_)]), "{protocol:?}: {taken:?}");
        settings.frame_bytes_max -= 1;
        let refused = decode_pieces(protocol, &settings, &[frame]);
        assert_eq!(refused, [Outcome::Fatal(Reason::FrameTooLarge)], "{protocol:?}");
    }
}

#[test]
fn a_limit_of_nothing_takes_nothing() {
    let settings = GatewaySettings { frame_bytes_max: 0, ..GatewaySettings::default() };
    for protocol in streamed() {
        let frame = decode_once(*protocol, &settings, b"\0\0\0\0\0", &mut Vec::new());
        assert_eq!(frame, Frame::Fatal { reason: Reason::FrameTooLarge });
    }
    assert_eq!(detect(b"{", 0), Detected::Unknown);
}

#[test]
fn the_greatest_number_of_fields_comes_and_goes() {
    let names: Vec<String> = (0..REQUEST_FIELDS_MAX).map(|index| format!("f{index:03}")).collect();
    let fields: Vec<_> = names.iter().map(|name| (name.as_str(), Value::Text("x"))).collect();
    let message = packed("m", &fields);
    let settings = GatewaySettings::default();
    for protocol in streamed() {
        let mut wire = Vec::new();
        encode(*protocol, &settings, Message::from_checked(&message), &mut wire);
        let outcomes = decode_pieces(*protocol, &settings, &[&wire]);
        assert_eq!(outcomes, [Outcome::Message(message.clone())], "{protocol:?}");
    }
}

#[test]
fn a_reply_may_have_more_fields_than_a_request() {
    let names: Vec<String> = (0..MESSAGE_FIELDS_MAX).map(|index| format!("f{index:03}")).collect();
    let fields: Vec<_> = names.iter().map(|name| (name.as_str(), Value::Text("x"))).collect();
    let message = packed("m", &fields);
    for protocol in streamed() {
        let mut wire = Vec::new();
        let settings = GatewaySettings::default();
        encode(*protocol, &settings, Message::from_checked(&message), &mut wire);
        let outcomes = decode_pieces(*protocol, &settings, &[&wire]);
        assert_eq!(outcomes, [Outcome::Refused(Reason::TooManyFields)], "{protocol:?}");
    }
}

fn json_with_lists(list_count: usize, texts_per_list: usize) -> Vec<u8> {
    let list = vec!["\"\""; texts_per_list].join(",");
    let lists = (0..list_count).map(|index| format!(",\"l{index}\":[{list}]"));
    format!("{{\"msg\":\"m\"{}}}\n", lists.collect::<String>()).into_bytes()
}

#[test]
fn a_list_has_a_greatest_number_of_texts() {
    let settings = GatewaySettings { frame_bytes_max: 1 << 20, ..GatewaySettings::default() };
    let taken = decode_pieces(Protocol::Json, &settings, &[&json_with_lists(1, 65_535)]);
    assert!(matches!(taken[..], [Outcome::Message(_)]));
    let refused = decode_pieces(Protocol::Json, &settings, &[&json_with_lists(1, 65_536)]);
    assert_eq!(refused, [Outcome::Refused(Reason::FieldInvalid)]);
}

#[test]
fn a_message_that_is_too_long_only_in_packed_form_is_refused() {
    let settings = GatewaySettings { frame_bytes_max: 1 << 20, ..GatewaySettings::default() };
    let frame = json_with_lists(5, 60_000);
    assert!(frame.len() < settings.frame_bytes_max);
    let refused = decode_pieces(Protocol::Json, &settings, &[&frame]);
    assert_eq!(refused, [Outcome::Refused(Reason::FrameTooLarge)]);
}

#[test]
fn the_protocol_is_told_within_its_own_limit() {
    let first = |length: usize, end: &str| format!("msg:{}{end}", "x".repeat(length - 4));
    let told = Detected::Protocol { protocol: Protocol::ConnServerB, skip: 0 };
    let max = DETECTION_BYTES_MAX;
    for (bytes, expected) in [
        (first(max - 1, ""), Detected::NeedMore),
        (first(max - 1, "~"), told),
        (first(max, ""), Detected::Unknown),
        (first(max, "~"), Detected::Unknown),
        ("\r\n".repeat(max / 2 - 1), Detected::NeedMore),
        ("\r\n".repeat(max / 2), Detected::Unknown),
    ] {
        assert_eq!(detect(bytes.as_bytes(), 64 * 1024), expected, "{}", bytes.len());
    }
}

#[test]
fn connserver_pairs_are_sorted_however_many_they_are() {
    for count in [0, 1, 14, 15, 16, 17, MESSAGE_FIELDS_MAX] {
        let mut message = Vec::new();
        let mut builder = MessageBuilder::new(&mut message, "chat");
        // `msg` comes between them.
        let names: Vec<String> =
            (0..count).rev().map(|at| format!("{}{at:03}", ['a', 'z'][at % 2])).collect();
        names.iter().for_each(|name| builder.field(name, Value::Text("1")));
        let mut pairs: Vec<String> = names.iter().map(|name| format!("{name}=1")).collect();
        pairs.push("msg=chat".to_owned());
        pairs.sort();
        let mut out = Vec::new();
        let message = Message::from_checked(&message);
        encode(Protocol::ConnServerA, &GatewaySettings::default(), message, &mut out);
        assert_eq!(String::from_utf8(out).unwrap(), pairs.join("&") + "~\0", "{count} fields");
    }
}
