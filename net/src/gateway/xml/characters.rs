//! Characters as they stand in a document, and as they are meant: references, line ends, and the
//! white space of attributes (XML 1.0, sections 2.11, 3.3.3 and 4.1).

use warren_core::message::check_text;
use warren_core::name::NAME_BYTES_MAX;
use warren_core::reason::Reason;

/// Most digits of a reference, leading zeros among them; no character has more than seven.
const DIGITS_MAX: usize = 8;

/// Where characters stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// The value of an attribute: line ends and tabs are spaces.
    Attribute,
    /// The content of an element: line ends are LF.
    Content,
    /// A CDATA section: as content, but without references.
    Literal,
}

/// Bytes that may mean another character than they are.
const SPECIAL: [bool; 256] = {
    let mut set = [false; 256];
    let mut bytes = b"&\t\r\n]\xef".as_slice();
    while let [byte, rest @ ..] = bytes {
        set[*byte as usize] = true;
        bytes = rest;
    }
    set
};

/// What a special byte and its followers mean, and how many bytes they are.
enum Meaning {
    /// Themselves.
    Same(usize),
    /// This character.
    Character(char, usize),
}

/// Hands on the characters that are meant, in pieces.
pub(super) fn resolve(
    raw: &str,
    place: Place,
    mut sink: impl FnMut(&str) -> Result<(), Reason>,
) -> Result<(), Reason> {
    let (mut from, mut at) = (0, 0);
    let bytes = raw.as_bytes();
    while let Some(plain) = bytes[at..].iter().position(|byte| SPECIAL[usize::from(*byte)]) {
        at += plain;
        match meaning(&bytes[at..], place)? {
            Meaning::Same(length) => at += length,
            Meaning::Character(character, length) => {
                // Special bytes but 0xEF are whole characters, and 0xEF stays or is refused.
                if from < at {
                    sink(&raw[from..at])?;
                }
                sink(character.encode_utf8(&mut [0; 4]))?;
                at += length;
                from = at;
            }
        }
    }
    if from < raw.len() { sink(&raw[from..]) } else { Ok(()) }
}

/// Refuses the characters that are refused wherever they stand; for text that no message takes.
pub(super) fn check_characters(raw: &str) -> Result<(), Reason> {
    check_text(raw)?;
    resolve(raw, Place::Literal, |_| Ok(()))
}

fn meaning(bytes: &[u8], place: Place) -> Result<Meaning, Reason> {
    let is_attribute = place == Place::Attribute;
    Ok(match bytes {
        [b'&', rest @ ..] if place != Place::Literal => {
            let (character, length) = reference(rest)?;
            Meaning::Character(character, 1 + length)
        }
        [b'\r', b'\n', ..] => Meaning::Character(if is_attribute { ' ' } else { '\n' }, 2),
        [b'\r', ..] if !is_attribute => Meaning::Character('\n', 1),
        [b'\r' | b'\n' | b'\t', ..] if is_attribute => Meaning::Character(' ', 1),
        [b']', b']', b'>', ..] if place == Place::Content => return Err(Reason::Malformed),
        // U+FFFE and U+FFFF, the two beyond the control characters that XML knows not.
        [0xef, 0xbf, 0xbe | 0xbf, ..] => return Err(Reason::Malformed),
        _ => Meaning::Same(1),
    })
}

/// The character of a reference, given what follows its `&`, and the bytes up to its `;`.
fn reference(bytes: &[u8]) -> Result<(char, usize), Reason> {
    for (entity, character) in
        [("amp;", '&'), ("lt;", '<'), ("gt;", '>'), ("quot;", '"'), ("apos;", '\'')]
    {
        if bytes.starts_with(entity.as_bytes()) {
            return Ok((character, entity.len()));
        }
    }
    let (radix, prefix) = match bytes {
        [b'#', b'x', ..] => (16, 2),
        [b'#', ..] => (10, 1),
        _ => return Err(unknown_entity(bytes)),
    };
    let (mut code, mut length) = (0_u32, prefix);
    while let Some(digit) = bytes.get(length).and_then(|byte| char::from(*byte).to_digit(radix)) {
        if length == prefix + DIGITS_MAX {
            return Err(Reason::Malformed);
        }
        // Eight digits fit, in either radix.
        code = code * radix + digit;
        length += 1;
    }
    if length == prefix || bytes.get(length) != Some(&b';') {
        return Err(Reason::Malformed);
    }
    match char::from_u32(code) {
        None | Some('\u{fffe}' | '\u{ffff}') => Err(Reason::Malformed),
        Some(character) => Ok((character, length + 1)),
    }
}

/// An entity that is none of the five, or no reference at all. Of a name that is longer than any
/// the end is not looked for.
fn unknown_entity(bytes: &[u8]) -> Reason {
    let continues = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-');
    let window = &bytes[..bytes.len().min(NAME_BYTES_MAX + 1)];
    let length = window.iter().take_while(|byte| continues(byte)).count();
    let is_reference = length > NAME_BYTES_MAX || (length > 0 && bytes.get(length) == Some(&b';'));
    if is_reference { Reason::UnknownEntity } else { Reason::Malformed }
}
