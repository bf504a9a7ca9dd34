use alloc::string::ToString;
use alloc::vec;

use super::*;

#[test]
fn find_compares_canonical_texts() {
    let list = |texts: &[&str]| FieldValue::List(texts.iter().map(|t| t.to_string()).collect());
    for (field, text, equal) in [
        (FieldValue::Text("red".into()), "red", true),
        (FieldValue::Text("red".into()), "re", false),
        (FieldValue::Text("red".into()), "redder", false),
        (FieldValue::Integer(7), "7", true),
        (FieldValue::Integer(7), "7.0", false),
        (FieldValue::Float(7.0), "7", true),
        (FieldValue::Float(-0.5), "-0.5", true),
        (FieldValue::Boolean(true), "true", true),
        (FieldValue::Bytes(vec![1, 0xab]), "01ab", true),
        (FieldValue::Object(171 << 48 | 31), "171.31", true),
        (list(&["a", "b"]), "a|b", true),
        (list(&["a", "b"]), "a|", false),
        (list(&[]), "", true),
    ] {
        assert_eq!(has_canonical_text(&field, text), equal, "{field:?} {text}");
    }
}
