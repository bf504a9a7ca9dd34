//! Names of methods, fields, rooms, users and kinds.

use crate::reason::Reason;

/// Longest name, in bytes.
pub const NAME_BYTES_MAX: usize = 64;

/// Bytes that a name may have after the first.
const CONTINUES: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < table.len() {
        let character = byte as u8;
        table[byte] = character.is_ascii_alphanumeric() || matches!(character, b'_' | b'.' | b'-');
        byte += 1;
    }
    table
};

/// A name that matches `[A-Za-z_][A-Za-z0-9_.-]{0,63}`, or [`Reason::BadName`].
///
/// # Errors
/// [`Reason::BadName`].
pub fn check_name(name: &[u8]) -> Result<&str, Reason> {
    check_name_bytes(name)?;
    core::str::from_utf8(name).map_err(|_| Reason::BadName)
}

/// The same for a name that nobody reads as text now.
///
/// # Errors
/// [`Reason::BadName`].
pub(crate) fn check_name_bytes(name: &[u8]) -> Result<(), Reason> {
    if is_name(name) { Ok(()) } else { Err(Reason::BadName) }
}

/// Whether it matches.
pub(crate) fn is_name(name: &[u8]) -> bool {
    let Some(first) = name.first() else { return false };
    let starts = first.is_ascii_alphabetic() || *first == b'_';
    starts && name.len() <= NAME_BYTES_MAX && name.iter().all(|byte| CONTINUES[usize::from(*byte)])
}

/// Field names with a meaning in requests. None of them can be an object's or event's own field.
const RESERVED_IN_REQUESTS: [&str; 11] =
    ["msg", "id", "ack", "object", "kind", "version", "room", "to", "event", "count", "after"];

/// Field names that the server sets, and so cannot be an object's or event's own either.
const RESERVED_IN_REPLIES: [&str; 10] =
    ["partition", "status", "error", "limit", "from", "seq", "owner", "moved", "more", "plugin"];

/// Whether a field of this name belongs to the protocol rather than to objects and events.
#[must_use]
pub fn is_reserved(name: &str) -> bool {
    RESERVED_IN_REQUESTS.contains(&name) || RESERVED_IN_REPLIES.contains(&name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_grammar() {
        for good in ["a", "_", "Z9", "room-1.a_b", &"x".repeat(64)] {
            assert_eq!(check_name(good.as_bytes()), Ok(good));
        }
        for bad in ["", "9a", "-a", ".a", "a b", "a:b", "é", "a\n", &"x".repeat(65)] {
            assert_eq!(check_name(bad.as_bytes()), Err(Reason::BadName), "{bad:?}");
        }
    }
}
