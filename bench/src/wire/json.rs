//! JSON: one object a frame, ended by LF or NUL.

use serde::Deserialize;

use super::{Decoded, FRAME_BYTES_MAX, Frame, Place, classify};

pub(super) fn request(method: &str, name: &str, value: &str, out: &mut Vec<u8>) {
    let line = format!("{{\"msg\":\"{method}\",\"{name}\":\"{value}\"}}\n");
    out.extend_from_slice(line.as_bytes());
}

pub(super) fn say(room: &str, text: &str, id: u32, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"msg\":\"chat\",\"to\":\"");
    out.extend_from_slice(room.as_bytes());
    out.extend_from_slice(b"\",\"text\":\"");
    out.extend_from_slice(text.as_bytes());
    match id {
        0 => out.extend_from_slice(b"\"}\n"),
        id => out.extend_from_slice(format!("\",\"id\":{id}}}\n").as_bytes()),
    }
}

/// The fields that are looked at. Those of the harness hold nothing that is escaped, so they are
/// read in place.
#[derive(Deserialize)]
struct Fields<'a> {
    msg: &'a str,
    status: Option<u16>,
    error: Option<&'a str>,
    seq: Option<u64>,
    room: Option<&'a str>,
    from: Option<&'a str>,
    text: Option<&'a str>,
    session: Option<&'a str>,
    token: Option<&'a str>,
    replayed: Option<u64>,
}

pub(super) fn decode(bytes: &[u8]) -> Decoded<'_> {
    let Some(end) = bytes.iter().position(|byte| matches!(byte, 0 | b'\n')) else {
        return if bytes.len() > FRAME_BYTES_MAX { Decoded::Fault } else { Decoded::Incomplete };
    };
    let frame = read(&bytes[..end]);
    frame.map_or(Decoded::Fault, |frame| Decoded::Frame { consumed: end + 1, frame })
}

/// Reads an object.
pub(super) fn read(object: &[u8]) -> Option<Frame<'_>> {
    let fields = serde_json::from_slice::<Fields<'_>>(object).ok()?;
    let heard = match (fields.seq, fields.room, fields.from, fields.text) {
        (Some(sequence), Some(room), Some(from), Some(text)) => {
            Some((sequence, Place { room, from }, text))
        }
        _ => None,
    };
    let reason = fields.error.unwrap_or_default();
    let frame = classify(fields.msg, fields.status, reason, heard);
    let frame = frame.numbered(fields.status, fields.seq, fields.room);
    Some(frame.with_pass(fields.session, fields.token, fields.replayed))
}
