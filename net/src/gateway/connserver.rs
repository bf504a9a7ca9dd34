//! ConnServer text, in the three dialects that its history has: flat pairs of key and value, of
//! which `msg` is one. Output is sorted by key, because the original kept its pairs in a sorted
//! map and old clients may lean on it. Values are percent-encoded, which the original did not do:
//! without it a value that holds a separator would be several pairs to whoever hears it.

use std::fmt::{self, Write};

use memchr::{memchr, memchr3};
use warren_core::message::{MESSAGE_FIELDS_MAX, Message, MessageBuilder, Value};
use warren_core::reason::Reason;

use super::{Frame, GatewaySettings, Protocol, find_frame_end, settle_frame};

/// Pairs that nearly every message has room in.
const USUAL_PAIRS_MAX: usize = 16;

/// What distinguishes a dialect.
struct Dialect {
    /// Between a key and its value.
    key_end: u8,
    /// Between two pairs.
    pair_end: u8,
    /// On output after the last pair.
    message_end: &'static [u8],
    /// Whether `~`, CR and LF end a message on input, as NUL does.
    is_typed: bool,
    /// Bytes that do not leave as they are in a value.
    escaped: [bool; 256],
}

const DIALECT_A: Dialect = Dialect {
    key_end: b'=',
    pair_end: b'&',
    message_end: b"~\0",
    is_typed: true,
    escaped: byte_set(b"%&~\r\n\0"),
};

const DIALECT_B: Dialect = Dialect {
    key_end: b':',
    pair_end: b',',
    message_end: b"~\0",
    is_typed: true,
    escaped: byte_set(b"%,~\r\n\0"),
};

const DIALECT_C: Dialect = Dialect {
    key_end: b':',
    pair_end: b'\n',
    message_end: b"\n\0",
    is_typed: false,
    escaped: byte_set(b"%\n\0"),
};

const fn byte_set(bytes: &[u8]) -> [bool; 256] {
    let mut set = [false; 256];
    let mut index = 0;
    while index < bytes.len() {
        set[bytes[index] as usize] = true;
        index += 1;
    }
    set
}

fn dialect_of(protocol: Protocol) -> &'static Dialect {
    match protocol {
        Protocol::ConnServerA => &DIALECT_A,
        Protocol::ConnServerB => &DIALECT_B,
        Protocol::ConnServerC => &DIALECT_C,
        _ => {
            unreachable!("the gateway asks for its dialects only")
        }
    }
}

/// Decodes the frame at the beginning of `bytes`; every value is text.
pub(super) fn decode(
    protocol: Protocol,
    settings: &GatewaySettings,
    bytes: &[u8],
    scanned: &mut usize,
    out: &mut Vec<u8>,
) -> Frame {
    let dialect = dialect_of(protocol);
    let end = match find_frame_end(settings, bytes, scanned, |window| find_end(dialect, window)) {
        Ok(end) => end,
        Err(frame) => return frame,
    };
    let consumed = end + 1;
    let Some(pairs) = trim(dialect, &bytes[..end]) else { return Frame::Empty { consumed } };
    let start = out.len();
    let result = read_pairs(dialect, settings, pairs, MessageBuilder::without_method(out));
    settle_frame(result, consumed, start, out)
}

/// The first byte that ends a message. Searched in pieces, so that a buffer full of short
/// messages is not searched to its end for each of them.
fn find_end(dialect: &Dialect, window: &[u8]) -> Option<usize> {
    const PIECE_BYTES: usize = 128;
    if !dialect.is_typed {
        return memchr(0, window);
    }
    window.chunks(PIECE_BYTES).enumerate().find_map(|(index, piece)| {
        let typed = memchr3(b'~', b'\r', b'\n', piece);
        let end = memchr(0, &piece[..typed.unwrap_or(piece.len())]).or(typed)?;
        Some(index * PIECE_BYTES + end)
    })
}

/// The pairs of a frame, or `None` when it is empty. In dialect C the last pair may or may not
/// have its LF, and blank lines may stand before the first, which a terminal makes of the return
/// that follows a typed NUL.
fn trim<'a>(dialect: &Dialect, frame: &'a [u8]) -> Option<&'a [u8]> {
    let mut pairs = frame;
    if !dialect.is_typed {
        while let [b'\r' | b'\n', rest @ ..] = pairs {
            pairs = rest;
        }
        pairs = pairs.strip_suffix(b"\n").unwrap_or(pairs);
    }
    if pairs.is_empty() { None } else { Some(pairs) }
}

