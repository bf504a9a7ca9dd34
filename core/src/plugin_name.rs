//! What does a method: `name@version`, as whoever does it says of itself.

use crate::name::is_name;
use crate::reason::Reason;

/// Longest version, in bytes.
pub const VERSION_BYTES_MAX: usize = 64;

/// A name, `@`, and a version of 1 to 64 letters, digits, `_`, `.`, `+` and `-`.
///
/// # Errors
/// [`Reason::FieldInvalid`].
pub fn check_plugin_name(text: &str) -> Result<&str, Reason> {
    let (name, version) = text.split_once('@').ok_or(Reason::FieldInvalid)?;
    let is_allowed =
        |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'+' | b'-');
    let has_length = (1..=VERSION_BYTES_MAX).contains(&version.len());
    let is_right = is_name(name.as_bytes()) && has_length && version.bytes().all(is_allowed);
    is_right.then_some(text).ok_or(Reason::FieldInvalid)
}

#[cfg(test)]
mod tests {
    use alloc::format;

    use super::*;

    #[test]
    fn names_and_versions_are_bounded_and_plain() {
        let longest = format!("{}@{}", "n".repeat(64), "1".repeat(64));
        for good in ["game@1", "combat.py@1.2.3-rc1+5f_e", &longest] {
            assert_eq!(check_plugin_name(good), Ok(good));
        }
        let (long_name, long_version) =
            (format!("{}@1", "n".repeat(65)), format!("n@{}", "1".repeat(65)));
        let wrong = ["", "game", "@1", "game@", "9@1", "a@b@c", "a@b c", "a@é"];
        for bad in wrong.into_iter().chain([&*long_name, &*long_version]) {
            assert_eq!(check_plugin_name(bad), Err(Reason::FieldInvalid), "{bad:?}");
        }
    }
}
