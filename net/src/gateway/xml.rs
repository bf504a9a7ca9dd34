//! XML: one document a frame, ended by NUL, as Flash's XMLSocket sends them. The root is `msg`; its
//! attributes are the fields, and so are its child elements.
//!
//! The tokenizer is ours: it reads a document where it stands and writes its fields straight into
//! the packed message. What the message cannot hold is refused where it begins: a structure within
//! a field, a field too many. So no depth and no number of attributes is ever reached.

use std::fmt::{self, Write};

use memchr::memchr;
use warren_core::message::{MESSAGE_FIELDS_MAX, Message, MessageBuilder, Value};
use warren_core::name::NAME_BYTES_MAX;
use warren_core::reason::Reason;

use super::{Frame, GatewaySettings, find_frame_end, settle_frame};

mod characters;
mod tokens;

use characters::{Place, resolve};
use tokens::{TagPart, Token, Tokens};

pub(super) use tokens::{BYTE_ORDER_MARK, is_blank};

/// The root element.
const ROOT: &[u8] = b"msg";
/// The attribute of the method, or the child element.
const METHOD: &str = "method";
/// The method's attribute as the ConnServer's protocol writes it.
const METHOD_PREFIXED: &[u8] = b"msg:method";
/// The element of one text of a list.
const ITEM: &str = "item";
/// A field of this name is no attribute, because that would be a namespace.
const NAMESPACE: &str = "xmlns";
/// How a text of UTF-16 begins that says what it is.
const UTF_16_MARKS: [&[u8]; 2] = [b"\xff\xfe", b"\xfe\xff"];

/// Decodes the frame at the beginning of `bytes`; every value is text, or a list of texts.
pub(super) fn decode(
    settings: &GatewaySettings,
    bytes: &[u8],
    scanned: &mut usize,
    out: &mut Vec<u8>,
) -> Frame {
    let end = match find_frame_end(settings, bytes, scanned, |window| memchr(0, window)) {
        Ok(end) => end,
        Err(frame) => return frame,
    };
    let consumed = end + 1;
    let frame = &bytes[..end];
    if frame.iter().all(|byte| is_blank(*byte)) {
        return Frame::Empty { consumed };
    }
    // In UTF-16 every second byte of a mark is NUL, so no frame's end can be told.
    if frame == b"<" || UTF_16_MARKS.iter().any(|mark| frame.starts_with(mark)) {
        return Frame::Fatal { reason: Reason::NotUtf8 };
    }
    let start = out.len();
    let result = read_document(frame, out);
    settle_frame(result, consumed, start, out)
}

fn read_document(frame: &[u8], out: &mut Vec<u8>) -> Result<(), Reason> {
    Reading::new(frame, out)?.document()
}

/// A document that is on its way into a message.
struct Reading<'a, 'b> {
    tokens: Tokens<'a>,
    builder: MessageBuilder<'b>,
    /// The root's attributes have the method, so an element of that name is a field.
    has_method_attribute: bool,
}

impl<'a, 'b> Reading<'a, 'b> {
    fn new(frame: &'a [u8], out: &'b mut Vec<u8>) -> Result<Self, Reason> {
        let tokens = Tokens::new(frame)?;
        let builder = MessageBuilder::without_method(out);
        Ok(Self { tokens, builder, has_method_attribute: false })
    }

    fn document(&mut self) -> Result<(), Reason> {
        match self.outside()? {
            Token::Open(ROOT) => {}
            _ => return Err(Reason::Malformed),
        }
        if self.root_attributes()? {
            self.root_content()?;
        }
        match self.outside()? {
            Token::End if self.builder.has_method() => Ok(()),
            Token::End => Err(Reason::MethodMissing),
            _ => Err(Reason::Malformed),
        }
    }

