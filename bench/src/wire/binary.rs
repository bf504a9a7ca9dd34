//! The binary protocol, by the client's side of the gateway.

use warren_core::message::{Message, Value, packed};
use warren_net::gateway::binary::{
    PREAMBLE, ServerFrame, decode_server_frame, encode_request, encode_say,
};

use super::{Decoded, FRAME_BYTES_MAX, Frame, Place, classify};

pub(super) fn greet(out: &mut Vec<u8>) {
    out.extend_from_slice(PREAMBLE);
}

pub(super) fn request(method: &str, fields: &[(&str, &str)], out: &mut Vec<u8>) {
    let fields: Vec<(&str, Value<'_>)> =
        fields.iter().map(|(name, text)| (*name, Value::Text(text))).collect();
    encode_request(Message::from_checked(&packed(method, &fields)), out);
}

pub(super) fn say(room: &str, text: &str, out: &mut Vec<u8>) {
    encode_say(0, room, text, out);
}

pub(super) fn decode(bytes: &[u8]) -> Decoded<'_> {
    let Some((frame, consumed)) = decode_server_frame(bytes) else {
        return if bytes.len() > FRAME_BYTES_MAX { Decoded::Fault } else { Decoded::Incomplete };
    };
    read(frame).map_or(Decoded::Fault, |frame| Decoded::Frame { consumed, frame })
}

/// Sorts a frame; nothing for one that no server should send.
pub(super) fn read(frame: ServerFrame<'_>) -> Option<Frame<'_>> {
    match frame {
        ServerFrame::Heard { sequence, room, from, text } => {
            Some(Frame::Heard { sequence, place: Some(Place { room, from }), text })
        }
        ServerFrame::Message(message) => Some(classify_message(message)),
        ServerFrame::World(_) => Some(Frame::Other),
        ServerFrame::Faulty(_) => None,
    }
}

fn classify_message(message: Message<'_>) -> Frame<'_> {
    let text = |name| message.get(name).and_then(Value::as_text);
    let integer = |name| message.get(name).and_then(Value::as_integer);
    let status = integer("status").and_then(|status| u16::try_from(status).ok());
    let sequence = integer("seq").and_then(|sequence| u64::try_from(sequence).ok());
    let heard = match (sequence, text("room"), text("from"), text("text")) {
        (Some(sequence), Some(room), Some(from), Some(text)) => {
            Some((sequence, Place { room, from }, text))
        }
        _ => None,
    };
    classify(message.method(), status, text("error").unwrap_or_default(), heard).numbered(
        status,
        sequence,
        text("room"),
    )
}
