//! The marks and texts of an XML document, one after the other, where they stand. It goes forward
//! only, copies nothing and keeps nothing but a position, so a document costs what was read of it
//! until it was refused.
//!
//! Refused where they begin: document types, processing instructions, and names that are longer
//! than any name. So an entity bomb is never defined, let alone expanded.

use memchr::{memchr, memchr2, memmem};
use warren_core::name::NAME_BYTES_MAX;
use warren_core::reason::Reason;

use super::characters::check_characters;

/// The byte order mark of UTF-8, which some put before a document.
pub(in crate::gateway) const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";
const DECLARATION: &[u8] = b"<?xml";
/// Most comments and CDATA sections of a document. Each costs several times what its bytes would
/// as text, and none is needed for what a message can hold.
const SECTIONS_MAX: usize = 1024;

/// What may stand in the content of an element.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Token<'a> {
    /// `<name`; its parts follow, by [`Tokens::tag_part`].
    Open(&'a [u8]),
    /// `</name>`.
    Close(&'a [u8]),
    /// Characters and references, as they stand.
    Text(&'a str),
    /// Characters of a CDATA section: `&` and `<` are themselves.
    Literal(&'a str),
    /// The document ends.
    End,
}

/// What may stand in a tag behind its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TagPart<'a> {
    /// `name="value"`, the value as it stands.
    Attribute {
        /// What is before the `=`.
        name: &'a [u8],
        /// What is between the quotes.
        value: &'a str,
    },
    /// `>`: content follows.
    End,
    /// `/>`: there is no content.
    EmptyEnd,
}

/// A document that is being read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tokens<'a> {
    bytes: &'a [u8],
    at: usize,
    /// Comments and CDATA sections so far.
    section_count: usize,
}

/// Whether the byte is white space for XML.
pub(in crate::gateway) const fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
}

/// Whether the byte may stand in a name; beyond ASCII every byte, for others to refuse.
const fn is_of_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-' | b':') || byte >= 0x80
}

impl<'a> Tokens<'a> {
    /// Begins with the document, behind its byte order mark and its XML declaration. Blanks may
    /// stand before and between them, which XML has not: some clients end a line behind each NUL.
    pub(super) fn new(bytes: &'a [u8]) -> Result<Self, Reason> {
        let mut tokens = Self { bytes, at: 0, section_count: 0 };
        tokens.skip_blanks();
        if bytes[tokens.at..].starts_with(BYTE_ORDER_MARK) {
            tokens.at += BYTE_ORDER_MARK.len();
            tokens.skip_blanks();
        }
        let behind = bytes[tokens.at..].strip_prefix(DECLARATION);
        if behind.and_then(<[u8]>::first).copied().is_some_and(is_blank) {
            tokens.at += DECLARATION.len();
            tokens.declaration()?;
        }
        Ok(tokens)
    }

    /// Bytes that were read.
    #[cfg(test)]
    pub(super) fn position(&self) -> usize {
        self.at
    }

    /// `version`, then perhaps `encoding`, then perhaps `standalone`.
    fn declaration(&mut self) -> Result<(), Reason> {
        let mut known = [b"version".as_slice(), b"encoding", b"standalone"].into_iter().enumerate();
        let mut has_version = false;
        while let Some((name, value)) = self.attribute()? {
            let next = known.find(|(_, known)| *known == name);
            let (index, _) = next.ok_or(Reason::Malformed)?;
            match index {
                0 if matches!(value, "1.0" | "1.1") => has_version = true,
                1 if value.eq_ignore_ascii_case("utf-8") => {}
                1 => return Err(Reason::NotUtf8),
                2 if matches!(value, "yes" | "no") => {}
                _ => return Err(Reason::Malformed),
            }
        }
        if has_version { self.expect(b"?>") } else { Err(Reason::Malformed) }
    }