    /// The next token outside of the root that is no white space.
    fn outside(&mut self) -> Result<Token<'a>, Reason> {
        loop {
            match self.tokens.next()? {
                Token::Text(text) if text.bytes().all(is_blank) => {}
                token => return Ok(token),
            }
        }
    }

    /// Reads the fields that are attributes, and says whether content follows.
    fn root_attributes(&mut self) -> Result<bool, Reason> {
        loop {
            let (name, value) = match self.tokens.tag_part()? {
                TagPart::Attribute { name, value } => (name, value),
                TagPart::End => return Ok(true),
                TagPart::EmptyEnd => return Ok(false),
            };
            refuse_namespace(name)?;
            if name == METHOD.as_bytes() || name == METHOD_PREFIXED {
                let mut method = MethodName::default();
                resolve(value, Place::Attribute, |piece| method.append(piece))?;
                self.builder.set_method(method.as_bytes())?;
                self.has_method_attribute = true;
                continue;
            }
            self.builder.begin_field(name)?;
            resolve(value, Place::Attribute, |piece| self.builder.append_text(piece))?;
            self.builder.end_field();
        }
    }

    /// Reads the fields that are elements.
    fn root_content(&mut self) -> Result<(), Reason> {
        loop {
            match self.tokens.next()? {
                Token::Open(name) if name == METHOD.as_bytes() && !self.has_method_attribute => {
                    self.method_element()?;
                }
                Token::Open(name) => self.field_element(name)?,
                Token::Close(ROOT) => return Ok(()),
                Token::Text(text) | Token::Literal(text) if text.bytes().all(is_blank) => {}
                _ => return Err(Reason::Malformed),
            }
        }
    }

    fn method_element(&mut self) -> Result<(), Reason> {
        let mut method = MethodName::default();
        if self.content_follows()? {
            self.text(METHOD.as_bytes(), |_, piece| method.append(piece))?;
        }
        self.builder.set_method(method.as_bytes())
    }

    fn field_element(&mut self, name: &[u8]) -> Result<(), Reason> {
        self.builder.begin_field(name)?;
        if self.content_follows()? {
            self.value(name)?;
        }
        self.builder.end_field();
        Ok(())
    }

    /// Reads the value of a field to the end of its element: a text, or a list of items.
    fn value(&mut self, name: &[u8]) -> Result<(), Reason> {
        let (mut is_list, mut has_text) = (false, false);
        loop {
            let (text, place) = match self.tokens.next()? {
                Token::Open(item) if item == ITEM.as_bytes() && !has_text => {
                    is_list = true;
                    self.builder.begin_item()?;
                    if self.content_follows()? {
                        self.text(item, |builder, piece| builder.append_text(piece))?;
                    }
                    continue;
                }
                Token::Open(_) => return Err(Reason::NestedField),
                Token::Close(close) if close == name => return Ok(()),
                Token::Close(_) | Token::End => return Err(Reason::Malformed),
                Token::Text(text) => (text, Place::Content),
                Token::Literal(text) => (text, Place::Literal),
            };
            has_text |= !text.bytes().all(is_blank);
            if is_list && has_text {
                return Err(Reason::NestedField);
            }
            if !is_list {
                resolve(text, place, |piece| self.builder.append_text(piece))?;
            }
        }
    }

    /// Reads text to the end of its element.
    fn text(
        &mut self,
        name: &[u8],
        mut sink: impl FnMut(&mut MessageBuilder<'b>, &str) -> Result<(), Reason>,
    ) -> Result<(), Reason> {
        loop {
            let (text, place) = match self.tokens.next()? {
                Token::Text(text) => (text, Place::Content),
                Token::Literal(text) => (text, Place::Literal),
                Token::Close(close) if close == name => return Ok(()),
                Token::Open(_) => return Err(Reason::NestedField),
                Token::Close(_) | Token::End => return Err(Reason::Malformed),
            };
            resolve(text, place, |piece| sink(&mut self.builder, piece))?;
        }
    }

    /// Reads the end of a tag that has no attributes, and says whether content follows.
    fn content_follows(&mut self) -> Result<bool, Reason> {
        match self.tokens.tag_part()? {
            TagPart::End => Ok(true),
            TagPart::EmptyEnd => Ok(false),
            TagPart::Attribute { name, .. } => {
                refuse_namespace(name)?;
                Err(Reason::NestedField)
            }
        }
    }
}

fn refuse_namespace(name: &[u8]) -> Result<(), Reason> {
    match name.strip_prefix(NAMESPACE.as_bytes()) {
        Some([] | [b':', ..]) => Err(Reason::NamespaceRefused),
        _ => Ok(()),
    }
}

/// A method while its pieces come; the message checks it.
struct MethodName {
    bytes: [u8; NAME_BYTES_MAX],
    length: usize,
}

impl Default for MethodName {
    fn default() -> Self {
        Self { bytes: [0; NAME_BYTES_MAX], length: 0 }
    }
}

impl MethodName {
    fn append(&mut self, piece: &str) -> Result<(), Reason> {
        let end = self.length + piece.len();
        let room = self.bytes.get_mut(self.length..end).ok_or(Reason::BadName)?;
        room.copy_from_slice(piece.as_bytes());
        self.length = end;
        Ok(())
    }

    fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

/// Appends the frame that carries `message`: attributes sorted bytewise by name, `method` among
/// them, then as elements the fields that can be no attributes, sorted too.
pub(super) fn encode(message: Message<'_>, out: &mut Vec<u8>) {
    let mut fields = [("", Value::Null); MESSAGE_FIELDS_MAX + 1];
    fields[0] = (METHOD, Value::Text(message.method()));
    let mut attribute_count = 1;
    for field in message.fields().filter(|field| is_attribute(*field)) {
        fields[attribute_count] = field;
        attribute_count += 1;
    }
    let mut count = attribute_count;
    for field in message.fields().filter(|field| !is_attribute(*field)) {
        fields[count] = field;
        count += 1;
    }
    let (attributes, elements) = fields[..count].split_at_mut(attribute_count);
    attributes.sort_unstable_by_key(|(name, _)| *name);
    elements.sort_unstable_by_key(|(name, _)| *name);
    out.extend_from_slice(b"<msg");
    for (name, value) in attributes {
        out.push(b' ');
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(b"=\"");
        write_text(value, &ESCAPED_IN_ATTRIBUTES, out);
        out.push(b'"');
    }
    if elements.is_empty() {
        out.extend_from_slice(b"/>\0");
        return;
    }
    out.push(b'>');
    for (name, value) in elements {
        write_element(name, out, |out| match value {
            Value::List(list) => {
                for text in list.iter() {
                    write_element(ITEM, out, |out| write_text(&text, &ESCAPED_IN_ELEMENTS, out));
                }
            }
            value => write_text(value, &ESCAPED_IN_ELEMENTS, out),
        });
    }
    out.extend_from_slice(b"</msg>\0");
}

fn is_attribute((name, value): (&str, Value<'_>)) -> bool {
    !matches!(value, Value::List(_)) && name != METHOD && name != NAMESPACE
}

fn write_element(name: &str, out: &mut Vec<u8>, write_content: impl FnOnce(&mut Vec<u8>)) {
    out.push(b'<');
    out.extend_from_slice(name.as_bytes());
    out.push(b'>');
    write_content(out);
    out.extend_from_slice(b"</");
    out.extend_from_slice(name.as_bytes());
    out.push(b'>');
}

fn write_text(value: &dyn fmt::Display, escaped: &'static [bool; 256], out: &mut Vec<u8>) {
    write!(TextWriter { out, escaped }, "{value}").expect("writing to memory does not fail");
}

/// Writes text so that it stays text. No escape is longer than five bytes, on which
/// [`QUEUE_FRAMES_MIN`](super::QUEUE_FRAMES_MIN) depends.
struct TextWriter<'o> {
    out: &'o mut Vec<u8>,
    /// Bytes that may not leave as they are.
    escaped: &'static [bool; 256],
}

impl Write for TextWriter<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let mut rest = text.as_bytes();
        let escaped = |byte: &u8| self.escaped[usize::from(*byte)];
        while let Some(at) = rest.iter().position(escaped) {
            self.out.extend_from_slice(&rest[..at]);
            let (escape, length): (&[u8], _) = match &rest[at..] {
                [b'&', ..] => (b"&amp;", 1),
                [b'<', ..] => (b"&lt;", 1),
                [b'>', ..] => (b"&gt;", 1),
                // Shorter than `&quot;`.
                [b'"', ..] => (b"&#34;", 1),
                [b'\t', ..] => (b"&#9;", 1),
                [b'\n', ..] => (b"&#10;", 1),
                [b'\r', ..] => (b"&#13;", 1),
                // U+FFFE and U+FFFF are no characters of XML: a document that held one would be
                // none to whoever hears it. They leave as U+FFFD.
                [0xef, 0xbf, 0xbe | 0xbf, ..] => ("\u{fffd}".as_bytes(), 3),
                other => (&other[..1], 1),
            };
            self.out.extend_from_slice(escape);
            rest = &rest[at + length..];
        }
        self.out.extend_from_slice(rest);
        Ok(())
    }
}

/// Attributes stand in `"`, so `'` and `>` are themselves.
const ESCAPED_IN_ATTRIBUTES: [bool; 256] = byte_set(b"&<\"\t\n\r\xef");
/// `>` because of `]]>`, which no text may hold.
const ESCAPED_IN_ELEMENTS: [bool; 256] = byte_set(b"&<>\t\n\r\xef");

const fn byte_set(mut bytes: &[u8]) -> [bool; 256] {
    let mut set = [false; 256];
    while let [byte, rest @ ..] = bytes {
        set[*byte as usize] = true;
        bytes = rest;
    }
    set
}

#[cfg(test)]
mod tests;
