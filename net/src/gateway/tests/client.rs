//! The client's side of the binary protocol against the server's.

use warren_core::message::packed;

use super::binary::{ServerFrame, decode_server_frame, encode_request, encode_say};
use super::*;

#[test]
fn what_a_client_says_is_chat() {
    let mut wire = Vec::new();
    encode_say(7, "room1", "hi", &mut wire);
    encode_say(0, "bob", "", &mut wire);
    let login = packed("login", &[("user", Value::Text("ann"))]);
    encode_request(Message::from_checked(&login), &mut wire);
    let to = |to, text| [("to", Value::Text(to)), ("text", Value::Text(text))];
    let with_id = [to("room1", "hi").as_slice(), &[("id", Value::Integer(7))]].concat();
    let expected = [packed("chat", &with_id), packed("chat", &to("bob", "")), login];
    assert_eq!(
        decode_pieces(Protocol::Binary, &GatewaySettings::default(), &[&wire]),
        expected.map(Outcome::Message)
    );
}

#[test]
fn what_a_server_sends_is_read_when_it_is_whole() {
    let heard = [
        ("room", Value::Text("room1")),
        ("from", Value::Text("ann")),
        ("text", Value::Text("häh")),
        ("seq", Value::Integer(1 << 40)),
    ];
    let heard = packed("chat", &heard);
    let reply = packed("chat", &[("status", Value::Integer(0))]);
    let mut wire = Vec::new();
    for message in [&heard, &reply] {
        binary::encode(Message::from_checked(message), &mut wire);
    }
    let expected =
        ServerFrame::Heard { sequence: 1 << 40, room: "room1", from: "ann", text: "häh" };
    let (frame, consumed) = decode_server_frame(&wire).unwrap();
    assert_eq!(frame, expected);
    let rest = &wire[consumed..];
    let whole = Some((ServerFrame::Message(Message::from_checked(&reply)), rest.len()));
    assert_eq!(decode_server_frame(rest), whole);
    for end in 0..consumed {
        assert_eq!(decode_server_frame(&wire[..end]), None);
    }
}

#[test]
fn chat_that_the_short_layout_cannot_carry_leaves_as_a_message() {
    let long = "r".repeat(256);
    for (room, sequence) in
        [("r", Value::Integer(-1)), ("r", Value::Text("1")), (&long, Value::Integer(1))]
    {
        let fields = [
            ("room", Value::Text(room)),
            ("from", Value::Text("a")),
            ("text", Value::Text("")),
            ("seq", sequence),
        ];
        let message = packed("chat", &fields);
        let mut wire = Vec::new();
        binary::encode(Message::from_checked(&message), &mut wire);
        let expected = ServerFrame::Message(Message::from_checked(&message));
        assert_eq!(decode_server_frame(&wire), Some((expected, wire.len())));
    }
}

#[test]
fn faulty_frames_of_a_server_are_told() {
    for (bytes, reason) in [
        (&[0, 0, 0, 0][..], Reason::Malformed),
        (&[1, 0, 0, 0, 9], Reason::Malformed),
        (&[2, 0, 0, 0, 1, 0], Reason::BadName),
        (&[3, 0, 0, 0, 3, 0, 0], Reason::Malformed),
        (&[12, 0, 0, 0, 3, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff], Reason::NotUtf8),
        (&[12, 0, 0, 0, 3, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7], Reason::ControlCharacter),
        (&[0xff, 0xff, 0xff, 0xff, 1, 1], Reason::FrameTooLarge),
    ] {
        let expected = Some((ServerFrame::Faulty(reason), bytes.len()));
        assert_eq!(decode_server_frame(bytes), expected);
    }
}
