use warren_core::message::{Value, packed};

use super::*;

fn sword() -> Vec<u8> {
    let fields = [
        ("owner", Value::Text("ann")),
        ("colour", Value::Text("red")),
        ("weight", Value::Integer(-7)),
        ("edge", Value::Float(0.5)),
        ("sharp", Value::Boolean(true)),
        ("runes", Value::Bytes(&[0, 255])),
    ];
    packed("sword", &fields)
}

/// What format 1 looks like, for ever.
const GOLDEN_V1: &[u8] = include_bytes!("../../golden/object_record_v1.bin");

#[test]
fn format_1_does_not_change() {
    let record = sword();
    let object = ObjectRecordV1 { version: 3, record: &record };
    let mut bytes = Vec::new();
    object.encode(&mut bytes);
    assert_eq!(bytes, GOLDEN_V1);
    assert_eq!(ObjectRecordV1::decode(GOLDEN_V1), Ok(object));
}

#[test]
fn every_length_and_every_flipped_byte_is_read_or_refused() {
    for length in 0..GOLDEN_V1.len() {
        let _ = ObjectRecordV1::decode(&GOLDEN_V1[..length]);
    }
    for at in 0..GOLDEN_V1.len() {
        for bit in 0..8 {
            let mut bytes = GOLDEN_V1.to_vec();
            bytes[at] ^= 1 << bit;
            if let Ok(object) = ObjectRecordV1::decode(&bytes) {
                assert!(object.record.len() <= bytes.len());
            }
        }
    }
    assert_eq!(ObjectRecordV1::decode(&[9, 1]), Err(ObjectDecodeError::FormatUnknown(9)));
    assert_eq!(ObjectRecordV1::decode(&[]), Err(ObjectDecodeError::Malformed));
    assert_eq!(ObjectRecordV1::decode(&GOLDEN_V1[..4]), Err(ObjectDecodeError::Malformed));
}
