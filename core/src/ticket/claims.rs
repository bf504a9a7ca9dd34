//! A ticket's claims: JSON of one shape, without the parts of JSON that claims have no use for.
//! Strings have no escapes, numbers no sign, fraction or exponent, names stand once.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use super::TICKET_ROLES_MAX;
use crate::name::check_name;

/// Most digits of a time: thousands of them still fit 64 bits.
const TIME_DIGITS_MAX: usize = 15;

/// What a ticket says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claims<'a> {
    /// `user`: whose it is.
    pub user: &'a str,
    /// `roles`: what the user is besides, by names. None: the role `user` alone.
    pub roles: Option<Vec<&'a str>>,
    /// `aud`: for which servers.
    pub audience: &'a str,
    /// `nbf`: from when on it holds, in seconds since 1970.
    pub not_before_s: Option<u64>,
    /// `exp`: until when, in seconds since 1970.
    pub expires_s: u64,
}

impl<'a> Claims<'a> {
    /// Reads claims, if these bytes are some.
    #[must_use]
    pub fn read(bytes: &'a [u8]) -> Option<Self> {
        let (mut user, mut roles, mut audience) = (None, None, None);
        let (mut not_before_s, mut expires_s) = (None, None);
        let mut reader = Reader { rest: bytes };
        reader.token(b'{')?;
        loop {
            let name = reader.text()?;
            reader.token(b':')?;
            match name {
                "user" => set_once(&mut user, reader.name()?)?,
                "roles" => set_once(&mut roles, reader.names()?)?,
                "aud" => set_once(&mut audience, reader.name()?)?,
                "nbf" => set_once(&mut not_before_s, reader.time()?)?,
                "exp" => set_once(&mut expires_s, reader.time()?)?,
                _ => return None,
            }
            if reader.token(b',').is_none() {
                break;
            }
        }
        reader.token(b'}')?;
        reader.skip_blanks();
        let claims =
            Self { user: user?, roles, audience: audience?, not_before_s, expires_s: expires_s? };
        reader.rest.is_empty().then_some(claims)
    }

    pub(super) fn write(&self) -> String {
        let mut text = format!("{{\"user\":\"{}\"", self.user);
        if let Some(roles) = &self.roles {
            text += ",\"roles\":[";
            for (index, role) in roles.iter().enumerate() {
                text += if index > 0 { ",\"" } else { "\"" };
                text += role;
                text += "\"";
            }
            text += "]";
        }
        text += &format!(",\"aud\":\"{}\"", self.audience);
        if let Some(not_before_s) = self.not_before_s {
            text += &format!(",\"nbf\":{not_before_s}");
        }
        text + &format!(",\"exp\":{}}}", self.expires_s)
    }
}

fn set_once<T>(claim: &mut Option<T>, value: T) -> Option<()> {
    claim.replace(value).is_none().then_some(())
}

struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn skip_blanks(&mut self) {
        self.rest = self.rest.trim_ascii_start();
    }

    /// Passes this byte, and blanks before it.
    fn token(&mut self, byte: u8) -> Option<()> {
        self.skip_blanks();
        self.rest = self.rest.strip_prefix(&[byte])?;
        Some(())
    }

    fn text(&mut self) -> Option<&'a str> {
        self.token(b'"')?;
        let end = self.rest.iter().position(|byte| *byte == b'"')?;
        let (text, rest) = self.rest.split_at(end);
        self.rest = &rest[1..];
        let is_plain = |byte: &u8| matches!(byte, b' '..=b'~') && *byte != b'\\';
        if text.iter().all(is_plain) { core::str::from_utf8(text).ok() } else { None }
    }

    fn name(&mut self) -> Option<&'a str> {
        check_name(self.text()?.as_bytes()).ok()
    }

    fn names(&mut self) -> Option<Vec<&'a str>> {
        let mut names = Vec::new();
        self.token(b'[')?;
        if self.token(b']').is_some() {
            return Some(names);
        }
        loop {
            names.push(self.name()?);
            if names.len() > TICKET_ROLES_MAX {
                return None;
            }
            if self.token(b',').is_none() {
                break;
            }
        }
        self.token(b']').map(|()| names)
    }

    fn time(&mut self) -> Option<u64> {
        self.skip_blanks();
        let end = self.rest.iter().position(|byte| !byte.is_ascii_digit())?;
        let (digits, rest) = self.rest.split_at(end);
        self.rest = rest;
        let is_canonical = digits.len() == 1 || digits.first() != Some(&b'0');
        if digits.len() > TIME_DIGITS_MAX || !is_canonical {
            return None;
        }
        core::str::from_utf8(digits).ok()?.parse().ok()
    }
}
