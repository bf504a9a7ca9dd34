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

/// What the formats look like, for ever.
const GOLDEN_V1: &[u8] = include_bytes!("../../golden/object_record_v1.bin");
const GOLDEN_V2: &[u8] = include_bytes!("../../golden/object_record_v2.bin");

#[test]
fn format_1_is_read_and_does_not_change() {
    let record = sword();
    let object = ObjectRecordV1 { version: 3, record: &record };
    let archived = rkyv::to_bytes::<Failure>(&object).unwrap();
    assert_eq!([&[1], &archived[..]].concat(), GOLDEN_V1);
    let read = ObjectRecordV2 { version: 3, sequence: 0, record: &record };
    assert_eq!(ObjectRecordV2::decode(GOLDEN_V1), Ok(read));
}

#[test]
fn format_2_does_not_change() {
    let record = sword();
    let object = ObjectRecordV2 { version: 3, sequence: 0x0102_0304_0506_0708, record: &record };
    let mut bytes = Vec::new();
    object.encode(&mut bytes);
    assert_eq!(bytes, GOLDEN_V2);
    assert_eq!(ObjectRecordV2::decode(GOLDEN_V2), Ok(object));
}

#[test]
fn every_length_and_every_flipped_byte_is_read_or_refused() {
    for golden in [GOLDEN_V1, GOLDEN_V2] {
        for length in 0..golden.len() {
            let _ = ObjectRecordV2::decode(&golden[..length]);
        }
        for at in 0..golden.len() {
            for bit in 0..8 {
                let mut bytes = golden.to_vec();
                bytes[at] ^= 1 << bit;
                if let Ok(object) = ObjectRecordV2::decode(&bytes) {
                    assert!(object.record.len() <= bytes.len());
                }
            }
        }
        assert_eq!(ObjectRecordV2::decode(&golden[..4]), Err(ObjectDecodeError::Malformed));
    }
    assert_eq!(ObjectRecordV2::decode(&[9, 1]), Err(ObjectDecodeError::FormatUnknown(9)));
    assert_eq!(ObjectRecordV2::decode(&[]), Err(ObjectDecodeError::Malformed));
}
