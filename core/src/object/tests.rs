use alloc::vec;

use super::*;
use crate::ids::ObjectId;
use crate::message::packed;

#[test]
fn find_compares_canonical_texts() {
    let mut lists = vec![];
    let mut builder = MessageBuilder::new(&mut lists, "m");
    builder.list("two", ["a", "b"].into_iter());
    builder.list("none", [].into_iter());
    let list = |name| Message::from_checked(&lists).get(name).unwrap();
    for (value, text, equal) in [
        (Value::Text("red"), "red", true),
        (Value::Text("red"), "re", false),
        (Value::Text("red"), "redder", false),
        (Value::Integer(7), "7", true),
        (Value::Integer(7), "7.0", false),
        (Value::Float(7.0), "7", true),
        (Value::Float(-0.5), "-0.5", true),
        (Value::Boolean(true), "true", true),
        (Value::Bytes(&[1, 0xab]), "01ab", true),
        (Value::Bytes(&[1, 0xab]), "01AB", false),
        (Value::Bytes(&[1, 0xab]), "01ac", false),
        (Value::Bytes(&[1, 0xab]), "11ab", false),
        (Value::Bytes(&[1, 0xab]), "01a", false),
        (Value::Bytes(&[1, 0xab]), "01abcd", false),
        (Value::Bytes(&[]), "", true),
        (Value::Object(ObjectId(171 << 48 | 31)), "171.31", true),
        (list("two"), "a|b", true),
        (list("two"), "a|", false),
        (list("none"), "", true),
    ] {
        assert_eq!(has_canonical_text(value, text), equal, "{value:?} {text}");
    }
}

#[test]
fn a_change_sets_and_removes_and_keeps_the_order() {
    let record = packed(
        "sword",
        &[
            ("owner", Value::Text("ann")),
            ("colour", Value::Text("red")),
            ("weight", Value::Integer(3)),
        ],
    );
    let mut object = Object::new(1, Message::from_checked(&record));
    let changes = packed(
        "sword",
        &[
            ("colour", Value::Null),
            ("edge", Value::Float(0.5)),
            ("missing", Value::Null),
            ("weight", Value::Integer(4)),
        ],
    );
    object.change(2, Message::from_checked(&changes));
    assert_eq!((object.kind(), object.owner(), object.version()), ("sword", "ann", 2));
    let fields: Vec<_> = object.record().fields().collect();
    assert_eq!(
        fields,
        [("owner", Value::Text("ann")), ("weight", Value::Integer(4)), ("edge", Value::Float(0.5))]
    );
}

#[test]
fn what_nobody_owns_is_the_server_s() {
    let mut record = vec![];
    start_record(&mut record, "rock", "").field("weight", Value::Integer(9));
    assert_eq!(Object::new(1, Message::from_checked(&record)).owner(), "");
}
