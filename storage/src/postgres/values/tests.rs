use warren_core::message::packed;

use super::*;

fn json_of(record: &[u8]) -> String {
    let mut json = Vec::new();
    write_fields(&mut json, Message::parse(record).unwrap());
    String::from_utf8(json).unwrap()
}

#[test]
fn every_value_comes_back_as_it_was() {
    let mut long =
        String::from("tab\tline\nreturn\rquote\"back\\slash\u{7f}\u{80}\u{2028}\u{fffd}");
    long.push_str("\u{10ffff}é日本𝄞");
    let floats = [
        0.0,
        -0.0,
        1.0,
        0.1,
        -1.5e300,
        f64::MAX,
        f64::MIN,
        f64::MIN_POSITIVE,
        5e-324,
        1.0 / 3.0,
        9_007_199_254_740_993.0,
    ];
    let mut values = vec![
        Value::Text(""),
        Value::Text(&long),
        Value::Text("{\"float\":\"1\"}"),
        Value::Text("7"),
        Value::Integer(0),
        Value::Integer(i64::MAX),
        Value::Integer(i64::MIN),
        Value::Integer((1 << 53) + 1),
        Value::Boolean(true),
        Value::Boolean(false),
        Value::Bytes(&[]),
        Value::Bytes(&[0, 1, 0xab, 0xff]),
        Value::Object(ObjectId(0)),
        Value::Object(ObjectId(u64::MAX)),
        Value::Object(ObjectId(171 << 48 | 31)),
    ];
    values.extend(floats.map(Value::Float));
    for value in values {
        let record = packed("k", &[("a", value)]);
        let json = json_of(&record);
        assert_eq!(record_of("k", &json).as_deref(), Ok(&*record), "{value:?} {json}");
    }
    for texts in [&[][..], &[""], &["", ""], &["a", long.as_str(), "[\"nested\"]"]] {
        let mut record = Vec::new();
        MessageBuilder::new(&mut record, "k").list("a", texts.iter().copied());
        let json = json_of(&record);
        assert_eq!(record_of("k", &json).as_deref(), Ok(&*record), "{json}");
    }
}

#[test]
fn values_stand_as_the_table_says() {
    let mut record = packed(
        "k",
        &[
            ("text", Value::Text("red")),
            ("integer", Value::Integer(7)),
            ("float", Value::Float(-0.5)),
            ("zero", Value::Float(-0.0)),
            ("boolean", Value::Boolean(true)),
            ("bytes", Value::Bytes(&[1, 0xab])),
            ("object", Value::Object(ObjectId(171 << 48 | 31))),
        ],
    );
    let mut tail = Vec::new();
    MessageBuilder::new(&mut tail, "k").list("list", ["a", "b"].into_iter());
    record.extend_from_slice(&tail[2..]);
    assert_eq!(
        json_of(&record),
        r#"{"text":"red","integer":7,"float":{"float":"-0.5"},"zero":{"float":"-0.0"},"boolean":true,"bytes":{"bytes":"01ab"},"object":{"object":"171.31"},"list":["a","b"]}"#
    );
}

#[test]
fn the_owner_comes_first() {
    let record = record_of("sword", r#"{"a": 1, "owner": "ann", "z": 2}"#).unwrap();
    let names: Vec<_> =
        Message::parse(&record).unwrap().fields().map(|(name, _)| name.to_owned()).collect();
    assert_eq!(names, ["owner", "a", "z"]);
}

#[test]
fn what_is_no_record_is_named() {
    let many: Vec<String> = (0..50).map(|index| format!("\"f{index}\": 1")).collect();
    let many = format!("{{{}}}", many.join(","));
    for (kind, fields, why) in [
        ("k", "[]", "its fields are no JSON object"),
        ("k", "{", "its fields are no JSON object"),
        ("", "{}", r#"kind "" is no name"#),
        ("a b", "{}", r#"kind "a b" is no name"#),
        ("k", many.as_str(), "50 fields are too many"),
        ("k", r#"{"": 1}"#, r#"field "": it has no field's name"#),
        ("k", r#"{"é": 1}"#, r#"field "é": it has no field's name"#),
        ("k", r#"{"msg": 1}"#, r#"field "msg": no field has that name"#),
        ("k", r#"{"a": null}"#, r#"field "a": it is null"#),
        (
            "k",
            r#"{"a": 1.5}"#,
            r#"field "a": 1.5 is no integer of 64 bits; a float is {"float": …}"#,
        ),
        (
            "k",
            r#"{"a": 9223372036854775808}"#,
            r#"field "a": 9223372036854775808 is no integer of 64 bits; a float is {"float": …}"#,
        ),
        ("k", r#"{"a": "\u0001"}"#, r#"field "a": its text has a character that no text may have"#),
        (
            "k",
            r#"{"a": ["\u0000"]}"#,
            r#"field "a": its text has a character that no text may have"#,
        ),
        ("k", r#"{"a": [["b"]]}"#, r#"field "a": its list is not of texts"#),
        ("k", r#"{"a": {}}"#, r#"field "a": its object is not one type with a text"#),
        ("k", r#"{"a": {"float": 1}}"#, r#"field "a": its object is not one type with a text"#),
        (
            "k",
            r#"{"a": {"float": "1", "bytes": ""}}"#,
            r#"field "a": its object is not one type with a text"#,
        ),
        ("k", r#"{"a": {"float": "NaN"}}"#, r#"field "a": "NaN" is no float"#),
        ("k", r#"{"a": {"float": "inf"}}"#, r#"field "a": "inf" is no float"#),
        ("k", r#"{"a": {"float": "1e999"}}"#, r#"field "a": "1e999" is no float"#),
        ("k", r#"{"a": {"bytes": "abc"}}"#, r#"field "a": "abc" is no bytes"#),
        ("k", r#"{"a": {"bytes": "zz"}}"#, r#"field "a": "zz" is no bytes"#),
        ("k", r#"{"a": {"object": "1"}}"#, r#"field "a": "1" is no object"#),
        ("k", r#"{"a": {"number": "1"}}"#, r#"field "a": "number" is no type"#),
    ] {
        assert_eq!(record_of(kind, fields), Err(ValueError(why.to_owned())), "{kind} {fields}");
    }
}