fn read_pairs(
    dialect: &Dialect,
    settings: &GatewaySettings,
    pairs: &[u8],
    mut builder: MessageBuilder<'_>,
) -> Result<(), Reason> {
    // Allocates only when a value holds an escape.
    let mut unescaped = Vec::new();
    let mut rest = Some(pairs);
    while let Some(pairs) = rest {
        let pair = match memchr(dialect.pair_end, pairs) {
            Some(end) => {
                rest = Some(&pairs[end + 1..]);
                &pairs[..end]
            }
            None => {
                rest = None;
                pairs
            }
        };
        let key_end = memchr(dialect.key_end, pair).ok_or(Reason::Malformed)?;
        let (key, mut value) = (&pair[..key_end], &pair[key_end + 1..]);
        if settings.percent && memchr(b'%', value).is_some() {
            unescape(value, &mut unescaped)?;
            value = &unescaped;
        }
        if key == b"msg" {
            builder.set_method(value)?;
        } else {
            let text = str::from_utf8(value).map_err(|_| Reason::NotUtf8)?;
            builder.try_field(key, Value::Text(text))?;
        }
    }
    if builder.has_method() { Ok(()) } else { Err(Reason::MethodMissing) }
}

/// Replaces `out` by the value with each `%XX` as the byte it stands for.
fn unescape(value: &[u8], out: &mut Vec<u8>) -> Result<(), Reason> {
    out.clear();
    let mut rest = value;
    while let Some(at) = memchr(b'%', rest) {
        out.extend_from_slice(&rest[..at]);
        let [high, low, tail @ ..] = &rest[at + 1..] else { return Err(Reason::Malformed) };
        let digit = |byte: u8| char::from(byte).to_digit(16).ok_or(Reason::Malformed);
        out.push((digit(*high)? << 4 | digit(*low)?) as u8);
        rest = tail;
    }
    out.extend_from_slice(rest);
    Ok(())
}

/// Appends the frame that carries `message`, its pairs sorted bytewise by key. With `legacy` the
/// field `seq` stays away: the one field of our replies and room messages that the original's
/// had not, and that says nothing to a client which does not know it.
pub(super) fn encode(
    protocol: Protocol,
    settings: &GatewaySettings,
    message: Message<'_>,
    out: &mut Vec<u8>,
) {
    let dialect = dialect_of(protocol);
    // Room for every message takes longer to clear than most messages to write.
    if message.field_count() < USUAL_PAIRS_MAX {
        encode_pairs::<USUAL_PAIRS_MAX>(dialect, settings, message, out);
    } else {
        encode_pairs::<{ MESSAGE_FIELDS_MAX + 1 }>(dialect, settings, message, out);
    }
}

/// Appends the message, which has fewer than so many fields, its pairs in order.
fn encode_pairs<const PAIRS_MAX: usize>(
    dialect: &'static Dialect,
    settings: &GatewaySettings,
    message: Message<'_>,
    out: &mut Vec<u8>,
) {
    let mut pairs = [("", Value::Null); PAIRS_MAX];
    pairs[0] = ("msg", Value::Text(message.method()));
    let mut count = 1;
    for (name, value) in message.fields() {
        if settings.legacy && name == "seq" {
            continue;
        }
        pairs[count] = (name, value);
        count += 1;
    }
    let pairs = &mut pairs[..count];
    pairs.sort_unstable_by_key(|(name, _)| *name);
    for (index, (name, value)) in pairs.iter().enumerate() {
        if index > 0 {
            out.push(dialect.pair_end);
        }
        out.extend_from_slice(name.as_bytes());
        out.push(dialect.key_end);
        let mut writer = ValueWriter { out, dialect, percent: settings.percent };
        write!(writer, "{value}").expect("writing to memory does not fail");
    }
    out.extend_from_slice(dialect.message_end);
}

/// Writes a value's canonical text so that it stays one value.
struct ValueWriter<'o> {
    out: &'o mut Vec<u8>,
    dialect: &'static Dialect,
    percent: bool,
}

impl Write for ValueWriter<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
        let mut rest = text.as_bytes();
        while let Some(at) = rest.iter().position(|byte| self.dialect.escaped[usize::from(*byte)]) {
            self.out.extend_from_slice(&rest[..at]);
            let byte = rest[at];
            if self.percent {
                let digits = [DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]];
                self.out.extend_from_slice(&[b'%', digits[0], digits[1]]);
            } else if byte == b'%' {
                self.out.push(byte);
            } else {
                // A client of another protocol could otherwise put whole messages into mouths of
                // others. No value of the original could hold such a byte.
                self.out.push(b' ');
            }
            rest = &rest[at + 1..];
        }
        self.out.extend_from_slice(rest);
        Ok(())
    }
}
