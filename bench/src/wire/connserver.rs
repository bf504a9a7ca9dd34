//! ConnServer text, dialect C: `key:value` LF, any number of them, NUL.

use super::{Decoded, FRAME_BYTES_MAX, Frame, Place, classify};

pub(super) fn request(method: &str, name: &str, value: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(format!("msg:{method}\n{name}:{value}\n\0").as_bytes());
}

pub(super) fn say(room: &str, text: &str, id: u32, out: &mut Vec<u8>) {
    if id != 0 {
        out.extend_from_slice(format!("id:{id}\n").as_bytes());
    }
    out.extend_from_slice(b"msg:chat\ntext:");
    out.extend_from_slice(text.as_bytes());
    out.extend_from_slice(b"\nto:");
    out.extend_from_slice(room.as_bytes());
    out.extend_from_slice(b"\n\0");
}

pub(super) fn decode(bytes: &[u8]) -> Decoded<'_> {
    let Some(end) = bytes.iter().position(|byte| *byte == 0) else {
        return if bytes.len() > FRAME_BYTES_MAX { Decoded::Fault } else { Decoded::Incomplete };
    };
    match decode_fields(&bytes[..end]) {
        Some(frame) => Decoded::Frame { consumed: end + 1, frame },
        None => Decoded::Fault,
    }
}

fn decode_fields(bytes: &[u8]) -> Option<Frame<'_>> {
    let content = std::str::from_utf8(bytes).ok()?.strip_suffix('\n')?;
    let (mut method, mut status, mut reason) = (None, None, "");
    let (mut sequence, mut room, mut from, mut text) = (None, None, None, None);
    let (mut session, mut token, mut replayed) = (None, None, None);
    for line in content.split('\n') {
        let (key, value) = line.split_once(':')?;
        match key {
            "msg" => method = Some(value),
            "status" => status = Some(value.parse().ok()?),
            "error" => reason = value,
            "seq" => sequence = Some(value.parse().ok()?),
            "room" => room = Some(value),
            "from" => from = Some(value),
            "text" => text = Some(value),
            "session" => session = Some(value),
            "token" => token = Some(value),
            "replayed" => replayed = Some(value.parse().ok()?),
            _ => {}
        }
    }
    let heard = match (sequence, room, from, text) {
        (Some(sequence), Some(room), Some(from), Some(text)) => {
            Some((sequence, Place { room, from }, text))
        }
        _ => None,
    };
    let frame = classify(method?, status, reason, heard).numbered(status, sequence, room);
    Some(frame.with_pass(session, token, replayed))
}
