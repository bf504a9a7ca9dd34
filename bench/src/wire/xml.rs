//! XML as the server writes it: `<msg`, attributes one blank apart, `/>` or content and `</msg>`,
//! NUL. A frame that is written otherwise is a fault, also where XML would allow it.

use super::{Decoded, FRAME_BYTES_MAX, Frame, Place, classify};

pub(super) fn request(method: &str, name: &str, value: &str, out: &mut Vec<u8>) {
    let document = format!("<msg method=\"{method}\" {name}=\"{value}\"/>\0");
    out.extend_from_slice(document.as_bytes());
}

pub(super) fn say(room: &str, text: &str, id: u32, out: &mut Vec<u8>) {
    out.extend_from_slice(b"<msg method=\"chat\" to=\"");
    out.extend_from_slice(room.as_bytes());
    out.extend_from_slice(b"\" text=\"");
    out.extend_from_slice(text.as_bytes());
    match id {
        0 => out.extend_from_slice(b"\"/>\0"),
        id => out.extend_from_slice(format!("\" id=\"{id}\"/>\0").as_bytes()),
    }
}

pub(super) fn decode(bytes: &[u8]) -> Decoded<'_> {
    let Some(end) = bytes.iter().position(|byte| *byte == 0) else {
        return if bytes.len() > FRAME_BYTES_MAX { Decoded::Fault } else { Decoded::Incomplete };
    };
    match decode_document(&bytes[..end]) {
        Some(frame) => Decoded::Frame { consumed: end + 1, frame },
        None => Decoded::Fault,
    }
}

fn decode_document(bytes: &[u8]) -> Option<Frame<'_>> {
    let mut rest = std::str::from_utf8(bytes).ok()?.strip_prefix("<msg")?;
    let (mut method, mut status, mut reason) = (None, None, "");
    let (mut sequence, mut room, mut from, mut text) = (None, None, None, None);
    let (mut session, mut token, mut replayed) = (None, None, None);
    while let Some(attribute) = rest.strip_prefix(' ') {
        let (name, after) = attribute.split_once("=\"")?;
        let (value, after) = after.split_once('"')?;
        rest = after;
        if name.is_empty() || name.contains([' ', '/', '>']) {
            return None;
        }
        match name {
            "method" => method = Some(value),
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
    // Fields that are elements are none of those that are looked at.
    let is_whole = rest == "/>" || (rest.starts_with('>') && rest.ends_with("</msg>"));
    let heard = match (sequence, room, from, text) {
        (Some(sequence), Some(room), Some(from), Some(text)) => {
            Some((sequence, Place { room, from }, text))
        }
        _ => None,
    };
    let frame = classify(method?, status, reason, heard).numbered(status, sequence, room);
    is_whole.then_some(frame.with_pass(session, token, replayed))
}
