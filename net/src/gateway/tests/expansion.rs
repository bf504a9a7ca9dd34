//! What the longest frames come to in the other protocols: no more than a send queue must hold.

use warren_core::message::{REQUEST_FIELDS_MAX, packed};

use super::*;

/// Every character of one byte that text may hold, and some that are longer.
fn characters() -> impl Iterator<Item = char> {
    let ascii = (0..=0x7f_u8).map(char::from);
    ascii.filter(|character| is_text(*character)).chain("é\u{fffd}\u{fffe}\u{ffff}🐇".chars())
}

fn is_text(character: char) -> bool {
    warren_core::message::check_text(character.encode_utf8(&mut [0; 4])).is_ok()
}

/// The greatest frame that is made of `first`, as many of `part` as fit, and `last`.
fn fill(first: &str, part: &str, last: &str) -> Vec<u8> {
    let room = GatewaySettings::default().frame_bytes_max - first.len() - last.len();
    format!("{first}{}{last}", part.repeat(room / part.len())).into_bytes()
}

/// Frames of the greatest length, all of whose text is this character, in the ways that take least:
/// as text in JSON and in the binary protocol, as texts of a list.
fn frames_of(character: char) -> Vec<(Protocol, Vec<u8>)> {
    let text = character.to_string();
    let json_text = serde_json::to_string(&text).unwrap();
    let in_json = &json_text[1..json_text.len() - 1];
    let mut say = Vec::new();
    binary::encode_say(0, "r", "", &mut say);
    let room = GatewaySettings::default().frame_bytes_max - say.len();
    let mut frames = vec![(Protocol::Binary, Vec::new())];
    binary::encode_say(0, "r", &text.repeat(room / text.len()), &mut frames[0].1);
    frames.push((Protocol::Json, fill("{\"msg\":\"chat\",\"text\":\"", in_json, "\"}\n")));
    for count in 1..4 {
        let item = format!("\"{}\",", in_json.repeat(count));
        frames.push((Protocol::Json, fill("{\"msg\":\"set\",\"l\":[", &item, "\"\"]}\n")));
    }
    frames
}

/// What else is shorter than its text, or than its tags.
fn other_frames() -> Vec<(Protocol, Vec<u8>)> {
    let names: Vec<String> = (0..REQUEST_FIELDS_MAX).map(|index| format!("f{index}")).collect();
    let float =
        |value: f64| names.iter().map(|name| (name.as_str(), Value::Float(value))).collect();
    let room = GatewaySettings::default().frame_bytes_max - 20;
    let mut texts: Vec<(&str, Value<'_>)> = float(-f64::from_bits(0x000f_ffff_ffff_ffff));
    let ampersands = "&".repeat(GatewaySettings::default().frame_bytes_max - 800);
    *texts.last_mut().unwrap() = ("text", Value::Text(&ampersands));
    let mut frames = Vec::new();
    for message in [packed("set", &[("b", Value::Bytes(&vec![0xff; room]))]), packed("set", &texts)]
    {
        let mut frame = Vec::new();
        binary::encode_request(Message::from_checked(&message), &mut frame);
        frames.push((Protocol::Binary, frame));
    }
    frames.push((Protocol::Json, fill("{\"msg\":\"set\",\"l\":[", "\"\",", "\"\"]}\n")));
    frames.push((Protocol::Json, fill("{\"msg\":\"s\",\"b\":{\"$bytes\":\"", "////", "\"}}\n")));
    frames
}

/// The message of a frame, with what a server adds to it at most.
fn heard(protocol: Protocol, frame: &[u8]) -> Vec<u8> {
    let mut message = Vec::new();
    let taken = decode_once(protocol, &GatewaySettings::default(), frame, &mut message);
    assert_eq!(taken, Frame::Message { consumed: frame.len() }, "{protocol:?}");
    let longest = "n".repeat(warren_core::name::NAME_BYTES_MAX);
    let message = Message::from_checked(&message);
    let mut fields: Vec<(&str, Value<'_>)> = message.fields().collect();
    for name in ["room", "from", "owner", "kind"] {
        fields.push((name, Value::Text(&longest)));
    }
    fields.push(("seq", Value::Integer(i64::MIN)));
    let mut out = Vec::new();
    let mut builder = MessageBuilder::new(&mut out, message.method());
    for (name, value) in fields {
        match value {
            Value::List(list) => builder.list(name, list.iter()),
            value => builder.field(name, value),
        }
    }
    out
}

#[test]
fn the_longest_frames_fit_a_send_queue_in_every_protocol() {
    let settings = GatewaySettings::default();
    let frame_bytes_max = settings.frame_bytes_max;
    let mut most = 0;
    for (from, frame) in characters().flat_map(frames_of).chain(other_frames()) {
        assert!((frame_bytes_max - 1000..=frame_bytes_max).contains(&frame.len()), "{from:?}");
        let message = heard(from, &frame);
        for to in Protocol::ALL {
            let mut out = Vec::new();
            encode(*to, &settings, Message::from_checked(&message), &mut out);
            let shown = String::from_utf8_lossy(&frame[40..60]).into_owned();
            assert!(
                out.len() <= frame_bytes_max * QUEUE_FRAMES_MIN,
                "{shown:?} of {from:?} has {} bytes in {to:?}",
                out.len()
            );
            most = most.max(out.len());
        }
    }
    assert!(most > frame_bytes_max * (QUEUE_FRAMES_MIN - 1), "the factor is too large: {most}");
}
