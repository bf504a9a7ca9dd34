use alloc::format;
use alloc::vec;

use super::*;
use crate::ids::ObjectId;

fn field(name: &str, kind: u8, value: &[u8]) -> Vec<u8> {
    let mut bytes = vec![4, b'c', b'h', b'a', b't', name.len() as u8];
    bytes.extend_from_slice(name.as_bytes());
    bytes.push(kind);
    bytes.extend_from_slice(value);
    bytes
}

#[test]
fn a_message_reads_back_as_it_was_built() {
    let list = packed_list(&["a", "", "c"]);
    let list = Message::parse(&list).unwrap().get("l").unwrap();
    let fields = [
        ("n", Value::Null),
        ("t", Value::Text("häh\t")),
        ("i", Value::Integer(i64::MIN)),
        ("f", Value::Float(0.5)),
        ("b", Value::Boolean(true)),
        ("y", Value::Bytes(&[0, 255])),
        ("o", Value::Object(ObjectId(u64::MAX))),
        ("l", list),
    ];
    let bytes = packed("m", &fields);
    let message = Message::parse(&bytes).unwrap();
    assert_eq!(message.method(), "m");
    assert_eq!(message.fields().collect::<Vec<_>>(), fields);
    assert_eq!(message.get("n"), None);
}

fn packed_list(texts: &[&str]) -> Vec<u8> {
    let mut bytes = Vec::new();
    MessageBuilder::new(&mut bytes, "m").list("l", texts.iter().copied());
    bytes
}

#[test]
fn values_have_canonical_texts() {
    let list = packed_list(&["a", "b"]);
    let list = Message::parse(&list).unwrap().get("l").unwrap();
    for (value, text) in [
        (Value::Null, ""),
        (Value::Integer(-7), "-7"),
        (Value::Float(7.0), "7"),
        (Value::Float(0.1), "0.1"),
        (Value::Boolean(false), "false"),
        (Value::Bytes(&[1, 0xab]), "01ab"),
        (Value::Object(ObjectId(1 << 48 | 2)), "1.2"),
        (list, "a|b"),
    ] {
        assert_eq!(format!("{value}"), text);
    }
}

#[test]
fn the_method_may_come_last() {
    let mut bytes = vec![9, 9];
    let mut builder = MessageBuilder::without_method(&mut bytes);
    builder.try_field(b"a", Value::Integer(1)).unwrap();
    builder.set_method(b"chat").unwrap();
    builder.try_field(b"b", Value::Text("x")).unwrap();
    assert_eq!(builder.set_method(b"chat"), Err(Reason::DuplicateField));
    assert_eq!(builder.try_field(b"a", Value::Null), Err(Reason::DuplicateField));
    assert_eq!(builder.try_field(b"msg", Value::Null), Err(Reason::ReservedField));
    assert_eq!(builder.try_field(b"c", Value::Text("\u{1}")), Err(Reason::ControlCharacter));
    assert_eq!(builder.try_field(b"c", Value::Float(f64::NAN)), Err(Reason::FieldInvalid));
    let message = Message::parse(&bytes[2..]).unwrap();
    assert_eq!(message.method(), "chat");
    assert_eq!(
        message.fields().collect::<Vec<_>>(),
        [("a", Value::Integer(1)), ("b", Value::Text("x"))]
    );
}

#[test]
fn faulty_bytes_are_refused_by_name() {
    let mut twice = field("a", TYPE_NULL, &[]);
    twice.extend_from_slice(&[1, b'a', TYPE_NULL]);
    let mut crowd = vec![1, b'm'];
    for index in 0..=MESSAGE_FIELDS_MAX {
        let name = format!("f{index:03}");
        crowd.push(4);
        crowd.extend_from_slice(name.as_bytes());
        crowd.push(TYPE_NULL);
    }
    for (bytes, reason) in [
        (vec![], Reason::Malformed),
        (vec![0], Reason::BadName),
        (vec![5, b'c'], Reason::Malformed),
        (vec![2, b'9', b'a'], Reason::BadName),
        (field("a b", TYPE_NULL, &[]), Reason::BadName),
        (field("msg", TYPE_NULL, &[]), Reason::ReservedField),
        (field("a", 8, &[]), Reason::Malformed),
        (field("a", TYPE_TEXT, &[2, 0, 0, 0, b'x']), Reason::Malformed),
        (field("a", TYPE_TEXT, &[1, 0, 0, 0, 0xff]), Reason::NotUtf8),
        (field("a", TYPE_TEXT, &[1, 0, 0, 0, 0]), Reason::ControlCharacter),
        (field("a", TYPE_BOOLEAN, &[2]), Reason::FieldInvalid),
        (field("a", TYPE_FLOAT, &f64::NAN.to_le_bytes()), Reason::FieldInvalid),
        (field("a", TYPE_LIST, &[1, 0]), Reason::Malformed),
        (field("a", TYPE_INTEGER, &[0; 7]), Reason::Malformed),
        (twice, Reason::DuplicateField),
        (crowd, Reason::TooManyFields),
        (vec![b'x'; MESSAGE_BYTES_MAX + 1], Reason::FrameTooLarge),
    ] {
        assert_eq!(Message::parse(&bytes), Err(reason), "{:?}", &bytes[..bytes.len().min(80)]);
    }
}