    /// The next token; comments are passed over. Behind an [`Token::Open`] its parts come first.
    pub(super) fn next(&mut self) -> Result<Token<'a>, Reason> {
        loop {
            let rest = &self.bytes[self.at..];
            match rest {
                [] => return Ok(Token::End),
                [b'<', b'/', ..] => return self.close(),
                [b'<', b'!', ..] if rest.starts_with(b"<!--") => self.comment()?,
                [b'<', b'!', ..] => return self.literal(),
                [b'<', b'?', ..] => return Err(Reason::InstructionRefused),
                [b'<', ..] => {
                    self.at += 1;
                    return Ok(Token::Open(self.name()?));
                }
                _ => return self.text(),
            }
        }
    }

    /// The next part of the tag whose name was read.
    pub(super) fn tag_part(&mut self) -> Result<TagPart<'a>, Reason> {
        if let Some((name, value)) = self.attribute()? {
            return Ok(TagPart::Attribute { name, value });
        }
        if self.bytes[self.at..].starts_with(b">") {
            self.at += 1;
            return Ok(TagPart::End);
        }
        self.expect(b"/>")?;
        Ok(TagPart::EmptyEnd)
    }

    /// An attribute, if there is one behind white space.
    fn attribute(&mut self) -> Result<Option<(&'a [u8], &'a str)>, Reason> {
        let before = self.at;
        self.skip_blanks();
        let next = self.bytes.get(self.at).copied();
        if self.at == before || !next.is_some_and(is_of_name) {
            return Ok(None);
        }
        let name = self.name()?;
        self.skip_blanks();
        self.expect(b"=")?;
        self.skip_blanks();
        let quote = match self.bytes.get(self.at) {
            Some(quote @ (b'"' | b'\'')) => *quote,
            _ => return Err(Reason::Malformed),
        };
        self.at += 1;
        // Stops at a `<` too, which no value holds: so a quote that is missing is soon missed.
        let rest = &self.bytes[self.at..];
        let end = memchr2(quote, b'<', rest).ok_or(Reason::Malformed)?;
        self.at += end;
        self.expect(&[quote])?;
        let value = str::from_utf8(&rest[..end]).map_err(|_| Reason::NotUtf8)?;
        Ok(Some((name, value)))
    }

    fn name(&mut self) -> Result<&'a [u8], Reason> {
        // Room for the prefix of `msg:method`; whoever takes a name checks it.
        const PREFIXED_BYTES_MAX: usize = NAME_BYTES_MAX + 4;
        let rest = &self.bytes[self.at..];
        let window = &rest[..rest.len().min(PREFIXED_BYTES_MAX + 1)];
        let length = window.iter().take_while(|byte| is_of_name(**byte)).count();
        match length {
            0 => Err(Reason::Malformed),
            1..=PREFIXED_BYTES_MAX => {
                self.at += length;
                Ok(&rest[..length])
            }
            _ => Err(Reason::BadName),
        }
    }

    fn close(&mut self) -> Result<Token<'a>, Reason> {
        self.at += 2;
        let name = self.name()?;
        self.skip_blanks();
        self.expect(b">")?;
        Ok(Token::Close(name))
    }

    fn comment(&mut self) -> Result<(), Reason> {
        let text = self.section(b"<!--", b"--")?;
        self.expect(b">")?;
        check_characters(text)
    }

    /// A CDATA section; other declarations belong to document types.
    fn literal(&mut self) -> Result<Token<'a>, Reason> {
        const OPEN: &[u8] = b"<![CDATA[";
        let rest = &self.bytes[self.at..];
        if rest.starts_with(OPEN) {
            return Ok(Token::Literal(self.section(OPEN, b"]]>")?));
        }
        let word = b"<!DOCTYPE";
        let is_doctype = rest.get(..word.len()).is_some_and(|rest| rest.eq_ignore_ascii_case(word));
        Err(if is_doctype { Reason::DoctypeRefused } else { Reason::Malformed })
    }

    /// The text between two marks.
    fn section(&mut self, open: &[u8], close: &[u8]) -> Result<&'a str, Reason> {
        if self.section_count == SECTIONS_MAX {
            return Err(Reason::Malformed);
        }
        self.section_count += 1;
        self.at += open.len();
        let rest = &self.bytes[self.at..];
        let end = find_mark(rest, close).ok_or(Reason::Malformed)?;
        self.at += end + close.len();
        str::from_utf8(&rest[..end]).map_err(|_| Reason::NotUtf8)
    }

    fn text(&mut self) -> Result<Token<'a>, Reason> {
        let rest = &self.bytes[self.at..];
        let end = memchr(b'<', rest).unwrap_or(rest.len());
        self.at += end;
        Ok(Token::Text(str::from_utf8(&rest[..end]).map_err(|_| Reason::NotUtf8)?))
    }

    fn skip_blanks(&mut self) {
        let blanks = self.bytes[self.at..].iter().take_while(|byte| is_blank(**byte)).count();
        self.at += blanks;
    }

    fn expect(&mut self, mark: &[u8]) -> Result<(), Reason> {
        if !self.bytes[self.at..].starts_with(mark) {
            return Err(Reason::Malformed);
        }
        self.at += mark.len();
        Ok(())
    }
}

/// Where the mark stands. Looked for byte by byte at first, because a document may have many short
/// sections and the fast search takes time to begin.
fn find_mark(bytes: &[u8], mark: &[u8]) -> Option<usize> {
    const NEAR_BYTES: usize = 32;
    let near = &bytes[..bytes.len().min(NEAR_BYTES)];
    let found = near.windows(mark.len()).position(|window| window == mark);
    found.or_else(|| memmem::find(bytes, mark))
}
