use super::*;

const RUN: u64 = 0x1234_5678_9abc_def0;

fn encoded(payload: Payload, length: usize) -> String {
    payload.to_text(RUN, length)
}

#[test]
fn what_was_said_is_what_is_read() {
    for (user, number, intended_ns) in
        [(0, 0, 0), (1, 2, 3), (14_999, 7, 123_456_789_012), (u32::MAX, u32::MAX, u64::MAX)]
    {
        for length in [PAYLOAD_BYTES_MIN, 64, 200] {
            let payload = Payload { user, number, intended_ns };
            let text = encoded(payload, length);
            assert_eq!(text.len(), length);
            assert!(text.bytes().all(|byte| byte.is_ascii_alphanumeric()));
            assert_eq!(Payload::decode(RUN, length, &text), Ok(payload));
        }
    }
}

#[test]
fn any_changed_byte_is_found() {
    let text = encoded(Payload { user: 77, number: 3, intended_ns: 99 }, 64);
    for at in 0..text.len() {
        for byte in ["0", "1", "a", "g", "A", "\0", "ü"] {
            let mut changed = text.clone();
            changed.replace_range(at..=at, byte);
            let verdict = Payload::decode(RUN, 64, &changed);
            assert_eq!(verdict.is_ok(), changed == text, "byte {at} as {byte}");
        }
    }
}

#[test]
fn a_cut_or_longer_text_is_corrupt() {
    let text = encoded(Payload { user: 77, number: 3, intended_ns: 99 }, 64);
    for length in 0..64 {
        assert_eq!(Payload::decode(RUN, 64, &text[..length]), Err(PayloadCorrupt));
    }
    let longer = text + "g";
    assert_eq!(Payload::decode(RUN, 64, &longer), Err(PayloadCorrupt));
}

#[test]
fn a_text_of_another_run_is_corrupt() {
    let text = encoded(Payload { user: 77, number: 3, intended_ns: 99 }, 64);
    assert_eq!(Payload::decode(RUN + 1, 64, &text), Err(PayloadCorrupt));
}