#[test]
fn a_request_has_fewer_fields_than_a_reply_may_have() {
    let mut bytes = Vec::new();
    let mut builder = MessageBuilder::new(&mut bytes, "m");
    for index in 0..REQUEST_FIELDS_MAX {
        builder.try_field(format!("f{index}").as_bytes(), Value::Null).unwrap();
    }
    assert_eq!(builder.try_field(b"more", Value::Null), Err(Reason::TooManyFields));
    assert_eq!(builder.try_list("more", [].into_iter()), Err(Reason::TooManyFields));
    builder.field("own", Value::Null);
    assert_eq!(Message::parse(&bytes).unwrap().field_count(), REQUEST_FIELDS_MAX + 1);
    assert_eq!(Message::parse_request(&bytes), Err(Reason::TooManyFields));
}

#[test]
fn lists_from_outside_are_checked() {
    let mut bytes = Vec::new();
    let mut builder = MessageBuilder::new(&mut bytes, "m");
    builder.try_list("l", ["a", "b"].into_iter()).unwrap();
    assert_eq!(builder.try_list("l", ["a"].into_iter()), Err(Reason::DuplicateField));
    assert_eq!(builder.try_list("c", ["\u{1}"].into_iter()), Err(Reason::ControlCharacter));
    assert_eq!(builder.try_list("n", vec![""; 65_536].into_iter()), Err(Reason::FieldInvalid));
    assert_eq!(Message::parse(&bytes).unwrap().field_count(), 1);
}

#[test]
fn values_may_come_in_pieces() {
    let mut bytes = vec![9];
    let mut builder = MessageBuilder::without_method(&mut bytes);
    builder.begin_field(b"a").unwrap();
    for piece in ["", "h", "ä", "h"] {
        builder.append_text(piece).unwrap();
    }
    builder.end_field();
    builder.begin_field(b"l").unwrap();
    builder.append_text("dropped").unwrap();
    for item in [["b", "c"], ["", ""], ["", "d"]] {
        builder.begin_item().unwrap();
        item.iter().for_each(|piece| builder.append_text(piece).unwrap());
    }
    builder.end_field();
    builder.begin_field(b"e").unwrap();
    builder.end_field();
    builder.set_method(b"m").unwrap();
    builder.try_field(b"z", Value::Null).unwrap();
    let list = packed_list(&["bc", "", "d"]);
    let list = Message::parse(&list).unwrap().get("l").unwrap();
    let text = |text| Value::Text(text);
    let fields = [("a", text("häh")), ("l", list), ("e", text("")), ("z", Value::Null)];
    assert_eq!(bytes[1..], packed("m", &fields));
    let message = Message::parse_request(&bytes[1..]).unwrap();
    assert_eq!(message.field_count(), 4);
}

#[test]
fn pieces_from_outside_are_checked() {
    let mut bytes = Vec::new();
    let mut builder = MessageBuilder::new(&mut bytes, "m");
    builder.begin_field(b"a").unwrap();
    assert_eq!(builder.append_text("\u{1}"), Err(Reason::ControlCharacter));
    builder.end_field();
    assert_eq!(builder.begin_field(b"a"), Err(Reason::DuplicateField));
    assert_eq!(builder.begin_field(b"a b"), Err(Reason::BadName));
    assert_eq!(builder.begin_field(b"msg"), Err(Reason::ReservedField));
    builder.begin_field(b"l").unwrap();
    for _ in 0..65_535 {
        builder.begin_item().unwrap();
    }
    assert_eq!(builder.begin_item(), Err(Reason::FieldInvalid));
}

#[test]
fn every_prefix_of_a_message_is_read_or_refused() {
    let bytes = packed("chat", &[("to", Value::Text("room1")), ("n", Value::Integer(7))]);
    let whole = (0..=bytes.len()).filter(|end| Message::parse(&bytes[..*end]).is_ok());
    // Exactly the ends of the method and of each field.
    assert_eq!(whole.collect::<Vec<_>>(), [5, 5 + 3 + 1 + 4 + 5, bytes.len()]);
}

#[test]
fn a_control_character_is_found_wherever_it_stands() {
    // Text is looked at in pieces of some length, and what is left behind them.
    for length in 0..=70 {
        let text = "x".repeat(length);
        for at in 0..=length {
            let with = |byte: char| format!("{}{byte}{}", &text[at..], &text[..at]);
            assert_eq!(check_text(&with('\t')), Ok(()), "{at} of {length}");
            assert_eq!(check_text(&with('é')), Ok(()), "{at} of {length}");
            for byte in ['\0', '\u{1f}'] {
                let refused = Err(Reason::ControlCharacter);
                assert_eq!(check_text(&with(byte)), refused, "{at} of {length}");
            }
        }
    }
}
